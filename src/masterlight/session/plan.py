"""What a run will make of the frames that were found: `plan(session)` -> Plan.

Which frames belong together is decided by `matching`; here it is decided what is subtracted from what, in which
order, and what is told about it.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.equation import equation
from masterlight.core.errors import Rejected
from masterlight.core.frame import PARTS_NOTE, Frame
from masterlight.core.headers.names import filter_key, object_key
from masterlight.core.process import with_values
from masterlight.core.together import differences, settings
from masterlight.core.units.reading import Reading
from masterlight.core.units.settle import KNOB, sentences, settle
from masterlight.core.workers import executor, machine_memory_mb
from masterlight.session.matching import ENOUGH, PLURAL, Choice, Group, choose, group_frames
from masterlight.session.scan import Session, pictures_beside, unsuitable
from masterlight.session.words import condense, visible


@dataclass(frozen=True, eq=False)
class MasterJob:
    """A master to make: its frames, and the masters that are taken out of each of them first."""

    group: Group
    bias: "MasterJob | Frame | None" = None
    dark: "MasterJob | Frame | None" = None
    equation: str = ""
    flat: None = None

    @property
    def kind(self) -> str:
        return self.group.kind

    @property
    def frames(self) -> tuple[Frame, ...]:
        return self.group.frames

    @property
    def filter(self) -> str | None:
        return self.group.meta.filter if self.kind == "flat" else None

    @property
    def words(self) -> list[str]:
        """What to name the product after: kind, filter, exposure, temperature, gain, binning."""
        labels = [label for label in self.group.labels if self.kind != "flat" or not label.endswith((" s", " °C"))]
        return [self.kind, *(re.sub(r"\s|°", "", label) for label in labels)]


@dataclass(frozen=True, eq=False)
class LightSet:
    """Lights that are calibrated by the same masters."""

    frames: tuple[Frame, ...]
    bias: MasterJob | Frame | None
    dark: MasterJob | Frame | None
    flat: MasterJob | Frame | None
    equation: str
    scaled: bool = False
    """Whether the dark is scaled to each light."""


@dataclass(frozen=True, eq=False)
class LightJob:
    """A master light to make: all lights of one target through one filter, in sets by their masters."""

    object: str | None
    filter: str | None
    sets: tuple[LightSet, ...]

    @property
    def frames(self) -> tuple[Frame, ...]:
        frames = (frame for part in self.sets for frame in part.frames)
        return tuple(sorted(frames, key=lambda frame: (frame.meta.time or "", frame.source)))

    @property
    def words(self) -> list[str]:
        return [word for word in (self.object, self.filter) if word]

    @property
    def planes(self) -> int:
        """How many planes the result has: 3 for lights of a colour camera."""
        meta = self.frames[0].meta
        return 3 if meta.pattern or len(meta.shape) > 2 else 1


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will do, in order, and why."""

    name: str
    groups: tuple[Group, ...]
    masters: tuple[MasterJob, ...]
    """Each after those it needs."""
    lights: tuple[LightJob, ...]
    choices: tuple[Choice, ...]
    warnings: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...] = ()
    """What headers left unsaid and was read from names, counted."""
    passed: tuple[str, ...] = ()
    """Sentences on files that may hold images and are not read."""
    scales: tuple[Reading, ...] = ()
    """How the numbers of files that are no 16-bit integers were read."""

    @property
    def sets(self) -> list[LightSet]:
        return [part for job in self.lights for part in job.sets]

    @property
    def disk_bytes(self) -> int:
        """Room that the products take, about: masters of 4 bytes a pixel, master lights with their planes of 16."""
        masters = sum(4 * pixels(m) for m in self.masters)
        return masters + sum(18 * job.planes * pixels(job) for job in self.lights) + 2_000_000

    @property
    def scratch_bytes(self) -> int:
        """Room for the unpacked twins of compressed files and camera raws, in the folder for temporary files."""
        frames = {f.source: f for job in (*self.masters, *self.lights) for f in job.frames}.values()
        return sum(frame.scratch_bytes for frame in frames)

    @property
    def memory_bytes(self) -> float:
        """Memory that a run takes at least; what it is allowed beyond that goes into larger tiles."""
        masters = [resident_mb(pixels(job), RESULT_BYTES, 1) for job in self.masters]
        lights = [resident_mb(pixels(job), RESULT_BYTES * job.planes, loads(job)) for job in self.lights]
        return 1e6 * (max([*masters, *lights], default=0) + MIN_TILE_MB)

    def why_no_lights(self) -> str:
        """One sentence for a night without usable lights."""
        if not self.name:
            return "no files and no folder were given"
        if not self.groups and not self.rejected:
            todo = (
                "; ".join(self.passed[:2]) or "give the folder that holds the lights (FITS, XISF or camera raw files)"
            )
            return f"no images were found in {self.name}: {todo}"
        reasons = Counter(r.reason for r in self.rejected).most_common(3)
        told = "; ".join([*(f"{count} left out: {reason}" for reason, count in reasons), *self.passed[:2]])
        return f"no usable lights in {self.name}" + (f" ({told})" if told else ": only calibration frames were found")

    def text(self) -> str:
        """The plan in sentences: groups, masters, lights, matches and why, warnings, what is left out, its price."""
        lines = [self.name, "", "Groups"]
        lines += (f"  {g} ({settings(g.meta)['size']}, {g.meta.camera or 'camera unknown'})" for g in self.groups)
        lines += ["", "Masters to make", *(f"  {' '.join(m.words)}: {m.equation}; f = {m.group}" for m in self.masters)]
        lines += ["", "Master lights"]
        for job in self.lights:
            lines.append(f"  {' '.join(job.words) or 'target without a name'}: {len(job.frames)} lights")
            lines += [f"    {part.equation} for {len(part.frames)}{masters_in_words(part)}" for part in job.sets]
        lines += ["", "Why"]
        for choice in self.choices:
            lines.append(f"  {choice.need} for {choice.target}: {choice.chosen or 'none'}")
            lines += [f"    not {c.name}: {c.reason}" for c in choice.candidates if c.reason]
        for title, rows in (
            ("Read from names and headers", self.notes),
            ("Warnings", self.warnings),
            ("Left out", self.rejected),
        ):
            lines += ["", title, *(f"  {row}" for row in condense(map(str, rows)))] if rows else []
        need = f"disk {self.disk_bytes / 1e6:,.0f} MB, memory {self.memory_bytes / 1e6:,.0f} MB at least"
        scratch = f", {self.scratch_bytes / 1e6:,.0f} MB of temporary files" if self.scratch_bytes else ""
        budget = f"of the {machine_memory_mb() / 4:,.0f} MB that a run may use unless Recipe.memory_mb says otherwise"
        return "\n".join(map(visible, [*lines, "", f"Takes about: {need}, {budget}{scratch}."]))


