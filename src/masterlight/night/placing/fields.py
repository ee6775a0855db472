"""Between the passes: lights are approved, and those that show the same stars are one field, laid on one reference.

Mostly all lights of a target do. What does not match the reference is tried among itself before it is left out: lights
without a name may show two targets, and a name may be wrong.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from masterlight.alignment.overlaid import places_of
from masterlight.alignment.transform import Transform
from masterlight.core.errors import Rejected
from masterlight.core.headers.values import seconds_of
from masterlight.core.workers import Events
from masterlight.doctor.findings import some
from masterlight.night.lights.light import Light
from masterlight.night.placing.laying import (
    Field,
    framed,
    joined,
    lay_finely,
    lay_on_one,
    match_best,
    match_lights,
    named_reference,
    rank_references,
    take,
)  # fmt: skip
from masterlight.night.report import FrameReport
from masterlight.night.run import Run
from masterlight.session.targets.apart import sensor_of
from masterlight.subframes.choice.health import examined
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.measurement import HEALTH_FIELDS

FEWEST = 3
"""Lights that make a field beside a larger one; beside one of two, two do."""
TRIES, NEIGHBOURS = 8, 8
"""How many lights are tried as the reference of a further field, with how many others of about the same time each."""
STILL_PX, NARROW = 0.1, 0.8
"""Lights that lie closer than this on their reference were not dithered, or show no stars but hot pixels, which are
narrower than this share of the width of stars."""
CLEAR, SHARP = 0.5, 1.5
"""A light with this share of the stars of others, and stars no larger than so many times theirs, saw them as well."""


def find_fields(run: Run, lights: list[Light], beside: Light | None = None) -> Events[list[Field]]:
    """Approve lights and find what they show: fields with the transforms of their lights, the largest first.

    Lights that do not come to any field are rejected. beside: a reference that is none of them, for those it shows.
    """
    approved, doubtful = [], {}
    for light, verdict in zip(lights, judge_lights(run, lights), strict=True):
        if verdict is None:
            approved.append(light)
        elif is_few_of_group(verdict):
            doubtful[light] = verdict
        else:
            yield run.reject(verdict, FrameReport.of(light, run.plan))
    if not approved:
        for light, verdict in doubtful.items():
            yield run.reject(verdict, FrameReport.of(light, run.plan))
        return []
    if len(approved) == 1 and not doubtful and beside is None:
        yield run.note("align", f"{Path(approved[0].source).name} is the only usable light: passed through as it is")
        approved[0].transform = Transform.identity(approved[0].stars.shape)
        return [framed(run, Field(approved, approved[0]))]
    field, rest = yield from lay_on_one(run, approved, doubtful, beside)
    if not field.lights:
        words = f"none of the {len(approved)} lights shows the stars of {Path(field.reference.source).name}"
        yield run.note("align", f"{words}: they are laid on one of their own")
        field, rest = yield from lay_on_one(run, approved, doubtful)
    fields = [field]
    tried = [light for light, why in rest.items() if why is not doubtful.get(light)]
    more = yield from further_fields(run, tried, fields[0])
    for field in more:
        kept = yield from approved_of(run, field)
        fields += [kept] if kept.lights else []
    found = {light for field in more for light in field.lights}
    lost = {light: rest[light] for light in rest if light not in found}
    if not named_reference(run, [fields[0].reference]):
        fields.sort(key=lambda field: (-len(field.lights), field.lights[0].source))
    lost |= yield from leave_hot_pixels(run, fields)
    for light, why in lost.items():
        if not why:
            yield run.reject(why_not(light, why, fields[0]), FrameReport.of(light, run.plan))
    for words in told_of(run, fields):
        yield run.note("align", words)
    return (yield from lay_finely(run, fields))


def further_fields(run: Run, rest: Sequence[Light], first: Field) -> Events[list[Field]]:
    """Fields among the lights that the reference of the first one does not show, each with a reference of its own."""
    fields, left, tries = [], list(rest), TRIES
    fewest = min(FEWEST, max(2, len(first.lights)))
    tried: set[Light] = set()
    while tries and len(left) >= fewest and (open_ := [light for light in left if light not in tried]):
        reference = rank_references(run, open_)[0]
        tried.add(reference)
        near = sorted(left, key=lambda light: apart_s(light, reference))[: NEIGHBOURS + 1]
        matches = yield from match_lights(run, reference, near)
        if len(near) < len(left) and sum(map(bool, matches.values())) > 1:
            matches = yield from match_lights(run, reference, left)
        if sum(map(bool, matches.values())) < fewest:
            tries -= 1
            continue
        matches, reference = yield from match_best(run, matches, reference)
        left = [light for light in left if not matches.get(light)]
        field, left = yield from joined(run, take(matches, reference), left)
        fields.append(field)
        yield run.note("align", f"reference of another field: {Path(reference.source).name}")
    return fields


def leave_hot_pixels(run: Run, fields: list[Field]) -> Events[dict[Light, Transform | Rejected]]:
    """Take out the fields that are hot pixels under clouds; gives how their lights match the first one."""
    seen: dict[Light, Transform | Rejected] = {}
    for field in [field for field in fields[1:] if is_of_sensor(field, fields[0])]:
        fields.remove(field)
        for light in field.lights:
            light.transform = None
        matches = yield from match_lights(run, fields[0].reference, field.lights)
        fields[0].lights.extend(take(matches, fields[0].reference).lights)
        seen |= matches
    return seen


def is_of_sensor(field: Field, first: Field) -> bool:
    """Whether lights match at the very same pixels, in few or narrow stars: hot pixels under clouds, no field."""
    own, theirs = ([light.measurement for light in one.lights] for one in (field, first))
    moved = max(max(abs(light.transform.dx_px), abs(light.transform.dy_px)) for light in field.lights)
    few = median(m.stars for m in own) < CLEAR * median(m.stars for m in theirs)
    narrow = median(m.fwhm_px for m in own) < NARROW * median(m.fwhm_px for m in theirs)
    return moved < STILL_PX and (few or narrow)


def apart_s(light: Light, reference: Light) -> float:
    """The time between two lights; the reference itself comes first, lights without a time last."""
    times = [seconds_of(one.view.meta.time) for one in (light, reference)]
    return -1.0 if light is reference else abs(times[0] - times[1]) if None not in times else float("inf")


def approved_of(run: Run, field: Field) -> Events[Field]:
    """A field that was judged among others, judged by itself; its reference stays."""
    kept = []
    for light, verdict in zip(field.lights, judge_lights(run, field.lights), strict=True):
        if verdict is None or light is field.reference:
            kept.append(light)
        else:
            yield run.reject(verdict, FrameReport.of(light, run.plan))
    return replace(field, lights=kept)


def told_of(run: Run, fields: list[Field]) -> list[str]:
    """Sentences about lights that show more than one field."""
    if len(fields) < 2:
        return []
    name = run.plan.lights[fields[0].lights[0].job].object
    parts = [
        f"{len(field.lights)} lights ({some(sorted(light.source for light in field.lights), 1)})" for field in fields
    ]
    count = sum(len(field.lights) for field in fields)
    if not name:
        words = f"the {count} lights without a name (OBJECT) show {len(fields)} fields: {', '.join(parts)}"
        return [f"{words}; each becomes a master light of its own"]
    rest = " and ".join(parts[1:])
    words = f"{rest} called {name} match each other and not the other {parts[0]}: another field by the same name?"
    return [f"{words} They become a master light of their own"]


def why_not(light: Light, lost: Rejected, field: Field) -> Rejected:
    """Why a light is left out: one that saw stars as well as the others shows something else."""
    ours, theirs = light.measurement, [other.measurement for other in field.lights]
    usual, width = median(m.stars for m in theirs), median(m.fwhm_px for m in theirs)
    if lost.stage != "align" or len(theirs) < 2 or ours.stars < CLEAR * usual or ours.fwhm_px > SHARP * width:
        return lost
    words = f"shows another field than the {len(theirs)} lights that match {Path(field.reference.source).name}: "
    words += f"it has {ours.stars} stars (theirs: {usual:.0f}), and they lie otherwise. Another target, or trailed? "
    return Rejected(lost.source, lost.stage, words + "Run it by itself, or with more of its kind")


def is_few_of_group(verdict: Rejected) -> bool:
    """Whether nothing speaks against a light, no formula either, but that others of its group show more stars."""
    return verdict.reason.endswith("(SubframeSelector.min_stars_fraction)") and "; " not in verdict.reason


def judge_lights(run: Run, lights: list[Light]) -> list[Rejected | None]:
    """The selector's verdict on each light, taken among those of the same filter and sensor; formulas, also that of
    weights, and flags are asked, too."""
    select = run.recipe.select
    if select.approve or select.weight or select.flags == "reject":
        frames = subframes_of(lights)
        if set(select.measures) & set(HEALTH_FIELDS):
            frames = [*examined(Subframes(tuple(frames)), places_of)]
        return [judged_by_formula(*pair) for pair in zip(lights, select.table(frames), strict=True)]
    verdict, alike = {}, defaultdict(list)
    for light in lights:
        alike[light.job, sensor_of(light.raw.meta)].append(light)
    for own in alike.values():
        verdict.update(zip(own, select.select([o.measurement for o in own]), strict=True))
    return [verdict[light] for light in lights]


def subframes_of(lights: list[Light]) -> list[Subframe]:
    """Lights that were measured, as a table takes them."""
    return [
        Subframe(light.source, light.view.meta, light.measurement, light.stars, keywords=keywords_of(light.view))
        for light in lights
    ]


def judged_by_formula(light: Light, one: Subframe) -> Rejected | None:
    """What a table says of a light, which keeps its weight."""
    light.measurement = replace(light.measurement, weight=one.weight)
    return None if one.approved else Rejected(light.source, "approve", "; ".join(one.reasons))
