"""StarAlignment: finds the common sky whatever the telescope did, and never where there is none."""

from dataclasses import dataclass

import astroalign
import numpy as np
import pytest

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform, apply, similarity_matrix
from masterlight.core.errors import Rejected

SHAPE = (4000, 6000)
CORNERS = np.array([(0, 0), (5999, 0), (0, 3999), (5999, 3999.0)])


@dataclass(frozen=True, eq=False)
class Stars:
    """What alignment uses of a star list."""

    xy: np.ndarray
    flux_dn: np.ndarray
    sigma_px: np.ndarray
    saturated: np.ndarray
    snr: np.ndarray
    shape: tuple[int, int] = SHAPE
    beta: float = float("nan")
    light_shares: None = None

    @property
    def fwhm_px(self):
        return np.full(len(self), 3.0)

    @property
    def eccentricity(self):
        return np.zeros(len(self))

    theta_rad = eccentricity

    def __len__(self):
        return len(self.xy)

    def __getitem__(self, i):
        return Stars(self.xy[i], self.flux_dn[i], self.sigma_px[i], self.saturated[i], self.snr[i], self.shape)


def star_list(xy, flux, sigma_px=0.15):
    order = np.argsort(-flux)
    xy, flux = xy[order], flux[order]
    return Stars(xy, flux, np.full(len(xy), sigma_px), flux > 1e7, np.sqrt(flux))


def sky(rng, per_frame=1000):
    """A field of 3 x 4 frames around the reference, with the fluxes of a real sky."""
    xy = rng.uniform([-6000, -6000], [12000, 10000], (12 * per_frame, 2))
    return xy, 1e3 * rng.pareto(1.2, len(xy)) + 100


def seen(rng, xy, flux, matrix, count=800, noise_px=0.15, junk=0.05, lost=0.05, scatter_mag=0.0):
    """The star list of a frame: the brightest of what falls on it, with noise, losses and detections of nothing."""
    at = apply(matrix, xy) + rng.normal(0, noise_px, xy.shape)
    flux = flux * 10 ** (0.4 * rng.normal(0, scatter_mag, len(flux)))
    on = ((at >= 0) & (at <= (5999, 3999))).all(axis=1) & (rng.random(len(at)) > lost)
    at, flux = at[on], flux[on]
    best = np.argsort(-flux)[: int(count * (1 - junk))]
    extra = int(len(best) * junk / (1 - junk))
    nothing = rng.uniform([0, 0], [5999, 3999], (extra, 2))
    return star_list(np.vstack([at[best], nothing]), np.append(flux[best], rng.choice(flux[best], extra)), noise_px)


def pose(angle_deg, scale=1.0, dx=0.0, dy=0.0, mirrored=False):
    """A turn about the middle of the frame, then a shift."""
    a, c = scale * np.exp(1j * np.radians(angle_deg)), 3000 + 2000j
    return similarity_matrix(a, c + complex(dx, dy) - a * (c.conjugate() if mirrored else c), mirrored)


CASES = {
    "shift": (lambda u: pose(0.01, 1, u(-50, 50), u(-50, 50)), {}),
    "flip": (lambda u: pose(180.02, 1, u(-50, 50), u(-50, 50)), {}),
    "any rotation": (lambda u: pose(u(0, 360), 1, u(-50, 50)), {}),
    "mirrored": (lambda u: pose(u(0, 360), mirrored=True), {}),
    "overlap 50 %": (lambda u: pose(u(-9, 9), 1, 3000), {}),
    "overlap 20 %": (lambda u: pose(u(-9, 9), 1, 4800), {}),
    "overlap 10 %": (lambda u: pose(u(-2, 2), 1, 5400), {}),
    "overlap 5 %": (lambda u: pose(u(-1, 1), 1, 5700), {}),
    "scale x2": (lambda u: pose(u(0, 360), 2), {}),
    "scale 1/2": (lambda u: pose(u(0, 360), 0.5), {}),
    "scale x3 mirrored": (lambda u: pose(u(0, 360), 3, mirrored=True), {}),
    "scale x5": (lambda u: pose(u(0, 360), 5), {"per_frame": 2000}),
    "60 % spurious": (lambda u: pose(u(0, 360)), {"junk": 0.6}),
    "1.5 mag scatter, 40 % spurious": (lambda u: pose(u(0, 360)), {"junk": 0.4, "scatter_mag": 1.5}),
    "20 stars": (lambda u: pose(u(0, 360)), {"per_frame": 20}),
}


