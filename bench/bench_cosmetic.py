"""Replacing defects against numpy and scipy, one thread: `python -m bench.bench_cosmetic`."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from bench.bench_warp import best
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.frame import ArrayFrame, Frame, Meta, Stored
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.defectmap import DefectMap
from masterlight.defects.lists import Defects

SHAPE = (4000, 6000)
HOT = 1e-3
PIECE = np.s_[:1000, :1500]


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw(Frame):
    """A 16-bit frame in memory as a file holds it."""

    samples: np.ndarray

    def stored(self, y0, y1, x0, x1):
        return Stored(self.samples[y0:y1, x0:x1], 32768.0, 1.0, True)


def numpy_replace(image, mask, pitch=1):
    """The median of the 8 nearest of the same colour, those that are defective left out, of all defects at once."""
    y, x = np.nonzero(mask)
    clean = np.where(mask, np.nan, image)
    steps = [(j * pitch, i * pitch) for j in (-1, 0, 1) for i in (-1, 0, 1) if j or i]
    around = [clean[np.clip(y + j, 0, SHAPE[0] - 1), np.clip(x + i, 0, SHAPE[1] - 1)] for j, i in steps]
    image[y, x] = np.nanmedian(around, axis=0)


def scipy_outliers(image):
    """Automatic detection by whole filtered images."""
    ring = np.ones((3, 3))
    ring[1, 1] = 0
    far = np.ones((7, 7))
    far[2:5, 2:5] = 0
    a = (sum(np.roll(image, (j, i), (0, 1)) for j in (-1, 0, 1) for i in (-1, 0, 1)) - image) / 8
    m, b = median_filter(image, footprint=ring), median_filter(image, footprint=far)
    spread = np.mean(np.abs(image - np.median(image)))
    return (a < b + spread / 2) & (image > b + spread) & (image > m + 8 * spread)


def rows():
    """(name, ours_s, rival_s, ratio, note) for each case."""
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 10, SHAPE).astype(np.float32)
    mask = rng.random(SHAPE) < HOT
    image[mask] += 2000
    defects, whole = Defects.of(mask), (0, SHAPE[0], 0, SHAPE[1])
    for name, pattern in (("mono", None), ("RGGB", "RGGB")):
        view = CosmeticCorrection()(ArrayFrame.of(image, meta=Meta(pattern=pattern)), defects)
        ours = best(lambda v=view: v.repair(image, 0, 0, whole))
        theirs = best(lambda p=2 if pattern else 1: numpy_replace(image, mask, p), 2)
        yield case(f"replace 24 Mpx, 0.1 % defects, {name}", ours, theirs, image.size)
    stored = rng.integers(-20000, 20000, SHAPE).astype(np.int16)
    dark, flat, out = np.full(SHAPE, 500, np.float32), np.full(SHAPE, 1.1, np.float32), np.empty(SHAPE, np.float32)

    calibration = ImageCalibration()
    masters = calibration.masters(dark=ArrayFrame.of(dark, meta=Meta(contains_bias=True)), flat=ArrayFrame.of(flat))
    raw = Raw(source="raw", meta=Meta(shape=SHAPE, pattern="RGGB"), samples=stored)
    light = CosmeticCorrection()(calibration(raw, masters), defects)

    def numpy_chain():
        decoded = stored.byteswap().astype(np.float32)
        out[...] = (decoded + np.float32(32768) - dark) * (np.float32(1) / flat)
        numpy_replace(out, mask, 2)

    yield case(
        "calibrate and replace 24 Mpx, RGGB",
        best(lambda: light.pixels_into(out, 0, 0)),
        best(numpy_chain, 2),
        image.size,
    )
    piece = np.ascontiguousarray(image[PIECE])
    for name, pattern in (("mono", None), ("RGGB", "RGGB")):
        view = CosmeticCorrection(hot_auto=8.0, cold_auto=8.0)(ArrayFrame.of(piece, meta=Meta(pattern=pattern)))
        view.spread()
        ours, theirs = best(lambda v=view: np.asarray(v)), best(lambda: scipy_outliers(piece), 1)
        yield case(f"find and replace 1.5 Mpx automatically, {name}", ours, theirs, piece.size)
    view = DefectMap()(ArrayFrame.of(image), ArrayFrame.of(defects.as_map()))
    ours = best(lambda: view.repair(image, 0, 0, whole))
    yield case("defect map 24 Mpx, median, square", ours, best(lambda: numpy_replace(image, mask), 2), image.size)


def case(name, ours_s, rival_s, pixels):
    note = f"{1e9 * ours_s / pixels:.2f} ns/pixel against {1e9 * rival_s / pixels:.2f}"
    return name, ours_s, rival_s, rival_s / ours_s, note


if __name__ == "__main__":
    for name, ours_s, rival_s, ratio, note in rows():
        print(f"{name:45s} {1e3 * ours_s:9.1f} ms {1e3 * rival_s:9.1f} ms {ratio:7.1f}x  {note}", flush=True)
