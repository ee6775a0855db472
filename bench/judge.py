"""How good a stack is, told by the truth: its noise beside its stars, and how evenly it kept their light.

`judged` measures a stack by itself. `against` takes the true scene out of it, and sets what is left beside its stars:
the signal to noise of a point source by the filter that suits both, so that a blur is not counted as depth.
"""

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from scipy import ndimage
from scipy.interpolate import BSpline

from bench.oracle import Oracle, nebula_dn
from masterlight.simulate import Truth
from masterlight.simulate.kernels import render_stars
from masterlight.simulate.observatory import apply

RADIUS_PX, RING_PX = 8, (12, 16)
FAINT_E = 1.0
"""Starlight up to here does not count as a star where the noise is measured."""
FAINT_DN = 4.0
"""Starlight up to here, in one light above the air, is sky; of more only the mean of all lights is subtracted."""
KNOTS_PX = np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 13.0])
"""Radii where the profile of the stars is fitted; it ends at the last."""
STAMP_PX = 17
"""Side of the matched filter."""
KNOT_SKY_PX = 60
"""Knots of the spline that takes the sky of a stack away, whatever it is."""
BOX_PX = 8
TOGETHER = -1
"""The number of the sum of all planes."""


def judged(path: str, truth: Truth) -> dict[str, float]:
    """Noise per pixel in DN above the air, width of the stars, scatter of their fluxes, and whose grid it has.

    The noise is that of 6 x 6 boxes free of stars, times six: an interpolation that blurs gains nothing by it.
    """
    image = np.asarray(fits.getdata(path), np.float32)
    reference, stars = grid_of(image, truth)
    ratio = np.array([aperture(image, s.x_px, s.y_px) for s in stars]) / stars.flux_dn
    scale = np.median(ratio) * truth.pointings[reference].transparency
    sharp = float(np.median([width(image, s.x_px, s.y_px) for s in stars[:150]]))
    image[truth.observatory.starlight_e(truth.pointings[reference]) > FAINT_E] = np.nan
    return {
        "noise_dn": float(box_noise(image) / scale),
        "fwhm_px": sharp,
        "scatter_fraction": float(1.4826 * np.median(np.abs(ratio / np.median(ratio) - 1))),
        "reference": reference,
    }


def grid_of(image: np.ndarray, truth: Truth) -> tuple[int, np.recarray]:
    """The light whose grid the stack lies on, and its stars to measure.

    Its stars are bright where they are expected, and of lights that lie within a pixel of one another those of the
    right one lie nearest to their places.
    """
    found, sky = [], np.nanmedian(image[::5, ::5])
    for pointing in truth.pointings:
        stars = truth.expected_stars(pointing.index)
        stars = stars[stars.peak_dn < 0.4 * truth.night.saturation_dn][:400]
        rows, cols = image.shape
        inside = (np.abs(stars.x_px - cols / 2) < 0.4 * cols) & (np.abs(stars.y_px - rows / 2) < 0.4 * rows)
        stars = stars[inside]
        centres = image[np.rint(stars.y_px).astype(int), np.rint(stars.x_px).astype(int)]
        found.append((float(np.nanmedian((centres - sky) / stars.peak_dn)), pointing.index, stars))
    brightest = max(bright for bright, _, _ in found)
    near = [(off_centre(image, stars), index) for bright, index, stars in found if bright > 0.6 * brightest]
    index = min(near)[1]
    return index, found[index][2]


def off_centre(image: np.ndarray, stars: np.recarray, n: int = 4) -> float:
    """Root mean square over bright stars of how far, in pixels, the light around a star lies from its place."""
    off = []
    for s in stars[:60]:
        i, j = round(s.y_px), round(s.x_px)
        box = image[i - n : i + n + 1, j - n : j + n + 1]
        light = np.clip(box - np.nanmedian(image[i - 3 * n : i + 3 * n + 1, j - 3 * n : j + 3 * n + 1]), 0, None)
        y, x = np.mgrid[i - n : i + n + 1, j - n : j + n + 1]
        total = np.nansum(light)
        off.append((np.nansum(x * light) / total - s.x_px, np.nansum(y * light) / total - s.y_px))
    return float(np.sqrt(np.nanmedian(np.sum(np.square(off), axis=1))))


