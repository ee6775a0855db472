"""Subframes by hand: files in; a table on the screen, tables and lists in files out."""

import csv
import hashlib
import re
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from sky import CALM, SMALL, written
from weather import Weather, write_night

from masterlight import ImageIntegration, Recipe, read, write
from masterlight.core.errors import NothingUsable, OutputError, ParameterError
from masterlight.core.workers import executor
from masterlight.doors.cli import main
from masterlight.doors.hand import choose, copies
from masterlight.doors.hand.choose import choose_files
from masterlight.doors.hand.steps import by_hand
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.select import SubframeSelector

NIGHT = SMALL | CALM | {"lights": 4, "seed": 5}


@pytest.fixture(scope="module")
def truth():
    return written(**NIGHT)


def by_keyword(keyword):
    return Recipe(integrate=ImageIntegration(weights="keyword", weight_keyword=keyword), force=True)


def chosen(files, *, select=None, **slots):
    *_, done = choose_files(select or SubframeSelector(), files, **slots)
    return done.result


def shown(*words, status=0, columns=80):
    done = CliRunner().invoke(main, ["subframes", *map(str, words)], env={"COLUMNS": str(columns)})
    assert done.exit_code == status, done.output
    return done.output


def test_truth_seeing_in_arcseconds_and_what_was_measured(truth):
    """FWHM in arcsec is that of the night; the scale is told by the header."""
    night = chosen(truth.paths("light"))
    assert night.units.width == "arcsec" and night.units.scale_from == "header"
    meta = night[0].meta
    seeing = [p.fwhm_px * 206.2648 * meta.pixel_um / meta.focal_mm for p in truth.pointings[:4]]
    assert night.column("FWHM") == pytest.approx(seeing, rel=0.08)  # the optics are not perfect
    by_hand = chosen(truth.paths("light"), select=SubframeSelector(scale_arcsec=2.0))
    assert by_hand.units.scale_from == "by hand" and by_hand.units.scale_arcsec == 2
    px = chosen(truth.paths("light"), select=SubframeSelector(width_unit="px"))
    assert by_hand.column("FWHM") == pytest.approx(2 * px.column("FWHM"), rel=1e-12)


def test_surface_the_table_fits_the_screen(truth):
    for columns in (40, 80, 120):
        told = shown(*truth.paths("light"), "--approve", "FWHM < 1", "--fresh", columns=columns)
        assert all(len(line) <= columns for line in told.splitlines()), told
        assert told.count("FWHM < 1") >= 4 and "4 frames, none approved" in " ".join(told.split())
    folder = shown(Path(truth.paths("light")[0]).parent.parent, "--width-unit", "px")
    assert "FWHM px" in folder and "no lights: 5 bias frames, 5 darks, 5 flats" in folder.replace("\n", " ")


def test_surface_sorting_is_best_first(truth):
    def order(name):
        return [m[0] for m in re.finditer(r"\d{4}\.fits", shown(*truth.paths("light"), "--sort", name))]

    night = chosen(truth.paths("light"))
    best = [Path(f.source).name[-9:] for f in night.sorted_by("FWHM")]
    assert order("FWHM") == best and order("-FWHM") == best[::-1]
    assert order("Stars") == [Path(f.source).name[-9:] for f in night.sorted_by("Stars", descending=True)]
    with pytest.raises(ParameterError, match="is it FWHM"):
        chosen(truth.paths("light"), sort="FWHN")


def test_truth_tables_and_lists_in_files(truth, tmp_path):
    median = float(np.median(chosen(truth.paths("light")).column("FWHM")))
    select = SubframeSelector(approve=f"FWHM < {median!r}", weight="1/Noise^2")
    night = chosen(truth.paths("light"), select=select, table=tmp_path / "t.csv", list=tmp_path / "good.txt")
    rows = list(csv.DictReader(open(tmp_path / "t.csv", encoding="utf-8")))
    assert [float(row["Weight"]) for row in rows] == list(night.weights)
    assert [float(row["FWHM [arcsec]"]) for row in rows] == list(night.column("FWHM"))
    assert [row["Approved"] for row in rows].count("True") == 2
    lines = [line for line in open(tmp_path / "good.txt").read().splitlines() if not line.startswith("#")]
    assert lines == [frame.source for frame in night.approved]


