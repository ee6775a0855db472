"""Slow, obvious twins of `masterlight.integration.trails.largescale`, `trails` and `strips`."""

import numpy as np


def crowded(binary, diameter, fraction):
    rows, cols = binary.shape
    out = np.zeros_like(binary)
    for y, x in np.ndindex(rows, cols):
        inside = [
            binary[v, u]
            for v in range(max(0, y - diameter // 2), min(rows, y + diameter // 2 + 1))
            for u in range(max(0, x - diameter // 2), min(cols, x + diameter // 2 + 1))
            if (v - y) ** 2 + (u - x) ** 2 <= (diameter / 2) ** 2
        ]
        out[y, x] = sum(inside) > fraction * len(inside)
    return out


def binned(binary, side):
    rows, cols = (-(-size // side) for size in binary.shape)
    out = np.zeros((rows, cols), np.uint8)
    for y, x in np.argwhere(binary):
        out[y // side, x // side] = 1
    return out


def scored(filled, cell, share, unit):
    out = np.empty(filled.shape, np.int16)
    for y, x in np.ndindex(filled.shape):
        j, c = y // cell * cell, x // cell * cell
        q = max(filled[max(0, j - cell) : j + 2 * cell, max(0, c - cell) : c + 2 * cell].mean(), 0.003)
        p, q = max(share, min(2 * q, 0.95)), min(q, 0.45)
        out[y, x] = round(unit * min(np.log(p / q), 4.0)) if filled[y, x] else round(unit * np.log((1 - p) / (1 - q)))
    return out


def steps(height, slope):
    """How far to the right a line of Brady's has come in each of its rows."""
    if height == 1:
        return [0]
    half = steps(height // 2, slope // 2)
    return half + [(slope + 1) // 2 + step for step in half]


def steep_lines(scores, shortest, longest, threshold):
    rows, cols = scores.shape
    size, found = 2**longest, []
    for k in range(shortest, longest + 1):
        height = 2**k
        for y0 in range(0, -(-rows // size) * size, height):
            best = {}
            for slope in range(height):
                for x0 in range(-size, cols + size):
                    places = [(y0 + i, x0 + step) for i, step in enumerate(steps(height, slope))]
                    total = sum(int(scores[y, x]) for y, x in places if y < rows and 0 <= x < cols)
                    block = (x0 + size) // height
                    if total >= threshold and total > best.get(block, (threshold - 1,))[0]:
                        best[block] = total, x0, y0, x0 + slope, y0 + height - 1
            found += best.values()
    return np.array(sorted(found), np.float32).reshape(-1, 5)


def strip(shape, line, t0, t1, half):
    """Which pixels of a frame lie in a strip around a line, and their places along it and beside it."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    px, py, ux, uy = line
    t, d = (x - px) * ux + (y - py) * uy, (y - py) * ux - (x - px) * uy
    return (t >= t0) & (t <= t1) & (np.abs(d) <= half), t, d


def lonely(t, d, t0, size, cells, low, high, fewest):
    """Which cells along a strip hold enough pixels, and more than twice as many as the emptier one beside them."""
    step = high - low + 3.0
    out = []
    for j in range(cells):
        inner = (t >= t0 + j * size) & (t < t0 + (j + 1) * size)
        left, middle, right = (np.sum(inner & (d >= low + s) & (d < high + s)) for s in (-step, 0.0, step))
        out.append(middle >= fewest and middle > 2 * min(left, right))
    return np.array(out)


def by_chance(binary, width, size, block, fewest, samples):
    rows, cols = binary.shape
    out = np.zeros(block + 1)
    for i in range(samples):
        angle = np.pi * (i * 0.5497004779 % 1)
        line = cols * (i * 0.8191725134 % 1), rows * (i * 0.6710436067 % 1), np.cos(angle), np.sin(angle)
        inner, t, d = strip(binary.shape, line, 0.0, block * size, 1.5 * width + 3.0)
        inner &= binary
        count = lonely(t[inner], d[inner], 0.0, size, block, -0.5 * width, 0.5 * width, fewest).sum()
        out += np.arange(block + 1) <= count
    return out


def evidence(filled, usual, clumped):
    after_filled = usual + clumped * (1 - usual)
    chances = {False: usual * (1 - after_filled) / (1 - usual), True: after_filled}
    nats = 0.0
    for state, q in chances.items():
        next_ones = [now for before, now in zip([False, *filled[:-1]], filled, strict=True) if before == state]
        p = np.mean(next_ones) if next_ones else 0.0
        if p > q:
            nats += sum(np.log(p / q) if now else np.log((1 - p) / (1 - q)) for now in next_ones)
    return nats


def clumping(filled):
    inner = filled[:-1, :-1].astype(float)
    share = inner.mean()
    follow = 0.5 * ((inner * filled[:-1, 1:]).sum() + (inner * filled[1:, :-1]).sum()) / inner.sum()
    return max(0.0, (follow - share) / (1 - share))
