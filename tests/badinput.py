"""Every kind of bad input that is tried: what it is, how it is made, what must come out of it.

A kind of bad *file* is made of a healthy one and tried in the roles of `bed`; it is

    same      read as if it were healthy: the same product, bit by bit
    near      the same, within a part of the level
    refused   left out with a reason; where nothing can be done without it, the command ends with status 2
    told      one of these, or another result that is told in a sentence about this file; never in silence

Kinds of nights, flags, recipes and outputs are commands with the status they must end with and words that must be told.
`docs/reliability.md` lists them all (`python docs/make_reliability.py`); `tests/test_reliability.py` tries them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from badfiles import (
    Make,
    after,
    bomb,
    card,
    cards,
    content,
    cut,
    cut_pixels,
    damaged,
    deflate,
    empty_hdus,
    entity_bomb,
    extension,
    first,
    folder,
    gz,
    image,
    link,
    more,
    pipe,
    png,
    ring,
    stored,
    table_only,
    tag_value,
    text,
    tiff,
    tile_card,
    tiles,
    unix_socket,
    xisf,
)


class BadFile(NamedTuple):
    """A kind of bad file."""

    name: str
    words: str
    make: Make
    expect: str
    tells: str = ""
    """What the reason must hold, a regular expression."""
    file: str = "X.fits"
    roles: str = ""
    """Where it is tried, a regular expression; everywhere, if empty."""
    late: bool = False
    """Whether only reading the pixels shows it."""
    gap: str = ""
    """Why it is known to fail, where it does."""


class BadCase(NamedTuple):
    """A kind of bad night, flag, recipe or output: commands, and how they must end."""

    name: str
    words: str
    tries: dict[str, tuple[str, str]]
    """By command: the statuses that are right, such as "01", and what must be told, a regular expression."""
    make: Callable[[Path], None] = lambda place: None
    """Spoils a healthy bed."""
    check: Callable[[Path], str] = lambda place: ""
    """What is wrong with the result, in words; nothing, if it is right."""
    gap: str = ""


MANY = [f"KEY{i:<5}=                 {i:4}" for i in range(5000)]
HOLE = slice(30, 40), slice(50, 60)


def hole(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Pixels with a square of 10 x 10 of another value."""

    def change(p: np.ndarray) -> np.ndarray:
        p = p.copy()
        p[HOLE] = value
        return p.astype(np.float32)

    return change


def chessboard(p: np.ndarray) -> np.ndarray:
    """0 and 65535 in turn."""
    return (np.indices(p.shape).sum(0) % 2 * 65535).astype(np.uint16)


AVERAGED = "(bias|dark|flat|normalize --reference)"
"""Where the level and the noise of nonsense look like those of a frame."""


def speckle(p: np.ndarray) -> np.ndarray:
    p = p.astype(np.float32)
    p[::2] = np.nan
    return p


LIGHTS = "run light|plan|doctor|calibrate$|cosmetic$|defectmap|normalize|integrate"
RAW = "^(run .*|plan|doctor|bias|dark|flat|calibrate|cosmetic|defectmap|debayer|normalize.*|integrate)$"
"""Roles whose healthy file is of 16-bit integers."""