BASE_MB = 300
"""Resident memory of the program itself with its libraries loaded, measured."""
RESULT_BYTES = 26
"""Bytes per pixel of a result: image and variance 4 each, coverage and two rejection maps 2 each, 4 while written, 8
that the C library keeps of what was freed; measured."""
MASTER_BYTES = 9
"""Bytes per pixel of the masters of one set: what is subtracted and what is multiplied, 4 each, and the defects."""
MIN_TILE_MB = 32.0
"""Memory for the samples of tiles below which the work would go by crumbs."""


def resident_mb(pixels: int, bytes_per_pixel: int, sets: float) -> float:
    """Memory that is taken whatever the tiles: the program, `sets` sets of masters, and so many bytes per pixel."""
    return BASE_MB + (bytes_per_pixel + sets * MASTER_BYTES) * pixels / 1e6


def pixels(job: MasterJob | LightJob) -> int:
    return math.prod(job.frames[0].meta.sky_shape[-2:])


def loads(job: LightJob) -> float:
    """How many sets of masters a job holds in memory; one whose dark is scaled keeps it apart from the bias."""
    return len(job.sets) + sum(0.45 for part in job.sets if part.scaled)


def masters_in_words(part: LightSet) -> str:
    """Which masters a set uses, as words."""
    named = {"B": part.bias, "D": part.dark, "F": part.flat}
    words = {k: " ".join(m.words) if isinstance(m, MasterJob) else Path(m.source).name for k, m in named.items() if m}
    return "; " + ", ".join(f"{name} = {made}" for name, made in words.items()) if words else ""


