"""Steps by hand: one process at a time, files in, files out, as the table of steps tells.

    for event in by_hand("calibrate", ["night/LIGHT"], "calibrated", dark="dark.fits"):
        print(event.message)

A step whose row has an ending writes each file it is given as NAME_ending.fits; the others make one file of many, and
stand in `assemble` and `deep`. What must be made ready before the first file, such as masters, stands here, a function
for each step that needs it; every other process is simply called with each frame.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from masterlight.calibration.calibrate import ImageCalibration, needs
from masterlight.calibration.calibrate import preset as preset_of
from masterlight.calibration.calibrated import auto_pedestal
from masterlight.calibration.darkscale import DarkScale
from masterlight.calibration.masters import Masters
from masterlight.core.errors import MOST_LETTERS, FrameError, NothingUsable, OutputError, ParameterError, Rejected
from masterlight.core.frame import ArrayFrame, Frame, Meta
from masterlight.core.knob import either
from masterlight.core.process import with_values
from masterlight.core.together import same_current
from masterlight.core.units.settle import KNOB, in_role, is_plain, sentences, settle, settle_mixed
from masterlight.core.workers import Event, Events, each, executor
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.defectmap import DefectMap
from masterlight.defects.lists import Defects
from masterlight.doors.hand import assemble, blink, deep
from masterlight.doors.hand.align import align_files
from masterlight.doors.hand.assemble import File, defect_words
from masterlight.doors.hand.choose import choose_files
from masterlight.doors.hand.drizzle import drizzle_files
from masterlight.doors.hand.handed import handed_on, known_frames
from masterlight.integration.normalize import LocalNormalization
from masterlight.io import FORMATS, Cut, read, suffix, whole_numbers
from masterlight.io import header_cards as header_of
from masterlight.io.defectlist import TEXTS, read_defects
from masterlight.io.handed import NOTHING, Handed, write_handing
from masterlight.io.whole import make_folder
from masterlight.night.products import check_file, check_out, untaken
from masterlight.processes import STEPS, Step, load
from masterlight.session.found.orientation import settle_patterns
from masterlight.session.found.search import search
from masterlight.session.scan import Session, scan

Ready = Events[tuple[Any, Callable[[Frame], Any]]]
"""Events, then the process and what it makes of a frame: the next frame, and its pixels if they are whole numbers."""


def by_hand(
    verb: str, inputs: Iterable[File] | File, out: File | None = None, process: Any = None, *,
    overwrite: bool = False, **slots: Any,
) -> Events[None]:  # fmt: skip
    """Do one step with files: `by_hand("debayer", ["night"], "colour", Debayer(method="vng"))`.

    inputs: files and folders; out: the folder or file to write; process: its knobs, or the recipe that holds them;
    slots: what else the step takes, as its row tells. The last event's result is (paths written, files left out) where
    each file is written by itself. No input is ever overwritten, and no other file unless `overwrite` says so.
    """
    step = STEPS.get(verb)
    if step is None or not step.by_hand:
        names = ", ".join(step.verb for step in STEPS.values() if step.by_hand)
        raise ParameterError(f"{verb} is no step that can be done by hand; there are {names}")
    if unknown := slots.keys() - {slot.name for slot in step.slots}:
        raise ParameterError(f"{verb} takes no {' and no '.join(sorted(unknown))}")
    if process is None:
        process = preset_of(slots["preset"]) if slots.get("preset") else load(step.process)()
    files = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    if out is None and not step.may_only_show:
        raise ParameterError(f"{verb} needs out=, a name for the result")
    if out is not None and not str(out).strip():
        raise ParameterError("out= is empty; give a name for the result")
    if verb == "subframes":
        yield from choose_files(process, files, out=out, overwrite=overwrite, **slots)
        return
    assert out is not None
    if verb == "align":
        yield from align_files(process, files, Path(out), overwrite=overwrite, **slots)
        return
    if step.ending:
        check_out(out)
    else:
        check_name(step, Path(out))
        for ending in ("", *BESIDE.get(verb, ())):
            path = Path(out).with_suffix(ending) if ending else Path(out)
            refuse_existing(path, overwrite or getattr(process, "overwrite", False), files)
        yield from MAKERS[verb](process, files, Path(out), **slots)
        return
    beside = [slots[kind] for kind in ("bias", "dark", "flat") if slots.get(kind)]
    given = getattr(process, "pattern", "auto") != "auto"
    if given:
        session = scan(files)
        yield from assemble.tell_unread(verb, session)
    else:
        session = yield from assemble.scan_settled(verb, files, beside)
    session, before = known_frames(verb, session)
    apply = process
    if session.frames and verb in READY:
        process, apply = yield from READY[verb](process, session, **slots)
    yield from each_file(step, session, Path(out), process, apply, overwrite, before)


IMAGES = ".fits", ".fit", ".fts"
ENDINGS = {"defects": (*IMAGES, *TEXTS), "blink": tuple(blink.KINDS)}
"""How the names of results may end, where that is not an image's."""


