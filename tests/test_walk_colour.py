"""The walk with colour cameras, regions, scaled darks, the doctor and other file formats."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from clinic import altered
from sky import CALM, written

from masterlight import Recipe, build, read, run, write
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.colour.debayer import Debayer
from masterlight.core.errors import Halted
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.night.lights.light import colour_noise

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real observations here")
COLOUR = {"pattern": "GRBG", "rows": 400, "cols": 500, "lights": 5, "biases": 9, "darks": 9, "flats": 9, **CALM}


def walked(folder, out, **knobs):
    """The report of a run and all that was said on the way."""
    events = list(run(folder, out, build(Recipe, {"workers": "serial", **knobs})))
    return events[-1].result, "\n".join(event.message for event in events)


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    truth = written(**COLOUR)
    out = tmp_path_factory.mktemp("colour")
    report, told = walked(truth.folder, out)
    return truth, out, report, told


def star_fluxes(image, stars, radius=7):
    """Aperture sums (n, planes) of stars, the median of a ring around them as the sky; NaN at the edge."""
    y, x = np.mgrid[-12:13, -12:13]
    out = []
    for star in stars:
        j, i = round(star["y_px"]), round(star["x_px"])
        if not (12 <= j < image.shape[1] - 12 and 12 <= i < image.shape[2] - 12):
            out.append([np.nan] * 3)
            continue
        r = np.hypot(y - (star["y_px"] - j), x - (star["x_px"] - i))
        box = image[:, j - 12 : j + 13, i - 12 : i + 13]
        sky = np.nanmedian(box[:, (r > 9) & (r < 12)], axis=1)
        out.append(((box - sky[:, None, None]) * (r <= radius)).sum(axis=(1, 2)))
    return np.array(out)


def test_truth_colours_of_stars_in_the_master_light(colour):
    truth, out, report, _ = colour
    master = read(report.lights[0].path)
    assert master.shape == (3, 400, 500) and master.meta.pattern is None
    index = [p.name for p in truth.paths("light")].index(Path(report.lights[0].reference).name)
    stars = truth.expected_stars(index)
    bright = np.sort(stars["flux_dn"])[-60]
    stars = stars[(stars["flux_dn"] > bright) & (stars["flux_dn"] < 250_000)]
    xy = np.stack([stars["x_px"], stars["y_px"]], 1)
    alone = [np.sort(np.hypot(*(xy - p).T))[1] > 20 for p in xy]
    stars = stars[alone]
    flux = star_fluxes(np.asarray(master), stars)
    ratio = flux / np.stack([stars["r_dn"], stars["g_dn"], stars["b_dn"]], 1)
    colours = ratio[:, [0, 2]] / ratio[:, [1]]
    colours = colours[np.isfinite(colours).all(axis=1)]
    assert len(colours) >= 15
    error = 1.25 * colours.std(axis=0) / np.sqrt(len(colours))
    assert np.all(np.abs(np.median(colours, axis=0) - 1) < 0.01 + 2 * error), np.median(colours, axis=0)


def test_truth_colour_master_has_no_checkerboard_and_honest_planes(colour):
    truth, out, report, _ = colour
    with fits.open(report.lights[0].path) as hdus:
        image, variance, coverage = hdus[0].data, hdus["VARIANCE"].data, hdus["COVERAGE"].data
        header = hdus[0].header
        assert len(hdus["FRAMES"].data) == 15  # five lights, three planes
    assert image.shape == variance.shape == coverage.shape == (3, 400, 500)
    assert "BAYERPAT" not in header and header["CALSTAT"] == "BDF"
    for plane, v in zip(image, variance, strict=True):
        inner = plane[40:-40, 40:-40]
        step = np.nanmedian(inner[::2] - inner[1::2]), np.nanmedian(inner[:, ::2] - inner[:, 1::2])
        assert np.abs(step).max() < 0.1 * np.sqrt(np.nanmedian(v))
    row = report.frames[0]
    assert len(row.background_rgb) == len(row.noise_rgb) == 3
    # the sensor sees 0.30, 0.40 and 0.28 of white light; flats of each colour are divided by their own mean
    assert row.background_rgb[1] > row.background_rgb[0] and row.noise_rgb[1] > 0


def test_super_pixels_halve_the_result(colour, tmp_path):
    truth, out, report, _ = colour
    half, _ = walked(truth.folder, tmp_path / "half", **{"debayer.method": "super-pixel"})
    header = fits.getheader(half.lights[0].path)
    assert (header["NAXIS1"], header["NAXIS2"], header["NAXIS3"]) == (250, 200, 3)
    whole = fits.getheader(report.lights[0].path)
    assert header["XPIXSZ"] == pytest.approx(2 * whole["XPIXSZ"])
    assert half.lights[0].fwhm_px == pytest.approx(report.lights[0].fwhm_px / 2, rel=0.25)


def test_planes_can_be_aligned_each_by_its_own_stars(colour, tmp_path):
    truth, out, report, _ = colour
    each, _ = walked(truth.folder, tmp_path / "each", **{"align.planes": "each"})
    together, apart = (np.asarray(read(r.lights[0].path)) for r in (report, each))
    noise = report.lights[0].noise
    good = np.isfinite(together) & np.isfinite(apart)
    # nothing shifts the colours against one another here: the results differ by the errors of the alignment
    assert 0 < np.median(np.abs(together - apart)[good]) < noise


def test_truth_defective_pixels_bring_nothing_where_others_saw_the_sky(tmp_path):
    truth = written(**CALM, hot_fraction=0.01, lights=6, darks=9, dither_px=20.0)
    kept, _ = walked(truth.folder, tmp_path / "kept", **{"align.defective": "interpolated"})
    missing, _ = walked(truth.folder, tmp_path / "missing")
    with fits.open(kept.lights[0].path) as a, fits.open(missing.lights[0].path) as b:
        few, many = (h["COVERAGE"].data.astype(int)[30:-30, 30:-30] for h in (b, a))
    # 1 % of the pixels of each of six lights are defective
    assert (many - few).mean() == pytest.approx(6 * 0.0102, rel=0.15)


def test_truth_overscan_is_trimmed_and_subtracted(tmp_path):
    truth = written(**CALM, overscan_px=24, bias_drift_dn=6.0, lights=4)
    report, _ = walked(truth.folder, tmp_path)
    assert read(report.lights[0].path).shape == (400, 500)
    assert fits.getheader(report.lights[0].path)["CALSTAT"].startswith("O")
    steady, _ = walked(written(**CALM, lights=4).folder, tmp_path / "steady")
    without, _ = walked(truth.folder, tmp_path / "without", **{"calibrate.overscan.model": "none"})
    skies = [np.array([row.background for row in sorted(r.frames, key=lambda row: row.path)])
             for r in (report, steady, without)]  # fmt: skip
    # 9600 pixels of overscan know the level of a frame to 0.05 DN, and so does the median of a sky of 35 DN noise
    assert np.abs(skies[0] - skies[1]).max() < 0.6
    assert np.abs(skies[2] - skies[1]).max() > 3


def test_the_doctor_stops_a_run_and_force_goes_on(tmp_path):
    def faint(kind, i, pixels, header):
        return 500 + np.rint((pixels - 500) / 20) if kind == "flat" else None

    night = altered(tmp_path / "night", faint)
    with pytest.raises(Halted, match=r"D04.*Recipe.force"):
        walked(night, tmp_path / "out")
    assert "D04" in (tmp_path / "out" / "report.html").read_text()
    assert not list((tmp_path / "out").glob("master_light*"))
    report, told = walked(night, tmp_path / "out", force=True)
    assert len(report.lights) == 1 and "D04" in {finding.id for finding in report.findings}
    report, told = walked(night, tmp_path / "out2", **{"doctor.off": ("D04",)})
    assert len(report.lights) == 1 and "D04" not in told


def test_what_spoils_few_of_the_lights_stops_no_run(tmp_path):
    """The flats of one of three filters are at a few percent: that is an error, and the two others are worth a run."""

    def faint(kind, i, pixels, header):
        bad = kind == "flat" and header["FILTER"] == "B"
        return 500 + np.rint((pixels - 500) / 20) if bad else None

    night = altered(tmp_path / "night", faint, lights=2, flats=3, darks=0, filters=("R", "G", "B"))
    report, told = walked(night, tmp_path / "out")
    assert len(report.lights) == 3 and "D04 error" in told
    assert "D04: 2 of 6 lights are concerned, so the run goes on" in told


def test_truth_superbias_is_used_where_it_is_better(tmp_path):
    truth = written(**CALM, biases=12, darks=0, lights=3)
    report, told = walked(truth.folder, tmp_path, **{"superbias.use": "auto"})
    assert "the superbias is a better bias" in told
    (path,) = (tmp_path / "masters").glob("master_bias*.fits")
    made = np.asarray(read(path))
    assert np.abs(made - made[:1]).max() < 0.5  # columns alone
    pixels = written(**CALM, biases=12, darks=0, lights=3, bias_columns_dn=0.0, bias_pixels_dn=6.0)
    _, told = walked(pixels.folder, tmp_path / "cmos", **{"superbias.use": "auto"})
    assert (
        "better" in told and np.std(np.asarray(read(next((tmp_path / "cmos/masters").glob("master_bias*.fits"))))) > 5
    )


def test_a_list_of_defects_is_used(tmp_path):
    truth = written(**CALM | {"darks": 0, "flats": 0, "lights": 4})
    (tmp_path / "list.lst").write_text("".join(f"P {x} {y} H\n" for x, y in [(100, 150), (200, 250), (50, 60)]))
    _, told = walked(truth.folder, tmp_path / "out", defects=str(tmp_path / "list.lst"))
    assert "3 hot and 0 cold pixels repaired" in told


def test_colour_images_are_integrated_as_they_are(colour, tmp_path):
    """Three planes made elsewhere, debayered already: no masters are applied, colours stay."""
    truth, _, _, _ = colour
    lights = tmp_path / "night" / "lights"
    lights.mkdir(parents=True)
    for path in truth.paths("light")[:3]:
        write(lights / path.name, Debayer()(read(path)))
    report, told = walked(tmp_path / "night", tmp_path / "out")
    assert "have 3 planes already" in told and report.lights, told
    assert read(report.lights[0].path).shape == (3, 400, 500)


@real
def test_real_colour_night(tmp_path):
    """M27 in six short lights of a colour camera: shifts as another program found them, the nebula above the sky."""
    report, _ = walked(DATA / "m27_asi224mc", tmp_path)
    (row,) = report.lights
    image = np.asarray(read(row.path))
    assert image.shape == (3, 976, 1304) and row.frames_used == 6
    where = {Path(r.path).stem: (r.dx_px, r.dy_px) for r in report.frames}
    ours = np.subtract(where["Light_1283"], where["Light_1069"]) / 2
    assert np.allclose(ours, (-13.77, 7.21), atol=0.5) or np.allclose(ours, (13.77, -7.21), atol=0.5)
    # the nebula is green-blue: oxygen
    sky = np.nanmedian(image, axis=(1, 2))
    nebula = np.nanmedian(image[:, 380:520, 500:640], axis=(1, 2)) - sky
    assert nebula[1] > 3 * row.noise and nebula[1] > nebula[0]


@real
def test_real_raw_files_open_and_are_developed(tmp_path):
    """Not skies: the Canon's picture has enough points of light to pass as one."""
    report, _ = walked(DATA / "dslr_raw", tmp_path)
    (row,) = report.lights
    image = np.asarray(read(row.path))
    assert image.shape[0] == 3
    view = ImageCalibration()(frame := read(next((DATA / "dslr_raw").glob("*.CRW"))), ImageCalibration().masters())
    assert view.shape == frame.meta.sky_shape and view.meta.pattern and view.meta.calibration in ("B", "O", "")


