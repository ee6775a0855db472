"""How good a stack is, told by the truth: its noise beside its stars, and how evenly it kept their light."""

import numpy as np
from astropy.io import fits

from masterlight.simulate import Truth

RADIUS_PX, RING_PX = 8, (12, 16)
FAINT_E = 1.0
"""Starlight up to here does not count as a star where the noise is measured."""


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
    """The light whose grid the stack lies on, the one whose stars are brightest in it, and its stars to measure."""
    found, sky = [], np.nanmedian(image[::5, ::5])
    for pointing in truth.pointings:
        stars = truth.expected_stars(pointing.index)
        stars = stars[stars.peak_dn < 0.4 * truth.night.saturation_dn][:400]
        rows, cols = image.shape
        inside = (np.abs(stars.x_px - cols / 2) < 0.4 * cols) & (np.abs(stars.y_px - rows / 2) < 0.4 * rows)
        stars = stars[inside]
        centres = image[np.rint(stars.y_px).astype(int), np.rint(stars.x_px).astype(int)]
        found.append((float(np.nanmedian((centres - sky) / stars.peak_dn)), pointing.index, stars))
    _, index, stars = max(found, key=lambda f: f[0])
    return index, stars


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
