"""Nebulosity beneath stars: when a frame has it, and what is left without it."""

import numpy as np
import pytest
from starfield import NOISE_DN, SKY_DN, Scene, nebula_of, stamp

from masterlight.subframes.stars.nebula import flattened, nebulous, tile_medians, without


def noise(shape=(400, 600), seed=1):
    return np.random.default_rng(seed).normal(SKY_DN, NOISE_DN, shape).astype(np.float32)


def waves(shape=(400, 600), amplitude=20):
    return nebula_of(Scene(nebula=amplitude, shape=shape), np.random.default_rng(2)).astype(np.float32)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.9])
def test_oracle_tile_medians(missing):
    rng = np.random.default_rng(3)
    image = noise((50, 71))
    image[20:30, 20:30] += 40_000  # a star, beside which a coarse search of the median would fail
    image[rng.random(image.shape) < missing] = np.nan
    found = tile_medians(image, 5, 7)
    for j, i in np.ndindex(5, 7):
        tile = image[j * 10 : j * 10 + 10, i * 71 // 7 : i * 71 // 7 + 10]
        if np.isfinite(tile).mean() < 0.25:
            assert np.isnan(found[j, i])
        else:
            values = np.sort(tile[np.isfinite(tile)])
            at = len(values) // 2
            assert values[at - 1] - 0.01 <= found[j, i] <= values[min(at, len(values) - 1)] + 0.01


def cubic(t):
    """Keys' kernel of the distance from a node (IEEE Trans. ASSP 29, 1153, equation 15)."""
    t = abs(t)
    return 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def surface(nodes, y, x, shape):
    """The cubic surface through a mesh, by its definition; nodes beyond the border in line with those within."""
    ny, nx = nodes.shape
    v, u = (y + 0.5) * ny / shape[0] - 0.5, (x + 0.5) * nx / shape[1] - 0.5

    def node(line, k):
        n = len(line)
        return 2 * line[0] - line[-k] if k < 0 else 2 * line[-1] - line[2 * n - 2 - k] if k >= n else line[k]

    def along(line, at):
        return sum(cubic(at - k) * node(line, k) for k in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3))

    return along([along(row, u) for row in nodes], v)


def test_oracle_without():
    image, beneath = noise((40, 60)), np.random.default_rng(5).normal(0, 50, (5, 4)).astype(np.float32)
    image[3, 4] = 5000
    out = without(image, beneath, 5000.0)
    assert out[3, 4] == 5000
    expected = np.array([[surface(beneath, y, x, image.shape) for x in range(60)] for y in range(40)])
    expected[3, 4] = 0
    np.testing.assert_allclose(image - out, expected, atol=1e-2)


def test_truth_a_slope_is_told_to_the_border():
    y, x = np.mgrid[:40, :60]
    slope = np.float32(2 * x - 3 * y)
    tiles = slope.reshape(4, 10, 4, 15).mean(axis=(1, 3))
    np.testing.assert_allclose(without(slope, tiles, np.inf), 0, atol=1e-3)
    single = without(slope[:10, :15], np.float32([[7]]), np.inf)
    np.testing.assert_allclose(single, slope[:10, :15] - 7, atol=1e-4)


def binned(image):
    return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean(axis=(1, 3))


def test_truth_nebulous_is_what_changes_from_tile_to_tile():
    slope = 3 * np.add.outer(np.arange(400), np.arange(600)).astype(np.float32)
    round_off = (np.add.outer((np.arange(400) - 200) ** 2, (np.arange(600) - 300) ** 2) * 4e-3).astype(np.float32)
    for plain in (noise(), noise() + slope, noise() - round_off, np.full((400, 600), np.nan, np.float32)):
        assert not nebulous(binned(plain), NOISE_DN)
    assert nebulous(binned(noise() + waves()), NOISE_DN)
    assert not nebulous(binned(noise()), 0.0) and not nebulous(noise((6, 6)), NOISE_DN)


def test_truth_what_is_left_is_sky():
    image = noise() + waves()
    flat = flattened(image, binned(image), 3.0, NOISE_DN, np.inf)
    assert np.std(flat.image) < 1.05 * NOISE_DN < 0.2 * np.std(image)
    x, y = np.array([100.0, 300.0]), np.array([50.0, 210.0])
    np.testing.assert_allclose(flat.image[y.astype(int), x.astype(int)] + flat.at(x, y), image[[50, 210], [100, 300]])
    assert flat.rough_at(x, y).any()
    assert not flattened(image, binned(image), 3.0, 1e6, np.inf).rough_at(x, y).any()


def test_truth_stars_beside_a_galaxy_keep_their_wings():
    image, scene = noise((600, 900)), Scene(fwhm_px=3.0)
    y, x = np.mgrid[:600, :900]
    for cy, cx in np.random.default_rng(6).uniform(60, 240, (80, 2)):
        image += np.float32(200 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 60))
    light, places = 30_000 * stamp(0.0, 0.0, scene, 30), [(j, i) for j in (100, 350, 500) for i in (450, 600, 750)]
    for j, i in places:
        image[j - 30 : j + 31, i - 30 : i + 31] += np.float32(light)
    flat = flattened(image, binned(image), 3.0, NOISE_DN, np.inf, partly=True)
    at_x, at_y = np.array([i for _, i in places], float), np.array([j for j, _ in places], float)
    np.testing.assert_allclose(flat.at(at_x, at_y), flat.at(at_x + 20, at_y), atol=0.3 * NOISE_DN)
    assert not flat.rough_at(at_x, at_y).any() and flat.rough_at(np.array([150.0]), np.array([150.0])).all()
    assert np.std(flat.image[60:240, 60:240]) < 0.5 * np.std(image[60:240, 60:240])
