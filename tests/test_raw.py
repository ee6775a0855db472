"""Camera raw: the mosaic exactly as stored, its borders, levels, colours and EXIF; damage told clearly."""

import os
import pickle
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masterlight.core.errors import FrameError, OutputError
from masterlight.core.headers.geometry import shifted_pattern
from masterlight.io import RAW, raw, read, scratch
from masterlight.io.exif import Exif, canon_temperature, read_exif
from masterlight.io.raw import Sensor, masked_borders

rawpy = pytest.importorskip("rawpy")
DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real observations here")
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"
FORMATS = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "U": 7, "r": 10}


def tiff(tags: dict, at: int) -> bytes:
    """One TIFF directory that begins at `at`, its long values after it; tags: number -> (format, values)."""
    rows, more = b"", b""
    behind = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        if kind in "sU":
            data, count = (values + (b"\0" if kind == "s" else b"")), len(values) + (kind == "s")
        elif kind in "Rr":
            data, count = struct.pack(f"<{len(values)}{'I' if kind == 'R' else 'i'}", *values), len(values) // 2
        else:
            data, count = struct.pack(f"<{len(values)}{kind}", *values), len(values)
        if len(data) > 4:
            inline, more = struct.pack("<I", behind + len(more)), more + data + b"\0" * (len(data) % 2)
        else:
            inline = data.ljust(4, b"\0")
        rows += struct.pack("<HHI", tag, FORMATS[kind], count) + inline
    return struct.pack("<H", len(tags)) + rows + struct.pack("<I", 0) + more


