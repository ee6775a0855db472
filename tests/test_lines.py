"""Satellite trails: found where they are, from end to end, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import largescale as oracle
from scipy.stats import gamma

from masterlight.integration.rejection import LargeScaleRejection
from masterlight.integration.trails import coarse, strips
from masterlight.integration.trails import lines as kernels

SEEDS = st.integers(0, 2**32 - 1)
EMPTY = np.empty(0, np.uint32)
SHAPE = (900, 1200)


def flat_of(binary):
    return np.flatnonzero(binary).astype(np.uint32)


def across(shape, x0, y0, x1, y1):
    """Places along a line from its first end, and beside it, of all pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    length = np.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    return (x - x0) * ux + (y - y0) * uy, (y - y0) * ux - (x - x0) * uy, length


def rejected(rng, trail, density, background=0.002, dash=(1, 1)):
    """A map of rejected pixels with one trail (x0, y0, x1, y1, width), and which pixels are the trail's."""
    t, d, length = across(SHAPE, *trail[:4])
    band = (t >= 0) & (t <= length) & (np.abs(d) <= trail[4] / 2)
    hit = band & (t % dash[0] < dash[1]) & (rng.random(SHAPE) < density)
    return (rng.random(SHAPE) < background) | hit, band


def completed(binary, process=None):
    grown = (process or LargeScaleRejection()).grown(EMPTY, flat_of(binary), binary.shape)
    out = binary.copy()
    out.ravel()[grown.high] = True
    return out, grown


@pytest.mark.parametrize(
    "trail, density, dash",
    [
        ((-5, 100, 1205, 700, 3), 0.25, (1, 1)),
        ((300, -5, 310, 905, 1.5), 0.4, (1, 1)),
        ((1199, 3, 0, 898, 12), 0.3, (1, 1)),
        ((0, 450, 1199, 450, 2), 0.3, (1, 1)),
        ((200, 200, 900, 320, 5), 0.9, (1, 1)),
        ((0, 700, 1199, 100, 3), 0.6, (200, 60)),
        ((180, 740, 760, 150, 30), 0.3, (1, 1)),
    ],
    ids=["weak", "thin and steep", "falling", "along a row", "meteor", "dashed", "wide"],
)
def test_truth_trail_is_completed(trail, density, dash):
    binary, band = rejected(np.random.default_rng(3), trail, density, dash=dash)
    out, grown = completed(binary)
    assert out[band].mean() > 0.93  # a dashed one may end with its last dash, 70 px before the border
    assert len(grown.trails) == 1
    found = grown.trails[0]
    assert (
        found.width_px < trail[4] + 8 and found.snr > 7.5
    )  # one pixel of profile and one of growth on a side, doubled
    assert (out & ~binary & ~band).sum() < 9 * found.length_px
    assert str(found).startswith("satellite trail from (")


def test_truth_ends_inside_the_frame():
    far = []
    for seed in range(9):
        binary, _ = rejected(np.random.default_rng(seed), (300, 300, 600, 420, 4), 0.6)
        (found,) = completed(binary)[1].trails
        ends = sorted([(found.x0, found.y0), (found.x1, found.y1)])
        far.append(np.abs(np.array(ends) - [(300, 300), (600, 420)]).max())
    assert np.median(far) < 12  # two cells of 4 px, and what is added
    assert max(far) < 40  # two chance pixels close behind an end make it longer


def test_truth_crossing_and_parallel_trails():
    rng = np.random.default_rng(5)
    lines = [(0, 0, 1199, 899, 4), (0, 899, 1199, 0, 3), (0, 18, 1177, 899, 4)]
    binary = rng.random(SHAPE) < 0.0015
    bands = []
    for line in lines:
        one, band = rejected(rng, line, 0.5, 0)
        binary |= one
        bands.append(band)
    out, grown = completed(binary)
    assert len(grown.trails) == 3
    assert min(out[band].mean() for band in bands) > 0.98


def test_truth_slightly_curved_trail_is_followed_in_pieces():
    rng = np.random.default_rng(6)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    band = np.abs(y - (300 + 0.2 * x + 24 * (x / 600 - 1) ** 2)) < 2
    out, _ = completed((rng.random(SHAPE) < 0.0015) | (band & (rng.random(SHAPE) < 0.6)))
    assert out[band].mean() > 0.95


def clumpy(rng, background, clumps):
    binary = rng.random(SHAPE) < background
    for _ in range(clumps):
        y, x, r = rng.integers(20, SHAPE[0] - 20), rng.integers(20, SHAPE[1] - 20), 1 + min(15, rng.exponential(2))
        v, u = np.mgrid[-16:17, -16:17]
        binary[y - 16 : y + 17, x - 16 : x + 17] |= (v**2 + u**2 <= r * r) & (rng.random((33, 33)) < 0.7)
    return binary


