"""XISF files read: monolithic files as PixInsight, N.I.N.A. and others write them.

What is stored plain is read in place, box by box; what is compressed is unpacked once into the scratch folder.
"""

import io
import os
import re
import struct
import tempfile
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import FULL_DN, PARTS_NOTE, UNIT_LEVEL, Meta
from masterlight.core.headers.values import as_number
from masterlight.io.fits.cards import value_of
from masterlight.io.plain import (
    CHUNK_BYTES,
    KeywordFrame,
    Layout,
    open_regular,
    reading,
    refuse_absurd,
    truncation,
    unused_images,
)

SIGNATURE = b"XISF0100"
SAMPLES = {
    "UInt8": "u1", "UInt16": "u2", "UInt32": "u4", "Float32": "f4", "Float64": "f8",
    "Byte": "u1", "UShort": "u2", "UInt": "u4", "Float": "f4", "Double": "f8",
}  # fmt: skip
CODECS = {"zlib": 1100, "lz4": 260, "lz4hc": 260, "zstd": 40_000}
"""How many bytes can come out of one, at most, by the kind of packing."""
LARGEST_WINDOW = 1 << 27
"""Bytes that zstd may look back: what its highest level asks for."""
MOST_IN_MEMORY_BYTES = 1 << 28
MOST_HEADER_BYTES, MOST_TAGS = 1 << 24, 200_000
BLOCK_SPARE_BYTES = 4096
"""What may follow the last pixel in a packed block."""
MOST_ALPHA = 4
"""Channels beside grey or colours, such as a mask, that a picture may carry."""

PROPERTIES = {
    "Instrument:ExposureTime": "EXPTIME", "Instrument:Camera:Name": "INSTRUME", "Instrument:Camera:ISOSpeed": "GAIN",
    "Instrument:Camera:Gain": "EGAIN", "Instrument:Camera:XBinning": "XBINNING", "Instrument:Filter:Name": "FILTER",
    "Instrument:Camera:YBinning": "YBINNING", "Instrument:Sensor:Temperature": "CCD-TEMP",
    "Instrument:Sensor:TargetTemperature": "SET-TEMP", "Instrument:Sensor:XPixelSize": "XPIXSZ",
    "Instrument:Sensor:YPixelSize": "YPIXSZ", "Instrument:Telescope:Name": "TELESCOP",
    "Instrument:Telescope:FocalLength": "FOCALLEN", "Instrument:Telescope:Aperture": "APTDIA",
    "Observation:Object:Name": "OBJECT", "Observation:Time:Start": "DATE-OBS", "Observation:Center:RA": "RA",
    "Observation:Center:Dec": "DEC", "PCL:CFASourcePattern": "BAYERPAT", "XISF:CreatorApplication": "SWCREATE",
}  # fmt: skip
"""Properties that fill gaps in the FITS keywords."""
METRES = ("FOCALLEN", "APTDIA")
"""What XISF tells in metres, and FITS in millimetres."""


class Block(NamedTuple):
    """Where the pixels lie in the file, and how they are packed."""

    offset: int
    size_bytes: int
    codec: str = ""
    plain_bytes: int = 0
    shuffled_bytes: int = 1
    """Bytes of a sample whose first, second, ... bytes were stored together; 1 when they were not."""
    parts: tuple[tuple[int, int], ...] = ()
    """Packed and plain bytes of each part."""
    interleaved: int = 1
    """Samples of a pixel that are stored side by side; 1 when plane follows plane."""


@dataclass(frozen=True, kw_only=True, eq=False)
class XisfFrame(KeywordFrame):
    """An image in an XISF file. Its header was read; pixels are read when they are indexed."""

    block: Block

    def unpack(self, target: str) -> None:
        """Write the planes of a compressed or interleaved image, one after the other, to the path `target`."""
        block, place, each_bytes = self.block, self.layout, self.layout.item_bytes
        wanted = each_bytes * place.rows * place.cols * max(place.planes, block.interleaved)
        parts, size_bytes = plain_parts(self.source, block), block.plain_bytes or block.size_bytes
        if block.shuffled_bytes > 1:
            parts = unshuffle(gather(parts, size_bytes, target), block.shuffled_bytes)
        if block.interleaved > 1:
            pixels = gather(parts, size_bytes, target)[:wanted].reshape(-1, block.interleaved * each_bytes)
            parts = (pixels[:, plane * each_bytes :][:, :each_bytes] for plane in range(place.planes))
            parts = (plane[i : i + CHUNK_BYTES] for plane in parts for i in range(0, len(plane), CHUNK_BYTES))
            wanted = place.end_bytes
        with open(target, "wb") as file:
            for part in parts:
                file.write(np.ascontiguousarray(part).reshape(-1)[: max(0, wanted - file.tell())])
            if file.tell() < wanted:
                raise FrameError(self.source, "is damaged, its pixels unpack to too few bytes; copy it again")


