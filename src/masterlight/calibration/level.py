"""`Level`: what is subtracted from raw pixels before any master, and how the overscan of a frame tells it."""

from math import isqrt
from typing import NamedTuple

import numpy as np

from masterlight.calibration.trimmed import Box
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import Frame, evenly
from masterlight.core.headers.geometry import period
from masterlight.core.statistics.scale import madn
from masterlight.core.units.figures import figure

FEWEST_SAMPLES = 16
REMEDY = "; set Overscan.region, or switch it off with Overscan.model none"


class Level(NamedTuple):
    """What is subtracted from each raw pixel before anything else, in DN: `phases` plus the level of its line.

    phases (p, p) float64 repeat over the frame from its pixel (0, 0); lines (rows,), columns (cols,) or None.
    """

    phases: np.ndarray
    lines: np.ndarray | None = None
    columns: np.ndarray | None = None

    @classmethod
    def of(cls, values) -> "Level":
        """The same level everywhere from one number, or one for each place of a square pattern from 4, 36, ..."""
        values = np.atleast_1d(np.asarray(values, float))
        size = isqrt(values.size)
        if size * size != values.size:
            raise ParameterError(f"a level for each pixel of a pattern comes as 1, 4 or 36 numbers, not {values.size}")
        return cls(values.reshape(size, size) if np.any(values != values[0]) else values[:1].reshape(1, 1))

    def box(self, y0: int, y1: int, x0: int, x1: int) -> tuple[np.ndarray, np.ndarray]:
        """The level of a box as the kernel wants it: lines (rows,) or (1,) float64, level (p, cols) or (1, 1)."""
        p = self.phases.shape[0]
        lines = np.zeros(1) if self.lines is None else self.lines[y0:y1]
        if p == 1 and self.columns is None:
            return lines + self.phases[0, 0], np.zeros((1, 1), np.float32)
        level = tiled(self.phases, y0, y0 + p, x0, x1)
        return lines, (level if self.columns is None else level + self.columns[x0:x1]).astype(np.float32)


def measure(frame: Frame, strips: tuple[Box, ...], window: Box, model: str, order: int) -> Level:
    """The level in strips of a frame: constant, or along them by the median of each line or a polynomial of `order`.

    window: the part that saw the sky, which must be brighter and rougher.
    """
    parts = [samples_of(frame, box) for box in strips]
    p = period(frame.meta.pattern)
    phases = phase_levels(parts, strips, p, frame)
    rests = [(part - tiled(phases, *box)).ravel() for part, box in zip(parts, strips, strict=True)]
    rough = scatter(np.concatenate(rests))
    check(frame, window, float(phases.mean()), rough)
    if model == "constant":
        return Level(phases)
    tall = is_tall(max(strips, key=lambda box: max(box[1] - box[0], box[3] - box[2])))
    values = [part if tall else part.T for part, box in zip(parts, strips, strict=True) if is_tall(box) == tall]
    starts = [box[0] if tall else box[2] for box in strips if is_tall(box) == tall]
    count = frame.shape[-2 if tall else -1]
    known, levels = lines_of(values, starts, count, rough)
    if model == "median":
        lines = np.interp(np.arange(count), known, levels)
    else:
        lines = polynomial(known, levels, min(order, known.size - 1), count)
    return Level(phases, lines, None) if tall else Level(phases, None, lines)


