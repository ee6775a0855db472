"""The workflow by hand: one process at a time, files in, files out, as one learns it.

Each function yields events; the last one carries the paths that were written. A file that fails is told and left out.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.calibrated import auto_pedestal, refuse_other_kind
from masterlight.calibration.superbias import Superbias
from masterlight.calibration.trimmed import Trimmed
from masterlight.colour.debayer import Debayer
from masterlight.core.errors import FrameError, NothingUsable, OutputError, ParameterError, Rejected
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.process import card, changed
from masterlight.core.together import differences
from masterlight.core.workers import Event, each, executor, keep_freed_memory
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.defectmap import DefectMap
from masterlight.defects.find import BadPixels
from masterlight.defects.lists import Defects
from masterlight.integration.integrate import ImageIntegration
from masterlight.io import FORMATS, read, suffix, write
from masterlight.io import header_cards as header_of
from masterlight.io.defectlist import read_defects, write_defects
from masterlight.night.masters import build_master
from masterlight.night.recipe import Recipe
from masterlight.night.run import Run
from masterlight.session.matching import PLURAL, Group, grouped
from masterlight.session.plan import MasterJob, Plan, formula, letter
from masterlight.session.scan import Session, scan
from masterlight.subframes.select import SubframeSelector


def make_master(kind: str, files: Iterable, out, recipe: Recipe | None = None, bias=None, dark=None) -> Iterator[Event]:
    """Integrate `files` into the master bias, dark, flat or flatdark `out`; bias and dark are taken out of each first.

    Raises NothingUsable when no frame is left, OutputError when `out` exists and the recipe says not to overwrite.
    """
    if kind not in PLURAL or kind == "light":
        raise ParameterError(f"kind: bias, dark, flat or flatdark is needed (given: {kind!r})")
    recipe, path, files = recipe or Recipe(), Path(out), list(files)
    refuse_existing(path, recipe.overwrite, files)
    session = scan(list(files))
    fits = {kind, "unknown"} | ({"dark", "flatdark"} if "dark" in kind else set())
    right = [frame for frame in session.frames if frame.meta.kind in fits or recipe.force]
    wrong = tuple(
        Rejected(frame.source, "masters", f"says that it is a {frame.meta.kind}; --force takes it for a {kind}")
        for frame in session.frames
        if frame not in right
    )
    frames = [replace(frame, meta=frame.meta.with_(kind=kind, is_master=False)) for frame in right]
    plan = Plan(session.name, tuple(grouped(kind, frames)), (), (), (), (), session.rejected + wrong)
    if not frames:
        raise NothingUsable(plan.why_no_lights().replace("lights", PLURAL[kind]))
    refuse_mixture(frames)
    keep_freed_memory()
    with executor(recipe.workers) as pool:
        run = Run.of(plan, path.parent, recipe, pool)
        for rejected in plan.rejected:
            yield run.reject(rejected)
        if len(plan.groups) > 1:
            yield run.note("masters", f"these frames are not alike: {'; '.join(map(str, plan.groups))}")
        masters = {name: read(file) for name, file in (("bias", bias), ("dark", dark)) if file}
        group = Group(kind, tuple(frames))
        taken = {name: Group(name, (frame,)) for name, frame in masters.items()}
        yield from build_master(
            run,
            MasterJob(
                group,
                **masters,
                equation=letter(group) + " = mean of " + formula("f", taken.get("bias"), taken.get("dark"))[4:],
            ),
            path,
        )
        if path not in run.made.values():
            raise NothingUsable(f"no {kind} frame could be used; nothing was written")
        yield Event("done", result=run.report, message=str(path))


def refuse_mixture(frames: list[Frame]) -> None:
    """Raise FrameError when frames are of more than one camera or setting; one of another size is left out later."""
    first = frames[0]
    for frame in frames[1:]:
        for name, mine, other in differences(first.meta, frame.meta):
            if name not in ("size", "region"):
                raise FrameError(
                    frame.source,
                    f"has {name} {other}, and {Path(first.source).name} has {mine}: one master is made of "
                    "frames of one camera and setting",
                )


def calibrate_files(
    files: Iterable,
    out,
    calibrate: ImageCalibration | None = None,
    bias=None,
    dark=None,
    flat=None,
    integers: bool = False,
    **options,
) -> Iterator[Event]:
    """Write every file of `files` into the folder `out` as `name_c.fits`, calibrated with the masters given.

    integers: write 16-bit whole numbers for programs that want them, all with one pedestal that keeps negative pixels;
    missing pixels become 0 there.
    """
    calibrate, session = calibrate or ImageCalibration(), scan(list(files))
    given = {"bias": bias, "dark": dark, "flat": flat}
    masters = calibrate.masters(**{kind: read(path) for kind, path in given.items() if path})
    masters.factor()
    if integers:
        found = [0.0]
        for frame in session.frames:
            with suppress(FrameError):  # told when its turn comes
                found.append(auto_pedestal(calibrate(frame, masters)))
        calibrate = changed(calibrate, pedestal_dn=calibrate.pedestal_dn + max(found))
        yield Event("calibrate", message=f"pedestal {calibrate.pedestal_dn:g} DN, in PEDESTAL of each header")

    def step(frame: Frame):
        view = calibrate(frame, masters)
        if view is frame:
            raise FrameError(frame.source, "there is nothing to calibrate it with: give --bias, --dark or --flat")
        pixels = np.asarray(view)
        if integers:
            pixels = np.clip(np.rint(np.nan_to_num(pixels)), 0, 65535).astype(np.uint16)
        return view, pixels, calibrate.keywords(view)

    yield Event("calibrate", message=masters.equation)
    for note in dict.fromkeys(note for frame in session.frames for note in frame.meta.notes):
        yield Event("calibrate", message=note)
    yield from each_file("calibrate", session, out, "_c", step, **options)


def correct_files(
    files: Iterable, out, cosmetic: CosmeticCorrection | None = None, dark=None, defects=None, **options
) -> Iterator[Event]:
    """Write every file into the folder `out` as `name_cc.fits`, with its defective pixels repaired.

    dark: a master dark that shows them; defects: a list or map of them, as `masterlight defects` writes it.
    """
    cosmetic = cosmetic or CosmeticCorrection()
    session = scan(list(files))
    known = [cosmetic.defects(read(dark))] if dark else []
    if defects and session.frames:
        known.append(Defects.of(*read_defects(defects, session.frames[0].shape[-2:])))
    for found in known:
        yield Event("cosmetic", message=f"{Path(found.source).name}: {told(found)}")
    marked = known[0].union(*known[1:]) if known else None

    def step(frame: Frame):
        view = cosmetic(frame, marked)
        if view is frame:
            words = "no defective pixel is known: give --dark or --defects, or set --hot-auto and --cold-auto"
            raise FrameError(frame.source, words)
        return view, None, []

    yield from each_file("cosmetic", session, out, "_cc", step, **options)


def map_files(files: Iterable, out, mapped: DefectMap | None = None, defects=None, **options) -> Iterator[Event]:
    """Write every file into the folder `out` as `name_dm.fits`, with the pixels that a map marks replaced.

    defects: a map as PixInsight's DefectMap takes it, 0 where a pixel is defective and its weight elsewhere, or a
    list or map as `masterlight defects` writes it.
    """
    mapped, session = mapped or DefectMap(), scan(list(files))
    if not session.frames:
        raise NothingUsable("no images were found")
    try:
        chart = Defects.of(*read_defects(defects, session.frames[0].shape[-2:])).as_map()
    except FrameError:
        chart = read(defects)
    chart = chart if isinstance(chart, Frame) else ArrayFrame.of(chart, str(defects))
    yield from each_file("defectmap", session, out, "_dm", lambda frame: (mapped(frame, chart), None, []), **options)


def debayer_files(files: Iterable, out, debayer: Debayer | None = None, **options) -> Iterator[Event]:
    """Write every mosaic into the folder `out` as `name_d.fits`, an image of three planes."""
    debayer = debayer or Debayer()

    def step(frame: Frame):
        view = debayer(frame)
        return view, None, debayer.keywords(view)

    yield from each_file("debayer", scan(list(files)), out, "_d", step, **options)


def each_file(stage: str, session: Session, out, ending: str, step: Callable, overwrite=False, workers="threads"):
    """Write what `step` makes of every frame of a session into the folder `out`: (frame, its pixels, more keywords)."""
    folder, paths = Path(out), {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}; choose another --out") from None
    for frame in session.frames:
        name, number = stem(frame.source) + ending, 1
        while folder / f"{name}.fits" in paths.values():  # frames of one name, of two folders
            number += 1
            name = f"{stem(frame.source)}_{number}{ending}"
        paths[frame.source] = folder / f"{name}.fits"
        refuse_existing(paths[frame.source], overwrite)

    def task(frame: Frame) -> Path:
        made, pixels, keywords = step(frame)
        header = {**header_of(made), **{name: value for name, value, _ in keywords}}
        write(paths[frame.source], made if pixels is None else pixels, header, made.cards if pixels is not None else ())
        return paths[frame.source]

    lost, written = list(session.rejected), []
    for rejected in lost:
        yield Event(stage, item=rejected.source, result=rejected, message=f"rejected {rejected}")
    with executor(workers) as pool:
        for event in each(stage, pool, task, session.frames):
            if isinstance(event.result, Rejected):
                lost.append(event.result)
                yield replace(event, message=f"rejected {event.result}")
            else:
                written.append(event.result)
                yield replace(event, message=str(event.result))
    if not written:
        raise NothingUsable(f"nothing was written: {lost[0] if lost else 'no images were found'}")
    yield Event("done", result=(sorted(written), lost))


def make_superbias(master, out, superbias: Superbias | None = None, check: Iterable = (), overwrite=False):
    """Write the superbias of the master bias `master`; with bias frames in `check`, say whether it is better."""
    superbias = superbias or Superbias()
    refuse_existing(Path(out), overwrite)
    bias = read(master)
    refuse_other_kind("bias", bias, force=False)
    raw = scan(list(check)).frames
    odd = next((frame for frame in raw if frame.meta.sky_shape != bias.shape), None)
    if odd is not None:
        raise FrameError(
            odd.source, f"is of another size than {Path(master).name}; give the frames that it was made of"
        )
    if raw:
        halves = [mean_of(raw[i::2], ImageIntegration.for_bias()) for i in (0, 1)] if len(raw) > 3 else None
        if halves is None:
            raise FrameError(raw[0].source, f"{len(raw)} bias frames are too few to check with; give 4 or more")
        yield Event("superbias", message=superbias.validate(*halves).sentence)
    made = superbias(bias)
    write(out, made, header_of(made))
    yield Event("done", result=Path(out), message=str(out))


def find_defects(files: Iterable, out, process: BadPixels | None = None, bias=None, dithered=False, overwrite=False):
    """Write a map or list of the defective pixels that darks, flats, lights and rejection maps show, all together.

    Which they are is told by their headers and names; bias: master to take out of flats; dithered: the word of the
    user that the frames behind a rejection map were dithered and not registered.
    """
    process = process or BadPixels()
    refuse_existing(Path(out), overwrite)
    kinds: dict[str, list[Frame]] = {}
    for frame in scan(list(files)).frames:
        whole = (0, frame.shape[-2], 0, frame.shape[-1])
        kinds.setdefault(frame.meta.kind, []).append(Trimmed.of(frame, frame.meta.data_px or whole))
    parts = []
    for kind, frames in kinds.items():
        for words, found in FINDERS.get(kind, of_lights)(process, frames, read(bias) if bias else None, dithered):
            yield Event("defects", message=f"{words}: {told(found)}")
            for note in found.notes:
                yield Event("defects", message=note)
            parts.append(found)
    if not parts:
        raise NothingUsable("no darks, flats or lights were found to look for defects in")
    everything = parts[0].union(*parts[1:])
    write_defects(out, everything, card(process))
    yield Event("done", result=everything, message=f"{out}: {told(everything)}")


def of_darks(process: BadPixels, darks: list[Frame], bias, dithered):
    masters = [dark for dark in darks if dark.meta.is_master]
    raw = [dark for dark in darks if not dark.meta.is_master]
    if len(raw) > 1:
        masters.append(mean_of(raw, ImageIntegration.for_dark()))
    for dark in masters or raw:
        yield Path(dark.source).name, process.from_dark(dark)
    if len(raw) >= 5:
        yield f"{len(raw)} darks, one after the other", process.from_darks(raw)


def of_flats(process: BadPixels, flats: list[Frame], bias, dithered):
    calibrate = ImageCalibration(use_dark=False, use_flat=False)
    if bias is not None:
        masters = calibrate.masters(bias=bias)
        flats = [flat if "B" in flat.meta.calibration else calibrate(flat, masters) for flat in flats]
    level = {id(flat): float(np.nanmedian(flat[::16, ::16])) for flat in flats}
    flats = sorted(flats, key=lambda flat: level[id(flat)])
    faint = flats[0] if level[id(flats[0])] < 0.7 * level[id(flats[-1])] else None
    yield f"{len(flats)} flats", process.from_flats(flats[-1], faint)


def of_lights(process: BadPixels, lights: list[Frame], bias, dithered):
    for stack in [light for light in lights if light.meta.frames > 1]:
        lights.remove(stack)
        if not dithered:
            raise FrameError(
                stack.source,
                "its rejection map tells of the sensor only when the frames were dithered and not registered; say so "
                "with --dithered, or give the lights themselves",
            )
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


def rejection_map(path) -> tuple[np.ndarray, int]:
    """How often each pixel was rejected as too bright, and out of how many frames."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        if "REJ_HIGH" not in hdus or "FRAMES" not in hdus:
            raise FrameError(path, "is a stack without rejection maps; give darks, flats or lights")
        n = len(hdus["FRAMES"].data)
        if hdus["REJ_HIGH"].data.ndim != 2:
            raise FrameError(
                path, "is a stack of three planes; its rejection maps do not tell of single pixels of the sensor"
            )
        return np.rint(hdus["REJ_HIGH"].data * n), n


