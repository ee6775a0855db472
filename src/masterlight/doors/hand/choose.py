"""Subframes by hand: files are measured, approved and weighed; a table, a list, copies with their weights come out.

    *_, done = choose_files(SubframeSelector(approve="FWHM < 4"), ["lights"])
    done.result.column("FWHM")

What is made of a table of measured frames besides stands in `MADE`, a function for each slot of the verb.
"""

import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from masterlight.alignment.overlaid import places_of
from masterlight.core.errors import NothingUsable, OutputError, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import card
from masterlight.core.units.settle import sentences, settle
from masterlight.core.workers import Event, Events, each, executor
from masterlight.doors.foretold import check_together, kernel_of, tell_forecast
from masterlight.doors.hand.assemble import File, nothing_in, scan_settled, skies_alone, tell_rejected
from masterlight.doors.hand.copies import STAGE, check_keyword, copy_paths, write_copies
from masterlight.doors.hand.measured import FOLDER, measure_kept
from masterlight.io import Kept, atomic
from masterlight.night.products import check_file, check_out
from masterlight.session.found.copies import without_copies
from masterlight.session.found.listed import line_of, lists_among
from masterlight.session.found.suitable import unsuitable
from masterlight.subframes.choice.health import examined, grave_flags
from masterlight.subframes.choice.outlook import weighed_together, with_prices
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.choice.verdict import apart_fields, apart_words, kinds_words
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.variables import PROPERTIES, keyword_names, property_named
from masterlight.subframes.looks.look import check_prints, page_of, prints_of
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.measurement import HEALTH_FIELDS, SKY_FIELDS
from masterlight.subframes.select import SubframeSelector

TABLES: dict[str, Callable[[Subframes], str]] = {
    ".csv": Subframes.to_csv, ".ecsv": Subframes.to_ecsv, ".json": Subframes.to_json,
}  # fmt: skip


class Below(NamedTuple):
    """What is printed below the table on a screen."""

    text: str


def choose_files(
    select: SubframeSelector, files: Sequence[File], *, out: File | None = None, sort: str | None = None,
    keyword: str = "SSWEIGHT", prefix: str = "", postfix: str = "_a", keep: Sequence[str] = (),
    leave_out: Sequence[str] = (), fresh: bool = False, overwrite: bool = False, weights: str | None = None,
    give: float | str | None = None, **slots: File | bool | None,
) -> Events[Subframes]:  # fmt: skip
    """Measure the lights among these files and folders, approve and weigh them; the last event's result is the table.

    out: folder for copies of the approved, their weight under `keyword`, called prefix + name + postfix; sort: a column
    by which the table is sorted, the best first, or the worst with a minus before it; keep, leave_out: names of files
    that are approved or not by hand, whatever the formulas say; fresh: measure anew what is known from before, too;
    weights: point, noise or sharp, made of all approved frames together as in `ImageIntegration`, and give: the percent
    of depth that sharp gives away; slots: names of `MADE` and what shall be made, mostly the file to write. No file
    that exists is replaced unless `overwrite` says so, which is told before the work.
    """
    wanted = {name: value for name, value in slots.items() if value}
    if unknown := wanted.keys() - MADE.keys():
        raise ParameterError(f"subframes takes no {' and no '.join(sorted(unknown))}")
    for name, value in wanted.items():
        if name in FILES:
            check_name(name, Path(str(value)), overwrite)
        elif name == "plots":
            check_folder(Path(str(value)), overwrite)
    given = check_together(select, weights, give, "forecast" in wanted)
    frames = yield from open_lights(files)
    check_columns(select, frames, sort)
    if "explain" in wanted:
        check_explained(select, frames, str(wanted["explain"]))
    marked(Subframes(tuple(Subframe(frame.source) for frame in frames)), keep, leave_out)  # names are told at once
    copies = {}
    if out is not None:
        check_keyword(keyword, frames)
        copies = copy_paths(frames, Path(out), prefix, postfix, overwrite)
    night = yield from measure_frames(select, frames, fresh)
    refuse_unmeasured(night)
    if keep or leave_out:
        night = select.choose(night.with_frames(marked(night, keep, leave_out)))
    night = weighed_together(night, weights, given) if weights else night
    night = with_prices(night, night.forecast()) if "forecast" in wanted else night
    weighed = night.where(lambda frame: frame.weight is not None)
    for words in (*kinds_words(night), *apart_words(weighed)):
        yield Event(STAGE, message=words)
    night = best_first(night, sort) if sort else night
    for name, value in wanted.items():
        if text := (yield from MADE[name](night, given if name == "forecast" else value)):
            yield Event(STAGE, result=Below(text))
    if out is not None:
        told = [card(select), *([f"weights {weights}{f', give {given:g}' * (weights == 'sharp')}"] if weights else [])]
        yield from write_copies(night, frames, copies, keyword.upper(), told)
    yield Event("done", result=night)
    return night


