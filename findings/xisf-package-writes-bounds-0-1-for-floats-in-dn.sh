#!/usr/bin/env bash
# xisf 0.9.7 (the Python package) writing an image of floats in DN.
#
# A guess from memory: a writer sets the mandatory attribute `bounds` of a floating point image to the range of its
# values, or asks for it; or it scales the values into the bounds that it writes.
# What happens: every float image gets bounds="0:1", whatever its values, which are stored as they are. Programs that go
# by the bounds (1 is full scale) then take 500 DN for 500 times full scale. The package itself reads the values back
# as they were, so that its own round trip does not show it.
#
# Seen (Python 3.11): bounds="0:1", values from 478.3 to 516.9
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "xisf==0.9.7" "numpy==2.4.6"

venv/bin/python - <<'PY'
import re

import numpy as np
from xisf import XISF

dark = 500 + np.random.default_rng(1).normal(0, 8, (6, 8, 1))
XISF.write("dark.xisf", dark.astype(np.float32))
with open("dark.xisf", "rb") as file:
    bounds = re.search(rb'<Image [^>]*bounds="([^"]*)"', file.read(4096))[1].decode()
values = XISF("dark.xisf").read_image(0)
print(f'bounds="{bounds}", values from {values.min():.1f} to {values.max():.1f}')
assert bounds == "0:1" and values.min() > 400
PY
