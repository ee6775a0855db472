"""Pictures for the eye: an automatic stretch to 8 bits, and PNG files."""

from os import PathLike
from typing import Any

import numpy as np

from masterlight.core.statistics.scale import madn
from masterlight.io import atomic

SHADOWS = -2.8
"""Black point, in normalised median absolute deviations from the median."""
BACKGROUND = 0.25
"""Brightness that the median of the sky gets."""
LONG_SIDE_PX = 2000
SAMPLES = 500_000
"""Pixels of the picture that tell its median: to a thousandth of the noise."""


def preview(array: Any, long_side_px: int = LONG_SIDE_PX, linked: bool = True) -> np.ndarray:
    """Stretch an image so that faint things show, as uint8; measure nothing on it.

    array (rows, cols) or (3, rows, cols), any numbers, NaN becomes black; all planes get the same stretch, or each
    its own when not `linked`: the sky then is grey whatever colour the sensor gives it. Images
    larger than `long_side_px` are reduced by the mean of blocks. Black is at median - 2.8 MADN, and the midtones
    transfer function brings the median to a quarter.
    """
    image = reduce_image(np.asarray(array), long_side_px)
    return stretch(image) if linked or image.ndim == 2 else np.stack([stretch(plane) for plane in image])


def stretch(image: np.ndarray) -> np.ndarray:
    """An image stretched to uint8 as one."""
    finite = image.ravel()[:: max(1, image.size // SAMPLES)]
    finite = finite[np.isfinite(finite)].astype(np.float64)
    if not finite.size:
        return np.zeros(image.shape, np.uint8)
    median, sigma = np.median(finite), madn(finite)
    white = float(np.nanmax(image))
    black = max(median + SHADOWS * sigma, finite.min()) if sigma > 0 else finite.min()
    if not white > black:
        return np.where(np.isfinite(image), np.uint8(255 * BACKGROUND), np.uint8(0))
    x = np.clip((image - np.float32(black)) * np.float32(1 / (white - black)), 0, 1, dtype=np.float32)
    x0 = (median - black) / (white - black)
    bright = midtones(x, np.float32(midtones(x0, BACKGROUND))) if x0 > 0 else x
    return np.where(np.isfinite(image), np.rint(255 * bright), 0).astype(np.uint8)


def midtones(x: Any, balance: float) -> Any:
    """Midtones transfer function: 0, `balance` and 1 become 0, a half and 1."""
    return (balance - 1) * x / ((2 * balance - 1) * x - balance)


def reduce_image(image: np.ndarray, long_side_px: int) -> np.ndarray:
    """The mean of blocks of k x k pixels, NaN left out, k so that the long side fits; the odd rest is cut."""
    k = -(-max(image.shape[-2:]) // long_side_px)
    if k <= 1:
        return image
    rows, cols = (max(1, size // k) for size in image.shape[-2:])
    ky, kx = min(k, image.shape[-2]), min(k, image.shape[-1])
    total = np.zeros((*image.shape[:-2], rows, cols), np.float32)
    count = np.zeros(total.shape, np.float32)
    for dy in range(ky):
        for dx in range(kx):
            part = image[..., dy : rows * ky : ky, dx : cols * kx : kx].astype(np.float32)
            good = np.isfinite(part)
            total += np.where(good, part, 0)
            count += good
    with np.errstate(invalid="ignore"):
        return total / np.where(count > 0, count, np.nan)


def write_png(path: str | PathLike[str], array: Any, made_of: str = "") -> None:
    """Write uint8 (rows, cols) or (3, rows, cols) as a PNG file that appears whole or not at all.

    made_of: the key of the product that it shows, by which a picture of the user's is told from one of ours.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    array = np.asarray(array, np.uint8)
    with atomic(path) as file:
        picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(array, 0, -1)) if array.ndim == 3 else array)
        words = PngInfo()
        words.add_text("mlkey", made_of)
        how = {"pnginfo": words} if made_of else {}
        picture.save(file, "PNG", compress_level=2, **how)  # noise hardly packs; level 6 takes 4 times as long