@pytest.mark.parametrize("background, clumps", [(0.001, 0), (0.002, 100), (0.005, 60), (0.001, 500)])
def test_truth_clean_frames_have_no_trails(background, clumps):
    """40 frames of 1 Mpx, far more than one in a thousand would show if there were many false alarms."""
    rng = np.random.default_rng(7)
    frames = [clumpy(rng, background, clumps) for _ in range(40)]
    assert sum(len(completed(frame)[1].trails) for frame in frames) == 0


def with_rays(rng, rays):
    """A clumpy map with tracks of cosmic rays up to 40 px long."""
    binary = clumpy(rng, rng.uniform(0.001, 0.005), rng.integers(0, 40))
    for _ in range(rays):
        y, x, angle = rng.uniform(0, SHAPE[0] - 1), rng.uniform(0, SHAPE[1] - 1), rng.uniform(0, 2 * np.pi)
        s = np.arange(0, min(40, rng.exponential(20)), 0.3)
        for beside in np.arange(0, rng.uniform(0.5, 2), 0.5):
            v, u = np.rint(y + s * np.sin(angle) + beside), np.rint(x + s * np.cos(angle) + beside)
            inner = (v >= 0) & (v < SHAPE[0]) & (u >= 0) & (u < SHAPE[1])
            binary[v[inner].astype(int), u[inner].astype(int)] = True
    return binary


def test_truth_long_rays_are_no_trails():
    """100 frames of 1 Mpx with six rays each: their evidence is not spread along a line."""
    rng = np.random.default_rng(17)
    assert sum(len(completed(with_rays(rng, 6))[1].trails) for _ in range(100)) == 0


def test_truth_short_trail_among_rays():
    """A trail of 300 px whose peak is at 3 sigma, clipped at 3 sigma, in frames with rays and clumps."""
    rng = np.random.default_rng(18)
    for _ in range(12):
        angle, x, y = rng.uniform(0, np.pi), rng.uniform(350, 850), rng.uniform(350, 550)
        t, d, _ = across(SHAPE, x, y, x + 10 * np.cos(angle), y + 10 * np.sin(angle))
        light = 3 * np.exp(-0.5 * (d / rng.uniform(1, 3)) ** 2) * (np.abs(t) < 150)
        binary = with_rays(rng, 6) | (light + rng.normal(0, 1, SHAPE) > 3)
        assert completed(binary)[0][light > 1].mean() > 0.9


@pytest.mark.parametrize("sigma_px", [1, 2, 5])
@pytest.mark.parametrize("peak", [3, 20])
def test_truth_band_is_as_wide_as_the_light(sigma_px, peak):
    """The band holds what is brighter than half a sigma, and hardly more than that and its growth."""
    rng = np.random.default_rng(19)
    t, d, _ = across(SHAPE, 100, 150, 1000, 700)
    light = peak * np.exp(-0.5 * (d / sigma_px) ** 2) * ((t > 0) & (t < 1000))
    out, grown = completed(light + rng.normal(0, 1, SHAPE) > 3)
    (found,) = grown.trails
    assert out[light > 0.5].mean() > 0.95
    needed = 2 * sigma_px * np.sqrt(2 * np.log(peak / 0.5))
    assert found.width_px < needed + 8  # three pixels of growth, and one of rounding, on either side


def night(rng, n, peaks):
    """Noise of sigma 1 in n frames, a trail of the given peak in some of them, and which light each pixel has of it."""
    samples = rng.normal(0, 1, (n, *SHAPE)).astype(np.float32)
    light = np.zeros((n, *SHAPE), np.float32)
    for i, peak in enumerate(peaks):
        a = rng.uniform(0, np.pi)
        x, y = rng.uniform(300, 900), rng.uniform(250, 650)
        _, d, _ = across(SHAPE, x, y, x + 10 * np.cos(a), y + 10 * np.sin(a))
        light[2 * i] = peak * np.exp(-0.5 * (d / 1.5) ** 2)
    return samples + light, light


