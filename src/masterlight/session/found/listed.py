"""Lists of files: `@approved.txt` names the lights that shall be used, as `masterlight subframes --list` writes it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import Frame
from masterlight.io.plain import open_regular, reading

SIGN = "@"
MOST_BYTES = 1 << 25
ANY_LIGHT = "light", "unknown"
"""Kinds of frames that a list chooses among; calibration frames beside them are taken as ever."""


@dataclass(frozen=True)
class Listed:
    """The files that lists name, and where else to look."""

    roots: tuple[str, ...]
    """Folders and files that were given besides."""
    files: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    def chosen(self, frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
        """The frames without lights that no list names, where there is any list; and a sentence on those. A folder in a
        list stands for all that is in it."""
        if not self.lists:
            return list(frames), []
        places = {os.path.realpath(path) for path in self.files}
        folders = tuple(os.path.join(place, "") for place in places if os.path.isdir(place))
        real = [os.path.realpath(frame.source) for frame in frames]
        kept = [
            f for f, place in zip(frames, real, strict=True)
            if f.meta.kind not in ANY_LIGHT or place in places or place.startswith(folders)
        ]  # fmt: skip
        lost = len(frames) - len(kept)
        if not lost:
            return kept, []
        count = sum(frame.meta.kind in ANY_LIGHT for frame in kept)
        return kept, [f"{count} of {count + lost} lights are used: those that {' and '.join(self.lists)} names"]


def lists_among(given: Sequence[str]) -> Listed:
    """Part what was given into lists of files, told by the sign @ before their names, and all else."""
    lists = [one for one in given if one.startswith(SIGN) and not os.path.lexists(one)]
    files = [path for one in lists for path in listed_files(one.removeprefix(SIGN))]
    return Listed(tuple(one for one in given if one not in lists), tuple(files), tuple(one[1:] for one in lists))


def listed_files(path: str) -> list[str]:
    """The files that a list names, one a line; relative ones as seen from its folder. `#` begins a remark.

    ParameterError for a list that cannot be read or names no file.
    """
    try:
        with reading(path), open_regular(path) as file:
            content = file.read(MOST_BYTES)
    except FrameError as error:
        raise ParameterError(f"{SIGN}{error}: give a list of names as `masterlight subframes` writes it") from None
    if b"\0" in content:
        raise ParameterError(f"{SIGN}{path} is no list of files but an image or the like; leave out the {SIGN}")
    lines = [line.strip() for line in content.decode("utf-8-sig", "surrogateescape").split("\n")]
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise ParameterError(f"{SIGN}{path} names no file: is no frame approved?")
    return [os.path.join(os.path.dirname(path), os.path.expanduser(name)) for name in names]


def line_of(name: str) -> str:
    """A name as a list has it: one that begins as a remark, a home folder or a blank does is seen from its folder."""
    return os.path.join(os.curdir, name) if name.startswith(("#", "~")) or name[:1].isspace() else name
