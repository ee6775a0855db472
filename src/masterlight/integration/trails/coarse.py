"""Where trails may be among the rejected pixels of a frame: lines on a coarse map, whose scores add up to log odds."""

import numpy as np

from masterlight.compiled import njit
from masterlight.integration.trails.radon import all_lines, join_strips

SCALES = ((4, 3, 5, 0.6), (8, 5, 7, 0.4))
"""Pixels per bin; shortest and longest lines, as powers of two in bins; share of bins that a trail is taken to fill."""
CELL = 32
"""Bins along the side of the squares in which the usual share of filled bins is measured."""
UNIT = 8
"""Scores are whole numbers of 1 / UNIT nat."""
PROMISING = 11.0
"""Nats from which a line on the coarse map is looked at closely."""


def fill_bins(flat, shape, side):
    """Which bins of `side` pixels hold a pixel of the sparse map: uint8 (rows, cols) of bins, 0 or 1."""
    out = np.zeros([-(-size // side) for size in shape], np.uint8)
    out[flat // shape[1] // side, flat % shape[1] // side] = 1
    return out


def clumping(filled):
    """How far rejected pixels come in clumps: the correlation of neighbouring bins, 0 for pixels strewn at random."""
    inner = filled[:-1, :-1]
    total = np.count_nonzero(inner)
    pairs = np.count_nonzero(inner & filled[:-1, 1:]) + np.count_nonzero(inner & filled[1:, :-1])
    share = total / max(1, inner.size)
    if total == 0 or share == 1.0:
        return 0.0
    return max(0.0, (0.5 * pairs / total - share) / (1.0 - share))


@njit(nogil=True, cache=True, error_model="numpy")
def score_bins(filled, cell, share, unit):
    """Each bin's evidence for a trail, whole numbers of 1 / unit nat: filled ones speak for it, empty ones against.

    A trail fills `share` of its bins; chance fills as many as are filled in the 3 x 3 cells around. int16, the shape
    of `filled`.
    """
    rows, cols = filled.shape
    down, across = (rows + cell - 1) // cell, (cols + cell - 1) // cell
    count, area = np.zeros((down, across)), np.zeros((down, across))
    for j in range(down):
        for c in range(across):
            part, total = filled[j * cell : (j + 1) * cell, c * cell : (c + 1) * cell], np.int64(0)
            for y in range(part.shape[0]):
                for x in range(part.shape[1]):
                    total += part[y, x]
            count[j, c], area[j, c] = total, part.size
    out = np.empty(filled.shape, np.int16)
    for j in range(down):
        for c in range(across):
            y0, x0 = max(0, j - 1), max(0, c - 1)
            q = max(count[y0 : j + 2, x0 : c + 2].sum() / area[y0 : j + 2, x0 : c + 2].sum(), 0.003)
            p = max(share, min(2.0 * q, 0.95))
            q = min(q, 0.45)
            hit = np.int16(round(unit * min(np.log(p / q), 4.0)))
            miss = np.int16(round(unit * np.log((1 - p) / (1 - q))))
            for y in range(j * cell, min(rows, j * cell + cell)):
                for x in range(c * cell, min(cols, c * cell + cell)):
                    out[y, x] = hit if filled[y, x] else miss
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def best_lines(sums, tops, height, row0, left, threshold, lines, found):
    """Add the best line of each block of a strip's starting points to `lines`, if it reaches `threshold`.

    lines (n, 5) float32: score, x and y of its first bin, x and y of its last; returns how many there are now.
    """
    size, width = sums.shape
    blocks = (width + height - 1) // height
    for j in range(0, size, height):
        best = np.full(blocks, threshold - 1, np.int32)
        slope, start = np.zeros(blocks, np.int32), np.zeros(blocks, np.int32)
        for s in range(height):
            row = sums[j + s]
            for x in range(width if tops[j + s] >= threshold else 0):
                if row[x] > best[x // height]:
                    best[x // height], slope[x // height], start[x // height] = row[x], s, x
        for b in range(blocks):
            if best[b] >= threshold and found < lines.shape[0]:
                lines[found, 0] = best[b]
                lines[found, 1], lines[found, 2] = start[b] - left, row0 + j
                lines[found, 3], lines[found, 4] = start[b] - left + slope[b], row0 + j + height - 1
                found += 1
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def steep_lines(scores, shortest, longest, threshold):
    """The promising lines of a map of scores that go down and to the right, by no more than one bin per row.

    Their lengths in rows are the powers of two from 2**shortest to 2**longest; (n, 5) float32 as `best_lines`.
    """
    rows, cols = scores.shape
    size = 2**longest
    width = cols + size
    strips = (rows + size - 1) // size
    room = 0
    for k in range(shortest, longest + 1):
        room += strips * (size >> k) * ((width >> k) + 1)
    lines, found = np.empty((room, 5), np.float32), np.int64(0)
    a, b, tops = np.empty((size, width), np.int16), np.empty((size, width), np.int16), np.empty(size, np.int16)
    for row0 in range(0, rows, size):
        part = scores[row0 : row0 + size]
        a[:] = 0
        a[: part.shape[0], size:] = part
        for k in range(1, longest + 1):
            join_strips(a, b, 2 ** (k - 1), size, 0, tops)
            a, b = b, a
            if k >= shortest:
                found = best_lines(a, tops, 2**k, row0, size, threshold, lines, found)
    return lines[:found].copy()


def promising_lines(flat, shape):
    """Where trails may be: (n, 5) float64 score in nats, x0, y0, x1, y1 in pixels of the frame; best first."""
    out = []
    for side, shortest, longest, share in SCALES:
        scores = score_bins(fill_bins(flat, shape, side), CELL, share, UNIT)
        lines = all_lines(scores, lambda view, k=shortest, m=longest: steep_lines(view, k, m, round(PROMISING * UNIT)))
        lines[:, 1:] = (lines[:, 1:] + 0.5) * side - 0.5
        out.append(lines)
    lines = np.concatenate(out)
    lines[:, 0] /= UNIT
    return lines[np.argsort(-lines[:, 0], kind="stable")]
