"""What capture programs write into headers and file names, and what it means in our words and units.

`read_header` is the only code that knows keyword synonyms. It never raises on an odd value: what
cannot be understood is None, and what had to be guessed is told as a sentence in `notes`.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

TYPE = ("IMAGETYP", "FRAMETYP", "FRAME", "CALFRAME", "IMAGETYPE", "OBSTYPE")
TEXTS = {
    "object": ("OBJECT",), "telescope": ("TELESCOP",), "filter": ("FILTER", "INSFLNAM", "FILT-1", "FILTERS"),
    "camera": ("INSTRUME", "CAMERA", "DETECTOR"), "readout_mode": ("READOUTM", "READMODE"),
}  # fmt: skip
"""Fields of a `Meta` that are words."""
BINNING = (("XBINNING", "YBINNING"), ("BINNING", ""), ("CCDBINX", "CCDBINY"), ("CCDXBIN", "CCDYBIN"), ("BINX", "BINY"))
TEMPERATURE = ("CCD-TEMP", "CCD_TEMP", "CCDTEMP", "TEMPERAT", "CAMTCCD")
ELECTRONS = ("EGAIN", "CVF")
PIXEL = ("XPIXSZ", "XPIXELSZ", "PIXSIZE1", "PIXSIZEX", "XPIXSIZE")
PIXEL_UNBINNED = ("XPIXELSZ", "PIXSIZE1")
ROTATOR = ("ROTATANG", "ROTATOR", "POSANGLE", "ANGLE", "OBJCTROT")
PATTERN = ("BAYERPAT", "COLORTYP", "CFAIMAGE", "CFAPAT")
FULL_LEVELS = ("DATAMAX", "SATURATE", "SATLEVEL", "MAXADU", "CWHITE")
"""Levels that tell the unit of the pixels."""
IN_DN = re.compile(r"(?!norm|relat|frac|unit).")
"""A unit of pixels that are no parts of full scale: ADU, counts, electron/s ..."""
FROM_0_TO_1 = re.compile(r"(?i)siril|pixinsight|astro ?pixel ?processor|deepskystacker|graxpert")
"""Programs whose floats go from 0 to 1."""
OURS = "CALVER", "MLKEY"
OVERSCAN = ("BIASSEC", "BIASSEC1", "BIASSEC2", "OVERSCAN", "COVER")
DATA = ("TRIMSEC", "DATASEC")
WCS_KEYWORDS = tuple(
    """EQUINOX RADESYS RADECSYS CTYPE CRVAL CRPIX CDELT CROTA CD1_ CD2_ PC1_ PC2_ CUNIT PV1_ PV2_
    LONPOLE LATPOLE A_ B_ AP_ BP_""".split()
)
"""How the keywords begin that tell where an image lies on the sky."""

SIP_TERM = re.compile(r"(A|B|AP|BP)_(\d)_(\d)")
"""A coefficient of the distortion polynomials of a WCS."""

TOTAL_EXPOSURE = ("TOTALEXP", "LIVETIME", "TOTEXP")
"""Seconds of all exposures of a stack together."""
BOUNDS: dict[str, tuple[float, float]] = {
    key: bounds
    for keys, bounds in (
        (("EXPTIME", "EXPOSURE", "EXP"), (0, 1e6)),
        (("GAIN", "OFFSET", "BLKLEVEL", "BLKLEVELG"), (0, 1e6)), (("ISOSPEED", "ISO"), (0, 1e8)),
        (ELECTRONS, (1e-6, 1e6)), (("RDNOISE", "READNOIS", "RON", "ENOISE"), (1e-4, 1e5)),
        (("SATURATE", "SATLEVEL", "MAXADU"), (1e-6, 1e12)), (("PEDESTAL",), (-1e7, 1e7)),
        (("BZERO", "BSCALE"), (-1e30, 1e30)), ((*TEMPERATURE, "SET-TEMP"), (-1000, 1000)),
        (tuple(key for pair in BINNING for key in pair if key), (1, 64)), (PIXEL, (0.1, 1000)),
        (("FOCALLEN", "FOCAL"), (1, 1e6)), (("FLENGTH",), (1e-3, 1e6)), (ROTATOR, (-1e4, 1e4)),
        (TOTAL_EXPOSURE, (0, 1e8)), (("XORGSUBF", "YORGSUBF", "XBAYROFF", "YBAYROFF"), (-1e6, 1e6)),
        (("NCOMBINE", "STACKCNT"), (1, 1e6)),
    )
    for key in keys
}  # fmt: skip
"""What numbers can be; others are those of a program gone wrong, and count as missing."""
UNKNOWN = (0, -1)
"""What programs write for a number they do not know; nothing is said of it."""
YEARS = 1840, 2200
"""Between these pictures are taken."""
UNITS = (
    (r"adu|dn|counts?|cts?|datanumbers?|digitalnumbers?", "DN"),
    (r"(photo)?electrons?|e-?", "electron"),
    (r"((photo)?electrons?|e-?)(/s(ec)?|\*?s\*{0,2}-1)", "electron/s"),
)
"""Units of pixels, lower case without blanks and brackets, and what we call them."""

KINDS = {
    "light": "light", "science": "light", "object": "light", "lightstack": "light", "tricolor": "light",
    "dark": "dark", "bias": "bias", "offset": "bias", "zero": "bias",
    "flat": "flat", "skyflat": "flat", "domeflat": "flat", "twilightflat": "flat",
    "darkflat": "flatdark", "flatdark": "flatdark", "darkforflat": "flatdark",
}  # fmt: skip
"""IMAGETYP of every program, lower case, without blanks, signs and the words frame, field, image, master."""

FILTERS = {
    "l": "l", "lum": "l", "luminance": "l", "luminosity": "l", "luminace": "l",
    "r": "r", "red": "r", "g": "g", "green": "g", "b": "b", "blue": "b",
    "h": "ha", "ha": "ha", "halpha": "ha", "halfa": "ha", "hydrogenalpha": "ha", "hb": "hb", "hbeta": "hb",
    "o": "oiii", "o3": "oiii", "oiii": "oiii", "oxygeniii": "oiii", "o111": "oiii",
    "s": "sii", "s2": "sii", "sii": "sii", "sulfurii": "sii", "sulphurii": "sii", "n2": "nii", "nii": "nii",
    "c": "clear", "clear": "clear", "uv": "uv", "ir": "ir", "uvir": "uvir", "uvircut": "uvir", "irpass": "irpass",
}  # fmt: skip
"""Spellings of filter names that mean the same filter."""

FILTER_TOKEN = re.compile(r"(?:[LRGBVIUHOSgrizu]|(?i:ha|hb|oiii|o3|sii|s2|nii|lum|luminance|red|green|blue|clear|ir|uv"
                          r"|h-?alpha|h-?beta|uvir|ircut|lp|duo|dual|lextreme|lenhance))(?i:\d{1,2}nm)?")  # fmt: skip
"""What part of a file name is taken for a filter; single letters as photographers capitalise them."""

FILE_KIND = re.compile(
    r"(?<![a-z])(master[\W_]*)?(?:(?P<flatdark>darks?[\W_]*(?:for)?[\W_]*flats?|flats?[\W_]*darks?)"
    r"|(?P<bias>bias(?:es)?|^offsets?|^zeros?)|(?P<flat>(?:dome|sky|twilight)?flats?(?:fields?)?)"
    r"|(?P<dark>darks?(?!s?[\W_]*(?:neb|sky|skies|site|shark|horse|doodad|river|moon)))|(?P<light>lights?|science))(?![a-z])"
)
STACK_NAME = re.compile(
    r"(?:dso[-_ ])?(?:stacked[-_ ](\d{1,5})(?![\d.])|stack[-_ ](?:\d+bits?[-_ ])?(\d{1,5})frames)", re.IGNORECASE
)
"""How telescopes that stack by themselves name it: Stacked_250_M 31_10.0s, Stack_16bits_450frames."""
NUMBER = r"(\d+(?:[.,]\d+)?)"
IN_NAME = {
    "exposure_s": re.compile(
        rf"(?<![a-z0-9.,]){NUMBER}\s?(s|secs?|seconds|ms|min)(?![a-z0-9])|exp(?:osure|time)?[-_= ]?{NUMBER}"
    ),
    "temperature_c": re.compile(
        r"(?<![a-z0-9+-])([-+]?\d{1,2}(?:[.,]\d+)?)\s?°?(?:c|degc)(?![a-z0-9])"
        r"|(?<=[_ ])(-\d{1,2}[.,]\d{1,2}|\d{1,2}[.,]\d\d(?=[_ ]\d+[.,]\d\ds))(?=[_ ])"
    ),
    "binning": re.compile(r"(?<![a-z0-9])([1-8])x([1-8])(?![a-z0-9])|(?<![a-z])bin(?:ning)?[-_= ]?([1-8])(?!\d)"),
    "gain": re.compile(rf"(?<![a-z])(?:gain|iso)[-_= ]?{NUMBER}|(?<=[-_ ])g(0|[1-9]\d{{1,3}})(?=[-_ ]|\.\D|$)"),
    "offset": re.compile(
        rf"(?<=[\W_])offset[-_= ]?{NUMBER}|(?<=[-_ ])g\d{{1,4}}[-_ ]o(?!3(?!\d)|111(?!\d))(\d{{1,4}})(?=[-_ ]|\.\D|$)"
    ),
}
"""What words of a name tell. N.I.N.A. writes a bare -10.00, G100 for the gain and O50 for the offset after it: a number
without its sign is a temperature only right before the exposure (it may be a HFR), O3 and O111 are a filter, G001 is
the first frame through a green one."""
CLOCK = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,](\d+))?)?\s*(Z|[-+]\d\d:?\d\d)?")
LARGEST_IN_NAME = 1e6
MAKERS = ("zwo", "ccd", "cmos", "camera", "ascom", "driver", "qhyccd-cameras-capture")
"""Words of a camera's name that do not tell one camera from another."""
SILENT = {"", "unknown", "none", "n/a", "na", "null", "undefined", "not set", "no filter", "-", "--"}