def check_name(step: Step, path: Path) -> None:
    """Raise before the work what would be raised when its result is written: a name that is no format of ours."""
    check_file(path)
    known = ENDINGS.get(step.verb, IMAGES)
    if suffix(path, known) is None:
        raise ParameterError(f"{path}: the result is written as {either(known)}; let the name (out=) end so")


MAKERS: dict[str, Callable[..., Events[None]]] = {
    **{kind: partial(assemble.make_master, kind=kind) for kind in ("bias", "dark", "flat")},
    "superbias": assemble.make_superbias, "defects": assemble.find_defects, "integrate": deep.integrate_files,
    "hdr": assemble.compose_files, "blink": blink.blink_files, "drizzle": drizzle_files,
}  # fmt: skip
"""What makes one file of many: (knobs, files, path, slots)."""


def take_masters(
    process: ImageCalibration, session: Session, bias: File | None = None, dark: File | None = None,
    flat: File | None = None, preset: str | None = None, integers: bool = False,
) -> Ready:  # fmt: skip
    """Calibration with master files.

    integers: write 16-bit whole numbers for programs that want them, all with one pedestal that keeps negative pixels;
    missing pixels are BLANK there, and what is cut off is counted.
    """
    given = {"bias": bias, "dark": dark, "flatdark": dark, "flat": flat}
    if missing := [kind for kind in (needs(preset) if preset else ()) if not given[kind]]:
        words = " and ".join(f"{'dark' if kind == 'flatdark' else kind}=" for kind in missing)
        raise ParameterError(f"the preset {preset} needs {words}")
    del given["flatdark"]
    opened = {kind: in_role(read(path), kind) for kind, path in given.items() if path}
    opened = dict(zip(opened, settle_patterns([*opened.values(), *session.frames])[0], strict=False))
    process.masters(**opened)  # refuses those of another kind before their pixels are looked at
    made, readings = settle([*opened.values(), *session.frames], process.units, KNOB)
    masters = process.masters(**dict(zip(opened, made, strict=False)))
    frames = {frame.source: frame for frame in made[len(opened) :]}
    yield from assemble.tell_masters("calibrate", list(opened.values()))
    masters.factor()
    for sentence in sentences(readings):
        yield Event("calibrate", message=sentence)
    if integers:
        pedestals = [0.0]
        for frame in frames.values():
            with suppress(FrameError):  # told when its turn comes
                pedestals.append(auto_pedestal(process(frame, masters)))
        process = with_values(process, pedestal_dn=process.pedestal_dn + max(pedestals))
        yield Event("calibrate", message=f"pedestal {process.pedestal_dn:g} DN, in PEDESTAL of each header")

    def apply(frame: Frame) -> Any:
        frame = frames[frame.source]
        view = process(frame, masters)
        if view is frame:
            raise FrameError(frame.source, "there is nothing to calibrate it with: give bias=, dark= or flat=")
        if integers:
            return view, whole_numbers(np.asarray(view))
        return view

    for sentence in equations(process, masters, frames.values()):
        yield Event("calibrate", message=sentence)
    for note in dict.fromkeys(note for frame in session.frames for note in frame.meta.notes):
        yield Event("calibrate", message=note)
    return process, apply


