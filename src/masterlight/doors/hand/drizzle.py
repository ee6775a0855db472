"""Frames with their transforms, as `align` told them, into one image: integrated, or dropped onto a finer grid.

They are calibrated frames, not registered ones: nothing is resampled twice, and what is done to them is what a run
does to its lights.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masterlight.alignment.canvas import Canvas
from masterlight.alignment.transform import Transform
from masterlight.alignment.written import from_dict
from masterlight.core.errors import FrameError, NothingUsable, ParameterError, Rejected
from masterlight.core.process import card, replay, with_values
from masterlight.core.together import by_time
from masterlight.core.units.settle import KNOB, sentences, settle_mixed
from masterlight.core.workers import Event, Events
from masterlight.doors.hand.align import KIND, LIST
from masterlight.doors.hand.assemble import File, nothing_in, scan_settled
from masterlight.doors.hand.handed import known_of, light_from
from masterlight.drizzle.stack import DrizzleStack
from masterlight.integration.stack import Stack
from masterlight.io import read
from masterlight.io.handed import read_handed
from masterlight.io.plain import open_regular, reading
from masterlight.night.lights.first_pass import measure_each
from masterlight.night.lights.light import Light
from masterlight.night.placing.reference import level_of
from masterlight.night.products import save
from masterlight.night.recipe import Recipe
from masterlight.night.report import MasterRow, by_frame
from masterlight.night.run import Run
from masterlight.night.walk import (
    drop_lights,
    fill_stack,
    light_keywords,
    stack_lights,
    write_drizzled,
)
from masterlight.session.found.search import search
from masterlight.session.plan import LightJob, LightSet, Plan

MOST_BYTES, MOST_PIXELS = 1 << 28, 1 << 34
KNOBS = {"StarAlignment": "align", "Debayer": "debayer", "SubframeSelector": "select"}
"""Processes by which frames were laid on each other, and what a recipe calls them."""
HOW = "give the transforms.json or the registered frames of `masterlight align`"
Place = tuple[Transform, tuple[Transform, ...], tuple[Transform, ...]]
"""The transform of a frame, those of its planes if they go each their way, and those of the colours of its mosaic."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where frames lie on a reference."""

    source: str
    """The file that tells it."""
    reference: str
    """Path of the reference."""
    shape: tuple[int, int]
    """Its rows and columns."""
    known: Mapping[str, Place] = field(default_factory=dict)
    """By the path of a frame."""
    canvas: Canvas | None = None
    """The pixels of the result, where these are not those of the reference."""
    cards: tuple[str, ...] = ()
    """The processes that found them."""

    def of(self, source: str) -> Place | None:
        """Where a frame lies, by its path or, if it was moved, by its name; None if nobody knows."""
        path = os.path.realpath(source)
        if path in self.known:
            return self.known[path]
        named = [one for known, one in self.known.items() if Path(known).name == Path(source).name]
        return named[0] if len(named) == 1 else None

    def is_reference(self, source: str) -> bool:
        """Whether a frame is the one on which the others lie, by its path or, if that is gone, by its name."""
        moved = not os.path.exists(self.reference) and Path(source).name == Path(self.reference).name
        return moved or os.path.realpath(source) == self.reference

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with the processes by which these frames were laid on each other."""
        found = [replay(one) for one in self.cards]
        return with_values(recipe, **{KNOBS[type(one).__name__]: one for one in found if type(one).__name__ in KNOBS})


def drizzle_files(recipe: Recipe, files: Sequence[File], path: Path, *, transforms: File) -> Events[None]:
    """Drizzle calibrated files whose transforms a list or registered files tell, with the weights and the rejection of
    an integration of them. The last event's result is the row of the result, and the frames that were left out."""
    recipe = with_values(recipe, drizzled=True)
    yield from laid_files(recipe, files, path, transforms, None)