def refuse_unmeasured(night: Subframes) -> None:
    """Raise where nothing could be measured of any frame."""
    if all(frame.measurement is None for frame in night):
        first = f"{night[0].source}: {night[0].reasons[0]}" if night[0].reasons else night[0].source
        more = f" (and {len(night) - 1} more)" if len(night) > 1 else ""
        raise NothingUsable(f"no frame could be measured: {first}{more}")


def check_name(name: str, path: Path, overwrite: bool) -> None:
    """Raise before the work where a file cannot be written, or exists and may not be replaced."""
    check_file(path)
    if path.suffix.lower() not in FILES[name]:
        raise ParameterError(f"{name}= {path}: it is written as {' or '.join(FILES[name])}; let its name end so")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists; choose another name, or pass overwrite=True")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise before the work where plots cannot be made or written, or are there and may not be replaced."""
    check_prints()
    try:
        check_out(folder)
    except OutputError as error:
        raise OutputError(str(error).replace("(out=)", "(plots=)")) from None
    if not overwrite and (there := next((p for e in PRINTED for p in sorted(folder.glob(f"*{e}"))), None)):
        raise OutputError(f"{folder} has plots, such as {there.name}; choose another folder, or pass overwrite=True")


def open_lights(files: Sequence[File]) -> Events[list[Frame]]:
    """The lights among files and folders, opened and in DN; what was left aside is told."""
    session = yield from scan_settled(STAGE, files)
    yield from tell_rejected(STAGE, session)
    frames = list((yield from skies_alone(STAGE, session)).frames)
    if not frames:
        raise NothingUsable(f"no light was found{nothing_in(files, session)}")
    settled, scales = settle(frames)
    for sentence in (*sentences(scales), *warnings(settled)):
        yield Event(STAGE, message=sentence)
    return settled


def warnings(frames: Sequence[Frame]) -> Iterator[str]:
    """What makes figures of some frames tell less than they seem to."""
    registered = [frame.source for frame in frames if "registered" in frame.meta.stages]
    if registered:
        words = (
            "registered: what interpolation made of their noise and stars is measured; give them as they were before"
        )
        yield f"{len(registered)} of {len(frames)} frames are {words} ({registered[0]})"
    if further := [frame.source for frame in frames if frame.meta.unused_images]:
        yield f"{len(further)} of {len(frames)} files hold further images, which are not measured ({further[0]})"


def measure_frames(select: SubframeSelector, frames: Sequence[Frame], fresh: bool = False) -> Events[Subframes]:
    """Measure lights that were opened, in DN, all but those that are known from before, and approve and weigh them.

    fresh: measure those too. Lights whose pixels cannot be read are told, and are not in the table; stacks among them,
    whose figures tell nothing beside those of single exposures, and second copies are not measured.
    """
    reasons = strangers(frames)
    measured = {f.source: without(f, reasons[f.source]) for f in frames if f.source in reasons}
    subs = [frame for frame in frames if frame.source not in reasons]
    with executor() as pool, Kept(FOLDER, fresh) as kept:
        for event in each("measure", pool, partial(measured_frame, kept, select), subs, in_flight=pool[1]):
            one = event.result
            if isinstance(one, Rejected):
                yield replace(event, message=f"rejected {one}")
                continue
            measured[one.source] = one
            yield replace(event, result=None)
    if kept.recalled:
        words = f"known from before, since the files are unchanged: {kept.recalled} of {len(subs)} frames"
        yield Event(STAGE, message=f"{words}; fresh=True measures them anew")
    if kept.trouble:
        yield Event(STAGE, message=kept.trouble)
    if not measured:
        raise NothingUsable("no light could be read; the reasons are above")
    every = Subframes(tuple(measured[frame.source] for frame in frames if frame.source in measured))
    night = select.table(examined(every, places_of))
    for note in (*night.units.notes, *apart_fields(night)):
        yield Event(STAGE, message=note)
    if (grave := grave_flags(night)) and select.flags == "tell":
        yield Event(STAGE, message=f"{grave}: told, not left out; SubframeSelector.flags reject leaves them out")
    return night


