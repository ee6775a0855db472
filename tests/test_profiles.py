"""The rules of other programs as their twins have them: their own worked examples, and what ours does beside them."""

import numpy as np
import pytest
from oracles import profiles as oracle
from oracles.profiles import (
    AVERAGED,
    CHAUVENET,
    DSS,
    ESD,
    KAPPA,
    LINEAR,
    MAD,
    MEDIAN_KAPPA,
    MEDIAN_SIGMA,
    MINMAX,
    NOISE,
    NONE,
    OFFERED,
    PERCENTILE,
    PI19,
    PI24,
    SIGMA,
    SIRIL,
    WINSORIZED,
)

from masterlight.core.frame import ArrayFrame
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import KINDS, Rejection
from masterlight.subframes.measurement import Measurement

S15 = np.array([70, 97, 98, 98.5, 99, 99.5, 100, 100.5, 101, 101.5, 102, 103, 104, 130, 250]) / 1000
GRUBBS = np.array(
    [145, 125, 190, 135, 220, 130, 210, 3, 165, 165, 150, 350, 170, 180, 195, 440, 215, 135, 410, 40, 140, 175.0]
)
"""Samples that Siril's own tests of ESD and percentile clipping use."""
SPREAD = np.array(
    [0.07711, 0.4733, 0.5734, 0.3331, 0.5316, 0.3655, 0.319, 0.3465, 0.2234, 0.5368, 0.482, 0.4815, 0.2542, 0.7377,
     0.6693, 0.3898, 0.5878, 0.6668, 0.6958, 0.3626, 0.7187, 0.2642, 0.5289, 0.6135, 0.2498, 0.2793, 0.793, 0.6669,
     0.5918, 0.6524, 0.08444, 0.815, 0.3588, 0.3745, 0.5666, 0.2505, 0.5652, 0.4688, 0.09702, 0.4938]
)  # fmt: skip
"""Samples that Siril's own test of linear fit clipping uses."""
EVERY = [(profile, algorithm) for profile, offered in OFFERED.items() for algorithm in offered]


def judge(profile, algorithm, values, **knobs):
    """Verdict, slope, replacement and what the passes found."""
    return oracle.judge(profile, algorithm, np.asarray(values, float), oracle.Params(**knobs))


def rejected(values, verdict):
    return sorted(np.asarray(values)[verdict > 0].tolist())


THREE, TWO = [0.07, 0.13, 0.25], [0.25]


@pytest.mark.parametrize("profile", [PI24, SIRIL])
def test_authority_percentile(profile):
    verdict, *_ = judge(profile, PERCENTILE, S15)
    assert rejected(S15, verdict) == THREE and S15[verdict == 0].mean() == pytest.approx(0.1003333, abs=1e-7)


@pytest.mark.parametrize("low", [4.0, 3.0])
def test_authority_sigma(low):
    verdict, _, _, told = judge(PI24, SIGMA, S15, low=low)
    assert rejected(S15, verdict) == TWO and S15[verdict == 0].mean() == pytest.approx(0.1002857, abs=1e-7)
    assert [t[:2] for t in told] == [pytest.approx(t, abs=5e-9) for t in ((0.1005, 0.04032717), (0.10025, 0.01192237))]


def test_authority_winsorized_of_2019():
    verdict, _, _, told = judge(PI19, WINSORIZED, S15)
    assert rejected(S15, verdict) == THREE and [t[2] for t in told] == [22, 2]
    assert [t[:2] for t in told] == [pytest.approx(t, abs=5e-9) for t in ((0.1005, 0.00338582), (0.10025, 0.00223174))]


def test_authority_winsorized_of_2024():
    verdict, _, _, told = judge(PI24, WINSORIZED, S15)
    assert rejected(S15, verdict) == THREE and told[0][2] == 8
    found = ((0.10034615, 0.00190599), (0.10031740, 0.00232647))
    assert [t[:2] for t in told] == [pytest.approx(t, abs=6e-9) for t in found]


def test_authority_sn():
    x = np.array([0.10, 0.11, 0.12, 0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.40])
    assert oracle.sn(x) == pytest.approx(0.03)


def test_authority_averaged_sigma():
    verdict, _, _, told = judge(PI24, AVERAGED, S15)
    assert rejected(S15, verdict) == TWO
    assert [t[1] for t in told] == pytest.approx([0.04157502, 0.04152328], abs=5e-9)


def test_authority_linear_fit():
    verdict, slope, _, told = judge(PI24, LINEAR, S15, low=5.0, high=4.0)
    assert rejected(S15, verdict) == TWO and slope == pytest.approx(7.639e-4, rel=1e-4)
    assert told[0] == pytest.approx((0.096375, 0.000625, 0.01331667, 0.0266333), rel=3e-6)
    assert told[1][:3] == pytest.approx((0.0964, 0.0006, 0.0039), rel=1e-9)
    verdict, *_ = judge(PI19, LINEAR, S15, low=5.0, high=2.5)
    assert rejected(S15, verdict) == [0.07, 0.103, 0.104, 0.13, 0.25]


