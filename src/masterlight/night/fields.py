"""Between the passes: lights are approved, and those that show the same stars are one field, laid on one reference.

Mostly all lights of a target do. What does not match the reference is tried among itself before it is left out: lights
without a name may show two targets, and a name may be wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from masterlight.alignment.canvas import UNITED, Canvas, share_within
from masterlight.alignment.overlaid import places_of
from masterlight.alignment.panels.neighbours import lay_by_neighbours
from masterlight.alignment.transform import Transform
from masterlight.core.errors import Rejected
from masterlight.core.headers.values import seconds_of
from masterlight.core.workers import Event, Events, each
from masterlight.doctor.findings import some
from masterlight.night.ahead import is_named
from masterlight.night.light import Light, align_light, planes_on, through_one_lens
from masterlight.night.reference import BETTER, FAR_BETTER, finer_lights, laid_on, promise, same_grid, worths
from masterlight.night.report import FrameReport
from masterlight.night.run import Run
from masterlight.session.apart import sensor_of
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
BEYOND = 0.3
"""Lights of which more than this share lies beyond their reference may be panels of a mosaic."""


@dataclass(frozen=True)
class Field:
    """Lights that show the same stars, each with its transform, and the one on whose grid they are laid."""

    lights: list[Light]
    reference: Light | None
    joined: int = 0
    """Those of them that the reference does not show, laid by way of others."""
    canvas: Canvas | None = None
    """The pixels of the result, once all lights are known."""


def find_fields(run: Run, lights: list[Light]) -> Events[list[Field]]:
    """Approve lights and find what they show: fields with the transforms of their lights, the largest first.

    Lights that do not come to any field are rejected.
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
    if len(approved) == 1 and not doubtful:
        yield run.note("align", f"{Path(approved[0].source).name} is the only usable light: passed through as it is")
        approved[0].transform = Transform.identity(approved[0].stars.shape)
        return [framed(run, Field(approved, approved[0]))]
    matches, reference = yield from match_most(run, approved)
    yield run.note("align", f"reference: {Path(reference.source).name}")
    if doubtful:  # few stars beside the others: clouds, unless they show something else
        seen = yield from match_lights(run, reference, list(doubtful))
        matches |= {light: doubtful[light] if seen[light] else seen[light] for light in doubtful}
    fields, rest = [take(matches, reference)], {light: one for light, one in matches.items() if not one}
    tried = [light for light in rest if light not in doubtful or rest[light] is not doubtful[light]]
    fields[0], tried = yield from joined(run, fields[0], tried)
    rest = {light: one for light, one in rest.items() if light.transform is None}
    more = yield from further_fields(run, tried, fields[0])
    for field in more:
        kept = yield from approved_of(run, field)
        fields += [kept] if kept.lights else []
    found = {light for field in more for light in field.lights}
    lost = {light: rest[light] for light in rest if light not in found}
    if not named_reference(run, fields[0].lights):
        fields.sort(key=lambda field: (-len(field.lights), field.lights[0].source))
    lost |= yield from leave_hot_pixels(run, fields)
    for light, why in lost.items():
        if not why:
            yield run.reject(why_not(light, why, fields[0]), FrameReport.of(light, run.plan))
    lensed = [through_one_lens(run.recipe.align, field.reference, field.lights) for field in fields]
    fields = [framed(run, field) for field in fields]
    for words in (*filter(None, lensed), *told_of(run, fields), *framing_of(fields), *cut_off(fields)):
        yield run.note("align", words)
    return fields


def joined(run: Run, field: Field, left: list[Light]) -> Events[tuple[Field, list[Light]]]:
    """The field with the lights that its reference does not show, laid by way of those that reach farther; and the
    lights that are left. Only framings that show all of every light have use for them."""
    align = run.recipe.align
    if not left or align.frame not in ("auto", *UNITED):
        return field, left
    lights = [*field.lights, *left]
    laid = {i: light.transform for i, light in enumerate(field.lights)}
    meta, free = field.reference.view.meta, not named_reference(run, field.lights)
    focal_px = 1000 * meta.focal_mm / meta.pixel_um if meta.focal_mm and meta.pixel_um else None
    stars, reference = [light.stars for light in lights], lights.index(field.reference)
    found = yield from lay_by_neighbours(align, stars, laid, reference, run.pool, free, focal_px)
    if not found.bridged:
        return field, left
    own = sorted((lights[i] for i in found.transforms), key=lambda light: (light.view.meta.time or "", light.source))
    for i, whole in found.transforms.items():
        lights[i].transform, lights[i].plane_transforms = whole, planes_on(align, lights[i], whole)
    anchor, more = lights[found.reference], [lights[i].source for i in found.bridged]
    words = (
        f"{some(more)}: laid by way of their neighbours, whose stars lie {found.rms_px:.2f} px apart where they overlap"
    )
    yield run.note("align", f"{words}; reference: {Path(anchor.source).name}")
    return Field(own, anchor, len(more)), [light for light in left if light.transform is None]


def framed(run: Run, field: Field) -> Field:
    """The field with the canvas that its lights make, which they know from now on."""
    align, lights, reference = run.recipe.align, field.lights, tuple(field.reference.stars.shape)
    kind = align.frame if align.frame != "auto" else "mosaic" if field.joined else "reference"
    where = [light.transform for light in lights], [tuple(light.stars.shape) for light in lights]
    canvas = Canvas.of(kind, align.crop, reference, *where)
    for light in lights if (canvas.shape, canvas.origin_px) != (reference, (0, 0)) else ():
        light.canvas = canvas
    return replace(field, canvas=canvas)


