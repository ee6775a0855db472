"""XISF: any box of any image that PixInsight and others write, its header in our words, damage told clearly."""

import os
import pickle
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from masterlight.core.errors import FrameError
from masterlight.io import read, xisf
from masterlight.io.xisf import unshuffle

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real observations here")
TYPES = {"UInt8": np.uint8, "UInt16": np.uint16, "UInt32": np.uint32, "Float32": np.float32, "Float64": np.float64}
NAMESPACE = 'xmlns="http://www.pixinsight.com/xisf" version="1.0"'


def write_xisf(path, data: bytes, inside: str = "", outside: str = "", **attributes) -> None:
    """A monolithic XISF file with one image; attributes go into its Image element, {at} is where its block begins."""
    fields = {"location": "attachment:{at}:" + str(len(data)), "colorSpace": "Gray"} | attributes
    words = " ".join(f'{key}="{value}"' for key, value in fields.items() if value is not None)
    at = 2048
    xml = f'<?xml version="1.0" encoding="UTF-8"?><xisf {NAMESPACE}><Image {words}>{inside}</Image>{outside}</xisf>'
    xml = xml.replace("{at}", str(at)).encode()
    head = b"XISF0100" + struct.pack("<II", len(xml), 0) + xml
    assert len(head) <= at
    path.write_bytes(head.ljust(at, b"\0") + data)


def image_of(dtype, shape=(23, 31), seed=1):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0.2, 0.05, shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def geometry(image):
    rows, cols = image.shape[-2:]
    return {
        "geometry": f"{cols}:{rows}:{image.size // rows // cols}",
        "colorSpace": "RGB" if image.ndim == 3 else "Gray",
    }


def shuffled(data: bytes, item: int) -> bytes:
    whole = len(data) // item * item
    return np.frombuffer(data[:whole], np.uint8).reshape(-1, item).T.tobytes() + data[whole:]


def packed(data: bytes, codec: str) -> bytes:
    if codec == "zlib":
        return zlib.compress(data)
    if codec == "zstd":
        return pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    mode = {"mode": "high_compression"} if codec == "lz4hc" else {}
    return pytest.importorskip("lz4.block").compress(data, store_size=False, **mode)


# pixels


@pytest.mark.parametrize("sample", TYPES)
@pytest.mark.parametrize("shape", [(23, 31), (3, 9, 300)])
@pytest.mark.parametrize("order", ["little", "big"])
def test_truth_plain_images_are_read_in_place(tmp_path, sample, shape, order):
    image = image_of(TYPES[sample], shape)
    data = image.astype(image.dtype.newbyteorder("<" if order == "little" else ">")).tobytes()
    write_xisf(tmp_path / "a.xisf", data, sampleFormat=sample, byteOrder=order, bounds="-10:10", **geometry(image))
    frame = read(tmp_path / "a.xisf")
    assert frame.shape == shape and frame.scratch_bytes == 0
    values = image.astype(np.float64).astype(np.float32)
    assert np.array_equal(np.asarray(frame), values)
    for y0, y1, x0, x1 in [(0, 1, 0, 31), (3, 9, 4, 6), (8, 9, 30, 31)]:
        assert np.array_equal(frame.pixels(y0, y1, x0, x1), values[..., y0:y1, x0:x1])
    assert frame.meta.integer == (sample[0] == "U") and frame.meta.bits == image.dtype.itemsize * 8


@pytest.mark.parametrize("order", ["little", "big"])
def test_truth_stored_form_of_16_bits(tmp_path, order):
    image = image_of(np.uint16)
    data = image.astype("<u2" if order == "little" else ">u2").tobytes()
    write_xisf(tmp_path / "a.xisf", data, sampleFormat="UInt16", byteOrder=order, **geometry(image))
    array, zero, scale, swapped = read(tmp_path / "a.xisf").stored(2, 20, 3, 30)
    values = (array.byteswap() if swapped else array).astype(np.float32)
    assert array.dtype == np.int16 and np.array_equal(zero + scale * values, image[2:20, 3:30])