def test_bad_outputs_are_told_before_the_work(truth, tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(OutputError, match="t.csv exists"):
        chosen(truth.paths("light"), table=tmp_path / "t.csv")
    with pytest.raises(ParameterError, match=r"table= .*t.xls: it is written as .csv or .ecsv or .json"):
        chosen(truth.paths("light"), table=tmp_path / "t.xls")
    assert "--table" in shown(*truth.paths("light"), "--table", tmp_path / "t.xls", status=2)
    with pytest.raises(NothingUsable, match="no light was found"):
        chosen(truth.paths("dark"))
    chosen(truth.paths("light"), table=tmp_path / "t.csv", overwrite=True)
    assert (tmp_path / "t.csv").read_text() != "mine"


def test_truth_copies_hold_the_weight_and_the_samples_of_the_original(truth, tmp_path):
    """Every bit of the pixels and of the weight; the header stays but for one card."""
    paths = truth.paths("light")
    select = SubframeSelector(weight="1/(3*Noise)", approve="Index != 2")
    night = chosen(paths, select=select, out=tmp_path / "out", keyword="SFSWEIGHT", prefix="p_", postfix="")
    written_ = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written_] == [f"p_{Path(p).name}" for i, p in enumerate(paths) if i != 1]
    for path, frame in zip(written_, night.approved, strict=True):
        copy, original = read(path), read(frame.source)
        assert copy.header["SFSWEIGHT"] == frame.weight and "HIERARCH" in path.read_bytes()[:28800].decode("latin-1")
        assert np.array_equal(np.asarray(copy), np.asarray(original)) and copy.layout.dtype == original.layout.dtype
        own = {"SFSWEIGHT", "SSWSCHM", "SSUNITS", "HISTORY", *copies.FIGURES}
        assert {k: v for k, v in copy.header.items() if k not in own} == {
            k: v for k, v in original.header.items() if k != "HISTORY"
        }
    *_, done = by_hand("integrate", written_, tmp_path / "deep.fits", by_keyword("SFSWEIGHT"))
    assert done.result[0].frames_used == 3
    with pytest.raises(ParameterError, match="has no keyword SSWEIGHT for a weight; it has SFSWEIGHT: use that"):
        list(by_hand("integrate", written_, tmp_path / "other.fits", by_keyword("SSWEIGHT")))


def test_truth_no_weight_of_before_is_left_in_a_copy_that_has_none(truth, tmp_path):
    """Found by a frame that was kept by hand: its copy had the weight of another formula, and counted by it."""
    chosen(truth.paths("light"), select=SubframeSelector(weight="100 + Stars"), out=tmp_path / "first")
    first = sorted((tmp_path / "first").iterdir())
    again = SubframeSelector(weight="log(Index - 1.5)")
    chosen(first, select=again, keep=[first[0].name], out=tmp_path / "second")
    kept, *others = (fits.getheader(path) for path in sorted((tmp_path / "second").iterdir()))
    assert "SSWEIGHT" not in kept and "SSWSCHM" not in kept and kept["SSFWHM"] > 0
    assert all("SSWEIGHT" in header for header in others)
    *events, _ = choose_files(SubframeSelector(approve="Index > 1"), first, out=tmp_path / "third")  # not weighed anew
    left = [fits.getheader(path) for path in sorted((tmp_path / "third").iterdir())]
    assert [header["SSWEIGHT"] for header in left] == [fits.getheader(path)["SSWEIGHT"] for path in first[1:]]
    assert not any("hold no weight" in event.message for event in events)


def test_authority_astropy_reads_what_was_measured_and_by_what_it_was_weighed(truth, tmp_path):
    """Every bit of the figures in the units of the table, with comments; copied anew, nothing of before is left."""
    paths = truth.paths("light")
    formula = "35*inv(FWHM) + 50"
    night = chosen(paths, select=SubframeSelector(weight=formula, data_unit="e-", gain_e=0.5), out=tmp_path / "out")
    for i, path in enumerate(sorted((tmp_path / "out").iterdir())):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path) as file:
                file.verify("exception")
                head = file[0].header
        assert head["SSUNITS"] == "arcsec,e-" and "[arcsec]" in head.comments["SSFWHM"]
        assert "[e-]" in head.comments["SSNOISE"]
        for key, name in (("FWHM", "FWHM"), ("ECC", "Eccentricity"), ("NOISE", "Noise"), ("SNR", "SNRWeight")):
            assert head[f"SS{key}"] == night.column(name)[i] and head.comments[f"SS{key}"]
        assert head["SSSTARS"] == night.column("Stars")[i] and type(head["SSSTARS"]) is int
        assert head["SSWSCHM"] == hashlib.sha256(formula.replace(" ", "").encode()).hexdigest()[:16]
    again = sorted((tmp_path / "out").iterdir())
    chosen(again, select=SubframeSelector(weight="Stars", width_unit="px"), out=tmp_path / "again")
    others = fits.getheader(sorted((tmp_path / "again").iterdir())[0])
    assert others["SSUNITS"] == "px,DN" and others["SSWSCHM"] != head["SSWSCHM"]
    assert all(others.count(key) == 1 for key in (*copies.FIGURES, "SSWEIGHT", "SSWSCHM", "SSUNITS"))
    chosen(paths, weights="point", out=tmp_path / "point")
    chosen(paths, select=SubframeSelector(weight=" 35 * inv(FWHM)+50"), out=tmp_path / "same")
    point, same = (fits.getheader(next((tmp_path / name).iterdir()))["SSWSCHM"] for name in ("point", "same"))
    assert same == head["SSWSCHM"] != point
    with pytest.raises(ParameterError, match="keyword= ssfwhm: copies tell something else"):
        chosen(paths, out=tmp_path / "bad", keyword="ssfwhm")


