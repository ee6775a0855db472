"""Nights with a comet: stars round, the comet sharp, both in one image, and nothing counted twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from sky import CALM, EVEN, SMALL, written

from masterlight import ParameterError, Recipe, build, run
from masterlight.alignment.comet.nucleus import centre_of
from masterlight.core.process import with_values
from masterlight.doors.cli import main
from masterlight.doors.hand.steps import by_hand

NIGHT = SMALL | CALM | EVEN | {"biases": 0, "darks": 0, "flats": 0, "lights": 10, "seed": 5, "comet_dn": 6000.0}


def walked(truth, out, **knobs):
    events = list(run(truth.folder, out, build(Recipe, {"workers": "serial", **knobs})))
    return events[-1].result, "\n".join(event.message for event in events)


def marks(truth, first=0, last=-1, off=(1.4, -1.2)):
    """Where a user would see the nucleus in two lights, a little beside it."""
    files, shown = truth.paths("light"), []
    for i in (first, last % len(files)):
        x, y = truth.comet_px(i) + off
        shown.append(f"{files[i].name}:{x:.0f},{y:.0f}")
    return tuple(shown)


def images(report):
    return {Path(row.path).stem.split("_L")[1].lstrip("_") or "master": row for row in report.lights}


class Made:
    """What a run made of a night with a comet, beside the scenes without noise of the light it was laid on."""

    def __init__(self, truth, out, **knobs):
        self.report, self.told = walked(truth, out, **{"comet.positions": marks(truth)} | knobs)
        rows = images(self.report)
        self.rows, self.image = rows, {name: fits.getdata(row.path).astype(float) for name, row in rows.items()}
        self.variance = {name: fits.getdata(row.path, "VARIANCE") for name, row in rows.items()}
        self.header = fits.getheader(rows["composite"].path)
        names = [path.name for path in truth.paths("light")]
        self.at = names.index(Path(rows["composite"].reference).name)
        self.comet = truth.observatory.comet_e(truth.pointings[self.at]) / truth.night.gain_e_per_dn
        self.scene = truth.plane_dn(self.at)
        self.nucleus = truth.comet_px(self.at)

    def off(self, name, wanted):
        """An image minus what it should be, its median taken off."""
        away = self.image[name] - wanted
        return away - np.nanmedian(away)

    def around(self, image, half=14):
        x, y = np.rint(self.nucleus).astype(int)
        return image[y - half : y + half + 1, x - half : x + half + 1]


@pytest.fixture(scope="module")
def night():
    return written(**NIGHT, comet_px_h=150.0)


@pytest.fixture(scope="module")
def made(night, tmp_path_factory):
    return Made(night, tmp_path_factory.mktemp("comet"))


def test_truth_the_way_is_measured_on_the_nucleus(made):
    assert set(made.rows) == {"master", "stars", "comet", "composite"}
    assert "measured on its nucleus in 10 of 10 lights" in made.told
    assert np.hypot(made.header["COMETDX"], made.header["COMETDY"]) == pytest.approx(150.0, abs=0.6)
    seen = made.header["COMETX"] - 1, made.header["COMETY"] - 1
    assert np.hypot(*(np.array(seen) - made.nucleus)) < 0.12


def test_truth_stars_are_without_the_comet_and_the_comet_without_stars(made):
    """The comet is up to 3,000 DN over the sky and moves 50 px, less than its coma and tail reach."""
    noise = float(np.sqrt(np.nanmedian(made.variance["stars"])))
    assert np.abs(np.mean(made.around(made.off("stars", made.scene)))) < 1.5 * noise
    assert np.abs(np.mean(made.around(made.off("comet", made.comet)))) < 1.5 * noise
    left = made.off("comet", made.comet)
    bright = made.scene > np.median(made.scene) + 1000  # stars of the light that it was laid on
    assert bright.sum() > 200 and np.abs(np.nanmean(left[bright])) < 0.6 * noise
    assert np.nanstd(left[bright]) < 1.6 * np.nanstd(left[~bright])


def test_truth_the_composite_is_the_sky_of_one_moment(made):
    off = made.around(made.off("composite", made.scene + made.comet))
    flux = float(made.around(made.comet).sum())
    assert abs(float(off.sum())) < 0.02 * flux
    whole = made.off("composite", made.scene + made.comet)
    stars = made.scene + made.comet > np.median(made.scene) + 800
    claimed = np.sqrt(made.variance["composite"])[20:-20, 20:-20]
    score = (whole[20:-20, 20:-20] / claimed)[~stars[20:-20, 20:-20]]
    assert 0.85 < 1.4826 * float(np.median(np.abs(score))) < 1.2


def test_truth_stars_stay_round_and_the_comet_sharp(made):
    rows = made.rows
    assert rows["composite"].fwhm_px == pytest.approx(rows["master"].fwhm_px, rel=0.02)
    assert rows["composite"].eccentricity < rows["master"].eccentricity + 0.05
    peak = made.comet.max()
    off = made.around(made.off("composite", made.scene + made.comet), 3)
    assert np.abs(off).max() < 0.04 * peak
    smeared = made.around(made.off("master", made.scene), 3)
    assert smeared.max() < 0.4 * peak  # what stars alone make of it
    x, y, _ = centre_of(made.around(made.image["comet"]) - np.median(made.image["comet"]), (14, 14), 2.8, 10.0, 6.0)
    assert np.hypot(*(np.array([x, y]) - 14 + np.rint(made.nucleus) - made.nucleus)) < 0.2


def test_truth_a_curve_is_followed_and_given_places_stay_as_given(tmp_path):
    truth = written(**NIGHT | {"comet_px_h": 150.0, "comet_bend_px": 80.0, "rows": 320, "cols": 400})
    bent = Made(truth, tmp_path / "auto")
    assert "on a curve" in bent.told
    seen = bent.header["COMETX"] - 1, bent.header["COMETY"] - 1
    assert np.hypot(*(np.array(seen) - bent.nucleus)) < 0.2
    report, told = walked(
        truth, tmp_path / "given", **{"comet.positions": marks(truth, off=(0, 0)), "comet.nucleus": "given"}
    )
    assert "as given" in told and images(report)["comet"].frames_used == 10


def test_truth_a_rate_alone_finds_the_nucleus_in_the_stack(night, made, tmp_path):
    rate = {"comet.rate_x_px_h": made.header["COMETDX"], "comet.rate_y_px_h": made.header["COMETDY"]}
    alone, told = walked(night, tmp_path, **rate)
    found = fits.getheader(images(alone)["comet"].path)
    assert "as given" in told
    place = [made.header["COMETX"], made.header["COMETY"]]
    assert [found["COMETX"], found["COMETY"]] == pytest.approx(place, abs=1.0)


def test_truth_lights_without_a_time_take_no_part_in_the_comet(night, tmp_path):
    for i, path in enumerate(night.paths("light")):
        with fits.open(path) as hdus:
            if i == 4:
                for key in ("DATE-OBS", "DATE-LOC"):
                    hdus[0].header.remove(key)
            hdus[0].writeto(tmp_path / f"l{i:02d}.fits")
    out = tmp_path / "out"
    x, y = zip(*(night.comet_px(i) for i in (0, 9)), strict=True)
    marks_ = f"l00.fits:{x[0]:.0f},{y[0]:.0f}", f"l09.fits:{x[1]:.0f},{y[1]:.0f}"
    events = list(run(tmp_path, out, build(Recipe, {"workers": "serial", "comet.positions": marks_})))
    told = "\n".join(event.message for event in events)
    assert "l04.fits: no time (DATE-OBS) tells where the comet is" in told
    rows = images(events[-1].result)
    assert rows["comet"].frames_used == 9 and rows["master"].frames_used == 10


def test_surface_places_in_files_that_are_no_lights_are_refused_before_the_work(night, tmp_path):
    with pytest.raises(ParameterError, match=r"CometAlignment.positions nothere.fits is not among the 10 lights"):
        walked(night, tmp_path, **{"comet.positions": ("nothere.fits:1,2", "neither.fits:3,4")})


def test_truth_a_run_without_a_comet_makes_no_more_than_before(night, tmp_path):
    report, _ = walked(night, tmp_path)
    assert len(report.lights) == 1 and not list(tmp_path.glob("*_comet*"))


def test_truth_align_lays_frames_where_the_comet_stands_still(night, made, tmp_path):
    """Written or told, the nucleus is at one place, and the frames are interpolated once."""
    recipe = build(Recipe, {"workers": "serial", "comet.positions": marks(night)})
    files = night.paths("light")
    events = list(by_hand("align", files, tmp_path / "on", recipe, reference=files[made.at]))
    found = events[-1].result
    assert "measured on its nucleus in 10 of 10 lights" in "\n".join(event.message for event in events)
    assert len(found.rows) == 10 and found.paths[0].name.endswith("_ca.fits")
    places = []
    for path in found.paths[:-1]:
        header, image = fits.getheader(path), fits.getdata(path)
        x, y = round(header["COMETX"] - 1), round(header["COMETY"] - 1)
        box = image[y - 20 : y + 21, x - 20 : x + 21].astype(float)
        there = centre_of(box - np.median(box), (20, 20), 2.8, 35.0, 5.0)
        places.append((x + there[0] - 20, y + there[1] - 20))
    assert np.std(places, axis=0).max() < 0.25
    told = json.loads((tmp_path / "on" / "transforms.json").read_text())
    assert len(told["comet"]["terms_px"]) == 2 and told["comet"]["measured"] == 10
    assert np.hypot(*told["comet"]["terms_px"][1]) == pytest.approx(150, abs=1.5)


def test_truth_what_lies_on_a_comet_is_integrated_from_copies_and_from_transforms(night, made, tmp_path):
    recipe = build(Recipe, {"workers": "serial", "comet.positions": marks(night)})
    list(by_hand("align", night.paths("light"), tmp_path / "on", recipe))
    plain, whole = build(Recipe, {"workers": "serial"}), []
    copies = sorted((tmp_path / "on").glob("*_ca.fits"))
    told = "\n".join(e.message for e in by_hand("integrate", copies, tmp_path / "copies.fits", plain))
    assert "lie on a comet" in told
    transforms = tmp_path / "on" / "transforms.json"
    list(by_hand("integrate", night.paths("light"), tmp_path / "told.fits", plain, transforms=transforms))
    for name in ("copies", "told"):
        header, image = fits.getheader(copies[0]), fits.getdata(tmp_path / f"{name}.fits").astype(float)
        x, y = round(header["COMETX"] - 1), round(header["COMETY"] - 1)
        box = image[y - 3 : y + 4, x - 3 : x + 4]
        whole.append(float(box.max() - np.median(image)))
    assert min(whole) > 0.8 * made.comet.max()


def test_surface_the_command_line_takes_places_one_by_one(night, tmp_path):
    first, last = marks(night)
    words = ["align", *map(str, night.paths("light")[:10]), "-o", str(tmp_path / "on"), "--transforms-only"]
    done = CliRunner().invoke(main, [*words, "--workers", "serial", "--comet", first, "--comet", last])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "on" / "transforms.json").read_text())["comet"]["measured"] == 10
    wrong = CliRunner().invoke(main, [*words, "--comet", "first.fits:1,2", "--comet", last, "--overwrite"])
    assert wrong.exit_code == 2 and "first.fits is not among the 10 lights" in wrong.output


def test_truth_a_rate_on_the_sky_is_one_in_pixels_where_a_light_is_plate_solved(night, made, tmp_path):
    """North is up to the left, east mirrored, 2 arcseconds a pixel; another light than the reference is solved."""
    files, angle = night.paths("light"), np.radians(30.0)
    turn = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 2.0 / 3600
    for i, path in enumerate(files):
        with fits.open(path) as hdus:
            if i == 7:
                solved = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 13.2, "CRVAL2": 56.6}
                solved |= {"CRPIX1": 250.0, "CRPIX2": 200.0, "CD1_1": turn[0, 0], "CD1_2": turn[0, 1]}
                hdus[0].header.update(solved | {"CD2_1": turn[1, 0], "CD2_2": turn[1, 1]})
            hdus[0].writeto(tmp_path / path.name)
    moves = night.transform(7, made.at)[:2, :2] @ [made.header["COMETDX"], made.header["COMETDY"]]  # in light 7
    east, north = 3600 * turn @ moves
    rate = {"rate_arcsec_h": float(np.hypot(east, north)), "angle_deg": float(np.degrees(np.arctan2(east, north)))}
    mark = f"{files[2].name}:{night.comet_px(2)[0]:.1f},{night.comet_px(2)[1]:.1f}"
    recipe = build(
        Recipe, {"workers": "serial", "comet.positions": (mark,), **{f"comet.{k}": v for k, v in rate.items()}}
    )
    how = {"reference": tmp_path / files[made.at].name, "transforms_only": True}
    given = with_values(recipe, comet=with_values(recipe.comet, nucleus="given"))
    list(by_hand("align", sorted(tmp_path.glob("*.fits")), tmp_path / "on", given, **how))
    told = json.loads((tmp_path / "on" / "transforms.json").read_text())["comet"]
    assert told["terms_px"][1] == pytest.approx([made.header["COMETDX"], made.header["COMETDY"]], abs=0.2)
    with pytest.raises(ParameterError, match="rate_arcsec_h is for lights whose headers tell where they lie"):
        list(by_hand("align", files, tmp_path / "no", given, **how | {"reference": files[made.at]}))


def test_truth_on_a_reference_of_another_night_the_comet_is_shown_at_the_middle_light(night, made, tmp_path):
    files = night.paths("light")
    with fits.open(files[3]) as hdus:
        hdus[0].header.update({"DATE-OBS": "2024-01-05T22:00:00", "DATE-LOC": "2024-01-05T23:00:00"})
        hdus[0].writeto(tmp_path / "old.fits")
    recipe = build(Recipe, {"workers": "serial", "comet.positions": marks(night)})
    how = {"reference": tmp_path / "old.fits", "transforms_only": True}
    list(by_hand("align", [path for path in files if path != files[3]], tmp_path / "on", recipe, **how))
    told = json.loads((tmp_path / "on" / "transforms.json").read_text())["comet"]
    assert np.hypot(*(np.array(told["terms_px"][0]) - night.comet_px(5, 3))) < 0.15


def test_truth_places_are_those_of_the_file_where_overscan_is_cut_off(tmp_path):
    """A camera with its overscan in the first columns: what is right of it is the sky."""
    truth = written(**NIGHT | {"comet_px_h": 150.0, "lights": 4, "rows": 320, "cols": 400, "overscan_px": 24})
    for path in truth.paths("light"):
        with fits.open(path) as hdus:
            rolled = np.roll(hdus[0].data, 24, axis=1)
            sections = {"BIASSEC": "[1:24,1:320]", "DATASEC": "[25:424,1:320]", "TRIMSEC": "[25:424,1:320]"}
            hdus[0].header.update(sections)
            fits.PrimaryHDU(rolled, hdus[0].header).writeto(tmp_path / path.name)
    spots = marks(truth, off=(24.0, 0.0))
    knobs = {"workers": "serial", "comet.positions": spots, "comet.nucleus": "given"}
    *_, done = run(tmp_path, tmp_path / "out", build(Recipe, knobs))
    header = fits.getheader(images(done.result)["comet"].path)
    at = [path.name for path in truth.paths("light")].index(Path(done.result.lights[0].reference).name)
    assert np.hypot(*(np.array([header["COMETX"], header["COMETY"]]) - 1 - truth.comet_px(at))) < 1.2


@pytest.mark.parametrize(
    "knobs", [{"integrate.normalization": "local"}, {"integrate.rejection.normalization": "local"}]
)
def test_truth_other_normalizations_leave_the_composite_right(night, tmp_path, knobs):
    other = Made(night, tmp_path, **knobs)
    off = other.around(other.off("composite", other.scene + other.comet))
    assert abs(float(off.sum())) < 0.06 * float(other.around(other.comet).sum())


def test_truth_where_there_is_no_comet_none_is_made_up(night, tmp_path):
    """Places beside everything: they stay as given, and the composite is the stars."""
    files = night.paths("light")
    spots = f"{files[0].name}:60,330", f"{files[9].name}:90,60"
    report, told = walked(night, tmp_path, **{"comet.positions": spots, "comet.reach_px": 3})
    assert "taken as given" in told
    stars, composite = (fits.getdata(images(report)[name].path) for name in ("stars", "composite"))
    assert np.nanmax(np.abs(composite - stars)) < 300
