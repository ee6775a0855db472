"""LocalNormalization: sky and scale of a reference, place by place, and what must not bend them."""

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import ArrayFrame
from masterlight.core.process import knobs, replay
from masterlight.integration.normalize import LocalNormalization
from masterlight.subframes.measurement import StarList

ROWS, COLS = 900, 1100
SKY, NOISE = 1000.0, 10.0
LOCAL = LocalNormalization(scale_px=128)


@cache
def places():
    """x, y and flux of the stars of the test sky: 400 of 3,000 DN and more."""
    rng = np.random.default_rng(11)
    return rng.uniform(5, COLS - 6, 400), rng.uniform(5, ROWS - 6, 400), 3e3 * (1 + rng.pareto(1.2, 400)).clip(1, 100)


def drawn(x, y, flux, fwhm_px=3.0, beta=3.5, reach=60):
    """Moffat stars on nothing."""
    out = np.zeros((ROWS, COLS))
    alpha2 = (0.5 * fwhm_px) ** 2 / (2 ** (1 / beta) - 1)
    for cx, cy, f in zip(x, y, flux, strict=True):
        y0, y1, x0, x1 = (
            int(np.clip(a, 0, n))
            for a, n in ((cy - reach, ROWS), (cy + reach, ROWS), (cx - reach, COLS), (cx + reach, COLS))
        )
        r2 = (np.arange(y0, y1)[:, None] - cy) ** 2 + (np.arange(x0, x1) - cx) ** 2
        out[y0:y1, x0:x1] += f * (beta - 1) / (np.pi * alpha2) * (1 + r2 / alpha2) ** -beta
    return out


@cache
def stars():
    """The picture of the stars alone; not to be written to."""
    return drawn(*places())


@cache
def star_list():
    x, y, flux = places()
    order = np.argsort(-flux)
    x, y, flux = x[order], y[order], flux[order]
    one = np.ones(len(x))
    shape = 3 * one, 0.1 * one, 0 * one, 0.05 * one
    told = flux / 200, one < 0, 0.02 * one, (ROWS, COLS), 3.5
    return StarList(x, y, flux, SKY + 0.05 * flux, SKY * one, *shape, *told)


def across():
    """Coordinates over the field, -1 to 1: (y, x)."""
    return np.linspace(-1, 1, ROWS)[:, None], np.linspace(-1, 1, COLS)[None, :]


def nebula():
    """A nebula with structure from 60 to 300 pixels, 400 DN at its brightest."""
    y, x = np.mgrid[:ROWS, :COLS].astype(float)
    out = 250 * np.exp(-((x - 600) ** 2 + (y - 420) ** 2) / (2 * 150**2))
    for k in range(6):
        out += 40 * np.exp(-((x - 380 - 80 * k) ** 2 + (y - 300 - 50 * k) ** 2) / (2 * (25 + 10 * k) ** 2))
    return out


def noise(seed):
    return np.random.default_rng(seed).normal(0, NOISE, (ROWS, COLS))


def frame(array, name="light.fits"):
    return ArrayFrame.of(array, name)


def normalized(reference, target, local=LOCAL):
    """The pixels of `target` after normalization to `reference`, and the model: both arrays in, array out."""
    model = local.model(local.reference(frame(reference, "reference.fits"), star_list()), frame(target))
    assert model, str(model)
    out = np.array(target, np.float32)
    model.apply(out, 0, 0)
    return out, model


def test_truth_twice_the_target_and_a_gradient():
    y, x = across()
    gradient = 300 * x + 100 * y
    target = SKY + stars()
    out, model = normalized(2 * target + gradient, target)
    assert model.scale[0] == pytest.approx(2, rel=1e-3)
    a0 = out - np.float32(model.scale[0]) * target
    # 1 % of the gradient's amplitude, and what an error of the scale makes of the sky is in A0.
    assert np.abs(a0 + (model.scale[0] - 2) * SKY - gradient).max() < 3
    assert np.abs(out - 2 * target - gradient).max() < 3 + 1e-3 * target.max()


def test_truth_identical_frames_stay_as_they_are():
    image = (SKY + stars() + noise(1)).astype(np.float32)
    out, model = normalized(image, image)
    assert model.scale[0] == 1.0 and 0 < model.scale_error[0] < 0.01
    assert np.abs(out - image).max() < 0.1 * NOISE


def test_truth_two_frames_of_the_same_sky():
    first, second = SKY + stars() + noise(1), SKY + stars() + noise(2)
    out, model = normalized(first, second)
    assert abs(model.scale[0] - 1) < 4 * model.scale_error[0]
    a0 = out - second - (model.scale[0] - 1) * second
    # Cells of 16 x 122 pixels, both frames' noise, smoothed: 0.4 * sqrt(2 / 1952) = 0.013; a corner has three times it.
    assert np.sqrt(np.mean((a0 - a0.mean()) ** 2)) < 0.03 * NOISE
    assert np.abs(a0 + (model.scale[0] - 1) * SKY).max() < 0.2 * NOISE


