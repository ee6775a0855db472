"""What a formula makes of a frame, in words: why it is not approved, and what each term adds to its weight."""

from typing import NamedTuple

import numpy as np

from masterlight.subframes.formula.expression import Expression, Table, canonical
from masterlight.subframes.formula.parser import Node

MOST_SHOWN = 60
"""Letters of a part of a formula in a sentence."""


class Term(NamedTuple):
    """One of the terms whose sum is a weight, or of the conditions that must all be met."""

    text: str
    values: np.ndarray
    """(N,) what it adds to the weight of each frame; of a condition 1, 0, or NaN where nobody knows."""


def terms(formula: Expression, table: Table, over: np.ndarray | None = None) -> list[Term]:
    """The terms of a formula over the frames of a table, as `Expression.evaluate` takes it.

    A product of a sum is parted as well, where it is all there is: (A + B) * C into A * C and B * C.
    """
    parts = conditions(formula, formula.root) if formula.approves else summands(formula, formula.root, True)
    return [Term(text, formula.value_of(node, table, over)) for text, node in parts]


def conditions(formula: Expression, node: Node) -> list[tuple[str, Node]]:
    """What must be true at once."""
    if node.sign == "&&":
        return [part for side in node.arguments for part in conditions(formula, side)]
    return [(formula.words(node), node)]


def summands(formula: Expression, node: Node, whole: bool = False) -> list[tuple[str, Node]]:
    """What is added up, with its sign; `whole`: also inside of a product."""
    if node.sign in ("+", "-"):
        *first, last = [summands(formula, side) for side in node.arguments]
        return [*(part for side in first for part in side), *(last if node.sign == "+" else map(negative, last))]
    if whole and node.sign in ("*", "/"):
        left, right = node.arguments
        parts = summands(formula, left, True)
        if len(parts) > 1:
            by = f" {node.sign} {formula.words(right)}"
            return [(text + by, node._replace(arguments=(part, right))) for text, part in parts]
        parts = summands(formula, right, True)
        if len(parts) > 1 and node.sign == "*":
            by = f"{formula.words(left)} * "
            return [(by + text, node._replace(arguments=(left, part))) for text, part in parts]
    return [(formula.words(node), node)]


def negative(part: tuple[str, Node]) -> tuple[str, Node]:
    """A term that is taken off."""
    text, node = part
    turned = Node(node.position, float, np.negative, (node,), sign="-")
    return text.removeprefix("-") if text.startswith("-") else f"-{text}", turned


def reasons(formula: Expression, table: Table, over: np.ndarray | None = None) -> list[str]:
    """Why each frame is not approved, or has no weight, as a sentence; empty where it is or has.

    A weight must be finite and not negative.
    """
    frames = len(next(iter(table.values()), ()))
    out: list[list[str]] = [[] for _ in range(frames)]
    parts = conditions(formula, formula.root) if formula.approves else [("", formula.root)]
    for text, node in parts:
        values = formula.value_of(node, table, over)
        met = values == 1 if formula.approves else np.isfinite(values) & (values >= 0)
        facts = facts_of(formula, node, table, over)
        for i in np.flatnonzero(~met):
            own = {name: float(column[i]) for name, column in facts.items()}
            out[i].append(reason(shortened(text), float(values[i]), own))
    return ["; ".join(dict.fromkeys(each)) for each in out]


def reason(condition: str, value: float, facts: dict[str, float]) -> str:
    """Why one frame does not meet a condition, or what is wrong with its weight where that is empty."""
    lacking = dict.fromkeys(canonical(name) for name, fact in facts.items() if np.isnan(fact))
    given = ", ".join(f"{name} {fact:.5g}" for name, fact in facts.items())
    if np.isnan(value) and lacking:
        return f"{' and '.join(lacking)} could not be measured"
    if np.isnan(value):
        return f"{condition or 'its weight'} has no value ({given}): 0 / 0, or log or root of less than 0"
    if condition:
        return f"fails {condition}{f' ({given})' if given else ''}"
    fault = "divided by 0" if np.isinf(value) else "less than 0"
    return f"its weight is {value:.5g}, {fault}{f' ({given})' if given else ''}"


def facts_of(formula: Expression, node: Node, table: Table, over: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What a part of a formula is made of, (N,) each, by the names in its text."""
    return {part.name: formula.value_of(part, table, over) for part in node.parts if part.name}


def explain(formula: Expression, table: Table, frame: int, over: np.ndarray | None = None) -> list[str]:
    """Lines that tell how one frame, by its place in the table, comes to its weight or its verdict.

    First what comes out and of what, then each term: its value, its share, its text.
    """
    facts = facts_of(formula, formula.root, table, over)
    given = ", ".join(f"{name} {column[frame]:.5g}" for name, column in facts.items())
    value = formula.value_of(formula.root, table, over)[frame]
    parts = [(text, float(values[frame])) for text, values in terms(formula, table, over)]
    if formula.approves:
        head = {1.0: "approved", 0.0: "not approved"}.get(value, "not approved, for not all is known")
        lines = [f"{({1.0: 'yes', 0.0: 'no'}).get(own, '?'):>5}  {text}" for text, own in parts]
    else:
        head = f"weight {value:.6g}"
        shares = [f"{100 * own / value:8.1f} %" if np.isfinite(value) and value else " " * 10 for _, own in parts]
        lines = [f"{own:12.6g}{share}  {text}" for (text, own), share in zip(parts, shares, strict=True)]
    return [f"{head}{f': {given}' if given else ''}", *lines]


def shortened(text: str) -> str:
    """A part of a formula as a sentence has room for it."""
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 4]} ..."