def test_truth_a_figure_that_is_not_known_has_no_card(truth):
    frames = [Subframe(f.source, f.meta, f.measurement) for f in chosen(truth.paths("light"))]
    blind = replace(frames[0], measurement=replace(frames[0].measurement, eccentricity=None))
    cards = copies.figure_cards(Subframes((blind, frames[1])))
    assert cards[blind.source]["SSECC"][0] is None and cards[frames[1].source]["SSECC"][0] is not None


def test_truth_two_fields_under_one_name_are_told_and_condemn_nobody(tmp_path):
    """As many lights of one field as of another, which no header tells apart."""
    small = {"lights": 3, "rows": 320, "cols": 400, "stars": 250}
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        write_night(Weather(seed, **small), tmp_path / str(seed))
    told = [*choose_files(SubframeSelector(), [tmp_path])]
    words = [event.message for event in told if event.message and "two targets" in event.message]
    assert len(words) == 1 and "3 of 6 frames of M 1" in words[0] and len(words[0]) < 300
    assert not any(frame.flags for frame in told[-1].result)
    one = [*choose_files(SubframeSelector(), [tmp_path / "1"])]
    assert not any("two targets" in (event.message or "") for event in one)


def test_truth_further_images_of_a_file_are_told(tmp_path):
    pixels = Weather(1, lights=1, rows=200, cols=240, stars=150).frame(0).astype(np.uint16)
    hdus = [fits.PrimaryHDU(header=fits.Header({"IMAGETYP": "Light"})), *(fits.ImageHDU(pixels) for _ in range(2))]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    told = [event.message for event in choose_files(SubframeSelector(), [tmp_path / "a.fits"]) if event.message]
    assert any("1 of 1 files hold further images, which are not measured" in words for words in told)


