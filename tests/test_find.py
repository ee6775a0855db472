import numpy as np
import pytest

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars import psf
from masterlight.subframes.stars.shared import chauvenet

NOISE = 10.0
MEASURE = SubframeSelector()


def moffat_stamp(cx, cy, fwhm_px, beta, aspect, theta, reach):
    """A star of peak 1 over the 5 x 5 sub-pixels of each pixel, around the rounded centre."""
    width = 0.5 * fwhm_px / np.sqrt(psf.half_rho(beta))
    sub = (np.arange(-reach, reach + 1)[:, None] + (np.arange(5) - 2) / 5).ravel()
    dx, dy = (sub + round(cx) - cx)[None, :], (sub + round(cy) - cy)[:, None]
    u, v = np.cos(theta) * dx + np.sin(theta) * dy, np.cos(theta) * dy - np.sin(theta) * dx
    rho = (u**2 * aspect + v**2 / aspect) / width**2
    return ((1 + rho) ** -beta).reshape(2 * reach + 1, 5, 2 * reach + 1, 5).mean(axis=(1, 3))


def sky(shape=(800, 1200), count=150, fwhm_px=3.0, beta=3.0, aspect=1.0, theta=0.0, seed=1, slope=0.0):
    """A frame of `count` Moffat stars with noise: (image, x, y, snr); brightest SNR about 1000."""
    rng = np.random.default_rng(seed)
    reach = int(5 * fwhm_px)
    x = rng.uniform(reach + 2, shape[1] - reach - 3, count)
    y = rng.uniform(reach + 2, shape[0] - reach - 3, count)
    snr = 8.0 / rng.uniform(0.002, 1, count) ** (1 / 1.3)
    image = np.add.outer(np.zeros(shape[0]), 1000 + slope * np.arange(shape[1]))
    for cx, cy, s in zip(x, y, snr, strict=True):
        stamp = moffat_stamp(cx, cy, fwhm_px, beta, aspect, theta, reach)
        box = np.s_[round(cy) - reach : round(cy) + reach + 1, round(cx) - reach : round(cx) + reach + 1]
        image[box] += s * NOISE / np.sqrt(np.sum(stamp**2)) * stamp
    return (image + rng.normal(0, NOISE, shape)).astype(np.float32), x, y, snr


def offsets(found, x, y):
    """Offset of the nearest found star from each true one, NaN beyond 1.5 px."""
    d = found.xy[None] - np.stack([x, y], -1)[:, None]
    best = np.argmin(np.hypot(*d.T), axis=0)
    out = d[np.arange(len(x)), best]
    out[np.hypot(*out.T) > 1.5] = np.nan
    return out


@pytest.mark.parametrize("fwhm_px", [1.4, 2.0, 3.0, 5.0])
def test_truth_stars_are_found_and_measured(fwhm_px):
    image, x, y, snr = sky(fwhm_px=fwhm_px, slope=0.3)
    row, found = MEASURE.measure(image)
    off = offsets(found, x, y)
    # What is missing are close pairs.
    assert np.mean(np.isfinite(off[snr > 15, 0])) > 0.85
    assert np.isnan(offsets_back(found, x, y)).sum() <= 3
    assert row.fwhm_px == pytest.approx(fwhm_px, rel=0.02)
    assert row.eccentricity < 0.15
    assert found.beta == pytest.approx(3.0, rel=0.15)
    bright = (snr > 60) & np.isfinite(off[:, 0])
    # 0.6 to 0.7 FWHM / SNR is the Cramer-Rao bound of the faintest of these.
    assert 1.48 * np.median(np.abs(off[bright])) < 0.75 * fwhm_px / 60
    assert row.noise_dn == pytest.approx(NOISE, rel=0.03)
    assert (np.diff(found.flux_dn) <= 0).all()


def offsets_back(found, x, y):
    d = np.hypot(found.x_px[:, None] - x, found.y_px[:, None] - y).min(axis=1)
    return np.where(d > 1.5 + 3 * found.sigma_px, np.nan, d)


