"""A night of a colour camera: the same walk. Headers tell the mosaic; each light is debayered after its calibration.

python examples/04-colour.py NIGHT RESULT
"""

import sys

import numpy as np

import masterlight as ml

night, result = sys.argv[1:3]
recipe = ml.Recipe(
    debayer=ml.Debayer(method="rcd", directions=True),  # follow edges; switched off, colours of stars are truest
    align=ml.StarAlignment(planes="each"),  # each colour is laid on the reference by its own stars: no fringes
)

for event in ml.run(night, result, recipe):
    if event.message:
        print(event.message)

for row in event.result.lights:
    image = np.asarray(ml.read(row.path))  # (3, rows, cols): red, green, blue; linear, and not balanced
    sky = ", ".join(f"{level:.1f}" for level in np.nanmedian(image, axis=(1, 2)))
    print(f"{row.path}: {row.frames_used} frames, noise {row.noise:.2f} DN, sky {sky} DN")
