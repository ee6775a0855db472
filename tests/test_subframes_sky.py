import numpy as np
import pytest

from masterlight.core.frame import Meta
from masterlight.subframes.sky import measure_sky


@pytest.mark.parametrize("shape", [(300, 801), (929, 1001), (2049, 2048)])
def test_truth_the_two_greens_of_a_mosaic_of_odd_size_are_one_colour(shape):
    """One of them has a row or a column more, and by itself other cells."""
    mosaic = np.random.default_rng(1).normal(400, 20, shape).astype(np.float32)
    found = measure_sky("mosaic", Meta(), [mosaic[::2, 1::2], mosaic[1::2, ::2]])
    assert found.noise_dn == pytest.approx(20, rel=0.02) and found.location_dn == pytest.approx(400, abs=1)
    np.testing.assert_allclose(found.sky_dn, 400, atol=5)
