"""What the lights of a simulated night could give: an oracle that knows transforms, air, sky, outliers and noise.

It calibrates by plain means of the calibration frames, takes the true sky off each light, leaves out every pixel that
is defective or was struck, brings the rest to the reference by Lanczos-5 and averages by the true inverse variance.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import ndimage

from masterlight import ArrayFrame, Debayer, read
from masterlight.compiled import njit
from masterlight.simulate import Truth
from masterlight.simulate.kernels import STEP, upsample_row
from masterlight.simulate.observatory import NEBULA, RESPONSE, apply, trail_profile

PHASES, TAPS, REACH = 4096, 10, 5
FAINTEST_DN = 0.3
"""A satellite's light up to here is no outlier."""


@dataclass(frozen=True, eq=False)
class Oracle:
    """The best stack on the grid of one light, planes (p, rows, cols), in DN above the air and above the sky."""

    image: np.ndarray
    variance: np.ndarray
    """Of the samples, before interpolation lowered it."""
    stars: np.ndarray
    """The stars alone without noise, by the mean point spread function of the samples."""
    whole: np.ndarray
    """(rows, cols) bool, where every light has a sample, but for single pixels."""
    touched: np.ndarray
    """(rows, cols) bool, where a light has an outlier or a defect within 3 pixels."""
    weights: np.ndarray
    """(lights,) in the middle of the field, the sum is 1."""


@cache
def lanczos5() -> np.ndarray:
    """Weights of ten taps at 4096 phases, each with sum 1: (4097, 10) float64."""
    x = np.arange(TAPS)[None, :] - (REACH - 1) - np.arange(PHASES + 1)[:, None] / PHASES
    table = np.where(np.abs(x) < REACH, np.sinc(x) * np.sinc(x / REACH), 0.0)
    return table / table.sum(axis=1, keepdims=True)


@njit(nogil=True, cache=True)
def resample(image, matrix, table, out):
    """Fill out (h, w) with `image` (rows, cols) at the positions that a 3x3 matrix gives, by ten taps along each axis.

    Missing pixels (NaN) are left out and the others take over; NaN where one of the nearest 2 x 2 is missing.
    """
    rows, cols = image.shape
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
            v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
            iu, iv = int(np.floor(u)), int(np.floor(v))
            out[y, x] = np.nan
            if iu < 4 or iv < 4 or iu >= cols - 5 or iv >= rows - 5:
                continue
            near = image[iv, iu] + image[iv + 1, iu] + image[iv, iu + 1] + image[iv + 1, iu + 1]
            if near != near:
                continue
            p, r, total, kept = int((u - iu) * 4096 + 0.5), int((v - iv) * 4096 + 0.5), 0.0, 0.0
            for j in range(10):
                for i in range(10):
                    sample, weight = image[iv + j - 4, iu + i - 4], table[r, j] * table[p, i]
                    if sample == sample:
                        total += weight * sample
                        kept += weight
            out[y, x] = total / kept


