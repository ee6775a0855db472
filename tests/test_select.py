from dataclasses import replace

import numpy as np
import pytest

from masterlight.core.errors import Rejected
from masterlight.core.process import card, replay
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.select import SubframeSelector

MEASURE = SubframeSelector()


@pytest.mark.parametrize(
    "image, words",
    [
        (np.zeros((200, 200)), "every pixel is zero"),
        (np.full((200, 200), 7.0), "every pixel is 7 DN"),
        (np.full((200, 200), np.nan), "missing"),
        (np.random.default_rng(6).normal(64000, 50, (200, 200)), "overexposed"),
        (np.minimum(np.random.default_rng(6).normal(1010, 5, (200, 200)), 1000), "overexposed"),
        (np.random.default_rng(6).normal(1000, 5, (200, 200)), "no star found above 5 sigma"),
        (np.ones((1, 1)), "empty"),
    ],
)
def test_frames_without_stars_are_rejected_with_the_reason(image, words):
    result = MEASURE.measure(image.astype(np.float32), source="M31_001.fit", saturation_dn=65535)
    assert isinstance(result, Rejected)
    assert result.source == "M31_001.fit"
    assert words in result.reason


def test_selection_names_the_limit_that_a_frame_misses():
    good = Measurement("a", 1000, (10, 11), 10, stars=100, fwhm_px=3.0, eccentricity=0.3)
    rows = [good, replace(good, fwhm_px=4.5), replace(good, eccentricity=0.7), replace(good, stars=40)]
    assert SubframeSelector().select(rows) == [None] * 4
    judged = SubframeSelector(max_fwhm_px=4, max_eccentricity=0.6, min_stars_fraction=0.7).select(rows)
    assert [bool(j is None) for j in judged] == [True, False, False, False]
    assert "FWHM 4.50 px is above 4" in judged[1].reason
    assert "40 % of the group" in judged[3].reason
    assert SubframeSelector().select([]) == []


def test_surface_card_and_selector():
    selector = SubframeSelector(sigma=4, max_fwhm_px=4.5)
    assert replay(card(selector)) == selector
