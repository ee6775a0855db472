"""The simulated night against what it claims to know about itself."""

import numpy as np
import oracles.synthesis as oracle
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from sky import CALM, EVEN, in_memory, written

from masterlight.errors import FrameError
from masterlight.kernels import synthesis
from masterlight.process import card, knobs, replay
from masterlight.simulate import Night, Truth, simulate


def lonely(truth: Truth, index: int, radius_px: float, brightest_dn: float = 20_000.0):
    """Stars of a light with a high peak, far from the border and from any star that could disturb them."""
    stars, night = truth.expected_stars(index), truth.night
    inside = (np.abs(stars.x_px - (night.cols - 1) / 2) < night.cols / 2 - radius_px - 1) & (
        np.abs(stars.y_px - (night.rows - 1) / 2) < night.rows / 2 - radius_px - 1
    )
    chosen = []
    for k in np.flatnonzero(inside & (stars.peak_dn < brightest_dn))[:60]:
        near = np.hypot(stars.x_px - stars.x_px[k], stars.y_px - stars.y_px[k]) < 1.6 * radius_px
        near[k] = False
        if stars.flux_dn[near].sum() < 0.01 * stars.flux_dn[k]:
            chosen.append(k)
    return stars[chosen]


def centroid(image, x, y, radius=6):
    """Centre of a Gaussian-weighted star, iterated until it rests."""
    i, j = round(y), round(x)
    box = image[i - radius : i + radius + 1, j - radius : j + radius + 1].astype(float)
    yy, xx = np.mgrid[i - radius : i + radius + 1, j - radius : j + radius + 1]
    cx, cy = x, y
    for _ in range(20):
        w = box * np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * 1.5**2))
        cx, cy = cx + 2 * ((w * xx).sum() / w.sum() - cx), cy + 2 * ((w * yy).sum() / w.sum() - cy)
    return cx, cy


