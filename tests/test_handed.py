"""What steps by hand hand on: bit by bit, through files, copies and other programs."""

import numpy as np
import pytest
from astropy.io import fits

from masterlight import read
from masterlight.core.errors import FrameError
from masterlight.io import copy_with
from masterlight.io.handed import TABLE, Handed, read_handed, write_handing

ODD = np.array([0.1, np.nextafter(1, 2), -0.0, np.pi * 1e-300])
HANDED = Handed().with_(WEIGHT=1 / 3, GRID=np.arange(12.0).reshape(2, 2, 3) / 7, ODD=ODD, TRANSFORM='{"a": [1, "b"]}')


@pytest.fixture
def path(tmp_path):
    write_handing(tmp_path / "a.fits", np.ones((20, 30), np.float32), {"OBJECT": "M31"}, ["done"], HANDED, False)
    return tmp_path / "a.fits"


def test_truth_what_is_handed_on_comes_back_bit_by_bit(path):
    found = read_handed(path)
    assert found.number("WEIGHT") == 1 / 3 and found.number("NONE") is None
    assert found.words == HANDED.words
    for name, value in HANDED.numbers.items():
        assert found.numbers[name].tobytes() == value.tobytes() and found.numbers[name].dtype == np.float64
    assert found.numbers["GRID"].shape == (2, 2, 3)


def test_authority_astropy_reads_the_table(path):
    with fits.open(path, checksum=True) as hdus:
        row = hdus[TABLE].data[0]
        assert row["WEIGHT"] == 1 / 3 and row["TRANSFORM"] == '{"a": [1, "b"]}'
        assert np.array_equal(row["GRID"], HANDED.numbers["GRID"])


def test_surface_it_is_no_image_and_changes_nothing_else(path):
    frame = read(path)
    assert frame.shape == (20, 30) and frame.meta.notes == () and frame.meta.unused_images == 0


def test_surface_a_copy_keeps_it(path, tmp_path):
    copy_with(path, tmp_path / "b.fits", {"SSWEIGHT": (0.5, "weight")})
    assert read_handed(tmp_path / "b.fits").number("WEIGHT") == 1 / 3


def test_surface_none_takes_away_and_nothing_is_no_table(tmp_path):
    left = HANDED.with_(WEIGHT=None, TRANSFORM=None)
    assert "WEIGHT" not in left.numbers and not left.words
    write_handing(tmp_path / "a.fits", np.ones((20, 30), np.float32), {}, [], Handed(), False)
    with fits.open(tmp_path / "a.fits") as hdus:
        assert len(hdus) == 1
    assert not read_handed(tmp_path / "a.fits") and not read_handed(tmp_path / "a.xisf")


@pytest.mark.parametrize(
    "card", [("TFORM1", "1X"), ("TFORM1", "999999D"), ("NAXIS2", 7), ("TFIELDS", 500), ("NAXIS1", 0)]
)
def test_bad_tables_are_told(path, card):
    with fits.open(path, mode="update", output_verify="ignore") as hdus:
        size = hdus[TABLE]._data_offset
        name, value = card
    content = bytearray(path.read_bytes())
    start = content.find(b"XTENSION= 'BINTABLE'")
    at = content.find(f"{name:8}=".encode(), start)
    assert start > 0 and start < at < size
    content[at : at + 80] = f"{name:8}= {value!r:>20}".ljust(80).encode()
    path.write_bytes(content)
    with pytest.raises(FrameError, match="MASTERLIGHT.*damaged"):
        read_handed(path)
