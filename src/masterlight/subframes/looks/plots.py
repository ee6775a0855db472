"""Plots of a night by Bokeh, for notebooks, pages and windows: figures that share one source, so one selection too.

    figures = Figures(chart)
    show(row(figures.night("FWHM"), figures.pair("Eccentricity", "Noise")))

No figure calls JavaScript of its own, so that pages which forbid `eval` can show them.
"""

import math
from collections.abc import Sequence

import numpy as np
from bokeh.models import (
    BooleanFilter,
    BoxAnnotation,
    CDSView,
    ColumnDataSource,
    DataTable,
    DatetimeAxis,
    GlyphRenderer,
    HoverTool,
    NumberFormatter,
    Scatter,
    Span,
    TableColumn,
)
from bokeh.plotting import figure

from masterlight.subframes.looks.chart import INDEX, KEPT, LEFT, TIME, Band, Chart

RING, GREY = "#111111", "#8c8c8c"
TOOLS = "pan,wheel_zoom,box_zoom,box_select,lasso_select,tap,reset,save"
HEIGHT, MOST_TOLD = 300, 8
"""Height of a plot, px; figures of a frame that are told at the pointer."""


class Figures:
    """Plots of one chart; what is selected in one is selected in all."""

    def __init__(self, chart: Chart):
        self.chart = chart
        self.source = ColumnDataSource(name="frames", data=columns(chart))
        self.filter = BooleanFilter(name="members", booleans=[True] * len(chart))
        self.view = CDSView(filter=self.filter)

    def night(self, name: str = "FWHM", across: str = "", group: int | None = None) -> figure:
        """A property over the night: median, one and two deviations around it, the limits of the approval."""
        across = across or self.chart.across
        plot = self.plot(across, name, "night")
        plot.add_layout(DatetimeAxis(visible=across == TIME, axis_label="UTC", name="clock"), "below")
        plot.below[0].visible = across != TIME
        for layer in bands(self.chart.band(name, group)):
            plot.add_layout(layer)
        return plot

    def pair(self, x: str = "FWHM", y: str = "Eccentricity") -> figure:
        """One property against another."""
        return self.plot(x, y, "pair")

    def plot(self, x: str, y: str, name: str) -> figure:
        plot = figure(name=name, height=HEIGHT, tools=TOOLS, active_drag="box_select", sizing_mode="stretch_width")
        plot.toolbar.logo, plot.toolbar.autohide = None, True
        plot.xaxis.axis_label, plot.yaxis.axis_label = self.title(x), self.title(y)
        look = {"marker": "marker", "size": 9, "line_color": "color", "fill_color": "color", "line_width": 1.5}
        glyph = Scatter(x=x, y=y, fill_alpha=0.75, **look)
        ringed = Scatter(x=x, y=y, **(look | {"size": 13, "line_color": RING, "line_width": 2.5}))
        dim = Scatter(x=x, y=y, fill_alpha=0.25, line_alpha=0.35, **look)
        points = GlyphRenderer(
            data_source=self.source, view=self.view, glyph=glyph, selection_glyph=ringed, nonselection_glyph=dim,
            name="points",
        )  # fmt: skip
        plot.renderers.append(points)
        plot.x_range.renderers = plot.y_range.renderers = [points]  # not the bands
        tips = [("", "@file"), *((n, f"@{{{n}_}}") for n in self.chart.shown[:MOST_TOLD]), ("", "@reason")]
        plot.add_tools(HoverTool(renderers=[points], tooltips=tips))
        return plot

    def histogram(self, name: str = "FWHM", group: int | None = None) -> figure:
        """How often the values of a property are, approved frames below and the others upon them."""
        plot = figure(
            name="histogram", height=HEIGHT, tools="tap,hover,save", sizing_mode="stretch_width",
            tooltips=[("from", "@left"), ("to", "@right"), ("approved", "@approved"), ("left out", "@rejected")],
        )  # fmt: skip
        plot.toolbar.logo, plot.toolbar.autohide = None, True
        plot.xaxis.axis_label, plot.yaxis.axis_label = self.title(name), "frames"
        source = ColumnDataSource(name="bins", data=stacked(self.chart, name, group))
        edges = {"left": "left", "right": "right", "source": source, "line_color": "white"}
        plot.quad(bottom=0, top="approved", fill_color=KEPT, **edges)
        plot.quad(bottom="approved", top="all", fill_color=LEFT, hatch_pattern="/", hatch_color="white", **edges)
        plot.y_range.start = 0
        return plot

    def frontier(self, group: int = 0) -> figure:
        """How narrow the stars can be for each part of the depth that is given away, and what weights give."""
        known = self.chart.frontiers[group]
        plot = figure(name="frontier", height=HEIGHT, tools="pan,wheel_zoom,reset,save", sizing_mode="stretch_width")
        plot.toolbar.logo, plot.toolbar.autohide = None, True
        plot.xaxis.axis_label, plot.yaxis.axis_label = known.titles
        line, points = (ColumnDataSource(name=name, data=data) for name, data in known.columns().items())
        plot.line("x", "y", source=line, line_color=GREY, line_width=2)
        look = {"line_color": RING, "fill_color": "color", "source": points}
        drawn = plot.scatter("x", "y", size="size", marker="marker", **look)
        plot.text("x", "height", "name", source=points, x_offset=11, text_baseline="middle", text_font_size="12px")
        plot.x_range.range_padding = plot.y_range.range_padding = 0.2
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@name"), ("depth", "-@x{0.00} %"), ("FWHM", "@y")]))
        return plot

    def table(self, names: Sequence[str] = ()) -> DataTable:
        """The figures as a table that can be sorted, for notebooks and windows: its selection is that of the plots."""
        heads = [TableColumn(field="file", title="File", width=260), TableColumn(field="verdict", title="Verdict")]
        figures = NumberFormatter(format="0.[0000]", nan_format="–", text_align="right")
        heads += [TableColumn(field=n, title=self.title(n), formatter=figures) for n in names or self.chart.usual]
        return DataTable(source=self.source, view=self.view, columns=heads, sizing_mode="stretch_width", height=HEIGHT)

    def title(self, name: str) -> str:
        return self.chart.columns[name].title


