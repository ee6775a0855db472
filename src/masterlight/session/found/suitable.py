"""Which of the frames that were found can take part, and how their numbers are read."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import camera_key, object_key, same_filter
from masterlight.core.units.reading import Reading
from masterlight.core.units.settle import KNOB, question, settle
from masterlight.core.workers import executor
from masterlight.io import FORMATS, suffix
from masterlight.session.found.copies import without_copies
from masterlight.session.found.witness import flats_by_look
from masterlight.session.scan import Session


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
    Results and maps whose headers tell no type of frame may tell no camera and no target either, and have any size.
    """
    alike: dict[Any, tuple[list[Frame], list[Frame]]] = {}
    for frame in lights:
        meta = frame.meta
        raw = meta.integer and len(frame.shape) == 2 and not meta.calibration and not is_bare(frame)
        key = camera_key(meta.camera), object_key(meta.object), frame.shape[-2:], meta.declared is None
        alike.setdefault(key, ([], []))[0 if raw else 1].append(frame)
    out = []
    for key, (_, odd) in alike.items():
        raw = [frame for other, (some, _) in alike.items() if odd and may_lie_beside(key, other) for frame in some]
        out += strangers(raw, odd)
    return out


def is_bare(frame: Frame) -> bool:
    """Whether a header tells nothing of what a camera's does: no type of frame, no camera, no exposure, no time."""
    meta = frame.meta
    return (meta.declared, meta.camera, meta.exposure_s, meta.time) == (None, None, None, None)


def may_lie_beside(odd: tuple, raw: tuple) -> bool:
    """Whether pictures can be of the night of raw frames, by their keys of `pictures_beside`."""
    (camera, target, size, silent), (of_camera, of_target, of_size, _) = odd, raw
    return (camera in (of_camera, "")) and (target in (of_target, "")) and (silent or size == of_size)


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


def beside(frame: Frame) -> str:
    """Why a picture is left out of the lights."""
    what = "has 3 planes" if len(frame.shape) > 2 else "has floats" if not frame.meta.integer else ""
    if frame.meta.declared is None and not frame.meta.camera:
        words = f"{what} and tells no camera and no type of frame" if what else "tells no camera, time or type of frame"
        return f"{words}, among raw lights: a result or a map? If it is a light, run it by itself"
    return f"{what} among raw frames of the same camera, as a stack has; if it is a light, run it by itself"


def series(frame: Frame) -> str:
    """The name of a frame without its numbers: frames of one series were taken by one program, one after the other."""
    name = os.path.basename(frame.source)
    return re.sub(r"\d+", "#", name[: len(name) - len(suffix(name, FORMATS) or "")])


def frames_in_dn(
    session: Session, calibrate: ImageCalibration, pattern: str
) -> tuple[list[Frame], list[Rejected], list[Reading]]:
    """The frames that can take part, their numbers in DN, those that cannot, and how the numbers were read."""
    suitable, rejected = [], list(session.rejected)
    for frame in session.frames:
        if pattern != "auto" and len(frame.shape) == 2:
            frame = replace(frame, meta=frame.meta.with_(pattern=pattern))
        reason = unsuitable(frame.meta)
        if reason:
            rejected.append(Rejected(frame.source, "plan", reason))
        else:
            suitable.append(frame)
    for frame in pictures_beside([frame for frame in suitable if frame.meta.kind in ("light", "unknown")]):
        suitable.remove(frame)
        rejected.append(Rejected(frame.source, "plan", beside(frame)))
    with executor("threads:8") as pool:
        suitable, copies = without_copies(suitable, pool)
        suitable, scales = settle(suitable, calibrate.units, KNOB, pool, strict=False)
        suitable = flats_by_look(suitable, pool)
    odd = few_unclear(suitable, scales)
    suitable = [frame for frame in suitable if frame.source not in odd]
    rejected += copies + [Rejected(source, "plan", question(one, KNOB)) for source, one in odd.items()]
    return suitable, rejected, [one for one in scales if one.source not in odd]


def few_unclear(frames: Sequence[Frame], scales: Sequence[Reading]) -> dict[str, Reading]:
    """Raw frames that can be read in two ways and are few of their kind and size: odd ones, which stop nothing."""
    disputed = {one.source: one for one in scales if one.disputed}
    kinds = {frame.source: (frame.meta.kind, frame.shape) for frame in frames if not frame.meta.is_master}
    count, of_doubt = Counter(kinds.values()), Counter(kinds[source] for source in disputed if source in kinds)
    few = {kind for kind, n in of_doubt.items() if 2 * n < count[kind]}
    return {source: one for source, one in disputed.items() if kinds.get(source) in few}
