"""What plots, page and prints show of a night: columns of figures, who is approved, and the bands that tell it."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from masterlight.core.headers.values import seconds_of
from masterlight.subframes.choice.groups import groups_of
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.variables import PROPERTIES
from masterlight.subframes.looks.limits import limits

INDEX, TIME = "Index", "Time"
"""Columns that every chart has: the place of a frame in the table, and when its exposure began."""
FIRST = ("Weight", "FWHM", "Eccentricity", "Noise", "SNRWeight", "Median", "Stars", "Transparency")
"""Columns that are shown before one asks for others."""
KEPT, LEFT = "#0072b2", "#d55e00"
"""Colours of frames that are approved and of those that are not (Okabe & Ito 2008); shapes tell it too."""
CHOSEN = "chosen"
"""What the present choice is called beside other weights."""
MOST_BINS, NIGHT_MS = 40, 16 * 3600e3
LABEL = 0.2, 0.065
"""Width and height of a label, parts of those of its plot."""


class Band(NamedTuple):
    """How a property of one group is spread, and between which values the approval lets it pass."""

    median: float
    deviation: float
    """Average absolute deviation from the median."""
    low: float = -math.inf
    high: float = math.inf


class Bins(NamedTuple):
    """A histogram: `edges` (n + 1,), and how many frames lie between them, approved and not, (n,) each."""

    edges: np.ndarray
    approved: np.ndarray
    rejected: np.ndarray


@dataclass(frozen=True, eq=False)
class Column:
    """One property of all frames."""

    name: str
    """As formulas call it."""
    values: np.ndarray
    """(N,) float64, NaN where it could not be measured; `Time` in ms since 1970, UTC."""
    unit: str = ""
    words: str = ""
    """What it is, for a photographer."""
    form: str = ".4g"
    """How a table writes it."""

    @property
    def title(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @cached_property
    def one_night(self) -> bool:
        """Whether these are times of one night."""
        return len(self.values) > 0 and np.isfinite(self.values).all() and bool(np.ptp(self.values) < NIGHT_MS)

    def text(self, i: int) -> str:
        """The figure of frame i as a table shows it; a dash where there is none."""
        value = self.values[i]
        if not math.isfinite(value):
            return "–"
        if self.name == TIME:
            return clock(value)[11 if self.one_night else 0 :]
        return format(value, f"#{self.form}" if self.form.endswith("g") else self.form).rstrip(".")


class Frontier(NamedTuple):
    """How narrow the stars of the result can be for each part of the depth that is given away, and where one is."""

    given: np.ndarray
    """(n,) fractions of the depth, from 0 on."""
    fwhm: np.ndarray
    """(n,) the least width for each."""
    points: Mapping[str, tuple[float, float]]
    """Depth given away and width by name of the weights; `CHOSEN` is the present choice."""
    unit: str = "px"

    def heights(self) -> dict[str, float]:
        """Where the label of each point stands, as a width: at its point, or below a label that is there already."""
        ends = np.array([*self.points.values(), *zip(self.given, self.fwhm, strict=True)])
        apart_x, apart_y = LABEL * np.ptp(ends, axis=0)
        placed: dict[str, float] = {}
        for name in sorted(self.points, key=lambda name: -self.points[name][1]):
            x, y = self.points[name]
            for other, above in placed.items():
                if abs(self.points[other][0] - x) < apart_x and above - y < apart_y:
                    y = above - apart_y
            placed[name] = y
        return placed

    def columns(self) -> dict[str, dict[str, list]]:
        """The line and the points beside it, as sources of a plot: depth in %, names and looks."""
        names, heights = list(self.points), self.heights()
        points = {
            "x": [100 * self.points[name][0] for name in names],
            "y": [self.points[name][1] for name in names],
            "name": names,
            "height": [heights[name] for name in names],
            "marker": ["star" if name == CHOSEN else "circle" for name in names],
            "color": [LEFT if name == CHOSEN else KEPT for name in names],
            "size": [18 if name == CHOSEN else 8 for name in names],
        }
        return {"curve": {"x": (100 * self.given).tolist(), "y": self.fwhm.tolist()}, "weights": points}

    @property
    def titles(self) -> tuple[str, str]:
        return "depth given away (%)", f"FWHM of the result ({self.unit})"


@dataclass(frozen=True, eq=False)
class Chart:
    """The frames of a night as one looks at them; all arrays (N,), in the order of the table."""

    files: tuple[str, ...]
    """Names without folders; `paths` has them whole."""
    columns: Mapping[str, Column]
    approved: np.ndarray
    reasons: tuple[str, ...]
    """Why a frame is not approved, and what is odd about its health; '' for the others."""
    group: np.ndarray
    """Place of each frame's group in `groups`."""
    groups: tuple[str, ...]
    paths: tuple[str, ...]
    """As a list for other verbs has them, absolute."""
    locked: tuple[bool, ...]
    """Whose verdict was set by hand."""
    limits: Sequence[Mapping[str, tuple[float, float]]] = ()
    """Lowest and highest value that the approval lets pass, for each group, of those columns of which it tells one."""
    title: str = "Subframes"
    lines: tuple[str, ...] = ()
    """Sentences above the plots: the units, the formulas, what was decided."""
    frontiers: dict[int, Frontier] = field(default_factory=dict)
    """What could be had of each group, by its place in `groups`."""

    def __len__(self) -> int:
        return len(self.files)

    @classmethod
    def of(cls, night: Subframes, title: str = "Subframes") -> "Chart":
        """A table of measured frames as one looks at it."""
        groups = groups_of(night)
        names = tuple(dict.fromkeys(groups))
        place = np.array([names.index(group) for group in groups], int)
        columns = {n: Column(n, night.column(n), night.unit_of(n), row.help, row.form) for n, row in PROPERTIES.items()}
        columns[TIME] = Column(TIME, np.array([ms_of(frame.time) for frame in night]), "UTC", "when it was begun")
        formula = Expression(night.approve) if night.approve.strip() else None
        between = [limits(formula, {n: c.values[place == g] for n, c in columns.items()}) if formula else {}
                   for g in range(len(names))]  # fmt: skip
        words = {"Approved by": formula and formula.text, "Weighed by": night.weight and Expression(night.weight).text}
        return cls(
            files=names_of([frame.source for frame in night]),
            paths=tuple(os.path.abspath(frame.source) for frame in night),
            columns=columns,
            approved=np.array([frame.approved for frame in night], bool),
            locked=tuple(frame.locked for frame in night),
            reasons=tuple(remarks(frame) for frame in night),
            group=place,
            groups=tuple(map(str, names)),
            limits=between,
            title=title,
            lines=tuple([*night.units.notes, *(f"{what} {text}" for what, text in words.items() if text)]),
        )

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """Columns that a plot can show, those of `FIRST` first: at least one frame has a figure there."""
        names = [n for n in FIRST if n in self.columns] + [n for n in self.columns if n not in FIRST]
        return tuple(n for n in names if n not in (INDEX, TIME) and np.isfinite(self.columns[n].values).any())

    @property
    def usual(self) -> tuple[str, ...]:
        """Those of the shown that are plotted unless others are asked for."""
        return tuple(name for name in self.shown if name in FIRST) or self.shown[:1]

    @property
    def across(self) -> str:
        """What a plot over the night has from left to right: the time, where all frames are of one night."""
        times = self.columns[TIME]
        return TIME if times.one_night and np.ptp(times.values) > 0 else INDEX

    def members(self, group: int | None = None) -> np.ndarray:
        """Which frames belong to a group; all of them for None."""
        return np.ones(len(self), bool) if group is None else self.group == group

    def band(self, name: str, group: int | None = None) -> Band | None:
        """Median, spread and limits of a property among the frames of a group; None where nobody has a figure."""
        known = self.columns[name].values[self.members(group)]
        known = known[np.isfinite(known)]
        if not len(known):
            return None
        median = float(np.median(known))
        return Band(median, float(np.mean(np.abs(known - median))), *self.passing(name, group))

    def passing(self, name: str, group: int | None = None) -> tuple[float, float]:
        """Between which values the approval lets a property pass; infinite where groups differ in that."""
        mine = self.limits if group is None else self.limits[group : group + 1]
        ends = {one.get(name, (-math.inf, math.inf)) for one in mine}
        return ends.pop() if len(ends) == 1 else (-math.inf, math.inf)

    def caption(self, name: str, group: int | None = None) -> str:
        """A property in a line: what it is, how it is spread, what the approval lets pass."""
        column, band = self.columns[name], self.band(name, group)
        if band is None:
            return f"{column.title}: no figures"
        unknown = int(np.count_nonzero(~np.isfinite(column.values[self.members(group)])))
        words = [f"median {band.median:{column.form}}, average deviation {band.deviation:.2g}"]
        words += [f"approved above {band.low:{column.form}}"] * math.isfinite(band.low)
        words += [f"approved below {band.high:{column.form}}"] * math.isfinite(band.high)
        words += [f"not measured in {unknown} frames"] * (unknown > 0)
        return f"{column.title}{', ' * bool(column.words)}{column.words}: {'; '.join(words)}"

    def bins(self, name: str, group: int | None = None) -> Bins | None:
        """The histogram of a property, as many bins as the root of the number of frames."""
        values = self.columns[name].values
        use = self.members(group) & np.isfinite(values)
        if not use.any():
            return None
        low, high = float(values[use].min()), float(values[use].max())
        if not high > low:
            low, high = low - (abs(low) or 1) / 20, high + (abs(high) or 1) / 20
        edges = np.linspace(low, high, min(MOST_BINS, max(3, round(math.sqrt(np.count_nonzero(use))))) + 1)
        sides = [np.histogram(values[use & side], edges)[0] for side in (self.approved, ~self.approved)]
        return Bins(edges, *sides)

    def summary(self) -> str:
        """How many frames there are and are approved."""
        kept = int(np.count_nonzero(self.approved))
        return f"{len(self)} frame{'' if len(self) == 1 else 's'}, {kept} approved, {len(self) - kept} left out"


def names_of(paths: Sequence[str]) -> tuple[str, ...]:
    """Names of files without their folders; with those that differ, where one name comes twice."""
    names = [os.path.basename(path) for path in paths]
    if len(set(names)) == len(names) or len({os.path.isabs(path) for path in paths}) > 1:
        return tuple(names)
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return tuple(os.path.relpath(path, common or ".") for path in paths)


def remarks(frame: Subframe) -> str:
    """Why a frame is not approved, and what is odd about its health."""
    said = [*frame.reasons, *(f"{flag.code}: {flag.words}" for flag in frame.flags)]
    return "; ".join(dict.fromkeys(said))


def clock(ms: float) -> str:
    """A time as a table shows it: day, hours, minutes and seconds, UTC."""
    return str(np.datetime64(int(ms), "ms")).replace("T", " ")[:19]


def ms_of(time: str) -> float:
    """A time of a header, ISO 8601 in UTC, in ms since 1970; NaN where it cannot be read."""
    seconds = seconds_of(time)
    return math.nan if seconds is None else 1e3 * seconds


def ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Round numbers between two values, at steps of 1, 2 or 5 times a power of ten, `most` at most."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return [low] if math.isfinite(low) else []
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, math.floor(high / step + 1e-9) + 1)]