def write_dng(path, mosaic, pattern="RGGB", exif=None, **changes) -> None:
    """A minimal uncompressed DNG; pattern from the first visible pixel; changes: tag numbers as t50714=('H', (1,))."""
    rows, cols = mosaic.shape[:2]
    size = {4: 2, 36: 6}.get(len(pattern), 1)
    planes = sorted(set(map("RGBCMYW".find, pattern)))
    tags = {
        254: ("I", (0,)), 256: ("I", (cols,)), 257: ("I", (rows,)), 258: ("H", (16,)), 259: ("H", (1,)),
        262: ("H", (32803,)), 271: ("s", b"Nightworks"), 272: ("s", b"Owl 16"), 274: ("H", (6,)), 277: ("H", (1,)),
        278: ("I", (rows,)), 33421: ("H", (size, size)), 33422: ("B", ["RGBCMYW".find(c) % 7 for c in pattern]),
        50706: ("B", (1, 4, 0, 0)), 50708: ("s", b"Owl 16"), 50717: ("I", (60000,)),
        50721: ("r", (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)), 50728: ("R", (1, 1, 1, 1, 1, 1)),
    }  # fmt: skip
    tags[258] = ("H", (16,) * (mosaic.size // rows // cols))
    if size > 1 and set(pattern) - set("RGB"):
        tags[50710] = ("B", planes)
        tags[50721] = ("r", (1, 1) * 3 * len(planes))
        tags[50728] = ("R", (1, 1) * len(planes))
    if size == 1:
        tags[262], tags[277] = ("H", (34892,)), ("H", (mosaic.size // rows // cols,))
        del tags[33421], tags[33422]
    tags |= {int(key[1:]): value for key, value in changes.items()}
    if exif:
        tags[34665] = ("I", (0,))
    tags |= {273: ("I", (0,)), 279: ("I", (mosaic.size * 2,))}
    place = 8 + len(tiff(tags, 8))
    if exif:
        tags[34665] = ("I", (place,))
    tail = tiff(exif, place) if exif else b""
    tags[273] = ("I", (place + len(tail),))
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + tiff(tags, 8) + tail + mosaic.astype("<u2").tobytes())


def mosaic_of(rows=40, cols=56, seed=1):
    return np.random.default_rng(seed).integers(0, 2**16, (rows, cols), np.uint16)


def of_margins(y0, y1, x0, x1):
    return {"t50829": ("I", (y0, x0, y1, x1))}


# pixels


@pytest.mark.parametrize("area", [{}, of_margins(6, 38, 12, 56), of_margins(0, 40, 5, 51)])
def test_truth_the_mosaic_is_given_exactly_as_stored(tmp_path, area):
    mosaic = mosaic_of()
    write_dng(tmp_path / "a.dng", mosaic, **area)
    frame = read(tmp_path / "a.dng")
    assert frame.shape == (40, 56) and np.array_equal(np.asarray(frame), mosaic)
    for y0, y1, x0, x1 in [(0, 40, 0, 56), (3, 4, 0, 56), (5, 40, 4, 6), (39, 40, 55, 56)]:
        assert np.array_equal(frame.pixels(y0, y1, x0, x1), mosaic[y0:y1, x0:x1])
    array, zero, scale, swapped = frame.stored(3, 30, 5, 50)
    assert array.dtype == np.int16 and array.flags.c_contiguous and not swapped
    assert np.array_equal(zero + scale * array.astype(np.float32), mosaic[3:30, 5:50])
    assert frame.scratch_bytes == mosaic.nbytes and frame.defective(0, 1, 0, 1) is None


def test_truth_it_is_decoded_once_for_all_boxes_and_threads(tmp_path, monkeypatch):
    mosaic, calls, decoded = mosaic_of(), [], raw.decoding
    write_dng(tmp_path / "a.dng", mosaic)
    monkeypatch.setattr(raw, "decoding", lambda source: calls.append(source) or decoded(source))
    frame = pickle.loads(pickle.dumps(read(tmp_path / "a.dng")))
    assert len(calls) == 1, "opening"
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda y: frame[y : y + 1], range(40)))
    assert np.array_equal(np.concatenate(rows), mosaic)
    assert len(calls) == 2, "and once for the pixels"


def test_truth_no_room(tmp_path, monkeypatch):
    write_dng(tmp_path / "a.dng", mosaic_of())
    frame = read(tmp_path / "a.dng")
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(OutputError, match="TMPDIR"):
        frame[0:1]


# the sensor


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GBRG", "GRBG", XTRANS])
@pytest.mark.parametrize("y, x", [(0, 0), (6, 12), (5, 11), (7, 8)])
def test_truth_pattern_begins_at_the_first_pixel_of_the_full_image(tmp_path, pattern, y, x):
    write_dng(tmp_path / "a.dng", mosaic_of(), pattern, **of_margins(y, 40, x, 56))
    meta = read(tmp_path / "a.dng").meta
    assert meta.pattern == shifted_pattern(pattern, -y, -x)
    y0, y1, x0, x1 = meta.data_px or (0, 40, 0, 56)
    assert shifted_pattern(meta.pattern, y0, x0) == shifted_pattern(pattern, y0 - y, x0 - x)
    assert (y1, x1) == (40, 56) and 0 <= y0 - y <= 1 and 0 <= x0 - x <= 1, "LibRaw makes odd Bayer margins even"


def test_truth_levels_of_each_colour(tmp_path):
    levels = {"t50713": ("H", (2, 2)), "t50714": ("H", (500, 510, 520, 530)), "t50717": ("I", (16383,))}
    write_dng(tmp_path / "a.dng", mosaic_of(), "GBRG", **levels)
    meta = read(tmp_path / "a.dng").meta
    assert meta.black_dn == (500, 510, 520, 530) and meta.saturation_dn == 16383 and meta.bits == 14 and meta.integer
    write_dng(tmp_path / "b.dng", mosaic_of(), "GBRG", t50714=("H", (512,)))
    assert read(tmp_path / "b.dng").meta.black_dn == (512,)


def test_truth_masked_borders_of_a_dng(tmp_path):
    masks = {"t50830": ("I", (0, 0, 40, 16, 0, 16, 6, 64))}
    write_dng(tmp_path / "a.dng", mosaic_of(40, 64), **of_margins(6, 40, 16, 64), **masks)
    meta = read(tmp_path / "a.dng").meta
    assert meta.data_px == (6, 40, 16, 64)
    assert meta.overscan_px == ((0, 40, 0, 12),), "4 px of guard; what is left of the 6 rows is too little"


def test_truth_borders_are_taken_for_masked_only_where_they_are():
    sensor = Sensor((100, 200), (20, 96, 40, 190), "RGGB", (512.0,), 16383.0, {})
    canon = masked_borders(sensor, Exif(camera="Canon EOS 6D"))
    assert canon == ((20, 96, 2, 36), (2, 16, 40, 190))
    assert masked_borders(sensor, Exif(camera="SONY ILCE-7S")) == masked_borders(sensor, Exif()) == ()
    told = Exif(camera="Canon EOS 6D", masked=((96, 100, 0, 200), (0, 100, 190, 250), (0, 50, 30, 60), (20, 60, 0, 40)))
    assert masked_borders(sensor, told) == ((20, 60, 0, 36),), "narrow ones and what reaches into the image are left"


def test_truth_mono_camera(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic_of(), "L")
    frame = read(tmp_path / "a.dng")
    assert frame.meta.pattern is None and frame.meta.black_dn == (0,) and np.array_equal(np.asarray(frame), mosaic_of())


@pytest.mark.parametrize(
    "pattern, words", [("CYGM", "C, Y, G, M|G, C, M, Y"), ("CYYM", "C, M, Y"), ("RGBW", "R, G, B, W")]
)
def test_truth_other_colours_are_refused(tmp_path, pattern, words):
    write_dng(tmp_path / "a.dng", mosaic_of(), pattern)
    with pytest.raises(FrameError, match=f"colour filters are ({words}); only sensors of red, green and blue"):
        read(tmp_path / "a.dng")


def test_truth_finished_colours_are_refused(tmp_path):
    write_dng(tmp_path / "a.dng", np.stack([mosaic_of()] * 3, axis=-1), "L")
    with pytest.raises(FrameError, match="no mosaic but finished colours"):
        read(tmp_path / "a.dng")


# what the camera tells

EXIF = {
    33434: ("R", (1, 4)), 33437: ("R", (28, 10)), 34855: ("H", (1600,)), 37386: ("R", (200, 1)),
    36867: ("s", b"2024:03:09 01:30:15"), 36881: ("s", b"+02:00"), 37521: ("s", b"25"),
}  # fmt: skip


def test_truth_exif(tmp_path):
    folder = tmp_path / "darks"
    folder.mkdir()
    write_dng(folder / "a.dng", mosaic_of(), exif=EXIF)
    frame = read(folder / "a.dng")
    meta = frame.meta
    assert (meta.camera, meta.exposure_s, meta.gain, meta.focal_mm) == ("Nightworks Owl 16", 0.25, 1600, 200)
    assert (meta.kind, meta.time, meta.temperature_c) == ("dark", "2024-03-08T23:30:15.250", None)
    assert frame.header["DATE-LOC"] == "2024-03-09T01:30:15.250" and frame.header["FOCRATIO"] == 2.8
    assert frame.header["BAYERPAT"] == "RGGB" and frame.header["ROWORDER"] == "TOP-DOWN"
    assert not [note for note in meta.notes if "zone" in note]


def test_truth_what_the_camera_does_not_tell_is_noted(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic_of(), exif={tag: v for tag, v in EXIF.items() if tag not in (36881, 33434)})
    meta = read(tmp_path / "a.dng").meta
    assert meta.time == "2024-03-09T01:30:15.250" and meta.exposure_s is None
    told = " ".join(meta.notes)
    assert "time zone of the camera's clock is unknown" in told and "does not tell the exposure time" in told


def exif_block():
    from PIL import Image

    exif = Image.Exif()
    exif[271], exif[272] = "NIGHT", "NIGHT Hawk 5"
    exif.get_ifd(34665).update({33434: 30.0, 34855: 800, 36867: "2023:12:31 23:59:59", 36881: "-05:30"})
    return exif.tobytes().removeprefix(b"Exif\0\0")


def test_authority_exif_as_pillow_writes_it(tmp_path):
    """The same block as a TIFF, in the JPEG of a RAF, and in the box of a CR3."""
    block = exif_block()
    raf = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">I", 100) + bytes(12) + b"\xff\xd8\xff\xe1\0\0Exif\0\0"
    box = struct.pack(">I4s", 8 + len(block), b"CMT1") + block
    moov = struct.pack(">I4s", 32 + len(box), b"moov") + struct.pack(">I4s16s", 24 + len(box), b"uuid", b"x" * 16) + box
    cr3 = struct.pack(">I4s4s4x", 16, b"ftyp", b"crx ") + moov
    for content in (block, raf + block, cr3):
        (tmp_path / "a").write_bytes(content)
        exif = read_exif(tmp_path / "a")
        assert (exif.camera, exif.exposure_s, exif.iso) == ("NIGHT Hawk 5", 30, 800)
        assert (exif.time - exif.zone).isoformat() == "2024-01-01T05:29:59"


