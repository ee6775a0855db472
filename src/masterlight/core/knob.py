"""`Knob`: one parameter of a process as a door shows it: words, unit, bounds, and when it does nothing."""

import ast
import functools
import inspect
import itertools
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

UNITS = {
    "e_per_dn": "e-/DN", "mb": "MB", "px": "px", "dn": "DN", "e": "e-", "s": "s", "c": "°C", "deg": "degrees",
    "um": "um", "mm": "mm", "fraction": "fraction",
}  # fmt: skip
"""Units by the last word of a knob's name."""
ABSURD = 1e6
"""Bounds from which on no photographer needs to be told of them."""


@dataclass(frozen=True)
class Unit:
    """The unit of a knob whose name does not end in it: `low: Annotated[float, Field(gt=0), Unit("sigma")] = 4.0`."""

    name: str


@dataclass(frozen=True)
class Usual:
    """What a knob that is left out counts as, in words, where that is not off: `Annotated[..., Usual("4")] = None`."""

    words: str


class When:
    """When a knob does something: `Annotated[float, When(algorithm="esd")]`, `When(algorithm=("sigma", "mad"))`.

    Names are those of the same process, `rejection__normalization` of one inside it. True stands for whatever is
    switched on or given. Several marks on one knob: any of them will do; all values of one mark: all must hold.
    """

    def __init__(self, **values: Any):
        allowed = ((name, value if isinstance(value, tuple) else (value,)) for name, value in values.items())
        self.values = {name.replace("__", "."): value for name, value in allowed}

    def holds(self, value: Any, prefix: str = "") -> bool:
        """Whether it holds in this process, the names being told from `prefix` on."""
        return all(matches(value_at(value, prefix + name), allowed) for name, allowed in self.values.items())

    def words(self, prefix: str, call: Callable[[str], str] = str) -> str:
        """What must be set, in words: `algorithm sigma or mad`; `call` says how a door calls a knob."""
        told = [f"{call(prefix + name)} {either(map(word_of, allowed))}" for name, allowed in self.values.items()]
        return " and ".join(told)


def matches(value: Any, allowed: tuple[Any, ...]) -> bool:
    return any((value is not None and value is not False) if one is True else value == one for one in allowed)


def either(words: Iterable[str]) -> str:
    """Words of which one is meant: `a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def word_of(value: Any) -> str:
    """A value as a sentence calls it."""
    return "off" if value is None or value is False else "on" if value is True else str(value)


def value_at(value: Any, path: str) -> Any:
    """The value of a knob by its dotted path."""
    return functools.reduce(getattr, path.split("."), value)


@dataclass(frozen=True)
class Knob:
    """One parameter, as a door shows it: dotted path, type, default, help, choices if they are few, bounds, unit."""

    path: str
    type: Any
    default: Any
    owner: type
    """The process that declares it."""
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
    left_out: str = "off"
    """What None means."""

    @property
    def help(self) -> str:
        """What it does: the words under its declaration."""
        return words_of(self.owner).get(self.path.rpartition(".")[2], "")

    @property
    def optional(self) -> bool:
        return type(None) in typing.get_args(self.type)

    @property
    def each(self) -> type | None:
        """The process of which this knob holds several, if it does."""
        kinds = typing.get_args(self.type)[:1] if typing.get_origin(self.type) is tuple else ()
        return next((kind for kind, _ in map(bare_type, kinds) if hasattr(kind, "__pydantic_fields__")), None)

    @property
    def range(self) -> str:
        """What is allowed, in words: `above 0 to 50`, `0 to below 1`, `at least 3`; empty for anything.

        Bounds beyond all reason are there so that nothing overflows, and nobody wants to read them.
        """
        least, most = (None if end is None or abs(end) >= ABSURD else end for end in (self.minimum, self.maximum))
        low = "" if least is None else f"{'above ' if self.above else ''}{least:g}"
        high = "" if most is None else f"{'below ' if self.below else ''}{most:g}"
        if (low and high) or self.above or self.below:
            return f"{low} to {high}" if low and high else low + high
        return f"at least {low}" if low else f"at most {high}" if high else ""

    @property
    def usual(self) -> str:
        """The default in words."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, float):
            return f"{self.default:g}"
        words = ",".join(map(str, self.default)) if isinstance(self.default, tuple) else str(self.default)
        return self.left_out if self.default is None else words or "none"

    @property
    def facts(self) -> str:
        """Choices or range and unit, then the default: `above 0 to 50 sigma [4]`."""
        words = " | ".join(word or "none" for word in self.choices) or " ".join(w for w in (self.range, self.unit) if w)
        return f"{words} [{self.usual}]".strip()

    def needs(self, call: Callable[[str], str] = str) -> str:
        """The other choices that this knob is for, in words; empty when it always does something."""
        return " and ".join(" or ".join(mark.words(prefix, call) for mark in marks) for prefix, marks in self.when)

    def idle(self, value: Any, call: Callable[[str], str] = str) -> str:
        """Why this knob does nothing in a process of these values, as a sentence; empty when it does something.

        call: how a door calls a knob of this path: `--rejection.low`.
        """
        for prefix, marks in self.when:
            if not any(mark.holds(value, prefix) for mark in marks):
                needed = " or ".join(mark.words(prefix, call) for mark in marks)
                values = [(prefix + name, allowed) for mark in marks for name, allowed in mark.values.items()]
                names = dict.fromkeys(name for name, allowed in values if not matches(value_at(value, name), allowed))
                told = " and ".join(f"{call(name)} {word_of(value_at(value, name))}" for name in names)
                return f"{call(self.path)} does nothing with {told}; it is for {needed}"
        return ""


def unit_of(name: str) -> str:
    return next((unit for ending, unit in UNITS.items() if f"_{name}".endswith(f"_{ending}")), "")


def bare_type(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without its `Annotated` wrappings, and the rules and marks that were in these."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [bare_type(part) for part in typing.get_args(annotation)]
        return typing.Union[tuple(part[0] for part in parts)], [r for part in parts for r in part[1]]  # noqa: UP007
    if not hasattr(annotation, "__metadata__"):
        return annotation, []
    bare, inner = bare_type(typing.get_args(annotation)[0])
    return bare, inner + [rule for mark in annotation.__metadata__ for rule in getattr(mark, "metadata", [mark])]


def choices(annotation: Any) -> tuple[str, ...]:
    """The words a parameter may be, for `Literal` and for unions that contain one."""
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(str(a) for a in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(c for a in typing.get_args(annotation) for c in choices(a))
    return ()


@functools.cache
def words_of(cls: type) -> dict[str, str]:
    """What stands under each field of a process in its source; read when somebody asks, as that takes a while."""
    found: dict[str, str] = {}
    for part in reversed([part for part in cls.__mro__ if "__pydantic_fields__" in vars(part)]):
        for line, below in itertools.pairwise(body_of(part)):
            match line, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = " ".join(words.split())
    return found


def body_of(cls: type) -> list[ast.stmt]:
    """The lines of a class of a module, parsed; none for one that was typed into an interpreter."""
    try:
        source = inspect.getsource(sys.modules[cls.__module__])
    except (OSError, TypeError, KeyError):
        return []
    block = re.search(rf"^class {cls.__name__}\b.*?(?=^\S|\Z)", source, re.MULTILINE | re.DOTALL)
    return ast.parse(block[0]).body[0].body if block else []  # type: ignore[attr-defined]
