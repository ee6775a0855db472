"""What lies in a folder: `scan(folder)` -> Session. Only headers are read."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame, Meta
from masterlight.core.workers import each, executor
from masterlight.io import is_supported, read


@dataclass(frozen=True)
class Session:
    """The frames that were found, in order of their paths, and the files that could not be opened."""

    name: str
    frames: tuple[Frame, ...]
    rejected: tuple[Rejected, ...] = ()


def scan(where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Session:
    """Open every image in a folder and below, or those of a list of files and folders; only headers are read.

    Hidden folders and the results of earlier runs are passed over; what cannot be read becomes a `Rejected`.
    """
    roots = [where] if isinstance(where, (str, os.PathLike)) else list(where)
    paths = list({os.path.realpath(path): path for root in roots for path in images(os.fspath(root))}.values())
    with executor("threads:8") as pool:
        found = {event.item: event.result for event in each("scan", pool, read, paths)}
    results = [found[path] for path in paths]
    name = ", ".join(str(root) for root in roots[:3]) + (" ..." if len(roots) > 3 else "")
    frames, rejected = (tuple(one for one in results if isinstance(one, kind)) for kind in (Frame, Rejected))
    return Session(name, frames, rejected)


def images(root: str) -> Iterator[str]:
    """Paths of the images in a folder and below, sorted; a file gives itself."""
    if not os.path.isdir(root):
        yield root
        return
    for folder, folders, files in os.walk(root):
        ours = {"masters"} if is_result(folder) else set()
        seen = (f for f in folders if not f.startswith(".") and f not in ours)
        folders[:] = sorted(f for f in seen if not is_result(os.path.join(folder, f)))
        for name in sorted(files):
            if is_supported(name) and not name.startswith(("master_light", ".") if ours else "."):
                yield os.path.join(folder, name)


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