@pytest.mark.parametrize("fwhm_px", [8.0, 12.0])
def test_truth_wide_stars_are_measured_in_a_binned_frame(fwhm_px):
    image, x, y, snr = sky(fwhm_px=fwhm_px, count=40, shape=(1200, 1800))
    row, found = MEASURE.measure(image)
    # The neighbours' wings reach each other at this size.
    assert row.fwhm_px == pytest.approx(fwhm_px, rel=0.04)
    off = offsets(found, x, y)[snr > 60]
    assert np.mean(np.isfinite(off)) > 0.8
    assert 1.48 * np.nanmedian(np.abs(off)) < 0.012 * fwhm_px


def test_truth_position_errors_are_honest():
    image, x, y, snr = sky(count=250, shape=(1200, 1600))
    _, found = MEASURE.measure(image)
    d = found.xy[:, None] - np.stack([x, y], -1)[None]
    off = d[np.arange(len(found)), np.argmin(np.hypot(*d.T), axis=0)]
    fair = (found.sigma_px > 0.011) & (np.hypot(*off.T) < 1)
    pull = off[fair] / found.sigma_px[fair, None]
    # 1 for perfect errors; 300 values tell it to 6 %, blends widen it a little.
    assert 0.85 < 1.4826 * np.median(np.abs(pull)) < 1.2


@pytest.mark.parametrize("aspect", [0.95, 0.8])
def test_truth_eccentricity_is_nearly_unbiased(aspect):
    image, *_ = sky(aspect=aspect, theta=0.6)
    row, found = MEASURE.measure(image)
    assert row.eccentricity == pytest.approx(np.sqrt(1 - aspect**2), abs=0.05)
    assert np.median(found.theta_rad[found.snr > 50]) == pytest.approx(0.6, abs=0.15)


def test_truth_the_pedestal_does_not_change_the_stars():
    image, *_ = sky()
    lists = [MEASURE.measure(image + np.float32(pedestal))[1] for pedestal in (0, 100, -1100)]
    assert len({len(found) for found in lists}) == 1
    # float32 steps are 1e-4 DN at 1000 DN
    np.testing.assert_allclose(lists[1].xy, lists[0].xy, atol=1e-3)
    np.testing.assert_allclose(lists[2].fwhm_px, lists[0].fwhm_px, rtol=1e-3)


def test_truth_hot_pixels_are_not_taken_for_stars():
    rng = np.random.default_rng(4)
    image, x, y, snr = sky()
    hot = rng.random(image.shape) < 0.05
    image[hot] += rng.exponential(3000, hot.sum()).astype(np.float32)
    result = MEASURE.measure(image)
    if result:
        assert np.isnan(offsets_back(result[1], x, y)).sum() == 0
    for heights in (3000, rng.exponential(3000, hot.sum())):
        empty = rng.normal(1000, NOISE, image.shape).astype(np.float32)
        empty[hot] += np.float32(heights)
        assert "clouds, lens cap or focus" in MEASURE.measure(empty, source="dark.fit").reason


@pytest.mark.parametrize(("fwhm_px", "wide_px"), [(2.4, 5.5), (4.0, 9.5)])
def test_truth_round_fits_of_high_signal_stay_however_narrow_they_are(fwhm_px, wide_px):
    """Two stars among forty knots of a galaxy that are alike, and more than twice as wide."""
    image, *_ = sky(count=0)
    rng = np.random.default_rng(4)
    at = rng.permutation(np.stack(np.meshgrid(np.arange(100, 1100, 120), np.arange(100, 700, 110)), -1).reshape(-1, 2))
    for k, (cx, cy) in enumerate(at[:42] + rng.uniform(-9, 9, (42, 2))):
        width, height = (fwhm_px, 5000) if k < 2 else (wide_px, rng.uniform(200, 600))
        reach = int(4 * width)
        box = np.s_[round(cy) - reach : round(cy) + reach + 1, round(cx) - reach : round(cx) + reach + 1]
        image[box] += (height * moffat_stamp(cx, cy, width, 3.0, 1.0, 0.0, reach)).astype(np.float32)
        if k < 2:
            at[k] = cx, cy
    row, found = MEASURE.measure(image)
    assert row.fwhm_px == pytest.approx(wide_px, rel=0.1)
    assert np.isfinite(offsets(found, *(at[:2].T + 0.5))).all()


