"""DrizzleIntegration against exact polygons, against skies of known truth, and against what noise theory says."""

import pickle
import sys
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from oracles import drizzle as oracle
from scipy.optimize import curve_fit
from scipy.special import erf

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.bend import Polynomial
from masterlight.alignment.transform import Transform
from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.process import card, from_toml, replay, to_toml
from masterlight.drizzle import engine
from masterlight.drizzle.drizzle import DrizzleIntegration, finer
from masterlight.drizzle.drop import Tile
from masterlight.drizzle.fall import noise_ratio
from masterlight.integration.roster.terms import Terms
from masterlight.integration.stack import HIGH, LOW, Verdicts
from masterlight.integration.tile import indices_of

pytest.importorskip("drizzle")

XTRANS = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"


def terms_of(count, weights=None, noise_dn=1.0, scale=1.0, offset=0.0, **more):
    """Terms of `count` frames, all alike but for what is told."""
    one = np.ones(count)
    fields = {
        "out_scale": scale * one,
        "out_offset": offset * one,
        "rej_scale": one,
        "rej_offset": 0 * one,
        "weights": one if weights is None else np.asarray(weights, float),
        "noise_dn": noise_dn * one,
        "source_noise_dn": noise_dn * one,
        "source_photon": 0 * one,
        "noise_variance": (noise_dn * one) ** 2,
        "photon": 0 * one,
        "rejection_variance": 1.0,
        "rejection_photon": 0.0,
        "signal_fraction": 0.0,
        "background_dn": 0.0,
        "looseness": one,
    }
    return Terms(**{**fields, **more})


def moved(dx=0.0, dy=0.0, angle_deg=0.0, scale=1.0, tilt=0.0):
    """The transform that sends the reference's (x, y) to scale * rotated (x, y) + (dx, dy)."""
    c, s = scale * np.cos(np.radians(angle_deg)), scale * np.sin(np.radians(angle_deg))
    return Transform(matrix=np.array([[c, -s, dx], [s, c, dy], [tilt, -tilt / 2, 1]]))


def dithers(rng, count, spread=3.0, angle_deg=0.0):
    moves = [moved(*rng.uniform(-spread, spread, 2), angle_deg * rng.uniform(-1, 1)) for _ in range(count)]
    return [moved(), *moves[1:]]


def drizzled(settings, frames, transforms, shape, terms=None, **more):
    frames = [f if not isinstance(f, np.ndarray) else ArrayFrame.of(f) for f in frames]
    terms = terms or [terms_of(len(frames))]
    return list(settings(frames, transforms, shape, terms, **more))[-1].result


def verdicts_of(judged):
    """The verdicts (frames, rows, cols) of one plane as an integration keeps them."""
    kept = Verdicts(judged.shape[1:])
    kept.add(0, (0, judged.shape[1], 0, judged.shape[2]), indices_of(judged.reshape(len(judged), -1)))
    kept.settle()
    return kept


def sky(shape, stars, transform, fwhm_px, background=0.0):
    """Gaussian stars (x, y, flux) of the reference, integrated over each pixel of a frame that lies there."""
    rows, cols = np.arange(shape[0]), np.arange(shape[1])
    s, out = fwhm_px / 2.35482 * np.sqrt(2), np.full(shape, background)
    for (x, y), flux in zip(transform.to_source(stars[:, :2]), stars[:, 2], strict=True):
        across, down = (0.5 * (erf((n + 0.5 - c) / s) - erf((n - 0.5 - c) / s)) for n, c in ((cols, x), (rows, y)))
        out += flux * down[:, None] * across
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Defective(ArrayFrame):
    """A frame that knows of one repaired column."""

    column: int

    def defective(self, y0, y1, x0, x1):
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        mask[:, [i for i in [self.column - x0] if 0 <= i < x1 - x0]] = 1
        return mask


@pytest.mark.parametrize(("drop", "area"), [(0.5, 0.0625), (1.0, 0.25)])
def test_authority_one_frame_twice_as_fine_is_the_frame_with_doubled_pixels(drop, area):
    image = np.random.default_rng(1).normal(100, 9, (21, 30)).astype(np.float32)
    stack = drizzled(DrizzleIntegration(drop_shrink=drop), [image], [moved()], image.shape)
    assert np.array_equal(stack.image, image.repeat(2, 0).repeat(2, 1))
    assert np.allclose(stack.weight, area, rtol=1e-6)
    assert (stack.coverage == 1).all()
    assert np.allclose(stack.variance, 1.0)


