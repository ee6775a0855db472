"""Reads the text of a formula into operations, or tells where it cannot be understood."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.subframes.formula import functions
from masterlight.subframes.formula.functions import FUNCTIONS, KINDS, OPERATORS, SAME, STATISTICS, Operator
from masterlight.subframes.formula.variables import property_named

DEEPEST = 200
"""Operations inside each other, brackets or a long sum: more than a photographer writes, less than the stack holds."""
SHOWN = 30
"""Letters of a formula that a message shows to each side of the place."""
LOOKALIKES = str.maketrans("\u2212\u2013\u00d7\u00b7\u00f7\u00a0", "--**/ ")
"""What typesetting makes of signs on the page from which a formula was copied."""
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>(?:Math\.)?[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|&&|\|\||<=|>=|==|!=|[-+*/^<>!(),?:])|(?P<end>$)|(?P<bad>.))",
    re.DOTALL | re.ASCII,
)
HINTS = {
    "=": "; 'equal' is written ==", "&": "; 'and' is written &&", "|": "; 'or' is written ||", "\u2264": "; write <=",
    "\u2265": "; write >=", ",": "; decimals have a point: 3.5", ":": "; a choice is condition ? a : b",
    "and": "; write &&", "or": "; write ||", "not": "; write !",
}  # fmt: skip
PLACE = re.compile(r" \(at character \d+: (?P<before>.*) --> (?P<after>.*?)\)(?=$|[,;] )")


class ExpressionError(ParameterError):
    """An expression cannot be understood; the message shows where, by an arrow before the place."""

    def __init__(self, text: str, position: int, reason: str):
        shown = re.sub(r"\s", " ", text)
        before, after = shown[max(0, position - SHOWN) : position], shown[position : position + SHOWN]
        start, end = "..." * (position > SHOWN), "..." * (len(shown) > position + SHOWN)
        super().__init__(f"expression: {reason} (at character {position + 1}: {start}{before} --> {after}{end})")
        self.text, self.position, self.reason = text, position, reason

    def __reduce__(self):
        return type(self), (self.text, self.position, self.reason)


def with_caret(message: str) -> str:
    """A message about a formula as a console with room shows it: the formula below, a caret under the character."""
    found = PLACE.search(message)
    if not found:
        return message
    before, after = found["before"], found["after"]
    return f"{message[: found.start()]}{message[found.end() :]}\n  {before}{after}\n  {' ' * len(before)}^"


class Scope(NamedTuple):
    """What formulas are computed from."""

    columns: Mapping[str, np.ndarray]
    over: np.ndarray
    """Which frames count in statistics, (N,) bool."""


class Node(NamedTuple):
    """One operation of a formula: a constant or a name, or what to compute from other nodes."""

    position: int
    gives: type
    compute: Callable | None = None
    arguments: tuple["Node", ...] = ()
    name: str = ""
    constant: float | None = None
    sign: str = ""
    """Of an operator, or the name of a function."""
    over: bool = False
    """Whether it looks at all frames that count, and not at one at a time."""
    span: tuple[int, int] = (0, 0)
    """Where it begins and ends in the text."""

    @property
    def parts(self) -> list["Node"]:
        return [self, *(n for a in self.arguments for n in a.parts)]

    def evaluate(self, scope: Scope) -> np.ndarray:
        """Its value for each frame, (N,) float64; of a condition 1, 0 or NaN."""
        if self.constant is not None:
            return np.full(len(scope.over), self.constant)
        if self.name:
            return scope.columns[self.name]
        values = [a.evaluate(scope) for a in self.arguments]
        return over_frames(self.compute, *values, over=scope.over) if self.over else self.compute(*values)


def over_frames(compute: Callable, x: np.ndarray, *more: np.ndarray, over: np.ndarray) -> np.ndarray:
    """What looks at all frames that count, NaN where nothing is known of any."""
    there = np.isfinite(x[over]).any()
    return np.broadcast_to(compute(x, *more, over=over) if there else np.nan, x.shape)


def constant_of(node: Node) -> float:
    """The value of what is the same in every table; NaN of what is not."""
    if any(part.name for part in node.parts):
        return float("nan")
    with np.errstate(all="ignore"):
        return float(node.evaluate(Scope({}, np.ones(1, bool)))[0])


def base_of(name: str) -> str:
    """The column that a name is about: FWHM for FWHMMin and for FWHM."""
    return next((name[: -len(s)] for s in STATISTICS if name.endswith(s) and name != s), name)


def alike(name: str, names: Iterable[str]) -> list[str]:
    """Those of some names that somebody may have meant: the same in other letters, nearly the same, longer, shorter."""
    by_small: dict[str, str] = {}
    for each in names:
        by_small.setdefault(each.lower(), each)
    small = name.lower()
    if small in by_small:
        return [by_small[small]]
    near = difflib.get_close_matches(small, by_small, 3, 0.85) or difflib.get_close_matches(small, by_small, 3, 0.6)
    near = near or [k for k in by_small if k.startswith(small) or small.startswith(k)][:3]
    near = near or difflib.get_close_matches(small, by_small, 3, 0.5)
    return [by_small[each] for each in near]


class Token(NamedTuple):
    kind: str
    text: str
    position: int
    end: int


class Parser:
    """Reads a formula from left to right, one operation inside the other (operator precedence, Pratt 1973)."""

    def __init__(self, text: str):
        self.text, self.depth, self.end = text, 0, 0
        found = TOKEN.finditer(text.translate(LOOKALIKES))
        tokens = [Token(m.lastgroup, m[m.lastgroup].removeprefix("Math."), *m.span(m.lastgroup)) for m in found]
        self.rest = iter(tokens)
        self.next = next(self.rest)
        for token in tokens:
            if token.kind == "bad":
                self.fail(token, f"'{token.text}' has no meaning here{HINTS.get(token.text, '')}")

    def take(self) -> Token:
        """The next token, and on to the one after it."""
        token, self.next = self.next, next(self.rest, self.next)
        self.end = token.end
        return token

    def fail(self, at: "Token | Node", reason: str) -> Any:
        raise ExpressionError(self.text, at.position, reason)

    def whole(self) -> Node:
        if self.next.kind == "end":
            self.fail(self.next, "it is empty; write a formula such as 1/Noise^2")
        node = self.value(0)
        if self.next.text == ")":
            self.fail(self.next, "this bracket was never opened")
        if self.next.kind != "end":
            hint = HINTS.get(self.next.text.lower(), "")
            self.fail(self.next, f"an operator is missing before '{self.next.text}'{hint}")
        return node

    def value(self, binding: int) -> Node:
        """What stands here, as far as operators go that bind more tightly than `binding`."""
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail(self.next, f"more than {DEEPEST} operations inside each other; write it shorter")
        start, links = self.next.position, 0
        left = self.prefix()._replace(span=(start, self.end))
        while (operator := OPERATORS.get(self.next.text)) and operator.binding > binding:
            token, links = self.take(), links + 1
            if operator.binding == functions.COMPARISON and left.gives is bool:
                self.fail(token, "comparisons do not chain; join two of them by &&")
            if links > DEEPEST:
                self.fail(token, f"more than {DEEPEST} operations in a row; write it shorter")
            right = self.value(operator.binding - (operator.binding == functions.POWER))
            left = self.join(token, operator, left, right)._replace(span=(start, self.end))
        if binding == 0 and self.next.text == "?":
            left = self.choice(left)._replace(span=(start, self.end))
        self.depth -= 1
        return left

    def choice(self, condition: Node) -> Node:
        """`condition ? a : b`, once the condition is read; of many, the last belong together."""
        token = self.take()
        self.expect(condition, bool, "'?'")
        one = self.value(0)
        if self.next.text != ":":
            self.fail(self.next, "':' is needed: condition ? a : b")
        self.take()
        other = self.value(0)
        self.expect(other, one.gives, "':' after this")
        return Node(token.position, one.gives, functions.choose, (condition, one, other), sign="?")

    def join(self, token: Token, operator: Operator, left: Node, right: Node) -> Node:
        for side in (left, right):
            self.expect(side, operator.takes, f"'{token.text}'")
        node = Node(token.position, operator.gives, operator.compute, (left, right), sign=token.text)
        if token.text == "/" and constant_of(right) == 0:
            self.fail(right, "division by zero")
        return node

    def expect(self, node: Node, kind: type, who: str) -> None:
        if node.gives is not kind:
            self.fail(node, f"{who} needs {KINDS[kind]}, this is {KINDS[node.gives]}")

    def prefix(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Node(token.position, float, constant=float(token.text))
        if token.text in ("true", "false"):
            return Node(token.position, bool, constant=float(token.text == "true"))
        if token.kind == "name":
            return self.call(token) if self.next.text == "(" else Node(token.position, float, name=token.text)
        if token.text == "(":
            node = self.value(0)
            self.close(token)
            return node
        if token.text in ("-", "+", "!"):
            kind, compute = (bool, functions.opposite) if token.text == "!" else (float, np.negative)
            node = self.value(functions.NOT if token.text == "!" else functions.SIGN)
            self.expect(node, kind, f"'{token.text}'")
            return node if token.text == "+" else Node(token.position, kind, compute, (node,), sign=token.text)
        end = token.kind == "end"
        self.fail(token, "it ends where a value is needed" if end else f"'{token.text}' where a value is needed")

    def close(self, opened: Token) -> None:
        if self.next.kind == "end":
            self.fail(opened, "this bracket is never closed")
        if self.next.text != ")":
            self.fail(self.next, f"')' or an operator is needed, not '{self.next.text}'")
        self.take()

    def call(self, token: Token) -> Node:
        if token.text not in FUNCTIONS:
            if property_named(base_of(token.text)):
                self.fail(token, f"{token.text} is no function; is there a * missing before the bracket?")
            near = alike(token.text, FUNCTIONS) or sorted(FUNCTIONS)
            self.fail(token, f"there is no function '{token.text}'; there is {', '.join(near)}")
        function, opened, arguments = FUNCTIONS[token.text], self.take(), []
        while self.next.text != ")" or arguments:
            arguments.append(self.value(0))
            if self.next.text != ",":
                break
            self.take()
        self.close(opened)
        if not function.least <= len(arguments) <= function.most:
            wanted = str(function.least) if function.least == function.most else f"{function.least} or more"
            self.fail(token, f"{token.text} takes {wanted} arguments, not {len(arguments)}")
        kinds = [*function.takes, *function.takes[-1:] * len(arguments)][: len(arguments)]
        same = arguments[-1].gives if SAME in kinds else float
        for argument, kind in zip(arguments, kinds, strict=True):
            self.expect(argument, same if kind is SAME else kind, token.text)
        if token.text == "percentile" and not 0 <= constant_of(arguments[1]) <= 100:
            self.fail(arguments[1], "percentile(X, p) needs a p from 0 to 100, the same for all frames")
        gives = same if function.gives is SAME else function.gives
        return Node(token.position, gives, function.compute, tuple(arguments), sign=token.text, over=function.over)
