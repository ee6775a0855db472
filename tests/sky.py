"""Small nights with known truth, each made once for a whole test session."""

import tempfile
from functools import cache
from pathlib import Path

from masterlight.simulate import Night, Observatory, Truth, simulate

SMALL = {"rows": 400, "cols": 500, "lights": 6, "biases": 5, "darks": 5, "flats": 5}
CALM = {"cloudy": 0, "trails": 0, "tracking_errors": 0, "cosmic_rays": 0.0, "fwhm_spread": 0.0}
EVEN = {"vignetting": 0.0, "dust": 0, "prnu": 0.0, "hot_fraction": 0.0, "dark_e_s": 0.0, "bias_columns_dn": 0.0}
"""A camera without a flaw, to be mixed with other knobs: `Night(**SMALL, **CALM, **EVEN)`."""


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="masterlight-sky-")


@cache
def _written(night: Night) -> Truth:
    *_, done = simulate(night, Path(_folder().name) / f"{len(list(Path(_folder().name).iterdir())):03d}")
    return done.result


@cache
def _observatory(night: Night) -> Observatory:
    return Observatory(night)


def written(**knobs) -> Truth:
    """A small night as files in a folder that lasts as long as the session; do not write there."""
    return _written(Night(**{**SMALL, **knobs}))


def in_memory(**knobs) -> Truth:
    """The truth of a small night without files: `truth.observatory.light(0)` gives pixels."""
    night = Night(**{**SMALL, **knobs})
    truth = Truth(night, {})
    truth.observatory = _observatory(night)
    return truth
