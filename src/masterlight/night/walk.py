"""The walk of a night through its recipe, as a generator of events.

    masters:  raw box -> (calibrate) -> normalize -> reject -> combine -> master bias, dark, flat
    pass 1:   one light, one task:  raw -> calibrate > repair (> debayer) -> stars, PSF, noise, level  (a few kB kept)
    between:  approve, choose the reference, match stars -> a transform for each light
    pass 2:   one tile, one task:   every light: raw box -> calibrate > repair (> debayer) > warp -> reject -> combine

Raw pixels are read twice; only masters and results are written.
"""

import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from masterlight.alignment.comet.motion import Motion
from masterlight.alignment.transform import each_of
from masterlight.alignment.warping.wcs import first_solved
from masterlight.core.errors import NothingUsable, OutputError
from masterlight.core.headers.geometry import regrid
from masterlight.core.process import card
from masterlight.core.workers import Event, Events
from masterlight.drizzle.drizzle import finer
from masterlight.drizzle.stack import DrizzleStack
from masterlight.integration.kernels.combine import fill_holes
from masterlight.integration.stack import Stack
from masterlight.night.ahead import look_ahead
from masterlight.night.comet.moving import comet_keywords, find_motion
from masterlight.night.comet.skies import hide_comet
from masterlight.night.comet.stacks import Layers, part_layers
from masterlight.night.lights.balance import balanced
from masterlight.night.lights.first_pass import measure_lights
from masterlight.night.lights.light import Light, debayer_of, leave_struck, tile_aspect
from masterlight.night.masters import build_master, masters_in
from masterlight.night.placing.fields import find_fields
from masterlight.night.placing.laying import Field, named_reference
from masterlight.night.placing.reference import level_of, reference_beside
from masterlight.night.products import header, key, place_keywords, save
from masterlight.night.report import FrameReport, MasterRow, Report, by_frame, parts_words, span
from masterlight.night.run import Run, integrate
from masterlight.session.plan import LightJob, Plan, loads, pixels
from masterlight.session.words import how_many


def walk(run: Run) -> Events[Report]:
    """The whole walk; the last event carries the report, which is returned as well."""
    yield from open_plan(run)
    started = time.perf_counter()
    with run.timing("doctor"):
        for event in run.recipe.doctor.frames(run.plan, run.pool):
            yield replace(event, result=None, message="")
        yield from run.diagnose(event.result)
        yield from run.tell()
        yield from run.leave_out(event.result)
    try:
        for job in run.plan.masters:
            with run.timing(f"master {job.kind}"):
                yield from build_master(run, job)
        yield from run.tell()
        beside = yield from reference_beside(run)
        for jobs in targets_of(run.plan):
            yield from walk_target(run, jobs, beside and replace(beside))
            yield from run.tell()
    except OutputError:
        if run.report.lights:  # what was made until then is told
            yield from run.write_reports()
        raise
    run.report.timing["total"] = time.perf_counter() - started
    for old in sorted(set(run.store.root.glob("master_light*.fits")) - run.store.taken):
        yield run.note("done", f"{old.name} was there before and stays; this run did not make it")
    path = yield from run.write_reports()
    yield Event("done", result=run.report, message=f"report: {path}" if path else "")
    return run.report


def open_plan(run: Run) -> Events[None]:
    """Say what the plan says, and end before the work begins where it cannot come to a result."""
    plan = run.plan
    for group in plan.groups:
        yield Event("read", message=str(group))
    for rejected in plan.rejected:
        yield run.reject(rejected)
    for told in (*plan.notes, *plan.warnings, *([plan.not_looked_at()] if plan.unseen else [])):
        yield run.note("plan", told)
    if not plan.lights:
        if any(os.path.isfile(row.path) for row in run.report.frames):
            with suppress(OutputError):
                run.write_report()
        raise NothingUsable(plan.why_no_lights())
    yield from look_ahead(run)


def targets_of(plan: Plan) -> list[list[int]]:
    """Numbers of light jobs that show the same field, to be aligned to one reference whatever their filter."""
    groups: dict[tuple[str, int], list[int]] = {}
    for i, job in enumerate(plan.lights):
        groups.setdefault((job.object or "", job.field), []).append(i)
    return list(groups.values())


