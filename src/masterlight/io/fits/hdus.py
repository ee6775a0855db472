"""The HDUs of a FITS file, plain or packed by gzip: their headers, and where their data lie."""

import gzip
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from masterlight.core.errors import FrameError
from masterlight.core.headers.values import as_number
from masterlight.io.fits.cards import (
    BLOCK,
    clean_cards,
    parse_cards,
    with_primary,
    without_tiling,
)
from masterlight.io.plain import open_regular, reading
from masterlight.io.scratch import MOST_GROWTH

HEADER_BLOCKS = 500
MOST_BEFORE_BYTES = 1 << 28
"""What is unpacked of a gzip archive before its image, or after it."""
DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}
MOST_PARTS = 1000
SPARE_BYTES = 1 << 20
"""What other members of a gzip archive may hold, whose last one holds the image."""
PACKED = {"gzip": 1100, "tiles": 40_000}
"""How many times larger than its file an image can be: the limit of deflate, and far above what tiles reach."""
TILED = ("Z", "XTENSION", "TFIELDS", "EXTNAME")
"""How the keywords begin that tell of tiles, and of what they are the image."""
LONGEST_AXIS = 10**12


class Opened(NamedTuple):
    """A file open for reading, what it is packed by, and how large it can be."""

    file: Any
    """Its plain bytes."""
    source: str
    packing: str
    size_bytes: int
    """Of the file; of a gzip file the most that it can unpack to."""
    last_bytes: int
    """Size of the plain file modulo 2**32."""
    stamp: tuple[int, int]


class Part(NamedTuple):
    """One HDU of a file: its header, and where its data lie."""

    number: int
    text: str
    """Its cards, mended."""
    cards: dict[str, Any]
    notes: tuple[str, ...]
    start: int
    end: int
    """Where the next one begins."""

    @property
    def tiled(self) -> bool:
        return self.cards.get("ZIMAGE") is True and self.cards.get("XTENSION") == "BINTABLE"

    @property
    def is_image(self) -> bool:
        plain = "SIMPLE" in self.cards or self.cards.get("XTENSION") == "IMAGE"
        return self.tiled or (plain and (whole(self.cards, "NAXIS") or 0) >= 2)

    @property
    def name(self) -> str:
        return str(self.cards.get("EXTNAME", "")).strip().upper()


