"""Pictures among the lights that are none: what telescopes and programs made of the night and put beside its subs."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.headers.names import camera_key, object_key, same_filter
from masterlight.core.units.reading import Sample, sample_of
from masterlight.core.workers import Pool, each
from masterlight.io import FORMATS, suffix

FEWEST_RAW, MOST_BESIDE = 3, 0.25
"""How many raw frames must there be, and how many pictures beside one of them, for these to be strangers among them."""
FEWEST_OF_A_SERIES = 3
"""So many floats of one series, each exposed as the raw frames are, were taken one by one."""


QUIET, LEVELS = 0.4, (0.7, 1.4)
"""Noise of a stack in that of a sub, at most, and its level: a fainter picture is less noisy too."""
LOOKED_AT = 3
"""How many subs tell the noise of one."""


def pictures_beside(lights: Sequence[Frame]) -> list[Rejected]:
    """Pictures of floats or three planes among many raw lights of the same camera, size and filter: stacks, or such.

    Telescopes and programs put what they made of the night beside its subs, and call it a light too. Where all are
    floats or have three planes, or many are, they are the lights themselves: calibrated, or written by such a program.
    So are those that are named as the raw ones but for their numbers, and several that are exposed as these are.
    A picture of three planes without any exposure is a finished one, whatever its size. Results and maps whose headers
    tell no type of frame may tell no camera and no target either, and have any size.
    """
    raw = [frame for frame in lights if is_raw(frame)]
    odd = [frame for frame in lights if not is_raw(frame)]
    finished = [frame for frame in odd if len(frame.shape) > 2 and frame.meta.exposure_s is None]
    few = len(raw) >= FEWEST_RAW and len(finished) <= MOST_BESIDE * len(raw)
    found = {frame.source: "has 3 planes and tells no exposure, as a finished picture" for frame in finished if few}
    for key in dict.fromkeys(map(sought, odd)):
        near = [frame for frame in raw if agree(labels(frame), key)]
        for frame in strangers(near, [frame for frame in odd if sought(frame) == key]):
            found.setdefault(frame.source, looks_of(frame))
    return [Rejected(source, "plan", f"{words}; if it is a light, run it by itself") for source, words in found.items()]


def is_raw(frame: Frame) -> bool:
    """Whether a frame is as a camera gives it: whole numbers, one plane, and a header that tells something."""
    meta = frame.meta
    bare = (meta.declared, meta.camera, meta.exposure_s, meta.time) == (None, None, None, None)
    return meta.integer and len(frame.shape) == 2 and not meta.calibration and not bare


def looks_of(frame: Frame) -> str:
    """What a picture has that raw lights have not."""
    what = "has 3 planes" if len(frame.shape) > 2 else "has floats" if not frame.meta.integer else ""
    if frame.meta.declared is None and not frame.meta.camera:
        words = f"{what} and tells no camera and no type of frame" if what else "tells no camera, time or type of frame"
        return f"{words}, among raw lights: a result or a map"
    return f"{what} among raw frames of the same camera, as a stack has"


def labels(frame: Frame) -> tuple[Any, ...]:
    """Size, camera and target: what frames have in common with the picture that was made of them."""
    return frame.shape[-2:], camera_key(frame.meta.camera), object_key(frame.meta.object)


def sought(frame: Frame) -> tuple[Any, ...]:
    """The labels that raw frames beside a picture have; of one that tells no type of frame any size."""
    size, *others = labels(frame)
    return (size if frame.meta.declared else (), *others)


def agree(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether labels are those of another picture, as far as that one tells them."""
    return all(a == b or not b for a, b in zip(one, other, strict=True))


def without_stacks(frames: Sequence[Frame], pool: Pool) -> tuple[list[Frame], list[Rejected]]:
    """Frames without the whole-numbered stacks among raw lights, by their noise; only odd names are looked at.

    A stack of ten has a third of the noise of its subs at their level and exposure, which no single exposure has.
    """
    alike: dict[Any, list[Frame]] = {}
    for frame in frames:
        if frame.meta.kind in ("light", "unknown") and is_raw(frame):
            key = *labels(frame), frame.meta.filter, frame.meta.exposure_s, frame.meta.gain
            alike.setdefault(key, []).append(frame)
    doubted = [pair for same in alike.values() if (pair := odd_names(same))]
    looks = looks_at({id(f): f for odd, usual in doubted for f in (*odd, *usual)}, pool)
    found = {frame.source: how for odd, usual in doubted for frame, how in too_quiet(odd, usual, looks)}
    words = "its noise is {:.0%} of that of the frames beside it at the same exposure, as a stack has; left aside"
    return [f for f in frames if f.source not in found], [
        Rejected(source, "plan", words.format(how)) for source, how in found.items()
    ]


def odd_names(same: list[Frame]) -> tuple[list[Frame], list[Frame]] | None:
    """The few frames whose names are unlike those of most, and some of these; None where there are none."""
    names = Counter(map(series, same))
    usual, count = names.most_common(1)[0]
    odd = [frame for frame in same if series(frame) != usual]
    if count < FEWEST_RAW or not odd or len(odd) > MOST_BESIDE * count:
        return None
    those = [frame for frame in same if series(frame) == usual]
    return odd, those[:: max(1, len(those) // LOOKED_AT)][:LOOKED_AT]


def looks_at(frames: dict[int, Frame], pool: Pool) -> dict[int, Sample]:
    """Noise and level of some rows of frames; those that cannot be read are left out."""

    def look(number: int) -> Sample | None:
        with suppress(FrameError, OSError):
            return sample_of(frames[number])
        return None

    found = {event.item: event.result for event in each("stacks", pool, look, list(frames))}
    return {number: one for number, one in found.items() if isinstance(one, Sample)}


def too_quiet(odd: list[Frame], usual: list[Frame], looks: dict[int, Sample]) -> Iterator[tuple[Frame, float]]:
    """Those of the odd frames that are as bright as the usual ones and much less noisy, with their share of it."""
    known = [looks[id(frame)] for frame in usual if id(frame) in looks]
    if len(known) < LOOKED_AT:
        return
    noise, level = median(one.noise for one in known), median(one.level for one in known)
    for frame in odd:
        one = looks.get(id(frame))
        if one and noise > 0 and one.noise < QUIET * noise and LEVELS[0] * level < one.level < LEVELS[1] * level:
            yield frame, one.noise / noise


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
