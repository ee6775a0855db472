"""DefectMap: repair the pixels that a map image marks, such as whole rows and columns."""

import threading
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame
from masterlight.core.process import card, process
from masterlight.defects.kernels import GAUSSIAN, MAXIMUM, MEAN, MEDIAN, MINIMUM, listed, reach, replace_defects
from masterlight.defects.lists import Defects, margined, pattern_for, size, tables_of

LARGEST_RADIUS = 100
"""The structure around a defect grows to so many pixels at most; a view reads as far around a box as its map needs."""
COVERAGE = 0.35
"""The structure grows until this share of its pixels of the own colour is good."""
ELONGATED = 3
"""A defect so many times longer than wide is a line."""

OPERATIONS = {"median": MEDIAN, "mean": MEAN, "gaussian": GAUSSIAN, "minimum": MINIMUM, "maximum": MAXIMUM}
SQUARE, HORIZONTAL, VERTICAL = 0, 1, 2


@process
class DefectMap:
    """Replace the pixels that are 0 in a map by a mean, median, minimum or maximum of their good neighbours."""

    operation: Literal["median", "mean", "gaussian", "minimum", "maximum"] = "median"
    """What is made of the good pixels of the structure; mean and gaussian weigh them with the values of the map."""
    structure: Literal["square", "circular", "horizontal", "vertical", "auto"] = "square"
    """Where good pixels are looked for: around a defect, beside it, above and below; auto looks across the longer side
    of each defect, and around those that are not elongated."""
    cfa: Literal["auto", "yes", "no"] = "auto"
    """Whether only pixels of the same colour filter are neighbours: as the header tells, always, or never."""

    def __call__(self, frame: Frame, map: Frame) -> Frame:
        """A repaired view of `frame`; nothing is computed until it is indexed.

        map: an image of the same size, 0 (or NaN) where a pixel is defective, above it the weight of a good one.
        """
        if len(map.shape) != 2:
            raise FrameError(map.source, "is a colour image; a defect map has one plane")
        if map.shape != frame.shape[-2:]:
            raise FrameError(
                frame.source,
                f"is {frame.shape[-1]} x {frame.shape[-2]} pixels but the defect map {map.source} is "
                f"{map.shape[1]} x {map.shape[0]}; make the map from frames of the same camera, binning and region",
            )
        return Mapped(
            source=frame.source,
            meta=frame.meta,
            cards=(*frame.cards, card(self, map=map.source)),
            unmapped=frame,
            process=self,
            holes=Holes(map, self.structure, pattern_for(frame, self.cfa)),
        )


class Layout(NamedTuple):
    """What a defect map says, ready for use: good pixels' weights, the defects, and how far around them is looked."""

    weight: np.ndarray
    defects: Defects
    tables: np.ndarray
    limits: np.ndarray
    halo: int


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


@dataclass(frozen=True, eq=False)
class Holes:
    """A defect map that is read and laid out when it is first needed, once for all threads."""

    map: Frame
    structure: str
    pattern: str | None
    _made: list = field(default_factory=list, repr=False)
    _lock: object = field(default_factory=threading.Lock, repr=False)

    def __getstate__(self):
        return {"map": self.map, "structure": self.structure, "pattern": self.pattern, "_made": []}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    def __call__(self) -> Layout:
        with self._lock:
            if not self._made:
                self._made.append(self.laid_out())
            return self._made[0]

    def laid_out(self) -> Layout:
        weight = np.ascontiguousarray(np.asarray(self.map), np.float32)
        bad = ~(weight > 0)
        if bad.all():
            raise FrameError(self.map.source, f"marks all of its {size(bad)} pixels as defective: 0 is a defective one")
        weight = np.where(bad, np.float32(0), weight)
        found = Defects.of(bad, self.map.source)
        names = ("square", "horizontal", "vertical") if self.structure == "auto" else (self.structure,)
        rules = directions(bad)[bad] if self.structure == "auto" else np.zeros(len(found), np.uint8)
        found = replace(found, rules=rules)
        tables = structures(names, self.pattern)
        limits = np.array([(0, COVERAGE, 0)] * len(names), np.float64)
        y, x, _ = listed(found.row_start, found.columns, rules, 0, bad.shape[0], 0, bad.shape[1])
        halo = reach(weight, y, x, rules, tables, limits)
        return Layout(weight, found, tables, limits, halo)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapped(Frame):
    """A view of a frame through a defect map."""

    unmapped: Frame
    process: DefectMap
    holes: Holes

    @property
    def header(self):
        return self.unmapped.header

    @property
    def scratch_bytes(self):
        return self.unmapped.scratch_bytes

    def pixels(self, y0, y1, x0, x1):
        top, bottom, left, right = margined((y0, y1, x0, x1), self.holes().halo, self.shape[-2:])
        image = self.unmapped.pixels(top, bottom, left, right)
        image = np.array(image, np.float32, order="C", copy=None if image.base is None else True)
        self.repair(image, top, left, (y0 - top, y1 - top, x0 - left, x1 - left))
        return image[..., y0 - top : y1 - top, x0 - left : x1 - left]

    def pixels_into(self, out, y0, x0):
        if out.shape[-2:] != self.shape[-2:]:
            out[...] = self.pixels(y0, y0 + out.shape[-2], x0, x0 + out.shape[-1])
            return
        self.unmapped.pixels_into(out, y0, x0)
        self.repair(out, 0, 0, (0, out.shape[-2], 0, out.shape[-1]))

    def defective(self, y0, y1, x0, x1):
        inner = self.unmapped.defective(y0, y1, x0, x1)
        mask = self.holes().defects.box(y0, y1, x0, x1)
        return mask if inner is None else mask | inner

    def repair(self, image, y0, x0, wanted):
        """Replace what the map marks in the box `wanted` of an image whose first pixel is (y0, x0), in place."""
        layout, operation = self.holes(), OPERATIONS[self.process.operation]
        d = layout.defects
        y1, x1 = y0 + image.shape[-2], x0 + image.shape[-1]
        weight = np.ascontiguousarray(layout.weight[y0:y1, x0:x1])
        y, x, rules = listed(d.row_start, d.columns, d.rules, y0, y1, x0, x1)
        for plane in image.reshape(-1, *image.shape[-2:]):
            replace_defects(plane, y0, x0, y, x, rules, layout.tables, weight, layout.limits, wanted, operation, 1.0)
