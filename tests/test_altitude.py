"""The altitude of a frame by its header: formulas against a worked number and astropy, and whom to believe."""

import math
from datetime import datetime, timedelta

import numpy as np
import pytest

from masterlight.core.frame import Meta
from masterlight.core.headers.altitude import air_mass, horizontal

SITE = {"SITELAT": "46 30 0.000 N", "SITELONG": 7.2, "RA": 83.8, "DEC": -5.4, "DATE-OBS": "2026-01-15T21:00:00"}


def test_truth_worked_number():
    assert horizontal(20, 40, 30) == pytest.approx((57.4851, 240.9388), abs=1e-4)
    assert horizontal(40, 40, 0)[0] == pytest.approx(90)
    assert air_mass(90) == pytest.approx(1, abs=1e-3)
    assert air_mass(30) == pytest.approx(1.995, abs=2e-3)
    assert air_mass(-1) is None


def test_authority_altitudes_are_those_of_astropy():
    coordinates, units = pytest.importorskip("astropy.coordinates"), pytest.importorskip("astropy.units")
    from astropy.time import Time
    from astropy.utils import iers

    rng = np.random.default_rng(3)
    with iers.conf.set_temp("auto_download", False):
        for _ in range(12):
            latitude, longitude = rng.uniform(-60, 60), rng.uniform(-180, 180)
            start = datetime(2025, 1, 1) + timedelta(days=rng.uniform(0, 300))
            place = coordinates.EarthLocation(lat=latitude * units.deg, lon=longitude * units.deg)
            frame = coordinates.AltAz(obstime=Time(start + timedelta(seconds=300)), location=place)
            zenith = coordinates.SkyCoord(az=40 * units.deg, alt=rng.uniform(15, 80) * units.deg, frame=frame)
            star = zenith.transform_to("icrs")
            meta = Meta.from_header({
                "SITELAT": latitude, "SITELONG": longitude, "RA": star.ra.deg, "DEC": star.dec.deg, "EXPTIME": 600.0,
                "DATE-OBS": start.isoformat(),
            })  # fmt: skip
            assert meta.altitude_deg == pytest.approx(zenith.alt.deg, abs=0.4)
            off = (meta.azimuth_deg - 40 + 180) % 360 - 180
            assert abs(off) * math.cos(zenith.alt.rad) < 0.4


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 38.0), ({"SITELONG": -7.2, "OBJCTALT": 38.2}, 38.0), ({"SITELONG": "7 12 0 E", "CENTALT": "38.1"}, 38.0),
        ({"OBJCTALT": 20.0, "OBJCTAZ": 170.0}, 20.0), ({"SITELAT": None, "CENTALT": 33.0}, 33.0),
        ({"SITELAT": None}, None), ({"DATE-OBS": None, "DATE-LOC": "2026-01-15T22:00:00"}, None),
        ({"RA": None, "ALTITUDE": 71.0}, None), ({"RA": None, "ALTITUDE": 71.0, "AZIMUTH": 190.0}, 71.0),
    ],
)  # fmt: skip
def test_truth_which_keyword_is_believed(more, expected):
    meta = Meta.from_header({key: value for key, value in (SITE | more).items() if value is not None})
    assert meta.altitude_deg == (expected if expected is None else pytest.approx(expected, abs=0.5))
    assert (meta.air_mass is None) == (expected is None)


def test_truth_an_air_mass_alone_is_taken():
    assert Meta.from_header({"AIRMASS": 1.21}).air_mass == 1.21
    assert Meta.from_header({"AIRMASS": -1.0}).air_mass is None
