"""FITS files written whole, with checksums: plain planes by a writer of our own, tables and packed ones by astropy."""

import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from masterlight.core.errors import OutputError
from masterlight.io import MISSING, Scaled, Whole, atomic
from masterlight.io.fits.cards import BLOCK, ascii_text, cards_bytes, cards_in, cards_text, header_text, parse_cards
from masterlight.io.plain import CHUNK_BYTES

SUMS = "CHECKSUM", "DATASUM", "MLSEAL"
KEPT = ("u1", "i2", "u2", "i4", "f4", "f8")
"""Types of numbers that are written as they are."""


def write_fits(
    path, planes: Mapping[str, Any], header: Any = (), history: Iterable[str] = (), compress: Iterable[str] = ()
) -> None:
    """Write named planes as one FITS file with DATASUM and CHECKSUM in every HDU; it appears whole or not at all.

    planes: arrays (rows, cols) or (3, rows, cols), kept as uint8, int16, uint16, int32, float32 or float64, anything
    else as float32; tables; texts. The first is the primary image and carries `header` and `history`.
    """
    compress = set(compress)
    with atomic(path) as file:
        for number, (name, plane) in enumerate(planes.items()):
            cards = header_text(header, history) if number == 0 else ("", "")
            if isinstance(plane, (str, Scaled)) or is_table(plane) or (number and name in compress):
                file.write(small_hdu(name, plane))
            else:
                blank = 0 if isinstance(plane, Whole) and plane.cut.missing else None
                array = plane.array if isinstance(plane, Whole) else image_array(plane)
                write_image(file, name, array, cards, first=number == 0, blank=blank)
        if not sums_agree(file):
            raise OutputError(f"{path}: the disk does not give back what was written; check it, or choose another one")


def sums_agree(file) -> bool:
    """Whether an open FITS file is still what was written: its checksums, read anew.

    The words of an HDU with CHECKSUM add up to minus zero, all bits set, and so do those of all HDUs together.
    """
    file.seek(0)
    total, at, block = 0, 0, np.empty(CHUNK_BYTES, np.uint8)
    while count := file.readinto(block[at % 4 :]):  # what a short read left of a word stays at the front
        block[: at % 4], block[at % 4 + count :] = 0, 0
        total += int(block.view(">u4").astype(np.uint32).sum(dtype=np.uint64))
        at += count
    return fold_carries(total) == 0xFFFFFFFF


def seal_of(text: str, datasum: str) -> str:
    """What tells a header and its pixels from edited ones; programs that edit renew the sums, and do not know this."""
    return hashlib.sha256(f"{text}{datasum}".encode()).hexdigest()[:16]


def is_sealed(file) -> bool:
    """Whether an open product is as it was written: its sums agree, and its first header and image with its seal."""
    if not sums_agree(file):
        return False
    file.seek(0)
    cards = first_cards(file)
    told = parse_cards("".join(card for card in cards if card[:8].strip() in SUMS))
    text = "".join(card for card in cards if card[:8].strip() not in SUMS)
    return told.get("MLSEAL") == seal_of(text, str(told.get("DATASUM")))


def first_cards(file) -> list[str]:
    """The cards of the first header of an open file, without END."""
    cards: list[str] = []
    while block := file.read(BLOCK):
        for card in cards_in(block.decode("latin-1")):
            if card.rstrip() == "END":
                return cards
            cards.append(card)
    return cards


def image_array(plane) -> np.ndarray:
    """A contiguous array of a type that FITS can hold."""
    array = np.asarray(plane)
    array = array.view(np.uint8) if array.dtype == bool else array
    native = array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, native if native.str[1:] in KEPT else np.float32)