def test_truth_missing_pixels_are_tolerated():
    image, x, y, snr = sky()
    image[np.random.default_rng(5).random(image.shape) < 0.05] = np.nan
    image[:, :100] = np.nan
    row, found = MEASURE.measure(image)
    assert row.missing_fraction == pytest.approx(0.05 + 0.95 * 100 / 1200, abs=0.01)
    assert row.fwhm_px == pytest.approx(3.0, rel=0.02)
    inside = (snr > 15) & (x > 110)
    assert np.mean(np.isfinite(offsets(found, x, y)[inside, 0])) > 0.85


def test_truth_saturated_stars_are_kept_and_flagged():
    image, x, y, snr = sky()
    clipped = np.minimum(image, np.float32(2500))
    _, found = MEASURE.measure(clipped, saturation_dn=2500)
    flagged = found[found.saturated]
    assert len(flagged) == np.sum(found.peak_dn >= 0.99 * 2500) > 0
    off = offsets(flagged, x, y)
    assert np.nanmedian(np.abs(off)) < 0.05


def test_truth_crowded_fields_take_the_budget_evenly():
    image, *_ = sky(count=4000, fwhm_px=2.5)
    row, found = SubframeSelector(max_stars=200).measure(image)
    assert 150 < len(found) <= 200
    assert row.stars > 1000
    cells = np.histogram2d(found.x_px, found.y_px, bins=(8, 6), range=((0, 1200), (0, 800)))[0]
    assert cells.max() <= 3 * 200 // 48


def test_truth_mosaics_and_colour_frames():
    image, x, y, snr = sky()
    mosaic = image.copy()
    mosaic[::2, ::2] *= 0.5
    mosaic[1::2, 1::2] *= 0.7
    row, found = MEASURE.measure(ArrayFrame.of(mosaic, "osc.fit", Meta(pattern="RGGB")))
    assert (row.source, len(found.shape)) == ("osc.fit", 2)
    assert row.fwhm_px == pytest.approx(3.0, rel=0.03)
    assert row.noise_dn == pytest.approx(NOISE, rel=0.03)
    bright = snr > 60
    assert 1.48 * np.nanmedian(np.abs(offsets(found, x, y)[bright])) < 0.06
    row, _ = MEASURE.measure(np.stack([image, image, image]))
    assert row.fwhm_px == pytest.approx(3.0, rel=0.02)


def test_star_lists_can_be_sliced():
    _, found = MEASURE.measure(sky()[0])
    assert found.xy.shape == (len(found), 2)
    assert len(found[:10]) == 10
    assert len(found[found.snr > 50]) == (found.snr > 50).sum()
    assert len(found[3]) == 1
    assert found[:10].beta == found.beta


def test_authority_positions_and_completeness_as_good_as_seps():
    sep = pytest.importorskip("sep")
    image, x, y, snr = sky(count=400, shape=(1500, 2000), slope=0.2)
    _, found = MEASURE.measure(image)
    back = sep.Background(image)
    clean = image - back
    objects = sep.extract(clean, 1.5, err=back.globalrms)
    # Its best case: a window of the true width.
    sx, sy, _ = sep.winpos(clean, objects["x"], objects["y"], 3.0 / 2.35)
    d = np.stack([sx, sy], -1)[None] - np.stack([x, y], -1)[:, None]
    rival = d[np.arange(len(x)), np.argmin(np.hypot(*d.T), axis=0)]
    rival[np.hypot(*rival.T) > 1.5] = np.nan
    ours = offsets(found, x, y)
    both = np.isfinite(ours[:, 0]) & np.isfinite(rival[:, 0]) & (snr > 10)
    rms = [1.48 * np.median(np.abs(e[both])) for e in (ours, rival)]
    assert rms[0] < 1.03 * rms[1]
    share = [np.mean(np.isfinite(e[snr > 10, 0])) for e in (ours, rival)]
    assert share[0] > share[1] - 0.02


def test_truth_chauvenet_leaves_normal_samples_nearly_whole():
    x = np.random.default_rng(5).normal(10, 1, 500)
    low, high = chauvenet(x)
    assert np.count_nonzero((x < low) | (x > high)) <= 5
    low, high = chauvenet(np.concatenate([x, [30, 40, 1e6]]))
    assert high < 15 and low > 5
    assert chauvenet(np.full(9, 3.0)) == (3.0, 3.0)
    assert chauvenet(np.array([1.0])) == (1.0, 1.0)
