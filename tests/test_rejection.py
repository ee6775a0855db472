import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rejection as oracle

from masterlight.integration.kernels import combine, ranked, rejection, spread

S15 = np.array(
    [
        0.0700,
        0.0970,
        0.0980,
        0.0985,
        0.0990,
        0.0995,
        0.1000,
        0.1005,
        0.1010,
        0.1015,
        0.1020,
        0.1030,
        0.1040,
        0.1300,
        0.2500,
    ]
)
ALGORITHMS = sorted(set(rejection.CODES.values()))
PLAIN = spread.Rule(
    algorithm=spread.NONE,
    low=4.0,
    high=3.0,
    clip_low=True,
    clip_high=True,
    passes=20,
    keep_fraction=0.5,
    range_low=-np.inf,
    range_high=np.inf,
    few=10,
    noise_variance=0.0,
    noise_slope=0.0,
    noise_fraction=0.0,
    floor=0.0,
    esd_fraction=0.3,
    esd_relaxation=1.0,
)


def rule(algorithm, low=4.0, high=3.0, **more):
    return PLAIN._replace(algorithm=algorithm, low=low, high=high, **more)


def plain_columns(n):
    one, zero = np.ones(n, np.float32), np.zeros(n, np.float32)
    excess, factor = np.full(n + 1, 3, np.float32), np.ones(n + 1, np.float32)
    return combine.Columns(one, zero, one, zero, one, one, one, zero, excess, factor)


def new_planes(pixels):
    kinds = (np.float32, np.float32, np.uint16, np.uint16, np.uint16, np.float32)
    return combine.Planes(*(np.empty(pixels, k) for k in kinds))


def ground_of(zero):
    """The ground (3, pixels) of a sky of the usual noise everywhere, or as it is given."""
    zero = np.asarray(zero, np.float32)
    return zero if zero.ndim == 2 else np.stack([zero, np.ones_like(zero), np.ones_like(zero)])


def integrate(samples, rule, columns=None, combination=combine.AVERAGE, *, judged=None, zero=None):
    """Planes, counts and verdicts of a tile."""
    samples = np.ascontiguousarray(samples, np.float32)
    n, pixels = samples.shape
    planes, counts, verdicts = new_planes(pixels), np.zeros((3, n), np.int64), np.empty((n, pixels), np.uint8)
    combine.integrate(
        samples,
        samples if judged is None else judged,
        ground_of(np.zeros(pixels) if zero is None else zero),
        columns or plain_columns(n),
        rule,
        ranked.table_for(rule.algorithm, n),
        combination,
        planes,
        verdicts,
        counts,
    )
    assert (counts[0] == (verdicts == 1).sum(axis=1)).all() and (planes.high == (verdicts == 2).sum(axis=0)).all()
    return planes, counts, verdicts


def rejected(values, rule):
    """Which of one pixel's values go, found by looking at each frame's counts."""
    counts = integrate(np.asarray(values)[:, None], rule)[1]
    return [float(v) for v, low, high in zip(values, *counts[:2], strict=True) if low + high]