def test_authority_gaussian_drops_are_symmetric():
    image = np.random.default_rng(1).normal(100, 9, (21, 30)).astype(np.float32)
    stack = drizzled(DrizzleIntegration(kernel="gaussian"), [image], [moved()], image.shape)
    inner = stack.weight[8:-8, 8:-8]
    assert np.ptp(inner) < 1e-6 * inner.mean()
    for four in (stack.weight[20:22, 30:32], stack.variance[20:22, 30:32]):
        assert np.ptp(four) < 1e-6


GEOMETRIES = {
    "turned": (moved(1.3, -0.7, 31.0), 2.0, 0.9),
    "quarter": (moved(0.25, 9.0, -90.0), 2.0, 1.0),
    "finer source": (moved(-3.1, 0.4, 5.0, 1.7), 1.5, 0.6),
    "coarser source": (moved(0.3, 0.2, 12.0, 0.6), 1.0, 1.0),
    "tilted": (moved(0.5, 0.1, 3.0, 1.0, 2e-4), 3.0, 0.5),
    "mirrored": (Transform(matrix=np.array([[-1.0, 0.1, 11.2], [0.1, 1.0, -0.6], [0, 0, 1]])), 2.0, 0.8),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_oracle_square_drops_are_exact_polygons(name):
    transform, scale, drop = GEOMETRIES[name]
    rng = np.random.default_rng(5)
    images = rng.normal(50, 10, (2, 11, 13)).astype(np.float32)
    images[0, 4, 5] = np.nan
    transforms, weights, variances = [moved(), transform], [1.0, 0.4], [2.0, 5.0]
    stack = drizzled(
        DrizzleIntegration(scale=scale, drop_shrink=drop),
        list(images),
        transforms,
        (11, 13),
        [terms_of(2, weights, np.sqrt(variances))],
    )
    expected = oracle.drizzle(
        images, [t.matrix for t in transforms], stack.image.shape, scale, drop, weights, variances
    )
    # The library takes corners of drops linearly between centres: 2e-4 of tilt bends less than 1e-4 px within one.
    assert np.allclose(stack.weight, expected[2], atol=3e-5)
    solid = expected[2] > 3e-3 * drop**2
    for mine, theirs in zip((stack.image, stack.variance), expected, strict=False):
        assert np.allclose(mine[solid], theirs[solid], rtol=3e-4 if name != "tilted" else 3e-3)
    assert np.array_equal(np.isnan(stack.image), stack.weight == 0)
    assert (stack.coverage[solid] == expected[3][solid]).mean() > 0.99


def bent(transform, shape=(200, 240)):
    """The same transform, which a polynomial bends by up to two pixels."""
    coefficients = np.random.default_rng(1).normal(0, 0.4, (2, 7))
    return replace(transform, shape=shape, bend=Polynomial((0.0, 0.0, shape[1] - 1.0, shape[0] - 1.0), coefficients))


def test_truth_bent_drops_fall_where_the_transform_sends_them():
    """Points of light in the source, each of which lands on the output where the way back says."""
    t = bent(moved(3.3, -2.1, 1.0))
    source, at = np.zeros((200, 240), np.float32), np.array([(x, y) for x in (30, 120, 205) for y in (25, 100, 170)])
    source[at[:, 1], at[:, 0]] = 1000
    stack = drizzled(DrizzleIntegration(scale=2, kernel="point"), [source], [t], (200, 240))
    expected = (t.inverse(at) + 0.5) * 2 - 0.5
    rows, cols = np.nonzero(np.nan_to_num(stack.image) > 500)
    found = np.column_stack([cols, rows]).astype(float)
    assert len(found) == len(at)
    away = np.abs(found[:, None] - expected[None]).max(axis=2)
    assert away.min(axis=0).max() <= 0.51  # the output pixel that holds the point


def test_truth_bent_drops_have_no_seams(monkeypatch):
    rng = np.random.default_rng(2)
    frames = [rng.normal(100, 5, (200, 240)).astype(np.float32) for _ in range(3)]
    transforms, stacks = [moved(), bent(moved(1.3, 0.4, 0.5)), bent(moved(239, 199, 180.2))], []
    for tile in ((512, 1024), (50, 90)):
        monkeypatch.setattr(engine, "TILE", tile)
        stacks.append(drizzled(DrizzleIntegration(scale=1.5), frames, transforms, (200, 240)))
    np.testing.assert_allclose(stacks[0].image, stacks[1].image, rtol=1e-5)
    assert np.isfinite(stacks[0].image).mean() > 0.9


@pytest.mark.parametrize("r", [0.3, 0.9, 1.0, 1.8, 5.0])
def test_authority_noise_ratio_is_that_of_fruchter_and_hook(r):
    scale = max(1.0, r)
    known = r / (1 - 1 / (3 * r)) if r >= 1 else 1 / (1 - r / 3)
    assert noise_ratio("square", r / scale, scale) == pytest.approx(known, rel=2e-3)
    assert noise_ratio("point", 0.5, 2) == pytest.approx(1.0)


@pytest.mark.parametrize("kernel", ["square", "turbo", "point", "gaussian", "lanczos2", "lanczos3"])
def test_truth_constant_sky_stays_constant(kernel):
    rng = np.random.default_rng(3)
    image = np.full((40, 44), 1234.5, np.float32)
    transforms = dithers(rng, 12, angle_deg=40.0)
    stack = drizzled(DrizzleIntegration(kernel=kernel), [image] * 12, transforms, image.shape)
    inner = stack.image[30:-30, 30:-30]
    assert np.nanmax(np.abs(inner - 1234.5)) < 1e-4 * 1234.5  # float32 sums, of both signs for Lanczos
    assert np.isfinite(inner).mean() > (0.8 if kernel == "point" else 0.999)


@pytest.mark.parametrize(("kernel", "drop"), [("square", 0.9), ("turbo", 0.5), ("gaussian", 0.9), ("lanczos2", 0.9)])
def test_truth_variance_and_correlation_of_white_noise(kernel, drop):
    rng = np.random.default_rng(7)
    count, sigma = 24, np.linspace(1, 3, 24)
    frames = [rng.normal(0, s, (240, 240)).astype(np.float32) for s in sigma]
    terms = terms_of(count, 1 / sigma**2, sigma)
    stack = drizzled(
        DrizzleIntegration(kernel=kernel, drop_shrink=drop), frames, dithers(rng, count, 4.0, 1.0), (240, 240), [terms]
    )
    core = (slice(24, -24), slice(24, -24))
    value, variance = stack.image[core].astype(float), stack.variance[core].astype(float)
    # About 187,000 pixels, at R = 2.2 worth 38,000 independent ones: chi-square is known to 0.7 %.
    assert np.mean(value**2 / variance) == pytest.approx(1, abs=0.03)
    n = 29
    means = [value[y : y + n, x : x + n].mean() for y in range(0, 400, n) for x in range(0, 400, n)]
    apart = np.sqrt(variance.mean()) / n
    # 196 blocks tell a spread to 5 %; at their edges correlation is cut off, some 3 % less.
    assert np.std(means) / apart == pytest.approx(stack.noise_ratio, rel=0.13)
    assert stack.correlation == pytest.approx(stack.noise_ratio**2)
    if kernel == "square":
        # Every drop gives all its weight: over the field, weight per area is the sum of the frames'.
        assert stack.weight[core].mean() == pytest.approx(drop**2 * (1 / sigma**2).sum() / 4, rel=0.01)
        # A wide area is as sure as the plain weighted mean of all its pixels.
        assert np.std(means) * n / 2 == pytest.approx(1 / np.sqrt((1 / sigma**2).sum()), rel=0.13)


def test_truth_photons_and_interpolated_terms_tell_the_variance():
    rng = np.random.default_rng(8)
    level, gain = 4000.0, 0.5
    frames = [rng.normal(level, np.sqrt(100 + (level - 1000) / gain), (90, 90)).astype(np.float32) for _ in range(6)]
    terms = terms_of(6, None, 8.0, source_noise_dn=np.full(6, 10.0), source_photon=np.full(6, 1 / gain),
                     background_dn=1000.0)  # fmt: skip
    stack = drizzled(DrizzleIntegration(), frames, dithers(rng, 6), (90, 90), [terms])
    core = (slice(12, -12), slice(12, -12))
    chi2 = (stack.image[core].astype(float) - level) ** 2 / stack.variance[core]
    assert chi2.mean() == pytest.approx(1, abs=0.05)


def gaussian_fwhm(cutout, pitch):
    """FWHM of a star in a cutout, in reference pixels, by a fit."""
    y, x = np.indices(cutout.shape) * pitch

    def model(xy, flux, x0, y0, s, level):
        return level + flux * np.exp(-((xy[0] - x0) ** 2 + (xy[1] - y0) ** 2) / (2 * s * s))

    centre = pitch * (cutout.shape[0] - 1) / 2
    start = (cutout.max(), centre, centre, 0.7, 0.0)
    found, _ = curve_fit(model, np.stack([x.ravel(), y.ravel()]), cutout.ravel().astype(float), start)
    return 2.35482 * abs(found[3])


def test_truth_dithered_undersampled_frames_become_sharper_and_keep_their_light():
    rng = np.random.default_rng(11)
    shape, scale = (96, 96), 3
    stars = np.array([(x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5), rng.uniform(4e4, 9e4))
                      for y in range(16, 84, 16) for x in range(16, 84, 16)])  # fmt: skip
    transforms = dithers(rng, 30, 5.0, 0.5)
    frames = [ArrayFrame.of(sky(shape, stars, t, 1.3, 200.0) + rng.normal(0, 3, shape)) for t in transforms]
    settings = DrizzleIntegration(scale=scale, drop_shrink=0.4)
    stack = drizzled(settings, frames, transforms, shape, [terms_of(30, None, 3.0)])
    plain = np.mean(
        [StarAlignment().registered(f, t, shape, 3.0, 1.3)[:, :] for f, t in zip(frames, transforms, strict=True)], 0
    )
    widths = {"drizzle": [], "plain": []}
    ratio = []
    for x, y, flux in stars:
        for name, image, k in (("drizzle", stack.image, scale), ("plain", plain, 1)):
            i, j, r = round((x + 0.5) * k - 0.5), round((y + 0.5) * k - 0.5), 4 * k
            widths[name].append(gaussian_fwhm(image[j - r : j + r + 1, i - r : i + r + 1] - 200, 1 / k))
            if name == "drizzle":
                box = image[j - 15 : j + 16, i - 15 : i + 16].astype(float) - 200
                ratio.append(box.sum() / scale**2 / flux)
    truth = np.hypot(1.3, 2.35482 / np.sqrt(12))  # what a pixel does to a star cannot be undone
    off = {name: np.abs(np.array(found) - truth) for name, found in widths.items()}
    assert np.median(off["drizzle"]) < 0.5 * np.median(off["plain"])
    assert off["drizzle"].max() < 0.1  # drop and output pixel widen by 0.04 px, dithers are uneven
    # A box of 961 pixels of 3 / sqrt(30 x 0.16) DN, correlated: 50 DN of 6e4; 25 stars.
    assert np.mean(ratio) == pytest.approx(1, abs=0.003)
    assert np.std(ratio) < 0.006


