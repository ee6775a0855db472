"""Which calibration frames serve which, and why.

Frames that must not be mixed (camera, size, binning, gain, ...) never are; among what is left the nearest in
exposure, temperature, angle and time is taken. What a header does not say excludes nothing: it is told as a doubt.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from masterlight.core.headers.names import same_filter
from masterlight.core.together import EXPOSURE_FRACTION, TEMPERATURE_C, same_exposure, unlike
from masterlight.session.groups import (
    ENOUGH,
    PLURAL,
    ROTATOR_DEG,
    Group,
    same_focal_length,
    telescope_key,
    turn_deg,
)
from masterlight.session.nights import steps_between

LARGEST_SCALE = 10.0
"""Darks are never scaled by more than this factor, nor by less than one over it."""

OTHER_ANGLE = OTHER_OPTICS = 30.0
"""Days that flats of the same angle, or telescope, may be older to be preferred to those of another one."""
FOLDER_STEP = 0.1
"""Days that a step from folder to folder counts as, where there are no dates."""
REFUSED = 1000.0
"""What each thing that speaks against a group costs where it must serve all the same."""

OTHER_READ_OUT: dict[str, Literal["doubt", "note"]] = {"gain": "note", "offset": "note", "readout mode": "doubt"}
"""How much it matters that flats were read out otherwise than the lights: with their own bias level taken off, and
divided by their own brightness, they hold what the optics do."""
OLDER_READ_OUT = 10.0
"""Days that flats read out as the lights may be older to be preferred to those read out otherwise."""

DOUBTFUL = ("colour pattern", "gain", "offset")
"""Settings that are worth a doubt when only one of two headers tells them."""


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
    apart: tuple[str, ...] = ()
    """In what the one that was taken differs from the target, harmless as it is."""


class Remark(NamedTuple):
    """One thing in which a group differs from what it is to serve, or that only one of them tells."""

    words: str
    weight: Literal["against", "doubt", "note"] = "note"
    cost: float = 0.0


class Comparison:
    """What speaks against a group, what is in doubt, what is told besides, and how far away it is."""

    def __init__(self, remarks: Iterable[Remark]):
        self.remarks = list(remarks)
        self.cost = math.fsum(one.cost for one in self.remarks)

    def of(self, *weights: str) -> list[str]:
        return [one.words for one in self.remarks if one.words and one.weight in weights]

    def overruled(self) -> "Comparison":
        """The same where somebody says that it shall serve: what speaks against it is in doubt."""
        return Comparison(
            one._replace(weight="doubt", cost=one.cost + REFUSED) if one.weight == "against" else one
            for one in self.remarks
        )


def choose(
    need: str, target: Group, groups: list[Group], scaled: bool = False, rotator_deg: float = ROTATOR_DEG,
    named: bool = False,
) -> tuple[Group | None, Choice]:  # fmt: skip
    """The best of `groups` to serve `target` as its `need` (bias, dark, flat, flatdark), with the reasons.

    Darks that will be `scaled` may have another exposure and temperature; the nearest is still the best. Groups that
    somebody `named` serve whatever speaks against them.
    """
    rows = []
    for group in groups:
        seen, few = Comparison(compare(need, target, group, scaled, rotator_deg)), len(group.frames) < ENOUGH
        seen = seen.overruled() if named else seen
        tier = 0 if named else 1 if group.is_master else 2 * few
        rows.append((bool(seen.of("against")), tier, seen.cost, str(group), group, seen))
    straight = [row for row in rows if not row[0] and not is_turned(need, target, row[4], rotator_deg)]
    last = max((row[1] for row in straight), default=0)  # many frames of another angle are no better than few of this
    rated = [(row[0], row[1] if row in straight else max(row[1], last), *row[2:], row[1]) for row in rows]
    rated.sort(key=lambda row: row[:4])
    refused, _, best_cost, chosen, best, best_seen, best_tier = rated[0] if rated else (True, 0, 0.0, "", None, None, 0)
    candidates = tuple(
        Candidate(
            name,
            None if unfit else round(cost, 3),
            "" if group is best and not refused else why_not(seen, unfit, tier, best_tier, best_cost),
        )
        for unfit, _, cost, name, group, seen, tier in rated
    )
    if refused:
        return None, Choice(str(target), need, None, candidates)
    doubts = (*best_seen.of("doubt"), *several_angles(need, target, rated), *equals(rated))
    return best, Choice(str(target), need, chosen, candidates, doubts, tuple(best_seen.of("doubt", "note")))


def several_angles(need: str, target: Group, rated: list[tuple[Any, ...]]) -> Iterator[str]:
    """A doubt where lights do not tell their angle and there are flats of more than one."""
    angles = {round(row[4].rotator_deg) for row in rated if not row[0] and row[4].rotator_deg is not None}
    if need == "flat" and target.rotator_deg is None and len(angles) > 1:
        yield f"the lights do not tell the angle of the rotator, and there are flats of {len(angles)}"


def equals(rated: list[tuple[Any, ...]]) -> Iterator[str]:
    """A doubt where nothing tells the best from the next."""
    if len(rated) > 1 and rated[0][:2] == rated[1][:2] and math.isclose(rated[0][2], rated[1][2], abs_tol=1e-9):
        yield f"{rated[1][3]} would serve as well, and nothing tells which is right; Recipe.match can"


def why_not(seen: Comparison, unfit: bool, tier: int, best_tier: int, best_cost: float) -> str:
    """Why another group was taken, field by field."""
    if unfit:
        return "; ".join(seen.of("against", "doubt", "note"))
    if tier > best_tier:
        return f"a ready-made master; {ENOUGH} raw frames or more are preferred" if tier == 1 else "fewer frames"
    return "; ".join([*seen.of("doubt", "note"), f"further away (cost {seen.cost:.2f} against {best_cost:.2f})"])


def compare(need: str, target: Group, group: Group, scaled: bool, rotator_deg: float) -> Iterator[Remark]:
    """How a group would serve, field by field: its settings, then what matters for the need, and its age."""
    dark = need not in ("flat", "bias")
    if need == "flat":
        yield from compare_filter(target, group)
    if dark:
        yield compare_exposure(target, group, scaled)
    yield compare_temperature(target, group, TEMPERATURE_C if dark and not scaled else None, need)
    yield from compare_settings(need, target, group)
    if need == "flat":
        yield from compare_optics(target, group)
        yield compare_rotator(target, group, rotator_deg)
    yield compare_age(target, group, need)


def compare_settings(need: str, target: Group, group: Group) -> Iterator[Remark]:
    levelled = need == "flat" and not (group.is_master and group.contains_bias)
    ours, theirs = target.settings, group.settings
    for name, mine, other in unlike(ours, theirs):
        if name == "unit" and group.kind == "flat":  # which is divided by its own level
            continue
        if name == "camera":
            mine, other = target.meta.camera, group.meta.camera
        mine, other = (f"{one:g}" if isinstance(one, float) else one for one in (mine, other))
        harmless = OTHER_READ_OUT.get(name) if levelled else None
        words = f"{name} {other}, the {PLURAL[target.kind]} have {mine}"
        yield Remark(words, harmless or "against", OLDER_READ_OUT if harmless else 0.0)
    for name in DOUBTFUL:
        if (ours[name] is None) != (theirs[name] is None):
            yield Remark(f"the {name} is known on one side only and taken to be the same", "doubt")


def unknown(name: str, target: Group, mine: float | None, group: Group, theirs: float | None) -> str:
    """A doubt about a number that at least one side does not tell."""
    whose = "of both" if mine is theirs else f"of the {PLURAL[(target if mine is None else group).kind]}"
    return f"the {name} {whose} is unknown and taken to be the same"


def compare_exposure(target: Group, group: Group, scaled: bool) -> Remark:
    mine, theirs = target.exposure_s, group.exposure_s
    if mine is None or theirs is None:
        return Remark(unknown("exposure", target, mine, group, theirs), "doubt", 1.0)
    words = f"exposure {theirs:g} s, the {PLURAL[target.kind]} have {mine:g} s"
    if scaled and min(mine, theirs) > 0 and max(mine, theirs) / min(mine, theirs) <= LARGEST_SCALE:
        return Remark(words, "note", abs(math.log(theirs / mine)) / EXPOSURE_FRACTION)
    if not same_exposure(mine, theirs):
        return Remark(words, "against")
    return Remark("", "note", abs(math.log(max(theirs, 1e-6) / max(mine, 1e-6))) / EXPOSURE_FRACTION)


def compare_temperature(target: Group, group: Group, limit: float | None, need: str) -> Remark:
    """Darks must have it; a flat is divided by its own level, and a bias hardly knows it."""
    mine, theirs = target.temperature_c, group.temperature_c
    if mine is None or theirs is None:
        words = unknown("temperature", target, mine, group, theirs) if limit else ""
        return Remark(words, "doubt", 0.0 if need == "flat" else 0.5)
    apart = abs(mine - theirs)
    told = f"temperature {theirs:.1f} °C, the {PLURAL[target.kind]} have {mine:.1f} °C"
    if limit and apart > limit:
        return Remark(told, "against")
    if limit and apart > 1:
        warm = f"{apart:.1f} °C apart, dark current differs by {100 * (2 ** (apart / 6) - 1):.0f} %"
        return Remark(warm, "doubt", apart)
    cost = apart if limit else apart / 50 if need == "flat" else apart / 5
    return Remark(told if apart > 1 else "", "note", cost)


def compare_filter(target: Group, group: Group) -> Iterator[Remark]:
    same = same_filter(target.meta.filter, group.meta.filter)
    if same is False:
        yield Remark(f"filter {group.meta.filter}, the lights have {target.meta.filter}", "against")
    elif same is None and (target.meta.filter or group.meta.filter):
        whose = "flats" if target.meta.filter else "lights"
        yield Remark(f"the filter of the {whose} is unknown and taken to be the same", "doubt", 5.0)


def compare_optics(target: Group, group: Group) -> Iterator[Remark]:
    """Flats through another telescope have its vignetting and its dust; the name may be a mount's."""
    mine, theirs = (telescope_key(one.meta.telescope) for one in (target, group))
    if mine and theirs and mine != theirs:
        words = f"the telescope is told as {group.meta.telescope} for the flats and as {target.meta.telescope} for the"
        yield Remark(f"{words} lights", "doubt", OTHER_OPTICS)
    ours, others = target.meta.focal_mm, group.meta.focal_mm
    if ours and others and not same_focal_length(ours, others):
        words = f"the focal length was {others:g} mm for the flats and {ours:g} mm for the lights"
        yield Remark(words, "doubt", OTHER_OPTICS)


