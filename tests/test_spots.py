"""Hot pixels and blocks of them that no dark showed are taken out where they outnumber the stars, if these moved."""

import numpy as np
import pytest
from astropy.io import fits
from sky import CALM
from test_hand_drizzle import assert_same_bits

from masterlight.core.process import build
from masterlight.core.workers import Event
from masterlight.doors.hand.align import align_files
from masterlight.doors.hand.steps import by_hand
from masterlight.night.recipe import Recipe
from masterlight.night.run import run
from masterlight.simulate import Night, simulate

KNOBS = CALM | {"rows": 420, "cols": 600, "lights": 5, "biases": 0, "darks": 0, "flats": 0, "nebula_dn": 0}
KNOBS |= {"stars": 14, "hot_fraction": 0.0, "fwhm_px": 3.0, "cosmic_rays": 2.0}
FORTY, SIDE = 40, 4


def block(kind, rng):
    """One block of hot pixels of a height of 1."""
    if kind == "square":
        return np.ones((2, 2))
    image = rng.random((SIDE, SIDE)) * (rng.random((SIDE, SIDE)) < 0.3)
    image[1:3, 1:3] = np.maximum(image[1:3, 1:3], rng.uniform(0.3, 1, (2, 2)))
    return image


def night_of(folder, kind, **knobs):
    """A night without darks, forty hot blocks beside each of its stars; its truth, and which pixels are hot."""
    *_, done = simulate(Night(**KNOBS | knobs), folder)
    rng, hot = np.random.default_rng(3), np.zeros((KNOBS["rows"], KNOBS["cols"]))
    for _ in range(FORTY * KNOBS["stars"]):
        spot, y, x = block(kind, rng), rng.integers(2, KNOBS["rows"] - 8), rng.integers(2, KNOBS["cols"] - 8)
        hot[y : y + len(spot), x : x + len(spot)] += spot * np.exp(rng.uniform(np.log(300), np.log(20000)))
    for path in done.result.paths("light"):
        with fits.open(path, mode="update") as file:
            file[0].data = np.clip(file[0].data + rng.poisson(hot), 0, 65535).astype(np.uint16)
    return done.result, hot


def recipe():
    return build(Recipe, {"workers": "serial"})


def off_px(rows, truth):
    """How far the middle of each light was laid from where it belongs; rows: (source, dx, dy) of each."""
    at = {str(path): pointing.matrix for path, pointing in zip(truth.paths("light"), truth.pointings, strict=True)}
    anchor = next(source for source, dx, dy in rows if dx == dy == 0)
    middle = np.array([(KNOBS["cols"] - 1) / 2, (KNOBS["rows"] - 1) / 2, 1.0])
    right = {source: (at[source] @ np.linalg.inv(at[anchor]) @ middle)[:2] - middle[:2] for source in at}
    return {source: float(np.hypot(*(right[source] - (dx, dy)))) for source, dx, dy in rows}


def test_truth_a_night_of_forty_hot_blocks_beside_each_star_is_laid_by_its_stars(tmp_path):
    truth, hot = night_of(tmp_path / "night", "square")
    events: list[Event] = list(run(tmp_path / "night", tmp_path / "out", recipe()))
    told = [event.message for event in events if "are hot at the same place" in event.message]
    assert len(told) == 1 and "5 lights measured anew" in told[0] and "Darks" in told[0] and len(told[0]) < 300
    used = [row for row in events[-1].result.frames if row.status == "used"]
    assert len(used) >= 4
    off = off_px([(row.path, row.dx_px, row.dy_px) for row in used], truth)
    assert max(off.values()) < 0.3
    assert all(2.4 < row.fwhm_px < 3.6 for row in used)
    assert abs(int(told[0].split()[0]) / np.count_nonzero(hot) - 1) < 0.1
    deep, lights = events[-1].result.lights[0], truth.paths("light")
    list(by_hand("align", lights, tmp_path / "list", reference=deep.reference, transforms_only=True))
    list(by_hand("integrate", lights, tmp_path / "deep.fits", transforms=tmp_path / "list" / "transforms.json"))
    assert_same_bits(tmp_path / "deep.fits", deep.path)


@pytest.mark.parametrize("pattern", ["", "RGGB"])
def test_truth_blocks_of_any_shape_also_debayered_are_left_out_by_hand_too(tmp_path, pattern):
    knobs = {"pattern": pattern, "faintest_dn": 4000.0, "stars": 30} if pattern else {}
    truth, _ = night_of(tmp_path / "night", "odd", **knobs)
    events = list(align_files(recipe(), truth.paths("light"), tmp_path / "out", transforms_only=True))
    rows = events[-1].result.rows
    assert len(rows) >= 4 and not [lost for lost in events[-1].result.failed if lost.code == "SENSOR"]
    assert max(off_px([(row.source, row.dx_px, row.dy_px) for row in rows], truth).values()) < 0.5


def test_truth_spots_of_lights_that_were_not_dithered_may_be_stars_and_stay(tmp_path):
    still = {"dither_px": 0.0, "meridian_flip": False, "rotation_deg": 0.0, "lights": 3}
    night_of(tmp_path / "night", "square", **still)
    told = "\n".join(event.message for event in run(tmp_path / "night", tmp_path / "out", recipe()))
    assert "are hot at the same place" not in told


def test_truth_who_wants_no_hot_pixels_repaired_gets_none(tmp_path):
    night_of(tmp_path / "night", "square", lights=3)
    wanted = build(Recipe, {"workers": "serial", "cosmetic": {"hot": None}})
    told = "\n".join(event.message for event in run(tmp_path / "night", tmp_path / "out", wanted))
    assert "are hot at the same place" not in told
