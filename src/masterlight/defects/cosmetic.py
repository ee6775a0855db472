"""CosmeticCorrection: repair the pixels that a master dark, a list or the frame itself shows to be defective."""

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from masterlight.core.errors import FrameError
from masterlight.core.frame import COLD, HOT, Frame
from masterlight.core.headers import period
from masterlight.core.mesh import mesh
from masterlight.core.process import card, process
from masterlight.defects.kernels import MEDIAN, departures, listed, local_outliers, outside, replace_defects
from masterlight.defects.lists import HALO, Defects, colours_of, geometry, margined, pattern_for

SQUARE = 3
"""A pixel of a dark is compared with the median of the square that reaches so far around it."""
SAMPLE_PIXELS = 4 << 20
"""The spread of a frame is measured on all of its pixels, or on bands of rows with about so many."""
BAND_ROWS = 12
"""Rows of such a band: both the 2 rows of a Bayer pattern and the 6 of X-Trans go into it."""
_ALL_GOOD = np.ones((1, 1), np.float32)

Sigma = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


@process
class CosmeticCorrection:
    """Replace defective pixels by the median of their nearest good neighbours of the same colour."""

    hot: Sigma | None = 8.0
    """Pixels of the master dark this many sigma above their surroundings are hot; none are when left out."""
    cold: Sigma | None = 8.0
    """Pixels of the master dark this many sigma below their surroundings are cold; none are when left out."""
    hot_dn: float | None = None
    """Pixels of the master dark at or above this level, DN, are hot; takes the place of `hot`."""
    cold_dn: float | None = None
    """Pixels of the master dark at or below this level, DN, are cold; takes the place of `cold`."""
    hot_count: Count | None = None
    """So many of the brightest pixels of the master dark are hot, and their equals; takes the place of `hot`."""
    cold_count: Count | None = None
    """So many of the faintest pixels of the master dark are cold, and their equals; takes the place of `cold`."""
    min_excess_dn: Annotated[float, Field(ge=0)] = 0.0
    """Pixels nearer than this to their surroundings in the master dark, DN, are not defects by `hot` or `cold`."""
    max_fraction: Annotated[float, Field(gt=0, le=1)] = 0.02
    """More defects than this fraction of the sensor mean that the threshold is wrong: the highest ones are taken."""
    hot_auto: Annotated[float, Field(ge=0, le=50)] | None = None
    """Pixels of the frame itself that stand above their neighbours by this many average deviations are hot; off when
    left out. For single sharp pixels that no dark knows; 6 or more keeps good pixels and stars."""
    cold_auto: Annotated[float, Field(ge=0, le=50)] | None = None
    """Pixels of the frame itself that lie below their neighbours by this many average deviations are cold; off when
    left out."""
    amount: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the new value in a repaired pixel: 1 replaces it, 0 leaves it as it was."""
    cfa: Literal["auto", "yes", "no"] = "auto"
    """Whether only pixels of the same colour filter are neighbours: as the header tells, always, or never."""

    def defects(self, dark: Frame) -> Defects:
        """Find the defects in a master dark: pixels that depart from their surroundings, or the ends of its range.

        In sigma, candidates depart from the smooth background of the whole frame, and those that depart from the median
        of their own 7 x 7 square too are defects: amplifier glow is not one. Every place of a colour filter pattern
        is looked at as an image of its own. Missing pixels (NaN) are defective. The notes of the result tell when
        more than `max_fraction` were found.
        """
        image = np.asarray(dark, np.float32)
        if image.ndim != 2:
            raise FrameError(dark.source, "a master dark of one plane is needed to find defective pixels")
        ends = self.ends(image)
        by_sigma = self.hot if ends[1] is None else None, self.cold if ends[0] is None else None
        pitch = period(pattern_for(dark, self.cfa))
        y, x, departure, sigma = departing(image, *by_sigma, pitch)
        high, low = (by_sigma[0] or np.inf), -(by_sigma[1] or np.inf)
        z = np.where(np.abs(departure) < self.min_excess_dn, 0.0, departure / sigma)
        kinds = np.where(z > high, HOT, np.where((z < low) | ~np.isfinite(z), COLD, 0))
        strength = np.where(np.isfinite(z), np.abs(z), np.inf)
        if ends != (None, None):
            low_dn, high_dn = (-np.inf if ends[0] is None else ends[0]), (np.inf if ends[1] is None else ends[1])
            y2, x2 = np.nonzero((image >= high_dn) | (image <= low_dn))
            y, x = np.append(y, y2), np.append(x, x2)
            kinds = np.append(kinds, np.where(image[y2, x2] >= high_dn, HOT, COLD))
            strength = np.append(strength, np.abs(image[y2, x2] - np.nanmedian(image)))
        order = np.flatnonzero(kinds)
        limit, notes = max(1, int(self.max_fraction * image.size)), ()
        if order.size > limit:
            notes = (
                f"{order.size} pixels of {dark.source} stand out, {100 * order.size / image.size:.2g} % of it and more "
                f"than max_fraction allows ({100 * self.max_fraction:g} %): the strongest {limit} were taken. The "
                "threshold is low, or the sensor was warm",
            )
            order = order[np.argsort(-strength[order], kind="stable")[:limit]]
        mask = np.zeros(image.shape, np.uint8)
        mask[y[order], x[order]] = kinds[order]
        return Defects.of(mask, dark.source, dark.meta, notes)

    def ends(self, image: np.ndarray) -> tuple[float | None, float | None]:
        """The levels, DN, at which a pixel of the dark is cold and hot by level or by number; None where by sigma."""
        low, high = self.cold_dn, self.hot_dn
        if self.hot_count is not None or self.cold_count is not None:
            values = image[np.isfinite(image)]
            high = high if self.hot_count is None else highest_level(values, self.hot_count)
            low = low if self.cold_count is None else -highest_level(-values, self.cold_count)
        return low, high

    def __call__(self, frame: Frame, defects: Defects | None = None) -> Frame:
        """A repaired view of `frame`; nothing is computed until it is indexed.

        defects: known ones, of a master dark or a list; the frame may show another region of the same sensor. Without
        any, and with `hot_auto` and `cold_auto` off, the frame itself is given back.
        """
        automatic = self.hot_auto is not None or self.cold_auto is not None
        if not self.amount or not (defects or automatic):
            return frame
        defects = Defects.none(frame.shape[-2:]) if defects is None else defects.for_frame(frame.meta, frame.source)
        done = card(self, defects=len(defects), dark=defects.source)
        return Corrected(
            source=frame.source,
            meta=frame.meta,
            cards=(*frame.cards, done),
            uncorrected=frame,
            defects=defects,
            process=self,
            spread=Spread(frame, defects, pattern_for(frame, self.cfa)) if automatic else None,
        )


def departing(image: np.ndarray, high: float | None, low: float | None, pitch: int = 1):
    """Pixels that depart from the background of a frame: rows, columns, departure from their square and sigma, DN.

    high, low: how many sigma above and below the background a pixel must be to be looked at; None for none.
    With a pitch above 1 every place of a pattern of so many pixels is an image of its own. NaN pixels are among them.
    """
    found = []
    for dy, dx in np.ndindex(min(pitch, image.shape[0]), min(pitch, image.shape[1])):
        plane = np.ascontiguousarray(image[dy::pitch, dx::pitch])
        level, noise = mesh(plane)
        sigma = float(np.median(noise)) or float(np.nanstd(plane)) or 1.0
        y, x = outside(plane, level, -(low or np.inf) * sigma, (high or np.inf) * sigma)
        away = departures(plane, y, x, SQUARE)
        found.append((y * pitch + dy, x * pitch + dx, away, np.full(y.size, sigma)))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def highest_level(values: np.ndarray, count: int) -> float:
    """The highest level at or above which there are `count` of the finite values, or more when several are equal."""
    if not count or not values.size:
        return float("inf")
    at = max(0, values.size - count)
    return float(np.partition(values, at)[at])


@lru_cache(maxsize=64)
def stencils(pattern: str | None, y0: int, x0: int):
    """Neighbours for the automatic mode: (p, p, 8, 2) nearest, (p, p, k, 2) those after them, (p, p) how many of these.

    Mono: the 8 around a pixel, and the 40 others of its 7 x 7 square. Bayer: the same at a pitch of 2. X-Trans: the 8
    nearest of the same colour and the others up to HALO pixels away, for each of its 36 places.
    """
    colours = colours_of(pattern, y0, x0)
    p = len(colours)
    if p <= 2:
        square = [(dy * p, dx * p) for dy in range(-3, 4) for dx in range(-3, 4)]
        near = [o for o in square if o != (0, 0) and max(map(abs, o)) == p]
        far = [o for o in square if max(map(abs, o)) > p]
        return np.array([[near]]), np.array([[far]]), np.array([[len(far)]])
    square = [(dy, dx) for dy in range(-HALO, HALO + 1) for dx in range(-HALO, HALO + 1) if (dy, dx) != (0, 0)]
    square.sort(key=lambda o: (o[0] ** 2 + o[1] ** 2, o))
    near, far = np.zeros((p, p, 8, 2), np.int64), np.zeros((p, p, len(square), 2), np.int64)
    counts = np.zeros((p, p), np.int64)
    for y, x in np.ndindex(p, p):
        same = [o for o in square if colours[(y + o[0]) % p, (x + o[1]) % p] == colours[y, x]]
        near[y, x], counts[y, x] = same[:8], len(same) - 8
        far[y, x, : len(same) - 8] = same[8:]
    return near, far, counts


@dataclass(frozen=True, eq=False)
class Spread:
    """The average deviation from the median of each colour of a frame, measured when it is first asked for.

    Known defects do not count. Frames above SAMPLE_PIXELS are measured on bands of rows spread evenly over them.
    """

    frame: Frame
    defects: Defects
    pattern: str | None
    _made: list = field(default_factory=list, repr=False)
    _lock: object = field(default_factory=threading.Lock, repr=False)

    def __getstate__(self):
        return {"frame": self.frame, "defects": self.defects, "pattern": self.pattern, "_made": list(self._made)}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    def __call__(self) -> np.ndarray:
        """(planes, c, c) float32 DN: one number for each place of the colour pattern."""
        with self._lock:
            if not self._made:
                self._made.append(self.measured())
            return self._made[0]

    def measured(self) -> np.ndarray:
        rows, cols = self.frame.shape[-2:]
        bands = max(1, min(rows // BAND_ROWS, SAMPLE_PIXELS // (BAND_ROWS * cols)))
        if rows * cols <= SAMPLE_PIXELS:
            boxes = [(0, rows)]
        else:
            starts = np.linspace(0, rows - BAND_ROWS, bands).astype(int) // BAND_ROWS * BAND_ROWS
            boxes = [(y, y + BAND_ROWS) for y in np.unique(starts).tolist()]
        pixels = [self.frame.pixels(y0, y1, 0, cols).reshape(-1, y1 - y0, cols) for y0, y1 in boxes]
        planes = np.concatenate(pixels, axis=1)
        good = np.concatenate([self.defects.box(y0, y1, 0, cols) == 0 for y0, y1 in boxes])
        colours = colours_of(self.pattern)
        size = colours.shape[0]
        out = np.zeros((len(planes), size, size), np.float32)
        of_pixel = np.resize(np.tile(colours, (1, -(-cols // size)))[:, :cols], good.shape)
        for plane, into in zip(planes, out, strict=True):
            for colour in np.unique(colours):
                values = plane[good & (of_pixel == colour)]
                values = values[np.isfinite(values)]
                if values.size:
                    into[colours == colour] = np.mean(np.abs(values - np.median(values)), dtype=np.float64)
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrected(Frame):
    """A view of a frame with its defective pixels repaired."""

    uncorrected: Frame
    defects: Defects
    process: CosmeticCorrection
    spread: Spread | None = None

    @property
    def header(self):
        return self.uncorrected.header

    @property
    def scratch_bytes(self):
        return self.uncorrected.scratch_bytes

    @property
    def pattern(self) -> str | None:
        return pattern_for(self, self.process.cfa)

    def pixels(self, y0, y1, x0, x1):
        around = self.around(y0, y1, x0, x1, HALO)
        return self.repaired(self.uncorrected.pixels(*around), around, (y0, y1, x0, x1))

    def pixels_and_defective(self, y0, y1, x0, x1):
        around = self.around(y0, y1, x0, x1, HALO)
        image, inner = self.uncorrected.pixels_and_defective(*around)
        mask = self.defects.box(y0, y1, x0, x1)
        if inner is not None:
            mask |= inner[y0 - around[0] : y1 - around[0], x0 - around[2] : x1 - around[2]]
        return self.repaired(image, around, (y0, y1, x0, x1), mask), mask

    def repaired(self, image, around, box, mask=None):
        """The pixels of a box, from the image `around` it; what they themselves show to be defective goes into mask."""
        (top, _, left, _), (y0, y1, x0, x1) = around, box
        image = np.array(image, np.float32, order="C", copy=None if image.base is None else True)
        self.repair(image, top, left, (y0 - top, y1 - top, x0 - left, x1 - left), mask)
        return image[..., y0 - top : y1 - top, x0 - left : x1 - left]

    def pixels_into(self, out, y0, x0):
        if out.shape[-2:] != self.shape[-2:]:
            out[...] = self.pixels(y0, y0 + out.shape[-2], x0, x0 + out.shape[-1])
            return
        self.uncorrected.pixels_into(out, y0, x0)
        self.repair(out, 0, 0, (0, out.shape[-2], 0, out.shape[-1]))

    def defective(self, y0, y1, x0, x1):
        """What is replaced in the box, known and found, and what was invented before: uint8 (rows, cols) of bits."""
        inner = self.uncorrected.defective(y0, y1, x0, x1)
        mask = self.defects.box(y0, y1, x0, x1)
        if inner is not None:
            mask |= inner
        if self.spread is not None:
            top, bottom, left, right = self.around(y0, y1, x0, x1)
            image = np.array(self.uncorrected.pixels(top, bottom, left, right), np.float32, order="C")
            wanted = (y0 - top, y1 - top, x0 - left, x1 - left)
            for plane, number in self.planes(image):
                add(mask, wanted, *self.found(plane, number, top, left, wanted))
        return mask

    def around(self, y0, y1, x0, x1, halo=0):
        """The box with the margin that repair needs, inside the frame."""
        if self.spread is not None:
            halo += int(np.abs(stencils(self.pattern, 0, 0)[1]).max())
        return margined((y0, y1, x0, x1), halo, self.shape[-2:])

    def planes(self, image):
        return ((plane, number) for number, plane in enumerate(image.reshape(-1, *image.shape[-2:])))

    def known(self, shape, y0, x0):
        """The known defects of a box, counted from its first pixel."""
        d = self.defects
        return listed(d.row_start, d.columns, d.rules, y0, y0 + shape[0], x0, x0 + shape[1])

    def found(self, plane, number, y0, x0, wanted):
        """The defects that a plane itself shows inside `wanted`; the known ones become NaN in it and do not count."""
        y, x, _ = self.known(plane.shape, y0, x0)
        plane[y, x] = np.nan
        spread = np.roll(self.spread()[number], (-y0, -x0), (0, 1))
        hot, cold = (
            np.full_like(spread, np.inf) if factor is None else spread * np.float32(factor)
            for factor in (self.process.hot_auto, self.process.cold_auto)
        )
        return local_outliers(plane, *stencils(self.pattern, y0 % 6, x0 % 6), spread, hot, cold, wanted)

    def repair(self, image, y0, x0, wanted, mask=None):
        """Replace the defects of the box `wanted` in an image whose first pixel is (y0, x0), in place.

        Those that the image itself shows are added to `mask`, which is of that box.
        """
        tables, limits = geometry(self.pattern)
        for plane, number in self.planes(image):
            y, x, rules = self.known(plane.shape, y0, x0)
            if self.spread is not None:
                before = plane[y, x]
                lending = margined(wanted, HALO, plane.shape)
                more_y, more_x, kinds = self.found(plane, number, y0, x0, lending)
                plane[y, x] = before
                if mask is not None:
                    add(mask, wanted, more_y, more_x, kinds)
                y, x = np.concatenate([y, more_y]), np.concatenate([x, more_x])
                rules = np.concatenate([rules, np.zeros(more_y.size, np.uint8)])
            amount = self.process.amount
            replace_defects(plane, y0, x0, y, x, rules, tables, _ALL_GOOD, limits, wanted, MEDIAN, amount)


def add(mask: np.ndarray, box, y: np.ndarray, x: np.ndarray, bits: np.ndarray) -> None:
    """Add the bits of some pixels to the mask of a box (y0, y1, x0, x1); those outside of it are left out."""
    inside = (y >= box[0]) & (y < box[1]) & (x >= box[2]) & (x < box[3])
    mask[y[inside] - box[0], x[inside] - box[2]] |= bits[inside]
