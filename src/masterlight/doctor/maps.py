"""Coarse maps of a whole frame: means of small blocks, medians of those, and what two maps have in common."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from masterlight.core.frame import Frame
from masterlight.core.statistics.scale import madn

BAND_ROWS = 256
TINY = 1e-9
"""Keeps a fit solvable where a map has too few rows or columns for its polynomial."""
SMALL, SKIP = 4_000_000, 4
"""Of frames of more pixels than this, one band of blocks in so many is read."""


@dataclass(frozen=True, eq=False)
class Coarse:
    """A frame in means of blocks of `size` pixels; of `skip` bands of blocks one is read."""

    blocks: np.ndarray
    """(rows, cols) float32, DN; NaN where a pixel is missing."""
    size: int
    skip: int
    zone_px: int

    @classmethod
    def of(cls, frame: Frame, whole: bool = False) -> "Coarse":
        """Read a frame once, by bands of rows; of large ones a quarter, unless the `whole` is asked for."""
        rows, cols = frame.shape[-2:]
        skip = 1 if whole or rows * cols < SMALL else SKIP
        size = 12 if len(frame.meta.pattern or "") == 36 else 8
        zone_px = 8 * size if min(rows, cols) >= 128 * size else 4 * size
        wide = cols // size * size
        high = size if skip > 1 else BAND_ROWS // size * size
        found = []
        for y in range(0, rows - size + 1, size * skip if skip > 1 else high):
            band = frame.pixels(y, min(y + high, rows), 0, cols)
            band = band[: band.shape[0] // size * size, :wide].reshape(-1, size, wide)
            found.append(band.sum(axis=1).reshape(len(band), -1, size).sum(axis=-1))
        return cls(np.concatenate(found) / np.float32(size * size), size, skip, zone_px)

    @cached_property
    def zones(self) -> np.ndarray:
        """Medians of squares of `zone_px` pixels (rows, cols); the odd rest at the right and below is left out."""
        k = self.zone_px // self.size
        down = max(1, k // self.skip)
        rows, cols = self.blocks.shape[0] // down, self.blocks.shape[1] // k
        if not rows * cols:
            return np.atleast_2d(np.nanmedian(self.blocks)).astype(np.float32)
        cut = self.blocks[: rows * down, : cols * k].reshape(rows, down, cols, k).transpose(0, 2, 1, 3)
        cut = cut.reshape(rows, cols, -1)
        return np.median(cut, axis=-1) if np.isfinite(cut).all() else usual(cut)


def usual(cut: np.ndarray) -> np.ndarray:
    """Medians along the last axis of what is finite; NaN where fewer than half are."""
    known = np.isfinite(cut).mean(axis=-1) > 0.5
    out = np.full(cut.shape[:-1], np.nan, np.float32)
    out[known] = np.nanmedian(cut[known], axis=-1)
    return out


def common(y: np.ndarray, x: np.ndarray, order: int = 1) -> tuple[float, float, np.ndarray, np.ndarray]:
    """How map y follows map x beyond a polynomial over the frame: (slope, correlation, x left, y left).

    y, x (rows, cols), NaN left out. The polynomial has degree `order` in both directions together, so that a
    gradient of the sky is not taken for the flat.
    """
    v, u = np.mgrid[-1 : 1 : y.shape[0] * 1j, -1 : 1 : y.shape[1] * 1j]
    good = np.isfinite(x) & np.isfinite(y)
    terms = [u[good] ** i * v[good] ** j for i in range(order + 1) for j in range(order + 1 - i)]
    if good.sum() < 3 * len(terms) + 6:
        return 0.0, 0.0, np.zeros(0), np.zeros(0)
    design = np.stack(terms, axis=-1)
    a, b = x[good].astype(float), y[good].astype(float)
    keep = np.ones(a.size, bool)
    for _ in range(3):
        some, both = design[keep], np.stack([a[keep], b[keep]], axis=-1)
        smooth = design @ np.linalg.solve(some.T @ some + TINY * np.eye(len(terms)), some.T @ both)
        left_a, left_b = a - smooth[:, 0], b - smooth[:, 1]
        power = float(np.sum(left_a[keep] ** 2))
        slope = float(np.sum((left_a * left_b)[keep])) / power if power > 0 else 0.0
        rest = left_b - slope * left_a
        sigma = madn(rest[keep])
        keep = np.abs(rest) <= 4 * sigma + 1e-12
    spread = math.sqrt(float(np.sum(left_a[keep] ** 2) * np.sum(left_b[keep] ** 2)))
    r = float(np.sum((left_a * left_b)[keep])) / spread if spread > 0 else 0.0
    return slope, r, left_a, left_b
