"""What formulas can compute: statistics over frames, functions, operators. Columns (N,) float64; NaN is not known.

Conditions are columns, too: 1 true, 0 false, NaN unknown, joined as Kleene (1938) joins them: what is unknown stays so
unless it does not matter, as in `false && unknown`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

KINDS = {float: "a number", bool: "true or false"}
NUMBER, CONDITION, SAME = float, bool, object
"""What an argument may be, what comes out; SAME for whichever of both the others are."""


def known(x: np.ndarray, over: np.ndarray) -> np.ndarray:
    """The values that statistics are made of: those of the frames that count, where there are any."""
    counted = x[over]
    return counted[np.isfinite(counted)]


def nothing_apart(x: np.ndarray) -> np.ndarray:
    """0 for each frame of which anything is known: what a distance is where all are alike."""
    return np.where(np.isfinite(x), 0.0, np.nan)


def sigma(x, over):
    """Distance from the median in average deviations."""
    values = known(x, over)
    centre = np.median(values)
    return (x - centre) / (np.mean(np.abs(values - centre)) or 1.0)


def norm(x, over):
    """0 at the smallest value, 1 at the largest; 0 for all when they are the same."""
    values = known(x, over)
    low, high = values.min(), values.max()
    return (x - low) / (high - low) if high > low else nothing_apart(x)


def rank(x, over):
    """Place in ascending order from 0 to 1, the mean place for equal values; 0 for a single frame."""
    values = np.sort(known(x, over))
    places = 0.5 * (np.searchsorted(values, x) + np.searchsorted(values, x, "right") - 1)
    return np.where(np.isnan(x), np.nan, np.clip(places, 0, len(values) - 1) / max(1, len(values) - 1))


def z(x, over):
    """Distance from the median in robust standard deviations; 0 for all when most values are the same."""
    values = known(x, over)
    centre = np.median(values)
    mad = 1.4826 * np.median(np.abs(values - centre))
    return (x - centre) / mad if mad > 0 else nothing_apart(x)


def percentile(x, p, over):
    """The value below which p percent of the frames lie, the same for all."""
    return np.full(len(x), np.percentile(known(x, over), p[0]))


STATISTICS = {
    "Minimum": lambda x, over: known(x, over).min(), "Maximum": lambda x, over: known(x, over).max(),
    "Min": lambda x, over: known(x, over).min(), "Max": lambda x, over: known(x, over).max(),
    "Median": lambda x, over: np.median(known(x, over)), "Sigma": sigma,
}  # fmt: skip
"""What may be added to a name."""


def choose(condition, one, other):
    """`one` where the condition holds, `other` where it does not, NaN where nobody knows."""
    return np.where(np.isnan(condition), np.nan, np.where(condition == 1, one, other))


class Function(NamedTuple):
    """What a function computes of how many arguments at least and at most."""

    compute: Callable
    least: int = 1
    most: int = 1
    takes: tuple[type, ...] = (NUMBER,)
    """Of each argument, that of the last for all more."""
    gives: type = NUMBER
    over: bool = False
    """Whether it looks at all frames that count, and not at one at a time."""


FUNCTIONS = {
    "min": Function(lambda *x: np.minimum.reduce(x), 2, 9),
    "max": Function(lambda *x: np.maximum.reduce(x), 2, 9),
    **{compute.__name__: Function(compute) for compute in (np.sqrt, np.exp, np.log, np.log10, np.floor, np.ceil)},
    **{compute.__name__: Function(compute, over=True) for compute in (norm, rank, z)},
    "abs": Function(np.abs),
    "inv": Function(lambda x, over: 1.0 - norm(x, over), over=True),
    "pow": Function(np.power, 2, 2),
    "percentile": Function(percentile, 2, 2, over=True),
    "clip": Function(lambda x, low, high: np.minimum(np.maximum(x, low), high), 3, 3),
    "if": Function(choose, 3, 3, (CONDITION, SAME), SAME),
}


class Operator(NamedTuple):
    """An operator between two values: how tightly it binds, what it computes, the kinds that it takes and gives."""

    binding: int
    compute: Callable
    takes: type = NUMBER
    gives: type = NUMBER


def compared(relation: Callable) -> Callable:
    """A comparison that is unknown where a value is."""
    return lambda a, b: np.where(np.isnan(a) | np.isnan(b), np.nan, relation(a, b))


def opposite(a):
    """Kleene's not."""
    return 1.0 - a


def both(a, b):
    """Kleene's and."""
    return np.where((a == 0) | (b == 0), 0.0, a * b)


def either(a, b):
    """Kleene's or."""
    return np.where((a == 1) | (b == 1), 1.0, np.maximum(a, b))


NOT, COMPARISON, SIGN, POWER = 3, 4, 7, 8
COMPARISONS = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
OPERATORS = {
    "||": Operator(1, either, CONDITION, CONDITION),
    "&&": Operator(2, both, CONDITION, CONDITION),
    **{sign: Operator(COMPARISON, compared(relation), gives=CONDITION) for sign, relation in COMPARISONS.items()},
    "+": Operator(5, np.add),
    "-": Operator(5, np.subtract),
    "*": Operator(6, np.multiply),
    "/": Operator(6, np.divide),
    **dict.fromkeys(("^", "**"), Operator(POWER, np.power)),
}
