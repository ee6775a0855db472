"""One target through several cameras: a master light deeper than of each, right in its fluxes, by run and by hand."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from astropy.io import fits
from cameras import Camera, stars, write

import masterlight as ml
from masterlight.doors.hand.steps import by_hand
from masterlight.integration.roster.numbers import usual_variance

FOLDER = TemporaryDirectory(prefix="masterlight-joined-")
FINE = Camera("Apex 26", vignetting=0.1)
COARSE = Camera(
    "Bolt 18", shape=(230, 300), scale=0.55, light_e=2.0, sky_e=1700.0, gain_e_per_dn=1.4, read_e=5.0, turn_deg=3.0,
    seeing=3.4, binning=2, vignetting=0.1,
)  # fmt: skip
LIGHTS = 5


@cache
def night(how="auto"):
    """The same sky through both, a satellite in one light of the coarse camera: the folder, and what came of a run."""
    folder = Path(FOLDER.name)
    if not (folder / "raw").exists():
        write(folder / "raw", FINE, LIGHTS)
        write(folder / "raw", COARSE, LIGHTS, trail=2)
    recipe = ml.build(ml.Recipe, {"split_by": how, "reference": "Apex-26_0.fits", "drizzled": how == "auto"})
    *_, last = ml.run(folder / "raw", folder / how, recipe)
    return folder, last.result


def places(camera: Camera, index: int = 0):
    xy, light, _ = stars()
    matrix = camera.matrix(index)
    return xy @ matrix[:2, :2].T + matrix[:2, 2], light


def away(image: np.ndarray) -> np.ndarray:
    """Where no star of the fine camera's first light is near."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    free = np.isfinite(image)
    for (u, v), light in zip(*places(FINE), strict=True):
        free &= np.hypot(x - u, y - v) > (15 if light < 30000 else 30)
    return free


