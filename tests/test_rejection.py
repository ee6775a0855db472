import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rejection as oracle

from masterlight.kernels import combine, rejection

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
ALGORITHMS = range(8)
PLAIN = rejection.Rule(rejection.NONE, 4.0, 3.0, 20, 0.5, -np.inf, np.inf, 10, 0.0, 0.0, 0.0, 0.0, 0.0)


def rule(algorithm, low=4.0, high=3.0, **more):
    return PLAIN._replace(algorithm=algorithm, low=low, high=high, **more)


def plain_columns(n):
    one, zero = np.ones(n, np.float32), np.zeros(n, np.float32)
    return combine.Columns(one, zero, one, zero, one, one, one)


def integrate(samples, rule, columns=None, combination=combine.AVERAGE):
    samples = np.ascontiguousarray(samples, np.float32)
    n, pixels = samples.shape
    kinds = (np.float32, np.float32, np.uint16, np.uint16, np.uint16)
    planes, counts = combine.Planes(*(np.empty(pixels, k) for k in kinds)), np.zeros((3, n), np.int64)
    combine.integrate(samples, columns or plain_columns(n), rule, combination, planes, counts)
    return planes, counts


def rejected(values, rule):
    """Which of one pixel's values go, found by looking at each frame's counts."""
    counts = integrate(np.asarray(values)[:, None], rule)[1]
    return [float(v) for v, low, high in zip(values, *counts[:2], strict=True) if low + high]