def plan(session: Session, calibrate: ImageCalibration | None = None, pattern: str = "auto") -> Plan:
    """Match the frames of a session and decide what is subtracted from what, as far as `calibrate` leaves it open.

    pattern: the colour filters of all frames of one plane, from their first pixel on, in place of what headers tell.
    """
    calibrate, kinds = calibrate or ImageCalibration(), {kind: [] for kind in PLURAL}
    suitable, rejected, scales = frames_in_dn(session, calibrate, pattern)
    for frame in suitable:
        kinds["light" if frame.meta.kind == "unknown" else frame.meta.kind].append(frame)
    planner = Planner({kind: group_frames(kind, frames) for kind, frames in kinds.items()}, calibrate)
    for words in sentences(scales):
        planner.warn(words)
    taken = [frame for frame in kinds["light"] if frame.meta.kind == "unknown"]
    if taken:
        some = Path(taken[0].source).name + (" and others" if len(taken) > 1 else "")
        planner.warn(f"""{len(taken)} frames do not say what they are and are taken for lights ({some}); put frames into
            folders named lights, darks, flats, bias to be sure""")
    for words in session.passed:
        planner.warn(words)
    lights = planner.lights()
    groups = tuple(group for kind in PLURAL for group in planner.groups[kind])
    notes = notes_of(session, {one.source for one in scales if one.factor != 1})
    return Plan(
        session.name, groups, tuple(planner.jobs.values()), lights, tuple(planner.choices),
        tuple(planner.warnings), tuple(rejected), notes, session.passed, tuple(scales),
    )  # fmt: skip


def frames_in_dn(
    session: Session, calibrate: ImageCalibration, pattern: str
) -> tuple[list[Frame], list[Rejected], list[Reading]]:
    """The frames that can take part, their numbers in DN, those that cannot, and how the numbers were read."""
    suitable, rejected = [], list(session.rejected)
    for frame in session.frames:
        if pattern != "auto" and len(frame.shape) == 2:
            frame = replace(frame, meta=frame.meta.with_(pattern=pattern))
        reason = unsuitable(frame.meta)
        if reason:
            rejected.append(Rejected(frame.source, "plan", reason))
        else:
            suitable.append(frame)
    for frame in pictures_beside([frame for frame in suitable if frame.meta.kind in ("light", "unknown")]):
        suitable.remove(frame)
        what = "3 planes" if len(frame.shape) > 2 else "floats"
        words = f"has {what} among raw frames of the same camera, as a stack has; if it is a light, run it by itself"
        rejected.append(Rejected(frame.source, "plan", words))
    with executor("threads:8") as pool:
        suitable, scales = settle(suitable, calibrate.units, KNOB, pool)
    return suitable, rejected, scales


def notes_of(session: Session, told: set[str]) -> tuple[str, ...]:
    """What was guessed from headers and names, counted; `told`: files of which the reading of numbers is told."""
    notes = (note for f in session.frames for note in f.meta.notes if not (f.source in told and note == PARTS_NOTE))
    counts = Counter(re.sub(r"'[^']*'", "...", note) for note in notes)
    return tuple(f"{count} frames: {note}" for note, count in counts.items())


