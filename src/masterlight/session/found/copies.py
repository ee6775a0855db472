"""The same exposure in several files: one is kept, the others are left out, whatever they are called.

Copies hold the same pixels. What a program made of a raw light does not, but tells the same moment: programs write it
beside, or below, the raw ones.
"""

import filecmp
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import numpy as np

from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import camera_key, object_key, same_filter
from masterlight.core.headers.values import seconds_of
from masterlight.core.workers import Pool, Serial, each
from masterlight.session.groups import telescope_key

BURST = 8
"""More frames than this of one time: their headers do not tell the time well enough to tell them apart."""
BYTES, ROWS, BAND_ROWS = 4096, 2, 256
"""What is looked at of a file, and of a frame; and of two frames at once when they are compared whole."""


def without_copies(frames: Sequence[Frame], pool: Pool | None = None) -> tuple[list[Frame], list[Rejected]]:
    """The frames without those that another one holds as well, and the reason for each that is left out.

    Headers tell which can be copies: one time of exposure, or none. A little is read of those, and frames are compared
    whole before one is left out. One stays: a light, where most of its kind lie, with the shortest name.
    """
    places = Counter(map(place_of, frames))
    lost: dict[str, Rejected] = {}

    def order(frame: Frame):
        as_light, *name = rank_of_copy(frame)
        return as_light, -places[place_of(frame)], *name

    for group in candidates(frames, pool or (Serial(), 1)):
        kept: list[Frame] = []
        for frame in sorted(group, key=order):
            twin = next((other for other in kept if is_copy(frame, other)), None)
            if twin is None:
                kept.append(frame)
            else:
                lost[frame.source] = Rejected(frame.source, "plan", reason(frame, twin))
    return [frame for frame in frames if frame.source not in lost], list(lost.values())


def without_processed(frames: Sequence[Frame]) -> tuple[list[Frame], list[Rejected]]:
    """The frames without lights of which a less processed one of the same moment is there; the reason for each."""
    moments: dict[Any, list[Frame]] = defaultdict(list)
    for frame in frames:
        meta, began = frame.meta, seconds_of(frame.meta.time)
        if meta.kind in ("light", "unknown") and began is not None and meta.exposure_s:
            moments[round(began, 3), round(meta.exposure_s, 3), camera_key(meta.camera)].append(frame)
    lost = {}
    for same in moments.values():
        for frame in same if len(same) > 1 else ():
            if steps_of(frame.meta) and (origin := next((other for other in same if made_of(frame, other)), None)):
                words = f"is {PurePath(origin.source).name} processed before, by its time and exposure"
                lost[frame.source] = Rejected(
                    frame.source, "plan", f"{words}; each exposure counts once. Give its folder alone to use it"
                )
    return [frame for frame in frames if frame.source not in lost], list(lost.values())


def steps_of(meta: Meta) -> int:
    """How much was done to a frame since the camera gave it."""
    return len(meta.calibration) + len(meta.stages) + (len(meta.shape) > 2) + (not meta.integer)


def made_of(frame: Frame, other: Frame) -> bool:
    """Whether a frame was made of another one of its moment: more was done to it, or its name is longer by a step."""
    targets = {object_key(one.meta.object) for one in (frame, other)} - {""}
    telescopes = {telescope_key(one.meta.telescope) for one in (frame, other)} - {None}  # twins begin together
    if max(len(targets), len(telescopes)) > 1 or same_filter(frame.meta.filter, other.meta.filter) is False:
        return False
    done, before = steps_of(frame.meta), steps_of(other.meta)
    name, root = (PurePath(one.source).stem for one in (frame, other))
    return done > before or (done == before and (name.endswith(f"_{root}") or name.startswith(f"{root}_")))


def place_of(frame: Frame) -> tuple[str, str]:
    """The kind of a frame and its folder."""
    return frame.meta.kind, os.path.dirname(frame.source)


def rank_of_copy(frame: Frame) -> tuple[bool, bool, int, int, str]:
    """Which of the copies stays, the least: a light, which among darks does harm; one with a time; a short name.

    Of equal names that in the fewest folders: copies lie in folders of their own.
    """
    meta, path = frame.meta, PurePath(frame.source)
    return meta.kind not in ("light", "unknown"), meta.time is None, len(path.name), len(path.parts), frame.source


def reason(frame: Frame, twin: Frame) -> str:
    """Why a copy is left out; what it was called, where that is something else."""
    called = f" (a {twin.meta.kind} there, a {frame.meta.kind} here)" if frame.meta.kind != twin.meta.kind else ""
    return f"holds the same pixels as {name_beside(twin.source, frame.source)}{called}, which is used once"


def name_beside(path: str, other: str) -> str:
    """The name of a file with as many of its folders as tell it from another one."""
    parts, others = PurePath(path).parts, PurePath(other).parts
    count = next((n for n in range(1, len(parts)) if parts[-n:] != others[-n:]), len(parts))
    return "/".join(parts[-count:])


def candidates(frames: Iterable[Frame], pool: Pool) -> Iterator[list[Frame]]:
    """Frames that may hold the same pixels: of one time and exposure, and equal in the little that is read of them."""
    taken: dict[Any, list[Frame]] = defaultdict(list)
    for frame in frames:
        taken[frame.meta.shape, frame.meta.time, frame.meta.exposure_s].append(frame)
    parts = []
    for (_, time, _), same in taken.items():
        vague = time is None or len(same) > BURST
        parts += [part for part in groups(same, bytes_of, pool) if vague] if vague else [same]
    close = [frame for part in parts if len(part) > 1 for frame in part]
    yield from groups(close, strip_of, pool)


def groups(frames: Sequence[Frame], key: Any, pool: Pool) -> list[list[Frame]]:
    """Frames of an equal key that is not None, where there are two or more."""
    if len(frames) < 2:
        return []
    found: dict[Any, list[Frame]] = defaultdict(list)
    for event in each("copies", pool, key, frames):
        if event.result:
            found[event.result].append(event.item)
    return [same for same in found.values() if len(same) > 1]


def bytes_of(frame: Frame) -> tuple | None:
    """The size of a file and some bytes from its middle."""
    with suppress(OSError), open(frame.source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(size // 2)
        return size, file.read(BYTES)
    return None


def strip_of(frame: Frame) -> tuple | None:
    """Some rows from the middle of a frame; of a file that must be unpacked first, some bytes. None for an even one."""
    if frame.scratch_bytes:
        return bytes_of(frame)
    with suppress(FrameError, OSError):
        middle = frame.shape[-2] // 2
        rows = np.asarray(frame.pixels(middle, min(middle + ROWS, frame.shape[-2]), 0, frame.shape[-1]))
        known = rows[np.isfinite(rows)]
        return (rows.shape, rows.tobytes()) if known.size and known.min() < known.max() else None
    return None


def is_copy(one: Frame, other: Frame) -> bool:
    """Whether two frames hold the same; files that must be unpacked first are compared as they are."""
    if one.scratch_bytes or other.scratch_bytes:
        with suppress(OSError):
            return filecmp.cmp(one.source, other.source, shallow=False)
        return False
    return same_pixels(one, other)


def same_pixels(a: Frame, b: Frame) -> bool:
    """Whether two frames of one shape hold the same pixels, compared by bands of rows."""
    rows, cols = a.shape[-2:]
    boxes = [(y, min(y + BAND_ROWS, rows), 0, cols) for y in range(0, rows, BAND_ROWS)]
    try:
        return all(np.array_equal(a.pixels(*box), b.pixels(*box), equal_nan=True) for box in boxes)
    except Exception:  # a frame that cannot be read whole is the walk's to reject
        return False