HEADERS = [
    BadFile("utf8", "letters outside ASCII in OBSERVER, as UTF-8", card("OBSERVER", "'Zoë Müller'"), "same"),
    BadFile("latin1", "letters outside ASCII in SITENAME, as Latin-1", card("SITENAME", b"'Z\xfcrich'"), "same"),
    BadFile("utf8-comment", "letters outside ASCII behind the slash", card("GAIN", "0 / [e⁻/DN] Verstärkung"), "same"),
    BadFile("utf8-history", "a HISTORY card in Japanese", more("HISTORY 星を撮る"), "same"),
    BadFile("utf8-object", "OBJECT in Cyrillic letters", card("OBJECT", "'Туманность'"), "told", roles=LIGHTS),
    BadFile("bytes", "bytes that are no letters at all", more(b"COMMENT \xff\xfe\x80\x81"), "same"),
    BadFile("escape", "a terminal's control sequence in OBSERVER", card("OBSERVER", "'\x1b[2J\x1b]0;x\x07'"), "same"),
    BadFile("escape-object", "a terminal's control sequence in OBJECT", card("OBJECT", "'M\x1b[31m31'"), "told"),
    BadFile("escape-kind", "a terminal's control sequence in IMAGETYP", card("IMAGETYP", "'\x1b[31mLIGHT'"), "told"),
    BadFile("nul", "NUL bytes in a text", card("OBSERVER", b"'A\x00\x00B'"), "same"),
    BadFile("tab", "tabs in a card", card("OBSERVER", "\t'tab'\t/\tx"), "same"),
    BadFile("comma", "a number with a comma in an unknown keyword", card("FOCUSTMP", "1,02"), "same"),
    BadFile("comma-known", "a number with a comma in SITELAT", card("SITELAT", "48,1"), "same"),
    BadFile("comma-exposure", "a number with a comma in EXPTIME", card("EXPTIME", "120,0", "EXPOSURE", None), "told"),
    BadFile("nan", "NaN as a number in an unknown keyword", card("SKYQUAL", "NaN"), "same"),
    BadFile("inf", "infinity as a number in an unknown keyword", card("SKYQUAL", "-Infinity"), "same"),
    BadFile("nan-wcs", "NaN in CRVAL1", card("CRVAL1", "NaN", "CRVAL2", "nan", "CTYPE1", "5"), "same"),
    BadFile("nan-site", "NaN in OBJCTRA and AIRMASS", card("AIRMASS", "nan", "OBJCTRA", "NaN"), "same"),
    BadFile("exptime-nan", "EXPTIME is NaN", card("EXPTIME", "NaN", "EXPOSURE", None), "told"),
    BadFile("exptime-huge", "EXPTIME is 1e300", card("EXPTIME", "1e300", "EXPOSURE", "1e300"), "told"),
    BadFile("exptime-negative", "EXPTIME is -5", card("EXPTIME", "-5", "EXPOSURE", None), "told"),
    BadFile("exptime-text", "EXPTIME is a number in quotes", card("EXPTIME", "'120.0'"), "same", roles=LIGHTS),
    BadFile("exptime-fortran", "EXPTIME with an exponent D", card("EXPTIME", "1.2D2"), "same", roles=LIGHTS),
    BadFile("egain-tiny", "EGAIN is 1e-300", card("EGAIN", "1e-300"), "told"),
    BadFile("egain-zero", "EGAIN is 0", card("EGAIN", "0"), "told"),
    BadFile("egain-nan", "EGAIN is NaN", card("EGAIN", "nan"), "told"),
    BadFile("gain-text", "GAIN is a word", card("GAIN", "'high'"), "told"),
    BadFile("temperature-odd", "CCD-TEMP is -1e9", card("CCD-TEMP", "-1e9"), "told"),
    BadFile("temperature-comma", "CCD-TEMP is -10,1", card("CCD-TEMP", "-10,1"), "told"),
    BadFile("pixel-inf", "XPIXSZ is infinite", card("XPIXSZ", "inf"), "told"),
    BadFile("pixel-zero", "XPIXSZ is 0", card("XPIXSZ", "0.0"), "told"),
    BadFile("focal-huge", "FOCALLEN is 1e300", card("FOCALLEN", "1e300"), "told"),
    BadFile("binning-zero", "XBINNING is 0", card("XBINNING", "0"), "told"),
    BadFile("binning-huge", "XBINNING is 1e9", card("XBINNING", "1000000000"), "told"),
    BadFile("binning-text", "XBINNING is 'two'", card("XBINNING", "'two'"), "told"),
    BadFile("date-words", "DATE-OBS is 'yesterday'", card("DATE-OBS", "'yesterday'"), "told"),
    BadFile("date-impossible", "DATE-OBS is of month 13", card("DATE-OBS", "'2025-13-45T99:99:99'"), "told"),
    BadFile("date-number", "DATE-OBS is a number", card("DATE-OBS", "2460000.5"), "told"),
    BadFile("date-year-zero", "DATE-OBS is the year 0", card("DATE-OBS", "'0000-00-00T00:00:00'"), "told"),
    BadFile("quote-open", "a text whose quote never ends", card("OBSERVER", "'never ends"), "same"),
    BadFile("quote-inside", "a single quote inside of a text", card("OBSERVER", "'O'Neill'"), "same"),
    BadFile("quote-none", "a text without quotes", card("OBSERVER", "Jane Doe"), "same"),
    BadFile("value-none", "a card without value", card("OBSERVER", ""), "same"),
    BadFile("equals-none", "a keyword without = and with words", more("OBSERVER Jane"), "same"),
    BadFile("keyword-lower", "keywords in lower case", more("observer= 'jane'", "exposure=  99.0"), "same"),
    BadFile("keyword-space", "a keyword with a space", more("MY KEY  = 5", " = 6"), "same"),
    BadFile("keyword-odd", "a keyword of odd letters", more("F/RATIO%= 5.0", "#$!     = 1"), "same"),
    BadFile(
        "hierarch",
        "HIERARCH cards, whole and broken",
        more("HIERARCH ESO DET X = 5", "HIERARCH = ", "HIERARCH"),
        "same",
    ),
    BadFile(
        "continue",
        "a long text over CONTINUE cards",
        more("NOTES   = 'one &'", "CONTINUE  'two &'", "CONTINUE  'three'"),
        "same",
    ),
    BadFile("continue-alone", "a CONTINUE card that continues nothing", first("CONTINUE  'lost'"), "same"),
    BadFile("continue-broken", "a CONTINUE card without quotes", more("NOTES   = 'one &'", "CONTINUE  two"), "same"),
    BadFile(
        "twice",
        "keywords that stand twice, with other values",
        more("EXPTIME = 5.0", "GAIN    = 999"),
        "same",
        roles=LIGHTS,
    ),
    BadFile("cards-5000", "5,000 cards more", more(*MANY), "same"),
    BadFile("crlf", "cards that end in CR and LF", cards(lambda c: [x[:78].ljust(78) + b"\r\n" for x in c]), "same"),
    BadFile("end-missing", "no END card", cards(lambda c: c, end=b"COMMENT"), "refused", "END|header|damaged"),
    BadFile("end-words", "words behind END", cards(lambda c: c, end=b"END of it"), "refused", "END|header|damaged"),
    BadFile("simple-f", "SIMPLE is F", card("SIMPLE", "                   F"), "told"),
    BadFile(
        "simple-wrong", "the first card is not SIMPLE", content(lambda b: b"SIMPEL" + b[6:]), "refused", "not a FITS"
    ),
    BadFile("naxis-0", "NAXIS is 0", card("NAXIS", "0"), "refused", "no image|axes"),
    BadFile("naxis-1", "NAXIS is 1", card("NAXIS", "1"), "refused", "no image|axes"),
    BadFile("naxis-4", "axes of length 1 behind the image", card("NAXIS", "4", "NAXIS3", "1", "NAXIS4", "1"), "same"),
    BadFile("naxis-1000", "NAXIS is 1000", card("NAXIS", "1000"), "refused", "NAXIS|axes"),
    BadFile("naxis-huge", "NAXIS is 2147483647", card("NAXIS", "2147483647"), "refused", "NAXIS|axes"),
    BadFile("naxis-negative", "NAXIS is -2", card("NAXIS", "-2"), "refused", "NAXIS|axes"),
    BadFile("naxis-words", "NAXIS is 'two'", card("NAXIS", "'two'"), "refused", "NAXIS|axes"),
    BadFile("naxis-half", "NAXIS is 2.5", card("NAXIS", "2.5"), "told"),
    BadFile("naxis-nan", "NAXIS is NaN", card("NAXIS", "NaN"), "refused", "NAXIS|axes"),
    BadFile("naxis-none", "no NAXIS", card("NAXIS", None), "refused", "NAXIS|axes"),
    BadFile("axis-none", "no NAXIS1", card("NAXIS1", None), "refused", "NAXIS1|size|None"),
    BadFile("axis-zero", "NAXIS1 is 0", card("NAXIS1", "0"), "refused", "NAXIS1|size"),
    BadFile("axis-negative", "NAXIS2 is -96", card("NAXIS2", "-96"), "refused", "NAXIS2|size"),
    BadFile("axis-half", "NAXIS1 is 128.5", card("NAXIS1", "128.5"), "told"),
    BadFile("axis-words", "NAXIS1 is 'wide'", card("NAXIS1", "'wide'"), "refused", "NAXIS1|size"),
    BadFile(
        "axis-claim",
        "the header claims 60,000 x 60,000 pixels",
        card("NAXIS1", "60000", "NAXIS2", "60000"),
        "refused",
        "truncated|60,?000",
    ),
    BadFile(
        "axis-claim-more",
        "the header claims 1e15 x 1e15 pixels",
        card("NAXIS1", "1000000000000000", "NAXIS2", "1000000000000000"),
        "refused",
    ),
    BadFile("axis-inf", "NAXIS1 is 1e400", card("NAXIS1", "1e400"), "refused", "NAXIS1|size|inf"),
    BadFile("bitpix-17", "BITPIX is 17", card("BITPIX", "17"), "refused", "BITPIX"),
    BadFile("bitpix-0", "BITPIX is 0", card("BITPIX", "0"), "refused", "BITPIX"),
    BadFile("bitpix-none", "no BITPIX", card("BITPIX", None), "refused", "BITPIX"),
    BadFile("bitpix-nan", "BITPIX is NaN", card("BITPIX", "NaN"), "refused", "BITPIX"),
    BadFile("bitpix-words", "BITPIX is '16'", card("BITPIX", "'sixteen'"), "refused", "BITPIX"),
    BadFile("bitpix-64", "64-bit integers", stored(np.int64), "told", roles=RAW),
    BadFile("bzero-nan", "BZERO is NaN", card("BZERO", "NaN"), "refused", "BZERO"),
    BadFile("bzero-words", "BZERO is a word", card("BZERO", "'abc'"), "refused", "BZERO"),
    BadFile("bzero-inf", "BZERO is infinite", card("BZERO", "1e400"), "refused", "BZERO"),
    BadFile("bscale-zero", "BSCALE is 0", card("BSCALE", "0"), "refused", "BSCALE"),
    BadFile("bscale-nan", "BSCALE is NaN", card("BSCALE", "NaN"), "refused", "BSCALE"),
    BadFile("bscale-huge", "BSCALE is 1e300", card("BSCALE", "1e300"), "told"),
    BadFile(
        "blank-far", "BLANK is -2^63, which no pixel can be", card("BLANK", "-9223372036854775808"), "same", roles=RAW
    ),
    BadFile("blank-nan", "BLANK is NaN", card("BLANK", "NaN"), "same", roles=RAW),
    BadFile("blank-words", "BLANK is a word", card("BLANK", "'none'"), "same", roles=RAW),
    BadFile("blank-float", "BLANK in a file of floats", after(stored(np.float32), lambda b: b), "told", roles=RAW),
    BadFile("pcount-huge", "PCOUNT is 1E30", card("PCOUNT", "1E30"), "told"),
    BadFile("gcount-odd", "GCOUNT is -1, GROUPS is T", card("GCOUNT", "-1", "GROUPS", "T"), "told"),
    BadFile("zimage", "ZIMAGE = T in a plain image", card("ZIMAGE", "T"), "told"),
    BadFile("kind-none", "no IMAGETYP", card("IMAGETYP", None), "told"),
    BadFile("kind-number", "IMAGETYP is a number", card("IMAGETYP", "7"), "told"),
    BadFile("kind-unknown", "IMAGETYP is a kind that does not exist", card("IMAGETYP", "'Pointing exposure'"), "told"),
    BadFile("kind-other", "IMAGETYP is that of another kind", card("IMAGETYP", "'Bias Frame'"), "told"),
    BadFile("pattern-odd", "BAYERPAT is XYZW", card("BAYERPAT", "'XYZW'"), "told"),
    BadFile("pattern-long", "BAYERPAT has 2,000 letters", card("BAYERPAT", "'" + "RGGB" * 500), "told"),
    BadFile("roworder", "ROWORDER is a word nobody knows", card("ROWORDER", "'SIDEWAYS'"), "told"),
    BadFile(
        "region-odd",
        "DATASEC and BIASSEC outside of the frame",
        card("BIASSEC", "'[5000:6000,1:9]'", "DATASEC", "'[a:b]'"),
        "told",
    ),
    BadFile("origin-huge", "XORGSUBF is 1e18", card("XORGSUBF", "1000000000000000000"), "told"),
    BadFile("saturate-odd", "SATURATE is NaN, DATAMAX 1e300", card("SATURATE", "NaN", "DATAMAX", "1e300"), "told"),
    BadFile("saturate-tiny", "SATURATE is 1e-300", card("SATURATE", "1e-300"), "told"),
    BadFile("pedestal-huge", "PEDESTAL is 1e300", card("PEDESTAL", "1e300"), "told"),
    BadFile("ncombine-huge", "NCOMBINE is 1E30", card("NCOMBINE", "1E30"), "told"),
    BadFile("calstat-odd", "CALSTAT is 'XYZ'", card("CALSTAT", "'XYZ'"), "told"),
    BadFile("unit-odd", "BUNIT is 'bananas'", card("BUNIT", "'bananas'"), "told"),
    BadFile(
        "checksum-wrong",
        "CHECKSUM and DATASUM that do not agree",
        card("CHECKSUM", "'0000000000000000'", "DATASUM", "'1'"),
        "told",
    ),
    BadFile(
        "filter-long", "FILTER of 60 letters with slashes", card("FILTER", "'../../../etc/" + "F" * 40 + "'"), "told"
    ),
    BadFile("name-path", "OBJECT that looks like a path", card("OBJECT", "'../../../../tmp/x'"), "told"),
    BadFile("digits", "a number of 4,000 digits", card("FOCUSPOS", "9" * 4000), "same"),
]

