"""What is told of frames before they are integrated, beside what comes of them."""

import os
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import sky
from scipy import ndimage

from masterlight import io
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.warping.weights import shape_of
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration.depth import sky_noise
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import Rejection
from masterlight.simulate.night import Night
from masterlight.simulate.observatory import Observatory
from masterlight.subframes.choice.forecast import (
    choices_of,
    comparable,
    depth_at,
    forecast_of,
    frontier_of,
    prices_of,
)
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.photometry import standards
from masterlight.subframes.radial import fitted_width, half_radius, moffat_profile
from masterlight.subframes.select import SubframeSelector

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data")) / "tres1_st10"
TUTORIAL = Expression("35*inv(FWHM) + 5*inv(Eccentricity) + 10*inv(Noise) + 50")
LANCZOS5 = partial(shape_of, "lanczos5")


def measured(fwhm, noise, eccentricity=None):
    round_stars = np.zeros(len(fwhm)) if eccentricity is None else eccentricity
    return [
        Measurement(
            f"{i}.fits", 100.0, (n, n), n, fwhm_px=w, eccentricity=e, profile=tuple(moffat_profile(w, 3.5).tolist())
        )
        for i, (w, n, e) in enumerate(zip(fwhm, noise, round_stars, strict=True))
    ]  # fmt: skip


def tutorial(measurements):
    table = {"FWHM": "fwhm_px", "Eccentricity": "eccentricity", "Noise": "noise_dn"}
    return TUTORIAL.evaluate(
        {name: np.array([getattr(m, field) for m in measurements]) for name, field in table.items()}
    )


def night(kind, seed, count=30):
    """(measurements, flux ratios) of a night of steady or changing noise, of clear or cloudy air."""
    rng = np.random.default_rng(seed)
    fwhm, noise = 3.4 * np.exp(0.08 * rng.standard_normal(count)), 12 * np.exp(0.02 * rng.standard_normal(count))
    lost = 0.6 * rng.random(count) * (rng.random(count) < 0.5) * ("cloud" in kind)
    noise = noise * np.sqrt(1 + 0.9 * lost) * np.exp(("noise" in kind) * 0.25 * rng.standard_normal(count))
    return measured(fwhm, noise, rng.uniform(0.2, 0.55, count)), 1 - lost


# --- the forecast by itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("noise", 0.06, 0.2), ("cloud", 0.08, 0.25), ("noise and cloud", 0.12, 0.4)]
)
def test_truth_the_tutorials_formula_gives_away_depth(kind, least, most):
    """Its Noise knows nothing of transparency, and 50 of 100 is a floor; times the weight by noise it costs nothing."""
    plain, with_noise = [], []
    for seed in range(12):
        measurements, ratios = night(kind, seed)
        frames = comparable(measurements, ratios)
        weights = tutorial(measurements)
        plain.append(1 - forecast_of(frames, weights).depth)
        told = forecast_of(frames, weights * frames.noise())
        with_noise.append(1 - told.depth)
        assert told.wider < 0.003 and told.point_snr > 0.99
    assert least < min(plain) and max(plain) < most
    assert max(with_noise) < 0.01
    assert np.median(plain) > {"noise": 0.09, "cloud": 0.12, "noise and cloud": 0.2}[kind]


def test_truth_weights_that_are_known():
    """Relative light 1, 0.8, 0.6 at noise 10, 10, 12: best weights 1, 0.64, 0.25, depth the root of their sum."""
    frames = comparable(measured([3, 3, 3], [10, 10, 12]), [1, 0.8, 0.6])
    assert frames.noise() == pytest.approx([1, 0.64, 0.25])
    best, equal = (forecast_of(frames, w) for w in (frames.noise(), np.ones(3)))
    assert best.depth == pytest.approx(1) and best.noise_dn == pytest.approx(10 / np.sqrt(1.89))
    assert best.effective == pytest.approx(1.89**2 / (1 + 0.64**2 + 0.25**2))
    assert equal.noise_dn == pytest.approx(np.sqrt(100 + 156.25 + 400) / 3)
    assert equal.depth == pytest.approx(best.noise_dn / equal.noise_dn) and equal.point_snr == pytest.approx(
        equal.depth
    )
    assert (best.fwhm_px, best.wider, best.shallower) == pytest.approx((3, 0, 0), abs=1e-3)
    assert (best.frames, equal.effective) == (3, pytest.approx(3))


