"""Names, keys and headers of products."""

import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import OutputError, ParameterError
from masterlight.core.frame import Meta
from masterlight.doors.hand.steps import by_hand
from masterlight.io import write
from masterlight.io.raster import write_png
from masterlight.io.whole import OWN, clear_leftovers
from masterlight.night.products import (
    Store,
    header,
    is_intact,
    key,
    key_in,
    refuse_other_page,
    slug,
    with_key,
    write_pictured,
)
from masterlight.night.run import run


def test_names_are_safe_and_readable():
    assert slug("master", "light", "NGC 7000 / Cygnus", "H-alpha", None, "") == "master_light_NGC-7000-Cygnus_H-alpha"
    assert slug("master", "dark", "120s", "-10C") == "master_dark_120s_-10C"
    assert slug("../../etc") == "etc" or "/" not in slug("../../etc")


def test_slug_of_long_headers_is_a_name_that_file_systems_take():
    """OBJECT may be a text of hundreds of letters; two that begin alike stay two."""
    names = [slug("master_light", letter * 400 + end, "L") for letter in "xé月" for end in ("a", "b")]
    assert all(len(f"{name}_drizzle_99.fits".encode()) < 200 for name in names) and len(set(names)) == 6


def test_two_products_never_share_a_path(tmp_path):
    store = Store(tmp_path)
    paths = [store.path("master_light", "M 31", "L") for _ in range(3)]
    assert [p.name for p in paths] == [
        "master_light_M-31_L.fits",
        "master_light_M-31_L_2.fits",
        "master_light_M-31_L_3.fits",
    ]


def made(path, made_of):
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, np.ones((4, 4), np.float32), [("MLKEY", made_of, "")])
    return path


ONE, TWO = "1" * 16, "2" * 16


def test_what_lies_there_already_stays(tmp_path):
    """A second night of the same target, a file of the user's, a picture that nobody knows, an edited result."""
    first = made(tmp_path / "master_light_M31.fits", ONE)
    store = Store(tmp_path)
    assert store.path("master_light", "M31", made_of=TWO).name == "master_light_M31_2.fits"
    assert "of other frames or knobs, stays" in store.notes.pop()
    assert Store(tmp_path).path("master_light", "M31", made_of=ONE) == first, "the same comes out again"
    write(tmp_path / "a.fits", np.ones((4, 4)))
    store = Store(tmp_path, overwrite=True)
    assert store.path("a", made_of=ONE).name == "a_2.fits" and "is not of masterlight" in store.notes.pop()
    assert store.path("master_light", "M31", made_of=TWO) == first and not store.notes, "that is what was asked for"
    (tmp_path / "b.png").write_text("a picture")
    assert Store(tmp_path).path("b", made_of=ONE, beside=(".png",)).name == "b_2.fits"
    content = first.read_bytes()
    first.write_bytes(content[:-1] + b"x")
    store = Store(tmp_path)
    assert store.path("master_light", "M31", made_of=ONE).name == "master_light_M31_2.fits"
    assert "edited or damaged" in store.notes.pop()
    store = Store(tmp_path, overwrite=True)
    assert store.path("master_light", "M31", made_of=TWO).name == "master_light_M31_2.fits", "somebody's work is in it"
    assert "edited or damaged" in store.notes.pop()
    (tmp_path / "report.json").write_text("{}"), (tmp_path / "report_2.json").write_text(f'{{"mlkey": "{TWO}"}}')
    assert Store(tmp_path).path("report", suffix=".json", made_of=TWO).name == "report_2.json"
    assert Store(tmp_path).path("report", suffix=".json", made_of=ONE).name == "report_3.json"
    assert Store(tmp_path, overwrite=True).path("report", suffix=".json", made_of=ONE).name == "report_2.json"


def renewed(path, change):
    """A product edited by astropy, which renews its checksums."""
    with fits.open(path, mode="update") as hdus:
        change(hdus[0])