@pytest.mark.parametrize("shape", ["linear", "quadratic"])
def test_truth_gradients_go_and_the_nebula_stays(shape):
    y, x = across()
    gradient = 0.3 * SKY * (x if shape == "linear" else x * x + 0.5 * y * y - 0.7 * x * y)
    object_ = nebula() + stars()
    reference = SKY + object_ + noise(1)
    target = 0.8 * object_ + 1.2 * SKY + gradient + noise(2)
    out, model = normalized(reference, target)
    assert model.scale[0] == pytest.approx(1 / 0.8, abs=4 * model.scale_error[0])
    # What is not noise: the same normalization of the frame without noise.
    clean = out - model.scale[0] * noise(2)
    left = clean - (SKY + model.scale[0] * 0.8 * object_)
    # 1 % of the nebula's contrast, and of the gradient's amplitude.
    assert np.abs(left).max() < 0.01 * nebula().max()


def test_truth_trails_and_bright_stars_leave_no_dent():
    y, x = np.mgrid[:ROWS, :COLS]
    across_px = (y - 300 - 0.15 * x) / np.hypot(1, 0.15)
    trail = 800 * np.exp(-(across_px**2) / (2 * 2.0**2))
    level = 500 * np.exp(-((y - 575) ** 2) / (2 * 2.0**2))
    reference = SKY + stars() + noise(1)
    bare = sky_becomes(normalized(reference, SKY + stars() + noise(2))[1])
    for disturbed in (trail, level, trail + level):
        dent = sky_becomes(normalized(reference, SKY + stars() + noise(2) + disturbed)[1]) - bare
        # A fifth of the noise of a stack of 20 frames.
        assert np.abs(dent).max() < 0.2 * NOISE / np.sqrt(20)


def test_truth_a_bright_star_leaves_no_dent():
    reference, target = SKY + stars() + noise(1), SKY + stars() + noise(2)
    bare = sky_becomes(normalized(reference, target)[1])
    for width in (4.0, 4.6):
        # Wide wings, and broader in one of the frames: what differs 30 px off is still half of the noise.
        there, here = drawn([700.3], [500.8], [5e6], 4.0, 2.2, 600), drawn([700.3], [500.8], [5e6], width, 2.2, 600)
        dent = sky_becomes(normalized(reference + there, target + here)[1]) - bare
        assert np.abs(dent).max() < 0.2 * NOISE / np.sqrt(20)


def sky_becomes(model):
    """What the model makes of a flat sky."""
    flat = np.full((ROWS, COLS), SKY, np.float32)
    model.apply(flat, 0, 0)
    return flat


def test_truth_cloud_over_half_of_the_field():
    y, x = across()
    transparency = 0.8 - 0.2 * np.tanh(2 * x - y)
    glow = 200 * (1 - transparency)
    # Stars of 12,000 DN and more: noise in an aperture is a percent of the faintest.
    reference = SKY + 4 * stars() + noise(1)
    target = transparency * (SKY + 4 * stars()) + glow + noise(2)
    local = LocalNormalization(scale_px=128, local_scale=True)
    out, model = normalized(reference, target, local)
    assert "varies" in model.notes[0]
    ones = local_factor(model) * transparency
    # Star fluxes are equal to 1 % everywhere, and so is the sky to a fifth of the noise.
    assert np.abs(ones - 1).max() < 0.015 and np.sqrt(np.mean((ones - 1) ** 2)) < 0.01
    assert abs(np.median(out - reference)) < 0.1 * NOISE


def local_factor(model):
    """s(x, y) of the whole field: what a step of 1 DN becomes."""
    low, high = (np.full((ROWS, COLS), v, np.float32) for v in (0, 4096))
    model.apply(low, 0, 0)
    model.apply(high, 0, 0)
    return (high.astype(float) - low) / 4096


def test_truth_no_cloud_no_local_scale():
    local = LocalNormalization(scale_px=128, local_scale=True)
    _, model = normalized(SKY + stars() + noise(1), 0.7 * (SKY + stars()) + noise(2), local)
    assert np.ptp(local_factor(model)) < 1e-5
    assert any("one scale" in note for note in model.notes)


def test_truth_half_a_frame():
    y, x = across()
    reference = SKY + stars() + noise(1)
    target = 0.5 * (SKY + stars()) + 100 * x + 30 * y * y + noise(2)
    target[:, 550:] = np.nan
    out, model = normalized(reference, target)
    assert np.isnan(out[:, 550:]).all() and np.isfinite(out[:, :550]).all()
    clean = (out - model.scale[0] * noise(2) - SKY - model.scale[0] * 0.5 * stars())[:, :550]
    # Up to the border between light and nothing, a tenth of the noise of the frame.
    assert np.abs(clean).max() < 0.2 * NOISE
    target[:, 20:] = np.nan
    local = LocalNormalization(scale_px=128, no_scale=True)
    model = local.model(local.reference(frame(reference)), frame(target))
    assert isinstance(model, Rejected) and "covers 0%" in model.reason and "globally" in model.reason


