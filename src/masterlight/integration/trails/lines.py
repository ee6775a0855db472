"""Find straight trails among the rejected pixels of one frame.

Each line that is promising on a coarse map (see `coarse`) is followed on the pixels themselves.
"""

import numpy as np

from masterlight.compiled import njit
from masterlight.integration.trails import strips
from masterlight.integration.trails.coarse import SCALES, clumping, fill_bins, promising_lines

REACH = 48
"""Pixels to either side of a line in which its profile is measured: twice the width of the widest trail, and more."""
FLANK = 0.01
"""A trail's band ends where less than this part of the pixels are rejected."""
MIN_LENGTH_PX = 50.0
SLENDER = 3.5
"""A trail is at least so many times as long as wide."""
LOOK_AHEAD_PX = 600.0
BORDER_PX = 48
"""What runs within so many pixels of a side is the border of where frames overlap, not a trail."""
NEAR_PX = 128.0
"""A trail that ends so near the border of the image is taken to run on to it. There few frames lie on one another, and
a part of them holds less of what stands out: the trail lifts their mean as well."""
LOOKS = 200
"""So many promising lines in vain, the best first, and the search of a frame is over."""
EXTENSION = 7.0
"""Nats that a fainter piece must add to be taken as the same trail."""
CONTROLS = 12
"""Strips beside a trail, as wide and as long as it, that tell what chance does here."""
KEPT = 8
"""Of these the emptiest so many count: beside a trail there may be another."""
BLOCK_PX = 44.0
"""A ray's track, or a clump, is hardly ever longer."""
SAMPLES = 4000
"""Blocks anywhere in the frame that tell how full they are by chance."""
SPREAD = 0.67
"""Share of the significance that a trail must reach without its fullest block."""
TRIMMED_VARIANCE = 0.44
TRIMMED_SHIFT = 0.51
"""Variance of the lowest 8 of 12 normal numbers, and by how many sigma their mean is too low."""


@njit(nogil=True, cache=True, error_model="numpy")
def profile(t, d, n, t0, t1, search):
    """Across which distances from a line rejected pixels abound: (low, high, usual number in a pixel's width).

    The band around the fullest place within `search` pixels of the line that stands out from the usual number by three
    of its sigma, in means over three pixels; low > high where there is none, or where it has no end within REACH.
    Pixels close behind one another at the same distance count once, or a star beside the trail would widen it.
    """
    size = min(16.0, max(2.0, (t1 - t0) / 64.0))
    seen = np.zeros((2 * REACH, int((t1 - t0) / size) + 1), np.bool_)
    counts, three = np.zeros(2 * REACH), np.zeros(2 * REACH)
    for i in range(n):
        if t0 <= t[i] <= t1 and abs(d[i]) < REACH:
            j, k = int(d[i] + REACH), int((t[i] - t0) / size)
            if not seen[j, k]:
                seen[j, k] = True
                counts[j] += 1.0
    mean, spread = calm(counts)
    usual = mean + 0.4 * max(spread, 0.4 * np.sqrt(mean))
    limit = 3.0 * usual + 3.0 * np.sqrt(3.0) * max(np.sqrt(usual), spread) + 1.0
    three[:] = counts
    three[1:-1] += counts[:-2] + counts[2:]
    top = REACH
    for i in range(REACH - search, REACH + search):
        if three[i] > three[top]:
            top = i
    if three[top] <= limit:
        return 1.0, 0.0, usual
    limit = max(limit, 3.0 * usual + (1.0 - (1.0 - FLANK) ** size) * (three[top] - 3.0 * usual))
    low, high = top, top
    while low > 0 and three[low - 1] > limit:
        low -= 1
    while high < 2 * REACH - 1 and three[high + 1] > limit:
        high += 1
    if low <= 1 or high >= 2 * REACH - 2:
        return 1.0, 0.0, usual
    low += low < top and 3.0 * counts[low] <= limit
    high -= high > top and 3.0 * counts[high] <= limit
    return low - REACH + 0.0, high - REACH + 1.0, usual