def shifts_between(lights: list[Frame]) -> np.ndarray | None:
    """Where each light lies against the first, (n, 2) pixels; None when their stars do not tell."""
    select, align = SubframeSelector(), StarAlignment()
    stars = [found[1] if (found := select.measure(light)) else None for light in lights]
    if None in stars:
        return None
    reference = align.prepare(stars[0])
    found = [align.align(reference, s, light.source) for s, light in zip(stars, lights, strict=True)]
    return np.array([(t.dx_px, t.dy_px) for t in found]) if all(found) else None


def mean_of(frames: Iterable[Frame], integration: ImageIntegration) -> Frame:
    """Raw frames integrated in memory."""
    frames = list(frames)
    *_, done = integration(frames, maps=False)
    meta = frames[0].meta.with_(is_master=True, frames=len(frames))
    return ArrayFrame.of(done.result.image, f"{len(frames)} {PLURAL[meta.kind]}", meta)


def told(found) -> str:
    """How many defects of which kind, as words."""
    kinds = ", ".join(f"{count} {name}" for name, count in found.counts.items() if count)
    return f"{len(found)} defects ({kinds})" if kinds else "no defect"


def refuse_existing(path: Path, overwrite: bool, inputs: Iterable = ()) -> None:
    """Raise OutputError where a file exists and may not be replaced; none of the `inputs` ever is."""
    if any(Path(frame).resolve() == path.resolve() for frame in inputs):
        raise OutputError(f"{path} is one of the frames to work on; choose another name for the result")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; choose another name, or pass --overwrite")


def stem(source) -> str:
    """The name of a file without its folders and endings, `.fits.gz` and the like."""
    name = Path(source).name
    return name[: -len(end)] if (end := suffix(name, FORMATS)) else Path(name).stem
