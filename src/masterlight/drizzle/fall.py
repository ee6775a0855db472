"""Where the pixels of a source fall on the finer grid of a drizzle, and how far the drop of each reaches there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import numpy as np

from masterlight.alignment.transform import Transform
from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame
from masterlight.core.headers.geometry import period, places

GAUSSIAN_REACH = 2.5 / 2.3548


class Places(NamedTuple):
    """The pixels of one colour: of each square of `period` pixels, those at these rows and columns."""

    period: int
    at: tuple[tuple[int, int], ...]


def layers_of(frame: Frame, cfa: str) -> list[tuple[int, int, Places]]:
    """(plane of the result, plane of the frame, its pixels) of all that one frame gives."""
    pattern = frame.meta.pattern if len(frame.shape) == 2 else None
    if cfa == "on" and not pattern:
        words = "it is no mosaic: its header tells no colour pattern; use cfa='auto' or tell the pattern"
        raise FrameError(frame.source, words)
    if not pattern or cfa == "off":
        return [(plane, plane, Places(1, ((0, 0),))) for plane in range(frame.planes)]
    if not set("RGB") == set(pattern):
        words = f"has colour filters {pattern}; only sensors with red, green and blue can be drizzled"
        raise FrameError(frame.source, words)
    return [("RGB".index(c), 0, Places(period(pattern), tuple(at))) for c, at in places(pattern).items()]


def to_output(matrix: np.ndarray, scale: float) -> np.ndarray:
    """The 3x3 matrix from source pixels to output pixels: out = (reference + 0.5) * scale - 0.5."""
    grow = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    whole = grow @ np.linalg.inv(matrix)
    return whole / whole[2, 2]


def positions(matrix: np.ndarray, rows, columns, y0: float = 0, x0: float = 0) -> np.ndarray:
    """Where source pixels lie: (h, w, 2) float64 of x - x0 and y - y0, for these rows (h,) and columns (w,)."""
    x, y = np.asarray(columns, float)[None, :], np.asarray(rows, float)[:, None]
    z = matrix[2, 0] * x + (matrix[2, 1] * y + matrix[2, 2])
    at = np.empty((y.size, x.size, 2))
    for axis, start in enumerate((x0, y0)):
        np.add(matrix[axis, 0] * x, matrix[axis, 1] * y + matrix[axis, 2], out=at[..., axis])
        at[..., axis] /= z
        at[..., axis] -= start
    return at


class Way(NamedTuple):
    """How source pixels come to the output: by a matrix alone, or bent to the reference first."""

    matrix: np.ndarray
    back: Transform | None = None

    @classmethod
    def of(cls, transform: Transform, scale: float, shape: tuple[int, ...]) -> "Way":
        """The way back of a transform; shape: rows and columns of the source."""
        if transform.bend is None:
            return cls(to_output(transform.matrix, scale))
        return cls(to_output(np.eye(3), scale), replace(transform.inverse, shape=tuple(shape)))

    def positions(self, rows, columns, y0: float = 0, x0: float = 0) -> np.ndarray:
        """Where source pixels lie in the output: as `positions`."""
        if self.back is None:
            return positions(self.matrix, rows, columns, y0, x0)
        rows, columns = np.asarray(rows, float), np.asarray(columns, float)
        box = [n for v in (rows, columns) for n in (int(np.floor(v.min())), int(np.ceil(v.max())) + 1)]
        at = self.back.grid(*box).at(np.stack(np.meshgrid(columns, rows), axis=-1))
        return at * self.matrix[0, 0] + (self.matrix[0, 2] - x0, self.matrix[1, 2] - y0)


def reach_px(kernel: str, drop: float, pixel: float) -> float:
    """How far from its centre a drop can touch, in output pixels; `pixel` is the size of a source pixel."""
    if kernel.startswith("lanczos"):
        return int(kernel[-1]) * pixel + 1
    return max(GAUSSIAN_REACH * drop, 1.2) * pixel + 1 if kernel == "gaussian" else 0.75 * drop * pixel + 1


def noise_ratio(kernel: str, drop: float, pixel: float) -> float:
    """Noise of a wide area over what its single pixels suggest, for many evenly spread dithers.

    `pixel` is the size of a source pixel in output pixels. For square drops of r = drop * pixel output pixels it is
    r / (1 - 1 / (3 r)), or 1 / (1 - r / 3) below 1 (Fruchter and Hook 2002); for any kernel, along each axis, the mean
    square of what a drop gives to all pixels over the integral of its squared weight.
    """
    steps = 200
    phase = (np.arange(steps) + 0.5) / steps
    wide = ceil(4 * max(1.0, drop) * pixel) + 2
    x = np.arange(-wide, wide)[:, None] + phase[None, :]
    if kernel in ("square", "turbo"):
        r = drop * pixel
        profile = np.clip((r + 1) / 2 - np.abs(x), 0, min(r, 1.0))
    elif kernel == "point":
        profile = (np.abs(x) < 0.5).astype(float)
    elif kernel == "gaussian":
        sigma = drop * pixel / 2.3548
        reach = pixel * max(GAUSSIAN_REACH * drop, 1.2) + 0.5
        profile = np.exp(-(x**2) / (2 * sigma**2)) * (np.abs(x) < reach)
    else:
        order = int(kernel[-1])
        profile = np.where(np.abs(x) < order * pixel, np.sinc(x / pixel) * np.sinc(x / pixel / order), 0.0)
    return float((profile.sum(axis=0) ** 2).mean() / (profile**2).sum(axis=0).mean())


@dataclass(frozen=True)
class Window:
    """Where a tile with its margin lies on the output grid."""

    y0: int
    x0: int
    rows: int
    cols: int
    margin: int

    @property
    def core(self) -> tuple[slice, slice]:
        return slice(self.margin, self.rows - self.margin), slice(self.margin, self.cols - self.margin)

    @property
    def starts(self) -> tuple[tuple[int, int], ...]:
        """For x and y: the axis of positions, and where the window begins."""
        return (0, self.x0), (1, self.y0)

    def in_core(self, at: np.ndarray) -> np.ndarray:
        """Whether positions (..., 2) in the window round to a pixel of the tile itself."""
        low, x, y = self.margin - 0.5, at[..., 0], at[..., 1]
        right, bottom = self.cols + low - 2 * self.margin, self.rows + low - 2 * self.margin
        return (x >= low) & (x < right) & (y >= low) & (y < bottom)


def lattices(pixels, core, of_colour: Places, way: Way, window: Window) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pixels of one colour in a padded box, and their positions in the window: for each place in the pattern."""
    n = of_colour.period
    for dy, dx in of_colour.at:
        rows, columns = np.arange(core[0] - n + dy, core[1] + n, n), np.arange(core[2] - n + dx, core[3] + n, n)
        yield pixels[dy::n, dx::n], way.positions(rows, columns, window.y0, window.x0)