def test_truth_broader_stars_change_neither_scale_nor_sky():
    broad = SKY + drawn(*places(), fwhm_px=3.9) + noise(2)
    _, model = normalized(SKY + stars() + noise(1), broad)
    assert abs(model.scale[0] - 1) < 4 * model.scale_error[0]
    # 400 stars on a megapixel, whose rims are 3 pixels wider; the corners' own noise is a part of it.
    assert np.abs(sky_becomes(model) - SKY).max() < 0.1 * NOISE


def test_truth_a_rotated_frame():
    turn = np.radians(4.0)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 20.0], [np.sin(turn), np.cos(turn), -30.0], [0, 0, 1]])
    light = frame(SKY + stars() + noise(1))
    view = StarAlignment().registered(light, Transform(matrix=matrix, shape=(ROWS, COLS)), (ROWS, COLS), NOISE)
    seen = np.asarray(view)
    back = np.linalg.inv(matrix) @ np.stack([*star_list().xy.T, np.ones(400)])
    moved = replace(star_list(), x_px=back[0], y_px=back[1])
    y, x = across()
    reference = ArrayFrame.of(2 * seen + 50 * x - 20 * y, "reference.fits")
    made = LOCAL(view, LOCAL.reference(reference, moved))
    np.testing.assert_array_equal(np.isnan(made[:, :]), np.isnan(seen))
    assert made.model.scale[0] == pytest.approx(2, rel=1e-3)
    off = made[:, :] - np.asarray(reference) - (made.model.scale[0] - 2) * (seen - SKY)
    # The same noise is in both, so that gradient and scale are all there is.
    assert np.nanmax(np.abs(off)) < 0.1 * NOISE


def test_truth_negative_and_zero_pixels_are_data():
    image = stars() + noise(1) - 5
    image[400:420, 300:340] = 0
    out, model = normalized(image, 0.5 * image)
    assert model.scale[0] == pytest.approx(2, rel=1e-3)
    assert np.abs(out - image).max() < 0.1 * NOISE


def test_truth_colours_have_their_own_sky_and_scale():
    y, x = across()
    reference = np.stack([SKY + stars() + noise(k) for k in range(3)])
    factors = (1.0, 0.5, 2.0)
    target = np.stack([f * (SKY + stars()) + 50 * k * x + noise(5 + k) for k, f in enumerate(factors)])
    out, model = normalized(reference, target)
    for k, f in enumerate(factors):
        assert model.scale[k] * f == pytest.approx(1, abs=4 * model.scale_error[k] * f)
        clean = out[k] - model.scale[k] * noise(5 + k) - SKY - model.scale[k] * f * stars()
        assert np.abs(clean).max() < 0.25 * NOISE / min(f, 1)


def test_truth_no_scale():
    reference, target = SKY + stars() + noise(1), 0.5 * stars() + 300 + noise(2)
    local = LocalNormalization(scale_px=128, no_scale=True)
    model = local.model(local.reference(frame(reference)), frame(target))
    assert model.scale == (1.0,)
    out = target.astype(np.float32)
    model.apply(out, 0, 0)
    assert abs(np.median(out - reference)) < 0.05 * NOISE


def test_surface_too_little_in_common_is_rejected():
    reference = LOCAL.reference(frame(SKY + stars() + noise(1), "reference.fits"), star_list())
    model = LOCAL.model(reference, frame(SKY + noise(2), "cloud.fits"))
    assert isinstance(model, Rejected) and not model
    assert model.stage == "normalize" and "min_stars" in model.reason and "globally" in model.reason
    assert isinstance(LOCAL(frame(SKY + noise(2)), reference), Rejected)
    with pytest.raises(FrameError, match="register it first"):
        LOCAL.model(reference, ArrayFrame.of(np.zeros((50, 60)), "small.fits"))
    with pytest.raises(FrameError, match="blank.fits.*reference"):
        LOCAL.reference(frame(np.zeros((ROWS, COLS)), "blank.fits"))


def test_surface_any_box_is_bit_identical_and_views_travel():
    y, x = across()
    reference = LOCAL.reference(frame(SKY + stars() + noise(1), "reference.fits"), star_list())
    for local in (LOCAL, LocalNormalization(scale_px=128, local_scale=True)):
        view = local(frame((0.8 + 0.2 * x) * (SKY + stars()) + noise(2)), reference)
        whole = np.asarray(view)
        again = pickle.loads(pickle.dumps(view))
        rng = np.random.default_rng(3)
        for _ in range(30):
            y0, x0 = int(rng.integers(0, ROWS)), int(rng.integers(0, COLS))
            y1, x1 = min(ROWS, y0 + int(rng.integers(1, 300))), min(COLS, x0 + int(rng.integers(1, 300)))
            np.testing.assert_array_equal(again[y0:y1, x0:x1], whole[y0:y1, x0:x1])
        assert len(pickle.dumps(view.model)) < 50_000
        assert replay(view.cards[-1]) == local


def test_surface_knobs_are_explained():
    assert all(k.help.endswith(".") for k in knobs(LocalNormalization))
