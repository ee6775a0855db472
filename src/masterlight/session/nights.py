"""Which frames were taken in one night, as their dates tell; where dates are missing, folders stand for nights."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import PurePath
from statistics import median
from typing import Any

from masterlight.core.frame import Frame
from masterlight.core.headers.names import filter_key
from masterlight.core.headers.values import seconds_of

PAUSE_S = 6 * 3600
"""Lights that are further apart belong to two nights; between these lies a day."""
BATCH_S = 2 * 3600
"""Flats that are no further apart were taken in one go."""
NIGHT_S = 18 * 3600
"""Flats further apart than this, or as far from all lights, belong to different nights."""
Spell = tuple[float, float]
"""The first and the last moment of the lights of a night, in seconds since 1970."""


def clusters(frames: Iterable[Frame], value: Callable, same: Callable, of_first: bool = True) -> list[list[Frame]]:
    """Frames whose values are the same as that of the smallest of them, or else as that of the one before.

    Those without a value are one cluster, the first.
    """
    frames = list(frames)
    out = [[frame for frame in frames if value(frame) is None]]
    known = None
    for frame in sorted((f for f in frames if value(f) is not None), key=value):
        apart = known is None or not same(known, value(frame))
        out += [[]] if apart else []
        known = value(frame) if apart or not of_first else known
        out[-1].append(frame)
    return [part for part in out if part]


def within(limit: float) -> Callable[[float, float], bool]:
    """Whether a value lies no further above another than so much."""
    return lambda low, high: high - low <= limit


seconds_since_1970 = lru_cache(1 << 16)(seconds_of)
"""The same moments are asked for again and again, and reading one takes a microsecond or two."""


def moment(frame: Frame) -> float | None:
    """When an exposure began, in seconds since 1970."""
    return seconds_since_1970(frame.meta.time)


def nights_of(lights: Iterable[Frame]) -> list[Spell]:
    """When lights were taken, night by night."""
    dated = [frame for frame in lights if moment(frame) is not None]
    parts = clusters(dated, moment, within(PAUSE_S), of_first=False)
    return [(moment(part[0]), moment(part[-1])) for part in parts]


def flats_by_night(flats: list[Frame], spells: Sequence[Spell]) -> list[list[Frame]]:
    """Flats split by the night of lights that each batch was taken nearest to, and where more than a day is between.

    Those without a date are split by folder, unless all dated ones of their folder are one set.
    """
    dated = [frame for frame in flats if moment(frame) is not None]
    found: dict[int | None, list[Frame]] = {}
    for batch in batches_of(dated):
        middle = median(map(moment, batch))
        away = [distance_s(spell, middle) for spell in spells]
        found.setdefault(away.index(min(away)) if away and min(away) <= NIGHT_S else None, []).extend(batch)
    parts = [p for part in found.values() for p in clusters(part, moment, within(NIGHT_S), of_first=False)]
    return at_home(parts, by_folder(frame for frame in flats if moment(frame) is None))


def nightly(frames: Iterable[Frame]) -> list[Frame]:
    """The calibration frames that lights of one night may have of their own: flats, and masters ready-made."""
    return [frame for frame in frames if frame.meta.is_master or frame.meta.kind == "flat"]


def lights_by_night(lights: list[Frame], others: Iterable[Frame]) -> list[list[Frame]]:
    """Lights split where flats, or ready-made masters, of another night are nearer; without dates, of another folder.

    others: those that `nightly` gives.
    """
    own, kinds = filter_key(lights[0].meta.filter), dict[Any, list[Frame]]()
    for frame in others:
        if frame.meta.kind != "flat" or filter_key(frame.meta.filter) in (own, ""):
            kinds.setdefault((frame.meta.kind, frame.meta.is_master), []).append(frame)
    moments = [[median(map(moment, batch)) for batch in batches_of(part)] for part in kinds.values()]
    folders = [list(by_folder(f for f in part if moment(f) is None)) for part in kinds.values()]
    dated: dict[Any, list[Frame]] = {}
    for part in clusters(lights, moment, within(PAUSE_S), of_first=False):
        if moment(part[0]) is not None:
            spell = moment(part[0]), moment(part[-1])
            served = [nearest(some, lambda time, spell=spell: distance_s(spell, time)) for some in moments]
            dated.setdefault(tuple(served), []).extend(part)
    silent: dict[Any, list[Frame]] = {}
    for place, part in by_folder(frame for frame in lights if moment(frame) is None).items():
        served = [nearest(some, lambda other, place=place: steps_between(place, other)) for some in folders]
        silent.setdefault(tuple(served), []).extend(part)
    return at_home(list(dated.values()), silent)


def batches_of(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames that have a date, in batches that were taken in one go."""
    dated = (frame for frame in frames if moment(frame) is not None)
    return clusters(dated, moment, within(BATCH_S), of_first=False)


def folders_of(frames: Iterable[Frame]) -> frozenset[str]:
    return frozenset(str(PurePath(frame.source).parent) for frame in frames)


def nearest(some: Sequence[Any], distance: Callable[[Any], float]) -> int | None:
    """Which of some things is nearest; None where there are none."""
    away = list(map(distance, some))
    return away.index(min(away)) if away else None


def distance_s(spell: Spell, time: float) -> float:
    return max(spell[0] - time, time - spell[1], 0.0)


def at_home(parts: list[list[Frame]], silent: dict[Any, list[Frame]]) -> list[list[Frame]]:
    """Sets of dated frames and of those without: the latter join the only set that lies in their folder."""
    for frames in silent.values():
        places = folders_of(frames)
        home = [part for part in parts if places & folders_of(part)]
        if len(home) == 1:
            home[0] += frames
        else:
            parts.append(frames)
    return parts


def steps_between(a: str, b: str) -> int:
    """How many folders up and down one must go from one to the other."""
    mine, theirs = PurePath(a).parts, PurePath(b).parts
    shared = next((i for i, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), None)
    shared = min(len(mine), len(theirs)) if shared is None else shared
    return len(mine) + len(theirs) - 2 * shared


def by_folder(frames: Iterable[Frame]) -> dict[str, list[Frame]]:
    """Frames by their folder; those that are alone in one are together, under no name."""
    found: dict[str, list[Frame]] = {}
    for frame in frames:
        found.setdefault(str(PurePath(frame.source).parent), []).append(frame)
    alone = [place for place, part in found.items() if len(part) == 1]
    if len(alone) > 1:
        found[""] = [found.pop(place)[0] for place in alone]
    return found
