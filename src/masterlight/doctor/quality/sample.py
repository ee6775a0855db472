"""A bounded, repeatable sample of a frame, colour by colour: all of a small frame, bands of rows of a large one.

Results are dictionaries with the keys "R", "G", "B" of a colour frame, or "mono".
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from masterlight.core.frame import Frame, strips
from masterlight.core.headers.geometry import period, places

PIXELS = 300_000
"""Pixels that a sample of a frame holds at most, about."""
LEVEL_SAMPLES = 25_000
"""Pixels from which a level is told where many are: sure to a percent of their scatter."""
STRIP = 12
"""Rows of a strip of the sample, in rows of one colour: one block of those in which noise is measured, and a half."""
HASHED_ROWS = 8

Boxes = list[np.ndarray]
"""Neighbours of one colour, float32 (rows, cols) each."""
Sample = dict[str, Boxes]
"""The boxes of each colour."""


def colours(frame: Frame) -> dict[str, list[tuple[int, int, int]]]:
    """Where each colour of a frame is: its pixels are those of plane p from row y, column x on, every `pitch`-th."""
    if len(frame.shape) == 3:
        return {name: [(p, 0, 0)] for p, name in enumerate("RGB")}
    return {name or "mono": [(0, y, x) for y, x in at] for name, at in places(frame.meta.pattern).items()}


def pitch(frame: Frame) -> int:
    """After how many pixels the colours repeat."""
    return period(frame.meta.pattern) if len(frame.shape) == 2 else 1


def planes(pixels: np.ndarray) -> np.ndarray:
    """Pixels (rows, cols) or (planes, rows, cols) as planes."""
    return pixels if pixels.ndim == 3 else pixels[None]


def bands(frame: Frame, pixels: int = PIXELS) -> list[np.ndarray]:
    """Whole rows spread over a frame, each of the same colours; all of a small frame."""
    rows, cols = frame.shape[-2:]
    height = STRIP * pitch(frame)
    if rows * cols <= pixels or rows < 2 * height:
        return strips(frame, 1, rows)
    return strips(frame, max(1, min(16, round(pixels / (height * cols)))), height, pitch(frame), inside=True)


def sample(frame: Frame, pixels: int = PIXELS) -> Sample:
    """A sample of each colour as boxes of neighbours of that colour, float32 (rows, cols)."""
    read, size = [planes(band) for band in bands(frame, pixels)], pitch(frame)
    return {
        name: [np.ascontiguousarray(band[p, y::size, x::size]) for band in read for p, y, x in at]
        for name, at in colours(frame).items()
    }


def values(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """The finite pixels of some boxes, flat."""
    flat = np.concatenate([box.ravel() for box in boxes])
    good = np.isfinite(flat)
    return flat if good.all() else flat[good]


def thin(x: np.ndarray, count: int) -> np.ndarray:
    """At most about so many of some values, evenly taken."""
    return np.ascontiguousarray(x[:: max(1, -(-x.size // count))])


def middle_mean(x: np.ndarray) -> float:
    """Mean of the middle half of the values: as robust as needed, and finer than the step of whole numbers."""
    if not x.size:
        return math.nan
    quarter = x.size // 4
    ordered = np.partition(x, (quarter, x.size - quarter - 1))
    return float(ordered[quarter : x.size - quarter].mean(dtype=np.float64))


def level(boxes: Sequence[np.ndarray]) -> float:
    """The level of some boxes of one colour, DN."""
    return middle_mean(thin(values(boxes), LEVEL_SAMPLES))


def levels_of(frame: Frame) -> dict[str, float]:
    """The level of each colour of a frame, DN."""
    return {name: level(boxes) for name, boxes in sample(frame).items()}


def content_hash(frame: Frame) -> str:
    """A short word that tells frames of different pixels apart, whatever their names and headers; NaN counts as NaN.

    BLAKE2 of 8 rows spread over the frame, as float32, and of its shape: of two exposures not one row is the same.
    """
    digest = hashlib.blake2b(repr(tuple(frame.shape)).encode(), digest_size=10)
    for row in strips(frame, HASHED_ROWS):
        line = row.astype("<f4") + np.float32(0)
        line[np.isnan(line)] = np.nan
        digest.update(np.ascontiguousarray(line).tobytes())
    return digest.hexdigest()
