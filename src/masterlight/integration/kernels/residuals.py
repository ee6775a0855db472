"""What frames have over their mean, added up in bins of 8 x 8 pixels: there lines show that no single pixel does."""

import numpy as np

from masterlight.compiled import njit

SIDE = 8
"""Pixels along the side of a bin, which are counted from the first pixel of the image."""
MANY = 16_000_000
"""Pixels from which on every second row is enough: lines are long there."""
STEPS = 16
"""Samples are counted in steps of 1 / STEPS of their frame's noise: whole numbers, whose sums know no order."""
FAR = 4.0
"""No sample counts for more than so many times its frame's noise: rays, stars that the seeing changed."""
UNIT = 8
"""Scores are whole numbers of 1 / UNIT sigma of a bin."""
MOST = 4
"""Sigma of a bin that count at most: stars, and what is left of them."""
FEWEST = 16
"""Bins that tell the level of a square."""
VOID = -4000
"""A bin below this holds missing samples: each part of it that does adds twice as much, and others cannot make up."""
WITHIN = 1.2945
"""Sigma over the mean size of normal numbers within 2.5 sigma."""
ROUNDER = np.float32(3 * 2**22)
"""A float32 to which this is added is a whole number, and still is when it is taken off again."""


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def bin_residuals(samples, image, scale, offset, noise, box, every, out):
    """Add what the samples of a box have over the combined image to the bins that it reaches into.

    samples (N, h * w) float32 as they are combined after scale (N,) and offset (N,); image (h * w,), their mean;
    noise (N,), the sigma of one sample of each frame; box (y0, y1, x0, x1). Only each `every`th row of the image
    counts. out (N, rows, cols) int16, in steps,
    begins with the bin that holds the first pixel of the box. A bin with a missing sample ends
    below VOID.
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
            for y in range(-(-top // every) * every - y0, end - y0, every):
                row, mean = samples[i, y * width : (y + 1) * width], image[y * width : (y + 1) * width]
                for x in range(width):
                    r = a * row[x] + b - step * mean[x]
                    r = -most if r < -most else r  # NaN stays
                    r = most if r > most else r
                    line[x] += (r + ROUNDER) - ROUNDER
            x = 0
            while x < width:
                k = (x0 + x) // SIDE
                stop, total = min(width, (k + 1) * SIDE - x0), np.float32(0)
                for c in range(x, stop):
                    total += line[c]
                out[i, j, k - x0 // SIDE] += np.int16(total) if total == total else np.int16(2 * VOID)
                x = stop
        top = end


@njit(nogil=True, cache=True, error_model="numpy")
def level_squares(bins, out):
    """Fill out (down, across) with the mean of the bins (rows, cols) in as many even parts.

    Bins below VOID are set to 0, and those of 0 left out; a part of nearly no others has the mean of the one before it.
    """
    rows, cols = bins.shape
    down, across = out.shape
    before = np.float32(0)
    for j in range(down):
        for k in range(across):
            total, count = np.int64(0), 0
            for y in range(j * rows // down, (j + 1) * rows // down):
                row = bins[y, k * cols // across : (k + 1) * cols // across]
                for x in range(row.size):
                    row[x] = row[x] if row[x] > VOID else 0
                    total += row[x]
                    count += row[x] != 0
            before = np.float32(total / count) if count > FEWEST else before
            out[j, k] = before


@njit(nogil=True, cache=True, error_model="numpy")
def level_row(levels, y, x0, rows, cols, out):
    """Row y of the levels of even squares, with a border of one more, interpolated: out gets its places from x0 on.

    levels (down + 2, across + 2) stand for an image of rows x cols places, float32.
    """
    down, across = levels.shape[0] - 2, levels.shape[1] - 2
    at, pitch = (y + 0.5) * down / rows + 0.5, np.float32(across / cols)
    j, v = int(at), np.float32(at - int(at))
    around = (np.float32(1) - v) * levels[j] + v * levels[j + 1]
    for x in range(out.size):
        place = (np.float32(x0 + x) + np.float32(0.5)) * pitch + np.float32(0.5)
        k = int(place)
        out[x] = around[k] + (place - np.float32(k)) * (around[k + 1] - around[k])


@njit(nogil=True, cache=True, error_model="numpy")
def lost_levels(samples, weights, levels, y0, x0, rows, cols, out):
    """Fill out (h, w) float32 with the weighted levels of what is left out, over the weight of what is there.

    samples (N, h, w) float32: inf or -inf where they are left out, NaN where there are none; weights (N,) float32;
    levels (N, down + 2, across + 2) float32 as those of `level_row`, of the image (rows, cols) in which the box begins
    at (y0, x0).
    """
    n, h, w = samples.shape
    level, kept = np.empty(w, np.float32), np.empty(w, np.float32)
    for y in range(h):
        missed = out[y]
        missed[:] = kept[:] = np.float32(0)
        for i in range(n):
            row, weight, gone = samples[i, y], weights[i], 0
            for x in range(w):
                size = abs(row[x])
                kept[x] += weight if size < np.inf else np.float32(0)
                gone += size == np.inf
            if gone:
                level_row(levels[i], y0 + y, x0, rows, cols, level)
                for x in range(w):
                    missed[x] += weight * level[x] if abs(row[x]) == np.inf else np.float32(0)
        for x in range(w):
            missed[x] /= max(kept[x], np.float32(1e-9))


@njit(nogil=True, cache=True, error_model="numpy")
def usual_size(over):
    """The sigma of what bins (rows, cols) float32 have over their level, from each fourth row; 0 is no bin.

    From the mean without regard to sign, then from that of those within 2.5 of it, thrice: stars widen it little.
    """
    limit = np.float32(np.inf)
    sigma = np.float32(0)
    for turn in range(4):
        total, count = 0.0, 0
        for y in range(0, over.shape[0], 4):
            for x in range(over.shape[1]):
                size = abs(over[y, x])
                inside = (size > 0) & (size < limit)
                total += size if inside else np.float32(0)
                count += inside
        sigma = np.float32(total / max(count, 1) * (WITHIN if turn else 1.2533))
        limit = np.float32(2.5) * sigma
    return sigma


@njit(nogil=True, cache=True, error_model="numpy")
def score_bins(bins, levels, weight, out):
    """Add to out (rows, cols) float32 what bins have over their level, times `weight`, by its usual size.

    A bin of 0 holds no samples, and adds nothing.
    """
    rows, cols = bins.shape
    over, line = np.empty((rows, cols), np.float32), np.empty(cols, np.float32)
    for y in range(rows):
        level_row(levels, y, 0, rows, cols, line)
        for x in range(cols):
            over[y, x] = np.float32(bins[y, x]) - line[x] if bins[y, x] != 0 else np.float32(0)
    usual = np.float32(weight / max(usual_size(over), 1e-3))
    for y in range(rows):
        for x in range(cols):
            out[y, x] += usual * over[y, x]


@njit(nogil=True, cache=True, error_model="numpy")
def round_scores(scores, out):
    """Scores (rows, cols) float32 in sigma as whole numbers of 1 / UNIT, no more than MOST sigma: out, int16."""
    most = np.float32(UNIT * MOST)
    for y in range(scores.shape[0]):
        for x in range(scores.shape[1]):
            out[y, x] = np.int16(np.rint(min(max(np.float32(UNIT) * scores[y, x], -most), most)))


@njit(nogil=True, cache=True, error_model="numpy")
def calm_down(scores, shown):
    """Divide scores (N, rows, cols) by the scatter of the other frames' where that is large, in place: on stars.

    shown (rows, cols) int32: how many frames have each bin.
    """
    frames, rows, cols = scores.shape
    usual = UNIT * UNIT
    squares = np.empty(cols, np.int32)
    for y in range(rows):
        squares[:] = 0
        for i in range(frames):
            row = scores[i, y]
            for x in range(cols):
                squares[x] += np.int32(row[x]) * np.int32(row[x])
        for x in range(cols):
            n = shown[y, x]
            if squares[x] > usual * (n + 3.0 * np.sqrt(2.0 * n)):
                for i in range(frames):
                    s = np.float64(scores[i, y, x])
                    others = (squares[x] - s * s + 4.0 * usual) / ((n + 3.0) * usual)
                    scores[i, y, x] = np.int16(np.rint(s / np.sqrt(max(1.0, others))))