def walk_target(run: Run, jobs: list[int], beside: Light | None = None) -> Events[None]:
    """Every filter of one target: measured one after the other, aligned to one reference, integrated each.

    Lights that show more than one field are as many targets. beside: a reference that is none of them.
    """
    lights: list[Light] = []
    for i in jobs:
        with run.timing("pass 1: measure"):
            lights += yield from measure_lights(run, i, keep=len(jobs) == 1)
    with run.timing("align"):
        fields = yield from find_fields(run, lights, beside)
    motions = yield from find_comets(run, fields)
    numbers = [run.plan.lights[jobs[0]].field, *(run.next_field(run.plan.lights[jobs[0]].object) for _ in fields[1:])]
    for i in jobs:
        job = run.plan.lights[i]
        parts = [[light for light in field.lights if light.job == i] for field in fields]
        used = [(number, *rest) for number, *rest in zip(numbers, parts, fields, strict=False) if rest[0]]
        if job.object and len(used) == 1:  # no other has its name
            used = [(job.field, *used[0][1:])]
        for number, own, field in used:
            with run.timing("pass 2: integrate"):
                named = replace(job, field=number)
                yield from integrate_lights(run, named, own, field.reference, motions[field.reference])
        if not used:
            yield run.note("integrate", f"no usable light is left of {' '.join(job.words) or 'this target'}")


def find_comets(run: Run, fields: Sequence[Field]) -> Events[dict[Light, Motion | None]]:
    """How a comet moves over each field, by its reference; skies of lights are without the comet from now on."""
    motions: dict[Light, Motion | None] = {}
    for field in fields:
        motion = yield from find_motion(run, field.lights, field.reference)
        motions[field.reference] = motion
        if motion is not None:
            hide_comet(field.lights, field.reference, motion)
    return motions


# --- pass 2 -----------------------------------------------------------------------------------------------------------


def integrate_lights(
    run: Run, job: LightJob, lights: list[Light], anchor: Light, motion: Motion | None = None
) -> Events[None]:
    """Pass 2: integrate the aligned lights of one filter on the grid of `anchor` and write what came of them.

    motion: that of a comet, which is integrated besides.
    """
    named = named_reference(run, lights)
    reference = named[0] if named and anchor in named else level_of(lights, anchor)
    sets = loads(job) * pixels(job) / math.prod(anchor.result_shape)
    stack, lights, at, cards = yield from stack_lights(run, lights, anchor, reference, sets)
    if stack is None:
        yield run.note("integrate", f"every light of {' '.join(job.words)} failed while it was integrated")
        return
    lost = {rejected.source: rejected for rejected in stack.lost}
    used = [light for light in lights if light.source not in lost]
    row = yield from write_light(run, job, used, lights[at], anchor, stack, cards)
    for trail in row.trails:
        yield Event("integrate", message=trail)
    rows: list[FrameReport] = []
    for light, part in zip(lights, by_frame(stack), strict=True):
        if light.source in lost:
            yield run.reject(lost[light.source], FrameReport.of(light, run.plan))
            continue
        run.report.frames.append(FrameReport.of(light, run.plan).with_part(part))
        rows.append(run.report.frames[-1])
        yield Event("integrate", message=rows[-1].sentence(), detail=True)
    if words := parts_words(rows):
        yield Event("integrate", message=words)
    yield Event("integrate", item=row.path, message=row.sentence())
    if motion is not None:
        with run.timing("comet"):
            layers = yield from part_layers(run, used, stack, anchor, lights[at], motion, loads(job))
            yield from write_layers(run, job, layers, lights[at], anchor, cards) if layers else ()


