"""Plots of a night as plain SVG: what a page shows where Bokeh is not installed, and small ones in a report."""

import math
from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

import numpy as np

from masterlight.subframes.looks.chart import CHOSEN, TIME, Band, Chart, Column, Frontier, clock, ticks

LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 40
"""Room around the plot for its figures and titles, px."""
STYLE = """
svg.plot { font: 12px system-ui, sans-serif; width: 100%; height: auto; background: #fff; color: #222 }
svg.plot text { fill: #444 } svg .axis { stroke: #999 } svg .grid { stroke: #eee }
svg .one, svg .two { fill: #8c8c8c; opacity: .12 } svg .median { stroke: #8c8c8c; fill: none }
svg .beyond { fill: #d55e00; opacity: .1 } svg .limit { stroke: #d55e00; stroke-dasharray: 5 4 }
svg .kept { fill: #0072b2; fill-opacity: .75; stroke: #0072b2 }
svg .left { fill: none; stroke: #d55e00; stroke-width: 2 }
svg rect.left { fill: #d55e00; fill-opacity: .55; stroke-width: 0 }
svg .chosen { stroke: #111; stroke-width: 3.5 } svg g.frames > * { cursor: pointer }
"""


class Axis(NamedTuple):
    """Values from `low` to `high` at pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value, no farther out than the edge of the plot."""
        part = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)


