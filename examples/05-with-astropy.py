"""Beside astropy: arrays of your own go in, a CCDData with uncertainty, mask and sky coordinates comes out.

Whatever has pixels takes part in any step; here numpy calibrates, masterlight aligns and integrates, astropy keeps.

python examples/05-with-astropy.py NIGHT RESULT
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty
from astropy.wcs import WCS

import masterlight as ml

night, result = (Path(argument) for argument in sys.argv[1:3])
paths = {kind: sorted(night.glob(f"*/{kind}/*.fits")) for kind in ("BIAS", "DARK", "FLAT", "LIGHT")}
bias, dark, flat = (
    np.median([fits.getdata(path) for path in paths[kind]], axis=0) for kind in ("BIAS", "DARK", "FLAT")
)
flat = (flat - bias) / np.mean(flat - bias)

# Arrays become frames. A Meta says what a header would, as far as you know it.
frames = []
for path in paths["LIGHT"]:
    pixels, header = fits.getdata(path, header=True)
    meta = ml.Meta(kind="light", exposure_s=header["EXPTIME"], gain_e_per_dn=header["EGAIN"])
    frames.append(ml.ArrayFrame.of((pixels - dark) / flat, path.stem, meta))

# Align to the first light. A transform sends positions (x, y) of the reference to those of the other frame.
selector, alignment = ml.SubframeSelector(), ml.StarAlignment()
found = selector.measure(frames[0])
if not found:
    sys.exit(f"{found}")
stars = found[1]
reference, shape = alignment.prepare(stars), frames[0].shape
middle = (shape[1] - 1) / 2, (shape[0] - 1) / 2
registered = []
for frame in frames:
    found = selector.measure(frame)
    transform = found and alignment.align(reference, found[1], frame.source)
    if found and transform:
        x, y = transform.to_source(middle)
        print(f"{frame.source}: centred at {x:.1f}, {y:.1f} px, turned by {transform.rotation_deg:.2f} degrees")
        registered.append(alignment.registered(frame, transform, shape, found[0].noise_dn, found[0].fwhm_px))

*_, done = ml.ImageIntegration()(registered, pool="threads")
stack = done.result

# The stack lies on the pixels of the reference, so it has its sky: here from where the mount pointed, with north up.
header = fits.getheader(paths["LIGHT"][0])
wcs = WCS(naxis=2)
wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
wcs.wcs.crval = [header["RA"], header["DEC"]]
wcs.wcs.crpix = [middle[0] + 1, middle[1] + 1]  # FITS counts from 1
scale_deg = float(np.degrees(1e-3 * header["XPIXSZ"] / header["FOCALLEN"]))
wcs.wcs.cdelt = [-scale_deg, scale_deg]

made = CCDData(
    stack.image,
    unit="adu",
    mask=~np.isfinite(stack.image),
    uncertainty=VarianceUncertainty(stack.variance),
    wcs=wcs,
    meta={"OBJECT": header["OBJECT"], "NCOMBINE": stack.n},
)
result.mkdir(parents=True, exist_ok=True)
made.write(result / "with_astropy.fits", overwrite=True)
print(f"with_astropy.fits: {done.message}")
print(f"its brightest star is at {made.wcs.pixel_to_world(*stars.xy[0]).to_string('hmsdms', precision=0)}")