def colourful(shape, transform, pattern, stars, fwhm_px, backgrounds):
    """A mosaic of a scene with coloured stars (x, y, red, green, blue) on a coloured sky."""
    n = int(len(pattern) ** 0.5)
    y, x = np.indices(shape)
    code = np.array(["RGB".index(c) for c in pattern]).reshape(n, n)[y % n, x % n]
    planes = [sky(shape, stars[:, [0, 1, 2 + c]], transform, fwhm_px, backgrounds[c]) for c in range(3)]
    return np.choose(code, planes)


@pytest.mark.parametrize("pattern", ["RGGB", XTRANS])
def test_truth_mosaics_give_right_colours_without_debayering(pattern):
    rng = np.random.default_rng(13)
    shape, backgrounds = (84, 84), (300.0, 700.0, 450.0)
    stars = np.array([(x, y, *rng.uniform(3e4, 9e4, 3)) for y in (20.3, 42.1, 63.7) for x in (20.6, 41.9, 63.2)])
    transforms = dithers(rng, 40, 8.0, 1.0)
    meta = Meta(pattern=pattern)
    frames = [
        ArrayFrame.of(colourful(shape, t, pattern, stars, 2.2, backgrounds) + rng.normal(0, 2, shape), f"{i}", meta)
        for i, t in enumerate(transforms)
    ]
    stack = drizzled(DrizzleIntegration(scale=1.5), frames, transforms, shape, [terms_of(40, None, 2.0)] * 3)
    assert stack.image.shape == (3, 126, 126)
    for x, y, *fluxes in stars:
        i, j = round((x + 0.5) * 1.5 - 0.5), round((y + 0.5) * 1.5 - 0.5)
        box = stack.image[:, j - 9 : j + 10, i - 9 : i + 10].astype(float) - np.reshape(backgrounds, (3, 1, 1))
        assert np.allclose(box.sum(axis=(1, 2)) / 1.5**2, fluxes, rtol=0.01)
    for plane, level in zip(stack.image, backgrounds, strict=True):
        empty = plane[44:52, 44:52]
        assert abs(np.mean(empty) - level) < 0.5
        squares = empty[:, :] * (1 - 2 * (np.indices(empty.shape).sum(axis=0) % 2))
        assert abs(squares.mean()) < 0.5  # a checkerboard would have the sign of its squares; noise gives 0.1
    assert len(stack.frames) == 120 and min(row.used_fraction for row in stack.frames) > 0.7