def stack_lights(
    run: Run, lights: list[Light], anchor: Light, reference: Light, sets: float = 1, named: bool = False
) -> Events[tuple[Stack | None, list[Light], int, tuple[str, ...]]]:
    """Register lights on the grid of `anchor`, in the level and scale of `reference`, and integrate them.

    Gives the stack, None where no light could be read; the lights that took part, the number of the reference among
    them, and the provenance of a light. sets: sets of masters that are in memory beside it; named: whether the user
    chose the reference, so that nothing takes its place.
    """
    shape = anchor.result_shape
    struck = leave_struck(lights, shape, debayer_of(run.recipe))
    if any(struck):
        words = f"rays struck {span(struck, 0)} pixels of each light: they are repaired before anything interpolates"
        yield Event("integrate", message=words)
    frames = [light.register(run.recipe.align, shape) for light in lights]
    debayer, pairs = debayer_of(run.recipe), zip(lights, frames, strict=True)
    statistics = [light.statistics(light is anchor, frame, debayer) for light, frame in pairs]
    statistics = balanced(lights, frames, statistics, reference)
    how = {"aspect": tile_aspect(lights), "verdicts": run.recipe.drizzled and run.recipe.drizzle.rejection}
    inputs = frames, statistics, lights.index(reference), sets, named
    stack, frames, at = yield from integrate(run, "integrate", run.recipe.integrate, *inputs, **how)
    by_source = {light.source: light for light in lights}
    return stack, [by_source[frame.source] for frame in frames], at, frames[0].cards if frames else ()


def fill_stack(run: Run, stack: Stack) -> Events[None]:
    """Put the median of their neighbours where single pixels had no sample; says what is to be told of a stack."""
    for note in stack.notes:
        yield run.note("integrate", note)
    holes = max(fill_holes(plane, 3, 0.7) for plane in stack.image.reshape(-1, *stack.image.shape[-2:]))
    if holes:
        words = f"{how_many(holes, 'pixel')} had no sound sample in any light: the median of their neighbours is there"
        yield run.note("integrate", f"{words}, and COVERAGE 0. Dithered lights fill such pixels")


def write_light(
    run: Run, job: LightJob, lights: list[Light], reference: Light, anchor: Light, stack: Stack, cards: tuple[str, ...]
) -> Events[MasterRow]:
    """Write a master light, drizzled too where the recipe says so; gives its row. cards: provenance of a light."""
    yield from fill_stack(run, stack)
    made_of = made_of_lights(run, job, [reference, anchor, *lights])
    path = yield from run.product("master_light", *job.words, made_of=made_of, beside=(".png",))
    metas = [light.view.meta for light in lights]
    if len({meta.calibration for meta in metas}) > 1:
        least = min(metas, key=lambda meta: len(meta.calibration))
        count = sum(meta.calibration == least.calibration for meta in metas)
        done = f"only '{least.calibration}' of CALSTAT" if least.calibration else "not calibrated at all"
        yield run.note("integrate", f"{path.name}: {count} of its {len(metas)} lights are {done}; see the plan")
    keywords = light_keywords(lights, reference, anchor)
    keywords.append(("MLKEY", made_of, "what this was made of"))
    for note in save(path, stack, keywords, (*cards, card(run.recipe.integrate)), run.recipe):
        yield run.note("integrate", note)
    row = report_light(run, job, path, stack, reference, anchor)
    if run.recipe.drizzled:
        with run.timing("drizzle"):
            yield from drizzle_lights(run, job, lights, stack, anchor, keywords)
    return row


def made_of_lights(run: Run, job: LightJob, lights: Sequence[Light]) -> str:
    """The key of what is made of these lights, the reference and the anchor of the grid first."""
    masters = [masters_in(run, part) for part in job.sets]
    defects = [Path(run.recipe.defects)] if run.recipe.defects else []
    return key([Path(light.source) for light in lights], run.knobs, masters, defects)


def light_keywords(lights: Sequence[Light], reference: Light, anchor: Light) -> list[tuple]:
    """The keywords of a master light of these lights, in the level of `reference` and on the grid of `anchor`."""
    grid = {name: getattr(anchor.view.meta, name) for name in ("binning", "pixel_um", "focal_mm")}
    metas = [light.view.meta for light in lights]
    left, top = anchor.canvas.origin_px if anchor.canvas else (0, 0)
    there = regrid(anchor.view.header, top, left) if left or top else anchor.view.header
    if "CTYPE1" not in there:  # a plate solver may have seen another of the lights
        seen = ((light.view.header, each_of(light.placed)[0]) for light in lights)
        there = {**there, **first_solved(seen, anchor.result_shape)}
    return header(reference.view.meta.with_(**grid), metas, "light") + place_keywords(there)


