"""Many files in, one out, by hand: masters, superbias, lists of defects, composed exposures; `deep` images apart.

Each function yields events; the last one carries what was made. A file that fails is told and left out.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.calibrated import refuse_other_kind
from masterlight.calibration.masters import odd_level
from masterlight.calibration.superbias import Superbias
from masterlight.calibration.trimmed import Trimmed
from masterlight.core.errors import FrameError, NothingUsable, ParameterError, Rejected
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.process import card
from masterlight.core.together import differences
from masterlight.core.units.reading import Reading
from masterlight.core.units.settle import KNOB, in_role, sentences, settle, settle_mixed
from masterlight.core.workers import Event, Events
from masterlight.defects.find import BadPixels
from masterlight.defects.lists import Defects
from masterlight.integration.hdr import HDRComposition
from masterlight.integration.integrate import ImageIntegration
from masterlight.io import header_cards as header_of
from masterlight.io import read, read_plane, table_rows, write
from masterlight.io.defectlist import write_defects
from masterlight.night.masters import build_master
from masterlight.night.products import write_pictured
from masterlight.night.recipe import Recipe
from masterlight.night.run import Run
from masterlight.session.found.orientation import settle_patterns
from masterlight.session.groups import PLURAL, Group, group_frames
from masterlight.session.plan import MasterJob, Plan
from masterlight.session.planner import formula, letter
from masterlight.session.scan import Session, scan
from masterlight.session.words import how_many
from masterlight.subframes.select import SubframeSelector

File = str | Path
Found = Iterator[tuple[str, Defects]]
FIRM = {"header", "folder", "name"}
"""Witnesses of a kind that a verb which makes masters does not overrule."""
SKIES = "light", "unknown"
"""Kinds of frames that show stars."""


def make_master(
    recipe: Recipe, files: Sequence[File], path: Path, *, kind: str, bias: File | None = None,
    dark: File | None = None, flat_dark: bool = False,
) -> Events[None]:  # fmt: skip
    """Integrate `files` into a master bias, dark or flat; the masters bias and dark are taken out of each first.

    flat_dark: these darks are for flats. The last event's result is the report. NothingUsable when no frame is left.
    """
    kind = "flatdark" if flat_dark else kind
    session = yield from scan_settled("masters", files, [file for file in (bias, dark) if file])
    fits = {kind, "unknown"} | ({"dark", "flatdark"} if "dark" in kind else set())
    sure = {frame.source for frame in session.frames if FIRM & {witness for witness, _ in frame.meta.told}}
    right = [f for f in session.frames if f.meta.kind in fits or recipe.force or f.source not in sure]
    words = "says that it is a {}; Recipe.force takes it for a " + kind
    wrong = [frame for frame in session.frames if frame not in right]
    lost = tuple(Rejected(frame.source, "masters", words.format(frame.meta.kind)) for frame in wrong)
    frames = [replace(frame, meta=frame.meta.with_(kind=kind, is_master=False)) for frame in right]
    groups, rejected = tuple(group_frames(kind, frames)), session.rejected + lost
    plan = Plan(session.name, groups, (), (), (), (), rejected, passed=session.passed)
    if not frames:
        raise NothingUsable(plan.why_no_lights().replace("lights", PLURAL[kind]))
    refuse_mixture(frames)
    masters = {name: in_role(read(file), name) for name, file in (("bias", bias), ("dark", dark)) if file}
    alike, _ = settle_patterns([*masters.values(), *frames])
    made, scales = settle(alike, recipe.calibrate.units, KNOB)
    masters, frames = dict(zip(masters, made, strict=False)), made[len(masters) :]
    yield from tell_masters("masters", masters.values())
    group, taken = Group(kind, tuple(frames)), {name: Group(name, (master,)) for name, master in masters.items()}
    equation = f"{letter(group)} = mean of " + formula("f", taken.get("bias"), taken.get("dark"))[4:]
    with Run.open(plan, path.parent, recipe) as run:
        for rejected in plan.rejected:
            yield run.reject(rejected)
        for sentence in sentences(scales):
            yield run.note("masters", sentence)
        if len(plan.groups) > 1:
            yield run.note("masters", f"these frames are not alike: {'; '.join(map(str, plan.groups))}")
        yield from build_master(run, MasterJob(group, **masters, equation=equation), path)
        if path not in run.made.values():
            raise NothingUsable(f"no {kind} frame could be used; nothing was written")
        yield Event("done", result=run.report, message=str(path))


def refuse_mixture(frames: list[Frame]) -> None:
    """Raise FrameError when frames are of more than one camera or setting; one of another size is left out later."""
    first = frames[0]
    for frame in frames[1:]:
        for name, mine, other in differences(first.meta, frame.meta):
            if name not in ("size", "region"):
                words = f"has {name} {other}, and {Path(first.source).name} has {mine}"
                raise FrameError(frame.source, f"{words}: one master is made of frames of one camera and setting")


def make_superbias(superbias: Superbias, files: Sequence[File], out: Path, check: Sequence[File] = ()) -> Events[None]:
    """Write the superbias of one master bias; with bias frames in `check`, say whether it is better."""
    if len(files) != 1:
        raise ParameterError(f"a superbias is made of one master bias (given: {len(files)} files)")
    master = files[0]
    bias = read(master)
    refuse_other_kind("bias", bias, force=False)
    checked = scan(check)
    yield from tell_rejected("superbias", checked)
    bias, *raw = yield from in_dn("superbias", settle([in_role(bias, "bias"), *checked.frames]))
    yield from tell_masters("superbias", [bias])
    for odd in [frame for frame in raw if frame.meta.sky_shape != bias.shape]:
        words = f"is of another size than {Path(master).name}; give the frames that it was made of"
        raise FrameError(odd.source, words)
    if 0 < len(raw) < 4:
        raise FrameError(raw[0].source, f"{len(raw)} bias frames are too few to check with; give 4 or more")
    if raw:
        halves = [mean_of(raw[i::2], ImageIntegration.for_bias()) for i in (0, 1)]
        yield Event("superbias", message=superbias.validate(*halves).sentence)
    made = superbias(bias)
    write(out, made, header_of(made))
    yield Event("done", result=out, message=str(out))


def scan_settled(stage: str, files: Iterable[File], beside: Iterable[File] = ()) -> Events[Session]:
    """Open frames; told are what lies among them and is not read, and what decided about their colour patterns, which
    masters `beside` them may help to know."""
    session, masters = scan(files), list[Frame]()
    yield from tell_unread(stage, session)
    for file in beside:
        with suppress(FrameError):  # told when it is used
            masters.append(read(file))
    frames, sentences = settle_patterns([*masters, *session.frames])
    for sentence in sentences:
        yield Event(stage, message=sentence)
    return replace(session, frames=tuple(frames[len(masters) :]))


def tell_unread(stage: str, session: Session) -> Events[None]:
    """What lies in folders beside frames: links that were followed, folders without images, files that are not read."""
    for words in (*session.notes, *session.passed) if session.frames else ():
        yield Event(stage, message=words)


def tell_rejected(stage: str, session: Session) -> Events[None]:
    """Files that could not be opened, one event each."""
    for rejected in session.rejected:
        yield Event(stage, item=rejected.source, result=rejected, message=f"rejected {rejected}")


def skies_alone(stage: str, session: Session, keep: str | None = None) -> Events[Session]:
    """A session without its calibration frames, whose number is told; keep: the real path of one that stays."""
    others = [frame for frame in session.frames if frame.meta.kind not in SKIES]
    left = {frame.source: frame for frame in others if os.path.realpath(frame.source) != keep}
    if left:
        yield Event(stage, message=f"passed over, since they are no lights: {counted_kinds(left.values())}")
    return replace(session, frames=tuple(frame for frame in session.frames if frame.source not in left))


def counted_kinds(frames: Iterable[Frame]) -> str:
    """How many frames there are of each kind: 6 bias frames, 4 darks."""
    kinds = Counter(PLURAL[frame.meta.kind] for frame in frames)
    return ", ".join(how_many(count, kind.removesuffix("s")) for kind, count in kinds.items())


def nothing_in(files: Iterable[File], session: Session, wanted: str = "lights") -> str:
    """Where nothing was found to work on, and why, as the end of a sentence: ' in empty: give lights, ...'."""
    places = [str(file) for file in files]
    where = f" in {places[0]}{f' and {len(places) - 1} more' if len(places) > 1 else ''}" if places else ""
    if session.rejected:
        return f": {session.rejected[0]}"
    held = counted_kinds(session.frames)
    why = "; ".join(filter(None, [held and f"only {held}", *session.passed]))
    return f"{where}: {why or f'give {wanted}, or their folder'}"


def in_dn(stage: str, settled: tuple[list[Frame], list[Reading]]) -> Events[list[Frame]]:
    """Frames that were brought to DN; says how the numbers of their files were read."""
    frames, readings = settled
    for sentence in sentences(readings):
        yield Event(stage, message=sentence)
    return frames


def tell_masters(stage: str, masters: Iterable[Frame]) -> Events[None]:
    """What had to be guessed of master files, and what is odd about their level."""
    for master in masters:
        for words in [*master.meta.notes, odd_level(master)]:
            if words:
                yield Event(stage, message=f"{Path(master.source).name}: {words}")


def find_defects(
    process: BadPixels, files: Sequence[File], out: Path, bias: File | None = None, dithered: bool = False
) -> Events[None]:
    """Write a map or list of the defective pixels that darks, flats, lights and rejection maps show, all together.

    Which they are is told by their headers and names; bias: master to take out of flats; dithered: the word of the
    user that the frames behind a rejection map were dithered and not registered.
    """
    kinds: dict[str, list[Frame]] = {}
    session = yield from scan_settled("defects", files, [bias] if bias else [])
    yield from tell_rejected("defects", session)
    beside = [in_role(read(bias), "bias")] if bias else []
    beside, frames = settle_patterns([*beside, *session.frames])[0][: len(beside)], session.frames
    alone = [frame for frame in frames if frame.meta.kind not in FINDERS]  # lights tell by their own noise
    made = yield from in_dn("defects", settle([*beside, *(frame for frame in frames if frame not in alone)]))
    beside, frames = made[: len(beside)], made[len(beside) :]
    for frame in (*frames, *alone):
        whole = (0, frame.shape[-2], 0, frame.shape[-1])
        kinds.setdefault(frame.meta.kind, []).append(Trimmed.of(frame, frame.meta.data_px or whole))
    parts = []
    for kind, frames in kinds.items():
        for words, found in FINDERS.get(kind, of_lights)(process, frames, beside[0] if beside else None, dithered):
            yield Event("defects", message=f"{words}: {defect_words(found)}")
            for note in found.notes:
                yield Event("defects", message=note)
            parts.append(found)
    if not parts:
        none = f"no darks, flats or lights were found in {session.name} to look for defects in"
        raise NothingUsable(f"nothing was written: {session.rejected[0] if session.rejected else none}")
    everything = parts[0].union(*parts[1:])
    write_defects(out, everything, card(process))
    yield Event("done", result=everything, message=f"{out}: {defect_words(everything)}")


def of_darks(process: BadPixels, darks: list[Frame], bias: Frame | None, dithered: bool) -> Found:
    masters = [dark for dark in darks if dark.meta.is_master]
    raw = [dark for dark in darks if not dark.meta.is_master]
    if len(raw) > 1:
        masters.append(mean_of(raw, ImageIntegration.for_dark()))
    for dark in masters or raw:
        yield Path(dark.source).name, process.from_dark(dark)
    if len(raw) >= 5:
        yield f"{len(raw)} darks, one after the other", process.from_darks(raw)


def of_flats(process: BadPixels, flats: list[Frame], bias: Frame | None, dithered: bool) -> Found:
    calibrate = ImageCalibration(use_dark=False, use_flat=False)
    if bias is not None:
        masters = calibrate.masters(bias=bias)
        flats = [flat if "B" in flat.meta.calibration else calibrate(flat, masters) for flat in flats]
    level = {id(flat): float(np.nanmedian(flat[::16, ::16])) for flat in flats}
    flats = sorted(flats, key=lambda flat: level[id(flat)])
    faint = flats[0] if level[id(flats[0])] < 0.7 * level[id(flats[-1])] else None
    yield f"{len(flats)} flats", process.from_flats(flats[-1], faint)


def of_lights(process: BadPixels, lights: list[Frame], bias: Frame | None, dithered: bool) -> Found:
    for stack in [light for light in lights if light.meta.frames > 1]:
        lights.remove(stack)
        if not dithered:
            words = "its rejection map tells of the sensor only when the frames were dithered and not registered; "
            raise FrameError(stack.source, words + "say so with dithered=, or give the lights themselves")
        counts, n = rejection_map(stack.source)
        yield Path(stack.source).name, process.from_rejections(counts, n, source=stack.source)
    if lights:
        shifts = shifts_between(lights) if len(lights) >= FEWEST_DITHERED else None
        if shifts is None:
            yield f"{len(lights)} lights, each by itself", process.from_single_lights(lights)
        else:
            yield f"{len(lights)} dithered lights", process.from_lights(lights, shifts)


FEWEST_DITHERED = 5
"""Lights that tell defects from stars by their shifts; fewer are looked at each by itself."""
FINDERS = {"dark": of_darks, "flatdark": of_darks, "bias": of_darks, "flat": of_flats}
"""What looks for defects in each kind of frame; `of_lights` in all others."""


def rejection_map(path: File) -> tuple[np.ndarray, int]:
    """How often each pixel was rejected as too bright, and out of how many frames."""
    rejected, n = read_plane(path, "REJ_HIGH"), table_rows(path, "FRAMES")
    if rejected is None or not n:
        raise FrameError(path, "is a stack without rejection maps; give darks, flats or lights")
    if len(rejected.shape) != 2:
        words = "its rejection maps do not tell of single pixels of the sensor"
        raise FrameError(path, f"is a stack of three planes; {words}")
    return np.rint(np.asarray(rejected) * n), n


def shifts_between(lights: list[Frame]) -> np.ndarray | None:
    """Where each light lies against the first, (n, 2) pixels; None when their stars do not tell."""
    select, align = SubframeSelector(), StarAlignment()
    stars = [seen[1] for light in lights if (seen := select.measure(light))]
    if len(stars) < len(lights):
        return None
    reference = align.prepare(stars[0])
    found = [align.align(reference, s, light.source) for s, light in zip(stars, lights, strict=True)]
    return np.array([(t.dx_px, t.dy_px) for t in found]) if all(found) else None


def mean_of(frames: Sequence[Frame], integration: ImageIntegration) -> Frame:
    """Raw frames integrated in memory."""
    *_, done = integration(frames, maps=False)
    meta = frames[0].meta.with_(is_master=True, frames=len(frames))
    return ArrayFrame.of(done.result.image, f"{len(frames)} {PLURAL[meta.kind]}", meta)


def defect_words(found: Defects) -> str:
    """How many defects of which kind, as words."""
    kinds = ", ".join(f"{count} {name}" for name, count in found.counts.items() if count)
    return f"{len(found)} defects ({kinds})" if kinds else "no defect"


def compose_files(hdr: HDRComposition, files: Sequence[File], out: Path) -> Events[None]:
    """Write registered images of different exposures as one that saturates nowhere, with its masks in extensions."""
    frames, scales = settle_mixed([read(file) for file in files])
    for sentence in sentences(scales):
        yield Event("hdr", message=sentence)
    known = [read_plane(frame.source, "VARIANCE") for frame in frames]
    factors = {one.source: np.float32(one.factor**2) for one in scales}
    variances = [
        None if plane is None else np.asarray(plane) * factors.get(frame.source, np.float32(1))
        for frame, plane in zip(frames, known, strict=True)
    ]
    for without in [frame.source for frame, v in zip(frames, variances, strict=True) if v is None][:1]:
        yield Event("hdr", message=f"{without} has no VARIANCE, so the result has none")
    made = hdr(frames, variances)
    for note in made.notes:
        yield Event("hdr", message=note)
    first = next(frame for frame in frames if frame.source == made.sources[0])
    planes = {"IMAGE": made.image} | ({} if made.variance is None else {"VARIANCE": made.variance})
    planes |= {f"MASK{i}": mask for i, mask in enumerate(made.masks, 1)}
    low, high = made.range_dn
    header = {k: v for k, v in header_of(first).items() if v is not None and k != "SATURATE"}
    header |= {"DATAMIN": low, "DATAMAX": high}
    for note in write_pictured(out, planes, header, [*first.cards, card(hdr)], planes.keys() - {"IMAGE"}):
        yield Event("hdr", message=note)
    yield Event("done", result=made, message=f"{out}: {low:.5g} to {high:.5g} DN")
