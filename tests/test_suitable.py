"""Which frames can take part: strays among the lights and frames of unclear numbers are left out, they stop nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from clinic import NIGHT
from paper import frames, planned
from sky import written

from masterlight.core.errors import ParameterError
from masterlight.session.planner import plan
from masterlight.session.scan import scan

SILENT = {"camera": None, "exposure_s": None, "filter": None, "gain": None, "offset": None, "temperature_c": None}
FLOATS = {"integer": False, "bits": 32}


@pytest.mark.parametrize(
    "stray",
    [
        {**SILENT, **FLOATS},
        {**SILENT, **FLOATS, "kind": "unknown"},
        {**SILENT, **FLOATS, "shape": (80, 120)},  # a weight map of a drizzled result
        {**SILENT, **FLOATS, "shape": (3, 38, 57)},  # cut, of colour
        {**FLOATS, "object": None, "declared": None},
    ],
)
def test_truth_results_and_maps_without_a_kind_are_left_out(stray):
    kind, changes = stray.get("kind", "light"), {k: v for k, v in stray.items() if k != "kind"}
    maps = frames(kind, 2, **changes)
    found = planned(frames("light", 24, object="M 31", declared="Light Frame"), maps, frames("dark", 5))
    assert [len(job.frames) for job in found.lights] == [24]
    assert [row.source for row in found.rejected] == [one.source for one in maps]


def test_truth_a_picture_of_integers_without_a_header_is_left_out():
    found = planned(frames("light", 24), bare := [without_time(one) for one in frames("unknown", 2, **SILENT)])
    assert [row.source for row in found.rejected] == [one.source for one in bare]
    assert "tells no camera, time or type of frame" in found.rejected[0].reason


def without_time(frame):
    from dataclasses import replace

    return replace(frame, meta=frame.meta.with_(time=None))


def test_truth_lights_that_all_have_bare_headers_are_lights():
    bare = [without_time(one) for one in frames("unknown", 8, **SILENT)]
    assert not planned(bare).rejected
    assert not planned(frames("light", 24, object="M 31"), frames("light", 3, object="M 42", **FLOATS)).rejected


def night_with(tmp_path, kind, count, change, **knobs):
    """A night in which `count` frames of a kind are floats made by `change(pixels)`."""
    folder = tmp_path / "night"
    shutil.copytree(written(**{**NIGHT, **knobs}).folder, folder)
    for path in sorted(folder.rglob(f"{kind}/*.fits"))[:count]:
        with fits.open(path) as hdus:
            header, pixels = hdus[0].header, hdus[0].data.astype(np.float32)
        for name in ("BZERO", "BSCALE"):
            header.remove(name, ignore_missing=True)
        fits.PrimaryHDU(change(pixels).astype(np.float32), header).writeto(path, overwrite=True)
    return folder


def per_second(pixels):
    """Electrons per second, untold: floats that can as well be parts of full scale."""
    return np.random.default_rng(1).normal(0.5, 0.01, pixels.shape)


@pytest.mark.parametrize("kind", ["LIGHT", "DARK"])
def test_truth_one_frame_of_unclear_numbers_is_left_out(tmp_path, kind):
    made = plan(scan(night_with(tmp_path, kind, 1, per_second)))
    (lost,) = made.rejected
    assert f"/{kind}/" in lost.source and "DN or parts of full scale? Both can be" in lost.reason
    assert len(made.lights) == 1 and made.lights[0].sets[0].dark is not None


def test_truth_darks_of_unclear_numbers_stop_the_work_only_where_they_are_used(tmp_path):
    folder = night_with(tmp_path, "DARK", 6, per_second)
    with pytest.raises(ParameterError, match="DN or parts of full scale"):
        plan(scan(folder))
    for path in folder.rglob("DARK/*.fits"):
        with fits.open(path, "update") as hdus:
            for name in ("EXPTIME", "EXPOSURE"):
                hdus[0].header[name] = 7.0
        path.rename(path.with_name(Path(path).name.replace("120.00s", "7.00s")))
    made = plan(scan(folder))
    assert made.lights[0].sets[0].dark is None and not made.rejected
