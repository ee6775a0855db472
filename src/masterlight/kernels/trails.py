"""Find straight trails among the rejected pixels of one frame.

First all lines of all short lengths are summed at once on a coarse map, by the fast Radon transform of Brady (1998)
on scores whose sum is a logarithm of odds; then each promising line is followed on the pixels themselves.
"""

import numpy as np
from numba import njit

from masterlight.kernels.largescale import row_starts

SCALES = ((4, 3, 5, 0.6), (8, 5, 7, 0.4))
"""Pixels per bin; shortest and longest lines, as powers of two in bins; share of bins that a trail is taken to fill."""

CELL = 32
"""Bins along the side of the squares in which the usual share of filled bins is measured."""

UNIT = 8
"""Scores are whole numbers of 1 / UNIT nat."""

PROMISING = 11.0
"""Nats from which a line on the coarse map is looked at closely."""

REACH = 48
"""Pixels to either side of a line in which its profile is measured: twice the width of the widest trail, and more."""

FLANK = 0.05
"""A trail's band ends where less than this part of the pixels in its middle are rejected."""

MIN_LENGTH_PX = 50.0
SLENDER = 3.5
"""A trail is at least so many times as long as wide."""

LOOK_AHEAD_PX = 600.0

LOOKS = 200
"""So many promising lines in vain, the best first, and the search of a frame is over."""

EXTENSION = 7.0
"""Nats that a fainter piece must add to be taken as the same trail."""

CONTROLS = 12
"""Strips beside a trail, as wide and as long as it, that tell what chance does here."""

KEPT = 8
"""Of these the emptiest so many count: beside a trail there may be another."""

TRIMMED_VARIANCE = 0.44
TRIMMED_SHIFT = 0.51
"""Variance of the lowest 8 of 12 normal numbers, and by how many sigma their mean is too low."""


