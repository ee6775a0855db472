"""Between which values of each property a formula of approval lets frames pass, where that can be told by itself."""

import math
from collections.abc import Mapping

import numpy as np

from masterlight.subframes.formula.explain import conditions
from masterlight.subframes.formula.expression import Expression, canonical
from masterlight.subframes.formula.parser import Node

STEPS, HALVINGS, BEYOND = 400, 50, 20.0
"""Values that are tried at first, halvings of the step in which the verdict turns; how far out, in ranges."""


def limits(formula: Expression, columns: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """The lowest and highest value that pass, by property, infinite where one side is open.

    columns (N,): what the formula needs, of the frames of one group. Told of `FWHM < 4 && StarsSigma > -2`, where each
    condition is about one property and all must hold; a part that joins properties, or one of several, tells nothing.
    """
    found: dict[str, tuple[float, float]] = {}
    for _, part in conditions(formula, formula.root):
        names = {canonical(node.name) for node in part.parts if node.name}
        if len(names) == 1 and (between := passing(formula, part, columns, *names)):
            name = names.pop()
            low, high = found.get(name, (-math.inf, math.inf))
            found[name] = max(low, between[0]), min(high, between[1])
    return found


def passing(
    formula: Expression, part: Node, columns: Mapping[str, np.ndarray], name: str
) -> tuple[float, float] | None:
    """Between which values of its one property a condition holds; None where it holds nowhere, or not in one piece.

    The values are tried as frames that count in no statistics.
    """
    known = columns[name][np.isfinite(columns[name])]
    if not len(known):
        return None
    over = np.append(np.isfinite(columns[name]), np.zeros(STEPS, bool))

    def holds(values: np.ndarray) -> np.ndarray:
        whole = np.append(columns[name], values)
        return formula.value_of(part, {name: whole}, over[: len(whole)])[len(columns[name]) :] == 1

    far = BEYOND * (np.ptp(known) or abs(known[0]) or 1.0)
    values = np.unique(np.concatenate([np.linspace(known.min(), known.max(), STEPS // 2 + 1)[1:-1],
                                       np.linspace(known.min() - far, known.max() + far, STEPS // 2)]))  # fmt: skip
    yes = holds(values)
    turns = np.flatnonzero(yes[1:] != yes[:-1])
    if not yes.any() or len(turns) > 2 or (len(turns) == 2 and yes[0]):
        return None
    edges = [edge(holds, values[i], values[i + 1]) for i in turns]
    return (-math.inf if yes[0] else edges[0]), (math.inf if yes[-1] else edges[-1])


def edge(holds, low: float, high: float) -> float:
    """The value between two at which the verdict turns, as the shorter figure where one is as good."""
    first = holds(np.array([low]))[0]
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(np.array([middle]))[0] == first else (low, middle)
    return float(f"{0.5 * (low + high):.10g}")