def group_sigma(values, fill):
    """Run one of the kernels that tell sigma on 32 copies of sorted `values`: (rows * 32,) work, one number."""
    work = np.zeros(((len(values) + 3) // 4 * 4, rejection.GROUP), np.float32)
    work[: len(values)] = (np.sort(values) - np.median(values))[:, None]
    state = np.full(8 * rejection.GROUP, np.inf, np.float32)
    state[int(rejection.NUMBER) :][: rejection.GROUP] = len(values)
    fill(work.ravel(), state)
    found = state[int(rejection.SIGMA_OF) :][: rejection.GROUP]
    assert (found == found[0]).all()
    return float(found[0])


def test_authority_winsorized_sigma_of_the_worked_example():
    def fill(work, state):
        rejection.winsorized(work, np.float32(0), state)

    # float32 sums of squares of 15 numbers: 1e-6; the figures themselves have six digits
    assert group_sigma(S15, fill) == pytest.approx(0.00338582, rel=1e-5)
    assert group_sigma(S15[1:13], fill) == pytest.approx(0.00223174, rel=1e-5)
    assert oracle.winsorized(S15 - np.median(S15)) == pytest.approx(0.00338582, rel=1e-5)


def test_authority_median_deviation_of_the_worked_example():
    def fill(work, state):
        rejection.median_deviation(work, np.zeros(rejection.GROUP, np.int64), np.float32(0), state)

    assert group_sigma(S15, fill) == pytest.approx(1.4826 * 0.0020, rel=1e-4)
    assert group_sigma(S15[1:13], fill) == pytest.approx(1.4826 * 0.0015, rel=1e-4)


@pytest.mark.parametrize(
    "rule, gone, mean",
    [
        (rule(rejection.WINSORIZED), [0.07, 0.13, 0.25], 0.1003333),
        (rule(rejection.AUTO), [0.07, 0.13, 0.25], 0.1003333),
        (rule(rejection.PERCENTILE, 0.2, 0.1, passes=1), [0.07, 0.13, 0.25], 0.1003333),
        (rule(rejection.SIGMA), [0.25], 0.1002857),
        (rule(rejection.SIGMA, 3.0, 3.0), [0.25], 0.1002857),
        (rule(rejection.MAD, 3.0, 3.0), [0.07, 0.13, 0.25], 0.1003333),
        (rule(rejection.MINMAX, 1, 2), [0.07, 0.13, 0.25], 0.1003333),
        (rule(rejection.NONE), [], 0.1102667),
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


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 34),
    pixels=st.integers(1, 150),
    algorithm=st.sampled_from(ALGORITHMS),
    combination=st.integers(0, 3),
    whole=st.booleans(),
    holes=st.sampled_from([0.0, 0.1, 0.7]),
    model=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_oracle_integrate(n, pixels, algorithm, combination, whole, holes, model, seed):
    rng = np.random.default_rng(seed)
    samples = rng.normal(1000, 10, (n, pixels))
    samples[rng.random(samples.shape) < 0.03] += 300
    samples = (np.round(samples / 10) if whole else samples).astype(np.float32)
    samples[rng.random(samples.shape) < holes] = np.nan
    scale = np.ones(n) if whole else rng.uniform(0.5, 2, n)  # ties stay ties
    columns = combine.Columns(
        *(a.astype(np.float32) for a in (scale, 1000 - 1000 * scale, scale, 5 * scale, scale, scale, np.ones(n)))
    )
    tested = rule(
        algorithm,
        *((1, 2) if algorithm == rejection.MINMAX else (4.0, 3.0)),
        range_low=80.0 if whole else -np.inf,
        noise_variance=100.0 * model,
        noise_zero=900.0,
        noise_fraction=0.05,
        floor=3.0 * model,
    )
    planes, counts = integrate(samples, tested, columns, combination)
    image, variance, verdicts, margins = oracle.integrate(samples, columns, tested, combination)
    sure = margins > 2e-3  # float32 sums and a stop at 0.05 % may decide nearer cases the other way
    for got, kind in zip((planes.coverage, planes.low, planes.high), range(3), strict=True):
        np.testing.assert_array_equal(got[sure], (verdicts == kind).sum(axis=0)[sure])
    # float32 eps on values to 3000
    np.testing.assert_allclose(planes.image[sure], image[sure], rtol=5e-7)
    np.testing.assert_allclose(planes.variance[sure], variance[sure], rtol=1e-3, atol=1e-5)
    if sure.all():
        assert counts.tolist() == [
            (verdicts == 1).sum(axis=1).tolist(),
            (verdicts == 2).sum(axis=1).tolist(),
            (verdicts != 3).sum(axis=1).tolist(),
        ]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), ties=st.booleans())
def test_oracle_sort(n, seed, ties):
    lanes = np.random.default_rng(seed).normal(size=(n, rejection.LANES)).astype(np.float32)
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
    planes, _ = integrate(samples, rule(rejection.WINSORIZED))
    image, _, verdicts, margins = oracle.integrate(samples, plain_columns(n), rule(rejection.WINSORIZED), 0)
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
    planes, counts = integrate(samples, rule(algorithm, 1, 1, noise_variance=1.0))
    np.testing.assert_array_equal(planes.image, [nan, 7, 5, 0, 7])
    assert planes.coverage[:2].tolist() == [0, 1] and planes.coverage[4] == 2
    assert planes.variance[1] == 1 and planes.variance[4] == 0.5  # the known noise
    assert counts[2].tolist() == [4, 3, 2, 2, 2]


def test_truth_equal_samples_on_a_rank_cut_go_by_frame_order():
    counts = integrate(np.full((4, 1), 3.0), rule(rejection.MINMAX, 1, 1))[1]
    assert counts[:2].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_truth_three_frames_lose_a_cosmic_ray_by_the_noise_model():
    samples = np.array([[100.0, 100], [103, 103], [99, 400]])
    planes, counts = integrate(samples, rule(rejection.AUTO, noise_variance=9.0, noise_zero=100.0))
    assert planes.image.tolist() == pytest.approx([302 / 3, 101.5])
    assert counts[1].tolist() == [0, 0, 1]


def test_truth_at_least_half_of_the_samples_survive():
    samples = np.array([10.0, 10.1, 10.2, 500, 700, 900, 1000])[:, None]
    planes, _ = integrate(samples, rule(rejection.NOISE, noise_variance=1.0, noise_zero=1e9))
    assert planes.coverage[0] == 4


def test_truth_mostly_equal_samples_keep_their_neighbours_and_lose_outliers_above_the_floor():
    samples = np.array([100.0] * 14 + [101] * 5 + [400])[:, None]
    assert integrate(samples, rule(rejection.WINSORIZED))[0].coverage[0] == 20
    assert integrate(samples, rule(rejection.WINSORIZED, floor=0.5))[0].coverage[0] == 19


@pytest.mark.parametrize("algorithm", [rejection.WINSORIZED, rejection.AUTO, rejection.NOISE])
@pytest.mark.parametrize(("n", "noisy"), [(3, 1), (4, 2), (6, 2), (12, 3)])
def test_truth_noisy_frames_are_not_taken_for_outliers_nor_outliers_for_them(algorithm, n, noisy):
    """A cosmic ray in a regular frame goes, the samples of frames with more noise stay."""
    rng = np.random.default_rng(n)
    sigma = np.where(np.arange(n) >= n - noisy, 14.0, 10.0)[:, None]
    samples = (1000 + sigma * rng.standard_normal((n, 640))).astype(np.float32)
    samples[0, :64] += 6000
    ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
    loose = (sigma[:, 0] / 10).astype(np.float32)
    columns = combine.Columns(ones, zeros, ones, zeros, ones, ones * 100, loose)
    planes, counts = integrate(
        samples, rule(algorithm, 4.0, 3.0, noise_variance=100.0, noise_zero=1000.0, floor=10.0), columns
    )
    if algorithm != rejection.WINSORIZED or n >= 10:  # three samples cannot tell their own sigma
        assert abs(planes.image[:64] - 1000).max() < 60
        assert (planes.high[:64] >= 1).all()
    lost = (counts[0] + counts[1])[n - noisy :].sum() / 640 / noisy
    assert lost < (0.005 if n - noisy >= rejection.VOTES else 0.05)
    assert abs(planes.image[64:].mean() - 1000) < 2


def test_truth_pixels_that_only_noisy_frames_cover_keep_their_samples():
    rng = np.random.default_rng(2)
    samples = (1000 + 20 * rng.standard_normal((7, 128))).astype(np.float32)
    samples[:5] = np.nan
    ones, zeros = np.ones(7, np.float32), np.zeros(7, np.float32)
    loose = np.array([1, 1, 1, 1, 1, 2, 2], np.float32)
    columns = combine.Columns(ones, zeros, ones, zeros, ones, ones, loose)
    planes, _ = integrate(samples, rule(rejection.AUTO, 4.0, 3.0, noise_variance=100.0, floor=10.0), columns)
    assert (planes.coverage == 2).all()
    assert np.isfinite(planes.image).all()


def test_truth_min_max_counts_noisy_frames_too():
    samples = np.tile(np.arange(8, dtype=np.float32)[:, None], (1, 64))
    samples[7] = 60000
    ones, zeros = np.ones(8, np.float32), np.zeros(8, np.float32)
    loose = np.array([1, 1, 1, 1, 1, 1, 1, 2], np.float32)
    columns = combine.Columns(ones, zeros, ones, zeros, ones, ones, loose)
    planes, _ = integrate(samples, rule(rejection.MINMAX, 1, 1), columns)
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
    ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
    columns = combine.Columns(ones, zeros, ones, zeros, weight, ones * 100, loose)
    tested = rule(
        rejection.NOISE if model else rejection.AUTO, 4.0, 3.0, noise_variance=100.0, noise_zero=1000.0, floor=10.0
    )
    quick, _ = integrate(samples, tested, columns)
    slow = combine.Planes(*(np.empty(200, p.dtype) for p in quick))
    combine.disputed(
        samples,
        np.arange(200),
        columns,
        tested,
        combine.AVERAGE,
        rejection.make_scratch(n),
        slow,
        np.zeros((3, n), np.int64),
    )
    assert np.array_equal(quick.coverage, slow.coverage)
    assert np.allclose(quick.image, slow.image, rtol=1e-6)
    assert np.allclose(quick.variance, slow.variance, rtol=2e-3)
