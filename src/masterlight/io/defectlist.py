"""Lists of defective pixels: those of PixInsight and Siril, as text, and maps of bits in FITS files."""

import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import COLD, DEFECTS, HOT, LINE, USER, Meta
from masterlight.core.headers.geometry import PATTERN_ROW
from masterlight.io import FITS, FilePath, atomic, pattern_row, read, suffix, write
from masterlight.io.plain import open_regular, reading

BITS = {f"N{name.upper()}"[:8]: bit for name, bit in DEFECTS.items()}
"""Keywords that count the pixels of each bit of a map."""
KIND = "DEFECT MAP"
"""What IMAGETYP calls a map of bits."""
MOST_BYTES = 1 << 24
"""Of a list; one of a million lines has fewer."""
TEXTS = {".lst": "Siril", ".txt": "PixInsight", ".defects": "PixInsight"}


class DefectList(NamedTuple):
    """What a file tells of defects, in the order in which `Defects.of(*list)` takes it."""

    mask: np.ndarray
    source: str
    meta: Meta | None = None
    notes: tuple[str, ...] = ()


class Entry(NamedTuple):
    """One line of a list: the box (y0, y1, x0, x1) that it marks, None for an end of the sensor, and its bits."""

    line: int
    text: str
    box: tuple[int | None, ...]
    bits: int


def read_defects(path: FilePath, shape: tuple[int, int] | None = None, bottom_up: bool = False) -> DefectList:
    """Read a list of defects for a sensor of `shape` (rows, cols), whichever program wrote it; the mask is upright.

    A FITS map of bits tells its shape itself. Lists of PixInsight (`Col x y0 y1`, `Row y`) and Siril (`P x y H`,
    `C x 0`, `L y 0`) are told apart by their words. Siril counts rows from the last one that its file stores;
    `bottom_up` says whether the files it looked at begin with the last row (`Meta.bottom_up` of the frames to repair).
    Raises FrameError with number and text of a line that cannot be understood, or when nothing in the list is on the
    sensor; what is outside is told in `notes`.
    """
    path = os.fspath(path)
    with reading(path), open_regular(path) as file:
        head = file.read(16)
    if head.startswith((b"SIMPLE", b"\x1f\x8b")) or suffix(path, FITS):
        return read_map(path, shape)
    if shape is None:
        raise ParameterError(f"shape: {path} is a list and does not tell the size of the sensor; give (rows, cols)")
    return listed_mask(path, list(entries(path, text_of(path), shape[0], bottom_up)), shape)


def text_of(path: str) -> str:
    """The words of a list; FrameError for what is no text."""
    with reading(path), open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    try:
        if len(data) > MOST_BYTES or b"\0" in data:
            raise ValueError("it holds other bytes" if b"\0" in data else f"more than {MOST_BYTES:,} bytes")
        return data.decode("utf-8-sig")
    except ValueError as error:
        raise FrameError(path, f"is not a list of defects: neither text nor FITS ({error})") from error


def entries(path: str, text: str, rows: int, bottom_up: bool) -> Iterator[Entry]:
    """The lines of a list; empty ones and those that begin with # say nothing."""
    program = None
    for number, line in enumerate(text.splitlines(), 1):
        words = " ".join(line.split("#", 1)[0].split())
        if not words:
            continue
        told = {"PixInsight": pixinsight(words), "Siril": siril(words, rows, bottom_up)}
        program = program or next((name for name in told if told[name]), "")
        found = told.get(program)
        if found is None:
            known = "`Col x`, `Col x y0 y1`, `Row y` (PixInsight) or `P x y`, `P x y H`, `C x 0`, `L y 0` (Siril)"
            raise FrameError(path, f"line {number} is not understood: '{line.strip()}'. Lines are {known}, not mixed")
        yield Entry(number, line.strip(), *found)


def pixinsight(words: str):
    """The box and bits of a line such as `Col 17 20 300`, or None."""
    match = re.fullmatch(r"(?:col|row) (\d{1,9})(?: (\d{1,9}) (\d{1,9}))?", words.lower())
    if not match:
        return None
    at, *ends = (int(number) for number in match.groups() if number)
    start, stop = (min(ends), max(ends) + 1) if ends else (None, None)
    bits = USER if ends and stop - start == 1 else LINE
    return ((start, stop, at, at + 1) if words[0] in "cC" else (at, at + 1, start, stop)), bits


def siril(words: str, rows: int, bottom_up: bool):
    """The box and bits of a line such as `P 17 20 H`, or None; rows are counted from the last one of the file."""
    match = re.fullmatch(r"([PCL]) (\d{1,9})(?: (\d{1,9}))?(?: ([HC]))?", words)
    if not match or (match[1] == "P" and not match[3]):
        return None  # `C x` and `L y` may be followed by a 0 that means nothing
    x, y = int(match[2]), int(match[3 if match[1] == "P" else 2])
    y = y if bottom_up else rows - 1 - y
    if match[1] == "P":
        return (y, y + 1, x, x + 1), {"H": HOT, "C": COLD}.get(match[4], USER)
    return ((None, None, x, x + 1) if match[1] == "C" else (y, y + 1, None, None)), LINE


