"""Plain SVG plots: every frame where its figures say, nothing but markup that parses."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from charts import chart_of, front_of

from masterlight.subframes.looks import svg

NAME = "{http://www.w3.org/2000/svg}"


def drawn(text):
    """The frames in a plot: index -> (kind, x, y) of its middle."""
    root = ElementTree.fromstring(text)
    marks = {}
    for mark in root.iter():
        if "data-i" in mark.attrib:
            place = mark.get("cx"), mark.get("cy")
            if mark.tag == f"{NAME}path":
                place = [float(v) + 4 for v in re.match(r"M([-.\d]+) ([-.\d]+)", mark.get("d")).groups()]
            marks[int(mark.get("data-i"))] = (mark.get("class"), *map(float, place))
    return root, marks


@pytest.mark.parametrize("count", [1, 5, 60, 200])
def test_truth_each_known_frame_stands_at_its_figures(count):
    chart = chart_of(count, unknown=0.1, minutes=1)
    root, marks = drawn(svg.night(chart, "FWHM"))
    known = np.flatnonzero(np.isfinite(chart.columns["FWHM"].values))
    assert sorted(marks) == list(known)
    assert all(marks[i][0] == ("kept" if chart.approved[i] else "left") for i in known)
    if len(known) > 1:
        y = np.array([marks[i][2] for i in known])
        fwhm = chart.columns["FWHM"].values[known]
        slope, offset = np.polyfit(fwhm, y, 1)
        assert slope < 0 and np.abs(y - slope * fwhm - offset).max() < 0.11  # written with one decimal
        assert np.all(np.diff([marks[i][1] for i in known]) > 0)  # by time
    _, _, width, height = map(float, root.get("viewBox").split())
    assert all(0 < x < width and 0 < y < height for _, x, y in marks.values())


def test_truth_bands_lie_at_their_values():
    chart = chart_of()
    root, marks = drawn(svg.night(chart, "FWHM"))
    band = chart.band("FWHM")
    fwhm = chart.columns["FWHM"].values
    slope, offset = np.polyfit([fwhm[i] for i in marks], [y for _, _, y in marks.values()], 1)
    boxes = {box.get("class"): box for box in root.iter(f"{NAME}rect")}
    assert float(boxes["one"].get("y")) == pytest.approx(offset + slope * (band.median + band.deviation), abs=0.2)
    limit = next(line for line in root.iter(f"{NAME}path") if line.get("class") == "limit")
    assert float(re.search(r" ([-.\d]+)H", limit.get("d"))[1]) == pytest.approx(offset + slope * 4, abs=0.2)
    assert "limit" not in svg.night(chart, "Noise")


def test_truth_bars_of_a_histogram_are_as_high_as_their_counts():
    chart = chart_of(200)
    root, bins = ElementTree.fromstring(svg.histogram(chart, "FWHM")), chart.bins("FWHM")
    heights = {kind: [float(b.get("height")) for b in root.iter(f"{NAME}rect") if b.get("class") == kind]
               for kind in ("kept", "left")}  # fmt: skip
    scale = sum(heights["kept"]) / bins.approved.sum()
    assert heights["kept"] == pytest.approx(scale * bins.approved, abs=0.11)
    assert heights["left"] == pytest.approx(scale * bins.rejected, abs=0.11)


def test_surface_nothing_breaks_markup_or_figures():
    """Names with markup in them, columns without figures, frames that are all alike."""
    chart = chart_of(20, filters="<&", unknown=0.3)
    for text in (
        svg.night(chart, "Transparency"),
        svg.histogram(chart, "Transparency"),
        svg.frontier(front_of()),
        svg.pair(chart, "FWHM", "Stars", 1),
        svg.night(chart, "Median", 0),
        svg.pair(chart, "SNRWeight", "Index"),
    ):
        ElementTree.fromstring(text)
        assert "nan" not in text.lower() and "inf" not in text
    assert "equal" in svg.frontier(front_of())


def test_truth_hours_are_round():
    day = svg.hours(1.79e12, 1.79e12 + 8 * 3600e3)
    assert 3 <= len(day) <= 8 and all(value % 1800e3 == 0 for value in day)
    assert len(svg.hours(0, 60e3)) == 2 and math.isfinite(svg.hours(0, 4e13)[-1])
