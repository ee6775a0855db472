"""`Frame`, an image that can be indexed, and `Meta`, what its header says in our words and units."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.headers.geometry import shifted_pattern
from masterlight.core.headers.reading import read_header

Kind = Literal["light", "dark", "flat", "bias", "flatdark", "unknown"]
HOT, COLD, UNSTABLE, LINE, SATURATED, USER = 1, 2, 4, 8, 16, 32
Index = int | slice | EllipsisType
Header = Mapping[str, bool | int | float | str]
"""Keywords of a frame and their values."""
FULL_DN = 65535.0
"""What 1 is in files whose floats go from 0 to 1."""
PARTS_NOTE = "floats from 0 to 1 are read as 0 to 65535 DN"
UNIT_LEVEL = 2.0
"""Levels in a header up to this are in units of full scale; no DN that saturates or is added is as small."""
DEFECTS = {"hot": HOT, "cold": COLD, "unstable": UNSTABLE, "line": LINE, "saturated": SATURATED, "user": USER}
"""The bits of a mask of defective pixels: in which way one is defective."""


@dataclass(frozen=True)
class Meta:
    """What a header says about a frame, in our words and units; None where it says nothing."""

    kind: Kind = "unknown"
    is_master: bool = False
    declared: str | None = None
    """The type of frame as the header spells it."""
    told: tuple[tuple[str, str], ...] = ()
    """What each witness says of the kind, as (witness, kind): header, weak header, folder, name, exposure, OBJECT; or
    user, whose word is final."""
    object: str | None = None
    filter: str | None = None
    camera: str | None = None
    telescope: str | None = None
    program: str | None = None
    exposure_s: float | None = None
    gain: float | None = None
    offset: float | None = None
    gain_e_per_dn: float | None = None
    read_noise_e: float | None = None
    temperature_c: float | None = None
    set_temperature_c: float | None = None
    """What the cooler was set to."""
    binning: tuple[int, int] = (1, 1)
    pattern: str | None = None
    """Colour filters from pixel (0, 0) on, row by row: 4 letters (RGGB ...) or the 36 of an X-Trans sensor; None for
    mono. Letters other than R, G, B are kept as the header spells them; such sensors cannot be debayered."""
    bottom_up: bool = False
    """Whether the file has the last row first. Pixels and all else here are upright; what is written of a frame of the
    sensor has its rows in the order of the file again."""
    pattern_row: Literal["", "top", "stored"] = ""
    """In such a file: the row of which BAYERPAT is, that at the top or the first one stored; '' while nobody knows."""
    readout_mode: str | None = None
    origin_px: tuple[int, int] = (0, 0)
    pixel_um: float | None = None
    """Size of one pixel of this image, binning included."""
    focal_mm: float | None = None
    rotator_deg: float | None = None
    focuser_steps: float | None = None
    time: str | None = None
    ra_deg: float | None = None
    dec_deg: float | None = None
    altitude_deg: float | None = None
    """Above the horizon at the middle of the exposure."""
    azimuth_deg: float | None = None
    """From north over east."""
    air_mass: float | None = None
    pedestal_dn: float = 0.0
    unit: str | None = None
    """What BUNIT says of the pixels: "DN" for counts by any name, "electron", "electron/s", or another as spelled."""
    saturation_dn: float | None = None
    """The level that no pixel can exceed: told by the header, or the largest integer that the file can hold."""
    calibration: str = ""
    """Letters of what was already done to the pixels: B bias, D dark, F flat subtracted or divided, O overscan."""
    stages: tuple[str, ...] = ()
    """What other programs have done to the frame besides, in words: "debayered", "registered" ..."""
    contains_bias: bool | None = None
    """For masters: whether the bias level is still in the pixels."""
    frames: int = 1
    """How many exposures were combined into this frame."""
    black_dn: tuple[float, ...] | None = None
    """Black level that the camera itself tells, for each pixel of the pattern, or one number for all."""
    overscan_px: tuple[tuple[int, int, int, int], ...] = ()
    """Regions that saw no light, as bounds (y0, y1, x0, x1): overscan of a CCD, masked borders of a camera."""
    data_px: tuple[int, int, int, int] | None = None
    """The region that saw the sky, as bounds (y0, y1, x0, x1); None when it is the whole frame."""
    integer: bool = True
    """Whether the file holds integers, as cameras write them, or floats, as programs do."""
    bits: int = 16
    shape: tuple[int, ...] = ()
    scaled_by: float = 1.0
    """What the numbers of the file are multiplied by to be DN: 65535 where floats go from 0 to 1."""
    scale_claims: tuple[str, ...] = ()
    """What the header tells of the numbers of a file of floats, in the words of `headers.scale_claims`."""
    scale_known: bool = False
    """Whether it was settled, by looking at pixels and at other frames, what the numbers of the file mean."""
    unused_images: int = 0
    """How many images lie in the file besides this one, which nobody looks at."""
    notes: tuple[str, ...] = ()
    """What had to be guessed or mended while reading the header, as sentences."""

    @classmethod
    def from_header(cls, header: Header, source: str = "", shape: tuple[int, ...] = ()) -> "Meta":
        """What a header says, whichever capture program wrote it; file and folder names of `source` fill the gaps."""
        return cls(**read_header(header, source, shape))

    @property
    def in_dn(self) -> bool:
        """Whether the pixels are DN, as far as anybody knows, and not parts of full scale."""
        return "full scale" not in self.scale_claims or self.scaled_by != 1

    @property
    def sky_shape(self) -> tuple[int, ...]:
        """The shape that is left when the frame is trimmed to the region that saw the sky."""
        if self.data_px is None:
            return self.shape
        y0, y1, x0, x1 = self.data_px
        return (*self.shape[:-2], y1 - y0, x1 - x0)

    @property
    def sky_pattern(self) -> str | None:
        """The colour pattern from the first pixel of the region that saw the sky."""
        return shifted_pattern(self.pattern, *self.data_px[::2]) if self.data_px else self.pattern

    def with_(self, **changes: bool | int | float | str | tuple[object, ...] | None) -> "Meta":
        return replace(self, **changes)

    def times(self, factor: float) -> "Meta":
        """The same for pixels multiplied by `factor`; levels that cannot be in the unit of the file are DN already."""
        full, scaled = self.saturation_dn, self.scaled_by * factor
        if full is None or full <= UNIT_LEVEL:
            full = None if scaled == 1 else full * factor if full else FULL_DN
        pedestal = self.pedestal_dn * (factor if self.pedestal_dn <= UNIT_LEVEL else 1.0)
        unit = "DN" if scaled != 1 else self.unit
        return replace(self, saturation_dn=full, pedestal_dn=pedestal, scaled_by=scaled, unit=unit)


class Look(Protocol):
    """What marks pixels of a frame by those around them."""

    @property
    def halo(self) -> int:
        """So many pixels around a box decide about those in it."""

    def __call__(self, pixels: np.ndarray, pattern: str | None) -> np.ndarray | None:
        """Marks, uint8 (rows, cols), 0 for none, of pixels (rows, cols) or (3, rows, cols) of a mosaic of this pattern
        or none; None where it cannot tell."""


class Stored(NamedTuple):
    """Pixels as the file holds them: `value = zero + scale * stored`, byte-swapped when `swapped`.

    `array` has a native dtype so that numba takes it; when `swapped` its bytes are in the other order.
    """

    array: np.ndarray
    zero: float
    scale: float
    swapped: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """An image that can be indexed like an array; nothing is loaded until it is.

    `frame[y0:y1, x0:x1]` gives float32 DN, `(rows, cols)` or `(3, rows, cols)`, NaN where missing;
    `np.asarray(frame)` gives all of it. A file on disk, a calibrated view of it, an array in
    memory: nobody downstream can tell. Cheap and picklable.
    """

    source: str
    """What to call this frame in messages: its path, or a name."""
    meta: Meta = field(default_factory=Meta)
    cards: tuple[str, ...] = ()
    """Provenance: one card for each process that was applied, oldest first."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.meta.shape

    @property
    def header(self) -> Header:
        """The header as a mapping of keywords; empty for frames that never were a file."""
        return {}

    @property
    def planes(self) -> int:
        """How many planes the image has, 1 for one of two axes."""
        return self.shape[0] if len(self.shape) == 3 else 1

    def pixels(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """The box as float32, `(rows, cols)` or `(3, rows, cols)`; 0 <= y0 < y1 <= rows, 0 <= x0 < x1 <= cols."""
        if type(self).pixels_into is Frame.pixels_into:
            raise FrameError(self.source, "this kind of frame has no pixels")
        out = np.empty((*self.shape[:-2], y1 - y0, x1 - x0), np.float32)
        self.pixels_into(out, y0, x0)
        return out

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        """Fill `out`, `(h, w)` or `(3, h, w)` float32, with the box whose first pixel is (y0, x0).

        A kind of frame makes its pixels here or in `pixels`; the other one follows.
        """
        out[...] = self.pixels(y0, y0 + out.shape[-2], x0, x0 + out.shape[-1])

    def bright_into(self, out: np.ndarray, y0: int, x0: int, least_dn: float, reach_px: int) -> np.ndarray | None:
        """`pixels_into`, and which pixels lie within so many rows and columns of one as bright as `least_dn`.

        (h, w) bool, the same in whatever box; a pixel is as bright as its brightest plane. None where none is.
        """
        (rows, cols), (h, w) = self.shape[-2:], out.shape[-2:]
        top, left = max(0, y0 - reach_px), max(0, x0 - reach_px)
        pixels = self.pixels(top, min(rows, y0 + h + reach_px), left, min(cols, x0 + w + reach_px))
        down, across = y0 - top, x0 - left
        out[...] = pixels[..., down : down + h, across : across + w]
        bright = (pixels >= least_dn).any(axis=0) if pixels.ndim == 3 else pixels >= least_dn
        if not bright.any():
            return None
        wide = np.pad(bright, [(reach_px - before, reach_px) for before in (down, across)])
        near, steps = np.zeros((h, w), bool), range(2 * reach_px + 1)
        for dy in steps:
            for dx in steps:
                near |= wide[dy : dy + h, dx : dx + w]
        return near if near.any() else None

    def stored(self, y0: int, y1: int, x0: int, x1: int) -> Stored | None:
        """The box as the file holds it, for kernels that decode on the fly; None when there is no such form."""
        return None

    def defective(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray | None:
        """Which pixels of the box were defective and hold invented values: uint8 (rows, cols), 0 good; or None."""
        return None

    def pixels_and_defective(self, y0: int, y1: int, x0: int, x1: int) -> tuple[np.ndarray, np.ndarray | None]:
        """`pixels` and `defective` of a box, for less work where both come from one look."""
        return self.pixels(y0, y1, x0, x1), self.defective(y0, y1, x0, x1)

    def marked(self, look: Look, y0: int, y1: int, x0: int, x1: int) -> np.ndarray | None:
        """Which pixels of the box `look` marks, uint8 (rows, cols), 0 for none; None where it cannot tell.

        It looks at the pixels as the sensor gave them, with as many around the box as it needs: a frame whose pixels
        are made of others asks those.
        """
        rows, cols = self.shape[-2:]
        top, left = max(0, y0 - look.halo), max(0, x0 - look.halo)
        pixels = self.pixels(top, min(rows, y1 + look.halo), left, min(cols, x1 + look.halo))
        found = look(pixels, self.meta.pattern)
        return None if found is None else found[y0 - top : y1 - top, x0 - left : x1 - left]

    def without(self, look: Look, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """`pixels` of the box, made without those that `look` marks: NaN where nothing else is left."""
        pixels, marks = self.pixels(y0, y1, x0, x1), self.marked(look, y0, y1, x0, x1)
        return pixels if marks is None or not marks.any() else np.where(marks > 0, np.float32(np.nan), pixels)

    @property
    def scratch_bytes(self) -> int:
        """Room that a plain copy of this frame takes among the temporary files; 0 when none is made."""
        return 0

    def times(self, factor: float) -> "Frame":
        """This frame with every pixel multiplied by `factor`, and the levels of its header in the new unit."""
        return Rescaled(source=self.source, meta=self.meta.times(factor), cards=self.cards, below=self, factor=factor)

    def __getitem__(self, box: Index | tuple[Index, ...]) -> np.ndarray:
        box = box if isinstance(box, tuple) else (box,)
        if Ellipsis in box:
            at = box.index(Ellipsis)
            box = box[:at] + (slice(None),) * (len(self.shape) - len(box) + 1) + box[at + 1 :]
        box = box + (slice(None),) * (len(self.shape) - len(box))
        if len(box) != len(self.shape):
            raise IndexError(f"{self.source} has {len(self.shape)} axes, the index has {len(box)}")
        (y0, y1, down), (x0, x1, across) = map(bounds_of, box[-2:], self.shape[-2:])
        if y0 >= y1 or x0 >= x1:
            return np.empty((*self.shape[:-2], max(0, y1 - y0), max(0, x1 - x0)), np.float32)
        return self.pixels(y0, y1, x0, x1)[(*box[:-2], down, across)]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        pixels = self.pixels(0, self.shape[-2], 0, self.shape[-1])
        return pixels if dtype is None else pixels.astype(dtype)


def frame_of(given: "Frame | ArrayLike", source: str = "array") -> Frame:
    """A frame as it is, an array (rows, cols) or (3, rows, cols) as one; ParameterError for anything else."""
    if isinstance(given, Frame):
        return given
    array = np.asarray(given) if hasattr(given, "__array__") else np.empty(())
    shape = array.shape if array.dtype.kind in "buif" else ()
    if not (len(shape) == 2 or len(shape) == 3 and shape[0] == 3) or 0 in shape:
        what = f"an array of shape {shape}" if shape else f"{given!r:.60}"
        words = "a frame is needed, as masterlight.read(path) gives one, or an array (rows, cols) or (3, rows, cols)"
        raise ParameterError(f"{source}: {words} (given: {what})")
    return ArrayFrame.of(array, source)


def frames_of(given: "Iterable[Frame | ArrayLike]") -> list[Frame]:
    """Frames, and arrays as frames that are called by their number: `array 0`."""
    return [frame_of(one, f"array {i}") for i, one in enumerate(given)]


def bounds_of(index, size: int):
    """An index of one axis as contiguous bounds and what is left to apply to the block between them."""
    if isinstance(index, slice):
        start, stop, step = index.indices(size)
        return (start, stop, slice(None)) if step == 1 else (0, size, index)
    at = int(index)
    if not -size <= at < size:
        raise IndexError(f"index {at} is outside an axis of {size} pixels")
    at %= size
    return at, at + 1, 0


def boxes_of(rows: int, cols: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Boxes (y0, y1, x0, x1) of this height and width that cover an image, smaller at its end, row by row."""
    starts = [(y, x) for y in range(0, rows, height) for x in range(0, cols, width)]
    return [(y, min(y + height, rows), x, min(x + width, cols)) for y, x in starts]


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayFrame(Frame):
    """A frame whose pixels are in memory."""

    array: np.ndarray

    @classmethod
    def of(
        cls, array: ArrayLike, source: str = "array", meta: Meta | None = None, cards: tuple[str, ...] = ()
    ) -> "ArrayFrame":
        """A frame of any numeric array; integers become float32."""
        array = np.ascontiguousarray(array, np.float32)
        return cls(source=source, meta=(meta or Meta()).with_(shape=array.shape), cards=cards, array=array)

    def pixels(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return self.array[..., y0:y1, x0:x1]


@dataclass(frozen=True, kw_only=True, eq=False)
class View(Frame):
    """A frame seen through a process: what the process leaves alone is that of the frame below it."""

    below: Frame

    @property
    def header(self) -> Header:
        return self.below.header

    @property
    def scratch_bytes(self) -> int:
        return self.below.scratch_bytes

    def defective(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray | None:
        return self.below.defective(y0, y1, x0, x1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescaled(View):
    """A frame whose pixels are multiplied by a factor."""

    factor: float

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        self.below.pixels_into(out, y0, x0)
        np.multiply(out, np.float64(self.factor), out=out, casting="same_kind")


@contextmanager
def naming(frame: Frame) -> Iterator[None]:
    """What goes wrong while a frame is read becomes a FrameError that carries the frame's source."""
    try:
        yield
    except FrameError as error:
        raise error if error.source == frame.source else FrameError(frame.source, error.of_another) from error
    except OSError as error:
        raise FrameError(frame.source, f"it cannot be read: {error}; leave it out, or copy it again") from error


def evenly(first: int, last: int, count: int, step: int = 1, inside: bool = False) -> list[int]:
    """`count` places spread evenly from `first` to `last`, each once, `step` their common divisor.

    Both ends are among them, or with `inside` the middles of so many equal parts.
    """
    at = np.linspace(first, last, 2 * count + 1)[1::2] if inside else np.linspace(first, last, count)
    return np.unique(at.astype(int) // step * step).tolist()


def strips(frame: Frame, count: int, height: int = 1, step: int = 1, inside: bool = False) -> list[np.ndarray]:
    """A sample of a frame: `count` strips of `height` whole rows, (height, cols) or (3, height, cols), by `evenly`."""
    rows, cols = frame.shape[-2:]
    return [frame.pixels(y, y + height, 0, cols) for y in evenly(0, rows - height, count, step, inside)]
