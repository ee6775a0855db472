"""Canvas: which part of the reference's plane a result shows, and how frames lie on it.

A canvas begins a whole number of pixels from the reference's first one, so that the reference itself is never
interpolated, and all filters of a target that share a canvas lie on each other pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from masterlight.alignment.bend import shift_matrix
from masterlight.alignment.transform import Transform

Shape = tuple[int, int]
"""Rows and columns."""
UNITED = "max", "union", "mosaic"
"""Framings that hold all of every frame."""
EDGE_POINTS, CELLS = 32, 160
"""Places along each edge that tell where a frame lies; cells along the longer side in which overlaps are looked for."""
BEYOND, PANELS = 0.3, 0.1
"""A frame so much of which lies beyond the reference by where its middle is, however it is turned, shows another part
of the sky; such of this part of all, two at least of more than two, are panels of a mosaic."""
LEAST, MOST = 0.1, 100
"""A canvas holds at least this part of the reference, and at most so many times as much."""


@dataclass(frozen=True)
class Canvas:
    """The pixels of a result: its size, and where its first pixel lies in the reference."""

    shape: Shape
    origin_px: tuple[int, int] = (0, 0)
    """(x, y) in pixels of the reference."""
    note: str = ""
    """Why it is not the one that was asked for."""

    @classmethod
    def of(
        cls, frame: str, crop: float, reference: Shape, transforms: Sequence[Transform], shapes: Sequence[Shape]
    ) -> Canvas:
        """The canvas of frames that lie on a reference: `frame` as `StarAlignment` has it, cropped to where this part
        of the frames, from 0 to 1, overlap; of a mosaic of which most places show less than half of all frames, this
        part of those that they show.

        transforms: from the reference to each frame; shapes: rows and columns of each. What would be empty or beyond
        all measure is the reference's own, with a note that says so.
        """
        whole = framed(frame, reference, transforms, shapes)
        share = 1.0 if frame == "min" else crop
        asked = f"StarAlignment.frame {frame}" if frame == "min" else f"StarAlignment.crop {crop:.0%}"
        if whole.area > MOST * area(reference):
            words = f"StarAlignment.frame {frame} would be {whole.shape[1]} x {whole.shape[0]} pixels: does a frame lie"
            whole = cls(reference, note=f"{words} where it does not belong? The reference's frame is taken")
        if share <= 0:
            return whole
        count = len(transforms)
        if frame != "min" and panels_of(transforms, shapes, reference):
            shown = shown_by(whole.shape, [whole.seen(t) for t in transforms], shapes)
            usual = np.median(shown[shown > 0])
            count = usual if usual < count / 2 else count
        part = largest_overlap(whole, transforms, shapes, max(1, int(np.ceil(share * count - 1e-9))))
        if part.area < LEAST * area(reference):
            words = f"{asked}: the {len(transforms)} frames share less than {LEAST:.0%} of the reference's area"
            less = "StarAlignment.crop 50%" if frame == "min" else "A lower StarAlignment.crop"
            return replace(whole, note=f"{words}; nothing is cropped. {less} keeps more")
        return replace(part, note=whole.note)

    @property
    def area(self) -> int:
        return area(self.shape)

    @property
    def matrix(self) -> np.ndarray:
        """3x3, sends pixels of the canvas to those of the reference."""
        return shift_matrix(*self.origin_px)

    def seen(self, transform: Transform) -> Transform:
        """The transform of a frame from this canvas instead of the reference."""
        if self.origin_px == (0, 0):
            return replace(transform, shape=self.shape)
        on = transform @ Transform(self.matrix)
        return replace(transform, matrix=on.matrix, bend=on.bend, shape=self.shape)


def area(shape: Shape) -> int:
    return int(shape[0]) * int(shape[1])


def framed(frame: str, reference: Shape, transforms: Sequence[Transform], shapes: Sequence[Shape]) -> Canvas:
    """The canvas before anything is cropped off: the reference's, that of all, or as large around the mean centre."""
    if frame == "cog":
        middles = [t.inverse((np.array(shape[::-1]) - 1) / 2) for t, shape in zip(transforms, shapes, strict=True)]
        off = np.mean(middles, axis=0) - (np.array(reference[::-1]) - 1) / 2
        return Canvas(reference, (round(float(off[0])), round(float(off[1]))))
    if frame not in UNITED:
        return Canvas(reference)
    edges = [t.inverse(edge_of(shape)) for t, shape in zip(transforms, shapes, strict=True)]
    low = np.ceil(np.min([edge.min(axis=0) for edge in edges], axis=0) - 1e-3)
    high = np.floor(np.max([edge.max(axis=0) for edge in edges], axis=0) + 1e-3)
    (x0, y0), (x1, y1) = low.astype(int).tolist(), high.astype(int).tolist()
    return Canvas((y1 - y0 + 1, x1 - x0 + 1), (x0, y0))


