"""Frames one after the other, by hand: measured, laid on one of them, stretched alike, written as one file."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.calibration.trimmed import Trimmed
from masterlight.colour.debayer import Debayer
from masterlight.core.errors import FrameError, NothingUsable, ParameterError, Rejected
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.stretch import Stretch, block_px
from masterlight.core.units.settle import sentences, settle_mixed
from masterlight.core.workers import Event, Events, each, executor
from masterlight.doors.hand.assemble import File, scan_settled, tell_rejected
from masterlight.doors.hand.deep import place_of
from masterlight.doors.hand.film import check_film, film
from masterlight.io import atomic, suffix
from masterlight.night.reference import promise_of
from masterlight.subframes.measurement import Measurement, StarList

KINDS = {".html": "page", ".htm": "page", ".gif": "gif", ".mp4": "film"}
"""What is written, by the end of its name."""
KERNEL = "lanczos3"
"""Interpolates reduced pictures: bilinear would calm the sky of each frame by as much as it happens to be shifted."""


@dataclass(frozen=True)
class Seen:
    """One frame, what was measured of it, and where it lies on the reference."""

    frame: Frame
    measurement: Measurement | None = None
    stars: StarList | None = None
    why: str = ""
    """Why there is no measurement, or no place."""
    transform: Transform | None = None


def blink_files(process: Any, files: Sequence[File], path: Path, *, reference: File | None = None) -> Events[None]:
    """Write a page, a GIF or a film (by the name of `path`) of frames in the order of their paths, see `Blink`.

    reference: the frame on which all are laid and as which they are stretched; by default the one with the most light,
    the sharpest and roundest stars. The last event's result is (path, frames that were left out).
    """
    kind = KINDS[suffix(path, KINDS) or ".html"]
    if kind == "film":
        check_film(path)
    session = yield from scan_settled("blink", files)
    yield from tell_rejected("blink", session)
    if not session.frames:
        raise NothingUsable(f"no image was found: {session.rejected[0] if session.rejected else session.name}")
    frames, scales = settle_mixed(session.frames)
    for sentence in sentences(scales):
        yield Event("blink", message=sentence)
    place_of(reference, frames)
    with executor() as pool:
        seen = yield from look_at(process, frames, pool)
        anchor = place_of(reference, frames)
        anchor = best(seen) if anchor is None else anchor
        if process.measured and process.registered:
            seen = yield from laid_on(seen, anchor, pool)
        lost = yield from written(process, seen, anchor, path, kind, pool)
    done, size = len(seen) - len(lost), path.stat().st_size / 1e6
    yield Event("done", result=(path, lost), message=f"{path}: {done} frames, {size:.1f} MB")


def look_at(process: Any, frames: Sequence[Frame], pool: Any) -> Events[list[Seen]]:
    """The frames without what saw no sky, their stars measured where there may be any."""
    whole = [(0, frame.shape[-2], 0, frame.shape[-1]) for frame in frames]
    plain = [Trimmed.of(frame, frame.meta.data_px or box) for frame, box in zip(frames, whole, strict=True)]
    sky = [i for i, frame in enumerate(plain) if process.measured and frame.meta.kind in ("light", "unknown")]
    seen = [Seen(frame) for frame in plain]
    for event in each("measure", pool, lambda i: process.select.measure(plain[i]), sky):
        found = event.result
        seen[event.item] = Seen(plain[event.item], *found) if found else Seen(plain[event.item], why=found.reason)
        yield replace(event, result=None)
    return seen


def best(seen: Sequence[Seen]) -> int:
    """The number of the frame that serves best as reference; the first where no stars tell."""
    known = {i: promise_of(one.measurement, one.frame.meta.binning[0]) for i, one in enumerate(seen) if usable(one)}
    return max(known, key=known.__getitem__, default=0)


def usable(one: Seen) -> bool:
    """Whether stars tell what the frame is like."""
    m = one.measurement
    return m is not None and bool(m.fwhm_px) and m.noise_dn > 0


def laid_on(seen: list[Seen], anchor: int, pool: Any) -> Events[list[Seen]]:
    """The frames with where they lie on the reference; those that cannot be matched keep their own place."""
    stars = seen[anchor].stars
    if stars is None:
        return seen
    align, out = StarAlignment(), list(seen)
    prepared = align.prepare(stars)
    with_stars = [i for i, one in enumerate(seen) if one.stars is not None and i != anchor]
    task = partial(match, align, prepared, seen)
    out[anchor] = replace(seen[anchor], transform=Transform.identity(stars.shape))
    for event in each("register", pool, task, with_stars):
        found = event.result
        out[event.item] = replace(seen[event.item], **({"transform": found} if found else {"why": found.reason}))
        yield replace(event, result=None)
    apart = sum(one.stars is not None and one.transform is None for one in out)
    if apart:
        yield Event("register", message=f"{apart} frames do not match the reference and are shown as they lie")
    return out


def match(align: StarAlignment, prepared: Any, seen: list[Seen], i: int) -> Transform | Rejected:
    return align.align(prepared, seen[i].stars, seen[i].frame.source)


def written(process: Any, seen: list[Seen], anchor: int, path: Path, kind: str, pool: Any) -> Events[list[Rejected]]:
    """Write the pictures as they are made; gives the frames that could not be read."""
    slides = slides_of(process, seen, anchor)
    looks = yield from stretches_of(process, seen, anchor, kind)
    shape = reduced_shape(process, seen[anchor].frame, kind)
    lost: list[Rejected] = []
    with ExitStack() as stack:
        file = stack.enter_context(atomic(path))
        start = partial(process.show, slides, file, kind, path.stem) if kind != "film" else None
        show = start() if start else stack.enter_context(film(process, slides, file))

        def task(i: int) -> Any:
            small = picture_of(process, seen[i], seen[anchor].frame, kind, shape)
            return show.pack(i, show.stretched(small, looks(i, small)))

        for event in each("blink", pool, task, range(len(seen))):
            failed = isinstance(event.result, Rejected)
            if failed:
                lost.append(replace(event.result, source=seen[event.item].frame.source))
            show.add(event.item, None if failed else event.result)
            words = f"rejected {lost[-1]}" if failed else ""
            yield replace(event, result=lost[-1] if failed else None, message=words)
        if len(lost) == len(seen):
            raise NothingUsable(f"nothing was written: {lost[0]}")
        show.close()
    return lost
