from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from masterlight.subframes.formula.functions import FUNCTIONS, STATISTICS
from masterlight.subframes.formula.parser import base_of
from masterlight.subframes.formula.variables import ALIASES, GIVEN, PROPERTIES, fields_of, property_named
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.radial import RADII_PX

ONE = Measurement(
    source="m31_1.fits", location_dn=1000.0, scale_dn=(20.0, 24.0), noise_dn=11.0, exposure_s=300.0, flux_ratio=0.5,
    mean_dn=1010.0, mean_deviation_dn=36.4, background_noise_dn=3.0, psf_flux_dn=120.0, psf_mean_flux_dn=4.0,
    fwhm_px=3.0, eccentricity=0.4, stars=500,
)  # fmt: skip
PAGE = Path(__file__).parents[1] / "docs" / "formulas.md"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FWHM", 3), ("Stars", 500), ("StarSupport", 500), ("MeanDeviation", 36.4), ("PSFScale", 2), ("Noise", 11),
        ("PSFScaleSNR", 0.25 / 121), ("Exposure", 300),
    ],
)  # fmt: skip
def test_truth_of_properties(name, expected):
    assert property_named(name).of(ONE) == pytest.approx(expected, rel=1e-14)


def test_authority_signal_to_noise():
    # Published to four and seven digits.
    assert property_named("SNR").of(ONE) == pytest.approx(10.950, abs=5e-4)
    dim = replace(ONE, noise_dn=2e-4, background_noise_dn=1.5e-3)
    assert property_named("PSFSignalWeight").of(dim) == pytest.approx(9.468444e-4, abs=5e-11)
    assert property_named("PSFSNR").of(dim) == pytest.approx(9.499900e-3, abs=5e-10)


def test_authority_the_weight_of_least_noise():
    # Relative fluxes 1, 0.8, 0.6 with noise 10, 10, 12: published weights 1, 0.64, 0.25.
    frames = [replace(ONE, flux_ratio=t, noise_dn=s) for t, s in ((1.0, 10.0), (0.8, 10.0), (0.6, 12.0))]
    found = np.array([PROPERTIES["PSFScaleSNR"].of(m) for m in frames])
    assert found / found[0] == pytest.approx([1, 0.64, 0.25], rel=1e-14)


def test_truth_signal_to_noise_of_a_star():
    # A Gaussian of sigma 2 px has the noise of 4 pi sigma^2 = 50.3 pixels (King 1983); the profile is told in steps.
    profile = tuple(np.exp(-(RADII_PX**2) / 8) / (8 * np.pi))
    found = property_named("PointSNR").of(replace(ONE, profile=profile))
    assert found == pytest.approx(1000 * 0.5 / (11 * np.sqrt(16 * np.pi)), rel=0.01)
    assert np.isnan(property_named("Transparency").of(ONE))


def test_truth_what_is_not_measured_is_nan():
    bare = Measurement(source="a.fits", location_dn=1.0, scale_dn=(1.0, 1.0), noise_dn=0.0)
    for name, row in PROPERTIES.items():
        assert np.isnan(row.of(None)), name
    assert [bool(np.isnan(PROPERTIES["FWHM"].of(m))) for m in (bare, ONE)] == [True, False]
    assert np.isinf(property_named("PSFScaleSNR").of(replace(ONE, noise_dn=0.0)))


def test_surface_rows():
    known = {f.name for f in fields(Measurement)}
    for name, row in PROPERTIES.items():
        assert set(row.fields) <= known, name
        assert row.fields or name in GIVEN
        assert row.help and len(row.help) < 81 and not row.help.endswith(".")
        assert base_of(name) == name or base_of(name) not in PROPERTIES, name
        assert format(123.456, row.form)
        assert name not in FUNCTIONS
    assert not set(ALIASES) & set(PROPERTIES)
    assert property_named("SSWEIGHT") is None
    assert fields_of(["FWHM", "SNR", "Noise", "GAIN"]) == ("fwhm_px", "mean_deviation_dn", "noise_dn")


def test_surface_the_page_names_all():
    if not PAGE.is_file():
        pytest.skip("the pages are not installed with the package")
    page = PAGE.read_text()
    for name, row in PROPERTIES.items():
        assert f"| `{name}` " in page and row.help.replace("|", "\\|") in page
    for word in (*FUNCTIONS, *STATISTICS, *ALIASES):
        assert word in page