@njit(nogil=True, cache=True)
def binned(flat, starts, rows, cols, side):
    """How many bins of `side` pixels hold a pixel of the sparse map: uint8 (rows, cols) of bins, 0 or 1."""
    out = np.zeros(((rows + side - 1) // side, (cols + side - 1) // side), np.uint8)
    for y in range(rows):
        into = out[y // side]
        for i in range(starts[y], starts[y + 1]):
            into[(np.int64(flat[i]) - y * cols) // side] = 1
    return out


@njit(nogil=True, cache=True)
def clumping(filled):
    """How far rejected pixels come in clumps: the correlation of neighbouring bins, 0 for pixels strewn at random."""
    rows, cols = filled.shape
    total, pairs = 0, 0
    for y in range(rows - 1):
        for x in range(cols - 1):
            total += filled[y, x]
            pairs += filled[y, x] & filled[y, x + 1]
            pairs += filled[y, x] & filled[y + 1, x]
    share = total / max(1, (rows - 1) * (cols - 1))
    if total == 0 or share == 1.0:
        return 0.0
    return max(0.0, (0.5 * pairs / total - share) / (1.0 - share))


@njit(nogil=True, cache=True)
def scored(filled, cell, share, unit):
    """Each bin's evidence for a trail, whole numbers of 1 / unit nat: filled ones speak for it, empty ones against.

    A trail fills `share` of its bins; chance fills as many as are filled in the 3 x 3 cells around. int16, the shape
    of `filled`.
    """
    rows, cols = filled.shape
    down, across = (rows + cell - 1) // cell, (cols + cell - 1) // cell
    count, area = np.zeros((down, across)), np.zeros((down, across))
    for y in range(rows):
        for c in range(across):
            total = 0
            for x in range(c * cell, min(cols, c * cell + cell)):
                total += filled[y, x]
            count[y // cell, c] += total
            area[y // cell, c] += min(cols, c * cell + cell) - c * cell
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


@njit(nogil=True, cache=True)
def doubled(src, dst, height):
    """Join the line sums of strips of `height` rows in pairs: twice the rows, twice the slopes (Brady 1998)."""
    size, width = src.shape
    for j in range(0, size, 2 * height):
        for s in range(2 * height):
            a, b, shift = src[j + s // 2], src[j + height + s // 2], (s + 1) // 2
            into = dst[j + s]
            for x in range(width - shift):
                into[x] = a[x] + b[x + shift]
            for x in range(width - shift, width):
                into[x] = a[x]


@njit(nogil=True, cache=True)
def best_lines(sums, height, row0, left, threshold, lines, found):
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
            top = row[0]
            for x in range(width):
                top = max(top, row[x])
            if top < threshold:
                continue
            for x in range(width):
                if row[x] > best[x // height]:
                    best[x // height], slope[x // height], start[x // height] = row[x], s, x
        for b in range(blocks):
            if best[b] >= threshold and found < lines.shape[0]:
                lines[found, 0] = best[b]
                lines[found, 1], lines[found, 2] = start[b] - left, row0 + j
                lines[found, 3], lines[found, 4] = start[b] - left + slope[b], row0 + j + height - 1
                found += 1
    return found


@njit(nogil=True, cache=True)
def steep_lines(scores, shortest, longest, threshold):
    """The promising lines of a map of scores that go down and to the right, by no more than one bin per row.

    Their lengths in rows are the powers of two from 2**shortest to 2**longest; (n, 5) float32 as `best_lines`.
    """
    rows, cols = scores.shape
    size = 2**longest
    width = cols + 2 * size
    strips = (rows + size - 1) // size
    room = 0
    for k in range(shortest, longest + 1):
        room += strips * (size >> k) * ((width >> k) + 1)
    lines, found = np.empty((room, 5), np.float32), 0
    a, b = np.empty((size, width), np.int16), np.empty((size, width), np.int16)
    for row0 in range(0, rows, size):
        for y in range(size):
            for x in range(width):
                inner = row0 + y < rows and size <= x < size + cols
                a[y, x] = scores[row0 + y, x - size] if inner else 0
        for k in range(1, longest + 1):
            doubled(a, b, 2 ** (k - 1))
            a, b = b, a
            if k >= shortest:
                found = best_lines(a, 2**k, row0, size, threshold, lines, found)
    return lines[:found].copy()


def promising(flat, starts, shape):
    """Where trails may be: (n, 5) float64 score in nats, x0, y0, x1, y1 in pixels of the frame; best first."""
    out = []
    for side, shortest, longest, share in SCALES:
        scores = scored(binned(flat, starts, *shape, side), CELL, share, UNIT)
        for turned in (False, True):
            for mirrored in (False, True):
                view = scores.T if turned else scores
                view = np.ascontiguousarray(view[:, ::-1] if mirrored else view)
                lines = steep_lines(view, shortest, longest, round(PROMISING * UNIT)).astype(np.float64)
                if mirrored:
                    lines[:, 1::2] = view.shape[1] - 1 - lines[:, 1::2]
                lines[:, 1:] = (lines[:, 1:] + 0.5) * side - 0.5
                out.append(lines[:, [0, 2, 1, 4, 3]] if turned else lines)
    lines = np.concatenate(out)
    lines[:, 0] /= UNIT
    return lines[np.argsort(-lines[:, 0], kind="stable")]


@njit(nogil=True, cache=True)
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
        a, b = starts[y], starts[y + 1]
        target = y * cols + max(0.0, low)
        while a < b:
            middle = (a + b) // 2
            if flat[middle] < target:
                a = middle + 1
            else:
                b = middle
        end = y * cols + min(cols - 1.0, high)
        while a < starts[y + 1] and flat[a] <= end and found < t.size:
            if not taken[a]:
                dx, dy = np.int64(flat[a]) - y * cols - px, y - py
                index[found], t[found], d[found] = a, dx * ux + dy * uy, dy * ux - dx * uy
                found += 1
            a += 1
    return found


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def profile(t, d, n, t0, t1, search):
    """Across which distances from a line rejected pixels abound: (low, high, usual number in a pixel's width).

    The band around the fullest place within `search` pixels of the line that stands out from the usual number by three
    of its sigma, in means over three pixels; low > high where there is none, or where it has no end within REACH.
    Pixels close behind one another at the same distance count once, or a star beside the trail would widen it.
    """
    size = min(16.0, max(2.0, (t1 - t0) / 64.0))
    seen = np.zeros((2 * REACH, int((t1 - t0) / size) + 1), np.bool_)
    counts = np.zeros(2 * REACH, np.int64)
    for i in range(n):
        if t0 <= t[i] <= t1 and abs(d[i]) < REACH:
            j, k = int(np.floor(d[i] + REACH)), int((t[i] - t0) / size)
            counts[j] += not seen[j, k]
            seen[j, k] = True
    outer = np.concatenate((counts[: REACH // 2], counts[-REACH // 2 :]))
    outer.sort()
    fewer = outer[: outer.size * 3 // 4]
    usual = fewer.mean() + 0.4 * max(fewer.std() / 0.7, 0.4 * np.sqrt(fewer.mean()))
    three = counts.copy()
    three[1:-1] += counts[:-2] + counts[2:]
    limit = 3.0 * usual + 3.0 * np.sqrt(3.0) * max(np.sqrt(usual), fewer.std() / 0.7) + 1.0
    top = REACH
    for i in range(max(1, REACH - search), min(2 * REACH - 1, REACH + search)):
        if three[i] > three[top]:
            top = i
    if three[top] <= limit:
        return 1.0, 0.0, usual
    limit = max(limit, 3.0 * usual + FLANK * (three[top] - 3.0 * usual))
    low, high = top, top
    while low > 0 and three[low - 1] > limit:
        low -= 1
    while high < 2 * REACH - 1 and three[high + 1] > limit:
        high += 1
    if low <= 1 or high >= 2 * REACH - 2:
        return 1.0, 0.0, usual
    return low - REACH + 0.0, high - REACH + 1.0, usual


@njit(nogil=True, cache=True)
def longest_run(filled, usual, middle):
    """The part of a row of cells, around the one in the `middle`, that is likeliest to be a trail: (first, end, nats).

    filled (n,) bool; chance fills a share `usual` of the cells. A trail fills 0.7 of them; what goes before and comes
    after may be fainter or dashed, 0.3 or 0.12, if that has evidence of its own.
    """
    first, end, nats = middle, middle, 0.0
    for share in (0.7, 0.3, 0.12):
        p = max(share, 1.5 * usual)
        if p > 0.95:
            continue
        hit, miss = np.log(p / usual), np.log((1 - p) / (1 - usual))
        least = EXTENSION if end > first else 0.0
        total, best, stop = 0.0, least, end
        for i in range(end, filled.size):
            total += hit if filled[i] else miss
            if total > best:
                best, stop = total, i + 1
        nats += best - least if stop == end else best
        end = stop
        total, best, start = 0.0, least, first
        for i in range(first - 1, -1, -1):
            total += hit if filled[i] else miss
            if total > best:
                best, start = total, i
        nats += best - least if start == first else best
        first = start
    return first, end, nats


@njit(nogil=True, cache=True)
def inside(rows, cols, line):
    """From where to where along a line it runs inside the frame: (t0, t1)."""
    px, py, ux, uy = line
    t0, t1 = -1e9, 1e9
    for p, u, size in ((px, ux, cols), (py, uy, rows)):
        if abs(u) > 1e-9:
            a, b = (-0.5 - p) / u, (size - 0.5 - p) / u
            t0, t1 = max(t0, min(a, b)), min(t1, max(a, b))
    return t0, t1


@njit(nogil=True, cache=True)
def cells(t, d, n, t0, size, low, high, fewest, out):
    """Fill `out` (n,) bool: which cells of `size` pixels along a strip from t0 on hold at least `fewest` pixels."""
    counts = np.zeros(out.size, np.int64)
    for i in range(n):
        if low <= d[i] < high:
            j = int(np.floor((t[i] - t0) / size))
            if 0 <= j < out.size:
                counts[j] += 1
    for j in range(out.size):
        out[j] = counts[j] >= fewest


@njit(nogil=True, cache=True)
def fewest_for(mean):
    """The least number of pixels in a cell that chance reaches in at most 6 % of cells, and how often it does."""
    if mean > 50.0:
        return int(mean + 1.6 * np.sqrt(mean)) + 1, 0.06
    term = np.exp(-mean)
    tail, k = 1.0 - term, 1
    while tail > 0.06:
        term *= mean / k
        tail -= term
        k += 1
    return k, max(tail, 1e-3)


@njit(nogil=True, cache=True)
def turned(line, t, d, n, t0, t1, low, high):
    """The straight line of least squares through the pixels between t0, t1 and low, high: (line, t0, t1) on it."""
    count, st, sd, stt, std = 0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        if t0 <= t[i] <= t1 and low <= d[i] <= high:
            count += 1
            st, sd, stt, std = st + t[i], sd + d[i], stt + t[i] * t[i], std + t[i] * d[i]
    if count < 3 or stt - st * st / count < 1.0:
        return line, t0, t1
    mean, offset = st / count, sd / count
    slope = (std - st * offset) / (stt - st * mean)
    px, py, ux, uy = line
    size = np.sqrt(1.0 + slope * slope)
    px, py = px + mean * ux - offset * uy, py + mean * uy + offset * ux
    return (px, py, (ux - slope * uy) / size, (uy + slope * ux) / size), (t0 - mean) * size, (t1 - mean) * size


@njit(nogil=True, cache=True)
def follow(flat, starts, taken, rows, cols, seed, index, t, d):
    """Follow a promising line (x0, y0, x1, y1) both ways as far as the pixels of the sparse map carry it.

    Each turn measures the profile across the line, looks ahead five times as far as the line is long, or as far again
    where that is far, and lays the line anew through what it found. Returns (line, t0, t1, low, high, usual number in
    a pixel's width), t0 > t1 if there is no trail; index, t, d are room for as many numbers as there are pixels.
    """
    x0, y0, x1, y1 = seed
    length = np.hypot(x1 - x0, y1 - y0)
    line = (0.5 * (x0 + x1), 0.5 * (y0 + y1), (x1 - x0) / length, (y1 - y0) / length)
    t0, t1, search = -0.5 * length, 0.5 * length, 14
    low, high, usual = 1.0, 0.0, 0.0
    for turn in range(16):
        end0, end1 = inside(rows, cols, line)
        reach = max(t1 - t0, min(5.0 * (t1 - t0), LOOK_AHEAD_PX)) if turn else 32.0
        a, b = max(end0, t0 - reach), min(end1, t1 + reach)
        if min(b, t1) <= max(a, t0):
            return line, 1.0, 0.0, low, high, usual
        n = along(flat, starts, taken, rows, cols, line, a, b, float(REACH), index, t, d)
        low, high, usual = profile(t, d, n, max(a, t0), min(b, t1), search)
        size = max(4.0, 0.5 * (high - low))
        middle = int((0.5 * (t0 + t1) - a) / size)
        filled = np.empty(max(0, int(np.ceil((b - a) / size))), np.bool_)
        if low >= high or not 0 <= middle < filled.size:
            return line, 1.0, 0.0, low, high, usual
        fewest, q = fewest_for(usual / (t1 - t0) * size * (high - low))
        cells(t, d, n, a, size, low, high, fewest, filled)
        first, end, nats = longest_run(filled, q, middle)
        if end <= first or nats < 5.0:
            return line, 1.0, 0.0, low, high, usual
        settled = abs(a + first * size - t0) <= size and abs(a + end * size - t1) <= size
        line, t0, t1 = turned(line, t, d, n, a + first * size, min(b, a + end * size), low, high)
        if settled and turn > 1:
            break
        search = 4
    n = along(flat, starts, taken, rows, cols, line, t0, t1, float(REACH), index, t, d)
    low, high, usual = profile(t, d, n, t0, t1, 4)
    return line, (t0 if low < high else 1.0), (t1 if low < high else 0.0), low, high, usual


@njit(nogil=True, cache=True)
def significance(flat, starts, taken, rows, cols, line, t0, t1, low, high, usual, clumped, index, t, d):
    """How far a line stands out from strips beside it, in sigma, and the share of its pixels that the map holds.

    The square root of twice the log-likelihood ratio of the filled cells along the line, as many as there are against
    those of chance, which is divided by how much more than chance the strips beside it differ among themselves.
    """
    width, length = high - low, t1 - t0
    size, step, gap = max(4.0, 0.5 * width), width, 3.0
    half = gap + step * (CONTROLS // 2) + max(abs(low), abs(high))
    n = along(flat, starts, taken, rows, cols, line, t0, t1, half, index, t, d)
    filled = np.empty(max(1, int(length / size)), np.bool_)
    held = 0
    for i in range(n):
        held += low <= d[i] < high
    share = held / (width * length)
    chance, _ = fewest_for(usual / length * size * width)
    fewest = max(chance, int(0.3 * share * size * width))
    m = filled.size
    beside = np.empty(CONTROLS)
    for j in range(CONTROLS):
        shift = (gap + step * (1 + j // 2)) * (1 if j % 2 else -1)
        cells(t, d, n, t0, size, low + shift, high + shift, fewest, filled)
        beside[j] = filled.sum()
    beside.sort()
    spread = beside[:KEPT].var() / TRIMMED_VARIANCE
    usual_k = beside[:KEPT].mean() + TRIMMED_SHIFT * np.sqrt(spread)
    q = min(max(usual_k, 0.25) / m, 0.9)
    excess = max(1.0, spread / (m * q * (1.0 - q)))
    cells(t, d, n, t0, size, low, high, fewest, filled)
    return np.sqrt(2.0 * evidence(filled, q, clumped) / excess), share


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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


def found(flat, shape, sigma, growth):
    """The straight trails in a frame, from the pixels that clipping rejected as too bright.

    flat (n,) uint32: their sorted flat indices; shape (rows, cols); sigma: what a trail's significance must reach;
    growth: pixels that its band is made wider by on either side. Returns (band, trails): the sorted flat indices of
    all pixels in the bands, uint32, and for each trail (x0, y0, x1, y1, width, significance, share rejected before).
    """
    rows, cols = shape
    starts = row_starts(flat, rows, cols)
    lines = promising(flat, starts, shape)
    taken = np.zeros(flat.size, np.bool_)
    index, t, d = np.empty(flat.size, np.int64), np.empty(flat.size), np.empty(flat.size)
    room = (index, t, d)
    bands, trails = [], []
    clumped = clumping(binned(flat, starts, rows, cols, SCALES[0][0]))
    vain = 0
    while len(lines) and vain < LOOKS:
        vain += 1
        seed, lines = lines[0], lines[1:]
        line, t0, t1, low, high, usual = follow(flat, starts, taken, rows, cols, tuple(seed[1:]), *room)
        if t1 - t0 < max(MIN_LENGTH_PX, SLENDER * (high - low)):
            continue
        snr, share = significance(flat, starts, taken, rows, cols, line, t0, t1, low, high, usual, clumped, *room)
        if snr < sigma:
            continue
        vain -= 1
        line, t0, t1, half = framed(shape, line, t0, t1, low, high, growth)
        bands.append(band(rows, cols, line, t0, t1, half))
        n = along(flat, starts, taken, rows, cols, line, t0, t1, half + 2.0, *room)
        taken[index[:n]] = True
        lines = lines[~within(lines, line, t0, t1, half + 8.0)]
        trails.append((*ends_of(shape, line, t0, t1), 2 * half, float(snr), float(share)))
    return merged(bands), trails


def merged(bands):
    """Sorted lists of flat indices as one, each index once."""
    if not bands:
        return np.empty(0, np.uint32)
    flat = np.sort(np.concatenate(bands), kind="stable")
    return flat[np.append(True, flat[1:] != flat[:-1])]


def framed(shape, line, t0, t1, low, high, growth):
    """A trail as it is rejected: its line in the middle of the band, carried on to the border where that is near."""
    px, py, ux, uy = line
    middle, half = 0.5 * (low + high), 0.5 * (high - low) + growth
    line = (px - middle * uy, py + middle * ux, ux, uy)
    end0, end1 = inside(*shape, line)
    near, spare = max(24.0, 0.06 * (t1 - t0)), 2.0 + growth
    t0 = end0 - half if t0 - end0 < near else t0 - spare
    t1 = end1 + half if end1 - t1 < near else t1 + spare
    return line, t0, t1, half


def within(lines, line, t0, t1, half):
    """Which of `lines` (n, 5) begin and end inside a strip."""
    px, py, ux, uy = line
    inner = np.ones(len(lines), bool)
    for at in (1, 3):
        dx, dy = lines[:, at] - px, lines[:, at + 1] - py
        t, d = dx * ux + dy * uy, dy * ux - dx * uy
        inner &= (np.abs(d) <= half) & (t >= t0 - half) & (t <= t1 + half)
    return inner


def ends_of(shape, line, t0, t1):
    """The ends of a line as (x0, y0, x1, y1), no farther than the border of the frame."""
    end0, end1 = inside(*shape, line)
    px, py, ux, uy = line
    t0, t1 = max(t0, end0), min(t1, end1)
    return float(px + t0 * ux), float(py + t0 * uy), float(px + t1 * ux), float(py + t1 * uy)