@pytest.mark.parametrize("codec", ["zlib", "lz4", "lz4hc", "zstd"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_truth_compressed_images(tmp_path, codec, shuffle, parts):
    image = image_of(np.uint16, (3, 40, 50))
    data = image.tobytes()
    plain = shuffled(data, 2) if shuffle else data
    step = -(-len(plain) // parts)
    pieces = [plain[i : i + step] for i in range(0, len(plain), step)]
    blocks = [packed(piece, codec) for piece in pieces]
    said = f"{codec}+sh:{len(data)}:2" if shuffle else f"{codec}:{len(data)}"
    told = ":".join(f"{len(block)},{len(piece)}" for block, piece in zip(blocks, pieces, strict=True))
    more = {"compression": said, "subblocks": told if parts > 1 else None}
    write_xisf(tmp_path / "a.xisf", b"".join(blocks), sampleFormat="UInt16", **geometry(image), **more)
    frame = pickle.loads(pickle.dumps(read(tmp_path / "a.xisf")))
    assert np.array_equal(np.asarray(frame), image) and frame.scratch_bytes == len(data)


@pytest.mark.parametrize("codec", ["", "zlib"])
@pytest.mark.parametrize("channels", [3, 4])
def test_truth_pixels_stored_side_by_side_and_alpha(tmp_path, codec, channels):
    image = image_of(np.uint16, (channels, 12, 17))
    data = np.moveaxis(image, 0, -1).tobytes()
    more = {"compression": f"zlib:{len(data)}"} if codec else {}
    write_xisf(tmp_path / "a.xisf", zlib.compress(data) if codec else data, sampleFormat="UInt16",
               pixelStorage="Normal", **geometry(image), **more)  # fmt: skip
    assert np.array_equal(np.asarray(read(tmp_path / "a.xisf")), image[:3])
    planar = geometry(image) | {"colorSpace": "Gray"}
    write_xisf(tmp_path / "b.xisf", image.tobytes(), sampleFormat="UInt16", **planar)
    assert np.array_equal(np.asarray(read(tmp_path / "b.xisf")), image[0])


@pytest.mark.parametrize("size", [0, 1, 7, 8, 30])
def test_oracle_unshuffled(size):
    data = np.random.default_rng(size).bytes(size)
    for item in (1, 2, 4, 8):
        stored = np.frombuffer(shuffled(data, item), np.uint8)
        assert b"".join(part.tobytes() for part in unshuffle(stored, item)) == data


@pytest.mark.parametrize("codec", ["", "zlib", "lz4", "zstd"])
@pytest.mark.parametrize("shuffle", ["", "+sh"])
@pytest.mark.parametrize("storage", ["Planar", "Normal"])
def test_truth_large_images_are_unpacked_by_pieces(tmp_path, monkeypatch, codec, shuffle, storage):
    """What is too much for the memory goes through the disk; pieces are cut anywhere, and so are parts of a block."""
    monkeypatch.setattr(xisf, "MOST_IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(xisf, "CHUNK_BYTES", 777)
    image = image_of(np.float32, (3, 41, 53))
    data = (np.moveaxis(image, 0, -1) if storage == "Normal" else image).tobytes()
    told = {"sampleFormat": "Float32", "pixelStorage": storage, "bounds": "-9:9"}
    if codec:
        data = shuffled(data, 4) if shuffle else data
        parts = [data[:9001], data[9001:9003], data[9003:]]
        blocks = [packed(part, codec) for part in parts]
        told["compression"] = f"{codec}{shuffle}:{len(data)}" + (":4" if shuffle else "")
        told["subblocks"] = ":".join(f"{len(b)},{len(p)}" for b, p in zip(blocks, parts, strict=True))
        data = b"".join(blocks)
    write_xisf(tmp_path / "a.xisf", data, **told, **geometry(image))
    assert np.array_equal(np.asarray(read(tmp_path / "a.xisf")), image)


def test_truth_a_block_is_unpacked_no_farther_than_it_announces(tmp_path):
    """A thousand times more zeros than the picture has pixels, in the same block."""
    image = image_of(np.uint16)
    for codec in ("zlib", "zstd"):
        data = packed(image.tobytes() + bytes(10**8), codec)
        told = {"sampleFormat": "UInt16", "compression": f"{codec}:{image.nbytes}"}
        write_xisf(tmp_path / "a.xisf", data, **told, **geometry(image))
        assert np.array_equal(np.asarray(read(tmp_path / "a.xisf")), image)


def test_truth_what_lies_behind_the_announced_bytes_costs_no_memory():
    import io
    import tracemalloc

    block = io.BytesIO(zlib.compress(bytes(10**8)))
    tracemalloc.start()
    data = b"".join(xisf.unzip(block, 1000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert data == bytes(1000) and most < 10**7  # flush() of zlib would unpack all that is left


def test_truth_alpha_channels_are_left_out_with_a_word(tmp_path):
    image = image_of(np.uint16, (2, 23, 31))
    told = {"sampleFormat": "UInt16", **geometry(image), "colorSpace": "Gray"}
    write_xisf(tmp_path / "a.xisf", image.tobytes(), **told)
    frame = read(tmp_path / "a.xisf")
    assert np.array_equal(np.asarray(frame), image[0]) and "1 alpha channel is left out" in frame.meta.notes


def test_truth_floats_from_0_to_1_are_dn_of_65535(tmp_path):
    image = image_of(np.float32)
    image[0, 0] = np.nan
    write_xisf(tmp_path / "a.xisf", image.tobytes(), sampleFormat="Float32", bounds="0:1", **geometry(image))
    frame = read(tmp_path / "a.xisf")
    assert np.array_equal(np.asarray(frame), (image * np.float64(65535)).astype(np.float32), equal_nan=True)
    assert frame.meta.saturation_dn == 65535 and "0 to 65535 DN" in " ".join(frame.meta.notes)
    for bounds, told in (("0:65535", False), (None, True)):
        write_xisf(tmp_path / "b.xisf", image.tobytes(), sampleFormat="Float32", bounds=bounds, **geometry(image))
        frame = read(tmp_path / "b.xisf")
        assert np.array_equal(np.asarray(frame), image, equal_nan=True), "nothing is scaled by what it looks like"
        assert ("bounds" in " ".join(frame.meta.notes)) == told


def test_authority_the_xisf_package_wrote_it(tmp_path):
    author = pytest.importorskip("xisf")
    image = image_of(np.uint16, (3, 20, 30))
    words = {
        "FITSKeywords": {"EXPTIME": [{"value": "300", "comment": ""}], "FILTER": [{"value": "'Ha'", "comment": ""}]}
    }
    for codec, shuffle in ((None, False), ("lz4hc", True), ("zlib", True), ("zstd", False)):
        author.XISF.write(
            str(tmp_path / "a.xisf"), np.moveaxis(image, 0, -1), image_metadata=words, codec=codec, shuffle=shuffle
        )
        frame = read(tmp_path / "a.xisf")
        assert np.array_equal(np.asarray(frame), image)
        assert (frame.meta.exposure_s, frame.meta.filter) == (300, "Ha")


# header

KEYWORDS = """
<FITSKeyword name="IMAGETYP" value="'Light Frame'" comment="kind"/><FITSKeyword name="EXPTIME" value="120." comment=""/>
<FITSKeyword name="OBJECT" value="'NGC 7000/IC 5070'" comment=""/><FITSKeyword name="GAIN" value="100" comment=""/>
<FITSKeyword name="BAYERPAT" value="'RGGB    '" comment=""/><FITSKeyword name="YBAYROFF" value="1" comment=""/>
<FITSKeyword name="HISTORY" value="" comment="one"/><FITSKeyword name="HISTORY" value="" comment="two"/>
<FITSKeyword name="BITPIX" value="-32" comment=""/><FITSKeyword name="ROWORDER" value="'BOTTOM-UP'" comment=""/>
"""
PROPERTIES = """
<Property id="Instrument:Telescope:FocalLength" type="Float32" value="0.53"/>
<Property id="Instrument:Camera:ISOSpeed" type="Int32" value="1600"/>
<Property id="Instrument:Sensor:Temperature" type="Float32" value="-10.1"/>
<Property id="Instrument:Filter:Name" type="String">Ha 3nm</Property>
<Property id="Observation:Time:Start" type="TimePoint" value="2024-01-02T03:04:05.678Z"/>
"""


def test_truth_header_in_our_words(tmp_path):
    image = image_of(np.uint16)
    inside = KEYWORDS + PROPERTIES + '<ColorFilterArray pattern="GBRG" width="2" height="2"/>'
    outside = '<Metadata><Property id="XISF:CreatorApplication" type="String">N.I.N.A. 3.1</Property></Metadata>'
    told = {"sampleFormat": "UInt16", **geometry(image)}
    write_xisf(tmp_path / "a.xisf", image.tobytes(), inside, outside, **told)
    frame = read(tmp_path / "a.xisf")
    meta = frame.meta
    assert (meta.kind, meta.exposure_s, meta.object, meta.gain) == ("light", 120, "NGC 7000/IC 5070", 100)
    assert (meta.focal_mm, meta.temperature_c, meta.filter, meta.program) == (530, -10.1, "Ha 3nm", "N.I.N.A. 3.1")
    assert (meta.pattern, meta.time) == ("GBRG", "2024-01-02T03:04:05.678"), "the filter array goes before BAYERPAT"
    assert meta.integer and meta.bits == 16 and meta.saturation_dn == 65535, "the pixels, not a stale BITPIX"
    assert frame.header["HISTORY"] == "one\ntwo" and frame.header["ROWORDER"] == "TOP-DOWN"
    write_xisf(tmp_path / "b.xisf", image.tobytes(), KEYWORDS, imageType="MasterDark", **told)
    meta = read(tmp_path / "b.xisf").meta
    assert (meta.kind, meta.is_master, meta.pattern) == ("dark", True, "GBRG"), "RGGB one row down"
    write_xisf(tmp_path / "c.xisf", image.tobytes(), imageType="DefectMap", **told)
    assert (meta := read(tmp_path / "c.xisf").meta).kind == "unknown" and meta.declared == "DefectMap"


def test_truth_x_trans_pattern(tmp_path):
    image, pattern = image_of(np.uint16), "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"
    inside = f'<ColorFilterArray pattern="{pattern}" width="6" height="6"/>'
    write_xisf(tmp_path / "a.xisf", image.tobytes(), inside, sampleFormat="UInt16", **geometry(image))
    assert read(tmp_path / "a.xisf").meta.pattern == pattern


# damage


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"sampleFormat": "Complex32"}, "sample format is Complex32"),
        ({"sampleFormat": None}, "sample format is missing"),
        ({"colorSpace": "CIELab"}, "colour space is CIELab"),
        ({"geometry": "31:23"}, "not width:height:1"),
        ({"geometry": "31:0:1"}, "not width:height:1"),
        ({"geometry": "31:23:1", "colorSpace": "RGB"}, "not width:height:3"),
        ({"geometry": "3100:2300:1"}, "1,426 bytes of pixels where 14,260,000 are announced"),
        ({"location": "url(http://x/y.xisb)"}, "not attached to it but url"),
        ({"location": None}, "not attached to it but nowhere"),
        ({"location": "attachment:{at}:999999"}, r"truncated: 3,474 of 1,002,047 bytes"),
        ({"compression": "rar:1426"}, "zlib, lz4, lz4hc, zstd are read"),
        ({"geometry": "31:23:300", "location": "attachment:{at}:1426"}, "300 channels"),
        ({"geometry": "99999999:99999999:1"}, "1,426 bytes of pixels where 19,999,999,600,000,002"),
        ({"geometry": "9" * 500 + ":1:1"}, "not width:height:1"),
        ({"geometry": "60000:60000:1", "compression": "zlib:7200000000"}, "1,426 bytes cannot hold"),
        ({"geometry": "60000:60000:1", "compression": "lz4:7200000000"}, "1,426 bytes cannot hold"),
        ({"geometry": "60000:60000:1", "compression": "zstd:7200000000"}, "1,426 bytes cannot hold"),
        ({"compression": "zlib:9000"}, "9,000 bytes of pixels where 1,426"),
        ({"compression": "zlib+sh:1426:99"}, "99 bytes cannot be"),
        ({"compression": "zlib:1426", "subblocks": "700,713:727,713"}, "do not add up"),
        ({"compression": "zlib:1426", "subblocks": "700,713:726,714"}, "do not add up"),
        ({"compression": "zlib:1426", "subblocks": "1426,1426:0,0"}, "do not add up"),
        ({"compression": "zlib"}, "makes no sense"),
        ({"compression": "zlib:1426", "subblocks": "1:2"}, "makes no sense"),
        ({"compression": "zlib:100"}, "100 bytes of pixels where 1,426"),
        ({"compression": "zlib:1426"}, "damaged"),
        ({"compression": "lz4:1426"}, "damaged"),
        ({"compression": "zstd:1426"}, "damaged"),
        ({"inside": '<ColorFilterArray pattern="RGB" width="3" height="1"/>'}, "colour filters are 'RGB', 3 x 1"),
    ],
)
def test_truth_what_cannot_be_read_is_told(tmp_path, changes, reason):
    image = image_of(np.uint16)
    path = tmp_path / "a.xisf"
    write_xisf(path, image.tobytes(), **({"sampleFormat": "UInt16", **geometry(image)} | changes))
    with pytest.raises(FrameError, match=reason) as error:
        np.asarray(read(path))
    assert str(path) in str(error.value)


def with_header(xml: bytes) -> bytes:
    return b"XISF0100" + struct.pack("<II", len(xml), 0) + xml


def entities() -> bytes:
    """A few lines of XML that mean a thousand million words."""
    lines = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "word"}">' for i in range(10))
    return f"<!DOCTYPE xisf [{lines}]><xisf>&a9;</xisf>".encode()


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda data: b"", "the file is empty"),
        (lambda data: b"SIMPLE  = T", "not an XISF file"),
        (lambda data: data[:12], "truncated"),
        (lambda data: data[:300], "truncated"),
        (lambda data: data[:-1], "truncated: 3,473 of 3,474 bytes"),
        (lambda data: data.replace(b"</xisf>", b"</xosf>"), "header is damaged"),
        (lambda data: data.replace(b"Image", b"Bild "), "holds no image"),
        (lambda data: data[:8] + b"\xff" * 4 + data[12:], "truncated"),
        (lambda data: data[:8] + struct.pack("<II", 1 << 25, 0) + bytes(1 << 25), "no header of an image"),
        (lambda data: with_header(entities()), "words of its own"),
        (lambda data: with_header(b"<a>" * 100_000), "header is damaged"),
        (lambda data: with_header(b"<a>" * 1_000_000), "no header of an image"),
        (lambda data: with_header(b"<a " + b"a='' " * 900_000 + b"/>"), "no header of an image"),
        (lambda data: with_header(b"<?xml version='1.0' encoding='nonsense-8'?><a/>"), "holds no image"),
    ],
)
def test_truth_damage_is_told(tmp_path, damage, reason):
    image = image_of(np.uint16)
    path = tmp_path / "a.xisf"
    write_xisf(path, image.tobytes(), sampleFormat="UInt16", **geometry(image))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FrameError, match=reason):
        read(path)


