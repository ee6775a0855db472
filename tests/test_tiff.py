"""TIFF: any box of any image that other programs write, its header in our words; pictures and damage told clearly."""

import pickle
import re
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

from masterlight.core.errors import FrameError
from masterlight.io import read, write
from masterlight.session.planner import plan
from masterlight.session.scan import scan

tifffile = pytest.importorskip("tifffile")
TYPES = np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64
PACKINGS = None, "zlib", "lzw", "packbits", "lzma", "zstd"


def image_of(dtype, shape=(23, 31), seed=1):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(500, 20, shape).astype(dtype)
    return rng.integers(0, min(np.iinfo(dtype).max, 2**24), shape, dtype, endpoint=True)  # what float32 holds exactly


def tiff(path, image, **how):
    """An image as a TIFF file: `byteorder` and `bigtiff` are of the file, all else of its page."""
    of_file = {key: how.pop(key) for key in ("byteorder", "bigtiff") if key in how}
    with tifffile.TiffWriter(path, **of_file) as file:
        file.write(image, **{"metadata": None, **how})
    return path


def boxes_agree(frame, image):
    assert frame.shape == image.shape
    for box in (slice(None), slice(None)), (slice(5, 6), slice(3, 4)), (slice(2, 19), slice(0, 31)):
        np.testing.assert_array_equal(frame[..., *box], image[..., *box].astype(np.float32))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", TYPES)
def test_truth_samples_of_every_type_come_back(tmp_path, dtype, order):
    image = image_of(dtype)
    frame = read(tiff(tmp_path / "a.tif", image, byteorder=order, rowsperstrip=5, photometric="minisblack"))
    boxes_agree(frame, image)
    assert not frame.layout.packing and frame.scratch_bytes == 0, "what is plain is read in place"
    assert (frame.meta.integer, frame.meta.bits) == (np.dtype(dtype).kind in "ui", 8 * np.dtype(dtype).itemsize)
    boxes_agree(pickle.loads(pickle.dumps(frame)), image)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    "layout", [{}, {"tile": (16, 16)}, {"bigtiff": True}, {"predictor": True}, {"rowsperstrip": 4}]
)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_truth_packed_and_tiled_pixels_come_back(tmp_path, packing, layout, dtype):
    if packing in ("lzw", "packbits", "zstd") or "predictor" in layout:
        pytest.importorskip("imagecodecs")
    if "predictor" in layout and packing in (None, "packbits"):
        pytest.skip("a predictor goes with a packing that gains by it")
    image = image_of(dtype)
    boxes_agree(read(tiff(tmp_path / "a.tif", image, photometric="minisblack", compression=packing, **layout)), image)


@pytest.mark.parametrize("config", ["contig", "separate"])
@pytest.mark.parametrize("alpha", [0, 1])
@pytest.mark.parametrize("packing", [None, "zlib"])
def test_truth_three_planes_come_back_first_and_transparency_is_left_out(tmp_path, config, alpha, packing):
    image = image_of(np.uint16, (3 + alpha, 23, 31))
    stored = image if config == "separate" else np.moveaxis(image, 0, -1)
    more = {"extrasamples": ["unassalpha"]} if alpha else {}
    frame = read(tiff(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=config, compression=packing, **more))
    boxes_agree(frame, image[:3])
    assert any("transparency" in note for note in frame.meta.notes) == bool(alpha)


CARDS = {"IMAGETYP": "'Dark Frame'", "EXPTIME": "60.0", "CCD-TEMP": "-10.0 / sensor", "GAIN": "100", "NAXIS1": "9"}


@pytest.mark.parametrize("written", ["lines", "loose lines", "cards of 80 letters"])
def test_truth_fits_cards_in_a_description_are_the_header(tmp_path, written):
    lines = [f"{key:8}= {value}" for key, value in CARDS.items()]
    if written == "loose lines":
        lines = [f"{key} = {value}\r" for key, value in CARDS.items()]
    text = "".join(line.ljust(80) for line in lines) if "80" in written else "\n".join(lines)
    meta = read(tiff(tmp_path / "a.tif", image_of(np.uint16), description=text)).meta
    assert (meta.kind, meta.exposure_s, meta.temperature_c, meta.gain) == ("dark", 60.0, -10.0, 100.0)