def laid_files(
    recipe: Recipe, files: Sequence[File], path: Path, transforms: File, reference: File | None
) -> Events[None]:
    """Integrate calibrated files by their transforms, and write what came of them; drizzled where the recipe says so.

    reference: the file whose level and scale the result has, by default a clear one with little noise and gradient.
    """
    places = read_places(transforms)
    recipe = places.recipe(recipe)
    session = yield from scan_settled("integrate", files)
    session, handed = known_of(session)
    if not session.frames:
        raise NothingUsable(f"no image was found{nothing_in(files, session)}")
    frames, scales = settle_mixed(session.frames, recipe.calibrate.units, KNOB)
    frames = sorted(frames, key=by_time)
    part = LightSet(tuple(frames), None, None, None, "C = L")
    plan = Plan(session.name, (), (), (LightJob(None, None, (part,)),), (), (), ())
    with Run.open(plan, path.parent, recipe) as run:
        for rejected in session.rejected:
            yield run.reject(rejected)
        for sentence in sentences(scales):
            yield run.note("integrate", sentence)
        lights = [light_from(recipe, frame, handed[frame.source]) for frame in frames]
        lights = yield from placed(run, lights, places)
        recipe.integrate.rejection.check(len(lights))
        lights = yield from measure_each(run, lights)
        if not lights:
            raise NothingUsable("none of the files can be integrated; the reasons are above")
        anchor = anchor_of(run.recipe, lights, places)
        named = named_among(lights, reference)
        level = named or level_of(lights, anchor)
        stack, lights, at, cards = yield from stack_lights(run, lights, anchor, level, named=named is not None)
        if stack is None:
            raise NothingUsable("no frame could be read to its end; nothing was written")
        yield from write_laid(run, path, stack, lights, lights[at], anchor, cards)


def placed(run: Run, lights: list[Light], places: Places) -> Events[list[Light]]:
    """The lights of which it is known where they lie, with that; the others are rejected."""
    out = []
    for light in lights:
        if (place := places.of(light.source)) is None:
            words = f"{Path(places.source).name} does not tell where it lies: align it with the others, or leave it out"
            yield run.reject(Rejected(light.source, "align", words))
            continue
        light.transform, light.plane_transforms, light.site_transforms = place
        light.canvas = places.canvas
        out.append(light)
    if not out:
        raise NothingUsable(f"{places.source} tells of none of these files; {HOW} that were made of them")
    return out


def anchor_of(recipe: Recipe, lights: Sequence[Light], places: Places) -> Light:
    """The light on whose grid the others lie, which need not be among them; FrameError where its size changed."""
    found = next((light for light in lights if places.is_reference(light.source)), None)
    if found is None:
        found = light_from(recipe, read(places.reference), read_handed(places.reference))
    if tuple(found.view.shape[-2:]) != places.shape:
        sizes = (f"{cols} x {rows}" for rows, cols in (found.view.shape[-2:], places.shape))
        words = "is {} pixels, and was {} when frames were aligned on it: align them anew".format(*sizes)
        raise FrameError(found.source, words)
    found.canvas = places.canvas
    return found


def named_among(lights: Sequence[Light], reference: File | None) -> Light | None:
    """The light that the user named by path or name; ParameterError where it is none of them."""
    if reference is None:
        return None
    same = [light for light in lights if os.path.realpath(light.source) == os.path.realpath(reference)]
    same += [light for light in lights if Path(reference).name in (Path(light.source).name, Path(light.source).stem)]
    if not same:
        raise ParameterError(f"reference= {reference} is not among the frames that can be used")
    return same[0]


def write_laid(
    run: Run, path: Path, stack: Stack, lights: list[Light], reference: Light, anchor: Light, cards: tuple[str, ...]
) -> Events[None]:
    """Write the stack of lights, or where they shall be drizzled only what comes of that."""
    yield from fill_stack(run, stack)
    for lost in stack.lost:
        yield run.reject(lost)
    gone = {lost.source for lost in stack.lost}
    used = [light for light in lights if light.source not in gone]
    keywords = light_keywords(used, reference, anchor)
    made: Stack | DrizzleStack = stack
    if run.recipe.drizzled:
        made = yield from drop_lights(run, used, stack, anchor)
        yield from write_drizzled(run, path, made, used, anchor, keywords)
    else:
        for note in save(path, stack, keywords, (*cards, card(run.recipe.integrate)), run.recipe):
            yield run.note("integrate", note)
    row = MasterRow.of("light", reference.view.meta.filter, path, made, reference=reference.source)
    for part in by_frame(stack):
        words = f"weight {part.weight:.3f}, scale {part.scale:.4f}, noise {part.noise_dn:.3g} DN"
        yield Event("integrate", message=f"{Path(part.source).name}: {words}", detail=True)
    yield Event("integrate", message=f"reference: {Path(reference.source).name}, on {Path(anchor.source).name}")
    yield Event("done", result=(row, run.report.rejected), message=row.sentence())


