"""What steps by hand hand on to the next: numbers as float64 and words, in one table beside the image of a FITS file.

Header cards are for people and are rounded; what a later step reckons with travels here, bit by bit. The table
MASTERLIGHT has one row; each of its columns is a number, an array of numbers or a text.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame
from masterlight.io import FITS, FilePath, header_cards, image_of, suffix, write
from masterlight.io.fits.hdus import Opened, Part, opened, parts, whole

TABLE = "MASTERLIGHT"
"""The name of the table."""
LARGEST_BYTES = 1 << 30
MOST_COLUMNS = 99


@dataclass(frozen=True, eq=False)
class Handed:
    """What a file hands on besides its pixels; false when that is nothing."""

    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Arrays of float64 of any shape, by name."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Texts of ASCII, by name."""

    def __bool__(self) -> bool:
        return bool(self.numbers or self.words)

    def with_(self, **more: Any) -> "Handed":
        """The same with numbers, arrays and texts in place of those of the same name; None takes one away."""
        numbers = {k: v for k, v in self.numbers.items() if k not in more}
        words = {k: v for k, v in self.words.items() if k not in more}
        words |= {k: v for k, v in more.items() if isinstance(v, str)}
        numbers |= {k: np.asarray(v, np.float64) for k, v in more.items() if v is not None and not isinstance(v, str)}
        return Handed(numbers, words)

    def number(self, name: str) -> float | None:
        """A single number; None where there is none of this name."""
        value = self.numbers.get(name)
        return float(value.ravel()[0]) if value is not None and value.size else None

    def table(self) -> np.ndarray:
        """The one row in which it is written; empty arrays are left out."""
        columns = {k: v for k, v in self.numbers.items() if v.size}
        kinds = [(k, np.float64, v.shape) if v.shape else (k, np.float64) for k, v in columns.items()]
        texts = {k: v.encode("ascii", "backslashreplace") for k, v in self.words.items() if v}
        row = np.zeros(1, [*kinds, *((k, f"S{len(v)}") for k, v in texts.items())])
        for name, value in (columns | texts).items():
            row[name][0] = value
        return row


NOTHING = Handed()


def write_handing(
    path: FilePath, planes: Any, header: Mapping[str, object] | None, history: Any, handed: Handed, bottom_up: bool
) -> None:
    """`io.write` of an image, or of a mapping of planes, with what is handed on in the table beside it."""
    if isinstance(planes, Frame):
        header, planes = header_cards(planes) if header is None else header, image_of(path, planes)
    planes = dict(planes) if isinstance(planes, Mapping) else {"IMAGE": planes}
    write(path, planes | ({TABLE: handed.table()} if handed else {}), header, history, bottom_up=bottom_up)


def read_handed(path: FilePath) -> Handed:
    """What a file hands on; nothing where it is no FITS file or no step of ours wrote it.

    FrameError where there is such a table and it cannot be read.
    """
    if suffix(path, FITS) is None:
        return NOTHING
    with opened(str(path)) as file:
        part = next((part for part in readable_parts(file) if part.name == TABLE), None)
        return NOTHING if part is None else decoded(file, part)


def readable_parts(file: Opened) -> Any:
    """The HDUs of a file as far as they can be read; what comes after is not looked at."""
    try:
        yield from parts(file)
    except FrameError:
        return


def decoded(file: Opened, part: Part) -> Handed:
    """The row of a table as numbers and words."""
    size, rows, fields = (whole(part.cards, key) for key in ("NAXIS1", "NAXIS2", "TFIELDS"))
    if rows != 1 or not size or not fields or size > LARGEST_BYTES or fields > MOST_COLUMNS:
        raise damaged(file)
    file.file.seek(part.start)
    content, at = file.file.read(size), 0
    numbers, words = {}, {}
    for i in range(1, fields + 1):
        name, form = (str(part.cards.get(f"{key}{i}", "")).strip() for key in ("TTYPE", "TFORM"))
        found = re.fullmatch(r"(\d*)([AD])", form)
        if not found:
            raise damaged(file)
        count, end = int(found[1] or 1), at + int(found[1] or 1) * (8 if found[2] == "D" else 1)
        if end > len(content):
            raise damaged(file)
        if found[2] == "A":
            words[name] = content[at:end].rstrip(b"\0 ").decode("ascii", "replace")
        else:
            values = np.frombuffer(content[at:end], ">f8").astype(np.float64)
            numbers[name] = values.reshape(shape_of(part.cards.get(f"TDIM{i}"), count))
        at = end
    return Handed(numbers, words)


def shape_of(told: Any, count: int) -> tuple[int, ...]:
    """The shape of so many numbers as TDIM tells it, the fastest axis first; one axis where that does not fit."""
    axes = tuple(int(n) for n in re.findall(r"\d{1,12}", str(told or "")))[::-1]
    return axes if axes and math.prod(axes) == count else (count,)


def damaged(file: Opened) -> FrameError:
    words = f"its table {TABLE}, which steps by hand hand on, is damaged"
    return FrameError(file.source, f"{words}; copy the file again, or make it anew")