def test_truth_canon_tells_a_temperature(tmp_path):
    shot = (0,) * 12 + (148, 0, 0)
    place = 8 + len(tiff({271: ("s", b"Canon"), 272: ("s", b"Canon EOS 6D"), 37500: ("I", (0,))}, 8))
    tags = {271: ("s", b"Canon"), 272: ("s", b"Canon EOS 6D"), 37500: ("I", (place,))}
    (tmp_path / "a").write_bytes(b"II*\0" + struct.pack("<I", 8) + tiff(tags, 8) + tiff({4: ("H", shot)}, place))
    exif = read_exif(tmp_path / "a")
    assert (exif.temperature_c, exif.camera) == (20.0, "Canon EOS 6D")
    assert canon_temperature((0,) * 15) is None and canon_temperature(()) is None


# damage


@given(st.sampled_from(["II*\0", "MM\0*", "ciff", "ftyp", "FUJIFILMCCD-RAW "]), st.binary(max_size=400), st.booleans())
@settings(max_examples=300, deadline=None)
def test_truth_tags_of_nonsense_are_no_obstacle(tmp_path_factory, head, rest, near):
    """Directories of any bytes, also with small offsets so that they point into themselves."""
    rest = bytes(b % 16 for b in rest) if near else rest
    start = {"ciff": b"II\x1a\0\0\0HEAPCCDR", "ftyp": struct.pack(">I4s", 8, b"ftyp")}.get(head, head.encode())
    path = tmp_path_factory.getbasetemp() / "nonsense"
    path.write_bytes(start + rest)
    assert isinstance(read_exif(path), Exif)


