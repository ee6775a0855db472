"""Earlier processing, as the programs that did it tell: known for it, and never done twice."""

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData

from masterlight.core.frame import Meta
from masterlight.io import read, write
from masterlight.session.planner import plan
from masterlight.session.scan import scan

PIXINSIGHT = "\n".join(
    f"ImageCalibration.{line}"
    for line in ("masterDark.enabled: true", "masterDark.fileName: d.xisf", "masterFlat.fileName: f.xisf")
)
MAXIM = (
    "Bias Subtraction (Bias 1, 4864 x 3232, Bin1 x 1, Temp -35C,\nDark Subtraction (Dark 10, 4864 x 3232\nFlat Field (F"
)
IRAF = {"ZEROCOR": "Oct  8 21:19 Zero is Zero[im5]", "FLATCOR": "Oct  8 21:19 Flat is DFlatM.fits[im5], scale 10490.72"}
LCO = {"L1STATOV": 1, "L1STATBI": 1, "L1STATDA": 1, "L1STATFL": 0}
ASTAP = {"COMMENT": "Calibrated & aligned by ASTAP. www.hnsky.org", "DARK_CNT": 12, "FLAT_CNT": 0, "BITPIX": -32}


@pytest.mark.parametrize(
    ("cards", "letters"),
    [
        ({"CALSTAT": "BDF"}, "BDF"), ({"CALSTAT": "DF", "HISTORY": "Calibrated with a master dark"}, "DF"),
        ({"HISTORY": "Calibrated with a master dark\nCalibrated with a master flat, normalization of 0.412"}, "DF"),
        ({"HISTORY": "Calibrated with a synthetic bias of 256"}, "B"), ({"HISTORY": PIXINSIGHT}, "DF"),
        ({"HISTORY": "ImageCalibration.masterDark.enabled: false"}, ""), ({"HISTORY": MAXIM}, "BDF"),
        ({"HISTORY": "Dark corrected with mdark_60.fits\nFlat corrected with mflat_r.fits"}, "DF"),
        (IRAF, "BF"), (LCO, "OBD"), (ASTAP, "D"), ({"OVERSCAN": "Oct  8 21:19 Overscan is [1063:1112,1:4096]"}, "O"),
        ({"BIASCORR": "COMPLETE", "DARKCORR": "PERFORM", "FLATCORR": "OMIT"}, "B"),
        ({"BIASCOR": "mbias.fits", "DARKCOR": "", "FLATCOR": "no"}, "B"), ({"FLATCOR": "F", "DARKCOR": False}, ""),
        ({"CALSTAT": "NO"}, ""), ({"CALSTAT": "False"}, ""), ({"CALSTAT": "UNCALIBRATED"}, ""),
        ({"CALSTAT": "TODO"}, ""), ({"CALSTAT": "DONE"}, ""), ({"CALSTAT": "DFAS"}, "DF"),
        ({"CALSTAT": "F"}, "F"),
        ({"CCDPROC": "ccd=<CCDData>, master_bias=<CCDData>, dark_frame=None"}, "B"),
        ({"HISTORY": "no dark corrected frames here; flat field lamp on"}, ""), ({"OVERSCAN": "[1:9,1:9]"}, ""),
    ],
)  # fmt: skip
def test_truth_letters_of_every_program(cards, letters):
    meta = Meta.from_header(cards, "lights/a.fits", (90, 90))
    assert meta.calibration == letters
    assert any("calibrated before" in note for note in meta.notes) == bool(set(letters) - set(cards.get("CALSTAT", "")))


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_authority_what_ccdproc_writes_is_read(tmp_path):
    ccdproc = pytest.importorskip("ccdproc")
    raw, master = (CCDData(np.full((9, 9), v), unit="adu", meta={"EXPTIME": 60.0}) for v in (900.0, 100.0))
    made = ccdproc.subtract_bias(raw, master)
    made = ccdproc.subtract_dark(made, master, exposure_time="EXPTIME", exposure_unit=u.s)
    ccdproc.flat_correct(made, master).write(tmp_path / "a.fits")
    assert read(tmp_path / "a.fits").meta.calibration == "BDF"
    ccdproc.ccd_process(raw, master_bias=master).write(tmp_path / "b.fits")
    assert read(tmp_path / "b.fits").meta.calibration == "B"
    raw.write(tmp_path / "c.fits")
    assert read(tmp_path / "c.fits").meta.calibration == ""


