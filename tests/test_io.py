"""Files: any box of any FITS image, damage told clearly, products whole or not at all."""

import errno
import gzip
import os
import pickle
import socket
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import decode as oracle

from masterlight.core import decode
from masterlight.core.errors import FrameError, OutputError, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import flip_header
from masterlight.io import (
    atomic,
    counts,
    header_cards,
    is_supported,
    read,
    round_to_step,
    scratch,
    suffix,
    whole,
    whole_numbers,
    write,
)
from masterlight.io.defectlist import read_defects
from masterlight.io.fits import hdus, unpack, writer
from masterlight.io.fits import reading as fits_reader
from masterlight.io.raster import write_png

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real observations here")
TYPES = [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]


def image_of(dtype, shape=(37, 53), seed=1):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        image = rng.normal(100, 30, shape).astype(dtype)
        image[..., 3, 4] = np.nan
        return image
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def same(frame, image):
    """Float32 of float64 arithmetic on both sides: equal to the last bit."""
    return np.array_equal(np.asarray(frame), image.astype(np.float64).astype(np.float32), equal_nan=True)


def boxes(rows, cols):
    return [(0, rows, 0, cols), (3, 4, 0, cols), (5, rows, 4, 6), (rows - 1, rows, cols - 1, cols), (2, 9, 1, cols)]


# reading


