"""What lies in a folder: `scan(folder)` -> Session. Only headers are read."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import camera_key, object_key, same_filter
from masterlight.core.workers import each, executor
from masterlight.io import FORMATS, PICTURE, is_supported, other_kind, read, suffix


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


def unsuitable(meta: Meta) -> str | None:
    """Why a frame cannot take part at all; None when it can."""
    if meta.kind == "unknown" and meta.declared:
        return f"the header calls it '{meta.declared}', which is no light, dark, flat or bias"
    if meta.kind in ("light", "unknown") and meta.is_master:
        return f"is already a stack of {meta.frames} frames" if meta.frames > 1 else "is a master light already"
    if meta.pattern and not set(meta.pattern) <= set("RGB"):
        return f"its sensor has {meta.pattern} colour filters; only red, green and blue ones can be made into colour"
    if len(meta.shape) > 2 and meta.kind not in ("light", "unknown"):
        return "has 3 planes; calibration frames are used as the sensor gives them, one plane: export them undebayered"
    return None


FEWEST_RAW, MOST_BESIDE = 3, 0.25
"""How many raw frames must there be, and how many pictures beside one of them, for these to be strangers among them."""
FEWEST_OF_A_SERIES = 3
"""So many floats of one series, each exposed as the raw frames are, were taken one by one."""


def pictures_beside(lights: Sequence[Frame]) -> list[Frame]:
    """Pictures of floats or three planes among many raw lights of the same camera, size and filter: stacks, or such.

    Telescopes and programs put what they made of the night beside its subs, and call it a light too. Where all are
    floats or have three planes, or many are, they are the lights themselves: calibrated, or written by such a program.
    So are those that are named as the raw ones but for their numbers, and several that are exposed as these are.
    """
    alike: dict[Any, tuple[list[Frame], list[Frame]]] = {}
    for frame in lights:
        key = (camera_key(frame.meta.camera), frame.shape[-2:], object_key(frame.meta.object))
        raw = frame.meta.integer and len(frame.shape) == 2 and not frame.meta.calibration
        alike.setdefault(key, ([], []))[0 if raw else 1].append(frame)
    return [frame for raw, odd in alike.values() for frame in strangers(raw, odd)]


def strangers(raw: list[Frame], odd: list[Frame]) -> Iterator[Frame]:
    """Those of the odd frames that are few beside the raw ones of their filter; one that tells none goes with all."""
    for name in dict.fromkeys(frame.meta.filter for frame in odd):
        same = {other for other in {frame.meta.filter for frame in raw} if same_filter(name, other) is not False}
        subs = [frame for frame in raw if frame.meta.filter in same]
        few = [frame for frame in odd if frame.meta.filter == name]
        if len(subs) < FEWEST_RAW or len(few) > MOST_BESIDE * len(subs):
            continue
        named, exposures = {series(frame) for frame in subs}, {frame.meta.exposure_s for frame in subs}
        single = [frame for frame in few if frame.meta.frames <= 1 and len(frame.shape) == 2]
        taken = Counter(series(frame) for frame in single if frame.meta.exposure_s in exposures - {None})
        named |= {one for one, count in taken.items() if count >= FEWEST_OF_A_SERIES}
        yield from (frame for frame in few if not frame.meta.calibration and series(frame) not in named)


def series(frame: Frame) -> str:
    """The name of a frame without its numbers: frames of one series were taken by one program, one after the other."""
    name = os.path.basename(frame.source)
    return re.sub(r"\d+", "#", name[: len(name) - len(suffix(name, FORMATS) or "")])
