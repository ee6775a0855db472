import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import masterlight as ml
from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.core.process import build
from masterlight.doors.cli import main
from masterlight.doors.hand.steps import by_hand
from masterlight.night.recipe import Recipe

SHAPE = (120, 160)


def field(seed=1, count=25, fwhm_px=3.0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.zeros(SHAPE)
    for flux in np.geomspace(3000, 60000, count):
        u, v = rng.uniform(12, SHAPE[1] - 12), rng.uniform(12, SHAPE[0] - 12)
        s = fwhm_px / 2.3548
        image += flux / (2 * np.pi * s**2) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * s**2))
    return image


@pytest.fixture
def night(tmp_path):
    """Eight registered frames of one field, of unequal sky, transparency and noise; a satellite in none."""
    rng, image = np.random.default_rng(2), field()
    paths = []
    for i, (sky, light, noise) in enumerate(
        zip(rng.uniform(300, 500, 8), rng.uniform(0.7, 1, 8), rng.uniform(5, 9, 8), strict=True)
    ):
        path = tmp_path / f"light_{i}.fits"
        header = {"IMAGETYP": "Light Frame", "EXPTIME": 60.0, "SSWEIGHT": 1.0 + i, "FILTER": "L", "OBJECT": "M 1"}
        ml.write(path, rng.normal(sky + light * image, noise).astype(np.float32), header)
        paths.append(path)
    return paths


def done(paths, out, **settings):
    how = {name: settings.pop(name) for name in ("reference", "roi", "slope_map") if name in settings}
    recipe = build(Recipe, {f"integrate.{name.replace('__', '.')}": value for name, value in settings.items()})
    *_, last = by_hand("integrate", paths, out, recipe, **how)
    return last


