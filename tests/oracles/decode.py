"""Slow, obvious twins of `masterlight.core.decode`."""

import numpy as np


def decode_int16(stored, zero, scale, swapped):
    values = (stored.byteswap() if swapped else stored).view(np.int16)
    return (np.float32(zero) + np.float32(scale) * values.astype(np.float32)).astype(np.float32)


def decode_float32(stored, swapped):
    return (stored.byteswap() if swapped else stored).view(np.float32)
