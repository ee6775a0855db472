"""FITS files read: any box of an image straight from the file.

Plain images are read by a reader of our own, row by row, so that a box costs its own bytes. What is
compressed (.gz, .fz) is unpacked once into a scratch folder that disappears with the program.
"""

import gzip
import io
import math
import os
import pickle
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Meta, Stored
from masterlight.core.headers.geometry import flip_header
from masterlight.core.headers.values import as_number
from masterlight.io.cards import (
    BLOCK,
    cards_bytes,
    cards_in,
    clean_cards,
    header_of_text,
    parse_cards,
    with_primary,
    without_tiling,
)
from masterlight.io.plain import CHUNK_BYTES, Layout, PlainFrame, open_regular, reading, refuse_absurd, truncation
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
TABLE = re.compile(
    r"(?:XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(?:TYPE|FORM|DIM)\d+|THEAP|BSCALE|BZERO"
    r"|Z(?:IMAGE|CMPTYPE|BITPIX|NAXIS\d*|(?:TILE|NAME|VAL)\d+|QUANTIZ|DITHER0|BLANK|SCALE|ZERO)) *="
)
"""Cards by which a compressed image is unpacked."""
TILED = ("Z", "XTENSION", "TFIELDS", "EXTNAME")
"""How the keywords begin that tell of tiles, and of what they are the image."""
LONGEST_AXIS = 10**12
LARGEST = 1e30
"""Beyond it BZERO and BSCALE leave nothing of the pixels."""
LARGEST_TILE = 1 << 16
"""Pixels of a tile that may be larger than its image."""
ERRNO_FROM = 100
"""A process that unpacks ends with this and the number of the system's error, such as that of a full disk."""
UNPACK_APART = f"""
import pickle, sys
from masterlight.io.fits import write_tiles
try:
    write_tiles(*pickle.load(sys.stdin.buffer))
except OSError as error:
    sys.exit({ERRNO_FROM} + error.errno if error.errno else 1)
"""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class FitsFrame(PlainFrame):
    """An image in a FITS file. The header was read; pixels are read when they are indexed."""

    text: str
    """The header's cards, 80 characters each, mended where a FITS library would refuse one."""
    mask: "FitsFrame | None" = None
    """The plane MASK of the same file, of bytes: where it is not 0, the pixels are missing."""

    @property
    def header(self) -> Any:
        """The header as `astropy.io.fits.Header`, upright as the pixels are given."""
        header = header_of_text(self.text)
        return flip_header(header, self.layout.rows) if self.layout.flip else header

    @property
    def scratch_bytes(self) -> int:
        return super().scratch_bytes + (self.mask.scratch_bytes if self.mask else 0)

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        """Fill `out` with a box in DN; blank and masked pixels become NaN."""
        super().pixels_into(out, y0, x0)
        if self.mask is not None:
            out[self.mask.pixels(y0, y0 + out.shape[-2], x0, x0 + out.shape[-1]) != 0] = np.nan

    def stored(self, y0: int, y1: int, x0: int, x1: int) -> Stored | None:
        return super().stored(y0, y1, x0, x1) if self.mask is None else None

    def unpack(self, target: str) -> None:
        """Write the plain form of a compressed file: of gzip all as far as the image, of tiles the bare pixels."""
        if self.layout.packing == "tiles":
            unpack_tiles(self.source, self.layout, target)
        else:
            unzip(self.source, self.layout.end_bytes, target)


def unpack_tiles(source: str, layout: Layout, target: str) -> None:
    """Write the bare pixels of a tile-compressed image, some rows of tiles at a time.

    The library that unpacks them sees the cards that tell of the tiles, and none of those that programs invent.
    """
    from astropy.io import fits

    with opened(source) as file:
        part = next(part for part in parts(file) if part.number == layout.part)
        file.file.seek(part.start)
        data = file.file.read(part.end - part.start)
    tiling = "".join(card for card in cards_in(part.text) if TABLE.match(card))
    table = cards_bytes(fits.PrimaryHDU().header.tostring(endcard=False)) + cards_bytes(tiling) + data
    height = int(part.cards.get("ZTILE2", 1))
    if part.cards["ZCMPTYPE"].strip() != "HCOMPRESS_1":
        write_tiles(table, layout, height, target)
        return
    sent, known = pickle.dumps((table, layout, height, target)), os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", UNPACK_APART], input=sent, capture_output=True, env=known, check=False)
    if done.returncode > ERRNO_FROM:
        raise OSError(done.returncode - ERRNO_FROM, os.strerror(done.returncode - ERRNO_FROM))
    if done.returncode:  # damaged streams of this kind make the library write beyond its memory: not into ours
        raise FrameError(source, "is damaged and cannot be unpacked; copy it again")


