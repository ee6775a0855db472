"""`Match`, one `[[match]]` of a recipe: which masters some lights or flats take, whatever would be chosen for them."""

import os
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from glob import iglob
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from masterlight.core.errors import ParameterError
from masterlight.core.headers.names import object_key, same_filter
from masterlight.core.knob import Usual
from masterlight.core.process import process

if TYPE_CHECKING:
    from masterlight.core.frame import Frame

NONE = "none"
"""What stands for no master at all."""
NEEDS = {"light": ("flat", "dark", "bias"), "flat": ("dark", "bias")}
"""What lights and flats may take, and so which knobs are for whom."""
SERVES = {"flat": ("flat",), "dark": ("dark", "flatdark"), "bias": ("bias",)}
"""The kinds of frames that a knob may name."""
GLOB = set("*?[~")
"""Letters that names of targets and filters do not have."""
Words = Annotated[str | None, Usual("the best")]
Split = Literal["auto", "nothing", "binning", "instrument"]
"""What lights of one target and filter can be kept apart by."""


@process
class Match:
    """Give some lights, or some flats, the masters that you say, in place of the best that is found.

    Frames are named by a glob on their paths, by a folder, by their target, their filter, or both: `M51/V/*`, `M 51`,
    `Ha`, `M 51 Ha`. The word none stands for no master.
    """

    lights: Annotated[str | None, Usual("no lights")] = None
    """Lights that this is for."""
    flats: Annotated[str | None, Usual("no flats")] = None
    """Flats that this is for, and what is taken out of them."""
    flat: Words = None
    """Flats that these lights are divided by, or none."""
    dark: Words = None
    """Darks, or for flats their flat-darks, that are subtracted, or none."""
    bias: Words = None
    """Bias frames that are subtracted, where the dark does not hold the bias, or none."""

    def __post_init__(self) -> None:
        if (self.lights is None) == (self.flats is None):
            raise ParameterError("lights: say which lights this is for, or with flats which flats, one of both")
        if self.flat is not None and self.flats is not None:
            raise ParameterError("flat: is for lights; what is taken out of flats are dark and bias")
        if self.flat is self.dark is self.bias is None:
            kind = self.of[0]
            raise ParameterError(f"{kind}s: say with {', '.join(NEEDS[kind])} what these shall take, or none")

    @property
    def of(self) -> tuple[str, str]:
        """The kind of frames that it is for, and which of them."""
        return ("light", self.lights) if self.lights is not None else ("flat", str(self.flats))

    def words(self, need: str) -> str | None:
        """Which frames shall serve as a flat, dark or bias; None where it does not say."""
        words: str | None = getattr(self, need)
        return words


def match_of(words: Any) -> Any:
    """A `Match` as it is typed: `lights=M51/V/*; flat=library/2026-03/*`."""
    if not isinstance(words, str):
        return words
    parts = [part.partition("=") for part in words.split(";") if part.strip()]
    if not parts or not all(equals for _, equals, _ in parts):
        raise ValueError(f"'{words}' is no match; write it as lights=GLOB; flat=GLOB")
    return {name.strip(): value.strip() for name, _, value in parts}


def several(given: Any) -> Any:
    """One match for a list of one."""
    return (given,) if isinstance(given, (str, Mapping, Match)) else given


Matches = Annotated[tuple[Annotated[Match, BeforeValidator(match_of)], ...], BeforeValidator(several)]


@cache
def under(folder: str, words: str) -> bool:
    """Whether a file or folder, or one that it lies in, has this name, or fits this glob."""
    words = os.path.expanduser(words)
    wanted = os.path.abspath(words) if words.startswith(("..", ".")) else words
    path = PurePath(os.path.abspath(folder))
    return any(one.match(wanted) for one in (path, *path.parents) if one.name)


def selects(words: str, frame: "Frame") -> bool:
    """Whether these words mean this frame: by its path, its target, its filter, or target and filter."""
    target, filter_ = frame.meta.object or "", frame.meta.filter or ""
    names = {object_key(target), object_key(f"{target} {filter_}") if "/" not in words else ""} - {""}
    by_name = not GLOB & set(words) and (object_key(words) in names or same_filter(words, filter_) is True)
    return by_name or under(os.path.dirname(frame.source), words) or PurePath(frame.source).match(words)


def mark(matches: Sequence[Match], kind: str, frame: "Frame") -> Hashable:
    """Which words of a recipe mean a frame of this kind: frames for which these differ are never one group."""
    found = []
    for one in matches:
        target, words = one.of
        found += [kind == target and selects(words, frame)]
        told = [one.words(need) for need in NEEDS[target] if kind in SERVES[need]]
        found += [selects(words, frame) for words in told if words not in (None, NONE)]
    return tuple(found)


def told_of(matches: Sequence[Match], need: str, target: str, frame: "Frame") -> tuple[int, str] | None:
    """(which match, its words) of the first that says what shall serve a frame; None where none does."""
    for number, one in enumerate(matches, 1):
        kind, words = one.of
        if kind == target and need in NEEDS[kind] and (told := one.words(need)) and selects(words, frame):
            return number, told
    return None


def check_matches(matches: Sequence[Match], frames: Mapping[str, Sequence["Frame"]]) -> None:
    """Raise ParameterError for words that mean no frame at all, or none of the kind that is wanted."""
    for number, one in enumerate(matches, 1):
        target, words = one.of
        check_words(f"Recipe.match {number}: {target}s", words, (target,), frames)
        for need in NEEDS[target]:
            if (told := one.words(need)) not in (None, NONE):
                check_words(f"Recipe.match {number}: {need}", str(told), SERVES[need], frames)


def check_words(name: str, words: str, kinds: Sequence[str], frames: Mapping[str, Sequence["Frame"]]) -> None:
    """Raise ParameterError where words mean no frame of these kinds."""
    met = {kind: [frame for frame in some if selects(words, frame)] for kind, some in frames.items()}
    if any(met[kind] for kind in kinds):
        return
    others = [f"{len(some)} of kind {kind} ({PurePath(some[0].source).name} ...)" for kind, some in met.items() if some]
    if others:
        raise ParameterError(f"{name} = '{words}' means no {' or '.join(kinds)} frame, but {', '.join(others)}")
    if next(iglob(os.path.expanduser(words)), None):
        knob = f"Recipe.{kinds[0]}_dir"
        raise ParameterError(f"{name} = '{words}' is outside the folders that were looked at; give it with {knob} too")
    there = sorted({os.path.dirname(frame.source) or "." for kind in kinds for frame in frames[kind]})
    where = f"there are some in {', '.join(there[:2])}{' ...' * (len(there) > 2)}" if there else "there are none at all"
    raise ParameterError(f"{name} = '{words}' means no {kinds[0]} frame of those that were found; {where}")
