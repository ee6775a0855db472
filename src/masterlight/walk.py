"""The walk of a night through its recipe, as a generator of events.

    masters:  raw box -> (calibrate) -> normalize -> reject -> combine -> master bias, dark, flat
    pass 1:   one light, one task:  raw -> calibrate > repair -> stars, PSF, noise, level      (a few kB kept)
    between:  approve, choose the reference, match stars -> a transform for each light
    pass 2:   one tile, one task:   for every light: raw box -> calibrate > repair > warp -> reject -> combine

Raw pixels are read twice; only masters and results are written.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from masterlight import __version__
from masterlight.errors import FrameError, NothingUsable, Rejected
from masterlight.frame import Frame
from masterlight.io import counts, read, rounded, write
from masterlight.io.raster import preview, write_png
from masterlight.kernels.statistics import noise_mrs
from masterlight.process import card, plain, to_toml
from masterlight.processes.align import Reference, StarAlignment, Transform
from masterlight.processes.calibrate import Masters
from masterlight.processes.cosmetic import Defects
from masterlight.processes.glance import glance, sampled
from masterlight.processes.integrate import FrameStatistics, ImageIntegration, Stack
from masterlight.processes.subframes import Measurement, StarList
from masterlight.report import Report, contribution, measured_row, sentence, told
from masterlight.session import MIN_TILE_MB, RESULT_BYTES, LightJob, MasterJob, Plan, resident_mb
from masterlight.store import Store, header, inherited, key
from masterlight.workers import Event, each

if TYPE_CHECKING:
    from masterlight.recipe import Recipe

MEASURE_BYTES = 12
"""Bytes per pixel that measuring one light takes."""
MIN_FLUX_PAIRS = 8
"""Stars in common that make a flux ratio worth more than a ratio of background dispersions."""


@dataclass
class Light:
    """One light on its way: the calibrated view, then what was measured on it, then where it lies."""

    job: LightJob
    view: Frame
    saturation_dn: float | None
    measurement: Measurement | None = None
    stars: StarList | None = None
    transform: Transform | None = None

    @property
    def source(self) -> str:
        return self.view.source


@dataclass
class Walk:
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
    defects: dict[str, Defects] = field(default_factory=dict)
    """Defective pixels by the master dark that shows them."""

    def events(self) -> Iterator[Event]:
        """The whole walk; the last event carries the report."""
        self.report.version, self.report.recipe = __version__, plain(self.recipe)
        for group in self.plan.groups:
            yield Event("read", message=str(group))
        for rejected in self.plan.rejected:
            yield self.reject(rejected)
        for warning in self.plan.warnings:
            yield self.note("plan", warning)
        if not self.plan.lights:
            if any(Path(row["path"]).is_file() for row in self.report.frames):
                self.report.write(self.store.path("report", suffix=".json"))
            raise NothingUsable(self.plan.why_no_lights())
        self.store.require(self.plan.disk_bytes)
        names = [Path(frame.source) for job in self.plan.lights for frame in job.frames]
        wanted = Path(self.recipe.reference or "").name
        if wanted and not any(wanted in (path.name, path.stem) for path in names):
            yield self.note("plan", f"the reference {wanted} is not among the lights; the best light is taken")
        started = time.perf_counter()
        for job in self.plan.masters:
            with self.timed(f"master {job.kind}"):
                yield from self.master(job)
        for jobs in targets(self.plan.lights):
            yield from self.target(jobs)
        self.report.timing["total"] = time.perf_counter() - started
        for old in sorted(set(self.store.root.glob("master_light*.fits")) - self.store.taken):
            yield self.note("done", f"{old.name} is of an earlier run; this one did not make it")
        path = self.store.path("report", suffix=".json")
        self.report.write(path)
        yield Event("done", result=self.report, message=f"report: {path}")

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

    # masters

    def master(self, job: MasterJob) -> Iterator[Event]:
        """Integrate the frames of one kind; a frame that fails is left out and the others go on."""
        masters = yield from self.masters_of(job)
        integration = getattr(self.recipe, "dark" if job.kind == "flatdark" else job.kind)
        path = self.store.path("master", *job.words, folder="masters")
        inputs = [Path(f.source) for f in job.frames]
        made_of = key(inputs, integration, self.recipe.calibrate, [m for m in self.master_paths(job) if m])
        if not self.recipe.overwrite and self.store.reusable(path, made_of):
            self.made[id(job)] = path
            self.report.masters.append(reused(job, path))
            yield self.note("masters", f"{path.name}: made by an earlier run of the same frames, used again")
            return
        calibration = replace(self.recipe.calibrate, pedestal_dn=0.0)
        views, statistics, before = [], [], None
        for frame in job.frames:
            try:
                view = calibration(frame, masters)
                sample = sampled(view)
                ceiling = calibration.saturation(frame, masters)
                statistics.append(glance(view, job.kind, sample, before, ceiling))
                views.append(view)
                before = sample
            except (FrameError, OSError) as error:
                yield self.reject(Rejected.of(frame.source, "masters", error), kind=job.kind)
        if len(statistics) > 1:
            statistics[0] = replace(statistics[0], noise_dn=statistics[1].noise_dn)
        stack, views, _ = yield from self.integrate(f"master {job.kind}", integration, views, statistics, maps=False)
        if stack is None:
            yield self.note(
                "masters", f"no usable {job.kind} is left: continuing without a {path.stem.replace('_', ' ')}"
            )
            return
        metas = [v.meta for v in views]
        contains_bias = not (masters.bias or masters.dark) and "B" not in metas[0].calibration
        meta = metas[0].with_(contains_bias=contains_bias)
        cards = [("MLKEY", made_of, "what this master was made of")]
        self.save(path, stack, header(meta, metas, job.kind) + cards, (*views[0].cards, card(integration)), full=False)
        self.made[id(job)] = path
        row = self.row(job.kind, job.filter, path, stack)
        self.report.masters.append(row)
        yield Event("masters", message=sentence(row))

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
        found = {}
        for kind, path in zip(("bias", "dark", "flat"), self.master_paths(job), strict=True):
            try:
                if path is not None and path not in self.unusable:
                    found[kind] = read(path)
                    if isinstance(getattr(job, kind), Frame):
                        np.asarray(found[kind])  # ready-made: it may be damaged
                    self.recipe.calibrate.masters(**{"bias": found.get("bias"), kind: found[kind]}).factor()
            except (FrameError, OSError) as error:
                found.pop(kind, None)
                self.unusable.add(path)
                yield self.reject(Rejected.of(path, "masters", error), kind=kind)
                yield self.note("masters", f"going on without {path.name}")
        if getattr(job, "dark", None) is not None and "dark" not in found and "bias" not in found:
            spare = [self.made[id(m)] for m in self.plan.masters if m.kind == "bias" and id(m) in self.made]
            fits = [frame for frame in map(read, spare) if frame.shape[-2:] == job.frames[0].shape[-2:]]
            if fits:
                found["bias"] = fits[0]
                yield self.note("masters", f"without the dark, {Path(fits[0].source).name} is subtracted instead")
            elif found.pop("flat", None):
                yield self.note("masters", "with nothing to take the bias level off, the flat is left out as well")
        return self.recipe.calibrate.masters(**found)

    def integrate(
        self, stage, integration: ImageIntegration, frames, statistics, reference=0, sets=1, aspect=None, maps=True
    ):
        """Integrate, once more without it when a frame cannot be read; gives (stack or None, frames, reference)."""
        frames, statistics = list(frames), list(statistics)
        while frames:
            stack = None
            try:
                for event in integration(
                    frames,
                    statistics,
                    reference=reference,
                    pool=self.pool,
                    memory_mb=max(MIN_TILE_MB, self.memory_mb - resident_mb(area(frames[0]), RESULT_BYTES, sets)),
                    aspect=aspect,
                    maps=maps,
                ):
                    if isinstance(event.result, Stack):
                        stack = event.result
                    elif event.total:
                        yield Event(stage, event.done, event.total)
                return stack, frames, reference
            except FrameError as error:
                lost = [i for i, frame in enumerate(frames) if frame.source == error.source]
                if not lost:
                    raise
                yield self.reject(Rejected.of(error.source, stage, error))
                for i in reversed(lost):
                    del frames[i], statistics[i]
                    reference = max(0, reference - (i <= reference))
        return None, [], 0

    # lights

    def target(self, jobs: list[LightJob]) -> Iterator[Event]:
        """Every filter of one target: measured one after the other, aligned to one reference, integrated each."""
        lights = []
        for job in jobs:
            with self.timed("pass 1: measure"):
                lights += yield from self.look(job, keep=len(jobs) == 1)
        with self.timed("align"):
            lights, anchor = yield from self.aligned(lights)
        for job in jobs:
            own = [light for light in lights if light.job is job]
            if own:
                with self.timed("pass 2: integrate"):
                    yield from self.finish(job, own, anchor)
            else:
                yield self.note("integrate", f"no usable light is left of {' '.join(job.words) or 'this target'}")

    def look(self, job: LightJob, keep: bool) -> Iterator[Event]:
        """Pass 1: calibrate, repair and measure each light; gives the lights that could be measured.

        Without `keep` the arrays of the masters are let go until pass 2, so that filters do not pile up in memory.
        """
        lights, used = [], []
        for part in job.sets:
            masters = yield from self.masters_of(part)
            used.append(masters)
            defects = self.defects_of(masters)
            yield self.note("calibrate", f"{len(part.frames)} lights: {masters.equation}" + repaired(defects))
            if not masters:
                yield self.note("calibrate", "no dark, bias or flat fits these lights: they stay uncalibrated")
            for frame in part.frames:
                try:
                    view = self.recipe.calibrate(frame, masters)
                    view = self.recipe.cosmetic(view, defects) if defects else view
                    lights.append(Light(job, view, self.recipe.calibrate.saturation(frame, masters)))
                except (FrameError, OSError) as error:
                    lost = Rejected.of(frame.source, "calibrate", error)
                    yield self.reject(lost, kind="light", filter=job.filter)
        if not lights:
            return []
        view = lights[0].view
        spare_mb = self.memory_mb - resident_mb(area(view), 0, len(job.sets))
        together = int(spare_mb // (area(view) * MEASURE_BYTES / 1e6))
        together = max(1, min(2 * self.pool[1], together))
        needed_mb = resident_mb(area(view), RESULT_BYTES, len(job.sets)) + MIN_TILE_MB
        if needed_mb > self.memory_mb:
            words = f"{self.memory_mb:.0f} MB are too few for frames of this size"
            yield self.note("plan", f"{words}; about {needed_mb:.0f} MB will be used")
        for event in each("measure", self.pool, Measure(self.recipe.select), lights, in_flight=together):
            light = event.item
            if isinstance(event.result, Rejected):
                yield self.reject(event.result, kind="light", filter=job.filter)
                continue
            light.measurement, light.stars = event.result
            m = light.measurement
            words = f"{Path(light.source).name}: {m.stars} stars, FWHM {m.fwhm_px:.2f} px, "
            words += f"eccentricity {m.eccentricity:.2f}, noise {m.noise_dn:.2f} DN"
            yield Event("measure", event.done, event.total, message=words)
        for masters in [] if keep else used:
            masters.release()
        return [light for light in lights if light.measurement]

    def defects_of(self, masters: Masters) -> Defects | None:
        """The defective pixels that this dark shows, found once for each dark."""
        if masters.dark is None:
            return None
        if masters.dark.source not in self.defects:
            self.defects[masters.dark.source] = self.recipe.cosmetic.defects(masters.dark)
        return self.defects[masters.dark.source]

    def aligned(self, lights: list[Light]) -> Iterator[Event]:
        """Approve, choose the reference, find every light's transform; gives (lights that have one, reference)."""
        approved = []
        for light, verdict in zip(lights, self.verdicts(lights), strict=True):
            if verdict is None:
                approved.append(light)
            else:
                yield self.reject(verdict, **measured_row(light))
        if len(approved) == 1:
            approved[0].transform = Transform.identity(approved[0].stars.shape)
            yield self.note(
                "align", f"{Path(approved[0].source).name} is the only usable light: passed through as it is"
            )
        if len(approved) <= 1:
            return approved, approved[0] if approved else None
        best, failures = [], []
        for reference in self.references(approved)[:3]:
            found, lost = yield from self.transforms(reference, approved)
            if len(found) > len(best):
                best, failures, chosen = found, lost, reference
            if len(best) > len(approved) / 2:
                break
        yield self.note("align", f"reference: {Path(chosen.source).name}")
        for light, transform in best:
            light.transform = transform
        for light, why in failures:
            yield self.reject(why, **measured_row(light))
        return [light for light, _ in best], chosen

    def verdicts(self, lights: list[Light]) -> list[Rejected | None]:
        """The selector's verdict on each light, taken among the lights of the same filter."""
        verdict = {}
        for job in {id(light.job): light.job for light in lights}.values():
            own = [light for light in lights if light.job is job]
            verdict.update(zip(map(id, own), self.recipe.select.select([o.measurement for o in own]), strict=True))
        return [verdict[id(light)] for light in lights]

    def references(self, lights: list[Light]) -> list[Light]:
        """Lights in the order in which they would serve as reference; the user's choice alone if it is among them.

        Those of the most common size come first, and among them those that are calibrated like the best.
        """
        if self.recipe.reference:
            wanted = Path(self.recipe.reference).name
            named = [light for light in lights if wanted in (Path(light.source).name, Path(light.source).stem)]
            if named:
                return named
        shapes = Counter(light.view.shape for light in lights)
        usual = max(shapes, key=lambda shape: (shapes[shape], shape))
        done = max(len(light.view.meta.calibration) for light in lights if light.view.shape == usual)

        def rank(light: Light):
            return light.view.shape == usual, len(light.view.meta.calibration) == done, merit(light)

        return sorted(lights, key=rank, reverse=True)

    def transforms(self, reference: Light, lights: list[Light]) -> Iterator[Event]:
        """Match every light with the reference; gives [(light, Transform)], [(light, Rejected)], in their order."""
        task = Align(self.recipe.align, self.recipe.align.prepare(reference.stars))
        results = {id(reference): Transform.identity(reference.stars.shape)}
        for event in each("align", self.pool, task, [light for light in lights if light is not reference]):
            results[id(event.item)] = event.result
            yield Event("align", event.done, event.total)
        pairs = [(light, results[id(light)]) for light in lights]
        return [pair for pair in pairs if pair[1]], [pair for pair in pairs if not pair[1]]

    def finish(self, job: LightJob, lights: list[Light], anchor: Light) -> Iterator[Event]:
        """Pass 2: integrate the aligned lights of one filter on the grid of `anchor` and write what came of them."""
        align, integration = self.recipe.align, self.recipe.integrate
        reference = anchor if anchor in lights else max(lights, key=merit)
        frames, statistics = [], []
        for light in lights:
            m, t = light.measurement, light.transform
            frames.append(
                align.registered(light.view, t, anchor.view.shape[-2:], noise_dn=m.noise_dn, fwhm_px=m.fwhm_px)
            )
            statistics.append(
                FrameStatistics(
                    source=light.source,
                    location_dn=m.location_dn,
                    scale_dn=(m.scale_low_dn, m.scale_high_dn),
                    noise_dn=m.noise_dn,
                    exposure_s=light.view.meta.exposure_s,
                    flux_ratio=1.0 if light is anchor else t.flux_ratio if t.flux_pairs >= MIN_FLUX_PAIRS else None,
                )
            )
        stack, frames, at = yield from self.integrate(
            "integrate",
            integration,
            frames,
            statistics,
            lights.index(reference),
            len(job.sets),
            tile_aspect(lights),
        )
        if stack is None:
            yield self.note("integrate", f"every light of {' '.join(job.words)} failed while it was integrated")
            return
        by_source = {light.source: light for light in lights}
        lights = [by_source[frame.source] for frame in frames]
        reference = lights[at]
        for note in stack.notes:
            yield self.note("integrate", note)
        path = self.store.path("master_light", *job.words)
        metas = [light.view.meta for light in lights]
        if len({meta.calibration for meta in metas}) > 1:
            least = min(metas, key=lambda meta: len(meta.calibration))
            count = sum(meta.calibration == least.calibration for meta in metas)
            done = f"only '{least.calibration}' of CALSTAT" if least.calibration else "not calibrated at all"
            yield self.note("integrate", f"{path.name}: {count} of its {len(metas)} lights are {done}; see the plan")
        grid = {name: getattr(anchor.view.meta, name) for name in ("binning", "pixel_um", "focal_mm")}
        cards = header(reference.view.meta.with_(**grid), metas, "light") + inherited(anchor.view.header)
        self.save(path, stack, cards, (*frames[0].cards, card(integration)), full=True)
        row = self.row("light", job.filter, path, stack, reference)
        row |= {"object": job.object, "reference": anchor.source}
        self.report.masters.append(row)
        for light, used in zip(lights, stack.frames, strict=True):
            self.report.frames.append(measured_row(light) | {"status": "used", "reason": ""} | contribution(used))
            yield Event("integrate", message=told(light, used))
        yield Event("integrate", item=str(path), message=sentence(row))

    # products

    def save(self, path: Path, stack: Stack, cards: list, provenance, full: bool) -> None:
        """Write an integrated frame and its preview; the maps and planes too when `full`."""
        planes = {"IMAGE": stack.image}
        if full:
            planes |= {
                "VARIANCE": variance_plane(stack.variance),
                "COVERAGE": stack.coverage,
                "REJ_LOW": counts(stack.rejected_low, stack.n),
                "REJ_HIGH": counts(stack.rejected_high, stack.n),
                "FRAMES": frames_table(stack),
                "RECIPE": to_toml(self.recipe),
            }
        write(path, planes, cards, list(provenance), compress={"COVERAGE"})
        write_png(path.with_suffix(".png"), preview(stack.image))

    def row(self, kind, filter_name, path, stack: Stack, reference: Light | None = None) -> dict:
        """The report's row of one integrated frame, with what is measured on the result itself."""
        counts = stack.frames
        row = {
            "path": str(path),
            "preview": str(path.with_suffix(".png")),
            "kind": kind,
            "filter": filter_name,
            "frames_used": stack.n,
            "noise": noise_mrs(stack.image)[0],
            "fwhm_px": None,
            "rejected_low": float(np.mean([f.rejected_low_fraction for f in counts])),
            "rejected_high": float(np.mean([f.rejected_high_fraction for f in counts])),
            "effective_frames": stack.effective_frames,
        }
        if reference is not None:
            ceiling = reference.saturation_dn and 0.9 * reference.saturation_dn
            found = self.recipe.select.measure(stack.image, source=str(path), saturation_dn=ceiling)
            if found:
                row |= {"fwhm_px": found[0].fwhm_px, "eccentricity": found[0].eccentricity, "stars": found[0].stars}
            row |= {"noise_before": reference.measurement.noise_dn}
            # the median of a chi-squared plane over its mean
            middle = (1 - 2 / (9 * (stack.n - 1))) ** 3 if stack.n > 2 else 1.0
            row |= {"noise_claimed": float(np.sqrt(np.nanmedian(stack.variance) / middle))}
        return row


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
    """The report's row of a master that an earlier run made."""
    frame = read(path)
    row = {"path": str(path), "preview": str(path.with_suffix(".png")), "kind": job.kind, "filter": job.filter}
    row |= {"frames_used": frame.meta.frames, "noise": noise_mrs(np.asarray(frame))[0], "fwhm_px": None}
    return row | {"rejected_low": None, "rejected_high": None, "effective_frames": None, "reused": True}