@given(st.integers(0, 9), st.integers(1, 17), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_oracle_decode(rows, cols, seed, swapped):
    rng = np.random.default_rng(seed)
    out = np.empty((rows, cols), np.float32)
    stored = rng.integers(0, 2**16, (rows, cols), np.uint16)
    decode.decode_int16(stored.view(np.int16), np.float32(32768), np.float32(0.5), swapped, out)
    assert np.array_equal(out, oracle.decode_int16(stored, 32768, 0.5, swapped))
    bits = rng.integers(0, 2**32, (rows, cols), np.uint32)
    infinite = rng.choice(np.float32([np.inf, -np.inf]), bits.shape).view(np.uint32)
    bits = np.where(rng.uniform(size=bits.shape) < 0.2, infinite.byteswap() if swapped else infinite, bits)
    decode.decode_float32(bits, swapped, out.view(np.uint32))
    assert np.array_equal(out, oracle.decode_float32(bits, swapped), equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
def test_truth_what_is_infinite_is_missing(tmp_path, dtype, name):
    """A program divided by 0 there: to later steps it is no light, and no sum may carry it to its neighbours."""
    plane = np.arange(60, dtype=dtype).reshape(6, 10)
    plane[1, 2], plane[3, 4], plane[5, 6] = np.inf, -np.inf, np.nan
    fits.PrimaryHDU(plane).writeto(tmp_path / name)
    expected = np.where(np.isfinite(plane), plane, np.nan).astype(np.float32)
    assert np.array_equal(np.asarray(read(tmp_path / name)), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(37, 53), (3, 11, 300), (1, 9, 8)])
def test_authority_astropy_wrote_it(tmp_path, dtype, shape):
    image = image_of(dtype, shape)
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    frame = read(tmp_path / "a.fits")
    image = image[0] if shape[0] == 1 else image
    assert frame.shape == image.shape and same(frame, image)
    for y0, y1, x0, x1 in boxes(*image.shape[-2:]):
        box = image[..., y0:y1, x0:x1].astype(np.float64).astype(np.float32)
        assert np.array_equal(frame.pixels(y0, y1, x0, x1), box, equal_nan=True)


def test_truth_stored_form_decodes_to_the_pixels(tmp_path):
    image = image_of(np.uint16)
    write(tmp_path / "a.fits", image)
    array, zero, scale, swapped = read(tmp_path / "a.fits").stored(3, 30, 5, 50)
    assert array.dtype == np.int16 and array.flags.c_contiguous and array.flags.writeable
    assert np.array_equal(zero + scale * (array.byteswap() if swapped else array), image[3:30, 5:50])


def test_truth_scaled_and_blank_integers(tmp_path):
    hdu = fits.PrimaryHDU(np.array([[1, 2, -7], [4, 5, 6]], np.int16))
    hdu.header["BLANK"] = -7
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 10.0
    with open(tmp_path / "a.fits", "wb") as file:
        file.write(hdu.header.tostring().encode() + hdu.data.astype(">i2").tobytes().ljust(2880, b"\0"))
    frame = read(tmp_path / "a.fits")
    assert np.array_equal(np.asarray(frame), [[10.5, 11, np.nan], [12, 12.5, 13]], equal_nan=True)
    assert frame.stored(0, 1, 0, 1) is None


def test_truth_bottom_up_is_turned_upright(tmp_path):
    image = image_of(np.uint16, (6, 5))
    header = fits.Header({"ROWORDER": "BOTTOM-UP", "BAYERPAT": "RGGB", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    header.update({"CRVAL1": 10.0, "CRVAL2": 40.0, "CRPIX1": 2.5, "CRPIX2": 1.5})
    matrices = [
        {"CD1_1": -1e-3, "CD1_2": 2e-4, "CD2_1": 2e-4, "CD2_2": 1e-3},
        {"CDELT1": -1e-3, "CDELT2": 1e-3, "CROTA2": 30.0},
        {"CDELT1": -1e-3, "CDELT2": 1e-3, "PC1_1": 0.9, "PC1_2": 0.1, "PC2_1": -0.1},
    ]
    for cards in matrices:
        fits.PrimaryHDU(image, fits.Header([*header.cards, *fits.Header(cards).cards])).writeto(
            tmp_path / "a.fits", overwrite=True
        )
        frame = read(tmp_path / "a.fits")
        assert same(frame, image[::-1]) and np.array_equal(frame[1:3, 2:4], image[::-1][1:3, 2:4])
        stored = frame.stored(1, 3, 0, 5)
        assert np.array_equal(stored.array.byteswap() + 32768.0, image[::-1][1:3])
        assert (frame.meta.pattern, frame.meta.bottom_up) == ("RGGB", True)
        assert (frame.header["ROWORDER"], frame.header["BAYERPAT"]) == ("TOP-DOWN", "RGGB")
        was, now = WCS(fits.getheader(tmp_path / "a.fits")), WCS(frame.header)
        assert np.allclose(was.wcs_pix2world([[1, 2]], 0), now.wcs_pix2world([[1, 6 - 1 - 2]], 0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rows", [6, 7])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("row", [None, "TOP", "STORED"])
def test_truth_what_is_written_of_a_bottom_up_file_has_its_rows(tmp_path, rows, dtype, row):
    """Pixels and pattern lie as in the file that was read, and it reads the same again."""
    image = image_of(dtype, (rows, 5))
    header = {"ROWORDER": "BOTTOM-UP", "BAYERPAT": "GRBG", "XBAYROFF": 1, "BAYERROW": row, "CTYPE1": "RA---TAN"}
    header |= {"CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 40.0, "CRPIX1": 2.5, "CRPIX2": 1.5, "PC2_1": 0.3}
    header |= {"TRIMSEC": "[1:5,1:4]", "OBJECT": "M31"}
    fits.PrimaryHDU(image, fits.Header({k: v for k, v in header.items() if v})).writeto(tmp_path / "a.fits")
    frame = read(tmp_path / "a.fits")
    assert frame.meta.pattern == ("GBRG" if row == "STORED" and rows == 6 else "RGGB")
    write(tmp_path / "b.fits", frame)
    write(tmp_path / "c.fits", whole_numbers(np.nan_to_num(np.asarray(frame))), header_cards(frame), bottom_up=True)
    for name in ("b.fits", "c.fits"):
        again, told = read(tmp_path / name), fits.getheader(tmp_path / name)
        if name == "b.fits":
            assert same(again, np.asarray(frame)) and np.array_equal(
                fits.getdata(tmp_path / name), image, equal_nan=True
            )
        assert (told["ROWORDER"], told["BAYERPAT"], told.get("BAYERROW")) == ("BOTTOM-UP", "RGGB", row)
        assert (again.meta.pattern, again.meta.data_px) == (frame.meta.pattern, frame.meta.data_px)
        assert told["TRIMSEC"] == "[1:5,1:4]" and told["OBJECT"] == "M31"
        was, now = WCS(fits.getheader(tmp_path / "a.fits")), WCS(told)
        assert np.allclose(was.wcs_pix2world([[1, 2]], 0), now.wcs_pix2world([[1, 2]], 0), rtol=0, atol=1e-12)
        turned = WCS(again.header).wcs_pix2world([[1, rows - 1 - 2]], 0)
        assert np.allclose(was.wcs_pix2world([[1, 2]], 0), turned, rtol=0, atol=1e-9)


TURNED = {"CDELT1": -1e-3, "CDELT2": 2e-3}
FORMS = {
    "nothing": {}, "scales": TURNED, "rotation": TURNED | {"CROTA2": 30.0}, "both rotations": TURNED | {"CROTA1": 30.0},
    "PC off the diagonal": TURNED | {"PC1_2": 1.0, "PC2_1": -1.0}, "PC1_2 alone": TURNED | {"PC1_2": 0.3},
    "PC2_1 alone": TURNED | {"PC2_1": 0.3}, "PC on the diagonal": TURNED | {"PC1_1": 0.5},
    "all of PC": TURNED | {"PC1_1": 0.9, "PC1_2": 0.1, "PC2_1": -0.1, "PC2_2": 0.8},
    "PC without scales": {"PC2_1": 0.5},
    "PC of old": TURNED | {"PC001002": 0.5, "PC002001": -0.5},
    "CD": {"CD1_1": -1e-3, "CD1_2": 2e-4, "CD2_1": 2e-4, "CD2_2": 1e-3},
    "CD off the diagonal": {"CD1_2": 1e-3, "CD2_1": 1e-3},
    "CD and what it overrules": {"CD1_1": -1e-3, "CD1_2": 2e-4, "CD2_1": 2e-4, "CD2_2": 1e-3, "CROTA2": 9.0} | TURNED,
    "TPV": {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.01, "PV2_1": 0.99, "PV1_4": 0.02, "PV2_5": 0.03}
    | {"CD1_1": -1e-3, "CD1_2": 2e-4, "CD2_1": 2e-4, "CD2_2": 1e-3},
    "SIP": {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5}
    | {"A_1_1": 2e-5, "A_0_2": -1e-5, "B_2_0": 3e-5, "B_1_1": -2e-5, "B_0_2": 1e-5, "PC1_2": 0.1} | TURNED,
    "one beside it": TURNED | {f"{key}A": value for key, value in {
        "CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 20.0, "CRVAL2": 3.0, "CRPIX2": 8.0, "PC1_2": 0.2,
        "CDELT1": 1e-3, "CDELT2": 1e-3}.items()},
}  # fmt: skip
"""A WCS in all ways in which headers tell it, CTYPE, CRVAL and CRPIX left out."""


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [fits.Header, dict])
def test_authority_a_wcs_is_turned_with_its_rows(form, kind):
    """astropy finds every pixel where it was: CDELTi and PCi_i that are not told are 1, all else that is not is 0."""
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 40.0, "CRPIX1": 50.0} | FORMS[form]
    cards |= {} if form == "nothing" else {"CRPIX2": 30.0}
    turned = flip_header(kind(cards), 70)
    xy = np.array([[40.0, 35.0], [50.0, 25.0], [52.0, 31.0], [45.5, 29.0]])
    for letter in " A" if "CTYPE1A" in cards else " ":
        was, now = (WCS(fits.Header(header), key=letter) for header in (cards, turned))
        expected = was.all_pix2world(xy, 0)
        assert np.ptp(expected[:, 1]) > 1e-3, "the four pixels are four places"
        got = now.all_pix2world(np.column_stack([xy[:, 0], 69 - xy[:, 1]]), 0)
        assert np.allclose(got, expected, rtol=0, atol=1e-9)
        again = WCS(fits.Header(flip_header(turned.copy(), 70)), key=letter)
        assert np.allclose(again.all_pix2world(xy, 0), expected, rtol=0, atol=1e-9)


def test_truth_a_header_without_a_wcs_gets_none():
    assert flip_header({"ROWORDER": "BOTTOM-UP", "EXPTIME": 5.0}, 70) == {"ROWORDER": "TOP-DOWN", "EXPTIME": 5.0}


def test_truth_image_in_an_extension_inherits_the_primary(tmp_path):
    image = image_of(np.float32)
    primary = fits.PrimaryHDU(header=fits.Header({"OBJECT": "M31", "FILTER": "Ha"}))
    table = fits.table_to_hdu(Table({"a": np.arange(5000)}))
    fits.HDUList([primary, table, fits.ImageHDU(image, fits.Header({"FILTER": "OIII"}))]).writeto(tmp_path / "a.fits")
    frame = read(tmp_path / "a.fits")
    assert same(frame, image) and (frame.meta.object, frame.meta.filter) == ("M31", "OIII")
    assert frame.header["OBJECT"] == "M31"


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_truth_compressed_files(tmp_path, dtype):
    image = image_of(dtype)
    write(tmp_path / "a.fits", image, {"EXPTIME": 5.0})
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    kind = (
        {"quantize_level": 0, "compression_type": "GZIP_1"} if dtype == np.float32 else {"compression_type": "RICE_1"}
    )
    tiles = fits.CompImageHDU(image, fits.Header({"EXPTIME": 5.0}), **kind)
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(tmp_path / "a.fits.fz")
    for name in ("a.fits.gz", "a.fits.fz"):
        frame = pickle.loads(pickle.dumps(read(tmp_path / name)))
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda y, f=frame: f[y : y + 1], range(37)))
        assert np.array_equal(np.concatenate(parts), image, equal_nan=True)
        assert frame.meta.exposure_s == frame.header["EXPTIME"] == 5.0 and "ZIMAGE" not in frame.header


def test_truth_compressed_file_needs_room(tmp_path, monkeypatch):
    write(tmp_path / "a.fits", image_of(np.uint16))
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutputError, match="TMPDIR"):
        read(tmp_path / "a.fits.gz")[0:1]


def damaged(**changes):
    cards = {"SIMPLE": "T", "BITPIX": "16", "NAXIS": "2", "NAXIS1": "40", "NAXIS2": "50"} | changes
    text = "".join(f"{k:8}= {v:>20}".ljust(80) for k, v in cards.items() if v is not None) + "END".ljust(80)
    return text.ljust(2880).encode() + bytes(5760)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty"),
        (b"II*\0 a tiff", "not a FITS file"),
        (damaged()[:4880], r"truncated: 4,880 of 6,880 bytes; copy it again from the camera card"),
        (damaged()[:200], "no END"),
        (damaged().replace(b"END", b"ENX"), "no END"),
        (damaged(BITPIX="17"), "BITPIX"),
        (damaged(BITPIX="'x'"), "BITPIX"),
        (damaged(BITPIX="16.0", NAXIS="'2'", NAXIS1="-3"), "without size"),
        (damaged(BZERO="'abc'"), "BZERO is 'abc'"),
        (damaged(BZERO="NaN"), "BZERO is 'NaN'"),
        (damaged(BSCALE="1e400"), "BSCALE is '1e400'"),
        (damaged(BSCALE="0"), "BSCALE"),
        (damaged(NAXIS1="0"), "without size"),
        (damaged(NAXIS2=None), "without size"),
        (damaged(NAXIS="3", NAXIS3="7"), "cube"),
        (damaged(NAXIS="0", NAXIS1=None, NAXIS2=None), "no image"),
        (damaged(NAXIS="1", NAXIS2=None), "no image"),
        (b"\x1f\x8bgarbage", "cannot be read|damaged"),
        (gzip.compress(damaged(), mtime=0)[:-30], None),
    ],
)
def test_truth_damage_is_told(tmp_path, content, reason):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(FrameError, match=reason or "copy") as error:
        np.asarray(read(path))
    assert str(path) in str(error.value)