@pytest.mark.parametrize("case", CASES)
def test_truth_finds_the_pose(case):
    make, how = CASES[case]
    how = dict(how)
    per_frame = how.pop("per_frame", 1000)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        xy, flux = sky(rng, per_frame)
        truth = make(rng.uniform)
        process, source = StarAlignment(), seen(rng, xy, flux, truth, **how)
        reference = process.prepare(seen(rng, xy, flux, np.eye(3), **how))
        found = process.align(reference, source, "light.fits")
        assert found, found
        at = apply(truth, reference.xy)
        common = ((at >= 0) & (at <= (5999, 3999))).all(axis=1)
        error = np.hypot(*(found.to_source(reference.xy) - at)[common].T)
        assert np.median(error) < 0.6  # a handful of stars of 0.15 px at scale 5 leave this much
        assert found.mirrored == ("mirrored" in case)


@pytest.mark.parametrize("others", [0, 4, 12, 30, 80])
def test_truth_eight_common_stars_are_enough(others):
    good = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        common = rng.uniform([100, 100], [5900, 3900], (8, 2))
        count = 8 + others
        truth, flux = pose(rng.uniform(0, 360), 1, *rng.uniform(-20, 20, 2)), 1e4 * rng.pareto(1.5, count) + 100
        other = rng.uniform([0, 0], [5999, 3999], (2, others, 2))
        reference = StarAlignment().prepare(star_list(np.vstack([common, other[0]]), flux))
        at = apply(truth, common) + rng.normal(0, 0.15, (8, 2))
        flux = flux * 10 ** (0.4 * rng.normal(0, 0.2, count))
        found = StarAlignment().align(reference, star_list(np.vstack([at, other[1]]), flux), "light.fits")
        good += bool(found) and np.abs(found.to_source(common) - apply(truth, common)).max() < 1.5
    assert good >= 18


@pytest.mark.parametrize(("count", "pairs"), [(800, 6), (200, 10), (15, 60), (6, 60)])
def test_truth_unrelated_fields_never_match(count, pairs):
    process = StarAlignment()
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        a, b = (star_list(rng.uniform([0, 0], [5999, 3999], (count, 2)), rng.pareto(1.2, count) + 1) for _ in "ab")
        found = process.align(process.prepare(a), b, "other.fits")
        assert isinstance(found, Rejected) and "other.fits" in str(found)


def test_truth_a_meridian_flip_wins_over_hot_pixels_that_stay():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        hot, bright = np.round(rng.uniform([0, 0], [5999, 3999], (2000, 2))), 1e5 * rng.pareto(1.2, 2000) + 1e3
        xy, flux = rng.uniform([100, 100], [5900, 3900], (60, 2)), 1e3 * rng.pareto(1.2, 60) + 500
        truth = pose(180.3, 1, *rng.uniform(-40, 40, 2))
        lists = [
            star_list(
                np.vstack([apply(m, xy) + rng.normal(0, 0.1, xy.shape), hot + rng.normal(0, 0.03, hot.shape)]),
                np.append(flux, bright),
            )
            for m in (np.eye(3), truth)
        ]
        found = StarAlignment().align(StarAlignment().prepare(lists[0]), lists[1], "flip.fits")
        assert found and np.abs(found.to_source(CORNERS) - apply(truth, CORNERS)).max() < 0.5


