"""Where an image lies, as its header tells: regions of the sensor, colour pattern, WCS; and what becomes of them.

When rows are turned, borders are cut off or pixels put together, these keywords must follow.
"""

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from masterlight.core.headers.filters import pattern_in_filter
from masterlight.core.headers.values import as_number, number, text

PATTERN = ("BAYERPAT", "COLORTYP", "CFAIMAGE", "CFAPAT")

BAYER = ("RGGB", "BGGR", "GBRG", "GRBG")
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"
"""The arrangement of an X-Trans sensor, six rows of six; every camera has it shifted, turned or with red and blue
exchanged."""
PATTERN_ROW = "BAYERROW"
"""Our keyword in files that have the last row first: of which row BAYERPAT is."""
STORED = "STORED"
TOP_DOWN, BOTTOM_UP = "TOP-DOWN", "BOTTOM-UP"

OVERSCAN = ("BIASSEC", "BIASSEC1", "BIASSEC2", "OVERSCAN", "COVER")

DATA = ("TRIMSEC", "DATASEC")

WCS_KEYWORDS = tuple(
    """EQUINOX RADESYS RADECSYS CTYPE CRVAL CRPIX CDELT CROTA CD1_ CD2_ PC1_ PC2_ CUNIT PV1_ PV2_
    LONPOLE LATPOLE A_ B_ AP_ BP_""".split()
)
"""How the keywords begin that tell where an image lies on the sky."""

SIP_TERM = re.compile(r"(A|B|AP|BP)_(\d)_(\d)")
"""A coefficient of the distortion polynomials of a WCS."""

OF_ROWS = re.compile(r"(?:CTYPE2|CRPIX2|CDELT2|(?:PC|CD)(?:[12]_[12]|00[12]00[12]))([A-Z]?)")
"""A keyword of a WCS that tells of rows; its last letter names one beside the first."""


def pattern_of(cards: Mapping, shape: tuple[int, ...], notes: list[str] | None = None) -> str | None:
    """Colour filter pattern of the first stored row and pixel, offsets applied; None for mono and for three planes."""
    told = text(cards, *PATTERN)
    word = re.sub(r"[^A-Z]", "", (told or pattern_in_filter(cards) or "").upper())
    if len(shape) > 2 or len(word) not in (4, 36) or not set(word) <= set("RGBCMYEW") or len(set(word)) < 2:
        return None
    if notes is not None and not told:
        notes.append(f"FILTER '{word}' is taken for the colour pattern of the sensor")
    dx, dy = (int(number(cards, key) or 0) for key in ("XBAYROFF", "YBAYROFF"))
    return shifted_pattern(word, dy, dx)


def flipped_pattern(pattern: str, rows: int) -> str:
    """The pattern of an image of so many rows turned upside down."""
    size = period(pattern)
    return "".join(pattern[(i % size) * size : (i % size + 1) * size] for i in range(rows - 1, rows - 1 - size, -1))


def is_bottom_up(cards: Mapping) -> bool:
    """Whether a header tells that the last row is stored first."""
    return str(cards.get("ROWORDER", "")).strip().upper() == BOTTOM_UP


def sections_of(cards: Mapping, shape: tuple[int, ...], notes: list[str]):
    """Overscan regions and the region that saw the sky, as bounds (y0, y1, x0, x1) of the stored pixels.

    Sections that reach outside the frame, overlap, or leave less than half of the frame for the sky are not believed.
    """
    if len(shape) < 2:
        return (), None
    rows, cols = shape[-2:]
    told = {key: section(cards[key]) for key in (*OVERSCAN, *DATA) if cards.get(key)}
    whole = (0, rows, 0, cols)
    odd = [key for key, box in told.items() if box is not None and not inside(box, whole)]
    data = next((told[key] for key in DATA if told.get(key)), None)
    dark = tuple(box for key in OVERSCAN if (box := told.get(key)) and box != whole)
    if not dark and (box := last_columns(cards, rows, cols)):
        notes.append(f"COVER: the last {cols - box[2]} columns are overscan")
        dark, data = (box,), (0, rows, 0, box[2]) if data in (None, whole) else data
    wrong = ""
    if odd:
        wrong = f"{', '.join(odd)} reach outside the frame of {cols} x {rows} pixels and are"
    elif data is not None and 2 * area(data) < rows * cols:
        wrong = f"{', '.join(told)}: less than half of the frame would be left;"
    elif data is not None and any(overlap(data, box) for box in dark):
        wrong = f"{', '.join(told)}: overscan and image overlap;"
    notes += [f"{wrong} not believed"] if wrong else []
    return ((), None) if wrong else (dark, data if data != whole else None)


def last_columns(cards: Mapping, rows: int, cols: int) -> tuple[int, int, int, int] | None:
    """The overscan where COVER of a raw frame is no section, but tells how many columns it has at the end of rows."""
    told = cards.get("COVER")
    count = None if isinstance(told, str) and not told.strip().isdigit() else as_number(told)
    raw = (as_number(cards.get("BITPIX")) or 16) > 0
    return (0, rows, cols - int(count), cols) if count and count % 1 == 0 and 0 < 4 * count < cols and raw else None


def section(value) -> tuple[int, int, int, int] | None:
    """Bounds (y0, y1, x0, x1) from '[x1:x2,y1:y2]', which counts from 1 and includes the ends."""
    number = r"\s*(\d{1,9})\s*"
    match = re.fullmatch(rf"\s*\[{number}:{number},{number}:{number}\]\s*", value if isinstance(value, str) else "")
    if not match:
        return None
    x1, x2, y1, y2 = (int(part) for part in match.groups())
    return min(y1, y2) - 1, max(y1, y2), min(x1, x2) - 1, max(x1, x2)


