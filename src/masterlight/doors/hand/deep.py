"""Registered files into one deep image, by hand: those that lie on each other, measured, integrated, written."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from masterlight.alignment.laid import told_apart
from masterlight.alignment.warping.borders import borders_told, without_border
from masterlight.calibration.trimmed import Trimmed
from masterlight.core.errors import FrameError, NothingUsable, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import card
from masterlight.core.units.figures import figure
from masterlight.core.units.settle import KNOB, sentences, settle_mixed
from masterlight.core.workers import Event, Events
from masterlight.doors.hand.assemble import File, scan_settled, skies_alone
from masterlight.doors.hand.drizzle import laid_files
from masterlight.integration.roster.members import check_shapes
from masterlight.integration.stack import Stack
from masterlight.io.handed import read_handed
from masterlight.night.ahead import check_integration
from masterlight.night.products import header, place_keywords, save
from masterlight.night.recipe import Recipe
from masterlight.night.report import MasterRow, by_frame, rejection_words, span
from masterlight.night.run import Run, area, integrate
from masterlight.session.plan import Plan
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.together import measure_all

Measured = tuple[list[Frame], list[tuple[Measurement, ...]]]
BORDER_ZEROS = 1e-3
"""Share of pixels that are exactly 0 from which a frame seems to use that for missing ones."""
MEASURE_BYTES = 24
"""Bytes per pixel that measuring the stars of a frame takes."""


def integrate_files(
    recipe: Recipe, files: Sequence[File], path: Path, *, reference: File | None = None,
    roi: str | tuple[int, ...] | None = None, slope_map: bool = False, transforms: File | None = None,
) -> Events[None]:  # fmt: skip
    """Integrate registered files with `recipe.integrate` into one image, its maps in extensions.

    reference: the file whose level and scale the result has, by default the one of greatest weight; roi (x, y, width,
    height): the part of the frames to integrate, for trying settings; slope_map: keep that of linear fit clipping;
    transforms: what tells where calibrated, unregistered files lie, as `align` writes it, by which they are integrated.
    The last event's result is the row of the result as report.json has it, and the rows of frames that were left out.
    """
    if slope_map and recipe.integrate.rejection.algorithm != "linear-fit":
        raise ParameterError("slope_map= is made by linear fit clipping alone; take Rejection.algorithm linear-fit")
    if transforms is not None:
        if roi is not None or slope_map:
            raise ParameterError("roi= and slope_map= are for registered frames; leave them out beside transforms=")
        yield from laid_files(recipe, files, path, transforms, reference)
        return
    session = yield from scan_settled("integrate", files)
    if any(frame.meta.kind == "light" for frame in session.frames) and not recipe.force:
        session = yield from skies_alone("integrate", session)
    if not session.frames:
        why = session.rejected[0] if session.rejected else "; ".join(session.passed) or "give files"
        raise NothingUsable(f"no image was found: {why}")
    with Run.open(Plan(session.name, (), (), (), (), (), ()), path.parent, recipe) as run:
        for rejected in session.rejected:
            yield run.reject(rejected)
        frames, scales = settle_mixed(session.frames, recipe.calibrate.units, KNOB)
        for sentence in sentences(scales):
            yield run.note("integrate", sentence)
        frames = [without_border(frame) if frame.meta.kind in ("light", "unknown") else frame for frame in frames]
        if words := borders_told(frames):
            yield run.note("integrate", words)
        frames = [crop(frame, roi) for frame in frames]
        frames = yield from of_one_shape(run, frames)
        if len(units := {frame.meta.unit for frame in frames} - {None}) > 1:
            words = f"frames of different units (BUNIT {', '.join(sorted(units))}) are integrated"
            yield run.note("integrate", f"{words}; the result is in that of the reference")
        check_integration(recipe.integrate, frames)
        frames = yield from of_one_place(run, frames, place_of(reference, frames))
        frames, statistics = yield from measure_frames(run, frames, place_of(reference, frames) or 0)
        chosen = place_of(reference, frames)
        stack, frames, _ = yield from integrate(
            run, "integrate", recipe.integrate, frames, statistics, chosen, slope=slope_map, named=chosen is not None
        )
        if stack is None:
            raise NothingUsable("no frame could be read to its end; nothing was written")
        for note in stack.notes:
            yield run.note("integrate", note)
        for lost in stack.lost:
            yield run.reject(lost)
        own = next(frame for frame in frames if frame.source == stack.reference)
        used = [row.source for row in by_frame(stack) if row.weight > 0]
        metas = [frame.meta for frame in frames if frame.source in used]
        cards = header(own.meta, metas, metas[0].kind) + place_keywords(own.header)
        for note in save(path, stack, cards, (*own.cards, card(recipe.integrate)), recipe):
            yield run.note("integrate", note)
        yield from figures(run, path, stack, own)


def of_one_shape(run: Run, frames: list[Frame]) -> Events[list[Frame]]:
    """The frames of the shape that most have; the others are rejected. FrameError where no shape has the majority."""
    shapes = Counter(frame.shape for frame in frames)
    usual, count = shapes.most_common(1)[0]
    if count <= len(frames) / 2:
        check_shapes(frames)
    first = next(frame for frame in frames if frame.shape == usual)
    for frame in [frame for frame in frames if frame.shape != usual]:
        try:
            check_shapes([first, frame])
        except FrameError as error:
            yield run.reject(Rejected.of(frame.source, "measure", error))
    return [frame for frame in frames if frame.shape == usual]


def of_one_place(run: Run, frames: list[Frame], named: int | None) -> Events[list[Frame]]:
    """The frames whose stars lie on each other; others are rejected, and all refused where most lie apart.

    named: the number of the reference that the user chose, on whose stars they must lie.
    """
    if len({frame.header.get("COMETOBS") for frame in frames} - {None}) == 1 and "COMETOBS" in frames[0].header:
        yield run.note("integrate", "these frames lie on a comet: whether their stars lie on each other is not asked")
        return frames
    how = {"leave_out": run.reject, "select": run.recipe.select, "align": run.recipe.align}
    found = yield from told_apart(run.pool, frames, named, **how)
    taken = found.together
    if found.odd and run.recipe.force:
        yield run.note("integrate", f"{found.words}; Recipe.force integrates them as they are")
        taken = sorted([*taken, *found.odd])
    elif found.refused:
        remedy = "they are not registered. masterlight align lays them on each other, masterlight run does all"
        raise NothingUsable(f"{found.words}: {remedy}; Recipe.force integrates them as they are")
    else:
        for i, why in found.odd.items():
            words = f"{why}; Recipe.force integrates it all the same"
            yield run.reject(Rejected(frames[i].source, "integrate", words))
    return [frames[i] for i in taken]


def figures(run: Run, path: Path, stack: Stack, own: Frame) -> Events[None]:
    """The figures of a result: a line for each frame, one for the whole."""
    row = MasterRow.of(own.meta.kind, own.meta.filter, path, stack, reference=own.source)
    sentences = []
    for used in [part for part in by_frame(stack) if part.weight > 0]:
        words = f"weight {used.weight:.3f}, scale {used.scale:.4f}, offset {figure(used.offset, 2, sign=True)} DN"
        lost = rejection_words(used.rejected_low_fraction, used.rejected_high_fraction, used.large_scale_fraction)
        sentences.append(f"{Path(used.source).name}: {words}, noise {used.noise_dn:.3g} DN, {lost}")
    for sentence in sentences:
        yield Event("integrate", message=sentence, detail=True)
    for sentence in (*row.trails, f"reference: {Path(own.source).name}"):
        yield Event("integrate", message=sentence)
    weight, scale = (span([getattr(part, name) for part in by_frame(stack)], 3) for name in ("weight", "scale"))
    words = f"{stack.n} frames, weight {weight}, scale {scale}: each by itself in the table FRAMES of {path}"
    yield Event("integrate", message=words)
    yield Event("done", result=(row, run.report.rejected), message=row.sentence())


def crop(frame: Frame, roi: str | tuple[int, ...] | None) -> Frame:
    """The part of a frame at (x, y, width, height), also as it is typed after --roi, `1000,800,512,512`; or all."""
    if roi is None:
        return frame
    try:
        x, y, width, height = map(int, roi.split(",")) if isinstance(roi, str) else roi
    except ValueError:
        raise ParameterError(f"roi= {roi}: give x,y,width,height in pixels, such as 1000,800,512,512") from None
    rows, cols = frame.shape[-2:]
    if min(x, y) < 0 or min(width, height) < 1 or x + width > cols or y + height > rows:
        words = f"roi= {x},{y},{width},{height} (x, y, width, height)"
        raise ParameterError(f"{words} is not inside of {frame.source}: {cols} x {rows}")
    return Trimmed.of(frame, (y, y + height, x, x + width))


def place_of(reference: File | None, frames: list[Frame]) -> int | None:
    """The number of the frame that the user named by path or name."""
    if reference is None:
        return None
    wanted = Path(reference)
    for same in (lambda p: os.path.realpath(p) == os.path.realpath(wanted), lambda p: wanted.name in (p.name, p.stem)):
        found = [i for i, frame in enumerate(frames) if same(Path(frame.source))]
        if found:
            return found[0]
    raise ParameterError(f"reference= {reference} is not among the frames that can be used")


def measure_frames(run: Run, frames: list[Frame], anchor: int) -> Events[Measured]:
    """The frames that can be used and their statistics; the others are rejected with the reason."""
    integration, at_once = run.recipe.integrate, 2 * run.pool[1]
    if integration.measures:
        at_once = max(1, min(at_once, int(1e6 * run.memory_mb // (MEASURE_BYTES * area(frames[0])))))
    limits = integration.rejection.range_low, integration.rejection.range_high
    how = {"scale": integration.dispersion, "limits": limits, "stars": integration.looks_at_profiles}
    how |= {"anchor": anchor, "leave_out": run.reject, "in_flight": at_once}
    planes = yield from measure_all(run.pool, frames, integration.measures, **how)
    if not planes:
        raise NothingUsable("none of the files can be integrated; the reasons are above")
    for m in planes[0] if integration.rejection.range_low is None else ():
        if m.zero_fraction > BORDER_ZEROS:
            words = (
                f"{Path(m.source).name}: {100 * m.zero_fraction:.1f} % of its pixels are exactly 0 and count as light"
            )
            yield run.note("measure", f"{words}; if they are borders without data, pass Rejection.range_low 0")
    left = {m.source for m in planes[0]}
    taken = [frame for frame in frames if frame.source in left]
    return taken, with_handed(taken, list(zip(*planes, strict=True)))


def with_handed(frames: Sequence[Frame], measured: Sequence[tuple[Measurement, ...]]) -> list[tuple[Measurement, ...]]:
    """What was measured of registered frames, with what `align` knew of each before it interpolated pixels.

    That is the noise; and where all were laid on one reference, the light of their stars over that in it.
    """
    handed = [read_handed(frame.source) for frame in frames]
    alike = len({one.words.get("REFERENCE") for one in handed}) == 1
    told = alike and all(one.number("FLUX") for one in handed) and all(f.meta.scaled_by == 1 for f in frames)
    out = []
    for one, frame, planes in zip(handed, frames, measured, strict=True):
        noise, factor = one.numbers.get("NOISE"), frame.meta.scaled_by
        known = [{}] * len(planes)
        if noise is not None and noise.shape == (len(planes), 3):
            names = "noise_dn", "pixel_noise_dn", "correlation"
            known = [dict(zip(names, (row * (factor, factor, 1)).tolist(), strict=True)) for row in noise]
        light = {"flux_ratio": one.number("FLUX"), "flux_ratio_error": None} if told else {}
        if gain := one.number("GAIN_E_PER_DN"):
            light["gain_e_per_dn"] = gain / factor
        out.append(tuple(replace(m, **more, **light) for m, more in zip(planes, known, strict=True)))
    return out