def edge_of(shape: Shape) -> np.ndarray:
    """Places (n, 2) px along the edge of a frame, from its first pixel's centre to its last one's."""
    rows, cols = shape[-2:]
    along = np.linspace(0, 1, EDGE_POINTS)
    x, y = along * (cols - 1), along * (rows - 1)
    sides = (x, 0 * x), (x, 0 * x + rows - 1), (0 * y, y), (0 * y + cols - 1, y)
    return np.concatenate([np.stack(side, axis=-1) for side in sides])


def lies_at(transform: Transform, shape: Shape, xy: np.ndarray) -> np.ndarray:
    """Whether a frame has pixels on all sides of places (n, 2) px of the reference, (n,) bool."""
    at = transform(xy)
    return ((at >= -1e-3) & (at <= np.array(shape[:-3:-1]) - 1 + 1e-3)).all(axis=1)


def beyond(transform: Transform, shape: Shape, reference: Shape) -> float:
    """The part of a frame that lies beyond the reference by where its middle is, as if it were not turned; of a larger
    frame the part of the reference that lies beyond it."""
    off = np.abs(transform.inverse((np.array(shape[::-1]) - 1) / 2) - (np.array(reference[::-1]) - 1) / 2)
    ours, theirs = np.array(reference[::-1]), np.array(shape[::-1]) / transform.scale
    least = np.minimum(ours, theirs)
    return float(1 - np.prod(np.clip((ours + theirs) / 2 - off, 0, least) / least))


def panels_of(transforms: Sequence[Transform], shapes: Sequence[Shape], reference: Shape) -> dict[int, float]:
    """By their numbers the frames that show other parts of the sky than the reference, and how much of each lies beyond
    it; nothing where they are too few to be panels of a mosaic."""
    shares = [beyond(t, shape, reference) for t, shape in zip(transforms, shapes, strict=True)]
    found = {i: share for i, share in enumerate(shares) if share > BEYOND}
    return found if len(found) >= max(PANELS * len(shares), min(2, len(shares) - 1), 1) else {}