def plain_parts(source: str, block: Block) -> Iterator[np.ndarray]:
    """The unpacked bytes of a block, a piece after the other; no more of them than the block announces."""
    with open_regular(source) as file:
        file.seek(block.offset)
        for packed_bytes, plain_bytes in block.parts or ((block.size_bytes, block.plain_bytes or block.size_bytes),):
            packed = io.BytesIO(file.read(packed_bytes)) if block.codec else file
            for piece in inflate(source, packed, block.codec, plain_bytes):
                yield np.frombuffer(piece, np.uint8)


def inflate(source: str, packed: BinaryIO, codec: str, plain_bytes: int) -> Iterator[bytes]:
    """Bytes of one part unpacked, a piece after the other, `plain_bytes` at most; packed: holds this part alone."""
    if codec in ("lz4", "lz4hc"):
        yield library(source, codec).decompress(packed.read(), uncompressed_size=plain_bytes)
    elif codec == "zlib":
        yield from unzip(packed, plain_bytes)
    else:
        if codec == "zstd":
            packed = library(source, codec).ZstdDecompressor(max_window_size=LARGEST_WINDOW).stream_reader(packed)
        while plain_bytes > 0 and (piece := packed.read(min(plain_bytes, CHUNK_BYTES))):
            plain_bytes -= len(piece)
            yield piece


def unzip(packed: BinaryIO, plain_bytes: int) -> Iterator[bytes]:
    """What zlib packed, a piece after the other."""
    opened = zlib.decompressobj()
    while plain_bytes > 0 and (pending := packed.read(CHUNK_BYTES)):
        while plain_bytes > 0 and pending:
            piece, pending = opened.decompress(pending, min(plain_bytes, CHUNK_BYTES)), opened.unconsumed_tail
            plain_bytes -= len(piece)
            yield piece
    if plain_bytes > 0:  # a match that reached over the last piece; else `flush` would unpack all the rest
        yield opened.flush()[:plain_bytes]


def library(source: str, codec: str) -> Any:
    """The module that unpacks a codec."""
    name = "zstandard" if codec == "zstd" else "lz4.block"
    try:
        return import_module(name)
    except ImportError as error:
        told = f"its pixels are packed by {codec}, which needs the package {name.removesuffix('.block')}"
        raise FrameError(source, f"{told}: pip install 'masterlight[xisf]'") from error


def open_xisf(path: str | os.PathLike[str]) -> XisfFrame:
    """Open the first image of a monolithic XISF file; only its header is read.

    Integers are kept as stored. Floats whose bounds are 0:1 are read as 0 to 65535 DN, which a note tells; other
    floats are kept. FrameError for damaged files and for what XISF allows but nobody takes pictures with.
    """
    source = os.fspath(path)
    with reading(source), open_regular(source) as file:
        status = os.fstat(file.fileno())
        root = header_of(file, source, status.st_size)
    image, *others = [part for part in root.iter() if tag_of(part) == "Image"] or [None]
    if image is None:
        raise FrameError(source, "holds no image; export it again")
    names = [part.get("id") or f"number {number}" for number, part in enumerate(others, 1)]
    notes = [unused_images(image.get("id") or "number 0", names)] if names else []
    block, layout = block_and_layout(image, source, notes, (status.st_size, status.st_mtime_ns))
    if block.offset + block.size_bytes > status.st_size:
        raise FrameError(source, truncation(status.st_size, block.offset + block.size_bytes))
    cards = cards_of(root, image, layout)
    if pattern := pattern_of(image, source):
        cards = {key: value for key, value in cards.items() if key not in ("XBAYROFF", "YBAYROFF")}
        cards["BAYERPAT"] = pattern
    meta = Meta.from_header(cards, source, layout.shape)
    if layout.scale == FULL_DN:
        meta = meta.times(FULL_DN).with_(scale_claims=(*meta.scale_claims, "bounds"))
        notes.append(PARTS_NOTE)
        if not (as_number(cards.get("SATURATE")) or 0) > UNIT_LEVEL:
            cards["SATURATE"] = FULL_DN
    meta = meta.with_(notes=(*meta.notes, *notes), unused_images=len(names))
    return XisfFrame(source=source, meta=meta, layout=layout, block=block, keywords=cards)