def lane_sigma(values, fill):
    """Run one of the kernels that tell sigma on a lane of sorted `values`."""
    lanes = np.repeat(np.sort(values).astype(np.float32)[:, None], spread.LANES, axis=1)
    n, sums = len(values), np.empty((2, len(values) + 1))
    spread.add_up(lanes, 3, n, sums)
    return fill(lanes, n, np.float64(lanes[n // 2, 3]), np.float32(np.median(values)), sums)


def test_authority_winsorized_sigma_of_the_worked_example():
    def fill(lanes, n, base, centre, sums):
        return spread.winsorized(lanes, 3, 0, n, base, centre, sums, np.float32(0))

    # samples of 24 bits: 1e-6; the figures themselves have six digits
    assert lane_sigma(S15, fill) == pytest.approx(0.00338582, rel=1e-5)
    assert lane_sigma(S15[1:13], fill) == pytest.approx(0.00223174, rel=1e-5)
    assert oracle.winsorized(S15 - np.median(S15)) == pytest.approx(0.00338582, rel=1e-5)


def test_authority_median_deviation_of_the_worked_example():
    def fill(lanes, n, base, centre, sums):
        return spread.median_deviation(lanes, 3, 0, n, centre)

    assert lane_sigma(S15, fill) == pytest.approx(1.4826 * 0.0020, rel=1e-4)
    assert lane_sigma(S15[1:13], fill) == pytest.approx(1.4826 * 0.0015, rel=1e-4)


@pytest.mark.parametrize(
    "rule, gone, mean",
    [
        (rule(spread.WINSORIZED), [0.07, 0.13, 0.25], 0.1003333),
        (rule(spread.AUTO), [0.07, 0.13, 0.25], 0.1003333),
        (rule(spread.PERCENTILE, 0.2, 0.1, passes=1), [0.07, 0.13, 0.25], 0.1003333),
        (rule(spread.SIGMA), [0.25], 0.1002857),
        (rule(spread.SIGMA, 3.0, 3.0), [0.25], 0.1002857),
        (rule(spread.MAD, 3.0, 3.0), [0.07, 0.13, 0.25], 0.1003333),
        (rule(spread.MINMAX, 1, 2), [0.07, 0.13, 0.25], 0.1003333),
        (rule(spread.NONE), [], 0.1102667),
        (rule(spread.LINEAR, 5.0, 4.0), [0.07, 0.13, 0.25], 0.1003333),
        (rule(spread.ESD), [0.07, 0.13, 0.25], 0.1003333),
        (rule(spread.CHAUVENET), [0.07, 0.13, 0.25], 0.1003333),
    ],
)
def test_authority_rejection_of_the_worked_example(rule, gone, mean):
    assert rejected(S15, rule) == gone
    assert integrate(S15[:, None], rule)[0].image[0] == pytest.approx(mean, abs=1e-7)


def test_authority_weighted_mean_and_range():
    columns = plain_columns(3)._replace(weight=np.array([1, 1, 2], np.float32))
    samples = np.array([[1.0], [2], [4]])
    assert integrate(samples, PLAIN, columns)[0].image[0] == 2.75
    counts = integrate([[0.0], [1e-9], [0.98]], PLAIN._replace(range_low=0.0, range_high=0.98))[1]
    assert counts.tolist() == [[1, 0, 0], [0, 0, 1], [1, 1, 1]]


@settings(max_examples=120, deadline=None)
@given(
    n=st.integers(1, 34),
    pixels=st.integers(1, 150),
    algorithm=st.sampled_from(ALGORITHMS),
    combination=st.integers(0, 4),
    whole=st.booleans(),
    holes=st.sampled_from([0.0, 0.1, 0.7]),
    model=st.booleans(),
    clip=st.sampled_from([(True, True), (True, True), (False, True), (True, False)]),
    apart=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_oracle_integrate(n, pixels, algorithm, combination, whole, holes, model, clip, apart, seed):
    """Every algorithm and combination; ties, holes, samples taken out before, other samples judged than combined."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(1000, 10, (n, pixels))
    samples[rng.random(samples.shape) < 0.03] += 300
    samples = (np.round(samples / 10) if whole else samples).astype(np.float32)
    samples[rng.random(samples.shape) < holes] = np.nan
    scale = np.ones(n) if whole else rng.uniform(0.5, 2, n)  # ties stay ties
    columns = plain_columns(n)._replace(
        **{
            name: a.astype(np.float32)
            for name, a in {
                "reject_scale": scale,
                "reject_offset": 1000 - 1000 * scale,
                "scale": scale,
                "offset": 5 * scale,
                "weight": scale,
                "noise_variance": 100 * scale * model,
                "photon": 0.1 * scale,
                "excess": rng.uniform(0.8, 1.5, n + 1),
                "factor": rng.uniform(1, 2, n + 1),
            }.items()
        }
    )
    judged = samples
    if apart:
        judged = samples + (0 if whole else rng.normal(0, 3, samples.shape).astype(np.float32))
        out = rng.random(samples.shape)
        judged[(out < 0.02) & (samples == samples)] = -np.inf
        judged[(out > 0.98) & (samples == samples)] = np.inf
        samples[out < 0.01] = np.where(np.isnan(samples[out < 0.01]), np.nan, -np.inf)
    zero = np.stack([rng.uniform(900, 1010, pixels), *rng.uniform(0.5, 2, (2, pixels))]).astype(np.float32)
    tested = rule(
        algorithm,
        *((1, 2) if algorithm == spread.MINMAX else (4.0, 3.0)),
        clip_low=clip[0],
        clip_high=clip[1],
        range_low=80.0 if whole else -np.inf,
        noise_variance=100.0 * model,
        noise_slope=0.05,
        noise_fraction=0.05,
        floor=3.0 * model,
        ease_low=1.25,
        ease_high=1.1,
        pairs=model,
    )
    planes, counts, found = integrate(samples, tested, columns, combination, judged=judged, zero=zero)
    image, variance, verdicts, margins = oracle.integrate(samples, columns, tested, combination, judged, zero)
    sure = margins > 2e-3  # float32 sums and a stop at 0.05 % may decide nearer cases the other way
    np.testing.assert_array_equal(found[:, sure], (verdicts % 3)[:, sure])
    for got, kind in zip((planes.coverage, planes.low, planes.high), range(3), strict=True):
        np.testing.assert_array_equal(got[sure], (verdicts == kind).sum(axis=0)[sure])
    # float32 eps on values to 3000
    np.testing.assert_allclose(planes.image[sure], image[sure], rtol=5e-7)
    close = np.isclose(planes.variance, variance, rtol=1e-3, atol=1e-5, equal_nan=True)
    assert close[sure].mean() > 0.99 if sure.any() else True  # a scatter on the edge of its limit may go either way
    if sure.all():
        assert counts[2].tolist() == (verdicts != 3).sum(axis=1).tolist()


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), ties=st.booleans())
def test_oracle_sort(n, seed, ties):
    lanes = np.random.default_rng(seed).normal(size=(n, spread.LANES)).astype(np.float32)
    lanes = np.round(lanes) if ties else lanes
    lanes[np.random.default_rng(seed).random(lanes.shape) < 0.2] = np.inf
    expected = np.sort(lanes, axis=0)
    rejection.sort(lanes, n)
    np.testing.assert_array_equal(lanes, expected)


@pytest.mark.parametrize("n", [129, 200, 1000])
def test_oracle_many_frames(n):
    rng = np.random.default_rng(n)
    samples = rng.normal(100, 5, (n, 70)).astype(np.float32)
    samples[rng.random(samples.shape) < 0.01] += 200
    planes, *_ = integrate(samples, rule(spread.WINSORIZED))
    image, _, verdicts, margins = oracle.integrate(samples, plain_columns(n), rule(spread.WINSORIZED), 0)
    sure = margins > 2e-3
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(planes.high[sure], (verdicts == 2).sum(axis=0)[sure])
    np.testing.assert_allclose(planes.image[sure], image[sure], rtol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_truth_degenerate_pixels(algorithm):
    nan = np.nan
    samples = np.array(
        [[nan, 7, 5, 0, 5], [nan, nan, 5, 0, 9], [nan, nan, 5, 0, nan], [nan, nan, 5, 0, nan], [nan, nan, 5, 0, nan]]
    )
    planes, counts, _ = integrate(samples, rule(algorithm, 1, 1, noise_variance=1.0))
    np.testing.assert_array_equal(planes.image, [nan, 7, 5, 0, 7])
    assert planes.coverage[:2].tolist() == [0, 1] and planes.coverage[4] == 2
    assert planes.variance[1] == 1 and planes.variance[4] == 0.5  # the known noise
    assert counts[2].tolist() == [4, 3, 2, 2, 2]


def test_truth_equal_samples_on_a_rank_cut_go_by_frame_order():
    counts = integrate(np.full((4, 1), 3.0), rule(spread.MINMAX, 1, 1))[1]
    assert counts[:2].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_truth_three_frames_lose_a_cosmic_ray_by_the_noise_model():
    samples = np.array([[100.0, 100], [103, 103], [99, 400]])
    planes, counts, _ = integrate(samples, rule(spread.AUTO, noise_variance=9.0), zero=[100, 100])
    assert planes.image.tolist() == pytest.approx([302 / 3, 101.5])
    assert counts[1].tolist() == [0, 0, 1]


def test_truth_at_least_half_of_the_samples_survive():
    samples = np.array([10.0, 10.1, 10.2, 500, 700, 900, 1000])[:, None]
    planes, *_ = integrate(samples, rule(spread.NOISE, noise_variance=1.0), zero=[1e9])
    assert planes.coverage[0] == 4


def test_truth_mostly_equal_samples_keep_their_neighbours_and_lose_outliers_above_the_floor():
    samples = np.array([100.0] * 14 + [101] * 5 + [400])[:, None]
    assert integrate(samples, rule(spread.WINSORIZED))[0].coverage[0] == 20
    assert integrate(samples, rule(spread.WINSORIZED, floor=0.5))[0].coverage[0] == 19


@pytest.mark.parametrize("algorithm", [spread.WINSORIZED, spread.AUTO, spread.NOISE])
@pytest.mark.parametrize(("n", "noisy"), [(3, 1), (4, 2), (6, 2), (12, 3)])
def test_truth_noisy_frames_are_not_taken_for_outliers_nor_outliers_for_them(algorithm, n, noisy):
    """A cosmic ray in a regular frame goes, the samples of frames with more noise stay."""
    rng = np.random.default_rng(n)
    sigma = np.where(np.arange(n) >= n - noisy, 14.0, 10.0)[:, None]
    samples = (1000 + sigma * rng.standard_normal((n, 640))).astype(np.float32)
    samples[0, :64] += 6000
    loose = (sigma[:, 0] / 10).astype(np.float32)
    columns = plain_columns(n)._replace(noise_variance=np.full(n, 100, np.float32), loose=loose)
    planes, counts, _ = integrate(samples, rule(algorithm, 4.0, 3.0, noise_variance=100.0, floor=10.0), columns)
    if algorithm != spread.WINSORIZED or n >= 10:  # three samples cannot tell their own sigma
        assert abs(planes.image[:64] - 1000).max() < 60
        assert (planes.high[:64] >= 1).all()
    lost = (counts[0] + counts[1])[n - noisy :].sum() / 640 / noisy
    assert lost < (0.005 if n - noisy >= rejection.VOTES else 0.05)
    assert abs(planes.image[64:].mean() - 1000) < 2


def test_truth_pixels_that_only_noisy_frames_cover_keep_their_samples():
    rng = np.random.default_rng(2)
    samples = (1000 + 20 * rng.standard_normal((7, 128))).astype(np.float32)
    samples[:5] = np.nan
    loose = np.array([1, 1, 1, 1, 1, 2, 2], np.float32)
    columns = plain_columns(7)._replace(loose=loose)
    planes, *_ = integrate(samples, rule(spread.AUTO, 4.0, 3.0, noise_variance=100.0, floor=10.0), columns)
    assert (planes.coverage == 2).all()
    assert np.isfinite(planes.image).all()


FEW = {"ease_low": 7 / 6, "ease_high": 7 / 6, "pairs": True, "noise_variance": 100.0, "floor": 10.0}


@pytest.mark.parametrize("n", range(2, 10))
@pytest.mark.parametrize("alike", [True, False])
def test_truth_few_samples_lose_rays_of_eight_sigma_and_next_to_nothing_else(n, alike):
    """Frames may be noisier than others: each is judged by its own noise, with however few beside it."""
    rng = np.random.default_rng(n)
    sigma = np.full(n, 10.0) if alike else 10 * np.linspace(1, 1.6, n)
    samples = (1000 + sigma[:, None] * rng.standard_normal((n, 50_000))).astype(np.float32)
    rays = rng.random(samples.shape) < 1e-3
    samples += 8 * sigma[:, None] * rays
    usual = float(np.median(sigma**2))
    loose = np.maximum(1, sigma / np.sqrt(usual)).astype(np.float32)
    columns = plain_columns(n)._replace(noise_variance=(sigma**2).astype(np.float32), loose=loose)
    _, _, found = integrate(samples, rule(spread.AUTO, **FEW | {"noise_variance": usual}), columns)
    assert (found[~rays] > 0).mean() < 0.001  # of 3 sigma a third of a percent went, of frames with more noise 0.7
    # on a sample that is faint by chance a ray may be 6 sigma off; two samples part by 1.4 times their noise
    assert (found[rays] == 2).mean() > (0.96 if n > 2 else 0.8)


def test_truth_the_brighter_of_two_goes_and_stars_stay():
    """What comes between adds light; a star's core changes with the seeing by more than its noise."""
    samples = np.array([[100.0, 100, 100, 2000, 20], [101, 160, 144, 2300, 100]])
    columns = plain_columns(2)
    star = {**FEW, "noise_fraction": 0.1}
    planes, counts, _ = integrate(samples, rule(spread.AUTO, **star), columns, zero=np.full(5, 100.0))
    assert planes.image.tolist() == [100.5, 100, 122, 2150, 20]
    assert counts[1].tolist() == [0, 2] and counts[0].tolist() == [0, 0]
    kept, *_ = integrate(samples, rule(spread.AUTO, **star, clip_high=False), columns, zero=np.full(5, 100.0))
    assert (kept.coverage == 2).all()


def test_truth_min_max_counts_noisy_frames_too():
    samples = np.tile(np.arange(8, dtype=np.float32)[:, None], (1, 64))
    samples[7] = 60000
    loose = np.array([1, 1, 1, 1, 1, 1, 1, 2], np.float32)
    columns = plain_columns(8)._replace(loose=loose)
    planes, *_ = integrate(samples, rule(spread.MINMAX, 1, 1), columns)
    assert np.allclose(planes.image, 3.5)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 24), noisy=st.integers(0, 4), model=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_oracle_quick_road_agrees_with_the_full_one(n, noisy, model, seed):
    """Pixels that are averaged at once come out as if they had been judged."""
    rng = np.random.default_rng(seed)
    loose = np.where(np.arange(n) < noisy, 1.6, 1.0).astype(np.float32)
    samples = (1000 + 10 * loose[:, None] * rng.standard_normal((n, 200))).astype(np.float32)
    samples[rng.random(samples.shape) < 0.02] += 400
    weight = rng.uniform(0.2, 1, n).astype(np.float32)
    columns = plain_columns(n)._replace(weight=weight, noise_variance=np.full(n, 100, np.float32), loose=loose)
    tested = rule(spread.NOISE if model else spread.AUTO, 4.0, 3.0, noise_variance=100.0, floor=10.0)
    quick, *_ = integrate(samples, tested, columns)
    # beside a frame that misses all of them no pixel is averaged at once
    more = {name: np.append(getattr(columns, name), getattr(columns, name)[-1]) for name in columns._fields}
    slow, *_ = integrate(np.vstack([samples, np.full((1, 200), np.nan)]), tested, combine.Columns(**more))
    assert np.array_equal(quick.coverage, slow.coverage)
    assert np.allclose(quick.image, slow.image, rtol=1e-6)
    close = np.isclose(quick.variance, slow.variance, rtol=2e-3)
    assert close.mean() > 0.99  # a scatter on the edge of its limit may go either way


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 20])
def test_truth_pixels_do_not_know_their_tile(algorithm, n):
    rng = np.random.default_rng(n)
    samples = rng.normal(1000, 10, (n, 333)).astype(np.float32)
    samples[rng.random(samples.shape) < 0.05] += 200
    samples[rng.random(samples.shape) < 0.05] = np.nan
    zero = np.full(333, 990, np.float32)
    low, high = (1, 1) if algorithm == spread.MINMAX else (4, 3)
    for floor in (0.0, 10.0):
        tested = rule(algorithm, low, high, floor=floor, noise_variance=floor**2, noise_fraction=0.1)
        whole, _, verdicts = integrate(samples, tested, zero=zero)
        for start, stop in ((0, 1), (1, 100), (100, 333)):
            part, _, found = integrate(samples[:, start:stop], tested, zero=zero[start:stop])
            for a, b in zip(part, whole, strict=True):
                assert np.array_equal(a, b[start:stop], equal_nan=True)
            assert np.array_equal(found, verdicts[:, start:stop])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
def test_truth_equal_samples_all_stay_and_nothing_stays_nothing(algorithm, n):
    tested = rule(algorithm, 0, 0) if algorithm == spread.MINMAX else rule(algorithm)
    planes, counts, _ = integrate(np.full((n, 70), 5.0), tested)
    assert (planes.coverage == n).all() and (planes.image == 5).all() and not counts[:2].any()
    planes, counts, _ = integrate(np.full((n, 70), np.nan), tested)
    assert not planes.coverage.any() and np.isnan(planes.image).all() and np.isnan(planes.variance).all()
    assert not counts.any()


@pytest.mark.parametrize("floor", [0.0, 10.0])
def test_truth_samples_taken_out_before_are_counted_and_never_added(floor):
    samples = np.tile(np.float32([100, 101, 102, 103, 104, 105]), (70, 1)).T.copy()
    judged = samples.copy()
    judged[0], judged[5] = -np.inf, np.inf
    for algorithm in (spread.NONE, spread.SIGMA, spread.AUTO):
        planes, counts, verdicts = integrate(samples, rule(algorithm, floor=floor, noise_variance=floor), judged=judged)
        assert (planes.image == 102.5).all() and (planes.coverage == 4).all()
        assert (verdicts[0] == 1).all() and (verdicts[5] == 2).all()
        planes, *_ = integrate(judged, rule(algorithm, floor=floor, noise_variance=floor))
        assert (planes.image == 102.5).all()


def test_authority_auto_adaptive_average_of_the_worked_example():
    image = integrate(S15[:, None], PLAIN, combination=combine.ADAPTIVE)[0].image
    assert image[0] == pytest.approx(0.1011406, abs=1e-7)
    assert oracle.adapt(S15, np.ones(15)) == pytest.approx(0.1011406, abs=5e-8)


def test_truth_known_noise_is_claimed_unless_the_scatter_is_far_more():
    rng = np.random.default_rng(1)
    sigma = np.float32(10)
    samples = rng.normal(1000, sigma, (20, 640)).astype(np.float32)
    samples[:, 320:] = 1000 + 3 * (samples[:, 320:] - 1000)
    columns = plain_columns(20)._replace(
        noise_variance=np.full(20, 100, np.float32), photon=np.full(20, 0.5, np.float32)
    )
    planes, *_ = integrate(samples, PLAIN, columns, zero=np.full(640, 800.0))
    assert np.allclose(planes.variance[:320], (100 + 0.5 * (planes.image[:320] - 800)) / 20, rtol=2e-4)  # 5 / 200^2
    # 20 samples tell their variance to sqrt(2 / 19) = 32 %, 320 pixels the mean of it to 1.8 %
    assert planes.variance[320:].mean() == pytest.approx(45, rel=0.1)


def test_truth_star_cores_that_seeing_changes_keep_their_sharpest_frames():
    """Without the allowance for the light above the sky the sharpest frame goes, with it it stays."""
    samples = np.full((12, 64), 2000, np.float32) + np.arange(12, dtype=np.float32)[:, None]
    samples[3] = 2300
    zero = np.full(64, 1000)
    hard = rule(spread.AUTO, floor=10.0, noise_variance=100.0)
    assert (integrate(samples, hard, zero=zero)[0].coverage == 11).all()
    assert (integrate(samples, hard._replace(noise_fraction=0.15), zero=zero)[0].coverage == 12).all()