def test_a_pattern_that_no_header_tells_can_be_given(colour, tmp_path):
    """BAYERPAT may be missing: in lights alone, then their darks tell it; in all frames, then the user does."""
    truth, _, report, _ = colour
    for name, kinds in (("lights", {"LIGHT"}), ("all", {"LIGHT", "DARK", "BIAS", "FLAT"})):
        shutil.copytree(truth.folder, tmp_path / name)
        for path in (tmp_path / name).rglob("*.fits"):
            if path.parent.name in kinds:
                for keyword in ("BAYERPAT", "XBAYROFF", "YBAYROFF"):
                    fits.delval(path, keyword)
    given, told = walked(tmp_path / "lights", tmp_path / "a")
    assert "GRBG is taken from their calibration frames" in told
    with pytest.raises(Halted, match=r"D17, Colour pattern \(master_flat"):
        walked(tmp_path / "all", tmp_path / "stopped")
    assert "Debayer.pattern" in next((tmp_path / "stopped").rglob("report.html")).read_text()
    for folder in (tmp_path / "all").rglob("FLAT"):
        shutil.copytree(folder.parent / "LIGHT", tmp_path / "bare" / "LIGHT")
    with pytest.raises(Halted, match=r"D17, Colour pattern"):
        walked(tmp_path / "bare", tmp_path / "stopped2")
    by_hand, _ = walked(tmp_path / "all", tmp_path / "b", **{"debayer.pattern": "GRBG"})
    first, *others = (np.asarray(read(r.lights[0].path)) for r in (report, given, by_hand))
    for other in others:
        assert np.array_equal(first, other, equal_nan=True)