def read_header(header: Mapping, source: str = "", shape: tuple[int, ...] = ()) -> dict:
    """The fields of a `Meta` from a header, a file name and the shape of the pixels."""
    notes: list[str] = []
    cards = believed(header, notes)
    binning = binning_of(cards)
    meta = {name: text(cards, *keys) for name, keys in TEXTS.items()}
    meta["kind"], meta["is_master"], meta["declared"] = kind_of(cards, source, notes)
    meta |= {
        "program": program_of(cards), "exposure_s": exposure_of(cards),
        "offset": positive(number(cards, "OFFSET", "BLKLEVEL", "BLKLEVELG"), zero=True),
        "temperature_c": temperature_of(cards, notes), "set_temperature_c": sensible(number(cards, "SET-TEMP")),
        "binning": binning or (1, 1), "pixel_um": pixel_of(cards, binning),
        "origin_px": tuple(int(number(cards, key) or 0) for key in ("XORGSUBF", "YORGSUBF")),
        "focal_mm": focal_of(cards), "rotator_deg": number(cards, *ROTATOR),
        "time": time_of(cards, notes), "pedestal_dn": pedestal_of(cards, notes),
        "saturation_dn": saturation_of(cards),
        "calibration": "".join(dict.fromkeys(c for c in (text(cards, "CALSTAT") or "").upper() if c in "OBDF")),
        "contains_bias": truth(cards.get("CALBIAS")),
        "bits": bits_of(cards),
        "integer": (number(cards, "BITPIX") or 16) > 0,
        "read_noise_e": positive(number(cards, "RDNOISE", "READNOIS", "RON", "ENOISE")),
        "pattern": pattern_of(cards, shape), "shape": tuple(shape),
    }  # fmt: skip
    meta["scale_claims"] = () if meta["integer"] else scale_claims(cards, meta["program"])
    meta["overscan_px"], meta["data_px"] = sections_of(cards, shape, notes)
    meta["gain"], meta["gain_e_per_dn"] = gain_of(cards, notes)
    meta["unit"] = unit_of(cards)
    if meta["unit"] not in (None, "DN"):
        notes.append(f"the pixels are in '{meta['unit']}' (BUNIT), and so is what figures call DN")
        per_unit = {"electron": 1.0, "electron/s": positive(meta["exposure_s"])}
        meta["gain_e_per_dn"] = per_unit.get(meta["unit"], meta["gain_e_per_dn"])
    meta["ra_deg"], meta["dec_deg"] = pointing_of(cards)
    guess_from_name(meta, source, notes, binned=binning is not None)
    meta["frames"] = frames_of(cards, source, meta)
    notes = [note if len(note) < 250 else f"{note[:247]}..." for note in notes]
    return meta | {"is_master": meta["is_master"] or meta["frames"] > 1, "notes": tuple(notes)}