def test_truth_a_block_that_unpacks_to_too_little(tmp_path):
    image = image_of(np.uint16)
    data = zlib.compress(image.tobytes()[:-2])
    write_xisf(tmp_path / "a.xisf", data, sampleFormat="UInt16", compression="zlib:1426", **geometry(image))
    with pytest.raises(FrameError, match="too few bytes"):
        np.asarray(read(tmp_path / "a.xisf"))


def test_truth_the_packages_of_codecs_are_asked_for(tmp_path, monkeypatch):
    image = image_of(np.uint16)
    for codec, library in (("lz4", "lz4.block"), ("zstd", "zstandard")):
        write_xisf(tmp_path / "a.xisf", packed(image.tobytes(), codec), sampleFormat="UInt16",
                   compression=f"{codec}:1426", **geometry(image))  # fmt: skip
        with monkeypatch.context() as without:
            without.setitem(sys.modules, library, None)
            with pytest.raises(FrameError, match=r"pip install 'masterlight\[xisf\]'"):
                np.asarray(read(tmp_path / "a.xisf"))


# real files


@real
def test_truth_real_file():
    frame = read(DATA / "formats" / "m27_lz4hc_sh.xisf")
    meta = frame.meta
    assert (meta.camera, meta.gain, meta.exposure_s, meta.pattern) == ("ZWO CCD ASI224MC", 180, 6, "RGGB")
    light = read(DATA / "m27_asi224mc" / "lights" / "Light_1069.fits")
    assert np.array_equal(frame[10:20, 30:50], light[10:20, 30:50]) and meta.time == light.meta.time