def test_truth_a_file_that_shrinks_after_it_was_opened(tmp_path):
    write(tmp_path / "a.fits", image_of(np.uint16, (50, 400)))
    frame = read(tmp_path / "a.fits")
    os.truncate(tmp_path / "a.fits", 9000)
    with pytest.raises(FrameError, match="has changed"):
        np.asarray(frame)
    os.unlink(tmp_path / "a.fits")
    with pytest.raises(FrameError, match="no such file"):
        np.asarray(frame)


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.xisf", "a.cr2", "a.lst"])
def test_truth_only_files_are_opened(tmp_path, name):
    """A pipe would wait for ever for somebody to write into it; a device has no end."""
    path = tmp_path / name
    opened = read if is_supported(path) else lambda path: read_defects(path, (9, 9))
    with socket.socket(socket.AF_UNIX) as server:
        made = {
            "a named pipe": lambda: os.mkfifo(path), "a folder": path.mkdir, "a socket": lambda: server.bind(str(path)),
            "a device": lambda: path.symlink_to("/dev/zero"), "leads nowhere": lambda: path.symlink_to("nothing"),
            "link to a": lambda: path.symlink_to(name),
        }  # fmt: skip
        for reason, make in made.items():
            make()
            with pytest.raises(FrameError, match=reason):
                opened(path)
            path.rmdir() if path.is_dir() else path.unlink()


