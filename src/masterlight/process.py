"""`@process`: a frozen, documented set of parameters that does one thing to a frame or a set of frames.

From the one declaration come the Python signature, the command-line flags (`knobs`), the saved process
icon (`to_toml`, `from_toml`), the provenance card in a header (`card`, `replay`) and the cache key.
"""

import enum
import functools
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticUndefined

from masterlight.errors import ParameterError

_REGISTRY: dict[str, type] = {}


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def process(cls):
    """Make `cls` a process: frozen, keyword-only, unknown names forbidden, a docstring under each field."""
    config = ConfigDict(extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=False)
    made = pydantic_dataclass(cls, frozen=True, kw_only=True, config=config)
    _REGISTRY[made.__name__] = made
    checked = made.__init__

    @functools.wraps(checked)
    def __init__(self, **values):
        try:
            checked(self, **values)
        except ValidationError as error:
            raise ParameterError("; ".join(sentence(made, e) for e in error.errors())) from None

    made.__init__ = __init__
    return made


@dataclass(frozen=True)
class Knob:
    """One parameter, as a door shows it: dotted path, type, default, help, and the choices if they are few."""

    path: str
    type: Any
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def optional(self) -> bool:
        return type(None) in typing.get_args(self.type)


def knobs(cls: type, prefix: str = "", usual: Any = None) -> Iterator[Knob]:
    """Every parameter of a process, those of the processes inside it included, in order of declaration.

    Defaults are those of `usual`, an instance, if there is one: the process that contains this one may have its own.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    for name, info in cls.__pydantic_fields__.items():
        bare, low, high = unwrapped(hints[name])
        default = None if info.default is PydanticUndefined else info.default
        default = getattr(usual, name) if usual is not None else default
        if is_dataclass(bare):
            yield from knobs(bare, f"{prefix}{name}.", default)
            continue
        yield Knob(prefix + name, bare, default, " ".join((info.description or "").split()), choices(bare), low, high)


def unwrapped(annotation) -> tuple[Any, float | None, float | None]:
    """A type without its `Annotated` wrappings, and the lowest and highest value that those allow."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [unwrapped(part) for part in typing.get_args(annotation)]
        limits = next(((low, high) for _, low, high in parts if (low, high) != (None, None)), (None, None))
        return typing.Union[tuple(part[0] for part in parts)], *limits  # noqa: UP007
    if not hasattr(annotation, "__metadata__"):
        return annotation, None, None
    rules = [rule for mark in annotation.__metadata__ for rule in getattr(mark, "metadata", [mark])]
    low = next((getattr(r, n) for r in rules for n in ("ge", "gt") if getattr(r, n, None) is not None), None)
    high = next((getattr(r, n) for r in rules for n in ("le", "lt") if getattr(r, n, None) is not None), None)
    return typing.get_args(annotation)[0], low, high


def choices(annotation) -> tuple[str, ...]:
    """The words a parameter may be, for `Literal` and for unions that contain one."""
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(str(a) for a in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(c for a in typing.get_args(annotation) for c in choices(a))
    return ()


def build(cls: type, values: Mapping[str, Any], base: Any = None) -> Any:
    """Make a process from dotted names: `build(ImageIntegration, {"rejection.low": 3})`, the rest as in `base`."""
    tree = plain(base) if base is not None else {}
    for path, value in values.items():
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return validate(cls, tree)


def validate(cls: type, tree: Mapping[str, Any]) -> Any:
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
    summary = (type(value).__doc__ or "").strip().splitlines()
    if summary:
        document.add(tomlkit.comment(summary[0]))
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


def from_toml(cls: type, text: str, source: str = "the recipe") -> Any:
    """The process that a TOML document describes; what it does not mention keeps its default."""
    try:
        return validate(cls, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"{source} is not valid TOML: {error}") from None


__all__ = ["Knob", "build", "card", "from_toml", "knobs", "plain", "process", "replay", "to_toml", "validate"]
