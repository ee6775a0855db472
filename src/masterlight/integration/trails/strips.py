"""Strips of a frame around lines at any angle: which pixels of a sparse map they hold, and how many by chance."""

import numpy as np

from masterlight.compiled import njit


def row_starts(flat, rows, cols):
    """Where each row begins in a sorted list of flat indices: (rows + 1,) int64."""
    return np.searchsorted(flat, np.arange(rows + 1, dtype=np.uint64) * np.uint64(cols)).astype(np.int64)


@njit(nogil=True, cache=True, error_model="numpy")
def bounds(ux, uy, dy, t0, t1, half):
    """Where a row, dy below a line's point, runs inside the strip around that line: lowest and highest x - x of it."""
    low, high = -1e9, 1e9
    if abs(uy) > 1e-9:
        a, b = (dy * ux - half) / uy, (dy * ux + half) / uy
        low, high = min(a, b), max(a, b)
    elif abs(dy * ux) > half:
        return 1.0, 0.0
    if abs(ux) > 1e-9:
        a, b = (t0 - dy * uy) / ux, (t1 - dy * uy) / ux
        low, high = max(low, min(a, b)), min(high, max(a, b))
    elif not t0 <= dy * uy <= t1:
        return 1.0, 0.0
    return low, high


@njit(nogil=True, cache=True, error_model="numpy")
def inside(rows, cols, line):
    """From where to where along a line it runs inside the frame: (t0, t1)."""
    px, py, ux, uy = line
    t0, t1 = -1e9, 1e9
    for p, u, size in ((px, ux, cols), (py, uy, rows)):
        if abs(u) > 1e-9:
            a, b = (-0.5 - p) / u, (size - 0.5 - p) / u
            t0, t1 = max(t0, min(a, b)), min(t1, max(a, b))
    return t0, t1


@njit(nogil=True, cache=True, error_model="numpy")
def along(flat, starts, taken, rows, cols, line, t0, t1, half, index, t, d):
    """The pixels of the sparse map in a strip around a line: where along it and how far beside it they lie.

    line (x, y, ux, uy): a point and a unit vector; t0, t1 the ends along it and half the half width, all in pixels.
    Pixels whose `taken` is set are passed over. Fills index, t, d (as far as they reach) and returns how many.
    """
    px, py, ux, uy = line
    reach = abs(ux) * half
    first = max(0, int(np.ceil(py + min(t0 * uy, t1 * uy) - reach)))
    last = min(rows - 1, int(np.floor(py + max(t0 * uy, t1 * uy) + reach)))
    found = 0
    for y in range(first, last + 1):
        low, high = bounds(ux, uy, y - py, t0, t1, half)
        low, high = np.ceil(px + low), np.floor(px + high)
        if low > high:
            continue
        a = starts[y] + np.searchsorted(flat[starts[y] : starts[y + 1]], y * cols + max(0.0, low))
        end = y * cols + min(cols - 1.0, high)
        while a < starts[y + 1] and flat[a] <= end and found < t.size:
            if not taken[a]:
                dx, dy = np.int64(flat[a]) - y * cols - px, y - py
                index[found], t[found], d[found] = a, dx * ux + dy * uy, dy * ux - dx * uy
                found += 1
            a += 1
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def band(rows, cols, line, t0, t1, half):
    """The pixels whose centre lies in a strip: sorted flat indices, uint32; line, t0, t1, half as in `along`."""
    px, py, ux, uy = line
    reach = abs(ux) * half
    first = max(0, int(np.ceil(py + min(t0 * uy, t1 * uy) - reach)))
    last = min(rows - 1, int(np.floor(py + max(t0 * uy, t1 * uy) + reach)))
    room = int((t1 - t0 + 4.0) * (2.0 * half + 4.0)) + 4 * (last - first + 1)
    out, found = np.empty(max(0, room), np.uint32), 0
    for y in range(first, last + 1):
        low, high = bounds(ux, uy, y - py, t0, t1, half)
        for x in range(max(0, int(np.ceil(px + low))), min(cols - 1, int(np.floor(px + high))) + 1):
            out[found] = y * cols + x
            found += 1
    return out[:found].copy()