def listed_mask(path: str, found: list[Entry], shape: tuple[int, int]) -> DefectList:
    """A mask of what a list marks, and what of it is outside the sensor."""
    mask, lost, whole = np.zeros(shape, np.uint8), [], (0, shape[0], 0, shape[1])
    for entry in found:
        y0, y1, x0, x1 = (end if at is None else at for at, end in zip(entry.box, whole, strict=True))
        if y0 < 0 or x0 < 0 or y1 > shape[0] or x1 > shape[1]:
            lost.append(entry)
        mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] |= entry.bits
    if not lost:
        return DefectList(mask, path)
    told = f"{len(lost)} of {len(found)} lines reach outside the sensor of {shape[1]} x {shape[0]} pixels"
    told += f", the first in line {lost[0].line}: '{lost[0].text}'"
    if not mask.any():
        raise FrameError(path, f"{told}; is it for another camera or binning?")
    return DefectList(mask, path, notes=(f"{path}: {told}",))


def read_map(path: str, shape: tuple[int, int] | None) -> DefectList:
    """A map of bits from a FITS file."""
    frame = read(path)
    if len(frame.shape) != 2 or (shape is not None and tuple(frame.shape) != tuple(shape)):
        wanted = f"{shape[1]} x {shape[0]} pixels" if shape else "one plane"
        raise FrameError(path, f"is a map of {' x '.join(map(str, frame.shape[::-1]))} pixels; {wanted} are needed")
    values = np.asarray(frame)
    if not np.all((values >= 0) & (values < 64) & (values == np.rint(values))):
        raise FrameError(path, "is not a map of defects: it has values other than the whole numbers from 0 to 63")
    mask = values.astype(np.uint8)
    if frame.header.get("IMAGETYP") != KIND and 2 * np.count_nonzero(mask) > mask.size:
        raise FrameError(path, "marks more than half of the sensor: a map for DefectMap, where 0 is a defective pixel?")
    return DefectList(mask, frame.header.get("DEFSOURC") or path, frame.meta)


def write_defects(path: FilePath, defects: Any, thresholds: str = "") -> None:
    """Write defects as a FITS map of bits (.fits), a list of Siril (.lst) or of PixInsight (.txt), by the name's end.

    defects: what has a `mask` (rows, cols) uint8 of bits, a `source` and a `meta`; thresholds: the card of the process
    that found them, for the header. A file of frames that have the last row first has its own rows so, and Siril's list
    counts them so.
    """
    end, meta = suffix(path, (*FITS, *TEXTS)), getattr(defects, "meta", None)
    bottom_up = meta is not None and meta.bottom_up
    if end in TEXTS:
        lines = siril_lines(defects.mask, bottom_up) if TEXTS[end] == "Siril" else pixinsight_lines(defects.mask)
        with atomic(path) as file:
            file.write("\n".join([*lines, ""]).encode("ascii"))
        return
    if end is None:
        told = "defects are written as .fits (map), .lst (list of Siril) or .txt (of PixInsight)"
        raise ParameterError(f"{path}: {told}")
    rows = [("IMAGETYP", KIND, "1 hot 2 cold 4 unstable 8 line 16 sat 32 user")]
    source = defects.source
    rows += [("DEFSOURC", source if len(source) <= 50 else f"...{source[-47:]}", "made from")]
    rows += [(key, int(np.count_nonzero(defects.mask & bit)), "pixels") for key, bit in BITS.items()]
    rows += [("NDEFECTS", int(np.count_nonzero(defects.mask)), "defective pixels")]
    write(path, {"DEFECTS": defects.mask}, rows + camera_rows(meta), [thresholds or KIND], bottom_up=bottom_up)


def camera_rows(meta: Meta | None) -> list[tuple]:
    """The cards by which a map finds its camera again."""
    if meta is None:
        return []
    rows = [("INSTRUME", meta.camera, "camera"), ("READOUTM", meta.readout_mode, "readout mode")]
    rows += [("XBINNING", meta.binning[0], ""), ("YBINNING", meta.binning[1], ""), ("GAIN", meta.gain, "setting")]
    rows += [("XORGSUBF", meta.origin_px[0], "first column"), ("YORGSUBF", meta.origin_px[1], "first row")]
    return rows + [("BAYERPAT", meta.pattern, "colour filters"), (PATTERN_ROW, pattern_row(meta), "where it begins")]


def siril_lines(mask: np.ndarray, bottom_up: bool) -> Iterator[str]:
    """A list as Siril reads it: whole columns and rows, then pixels with H or C; rows from the last one of the file."""
    rows, cols = mask.shape
    columns, lines = (np.flatnonzero((mask & LINE > 0).all(axis=axis)) for axis in (0, 1))
    left = mask > 0
    left[:, columns] = left[lines] = False
    number = range(rows) if bottom_up else range(rows - 1, -1, -1)
    yield f"# {cols} x {rows} pixels; columns from the left, rows from the last one of the file, both from 0"
    yield from (f"C {x} 0" for x in columns)
    yield from (f"L {number[y]} 0" for y in lines)
    for y, x in np.argwhere(left):
        yield f"P {x} {number[y]}" + (" H" if mask[y, x] & HOT else " C" if mask[y, x] & COLD else "")


def pixinsight_lines(mask: np.ndarray) -> Iterator[str]:
    """A list as PixInsight reads it: whole and partial columns, whole rows; a pixel is a column of one."""
    lines = np.flatnonzero((mask > 0).all(axis=1))
    left = mask > 0
    left[lines] = False
    yield from (f"Row {y}" for y in lines)
    x, y = np.nonzero(np.ascontiguousarray(left.T))
    starts = np.flatnonzero((np.diff(x, prepend=-1) != 0) | (np.diff(y, prepend=-1) != 1))
    for run in np.split(np.arange(len(x)), starts)[1:]:
        first, last = run[[0, -1]]
        yield f"Col {x[first]}" if run.size == len(mask) else f"Col {x[first]} {y[first]} {y[last]}"
