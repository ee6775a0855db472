"""Any set on one reference: other filters, binnings, sides, programs, sizes and depths of the same field."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sky import CALM, EVEN, written

from masterlight import Recipe, build, run, write
from masterlight.doors.hand.steps import by_hand

FIELD = {"rows": 360, "cols": 480, "lights": 3, "biases": 0, "darks": 0, "flats": 0, "stars": 260, "nebula_dn": 0.0}
FIELD |= {**CALM, **EVEN, "filters": ("L", "Ha"), "meridian_flip": False}


def binned(image):
    return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean(axis=(1, 3))


HALF = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
MIRROR = np.array([[-1.0, 0, 479], [0, 1, 0], [0, 0, 1]])
QUARTER = np.array([[0.0, 1, 0], [-1, 0, 479], [0, 0, 1]])
PART = np.array([[1.0, 0, -60], [0, 1, -40], [0, 0, 1]])
WAYS = {
    "plain": (lambda image: image, np.eye(3), {}),
    "binned": (binned, HALF, {"XBINNING": 2, "YBINNING": 2, "SWCREATE": "MaxIm DL Version 6.20"}),
    "mirrored": (lambda image: image[:, ::-1], MIRROR, {"SWCREATE": "N.I.N.A. 3.1", "FILTER": "O"}),
    "turned": (lambda image: np.rot90(image), QUARTER, {"DATE-OBS": "2019-01-05T20:00:00", "FILTER": "S"}),
    "cut": (lambda image: image[40:330, 60:470], PART, {"INSTRUME": "Another", "EXPTIME": 10.0}),
    "floats": (lambda image: image / 65535, np.eye(3), {"FILTER": "B", "OBJECT": "M 42"}),
    "negative": (lambda image: image - 1500.0, np.eye(3), {"OBJECT": "Trapezium"}),
}
"""How frames of one field are changed, where that puts their pixels, and what their headers say of it."""


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Lights of one field, each in another way; and where each lies on the first light."""
    truth, folder, placed = written(**FIELD), tmp_path_factory.mktemp("any"), {}
    lights = truth.paths("light")
    for number, (name, (change, matrix, cards)) in enumerate(WAYS.items()):
        index = number % len(lights)
        with fits.open(lights[index]) as hdus:
            image = np.ascontiguousarray(change(hdus[0].data.astype(np.float32)), np.float32)
        meta = {
            "IMAGETYP": "Light Frame",
            "EXPTIME": 60.0,
            "FILTER": "L",
            "DATE-OBS": f"2026-01-0{number + 1}T22:00:00",
        }
        write(folder / f"{name}.fits", image, meta | cards)
        placed[name] = matrix @ truth.transform(index)
    return folder, placed


def test_truth_the_verb_lays_any_light_on_any_other(changed, tmp_path):
    folder, placed = changed
    for reference in ("plain", "binned", "turned"):
        there = np.linalg.inv(placed[reference])
        out = tmp_path / reference
        files = sorted(folder.glob("*.fits"))
        *_, last = by_hand("align", files, out, reference=folder / f"{reference}.fits", transforms_only=True)
        assert not last.result.failed and len(last.result.rows) == len(WAYS)
        listed = json.loads((out / "transforms.json").read_text())
        rows, cols = listed["reference"]["shape"]
        corners = np.array([[0, 0, 1], [cols - 1, 0, 1], [0, rows - 1, 1], [cols - 1, rows - 1, 1.0]]).T
        for row in listed["frames"]:
            name = Path(row["file"]).stem
            found, true = np.array(row["transform"]["matrix"]) @ corners, placed[name] @ there @ corners
            off = np.hypot(*(found[:2] / found[2] - true[:2] / true[2])).max()
            assert off < (0.15 if reference != "binned" else 0.3), (reference, name, off)


def test_truth_a_run_lays_all_filters_and_nights_on_one(changed, tmp_path):
    folder, _ = changed
    for name in ("plain", "mirrored", "turned", "floats"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.fits").write_bytes((folder / f"{name}.fits").read_bytes())
        with fits.open(tmp_path / "in" / f"{name}.fits", mode="update") as hdus:
            hdus[0].header["OBJECT"] = "Field"
    recipe = build(Recipe, {"workers": "serial", "reference": "plain.fits"})
    *_, last = run(tmp_path / "in", tmp_path / "out", recipe)
    made = {Path(row.path).stem: row for row in last.result.lights}
    assert len(made) == 4 and {Path(row.reference).name for row in made.values()} == {"plain.fits"}
    assert {fits.getheader(row.path)["NAXIS1"] for row in made.values()} == {480}