def targets(jobs: list[LightJob]) -> list[list[LightJob]]:
    """Light jobs that show the same object, to be aligned to one reference whatever their filter."""
    groups: dict[str, list[LightJob]] = {}
    for job in jobs:
        groups.setdefault(job.object or "", []).append(job)
    return list(groups.values())


@dataclass(frozen=True)
class Align:
    """The task between the passes: one light matched with the reference."""

    process: StarAlignment
    reference: Reference

    def __call__(self, light: Light):
        return self.process.align(self.reference, light.stars, light.source)


def area(frame: Frame) -> int:
    return frame.shape[-1] * frame.shape[-2]


class Measure:
    """The task of pass 1: all of a light's pixels, once, into a buffer kept for the next, and what they tell."""

    def __init__(self, selector):
        self.selector, self.kept = selector, threading.local()

    def __reduce__(self):
        return Measure, (self.selector,)

    def __call__(self, light: Light):
        shape = light.view.shape
        if getattr(self.kept, "buffer", np.empty(0)).shape != shape:
            self.kept.buffer = np.empty(shape, np.float32)
        light.view.pixels_into(self.kept.buffer, 0, 0)
        gain = light.view.meta.gain_e_per_dn
        return self.selector.measure(
            self.kept.buffer, source=light.source, saturation_dn=light.saturation_dn, gain_e_per_dn=gain
        )


def tile_aspect(lights: list[Light]) -> float:
    """How much wider than high a tile should be: wide where rows stay rows, square where frames are turned."""
    turned = max(abs((light.transform.rotation_deg + 90) % 180 - 90) for light in lights)
    return 64 if turned < 1 else 4 if turned < 5 else 1


def merit(light: Light) -> float:
    """How well a light would serve as reference: many stars, sharp and round, little noise."""
    m = light.measurement
    width = m.fwhm_px * light.view.meta.binning[0]
    return (m.stars / m.noise_dn) ** 0.5 / width**2 * max(0.0, 1 - m.eccentricity**2) ** 0.5


def repaired(defects: Defects | None) -> str:
    if not defects:
        return ""
    return (
        f"; {defects.hot} hot and {defects.cold} cold pixels repaired ({100 * len(defects) / defects.mask.size:.3f} %)"
    )
