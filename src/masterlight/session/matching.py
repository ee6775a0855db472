"""Which frames belong together, and which calibration frames serve which, and why.

Frames that must not be mixed (camera, size, binning, gain, ...) never are; among what is left the nearest in
exposure, temperature and time is taken. What a header does not say excludes nothing: it is told as a doubt.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import filter_key, object_key, same_filter
from masterlight.core.headers.values import seconds_of
from masterlight.core.together import SENSOR, differences, settings

EXPOSURE_S, EXPOSURE_FRACTION = 0.05, 0.02
"""Darks match an exposure within the larger of these two."""
TEMPERATURE_C = 3.0
"""Darks match a sensor temperature within this."""
LARGEST_SCALE = 10.0
"""Darks are never scaled by more than this factor, nor by less than one over it."""
NIGHT_S = 18 * 3600
"""Flats and lights further apart than this belong to different nights."""
ENOUGH = 3
"""Raw frames that make a master preferable to a ready-made one."""

DOUBTFUL = ("colour pattern", "gain", "offset")
"""Settings that are worth a doubt when only one of two headers tells them."""

PLURAL = {"light": "lights", "dark": "darks", "flat": "flats", "bias": "bias frames", "flatdark": "flat-darks"}


@dataclass(frozen=True, eq=False)
class Group:
    """Frames of one kind that may be treated alike; a ready-made master is a group of its own."""

    kind: str
    frames: tuple[Frame, ...]

    @property
    def meta(self) -> Meta:
        return self.frames[0].meta

    @property
    def is_master(self) -> bool:
        return self.meta.is_master

    @property
    def contains_bias(self) -> bool:
        """Whether the bias level is in the pixels; a master that does not say is taken to hold it."""
        return self.meta.contains_bias is not False and "B" not in self.meta.calibration

    def middle(self, value: Callable[[Meta], float | None]) -> float | None:
        """The median of what the headers say, None when they say nothing."""
        values = [v for v in (value(frame.meta) for frame in self.frames) if v is not None]
        return median(values) if values else None

    @cached_property
    def exposure_s(self) -> float | None:
        return self.middle(lambda meta: meta.exposure_s)

    @cached_property
    def temperature_c(self) -> float | None:
        return self.middle(lambda meta: meta.temperature_c)

    @cached_property
    def time_s(self) -> float | None:
        return self.middle(lambda meta: seconds_of(meta.time))

    @property
    def labels(self) -> list[str]:
        """What tells this group from others: filter, exposure, temperature, binning."""
        filter_ = self.meta.filter if self.kind in ("light", "flat") else None
        exposure = f"{self.exposure_s:.4g} s" if self.exposure_s is not None and self.kind != "bias" else None
        temperature = f"{self.temperature_c:.0f} °C".replace("-0 ", "0 ") if self.temperature_c is not None else None
        binning = "bin {}x{}".format(*self.meta.binning) if self.meta.binning != (1, 1) else None
        gain = f"gain {self.meta.gain:g}" if self.meta.gain is not None else None
        return [label for label in (filter_, exposure, temperature, gain, binning) if label]

    def __str__(self) -> str:
        if self.is_master:
            return f"the master {Path(self.frames[0].source).name}"
        one = self.title.replace(PLURAL[self.kind], PLURAL[self.kind][:-1], 1)
        return f"{len(self.frames)} {self.title}" if len(self.frames) > 1 else f"1 {one}"

    @property
    def title(self) -> str:
        """What these frames are, without their number: the same for every night."""
        of_object = [f"of {self.meta.object}"] if self.kind == "light" and self.meta.object else []
        return " ".join([PLURAL[self.kind], *of_object, *self.labels])


def group_frames(kind: str, frames: Iterable[Frame]) -> list[Group]:
    """Split frames of one kind into groups of equal settings, exposure, temperature, and for flats and lights night."""
    frames = list(frames)
    groups = [Group(kind, (frame,)) for frame in frames if frame.meta.is_master]
    equal: dict[Any, list[Frame]] = {}
    for frame in frames:
        if not frame.meta.is_master:
            meta = frame.meta
            of_object = object_key(meta.object) if kind == "light" else ""
            of_filter = filter_key(meta.filter) if kind in ("light", "flat") else ""
            alike = settings(meta) | {"unit": meta.unit or "DN"}  # floats do not tell, and mostly are counts
            equal.setdefault((of_object, of_filter, meta.calibration, *alike.values()), []).append(frame)
    parts, near = list(equal.values()), lambda a, b: abs(a - b) <= TEMPERATURE_C
    if kind in ("light", "dark", "flatdark"):
        parts = [p for part in parts for p in clusters(part, lambda f: f.meta.exposure_s, same_exposure)]
    if kind != "flat":
        parts = [p for part in parts for p in clusters(part, lambda f: f.meta.temperature_c, near)]
    if kind in ("light", "flat"):
        parts = [p for part in parts for p in nights(part)]
    return groups + [Group(kind, tuple(part)) for part in parts]


def same_exposure(a: float, b: float) -> bool:
    return abs(a - b) <= max(EXPOSURE_S, EXPOSURE_FRACTION * max(a, b)) + 1e-9


def clusters(frames: list[Frame], value: Callable, same: Callable, of_first: bool = True) -> list[list[Frame]]:
    """Frames whose values are the same as that of the smallest of them, or else as that of the one before.

    Those without a value are one cluster.
    """
    out = [[frame for frame in frames if value(frame) is None]]
    known = None
    for frame in sorted((f for f in frames if value(f) is not None), key=value):
        apart = known is None or not same(known, value(frame))
        out += [[]] if apart else []
        known = value(frame) if apart or not of_first else known
        out[-1].append(frame)
    return [part for part in out if part]


def nights(frames: list[Frame]) -> list[list[Frame]]:
    """Frames split where the time between one and the next is longer than a night."""
    return clusters(frames, lambda f: seconds_of(f.meta.time), lambda a, b: b - a <= NIGHT_S, of_first=False)


@dataclass(frozen=True)
class Candidate:
    """One group that might have been used: what it would cost, and why it was not taken ('' when it was)."""

    name: str
    cost: float | None
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """What was looked for, what was taken, and why the others were not."""

    target: str
    need: str
    chosen: str | None
    candidates: tuple[Candidate, ...]
    doubts: tuple[str, ...] = ()


class Comparison(NamedTuple):
    """What speaks against a group, what is in doubt because a header is silent, and how far away it is."""

    against: list[str]
    doubts: list[str]
    cost: float


Remark = tuple[str, str, float]
"""One thing of a comparison: (what speaks against the group, or what is in doubt, or else '', how far away it is)."""


def choose(need: str, target: Group, groups: list[Group], scaled: bool = False) -> tuple[Group | None, Choice]:
    """The best of `groups` to serve `target` as its `need` (bias, dark, flat, flatdark), with the reasons.

    Darks that will be `scaled` may have another exposure and temperature; the nearest is still the best.
    """
    rated = []
    for group in groups:
        seen, few = compare(need, target, group, scaled), len(group.frames) < ENOUGH
        tier = 1 if group.is_master else 2 * few
        rated.append((bool(seen.against), tier, seen.cost, str(group), group, seen))
    rated.sort(key=lambda row: row[:4])
    refused, best_tier, best_cost, chosen, best, best_seen = rated[0] if rated else (True, 0, 0.0, "", None, None)
    candidates = []
    for unfit, tier, cost, name, group, seen in rated:
        reason = "; ".join(seen.against)
        if not unfit and tier != best_tier:
            reason = f"a ready-made master; {ENOUGH} raw frames or more are preferred" if tier == 1 else "fewer frames"
        elif not unfit and group is not best:
            reason = f"further away (cost {cost:.2f} against {best_cost:.2f})"
        candidates.append(Candidate(name, None if unfit else round(cost, 3), reason))
    if refused:
        return None, Choice(str(target), need, None, tuple(candidates))
    doubts = tuple(f"{target.title}: {doubt} ({chosen})" for doubt in best_seen.doubts)
    return best, Choice(str(target), need, chosen, tuple(candidates), doubts)


def compare(need: str, target: Group, group: Group, scaled: bool = False) -> Comparison:
    """How a group would serve: its settings, then what matters for the need, and its age."""
    remarks = list(compare_settings(target, group))
    if need == "flat":
        remarks += compare_flat(target, group)
    elif need == "bias":
        remarks.append(compare_temperature(target, group, limit=None))
    else:
        remarks.append(compare_exposure(target, group, scaled))
        remarks.append(compare_temperature(target, group, None if scaled else TEMPERATURE_C))
    days = abs(group.time_s - target.time_s) / 86400 if group.time_s and target.time_s else 0.0
    age = days / {"flat": 1.0, "bias": 365.0}.get(need, 180.0)
    against, doubts = ([one[i] for one in remarks if one[i]] for i in (0, 1))
    return Comparison(against, doubts, sum(one[2] for one in remarks) + age)


def compare_settings(target: Group, group: Group) -> Iterator[Remark]:
    names = [name for name in SENSOR if name != "unit" or group.kind != "flat"]  # a flat is divided by its own level
    for name, mine, other in differences(target.meta, group.meta, names):
        yield f"{name} {other}, the {PLURAL[target.kind]} have {mine}", "", 0.0
    ours, theirs = settings(target.meta, DOUBTFUL), settings(group.meta, DOUBTFUL)
    for name in DOUBTFUL:
        if (ours[name] is None) != (theirs[name] is None):
            yield "", f"the {name} is known on one side only and taken to be the same", 0.0


def unknown(name: str, target: Group, mine: float | None, group: Group, theirs: float | None) -> str:
    """A doubt about a number that at least one side does not tell."""
    whose = "of both" if mine is theirs else f"of the {PLURAL[(target if mine is None else group).kind]}"
    return f"the {name} {whose} is unknown and taken to be the same"


def compare_exposure(target: Group, group: Group, scaled: bool) -> Remark:
    mine, theirs = target.exposure_s, group.exposure_s
    if mine is None or theirs is None:
        return "", unknown("exposure", target, mine, group, theirs), 1.0
    if scaled and min(mine, theirs) > 0 and max(mine, theirs) / min(mine, theirs) <= LARGEST_SCALE:
        return "", "", abs(math.log(theirs / mine)) / EXPOSURE_FRACTION
    if not same_exposure(mine, theirs):
        return f"exposure {theirs:g} s, the {PLURAL[target.kind]} have {mine:g} s", "", 0.0
    return "", "", abs(math.log(max(theirs, 1e-6) / max(mine, 1e-6))) / EXPOSURE_FRACTION


def compare_temperature(target: Group, group: Group, limit: float | None) -> Remark:
    mine, theirs = target.temperature_c, group.temperature_c
    if mine is None or theirs is None:
        return "", unknown("temperature", target, mine, group, theirs) if limit else "", 0.5
    apart = abs(mine - theirs)
    if limit and apart > limit:
        return f"temperature {theirs:.1f} °C, the {PLURAL[target.kind]} have {mine:.1f} °C", "", 0.0
    warm = f"{apart:.1f} °C apart, dark current differs by {100 * (2 ** (apart / 6) - 1):.0f} %"
    return "", warm if limit and apart > 1 else "", apart if limit else apart / 5


def compare_flat(target: Group, group: Group) -> Iterator[Remark]:
    same = same_filter(target.meta.filter, group.meta.filter)
    if same is False:
        yield f"filter {group.meta.filter}, the lights have {target.meta.filter}", "", 0.0
    elif same is None and (target.meta.filter or group.meta.filter):
        whose = "flats" if target.meta.filter else "lights"
        yield "", f"the filter of the {whose} is unknown and taken to be the same", 5.0
    mine, theirs = target.meta.rotator_deg, group.meta.rotator_deg
    if None not in (mine, theirs) and abs((mine - theirs + 180) % 360 - 180) > 1:
        yield "", f"the rotator stood at {theirs:.1f}° for the flats and at {mine:.1f}° for the lights", 10.0
