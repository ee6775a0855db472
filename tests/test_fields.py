"""Lights of several fields in one folder: as many master lights, whether their headers tell them apart or not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sky import CALM, SMALL, written

from masterlight import ImageIntegration, ParameterError, Recipe, SubframeSelector, build, run

NIGHT = {"rows": 256, "cols": 320, "biases": 0, "darks": 0, "flats": 0, "stars": 250, "nebula_dn": 0.0}


def lights(folder, seed, count, name, object=None, filters=("L",), ra=None, **knobs):
    """Lights of one field under new names, `{name}{i}.fits`; the field is that of the seed. Gives the names."""
    truth = written(**{**NIGHT, **CALM, "seed": seed, "lights": count, "filters": filters, **knobs})
    made = []
    folder.mkdir(exist_ok=True)
    for i, path in enumerate(truth.paths("light")):
        with fits.open(path) as hdus:
            header = hdus[0].header
            for keyword in ("OBJECT", "RA", "DEC", "OBJCTRA", "OBJCTDEC"):
                header.remove(keyword, ignore_missing=True)
            if object:
                header["OBJECT"] = object
            if ra is not None:
                header["RA"], header["DEC"] = ra, 20.0
            hdus.writeto(folder / f"{name}{i}.fits")
        made.append(f"{name}{i}.fits")
    return made


def walked(folder, out, **knobs):
    """The report of a run, all that was said on the way, and the lights of each master light by its file name."""
    events = list(run(folder, out, build(Recipe, {"workers": "serial", **knobs})))
    used = {}
    for row in events[-1].result.lights:
        with fits.open(row.path) as hdus:
            table = next(hdu for hdu in hdus if "source" in (getattr(hdu, "columns", None) and hdu.columns.names or ()))
            used[Path(row.path).name] = sorted(table.data["source"])
    return events[-1].result, "\n".join(event.message for event in events), used


def rejected(report):
    return {Path(row.path).name: row.reason for row in report.frames if row.status == "rejected"}


def test_truth_two_fields_without_a_name_are_two_master_lights_in_every_filter(tmp_path):
    one = lights(tmp_path / "in", 11, 3, "a", filters=("L", "R"))
    two = lights(tmp_path / "in", 12, 4, "b", filters=("L", "R"))
    report, told, used = walked(tmp_path / "in", tmp_path / "out")
    assert sorted(used) == [
        "master_light_2_L.fits",
        "master_light_2_R.fits",
        "master_light_L.fits",
        "master_light_R.fits",
    ]
    assert sorted(used["master_light_L.fits"] + used["master_light_R.fits"]) == sorted(two)  # the larger field first
    assert sorted(used["master_light_2_L.fits"] + used["master_light_2_R.fits"]) == sorted(one)
    assert not report.rejected and "clouds" not in told
    assert "the 14 lights without a name (OBJECT) show 2 fields: 8 lights" in told
    assert len({row.reference for row in report.lights}) == 2  # one for each field, whatever the filter


def test_truth_three_fields_by_turns_and_a_stray(tmp_path):
    fields = [lights(tmp_path / "in", 20 + k, n, name) for k, (n, name) in enumerate([(5, "p"), (4, "q"), (3, "r")])]
    (stray,) = lights(tmp_path / "in", 30, 1, "s")
    report, told, used = walked(tmp_path / "in", tmp_path / "out")
    assert list(used.values()) == fields
    assert list(used) == ["master_light_L.fits", "master_light_2_L.fits", "master_light_3_L.fits"]
    assert list(rejected(report)) == [stray]
    assert "shows another field than the 5 lights that match" in rejected(report)[stray]
    assert "clouds" not in told and "show 3 fields" in told


def two_panels(folder, step, counts):
    """Lights of two panels that overlap, cut out of wider ones."""
    for name, first, count in (("a", 0, counts[0]), ("b", step, counts[1])):
        for file in lights(folder / name, 11, count, name, cols=520, stars=500, meridian_flip=False):
            with fits.open(folder / name / file, mode="update") as hdus:
                hdus[0].data = hdus[0].data[:, first : first + 320].copy()


def test_truth_panels_that_all_match_the_reference_are_a_mosaic(tmp_path):
    """Of each 62 % lie beyond the other: all of both is shown, which is told."""
    two_panels(tmp_path, 200, (4, 3))
    report, told, used = walked(tmp_path, tmp_path / "out")
    assert list(map(len, used.values())) == [7] and not report.rejected and "cut off" not in told
    assert "of 7 lights are panels beside it (StarAlignment.frame auto)" in told
    assert "panels are laid all at once" in told and "levelled where they overlap" in told
    rows, cols = fits.getdata(report.lights[0].path).shape
    assert 515 <= cols <= 560 and 256 <= rows <= 290


@pytest.mark.parametrize(
    "step, counts, frame", [(200, (4, 3), "reference"), (200, (5, 1), "auto"), (40, (4, 3), "auto")]
)
def test_truth_panels_are_not_cut_off_in_silence(tmp_path, step, counts, frame):
    """62 % of a panel, where the user wants the reference's frame or one light alone lies there; or an eighth."""
    two_panels(tmp_path, step, counts)
    report, told, used = walked(tmp_path, tmp_path / "out", **{"align.frame": frame})
    assert list(map(len, used.values())) == [sum(counts)] and not report.rejected
    assert fits.getdata(report.lights[0].path).shape == (256, 320)
    assert ("cut off" in told) == (step > 40)
    if step > 40:
        assert "lies beyond a" in told and "StarAlignment.frame mosaic shows all of every light" in told


