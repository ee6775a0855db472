"""Files: `read(path)` gives a frame, `write(path, planes)` makes a file appear whole; formats by suffix."""

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.geometry import PATTERN_ROW, TOP_DOWN, flip_header
from masterlight.core.headers.reading import FULL_LEVELS
from masterlight.io.kept import Kept as Kept
from masterlight.io.whole import atomic as atomic

FilePath = str | os.PathLike[str]

RAW = (
    ".crw", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".dng", ".srw", ".3fr", ".iiq",
)  # fmt: skip
"""Camera raw, as Canon, Nikon, Sony, Fujifilm, Olympus, Panasonic, Pentax, Samsung and others name it."""

FITS = tuple(end + packed for end in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz"))
TIFF = (".tif", ".tiff")
FORMATS = {
    **dict.fromkeys(FITS, "fits.reading:open_fits"), ".xisf": "xisf:open_xisf", **dict.fromkeys(TIFF, "tiff:open_tiff"),
    **dict.fromkeys(RAW, "raw:open_raw"),
}  # fmt: skip
"""What reads a file, by the end of its name."""
PICTURE = "a finished picture"
TO_FITS = "convert it to FITS, for example with Siril"
OTHERS = {
    "a video": (
        (".ser", ".avi", ".mp4", ".mov", ".mkv", ".m4v"),
        "make FITS files of it, for example with Siril or PIPP",
    ),
    "an archive": ((".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".z"), "unpack it"),
    "a packed FITS file of another name": ((".fz",), "let its name end in .fits.fz"),
    "pixels without their header": ((".xisb",), "save it as one .xisf file"),
    "an image format that is not read": ((".sbig", ".st7", ".st8", ".st9", ".st10", ".cpa", ".pic"), TO_FITS),
    PICTURE: (
        (".png", ".jpg", ".jpeg", ".heic", ".heif", ".gif", ".bmp", ".webp", ".psd"),
        "give the raw frames, as the camera saved them",
    ),
}
"""What else may hold images, by the ends of names, and what to do with it."""
MISSING = -(2**31)
"""What stands for NaN in a plane of 32-bit integers."""


class Scaled(NamedTuple):
    """A plane stored as integers, packed without loss; a reader sees `scale * array`."""

    array: np.ndarray
    scale: float


def counts(array: np.ndarray, n: int) -> Scaled:
    """Counts out of `n` as a plane that reads as the fraction of `n`."""
    return Scaled(array.astype(np.int16 if n < 2**15 else np.int32), 1.0 / n)


def round_to_step(array: np.ndarray, step: float) -> Scaled:
    """A float plane rounded to multiples of `step`, NaN kept; what is too large for 32 bits becomes the largest."""
    out = np.empty(array.shape, np.int32)
    for rows in range(0, len(array), 256):
        levels = array[rows : rows + 256] * np.float32(1 / step)
        np.clip(levels, -(2.0**30), 2.0**30, out=levels)
        np.nan_to_num(np.rint(levels, out=levels), copy=False, nan=MISSING)
        out[rows : rows + 256] = levels
    return Scaled(out, float(step))


class Cut(NamedTuple):
    """How many pixels are no longer what they were when a plane became whole numbers of 16 bits."""

    below: int = 0
    """Pixels below 0, which became the least number."""
    above: int = 0
    missing: int = 0
    moved: int = 0
    """Pixels of 0 that became 1, since 0 stands for the missing ones."""

    def sentence(self) -> str:
        """What became of them; empty when there are none."""
        told = [f"{self.below} below 0 became {1 if self.missing else 0}"] if self.below else []
        told += [f"{self.above} above 65535 became 65535"] if self.above else []
        told += [f"{self.missing} missing are BLANK"] if self.missing else []
        told += [f"{self.moved} of 0 became 1"] if self.moved else []
        return f"pixels: {', '.join(told)}" if told else ""


class Whole(NamedTuple):
    """A plane as whole numbers from 0 to 65535. Missing pixels are 0 and BLANK, for black to who knows no BLANK."""

    array: np.ndarray
    cut: Cut


def whole_numbers(plane: np.ndarray) -> Whole:
    """A plane of floats as whole numbers of 16 bits; what they cannot hold is counted."""
    levels, missing = np.rint(plane), np.isnan(plane)
    below, above, gone, none = map(int, map(np.count_nonzero, (levels < 0, levels > 65535, missing, levels == 0)))
    np.clip(levels, 1 if gone else 0, 65535, out=levels)
    levels[missing] = 0
    return Whole(levels.astype(np.uint16), Cut(below, above, gone, none if gone else 0))


def is_supported(path: FilePath) -> bool:
    """Whether the name of a file ends as one of the formats that are read."""
    return suffix(path, FORMATS) is not None


def suffix(path: FilePath, table: Iterable[str]) -> str | None:
    """The longest entry of `table` with which the name of a file ends."""
    name = os.path.basename(os.fspath(path)).lower()
    return max((end for end in table if name.endswith(end)), key=len, default=None)


def other_kind(path: FilePath) -> tuple[str, str] | None:
    """What a file is that may hold images and is not read, and what to do with it; None for all others."""
    return next(((kind, todo) for kind, (ends, todo) in OTHERS.items() if suffix(path, ends)), None)


def read(path: FilePath) -> Frame:
    """Open a file as a frame: its header is read now, its pixels when they are asked for."""
    end = suffix(path, FORMATS)
    if end is None:
        if not os.path.exists(path):
            raise FrameError(path, "there is no such file; check the path")
        if other := other_kind(path):
            raise FrameError(path, f"is {other[0]}, not a frame; {other[1]}")
        known = "FITS (.fits, .fit, .fts, also as .gz or .fz), XISF, TIFF or camera raw"
        raise FrameError(path, f"this is not an image format that is read; convert it to {known}")
    module, name = FORMATS[end].split(":")
    with import_module("masterlight.io.plain").reading(os.fspath(path)):
        frame: Frame = getattr(import_module(f"masterlight.io.{module}"), name)(path)
    return frame


def read_plane(path: FilePath, name: str) -> Frame | None:
    """A named plane beside the image of a FITS file, as a frame; None where there is none."""
    if suffix(path, FITS) is None:
        return None
    frame: Frame | None = import_module("masterlight.io.fits.reading").open_plane(path, name)
    return frame


def table_rows(path: FilePath, name: str) -> int | None:
    """How many rows a named table of a FITS file has; None where there is none."""
    count: int | None = import_module("masterlight.io.fits.reading").rows_of_table(path, name)
    return count


def write(
    path: FilePath, planes: Frame | np.ndarray | Whole | Mapping[str, object],
    header: Mapping[str, object] | Iterable[tuple[object, ...]] | None = None,
    history: Iterable[str] = (), compress: Iterable[str] = (), bottom_up: bool | None = None,
) -> None:  # fmt: skip
    """Write a FITS file that appears whole or not at all.

    planes: a frame, an array, or a mapping of names to arrays, tables and texts, the first of which becomes
    the primary image; header: a mapping or (keyword, value, comment) rows for it, by default that of the frame;
    history: sentences and cards; compress: names of extensions to compress without loss; bottom_up: whether the last
    row is written first, by default as the file of the frame has it. Planes and header are given upright.
    """
    if suffix(path, (".fits", ".fit", ".fts")) is None:
        raise ParameterError(f"{path}: products are written as FITS; let the name end in .fits")
    if isinstance(planes, Frame):
        header = header_cards(planes) if header is None else header
        history = [*planes.cards, *history]
        bottom_up = planes.meta.bottom_up if bottom_up is None else bottom_up
    if not isinstance(planes, Mapping):
        planes = {"IMAGE": planes if isinstance(planes, Whole) else image_of(path, planes)}
    if bottom_up:
        header, planes = turned_rows(header or {}, planes)
    import_module("masterlight.io.fits.writer").write_fits(path, planes, header or {}, history, compress)


def copy_with(
    source: FilePath, target: FilePath, cards: Mapping[str, tuple[str | int | float | None, str]],
    history: Iterable[str] = (),
) -> None:  # fmt: skip
    """Copy a FITS file, samples as they are stored, with cards (value, comment) set in the header of its image."""
    import_module("masterlight.io.fits.copied").copy_with(source, target, cards, history)


def turned_rows(header: Any, planes: Mapping[str, Any]) -> tuple[list[tuple[object, ...]], dict[str, Any]]:
    """Header rows and planes of an upright image as a file has them whose last row comes first."""
    rows = list(import_module("masterlight.io.fits.cards").rows_of(header))
    height = next(array.shape[-2] for array in map(pixels_of, planes.values()) if array is not None)
    cards = {key: value for key, value, _ in rows if isinstance(key, str) and key not in ("COMMENT", "HISTORY", "")}
    turned = flip_header(dict(cards), height)
    told = [(key, turned[key] if key in cards else value, comment) for key, value, comment in rows]
    told += [(key, value, "") for key, value in turned.items() if key not in cards]
    return told, {name: with_rows_turned(plane) for name, plane in planes.items()}


def pixels_of(plane: Any) -> np.ndarray | None:
    """The pixels of a plane; None for tables and texts."""
    array = plane.array if isinstance(plane, (Whole, Scaled)) else plane
    return array if isinstance(array, np.ndarray) and array.ndim > 1 else None


def with_rows_turned(plane: Any) -> Any:
    """A plane upside down; tables and texts as they are."""
    array = pixels_of(plane)
    if array is None:
        return plane
    turned = np.ascontiguousarray(array[..., ::-1, :])
    return plane._replace(array=turned) if isinstance(plane, (Whole, Scaled)) else turned


def image_of(path: FilePath, planes: Any) -> np.ndarray:
    """An image as an array, masked pixels as NaN; ParameterError for what no FITS reader takes for one."""
    array = np.ma.filled(planes.astype(np.float32), np.nan) if np.ma.isMaskedArray(planes) else np.asarray(planes)
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or not array.size:
        told = f"{array.dtype} of shape {array.shape}"
        raise ParameterError(f"{path}: an image is (rows, cols) or (3, rows, cols) of real numbers (given: {told})")
    return array


RAW_LEVELS = ("SATLEVEL", "MAXADU", "DATAMAX", "DATAMIN", *(f"BLKLEV{i}" for i in range(1, 5)))
"""Levels of a raw frame, which are no longer those of its pixels when it is calibrated."""


def pattern_row(meta: Meta) -> str | None:
    """What a file with the last row first says of the row that BAYERPAT begins with; None where it is not known."""
    return meta.pattern_row.upper() or None if meta.bottom_up and meta.pattern else None


def header_cards(frame: Frame) -> dict[str, Any]:
    """The header of a frame with what processes did to it: nothing is calibrated twice when it is read again."""
    meta = frame.meta
    now = {"CALSTAT": meta.calibration or None, "PEDESTAL": -meta.pedestal_dn if meta.pedestal_dn else None}
    if meta.scaled_by != 1:
        now |= dict.fromkeys(FULL_LEVELS) | {"BUNIT": "DN"}
    if meta.calibration or meta.scaled_by != 1:
        now |= dict.fromkeys(RAW_LEVELS) | {"SATURATE": meta.saturation_dn}
    now |= dict.fromkeys(("XBAYROFF", "YBAYROFF", "COLORTYP", "MLKEY"))
    now |= {"BAYERPAT": meta.pattern, PATTERN_ROW: pattern_row(meta), "ROWORDER": TOP_DOWN}
    if meta.is_master and meta.contains_bias is not None:
        now["CALBIAS"] = meta.contains_bias
    header = frame.header
    kept = {name: header[name] for name in header if name and name not in ("COMMENT", "HISTORY", *now)}
    return kept | {name: value for name, value in now.items() if value is not None}