def width(image: np.ndarray, x: float, y: float) -> float:
    """Full width of a star at half of its maximum, from the area above it."""
    i, j, n = round(y), round(x), RADIUS_PX
    box = image[i - n : i + n + 1, j - n : j + n + 1]
    sky = np.nanmedian(image[i - 2 * n : i + 2 * n + 1, j - 2 * n : j + 2 * n + 1])
    height = (box - sky) / (np.nanmax(box) - sky)
    return float(2 * np.sqrt(np.nansum(np.clip((height - 0.5) / 0.12 + 0.5, 0, 1)) / np.pi))


def aperture(image: np.ndarray, x: float, y: float) -> float:
    """Light within RADIUS_PX above the median of the ring around it."""
    i, j, n = round(y), round(x), RING_PX[1] + 1
    box = image[i - n : i + n + 1, j - n : j + n + 1]
    yy, xx = np.mgrid[i - n : i + n + 1, j - n : j + n + 1]
    r = np.hypot(xx - x, yy - y)
    inside, ring = r < RADIUS_PX, (r > RING_PX[0]) & (r < RING_PX[1])
    return float(np.sum(box[inside], dtype=np.float64) - inside.sum() * np.nanmedian(box[ring]))


def box_noise(image: np.ndarray, n: int = 6) -> float:
    """Noise per pixel in the middle of the image, from three boxes of n x n pixels in a row, against a line."""
    rows, cols = (s // 4 // (3 * n) * 3 * n for s in image.shape)
    middle = image[rows : 3 * rows, cols : 3 * cols]
    boxes = middle.reshape(2 * rows // n, n, 2 * cols // n, n).mean(axis=(1, 3), dtype=np.float64)
    bend = boxes[:, ::3] - 2 * boxes[:, 1::3] + boxes[:, 2::3]
    bend = bend[np.isfinite(bend)]
    return float(n * 1.4826 * np.median(np.abs(bend)) / np.sqrt(6))


@dataclass(frozen=True, eq=False)
class Rest:
    """What is left of one plane of a stack without the true scene, on the scale above the air, DN."""

    sky: np.ndarray
    """(rows, cols), NaN under stars and where not every light has samples."""
    whole: np.ndarray
    """(rows, cols), stars subtracted and kept."""
    psf: np.ndarray
    """(13 x 8 + 1) the mean light per pixel of a star of unit flux, every 1/8 px of radius."""
    stamps: np.ndarray
    """(phases, STAMP_PX ** 2) that star, as it falls on pixels."""
    scale: float
    """DN of the stack for a DN above the air."""

    @property
    def fwhm_px(self) -> float:
        below = int(np.argmax(self.psf < self.psf[0] / 2))
        a, b = self.psf[below - 1], self.psf[below]
        return float(2 * (below - 1 + (a - self.psf[0] / 2) / (a - b)) / 8)

    @property
    def point_snr(self) -> float:
        """Signal to noise of a star of 1 DN by the filter that suits its light and the noise of the sky around it.

        Root of p^T C^-1 p, with the covariance C of pixels as far apart as the filter is wide.
        """
        covariance = covariance_of(self.sky, STAMP_PX)
        return float(np.mean([np.sqrt(p @ np.linalg.solve(covariance, p)) for p in self.stamps]))


def against(stack: dict[str, np.ndarray], truth: Truth, oracle: Oracle, best: list[Rest], reference: int) -> dict:
    """A stack against the oracle's: the means over its planes of what `compared` gives."""
    planes = stack["image"].reshape(-1, *stack["image"].shape[-2:])
    told = []
    for k, image in enumerate(planes):
        rest = rest_of(image, truth, oracle, reference, k)
        maps = {name: value.reshape(-1, *value.shape[-2:])[k] for name, value in stack.items()}
        told.append(compared(rest, best[k], oracle, maps, k, truth, reference))
    figures = {name: float(np.mean([t[name] for t in told])) for name in told[0]}
    if len(planes) > 1:
        rests = [rest_of(p.sum(axis=0), truth, oracle, reference, TOGETHER) for p in (planes, oracle.image)]
        figures["sum"] = rests[0].point_snr / rests[1].point_snr
    return figures


def compared(rest: Rest, best: Rest, oracle: Oracle, maps: dict, k: int, truth: Truth, reference: int) -> dict:
    """Figures of one plane as ratios to the oracle's; what a stack does not tell is NaN."""
    z = rest.sky / np.sqrt(oracle.variance[k])
    z /= 1.4826 * np.nanmedian(np.abs(z))
    mpx = np.isfinite(z).sum() / 1e6
    figures = {
        "mf": rest.point_snr / best.point_snr,
        "fwhm": rest.fwhm_px / best.fwhm_px,
        "boxes": box_rms(rest.sky) / box_rms(best.sky),
        "scatter": scatter(rest, truth, reference, k) / scatter(best, truth, reference, k),
        "low": np.nansum(z < -6) / mpx,
        "high": np.nansum(z > 6) / mpx,
        "z": np.nan,
        "lost": np.nan,
    }
    if "VARIANCE" in maps:
        figures["z"] = clipped_rms(rest.sky * rest.scale / np.sqrt(maps["VARIANCE"]))
    if "REJ_LOW" in maps:
        clean = oracle.whole & ~oracle.touched
        figures["lost"] = 100 * float(np.mean((maps["REJ_LOW"] + maps["REJ_HIGH"])[clean]))
    return figures


def rest_of(image: np.ndarray, truth: Truth, oracle: Oracle, reference: int, k: int = 0) -> Rest:
    """Take the true scene out of plane k of a stack on the grid of a light, by the stack's own scale and profile.

    The profile is the true mean one of all lights plus rings, dipoles and quadrupoles fitted to bright stars: nothing
    is assumed of how a stack blurs, but that it does so everywhere alike.
    """
    stars, (x, y, flux) = plane(oracle.stars, k), catalogue(truth, reference, k)
    nebula = sum(nebula_dn(truth, reference, letter) for letter in letters_of(truth, k))
    full = truth.night.saturation_dn - 2 * truth.night.bias_dn - 2 * truth.night.sky_dn
    burnt = ndimage.binary_dilation(stars > 0.5 * full, iterations=25)
    image = np.where(oracle.whole & ~burnt, np.asarray(image, float), np.nan)
    bright = chosen(image, stars, x, y)
    ratio = [aperture(image, *at) / aperture(stars, *at) for at in zip(x[bright], y[bright], strict=True)]
    scale, sky = float(np.nanmedian(ratio)), stars < FAINT_DN
    model, sigma = np.zeros(image.shape), np.sqrt(np.nanmedian(plane(oracle.variance, k)))
    for _ in range(3):
        left = image / scale - stars - nebula
        smooth = smooth_sky(np.where(sky, left - model, np.nan))
        profile = fitted(left - smooth, stars, sigma, x[bright], y[bright], flux[bright])
        model, total = rendered(profile, image.shape, x, y, flux), 1 + light_of(profile)
        scale *= total
    left = (left - smooth - model) / total
    psf, stamps = shapes(truth, oracle, profile)
    return Rest(np.where(sky, left, np.nan), left, psf / total, stamps / total, scale)


def plane(planes: np.ndarray, k: int) -> np.ndarray:
    """Plane k, or the sum of them."""
    return planes.sum(axis=0) if k == TOGETHER else planes[k]


def letters_of(truth: Truth, k: int) -> tuple[str, ...]:
    """The colours that plane k saw."""
    letters = truth.observatory.camera.letters
    return letters if k == TOGETHER else letters[k : k + 1]


def catalogue(truth: Truth, reference: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stars on the grid of a light: x, y in pixels and flux in DN above the air of plane k, brightest first."""
    stars, pointing = truth.observatory.catalogue, truth.pointings[reference]
    x, y = apply(pointing.matrix, stars["x"], stars["y"])
    flux_e = sum(truth.observatory.flux_e(pointing.filter, letter) for letter in letters_of(truth, k))
    return x, y, flux_e / truth.night.gain_e_per_dn


def chosen(image: np.ndarray, stars: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the brightest 150 stars around which all pixels are good, no brighter star being near."""
    found, n, (rows, cols) = [], RING_PX[1] + 2, image.shape
    for i in range(len(x)):
        a, b = round(y[i]), round(x[i])
        if not (n <= a < rows - n and n <= b < cols - n) or np.isnan(image[a - n : a + n, b - n : b + n]).mean() > 0.02:
            continue
        if stars[a - n : a + n, b - n : b + n].max() > 1.02 * stars[a - 1 : a + 2, b - 1 : b + 2].max():
            continue
        found.append(i)
        if len(found) == 150:
            break
    return np.array(found)


def smooth_sky(image: np.ndarray, n: int = BOX_PX) -> np.ndarray:
    """A bicubic spline with knots every KNOT_SKY_PX, by least squares through means of boxes; 4 sigma are clipped."""
    rows, cols = (s // n for s in image.shape)
    cells = image[: rows * n, : cols * n].reshape(rows, n, cols, n)
    there = np.isfinite(cells)
    count, y, x = there.sum(axis=(1, 3)), *np.mgrid[: rows * n, : cols * n]
    good = count > n
    v, u, mean = (
        np.where(there, q.reshape(cells.shape), 0).sum(axis=(1, 3))[good] / count[good] for q in (y, x, cells)
    )
    down, across = (splines(q, size) for q, size in ((v, image.shape[0]), (u, image.shape[1])))
    design, weight = (down[:, :, None] * across[:, None, :]).reshape(len(v), -1), np.sqrt(count[good])
    for _ in range(2):
        left, right = (design * weight[:, None]), mean * weight
        fit = np.linalg.solve(left.T @ left + 1e-6 * np.eye(design.shape[1]), left.T @ right)
        off = np.abs(mean - design @ fit) * np.sqrt(count[good])
        weight = np.sqrt(count[good]) * (off < 4 * 1.4826 * np.median(off))
    down, across = (splines(np.arange(size), size) for size in image.shape)
    return down @ fit.reshape(down.shape[1], -1) @ across.T


def splines(at: np.ndarray, size: int) -> np.ndarray:
    """Cubic B-splines over 0 .. size with knots about KNOT_SKY_PX apart, at positions: (positions, splines)."""
    inner = np.linspace(-0.5, size - 0.5, max(2, round(size / KNOT_SKY_PX)) + 1)
    return BSpline.design_matrix(at, np.r_[[inner[0]] * 3, inner, [inner[-1]] * 3], 3).toarray()


def basis(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Rings, dipoles and quadrupoles around a star: (..., terms); each is a hat over the radius between two knots."""
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    eye = np.eye(len(KNOTS_PX))
    hats = np.stack([np.interp(r, KNOTS_PX, eye[j]) for j in range(len(KNOTS_PX) - 1)], axis=-1)
    turns = [np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)]
    return np.concatenate([hats, *(hats[..., 1:] * turn[..., None] for turn in turns)], axis=-1)


def patch(shape: tuple[int, int], x: float, y: float) -> tuple:
    """The pixels around a star: slices, and their distances dx, dy from it."""
    n, a, b = int(KNOTS_PX[-1]), round(y), round(x)
    rows, cols = slice(max(0, a - n), min(shape[0], a + n + 1)), slice(max(0, b - n), min(shape[1], b + n + 1))
    dy, dx = np.mgrid[rows, cols]
    return (rows, cols), dx - x, dy - y


def fitted(left: np.ndarray, stars: np.ndarray, sigma: float, x, y, flux) -> np.ndarray:
    """Coefficients of `basis` for a star of unit flux, by least squares over the stars given."""
    rows, values = [], []
    for x0, y0, light in zip(x, y, flux, strict=True):
        where, dx, dy = patch(left.shape, x0, y0)
        good = np.isfinite(left[where]) & (np.hypot(dx, dy) < KNOTS_PX[-1])
        weight = 1 / np.sqrt(sigma**2 + stars[where] + (0.01 * stars[where]) ** 2)[good]
        rows.append(light * basis(dx[good], dy[good]) * weight[:, None])
        values.append(left[where][good] * weight)
    design, right = np.concatenate(rows), np.concatenate(values)
    square = design.T @ design
    return np.linalg.solve(square + 1e-9 * np.diag(np.diag(square)), design.T @ right)


def rendered(profile: np.ndarray, shape: tuple[int, int], x, y, flux) -> np.ndarray:
    """What a fitted profile adds to all stars, (rows, cols) DN."""
    out, n = np.zeros(shape), KNOTS_PX[-1]
    for x0, y0, light in zip(x, y, flux, strict=True):
        if -n < x0 < shape[1] - 1 + n and -n < y0 < shape[0] - 1 + n:
            where, dx, dy = patch(shape, x0, y0)
            out[where] += light * (basis(dx, dy) @ profile)
    return out


def light_of(profile: np.ndarray) -> float:
    """Total light of a fitted profile: that of its rings."""
    r = np.linspace(0, KNOTS_PX[-1], 4001)
    rings = np.interp(r, KNOTS_PX, [*profile[: len(KNOTS_PX) - 1], 0])
    return float(np.trapezoid(2 * np.pi * r * rings, r))


def shapes(truth: Truth, oracle: Oracle, profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A star of unit flux with a fitted profile added: its mean profile every 1/8 px, and as pixels in four phases."""
    n, r = STAMP_PX // 2, np.arange(8 * 13 + 1) / 8
    stamps = []
    for x, y in ((n, n), (n + 0.5, n), (n, n + 0.5), (n + 0.5, n + 0.5)):
        dy, dx = np.mgrid[:STAMP_PX, :STAMP_PX]
        stamps.append((star(truth, oracle, STAMP_PX, x, y) + basis(dx - x, dy - y) @ profile).ravel())
    psf = np.zeros(r.shape)
    turns = [(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4]
    for c, s in turns:
        fine = [star(truth, oracle, 1, -c * q, -s * q)[0, 0] for q in r]
        psf += (np.array(fine) + basis(r * c, r * s) @ profile) / len(turns)
    return psf, np.array(stamps)


def star(truth: Truth, oracle: Oracle, side: int, x: float, y: float) -> np.ndarray:
    """A star of unit flux at (x, y) of a stamp, blurred as the mean of all lights, integrated over pixels."""
    night, out = truth.night, np.zeros((side, side), np.float32)
    for pointing, weight in zip(truth.pointings, oracle.weights, strict=True):
        alpha = pointing.fwhm_px / (2 * np.sqrt(2 ** (1 / night.beta) - 1))
        at, light, wide = np.array([[float(x)], [float(y)]]), np.array([float(weight)]), alpha * pointing.elongation
        render_stars(out, at[0], at[1], light, wide, alpha, pointing.angle_rad, night.beta, 1e-12)
    return out.astype(float)


def covariance_of(image: np.ndarray, side: int) -> np.ndarray:
    """Covariance of the pixels of a box of `side` px, from all pairs that are there and within 6 sigma."""
    image = image - np.nanmean(image)
    image = np.where(np.abs(image) < 6 * 1.4826 * np.nanmedian(np.abs(image)), image, np.nan)
    there = np.isfinite(image)
    size = [n + side for n in image.shape]
    power = [np.abs(np.fft.rfft2(plane, size)) ** 2 for plane in (np.where(there, image, 0.0), there.astype(float))]
    products, pairs = (np.fft.irfft2(p, size) for p in power)
    lags = products / np.maximum(pairs, 1)
    first, second = (np.arange(side**2) // side, np.arange(side**2) % side)
    return lags[first[:, None] - first[None, :], second[:, None] - second[None, :]]


def clipped_rms(values: np.ndarray, limit: float = 5.0) -> float:
    """Root of the mean square of what lies within `limit`, missing values left out."""
    values = values[np.abs(values) < limit]
    return float(np.sqrt(np.mean(values**2)))


def box_rms(image: np.ndarray, n: int = BOX_PX) -> float:
    """Scatter of the means of boxes of n x n px with at least 3/4 of their pixels, times n."""
    rows, cols = (s // n for s in image.shape)
    cells = image[: rows * n, : cols * n].reshape(rows, n, cols, n)
    there = np.isfinite(cells).sum(axis=(1, 3))
    means = np.nansum(cells, axis=(1, 3)) / np.maximum(there, 1)
    means = (means * np.sqrt(there))[there >= 0.75 * n * n]
    sigma = 1.4826 * float(np.median(np.abs(means)))
    return clipped_rms(means / sigma) * sigma


def scatter(rest: Rest, truth: Truth, reference: int, k: int) -> float:
    """Scatter of the light of bright stars, as a fraction: what is left of each in an aperture over what it gave."""
    x, y, flux = catalogue(truth, reference, k)
    found, n, (rows, cols) = [], RING_PX[1] + 1, rest.whole.shape
    for x0, y0, light in zip(x[:400], y[:400], flux[:400], strict=True):
        if n < x0 < cols - 1 - n and n < y0 < rows - 1 - n:
            found.append(aperture(rest.whole, x0, y0) / light)
    found = np.array(found)
    found = found[np.isfinite(found)]
    return float(1.4826 * np.median(np.abs(found - np.median(found))))
