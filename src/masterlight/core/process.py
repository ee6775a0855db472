"""`@process`: a frozen, documented set of parameters that does one thing to a frame or a set of frames.

From the one declaration come the Python signature and what `help` says, the command-line flags (`knobs`), the saved
process icon (`to_toml`, `from_toml`), the provenance card in a header (`card`, `replay`) and the cache key.

A process is light to import: what it does stands in an engine, which `engine` opens when the process is called.
"""

import enum
import functools
import importlib
import json
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticUndefined

from masterlight.core.errors import ParameterError
from masterlight.core.knob import Knob, Unit, Usual, When, bare_type, choices, unit_of, value_at

STRICT = ConfigDict(allow_inf_nan=False, str_min_length=1)
"""No knob is infinite, and no word is empty: what is empty on a command line is a variable that was not set."""
MOST_SHOWN = 60
"""Letters of a wrong value that a message shows."""
MOST_TOLD = 240
"""Letters of what a check says about it."""
_REGISTRY: dict[str, type] = {}
T = typing.TypeVar("T")


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def process(cls: type[T]) -> type[T]:
    """Make `cls` a process: frozen, keyword-only, unknown names forbidden, a docstring under each field."""
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, **STRICT)
    made: Any = pydantic_dataclass(cls, frozen=True, kw_only=True, config=config)
    _REGISTRY[made.__name__] = made
    checked = made.__init__

    @functools.wraps(checked)
    def __init__(self: Any, **values: Any) -> None:
        try:
            checked(self, **values)
        except ValidationError as error:
            raise ParameterError("; ".join(sentence(made, e) for e in error.errors())) from None
        given = {name for name in values if getattr(self, name) != usual_of(made, name)}
        inside = [knob for knob in knobs(made) if knob.path.partition(".")[0] in given] if given else []
        for knob in inside:  # a process inside was judged when it was made: only whether it has a say here is asked
            outer = replace(knob, when=tuple(pair for pair in knob.when if not pair[0]))
            if value_at(self, knob.path) != knob.default and (why := outer.idle(self)):
                raise ParameterError(why)

    made.__init__ = __init__
    made.__doc__ = Explained(made.__doc__ or "")
    return cast(type[T], made)


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


def with_values(value: T, **changes: Any) -> T:
    """A process with some values changed; one that thereby does nothing any more stays as it is, unlike when given."""
    own = {name: getattr(value, name) for name in process_fields(value)}
    return TypeAdapter(type(value)).validate_python(own | changes)


@functools.cache
def knobs(cls: type) -> tuple[Knob, ...]:
    """Every parameter of a process, those of the processes inside it included, in order of declaration.

    Defaults of the latter are those that the process which contains them gives them.
    """
    return tuple(declared_knobs(cls))


def declared_knobs(cls: type) -> Iterator[Knob]:
    """The knobs as the annotations of a process tell them."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for name in process_fields(cls):
        bare, rules = bare_type(hints[name])
        marks = tuple(rule for rule in rules if isinstance(rule, When))
        when = (("", marks),) if marks else ()
        if is_dataclass(bare):
            yield from inner_knobs(name, cast(type, bare), usual_of(cls, name), when)
            continue
        limits = {k: getattr(rule, k, None) for rule in rules for k in ("ge", "gt", "le", "lt") if hasattr(rule, k)}
        low, above, high, below = (limits.get(k) for k in ("ge", "gt", "le", "lt"))
        unit = next((rule.name for rule in rules if isinstance(rule, Unit)), unit_of(name))
        bounds = above if low is None else low, below if high is None else high, above is not None, below is not None
        left_out = next((rule.words for rule in rules if isinstance(rule, Usual)), "off")
        yield Knob(name, bare, usual_of(cls, name), cls, choices(bare), *bounds, unit, when, left_out)


def inner_knobs(name: str, cls: type, usual: Any, when: tuple[Any, ...]) -> Iterator[Knob]:
    """The knobs of a process that is the field `name` of another, as that one shows them."""
    for knob in knobs(cls):
        inner = tuple((f"{name}.{prefix}", marks) for prefix, marks in knob.when)
        default = knob.default if usual is None else value_at(usual, knob.path)
        yield replace(knob, path=f"{name}.{knob.path}", default=default, when=(*when, *inner))


def process_fields(cls: Any) -> dict[str, Any]:
    """The fields of a process by name."""
    return cast(dict[str, Any], cls.__pydantic_fields__)


def usual_of(cls: type, name: str) -> Any:
    """The default of a field; None where it has none."""
    default = process_fields(cls)[name].default
    return None if default is PydanticUndefined else default


def idle_knobs(value: Any, names: Iterable[str] | None = None, call: Callable[[str], str] = str) -> Iterator[str]:
    """Sentences on knobs that were changed, or of these names, and do nothing beside the others' values."""
    for knob in knobs(type(value)):
        now = value_at(value, knob.path)  # what is switched off asks for nothing
        own = now != knob.default if names is None else knob.path in names and now is not None
        if own and (why := knob.idle(value, call)):
            yield why


