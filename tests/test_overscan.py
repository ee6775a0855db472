"""Overscan: where it is, what it tells, and when it is not believed."""

import pickle

import numpy as np
import pytest

import masterlight as ml
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.level import Level
from masterlight.calibration.overscan import Overscan
from masterlight.calibration.trimmed import Trimmed
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Frame, Meta, Stored
from masterlight.core.process import knobs

ROWS, COLS = 160, 240
STRIP = (0, ROWS, 200, COLS)
DATA = (4, ROWS - 4, 2, 198)


def raw(rng, level=1000.0, sky=300.0, kind="light", noise=4.0, **meta):
    """A frame with its data region in the light and an overscan strip on the right; `level` may vary by row."""
    image = np.zeros((ROWS, COLS)) + np.reshape(level, (-1, 1) if np.ndim(level) == 1 else (1, 1))
    image[DATA[0] : DATA[1], DATA[2] : DATA[3]] += sky
    image = np.round(image + rng.normal(0, noise, image.shape))
    told = {"overscan_px": (STRIP,), "data_px": DATA, "saturation_dn": 65535.0, "kind": kind, **meta}
    return ArrayFrame.of(image, told.pop("source", "light"), Meta(**told))


def test_truth_level_is_subtracted_and_the_frame_trimmed():
    frame = raw(np.random.default_rng(1), 1000.4)
    calibration = ImageCalibration()
    view = calibration(frame, calibration.masters())
    assert view.shape == frame.meta.sky_shape == (152, 196)
    assert view.meta.calibration == "O"
    assert view.equation == "C = L - overscan"
    assert view.meta.data_px is None
    assert view.meta.overscan_px == ()
    assert np.mean(view) == pytest.approx(300, abs=0.15)  # 4 DN / sqrt(6400 and 29800), three sigma
    assert np.array_equal(view[3:90, 11:50], np.asarray(view)[3:90, 11:50])
    again = pickle.loads(pickle.dumps(view))
    assert np.array_equal(again, view)


def test_truth_a_count_of_columns_takes_the_drift_of_an_observatory_night_off():
    """DARK of 0 s for bias, OBJECT for flats and lights alike, COVER = 40, a DATASEC of everything: sky is 300 DN."""
    rng, shade = np.random.default_rng(8), np.linspace(1, 0.8, 200)
    cards = {"COVER": 40, "DATASEC": f"[1:{COLS},1:{ROWS}]", "TEMPDET": 164.0, "FILTNAM": "V", "OBJECT": "BIAS"}
    cards |= {"BITPIX": 16, "BZERO": 32768.0}

    def taken(folder, type_, exposure_s, light, drift):
        image = np.pad(light * np.ones((ROWS, 200)), ((0, 0), (0, 40))) + rng.normal(1000 + drift, 4, (ROWS, COLS))
        source = f"night/{folder}/d{drift}.fits"
        meta = Meta.from_header(cards | {"OBSTYPE": type_, "EXPTIME": exposure_s}, source, image.shape)
        return ArrayFrame.of(image, source, meta)

    bias = [taken("bias", "DARK", 0.0, 0, 2 * i) for i in range(4)]
    flats = [taken("flats", "OBJECT", 4.0, 20000 * shade, 20) for _ in range(4)]
    lights = [taken("lights", "OBJECT", 60.0, 300 * shade, 4 * i) for i in range(3)]
    assert [one[0].meta.kind for one in (bias, flats, lights)] == ["bias", "flat", "light"]
    calibration = ImageCalibration(flat_trim_fraction=0.0)
    level = np.mean([calibration(one, calibration.masters()) for one in bias], axis=0)
    assert level.shape == (ROWS, 200) and abs(level.mean()) < 0.2
    made = ArrayFrame.of(
        level, "bias", bias[0].meta.with_(is_master=True, overscan_px=(), data_px=None, calibration="O")
    )
    flat = np.mean([calibration(one, calibration.masters(bias=made)) for one in flats], axis=0)
    meta = flats[0].meta.with_(is_master=True, overscan_px=(), data_px=None, calibration="OB", contains_bias=False)
    masters = calibration.masters(bias=made, flat=ArrayFrame.of(flat, "flat", meta))
    for light in lights:
        assert np.mean(calibration(light, masters)) == pytest.approx(300 * shade.mean(), abs=0.2)


