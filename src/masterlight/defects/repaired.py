"""Repairing defective pixels: the view of a frame in which they hold what their good neighbours tell."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import UNSTABLE, Frame, View, evenly, frame_of
from masterlight.core.headers.geometry import period
from masterlight.core.process import card
from masterlight.core.workers import Once
from masterlight.defects import kernels
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.defectmap import DefectMap
from masterlight.defects.lists import HALO, ISOLATED, Defects, colours_of, geometry, pattern_for, size, tables_of

SAMPLE_PIXELS = 4 << 20
"""The spread of a frame is measured on all of its pixels, or on bands of rows with about so many."""
BAND_ROWS = 12
"""Rows of such a band: both the 2 rows of a Bayer pattern and the 6 of X-Trans go into it."""
LARGEST_RADIUS = 100
"""The structure around a hole of a map grows to so many pixels at most; a view reads as far around a box as its map
needs."""
COVERAGE = 0.35
"""The structure grows until this share of its pixels of the own colour is good."""
ELONGATED = 3
"""A defect so many times longer than wide is a line."""
SQUARE, HORIZONTAL, VERTICAL = 0, 1, 2
_ALL_GOOD = np.ones((1, 1), np.float32)


def correct(process: CosmeticCorrection, frame: Frame, defects: Defects | None) -> Frame:
    """The frame with known defects, and those that it shows itself, replaced; itself when there are none to replace."""
    frame, automatic = frame_of(frame), process.hot_auto is not None or process.cold_auto is not None
    if not process.amount or not (defects or automatic):
        return frame
    if defects is None:
        defects = Defects.of(np.zeros(frame.shape[-2:], np.uint8))
    defects = defects.for_frame(frame.meta, frame.source)
    pattern = pattern_for(frame, process.cfa)
    layout = partial(layout_of_list, defects, pattern, process.amount)
    spread = Later(partial(spread_of, frame, defects, pattern), Once(kept=True)) if automatic else None
    factors, done = (process.hot_auto, process.cold_auto), card(process, defects=len(defects), dark=defects.source)
    return view_of(frame, done, pattern=pattern, layout=layout, spread=spread, factors=factors)


def fill_holes(process: DefectMap, frame: Frame, map: Frame) -> Frame:
    """The frame with the pixels that are 0 in a map replaced."""
    frame, map = frame_of(frame), frame_of(map, "map")
    if len(map.shape) != 2:
        raise FrameError(map.source, "is a colour image; a defect map has one plane")
    if map.shape != frame.shape[-2:]:
        own, other = (f"{image.shape[-1]} x {image.shape[-2]}" for image in (frame, map))
        words = f"is {own} pixels but the defect map {map.source} is {other}"
        raise FrameError(frame.source, f"{words}; make the map from frames of the same camera, binning and region")
    pattern = pattern_for(frame, process.cfa)
    layout = Later(partial(layout_of_map, map, process.structure, process.operation, pattern), Once())
    return view_of(frame, card(process, map=map.source), pattern=pattern, layout=layout)


def without_struck(frame: Frame, struck: np.ndarray) -> Frame:
    """The frame with pixels replaced that are defective in it alone, flat indices in order."""
    if not struck.size:
        return frame
    if isinstance(frame, Repaired):
        return replace(frame, struck=struck)
    (rows, cols), pattern = frame.shape[-2:], pattern_for(frame, "auto")
    nothing = (np.empty(0, kind) for kind in (np.int64, np.uint8, np.uint8))
    none = Defects((rows, cols), np.zeros(rows + 1, np.int64), *nothing)
    layout, own = partial(layout_of_list, none, pattern, 1.0), {"meta": frame.meta, "cards": frame.cards}
    return Repaired(source=frame.source, below=frame, pattern=pattern, layout=layout, struck=struck, **own)


def invented(frame: Frame) -> tuple[Defects | None, bool]:
    """The pixels of a frame that hold invented values, all of them, and whether their neighbours' median is there.

    None where none is known. Those that a list told keep the rule by which they were replaced.
    """
    mask = frame.defective(0, frame.shape[-2], 0, frame.shape[-1])
    if mask is None or not mask.any():
        return None, False
    found = Defects.of(mask)
    if not isinstance(frame, Repaired):
        return found, False
    layout, known = frame.layout(), np.zeros(mask.shape, np.uint8)
    rows = np.repeat(np.arange(mask.shape[0]), np.diff(layout.defects.row_start))
    known[rows, layout.defects.columns] = layout.defects.rules
    median = layout.operation == kernels.MEDIAN and layout.amount == 1 and frame.below.defective(0, 1, 0, 1) is None
    return replace(found, rules=known[mask > 0]), median


def with_invented(frame: Frame, defects: Defects, pattern: str | None, median: bool) -> Frame:
    """A frame that was repaired before, with what is known of that: as if it were repaired now.

    pattern: the colours that were respected; median: whether replaced pixels are the median of their neighbours, so
    that replacing them once more changes nothing. Otherwise they stay as they are, and are only known to be invented.
    """
    known = {"source": frame.source, "meta": frame.meta, "cards": frame.cards, "below": frame}
    if not median:
        return Marked(**known, defects=defects)
    return Repaired(**known, pattern=pattern, layout=partial(layout_of_list, defects, pattern, 1.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Marked(View):
    """A frame of which it is known that some pixels hold invented values; they are as they are."""

    defects: Defects

    def pixels_into(self, out, y0, x0):
        self.below.pixels_into(out, y0, x0)

    def defective(self, y0, y1, x0, x1):
        return self.defects.box(y0, y1, x0, x1)


def view_of(frame: Frame, done: str, **how) -> "Repaired":
    """The view of a frame with a card of what was done and the fields of its own."""
    return Repaired(source=frame.source, meta=frame.meta, cards=(*frame.cards, done), below=frame, **how)


@dataclass(frozen=True, eq=False)
class Later:
    """What a function makes, made when it is first asked for, once for all threads."""

    make: Callable[[], Any]
    once: Once

    def __call__(self):
        return self.once("made", self.make)


class Layout(NamedTuple):
    """What a view needs to repair: the defects, the neighbours that are asked, how, and how far around they lie.

    weight (rows, cols) float32 of good pixels, or (1, 1); tables and limits as `replace_defects` takes them.
    """

    defects: Defects
    weight: np.ndarray
    tables: np.ndarray
    limits: np.ndarray
    halo: int
    operation: int
    amount: float


def layout_of_list(defects: Defects, pattern: str | None, amount: float) -> Layout:
    """Defects of a list, replaced by the median of their nearest good neighbours."""
    return Layout(defects, _ALL_GOOD, *geometry(pattern), HALO, kernels.MEDIAN, amount)


def layout_of_map(map: Frame, structure: str, operation: str, pattern: str | None) -> Layout:
    """The holes of a map, replaced by what an operation makes of the structure around them."""
    weight = np.ascontiguousarray(np.asarray(map), np.float32)
    bad = ~(weight > 0)
    if bad.all():
        raise FrameError(map.source, f"marks all of its {size(bad)} pixels as defective: 0 is a defective one")
    weight = np.where(bad, np.float32(0), weight)
    found = Defects.of(bad, map.source)
    names = ("square", "horizontal", "vertical") if structure == "auto" else (structure,)
    found = replace(found, rules=directions(bad)[bad] if structure == "auto" else np.zeros(len(found), np.uint8))
    tables, limits = structures(names, pattern), np.array([(0, COVERAGE, 0)] * len(names), np.float64)
    halo = kernels.reach(weight, *listed_in(found, bad.shape, 0, 0), tables, limits)
    return Layout(found, weight, tables, limits, halo, getattr(kernels, operation.upper()), 1.0)


@lru_cache(maxsize=4)
def structures(names: tuple[str, ...], pattern: str | None) -> np.ndarray:
    """The pixels of some structures in the order in which they grow, as `tables_of` gives them."""
    n = LARGEST_RADIUS
    dy, dx = np.mgrid[-n : n + 1, -n : n + 1].reshape(2, -1)
    radius = {
        "square": np.maximum(np.abs(dy), np.abs(dx)),
        "circular": np.ceil(np.hypot(dy, dx)).astype(int),
        "horizontal": np.where(dy == 0, np.abs(dx), 0),
        "vertical": np.where(dx == 0, np.abs(dy), 0),
    }
    rules = [np.column_stack([dy, dx, radius[name], 0 * dy]) for name in names]
    return tables_of([rule[(rule[:, 2] > 0) & (rule[:, 2] <= n)] for rule in rules], pattern)


def directions(bad: np.ndarray) -> np.ndarray:
    """Across which line each defective pixel is repaired: uint8, SQUARE, or HORIZONTAL for upright defects, VERTICAL
    for lying ones, by the height and width of the connected defect that it is part of."""
    from scipy.ndimage import find_objects, label

    number, count = label(bad, np.ones((3, 3)))
    kinds = np.zeros(count + 1, np.uint8)
    for k, (ys, xs) in enumerate(find_objects(number), 1):
        high, wide = ys.stop - ys.start, xs.stop - xs.start
        kinds[k] = HORIZONTAL if high >= ELONGATED * wide else VERTICAL if wide >= ELONGATED * high else SQUARE
    return kinds[number]


@lru_cache(maxsize=64)
def stencils(pattern: str | None, y0: int, x0: int):
    """Neighbours for the automatic mode: (p, p, 8, 2) nearest, (p, p, k, 2) those after them, (p, p) how many of these.

    Mono: the 8 around a pixel, and the 40 others of its 7 x 7 square. Bayer: the same at a pitch of 2. X-Trans: the 8
    nearest of the same colour and the others up to HALO pixels away, for each of its 36 places.
    """
    p = period(pattern)
    if p <= 2:
        square = [(dy * p, dx * p) for dy in range(-3, 4) for dx in range(-3, 4)]
        near = [o for o in square if o != (0, 0) and max(map(abs, o)) == p]
        far = [o for o in square if max(map(abs, o)) > p]
        return np.array([[near]]), np.array([[far]]), np.array([[len(far)]])
    ordered = np.roll(geometry(pattern)[0][:, :, ISOLATED], (-y0, -x0), (0, 1))
    near, far = (np.ascontiguousarray(part[..., :2], np.int64) for part in np.split(ordered, [8], axis=2))
    return near, far, np.count_nonzero(ordered[..., 2] > 0, axis=2) - 8


def spread_of(frame: Frame, defects: Defects, pattern: str | None) -> np.ndarray:
    """The average deviation from the median of each colour of a frame: (planes, c, c) float32 DN, over the pattern.

    Known defects do not count. Frames above SAMPLE_PIXELS are measured on bands of rows spread evenly over them.
    """
    rows, cols = frame.shape[-2:]
    bands, boxes = max(1, min(rows // BAND_ROWS, SAMPLE_PIXELS // (BAND_ROWS * cols))), [(0, rows)]
    if rows * cols > SAMPLE_PIXELS:
        boxes = [(y, y + BAND_ROWS) for y in evenly(0, rows - BAND_ROWS, bands, BAND_ROWS)]
    planes = np.concatenate([frame.pixels(*ys, 0, cols).reshape(frame.planes, -1, cols) for ys in boxes], axis=1)
    good = np.concatenate([defects.box(*ys, 0, cols) == 0 for ys in boxes])
    colours = colours_of(pattern)
    out = np.zeros((len(planes), *colours.shape), np.float32)
    of_pixel = np.resize(np.tile(colours, (1, -(-cols // len(colours))))[:, :cols], good.shape)
    for plane, into in zip(planes, out, strict=True):
        for colour in np.unique(colours):
            values = plane[good & (of_pixel == colour)]
            values = values[np.isfinite(values)]
            if values.size:
                into[colours == colour] = np.mean(np.abs(values - np.median(values)), dtype=np.float64)
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Repaired(View):
    """A view of a frame with its defective pixels replaced: those of the layout, and with a spread those it shows."""

    pattern: str | None
    """The colours to respect; None where all pixels are neighbours."""
    layout: Callable[[], Layout]
    spread: Callable[[], np.ndarray] | None = None
    factors: tuple[float | None, float | None] = (None, None)
    """How many spreads above and below its neighbours a pixel is hot and cold; None for never."""
    struck: np.ndarray | None = None
    """Flat indices, in order, of pixels that are defective in this frame alone: rays struck them."""

    def pixels(self, y0, y1, x0, x1):
        return self.look((y0, y1, x0, x1), lambda *around: (self.below.pixels(*around), None))[0]

    def pixels_and_defective(self, y0, y1, x0, x1):
        return self.look((y0, y1, x0, x1), self.below.pixels_and_defective)

    def look(self, box, read):
        """The repaired pixels of a box and their mask, from what `read` gives, pixels and mask of a box around it."""
        around = top, _, left, _ = self.around(*box, self.layout().halo)
        image, inner = read(*around)
        wanted = y0, y1, x0, x1 = box[0] - top, box[1] - top, box[2] - left, box[3] - left
        mask = self.layout().defects.box(*box)
        self.add_struck(mask, box)
        if inner is not None:
            mask |= inner[y0:y1, x0:x1]
        image = np.array(image, np.float32, order="C", copy=None if image.base is None else True)
        self.repair(image, top, left, wanted, mask)
        return image[..., y0:y1, x0:x1], mask

    def pixels_into(self, out, y0, x0):
        if out.shape[-2:] != self.shape[-2:]:
            out[...] = self.pixels(y0, y0 + out.shape[-2], x0, x0 + out.shape[-1])
            return
        self.below.pixels_into(out, y0, x0)
        self.repair(out, 0, 0, (0, out.shape[-2], 0, out.shape[-1]))

    def defective(self, y0, y1, x0, x1):
        """What is replaced in the box, known and found, and what was invented before: uint8 (rows, cols) of bits."""
        inner = self.below.defective(y0, y1, x0, x1)
        mask = self.layout().defects.box(y0, y1, x0, x1)
        self.add_struck(mask, (y0, y1, x0, x1))
        if inner is not None:
            mask |= inner
        if self.spread is not None:
            top, bottom, left, right = self.around(y0, y1, x0, x1)
            image = np.array(self.below.pixels(top, bottom, left, right), np.float32, order="C")
            wanted = (y0 - top, y1 - top, x0 - left, x1 - left)
            for number, plane in enumerate(image.reshape(-1, *image.shape[-2:])):
                add(mask, wanted, *self.find(plane, number, top, left, wanted))
        return mask

    def add_struck(self, mask, box):
        """Add to the mask of a box what is defective in this frame alone."""
        if self.struck is not None:
            y, x = struck_in(self.struck, self.shape[-1], *box)
            mask[y, x] |= UNSTABLE

    def around(self, y0, y1, x0, x1, halo=0):
        """The box with the margin that repair needs, inside the frame."""
        if self.spread is not None:
            halo += int(np.abs(stencils(self.pattern, 0, 0)[1]).max())
        return with_margin((y0, y1, x0, x1), halo, self.shape[-2:])

    def find(self, plane, number, y0, x0, wanted):
        """The defects that a plane itself shows inside `wanted`; the known ones become NaN in it and do not count."""
        y, x, _ = listed_in(self.layout().defects, plane.shape, y0, x0)
        plane[y, x] = np.nan
        spread = np.roll(self.spread()[number], (-y0, -x0), (0, 1))
        hot, cold = (np.full_like(spread, np.inf) if f is None else spread * np.float32(f) for f in self.factors)
        return kernels.local_outliers(plane, *stencils(self.pattern, y0 % 6, x0 % 6), spread, hot, cold, wanted)

    def repair(self, image, y0, x0, wanted, mask=None):
        """Replace the defects of the box `wanted` in an image whose first pixel is (y0, x0), in place.

        Those that the image itself shows are added to `mask`, which is of that box.
        """
        rows, cols = image.shape[-2:]
        layout = self.layout()
        weight = layout.weight
        if weight.size > 1:
            weight = np.ascontiguousarray(weight[y0 : y0 + rows, x0 : x0 + cols])
        known = listed_in(layout.defects, (rows, cols), y0, x0)
        if self.struck is not None:
            more_y, more_x = struck_in(self.struck, self.shape[-1], y0, y0 + rows, x0, x0 + cols)
            more = more_y, more_x, np.zeros(more_y.size, np.uint8)
            known = tuple(np.concatenate(both) for both in zip(known, more, strict=True))
        for number, plane in enumerate(image.reshape(-1, rows, cols)):
            y, x, rules = known
            if self.spread is not None:
                before = plane[y, x]
                lending = with_margin(wanted, HALO, plane.shape)
                more_y, more_x, kinds = self.find(plane, number, y0, x0, lending)
                plane[y, x] = before
                if mask is not None:
                    add(mask, wanted, more_y, more_x, kinds)
                y, x = np.concatenate([y, more_y]), np.concatenate([x, more_x])
                rules = np.concatenate([rules, np.zeros(more_y.size, np.uint8)])
            how = layout.limits, wanted, layout.operation, layout.amount
            kernels.replace_defects(plane, y0, x0, y, x, rules, layout.tables, weight, *how)


def listed_in(defects: Defects, shape: tuple[int, ...], y0: int, x0: int) -> tuple[np.ndarray, ...]:
    """Rows, columns and rules of the listed defects in a box, counted from its first pixel."""
    box = y0, y0 + shape[0], x0, x0 + shape[1]
    return kernels.defects_of_box(defects.row_start, defects.columns, defects.rules, *box)


def struck_in(struck: np.ndarray, width: int, y0: int, y1: int, x0: int, x1: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, counted from its first pixel, of what lies in a box; struck: flat indices in order."""
    y, x = np.divmod(struck[slice(*np.searchsorted(struck, (y0 * width, y1 * width)))], width)
    inside = (x >= x0) & (x < x1)
    return y[inside] - y0, x[inside] - x0


def add(mask: np.ndarray, box, y: np.ndarray, x: np.ndarray, bits: np.ndarray) -> None:
    """Add the bits of some pixels to the mask of a box (y0, y1, x0, x1); those outside of it are left out."""
    inside = (y >= box[0]) & (y < box[1]) & (x >= box[2]) & (x < box[3])
    mask[y[inside] - box[0], x[inside] - box[2]] |= bits[inside]


def with_margin(box, margin: int, shape) -> tuple[int, int, int, int]:
    """A box (y0, y1, x0, x1) with a margin, as far as it is inside an image of this shape."""
    y0, y1, x0, x1 = box
    return max(0, y0 - margin), min(shape[0], y1 + margin), max(0, x0 - margin), min(shape[1], x1 + margin)
