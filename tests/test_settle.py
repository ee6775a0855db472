"""Frames that go together are brought to DN: masters of 0 to 1 give what their twins in DN give, or the work stops."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from cases import CASES
from click.testing import CliRunner
from darkroom import master
from sky import CALM, written
from test_xisf import geometry, write_xisf

import masterlight as ml
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import ParameterError
from masterlight.core.units.settle import sentences, settle, settle_mixed
from masterlight.core.workers import executor
from masterlight.doctor import Doctor
from masterlight.doors.cli import main
from masterlight.doors.hand.steps import by_hand
from masterlight.io import read
from masterlight.session.planner import plan
from masterlight.session.scan import scan

SHAPE = (120, 160)
ROUNDING_DN = 65535 * 2.0**-23
"""The step of a float32 of 1, in DN."""


def put(path, array, kind=None, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu = fits.PrimaryHDU(array)
    hdu.header.update(({"IMAGETYP": kind} if kind else {}) | header)
    hdu.writeto(path, overwrite=True)
    return path


def as_unit(path, array, kind=None, **header):
    """What Siril 1.0.6 writes: floats from 0 to 1, no kind of frame."""
    more = {"PROGRAM": "Siril v1.0.6", "STACKCNT": 20}
    return put(path, (np.asarray(array, np.float64) / 65535).astype(np.float32), kind, **(more | header))


def ran(*words, status=0):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == status, done.output
    return done.output


def light(path, seed=0, level=1400, dtype=np.uint16):
    pixels = np.random.default_rng(seed).normal(level, 30, SHAPE)
    return put(path, np.clip(pixels, 0, 65535).astype(dtype), "Light", EXPTIME=60.0)


def dark_of(seed, level=500.0):
    rng = np.random.default_rng(seed)
    dark = rng.normal(level, 1, SHAPE)
    dark.flat[rng.integers(0, dark.size, 40)] += 3000
    return dark.astype(np.float32)


@pytest.fixture(scope="module")
def night():
    """A night with its masters as files in DN and from 0 to 1: (truth, {unit: {kind: path}})."""
    truth, calibration = written(**CALM, lights=3, seed=5), ImageCalibration()
    bias = master(truth, "bias", calibration)
    made = {
        "bias": bias,
        "dark": master(truth, "dark", calibration),
        "flat": master(truth, "flat", calibration, bias=bias),
    }
    folder = Path(truth.folder).parent / "unit_masters"
    paths = {"dn": {}, "unit": {}}
    for kind, frame in made.items():
        keep = {"EXPTIME": frame.meta.exposure_s, "CALSTAT": "B" if kind == "flat" else "", "FILTER": "L"}
        paths["dn"][kind] = put(folder / "dn" / f"master_{kind}.fits", np.asarray(frame), **keep, STACKCNT=5)
        paths["unit"][kind] = as_unit(folder / "unit" / f"master_{kind}.fits", frame, **keep, STACKCNT=5)
    yield truth, paths
    shutil.rmtree(folder)


def test_truth_masters_from_0_to_1_give_what_those_in_dn_give(night):
    truth, paths = night
    raw, process = read(truth.paths("light")[0]), ImageCalibration()
    views = [process(raw, process.masters(**{kind: read(p) for kind, p in same.items()})) for same in paths.values()]
    dn, unit = map(np.asarray, views)
    assert np.nanmax(np.abs(dn - unit)) < 4 * ROUNDING_DN
    assert views[0].meta.saturation_dn == pytest.approx(views[1].meta.saturation_dn, rel=1e-6)
    left = process.masters(**{kind: read(p) for kind, p in paths["unit"].items()})
    assert process(raw, left).masters is process(raw, left).masters, "arrays are made once for all lights"
    wrong = ImageCalibration(units="dn")
    wrong_dark = np.asarray(wrong(raw, wrong.masters(dark=read(paths["unit"]["dark"]))))
    assert np.nanmedian(wrong_dark) > np.nanmedian(dn) + 100, "whoever says that these are DN is believed"


def test_truth_a_run_takes_masters_from_0_to_1(night, tmp_path):
    truth, paths = night
    lights = []
    for unit, same in paths.items():
        for path in truth.paths("light"):
            (tmp_path / unit / "lights").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / unit / "lights")
        for path in same.values():
            shutil.copy(path, tmp_path / unit)
        *_, done = ml.run(tmp_path / unit, tmp_path / f"{unit}_out")
        assert all(row.status == "used" for row in done.result.frames)
        lights.append(fits.getdata(done.result.lights[0].path))
        told = [note for note in done.result.notes if "0 to 65535 DN" in note]
        assert len(told) == (unit == "unit") and all("master_bias.fits" in note for note in told)
        assert ("D26" in {finding.id for finding in done.result.findings}) == (unit == "unit")
    assert np.nanmax(np.abs(lights[0] - lights[1])) < 8 * ROUNDING_DN


def test_truth_a_product_of_ours_that_another_program_saved_from_0_to_1(tmp_path):
    """Siril keeps the cards of a file that it saves: they tell who made it first, not what its numbers are now."""
    raw, pixels = read(light(tmp_path / "light.fits")), dark_of(1)
    process, cards = ImageCalibration(), {"MLKEY": "0123", "EXPTIME": 60.0, "BUNIT": "DN"}
    ours = process.masters(dark=read(put(tmp_path / "ours.fits", pixels, "Master Dark", **cards)))
    *_, done = by_hand(
        "calibrate", raw.source, tmp_path, dark=as_unit(tmp_path / "dark.fits", pixels, "Master Dark", **cards)
    )
    made = np.asarray(read(done.result[0][0]))
    assert np.nanmax(np.abs(made - np.asarray(process(raw, ours)))) < 4 * ROUNDING_DN


@pytest.mark.parametrize("seed", range(3))
def test_truth_by_hand_and_told(tmp_path, seed):
    lights = [light(tmp_path / "lights" / f"l{i}.fits", seed + i) for i in range(2)]
    dark = as_unit(tmp_path / "stack.fits", dark_of(seed))
    told = ran("calibrate", *lights, "-o", tmp_path / "out", "--dark", dark)
    assert told.count("stack.fits: floats from 0 to 1 are read as 0 to 65535 DN") == 1
    for path in (tmp_path / "out").glob("*.fits"):
        image, header = fits.getdata(path, header=True)
        assert np.median(image) == pytest.approx(900, abs=2)
        assert '"units": "auto"' in " ".join(header["HISTORY"]).replace("\n", "")
    told = ran("calibrate", lights[0], "-o", tmp_path / "raw", "--dark", dark, "--units", "dn")
    assert np.median(fits.getdata(tmp_path / "raw" / "l0_c.fits")) == pytest.approx(1400, abs=2)
    unit_light = as_unit(tmp_path / "unit_light.fits", fits.getdata(lights[0]), "Light", STACKCNT=1)
    in_dn = put(tmp_path / "dn_dark.fits", dark_of(seed), "Dark")
    ran("calibrate", unit_light, "-o", tmp_path / "float", "--dark", in_dn)
    a, b = (fits.getdata(tmp_path / name) for name in ("out/l0_c.fits", "float/unit_light_c.fits"))
    assert np.max(np.abs(a - b)) < 4 * ROUNDING_DN
    header = fits.getheader(tmp_path / "float" / "unit_light_c.fits")
    assert header["BUNIT"] == "DN" and header["SATURATE"] > 60000


def test_truth_cosmetic_finds_hot_pixels_of_a_dark_from_0_to_1_in_dn(tmp_path):
    lights, dark = light(tmp_path / "lights" / "l.fits"), as_unit(tmp_path / "dark.fits", dark_of(3))
    told = ran("cosmetic", lights, "-o", tmp_path / "out", "--dark", dark, "--hot-dn", 2000)
    assert "0 to 65535 DN" in told
    count = int(np.sum(dark_of(3) > 2000))
    assert f"{count} hot" in told


@pytest.mark.parametrize("kind", ["dark", "flat"])
def test_truth_masters_are_made_of_raw_frames_from_0_to_1(tmp_path, kind):
    rng, level = np.random.default_rng(4), {"dark": 700, "flat": 22000}[kind]
    for i in range(4):
        raw = np.rint(rng.normal(level, 20, SHAPE))
        as_unit(tmp_path / "unit" / f"{kind}_{i}.fits", raw, kind.title(), EXPTIME=2.0, STACKCNT=1)
        put(tmp_path / "dn" / f"{kind}_{i}.fits", raw.astype(np.uint16), kind.title(), EXPTIME=2.0)
    bias = put(tmp_path / "bias.fits", np.random.default_rng(1).normal(500, 1, SHAPE).astype(np.float32), "Bias")
    for unit in ("dn", "unit"):
        told = ran(kind, tmp_path / unit, "-o", tmp_path / f"{unit}.fits", "--bias", bias)
        assert ("0 to 65535 DN" in told) == (unit == "unit")
    a, b = (fits.getdata(tmp_path / f"{unit}.fits") for unit in ("dn", "unit"))
    assert np.max(np.abs(a - b)) < 4 * ROUNDING_DN and np.median(b) == pytest.approx(level - 500, abs=2)
    assert fits.getheader(tmp_path / "unit.fits")["BUNIT"] == "DN"
    bias = as_unit(tmp_path / "unit_bias.fits", fits.getdata(bias), "Bias")
    ran(kind, tmp_path / "dn", "-o", tmp_path / "again.fits", "--bias", bias)
    assert np.max(np.abs(fits.getdata(tmp_path / "again.fits") - a)) < 4 * ROUNDING_DN
    ran("superbias", bias, "-o", tmp_path / "superbias.fits")
    assert np.median(fits.getdata(tmp_path / "superbias.fits")) == pytest.approx(500, abs=0.2)


def test_bad_what_can_be_both_stops_and_names_the_flag(tmp_path):
    lights = light(tmp_path / "lights" / "l.fits")
    both = np.random.default_rng(1).normal(0.06, 0.015, SHAPE).astype(np.float32)
    dark = put(tmp_path / "dark.fits", both, "Light")
    clear = as_unit(tmp_path / "d.fits", dark_of(1))
    for words, flag in (
        (
            ("calibrate", lights, dark, "-o", tmp_path / "o", "--dark", clear),
            "--units",
        ),
        (("plan", tmp_path), "--calibrate.units"),
        (("doctor", tmp_path), "--calibrate.units"),
        (("run", tmp_path, "-o", tmp_path / "out"), "--calibrate.units"),
        (("integrate", lights, dark, "-o", tmp_path / "deep.fits"), "--calibrate.units"),
        (("hdr", lights, dark, "-o", tmp_path / "hdr.fits"), "BUNIT"),
    ):
        told = ran(*words, status=2)
        line = told.strip().splitlines()[-1]
        assert flag in line and "dark.fits" in line and len(line) < 300 + len(str(tmp_path)), told
    assert "0 to 65535" in ran("plan", tmp_path, "--calibrate.units", "full-scale")
    assert "as units dn says" in ran("plan", tmp_path, "--calibrate.units", "dn")
    alone, readings = settle([read(dark)])
    assert np.array_equal(np.asarray(alone[0]), both) and "taken as stored" in " ".join(sentences(readings))
    with pytest.raises(ParameterError, match="units"):
        ImageCalibration()(read(dark), ImageCalibration().masters(dark=read(clear)))


@pytest.mark.parametrize("level, noise", [(0.05, 0.011), (0.02, 0.01)])
def test_bad_small_floats_of_no_program_are_not_taken_for_parts_of_full_scale(tmp_path, level, noise):
    """A difference of bias and overscan, or of dark and bias: 65535 times of it would take the sky away."""
    raw = light(tmp_path / "l.fits")
    left = np.random.default_rng(1).normal(level, noise, SHAPE).astype(np.float32)
    dark = put(tmp_path / "dark.fits", left, "Dark", EXPTIME=60.0)
    assert "--units dn" in ran("calibrate", raw, "-o", tmp_path / "o", "--dark", dark, status=2)
    ran("calibrate", raw, "-o", tmp_path / "o", "--dark", dark, "--units", "dn")
    assert np.median(fits.getdata(tmp_path / "o" / "l_c.fits")) == pytest.approx(1400, abs=2)


def test_truth_frames_of_one_scale_are_combined_as_they_are_and_mixed_ones_in_dn(tmp_path):
    rng = np.random.default_rng(2)
    scene = rng.normal(1400, 5, SHAPE)
    scene[20:100:20, 20:140:20] += 4000
    frames = [np.rint(scene + rng.normal(0, 20, SHAPE)) for _ in range(4)]
    unit = [as_unit(tmp_path / f"u{i}.fits", raw, "Light", STACKCNT=1) for i, raw in enumerate(frames)]
    whole = [put(tmp_path / f"w{i}.fits", raw.astype(np.uint16), "Light") for i, raw in enumerate(frames)]
    told = ran("integrate", *unit, "-o", tmp_path / "unit.fits", "--rejection.algorithm", "none")
    assert "65535" not in told and "noise 0.000" in told and " 0.00 DN" not in told
    image, header = fits.getdata(tmp_path / "unit.fits", header=True)
    assert np.median(image) == pytest.approx(1400 / 65535, rel=0.01) and "BUNIT" not in header
    told = ran("integrate", *unit[:2], *whole[2:], "-o", tmp_path / "both.fits", "--rejection.algorithm", "none")
    assert "u0.fits, u1.fits: floats from 0 to 1 are read as 0 to 65535 DN" in told
    assert np.median(fits.getdata(tmp_path / "both.fits")) == pytest.approx(1400, rel=0.01)
    opened = [read(path) for path in (*unit[:2], *whole[2:])]
    assert all(np.median(frame) > 1000 for frame in settle_mixed(opened)[0])
    assert all(np.median(frame) < 1 for frame in settle_mixed([read(path) for path in unit])[0])


BOUNDS = {"lie": "0:1", "none": None, "dn": "0:65535"}


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("seed", range(2))
def test_truth_bounds_of_xisf_are_doubted_where_values_lie_beyond(tmp_path, bounds, seed):
    """Package xisf 0.9.7 writes bounds 0:1 for all floats."""
    dark, lights = dark_of(seed), light(tmp_path / "lights" / "l.fits", seed)
    attributes = {"sampleFormat": "Float32", "bounds": BOUNDS[bounds], "imageType": "MasterDark"} | geometry(dark)
    write_xisf(tmp_path / "dark.xisf", dark.tobytes(), **attributes)
    told = ran("calibrate", lights, "-o", tmp_path / "out", "--dark", tmp_path / "dark.xisf")
    assert ("dark.xisf: floats are taken as stored, in DN" in told) == (bounds == "lie")
    twin = put(tmp_path / "twin.fits", dark, "Dark")
    ran("calibrate", lights, "-o", tmp_path / "twin", "--dark", twin)
    images = [fits.getdata(tmp_path / folder / "l_c.fits") for folder in ("out", "twin")]
    assert np.array_equal(*images), "undone to the bit"
    (made,), _ = settle([read(tmp_path / "dark.xisf")])
    assert made.meta.scaled_by == 1 and np.array_equal(np.asarray(made), dark)
    assert not any("0 to 65535" in note for note in made.meta.notes)


def test_truth_bounds_of_xisf_are_believed_where_they_hold_and_8_bits_stop(tmp_path):
    dark, lights = dark_of(1), light(tmp_path / "lights" / "l.fits")
    unit = (dark / 65535).astype(np.float32)
    attributes = {"sampleFormat": "Float32", "bounds": "0:1", "imageType": "MasterDark"} | geometry(unit)
    write_xisf(tmp_path / "dark.xisf", unit.tobytes(), **attributes)
    ran("calibrate", lights, "-o", tmp_path / "out", "--dark", tmp_path / "dark.xisf")
    assert np.median(fits.getdata(tmp_path / "out" / "l_c.fits")) == pytest.approx(900, abs=2)
    wide = put(tmp_path / "wide.fits", (dark * 65537).astype(np.uint32), "Dark")
    assert "divided by 65537" in ran("calibrate", lights, "-o", tmp_path / "w", "--dark", wide)
    assert np.median(fits.getdata(tmp_path / "w" / "l_c.fits")) == pytest.approx(900, abs=2)
    few = put(tmp_path / "few.fits", np.random.default_rng(1).normal(60, 3, SHAPE).astype(np.uint8), "Light")
    deep = put(tmp_path / "deep.fits", dark.astype(np.uint16), "Dark")
    assert "16 bits" in ran("calibrate", few, "-o", tmp_path / "f", "--dark", deep, status=2)
    flat = put(tmp_path / "shallow.fits", (dark / 25).astype(np.uint16), "Dark")
    ran("calibrate", few, "-o", tmp_path / "f", "--dark", flat)
    small = put(tmp_path / "small.fits", np.full(SHAPE, 2, np.uint8), "Dark")
    assert "8 bits" in ran("calibrate", lights, "-o", tmp_path / "s", "--dark", small, status=2)


def test_truth_the_doctor_tells_of_another_scale_whichever_way_it_was_read(tmp_path):
    for i in range(4):
        light(tmp_path / "lights" / f"l{i}.fits", i)
    as_unit(tmp_path / "masters" / "master_dark.fits", dark_of(1), EXPTIME=60.0)
    for units, severity in (("auto", "info"), ("dn", "warn"), ("full-scale", "warn")):
        found = plan(scan(tmp_path), ImageCalibration(units=units))
        with executor("serial") as pool:
            *_, done = Doctor().frames(found, pool)
        told = [finding for finding in done.result if finding.id == "D26"]
        assert [finding.severity for finding in told] == [severity]
        assert "0.00763" in told[0].sentence and len(told[0].sentence) < 300
    guessed = tmp_path / "masters" / "master_dark.fits"
    for pixels in (dark_of(1) / 65535, (dark_of(1).astype(np.float64) * 65537).astype(np.uint32)):
        put(guessed, pixels, "Dark", EXPTIME=60.0)
        with executor("serial") as pool:
            *_, done = Doctor().frames(plan(scan(tmp_path)), pool)
        told = [finding.severity for finding in done.result if finding.id == "D26"]
        assert told == ["warn"], "no word of the header, its numbers alone"
    found = plan(scan(tmp_path / "masters"))
    with executor("serial") as pool:
        *_, done = Doctor().frames(found, pool)
    assert not [finding for finding in done.result if finding.id == "D26"], "one scale alone is no finding"


@pytest.mark.skipif(shutil.which("siril-cli") is None, reason="needs Siril")
def test_authority_siril_stacks_of_darks_are_recognised(tmp_path):
    rng = np.random.default_rng(6)
    for i in range(5):
        put(
            tmp_path / "dark" / f"d_{i}.fit", np.rint(rng.normal(520, 8, SHAPE)).astype(np.uint16), "Dark", EXPTIME=60.0
        )
    steps = "cd dark", "convert d -out=../process", "cd ../process", "stack d rej 3 3 -nonorm -out=../dark_stacked"
    (tmp_path / "s.ssf").write_text("\n".join(["requires 1.0.0", "set32bits", *steps, ""]))
    subprocess.run(["siril-cli", "-d", tmp_path, "-s", tmp_path / "s.ssf"], capture_output=True, timeout=60, check=True)
    stack = next(tmp_path.glob("dark_stacked.fit*"))
    assert fits.getdata(stack).max() < 1
    ran("calibrate", light(tmp_path / "l.fits"), "-o", tmp_path / "out", "--dark", stack)
    assert np.median(fits.getdata(tmp_path / "out" / "l_c.fits")) == pytest.approx(880, abs=2)


@pytest.mark.skipif(not (CASES / "cal_unit_masters.py").is_file(), reason="needs the cases")
def test_truth_the_case_of_masters_from_0_to_1(tmp_path):
    """Its sky is 400 DN with bias and dark taken out, 900 without."""
    subprocess.run([sys.executable, CASES / "cal_unit_masters.py", tmp_path / "in"], check=True, timeout=120)
    *_, done = ml.run(tmp_path / "in", tmp_path / "out")
    assert np.nanmedian(fits.getdata(done.result.lights[0].path)) == pytest.approx(400, abs=3)
    assert "nothing wrong" not in ran("doctor", tmp_path / "in")


def test_truth_cosmetic_and_defects_of_lights_ask_nothing(tmp_path):
    """Electrons per second that do not tell their unit beside a dark in DN: nothing is subtracted from them."""
    rates = np.random.default_rng(1).normal(0.06, 0.015, SHAPE).astype(np.float32)
    lights, dark = put(tmp_path / "rates.fits", rates, "Light"), put(tmp_path / "dark.fits", dark_of(1), "Dark")
    ran("cosmetic", lights, "-o", tmp_path / "out", "--dark", dark)
    good = fits.getdata(tmp_path / "out" / "rates_cc.fits") == rates
    assert 0.98 < good.mean() < 1
    more = [put(tmp_path / f"rates_{i}.fits", np.roll(rates, i + 1, 0), "Light") for i in range(2)]
    ran("defects", lights, *more, dark, "-o", tmp_path / "map.fits")
    with pytest.raises(AssertionError, match="DN or parts of full scale"):
        flat = put(tmp_path / "flat.fits", rates, "Flat")
        ran("defects", flat, "-o", tmp_path / "map2.fits", "--bias", put(tmp_path / "bias.fits", dark_of(2), "Bias"))


def test_truth_frames_of_one_kind_follow_the_clear_ones(tmp_path):
    """A raw light from 0 to 1 that is noisier than the others is read as they are."""
    rng = np.random.default_rng(2)
    paths = [as_unit(tmp_path / f"l{i}.fits", rng.normal(1400, 30, SHAPE), "Light", PROGRAM="none") for i in range(4)]
    odd = put(tmp_path / "odd.fits", rng.normal(0.02, 0.01, SHAPE).astype(np.float32), "Light")
    made, readings = settle([read(path) for path in (*paths, odd)])
    assert [one.factor for one in readings] == [65535.0] * 5 and all(frame.meta.scale_known for frame in made)
    assert np.median(made[-1]) == pytest.approx(0.02 * 65535, rel=0.05)
    assert len(list(sentences(readings))) == 1 and "and 2 more" in next(sentences(readings))


def test_truth_frames_of_cameras_need_no_look(tmp_path):
    """Integers of one depth, and those of 12 and 14 bits that camera raw files hold, are never opened for it."""
    lights = [read(light(tmp_path / f"l{i}.fits", i)) for i in range(3)]
    raw = [replace(frame, meta=frame.meta.with_(bits=bits)) for frame, bits in zip(lights, (12, 14, 16), strict=True)]
    whole = [replace(frame, meta=frame.meta.with_(bits=32)) for frame in lights]
    for frame in lights:
        Path(frame.source).unlink()
    for frames in (lights, raw, whole):
        made, readings = settle(frames)
        assert readings == [] and all(a is b for a, b in zip(made, frames, strict=True))