def test_authority_linear_fit_of_siril():
    # its line is least squares; 5 and 4 of its deviations, which are not doubled
    verdict, _, _, told = judge(SIRIL, LINEAR, S15, low=5.0, high=4.0)
    assert verdict[-1] == 2 and told[0][1] == pytest.approx(0.02012952, abs=5e-9)
    for limit, low, high, mean, digits in ((2.5, 3, 2, 0.476394, 1e-6), (1.0, 7, 12, 0.4966, 1e-5)):
        verdict, *_ = judge(SIRIL, LINEAR, SPREAD, low=limit, high=limit)
        assert ((verdict == 1).sum(), (verdict == 2).sum()) == (low, high)
        assert SPREAD[verdict == 0].mean() == pytest.approx(mean, abs=digits)


def test_authority_esd_of_2024():
    verdict, _, _, told = judge(PI24, ESD, S15)
    assert rejected(S15, verdict) == THREE and told == pytest.approx([3.70718, 2.53725, 3.46842, 1.77742], abs=1e-5)
    assert verdict[[0, 13, 14]].tolist() == [1, 2, 2]


def test_authority_siril_on_its_own_samples():
    verdict, *_ = judge(SIRIL, ESD, GRUBBS, fraction=7.5 / 22)
    assert rejected(GRUBBS, verdict) == [3, 40, 350, 410, 440]
    assert GRUBBS[verdict == 0].mean() == pytest.approx(167.352936, abs=1e-5)
    verdict, *_ = judge(SIRIL, PERCENTILE, GRUBBS, percentile_low=0.3, percentile_high=0.4)
    assert ((verdict == 1).sum(), (verdict == 2).sum()) == (2, 3)
    verdict, *_ = judge(SIRIL, PERCENTILE, GRUBBS, percentile_low=1.0, percentile_high=1.0)
    assert GRUBBS[verdict == 0].mean() == pytest.approx(152.0)


def test_authority_siril_esd_takes_two_of_any_pixel_and_the_wrong_high_ones():
    clean = np.array([98.0, 99, 99.5, 100, 100.4, 101, 102, 100.1, 99.8, 100.2])
    assert (judge(SIRIL, ESD, clean)[0] > 0).sum() == 2
    # the low sample goes first: then the highest is looked for one place too low
    values = np.array([1.0, 100, 101, 102, 103, 104, 105, 106, 107, 170])
    verdict, *_ = judge(SIRIL, ESD, values)
    assert rejected(values, verdict) == [1.0, 107.0]


def test_authority_chauvenet():
    verdict, _, _, told = judge(PI24, CHAUVENET, S15)
    assert rejected(S15, verdict) == THREE and S15[verdict == 0].mean() == pytest.approx(0.1003333, abs=1e-7)
    # (phase, n, centre, sigma) to the digits given; the lowest goes before the highest, as both have no chance at all
    expected = [(0, 15, 0.1005, 0.00353), (0, 14, 0.10075, 0.00325), (0, 13, 0.1005, 0.003028),
                (0, 12, 0.10025, 0.002391), (1, 12, 0.10025, 0.002829), (2, 12, 0.100333, 0.002082)]  # fmt: skip
    assert np.allclose([t[:4] for t in told], expected, rtol=5e-4)
    assert told[0][4:] == (0.0, 0.0)
    assert told[3][4:] == pytest.approx((1.045, 0.701), abs=6e-4)
    assert told[5][4:] == pytest.approx((0.656, 0.469), abs=6e-4)
    verdict, *_ = judge(PI24, CHAUVENET, S15, limit=0.5)
    assert rejected(S15, verdict) == [0.07, 0.104, 0.13, 0.25]


def test_authority_mad_of_siril():
    verdict, _, _, told = judge(SIRIL, MAD, S15, low=3.0)
    assert rejected(S15, verdict) == THREE
    assert [t[:2] for t in told] == [pytest.approx(t, abs=1e-12) for t in ((0.1005, 0.0020), (0.10025, 0.0015))]


def test_authority_kappa_sigma():
    verdict, _, _, told = judge(DSS, KAPPA, S15, low=2.0, high=2.0)
    expected = [(15, 0.1102667, 0.0389598), (14, 0.1002857, 0.0114887), (12, 0.1003333, 0.0019930)]
    assert np.allclose(told, expected, atol=5e-8) and rejected(S15, verdict) == THREE


def test_authority_median_kappa_sigma():
    verdict, _, put, _ = judge(DSS, MEDIAN_KAPPA, S15, low=2.0, high=2.0)
    kept = verdict == 0
    assert (S15[kept].sum() + (~kept).sum() * put) / 15 == pytest.approx(0.1002, abs=1e-9)


