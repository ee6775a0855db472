"""CPU time of a page of 200 frames of 24 Mpx by `masterlight blink`: measured anew, and known from before.

.venv/bin/python -m bench.blink [--frames 20]     a tenth of the night is made, and the time of one more frame told
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from bench.page import machine, write_section

SHAPE, STARS, NIGHT = (4000, 6000), 2500, 200


def make_lights(folder: Path, count: int) -> None:
    """Frames of the same stars, each shifted and with noise of its own."""
    rng = np.random.default_rng(1)
    sky = np.zeros(SHAPE, np.float32)
    rows, cols = np.mgrid[-12:13, -12:13]
    places = rng.uniform(14, np.array(SHAPE) - 14, (STARS, 2))
    for (y, x), flux in zip(places, 10 ** rng.uniform(3, 5.5, STARS), strict=True):
        star = flux / (2 * np.pi * 1.96) * np.exp(-((rows - y % 1) ** 2 + (cols - x % 1) ** 2) / 3.92)
        sky[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13] += star
    header = fits.Header({"IMAGETYP": "Light", "EXPTIME": 120.0, "FILTER": "L", "XPIXSZ": 3.76, "FOCALLEN": 530.0})
    for i in range(count):
        light = np.roll(sky, rng.integers(-40, 40, 2), (0, 1)) + rng.normal(1000, 20, SHAPE).astype(np.float32)
        fits.writeto(folder / f"light_{i:03d}.fits", np.clip(np.rint(light), 0, 65535).astype(np.uint16), header)


def cpu_s(files: list[Path], out: Path, *more: str) -> float:
    """CPU time of one page, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "masterlight", "blink", *map(str, files), "-o", str(out), "--overwrite", *more]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    lines = ["| frames | first time | known from before | not measured |", "| ---: | ---: | ---: | ---: |"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        make_lights(folder, options.frames)
        files, out = sorted(folder.glob("*.fits")), folder / "night.html"
        cpu_s(files[:2], out)  # compiled kernels are loaded by all alike from here on
        ways = (["--fresh"], [], ["--no-measured"])
        one, many = ([cpu_s(some, out, *way) for way in ways] for some in (files[:1], files))
        size_mb = out.stat().st_size / 1e6 * NIGHT / len(files)
    rates = [(b - a) / (len(files) - 1) for a, b in zip(one, many, strict=True)]
    for count, row in (
        (1, one),
        (len(files), many),
        (NIGHT, [a + (NIGHT - 1) * r for a, r in zip(one, rates, strict=True)]),
    ):
        lines.append(f"| {count} | " + " | ".join(f"{value:.1f} s" for value in row) + " |")
    lines.append(
        f"\nThe last row follows from the two above it. The page of {NIGHT} frames of plain noise has {size_mb:.0f} MB."
    )
    text = "\n".join([machine(), "", *lines])
    print(text)
    if options.write:
        write_section("blink", text)


if __name__ == "__main__":
    main()