EDITS = {
    "a plate solution": lambda hdu: hdu.header.update({"CRVAL1": 10.0}),
    "another target": lambda hdu: hdu.header.update({"OBJECT": "M 33"}),
    "a pixel": lambda hdu: hdu.data.__setitem__((1, 2), 5.0),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_product_whose_editor_renewed_its_sums_stays(tmp_path, edit):
    path = tmp_path / "master_light_M31.fits"
    write(path, np.ones((4, 4), np.float32), [("MLKEY", ONE, ""), ("OBJECT", "M 31", "target")], ["made of light"])
    assert is_intact(path) and Store(tmp_path).path("master_light", "M31", made_of=ONE) == path
    renewed(path, EDITS[edit])
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["DATASUM"] and not is_intact(path)
    store = Store(tmp_path)
    assert store.path("master_light", "M31", made_of=ONE).name == "master_light_M31_2.fits"
    assert "was edited or damaged" in store.notes.pop()


def test_pages_and_pictures_of_the_user_stay(tmp_path):
    page = tmp_path / "report.html"
    page.write_bytes(with_key("<!doctype html><body>found</body>", ONE))
    assert Store(tmp_path).path("report", suffix=".html", made_of=ONE) == page
    page.write_bytes(page.read_bytes().replace(b"<body>", b"<body>my notes "))
    assert Store(tmp_path).path("report", suffix=".html", made_of=ONE).name == "report_2.html"
    light = made(tmp_path / "light.fits", ONE)
    write_png(light.with_suffix(".png"), np.zeros((4, 4)), ONE)
    assert Store(tmp_path).path("light", made_of=ONE, beside=(".png",)) == light
    write_png(light.with_suffix(".png"), np.zeros((4, 4)))
    store = Store(tmp_path)
    assert store.path("light", made_of=ONE, beside=(".png",)).name == "light_2.fits"
    assert "light.png is not of masterlight" in store.notes.pop()


def test_two_runs_at_once_never_share_a_path(tmp_path):
    one, two = Store(tmp_path), Store(tmp_path)
    first, second = one.path("master_light", "M31", made_of=ONE), two.path("master_light", "M31", made_of=ONE)
    assert (first.name, second.name) == ("master_light_M31.fits", "master_light_M31_2.fits")
    assert "is being made by another run" in two.notes.pop() and not one.notes
    made(first, ONE)
    assert two.path("master_light", "M31", made_of=TWO).name == "master_light_M31_3.fits"
    one.close()
    assert Store(tmp_path).path("master_light", "M31", made_of=ONE) == first, "it is whole, and can be used again"
    two.close()
    assert os.listdir(tmp_path) == [first.name], "what kept the names is gone"


KILLED = """
import os, sys
from masterlight.night.products import Store
store = Store(sys.argv[1])
store.path("master_light", "M31")
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no locks that end with their process")
def test_a_run_that_was_killed_keeps_no_name(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    left = os.listdir(tmp_path)
    assert len(left) == 1 and left[0].startswith(OWN), "no empty product"
    store = Store(tmp_path)
    assert store.path("master_light", "M31").name == "master_light_M31.fits" and not store.notes
    store.close()
    assert os.listdir(tmp_path) == []
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    clear_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_key_is_found_in_every_product(tmp_path):
    assert key_in(made(tmp_path / "a.fits", ONE)) == ONE
    (tmp_path / "a.html").write_bytes(with_key("<!doctype html>\n<html></html>", TWO))
    assert key_in(tmp_path / "a.html") == TWO
    (tmp_path / "b.html").write_text("<html>of the user</html>")
    assert key_in(tmp_path / "b.html") is key_in(tmp_path) is key_in(tmp_path / "nothing") is None


@pytest.mark.parametrize("out", ["", " "])
def test_an_empty_name_is_no_folder(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="out= is empty"):
        next(run(tmp_path, out))
    with pytest.raises(OutputError, match="out= is empty"):
        refuse_other_page(out)
    with pytest.raises(ParameterError, match="out= is empty"):
        next(by_hand("debayer", tmp_path, out))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        next(run(tmp_path, tmp_path / "file"))
    assert os.listdir(tmp_path) == ["file"]


def test_a_page_takes_the_place_of_pages_alone(tmp_path):
    (tmp_path / "light.fits").write_text("SIMPLE"), (tmp_path / "a.html").write_bytes(with_key("<!doctype html>", ONE))
    refuse_other_page(None), refuse_other_page(str(tmp_path / "a.html")), refuse_other_page(str(tmp_path / "b.html"))
    with pytest.raises(OutputError, match="no page of the doctor"):
        refuse_other_page(str(tmp_path / "light.fits"))


def test_an_image_without_its_picture_is_whole(tmp_path, monkeypatch):
    """A full disk after the image costs the picture alone, and none of an earlier image is left."""

    def full(path, array, made_of):
        raise OutputError(f"{path}: the disk is full")

    (tmp_path / "a.png").write_text("of an earlier image")
    monkeypatch.setattr("masterlight.night.products.write_png", full)
    (told,) = write_pictured(tmp_path / "a.fits", {"IMAGE": np.ones((4, 4))}, [], [], ())
    assert "whole but has no picture" in told and os.listdir(tmp_path) == ["a.fits"]


def test_key_follows_what_a_product_is_made_of(tmp_path):
    path = tmp_path / "dark.fits"
    path.write_bytes(b"1")
    first = key([path], ImageCalibration())
    assert key([path], ImageCalibration()) == first
    assert key([path], ImageCalibration(pedestal_dn=10)) != first
    path.write_bytes(b"12")
    second = key([path], ImageCalibration())
    assert second != first
    os.utime(path, ns=(1, 1))
    assert key([path], ImageCalibration()) != second


def test_bad_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another output folder"):
        Store(tmp_path / "file").path("master")


def test_header_tells_one_exposure_and_the_sum():
    metas = [
        Meta(
            kind="light",
            exposure_s=120.0,
            temperature_c=-10 + i / 10,
            filter="L",
            calibration="BD",
            time=f"2025-01-01T0{i}:00:00",
        )
        for i in range(3)
    ]
    told = {k: v for k, v, _ in header(metas[1].with_(object="M 31", calibration="BDF"), metas, "light")}
    assert told["EXPTIME"] == 120
    assert told["LIVETIME"] == 360
    assert told["NCOMBINE"] == 3
    assert told["CCD-TEMP"] == pytest.approx(-9.9)
    assert told["DATE-OBS"] == "2025-01-01T00:00:00"
    assert told["CALSTAT"] == "BD"
    assert "CALBIAS" not in told
    dark = {k: v for k, v, _ in header(metas[0], metas, "dark")}
    assert dark["IMAGETYP"] == "Master Dark"
    assert dark["CALBIAS"] is True
    assert "OBJECT" not in dark
