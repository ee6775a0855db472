"""Masters: made of the frames of one kind, used again where an earlier run made them, opened for what needs them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from masterlight.calibration.masters import Masters
from masterlight.core.errors import FrameError, OutputError, ParameterError, Rejected
from masterlight.core.frame import ArrayFrame, Frame, Meta
from masterlight.core.headers.geometry import PATTERN_ROW
from masterlight.core.process import card
from masterlight.core.workers import Event, Events
from masterlight.doctor.examination import lights_through
from masterlight.doctor.findings import Finding, spoiling
from masterlight.doctor.quality.page import MasterReport
from masterlight.doctor.quality.worth import report as quality_of
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.stack import Stack
from masterlight.io import atomic, pattern_row, read
from masterlight.night.ahead import words_for
from masterlight.night.products import header, key, save
from masterlight.night.report import MasterRow, finite, rejection_words
from masterlight.night.run import Run, integrate
from masterlight.session.plan import LightSet, MasterJob, calibration_of
from masterlight.subframes.measure import measure, refuse_constant


def build_master(run: Run, job: MasterJob, path: Path | None = None) -> Events[None]:
    """Integrate the frames of one kind; a frame that fails is left out and the others go on."""
    masters = yield from open_masters(run, job)
    integration = getattr(run.recipe, "dark" if job.kind == "flatdark" else job.kind).integration()
    frames = yield from usual_frames(run, job, integration)
    inputs = [Path(frame.source) for frame in frames]
    superbias = [run.recipe.superbias] if job.kind == "bias" else []
    calibrate = calibration_of(job, run.recipe.calibrate)
    turned = sorted({f"{frame.meta.pattern}, last row first" for frame in job.frames if frame.meta.bottom_up})
    made_of = key(inputs, integration, calibrate, superbias, masters_in(run, job), *turned)
    run.keys[job] = made_of
    if path is None:
        beside = {"beside": (".png", ".json"), "made_of": made_of}
        path = yield from run.product("master", *job.words, folder="masters", **beside)
        if path.exists() and not run.recipe.overwrite:
            yield from reuse_master(run, job, path, made_of, frames)
            return
    views, statistics = yield from calibrate_frames(run, job, masters, frames)
    try:
        stack, views, _ = yield from integrate(run, f"master {job.kind}", integration, views, statistics, maps=False)
    except ParameterError as error:
        raise ParameterError(words_for(job.kind, str(error))) from None
    if stack is None:
        yield run.note("masters", f"no usable {job.kind} is left: continuing without the master {job.kind}")
        return
    left, metas = {view.source for view in views}, [view.meta for view in views]
    statistics = [planes for planes in statistics if planes[0].source in left]
    contains_bias = not (masters.bias or masters.dark) and "B" not in metas[0].calibration
    meta = metas[0].with_(contains_bias=contains_bias)
    cards = [*header(meta, metas, job.kind), ("MLKEY", made_of, "what this master was made of")]
    stack, done = yield from smooth_bias(run, job, stack, views, statistics, meta)
    if as_frames := all(m.bottom_up for m in metas):
        cards.append((PATTERN_ROW, pattern_row(meta), "where BAYERPAT begins: TOP of the picture, first row STORED"))
    for note in save(path, stack, cards, (*views[0].cards, card(integration), *done), bottom_up=as_frames):
        yield run.note("masters", note)
    run.made[job] = path
    yield from report_master(run, job, path, views, stack)
    yield from run.diagnose(examine_master(run, job, path, views, [planes[0].noise_dn for planes in statistics]))


def usual_frames(run: Run, job: MasterJob, integration: ImageIntegration) -> Events[list[Frame]]:
    """The frames of a job without the flats on which the doctor saw another light, as far as rejection can do so."""
    told = (finding for finding in run.report.findings if finding.id == "D20" and job.kind == "flat")
    odd = {source for finding in told for source in finding.sources}
    frames = [frame for frame in job.frames if frame.source not in odd]
    try:
        integration.rejection.check(len(frames))
    except ParameterError:
        return list(job.frames)
    for frame in job.frames:
        if frame.source in odd:
            reason = "is unlike the other flats, as the doctor's D20 tells"
            yield run.reject(Rejected(frame.source, "masters", reason), kind=job.kind)
    return frames


def calibrate_frames(
    run: Run, job: MasterJob, masters: Masters, frames: Sequence[Frame]
) -> Events[tuple[list[Frame], list[list]]]:
    """The frames of a job through its masters, and their statistics; those that fail are rejected."""
    calibration = calibration_of(job, run.recipe.calibrate)
    views, statistics = [], []
    for frame in frames:
        try:
            refuse_constant(frame)
            view = calibration(frame, masters)
            before, ceiling = views[-1] if views else None, calibration.saturation(frame, masters)
            statistics += measure(view, kind=job.kind, before=before, saturation_dn=ceiling)
            views.append(view)
        except (FrameError, OSError) as error:
            yield run.reject(Rejected.of(frame.source, "masters", error), kind=job.kind)
    if len(statistics) > 1:
        statistics[0] = replace(statistics[0], noise_dn=statistics[1].noise_dn)
    return views, [[s] for s in statistics]


def smooth_bias(
    run: Run, job: MasterJob, stack: Stack, views: list[Frame], statistics: list[list], meta: Meta
) -> Events[tuple[Stack, tuple[str, ...]]]:
    """The master bias as its pattern of rows and columns, if the recipe wants that and it is better; and its card."""
    superbias = run.recipe.superbias
    if job.kind != "bias" or superbias.use == "never" or (superbias.use == "auto" and len(views) < 4):
        return stack, ()
    if superbias.use == "auto":
        halves = []
        for i in (0, 1):
            half_of = views[i::2], statistics[i::2]
            half, _, _ = yield from integrate(run, "superbias", run.recipe.bias.integration(), *half_of, maps=False)
            halves.append(ArrayFrame.of(half.image, "half of the bias frames", meta))
        verdict = superbias.validate(*halves)
        yield run.note("masters", verdict.sentence)
        if not verdict.better:
            return stack, ()
    made = superbias(ArrayFrame.of(stack.image, "master bias", meta))
    return replace(stack, image=np.asarray(made)), (card(superbias),)


def report_master(run: Run, job: MasterJob, path: Path, views: list[Frame], stack: Stack) -> Events[None]:
    """The row of a master that was made, beside its file too, where a later run that uses it finds it."""
    row, words = MasterRow.of(job.kind, job.filter, path, stack), "no report"
    try:
        quality = judge_quality(run, job, read(path), views, stack)
        row = replace(row, noise=quality.noise_dn or row.noise, quality=quality.as_dict() | {"text": quality.text()})
        words = quality.sentence()
    except (FrameError, ParameterError) as error:  # figures never stop a run
        yield run.note("masters", f"what the master is worth cannot be told: {error}")
    run.report.masters.append(row)
    try:
        with atomic(path.with_suffix(".json")) as file:
            file.write(json.dumps({"mlkey": run.keys[job]} | finite(row), indent=1).encode())
    except OutputError as error:
        yield run.note("masters", f"{path.name} is whole but has no report of its own: {error}")
    yield Event("masters", message=f"{path.name}: {words}; {rejection_words(row.rejected_low, row.rejected_high)}")


def reuse_master(run: Run, job: MasterJob, path: Path, made_of: str, frames: Sequence[Frame]) -> Events[None]:
    """Take the master of an earlier run, with its row as it was told then if that can still be read."""
    run.made[job] = path
    try:
        before = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        before = {}
    before = before if isinstance(before, dict) and before.get("mlkey") == made_of else {}  # of an older master
    names = ("noise", "rejected_low", "rejected_high", "effective_frames", "quality")
    told = {name: before.get(name) for name in names} | {"frames_used": read(path).meta.frames, "reused": True}
    picture = str(path.with_suffix(".png")) if path.with_suffix(".png").exists() else ""
    run.report.masters.append(MasterRow(path=str(path), preview=picture, kind=job.kind, filter=job.filter, **told))
    yield run.note("masters", f"{path.name}: made by an earlier run of the same frames, used again")
    yield from run.diagnose(examine_master(run, job, path, frames))


def examine_master(
    run: Run, job: MasterJob, path: Path, frames: Sequence[Frame], noise_dn: Sequence[float] = ()
) -> list[Finding]:
    """The doctor's look at a master of this run, beside the others that are made already."""
    master, dark = read(path), job.kind in ("dark", "flatdark")
    beside = {"bias": master_like(run, "bias", master), "flat": master_like(run, "flat", master)} if dark else {}
    scaled = any(part.scaled and part.dark is job for part in run.plan.sets)
    found = run.recipe.doctor.master(job.kind, master, frames=frames, noise_dn=noise_dn, scaled=scaled, **beside)
    return spoiling(found, lights_through(run.plan, job))