def test_truth_cosmic_rays_stay_rejected():
    rng = np.random.default_rng(17)
    shape, transforms = (60, 60), dithers(rng, 8, 4.0, 0.5)
    frames = [rng.normal(100, 1, shape).astype(np.float32) for _ in transforms]
    hits = [(i, *rng.integers(15, 45, 2)) for i in range(1, 8) for _ in range(6)]
    for i, u, v in hits:
        frames[i][v, u] = 5000
    judged = np.zeros((8, *shape), np.uint8)
    for i, t in enumerate(transforms):
        seen = StarAlignment(interpolation="bilinear").registered(ArrayFrame.of(frames[i]), t, shape, 1.0)[:, :]
        judged[i][seen > 110] = HIGH
    judged[3, 30, 30] = LOW
    verdicts = verdicts_of(judged)
    kept = drizzled(DrizzleIntegration(), frames, transforms, shape, verdicts=verdicts)
    assert np.abs(kept.image[24:-24, 24:-24] - 100).max() < 6
    assert np.isfinite(kept.image[24:-24, 24:-24]).all()
    spoilt = drizzled(DrizzleIntegration(rejection=False), frames, transforms, shape, verdicts=verdicts)
    assert spoilt.image[24:-24, 24:-24].max() > 300
    assert kept.frames[0].rejected_high_fraction == 0
    assert kept.frames[3].rejected_low_fraction == pytest.approx(1 / 3600, rel=0.2)
    for row in kept.frames[1:]:
        assert 6 / 3600 < row.rejected_high_fraction < 6 * 9 / 3600
        assert row.used_fraction == pytest.approx(1 - row.rejected_high_fraction, abs=0.25)


