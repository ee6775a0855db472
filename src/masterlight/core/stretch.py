"""An image for the eye: the mean of blocks of its pixels, and a stretch to 8 bits that shows what is faint."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.scale import madn

SHADOWS = -2.8
"""Black point, in normalised median absolute deviations from the median."""
BACKGROUND = 0.25
"""Brightness that the median of the sky gets."""
LONG_SIDE_PX = 2000
SAMPLES = 500_000
"""Pixels of the picture that tell its median: to a thousandth of the noise."""


@dataclass(frozen=True)
class Stretch:
    """Which values become black, middle and white: of one image, for it and for others that shall look alike."""

    black: float
    white: float
    balance: float
    """The share of the way from black to white that becomes a half; a half leaves the image linear."""

    @classmethod
    def of(cls, image: np.ndarray) -> "Stretch":
        """Black at median - 2.8 MADN, white at the brightest pixel; the median of the sky becomes a quarter."""
        finite = image.ravel()[:: max(1, image.size // SAMPLES)]
        finite = finite[np.isfinite(finite)].astype(np.float64)
        if not finite.size:
            return cls(0.0, 0.0, 0.5)
        median, sigma = np.median(finite), madn(finite)
        white = float(np.nanmax(image))
        black = float(max(median + SHADOWS * sigma, finite.min()) if sigma > 0 else finite.min())
        if not white > black:
            return cls(black, black, 0.5)
        x0 = (median - black) / (white - black)
        return cls(black, white, float(midtones(x0, BACKGROUND)) if x0 > 0 else 0.5)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image as uint8; what is missing is black, and an image without any difference the grey of the sky."""
        if not self.white > self.black:
            return np.where(np.isfinite(image), np.uint8(255 * BACKGROUND), np.uint8(0))
        span = np.float32(1 / (self.white - self.black))
        x = np.clip((image - np.float32(self.black)) * span, 0, 1, dtype=np.float32)
        return np.where(np.isfinite(image), np.rint(255 * midtones(x, np.float32(self.balance))), 0).astype(np.uint8)


def preview(array: Any, long_side_px: int = LONG_SIDE_PX, linked: bool = True) -> np.ndarray:
    """Stretch an image so that faint things show, as uint8; measure nothing on it.

    array (rows, cols) or (3, rows, cols), any numbers, NaN becomes black; all planes get the same stretch, or each
    its own when not `linked`: the sky then is grey whatever colour the sensor gives it. Images
    larger than `long_side_px` are reduced by the mean of blocks.
    """
    image = reduce_image(np.asarray(array), long_side_px)
    planes = [image] if linked or image.ndim == 2 else list(image)
    made = [Stretch.of(plane)(plane) for plane in planes]
    return made[0] if len(made) == 1 else np.stack(made)


def midtones(x: Any, balance: float) -> Any:
    """Midtones transfer function: 0, `balance` and 1 become 0, a half and 1."""
    return (balance - 1) * x / ((2 * balance - 1) * x - balance)


def block_px(shape: tuple[int, ...], long_side_px: int) -> int:
    """The side of the blocks whose means make an image of this shape so small that its long side fits."""
    return max(1, -(-max(shape[-2:]) // long_side_px))


def reduce_image(image: np.ndarray, long_side_px: int) -> np.ndarray:
    """The mean of blocks of k x k pixels, NaN left out, k so that the long side fits; the odd rest is cut."""
    return mean_blocks(image, block_px(image.shape, long_side_px))


def mean_blocks(image: np.ndarray, k: int) -> np.ndarray:
    """The mean of blocks of k x k pixels, NaN left out; the odd rest is cut."""
    if k <= 1:
        return image
    rows, cols = (max(1, size // k) for size in image.shape[-2:])
    out = np.empty((*image.shape[:-2], rows, cols), np.float32)
    planes, targets = (image, out) if image.ndim == 3 else (image[None], out[None])
    for plane, target in zip(planes, targets, strict=True):
        block_means(np.ascontiguousarray(plane, np.float32), min(k, plane.shape[0]), min(k, plane.shape[1]), target)
    return out


@njit(nogil=True, cache=True)
def block_means(image, down, across, out):
    """Fill `out` with the means of blocks of down x across pixels of an image, NaN where all of them are missing.

    image (rows, cols) float32, NaN or infinite where missing; out (h, w) float32.
    """
    height, width = out.shape
    total, share = np.empty(width * across, np.float32), np.float32(1.0 / (down * across))
    for i in range(height):
        total[:] = image[i * down, : total.size]
        for y in range(i * down + 1, (i + 1) * down):
            row = image[y]
            for x in range(total.size):
                total[x] += row[x]
        for j in range(width):
            value = np.float32(0)
            for x in range(j * across, (j + 1) * across):
                value += total[x]
            out[i, j] = value * share
            if not np.isfinite(value):  # something is missing
                out[i, j] = mean_of_known(image, i * down, down, j * across, across)


@njit(nogil=True, cache=True, forceinline=True)
def mean_of_known(image, top, down, left, across):
    """The mean of the pixels of a block that are not missing, NaN where all are."""
    total, count = np.float32(0), 0
    for y in range(top, top + down):
        for x in range(left, left + across):
            if np.isfinite(image[y, x]):
                total += image[y, x]
                count += 1
    return total / np.float32(count) if count else np.float32(np.nan)
