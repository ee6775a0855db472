"""Sums along all lines of a map at once: the fast Radon transform of Brady (1998)."""

import numpy as np

from masterlight.compiled import njit


@njit(nogil=True, cache=True, error_model="numpy")
def join_strips(src, dst, height, rows, first, tops):
    """Join the line sums of strips of `height` rows in pairs, as Brady (1998), from the column `first` on.

    tops (size,) gets the greatest of each row of dst.
    """
    width = src.shape[1] - first
    for j in range(0, rows, 2 * height):
        for s in range(2 * height):
            a, b, shift = src[j + s // 2, first:], src[j + height + s // 2, first:], (s + 1) // 2
            into, top = dst[j + s, first:], np.int16(0)
            for x in range(width - shift):
                into[x] = a[x] + b[x + shift]
            for x in range(width - shift, width):
                into[x] = a[x]
            for x in range(width):
                top = max(top, into[x])
            tops[j + s] = top


def all_lines(scores, steep):
    """The lines of scores in all directions, best first: (n, 5) float64.

    `steep` gives those of a map that go down and to the right by no more than a bin per row: their score, x and y of
    the first bin, x and y of the last.
    """
    out = []
    for turned in (False, True):
        upright = turned_over(scores) if turned else scores
        for mirrored in (False, True):
            lines = steep(np.ascontiguousarray(upright[:, ::-1]) if mirrored else upright).astype(np.float64)
            if mirrored:
                lines[:, 1::2] = upright.shape[1] - 1 - lines[:, 1::2]
            out.append(lines[:, [0, 2, 1, 4, 3]] if turned else lines)
    lines = np.concatenate(out)
    return lines[np.argsort(-lines[:, 0], kind="stable")]


@njit(nogil=True, cache=True, error_model="numpy")
def turned_over(scores):
    """Rows for columns, int16, in blocks that stay in the cache."""
    rows, cols = scores.shape
    out = np.empty((cols, rows), np.int16)
    for j in range(0, rows, 32):
        for k in range(0, cols, 32):
            for x in range(k, min(cols, k + 32)):
                for y in range(j, min(rows, j + 32)):
                    out[x, y] = scores[y, x]
    return out