@pytest.mark.parametrize("strays", [1, 2])
def test_truth_few_strays_among_many_are_left_out_with_a_true_reason(tmp_path, strays):
    many = lights(tmp_path / "in", 11, 6, "a", object="M 31")
    few = lights(tmp_path / "in", 12, strays, "b", object="M 31")
    report, told, used = walked(tmp_path / "in", tmp_path / "out")
    assert list(used.values()) == [many] and sorted(rejected(report)) == few
    assert all("shows another field" in reason for reason in rejected(report).values()) and "clouds" not in told


def test_truth_two_fields_of_two_lights(tmp_path):
    one, two = lights(tmp_path / "in", 11, 2, "a"), lights(tmp_path / "in", 12, 2, "b")
    report, told, used = walked(tmp_path / "in", tmp_path / "out")
    assert list(used.values()) == [one, two] and "show 2 fields" in told and not report.rejected


def test_truth_a_wrong_name_makes_a_master_light_with_a_number(tmp_path):
    one, two = (lights(tmp_path / "in", 10 + n, n, f"n{n}_", object="M 31") for n in (5, 3))
    report, told, used = walked(tmp_path / "in", tmp_path / "out", **{"drizzle.scale": 2.0, "drizzled": True})
    assert used["master_light_M-31_L.fits"] == one and used["master_light_M-31_2_L.fits"] == two
    assert "master_light_M-31_2_L_drizzle.fits" in used
    assert "called M 31 match each other and not the other 5 lights" in told and "3 lights (n3_" in told
    assert {row.object for row in report.lights} == {"M 31"} and "clouds" not in told


def test_truth_a_whole_filter_that_does_not_match_keeps_its_name(tmp_path):
    one = lights(tmp_path / "in", 11, 4, "a", object="M 31", filters=("L",))
    two = lights(tmp_path / "in", 12, 3, "b", object="M 31", filters=("Ha",))
    report, told, used = walked(tmp_path / "in", tmp_path / "out")
    assert used == {"master_light_M-31_L.fits": one, "master_light_M-31_Ha.fits": two}
    assert "match each other and not the other 4 lights" in told and not report.rejected


def test_truth_a_field_of_few_stars_is_no_cloudy_one(tmp_path):
    rich = lights(tmp_path / "in", 11, 5, "a")
    poor = lights(tmp_path / "in", 12, 3, "b", faintest_dn=20000.0)
    report, told, used = walked(tmp_path / "in", tmp_path / "out", **{"select.min_stars_fraction": 0.7})
    assert list(used.values()) == [rich, poor] and not report.rejected and "clouds" not in told


def test_truth_clouds_are_still_clouds(tmp_path):
    names = lights(tmp_path / "in", 11, 6, "a", **{"cloudy": 1, "clouds": 0.9})
    report, told, used = walked(tmp_path / "in", tmp_path / "out", **{"select.min_stars_fraction": 0.7})
    assert len(used["master_light_L.fits"]) == 5 and len(used) == 1
    (reason,) = rejected(report).values()
    assert "clouds?" in reason and set(rejected(report)) < set(names)


def test_truth_stars_tell_more_fields_than_where_the_lights_point(tmp_path):
    """Two fields told by their headers, of which the first is two: numbers are given once."""
    one = lights(tmp_path / "in", 11, 4, "a", ra=30.0)
    two = lights(tmp_path / "in", 12, 3, "b", ra=30.1)
    three = lights(tmp_path / "in", 13, 3, "c", ra=210.0)
    report, told, used = walked(tmp_path / "in", tmp_path / "out")
    assert used == {"master_light_L.fits": one, "master_light_3_L.fits": two, "master_light_2_L.fits": three}
    assert not report.rejected and "clouds" not in told
    assert "point at 2 fields: 7 at RA 30" in told and "the 7 lights without a name (OBJECT) show 2 fields" in told