def write_image(
    file, name: str, array: np.ndarray, cards: tuple[str, str], first: bool, blank: int | None = None
) -> None:
    """One image HDU: header, big-endian samples, padding.

    cards: those with values, and remarks; blank: the unsigned number of 16 bits that means a missing pixel.
    """
    unsigned = array.dtype == np.uint16
    bitpix = array.dtype.itemsize * (-8 if array.dtype.kind == "f" else 8)
    head = {"SIMPLE": True} if first else {"XTENSION": "IMAGE"}
    head |= {"BITPIX": bitpix, "NAXIS": array.ndim}
    head |= {f"NAXIS{i + 1}": size for i, size in enumerate(array.shape[::-1])}
    head |= {"EXTEND": True} if first else {"PCOUNT": 0, "GCOUNT": 1}
    head |= ({"BZERO": 32768, "BSCALE": 1} if unsigned else {}) | {"EXTNAME": name}
    head |= {} if blank is None else {"BLANK": blank - 32768}
    flat = array.reshape(-1) ^ 0x8000 if unsigned else array.reshape(-1)
    datasum = words_sum(flat)

    text = cards_text(head) + cards[0]
    seal = {"MLSEAL": seal_of(text + cards[1], str(datasum))} if first and "MLKEY" in cards[0] else {}

    def header(checksum: str) -> bytes:
        sums = cards_text({"CHECKSUM": checksum, "DATASUM": str(datasum)} | seal)
        return cards_bytes(text + sums + cards[1])

    total = fold_carries(datasum + int(np.frombuffer(header("0" * 16), ">u4").sum(dtype=np.uint64)))
    file.write(header(checksum_text(total ^ 0xFFFFFFFF)))
    step = CHUNK_BYTES // flat.itemsize
    for start in range(0, flat.size, step):
        file.write(flat[start : start + step].astype(flat.dtype.newbyteorder(">")).view(np.uint8))
    file.write(bytes(-flat.nbytes % BLOCK))


def is_table(plane: Any) -> bool:
    """Whether a plane is a table: of astropy, or an array whose elements have named fields."""
    return hasattr(plane, "colnames") or getattr(plane, "dtype", np.dtype(float)).names is not None


def small_hdu(name: str, plane) -> bytes:
    """A table, a text or a losslessly compressed image as the bytes of one extension, checksums included."""
    from astropy.io import fits

    if isinstance(plane, str):
        lines = np.array([ascii_text(line).encode() for line in plane.splitlines() or [""]])
        plane = lines.view([("TEXT", lines.dtype)])
    if hasattr(plane, "colnames"):
        hdu = fits.table_to_hdu(plane)
        hdu.header["EXTNAME"] = name
    elif is_table(plane):
        hdu = fits.BinTableHDU(plane, name=name)
    else:
        hdu = packed_hdu(plane, name)
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out, checksum=True)
    return out.getvalue()[BLOCK:]


def packed_hdu(plane, name: str):
    """An image as a tile-compressed extension: integers and scaled integers by Rice, floats by gzip, without loss."""
    from astropy.io import fits

    array = plane.array if isinstance(plane, Scaled) else image_array(plane)
    tile = (*(1 for _ in array.shape[:-2]), min(64, array.shape[-2]), array.shape[-1])
    how = {"compression_type": "GZIP_2", "quantize_level": 0} if array.dtype.kind == "f" else {}
    hdu = fits.CompImageHDU(array, name=name, tile_shape=tile, **({"compression_type": "RICE_1"} | how))
    if isinstance(plane, Scaled):
        hdu.header.update({"BSCALE": plane.scale, "BZERO": 0.0})
        hdu.header.update({"BLANK": MISSING} if array.dtype == np.int32 else {})
    return hdu


def words_sum(flat: np.ndarray) -> int:
    """The ones' complement sum of the 32-bit big-endian words of an array in file order, as DATASUM wants it."""
    size = min(flat.itemsize, 4)
    bits, lanes = flat.view(f"u{size}"), 4 // size
    lane_sums = (int(bits[i::lanes].sum(dtype=np.uint64)) << (8 * size * (lanes - 1 - i)) for i in range(lanes))
    return fold_carries(sum(lane_sums))


def fold_carries(total: int) -> int:
    """A sum with its carries added back into 32 bits."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def checksum_text(value: int) -> str:
    """A 32-bit number as the 16 characters of CHECKSUM (Seaman, Pence & Rots 1995)."""
    fours = []
    for byte in value.to_bytes(4, "big"):
        quotient, remainder = divmod(byte, 4)
        four = [quotient + 48 + remainder, quotient + 48, quotient + 48, quotient + 48]
        for j in (0, 2):
            while not bytes(four[j : j + 2]).isalnum():
                four[j], four[j + 1] = four[j] + 1, four[j + 1] - 1
        fours.append(four)
    out = "".join(chr(four[j]) for j in range(4) for four in fours)
    return out[-1:] + out[:-1]