def ran(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def changed(path, pixels=None, **keywords):
    with fits.open(path, mode="update") as hdus:
        for name, value in keywords.items():
            if value is None:
                hdus[0].header.remove(name)
            else:
                hdus[0].header[name] = value
        if pixels is not None:
            hdus[0].data = pixels


def test_surface_the_verb_writes_an_image_with_all_that_belongs_to_it(night, tmp_path):
    out = tmp_path / "deep.fits"
    told = ran("integrate", *night, "-o", out, "--rejection.low", 5.5, "--weights", "psf-snr",
               "--slope-map", "--rejection.algorithm", "linear-fit")  # fmt: skip
    assert told.exit_code == 0, told.output
    for words in ("weight", "scale", "claimed / measured noise", "signal to noise x", "reference: light_"):
        assert words in told.output
    with fits.open(out) as hdus:
        names = [hdu.name for hdu in hdus[1:]]
        assert {"VARIANCE", "COVERAGE", "REJ_LOW", "REJ_HIGH", "FRAMES", "RECIPE", "SLOPE"} <= set(names)
        table, header = hdus["FRAMES"].data, hdus[0].header
        assert len(table) == 8 and table["weight"].max() == 1 and table["weight"].min() > 0.05
        assert {"scale", "offset", "rejected_high_fraction", "large_scale_fraction", "noise_dn"} <= set(table.names)
        assert (header["NCOMBINE"], header["LIVETIME"], header["VARCORR"]) == (8, 480, 1)
        assert "ImageIntegration" in str(header["HISTORY"]) and '"low": 5.5' in str(header["HISTORY"]).replace("\n", "")
    assert out.with_suffix(".png").exists()
    again = ran("integrate", *night, "-o", out)
    assert again.exit_code == 2 and "--overwrite" in again.output


def test_truth_files_give_what_the_process_gives(night, tmp_path):
    row, lost = done(night, tmp_path / "a.fits", scale="bwmv", reference=night[3]).result
    *_, last = ml.ImageIntegration(scale="bwmv")([ml.read(path) for path in night], reference=3)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits"), last.result.image)
    assert not lost and row.reference == str(night[3])


def test_truth_stars_tell_the_scale_of_registered_files(night, tmp_path):
    rng = np.random.default_rng(2)
    rng.uniform(300, 500, 8)
    light = rng.uniform(0.7, 1, 8)
    done(night, tmp_path / "a.fits", reference=night[0])
    scale = fits.getdata(tmp_path / "a.fits", "FRAMES")["scale"]
    np.testing.assert_allclose(scale, light[0] / light, rtol=0.01)  # 25 stars of S/N 30 and more


def test_truth_the_best_weighted_frame_is_the_reference(night, tmp_path):
    row, _ = done(night, tmp_path / "a.fits", weights="keyword").result
    assert row.reference == str(night[7])
    np.testing.assert_allclose(fits.getdata(tmp_path / "a.fits", "FRAMES")["weight"], np.arange(1, 9) / 8, rtol=1e-12)


def test_truth_a_part_of_the_frames(night, tmp_path):
    done(night, tmp_path / "all.fits", reference=night[0], normalization="none", weights="none",
         rejection__normalization="none")  # fmt: skip
    done(night, tmp_path / "part.fits", reference=night[0], roi=(40, 20, 64, 50), normalization="none",
         weights="none", rejection__algorithm="none")  # fmt: skip
    part = fits.getdata(tmp_path / "part.fits")
    plain = np.mean([fits.getdata(path) for path in night], axis=0)
    np.testing.assert_allclose(part, plain[20:70, 40:104], rtol=1e-5)
    with pytest.raises(ParameterError, match="roi= 100,0,64,50"):
        done(night, tmp_path / "b.fits", roi=(100, 0, 64, 50))
    assert ran("integrate", *night, "-o", tmp_path / "c.fits", "--roi", "1,2,x").exit_code == 2


def test_truth_a_frame_that_is_no_use_does_not_end_the_night(night, tmp_path):
    changed(night[0], np.zeros(SHAPE, np.float32))
    changed(night[1], np.full(SHAPE, np.nan, np.float32))
    whole = night[2].read_bytes()
    night[2].write_bytes(whole[: len(whole) // 3])
    told = ran("integrate", *night, "-o", tmp_path / "a.fits", "--scale", "bwmv")
    assert told.exit_code == 1, told.output
    for name, why in (("light_0", "every pixel is 0"), ("light_1", "missing"), ("light_2", "light_2")):
        assert any(name in line and why in line for line in told.output.splitlines()), told.output
    assert len(fits.getdata(tmp_path / "a.fits", "FRAMES")) == 5


def test_truth_nothing_usable_is_said(night, tmp_path):
    for path in night:
        changed(path, np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(NothingUsable):
        done(night, tmp_path / "a.fits")
    with pytest.raises(NothingUsable, match="no image"):
        done([tmp_path / "no.fits"], tmp_path / "a.fits")


def test_truth_frames_of_another_size_are_told(night, tmp_path):
    changed(night[4], np.ones((120, 161), np.float32))
    _, lost = done(night, tmp_path / "a.fits").result
    assert len(lost) == 1 and "its shape is (120, 161)" in lost[0].reason and "register" in lost[0].reason
    for path in night[:4]:
        changed(path, np.ones((120, 161), np.float32))
    with pytest.raises(FrameError, match=r"its shape is .*register"):
        done(night[:2] + night[5:7], tmp_path / "b.fits")


def test_truth_no_frame_is_overwritten_and_nothing_is_written_of_nothing(night, tmp_path):
    before = night[0].read_bytes()
    told = ran("integrate", *night, "-o", night[0], "--overwrite")
    assert told.exit_code == 2 and "one of the frames" in told.output and night[0].read_bytes() == before
    with pytest.raises(NothingUsable, match="none of the files"):
        done(night, tmp_path / "a.fits", rejection__range_low=1e9)
    assert not (tmp_path / "a.fits").exists()


def test_truth_a_formula_leaves_out_the_worst_frame_alone(night, tmp_path):
    _, lost = done(night, tmp_path / "a.fits", weights="expression", weight_expression="inv(Noise)").result
    assert len(lost) == 1 and "counts for less" in lost[0].reason


@pytest.mark.parametrize("value, said", [(None, "SSWEIGHT"), (-1.0, "-1"), ("good", "good"), (0.0, "0")])
def test_truth_a_wrong_weight_in_a_header_is_told(night, tmp_path, value, said):
    changed(night[5], SSWEIGHT=value)
    with pytest.raises(ParameterError, match=rf"light_5.*{said}"):
        done(night, tmp_path / "a.fits", weights="keyword")


@pytest.mark.parametrize("text, said", [("0*Noise", "0"), ("Noise +", "-->"), ("Nois", "Noise"), (None, "it is empty")])
def test_truth_a_wrong_weight_expression_is_told(night, tmp_path, text, said):
    with pytest.raises(ParameterError, match=said):
        done(night, tmp_path / "a.fits", weights="expression", weight_expression=text)


def test_truth_an_expression_weighs(night, tmp_path):
    done(night, tmp_path / "a.fits", weights="expression", weight_expression="1 / Noise^2")
    table = fits.getdata(tmp_path / "a.fits", "FRAMES")
    noise = table["noise_dn"] / table["scale"]
    np.testing.assert_allclose(table["weight"], (noise.min() / noise) ** 2, rtol=1e-3)


@pytest.mark.parametrize("algorithm, count", [("linear-fit", 4), ("esd", 2), ("winsorized", 2), ("minmax", 2)])
def test_truth_too_few_frames_for_an_algorithm(night, tmp_path, algorithm, count):
    with pytest.raises(ParameterError, match=f"{algorithm} needs .* there are {count}; take auto"):
        done(night[:count], tmp_path / "a.fits", rejection__algorithm=algorithm)


def test_truth_borders_of_zeros_are_missing_and_told(night, tmp_path):
    for path in night[:3]:
        pixels = fits.getdata(path)
        pixels[:20] = 0
        changed(path, pixels)
    told = ran("integrate", *night, "-o", tmp_path / "a.fits", "--scale", "bwmv")
    assert "3 of 8 frames have borders of 0" in told.output and "exactly 0" not in told.output
    assert (fits.getdata(tmp_path / "a.fits", "COVERAGE")[:20] <= 5).all()


def test_truth_units_are_kept_and_their_mixture_is_told(night, tmp_path):
    for path in night:
        changed(path, BUNIT="electron/s")
    assert "different units" not in ran("integrate", *night, "-o", tmp_path / "a.fits").output
    assert fits.getheader(tmp_path / "a.fits")["BUNIT"] == "electron/s"
    changed(night[0], BUNIT="adu")
    assert "different units (BUNIT DN, electron/s)" in ran("integrate", *night, "-o", tmp_path / "b.fits").output


def test_surface_frames_are_normalized_into_files(night, tmp_path):
    told = ran("normalize", *night, "-o", tmp_path / "n", "--reference", night[0], "--min-stars", 5)
    assert told.exit_code == 0, told.output
    first, third = (fits.getdata(tmp_path / "n" / f"light_{i}_n.fits") for i in (0, 2))
    assert np.median(first) == pytest.approx(np.median(third), abs=1.0)
    assert "LocalNormalization" in str(fits.getheader(tmp_path / "n" / "light_2_n.fits")["HISTORY"])


def test_surface_exposures_are_composed_into_a_file(tmp_path):
    rng, light = np.random.default_rng(3), field(fwhm_px=4.0) * 20
    for name, factor in (("long", 1.0), ("short", 0.05)):
        image = np.minimum(factor * light + 100, 20000) + rng.normal(0, 2, SHAPE)
        ml.write(tmp_path / f"{name}.fits", image.astype(np.float32), {"EXPTIME": 100 * factor, "SATURATE": 20000.0})
    told = ran("hdr", tmp_path / "short.fits", tmp_path / "long.fits", "-o", tmp_path / "hdr.fits")
    assert told.exit_code == 0, told.output
    made = fits.getdata(tmp_path / "hdr.fits")
    assert made.max() > 30000
    bright = light > 25000
    np.testing.assert_allclose(made[bright], light[bright] + 100, rtol=0.02)  # 2 DN of 1250 in the short one


def test_truth_hundreds_of_files_need_few_open_ones(tmp_path):
    rng = np.random.default_rng(5)
    for i in range(150):
        ml.write(tmp_path / f"light_{i}.fits", rng.normal(500, 10, (40, 50)).astype(np.float32), {"EXPTIME": 1.0})
    command = f"ulimit -n 64; {sys.executable} -m masterlight integrate {tmp_path}/light_*.fits -o {tmp_path}/deep.fits"
    told = subprocess.run(["bash", "-c", f"{command} --memory-mb 300"], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    deep = fits.getdata(tmp_path / "deep.fits")
    assert deep.std() == pytest.approx(10 / np.sqrt(150), rel=0.1)


def test_truth_a_master_is_made_of_frames_that_only_weak_headers_call_lights(tmp_path):
    (tmp_path / "n").mkdir()
    rng = np.random.default_rng(4)
    for i in range(3):
        for name, cards in (("d", {"OBSTYPE": "OBJECT"}), ("e", {"IMAGETYP": "Light Frame"})):
            pixels = rng.normal(20000, 140, SHAPE).astype(np.uint16)
            ml.write(tmp_path / "n" / f"{name}{i}.fits", pixels, cards | {"EXPTIME": 4.0})
    *_, last = by_hand("flat", [tmp_path / "n"], tmp_path / "out.fits", Recipe())
    assert ml.read(tmp_path / "out.fits").meta.frames == 3
    assert {row.path.rpartition("/")[2][0] for row in last.result.frames if row.status == "rejected"} == {"e"}


def test_truth_frames_that_are_not_registered_are_refused_with_the_remedy(night, tmp_path):
    for i, path in enumerate(night):
        changed(path, np.roll(fits.getdata(path), (2 * i, -i), (0, 1)))
    told = ran("integrate", *night, "-o", tmp_path / "a.fits")
    assert told.exit_code != 0 and not (tmp_path / "a.fits").exists() and "Traceback" not in told.output
    assert "7 of 8 frames do not lie on those of the others (light_7.fits: 15." in told.output
    assert "not registered. masterlight align lays them on each other" in told.output and "--force" in told.output
    told = ran("integrate", *night, "-o", tmp_path / "a.fits", "--force")
    assert told.exit_code == 0 and (tmp_path / "a.fits").exists() and "do not lie on those" in told.output


@pytest.mark.parametrize("apart", [False, True])
def test_truth_a_first_frame_without_stars_switches_nothing_off(night, tmp_path, apart):
    for i, path in enumerate(night):
        sky = np.random.default_rng(9).normal(400, 7, SHAPE) if i == 0 else fits.getdata(path)
        changed(path, np.roll(sky, (2 * i * apart, -i), (0, 1)) if apart else sky)
    told = ran("integrate", *night, "-o", tmp_path / "a.fits")
    if apart:
        assert told.exit_code != 0 and "not registered. masterlight align lays them on each other" in told.output
        assert "px from light_1.fits" in told.output
    else:
        rows = fits.getdata(tmp_path / "a.fits", "FRAMES")
        assert len(set(np.round(rows["scale"][rows["weight"] > 0], 2))) > 3 and "dispersion" not in told.output


def test_truth_a_script_is_refused_frames_that_are_not_registered_too(night):
    apart = [ml.read(path) for path in night[:4]]
    apart = [ml.ArrayFrame.of(np.roll(f[:, :], (2 * i, -i), (0, 1)), f.source) for i, f in enumerate(apart)]
    with pytest.raises(ml.NothingUsable, match=r"light_3.fits: 6.7 px .* StarAlignment .* force=True integrates them"):
        list(ml.ImageIntegration()(apart))
    *_, done = ml.ImageIntegration(max_rejected=1)(apart, force=True)
    assert done.result.n == 4 and not done.result.lost
    few = [apart[2], *(ml.read(path) for path in night[1:5])]  # on the first one's stars the others are looked at
    *_, done = ml.ImageIntegration()(few)
    (lost,) = done.result.lost
    assert done.result.n == 4 and lost.source == few[0].source and "it is not registered; force=True" in lost.reason
    with pytest.raises(ml.NothingUsable, match="1 of 5 frames do not lie"):
        list(ml.ImageIntegration()(few, reference=0))


def test_truth_a_few_frames_that_are_not_registered_are_left_out(night, tmp_path):
    for i in (0, 5):  # the first one, too, by whose stars the others are looked at
        changed(night[i], np.roll(fits.getdata(night[i]), (3, i), (0, 1)))
    told = ran("integrate", *night, "-o", tmp_path / "a.fits")
    assert told.exit_code == 1 and told.output.count("it is not registered") == 2
    assert "light_0.fits: its stars lie 3.0 px from those of light_1.fits" in told.output
    assert sorted(fits.getdata(tmp_path / "a.fits", "FRAMES")["source"])[0].endswith("light_1.fits")
    told = ran("integrate", *night, "-o", tmp_path / "b.fits", "--reference", "light_5.fits")
    assert told.exit_code != 0 and "they are not registered" in told.output
