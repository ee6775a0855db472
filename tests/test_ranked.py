import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import ranked as oracle

from masterlight.integration.kernels import ranked, spread

LANES = spread.LANES
S15 = np.array([70, 97, 98, 98.5, 99, 99.5, 100, 100.5, 101, 101.5, 102, 103, 104, 130, 250]) / 1000
ROSNER = np.array(
    [145, 125, 190, 135, 220, 130, 210, 3, 165, 165, 150, 350, 170, 180, 195, 440, 215, 135, 410, 40, 140, 175.0]
)
"""Grubbs and Beck's data, on which many programs test their ESD."""
NEAR = 2e-5
"""float32 samples, their sums taken in float32: decisions nearer than this to the limit may fall either way."""


def in_lanes(pixels):
    """Sorted (N, 64) lanes and counts from up to 64 lists of samples of whatever length."""
    n = max(len(p) for p in pixels)
    lanes, count = np.full((n, LANES), np.inf, np.float32), np.zeros(LANES, np.int64)
    for lane, p in enumerate(pixels):
        lanes[: len(p), lane], count[lane] = np.sort(p), len(p)
    return lanes, count


def bounds():
    return np.full(LANES, -1), np.full(LANES, -1)


def linear_fit(pixels, low=5.0, high=4.0, passes=20, keep_fraction=0.0, floor=0.0):
    lanes, count = in_lanes(pixels)
    first, last = bounds()
    slope, work = np.empty(LANES, np.float32), np.empty(max(256, lanes.size), np.float32)
    floors = np.full(LANES, floor, np.float32)
    ranked.linear_fit(lanes, count, first, last, slope, low, high, passes, keep_fraction, floors, work)
    return first, last, slope


def esd(pixels, alpha=0.05, fraction=0.3, relaxation=1.0, floor=0.0, clip_low=True, clip_high=True):
    lanes, count = in_lanes(pixels)
    first, last = bounds()
    critical, floors = ranked.esd_table(len(lanes), alpha), np.full(LANES, floor, np.float32)
    ranked.esd(lanes, count, first, last, critical, fraction, relaxation, floors, clip_low, clip_high)
    return first, last


def chauvenet(pixels, limit=0.1, keep_fraction=0.0, clip_low=True, clip_high=True, floor=0.0):
    lanes, count = in_lanes(pixels)
    first, last = bounds()
    limit_z, floors = ranked.chauvenet_table(len(lanes), limit), np.full(LANES, floor, np.float32)
    ranked.chauvenet(lanes, count, first, last, limit_z, keep_fraction, clip_low, clip_high, floors)
    return first, last


def nights(seed, lengths, outliers=0.1, round_to=None):
    """64 pixels of noise about 1000, some of their samples far off: float32 and sorted."""
    rng, pixels = np.random.default_rng(seed), []
    for n in rng.choice(lengths, LANES):
        x = rng.normal(1000, 20, n)
        far = rng.random(n) < outliers
        x[far] += rng.exponential(300, far.sum()) * rng.choice([-0.3, 1], far.sum())
        pixels.append(np.sort((np.round(x / round_to) * round_to if round_to else x).astype(np.float32)).astype(float))
    return pixels


def agree(pixels, found, told):
    """Kernel and twin keep the same wherever no decision was on the edge; tells how many pixels that were."""
    checked = 0
    for lane, (p, (a, b, *_, margin)) in enumerate(zip(pixels, told, strict=True)):
        if margin > NEAR:
            checked += 1
            assert (found[0][lane], found[1][lane]) == (a, b), (lane, p, margin)
    return checked


