"""Slow, obvious twins of `masterlight.calibration.kernels`."""

import numpy as np


def calibrate(stored, swapped, zero, scale, lines, level, subtract, dark, k, factor, pedestal):
    values = stored.byteswap() if swapped else stored
    rows, cols = values.shape
    raw = zero + scale * values.astype(float)
    raw = raw - np.resize(lines, rows)[:, None] - np.broadcast_to(level[np.arange(rows) % len(level)], (rows, cols))
    return (raw - subtract - k * dark.astype(float)) * factor + pedestal


def flat_factor(flat, mean):
    mean = mean[np.arange(len(flat)) % len(mean)]
    good = np.isfinite(flat) & (flat > np.maximum(1e-6, 0.01 * mean))
    return np.where(good, mean / np.where(flat == 0, 1, flat), np.nan)


def sum_between(image, low, high):
    inside = image[(image >= low) & (image <= high)].astype(float)
    return inside.sum(), inside.size