def clipped(samples, low=4.0, high=3.0):
    """Sigma clipping about the median, two passes: which samples are rejected as too bright."""
    x = samples.copy()
    for _ in range(2):
        centre, sigma = np.nanmedian(x, 0), np.nanstd(x, 0)
        x[(samples > centre + high * sigma) | (samples < centre - low * sigma)] = np.nan
    return samples > centre + high * np.maximum(sigma, 1)


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("peaks, least", [((4, 8, 20, 6), 0.95), ((2.5, 2.5, 3), 0.95)], ids=["bright", "faint"])
def test_truth_stack_of_twenty(peaks, least):
    """Trail pixels above 5 sigma (of faint trails, above 2) are rejected, and few good samples are lost with them."""
    samples, light = night(np.random.default_rng(8), 20, peaks)
    before = clipped(samples)
    after = np.array([completed(frame)[0] for frame in before])
    bright = light > (5 if max(peaks) > 5 else 2)
    assert after[bright].mean() >= least
    good = light < 0.5
    assert after[good].mean() < 0.003
    assert after[good].mean() - before[good].mean() < 0.0014


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_oracle_maps(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(30, 90, 2))
    binary = rng.random(shape) < rng.uniform(0, 0.1)
    flat = flat_of(binary)
    filled = coarse.fill_bins(flat, shape, 4)
    np.testing.assert_array_equal(filled, oracle.binned(binary, 4))
    if filled[:-1, :-1].any() and not filled.all():
        assert coarse.clumping(filled) == pytest.approx(oracle.clumping(filled), abs=1e-12)
    scores = coarse.score_bins(filled, 8, 0.6, 8)
    np.testing.assert_array_equal(scores, oracle.scored(filled, 8, 0.6, 8))
    lines = coarse.steep_lines(scores, 2, 3, 30)
    expected = oracle.steep_lines(scores, 2, 3, 30)
    np.testing.assert_array_equal(np.array(sorted(lines.tolist())).reshape(-1, 5), expected)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_oracle_strips(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(5, 60, 2))
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, 2 * np.pi)])
    line = (rng.uniform(-5, shape[1] + 5), rng.uniform(-5, shape[0] + 5), np.cos(angle), np.sin(angle))
    t0, t1, half = rng.uniform(-40, 0), rng.uniform(0, 40), rng.uniform(0.5, 8)
    inner, t, d = oracle.strip(shape, line, t0, t1, half)
    np.testing.assert_array_equal(strips.band(*shape, line, t0, t1, half), np.flatnonzero(inner))
    binary = rng.random(shape) < 0.3
    flat = flat_of(binary)
    taken = rng.random(flat.size) < 0.3
    room = np.empty(flat.size, np.int64), np.empty(flat.size), np.empty(flat.size)
    n = strips.along(flat, strips.row_starts(flat, *shape), taken, *shape, line, t0, t1, half, *room)
    expected = np.flatnonzero(inner.ravel()[flat] & ~taken)
    np.testing.assert_array_equal(room[0][:n], expected)
    np.testing.assert_allclose(room[1][:n], t.ravel()[flat[expected]], atol=1e-9)
    np.testing.assert_allclose(room[2][:n], d.ravel()[flat[expected]], atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_oracle_blocks_by_chance(seed):
    rng = np.random.default_rng(seed)
    binary = rng.random(tuple(rng.integers(10, 60, 2))) < rng.uniform(0, 0.3)
    shape, flat = binary.shape, flat_of(binary)
    width, size, block, fewest = rng.uniform(2, 8), rng.uniform(4, 6), int(rng.integers(2, 9)), int(rng.integers(1, 4))
    room = np.empty(flat.size, np.int64), np.empty(flat.size), np.empty(flat.size)
    strewn = strips.by_chance(
        flat, strips.row_starts(flat, *shape), np.zeros(flat.size, bool), *shape, width, size, block, fewest, 20, *room
    )
    np.testing.assert_array_equal(strewn, oracle.by_chance(binary, width, size, block, fewest, 20))
    t, d, out = rng.uniform(-5, 45, 80), rng.uniform(-20, 20, 80), np.empty(block, bool)
    strips.lonely(t, d, 80, 0.0, size, -width / 2, width / 2, fewest, out)
    np.testing.assert_array_equal(out, oracle.lonely(t, d, 0.0, size, block, -width / 2, width / 2, fewest))


def test_truth_evidence_must_be_spread():
    """A block as full as chance makes one in exp(9) alone is none; four of them, one of which does not count, are."""
    nats, full, empty = np.linspace(0, 9, 12), np.ones(11, bool), np.zeros(11, bool)
    assert kernels.spread_significance(full, 11, nats) == 0
    assert kernels.spread_significance(np.concatenate((full, empty)), 11, nats) == 0
    four = kernels.spread_significance(np.concatenate((full, empty, full, full, full)), 11, nats)
    expected = -gamma.logsf(27, 4)  # three full blocks and an empty one of 9 + 9 + 9 + 0 nats
    assert four == pytest.approx(np.sqrt(2 * expected))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0.01, 0.6), st.floats(0, 0.5))
def test_oracle_evidence(filled, usual, clumped):
    expected = oracle.evidence(filled, usual, clumped)
    assert strips.evidence(np.array(filled), usual, clumped) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (40, 40)])
@pytest.mark.parametrize("filled", [0.0, 0.3, 1.0])
def test_truth_small_and_full_frames_are_no_trouble(shape, filled):
    binary = np.random.default_rng(9).random(shape) < filled
    grown = LargeScaleRejection(low=True, high=True).grown(flat_of(binary), flat_of(binary), shape)
    assert grown.high.size <= binary.size - binary.sum()