@pytest.mark.parametrize(
    ("stop", "line"), [(15, (0.0722667, 0.00542857, 0.02012952)), (14, (0.0868, 0.00207473, 0.00626562))]
)
def test_authority_least_squares_line_of_the_worked_example(stop, line):
    assert oracle.least_squares_line(S15[:stop]) == pytest.approx(line, rel=5e-6)  # their last digit
    lanes, count = in_lanes([S15[:stop]] * LANES)
    first, last = bounds()
    slope, active = np.empty(LANES, np.float32), np.empty(LANES, np.bool_)
    state = np.zeros((13, LANES), np.float32)
    ranked.begin_lines(lanes, count, first, last, slope, active, state.ravel())
    ranked.distances(lanes, 0, stop, state.ravel())
    ranked.draw_lines(state.ravel(), False)
    ranked.distances(lanes, 0, stop, state.ravel())
    rows = {name: state[int(getattr(ranked, name)) // LANES, 0] for name in ("CENTRE", "HEIGHT", "SLOPE", "AWAY")}
    # float32 sums of 15 numbers
    assert rows["SLOPE"] == pytest.approx(line[1], rel=1e-5)
    assert rows["CENTRE"] + rows["HEIGHT"] - rows["SLOPE"] * (stop - 1) / 2 == pytest.approx(line[0], rel=1e-5)
    assert rows["AWAY"] / stop == pytest.approx(line[2], rel=1e-5)


def test_authority_linear_fit_of_the_worked_example():
    first, last, slope = linear_fit([S15])
    assert (first[0], last[0]) == (1, 13)
    base, rise, away = oracle.linear_fit(S15, 5, 4, 1)[2][0]
    # least squares: 0.0054 and 0.0201; exact least absolutes: 0.000625 and 0.01331667, with nothing capped
    assert rise < 0.0054 / 3 and away < 0.01331667
    assert np.abs(S15 - base - rise * np.arange(15)).mean() < 1.1 * 0.01331667


def test_authority_esd_critical_values():
    lambdas = {15: [2.5483, 2.5073, 2.4620, 2.4116, 2.3547], 20: [2.7082, 2.6809, 2.6516, 2.6200, 2.5857, 2.5483],
               54: [3.159, 3.151, 3.144, 3.136, 3.128, 3.120, 3.112, 3.103, 3.094, 3.085]}  # fmt: skip
    table = ranked.esd_table(54, 0.05)
    assert table.shape == (55,) and table.dtype == np.float32
    for n, values in lambdas.items():
        # the last printed digit
        assert table[n - np.arange(len(values))] == pytest.approx(values, abs=1e-4 if n < 54 else 6e-4)


def test_authority_esd_of_the_worked_example():
    first, last = esd([S15])
    assert (first[0], last[0]) == (1, 13)
    a, b, told, _ = oracle.esd(S15, 0.05, 0.3)
    assert (a, b) == (1, 13) and told == pytest.approx([3.46499, 2.54024, 3.23466, 1.76141], abs=1e-5)


def test_authority_esd_of_grubbs_and_beck():
    first, last = esd([ROSNER], fraction=7.5 / 22)
    assert (first[0], last[0]) == (2, 19)
    assert np.sort(ROSNER)[2:19].mean() == pytest.approx(167.352941, abs=1e-6)


def test_authority_chauvenet_of_the_worked_example():
    first, last = chauvenet([S15, S15], 0.1)
    assert (first[0], last[0]) == (1, 13)
    first, last = chauvenet([S15], 0.5)
    assert (first[0], last[0]) == (1, 12)
    told = oracle.chauvenet(S15, 0.1)[2]
    # the figures have four or five digits
    expected = [(0, 15, 0.1005, 0.00353), (0, 14, 0.10025, 0.003083), (0, 13, 0.1005, 0.003028),
                (0, 12, 0.10025, 0.002391), (1, 12, 0.10025, 0.002829), (2, 12, 0.100333, 0.002082)]  # fmt: skip
    assert np.allclose(told, expected, rtol=5e-4)


def test_authority_chauvenet_correction_factors():
    factors = {3: 10.61, 5: 2.099, 8: 1.462, 10: 1.331, 20: 1.134, 50: 1.046, 100: 1.0215}
    assert [ranked.widen(n) for n in factors] == pytest.approx(list(factors.values()), rel=5e-4)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, 1.0, 7.0]),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 8.0]),
)
def test_oracle_linear_fit(seed, round_to, keep_fraction, floor):
    pixels = nights(seed, [0, 1, 2, 4, 5, 6, 9, 20, 51], round_to=round_to)
    low, high = np.random.default_rng(seed).uniform(0.8, 5, 2)
    found = linear_fit(pixels, low, high, 20, keep_fraction, floor)
    told = [oracle.linear_fit(p, low, high, 20, keep_fraction, floor) for p in pixels]
    assert agree(pixels, found, [(a, b, margin) for a, b, _, margin, _ in told]) > LANES / 2
    for lane, (*_, margin, slope) in enumerate(told):
        if margin > NEAR:
            # float32 sums of fewer than a hundred samples of which some are a thousand times the noise
            assert found[2][lane] == pytest.approx(slope, rel=1e-4, abs=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([None, 7.0]), st.sampled_from([1.0, 1.5]), st.booleans(), st.booleans()
)
def test_oracle_esd(seed, round_to, relaxation, clip_low, clip_high):
    floor = 0.0 if seed % 2 else 8.0
    pixels = nights(seed, [0, 1, 2, 3, 4, 9, 20, 51], round_to=round_to)
    found = esd(pixels, 0.05, 0.3, relaxation, floor, clip_low, clip_high)
    told = [oracle.esd(p, 0.05, 0.3, relaxation, floor, clip_low, clip_high) for p in pixels]
    assert agree(pixels, found, told) > LANES / 3


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5]), st.sampled_from([0.0, 0.6]), st.booleans(), st.booleans()
)
def test_oracle_chauvenet(seed, limit, keep_fraction, clip_low, clip_high):
    pixels = nights(seed, [0, 1, 2, 3, 5, 12, 20, 33])
    found = chauvenet(pixels, limit, keep_fraction, clip_low, clip_high, 3.0)
    told = [oracle.chauvenet(p, limit, keep_fraction, 3.0, clip_low, clip_high) for p in pixels]
    assert agree(pixels, found, told) > LANES / 2


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.sampled_from([None, 5.0]))
def test_oracle_least_absolute_line(seed, n, round_to):
    rng = np.random.default_rng(seed)
    x, y = np.arange(n) + 0.0, np.sort(rng.normal(100, 10, n))
    y = np.round(y / round_to) * round_to if round_to else y
    base, slope, _ = ranked.least_absolute_line(x, y, n, np.empty(n), np.empty(n), seed % n)
    best = oracle.least_absolute_line(x, y)
    total = [np.abs(y - b - s * x).sum() for b, s in ((base, slope), best[:2])]
    # sums of up to 30 numbers of 100 in float64
    assert total[0] == pytest.approx(total[1], abs=1e-9)