def gather(parts: Iterable[np.ndarray], size_bytes: int, beside: str) -> np.ndarray:
    """Pieces of bytes as one array: in memory, and what is too large for that in a file without a name, on the disk."""
    if size_bytes <= MOST_IN_MEMORY_BYTES:
        pieces = [np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    with tempfile.TemporaryFile(dir=os.path.dirname(beside)) as file:
        for part in parts:
            file.write(np.ascontiguousarray(part))
        file.flush()
        return np.memmap(file, np.uint8, "r")


def unshuffle(data: np.ndarray, item_bytes: int) -> Iterator[np.ndarray]:
    """Bytes in their order, from a store of all first bytes of the items, all second bytes, ...; the rest as it is."""
    count, step = len(data) // item_bytes, CHUNK_BYTES // item_bytes + 1
    items = data[: count * item_bytes].reshape(item_bytes, count)
    yield from (items[:, start : start + step].T for start in range(0, count, step))
    yield data[count * item_bytes :]


def header_of(file, source: str, size: int) -> ET.Element:
    """The XML header of a monolithic file."""
    head = file.read(16)
    if head[:8] != SIGNATURE:
        told = "the file is empty" if not head else f"not an XISF file (it begins with {head[:8]!r})"
        raise FrameError(source, f"{told}; export it again as XISF or FITS")
    length = struct.unpack("<I", head[8:12])[0] if len(head) == 16 else 0
    if size < 16 + length or not length:
        raise FrameError(source, truncation(size, 16 + length))
    data = file.read(min(length, MOST_HEADER_BYTES)).rstrip(b"\0")
    if length > MOST_HEADER_BYTES or data.count(b"<") > MOST_TAGS or data.count(b"=") > 4 * MOST_TAGS:
        raise FrameError(source, f"its header of {length:,} bytes is no header of an image; export it again")
    try:
        words = data.decode("utf-8")
    except UnicodeDecodeError:
        words = data.decode("latin-1")
    if "<!DOCTYPE" in words:
        raise FrameError(source, "its header defines words of its own, as no program of ours does; export it again")
    try:
        return ET.fromstring(words)
    except (ET.ParseError, ValueError) as error:
        raise FrameError(source, f"its header is damaged ({error}); copy it again") from error


def tag_of(element: ET.Element) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rsplit("}", 1)[-1]


def block_and_layout(image: ET.Element, source: str, notes: list[str], stamp: tuple[int, int]) -> tuple[Block, Layout]:
    """Where the pixels of an image lie and what they mean."""
    code = SAMPLES.get(image.get("sampleFormat", ""))
    if code is None:
        told = image.get("sampleFormat", "missing")
        raise FrameError(source, f"its sample format is {told}; integers without sign and floats are read")
    told = re.fullmatch(r"(\d{1,9}):(\d{1,9}):(\d{1,9})", image.get("geometry", ""))
    sizes = [int(part) for part in told.groups()] if told else []
    space = image.get("colorSpace", "Gray")
    planes = {"Gray": 1, "RGB": 3}.get(space)
    if planes is None:
        raise FrameError(source, f"its colour space is {space}; export it as Gray or RGB")
    if len(sizes) != 3 or min(sizes) < 1 or sizes[2] < planes:
        told = image.get("geometry", "missing")
        raise FrameError(source, f"its geometry is {told}, not width:height:{planes}; the header is damaged")
    cols, rows, channels = sizes
    if channels > planes + MOST_ALPHA:
        raise FrameError(source, f"has {channels} channels; pictures have 1, or 3 for colour. Export one of its images")
    if channels > planes:
        left_out = "alpha channel is" if channels == planes + 1 else "alpha channels are"
        notes.append(f"{channels - planes} {left_out} left out")
    interleaved = channels if image.get("pixelStorage", "Planar") == "Normal" else 1
    block = block_of(image, source)._replace(interleaved=interleaved)
    wanted, found = rows * cols * channels * np.dtype(code).itemsize, block.plain_bytes or block.size_bytes
    if found < wanted or (block.codec and found > wanted + BLOCK_SPARE_BYTES):
        raise FrameError(source, f"{found:,} bytes of pixels where {wanted:,} are announced; the header is damaged")
    packing = block.codec or ("interleaved" if interleaved > 1 else "")
    scale = scale_of(image, source, notes) if code[0] == "f" else 1.0
    order = ">" if image.get("byteOrder", "little") == "big" else "<"
    offset = 0 if packing else block.offset
    return block, Layout(order + code, planes, rows, cols, offset, scale=scale, packing=packing, stamp=stamp)


def block_of(image: ET.Element, source: str) -> Block:
    """The attached block of an image, from 'attachment:4096:1367411' and 'lz4hc+sh:2545408:2'."""
    location = image.get("location", "")
    match = re.fullmatch(r"attachment:(\d{1,18}):(\d{1,18})", location)
    if not match:
        told = location.split(":")[0].split("(")[0] or "nowhere"
        raise FrameError(source, f"its pixels are not attached to it but {told}; export it as one XISF file, or FITS")
    block = Block(int(match[1]), int(match[2]))
    if not image.get("compression"):
        return block
    codec, *numbers = image.get("compression").split(":")
    codec, _, shuffle = codec.partition("+")
    if codec not in CODECS or shuffle not in ("", "sh"):
        told = f"its pixels are packed by {image.get('compression')!r}; {', '.join(CODECS)} are read"
        raise FrameError(source, f"{told}. Export it again")
    try:
        plain_bytes, item_bytes = int(numbers[0]), int(numbers[1]) if shuffle else 1
        parts = [part.split(",") for part in image.get("subblocks", "").split(":") if part]
        parts = tuple((int(packed), int(plain)) for packed, plain in parts)
    except (ValueError, IndexError) as error:
        raise FrameError(source, f"compression {image.get('compression')!r} makes no sense; it is damaged") from error
    block = block._replace(codec=codec, plain_bytes=plain_bytes, shuffled_bytes=max(1, item_bytes), parts=parts)
    refuse_odd_parts(source, block)
    return block


def refuse_odd_parts(source: str, block: Block) -> None:
    """Raise FrameError where what a packed block announces cannot come out of it."""
    parts = block.parts or ((block.size_bytes, block.plain_bytes),)
    sums = [sum(sizes) for sizes in zip(*parts, strict=True)]
    if min(map(min, parts)) < 1 or sums[0] > block.size_bytes or sums[1] != block.plain_bytes:
        raise FrameError(source, "the parts of its pixels do not add up; the header is damaged")
    if block.shuffled_bytes > 16:
        raise FrameError(source, f"samples of {block.shuffled_bytes} bytes cannot be; the header is damaged")
    for packed_bytes, plain_bytes in (*parts, sums):
        refuse_absurd(source, plain_bytes, packed_bytes, CODECS[block.codec])


def scale_of(image: ET.Element, source: str, notes: list[str]) -> float:
    """DN of a float of 1: 65535 where the file declares that its floats go from 0 to 1, else 1."""
    bounds = [as_number(part) for part in image.get("bounds", "").split(":")]
    if bounds == [0.0, 1.0]:
        return FULL_DN
    if len(bounds) != 2 or None in bounds:
        notes.append("the file does not tell the bounds of its floats; they are kept as stored")
    return 1.0


def cards_of(root: ET.Element, image: ET.Element, layout: Layout) -> dict[str, Any]:
    """The header in FITS keywords: those of the file, and what properties add; the image type goes before IMAGETYP."""
    cards: dict[str, Any] = {}
    for part in image:
        if tag_of(part) == "FITSKeyword" and part.get("name"):
            key, value = part.get("name").strip().upper(), part.get("value", "").strip()
            if key in ("COMMENT", "HISTORY"):
                line = part.get("comment", "").strip() or value.strip("'")
                cards[key] = f"{cards[key]}\n{line}" if key in cards else line
            else:
                cards.setdefault(key, keyword_value(value))
    metadata = (part for element in root if tag_of(element) == "Metadata" for part in element)
    for part in (*image, *metadata):
        key = PROPERTIES.get(part.get("id", "")) if tag_of(part) == "Property" else None
        value = part.get("value") or part.text
        if key and value and cards.get(key) in (None, ""):
            metres = as_number(value) if key in METRES else None
            cards[key] = metres * 1000 if metres is not None else keyword_value(value.strip())
    cards = {key: value for key, value in cards.items() if not re.fullmatch(r"BITPIX|NAXIS\d*|BZERO|BSCALE|BLANK", key)}
    if image.get("imageType"):
        cards["IMAGETYP"] = image.get("imageType")
    bits, integer = 8 * layout.item_bytes, layout.dtype[1] == "u"
    cards |= {"BITPIX": bits if integer else -bits} | ({"BZERO": 2 ** (bits - 1)} if integer and bits > 8 else {})
    return cards | {"ROWORDER": "TOP-DOWN"}


def keyword_value(words: str) -> Any:
    """The value of a FITS keyword as XISF holds it: quoted or bare text, a logical, a number."""
    value = value_of(words)
    return words if isinstance(value, str) and not words.startswith("'") else value


def pattern_of(image: ET.Element, source: str) -> str | None:
    """Colour filters row by row, as the file declares them for its first pixel."""
    filters = next((part for part in image if tag_of(part) == "ColorFilterArray"), None)
    if filters is None:
        return None
    pattern, size = filters.get("pattern", ""), (filters.get("width"), filters.get("height"))
    if (len(pattern), *size) not in ((4, "2", "2"), (36, "6", "6")):
        told = f"its colour filters are {pattern!r}, {size[0]} x {size[1]}"
        raise FrameError(source, f"{told}; patterns of 2 x 2 and 6 x 6 are read")
    return pattern
