"""FITS files read: any box of an image straight from the file.

Plain images are read by a reader of our own, row by row, so that a box costs its own bytes. What is
compressed (.gz, .fz) is unpacked once into a scratch folder that disappears with the program.
"""

import atexit
import gzip
import hashlib
import math
import os
import re
import shutil
import tempfile
import threading
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from masterlight.errors import FrameError, OutputError
from masterlight.frame import Frame, Meta, Stored
from masterlight.headers import DATA, OVERSCAN, as_number, flipped_pattern, pattern_of, section

BLOCK = 2880
HEADER_BLOCKS = 500
CHUNK_BYTES = 2 << 20
SPARE_BYTES = 1 << 30
DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}
STRUCTURE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM|EXTNAME|EXTVER|END|INHERIT"
)
TILING = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(?:TYPE|FORM|UNIT)\d+|ZIMAGE|ZCMPTYPE|Z(?:TILE|NAME|VAL)\d+"
    r"|ZQUANTIZ|ZDITHER0|ZTENSION|ZSIMPLE|ZEXTEND|ZPCOUNT|ZGCOUNT|ZHECKSUM|ZDATASUM|ZMASKCMP|CHECKSUM|DATASUM|EXTNAME|EXTVER"
)


class Layout(NamedTuple):
    """Where the pixels of a FITS image lie and what they mean."""

    offset: int
    bitpix: int
    planes: int
    rows: int
    cols: int
    zero: float
    scale: float
    blank: int | None
    flip: bool
    packing: str
    """'' for a plain file, 'gzip' for a whole file compressed, 'tiles' for a tile-compressed image."""
    hdu: int
    stamp: tuple[int, int]
    """Size and time of the file, so that what was unpacked from it is known again."""

    @property
    def item_bytes(self) -> int:
        return abs(self.bitpix) // 8

    @property
    def data_bytes(self) -> int:
        return self.item_bytes * self.planes * self.rows * self.cols