def compare_rotator(target: Group, group: Group, tolerance_deg: float) -> Remark:
    """Flats of another angle are worth less than older ones of the same: vignetting and dust before it have turned."""
    mine, theirs, apart = target.rotator_deg, group.rotator_deg, turned_deg(target, group)
    if apart is None:
        return Remark("", cost=0.0 if mine is theirs else 1.0)
    if apart <= tolerance_deg + 1e-6:
        return Remark("", cost=apart / 100)
    words = f"the rotator stood at {theirs:.1f}° for the flats and at {mine:.1f}° for the lights"
    return Remark(f"{words}, more than {tolerance_deg:g}° apart", "doubt", OTHER_ANGLE)


def turned_deg(target: Group, group: Group) -> float | None:
    """How far the rotator was turned between two groups; None where one does not tell its angle."""
    if target.rotator_deg is None or group.rotator_deg is None:
        return None
    return turn_deg(target.rotator_deg, group.rotator_deg)


def is_turned(need: str, target: Group, group: Group, tolerance_deg: float) -> bool:
    """Whether these are flats of another angle than their lights."""
    return need == "flat" and (turned_deg(target, group) or 0.0) > tolerance_deg + 1e-6


def compare_age(target: Group, group: Group, need: str) -> Remark:
    """The days between them, which count most for flats; where dates are missing, the steps from folder to folder."""
    worth = {"flat": 1.0, "bias": 365.0}.get(need, 180.0)
    if target.time_s is not None and group.time_s is not None:
        days = abs(group.time_s - target.time_s) / 86400
        return Remark(f"{days:.1f} days apart" if days >= (0.5 if need == "flat" else 30) else "", cost=days / worth)
    pairs = ((steps_between(a, b), a, b) for a in sorted(target.folders) for b in sorted(group.folders))
    steps, mine, theirs = min(pairs)
    words = f"folder {short(theirs)}, the {PLURAL[target.kind]} lie in {short(mine)}"
    return Remark(words if steps > 2 and need == "flat" else "", cost=steps * FOLDER_STEP / worth)


def short(folder: str) -> str:
    """The last two names of a path."""
    return "/".join(PurePath(folder).parts[-2:])
