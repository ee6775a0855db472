"""What can be known before the work begins is told before it: a run that cannot end well stops now, not after hours."""

import difflib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import OutputError, ParameterError
from masterlight.core.frame import Frame
from masterlight.core.process import plain, with_values
from masterlight.core.workers import Events, machine_memory_mb
from masterlight.integration.integrate import ImageIntegration
from masterlight.io.defectlist import read_defects
from masterlight.io.scratch import scratch_place
from masterlight.night.comet.moving import check_places
from masterlight.night.run import Run
from masterlight.session.plan import Plan
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.choice.verdict import apart_words, units_of, with_scales
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.variables import PROPERTIES, keyword_names, property_named
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.weights import check_names

MOST_IMAGES = 4
"""Images that a night with a comet makes instead of one: of all, of its stars, of itself, of both."""


def look_ahead(run: Run) -> Events[None]:
    """Raise what would end this run later: no room, too few frames, names that nothing has, a list that is damaged."""
    plan, recipe = run.plan, run.recipe
    run.store.require(plan.disk_bytes * (MOST_IMAGES if recipe.comet.is_asked else 1))
    require_scratch(plan)
    check_counts(run)
    check_reference(plan, recipe.reference)
    check_places(recipe.comet, [frame.source for job in plan.lights for frame in job.frames])
    yield from weighed_by(run)
    for job in plan.lights if recipe.defects else ():
        read_defects(recipe.defects, trimmed_shape(job.frames[0], recipe.calibrate))
    if run.memory_mb > machine_memory_mb():
        words = f"Recipe.memory_mb {run.memory_mb:.0f} is more than the {machine_memory_mb():.0f} MB of this machine"
        yield run.note("plan", f"{words}, which will be slow where it has to use the disk for memory")


def weighed_by(run: Run) -> Events[None]:
    """Say by what lights are weighed where a formula of the selector does so, and in which units where these are not
    what was asked for; raise for names and units that nothing has."""
    select, weights = run.recipe.select, run.recipe.integrate.weights
    formulas = {knob: Expression(text) for knob in ("approve", "weight") if (text := getattr(select, knob))}
    rows = [property_named(name) for formula in formulas.values() for name in formula.names]
    if None in rows or any(row.unit in ("width", "level") for row in rows):  # headers are asked
        opened = [(frame, keywords_of(frame)) for job in run.plan.lights for frame in job.frames]
        known = [*PROPERTIES, *(name for _, header in opened for name in keyword_names(header))]
        for knob, formula in formulas.items():
            formula.check(known, f"SubframeSelector.{knob}")
        lights = [with_scales(select, Subframe(f.source, f.meta, keywords=header)) for f, header in opened]
        for note in units_of(select, lights).notes:
            yield run.note("plan", note)
    for job in run.plan.lights if select.weight else ():
        together = Subframes(tuple(Subframe(f.source, f.meta) for f in job.frames), weight=select.weight)
        for words in apart_words(together):
            yield run.note("plan", words)
    if select.weight and weights == "auto":
        run.recipe = with_values(run.recipe, integrate=with_values(run.recipe.integrate, weights="select"))
        run.report.recipe = plain(run.recipe)
        yield run.note("plan", "lights count by SubframeSelector.weight (ImageIntegration.weights select)")
    elif select.weight and weights != "select":
        yield run.note("plan", f"SubframeSelector.weight has no say beside ImageIntegration.weights {weights}")
    elif weights == "select" and not select.weight:
        raise ParameterError("ImageIntegration.weights select needs a formula: give SubframeSelector.weight")


def require_scratch(plan: Plan) -> None:
    """OutputError where compressed files have no room to be unpacked in."""
    if not plan.scratch_bytes:
        return
    folder = scratch_place()
    free = shutil.disk_usage(folder).free
    if plan.scratch_bytes > free:
        words = f"{folder} has {free / 1e6:,.0f} MB free and the unpacked files take {plan.scratch_bytes / 1e6:,.0f} MB"
        raise OutputError(f"{words}; set the variable TMPDIR to a folder on a larger disk")


def check_counts(run: Run) -> None:
    """ParameterError where the frames of a master or a master light are too few, or lack something."""
    for master in run.plan.masters:
        integration = getattr(run.recipe, "dark" if master.kind == "flatdark" else master.kind).integration()
        try:
            integration.rejection.check(len(master.frames))
        except ParameterError as error:
            raise ParameterError(f"{master.group}: {words_for(master.kind, str(error))}") from None
    for job in run.plan.lights:
        check_integration(run.recipe.integrate, job.frames)


def check_integration(settings: ImageIntegration, frames: Sequence[Frame]) -> None:
    """ParameterError where rejection cannot work on so many frames, or their headers lack what weights are made of."""
    settings.rejection.check(len(frames))
    if settings.weights in ("keyword", "expression"):
        headers = ((frame.source, keywords_of(frame)) for frame in frames)
        check_names(settings.weights, settings.weight_keyword, settings.weight_expression, headers)


def words_for(kind: str, text: str) -> str:
    """A message about the integration of a master with its knobs called as the recipe has them, by kind of frame."""
    held = f"Recipe.{'dark' if kind == 'flatdark' else kind}"
    return text.replace("ImageIntegration.", f"{held}.").replace("Rejection.", f"{held}.rejection.")


def check_reference(plan: Plan, reference: str | None) -> None:
    """ParameterError where the user named a reference that is neither a usable light nor any other file."""
    if reference is None or is_beside(plan, reference):
        return
    wanted = Path(reference).name
    if any(is_wanted(reference, frame.source) for job in plan.lights for frame in job.frames):
        return
    for lost in plan.rejected:
        if is_named(wanted, lost.source):
            raise ParameterError(f"Recipe.reference {wanted} cannot be used: {lost.reason}; name another light")
    names = [Path(frame.source).name for job in plan.lights for frame in job.frames]
    near = difflib.get_close_matches(wanted, names, 2, 0.6)
    todo = f"is it {' or '.join(near)}?" if near else "name one of them, give the path of another file, or leave it out"
    raise ParameterError(f"Recipe.reference {wanted} is not among the {len(names)} lights; {todo}")


def is_named(name: str, source: str) -> bool:
    """Whether this is the name of a file, with or without its ending."""
    return name in (Path(source).name, Path(source).stem)


def is_wanted(reference: str, source: str) -> bool:
    """Whether a frame is the one that was named: the very file where that is told with its folder, else by its name."""
    if os.path.dirname(reference) and os.path.isfile(reference):
        return os.path.realpath(reference) == os.path.realpath(source)
    return is_named(Path(reference).name, source)


def is_beside(plan: Plan, reference: str) -> bool:
    """Whether the reference is a file that is none of the lights, such as the result of an earlier night."""
    lights = (frame.source for job in plan.lights for frame in job.frames)
    return os.path.isfile(reference) and not any(is_wanted(reference, source) for source in lights)


def trimmed_shape(frame: Frame, calibrate: ImageCalibration) -> tuple[int, int]:
    """Rows and columns of a raw frame after calibration has cut off what saw no sky."""
    y0, y1, x0, x1 = calibrate.overscan.window(frame)
    return y1 - y0, x1 - x0
