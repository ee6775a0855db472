"""What the numbers of a file mean: every kind of frame that can be taken for another, several times each."""

import numpy as np
import pytest
from astropy.io import fits

from masterlight.core.units.reading import Company, read_scale, sample_of
from masterlight.io import read

SHAPE = (120, 160)
SIRIL = {"PROGRAM": "Siril v1.0.6", "STACKCNT": 30}
"""All that Siril 1.0.6 writes into a stack of floats: no kind, no unit, no level of full scale."""
BESIDE = Company(bits=16, light_dn=1400.0)


def written(path, array, **header):
    hdu = fits.PrimaryHDU(array)
    hdu.header.update(header)
    hdu.writeto(path, overwrite=True)
    return read(path)


def with_hot(array, rng, excess=3000.0):
    array.flat[rng.integers(0, array.size, 40)] += excess
    return array


def waves(period, rng):
    return np.broadcast_to(np.sin(np.arange(SHAPE[1]) / period), SHAPE) + rng.normal(0, 1e-3, SHAPE)


KINDS = {
    # name: (what rng makes of it in the numbers of the file, header, what it is)
    "Siril's dark": (
        lambda r: with_hot(r.normal(500, 1, SHAPE), r) / 65535, {"IMAGETYP": "Dark"} | SIRIL, "full scale"),
    "a dark of no program": (lambda r: r.normal(500, 1, SHAPE) / 65535, {"IMAGETYP": "Dark"}, "full scale"),
    "Siril's dark without bias": (
        lambda r: with_hot(r.normal(0.3, 1, SHAPE), r) / 65535, {"IMAGETYP": "Dark"} | SIRIL, "full scale"),
    "Siril's flat": (
        lambda r: r.normal(0.33, 2e-3, SHAPE) * np.linspace(0.7, 1, SHAPE[1]), {"IMAGETYP": "Flat"} | SIRIL,
        "full scale"),
    "a calibrated light about 0": (lambda r: r.normal(5, 30, SHAPE) / 65535, {"IMAGETYP": "Light"}, "full scale"),
    "a smooth superbias": (lambda r: (500 + waves(90, r)) / 65535, {"IMAGETYP": "Bias"}, "full scale"),
    "Siril's, unit of the camera kept": (
        lambda r: r.normal(500, 1, SHAPE) / 65535, {"IMAGETYP": "Dark", "BUNIT": "ADU"} | SIRIL, "full scale"),
    "one that tells full scale": (
        lambda r: r.normal(0.3, 0.015, SHAPE), {"IMAGETYP": "Light", "DATAMAX": 1.0}, "full scale"),
    "a quiet raw bias": (lambda r: np.rint(r.normal(500, 0.4, SHAPE)) / 65535, {"IMAGETYP": "Bias"}, "full scale"),
    "a raw flat of an X-Trans sensor": (
        lambda r: r.normal(0.3, 2e-3, SHAPE) * np.resize([1, 0.5, 1, 1, 0.4, 1], SHAPE[1]), {"IMAGETYP": "Flat"},
        "full scale"),
    "a crowded field": (
        lambda r: r.normal(0.01, 1e-3, SHAPE) + 0.3 * (r.random(SHAPE) < 0.1), {"IMAGETYP": "Light"}, "full scale"),
    "a dark in DN": (lambda r: r.normal(500, 1, SHAPE), {"IMAGETYP": "Dark"} | SIRIL, "dn"),
    "a dark in DN without bias": (lambda r: with_hot(r.normal(0.3, 1, SHAPE), r), {"IMAGETYP": "Dark"}, "dn"),
    "a quiet dark in DN of level 0.3": (lambda r: r.normal(0.3, 0.08, SHAPE), {"IMAGETYP": "Dark"}, "dn"),
    "a flat of mean 1": (
        lambda r: r.normal(1, 3e-3, SHAPE) * np.linspace(0.8, 1.2, SHAPE[1]), {"IMAGETYP": "Master Flat"}, "dn"),
    "a difference of superbiases": (lambda r: waves(90, r), {"IMAGETYP": "Bias"}, "dn"),
    "a small difference of superbiases": (lambda r: 0.3 + 0.3 * waves(90, r), {"IMAGETYP": "Bias"}, "dn"),
    "electrons per second": (lambda r: r.normal(0.1, 0.006, SHAPE), {"IMAGETYP": "Light", "BUNIT": "electron/s"}, "dn"),
    "electrons per second, loud": (lambda r: r.normal(0.1, 0.05, SHAPE), {"IMAGETYP": "Light"}, "dn"),
    "electrons per second, untold": (lambda r: r.normal(0.02, 0.01, SHAPE), {"IMAGETYP": "Light"}, "unclear"),
    "electrons per second, bright": (lambda r: r.normal(0.5, 0.01, SHAPE), {"IMAGETYP": "Light"}, "unclear"),
    "counts per second": (lambda r: r.normal(0.2, 0.005, SHAPE), {"IMAGETYP": "Light"}, "unclear"),
    "a bias without its overscan": (lambda r: r.normal(0.05, 0.011, SHAPE), {"IMAGETYP": "Bias"}, "unclear"),
    "a dark without bias, as bright as lights": (
        lambda r: r.normal(0.02, 0.01, SHAPE), {"IMAGETYP": "Dark"}, "unclear"),
    "a dark per second": (lambda r: r.normal(0.02, 5e-4, SHAPE), {"IMAGETYP": "Dark"}, "unclear"),
    "a dark little below its lights": (
        lambda r: with_hot(r.normal(1300, 2, SHAPE), r) / 65535, {"IMAGETYP": "Dark"}, "full scale"),
    "a raw light of much gain": (
        lambda r: r.normal(3000, 180, SHAPE) / 65535, {"IMAGETYP": "Light"}, "full scale"),
    "Siril's light of most gain": (
        lambda r: r.normal(0.1, 0.008, SHAPE), {"IMAGETYP": "Light"} | SIRIL, "full scale"),
    "noise of both": (lambda r: r.normal(0.1, 0.015, SHAPE), {"IMAGETYP": "Dark"}, "dn"),
    "nothing": (lambda r: np.zeros(SHAPE), {"IMAGETYP": "Dark"} | SIRIL, "dn"),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", KINDS)
def test_truth_floats_are_read_as_what_they_are(tmp_path, name, seed):
    make, header, unit = KINDS[name]
    frame = written(tmp_path / "frame.fits", make(np.random.default_rng(seed)).astype(np.float32), **header)
    reading = read_scale(frame, BESIDE)
    assert reading.unit == unit, reading
    assert reading.factor == (65535.0 if unit == "full scale" else 1.0)
    if unit == "unclear":
        assert read_scale(frame, BESIDE, "full-scale").factor == 65535
        assert read_scale(frame, BESIDE, "dn").factor == 1


@pytest.mark.parametrize("seed", range(3))
def test_truth_a_camera_of_8_bits_has_a_full_scale_of_255_or_what_siril_makes_of_it(tmp_path, seed):
    """Siril 1.0.6 divides frames of 8 bits by 65535 all the same (measured), PixInsight by 255."""
    dark = np.random.default_rng(seed).normal(20, 0.5, SHAPE)
    beside = Company(bits=8, light_dn=60.0)
    for full in (255.0, 65535.0):
        frame = written(tmp_path / "dark.fits", (dark / full).astype(np.float32), IMAGETYP="Dark", **SIRIL)
        assert read_scale(frame, beside).factor == full


@pytest.mark.parametrize("seed", range(3))
def test_truth_integers_of_another_depth(tmp_path, seed):
    rng = np.random.default_rng(seed)
    dark = rng.normal(500, 1, SHAPE)
    wide = written(tmp_path / "wide.fits", (dark * 65537).astype(np.uint32), IMAGETYP="Dark")
    reading = read_scale(wide, BESIDE)
    assert reading.unit == "full scale" and np.allclose(np.asarray(wide.times(reading.factor)), dark, atol=1e-3)
    assert read_scale(written(tmp_path / "i.fits", dark.astype(np.int32), IMAGETYP="Dark"), BESIDE).unit == "dn"
    assert (
        read_scale(written(tmp_path / "s.fits", (dark * 300).astype(np.int32), IMAGETYP="Dark"), BESIDE).unit
        == "unclear"
    )
    summed = written(tmp_path / "sum.fits", rng.normal(3e6, 500, SHAPE).astype(np.int32), IMAGETYP="Dark")
    assert read_scale(summed, BESIDE).unit == "unclear", "46 DN beside lights of 1400: it is a sum of exposures"
    assert read_scale(summed, BESIDE, "dn").factor == 1 and read_scale(summed, BESIDE, "full-scale").factor == 1 / 65537
    bright = written(tmp_path / "bright.fits", (dark * 6 * 65537).astype(np.uint32), IMAGETYP="Dark")
    assert [read_scale(bright, Company(16, light)).unit for light in (1400.0, 4000.0)] == ["unclear", "full scale"]
    small = written(tmp_path / "small.fits", (dark / 257).astype(np.uint8), IMAGETYP="Dark")
    assert read_scale(small, BESIDE).unit == "unclear"
    assert read_scale(small, BESIDE, "full-scale").factor == 257
    deep = written(tmp_path / "deep.fits", dark.astype(np.uint16), IMAGETYP="Dark")
    assert read_scale(deep, Company(8, 20.0)).unit == "unclear"


def test_truth_a_sample_is_in_the_numbers_of_the_file(tmp_path):
    array = np.random.default_rng(1).normal(0.25, 0.01, SHAPE).astype(np.float32)
    frame = written(tmp_path / "a.fits", array)
    plain, scaled = sample_of(frame), sample_of(frame.times(65535.0))
    assert plain.level == pytest.approx(0.25, abs=0.001) and plain.noise == pytest.approx(0.01, rel=0.05)
    assert np.allclose(plain, scaled, rtol=1e-6)
    assert sample_of(written(tmp_path / "n.fits", np.full(SHAPE, np.nan, np.float32))) is None
    for factor, dtype in ((65535.0, "i2"), (0.5, "f8")):
        frame = written(tmp_path / "b.fits", (array * 1000).astype(dtype))
        assert np.allclose(np.asarray(frame.times(factor)), np.asarray(frame) * factor, rtol=1e-6)
