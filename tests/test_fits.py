"""FITS files of every build: what cannot be is refused in a sentence, masks and units are kept."""

import gzip
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from masterlight.core.errors import FrameError
from masterlight.io import read, read_plane, table_rows, write

IMAGE = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def cards(**changes: str | None) -> bytes:
    """The header of an image of 40 x 50 pixels, cards as they are spelled here; None leaves one out."""
    rows = {"SIMPLE": "T", "BITPIX": "16", "NAXIS": "2", "NAXIS1": "50", "NAXIS2": "40"} | changes
    text = (
        "".join(f"{key:8}= {value:>20}".ljust(80) for key, value in rows.items() if value is not None) + f"{'END':80}"
    )
    return text.encode() + b" " * (-len(text) % 2880)


REFUSED = {
    "NAXIS 1000": (cards(NAXIS="1000"), "NAXIS"),
    "NAXIS huge": (cards(NAXIS="1E30"), "NAXIS"),
    "NAXIS negative": (cards(NAXIS="-1"), "NAXIS"),
    "NAXIS broken": (cards(NAXIS="2.5"), "NAXIS"),
    "NAXIS missing": (cards(NAXIS=None), "NAXIS"),
    "axes of 999": (cards(NAXIS="999", **{f"NAXIS{i}": "2" for i in range(3, 1000)}), "cube"),
    "axis negative": (cards(NAXIS1="-5"), "size"),
    "axis zero": (cards(NAXIS2="0"), "size"),
    "axis text": (cards(NAXIS2="'x'"), "size"),
    "axes beyond all": (cards(NAXIS1="9" * 30, NAXIS2="9" * 30), "size"),
    "60,000 x 60,000": (cards(NAXIS1="60000", NAXIS2="60000") + bytes(2880), "truncated: 5,760 of 7,200,002,880"),
    "BITPIX 24": (cards(BITPIX="24"), "BITPIX"),
    "BITPIX NaN": (cards(BITPIX="NaN"), "BITPIX"),
    "BSCALE 1E300": (cards(BSCALE="1E300"), "BSCALE"),
    "a table without axes": (
        cards(NAXIS="0", NAXIS1=None, NAXIS2=None)
        + cards(SIMPLE="'BINTABLE'", PCOUNT="1E30", NAXIS1="'x'").replace(b"SIMPLE  ", b"XTENSION"),
        "NAXIS1",
    ),
    "no end": (cards()[:400] + b" " * 2880 * 3000, "no END"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_truth_what_cannot_be_is_refused_at_once(tmp_path, name):
    content, reason = REFUSED[name]
    (tmp_path / "a.fits").write_bytes(content)
    began = time.process_time()
    with pytest.raises(FrameError, match=reason) as told:
        read(tmp_path / "a.fits")
    assert time.process_time() - began < 0.1 and len(told.value.reason) < 200


def tiled(path, data=IMAGE, **header):
    hdu = fits.CompImageHDU(data.astype(np.int32), compression_type="RICE_1")
    hdu.header.update(header)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("key", "value"),
    [("ZNAXIS", None), ("ZNAXIS1", None), ("ZBITPIX", None), ("ZCMPTYPE", None), ("ZBITPIX", "17"), ("TFIELDS", "1E12"),
     ("ZTILE1", "0"), ("ZTILE2", "1E12"), ("ZNAXIS1", "60000000"), ("ZVAL1", "1E9"), ("NAXIS2", "999999")],
)  # fmt: skip
def test_truth_tiles_that_cannot_be(tmp_path, key, value):
    content = bytearray(tiled(tmp_path / "a.fits").read_bytes())
    place = content.index(f"{key:8}=".encode(), 2880)
    content[place : place + 80] = (f"{key:8}= {value:>20}" if value else "COMMENT gone").ljust(80).encode()
    (tmp_path / "a.fits").write_bytes(content)
    with pytest.raises(FrameError) as told:
        np.asarray(read(tmp_path / "a.fits"))
    assert len(told.value.reason) < 250


def test_truth_tiles_are_unpacked_whatever_else_the_header_holds(tmp_path):
    path = tiled(tmp_path / "a.fits", OBSERVER="X" * 12, OBJECT="M31")
    content = path.read_bytes().replace(b"'XXXXXXXXXXXX'", b"'Zo\xeb'".ljust(14))
    path.write_bytes(content.replace(b"OBJECT  = 'M31     '", b"OBJECT  = NaN       "))
    frame = read(path)
    assert np.array_equal(np.asarray(frame), IMAGE) and frame.header["OBSERVER"] == "Zoe" and frame.meta.object is None


def test_truth_blank(tmp_path):
    """BLANK in plain and packed files, of unsigned integers, and one that no pixel can have."""
    stored = IMAGE.astype(np.int32)
    stored[3:6, 7:9] = -99
    assert np.isnan(np.asarray(read(tiled(tmp_path / "a.fits", stored, BLANK=-99)))).sum() == 6
    head = dict(BZERO="32768", BSCALE="1")
    shifted = (IMAGE ^ 0x8000).astype(">i2")
    shifted[2, 2:5] = np.int16(-32768)
    for blank, missing in (("-32768", 4), ("-9223372036854775808", 0), ("1E30", 0)):  # pixel 0 of the image is 0 too
        (tmp_path / "b.fits").write_bytes(cards(BLANK=blank, **head) + shifted.tobytes().ljust(5760, b"\0"))
        frame = read(tmp_path / "b.fits")
        assert np.isnan(np.asarray(frame)).sum() == missing and (frame.stored(0, 1, 0, 1) is None) == bool(missing)


def test_truth_a_header_that_claims_much_and_a_small_gzip(tmp_path):
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(cards(NAXIS1="60000", NAXIS2="60000") + bytes(99)))
    with pytest.raises(FrameError, match="damaged|truncated"):
        np.asarray(read(tmp_path / "a.fits.gz"))