def write_tiles(table: bytes, layout: Layout, height: int, target: str) -> None:
    """Write the bare pixels of a file of one compressed image; height: rows of a tile."""
    from astropy.io import fits

    with fits.open(io.BytesIO(table), do_not_scale_image_data=True, memmap=False) as hdus, open(target, "wb") as plain:
        image = hdus[1]
        step = max(1, 16 * CHUNK_BYTES // (layout.cols * layout.item_bytes * height)) * height
        for plane in range(layout.planes):
            before = (*(0,) * (len(image.shape) - 3), *(plane,) * (len(image.shape) > 2))
            for top in range(0, layout.rows, step):
                rows = image.section[(*before, slice(top, top + step))]
                plain.write(np.ascontiguousarray(rows, layout.dtype))


def unzip(source: str, end_bytes: int, target: str) -> None:
    """Write a gzip archive as far as its image goes; what follows is read for its checksum alone, if it is little.

    A few MB that unpack to a thousand times as much, which no header announces, fill neither disk nor time.
    """
    left = end_bytes
    with open_regular(source) as file, gzip.GzipFile(fileobj=file) as packed, open(target, "wb") as plain:
        while left > 0 and (part := packed.read(min(left, CHUNK_BYTES))):
            left -= len(part)
            plain.write(part)
        if left > 0:
            raise FrameError(source, truncation(end_bytes - left, end_bytes))
        for _ in range(0, MOST_BEFORE_BYTES, CHUNK_BYTES):
            if not packed.read(CHUNK_BYTES):
                break


class Archive(gzip.GzipFile):
    """A gzip archive while the header of its image is looked for; nobody looks behind hundreds of MB of others."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if offset > MOST_BEFORE_BYTES:
            raise FrameError(self.name, "its image comes too late in the gzip archive; unpack it, or take it out")
        return super().seek(offset, whence)


def open_fits(path: str | os.PathLike[str]) -> FitsFrame:
    """Open the first image of a FITS file, plain, gzip- or tile-compressed; only its header is read.

    Where a plane MASK of bytes behind it, as CCDData writes one, is not 0, its pixels are missing. Larger integers
    hold bits, most of which, such as LSST's DETECTED, tell of good pixels.
    """
    with opened(os.fspath(path)) as file:
        image, beside = image_and_planes(file)
        frame = frame_of(file, image)
        names = {part.name: part for part in beside}
        notes = ["its plane UNCERT is not used"] if "UNCERT" in names else []
        if "MASK" in names:
            mask = frame_of(file, names["MASK"])
            if mask.layout.dtype != DTYPES[8]:
                notes.append("its plane MASK holds bits, not flags, and is not used")
            elif mask.shape == frame.shape:
                notes.append("pixels that its plane MASK marks are missing")
                mask = replace(mask, layout=mask.layout._replace(flip=frame.layout.flip))
                frame = replace(frame, mask=mask)
            else:
                notes.append("its plane MASK is of another size than the image and is not used")
    return replace(frame, meta=frame.meta.with_(notes=(*frame.meta.notes, *notes))) if notes else frame


def open_plane(path: str | os.PathLike[str], name: str) -> FitsFrame | None:
    """A named image beside the first one of a FITS file, as a frame; None where there is none."""
    with opened(os.fspath(path)) as file:
        part = next((part for part in image_and_planes(file)[1] if part.name == name), None)
        return frame_of(file, part) if part else None


def rows_of_table(path: str | os.PathLike[str], name: str) -> int | None:
    """How many rows a named table of a FITS file has; None where there is none."""
    with opened(os.fspath(path)) as file:
        return next((whole(part.cards, "NAXIS2") for part in parts(file) if part.name == name), None)


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


def frame_of(file: Opened, part: Part) -> FitsFrame:
    """The frame of an image; FrameError when it cannot be one, or the file is too short for it."""
    source, packing = file.source, "tiles" if part.tiled else file.packing
    layout = layout_of(part.cards, source, 0 if part.tiled else part.start, packing, part.number, file.stamp)
    end = part.end if part.tiled else layout.end_bytes
    if packing:
        refuse_absurd(source, layout.end_bytes, file.stamp[0], PACKED[packing])
    if end > file.size_bytes:
        raise FrameError(source, truncation(file.size_bytes, max(end, layout.end_bytes)))
    cards = flip_header(dict(part.cards), layout.rows) if layout.flip else part.cards
    meta = Meta.from_header(cards, source, layout.shape)
    meta = meta.with_(notes=(*part.notes, *meta.notes)) if part.notes else meta
    return FitsFrame(source=source, meta=meta, layout=layout, text=part.text)


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


def layout_of(cards: Mapping, source: str, offset: int, packing: str, hdu: int, stamp: tuple[int, int]) -> Layout:
    """Size and meaning of the samples; FrameError when they cannot be an image of one or three planes."""
    sizes, bitpix = axes_of(cards, source), bitpix_of(cards, source)
    if packing == "tiles":
        check_tiles(cards, sizes, source)
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    told = " x ".join(map(str, sizes[:4])) + (" x ..." if len(sizes) > 4 else "")
    if not all(sizes) or len(sizes) < 2:
        raise FrameError(source, f"an image without size ({told}); take it out")
    if len(sizes) > 3 or (len(sizes) == 3 and sizes[2] != 3):
        raise FrameError(source, f"a cube of {told}; images have one plane, or three for colour")
    zero, scale = (usable_number(cards, key, usual, source) for key, usual in (("BZERO", 0.0), ("BSCALE", 1.0)))
    blank = blank_of(cards.get("BLANK"), bitpix)
    flip = str(cards.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP"
    cols, rows, planes = [*sizes, 1][:3]
    return Layout(DTYPES[bitpix], planes, rows, cols, offset, zero, scale, blank, flip, packing, hdu, stamp)


def usable_number(cards: Mapping, key: str, usual: float, source: str) -> float:
    """BZERO or BSCALE; FrameError where no pixel could be reckoned with it."""
    number = usual if cards.get(key) is None else as_number(cards[key])
    if number is None or abs(number) > LARGEST or (key == "BSCALE" and abs(number) < 1 / LARGEST):
        raise FrameError(source, f"{key} is {cards[key]!r:.40}, not a usable number; the header is damaged")
    return number


def blank_of(value: Any, bitpix: int) -> int | None:
    """What stands for a missing pixel in a file of integers; None where no pixel can have that value."""
    low, high = (0, 255) if bitpix == 8 else (-(2 ** (bitpix - 1)), 2 ** (bitpix - 1) - 1) if bitpix > 0 else (0, -1)
    number = as_number(value)
    return int(number) if number is not None and low <= number <= high else None


def check_tiles(cards: Mapping, sizes: list[int], source: str) -> None:
    """Raise FrameError when the tiles that a header tells cannot hold its image."""
    tiles = [whole(cards, f"ZTILE{i + 1}") if f"ZTILE{i + 1}" in cards else 1 for i in range(len(sizes))]
    tiles[:1] = tiles[:1] if "ZTILE1" in cards else sizes[:1]
    told = "" if isinstance(cards.get("ZCMPTYPE"), str) else "does not tell how it is packed (ZCMPTYPE)"
    if not all(tiles) or math.prod(filter(None, tiles)) > 4 * math.prod(sizes) + LARGEST_TILE:
        told = f"has tiles of {' x '.join(map(str, tiles[:3]))} pixels"
    if whole(cards, "TFIELDS", 999) is None:
        told = f"has {cards.get('TFIELDS')!r:.40} columns (TFIELDS)"
    for key in [key for key in cards if key.startswith("ZVAL") and abs(as_number(cards[key]) or 0) > LARGEST_TILE]:
        told = f"has {key} = {cards[key]!r:.40}"
    if told:
        raise FrameError(source, f"is a compressed image that {told}; the header is damaged, copy the file again")
