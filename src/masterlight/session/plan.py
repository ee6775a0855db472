"""What a run will make of the frames that were found: `Plan`, and what it says to people."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import with_values
from masterlight.core.together import by_time, settings
from masterlight.core.units.reading import Reading
from masterlight.core.workers import machine_memory_mb
from masterlight.session.groups import PLURAL, Group
from masterlight.session.matching import Choice
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
        """What to name the product after: kind, filter, exposure, temperature, gain, binning ... as far as needed."""
        return self.group.words


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
    hot_from: MasterJob | Frame | None = None
    """Where no dark is subtracted, one of another exposure, temperature or gain: its hot pixels are those to repair."""

    @property
    def masters(self) -> list[MasterJob | Frame]:
        """The masters that these lights use, and those that their flat needs."""
        flat = self.flat
        behind_flat = getattr(flat, "bias", None), getattr(flat, "dark", None)
        jobs = [self.bias, self.dark, flat, *behind_flat, self.hot_from]
        return [job for job in jobs if job is not None]

    @property
    def inputs(self) -> list[Frame]:
        """Every frame that these lights come of: they themselves, and those of their masters."""
        behind = (job.frames if isinstance(job, MasterJob) else (job,) for job in self.masters)
        return [*self.frames, *(frame for frames in behind for frame in frames)]


@dataclass(frozen=True, eq=False)
class LightJob:
    """A master light to make: all lights of one target through one filter, in sets by their masters."""

    object: str | None
    filter: str | None
    sets: tuple[LightSet, ...]
    field: int = 1
    """Which of the fields that lights of one name, or of none, show."""
    apart: tuple[str, ...] = ()
    """What tells it from other master lights of its name."""
    instruments: tuple[str, ...] = ()
    """What took its lights, in words, where they are of several cameras, telescopes or binnings."""

    @property
    def frames(self) -> tuple[Frame, ...]:
        frames = (frame for part in self.sets for frame in part.frames)
        return tuple(sorted(frames, key=by_time))

    @property
    def words(self) -> list[str]:
        words = self.object, str(self.field) if self.field > 1 else "", self.filter, *self.apart
        return [word for word in words if word]

    @property
    def joined_words(self) -> str:
        """One sentence on lights of several instruments; empty where one took them all."""
        if len(self.instruments) < 2:
            return ""
        name = " ".join(self.words) or "a target without a name"
        told = ", ".join(word or "another" for word in self.instruments[:4])
        more = f" and {len(self.instruments) - 4} more" if len(self.instruments) > 4 else ""
        return f"""{name}: lights of {len(self.instruments)} instruments ({told}{more}) become one master light;
            Recipe.split_by instrument keeps them apart"""

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
    unseen: tuple[str, ...] = ()
    """What was not looked at, counted."""

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

    def without(self, lost: Sequence[Rejected]) -> "Plan":
        """The same without some frames; a group of which nothing would be left stays as it is."""
        names = {one.source for one in lost}

        def left(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
            return tuple(frame for frame in frames if frame.source not in names) or frames

        groups = {id(group): replace(group, frames=left(group.frames)) for group in self.groups}
        made: dict[int, MasterJob] = {}
        for job in self.masters:  # each after those it needs
            needs = {kind: made.get(id(getattr(job, kind)), getattr(job, kind)) for kind in ("bias", "dark")}
            made[id(job)] = replace(job, group=groups[id(job.group)], **needs)
        lights = []
        for job in self.lights:
            kinds = "bias", "dark", "flat", "hot_from"
            needs = [{k: made.get(id(getattr(p, k)), getattr(p, k)) for k in kinds} for p in job.sets]
            sets = (replace(p, frames=left(p.frames), **n) for p, n in zip(job.sets, needs, strict=True))
            lights.append(replace(job, sets=tuple(sets)))
        parts = {"groups": tuple(groups.values()), "masters": tuple(made.values()), "lights": tuple(lights)}
        return replace(self, **parts, rejected=(*self.rejected, *lost))

    def why_no_lights(self) -> str:
        """One sentence for a night without usable lights."""
        if not self.name:
            return "no files and no folder were given"
        if not self.groups and not self.rejected:
            usual = "give the folder that holds the lights (FITS, XISF, TIFF or camera raw files)"
            todo = "; ".join(self.passed[:2]) or usual
            return f"no images were found in {self.name}: {todo}"
        reasons = Counter(r.reason for r in self.rejected).most_common(3)
        told = "; ".join([*(f"{count} left out: {reason}" for reason, count in reasons), *self.passed[:2]])
        return f"no usable lights in {self.name}" + (f" ({told})" if told else f": {self.without_lights()}")

    def without_lights(self) -> str:
        """What can be done with calibration frames alone, in words."""
        counts: Counter[str] = Counter()
        for group in self.groups:
            counts[group.kind] += len(group.frames)
        found = " and ".join(f"{n} {PLURAL[k] if n > 1 else PLURAL[k].removesuffix('s')}" for k, n in counts.items())
        verbs = ", ".join(dict.fromkeys("dark" if kind == "flatdark" else kind for kind in counts))
        todo = f"add the lights, or make masters of these by hand ({verbs})"
        return f"only calibration frames were found ({found}); {todo}"

    def text(self, doctor: str = "") -> str:
        """The plan in sentences: masters, lights, what is unused and why, what was read otherwise, warnings, its price.

        doctor: what the doctor says of these frames; the last line tells what was not looked at.
        """
        alike = {place_of(group) for group in self.groups}
        place = ", ".join(alike) if len(alike) == 1 else ""
        count = sum(len(group.frames) for group in self.groups)
        lines = [self.name, *([f"{count} frames, {place}"] if place else [])]
        around = {id(g): "" if place else f" ({place_of(g)})" for g in self.groups}
        masters = (
            f"{' '.join(m.words)}: {m.equation}; f = {m.group}{around.get(id(m.group), '')}" for m in self.masters
        )
        titles = [title for group in self.groups for title in (group.title, str(group))]
        for title, rows in (
            ("Masters to make", masters),
            ("Master lights", [row for job in self.lights for row in self.rows_of(job, around)]),
            ("Why", list(self.reasons())),
            ("Read from names, headers and folders", condense(self.notes)),
            ("Warnings", condense(of_groups(self.warnings, titles))),
            ("Left out", condense(f"{short(row.source, self.name)}: {row.reason}" for row in self.rejected)),
        ):
            lines += ["", title, *(f"  {row}" for row in rows)] if (rows := list(rows)) else []
        need = f"disk {self.disk_bytes / 1e6:,.0f} MB, memory {self.memory_bytes / 1e6:,.0f} MB at least"
        scratch = f", {self.scratch_bytes / 1e6:,.0f} MB of temporary files" if self.scratch_bytes else ""
        budget = f"of the {machine_memory_mb() / 4:,.0f} MB that a run may use unless Recipe.memory_mb says otherwise"
        lines += ["", f"Takes about: {need}, {budget}{scratch}.", *(["", *doctor.splitlines()] if doctor else [])]
        return "\n".join(map(visible, [*lines, "", self.not_looked_at()]))

    def not_looked_at(self) -> str:
        """What was passed over, counted, in one sentence."""
        return f"Not looked at: {', '.join(self.unseen) or 'nothing'}."

    def rows_of(self, job: LightJob, around: dict[int, str]) -> Iterator[str]:
        """A master light in one line, and where its lights have different masters, in one for each of these."""
        name = " ".join(job.words) or "target without a name"
        if len(job.sets) > 1:
            told = f" of {len(job.instruments)} instruments" if len(job.instruments) > 1 else ""
            yield f"{name}: {lights_in_words(job.frames)}{told}"
        for part in job.sets:
            inside = {id(frame) for frame in part.frames}
            same = [g for g in self.groups if g.kind == "light" and any(id(frame) in inside for frame in g.frames)]
            alike = " ".join(label for label in same[0].labels if label != job.filter) if len(same) == 1 else ""
            of = f" {alike}" * bool(alike) + (around.get(id(same[0]), "") if same else "")
            start = "  " if len(job.sets) > 1 else f"{name}: "
            yield f"{start}{lights_in_words(part.frames)}{of}; {part.equation}{masters_in_words(part)}"

    def reasons(self) -> Iterator[str]:
        """What the masters that were taken differ in, and why the groups that nothing uses are not used."""
        for choice in self.choices:
            apart = "; ".join(choice.apart)
            if apart and not any(apart in warning for warning in self.warnings):
                yield f"{choice.need} for {choice.target}: {choice.chosen or 'none'} ({apart})"
        used = {id(frame) for job in self.masters for frame in job.frames}
        used |= {id(master) for part in self.sets for master in (part.bias, part.dark, part.flat, part.hot_from)}
        used |= {id(master) for job in self.masters for master in (job.bias, job.dark)}
        for group in self.groups:
            if group.kind != "light" and not any(id(frame) in used for frame in group.frames):
                rated = (one for choice in self.choices for one in choice.candidates if one.name == str(group))
                yield f"not {group}: {next((one.reason for one in rated if one.reason), 'nothing here needs them')}"


def lights_in_words(frames: Sequence[Frame]) -> str:
    return f"{len(frames)} light{'s' * (len(frames) > 1)}"


def place_of(group: Group) -> str:
    """Size and camera of a group."""
    return f"{settings(group.meta)['size']}, {group.meta.camera or 'camera unknown'}"


def short(path: str, folder: str) -> str:
    """A path as it is seen from a folder."""
    return path.removeprefix(folder.rstrip("/") + "/")


def of_groups(sentences: Iterable[str], titles: list[str]) -> Iterator[str]:
    """Sentences on single groups, of which many say the same of other groups, once with the first groups' names."""
    told: dict[str, list[str]] = {}
    for sentence in sentences:
        title = next((title for title in titles if sentence.startswith(f"{title}: ")), "")
        told.setdefault(sentence.removeprefix(f"{title}: "), []).append(title)
    for rest, names in told.items():
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        yield f"{', '.join(names[:2])}{more}: {rest}" if names[0] else rest


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


