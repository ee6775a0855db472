"""`@process`: a frozen, documented set of parameters that does one thing to a frame or a set of frames.

From the one declaration come the Python signature and what `help` says, the command-line flags (`knobs`), the saved
process icon (`to_toml`, `from_toml`), the provenance card in a header (`card`, `replay`) and the cache key.

A process is light to import: what it does stands in an engine, which `engine` opens when the process is called.
"""

import enum
import functools
import importlib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticUndefined

from masterlight.core.errors import ParameterError

_REGISTRY: dict[str, type] = {}


T = typing.TypeVar("T")
UNITS = {
    "e_per_dn": "e-/DN", "mb": "MB", "px": "px", "dn": "DN", "e": "e-", "s": "s", "c": "°C", "deg": "degrees",
    "um": "um", "mm": "mm", "fraction": "fraction",
}  # fmt: skip
"""Units by the last word of a knob's name."""


@dataclass(frozen=True)
class Unit:
    """The unit of a knob whose name does not end in it: `low: Annotated[float, Field(gt=0), Unit("sigma")] = 4.0`."""

    name: str


class When:
    """When a knob does something: `Annotated[float, When(algorithm="esd")]`, `When(algorithm=("sigma", "mad"))`.

    Names are those of the same process, `rejection__normalization` of one inside it. True stands for whatever is
    switched on or given. Several marks on one knob: any of them will do; all values of one mark: all must hold.
    """

    def __init__(self, **values: Any):
        self.values = {
            name.replace("__", "."): value if isinstance(value, tuple) else (value,) for name, value in values.items()
        }

    def holds(self, value: Any, prefix: str = "") -> bool:
        """Whether it holds in this process, the names being told from `prefix` on."""
        return all(matches(value_at(value, prefix + name), allowed) for name, allowed in self.values.items())

    def words(self, prefix: str) -> str:
        """What must be set, in words: `algorithm sigma or mad`."""
        told = [f"{prefix}{name} {' or '.join(map(word_of, allowed))}" for name, allowed in self.values.items()]
        return " and ".join(told)


def matches(value: Any, allowed: tuple) -> bool:
    return any((value is not None and value is not False) if one is True else value == one for one in allowed)


def word_of(value: Any) -> str:
    """A value as a sentence calls it."""
    return "off" if value is None or value is False else "on" if value is True else str(value)


def value_at(value: Any, path: str) -> Any:
    """The value of a knob by its dotted path."""
    return functools.reduce(getattr, path.split("."), value)


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def process(cls: type[T]) -> type[T]:
    """Make `cls` a process: frozen, keyword-only, unknown names forbidden, a docstring under each field."""
    config = ConfigDict(extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=False)
    made: Any = pydantic_dataclass(cls, frozen=True, kw_only=True, config=config)
    _REGISTRY[made.__name__] = made
    checked = made.__init__

    @functools.wraps(checked)
    def __init__(self, **values):
        try:
            checked(self, **values)
        except ValidationError as error:
            raise ParameterError("; ".join(sentence(made, e) for e in error.errors())) from None
        refuse_idle(self, [name for name in values if getattr(self, name) != usual_of(made, name)])

    made.__init__ = __init__
    made.__doc__ = Explained(made.__doc__ or "")
    return made


class Explained:
    """The docstring of a process: what its author wrote, then every knob, made when somebody asks for help."""

    def __init__(self, words: str):
        self.words = words

    def __get__(self, instance: Any, cls: type) -> str:
        told = [f"{knob.path} : {knob.facts}\n    {knob.help}" for knob in knobs(cls)]
        head = self.words.rstrip()
        return "\n".join([head, "", "Parameters", "----------", *told]) if told else head


def summary_of(cls: type) -> str:
    """The first line of what a process's author wrote about it."""
    held = vars(cls).get("__doc__") or ""
    return (held.words if isinstance(held, Explained) else held).strip().partition("\n")[0]


def engine(name: str) -> Any:
    """The module in which a process is carried out, opened when it is called: `engine("integration.engine")`."""
    return importlib.import_module(f"masterlight.{name}")


def changed(value: T, **changes: Any) -> T:
    """A process with some values changed; one that thereby does nothing any more stays as it is, unlike when given."""
    return TypeAdapter(type(value)).validate_python({f.name: getattr(value, f.name) for f in fields(value)} | changes)


