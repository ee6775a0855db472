"""A frame as it looks on the reference's grid: a view that resamples it box by box, defective pixels left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from masterlight.alignment.transform import Grid, Transform, jacobian
from masterlight.alignment.warping.places import NOT_BENT, nodes_of, result_at, source_at
from masterlight.alignment.warping.warp import HALO, warp, whole_shift, whole_tiles
from masterlight.alignment.warping.wcs import moved_wcs
from masterlight.alignment.warping.weights import NO_RING, Kernel, Ring, noise_gain
from masterlight.compiled import njit
from masterlight.core.frame import Look, View
from masterlight.core.headers.geometry import WCS_KEYWORDS

WIDEST_BOX_PX = 256
GOLDEN = np.array([0.7548776662466927, 0.5698402909980532])
"""Multiples of these, without their whole part, fill a square evenly (Roberts 2018)."""
BORDER_PX = 64
"""Between places so near, the edge of a box bends by much less than the pixels that are read around it."""


class Bright(NamedTuple):
    """What is near bright pixels of the source, noted while a box is resampled."""

    least_dn: float
    reach_px: int
    near: np.ndarray
    """(h, w) bool of the box"""
    y0: int
    x0: int

    def note(self, plane: np.ndarray, left: int, top: int, matrix: np.ndarray, grid: Grid | None = None) -> None:
        """Note what is near bright pixels of the part of a plane of the source that begins at (left, top)."""
        ways, reach = (*both_ways(matrix), nodes(grid)), self.reach_px + 0.5
        note_bright(plane, left, top, float(self.least_dn), ways, reach, self.near, self.x0, self.y0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Registered(View):
    """A frame resampled onto the reference's grid, box by box, when it is indexed."""

    transforms: tuple[Transform, ...]
    """One for all planes, or one for each."""
    keep_defective: bool = False
    kernel: str | Kernel = "lanczos5"
    margin_dn: float = np.inf
    threshold: float = -1.0
    ring: Ring = NO_RING

    @property
    def header(self) -> dict[str, Any]:
        """The header with the place of these pixels on the sky, where that of the frame tells its own."""
        header, transform = self.below.header, self.transforms[0]
        kept = {k: header[k] for k in header if k not in ("COMMENT", "HISTORY", "") and not k.startswith(WCS_KEYWORDS)}
        return kept | moved_wcs(header, transform, transform.inverse, self.shape)

    @property
    def noise_gain(self) -> float:
        """Factor by which the interpolation lowers white noise, the mean over the frame."""
        return self.noise_gain_of(self.transforms[0])

    def noise_gain_of(self, transform: Transform) -> float:
        """The same for a plane that lies so."""
        if transform.bend is None and whole_shift(transform.matrix, 0, 0) is not None:
            return 1.0
        rows, cols = self.shape[-2:]
        # whole pixels: between them a mere shift would seem to have all phases
        at = transform(np.rint((np.arange(1, 2048)[:, None] * GOLDEN % 1) * (cols - 1, rows - 1)))
        return noise_gain(self.kernel, at % 1)

    def in_the_middle(self, transform: Transform) -> tuple[np.ndarray, np.ndarray]:
        """Where the middle of the result lies in a plane that lies so, (2,) px, and how it is turned there (2, 2)."""
        x, y = ((n - 1) / 2 for n in self.shape[:-3:-1])
        near = transform.affine(int(y) - 8, int(y) + 9, int(x) - 8, int(x) + 9)
        at, (a, b, c, d) = jacobian(near, x, y)
        return at, np.array([[a, b], [c, d]])

    def defective(self, y0: int, y1: int, x0: int, x1: int) -> None:
        """Nothing: pixels that were defective are missing here, or were asked for as they are."""

    def without(self, look: Look, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """The box made without what `look` marks below: neither such pixels nor the rings of interpolation are left."""
        out = np.empty((*self.shape[:-2], y1 - y0, x1 - x0), np.float32)
        self.sample_into(out, y0, x0, look)
        return out

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        """Fill `out` (h, w) or (3, h, w) float32, rows contiguous, with the box whose first pixel is (y0, x0)."""
        self.sample_into(out, y0, x0)

    def bright_into(self, out: np.ndarray, y0: int, x0: int, least_dn: float, reach_px: int) -> np.ndarray | None:
        """As that of a frame; bright are the pixels below, which interpolation may have lowered here."""
        bright = Bright(least_dn, reach_px, np.zeros(out.shape[-2:], bool), y0, x0)
        self.sample_into(out, y0, x0, bright=bright)
        return bright.near if bright.near.any() else None

    def sample_into(
        self, out: np.ndarray, y0: int, x0: int, look: Look | None = None, bright: Bright | None = None
    ) -> None:
        """As `pixels_into`; pixels below that `look` marks are missing, and those near `bright` ones are noted."""
        height, width = out.shape[-2:]
        box = self.source_box(y0, x0, height, width)
        if box is None:
            out[...] = np.nan
            return
        top, bottom, left, right = box
        if (bottom - top) * (right - left) > 4 * height * width and max(height, width) > WIDEST_BOX_PX:
            down, across = (height // 2, 0) if height > width else (0, width // 2)
            self.sample_into(out[..., :down, :] if down else out[..., :across], y0, x0, look, bright)
            self.sample_into(out[..., down:, across:], y0 + down, x0 + across, look, bright)
            return
        below, kept = self.below, self.keep_defective
        pixels, defective = (below.pixels(*box), None) if kept else below.pixels_and_defective(*box)
        pixels = np.asarray(pixels, np.float32)
        marks = below.marked(look, *box) if look is not None else None
        if marks is not None and marks.any():
            pixels = np.where(marks > 0, np.float32(np.nan), pixels)
        planes, targets = (pixels, out) if out.ndim == 3 else (pixels[None], out[None])
        tiles = whole_tiles(y0, y0 + height, x0, x0 + width)
        there = [(t.affine(*tiles), t.grid(*tiles) if t.bend is not None else None) for t in self.transforms]
        limits = self.kernel, self.margin_dn, self.threshold
        for plane, target, (matrix, grid) in zip(planes, targets, there * (len(planes) // len(there)), strict=True):
            if bright is not None:
                bright.note(plane, left, top, matrix, grid)
            warp(plane, left, top, matrix, target, x0, y0, *limits, grid=grid, ring=self.ring)
            if defective is not None:
                blank_defective(defective, left, top, matrix, target, x0, y0, grid)

    def source_box(self, y0: int, x0: int, height: int, width: int) -> tuple[int, int, int, int] | None:
        """Bounds (y0, y1, x0, x1) of the source pixels that a box needs; None when it lies outside the source."""
        rows, cols = self.below.shape[-2:]
        at = np.concatenate([t(border(t, y0, x0, height, width)) for t in self.transforms])
        left, top = np.maximum(np.floor(at.min(axis=0)).astype(int) - HALO, 0)
        right, bottom = np.minimum(np.ceil(at.max(axis=0)).astype(int) + HALO + 1, (cols, rows))
        return (int(top), int(bottom), int(left), int(right)) if top < bottom and left < right else None


@njit(nogil=True, cache=True)
def next_mark(marks, at):
    """The first of marks (n,) uint8 from `at` on that is not 0, n where there is none; looks at 64 at a time."""
    while at < marks.size and (at % 8 or marks[at]):
        if marks[at]:
            return at
        at += 1
    eights = marks[: marks.size // 8 * 8].view(np.uint64)
    k = at // 8
    while k + 8 <= eights.size:
        some = eights[k] | eights[k + 1] | eights[k + 2] | eights[k + 3]
        if some | eights[k + 4] | eights[k + 5] | eights[k + 6] | eights[k + 7]:
            break
        k += 8
    at = max(at, 8 * k)
    while at < marks.size and marks[at] == 0:
        at += 1
    return at


@njit(nogil=True, cache=True)
def blank_pixels(mask, left, top, ways, out, out_x, out_y):
    """Make NaN each pixel of `out` whose nearest source pixel is marked; gives how many.

    mask (rows, cols) uint8, not 0 where marked, is the box of the source whose first pixel is (left, top); ways: nine
    numbers each of the matrix from the result to the source and of its inverse, and the nodes of a bent one; out (h, w)
    float32 is the box of the result whose first pixel is (out_x, out_y).
    """
    there, back, bent = ways
    blanked, marks, cols, at = 0, mask.reshape(-1), mask.shape[1], np.int64(-1)
    size = np.sqrt(abs(back[0] * back[4] - back[1] * back[3]))
    reach = int(0.75 * size + 0.5)  # half the diagonal of a source pixel, and the rounding
    while True:
        at = next_mark(marks, at + 1)
        if at == marks.size:
            return blanked
        u, v = float(at % cols + left), float(at // cols + top)
        x, y = result_at(there, back, bent, u, v)
        i0, j0 = int(np.rint(x)) - out_x, int(np.rint(y)) - out_y
        for j in range(max(0, j0 - reach), min(out.shape[0], j0 + reach + 1)):
            for i in range(max(0, i0 - reach), min(out.shape[1], i0 + reach + 1)):
                a, b = source_at(there, bent, float(i + out_x), float(j + out_y))
                if np.rint(a) == u and np.rint(b) == v:
                    out[j, i] = np.nan
                    blanked += 1


@njit(nogil=True, cache=True, error_model="numpy")
def note_bright(plane, left, top, least, ways, reach, near, out_x, out_y):
    """Set `near` where a pixel of the plane that is as bright as `least` lies within `reach` along both axes.

    plane (rows, cols) float32 is the box of the source whose first pixel is (left, top); ways: as
    of `blank_pixels`; near (h, w) bool is the box of the result whose first pixel is (out_x, out_y).
    """
    limit = np.float32(least)
    for y in range(plane.shape[0]):
        row, count = plane[y], 0
        for x in range(row.size):
            count += row[x] >= limit
        for x in range(row.size if count else 0):
            if row[x] >= limit:
                u, v = float(x + left), float(y + top)
                i, j = result_at(ways[0], ways[1], ways[2], u, v)
                y0, y1 = int(np.ceil(j - reach)) - out_y, int(np.floor(j + reach)) + 1 - out_y
                x0, x1 = int(np.ceil(i - reach)) - out_x, int(np.floor(i + reach)) + 1 - out_x
                near[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True


def blank_defective(mask, x_offset, y_offset, matrix, out, out_x, out_y, grid=None):
    """Make NaN each pixel of `out` whose nearest source pixel is marked; gives how many.

    mask (rows, cols) uint8, not 0 where marked, is the box of the source whose first pixel is (x_offset, y_offset);
    matrix: from the result to the source, `grid` beside it where it bends; out (h, w) float32 is the box of the result
    that begins at (out_x, out_y).
    """
    ways = (*both_ways(matrix), nodes(grid))
    return blank_pixels(np.ascontiguousarray(mask), x_offset, y_offset, ways, out, out_x, out_y)


def nodes(grid: Grid | None):
    """A grid as kernels take it, in pixels of the whole source and the whole result."""
    return NOT_BENT if grid is None else nodes_of(grid, np.eye(3), 0, 0)


def border(transform: Transform, y0: int, x0: int, height: int, width: int) -> np.ndarray:
    """Pixels (n, 2) on the edge of a box, as near as a bent transform needs: only its corners when nothing is bent."""
    steps = 1 if transform.bend is None else max(height, width) // BORDER_PX + 1
    along = np.linspace(0, 1, steps + 1)
    x, y = x0 + along * (width - 1), y0 + along * (height - 1)
    ends = ((x, np.full_like(x, v)) for v in (y[0], y[-1])), ((np.full_like(y, u), y) for u in (x[0], x[-1]))
    return np.concatenate([np.stack(side, axis=-1) for sides in ends for side in sides])


def both_ways(matrix: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The nine numbers of a matrix, and those of its inverse."""
    return inverted(np.asarray(matrix, float).tobytes())


@lru_cache(maxsize=4096)
def inverted(matrix: bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    there = np.frombuffer(matrix).reshape(3, 3)
    return tuple(there.ravel().tolist()), tuple(np.linalg.inv(there).ravel().tolist())