def test_truth_verdicts_of_a_reference_pixel_hold_for_the_source_pixels_on_it():
    frame = np.ones((10, 10), np.float32)
    judged = np.zeros((1, 5, 5), np.uint8)
    judged[0, 2, 3] = HIGH
    verdicts = verdicts_of(judged)
    half = Transform(matrix=np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]]))
    stack = drizzled(DrizzleIntegration(), [frame], [half], (5, 5), verdicts=verdicts)
    expected = np.zeros((10, 10), bool)
    expected[4:6, 6:8] = True
    assert np.array_equal(np.isnan(stack.image), expected)
    assert stack.frames[0].rejected_high_fraction == pytest.approx(0.04)


def test_truth_missing_and_defective_pixels_have_no_weight():
    image = np.full((20, 24), 50.0, np.float32)
    image[:, 5] = 9e9
    image[7, 9] = np.nan
    meta = Meta(shape=image.shape)
    frame = Defective(source="a", meta=meta, array=image, column=5)
    alone = drizzled(DrizzleIntegration(drop_shrink=1), [frame], [moved()], image.shape)
    assert np.isnan(alone.image[:, 10:12]).all() and np.isnan(alone.image[14:16, 18:20]).all()
    assert np.isnan(alone.image).sum() == 84 and np.nanmax(alone.image) == 50
    assert np.array_equal(np.isnan(alone.variance), np.isnan(alone.image))
    assert (alone.weight[np.isnan(alone.image)] == 0).all() and alone.coverage.min() == 0
    assert alone.frames[0].used_fraction == pytest.approx(1 - 21 / 480)
    assert "4.4 %" in alone.notes[-1]
    filled = drizzled(DrizzleIntegration(), [frame, frame], [moved(), moved(3.2, 4.1)], image.shape)
    assert np.isfinite(filled.image[:30, :38]).all() and np.nanmax(np.abs(filled.image - 50)) < 1e-3
    beside = drizzled(DrizzleIntegration(), [image, image], [moved(), moved(1000)], image.shape)
    assert [round(row.used_fraction, 2) for row in beside.frames] == [1.0, 0.0]


