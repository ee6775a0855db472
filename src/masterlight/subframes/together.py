"""Measurements of many frames that will be combined, on a pool: each by itself, then by the stars that they share."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from masterlight.core import workers
from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame, View, evenly
from masterlight.core.workers import Event, Events
from masterlight.subframes.measure import measure
from masterlight.subframes.measurement import Measurement, StarList
from masterlight.subframes.photometry import forced_fluxes, standards, with_star_light
from masterlight.subframes.select import SubframeSelector

Pool = tuple[Executor, int]
Limits = tuple[float | None, float | None]
LeaveOut = Callable[[Rejected], Event] | None
"""What becomes of a frame that fails: an event that tells of it; None, its error ends the work."""
T = TypeVar("T")
FEWEST_PX = 32
"""Smaller frames are not looked at for stars."""
TRIED = 5
"""Frames spread over all that are looked at for stars where the first one shows none."""


def measure_all(
    pool: Pool, frames: Sequence[Frame], wanted: tuple[str, ...] = (), *, anchor: int = 0, scale: str = "bwmv",
    limits: Limits = (None, None), stars: bool = True, leave_out: LeaveOut = None, in_flight: int | None = None,
) -> Events[list[tuple[Measurement, ...]]]:  # fmt: skip
    """What is to be known of frames of equal shape before they are combined: for each plane one of each frame.

    wanted, scale: as for `measure`; limits: values at or beyond them take no part; stars: whether the light of the
    anchor's stars in every frame tells its scale, where there are any. Frames that `leave_out` takes, empty ones too,
    are not among the measurements; the first that is left stands for such an anchor. in_flight: as for `each`.
    """
    task = partial(measure_within, limits, wanted, scale, leave_out is not None)
    planes = yield from each_frame("measure", pool, task, frames, leave_out, in_flight)
    known = [(frame, own) for frame, own in zip(frames, planes, strict=True) if own]
    if known and stars and min(frames[0].shape[-2:]) >= FEWEST_PX:
        first = [frame for frame, _ in known].index(frames[anchor]) if planes[anchor] else 0
        if seen := first_with_stars([frame for frame, _ in known], first):
            known = yield from add_star_light(pool, known, known[seen[0]][0], standards(seen[1]), leave_out)
    return list(zip(*(own for _, own in known), strict=True))


def first_with_stars(
    frames: Sequence[Frame], first: int = 0, select: SubframeSelector | None = None
) -> tuple[int, StarList] | None:
    """The number and the stars of a frame that shows some: `first`, or where it is blank one of a few others."""
    for i in dict.fromkeys([first, *evenly(0, len(frames) - 1, TRIED)]):
        with suppress(FrameError, OSError):  # told when its turn comes
            if found := (select or SubframeSelector()).measure(frames[i]):
                return i, found[1]
    return None


def add_star_light(pool: Pool, known: list, anchor: Frame, stars: StarList, leave_out: LeaveOut) -> Events[list]:
    """[(frame, measurements)] with the light of the stars in every frame over that in the anchor."""
    frames = [frame for frame, _ in known]
    fluxes = yield from each_frame("photometry", pool, partial(forced_fluxes, stars=stars), frames, leave_out)
    ours = fluxes[frames.index(anchor)]
    if isinstance(ours, Rejected):
        raise FrameError(anchor.source, "its stars cannot be measured; leave it out")
    there = [(frame, own, f) for (frame, own), f in zip(known, fluxes, strict=True) if not isinstance(f, Rejected)]
    return [(frame, with_star_light(own, f, ours, stars.sharpest_px)) for frame, own, f in there]


def measure_within(limits: Limits, wanted: tuple[str, ...], scale: str, wary: bool, frame: Frame) -> list[Measurement]:
    """`measure` of the pixels of a frame that lie between two limits; `wary` of zeros and of an empty frame."""
    more = ("mean_deviation_dn", "zero_fraction") if wary else ()
    planes = measure(in_range(frame, *limits), (*wanted, *more), scale)
    if wary and not any(m.mean_deviation_dn for m in planes):
        raise FrameError(frame.source, f"every pixel is {planes[0].location_dn:g} DN: an empty frame; leave it out")
    return planes


def each_frame(
    stage: str, pool: Pool, task: Callable[[Frame], T], frames: Sequence[Frame], leave_out: LeaveOut = None,
    in_flight: int | None = None,
) -> Events[list[T]]:  # fmt: skip
    """Run a task on every frame; gives the results in their order, `Rejected` for those that `leave_out` takes."""
    results: list[Any] = [None] * len(frames)
    numbered, going = partial(on_frame, task, frames), leave_out is not None
    for event in workers.each(stage, pool, numbered, range(len(frames)), keep_going=going, in_flight=in_flight):
        results[event.item] = event.result
        if leave_out and isinstance(event.result, Rejected):
            yield leave_out(replace(event.result, source=frames[event.item].source))
        else:
            yield Event(stage, event.done, event.total)
    return results


def on_frame(task: Callable[[Frame], T], frames: Sequence[Frame], i: int) -> T:
    """A task by the number of its frame, so that results keep their place."""
    return task(frames[i])


@dataclass(frozen=True, kw_only=True, eq=False)
class InRange(View):
    """A frame without the pixels that are out of range: they are missing."""

    low: float
    high: float

    def pixels(self, y0, y1, x0, x1):
        pixels = np.array(self.below.pixels(y0, y1, x0, x1))
        with np.errstate(invalid="ignore"):
            pixels[(pixels <= self.low) | (pixels >= self.high)] = np.nan
        return pixels


def in_range(frame: Frame, low: float | None, high: float | None) -> Frame:
    """The frame as it is measured when values from `low` down and from `high` up take no part."""
    if low is None and high is None:
        return frame
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    return InRange(source=frame.source, meta=frame.meta, cards=frame.cards, below=frame, low=low, high=high)