def test_truth_hot_pixels_under_clouds_are_no_field(tmp_path):
    """Five lights see stars; three see nothing but what is bright in the sensor, at the same pixels each."""
    clear = lights(tmp_path / "in", 11, 5, "a")
    rng = np.random.default_rng(3)
    y, x = rng.integers(20, 236, 25), rng.integers(20, 300, 25)
    blobs = np.zeros((256, 320))
    for dy, dx in np.ndindex(3, 3):
        share = 0.35 ** (abs(dy - 1) + abs(dx - 1))
        blobs[y + dy - 1, x + dx - 1] += 3000 * share
    for i in range(3):
        with fits.open(tmp_path / "in" / "a0.fits") as hdus:
            header = hdus[0].header
            header["DATE-OBS"] = f"2025-10-18T23:0{i}:00"
            pixels = rng.normal(1500, 15, blobs.shape) + blobs
            fits.PrimaryHDU(np.rint(pixels).astype(np.uint16), header).writeto(tmp_path / "in" / f"c{i}.fits")
    report, told, used = walked(tmp_path / "in", tmp_path / "out")
    assert used == {"master_light_L.fits": clear} and len(rejected(report)) == 3
    assert all("clouds" in reason for reason in rejected(report).values())


def test_truth_a_formula_approves_and_weighs_the_lights_of_a_run(tmp_path):
    """Light 2 is left out by its own number; the others count as the formula says, and that is told."""
    truth = written(**SMALL | CALM | {"lights": 5, "seed": 5})
    folder = Path(truth.paths("light")[0]).parent.parent
    select = SubframeSelector(approve="Index != 2 && SNRWeight > 0", weight="1 + Index", width_unit="px")
    *events, done = run(folder, tmp_path, Recipe(select=select))
    rows = {Path(row.path).name[-9:-5]: row for row in done.result.frames}
    assert rows["0002"].status == "rejected" and rows["0002"].reason == "fails Index != 2 (Index 2)"
    weights = [rows[number].weight for number in ("0001", "0003", "0004", "0005")]
    assert weights == pytest.approx([2 / 6, 4 / 6, 5 / 6, 1], rel=1e-6)
    assert done.result.recipe["integrate"]["weights"] == "select"
    assert any("count by SubframeSelector.weight" in event.message for event in events)
    with pytest.raises(ParameterError, match="'FWHN' is not known; is it FWHM"):
        list(run(folder, tmp_path, Recipe(select=SubframeSelector(approve="FWHN < 3"))))
    with pytest.raises(ParameterError, match="weights select needs a formula: give SubframeSelector.weight"):
        list(run(folder, tmp_path, Recipe(integrate=ImageIntegration(weights="select"))))


@pytest.mark.parametrize("by_hand", ["point", "noise"])
def test_truth_weights_that_are_set_by_hand_win_and_that_is_told(tmp_path, by_hand):
    """Also those that would be taken if nobody had said anything."""
    lights(tmp_path / "in", 11, 3, "a")
    recipe = Recipe(select=SubframeSelector(weight="1 + Index"), integrate=ImageIntegration(weights=by_hand))
    *events, done = run(tmp_path / "in", tmp_path / "out", recipe)
    assert done.result.recipe["integrate"]["weights"] == by_hand
    told = f"SubframeSelector.weight has no say beside ImageIntegration.weights {by_hand}"
    assert any(told in event.message for event in events)
    weights = [row.weight for row in done.result.frames if row.kind == "light"]
    assert weights != pytest.approx([2 / 4, 3 / 4, 1], abs=0.05)


def test_truth_a_run_says_in_which_units_its_formulas_are(tmp_path):
    """One light does not tell how much a pixel sees: FWHM < 4 is about px, which is told before the work."""
    names = lights(tmp_path / "in", 11, 3, "a", object="M 31")
    for name in names:
        with fits.open(tmp_path / "in" / name, "update") as hdus:
            hdus[0].header.remove("EGAIN", ignore_missing=True)
            hdus[0].header.remove("FOCALLEN" if name == names[1] else "EGAIN", ignore_missing=True)

    def told(**knobs):
        events, words = run(tmp_path / "in", tmp_path / "out", Recipe(select=SubframeSelector(**knobs))), []
        for event in events:
            if event.stage in ("calibrate", "measure"):
                break
            words.append(event.message)
        events.close()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        return " ".join(words)

    assert "1 of 3 frames, such as" in (words := told(approve="FWHM < 4")) and "FWHM is in px" in words
    assert "weighed each among themselves" not in told(weight="inv(Stars) + 1")
    assert "FWHM is in px" not in told(approve="Stars > 10") + told(approve="FWHM < 4", width_unit="px")
    with pytest.raises(ParameterError, match="no frame tells the electrons per DN"):
        told(weight="1/Noise", data_unit="e-")
    with fits.open(tmp_path / "in" / names[2], "update") as hdus:
        hdus[0].header["EXPTIME"] = 30.0
    assert "30 s are weighed each among themselves" in told(weight="inv(Stars) + 1")