def build(cls: type[T], values: Mapping[str, object], base: T | None = None, call: Callable[[str], str] = str) -> T:
    """Make a process from dotted names: `build(ImageIntegration, {"rejection.low": 3})`, the rest as in `base`.

    Raises ParameterError for a wrong name or value, and for a value that does nothing beside the others; `call` says
    how its sentence calls a knob.
    """
    tree = plain(base) if base is not None else {}
    for path, value in values.items():
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    made = validate(cls, tree, call)
    for why in idle_knobs(made, set(values), call):
        raise ParameterError(why)
    return made


def validate(cls: type[T], tree: Mapping[str, Any], call: Callable[[str], str] = str) -> T:
    """Make `cls` from a nested mapping; a wrong name or value is told as `path: what is wrong`."""
    try:
        return TypeAdapter(cls).validate_python(complete(cls, tree, call))
    except ValidationError as error:
        words = [sentence(cls, e, call) for e in error.errors()]
        more = [f"and {len(words) - 3} more: `masterlight recipe` prints what there is"] if len(words) > 4 else []
        raise ParameterError("; ".join([*words[: 3 if more else 4], *more])) from None


def complete(cls: type, tree: Mapping[str, Any], call: Callable[[str], str] = str) -> dict[str, Any]:
    """The tree with what it does not say about processes inside as `cls` has it; the word "off", where TOML has no
    word for nothing, becomes None."""
    optional = {knob.path for knob in knobs(cls) if knob.optional}
    types = {knob.path: {knob.type, *typing.get_args(knob.type)} for knob in knobs(cls)}
    numbers = {path for path, kinds in types.items() if kinds & {int, float} and bool not in kinds}

    def walk(node: Any, usual: Any, prefix: str) -> Any:
        if isinstance(node, Mapping):
            inside = {name: walk(value, getattr(usual, name, None), f"{prefix}{name}.") for name, value in node.items()}
            return (plain(usual) if is_dataclass(usual) else {}) | inside
        if isinstance(node, bool) and prefix[:-1] in numbers:  # Python counts with them
            raise ParameterError(f"{call(prefix[:-1])}: a number is wanted (given: {str(node).lower()})")
        return None if node == "off" and prefix[:-1] in optional else node

    known = process_fields(cls)
    return {name: walk(tree[name], usual_of(cls, name) if name in known else None, f"{name}.") for name in tree}


def sentence(cls: type, error: Mapping[str, Any], call: Callable[[str], str] = str) -> str:
    """One validation error as a sentence: the parameter's path, what was given, what is allowed."""
    path = ".".join(str(p) for p in error["loc"])
    if isinstance(cause := error.get("ctx", {}).get("error"), ParameterError):
        knob, rest = re.match(r"([\w.]*)(.*)", str(cause), re.DOTALL).groups()
        return call(f"{path}.{knob}".strip(".")) + rest
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        from difflib import get_close_matches

        near = get_close_matches(path, [knob.path for knob in knobs(cls)], 3, 0.4)
        return f"{clipped(path, str)} is not a parameter of {cls.__name__}" + (
            f"; did you mean {' or '.join(near)}?" if near else ""
        )
    if error["type"] == "string_too_short":
        return f"{call(path)} is empty; give a word, or leave it out"
    if error["type"] == "value_error":  # of a check of ours, which tells what was given
        return f"{call(path)}: {clipped(error['msg'].removeprefix('Value error, '), str, MOST_TOLD)}"
    given = "" if error["type"] == "missing" else f" (given: {clipped(error['input'])})"
    if error["type"] in ("float_parsing", "int_parsing") and re.fullmatch(r"[-+]?\d*,\d+", str(error["input"])):
        return f"{call(path)}: decimals have a point: {error['input'].replace(',', '.')}{given}"
    return f"{call(clipped(path, str))}: {error['msg'][:1].lower()}{error['msg'][1:]}{given}"


