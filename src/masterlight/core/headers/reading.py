"""What capture programs write into headers and file names, and what it means in our words and units.

`read_header` is the only code that knows keyword synonyms. It never raises on an odd value: what
cannot be understood is None, and what had to be guessed is told as a sentence in `notes`.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from masterlight.core.headers.altitude import place_of
from masterlight.core.headers.filters import filter_of
from masterlight.core.headers.geometry import pattern_of, sections_of
from masterlight.core.headers.kinds import verdict_of
from masterlight.core.headers.names import STACK_NAME, exposure_in_name, guess_from_name
from masterlight.core.headers.processed import COUNTS, processing_of, stack_count
from masterlight.core.headers.values import (
    angle,
    as_number,
    as_time,
    celsius,
    number,
    positive,
    seconds_of,
    text,
    truth,
)

TEXTS = {
    "object": ("OBJECT",), "telescope": ("TELESCOP",),
    "camera": ("INSTRUME", "CAMERA", "DETECTOR"), "readout_mode": ("READOUTM", "READMODE"),
}  # fmt: skip
"""Fields of a `Meta` that are words."""

BINNING = (("XBINNING", "YBINNING"), ("BINNING", ""), ("CCDBINX", "CCDBINY"), ("CCDXBIN", "CCDYBIN"), ("BINX", "BINY"),
           ("DETXBIN", "DETYBIN"), ("CCDSUM", ""))  # fmt: skip

TEMPERATURE = (
    "CCD-TEMP", "CCD_TEMP", "CCDTEMP", "TEMPERAT", "CAMTCCD", "CCDATEMP", "TEMPDET", "DETTEMP", "DET-TEMP", "DET_TEMP",
    "DET-TMP", "DETTEM", "CCDTMP", "SENSTEMP", "SEN-TEMP", "CHIPTEMP",
)  # fmt: skip
"""Keywords of the temperature of the sensor."""

SET_TEMPERATURE = ("SET-TEMP", "SET_TEMP", "SETTEMP", "CCDSTEMP")
"""Keywords of what the cooler was set to."""

ELECTRONS = ("EGAIN", "CVF")

PIXEL = ("XPIXSZ", "XPIXELSZ", "PIXSIZE1", "PIXSIZEX", "XPIXSIZE")

PIXEL_UNBINNED = ("XPIXELSZ", "PIXSIZE1")

ROTATOR, ANGLE_ON_SKY = ("ROTATANG", "ROTATOR"), ("POSANGLE",)
"""The angle of the rotator itself, and the angle on the sky that it was told to take, which the other side of the mount
turns by half a circle. Wishes (OBJCTROT) and angles from a plate solution (ANGLE, CROTA2) are no place of a rotator."""

FULL_LEVELS = ("DATAMAX", "SATURATE", "SATLEVEL", "MAXADU", "CWHITE")
"""Levels that tell the unit of the pixels."""

IN_DN = re.compile(r"(?!norm|relat|frac|unit).")
"""A unit of pixels that are no parts of full scale: ADU, counts, electron/s ..."""

FROM_0_TO_1 = re.compile(r"(?i)siril|pixinsight|astro ?pixel ?processor|deepskystacker|graxpert")
"""Programs whose floats go from 0 to 1."""

OURS = "CALVER", "MLKEY"

FOCUSER = ("FOCUSPOS", "FOCPOS", "FOCUSSTP")
"""Where the focuser stood, in steps of its own."""
TOTAL_EXPOSURE = ("TOTALEXP", "LIVETIME", "TOTEXP")
"""Seconds of all exposures of a stack together."""

BOUNDS: dict[str, tuple[float, float]] = {
    key: bounds
    for keys, bounds in (
        (("EXPTIME", "EXPOSURE", "EXP"), (0, 1e6)),
        (("GAIN", "OFFSET", "BLKLEVEL", "BLKLEVELG"), (0, 1e6)), (("ISOSPEED", "ISO"), (0, 1e8)),
        (ELECTRONS, (1e-6, 1e6)), (("RDNOISE", "READNOIS", "RON", "ENOISE"), (1e-4, 1e5)),
        (("SATURATE", "SATLEVEL", "MAXADU"), (1e-6, 1e12)), (("PEDESTAL",), (-1e7, 1e7)),
        (("BZERO", "BSCALE"), (-1e30, 1e30)), ((*TEMPERATURE, *SET_TEMPERATURE), (-1000, 1000)),
        (tuple(key for pair in BINNING for key in pair if key), (1, 64)), (PIXEL, (0.1, 1000)),
        (("FOCALLEN", "FOCAL"), (1, 1e6)), (("FLENGTH",), (1e-3, 1e6)), ((*ROTATOR, *ANGLE_ON_SKY), (-1e4, 1e4)),
        (TOTAL_EXPOSURE, (0, 1e8)), (("XORGSUBF", "YORGSUBF", "XBAYROFF", "YBAYROFF"), (-1e6, 1e6)),
        (COUNTS, (1, 1e6)), (FOCUSER, (-1e9, 1e9)),
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


def read_header(header: Mapping, source: str = "", shape: tuple[int, ...] = ()) -> dict:
    """The fields of a `Meta` from a header, a file name and the shape of the pixels."""
    notes: list[str] = []
    cards = believable(header, notes)
    binning = binning_of(cards)
    meta: dict[str, Any] = {name: text(cards, *keys) for name, keys in TEXTS.items()} | {"filter": filter_of(cards)}
    meta["program"], meta["exposure_s"] = program_of(cards), exposure_of(cards)
    if meta["exposure_s"] == 0 and exposure_in_name(source):
        meta["exposure_s"] = None  # which is read from the name below
        notes.append("an exposure of 0 s is not believed")
    meta |= verdict_of(cards, source, meta["exposure_s"], notes, meta["program"] or "")._asdict()
    meta |= {
        "offset": positive(number(cards, "OFFSET", "BLKLEVEL", "BLKLEVELG"), zero=True),
        **temperatures_of(cards, notes),
        "binning": binning or (1, 1), "pixel_um": pixel_of(cards, binning),
        "origin_px": tuple(int(number(cards, key) or 0) for key in ("XORGSUBF", "YORGSUBF")),
        "focal_mm": focal_of(cards), "rotator_deg": rotator_of(cards), "focuser_steps": number(cards, *FOCUSER),
        "time": time_of(cards, notes), "pedestal_dn": pedestal_of(cards, notes),
        "saturation_dn": saturation_of(cards),
        "contains_bias": truth(cards.get("CALBIAS")),
        "bits": bits_of(cards),
        "integer": (number(cards, "BITPIX") or 16) > 0,
        "read_noise_e": positive(number(cards, "RDNOISE", "READNOIS", "RON", "ENOISE")),
        "pattern": pattern_of(cards, shape, notes), "shape": tuple(shape),
    }  # fmt: skip
    meta["scale_claims"] = () if meta["integer"] else scale_claims(cards, meta["program"])
    meta["calibration"], meta["stages"] = processing_of(cards, source, meta["integer"], notes)
    meta["overscan_px"], meta["data_px"] = sections_of(cards, shape, notes)
    meta["gain"], meta["gain_e_per_dn"] = gain_of(cards, notes)
    meta["unit"] = unit_of(cards)
    if meta["unit"] not in (None, "DN"):
        notes.append(f"the pixels are in '{meta['unit']}' (BUNIT), and so is what figures call DN")
        per_unit = {"electron": 1.0, "electron/s": positive(meta["exposure_s"])}
        meta["gain_e_per_dn"] = per_unit.get(meta["unit"], meta["gain_e_per_dn"])
    meta["ra_deg"], meta["dec_deg"] = pointing_of(cards)
    guess_from_name(meta, source, notes, binned=binning is not None)
    meta |= place_of(cards, meta, seconds_of(meta["time"]))
    meta["frames"] = frames_of(cards, source, meta)
    notes = [note if len(note) < 250 else f"{note[:247]}..." for note in notes]
    return meta | {"is_master": meta["is_master"] or meta["frames"] > 1, "notes": tuple(notes)}


def believable(header: Mapping, notes: list[str]) -> dict[str, Any]:
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
    for key in [key for key in BOUNDS if key in cards]:
        value, (low, high) = as_number(cards[key]), BOUNDS[key]
        odd = isinstance(cards[key], float) and not math.isfinite(cards[key])
        if odd or not (value is None or value in UNKNOWN or low <= value <= high):
            notes.append(f"{key} is '{cards[key]}', which is not believed")
            del cards[key]
    return cards


def frames_of(cards: Mapping, source: str, meta: Mapping) -> int:
    """How many exposures were combined: by a count, by a total of exposure far above one, or by the name of a light.

    Telescopes that stack by themselves call what they make a light too, and keep the exposure of one frame in EXPTIME.
    """
    told = stack_count(cards)  # some programs number exposures by SNAPSHOT
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
        pair = [as_number(part) for part in re.split(r"[x*,\s]+", str(cards.get(key_x)).lower().strip())]
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


def temperatures_of(cards: Mapping, notes: list[str]) -> dict[str, float | None]:
    """Sensor temperature and that of the cooler, in Celsius; the set point stands in when nothing was measured."""
    told = {key: celsius(cards.get(key)) for key in (*TEMPERATURE, *SET_TEMPERATURE) if key in cards}
    measured, wanted = (
        next((told[key] for key in keys if told.get(key) is not None), None) for keys in (TEMPERATURE, SET_TEMPERATURE)
    )
    kelvins = [key for key, value in told.items() if value is not None and value != as_number(cards[key])]
    if kelvins:
        notes.append(f"{' and '.join(kelvins)}: kelvins; 273.15 is subtracted for degrees Celsius")
    both = {"temperature_c": wanted if measured is None else measured, "set_temperature_c": wanted}
    if wanted is not None and measured is None:
        notes.append(f"only the set point of the cooler is known ({wanted:g} °C), not the temperature of the sensor")
    elif wanted is not None and measured is not None and abs(measured - wanted) > 1:
        notes.append(f"the sensor was at {measured:.1f} °C, the cooler was set to {wanted:g} °C")
    return both


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


def rotator_of(cards: Mapping) -> float | None:
    """Where the rotator stood, in degrees; from an angle on the sky only up to half a circle."""
    told, on_sky = number(cards, *ROTATOR), number(cards, *ANGLE_ON_SKY)
    return told if told is not None else on_sky % 180 if on_sky is not None else None


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


def time_of(cards: Mapping, notes: list[str]) -> str | None:
    """Start of the exposure as ISO UTC with milliseconds."""
    day = as_number(cards.get("JD"))
    if day is None or not 2.4e6 < day < 2.6e6:
        mjd = as_number(cards.get("MJD-OBS"))
        day = mjd + 2400000.5 if mjd is not None and 1e4 < mjd < 2e5 else None
    by_day = datetime(2000, 1, 1, 12) + timedelta(days=day - 2451545.0) if day is not None else None
    clock = text(cards, "TIME-OBS", "UT", "UTSTART", "UTC")
    told = as_time(text(cards, "DATE-OBS"), clock)
    when = next((t for key in ("DATE-BEG", "DATE-AVG") if (t := told or as_time(text(cards, key), None))), told)
    if when is None and clock:
        when = as_time(text(cards, "DATE"), clock)
    if when is None and by_day is None and (when := as_time(text(cards, "DATE-LOC"), None)):
        notes.append("only the local time is known (DATE-LOC); it tells the night")
    if when and by_day and timedelta(minutes=25) < abs(when - by_day) < timedelta(hours=15):
        notes.append("DATE-OBS is local time; the Julian date is used instead")
        when = by_day
    when = when or by_day
    if when and not YEARS[0] <= when.year <= YEARS[1]:
        notes.append(f"the time '{when.isoformat()}' is not believed")
        return None
    return when.isoformat(timespec="milliseconds") if when else None
