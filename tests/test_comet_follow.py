"""What a user tells of a comet."""

import pytest

from masterlight import CometAlignment
from masterlight.core.errors import ParameterError


def test_surface_places_are_read_as_they_are_typed():
    marks = (("night/a 1.fits", 812.0, 604.5), ("C:/b.fits", 830.0, 611.0))
    whole = "night/a 1.fits:812,604.5", "C:/b.fits: 830 , 611"
    assert CometAlignment(positions=whole).marks == marks
    cut = "night/a 1.fits:812", "604.5", "C:/b.fits: 830", "611"  # as a command line cuts them at commas
    assert CometAlignment(positions=cut).marks == marks


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"positions": ("a.fits:1,2",)}, "one light tells no motion"),
        ({"positions": ("a.fits",)}, "write it as FILE:X,Y"),
        ({"positions": ("a:1,2", "b:3,4"), "rate_x_px_h": 3.0}, "does nothing beside positions in 2 lights"),
        ({"rate_x_px_h": 3.0, "rate_arcsec_h": 9.0}, "give one of both"),
    ],
)
def test_surface_what_tells_no_motion_or_two_is_refused(knobs, words):
    with pytest.raises(ParameterError, match=words):
        CometAlignment(**knobs)


def test_surface_a_comet_is_asked_for_by_places_or_rates():
    assert not CometAlignment().is_asked
    assert CometAlignment(rate_y_px_h=-2.0).is_asked and CometAlignment(rate_arcsec_h=30.0, angle_deg=240.0).is_asked
    assert CometAlignment(positions=("a:1,2",), rate_y_px_h=-2.0).is_asked