def shown_by(shape: Shape, transforms: Sequence[Transform], shapes: Sequence[Shape]) -> np.ndarray:
    """How many frames show an image of this shape, a coarse map (ny, nx) of it; transforms: from it to each frame."""
    grid = ny, nx = tuple(-(-n // -(-max(shape) // CELLS)) for n in shape)
    x, y = (np.arange(nx) + 0.5) * shape[1] / nx - 0.5, (np.arange(ny) + 0.5) * shape[0] / ny - 0.5
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    there = (lies_at(t, own, places) for t, own in zip(transforms, shapes, strict=True))
    return sum(there, np.zeros(ny * nx, int)).reshape(grid)


def share_within(transform: Transform, shape: Shape, canvas: Canvas) -> float:
    """The part of a frame that lies on a canvas."""
    lines = np.linspace(0, 1, 24)
    grid = np.stack(np.meshgrid(lines * (shape[-1] - 1), lines * (shape[-2] - 1)), axis=-1).reshape(-1, 2)
    at = transform.inverse(grid) - canvas.origin_px
    return float(((at >= -0.5) & (at <= np.array(canvas.shape[::-1]) - 0.5)).all(axis=1).mean())


def largest_overlap(canvas: Canvas, transforms: Sequence[Transform], shapes: Sequence[Shape], least: int) -> Canvas:
    """The largest upright rectangle of a canvas in which at least so many frames lie at every pixel.

    Whole cells of a coarse grid that lie within the same frames are found first, then each side moves outwards as far
    as it may; of frames that are not turned it is exact.
    """
    (rows, cols), (left, top) = canvas.shape, canvas.origin_px
    step = max(1, -(-max(rows, cols) // CELLS))
    lines = [np.unique([*range(0, n, step), n - 1]) for n in (rows, cols)]
    y, x = np.meshgrid(*lines, indexing="ij")
    places = np.stack([x.ravel() + left, y.ravel() + top], axis=-1).astype(float)
    count = np.zeros((len(lines[0]) - 1, len(lines[1]) - 1), int)
    frames = list(zip(transforms, shapes, strict=True))
    for t, shape in frames:
        there = lies_at(t, shape, places).reshape(y.shape)
        count += there[1:, 1:] & there[1:, :-1] & there[:-1, 1:] & there[:-1, :-1]
    y0, y1, x0, x1 = largest_rectangle(count >= least, *lines)
    if y0 >= y1 or x0 >= x1:
        return Canvas((0, 0))
    box = [int(lines[0][y0]), int(lines[0][y1]), int(lines[1][x0]), int(lines[1][x1])]
    for side, (end, way) in enumerate(((0, -1), (rows - 1, 1), (0, -1), (cols - 1, 1))):
        reach = min(step, abs(end - box[side]))
        box[side] += way * farthest(frames, least, box, side, way, reach, canvas.origin_px)
    y0, y1, x0, x1 = box
    return Canvas((y1 - y0 + 1, x1 - x0 + 1), (left + x0, top + y0))


def farthest(frames, least: int, box: Sequence[int], side: int, way: int, reach: int, origin_px) -> int:
    """How far a side (y0, y1, x0, x1) of a box may move outwards, 0 to `reach` px, before too few frames lie on it."""

    def enough(off: int) -> bool:
        moved = box[side] + way * off
        ends = box[2:] if side < 2 else box[:2]
        along = np.unique(np.linspace(*ends, EDGE_POINTS * 4))
        fixed = np.full(along.shape, moved)
        places = np.stack([along, fixed] if side < 2 else [fixed, along], axis=-1) + origin_px
        there = np.stack([lies_at(t, shape, places) for t, shape in frames])
        return bool(((there[:, 1:] & there[:, :-1]).sum(axis=0) >= least).all())

    good, bad = 0, reach + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if enough(middle) else (good, middle)
    return good


def largest_rectangle(mask: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[int, int, int, int]:
    """The cells (y0, y1, x0, x1) of the largest rectangle of a mask (ny, nx) in which all is set.

    y (ny + 1,), x (nx + 1,): where the cells begin and end. Row by row, the bars of cells that are set above it are
    kept in ascending order: the largest rectangle below a bar ends where a lower one begins.
    """
    best, found = 0, (0, 0, 0, 0)
    ny, nx = mask.shape
    since = np.full(nx, -1)
    for j in range(ny):
        since = np.where(mask[j], np.where(since < 0, j, since), -1)
        bars: list[tuple[int, int]] = []
        for i in range(nx + 1):
            first = int(since[i]) if i < nx and since[i] >= 0 else j + 1
            begin = i
            while bars and bars[-1][1] <= first:
                begin, high = bars.pop()
                size = int(y[j + 1] - y[high]) * int(x[i] - x[begin])
                if size > best:
                    best, found = size, (high, j + 1, begin, i)
            if first <= j:
                bars.append((begin, first))
    return found