def inside(box, whole) -> bool:
    return whole[0] <= box[0] < box[1] <= whole[1] and whole[2] <= box[2] < box[3] <= whole[3]


def overlap(a, b) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def area(box) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])


def shifted_pattern(pattern: str | None, y0: int, x0: int) -> str | None:
    """The pattern as it begins at row y0, column x0 of the image."""
    if not pattern:
        return pattern
    size = period(pattern)
    return "".join(pattern[(y + y0) % size * size + (x + x0) % size] for y in range(size) for x in range(size))


def period(pattern: str | None) -> int:
    """After how many pixels a colour pattern repeats: 2 on a Bayer sensor, 6 on X-Trans, 1 for mono."""
    return math.isqrt(len(pattern or "L"))


@cache
def xtrans_patterns() -> tuple[str, ...]:
    """The X-Trans arrangement as any camera may have it: shifted, turned, or with red and blue exchanged."""
    forms = (XTRANS, "".join(XTRANS[6 * x + y] for y in range(6) for x in range(6)))
    forms += tuple(form.translate(str.maketrans("RB", "BR")) for form in forms)
    return tuple(dict.fromkeys(shifted_pattern(form, y, x) for form in forms for y in range(6) for x in range(6)))


def places(pattern: str | None) -> dict[str, list[tuple[int, int]]]:
    """The rows and columns of each colour in its pattern; red, green, blue first. One nameless colour for mono."""
    if not pattern:
        return {"": [(0, 0)]}
    found: dict[str, list[tuple[int, int]]] = {c: [] for c in sorted(set(pattern), key=("RGB" + pattern).index)}
    for i, colour in enumerate(pattern):
        found[colour].append(divmod(i, period(pattern)))
    return found


def regrid(header: Mapping, y0: float = 0, x0: float = 0, factor: int = 1) -> dict:
    """A header for pixels that begin at row y0, column x0 and are `factor` old pixels wide: its WCS, its pixel size.

    Sections and colour pattern, which are true of the old pixels only, are left out.
    """
    gone = (*OVERSCAN, *DATA, *PATTERN, "XBAYROFF", "YBAYROFF", "CCDSEC", "COMMENT", "HISTORY", "")
    new = {str(key): header[key] for key in header if str(key) not in gone}
    for key in [k for k in new if re.fullmatch(r"CRPIX[12][A-Z]?", k)]:
        middle, start = as_number(new[key]), x0 if key[5] == "1" else y0
        new[key] = (middle - start - 0.5) / factor + 0.5 if middle is not None else new[key]
    for key in [k for k in new if re.fullmatch(r"(CD\d_\d|CDELT\d)[A-Z]?|[XY]PIXSZ|PIXSCALE|SCALE|SECPIX\d?", k)]:
        size = as_number(new[key])
        new[key] = size * factor if size is not None else new[key]
    if factor != 1:
        for term in filter(None, map(SIP_TERM.fullmatch, list(new))):
            order = int(term[2]) + int(term[3])
            new[term[0]] = (as_number(new[term[0]]) or 0.0) * float(factor) ** (order - 1)
    return new


def flip_header(header: Any, rows: int) -> Any:
    """A header (astropy or dict, changed and returned) of the image turned upside down: ROWORDER, sections, WCS.

    A colour pattern is that of the top of the picture, however rows are stored, unless PATTERN_ROW says otherwise.
    """
    if text(header, PATTERN_ROW) == STORED and (pattern := pattern_of(header, ())):
        header["BAYERPAT"], header["XBAYROFF"], header["YBAYROFF"] = flipped_pattern(pattern, rows), 0, 0
    header["ROWORDER"] = TOP_DOWN if is_bottom_up(header) else BOTTOM_UP
    for key in (*OVERSCAN, *DATA):
        box = section(header.get(key))
        if box:
            header[key] = f"[{box[2] + 1}:{box[3]},{rows - box[1] + 1}:{rows - box[0]}]"
    turn_wcs(header, rows)
    return header


def turn_wcs(header: Any, rows: int) -> None:
    """The WCS of a header, and those it tells by a letter (`CRPIX2A`), for the image of so many rows upside down.

    The second column of each matrix and the terms of SIP that are odd in y change their sign. What a header may leave
    out is what the standard says: 1 for CDELT2 and PC2_2, 0 for CRPIX2 and the rest.
    """
    keys = [str(key) for key in header]
    terms = filter(None, map(SIP_TERM.fullmatch, keys))
    negated = [term[0] for term in terms if (int(term[3]) % 2 == 1) != term[1].startswith("B")]
    for letter in {match[1] for match in map(OF_ROWS.fullmatch, keys) if match}:
        if f"CRPIX2{letter}" in header or f"CTYPE2{letter}" in header:
            header[f"CRPIX2{letter}"] = rows + 1 - (as_number(header.get(f"CRPIX2{letter}")) or 0.0)
        turned = [key[2:5] for key in keys if re.fullmatch(rf"PC(\d_\d|00\d00\d){letter}", key)]
        scale = f"PC{'002002' if '00' in turned[0] else '2_2'}{letter}" if turned else f"CDELT2{letter}"
        told = scale in header or any(re.fullmatch(rf"CD(\d_\d|00\d00\d){letter}", key) for key in keys)
        if not told and (turned or f"CTYPE2{letter}" in header):
            header[scale] = 1.0
        columns = [key for key in keys if re.fullmatch(rf"(PC|CD)(\d_2|00\d002){letter}", key)]
        negated += {scale, *columns}
    for key in negated:
        value = as_number(header.get(key))
        if value is not None:
            header[key] = -value
