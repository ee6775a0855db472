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
from masterlight.core.units.settle import KNOB, settle
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
        what = "3 planes" if len(frame.shape) > 2 else "floats"
        words = f"has {what} among raw frames of the same camera, as a stack has; if it is a light, run it by itself"
        rejected.append(Rejected(frame.source, "plan", words))
    with executor("threads:8") as pool:
        suitable, copies = without_copies(suitable, pool)
        suitable, scales = settle(suitable, calibrate.units, KNOB, pool)
        suitable = flats_by_look(suitable, pool)
    rejected += copies
    return suitable, rejected, scales