def test_surface_header_says_what_is_left():
    header = {"BIASSEC": "[201:240,1:160]", "TRIMSEC": "[3:198,5:156]", "CRPIX1": 100.0, "CRPIX2": 80.0, "OBJECT": "M1"}
    meta = Meta.from_header(header, "x.fits", (ROWS, COLS))
    assert (meta.overscan_px, meta.data_px) == ((STRIP,), DATA)

    class Headed(ArrayFrame):
        header = {"CRPIX1": 100.0, "CRPIX2": 80.0, "OBJECT": "M1", "BIASSEC": "[201:240,1:160]"}

    image = raw(np.random.default_rng(2)).array
    frame = Headed(source="x.fits", meta=meta.with_(shape=image.shape, kind="light"), array=image)
    calibration = ImageCalibration()
    cut = calibration(frame, calibration.masters()).header
    assert cut == {"CRPIX1": 98.0, "CRPIX2": 76.0, "OBJECT": "M1"}


def test_truth_pattern_and_black_level_shift_with_the_trimming():
    frame = raw(np.random.default_rng(3), pattern="RGGB", data_px=(5, 155, 3, 197), black_dn=(1.0, 2.0, 3.0, 4.0))
    calibration = ImageCalibration(overscan=Overscan(model="none"), black_level=False)
    view = calibration(frame, calibration.masters())
    assert isinstance(view, Trimmed)
    assert view.meta.pattern == "BGGR"
    assert view.meta.black_dn == (4.0, 3.0, 2.0, 1.0)
    assert np.array_equal(view, frame.array[5:155, 3:197])
    assert view.cards


def test_truth_each_place_of_a_mosaic_has_its_own_level():
    rng = np.random.default_rng(4)
    frame = raw(rng, pattern="RGGB", data_px=(5, 155, 3, 197))
    phases = np.array([[0, 7], [-5, 12]])
    image = frame.array + phases[np.arange(ROWS) % 2][:, np.arange(COLS) % 2]
    frame = ArrayFrame.of(image, "light", frame.meta)
    calibration = ImageCalibration()
    view = np.asarray(calibration(frame, calibration.masters()))[10:-10, 10:-10]
    for y, x in np.ndindex(2, 2):
        assert view[y::2, x::2].mean() == pytest.approx(300, abs=0.4)  # 4 DN / sqrt(1600), four sigma


def drifting(rng, curve):
    return raw(rng, 1000 + curve, noise=3.0)


@pytest.mark.parametrize(
    ("model", "order", "limit"), [("constant", 1, 30), ("median", 1, 0.75), ("polynomial", 3, 0.15)]
)
def test_truth_level_that_drifts_from_row_to_row(model, order, limit):
    """A polynomial follows a smooth drift, lines follow it with their own noise (3 / sqrt(40)), a constant does not."""
    t = np.linspace(-1, 1, ROWS)
    frame = drifting(np.random.default_rng(5), 12 * t - 9 * t**2 + 6 * t**3)
    frame.array[40, 205] = 60000  # a cosmic ray
    frame.array[70:73, 200:] += 500  # rows that went wrong
    calibration = ImageCalibration(overscan=Overscan(model=model, order=order))
    view = calibration(frame, calibration.masters())
    rows = np.asarray(view).mean(axis=1) - 300
    good = np.abs(np.arange(rows.size) + DATA[0] - 71) > 3
    error = np.std(rows[good])
    assert error < (limit**2 + 3**2 / 196) ** 0.5
    assert (error > 3) == (model == "constant")
    assert np.array_equal(view[30:77, 3:60], np.asarray(view)[30:77, 3:60])


def test_truth_wide_strip_runs_along_the_columns():
    rng = np.random.default_rng(6)
    drift = np.linspace(0, 20, 200)
    image = np.round(1000 + drift[None, :] + rng.normal(0, 3, (120, 200)))
    image[:100] += 250
    meta = Meta(kind="light", overscan_px=((102, 120, 0, 200),), data_px=(0, 100, 0, 200))
    calibration = ImageCalibration(overscan=Overscan(model="polynomial", order=1))
    view = calibration(ArrayFrame.of(image, "light", meta), calibration.masters())
    assert np.std(np.asarray(view).mean(axis=0)) < 0.45  # 3 / sqrt(100) and a line through 200 columns
    assert np.array_equal(view[3:90, 11:50], np.asarray(view)[3:90, 11:50])


def test_surface_regions_by_hand_override_the_header():
    frame = raw(np.random.default_rng(7), overscan_px=((0, ROWS, 100, 140),), data_px=None)
    by_hand = Overscan(model="constant", region="[201:240,1:160]", image="[3:198,5:156]")
    calibration = ImageCalibration(overscan=by_hand)
    view = calibration(frame, calibration.masters())
    assert view.shape == (152, 196)
    assert np.mean(view) == pytest.approx(300, abs=0.2)
    two = Overscan(region="[201:220,1:160] [221:240,1:160]")
    assert len(two.strips(frame)) == 2
    assert two.level(frame).phases[0, 0] == pytest.approx(1000, abs=0.2)
    whole = ImageCalibration(overscan=Overscan(model="constant", region="[201:240,1:160]", trim=False))
    untrimmed = whole(raw(np.random.default_rng(7)), whole.masters())
    assert untrimmed.shape == (ROWS, COLS)
    assert np.mean(untrimmed[:, 200:]) == pytest.approx(0, abs=0.2)


