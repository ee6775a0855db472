"""FITS files read: any box of an image straight from the file.

Plain images are read by a reader of our own, row by row, so that a box costs its own bytes. What is
compressed (.gz, .fz) is unpacked once into a scratch folder that disappears with the program.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Meta, Stored
from masterlight.core.headers.geometry import PATTERN_ROW, flip_header, is_bottom_up
from masterlight.core.headers.reading import OURS
from masterlight.core.headers.values import as_number, text
from masterlight.io.fits.cards import (
    header_of_text,
)
from masterlight.io.fits.hdus import (
    DTYPES,
    PACKED,
    Opened,
    Part,
    axes_of,
    bitpix_of,
    image_and_planes,
    opened,
    parts,
    whole,
)
from masterlight.io.fits.unpack import unpack_tiles, unzip
from masterlight.io.plain import Layout, PlainFrame, refuse_absurd, truncation, unused_images

LARGEST = 1e30
"""Beyond it BZERO and BSCALE leave nothing of the pixels."""
COMPANIONS = ("UNCERT", "ERR", "DQ", "BPM", "VAR", "WHT", "WEIGHT", "CTX", "FLAGS", "NOISE", "PSF", "EXP")
"""Names of planes that go with an image and are no images themselves, beside MASK: errors, flags, weights."""
LARGEST_TILE = 1 << 16
"""Pixels of a tile that may be larger than its image."""


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


def open_fits(path: str | os.PathLike[str]) -> FitsFrame:
    """Open the first image of a FITS file, plain, gzip- or tile-compressed; only its header is read.

    Where a plane MASK of bytes behind it, as CCDData writes one, is not 0, its pixels are missing. Larger integers
    hold bits, most of which, such as LSST's DETECTED, tell of good pixels.
    """
    with opened(os.fspath(path)) as file:
        image, beside = image_and_planes(file)
        frame = frame_of(file, image)
        names = {part.name: part for part in beside}
        known = [part.name for part in beside if part.name in COMPANIONS]
        others = [] if any(key in image.cards for key in OURS) else other_images(beside)
        notes = [f"its plane {name} is not used" for name in known if not frame.meta.is_master][:4]
        notes += [unused_images(image.name or f"number {image.number}", others)] if others else []
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
    told = frame.meta.with_(notes=(*frame.meta.notes, *notes), unused_images=len(others))
    return replace(frame, meta=told) if notes else frame


def other_images(beside: list[Part]) -> list[str]:
    """Names of the images behind the first one that are no planes of it, such as a second chip."""
    return [part.name or f"number {part.number}" for part in beside if part.name not in (*COMPANIONS, "MASK")]


def open_plane(path: str | os.PathLike[str], name: str) -> FitsFrame | None:
    """A named image beside the first one of a FITS file, as a frame; None where there is none."""
    with opened(os.fspath(path)) as file:
        part = next((part for part in image_and_planes(file)[1] if part.name == name), None)
        return frame_of(file, part) if part else None


def rows_of_table(path: str | os.PathLike[str], name: str) -> int | None:
    """How many rows a named table of a FITS file has; None where there is none."""
    with opened(os.fspath(path)) as file:
        return next((whole(part.cards, "NAXIS2") for part in parts(file) if part.name == name), None)


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
    if layout.flip:
        meta = meta.with_(bottom_up=True, pattern_row=(text(part.cards, PATTERN_ROW) or "").lower())
    meta = meta.with_(notes=(*part.notes, *meta.notes)) if part.notes else meta
    return FitsFrame(source=source, meta=meta, layout=layout, text=part.text)


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
    cols, rows, planes = [*sizes, 1][:3]
    return Layout(
        DTYPES[bitpix], planes, rows, cols, offset, zero, scale, blank, is_bottom_up(cards), packing, hdu, stamp
    )


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
