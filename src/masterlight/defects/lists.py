"""`Defects`, the defective pixels of a sensor, and the neighbours that may stand in for them."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import DEFECTS, LINE, Frame, Meta
from masterlight.core.headers.geometry import period
from masterlight.core.headers.names import camera_key
from masterlight.defects.kernels import defects_of_box, run_lengths

HALO = 6
"""Rows and columns around a box from which replacements may come: the farthest neighbour that is asked."""
NEED = 5
"""Neighbours that are enough: the search ends with the first ring that brings them."""
LEAST = 3
"""With fewer neighbours a pixel stays missing (NaN)."""
LINE_PX = 8
"""So many defects in a row or column are a line; those known to be of one (bit 8) are from the second on."""

ISOLATED, ALONG_COLUMN, ALONG_ROW = 0, 1, 2
"""Rules of replacement: from all around, from left and right, from above and below."""


@lru_cache(maxsize=64)
def colours_of(pattern: str | None) -> np.ndarray:
    """The colours of a filter pattern as (c, c) uint8; (1, 1) for mono."""
    return np.frombuffer((pattern or "L").encode("ascii"), np.uint8).reshape(period(pattern), -1)


def tables_of(rules: list[np.ndarray], pattern: str | None) -> np.ndarray:
    """Neighbours of the same colour for each place of a pattern and each rule: (p, p, rules, k, 4) int16.

    rules: arrays (n, 4) of dy, dx, shell, side, in any order; shells of -1 fill up what is shorter than the longest.
    """
    colours, p = colours_of(pattern), period(pattern)
    ordered = [r[np.lexsort((r[:, 1], r[:, 0], r[:, 0] ** 2 + r[:, 1] ** 2, r[:, 2]))] for r in rules]
    out, longest = np.full((p, p, len(rules), max(map(len, rules)), 4), -1, np.int16), 0
    for y, x, k in np.ndindex(out.shape[:3]):
        r = ordered[k]
        own = r[colours[(y + r[:, 0]) % p, (x + r[:, 1]) % p] == colours[y, x]]
        out[y, x, k, : len(own)] = own
        longest = max(longest, len(own))
    return np.ascontiguousarray(out[..., :longest, :])


@lru_cache(maxsize=16)
def geometry(pattern: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The neighbours of a defect on a sensor with this colour pattern: tables and limits for `replace_defects`.

    Isolated defects ask ring after ring of equal distance until NEED good ones of their colour are found: 8 around a
    mono pixel and around a red or blue one of a Bayer sensor, for green the 4 of the other green, which are nearest,
    and the 4 after them. Line defects ask across the line only, SIDE on each side in the nearest good lines,
    from a stretch along the line that holds so many of any colour.
    """
    dy, dx = np.mgrid[-HALO : HALO + 1, -HALO : HALO + 1].reshape(2, -1)
    along = {1: 1, 2: 2}.get(period(pattern), 3)
    around = np.column_stack([dy, dx, dy * dy + dx * dx, 0 * dy])
    beside = np.column_stack([dy, dx, np.abs(dx), np.where(dx < 0, 1, 2)])[(dx != 0) & (np.abs(dy) <= along)]
    across = np.column_stack([dy, dx, np.abs(dy), np.where(dy < 0, 1, 2)])[(dy != 0) & (np.abs(dx) <= along)]
    limits = np.array([(NEED, 0, LEAST), (6, 0, LEAST), (6, 0, LEAST)], np.float64)
    return tables_of([around[around[:, 2] > 0], beside, across], pattern), limits


