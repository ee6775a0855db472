"""Overscan: the level that the unexposed edge of a sensor tells, and the cut that takes this edge away."""

import re
from dataclasses import dataclass, replace
from math import isqrt
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import Frame
from masterlight.core.headers import area, inside, overlap, regridded, section, shifted_pattern
from masterlight.core.process import process
from masterlight.core.scale import madn

Box = tuple[int, int, int, int]
"""Bounds (y0, y1, x0, x1) in pixels."""
FEWEST_SAMPLES = 16


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
        level = self.phases[(np.arange(p) + y0) % p][:, np.arange(x0, x1) % p]
        return lines, (level if self.columns is None else level + self.columns[x0:x1]).astype(np.float32)


@process
class Overscan:
    """Subtract the level of the unexposed edge of the sensor from each frame, and cut that edge away."""

    model: Literal["auto", "none", "constant", "median", "polynomial"] = "auto"
    """How the level runs: constant is one number (one for each pixel of a colour pattern), median one for each line
    along the strip, polynomial a smooth curve through those; auto is constant where the header tells a strip."""
    order: Annotated[int, Field(ge=0, le=3)] = 1
    """Order of the polynomial."""
    trim: bool = True
    """Cut the frame to the part that saw the sky."""
    region: str | None = None
    """The strips that saw no light, as '[x1:x2,y1:y2]', counted from 1, several one after the other; otherwise the
    header's BIASSEC."""
    image: str | None = None
    """The part that saw the sky, as '[x1:x2,y1:y2]'; otherwise the header's TRIMSEC or DATASEC."""

    def strips(self, frame: Frame) -> tuple[Box, ...]:
        """The regions of a frame that saw no light, set by hand or told by its header."""
        if self.region is None:
            return frame.meta.overscan_px
        found = sections("overscan.region", self.region, frame)
        clash = [box for box in found if self.image is not None and overlap(box, self.window(frame))]
        if clash:
            raise FrameError(frame.source, "overscan.region and overscan.image overlap; give them apart")
        return found

    def window(self, frame: Frame) -> Box:
        """The part of a frame that is kept: what saw the sky, or everything when it is not to be trimmed."""
        whole = (0, frame.shape[-2], 0, frame.shape[-1])
        if not self.trim:
            return whole
        if self.image is not None:
            return sections("overscan.image", self.image, frame)[0]
        return frame.meta.data_px or whole

    def wanted(self, frame: Frame) -> bool:
        """Whether a level is to be subtracted; FrameError when one is asked for and nothing tells where to measure."""
        if self.model == "none" or "O" in frame.meta.calibration:
            return False
        if self.model != "auto" and not self.strips(frame):
            raise FrameError(
                frame.source,
                "tells no overscan (BIASSEC) in its header; give overscan.region '[x1:x2,y1:y2]', or overscan.model "
                "auto or none",
            )
        return bool(self.strips(frame))

    def level(self, frame: Frame) -> Level:
        """Measure the level in the strips of a frame; only they and 24 rows are read.

        Samples that are saturated, at or below zero in files of integers, or missing do not count. Raises FrameError
        when too few are left, and when the strips cannot be what they are said to be: brighter than the middle of the
        frame, or rougher than it.
        """
        boxes = self.strips(frame)
        parts = [believed(frame, box) for box in boxes]
        p = isqrt(len(frame.meta.pattern)) if frame.meta.pattern else 1
        phases = phase_levels(parts, boxes, p, frame)
        rough = scatter(
            np.concatenate([(part - tiled(phases, box)).ravel() for part, box in zip(parts, boxes, strict=True)])
        )
        self.check(frame, float(phases.mean()), rough)
        if self.model not in ("median", "polynomial"):
            return Level(phases)
        longest = max(boxes, key=lambda box: max(box[1] - box[0], box[3] - box[2]))
        tall = is_tall(longest)
        values = [part if tall else part.T for part, box in zip(parts, boxes, strict=True) if is_tall(box) == tall]
        starts = [box[0] if tall else box[2] for box in boxes if is_tall(box) == tall]
        lines = self.along(values, starts, frame.shape[-2 if tall else -1], rough)
        return Level(phases, lines, None) if tall else Level(phases, None, lines)

    def along(self, strips: list, starts: list[int], count: int, sigma: float) -> np.ndarray:
        """A level for each of `count` lines from strips (lines, samples) that begin at line `starts`."""
        table = np.full((count, sum(strip.shape[1] for strip in strips)), np.nan)
        column = 0
        for strip, start in zip(strips, starts, strict=True):
            table[start : start + strip.shape[0], column : column + strip.shape[1]] = strip
            column += strip.shape[1]
        known = np.flatnonzero(np.isfinite(table).any(axis=1))
        table = table[known]
        far = np.abs(table - np.nanmedian(table, axis=1, keepdims=True)) > 3 * max(sigma, 0.5)
        levels = np.nanmean(np.where(far, np.nan, table), axis=1)
        if self.model == "median":
            return np.interp(np.arange(count), known, levels)
        return polynomial(known, levels, min(self.order, known.size - 1), count)

    def check(self, frame: Frame, level: float, rough: float) -> None:
        """Raise FrameError unless this level and scatter can be those of pixels that saw no light."""
        y0, y1, x0, x1 = self.window(frame)
        rows = np.linspace(y0, y1 - 1, min(24, y1 - y0)).astype(int)
        sky = np.concatenate([frame.pixels(y, y + 1, x0, x1)[:, :: max(1, (x1 - x0) // 2000) | 1] for y in rows])
        sky = sky[np.isfinite(sky)]
        todo = "; set overscan.region, or switch it off with overscan.model none"
        if sky.size and level > np.median(sky) + 5 * rough + 1:
            words = f"its overscan ({level:.1f} DN) is brighter than its middle ({np.median(sky):.1f} DN)"
            raise FrameError(frame.source, f"{words}: the header's regions cannot be right{todo}")
        if sky.size and rough > 2 * scatter(sky) + 2:
            words = f"its overscan scatters by {rough:.1f} DN, its middle by {scatter(sky):.1f} DN"
            raise FrameError(frame.source, f"{words}: the overscan saw light{todo}")


def sections(name: str, text: str, frame: Frame) -> tuple[Box, ...]:
    """Regions in FITS notation as bounds; each must lie inside the frame."""
    words = re.findall(r"\[[^\]]*\]", text)
    boxes = tuple(section(word) for word in words)
    if not boxes or None in boxes or re.sub(r"\[[^\]]*\]|[\s;,]", "", text):
        raise ParameterError(f"{name}: '[x1:x2,y1:y2]', counted from 1, is expected (given: '{text}')")
    rows, cols = frame.shape[-2:]
    for word, box in zip(words, boxes, strict=True):
        if not inside(box, (0, rows, 0, cols)) or not area(box):
            raise FrameError(frame.source, f"{name} {word} reaches outside its {cols} x {rows} pixels")
    return boxes


def believed(frame: Frame, box: Box) -> np.ndarray:
    """The pixels of a region as float64 (rows, cols), NaN where a sample tells nothing about the level."""
    pixels = np.asarray(frame.pixels(*box), float)
    ceiling = frame.meta.saturation_dn or np.inf
    bad = ~(pixels < ceiling) | ((pixels <= 0) if frame.meta.integer else False)
    return np.where(bad, np.nan, pixels)


def is_tall(box: Box) -> bool:
    return box[1] - box[0] >= box[3] - box[2]


def tiled(phases: np.ndarray, box: Box) -> np.ndarray:
    """The phase levels over a region of the frame."""
    p = phases.shape[0]
    return phases[np.arange(box[0], box[1]) % p][:, np.arange(box[2], box[3]) % p]


def phase_levels(parts: list, boxes: tuple[Box, ...], p: int, frame: Frame) -> np.ndarray:
    """The level at each of p x p places of the pattern; places that the regions miss get the level of all."""
    levels = np.full((p, p), np.nan)
    everything = np.concatenate([part.ravel() for part in parts])
    everything = everything[np.isfinite(everything)]
    if everything.size < FEWEST_SAMPLES:
        raise FrameError(
            frame.source,
            f"only {everything.size} pixels of its overscan can be used (the others are saturated, zero or missing); "
            "set overscan.region, or switch it off with overscan.model none",
        )
    for y, x in np.ndindex(p, p):
        mine = [
            part[(y - box[0]) % p :: p, (x - box[2]) % p :: p].ravel() for part, box in zip(parts, boxes, strict=True)
        ]
        mine = np.concatenate(mine)
        if np.count_nonzero(np.isfinite(mine)) >= FEWEST_SAMPLES:
            levels[y, x] = centre(mine)
    return np.where(np.isfinite(levels), levels, centre(everything))


def few(values: np.ndarray) -> np.ndarray:
    """The finite values, 20,000 of them at most."""
    values = values[np.isfinite(values)]
    return values[:: max(1, values.size // 20_000) | 1]


def scatter(values: np.ndarray) -> float:
    """Robust standard deviation of the values that are finite."""
    return madn(few(values))


def centre(values: np.ndarray) -> float:
    """Mean of the finite values within 3 sigma of their median: a median that integers do not round."""
    values = values[np.isfinite(values)]
    some = few(values)
    return float(values[np.abs(values - np.median(some)) <= 3 * max(madn(some), 0.5)].mean())


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Trimmed(Frame):
    """A view of a part of a frame."""

    whole: Frame
    top: int
    left: int

    @classmethod
    def of(cls, frame: Frame, window: Box) -> Frame:
        """The part of a frame in these bounds; the frame itself when they are all of it."""
        y0, y1, x0, x1 = window
        if (y0, y1, x0, x1) == (0, frame.shape[-2], 0, frame.shape[-1]):
            return frame
        meta = frame.meta.with_(
            shape=(*frame.shape[:-2], y1 - y0, x1 - x0),
            pattern=shifted_pattern(frame.meta.pattern, y0, x0),
            black_dn=shifted_levels(frame.meta.black_dn, y0, x0),
            overscan_px=(),
            data_px=None,
        )
        return cls(source=frame.source, meta=meta, cards=frame.cards, whole=frame, top=y0, left=x0)

    def with_cards(self, cards: tuple[str, ...]) -> "Trimmed":
        return replace(self, cards=cards)

    @property
    def header(self):
        return regridded(self.whole.header, self.top, self.left)

    @property
    def scratch_bytes(self):
        return self.whole.scratch_bytes

    def there(self, y0, y1, x0, x1) -> Box:
        return y0 + self.top, y1 + self.top, x0 + self.left, x1 + self.left

    def pixels(self, y0, y1, x0, x1):
        return self.whole.pixels(*self.there(y0, y1, x0, x1))

    def pixels_into(self, out, y0, x0):
        self.whole.pixels_into(out, y0 + self.top, x0 + self.left)

    def stored(self, y0, y1, x0, x1):
        return self.whole.stored(*self.there(y0, y1, x0, x1))

    def defective(self, y0, y1, x0, x1):
        return self.whole.defective(*self.there(y0, y1, x0, x1))


def shifted_levels(levels: tuple[float, ...] | None, y0: int, x0: int) -> tuple[float, ...] | None:
    """Levels of a pattern as they begin at row y0, column x0."""
    if not levels or len(levels) == 1:
        return levels
    p = isqrt(len(levels))
    return tuple(levels[(y + y0) % p * p + (x + x0) % p] for y in range(p) for x in range(p))