def believed(header: Mapping, notes: list[str]) -> dict[str, Any]:
    """What a header says, keywords in upper case, the first of duplicates; what cannot be true is told and left out."""
    cards: dict[str, Any] = {}
    for key in header:
        try:
            cards.setdefault(str(key).upper().strip(), header[key])
        except Exception:  # a header of the user's own, whose library refuses one of its cards
            notes.append(f"{key}: cannot be read and is left out")
    for key in [key for key, value in cards.items() if type(value) is int and value.bit_length() > 1000]:
        notes.append(f"{key} is a number beyond all reason and is not believed")
        del cards[key]
    for key in BOUNDS.keys() & cards.keys():
        value, (low, high) = as_number(cards[key]), BOUNDS[key]
        odd = isinstance(cards[key], float) and not math.isfinite(cards[key])
        if odd or not (value is None or value in UNKNOWN or low <= value <= high):
            notes.append(f"{key} is '{cards[key]}', which is not believed")
            del cards[key]
    return cards


# --- values -----------------------------------------------------------------------------------------------------------


def text(cards: Mapping, *keys: str) -> str | None:
    """The first of `keys` that says something; blanks and words such as 'Unknown' say nothing."""
    for key in keys:
        value = cards.get(key)
        if value is not None and not isinstance(value, bool):
            word = " ".join(str(value).split())
            if word.lower() not in SILENT:
                return word
    return None