# --- where frames lie, as files tell it -------------------------------------------------------------------------------


def read_places(path: File) -> Places:
    """Where frames lie, from a list that `align` wrote, a registered file or a folder of them, or of folders of lists:
    nights one after the other on one reference.

    FrameError for what tells nothing of it, or of more than one reference.
    """
    path = Path(path)
    listed = path / LIST if path.is_dir() else path
    if not os.path.exists(path):
        raise FrameError(path, f"there is no such file; {HOW}")
    if path.is_dir() and not listed.exists() and (lists := sorted(path.glob(f"*/{LIST}"))):
        return joined(path, [read_places(one) for one in lists])
    if path.is_dir() and not listed.exists():
        return joined(path, [of_header(image) for image in search([os.fspath(path)]).images])
    if listed.suffix.lower() != ".json":
        return joined(path, [of_header(path)])
    with reading(os.fspath(listed)), open_regular(os.fspath(listed)) as file:
        content = file.read(MOST_BYTES)
    return parsed(content.decode("utf-8", "replace"), listed)


def of_header(path: File) -> Places:
    """Where the frame of a registered file lies, by the table beside its image."""
    words = read_handed(path).words.get("TRANSFORM")
    if not words:
        raise FrameError(path, f"tells no transform; {HOW}")
    return parsed(words, Path(path))


def joined(path: Path, several: Sequence[Places]) -> Places:
    """The places of several files as one; FrameError where they are on more than one reference, or none is there."""
    if not several:
        raise FrameError(path, f"holds no registered frame; {HOW}")
    first, known = several[0], dict[str, Place]()
    for one in several:
        if (one.reference, one.shape, one.canvas) != (first.reference, first.shape, first.canvas):
            names = f"{Path(one.reference).name}, that of {Path(first.source).name} on {Path(first.reference).name}"
            raise FrameError(one.source, f"its transform is on {names}: align all of them on one reference")
        known |= one.known
    return Places(str(path), first.reference, first.shape, known, first.canvas, first.cards)


def parsed(words: str, path: Path) -> Places:
    """The places that a text tells; FrameError where it is none of ours or damaged."""
    try:
        told = json.loads(words)
        if not isinstance(told, dict) or told.get("kind") != KIND:
            raise ValueError("it is no list of transforms")
        rows, cols = (int(n) for n in told["reference"]["shape"])
        known = {path_of(row["file"], path): place_of(row) for row in told["frames"]}
        cards = tuple(json.dumps(one) for one in told.get("process", ()))
        reference = path_of(told["reference"]["file"], path)
        return Places(str(path), reference, (rows, cols), known, canvas_of(told, (rows, cols)), cards)
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        words = f"cannot be used as a list of transforms ({why[:120]}): make it anew with `masterlight align`"
        raise FrameError(path, words) from None


def place_of(row: Mapping[str, Any]) -> Place:
    """Where one frame lies, of plain data."""
    planes, sites = (tuple(map(from_dict, row.get(name, ()))) for name in ("planes", "sites"))
    return from_dict(row["transform"]), planes, sites


def canvas_of(told: Mapping[str, Any], reference: tuple[int, int]) -> Canvas | None:
    """The pixels of the result, None where they are those of the reference."""
    (rows, cols), (x, y) = (map(int, told["canvas"][name]) for name in ("shape", "origin_px"))
    if min(rows, cols) < 1 or rows * cols > MOST_PIXELS:
        raise ValueError("the canvas is of no possible size")
    return None if ((rows, cols), (x, y)) == (reference, (0, 0)) else Canvas((rows, cols), (x, y))


def path_of(told: Any, beside: Path) -> str:
    """The path of a file that is told from the folder of the list."""
    if not isinstance(told, str) or "\0" in told:
        raise ValueError("the name of a file is missing")
    return os.path.realpath(beside.parent / told)