def report_light(run: Run, job: LightJob, path: Path, stack: Stack, reference: Light, anchor: Light) -> MasterRow:
    """The report's row of a master light, with what is measured on itself: its stars."""
    ceiling = reference.saturation_dn and 0.9 * reference.saturation_dn
    measured = run.recipe.select.measure(stack.image, source=str(path), saturation_dn=ceiling)
    stars = {name: getattr(measured[0], name) for name in ("fwhm_px", "eccentricity", "stars")} if measured else {}
    row = MasterRow.of("light", job.filter, path, stack, object=job.object, reference=anchor.source, **stars)
    run.report.masters.append(row)
    return row


def write_layers(
    run: Run, job: LightJob, layers: Layers, reference: Light, anchor: Light, cards: tuple[str, ...]
) -> Events[None]:
    """Write the images of a comet: its stars without it, it without the stars, and both as they were at one time."""
    lights = list(layers.lights)
    made_of = made_of_lights(run, job, [reference, anchor, *lights])
    keywords = [*light_keywords(lights, reference, anchor), *comet_keywords(layers.motion)]
    keywords.append(("MLKEY", made_of, "what this was made of"))
    if run.recipe.drizzled:
        yield run.note("comet", "the images of the comet are not drizzled")
    for name, stack in zip(("stars", "comet", "composite"), layers[:3], strict=True):
        for told in (*stack.notes, *map(str, stack.lost)) if name != "composite" else ():
            yield run.note("comet", f"{name}: {told}")
        path = yield from run.product("master_light", *job.words, name, made_of=made_of, beside=(".png",))
        provenance = (*cards, card(run.recipe.comet), card(run.recipe.integrate))
        for note in save(path, stack, keywords, provenance, run.recipe):
            yield run.note("comet", note)
        row = report_light(run, job, path, stack, reference, anchor)
        yield Event("comet", item=row.path, message=row.sentence())


def drizzle_lights(
    run: Run, job: LightJob, lights: list[Light], stack: Stack, anchor: Light, keywords: list[tuple]
) -> Events[None]:
    """Drop the lights of a stack onto a finer grid and write what came of them."""
    sets = loads(job) * pixels(job) / math.prod(anchor.result_shape)
    made = yield from drop_lights(run, lights, stack, anchor, sets)
    made_of = next(value for name, value, _ in keywords if name == "MLKEY")
    path = yield from run.product("master_light", *job.words, "drizzle", made_of=made_of, beside=(".png",))
    yield from write_drizzled(run, path, made, lights, anchor, keywords)
    row = report_light(run, job, path, made, lights[0], anchor)
    yield Event("drizzle", item=row.path, message=row.sentence())


def drop_lights(run: Run, lights: list[Light], stack: Stack, anchor: Light, sets: float = 1) -> Events[DrizzleStack]:
    """The lights of a stack dropped onto a finer grid, mosaics without debayering, with its weights and verdicts."""
    drizzle, shape = run.recipe.drizzle, anchor.result_shape
    whole = drizzle.cfa != "off" and all(light.view.shape[-2:] == light.sensor.shape for light in lights)
    frames = [light.sensor if whole else light.view for light in lights]
    places = [light.placed_sites if whole else light.placed for light in lights]
    how = {"verdicts": stack.verdicts, "local": stack.models or None, "noise": stack.noise, "pool": run.pool}
    memory_mb = run.tiles_mb(anchor.register(run.recipe.align, shape), 0, sets)
    for event in drizzle(frames, places, shape, stack.terms, memory_mb=memory_mb, **how):
        yield replace(event, result=None, message=event.message if event.result is None else "")
    made: DrizzleStack = replace(event.result, reference=stack.reference, shown=stack.shown)
    for note in made.notes:
        yield run.note("drizzle", note)
    return made


def write_drizzled(
    run: Run, path: Path, made: DrizzleStack, lights: list[Light], anchor: Light, keywords: list[tuple]
) -> Events[None]:
    """Write drizzled lights; keywords: those of the integration, which become those of the finer grid."""
    drizzle = run.recipe.drizzle
    values, comments = ({row[0]: row[i] for row in keywords} for i in (1, 2))
    values, _ = finer(values, anchor.view.meta, drizzle.scale, anchor.result_shape)
    keywords = [(name, values[name], comments.get(name, "")) for name in values]
    provenance = *lights[0].view.cards, card(run.recipe.integrate), card(drizzle)
    for note in save(path, made, keywords, provenance, run.recipe):
        yield run.note("drizzle", note)