def test_surface_masters_are_trimmed_like_the_light():
    rng = np.random.default_rng(8)
    light, calibration = raw(rng), ImageCalibration()
    bias = raw(rng, sky=0.0, kind="bias", source="bias", noise=0.0)
    taken = calibration(bias, calibration.masters())  # as a master is made of frames
    assert taken.meta.calibration == "O"
    both = calibration.masters(bias=ArrayFrame.of(taken, "bias", taken.meta))
    view = calibration(light, both)
    assert view.meta.calibration == "OB"
    assert np.mean(view) == pytest.approx(300, abs=0.2)
    flat = ArrayFrame.of(np.full((ROWS, COLS), 2e4), "flat", Meta(contains_bias=False))
    untrimmed = calibration.masters(bias=ArrayFrame.of(taken, "bias", taken.meta), flat=flat)
    assert np.array_equal(calibration(light, untrimmed), view)
    untrimmed.release()
    assert np.array_equal(calibration(light, untrimmed), view)


def test_truth_a_master_without_overscan_subtraction_decides():
    """Its level is in it: the light keeps its own level, and is only trimmed. Asked for by name, it is refused."""
    rng = np.random.default_rng(9)
    light = raw(rng)
    old = ArrayFrame.of(np.full((152, 196), 1000.0), "old bias", Meta(kind="bias", contains_bias=True))
    auto = ImageCalibration()
    view = auto(light, auto.masters(old))
    assert view.equation == "C = L - B"
    assert np.mean(view) == pytest.approx(300, abs=0.1)
    asked = ImageCalibration(overscan=Overscan(model="median"))
    with pytest.raises(FrameError, match="light: its overscan is subtracted, but the master old bias was made without"):
        asked(light, asked.masters(old))
    new = ArrayFrame.of(np.zeros((152, 196)), "new bias", old.meta.with_(calibration="O"))
    with pytest.raises(FrameError, match="light: the master new bias was made with overscan subtracted, which"):
        auto(light.__class__.of(light.array[:152, :196], "light", Meta(kind="light")), auto.masters(new))
    scaled = ImageCalibration(dark_scale=1.0)
    dark = ArrayFrame.of(np.full((152, 196), 1010.0), "dark", old.meta.with_(kind="dark"))
    with pytest.raises(FrameError, match="new bias had its overscan subtracted and dark had not"):
        scaled(light, scaled.masters(new, dark))


def test_surface_nothing_is_subtracted_twice():
    calibration = ImageCalibration()
    once = calibration(raw(np.random.default_rng(10)), calibration.masters())
    assert calibration(once, calibration.masters()) is once
    kept = ArrayFrame.of(np.zeros((ROWS, COLS)), "o", once.meta.with_(overscan_px=(STRIP,), data_px=DATA))
    assert calibration(kept, calibration.masters()).shape == (152, 196)
    assert calibration(kept, calibration.masters()).meta.calibration == "O"


def test_truth_pedestal_is_part_of_the_measured_level():
    frame = raw(np.random.default_rng(11), pedestal_dn=100.0)
    calibration = ImageCalibration()
    assert np.mean(calibration(frame, calibration.masters())) == pytest.approx(300, abs=0.2)


def test_truth_overscan_of_flats_makes_a_flat_without_bias():
    frame = raw(np.random.default_rng(12), kind="flat", sky=20000.0)
    calibration = ImageCalibration()
    view = calibration(frame, calibration.masters())
    flat = ArrayFrame.of(view, "flat", view.meta.with_(contains_bias=True))
    assert calibration.masters(flat=flat).factor().mean() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a[:, 200:].__iadd__(5000), "is brighter than its middle"),
        (lambda a: a[:, 215:].__iadd__(290 * (np.arange(25) % 3 > 0)), "the overscan saw light"),
        (lambda a: a[:, 200:].fill(65535), "only 0 pixels of its overscan can be used"),
        (lambda a: a[:, 200:].fill(0), "only 0 pixels of its overscan can be used"),
    ],
    ids=["brighter", "rough", "saturated", "zero"],
)
def test_bad_overscan_is_refused_and_says_what_to_do(change, words):
    frame = raw(np.random.default_rng(13))
    change(frame.array)
    calibration = ImageCalibration()
    view = calibration(frame, calibration.masters())
    with pytest.raises(FrameError, match=f"{words}.*Overscan.model none"):
        np.asarray(view)
    off = ImageCalibration(overscan=Overscan(model="none"))
    assert np.asarray(off(frame, off.masters())).shape == (152, 196)


