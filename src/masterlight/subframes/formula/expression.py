"""The formulas by which frames are approved and weighed: `FWHM < 4 && Stars > 100`, `35*inv(FWHM) + 50`.

    numbers      3  .5  1e-3        names   FWHM, or a keyword of the header (a minus in it is written _)
    power        ^ or **, from the right, before a sign: 2^3^2 is 512, -2^2 is -4
    arithmetic   * /  then  + -
    comparison   < <= > >= == !=    then  !  then  &&  then  ||      true  false
    choice       condition ? a : b, of all that come last
    functions    those of `FUNCTIONS`, also as Math.sqrt

Every name X also gives XMin, XMax, XMedian and XSigma, over all frames; XSigma tells how many average deviations a
frame lies from the median. What could not be measured is NaN in a table: it takes no part in statistics, and a frame
is neither approved nor weighed by what is not known of it.
"""

import difflib
from collections.abc import Collection, Mapping

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.subframes.formula.functions import FUNCTIONS, STATISTICS
from masterlight.subframes.formula.parser import ExpressionError, Node, Parser, Scope, alike, base_of, over_frames
from masterlight.subframes.formula.presets import PRESETS
from masterlight.subframes.formula.variables import ALIASES

MOST_TOLD = 16
"""Known names that are listed where none resembles one that is not."""
PRESET_WORDS = {word for name in PRESETS for word in name.split("+")}
Table = Mapping[str, np.ndarray]
"""Columns (N,) of numbers by name, NaN where something is not known."""


class Expression:
    """A formula over a table of frames, understood once: `Expression("FWHM < 4").evaluate({"FWHM": fwhm_px})`.

    Takes the text of a formula or the name of one in `PRESETS`. Raises ExpressionError, a ParameterError, where the
    text cannot be understood.
    """

    def __init__(self, text: str):
        self.text = PRESETS.get(text.strip(), text)
        self.root = Parser(self.text).whole()

    def __reduce__(self):
        return Expression, (self.text,)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the formula needs, each once, in the order of the text; FWHM for FWHMMin, SNRWeight for
        SNR."""
        return tuple(dict.fromkeys(canonical(n.name) for n in self.root.parts if n.name))

    @property
    def approves(self) -> bool:
        """Whether the formula says true or false of a frame, not a number."""
        return self.root.gives is bool

    @property
    def compares(self) -> bool:
        """Whether it looks at other frames, too: by inv(X), XMin and the like."""
        return any(n.over or (n.name and n.name != base_of(n.name)) for n in self.root.parts)

    def evaluate(self, table: Table, over: np.ndarray | None = None) -> np.ndarray:
        """The formula for each frame: (N,) bool or float64 from columns (N,) of numbers.

        over: (N,) bool, which frames count in statistics; all unless told. A condition on what is not known is not
        met; a number that has no value, such as the logarithm of a negative one, is NaN or infinite. Raises
        ExpressionError for a name that the table lacks.
        """
        values = self.value_of(self.root, table, over)
        return values == 1 if self.approves else values

    def value_of(self, node: Node, table: Table, over: np.ndarray | None = None) -> np.ndarray:
        """A part of the formula for each frame, (N,) float64; of a condition 1, 0, or NaN where nobody knows."""
        frames = len(next(iter(table.values()), ()))
        over = np.ones(frames, bool) if over is None else np.asarray(over, bool)
        with np.errstate(all="ignore"):
            columns = {n.name: self.column(n, table, over) for n in node.parts if n.name}
            return np.array(node.evaluate(Scope(columns, over)), np.float64)

    def column(self, node: Node, table: Table, over: np.ndarray) -> np.ndarray:
        base = node.name if node.name in table else base_of(node.name)
        suffix = node.name[len(base) :]
        base = base if base in table else ALIASES.get(base, base)
        if base not in table:
            raise ExpressionError(self.text, node.position, unknown(node.name, table))
        values = np.asarray(table[base], np.float64)
        return over_frames(STATISTICS[suffix], values, over=over) if suffix else values

    def check(self, names: Collection[str], who: str = "expression") -> None:
        """Raise ParameterError for a name that is not among these; `who` asks: SubframeSelector.weight."""
        try:
            self.value_of(self.root, dict.fromkeys(names, np.zeros(1)))
        except ExpressionError as error:
            raise ParameterError(f"{who}: {str(error).removeprefix('expression: ')}") from None

    def words(self, node: Node) -> str:
        """A part of the formula as it is written."""
        return " ".join(self.text[slice(*node.span)].split())


def canonical(name: str) -> str:
    """The name of the column that a name in a formula is about."""
    base = base_of(name)
    return ALIASES.get(name) or ALIASES.get(base, base)


def unknown(name: str, names: Collection[str]) -> str:
    """That there is no such name, and which one may have been meant."""
    if name in PRESET_WORDS:
        return f"'{name}' is not known; formulas with a name are {' and '.join(PRESETS)}"
    if name in FUNCTIONS:
        return f"'{name}' is a function and needs brackets: {name}(...)"
    if difflib.get_close_matches(name.lower(), PRESETS, 1, 0.75):
        return f"'{name}' is not known; formulas with a name are {' and '.join(PRESETS)}"
    known = dict.fromkeys([*names, *(alias for alias, row in ALIASES.items() if row in names)])
    small = name.lower()
    suffix = next((s for s in STATISTICS if small.endswith(s.lower()) and len(s) < len(name)), "")
    near = [each + suffix for each in alike(name[: len(name) - len(suffix)], known)] or alike(name, known)
    told = f"is it {' or '.join(near)}?" if near else f"there are {', '.join(list(known)[:MOST_TOLD]) or 'none'}"
    return f"'{name}' is not known; {told}"
