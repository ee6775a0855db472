"""Find straight trails fainter than the noise of any pixel: in what a frame has over the mean, bin by bin, along lines.

A trail of 0.15 sigma a pixel rejects nothing, and stays in the mean. Along 4000 pixels it stands out by 7 sigma. All
lines of a frame are added up at once by the fast Radon transform of Brady (1998); what could be a trail is then laid
anew by least squares, measured end to end, and held against the strips beside it.
"""

from typing import NamedTuple

import numpy as np

from masterlight.compiled import njit
from masterlight.integration.kernels.residuals import SIDE, UNIT
from masterlight.integration.trails import strips
from masterlight.integration.trails.lines import BORDER_PX, NEAR_PX, ends_of, within
from masterlight.integration.trails.radon import all_lines, join_strips

SHORTEST = 32
"""Bins along the shortest line that is looked for."""
LONGEST = 512
"""Bins along the longest; what goes on is followed after. Sums of longer ones would leave the cache."""
COVERED = 0.6
"""Part of a line's rows that must lie in the frame; shorter pieces are found as lines of half the length."""
WHOLE = 5.07
"""How many sigma the best line of noise alone has in 24 megapixels, and thus `sigma` is meant for."""
BLOCK = 64
"""Of lines that begin within so many bins of each other, the best counts."""
LOOKS = 12
"""So many promising lines in vain, and the search of a frame is over."""
WIDTHS = 0.375, 1.0, 2.0, 4.0
"""How wide trails are tried to be, in bins."""
PIECE = 4.0
"""Bins of a line that are added up before its ends are sought."""
NATS = 3.0
"""Evidence against a trail, up to the border of the image, with which it is still taken to end there."""
SLENDER = 12.0
"""A trail is at least so many times as long as wide."""
CONTROLS = 6
"""Strips on either side of a line that tell what chance does here."""
TRUSTED = 0.8
"""Part of the variance of these strips that is believed: of 12, it is above 1.25 in every fourth case by chance."""
PARTS = 6
SPREAD = 0.6
"""Share of the significance that a trail must reach without the best of its PARTS parts."""
EMPTY = 0.8
"""Beside a line that runs along the edge of its frame, at least this part of the bins holds no samples; along that of
another one so many have fewer frames than those on the other side."""
FEWER = 0.75
"""Where frames end, no more than this part of those that lie beside the place go on."""
MARGIN_PX = 3.0
"""A trail is cut so much wider, on either side, than it was found to be: its place is known to a pixel or two."""


class Line(NamedTuple):
    """A trail on the bins of a frame; the centre of the first bin is (0, 0)."""

    line: tuple[float, float, float, float]
    """A point and the unit vector along it."""
    t0: float
    t1: float
    width: float
    snr: float


@njit(nogil=True, cache=True, error_model="numpy")
def rows_inside(x, slope, height, rows, cols):
    """How many of `rows` rows a line crosses inside the frame that begins at x and goes `slope` bins in `height`."""
    if slope == 0:
        return rows if 0 <= x < cols else 0
    step = slope / (height - 1.0)
    first, last = max(0.0, -x / step), min(rows - 1.0, (cols - 1 - x) / step)
    return max(0, int(last) - int(np.ceil(first)) + 1)


