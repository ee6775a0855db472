"""Slow, obvious twins of `masterlight.kernels.defects`."""

import numpy as np


def replace_defects(image, mask, radius):
    """Each defect becomes the median of the good pixels in the smallest square that holds 5 of them."""
    out = image.copy()
    padded = np.pad(np.where(mask, np.nan, image), radius, constant_values=np.nan)
    for y, x in zip(*np.nonzero(mask), strict=True):
        for r in range(1, radius + 1):
            square = padded[y + radius - r : y + radius + r + 1, x + radius - r : x + radius + r + 1]
            good = square[np.isfinite(square)]
            if good.size >= 5:
                break
        out[y, x] = np.median(good) if good.size >= 3 else np.nan
    return out


def departures(image, rows, columns, radius):
    out = []
    for y, x in zip(rows, columns, strict=True):
        square = image[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1].copy()
        square[min(y, radius), min(x, radius)] = np.nan
        out.append(image[y, x] - np.nanmedian(square) if np.isfinite(square).any() else np.nan)
    return np.array(out)


def outside(image, sky, low, high):
    with np.errstate(invalid="ignore"):
        return np.nonzero(~((image - sky < high) & (image - sky > low)))