def test_truth_a_frame_scaled_with_its_noise_is_the_same_frame():
    one, other = (comparable(measured([3, 4], [10, n]), [1, r]) for n, r in ((12, 0.7), (24, 1.4)))
    assert forecast_of(one, np.array([2.0, 1.0])) == pytest.approx(
        forecast_of(other, np.array([2.0, 1.0])), nan_ok=True
    )


def test_truth_a_camera_of_other_pixels():
    """Pixels of half the side have half the width, and of the same sky per area half the noise in each."""
    coarse = measured([3.0], [10.0])[0]
    fine = replace(coarse, source="fine", fwhm_px=6.0, noise_dn=5.0, profile=tuple(moffat_profile(6.0, 3.5).tolist()))
    frames = comparable([coarse, fine], [1, 1], pixels=[1, 0.5])
    assert frames.fit * fitted_width(frames.profiles) == pytest.approx([3, 3])
    assert frames.noise_dn == pytest.approx([10, 10])
    coarse, fine = map(half_radius, frames.profiles)
    assert fine < coarse and fine == pytest.approx(coarse, rel=0.04)  # a coarse pixel blurs more


def test_truth_the_stars_of_a_mixture():
    """Long in one direction they stay long; long across each other they come out round."""
    long = measured([3, 3], [10, 10], [0.8, 0.8])
    along = forecast_of(comparable(long, [1, 1], theta_rad=[0.3, 0.3]), np.ones(2))
    across = forecast_of(comparable(long, [1, 1], theta_rad=[0.3, 0.3 + np.pi / 2]), np.ones(2))
    assert along.eccentricity == pytest.approx(0.8, abs=1e-6) and across.eccentricity == pytest.approx(0, abs=1e-6)
    assert np.isnan(forecast_of(comparable(long, [1, 1]), np.ones(2)).eccentricity)
    narrow, wide = measured([2.5, 5.0], [10, 10])
    mixed = forecast_of(comparable([narrow, wide], [1, 1]), np.array([1.0, 1.0])).fwhm_px
    assert 2.5 < mixed < 3.2  # the narrow ones make the height


def test_oracle_the_price_of_each_frame():
    measurements, ratios = night("noise and cloud", 3, 12)
    frames, weights = comparable(measurements, ratios), tutorial(measurements)
    approved = np.arange(12) % 4 > 0
    prices = prices_of(frames, weights, approved)
    for i in range(12):
        inside, outside = (weights * np.where(np.arange(12) == i, taken, approved) for taken in (True, False))
        one, other = forecast_of(frames, inside), forecast_of(frames, outside)
        assert prices.depth[i] == pytest.approx(one.depth / other.depth - 1)
        assert prices.point_snr[i] == pytest.approx(one.point_snr / other.point_snr - 1)
        assert prices.fwhm[i] == pytest.approx(one.fwhm_px / other.fwhm_px - 1, abs=0.002)  # half height, or a fit
    alone = prices_of(frames, weights, np.arange(12) == 5)
    assert np.isnan(alone.depth[5]) and np.isfinite(alone.depth[4])


def test_truth_nothing_lies_beyond_the_frontier():
    measurements, ratios = night("noise and cloud", 5, 15)
    frames = comparable(measurements, ratios)
    frontier = frontier_of(frames)
    depths, widths = (np.array([getattr(point, name) for point in frontier]) for name in ("depth", "fwhm_px"))
    assert (np.diff(depths) < 0).all() and (np.diff(widths) < 0).all() and depths[0] == pytest.approx(1)
    assert max(point.wider for point in frontier) < 1e-3 and max(point.shallower for point in frontier) < 1e-3
    rng = np.random.default_rng(2)
    for _ in range(40):
        weights = rng.dirichlet(np.full(15, rng.uniform(0.2, 5)))
        told = forecast_of(frames, weights)
        radius = half_radius(weights @ frames.profiles)
        assert told.depth <= depth_at(frames, radius) + 1e-9
        assert told.shallower == pytest.approx(1 - told.depth / depth_at(frames, radius), abs=1e-9)
        if told.depth > depths[-1]:
            assert told.fwhm_px > np.interp(told.depth, depths[::-1], widths[::-1]) - 0.01
    told = choices_of(frames, tutorial(measurements), 0.1)
    assert list(told) == ["present", "equal", "noise", "point", "sharp"]
    assert told["sharp"].depth == pytest.approx(0.9, abs=1e-4) and told["sharp"].wider < 1e-3
    assert told["point"].point_snr == max(one.point_snr for one in told.values())
    assert told["noise"].depth == max(one.depth for one in told.values())