def test_truth_too_few_mosaics_leave_holes_and_say_so():
    rng = np.random.default_rng(19)
    frames = [ArrayFrame.of(np.full((40, 40), 9.0), f"{i}", Meta(pattern="RGGB")) for i in range(3)]
    transforms = dithers(rng, 3)
    stack = drizzled(DrizzleIntegration(), frames, transforms, (40, 40), [terms_of(3)] * 3)
    red = stack.image[0, 14:-14, 14:-14]
    assert 0.05 < np.isnan(red).mean() < 0.6
    assert stack.empty_fraction == pytest.approx(
        np.isnan(stack.image[:, 14:-14, 14:-14]).mean(axis=(1, 2)).max(), abs=0.08
    )
    for words in (
        "% of the pixels within the field are empty",
        "more dithered frames",
        "drop_shrink",
        "smaller than 2",
    ):
        assert words in stack.notes[-1]
    full = drizzled(DrizzleIntegration(scale=1), [np.ones((40, 40), np.float32)] * 3, transforms, (40, 40))
    assert full.empty_fraction == 0 and not any("empty" in note for note in full.notes)


def test_truth_normalization_weights_and_local_models_are_carried_over():
    base, y, x = 500.0, *np.indices((50, 60))
    second = moved(2.3, -1.6, 4.0)
    xy = Transform(matrix=np.linalg.inv(second.matrix)).to_source(np.stack([x.ravel(), y.ravel()], 1).astype(float))
    gradient = (0.5 * xy[:, 0] - 0.3 * xy[:, 1]).reshape(50, 60)
    frames = [
        np.full((50, 60), base, np.float32),
        np.full((50, 60), (base - 40) / 1.25, np.float32),
    ]
    terms = terms_of(2, [1, 0.5], 2.0, np.array([1, 1.25]), np.array([0, 40.0]))
    plain = drizzled(DrizzleIntegration(), frames, [moved(), second], (50, 60), [terms])
    assert np.nanmax(np.abs(plain.image - base)) < 1e-3
    inner = (slice(30, -30), slice(30, -30))
    assert plain.weight[inner].mean() == pytest.approx(1.5 * 0.81 / 4, rel=0.01)
    even = drizzled(DrizzleIntegration(weighting=False), frames, [moved(), second], (50, 60), [terms])
    assert even.weight[inner].mean() == pytest.approx(2 * 0.81 / 4, rel=0.01)
    assert [row.weight for row in even.frames] == [1, 1]
    alone = terms_of(2, [1, 0])
    first = drizzled(DrizzleIntegration(), frames, [moved(), second], (50, 60), [alone])
    assert first.coverage.max() == 1 and first.frames[1].used_fraction == 0

    class Model:
        scale, before = (1.25,), False

        def apply(self, out, y0, x0):
            v, u = np.indices(out.shape[-2:]).astype(float)
            out[...] = 1.25 * out + 40 - (0.5 * (u + x0) - 0.3 * (v + y0))

    class Levelling:
        scale, before = (1.0,), True

        def apply(self, out, y0, x0):
            v, u = np.indices(out.shape[-2:]).astype(float)
            out[...] -= (0.5 * (u + x0) - 0.3 * (v + y0)) / 1.25

    frames[1] = (frames[1] + gradient / 1.25).astype(np.float32)
    for local in ([None, Model()], [None, Levelling()]):
        stack = drizzled(DrizzleIntegration(), frames, [moved(), second], (50, 60), [terms], local=local)
        core = stack.image[12:-12, 12:-12]
        assert np.abs(core - base).max() < 0.02  # float32 probes of 65536 DN
        assert np.allclose(stack.variance[inner], plain.variance[inner], rtol=1e-3)
    off = DrizzleIntegration(local_normalization=False)
    assert np.nanmax(np.abs(drizzled(off, frames, [moved(), second], (50, 60), [terms], local=local).image - base)) > 3


