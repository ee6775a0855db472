"""Frames that should be registered, and do or do not lie on each other."""

import numpy as np
import pytest
from sky import CALM, EVEN, in_memory

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.laid import Laid, apart, laid_of, offset_px
from masterlight.core.frame import ArrayFrame
from masterlight.subframes.photometry import standards
from masterlight.subframes.select import SubframeSelector

ON = Laid("on", np.zeros((4, 2)))
STILL = {"dither_px": 0.0, "rotation_deg": 0.0, "meridian_flip": False, "lights": 2, "stars": 200, "nebula_dn": 0.0}


@pytest.fixture(scope="module")
def two():
    night = in_memory(**{**CALM, **EVEN, **STILL})
    return [night.observatory.light(i)[:, : night.night.cols].astype(np.float32) for i in (0, 1)]


def where(first, second):
    """(Laid, offset in px) of the second image on the first one's stars."""
    frames = [ArrayFrame.of(image, name) for image, name in ((first, "a"), (second, "b"))]
    _, stars = SubframeSelector().measure(frames[0])
    return laid_of(StarAlignment().prepare(stars), standards(stars), frames[1]), offset_px(frames[1], standards(stars))


@pytest.mark.parametrize("shift", [(0, 0), (2, 1), (0, 3), (5, -4), (30, 55)])
def test_truth_frames_are_told_to_lie_apart_by_what_they_do(two, shift):
    laid, offset = where(two[0], np.roll(two[1], shift, (0, 1)))
    away = np.hypot(*shift)
    assert ON.off_px(laid) == pytest.approx(away if away > 1 else 0, abs=0.15)
    assert (offset < 0.5) == (away < 0.5)
    if away > 1:
        np.testing.assert_allclose(laid.away_px, [shift[::-1]] * 4, atol=0.3)


def test_truth_cloud_noise_and_other_stars_are_not_told_to_lie_apart(two):
    rng = np.random.default_rng(1)
    faint = 0.2 * (two[1] - np.median(two[1])) + np.median(two[1]) + rng.normal(0, 20, two[1].shape)
    assert where(two[0], faint.astype(np.float32))[0].away_px.max() == 0
    empty = rng.normal(1000, 10, two[0].shape).astype(np.float32)
    assert where(two[0], empty)[0].away_px.max() == 0 and where(two[0], empty)[1] == np.inf
    other = in_memory(**{**CALM, **EVEN, **STILL, "seed": 77})
    assert where(two[0], other.observatory.light(0)[:, : two[0].shape[1]].astype(np.float32))[0].away_px.max() == 0


def test_truth_those_that_most_lie_on_are_together():
    frames = [Laid(str(k), np.full((4, 2), float(d))) for k, d in enumerate([0, 9, 9.2, 9.1, 4])]
    assert apart(frames) == ([1, 2, 3], [0, 4])
    assert apart([Laid("a", np.zeros((4, 2)))] * 3) == ([0, 1, 2], [])
