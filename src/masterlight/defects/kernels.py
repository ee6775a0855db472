"""Finding and replacing defective pixels, on boxes of a frame."""

import numpy as np

from masterlight.compiled import njit
from masterlight.core.statistics.mesh import mesh_row

MEDIAN, MEAN, GAUSSIAN, MINIMUM, MAXIMUM = range(5)
"""What is made of the good neighbours of a defective pixel."""
SIDE = 3
"""Pixels that a line defect takes from each side."""


@njit(nogil=True, cache=True)
def defects_of_box(row_start, columns, rules, y0, y1, x0, x1):
    """The defects of a box as (rows, columns, rules) arrays counted from its first pixel, in row order.

    `columns[row_start[y]:row_start[y + 1]]` are the defects of sensor row y, in rising order.
    """
    n = row_start[y1] - row_start[y0]
    ys, xs, kinds = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.uint8)
    n = 0
    for y in range(y0, y1):
        for k in range(row_start[y], row_start[y + 1]):
            if x0 <= columns[k] < x1:
                ys[n], xs[n], kinds[n] = y - y0, columns[k] - x0, rules[k]
                n += 1
    return ys[:n], xs[:n], kinds[:n]


@njit(nogil=True, cache=True)
def replace_defects(image, y0, x0, ys, xs, rules, tables, weight, limits, wanted, operation, amount):
    """Give each defective pixel of a box a value made of its good neighbours, in place; order does not matter.

    image (rows, cols) float32 is the box of the sensor that begins at row y0, column x0. ys, xs, rules (n,) are the
    defects, counted from there; those outside `wanted` = (top, bottom, left, right) are not replaced, but lend nothing
    either. tables (p, p, rules, k, 4) int16 lists for each place of the colour pattern and each rule the neighbours of
    the same colour, in the order in which they are asked: dy, dx, shell, side; a shell below 0 ends it. weight (rows,
    cols) float32 from 0 to 1, or (1, 1). limits (rules, 3): a search ends with the first shell after which it has
    `need` neighbours, and weight for the share `cover` of all places looked at, the defect's own included; with fewer
    than `least` the first rule is tried, and after that the pixel is NaN, missing. The result is mixed with what was
    there: `amount` of 1 replaces all of it.
    """
    top, bottom, left, right = wanted
    period = tables.shape[0]
    old, new = np.empty(ys.size, np.float32), np.empty(ys.size, np.float32)
    for k in range(ys.size):
        old[k] = image[ys[k], xs[k]]
        image[ys[k], xs[k]] = np.nan
    samples = np.empty((3, tables.shape[3]), np.float32)
    for k in range(ys.size):
        y, x, rule = ys[k], xs[k], rules[k]
        if y < top or y >= bottom or x < left or x >= right:
            continue
        table = tables[(y + y0) % period, (x + x0) % period]
        n, radius = gather(image, y, x, table[rule], weight, limits[rule], samples)
        if n < limits[rule, 2] and rule != 0:
            rule = 0
            n, radius = gather(image, y, x, table[0], weight, limits[0], samples)
        new[k] = value_of(samples, n, radius, operation) if n > 0 and n >= limits[rule, 2] else np.nan
    for k in range(ys.size):
        y, x = ys[k], xs[k]
        if y < top or y >= bottom or x < left or x >= right:
            continue
        v = new[k]
        if amount < 1.0 and old[k] == old[k]:
            v = np.float32(amount) * v + np.float32(1.0 - amount) * old[k]
        image[y, x] = v