def test_truth_what_cannot_be_told_is_told_as_inconclusive():
    measurements = measured([3, 3, 3, 3, 3], [10, 10, 10, 0, 10])
    measurements[4] = replace(measurements[4], profile=None, fwhm_px=None)
    frames = comparable(measurements, [1, None, 0.5, 1, 1], [0, 0, 0.1, 0, 0])
    assert list(frames.inconclusive) == ["1.fits", "2.fits", "3.fits", "4.fits"]
    assert "only sure to 20 %" in frames.inconclusive["2.fits"]
    told = forecast_of(frames, np.ones(5))
    assert (told.frames, told.depth) == (1, pytest.approx(1))
    assert forecast_of(frames, np.array([0, 1, 1, 1, np.nan])) is None
    assert np.isnan(prices_of(frames, np.ones(5), np.ones(5, bool)).depth).all()
    nothing = comparable(measurements, [None] * 5)
    assert choices_of(nothing, np.ones(5)) == {} and frontier_of(nothing) == []
    # A frame whose profile is unknown has one of its width.
    alike = comparable([replace(measurements[0], profile=None)], [1])
    assert half_radius(alike.profiles[0]) == pytest.approx(half_radius(moffat_profile(3.0)))


def test_truth_a_thousand_frames_take_no_time():
    measurements, ratios = night("noise", 1, 1000)
    frames = comparable(measurements, ratios, kernel=LANCZOS5)
    assert len(choices_of(frames, np.ones(1000))) == 5
    assert np.isfinite(prices_of(frames, np.ones(1000), np.ones(1000, bool)).depth).all()


# --- beside real integrations -----------------------------------------------------------------------------------------

KINDS = {
    "seeing": {"fwhm_px": 3.4, "fwhm_spread": 0.15},
    "cloud": {"fwhm_px": 3.0, "fwhm_spread": 0.08},
    "trailed": {"fwhm_px": 3.0, "fwhm_spread": 0.06, "tracking_errors": 2},
    "moon": {"fwhm_px": 3.0, "fwhm_spread": 0.08},
    "exposures": {"fwhm_px": 2.6, "fwhm_spread": 0.1},
}
"""Five kinds of nights: changing seeing, clouds, bad tracking, a rising moon, every second light of 0.4 exposures."""


def under(kind, pointing):
    """A light as the sky of a kind of night changes it."""
    i, more = pointing.index, {}
    if kind == "cloud" and i % 3 == 1:
        more = {"transparency": pointing.transparency * 0.5, "sky_dn": pointing.sky_dn * 1.4}
    elif kind == "moon":
        more = {"sky_dn": pointing.sky_dn * (1 + 0.5 * i)}
    elif kind == "exposures" and i % 2:
        more = {"transparency": pointing.transparency * 0.4, "sky_dn": pointing.sky_dn * 0.4}
    return replace(pointing, **more)


def simulated(kind, count=7, size=480):
    """The lights of a kind of night without the bias, and the same without noise."""
    even = {"nebula_dn": 0.0, "stars": 500, "gradient": 0.02, "rows": size, "cols": size, "lights": count, "seed": 4}
    truth = sky.Sky(Night(**{**sky.SMALL, **sky.CALM, **sky.EVEN, **even, **KINDS[kind]}), {})
    truth.observatory = Observatory(truth.night)
    truth.observatory.pointings = [under(kind, pointing) for pointing in truth.observatory.pointings]
    meta = Meta(gain_e_per_dn=truth.night.gain_e_per_dn, saturation_dn=65000.0)
    lights = [truth.observatory.light(i).astype(np.float32) - np.float32(truth.night.bias_dn) for i in range(count)]
    frames, quiet = (
        [ArrayFrame.of(image.astype(np.float32), f"{i}.fits", meta) for i, image in enumerate(images)]
        for images in (lights, map(truth.scene_dn, range(count)))
    )
    return frames, quiet


