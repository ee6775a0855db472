"""Names, keys and headers of products."""

import os

import pytest

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import OutputError
from masterlight.core.frame import Meta
from masterlight.night.products import Store, header, key, slug


def test_names_are_safe_and_readable():
    assert slug("master", "light", "NGC 7000 / Cygnus", "H-alpha", None, "") == "master_light_NGC-7000-Cygnus_H-alpha"
    assert slug("master", "dark", "120s", "-10C") == "master_dark_120s_-10C"
    assert slug("../../etc") == "etc" or "/" not in slug("../../etc")


def test_two_products_never_share_a_path(tmp_path):
    store = Store(tmp_path)
    paths = [store.path("master_light", "M 31", "L") for _ in range(3)]
    assert [p.name for p in paths] == [
        "master_light_M-31_L.fits",
        "master_light_M-31_L_2.fits",
        "master_light_M-31_L_3.fits",
    ]


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
