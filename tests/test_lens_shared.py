"""The shared lens: frames lie right in the corners, and nothing changes where there is no lens to find."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from lensed import lensed_night

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.bend import LensBend, Polynomial, apply
from masterlight.alignment.lens.shared import MOST_FRAMES, farthest, share_lens
from masterlight.alignment.transform import DEGREES, Transform, similarity_matrix
from masterlight.core.frame import ArrayFrame
from masterlight.night.lights.light import through_one_lens
from masterlight.subframes.select import SubframeSelector


@pytest.fixture(scope="module")
def pixels():
    """Lights of a small night with a flip, through a lens that moves corners by 7 px, as they are matched."""
    night, rng = lensed_night(0.02, stars=30, frames=5, shape=(400, 600)), np.random.default_rng(5)
    sky, light = rng.uniform(-0.1, 1.1, (400, 2)) * (600, 400), 3000 / rng.uniform(0.02, 1, 400)
    select, align, lights = SubframeSelector(), StarAlignment(), []
    for number, truth in enumerate(night.truth):
        image = starry(truth.bend.source.distort(apply(truth.matrix, sky)), light, rng)
        frame = ArrayFrame.of(image, f"{number}.fits")
        lights.append(SimpleNamespace(stars=select.measure(frame)[1], raw=frame, source=frame.source))
    prepared = align.prepare(lights[0].stars)
    for one in lights:
        one.transform = align.align(prepared, one.stars)
    lights[0].transform = Transform.identity((400, 600))
    return night, lights


def starry(xy, light, rng):
    """An image of round stars, FWHM 3.5 px."""
    image, (y, x) = np.full((400, 600), 1000.0), np.mgrid[-8:9, -8:9]
    for (a, b), flux in zip(xy, light, strict=True):
        i, j = round(a), round(b)
        if 8 <= i < 592 and 8 <= j < 392:
            profile = np.exp(-((x - (a - i)) ** 2 + (y - (b - j)) ** 2) / 4.5) / (4.5 * np.pi)
            image[j - 8 : j + 9, i - 8 : i + 9] += flux * profile
    return (rng.poisson(image) + rng.normal(0, 5, image.shape)).astype(np.float32)


def test_truth_lights_are_laid_through_the_lens_of_their_pixels(pixels):
    night, lights = pixels
    before = night.corners_px(one.transform for one in lights[1:])
    given = [one.transform for one in lights]
    told = through_one_lens(StarAlignment(), lights[0], lights)
    after = night.corners_px(one.transform for one in lights[1:])
    assert after.max() < 0.06 and np.median(after) < np.median(before[-2:]) / 2  # those are bent each for itself
    assert "one lens for all frames" in told[0] and lights[0].transform is given[0]
    for one, transform in zip(lights, given, strict=True):
        one.transform = transform


@pytest.mark.parametrize("knobs", [{"distortion": "none"}, {"model": "homography"}])
def test_truth_what_the_user_sets_wins(pixels, knobs):
    _, lights = pixels
    given = [one.transform for one in lights]
    assert through_one_lens(StarAlignment(**knobs), lights[0], lights) == []
    assert [one.transform for one in lights] == given
    frames = [(one.stars, one.transform) for one in lights[1:]]
    assert StarAlignment(**knobs | {"distortion": "lens"}).share_lens(lights[0].stars, frames).believed


def shared(night, **settings):
    return share_lens(night.sights[0], night.sights[1:], **settings)


@pytest.mark.parametrize(("k", "within_px", "without_px"), [(0.005, 0.05, 0.3), (0.02, 0.1, 1.2), (-0.02, 0.1, 1.2)])
def test_truth_corners_after_a_meridian_flip(k, within_px, without_px):
    night = lensed_night(k)
    found = shared(night)
    assert found.believed and np.median(night.corners_px(s.transform for s in night.sights[1:])) > without_px
    corners = night.corners_px(found.transforms)
    assert np.median(corners) < within_px and corners.max() < 2 * within_px
    assert found.corner_px == pytest.approx(3606 * k, rel=0.1)
    assert found.unseen < 0.6 and found.gain_px > without_px and found.moved_px < 0.005


@pytest.mark.parametrize("stars", [20, 50, 100])
def test_truth_few_stars_lie_better_than_without_a_lens(stars):
    night = lensed_night(0.02, stars, frames=16)
    before = np.median(night.corners_px(s.transform for s in night.sights[1:]))
    found = shared(night)
    assert found.believed and np.median(night.corners_px(found.transforms)) < before / 4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stars", [20, 100, 500])
def test_truth_without_a_lens_none_is_believed(stars, seed):
    night = lensed_night(0.0, stars, seed=seed)
    found = shared(night)
    assert not found.believed and "no lens is needed" in str(found)
    assert all(one.bend is None for one in found.transforms)
    before = np.median(night.corners_px(s.transform for s in night.sights[1:]))
    assert np.median(night.corners_px(found.transforms)) < 1.1 * before


def test_truth_frames_without_a_lens_lie_on_each_other_by_the_stars_of_all():
    """Against one reference each frame has the errors of its own eight numbers; a guided night shares most of them."""
    night = lensed_night(0.0, 300, frames=16, flip=False, focal_px=1e5, turn_deg=0.05, seed=1)
    found = shared(night)
    before, after = (wander_px(night, t) for t in ([s.transform for s in night.sights[1:]], found.transforms))
    assert not found.believed and after < before / 2
    assert {t.model for t in found.transforms} <= {"shift", "similarity", "affine"}
    assert np.median([t.corner_error_px for t in found.transforms]) < 0.02


def wander_px(night, transforms):
    """How far corners of frames lie from where those of all do in the mean."""
    at = np.array([[0, 0], [5999, 0], [0, 3999], [5999, 3999]], float)
    off = np.array([one(at) - true(at) for one, true in zip(transforms, night.truth[1:], strict=True)])
    return np.sqrt(np.mean((off - off.mean(axis=0)) ** 2))


def test_truth_a_frame_keeps_its_bend_only_where_the_stars_of_all_speak_for_it():
    night = lensed_night(0.0, 300, frames=10, outliers=0)
    box, bent = (0.0, 0.0, 5999.0, 3999.0), np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.3]])
    for number, size, off_px in ((3, 1e-3, 0.0), (5, 1.0, 1.0)):
        sight, bend = night.sights[number], Polynomial(box, size * bent)
        xy = sight.xy + off_px * bend(sight.transform.inverse(sight.xy))
        transform = replace(sight.transform, bend=bend, model="polynomial2")
        night.sights[number] = sight._replace(xy=xy, transform=transform)
    found = shared(night)
    assert found.transforms[4] is night.sights[5].transform
    others = [t for i, t in enumerate(found.transforms) if i != 4]
    assert all(t.bend is None and t.model in DEGREES for t in others)


def test_truth_few_frames_without_a_lens_stay_where_they_are():
    night = lensed_night(0.0, 100, frames=4)
    pairs = zip(shared(night).transforms, night.sights[1:], strict=True)
    assert all(one is sight.transform for one, sight in pairs)


def test_truth_dithers_alone_tell_a_lens():
    night = lensed_night(0.02, flip=False)
    assert np.median(night.corners_px(shared(night).transforms)) < 0.06


def test_truth_an_axis_off_the_middle_and_further_terms():
    night = lensed_night(0.02, k2=0.01, axis_px=(150.0, -80.0), frames=16)
    found = shared(night)
    assert np.median(night.corners_px(found.transforms)) < 0.15
    assert np.hypot(*np.subtract(found.lens.centre_px, (2999.5 + 150, 1999.5 - 80))) < 20


def test_truth_stars_that_no_homography_reaches_are_paired_in_further_rounds():
    night = lensed_night(0.05, axis_px=(150.0, 0.0), frames=8)
    before = night.corners_px(s.transform for s in night.sights[1:])
    assert before[-4:].min() > 5  # beyond the tolerance: no pair in the corners
    assert np.median(night.corners_px(shared(night).transforms)) < 0.1


def test_truth_outliers_and_noise_do_no_harm():
    night = lensed_night(0.02, outliers=0.2)
    assert np.median(night.corners_px(shared(night).transforms)) < 0.1
    noisy = lensed_night(0.02, sigma_px=0.3)
    assert np.median(noisy.corners_px(shared(noisy).transforms)) < 0.3


def test_truth_expected_errors_are_honest():
    found = shared(lensed_night(0.005, sigma_px=0.1, frames=16, outliers=0))
    assert np.median([t.chi2 for t in found.transforms]) == pytest.approx(1, abs=0.25)
    assert 0.01 < np.median([t.corner_error_px for t in found.transforms]) < 0.05
    assert {t.model for t in found.transforms} == {"lens"}


def test_truth_two_frames_are_better_off():
    night = lensed_night(0.02, frames=2)
    assert night.corners_px(shared(night).transforms) < night.corners_px([night.sights[1].transform]) / 3


def test_truth_frames_of_another_lens_stay_where_they_are():
    night = lensed_night(0.02)
    sight = night.sights[3]
    mirrored = sight._replace(transform=replace(sight.transform, mirrored=True))
    binned = sight._replace(shape=(2000, 3000))
    finer = sight._replace(transform=Transform(similarity_matrix(1.5 + 0j, 0j), shape=sight.shape))
    others = [mirrored, binned, finer]
    found = share_lens(night.sights[0], [*night.sights[1:], *others])
    assert found.believed and [t.bend for t in found.transforms[-3:]] == [None] * 3
    assert all(isinstance(t.bend, LensBend) for t in found.transforms[:-3])


def test_truth_too_few_stars_tell_no_lens():
    night = lensed_night(0.02, stars=8)
    found = shared(night)
    assert found.lens is None and not found.believed and "too few frames" in str(found)
    assert found.transforms == tuple(sight.transform for sight in night.sights[1:])


def test_truth_what_is_asked_for_is_done():
    found = shared(lensed_night(0.0), trusted=True)
    assert found.believed and all(t.bend is not None for t in found.transforms)
    few = shared(lensed_night(0.02), most_steps=1)
    assert few.steps <= 3 and few.moved_px > 0.005


def test_surface_the_report_is_one_line():
    told = str(shared(lensed_night(0.02)))
    assert "+7" in told and "px in the corners" in told and "steps" in told and len(told) < 300


def test_truth_the_frames_of_a_long_night_that_differ_most_make_the_lens():
    shifts = {i: similarity_matrix(1 + 0j, complex(i, 0)) for i in range(100)}
    shifts[100] = similarity_matrix(-1 + 0j, 6000 + 4000j)
    chosen = farthest(shifts, (4000, 6000))
    assert len(set(chosen)) == MOST_FRAMES and chosen[0] == 100 and 99 in chosen[:3]
    assert farthest({3: np.eye(3)}, (4000, 6000)) == [3]