def master_like(run: Run, kind: str, master: Frame) -> Frame | None:
    """A master of this run of the size of another, to compare it with; without a master bias any bias frame."""
    made = (read(run.made[m]) for m in run.plan.masters if m.kind == kind and m in run.made)
    raw = (group.frames[0] for group in run.plan.groups if group.kind == kind == "bias")
    return next((frame for frame in chain(made, raw) if frame.shape == master.shape), None)


def judge_quality(run: Run, job: MasterJob, master: Frame, views: list[Frame], stack: Stack) -> MasterReport:
    """What a master is like, measured together with the other calibration frames of its camera."""
    bare = calibration_of(job, run.recipe.calibrate)
    same = [other for other in run.plan.masters if other.frames[0].shape == job.frames[0].shape]
    raw = {other.kind: [bare(frame, bare.masters()) for frame in other.frames[:2]] for other in same}
    beside = {"biases": raw.get("bias", ()), "flats": raw.get("flat", ())}
    bias = master_like(run, "bias", master) if job.kind in ("dark", "flatdark") else None
    return quality_of(job.kind, master, views, stack=stack, bias=bias, equation=job.equation, **beside)


def masters_in(run: Run, job: MasterJob | LightSet) -> list[Path | str]:
    """The masters of a job for its key: ready-made ones as files, those of this run by what they were made of."""
    needed = (getattr(job, kind, None) for kind in ("bias", "dark", "flat", "hot_from"))
    return [
        Path(m.source) if isinstance(m, Frame) else run.keys[m] for m in needed if isinstance(m, Frame) or m in run.made
    ]


