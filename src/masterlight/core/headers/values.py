"""Values of a header as we need them: words, numbers, angles and moments from whatever programs write."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

CLOCK = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,](\d+))?)?\s*(Z|[-+]\d\d:?\d\d)?")

SILENT = {"", "unknown", "none", "n/a", "na", "null", "undefined", "not set", "no filter", "-", "--"}


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


def celsius(value) -> float | None:
    """A temperature that a sensor can have, in Celsius; programs write 999 and -273 for one that they do not know.

    Observatories write kelvins: what has this unit, and what is so much that it cannot be in Celsius, is.
    """
    degrees = as_number(value)
    if degrees is None:
        return None
    kelvins = 100 <= degrees <= 330 or bool(re.fullmatch(r"\s*[\d.,]+\s*K(elvins?)?\s*", str(value)))
    if kelvins:
        return round(degrees - 273.15, 6) if degrees >= 50 else None
    return degrees if -150 < degrees < 80 else None


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


def middle_s(header: Mapping[str, object], start: str | None, exposure_s: float | None) -> float | None:
    """The middle of an exposure as seconds since 1970: DATE-AVG where that lies within it, else half of it after its
    start; None without a time."""
    average, begin = as_time(str(header.get("DATE-AVG") or ""), None), seconds_of(start)
    told = None if average is None else average.replace(tzinfo=UTC).timestamp()
    if begin is None or exposure_s is None:
        return told or begin
    if told is not None and abs(told - begin) < 1e-3 and not header.get("DATE-OBS"):  # the start is not told at all
        return told
    inside = told is not None and 0 < told - begin < exposure_s
    return told if inside else begin + exposure_s / 2