def test_truth_two_satellites_that_hide_each_other_are_found():
    rng = np.random.default_rng(7)
    pixels = [np.append(rng.normal(1000, 20, 23), [1400.0, 1402.0]) for _ in range(LANES)]
    first, last = esd(pixels)
    assert (last <= 23).all()
    first, last = chauvenet(pixels)
    assert (last <= 23).all()


@pytest.mark.parametrize("n", [10, 20, 50, 100, 400])
def test_truth_good_samples_are_left_alone(n):
    rng = np.random.default_rng(n)
    lost = np.zeros(2)
    rounds = max(3, 1000 // n)
    for _ in range(rounds):
        pixels = list(rng.normal(1000, 20, (LANES, n)))
        for k, (first, last, *_) in enumerate((linear_fit(pixels), esd(pixels))):
            lost[k] += (first + n - last).sum()
    share = lost / (rounds * LANES * n)
    # linear fit: its sigma is made for that; ESD: in 5 % of the pixels, where up to three go on average
    assert share[0] < 0.003
    assert share[1] < 0.15 / n


def test_truth_missing_samples_and_equal_samples_are_no_outliers():
    pixels = [[], [5.0], [5.0, 900.0], [7.0] * 9, [0.0] * 30, [100.0] * 12]
    for first, last, *_ in (linear_fit(pixels), esd(pixels), chauvenet(pixels)):
        assert (first == 0).all() and last[:6].tolist() == [0, 1, 2, 9, 30, 12] and (last[6:] == 0).all()


def test_truth_one_satellite_among_equal_samples_is_found():
    pixels = [[100.0] * 19 + [9000.0]]
    for first, last, *_ in (linear_fit(pixels, 5, 2), esd(pixels), chauvenet(pixels, floor=1.0)):
        assert (first[0], last[0]) == (0, 19)


def test_truth_critical_values_of_a_thousand_frames_come_at_once():
    start = time.process_time()
    table = ranked.esd_table(1000, 0.0321)
    assert time.process_time() - start < 0.05
    assert ranked.esd_table(1000, 0.0321) is table
    assert ranked.esd_table(10_000, 0.0321).nbytes < 50_000
    assert table[1000] == pytest.approx(oracle.esd_critical(1000, 0, 0.0321), rel=1e-6)
