"""`Subframes`: measured frames in a table, approved and weighed by formulas, group by group.

Pure data, which opens no file and measures nothing: doors and notebooks fill it, formulas, plots and forecasts read it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, overload

import numpy as np

from masterlight import __version__
from masterlight.core.errors import ParameterError
from masterlight.core.process import engine
from masterlight.subframes.choice.groups import SubframeGroup, groups_of
from masterlight.subframes.choice.subframe import Subframe, Units, lacks_weight, weighed
from masterlight.subframes.choice.texts import csv_text, ecsv_text, json_text
from masterlight.subframes.formula.explain import explain, reasons
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.parser import alike
from masterlight.subframes.formula.variables import ALIASES, PROPERTIES, Property, keyword_names, property_named

Over = Literal["all", "approved"]


@dataclass(frozen=True, eq=False)
class Subframes(Sequence[Subframe]):
    """Measured frames in an order, and the units in which their figures are shown.

    `night.column("FWHM")` gives the figures of all frames; `night[3]`, `night[:10]` and `len(night)` work as with a
    list. Everything that changes something gives a new table.
    """

    frames: tuple[Subframe, ...]
    units: Units = Units()
    approve: str = ""
    """By which formula they were approved, and weighed; empty for none."""
    weight: str = ""
    stats_over: Over = "all"
    """Which frames of a group told XMin, XMedian and the like in the formula of the weight."""

    @overload
    def __getitem__(self, index: int) -> Subframe: ...
    @overload
    def __getitem__(self, index: slice) -> "Subframes": ...
    def __getitem__(self, index: int | slice) -> "Subframe | Subframes":
        return replace(self, frames=self.frames[index]) if isinstance(index, slice) else self.frames[index]

    def __repr__(self) -> str:
        return f"<Subframes: {len(self)} frames, {len(self.approved)} approved>"

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Subframe]:
        return iter(self.frames)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of numbers that a formula, a plot or a sort may ask for, besides keywords of the headers."""
        return tuple(PROPERTIES)

    def unit_of(self, name: str) -> str:
        """The unit of a column: arcsec, px, DN, e-, s, deg; empty for a bare number."""
        row = property_named(name)
        return self.units.name(row.unit) if row else ""

    def column(self, name: str) -> np.ndarray:
        """(N,) float64, one figure for each frame in the units of the table, NaN where it could not be measured.

        name: one of `names` or their aliases, or a keyword of the headers. Raises ParameterError for any other.
        """
        row = property_named(name)
        if row is None and name.upper() not in self.keywords:
            near = alike(name.replace("-", "_"), (*PROPERTIES, *ALIASES, *self.keywords))
            known = f"is it {' or '.join(near)}?" if near else f"there are {', '.join(self.names[:8])} and more"
            raise ParameterError(f"there is no column {name}; {known}")
        if row is None:
            return self.keyword_column(name)
        return np.array([self.value(i, row) for i in range(len(self))], float)

    def value(self, i: int, row: Property) -> float:
        """One property of a frame in the units of the table."""
        frame = self.frames[i]
        if row.name == "Index":
            return frame.given.get("Index", i + 1.0)
        if row.name == "Weight":
            return np.nan if frame.weight is None else frame.weight
        if row.name in frame.given or frame.measurement is None:
            return frame.given.get(row.name, np.nan)
        return row.of(frame.measurement) * self.units.factor(row.unit, frame)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The keywords of all headers as formulas call them."""
        return tuple(dict.fromkeys(name for frame in self.frames for name in keyword_names(frame.keywords)))

    def keyword_column(self, name: str) -> np.ndarray:
        """(N,) the numbers that a keyword has in the headers of the frames, NaN where it has none."""
        values = [keyword_names(frame.keywords).get(name.upper()) for frame in self.frames]
        numbers = [isinstance(value, Real) and not isinstance(value, bool) for value in values]
        return np.array([v if known else np.nan for v, known in zip(values, numbers, strict=True)], float)

    def sorted_by(self, name: str, descending: bool = False) -> "Subframes":
        """The same frames by a column, or by File, Time, Target or Filter; what could not be measured comes last."""
        if name in TEXTS:
            return self.with_frames(sorted(self.frames, key=TEXTS[name], reverse=descending))
        values = self.column(name)
        order = np.argsort(-values if descending else values, kind="stable")  # NaN last, either way
        return self.with_frames(self.frames[i] for i in order)

    def with_frames(self, frames: Iterable[Subframe]) -> "Subframes":
        """The same table of other frames."""
        return replace(self, frames=tuple(frames))

    def where(self, keep: Callable[[Subframe], object]) -> "Subframes":
        """Those frames for which `keep` says yes."""
        return self.with_frames(filter(keep, self.frames))

    @property
    def approved(self) -> "Subframes":
        """Those frames that are approved."""
        return self.where(lambda frame: frame.approved)

    @property
    def groups(self) -> "dict[SubframeGroup, Subframes]":
        """The frames by target, filter and exposure, in the order in which they first come."""
        parts: dict[SubframeGroup, list[Subframe]] = {}
        for frame, group in zip(self.frames, groups_of(self.frames), strict=True):
            parts.setdefault(group, []).append(frame)
        return {group: self.with_frames(frames) for group, frames in parts.items()}

    @property
    def weights(self) -> np.ndarray:
        """(N,) the weight of each frame, NaN where it has none."""
        return self.column("Weight")

    def approved_by(self, expression: str) -> "Subframes":
        """The table with the frames approved for which a formula holds: `FWHM < 4 && Eccentricity < 0.6`.

        Each group is looked at by itself, all of its frames tell XMin, XMedian and the like. A frame that lacks what
        the formula needs is not approved, whatever it says; those that were locked by hand stay as they are. An empty
        formula approves all that could be measured.
        """
        self.check_names(expression)
        chosen = self.by_group(lambda group: approve_group(group, expression))
        return replace(chosen, approve=expression)

    def weighed_by(self, expression: str, over: Over = "all") -> "Subframes":
        """The table with weights by a formula: `35*inv(FWHM) + 5*inv(Eccentricity) + 50`.

        Each group is looked at by itself; `over` says which of its frames tell XMin, XMedian and the like. A frame that
        lacks what the formula needs has no weight, and is approved no longer.
        """
        self.check_names(expression)
        chosen = self.by_group(lambda group: weigh_group(group, expression, over))
        return replace(chosen, weight=expression, stats_over=over)

    def check_names(self, expression: str) -> None:
        """Raise ExpressionError for a name in a formula that is neither a property nor a keyword of any header."""
        formula = Expression(expression or "true")
        if any(property_named(name) is None for name in formula.names):
            formula.check([*PROPERTIES, *self.keywords])

    def explained(self, i: int) -> list[str]:
        """Lines that tell how frame `i` comes to its verdict and its weight: each condition, and the share of each
        term."""
        frame, lines = self.frames[i], list[str]()
        group = next(g for g in self.groups.values() if any(frame is one for one in g.frames))
        at = next(k for k, one in enumerate(group.frames) if one is frame)
        for formula in map(Expression, filter(None, (self.approve, self.weight))):
            over = None if formula.approves else counting(group, self.stats_over)
            lines += explain(formula, table_for(group, formula), at, over)
        return lines

    def by_group(self, work: "Callable[[Subframes], Iterable[Subframe]]") -> "Subframes":
        """The table with each group of frames replaced by what `work` makes of it, in the order that it had."""
        made = {id(old): new for g in self.groups.values() for old, new in zip(g.frames, work(g), strict=True)}
        return self.with_frames(made[id(frame)] for frame in self.frames)

    def heads(self) -> dict[str, str]:
        """The columns of a table in a file, with their units: words, then what was measured of any frame."""
        return dict.fromkeys(TEXTS, "") | {name: self.unit_of(name) for name in self.filled}

    @property
    def filled(self) -> tuple[str, ...]:
        """The properties that are known of at least one frame."""
        return tuple(name for name in PROPERTIES if np.isfinite(self.column(name)).any())

    def rows(self) -> list[tuple[Any, ...]]:
        """What stands in a table in a file: a row for each frame, a cell for each of `heads`, None where unknown."""
        columns: list[list[Any]] = [[TEXTS[name](frame) for frame in self.frames] for name in TEXTS]
        columns += [[plain_number(x) for x in self.column(name).tolist()] for name in self.filled]
        return list(zip(*columns, strict=True))

    def forecast(self, give: float = 1.0) -> list[Any]:
        """What the frames of each target and filter will become, by the present choice and by others: `Outlook`s.

        give: percent of depth that weights sharp give away.
        """
        found: list[Any] = engine("subframes.choice.outlook").outlooks(self, give)
        return found

    def facts(self) -> dict[str, Any]:
        """What is true of the whole table: by which formulas it was decided, and whose scale and gain it shows."""
        told = {"scale_arcsec", "scale_from", "gain_e", "gain_from"}
        units = {name: value for name, value in vars(self.units).items() if name in told and value}
        formulas = {"approve": self.approve, "weight": self.weight}
        over = {"stats_over": self.stats_over} if self.weight else {}
        return {"masterlight": __version__} | {name: text for name, text in formulas.items() if text} | over | units

    def to_csv(self) -> str:
        """The table as CSV, units in brackets behind the names of columns; numbers as full doubles."""
        return csv_text(self.heads(), self.rows())

    def to_ecsv(self) -> str:
        """The table as ECSV, which astropy reads with the units of its columns."""
        return ecsv_text(self.heads(), self.rows(), self.facts())

    def to_json(self) -> str:
        """The table as JSON: formulas, units, and frames with their columns by name."""
        return json_text(self.heads(), self.rows(), self.facts())


TEXTS: dict[str, Callable[[Subframe], Any]] = {
    "File": lambda frame: frame.source,
    "Target": lambda frame: frame.meta.object or "",
    "Filter": lambda frame: frame.meta.filter or "",
    "Time": lambda frame: frame.time,
    "Approved": lambda frame: frame.approved,
    "Locked": lambda frame: frame.locked,
    "Flags": lambda frame: " ".join(map(str, frame.flags)),
    "Reasons": lambda frame: "; ".join(frame.reasons),
}
"""Columns of words and verdicts."""


def plain_number(x: float) -> float | int | None:
    """A figure as files have it: None where unknown, 312 for 312.0."""
    return None if not np.isfinite(x) else int(x) if x.is_integer() and abs(x) < 2**53 else x


def table_for(group: Subframes, formula: Expression) -> dict[str, np.ndarray]:
    """The columns that a formula needs; a keyword that frames of other groups alone have is unknown of all of them."""
    known = {n: group.column(n) if property_named(n) else group.keyword_column(n) for n in formula.names}
    return known or {"Index": group.column("Index")}


def approve_group(group: Subframes, text: str) -> list[Subframe]:
    """The frames of a group, approved by a formula; empty, by being measured."""
    formula = Expression(text or "true")
    if not formula.approves:
        raise ParameterError(f"'{text:.60}' is a number; a condition is needed, such as FWHM < 4")
    told = reasons(formula, table_for(group, formula))
    return [
        frame if frame.locked or frame.measurement is None
        else replace(frame, approved=not why, reasons=(why,) if why else ())
        for frame, why in zip(group, told, strict=True)
    ]  # fmt: skip


def weigh_group(group: Subframes, text: str, over: str) -> list[Subframe]:
    """The frames of a group, weighed by a formula; one that has no weight, or 0, is no longer approved."""
    formula = Expression(text)
    if formula.approves:
        raise ParameterError(f"'{text:.60}' is a condition; a weight is a number: if({text:.60}, 1, 0)")
    table = table_for(group, formula)
    within = counting(group, over)
    weights, told = formula.evaluate(table, within), reasons(formula, table, within)
    return [weighed(*each) for each in zip(group, weights.tolist(), told, strict=True)]


def counting(group: Subframes, over: str) -> np.ndarray:
    """(N,) bool: which frames tell XMin and the like in a weight; a frame that has none was approved before that."""
    return np.array([over == "all" or frame.approved or lacks_weight(frame) for frame in group])