@njit(nogil=True, cache=True, error_model="numpy")
def cells(t, d, n, t0, size, low, high, fewest, out):
    """Fill `out` (n,) bool: which cells of `size` pixels along a strip from t0 on hold at least `fewest` pixels."""
    counts = np.zeros(out.size, np.int64)
    for i in range(n):
        if low <= d[i] < high:
            j = int(np.floor((t[i] - t0) / size))
            if 0 <= j < out.size:
                counts[j] += 1
    out[:] = counts >= fewest


@njit(nogil=True, cache=True, error_model="numpy")
def fewest_for(mean):
    """The least number of pixels in a cell that chance reaches in at most 6 % of cells, and how often: 2 % or more."""
    if mean > 50.0:
        return int(mean + 1.6 * np.sqrt(mean)) + 1, 0.06
    term = np.exp(-mean)
    tail, k = 1.0 - term, 1
    while tail > 0.06:
        term *= mean / k
        tail -= term
        k += 1
    return k, max(tail, 0.02)


@njit(nogil=True, cache=True, error_model="numpy")
def lonely(t, d, n, t0, size, low, high, fewest, out):
    """As `cells`, but only cells that hold more than twice as many as the emptier of the two beside them.

    What is as wide as all three, such as the halo of a star, says nothing of a line.
    """
    left, counts, right = np.zeros(out.size, np.int64), np.zeros(out.size, np.int64), np.zeros(out.size, np.int64)
    width, gap = high - low, 3.0
    for i in range(n):
        j, x = int(np.floor((t[i] - t0) / size)), d[i] - low
        if 0 <= j < out.size:
            if 0.0 <= x < width:
                counts[j] += 1
            elif -width - gap <= x < -gap:
                left[j] += 1
            elif width + gap <= x < 2.0 * width + gap:
                right[j] += 1
    out[:] = (counts >= fewest) & (counts > 2 * np.minimum(left, right))


@njit(nogil=True, cache=True, error_model="numpy")
def by_chance(flat, starts, taken, rows, cols, width, size, block, fewest, samples, index, t, d):
    """How often a block of cells has at least so many that are filled, as `lonely` tells, anywhere in the frame.

    Places and directions are strewn evenly over the frame (Roberts 2018). float64 (block + 1,), of `samples`.
    """
    out = np.zeros(block + 1)
    filled = np.empty(block, np.bool_)
    length, half = block * size, 1.5 * width + 3.0
    for i in range(samples):
        angle = np.pi * ((i * 0.5497004779) % 1.0)
        line = (cols * ((i * 0.8191725134) % 1.0), rows * ((i * 0.6710436067) % 1.0), np.cos(angle), np.sin(angle))
        n = along(flat, starts, taken, rows, cols, line, 0.0, length, half, index, t, d)
        lonely(t, d, n, 0.0, size, -0.5 * width, 0.5 * width, fewest, filled)
        out[: np.count_nonzero(filled) + 1] += 1.0
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def evidence(filled, usual, clumped):
    """The log-likelihood ratio of a row of cells: as full as it is, against chance that fills a share of `usual`.

    Chance comes in clumps: after a filled cell the next is filled by so much likelier as `clumped` tells, and only
    what goes beyond that speaks for a trail.
    """
    after_filled = usual + clumped * (1.0 - usual)
    after_empty = usual * (1.0 - after_filled) / (1.0 - usual)
    counts = np.zeros((2, 2))
    before = 0
    for i in range(filled.size):
        now = 1 if filled[i] else 0
        counts[before, now] += 1.0
        before = now
    nats = 0.0
    for before, q in ((0, after_empty), (1, after_filled)):
        empty, full = counts[before, 0], counts[before, 1]
        if full > q * (empty + full):
            nats += full * np.log(full / (q * (empty + full)))
            if empty > 0:
                nats += empty * np.log(empty / ((1.0 - q) * (empty + full)))
    return nats