def oracle_of(truth: Truth, reference: int, weights=None) -> Oracle:
    """The oracle's stack on the grid of light `reference`; `weights` (lights,) in place of the true ones for a test."""
    shape, planes = truth.night.shape, truth.observatory.camera.letters
    top, bottom, stars = (np.zeros((len(planes), *shape)) for _ in range(3))
    whole, touched, middle = np.ones(shape, bool), np.zeros(shape, bool), []
    dark, flat = masters(truth)
    there = np.linalg.inv(truth.pointings[reference].matrix)
    for pointing in truth.pointings:
        matrix, out = pointing.matrix @ there, np.empty(shape)
        bad = outliers(truth, pointing.index)
        near = ndimage.binary_dilation(bad, iterations=3)
        touched |= ndimage.affine_transform(near, *as_yx(matrix), output_shape=shape, order=0)
        whole &= ndimage.affine_transform(np.ones(shape, bool), *as_yx(matrix), output_shape=shape, order=0)
        images = calibrated(truth, pointing.index, dark, flat, bad)
        for k, letter in enumerate(planes):
            level = sky_dn(truth, pointing, letter)
            air, variance = pointing.transparency, variance_dn(truth, pointing, letter)
            resample((images[k] - level) / air, matrix, lanczos5(), out)
            weight = ndimage.affine_transform(air**2 / variance, *as_yx(matrix), output_shape=shape, order=1)
            weight = weight if weights is None else np.full(shape, weights[pointing.index])
            if k == 0:
                middle.append(weight[shape[0] // 2, shape[1] // 2])
            there_too = np.isfinite(out)
            top[k][there_too] += (weight * out)[there_too]
            bottom[k][there_too] += weight[there_too]
            stars[k] += middle[-1] * starlight_dn(truth, pointing, reference, letter)
    middle = np.array(middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        image, variance = top / bottom, 1 / bottom
    whole = ndimage.binary_erosion(whole, iterations=12)
    return Oracle(image, variance, stars / middle.sum(), whole, touched, middle / middle.sum())


def as_yx(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A 3x3 matrix of (x, y) as what `ndimage.affine_transform` wants: 2x2 of (y, x), and the offset."""
    return matrix[1::-1, 1::-1], matrix[1::-1, 2]


def masters(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Dark that holds the bias, DN, and flat on the scale of the true one: plain means, without cosmic rays."""
    shape = truth.night.shape
    total, count = np.zeros(shape), np.zeros(shape)
    for i, path in enumerate(truth.paths("dark")):
        good = np.ones(shape, bool)
        good.flat[truth.observatory.cosmic_rays("dark", i)[0]] = False
        total += np.where(good, pixels(path), 0)
        count += good
    bias = np.mean([pixels(path) for path in truth.paths("bias")], axis=0)
    flats = [pixels(path) - bias for path in truth.paths("flat")]
    own = truth.observatory.camera.flat(truth.pointings[0].filter)
    flat, response = np.mean([f / f.mean() for f in flats], axis=0), np.ones(shape)
    for y, x in np.ndindex(2, 2):
        cell = np.s_[y::2, x::2]
        response[cell] = np.median(own[cell] / flat[cell])
    return total / count, flat * response


def pixels(path) -> np.ndarray:
    return np.asarray(read(path)[:], np.float64)


def calibrated(truth: Truth, index: int, dark: np.ndarray, flat: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """A light, planes (p, rows, cols) DN before the air; pixels of `bad` are NaN, and true for their neighbours."""
    frame = read(truth.paths("light")[index])
    image = (np.asarray(frame[:], np.float64) - dark) / flat
    if not truth.night.pattern:
        return np.where(bad, np.nan, image)[None]
    camera, pointing = truth.observatory.camera, truth.pointings[index]
    scene = camera.mosaic(sky_dn(truth, pointing, c) + starlight_dn(truth, pointing, index, c) * pointing.transparency
                          for c in camera.letters)  # fmt: skip
    mosaic = np.where(bad, scene, image).astype(np.float32)
    colour = np.asarray(Debayer()(ArrayFrame.of(mosaic, "light", frame.meta))[:], np.float64)
    return np.where(bad, np.nan, colour)


def outliers(truth: Truth, index: int) -> np.ndarray:
    """Pixels of a light that are defective, were struck by a cosmic ray or crossed by a satellite: a bool image."""
    bad, pointing = truth.defects > 0, truth.pointings[index]
    bad.flat[truth.observatory.cosmic_rays("light", index)[0]] = True
    if pointing.trail:
        y, x, dn = trail_profile(truth.night.shape, pointing.trail)
        bad[y[dn > FAINTEST_DN], x[dn > FAINTEST_DN]] = True
    return bad


def sky_dn(truth: Truth, pointing, letter: str, nebula: bool = False) -> np.ndarray:
    """The sky of a light, (rows, cols) DN, without the nebula unless asked for."""
    night, observatory = truth.night, truth.observatory
    grid = observatory.background_e(pointing, letter)
    if not nebula:
        grid = grid - nebula_e(truth, pointing, letter)
    out = np.empty(night.shape)
    for y in range(night.rows):
        upsample_row(grid, y, out[y])
    return out / night.gain_e_per_dn


def nebula_e(truth: Truth, pointing, letter: str) -> np.ndarray:
    """The nebula's part of `background_e`, on the same grid of nodes, electrons."""
    night, observatory = truth.night, truth.observatory
    ny, nx = night.rows // STEP + 4, night.cols // STEP + 4
    y, x = np.meshgrid((np.arange(ny) - 1.0) * STEP, (np.arange(nx) - 1.0) * STEP, indexing="ij")
    share, power = NEBULA[letter]
    shape = observatory.nebula(*apply(np.linalg.inv(pointing.matrix), x, y))
    shape = np.maximum(shape, 0.0) ** power if letter else shape
    brightest = night.nebula_dn * night.throughput(pointing.filter) * pointing.transparency
    return brightest * share * shape * night.gain_e_per_dn * RESPONSE[letter]


def nebula_dn(truth: Truth, index: int, letter: str) -> np.ndarray:
    """The nebula on the grid of a light, above the air, (rows, cols) DN."""
    pointing, out = truth.pointings[index], np.empty(truth.night.shape)
    grid = nebula_e(truth, pointing, letter)
    for y in range(truth.night.rows):
        upsample_row(grid, y, out[y])
    return out / truth.night.gain_e_per_dn / pointing.transparency


def variance_dn(truth: Truth, pointing, letter: str) -> np.ndarray:
    """Variance of a light's calibrated pixels where no star is, (rows, cols) DN^2."""
    night, flat = truth.night, truth.observatory.camera.flat(pointing.filter)
    flat = ndimage.gaussian_filter(flat, 8, mode="nearest")
    light = sky_dn(truth, pointing, letter, nebula=True) * flat * night.gain_e_per_dn
    own = night.dark_e_s * night.exposure_s + night.read_noise_e**2
    return (light + own) / (flat * night.gain_e_per_dn) ** 2


def starlight_dn(truth: Truth, pointing, reference: int, letter: str) -> np.ndarray:
    """The stars above the air as one light blurs them, on the grid of another, (rows, cols) DN."""
    onto = replace(pointing, matrix=truth.pointings[reference].matrix, transparency=1.0)
    return truth.observatory.starlight_e(onto, letter).astype(np.float64) / truth.night.gain_e_per_dn
