"""Slow, obvious twin of `masterlight.core.statistics.rounding`."""

import numpy as np


def fill_dither(normal, step, out):
    mask = (1 << 64) - 1
    for i in range(out.size):
        h = i * 0x9E3779B97F4A7C15 & mask
        h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93 & mask
        out[i] = normal[(h ^ (h >> 32)) & 0xFFFF] * np.float32(step)