def lines_of(strips: list, starts: list[int], count: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The level of each line that some of the strips (lines, samples), which begin at line `starts`, tell: (at, level).

    Samples further than 3 sigma from the median of their line are left out; `count` is the number of lines.
    """
    table, column = np.full((count, sum(strip.shape[1] for strip in strips)), np.nan), 0
    for strip, start in zip(strips, starts, strict=True):
        table[start : start + strip.shape[0], column : column + strip.shape[1]] = strip
        column += strip.shape[1]
    known = np.flatnonzero(np.isfinite(table).any(axis=1))
    table = table[known]
    far = np.abs(table - np.nanmedian(table, axis=1, keepdims=True)) > 3 * max(sigma, 0.5)
    return known, np.nanmean(np.where(far, np.nan, table), axis=1)


def check(frame: Frame, window: Box, level: float, rough: float) -> None:
    """Raise FrameError unless this level and scatter can be those of pixels that saw no light."""
    y0, y1, x0, x1 = window
    step = max(1, (x1 - x0) // 2000) | 1
    sky = np.concatenate([frame.pixels(y, y + 1, x0, x1)[:, ::step] for y in evenly(y0, y1 - 1, 24)])
    sky = sky[np.isfinite(sky)]
    if sky.size and level > np.median(sky) + 5 * rough + 1:
        words = f"its overscan ({figure(level)} DN) is brighter than its middle ({figure(np.median(sky))} DN)"
        raise FrameError(frame.source, f"{words}: the header's regions cannot be right{REMEDY}")
    if sky.size and rough > 2 * scatter(sky) + 2:
        words = f"its overscan scatters by {figure(rough)} DN, its middle by {figure(scatter(sky))} DN"
        raise FrameError(frame.source, f"{words}: the overscan saw light{REMEDY}")


def samples_of(frame: Frame, box: Box) -> np.ndarray:
    """The pixels of a region as float64 (rows, cols), NaN where a sample tells nothing about the level."""
    pixels = np.asarray(frame.pixels(*box), float)
    ceiling = frame.meta.saturation_dn or np.inf
    bad = ~(pixels < ceiling) | ((pixels <= 0) if frame.meta.integer else False)
    return np.where(bad, np.nan, pixels)


def is_tall(box: Box) -> bool:
    return box[1] - box[0] >= box[3] - box[2]


def tiled(phases: np.ndarray, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    """Values of the places of a pattern (p, p), which repeat over the frame, in a box of it."""
    return phases[np.arange(y0, y1) % len(phases)][:, np.arange(x0, x1) % len(phases)]


def phase_levels(parts: list, boxes: tuple[Box, ...], p: int, frame: Frame) -> np.ndarray:
    """The level at each of p x p places of the pattern; places that the regions miss get the level of all."""
    levels = np.full((p, p), np.nan)
    everything = np.concatenate([part[np.isfinite(part)] for part in parts])
    if everything.size < FEWEST_SAMPLES:
        words = "pixels of its overscan can be used (the others are saturated, zero or missing)"
        raise FrameError(frame.source, f"only {everything.size} {words}{REMEDY}")
    for y, x in np.ndindex(p, p):
        places = zip(parts, boxes, strict=True)
        mine = np.concatenate([part[(y - box[0]) % p :: p, (x - box[2]) % p :: p].ravel() for part, box in places])
        if np.count_nonzero(np.isfinite(mine)) >= FEWEST_SAMPLES:
            levels[y, x] = centre(mine)
    return np.where(np.isfinite(levels), levels, centre(everything))


def scatter(values: np.ndarray) -> float:
    """Robust standard deviation of the values that are finite, from 20,000 of them at most."""
    values = values[np.isfinite(values)]
    return madn(values[:: max(1, values.size // 20_000) | 1])


def centre(values: np.ndarray) -> float:
    """Mean of the finite values within 3 sigma of their median: a median that integers do not round."""
    values = values[np.isfinite(values)]
    middle = np.median(values[:: max(1, values.size // 20_000) | 1])
    return float(values[np.abs(values - middle) <= 3 * max(scatter(values), 0.5)].mean())


def polynomial(at: np.ndarray, values: np.ndarray, order: int, count: int) -> np.ndarray:
    """A polynomial through values, outliers beyond 4 sigma left out, for each of `count` lines; flat outside."""
    keep = np.ones(at.size, bool)
    for _ in range(5):
        fit = np.polynomial.Chebyshev.fit(at[keep], values[keep], order, domain=(at[0], max(at[-1], at[0] + 1)))
        residual = values - fit(at)
        inner = np.abs(residual) <= max(4 * scatter(residual[keep]), 1e-9)
        if np.array_equal(inner, keep) or np.count_nonzero(inner) <= order:
            break
        keep = inner
    return fit(np.clip(np.arange(count), at[0], at[-1]))
