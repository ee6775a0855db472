"""Copies of FITS files with a number in the header: every other byte of the header and all samples as they were."""

import gzip
import warnings

import numpy as np
import pytest
from astropy.io import fits

from masterlight.core.errors import FrameError, ParameterError
from masterlight.io import copy_with, read

PIXELS = np.random.default_rng(3).integers(0, 60000, (40, 50)).astype(np.uint16)
WEIGHTS = 87.02073502523041, 1.2345678901234567e-05, 1 / 3, 100.0, 1e300 / 3, 5e-324, -2.2250738585072014e-308
KEYWORDS = "SSWEIGHT", "SFSWEIGHT", "A_VERY_LONG_KEYWORD_FOR_A_WEIGHT_OF_A_FRAMES"[:44]


def header():
    head = fits.Header([("OBJECT", "M 31", "target"), ("EXPTIME", 60.0), ("GAIN", 100)])
    head["LONGTEXT"] = "x" * 150
    head["HISTORY"] = "taken at night"
    return head


@pytest.fixture
def original(tmp_path):
    path = tmp_path / "a.fits"
    fits.writeto(path, PIXELS, header(), checksum=True)
    return path


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_authority_astropy_reads_every_bit_of_the_weight(original, tmp_path, keyword, weight):
    """The card is valid, its sums are right, it is there once however often it is set."""
    for value in (1.0, weight):
        copy_with(original, tmp_path / "b.fits", {keyword: (value, "weight of this frame")}, ["by a test"])
        original = tmp_path / "b.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "b.fits", checksum=True) as file:
            file.verify("exception")
            assert file[0].header[keyword] == weight and file[0].header.count(keyword) == 1
            assert file[0].verify_checksum() == file[0].verify_datasum() == 1
            assert np.array_equal(file[0].data, PIXELS) and file[0].header["LONGTEXT"] == "x" * 150
            assert list(file[0].header["HISTORY"]) == ["taken at night", "by a test", "by a test"]
    assert read(tmp_path / "b.fits").header[keyword] == weight


def test_truth_packed_files_and_images_in_extensions(tmp_path):
    plain, packed, behind = tmp_path / "a.fits", tmp_path / "a.fits.fz", tmp_path / "c.fits"
    fits.writeto(plain, PIXELS, header())
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(PIXELS, header())]).writeto(packed)
    table = fits.BinTableHDU(np.array([(1, 2.0)], [("a", int), ("b", float)]))
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(PIXELS, header()), table]).writeto(behind)
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
    for source, target in ((tmp_path / "b.fits.gz", "d.fits"), (packed, "d.fits.fz"), (behind, "e.fits")):
        copy_with(source, tmp_path / target, {"SFSWEIGHT": (1 / 3, "")})
        frame = read(tmp_path / target)
        assert np.array_equal(np.asarray(frame), PIXELS) and frame.header["SFSWEIGHT"] == 1 / 3
        with fits.open(tmp_path / target) as file:
            file.verify("exception")
            assert len(file) == {"d.fits": 1, "d.fits.fz": 2, "e.fits": 4}[target]


def test_truth_letters_that_fits_does_not_know_stay_as_they_are(tmp_path, original):
    """What other programs wrote wrongly is not for a copy to mend, and cannot hide the keyword."""
    content = original.read_bytes().replace(b"'M 31    '", "'M 31 né '".encode("latin-1").ljust(10)[:10])
    original.write_bytes(content)
    copy_with(original, tmp_path / "b.fits", {"SSWEIGHT": (2.0, "")})
    assert "né".encode("latin-1") in (tmp_path / "b.fits").read_bytes()
    assert read(tmp_path / "b.fits").header["SSWEIGHT"] == 2.0


def test_authority_words_and_whole_numbers_are_written_and_cards_taken_out(original, tmp_path):
    cards = {"SSUNITS": ("arcsec,DN", "units"), "SSSTARS": (17, "stars"), "GAIN": (None, ""), "NEVER": (None, "")}
    copy_with(original, tmp_path / "b.fits", cards)
    with fits.open(tmp_path / "b.fits", checksum=True) as file:
        head = file[0].header
        assert head["SSUNITS"] == "arcsec,DN" and head["SSSTARS"] == 17 and type(head["SSSTARS"]) is int
        assert "GAIN" not in head and "NEVER" not in head and file[0].verify_checksum() == 1


def test_bad_copies(tmp_path, original):
    with pytest.raises(ParameterError, match="can be no keyword"):
        copy_with(original, tmp_path / "b.fits", {"K" * 45: (WEIGHTS[-1], "")})
    with pytest.raises(ParameterError, match="can be no keyword"):
        copy_with(original, tmp_path / "b.fits", {"GEWÖHNLICH": (1.0, "")})
    (tmp_path / "c.fits").write_bytes(b"SIMPLE  = nothing")
    with pytest.raises(FrameError):
        copy_with(tmp_path / "c.fits", tmp_path / "b.fits", {"SSWEIGHT": (1.0, "")})
    assert not (tmp_path / "b.fits").exists()
