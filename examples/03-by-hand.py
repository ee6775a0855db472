"""The same night by hand, step by step, with no file between: read, masters, calibrate, measure, align, integrate.

Every step makes a view of the one before: nothing is computed until somebody asks for pixels, and then only those.

python examples/03-by-hand.py NIGHT RESULT
"""

import sys
from pathlib import Path

import masterlight as ml

night, result = (Path(argument) for argument in sys.argv[1:3])

# Read. Headers tell what each frame is, whatever program wrote them; pixels stay on the disk.
frames = ml.scan(night).frames
lights, darks, flats, biases = (
    [frame for frame in frames if frame.meta.kind == kind] for kind in ("light", "dark", "flat", "bias")
)


def master(integration: ml.ImageIntegration, frames: list[ml.Frame]) -> ml.Frame:
    """Many frames as one, in memory. The last event of an integration carries the stack."""
    *_, done = integration(frames, pool="threads", maps=False)
    print(f"master {frames[0].meta.kind}: {done.message}")
    meta = frames[0].meta.with_(is_master=True, frames=len(frames))
    return ml.ArrayFrame.of(done.result.image, f"master {meta.kind}", meta)


# Masters. The flats are calibrated before they are put together, the dark keeps its bias.
bias = master(ml.ImageIntegration.for_bias(), biases)
dark = master(ml.ImageIntegration.for_dark(), darks)
calibration = ml.ImageCalibration()
without_bias = calibration.masters(bias=bias)
flat = master(ml.ImageIntegration.for_flat(), [calibration(frame, without_bias) for frame in flats])

# Calibrate, and repair the pixels that the dark shows to be defective.
masters = calibration.masters(dark=dark, flat=flat)
cosmetic = ml.CosmeticCorrection()
defects = cosmetic.defects(dark)
calibrated = [cosmetic(calibration(light, masters), defects) for light in lights]
print(f"{masters.equation}; {len(defects)} defective pixels")

# Measure. What cannot be measured is falsy, and carries its reason.
selector = ml.SubframeSelector()
measured = []
for frame in calibrated:
    found = selector.measure(frame)
    if found:
        measurement, stars = found
        print(f"{Path(frame.source).name}: {len(stars)} stars, FWHM {measurement.fwhm_px:.2f} px")
        measured.append((frame, measurement, stars))
    else:
        print(found)

# Align to the light with most stars. A transform that cannot be believed is falsy, too.
alignment = ml.StarAlignment()
clearest, measurement, stars = max(measured, key=lambda one: len(one[2]))
reference = alignment.prepare(stars)
registered = []
for frame, measurement, stars in measured:
    transform = alignment.align(reference, stars, frame.source)
    if transform:
        view = alignment.registered(frame, transform, clearest.shape, measurement.noise_dn, measurement.fwhm_px)
        registered.append(view)
    else:
        print(transform)

# Integrate, and write image and variance: the first file of the night.
*_, done = ml.ImageIntegration()(registered, pool="threads")
stack = done.result
result.mkdir(parents=True, exist_ok=True)
ml.write(result / "by_hand.fits", {"IMAGE": stack.image, "VARIANCE": stack.variance}, history=registered[0].cards)
print(f"by_hand.fits: {done.message}")