# --- planes and units -------------------------------------------------------------------------------------------------


def ccd_data(path, unit="electron/s", **own):
    mask = np.zeros(IMAGE.shape, bool)
    mask[5:8, 10:12] = True
    data = IMAGE.astype(np.float32)
    data[mask] = 1e6
    CCDData(data, unit=unit, mask=mask, uncertainty=StdDevUncertainty(data), **own).write(path)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_authority_the_mask_of_ccddata_means_missing_pixels(tmp_path, packed):
    path = ccd_data(tmp_path / "a.fits", meta={"ROWORDER": "BOTTOM-UP"})
    if packed:
        (tmp_path / "a.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "a.fits.gz"
    frame = read(path)
    want = IMAGE.astype(np.float32)
    want[5:8, 10:12] = np.nan
    assert np.array_equal(np.asarray(frame), want[::-1], equal_nan=True)
    assert np.array_equal(frame.pixels(31, 36, 9, 13), want[::-1][31:36, 9:13], equal_nan=True)
    assert {"its plane UNCERT is not used", "pixels that its plane MASK marks are missing"} <= {*frame.meta.notes}
    assert frame.stored(0, 1, 0, 1) is None
    write(tmp_path / "b.fits", frame)
    assert np.isnan(np.asarray(read(tmp_path / "b.fits"))).sum() == 6
    assert read(tmp_path / "b.fits").meta.unit == "electron/s"


def test_truth_masks_packed_as_tiles_and_of_another_size(tmp_path):
    mask = (IMAGE % 7 == 0).astype(np.uint8)
    packed = fits.CompImageHDU(mask, name="MASK", compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(IMAGE), packed]).writeto(tmp_path / "a.fits")
    assert np.array_equal(np.isnan(np.asarray(read(tmp_path / "a.fits"))), mask == 1)
    fits.HDUList([fits.PrimaryHDU(IMAGE), fits.ImageHDU(mask[:9], name="mask")]).writeto(tmp_path / "b.fits")
    frame = read(tmp_path / "b.fits")
    assert np.array_equal(np.asarray(frame), IMAGE) and "another size" in frame.meta.notes[0]


@pytest.mark.parametrize("packed", [False, True])
def test_truth_a_mask_of_bits_takes_no_pixels(tmp_path, packed):
    """As in the exposures of LSST, where the bit DETECTED marks every star."""
    bits = np.where(IMAGE > np.median(IMAGE), 32, 0).astype(np.int32)
    kind = fits.CompImageHDU if packed else fits.ImageHDU
    fits.HDUList([fits.PrimaryHDU(), kind(IMAGE, name="IMAGE"), kind(bits, name="MASK")]).writeto(tmp_path / "a.fits")
    frame = read(tmp_path / "a.fits")
    assert np.array_equal(np.asarray(frame), IMAGE) and frame.stored(0, 1, 0, 1) is not None
    assert frame.meta.notes == ("its plane MASK holds bits, not flags, and is not used",)


