"""Small nights on which usual settings once fell short of the limit: each comes out as its script says it must.

Each case is a script in the folder of cases; the tests skip where there is none. The same facts stand in the tests of
the modules, on the project's own sky.
"""

import json
from functools import cache
from pathlib import Path

import cases
import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from scipy import ndimage

from masterlight.doors.cli import main
from masterlight.io import read
from masterlight.subframes.measure import measure_light
from masterlight.subframes.select import SubframeSelector

pytestmark = cases.needed
case = cases.case
SHAPE = (360, 440)
EDGE = np.s_[25:-25, 25:-25]
"""Where every light has samples."""


def dither(i: int) -> tuple[float, float]:
    """Offsets of light i in the scripts."""
    return 3.3 * np.cos(2.4 * i) * (1 + i / 5), 3.3 * np.sin(2.4 * i) * (1 + i / 5)


class Outcome:
    """What `masterlight run` makes of a case: what it says, its master light, its report."""

    def __init__(self, folder: Path, out: Path):
        done = CliRunner().invoke(main, ["run", str(folder), "--out", str(out)])
        assert done.exit_code in (0, 1), done.output
        self.said, self.report = done.output, json.loads((out / "report.json").read_text())
        self.paths = sorted(out.glob("master_light*.fits"))
        self.image = np.asarray(read(self.paths[0]), float)

    @property
    def header(self):
        return fits.getheader(self.paths[0])

    @property
    def frames(self):
        return fits.getdata(self.paths[0], "FRAMES")

    @property
    def reference(self) -> str:
        """File name of the light on whose grid the master lies."""
        return next(line.split("reference: ")[1].split()[0] for line in self.said.splitlines() if "reference: " in line)


@pytest.fixture(scope="module")
def outcome(case, tmp_path_factory):
    """outcome(name, part): what comes of a case, or of a part of its folder, run once."""

    @cache
    def ran(name: str, part: str = "") -> Outcome:
        return Outcome(case(name) / part, tmp_path_factory.mktemp("out") / "result")

    return ran


def sigma_of(image: np.ndarray) -> float:
    """Noise of a picture beside its stars: of differences of neighbours, against the correlation of interpolation."""
    flat = image[EDGE] - ndimage.median_filter(image, 9)[EDGE]
    return float(1.4826 * np.nanmedian(np.abs(flat)))


def sources(outcome: Outcome) -> list[str]:
    return [Path(str(name).strip()).name for name in outcome.frames["source"]]


def test_truth_knots_of_a_galaxy_are_no_stars(case, outcome):
    found, stars = measure_light(SubframeSelector(), read(case("sub_galaxy_knots") / "L_000.fits"))
    assert found.fwhm_px == pytest.approx(4.0, rel=0.03)
    assert len(stars.xy) >= 12
    done = outcome("sub_galaxy_knots")
    assert np.allclose(done.frames["scale"], 1, atol=0.01)
    weights = done.frames["weight"]
    assert weights.min() > 0.95 * weights.max() and len(weights) == 6


def test_truth_a_dark_of_another_exposure_is_scaled_with_the_bias(outcome):
    done = outcome("cal_dark_other_exposure")
    assert "is scaled to 8 lights" in done.said and done.said.count("is scaled to") == 1
    scales = [float(word) for line in done.said.splitlines() if "is scaled to" in line
              for word in line.split("x ")[1].split(" (")[0].split(" to ")]  # fmt: skip
    assert scales and np.allclose(scales, 1.5, rtol=0.01)
    smooth = ndimage.median_filter(done.image, 5)
    stands_out = np.abs(done.image - smooth)[EDGE] > 12 * sigma_of(done.image)
    faint = (smooth - np.nanmedian(done.image))[EDGE] < 40
    assert (stands_out & faint).mean() < 1.5e-4  # those are flanks of faint stars, no hot pixels


def test_truth_a_dark_by_hand_is_scaled_with_the_bias_and_a_warning_tells_without(case, tmp_path):
    folder = case("cal_dark_other_exposure")
    run = CliRunner().invoke

    def made(verb, pattern, out):
        done = run(main, [verb, *map(str, sorted(folder.glob(pattern))), "-o", str(tmp_path / out)])
        assert done.exit_code == 0, done.output
        return str(tmp_path / out)

    bias, dark = made("bias", "B_*.fits", "bias.fits"), made("dark", "D_*.fits", "dark.fits")
    light = str(folder / "L_001.fits")
    scaled = run(main, ["calibrate", light, "-o", str(tmp_path / "a"), "--bias", bias, "--dark", dark])
    assert scaled.exit_code == 0, scaled.output
    assert float(scaled.output.split(", x ")[1].split()[0]) == pytest.approx(1.5, rel=0.01)
    plain = run(main, ["calibrate", light, "-o", str(tmp_path / "b"), "--dark", dark])
    assert plain.exit_code == 0 and "80" in plain.output and "120" in plain.output, plain.output


def test_truth_bad_columns_are_filled_and_are_no_trails(outcome):
    done = outcome("int_bad_column")
    assert "trail" not in done.said
    profile = np.nanmedian(done.image[EDGE] - ndimage.median_filter(done.image, (1, 31))[EDGE], axis=0)
    assert np.abs(profile).max() < sigma_of(done.image)


