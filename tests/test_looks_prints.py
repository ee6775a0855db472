"""Plots for papers."""

import io

import numpy as np
import pytest
from charts import chart_of, front_of

matplotlib = pytest.importorskip("matplotlib")

from masterlight.subframes.looks.prints import histogram, night, pair, prints  # noqa: E402


def test_truth_points_bands_and_limits_are_those_of_the_chart():
    chart = chart_of(unknown=0.1)
    axes, band = night(chart, "FWHM").axes[0], chart.band("FWHM")
    drawn = np.concatenate([np.asarray(points.get_offsets(), float)[:, 1] for points in axes.collections])
    known = chart.columns["FWHM"].values[np.isfinite(chart.columns["FWHM"].values)]
    assert np.sort(drawn) == pytest.approx(np.sort(known))
    levels = [line.get_ydata()[0] for line in axes.lines]
    assert levels == pytest.approx([band.median, 4])
    low, high = axes.get_ylim()
    assert low < known.min() and known.max() < high < 1.2 * known.max()  # limits beyond the frames move no axis


def test_truth_bars_and_pairs():
    chart = chart_of(200)
    bars = histogram(chart, "Noise").axes[0].containers
    assert [b.get_height() for b in bars[0]] == list(chart.bins("Noise").approved)
    axes = pair(chart, "FWHM", "Stars").axes[0]
    assert sum(len(points.get_offsets()) for points in axes.collections) == 200
    assert axes.get_xlabel() == "FWHM (px)" and axes.get_ylabel() == "Stars"


def test_surface_all_prints_can_be_written_whatever_the_night_is_like():
    for chart in (chart_of(1), chart_of(2, unknown=0.9), chart_of(9, filters=("$L$", "H_a"), unknown=0.4), chart_of(0)):
        made = dict(prints(chart, ("FWHM", "Eccentricity", "Transparency")))
        for figure in made.values():
            for kind in ("png", "svg"):
                figure.savefig(io.BytesIO(), format=kind)
    chart = chart_of(5)
    chart.frontiers[0] = front_of()
    assert set(dict(prints(chart, ("FWHM", "Stars")))) == {
        "FWHM_night", "FWHM_histogram", "Stars_night", "Stars_histogram", "FWHM_Stars", "frontier",
    }  # fmt: skip
    assert {name[-2:] for name in dict(prints(chart_of(9, filters="LH")))} == {"_1", "_2"}