class Prospect:
    """Lights as they are measured, registered and forecast."""

    def __init__(self, frames):
        select, align = SubframeSelector(), StarAlignment()
        self.measured, stars = zip(*map(select.measure, frames), strict=True)
        reference = align.prepare(stars[0])
        self.transforms = [align.align(reference, s, f.source) for s, f in zip(stars, frames, strict=True)]
        self.ratios = [1.0, *(t.flux_ratio for t in self.transforms[1:])]
        self.align = align
        theta = [m.theta_rad for m in self.measured]
        how = {"theta_rad": theta, "kernel": LANCZOS5, "reference": 0}
        self.comparable = comparable(self.measured, self.ratios, **how)

    def stacked(self, frames, weights, chosen, settings):
        """Those of the lights that are chosen, integrated with these weights, as they are or without their noise."""
        registered, statistics = [], []
        for i in np.flatnonzero(chosen):
            m = self.measured[i]
            view = self.align.registered(frames[i], self.transforms[i], frames[0].shape, m.noise_dn, m.fwhm_px)
            own = {"flux_ratio": self.ratios[i], "pixel_noise_dn": m.noise_dn * view.noise_gain}
            statistics.append(replace(m, **own, keywords={"SSWEIGHT": float(weights[i])}))
            registered.append(view)
        *_, last = settings(registered, statistics, reference=0)
        return last.result.image


WEIGHED = {"weights": "keyword", "min_weight": 0.0, "max_rejected": 1.0}
AS_USUAL, LINEAR = ImageIntegration(**WEIGHED), ImageIntegration(**WEIGHED, rejection=Rejection(algorithm="none"))


