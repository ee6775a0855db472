"""Run every command and every Python line of docs/integration.md in an empty folder, and make its table and pictures.

.venv/bin/python docs/make_integration.py [--check]     --check runs the page and makes nothing
"""

from pathlib import Path

import numpy as np
from astropy.io import fits
from pages import ROOT, make, replace_part, save
from scipy import ndimage

from masterlight import ArrayFrame, ImageIntegration, build, read
from masterlight.core.errors import ParameterError
from masterlight.core.stretch import preview
from masterlight.subframes.measurement import Measurement

PAGE = ROOT / "docs" / "integration.md"
PICTURES = ROOT / "docs" / "integration"
COUNTS = (3, 5, 8, 12, 20, 50)
ALGORITHMS = "auto noise percentile minmax averaged-sigma sigma mad winsorized linear-fit esd chauvenet".split()


def make_table_and_pictures() -> None:
    make_pictures()
    replace_part(PAGE, "table", table())


def table() -> str:
    """What each algorithm rejects of cosmic rays and of good samples, by the number of frames."""
    lines = ["| rays / good samples rejected, % | " + " | ".join(f"{n} frames" for n in COUNTS) + " |"]
    lines.append("| --- |" + " ---: |" * len(COUNTS))
    for name in ALGORITHMS:
        lines.append(f"| `{name}` | " + " | ".join(verdict(name, n) for n in COUNTS) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def verdict(name: str, count: int, sky=500.0, noise=8.0) -> str:
    """Percent of rays and of good samples that an algorithm rejects in stacks of so many frames."""
    rng = np.random.default_rng(count)
    shape = (400, 500)
    rays = rng.random((count, *shape)) < 1e-3
    frames = [ArrayFrame.of(rng.normal(sky, noise, shape) + 10 * noise * ray, f"{i}") for i, ray in enumerate(rays)]
    known = [Measurement(frame.source, sky, (noise, noise), noise, 60.0, 1.0) for frame in frames]
    settings = build(ImageIntegration, {"rejection.algorithm": name, "rejection.large_scale.trails": False})
    try:
        *_, done = settings(frames, known, verdicts=True, pool="threads")
    except ParameterError:
        return "needs more"
    gone = np.array([done.result.verdicts.mask(i) for i in range(count)]) > 0
    return f"{100 * gone[rays].mean():.1f} / {100 * gone[~rays].mean():.2f}"


def make_pictures() -> None:
    """The pictures of the page, from what its commands left in this folder."""
    paths = sorted(Path("lights").glob("*.fits"))
    frames = [read(path) for path in paths]
    maps = []
    for count in (5, 10, 20):
        *_, done = ImageIntegration(scale="bwmv")(frames[:count], pool="threads")
        part = done.result.rejected_high[:450, :450].astype(np.float32)
        maps.append(np.uint8(np.clip(part * 90, 0, 255)))
    save(PICTURES / "maps.png", np.hstack(maps))
    save(PICTURES / "skies.png", skies())
    *_, done = ImageIntegration(scale="bwmv")(frames, pool="threads")
    source, _, trail = max(done.result.trails, key=lambda found: found[2].snr)
    y, x = (int(np.clip((a + b) / 2, 150, n - 150)) for a, b, n in (
        (trail.y0, trail.y1, 600), (trail.x0, trail.x1, 900)))  # fmt: skip
    crop = np.s_[y - 150 : y + 150, x - 150 : x + 150]
    light = np.asarray(read(source))[crop]
    left = np.asarray(read("no_trails.fits"))[crop] - np.asarray(read("master.fits"))[crop]
    save(PICTURES / "trail.png", np.hstack([preview(light), np.uint8(np.clip(40 + 25 * left, 0, 255))]))


def skies() -> np.ndarray:
    """A night levelled by one number, and as usual: what was rejected above, the masters without what is wide below."""
    columns, sigma = [], None
    for folder in ("moon_one_number", "moon_usual"):
        with fits.open(next(Path(folder).glob("master_light*.fits"))) as opened:
            image, gone = np.asarray(opened[0].data, np.float32), opened["REJ_LOW"].data + opened["REJ_HIGH"].data
        image = np.where(np.isfinite(image), image, np.nanmedian(image))[20:-20, 20:-20]
        rest = ndimage.gaussian_filter(image - ndimage.median_filter(image[::2, ::2], 31).repeat(2, 0).repeat(2, 1), 2)
        sigma = sigma or 1.4826 * np.median(np.abs(rest))
        stretched = np.clip(128 + 20 * rest / sigma, 0, 255)
        columns.append(np.vstack([np.clip(400 * gone[20:-20, 20:-20], 0, 255), stretched]))
    return np.uint8(np.hstack(columns))


if __name__ == "__main__":
    make(PAGE, make_table_and_pictures)