class Plot:
    """One plot of points or bars: shapes are gathered in `shapes`, `text` gives the whole as an element of a page."""

    def __init__(self, x: Axis, y: Axis, width: int, height: int):
        self.x, self.y, self.width, self.height = x, y, width, height
        self.shapes: list[str] = []

    def box(self, kind: str, x0: float, x1: float, y0: float, y1: float) -> None:
        """A rectangle between values, of the plot's whole height or width where they are infinite."""
        left, right = sorted((self.x.at(x0), self.x.at(x1)))
        top, bottom = sorted((self.y.at(y0), self.y.at(y1)))
        size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
        self.shapes.append(f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" {size}/>')

    def across(self, kind: str, y: float) -> None:
        """A line at one height from left to right."""
        if self.y.low <= y <= self.y.high:
            self.shapes.append(f'<path class="{kind}" d="M{self.x.start} {self.y.at(y):.1f}H{self.x.end}"/>')

    def bands(self, band: Band | None) -> None:
        """What lies beyond the limits of the approval, one and two deviations around the median, and that."""
        if band is None:
            return
        for kind, far in (("two", 2), ("one", 1)):
            self.box(kind, -math.inf, math.inf, band.median - far * band.deviation, band.median + far * band.deviation)
        self.across("median", band.median)
        for limit, end in ((band.high, math.inf), (band.low, -math.inf)):
            if math.isfinite(limit):
                self.box("beyond", -math.inf, math.inf, limit, end)
                self.across("limit", limit)

    def frame_marks(self, chart: Chart, x: np.ndarray, y: np.ndarray, use: np.ndarray) -> None:
        """A disc for each approved frame and a cross for the others, with the name on the pointer."""
        marks = []
        for i in np.flatnonzero(use & np.isfinite(x) & np.isfinite(y)):
            a, b = self.x.at(x[i]), self.y.at(y[i])
            disc = "circle", f'class="kept" r="4" cx="{a:.1f}" cy="{b:.1f}"'
            cross = "path", f'class="left" d="M{a - 4:.1f} {b - 4:.1f}l8 8m0-8l-8 8"'
            kind, shape = disc if chart.approved[i] else cross
            marks.append(f'<{kind} {shape} data-i="{i}"><title>{escape(chart.files[i])}</title></{kind}>')
        self.shapes.append(f'<g class="frames">{"".join(marks)}</g>')

    def text(self, x: Column | str, y: Column | str, words: str) -> str:
        """The whole plot; axes are a column each, or a title."""
        parts = [*self.ruled_x(x), *self.ruled_y(), *self.shapes]
        titles = [escape(one if isinstance(one, str) else one.title) for one in (x, y)]
        middle, height = (self.x.start + self.x.end) / 2, (self.y.start + self.y.end) / 2
        for place, title in zip(
            (f"{middle:.0f} {self.height - 6}", f"13 {height:.0f}) rotate(-90"), titles, strict=True
        ):
            parts.append(f'<text transform="translate({place})" text-anchor="middle">{title}</text>')
        head = f'class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
        return f'<svg {head} role="img" aria-label="{escape(words)}">{"".join(parts)}</svg>'

    def ruled_x(self, x: Column | str) -> Iterator[str]:
        """The lower axis with its figures."""
        yield f'<path class="axis" d="M{self.x.start} {self.y.start}H{self.x.end}"/>'
        time = isinstance(x, Column) and x.name == TIME
        for value in hours(self.x.low, self.x.high) if time else ticks(self.x.low, self.x.high):
            at, words = self.x.at(value), clock(value)[11:16] if time else f"{value:.6g}"
            yield f'<text x="{at:.1f}" y="{self.y.start + 15:.1f}" text-anchor="middle">{words}</text>'
            yield f'<path class="axis" d="M{at:.1f} {self.y.start}v4"/>'

    def ruled_y(self) -> Iterator[str]:
        """The left axis with its figures, and a line across the plot for each."""
        yield f'<path class="axis" d="M{self.x.start} {self.y.start}V{self.y.end}"/>'
        for value in ticks(self.y.low, self.y.high, 7):
            at = self.y.at(value)
            yield f'<path class="grid" d="M{self.x.start} {at:.1f}H{self.x.end}"/>'
            yield f'<text x="{self.x.start - 5}" y="{at + 4:.1f}" text-anchor="end">{value:.5g}</text>'


def night(chart: Chart, name: str, group: int | None = None, width: int = 860, height: int = 260) -> str:
    """A property over the night, with bands, limits and the frames that are left out."""
    x, y, use = chart.columns[chart.across], chart.columns[name], chart.members(group)
    plot = plot_of(x.values[use], y.values[use], width, height)
    plot.bands(chart.band(name, group))
    plot.frame_marks(chart, x.values, y.values, use)
    return plot.text(x, y, f"{name} over the night")


def pair(chart: Chart, one: str, other: str, group: int | None = None, width: int = 400, height: int = 260) -> str:
    """One property against another."""
    x, y, use = chart.columns[one], chart.columns[other], chart.members(group)
    plot = plot_of(x.values[use], y.values[use], width, height)
    plot.frame_marks(chart, x.values, y.values, use)
    return plot.text(x, y, f"{other} against {one}")


def histogram(chart: Chart, name: str, group: int | None = None, width: int = 400, height: int = 260) -> str:
    """How often the values of a property are, approved frames below and the others upon them."""
    bins = chart.bins(name, group)
    if bins is None:
        return plot_of(np.empty(0), np.empty(0), width, height).text(chart.columns[name], "frames", "no figures")
    whole = bins.approved + bins.rejected
    x, y = axis(bins.edges, LEFT, width - RIGHT, 0), Axis(0, 1.05 * whole.max(), height - BOTTOM, TOP)
    plot = Plot(x, y, width, height)
    for i, (kept, top) in enumerate(zip(bins.approved, whole, strict=True)):
        edges = bins.edges[i], bins.edges[i + 1]
        plot.box("kept", *edges, 0, float(kept))
        plot.box("left", *edges, float(kept), float(top))
    return plot.text(chart.columns[name], "frames", f"how often values of {name} are")


def frontier(front: Frontier, width: int = 400, height: int = 260) -> str:
    """How narrow the stars can be for each part of the depth that is given away, and what weights give."""
    points = {name: (100 * x, y) for name, (x, y) in front.points.items() if math.isfinite(x) and math.isfinite(y)}
    x, y = 100 * np.asarray(front.given), np.asarray(front.fwhm)
    known_x, known_y = (np.append(line, [p[i] for p in points.values()]) for i, line in enumerate((x, y)))
    plot = Plot(axis(known_x, LEFT, width - RIGHT, 0.1), axis(known_y, height - BOTTOM, TOP, 0.12), width, height)
    places = " ".join(f"{plot.x.at(a):.1f},{plot.y.at(b):.1f}" for a, b in zip(x, y, strict=True))
    plot.shapes.append(f'<polyline class="median" points="{places}"/>')
    heights = front.heights()
    for name, (a, b) in points.items():
        left, top = plot.x.at(a), plot.y.at(b)
        look = 'class="left" r="7"' if name == CHOSEN else 'class="kept" r="4"'
        plot.shapes.append(f'<circle {look} cx="{left:.1f}" cy="{top:.1f}"/>')
        below = plot.y.at(heights[name]) + 4
        plot.shapes.append(f'<text x="{left + 11:.1f}" y="{below:.1f}">{escape(name)}</text>')
    return plot.text(*front.titles, "width of the stars against the depth that is given away")


def plot_of(x: np.ndarray, y: np.ndarray, width: int, height: int) -> Plot:
    """An empty plot that has room for these values."""
    known = np.isfinite(x) & np.isfinite(y)
    return Plot(axis(x[known], LEFT, width - RIGHT), axis(y[known], height - BOTTOM, TOP), width, height)


def axis(values: np.ndarray, start: float, end: float, margin: float = 0.06) -> Axis:
    """An axis from the least to the most of some values, and a little more."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = margin * (high - low) if high > low else abs(low) / 10 or 1.0
    return Axis(low - room, high + room, start, end)


def hours(low: float, high: float) -> Iterable[float]:
    """Round times of a clock between two, ms."""
    steps = [60e3 * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440, 2880, 10080, 43200, 525600)]
    step = next((s for s in steps if (high - low) / s <= 7), steps[-1])
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
