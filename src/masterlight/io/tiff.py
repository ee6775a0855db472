"""TIFF files as frames: integers of 16 and 32 bits and floats, mono, a mosaic or three planes, by tifffile.

What is stored plain is read in place, box by box; what is packed, tiled or interleaved is unpacked once into scratch.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Meta
from masterlight.core.headers.geometry import WCS_KEYWORDS
from masterlight.io.exif import Exif, read_exif
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

DTYPES = "u2", "i2", "u4", "i4", "f4", "f8"
"""Samples that can be read in place."""
GREY, COLOUR, MOSAIC = (1,), (2, 34892), (32803,)
"""What PhotometricInterpretation says of images that are read: grey, RGB or linear raw, colour filter array."""
ODD = {0: "a negative", 3: "a picture with a palette", 4: "a mask", 5: "a picture for print", 6: "a compressed picture"}
"""What it says of some others."""
MOST_ALPHA = 4
MOST_PAGES = 10_000
GROWTH = 40_000
"""How many bytes can come out of one, at most, by any way of packing."""
CARD = re.compile(r" *([A-Z][A-Z0-9_-]{0,7}) *= ?(.*)")
CARD_LETTERS, MOST_LETTERS = 80, 1 << 20
STRUCTURE = re.compile(r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|BZERO|BSCALE|BLANK|ROWORDER|END")
"""Keywords of the FITS file that a description was copied from, which are not true of a TIFF."""
FRAMES, SECONDS_OLD, ISO, CFA, MASTER, SECONDS, CFA_TYPE, GAIN = (50000 + i for i in (0, 1, 2, 6, 7, 8, 9, 11))
"""Tags of DeepSkyStacker."""
DESCRIPTION, SOFTWARE, CFA_SIZE, CFA_LETTERS = 270, 305, 33421, 33422
TAGS = (SOFTWARE, CFA_SIZE, CFA_LETTERS, FRAMES, SECONDS_OLD, ISO, CFA, MASTER, SECONDS, CFA_TYPE, GAIN)
"""The tags that tell more than where the pixels lie."""
CFA_TYPES = {1: "BGGR", 2: "GRBG", 3: "GBRG", 4: "RGGB"}
TELLS_TIME = re.compile(r"(?i)siril|deepskystacker")
"""Programs whose DateTime is that of the exposure; that of others is when the file was written."""
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it says of odd files is told by the frame


class Packing(NamedTuple):
    """How the pixels lie in the file, where they cannot be read in place."""

    page: int
    channels: int
    """Samples of a pixel, those left out included."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TiffFrame(KeywordFrame):
    """An image in a TIFF file. Its header was read; pixels are read when they are indexed."""

    stored_as: Packing

    def unpack(self, target: str) -> None:
        """Write the planes of a packed, tiled or interleaved image, one after the other, to the path `target`."""
        place = self.layout
        with opened(self.source) as (file, _):
            pixels = np.asarray(file.pages[self.stored_as.page].asarray())
        if pixels.ndim == 3 and pixels.shape[-1] == self.stored_as.channels:
            pixels = np.moveaxis(pixels, -1, 0)
        pixels = pixels.reshape(-1, place.rows, place.cols)[: place.planes]
        step = max(1, CHUNK_BYTES // (place.cols * place.item_bytes))
        with open(target, "wb") as out:
            for plane in pixels:
                for top in range(0, place.rows, step):
                    out.write(np.ascontiguousarray(plane[top : top + step], place.dtype))


def open_tiff(path: str | os.PathLike[str]) -> TiffFrame:
    """Open the first image of a TIFF file; its tags are read now, pixels when they are indexed.

    Integers are kept as stored; what floats are in is settled with the other frames. FrameError for what is damaged,
    for pictures of 8 bits, palettes and other things for the eye, and where several images of one size lie in a file.
    """
    source = os.fspath(path)
    notes: list[str] = []
    with opened(source) as (file, status):
        number, page, beside = image_of(file, source, notes)
        stamp = (status.st_size, status.st_mtime_ns)
        layout, channels = layout_of(page, source, notes, stamp)
        tags = {tag.code: tag.value for tag in page.tags if tag.code in TAGS}
        tags[DESCRIPTION] = "\n".join(str(tag.value) for tag in page.tags if tag.code == DESCRIPTION)
    exif = read_exif(source)
    cards = cards_of(tags, exif, layout, notes)
    meta = Meta.from_header(cards, source, layout.shape)
    meta = meta.with_(notes=(*meta.notes, *notes), unused_images=beside)
    packing = Packing(number, channels)
    return TiffFrame(source=source, meta=meta, layout=layout, keywords=cards, stored_as=packing)


@contextmanager
def opened(source: str) -> Iterator[tuple[Any, os.stat_result]]:
    """A TIFF file open for reading, as a `tifffile.TiffFile`, with its size and time; FrameError when it is none."""
    try:
        import tifffile
    except ImportError as error:
        raise FrameError(source, "TIFF needs tifffile: pip install 'masterlight[tiff]'") from error
    with reading(source), open_regular(source) as stream:
        head = stream.read(4)
        if head[:2] not in (b"II", b"MM"):
            told = f"not a TIFF file (it begins with {head!r})" if head else "the file is empty"
            raise FrameError(source, f"{told}; export it again")
        stream.seek(0)
        with tifffile.TiffFile(stream) as file:
            yield file, os.fstat(stream.fileno())


def image_of(file: Any, source: str, notes: list[str]) -> tuple[int, Any, int]:
    """Number of the page that holds the image, the page, how many images are beside it; previews and masks are none."""
    count = len(file.pages)
    if not 0 < count <= MOST_PAGES:
        raise FrameError(source, f"holds {count} images; save the one that is meant as a file of its own")
    first, same, others = None, 0, list[str]()
    for number in range(min(count, 64)):
        page = file.pages[number].aspage()
        if page.is_reduced or page.is_mask:
            continue
        others += [f"number {number}"] if first else []
        first = first or (number, page)
        same += (page.imagelength, page.imagewidth) == (first[1].imagelength, first[1].imagewidth)
    if first is None:
        raise FrameError(source, "holds a preview and no image; export it again")
    if same > 1:
        told = f"holds {count if count > 64 else same} images of one size, and nothing tells which is meant"
        raise FrameError(source, f"{told}; save each as a file of its own")
    if others:
        notes.append(unused_images(f"number {first[0]}", others))
    return *first, len(others)


def layout_of(page: Any, source: str, notes: list[str], stamp: tuple[int, int]) -> tuple[Layout, int]:
    """Where the pixels of a page lie and what they mean, and how many samples a pixel has."""
    kind, bits, channels = int(page.photometric), page.bitspersample, page.samplesperpixel
    planes = {**dict.fromkeys((*GREY, *MOSAIC), 1), **dict.fromkeys(COLOUR, 3)}.get(kind)
    if planes is None:
        told = ODD.get(kind, f"a picture of the kind {getattr(page.photometric, 'name', kind)}")
        raise FrameError(source, f"is {told}, not a frame; export it as grey or RGB of 16 bits or more")
    if bits <= 8:
        told = f"has {bits} bits a pixel, a picture for the eye; give the raw frames, or TIFF of 16 bits or more"
        raise FrameError(source, told)
    rows, cols, dtype = page.imagelength, page.imagewidth, page.dtype
    if dtype is None or dtype.kind not in "uif" or min(rows, cols) < 1 or page.imagedepth > 1:
        raise FrameError(
            source, f"its samples ({bits} bits, {rows} x {cols}) are no numbers of an image; export it again"
        )
    if not planes <= channels <= planes + MOST_ALPHA:
        raise FrameError(source, f"has {channels} samples a pixel; images have 1, or 3 for colour. Export it again")
    if channels > planes:
        notes.append(f"{channels - planes} of the {channels} channels of the file are left out (transparency)")
    stored = sum(page.databytecounts)
    plain = rows * cols * channels * dtype.itemsize
    refuse_absurd(source, plain, min(stored, stamp[0]), GROWTH)
    refuse_cut(page, source, plain, stamp[0])
    dtype = np.dtype("f4") if dtype.kind == "f" and dtype.itemsize < 4 else dtype
    spelled = f"{dtype.kind}{dtype.itemsize}"
    if spelled not in DTYPES:
        raise FrameError(
            source, f"its samples are {dtype}; integers of 16 and 32 bits and floats are read. Export it again"
        )
    in_place = page.is_contiguous and dtype == page.dtype and page.fillorder == 1 and page.predictor == 1
    in_place = in_place and (channels == 1 or page.planarconfig == 2)
    why = "" if in_place else packing_of(page, source)
    order = page.parent.byteorder if in_place else "<"
    offset = page.dataoffsets[0] if in_place else 0
    return Layout(order + spelled, planes, rows, cols, offset, packing=why, stamp=stamp), channels


def refuse_cut(page: Any, source: str, plain_bytes: int, size: int) -> None:
    """Raise FrameError where the file ends before its pixels do, or has too few of them."""
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    end = max((start + count for start, count in parts), default=0)
    if end > size:
        raise FrameError(source, truncation(size, end))
    stored = sum(count for _, count in parts)
    if int(page.compression) == 1 and page.bitspersample % 8 == 0 and stored < plain_bytes:
        raise FrameError(source, f"{stored:,} bytes of pixels where {plain_bytes:,} are announced; it is damaged")


def packing_of(page: Any, source: str) -> str:
    """How a page is packed, in a word; FrameError where what unpacks it is not installed or not known."""
    import tifffile

    name = getattr(page.compression, "name", str(page.compression)).lower()
    try:
        if page.compression != 1:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1:
            tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        if "imagecodecs" in str(error):
            told = f"its pixels are packed by {name}, which needs imagecodecs: pip install 'masterlight[tiff]'"
        else:
            told = f"its pixels are packed by {name}, which is not read; save it unpacked, or by LZW or ZIP"
        raise FrameError(source, told) from error
    return name if page.compression != 1 else "tiled" if page.is_tiled else "interleaved"


def cards_of(tags: dict[int, Any], exif: Exif, layout: Layout, notes: list[str]) -> dict[str, Any]:
    """The header in FITS keywords: the cards of the description, then the tags of DeepSkyStacker, then EXIF."""
    cards = described(tags[DESCRIPTION], notes)
    program = tags[SOFTWARE] if isinstance(tags.get(SOFTWARE), str) else None
    told: dict[str, Any] = {"SWCREATE": program, "INSTRUME": exif.camera}
    told |= {"EXPTIME": exif.exposure_s, "GAIN": exif.iso, "FOCRATIO": exif.f_number, "FOCALLEN": exif.focal_mm}
    told |= {key: tags[tag] for key, tag in (("EXPTIME", SECONDS_OLD), ("EXPTIME", SECONDS), ("GAIN", ISO))
             if positive_number(tags.get(tag))}  # fmt: skip
    frames = tags.get(FRAMES)
    if positive_number(frames) and frames > 1:
        told["NCOMBINE"] = int(frames)
    told["BAYERPAT"] = pattern_of(tags)
    if exif.time is not None and (exif.exposure_s or TELLS_TIME.search(program or "")):
        utc = exif.time - (exif.zone or timedelta())
        told["DATE-OBS"] = utc.isoformat(timespec="milliseconds")
    given = {key: value for key, value in told.items() if value not in (None, "") and cards.get(key) in (None, "")}
    bits, unsigned = 8 * layout.item_bytes, layout.dtype[1] == "u"
    shape = {"BITPIX": -bits if layout.dtype[1] == "f" else bits} | ({"BZERO": 2 ** (bits - 1)} if unsigned else {})
    return cards | given | shape | {"ROWORDER": "TOP-DOWN"}


def described(text: str, notes: list[str]) -> dict[str, Any]:
    """The FITS cards in a description, by lines or of 80 letters each; its WCS counts other rows and is left out."""
    text = text[:MOST_LETTERS]
    lines = text.splitlines()
    if len(lines) == 1 and len(text) > CARD_LETTERS and CARD.match(text[CARD_LETTERS:]):
        lines = [text[i : i + CARD_LETTERS] for i in range(0, len(text), CARD_LETTERS)]
    cards: dict[str, Any] = {}
    for line in lines:
        remark = re.match(r" *(HISTORY|COMMENT) +(.+)", line)
        match = None if remark else CARD.fullmatch(line.rstrip())
        if remark:
            cards[remark[1]] = f"{cards[remark[1]]}\n{remark[2]}" if remark[1] in cards else remark[2]
        elif match and not STRUCTURE.fullmatch(match[1]):
            cards.setdefault(match[1], value_of(match[2]))
    lost = [key for key in cards if key.startswith(WCS_KEYWORDS) and key != "EQUINOX"]
    if lost:
        notes.append("the WCS in the description of a TIFF counts the rows of another file and is left out")
    return {key: value for key, value in cards.items() if key not in lost}


def positive_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def pattern_of(tags: dict[int, Any]) -> str | None:
    """Colour filters from the first pixel on, by DeepSkyStacker's tags or those of TIFF/EP; None when not told."""
    if tags.get(CFA) and tags.get(CFA_TYPE) in CFA_TYPES:
        return CFA_TYPES[tags[CFA_TYPE]]
    size, letters = tags.get(CFA_SIZE), tags.get(CFA_LETTERS)
    if isinstance(letters, bytes | tuple) and isinstance(size, tuple) and size in ((2, 2), (6, 6)):
        names = "".join("RGB"[i] if isinstance(i, int) and i < 3 else "?" for i in letters)
        return names if len(names) == size[0] * size[1] and "?" not in names else None
    return None