def test_truth_three_planes_may_lie_differently():
    stars = np.array([(20.0, 15.0, 1e4)])
    moves = [moved(), moved(1.5, 0.5), moved(-1.0, 0.25)]
    cube = np.stack([sky((32, 40), stars, t, 2.5) for t in moves])
    stack = drizzled(DrizzleIntegration(), [cube], [tuple(moves)], (3, 32, 40), [terms_of(1)] * 3)
    y, x = np.indices(stack.image.shape[1:])
    for plane in stack.image:
        weight = np.nan_to_num(plane)
        assert np.average(x, weights=weight) == pytest.approx(20.5 * 2 - 0.5, abs=0.02)
        assert np.average(y, weights=weight) == pytest.approx(15.5 * 2 - 0.5, abs=0.02)


def scene():
    rng = np.random.default_rng(29)
    frames = [ArrayFrame.of(rng.normal(100, 5, (3, 70, 90)), f"f{i}") for i in range(4)]
    return frames, dithers(rng, 4, 5.0, 20.0), (70, 90), [terms_of(4)] * 3


def test_truth_threads_and_memory_change_no_bit(monkeypatch):
    monkeypatch.setattr(engine, "TILE", (32, 64))
    first = drizzled(DrizzleIntegration(), *scene())
    for more in ({"pool": "threads:3"}, {"memory_mb": 1}, {"pool": "threads:2", "memory_mb": 20}):
        again = drizzled(DrizzleIntegration(), *scene(), **more)
        for name in ("image", "variance", "weight", "coverage"):
            assert np.array_equal(getattr(first, name), getattr(again, name), equal_nan=True)
        assert again.frames == first.frames


@pytest.mark.parametrize("kernel", ["square", "gaussian", "lanczos3"])
def test_truth_tiles_have_no_seams(monkeypatch, kernel):
    settings = DrizzleIntegration(kernel=kernel)
    whole = drizzled(settings, *scene())
    monkeypatch.setattr(engine, "TILE", (32, 64))
    pieces = drizzled(settings, *scene())
    solid = whole.coverage >= 3
    # Positions are told from the corner of a tile: their last bits differ, and float32 sums of Lanczos cancel.
    assert np.allclose(whole.image[solid], pieces.image[solid], rtol=1e-5 if kernel != "lanczos3" else 1e-3)
    assert np.allclose(whole.weight, pieces.weight, atol=2e-6)
    assert whole.empty_fraction == pieces.empty_fraction
    for a, b in zip(whole.frames, pieces.frames, strict=True):
        assert a.used_fraction == pytest.approx(b.used_fraction, abs=1e-5)


def test_truth_large_frames_are_taken_in_chunks(monkeypatch):
    from masterlight.drizzle import drop as drizzlemap

    frames, transforms, shape, terms = scene()
    mosaics = [ArrayFrame.of(np.asarray(f)[0], f.source, Meta(pattern=XTRANS)) for f in frames]
    whole = drizzled(DrizzleIntegration(), mosaics, transforms, shape, terms)
    monkeypatch.setattr(drizzlemap, "CHUNK", 700)
    pieces = drizzled(DrizzleIntegration(), mosaics, transforms, shape, terms)
    assert np.allclose(whole.image, pieces.image, rtol=1e-5, equal_nan=True)


