"""A recipe changed: other weights, another rejection. Processes are values; the ones not named stay as they are.

python examples/02-another-recipe.py NIGHT RESULT
"""

import sys

import masterlight as ml

night, result = sys.argv[1:3]
recipe = ml.Recipe(
    integrate=ml.ImageIntegration(
        weights="psf-snr",  # a frame counts for the light of its stars over its noise, squared
        rejection=ml.Rejection(algorithm="esd", esd_significance=0.01),
    ),
)
# A wrong name, a value out of range or a knob that does nothing beside the others is refused here, with a sentence, and
# not after an hour. `masterlight recipe`, or print(ml.to_toml(recipe)), shows every control that there is.

for event in ml.run(night, result, recipe):
    if event.message:
        print(event.message)

for row in event.result.lights:
    print(f"{row.path}: {row.frames_used} frames, noise {row.noise:.2f} DN, FWHM {row.fwhm_px:.2f} px")