def wide_noise(image, n=4):
    """Noise of the means of boxes of n x n pixels, times n: that of wide areas, to which interpolation does nothing.

    Every second box is compared, so that a slope of the sky does not count.
    """
    rows, cols = (s // n for s in image.shape)
    means = image[: rows * n, : cols * n].reshape(rows, n, cols, n).mean(axis=(1, 3))
    steps = (means[:, 2:] - means[:, :-2]) / np.sqrt(2)
    steps = steps[np.isfinite(steps)]
    spread = 1.4826 * np.median(np.abs(steps))
    return n * float(np.std(steps[np.abs(steps) < 5 * spread]))


@cache
def prospect(kind):
    frames, quiet = simulated(kind)
    return Prospect(frames), frames, quiet


def came_of(kind, weights):
    """(noise of wide areas, measurement) of what weights make of the lights."""
    made, frames, quiet = prospect(kind)
    chosen = weights > 0
    chosen[0] = True
    weights = np.maximum(weights, 1e-9)
    image = made.stacked(frames, weights, chosen, AS_USUAL)
    scene = made.stacked(quiet, weights, chosen, LINEAR)
    inside = (slice(24, -24), slice(24, -24))
    sky_alone = scene[inside] < np.median(scene[inside]) + 15
    found = SubframeSelector().measure(ArrayFrame.of(np.ascontiguousarray(image), "stack"), saturation_dn=6e4)
    return wide_noise(np.where(sky_alone, (image - scene)[inside], np.nan)), found[0]


@pytest.mark.parametrize("kind", KINDS)
def test_truth_integrations_become_what_was_told(kind):
    made = prospect(kind)[0]
    frames, fwhm = made.comparable, np.array([m.fwhm_px for m in made.measured])
    approved = fwhm < np.sort(fwhm)[-2]
    told, came = [], []
    for weights in (frames.noise(), tutorial(made.measured) * approved, frames.sharp(0.1)):
        told.append(forecast_of(frames, weights))
        came.append(came_of(kind, weights))
    for one, (noise, found) in zip(told, came, strict=True):
        assert one.fwhm_px == pytest.approx(found.fwhm_px, rel=0.01)
        assert one.depth == pytest.approx(came[0][0] / noise, rel=0.025)  # boxes tell each of two noises to 1 %
        assert one.noise_dn == pytest.approx(noise, rel=0.03)  # some samples are rejected, boxes tell 1 %
        if found.eccentricity > 0.3:
            assert one.eccentricity == pytest.approx(found.eccentricity, abs=0.03)


# --- a real night -----------------------------------------------------------------------------------------------------


def real_lights():
    """The lights of a real night without their dark and its hot pixels; stars of 1.8 to 2.9 px, all a little long."""
    darks = [np.asarray(io.read(path), np.float32) for path in sorted(DATA.glob("darks/*.fit"))]
    dark = np.median(darks, axis=0)
    hot = dark > np.median(dark) + 6 * 1.4826 * np.median(np.abs(dark - np.median(dark)))
    for path in sorted(DATA.glob("lights/*.fit")):
        image = np.asarray(io.read(path), np.float32) - dark
        image[hot] = ndimage.median_filter(image, 5)[hot]
        yield ArrayFrame.of(image, path.name, Meta(saturation_dn=60000.0))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real observations in {DATA}")
def test_truth_real_frames_have_the_light_that_wide_apertures_tell():
    """Stars of 1.8 to 2.9 px, more or less trailed, whose fits have exponents of 2.5 to 6."""
    frames, reference = list(real_lights()), 3
    stars = [SubframeSelector().measure(frame)[1] for frame in frames]
    align = StarAlignment()
    ready, standard = align.prepare(stars[reference]), standards(stars[reference], 60)
    firm = standard[standard.flux_dn > 2e4]
    usual = in_apertures(frames[reference], firm.xy)
    for i in {*range(len(frames))} - {reference}:
        found = align.align(ready, stars[i], frames[i].source)
        told = np.nanmedian(in_apertures(frames[i], found.to_source(firm.xy)) / usual)
        assert found.flux_ratio == pytest.approx(told, rel=0.03)


def in_apertures(frame, xy, radius_px=8.0):
    """Light of stars by their pixels, (n,) DN; NaN at the edge."""
    image, light = np.asarray(frame), np.full(len(xy), np.nan)
    y, x = np.mgrid[-24:25, -24:25]
    for k, (own, at) in enumerate(zip(xy, np.round(xy).astype(int), strict=True)):
        box = image[max(at[1] - 24, 0) : at[1] + 25, max(at[0] - 24, 0) : at[0] + 25]
        if box.shape == x.shape:
            distance = np.hypot(x - (own - at)[0], y - (own - at)[1])
            sky = np.median(box[(distance > 15) & (distance < 24)])
            light[k] = np.sum(np.clip(radius_px + 0.5 - distance, 0, 1) * (box - sky))
    return light


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real observations in {DATA}")
def test_truth_a_real_night_becomes_what_was_told():
    frames = list(real_lights())
    made, count = Prospect(frames), np.arange(len(frames))
    for weights in (made.comparable.noise(), tutorial(made.measured), made.comparable.sharp(0.1)):
        told = forecast_of(made.comparable, weights)
        image = made.stacked(frames, weights, weights > 0, AS_USUAL)
        found, _ = SubframeSelector().measure(ArrayFrame.of(image, "stack"), saturation_dn=6e4)
        assert told.fwhm_px == pytest.approx(found.fwhm_px, rel=0.01)
        assert told.eccentricity == pytest.approx(found.eccentricity, abs=0.02)
    # Faint stars are in every stack alike: the difference of two halves is noise alone.
    halves = [(count % 4 < 2) & (weights > 0), (count % 4 >= 2) & (weights > 0)]
    noise = np.hypot(*(forecast_of(made.comparable, weights * half).noise_dn for half in halves))
    one, other = (made.stacked(frames, weights, half, AS_USUAL) for half in halves)
    left = one - other / made.ratios[int(np.flatnonzero(halves[1])[0])]
    smooth = ndimage.gaussian_filter(np.nan_to_num(image, nan=np.nanmedian(image)), 1.5)
    dark_sky = smooth < np.nanmedian(smooth) + 0.5 * noise
    shared = (slice(150, -150), slice(150, -150))
    assert wide_noise(np.where(dark_sky, left, np.nan)[shared]) == pytest.approx(noise, rel=0.02)
    # By itself the stack tells the same, faint stars and all, where all frames lie; its edges have fewer of them.
    everywhere, within = (sky_noise(np.ascontiguousarray(image[part]), None)[0] for part in (np.s_[:], shared))
    assert within == pytest.approx(told.noise_dn, rel=0.05) and everywhere > 1.05 * within
