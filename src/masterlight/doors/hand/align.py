"""Frames laid on one reference by their stars, by hand: registered files, or only a list of where each frame lies."""

import json
import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from masterlight import __version__
from masterlight.alignment.canvas import share_within
from masterlight.alignment.comet.motion import Motion
from masterlight.alignment.written import to_dict
from masterlight.core.errors import NothingUsable, OutputError, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import card, with_values
from masterlight.core.together import by_time
from masterlight.core.units.settle import KNOB, sentences, settle_mixed
from masterlight.core.workers import Event, Events, each
from masterlight.doors.hand.assemble import File, nothing_in, scan_settled, skies_alone
from masterlight.doors.hand.handed import known_of, light_from
from masterlight.doors.sheet import names_of, told_apart
from masterlight.io import FORMATS, atomic, header_cards, read, suffix
from masterlight.io.handed import Handed, write_handing
from masterlight.io.whole import make_folder
from masterlight.night.comet.moving import check_places, comet_keywords, find_motion, moved, time_of
from masterlight.night.lights.first_pass import leave_doubled, measure_each
from masterlight.night.lights.light import Light, debayer_of, leave_struck
from masterlight.night.placing.laying import lay_finely, lay_on_one
from masterlight.night.products import check_out, untaken
from masterlight.night.recipe import Recipe
from masterlight.night.run import Run
from masterlight.session.found.copies import without_copies
from masterlight.session.plan import LightJob, LightSet, Plan
from masterlight.session.targets.apart import sensor_of

