"""Frames of one kind in groups that may be treated alike, and what each group is called.

Settings of the camera are never mixed. Flats and lights are split besides where they saw through another telescope or
focal length, where the rotator stood otherwise, by night, and by folder where there are no dates; flats where the
temperature jumps, all others where it is another one. What a header does not say splits nothing as long as there is
one group it can belong to.
"""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from statistics import median
from typing import Any

from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import filter_key, object_key
from masterlight.core.headers.values import seconds_of
from masterlight.core.together import TEMPERATURE_C, same_exposure, settings
from masterlight.session.nights import clusters, flats_by_night, folders_of, lights_by_night, nightly, nights_of, within

JUMP_C = 5.0
"""Flats whose temperatures leave a gap wider than this are two sets; without a gap they drift, and are one."""
ROTATOR_DEG = 2.0
"""Rotators come back to an angle within this."""
FOCAL_FRACTION = 0.05
"""Focal lengths told of one telescope, by its maker and by plate solutions, differ by less."""
ENOUGH = 3
"""Raw frames that make a master preferable to a ready-made one."""

PLURAL = {"light": "lights", "dark": "darks", "flat": "flats", "bias": "bias frames", "flatdark": "flat-darks"}


@dataclass(frozen=True, eq=False)
class Group:
    """Frames of one kind that may be treated alike; a ready-made master is a group of its own."""

    kind: str
    frames: tuple[Frame, ...]
    apart: tuple[str, ...] = ()
    """What tells it from the other groups of a night that would be called the same without."""

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

    @cached_property
    def rotator_deg(self) -> float | None:
        """Where the rotator stood, 0 to 360; None where no header tells it."""
        return mean_angle(frame.meta.rotator_deg for frame in self.frames)

    @cached_property
    def folders(self) -> frozenset[str]:
        return folders_of(self.frames)

    @property
    def filter(self) -> str | None:
        return self.meta.filter if self.kind in ("light", "flat") else None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the camera, read once: groups are compared with many others."""
        return settings(self.meta)

    @cached_property
    def labels(self) -> list[str]:
        """What tells this group from others: filter, exposure, temperature, gain, binning, and what else differs."""
        exposure = exposure_words(self) if self.kind != "bias" else None
        words = (self.filter, exposure, temperature_words(self), gain_words(self), binning_words(self), *self.apart)
        return list(dict.fromkeys(word for word in words if word))

    @property
    def words(self) -> list[str]:
        """What to name its master after: kind, filter, exposure, temperature, gain, binning, and what else differs."""
        pooled = [exposure_words(self), temperature_words(self)] if self.kind == "flat" else []
        labels = [label for label in self.labels if label not in pooled or label in self.apart]
        return [self.kind, *(re.sub(r"\s|°|^in ", "", label) for label in labels)]

    def __str__(self) -> str:
        if self.is_master:
            return f"the master {Path(self.frames[0].source).name}"
        one = self.title.replace(PLURAL[self.kind], PLURAL[self.kind][:-1], 1)
        return f"{len(self.frames)} {self.title}" if len(self.frames) > 1 else f"1 {one}"

    @cached_property
    def title(self) -> str:
        """What these frames are, without their number: the same for every night."""
        of_object = [f"of {self.meta.object}"] if self.kind == "light" and self.meta.object else []
        return " ".join([PLURAL[self.kind], *of_object, *self.labels])


def mean_angle(angles_deg: Iterable[float | None]) -> float | None:
    """The mean of angles around the circle, 0 to 360; those that are unknown do not count."""
    angles = [math.radians(angle) for angle in angles_deg if angle is not None]
    mean = math.atan2(math.fsum(map(math.sin, angles)), math.fsum(map(math.cos, angles)))
    return round(math.degrees(mean), 6) % 360 if angles else None


def turn_deg(one_deg: float, other_deg: float) -> float:
    """How far apart two angles are around the circle, 0 to 180."""
    return abs((one_deg - other_deg + 180) % 360 - 180)


def exposure_words(group: Group) -> str | None:
    return f"{group.exposure_s:.4g} s" if group.exposure_s is not None else None


def temperature_words(group: Group) -> str | None:
    return f"{group.temperature_c:.0f} °C".replace("-0 ", "0 ") if group.temperature_c is not None else None


def gain_words(group: Group) -> str | None:
    return f"gain {group.meta.gain:g}" if group.meta.gain is not None else None


def binning_words(group: Group) -> str | None:
    return "bin {}x{}".format(*group.meta.binning) if group.meta.binning != (1, 1) else None


def setting_words(name: str, before: str = "") -> Callable[[Group], str | None]:
    """How a label calls a setting of the camera."""

    def words(group: Group) -> str | None:
        value = settings(group.meta, [name])[name]
        told = f"{value:g}" if isinstance(value, float) else str(value).replace(" x ", "x")
        return before + told if value is not None else None

    return words


def focal_words(group: Group) -> str | None:
    return f"{group.meta.focal_mm:.0f} mm" if group.meta.focal_mm else None


def rotator_words(group: Group) -> str | None:
    return f"rotator {group.rotator_deg:.0f}°" if group.rotator_deg is not None else None


def night_words(group: Group) -> str | None:
    """The date on which its first frame was taken."""
    return min((frame.meta.time[:10] for frame in group.frames if frame.meta.time), default=None)


def folder_words(group: Group) -> str | None:
    """The last two folders of its path."""
    return "in " + ("/".join(PurePath(min(group.folders)).parts[-2:]) or ".") if len(group.folders) == 1 else None


APART: dict[str, Callable[[Group], str | None]] = {
    "camera": lambda group: group.meta.camera,
    "binning": binning_words,
    "size": setting_words("size"),
    "region": setting_words("region", "region from "),
    "colour pattern": setting_words("colour pattern"),
    "readout mode": setting_words("readout mode", "mode "),
    "offset": setting_words("offset", "offset "),
    "unit": setting_words("unit", "in "),
    "calibration": lambda group: f"calibrated {group.meta.calibration}" if group.meta.calibration else None,
    "telescope": lambda group: group.meta.telescope,
    "focal length": focal_words,
    "rotator": rotator_words,
    "temperature": temperature_words,
    "exposure": exposure_words,
    "night": night_words,
    "folder": folder_words,
    "hour": lambda group: min((f.meta.time[11:16] for f in group.frames if f.meta.time), default=None),
    "file": lambda group: f"from {Path(group.frames[0].source).stem}",
}
"""What may tell two groups apart that are called the same, and how labels say it; the first that do are used."""


ODD, PASSING = ("temperature", "telescope", "focal length", "rotator"), ("hour", "file")
"""What one frame of many may tell wrongly, and what differs from frame to frame."""


def group_frames(
    kind: str, frames: Iterable[Frame], others: Iterable[Frame] = (), rotator_deg: float = ROTATOR_DEG,
    mark: Callable[[Frame], Hashable] = lambda frame: (),
) -> list[Group]:  # fmt: skip
    """Split frames of one kind into groups of equal settings, exposure, temperature, telescope, angle and night.

    others: for flats the lights of the session, which tell its nights; for lights the calibration frames.
    rotator_deg: how far angles of one group may lie apart; mark: frames for which it differs are kept apart.
    """
    frames, shines = list(frames), kind in ("light", "flat")
    groups = [Group(kind, (frame,)) for frame in frames if frame.meta.is_master]
    equal: dict[Any, list[Frame]] = {}
    for frame in frames:
        if not frame.meta.is_master:
            meta = frame.meta
            of_object = object_key(meta.object) if kind == "light" else ""
            of_filter = filter_key(meta.filter) if shines else ""
            alike = settings(meta) | {"unit": meta.unit or "DN"}  # floats do not tell, and mostly are counts
            equal.setdefault((of_object, of_filter, meta.calibration, mark(frame), *alike.values()), []).append(frame)
    parts = list(equal.values())
    if kind in ("light", "dark", "flatdark"):
        parts = [p for part in parts for p in clusters(part, lambda f: f.meta.exposure_s, same_exposure)]
    parts = [p for part in parts for p in joined(by_temperature(kind, part), lambda f: f.meta.temperature_c)]
    if shines:
        beside, by_night = (nights_of(others), flats_by_night) if kind == "flat" else (nightly(others), lights_by_night)
        parts = [p for part in parts for p in joined(by_telescope(part), lambda f: telescope_key(f.meta.telescope))]
        parts = [p for part in parts for p in joined(by_focal_length(part), lambda f: f.meta.focal_mm or None)]
        parts = [p for part in parts for p in joined(by_angle(part, rotator_deg), lambda f: f.meta.rotator_deg)]
        parts = [p for part in parts for p in by_night(part, beside)]
    return groups + name_apart([Group(kind, tuple(part)) for part in parts])


def joined(parts: list[list[Frame]], value: Callable[[Frame], Any]) -> list[list[Frame]]:
    """Clusters, with the frames without a value in the only other one, where there is one only."""
    if len(parts) == 2 and value(parts[0][0]) is None:
        return [parts[1] + parts[0]]
    return parts


def by_temperature(kind: str, frames: list[Frame]) -> list[list[Frame]]:
    """Flats split where temperatures leave a gap: they may drift; others where dark current is another."""
    drifts = kind == "flat"
    limit = JUMP_C if drifts else TEMPERATURE_C
    return clusters(frames, lambda f: f.meta.temperature_c, within(limit), of_first=not drifts)


def telescope_key(name: str | None) -> str | None:
    """What a telescope is compared by; None where nothing tells it."""
    return re.sub(r"[\W_]", "", name or "").lower() or None


def by_telescope(frames: list[Frame]) -> list[list[Frame]]:
    """Frames split by the telescope that headers name: twins carry the same camera, and each has its own dust."""
    return clusters(frames, lambda f: telescope_key(f.meta.telescope), lambda one, other: one == other)


def same_focal_length(a: float, b: float) -> bool:
    return abs(a - b) <= FOCAL_FRACTION * max(a, b)


def by_focal_length(frames: list[Frame]) -> list[list[Frame]]:
    """Frames split where a reducer or another lens gave another focal length."""
    return clusters(frames, lambda f: f.meta.focal_mm or None, same_focal_length)


def by_angle(frames: list[Frame], tolerance_deg: float) -> list[list[Frame]]:
    """Frames split where angles of the rotator, around the circle, lie further apart; without an angle the first."""

    def angle(frame: Frame) -> float | None:
        return None if frame.meta.rotator_deg is None else frame.meta.rotator_deg % 360

    parts = clusters(frames, angle, within(tolerance_deg + 1e-9), of_first=False)
    told = [part for part in parts if angle(part[0]) is not None]
    if len(told) > 1 and angle(told[0][0]) + 360 - angle(told[-1][-1]) <= tolerance_deg + 1e-9:
        told[0][:] = parts.pop() + told[0]  # the circle closes
    return parts


def name_apart(groups: list[Group]) -> list[Group]:
    """The groups, those that would be called the same with as many labels more as tell them apart."""
    for words in APART.values():
        alike: dict[tuple[str, ...], list[int]] = {}
        for i, group in enumerate(groups):
            of_object = object_key(group.meta.object) if group.kind == "light" else ""
            alike.setdefault((*group.words, of_object), []).append(i)
        for same in alike.values():
            told = {i: words(groups[i]) for i in same}
            if len(set(told.values())) > 1:
                for i in same:
                    groups[i] = replace(groups[i], apart=(*groups[i].apart, *([told[i]] if told[i] else [])))
    return groups


def lonely(groups: list[Group]) -> Iterator[str]:
    """Sentences on single frames that one odd number keeps apart from many others, so that they are not used."""
    for group in groups:
        for other in groups:
            one = group.frames[0]
            if group.is_master or len(group.frames) > 1 or len(other.frames) < ENOUGH or other.folders != group.folders:
                continue
            odd = [name for name in APART if name not in PASSING and APART[name](group) != APART[name](other)]
            if len(odd) == 1 and odd[0] in ODD:
                mine, theirs = ((APART[odd[0]](g) or "unknown").removeprefix("rotator ") for g in (group, other))
                yield f"""{Path(one.source).name}: its {odd[0]} is told as {mine}, that of {other} as {theirs}; it is a
                    set of its own. Mend its header if that is not so"""