class Archive(gzip.GzipFile):
    """A gzip archive while the header of its image is looked for; nobody looks behind hundreds of MB of others."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if offset > MOST_BEFORE_BYTES:
            raise FrameError(self.name, "its image comes too late in the gzip archive; unpack it, or take it out")
        return super().seek(offset, whence)


def image_and_planes(file: Opened) -> tuple[Part, list[Part]]:
    """The first image of a file and those that follow it, with what the primary header adds to theirs.

    A file that ends with its first image, as nearly all do, is not looked through any further.
    """
    primary, images = None, []
    try:
        for part in parts(file):
            if part.is_image:
                images.append(as_image(part, primary))
            primary = primary or part
            last = part.end % 2**32 == file.last_bytes if file.packing else part.end >= file.size_bytes
            if images and last:
                break
    except FrameError:
        if not images:
            raise
        images[0] = images[0]._replace(
            notes=(*images[0].notes, "what follows its image cannot be read and is not used")
        )
    if not images:
        raise FrameError(file.source, "holds no image of two axes; is it a table or a spectrum?")
    return images[0], images[1:]


def as_image(part: Part, primary: Part | None) -> Part:
    """An HDU with the cards of the image that it holds, plain or as tiles, and those of the primary header."""
    if primary is None:
        return part
    text = with_primary(without_tiling(part.text) if part.tiled else part.text, primary.text)
    tiling = {key: value for key, value in part.cards.items() if part.tiled and key.startswith(TILED)}
    return part._replace(
        text=text, cards=parse_cards(text) | tiling, notes=tuple(dict.fromkeys((*primary.notes, *part.notes)))
    )


@contextmanager
def opened(source: str) -> Iterator[Opened]:
    """A FITS file, plain or packed by gzip, open for reading; what goes wrong is a FrameError."""
    try:
        with reading(source), open_regular(source) as file:
            status = os.fstat(file.fileno())
            stamp, size = (status.st_size, status.st_mtime_ns), status.st_size
            if file.read(2) != b"\x1f\x8b":
                file.seek(0)
                yield Opened(file, source, "", size, size % 2**32, stamp)
                return
            file.seek(-4, os.SEEK_END)
            last = int.from_bytes(file.read(4), "little")
            file.seek(0)
            with Archive(source, fileobj=file, mode="rb") as plain:
                yield Opened(plain, source, "gzip", most_unzipped(size, last), last, stamp)
    except (EOFError, zlib.error) as error:
        raise FrameError(source, f"the gzip archive is damaged ({error}); copy or download it again") from error


def most_unzipped(size_bytes: int, last_bytes: int) -> int:
    """How large the plain file of a gzip archive of `size_bytes` can be, whose last four bytes tell its size.

    They tell it modulo 4 GB, and of the last member alone: what is much smaller than the archive is no whole.
    """
    whole_told = last_bytes > 0.9 * size_bytes and last_bytes + 2**32 > MOST_GROWTH * size_bytes
    return last_bytes + SPARE_BYTES if whole_told else PACKED["gzip"] * size_bytes


def parts(opened: Opened) -> Iterator[Part]:
    """The HDUs of a file, one after the other; their data are passed over."""
    start = end = 0
    for number in range(MOST_PARTS):
        raw = read_cards(opened, first=number == 0)
        if raw is None:
            return
        text, cards, notes = clean_cards(raw)
        start = end + -(-(len(raw) + 80) // BLOCK) * BLOCK
        end = start + -(-data_bytes(cards, opened.source) // BLOCK) * BLOCK
        yield Part(number, text, cards, tuple(notes), start, end)
        if end >= opened.size_bytes:
            return
        opened.file.seek(end)


def read_cards(opened: Opened, first: bool) -> bytes | None:
    """The cards of one header without END; None at the end of the file."""
    blocks = []
    for _ in range(HEADER_BLOCKS):
        block = opened.file.read(BLOCK)
        if first and not blocks and not block.startswith(b"SIMPLE"):
            told = "the file is empty" if not block else f"not a FITS file (it begins with {block[:8]!r})"
            raise FrameError(opened.source, f"{told}; export it again as FITS")
        end = next((i for i in range(0, len(block), 80) if block[i : i + 80].rstrip(b" \0") == b"END"), None)
        if not first and not blocks and not block.startswith(b"XTENSION"):
            return None
        blocks.append(block[:end])
        if end is not None:
            return b"".join(blocks)
        if len(block) < BLOCK:
            break
    if not first:
        return None
    raise FrameError(opened.source, "the header has no END card, the file is damaged; copy it again")


def data_bytes(cards: Mapping, source: str) -> int:
    """Bytes of the data behind a header; FrameError when it does not tell of any that can be."""
    axes, item_bytes = axes_of(cards, source), abs(bitpix_of(cards, source)) // 8
    plain = cards.get("GROUPS") is not True and ("SIMPLE" in cards or cards.get("XTENSION") == "IMAGE")
    extra, times = (0, 1) if plain else (whole(cards, "PCOUNT") or 0, whole(cards, "GCOUNT") or 1)
    axes = axes[1:] if cards.get("GROUPS") is True and axes[:1] == [0] else axes
    return item_bytes * times * (extra + (math.prod(axes) if axes else 0))


def bitpix_of(cards: Mapping, source: str) -> int:
    """The type of the samples; FrameError when it is none."""
    if cards.get("BITPIX") not in DTYPES:
        told = f"BITPIX is {cards.get('BITPIX')!r:.40}; FITS knows {', '.join(map(str, DTYPES))}"
        raise FrameError(source, f"{told}. The header is damaged; copy the file again")
    return int(cards["BITPIX"])


def axes_of(cards: Mapping, source: str) -> list[int]:
    """The sizes of the axes; FrameError when they cannot be sizes."""
    count = whole(cards, "NAXIS", 999)
    if count is None:
        raise FrameError(source, f"NAXIS is {cards.get('NAXIS')!r:.40}; the header is damaged, copy the file again")
    axes = [whole(cards, f"NAXIS{i + 1}") for i in range(count)]
    for i, axis in enumerate(axes, 1):
        if axis is None:
            told = f"an image without size: NAXIS{i} is {cards.get(f'NAXIS{i}')!r:.40}"
            raise FrameError(source, f"{told}; the header is damaged, copy the file again")
    return axes


def whole(cards: Mapping, key: str, most: int = LONGEST_AXIS) -> int | None:
    """A whole number from 0 to `most`; None for all else."""
    if type(value := cards.get(key)) is int:
        return value if 0 <= value <= most else None
    value = as_number(value)
    return int(value) if value is not None and 0 <= value <= most and value == int(value) else None