@dataclass(frozen=True)
class Knob:
    """One parameter, as a door shows it: dotted path, type, default, help, choices if they are few, bounds, unit."""

    path: str
    type: Any
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    """Whether the minimum itself is too little."""
    below: bool = False
    """Whether the maximum itself is too much."""
    unit: str = ""
    when: tuple[tuple[str, tuple[When, ...]], ...] = ()
    """When it does something: all of these, each with the path that its names begin with; of each, any mark will do."""

    @property
    def optional(self) -> bool:
        return type(None) in typing.get_args(self.type)

    @property
    def range(self) -> str:
        """What is allowed, in words: `above 0 to 50`, `0 to below 1`, `at least 3`; empty for anything."""
        low = "" if self.minimum is None else f"{'above ' if self.above else ''}{self.minimum:g}"
        high = "" if self.maximum is None else f"{'below ' if self.below else ''}{self.maximum:g}"
        if low and high:
            return f"{low} to {high}"
        if low:
            return low if self.above else f"at least {low}"
        return (high if self.below else f"at most {high}") if high else ""

    @property
    def usual(self) -> str:
        """The default in words."""
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default)) or "none"
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return "off" if self.default is None else str(self.default) or "none"

    @property
    def facts(self) -> str:
        """Choices or range and unit, then the default: `above 0 to 50 sigma [4]`."""
        words = " | ".join(word or "none" for word in self.choices) or " ".join(w for w in (self.range, self.unit) if w)
        return f"{words} [{self.usual}]".strip()

    def idle(self, value: Any) -> str:
        """Why this knob does nothing in a process of these values, as a sentence; empty when it does something."""
        for prefix, marks in self.when:
            if not any(mark.holds(value, prefix) for mark in marks):
                needed = " or ".join(mark.words(prefix) for mark in marks)
                names = dict.fromkeys(
                    prefix + name
                    for mark in marks
                    for name, allowed in mark.values.items()
                    if not matches(value_at(value, prefix + name), allowed)
                )
                told = " and ".join(f"{name} {word_of(value_at(value, name))}" for name in names)
                return f"{self.path} does nothing with {told}; it is for {needed}"
        return ""


def knobs(cls: type, prefix: str = "", usual: Any = None, when: tuple = ()) -> Iterator[Knob]:
    """Every parameter of a process, those of the processes inside it included, in order of declaration.

    Defaults are those of `usual`, an instance, if there is one: the process that contains this one may have its own.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    for name, info in cls.__pydantic_fields__.items():
        bare, rules = unwrapped(hints[name])
        default = getattr(usual, name) if usual is not None else usual_of(cls, name)
        marks = tuple(rule for rule in rules if isinstance(rule, When))
        active = (*when, (prefix, marks)) if marks else when
        if is_dataclass(bare):
            yield from knobs(bare, f"{prefix}{name}.", default, active)
            continue
        limits = {k: getattr(rule, k) for rule in rules for k in ("ge", "gt", "le", "lt") if hasattr(rule, k)}
        limits = {k: v for k, v in limits.items() if v is not None}
        unit = next((rule.name for rule in rules if isinstance(rule, Unit)), None)
        yield Knob(
            path=prefix + name,
            type=bare,
            default=default,
            help=" ".join((info.description or "").split()),
            choices=choices(bare),
            minimum=limits.get("ge", limits.get("gt")),
            maximum=limits.get("le", limits.get("lt")),
            above="gt" in limits,
            below="lt" in limits,
            unit=unit_of(name) if unit is None else unit,
            when=active,
        )


def usual_of(cls: type, name: str) -> Any:
    """The default of a field; None where it has none."""
    default = cls.__pydantic_fields__[name].default
    return None if default is PydanticUndefined else default


def unit_of(name: str) -> str:
    return next((unit for ending, unit in UNITS.items() if f"_{name}".endswith(f"_{ending}")), "")


def unwrapped(annotation) -> tuple[Any, list]:
    """A type without its `Annotated` wrappings, and the rules and marks that were in these."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [unwrapped(part) for part in typing.get_args(annotation)]
        return typing.Union[tuple(part[0] for part in parts)], [r for part in parts for r in part[1]]  # noqa: UP007
    if not hasattr(annotation, "__metadata__"):
        return annotation, []
    bare, inner = unwrapped(typing.get_args(annotation)[0])
    return bare, inner + [rule for mark in annotation.__metadata__ for rule in getattr(mark, "metadata", [mark])]


def idle_knobs(value: Any, names: Iterable[str] | None = None) -> Iterator[str]:
    """Sentences on knobs that were changed, or of these names, and do nothing beside the others' values."""
    for knob in knobs(type(value)):
        own = value_at(value, knob.path) != knob.default if names is None else knob.path in names
        if own and (why := knob.idle(value)):
            yield why


def refuse_idle(value: Any, names: Iterable[str]) -> None:
    """Raise ParameterError for a knob, or a process inside, that was given and does nothing beside the others."""
    given = set(names)
    for knob in knobs(type(value)) if given else ():
        if (given & {knob.path, knob.path.partition(".")[0]}) and value_at(value, knob.path) != knob.default:
            if why := knob.idle(value):
                raise ParameterError(why)