def columns(chart: Chart) -> dict[str, np.ndarray | list[str]]:
    """What the figures know of each frame: figures, the same as text by their name and `_`, verdict and its looks."""
    data: dict[str, np.ndarray | list[str]] = {name: chart.columns[name].values for name in (INDEX, TIME, *chart.shown)}
    data |= {f"{n}_": [chart.columns[n].text(i) for i in range(len(chart))] for n in chart.shown[:MOST_TOLD]}
    data |= {"file": list(chart.files), "reason": list(chart.reasons)}
    data["verdict"] = ["approved" if kept else "left out" for kept in chart.approved]
    data["marker"] = ["circle" if kept else "x" for kept in chart.approved]
    data["color"] = [KEPT if kept else LEFT for kept in chart.approved]
    return data


def stacked(chart: Chart, name: str, group: int | None) -> dict[str, np.ndarray]:
    """The bars of a histogram."""
    bins = chart.bins(name, group)
    if bins is None:
        return {name: np.empty(0) for name in ("left", "right", "approved", "rejected", "all")}
    sides = {"approved": bins.approved, "rejected": bins.rejected, "all": bins.approved + bins.rejected}
    return {"left": bins.edges[:-1], "right": bins.edges[1:], **sides}


def bands(band: Band | None) -> list[BoxAnnotation | Span]:
    """Median, one and two deviations, and what lies beyond the limits: always the same layers, unseen where empty."""
    m, d = (band.median, band.deviation) if band else (math.nan, math.nan)
    low, high = (band.low, band.high) if band else (-math.inf, math.inf)
    beyond = {"fill_color": LEFT, "fill_alpha": 0.1, "line_color": LEFT, "line_dash": "dashed", "level": "underlay"}
    around = {"fill_color": GREY, "fill_alpha": 0.12, "line_alpha": 0, "level": "underlay", "visible": band is not None}
    return [
        BoxAnnotation(name="two", bottom=m - 2 * d, top=m + 2 * d, **around),
        BoxAnnotation(name="one", bottom=m - d, top=m + d, **around),
        Span(name="median", location=m, dimension="width", line_color=GREY, visible=band is not None, level="underlay"),
        BoxAnnotation(name="above", bottom=high if high < math.inf else None, visible=high < math.inf, **beyond),
        BoxAnnotation(name="below", top=low if low > -math.inf else None, visible=low > -math.inf, **beyond),
    ]