@settings(max_examples=25, deadline=None)
@given(
    st.integers(17, 29),
    st.integers(17, 29),
    st.floats(1.6, 4),
    st.floats(1, 2),
    st.floats(0, 3.1),
    st.floats(2.2, 5),
    st.floats(-0.5, 0.5),
)
def test_oracle_render_stars(rows, cols, across, elongation, angle, beta, shift):
    out, slow = np.zeros((rows, cols), np.float32), np.zeros((rows, cols))
    arguments = np.array([8.0 + shift, 15.3]), np.array([9.0 - shift, -2.0]), np.array([1000.0, 500.0])
    for made, image in ((synthesis, out), (oracle, slow)):
        made.render_stars(image, *arguments, across * elongation, across, angle, beta, 1e-4)
    # one point per pixel far out is a part in five thousand of the peak wrong at most; stars end at the floor
    peak = 1000 * (beta - 1) / (np.pi * across**2 * elongation)
    np.testing.assert_allclose(out, slow, rtol=1e-6, atol=2e-4 * peak + 2e-4)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_oracle_upsample_row(rows, cols, seed):
    grid = np.random.default_rng(seed).normal(size=(rows // 8 + 4, cols // 8 + 4))
    out, slow = np.empty(cols), np.empty(cols)
    synthesis.upsample_row(grid, rows - 1, out)
    oracle.upsample_row(grid, rows - 1, slow)
    np.testing.assert_allclose(out, slow, atol=1e-12)


def test_oracle_quantiles():
    u = (np.arange(4000) + 0.5) / 4000
    edges = np.array([2.0**-33, 1e-6, 1 - 1e-6, 1 - 2.0**-33])
    np.testing.assert_allclose([synthesis.normal(p) for p in u], oracle.normal(u), rtol=2e-6, atol=2e-6)
    # the last and first of 2^32 probabilities lie beyond what Giles fitted
    np.testing.assert_allclose([synthesis.normal(p) for p in edges], oracle.normal(edges), rtol=1e-3)
    for mean in (0.0, 0.01, 1.3, 12.0, 50.0):
        assert np.array_equal([synthesis.poisson(mean, p) for p in u[::7]], oracle.poisson(mean, u[::7]))


@pytest.mark.parametrize("level_e", [0.0, 3.0, 49.0, 60.0, 90_000.0])
def test_oracle_expose(level_e):
    rng = np.random.default_rng(5)
    light, flat, dark = (rng.uniform(0, s, (5, 11)).astype(np.float32) for s in (level_e, 1.2, 4.0))
    pattern = rng.normal(500, 4, 11).astype(np.float32)
    grid = rng.uniform(0, level_e, (4, 5))
    made, slow = np.empty((5, 11), np.uint16), np.empty((5, 11), np.uint16)
    for kernel, out in ((synthesis, made), (oracle, slow)):
        kernel.expose(light, grid, flat, dark, pattern, 3.3, 0.78, 65000.0, np.uint64(2**63 + 12345), out)
    # the quantile's last digits may turn a half either way
    assert np.abs(made.astype(int) - slow).max() <= 1 and np.mean(made != slow) < 0.02


def test_truth_flux_of_a_star_through_the_flat():
    truth = in_memory(
        **CALM, hot_fraction=0.0, nebula_dn=0.0, gradient=0.0, bias_columns_dn=0.0, stars=40, rows=800, cols=800
    )
    night = truth.night
    for index in (0, 4):
        pointing = truth.pointings[index]
        image = (truth.observatory.light(index) - truth.bias_dn - truth.dark_dn_s * night.exposure_s) / truth.flat(
            "L"
        ) - pointing.sky_dn
        stars = lonely(truth, index, 40)
        assert len(stars) >= 5
        for star in stars:
            yy, xx = np.ogrid[: night.rows, : night.cols]
            inside = np.hypot(xx - star.x_px, yy - star.y_px) < 24
            variance = (
                inside.sum() * (pointing.sky_dn * 1.5 / night.gain_e_per_dn + 20)
                + 1.5 * star.flux_dn / night.gain_e_per_dn
            )
            # 0.2 % of the light of a Moffat star lies outside of 24 px
            assert image[inside].sum() == pytest.approx(star.flux_dn, abs=4 * np.sqrt(variance) + 0.004 * star.flux_dn)


def test_truth_width_of_the_stars():
    truth = in_memory(
        **CALM, **EVEN, nebula_dn=0.0, gradient=0.0, fwhm_px=4.0, stars=40, faintest_dn=30_000, rows=800, cols=800
    )
    pointing = truth.pointings[0]
    image = truth.observatory.light(0) - truth.night.bias_dn - pointing.sky_dn
    fwhm = []
    for star in lonely(truth, 0, 30, 40_000):
        yy, xx = np.ogrid[: image.shape[0], : image.shape[1]]
        near = np.hypot(xx - star.x_px, yy - star.y_px)
        area = np.sum((near < 12) * np.clip((image - star.peak_dn * 0.5) / (star.peak_dn * 0.12) + 0.5, 0, 1))
        fwhm.append(2 * np.sqrt(area / np.pi))
    # pixels of 1 px widen a 4 px star by about 2 %, and the wide axis by up to 8 %
    assert np.median(fwhm) == pytest.approx(4.0 * np.sqrt(pointing.elongation) * 1.01, rel=0.03)


def test_truth_stars_lie_where_the_matrix_says():
    truth = in_memory(
        **CALM, **EVEN, nebula_dn=0.0, gradient=0.0, stars=80, faintest_dn=30_000, rows=800, cols=800, rotation_deg=0.3
    )
    for index in (0, 2, 5):
        image = truth.observatory.light(index) - truth.night.bias_dn - truth.pointings[index].sky_dn
        stars = lonely(truth, index, 14, 45_000)
        stars = stars[stars.peak_dn > 3000]
        assert len(stars) >= 5
        for star in stars:
            # photon noise places a star of 3000 DN to about 0.01 px; the mean of a few is what must be right
            assert centroid(image, star.x_px, star.y_px) == pytest.approx((star.x_px, star.y_px), abs=0.05)
        offsets = [np.subtract(centroid(image, s.x_px, s.y_px), (s.x_px, s.y_px)) for s in stars]
        assert np.all(np.abs(np.mean(offsets, axis=0)) < 0.02)
    ends = truth.transform(5) @ [100, 200, 1]
    assert truth.transform(5, 2) @ truth.transform(2) @ [100, 200, 1] == pytest.approx(ends)
    assert np.hypot(ends[0] - 699, ends[1] - 599) < 50, "the flip turns the field by half a circle"


def test_truth_noise_is_what_theory_says():
    truth = in_memory(**CALM, **EVEN, stars=0, nebula_dn=0.0, gradient=0.0, sky_dn=700.0)
    night, pointing = truth.night, truth.pointings[0]
    light = truth.observatory.light(0).astype(float)
    theory = np.sqrt(pointing.sky_dn / night.gain_e_per_dn + (night.read_noise_e / night.gain_e_per_dn) ** 2 + 1 / 12)
    n = light.size
    assert light.mean() == pytest.approx(night.bias_dn + pointing.sky_dn, abs=4 * theory / np.sqrt(n))
    assert light.std() == pytest.approx(theory, rel=4 / np.sqrt(2 * n))
    bias = [truth.observatory.bias(i).astype(float) for i in range(2)]
    theory = np.sqrt((night.read_noise_e / night.gain_e_per_dn) ** 2 + 1 / 12)
    assert (bias[0] - bias[1]).std() / np.sqrt(2) == pytest.approx(theory, rel=4 / np.sqrt(2 * n))
    neighbours = np.corrcoef(bias[0][:, :-1].ravel(), bias[0][:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(n), "noise of one pixel tells nothing about the next"
    assert abs(np.corrcoef(bias[0].ravel(), bias[1].ravel())[0, 1]) < 5 / np.sqrt(n)


def test_truth_calibration_frames_show_the_camera():
    truth = in_memory(flats=8, darks=8, biases=8)
    night, sky = truth.night, truth.observatory
    bias = np.mean([sky.bias(i) for i in range(8)], axis=0)
    dark = np.mean([sky.dark(i) for i in range(8)], axis=0)
    flats = [(sky.flat_frame(i) - bias) / sky.flat_level_dn(i) for i in range(8)]
    steady = np.ones(night.shape, bool)
    steady.flat[sky.flickering] = False
    steady &= truth.dark_dn_s * night.exposure_s < 3000
    # the read noise of 8 frames is 1.5 DN
    assert np.std((bias - truth.bias_dn)[:, :]) < 1.7
    assert np.median((dark - truth.bias_dn - truth.dark_dn_s * night.exposure_s)[steady]) == pytest.approx(0, abs=0.5)
    assert np.std((np.mean(flats, axis=0) / truth.flat("L"))[steady]) < 1.3 / np.sqrt(8 * 27000 * night.gain_e_per_dn)
    assert (dark > 20_000).sum() > 0 and np.median(np.ptp(flats, axis=0)) < 0.1


def test_truth_accidents_are_where_they_are_told_to_be():
    truth = in_memory(lights=8, trails=2, cosmic_rays=60.0)
    crossed = [p.index for p in truth.pointings if p.trail]
    assert (
        len(crossed) == 2
        and sum(p.cloudy for p in truth.pointings) == 1
        and sum(p.tracking_error for p in truth.pointings) == 1
    )
    for index in crossed:
        image, scene, flat = truth.observatory.light(index), truth.scene_dn(index), truth.flat("L")
        above = image - truth.bias_dn - truth.dark_dn_s * truth.night.exposure_s - scene * flat
        assert np.median(above[truth.trail_mask(index, 100.0)]) > 80
        struck = truth.cosmic_mask(index)
        assert struck.any() and np.median(above[struck]) > 50
        rest = ~truth.trail_mask(index) & ~struck & (scene < 5000)
        assert np.median(above[rest]) == pytest.approx(0, abs=1.0)
    clouded = next(p for p in truth.pointings if p.cloudy)
    assert clouded.transparency < 0.7


@pytest.mark.parametrize("dialect", ["nina", "maxim", "sgp", "ekos", "asiair"])
def test_authority_astropy_reads_the_files(dialect):
    truth = written(
        dialect=dialect, rows=64, cols=71, lights=2, darks=1, flats=1, biases=1, flat_darks=1, filters=("L", "Ha")
    )
    assert {kind: len(truth.paths(kind)) for kind in truth.files} == {
        "light": 4,
        "dark": 1,
        "bias": 1,
        "flat": 2,
        "flatdark": 1,
    }
    for kind in truth.files:
        for index, path in enumerate(truth.paths(kind)):
            with fits.open(path) as file:
                file.verify("exception")
                assert file[0].data.dtype == np.uint16
                assert np.array_equal(file[0].data, truth.observatory.frame(kind, index))
                told = file[0].header
                word = "dark" if kind == "flatdark" else kind
                assert word in told["IMAGETYP"].lower()
                assert told.get("EXPTIME", told.get("EXPOSURE")) == {"bias": 0, "flat": 2.5, "flatdark": 2.5}.get(
                    kind, 120
                )
                assert told.get("FILTER") == (truth.night.filter_of(kind, index) if kind in ("light", "flat") else None)


def test_surface_the_same_night_gives_the_same_files(tmp_path):
    knobs_ = dict(rows=70, cols=90, lights=3, biases=1, darks=1, flats=1)
    *events, done = simulate(Night(**knobs_), tmp_path / "one", workers="serial")
    *_, also = simulate(Night(**knobs_), tmp_path / "two", workers="threads:2")
    one, two = done.result, also.result
    assert [e.done for e in events] == list(range(1, 7)) and {e.total for e in events} == {6}
    for kind in one.files:
        for a, b in zip(one.paths(kind), two.paths(kind), strict=True):
            assert a.read_bytes() == b.read_bytes()
    assert not np.array_equal(Night(**knobs_).rng(1).uniform(size=3), Night(**knobs_, seed=2).rng(1).uniform(size=3))
    assert not list((tmp_path / "one").rglob("*.part"))


def test_surface_truth_is_told_again():
    truth = written()
    again = Truth.load(truth.folder)
    assert again.night == truth.night and again.files == truth.files
    assert np.array_equal(again.expected_stars(3), truth.expected_stars(3))
    with np.load(truth.folder / "truth.npz") as kept:
        assert np.array_equal(kept["matrix"][3], truth.pointings[3].matrix)
        assert np.array_equal(kept["cosmic_pixel"][kept["cosmic_light"] == 2], np.flatnonzero(truth.cosmic_mask(2)))
    with pytest.raises(FrameError, match="masterlight simulate"):
        Truth.load(truth.folder / "nowhere")


def test_surface_knobs_and_card():
    night = Night(lights=3, filters=("R", "G"))
    assert replay(card(night)) == night
    assert all(knob.help for knob in knobs(Night))
    assert {k.path: k for k in knobs(Night)}["dialect"].choices == ("nina", "maxim", "sgp", "ekos", "asiair")