@njit(nogil=True, cache=True)
def gather(image, y, x, table, weight, limit, samples):
    """Good neighbours of a pixel into samples (3, k): value, weight, squared distance; returns their count, the shell.

    The rules are those of `replace_defects`. What has a side gives SIDE pixels of each side at most.
    """
    rows, cols = image.shape
    plain = weight.size == 1
    n, places, total, on_left, on_right, shell = 0, 1, 0.0, 0, 0, 0
    for k in range(table.shape[0]):
        if table[k, 2] != shell:
            if shell > 0 and n >= limit[0] and total > 0.0 and total >= limit[1] * places:
                break
            if table[k, 2] < 0:
                break
            shell = table[k, 2]
        j, i, side = y + table[k, 0], x + table[k, 1], table[k, 3]
        if j < 0 or i < 0 or j >= rows or i >= cols:
            continue
        places += 1
        w, v = (weight[0, 0] if plain else weight[j, i]), image[j, i]
        total += w
        if v != v or not w > 0 or (side == 1 and on_left == SIDE) or (side == 2 and on_right == SIDE):
            continue
        on_left += side == 1
        on_right += side == 2
        samples[0, n], samples[1, n] = v, w
        samples[2, n] = table[k, 0] ** 2 + table[k, 1] ** 2
        n += 1
    return n, shell


@njit(nogil=True, cache=True)
def value_of(samples, n, radius, operation):
    """One value from n samples (value, weight, squared distance)."""
    values = samples[0, :n]
    if operation == MEDIAN:
        return middle_of(values)
    if operation == MINIMUM:
        return values.min()
    if operation == MAXIMUM:
        return values.max()
    above, below = 0.0, 0.0
    for k in range(n):
        w = np.float64(samples[1, k])
        if operation == GAUSSIAN:
            w *= np.exp(-samples[2, k] / (2.0 * radius * radius))
        above += w * samples[0, k]
        below += w
    return np.float32(above / below)


