"""What is settled about a sensor before its lights are measured: how its dark is scaled, which pixels are defective."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.darkscale import why_not_scaled
from masterlight.calibration.equation import equation
from masterlight.calibration.masters import Masters
from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame, evenly
from masterlight.core.process import with_values
from masterlight.core.workers import Events
from masterlight.defects.lists import ALONG_COLUMN, ALONG_ROW, Defects
from masterlight.defects.outliers import hot_in_flat
from masterlight.io import read
from masterlight.io.defectlist import read_defects
from masterlight.night.ahead import trimmed_shape
from masterlight.night.masters import open_masters
from masterlight.night.run import Run
from masterlight.session.plan import LightJob, LightSet, MasterJob, calibration_of, name_of

LIGHTS = 5
"""Lights of a set that tell whether its dark can be scaled, and which lines are defective: spread over the night."""

SHOWN = 8
"""Lines that a sentence names."""


def settle_darks(run: Run, number: int) -> Events[LightJob]:
    """A job whose darks of another exposure are scaled where hot pixels tell by how much, and only repaired by else."""
    job, calibrate, sets = run.plan.lights[number], run.recipe.calibrate, []
    for part in job.sets:
        if part.scaled and calibrate.dark_scaling == "auto" and calibrate.dark_scale is None:
            part = yield from settle_dark(run, part)
        sets.append(part)
    job = replace(job, sets=tuple(sets))
    lights = (*run.plan.lights[:number], job, *run.plan.lights[number + 1 :])
    run.plan = replace(run.plan, lights=lights)
    return job


def settle_dark(run: Run, part: LightSet) -> Events[LightSet]:
    """A set whose dark is scaled, or is asked for its hot pixels alone; one sentence tells which, and why."""
    masters = yield from open_masters(run, part)
    if masters.dark is None or masters.bias is None:
        return part
    seen = list(calibrated(part, calibration_of(part, run.recipe.calibrate), masters))
    scales = [view.dark_scale for view in seen]
    if not scales:
        return part
    why = why_not_scaled(scales, float(np.median([view.noise_by_dark() for view in seen])))
    name = name_of(part.dark)
    if why:
        yield run.note("calibrate", f"{name} is not subtracted: {why}; only its hot pixels are repaired")
        told = equation("L", bias="B", flat="F" if part.flat else "")
        return replace(part, dark=None, scaled=False, hot_from=part.dark, equation=told)
    k = [scale.k for scale in scales]
    expected = sorted(scale.expected for scale in scales if scale.expected is not None)
    told = dict.fromkeys(f"{ends:.3g}" for ends in (*expected[:1], *expected[-1:]))
    words = f"{name} is scaled to {len(part.frames)} lights by its hot pixels, x {min(k):.3f} to {max(k):.3f}"
    yield run.note("calibrate", f"{words} (by exposure and temperature {' to '.join(told) or 'unknown'})")
    return part


def calibrated(part: LightSet, calibrate: ImageCalibration, masters: Masters) -> Iterator[Frame]:
    """Some lights of a set through its masters, spread over the night; those that cannot be read are passed over."""
    for i in evenly(0, len(part.frames) - 1, LIGHTS):
        with suppress(FrameError, OSError):
            yield calibrate(part.frames[i], masters)


def find_defects(run: Run, part: LightSet, masters: Masters) -> Events[Defects | None]:
    """The defective pixels that the dark of a set and the user's list show, found once for each dark and size, and the
    lines that its lights show.

    Lights without a dark have those that are hot in their flat, unless a dark was taken out of it.
    """
    light, calibrate = part.frames[0], calibration_of(part, run.recipe.calibrate)
    if len(light.shape) > 2:
        return None
    shape, hot_from = trimmed_shape(light, calibrate), opened(run, part.hot_from)
    shown_by = masters.dark or hot_from or masters.flat
    name = shown_by.source if shown_by else "", shape, light.meta.bottom_up
    if name not in run.defects:
        lists, cosmetic = [], run.recipe.cosmetic
        with suppress(FrameError):  # each light tells that its masters do not fit
            bound = calibrate.masters_for(light, masters)
            if bound.dark:
                lists.append(cosmetic.defects(bound.dark))
            elif bound.flat and "D" not in bound.flat.meta.calibration:
                lists += [found for found in [hot_in_flat(cosmetic, bound.flat)] if found.mask.any()]
        with suppress(FrameError):
            if hot_from is not None:
                how = with_values(calibrate, force=True, dark_scaling="none", dark_scale=None)
                lists.append(cosmetic.defects(how.masters_for(light, how.masters(dark=hot_from)).dark))
        if run.recipe.defects:
            lists.append(Defects.of(*read_defects(run.recipe.defects, shape, light.meta.bottom_up)))
        for note in [note for one in lists for note in one.notes]:
            yield run.note("calibrate", note)
        run.defects[name] = lists[0].union(*lists[1:]) if lists else None
    known, lines = run.defects[name], (yield from find_lines(run, part, calibrate, masters))
    return known.union(lines) if known and lines else known or lines


def find_lines(run: Run, part: LightSet, calibrate: ImageCalibration, masters: Masters) -> Events[Defects | None]:
    """The columns and rows that are defective in several lights of a set, told in one sentence; None without any."""
    shown_by: list[Frame] = []
    with suppress(FrameError):  # each light tells that its masters do not fit
        bound = calibrate.masters_for(part.frames[0], masters)
        shown_by = [master for master in (bound.bias, bound.dark, bound.flat) if master is not None]
    found = run.recipe.cosmetic.fixed_lines(list(calibrated(part, calibrate, masters)), shown_by)
    if found is None:
        return None
    for note in found.notes:
        yield run.note("calibrate", note)
    if len(found):
        yield run.note("calibrate", f"{lines_in_words(found)}: defective at the same place of every light, repaired")
    return found if len(found) else None


def lines_in_words(defects: Defects) -> str:
    """Defective lines by their numbers, counted from 0 like all pixels: `columns 120, 301 and row 7`."""
    told, whole = [], np.nonzero(defects.mask)
    for word, numbers, rule in (("column", whole[1], ALONG_COLUMN), ("row", whole[0], ALONG_ROW)):
        at = np.unique(numbers[defects.rules == rule]).tolist()
        some = ", ".join(map(str, at[:SHOWN])) + (f" and {len(at) - SHOWN} more" if len(at) > SHOWN else "")
        told += [f"{word}{'s' * (len(at) > 1)} {some}"] if at else []
    return " and ".join(told)


def opened(run: Run, master: MasterJob | Frame | None) -> Frame | None:
    """A master of this run, or a ready-made one; None where there is none, or where it failed."""
    if master is None or isinstance(master, Frame):
        return master
    return read(run.made[master]) if master in run.made else None
