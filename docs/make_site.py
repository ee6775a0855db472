"""What `make docs` adds to the pages of this folder: the API reference, made from the code, and the pages of the root.

A hook of mkdocs (see mkdocs.yml). A process is shown with a table of its knobs, from the one declaration that its
flags and its lines of TOML come from; everything else as its docstrings tell it.
"""

import importlib
import inspect
import re
import typing
from pathlib import Path

import masterlight as ml
from masterlight.core.process import knobs

ROOT = Path(__file__).parents[1]
OF_THE_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
CHAPTERS = {
    "night": ("The night", ("night", "session"), ("Report", "Plan", "Session")),
    "frames": (
        "Frames and files",
        ("core.frame", "core.workers", "core.errors", "io"),
        ("Rejected", "MasterlightError"),
    ),
    "calibration": ("Calibration", ("calibration",), ("Overscan", "Masters")),
    "defects": ("Defects", ("defects",), ("Defects",)),
    "colour": ("Colour", ("colour",), ()),
    "subframes": (
        "Subframes",
        ("subframes", "doors.hand.choose"),
        ("Measurement", "StarList", "Subframe", "Subframes", "Units"),
    ),
    "alignment": ("Alignment", ("alignment",), ("Transform", "Reference")),
    "integration": ("Integration", ("integration",), ("LargeScaleRejection", "Stack", "FrameRow", "Verdicts")),
    "drizzle": ("Drizzle", ("drizzle",), ()),
    "doctor": ("Doctor", ("doctor",), ("Doctor", "Finding")),
    "processes": ("Processes", ("processes", "core.process"), ()),
    "simulation": ("Simulation", ("simulate",), ("Observatory", "Truth")),
}
"""By page: its title, the rooms whose public names it shows, and what else of these rooms one gets into one's hands."""


def on_files(files, config):
    """Add the pages that are not files of this folder."""
    from mkdocs.structure.files import File

    for page, source in OF_THE_ROOT.items():
        text = (ROOT / source).read_text().replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    pages = {name: chapter_page(*chapter) for name, chapter in CHAPTERS.items()}
    for name, text in (pages | {"index": index_page()}).items():
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def index_page() -> str:
    """What there is, a line for each public name."""
    lines = ["# API reference", "", "`import masterlight as ml`. Everything public is a name of the package:", ""]
    for page, (title, rooms, _) in CHAPTERS.items():
        lines += [f"## [{title}]({page}.md)", "", "| name | what it is |", "| --- | --- |"]
        for name, place in public(rooms).items():
            lines.append(f"| [`ml.{name}`][{place}] | {first_line(public_value(name))} |")
        lines.append("")
    return "\n".join(lines)


def chapter_page(title: str, rooms: tuple[str, ...], others: tuple[str, ...]) -> str:
    """The public names of some rooms, the processes inside of these, then what they give and take."""
    places = list(public(rooms).values())
    places += [place for place in processes() if place not in places and is_in(place, rooms)]
    places += [place for name in others if (place := defined(name, rooms)) not in places]
    return "\n".join([f"# {title}", "", *map(entry, places)])


def public(rooms: tuple[str, ...]) -> dict[str, str]:
    """Public names that live in some rooms, and where: `{"Debayer": "masterlight.colour.debayer.Debayer"}`."""
    found = {name: public_value(name) for name in ml.__all__}
    return {
        name: place_of(value)
        for name, value in found.items()
        if hasattr(value, "__qualname__") and is_in(place_of(value), rooms)
    }


def processes() -> list[str]:
    """Where every public process stands, and every one inside of these."""
    found = [cls for cls in map(public_value, ml.__all__) if is_process(cls)]
    for cls in found:  # grows while it is walked
        inside = dict.fromkeys(inner for inner in fields_of(cls).values() if is_process(inner))
        found += [inner for inner in inside if inner not in found]
    return [place_of(cls) for cls in found]