def equations(process: ImageCalibration, masters: Masters, frames: Iterable[Frame]) -> Iterator[str]:
    """What is done to the frames, with their number where it is not the same to all; and where a dark does not fit."""
    done, unlike = Counter[str](), Counter[str]()
    for frame in frames:
        with suppress(FrameError):  # told when its turn comes
            served, light = process.masters_for(frame, masters), frame.meta
            done[served.equation] += 1
            as_it_is = served.dark and not served.scaled and process.dark_scaling == "auto" and light.kind == "light"
            if as_it_is and not same_current(light, served.dark.meta):
                unlike[f"{current_words(served.dark.meta)} is taken off {current_words(light)}"] += 1
    yield from done if len(done) < 2 else (f"{count} frames: {sentence}" for sentence, count in done.items())
    for words, count in unlike.items():
        yield f"{count} light{'s' * (count > 1)}: a dark of {words} as it is; give bias= and it is scaled to each light"


def current_words(meta: Meta) -> str:
    """Exposure and temperature of a frame, as far as they are known."""
    exposure = f"{meta.exposure_s:g} s" if meta.exposure_s else "unknown exposure"
    return exposure if meta.temperature_c is None else f"{exposure} at {meta.temperature_c:.0f} °C"


def take_defects(
    process: CosmeticCorrection, session: Session, dark: File | None = None, defects: File | None = None
) -> Ready:
    """Repair of what a master dark, a list or map of `masterlight defects` or several raw frames show."""
    known = [found for found in [process.fixed_lines(session.frames)] if found is not None]
    if dark:
        plain = (frame for frame in session.frames if is_plain(frame.meta))
        alike, _ = settle_patterns([in_role(read(dark), "dark"), *plain])
        shown, *_ = yield from assemble.in_dn("cosmetic", settle(alike))
        yield from assemble.tell_masters("cosmetic", [shown])
        known.append(process.defects(shown))
    if defects:
        known.append(listed_defects(defects, session))
    for part in known:
        yield Event("cosmetic", message=f"{Path(part.source).name}: {defect_words(part)}")
    marked = known[0].union(*known[1:]) if known else None

    def apply(frame: Frame) -> Any:
        view = process(frame, marked)
        if view is frame:
            words = "no defective pixel is known: give dark= or defects=, or set CosmeticCorrection.hot_auto"
            raise FrameError(frame.source, words)
        return view

    return process, apply


def listed_defects(defects: File, session: Session) -> Defects:
    """What a list or map tells of the sensor of the frames; Siril counts rows as most of their files store them."""
    stored = [frame.meta.bottom_up for frame in session.frames]
    return Defects.of(*read_defects(defects, session.frames[0].shape[-2:], 2 * sum(stored) > len(stored)))


def take_chart(process: DefectMap, session: Session, defects: File) -> Ready:
    """A map as PixInsight's DefectMap takes it, 0 where defective and a weight elsewhere, or a list or map of ours."""
    yield from ()
    try:
        known = listed_defects(defects, session)
        chart: Frame = ArrayFrame.of(known.as_map(), str(defects))
    except FrameError:
        chart = read(defects)
    return process, lambda frame: process(frame, chart)


def take_reference(process: LocalNormalization, session: Session, reference: File) -> Ready:
    """The registered frame whose sky and scale the others get."""
    made = yield from assemble.in_dn("normalize", settle_mixed([read(reference), *session.frames]))
    like, frames = process.reference(made[0]), {frame.source: frame for frame in made[1:]}
    return process, lambda frame: process(frames[frame.source], like)


BESIDE = {"bias": (".png", ".json"), "dark": (".png", ".json"), "flat": (".png", ".json")}
BESIDE |= {"integrate": (".png",), "hdr": (".png",), "drizzle": (".png",)}
"""Endings of what some verbs write beside their result."""
READY: dict[str, Callable[..., Ready]] = {
    "calibrate": take_masters, "cosmetic": take_defects, "defectmap": take_chart, "normalize": take_reference,
}  # fmt: skip
"""What is made ready before the first file; all other processes are called with the frame alone."""