@dataclass(frozen=True, eq=False)
class Defects:
    """Which pixels of a sensor of `shape` are defective: `mask` (rows, cols) uint8 of bits, and the same as a list.

    The entries of row y are those from `row_start[y]` to `row_start[y + 1]` of `columns`, `bits` and `rules`. The list
    is what is pickled; the mask is made from it when it is needed.

    The bits: 1 hot, 2 cold, 4 unstable, 8 of a bad row or column, 16 saturated, 32 named by the user. `rules` tells for
    each defect of the list whether it belongs to a line, which is repaired from its sides only.
    """

    shape: tuple[int, int]
    row_start: np.ndarray
    columns: np.ndarray
    bits: np.ndarray
    rules: np.ndarray
    source: str = ""
    meta: Meta | None = None
    """What is known of the camera, to match frames of another region of it; None: fits frames of its shape."""
    notes: tuple[str, ...] = ()
    """What a reader should know, as sentences."""

    @classmethod
    def of(cls, mask: np.ndarray, source: str = "", meta: Meta | None = None, notes: tuple[str, ...] = ()) -> "Defects":
        """Defects from any array that is not zero where a pixel is defective: bits, or True for a hot one."""
        mask = np.ascontiguousarray(mask, np.uint8)
        rows, columns = np.nonzero(mask)
        row_start = np.searchsorted(rows, np.arange(mask.shape[0] + 1)).astype(np.int64)
        bits = mask[rows, columns]
        rules = lines_among(rows, columns, bits)
        return cls(mask.shape, row_start, columns.astype(np.int64), bits, rules, source, meta, tuple(notes))

    def __len__(self) -> int:
        return self.columns.size

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "mask"}

    @cached_property
    def mask(self) -> np.ndarray:
        """The bits of every pixel, (rows, cols) uint8; made when it is first asked for."""
        return self.box(0, self.shape[0], 0, self.shape[1])

    def box(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """The mask of a part of the sensor, made anew."""
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        y, x, bits = defects_of_box(self.row_start, self.columns, self.bits, y0, y1, x0, x1)
        mask[y, x] = bits
        return mask

    @property
    def hot(self) -> int:
        return self.counts["hot"]

    @property
    def cold(self) -> int:
        return self.counts["cold"]

    @property
    def counts(self) -> dict[str, int]:
        """How many pixels are defective in each way; a pixel can be so in several."""
        return {name: int(np.count_nonzero(self.bits & bit)) for name, bit in DEFECTS.items()}

    @property
    def fraction(self) -> float:
        return len(self) / (self.shape[0] * self.shape[1])

    def union(self, *others: "Defects") -> "Defects":
        """All defects of several maps of one sensor."""
        mask, everyone = self.mask.copy(), (self, *others)
        for other in others:
            if other.shape != self.shape:
                words = f"is a map of {size(other)} pixels, that of {self.source} has {size(self)}"
                raise FrameError(other.source, words)
            mask |= other.mask
        source = " + ".join(dict.fromkeys(d.source for d in everyone if len(d) or d.source))
        notes = tuple(dict.fromkeys(note for d in everyone for note in d.notes))
        return Defects.of(mask, source, next((d.meta for d in everyone if d.meta), None), notes)

    def as_map(self) -> np.ndarray:
        """The map that DefectMap takes: float32, 1 where a pixel is good, 0 where it is defective."""
        return (self.mask == 0).astype(np.float32)

    def for_frame(self, meta: Meta, source: str = "the frame") -> "Defects":
        """These defects as a frame of the same camera sees them, which may show another region of the sensor.

        Raises FrameError when camera or binning differ, or when the frame shows pixels that are not in the map.
        """
        own = self.meta or meta.with_(shape=self.shape)
        keys = camera_key(own.camera), camera_key(meta.camera)
        if all(keys) and keys[0] != keys[1]:
            raise FrameError(source, f"is from {meta.camera}, but the defects of {self.source} are of {own.camera}")
        if own.binning != meta.binning:
            words = ["x".join(map(str, b)) for b in (meta.binning, own.binning)]
            raise FrameError(source, f"is binned {words[0]}, but the defects of {self.source} are for {words[1]}")
        x0, y0 = (b - a for a, b in zip(own.origin_px, meta.origin_px, strict=True))
        rows, cols = meta.shape[-2:]
        if (y0, x0) == (0, 0) and (rows, cols) == self.shape:
            return self
        unplaced = self.meta is None or (y0 == x0 == 0 and meta.origin_px == (0, 0))
        if unplaced or y0 < 0 or x0 < 0 or y0 + rows > self.shape[0] or x0 + cols > self.shape[1]:
            place = ", and its header does not tell its place on the sensor (XORGSUBF, YORGSUBF)" if unplaced else ""
            words = f"is {cols} x {rows} pixels but the defects of {self.source} are for {size(self)}{place}"
            raise FrameError(source, f"{words}: make the map from calibration frames of the same region")
        return Defects.of(self.box(y0, y0 + rows, x0, x0 + cols), self.source, meta, self.notes)


def size(mask) -> str:
    return f"{mask.shape[1]} x {mask.shape[0]}"


def lines_among(rows: np.ndarray, columns: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The rule of replacement for each defect of a list in row order, uint8: whether it is part of a line."""
    if not rows.size:
        return np.zeros(0, np.uint8)
    wide = run_lengths(rows, columns)
    by_column = np.lexsort((rows, columns))
    high = np.empty_like(wide)
    high[by_column] = run_lengths(columns[by_column], rows[by_column])
    least = np.where(bits & LINE > 0, 2, LINE_PX)
    rules = np.select([(high >= least) & (high > wide), wide >= least], [ALONG_COLUMN, ALONG_ROW], ISOLATED)
    return rules.astype(np.uint8)


def pattern_for(frame: Frame, cfa: str) -> str | None:
    """The colour pattern to respect: that of the header ("auto"), none ("no"), or one of 2 x 2 pixels at least."""
    if cfa == "no" or len(frame.shape) != 2:
        return None
    return frame.meta.pattern or ("abcd" if cfa == "yes" else None)
