"""Copies of approved frames, each with its weight in the header; samples stay as they are where the file is FITS."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from masterlight.core.errors import OutputError, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.workers import Event, Events, each, executor
from masterlight.io import FITS, FORMATS, copy_with, suffix, whole_numbers, write
from masterlight.io import header_cards as header_of
from masterlight.io.fits.cards import STRUCTURE, Cards, card_text
from masterlight.io.whole import make_folder
from masterlight.night.products import check_out, untaken
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.weights import RELATED

STAGE = "subframes"
FIGURES = {
    "SSFWHM": ("FWHM", "width of its stars"), "SSECC": ("Eccentricity", "elongation of its stars"),
    "SSNOISE": ("Noise", "noise of a pixel"), "SSSTARS": ("Stars", "stars found"),
    "SSSNR": ("SNRWeight", "(MedianMeanDev / Noise)^2"),
}  # fmt: skip
"""Figures of a frame that its copy tells: columns of the table, in its units, and what they are."""
SCHEME, UNITS = "SSWSCHM", "SSUNITS"
"""By what weights were made, and the units of the figures."""
LONGEST = 44
"""Letters of a keyword that leave room for a double of 24 in a card of 80."""


def check_keyword(keyword: str, frames: Sequence[Frame]) -> None:
    """Raise where a keyword cannot hold a weight, or holds something else already."""
    if card_text(keyword.upper(), 1.0) is None or len(keyword) > LONGEST:
        raise ParameterError(
            f"keyword= {keyword}: FITS has letters, digits, - and _ in keywords, {LONGEST} at most: choose another"
        )
    if keyword.upper() in (*FIGURES, SCHEME, UNITS):
        raise ParameterError(
            f"keyword= {keyword}: copies tell something else under it; choose another, such as SSWEIGHT"
        )
    if STRUCTURE.fullmatch(keyword.upper()):
        raise ParameterError(f"keyword= {keyword}: by this FITS reads pixels; choose another, such as SSWEIGHT")
    for frame in frames:
        value = keywords_of(frame).get(keyword.upper())
        if value is not None and not RELATED.search(keyword):
            words = f"is {value!r:.40} in {frame.source}, which is no weight"
            raise ParameterError(f"keyword= {keyword}: {words}; choose another, such as SSWEIGHT")


def copy_paths(frames: Sequence[Frame], folder: Path, prefix: str, postfix: str, overwrite: bool) -> dict[str, Path]:
    """Where the copy of each frame goes; raises where one exists and may not be replaced, or is a frame itself."""
    check_out(folder)
    if bad := next((words for words in (prefix, postfix) if Path(f"x{words}").name != f"x{words}"), None):
        raise ParameterError(f"'{bad}' before or behind the names of copies would lead to another folder")
    paths: dict[str, Path] = {}
    for frame in frames:
        name = Path(frame.source).name
        end = suffix(name, FORMATS) or Path(name).suffix
        kept = end if suffix(name, FITS) and not end.endswith(".gz") else ".fits"
        path = untaken(folder, f"{prefix}{name[: len(name) - len(end)]}{postfix}", kept, paths.values())
        paths[frame.source] = path
    inputs = {os.path.realpath(frame.source) for frame in frames}
    for path in paths.values():
        if os.path.realpath(path) in inputs:
            raise OutputError(f"{path} is one of the frames to work on; give postfix= or another folder")
        if os.path.lexists(path) and not overwrite:
            raise OutputError(f"{path} exists; choose another folder, or pass overwrite=True")
    return paths


def write_copies(
    night: Subframes, frames: Sequence[Frame], paths: Mapping[str, Path], keyword: str, told: Sequence[str]
) -> Events[None]:
    """Copy the approved frames, the weight of each under this keyword, and what was `told` to weigh them as HISTORY."""
    approved, opened = list(night.approved), {frame.source: frame for frame in frames}
    if not approved:
        yield Event(STAGE, message="no frame is approved, so nothing was copied")
        return
    folder = next(iter(paths.values())).parent
    make_folder(folder)

    measured, scheme = figure_cards(night.approved), scheme_of(night, told)
    asked = bool(night.weight) or len(told) > 1  # a weight of before stands for another choice then

    def task(one: Subframe) -> None:
        known = None if one.weight is None else scheme
        weighed = {keyword: (one.weight, "weight of this frame"), SCHEME: (known, "hash of what made the weight")}
        cards = measured[one.source] | (weighed if asked else {})
        write_copy(opened[one.source], paths[one.source], cards, told)

    with executor() as pool:
        for event in each("copy", pool, task, approved):
            lost = isinstance(event.result, Rejected)
            if lost:
                approved = [one for one in approved if one is not event.item]
            yield replace(event, item=event.item.source, message=f"rejected {event.result}" if lost else "")
    others = [one.source for one in approved if not suffix(one.source, FITS)]
    if others:
        yield Event(STAGE, message=f"{len(others)} files that are no FITS were written as FITS, such as {others[0]}")
    before = set() if asked else {f.source for f in frames if keyword in keywords_of(f)}
    if weightless := [one.source for one in approved if one.weight is None and one.source not in before]:
        words = f"hold no weight, such as that of {weightless[0]}: SubframeSelector.weight gives them one"
        yield Event(STAGE, message=f"{len(weightless)} of the copies {words}")
    if not approved:
        return
    words = "" if len(weightless) == len(approved) else f", weights in {keyword}"
    yield Event(STAGE, message=f"{len(approved)} copies of the approved in {folder}{words}")


def figure_cards(night: Subframes) -> dict[str, Cards]:
    """What was measured of each frame, as cards of its copy by source; a figure that is not known has no card."""
    columns = {key: night.column(name) for key, (name, _) in FIGURES.items()}
    units = f"{night.units.name('width')},{night.units.name('level') or night.units.data}"
    cards: dict[str, Cards] = {}
    for i, frame in enumerate(night):
        own = {key: (float(column[i]) if np.isfinite(column[i]) else None) for key, column in columns.items()}
        told = {key: (value, comment_of(night, key)) for key, value in own.items()}
        stars = own["SSSTARS"]
        told["SSSTARS"] = (None if stars is None else round(stars), told["SSSTARS"][1])
        cards[frame.source] = {**told, UNITS: (units, "units of SSFWHM and of SSNOISE")}
    return cards


def comment_of(night: Subframes, key: str) -> str:
    """What a figure is, with its unit."""
    name, words = FIGURES[key]
    unit = night.unit_of(name)
    return f"[{unit}] {words}" if unit else words


def scheme_of(night: Subframes, told: Sequence[str]) -> str:
    """16 letters that are the same where weights were made alike: of the formula without blanks, or of what was `told`
    beside the knobs."""
    words = Expression(night.weight).text if night.weight else " ".join(told[1:])
    words += f" over {night.stats_over}" if night.stats_over != "all" else ""
    return hashlib.sha256("".join(words.split()).encode()).hexdigest()[:16]


def write_copy(frame: Frame, path: Path, cards: Cards, told: Sequence[str]) -> None:
    """One copy with cards in its header; of a file that is no FITS, its pixels as FITS."""
    source: str | Path = frame.source
    if not suffix(source, FITS):
        pixels = np.asarray(frame)
        whole = frame.meta.integer and frame.meta.scaled_by == 1 and bool(np.all(pixels == np.rint(pixels)))
        made = whole_numbers(pixels) if whole else pixels
        write(path, made, header_of(frame), frame.cards, bottom_up=frame.meta.bottom_up)
        source = path
    copy_with(source, path, cards, told)