@njit(nogil=True, cache=True)
def middle_of(values):
    """Median of at least one finite value, which are sorted in place."""
    n = values.size
    if n > 64:
        values.sort()
    else:
        for a in range(1, n):
            v, b = values[a], a
            while b > 0 and values[b - 1] > v:
                values[b] = values[b - 1]
                b -= 1
            values[b] = v
    return np.float32(0.5) * (values[(n - 1) // 2] + values[n // 2])


@njit(nogil=True, cache=True)
def reach(weight, ys, xs, rules, tables, limits):
    """How many pixels around them the given defects look at most when weights alone decide, as in a defect map."""
    period = tables.shape[0]
    samples, farthest = np.empty((3, tables.shape[3]), np.float32), 0
    for k in range(ys.size):
        table = tables[ys[k] % period, xs[k] % period, rules[k]]
        _, shell = gather(weight, ys[k], xs[k], table, weight, limits[rules[k]], samples)
        farthest = max(farthest, shell)
    return farthest


@njit(nogil=True, cache=True)
def stencil(image, y, x, offsets, count, work):
    """Mean and median of the finite pixels at the first `count` offsets (n, 2), and how many there are."""
    n, total = 0, 0.0
    for k in range(count):
        j, i = y + offsets[k, 0], x + offsets[k, 1]
        if 0 <= j < image.shape[0] and 0 <= i < image.shape[1]:
            v = image[j, i]
            if v == v:
                work[n] = v
                total += v
                n += 1
    return (total / n, middle_of(work[:n]), n) if n else (np.nan, np.nan, 0)


@njit(nogil=True, cache=True)
def judge(image, y, x, near, far, far_count, work, spread, hot_dn, cold_dn):
    """1 for a pixel that is hot among its neighbours, 2 for a cold one, else 0."""
    t = image[y, x]
    mean, median, n = stencil(image, y, x, near, near.shape[0], work)
    hot, cold = t > median + hot_dn, t + cold_dn < median
    if n == 0 or not (hot or cold):
        return 0
    _, around, _ = stencil(image, y, x, far, far_count, work)
    if around != around:
        around = median
    if hot and mean < around + 0.5 * spread and t > around + spread:
        return 1
    return 2 if cold and t + cold_dn < around else 0


@njit(nogil=True, cache=True)
def local_outliers(image, near, far, far_counts, spread, hot_dn, cold_dn, wanted):
    """Rows, columns and kinds (1 hot, 2 cold) of the pixels that stand out of their neighbours of the same colour.

    image (rows, cols) float32, NaN where missing. near (p, p, 8, 2), far (p, p, k, 2), far_counts (p, p) are the
    offsets of the neighbours for each place of the pattern, as the box begins; spread, hot_dn, cold_dn (c, c) float32
    thresholds of each place. Pixels inside `wanted` = (top, bottom, left, right) are judged. A pixel that is not beyond
    half of its nearest neighbours cannot be beyond their median: most are done with that.
    """
    top, bottom, left, right = wanted
    period, places = near.shape[0], spread.shape[0]
    margin = np.max(np.abs(near))
    work = np.empty(max(far.shape[2], near.shape[2]), np.float32)
    below, above = np.empty(right - left, np.uint8), np.empty(right - left, np.uint8)
    floor, ceiling = np.empty(right - left, np.float32), np.empty(right - left, np.float32)
    y_out, x_out, kind_out = [], [], []
    for y in range(top, bottom):
        inner = margin <= y < image.shape[0] - margin
        start, stop = max(left, margin), min(right, image.shape[1] - margin)
        for x in range(left, right):
            floor[x - left] = image[y, x] - hot_dn[y % places, x % places]
            ceiling[x - left] = image[y, x] + cold_dn[y % places, x % places]
        below[:], above[:] = near.shape[2], near.shape[2]
        if inner and start < stop:
            below[start - left : stop - left], above[start - left : stop - left] = 0, 0
            if period == 1:
                votes(image, y, near[0, 0], start, stop, floor[start - left :], ceiling[start - left :],
                      below[start - left :], above[start - left :])  # fmt: skip
            else:
                for x in range(start, stop):
                    for k in range(near.shape[2]):
                        at = near[y % period, x % period, k]
                        v = image[y + at[0], x + at[1]]
                        below[x - left] += not v >= floor[x - left]
                        above[x - left] += not v <= ceiling[x - left]
        for x in range(left, right):
            if below[x - left] < 4 and above[x - left] < 4:
                continue
            here = near[y % period, x % period], far[y % period, x % period], far_counts[y % period, x % period]
            c = y % places, x % places
            kind = judge(image, y, x, here[0], here[1], here[2], work, spread[c], hot_dn[c], cold_dn[c])
            if kind:
                y_out.append(y)
                x_out.append(x)
                kind_out.append(kind)
    return np.array(y_out, np.int64), np.array(x_out, np.int64), np.array(kind_out, np.uint8)


@njit(nogil=True, cache=True)
def votes(image, y, offsets, start, stop, floor, ceiling, below, above):
    """Count for pixels of a row from start to stop the neighbours below `floor` and above `ceiling`: NaN is both."""
    for k in range(offsets.shape[0]):
        row = image[y + offsets[k, 0], start + offsets[k, 1] : stop + offsets[k, 1]]
        for x in range(stop - start):
            v = row[x]
            below[x] += np.uint8(not (v >= floor[x]))
            above[x] += np.uint8(not (v <= ceiling[x]))


@njit(nogil=True, cache=True)
def outside(image, level, low, high):
    """Rows and columns of the pixels that are not between `low` and `high` above a mesh of the background, or NaN.

    image (rows, cols) float32; level (tiles_y, tiles_x) as `mesh` gives it. Two (n,) arrays in row order.
    """
    rows, cols = image.shape
    sky = np.empty(cols, np.float32)
    y_out, x_out = [], []
    for y in range(rows):
        mesh_row(level, y, rows, sky)
        line, strange = image[y], False
        for x in range(cols):
            d = line[x] - sky[x]
            strange |= not (d < high and d > low)
        if strange:
            for x in range(cols):
                d = line[x] - sky[x]
                if not (d < high and d > low):
                    y_out.append(y)
                    x_out.append(x)
    return np.array(y_out, np.int64), np.array(x_out, np.int64)


@njit(nogil=True, cache=True)
def run_lengths(major, minor):
    """Length of the run of neighbours that each entry of a sorted list belongs to.

    major, minor (n,): entries of one run have the same `major`, and `minor` rises by one.
    """
    out, start = np.empty(major.size, np.int64), 0
    for k in range(1, major.size + 1):
        if k == major.size or major[k] != major[start] or minor[k] != minor[k - 1] + 1:
            out[start:k] = k - start
            start = k
    return out


@njit(nogil=True, cache=True)
def segments(values, drop):
    """Stretches over which `values` add up, as two arrays (starts, stops): each ends where its sum is largest before it
    falls by more than `drop`, or to zero; those whose sum is not above `drop` are left out."""
    starts, stops = [], []
    k = 0
    while k < values.size:
        total, best, end, j = 0.0, 0.0, k, k
        while j < values.size:
            total += values[j]
            j += 1
            if total > best:
                best, end = total, j
            if total <= 0.0 or best - total > drop:
                break
        if best > drop:
            starts.append(k)
            stops.append(end)
        k = max(end, k + 1)
    return np.array(starts, np.int64), np.array(stops, np.int64)


@njit(nogil=True, cache=True)
def spike_strength(image, y, x):
    """Laplacian of a pixel, of half a pixel's size and with its negative parts cut: twice the height of a single spike.

    Neighbours outside the image count as the pixel itself (van Dokkum 2001).
    """
    rows, cols = image.shape
    here, total = image[y, x], 0.0
    for j in (-1, 1):
        for i in (-1, 1):
            v = image[min(max(y + j, 0), rows - 1), x]
            h = image[y, min(max(x + i, 0), cols - 1)]
            total += max(0.0, 2.0 * here - v - h)
    return 0.25 * total


@njit(nogil=True, cache=True)
def square_median(image, y, x, radius, work):
    """Median of the finite pixels of a square, the middle one included."""
    n = 0
    for j in range(max(y - radius, 0), min(y + radius + 1, image.shape[0])):
        for i in range(max(x - radius, 0), min(x + radius + 1, image.shape[1])):
            if image[j, i] == image[j, i]:
                work[n] = image[j, i]
                n += 1
    return middle_of(work[:n]) if n else np.float32(np.nan)


@njit(nogil=True, cache=True)
def spikes(image, level, sky_noise, e_per_dn, clip, contrast):
    """Rows and columns of the pixels that are sharper than any star, as cosmic rays are (van Dokkum 2001).

    image (rows, cols) float32; level (tiles_y, tiles_x) its background. The noise is `sky_noise` DN and the photon
    noise of what is above the sky. A pixel is taken when its Laplacian is `clip` sigma above that of its surroundings
    and `contrast` times the fine structure there, which is what a star would have.
    """
    rows, cols = image.shape
    work, small = np.empty(49, np.float32), np.empty(9, np.float32)
    sharp, fine = np.empty(25, np.float32), np.empty(49, np.float32)
    sky = np.empty(cols, np.float32)
    y_out, x_out = [], []
    for y in range(rows):
        mesh_row(level, y, rows, sky)
        for x in range(cols):
            laplacian = spike_strength(image, y, x)
            if not laplacian > 2.0 * clip * sky_noise:
                continue
            smooth = square_median(image, y, x, 2, work)
            sigma = np.sqrt(sky_noise**2 + max(0.0, smooth - sky[x]) / e_per_dn)
            if not laplacian > 2.0 * clip * sigma:
                continue
            n = 0
            for j in range(max(y - 2, 0), min(y + 3, rows)):
                for i in range(max(x - 2, 0), min(x + 3, cols)):
                    strength = spike_strength(image, j, i)
                    if strength == strength:
                        sharp[n] = strength
                        n += 1
            surplus = (laplacian - middle_of(sharp[:n])) / (2.0 * sigma)
            n = 0
            for j in range(max(y - 3, 0), min(y + 4, rows)):
                for i in range(max(x - 3, 0), min(x + 4, cols)):
                    fine[n] = square_median(image, j, i, 1, small)
                    n += fine[n] == fine[n]
            structure = square_median(image, y, x, 1, small) - middle_of(fine[:n])
            if surplus > clip and laplacian > contrast * max(structure, 0.01 * sigma):
                y_out.append(y)
                x_out.append(x)
    return np.array(y_out, np.int64), np.array(x_out, np.int64)
