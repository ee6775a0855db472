"""D22 by pixels: lights that were registered or smoothed before show it in borders and in their noise."""

import numpy as np
import pytest
from clinic import altered, examined, names, only
from scipy import ndimage

from masterlight.doctor.raw.resampled import empty_edges, shared_noise

SHIFTS = ((0.4, 0.3), (3.45, -6.4), (-5.6, 8.5), (1.5, 4.4))
LIGHTS_ALONE = {"biases": 0, "darks": 0, "flats": 0}


def shifted(order, border):
    def change(kind, i, pixels, header):
        if kind == "light":
            moved = ndimage.shift(pixels, SHIFTS[i], order=order, mode="constant" if border else "mirror")
            return moved if border else np.maximum(moved, 1.25)

    return change


def test_truth_healthy_lights_are_no_resampled_ones(tmp_path):
    assert only(examined(altered(tmp_path, lambda *frame: None)), "D22") == []


@pytest.mark.parametrize("order", [1, 3])
def test_truth_neighbours_that_share_their_noise_are_told(tmp_path, order):
    (found,) = only(examined(altered(tmp_path, shifted(order, border=False))), "D22")
    assert found.severity == "info" and found.figure < 0.92
    assert "neighbouring pixels" in found.sentence and len(names(found)) == 4


@pytest.mark.parametrize(("knobs", "severity"), [({}, "warn"), (LIGHTS_ALONE, "info")])
def test_truth_borders_that_change_from_frame_to_frame_are_registrations(tmp_path, knobs, severity):
    found = only(examined(altered(tmp_path, shifted(1, border=True), **knobs)), "D22")
    assert [one.severity for one in found] == [severity] and "registered before" in found[0].sentence
    assert 6 <= found[0].figure <= 10, "columns that are empty"


def test_truth_borders_of_the_camera_are_none():
    """The same dead columns in all frames, a frame of zeros, a few zeros of a faint sky."""
    rng = np.random.default_rng(1)
    x = rng.normal(100, 9, (24, 400)).astype(np.float32)
    x[:, :6], x[:, -3:] = 0, np.nan
    assert empty_edges(x) == (6, 3)
    assert empty_edges(np.zeros((24, 400))) == (0, 0)
    assert empty_edges(np.maximum(rng.normal(0, 9, (24, 400)), 0)) == (0, 0)


@pytest.mark.parametrize("level", [3, 30, 3000])
@pytest.mark.parametrize("seed", range(5))
def test_truth_the_noise_of_raw_pixels_is_their_own(level, seed):
    """Whole numbers of any noise, with a gradient, hot pixels and stars."""
    rng = np.random.default_rng(seed)
    x = rng.poisson(level, (24, 1000)) + np.linspace(0, 2 * np.sqrt(level), 1000).astype(int)
    x[rng.random(x.shape) < 0.002] += 5000
    assert shared_noise(x.astype(np.float32)) > 0.95
    smooth = ndimage.uniform_filter1d(x.astype(np.float32), 2, axis=1)
    assert shared_noise(smooth) < 0.8