@pytest.mark.parametrize(("model", "given"), [("auto", "similarity"), ("homography", "homography")])
def test_truth_corners_are_known_to_a_hundredth_of_a_pixel(model, given):
    errors, predicted, chi2, given_of = [], [], [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        xy, flux = rng.uniform([0, 0], [5999, 3999], (500, 2)), 1e4 * rng.pareto(1.2, 500) + 2500
        truth = pose(rng.uniform(-1, 1), 1, *rng.uniform(-50, 50, 2))
        sigma = np.maximum(0.6 * 2.5 / np.sqrt(flux), 0.01)  # background-limited stars of FWHM 2.5 px
        reference, source = (
            Stars(
                apply(m, xy) + sigma[:, None] * rng.normal(0, 1, xy.shape),
                flux,
                sigma,
                flux > 1e7,
                np.sqrt(flux),
            )
            for m in (np.eye(3), truth)
        )
        order = np.argsort(-flux)
        process = StarAlignment(model=model)
        found = process.align(process.prepare(reference[order]), source[order], "light.fits")
        error = np.hypot(*(found.to_source(CORNERS) - apply(truth, CORNERS)).T)
        errors.append(error)
        predicted.append(found.corner_error_px)
        chi2.append(found.chi2)
        given_of.append(found.model)
    assert given_of.count(given) >= 28  # a number that is free pays by chance now and then
    assert np.median(errors) < 0.01 and np.quantile(errors, 0.95) < 0.02
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.median(predicted), rel=0.4)
    assert 0.8 < np.median(chi2) < 1.2


def test_truth_restless_air_is_added_to_the_errors():
    rng = np.random.default_rng(20)
    xy, flux = rng.uniform([0, 0], [5999, 3999], (400, 2)), 1e4 * rng.pareto(1.2, 400) + 2500
    sigma, order = np.maximum(1.5 / np.sqrt(flux), 0.01), np.argsort(-flux)
    first = Stars(xy, flux, sigma, flux > 1e7, np.sqrt(flux))[order]
    second = Stars(xy + rng.normal(0, 0.1, xy.shape), flux, sigma, flux > 1e7, np.sqrt(flux))[order]
    for model, expected_px in (("homography", 0.026), ("auto", 0.007)):  # 0.1 sqrt(2 x 13.8 / 400), 0.1 sqrt(2 / 400)
        process = StarAlignment(model=model)
        found = process.align(process.prepare(first), second, "restless.fits")
        assert found.matched > 380 and found.chi2 > 4
        assert found.corner_error_px == pytest.approx(expected_px, rel=0.4)
        assert np.hypot(*(found.to_source(CORNERS) - CORNERS).T).max() < 3 * found.corner_error_px


def test_truth_flux_ratio_of_a_thin_cloud():
    rng = np.random.default_rng(8)
    xy, flux = sky(rng)
    first = seen(rng, xy, flux, np.eye(3))
    process = StarAlignment()
    at, dimmed = apply(pose(0, 1, 5, 7), first.xy), 0.7 * first.flux_dn
    dimmed = dimmed + rng.normal(0, np.sqrt(dimmed))
    dimmed[rng.random(len(dimmed)) < 0.1] *= 1.8  # variable stars and blends
    found = process.align(process.prepare(first), star_list(at, dimmed), "light.fits")
    assert abs(found.flux_ratio - 0.7) < 5 * found.flux_ratio_error < 0.03 and found.flux_pairs > 300


def test_truth_a_guess_is_used_and_a_wrong_one_forgiven():
    rng = np.random.default_rng(9)
    xy, flux = sky(rng)
    truth = pose(33, 1, 20, 10)
    process = StarAlignment()
    reference, source = process.prepare(seen(rng, xy, flux, np.eye(3))), seen(rng, xy, flux, truth)
    near = process.align(reference, source, "a", Transform(matrix=pose(33.01, 1, 21, 10)))
    wrong = process.align(reference, source, "a", Transform(matrix=pose(90)))
    assert near.method == "guess" and wrong.method == "quads"
    assert near.rotation_deg == pytest.approx(33, abs=1e-3) and near.scale == pytest.approx(1, abs=1e-4)
    assert (near.dx_px, near.dy_px) == pytest.approx((20.36, 9.8), abs=0.05)  # the turn was about (3000, 2000)
    np.testing.assert_allclose(near.to_source(CORNERS), wrong.to_source(CORNERS), atol=1e-3)


