"""FITS files read: any box of an image straight from the file.

Plain images are read by a reader of our own, row by row, so that a box costs its own bytes. What is
compressed (.gz, .fz) is unpacked once into a scratch folder that disappears with the program.
"""

import gzip
import math
import os
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Meta
from masterlight.core.headers import as_number, flip_header
from masterlight.io.plain import CHUNK_BYTES, Layout, PlainFrame, open_regular, reading, truncation

BLOCK = 2880
HEADER_BLOCKS = 500
MOST_BEFORE_BYTES = 1 << 28
"""What is unpacked of a gzip archive before its image, or after it."""
MOST_UNPACKED = {"gzip": 1100, "tiles": 40_000}
"""How many bytes can come out of one, at most, by the kind of packing."""
DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}
STRUCTURE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM|EXTNAME|EXTVER|END|INHERIT"
)
TILING = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(?:TYPE|FORM|UNIT)\d+|ZIMAGE|ZCMPTYPE|Z(?:TILE|NAME|VAL)\d+"
    r"|ZQUANTIZ|ZDITHER0|ZTENSION|ZSIMPLE|ZEXTEND|ZPCOUNT|ZGCOUNT|ZHECKSUM|ZDATASUM|ZMASKCMP|CHECKSUM|DATASUM|EXTNAME|EXTVER"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FitsFrame(PlainFrame):
    """An image in a FITS file. The header was read; pixels are read when they are indexed."""

    text: str
    """The header's cards, 80 characters each."""

    @property
    def header(self) -> Any:
        """The header as `astropy.io.fits.Header`, upright as the pixels are given."""
        from astropy.io import fits

        header = fits.Header.fromstring(self.text)
        return flip_header(header, self.layout.rows) if self.layout.flip else header

    def unpack(self, target: str) -> None:
        """Write the plain form of a compressed file: of gzip all as far as the image, of tiles the bare pixels."""
        if self.layout.packing == "gzip":
            self.unzip(target)
            return
        from astropy.io import fits

        with open_regular(self.source) as file, fits.open(file, do_not_scale_image_data=True, memmap=False) as hdus:
            np.ascontiguousarray(hdus[self.layout.part].data, self.layout.dtype).tofile(target)

    def unzip(self, target: str) -> None:
        """Write a gzip archive as far as its image goes; what follows is read for its checksum alone, if it is little.

        A few MB that unpack to a thousand times as much, which no header announces, fill neither disk nor time.
        """
        left = self.layout.end_bytes
        with open_regular(self.source) as file, gzip.GzipFile(fileobj=file) as packed, open(target, "wb") as plain:
            while left > 0 and (part := packed.read(min(left, CHUNK_BYTES))):
                left -= len(part)
                plain.write(part)
            if left > 0:
                raise FrameError(self.source, truncation(self.layout.end_bytes - left, self.layout.end_bytes))
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
    """Open the first image of a FITS file, plain, gzip- or tile-compressed; only its header is read."""
    source = os.fspath(path)
    try:
        with reading(source), open_regular(source) as file:
            status, packing = os.fstat(file.fileno()), "gzip" if file.read(2) == b"\x1f\x8b" else ""
            file.seek(0)
            plain = Archive(source, fileobj=file, mode="rb") if packing else file
            text, cards, hdu, packing, offset = find_image(plain, source, packing)
    except (EOFError, zlib.error) as error:
        raise FrameError(source, f"the gzip archive is damaged ({error}); copy or download it again") from error
    layout = layout_of(cards, source, offset, packing, hdu, (status.st_size, status.st_mtime_ns))
    if not packing and status.st_size < layout.end_bytes:
        raise FrameError(source, truncation(status.st_size, layout.end_bytes))
    if packing and layout.end_bytes > MOST_UNPACKED[packing] * status.st_size + BLOCK:
        told = f"{layout.end_bytes:,} bytes of pixels, which its {status.st_size:,} bytes cannot hold"
        raise FrameError(source, f"its header tells of {told}; it is damaged")
    if layout.flip:
        cards = flip_header(cards, layout.rows)
    return FitsFrame(source=source, meta=Meta.from_header(cards, source, layout.shape), layout=layout, text=text)


