"""From a folder of raw frames to a master light, with one limit changed.

python examples/01-first-stack.py NIGHT RESULT
"""

import sys

import masterlight as ml

night, result = sys.argv[1:3]
recipe = ml.build(ml.Recipe, {"integrate.rejection.low": 3.5})

for event in ml.run(night, result, recipe):
    if event.message:
        print(event.message)

for row in event.result.lights:
    print(f"{row.path}: {row.frames_used} frames, noise {row.noise:.2f} DN, FWHM {row.fwhm_px:.2f} px")
