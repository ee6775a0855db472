"""Which light is the reference, and where the others lie when another one takes its place."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from sky import CALM, EVEN, written

from masterlight import Recipe, build, run
from masterlight.alignment.transform import Transform
from masterlight.core.errors import Rejected
from masterlight.core.frame import Meta
from masterlight.night.placing.reference import finer_lights, laid_on, level_of, promise, worths

SHAPE = (400, 500)
NIGHT = {"rows": 300, "cols": 360, "biases": 0, "darks": 0, "flats": 0, "stars": 150, "nebula_dn": 0.0, "seed": 5}


def light(fwhm_px=3.0, noise_dn=10.0, eccentricity=0.3, gradient_dn=0.0, flux_dn=1e6, stars=100):
    """What is known of a light before it is matched."""
    m = SimpleNamespace(fwhm_px=fwhm_px, noise_dn=noise_dn, eccentricity=eccentricity, gradient_dn=gradient_dn,
                        psf_flux_dn=flux_dn, stars=stars)  # fmt: skip
    view = SimpleNamespace(shape=SHAPE, meta=Meta())
    return Known(measurement=m, view=view, stars=SimpleNamespace(shape=SHAPE))


class Known(SimpleNamespace):
    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


def match(dx=0.0, dy=0.0, turn=0.0, ratio=1.0, pairs=50):
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[c, -s, dx], [s, c, dy], [0, 0, 1.0]])
    return Transform(matrix, method="guess", flux_ratio=ratio, flux_ratio_error=0.01, flux_pairs=pairs, shape=SHAPE)


def best(matches):
    known = worths(matches)
    return max(known, key=known.__getitem__)


@pytest.mark.parametrize(
    "good, bad, ratio",
    [
        ({}, {"fwhm_px": 2.6, "stars": 150}, 0.3),  # sharp and full of stars, but behind cloud
        ({}, {"stars": 200}, 0.6),  # every star twice: each has a part of its light
        ({}, {"noise_dn": 20.0, "fwhm_px": 2.9}, 1.0),
        ({}, {"eccentricity": 0.9}, 1.0),
        ({}, {"gradient_dn": 300.0}, 1.02),
        ({"fwhm_px": 3.0}, {"fwhm_px": 4.5}, 1.0),
    ],
)
def test_truth_the_reference_is_clear_round_and_even(good, bad, ratio):
    fine, poor = light(**good), light(**bad)
    matches = {poor: match(ratio=ratio), fine: match(), light(noise_dn=11.0): match(3, 4)}
    assert best(matches) is fine
    for one, transform in matches.items():
        one.transform = transform
    if ratio < 1 or "gradient_dn" in bad or "noise_dn" in bad:
        assert level_of(list(matches), poor) is fine
        assert level_of(list(matches), fine) is fine


def test_truth_the_reference_has_much_in_common_with_the_others():
    far, near = light(noise_dn=9.9), light()
    matches = {far: match(250, 200), near: match(2, 1), light(noise_dn=20.0): match(), light(noise_dn=20.0): match()}
    assert best(matches) is near
    unknown = light(noise_dn=5.0)  # too few stars tell how much light it got
    assert best({unknown: match(pairs=2), near: match()}) is near


def test_truth_light_and_width_promise_more_than_the_number_of_stars():
    assert promise(light(stars=50)) == promise(light(stars=500))
    assert promise(light(flux_dn=3e5)) < promise(light()) > promise(light(fwhm_px=4.0))


def test_truth_lights_are_laid_on_another_one_without_matching_again():
    first, other, third, lost = light(), light(), light(), light()
    why = Rejected("lost", "align", "no stars")
    before = {first: Transform.identity(SHAPE), other: match(7, -3, 0.1, 2.0), third: match(-5, 9, 3.1, 0.5), lost: why}
    after = laid_on(before, other)
    xy = np.random.default_rng(1).uniform(0, 400, (20, 2))
    there = before[other](xy)
    for one in (first, other, third):
        np.testing.assert_allclose(after[one](there), before[one](xy), atol=1e-6)
        assert after[one].shape == SHAPE
    assert after[other].method == "identity" and after[lost] is why
    assert after[first].flux_ratio == pytest.approx(0.5) and after[third].flux_ratio == pytest.approx(0.25)
    assert after[first].flux_pairs == 50 and after[first].flux_ratio_error == pytest.approx(0.5 * 0.005)


def test_truth_the_reference_of_levels_is_one_whose_scale_is_known():
    clear, usual, dim = light(noise_dn=4.0), light(noise_dn=10.0), light(noise_dn=20.0)
    for one, pairs in ((clear, 5), (usual, 60), (dim, 60)):  # 5 stars in common tell no scale that is trusted
        one.transform = match(pairs=pairs)
    assert level_of([clear, usual, dim], dim) is usual
    usual.transform = dim.transform = match(pairs=6)
    assert level_of([clear, usual, dim], dim) is clear


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Seven lights of FWHM 3.2 px; the first is of 2.6 px, lost 7/10 of its light and has a gradient."""
    clear, sharp = (written(**{**NIGHT, **CALM, **EVEN, "lights": 7, "fwhm_px": fwhm}) for fwhm in (3.2, 2.6))
    folder = tmp_path_factory.mktemp("night")
    for i, path in enumerate(clear.paths("light")):
        with fits.open(path if i else sharp.paths("light")[0]) as hdus:
            pixels = hdus[0].data.astype(float)
            if i == 0:
                sky = np.median(pixels)
                pixels = 0.3 * (pixels - sky) + sky + np.linspace(0, 300, pixels.shape[1])
                pixels += np.random.default_rng(1).normal(0, 20, pixels.shape)
            hdu = fits.PrimaryHDU(np.clip(np.rint(pixels), 0, 65535).astype(np.uint16), hdus[0].header)
            hdu.writeto(folder / f"L{i}.fits")
    return folder