def test_switches_are_about_lights_alone(tmp_path):
    """Without the bias for lights, flats still have theirs taken off; without darks, the bias takes the level off."""
    truth = written(**CALM, lights=3)
    report, told = walked(truth.folder, tmp_path / "a", **{"calibrate.use_bias": False})
    assert "C = (L - D) * mean(F) / F" in told and not report.rejected
    report, told = walked(truth.folder, tmp_path / "b", **{"calibrate.use_dark": False})
    assert "C = (L - B) * mean(F) / F" in told and not report.rejected
    scaling, told = walked(
        written(**CALM, lights=3, biases=0).folder, tmp_path / "c", **{"calibrate.dark_scaling": "fit"}
    )
    assert "darks can be scaled only with bias frames" in told and len(scaling.lights) == 1


def test_ready_made_masters_are_examined_too(tmp_path):
    """A master flat that holds its bias level, and whose header does not say so: the doctor sees it."""
    truth = written(**CALM, flats=0, lights=3)
    night = tmp_path / "night"
    shutil.copytree(truth.folder, night)
    level = truth.bias_dn + 20000 * truth.flat("L")
    level[0, 0] = 505.0
    flat = ArrayFrame.of(np.broadcast_to(level, (400, 500)))
    write(night / "master_flat.fits", flat, {"IMAGETYP": "Master Flat", "FILTER": "L", "NCOMBINE": 20})
    report, told = walked(night, tmp_path / "out", force=True)
    assert "D06" in {finding.id for finding in report.findings}
    again, told = walked(truth.folder, tmp_path / "first")
    again, told = walked(truth.folder, tmp_path / "first")
    dark = next(row for row in again.masters if row.kind == "dark")
    assert dark.reused and dark.quality["frames"] == 5 and dark.noise == pytest.approx(2.09, rel=0.1)


