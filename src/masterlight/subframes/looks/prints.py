"""Plots of a night for papers: PNG and SVG through matplotlib."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from masterlight.subframes.looks.chart import CHOSEN, KEPT, LEFT, TIME, Chart

WIDTH_IN, HEIGHT_IN, DPI = 6.4, 3.4, 200
GREY = "#8c8c8c"


def prints(chart: Chart, names: Sequence[str] = ()) -> Iterator[tuple[str, Figure]]:
    """Plots and what their files may be called: each property over the night and how often its values are, FWHM
    against the others, the frontier; for each group by itself."""
    names, several = names or chart.usual, len(chart.groups) > 1
    for group, words in enumerate(chart.groups):
        tail = f"_{group + 1}" if several else ""
        title = words if several else ""
        for name in names:
            if chart.band(name, group) is not None:
                yield f"{name}_night{tail}", titled(night(chart, name, group), title)
                yield f"{name}_histogram{tail}", titled(histogram(chart, name, group), title)
        for name in names:
            if name != "FWHM" and {"FWHM", name} <= set(chart.shown):
                yield f"FWHM_{name}{tail}", titled(pair(chart, "FWHM", name, group), title)
        if group in chart.frontiers:
            yield f"frontier{tail}", titled(frontier(chart, group), title)


def night(chart: Chart, name: str, group: int | None = None) -> Figure:
    """A property over the night: median, one and two deviations around it, the limits of the approval."""
    figure, axes = empty()
    x, y, band = chart.columns[chart.across], chart.columns[name], chart.band(name, group)
    across = x.values.astype("datetime64[ms]") if x.name == TIME else x.values
    points(axes, chart, across, y.values, chart.members(group) & np.isfinite(y.values))
    low, high = axes.get_ylim()
    if band is not None:
        for far in (2, 1):
            edges = band.median - far * band.deviation, band.median + far * band.deviation
            axes.axhspan(*edges, color=GREY, alpha=0.13, lw=0)
        axes.axhline(band.median, color=GREY, lw=1)
        for limit, end in ((band.low, min(low, band.low)), (band.high, max(high, band.high))):
            if math.isfinite(limit) and low <= limit <= high:
                axes.axhline(limit, color=LEFT, lw=1, ls="--")
                axes.axhspan(limit, end, color=LEFT, alpha=0.1, lw=0)
    axes.set_ylim(low, high)
    if x.name == TIME:
        places = AutoDateLocator()
        axes.xaxis.set_major_locator(places)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(places))
    axes.set_xlabel(x.title), axes.set_ylabel(y.title)
    return figure


def histogram(chart: Chart, name: str, group: int | None = None) -> Figure:
    """How often the values of a property are, approved frames below and the others upon them."""
    figure, axes = empty()
    bins = chart.bins(name, group)
    if bins is not None:
        look: dict[str, Any] = {"width": np.diff(bins.edges), "align": "edge", "edgecolor": "white"}
        axes.bar(bins.edges[:-1], bins.approved, color=KEPT, label="approved", **look)
        axes.bar(bins.edges[:-1], bins.rejected, bottom=bins.approved, color=LEFT, hatch="//", label="left out", **look)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    axes.set_xlabel(chart.columns[name].title), axes.set_ylabel("frames")
    return figure


def pair(chart: Chart, one: str, other: str, group: int | None = None) -> Figure:
    """One property against another."""
    figure, axes = empty()
    x, y = chart.columns[one], chart.columns[other]
    points(axes, chart, x.values, y.values, chart.members(group) & np.isfinite(x.values) & np.isfinite(y.values))
    axes.set_xlabel(x.title), axes.set_ylabel(y.title)
    return figure


def frontier(chart: Chart, group: int = 0) -> Figure:
    """How narrow the stars can be for each part of the depth that is given away, and what weights give."""
    figure, axes = empty()
    front = chart.frontiers[group]
    axes.plot(100 * front.given, front.fwhm, color=GREY)
    heights = front.heights()
    for name, (given, fwhm) in front.points.items():
        mine = name == CHOSEN
        axes.plot(100 * given, fwhm, "*" if mine else "o", color=LEFT if mine else KEPT, ms=12 if mine else 5)
        place = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(name, (100 * given, heights[name]), **place)
    axes.margins(0.1)
    axes.set_xlabel(front.titles[0]), axes.set_ylabel(front.titles[1])
    return figure


def empty() -> tuple[Figure, Any]:
    """A figure with one plot, apart from what a notebook or a window shows."""
    figure = Figure((WIDTH_IN, HEIGHT_IN), DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def titled(figure: Figure, words: str) -> Figure:
    """The figure with a title, where there is one; a dollar in it is no formula."""
    if words:
        figure.axes[0].set_title(words, fontsize=9, parse_math=False)
    return figure


def points(axes: Any, chart: Chart, x: np.ndarray, y: np.ndarray, use: np.ndarray) -> None:
    """A disc for each approved frame and a cross for the others."""
    sides = (chart.approved, "o", KEPT, "approved"), (~chart.approved, "x", LEFT, "left out")
    for side, marker, color, words in sides:
        if (use & side).any():
            look = {"color": color, "marker": marker, "label": words}
            axes.scatter(x[use & side], y[use & side], 18, alpha=0.85, linewidths=1.2, **look)
    if (use & ~chart.approved).any() and (use & chart.approved).any():
        axes.legend(frameon=False, fontsize=8, loc="best")
