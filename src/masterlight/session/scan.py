"""What lies in a folder: `scan(folder)` -> Session. Only headers are read."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.workers import each, executor
from masterlight.io import PICTURE, is_supported, other_kind, read
from masterlight.session.found.folders import of_kind, places_of


@dataclass(frozen=True)
class Session:
    """The frames that were found, in order of their paths, and the files that could not be opened."""

    name: str
    frames: tuple[Frame, ...]
    rejected: tuple[Rejected, ...] = ()
    passed: tuple[str, ...] = ()
    """Sentences on files that may hold images and are not read."""


def scan(
    where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    kind_dirs: Mapping[str, Sequence[str]] | None = None,
) -> Session:
    """Open every image in a folder and below, or those of a list of files and folders; only headers are read.

    Hidden folders and the results of earlier runs are passed over; what cannot be read becomes a `Rejected`.
    kind_dirs: folders and patterns whose frames are of one kind for good, as `Recipe.kind_dirs` has them; they are
    opened too. Raises ParameterError for one that is not there.
    """
    roots, others = [where] if isinstance(where, (str, os.PathLike)) else list(where), list[str]()
    places = places_of(kind_dirs or {}, os.fspath(roots[0]) if len(roots) == 1 else "")
    paths = {os.path.realpath(path): path for root in roots for path in images(os.fspath(root), others)}
    beside, knobs, empty = list[str](), dict[str, str](), list[str]()
    for place, knob in places.items():
        inside = {os.path.realpath(path): path for path in images(place, beside)}
        paths |= {real: path for real, path in inside.items() if real not in paths}
        knobs |= dict.fromkeys(inside, knob)
        empty += [] if inside else [f"Recipe.{knob}: there is no image in {place}"]
    known = set(map(os.path.realpath, others))
    others += [path for path in beside if os.path.realpath(path) not in known]
    with executor("threads:8") as pool:
        found = {event.item: event.result for event in each("scan", pool, read, list(paths.values()))}
    results = [of_kind(found[path], knobs.get(real)) for real, path in paths.items()]
    name = ", ".join(str(root) for root in roots[:3]) + (" ..." if len(roots) > 3 else "")
    frames, rejected = (tuple(one for one in results if isinstance(one, kind)) for kind in (Frame, Rejected))
    return Session(name, frames, rejected, (*passed_over(others, bool(frames)), *empty))


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
