#!/usr/bin/env bash
# astropy 8.0.2 (numpy 2.4.6): an image of unsigned 16-bit integers (BZERO 32768) with BLANK.
#
# A guess from memory: as BLANK marks missing pixels of an integer image, astropy gives NaN there, or at least warns.
# What happens: with the default uint=True the data come as uint16, BLANK does nothing, there is no warning, and missing
# pixels are plain values, here 0. The same file opened with uint=False gives float32 with NaN, and takes BLANK out of
# the header. So one and the same file has holes or black pixels by an argument that seems to be about the type.
#
# Seen (Python 3.11):
#   default:    uint16   missing pixel 0     BLANK in the header -32768  warnings 0
#   uint=False: float32  missing pixel nan   BLANK in the header None    warnings 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "astropy==8.0.2" "numpy==2.4.6"

venv/bin/python - <<'PY'
import warnings

import numpy as np
from astropy.io import fits

stored = np.full((36, 40), 1000 - 32768, ">i2")
stored[1, 2] = -32768  # missing
words = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2",
         "NAXIS1  =                   40", "NAXIS2  =                   36", "BZERO   =                32768",
         "BSCALE  =                    1", "BLANK   =               -32768", "END"]
header = "".join(f"{word:80}" for word in words)
with open("light.fits", "wb") as file:
    file.write(f"{header:2880}".encode() + stored.tobytes())

for name, how in (("default:   ", {}), ("uint=False:", {"uint": False})):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with fits.open("light.fits", **how) as hdus:
            data = hdus[0].data
            blank = hdus[0].header.get("BLANK")
    print(name, data.dtype, " missing pixel", data[1, 2], " BLANK in the header", blank, " warnings", len(told))
    assert not told and data[0, 0] == 1000
    if how:
        assert np.isnan(data[1, 2]) and blank is None
    else:
        assert data.dtype == np.uint16 and data[1, 2] == 0 and blank == -32768
PY