def test_truth_words_of_other_programs_in_a_description_are_no_header(tmp_path):
    for text in ("ImageJ=1.53\nimages=1\n", '{"shape": [23, 31]}', "<?xml version='1.0'?><OME/>", "Taken in my garden"):
        frame = read(tiff(tmp_path / "a.tif", image_of(np.uint16), description=text))
        assert set(frame.header) == {"BITPIX", "BZERO", "ROWORDER", "SWCREATE"}


def test_truth_the_tags_of_deepskystacker_are_read(tmp_path):
    tags = [(50000, "I", 1, 25), (50002, "I", 1, 800), (50006, "I", 1, 1), (50008, "f", 1, 30.0), (50009, "I", 1, 3)]
    how = {"software": "DeepSkyStacker 5.1.8", "datetime": "2026:03:01 21:00:00", "extratags": tags}
    meta = read(tiff(tmp_path / "MasterDark.tif", image_of(np.float32), **how)).meta
    assert (meta.frames, meta.gain, meta.exposure_s, meta.pattern) == (25, 800.0, 30.0, "GBRG")
    assert meta.time == "2026-03-01T21:00:00.000" and meta.is_master and meta.scale_claims == ("program",)


def test_truth_exif_tells_exposure_and_camera(tmp_path):
    tags = [(271, "s", 0, "Canon"), (272, "s", 0, "Canon EOS 6D"), (33434, "2I", 1, (30, 1)), (34855, "H", 1, 1600)]
    path = tiff(tmp_path / "IMG_1.tif", image_of(np.uint16), datetime="2026:03:01 21:00:00", extratags=tags)
    meta = read(path).meta
    assert (meta.camera, meta.exposure_s, meta.gain) == ("Canon EOS 6D", 30.0, 1600.0)
    assert meta.time == "2026-03-01T21:00:00.000"
    again = read(tiff(tmp_path / "b.tif", image_of(np.uint16), datetime="2026:03:01 21:00:00")).meta
    assert again.time is None, "when a converter wrote a file is not when the shutter opened"


def test_truth_a_mosaic_of_tiff_ep_tells_its_pattern(tmp_path):
    tags = [(33421, "H", 2, (2, 2)), (33422, "B", 4, (1, 2, 0, 1))]
    frame = read(tiff(tmp_path / "a.tif", image_of(np.uint16), photometric="cfa", extratags=tags))
    assert frame.meta.pattern == "GBRG" and frame.shape == (23, 31)


@pytest.mark.parametrize(
    ("image", "how", "told"),
    [
        (image_of(np.uint8), {}, "8 bits a pixel"),
        (image_of(np.uint8, (23, 31, 3)), {"photometric": "rgb"}, "8 bits a pixel"),
        (image_of(np.uint8), {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}, "palette"),
        (image_of(np.uint16), {"photometric": "miniswhite"}, "negative"),
        (image_of(np.uint8) > 99, {"photometric": "minisblack"}, "1 bits a pixel"),
        (image_of(np.uint16, (23, 31, 4)), {"photometric": "separated"}, "for print"),
        (image_of(np.uint16, (4, 23, 31)), {"photometric": "minisblack"}, "holds 4 images of one size"),
        (image_of(np.uint16, (99, 9, 9)), {"photometric": "minisblack"}, "holds 99 images of one size"),
        (image_of(np.complex64().real.dtype).astype(np.complex64), {}, "complex64|no numbers"),
    ],
)  # fmt: skip
def test_surface_what_is_no_frame_is_refused_in_a_sentence(tmp_path, image, how, told):
    with pytest.raises(FrameError, match=told) as caught:
        read(tiff(tmp_path / "a.tif", image, **how))
    assert len(str(caught.value.reason)) < 200 and "damaged" not in caught.value.reason


