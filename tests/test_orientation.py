"""Which row BAYERPAT is of, in files that have the last row first: the pixels decide."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import siril
from astropy.io import fits
from sky import written

from masterlight import io
from masterlight.colour.debayer import Debayer
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import flipped_pattern
from masterlight.doors.hand.steps import by_hand
from masterlight.night.recipe import Recipe
from masterlight.night.run import run
from masterlight.session.found.orientation import look, settle_patterns
from masterlight.session.planner import plan
from masterlight.session.scan import scan
from masterlight.simulate.night import XTRANS

SHAPE = 200, 240
SKY = {"R": 1.5, "G": 1.0, "B": 0.5}
"""A sky that is not grey."""


def mosaic(pattern, levels, noise=None, seed=0, shape=SHAPE):
    """What a sensor with this pattern sees, (rows, cols) DN: `levels` by colour, numbers or images of the shape."""
    n = int(len(pattern) ** 0.5)
    letters = np.array(list(pattern)).reshape(n, n)[np.ix_(np.arange(shape[0]) % n, np.arange(shape[1]) % n)]
    image = np.zeros(shape)
    for letter, level in levels.items():
        image = np.where(letters == letter, level, image)
    scatter = np.sqrt(np.maximum(image, 0)) if noise is None else noise
    return np.rint(image + np.random.default_rng(seed).normal(0, 1, shape) * scatter)


def stored_frame(array, told, kind="light", **meta):
    """A frame as it comes of a file with the last row first, read as Siril reads it."""
    return ArrayFrame.of(array, f"{kind}.fits", Meta(kind=kind, camera="Cam", bottom_up=True, pattern=told, **meta))


def frames_by(rule, pattern, levels, count=3, kind="light", shape=SHAPE, **more):
    """Frames of a sensor with this pattern, whose files tell it by a rule: "top" or "stored"."""
    told = pattern if rule == "top" else flipped_pattern(pattern, shape[0])
    return [stored_frame(mosaic(pattern, levels, seed=i, shape=shape, **more), told, kind) for i in range(count)]


def patterns(frames):
    return {frame.meta.pattern for frame in frames}


@pytest.mark.parametrize("rule", ["top", "stored"])
@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG", XTRANS])
def test_truth_the_greens_tell_the_rule(pattern, rule):
    sky = {letter: 500 + 400 * level for letter, level in SKY.items()}
    darks = frames_by(rule, pattern, dict.fromkeys("RGB", 500), 2, kind="dark")
    settled, told = settle_patterns([*frames_by(rule, pattern, sky), *darks])
    assert patterns(settled) == {pattern}, "darks are read as the lights of their camera"
    assert {frame.meta.pattern_row for frame in settled} == {rule}
    where = {"top": "at the top of the picture", "stored": "with the first row stored"}[rule]
    assert len(told) == 1 and where in told[0] and "5 files" in told[0] and "3 frames looked at" in told[0]
    assert settle_patterns(settled) == (settled, []), "what is settled stays"


SCENES = {
    "flats": {"R": 14000, "G": 30000, "B": 19000},
    "green light": {"R": 600, "G": 9000, "B": 1700},
    "a faint sky on a high bias": {"R": 2060, "G": 2080, "B": 2052},
    "hydrogen": {"R": 900, "G": 520, "B": 512},
    "oxygen": {"R": 510, "G": 800, "B": 830},
    "red and blue nearly alike": {"R": 800, "G": 1000, "B": 840},
    "cut off at zero": {"R": 3, "G": 0, "B": -6},
    "saturated but for blue": {"R": 90000, "G": 80000, "B": 50000},
}


@pytest.mark.parametrize("rule", ["top", "stored"])
@pytest.mark.parametrize("scene", SCENES)
def test_truth_scenes_that_tell_the_rule(scene, rule):
    noise = 8.0 if "zero" in scene else None
    made = frames_by(rule, "RGGB", SCENES[scene], noise=noise)
    made = [replace(frame, array=np.clip(frame.array, 0, 65535)) for frame in made]
    settled, _ = settle_patterns(made)
    assert patterns(settled) == {"RGGB"} and {frame.meta.pattern_row for frame in settled} == {rule}


@pytest.mark.parametrize("rule", ["top", "stored"])
def test_truth_nebulae_stars_gradients_and_vignetting_do_not_mislead(rule):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rng = np.random.default_rng(5)
    stars = np.zeros(SHAPE)
    for sy, sx, flux in rng.random((300, 3)):
        sy, sx, flux = 200 * sy, 240 * sx, 3e4 * flux**4
        stars += flux * np.exp(-((y - sy) ** 2 + (x - sx) ** 2) / 2.0)
    nebula = 800 * np.exp(-((y - 80) ** 2 + (x - 100) ** 2) / 3000)
    slope = 3.0 * x + 2.0 * y
    sky = {"R": 1.1 * (600 + slope) + nebula, "G": 600 + slope + 0.3 * nebula, "B": 0.9 * (600 + slope) + 0.2 * nebula}
    settled, _ = settle_patterns(frames_by(rule, "GRBG", {c: v + stars for c, v in sky.items()}))
    assert patterns(settled) == {"GRBG"} and settled[0].meta.pattern_row == rule


TOO_ALIKE = "grey", "nothing", "red as blue", "green light", "grey with a slope", "greens unlike by themselves"


@pytest.mark.parametrize("scene", TOO_ALIKE)
def test_truth_where_pixels_cannot_tell_the_header_is_read_as_siril_reads_it(scene):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    levels = {
        "grey": dict.fromkeys("RGB", 20000.0), "nothing": dict.fromkeys("RGB", 500.0),
        "red as blue": {"R": 9000.0, "G": 15000.0, "B": 9000.0}, "green light": {"R": 600.0, "G": 9000.0, "B": 650.0},
        "grey with a slope": dict.fromkeys("RGB", 2000 + 60 * x + 80 * y),
        "greens unlike by themselves": {"R": 9000.0, "G": 15000 * (1 + 0.01 * (y % 2)), "B": 9000.0},
    }[scene]  # fmt: skip
    settled, told = settle_patterns(frames_by("stored", "RGGB", levels))
    assert patterns(settled) == {"GBRG"} and settled[0].meta.pattern_row == ""
    assert (
        len(told) == 1 and "as Siril reads it: the pixels cannot tell" in told[0] and "Debayer.pattern RGGB" in told[0]
    )


def test_truth_one_camera_has_one_reading():
    """Lights that cannot tell go with flats that can, of another program too; frames of another camera do not."""
    lights = frames_by("stored", "RGGB", dict.fromkeys("RGB", 500.0))
    flats = frames_by("stored", "RGGB", SCENES["flats"], kind="flat")
    settled, told = settle_patterns([*lights, *flats])
    assert patterns(settled) == {"RGGB"} and len(told) == 1 and "6 files" in told[0]
    others = [replace(frame, meta=frame.meta.with_(program="another")) for frame in flats]
    settled, told = settle_patterns([*lights, *others])
    assert patterns(settled) == {"RGGB"} and len(told) == 1
    others = [replace(frame, meta=frame.meta.with_(camera="other")) for frame in flats]
    settled, told = settle_patterns([*lights, *others])
    assert [frame.meta.pattern for frame in settled] == ["GBRG"] * 3 + ["RGGB"] * 3 and len(told) == 2


def test_truth_frames_that_contradict_one_another_are_told():
    frames = frames_by("stored", "RGGB", SCENES["flats"]) + [
        stored_frame(mosaic("GBRG", SCENES["flats"], seed=9), "GBRG") for _ in range(2)
    ]
    settled, told = settle_patterns(frames)
    assert patterns(settled) == {"GBRG"} and "contradict one another" in told[0]


def test_truth_frames_that_can_be_read_in_one_way_are_let_be():
    odd = frames_by("top", "RGGB", SKY, shape=(201, 240))
    upright = [replace(odd[0], meta=odd[0].meta.with_(bottom_up=False))]
    colour = [ArrayFrame.of(np.zeros((3, 20, 20)), meta=Meta(bottom_up=True, pattern="RGGB"))]
    mono = [stored_frame(np.zeros((20, 20)), None)]
    cmyg = [stored_frame(np.zeros((20, 20)), "CMYG")]
    everything = [*odd, *upright, *colour, *mono, *cmyg]
    assert settle_patterns(everything) == (everything, [])
    assert look(stored_frame(np.zeros((6, 240)), "RGGB")).row == "", "too small to tell"
    assert look(stored_frame(np.full(SHAPE, np.nan), "RGGB")).row == ""


def test_truth_darks_alone_say_nothing():
    darks = frames_by("stored", "RGGB", dict.fromkeys("RGB", 500.0), kind="dark")
    settled, told = settle_patterns(darks)
    assert told == [] and patterns(settled) == {"GBRG"} and settled[0].meta.pattern_row == ""


@pytest.mark.parametrize("rule", ["top", "stored"])
def test_truth_a_night_has_its_colours_by_either_rule(rule):
    night = written(dialect="sharpcap", pattern_row=rule, pattern="RGGB", rows=240, cols=300, lights=3, flats=3)
    found = plan(scan(night.folder))
    frames = [frame for group in found.groups for frame in group.frames]
    assert {frame.meta.pattern for frame in frames} == {"RGGB"} and {frame.meta.pattern_row for frame in frames} == {
        rule
    }
    assert sum("ROWORDER" in words for words in found.warnings) == 1
    given = plan(scan(night.folder), pattern="GBRG")
    assert {frame.meta.pattern for group in given.groups for frame in group.frames} == {"GBRG"}
    assert not any("ROWORDER" in words for words in given.warnings)


@siril.installed
def test_authority_siril_reads_headers_so(tmp_path):
    """Where pixels are not asked, our reading of BAYERPAT, its offsets and ROWORDER is that of Siril 1.0.6."""
    levels, colours = {"R": 8000, "G": 4000, "B": 1000}, []
    offsets = [{}, {"XBAYROFF": 1, "YBAYROFF": 0}, {"XBAYROFF": 0, "YBAYROFF": 1}]
    cases = [(rows, order, more) for rows in (60, 61) for order in ("BOTTOM-UP", "TOP-DOWN") for more in offsets]
    for i, (rows, order, more) in enumerate(cases):
        header = fits.Header({"ROWORDER": order, "BAYERPAT": "RGGB", "EXPTIME": 1.0} | more)
        stored = mosaic("GRBG", levels, noise=1, shape=(rows, 80)).astype(np.uint16)
        fits.PrimaryHDU(stored, header).writeto(tmp_path / f"case{i:02d}.fits")
        colour = np.asarray(Debayer(method="bilinear")(io.read(tmp_path / f"case{i:02d}.fits")))
        colours.append(np.median(colour[:, 10:-10, 10:-10], axis=(1, 2)))
    (tmp_path / "out").mkdir()
    siril.run(tmp_path, "convert all -debayer -out=out")
    for case, ours, path in zip(cases, colours, sorted((tmp_path / "out").glob("all_*.fits")), strict=True):
        theirs = np.median(fits.getdata(path)[:, 10:-10, 10:-10], axis=(1, 2))
        assert theirs == pytest.approx(ours, rel=0.15), case


SKY_NIGHT = {"rows": 240, "cols": 300, "lights": 3, "darks": 4, "biases": 4, "flats": 4, "hot_fraction": 0.003}


@pytest.mark.parametrize("rule", ["top", "stored"])
@pytest.mark.parametrize("by_hand_too", [False, True])
def test_truth_masters_have_their_rows_as_the_frames(tmp_path, rule, by_hand_too):
    """A program that turns no rows takes a master for what it is: hot pixels lie on hot pixels, greens on greens."""
    night = written(dialect="sharpcap", pattern_row=rule, pattern="RGGB", **SKY_NIGHT)
    if by_hand_too:
        list(by_hand("bias", night.paths("bias"), tmp_path / "bias.fits"))
        list(by_hand("dark", night.paths("dark"), tmp_path / "dark.fits"))
        list(by_hand("flat", night.paths("flat"), tmp_path / "flat.fits", bias=tmp_path / "bias.fits"))
        made = {kind: tmp_path / f"{kind}.fits" for kind in ("bias", "dark", "flat")}
    else:
        *_, done = run(night.folder, tmp_path, Recipe())
        made = {row.kind: row.path for row in done.result.masters if row.kind != "light"}
    for kind, path in made.items():
        header, raw = fits.getheader(path), fits.getheader(night.paths(kind)[0])
        assert [header[key] for key in ("ROWORDER", "BAYERPAT")] == [raw[key] for key in ("ROWORDER", "BAYERPAT")]
        assert header.get("BAYERROW") == (None if by_hand_too and kind != "flat" else rule.upper())
        stored = np.median([fits.getdata(one).astype(float) for one in night.paths(kind)], axis=0)
        middle = np.median(stored) - np.median(fits.getdata(path))
        off = fits.getdata(path) + middle - stored
        assert np.mean(np.abs(off) > 0.05 * stored + 60) < 2e-3, "pixel for pixel"
        frame, again = io.read(path), settle_patterns([io.read(path), *map(io.read, night.paths("flat"))])[0][0]
        assert np.array_equal(np.asarray(frame), fits.getdata(path)[::-1]) and again.meta.pattern == "RGGB"


@siril.installed
def test_authority_siril_calibrates_with_our_masters(tmp_path):
    """And we with frames that Siril calibrated with them: no hot pixel is left, no dust, no shading."""
    night = written(dialect="sharpcap", pattern="RGGB", **SKY_NIGHT)
    *_, done = run(night.folder, tmp_path / "ours", Recipe())
    for row in done.result.masters:
        shutil.copy(row.path, tmp_path / f"master{row.kind}.fits")
    for i, path in enumerate(night.paths("light"), 1):
        shutil.copy(path, tmp_path / f"light_{i:05d}.fits")
    siril.run(tmp_path, "preprocess light_ -dark=masterdark -flat=masterflat -cfa")
    *_, done = by_hand("calibrate", [tmp_path / "light_00001.fits"], tmp_path, dark=tmp_path / "masterdark.fits",
                       flat=tmp_path / "masterflat.fits")  # fmt: skip
    theirs, ours = fits.getdata(tmp_path / "pp_light_00001.fits").astype(float), fits.getdata(done.result[0][0])
    theirs *= 65535 if theirs.max() <= 1 else 1
    for y, x in np.ndindex(2, 2):
        their, our = theirs[y::2, x::2], ours[y::2, x::2]
        factor = np.median(their) / np.median(our)
        assert 0.5 < factor < 2, "each colour has its own mean in our flat, all have one in Siril's"
        assert np.mean(np.abs(their / factor - our) > 2) < 0.003, "Siril repairs some hot pixels besides"


@pytest.mark.parametrize("rule", ["top", "stored"])
def test_truth_by_hand_a_frame_has_its_colours_by_either_rule(tmp_path, rule):
    """Calibrated, then debayered; what is written in between tells by which rule its BAYERPAT is written."""
    levels = {"R": 9000, "G": 4000, "B": 1500}
    told = "RGGB" if rule == "top" else "GBRG"
    header = fits.Header({"IMAGETYP": "Light", "BAYERPAT": told, "ROWORDER": "BOTTOM-UP", "EXPTIME": 10.0})
    fits.PrimaryHDU(mosaic("RGGB", levels)[::-1].astype(np.uint16), header).writeto(tmp_path / "a.fits")
    bias = np.full(SHAPE, 500, np.uint16)
    header.update({"IMAGETYP": "Master Bias", "EXPTIME": 0.0})
    fits.PrimaryHDU(bias, header).writeto(tmp_path / "bias.fits")
    *events, done = by_hand("calibrate", [tmp_path / "a.fits"], tmp_path / "one", bias=tmp_path / "bias.fits")
    assert sum("ROWORDER" in event.message for event in events) == 1
    (calibrated,), _ = done.result
    written_header = fits.getheader(calibrated)
    assert (written_header["BAYERPAT"], written_header["ROWORDER"]) == (told, "BOTTOM-UP")
    assert written_header["BAYERROW"] == rule.upper()
    assert np.array_equal(fits.getdata(calibrated), fits.getdata(tmp_path / "a.fits") - 500.0), "rows lie as they lay"
    *events, done = by_hand("debayer", [calibrated], tmp_path / "two")
    assert not any("ROWORDER" in event.message for event in events), "what was decided is not asked again"
    colour = np.asarray(io.read(done.result[0][0]))
    assert np.median(colour, axis=(1, 2)) == pytest.approx([8500, 3500, 1000], rel=0.01)