@dataclass(frozen=True, kw_only=True, eq=False)
class FitsFrame(Frame):
    """An image in a FITS file. The header was read; pixels are read when they are indexed."""

    layout: Layout
    text: str
    """The header's cards, 80 characters each."""

    @property
    def header(self):
        """The header as `astropy.io.fits.Header`, upright as the pixels are given."""
        from astropy.io import fits

        header = fits.Header.fromstring(self.text)
        return flipped(header, self.layout.rows) if self.layout.flip else header

    def pixels(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """The box as float32 DN; the BLANK of integer files becomes NaN."""
        out = np.empty((*self.shape[:-2], y1 - y0, x1 - x0), np.float32)
        self.pixels_into(out, y0, x0)
        return out

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        rows, cols = out.shape[-2:]
        step = max(1, CHUNK_BYTES // max(1, cols * self.layout.item_bytes))
        with self.opened() as file:
            for plane, target in enumerate(out if out.ndim == 3 else out[None]):
                for top in range(0, rows, step):
                    bottom = min(top + step, rows)
                    raw = self.rows_of(file, plane, y0 + top, y0 + bottom, x0, x0 + cols)
                    decode(raw, self.layout, target[top:bottom])

    def stored(self, y0: int, y1: int, x0: int, x1: int) -> Stored | None:
        """The box of a mono 16-bit image as (rows, cols) int16, bytes in the order of the file."""
        if len(self.shape) != 2 or self.layout.bitpix != 16 or self.layout.blank is not None:
            return None
        with self.opened() as file:
            raw = self.rows_of(file, 0, y0, y1, x0, x1)
        return Stored(raw.view(np.int16), self.layout.zero, self.layout.scale, np.little_endian)

    def opened(self):
        """The plain file that holds the pixels, open for reading."""
        try:
            return open(unpacked(self.source, self.layout) if self.layout.packing else self.source, "rb", buffering=0)
        except OSError as error:
            raise FrameError(self.source, f"cannot be read ({error.strerror}); was it moved?") from error

    def rows_of(self, file, plane: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Stored samples of a box, contiguous, as unsigned integers of their size in the order of the file."""
        place = self.layout
        if place.flip:
            y0, y1 = place.rows - y1, place.rows - y0
        start = (0 if place.packing == "tiles" else place.offset) + (
            plane * place.rows + y0
        ) * place.cols * place.item_bytes
        dtype = np.dtype(f"u{place.item_bytes}")
        if (x1 - x0) * 8 >= place.cols:
            raw = np.empty((y1 - y0, place.cols), dtype)
            self.fill(file, start, raw)
            raw = raw if x1 - x0 == place.cols else np.ascontiguousarray(raw[:, x0:x1])
        else:
            raw = np.empty((y1 - y0, x1 - x0), dtype)
            for i in range(y1 - y0):
                self.fill(file, start + (i * place.cols + x0) * place.item_bytes, raw[i])
        return np.ascontiguousarray(raw[::-1]) if place.flip else raw

    def fill(self, file, start: int, array: np.ndarray) -> None:
        """Read the bytes from `start` on into the whole of a contiguous array."""
        view = memoryview(array).cast("B")
        done = 0
        try:
            file.seek(start)
            while done < len(view):
                count = file.readinto(view[done:])
                if not count:
                    raise FrameError(self.source, truncated(start + done, self.layout.offset + self.layout.data_bytes))
                done += count
        except OSError as error:
            raise FrameError(self.source, f"cannot be read ({error.strerror}); copy it again") from error


def decode(raw: np.ndarray, layout: Layout, out: np.ndarray) -> None:
    """Stored samples (rows, cols), as unsigned integers in file order, into float32 DN."""
    from masterlight.kernels import decode as kernels

    plain = layout.blank is None and (layout.zero, layout.scale) == (0, 1)
    if layout.bitpix == 16 and layout.blank is None:
        kernels.decode_int16(
            raw.view(np.int16), np.float32(layout.zero), np.float32(layout.scale), np.little_endian, out
        )
    elif layout.bitpix == -32 and plain:
        kernels.decode_float32(raw, np.little_endian, out.view(np.uint32))
    else:
        values = raw.view(DTYPES[layout.bitpix])
        out[:] = values * np.float64(layout.scale) + layout.zero
        if layout.blank is not None:
            out[values == layout.blank] = np.nan


# --- opening ----------------------------------------------------------------------------------------------------------


def open_fits(path) -> FitsFrame:
    """Open the first image of a FITS file, plain, gzip- or tile-compressed; only its header is read."""
    source = os.fspath(path)
    try:
        with open(source, "rb") as file:
            status = os.fstat(file.fileno())
            packing = "gzip" if file.read(2) == b"\x1f\x8b" else ""
            file.seek(0)
            text, cards, hdu, packing, offset = find_image(
                gzip.GzipFile(fileobj=file) if packing else file, source, packing
            )
    except OSError as error:
        raise FrameError(source, f"cannot be read ({error.strerror or error}); is it readable and whole?") from error
    except (EOFError, zlib.error) as error:
        raise FrameError(source, f"the gzip archive is damaged ({error}); copy or download it again") from error
    layout = layout_of(cards, source, offset, packing, hdu, (status.st_size, status.st_mtime_ns))
    if not packing and status.st_size < offset + layout.data_bytes:
        raise FrameError(source, truncated(status.st_size, offset + layout.data_bytes))
    shape = (layout.rows, layout.cols) if layout.planes == 1 else (layout.planes, layout.rows, layout.cols)
    if layout.flip:
        cards = flipped(cards, layout.rows)
    return FitsFrame(source=source, meta=Meta.from_header(cards, source, shape), layout=layout, text=text)


def truncated(found: int, wanted: int) -> str:
    """The reason for a file that ends too early."""
    return f"truncated: {found:,} of {wanted:,} bytes; copy it again from the camera card"


def find_image(file, source: str, packing: str) -> tuple[str, dict, int, str, int]:
    """Header as text and as values, number, packing and data offset of the first HDU with two axes or more."""
    offset, primary = 0, ""
    for hdu in range(1000):
        text, offset = read_text(file, source, offset, first=hdu == 0)
        if not text:
            break
        cards = parse_cards(text)
        if cards.get("ZIMAGE") is True:
            text = merged(untiled(text), primary)
            return text, parse_cards(text), hdu, "tiles", 0
        axes = as_number(cards.get("NAXIS")) or 0
        if axes >= 2 and ("SIMPLE" in cards or cards.get("XTENSION") == "IMAGE"):
            text = merged(text, primary) if primary else text
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
        if not blocks and first and not block.startswith(b"SIMPLE"):
            told = "the file is empty" if not block else f"not a FITS file (it begins with {block[:8]!r})"
            raise FrameError(source, f"{told}; export it again as FITS")
        if not block and not first and not blocks:
            return "", offset
        offset += len(block)
        blocks.append(block)
        end = next((i for i in range(0, len(block), 80) if block[i : i + 80].rstrip() == b"END"), None)
        if end is not None:
            blocks[-1] = block[:end]
            return b"".join(blocks).decode("latin-1"), offset
        if len(block) < BLOCK:
            break
    if not first:
        return "", offset
    raise FrameError(source, "the header has no END card, the file is damaged; copy it again from the camera card")


def merged(text: str, primary: str) -> str:
    """An extension's cards, and after them those of the primary header that it does not have itself."""
    cards = [text[i : i + 80] for i in range(0, len(text), 80)]
    have = {card[:8] for card in cards}
    more = (primary[i : i + 80] for i in range(0, len(primary), 80))
    return "".join(cards + [c for c in more if c[:8] not in have and not STRUCTURE.fullmatch(c[:8].strip())])


def untiled(text: str) -> str:
    """The header of a tile-compressed image as that of the image itself."""
    rename = {
        "ZBITPIX": "BITPIX",
        "ZNAXIS": "NAXIS",
        "ZBLANK": "BLANK",
        **{f"ZNAXIS{i}": f"NAXIS{i}" for i in range(1, 10)},
    }
    kept = []
    for card in (text[i : i + 80] for i in range(0, len(text), 80)):
        key = card[:8].strip()
        if not TILING.fullmatch(key):
            kept.append(f"{rename.get(key, key):8}{card[8:]}")
    return "".join(kept)


def parse_cards(text: str) -> dict[str, Any]:
    """Keywords and plain values; the first of duplicates, COMMENT and HISTORY joined by line ends."""
    cards: dict[str, Any] = {}
    for i in range(0, len(text), 80):
        card = text[i : i + 80]
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
    try:
        return int(word)
    except ValueError:
        try:
            return float(word.replace("D", "E"))
        except ValueError:
            return word or None


def layout_of(cards: Mapping, source: str, offset: int, packing: str, hdu: int, stamp: tuple[int, int]) -> Layout:
    """Size and meaning of the samples; FrameError when they cannot be an image of one or three planes."""
    bitpix = cards.get("BITPIX")
    if bitpix not in DTYPES:
        raise FrameError(
            source, f"BITPIX is {bitpix!r}; FITS knows {', '.join(map(str, DTYPES))}. The header is damaged"
        )
    axes = [as_number(cards.get(f"NAXIS{i + 1}")) for i in range(int(as_number(cards["NAXIS"])))]
    if any(axis is None or axis < 1 for axis in axes):
        raise FrameError(source, f"an image without size ({' x '.join(str(axis) for axis in axes)}); take it out")
    sizes = [int(axis) for axis in axes]
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 3 or (len(sizes) == 3 and sizes[2] != 3):
        raise FrameError(source, f"a cube of {' x '.join(map(str, sizes))}; images have one plane, or three for colour")
    values = {}
    for key, default in (("BZERO", 0.0), ("BSCALE", 1.0)):
        value = cards.get(key)
        values[key] = default if value is None else as_number(value)
        if values[key] is None or (key == "BSCALE" and values[key] == 0):
            raise FrameError(source, f"{key} is {value!r}, not a usable number; the header is damaged")
    blank = as_number(cards.get("BLANK")) if bitpix > 0 else None
    planes = sizes[2] if len(sizes) == 3 else 1
    flip = str(cards.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP"
    blank = int(blank) if blank is not None else None
    return Layout(
        offset,
        int(bitpix),
        planes,
        sizes[1],
        sizes[0],
        values["BZERO"],
        values["BSCALE"],
        blank,
        flip,
        packing,
        hdu,
        stamp,
    )


def flipped(header, rows: int):
    """A header (astropy or dict, changed and returned) of the image turned upside down: WCS, SIP, pattern, ROWORDER."""
    pattern = pattern_of({str(k): header[k] for k in header if str(k) in ("BAYERPAT", "XBAYROFF", "YBAYROFF")}, ())
    if pattern:
        header["BAYERPAT"], header["XBAYROFF"], header["YBAYROFF"] = flipped_pattern(pattern, rows), 0, 0
    header["ROWORDER"] = "TOP-DOWN"
    for key in (*OVERSCAN, *DATA):
        box = section(header.get(key))
        if box:
            header[key] = f"[{box[2] + 1}:{box[3]},{rows - box[1] + 1}:{rows - box[0]}]"
    crpix = as_number(header.get("CRPIX2"))
    if crpix is not None:
        header["CRPIX2"] = rows + 1 - crpix
    matrix = (
        "CD" if "CD2_2" in header or "CD1_2" in header else "PC" if "PC1_1" in header or "PC2_2" in header else None
    )
    if matrix == "PC" and "PC2_2" not in header:
        header["PC2_2"] = 1.0
    for key in (f"{matrix}1_2", f"{matrix}2_2") if matrix else ("CDELT2",):
        if as_number(header.get(key)) is not None:
            header[key] = -as_number(header[key])
    for key in list(header):
        term = re.fullmatch(r"(A|B|AP|BP)_(\d)_(\d)", str(key))
        if term and as_number(header[key]) is not None:
            odd = int(term[3]) % 2 == 1
            header[key] = as_number(header[key]) * (-1 if odd != term[1].startswith("B") else 1)
    return header


# --- unpacking --------------------------------------------------------------------------------------------------------

_UNPACKING: dict[str, threading.Lock] = {}


@cache
def scratch_folder() -> str:
    """A folder for unpacked files, removed when the program ends; it follows TMPDIR."""
    folder, owner = tempfile.mkdtemp(prefix="masterlight-"), os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


def unpacked(source: str, layout: Layout) -> str:
    """The path of the unpacked twin of a compressed file, made at the first call; threads wait for one another."""
    name = hashlib.blake2b(
        repr((os.path.abspath(source), layout.stamp, layout.hdu)).encode(), digest_size=12
    ).hexdigest()
    path = os.path.join(scratch_folder(), name)
    with _UNPACKING.setdefault(name, threading.Lock()):
        if not os.path.exists(path):
            if shutil.disk_usage(scratch_folder()).free < layout.data_bytes + SPARE_BYTES:
                raise OutputError(
                    f"{source}: no room to unpack it in {scratch_folder()}; "
                    "set the variable TMPDIR to a folder on a larger disk, or unpack the files first"
                )
            try:
                with warnings.catch_warnings(action="ignore"):
                    unpack(source, layout, f"{path}.partial")
            except BaseException as error:
                if os.path.exists(f"{path}.partial"):
                    os.unlink(f"{path}.partial")
                if isinstance(error, (OSError, EOFError, zlib.error, ValueError, TypeError)):
                    why = f" ({error})" if isinstance(error, OSError) else ""
                    raise FrameError(source, f"is damaged and cannot be unpacked{why}; copy it again") from error
                raise
            os.replace(f"{path}.partial", path)
    return path


def unpack(source: str, layout: Layout, target: str) -> None:
    """Write the plain form of a compressed file: the whole file for gzip, the bare pixels for tiles."""
    if layout.packing == "gzip":
        with gzip.open(source, "rb") as packed, open(target, "wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
        if os.path.getsize(target) < layout.offset + layout.data_bytes:
            raise FrameError(source, truncated(os.path.getsize(target), layout.offset + layout.data_bytes))
        return
    from astropy.io import fits

    with fits.open(source, do_not_scale_image_data=True, memmap=False) as hdus:
        np.ascontiguousarray(hdus[layout.hdu].data, DTYPES[layout.bitpix]).tofile(target)
