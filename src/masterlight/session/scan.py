"""What lies in a folder: `scan(folder)` -> Session. Only headers are read."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.workers import each, executor
from masterlight.io import PICTURE, is_supported, other_kind, read


@dataclass(frozen=True)
class Session:
    """The frames that were found, in order of their paths, and the files that could not be opened."""

    name: str
    frames: tuple[Frame, ...]
    rejected: tuple[Rejected, ...] = ()
    passed: tuple[str, ...] = ()
    """Sentences on files that may hold images and are not read."""


def scan(where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Session:
    """Open every image in a folder and below, or those of a list of files and folders; only headers are read.

    Hidden folders and the results of earlier runs are passed over; what cannot be read becomes a `Rejected`.
    """
    roots, others = [where] if isinstance(where, (str, os.PathLike)) else list(where), list[str]()
    paths = list({os.path.realpath(path): path for root in roots for path in images(os.fspath(root), others)}.values())
    with executor("threads:8") as pool:
        found = {event.item: event.result for event in each("scan", pool, read, paths)}
    results = [found[path] for path in paths]
    name = ", ".join(str(root) for root in roots[:3]) + (" ..." if len(roots) > 3 else "")
    frames, rejected = (tuple(one for one in results if isinstance(one, kind)) for kind in (Frame, Rejected))
    return Session(name, frames, rejected, passed_over(others, bool(frames)))


SHUT = ("a folder that cannot be opened", "change its permissions")


def passed_over(paths: list[str], beside: bool) -> tuple[str, ...]:
    """One sentence for each kind of file that is not read; of finished pictures none where they lie beside frames."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        kinds.setdefault(other_kind(path) or SHUT, []).append("/".join(PurePath(path).parts[-2:]))
    told = []
    for (kind, todo), names in sorted(kinds.items(), key=lambda row: row[0][0] == PICTURE):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        if not (beside and kind == PICTURE):
            told.append(f"not read: {', '.join(names[:3])}{more} ({kind}{' each' * (len(names) > 1)}): {todo}")
    return tuple(told)


def images(root: str, others: list[str]) -> Iterator[str]:
    """Paths of the images in a folder and below, sorted; a file gives itself. Files of other kinds go to `others`.

    Links to folders are followed, each folder once.
    """
    if not os.path.isdir(root):
        yield root
        return
    known = {os.path.realpath(root)}
    walk = os.walk(root, onerror=lambda error: others.append(str(error.filename)), followlinks=True)
    for folder, folders, files in walk:
        ours = {"masters"} if is_result(folder) else set()
        seen = [f for f in sorted(folders) if not f.startswith(".") and f not in ours]
        folders[:] = [f for f in seen if not is_result(path := os.path.join(folder, f)) and is_new(path, known)]
        for name in sorted(files):
            if is_supported(name) and not name.startswith(("master_light", ".") if ours else "."):
                yield os.path.join(folder, name)
            elif not ours and not name.startswith(".") and other_kind(name):
                others.append(os.path.join(folder, name))


def is_new(folder: str, known: set[str]) -> bool:
    """Whether a folder was not seen under any name before; from now on it is known."""
    place = os.path.realpath(folder)
    return not (place in known or known.add(place))


def is_result(folder: str) -> bool:
    """Whether a folder holds the results of an earlier run."""
    return os.path.isfile(os.path.join(folder, "report.json")) and os.path.isdir(os.path.join(folder, "masters"))
