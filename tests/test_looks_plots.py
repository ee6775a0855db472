"""Bokeh's figures: one source, so one selection; what is drawn is what the chart tells."""

import numpy as np
import pytest
from charts import chart_of, front_of

bokeh = pytest.importorskip("bokeh")

from bokeh.models import BoxAnnotation, CustomJS, CustomJSHover, Span  # noqa: E402

from masterlight.subframes.looks.plots import Figures  # noqa: E402


def test_truth_all_figures_share_their_frames_and_the_selection():
    figures = Figures(chart_of(unknown=0.1))
    plots = figures.night("FWHM"), figures.pair("Noise", "Stars")
    points = [plot.select_one({"name": "points"}) for plot in plots]
    assert {id(p.data_source) for p in points} == {id(figures.source)} == {id(figures.table().source)}
    assert {id(p.view) for p in points} == {id(figures.table().view)}
    data, chart = figures.source.data, figures.chart
    assert np.array_equal(data["FWHM"], chart.columns["FWHM"].values, equal_nan=True)
    assert [m == "circle" for m in data["marker"]] == list(chart.approved) == [c == "#0072b2" for c in data["color"]]
    assert (points[1].glyph.x, points[1].glyph.y) == ("Noise", "Stars")
    assert plots[0].xaxis[1].visible and not plots[0].xaxis[0].visible  # the clock


def test_truth_bands_and_limits():
    figures = Figures(chart_of())
    plot, band = figures.night("FWHM"), figures.chart.band("FWHM")
    layers = {layer.name: layer for layer in plot.center if isinstance(layer, (BoxAnnotation, Span))}
    assert layers["median"].location == band.median
    assert plot.y_range.renderers == [plot.select_one({"name": "points"})]  # no band widens the plot
    assert (layers["two"].bottom, layers["two"].top) == (
        band.median - 2 * band.deviation,
        band.median + 2 * band.deviation,
    )
    assert layers["above"].visible and layers["above"].bottom == pytest.approx(4) and not layers["below"].visible
    assert not any(layer.visible for layer in figures.night("Transparency").center if layer.name in layers)


def test_truth_bars_stand_upon_each_other():
    figures = Figures(chart_of(200))
    data, bins = figures.histogram("Noise").renderers[0].data_source.data, figures.chart.bins("Noise")
    assert np.array_equal(data["all"], bins.approved + bins.rejected) and np.array_equal(data["left"], bins.edges[:-1])
    assert len(figures.histogram("Transparency").renderers[0].data_source.data["left"]) == 0


def test_truth_the_frontier_marks_the_choice():
    chart = chart_of()
    chart.frontiers[0] = front_of()
    data = Figures(chart).frontier().renderers[1].data_source.data
    assert data["marker"] == ["circle", "star"] and data["x"] == [2, 5] and data["y"] == [3.4, 3.3]


def test_surface_no_figure_needs_eval():
    """Pages whose policy forbids `eval` can show all of them."""
    chart = chart_of()
    chart.frontiers[0] = front_of()
    figures = Figures(chart)
    for plot in (figures.night(), figures.pair(), figures.histogram(), figures.frontier(), figures.table()):
        assert not [model for model in plot.references() if isinstance(model, (CustomJS, CustomJSHover))]
        assert not [model for model in plot.references() if model.js_property_callbacks or model.js_event_callbacks]
