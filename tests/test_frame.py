"""What headers and file names say: every capture program's dialect, and frames as arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.frame import ArrayFrame, Frame, Meta
from masterlight.core.headers.geometry import flipped_pattern, regrid, shifted_pattern
from masterlight.core.headers.names import camera_key, filter_key, object_key, same_filter
from masterlight.core.headers.values import as_number

PROGRAMS = {
    "N.I.N.A. 3.1": ("IMAGETYP", ["LIGHT", "DARK", "FLAT", "BIAS", "DARKFLAT"]),
    "Sequence Generator Pro": ("IMAGETYP", ["LIGHT", "DARK", "FLAT", "BIAS", "Dark Flat"]),
    "MaxIm DL Version 6": ("IMAGETYP", ["Light Frame", "Dark Frame", "Flat Field", "Bias Frame", "Dark Flat"]),
    "Astro Photography Tool": ("IMAGETYP", ["Light Frame", "Dark Frame", "Flat Frame", "Bias Frame", "Flat Dark"]),
    "ZWO ASIAIR Plus": ("IMAGETYP", ["Light", "Dark", "Flat", "Bias", "FlatDark"]),
    "Voyager 2.3": ("IMAGETYP", ["LIGHT", "DARK", "FLAT", "BIAS", "DARK_FLAT"]),
    "KStars": ("FRAME", ["Light", "Dark", "Flat", "Bias", "Flat Dark"]),
    "INDIGO": ("IMAGETYP", ["Light", "Dark", "Flat", "Bias", "DarkFlat"]),
    "Astro Pixel Processor": ("CALFRAME", ["Light", "MasterDark", "MasterFlat", "MasterBias", "MasterDarkFlat"]),
    "WBPP": ("IMAGETYP", ["Master Light", "Master Dark", "Master Flat", "Master Bias", "Master DarkFlat"]),
    "observatory": ("OBSTYPE", ["OBJECT", "DARK", "SKYFLAT", "ZERO", "flat-dark"]),
}
KINDS = ["light", "dark", "flat", "bias", "flatdark"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_truth_every_program_names_its_frames(program):
    keyword, names = PROGRAMS[program]
    for kind, name in zip(KINDS, names, strict=True):
        meta = Meta.from_header({keyword: name, "SWCREATE": program})
        assert (meta.kind, meta.program) == (kind, program)
        assert meta.is_master == ("master" in name.lower())


def test_truth_a_snapshot_is_no_light():
    meta = Meta.from_header({"IMAGETYP": "SNAPSHOT"}, "lights/focus_001.fits")
    assert meta.kind == "unknown" and meta.declared == "SNAPSHOT"


def test_truth_ready_made_master_says_what_is_in_it():
    cards = {"IMAGETYP": "Master Dark", "CALBIAS": True, "NCOMBINE": 30, "CALSTAT": "b d"}
    meta = Meta.from_header(cards)
    assert (meta.is_master, meta.contains_bias, meta.frames, meta.calibration) == (True, True, 30, "BD")
    assert Meta.from_header({"CALBIAS": "F"}).contains_bias is False
    assert Meta.from_header({"IMAGETYP": "Light", "STACKCNT": 40}).is_master


@pytest.mark.parametrize(
    "name, kind, exposure_s, filter_",
    [
        ("darkflats/dark_flat_ir_001_1x1_12s.fit.gz", "flatdark", 12, None),
        ("flats/flat_ir_001_1x1_12s.fit.gz", "flat", 12, "ir"),
        ("light_ir_001_1x1_600s.fit.gz", "light", 600, "ir"),
        ("masterdark_BIN-1_4144x2822_EXPOSURE-300.00s.fits", "dark", 300, None),
        ("Light_M31_300.0s_Bin1_533MC_gain100_20231010-201010_-10.0C_0001.fit", "light", 300, None),
        ("2024/lights/M31_Ha_300sec_01.fits", "light", 300, "Ha"),
        ("lights/dark_nebula_B33_300s.fits", "light", 300, None),
        ("flatdarks/0.5s/x.fits", "flatdark", 0.5, None),
        ("darks/lights_out_250ms.fits", "dark", 0.25, None),
        ("offset_001.fits", "bias", None, None),
        ("M31_offset50_0001.fits", "unknown", None, None),
        ("flats/OIII/0001.fits", "flat", None, "OIII"),
        ("FlatWizard/H-alpha_domeflat_2s.fits", "flat", 2, "H-alpha"),
    ],
)
def test_truth_names_tell_what_headers_do_not(name, kind, exposure_s, filter_):
    meta = Meta.from_header({}, "/night/" + name)
    assert (meta.kind, meta.exposure_s, meta.filter) == (kind, exposure_s, filter_)
    assert meta.notes, "each guess is told"
    assert meta.is_master == name.startswith("master")


def test_truth_names_tell_temperature_binning_gain():
    meta = Meta.from_header({}, "Dark_60s_2x2_gain100_-10.5C_offset30_1.fits")
    assert (meta.temperature_c, meta.binning, meta.gain, meta.offset) == (-10.5, (2, 2), 100, 30)
    assert len(meta.notes) == 6


@pytest.mark.parametrize(
    "name, exposure_s, temperature_c, gain, offset, filter_",
    [
        ("2024-05-01_22-13-05_Ha_-10.00_300.00s_0012.fits", 300, -10, None, None, "Ha"),
        ("2024-05-01_22-13-05_OIII_5.00_300.00s_0012.fits", 300, 5, None, None, "OIII"),
        ("M31_2024-05-01_22-13-05_L_-9.90_G100_O50_60.00s_0001.fits", 60, -9.9, 100, 50, "L"),
        ("M31 2024-05-01 Ha 300.00s g0 o8 -0.10 0001.xisf", 300, -0.1, 0, 8, "Ha"),
        ("NGC7000_O_G100_O3_120.00s_2.34_0001.fits", 120, None, 100, None, "O3"),
        ("M31_G001_60s.fits", 60, None, None, None, None),
        ("PN_G75.5_G_300s_O50.fits", 300, None, None, None, "G"),
        ("Light_M31_300.0s_Bin1_gain100_20240501-221305_-10.0C_0001.fit", 300, -10, 100, None, None),
        ("M31_2024-05-01_300s_0.65_12.34_0001.fits", 300, None, None, None, None),
    ],
)
def test_truth_names_as_capture_programs_make_them(name, exposure_s, temperature_c, gain, offset, filter_):
    meta = Meta.from_header({"IMAGETYP": "LIGHT"}, f"/astro/2024-05-01/LIGHT/{name}")
    assert (meta.exposure_s, meta.temperature_c, meta.gain, meta.offset) == (exposure_s, temperature_c, gain, offset)
    assert meta.filter == filter_


@pytest.mark.parametrize(
    "cards, name, frames",
    [
        ({"EXPTIME": 60, "TOTALEXP": 15000}, "stack.fits", 250),
        ({"EXPTIME": 60, "LIVETIME": 120}, "a.fits", 2),
        ({"EXPTIME": 60, "LIVETIME": 60}, "a.fits", 1),
        ({"EXPTIME": 60, "LIVETIME": 61.5}, "a.fits", 1),
        ({"EXPTIME": 60, "NCOMBINE": 5, "TOTALEXP": 15000}, "a.fits", 5),
        ({"TOTALEXP": 15000}, "a.fits", 1),
        ({}, "Stacked_250_Field 1_60s.fit", 250),
        ({}, "DSO_Stacked_30_M 31_10.0s_20240101_220000.fit", 30),
        ({}, "stacked-16_M 42.fits", 16),
        ({}, "Stack_16bits_450frames_6750s.fit", 450),
        ({}, "stack_0012_Ha.fits", 1),
        ({}, "M31_Stacked_12.fits", 1),
        ({"IMAGETYP": "Dark", "EXPTIME": 60, "TOTALEXP": 6000}, "a.fits", 1),
    ],
)
def test_truth_stacks_of_telescopes_are_known(cards, name, frames):
    meta = Meta.from_header({"IMAGETYP": "Light Frame"} | cards, name)
    assert meta.frames == frames and meta.is_master == (frames > 1)


def test_truth_header_is_believed_over_the_name():
    meta = Meta.from_header({"IMAGETYP": "Dark Frame", "EXPTIME": 30}, "lights/light_600s.fits")
    assert (meta.kind, meta.exposure_s) == ("dark", 30)
    assert "though its folder lights says light" in meta.notes[0]
    nina = {"IMAGETYP": "LIGHT", "SWCREATE": "N.I.N.A. 1.9.0.9001"}
    assert Meta.from_header(nina, "darks/x.fits").kind == "dark", "this version wrote LIGHT for darks"
    assert Meta.from_header({"IMAGETYP": "DARK"}, "darkflats/x.fits").kind == "flatdark"


@pytest.mark.parametrize(
    "cards, field, value",
    [
        ({"EXPTIME": "12,5"}, "exposure_s", 12.5),
        ({"EXPTIME": "1/60"}, "exposure_s", 1 / 60),
        ({"EXPTIME": "300 s"}, "exposure_s", 300),
        ({"EXPTIME": 0.0, "EXPOSURE": 60}, "exposure_s", 60),
        ({"EXPTIME": "", "EXP": 10}, "exposure_s", 10),
        ({"EXPTIME": 0}, "exposure_s", 0),
        ({"EXPTIME": -1}, "exposure_s", None),
        ({"FILTER": "   "}, "filter", None),
        ({"FILTER": "Filter 2"}, "filter", "Filter 2"),
        ({"FILTER": 2}, "filter", "2"),
        ({"OBJECT": "Unknown "}, "object", None),
        ({"FOCALLEN": 0.0}, "focal_mm", None),
        ({"FOCALLEN": "510,5"}, "focal_mm", 510.5),
        ({"CCD-TEMP": 999}, "temperature_c", None),
        ({"SET-TEMP": -10}, "temperature_c", -10),
        ({"CCDTEMP": "-9.8 C", "SET-TEMP": -10}, "temperature_c", -9.8),
        ({"BINNING": "2*2"}, "binning", (2, 2)),
        ({"BINNING": "3"}, "binning", (3, 3)),
        ({"XBINNING": 0, "YBINNING": 0}, "binning", (1, 1)),
        ({"CCDXBIN": 2, "CCDYBIN": 1}, "binning", (2, 1)),
        ({"GAIN": -1}, "gain", None),
        ({"GAIN": 100}, "gain", 100),
        ({"GAIN": 1.27}, "gain_e_per_dn", 1.27),
        ({"EGAIN": 0.78}, "gain_e_per_dn", 0.78),
        ({"SNAPSHOT": 5}, "frames", 1),
        ({"PEDESTAL": -100}, "pedestal_dn", 100),
        ({"PEDESTAL": 100}, "pedestal_dn", 100),
        ({"XPIXSZ": 13.6, "XBINNING": 2}, "pixel_um", 13.6),
        ({"PIXSIZE1": 3.75, "XBINNING": 2}, "pixel_um", 7.5),
        ({"DATE-OBS": "2023-10-10T20:10:10.1234567Z"}, "time", "2023-10-10T20:10:10.123"),
        ({"DATE-OBS": "2023-10-10T22:10:10+02:00"}, "time", "2023-10-10T20:10:10.000"),
        ({"DATE": "30/05/25", "TIME-OBS": "02:58:39"}, "time", "2025-05-30T02:58:39.000"),
        ({"DATE-OBS": "30/05/98", "UT": "02:58:39"}, "time", "1998-05-30T02:58:39.000"),
        ({"JD": 2451545.0}, "time", "2000-01-01T12:00:00.000"),
        ({"DATE-OBS": "2000-01-01T14:00:00", "JD": 2451545.0}, "time", "2000-01-01T12:00:00.000"),
        ({"DATE-OBS": "2000-13-45T99:00:00"}, "time", None),
        ({"RA": "16 00 44.00", "DEC": "-43:08:42"}, "ra_deg", 15 * (16 + 44 / 3600)),
        ({"RA": "16 00 44.00", "DEC": "-00:30:00"}, "dec_deg", -0.5),
        ({"RA": 120.5, "DEC": 3}, "ra_deg", 120.5),
        ({"RA": 10.0, "DEC": 3, "ORIGIN": "DWARFLAB"}, "ra_deg", 150),
        ({"OBJCTRA": "00 00 00", "OBJCTDEC": "+00 00 00"}, "ra_deg", None),
        ({"BAYERPAT": "RGGB"}, "pattern", "RGGB"),
        ({"BAYERPAT": "RGGB", "XBAYROFF": 1}, "pattern", "GRBG"),
        ({"BAYERPAT": "RGGB", "YBAYROFF": 1}, "pattern", "GBRG"),
        ({"BAYERPAT": "NONE"}, "pattern", None),
        ({"CFAIMAGE": "no"}, "pattern", None),
        ({"BITPIX": 16, "BZERO": 32768}, "saturation_dn", 65535),
        ({"BITPIX": 16, "SATURATE": 60000}, "saturation_dn", 60000),
        ({"BITPIX": -32}, "saturation_dn", None),
    ],
)
def test_truth_values(cards, field, value):
    found = getattr(Meta.from_header(cards), field)
    assert found == pytest.approx(value) if isinstance(value, float) else found == value


def test_truth_a_stack_of_three_planes_is_no_mosaic():
    assert Meta.from_header({"BAYERPAT": "GRBG"}, shape=(3, 8, 8)).pattern is None


def test_truth_pattern_of_a_flipped_image():
    rows = np.array([list("RG"), list("GB")])
    for height in (4, 5):
        image = np.tile(rows, (3, 3))[:height]
        assert flipped_pattern("RGGB", height) == "".join(image[::-1][:2, :2].ravel())


def test_truth_names_that_mean_the_same():
    for a, b in [
        ("Ha", "H-alpha"),
        ("H_Alpha", "Hα"),
        ("Luminance", "l"),
        ("O3", "OIII"),
        ("Ha 3nm", "Ha"),
        ("RED", "r"),
    ]:
        assert same_filter(a, b) is True, (a, b)
    for a, b in [("Ha 3nm", "Ha 7nm"), ("R", "G"), ("Filter 1", "Filter 2"), ("SII", "Ha")]:
        assert same_filter(a, b) is False, (a, b)
    assert same_filter(None, "R") is None
    assert filter_key("[OIII] 6nm") == "oiii6nm"
    assert camera_key("ZWO CCD ASI2600MM Pro") == camera_key("ZWO ASI2600MM Pro(1)")
    assert camera_key("QHYCCD-Cameras-Capture: QHY600M-1a2b3c4d5e") == camera_key("QHY600M")
    assert camera_key("ASI2600MM") != camera_key("ASI294MM")
    assert object_key("M 31") == object_key("m_31")


odd = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=4))
keys = st.sampled_from(
    "IMAGETYP FRAME EXPTIME FILTER BINNING XBINNING CCD-TEMP SET-TEMP GAIN OFFSET EGAIN XPIXSZ FOCALLEN DATE-OBS JD "
    "MJD-OBS RA DEC OBJCTRA OBJCTDEC BAYERPAT XBAYROFF PEDESTAL CALSTAT CALBIAS NCOMBINE TIME-OBS DATE INSTRUME "
    "ROTATANG XORGSUBF BITPIX BZERO BSCALE COMMENT".split()
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, odd), st.text(max_size=40))
def test_truth_odd_values_never_raise(cards, source):
    meta = Meta.from_header(cards, source)
    assert isinstance(meta, Meta) and meta.frames >= 1 and min(meta.binning) >= 1
    hash(meta)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_truth_decimal_commas(value):
    assert as_number(repr(value).replace(".", ",")) == pytest.approx(value)


def test_truth_frames_index_like_arrays():
    array = np.arange(3 * 5 * 7, dtype=np.float32).reshape(3, 5, 7)
    for image in (array, array[0]):
        frame = ArrayFrame.of(image)
        for box in (
            (slice(1, 3), slice(2, 6)),
            (slice(None), -1),
            (2, slice(None, None, 2)),
            (slice(3, 3), slice(None)),
        ):
            assert np.array_equal(frame[(..., *box)], image[(..., *box)])
        assert np.array_equal(np.asarray(frame), image)


def test_truth_a_frame_without_pixels_says_so():
    with pytest.raises(Exception, match="no pixels"):
        Frame(source="x", meta=Meta(shape=(2, 2)))[0:1, 0:1]


def test_truth_sections_are_believed_only_when_they_can_be():
    def told(**cards):
        return Meta.from_header(cards, "x.fits", (100, 120))

    good = told(BIASSEC="[111:120,1:100]", DATASEC="[1:110,1:100]", TRIMSEC="[3:108,1:100]")
    assert good.overscan_px == ((0, 100, 110, 120),)
    assert good.data_px == (0, 100, 2, 108)
    assert good.sky_shape == (100, 106)
    for odd in (
        {"BIASSEC": "[111:130,1:100]"},
        {"DATASEC": "[1:10,1:10]"},
        {"BIASSEC": "[90:120,1:100]", "DATASEC": "[1:99,1:100]"},
    ):
        meta = told(**odd)
        assert (meta.overscan_px, meta.data_px, meta.sky_shape) == ((), None, (100, 120))
        assert "believed" in meta.notes[0]
    assert told(DATASEC="[1:120,1:100]").data_px is None
    assert told(BIASSEC="something").notes == ()


def test_truth_a_regridded_header_points_at_the_same_sky():
    from astropy.wcs import WCS

    header = {"NAXIS": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 50.0, "CRVAL2": 20.0, "CRPIX1": 40.0}
    header |= {
        "CRPIX2": 30.0,
        "CD1_1": -1e-3,
        "CD1_2": 1e-4,
        "CD2_1": 1e-4,
        "CD2_2": 1e-3,
        "XPIXSZ": 3.8,
        "BAYERPAT": "RGGB",
    }
    header |= {f"{key}A": value for key, value in header.items() if key.startswith("C")}
    new = regrid(header, y0=4, x0=7, factor=2)
    assert new["XPIXSZ"] == 7.6
    assert "BAYERPAT" not in new
    old_x, old_y = 7 + 2 * 12 + 0.5, 4 + 2 * 9 + 0.5  # the middle of the new pixel (12, 9)
    for letter in " A":
        was, now = (WCS(cards, key=letter) for cards in (header, new))
        assert np.allclose(now.pixel_to_world_values(12, 9), was.pixel_to_world_values(old_x, old_y), atol=1e-9)


def test_truth_shifted_pattern():
    assert shifted_pattern("RGGB", 0, 1) == "GRBG"
    assert shifted_pattern("RGGB", 1, 0) == "GBRG"
    assert shifted_pattern("RGGB", 3, 5) == "BGGR"
    assert shifted_pattern(None, 1, 1) is None


def test_oracle_what_is_near_bright_pixels_is_the_same_in_whatever_box():
    rng = np.random.default_rng(6)
    array = np.where(rng.random((3, 40, 50)) < 0.01, 50_000, rng.normal(100, 5, (3, 40, 50)))
    for frame in (ArrayFrame.of(array, "colour"), ArrayFrame.of(array[0], "mono")):
        pixels = np.asarray(frame)
        whole = np.zeros((40, 50), bool)
        for y, x in np.argwhere(pixels.reshape(-1, 40, 50).max(axis=0) >= 48_000):
            whole[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
        for y0, y1, x0, x1 in ((0, 40, 0, 50), (3, 17, 1, 20), (20, 40, 30, 50)):
            out = np.empty((*pixels.shape[:-2], y1 - y0, x1 - x0), np.float32)
            near = frame.bright_into(out, y0, x0, 48_000, 2)
            np.testing.assert_array_equal(near, whole[y0:y1, x0:x1])
            np.testing.assert_array_equal(out, pixels[..., y0:y1, x0:x1])
        assert frame.bright_into(out, y0, x0, 60_000, 2) is None


def test_surface_every_process_takes_arrays_as_it_takes_frames():
    rng = np.random.default_rng(5)
    pixels = rng.normal(500, 5, (5, 40, 50)).astype(np.float32)
    frames = [ArrayFrame.of(each, f"array {i}") for i, each in enumerate(pixels)]
    flat = np.full((40, 50), 20_000, np.float32)
    calibrate = ml.ImageCalibration()
    masters = calibrate.masters(bias=pixels[1], flat=flat)
    pairs = [
        (calibrate(pixels[0], masters), calibrate(frames[0], calibrate.masters(frames[1], None, ArrayFrame.of(flat)))),
        *((step(pixels[0]), step(frames[0])) for step in (ml.CosmeticCorrection(), ml.Debayer(pattern="RGGB"))),
        (ml.Superbias()(pixels[0]), ml.Superbias()(frames[0])),
        (ml.DefectMap()(pixels[0], np.ones((40, 50))), ml.DefectMap()(frames[0], ArrayFrame.of(np.ones((40, 50))))),
    ]
    for several in (pixels, list(pixels)), (list(pixels), frames):
        pairs.append(tuple(list(ml.ImageIntegration()(each))[-1].result.image for each in several))
    for one, other in pairs:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert ml.BadPixels().from_darks(list(pixels)).source
    colour = [rng.normal(500, 5, (3, 40, 50)) for _ in range(3)]
    assert list(ml.ImageIntegration()(colour))[-1].result.image.shape == (3, 40, 50)


WRONG = ["light.fits", None, np.ones(9), np.ones((40, 50, 3)), np.ones((0, 5)), np.array("x"), [1]]


@pytest.mark.parametrize("wrong", WRONG)
def test_surface_what_is_no_frame_is_told_in_one_sentence(wrong):
    uses = [
        lambda: list(ml.ImageIntegration()([wrong])),
        lambda: ml.Debayer()(wrong),
        lambda: ml.CosmeticCorrection()(wrong),
        lambda: ml.ImageCalibration()(wrong, ml.ImageCalibration().masters()),
    ]
    for use in uses:
        with pytest.raises(ParameterError, match="a frame is needed, as .* gives one, or an array"):
            use()
