"""LargeScaleRejection: what clipping leaves of a satellite's trail or of a reflection is rejected too."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from masterlight.core.process import process
from masterlight.integration.trails.largescale import crowded, disc, row_starts
from masterlight.integration.trails.lines import found

Layers = Annotated[int, Field(ge=1, le=6)]
Growth = Annotated[int, Field(ge=1, le=20)]
NONE = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Trail:
    """A straight trail in one frame, from (x0, y0) to (x1, y1) in pixels of that frame."""

    x0: float
    y0: float
    x1: float
    y1: float
    width_px: float
    """Of the band that is rejected, its growth included."""
    snr: float
    """Square root of twice the logarithm of how much likelier the rejected pixels are with a trail than without."""
    rejected_fraction: float
    """Share of the band's pixels that had been rejected one by one."""

    @property
    def length_px(self) -> float:
        return float(np.hypot(self.x1 - self.x0, self.y1 - self.y0))

    def __str__(self):
        ends = f"from ({self.x0:.0f}, {self.y0:.0f}) to ({self.x1:.0f}, {self.y1:.0f})"
        return f"satellite trail {ends}, {self.width_px:.0f} px wide"


@dataclass(frozen=True, eq=False)
class Grown:
    """Pixels of one frame to be rejected on top of those that clipping rejected: sorted flat indices, uint32."""

    low: np.ndarray
    high: np.ndarray
    """Those of trails included."""
    trails: tuple[Trail, ...] = ()

    def __bool__(self):
        return bool(self.low.size or self.high.size)


@process
class LargeScaleRejection:
    """Reject whole structures of which clipping found only a part: trails along their line, large shapes all around."""

    trails: bool = True
    """Find straight trails of satellites, meteors and aeroplanes, of 100 px or more, and reject them end to end."""
    trail_sigma: Annotated[float, Field(ge=5, le=100)] = 7.5
    """How far, in sigma, a line of rejected pixels must stand out from chance to be a trail."""
    trail_growth_px: Annotated[float, Field(ge=0, le=50)] = 1.0
    """Trails are rejected this much wider on either side than where rejected pixels abound."""
    low: bool = False
    """Grow large structures of pixels that were rejected as too faint."""
    high: bool = False
    """Grow large structures of pixels that were rejected as too bright."""
    layers_low: Layers = 2
    """Faint structures narrower than about 2 to this power, in pixels, are small and not grown."""
    layers_high: Layers = 2
    """Bright structures narrower than about 2 to this power, in pixels, are small and not grown."""
    growth_low: Growth = 2
    """Faint structures grow by so many pixels on all sides."""
    growth_high: Growth = 2
    """Bright structures grow by so many pixels on all sides."""

    def grown(self, low: np.ndarray, high: np.ndarray, shape: tuple[int, int]) -> Grown:
        """What else is to be rejected in a frame of which clipping rejected the pixels `low` and `high`.

        low, high: sorted flat indices y * cols + x of pixels, any whole-number dtype, uint32 without a copy (of a map,
        `np.flatnonzero(map)`); shape: (rows, cols). The result holds sorted uint32 indices of pixels that are not in
        the list of their own side, empty where nothing is to be added. One plane of one frame at a time.
        """
        low, high = np.ascontiguousarray(low, np.uint32), np.ascontiguousarray(high, np.uint32)
        more_low = large(low, shape, self.layers_low, self.growth_low) if self.low else NONE
        more_high = large(high, shape, self.layers_high, self.growth_high) if self.high else NONE
        bands, lines = found(high, shape, self.trail_sigma, self.trail_growth_px) if self.trails else (NONE, ())
        trails = tuple(Trail(*line) for line in lines)
        return Grown(without(more_low, low), without(united(more_high, bands), high), trails)


def large(flat: np.ndarray, shape: tuple[int, int], layers: int, growth: int) -> np.ndarray:
    """The large structures of a sparse binary map, grown: those that outlive medians of diameter 3, 5, 9 ... pixels."""
    for layer in range(layers):
        flat = crowded(flat, row_starts(flat, *shape), *shape, disc(2 ** (layer + 1) + 1), 0.5)
    return crowded(flat, row_starts(flat, *shape), *shape, disc(2 * growth + 1), 0.0)


def united(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.union1d(a, b) if a.size and b.size else (a if a.size else b)


def without(more: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The elements of one sorted list that are not in another."""
    if not more.size or not known.size:
        return more
    at = np.minimum(np.searchsorted(known, more), known.size - 1)
    return more[known[at] != more]