def find_image(file, source: str, packing: str) -> tuple[str, dict, int, str, int]:
    """Header as text and as values, number, packing and data offset of the first HDU with two axes or more."""
    offset, primary = 0, ""
    for hdu in range(1000):
        text, offset = read_text(file, source, offset, first=hdu == 0)
        if not text:
            break
        cards = parse_cards(text)
        if cards.get("ZIMAGE") is True:
            text = with_primary(without_tiling(text), primary)
            return text, parse_cards(text), hdu, "tiles", 0
        axes = as_number(cards.get("NAXIS")) or 0
        if axes >= 2 and ("SIMPLE" in cards or cards.get("XTENSION") == "IMAGE"):
            text = with_primary(text, primary) if primary else text
            return text, parse_cards(text) if primary else cards, hdu, packing, offset
        primary = primary or text
        sizes = [int(as_number(cards.get(f"NAXIS{i + 1}")) or 0) for i in range(int(axes))]
        count = math.prod(sizes) if sizes else 0
        size = abs(int(as_number(cards.get("BITPIX")) or 8)) // 8 * (count + int(as_number(cards.get("PCOUNT")) or 0))
        offset += -(-size // BLOCK) * BLOCK
        file.seek(offset)
    raise FrameError(source, "holds no image of two axes; is it a table or a spectrum?")


def read_text(file, source: str, offset: int, first: bool) -> tuple[str, int]:
    """The cards of one header without END, and where its data begin; '' at the end of the file."""
    blocks = []
    for _ in range(HEADER_BLOCKS):
        block = file.read(BLOCK)
        if first and not blocks and not block.startswith(b"SIMPLE"):
            told = "the file is empty" if not block else f"not a FITS file (it begins with {block[:8]!r})"
            raise FrameError(source, f"{told}; export it again as FITS")
        offset += len(block)
        end = next((i for i in range(0, len(block), 80) if block[i : i + 80].rstrip() == b"END"), None)
        blocks.append(block[:end])
        if end is not None:
            return b"".join(blocks).decode("latin-1"), offset
        if len(block) < BLOCK:
            break
    if not first:
        return "", offset
    raise FrameError(source, "the header has no END card, the file is damaged; copy it again from the camera card")


def cards_in(text: str) -> list[str]:
    """A header's cards of 80 characters."""
    return [text[i : i + 80] for i in range(0, len(text), 80)]


def with_primary(text: str, primary: str) -> str:
    """An extension's cards, and after them those of the primary header that it does not have itself."""
    have = {card[:8] for card in cards_in(text)}
    more = (card for card in cards_in(primary) if card[:8] not in have)
    return text + "".join(card for card in more if not STRUCTURE.fullmatch(card[:8].strip()))


def without_tiling(text: str) -> str:
    """The header of a tile-compressed image as that of the image itself."""
    rename = {f"Z{key}": key for key in ("BITPIX", "NAXIS", "BLANK", *(f"NAXIS{i}" for i in range(1, 10)))}
    cards = ((card[:8].strip(), card[8:]) for card in cards_in(text))
    return "".join(f"{rename.get(key, key):8}{rest}" for key, rest in cards if not TILING.fullmatch(key))


def parse_cards(text: str) -> dict[str, Any]:
    """Keywords and plain values; the first of duplicates, COMMENT and HISTORY joined by line ends."""
    cards: dict[str, Any] = {}
    for card in cards_in(text):
        key = card[:8].rstrip()
        if key in ("COMMENT", "HISTORY"):
            cards[key] = f"{cards[key]}\n{card[8:].strip()}" if key in cards else card[8:].strip()
        elif card[8:9] == "=" and key not in cards:
            cards[key] = card_value(card[9:].strip())
    return cards


def card_value(field: str) -> Any:
    """The value of a card: text, logical, number; None where there is none."""
    if field.startswith("'"):
        quoted = "''" in field
        words = re.match(r"(?:[^']|'')*", field[1:])[0].replace("''", "'") if quoted else field.split("'", 2)[1]
        return words.rstrip()
    word = field.split("/", 1)[0].strip()
    if word in ("T", "F"):
        return word == "T"
    for number, digits in ((int, word), (float, word.replace("D", "E"))):
        with suppress(ValueError):
            return number(digits)
    return word or None


def layout_of(cards: Mapping, source: str, offset: int, packing: str, hdu: int, stamp: tuple[int, int]) -> Layout:
    """Size and meaning of the samples; FrameError when they cannot be an image of one or three planes."""
    bitpix = cards.get("BITPIX")
    if bitpix not in DTYPES:
        known = ", ".join(map(str, DTYPES))
        raise FrameError(source, f"BITPIX is {bitpix!r}; FITS knows {known}. The header is damaged")
    axes = [as_number(cards.get(f"NAXIS{i + 1}")) for i in range(int(as_number(cards["NAXIS"])))]
    if any(axis is None or axis < 1 for axis in axes):
        raise FrameError(source, f"an image without size ({' x '.join(str(axis) for axis in axes)}); take it out")
    sizes = [int(axis) for axis in axes]
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 3 or (len(sizes) == 3 and sizes[2] != 3):
        raise FrameError(source, f"a cube of {' x '.join(map(str, sizes))}; images have one plane, or three for colour")
    values = {"BZERO": 0.0, "BSCALE": 1.0}
    for key in values:
        if (value := cards.get(key)) is not None:
            values[key] = as_number(value)
        if values[key] is None or (key == "BSCALE" and values[key] == 0):
            raise FrameError(source, f"{key} is {value!r}, not a usable number; the header is damaged")
    blank = as_number(cards.get("BLANK")) if bitpix > 0 else None
    blank = int(blank) if blank is not None else None
    flip = str(cards.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP"
    cols, rows, planes = [*sizes, 1][:3]
    where = DTYPES[bitpix], planes, rows, cols, offset
    return Layout(*where, values["BZERO"], values["BSCALE"], blank, flip, packing, hdu, stamp)
