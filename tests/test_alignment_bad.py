"""Bad frames beside a sound reference: each is laid rightly or refused with a sentence, never laid wrongly."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from masterlight.alignment.align import StarAlignment
from masterlight.doors.hand.steps import by_hand
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars.find import find_stars

SHAPE, CENTRE = (360, 440), np.array([219.5, 179.5])
MOVE = np.array([5.3, -3.6])


def sky(seed=1, count=70):
    """Positions about the middle of the frame, and fluxes, brightest first."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-240, 240, (count, 2)), 2e5 * (np.arange(count) + 1.0) ** -0.8


def frame(stars, move=(0.0, 0.0), scale=1.0, shape=SHAPE, fwhm_px=3.0, seed=0):
    """Stars as Gaussians over a sky of 400 DN with its noise."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    image, s = np.full(shape, 400.0), fwhm_px / 2.3548
    middle = (np.array(shape[::-1]) - 1) / 2
    for (px, py), flux in zip(stars[0] * scale + np.asarray(move) * scale + middle, stars[1], strict=True):
        if -20 < px < shape[1] + 20 and -20 < py < shape[0] + 20:
            image += flux * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * s * s)) / (2 * np.pi * s * s)
    return (image + np.random.default_rng(seed).normal(0, np.sqrt(image))).astype(np.float32)


def laid(first, second, name="bad.fits"):
    selector, process = SubframeSelector(), StarAlignment()
    lists = [find_stars(selector, np.minimum(image, 60000), 60000.0)[0] for image in (first, second)]
    found = process.align(process.prepare(lists[0]), lists[1], name)
    assert found or ("bad.fits" in str(found) and len(str(found)) <= 300 and "\n" not in found.reason)
    return found


def off_px(found, scale=1.0, shape=SHAPE):
    """How far the middle of the frame, and points about it, are from where they belong."""
    at = CENTRE + np.array([(0, 0), (150, 100), (-150, 100), (100, -120)])
    right = (at - CENTRE + MOVE) * scale + (np.array(shape[::-1]) - 1) / 2
    return np.abs(found(at) - right).max()


@pytest.fixture(scope="module")
def reference():
    return frame(sky(), seed=1)


def test_bad_unrelated_fields_are_refused(reference):
    for seed in (2, 3, 4):
        found = laid(reference, frame(sky(seed), seed=seed))
        assert not found and "same target" in found.reason


def test_bad_nothing_but_noise_is_refused(reference):
    found = laid(reference, frame((np.empty((0, 2)), np.empty(0))))
    assert not found and "stars found here" in found.reason


def test_bad_three_stars_are_refused(reference):
    few = sky()[0][:3] * 0.5, np.full(3, 1e5)
    assert "3 stars found here" in laid(reference, frame(few)).reason


def test_truth_an_identical_frame_lies_where_it_is(reference):
    found = laid(reference, reference)
    assert found and np.abs(found(CENTRE) - CENTRE).max() < 1e-6 and found.rms_px < 1e-6


def test_truth_trailed_stars_are_laid(reference):
    trail = sum(frame(sky(), MOVE + (step, 0.4 * step), seed=5) for step in np.linspace(-4, 4, 5)) / 5
    found = laid(reference, trail.astype(np.float32))
    assert found and off_px(found) < 0.5


def test_truth_doubled_stars_lie_on_the_brighter_image_or_the_other(reference):
    double = 0.6 * frame(sky(), MOVE, seed=6) + 0.4 * frame(sky(), MOVE + (12, 0), seed=7)
    found = laid(reference, double.astype(np.float32))
    assert found and min(off_px(found), abs(off_px(found) - 12)) < 0.5


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_truth_other_binning_is_a_scale(reference, scale):
    shape = (int(360 * scale), int(440 * scale))
    found = laid(reference, frame(sky(), MOVE, scale, shape, fwhm_px=max(3.0 * scale, 1.8), seed=8))
    assert found and found.scale == pytest.approx(scale, rel=2e-3) and off_px(found, scale, shape) < 0.5


def test_truth_saturated_cores_are_still_stars(reference):
    stars = sky()[0], sky()[1] * 30
    found = laid(reference, frame(stars, MOVE, seed=9))
    assert found and off_px(found) < 0.2


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_truth_half_of_the_frame_is_enough(reference, missing):
    half = frame(sky(), MOVE, seed=10)
    half[:, 220:] = missing
    found = laid(reference, half)
    assert found and off_px(found) < 0.4


# --- headers that tell where a frame lies -----------------------------------------------------------------------------


def pointed(move, off_px=(0.0, 0.0)):
    """The header of a frame of this sky that was moved, as a plate solver writes it, or wrong by some px."""
    x, y = CENTRE + 1 + np.asarray(move) + off_px
    head = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.6, "CRVAL2": 22.0, "CRPIX1": x, "CRPIX2": y}
    return head | {"CD1_1": -5e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 5e-4}


def aligned(folder, **frames):
    """Where frames lie, (image, header) by their names, and the codes of those that fail."""
    paths = []
    for name, (image, header) in frames.items():
        paths.append(folder / f"{name}.fits")
        fits.HDUList([fits.PrimaryHDU(image, fits.Header(header | {"IMAGETYP": "Light Frame"}))]).writeto(paths[-1])
    *_, last = by_hand("align", paths, folder / "out", reference=paths[0], transforms_only=True)
    rows = {Path(row.source).stem: np.array([row.dx_px, row.dy_px]) for row in last.result.rows}
    return rows, {Path(one.source).stem: one.code for one in last.result.failed}


def with_others(common, seed):
    """Six stars that frames share, and thirteen of its own."""
    own, flux = sky(seed, 13)
    return np.vstack([common[0][:6] * 0.6, own * 0.7]), np.append(np.full(6, 3e4), 0.1 * flux + 6e3)


def test_truth_few_common_stars_confirm_what_headers_tell_and_wrong_headers_change_nothing(tmp_path):
    common, move = sky(31), np.array([21.0, -14.0])
    first, second = (with_others(common, seed) for seed in (32, 33))
    images = frame(first, seed=11), frame(second, move, seed=12)
    far = pointed(move, (60.0, 35.0))
    cases = {"right": (pointed((0, 0)), pointed(move)), "none": ({}, {}), "wrong": (pointed((0, 0)), far)}
    for name, heads in cases.items():
        (tmp_path / name).mkdir()
        rows, failed = aligned(tmp_path / name, first=(images[0], heads[0]), second=(images[1], heads[1]))
        if name == "right":
            assert np.abs(rows["second"] - move).max() < 0.3 and not failed
        else:
            assert "second" not in rows and failed == {"second": "NOT_SIGNIFICANT"}


def test_truth_a_wrong_header_does_not_move_a_frame(tmp_path, reference):
    head, far = pointed((0, 0)), pointed(MOVE, (80.0, -45.0))
    sound, odd = frame(sky(), MOVE, seed=13), frame(sky(4), seed=14)
    rows, failed = aligned(tmp_path, first=(reference, head), moved=(sound, far), other=(odd, head))
    assert np.abs(rows["moved"] - MOVE).max() < 0.2 and list(failed) == ["other"]