def test_truth_the_reference_is_a_clear_light_not_the_sharpest(outcome):
    done = outcome("ref_sharp_but_cloudy")
    assert done.reference != "L_000.fits"
    frames = dict(zip(sources(done), done.frames["scale"], strict=True))
    assert frames["L_000.fits"] == pytest.approx(1 / 0.3, rel=0.05)
    sky = [np.nanmedian(part) for part in np.array_split(done.image[EDGE], 6, axis=1)]
    assert np.ptp(sky) < 10  # the cloudy light has 300 DN


def test_truth_mixed_exposures_are_scaled_and_told(outcome):
    done = outcome("wf_mixed_exposures")
    assert len(done.paths) == 1 and done.header["LIVETIME"] == pytest.approx(420.0)
    scales = dict(zip(sources(done), done.frames["scale"], strict=True))
    assert scales["L10_000.fits"] / scales["L60_000.fits"] == pytest.approx(6.0, rel=0.02)
    assert star_in(done) == pytest.approx(1.0, abs=0.03)


def star_in(done: Outcome) -> float:
    """The brightest star of 60 s that the 10 s lights do not burn out, over the truth: its peak in DN of 60 s."""
    rng = np.random.default_rng(4)
    rows, cols = SHAPE
    x, y = rng.uniform(-40, cols + 40, 150), rng.uniform(-40, rows + 40, 150)
    flux = 12e6 * (np.arange(150) + 1.0) ** -0.7
    dx, dy = dither(int(done.reference[4:7]) + 6 * done.reference.startswith("L10"))
    s = 3.0 / 2.3548
    found = []
    for px, py, light in zip(x + dx, y + dy, flux, strict=True):
        i, j = round(py), round(px)
        peak = light / (2 * np.pi * s * s)
        if 80_000 < peak < 250_000 and 40 < i < rows - 40 and 40 < j < cols - 40:
            box = done.image[i - 8 : i + 9, j - 8 : j + 9]
            found.append((box - np.nanmedian(done.image)).sum() / light)
    return float(np.median(found))


def test_truth_hot_pixels_do_not_hold_the_field(outcome):
    done = outcome("reg_hot_pixels")
    assert len(sources(done)) == 8 and "no frame rejected" in done.said
    shifts = [line for line in done.said.splitlines() if "shifts up to" in line]
    assert float(shifts[0].split("shifts up to ")[1].split()[0]) == pytest.approx(21.2, abs=0.3)
    high = done.image - ndimage.median_filter(done.image, 5)
    assert (high[EDGE] > 20 * sigma_of(done.image)).mean() < 1e-3


def test_truth_doubled_and_defocused_lights_leave_the_good_ones_alone(outcome):
    done = outcome("reg_trailed_and_donut")
    weights = dict(zip(sources(done), done.frames["weight"], strict=True))
    bad = sum(weights.get(f"L_{i:03d}.fits", 0.0) for i in (3, 5, 7, 8))
    assert bad < 0.05 * sum(weights.values()) and len([w for w in weights.values() if w > 0.5]) == 6
    found, _ = measure_light(SubframeSelector(), read(done.paths[0]))
    assert found.fwhm_px == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("name, count", [("two", 2), ("three", 3)])
def test_truth_rays_and_trails_of_two_and_three_lights_leave(outcome, name, count):
    done = outcome("int_one_two_three", name)
    rng, (rows, cols) = np.random.default_rng(1), SHAPE
    struck = []
    for many in (1, 2, 3):
        rays = [(rng.integers(0, rows, 40), rng.integers(0, cols, 40)) for _ in range(many)]
        struck = rays if many == count else struck
    sharp = done.image - ndimage.median_filter(done.image, 5)
    left = 0
    at = dither(int(done.reference[2:5]))
    for i, (y, x) in enumerate(struck):
        dx, dy = np.array(at) - dither(i)
        for py, px in zip(np.rint(y + dy).astype(int), np.rint(x + dx).astype(int), strict=True):
            if 25 < py < rows - 25 and 25 < px < cols - 25:
                left += sharp[py - 1 : py + 2, px - 1 : px + 2].max() > 6 * sigma_of(done.image)
    assert left <= 2  # a ray on a star is hidden by it
    assert done.frames["rejected_low_fraction"].max() < 0.01


def test_truth_one_light_is_a_master_light(outcome):
    done = outcome("int_one_two_three", "one")
    assert len(done.frames) == 1
    smooth = ndimage.median_filter(done.image, 5)
    alone = (done.image - smooth)[EDGE] > 1500
    assert alone.sum() <= 2  # forty rays of 3000 DN, of which one or two may lie on stars


def test_truth_lights_that_were_never_registered_are_refused(case, tmp_path):
    files = sorted(map(str, case("int_unregistered").glob("*.fits")))
    done = CliRunner().invoke(main, ["integrate", *files, "-o", str(tmp_path / "x.fits")])
    assert done.exit_code not in (0, 1) or "register" in done.output or "align" in done.output, done.output
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit)
    assert "Traceback" not in done.output and not (tmp_path / "x.fits").exists()


def test_truth_hot_pixels_of_flats_make_no_dark_ones(outcome):
    done = outcome("cal_hot_in_flat")
    low = done.image - ndimage.median_filter(done.image, 5)
    faint = ndimage.median_filter(done.image, 5) < np.nanmedian(done.image) + 60
    assert (low[EDGE] < -6 * sigma_of(done.image))[faint[EDGE]].sum() <= 2