@njit(nogil=True, cache=True, error_model="numpy")
def calm(counts):
    """Mean and sigma of the emptier three quarters of the outer half of a profile's counts."""
    outer = np.sort(np.concatenate((counts[: REACH // 2], counts[REACH // 2 + REACH :])))[: REACH * 3 // 4]
    mean = outer.sum() / outer.size
    return mean, np.sqrt(max(0.0, (outer * outer).sum() / outer.size - mean * mean)) / 0.7


@njit(nogil=True, cache=True, error_model="numpy")
def longest_run(filled, usual, middle):
    """The part of a row of cells, around the one in the `middle`, that is likeliest to be a trail: (first, end, nats).

    filled (n,) bool; chance fills a share `usual` of the cells. A trail fills 0.7 of them; what goes before and comes
    after may be fainter or dashed, 0.3 or 0.12, if that has evidence of its own.
    """
    first, end, nats = middle, middle, 0.0
    for share in (0.7, 0.3, 0.12):
        p = max(share, 1.5 * usual)
        if p <= 0.95:
            hit, miss = np.log(p / usual), np.log((1 - p) / (1 - usual))
            least = EXTENSION if end > first else 0.0
            for forward in (True, False):
                total, best, cells_more = 0.0, least, 0
                ahead = filled[end:] if forward else filled[:first][::-1]
                for i in range(ahead.size):
                    total += hit if ahead[i] else miss
                    if total > best:
                        best, cells_more = total, i + 1
                nats += best if cells_more else 0.0
                end, first = (end + cells_more, first) if forward else (end, first - cells_more)
    return first, end, nats


@njit(nogil=True, cache=True, error_model="numpy")
def refit_line(line, t, d, n, t0, t1, low, high):
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


@njit(nogil=True, cache=True, error_model="numpy")
def follow(flat, starts, taken, rows, cols, seed, index, t, d):
    """Follow a promising line (x0, y0, x1, y1) both ways as far as the pixels of the sparse map carry it.

    Each turn measures the profile across the line, looks ahead five times as far as the line is long, or as far again
    where that is far, and lays the line anew through what it found. Returns (line, t0, t1, low, high, usual number in
    a pixel's width), t0 > t1 if there is no trail; index, t, d are room for as many numbers as there are pixels.
    """
    x0, y0, x1, y1 = seed
    length = np.hypot(x1 - x0, y1 - y0)
    line = (0.5 * (x0 + x1), 0.5 * (y0 + y1), (x1 - x0) / length, (y1 - y0) / length)
    t0, t1, turn, settled = -0.5 * length, 0.5 * length, 0, False
    while True:
        end0, end1 = strips.inside(rows, cols, line)
        reach = max(t1 - t0, min(5.0 * (t1 - t0), LOOK_AHEAD_PX)) if turn else 32.0
        a, b = (t0, t1) if settled else (max(end0, t0 - reach), min(end1, t1 + reach))
        if min(b, t1) <= max(a, t0):
            return line, 1.0, 0.0, 0.0, 0.0, 0.0
        n = strips.along(flat, starts, taken, rows, cols, line, a, b, float(REACH), index, t, d)
        low, high, usual = profile(t, d, n, max(a, t0), min(b, t1), 4 if turn else 14)
        if low >= high:
            return line, 1.0, 0.0, 0.0, 0.0, 0.0
        if settled:
            return line, t0, t1, low, high, usual
        size = max(4.0, 0.5 * (high - low))
        middle = int((0.5 * (t0 + t1) - a) / size)
        filled = np.empty(max(0, int(np.ceil((b - a) / size))), np.bool_)
        if not 0 <= middle < filled.size:
            return line, 1.0, 0.0, 0.0, 0.0, 0.0
        fewest, q = strips.fewest_for(usual / (t1 - t0) * size * (high - low))
        strips.cells(t, d, n, a, size, low, high, fewest, filled)
        first, end, nats = longest_run(filled, q, middle)
        if end <= first or nats < 5.0:
            return line, 1.0, 0.0, 0.0, 0.0, 0.0
        settled = turn > 1 and abs(a + first * size - t0) <= size and abs(a + end * size - t1) <= size
        line, t0, t1 = refit_line(line, t, d, n, a + first * size, min(b, a + end * size), low, high)
        turn += 1
        settled = settled or turn == 16


def significance(flat, starts, taken, rows, cols, line, t0, t1, low, high, usual, clumped, sigma, index, t, d):
    """How far a line stands out from chance, in sigma, as `(whole, spread, share)`.

    whole: the square root of twice the log-likelihood ratio of the filled cells along the line, as many as there are
    against those of chance, which is divided by how much more than chance the strips beside it differ among
    themselves. spread: that of the line without its fullest block, see `spread_significance`; 0 if whole is less than
    sigma. share: of the line's pixels, held by the map.
    """
    room = index, t, d
    width, length = high - low, t1 - t0
    size, gap = max(4.0, 0.5 * width), 3.0
    half = gap + width * (CONTROLS // 2) + max(abs(low), abs(high))
    n = strips.along(flat, starts, taken, rows, cols, line, t0, t1, half, *room)
    filled = np.empty(max(1, int(length / size)), np.bool_)
    share = np.count_nonzero((d[:n] >= low) & (d[:n] < high)) / (width * length)
    chance, _ = strips.fewest_for(usual / length * size * width)
    fewest = max(chance, int(0.3 * share * size * width))
    m = filled.size
    beside = np.empty(CONTROLS)
    for j in range(CONTROLS):
        shift = (gap + width * (1 + j // 2)) * (1 if j % 2 else -1)
        strips.cells(t, d, n, t0, size, low + shift, high + shift, fewest, filled)
        beside[j] = np.count_nonzero(filled)
    beside = np.sort(beside)[:KEPT]
    spread = beside.var() / TRIMMED_VARIANCE
    usual_k = beside.mean() + TRIMMED_SHIFT * np.sqrt(spread)
    q = min(max(usual_k, 0.25) / m, 0.9)
    excess = max(1.0, spread / (m * q * (1.0 - q)))
    strips.cells(t, d, n, t0, size, low, high, fewest, filled)
    whole = np.sqrt(2.0 * strips.evidence(filled, q, clumped) / excess)
    if whole < sigma:
        return whole, 0.0, share
    strips.lonely(t, d, n, t0, size, low, high, fewest, filled)
    block = int(np.ceil(BLOCK_PX / size))
    chances = strips.by_chance(flat, starts, taken, rows, cols, width, size, block, fewest, SAMPLES, *room)
    return whole, spread_significance(filled, block, surprise(chances)), share


def surprise(chances):
    """The evidence of a block with so many filled cells, in nats, from how often chance fills as many.

    Fuller blocks than the sample holds are taken to grow rarer at the mean pace of those that it holds.
    """
    nats = np.log(SAMPLES + 1.0) - np.log1p(chances)
    last = max(1, np.count_nonzero(chances) - 1)
    k = np.arange(nats.size)
    return np.where(k > last, nats[last] * k / last, nats)


def spread_significance(filled, block, nats):
    """How far a line stands out from chance, in sigma, without its fullest block: 0 where nothing else is left.

    filled (m,) bool: its cells; block: cells in a block; nats (block + 1,): the evidence of a block with so many
    filled cells. A ray or a clump is no longer than a block; it is where the line was found, and speaks for none.
    Of the other blocks, which begin at that one on either side, the sum of evidence is held against a gamma
    distribution, for by chance each has more than x nats once in exp(x) (Fisher 1925).
    """
    sums = np.concatenate(([0], np.cumsum(filled)))
    best = int(np.argmax(sums[block:] - sums[:-block])) if filled.size >= block else 0
    before, after = filled[:best][::-1], filled[best + block :]
    counts = [np.count_nonzero(part[i : i + block]) for part in (before, after) for i in range(0, part.size, block)]
    if not counts:
        return 0.0
    total = nats[counts].sum()
    order = np.arange(1, len(counts))
    terms = np.cumsum(np.log(max(total, 1e-9) / order)) if order.size else np.empty(0)
    return float(np.sqrt(2.0 * max(0.0, total - np.logaddexp.reduce(np.append(terms, 0.0)))))


def find_lines(flat, shape, sigma, growth):
    """The straight trails in a frame, from the pixels that clipping rejected as too bright.

    flat (n,) uint32: their sorted flat indices; shape (rows, cols); sigma: what a trail's significance must reach;
    growth: pixels that its band is made wider by on either side. Returns (band, trails): the sorted flat indices of
    all pixels in the bands, uint32, and for each trail (x0, y0, x1, y1, width, significance, share rejected before).
    """
    rows, cols = shape
    starts = strips.row_starts(flat, rows, cols)
    lines = promising_lines(flat, shape)
    taken = np.zeros(flat.size, np.bool_)
    room = index, _, _ = np.empty(flat.size, np.int64), np.empty(flat.size), np.empty(flat.size)
    bands, trails = [np.empty(0, np.uint32)], []
    clumped = clumping(fill_bins(flat, shape, SCALES[0][0]))
    vain = 0
    while len(lines) and vain < LOOKS:
        vain += 1
        seed, lines = lines[0], lines[1:]
        line, t0, t1, low, high, usual = follow(flat, starts, taken, rows, cols, tuple(seed[1:]), *room)
        if t1 - t0 < max(MIN_LENGTH_PX, SLENDER * (high - low)):
            continue
        if beside_border(ends_of(shape, line, t0, t1), shape):
            lines = lines[~within(lines, line, t0, t1, high - low + 8.0)]
            continue
        place = line, t0, t1, low, high, usual
        snr, spread, share = significance(flat, starts, taken, rows, cols, *place, clumped, sigma, *room)
        if snr < sigma or spread < SPREAD * sigma:
            continue
        vain -= 1
        line, t0, t1, half = frame_trail(shape, line, t0, t1, low, high, growth)
        bands.append(strips.band(rows, cols, line, t0, t1, half))
        n = strips.along(flat, starts, taken, rows, cols, line, t0, t1, half + 2.0, *room)
        taken[index[:n]] = True
        lines = lines[~within(lines, line, t0, t1, half + 8.0)]
        trails.append((*ends_of(shape, line, t0, t1), 2 * half, float(snr), float(share)))
    return np.unique(np.concatenate(bands)), trails


def beside_border(ends, shape):
    """Whether a line runs along one side of the frame, near it.

    There few frames overlap, and where their skies differ, single frames are rejected in strips as wide as the dither.
    """
    x0, y0, x1, y1 = ends
    sides = (x0, x1), (y0, y1), (shape[1] - x0, shape[1] - x1), (shape[0] - y0, shape[0] - y1)
    return any(max(side) < BORDER_PX for side in sides)


def frame_trail(shape, line, t0, t1, low, high, growth):
    """A trail as it is rejected: its line in the middle of the band, carried on to the border where that is near."""
    px, py, ux, uy = line
    middle, half = 0.5 * (low + high), 0.5 * (high - low) + growth
    line = (px - middle * uy, py + middle * ux, ux, uy)
    end0, end1 = strips.inside(*shape, line)
    near, spare = max(NEAR_PX, 0.06 * (t1 - t0)), 2.0 + growth
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
    end0, end1 = strips.inside(*shape, line)
    px, py, ux, uy = line
    t0, t1 = max(t0, end0), min(t1, end1)
    return float(px + t0 * ux), float(py + t0 * uy), float(px + t1 * ux), float(py + t1 * uy)
