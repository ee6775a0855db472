"""What lies in a folder: `scan(folder)` -> Session. Only headers are read."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.workers import each, executor
from masterlight.io import read
from masterlight.session.found.folders import of_kind, places_of, without_mixed
from masterlight.session.found.listed import lists_among
from masterlight.session.found.search import search


@dataclass(frozen=True)
class Session:
    """The frames that were found, in order of their paths, and the files that could not be opened."""

    name: str
    frames: tuple[Frame, ...]
    rejected: tuple[Rejected, ...] = ()
    passed: tuple[str, ...] = ()
    """Sentences on files that may hold images and are not read."""
    notes: tuple[str, ...] = ()
    """Sentences on the folders: links that were followed, and what holds no image."""
    unseen: tuple[str, ...] = ()
    """What was not looked at, counted."""


def scan(
    where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    kind_dirs: Mapping[str, Sequence[str]] | None = None,
) -> Session:
    """Open every image in a folder and below, or those of a list of files and folders; only headers are read.

    Hidden folders and the results of earlier runs are passed over; what cannot be read becomes a `Rejected`. Where
    `@approved.txt` is among them, the files that this list names are opened, and no other lights are in the session.
    kind_dirs: folders and patterns whose frames are of one kind for good, as `Recipe.kind_dirs` has them; they are
    opened too. Raises ParameterError for one that is not there.
    """
    given = [where] if isinstance(where, (str, os.PathLike)) else list(where)
    listed = lists_among([os.fspath(one) for one in given])
    roots = listed.roots
    places = places_of(kind_dirs or {}, roots[0] if len(roots) == 1 else "")
    walked = search([*roots, *listed.files])
    paths, knobs, empty = unique(walked.images), dict[str, str](), list[str]()
    for place, knob in places.items():
        beside = search([place])
        inside = unique(beside.images)
        paths |= {real: path for real, path in inside.items() if real not in paths}
        knobs |= dict.fromkeys(inside, knob)
        empty += [] if inside else [f"Recipe.{knob}: there is no image in {place}"]
        if os.path.realpath(place) not in walked.known:
            walked.add(beside)
    with executor("threads:8") as pool:
        found = {event.item: event.result for event in each("scan", pool, read, list(paths.values()))}
    results = without_mixed([of_kind(found[path], knobs.get(real)) for real, path in paths.items()])
    name = ", ".join(map(str, given[:3])) + (" ..." if len(given) > 3 else "")
    frames, rejected = ([one for one in results if isinstance(one, kind)] for kind in (Frame, Rejected))
    frames, told = listed.chosen(frames)
    notes = (*walked.notes(), *told)
    return Session(name, tuple(frames), tuple(rejected), (*walked.sentences(), *empty), notes, walked.unseen())


def unique(paths: Iterable[str]) -> dict[str, str]:
    """Each file once, by where it really lies, under its own name where a link leads to it as well."""
    known: dict[str, str] = {}
    for path in paths:
        place = os.path.realpath(path)
        if place not in known or not os.path.islink(path):
            known[place] = path
    return known