UNPACK_WITHOUT_ROOM = """
import resource, sys
from masterlight.io import read
frame = read(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    frame.pixels(0, 1, 0, 1)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_truth_a_full_disk_is_no_damage_of_a_file_that_is_unpacked_apart(tmp_path):
    pytest.importorskip("resource")
    image = np.random.default_rng(1).normal(1000, 9, (200, 300)).astype(np.int32)
    hdu = fits.CompImageHDU(image, compression_type="HCOMPRESS_1", tile_shape=(100, 300))
    hdu.writeto(tmp_path / "a.fits.fz")
    assert np.array_equal(np.asarray(read(tmp_path / "a.fits.fz")), image)
    words = [sys.executable, "-c", UNPACK_WITHOUT_ROOM, tmp_path / "a.fits.fz", "9999"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert told.startswith("OutputError") and "no room to unpack it" in told


def test_truth_what_follows_an_image_does_no_harm(tmp_path):
    fits.PrimaryHDU(IMAGE).writeto(tmp_path / "a.fits")
    plain = (tmp_path / "a.fits").read_bytes()
    for more in (b"junk" * 999, b"XTENSION= 'IMAGE   '".ljust(80) + f"{'END':80}".encode().ljust(2800), bytes(2880)):
        (tmp_path / "a.fits").write_bytes(plain + more)
        assert np.array_equal(np.asarray(read(tmp_path / "a.fits")), IMAGE)


def test_truth_planes_and_tables_by_name(tmp_path):
    from astropy.table import Table

    write(tmp_path / "a.fits", {"IMAGE": IMAGE, "VARIANCE": IMAGE * np.float32(2), "FRAMES": Table({"x": [1, 2, 3]})})
    assert np.array_equal(np.asarray(read_plane(tmp_path / "a.fits", "VARIANCE")), IMAGE * 2.0)
    assert table_rows(tmp_path / "a.fits", "FRAMES") == 3 and table_rows(tmp_path / "a.fits", "NONE") is None
    assert read_plane(tmp_path / "a.fits", "NONE") is None and read_plane(tmp_path / "a.xisf", "VARIANCE") is None


def test_authority_an_array_with_named_fields_is_the_table_that_astropy_makes_of_it(tmp_path):
    from astropy.table import Table

    fields = [("name", "S5"), ("plane", "i8"), ("weight", "f8"), ("share", "f4"), ("used", "?")]
    rows = np.array([(b"a.fit", 0, 0.5, 0.25, True), (b"b", 1, np.nan, 1, False)], fields)
    write(
        tmp_path / "a.fits",
        {"IMAGE": IMAGE, "ARRAY": rows, "TABLE": Table(rows), "RECIPE": "one\n\ntwo"},
        bottom_up=True,
    )
    with fits.open(tmp_path / "a.fits", checksum=True) as file:
        assert file["ARRAY"].data.dtype == file["TABLE"].data.dtype
        assert file["ARRAY"].columns.formats == file["TABLE"].columns.formats == ["5A", "K", "D", "E", "L"]
        assert file["ARRAY"].data.tobytes() == file["TABLE"].data.tobytes()
        assert [row[0] for row in file["RECIPE"].data] == ["one", "", "two"]
    assert table_rows(tmp_path / "a.fits", "ARRAY") == 2


@pytest.mark.parametrize("packed", [False, True])
def test_truth_a_second_image_in_a_file_is_told_and_the_primary_keeps_its_keywords(tmp_path, packed):
    """Cameras of two detectors, an empty primary with the keywords; planes of errors and flags are no images."""
    primary = fits.PrimaryHDU()
    primary.header.update({"IMAGETYP": "Dark", "EXPTIME": 60.0})
    kind = fits.CompImageHDU if packed else fits.ImageHDU
    chips = [kind(IMAGE, name=name) for name in ("CHIP1", "CHIP2", "CHIP3", "ERR", "BPM")]
    fits.HDUList([primary, *chips]).writeto(tmp_path / "a.fits")
    meta = read(tmp_path / "a.fits").meta
    assert (meta.kind, meta.exposure_s, meta.unused_images) == ("dark", 60.0, 2)
    assert any("has 3 images, and only CHIP1 is used; not CHIP2, CHIP3" in note for note in meta.notes)
    assert {"its plane ERR is not used", "its plane BPM is not used"} <= {*meta.notes}
    write(tmp_path / "ours.fits", {"IMAGE": IMAGE, "SLOPE": IMAGE}, {"CALVER": "1"})
    assert read(tmp_path / "ours.fits").meta.unused_images == 0, "planes of a product belong to it"
