"""What the doctor looks at in raw frames."""

import numpy as np
import pytest
from clinic import DOCTOR, master, noise

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.doctor.evidence import look


@pytest.mark.parametrize("shape", [(64, 64), (65, 201), (300, 64)])
@pytest.mark.parametrize("pattern", [None, "RGGB", "RGGB" * 9])
@pytest.mark.parametrize("spoil", [None, 7.0, np.nan, np.inf])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_surface_odd_frames_are_looked_at_without_an_error(shape, pattern, spoil):
    array = 500 + noise(5.0, shape=shape)
    array[:20] = array[:20] if spoil is None else spoil
    process = ImageCalibration()
    dark, flat = (master(kind, np.abs(array) + 1, pattern=pattern) for kind in ("dark", "flat"))
    light = ArrayFrame.of(array, "light", Meta(kind="light", pattern=pattern, saturation_dn=65535.0, integer=False))
    for kind, one in (("dark", dark), ("flat", flat)):
        assert all(f.sentence for f in DOCTOR.master(kind, one, bias=dark, flat=flat, scaled=True))
    bound = process.masters(dark=dark, flat=flat)
    assert all(f.sentence for f in DOCTOR.light(light, process(light, bound), bound))
    for kind in ("light", "dark", "flat"):
        seen = look(ArrayFrame.of(array, kind, light.meta.with_(kind=kind)))
        assert np.isfinite(seen.level_dn) and seen.zones.size
        assert seen.missing == 0 or not np.isfinite(spoil)
