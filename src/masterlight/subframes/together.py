"""Measurements of many frames that will be combined, on a pool: each by itself, then by the stars that they share."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from masterlight.core import workers
from masterlight.core.frame import Frame, View
from masterlight.core.workers import Event
from masterlight.subframes.measure import measure
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.photometry import forced_fluxes, standards, with_star_light
from masterlight.subframes.select import SubframeSelector

Pool = tuple[Executor, int]
Limits = tuple[float | None, float | None]
T = TypeVar("T")
FEWEST_PX = 32
"""Smaller frames are not looked at for stars."""


def measure_all(
    pool: Pool, frames: Sequence[Frame], wanted: tuple[str, ...] = (), *, anchor: int = 0, scale: str = "bwmv",
    limits: Limits = (None, None), stars: bool = True,
) -> Generator[Event, None, list[tuple[Measurement, ...]]]:  # fmt: skip
    """What is to be known of frames of equal shape before they are combined: for each plane one of each frame.

    wanted, scale: as for `measure`; limits: values at or beyond them take no part; stars: whether the light of the
    anchor's stars in every frame tells its scale, where there are any.
    """
    planes = yield from each_frame("measure", pool, partial(measure_within, limits, wanted, scale), frames)
    found = stars and min(frames[0].shape[-2:]) >= FEWEST_PX and SubframeSelector().measure(frames[anchor])
    if found:
        task = partial(forced_fluxes, stars=standards(found[1]))
        fluxes = yield from each_frame("photometry", pool, task, frames)
        planes = [with_star_light(p, f, fluxes[anchor]) for p, f in zip(planes, fluxes, strict=True)]
    return list(zip(*planes, strict=True))


def measure_within(limits: Limits, wanted: tuple[str, ...], scale: str, frame: Frame) -> list[Measurement]:
    """`measure` of the pixels of a frame that lie between two limits."""
    return measure(in_range(frame, *limits), wanted, scale)


def each_frame(
    stage: str, pool: Pool, task: Callable[[Frame], T], frames: Sequence[Frame]
) -> Generator[Event, None, list[T]]:
    """Run a task on every frame; gives the results in their order. A frame that fails ends it with its error."""
    results: list[Any] = [None] * len(frames)
    for event in workers.each(stage, pool, OnFrame(task, frames), range(len(frames)), keep_going=False):
        results[event.item] = event.result
        yield Event(stage, event.done, event.total)
    return results


class OnFrame:
    """A task by the number of its frame, so that results keep their place."""

    def __init__(self, task: Callable[[Frame], Any], frames: Sequence[Frame]):
        self.task, self.frames = task, frames

    def __call__(self, i: int) -> Any:
        return self.task(self.frames[i])


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
    limits = -np.inf if low is None else low, np.inf if high is None else high
    return InRange(source=frame.source, meta=frame.meta, cards=frame.cards, below=frame, low=limits[0], high=limits[1])