def test_surface_copies_are_overwritten_only_when_somebody_says_so(truth, tmp_path):
    paths, out = truth.paths("light"), tmp_path / "out"
    shown(*paths, "--weight", "Stars", "-o", out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert len(before) == 4 and all(path.name.endswith("_a.fits") for path in before)
    told = shown(*paths, "--weight", "1/Noise", "-o", out, status=2)
    assert "exists; choose another folder, or pass --overwrite" in told
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    shown(*paths, "--weight", "1/Noise", "-o", out, "--overwrite")
    assert all(path.read_bytes() != content for path, content in before.items())
    told = shown(*out.iterdir(), "-o", out, "--postfix", "", "--overwrite", status=2)
    assert "is one of the frames to work on" in told
    told = shown(*paths, "-o", out, "--keyword", "EXPTIME", "--overwrite", status=2)
    assert "--keyword EXPTIME: is 120" in told and "which is no weight" in told
    told = shown(*paths, "-o", out, "--keyword", "CHECKSUM", "--overwrite", status=2)
    assert "--keyword CHECKSUM: by this FITS reads pixels" in told
    told = shown(*paths, "-o", out, "--keyword", "GEWÖHNLICH", "--overwrite", status=2)
    assert "44 at most" in told and len(told) < 300


def test_truth_copies_that_could_not_be_written_are_not_counted(truth, tmp_path, monkeypatch):
    def full(frame, path, cards, told):
        if "_0002" in frame.source or not left:
            raise OutputError(f"{path}: the disk is full")
        copied(frame, path, cards, told)

    copied, left = copies.write_copy, [True]
    monkeypatch.setattr(copies, "write_copy", full)
    told = " ".join(shown(*truth.paths("light"), "-o", tmp_path / "a", status=1).split())
    assert "3 of the copies hold no weight" in told and "3 copies of the approved" in told
    left.clear()
    assert "copies of the approved" not in shown(*truth.paths("light"), "-o", tmp_path / "b", status=1)


def test_surface_names_that_nobody_has_and_what_was_meant(truth, tmp_path):
    paths = truth.paths("light")
    told = shown(*paths, "--approve", "FWHM < 9", "--explain", "0002", status=2)
    assert "none of the frames is called so; a part of a name is written '*0002*'" in told
    assert f"is it {Path(paths[1]).name}?" in shown(*paths, "--keep", f"{Path(paths[1]).stem}.fit", status=2)
    assert "no column fwhm; is it FWHM?" in shown(*paths, "--sort", "fwhm", status=2)
    assert f"no light was found in {tmp_path}: give lights" in " ".join(shown(tmp_path, status=2).split())
    assert "--scale-arcsec: decimals have a point: 1.5" in shown(*paths, "--scale-arcsec", "1,5", status=2)


def test_surface_a_step_by_hand_like_all_others(truth, tmp_path):
    *_, done = by_hand("subframes", truth.paths("light"), tmp_path, SubframeSelector(weight="Stars"), sort="Weight")
    assert list(done.result.weights) == sorted(done.result.weights, reverse=True) and len(list(tmp_path.iterdir())) == 4
    *_, done = by_hand("subframes", truth.paths("light")[0])
    assert len(done.result) == 1 and done.result.approved[0].weight is None
    with pytest.raises(ParameterError, match="subframes takes no colour"):
        list(by_hand("subframes", truth.paths("light"), colour="red"))
    with pytest.raises(ParameterError, match="cosmetic needs out="):
        list(by_hand("cosmetic", truth.paths("light")))


def test_surface_verdicts_by_hand(truth, tmp_path):
    paths = truth.paths("light")
    told = shown(*paths, "--approve", "false", "--keep", Path(paths[1]).name, "--list", tmp_path / "l.txt")
    assert " *  " in told and "1 approved" in told
    assert (tmp_path / "l.txt").read_text().splitlines()[1:] == [str(paths[1])]
    told = shown(*paths, "--leave-out", "*_000[12].fits")
    assert told.count("left out by hand") == 2 and "2 approved" in told
    assert "--keep nobody.fits: none of the frames is called so" in shown(*paths, "--keep", "nobody.fits", status=2)


def test_surface_a_page_and_plots(truth, tmp_path):
    """Written whole; what is there stays unless `overwrite` says so, told before the work."""
    pytest.importorskip("matplotlib")
    words = [
        *truth.paths("light"),
        "--approve",
        "FWHM < 40",
        "--page",
        tmp_path / "night.html",
        "--plots",
        tmp_path / "plots",
    ]
    shown(*words)
    page = (tmp_path / "night.html").read_text()
    assert all(Path(path).name in page for path in truth.paths("light")) and "FWHM &lt; 40" in page
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"FWHM_night.png", "FWHM_night.svg", "FWHM_Noise.png"} <= names
    assert "is a file; give a folder for the results (--plots)" in shown(
        *words[:-4], "--plots", tmp_path / "night.html", status=2
    ).replace("\n", " ")
    assert "has plots" in shown(*words[:-4], "--plots", tmp_path / "plots", status=2)
    assert "exists" in shown(*words[:-2], status=2) and "its name end" in shown(*words[:4], "--page", "a.htm", status=2)
    shown(*words, "--overwrite")
    assert {path.name for path in (tmp_path / "plots").iterdir()} == names