def test_truth_a_file_that_became_a_pipe_is_not_waited_for(tmp_path):
    write(tmp_path / "a.fits", image_of(np.uint16))
    frame = read(tmp_path / "a.fits")
    os.unlink(tmp_path / "a.fits")
    os.mkfifo(tmp_path / "a.fits")
    for look in (np.asarray, lambda frame: frame.stored(0, 1, 0, 1)):
        with pytest.raises(FrameError, match="named pipe"):
            look(frame)


def test_truth_a_gzip_archive_is_unpacked_as_far_as_its_image_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(hdus, "MOST_BEFORE_BYTES", 1 << 22)
    monkeypatch.setattr(unpack, "MOST_BEFORE_BYTES", 1 << 22)
    image = image_of(np.uint16, (50, 400))
    write(tmp_path / "a.fits", image)
    content = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(content + bytes(1 << 26), mtime=0))
    frame = read(tmp_path / "b.fits.gz")
    assert np.array_equal(np.asarray(frame), image)
    with frame.plain_file() as twin:
        assert os.fstat(twin.fileno()).st_size == frame.layout.end_bytes
    huge = damaged(NAXIS1="60000", NAXIS2="60000")
    (tmp_path / "c.fits.gz").write_bytes(gzip.compress(huge, mtime=0))
    with pytest.raises(FrameError, match="cannot hold"):
        read(tmp_path / "c.fits.gz")
    (tmp_path / "e.fits.gz").write_bytes(
        gzip.compress(damaged(NAXIS1="1000", NAXIS2="2000") + np.random.default_rng(1).bytes(99999))
    )
    with pytest.raises(FrameError, match="truncated"):
        read(tmp_path / "e.fits.gz")
    with open(tmp_path / "holes.fits", "wb") as file:
        file.write(huge[:2880])
        file.truncate(2880 + 60000 * 60000 * 2)
    with pytest.raises(FrameError, match="cannot hold"):
        read(tmp_path / "holes.fits")
    late = damaged(NAXIS="1", NAXIS1=str(1 << 24), NAXIS2=None)[:2880] + bytes(1 << 25)
    (tmp_path / "d.fits.gz").write_bytes(gzip.compress(late, mtime=0))
    with pytest.raises(FrameError, match="too late"):
        read(tmp_path / "d.fits.gz")