@pytest.mark.parametrize(
    ("name", "program", "bits", "letters", "stages"),
    [
        ("pp_light_00001.fit", "Siril 1.2", -32, "BDF", ()),
        ("r_pp_light_00001.fit", "Siril 1.2", -32, "BDF", ("registered",)),
        ("M31_L_001_c_cc_r.xisf", None, -32, "BDF", ("registered",)), ("M31_d.xisf", None, -32, "", ("debayered",)),
        ("L_001.cal.tif", "DeepSkyStacker 5", -32, "BDF", ()),
        ("L_001.reg.tif", "DeepSkyStacker 5", -32, "", ("registered",)),
        ("M31_r.fits", "N.I.N.A. 3", 16, "", ()), ("M31_r.xisf", "N.I.N.A. 3", 16, "", ()),
        ("M31_c.fits", "my own", -32, "", ()), ("r_0001.fits", None, -32, "", ()),
    ],
)  # fmt: skip
def test_truth_names_are_believed_of_floats_by_programs_that_give_them(name, program, bits, letters, stages):
    meta = Meta.from_header({"BITPIX": bits, "SWCREATE": program}, f"lights/{name}", (90, 90))
    assert (meta.calibration, meta.stages) == (letters, stages)


def test_truth_stacks_are_counted_by_what_their_program_tells():
    for cards, count in (
        ({"HISTORY": "ImageIntegration.outputRangeLow: 0\nImageIntegration.numberOfImages: 60"}, 60),
        ({"HISTORY": "FastIntegration.numberOfImages: 241"}, 241), ({"LIGH_CNT": 12}, 12), ({"STACKCNT": 7}, 7),
        ({}, 1),
    ):  # fmt: skip
        meta = Meta.from_header({"IMAGETYP": "Light"} | cards, "a.fits", (9, 9))
        assert (meta.frames, meta.is_master) == (count, count > 1)


def test_truth_calibrated_lights_are_not_calibrated_again(tmp_path):
    """Siril's dark is not subtracted twice, the flat that it did not apply is; raw lights beside get both."""
    rng = np.random.default_rng(2)
    cards = {"EXPTIME": 60.0, "INSTRUME": "Cam", "GAIN": 100, "CCD-TEMP": -10.0}

    def take(name, kind, level, **more):
        path = tmp_path / kind.lower() / name
        path.parent.mkdir(exist_ok=True)
        write(path, rng.normal(level, 9, (40, 50)).astype(np.uint16), {"IMAGETYP": kind, **cards, **more})

    for i in range(4):
        take(f"pp_{i}.fits", "Light", 400, HISTORY="Calibrated with a master dark")
        take(f"raw_{i}.fits", "Light", 900)
        take(f"d_{i}.fits", "Dark", 500)
        take(f"b_{i}.fits", "Bias", 500, EXPTIME=0.0)
        take(f"f_{i}.fits", "Flat", 30_000, EXPTIME=2.0)
    made = plan(scan(tmp_path))
    by_name = {part.frames[0].source.rpartition("/")[2][:3]: part.equation for part in made.sets}
    assert by_name == {"pp_": "C = L * mean(F) / F", "raw": "C = (L - D) * mean(F) / F"}
    told = [words for words in made.warnings if "already calibrated (dark)" in words]
    assert len(told) == 1, "told once for a group"


def test_truth_calstat_in_words():
    by_names = Meta.from_header({"CALSTAT": "bias, dark"}, "a.fits", (8, 8))
    assert by_names.calibration == "BD" and not by_names.notes
    unsaid = Meta.from_header({"CALSTAT": "Calibrated"}, "a.fits", (8, 8))
    assert unsaid.calibration == "BDF" and "not by what" in unsaid.notes[0]