def test_truth_the_sharpest_light_behind_cloud_is_no_reference(night, tmp_path):
    *_, done = run(night, tmp_path, build(Recipe, {"workers": "serial"}))
    (row,) = done.result.lights
    assert not row.reference.endswith("L0.fits")
    frames = {frame.path[-7:]: frame for frame in done.result.frames if frame.kind == "light"}
    clear = [frame.flux_ratio for name, frame in frames.items() if name != "L0.fits" and frame.flux_ratio]
    np.testing.assert_allclose(clear, 1, rtol=0.03)
    *_, done = run(night, tmp_path / "named", build(Recipe, {"workers": "serial", "reference": "L0.fits"}))
    assert done.result.lights[0].reference.endswith("L0.fits")


def binned(fwhm_px, scale, shape=SHAPE):
    """A light with so many pixels along one of the reference, and where it lies."""
    one = light(fwhm_px=fwhm_px)
    one.view.shape = shape
    return one, Transform(np.diag([scale, scale, 1.0]), method="quads", flux_pairs=50, shape=SHAPE)


@pytest.mark.parametrize(
    ("count", "fwhm_px", "shape", "finer"),
    [(3, 3.4, (800, 1000), True), (3, 6.4, (800, 1000), False), (1, 3.4, (800, 1000), False), (3, 3.4, SHAPE, False)],
)
def test_truth_the_grid_is_as_fine_as_stars_ask_for(count, fwhm_px, shape, finer):
    """Ten binned lights and three with pixels half as large, of as much of the sky; not where one light alone has
    them, where stars are wide enough for large pixels, or where a chip shows a quarter of the field."""
    many = [binned(1.7, 1.0) for _ in range(10)]
    fine = [binned(fwhm_px, 2.0, shape) for _ in range(count)]
    found = finer_lights(dict([*many, *fine]), many[0][0])
    assert found == ([one for one, _ in fine] if finer else [])
