"""The plan made: `plan(session)` -> Plan.

Which frames belong together is decided by `matching`, which dark and bias serve a light by `darks`; here it is decided
what is subtracted from what, in which order, and what is told about it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.equation import equation
from masterlight.core.errors import ParameterError
from masterlight.core.frame import PARTS_NOTE, Frame
from masterlight.core.headers.names import object_key
from masterlight.core.headers.processed import words_of
from masterlight.core.together import differences
from masterlight.core.units.reading import Reading
from masterlight.core.units.settle import KNOB, sentences, unclear
from masterlight.session.chooser import Chooser
from masterlight.session.darks import dark_showing_hot_pixels, has_level, level_and_current, tell_missing_dark
from masterlight.session.found.orientation import settle_patterns
from masterlight.session.found.suitable import frames_in_dn
from masterlight.session.found.witness import by_look
from masterlight.session.groups import ENOUGH, PLURAL, ROTATOR_DEG, Group, group_frames, lonely
from masterlight.session.plan import LightJob, LightSet, MasterJob, Plan
from masterlight.session.rules import Matches, Split, check_matches, mark
from masterlight.session.scan import Session
from masterlight.session.targets.apart import instrument_words, keys_of, named_apart, sensor_of
from masterlight.session.targets.pointing import fields_of
from masterlight.session.targets.pointing import sentences as pointing_words

FLATS_TRIED = 5
"""Sets of flats that are tried for lights where nothing takes the bias level off the best: the best ones."""
QUOTED = re.compile(r"(?<!\w)'[^']*'")
"""What a note quotes: the name of a file, the word of a header."""


def plan(
    session: Session, calibrate: ImageCalibration | None = None, pattern: str = "auto", match: Matches = (),
    rotator_deg: float = ROTATOR_DEG, split_by: Split = "auto",
) -> Plan:  # fmt: skip
    """Match the frames of a session and decide what is subtracted from what, as far as `calibrate` leaves it open.

    pattern: the colour filters of all frames of one plane, from their first pixel on, in place of what headers tell;
    match: what a recipe says in place of the best that is found; rotator_deg: how far angles of one set lie apart;
    split_by: what keeps lights of one target and filter apart.
    """
    calibrate, kinds = calibrate or ImageCalibration(), {kind: [] for kind in PLURAL}
    frames, rows = settle_patterns(session.frames) if pattern == "auto" else (session.frames, [])
    session = replace(session, frames=tuple(frames))
    suitable, rejected, scales = frames_in_dn(session, calibrate, pattern)
    for frame in suitable:
        kinds["light" if frame.meta.kind == "unknown" else frame.meta.kind].append(frame)
    check_matches(match, kinds)
    fields = fields_of(kinds["light"])

    def apart(kind: str, frame: Frame) -> tuple:
        return mark(match, kind, frame), fields.get(frame.source, 1)

    groups = {
        kind: group_frames(kind, frames, others(kind, kinds), rotator_deg, partial(apart, kind))
        for kind, frames in kinds.items()
    }
    disputed = frozenset(one.source for one in scales if one.disputed)
    planner = Planner(groups, calibrate, match, rotator_deg, fields=fields, disputed=disputed, split_by=split_by)
    for words in (*pointing_words(kinds["light"], fields), *rows, *sentences(scales)):
        planner.warn(words)
    for kind in PLURAL:
        for words in lonely(planner.groups[kind]):
            planner.warn(words)
    taken = [frame for frame in kinds["light"] if frame.meta.kind == "unknown"]
    if taken:
        some = Path(taken[0].source).name + (" and others" if len(taken) > 1 else "")
        planner.warn(f"""{len(taken)} frames do not say what they are and are taken for lights ({some}); put frames into
            folders named lights, darks, flats, bias to be sure, or give Recipe.light_dir and its like""")
    for words in session.passed:
        planner.warn(words)
    lights = planner.lights()
    for words in filter(None, (job.joined_words for job in lights)):
        planner.warn(words)
    refuse_unclear(lights, scales)
    planner.tell_unused()
    groups = tuple(group for kind in PLURAL for group in planner.groups[kind])
    notes = notes_of(by_look(session.frames, suitable), {one.source for one in scales if one.factor != 1})
    return Plan(
        session.name, groups, tuple(planner.jobs.values()), lights, tuple(planner.choices),
        tuple(planner.warnings), tuple(rejected), (*session.notes, *notes), session.passed,
        tuple(scales), unseen_of(session),
    )  # fmt: skip


def unseen_of(session: Session) -> tuple[str, ...]:
    """What was not looked at: what folders hold besides, and further images of files."""
    beside = [frame.meta.unused_images for frame in session.frames if frame.meta.unused_images]
    further = f"{sum(beside)} x further image in a file"
    return (*session.unseen, *([further] if beside else []))


def others(kind: str, kinds: dict[str, list[Frame]]) -> list[Frame]:
    """The frames that tell by which nights those of a kind are split."""
    return kinds["light"] if kind == "flat" else [frame for name in PLURAL if name != kind for frame in kinds[name]]


def refuse_unclear(lights: Sequence[LightJob], scales: Sequence[Reading]) -> None:
    """ParameterError where frames that can be read in two ways are used with others; unused ones stop nothing."""
    disputed = {one.source: one for one in scales if one.disputed}
    used = (frame for job in lights for part in job.sets for frame in part.inputs if disputed)
    for frame in used:
        if frame.source in disputed:
            raise ParameterError(unclear(disputed[frame.source], KNOB))


def notes_of(frames: Iterable[Frame], told: set[str]) -> tuple[str, ...]:
    """What was guessed from headers and names, counted; `told`: files of which the reading of numbers is told.

    Of notes that differ in what they quote the first is told.
    """
    kinds: dict[str, list[str]] = {}
    for note in (note for f in frames for note in f.meta.notes if not (f.source in told and note == PARTS_NOTE)):
        kinds.setdefault(QUOTED.sub("...", note), []).append(note)
    return tuple(counted(same) for same in kinds.values())


def counted(same: list[str]) -> str:
    """Notes of one kind as one."""
    first = same[0] if len(set(same)) == 1 else QUOTED.sub(lambda quoted: f"{quoted[0]} or another", same[0], count=1)
    return f"{len(same)} frame{'s' * (len(same) > 1)}: {first}"


@dataclass
class Planner(Chooser):
    """What is made of the groups: masters, and lights with the masters that are applied to them."""

    fields: dict[str, int] = field(default_factory=dict)
    """By its file, which field of its name a light points at, where that is not the first."""
    split_by: Split = "auto"
    """What keeps lights of one target and filter apart."""
    jobs: dict[int, MasterJob] = field(default_factory=dict)

    def lights(self) -> tuple[LightJob, ...]:
        """Every master light, its lights in sets that share their sensor and their masters."""
        groups, jobs = self.groups["light"], dict[Any, dict[Any, LightSet]]()
        parts, of = [self.light_set(group) for group in groups], dict[Any, list[Group]]()
        names: dict[str, str | None] = {}
        for group, part, key in zip(groups, parts, keys_of(self.split_by, groups, parts, self.fields), strict=True):
            names.setdefault(object_key(group.meta.object), group.meta.object)
            of.setdefault(key, []).append(group)
            used = part.bias, part.dark, part.flat, part.hot_from
            sets, masters = jobs.setdefault(key, {}), (*sensor_of(group.meta), *map(id, used), part.equation)
            if masters in sets:
                part = replace(part, frames=sets[masters].frames + part.frames)
            sets[masters] = part
        made = []
        for key, sets in jobs.items():
            name, own = names[key[0]], tuple(sets.values())
            told = tuple(instrument_words(of[key]))
            made.append(LightJob(name, own[0].frames[0].meta.filter, own, key[1], instruments=told))
        more = named_apart([job.words for job in made], [of[key][0] for key in jobs])
        return tuple(replace(job, apart=words) for job, words in zip(made, more, strict=True))

    def light_set(self, group: Group) -> LightSet:
        """The masters and the equation of one group of lights."""
        done, wanted = group.meta.calibration, self.calibrate
        if len(group.meta.shape) > 2:
            self.warn("have 3 planes already; they are taken as they are, no masters are applied", group)
            return LightSet(group.frames, None, None, None, "C = L")
        if done:
            self.warn(f"already calibrated ({words_of(done)}); what was done is not done again", group)
        for stage in group.meta.stages if group.meta.stages != ("debayered",) else ():
            self.warn(f"already {stage} by another program; that is left as it is, and raw frames give better", group)
        flat = None
        bias, dark, scaled = level_and_current(self, group)
        hot_from = dark or dark_showing_hot_pixels(self, group)
        if dark is None and "D" not in done and wanted.use_dark:
            tell_missing_dark(self, group)
        if "F" not in done and wanted.use_flat:
            flat = self.pick("flat", group)
        level_off = bias or (dark and dark.contains_bias) or has_level(group) or set("BDO") & set(done)
        if unlevelled := flat is not None and not level_off:
            words = "nothing takes their bias level off, so the flat is unused; vignetting and dust stay in the picture"
            self.warn(f"{words}. Add bias frames or darks", group)
            flat = None
        flat, flat_master, for_flat = self.usable_flat(flat, group, bias)
        missing = flat_master is None and "F" not in done and wanted.use_flat and not unlevelled
        if missing and not self.goes_without("flat", group):
            why = "" if flat else self.why_not("flat", group)
            self.warn(f"no flat{why}; vignetting and dust stay in the picture", group, why)
        told = formula("L", bias, dark, flat_master, scaled)
        frames = self.with_pattern(group, [dark, flat, bias])
        hot_master = self.master(hot_from) if dark is None else None
        return LightSet(frames, self.master(for_flat), self.master(dark), flat_master, told, scaled, hot_master)

    def with_pattern(self, group: Group, masters: list[Group | None]) -> tuple[Frame, ...]:
        """The frames of lights that do not tell their colour pattern, with that of their calibration frames."""
        known = next((m.meta for m in masters if m is not None and m.meta.sky_pattern), None)
        if known is None or group.meta.pattern or len(group.meta.shape) > 2 or group.meta.shape != known.shape:
            return group.frames
        self.warn(f"do not tell their colour pattern; {known.pattern} is taken from their calibration frames", group)
        return tuple(replace(frame, meta=frame.meta.with_(pattern=known.pattern)) for frame in group.frames)

    def usable_flat(self, flat: Group | None, group: Group, bias: Group | None):
        """This flat or the next best whose bias level can be taken off, its master, and the bias that must go with it.

        The first is given back without a master where none can be used.
        """
        master, for_flat = self.flat_master(flat, group, bias)
        first, choices, unfit = (flat, for_flat), list(self.choices), [flat]
        while flat is not None and master is None and len(unfit) < FLATS_TRIED and self.told("flat", group) is None:
            self.choices = [one for one in self.choices if (one.need, one.target) != ("flat", str(group))]
            flat = self.pick("flat", group, unfit=unfit)
            unfit.append(flat)
            master, for_flat = self.flat_master(flat, group, bias)
        if master is None:
            self.choices = choices
            flat, for_flat = first
        return flat, master, for_flat

    def flat_master(self, flat: Group | None, group: Group, bias: Group | None):
        """The master of a flat, and the bias that must go with it; (None, bias) where there is none to use."""
        master = self.master(flat) if flat else None
        if isinstance(master, Frame) and flat.meta.contains_bias and bias is None:
            bias = self.pick("bias", group)
            if bias is None:
                why = self.why_not("bias", group)
                words = f"{flat}: still holds its bias level and no bias frames fit{why}, so it is unused; add some"
                self.warn(words, why=why)
                master = None
        return master, bias

    def master(self, group: Group | None) -> MasterJob | Frame | None:
        """The job that makes a group into a master, or the ready-made master itself."""
        if group is None or group.is_master:
            return group.frames[0] if group else None
        if id(group) not in self.jobs:
            bias, dark = self.subtracted_from_flats(group) if group.kind == "flat" else (None, None)
            if group.kind == "flat" and not (bias or dark or has_level(group)) and group.contains_bias:
                if why := self.why_not("dark", group):
                    self.warn(f"no matching flat-darks{why}", group, why)
                why = self.why_not("bias", group)
                self.warn(
                    f"""nothing takes their bias level off{why}, and with it they would correct too little; they
                    are unused. Add flat-darks or bias frames""",
                    group,
                    why,
                )
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
            if (dark is None or not dark.contains_bias) and not self.goes_without("dark", group):
                dark = self.nearest_dark(group)
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


def formula(raw: str, bias: Group | None, dark: Group | None, flat=None, scaled: bool = False) -> str:
    """What happens to a frame, as a formula: `C = (L - D) * mean(F) / F`."""
    letters = (letter(group) if group else "" for group in (bias, dark))
    return equation(raw, *letters, "F" if flat is not None else "", scaled, bool(dark and dark.contains_bias))
