"""What frames have over their mean, added up in bins of 8 x 8 pixels: there lines show that no single pixel does."""

import numpy as np

from masterlight.compiled import njit

SIDE = 8
"""Pixels along the side of a bin, which are counted from the first pixel of the image."""
STEPS = 16
"""Samples are counted in steps of 1 / STEPS of their frame's noise: whole numbers, whose sums know no order."""
FAR = 4.0
"""No sample counts for more than so many times its frame's noise: rays, stars that the seeing changed."""
ROUNDER = np.float32(3 * 2**22)
"""A float32 to which this is added is a whole number, and still is when it is taken off again."""


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def bin_residuals(samples, image, scale, offset, noise, box, out):
    """Add what the samples of a box have over the combined image to the bins that it reaches into.

    samples (N, h * w) float32 as they are combined after scale (N,) and offset (N,); image (h * w,), their mean;
    noise (N,), the sigma of one sample of each frame; box (y0, y1, x0, x1). out (N, rows, cols) int16, in steps,
    begins with the bin that holds the first pixel of the box. Missing samples count nothing.
    """
    y0, y1, x0, x1 = box
    width, most = x1 - x0, np.float32(FAR * STEPS)
    line = np.empty(width, np.float32)
    top = y0
    while top < y1:
        j = top // SIDE - y0 // SIDE
        end = min(y1, (top // SIDE + 1) * SIDE)
        for i in range(samples.shape[0]):
            step = np.float32(STEPS) / noise[i]
            a, b = scale[i] * step, offset[i] * step
            line[:] = np.float32(0)
            for y in range(top - y0, end - y0):
                row, mean = samples[i, y * width : (y + 1) * width], image[y * width : (y + 1) * width]
                for x in range(width):
                    r = a * row[x] + b - step * mean[x]
                    near = r if r > -most else -most
                    near = near if near < most else most
                    r = near if abs(r) < np.float32(np.inf) else np.float32(0)
                    line[x] += (r + ROUNDER) - ROUNDER
            x = 0
            while x < width:
                k = (x0 + x) // SIDE
                stop, total = min(width, (k + 1) * SIDE - x0), np.float32(0)
                for c in range(x, stop):
                    total += line[c]
                out[i, j, k - x0 // SIDE] += np.int16(total)
                x = stop
        top = end