def master_paths(run: Run, job: MasterJob | LightSet) -> dict[str, Path | None]:
    """The masters that a job or a set of lights calls for, as files: ready-made, or of this run; None for a failed."""
    needed = {kind: getattr(job, kind) for kind in ("bias", "dark", "flat")}
    return {k: Path(m.source) if isinstance(m, Frame) else run.made.get(m) for k, m in needed.items()}


def open_masters(run: Run, job: MasterJob | LightSet) -> Events[Masters]:
    """The masters of a job or a set of lights; one that cannot be used is told, and the work goes on without it."""
    calibrate = calibration_of(job, run.recipe.calibrate)
    opened: dict[str, Frame] = {}
    for kind, path in master_paths(run, job).items():
        try:
            if path is not None and path not in run.unusable:
                ready = getattr(job, kind)
                opened[kind] = ready if isinstance(ready, Frame) else read(path)
                if isinstance(ready, Frame):
                    np.asarray(ready)  # it may be damaged
                calibrate.masters(**{"bias": opened.get("bias"), kind: opened[kind]}).flat_means()
        except (FrameError, OSError) as error:
            opened.pop(kind, None)
            run.unusable.add(path)
            yield run.reject(Rejected.of(path, "masters", error), kind=kind)
            yield run.note("masters", f"going on without {path.name}")
    if job.dark is not None and "dark" not in opened and "bias" not in opened:
        yield from replace_dark(run, job, opened)
    for kind, master in opened.items():
        if isinstance(getattr(job, kind), Frame) and master.source not in run.examined:
            run.examined.add(master.source)
            beside: dict[str, Any] = {"bias": master_like(run, "bias", master)} | opened
            beside.pop(kind)
            found = run.recipe.doctor.master(kind, master, **beside)
            yield from run.diagnose(spoiling(found, lights_through(run.plan, getattr(job, kind))))
    return calibrate.masters(**opened)


def replace_dark(run: Run, job: MasterJob | LightSet, opened: dict[str, Frame]) -> Events[None]:
    """Put a master bias of this run in the place of a dark that failed; without one, the flat is left out as well."""
    spare = [run.made[m] for m in run.plan.masters if m.kind == "bias" and m in run.made]
    fits = [frame for frame in map(read, spare) if frame.shape[-2:] == job.frames[0].meta.sky_shape[-2:]]
    if fits:
        opened["bias"] = fits[0]
        yield run.note("masters", f"without the dark, {Path(fits[0].source).name} is subtracted instead")
    elif opened.pop("flat", None):
        yield run.note("masters", "with nothing to take the bias level off, the flat is left out as well")
