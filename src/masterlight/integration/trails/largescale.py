"""What clipping leaves of a satellite's trail or of a reflection: whole structures in maps of rejected pixels."""

import numpy as np

from masterlight.compiled import njit
from masterlight.integration.rejection import LargeScaleRejection
from masterlight.integration.stack import Grown, Trail
from masterlight.integration.trails.lines import find_lines
from masterlight.integration.trails.strips import row_starts


def grown(settings: LargeScaleRejection, low: np.ndarray, high: np.ndarray, shape: tuple[int, int]) -> Grown:
    """What else is to be rejected in a frame: see `LargeScaleRejection.grown`."""
    low, high = np.ascontiguousarray(low, np.uint32), np.ascontiguousarray(high, np.uint32)
    none = bands = np.empty(0, np.uint32)
    more_low = large(low, shape, settings.layers_low, settings.growth_low) if settings.low else none
    more_high = large(high, shape, settings.layers_high, settings.growth_high) if settings.high else none
    lines = ()
    if settings.trails:
        bands, lines = find_lines(high, shape, settings.trail_sigma, settings.trail_growth_px)
    trails = tuple(Trail(*line) for line in lines)
    found = (more_low, low), (np.union1d(more_high, bands), high)
    return Grown(*(np.setdiff1d(more, known, assume_unique=True) for more, known in found), trails)


def large(flat: np.ndarray, shape: tuple[int, int], layers: int, growth: int) -> np.ndarray:
    """The large structures of a sparse binary map, grown: those that outlive medians of diameter 3, 5, 9 ... pixels."""
    for layer in range(layers):
        flat = crowded_pixels(flat, row_starts(flat, *shape), *shape, disc(2 ** (layer + 1) + 1), 0.5)
    return crowded_pixels(flat, row_starts(flat, *shape), *shape, disc(2 * growth + 1), 0.0)


def disc(diameter):
    """Half widths of the rows of a disc, from its top row to its lowest: pixels whose centre is within diameter / 2."""
    reach = diameter // 2
    dy = np.arange(-reach, reach + 1)
    return np.floor(np.sqrt((diameter / 2) ** 2 - dy.astype(float) ** 2)).astype(np.int64)


@njit(nogil=True, cache=True)
def crowded_pixels(flat, starts, rows, cols, half_widths, fraction):
    """The pixels of which more than `fraction` of the surrounding disc is set; 0.5 is a median, 0 a dilation.

    flat (n,) uint32: the pixels that are set, sorted indices y * cols + x; starts as `row_starts` gives them;
    half_widths as `disc` gives them. The part of a disc that lies outside of the image is not counted. Returns sorted
    flat indices, uint32.
    """
    reach = half_widths.size // 2
    full = np.sum(2 * half_widths + 1)
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