STAGE, LIST, KIND = "align", "transforms.json", "masterlight transforms"
ENDING, ON_COMET = "_r", "_ca"
"""What is added to the names of frames that are registered by their stars, and on a comet."""
CODES = {"measure": "NO_STARS", "align": "NOT_SIGNIFICANT", "doctor": "DOUBLED", "plan": "DUPLICATE"}
"""What failed in a stage whose failures have no code of their own; elsewhere it is the file itself: CORRUPT."""
ON_FAILURE = "continue", "stop"
CELLS = 200
"""Parts of a side of the reference, of each of which is asked whether a frame covers it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Laid:
    """How one frame lies on the reference: a row of the table."""

    source: str
    model: str
    matched: int
    """Stars that both have and that agree."""
    rms_px: float
    corner_error_px: float
    """Expected, of the transform in the corners; nan where nobody knows."""
    dx_px: float
    """Shift of the middle of the image."""
    dy_px: float
    rotation_deg: float
    scale: float
    mirrored: bool
    overlap: float
    """Share of the reference that the frame covers."""
    is_reference: bool = False

    @classmethod
    def of(cls, light: Light, reference: Light) -> "Laid":
        t = light.transform
        shift = t.shift_px(light.view.shape)
        numbers = t.matched, t.rms_px, t.corner_error_px, *shift, t.rotation_deg, t.scale, t.mirrored
        return cls(light.source, t.model, *numbers, overlap_of(light, reference), light is reference)


@dataclass(frozen=True)
class Alignment:
    """What came of frames that were laid on a reference."""

    reference: str
    rows: tuple[Laid, ...]
    failed: tuple[Rejected, ...]
    paths: tuple[Path, ...]
    """Files that were written, the list of transforms last."""


class Opened(NamedTuple):
    """Frames to lay on each other."""

    frames: list[Frame]
    handed: Mapping[str, Handed]
    lost: list[Rejected]
    reference: Frame | None
    """The one that the user named."""
    outside: bool = False
    """Whether that is none of the frames which the user gave, and only they are to be laid on it."""


def overlap_of(light: Light, reference: Light) -> float:
    """The share of the reference that a light covers."""
    (rows, cols), (high, wide) = reference.view.shape[-2:], light.view.shape[-2:]
    x, y = ((np.arange(CELLS) + 0.5) * size / CELLS - 0.5 for size in (cols, rows))
    at = light.transform(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    return float(((at >= -0.5) & (at <= (wide - 0.5, high - 0.5))).all(axis=1).mean())


def align_files(
    recipe: Recipe, files: Sequence[File], folder: Path, *, reference: File | None = None,
    transforms_only: bool = False, on_failure: str | None = None, overwrite: bool = False,
) -> Events[None]:  # fmt: skip
    """Lay frames on one of them, or on `reference`, by their stars; write each on its grid, and the list of transforms.

    transforms_only: write the list alone, by which `integrate` and `drizzle` take the frames as they are; on_failure:
    stop where a frame cannot be laid there, and write nothing. With places or a rate of a comet (`recipe.comet`) they
    lie where that stands still, interpolated once. The last event's result is the `Alignment`.
    """
    if (on_failure or "continue") not in ON_FAILURE:
        raise ParameterError(f"on_failure= is {on_failure}: give continue or stop")
    check_out(folder)
    given = yield from opened_frames(recipe, files, reference)
    check_places(recipe.comet, [frame.source for frame in given.frames])
    part = LightSet(tuple(given.frames), None, None, None, "C = L")
    plan = Plan("", (), (), (LightJob(None, None, (part,)),), (), (), ())
    ending = ON_COMET if recipe.comet.is_asked else ENDING
    paths = output_paths(given, folder, ending, transforms_only, overwrite or recipe.overwrite)
    with Run.open(plan, folder, recipe) as run:
        lost: list[Rejected] = []
        lights, anchor = yield from keeping(lay_frames(run, given), lost)
        lights, motion = yield from keeping(lay_on_comet(run, lights, anchor), lost)
        failed = [coded(one) for one in lost]
        if on_failure == "stop" and failed:
            raise NothingUsable(f"{failed[0].code} {failed[0]}; nothing was written, since on_failure= is stop")
        if not lights:
            why = f": {failed[0].code} {failed[0]}" if failed else ""
            raise NothingUsable(f"no frame lies on {Path(anchor.source).name}; nothing was written{why}")
        rows = tuple(Laid.of(light, anchor) for light in lights)
        told = document(anchor, lights, failed, recipe, folder) | document_of(motion)
        make_folder(folder)
        if not transforms_only:
            yield from keeping(write_lights(run, lights, anchor, paths, told, motion), lost)
        write_places(folder / LIST, told)
        yield Event(STAGE, message=counted(rows, failed))
        written = [path for path in paths.values() if path.exists()] if not transforms_only else []
        result = Alignment(anchor.source, rows, tuple(map(coded, lost)), (*written, folder / LIST))
        yield Event("done", result=result, message=f"written: {', '.join(map(str, result.paths[-1:]))}")


def keeping(events: Generator[Event, None, T], lost: list[Rejected]) -> Generator[Event, None, T]:
    """Events as they come; what they tell to be lost is kept."""
    while True:
        try:
            event = next(events)
        except StopIteration as done:
            value: T = done.value
            return value
        if isinstance(event.result, Rejected):
            lost.append(event.result)
        yield event


def opened_frames(recipe: Recipe, files: Sequence[File], reference: File | None) -> Events[Opened]:
    """The frames to lay on each other, the reference among them, in order of their time; copies are left out."""
    session = yield from scan_settled(STAGE, files)
    named = None if reference is None else os.path.realpath(reference)
    outside = named is not None and all(os.path.realpath(frame.source) != named for frame in session.frames)
    if outside:
        session = replace(session, frames=(*session.frames, read(str(reference))))
    session, handed = known_of(session)
    skies = yield from skies_alone(STAGE, session, keep=named)
    if len(skies.frames) <= outside:
        raise NothingUsable(f"there is nothing to align{nothing_in(files, session)}")
    frames, scales = settle_mixed(skies.frames, recipe.calibrate.units, KNOB)
    for sentence in sentences(scales):
        yield Event(STAGE, message=sentence)
    anchor = next((frame for frame in frames if os.path.realpath(frame.source) == named), None)
    kept, copies = without_copies(frames)
    if anchor is not None and anchor not in kept:
        kept, copies = [*kept, anchor], [one for one in copies if one.source != anchor.source]
    kept.sort(key=by_time)
    return Opened(kept, handed, [*session.rejected, *copies], anchor, outside)


def lay_frames(run: Run, given: Opened) -> Events[tuple[list[Light], Light]]:
    """The lights that lie on the reference, with their transforms, and the reference itself."""
    for one in given.lost:
        yield run.reject(one)
    lights = [light_from(run.recipe, frame, given.handed[frame.source]) for frame in given.frames]
    if given.reference is not None:
        run.recipe = with_values(run.recipe, reference=given.reference.source)
    lights = yield from measure_each(run, lights)
    named = next((one for one in lights if given.reference is not None and one.raw is given.reference), None)
    if given.reference is not None and named is None:
        raise NothingUsable(f"{given.reference.source} cannot be the reference, since it shows too few stars")
    sound = yield from leave_doubled(run, lights)
    lights = sound if named is None or named in sound else [*sound, named]
    if not lights:
        raise NothingUsable("no frame shows stars by which it could be laid on others; the reasons are above")
    outside = named if given.outside else None
    field, left = yield from lay_on_one(run, [one for one in lights if one is not outside], beside=outside)
    for lost in left.values():
        yield run.reject(lost)
    if not field.lights:
        return [], field.reference
    (field,) = yield from lay_finely(run, [field])
    laid = []
    for light in field.lights:
        if share_within(light.transform, light.view.shape[-2:], field.canvas) > 0:
            laid.append(light)
        else:
            words = "lies wholly outside of the result, no pixel of which it covers: StarAlignment.frame union shows it"
            yield run.reject(Rejected(light.source, STAGE, words, "NO_OVERLAP"))
    return laid, field.reference


def lay_on_comet(run: Run, lights: list[Light], anchor: Light) -> Events[tuple[list[Light], Motion | None]]:
    """The lights as they lie where a comet stands still, if the user told of one, and how it moves."""
    if not run.recipe.comet.is_asked or not lights:
        return lights, None
    motion = yield from find_motion(run, lights, anchor)
    if motion is None:
        raise NothingUsable("how the comet moves cannot be told, for the reason above; nothing was written")
    still = []
    for light in lights:
        if (when := time_of(light)) is not None:
            still.append(moved(light, motion.shift(when)))
        else:
            words = "has no time (DATE-OBS), so that nobody knows where the comet is in it"
            yield run.reject(Rejected(light.source, "comet", words, "NO_TIME"))
    return still, motion


def coded(lost: Rejected) -> Rejected:
    """A frame that failed, with the code of its failure."""
    return lost if lost.code else replace(lost, code=CODES.get(lost.stage, "CORRUPT"))


def counted(rows: Sequence[Laid], failed: Sequence[Rejected]) -> str:
    """How many frames were registered and how many not, by their codes."""
    words = f"registered {len(rows)} of {len(rows) + len(failed)}"
    codes = Counter(one.code for one in failed)
    told = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
    return f"{words}, failed {len(failed)}: {told}" if failed else words


# --- what is written --------------------------------------------------------------------------------------------------


def output_paths(given: Opened, folder: Path, ending: str, transforms_only: bool, overwrite: bool) -> dict[str, Path]:
    """Where each frame is written; OutputError where something is there that may not be replaced."""
    paths: dict[str, Path] = {}
    for frame in given.frames:
        name = Path(frame.source).name
        stem = name[: -len(end)] if (end := suffix(name, FORMATS)) else Path(name).stem
        paths[frame.source] = untaken(folder, stem, f"{ending}.fits", paths.values())
    inputs = {os.path.realpath(frame.source) for frame in given.frames}
    for path in (folder / LIST, *(() if transforms_only else paths.values())):
        if os.path.realpath(path) in inputs:
            raise OutputError(f"{path} is one of the frames to work on; choose another folder for the result")
        if os.path.lexists(path) and not overwrite:
            raise OutputError(f"{path} exists; choose another folder, or pass overwrite=True")
    return paths


def write_lights(
    run: Run, lights: list[Light], anchor: Light, paths: Mapping[str, Path], told: Mapping[str, Any],
    motion: Motion | None,
) -> Events[None]:  # fmt: skip
    """Write each light on the grid of the reference; one that cannot be read is rejected."""
    shape = anchor.result_shape
    debayer = debayer_of(run.recipe)
    leave_struck(lights, shape, debayer)
    rows = {row["file"]: row for row in told["frames"]}
    on_comet = {name: value for name, value, _ in comet_keywords(motion)} if motion else {}
    apart = len({sensor_of(light.raw.meta) for light in lights}) > 1

    def task(light: Light) -> None:
        path = paths[light.source]
        frame = light.register(run.recipe.align, shape)
        pixels = np.asarray(frame)
        seen = light.statistics(light is anchor, frame, debayer)
        noise = [(one.noise_dn, one.pixel_noise_dn or one.noise_dn, one.correlation or 1.0) for one in seen]
        own = json.dumps({**told, "frames": [rows[relative(light.source, path.parent)]], "failed": []})
        handed = Handed().with_(NOISE=noise, TRANSFORM=own, SATURATION_DN=light.saturation_dn)
        if len(seen) == 1 or not apart:  # else each plane has its own, which the registered files tell
            handed = handed.with_(FLUX=seen[0].flux_ratio, REFERENCE=relative(anchor.source, path.parent))
        handed = handed.with_(GAIN_E_PER_DN=seen[0].gain_e_per_dn)
        cards = header_cards(frame) | header_of(light, anchor, pixels, noise) | on_comet
        write_handing(path, pixels, cards, frame.cards, handed, False)

    for event in each("write", run.pool, task, lights):
        lost = isinstance(event.result, Rejected)
        words = f"rejected {event.result}" if lost else str(paths[event.item.source])
        yield replace(event, item=event.item.source, message=words, detail=not lost)


def header_of(light: Light, anchor: Light, pixels: np.ndarray, noise: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    """What the header of a registered frame tells people about how it lies."""
    row = Laid.of(light, anchor)
    told = {
        "REGREF": Path(anchor.source).name, "REGMODEL": row.model, "REGSTARS": row.matched, "REGRMS": row.rms_px,
        "REGCORN": row.corner_error_px, "REGDX": row.dx_px, "REGDY": row.dy_px, "REGROT": row.rotation_deg,
        "REGSCALE": row.scale, "REGMIRR": row.mirrored, "REGOVER": row.overlap,
        "REGCOVER": float(np.isfinite(pixels).mean()), "NOISECOR": float(np.mean([one[2] for one in noise])),
    }  # fmt: skip
    return {
        key: round(value, 6) if isinstance(value, float) else value for key, value in told.items() if value == value
    }


def document(
    reference: Light, lights: Sequence[Light], failed: Sequence[Rejected], recipe: Recipe, folder: Path
) -> dict[str, Any]:
    """All that is known of where lights lie, as plain data; paths are told from the folder."""
    cards = [card(one) for one in (recipe.align, recipe.debayer, recipe.select)]
    origin = reference.canvas.origin_px if reference.canvas else (0, 0)
    return {
        "kind": KIND, "version": __version__, "process": [json.loads(one) for one in cards],
        "reference": {"file": relative(reference.source, folder), "shape": whole(reference.view.shape[-2:])},
        "canvas": {"shape": whole(reference.result_shape), "origin_px": whole(origin)},
        "frames": [place_of(light, folder) for light in lights],
        "failed": [{"file": relative(one.source, folder), "code": one.code, "reason": one.reason} for one in failed],
    }  # fmt: skip


def document_of(motion: Motion | None) -> dict[str, Any]:
    """How a comet moves over the reference, as plain data: its place in px as a polynomial of hours since a time."""
    if motion is None:
        return {}
    terms = [list(term) if np.isfinite(term).all() else None for term in motion.terms]  # of a rate alone no place
    return {"comet": {"epoch_s": motion.epoch_s, "measured": motion.measured, "terms_px": terms}}


def whole(numbers: Sequence[int]) -> list[int]:
    return [int(n) for n in numbers]


def place_of(light: Light, folder: Path) -> dict[str, Any]:
    """Where one light lies, as plain data."""
    told = {"file": relative(light.source, folder), "transform": to_dict(light.transform)}
    each = {"planes": light.plane_transforms, "sites": light.site_transforms}
    return told | {name: [to_dict(one) for one in own] for name, own in each.items() if own}


def write_places(path: Path, told: Mapping[str, Any]) -> None:
    """Write what `document` made."""
    with atomic(path) as file:
        file.write(json.dumps(told, indent=1).encode())


def relative(source: str, folder: Path) -> str:
    """The path of a file from a folder, with / between its parts."""
    return Path(os.path.relpath(os.path.realpath(source), os.path.realpath(folder))).as_posix()


# --- the table --------------------------------------------------------------------------------------------------------


def table_of(found: Alignment, width: int = 80) -> list[str]:
    """The table of an alignment as lines of a terminal of this width, and the frames that failed below it."""
    heads = "model", "stars", "rms", "corner", "dx", "dy", "turn", "scale", "over"
    cells = [heads, *map(cells_of, found.rows)]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    figures = [
        " ".join([f"{row[0]:{wide[0]}}", *(f"{cell:>{size}}" for cell, size in zip(row[1:], wide[1:], strict=True))])
        for row in cells
    ]
    names = names_of([row.source for row in found.rows])
    room = max(12, min(max(map(len, names)), width - 1 - len(figures[0])))
    lines = [f"{name:{room}} {row}" for name, row in zip(["frame", *told_apart(names, room)], figures, strict=True)]
    lines.append("rms, corner (expected error), dx, dy (of the middle): px; over: common part")
    if any(row.mirrored for row in found.rows):
        lines.append("M: mirrored")
    return lines + [f"failed  {one.code}: {Path(one.source).name}" for one in found.failed]


def cells_of(row: Laid) -> tuple[str, ...]:
    """One row of the table, after the name."""
    turn = f"{row.rotation_deg:.1f}M" if row.mirrored else f"{row.rotation_deg:.2f}"
    return (
        "reference" if row.is_reference else row.model, f"{row.matched}", f"{row.rms_px:.2f}",
        f"{row.corner_error_px:.3f}" if row.corner_error_px == row.corner_error_px else "-", f"{row.dx_px:.1f}",
        f"{row.dy_px:.1f}", turn, f"{row.scale:.4f}", f"{row.overlap:.0%}",
    )  # fmt: skip
