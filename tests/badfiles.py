"""How healthy files are spoilt: cards, bytes, gzip, tiles, XISF. Each maker is `make(healthy, target)`."""

import base64
import gzip
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

Make = Callable[[Path, Path], None]
BLOCK, CARD = 2880, 80


# --- FITS headers -----------------------------------------------------------------------------------------------------


def split(path: Path) -> tuple[list[bytes], bytes]:
    """Cards of the first header without END, and all that follows it."""
    content = path.read_bytes()
    cards = [content[i : i + CARD] for i in range(0, len(content), CARD)]
    end = next(i for i, card in enumerate(cards) if card.rstrip() == b"END")
    return cards[:end], content[-(-(end + 1) * CARD // BLOCK) * BLOCK :]


def join(cards: list[bytes], data: bytes, end: bytes = b"END") -> bytes:
    """A file of cards, cut or padded to 80 bytes, and data."""
    head = b"".join(card[:CARD].ljust(CARD) for card in [*cards, end])
    return head.ljust(-(-len(head) // BLOCK) * BLOCK) + data


def raw(words: str | bytes) -> bytes:
    return words if isinstance(words, bytes) else words.encode()


def put(cards: list[bytes], key: str, value: str | bytes | None) -> list[bytes]:
    """Cards with another value for a keyword, in its place or at the end; None takes it away."""
    at = next((i for i, card in enumerate(cards) if card[:8].rstrip() == key.encode()), len(cards))
    new = [] if value is None else [f"{key:8}= ".encode() + raw(value)]
    return cards[:at] + new + cards[at + 1 :]


def card(*pairs: str | bytes | None) -> Make:
    """Other values of cards: `card("EXPTIME", "1e300", "GAIN", None)`; a value is written as it stands."""

    def make(healthy: Path, target: Path) -> None:
        cards, data = split(healthy)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            cards = put(cards, key, value)
        target.write_bytes(join(cards, data))

    return make


def cards(change: Callable[[list[bytes]], list[bytes]], end: bytes = b"END") -> Make:
    """Any change of the list of cards."""

    def make(healthy: Path, target: Path) -> None:
        head, data = split(healthy)
        target.write_bytes(join(change(head), data, end))

    return make


def more(*lines: str | bytes) -> Make:
    """Cards added as they stand."""
    return cards(lambda head: [*head, *map(raw, lines)])


def first(*lines: str | bytes) -> Make:
    """Cards put behind the first one, before all others."""
    return cards(lambda head: [head[0], *map(raw, lines), *head[1:]])


# --- bytes ------------------------------------------------------------------------------------------------------------


def content(change: Callable[[bytes], bytes]) -> Make:
    """Any change of the bytes of a file."""
    return lambda healthy, target: target.write_bytes(change(healthy.read_bytes()))


def cut(part: float | int) -> Make:
    """A file that ends too early: after a part of it, or after so many bytes; negative, so many before its end."""
    return content(lambda b: b[: int(len(b) * part)] if isinstance(part, float) else b[:part])


def end_of_pixels(healthy: Path) -> int:
    with fits.open(healthy) as hdus:
        hdu = next(hdu for hdu in hdus if hdu.header["NAXIS"] >= 2)
        return hdu.fileinfo()["datLoc"] + abs(hdu.header["BITPIX"]) // 8 * hdu.header["NAXIS1"] * hdu.header["NAXIS2"]


def cut_pixels(more_bytes: int) -> Make:
    """A file that ends with its last pixel, so many bytes later or, negative, earlier."""
    return lambda healthy, target: target.write_bytes(healthy.read_bytes()[: end_of_pixels(healthy) + more_bytes])


def damaged(at: float, how_many: int = 16, make: Make | None = None) -> Make:
    """Bytes turned round, from a part of the file on."""

    def change(b: bytes) -> bytes:
        start = int(at * len(b))
        return b[:start] + bytes(255 - x for x in b[start : start + how_many]) + b[start + how_many :]

    return after(make, change) if make else content(change)


def after(make: Make, change: Callable[[bytes], bytes]) -> Make:
    """A file made, then its bytes changed."""

    def both(healthy: Path, target: Path) -> None:
        make(healthy, target)
        target.write_bytes(change(target.read_bytes()))

    return both


def text(words: str | bytes) -> Make:
    return lambda healthy, target: target.write_bytes(raw(words))


def link(to: str) -> Make:
    return lambda healthy, target: target.symlink_to(to)


def pipe(healthy: Path, target: Path) -> None:
    os.mkfifo(target)


def folder(healthy: Path, target: Path) -> None:
    target.mkdir()


def unix_socket(healthy: Path, target: Path) -> None:
    before = os.getcwd()
    os.chdir(target.parent)  # the name of a socket has to be short
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind(target.name)
    os.chdir(before)


def png(healthy: Path, target: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((96, 128), np.uint8)).save(target, "PNG")


def gz(level: int = 6, change: Callable[[bytes], bytes] = lambda b: b) -> Make:
    """Packed by gzip; `change` spoils the archive."""
    return content(lambda b: change(gzip.compress(b, level, mtime=0)))


def bomb(size_mb: int) -> Make:
    """A gzip archive of a healthy file and very many zeros behind it."""
    return content(lambda b: gzip.compress(b + bytes(size_mb << 20), 9, mtime=0))


# --- pixels and HDUs --------------------------------------------------------------------------------------------------


def image(change: Callable[[np.ndarray], np.ndarray], **values) -> Make:
    """Other pixels, as float64 going in, stored in the type that comes out; `values` go into the header."""

    def make(healthy: Path, target: Path) -> None:
        pixels, header = fits.getdata(healthy).astype(np.float64), fits.getheader(healthy)
        for key in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
            header.remove(key, ignore_missing=True)
        with np.errstate(all="ignore"):
            hdu = fits.PrimaryHDU(change(pixels), header)
        hdu.header.update({key.replace("_", "-"): value for key, value in values.items()})
        hdu.writeto(target)

    return make


def stored(dtype) -> Make:
    """The same numbers in another type."""
    return image(lambda p: p.astype(dtype))


def tiles(**how) -> Make:
    """Tile-compressed as an extension."""

    def make(healthy: Path, target: Path) -> None:
        pixels, header = fits.getdata(healthy), fits.getheader(healthy)
        for key in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
            header.remove(key, ignore_missing=True)
        whole = {"compression_type": "GZIP_2", "quantize_level": 0} if pixels.dtype.kind == "f" else {}
        packed = fits.CompImageHDU(pixels, header, **{"compression_type": "RICE_1", **how, **whole})
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(target)

    return make


def tile_card(key: str, value: str | bytes | None) -> Make:
    """Tile-compressed, with another value in the header of its table."""

    def change(b: bytes) -> bytes:
        head, table = b[:BLOCK], b[BLOCK:]
        lines = [table[i : i + CARD] for i in range(0, len(table), CARD)]
        end = next(i for i, line in enumerate(lines) if line.rstrip() == b"END")
        rest = table[-(-(end + 1) * CARD // BLOCK) * BLOCK :]
        return head + join(put(lines[:end], key, value), rest)

    return after(tiles(), change)


def extension(change: Callable[[fits.HDUList], None] = lambda hdus: None) -> Make:
    """The image as an extension behind an empty primary HDU; `change` spoils the list of them."""

    def make(healthy: Path, target: Path) -> None:
        pixels, header = fits.getdata(healthy), fits.getheader(healthy)
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, header)])
        change(hdus)
        hdus.writeto(target)

    return make


def table_only(healthy: Path, target: Path) -> None:
    column = fits.Column("X", "E", array=np.arange(10.0))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(target)


def empty_hdus(count: int) -> Make:
    head = join(
        [b"SIMPLE  =                    T", b"BITPIX  =                    8", b"NAXIS   =                    0"], b""
    )
    more = join([b"XTENSION= 'IMAGE   '", b"BITPIX  =                    8", b"NAXIS   =                    0"], b"")
    return text(head + count * more)


# --- XISF -------------------------------------------------------------------------------------------------------------

XML = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<xisf version="1.0" xmlns="http://www.pixinsight.com/xisf"><Image {attributes}>{inside}</Image></xisf>'
)


def xisf(
    inside: str = "", xml: str | bytes = "", packed=None, change=lambda b: b, dtype=None, **other: str | None
) -> Make:
    """A monolithic XISF file of a healthy FITS file; `other` are attributes of its image, None takes one away.

    inside: more XML in the image; xml: another document; packed: what packs the pixels, its codec named in `other`;
    change: spoils the bytes of the whole.
    """

    def make(healthy: Path, target: Path) -> None:
        pixels, header = fits.getdata(healthy), fits.getheader(healthy)
        pixels = pixels.astype(dtype or ("<u2" if pixels.dtype.kind in "iu" else "<f4"))
        known = {"u2": "UInt16", "f4": "Float32", "f8": "Float64", "u4": "UInt32"}[pixels.dtype.str[1:]]
        block = packed(pixels.tobytes()) if packed else pixels.tobytes()
        rows, cols = pixels.shape
        attributes = {"geometry": f"{cols}:{rows}:1", "sampleFormat": known, "colorSpace": "Gray"}
        attributes |= {"location": f"attachment:4096:{len(block)}"}
        attributes |= {"bounds": "0:65535"} if known.startswith("F") else {}
        attributes |= {"compression": "zlib:{size}"} if packed else {}
        named = {
            k: v.format(size=pixels.nbytes, packed=len(block)) for k, v in (attributes | other).items() if v is not None
        }
        keywords = "".join(
            f'<FITSKeyword name="{key}" value="{value!r}" comment=""/>'
            for key, value in header.items()
            if key
            not in (
                "SIMPLE",
                "BITPIX",
                "NAXIS",
                "NAXIS1",
                "NAXIS2",
                "BZERO",
                "BSCALE",
                "EXTEND",
                "",
                "HISTORY",
                "COMMENT",
            )
            and not isinstance(value, bool)
        )
        words = " ".join(f'{key}="{value}"' for key, value in named.items())
        document = raw(xml or XML.format(attributes=words, inside=keywords + inside))
        head = b"XISF0100" + struct.pack("<II", len(document), 0) + document
        target.write_bytes(change(head.ljust(4096, b"\0") + block))

    return make


def entity_bomb() -> str:
    """XML whose entities unfold to thousands of millions of letters."""
    lines = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{lines}]><xisf>&e9;</xisf>'


def inline(b: bytes) -> str:
    return base64.b64encode(b).decode()


def deflate(b: bytes) -> bytes:
    return zlib.compress(b)


# --- TIFF -------------------------------------------------------------------------------------------------------------


def tiff(change: Callable[[np.ndarray], np.ndarray] = lambda p: p, spoil=lambda b: b, pages: int = 1, **how) -> Make:
    """A TIFF file of a healthy FITS file, its cards in the description; `how` are arguments of tifffile.

    change: the pixels in the type in which they are stored; spoil: the bytes of the whole.
    """

    def make(healthy: Path, target: Path) -> None:
        import tifffile

        pixels, header = fits.getdata(healthy), fits.getheader(healthy)
        pixels = pixels if pixels.dtype.kind == "u" else pixels.astype(np.float32)
        told = "\n".join(str(card) for card in header.cards if card.keyword not in ("COMMENT", "HISTORY", ""))
        with tifffile.TiffWriter(target) as file:
            for _ in range(pages):
                file.write(
                    change(pixels), **({"metadata": None, "description": ascii(told)[1:-1].replace(r"\n", "\n")} | how)
                )
        target.write_bytes(spoil(target.read_bytes()))

    return make


def tag_value(tag: int, value: int) -> Callable[[bytes], bytes]:
    """The bytes of a TIFF file with another number, or count of numbers, in one of its tags."""

    def change(b: bytes) -> bytes:
        at = next(at for kind in (3, 4) if (at := b.find(struct.pack("<HHI", tag, kind, 1))) > 0)
        return b[: at + 2] + struct.pack("<HII", 4, 1, value) + b[at + 12 :]

    return change


def ring(b: bytes) -> bytes:
    """A TIFF file whose last directory leads to the first again."""
    end = 10 + 12 * struct.unpack("<H", b[8:10])[0]
    return b[:end] + struct.pack("<I", 8) + b[end + 4 :]