def test_truth_noise_model_has_the_published_formula():
    values = np.array([0.1, 0.1, 0.1, 0.1, 0.1 + 3.9, 0.1 + 3.7, 0.1])
    sigma = np.sqrt((10.0**2 / 2**2 + 0.1 / 2 + (0.5 * 0.1) ** 2) / 65535)
    values[4:6] = 0.1 + np.array([3.01, 2.99]) * sigma
    verdict, *_ = judge(PI19, NOISE, values, gain=2.0, scale_noise=0.5)
    assert verdict.tolist() == [0, 0, 0, 0, 2, 0, 0]


def test_truth_siril_keeps_four_whatever_comes_first():
    values = np.array([100.0, 103, 97, 106, 94, 101, 90, 110, 99, 100.5])
    verdict, backwards = (judge(SIRIL, MAD, x, low=0.1, high=0.1)[0] for x in (values, values[::-1].copy()))
    assert (verdict == 0).sum() == (backwards == 0).sum() == 4
    assert verdict.tolist() != backwards[::-1].tolist()


def test_truth_median_sigma_replaces_by_the_median_until_nothing_is_far():
    verdict, slope, put, _ = judge(SIRIL, MEDIAN_SIGMA, S15)
    stack = np.where(S15 == 0.25, 0.1005, S15)  # one goes; then 3 sigma is 0.034, farther than any
    assert rejected(S15, verdict) == TWO and put == 0.1005 and slope == 0
    assert np.abs(stack - np.median(stack)).max() < 3 * np.std(stack, ddof=1)


def test_truth_zeros_are_no_samples_to_siril_and_dss():
    values = [0.0, 5, 6, 0, 5.5, 5.2, 5.8]
    for profile, algorithm in ((SIRIL, SIGMA), (DSS, KAPPA), (SIRIL, NONE)):
        assert judge(profile, algorithm, values)[0].tolist() == [3, 0, 0, 3, 0, 0, 0]
    assert (judge(SIRIL, SIGMA, [-1.0, -2, 1, 2])[0] == 3).all()
    assert judge(PI24, SIGMA, values)[0].tolist() == [0] * 7


def test_truth_sides_that_are_not_clipped_keep_their_samples():
    for algorithm in (MINMAX, PERCENTILE, SIGMA, WINSORIZED, AVERAGED, LINEAR, ESD, CHAUVENET):
        low = judge(PI24, algorithm, S15, clip_high=False)[0]
        high = judge(PI24, algorithm, S15, clip_low=False)[0]
        assert not (low == 2).any() and not (high == 1).any() and (high == 2).any()


def test_truth_every_program_refuses_what_it_has_not():
    for profile in OFFERED:
        for algorithm in range(15):
            slope = judge(profile, algorithm, S15)[1]
            assert (slope == -1) == ((profile, algorithm) not in EVERY)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
def test_truth_few_samples_break_nothing(n):
    for profile, algorithm in EVERY:
        verdict, slope, *_ = judge(profile, algorithm, S15[:n])
        assert verdict.size == n and (verdict <= 2).all() and slope >= 0
        assert not verdict.any() or algorithm not in (LINEAR, SIGMA, MAD)


@pytest.mark.parametrize("name, algorithm", [("winsorized", WINSORIZED), ("sigma", SIGMA), ("percentile", PERCENTILE)])
def test_authority_ours_without_its_floor_rejects_as_pixinsight_of_2019(name, algorithm):
    rng = np.random.default_rng(algorithm)
    samples = rng.normal(0.1, 0.005, (17, 300))
    far = rng.random(samples.shape) < 0.06
    samples[far] += rng.exponential(0.1, far.sum())
    samples = samples.astype(np.float32)
    frames = [ArrayFrame.of(row[None], f"{i}") for i, row in enumerate(samples)]
    known = [Measurement(frame.source, 0.1, 0.005, 0.005, 60.0, 1.0) for frame in frames]
    free = {"floor": 0.0} if "floor" in KINDS[name].reads else {}
    rule = Rejection(algorithm=name, normalization="none", min_keep_fraction=0.0, signal_fraction=0.0, **free)
    *_, done = ImageIntegration(normalization="none", weights="none", rejection=rule)(frames, known, verdicts=True)
    ours = np.array([done.result.verdicts.mask(i)[0] & 3 for i in range(17)])
    sure = 0
    for column, mine in zip(samples.T, ours.T, strict=True):
        verdict, _, _, told = judge(PI19, algorithm, column)
        if told.margin > 2e-3:  # sums in float32, and a stop at 0.05 %
            sure += 1
            assert mine.tolist() == verdict.tolist()
    assert sure > 150
