"""The forecast on a terminal, and what the verb makes of its words."""

from dataclasses import replace

import numpy as np
import pytest
from test_forecast import measured, night, tutorial
from test_outlook import table

from masterlight.core.errors import ParameterError
from masterlight.doors.foretold import check_together, forecast_lines, tell_forecast
from masterlight.subframes.choice.outlook import outlooks
from masterlight.subframes.choice.subframe import Units
from masterlight.subframes.select import SubframeSelector


def chosen(count=20, approved=None, **more):
    measurements, ratios = night("noise and cloud", 3, count)
    frames = table(measurements, ratios.tolist(), **more)
    approved = np.arange(count) % 5 > 0 if approved is None else approved
    weights = tutorial(measurements).tolist()
    return frames.with_frames(
        replace(frame, weight=w, approved=bool(a)) for frame, w, a in zip(frames, weights, approved, strict=True)
    )


@pytest.mark.parametrize("columns", [80, 120])
def test_surface_the_forecast_fits_the_terminal(columns):
    lines = forecast_lines(outlooks(chosen(units=Units("arcsec")), 0.1), columns)
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    for words in (
        "M 31, L: 20 frames of 60 s, 16 approved",
        "stars as bright as they are in",
        "chosen",
        "sharp 0.1%",
        'FWHM "',
        "for nothing",
        "more",
    ):
        assert words in text
    assert "-0.0%" not in text and "nan" not in text


def test_truth_rows_tell_what_the_forecast_says():
    frames = chosen()
    [told] = outlooks(frames)
    lines = forecast_lines([told], 80)
    row = next(line.split() for line in lines if line.startswith("  chosen"))
    one = told.choices["present"]
    assert row[1:3] == [str(one.frames), f"{one.effective:.1f}"] and row[3] == f"{100 * (one.depth - 1):+.1f}%"
    assert row[5] == f"{one.fwhm_px:.3f}" and row[-1] == f"{100 * one.shallower:.1f}%"
    dearest = int(np.nanargmax(np.where(told.approved, told.prices.depth, np.nan)))
    listed = lines[next(i for i, line in enumerate(lines) if "each frame brings" in line) + 1].split()
    assert listed[:2] == [f"{dearest}.fits", f"{100 * told.prices.depth[dearest]:+.1f}%"]


def test_truth_a_formula_that_knows_the_light_is_not_told_to_ask_for_it():
    """Frames that are left out cost depth, whatever the weights of the others."""
    hint = "multiplied by PSFScaleSNR"
    for formula, hinted in (("tutorial", True), ("tutorial+noise", False), ("PSFScaleSNR", False)):
        text = " ".join(" ".join(forecast_lines(outlooks(replace(chosen(), weight=formula)), 100)).split())
        assert "for nothing" in text and (hint in text) == hinted


def test_surface_what_cannot_be_told_is_said():
    nothing = "\n".join(forecast_lines(outlooks(table(measured([3, 3], [9, 9]), [None, None])), 80))
    assert "inconclusive, and not counted: 2 frames (0.fits ...): too few" in nothing and "depth" not in nothing
    [text] = ["\n".join(forecast_lines(outlooks(chosen(approved=np.zeros(20))), 80))]
    assert "0 approved" in text and "equal" in text and "brings" not in text
    assert "all frames: 1 frame" in "\n".join(
        forecast_lines(outlooks(table(measured([3], [9]), [None], object="", filter="", exposure_s=None)), 80)
    )


@pytest.mark.parametrize(("blind", "told"), [(0, ""), (1, "0.fits, whose stars"), (3, "3 frames (0.fits ...) whose")])
def test_truth_the_eccentricity_is_that_of_the_frames_that_tell_it(blind, told):
    """The others have stars as long as they: of three in four that tell nothing no figure is told."""
    frames = table(measured(4 * [3.0], 4 * [10.0], 4 * [0.5]), 4 * [1.0])
    known = [replace(m := f.measurement, theta_rad=0.3, eccentricity=None if i < blind else m.eccentricity)
             for i, f in enumerate(frames)]  # fmt: skip
    [outlook] = outlooks(frames.with_frames(replace(f, measurement=m) for f, m in zip(frames, known, strict=True)))
    lines = forecast_lines([outlook], 90)
    row = next(line.split() for line in lines if line.startswith("  equal"))
    assert row[6] == ("-" if blind == 3 else "0.50")
    assert any(f"ecc.: {told}" in line for line in lines) == bool(blind)


def test_surface_words_of_the_verb():
    select = SubframeSelector()
    assert check_together(select, None, None) == 1 and check_together(select, "sharp", "0.1") == 0.1
    assert check_together(select, None, "5") == 5  # for the row of the forecast
    for weights, give, words in (
        ("blunt", None, "there are noise, point, sharp"), ("tutorial", None, "give SubframeSelector.weight tutorial"),
        ("noise", "1", "give= does nothing with weights= noise"),
        ("sharp", "70", "from 0 to 50"), ("sharp", "much", "from 0 to 50"), ("sharp", "nan", "from 0 to 50"),
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=words):
            check_together(select, weights, give)
    with pytest.raises(ParameterError, match="give= 5 does nothing here"):
        check_together(select, None, "5", foretold=False)
    with pytest.raises(ParameterError, match="weight is a formula; give weights= sharp"):
        check_together(SubframeSelector(weight="sharp"), None, None)
    with pytest.raises(ParameterError, match="leave one out"):
        check_together(SubframeSelector(weight="1/FWHM"), "noise", None)


def test_truth_the_kernel_is_that_of_the_walk():
    """Narrow stars are widened by interpolation: the forecast knows by what."""
    narrow = table(measured([1.8, 1.8, 1.8], [9, 9, 9]), [1.0, 1.0, 1.0])
    generator = tell_forecast(narrow, 1.0)
    with pytest.raises(StopIteration) as ended:
        next(generator)
    row = next(line.split() for line in ended.value.value.splitlines() if line.startswith("  equal"))
    assert float(row[5]) == pytest.approx(1.8 * (1 + 0.034 * 2 / 3), abs=0.01)  # two of three are interpolated