def test_truth_a_preview_beside_the_image_is_passed_over(tmp_path):
    image = image_of(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(image[::4, ::4].astype(np.uint8), subfiletype=1, metadata=None)
        file.write(image, metadata=None, compression="zlib")
        file.write(image[:9, :9], metadata=None)
    frame = read(tmp_path / "a.tif")
    boxes_agree(frame, image)
    assert any("has 2 images, and only number 1 is used" in note for note in frame.meta.notes)


def test_surface_damage_is_told(tmp_path):
    whole = tiff(tmp_path / "whole.tif", image_of(np.uint16)).read_bytes()
    packed = tiff(tmp_path / "packed.tif", image_of(np.uint16), compression="zlib").read_bytes()
    claim = bytearray(whole)
    for tag in (256, 257):  # width and height: 60,000 each
        at = whole.index(struct.pack("<HHI", tag, 4, 1)) if struct.pack("<HHI", tag, 4, 1) in whole else 0
        at = at or whole.index(struct.pack("<HHI", tag, 3, 1))
        claim[at + 8 : at + 12] = struct.pack("<I", 60_000)
    for name, data, told in (
        ("empty", b"", "empty"), ("text", b"hello", "not a TIFF"), ("half", whole[: len(whole) // 2], "truncated"),
        ("claim", bytes(claim), "60|claims|announced"), ("head", whole[:8], "damaged|holds"),
        ("alone", b"II*\0\x08\0\0\0" + b"\xff" * 400, "damaged|holds|no numbers|photo|kind"),
        ("packed", packed[: len(packed) - 200], "truncated|damaged"),
    ):  # fmt: skip
        (tmp_path / f"{name}.tif").write_bytes(data)
        with pytest.raises(FrameError, match=told):
            read(tmp_path / f"{name}.tif")
    spoilt = packed[:300] + bytes(255 - x for x in packed[300:400]) + packed[400:]
    (tmp_path / "spoilt.tif").write_bytes(spoilt)
    with pytest.raises(FrameError, match="damaged"):
        read(tmp_path / "spoilt.tif")[:, :]


def test_surface_without_its_libraries_the_extra_is_named(tmp_path, monkeypatch):
    path = tiff(tmp_path / "a.tif", image_of(np.uint16))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(FrameError, match=re.escape("pip install 'masterlight[tiff]'")):
        read(path)


def test_truth_tiff_darks_serve_fits_lights_and_finished_pictures_stay_out(tmp_path):
    rng = np.random.default_rng(4)
    cards = {"EXPTIME": 60.0, "INSTRUME": "Cam", "GAIN": 100, "CCD-TEMP": -10.0}
    for i in range(4):
        write(tmp_path / f"L_{i}.fits", rng.normal(900, 9, (40, 50)).astype(np.uint16), {"IMAGETYP": "Light", **cards})
        (tmp_path / "darks").mkdir(exist_ok=True)
        text = "\n".join(f"{key}= {value!r}" for key, value in {"IMAGETYP": "Dark", **cards}.items())
        tiff(tmp_path / "darks" / f"{i}.tif", rng.normal(500, 9, (40, 50)).astype(np.uint16), description=text)
    tiff(tmp_path / "finished.tif", image_of(np.uint8, (40, 50, 3)), photometric="rgb")
    made = plan(scan(tmp_path))
    assert len(made.masters[0].frames) == 4 and len(made.lights) == 1 and len(made.lights[0].frames) == 4
    assert made.lights[0].sets[0].equation == "C = L - D"
    assert [("8 bits" in row.reason, "finished" in row.source) for row in made.rejected] == [(True, True)]


@pytest.mark.skipif(not shutil.which("siril-cli"), reason="Siril is not installed")
@pytest.mark.parametrize("verb", ["savetif", "savetif32"])
def test_authority_siril_writes_what_is_read(tmp_path, verb):
    """Siril saves the rows of a FITS file that begins at the bottom from the top on, as pictures have them."""
    image = np.random.default_rng(3).integers(400, 60_000, (20, 30)).astype(np.uint16)
    write(tmp_path / "a.fit", image, {"DATE-OBS": "2026-03-01T20:00:00", "ROWORDER": "BOTTOM-UP", "EXPTIME": 60.0})
    (tmp_path / "s.ssf").write_text(f"requires 1.0.0\nload a\n{verb} b\n")
    subprocess.run(["siril-cli", "-d", tmp_path, "-s", tmp_path / "s.ssf"], check=True, capture_output=True, timeout=60)
    frame = read(tmp_path / "b.tif")
    scale = 65535 if verb.endswith("32") else 1
    np.testing.assert_allclose(frame[:, :] * scale, read(tmp_path / "a.fit")[:, :], rtol=1e-6)
    assert frame.meta.time == "2026-03-01T20:00:00.000" and frame.meta.integer is not verb.endswith("32")