def pixels(job: MasterJob | LightJob | LightSet) -> int:
    """Pixels of a frame of a job, of the largest where sensors differ."""
    firsts = [part.frames[0] for part in job.sets] if isinstance(job, LightJob) else job.frames[:1]
    return max(math.prod(frame.meta.sky_shape[-2:]) for frame in firsts)


def loads(job: LightJob) -> float:
    """How many sets of masters of the largest sensor a job holds in memory; one whose dark is scaled keeps it apart
    from the bias."""
    return sum((1.45 if part.scaled else 1) * pixels(part) for part in job.sets) / pixels(job)


def masters_in_words(part: LightSet) -> str:
    """Which masters a set uses, as words."""
    named = {"B": part.bias, "D": part.dark, "F": part.flat, "hot pixels": part.hot_from}
    words = [f"{letter} = {name_of(master)}" for letter, master in named.items() if master]
    return f"; {', '.join(words)}" if words else ""


def name_of(master: MasterJob | Frame) -> str:
    """What a master is called: by its words, a ready-made one by its file."""
    return " ".join(master.words) if isinstance(master, MasterJob) else Path(master.source).name


def calibration_of(job: MasterJob | LightSet, calibrate: ImageCalibration) -> ImageCalibration:
    """How the frames of a job are calibrated: darks are scaled for lights alone, and where there is a bias for it.

    What is left out for lights (`use_bias` ...) is left out for them only, and so is the pedestal of the result.
    """
    if isinstance(job, LightSet) and job.scaled:
        return with_values(calibrate, dark_scaling="fit") if calibrate.dark_scaling == "auto" else calibrate
    if isinstance(job, LightSet):
        return with_values(calibrate, dark_scaling="none", dark_scale=None)
    used = {"use_bias": True, "use_dark": True, "use_flat": True}
    return with_values(calibrate, **used, pedestal_dn=0.0, dark_scaling="none", dark_scale=None)
