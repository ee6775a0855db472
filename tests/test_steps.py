"""The steps by hand, from files to files, as commands and as functions."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from sky import CALM, written

from masterlight import Meta, Recipe, read, write
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import FrameError, NothingUsable, OutputError, ParameterError
from masterlight.core.frame import ArrayFrame
from masterlight.defects.find import BadPixels
from masterlight.doors.cli import main
from masterlight.doors.hand.steps import by_hand

NIGHT = {"rows": 200, "cols": 300, "lights": 3, "biases": 6, "darks": 6, "flats": 6, "hot_fraction": 0.005, **CALM}


def ran(*words):
    """What a command prints; it must have gone well."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code in (0, 1) and isinstance(done.exception, (SystemExit, type(None))), done
    return done.output


def failed(*words):
    """What a command that must fail says."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 2, done.output
    return done.output


def files(truth, kind):
    """The files of a kind of a simulated night."""
    return truth.paths(kind)


@pytest.fixture(scope="module")
def masters(tmp_path_factory):
    """Masters made by the commands of the tutorial, and the night they are of."""
    truth, folder = written(**NIGHT, dark_exposure_s=300.0), tmp_path_factory.mktemp("masters")
    ran("bias", *files(truth, "bias"), "-o", folder / "bias.fits")
    ran("dark", *files(truth, "dark"), "-o", folder / "dark.fits")
    ran("flat", *files(truth, "flat"), "-o", folder / "flat.fits", "--bias", folder / "bias.fits")
    return truth, folder


def test_truth_masters_say_what_was_done_to_them(masters):
    truth, folder = masters
    bias, dark, flat = (read(folder / f"{kind}.fits") for kind in ("bias", "dark", "flat"))
    assert [f.meta.kind for f in (bias, dark, flat)] == ["bias", "dark", "flat"]
    assert all(f.meta.is_master and f.meta.frames == 6 for f in (bias, dark, flat))
    assert (dark.meta.contains_bias, flat.meta.contains_bias, flat.meta.calibration) == (True, False, "B")
    # 6 frames of 60,000 pixels with 4.3 DN of noise know the level to 0.01 DN
    assert np.mean(bias) == pytest.approx(np.mean(truth.bias_dn), abs=0.05)
    told = json.loads((folder / "dark.json").read_text())
    assert told["quality"]["hot_pixels"] > 0 and "hot pixels" in told["quality"]["text"]


@pytest.mark.parametrize("preset, masters_given", [
    ("light-bias-flat", "bias flat"), ("light-dark-flat", "dark flat"), ("light-scaled-dark-flat", "bias dark flat"),
])  # fmt: skip
def test_truth_presets_calibrate_files(masters, tmp_path, preset, masters_given):
    truth, folder = masters
    given = [word for kind in masters_given.split() for word in (f"--{kind}", folder / f"{kind}.fits")]
    ran("calibrate", *files(truth, "light"), "-o", tmp_path, "--preset", preset, *given)
    made = [read(path) for path in sorted(tmp_path.glob("*_c.fits"))]
    assert len(made) == 3
    header = fits.getheader(made[0].source)
    assert header["CALSTAT"] == {"light-bias-flat": "BF"}.get(preset, "BDF") and header["NOISE00"] > 0
    if preset == "light-scaled-dark-flat":
        # 120 s of 300 s: the hot pixels tell it
        assert header["CALK00"] == pytest.approx(truth.k, abs=3 * header["CALKE00"])
    assert "needs --" in failed("calibrate", files(truth, "light")[0], "-o", tmp_path, "--preset", preset)
    assert "exists" in ran_again(truth, tmp_path, preset, given)


def test_a_preset_calibrates_in_python_as_on_the_command_line(masters, tmp_path):
    truth, folder = masters
    given = {kind: folder / f"{kind}.fits" for kind in ("bias", "dark", "flat")}
    *_, done = by_hand("calibrate", files(truth, "light")[:1], tmp_path, preset="light-bias-flat", **given)
    assert fits.getheader(done.result[0][0])["CALSTAT"] == "BF"


def ran_again(truth, folder, preset, given):
    done = CliRunner().invoke(
        main, ["calibrate", *map(str, files(truth, "light")), "-o", str(folder), "--preset", preset, *map(str, given)]
    )
    assert done.exit_code == 2
    return done.output


def test_truth_a_bad_light_does_not_stop_the_others(masters, tmp_path):
    truth, folder = masters
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE")
    write(tmp_path / "small.fits", np.ones((50, 60), np.float32))
    events = list(
        by_hand(
            "calibrate",
            [*files(truth, "light"), tmp_path / "broken.fits", tmp_path / "small.fits"],
            tmp_path / "out",
            dark=folder / "dark.fits",
        )
    )
    made, lost = events[-1].result
    assert len(made) == 3 and {Path(r.source).name for r in lost} == {"broken.fits", "small.fits"}
    with pytest.raises(NothingUsable, match="nothing was written"):
        list(by_hand("calibrate", [tmp_path / "broken.fits"], tmp_path / "out2", dark=folder / "dark.fits"))


def test_truth_superbias_is_checked_and_better(masters, tmp_path):
    truth, folder = masters
    *told, done = by_hand("superbias", folder / "bias.fits", tmp_path / "s.fits", check=files(truth, "bias"))
    assert "better" in told[0].message
    pattern = np.broadcast_to(truth.bias_dn, (200, 300))
    smooth, plain = (np.asarray(read(path)) - pattern for path in (tmp_path / "s.fits", folder / "bias.fits"))
    # 6 frames leave 1.74 DN of noise in a pixel; 200 rows of them 0.12 DN in a column, and 1.2 / sqrt(0.6) more trimmed
    assert smooth.std() < 0.25 < plain.std()
    with pytest.raises(OutputError, match="exists"):
        list(by_hand("superbias", folder / "bias.fits", tmp_path / "s.fits"))
    with pytest.raises(FrameError, match="give 4 or more"):
        list(by_hand("superbias", folder / "bias.fits", tmp_path / "t.fits", check=files(truth, "bias")[:2]))


def test_truth_defects_go_through_every_kind_of_file(masters, tmp_path):
    truth, folder = masters
    lights = files(truth, "light")
    for name in ("map.fits", "list.lst", "list.txt"):
        ran("defects", folder / "dark.fits", "-o", tmp_path / name, "--line", "off")
        ran("cosmetic", lights[0], "-o", tmp_path / name.replace(".", "_"), "--defects", tmp_path / name)
    ran("cosmetic", lights[0], "-o", tmp_path / "by_dark", "--dark", folder / "dark.fits", "--hot", "8", "--cold", "6")
    repaired = [np.asarray(read(path)) for path in sorted(tmp_path.glob("*/*_cc.fits"))]
    assert len(repaired) == 4
    assert np.array_equal(repaired[0], repaired[1]) and np.array_equal(repaired[0], repaired[3])
    # PixInsight writes pixels above one another as a piece of a column, whose repair looks to the sides only
    assert (repaired[0] != repaired[2]).mean() < 1e-3
    *_, done = by_hand("defects", [folder / "dark.fits"], tmp_path / "again.fits", BadPixels(line=None))
    changed = repaired[0] != np.asarray(read(lights[0]))
    assert 50 < changed.sum() <= len(done.result) and not changed[done.result.mask == 0].any()
    (tmp_path / "bad.lst").write_text("P 5 5 H\nQ 1 2\n")
    told = failed("cosmetic", lights[0], "-o", tmp_path / "x", "--defects", tmp_path / "bad.lst")
    assert "bad.lst" in told and "line 2" in told


def test_truth_defects_of_lights_flats_and_raw_darks(masters, tmp_path):
    truth, folder = masters
    told = ran(
        "defects",
        *files(truth, "dark"),
        *files(truth, "flat"),
        *files(truth, "light"),
        "-o",
        tmp_path / "all.fits",
        "--overwrite",
    )
    assert "6 darks" in told and "6 flats" in told and "lights" in told
    found = np.asarray(read(tmp_path / "all.fits")) > 0
    assert found[truth.defects & 1 > 0].mean() > 0.95


def test_truth_debayer_by_hand(tmp_path):
    truth = written(**NIGHT, pattern="GRBG")
    ran("debayer", *files(truth, "light"), "-o", tmp_path, "--method", "super-pixel")
    made = read(sorted(tmp_path.glob("*_d.fits"))[0])
    raw = read(files(truth, "light")[0])
    assert made.shape == (3, 100, 150) and made.meta.pattern is None
    assert made.meta.pixel_um == pytest.approx(2 * raw.meta.pixel_um)
    mono = written(**NIGHT)
    assert "not a mosaic" in failed("debayer", files(mono, "light")[0], "-o", tmp_path / "x")


def test_truth_a_calibrated_mosaic_keeps_its_pattern(tmp_path):
    truth = written(**NIGHT, pattern="GRBG")
    ran("bias", *files(truth, "bias"), "-o", tmp_path / "bias.fits")
    ran("calibrate", files(truth, "light")[0], "-o", tmp_path, "--bias", tmp_path / "bias.fits")
    (path,) = tmp_path.glob("*_c.fits")
    assert read(path).meta.pattern == "GRBG" and read(tmp_path / "bias.fits").meta.pattern == "GRBG"
    ran("debayer", path, "-o", tmp_path)
    assert read(next(tmp_path.glob("*_c_d.fits"))).shape == (3, 200, 300)


def test_bad_masters_by_hand_speak(tmp_path):
    with pytest.raises(NothingUsable, match="folder that holds the bias frames"):
        list(by_hand("bias", [tmp_path], tmp_path / "b.fits"))
    (tmp_path / "b.fits").write_bytes(b"")
    with pytest.raises(OutputError, match="one of the frames"):
        list(by_hand("bias", [tmp_path], tmp_path / "b.fits"))
    for i, value in enumerate((500, 501, 499)):
        noise = np.random.default_rng(i).normal(value, 3, (64, 80))
        write(tmp_path / f"b{i}.fits", ArrayFrame.of(noise, meta=Meta(kind="bias")))
    write(tmp_path / "odd.fits", np.ones((10, 12), np.float32))
    *_, done = by_hand("bias", [*tmp_path.glob("b?.fits"), tmp_path / "odd.fits"], tmp_path / "m.fits")
    assert [Path(row.path).name for row in done.result.rejected] == ["odd.fits"] and read(
        tmp_path / "m.fits"
    ).meta.frames == 3


def test_surface_the_tutorial_runs():
    page = Path(__file__).parents[1] / "docs" / "make_calibration.py"
    done = subprocess.run([sys.executable, page, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_truth_frames_of_one_name_do_not_overwrite_each_other(masters, tmp_path):
    truth, folder = masters
    for i, night in enumerate(("night1", "night2")):
        (tmp_path / night).mkdir()
        shutil.copy(files(truth, "light")[i], tmp_path / night / "L.fits")
    ran("calibrate", tmp_path / "night1", tmp_path / "night2", "-o", tmp_path / "out", "--dark", folder / "dark.fits")
    one, two = (np.asarray(read(tmp_path / "out" / name)) for name in ("L_c.fits", "L_2_c.fits"))
    assert not np.array_equal(one, two)


def test_truth_whole_numbers_share_one_pedestal(masters, tmp_path):
    truth, folder = masters
    darks = files(truth, "dark")
    ran("calibrate", *darks, "-o", tmp_path, "--bias", folder / "bias.fits", "--integers")
    made = [read(path) for path in sorted(tmp_path.glob("*_c.fits"))]
    pedestals = {frame.meta.pedestal_dn for frame in made}
    assert len(pedestals) == 1 and pedestals.pop() > 5 and made[0].meta.integer
    calibration = ImageCalibration()
    exact = np.asarray(calibration(read(darks[0]), calibration.masters(bias=read(folder / "bias.fits"))))
    off = np.asarray(made[0]) - made[0].meta.pedestal_dn - exact
    inside = exact < 60000
    # rounding to whole numbers; one pixel in 10,000 may lie below the pedestal
    assert np.quantile(np.abs(off[inside]), 0.9998) <= 0.501


def test_truth_whole_numbers_lose_nothing_in_silence(tmp_path):
    """Lights with pixels that 16 bits cannot hold and some that lack: told for each file, in all, and in its header."""
    light = np.full((40, 60), 900, np.float32)
    light[3, :4], light[5, :7] = 70000, np.nan
    cards = {"IMAGETYP": "Light", "EXPTIME": 60.0}
    for name in ("a", "b"):
        write(tmp_path / f"{name}.fits", light, cards)
    write(tmp_path / "bias.fits", np.full((40, 60), 500, np.float32), {"IMAGETYP": "Master Bias"})
    given = {"integers": True, "bias": tmp_path / "bias.fits"}
    events = list(by_hand("calibrate", [tmp_path / "a.fits", tmp_path / "b.fits"], tmp_path / "out", **given))
    words = "4 above 65535 became 65535, 7 missing are BLANK"
    assert [event.message.endswith(f"_c.fits, pixels: {words}") for event in events].count(True) == 2
    whole = [event for event in events if "8 above 65535 became 65535, 14 missing are BLANK" in event.message]
    assert len(whole) == 1 and not whole[0].detail, "shown, not only kept"
    made = read(tmp_path / "out" / "a_c.fits")
    pixels = np.asarray(made)
    assert np.isnan(pixels[5, :7]).all() and np.isnan(pixels).sum() == 7 and (pixels[3, :4] == 65535).all()
    assert words in " ".join(made.header["HISTORY"])


def test_truth_a_defect_map_is_applied_as_you_choose(masters, tmp_path):
    truth, folder = masters
    light = files(truth, "light")[0]
    ran("defects", folder / "dark.fits", "-o", tmp_path / "map.fits", "--line", "off")
    for operation in ("median", "minimum"):
        out = tmp_path / operation
        ran("defectmap", light, "-o", out, "--defects", tmp_path / "map.fits", "--operation", operation)
    bad = np.asarray(read(tmp_path / "map.fits")) > 0
    raw = np.asarray(read(light))
    median, minimum = (np.asarray(read(next((tmp_path / name).glob("*_dm.fits")))) for name in ("median", "minimum"))
    assert np.array_equal(median[~bad], raw[~bad]) and np.all(minimum[bad] <= median[bad])
    weights = np.where(bad, 0.0, 1.0).astype(np.float32)
    write(tmp_path / "weights.fits", weights)
    ran("defectmap", light, "-o", tmp_path / "w", "--defects", tmp_path / "weights.fits")
    assert np.array_equal(np.asarray(read(next((tmp_path / "w").glob("*_dm.fits")))), median)


def test_bad_frames_of_another_kind_are_left_out_or_refused(masters, tmp_path):
    truth, folder = masters
    light, dark = files(truth, "light")[0], folder / "dark.fits"
    told = ran("dark", *files(truth, "dark"), light, "-o", tmp_path / "d.fits")
    assert "says that it is a light" in told and read(tmp_path / "d.fits").meta.frames == 6
    assert "says that it is a flat" in failed("calibrate", light, "-o", tmp_path, "--dark", folder / "flat.fits")
    assert "says that it is a dark" in failed("superbias", dark, "-o", tmp_path / "s.fits")
    assert "nothing to calibrate it with" in failed("calibrate", light, "-o", tmp_path / "x")
    assert "no defective pixel is known" in failed("cosmetic", light, "-o", tmp_path / "x")
    assert "its bias level would stay in" in failed("calibrate", light, "-o", tmp_path, "--flat", folder / "flat.fits")
    mosaic = written(**NIGHT, pattern="GRBG")
    told = failed("bias", *files(truth, "bias"), *files(mosaic, "bias"), "-o", tmp_path / "m.fits")
    assert "one master is made of frames of one camera" in told or not (tmp_path / "m.fits").exists()
    assert failed("doctor", tmp_path / "nothing_here")
    with pytest.raises(ParameterError, match="a frame is needed"):
        ImageCalibration().masters(dark="dark.fits")
    with pytest.raises(ParameterError, match="did you mean dark_scal"):
        ImageCalibration(dark_scalin="fit")
    with pytest.raises(ParameterError, match="there are bias, dark, flat"):
        list(by_hand("bia", [light], tmp_path / "b.fits"))


def test_truth_presets_steer_a_whole_run(masters):
    truth, _ = masters
    for preset, equation in (("light-bias-flat", "(L - B)"), ("light-scaled-dark-flat", "(L - B - k (D - B))")):
        assert f"C = {equation} * mean(F) / F" in ran("plan", truth.folder, "--preset", preset)
    assert "is for `masterlight calibrate`" in failed("plan", truth.folder, "--preset", "flat-bias")
    assert "is not known; there are" in failed("plan", truth.folder, "--preset", "light-flat")


def test_files_that_cannot_be_opened_are_told_by_every_step(masters, tmp_path):
    truth, folder = masters
    (tmp_path / "bad.fits").write_bytes(b"SIMPLE")
    *told, done = by_hand("defects", [folder / "dark.fits", tmp_path / "bad.fits"], tmp_path / "d.fits")
    assert [event.item for event in told if event.message.startswith("rejected")] == [str(tmp_path / "bad.fits")]
    with pytest.raises(NothingUsable, match="bad.fits"):
        list(by_hand("defects", tmp_path / "bad.fits", tmp_path / "e.fits"))
    check = [*files(truth, "bias"), tmp_path / "bad.fits"]
    *told, done = by_hand("superbias", folder / "bias.fits", tmp_path / "s.fits", check=check)
    assert any("bad.fits" in event.message for event in told)


@pytest.mark.parametrize("value, told", [(-500.0, "below zero"), (1000.0, "all its pixels are 1000 DN")])
def test_masters_of_an_odd_level_are_told(masters, tmp_path, value, told):
    truth, folder = masters
    dark = read(folder / "dark.fits")
    pixels = np.asarray(dark) - 1000 if value < 0 else np.full(dark.shape, value, np.float32)
    write(tmp_path / "odd.fits", ArrayFrame.of(pixels, "odd", dark.meta))
    for verb in ("calibrate", "cosmetic") if value < 0 else ("calibrate",):  # a level without a hot pixel marks none
        messages = [
            event.message for event in by_hand(verb, files(truth, "light"), tmp_path / verb, dark=tmp_path / "odd.fits")
        ]
        assert any("odd.fits" in message and told in message for message in messages)


def test_a_master_that_cannot_be_read_to_its_end_is_named(masters, tmp_path):
    import gzip

    truth, folder = masters
    packed = gzip.compress((folder / "dark.fits").read_bytes(), mtime=0)
    (tmp_path / "dark.fits.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises((NothingUsable, FrameError), match=r"dark\.fits\.gz"):
        list(by_hand("calibrate", files(truth, "light"), tmp_path / "out", dark=tmp_path / "dark.fits.gz"))


def test_no_image_in_a_folder_that_is_given_is_replaced(masters, tmp_path):
    truth, folder = masters
    raw = shutil.copy(files(truth, "light")[0], tmp_path / "a.fits")
    before = raw.read_bytes()
    with pytest.raises(OutputError, match="one of the frames"):
        list(by_hand("integrate", tmp_path, raw, Recipe(overwrite=True)))
    assert raw.read_bytes() == before


def test_a_name_that_is_too_long_and_a_pipe_are_refused(masters, tmp_path):
    truth, _ = masters
    with pytest.raises(OutputError, match="too long") as told:
        list(by_hand("bias", files(truth, "bias"), tmp_path / f"{'m' * 300}.fits"))
    assert len(str(told.value)) <= 300
    for name in ("pipe.html", "pipe.fits"):
        os.mkfifo(tmp_path / name)
    assert "no page" in failed("doctor", truth.folder, "-o", tmp_path / "pipe.html")
    with pytest.raises(OutputError, match="no regular file"):
        write(tmp_path / "pipe.fits", np.ones((4, 4), np.float32))
    ran("bias", *files(truth, "bias"), "-o", tmp_path / "m.fits")
    assert "no page" in failed("doctor", truth.folder, "-o", tmp_path / "m.fits"), "a master of ours is no page"
    assert (tmp_path / "pipe.fits").is_fifo() and (tmp_path / "pipe.html").is_fifo()


def test_a_raw_calibration_frame_without_a_picture_is_left_out(masters, tmp_path):
    truth, folder = masters
    flats = [shutil.copy(path, tmp_path) for path in files(truth, "flat")]
    with fits.open(flats[0], mode="update") as hdus:
        hdus[0].data[:] = 1000
    *told, done = by_hand("flat", flats, tmp_path / "m.fits", bias=folder / "bias.fits")
    assert [row.reason for row in done.result.rejected] == [
        "every pixel is 1000 DN: the exposure or the download failed; leave it out"
    ]


def test_surface_what_lies_beside_frames_is_told_by_every_step(masters, tmp_path):
    """An empty folder called like an image, and what is not read, are passed over by none in silence."""
    truth, folder = masters
    (tmp_path / "X.fits").mkdir()
    given = [*files(truth, "light")[:1], str(tmp_path / "X.fits")]
    *told, _ = by_hand("calibrate", given, tmp_path / "out", bias=folder / "bias.fits")
    assert any("1 folder without images" in event.message and "X.fits" in event.message for event in told)


def test_surface_a_whole_night_is_not_integrated_into_one_image(masters, tmp_path):
    """Lights alone are; and those that are not registered are told what registers them."""
    truth, _ = masters
    told = failed("integrate", truth.folder, "-o", tmp_path / "deep.fits")
    assert "passed over, since they are no lights" in told and "bias frame" in told
    assert "masterlight align" in " ".join(told.split())
