"""The examination: of raw frames, of a master, of a light, and of a whole night with quick masters made in memory."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import FrameError, MasterlightError
from masterlight.core.frame import ArrayFrame, Frame, evenly
from masterlight.core.process import with_values
from masterlight.core.statistics.scale import madn
from masterlight.core.workers import Event, Pool, Serial, each
from masterlight.doctor import levels, matches
from masterlight.doctor.evidence import Evidence, gather, middle_of, sample
from masterlight.doctor.findings import Finding, by_gravity, spoiling, summary
from masterlight.doctor.process import Doctor
from masterlight.doctor.raw import clipped, flats, grey, kinds, leaks, resampled
from masterlight.doctor.raw.dust import LIGHTS
from masterlight.session.plan import LightSet, MasterJob, Plan, calibration_of

CHECKS = (
    levels.twins, kinds.starless_lights, kinds.odd_exposures, levels.calibrated_already,
    levels.flat_level, levels.flat_clipping, levels.outliers, matches.flat_darks, matches.dark_exposure,
    matches.temperature, matches.offset, leaks.leaks, leaks.unsteady_rates, matches.pattern, grey.equal_colours,
    matches.shutter,
    matches.illumination, matches.gain, matches.banding, matches.scales,
    clipped.clipped, flats.flats_called_light, flats.odd_flats, resampled.resampled,
)  # fmt: skip
"""The diagnoses of raw frames, after stars in the dark; each takes the doctor and the evidence and yields findings."""
OF_FLATS = "D05", "D06", "D14", "D15"
"""What lights say of their flat; what they say otherwise is of what is subtracted from them."""
FRAMES = 5
"""Frames that a quick master is made of, at most."""
BAND_ROWS = 256


def frames(doctor: Doctor, plan: Plan, pool: Pool) -> Generator[Event, None, list[Finding]]:
    """See `Doctor.frames`."""
    evidence = yield from gather(plan, pool)
    found = active(doctor, diagnoses(doctor, evidence))
    found = weigh(plan, found)
    yield Event("doctor", len(evidence.looks), len(evidence.looks), result=found, message=summary(found))
    return found


def diagnoses(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """What is wrong with raw frames; lights among darks and flats, which a run leaves out, are told as such alone."""
    strange = list(kinds.stars_in_the_dark(doctor, evidence)) if "H01" not in doctor.off else []
    yield from strange
    rest = evidence.without({source for one in strange if one.out for source in one.sources})
    for check in CHECKS:
        yield from check(doctor, rest)


def active(doctor: Doctor, findings: Iterable[Finding]) -> list[Finding]:
    """Findings that are not switched off, the gravest first.

    A file that cannot be read any more ends the list: whoever uses it next tells why.
    """
    found: list[Finding] = []
    with suppress(FrameError, OSError):
        found.extend(findings)
    return by_gravity(one for one in found if one.id not in doctor.off)


def weigh(plan: Plan, findings: Iterable[Finding]) -> list[Finding]:
    """Findings as grave as they are for the lights of a plan, the gravest first.

    An error is what most of the lights say that use the same. What no light uses is a warning at most, and so is what
    few lights say of masters that fit the others, and what is wrong with few frames of a master.
    """
    out = []
    for one in findings:
        spoilt, users = lights_of(plan, one) if one.severity == "error" else ({""}, {""})
        out.append(one if 2 * len(spoilt) > len(users) else replace(one, severity="warn"))
    return by_gravity(out)


def lights_of(plan: Plan, one: Finding) -> tuple[set[str], set[str]]:
    """The lights that a finding spoils, and all that use the same masters."""
    told, own = set(one.sources), [{frame.source for frame in part.frames} for part in plan.sets]
    used = [files_behind(part) for part in plan.sets]
    spoilt = set(one.lights) or {name for names in own for name in names & told}
    kinds = ("flat",) if one.id in OF_FLATS else ("bias", "dark")
    shared = {id(getattr(p, k)) for p, names in zip(plan.sets, own, strict=True) if names & spoilt for k in kinds}
    users = set(spoilt)
    for part, names, masters in zip(plan.sets, own, used, strict=True):
        if not one.lights and any(2 * len(files & told) > len(files) for files in masters):
            spoilt |= names
        same = any(files & told for files in masters)
        if same or any(id(getattr(part, k)) in shared for k in kinds if getattr(part, k) is not None):
            users |= names
    return spoilt, users


def files_behind(part: LightSet) -> list[set[str]]:
    """The files of each of these masters."""
    frames = (job.frames if isinstance(job, MasterJob) else (job,) for job in part.masters)
    return [{frame.source for frame in some} for some in frames]


def lights_through(plan: Plan, master: MasterJob | Frame) -> list[Frame]:
    """The lights that are calibrated by a master, or by a flat that needs it."""
    return [f for part in plan.sets if any(one is master for one in part.masters) for f in part.frames]


def examine_set(lights: Sequence[Any], look: Callable[[Any], list[Finding]]) -> list[Finding]:
    """What `look` finds in one light of a set, the middle one or the next that can be read.

    For an error some others are asked: where most of them say the same it is that of the whole set.
    """
    count = len(lights)
    found = next(({at: seen} for at in range(count // 2, count) if (seen := attempt(look, lights[at])) is not None), {})
    first = [one for seen in found.values() for one in seen]
    if any(one.severity == "error" for one in first):
        others = [at for at in dict.fromkeys((0, count // 4, 3 * count // 4, count - 1)) if at not in found]
        found |= {at: seen for at in others if (seen := attempt(look, lights[at])) is not None}
    says = [{one.id for one in seen if one.severity == "error"} for seen in found.values()]
    most = {one.id for one in first if 2 * sum(one.id in ids for ids in says) > len(says)}
    return [one for f in first for one in (spoiling([f], lights) if f.id in most else [f])]


def spread(lights: Sequence[Any]) -> list[Any]:
    """Some lights of a set, spread over its time."""
    return [lights[at] for at in evenly(0, len(lights) - 1, LIGHTS)]


def attempt(look: Callable[[Any], list[Finding]], light: Any) -> list[Finding] | None:
    """What is found in a light; None when it cannot be read: the walk tells why."""
    with suppress(MasterlightError, OSError):
        return look(light)
    return None


def diagnose(
    plan: Plan, doctor: Doctor, calibrate: ImageCalibration, pool: Pool
) -> Generator[Event, None, list[Finding]]:
    """Examine a night without running it; the last event's result is the list of findings.

    Raw frames first, then the masters and one light of each set, with quick masters: medians of at most 5 frames,
    calibrated as the plan says. Holds the masters of one set at a time: about 30 bytes for each pixel of a frame.
    """
    found: list[Finding] = []
    for event in doctor.frames(plan, pool):
        found += event.result or []
        yield replace(event, result=None, message="")
    for event in each("doctor", (Serial(), 1), Quick(doctor, calibrate, plan).examine, plan.sets):
        found += event.result or []
        yield Event("doctor", event.done, event.total)
    found = weigh(plan, found)
    yield Event("doctor", len(plan.sets), len(plan.sets), result=found, message=summary(found))
    return found


class Quick:
    """Masters of the set at hand, and which of them were examined already."""

    def __init__(self, doctor: Doctor, calibrate: ImageCalibration, plan: Plan):
        self.plan, self.doctor, self.calibrate = plan, doctor, with_values(calibrate, pedestal_dn=0.0)
        self.made: dict[int, Frame | None] = {}
        self.seen: set[int] = set()

    def examine(self, part: LightSet) -> list[Finding]:
        """Make the masters of a set, examine them, then one light of the set."""
        jobs = {kind: getattr(part, kind) for kind in ("bias", "dark", "flat")}
        behind = [getattr(jobs["flat"], kind, None) for kind in ("bias", "dark")]
        needed = {id(job) for job in (*jobs.values(), *behind)}
        self.made = {key: frame for key, frame in self.made.items() if key in needed}
        masters = {kind: self.master(job) for kind, job in jobs.items()}
        known = {**masters, "bias": masters["bias"] or self.master(behind[0])}
        found = []
        for job in (*behind, *jobs.values()):
            master = self.master(job)
            if master is not None and id(job) not in self.seen:
                self.seen.add(id(job))
                seen = self.findings(job, master, known, part.scaled)
                found += spoiling(seen, lights_through(self.plan, job))
        calibrate = calibration_of(part, self.calibrate)

        def look(frame: Frame) -> list[Finding]:
            bound = calibrate.masters(**masters)
            beside = [calibrate(other, bound) for other in spread(part.frames) if other is not frame]
            return self.doctor.light(frame, calibrate(frame, bound), bound, beside=beside)

        return found + examine_set(part.frames, look)

    def findings(self, job, master: Frame, known: dict, scaled: bool) -> list[Finding]:
        """What is wrong with one master; the noise of a flat's frames from the difference of two."""
        kind, frames = (job.kind, job.frames) if isinstance(job, MasterJob) else (job.meta.kind, ())
        others = {name: other for name, other in known.items() if other is not master}
        if kind == "flat" and others.get("bias") is None:  # any bias frame tells its level
            unlit = (group.frames[0] for group in self.plan.groups if group.kind == "bias")
            others["bias"] = next((frame for frame in unlit if frame.shape[-2:] == master.shape[-2:]), None)
        noise = []
        if kind == "flat" and len(frames) > 1:
            with suppress(MasterlightError, OSError, ValueError):
                a, b = (sample(view) for view in self.views(job, 2))
                d = a / (middle_of(a) or 1.0) - b / (middle_of(b) or 1.0)
                noise = [madn(d) / np.sqrt(2) * middle_of(sample(master))]
        return self.doctor.master(kind, master, **others, frames=frames, noise_dn=noise, scaled=scaled)

    def master(self, job) -> Frame | None:
        """The quick master of a job, a ready-made one as it is; None when there is none or it cannot be made."""
        if not isinstance(job, MasterJob):
            return job
        if id(job) not in self.made:
            self.made[id(job)] = None
            with suppress(MasterlightError, OSError):
                self.made[id(job)] = self.median(job)
        return self.made[id(job)]

    def views(self, job: MasterJob, most: int) -> list[Frame]:
        """The first usable frames of a job, calibrated as the plan says."""
        given = {"bias": self.master(job.bias), "dark": self.master(job.dark)}
        calibrate, made = calibration_of(job, self.calibrate), []
        bound = calibrate.masters(**given)
        for frame in job.frames:
            with suppress(MasterlightError, OSError):
                view = calibrate(frame, bound)
                sample(view)
                made.append(view)
            if len(made) == most:
                return made
        if not made:
            raise FrameError(job.frames[0].source, "none of these frames can be used")
        return made

    def median(self, job: MasterJob) -> Frame:
        """The median of a few frames, flats brought to one level first, by bands of rows."""
        views = self.views(job, FRAMES)
        levels = [middle_of(sample(view)) for view in views]
        factors = [levels[0] / level if job.kind == "flat" and level > 0 else 1.0 for level in levels]
        rows, cols = views[0].shape[-2:]
        out = np.empty((rows, cols), np.float32)
        for y in range(0, rows, BAND_ROWS):
            end = min(rows, y + BAND_ROWS)
            band = np.stack([v.pixels(y, end, 0, cols) * np.float32(f) for v, f in zip(views, factors, strict=True)])
            out[y:end] = np.median(band, axis=0)
        holds_bias = job.bias is None and job.dark is None and "B" not in views[0].meta.calibration
        meta = views[0].meta.with_(contains_bias=holds_bias, is_master=True, frames=len(job.frames), integer=False)
        return ArrayFrame.of(out, f"master {' '.join(job.words)}", meta)
