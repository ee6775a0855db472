import pytest

from masterlight.core.frame import Meta
from masterlight.subframes.choice.subframe import scale_of


def test_truth_the_scale_by_plate_solution_by_optics_or_as_a_program_says():
    optics = Meta(pixel_um=3.76, focal_mm=530.0)
    turned = {"CTYPE1": "RA---TAN", "CD1_1": 3e-4, "CD1_2": 4e-4, "CD2_1": -4e-4, "CD2_2": 3e-4}
    assert scale_of(optics, turned) == pytest.approx(1.8)
    assert scale_of(optics, {"CTYPE1": "RA---TAN", "CDELT1": -4e-4, "CDELT2": 4e-4}) == pytest.approx(1.44)
    assert scale_of(optics, {"CDELT1": 1.0, "CDELT2": 1.0}) == pytest.approx(1.4633, abs=5e-5)
    assert scale_of(Meta(), {"PIXSCALE": "2.5"}) == 2.5 and scale_of(Meta(), {"SCALE": 1e9}) is None