@dataclass
class Planner:
    """Chooses masters for lights and flats, and keeps the reasons."""

    groups: dict[str, list[Group]]
    calibrate: ImageCalibration = field(default_factory=ImageCalibration)
    jobs: dict[int, MasterJob] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)

    def warn(self, words: str, about: Group | None = None) -> None:
        words = re.sub(r"\n *", " ", words)
        self.warnings[f"{about.title}: {words}" if about else words] = None

    def pick(self, need: str, target: Group, kind: str | None = None, scaled: bool = False) -> Group | None:
        """The best group for a need; the choice and its doubts are recorded."""
        group, choice = choose(need, target, self.groups[kind or need], scaled)
        if choice.candidates:
            self.choices.append(choice)
        for doubt in choice.doubts:
            self.warn(doubt)
        return group

    def lights(self) -> tuple[LightJob, ...]:
        """Every master light, its lights in sets that share their masters."""
        jobs: dict[Any, dict[Any, LightSet]] = {}
        names: dict[str, str | None] = {}
        for group in self.groups["light"]:
            meta = group.meta
            names.setdefault(object_key(meta.object), meta.object)
            same = settings(meta, ("camera", "size", "binning", "colour pattern")).values()
            key = (object_key(meta.object), filter_key(meta.filter), len(meta.shape), meta.unit or "DN", *same)
            part = self.light_set(group)
            sets, masters = jobs.setdefault(key, {}), (*map(id, (part.bias, part.dark, part.flat)), part.equation)
            if masters in sets:
                part = replace(part, frames=sets[masters].frames + part.frames)
            sets[masters] = part
        made = [(names[key[0]], tuple(sets.values())) for key, sets in jobs.items()]
        return tuple(LightJob(name, sets[0].frames[0].meta.filter, sets) for name, sets in made)

    def light_set(self, group: Group) -> LightSet:
        """The masters and the equation of one group of lights."""
        done, wanted = group.meta.calibration, self.calibrate
        if len(group.meta.shape) > 2:
            self.warn("have 3 planes already; they are taken as they are, no masters are applied", group)
            return LightSet(group.frames, None, None, None, "C = L")
        if done:
            self.warn(f"already calibrated (CALSTAT '{done}'); what was done is not done again", group)
        bias = dark = flat = None
        asked = (wanted.dark_scaling != "none" or wanted.dark_scale is not None) and wanted.use_dark and wanted.use_bias
        if asked and not set("BD") & set(done):
            bias = self.pick("bias", group)
            if bias is None:
                self.warn("darks can be scaled only with bias frames, and there are none; add some", group)
        if "D" not in done and wanted.use_dark:
            dark = self.dark_for_lights(group, bias is not None)
        scaled = bias is not None and dark is not None
        if not scaled:
            needed = wanted.use_bias and not set("BD") & set(done) and (dark is None or not dark.contains_bias)
            bias = (bias or self.pick("bias", group)) if needed else None
        if dark is not None and not dark.contains_bias and bias is None and "B" not in done and not has_level(group):
            self.warn(f"{dark} has no bias in it and there are no bias frames, so it is unused; add some", group)
            dark = None
        if "F" not in done and wanted.use_flat:
            flat = self.pick("flat", group)
        level_off = bias or (dark and dark.contains_bias) or has_level(group) or set("BO") & set(done)
        if flat and not level_off:
            self.warn("nothing takes their bias level off, so the flat is unused; add bias frames or darks", group)
            flat = None
        flat_master, for_flat = self.flat_master(flat, group, bias)
        if flat_master is None and "F" not in done and wanted.use_flat:
            why = "" if flat else self.why_not("flat")
            self.warn(f"no flat{why}; vignetting and dust stay in the picture", group)
        told = formula("L", bias, dark, flat_master, scaled)
        frames = self.with_pattern(group, [dark, flat, bias])
        return LightSet(frames, self.master(for_flat), self.master(dark), flat_master, told, scaled)

    def with_pattern(self, group: Group, masters: list[Group | None]) -> tuple[Frame, ...]:
        """The frames of lights that do not tell their colour pattern, with that of their calibration frames."""
        known = next((m.meta for m in masters if m is not None and m.meta.sky_pattern), None)
        if known is None or group.meta.pattern or len(group.meta.shape) > 2 or group.meta.shape != known.shape:
            return group.frames
        self.warn(f"do not tell their colour pattern; {known.pattern} is taken from their calibration frames", group)
        return tuple(replace(frame, meta=frame.meta.with_(pattern=known.pattern)) for frame in group.frames)

    def why_not(self, need: str, more: str = "") -> str:
        """Why the last choice for a need found nothing, in brackets; '' when there was nothing to choose from."""
        last = self.choices[-1] if self.choices and self.groups[need] else None
        against = [f"{c.name}: {c.reason}" for c in last.candidates if c.reason] if last and last.need == need else []
        return f" (not {'; not '.join(against[:4])}{more})" if against else ""

    def flat_master(self, flat: Group | None, group: Group, bias: Group | None):
        """The master of a flat, and the bias that must go with it; (None, bias) where there is none to use."""
        master = self.master(flat) if flat else None
        if isinstance(master, Frame) and flat.meta.contains_bias and bias is None:
            bias = self.pick("bias", group)
            if bias is None:
                self.warn(f"{flat}: still holds its bias level and there are no bias frames, so it is unused; add some")
                master = None
        return master, bias

    def dark_for_lights(self, group: Group, scaled: bool) -> Group | None:
        """The dark that fits; else a warning that tells what would be needed."""
        dark = self.pick("dark", group, scaled=scaled)
        if dark is not None:
            if dark.is_master and dark.meta.contains_bias is None:
                self.warn(f"{dark} does not say whether the bias is in it; taken to hold it, as masters usually do")
            if dark.contains_bias and "B" in group.meta.calibration:
                self.warn(f"their bias is subtracted already, {dark} still holds it and is not used", group)
                return None
            return dark
        wanted = [word for word in group.labels if word.endswith((" s", " °C")) or word.startswith(("gain", "bin"))]
        why = self.why_not("dark", "; darks are scaled only when ImageCalibration.dark_scaling says so")
        self.warn(f"no matching dark{why}; add darks of {' '.join(wanted) or 'the same settings'}", group)
        return None

    def master(self, group: Group | None) -> MasterJob | Frame | None:
        """The job that makes a group into a master, or the ready-made master itself."""
        if group is None or group.is_master:
            return group.frames[0] if group else None
        if id(group) not in self.jobs:
            bias, dark = self.subtracted_from_flats(group) if group.kind == "flat" else (None, None)
            if group.kind == "flat" and not (bias or dark or has_level(group)) and group.contains_bias:
                self.warn(f"""{group.title}: nothing takes their bias level off, and with it they would correct too
                    little; they are unused. Add flat-darks or bias frames""")
                return None
            bias_master, dark_master = self.master(bias), self.master(dark)
            made = formula("f", bias, dark)
            self.jobs[id(group)] = MasterJob(group, bias_master, dark_master, f"{letter(group)} = mean of {made[4:]}")
            if len(group.frames) < ENOUGH:
                self.warn(f"""{group}: few frames make a noisy master; {ENOUGH} or more also allow outliers to be
                    rejected""")
        return self.jobs[id(group)]

    def subtracted_from_flats(self, group: Group) -> tuple[Group | None, Group | None]:
        """(bias, dark) for flats: flat-darks of their exposure, else bias, else darks of their exposure."""
        if set("BD") & set(group.meta.calibration):
            return None, None
        dark = self.pick("dark", group, "flatdark")
        bias = self.pick("bias", group) if dark is None or not dark.contains_bias else None
        if bias is None:
            dark = dark or self.pick("dark", group)
            dark = dark if dark is not None and dark.contains_bias else self.nearest_dark(group)
        return bias, dark

    def nearest_dark(self, group: Group) -> Group | None:
        """The dark nearest in exposure, whatever it is: its bias level is what flats need most."""
        holding = (dark for dark in self.groups["dark"] if dark.contains_bias)
        same = [dark for dark in holding if not any(differences(group.meta, dark.meta))]
        flat_s = group.meta.exposure_s or 0.0
        dark = min(same, key=lambda d: abs((d.meta.exposure_s or 0.0) - flat_s), default=None)
        if dark is not None:
            self.warn(f"""{group.title}: no flat-darks of their exposure and no bias; {dark} takes their bias level off,
                with a little too much dark current. Flat-darks or bias frames would do it exactly""")
        return dark


