"""Compressed FITS files unpacked: gzip archives, and images in tiles."""

import gzip
import io
import os
import pickle
import re
import subprocess
import sys

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.io.fits.cards import (
    cards_bytes,
    cards_in,
)
from masterlight.io.fits.hdus import MOST_BEFORE_BYTES, opened, parts
from masterlight.io.plain import CHUNK_BYTES, Layout, open_regular, truncation

TABLE = re.compile(
    r"(?:XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(?:TYPE|FORM|DIM)\d+|THEAP|BSCALE|BZERO"
    r"|Z(?:IMAGE|CMPTYPE|BITPIX|NAXIS\d*|(?:TILE|NAME|VAL)\d+|QUANTIZ|DITHER0|BLANK|SCALE|ZERO)) *="
)
"""Cards by which a compressed image is unpacked."""
ERRNO_FROM = 100
"""A process that unpacks ends with this and the number of the system's error, such as that of a full disk."""
UNPACK_APART = f"""
import pickle, sys
from masterlight.io.fits.unpack import write_tiles
try:
    write_tiles(*pickle.load(sys.stdin.buffer))
except OSError as error:
    sys.exit({ERRNO_FROM} + error.errno if error.errno else 1)
"""


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
