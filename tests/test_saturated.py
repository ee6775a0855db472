"""Saturated samples leave the mean where a frame that saturates later has the place, and nowhere else."""

import numpy as np
import pytest

from masterlight import ImageIntegration, Rejection
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration.single.saturated import leave_saturated, wells_of
from masterlight.subframes.measurement import Measurement

FULL = 60_000.0
SHAPE = (120, 140)


def star(peak_dn, at=(60.3, 70.4), fwhm_px=4.0):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return peak_dn * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) * 4 * np.log(2) / fwhm_px**2)


def lights_of(light, scales, seed=0, noise_dn=10.0, planes=None):
    """Lights of so many times the reference's exposure, and what is measured of them; a photon is a DN."""
    rng, frames, known = np.random.default_rng(seed), [], []
    for i, scale in enumerate(scales):
        seen = scale * (light + 100)
        image = np.minimum(rng.poisson(seen) + rng.normal(0, noise_dn, seen.shape), FULL)
        frame = ArrayFrame.of(image, f"{60 * scale:g} s, {i}", Meta(saturation_dn=FULL))
        noise = float(np.hypot(noise_dn, np.sqrt(100 * scale)))
        about = {"fwhm_px": 4.0, "gain_e_per_dn": 1.0}
        own = Measurement(frame.source, 100 * scale, (noise, noise), noise, 60 * scale, scale, **about)
        frames, known = [*frames, frame], [*known, own]
    return frames, known if light.ndim == 2 else [known] * len(light)


def integrated(frames, known, **knobs):
    *_, done = ImageIntegration(rejection=Rejection(**knobs))(frames, known, reference=0, verdicts=True)
    return done.result


@pytest.mark.parametrize("peak_dn", [5e4, 9e4, 2e5, 3.4e5])
def test_truth_short_exposures_tell_the_cores_of_stars(peak_dn):
    light = star(peak_dn) + star(2000, (30, 30))
    frames, known = lights_of(light, [1] * 5 + [1 / 6] * 5)
    stack = integrated(frames, known)
    core = light > 0.02 * peak_dn
    assert (stack.image - 100)[core].sum() == pytest.approx(light[core].sum(), rel=0.005)
    # photons of five short lights, six times as few each: 6 sqrt(peak / 6 / 5) = 1.1 sqrt(peak), and 5 sigma of it
    assert np.abs(stack.image - 100 - light)[core].max() < 6 * np.sqrt(peak_dn) + 50
    left = integrated(frames, known, saturated=False)
    if peak_dn > 7e4:
        assert (left.image - 100)[core].max() < 0.95 * light.max()


def test_truth_where_all_are_saturated_there_is_no_hole():
    """The star is as bright as the shortest exposure can tell, and its profile falls from there on."""
    light = star(2e6)
    stack = integrated(*lights_of(light, [1] * 4 + [1 / 6] * 4))
    row = stack.image[60, 70:90]
    assert row[0] == pytest.approx(6 * FULL - 500, rel=0.01)  # 6 x, and the sky of 100 levelled
    assert (np.diff(row) < 0.01 * row[0]).all()
    assert np.isfinite(stack.image).all() and (stack.coverage > 0).all()


def test_truth_alike_exposures_keep_all_their_samples():
    """What is at the limit in some frames and below it in others would be left with its faintest samples."""
    light = star(7e4)
    frames, known = lights_of(light, [1, 1.05, 0.98, 1.02, 1])
    assert wells_of(Rejection(), frames, [ImageIntegration().terms(known)], None) is None
    with_, without = integrated(frames, known), integrated(frames, known, saturated=False)
    np.testing.assert_array_equal(with_.image, without.image)


def test_truth_a_frame_through_cloud_saturates_later():
    light = star(8e4)
    stack = integrated(*lights_of(light, [1, 1, 1, 0.5, 0.5]))
    assert (stack.image - 100).max() == pytest.approx(light.max(), rel=0.02)


def test_truth_colours_stay_in_proportion():
    """All planes of a pixel go where one is saturated."""
    light = np.stack([star(1.5e5), star(9e4), star(3e4)])
    stack = integrated(*lights_of(light, [1] * 4 + [1 / 6] * 4))
    core = light[0] > 1e4
    ratios = [(stack.image[p] - 100)[core].sum() / light[p][core].sum() for p in range(3)]
    assert ratios == pytest.approx([1, 1, 1], abs=0.01)


def test_truth_a_saturated_ray_in_a_long_light_is_rejected_as_ever():
    light = star(2000)
    frames, known = lights_of(light, [1] * 4 + [1 / 6] * 4)
    frames[1].array[20, 20] = FULL
    assert integrated(frames, known).image[20, 20] == pytest.approx(100, abs=40)


def test_truth_no_frame_that_saturates_later_tells_of_a_place_it_does_not_see():
    light = star(2e5)
    frames, known = lights_of(light, [1] * 4 + [1 / 6] * 2)
    for frame in frames[4:]:
        frame.array[:, 60:] = np.nan
    stack = integrated(frames, known)
    assert stack.image[60, 70] == pytest.approx(FULL, rel=0.01)


def test_oracle_leave_saturated():
    rng = np.random.default_rng(5)
    samples = rng.normal(100, 5, (3, 6, 9, 11)).astype(np.float32)
    samples[:, rng.random(samples.shape[1:]) < 0.2] = np.nan
    near, level = rng.random(samples.shape[1:]) < 0.4, np.array([1.0, 1.1, 6, 6, 3, -np.inf])
    expected = samples.copy()
    for y, x in np.ndindex(9, 11):
        there = [i for i in range(6) if np.isfinite(samples[0, i, y, x])]
        free = [level[i] for i in there if not near[i, y, x] and np.isfinite(level[i])]
        best = max(free or [level[i] for i in there], default=-np.inf)
        for i in there:
            if near[i, y, x] and 1.15 * level[i] < best:
                expected[:, i, y, x] = -np.inf
    leave_saturated(samples, near, level)
    np.testing.assert_array_equal(samples, expected)
