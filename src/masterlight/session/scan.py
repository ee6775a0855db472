"""What lies in a folder: `scan(folder)` -> Session. Only headers are read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.workers import each, executor
from masterlight.io import read
from masterlight.session.folders import search


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


def scan(where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Session:
    """Open every image in a folder and below, or those of a list of files and folders; only headers are read.

    Hidden folders and the results of earlier runs are passed over; what cannot be read becomes a `Rejected`.
    """
    roots = [where] if isinstance(where, (str, os.PathLike)) else list(where)
    walked = search(map(os.fspath, roots))
    paths = unique(walked.images)
    with executor("threads:8") as pool:
        found = {event.item: event.result for event in each("scan", pool, read, paths)}
    results = [found[path] for path in paths]
    name = ", ".join(str(root) for root in roots[:3]) + (" ..." if len(roots) > 3 else "")
    frames, rejected = (tuple(one for one in results if isinstance(one, kind)) for kind in (Frame, Rejected))
    return Session(name, frames, rejected, walked.sentences(), walked.notes(), walked.unseen())


def unique(paths: Iterable[str]) -> list[str]:
    """Each file once, under its own name where a link leads to it as well."""
    known: dict[str, str] = {}
    for path in paths:
        place = os.path.realpath(path)
        if place not in known or not os.path.islink(path):
            known[place] = path
    return list(known.values())
