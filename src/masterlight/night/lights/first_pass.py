"""Pass 1: every light calibrated, repaired and measured, one after the other; a few kB of each are kept."""

from collections.abc import Sequence

from masterlight.alignment.warping.borders import borders_told, without_border
from masterlight.calibration.masters import Masters
from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.together import by_time
from masterlight.core.workers import Event, Events, each, processes
from masterlight.defects.lists import Defects
from masterlight.doctor.examination import examine_set, spread
from masterlight.doctor.findings import Finding
from masterlight.doctor.raw.doubled import doubled_lights
from masterlight.night.lights.light import Light, debayer_of, light_of
from masterlight.night.lights.measure import Measure
from masterlight.night.lights.spots import spots_of, stars_moved, without_spots
from masterlight.night.masters import open_masters
from masterlight.night.placing.laying import named_reference
from masterlight.night.report import FrameReport, measured_words
from masterlight.night.run import Run
from masterlight.night.sensor import find_defects, settle_darks
from masterlight.session.plan import MIN_TILE_MB, RESULT_BYTES, LightJob, LightSet, loads
from masterlight.session.words import how_many


def measure_lights(run: Run, number: int, keep: bool) -> Events[list[Light]]:
    """Pass 1: calibrate, repair and measure each light; gives the lights that could be measured.

    Without `keep` the arrays of the masters are let go until pass 2, so that filters do not pile up in memory.
    """
    job, lights, used = (yield from settle_darks(run, number)), [], []
    for part in job.sets:
        masters = yield from open_masters(run, part)
        used.append(masters)
        lights += yield from calibrate_set(run, number, part, masters)
    if not lights:
        return []
    lights.sort(key=lambda light: by_time(light.raw))
    together = yield from plan_memory(run, job, max(lights, key=lambda light: light.measure_mb))
    lights = yield from measure_each(run, lights, together, filter=job.filter)
    good = yield from leave_doubled(run, lights)
    for masters in [] if keep else used:
        masters.release()
    return good


def measure_each(
    run: Run, lights: list[Light], together: int | None = None, **columns: str | None
) -> Events[list[Light]]:
    """The lights that can be measured, with what was; the others are rejected. together: how many at once.

    columns: what the report is told of those besides. Lights that showed hot pixels rather than stars are others then,
    in which these are repaired.
    """
    seen = yield from measured(run, lights, together)
    for spots in spots_of(run.recipe, seen):
        clean = [without_spots(run.recipe, light, spots.defects) for light in spots.lights]
        again = yield from measured(run, clean, together)
        if stars_moved(run.recipe.align, [light for light in clean if again[light] is None], len(clean)):
            yield run.note("measure", spots.sentence())
            seen = {light: lost for light, lost in seen.items() if light not in spots.lights} | again
    for lost in [lost for lost in seen.values() if lost is not None]:
        yield run.reject(lost, kind="light", **columns)
    order = {light.raw.source: i for i, light in enumerate(lights)}
    good = sorted((light for light in seen if seen[light] is None), key=lambda light: order[light.raw.source])
    yield Event("measure", message=measured_words([light.measurement for light in good]))
    return good


def measured(run: Run, lights: list[Light], together: int | None) -> Events[dict[Light, Rejected | None]]:
    """Measure lights; gives why each could not be, None where it was."""
    more = run.recipe.integrate.measures, run.recipe.integrate.dispersion, run.recipe.integrate.rejection
    task = Measure(run.recipe.select, debayer_of(run.recipe), run.recipe.align.planes != "luminance", *more)
    lost: dict[Light, Rejected | None] = {}
    for event in each("measure", run.pool, task, lights, in_flight=together):
        light = event.item
        lost[light] = event.result if isinstance(event.result, Rejected) else None
        if lost[light] is not None:
            continue
        light.measurement, light.channels, light.stars, light.fringes, light.struck, seen = event.result
        if seen is not None:  # by another process, perhaps
            light.raw.seen.sums = seen.sums
        yield Event("measure", event.done, event.total, message=light.sentence(), detail=True)
    return lost


def leave_doubled(run: Run, lights: list[Light]) -> Events[list[Light]]:
    """The lights without those in which every star stands twice, where most are sound."""
    found = list(doubled_lights(run.recipe.doctor, [(light.raw, light.stars) for light in lights]))
    yield from run.diagnose(found)
    out = {source: f"{one.id}, {one.sentence}" for one in found if one.out for source in one.sources}
    for light in named_reference(run, lights):
        out.pop(light.raw.source, None)
    for light in [light for light in lights if light.raw.source in out]:
        yield run.reject(Rejected(light.source, "doctor", out[light.raw.source]), FrameReport.of(light, run.plan))
    return [light for light in lights if light.raw.source not in out]


def calibrate_set(run: Run, number: int, part: LightSet, masters: Masters) -> Events[list[Light]]:
    """The lights of one set as views through their masters; the doctor looks at one of them."""
    defects = yield from find_defects(run, part, masters)
    frames, lights = (yield from without_borders(run, part)), []
    for frame in frames:
        try:
            lights.append(light_of(run.recipe, number, part, frame, masters, defects))
        except (FrameError, OSError) as error:
            lost = Rejected.of(frame.source, "calibrate", error)
            yield run.reject(lost, kind="light", filter=run.plan.lights[number].filter)
    equation = getattr(lights[0].calibrated, "equation", "C = L") if lights else part.equation
    words = "; {hot} hot and {cold} cold pixels" + (", {line} of lines" if defects and defects.counts["line"] else "")
    repaired = f"{words.format_map(defects.counts)} repaired ({100 * defects.fraction:.3f} %)" if defects else ""
    yield run.note("calibrate", f"{how_many(len(part.frames), 'light')}: {equation}{repaired}")
    if equation == "C = L" and not part.frames[0].meta.calibration and len(part.frames[0].shape) == 2:
        yield run.note("calibrate", "no dark, bias or flat fits these lights: they stay uncalibrated")
    yield from examine_light(run, lights, masters, defects)
    return lights


def plan_memory(run: Run, job: LightJob, light: Light) -> Events[int]:
    """How many lights may be measured at once; says so when the memory is too small for any way of working."""
    missing_mb = MIN_TILE_MB - run.spare_mb(light.view, RESULT_BYTES * job.planes, loads(job))
    if missing_mb > 0:
        words = f"{run.memory_mb:.0f} MB are too few for frames of this size"
        yield run.note("plan", f"{words}; about {run.memory_mb + missing_mb:.0f} MB will be used")
    fit = int(run.spare_mb(light.view, 0, loads(job)) // light.measure_mb) * processes(run.pool)
    return max(1, min(2 * run.pool[1], fit))


def without_borders(run: Run, part: LightSet) -> Events[Sequence[Frame]]:
    """The lights of a set; borders of 0 of those that other programs have registered are missing, which is told."""
    frames = [without_border(frame) if "registered" in frame.meta.stages else frame for frame in part.frames]
    if words := borders_told(frames):
        yield run.note("calibrate", words)
    return frames


def examine_light(run: Run, lights: list[Light], masters: Masters, defects: Defects | None) -> Events[None]:
    """The doctor's look at a calibrated light of a set; one that cannot be read is rejected when it is measured."""

    def look(light: Light) -> list[Finding]:
        beside = [other.calibrated for other in spread(lights) if other is not light]
        return run.recipe.doctor.light(light.raw, light.calibrated, masters, defects, beside)

    yield from run.diagnose(examine_set(lights, look))
