"""Slow, obvious twins of `masterlight.kernels.calibrate`."""

import numpy as np


def calibrate(stored, swapped, zero, scale, subtract, factor, pedestal):
    values = stored.byteswap() if swapped else stored
    return (zero + scale * values.astype(float) - subtract) * factor + pedestal


def flat_factor(flat, mean, floor):
    return np.where(np.isfinite(flat) & (flat > floor), mean / np.where(flat == 0, 1, flat), np.nan)
