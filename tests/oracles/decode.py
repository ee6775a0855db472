"""Slow, obvious twins of `masterlight.core.decode`."""

import numpy as np


def decode_int16(stored, zero, scale, swapped):
    values = (stored.byteswap() if swapped else stored).view(np.int16)
    return (np.float32(zero) + np.float32(scale) * values.astype(np.float32)).astype(np.float32)


def decode_float32(stored, swapped):
    values = (stored.byteswap() if swapped else stored).view(np.float32)
    return np.where(np.isinf(values), np.float32(np.nan), values)


def row_sums(stored):
    totals = [sum(int(value) * (2 * x + 1) for x, value in enumerate(row)) for row in stored]
    return [max(1, total & 0xFFFFFFFF ^ total >> 32) for total in totals]
