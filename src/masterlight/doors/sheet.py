"""A table of subframes on a terminal: one group of frames after the other, as many columns as there is room for."""

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from os.path import commonprefix
from pathlib import PurePath
from string import ascii_letters, digits

import numpy as np

from masterlight.session.words import how_many, visible
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.formula.variables import PROPERTIES

USUAL = (
    "FWHM", "Eccentricity", "Weight", "Price", "Stars", "Transparency", "Noise", "Median", "SNRWeight",
    "PSFSignalWeight",
)  # fmt: skip
"""Columns in the order in which they are wanted."""
SHORT = {"arcsec": '"'}
"""Units that heads have no room for."""
LEAST_NAME, MOST_NAME = 18, 60
"""Letters of a file name that are shown at least and at most; its middle goes first."""
MOST_DECIMALS = 8
LEFT_OUT, BY_HAND = "x", "*"
"""Marks before the name of a frame that is not approved, and of one that was marked by hand."""


def sheet(night: Subframes, columns: int, wanted: Sequence[str] = ()) -> list[str]:
    """The lines of a table, at most so many columns wide; `wanted` properties come first."""
    names = [name for name in dict.fromkeys((*wanted, *USUAL)) if np.isfinite(night.column(name)).any()]
    lines: list[str] = []
    hidden: dict[str, None] = {}
    for group, frames in night.groups.items():
        head = textwrap.wrap(f"{visible(group)}: {tally(frames)}", columns, subsequent_indent="  ")
        rows, without = rows_of(frames, names, columns)
        lines += [*head, *rows, ""]
        hidden |= dict.fromkeys(without)
    lines = lines[:-1] if len(night.groups) < 2 else [*lines, f"all together: {tally(night)}"]
    words = f"no room for {', '.join(hidden)}: a wider window shows more, a table in a file all"
    return [*lines, *textwrap.wrap(words, columns)] if hidden else lines


def tally(frames: Subframes) -> str:
    """How many frames there are, and how many of them are approved."""
    count = len(frames.approved)
    return f"{how_many(len(frames), 'frame')}, {'all' if count == len(frames) else count or 'none'} approved"


def rows_of(frames: Subframes, names: Sequence[str], columns: int) -> tuple[list[str], list[str]]:
    """Heads and rows of one group, and the columns that had no room.

    Below each frame that is left out stands the reason, below others what is odd.
    """
    units = {name: SHORT.get(unit := frames.unit_of(name), unit) for name in names}
    heads = {name: f"{name} {units[name]}".strip() for name in names}
    figures = {heads[name]: cells_of(frames, name) for name in names}
    files = names_of([frame.source for frame in frames])
    widths = {head: max(len(head), *map(len, cells)) for head, cells in figures.items()}
    room = columns - 4
    taken: list[str] = []
    for head in figures:  # those that fit beside a name
        if sum(widths[one] + 2 for one in (*taken, head)) + LEAST_NAME <= room:
            taken.append(head)
    wide = max(1, min(max(4, *map(len, files)), MOST_NAME, room - sum(widths[head] + 2 for head in taken)))
    lines = [f"    {'file':{wide}}" + "".join(f"  {head:>{widths[head]}}" for head in taken)]
    files = told_apart(files, wide)
    for i, frame in enumerate(frames):
        cells = "".join(f"  {figures[head][i]:>{widths[head]}}" for head in taken)
        lines.append(f"{mark_of(frame)} {files[i]:{wide}}{cells}".rstrip())
        for words in (*frame.reasons, *(flag.words for flag in frame.flags if flag.words not in frame.reasons)):
            lines += textwrap.wrap(visible(words), columns, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return lines, [name for name in names if heads[name] not in taken]


def names_of(sources: Sequence[str]) -> list[str]:
    """Names of files as the screen shows them; with their folder where several have one name."""
    names = Counter(PurePath(source).name for source in sources)
    parts = [PurePath(source).parts[-1 if names[PurePath(source).name] < 2 else -2 :] for source in sources]
    return [visible("/".join(each)) for each in parts]


def mark_of(frame: Subframe) -> str:
    """What stands before a name: whether it is left out, and whether a hand decided so."""
    return f" {'' if frame.approved else LEFT_OUT}{BY_HAND if frame.locked else ''}".ljust(3)


def cells_of(frames: Subframes, name: str) -> list[str]:
    """A column as the screen shows it, all with the same decimals; a dash where a figure is not known."""
    values = frames.column(name)
    form = PROPERTIES[name].form if name in PROPERTIES else ".4g"
    if form.endswith("g"):  # so many digits of the usual value
        usual = float(np.nanmedian(np.abs(values))) if np.isfinite(values).any() else 0.0
        places = int(form[1:-1]) - 1 - (math.floor(math.log10(usual)) if usual > 0 else 0)
        form = f".{max(places, 0)}f" if places < MOST_DECIMALS else f".{form[1:-1]}g"
    return [format(x, form) if np.isfinite(x) else "-" for x in values]


def told_apart(names: Sequence[str], most: int) -> list[str]:
    """Names of at most so many letters each, different from each other if they were: where the middle tells them apart,
    what all have at the end goes, or what they have in common at both ends."""
    start, end = len(commonprefix(names)), commonprefix([name[::-1] for name in names])[::-1]
    end = end.lstrip(ascii_letters + digits)  # a number stays whole
    bare = [f"{name.removesuffix(end)}.." if len(end) > 2 else name for name in names]
    inner = [f"..{name[max(start - 2, 0) :]}" if start > 4 else name for name in bare]
    for tried in (names, bare, inner):
        short = [shortened(name, most) for name in tried]
        if len(set(short)) == len(set(names)):
            return short
    return [shortened(name, most) for name in names]


def shortened(name: str, most: int) -> str:
    """A name without its middle where it is too long: what tells frames apart mostly stands at the end."""
    if len(name) <= most:
        return name
    head = (most - 2) // 3
    return f"{name[:head]}..{name[len(name) - (most - 2 - head) :]}"
