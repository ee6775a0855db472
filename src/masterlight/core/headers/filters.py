"""Which filter a header names: under which keywords, in which of several wheels, and what is no filter at all."""

import re
from collections.abc import Mapping

from masterlight.core.headers.values import as_number, text

NAMED = (
    "FILTER", "INSFLNAM", "FILTNAM", "FILTNAME", "FILTERID", "FILTID", "FILTNM", "FILTERNM", "FLTRNM", "FLTRNAME",
    "FLTNAME", "FLT_NAME", "FILTRE", "INSFILTE", "WFFBAND", "PFMFNAME", "JAGFBAND", "FILTBAND", "CCDFLTID", "FILTERS",
)  # fmt: skip
"""Keywords of cameras with one filter at a time, as capture programs and observatories call it."""

WHEELS = (
    ("FILTER1", "FILTER2", "FILTER3", "FILTER4"), ("FILTER01", "FILTER02", "FILTER03"), ("FILT1", "FILT2"),
    ("FILT-1", "FILT-2"), ("FILTNAM1", "FILTNAM2"), ("FILTER_A", "FILTER_B"), ("ALFLTNM", "FAFLTNM", "FBFLTNM"),
    ("ACAMWH1", "ACAMWH2"), ("INGF1NAM", "INGF2NAM"), ("LIRF1NAM", "LIRF2NAM"),
    tuple(f"ESO INS FILT{wheel} NAME" for wheel in range(1, 5)),
)  # fmt: skip
"""Keywords of wheels one behind the other."""

EMPTY = re.compile(r"(?i)(open|empty|air|hole|free|clear|no[-_ ]?filt(er)?)[-_ ]?(slot|position|\d{0,2})[ls]?")
"""A place of a wheel without a filter, or with plain glass."""

BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")


def filter_of(cards: Mapping) -> str | None:
    """The filter as the header spells it, several as V+ND3; places without a filter count when there is nothing else.

    A number is where the wheel stood and a pattern of colours that of the sensor: names go before numbers.
    """
    names = [word for key in NAMED if key in cards and (word := text(cards, key)) and word.upper() not in BAYER]
    for word in names:
        parts = re.split(r"\s*[;,|+]\s*", word)
        real = [part for part in parts if not EMPTY.fullmatch(part)]
        if real and as_number(word) is None:
            return word if len(real) == len(parts) else "+".join(real)
    wheels = [[word for key in keys if key in cards and (word := text(cards, key))] for keys in WHEELS]
    for wheel in wheels:
        real = [word for word in dict.fromkeys(wheel) if not EMPTY.fullmatch(word) and as_number(word) is None]
        if real:
            return "+".join(real)
    return next((word for words in (names, *wheels) for word in words), None)


def pattern_in_filter(cards: Mapping) -> str | None:
    """The colour pattern of a sensor that a program wrote into FILTER; None where there is a filter."""
    word = (text(cards, "FILTER") or "").upper()
    return word if word in BAYER else None
