#!/usr/bin/env bash
# seiza 0.45.0, normalization="local-background" with its usual local_tile_size of 256 px, on small frames whose sky has
# a gradient that a meridian flip turns.
#
# A guess from memory: local background normalization is there for gradients, and one that is a plane over the whole
# field is the easiest; the tile size is a matter of finer structure.
# What happens: on 600 x 800 px, three tiles across, the plane is not followed well enough. Of every frame taken after
# the flip so many samples are rejected that less than half is left, and all of these frames are left out: half of the
# night, with no error. With tiles of 64 px all frames are accepted.
#
# Seen (Python 3.11): 256 px: 5 of 10 frames, the others "integrated sample fraction 0.34... is below 0.5";
# 64 px: 10 of 10 frames
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "seiza==0.45.0" "astropy==7.2.0" "numpy==2.4.6"

venv/bin/python - <<'PY'
import numpy as np
import seiza
from astropy.io import fits

rows, cols, count = 600, 800, 10
rng = np.random.default_rng(1)
y, x = np.mgrid[:rows, :cols].astype(float)
stars = [(rng.uniform(20, cols - 20), rng.uniform(20, rows - 20), 10 ** rng.uniform(2.3, 4.2)) for _ in range(500)]


def light(k):
    """Ten dithered frames; the camera is upside down from the sixth on, and the gradient stays with the horizon."""
    dx, dy = rng.uniform(-4, 4, 2)
    image = 2000 * (1 + 0.6 * (x / cols - 0.5) * (1 if k < count // 2 else -1))
    for cx, cy, peak in stars:
        i, j = int(cy), int(cx)
        box = slice(max(0, i - 12), i + 13), slice(max(0, j - 12), j + 13)
        image[box] += peak * np.exp(-((y[box] - cy - dy) ** 2 + (x[box] - cx - dx) ** 2) / (2 * 1.3**2))
    seen = rng.poisson(image).astype(np.uint16)
    return seen if k < count // 2 else np.ascontiguousarray(seen[::-1, ::-1])


paths = [f"light_{k}.fits" for k in range(count)]
for k, path in enumerate(paths):
    fits.writeto(path, light(k))
accepted = {}
for tile_px in (256, 64):
    options = seiza.StackOptions(
        normalization="local-background", local_tile_size=tile_px, maximum_rotation_degrees=180.0
    )
    stack = seiza.LiveStacker(paths[0], options=options)
    told = [stack.push_fits(path) for path in paths[1:]]
    why = [frame.reason for frame in told if not frame.accepted][:1]
    accepted[tile_px] = stack.accepted_frames
    print(f"{tile_px} px: {stack.accepted_frames} of {count} frames", *why)
assert accepted == {256: 5, 64: 10}
PY
