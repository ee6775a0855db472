"""Colours: what red and blue of all frames tell of the lens they share and of the air of each."""

import numpy as np
import pytest

from masterlight.alignment.lens.colours import spread_of
from masterlight.subframes.fringes import Fringes

SHAPE = (1200, 1600)
MIDDLE = np.array([799.5, 599.5])


def fringed(frames=8, stars=60, lateral=0.0, cubic=0.0, air_px=0.0, shared_px=(0.0, 0.0), sigma_px=0.04, seed=1):
    """Fringes of frames, and for each the truth: a function of places and of the colour."""
    rng, found, truth = np.random.default_rng(seed), [], []
    for i in range(frames):
        shift = np.array(shared_px) + air_px * np.array([np.cos(i / 2), np.sin(i / 2)])

        def away(xy, sign, shift=shift):
            u = xy - MIDDLE
            return sign * (u * lateral + u * cubic * (u**2).sum(axis=-1, keepdims=True) / 1000**2 + shift)

        xy, sigma = rng.uniform((0, 0), SHAPE[::-1], (stars, 2)), sigma_px * rng.uniform(0.5, 2, (2, stars))
        seen = np.stack([away(xy, sign) for sign in (1, -1)])
        seen += 1.5 * sigma[..., None] * rng.standard_normal(seen.shape)  # errors are larger than they are told
        seen[:, :2] += 3.0  # double stars
        seen[0, 2], sigma[0, 2] = np.nan, np.inf
        found.append(Fringes(xy, seen, sigma))
        truth.append(away)
    return found, truth


def farthest_px(spread, truth):
    """How wrong colours lie, at most, anywhere in the frame: the median of the frames, and the worst."""
    x, y = np.meshgrid(np.linspace(0, 1599, 5), np.linspace(0, 1199, 5))
    xy = np.stack([x, y], axis=-1).reshape(-1, 2)
    pairs = [(one, away, sign) for both, away in zip(spread.transforms, truth, strict=True)
             for one, sign in zip(both, (1, -1), strict=True)]  # fmt: skip
    off = [np.hypot(*(one(xy) - xy - away(xy, sign)).T).max() for one, away, sign in pairs]
    return float(np.median(off)), float(np.max(off))


@pytest.mark.parametrize(
    ("what", "most_px"),
    [
        ({"lateral": 3e-4}, 0.03),
        ({"lateral": 2e-4, "cubic": 4e-4}, 0.06),
        ({"air_px": 0.4}, 0.03),
        ({"air_px": 0.4, "lateral": 3e-4}, 0.04),
        ({"shared_px": (0.2, -0.1)}, 0.02),
        ({"air_px": 0.4, "stars": 12, "frames": 20}, 0.05),
    ],
)
def test_truth_lens_and_air_are_told_apart(what, most_px):
    found, truth = fringed(**what)
    spread = spread_of(found, SHAPE)
    assert spread.pays and spread.by_air == ("air_px" in what)
    assert (spread.transforms[0][0].model == "polynomial3") == ("cubic" in what)
    assert farthest_px(spread, truth)[0] < most_px


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "what", [{"stars": 60}, {"stars": 12, "frames": 2, "sigma_px": 0.2}, {"stars": 30, "frames": 1}]
)
def test_truth_where_nothing_is_spread_it_does_not_pay(what, seed):
    found, _ = fringed(seed=seed, **what)
    assert not spread_of(found, SHAPE).pays


def test_a_frame_without_stars_has_the_lens_of_the_others():
    found, truth = fringed(lateral=3e-4, air_px=0.3)
    found[3] = Fringes(np.empty((0, 2)), np.empty((2, 0, 2)), np.empty((2, 0)))
    spread = spread_of(found, SHAPE)
    assert len(spread.transforms) == 8 and farthest_px(spread, truth)[0] < 0.04
    corner = np.array([0.0, 0.0])
    assert spread.transforms[3][0](corner) - corner == pytest.approx(-3e-4 * MIDDLE, abs=0.15)
    assert not spread_of(found[3:4], SHAPE) and not spread_of([], SHAPE)
