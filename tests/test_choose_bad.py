"""Bad input of `masterlight subframes`: what becomes of each frame of a night that has one of every kind, and of words.

What could not be measured is never approved and has no weight, and its reason is told; one bad frame ends nothing.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter
from sky import CALM, EVEN, written

from masterlight.core.frame import Meta
from masterlight.doors.cli import main
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.select import SubframeSelector

NIGHT = {**CALM, **EVEN, "lights": 4, "biases": 0, "darks": 0, "flats": 0, "seed": 5}
LEVEL_DN, NOISE_DN = 1459.0, 43.0
FORMULAS = ["--approve", "FWHM < 6 && Eccentricity < 0.7", "--weight", "35*inv(FWHM) + 5*norm(SNRWeight) + 50"]
rng = np.random.default_rng(2)


def sky(shape):
    return rng.normal(LEVEL_DN, NOISE_DN, shape)


def star(shape, x_px, y_px, flux_dn, fwhm_px=3.0):
    y, x = np.indices(shape)
    s2 = (fwhm_px / 2.3548) ** 2
    return flux_dn / (2 * np.pi * s2) * np.exp(-((x - x_px) ** 2 + (y - y_px) ** 2) / 2 / s2)


def stars(count):
    return lambda p: sky(p.shape) + sum((star(p.shape, 80 + 90 * i, 60 + 70 * i, 2e5) for i in range(count)), 0.0)


def doughnuts(p):
    """60 stars far out of focus: rings 16 px wide with a hole of 12 px."""
    seeds = np.zeros(p.shape)
    seeds[rng.integers(20, p.shape[0] - 20, 60), rng.integers(20, p.shape[1] - 20, 60)] = 10 ** rng.uniform(4, 5.3, 60)
    y, x = np.indices((33, 33)) - 16
    ring = gaussian_filter((np.abs(np.hypot(x, y) - 7) < 1).astype(float), 1)
    turned = np.fft.irfft2(np.fft.rfft2(seeds) * np.fft.rfft2(ring / ring.sum(), p.shape), p.shape)
    return sky(p.shape) + turned


def with_hot(p, count=1000):
    p = p.copy()
    p.flat[rng.choice(p.size, count, replace=False)] += rng.uniform(500, 20_000, count)
    return p


def nudged(p):
    """The same but for the corner, else it is a copy."""
    p = p.copy()
    p[0, 0] += 1 + rng.integers(100)
    return p


def missing(p, rows=slice(None)):
    p = p.astype(np.float32)
    p[rows] = np.nan
    return p


class Bad(NamedTuple):
    """One bad frame of a night, and what must become of it."""

    make: object = lambda p: nudged(p)
    """Of the pixels of a good light other ones."""
    cards: dict = {}
    """What is changed in its header; None takes a keyword out."""
    tells: str = ""
    """What its reason must say; such frames are not measured, not approved and have no weight."""
    like_good: bool = False
    """Whether its figures are those of the good light that it was made of."""


FRAMES = {
    "no-star": Bad(stars(0), tells="no star found above 5 sigma"),
    "one-star": Bad(stars(1), tells="only 1 of the 3 stars needed found"),
    "two-stars": Bad(stars(2), tells="only 2 of the 3 stars needed found"),
    "hot-pixels": Bad(lambda p: with_hot(sky(p.shape)), tells="no star found"),
    "hot-and-stars": Bad(with_hot, like_good=True),
    "doughnuts": Bad(doughnuts),
    "saturated": Bad(lambda p: np.full(p.shape, 65535.0), tells="65535"),
    "zeros": Bad(np.zeros_like, tells="every pixel is zero"),
    "all-missing": Bad(missing, tells="100 % of its pixels are missing"),
    "part-missing": Bad(lambda p: missing(p, slice(100, 200)), like_good=True),
    "tiny": Bad(lambda p: p[:5, :7], tells="no star found"),
    "stack": Bad(cards={"NCOMBINE": 20, "IMAGETYP": "Master Light"}, tells="already a stack of 20 frames"),
    "stacked-light": Bad(cards={"NCOMBINE": 20}, tells="already a stack of 20 frames"),
    "second-copy": Bad(lambda p: p, tells="holds the same pixels as good-0.fits, which is used once"),
    "no-scale": Bad(cards={"FOCALLEN": None, "XPIXSZ": None, "YPIXSZ": None}, like_good=True),
    "other-filter": Bad(cards={"FILTER": "Ha"}, like_good=True),
    "no-header": Bad(cards=dict.fromkeys(("OBJECT", "FILTER", "EXPTIME", "EXPOSURE", "DATE-OBS", "EGAIN"))),
}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A folder with four good lights and one of every bad kind."""
    folder = tmp_path_factory.mktemp("night")
    good = written(**NIGHT).paths("light")
    for i, path in enumerate(good):
        shutil.copy(path, folder / f"good-{i}.fits")
    for name, bad in FRAMES.items():
        with fits.open(good[0]) as file:
            pixels, header = file[0].data.astype(float), file[0].header.copy()
        pixels = bad.make(pixels)
        for key, value in bad.cards.items():
            header.set(key, value) if value is not None else header.remove(key, ignore_missing=True)
        whole = np.clip(np.rint(pixels), 0, 65535).astype(np.uint16) if pixels.dtype == float else pixels
        fits.writeto(folder / f"{name}.fits", whole, header)
    content = (folder / "good-0.fits").read_bytes()
    (folder / "cut.fits").write_bytes(content[: len(content) // 2])
    (folder / "text.fits").write_text("hello")
    return folder


def called(*words, status=0, columns=120):
    done = CliRunner().invoke(main, ["subframes", *map(str, words)], env={"COLUMNS": str(columns)})
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output and "Warning" not in done.output
    return done.output


@pytest.fixture(scope="module")
def table(night, tmp_path_factory):
    """What is told of that night, and its table: a row for each frame by the name of its file."""
    path = tmp_path_factory.mktemp("out") / "night.json"
    told = called(night, *FORMULAS, "--table", path, status=1)
    rows = json.loads(path.read_text())["frames"]
    return told, {Path(row["File"]).stem: row for row in rows}


def test_files_that_cannot_be_read_are_told_and_the_others_measured(table):
    told, rows = table
    assert re.search(r"rejected .*cut\.fits: truncated", told) and re.search(r"rejected .*text\.fits: not a FITS", told)
    assert set(rows) == {*FRAMES, *(f"good-{i}" for i in range(4))}
    assert all(rows[f"good-{i}"]["Approved"] and rows[f"good-{i}"]["Weight"] > 50 for i in range(4))


@pytest.mark.parametrize("name", FRAMES)
def test_truth_each_bad_frame_is_measured_or_left_out_with_its_reason(table, name):
    rows, bad = table[1], FRAMES[name]
    row, good = rows[name], rows["good-0"]
    if bad.tells:
        assert bad.tells in row["Reasons"]
        assert not row["Approved"] and row.get("Weight") is None and row.get("FWHM") is None
    elif bad.like_good:
        assert row["Approved"] and not row["Reasons"]
        assert row["FWHM"] == pytest.approx(good["FWHM"], rel=0.02)
        assert row["Noise"] == pytest.approx(good["Noise"], rel=0.03)
        if name != "part-missing":
            assert row["Stars"] == pytest.approx(good["Stars"], rel=0.05)  # hot pixels lie on some, and are none


def test_truth_stars_out_of_focus_are_told(table):
    """Of wide rings pieces may be taken for stars, which are narrower than the ring; no profile fits them."""
    row, good = table[1]["doughnuts"], table[1]["good-0"]
    assert "FOCUS" in row["Flags"] and not good["Flags"]
    assert row["FWHM"] > 1.5 * good["FWHM"] and row["StarResidual"] > 3 * good["StarResidual"]
    assert not row["Approved"] and row["Reasons"]


def test_without_a_scale_widths_stay_in_px_and_that_is_told_once(table, night):
    told, rows = table
    lines = [line for line in told.splitlines() if "XPIXSZ" in line]
    assert len(lines) == 1 and "FWHM is in px" in lines[0] and "--scale-arcsec" in lines[0]
    assert "FWHM px" in told and 2 < rows["good-0"]["FWHM"] < 4
    told = called(night / "good-0.fits", night / "no-scale.fits", "--scale-arcsec", "1.5")
    assert 'FWHM "' in told and "XPIXSZ" not in told


def test_truth_a_bad_frame_changes_no_figure_of_the_good_ones(night, table, tmp_path):
    """Weights of FWHM are those that the good frames have without the bad ones, but for what is measured in those."""
    alike = ["good-0", "good-1", "good-2", "good-3"]
    bad = [name for name, bad in FRAMES.items() if bad.tells]
    for out, names in {"a.json": alike, "b.json": alike + bad}.items():
        called(*(night / f"{n}.fits" for n in names), *FORMULAS, "--table", tmp_path / out)
    one, both = (json.loads((tmp_path / out).read_text())["frames"] for out in ("a.json", "b.json"))
    assert [row["Weight"] for row in one] == [row["Weight"] for row in both if "good" in row["File"]]


def test_stacks_alone_are_measured(night):
    told = called(night / "stack.fits", night / "stacked-light.fits")
    assert "already a stack" not in told and "2 frames, all approved" in told


@pytest.mark.parametrize(
    "words, told",
    [
        (["--approve", "FWMH < 4"], "FWMH.*FWHM"),
        (["--weight", "35*inv(Excentricity)"], "Excentricity.*Eccentricity"),
        (["--sort", "FWMH"], "FWMH.*FWHM"),
        (["--approve", "FWHM < "], r"--approve.*ends where a value is needed"),
        (["--approve", "FWHM < 4 FWHM"], "--approve"),
        (["--approve", "FWHM"], "is a number; a condition is needed"),
        (["--weight", "FWHM < 4"], "is a condition; a weight is a number"),
        (["--weight", "1/0"], "division by zero"),
        (["--approve", ""], "empty"),
        (["--scale-arcsec", "0"], "--scale-arcsec"),
        (["--sigma", "nan"], "--sigma"),
    ],
)
def test_wrong_words_are_told_in_one_line(night, words, told):
    output = called(night / "good-0.fits", *words, status=2)
    last = [line for line in output.splitlines() if line.startswith("masterlight: ")]
    assert len(last) == 1 and re.search(told, last[0]) and len(last[0]) < 300, output


def test_truth_frames_that_are_all_equal(night, tmp_path):
    """`norm` of what is the same everywhere is 0, `inv` is 1."""
    for i in range(3):
        with fits.open(night / "good-0.fits") as file:
            file[0].header["DATE-OBS"] = f"2025-10-18T19:3{i}:00.000"
            file.writeto(tmp_path / f"equal-{i}.fits")
    for formula, weight in {"norm(FWHM)": 0, "inv(FWHM)": 1, "7 + 35*inv(FWHM) + 5*norm(Noise)": 42}.items():
        called(tmp_path, "--weight", formula, "--table", tmp_path / "t.json", "--overwrite")
        rows = json.loads((tmp_path / "t.json").read_text())["frames"]
        assert [row["Weight"] for row in rows] == [weight] * 3, formula


def test_what_nobody_measured_is_not_approved_whatever_the_formula_says(night, tmp_path):
    """Of an unknown figure no comparison holds, nor its negation."""
    for formula in ("Altitude < 90", "!(Altitude < 90)", "Altitude == Altitude"):
        called(night / "no-header.fits", "--approve", formula, "--table", tmp_path / "t.json", "--overwrite")
        [row] = json.loads((tmp_path / "t.json").read_text())["frames"]
        assert not row["Approved"] and "Altitude" in row["Reasons"], formula


def test_nothing_but_bad_files_has_the_status_of_nothing_usable(night):
    told = called(night / "cut.fits", night / "text.fits", status=2)
    assert told.splitlines()[-1].startswith("masterlight: no light was found")
    told = called(night / "no-star.fits", night / "zeros.fits", night / "one-star.fits", status=2)
    assert re.search(r"no frame could be measured: .*no star found.* \(and 2 more\)", told)
    assert "there is no such file" in called(night / "gone.fits", status=2)


def test_truth_five_thousand_frames():
    """Approved, weighed, sorted and written: each frame by what it is, those that could not be measured left out."""
    fwhm_px = np.random.default_rng(1).uniform(2, 5, 5000)
    sky = Measurement("", 1000.0, (9.0, 9.0), 8.0, stars=100)
    frames = [
        Subframe(f"{i}.fits", Meta(exposure_s=60.0), replace(sky, source=f"{i}.fits", fwhm_px=width))
        for i, width in enumerate(fwhm_px.tolist())
    ]
    frames[7] = Subframe("7.fits", Meta(exposure_s=60.0), approved=False, reasons=("no star found",))
    night = SubframeSelector(approve="FWHM < 4", weight="inv(FWHM)").table(frames)
    own = np.delete(fwhm_px, 7)
    assert len(night.approved) == np.count_nonzero(own < 4)
    assert night.column("Weight")[:3] == pytest.approx((own.max() - fwhm_px[:3]) / np.ptp(own), rel=1e-12)
    assert np.isnan(night.column("Weight")[7])
    assert night.sorted_by("FWHM")[0].source == f"{np.argmin(fwhm_px)}.fits" and night.sorted_by("FWHM")[-1].reasons
    assert night.to_csv().count("\n") == 5001