def test_truth_damage_is_told_never_a_crash(tmp_path):
    write_dng(tmp_path / "good.dng", mosaic_of(), exif=EXIF)
    content = (tmp_path / "good.dng").read_bytes()
    rng = np.random.default_rng(4)
    parts = {"empty": 0, "head": 5, "tags": 300, "half": len(content) // 2, "short": len(content) - 1}
    damaged = {name: content[:size] for name, size in parts.items()}
    damaged |= {"garbage": rng.bytes(20000), "text": b"II*\0 not a raw file"}
    for name, bad in damaged.items():
        path = tmp_path / f"{name}.dng"
        path.write_bytes(bad)
        with pytest.raises(FrameError, match="copy it again") as error:
            np.asarray(read(path))
        assert str(path) in str(error.value)
    (tmp_path / "folder.dng").mkdir()
    for name, told in (("none.dng", "no such file"), ("folder.dng", "is a folder")):
        with pytest.raises(FrameError, match=told):
            read(tmp_path / name)


@pytest.mark.parametrize("seed", range(40))
def test_truth_flipped_bytes_give_a_frame_or_an_error(tmp_path, seed):
    write_dng(tmp_path / "a.dng", mosaic_of(), exif=EXIF)
    content, rng = bytearray((tmp_path / "a.dng").read_bytes()), np.random.default_rng(seed)
    for at in rng.integers(0, 900, 12):
        content[at] = rng.integers(0, 256)
    (tmp_path / "a.dng").write_bytes(content)
    try:
        frame = read(tmp_path / "a.dng")
        assert np.asarray(frame).shape == frame.shape
    except FrameError as error:
        assert error.reason


def test_truth_a_file_that_is_damaged_after_it_was_opened(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic_of())
    frame = read(tmp_path / "a.dng")
    os.truncate(tmp_path / "a.dng", 900)
    with pytest.raises(FrameError, match="damaged|has changed"):
        np.asarray(frame)


def test_truth_rawpy_is_asked_for(tmp_path, monkeypatch):
    write_dng(tmp_path / "a.dng", mosaic_of())
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(FrameError, match=r"pip install 'masterlight\[raw\]'"):
        read(tmp_path / "a.dng")


# real files


@real
def test_authority_canon_d30():
    path = DATA / "dslr_raw" / "imagemeta.CRW"
    frame = read(path)
    meta = frame.meta
    with rawpy.imread(str(path)) as file:
        mosaic = file.raw_image.copy()
        letters = np.array(list(file.color_desc.decode()))[file.raw_colors]
    assert np.array_equal(np.asarray(frame), mosaic)
    assert "".join(letters[:2, :2].ravel()) == meta.pattern == "RGGB"
    assert meta.black_dn == (127, 128, 128, 128) and meta.saturation_dn == 4095 and meta.bits == 12
    assert (meta.camera, meta.gain, meta.focal_mm) == ("Canon EOS D30", 100, 31)
    assert meta.exposure_s == pytest.approx(4.967, abs=1e-3) and meta.time == "2018-01-01T13:03:32.000"
    assert meta.data_px == (6, 1454, 48, 2224) and meta.sky_shape == (1448, 2176)
    (border,) = meta.overscan_px
    y0, y1, x0, x1 = border
    dark = mosaic[y0:y1, x0:x1].astype(float)
    assert abs(dark.mean() - 128) < 1 and dark.std() < 6, "the columns that saw no light lie at the black level"
    assert np.ptp(dark.mean(axis=0)) < 2, "and light does not leak into them"


@real
def test_authority_blackmagic():
    frame = read(DATA / "dslr_raw" / "twelvemonkeys_test.dng")
    meta = frame.meta
    with rawpy.imread(frame.source) as file:
        assert np.array_equal(np.asarray(frame), file.raw_image)
    assert (meta.pattern, meta.black_dn, meta.saturation_dn) == ("GBRG", (256,), 51080)
    assert meta.camera == "Blackmagic Pocket Cinema Camera" and meta.overscan_px == () and meta.data_px is None


@real
def test_authority_one_light_in_four_formats():
    light = read(DATA / "m27_asi224mc" / "lights" / "Light_1069.fits")
    for name in ("m27_RGGB.dng", "m27_lz4hc_sh.xisf", "m27_RICE_1.fits.fz"):
        frame = read(DATA / "formats" / name)
        assert np.array_equal(np.asarray(frame), np.asarray(light)), name
        stored = frame.stored(100, 103, 7, 400)
        values = stored.array.byteswap() if stored.swapped else stored.array
        assert np.array_equal(stored.zero + stored.scale * values.astype(np.float32), light[100:103, 7:400]), name
        assert frame.meta.pattern == light.meta.pattern == "RGGB" and frame.scratch_bytes, name


@real
@pytest.mark.parametrize("name", ["dslr_raw/imagemeta.CRW", "dslr_raw/twelvemonkeys_test.dng", "formats/m27_RGGB.dng"])
def test_truth_real_files_truncated(tmp_path, name):
    content = (DATA / name).read_bytes()
    path = tmp_path / Path(name).name
    for fraction in (0.0001, 0.001, 0.01, 0.5, 0.99):
        path.write_bytes(content[: int(fraction * len(content))])
        with pytest.raises(FrameError, match="copy it again"):
            np.asarray(read(path))


def test_surface_every_raw_suffix_is_known(tmp_path):
    for end in RAW:
        path = tmp_path / f"IMG_0001{end.upper()}"
        path.write_bytes(b"nothing of a camera" * 500)
        with pytest.raises(FrameError, match="no camera raw that LibRaw"):
            read(path)
