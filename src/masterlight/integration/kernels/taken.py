"""Single samples taken out again of weighted means, when the others are no longer at hand."""

import numpy as np

from masterlight.compiled import njit
from masterlight.integration.kernels.combine import mean_variance
from masterlight.integration.kernels.residuals import level_row


@njit(nogil=True, cache=True, error_model="numpy")
def levels_at(levels, flat, width, rows, cols, out):
    """The levels of a frame at single pixels: out (n,) float32 for flat (n,), y * width + x.

    levels and rows, cols: as `residuals.level_row` takes them.
    """
    for k in range(flat.size):
        y, x = np.int64(flat[k]) // width, np.int64(flat[k]) % width
        level_row(levels, y, x, rows, cols, out[k : k + 1])


@njit(nogil=True, cache=True, error_model="numpy")
def take_out(at, samples, levels, own, mean, sums, scattered):
    """Take one frame's samples (n,) out of the means at the places `at` (n,), and put its sky, over the mean, there.

    levels (n,): how much higher its sky is than the mean; own (4,) the frame's weight w, w^2, w^2 times the variance
    of a sample, w^2 times its variance per DN; mean (T,) float64; sums (4, T) float64 of those four over the samples
    that are in; scattered (T,) float64, sum w^2 (x - mean)^2 over the same: right for equal weights.
    """
    w = own[0]
    for k in range(at.size):
        j = at[k]
        off, whole, rest = samples[k] - mean[j], sums[0, j], sums[0, j] - w
        scattered[j] = max(0.0, scattered[j] - w * w * off * off * whole / rest)
        mean[j] -= w * (off - levels[k]) / rest
        for row in range(4):
            sums[row, j] -= own[row]


@njit(nogil=True, cache=True, error_model="numpy")
def variances(sums, scattered, count, light, over, flat, excess, fraction, out):
    """Fill out (T,) float32 with the variance of means: see `combine.mean_variance`.

    sums, scattered: as in `take_out`; count (T,) samples that are in; light (T,) float32 the height of the mean above
    the sky; over, flat (T,): by how much the variance of the sky, and of light, is greater there.
    """
    for k in range(out.size):
        n, whole, squares = int(count[k]), np.float32(sums[0, k]), np.float32(sums[1, k])
        dark, photon = over[k] * np.float32(sums[2, k]), flat[k] * np.float32(sums[3, k])
        spare, found = whole * whole - squares, np.float32(scattered[k])
        above, moved = light[k], np.float32(fraction)
        out[k] = mean_variance(n >= 3, excess[n], found, squares, spare, dark, photon, above, moved)
