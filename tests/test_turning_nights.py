"""Nights on a mount without a derotator, where every light is turned against the one before."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from sky import CALM, written

from masterlight import Recipe, SubframeSelector, build, read, run
from masterlight.alignment.transform import Transform
from masterlight.night.placing.reference import shared_turned

TURNING = {"rows": 260, "cols": 340, "lights": 9, "biases": 2, "darks": 2, "flats": 2, "stars": 220, "nebula_dn": 0.0}
TURNING |= {**CALM, "meridian_flip": False, "rotation_deg": 0.0, "turning_deg": 180.0, "dither_px": 6.0}


@pytest.mark.parametrize("frame", ["auto", "min", "union"])
def test_truth_a_field_that_turns_by_half_a_circle(frame, tmp_path):
    truth = written(**TURNING)
    *events, last = run(truth.folder, tmp_path, build(Recipe, {"workers": "serial", "align.frame": frame}))
    told = "\n".join(event.message for event in events)
    (row,) = last.result.lights
    assert not last.result.rejected and "the field turns by " in told and "are panels" not in told
    image = read(row.path)
    rows, cols = image.shape
    assert (rows < 260 and cols < 260) if frame == "min" else rows > 340 if frame == "union" else rows == 260
    lights = [path.name for path in truth.paths("light")]
    at = lights.index(Path(row.reference).name)
    expected, found = truth.expected_stars(at), SubframeSelector().measure(image)[1][:50].xy
    origin = origin_of(told) if frame != "auto" else (0, 0)
    distance, _ = cKDTree(np.stack([expected["x_px"], expected["y_px"]], axis=1)).query(found + origin)
    inside = distance < 3
    assert inside.sum() > 20 and np.median(distance[inside]) < 0.12


def origin_of(told):
    """The first pixel of a result, in those of its reference, as it was told."""
    at = told[told.index("the first of them at (") + len("the first of them at (") :].split(")")[0]
    return np.array([float(number) for number in at.split(",")])


def test_truth_the_middle_of_a_turning_night_has_most_in_common():
    def turned(deg):
        c, s = np.cos(np.radians(deg)), np.sin(np.radians(deg))
        return Transform(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), shape=(400, 600))

    share = shared_turned([turned(deg) for deg in range(0, 81, 10)])
    assert np.argmax(share) == 4 and share[4] > 1.05 * share[0] and share == pytest.approx(share[::-1])
    assert shared_turned([turned(deg) for deg in (0, 180, 0, 180)]) == pytest.approx(1)
    assert shared_turned([turned(0), turned(90)])[0] == pytest.approx((1 + 2 / 3) / 2, abs=0.01)


def test_truth_a_field_that_does_not_turn_is_not_told_of(tmp_path):
    truth = written(**TURNING | {"turning_deg": 0.0, "rotation_deg": 0.05, "lights": 5, "meridian_flip": True})
    assert "the field turns" not in "".join(event.message for event in run(truth.folder, tmp_path))
