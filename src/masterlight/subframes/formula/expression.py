"""The formulas by which frames are approved and weighed: `FWHM < 4 && Stars > 100`, `35*inv(FWHM) + 50`.

    numbers      3  .5  1e-3        names   FWHM, or a keyword of the header (a minus in it is written _)
    power        ^ or **, from the right, before a sign: 2^3^2 is 512, -2^2 is -4
    arithmetic   * /  then  + -
    comparison   < <= > >= == !=    then  !  then  &&  then  ||      true  false
    functions    those of `FUNCTIONS`

Every name X also gives XMin, XMax, XMedian and XSigma, over all frames; XSigma tells how many average deviations a
frame lies from the median.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from masterlight.core.errors import ParameterError

DEEPEST = 200
"""Operations inside each other, brackets or a long sum: more than a photographer writes, less than the stack holds."""
SHOWN = 30
"""Letters of a formula that a message shows to each side of the place."""
MOST_TOLD = 16
"""Known names that are listed where none resembles one that is not."""
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|&&|\|\||<=|>=|==|!=|[-+*/^<>!(),])|(?P<end>$)|(?P<bad>.))",
    re.DOTALL | re.ASCII,
)
STATISTICS = {"Minimum": np.min, "Maximum": np.max, "Min": np.min, "Max": np.max, "Median": np.median} | {
    "Sigma": lambda x: (x - np.median(x)) / (np.mean(np.abs(x - np.median(x))) or 1.0),
}
"""What may be added to a name."""


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


def norm(x):
    """0 at the smallest value, 1 at the largest; 0 for all when they are the same."""
    low, high = np.min(x), np.max(x)
    return (x - low) / (high - low) if high > low else np.zeros_like(x)


def rank(x):
    """Place in ascending order from 0 to 1, the mean place for equal values; 0 for a single frame."""
    places = np.array([np.count_nonzero(x < v) + 0.5 * (np.count_nonzero(x == v) - 1) for v in x])
    return places / max(1, len(x) - 1)


def z(x):
    """Distance from the median in robust standard deviations; 0 for all when most values are the same."""
    away = x - np.median(x)
    mad = 1.4826 * np.median(np.abs(away))
    return away / mad if mad > 0 else np.zeros_like(x)


FUNCTIONS: dict[str, tuple[Callable, int, int]] = {
    "min": (lambda *x: np.minimum.reduce(x), 2, 9),
    "max": (lambda *x: np.maximum.reduce(x), 2, 9),
    **{compute.__name__: (compute, 1, 1) for compute in (np.sqrt, np.exp, np.log, np.log10, norm, rank, z)},
    "abs": (np.abs, 1, 1),
    "inv": (lambda x: 1.0 - norm(x), 1, 1),
    "pow": (np.power, 2, 2),
    "percentile": (lambda x, p: np.full_like(x, np.percentile(x, p[0])), 2, 2),
    "clip": (lambda x, low, high: np.minimum(np.maximum(x, low), high), 3, 3),
    "if": (np.where, 3, 3),
}
"""What a function computes of how many arguments at least and at most; the first of `if` is a condition. norm, inv,
rank, z and percentile(X, p) look at all frames, the others at one at a time."""


class Operator(NamedTuple):
    """An operator between two values: how tightly it binds, what it computes, the kinds that it takes and gives."""

    binding: int
    compute: Callable
    takes: type = float
    gives: type = float


NOT, COMPARISON, SIGN, POWER = 3, 4, 7, 8
COMPARISONS = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
OPERATORS = {
    "||": Operator(1, np.logical_or, bool, bool),
    "&&": Operator(2, np.logical_and, bool, bool),
    **{sign: Operator(COMPARISON, compute, float, bool) for sign, compute in COMPARISONS.items()},
    "+": Operator(5, np.add),
    "-": Operator(5, np.subtract),
    "*": Operator(6, np.multiply),
    "/": Operator(6, np.divide),
    **dict.fromkeys(("^", "**"), Operator(POWER, np.power)),
}
KINDS = {float: "a number", bool: "true or false"}


class Token(NamedTuple):
    kind: str
    text: str
    position: int


class Node(NamedTuple):
    """One operation of a formula: a constant or a name, or what to compute from other nodes."""

    position: int
    gives: type
    compute: Callable | None = None
    arguments: tuple["Node", ...] = ()
    name: str = ""
    constant: float | bool | None = None

    @property
    def parts(self) -> list["Node"]:
        return [self, *(n for a in self.arguments for n in a.parts)]

    def evaluate(self, table: Mapping[str, np.ndarray], frames: int) -> np.ndarray:
        if self.constant is not None:
            return np.full(frames, self.constant)
        if self.name:
            return table[self.name]
        return self.compute(*(a.evaluate(table, frames) for a in self.arguments))


class Expression:
    """A formula over a table of frames, understood once: `Expression("FWHM < 4").evaluate({"FWHM": fwhm_px})`.

    Raises ExpressionError, a ParameterError, where the text cannot be understood.
    """

    def __init__(self, text: str):
        self.text = text
        self.root = Parser(text).whole()

    def __reduce__(self):
        return Expression, (self.text,)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the formula needs, each once, in the order of the text; FWHM for FWHMMin."""
        return tuple(dict.fromkeys(base_of(n.name) for n in self.root.parts if n.name))

    @property
    def approves(self) -> bool:
        """Whether the formula says true or false of a frame, not a number."""
        return self.root.gives is bool

    def evaluate(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """The formula for each frame: (N,) bool or float64 from columns (N,) of numbers.

        What has no value, such as the logarithm of a negative number, is NaN or infinite. Raises ExpressionError for a
        name that the table lacks.
        """
        frames = len(next(iter(table.values()), ()))
        columns = {n.name: self.column(n, table) for n in self.root.parts if n.name}
        with np.errstate(all="ignore"):
            return np.asarray(self.root.evaluate(columns, frames))

    def column(self, node: Node, table: Mapping[str, np.ndarray]) -> np.ndarray:
        base = node.name if node.name in table else base_of(node.name)
        if base not in table:
            small = base.lower()
            alike = [k for k in table if k.lower().startswith(small) or small.startswith(k.lower())]
            near = difflib.get_close_matches(base, table, 3, 0.5) or alike
            some = ", ".join(list(table)[:MOST_TOLD]) or "none"
            known = f"is it {' or '.join(near)}?" if near else f"there are {some}"
            raise ExpressionError(self.text, node.position, f"'{node.name}' is not known; {known}")
        values = np.asarray(table[base], np.float64)
        return values if base == node.name else np.full(len(values), 1.0) * STATISTICS[node.name[len(base) :]](values)


def base_of(name: str) -> str:
    """The column that a name is about: FWHM for FWHMMin and for FWHM."""
    return next((name[: -len(s)] for s in STATISTICS if name.endswith(s) and name != s), name)


class Parser:
    """Reads a formula from left to right, one operation inside the other (operator precedence, Pratt 1973)."""

    def __init__(self, text: str):
        self.text, self.depth = text, 0
        tokens = [Token(m.lastgroup, m[m.lastgroup], m.start(m.lastgroup)) for m in TOKEN.finditer(text)]
        self.rest = iter(tokens)
        self.next = next(self.rest)
        for token in tokens:
            if token.kind == "bad":
                hint = {"=": "; equality is ==", "&": "; and is &&", "|": "; or is ||"}.get(token.text, "")
                self.fail(token, f"'{token.text}' has no meaning here{hint}")

    def take(self) -> Token:
        """The next token, and on to the one after it."""
        token, self.next = self.next, next(self.rest, self.next)
        return token

    def fail(self, at: "Token | Node", reason: str):
        raise ExpressionError(self.text, at.position, reason)

    def whole(self) -> Node:
        if self.next.kind == "end":
            self.fail(self.next, "it is empty; write a formula such as 1/Noise^2")
        node = self.value(0)
        if self.next.text == ")":
            self.fail(self.next, "this bracket was never opened")
        if self.next.kind != "end":
            self.fail(self.next, f"an operator is missing before '{self.next.text}'")
        return node

    def value(self, binding: int) -> Node:
        """What stands here, as far as operators go that bind more tightly than `binding`."""
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail(self.next, f"more than {DEEPEST} operations inside each other; write it shorter")
        left, links = self.prefix(), 0
        while (operator := OPERATORS.get(self.next.text)) and operator.binding > binding:
            token, links = self.take(), links + 1
            if operator.binding == COMPARISON and left.gives is bool:
                self.fail(token, "comparisons do not chain; join two of them by &&")
            if links > DEEPEST:
                self.fail(token, f"more than {DEEPEST} operations in a row; write it shorter")
            right = self.value(operator.binding - (operator.binding == POWER))
            left = self.join(token, operator, left, right)
        self.depth -= 1
        return left

    def join(self, token: Token, operator: Operator, left: Node, right: Node) -> Node:
        for side in (left, right):
            self.expect(side, operator.takes, f"'{token.text}'")
        if token.text == "/" and not any(n.name for n in right.parts) and not right.evaluate({}, 1)[0]:
            self.fail(right, "division by zero")
        return Node(token.position, operator.gives, operator.compute, (left, right))

    def expect(self, node: Node, kind: type, who: str) -> None:
        if node.gives is not kind:
            self.fail(node, f"{who} needs {KINDS[kind]}, this is {KINDS[node.gives]}")

    def prefix(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Node(token.position, float, constant=float(token.text))
        if token.text in ("true", "false"):
            return Node(token.position, bool, constant=token.text == "true")
        if token.kind == "name":
            return self.call(token) if self.next.text == "(" else Node(token.position, float, name=token.text)
        if token.text == "(":
            node = self.value(0)
            self.close(token)
            return node
        if token.text in ("-", "+", "!"):
            kind, compute = (bool, np.logical_not) if token.text == "!" else (float, np.negative)
            node = self.value(NOT if token.text == "!" else SIGN)
            self.expect(node, kind, f"'{token.text}'")
            return node if token.text == "+" else Node(token.position, kind, compute, (node,))
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
            near = difflib.get_close_matches(token.text, FUNCTIONS, 3, 0.5) or sorted(FUNCTIONS)
            self.fail(token, f"there is no function '{token.text}'; there is {', '.join(near)}")
        (compute, least, most), opened, arguments = FUNCTIONS[token.text], self.take(), []
        while self.next.text != ")" or arguments:
            arguments.append(self.value(0))
            if self.next.text != ",":
                break
            self.take()
        self.close(opened)
        if not least <= len(arguments) <= most:
            wanted = str(least) if least == most else f"{least} or more"
            self.fail(token, f"{token.text} takes {wanted} arguments, not {len(arguments)}")
        for i, argument in enumerate(arguments):
            self.expect(argument, bool if token.text == "if" and i == 0 else float, token.text)
        return Node(token.position, float, compute, tuple(arguments))
