"""Fringes: how far red and blue of stars lie from green, in mosaics and in images of three planes."""

import numpy as np
import pytest
from fringed import Fringed

from masterlight import Debayer, SubframeSelector
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.subframes.fringes import fringes_of

XTRANS = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"


def seen(sky, frame):
    """Stars of a frame by the mean of its colours, as pass 1 finds them."""
    planes = Debayer()(frame)
    return planes, SubframeSelector().measure(ArrayFrame.of(np.asarray(planes).mean(axis=0), "luminance", Meta()))[1]


def off(sky, found, colour):
    """Weighted mean difference from the truth, its formal error, and how many times that stars scatter."""
    which = {0: 0, 2: 1}[colour]
    known = np.isfinite(found.sigma_px[which])
    left = found.away_px[which][known] - sky.away_px(0, colour, found.xy[known])
    weight = found.sigma_px[which][known] ** -2.0
    scatter = 1.4826 * np.median(np.abs(left) / found.sigma_px[which][known][:, None])
    return weight @ left / weight.sum(), weight.sum() ** -0.5, scatter


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG", XTRANS])
@pytest.mark.parametrize("air", [(0.0, 0.0), (0.3, -0.2), (1.5, 0.8)])
def test_truth_a_mosaic_tells_where_its_colours_are(air, pattern):
    sky = Fringed([air], lateral=5e-4, pattern=pattern)
    frame = sky.frame(0)
    found = fringes_of(frame, seen(sky, frame)[1])
    assert len(found.xy) > 40
    for colour in (0, 2):
        mean, error, scatter = off(sky, found, colour)
        assert np.abs(mean).max() < 0.02 + 4 * error and error < 0.01 and 0.6 < scatter < 3.5


def test_truth_debayering_hides_half_of_it():
    """Red and blue are interpolated along edges of green: an image of three planes is not to be moved by what the
    mosaic shows."""
    sky = Fringed([(0.4, 0.0)])
    frame = sky.frame(0)
    planes, stars = seen(sky, frame)
    moved = [float(np.nanmedian(fringes_of(one, stars).away_px[0, :, 0])) for one in (frame, planes)]
    assert moved[0] == pytest.approx(0.4, abs=0.02) and 0.1 < moved[1] < 0.3


def test_without_stars_nothing_is_told():
    sky = Fringed()
    planes, stars = seen(sky, sky.frame(0))
    assert fringes_of(planes, stars[:0]).away_px.shape == (2, 0, 2)
    blank = ArrayFrame.of(np.full((3, 300, 400), np.nan, np.float32), "blank", Meta())
    assert len(fringes_of(blank, stars).xy) == 0
    noise = np.random.default_rng(0).normal(1000, 10, (3, 300, 400)).astype(np.float32)
    assert len(fringes_of(ArrayFrame.of(noise, "noise", Meta()), stars).xy) < len(stars) / 4
