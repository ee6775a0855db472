"""The workshop of a run: frames are integrated here, masters made, products written, and what goes wrong is kept.

masters:  raw box -> (calibrate) -> normalize -> reject -> combine -> master bias, dark, flat
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from masterlight.core.errors import FrameError, Halted, ParameterError, Rejected
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.noise import noise_mrs
from masterlight.core.process import card, to_toml
from masterlight.core.workers import Event
from masterlight.doctor.findings import Finding
from masterlight.doctor.page import html
from masterlight.doctor.quality.page import MasterReport
from masterlight.doctor.quality.worth import report as quality_of
from masterlight.integration.depth import depth_of
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.stack import Stack
from masterlight.io import atomic, counts, read, rounded, write
from masterlight.io.raster import preview, write_png
from masterlight.night.products import Store, header, key
from masterlight.night.report import Report
from masterlight.session.plan import MIN_TILE_MB, RESULT_BYTES, MasterJob, Plan, calibration_of, resident_mb
from masterlight.subframes.measure import measure

if TYPE_CHECKING:
    from masterlight.night.recipe import Recipe


@dataclass
class Workshop:
    """One run: the plan it follows, the pool it works in, and what it has made so far."""

    plan: Plan
    store: Store
    recipe: "Recipe"
    pool: tuple
    memory_mb: float
    report: Report = field(default_factory=Report)
    made: dict[int, Path] = field(default_factory=dict)
    """Path of the master that came of a job, by the job's id."""
    unusable: set[Path] = field(default_factory=set)
    """Masters that could not be read or used."""
    findings: list[Finding] = field(default_factory=list)
    """What the doctor found so far."""
    examined: set[str] = field(default_factory=set)
    """Ready-made masters that the doctor has seen."""

    @contextmanager
    def timed(self, stage: str):
        """Add the seconds spent inside to the report's timing of this stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.report.timing[stage] = self.report.timing.get(stage, 0.0) + time.perf_counter() - started

    def note(self, stage: str, message: str) -> Event:
        """A sentence for the process console that the report keeps."""
        self.report.notes.append(message)
        return Event(stage, message=message)

    def reject(self, rejected: Rejected, **row) -> Event:
        """Keep a frame that failed as a row of the report, and say so."""
        self.report.reject(rejected, **row)
        return Event(rejected.stage, item=rejected.source, result=rejected, message=f"rejected {rejected}")

    def diagnosed(self, findings: list[Finding]) -> Iterator[Event]:
        """Keep what the doctor found, and say it; an error ends the run, unless the recipe says to go on."""
        self.findings += findings
        self.report.findings += [finding.as_dict() for finding in findings]
        for finding in findings:
            message = f"{finding.id} {finding.severity}: {finding.sentence}" if finding.severity != "info" else ""
            yield Event("doctor", result=finding, message=message)
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors and not self.recipe.force:
            page = self.written_page()
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise Halted(
                f"stopped by the doctor: {errors[0].id}, {errors[0].sentence}{more}. Pictures are in {page}; "
                f"to go on all the same, pass --force, or leave this out with --doctor.off {errors[0].id}"
            )

    def written_page(self) -> Path:
        """Write report.html, what the doctor found with its pictures, and give its path."""
        path = self.store.path("report", suffix=".html")
        with atomic(path) as file:
            file.write(html(self.findings, self.plan.name).encode())
        return path

    # masters

    def master(self, job: MasterJob, path: Path | None = None) -> Iterator[Event]:
        """Integrate the frames of one kind; a frame that fails is left out and the others go on."""
        masters = yield from self.masters_of(job)
        integration = getattr(self.recipe, "dark" if job.kind == "flatdark" else job.kind).integration()
        path = path or self.store.path("master", *job.words, folder="masters")
        inputs = [Path(f.source) for f in job.frames]
        superbias = [self.recipe.superbias] if job.kind == "bias" else []
        calibrate = calibration_of(job, self.recipe.calibrate)
        made_of = key(inputs, integration, calibrate, superbias, [m for m in self.master_paths(job) if m])
        if not self.recipe.overwrite and self.store.reusable(path, made_of):
            self.made[id(job)] = path
            self.report.masters.append(reused(job, path))
            yield self.note("masters", f"{path.name}: made by an earlier run of the same frames, used again")
            yield from self.diagnosed(self.examine(job, path, job.frames))
            return
        views, statistics = yield from self.calibrated(job, masters)
        stack, views, _ = yield from self.integrate(f"master {job.kind}", integration, views, statistics, maps=False)
        if stack is None:
            yield self.note("masters", f"no usable {job.kind} is left: continuing without the master {job.kind}")
            return
        left = {view.source for view in views}
        statistics = [planes for planes in statistics if planes[0].source in left]
        metas = [v.meta for v in views]
        contains_bias = not (masters.bias or masters.dark) and "B" not in metas[0].calibration
        meta = metas[0].with_(contains_bias=contains_bias)
        cards = [*header(meta, metas, job.kind), ("MLKEY", made_of, "what this master was made of")]
        stack, done = yield from self.smoothed(job, stack, views, statistics, meta)
        self.save(path, stack, cards, (*views[0].cards, card(integration), *done), full=False)
        self.made[id(job)] = path
        row = self.row(job.kind, job.filter, path, stack)
        told = "no report"
        try:
            quality = self.quality(job, read(path), views, stack)
            row |= {"noise": quality.noise_dn or row["noise"], "quality": quality.as_dict() | {"text": quality.text()}}
            told = quality.sentence()
        except (FrameError, ParameterError) as error:  # figures never stop a run
            yield self.note("masters", f"what the master is worth cannot be told: {error}")
        self.report.masters.append(row)
        with atomic(path.with_suffix(".json")) as file:
            file.write(json.dumps(row, indent=1).encode())
        lost = f"rejected {100 * row['rejected_low']:.3f} % low, {100 * row['rejected_high']:.3f} % high"
        yield Event("masters", message=f"{path.name}: {told}; {lost}")
        noise_dn = [planes[0].noise_dn for planes in statistics]
        yield from self.diagnosed(self.examine(job, path, views, noise_dn))

    def calibrated(self, job: MasterJob, masters) -> Iterator[Event]:
        """The frames of a job through its masters, and their statistics; those that fail are rejected."""
        calibration = calibration_of(job, self.recipe.calibrate)
        views, statistics = [], []
        for frame in job.frames:
            try:
                view = calibration(frame, masters)
                before, ceiling = views[-1] if views else None, calibration.saturation(frame, masters)
                statistics += measure(view, kind=job.kind, before=before, saturation_dn=ceiling)
                views.append(view)
            except (FrameError, OSError) as error:
                yield self.reject(Rejected.of(frame.source, "masters", error), kind=job.kind)
        if len(statistics) > 1:
            statistics[0] = replace(statistics[0], noise_dn=statistics[1].noise_dn)
        return views, [[s] for s in statistics]

    def smoothed(self, job: MasterJob, stack: Stack, views, statistics, meta) -> Iterator[Event]:
        """The master bias as its pattern of rows and columns, if the recipe wants that and it is better."""
        superbias = self.recipe.superbias
        if job.kind != "bias" or superbias.use == "never" or (superbias.use == "auto" and len(views) < 4):
            return stack, ()
        if superbias.use == "auto":
            halves = []
            for i in (0, 1):
                half, _, _ = yield from self.integrate(
                    "superbias", self.recipe.bias.integration(), views[i::2], statistics[i::2], maps=False
                )
                halves.append(ArrayFrame.of(half.image, "half of the bias frames", meta))
            verdict = superbias.validate(*halves)
            yield self.note("masters", verdict.sentence)
            if not verdict.better:
                return stack, ()
        made = superbias(ArrayFrame.of(stack.image, "master bias", meta))
        return replace(stack, image=np.asarray(made)), (card(superbias),)

    def examine(self, job: MasterJob, path: Path, frames, noise_dn=()) -> list[Finding]:
        """The doctor's look at a master of this run, beside the others that are made already."""
        master, dark = read(path), job.kind in ("dark", "flatdark")
        beside = {"bias": self.bias_like(master), "flat": self.made_like("flat", master)} if dark else {}
        scaled = any(part.scaled and part.dark is job for light in self.plan.lights for part in light.sets)
        return self.recipe.doctor.master(job.kind, master, frames=frames, noise_dn=noise_dn, scaled=scaled, **beside)

    def made_like(self, kind: str, master: Frame) -> Frame | None:
        """A master of this run of the size of another."""
        made = (read(self.made[id(m)]) for m in self.plan.masters if m.kind == kind and id(m) in self.made)
        return next((frame for frame in made if frame.shape == master.shape), None)

    def bias_like(self, master: Frame) -> Frame | None:
        """A bias of the size of a master to compare it with: a master bias of this run, or any bias frame."""
        raw = (group.frames[0] for group in self.plan.groups if group.kind == "bias")
        return self.made_like("bias", master) or next((f for f in raw if f.shape == master.shape), None)

    def quality(self, job: MasterJob, master: Frame, views: list[Frame], stack: Stack) -> MasterReport:
        """What a master is like, measured together with the other calibration frames of its camera."""
        bare = calibration_of(job, self.recipe.calibrate)
        same = [other for other in self.plan.masters if other.frames[0].shape == job.frames[0].shape]
        raw = {other.kind: [bare(frame, bare.masters()) for frame in other.frames[:2]] for other in same}
        return quality_of(
            job.kind,
            master,
            views,
            stack=stack,
            bias=self.bias_like(master) if job.kind in ("dark", "flatdark") else None,
            biases=raw.get("bias", ()),
            flats=raw.get("flat", ()),
            equation=job.equation,
        )

    def master_paths(self, job) -> list[Path | None]:
        """The masters that a job (or a set of lights) calls for, as files: bias, dark, flat."""
        return [self.path_of(getattr(job, kind, None)) for kind in ("bias", "dark", "flat")]

    def path_of(self, needed) -> Path | None:
        """The file of a master that a plan names: a job of this run, or a ready-made frame; None when it failed."""
        if isinstance(needed, Frame):
            return Path(needed.source)
        return None if needed is None else self.made.get(id(needed))

    def masters_of(self, job) -> Iterator[Event]:
        """The masters of a job or a set of lights; one that cannot be used is told, and the work goes on without it."""
        calibrate, found = calibration_of(job, self.recipe.calibrate), {}
        for kind, path in zip(("bias", "dark", "flat"), self.master_paths(job), strict=True):
            try:
                if path is not None and path not in self.unusable:
                    found[kind] = read(path)
                    if isinstance(getattr(job, kind), Frame):
                        np.asarray(found[kind])  # ready-made: it may be damaged
                    calibrate.masters(**{"bias": found.get("bias"), kind: found[kind]}).flat_means()
            except (FrameError, OSError) as error:
                found.pop(kind, None)
                self.unusable.add(path)
                yield self.reject(Rejected.of(path, "masters", error), kind=kind)
                yield self.note("masters", f"going on without {path.name}")
        if getattr(job, "dark", None) is not None and "dark" not in found and "bias" not in found:
            spare = [self.made[id(m)] for m in self.plan.masters if m.kind == "bias" and id(m) in self.made]
            fits = [frame for frame in map(read, spare) if frame.shape[-2:] == job.frames[0].meta.sky_shape[-2:]]
            if fits:
                found["bias"] = fits[0]
                yield self.note("masters", f"without the dark, {Path(fits[0].source).name} is subtracted instead")
            elif found.pop("flat", None):
                yield self.note("masters", "with nothing to take the bias level off, the flat is left out as well")
        for kind, master in found.items():
            ready = isinstance(getattr(job, kind), Frame) and master.source not in self.examined
            if ready:
                self.examined.add(master.source)
                beside = {"bias": self.bias_like(master)} | found
                beside.pop(kind)
                yield from self.diagnosed(self.recipe.doctor.master(kind, master, **beside))
        return calibrate.masters(**found)

    def integrate(
        self, stage, integration: ImageIntegration, frames, statistics, reference=0, sets=1, named=False, **how
    ):
        """Integrate, once more without it when a frame cannot be read; gives (stack or None, frames, reference).

        statistics: for each frame a list with those of its planes; reference None lets the weights choose it; when the
        user `named` it, nothing takes its place.
        """
        frames, statistics = list(frames), list(statistics)
        while frames:
            stack = None
            try:
                for event in integration(
                    frames,
                    list(zip(*statistics, strict=True)),
                    reference=reference,
                    pool=self.pool,
                    memory_mb=max(
                        MIN_TILE_MB,
                        self.memory_mb - resident_mb(area(frames[0]), RESULT_BYTES * planes(frames[0]), sets),
                    ),
                    **how,
                ):
                    if isinstance(event.result, Stack):
                        stack = event.result
                    elif event.total:
                        yield replace(event, stage=stage if event.stage == "integrate" else event.stage, message="")
                return stack, frames, reference
            except FrameError as error:
                lost = [i for i, frame in enumerate(frames) if frame.source == error.source]
                if not lost or (named and reference in lost):
                    raise
                yield self.reject(Rejected.of(error.source, stage, error))
                for i in reversed(lost):
                    del frames[i], statistics[i]
                    reference = None if reference is None else max(0, reference - (i <= reference))
        return None, [], reference

    # products

    def save(self, path: Path, stack: Stack, cards: list, provenance, full: bool) -> None:
        """Write an integrated frame and its preview; the maps and planes too when `full`."""
        planes = {"IMAGE": stack.image}
        if full:
            words = "variance of wide sums over that of VARIANCE"
            cards = [*cards, ("VARCORR", round(stack.correlation, 4), words)]
            planes |= {
                "VARIANCE": variance_plane(stack.variance),
                "COVERAGE": stack.coverage,
                **maps_of(stack),
                "FRAMES": frames_table(stack),
                "RECIPE": to_toml(self.recipe),
            }
        write(path, planes, cards, list(provenance), compress={"COVERAGE"})
        write_png(path.with_suffix(".png"), preview(stack.image, linked=False))

    def row(self, kind, filter_name, path, stack: Stack) -> dict:
        """The report's row of one integrated frame."""
        return {
            "path": str(path),
            "preview": str(path.with_suffix(".png")),
            "kind": kind,
            "filter": filter_name,
            "frames_used": stack.n,
            "noise": noise_of(stack.image),
            "fwhm_px": None,
            "rejected_low": float(np.mean([f.rejected_low_fraction for f in stack.frames if f.weight > 0])),
            "rejected_high": float(np.mean([f.rejected_high_fraction for f in stack.frames if f.weight > 0])),
            "rejected_large": float(np.mean([f.large_scale_fraction for f in stack.frames if f.weight > 0])),
            "trails": [f"{Path(source).name}: {trail}" for source, _, trail in stack.trails],
            "effective_frames": stack.effective_frames,
        } | (depth_of(stack).as_dict() if stack.variance is not None else {})