def letter(group: Group) -> str:
    return {"bias": "B", "dark": "D", "flatdark": "DF", "flat": "F"}[group.kind]


def calibration_of(job: MasterJob | LightSet, calibrate: ImageCalibration) -> ImageCalibration:
    """How the frames of a job are calibrated: darks are scaled for lights alone, and where there is a bias for it.

    What is left out for lights (`use_bias` ...) is left out for them only, and so is the pedestal of the result.
    """
    if isinstance(job, LightSet):
        return calibrate if job.scaled else with_values(calibrate, dark_scaling="none", dark_scale=None)
    used = {"use_bias": True, "use_dark": True, "use_flat": True}
    return with_values(calibrate, **used, pedestal_dn=0.0, dark_scaling="none", dark_scale=None)


def has_level(group: Group) -> bool:
    """Whether frames carry their own bias level: an overscan, or what the camera says of its black."""
    return bool(group.meta.overscan_px or group.meta.black_dn or "O" in group.meta.calibration)


def formula(raw: str, bias: Group | None, dark: Group | None, flat=None, scaled: bool = False) -> str:
    """What happens to a frame, as a formula: `C = (L - D) * mean(F) / F`."""
    letters = (letter(group) if group else "" for group in (bias, dark))
    return equation(raw, *letters, "F" if flat is not None else "", scaled, bool(dark and dark.contains_bias))
