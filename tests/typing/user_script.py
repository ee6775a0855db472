"""What a user writes: every name has a type, so an editor completes it and mypy --strict is content."""

from pathlib import Path

import masterlight as ml

recipe = ml.build(ml.Recipe, {"integrate.rejection.low": 3.5})
align = ml.StarAlignment(tolerance_px=2, model="affine")
frames: tuple[ml.Frame, ...] = ml.scan("night").frames
sharp: list[ml.Frame] = []
for frame in frames:
    measured = ml.SubframeSelector().measure(frame)
    if isinstance(measured, ml.Rejected):
        print(measured.reason, measured.source)
        continue
    reference = align.prepare(measured[1])
    transform = align.align(reference, measured[1])
    if transform:
        xy = transform.inverse(transform([[10.0, 20.0]]))
        print(f"{transform.rotation_deg:.2f} deg, {transform.dx_px:+.1f} px", xy[0], frame[:10, :10].mean())
        sharp.append(align.registered(frame, transform, frame.shape, noise_dn=10.0))
for event in ml.run(Path("night"), "result", recipe):
    print(f"{event.stage} {event.done} of {event.total}: {event.message}")
ml.write("first.fits", ml.ImageCalibration()(ml.read("light.fits"), ml.ImageCalibration().masters()))