@real
def test_bad_compressed_file_that_breaks_inside_is_rejected(tmp_path):
    night = tmp_path / "night"
    shutil.copytree(DATA / "m27_asi224mc", night)
    packed = bytearray((DATA / "formats" / "m27_RICE_1.fits.fz").read_bytes())
    packed[200_000:260_000] = bytes(60_000)
    (night / "broken.fits.fz").write_bytes(packed)
    report, _ = walked(night, tmp_path / "out")
    assert report.lights[0].frames_used == 6 and [Path(r.path).name for r in report.rejected] == ["broken.fits.fz"]


@real
def test_real_single_light_is_passed_through(tmp_path):
    report, _ = walked(DATA / "lpseb35_arcsat_bsd", tmp_path / "out")
    assert report.lights[0].frames_used == 1
    assert any("only usable light" in note for note in report.notes)
    assert fits.getheader(report.lights[0].path)["CALSTAT"] == "BDF"


def test_superbias_goes_on_without_a_bias_that_vanished(tmp_path, monkeypatch):
    """A bias frame that cannot be read in the middle of the integration: the halves are of what is left."""
    truth = written(**CALM, biases=8, darks=0, lights=3)
    night = tmp_path / "night"
    shutil.copytree(truth.folder, night)
    gone = sorted(night.rglob("BIAS/*.fits"))[3]
    events = run(night, tmp_path / "out", build(Recipe, {"workers": "serial", "superbias.use": "auto"}))
    told = []
    for event in events:
        told.append(event.message)
        if event.stage == "master bias" and gone.exists():
            gone.unlink()
    assert "the superbias is a better bias" in "\n".join(told) and len(event.result.lights) == 1


def test_glow_of_scaled_darks_is_told_in_a_run(tmp_path):
    """What the doctor says of a dark depends on how it is used: glow matters where the dark is scaled."""
    truth = written(**CALM, glow_dn=150.0, dark_exposure_s=300.0, hot_fraction=0.005, lights=3)
    scaled, _ = walked(truth.folder, tmp_path / "scaled", **{"calibrate.dark_scaling": "fit"})
    assert "D11" in {finding.id for finding in scaled.findings}
    matched, _ = walked(written(**CALM, glow_dn=150.0, lights=3).folder, tmp_path / "matched")
    assert "D11" not in {finding.id for finding in matched.findings}


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG"])
def test_truth_the_noise_of_a_colour_is_told_with_that_of_green_in_it(pattern):
    """Blue of little noise takes some of that of green when it is interpolated."""
    sigma, rng = {"R": 20.0, "G": 22.0, "B": 14.0}, np.random.default_rng(7)
    mosaic = rng.standard_normal((400, 500))
    for i, colour in enumerate(pattern):
        mosaic[i // 2 :: 2, i % 2 :: 2] *= sigma[colour]
    view = Debayer()(ArrayFrame.of((mosaic + 800).astype(np.float32), "noise", Meta(pattern=pattern)))
    matrix = np.eye(3)
    matrix[:2, 2] = 0.3, -0.2
    registered = StarAlignment().registered(view, Transform(matrix=matrix, shape=(400, 500)), (400, 500), 20.0)
    told = colour_noise(Debayer(), pattern, list(sigma.values()), registered)
    seen = np.asarray(registered)[:, 10:-10, 10:-10].std(axis=(1, 2))
    # 190,000 pixels that share their noise with three or so tell it to 0.3 %, steps of the ratios 1 %
    assert [gain * s for (gain, _), s in zip(told, sigma.values(), strict=True)] == pytest.approx(seen, rel=0.02)
