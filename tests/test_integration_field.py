"""The noise of the sky over the field, on frames whose flat, light and gain are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from masterlight.alignment.transform import Transform
from masterlight.calibration.masters import Masters
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import places
from masterlight.core.statistics.noise import noise_and_free
from masterlight.drizzle.drizzle import DrizzleIntegration
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.local.sky import sky_below
from masterlight.integration.rejection import Rejection
from masterlight.integration.roster.field import Nodes, fields_of, usual_of
from masterlight.subframes.measurement import Measurement, Response

SHAPE, GAIN, READ_E = (480, 640), 0.8, 12.0
MARGIN = np.s_[16:-16, 16:-16]


def falloff(shape=SHAPE, vignetting=0.4):
    """A flat that falls off towards its corners, its middle beside that of the sensor, of mean 1."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    r2 = ((y - 0.55 * shape[0]) ** 2 + (x - 0.46 * shape[1]) ** 2) / (0.25 * (shape[0] ** 2 + shape[1] ** 2))
    flat = 1 - vignetting * r2
    return flat / flat.mean()


def coarse(flat, cell=16):
    return flat.reshape(flat.shape[0] // cell, cell, flat.shape[1] // cell, cell).mean(axis=(1, 3))


def scene(nebula_dn, slope_dn=0.2):
    """Sky with a gradient, and a wide nebula."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 300 + slope_dn * x + nebula_dn * np.exp(-((y - 200) ** 2 + (x - 380) ** 2) / 150**2)


def taken(light, count, rng, gain=GAIN):
    """Calibrated frames of one scene, every second one with the camera upside down, and what is measured of them."""
    flat, frames, known = falloff(), [], []
    flip = np.array([[-1.0, 0, SHAPE[1] - 1], [0, -1, SHAPE[0] - 1], [0, 0, 1]])
    for i in range(count):
        turned, matrix = (flat, np.eye(3)) if i % 2 == 0 else (flat[::-1, ::-1], flip)
        variance = (light * turned * GAIN + READ_E**2) / (turned * GAIN) ** 2
        frames.append(ArrayFrame.of(rng.normal(light, np.sqrt(variance)).astype(np.float32), f"{i}"))
        own = np.asarray(frames[-1]) if i % 2 == 0 else np.asarray(frames[-1])[::-1, ::-1]
        (noise, _, free), response = noise_and_free(own), Response(coarse(flat), matrix, SHAPE)
        how = {"gain_e_per_dn": gain, "response": response, "free": free}
        known.append(Measurement(f"{i}", float(np.median(light)), (noise, noise), noise, 60.0, 1.0, **how))
    return frames, known


def z_by_tenths(stack, light, by):
    """Residual over claim in each tenth of a map."""
    squares, by = np.square(stack.image - light)[MARGIN] / stack.variance[MARGIN], by[MARGIN]
    edges = np.quantile(by, np.linspace(0, 1, 11))
    return [np.sqrt(np.mean(squares[(by >= a) & (by <= b)])) for a, b in zip(edges[:-1], edges[1:], strict=True)]


@pytest.mark.parametrize("nebula_dn, slope_dn", [(0, 0.2), (600, 0.2), (1200, 0.2), (0, 1.9), (600, 1.9)])
@pytest.mark.parametrize("known_of", ["gain and flat", "gain", "flat", "neither"])
def test_truth_claims_hold_in_every_tenth_of_flat_and_light(nebula_dn, slope_dn, known_of):
    """Without a flat or a gain, as of files integrated by hand, the scatter of the samples maps the noise."""
    light = scene(nebula_dn, slope_dn)
    frames, known = taken(light, 8, np.random.default_rng(nebula_dn), GAIN if "gain" in known_of else None)
    known = [m if "flat" in known_of else replace(m, response=None) for m in known]
    *_, done = ImageIntegration()(frames, known, reference=0)
    # a nebula that fills a third of the field bends the sky that is taken to lie below it, and is no quadratic surface
    within = {"gain and flat": 0.04 if nebula_dn > 1000 else 0.02, "neither": 0.13}.get(known_of, 0.08)
    stack = done.result
    both = 0.5 * (falloff() + falloff()[::-1, ::-1])
    # 28,000 pixels tell z to 0.4 %, rejection takes 0.2 % of the samples and the extremes with them
    for by in (both, light):
        assert z_by_tenths(stack, light, by) == pytest.approx([1] * 10, abs=within)
    alike = replace(stack, variance=np.full_like(stack.variance, np.median(stack.variance)))
    worst = np.abs(np.array(z_by_tenths(alike, light, both)) - 1).max()
    assert worst > 0.06, "one noise for all does hold: this test shows nothing"


def test_truth_places_that_some_frames_cover_have_the_noise_of_those():
    _, known = taken(np.full(SHAPE, 400.0), 6, np.random.default_rng(2))
    shifted = np.eye(3)
    shifted[0, 2] = -200.0
    for i in range(1, 6, 2):
        known[i] = replace(known[i], response=Response(known[i].response.grid, shifted, SHAPE))
    (field,) = fields_of([ImageIntegration().terms(known)], [known], None, None, SHAPE)
    _, flat = field.box(None, 0, SHAPE[0], 0, SHAPE[1])
    grid = 1 / falloff()
    both = 0.5 * (grid[20:-20, 260:-20] + grid[20:-20, 60:-220])
    # the surface rounds corners by 2 %, and what begins at column 200 by two cells
    np.testing.assert_allclose(flat[20:-20, 20:100], grid[20:-20, 20:100], rtol=0.02)
    np.testing.assert_allclose(flat[20:-20, 260:-20], both, rtol=0.02)


def test_truth_what_is_measured_of_a_frame_follows_from_where_it_was_measured():
    rng = np.random.default_rng(8)
    for nebula_dn, slope_dn in ((0, 0), (0, 2.5), (800, 0), (3000, 0), (800, 2.5)):
        light = scene(nebula_dn, slope_dn)
        variance = light / GAIN / falloff() + (READ_E / GAIN / falloff()) ** 2
        noise, _, free = noise_and_free(rng.normal(light, np.sqrt(variance)).astype(np.float32))
        weights = zoom(free, (1.5, 2), order=1, mode="nearest", grid_mode=True)
        told = usual_of(coarse(variance, 20).ravel(), weights.ravel())
        assert told == pytest.approx(noise**2, rel=0.025)


def test_truth_a_hollow_has_fewer_photons_and_noise_above_the_sky_counts_for_nothing():
    rng = np.random.default_rng(5)
    light = np.full(SHAPE, 400.0)
    light[100:140, 100:140] = 250.0  # dust of another galaxy, narrower than the mesh of the sky
    frames = [ArrayFrame.of(rng.normal(light, np.sqrt(light / GAIN)).astype(np.float32), f"{i}") for i in range(5)]
    noise = float(np.sqrt(400 / GAIN))
    known = [Measurement(f.source, 400.0, (noise, noise), noise, 60.0, 1.0, gain_e_per_dn=GAIN) for f in frames]
    *_, done = ImageIntegration(rejection=Rejection(algorithm="none"))(frames, known, reference=0)
    stack = done.result
    z2 = np.square(stack.image - light) / stack.variance
    assert z2[102:138, 102:138].mean() == pytest.approx(1, abs=0.12)  # 1300 pixels tell it to 4 %
    assert z2.mean() == pytest.approx(1, abs=0.03)
    quiet = stack.variance[MARGIN][np.abs(stack.image[MARGIN] - 400) < 5]
    assert np.median(quiet) == pytest.approx(400 / GAIN / 5, rel=0.03)


@pytest.mark.parametrize("pattern", [None, "RGGB", "XTRANS"])
def test_truth_response_is_that_of_each_colour(pattern):
    pattern = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG" if pattern == "XTRANS" else pattern
    rng, flat = np.random.default_rng(1), falloff((330, 410))
    pixels, levels = flat.copy(), {"R": 9000.0, "G": 20000.0, "B": 14000.0, "": 15000.0}
    p = int(np.sqrt(len(pattern or "L")))
    for colour, at in places(pattern).items():
        for y, x in at:
            pixels[y::p, x::p] *= levels[colour]
    pixels = rng.normal(pixels, 30)
    pixels[rng.random(pixels.shape) < 1e-3] = np.nan
    master = ArrayFrame.of(pixels.astype(np.float32), "flat", Meta(kind="flat", pattern=pattern, calibration="B"))
    masters = Masters(flat=master, pattern=pattern)
    grids = masters.response()
    assert len(grids) == (3 if pattern else 1)
    ny, nx = grids.shape[1:]
    y, x = np.meshgrid((np.arange(ny) + 0.5) * 330 / ny, (np.arange(nx) + 0.5) * 410 / nx, indexing="ij")
    for grid in grids:
        factor, there = Response(grid, np.eye(3), (330, 410)).at(x - 0.5, y - 0.5, 0.0)
        true = flat[y.astype(int), x.astype(int)]
        assert there.all()
        np.testing.assert_allclose(factor * true, np.median(factor * true), rtol=0.015)
        assert np.median(factor * true) == pytest.approx(1, abs=0.01)
    assert Masters().response() is None


def test_oracle_any_box_of_a_field_has_the_bits_of_the_whole():
    light = scene(300)
    frames, known = taken(light, 3, np.random.default_rng(3))
    (field,) = fields_of([ImageIntegration().terms(known)], [known], None, sky_below(frames[0]), SHAPE)
    sky = sky_below(frames[0]).plane(0, 0, *SHAPE[:1], 0, SHAPE[1])
    whole = field.box(sky, 0, SHAPE[0], 0, SHAPE[1])
    for box in ((0, 7, 0, 640), (33, 200, 101, 333), (479, 480, 639, 640)):
        part = field.box(sky[box[0] : box[1], box[2] : box[3]], *box)
        for mine, theirs in zip(part, whole, strict=True):
            np.testing.assert_array_equal(mine, theirs[box[0] : box[1], box[2] : box[3]])


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("shape", [(1, 1), (9, 11), (20, 30), (20, 400), (47, 47), (60, 60)])
def test_surface_images_of_few_pixels_have_no_map_and_no_warning(shape):
    rng = np.random.default_rng(3)
    frames = [ArrayFrame.of(rng.normal(300, 5, shape), f"{i}") for i in range(6)]
    known = [Measurement(f.source, 300.0, (5.0, 5.0), 5.0, 60.0, 1.0) for f in frames]
    *_, done = ImageIntegration()(frames, known)
    assert np.median(done.result.variance) == pytest.approx(25 / 6, rel=0.01)


def test_surface_nothing_known_changes_nothing():
    light = np.full(SHAPE, 400.0)
    _, known = taken(light, 3, np.random.default_rng(3))
    known = [replace(m, response=None) for m in known]
    assert fields_of([ImageIntegration().terms(known)], [known], None, None, SHAPE) == [None]


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_truth_a_drizzle_of_the_same_frames_knows_where_noise_is_more(scale):
    pytest.importorskip("drizzle")
    light = scene(300, 1.0)
    flat = falloff()
    variance = (light * flat * GAIN + READ_E**2) / (flat * GAIN) ** 2
    rng, frames, known, places_of = np.random.default_rng(9), [], [], []
    for i in range(6):
        frames.append(ArrayFrame.of(rng.normal(light, np.sqrt(variance)).astype(np.float32), f"{i}"))
        noise, _, free = noise_and_free(np.asarray(frames[-1]))
        how = {"gain_e_per_dn": GAIN, "response": Response(coarse(flat), np.eye(3), SHAPE), "free": free}
        known.append(Measurement(f"{i}", float(np.median(light)), (noise, noise), noise, 60.0, 1.0, **how))
        places_of.append(Transform(np.eye(3)))
    *_, done = ImageIntegration()(frames, known, reference=0)
    stack = done.result
    drizzle = DrizzleIntegration(scale=scale, drop_shrink=1.0)
    *_, done = drizzle(frames, places_of, SHAPE, stack.terms, noise=stack.noise)
    side = int(scale)
    fine = np.repeat(np.repeat(variance, side, 0), side, 1)[side * 16 : -side * 16, side * 16 : -side * 16]
    claims = done.result.variance[side * 16 : -side * 16, side * 16 : -side * 16]
    ratio = gaussian_filter(claims / fine, 8 * side)
    np.testing.assert_allclose(ratio / np.median(ratio), 1, atol=0.05)
    if scale == 1:
        assert np.median(claims / stack.variance[MARGIN]) == pytest.approx(1, abs=0.02)
    *_, plain = drizzle(frames, places_of, SHAPE, stack.terms)
    before = gaussian_filter(plain.result.variance[side * 16 : -side * 16, side * 16 : -side * 16] / fine, 8 * side)
    assert np.abs(before / np.median(before) - 1).max() > 0.15, "one noise for all does hold: this test shows nothing"


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (20, 64), (40, 64), (47, 47), (900, 33)])
def test_truth_a_noise_field_has_nodes_inside_however_small_the_image(shape):
    nodes = Nodes.over(*shape)
    assert nodes.inside.any()
    assert (nodes.y_px[-1] >= shape[0] - 1).all() and (nodes.x_px[:, -1] >= shape[1] - 1).all()


def test_truth_a_bent_frame_shows_its_flat_where_its_pixels_lie():
    """The response of a flat that a lens moves by up to 12 px is that of the place in the frame."""

    def bend(xy):
        return 12.0 * (np.asarray(xy) / 400) ** 2

    y, x = np.mgrid[0:330:7.0, 0:400:7.0]
    grid = 1 + 0.3 * np.linspace(-1, 1, 41)[None, :] * np.ones((33, 1))
    there = bend(np.stack([x, y], axis=-1)) + np.stack([x, y], axis=-1)
    bent, _ = Response(grid, np.eye(3), (330, 410), bend).at(x, y, 0.0)
    plain, _ = Response(grid, np.eye(3), (330, 410)).at(there[..., 0], there[..., 1], 0.0)
    assert (
        np.array_equal(bent, plain)
        and np.abs(bent - Response(grid, np.eye(3), (330, 410)).at(x, y, 0.0)[0]).max() > 0.01
    )
