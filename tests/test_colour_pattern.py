"""Colour patterns: the pixels of each colour, and what a flat says about a pattern."""

import numpy as np
import pytest
from oracles import cfa as oracle

from masterlight.colour.debayer import BAYER, XTRANS
from masterlight.colour.pattern import colour_codes, colour_planes, verify_pattern
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import shifted_pattern


def framed(pixels, pattern, **meta):
    return ArrayFrame.of(pixels, "mosaic.fits", Meta(pattern=pattern, **meta))


def mosaic(planes, pattern):
    """What a sensor sees of a colour image."""
    codes, (h, w) = colour_codes(pattern), planes.shape[1:]
    y, x = np.indices((h, w))
    return np.take_along_axis(planes, codes[y % len(codes), x % len(codes)][None].astype(int), 0)[0]


@pytest.mark.parametrize("pattern", [*BAYER, XTRANS])
def test_truth_pattern_verified_from_a_flat(pattern):
    rng = np.random.default_rng(14)
    y, x = np.mgrid[:301, :401]
    vignette = 1 - 0.4 * np.hypot((y - 150) / 300, (x - 200) / 400) ** 2
    planes = np.array([9000.0, 20000.0, 14000.0])[:, None, None] * vignette
    flat = rng.normal(mosaic(planes, pattern), 100)
    right = verify_pattern(framed(flat, pattern), pattern)
    assert right
    assert len(right.means_dn) == len(pattern)
    wrong = verify_pattern(flat, shifted_pattern(pattern, 1, 0))
    assert not wrong
    assert "the pattern or the order of rows is wrong" in wrong.sentence
    grey = verify_pattern(rng.normal(1000, 30, (300, 400)), pattern)
    assert grey
    uneven = np.tile((1.0 + np.arange(36)).reshape(6, 6) ** 2, (4, 4))
    assert "nothing is proved" in verify_pattern(uneven, pattern).sentence


def test_truth_colour_planes_hold_every_pixel_once():
    pixels = np.arange(35 * 50.0).reshape(35, 50)
    for pattern, counts in (("GRBG", (1, 2, 1)), (XTRANS, (8, 20, 8))):
        planes = colour_planes(pixels, pattern)
        assert tuple(len(planes[c]) for c in "RGB") == counts
        assert np.shares_memory(planes["R"][0], pixels)
        colour = oracle.letters(pattern, *pixels.shape)
        for c in "RGB":
            assert sorted(np.concatenate([p.ravel() for p in planes[c]])) == sorted(pixels[colour == c])