def test_truth_no_room_costs_an_absurd_frame_and_ends_the_run_for_others(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    for name, image, error in (
        ("a", image_of(np.uint16, (50, 400)), OutputError), ("b", np.zeros((900, 900), np.uint16), FrameError),
    ):  # fmt: skip
        write(tmp_path / "a.fits", image)
        (tmp_path / f"{name}.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
        with pytest.raises(error, match=r"no room to unpack it .*: it takes \d MB, 0 are free"):
            np.asarray(read(tmp_path / f"{name}.fits.gz"))


def test_truth_reading_raises_frame_errors_alone(tmp_path, monkeypatch):
    write(tmp_path / "a.fits", image_of(np.uint16))
    frame = read(tmp_path / "a.fits")
    for error in (
        KeyError("x"),
        MemoryError(),
        RecursionError("deep"),
        UnicodeError("odd"),
        IndexError(),
        LookupError(),
    ):

        def fail(*args, error=error):
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(fits_reader, "image_and_planes", fail)
            patched.setattr(type(frame), "rows_of", fail)
            for look in (lambda: read(tmp_path / "a.fits"), frame.__array__, lambda: frame.stored(0, 1, 0, 1)):
                with pytest.raises(FrameError, match="damaged") as told:
                    look()
                assert told.value.source == str(tmp_path / "a.fits")


def test_truth_messages_are_one_line_that_harms_no_terminal():
    error = FrameError("a\x1b[2Jb\n" + "c" * 400, "odd\x07 " + "word " * 200 + "; copy it again")
    assert str(error).isprintable() and len(str(error)) <= 300 and str(error).endswith("copy it again")
    assert "\\x1b[2J" in str(error) and "odd\\x07" in str(error) and error.source.startswith("a\x1b")


def test_truth_other_formats_are_named(tmp_path):
    for name, words in [("a.xisf", "not an XISF file"), ("a.txt", "convert it to FITS .*, XISF, TIFF or camera raw")]:
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(FrameError, match=words):
            read(tmp_path / name)
    with pytest.raises(FrameError, match="no such file"):
        read(tmp_path / "none.txt")
    assert is_supported("x/A.FIT.GZ") and is_supported("IMG_1.CR2") and not is_supported("a.png")


# writing


@pytest.mark.parametrize("dtype", TYPES)
def test_authority_astropy_reads_it_with_checksums(tmp_path, dtype):
    image = image_of(dtype, (3, 31, 29))
    planes = {"IMAGE": image, "VARIANCE": image[0], "REJ": image[1], "TABLE": Table({"x": [1, 2], "name": ["a", "b"]})}
    write(
        tmp_path / "a.fits", planes | {"RECIPE": "sigma = 3 °C\n[x]"}, {"OBJECT": "M31"}, ["one\ntwo"], compress={"REJ"}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
            hdus.verify("exception")
            assert [h.name for h in hdus] == ["IMAGE", "VARIANCE", "REJ", "TABLE", "RECIPE"]
            for number, part in enumerate((image, image[0], image[1])):
                assert np.array_equal(hdus[number].data, part, equal_nan=dtype in (np.float32, np.float64))
            assert list(hdus[3].data["x"]) == [1, 2] and hdus[4].data["TEXT"][1] == "[x]"
            assert hdus[0].header["OBJECT"] == "M31" and list(hdus[0].header["HISTORY"]) == ["one", "two"]
    with fits.open(tmp_path / "a.fits", disable_image_compression=True) as hdus:
        assert all("CHECKSUM" in h.header and "DATASUM" in h.header for h in hdus)


def test_authority_whole_numbers_are_counted_and_missing_pixels_blank(tmp_path):
    """astropy gives unsigned numbers by default and then minds no BLANK: it must not see light where a pixel lacks."""
    plane = np.array([[-103.4, -0.4, 0, 1, 499.6, 65535, 70000, np.inf, np.nan]], np.float32).repeat(2, 0)
    made = whole_numbers(plane)
    assert made.cut == (2, 4, 2, 4) and "2 below 0 became 1, 4 above 65535 became 65535" in made.cut.sentence()
    write(tmp_path / "a.fits", made)
    expected = np.float32([1, 1, 1, 1, 500, 65535, 65535, 65535, np.nan])
    assert np.array_equal(np.asarray(read(tmp_path / "a.fits"))[0], expected, equal_nan=True)
    with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
        assert hdus[0].data.dtype == np.uint16 and np.array_equal(hdus[0].data[0], np.nan_to_num(expected))
    with fits.open(tmp_path / "a.fits", uint=False) as hdus:
        assert np.array_equal(hdus[0].data[0], expected, equal_nan=True)
    without = whole_numbers(plane[:, 1:6])
    assert (
        without.cut == (0, 0, 0, 0) and not without.cut.sentence() and list(without.array[0]) == [0, 0, 1, 500, 65535]
    )
    write(tmp_path / "b.fits", without)
    assert "BLANK" not in fits.getheader(tmp_path / "b.fits"), "0 is 0 where nothing lacks"


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([np.uint8, np.uint16, np.float32]), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_oracle_checksum(rows, cols, dtype, seed):
    flat = image_of(dtype, (rows + 3, cols + 4), seed).reshape(-1)
    hdu = fits.ImageHDU(flat if dtype != np.uint16 else flat.view(np.int16))
    hdu.add_datasum()
    assert writer.words_sum(flat) == int(hdu.header["DATASUM"])


def test_truth_odd_header_values_are_no_obstacle(tmp_path):
    header = {"A": None, "B": np.nan, "C": np.float32(2.5), "D": "20 °C", "BZERO": 5, "NAXIS": 9, "LONGKEYWORD": 1}
    write(tmp_path / "a.fits", np.zeros((4, 4)), header | {"E": "x" * 200, "F": [1, 2], "CHECKSUM": "old"})
    got = fits.getheader(tmp_path / "a.fits")
    assert (got["C"], got["D"], got["E"], got["LONGKEYWORD"]) == (2.5, "20 degC", "x" * 200, 1)
    assert "A" not in got and "B" not in got and "BZERO" not in got and got["NAXIS"] == 2


def test_truth_a_frame_keeps_its_header_and_cards(tmp_path):
    write(tmp_path / "a.fits", image_of(np.uint16), [("EXPTIME", 60.0, "seconds"), ("HISTORY", "old", "")])
    frame = read(tmp_path / "a.fits")
    write(tmp_path / "b.fits", frame)
    assert fits.getheader(tmp_path / "b.fits")["EXPTIME"] == 60 and same(read(tmp_path / "b.fits"), np.asarray(frame))
    made = ArrayFrame.of(np.ones((3, 3)), meta=Meta(), cards=('{"X": {}}',))
    write(tmp_path / "c.fits", made)
    assert fits.getheader(tmp_path / "c.fits")["HISTORY"][0] == '{"X": {}}'


def test_truth_nothing_half_written_is_left(tmp_path, monkeypatch):
    write(tmp_path / "a.fits", np.ones((4, 4)))
    before = (tmp_path / "a.fits").read_bytes()
    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):

        def fail(file, data, error=error):
            FileIO.write(file, b"half")
            raise error

        monkeypatch.setattr(whole.WholeFile, "write", fail)
        with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt) as told:
            write(tmp_path / "a.fits", np.zeros((4, 4)))
        if isinstance(error, OSError):
            assert "disk is full" in str(told.value)
        assert os.listdir(tmp_path) == ["a.fits"] and (tmp_path / "a.fits").read_bytes() == before


def test_truth_where_one_cannot_write(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        write(tmp_path / "no" / "a.fits", np.ones((2, 2)))
    with pytest.raises(ParameterError, match=r"\.fits"):
        write(tmp_path / "a.tiff", np.ones((2, 2)))
    if os.geteuid():
        os.chmod(tmp_path, 0o500)
        with pytest.raises(OutputError, match="permission"):
            write(tmp_path / "a.fits", np.ones((2, 2)))
    with pytest.raises(ValueError), atomic(tmp_path / "a.txt"):
        raise ValueError


# pictures


def test_truth_png(tmp_path):
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 255, (3, 8, 9), np.uint8)
    write_png(tmp_path / "a.png", picture)
    assert np.array_equal(np.moveaxis(np.asarray(Image.open(tmp_path / "a.png")), -1, 0), picture)
    write_png(tmp_path / "b.png", picture[0])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), picture[0])


