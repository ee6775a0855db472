"""What is shown of a night, as numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from charts import chart_of, night_of

from masterlight.subframes.choice.subframe import Flag
from masterlight.subframes.looks.chart import INDEX, TIME, Chart, Column, Frontier, ms_of, ticks


def test_truth_bands_are_median_average_deviation_and_limits():
    chart = chart_of(filters="LH")
    values = chart.columns["FWHM"].values
    for group in (None, 0, 1):
        mine = values if group is None else values[group::2]
        band = chart.band("FWHM", group)
        assert band.median == np.median(mine) and band.deviation == pytest.approx(np.mean(abs(mine - np.median(mine))))
        assert (band.low, band.high) == pytest.approx((-math.inf, 4))
    assert chart.groups == ("M 31, L, 60 s", "M 31, H, 60 s") and chart.band("Transparency") is None


def test_truth_limits_that_differ_between_groups_are_none_of_all():
    chart = chart_of(filters="LH", approve="FWHM < FWHMMedian")
    ends = [chart.passing("FWHM", group)[1] for group in (0, 1)]
    assert ends == pytest.approx([np.median(chart.columns["FWHM"].values[i::2]) for i in (0, 1)])
    assert chart.passing("FWHM") == (-math.inf, math.inf) and chart.passing("Noise", 0) == (-math.inf, math.inf)


@pytest.mark.parametrize("count", [1, 2, 5, 60, 2000])
def test_truth_a_histogram_counts_each_known_frame_once(count):
    chart = chart_of(count, unknown=0.2)
    for name in chart.shown:
        bins, known = chart.bins(name), np.isfinite(chart.columns[name].values)
        assert bins.approved.sum() == (known & chart.approved).sum() and len(bins.edges) <= 41
        assert bins.rejected.sum() == (known & ~chart.approved).sum()
    assert chart.bins("Transparency") is None


def test_truth_columns_without_figures_are_not_shown_and_dashes_stand_for_the_unknown():
    chart = chart_of(40, unknown=0.3)
    assert "Transparency" not in chart.shown and chart.shown[:3] == ("Weight", "FWHM", "Eccentricity")
    at = int(np.flatnonzero(~np.isfinite(chart.columns["FWHM"].values))[0])
    assert chart.columns["FWHM"].text(at) == "–" and not chart.approved[at]
    assert "could not be measured" in chart.reasons[at]
    assert f"not measured in {np.count_nonzero(np.isnan(chart.columns['FWHM'].values))} frames" in chart.caption("FWHM")
    assert chart.caption("Transparency").endswith("no figures") and "approved below 4" in chart.caption("FWHM")


def test_truth_a_plot_over_one_night_has_its_time_below_and_others_the_index():
    assert chart_of().across == TIME and chart_of(minutes=60).across == INDEX
    frames = night_of().frames
    unknown = night_of().with_frames([replace(frames[0], meta=replace(frames[0].meta, time=None)), *frames[1:]])
    assert Chart.of(unknown).across == INDEX and chart_of(1).across == INDEX
    assert chart_of().columns[TIME].text(1) == "21:35:00"
    assert chart_of(minutes=60).columns[TIME].text(1) == "2026-11-28 22:30:00"
    assert ms_of("1970-01-01T00:00:01.5Z") == 1500 and math.isnan(ms_of("yesterday")) and math.isnan(ms_of(""))


def test_truth_figures_are_written_alike():
    column = Column("Noise", np.array([111.0, 108.25, 1234.0]), form=".4g")
    assert [column.text(i) for i in range(3)] == ["111.0", "108.2", "1234"]


def test_truth_files_of_one_name_are_told_apart_by_their_folders():
    frames = [replace(f, source=f"/nights/{day}/L_001.fits") for day, f in zip("ab", night_of(2), strict=True)]
    assert Chart.of(night_of().with_frames(frames)).files == ("a/L_001.fits", "b/L_001.fits")


def test_truth_remarks_tell_reasons_and_health():
    flag = Flag("CLOUD", "Transparency", 0.61, 0.85, "warn", "dimmed to 0.61")
    frame = replace(night_of(1)[0], flags=(flag,), reasons=("left out by hand",))
    assert Chart.of(night_of().with_frames([frame])).reasons == ("left out by hand; CLOUD: dimmed to 0.61",)


def test_truth_no_frames_at_all():
    chart = Chart.of(night_of(0))
    assert len(chart) == 0 and chart.shown == () and chart.summary() == "0 frames, 0 approved, 0 left out"


def test_truth_ticks_are_round_and_within():
    assert ticks(3.02, 4.49) == pytest.approx([3.5, 4.0])
    for low, high in ((0, 1), (-3, 8e5), (1e-5, 2.5e-5), (107.6, 117.5)):
        steps = ticks(low, high)
        assert 2 <= len(steps) <= 7 and low <= steps[0] <= steps[-1] <= high + 1e-9
    assert ticks(1, 1) == [1] and ticks(math.nan, 1) == []


def test_truth_labels_of_points_that_lie_together_stand_below_each_other():
    given = np.linspace(0, 0.5, 5)
    points = {"chosen": (0.3, 2.9), "equal": (0.001, 3.0), "noise": (0.0, 3.0), "sharp": (0.0, 2.99), "point": (0, 2.8)}
    front = Frontier(given, 3 - given, points)
    step = 0.065 * 0.5  # of the plot, which goes from 2.5 to 3
    assert front.heights() == pytest.approx(
        {"chosen": 2.9, "equal": 3.0, "noise": 3 - step, "sharp": 3 - 2 * step, "point": 2.8}
    )
    assert front.columns()["weights"]["marker"] == ["star", "circle", "circle", "circle", "circle"]