def framing_of(fields: list[Field]) -> Iterator[str]:
    """Sentences about canvases that are not their reference's frame, or not what was asked for."""
    for field in fields:
        (rows, cols), (left, top) = field.canvas.shape, field.canvas.origin_px
        if field.canvas.note:
            yield field.canvas.note
        elif field.lights and field.lights[0].canvas:
            name = Path(field.reference.source).name
            yield f"the result has {cols} x {rows} pixels, the first of them at ({left}, {top}) of {name}"


def take(matches: dict[Light, tuple | Rejected], reference: Light) -> Field:
    """A field of the lights that match; they know from now on where they lie."""
    own = [light for light, match in matches.items() if match]
    for light in own:
        light.transform, light.plane_transforms = matches[light]
    return Field(own, reference)


def match_most(run: Run, lights: list[Light]) -> Events[tuple[dict[Light, tuple | Rejected], Light]]:
    """Match lights with the best reference, or with the next best where that shows what few others do."""
    best, most = {}, 0
    for reference in rank_references(run, lights)[:3]:
        matches = yield from match_lights(run, reference, lights)
        if (count := sum(map(bool, matches.values()))) > most:
            best, most, chosen = matches, count, reference
        if most > len(lights) / 2:
            break
    return (yield from match_best(run, best, chosen))


def match_best(
    run: Run, matches: dict[Light, tuple | Rejected], reference: Light
) -> Events[tuple[dict[Light, tuple | Rejected], Light]]:
    """The same matches on the light that serves best as reference, by what the stars in common tell of each.

    The user's choice stays. Where the first reference saw far less, lights are matched with the better one once more.
    """
    if named_reference(run, list(matches)):
        return matches, reference
    known, finer = worths(matches), finer_lights(matches, reference)
    if finer:
        best = max(finer, key=known.__getitem__)
        again = yield from match_lights(run, best, list(matches))
        if sum(map(bool, again.values())) >= sum(map(bool, matches.values())):
            matches, reference = again, best
            known = worths(matches)
    known = {light: worth for light, worth in known.items() if same_grid(light, reference, matches)}
    best = max(known, key=known.__getitem__)
    if known[best] <= BETTER * known[reference]:
        return matches, reference
    if known[best] > FAR_BETTER * known[reference]:
        again = yield from match_lights(run, best, list(matches))
        if sum(map(bool, again.values())) >= sum(map(bool, matches.values())):
            return again, best
    return laid_on(matches, best), best


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


def leave_hot_pixels(run: Run, fields: list[Field]) -> Events[dict[Light, tuple | Rejected]]:
    """Take out the fields that are hot pixels under clouds; gives how their lights match the first one."""
    seen: dict[Light, tuple | Rejected] = {}
    for field in [field for field in fields[1:] if is_of_sensor(field, fields[0])]:
        fields.remove(field)
        for light in field.lights:
            light.transform, light.plane_transforms = None, ()
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


def cut_off(fields: list[Field]) -> Iterator[str]:
    """Sentences about lights of which much lies beyond the grid that they are laid on."""
    for field in fields:
        if field.canvas.shape != tuple(field.reference.stars.shape):
            continue
        shares = {one: 1 - share_within(one.transform, one.stars.shape, field.canvas) for one in field.lights}
        if far := sorted((light for light in shares if shares[light] > BEYOND), key=shares.__getitem__):
            names, least, most = some([light.source for light in far]), shares[far[0]], shares[far[-1]]
            share = f"{least:.0%} to {most:.0%}" if round(100 * least) < round(100 * most) else f"{most:.0%}"
            where = f"beyond {Path(field.reference.source).name}, on whose grid they are laid, and is cut off"
            yield f"{names}: {share} lies {where}. Panels of a mosaic? StarAlignment.frame mosaic shows all of them"


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


def named_reference(run: Run, lights: list[Light]) -> list[Light]:
    """Those of the lights that the user named as reference."""
    wanted = Path(run.recipe.reference or "").name
    return [light for light in lights if wanted and is_named(wanted, light.source)]


def rank_references(run: Run, lights: list[Light]) -> list[Light]:
    """Lights in the order in which they would serve as reference; the user's choice alone if it is among them.

    Those of the most common size come first, and among them those that are calibrated like the best.
    """
    if named := named_reference(run, lights):
        return named
    shapes = Counter(light.view.shape for light in lights)
    usual = max(shapes, key=lambda shape: (shapes[shape], shape))
    done = max(len(light.view.meta.calibration) for light in lights if light.view.shape == usual)

    def rank(light: Light):
        return light.view.shape == usual, len(light.view.meta.calibration) == done, promise(light)

    return sorted(lights, key=rank, reverse=True)


def match_lights(run: Run, reference: Light, lights: list[Light]) -> Events[dict[Light, tuple | Rejected]]:
    """Match every light with the reference; gives the transforms of each, or why it has none."""
    prepared, matches = run.recipe.align.prepare(reference.stars), {}
    task = partial(align_light, run.recipe.align, prepared, reference.source)
    for event in each("align", run.pool, task, lights):
        matches[event.item] = event.result
        yield Event("align", event.done, event.total)
    return {light: matches[light] for light in lights}