# real files


@real
def test_authority_real_files_as_astropy_reads_them():
    paths = sorted(p for p in DATA.rglob("*") if suffix(p, (".fits", ".fit", ".fit.gz", ".fits.fz")))
    assert len(paths) > 30
    for path in paths:
        with fits.open(path) as hdus:
            hdu = next(h for h in hdus if h.data is not None)
            assert np.array_equal(np.asarray(read(path)), np.squeeze(hdu.data).astype(np.float32)), path


def test_truth_scaled_planes_read_as_their_values(tmp_path):
    """Counts read as fractions; a rounded plane keeps NaN and departs by half a step at most."""
    path = tmp_path / "stack.fits"
    low = np.array([[0, 1], [5, 10]], np.uint16)
    variance = np.array([[1.0, np.nan], [3.33, 1e9]], np.float32)
    write(
        path, {"IMAGE": np.zeros((2, 2), np.float32), "LOW": counts(low, 10), "VARIANCE": round_to_step(variance, 0.25)}
    )
    with fits.open(path, checksum=True) as hdus:
        assert np.allclose(hdus["LOW"].data, low / 10)
        read_back = hdus["VARIANCE"].data
    assert np.isnan(read_back[0, 1])
    assert np.allclose(read_back[[0, 1], [0, 0]], [1.0, 3.33], atol=0.125)
    assert read_back[1, 1] == 2**30 * 0.25  # too bright for the step: the largest value that fits, not a wrapped one


def test_truth_masked_pixels_are_missing_in_what_is_written(tmp_path):
    pixels = np.ma.masked_greater(np.arange(600, dtype=np.int32).reshape(20, 30), 500)
    write(tmp_path / "a.fits", pixels)
    found = np.asarray(read(tmp_path / "a.fits"))
    assert np.array_equal(np.isnan(found), pixels.mask) and np.array_equal(found[~pixels.mask], pixels.compressed())


@pytest.mark.parametrize("odd", [None, np.zeros((0, 5)), np.zeros(5), np.full((4, 4), "a"), np.zeros((4, 4), complex)])
def test_bad_arrays_are_no_images(tmp_path, odd):
    with pytest.raises(ParameterError, match="an image is"):
        write(tmp_path / "a.fits", odd)
    assert not list(tmp_path.iterdir())