def test_truth_overscan_of_a_bias_frame_is_as_bright_as_its_middle():
    for seed in range(20):
        frame = raw(np.random.default_rng([14, seed]), sky=0.0, kind="bias")
        assert Overscan().level(frame).phases[0, 0] == pytest.approx(1000, abs=0.2)


@pytest.mark.parametrize(
    ("knobs_", "error", "words"),
    [
        ({"region": "left"}, ParameterError, r"region: '\[x1:x2,y1:y2\]', counted from 1, is expected"),
        ({"region": "[1:2,3:4] x"}, ParameterError, "region"),
        ({"region": "[201:260,1:160]"}, FrameError, r"Overscan.region \[201:260,1:160\] reaches outside its 240 x 160"),
        ({"image": "[0:9,1:9]"}, FrameError, "Overscan.image"),
        ({"region": "[1:9,1:9]", "image": "[5:99,5:99]"}, FrameError, "overlap; give them apart"),
        ({"model": "median", "region": None}, FrameError, "tells no overscan"),
    ],
)
def test_bad_regions_are_told(knobs_, error, words):
    frame = raw(np.random.default_rng(15), overscan_px=(), data_px=None)
    with pytest.raises(error, match=words):
        calibration = ImageCalibration(overscan=Overscan(**knobs_))
        calibration(frame, calibration.masters())


def test_truth_levels_of_a_pattern():
    level = Level.of((1.0, 2.0, 3.0, 4.0))
    lines, box = level.box(1, 4, 1, 3)
    assert np.array_equal(box, [[4, 3], [2, 1]])
    assert lines.sum() == 0
    assert Level.of((5.0,) * 4).phases.shape == (1, 1)
    with pytest.raises(ParameterError, match="not 3"):
        Level.of((1.0, 2.0, 3.0))


class StoredFrame(Frame):
    """A frame as a camera writes it, which refuses to be decoded as a whole."""

    def values(self):
        rng = np.random.default_rng(17)
        image = 1000 + rng.normal(0, 4, (ROWS, COLS))
        image[DATA[0] : DATA[1], DATA[2] : DATA[3]] += 300
        return np.round(image)

    def stored(self, y0, y1, x0, x1):
        big_endian = (self.values() - 32768).astype(">i2")
        return Stored(np.ascontiguousarray(big_endian[y0:y1, x0:x1]).view(np.int16), 32768.0, 1.0, True)

    def pixels(self, y0, y1, x0, x1):
        assert (y1 - y0) * (x1 - x0) <= 40 * ROWS, "decoding and calibrating are to be one pass"
        return self.values()[y0:y1, x0:x1].astype(np.float32)


def test_oracle_trimmed_frames_are_decoded_and_calibrated_in_one_pass():
    frame = StoredFrame(source="s", meta=Meta(shape=(ROWS, COLS), kind="light", overscan_px=(STRIP,), data_px=DATA))
    calibration = ImageCalibration()
    view = calibration(frame, calibration.masters())
    expected = frame.values()[DATA[0] : DATA[1], DATA[2] : DATA[3]] - view.level.phases[0, 0]
    assert np.allclose(view, expected, atol=1e-3)  # float32 at 1300 DN resolves 1e-4


def test_surface_overscan_knobs_are_part_of_calibration():
    paths = {knob.path: knob for knob in knobs(ImageCalibration)}
    assert all(paths[f"overscan.{name}"].help.endswith(".") for name in ("model", "order", "trim", "region", "image"))
    changed = ml.build(ImageCalibration, {"overscan.model": "polynomial", "overscan.order": 2})
    assert changed.overscan == Overscan(model="polynomial", order=2)
    assert ml.build(ImageCalibration, {"overscan.region": "[1:5,1:9]"}).overscan.region == "[1:5,1:9]"


def test_surface_a_trimmed_frame_is_a_frame_like_any_other():
    frame = raw(np.random.default_rng(18), pattern="RGGB", black_dn=(999.0, 1000.0, 1001.0, 1002.0))
    part = Trimmed.of(frame, (5, 100, 3, 150))
    calibration = ImageCalibration()
    view = calibration(part, calibration.masters())
    assert view.equation == "C = L - black"
    black = np.array([[999.0, 1000.0], [1001.0, 1002.0]])[np.arange(5, 100) % 2][:, np.arange(3, 150) % 2]
    assert np.array_equal(view, frame.array[5:100, 3:150] - black)
