"""Bad columns and rows that lights themselves show: found with their ends, and nothing where the sky alone is seen."""

import numpy as np
import pytest
from clinic import altered
from scipy.ndimage import gaussian_filter
from sky import CALM, EVEN

from masterlight import Recipe, build, read, run, write
from masterlight.core.errors import FrameError
from masterlight.core.frame import LINE, ArrayFrame, Meta, View
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.fixed import above_sides, bands_of, middle
from masterlight.doors.hand.steps import by_hand

SHAPE = 400, 500
COLUMNS = [
    (120, 0, 400, 500.0),
    (301, 150, 400, 60.0),
    (350, 0, 120, -100.0),
    (200, 0, 400, 300.0),
    (201, 0, 400, 200.0),
]
"""Column, first and last row, and what it has more than its neighbours, in DN beside a noise of 20."""


def lights(seed, count=5, dither_px=10.0, stars=300, fwhm_px=3.0, spikes=False, pattern=None, columns=(), rows=()):
    """Raw lights of stars on a sky of 400 DN through a vignette, moved by up to `dither_px` from light to light."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(20, SHAPE[1] - 20, stars), rng.uniform(20, SHAPE[0] - 20, stars)
    flux, (v, u) = 3e5 * (np.arange(stars) + 1.0) ** -0.7, np.mgrid[: SHAPE[0], : SHAPE[1]]
    response = 1 - 0.3 * ((v - 200) ** 2 + (u - 250) ** 2) / (200**2 + 250**2)
    if pattern:
        response = response * np.array([[0.6, 1.0], [1.0, 0.5]])[v % 2, u % 2]
    for i in range(count):
        dx, dy = rng.uniform(-dither_px, dither_px, 2)
        points = np.zeros(SHAPE)
        np.add.at(points, (np.rint(y + dy).astype(int), np.rint(x + dx).astype(int)), flux)
        image = 400 + gaussian_filter(points, fwhm_px / 2.355)
        for a, b, height in zip(x[:4] + dx, y[:4] + dy, flux[:4] / 300, strict=True) if spikes else ():
            for across, along in ((u - a, v - b), (v - b, u - a)):
                image += height * np.exp(-0.5 * (across / fwhm_px * 2.355) ** 2) / (1 + np.abs(along) / 30)
        image *= response
        for at, first, last, height in columns:
            image[first:last, at] += height
        for at, height in rows:
            image[at] += height
        noisy = rng.poisson(np.maximum(image, 0)) + rng.normal(500, 5, SHAPE)
        yield ArrayFrame.of(noisy.astype(np.float32), f"light {i}", Meta(pattern=pattern))


def found(**knobs):
    return CosmeticCorrection().fixed_lines(list(lights(**knobs)))


@pytest.mark.parametrize(
    "knobs",
    [{}, {"count": 3}, {"pattern": "RGGB"}, {"dither_px": 0.3, "spikes": True}, {"fwhm_px": 1.7, "stars": 1500}],
    ids=["plain", "three lights", "mosaic", "never moved", "sharp and crowded"],
)
def test_truth_bad_columns_are_found_from_begin_to_end(knobs):
    defects = found(seed=1, columns=COLUMNS, **knobs)
    expected = np.zeros(SHAPE, bool)
    for at, first, last, _ in COLUMNS:
        expected[first:last, at] = True
    assert np.count_nonzero((defects.mask > 0) != expected) <= 40  # the ends, within the noise; a spike lies on one
    assert set(defects.bits.tolist()) == {LINE} and defects.rules.all()


def test_truth_bad_rows_are_found():
    defects = found(seed=2, rows=[(77, 100.0)])
    assert np.array_equal(np.unique(np.nonzero(defects.mask)[0]), [77]) and len(defects) == SHAPE[1]


@pytest.mark.filterwarnings("error")
def test_truth_bad_columns_are_found_beside_borders_without_data():
    shown = list(lights(1, columns=COLUMNS))
    for light in shown:
        light.array[:60] = light.array[:, :8] = light.array[:, -5:] = np.nan
    mask = CosmeticCorrection().fixed_lines(shown).mask > 0
    assert set(np.unique(np.nonzero(mask)[1])) == {120, 200, 201, 301}  # two bands of another are too few
    assert mask[70:390, 120].all() and mask[160:390, 301].all()


@pytest.mark.parametrize("seed", range(6))
def test_truth_noise_that_few_bands_show_is_no_defect(seed):
    rng, shown = np.random.default_rng(seed), []
    for i in range(5):
        image = rng.normal(1000, 20, SHAPE)
        image[: 40 * rng.integers(4, 9)] = np.nan
        shown.append(ArrayFrame.of(image.astype(np.float32), f"light {i}", Meta()))
    assert CosmeticCorrection().fixed_lines(shown) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"dither_px": 0.3},
        {"dither_px": 0.3, "spikes": True},
        {"dither_px": 0.3, "spikes": True, "fwhm_px": 1.8},
        {"dither_px": 0.3, "stars": 4000},
        {"dither_px": 0.3, "spikes": True, "pattern": "RGGB"},
    ],
    ids=["plain", "never moved", "spikes", "sharp spikes", "crowd", "mosaic"],
)
def test_truth_the_sky_is_no_defect(seed, knobs):
    assert found(seed=seed, **knobs) is None


def test_truth_a_column_that_changes_from_light_to_light_is_noise():
    rng, shown = np.random.default_rng(3), list(lights(3))
    for light in shown:
        light.array[:, 77] += rng.normal(0, 80, SHAPE[0])
    defects = CosmeticCorrection().fixed_lines(shown)
    assert np.array_equal(np.unique(np.nonzero(defects.mask)[1]), [77])


def test_surface_few_lights_other_knobs_and_patterns_of_the_sensor():
    few = list(lights(4, columns=COLUMNS, count=3))
    assert CosmeticCorrection().fixed_lines(few[:2]) is None
    assert CosmeticCorrection(lines=None).fixed_lines(few) is None
    many = found(seed=4, columns=[(at, 0, 400, 300.0) for at in range(20, 480, 20)])
    assert len(many) == 0 and many.notes == ("23 columns stand out of these lights: too many for defects, they stay",)


@pytest.mark.parametrize("count", [1, 2])
def test_truth_what_one_or_two_lights_and_a_master_show_is_a_defect(count):
    few = list(lights(4, columns=[(120, 0, 400, 500.0), (301, 150, 400, 300.0), (333, 0, 400, 500.0)], count=count))
    flat = np.random.default_rng(1).normal(20000, 60, SHAPE)
    flat[:, 120] *= 0.7
    flat[150:, 301] *= 1.1
    flat[:, 60] *= 0.9
    flat = ArrayFrame.of(flat.astype(np.float32), "flat")
    mask = CosmeticCorrection().fixed_lines(few, [flat]).mask
    whole = np.zeros(SHAPE, bool)
    whole[:, 120] = whole[150:, 301] = True
    assert np.mean((mask > 0)[whole]) > 0.97 and np.mean((mask > 0)[~whole]) < 1e-4
    assert CosmeticCorrection().fixed_lines(list(lights(4, count=count)), [flat]) is None
    assert CosmeticCorrection().fixed_lines(few, [ArrayFrame.of(flat.array[1:], "another size")]) is None


def test_bad_lights_that_cannot_be_read_are_passed_over():
    class Damaged(View):
        def pixels(self, *box):
            raise FrameError(self.source, "is truncated")

    shown = list(lights(4, columns=COLUMNS, count=4))
    shown[1] = Damaged(source="torn", meta=shown[1].meta, below=shown[1])
    assert len(CosmeticCorrection().fixed_lines(shown)) > 1500
    shown[2] = Damaged(source="torn too", meta=shown[2].meta, below=shown[2])
    assert CosmeticCorrection().fixed_lines(shown) is None


def test_truth_by_hand_lines_of_the_lights_are_repaired_too(tmp_path):
    for i, light in enumerate(lights(7, columns=[(120, 0, 400, 540.0)], count=4)):
        write(tmp_path / f"light_{i}.fits", light)
    told = [event.message for event in by_hand("cosmetic", [tmp_path], tmp_path / "out")]
    assert "4 lights: 400 defects (400 line)" in told
    made = np.asarray(read(tmp_path / "out" / "light_0_cc.fits"))
    assert abs(np.median(made[:, 120] - made[:, 118])) < 5


@pytest.mark.parametrize(("axis", "pitch"), [(0, 1), (0, 2), (1, 1), (1, 2)])
def test_oracle_bands(axis, pitch):
    light = next(lights(5))
    image, got = light.array if axis == 0 else light.array.T, bands_of(light, axis, pitch)
    bands = 16 if axis == 0 else 2
    reach = SHAPE[axis] // bands if axis == 0 else 64
    for i, start in enumerate(int(s) for s in np.linspace(0, SHAPE[axis] - reach, bands)):
        spots = []
        for at in (int(a) for a in np.linspace(0, reach - 3 * pitch - 1, 3)):
            first = start + at + (i - start - at) % pitch
            spots.append(np.median(image[first : first + 2 * pitch + 1 : pitch], axis=0))
        assert np.array_equal(got[i], np.median(spots, axis=0))


def test_oracle_middle_and_sides():
    rng = np.random.default_rng(6)
    a, b, c = rng.integers(0, 4, (3, 1000)).astype(np.float32)
    assert np.array_equal(middle(a, b, c), np.median([a, b, c], axis=0))
    profile = rng.normal(size=40).astype(np.float32)
    away, sides = above_sides(profile, 2)
    for x in range(6, 34):
        left, right = np.median(profile[[x - 2, x - 4, x - 6]]), np.median(profile[[x + 2, x + 4, x + 6]])
        assert sides[x] == pytest.approx((left + right) / 2) and away[x] == pytest.approx(profile[x] - sides[x])


def test_truth_a_run_fills_bad_columns_by_dithering_and_tells_no_trails(tmp_path):
    """Two bad columns, no calibration frame: 13 satellite trails were told, and the columns stayed in the master."""

    def spoil(kind, i, pixels, header):
        pixels[:, 120] += 540 + np.random.default_rng(i).normal(0, 25, len(pixels))
        pixels[:, 301] = 500 + (pixels[:, 301] - 500) / 2
        return pixels

    knobs = {**CALM, **EVEN, "lights": 8, "biases": 0, "darks": 0, "flats": 0, "dither_px": 15.0}
    masters = []
    for name, change in (("spoilt", spoil), ("healthy", lambda kind, i, pixels, header: pixels)):
        folder = altered(tmp_path / name, change, **knobs)
        first = min(folder.rglob("*.fits")).name
        events = list(run(folder, tmp_path / f"{name}_out", build(Recipe, {"workers": "serial", "reference": first})))
        told = "\n".join(event.message for event in events)
        assert ("columns 120, 301: defective at the same place" in told) == (name == "spoilt") and "trail" not in told
        masters.append(np.asarray(read(events[-1].result.lights[0].path)))
    noise = events[-1].result.lights[0].noise
    off = np.nanmedian(masters[0] - masters[1], axis=0)
    assert np.abs(off).max() < 0.4 * noise  # 0.07 by chance, the rest what skies differ where lights are missing