@pytest.mark.parametrize("model", ["shift", "similarity", "affine"])
def test_truth_the_model_asked_for_is_the_model_given(model):
    rng = np.random.default_rng(10)
    xy, flux = sky(rng)
    process = StarAlignment(model=model)
    found = process.align(process.prepare(seen(rng, xy, flux, np.eye(3))), seen(rng, xy, flux, pose(0, 1, 12, 5)), "a")
    assert found.model == model and np.all(found.matrix[2] == (0, 0, 1))


def test_surface_failures_speak():
    rng = np.random.default_rng(11)
    process, few = StarAlignment(), star_list(rng.uniform(0, 1000, (3, 2)), np.ones(3))
    many = star_list(rng.uniform(0, 1000, (40, 2)), np.ones(40))
    assert "3 stars found here and 40 in the reference" in str(process.align(process.prepare(many), few, "cloudy.fits"))
    line = np.column_stack([np.linspace(100, 5900, 30) ** 1.02, np.full(30, 2000.0)])
    found = process.align(
        process.prepare(star_list(line, np.arange(30.0) + 1)), star_list(line, np.arange(30.0) + 1), "line"
    )
    assert not found and "line" in found.reason
    squeezed = many.xy * (1.0, 1.04)
    found = process.align(process.prepare(many), star_list(squeezed, many.flux_dn), "wide.fits")
    assert not found


def test_authority_astroalign():
    rng = np.random.default_rng(12)
    xy = rng.uniform([0, 0], [1000, 1000], (40, 2))
    at = apply(similarity_matrix(np.exp(0.5j), 30 - 20j), xy)
    theirs, _ = astroalign.find_transform(xy, at)
    flux = np.arange(40.0, 0, -1)
    ours = StarAlignment(model="similarity").align(
        StarAlignment().prepare(star_list(xy, flux)), star_list(at, flux), "a"
    )
    np.testing.assert_allclose(ours.matrix, theirs.params, atol=1e-6)


def few_in_common(rng, common=5, others=12):
    """Two lists of few stars that share five, which are not their brightest, and how they lie."""
    truth = pose(rng.uniform(0, 360), 1, *rng.uniform(-300, 300, 2))
    shared = rng.uniform((800, 800), (5100, 3100), (common, 2))
    rests = rng.uniform((0, 0), (5999, 3999), (2, others, 2))
    flux = rng.pareto(1.2, (2, common + others)) + 1
    first = star_list(np.vstack([shared, rests[0]]), flux[0])
    at = apply(truth, shared) + rng.normal(0, 0.15, (common, 2))
    return first, star_list(np.vstack([at, rests[1]]), flux[1]), truth, shared


def test_truth_a_guess_that_stars_confirm_lays_what_they_alone_do_not():
    alone = guided = 0
    for seed in range(12):
        first, second, truth, shared = few_in_common(np.random.default_rng(seed))
        process = StarAlignment()
        reference, off = process.prepare(first), pose(0, 1, 1.5, -1.0) @ truth
        alone += bool(process.align(reference, second, "few.fits"))
        found = process.align(reference, second, "few.fits", Transform(matrix=off))
        guided += bool(found) and np.abs(found(shared) - apply(truth, shared)).max() < 1.5
    assert guided >= 10 and alone < guided


def test_truth_a_guess_that_is_wrong_changes_nothing():
    process = StarAlignment()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        xy, flux = sky(rng, 60)
        truth, wrong = (
            pose(rng.uniform(0, 360), 1, 20),
            Transform(matrix=pose(rng.uniform(0, 360), 1, *rng.uniform(-200, 200, 2))),
        )
        reference = process.prepare(seen(rng, xy, flux, np.eye(3), 60))
        source, other = seen(rng, xy, flux, truth, 60), star_list(rng.uniform(0, 3999, (40, 2)), rng.random(40))
        right, guided = (process.align(reference, source, "a.fits", guess) for guess in (None, wrong))
        assert right and np.array_equal(right.matrix, guided.matrix)
        assert not process.align(reference, other, "other.fits", wrong)