def maps_of(stack: Stack) -> dict:
    """The maps of a stack that not every stack has, by the names of their extensions."""
    maps = {}
    if stack.rejected_low is not None:
        maps |= {"REJ_LOW": counts(stack.rejected_low, stack.n), "REJ_HIGH": counts(stack.rejected_high, stack.n)}
    if stack.slope is not None:
        maps["SLOPE"] = stack.slope
    if getattr(stack, "weight", None) is not None:
        maps["WEIGHT"] = stack.weight
    return maps


def area(frame: Frame) -> int:
    return frame.shape[-1] * frame.shape[-2]


def planes(frame: Frame) -> int:
    return frame.shape[0] if len(frame.shape) == 3 else 1


def noise_of(image: np.ndarray) -> float:
    """The noise of an image, of the mean of its planes when it has three."""
    noise = [noise_mrs(plane)[0] for plane in image.reshape(-1, *image.shape[-2:])]
    return float(np.sqrt(np.sum(np.square(noise)))) / len(noise)


def variance_plane(variance: np.ndarray):
    """The variance rounded to 1/64 of its median, far finer than a variance of some tens of samples is known."""
    step = float(np.nanmedian(variance)) / 64
    return rounded(np.maximum(variance, np.float32(step)), step) if step > 0 else variance


def frames_table(stack: Stack):
    """The frames of a stack as a table: who contributed with what weight, and what was rejected of it."""
    from astropy.table import Table

    rows = [vars(frame) | {"source": Path(frame.source).name.encode("ascii", "replace")} for frame in stack.frames]
    return Table({name: [row[name] for row in rows] for name in rows[0]})


def reused(job: MasterJob, path: Path) -> dict:
    """The report's row of a master that an earlier run made, as it was told then if that can still be read."""
    names = ("noise", "rejected_low", "rejected_high", "effective_frames", "quality")
    try:
        before = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        before = {}
    row = {"path": str(path), "preview": str(path.with_suffix(".png")), "kind": job.kind, "filter": job.filter}
    row |= {"frames_used": read(path).meta.frames, "fwhm_px": None, "reused": True}
    return row | {name: before.get(name) for name in names}