def strangers(frames: Sequence[Frame]) -> dict[str, str]:
    """Why some frames are not measured among these, by their sources."""
    single = [frame for frame in frames if not frame.meta.is_master] or frames
    stacks = {id(frame) for frame in frames} - {id(frame) for frame in single}
    words = "it {}, no single exposure as the others"
    reasons = {frame.source: words.format(unsuitable(frame.meta)) for frame in frames if id(frame) in stacks}
    return reasons | {copy.source: f"it {copy.reason}" for copy in without_copies(single)[1]}


def measured_frame(kept: Kept, select: SubframeSelector, frame: Frame) -> Subframe:
    """One frame and what was measured of it; where nothing could be, why."""
    found = measure_kept(kept, select, frame, wanted=(*SKY_FIELDS, *HEALTH_FIELDS))
    if isinstance(found, Rejected):
        return without(frame, found.reason)
    return Subframe(frame.source, frame.meta, found[0], found[1], keywords=keywords_of(frame))


def columns_asked(select: SubframeSelector, sort: str | None = None) -> list[str]:
    """The columns that the formulas and the sorting ask for."""
    names = [name for text in (select.approve, select.weight) if text for name in Expression(text).names]
    return list(dict.fromkeys([*names, *([sort.removeprefix("-")] if sort else [])]))


def check_columns(select: SubframeSelector, frames: Sequence[Frame], sort: str | None = None) -> None:
    """Raise before the work where a formula or the sorting asks for what no frame can have."""
    if all(property_named(name) for name in columns_asked(select, sort)):
        return  # all that is asked is measured: no header need be looked at
    headers = [keywords_of(frame) for frame in frames]
    blind = Subframes(tuple(Subframe(f.source, keywords=h) for f, h in zip(frames, headers, strict=True)))
    known = [*PROPERTIES, *(name for header in headers for name in keyword_names(header))]
    for knob in ("approve", "weight"):
        if text := getattr(select, knob):
            Expression(text).check(known, f"SubframeSelector.{knob}")
    if sort:
        best_first(blind, sort)


def check_explained(select: SubframeSelector, frames: Sequence[Frame], name: str) -> None:
    """Raise before the work where nothing can be explained."""
    if not (select.approve or select.weight):
        raise ParameterError("explain= tells of formulas: give SubframeSelector.approve or SubframeSelector.weight")
    if not any(is_called(frame.source, name) for frame in frames):
        raise ParameterError(f"explain= {name}: {none_called(name, [frame.source for frame in frames])}")


def without(frame: Frame, reason: str) -> Subframe:
    """A frame of which nothing was measured, and why."""
    return Subframe(frame.source, frame.meta, approved=False, reasons=(reason,), keywords=keywords_of(frame))


def best_first(night: Subframes, name: str) -> Subframes:
    """A table sorted by a column, the best first, from below where nothing is better; the other way round with a minus
    before the name."""
    row = property_named(name.removeprefix("-"))
    high = row is not None and row.better == "high"
    return night.sorted_by(name.removeprefix("-"), descending=high != name.startswith("-"))