@njit(nogil=True, cache=True, error_model="numpy")
def best_of_slope(sums, slope, height, rows, size, threshold, best):
    """Keep in `best` (blocks, 4) the lines of one slope that stand out most: significance, first bin, slope, rows.

    sums (size + cols,) int16, lines that begin at bin x at x + size. They are held against how much the lines of this
    slope differ among themselves: a sensor that bands has more to say along its rows than noise.
    """
    cols = sums.size - size
    scale, bound = UNIT * np.sqrt(np.float64(rows)), threshold * np.sqrt(COVERED)
    if cols - slope > BLOCK:
        total = 0
        for x in range(size, size + cols - slope):
            total += abs(np.int32(sums[x]))
        scale = max(scale, 1.2533 * total / (cols - slope))
    for x in range(size - slope, sums.size):
        if sums[x] > bound * scale:
            inside = rows_inside(x - size, slope, height, rows, cols)
            snr = sums[x] / scale * np.sqrt(rows / max(inside, 1))
            if inside >= COVERED * rows and snr > best[x // BLOCK, 0]:
                best[x // BLOCK, 0], best[x // BLOCK, 1] = snr, x - size
                best[x // BLOCK, 2], best[x // BLOCK, 3] = slope, inside


@njit(nogil=True, cache=True, error_model="numpy")
def best_of_strip(sums, tops, row0, height, rows, size, threshold, best, lines, found):
    """Add the best lines of a strip that begins at row0, of which `rows` rows lie in the frame; gives how many."""
    least, top = threshold * UNIT * np.sqrt(COVERED * rows), np.int16(0)
    for slope in range(height):
        top = max(top, tops[slope])
    if top <= least:
        return found
    best[:, 0] = threshold
    for slope in range(height):
        if tops[slope] > least:
            best_of_slope(sums[slope], slope, height, rows, size, threshold, best)
    for k in range(best.shape[0]):
        if best[k, 0] > threshold and found < lines.shape[0]:
            lines[found, 0], lines[found, 1], lines[found, 2] = best[k, 0], best[k, 1], row0
            lines[found, 3], lines[found, 4] = best[k, 1] + best[k, 2], row0 + height - 1
            found += 1
    return found


@njit(nogil=True, cache=True, error_model="numpy")
def steep_lines(scores, threshold):
    """The lines of scores that go down and to the right, by no more than a bin per row, and stand out by `threshold`.

    Their lengths in rows are powers of two from SHORTEST to LONGEST; (n, 5) float64: significance, x and y of the
    first bin, x and y of the last.
    """
    rows, cols = scores.shape
    size = SHORTEST
    while size < min(rows, LONGEST):
        size *= 2
    a, b = np.zeros((size, size + cols), np.int16), np.zeros((size, size + cols), np.int16)
    lines, found, tops = np.empty((1024, 5)), 0, np.zeros(size, np.int16)
    best = np.empty(((size + cols) // BLOCK + 1, 4))
    for row0 in range(0, rows, size):
        part = scores[row0 : row0 + size]
        a[:], b[:] = 0, 0
        a[: part.shape[0], size:] = part
        height = 1
        while height < size:
            filled = -(-part.shape[0] // (2 * height)) * 2 * height
            join_strips(a, b, height, filled, size - 2 * height, tops)
            a, b = b, a
            height *= 2
            for j in range(0, filled if height >= SHORTEST else 0, height):
                inside = min(height, part.shape[0] - j)
                if inside >= SHORTEST // 2:
                    at = a[j : j + height], tops[j : j + height], row0 + j
                    found = best_of_strip(*at, height, inside, size, threshold, best, lines, found)
    return lines[:found].copy()


def by_chance(count):
    """How many sigma the best line has by chance among so many bins."""
    return np.sqrt(2.0 * np.log(max(count, 2)))


def promising_lines(scores):
    """Where faint trails may be: (n, 5) float64 sigma, x0, y0, x1, y1 in bins; best first."""
    least = by_chance(scores.size)
    return all_lines(scores, lambda view: steep_lines(view, least))


@njit(nogil=True, cache=True, error_model="numpy")
def light_until(d, flat, base):
    """The part of a bin that lies on one side of a line at the distance d, up to the middle negative.

    The chord of a square at an angle is a trapezoid of the distance: whole up to `flat`, gone at `base`.
    """
    a = min(abs(d), base)
    area = a if a <= flat else flat + (a - flat) * (1.0 - 0.5 * (a - flat) / max(base - flat, 1e-9))
    area /= flat + base
    return area if d > 0 else -area


@njit(nogil=True, cache=True, error_model="numpy")
def add_along(scores, line, t0, t1, width, shift, size, light, norm):
    """Add scores x template and template^2 along a line to light and norm (n,), in pieces of `size` bins from t0 on.

    The template is how much of a trail of this width, evenly bright across, falls into each bin; the line is moved
    aside by `shift` bins first.
    """
    rows, cols = scores.shape
    px, py, ux, uy = line
    px, py = px - shift * uy, py + shift * ux
    steep = abs(uy) >= abs(ux)
    c, s = max(abs(ux), abs(uy)), min(abs(ux), abs(uy))
    flat, base = 0.5 * (c - s), 0.5 * (c + s)
    reach = (0.5 * width + base) / c
    p, q, u, w = (py, px, uy, ux) if steep else (px, py, ux, uy)
    a, b = (p + t0 * u, p + t1 * u) if u > 0 else (p + t1 * u, p + t0 * u)
    most, across = (rows, cols) if steep else (cols, rows)
    for m in range(max(0, int(np.ceil(a))), min(most - 1, int(np.floor(b))) + 1):
        middle = q + (m - p) * w / u
        for k in range(max(0, int(np.ceil(middle - reach))), min(across - 1, int(np.floor(middle + reach))) + 1):
            score = scores[m, k] if steep else scores[k, m]
            d = (k - middle) * c
            t = (m - p) * u + (k - q) * w - t0
            i = min(max(int(t / size), 0), light.size - 1)
            part = (light_until(d + 0.5 * width, flat, base) - light_until(d - 0.5 * width, flat, base)) / width
            light[i] += part * score
            norm[i] += part * part
    return light, norm


@njit(nogil=True, cache=True, error_model="numpy")
def snr_along(scores, line, t0, t1, width, shift):
    """How many sigma a trail along a line stands out from noise alone."""
    light, norm = add_along(scores, line, t0, t1, width, shift, 1e9, np.zeros(1), np.zeros(1))
    return light[0] / (UNIT * np.sqrt(max(norm[0], 1e-9)))


@njit(nogil=True, cache=True, error_model="numpy")
def moved_line(line, t0, t1, d0, d1):
    """The line that lies d0 beside another one at t0 and d1 at t1; its point is abreast of the other's."""
    px, py, ux, uy = line
    slope = (d1 - d0) / (t1 - t0)
    d, size = d0 - slope * t0, np.sqrt(1.0 + slope * slope)
    return (px - d * uy, py + d * ux, (ux - slope * uy) / size, (uy + slope * ux) / size)


@njit(nogil=True, cache=True, error_model="numpy")
def lay_line(scores, line, t0, t1, width):
    """Move both ends of a line to and fro, in ever smaller steps, to where it stands out most: (line, snr)."""
    best, step = snr_along(scores, line, t0, t1, width, 0.0), 1.0
    while step > 0.1:
        moved = False
        for d0 in (-step, 0.0, step):
            for d1 in (-step, 0.0, step):
                tried = moved_line(line, t0, t1, d0, d1)
                snr = snr_along(scores, tried, t0, t1, width, 0.0)
                if snr > best + 1e-9:
                    best, better, moved = snr, tried, True
        if moved:
            line = better
        else:
            step *= 0.5
    return line, best


@njit(nogil=True, cache=True, error_model="numpy")
def ends_along(light, norm, bright):
    """The pieces of a line that a trail as bright as `bright` most likely fills: (first, end, nats before, after)."""
    gain = bright * light - 0.5 * bright * bright * norm
    first, end, best, total, start = 0, 0, 0.0, 0.0, 0
    for i in range(gain.size):
        if total <= 0.0:
            total, start = 0.0, i
        total += gain[i]
        if total > best:
            first, end, best = start, i + 1, total
    return first, end, gain[:first].sum(), gain[end:].sum()


def follow(scores, seed):
    """The trail that begins as a promising line (x0, y0, x1, y1): see `Line`; its snr is that of its template alone."""
    x0, y0, x1, y1 = seed
    length = np.hypot(x1 - x0, y1 - y0)
    line = (0.5 * (x0 + x1), 0.5 * (y0 + y1), (x1 - x0) / length, (y1 - y0) / length)
    t0, t1, width = -0.5 * length, 0.5 * length, WIDTHS[0]
    for turn in range(3):
        end0, end1 = strips.inside(*scores.shape, line)
        t0, t1 = max(t0, end0), min(t1, end1)
        line, _ = lay_line(scores, line, t0, t1, width)
        if turn:
            width = max(WIDTHS, key=lambda w: snr_along(scores, line, t0, t1, w, 0.0))
        end0, end1 = strips.inside(*scores.shape, line)
        pieces = max(1, int((end1 - end0) / PIECE))
        light, norm = add_along(scores, line, end0, end1, width, 0.0, PIECE, np.zeros(pieces), np.zeros(pieces))
        inner = slice(max(0, int((t0 - end0) / PIECE)), max(1, int(np.ceil((t1 - end0) / PIECE))))
        bright = light[inner].sum() / max(norm[inner].sum(), 1e-9) / UNIT
        first, end, before, after = ends_along(light / UNIT, norm, max(bright, 0.0))
        if end <= first:
            break
        t0 = end0 if before > -NATS or first * PIECE < NEAR_PX / SIDE else end0 + first * PIECE
        t1 = end1 if after > -NATS or end1 - end0 - end * PIECE < NEAR_PX / SIDE else end0 + end * PIECE
    return Line(line, t0, t1, width, snr_along(scores, line, t0, t1, width, 0.0))


def significance(scores, found):
    """How far a trail stands out from what the strips beside it hold, in sigma: (whole, without its best part)."""
    line, t0, t1, width, snr = found
    shifts = [side * (0.5 * width + 1.5 + k * (width + 1.0)) for k in range(CONTROLS) for side in (-1, 1)]
    beside = np.array([snr_along(scores, line, t0, t1, width, shift) for shift in shifts])
    spread = np.sqrt(max(1.0, TRUSTED * beside.var()))
    light, norm = add_along(scores, line, t0, t1, width, 0.0, (t1 - t0) / PARTS, np.zeros(PARTS), np.zeros(PARTS))
    rest = np.delete(np.arange(PARTS), np.argmax(light))
    without = light[rest].sum() / (UNIT * np.sqrt(max(norm[rest].sum(), 1e-9)))
    level = np.median(beside)
    return (snr - level) / spread, (without - level) / spread


def find_faint(scores, shape, sigma, growth, shown=None):
    """The faint trails of a frame, from the scores (rows, cols) int16 of its bins, in which they are wiped out.

    shape: (rows, cols) of the frame in pixels; sigma, growth, and what comes back: as in `lines.find_lines`; shown:
    how many frames have each bin, (rows, cols), where that is not the same for all.
    """
    bands, trails, vain = [np.empty(0, np.uint32)], [], 0
    sigma = sigma + min(0.0, by_chance(scores.size) - WHOLE)
    seeds = promising_lines(scores)
    while len(seeds) and vain < LOOKS:
        found = follow(scores, seeds[0, 1:])
        whole, without = significance(scores, found)
        line, t0, t1, half = in_pixels(found, growth)
        ends = ends_of(shape, line, t0, t1)
        short = found.t1 - found.t0 < max(SHORTEST, SLENDER * found.width)
        doubtful = short or whole < sigma or without < SPREAD * sigma
        if doubtful or beside_edge(scores, found) or (shown is not None and where_others_end(shown, found)):
            vain += 1
            taken = within(seeds, found.line, found.t0, found.t1, 2.0)
            taken[0] = True
            seeds = seeds[~taken]
            continue
        bands.append(strips.band(*shape, line, t0, t1, half))
        trails.append((*ends, 2 * half, float(whole), 0.0))
        wipe(scores, bands[-1], shape[1])
        seeds = promising_lines(scores)
    return np.unique(np.concatenate(bands)), trails


def beside_edge(scores, found):
    """Whether a line runs near where its own frame ends: BORDER_PX to one side of it there are no samples, of score 0.

    There a sensor is often brighter or darker, row by row, and where few frames overlap the mean is that of few.
    """
    sides = aside(scores, found)
    return any(1 - np.count_nonzero(side) / max(side.size, 1) > EMPTY for side in sides)


def where_others_end(shown, found):
    """Whether a line runs where other frames end, as panels of a mosaic do: fewer go on beyond it.

    shown (rows, cols): how many frames have each bin. What their skies differ by is a step of the mean there.
    """
    one, other = aside(shown, found)
    return any(np.mean(less < FEWER * more) > EMPTY for less, more in ((one, other), (other, one)) if less.size)


def aside(values, found):
    """What bins (rows, cols) hold BORDER_PX to either side of a line, abreast of each other; 0 beyond them."""
    (px, py, ux, uy), t = found.line, np.arange(found.t0, found.t1)
    for side in (-1, 1):
        away = side * (0.5 * found.width + BORDER_PX / SIDE)
        x, y = np.rint(px + t * ux - away * uy).astype(int), np.rint(py + t * uy + away * ux).astype(int)
        inside = (x >= 0) & (x < values.shape[1]) & (y >= 0) & (y < values.shape[0])
        held = np.zeros(t.size, values.dtype)
        held[inside] = values[y[inside], x[inside]]
        yield held


def in_pixels(found, growth):
    """A trail as it is cut, in pixels of the frame: (line, t0, t1, half its width)."""
    px, py, ux, uy = found.line
    line = ((px + 0.5) * SIDE - 0.5, (py + 0.5) * SIDE - 0.5, ux, uy)
    half = 0.5 * found.width * SIDE + MARGIN_PX + growth
    return line, found.t0 * SIDE - 2 * half, found.t1 * SIDE + 2 * half, half


def wipe(bins: np.ndarray, flat: np.ndarray, cols: int) -> None:
    """Set the bins (or scores) to 0 that hold any of the pixels `flat` of a frame of so many columns."""
    bins[flat // cols // SIDE, flat % cols // SIDE] = 0