def choices(annotation) -> tuple[str, ...]:
    """The words a parameter may be, for `Literal` and for unions that contain one."""
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(str(a) for a in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(c for a in typing.get_args(annotation) for c in choices(a))
    return ()


def build(cls: type[T], values: Mapping[str, Any], base: T | None = None) -> T:
    """Make a process from dotted names: `build(ImageIntegration, {"rejection.low": 3})`, the rest as in `base`.

    Raises ParameterError for a wrong name or value, and for a value that does nothing beside the others.
    """
    tree = plain(base) if base is not None else {}
    for path, value in values.items():
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    made = validate(cls, tree)
    for why in idle_knobs(made, set(values)):
        raise ParameterError(why)
    return made


def validate(cls: type[T], tree: Mapping[str, Any]) -> T:
    """Make `cls` from a nested mapping; a wrong name or value is told as `path: what is wrong`."""
    try:
        return TypeAdapter(cls).validate_python(switched_off(cls, tree))
    except ValidationError as error:
        raise ParameterError("; ".join(sentence(cls, e) for e in error.errors())) from None


def switched_off(cls: type, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with the word "off" of optional parameters made None: TOML has no word for nothing."""
    optional = {knob.path for knob in knobs(cls) if knob.optional}

    def walk(node, prefix):
        if isinstance(node, Mapping):
            return {name: walk(value, f"{prefix}.{name}".lstrip(".")) for name, value in node.items()}
        return None if node == "off" and prefix in optional else node

    return walk(tree, "")


def sentence(cls: type, error: Mapping[str, Any]) -> str:
    """One validation error as a sentence: the parameter's path, what was given, what is allowed."""
    path = ".".join(str(p) for p in error["loc"])
    if isinstance(cause := error.get("ctx", {}).get("error"), ParameterError):
        return f"{path}.{cause}".lstrip(".")
    known = {k.path: k for k in knobs(cls)}
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        from difflib import get_close_matches

        near = get_close_matches(path, known, 3, 0.4)
        return f"{path} is not a parameter of {cls.__name__}" + (f"; did you mean {' or '.join(near)}?" if near else "")
    given = "" if error["type"] == "missing" else f" (given: {error['input']!r})"
    return f"{path}: {error['msg'][:1].lower()}{error['msg'][1:]}{given}"


def plain(value: Any) -> Any:
    """A process as nested plain values: what goes into TOML, JSON and cache keys."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value


def card(value: Any, **extra: Any) -> str:
    """One line that says which process was applied, with every parameter: `{"ImageCalibration": {...}}`."""
    return json.dumps({type(value).__name__: plain(value), **extra}, sort_keys=True, default=str)


def replay(text: str) -> Any:
    """The process that a card tells of, equal to the one that wrote it."""
    entries = json.loads(text)
    for name, tree in entries.items():
        if name in _REGISTRY:
            return validate(_REGISTRY[name], tree)
    raise ParameterError(f"card names no known process: {', '.join(entries)}; known: {', '.join(sorted(_REGISTRY))}")


def to_toml(value: Any) -> str:
    """A process as a TOML document that a person can edit: each parameter under its own explanation."""
    import tomlkit

    document = tomlkit.document()
    if summary := summary_of(type(value)):
        document.add(tomlkit.comment(summary))
    fill(document, value)
    return tomlkit.dumps(document)


def fill(table, value: Any) -> None:
    """Write the fields of `value` into a TOML table; what is switched off is "off", or a comment if that is usual."""
    import tomlkit

    nested = []
    for name, info in type(value).__pydantic_fields__.items():
        item = getattr(value, name)
        if is_dataclass(item):
            nested.append((name, item))
            continue
        words = " ".join((info.description or "").split())
        if words:
            table.add(tomlkit.comment(words))
        if item is None and info.default is None:
            table.add(tomlkit.comment(f"{name} ="))
        else:
            table.add(name, "off" if item is None else plain(item))
    for name, item in nested:
        inner = tomlkit.table()
        fill(inner, item)
        table.add(name, inner)


def from_toml(cls: type[T], text: str, source: str = "the recipe") -> T:
    """The process that a TOML document describes; what it does not mention keeps its default."""
    try:
        return validate(cls, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"{source} is not valid TOML: {error}") from None


__all__ = [
    "Knob", "Unit", "When", "build", "card", "changed", "engine", "from_toml", "idle_knobs", "knobs", "plain",
    "process", "replay", "summary_of", "to_toml", "validate",
]  # fmt: skip