def marked(night: Subframes, keep: Sequence[str], leave_out: Sequence[str]) -> list[Subframe]:
    """The frames with verdicts by hand: names or paths of files, patterns, or lists of them (`@marks.txt`).

    ParameterError for one that fits none.
    """
    verdicts: dict[str, bool] = {}
    for approved, given in ((True, keep), (False, leave_out)):
        listed = lists_among(given)
        for name in (*listed.roots, *listed.files):
            found = [frame.source for frame in night if is_called(frame.source, name)]
            if not found:
                knob = "keep" if approved else "leave_out"
                raise ParameterError(f"{knob}= {name}: {none_called(name, [frame.source for frame in night])}")
            verdicts |= dict.fromkeys(found, approved)
    return [frame.mark(verdicts[frame.source]) if frame.source in verdicts else frame for frame in night]


def is_called(source: str, name: str) -> bool:
    """Whether a file is meant by a path, a name, a name without its ending, or a pattern."""
    path = Path(source)
    same = os.path.realpath(source) == os.path.realpath(name)
    return same or name in (path.name, path.stem) or fnmatch(source, name) or fnmatch(path.name, name)


def none_called(name: str, sources: Sequence[str]) -> str:
    """That no frame has this name, and what was probably meant."""
    among = [Path(source).name for source in sources]
    part = next((each for each in among if name.strip("*") and name.strip("*") in each), None)
    near = difflib.get_close_matches(name, among, 1, 0.8)
    todo = f"; is it {near[0]}?" if near else f"; a part of a name is written '*{name.strip('*')}*'" if part else ""
    return f"none of the frames is called so{todo}"


def explain_frames(night: Subframes, name: str) -> Events[str]:
    """How frames of this name come to their verdict and weight, as text."""
    yield from ()
    told = [(frame.source, night.explained(i)) for i, frame in enumerate(night) if is_called(frame.source, name)]
    return "\n\n".join("\n".join([Path(source).name, *(f"  {line}" for line in lines)]) for source, lines in told)


def write_table(night: Subframes, path: File) -> Events[None]:
    """The table as CSV, ECSV or JSON, as the name of the file ends."""
    yield from written(path, TABLES[Path(path).suffix.lower()](night))


def write_list(night: Subframes, path: File) -> Events[None]:
    """The list of the approved frames, which `@list.txt` gives to other verbs; beside the list by relative paths."""
    if not night.approved:
        yield Event(STAGE, message=f"no frame is approved, so {path} names none")
    folder = os.path.realpath(Path(path).parent)
    lines = [f"# {len(night.approved)} of {len(night)} frames approved by masterlight subframes"]
    for frame in night.approved:
        place = os.path.realpath(frame.source)
        inside = place.startswith(os.path.join(folder, ""))
        lines.append(line_of(os.path.relpath(place, folder)) if inside else os.path.abspath(frame.source))
    yield from written(path, "".join(f"{line}\n" for line in lines))


def write_page(night: Subframes, path: File) -> Events[None]:
    """The table as a page for the browser, with plots."""
    yield from written(path, page_of(night, kernel_of(night)))


def write_plots(night: Subframes, folder: File) -> Events[None]:
    """Plots for papers, each as PNG and SVG."""
    prints, count = prints_of(night, kernel_of(night)), 0
    os.makedirs(folder, exist_ok=True)
    for name, figure in prints:
        for ending in PRINTED:
            with atomic(Path(folder) / f"{name}{ending}") as file:
                figure.savefig(file, format=ending[1:])
        count += 1
    yield Event(STAGE, message=f"written: {count} plots in {folder}")


def written(path: File, text: str) -> Events[None]:
    """Write a text whole, and say so."""
    with atomic(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    yield Event(STAGE, message=f"written: {path}")


PRINTED = ".png", ".svg"
FILES: dict[str, tuple[str, ...]] = {"table": tuple(TABLES), "list": (".txt",), "page": (".html",)}
"""Slots that are files to write, and how their names may end."""
MADE: dict[str, Callable[[Subframes, Any], Events[Any]]] = {
    "explain": explain_frames, "table": write_table, "list": write_list, "page": write_page, "plots": write_plots,
    "forecast": tell_forecast,
}  # fmt: skip
"""What is made of a table of measured frames, by slots of the verb: (table, what the slot says); a text that comes back
is printed below the table."""
