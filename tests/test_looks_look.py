"""What doors and notebooks ask for of a night to look at."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from charts import FORMULA, night_of

from masterlight.alignment.warping.weights import shape_of
from masterlight.core.errors import ParameterError
from masterlight.subframes.choice.outlook import outlooks
from masterlight.subframes.choice.subframe import Units
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.looks.look import figures_of, page_of, prints_of, section_of, with_fronts


def test_surface_a_night_as_page_section_and_plots():
    night = night_of(9, filters="LR").approved_by(FORMULA)
    assert "<title>Subframes of M 31</title>" in page_of(night) and FORMULA.split(" &&")[0].replace(
        "<", "&lt;"
    ) in page_of(night)
    assert section_of(night).count("<h3>") == 2 and section_of(night_of(0)) == ""
    pytest.importorskip("bokeh"), pytest.importorskip("matplotlib")
    assert figures_of(night).night("Noise").name == "night" and len(list(prints_of(night))) > 8


@pytest.mark.parametrize("kernel", [None, partial(shape_of, "lanczos3")])
def test_truth_the_frontier_is_that_of_the_forecast(kernel):
    """Frames that share their stars' light: the choice is told beside the best, in the units of the table."""
    frames = [replace(f, measurement=replace(f.measurement, flux_ratio=1.0), scale_arcsec=2.0) for f in night_of(12)]
    night = Subframes(tuple(frames), Units("arcsec")).approved_by("FWHM < 7").weighed_by("inv(FWHM) + 1")
    (outlook,), front = outlooks(night, kernel=kernel), with_fronts(night, kernel).frontiers[0]
    assert front.fwhm == pytest.approx([2 * told.fwhm_px for told in outlook.frontier]) and front.unit == "arcsec"
    present = outlook.choices["present"]
    assert front.points["chosen"] == pytest.approx((1 - present.depth, 2 * present.fwhm_px))
    assert np.interp(front.points["chosen"][0], front.given, front.fwhm) <= front.points["chosen"][1]
    assert not with_fronts(night_of(12)).frontiers  # nothing is known of their light
    assert (np.diff(front.given) > 0).all() and (np.diff(front.fwhm) < 0).all()
    assert sorted(with_fronts(night.with_frames(night.frames[:1])).frontiers) == []  # one frame has no choice


@pytest.mark.parametrize(("library", "made"), [("bokeh", figures_of), ("matplotlib", prints_of)])
def test_surface_what_to_install_for_plots(monkeypatch, library, made):
    for name in [name for name in sys.modules if name.split(".")[0] == library or ".looks.p" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ParameterError, match=rf"{library}: pip install 'masterlight\[plots\]'"):
        made(night_of(2))