def test_surface_what_plots_need_is_told_before_the_work(truth, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or name.endswith("looks.prints")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    told = shown(*truth.paths("light"), "--plots", tmp_path / "plots", status=2)
    assert told.startswith("masterlight: plots need matplotlib: pip install 'masterlight[plots]'")


TUTORIAL = (
    "(35*(1-(FWHM-3.008)/(4.003-3.008)) + 5*(1-(Eccentricity-0.3663)/(0.5712-0.3663))"
    " + 10*(1-(Noise-107.6)/(117.5-107.6)))+50"
)
"""As it stands there."""


def test_truth_the_tutorials_figures_15_and_16_as_they_stand(truth, tmp_path):
    """System parameters, approval, weighting; folder, postfix and keyword of nine letters; then integration by it."""
    paths, out = truth.paths("light"), tmp_path / "out"
    words = ["--scale-arcsec", "1.4633", "--gain-e", "0.25", "--data-unit", "e-", "--weight", TUTORIAL]
    words += ["--approve", "FWHM < 6 && Eccentricity < 0.9 && Noise < 117.5", "--keyword", "SFSWEIGHT", "-o", out]
    shown(*paths, *words, "--postfix", "_w", "--table", tmp_path / "t.ecsv")
    table = Table.read(tmp_path / "t.ecsv", format="ascii.ecsv")
    fwhm, eccentricity, noise = (np.array(table[name]) for name in ("FWHM", "Eccentricity", "Noise"))
    assert str(table["FWHM"].unit) == "arcsec" and str(table["Noise"].unit) == "electron"
    expected = 35 * (1 - (fwhm - 3.008) / 0.995) + 5 * (1 - (eccentricity - 0.3663) / 0.2049)
    expected = expected + 10 * (1 - (noise - 107.6) / 9.9) + 50
    assert np.array(table["Weight"]) == pytest.approx(expected, rel=1e-12)
    copies = sorted(out.iterdir())
    assert [path.name[-7:] for path in copies] == 4 * ["_w.fits"]
    assert [read(path).header["SFSWEIGHT"] for path in copies] == list(table["Weight"])
    *_, done = by_hand("integrate", copies, tmp_path / "deep.fits", by_keyword("SFSWEIGHT"))
    with fits.open(tmp_path / "deep.fits") as file:
        rows = file["FRAMES"].data
    assert list(rows["weight"]) == pytest.approx(expected / expected.max(), rel=1e-6)


def test_truth_one_frame_is_the_best_of_its_kind(truth):
    one = chosen(truth.paths("light")[:1], select=SubframeSelector(weight="tutorial", approve="FWHMSigma < 2"))
    assert list(one.weights) == [100] and one[0].approved


def test_truth_one_thread_or_eight_give_the_same_table(truth, monkeypatch):
    tables = []
    for where in ("threads:1", "threads:8"):
        monkeypatch.setattr(choose, "executor", partial(executor, where))
        night = chosen(truth.paths("light"), select=SubframeSelector(weight="tutorial+noise"), fresh=True)
        tables.append(night.to_json())
    assert tables[0] == tables[1]


def test_truth_a_forecast_and_the_weights_that_it_picks(truth, tmp_path):
    lights = truth.paths("light")
    told = shown(*lights, "--forecast", "--weights", "sharp", "--give", "10")
    below = told[told.index("forecast, before") :]
    assert all(len(line) <= 80 for line in below.splitlines()) and "inconclusive" not in told
    for words in ("forecast, before anything is integrated", "sharp 10%", "least FWHM", "each frame brings", "Price"):
        assert words in told
    night = chosen(lights, weights="sharp", give=10, forecast=True, out=tmp_path)
    assert all(b"HISTORY weights sharp, give 10 " in path.read_bytes() for path in tmp_path.iterdir())
    [outlook] = night.forecast(10)
    assert outlook.choices["present"].depth == pytest.approx(0.9, abs=1e-3) and outlook.choices["present"].wider < 1e-3
    assert night.column("Price") == pytest.approx(100 * outlook.prices.depth) and night.weights.max() == 1
    alike = chosen(lights, weights="noise").weights
    noise, light = night.column("Noise"), 1 / night.column("PSFScale")
    assert alike == pytest.approx((light / noise) ** 2 / np.max((light / noise) ** 2))
    for words, reason in (
        (("--weights", "blunt"), "--weights blunt: there are noise, point, sharp"),
        (("--weights", "sharp", "--give", "51"), "--give 51: it is percent of depth"),
        (("--weights", "point", "--weight", "1/FWHM"), "--weights point and --weight are two ways"),
    ):
        assert reason in " ".join(shown(*lights, *words, status=2).split())


def test_surface_lists_of_marks_and_why_a_frame_weighs_what_it_does(truth, tmp_path):
    paths = truth.paths("light")
    (tmp_path / "marks.txt").write_text(f"{paths[0]}\n{paths[2]}\n")
    told = shown(
        *paths, "--leave-out", f"@{tmp_path / 'marks.txt'}", "--weight", "tutorial", "--explain", "*_0002.fits"
    )
    assert told.count("left out by hand") == 2 and "35*inv(FWHM)" in told and "_0002.fits\n  weight " in told
    told = shown(*paths, "--explain", "*_0002.fits", status=2)
    assert "--explain tells of formulas: give --approve or --weight" in told
    assert "--explain nobody: none of the frames" in shown(*paths, "--weight", "Stars", "--explain", "nobody", status=2)


def test_bad_nights_end_with_the_status_of_nothing_usable(tmp_path):
    write(tmp_path / "dark.fits", np.zeros((64, 64), np.float32))
    write(tmp_path / "night.fits", np.random.default_rng(1).normal(100, 5, (64, 64)).astype(np.float32))
    told = shown(tmp_path, "--list", tmp_path / "l.txt", status=2)
    assert "no frame could be measured" in told and not (tmp_path / "l.txt").exists()