def test_surface_a_task_can_be_sent_to_another_process():
    frames, transforms, shape, terms = scene()
    task = Tile(DrizzleIntegration(), tuple(frames), tuple(transforms), shape, tuple(terms))
    here, there = task((0, 40, 0, 50)), pickle.loads(pickle.dumps(task))((0, 40, 0, 50))
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(here, there, strict=True))


def test_surface_events_tell_the_progress():
    events = list(DrizzleIntegration()(*scene()))
    assert events[0].message.startswith("4 frames onto 180 x 140 pixels in 1 tiles")
    assert all(b.done >= a.done for a, b in pairwise(events)) and events[-1].result.n == 4
    assert events[-1].message.startswith("4 frames drizzled, worth 4.0 equal ones")


def test_surface_card_and_toml_give_the_same_process_back():
    settings = DrizzleIntegration(scale=1.5, kernel="turbo", cfa="off", rejection=False)
    assert replay(card(settings)) == settings == from_toml(DrizzleIntegration, to_toml(settings))
    for wrong in ({"scale": 0.5}, {"drop_shrink": 0.05}, {"kernel": "circular"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            DrizzleIntegration(**wrong)


def test_surface_wrong_input_is_told_by_name(monkeypatch):
    frames, transforms, shape, terms = scene()
    mono = [ArrayFrame.of(np.ones((70, 90)), "mono.fits")] * 4
    run = drizzled
    with pytest.raises(NothingUsable, match="no frame"):
        run(DrizzleIntegration(), [], [], shape, terms)
    with pytest.raises(ParameterError, match="3 given for 4 frames"):
        run(DrizzleIntegration(), frames, transforms[:3], shape, terms)
    with pytest.raises(FrameError, match=r"mono.fits: it gives 1 plane, but terms were made for 3"):
        run(DrizzleIntegration(), mono, transforms, shape, terms)
    with pytest.raises(FrameError, match=r"mono.fits: it is no mosaic"):
        run(DrizzleIntegration(cfa="on"), mono, transforms, shape, terms)
    odd = [ArrayFrame.of(np.ones((70, 90)), "cmy.fits", Meta(pattern="CMYG"))] * 4
    with pytest.raises(FrameError, match=r"cmy.fits: has colour filters CMYG"):
        run(DrizzleIntegration(), odd, transforms, shape, terms)
    with pytest.raises(ParameterError, match="weights are 0 for all"):
        run(DrizzleIntegration(), mono, transforms, shape, [terms_of(4, np.zeros(4))])
    with pytest.raises(ParameterError, match="use a smaller scale"):
        run(DrizzleIntegration(scale=10), mono, transforms, (90_000, 90_000), [terms_of(4)])
    unknown = run(DrizzleIntegration(), mono, transforms, shape, [terms_of(4, None, np.nan)])
    assert unknown.variance is None and any("noise of some frame is unknown" in note for note in unknown.notes)
    nothing = run(DrizzleIntegration(), [np.full((70, 90), np.nan, np.float32)] * 4, transforms, shape, [terms_of(4)])
    assert np.isnan(nothing.image).all() and nothing.coverage.max() == 0
    monkeypatch.setitem(sys.modules, "drizzle.resample", None)
    with pytest.raises(ParameterError, match=r"pip install 'masterlight\[drizzle\]'"):
        run(DrizzleIntegration(), mono, transforms, shape, [terms_of(4)])


def test_authority_header_of_the_finer_image_points_at_the_same_sky():
    wcs = pytest.importorskip("astropy.wcs").WCS
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 31.5}
    header |= {"CRPIX2": 20.0, "CD1_1": -3e-4, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": 3e-4, "XPIXSZ": 3.76}
    header |= {"BAYERPAT": "RGGB"}
    new, meta = finer(header, Meta(pixel_um=3.76, pattern="RGGB"), 1.5, (60, 90))
    for x, y in ((0, 0), (12.25, 33.5)):
        there = wcs(new).pixel_to_world_values((x + 0.5) * 1.5 - 0.5, (y + 0.5) * 1.5 - 0.5)
        assert np.allclose(there, wcs(header).pixel_to_world_values(x, y), atol=1e-9)
    assert new["XPIXSZ"] == meta.pixel_um == pytest.approx(3.76 / 1.5)
    assert "BAYERPAT" not in new and meta.pattern is None and meta.shape == (60, 90)
