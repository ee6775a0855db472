"""Which pixels have company: discs counted over sparse maps, for medians and dilations of binary images."""

import numpy as np
from numba import njit


def disc(diameter):
    """Half widths of the rows of a disc, from its top row to its lowest: pixels whose centre is within diameter / 2."""
    reach = diameter // 2
    dy = np.arange(-reach, reach + 1)
    return np.floor(np.sqrt((diameter / 2) ** 2 - dy.astype(float) ** 2)).astype(np.int64)


def row_starts(flat, rows, cols):
    """Where each row begins in a sorted list of flat indices: (rows + 1,) int64."""
    return np.searchsorted(flat, np.arange(rows + 1, dtype=np.uint64) * np.uint64(cols)).astype(np.int64)


@njit(nogil=True, cache=True)
def crowded(flat, starts, rows, cols, half_widths, fraction):
    """The pixels of which more than `fraction` of the surrounding disc is set; 0.5 is a median, 0 a dilation.

    flat (n,) uint32: the pixels that are set, sorted indices y * cols + x; starts as `row_starts` gives them;
    half_widths as `disc` gives them. The part of a disc that lies outside of the image is not counted. Returns sorted
    flat indices, uint32.
    """
    reach = half_widths.size // 2
    full = 0
    for h in half_widths:
        full += 2 * h + 1
    out = np.empty(max(1024, 2 * flat.size), np.uint32)
    found = 0
    change = np.zeros(cols + 1, np.int32)
    for y in range(rows):
        top, end = max(0, y - reach), min(rows, y + reach + 1)
        if starts[end] == starts[top]:
            continue
        first, last = cols, 0
        for v in range(top, end):
            h = half_widths[v - y + reach]
            for i in range(starts[v], starts[v + 1]):
                x = np.int64(flat[i]) - v * cols
                low, high = max(0, x - h), min(cols, x + h + 1)
                change[low] += 1
                change[high] -= 1
                first, last = min(first, low), max(last, high)
        if found + cols > out.size:
            out = np.concatenate((out, np.empty(out.size + cols, np.uint32)))
        count = 0
        for x in range(first, last):
            count += change[x]
            change[x] = 0
            if count > fraction * full:
                out[found] = y * cols + x
                found += 1
            elif count and (end - top <= 2 * reach or x < reach or x >= cols - reach):
                inside = 0
                for v in range(top, end):
                    h = half_widths[v - y + reach]
                    inside += min(cols, x + h + 1) - max(0, x - h)
                if count > fraction * inside:
                    out[found] = y * cols + x
                    found += 1
        change[last] = 0
    return out[:found].copy()