def noise_of_sums(image: np.ndarray, side: int = 10) -> float:
    """Noise of a pixel as sums over squares have it, which interpolation does not hide."""
    rows, cols = (n // side for n in image.shape)
    cut = np.where(away(image), image, np.nan)[: rows * side, : cols * side].reshape(rows, side, cols, side)
    count = np.isfinite(cut).sum(axis=(1, 3))
    means = np.where(count > 0.9 * side**2, np.nansum(cut, axis=(1, 3)) / np.maximum(count, 1), np.nan)
    return side * 1.4826 * float(np.nanmedian(np.abs(means - np.nanmedian(means))))


def light_in(image: np.ndarray, times: int = 1) -> float:
    """Light of the brighter lone stars over what the sky has of them, of an image so many times finer."""
    at, light = places(FINE)
    at, radius = (at + 0.5) * times - 0.5, 11 * times
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    seen, known = [], []
    for k in np.flatnonzero(light > 12000):
        u, v = at[k]
        apart = np.hypot(*(at - at[k]).T) / times
        apart[k] = np.inf
        inside = 30 * times < u < image.shape[1] - 30 * times and 30 * times < v < image.shape[0] - 30 * times
        if inside and not (light[apart < 28] > 0.02 * light[k]).any():
            far = np.hypot(x - u, y - v)
            sky = np.median(image[(far > 18 * times) & (far < 26 * times)])
            share = np.clip(radius + 0.5 - far, 0, 1)
            seen.append(float((share * (image - sky)).sum()) / times**2)
            known.append(light[k])
    assert len(seen) >= 6
    return float(np.dot(seen, known) / np.dot(known, known))


def scale_dn() -> float:
    """DN that calibration makes of a unit of light in the fine camera."""
    flat = np.sort(FINE.flat().ravel())
    cut = flat.size // 20
    return float(flat[cut:-cut].mean()) / FINE.gain_e_per_dn


def test_truth_the_joined_master_is_as_deep_as_the_cameras_foretell():
    folder, report = night()
    deep, *_ = report.lights
    assert deep.frames_used == 2 * LIGHTS and not report.rejected
    noise = noise_of_sums(fits.getdata(deep.path).astype(float)) / scale_dn()
    alone = [camera.noise_per_light() / LIGHTS**0.5 for camera in (FINE, COARSE)]
    foretold = float(np.sum(np.array(alone) ** -2.0) ** -0.5)
    assert noise < 0.9 * min(alone)
    assert noise == pytest.approx(foretold, rel=0.1), (noise, foretold)  # 800 sums tell it to 5 %


def test_truth_stars_have_the_light_of_the_reference_whatever_took_them():
    folder, report = night()
    deep, fine = report.lights
    within = 0.998  # of a Moffat profile in the aperture
    assert light_in(fits.getdata(deep.path).astype(float)) / scale_dn() == pytest.approx(within, abs=0.005)
    assert light_in(fits.getdata(fine.path).astype(float), 2) / scale_dn() == pytest.approx(within, abs=0.008)


def test_truth_a_trail_in_one_camera_is_no_part_of_the_result():
    folder, report = night()
    image = fits.getdata(report.lights[0].path).astype(float)
    there = np.linalg.inv(COARSE.matrix(2) @ np.linalg.inv(FINE.matrix(0)))
    x = np.linspace(20, 280, 400)
    at = np.stack([x, (0.6 * x - 0.2 * 300 + 0.8 * 230 / 3) / 0.8, np.ones_like(x)])
    u, v, _ = np.rint(there @ at).astype(int)
    inside = (u > 5) & (u < 494) & (v > 5) & (v < 394)
    free = away(image)
    on = [(k, m) for k, m in zip(u[inside], v[inside], strict=True) if free[m, k]]
    level = np.mean([image[m, k] for k, m in on]) - np.median(image[free])
    assert len(on) > 80 and abs(level) < 3.0, level  # 300 DN on the scale of the result in that light
    assert len(report.lights[0].trails) == 1 and "Bolt-18_2" in report.lights[0].trails[0]


def test_truth_split_by_instrument_makes_one_of_each():
    folder, report = night("instrument")
    assert [row.frames_used for row in report.lights] == [LIGHTS, LIGHTS]
    assert len({Path(row.path).name for row in report.lights}) == 2
    assert all(any(name in row.path for row in report.lights) for name in ("Apex-26", "Bolt-18"))


@pytest.mark.parametrize(
    ("sigmas", "usual"),
    [([10, 11, 10, 9, 30], 10), ([10] * 9 + [5] * 2, 10), ([40] * 8 + [10] * 5, 10), ([40] * 8 + [25] * 3, 40)],
)
def test_truth_samples_are_judged_by_the_noise_of_the_frames_that_make_the_result(sigmas, usual):
    """A deep camera's few frames are not judged by the noise of many shallow ones, and nobody by one clear frame."""
    assert usual_variance(np.array(sigmas, float) ** 2) == usual**2


def done(*inputs, **slots):
    *_, last = by_hand(*inputs, **slots)
    return last.result


def test_oracle_both_cameras_by_hand_have_the_same_bits_as_a_run():
    folder, report = night()
    for stem, binned in (("Apex", False), ("Bolt", True)):
        made = [path for path in (folder / "auto" / "masters").glob("*.fits") if ("bin2x2" in path.name) == binned]
        masters = {kind: next(path for path in made if kind in path.name) for kind in ("bias", "flat")}
        done("calibrate", sorted((folder / "raw" / "lights").glob(f"{stem}*.fits")), folder / "c", **masters)
    reference = next((folder / "c").glob("Apex-26_0*"))
    done("align", [folder / "c"], folder / "r", transforms_only=True, reference=reference)
    done("integrate", [folder / "c"], folder / "deep.fits", transforms=folder / "r")
    with fits.open(folder / "deep.fits") as ours, fits.open(report.lights[0].path) as theirs:
        for name in ("IMAGE", "VARIANCE", "COVERAGE", "REJ_HIGH", "REJ_LOW"):
            mine, wanted = (hdus[0 if name == "IMAGE" else name].data for hdus in (ours, theirs))
            assert np.array_equal(mine, wanted, equal_nan=True), name


def test_truth_registered_files_hand_on_what_their_pixels_are_worth():
    folder, report = night()
    made = done("align", [folder / "c"], folder / "rr", reference=next((folder / "c").glob("Apex-26_0*")))
    done("integrate", made.paths[:-1], folder / "copies.fits", reference=made.paths[0])
    ours, theirs = (fits.getdata(path).astype(float) for path in (folder / "copies.fits", report.lights[0].path))
    assert light_in(ours) == pytest.approx(light_in(theirs), rel=0.005)
    assert noise_of_sums(ours) == pytest.approx(noise_of_sums(theirs), rel=0.05)
