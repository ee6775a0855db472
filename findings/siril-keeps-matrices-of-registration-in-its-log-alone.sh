#!/usr/bin/env bash
# Siril 1.0.6 (Debian 12: apt-get install siril=1.0.6-1+b2): where `register` leaves the transforms that it finds.
#
# A guess from memory: the sequence file keeps the registration data of each image (the header says so), and global star
# registration finds a homography, so the .seq holds a matrix per image, as those of later versions do.
# What happens: lines R0 hold a shift of 0.000000 0.000000 for every image and the quality of its stars (FWHM, roundness),
# no matrix: neither in light_.seq nor in r_light_.seq, nor in the headers of the registered files. The matrices are
# printed ("Transformation Matrix:"), three rows of numbers with a sign, and lost with the log. They lead from an image to
# the reference, in rows that are counted from below: dy has the other sign than in numpy.
#
# Seen: frames moved by (12.3, -7.7), (-5.2, 9.9), (20.6, 3.1) px:
#   light_.seq: R0 0.000000 0.000000 3.0069 3.0069 0.989674 0
#   the log: matrices with shifts (-12.29, -7.71), (5.19, 9.90), (-20.62, 3.11)
set -euo pipefail
siril-cli --version 2>&1 | grep -q "1\.0\.6" || { echo "needs siril-cli 1.0.6"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "astropy==7.2.0" "numpy==2.4.6"

venv/bin/python - <<'PY'
import re
import subprocess
from pathlib import Path

import numpy as np
from astropy.io import fits

rows, cols = 500, 700
true = [(0.0, 0.0), (12.3, -7.7), (-5.2, 9.9), (20.6, 3.1)]
rng = np.random.default_rng(1)
y, x = np.mgrid[:rows, :cols].astype(float)
stars = [(rng.uniform(30, cols - 30), rng.uniform(30, rows - 30), 10 ** rng.uniform(2.5, 4)) for _ in range(60)]
Path("light").mkdir()
for k, (dx, dy) in enumerate(true, 1):
    image = np.full((rows, cols), 1000.0)
    for cx, cy, peak in stars:
        image += peak * np.exp(-((x - cx - dx) ** 2 + (y - cy - dy) ** 2) / (2 * 1.27**2))
    fits.writeto(f"light/light_{k:05d}.fits", rng.poisson(image).astype(np.uint16))
lines = "requires 1.0.0", "cd light", "convert light -out=../process", "cd ../process", "register light_", "close", ""
Path("script.ssf").write_text("\n".join(lines))
done = subprocess.run(["siril-cli", "-d", ".", "-s", "script.ssf"], capture_output=True, text=True, check=True)

kept = [line for path in sorted(Path("process").glob("*.seq")) for line in path.read_text().splitlines()]
kept = [line for line in kept if line.startswith("R0")]
print(kept[1])
assert len(kept) == 8 and all(line.startswith("R0 0.000000 0.000000") and "H" not in line for line in kept)
header = fits.getheader(next(Path("process").glob("r_light_00002.fit*")))
assert not [key for key in header if "REG" in key or "SHIFT" in key]

row = r"\s+([-+][\d.]+)\s+([-+][\d.]+)\s+([-+][\d.]+)"
matrices = re.findall(rf"Transformation Matrix:\s*\n{row}\n{row}\n{row}", done.stdout + done.stderr)
found = sorted((float(m[2]), float(m[5])) for m in matrices)
print(found)
assert np.allclose(found, sorted((-dx, dy) for dx, dy in true[1:]), atol=0.1)
PY
