"""The walk of a night through its recipe, as a generator of events.

    masters:  raw box -> (calibrate) -> normalize -> reject -> combine -> master bias, dark, flat
    pass 1:   one light, one task:  raw -> calibrate > repair (> debayer) -> stars, PSF, noise, level  (a few kB kept)
    between:  approve, choose the reference, match stars -> a transform for each light
    pass 2:   one tile, one task:   every light: raw box -> calibrate > repair (> debayer) > warp -> reject -> combine

Raw pixels are read twice; only masters and results are written.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from masterlight import __version__
from masterlight.alignment.transform import Transform
from masterlight.calibration.masters import Masters
from masterlight.colour.debayer import Debayer
from masterlight.core.errors import FrameError, NothingUsable, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import card, changed, plain
from masterlight.core.workers import Event, each
from masterlight.defects.lists import Defects
from masterlight.drizzle.drizzle import finer
from masterlight.integration.kernels.combine import fill_holes
from masterlight.integration.stack import Stack
from masterlight.io.defectlist import read_defects
from masterlight.night.light import MEASURE_BYTES, MEASURE_COLOUR_BYTES, Align, Light, Measure, merit, tile_aspect
from masterlight.night.masters import Workshop, area
from masterlight.night.products import header, inherited
from masterlight.night.report import by_frame, contribution, measured_row, sentence, told
from masterlight.session.plan import MIN_TILE_MB, RESULT_BYTES, LightJob, LightSet, calibration_of, loads, resident_mb
from masterlight.subframes.measure import measure
from masterlight.subframes.together import OnFrame


@dataclass
class Walk(Workshop):
    """The walk of one night: masters, then lights measured, aligned and integrated."""

    defects: dict[tuple, Defects | None] = field(default_factory=dict)
    """Defective pixels by the master dark that shows them and the size of the lights."""

    @property
    def debayer(self) -> Debayer:
        """The recipe's debayering; frames know their pattern already, which trimming may have shifted."""
        return changed(self.recipe.debayer, pattern="auto")

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
        for job in self.plan.lights if self.recipe.defects else ():  # a bad list is told before the work begins
            read_defects(self.recipe.defects, trimmed_shape(job.frames[0], self.recipe.calibrate))
        started = time.perf_counter()
        with self.timed("doctor"):
            for event in self.recipe.doctor.frames(self.plan, self.pool):
                yield replace(event, result=None, message="")
            yield from self.diagnosed(event.result)
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
        self.written_page()
        yield Event("done", result=self.report, message=f"report: {path}")

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
            defects = yield from self.defects_of(part, masters)
            views = []
            for frame in part.frames:
                try:
                    views.append(self.light(job, part, frame, masters, defects))
                except (FrameError, OSError) as error:
                    lost = Rejected.of(frame.source, "calibrate", error)
                    yield self.reject(lost, kind="light", filter=job.filter)
            told = getattr(views[0].calibrated, "equation", "C = L") if views else part.equation
            yield self.note("calibrate", f"{len(part.frames)} lights: {told}" + repaired(defects))
            if told == "C = L" and not part.frames[0].meta.calibration and len(part.frames[0].shape) == 2:
                yield self.note("calibrate", "no dark, bias or flat fits these lights: they stay uncalibrated")
            lights += views
            yield from self.sampled(views, masters, defects)
        if not lights:
            return []
        view = lights[0].view
        spare_mb = self.memory_mb - resident_mb(area(view), 0, loads(job))
        each_mb = area(lights[0].sensor) * (MEASURE_BYTES if job.planes == 1 else MEASURE_COLOUR_BYTES) / 1e6
        together = max(1, min(2 * self.pool[1], int(spare_mb // each_mb)))
        needed_mb = resident_mb(area(view), RESULT_BYTES * job.planes, loads(job)) + MIN_TILE_MB
        if needed_mb > self.memory_mb:
            words = f"{self.memory_mb:.0f} MB are too few for frames of this size"
            yield self.note("plan", f"{words}; about {needed_mb:.0f} MB will be used")
        task = Measure(self.recipe.select, self.debayer, self.recipe.align.planes == "each")
        for event in each("measure", self.pool, task, lights, in_flight=together):
            light = event.item
            if isinstance(event.result, Rejected):
                yield self.reject(event.result, kind="light", filter=job.filter)
                continue
            light.measurement, light.channels, light.stars, light.plane_stars = event.result
            m = light.measurement
            words = f"{Path(light.source).name}: {m.stars} stars, FWHM {m.fwhm_px:.2f} px, "
            words += f"eccentricity {m.eccentricity:.2f}, noise {m.noise_dn:.2f} DN" + scaled_by(light.calibrated)
            yield Event("measure", event.done, event.total, message=words)
        for masters in [] if keep else used:
            masters.release()
        return [light for light in lights if light.measurement]

    def sampled(self, lights: list[Light], masters: Masters, defects: Defects | None) -> Iterator[Event]:
        """The doctor's look at one calibrated light of a set, the middle one or the next that can be read."""
        for light in lights[len(lights) // 2 :]:
            raw = next(f for f in light.job.frames if f.source == light.source)
            try:
                findings = self.recipe.doctor.light(raw, light.calibrated, masters, defects)
            except (FrameError, OSError):  # rejected, with the reason, when it is measured
                continue
            yield from self.diagnosed(findings)
            return

    def light(self, job: LightJob, part: LightSet, frame: Frame, masters: Masters, defects: Defects | None) -> Light:
        """A raw frame as a light: views of it, calibrated, repaired, and debayered where it is a mosaic.

        An image of three planes is taken as it is.
        """
        if len(frame.shape) > 2:
            return Light(job, frame, frame, frame, frame.meta.saturation_dn)
        calibrate = calibration_of(part, self.recipe.calibrate)
        calibrated = calibrate(frame, masters)
        sensor = self.recipe.cosmetic(calibrated, defects)
        view = self.debayer(sensor) if sensor.meta.pattern else sensor
        return Light(job, calibrated, sensor, view, calibrate.saturation(frame, masters))

    def defects_of(self, part: LightSet, masters: Masters) -> Iterator[Event]:
        """The defective pixels that the dark of a set and the user's list show, found once for each dark and size."""
        light, calibrate = part.frames[0], calibration_of(part, self.recipe.calibrate)
        if len(light.shape) > 2:
            return None
        shape = trimmed_shape(light, calibrate)
        name = masters.dark.source if masters.dark else "", shape
        if name not in self.defects:
            found = []
            with suppress(FrameError):  # each light tells that its masters do not fit
                if masters.dark:
                    found.append(self.recipe.cosmetic.defects(calibrate.masters_for(light, masters).dark))
            if self.recipe.defects:
                found.append(Defects.of(*read_defects(self.recipe.defects, shape)))
            for note in [note for one in found for note in one.notes]:
                yield self.note("calibrate", note)
            self.defects[name] = found[0].union(*found[1:]) if found else None
        return self.defects[name]

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
        for light, transforms in best:
            light.transform, light.plane_transforms = transforms
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
        """Match every light with the reference; gives [(light, transforms)], [(light, Rejected)], in their order."""
        task = Align(self.recipe.align, self.recipe.align.prepare(reference.stars), reference.source)
        results = {}
        for event in each("align", self.pool, task, lights):
            results[id(event.item)] = event.result
            yield Event("align", event.done, event.total)
        pairs = [(light, results[id(light)]) for light in lights]
        return [pair for pair in pairs if pair[1]], [pair for pair in pairs if not pair[1]]

    def stars_of(self, path: Path, stack: Stack, reference: Light) -> dict:
        """What is measured on a master light itself: its stars."""
        ceiling = reference.saturation_dn and 0.9 * reference.saturation_dn
        found = self.recipe.select.measure(stack.image, source=str(path), saturation_dn=ceiling)
        if not found:
            return {}
        return {"fwhm_px": found[0].fwhm_px, "eccentricity": found[0].eccentricity, "stars": found[0].stars}

    def known(self, lights: list[Light], frames: list[Frame], anchor: Light) -> Iterator[Event]:
        """What integration must know of each light; measured once more where pass 1 has not looked at all of it."""
        integration, pairs = self.recipe.integrate, zip(lights, frames, strict=True)
        found = [light.statistics(light is anchor, frame, self.debayer) for light, frame in pairs]
        more = [name for name in integration.measures if getattr(found[0][0], name) is None]
        if not more and integration.scale in ("stars", "bwmv"):
            return found
        scale = "bwmv" if integration.scale == "stars" else integration.scale
        task = partial(measure, wanted=tuple(more), scale=scale)
        for event in each("measure", self.pool, OnFrame(task, [light.view for light in lights]), range(len(lights))):
            i, measured = event.item, event.result
            yield Event("measure", event.done, event.total)
            if isinstance(measured, Rejected):
                raise FrameError(lights[i].source, measured.reason)
            names = (*more, "location_dn", "scale_dn")
            found[i] = [
                replace(old, **{name: getattr(new, name) for name in names})
                for old, new in zip(found[i], measured, strict=True)
            ]
        return found

    def finer(self, job: LightJob, lights: list[Light], stack: Stack, anchor: Light, cards: list) -> Iterator[Event]:
        """Drop the lights of a stack onto a finer grid, a mosaic without debayering, and write what came of them."""
        drizzle, shape = self.recipe.drizzle, anchor.view.shape[-2:]
        whole = drizzle.cfa != "off" and all(light.view.shape[-2:] == light.sensor.shape for light in lights)
        for event in drizzle(
            [light.sensor if whole else light.view for light in lights],
            [light.plane_transforms or light.transform for light in lights],
            shape,
            stack.terms,
            verdicts=stack.verdicts,
            local=stack.models or None,
            pool=self.pool,
            memory_mb=max(MIN_TILE_MB, self.memory_mb - resident_mb(area(anchor.view), 0, loads(job))),
        ):
            yield replace(event, result=None, message=event.message if event.result is None else "")
        made = replace(event.result, reference=stack.reference)
        for note in made.notes:
            yield self.note("drizzle", note)
        path = self.store.path("master_light", *job.words, "drizzle")
        header, _ = finer(dict((name, value) for name, value, _ in cards), anchor.view.meta, drizzle.scale, shape)
        comments = {name: comment for name, _, comment in cards}
        cards = [(name, header[name], comments.get(name, "")) for name in header]
        done = card(self.recipe.integrate), card(drizzle)
        self.save(path, made, cards, (*lights[0].view.cards, *done), full=True)
        row = self.row("light", job.filter, path, made) | self.stars_of(path, made, lights[0])
        row |= {"object": job.object, "reference": anchor.source}
        self.report.masters.append(row)
        yield Event("drizzle", item=str(path), message=sentence(row))

    def finish(self, job: LightJob, lights: list[Light], anchor: Light) -> Iterator[Event]:
        """Pass 2: integrate the aligned lights of one filter on the grid of `anchor` and write what came of them."""
        align, integration = self.recipe.align, self.recipe.integrate
        reference = anchor if anchor in lights else max(lights, key=merit)
        frames = [light.registered(align, anchor.view.shape[-2:]) for light in lights]
        statistics = yield from self.known(lights, frames, anchor)
        stack, frames, at = yield from self.integrate(
            "integrate",
            integration,
            frames,
            statistics,
            lights.index(reference),
            loads(job),
            aspect=tile_aspect(lights),
            verdicts=self.recipe.drizzled and self.recipe.drizzle.rejection,
        )
        if stack is None:
            yield self.note("integrate", f"every light of {' '.join(job.words)} failed while it was integrated")
            return
        by_source = {light.source: light for light in lights}
        lights = [by_source[frame.source] for frame in frames]
        reference = lights[at]
        for note in stack.notes:
            yield self.note("integrate", note)
        holes = max(fill_holes(plane, 3, 0.7) for plane in stack.image.reshape(-1, *stack.image.shape[-2:]))
        if holes:
            words = f"{holes} pixels are defective in every light that saw them and take the median of their neighbours"
            yield self.note("integrate", f"{words}; COVERAGE is 0 there. Dithering would fill them with light")
        path = self.store.path("master_light", *job.words)
        lost = {frame.source for frame in stack.lost}
        metas = [light.view.meta for light in lights if light.source not in lost]
        if len({meta.calibration for meta in metas}) > 1:
            least = min(metas, key=lambda meta: len(meta.calibration))
            count = sum(meta.calibration == least.calibration for meta in metas)
            done = f"only '{least.calibration}' of CALSTAT" if least.calibration else "not calibrated at all"
            yield self.note("integrate", f"{path.name}: {count} of its {len(metas)} lights are {done}; see the plan")
        grid = {name: getattr(anchor.view.meta, name) for name in ("binning", "pixel_um", "focal_mm")}
        cards = header(reference.view.meta.with_(**grid), metas, "light") + inherited(anchor.view.header)
        self.save(path, stack, cards, (*frames[0].cards, card(integration)), full=True)
        row = self.row("light", job.filter, path, stack) | self.stars_of(path, stack, reference)
        row |= {"object": job.object, "reference": anchor.source}
        self.report.masters.append(row)
        if self.recipe.drizzled:
            with self.timed("drizzle"):
                yield from self.finer(job, [o for o in lights if o.source not in lost], stack, anchor, cards)
        for source, _, trail in stack.trails:
            yield Event("integrate", message=f"{Path(source).name}: {trail}")
        left_out = {lost.source: lost for lost in stack.lost}
        for light, used in zip(lights, by_frame(stack), strict=True):
            if light.source in left_out:
                yield self.reject(left_out[light.source], **measured_row(light))
                continue
            self.report.frames.append(measured_row(light) | {"status": "used", "reason": ""} | contribution(used))
            yield Event("integrate", message=told(light, used))
        yield Event("integrate", item=str(path), message=sentence(row))


def trimmed_shape(frame: Frame, calibrate) -> tuple[int, int]:
    """Rows and columns of a raw frame after calibration has cut off what saw no sky."""
    y0, y1, x0, x1 = calibrate.overscan.window(frame)
    return y1 - y0, x1 - x0


def targets(jobs: list[LightJob]) -> list[list[LightJob]]:
    """Light jobs that show the same object, to be aligned to one reference whatever their filter."""
    groups: dict[str, list[LightJob]] = {}
    for job in jobs:
        groups.setdefault(job.object or "", []).append(job)
    return list(groups.values())


def repaired(defects: Defects | None) -> str:
    if not defects:
        return ""
    return f"; {defects.hot} hot and {defects.cold} cold pixels repaired ({100 * defects.fraction:.3f} %)"


def scaled_by(view: Frame) -> str:
    """The factor that was fitted to the dark for one light, as words for the process console."""
    scale = getattr(view, "dark_scale", None)
    if scale is None:
        return ""
    told = f", dark x {scale.k:.3f} +- {scale.sigma:.3f}"
    return told if scale.accepted else f"{told} ({scale.reason})"