def each_file(
    step: Step, session: Session, folder: Path, process: Any, apply: Callable[[Frame], Any], overwrite: bool,
    before: Mapping[str, Handed],
) -> Events[None]:  # fmt: skip
    """Write what `apply` makes of every frame of a session into the folder; `before`: what their files hand on."""
    make_folder(folder)
    paths = output_paths(session, folder, step.ending)
    inputs = {os.path.realpath(source) for source in paths}
    for path in paths.values():
        refuse_existing(path, overwrite, inputs & {os.path.realpath(path)})

    cuts: dict[Path, Cut] = {}
    scales: dict[Path, DarkScale] = {}

    def task(frame: Frame) -> Path:
        made, pixels = done if isinstance(done := apply(frame), tuple) else (done, None)
        if isinstance(made, Rejected):
            raise FrameError(frame.source, made.reason)
        keywords = process.keywords(made) if hasattr(process, "keywords") else []
        header, path = header_of(made) | {name: value for name, value, _ in keywords}, paths[frame.source]
        if scale := getattr(made, "dark_scale", None):
            scales[path] = scale
        history, cut = list(made.cards), pixels.cut if pixels is not None else None
        if cut is not None:
            cuts[path] = cut
            history.append(cut.sentence())
        handed = handed_on(step.verb, made, before.get(frame.source, NOTHING))
        write_handing(path, made if pixels is None else pixels, header, history, handed, made.meta.bottom_up)
        return path

    lost, written = list(session.rejected), list[Path]()
    for rejected in session.rejected:
        yield Event(step.verb, item=rejected.source, result=rejected, message=f"rejected {rejected}")
    with executor() as pool:
        for event in each(step.verb, pool, task, session.frames):
            failed = isinstance(event.result, Rejected)
            (lost if failed else written).append(event.result)
            told = [s.sentence() for s in (scales.get(event.result), cuts.get(event.result, Cut())) if s]
            words = ", ".join(filter(None, [f"{'rejected ' if failed else ''}{event.result}", *told]))
            yield replace(event, message=words, detail=not failed)
    for message in scale_words(scales):
        yield Event(step.verb, message=message)
    if words := Cut(*map(sum, zip(*cuts.values(), strict=True))).sentence():
        yield Event(step.verb, message=f"in all {len(cuts)} files, {words}" if len(cuts) > 1 else words)
    if not written:
        why = lost[0] if lost else "; ".join(session.passed) or f"no images were found in {session.name}"
        raise NothingUsable(f"nothing was written: {why}")
    yield Event("done", result=(sorted(written), lost), message=written_words(sorted(written)))


def scale_words(scales: dict[Path, DarkScale]) -> Iterator[str]:
    """The factors of the dark, of each file as far as there is room, and why some are not fitted."""
    told = [f"{scale.k:.3f} {path.stem}" for path, scale in sorted(scales.items())]
    if told:
        words = f"the dark is scaled to each light ({len(told)}, CALK00 of their headers), x {', '.join(told)}"
        yield words if len(words) <= MOST_LETTERS else f"{words[: MOST_LETTERS - 5].rpartition(', ')[0]}, ..."
    reasons = Counter(scale.reason for scale in scales.values() if scale.reason)
    yield from (f"{count} of {len(told)} lights: {reason}" for reason, count in reasons.items())


def written_words(paths: list[Path]) -> str:
    """Which files were written, in one line."""
    first, last = str(paths[0]), paths[-1].name
    return f"{len(paths)} files written: {first} to {last}" if len(paths) > 1 else f"written: {first}"


def refuse_existing(path: Path, overwrite: bool, inputs: Iterable[File] = ()) -> None:
    """Raise OutputError where a file exists and may not be replaced; no image of the `inputs` ever is."""
    same = os.path.realpath(path)
    if any(os.path.realpath(frame) == same for frame in search(map(os.fspath, inputs)).images):
        raise OutputError(f"{path} is one of the frames to work on; choose another name for the result")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists; choose another name, or pass overwrite=True")


def output_paths(session: Session, folder: Path, ending: str) -> dict[str, Path]:
    """Where each frame of a session is written; frames of one name, of two folders, get numbers."""
    paths: dict[str, Path] = {}
    for source in (frame.source for frame in session.frames):
        name = Path(source).name
        stem = name[: -len(end)] if (end := suffix(name, FORMATS)) else Path(name).stem  # without .fits.gz and the like
        paths[source] = untaken(folder, stem, f"{ending}.fits", paths.values())
    return paths