def clipped(value: Any, words: Callable[[Any], str] = repr, most: int = MOST_SHOWN) -> str:
    """A value that somebody gave, short enough for a sentence."""
    try:
        told = words(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, lists in lists
        told = f"a {type(value).__name__} too long to show"
    return told if len(told) <= most else f"{told[: most - 4]} ..."


def plain(value: Any) -> Any:
    """A process as nested plain values: what goes into TOML, JSON and cache keys."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value


def card(value: object, **extra: object) -> str:
    """One line that says which process was applied, with every parameter: `{"ImageCalibration": {...}}`."""
    return json.dumps({type(value).__name__: plain(value), **extra}, sort_keys=True, default=str)


def replay(text: str) -> Any:
    """The process that a card tells of, equal to the one that wrote it."""
    entries = json.loads(text)
    for name, tree in entries.items():
        if name in _REGISTRY:
            return validate(_REGISTRY[name], tree)
    raise ParameterError(f"card names no known process: {', '.join(entries)}; known: {', '.join(sorted(_REGISTRY))}")


def to_toml(value: object) -> str:
    """A process as a TOML document that a person can edit: each parameter under its own explanation."""
    import tomlkit

    document = tomlkit.document()
    if summary := summary_of(type(value)):
        document.add(tomlkit.comment(summary))
    fill(document, value, {knob.path: knob for knob in knobs(type(value))})
    return tomlkit.dumps(document)


def fill(table: Any, value: Any, known: Mapping[str, Knob], prefix: str = "") -> None:
    """Write the fields of `value` into a TOML table; what is switched off is "off", or a comment if that is usual."""
    import tomlkit

    items = [(name, getattr(value, name)) for name in process_fields(type(value))]
    several = {name for name, _ in items if (knob := known.get(prefix + name)) and knob.each}
    for name, item in sorted(items, key=lambda pair: (pair[0] in several, is_dataclass(pair[1]))):
        if name in several:
            add_several(table, known[prefix + name], item)
        elif is_dataclass(item):
            inner = tomlkit.table()
            fill(inner, item, known, f"{prefix}{name}.")
            table.add(name, inner)
        else:
            knob = known[prefix + name]
            facts = knob.facts if knob.facts.startswith("[") else f"({knob.facts})"
            table.add(tomlkit.comment(f"{knob.help} {facts}"))
            if item is None and knob.default is None:
                table.add(tomlkit.comment(f"{name} ="))
            else:
                table.add(name, "off" if item is None else plain(item))


def add_several(table: Any, knob: Knob, items: Iterable[Any]) -> None:
    """Write processes of which there may be several as a table each; where there is none, what one would look like."""
    import tomlkit

    table.add(tomlkit.nl())
    table.add(tomlkit.comment(knob.help))
    rows = tomlkit.aot()
    for item in items:
        rows.append(tomlkit.item({name: value for name, value in plain(item).items() if value is not None}))
    if rows:
        table.add(knob.path, rows)
        return
    table.add(tomlkit.comment(f"[[{knob.path}]]"))
    for inner in knobs(knob.each):
        table.add(tomlkit.comment(f"{inner.path} = ...  # {inner.help} [{inner.usual}]"))


def from_toml(cls: type[T], text: str, source: str = "the recipe") -> T:
    """The process that a TOML document describes; what it does not mention keeps its default."""
    try:
        return validate(cls, tomllib.loads(text.removeprefix("\ufeff")))
    except ParameterError as error:
        raise ParameterError(f"{source}: {error}") from None
    except (RecursionError, MemoryError):
        raise ParameterError(f"{source}: tables or lists inside each other, too deep for any recipe") from None
    except ValueError as error:  # TOMLDecodeError, and what tomllib lets through of dates and large numbers
        raise ParameterError(f"{source} is not valid TOML: {clipped(error, str)}") from None
