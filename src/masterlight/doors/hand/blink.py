"""Frames one after the other, by hand: measured, laid on one of them, stretched alike, written as one file."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.calibration.trimmed import Trimmed
from masterlight.colour.debayer import Debayer
from masterlight.core.errors import MasterlightError, NothingUsable, Rejected
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.stretch import Stretch, block_px
from masterlight.core.units.settle import sentences, settle
from masterlight.core.workers import Event, Events, Pool, each, executor, keep_freed_memory
from masterlight.doors.hand.assemble import SKIES, File, nothing_in, scan_settled, tell_rejected
from masterlight.doors.hand.choose import check_columns, measure_frames
from masterlight.doors.hand.deep import place_of
from masterlight.doors.hand.film import Film, find_ffmpeg
from masterlight.io import atomic, suffix
from masterlight.night.placing.reference import promise_of
from masterlight.session.groups import PLURAL
from masterlight.session.words import how_many
from masterlight.subframes.choice.groups import groups_of
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.formula.variables import PROPERTIES
from masterlight.subframes.looks.slide import Slide
from masterlight.subframes.measurement import Measurement, StarList

STAGE = "blink"
KINDS = {".html": "page", ".htm": "page", ".gif": "gif", ".mp4": "film"}
"""What is written, by the end of its name."""
MOST_FIELDS = 4
"""How often frames that match no other are tried on the best among them."""
SHOWN = ("FWHM", "Eccentricity", "Stars", "Transparency", "Median", "Noise", "Weight")
"""Columns of the table that captions tell."""
KERNEL = "lanczos3"
"""Lays reduced pictures on the reference; bilinear would calm the sky of each frame as it happens to be shifted."""


@dataclass(frozen=True)
class Look:
    """How one frame is shown: its pixels that saw the sky, and where they lie on the reference."""

    frame: Frame
    left_px: int
    top_px: int
    """First pixel of the frame that saw the sky, on the grid of its stars."""
    noise_dn: float = 0.0
    transform: Transform | None = None
    anchor: int = -1
    """The number of the frame on which it is laid."""


def blink_files(
    process: Any, files: Sequence[File], path: Path, *, reference: File | None = None, fresh: bool = False
) -> Events[None]:
    """Write a page, a GIF or a film, by the name of `path`, of frames in the order of their paths: see `Blink`.

    reference: the frame on which all are laid, and as which they are stretched; left out, that with the most light and
    the sharpest, roundest stars; fresh: measure again what was measured before. The last event's result is (path, files
    that are not in it).
    """
    kind = KINDS[suffix(path, KINDS) or ".html"]
    ffmpeg = find_ffmpeg(path) if kind == "film" else ""
    session = yield from scan_settled(STAGE, files)
    yield from tell_rejected(STAGE, session)
    if not session.frames:
        raise NothingUsable(f"no image was found{nothing_in(files, session, 'frames')}")
    frames, scales = settle(session.frames)
    for sentence in sentences(scales):
        yield Event(STAGE, message=sentence)
    place_of(reference, frames)  # before the work
    keep_freed_memory()
    shown, night = yield from measure_lights(process, frames, fresh)
    named = place_of(reference, shown)
    with executor() as pool:
        looks, anchor = yield from lay_on(process, night, shown, named, pool)
        maker = partial(Film, process, ffmpeg=ffmpeg) if kind == "film" else partial(process.show, kind=kind)
        lost = yield from write_pictures(process, night, looks, anchor, path, kind, maker, pool)
    words = f"{path}: {how_many(len(shown) - len(lost), 'frame')}, {path.stat().st_size / 1e6:.1f} MB"
    yield Event("done", result=(path, [*session.rejected, *lost]), message=words)


def measure_lights(process: Any, frames: Sequence[Frame], fresh: bool) -> Events[tuple[list[Frame], Subframes]]:
    """The frames that can be shown and a table of them, in their order: lights are measured, if the process says so."""
    sky = [frame for frame in frames if process.measured and frame.meta.kind in SKIES]
    measured = Subframes(())
    if sky:
        check_columns(process.select, sky)
        measured = yield from measure_frames(process.select, sky, fresh)
    known = {frame.source: frame for frame in measured}
    lost = {frame.source for frame in sky} - known.keys()
    left = [frame for frame in frames if frame.source not in lost]
    table = tuple(known.get(frame.source) or Subframe(frame.source, frame.meta) for frame in left)
    return left, replace(measured, frames=table)


def best(night: Subframes, among: Sequence[int]) -> int:
    """The number of the frame that serves best as reference; the first where no stars tell."""
    known = {}
    for i in among:
        m = night[i].measurement
        told = m is not None and m.fwhm_px and m.eccentricity is not None and m.noise_dn > 0
        known[i] = promise_of(m, night[i].meta.binning[0]) if m is not None and told else -1.0
    return max(among, key=known.__getitem__)


def lay_on(
    process: Any, night: Subframes, frames: Sequence[Frame], named: int | None, pool: Pool
) -> Events[tuple[list[Look], int]]:
    """How each frame is shown, and the number of the reference: that of the field that most frames show.

    Frames that do not match the best of all are laid on the best of themselves, as those of another target.
    """
    looks, fields = [plain_look(frame) for frame in frames], list[tuple[int, list[int]]]()
    left = [i for i, one in enumerate(night) if one.stars is not None]
    if not (process.measured and process.registered):
        left = []
    align = StarAlignment()
    while left and len(fields) < MOST_FIELDS:
        anchor = named if named in left else best(night, left)
        stars = cast(StarList, night[anchor].stars)
        prepared, found = align.prepare(stars), {anchor: Transform.identity(stars.shape)}
        others = [i for i in left if i != anchor]
        for event in each("register", pool, lambda i, on=prepared: align.align(on, night[i].stars), others):
            if event.result:
                found[event.item] = event.result
            yield replace(event, result=None)
        for i, transform in found.items():
            noise_dn = cast(Measurement, night[i].measurement).noise_dn
            looks[i] = replace(looks[i], anchor=anchor, noise_dn=noise_dn, transform=transform)
        fields.append((anchor, list(found)))
        left = [i for i in left if i not in found]
    alone = sorted([i for _, members in fields if len(members) == 1 < len(night) for i in members] + left)
    for i in alone:
        looks[i] = plain_look(frames[i])
    fields = [(anchor, members) for anchor, members in fields if len(members) > 1]
    if len(fields) > 1:
        told = ", ".join(f"{len(members)} on {Path(night[anchor].source).name}" for anchor, members in fields)
        yield Event(STAGE, message=f"{len(fields)} fields, each laid on its best frame: {told}")
    if alone:
        words = f"{how_many(len(alone), 'frame')} of {len(night)} not matched with any other and shown as it lies"
        yield Event(STAGE, message=f"{words}: {Path(night[alone[0]].source).name}{' ...' * (len(alone) > 1)}")
    most = max(fields, key=lambda field: len(field[1]), default=None)
    return looks, named if named is not None else most[0] if most else best(night, range(len(night)))


def plain_look(frame: Frame) -> Look:
    """A frame without the pixels that saw no sky."""
    rows, cols = frame.shape[-2:]
    y0, y1, x0, x1 = frame.meta.data_px or (0, rows, 0, cols)
    return Look(Trimmed.of(frame, (y0, y1, x0, x1)), x0, y0)


class Pictures:
    """The small pictures of frames, on the grid of that of the reference where they were matched with it."""

    def __init__(self, process: Any, kind: str, looks: Sequence[Look]):
        self.process, self.kind, self.looks = process, kind, looks

    def __call__(self, i: int) -> np.ndarray:
        """(rows, cols) or (3, rows, cols) float32, NaN where nothing is known."""
        look = self.looks[i]
        small = self.process.reduce(self.coloured(look.frame), self.kind)
        if look.transform is None or look.transform.method == "identity":
            return small
        _, own = self.grid_of(look)
        (rows, cols), grid = self.grid_of(self.looks[look.anchor])
        there = Transform(np.linalg.inv(own)) @ look.transform @ Transform(grid)
        frame, noise_dn = ArrayFrame.of(small, look.frame.source), look.noise_dn / own[0, 0]
        shape = (*small.shape[:-2], rows, cols)
        return np.asarray(StarAlignment(interpolation=KERNEL).registered(frame, there, shape, noise_dn))

    def coloured(self, frame: Frame) -> Frame:
        """A mosaic in colour, by super-pixels where it is to be reduced anyway."""
        if not frame.meta.pattern:
            return frame
        large = block_px(frame.shape, self.process.long_side_px(self.kind)) > 1
        return Debayer(method="super-pixel" if large else "bilinear")(frame)

    def grid_of(self, look: Look) -> tuple[tuple[int, int], np.ndarray]:
        """Rows and columns of the small picture, and the matrix from its pixels to those of the frame's stars."""
        made = self.coloured(look.frame).shape[-2:]
        k = block_px(made, self.process.long_side_px(self.kind))
        px = k * round(look.frame.shape[-1] / made[-1])
        middle = (px - 1) / 2
        matrix = np.array([[px, 0, middle + look.left_px], [0, px, middle + look.top_px], [0, 0, 1]], float)
        return (made[0] // k, made[1] // k), matrix


def write_pictures(
    process: Any, night: Subframes, looks: Sequence[Look], anchor: int, path: Path, kind: str,
    maker: Callable[..., Any], pool: Pool,
) -> Events[list[Rejected]]:  # fmt: skip
    """Write the pictures as they are made; gives the frames that could not be read."""
    pictures, lost = Pictures(process, kind, looks), list[Rejected]()
    stretches = yield from group_stretches(process, night, pictures, anchor)
    with atomic(path) as file, maker(slides_of(process, night, looks, anchor), file, title_of(night, path)) as show:

        def task(i: int) -> Any:
            small = pictures(i)
            return show.pack(i, small, stretches[i] or process.stretches(small))

        for event in each(STAGE, pool, task, range(len(looks)), in_flight=pool[1] + 1):
            failed = isinstance(event.result, Rejected)
            if failed:
                lost.append(replace(event.result, source=night[event.item].source))
            show.add(event.item, None if failed else event.result)
            yield replace(event, result=lost[-1] if failed else None, message=f"rejected {lost[-1]}" if failed else "")
        if len(lost) == len(looks):
            raise NothingUsable(f"nothing was written: {lost[0]}")
    return lost


def group_stretches(
    process: Any, night: Subframes, pictures: Pictures, anchor: int
) -> Events[list[tuple[Stretch, ...] | None]]:
    """The stretch of each frame: that of the best of its group, target, filter and exposure; None for its own."""
    out: list[tuple[Stretch, ...] | None] = [None] * len(night)
    groups: dict[Any, list[int]] = {}
    for i, (group, frame) in enumerate(zip(groups_of(night), night, strict=True)):
        groups.setdefault((group, frame.meta.kind), []).append(i)
    for members in groups.values() if process.stretch == "reference" else ():
        first = anchor if anchor in members else best(night, members)
        for i in [first, *members]:
            with suppress(MasterlightError, OSError, ValueError):  # told when its turn comes
                found = process.stretches(pictures(i))
                out = [found if k in members else known for k, known in enumerate(out)]
                break
    if len(groups) > 1:
        names = (f"{'' if kind in SKIES else PLURAL[kind]} {group}".strip() for group, kind in groups)
        told = "; ".join(dict.fromkeys(names))
        yield Event(STAGE, message=f"{len(groups)} groups, each stretched as its best frame: {told}")
    if dark := [frame.source for frame, by in zip(night, out, strict=True) if is_black(frame, by)]:
        words = "with a sky darker than the black of the reference: stars alone are seen"
        yield Event(
            STAGE, message=f"{how_many(len(dark), 'frame')} {words}, such as {dark[0]}; Blink.stretch each lifts them"
        )
    return out


def is_black(frame: Subframe, by: Sequence[Stretch] | None) -> bool:
    """Whether the sky of a frame falls below what the stretch of another makes black."""
    return bool(by) and frame.measurement is not None and frame.measurement.location_dn < min(s.black for s in by or ())


def title_of(night: Subframes, path: Path) -> str:
    """What the page is called: after its target, filter and exposure where headers tell one, or after its file."""
    groups = list(dict.fromkeys(map(str, groups_of(night))))
    return groups[0] if len(groups) == 1 and night[0].meta.object else path.stem


def slides_of(process: Any, night: Subframes, looks: Sequence[Look], anchor: int) -> list[Slide]:
    """What is told of each frame."""
    columns = [(name, night.column(name), night.unit_of(name), PROPERTIES[name].form) for name in SHOWN]
    several = len(set(groups_of(night))) > 1
    asked = bool(process.select.approve) or not all(frame.approved for frame in night)
    slides = []
    for i, (frame, look) in enumerate(zip(night, looks, strict=True)):
        facts = [("", str(group), None)] if several and (group := groups_of([frame])[0]) else []
        facts += [("", frame.time.replace("T", " ")[:19], None)] if frame.time else []
        told = [(name, column[i], unit, form) for name, column, unit, form in columns if np.isfinite(column[i])]
        facts += [(name, f"{value:{form}} {unit}".strip(), float(value)) for name, value, unit, form in told]
        t, words = look.transform, [*frame.reasons, *(flag.words for flag in frame.flags)]
        if t is not None and t.method != "identity":
            turned = f", turned by {t.rotation_deg:.2f} deg" if abs(t.rotation_deg) > 0.05 else ""
            facts.append(("Shift", f"{t.dx_px:+.1f} {t.dy_px:+.1f} px{turned}", float(np.hypot(t.dx_px, t.dy_px))))
        elif t is None and frame.stars is not None and process.registered and len(night) > 1:
            words.append("not matched with any other frame, shown as it lies")
        verdict = False if not frame.approved else True if asked and frame.measurement else None
        slides.append(Slide(os.path.abspath(frame.source), tuple(facts), verdict, "; ".join(words), i == anchor))
    return slides