def number(cards: Mapping, *keys: str) -> float | None:
    """The first of `keys` that holds a finite number."""
    for key in keys:
        value = as_number(cards.get(key))
        if value is not None:
            return value
    return None


def as_number(value) -> float | None:
    """A number from what a header holds: 12, '12,5', '1/60', '-10 C'; None when there is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        match = re.match(r"\s*([-+]?\d*[.,]?\d+(?:[eEdD][-+]?\d+)?)(?:\s*/\s*(\d+))?", str(value))
        if not match:
            return None
        found = float(match[1].replace(",", ".").upper().replace("D", "E")) / (float(match[2] or 1) or math.nan)
    return found if math.isfinite(found) else None


def positive(value: float | None, zero: bool = False) -> float | None:
    """`value` if it is above zero (or zero, where that means something), else None."""
    return value if value is not None and (value > 0 or (zero and value == 0)) else None


def truth(value) -> bool | None:
    """A logical card, also as some programs write it: T, 'T', 'true', 1."""
    word = str(value).strip().lower()
    return True if word in ("t", "true", "1", "yes") else False if word in ("f", "false", "0", "no") else None


def angle(value) -> tuple[float | None, bool]:
    """An angle and whether it was sexagesimal: '07 25 08', '-31:50:58', 12.5."""
    if value is None or isinstance(value, (int, float)):
        return as_number(value), False
    parts = re.split(r"[\s:hdms°'\"]+", str(value).strip().strip("hdms\"'"))
    if len(parts) < 2:
        return as_number(value), False
    numbers = [as_number(part) for part in parts[:3]]
    if None in numbers:
        return None, True
    size = sum(abs(part) / 60**i for i, part in enumerate(numbers))
    return (-size if parts[0].startswith("-") else size), True


# --- what the camera did ----------------------------------------------------------------------------------------------


def kind_of(cards: Mapping, source: str, notes: list[str]) -> tuple[str, bool, str | None]:
    """Kind of frame, whether it is a master, and the type as the header spells it."""
    declared = text(cards, *TYPE)
    word = re.sub(r"[^a-z]", "", (declared or "").lower())
    is_master = word.startswith("master") or word.endswith("master")
    kind = KINDS.get(re.sub(r"master|frame|field|image", "", word)) or KINDS.get(word)
    found, where, named_master = kind_from_name(source)
    if kind and not (found and found != kind and kind == "light" and "N.I.N.A. 1.9" in (program_of(cards) or "")):
        if found and found != kind and kind != "flatdark" and (kind, found) != ("dark", "flatdark"):
            notes.append(f"the header says {kind}, the name '{where}' says {found}; the header is believed")
        return ("flatdark" if (kind, found) == ("dark", "flatdark") else kind), is_master, declared
    if found and not (declared and word in ("snapshot", "focus", "autofocus", "test")):
        said = f"the header calls it '{declared}'" if declared else "the header is silent"
        notes.append(f"taken for a {found} by the name '{where}': {said}")
        return found, is_master or named_master, declared
    return "unknown", is_master, declared


def kind_from_name(source: str) -> tuple[str | None, str, bool]:
    """Kind by the last telling word in the file name or the two folders around it."""
    for part in reversed(PurePath(str(source)).parts[-3:]):
        matches = list(FILE_KIND.finditer(part.lower()))
        if matches:
            return matches[-1].lastgroup, part, bool(matches[-1][1])
    return None, "", False


def frames_of(cards: Mapping, source: str, meta: Mapping) -> int:
    """How many exposures were combined: by a count, by a total of exposure far above one, or by the name of a light.

    Telescopes that stack by themselves call what they make a light too, and keep the exposure of one frame in EXPTIME.
    """
    told = number(cards, "NCOMBINE", "STACKCNT")  # some programs number exposures by SNAPSHOT
    if told is not None or meta["kind"] not in ("light", "unknown"):
        return max(1, int(told or 1))
    total, single = number(cards, *TOTAL_EXPOSURE), meta["exposure_s"]
    if total and single and total > 1.5 * single:
        return max(2, round(total / single))
    named = STACK_NAME.match(PurePath(str(source)).name)
    return max(1, int(named[1] or named[2])) if named else 1


def exposure_of(cards: Mapping) -> float | None:
    """Exposure in seconds; a zero is believed only when no other keyword knows better."""
    values = [as_number(cards.get(key)) for key in ("EXPTIME", "EXPOSURE", "EXP")]
    values = [value for value in values if value is not None and value >= 0]
    return next((value for value in values if value > 0), 0.0 if values else None)


def binning_of(cards: Mapping) -> tuple[int, int] | None:
    """Binning as (x, y); None when no keyword tells it."""
    for key_x, key_y in BINNING:
        pair = [as_number(part) for part in re.split(r"[x*,]", str(cards.get(key_x)).lower())]
        across, down = pair[0], number(cards, key_y) if key_y else pair[-1]
        if across is not None:
            across = max(1, int(across))
            return across, max(1, int(down)) if down is not None else across
    return None


def bits_of(cards: Mapping) -> int:
    """Bits of a sample, 16 where the header does not tell."""
    bits = abs(number(cards, "ZBITPIX", "BITPIX") or 16)
    return int(bits) if bits in (8, 16, 32, 64) else 16


def unit_of(cards: Mapping) -> str | None:
    """The unit of the pixels: "DN" for all counts, "electron", "electron/s", or as the header spells another."""
    word = text(cards, "BUNIT")
    plain = re.sub(r"[\s()]", "", word or "").lower()
    return next((unit for spelled, unit in UNITS if re.fullmatch(spelled, plain)), word and word[:20])


def sensible(celsius: float | None) -> float | None:
    """A temperature that a sensor can have; programs write 999 and -273 for one that they do not know."""
    return celsius if celsius is not None and -150 < celsius < 80 else None


def temperature_of(cards: Mapping, notes: list[str]) -> float | None:
    """Sensor temperature in Celsius; the set point stands in when nothing was measured."""
    told = (sensible(as_number(cards.get(key))) for key in TEMPERATURE)
    measured = next((t for t in told if t is not None), None)
    wanted = sensible(number(cards, "SET-TEMP"))
    if wanted is None:
        return measured
    if measured is None:
        notes.append(f"only the set point of the cooler is known ({wanted:g} °C), not the temperature of the sensor")
        return wanted
    if abs(measured - wanted) > 1:
        notes.append(f"the sensor was at {measured:.1f} °C, the cooler was set to {wanted:g} °C")
    return measured


def gain_of(cards: Mapping, notes: list[str]) -> tuple[float | None, float | None]:
    """Gain setting, and electrons per DN; observatories write the latter into GAIN."""
    gain = positive(number(cards, "GAIN", "ISOSPEED", "ISO"), zero=True)
    electrons = positive(number(cards, *ELECTRONS))
    if gain is not None and 0 < gain < 10 and gain != int(gain):
        notes.append(f"GAIN {gain:g} is read as electrons per DN, not as a camera setting")
        return None, electrons or gain
    return gain, electrons


def pixel_of(cards: Mapping, binning: tuple[int, int] | None) -> float | None:
    """Size of a pixel of this image in µm, binning included, whichever way the program counts."""
    told = ((key, positive(as_number(cards.get(key)))) for key in PIXEL)
    key, size = next((one for one in told if one[1]), ("", None))
    return size * (binning or (1, 1))[0] if key in PIXEL_UNBINNED else size


def focal_of(cards: Mapping) -> float | None:
    """Focal length in mm; programs write 0 when they do not know it."""
    metres = positive(number(cards, "FLENGTH"))
    return positive(number(cards, "FOCALLEN", "FOCAL")) or (metres * 1000 if metres and metres < 100 else metres)


def pedestal_of(cards: Mapping, notes: list[str]) -> float:
    """DN that were added to the pixels; the sign differs between programs, the meaning does not."""
    pedestal = abs(number(cards, "PEDESTAL") or 0.0)
    if pedestal and not text(cards, "CALSTAT") and not cards.get("HISTORY"):
        notes.append(f"a raw frame with PEDESTAL {pedestal:g}: see that its calibration frames carry the same")
    return pedestal


def saturation_of(cards: Mapping) -> float | None:
    """The level that no pixel can exceed: told by the header, or the largest integer of the file."""
    told, bits = positive(number(cards, "SATURATE", "SATLEVEL", "MAXADU")), number(cards, "BITPIX")
    if told or bits not in (8, 16):
        return told
    zero, scale = number(cards, "BZERO") or 0.0, number(cards, "BSCALE") or 1.0
    return positive(zero + scale * (255 if bits == 8 else 32767))


def scale_claims(cards: Mapping, program: str | None) -> tuple[str, ...]:
    """What a header tells of the numbers of a file of floats.

    "ours": written here, in DN; "dn": a unit, or a level that is one in DN; "full scale": a level that is 1; "program":
    one that writes floats from 0 to 1.
    """
    unit = re.sub(r"[^a-z/]", "", (text(cards, "BUNIT") or "").lower())
    levels = [value for value in (as_number(cards.get(key)) for key in FULL_LEVELS) if value is not None]
    told = {
        "ours": any(key in cards for key in OURS) or '{"ImageCalibration"' in str(cards.get("HISTORY", "")),
        "dn": bool(IN_DN.match(unit)) or any(level > 2 for level in levels),
        "full scale": any(0.99 < level < 1.01 for level in levels),
        "program": bool(FROM_0_TO_1.search(" ".join(filter(None, (program, str(cards.get("HISTORY", ""))[:2000]))))),
    }
    return tuple(name for name, holds in told.items() if holds)


def program_of(cards: Mapping) -> str | None:
    """The program that wrote the file."""
    comment = str(cards.get("COMMENT", ""))
    origin = text(cards, "ORIGIN")
    by_comment = "INDI" if "Generated by INDI" in comment else "INDIGO" if "INDIGO" in comment else None
    by_origin = origin if origin and "DWARF" in origin.upper() else None
    return text(cards, "SWCREATE", "CREATOR", "PROGRAM", "SOFTWARE") or by_comment or by_origin


def pattern_of(cards: Mapping, shape: tuple[int, ...]) -> str | None:
    """Colour filter pattern of the first stored row and pixel, offsets applied; None for mono and for three planes."""
    word = re.sub(r"[^A-Z]", "", (text(cards, *PATTERN) or "").upper())
    if len(shape) > 2 or len(word) not in (4, 36) or not set(word) <= set("RGBCMYEW") or len(set(word)) < 2:
        return None
    dx, dy = (int(number(cards, key) or 0) for key in ("XBAYROFF", "YBAYROFF"))
    return shifted_pattern(word, dy, dx)


def flipped_pattern(pattern: str, rows: int) -> str:
    """The pattern of an image of so many rows turned upside down."""
    size = period(pattern)
    return "".join(pattern[(i % size) * size : (i % size + 1) * size] for i in range(rows - 1, rows - 1 - size, -1))


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
    wrong = ""
    if odd:
        wrong = f"{', '.join(odd)} reach outside the frame of {cols} x {rows} pixels and are"
    elif data is not None and 2 * area(data) < rows * cols:
        wrong = f"{', '.join(told)}: less than half of the frame would be left;"
    elif data is not None and any(overlap(data, box) for box in dark):
        wrong = f"{', '.join(told)}: overscan and image overlap;"
    notes += [f"{wrong} not believed"] if wrong else []
    return ((), None) if wrong else (dark, data if data != whole else None)


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
    for axis, start in ((1, x0), (2, y0)):
        middle = as_number(new.get(f"CRPIX{axis}"))
        if middle is not None:
            new[f"CRPIX{axis}"] = (middle - start - 0.5) / factor + 0.5
    for key in [k for k in new if re.fullmatch(r"CD\d_\d|CDELT\d|[XY]PIXSZ|PIXSCALE|SCALE|SECPIX\d?", k)]:
        size = as_number(new[key])
        new[key] = size * factor if size is not None else new[key]
    if factor != 1:
        for term in filter(None, map(SIP_TERM.fullmatch, list(new))):
            order = int(term[2]) + int(term[3])
            new[term[0]] = (as_number(new[term[0]]) or 0.0) * float(factor) ** (order - 1)
    return new


def flip_header(header: Any, rows: int) -> Any:
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
    told = {"CD": ("CD2_2", "CD1_2"), "PC": ("PC1_1", "PC2_2")}
    matrix = next((name for name, keys in told.items() if any(key in header for key in keys)), None)
    if matrix == "PC" and "PC2_2" not in header:
        header["PC2_2"] = 1.0
    negated = [f"{matrix}1_2", f"{matrix}2_2"] if matrix else ["CDELT2"]
    for key in [str(key) for key in header]:
        term = SIP_TERM.fullmatch(key)
        odd = term is not None and (int(term[3]) % 2 == 1) != term[1].startswith("B")
        if (odd or key in negated) and as_number(header[key]) is not None:
            header[key] = -as_number(header[key])
    return header


def pointing_of(cards: Mapping) -> tuple[float | None, float | None]:
    """Where the telescope pointed, in degrees."""
    for key_ra, key_dec in (("RA", "DEC"), ("OBJCTRA", "OBJCTDEC"), ("CRVAL1", "CRVAL2")):
        (ra, sexagesimal), (dec, _) = angle(cards.get(key_ra)), angle(cards.get(key_dec))
        if ra is None or dec is None or (key_ra == "CRVAL1" and not str(cards.get("CTYPE1", "")).startswith("RA")):
            continue
        hours = sexagesimal or key_ra == "OBJCTRA" or (key_ra == "RA" and "DWARF" in (program_of(cards) or "").upper())
        ra = ra * 15 if hours else ra
        if (ra or dec) and 0 <= ra <= 360 and -90 <= dec <= 90:
            return ra, dec
    return None, None


# --- time -------------------------------------------------------------------------------------------------------------


def time_of(cards: Mapping, notes: list[str]) -> str | None:
    """Start of the exposure as ISO UTC with milliseconds."""
    day = as_number(cards.get("JD"))
    if day is None or not 2.4e6 < day < 2.6e6:
        mjd = as_number(cards.get("MJD-OBS"))
        day = mjd + 2400000.5 if mjd is not None and 1e4 < mjd < 2e5 else None
    by_day = datetime(2000, 1, 1, 12) + timedelta(days=day - 2451545.0) if day is not None else None
    clock = text(cards, "TIME-OBS", "UT", "UTSTART", "UTC")
    when = as_time(text(cards, "DATE-OBS"), clock) or as_time(text(cards, "DATE-AVG"), None)
    if when is None and clock:
        when = as_time(text(cards, "DATE"), clock)
    if when and by_day and timedelta(minutes=25) < abs(when - by_day) < timedelta(hours=15):
        notes.append("DATE-OBS is local time; the Julian date is used instead")
        when = by_day
    when = when or by_day
    if when and not YEARS[0] <= when.year <= YEARS[1]:
        notes.append(f"the time '{when.isoformat()}' is not believed")
        return None
    return when.isoformat(timespec="milliseconds") if when else None


def as_time(date: str | None, clock: str | None) -> datetime | None:
    """A moment from 'yyyy-mm-ddThh:mm:ss.fffffff', or an old 'dd/mm/yy' and a clock of its own."""
    match = re.match(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})(?:[T ]+(.*))?$", date or "")
    if not match:
        return None
    first, month, last = (int(match[i]) for i in (1, 2, 3))
    year, day = (first, last) if len(match[1]) == 4 else (last, first)
    short = len(match[1] if len(match[1]) == 4 else match[3]) < 3
    year += 0 if not short else 1900 if year >= 70 else 2000
    hands = CLOCK.match(match[4] or clock or "0:0")
    if not hands:
        return None
    try:
        zone = (hands[5] or "Z").replace(":", "")
        away = timedelta() if zone == "Z" else timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:]))
        micro = int((hands[4] or "0")[:6].ljust(6, "0"))
        return datetime(year, month, day, int(hands[1]), int(hands[2]), int(hands[3] or 0), micro) - away
    except (ValueError, OverflowError):
        return None


def seconds_of(time: str | None) -> float | None:
    """An ISO UTC time as seconds since 1970, for differences."""
    try:
        return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() if time else None
    except ValueError:
        return None


# --- file names -------------------------------------------------------------------------------------------------------


def guess_from_name(meta: dict, source: str, notes: list[str], binned: bool) -> None:
    """Fill in what the header does not tell from words such as _600s_, -10C, 1x1, gain100, _Ha_ in the name."""
    parts = [p.lower() for p in reversed(PurePath(str(source)).parts[-3:])]
    known = {"binning": binned or None}
    for name, pattern in IN_NAME.items():
        if known.get(name, meta.get(name)) is not None or (name == "gain" and meta["gain_e_per_dn"]):
            continue
        match = next((m for m in map(pattern.search, parts) if m), None)
        value = value_in_name(name, match) if match else None
        if value is not None and (name == "binning" or abs(value) <= LARGEST_IN_NAME):
            meta[name] = value
            notes.append(f"{name.split('_')[0]} read from the name: '{match[0].strip('_ ')}'")
    if meta["filter"] is None and meta["kind"] in ("light", "flat", "unknown"):
        meta["filter"] = filter_in_name(source)
        if meta["filter"]:
            notes.append(f"filter read from the name: '{meta['filter']}'")


def value_in_name(name: str, match: re.Match):
    """What a word of a file name says, in our units."""
    groups = [g for g in match.groups() if g is not None]
    if name == "binning":
        return int(groups[0]), int(groups[-1])
    value = float(groups[0].replace(",", "."))
    unit = groups[1] if len(groups) > 1 else "s"
    return value * {"ms": 1e-3, "min": 60.0}.get(unit, 1.0)


def filter_in_name(source: str) -> str | None:
    """The filter that a file name or the name of its folder tells: flat_ir_001.fits, FILTER-Ha, lights/OIII/."""
    path = PurePath(str(source))
    stem = path.name.split(".fit")[0].split(".fts")[0]
    told = re.search(r"filter[-_= ]([A-Za-z0-9]+)", stem, re.IGNORECASE)
    if told:
        return told[1]
    words = re.split(r"[_\s.,]+|-(?!alpha|beta)", stem)
    found = [word for word in words if FILTER_TOKEN.fullmatch(word)]
    folders = [part for part in path.parts[-3:-1] if FILTER_TOKEN.fullmatch(part)]
    return found[-1] if found else folders[-1] if folders else None


# --- comparison -------------------------------------------------------------------------------------------------------


def filter_key(name: str | None) -> str:
    """A filter's name for comparison: H-alpha, h_alpha and Ha are one, Ha 3nm is 'ha3nm'; '' when unknown."""
    word = re.sub(r"[^a-z0-9.]", "", (name or "").lower().replace("α", "alpha").replace("β", "beta"))
    match = re.fullmatch(r"(.*?)(?:(\d+(?:\.\d+)?)nm)?", word)
    base = match[1].replace(".", "")
    return FILTERS.get(base, base) + (f"{float(match[2]):g}nm" if match[2] else "")


def same_filter(a: str | None, b: str | None) -> bool | None:
    """Whether two names mean the same filter; None when either is unknown. A bandwidth counts when both tell it."""
    if not (a and b):
        return None
    keys = filter_key(a), filter_key(b)
    bases = [re.sub(r"[\d.]+nm$", "", key) for key in keys]
    return keys[0] == keys[1] or (bases[0] == bases[1] and bases != list(keys) and (bases[0] in keys))


def camera_key(name: str | None) -> str:
    """A camera's name for comparison, without maker's noise words and serial numbers; '' when unknown."""
    words = re.sub(r"\(\d*\)|#\s*\d+|\bs/?n[:\s]*\w+|_id\w+", " ", (name or "").lower())
    words = re.sub(r"-(?=[0-9a-f]*\d)[0-9a-f]{6,}\b", " ", words)
    kept = [word for word in re.split(r"[\s:;,_]+", words) if word not in MAKERS]
    return re.sub(r"[^a-z0-9]", "", "".join(kept))


def object_key(name: str | None) -> str:
    """A target's name for comparison: 'M 31', 'm31' and 'M_31' are one; '' when unknown."""
    return re.sub(r"[\W_]+", "", (name or "").lower())