def public_value(name: str):
    """What a public name is; `simulate` is a chapter as well, and the function of that name in it."""
    value = getattr(ml, name)
    return getattr(value, name) if inspect.ismodule(value) else value


def place_of(value) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def value_at(place: str):
    """The class or function of a dotted name."""
    module, _, name = place.rpartition(".")
    return getattr(importlib.import_module(module), name)


def is_in(place: str, rooms: tuple[str, ...]) -> bool:
    return any(f"{place}.".startswith(f"masterlight.{room}.") for room in rooms)


def is_process(value) -> bool:
    return hasattr(value, "__pydantic_fields__")


def fields_of(cls) -> dict:
    """The fields of a process and their types, without bounds; none of anything else."""
    hints = typing.get_type_hints(cls) if is_process(cls) else {}
    return {name: hint for name, hint in hints.items() if name in cls.__pydantic_fields__}


def defined(name: str, rooms: tuple[str, ...]) -> str:
    """Where a class stands in some rooms."""
    for path in sorted((ROOT / "src" / "masterlight").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if any(f"{module}.".startswith(f"masterlight.{room}.") for room in rooms):
            if re.search(rf"^class {name}\b", path.read_text(), re.MULTILINE):
                return f"{module}.{name}"
    raise LookupError(f"make_site.py: there is no class {name} in {', '.join(rooms)}")


def entry(place: str) -> str:
    """One name: for a process the table of its knobs before its methods, else all that its docstrings tell."""
    value = value_at(place)
    if not is_process(value):
        return f"::: {place}\n"
    methods = [name for name, held in vars(value).items() if is_method(name, held)]
    more = [f"::: {place}.{name}\n    options: {{heading_level: 3}}\n" for name in methods]
    return "\n".join([f"::: {place}\n    options: {{members: false}}\n", knob_table(value), "", *more])


def is_method(name: str, held) -> bool:
    """Whether a user calls it: no inner business, nothing that every process has."""
    callable_ = inspect.isfunction(held) or isinstance(held, (classmethod, property))
    return name == "__call__" or (callable_ and not name.startswith("_"))


def knob_table(cls: type) -> str:
    """Every parameter of a process with what it does, what is allowed, its unit and its default."""
    lines = ["| knob | what it does | allowed | default |", "| --- | --- | --- | --- |"]
    own = {knob.path: knob for knob in knobs(cls)}
    for name, inner in fields_of(cls).items():
        if is_process(inner):
            lines.append(f"| `{name}` | {first_line(inner)} | [`{inner.__name__}`][{place_of(inner)}] | |")
        else:
            knob = own[name]
            lines.append(f"| `{name}` | {cell(knob.help)}{when(knob)} | {allowed(knob)} | `{cell(knob.usual)}` |")
    return "\n".join(lines)


def when(knob) -> str:
    """For what it is, where it does something only beside certain values of others."""
    words = [" or ".join(mark.words(prefix) for mark in marks) for prefix, marks in knob.when]
    return f" *With {cell('; '.join(words))}.*" if words else ""


def allowed(knob) -> str:
    """Choices, or range and unit."""
    if knob.choices:
        return ", ".join(f"`{cell(word) or 'none'}`" for word in knob.choices)
    return " ".join(part for part in (knob.range, knob.unit) if part) or kind(knob.type)


def kind(annotation) -> str:
    """A type as a reader calls it."""
    plain = {bool: "yes or no", str: "text", int: "whole number", float: "number"}
    named = [
        words for type_, words in plain.items() if type_ is annotation or type_ in getattr(annotation, "__args__", ())
    ]
    return named[0] if named else ""


def cell(text: str) -> str:
    """Words as they stand in a table: on one line, no star taken for emphasis."""
    return " ".join(re.sub(r"([|*])", r"\\\1", text).split())


def first_line(value) -> str:
    """The first sentence that its docstring tells, in one line."""
    words = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return cell(re.split(r"(?<=\.) ", words)[0])