FILES = [
    BadFile("empty", "an empty file", text(""), "refused", "empty"),
    BadFile("byte", "a file of one byte", text("S"), "refused"),
    BadFile("card", "a file of one card", cut(80), "refused"),
    BadFile("block-cut", "a header that is cut", cut(2879), "refused"),
    BadFile("header-alone", "a header without pixels", cut(2880 * 2), "refused", "truncated|damaged|header"),
    BadFile("half", "half of a file", cut(0.5), "refused", "truncated"),
    BadFile("pixel-cut", "the last byte of the last pixel lacks", cut_pixels(-1), "refused", "truncated"),
    BadFile("padding-cut", "the padding behind the last pixel lacks", cut_pixels(0), "same"),
    BadFile(
        "zeros",
        "a file of zeros, as after a crash of the camera's computer",
        content(lambda b: bytes(len(b))),
        "refused",
    ),
    BadFile(
        "text", "a text with the name of an image", text("Dear diary, tonight the seeing was bad.\n" * 50), "refused"
    ),
    BadFile(
        "html", "an error page that was saved as an image", text("<!DOCTYPE html><html><h1>404</h1></html>"), "refused"
    ),
    BadFile("png", "a PNG picture with the name of an image", png, "refused", "not a FITS"),
    BadFile("folder", "a folder with the name of an image", folder, "told"),
    BadFile("pipe", "a named pipe", pipe, "refused", "regular|pipe|file"),
    BadFile("socket", "a socket", unix_socket, "refused", "regular|socket|file"),
    BadFile("device-zero", "a link to a device that never ends", link("/dev/zero"), "refused", "regular|device|file"),
    BadFile(
        "device-null", "a link to a device that is empty", link("/dev/null"), "refused", "regular|device|empty|file"
    ),
    BadFile("link-loop", "a link to itself", link("X.fits"), "refused"),
    BadFile("link-lost", "a link to a file that is gone", link("gone.fits"), "refused"),
    BadFile("no-read", "a file whose bytes cannot be read", link("/proc/self/mem"), "refused", late=True),
    BadFile("gz", "packed by gzip", gz(), "same", file="X.fits.gz"),
    BadFile("gz-plain-name", "packed by gzip under a plain name", gz(), "same"),
    BadFile("plain-gz-name", "not packed, under a name of gzip", content(lambda b: b), "same", file="X.fits.gz"),
    BadFile(
        "gz-half",
        "half of a gzip archive",
        gz(change=lambda b: b[: len(b) // 2]),
        "refused",
        file="X.fits.gz",
        late=True,
    ),
    BadFile("gz-head", "a gzip archive of 12 bytes", gz(change=lambda b: b[:12]), "refused", file="X.fits.gz"),
    BadFile(
        "gz-damaged", "a gzip archive with wrong bytes", damaged(0.5, make=gz()), "refused", file="X.fits.gz", late=True
    ),
    BadFile(
        "gz-sum",
        "a gzip archive whose check sum is wrong",
        gz(change=lambda b: b[:-8] + b"abcd" + b[-4:]),
        "told",
        file="X.fits.gz",
        late=True,
    ),
    BadFile(
        "gz-behind", "words behind a gzip archive", gz(change=lambda b: b + b"and more words"), "told", file="X.fits.gz"
    ),
    BadFile(
        "gz-empty",
        "an empty gzip archive",
        gz(change=lambda b: __import__("gzip").compress(b"")),
        "refused",
        file="X.fits.gz",
    ),
    BadFile("gz-twice", "packed by gzip twice", gz(change=__import__("gzip").compress), "refused", file="X.fits.gz"),
    BadFile("gz-bomb", "a gzip archive of 400 MB of zeros behind an image", bomb(400), "told", file="X.fits.gz"),
    BadFile(
        "gz-claim",
        "a gzip archive whose header claims 60,000 x 60,000",
        after(card("NAXIS1", "60000", "NAXIS2", "60000"), lambda b: __import__("gzip").compress(b)),
        "refused",
        file="X.fits.gz",
    ),
    BadFile("fz", "tile-compressed by Rice", tiles(), "same", file="X.fits.fz"),
    BadFile("fz-name", "tile-compressed under a plain name", tiles(), "same"),
    BadFile("fz-gzip", "tile-compressed by gzip", tiles(compression_type="GZIP_1"), "same", file="X.fits.fz"),
    BadFile(
        "fz-hcompress",
        "tile-compressed by HCOMPRESS",
        tiles(compression_type="HCOMPRESS_1", tile_shape=(96, 128)),
        "same",
        file="X.fits.fz",
    ),
    BadFile("fz-tiles", "tile-compressed in squares", tiles(tile_shape=(50, 50)), "same", file="X.fits.fz"),
    BadFile(
        "fz-cut",
        "a tile-compressed file that is cut",
        after(tiles(), lambda b: b[: len(b) * 2 // 3]),
        "refused",
        file="X.fits.fz",
        late=True,
    ),
    BadFile(
        "fz-damaged",
        "a tile-compressed file with wrong bytes",
        damaged(0.7, 400, make=tiles()),
        "told",
        file="X.fits.fz",
        late=True,
    ),
    BadFile(
        "fz-codec",
        "tiles of an unknown codec",
        tile_card("ZCMPTYPE", "'MAGIC_9'"),
        "refused",
        file="X.fits.fz",
        late=True,
    ),
    BadFile("fz-no-axes", "tiles without ZNAXIS", tile_card("ZNAXIS", None), "refused", file="X.fits.fz"),
    BadFile("fz-no-axis", "tiles without ZNAXIS1", tile_card("ZNAXIS1", None), "refused", file="X.fits.fz"),
    BadFile("fz-no-bitpix", "tiles without ZBITPIX", tile_card("ZBITPIX", None), "refused", file="X.fits.fz"),
    BadFile("fz-axes-1000", "ZNAXIS is 1000", tile_card("ZNAXIS", "1000"), "refused", file="X.fits.fz"),
    BadFile("fz-claim", "tiles that claim 60,000 columns", tile_card("ZNAXIS1", "60000"), "refused", file="X.fits.fz"),
    BadFile("fz-tile-zero", "tiles of no size", tile_card("ZTILE1", "0"), "refused", file="X.fits.fz", late=True),
    BadFile("fz-tile-odd", "ZTILE1 is a word", tile_card("ZTILE1", "'x'"), "refused", file="X.fits.fz", late=True),
    BadFile(
        "fz-rows", "a table of tiles with no row", tile_card("NAXIS2", "0"), "refused", file="X.fits.fz", late=True
    ),
    BadFile(
        "fz-form",
        "a table of tiles whose TFORM1 is odd",
        tile_card("TFORM1", "'QQ(0)'"),
        "refused",
        file="X.fits.fz",
        late=True,
    ),
    BadFile(
        "fz-pcount",
        "a table of tiles whose PCOUNT is 1E30",
        tile_card("PCOUNT", "1E30"),
        "told",
        file="X.fits.fz",
        late=True,
    ),
    BadFile("extension", "the image in an extension", extension(), "same"),
    BadFile(
        "extension-cut",
        "the image in an extension that is cut",
        after(extension(), lambda b: b[: len(b) // 2]),
        "refused",
    ),
    BadFile("table", "a table and no image", table_only, "refused", "no image"),
    BadFile("hdus-1500", "1,500 empty HDUs", empty_hdus(1500), "refused", "no image"),
    BadFile("behind", "bytes behind the last HDU", content(lambda b: b + b"garbage" * 1000), "same"),
    BadFile("xisf", "XISF instead of FITS", xisf(), "same", file="X.xisf", roles=RAW),
    BadFile("xisf-zlib", "XISF, packed", xisf(packed=deflate), "same", file="X.xisf", roles=RAW),
    BadFile("xisf-empty", "an empty XISF file", text(""), "refused", "empty", file="X.xisf"),
    BadFile(
        "xisf-signature",
        "XISF with a wrong signature",
        xisf(change=lambda b: b"XISF9999" + b[8:]),
        "refused",
        file="X.xisf",
    ),
    BadFile(
        "xisf-cut", "XISF that is cut", xisf(change=lambda b: b[: len(b) // 2]), "refused", "truncated", file="X.xisf"
    ),
    BadFile(
        "xisf-header-cut", "XISF with a header that is cut", xisf(change=lambda b: b[:200]), "refused", file="X.xisf"
    ),
    BadFile(
        "xisf-header-huge",
        "XISF that claims a header of 4 GB",
        xisf(change=lambda b: b[:8] + b"\xff" * 4 + b[12:]),
        "refused",
        file="X.xisf",
    ),
    BadFile("xisf-xml", "XISF with broken XML", xisf(xml="<xisf><Image></xisf>"), "refused", "damaged", file="X.xisf"),
    BadFile("xisf-bytes", "XISF with bytes that are no XML", xisf(xml=b"\xff\xfe\x00<xisf>"), "refused", file="X.xisf"),
    BadFile(
        "xisf-encoding",
        "XISF in an encoding nobody knows",
        xisf(xml='<?xml version="1.0" encoding="klingon"?><xisf/>'),
        "refused",
        file="X.xisf",
    ),
    BadFile("xisf-entities", "XISF whose XML unfolds to 2 GB", xisf(xml=entity_bomb()), "refused", file="X.xisf"),
    BadFile(
        "xisf-deep",
        "XISF of 20,000 elements inside one another",
        xisf(xml="<xisf>" + "<a>" * 20000 + "</a>" * 20000 + "</xisf>"),
        "refused",
        file="X.xisf",
    ),
    BadFile("xisf-no-image", "XISF without image", xisf(xml="<xisf/>"), "refused", "no image", file="X.xisf"),
    BadFile("xisf-no-geometry", "XISF without geometry", xisf(geometry=None), "refused", "geometry", file="X.xisf"),
    BadFile("xisf-geometry-zero", "XISF of 0 columns", xisf(geometry="0:96:1"), "refused", "geometry", file="X.xisf"),
    BadFile(
        "xisf-geometry-claim",
        "XISF that claims 60,000 x 60,000",
        xisf(geometry="60000:60000:1"),
        "refused",
        file="X.xisf",
    ),
    BadFile(
        "xisf-geometry-huge",
        "XISF that claims 1e12 x 1e12",
        xisf(geometry="1000000000000:1000000000000:1"),
        "refused",
        file="X.xisf",
    ),
    BadFile("xisf-4-axes", "XISF of four axes", xisf(geometry="128:2:48:1"), "refused", "geometry", file="X.xisf"),
    BadFile(
        "xisf-300-planes",
        "XISF of 300 planes",
        xisf(geometry="16:2:300", colorSpace="RGB"),
        "refused",
        "geometry|planes|300",
        file="X.xisf",
    ),
    BadFile(
        "xisf-complex",
        "XISF of complex numbers",
        xisf(sampleFormat="Complex32"),
        "refused",
        "sample format",
        file="X.xisf",
    ),
    BadFile("xisf-space", "XISF in CIELab", xisf(colorSpace="CIELab"), "refused", "colour space", file="X.xisf"),
    BadFile(
        "xisf-inline",
        "XISF with pixels inside the XML",
        xisf(location="inline:base64"),
        "refused",
        "not attached",
        file="X.xisf",
    ),
    BadFile(
        "xisf-location",
        "XISF with pixels beyond its end",
        xisf(location="attachment:999999999:24576"),
        "refused",
        "truncated|announced",
        file="X.xisf",
    ),
    BadFile(
        "xisf-codec", "XISF of an unknown codec", xisf(compression="magic:24576"), "refused", "packed by", file="X.xisf"
    ),
    BadFile(
        "xisf-compression", "XISF whose compression makes no sense", xisf(compression="zlib:"), "refused", file="X.xisf"
    ),
    BadFile(
        "xisf-packed-damaged",
        "XISF with wrong packed bytes",
        xisf(packed=deflate, change=lambda b: b[:4100] + bytes(100) + b[4200:]),
        "refused",
        "damaged",
        file="X.xisf",
        late=True,
    ),
    BadFile(
        "xisf-packed-claim",
        "XISF that claims to unpack to 80 GB",
        xisf(packed=deflate, compression="zlib:80000000000"),
        "told",
        file="X.xisf",
        late=True,
    ),
    BadFile(
        "xisf-packed-few",
        "XISF that unpacks to too little",
        xisf(packed=lambda b: deflate(b[:1000])),
        "refused",
        file="X.xisf",
        late=True,
    ),
    BadFile(
        "xisf-packed-bomb",
        "XISF whose block unpacks to 400 MB",
        xisf(packed=lambda b: deflate(b + bytes(400 << 20))),
        "told",
        file="X.xisf",
        late=True,
    ),
    BadFile(
        "xisf-shuffle",
        "XISF shuffled by 0 bytes",
        xisf(packed=deflate, compression="zlib+sh:24576:0"),
        "told",
        file="X.xisf",
        late=True,
    ),
    BadFile(
        "xisf-subblocks",
        "XISF with odd parts",
        xisf(packed=deflate, subblocks="99999999999,5:-1,7"),
        "refused",
        file="X.xisf",
        late=True,
    ),
    BadFile(
        "xisf-bounds", "XISF floats whose bounds are NaN", xisf(dtype="<f4", bounds="nan:nan"), "told", file="X.xisf"
    ),
    BadFile(
        "xisf-bounds-wrong",
        "XISF floats in DN whose bounds say 0:1",
        xisf(dtype="<f4", bounds="0:1"),
        "told",
        file="X.xisf",
    ),
    BadFile(
        "xisf-keyword",
        "XISF keywords without value",
        xisf('<FITSKeyword name="OBSERVER"/><FITSKeyword/>'),
        "same",
        file="X.xisf",
        roles=RAW,
    ),
    BadFile(
        "xisf-filters",
        "XISF with odd colour filters",
        xisf('<ColorFilterArray pattern="ABC" width="x" height="0"/>'),
        "refused",
        file="X.xisf",
    ),
    BadFile("tiff", "TIFF with the cards of FITS in its description", tiff(), "told", file="X.tif", roles=RAW),
    BadFile("tiff-zip", "TIFF packed by ZIP", tiff(compression="zlib"), "told", file="X.tif", roles=RAW),
    BadFile("tiff-tiles", "TIFF in tiles", tiff(tile=(32, 32)), "told", file="X.tif", roles=RAW),
    BadFile(
        "tiff-silent",
        "TIFF without any header",
        tiff(description=""),
        "told",
        file="X.tif",
        roles="^(run .*|plan|doctor)$",
    ),
    BadFile(
        "tiff-bytes",
        "TIFF of 8 bits",
        tiff(lambda p: (p / 256).astype(np.uint8)),
        "refused",
        "8 bits",
        file="X.tif",
    ),
    BadFile(
        "tiff-picture",
        "TIFF of 3 x 8 bits, a finished picture",
        tiff(lambda p: np.stack([(p / 256).astype(np.uint8)] * 3, -1), photometric="rgb"),
        "refused",
        "8 bits",
        file="X.tif",
    ),
    BadFile(
        "tiff-palette",
        "TIFF with a palette",
        tiff(lambda p: (p / 256).astype(np.uint8), photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
        "refused",
        "palette",
        file="X.tif",
    ),
    BadFile("tiff-negative", "TIFF as a negative", tiff(photometric="miniswhite"), "refused", "negative", file="X.tif"),
    BadFile("tiff-pages", "TIFF of 40 pages", tiff(pages=40), "refused", "40 images", file="X.tif"),
    BadFile(
        "tiff-planes", "TIFF of 3 planes", tiff(lambda p: np.stack([p] * 3), photometric="rgb"), "told", file="X.tif"
    ),
    BadFile(
        "tiff-half", "half of a TIFF", tiff(spoil=lambda b: b[: len(b) // 2]), "refused", "truncated", file="X.tif"
    ),
    BadFile("tiff-head", "a TIFF head and nothing else", tiff(spoil=lambda b: b[:8]), "refused", file="X.tif"),
    BadFile("tiff-empty", "an empty TIFF", text(""), "refused", "empty", file="X.tif"),
    BadFile("tiff-text", "a text with the name of a TIFF", text("hello"), "refused", "not a TIFF", file="X.tif"),
    BadFile(
        "tiff-claim",
        "TIFF that claims 4 billion rows",
        tiff(spoil=tag_value(257, 2**32 - 1)),
        "refused",
        "claims|announced|no numbers|damaged",
        file="X.tif",
    ),
    BadFile(
        "tiff-claim-packed",
        "packed TIFF that claims 4 billion columns",
        tiff(spoil=tag_value(256, 2**32 - 1), compression="zlib"),
        "refused",
        "claims|announced|no numbers|damaged",
        file="X.tif",
    ),
    BadFile(
        "tiff-packing", "TIFF packed in a way nobody knows", tiff(spoil=tag_value(259, 4711)), "refused", file="X.tif"
    ),
    BadFile(
        "tiff-packed-damaged",
        "TIFF with wrong packed bytes",
        tiff(spoil=lambda b: b[: len(b) // 2] + bytes(200) + b[len(b) // 2 + 200 :], compression="zlib"),
        "told",
        file="X.tif",
        late=True,
    ),
    BadFile("tiff-loop", "TIFF whose pages go round", tiff(spoil=ring), "told", file="X.tif"),
    BadFile("raw-text", "a text with the name of a camera raw file", text("no camera\n" * 99), "refused", file="X.cr2"),
    BadFile("raw-empty", "an empty camera raw file", text(""), "refused", "empty|raw", file="X.nef"),
    BadFile("raw-zeros", "a camera raw file of zeros", text(bytes(50000)), "refused", file="X.dng", late=True),
    BadFile(
        "raw-tiff",
        "a TIFF head and nothing else as camera raw",
        text(b"II*\x00\x08\x00\x00\x00" + b"\xff" * 4000),
        "refused",
        file="X.dng",
        late=True,
    ),
    BadFile(
        "raw-crw",
        "a CRW head and nothing else",
        text(b"II\x1a\x00\x00\x00HEAPCCDR" + bytes(3000)),
        "refused",
        file="X.crw",
        late=True,
    ),
    BadFile("fits-as-raw", "FITS with the name of a camera raw file", content(lambda b: b), "refused", file="X.arw"),
]

PIXELS = [
    BadFile("all-nan", "every pixel is NaN", image(lambda p: np.full(p.shape, np.nan, np.float32)), "told"),
    BadFile("all-zero", "every pixel is 0", image(lambda p: np.zeros(p.shape, np.uint16)), "told"),
    BadFile("all-same", "every pixel is 1000", image(lambda p: np.full(p.shape, 1000, np.uint16)), "told"),
    BadFile("all-saturated", "every pixel is 65535", image(lambda p: np.full(p.shape, 65535, np.uint16)), "told"),
    BadFile("all-infinite", "every pixel is infinite", image(lambda p: np.full(p.shape, np.inf, np.float32)), "told"),
    BadFile("infinite", "some pixels are infinite", image(hole(np.inf)), "told"),
    BadFile("minus-infinite", "some pixels are minus infinite", image(hole(-np.inf)), "told"),
    BadFile("nan", "some pixels are NaN", image(hole(np.nan)), "told"),
    BadFile("nan-half", "every second row is NaN", image(speckle), "told"),
    BadFile("huge", "some pixels are 3e38", image(hole(3e38)), "told"),
    BadFile("tiny", "all pixels are 1e-40", image(lambda p: np.full(p.shape, 1e-40, np.float32)), "told"),
    BadFile("negative", "all pixels are negative", image(lambda p: (-p).astype(np.float32)), "told"),
    BadFile("one-pixel", "an image of 1 x 1", image(lambda p: p[:1, :1].astype(np.uint16)), "told"),
    BadFile("one-row", "an image of 1 row", image(lambda p: p[:1].astype(np.uint16)), "told", roles="^(?!superbias)"),
    BadFile(
        "one-column",
        "an image of 1 column",
        image(lambda p: p[:, :1].astype(np.uint16)),
        "told",
        roles="^(?!superbias)",
    ),
    BadFile(
        "three-rows", "an image of 3 rows", image(lambda p: p[:3].astype(np.uint16)), "told", roles="^(?!superbias)"
    ),
    BadFile(
        "eight-by-eight",
        "an image of 8 x 8",
        image(lambda p: p[:8, :8].astype(np.uint16)),
        "told",
        roles="^(?!superbias)",
    ),
    BadFile(
        "other-size",
        "an image that is larger than the others",
        image(lambda p: np.pad(p, 20, "wrap").astype(np.uint16)),
        "told",
        roles="^(?!superbias)",
    ),
    BadFile(
        "turned",
        "an image that is turned by 90 degrees",
        image(lambda p: p.T.astype(np.uint16)),
        "told",
        roles="^(?!superbias)",
    ),
    BadFile(
        "two-planes",
        "a cube of two planes",
        image(lambda p: np.stack([p, p]).astype(np.uint16)),
        "refused",
        "cube|planes",
    ),
    BadFile(
        "three-planes",
        "a colour image among mono frames",
        image(lambda p: np.stack([p, p, p]).astype(np.uint16)),
        "told",
    ),
    BadFile(
        "colour-last",
        "a colour image whose planes are its first axis",
        image(lambda p: np.stack([p] * 3, -1).astype(np.uint16)),
        "told",
    ),
    BadFile(
        "many-planes",
        "a cube of 60 planes, as of planetary video",
        image(lambda p: np.stack([p] * 60).astype(np.uint8)),
        "refused",
        "cube|planes",
    ),
    BadFile(
        "four-axes",
        "an image of four axes",
        image(lambda p: np.stack([[p, p], [p, p]]).astype(np.uint16)),
        "refused",
        "cube|axes",
    ),
    BadFile("float32", "the same numbers as 32-bit floats", stored(np.float32), "told", roles=RAW),
    BadFile("float64", "the same numbers as 64-bit floats", stored(np.float64), "told", roles=RAW),
    BadFile("int32", "the same numbers as 32-bit integers", stored(np.int32), "same", roles=RAW),
    BadFile("bytes", "8-bit pixels", image(lambda p: (p / 256).astype(np.uint8)), "told", roles=RAW),
    BadFile(
        "unit", "floats from 0 to 1", image(lambda p: (p / 65535).astype(np.float32), PROGRAM="Siril 1.0.6"), "told"
    ),
    BadFile(
        "noise",
        "nothing but noise",
        image(lambda p: np.random.default_rng(1).normal(1000, 10, p.shape).astype(np.float32)),
        "told",
        roles="^(?!superbias|.*--)",
    ),
    BadFile(
        "chessboard",
        "0 and 65535 in turn",
        image(chessboard),
        "told",
        roles=f"^(?!{AVERAGED}$)",
    ),
    BadFile(
        "one-star",
        "a single bright pixel on nothing",
        image(lambda p: np.where(np.arange(p.size).reshape(p.shape) == 5000, 6e4, 0).astype(np.uint16)),
        "told",
    ),
    BadFile(
        "chessboard-master",
        "0 and 65535 in turn among few frames of a master",
        image(chessboard),
        "told",
        roles=f"^{AVERAGED}$",
        gap="one of four is averaged in; only the figures of the master tell of its noise",
    ),
]

BAD_FILES = {"header": HEADERS, "file": FILES, "pixels": PIXELS}
