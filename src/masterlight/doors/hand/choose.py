"""Subframes by hand: files are measured, approved and weighed; a table, a list, copies with their weights come out.

    *_, done = choose_files(SubframeSelector(approve="FWHM < 4"), ["lights"])
    done.result.column("FWHM")

What is made of a table of measured frames besides stands in `MADE`, a function for each slot of the verb.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from masterlight.core.errors import NothingUsable, OutputError, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.units.settle import sentences, settle
from masterlight.core.workers import Event, Events, each, executor
from masterlight.doors.hand.assemble import File, scan_settled, tell_rejected
from masterlight.io import atomic
from masterlight.night.products import check_file, check_out
from masterlight.session.groups import PLURAL
from masterlight.subframes.choice.table import Subframe, Subframes
from masterlight.subframes.looks.look import page_of, prints_of
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.select import SubframeSelector

STAGE = "subframes"
LOOKED_AT = "light", "unknown"
"""Kinds of frames that are measured."""
TABLES: dict[str, Callable[[Subframes], str]] = {
    ".csv": Subframes.to_csv, ".ecsv": Subframes.to_ecsv, ".json": Subframes.to_json,
}  # fmt: skip


def choose_files(
    select: SubframeSelector, files: Sequence[File], *, sort: str | None = None, overwrite: bool = False, **slots: Any
) -> Events[Subframes]:
    """Measure the lights among these files and folders, approve and weigh them; the last event's result is the table.

    sort: a column by which the table is sorted, the best first, or the worst with a minus before it; slots: names of
    `MADE`, and what shall be made: mostly the file to write. No file that exists is replaced unless `overwrite` says
    so, and that is told before the work.
    """
    wanted = {name: value for name, value in slots.items() if value}
    for name, value in wanted.items():
        if isinstance(value, (str, Path)) and name in FILES:
            check_name(name, Path(value), overwrite)
        elif name == "plots":
            check_folder(Path(value), overwrite)
    night = yield from measure_files(select, files)
    if sort:
        night = best_first(night, sort)
    for name, value in wanted.items():
        yield from MADE[name](night, value)
    yield Event("done", result=night)


def check_name(name: str, path: Path, overwrite: bool) -> None:
    """Raise before the work where a file cannot be written, or exists and may not be replaced."""
    check_file(path)
    if path.suffix.lower() not in FILES[name]:
        raise ParameterError(f"{name}= {path}: it is written as {' or '.join(FILES[name])}; let its name end so")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists; choose another name, or pass overwrite=True")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise before the work where plots cannot be written, or are there and may not be replaced."""
    check_out(folder)
    if not overwrite and (there := next((p for e in PRINTED for p in sorted(folder.glob(f"*{e}"))), None)):
        raise OutputError(f"{folder} has plots, such as {there.name}; choose another folder, or pass overwrite=True")


def measure_files(select: SubframeSelector, files: Sequence[File]) -> Events[Subframes]:
    """Measure the lights among files and folders, and approve and weigh them."""
    session = yield from scan_settled(STAGE, files)
    yield from tell_rejected(STAGE, session)
    frames, others = [f for f in session.frames if f.meta.kind in LOOKED_AT], Counter[str]()
    for frame in session.frames:
        if frame.meta.kind not in LOOKED_AT:
            others[PLURAL.get(frame.meta.kind, frame.meta.kind)] += 1
    if others:
        counted = ", ".join(f"{count} {kind}" for kind, count in others.items())
        yield Event(STAGE, message=f"not measured, since they are no lights: {counted}")
    if not frames:
        why = session.rejected[0] if session.rejected else "; ".join(session.passed) or "give lights, or their folder"
        raise NothingUsable(f"no light was found: {why}")
    frames, scales = settle(frames)
    for sentence in sentences(scales):
        yield Event(STAGE, message=sentence)
    measured: list[Subframe] = []
    with executor() as pool:
        for event in each("measure", pool, lambda frame: measured_frame(select, frame), frames, in_flight=pool[1]):
            one = event.result
            if isinstance(one, Rejected):  # its pixels cannot be read
                yield replace(event, message=f"rejected {one}")
                continue
            measured.append(one)
            yield replace(event, result=None)
    if not measured:
        raise NothingUsable("no light could be read; the reasons are above")
    places = {frame.source: i for i, frame in enumerate(frames)}
    night = select.table(sorted(measured, key=lambda one: places[one.source]))
    for note in night.units.notes:
        yield Event(STAGE, message=note)
    return night


def measured_frame(select: SubframeSelector, frame: Frame) -> Subframe:
    """One frame and what was measured of it; where nothing could be, why."""
    found = select.measure(frame)
    if isinstance(found, Rejected):
        return Subframe(frame.source, frame.meta, approved=False, reasons=(found.reason,))
    measurement, stars = replace(found[0], keywords=keywords_of(frame)), replace(found[1], peaks=None)
    return Subframe(frame.source, frame.meta, measurement, stars)


def best_first(night: Subframes, name: str) -> Subframes:
    """A table sorted by a column, the best first, from above where nothing is better; the other way round with a minus
    before the name."""
    from masterlight.subframes.formula.variables import property_named

    row = property_named(name.removeprefix("-"))
    high = row is not None and row.better == "high"
    return night.sorted_by(name.removeprefix("-"), descending=high != name.startswith("-"))


def write_table(night: Subframes, path: File) -> Events[None]:
    """The table as CSV, ECSV or JSON, as the name of the file ends."""
    yield from written(path, TABLES[Path(path).suffix.lower()](night))


def write_list(night: Subframes, path: File) -> Events[None]:
    """The list of the approved frames, which `@list.txt` gives to other verbs; beside the list by relative paths."""
    folder = os.path.realpath(Path(path).parent)
    lines = [f"# {len(night.approved)} of {len(night)} frames approved by masterlight subframes"]
    for frame in night.approved:
        place = os.path.realpath(frame.source)
        inside = place.startswith(os.path.join(folder, ""))
        lines.append(os.path.relpath(place, folder) if inside else os.path.abspath(frame.source))
    yield from written(path, "".join(f"{line}\n" for line in lines))


def write_page(night: Subframes, path: File) -> Events[None]:
    """The table as a page for the browser, with plots."""
    yield from written(path, page_of(night))


def write_plots(night: Subframes, folder: File) -> Events[None]:
    """Plots for papers, each as PNG and SVG."""
    prints, count = prints_of(night), 0
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
FILES = {"table": tuple(TABLES), "list": (".txt",), "page": (".html",)}
"""Slots that are files to write, and how their names may end."""
MADE: dict[str, Callable[[Subframes, Any], Events[None]]] = {
    "table": write_table, "list": write_list, "page": write_page, "plots": write_plots,
}  # fmt: skip
"""What is made of a table of measured frames, by slots of the verb: (table, what the slot says)."""
