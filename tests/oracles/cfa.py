"""Debayering, slow and obvious: whole frames in float64, one double loop or one formula for each pixel."""

from itertools import product

import numpy as np

TURN = ((1, 0), (0, 1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0))
"""How (dy, dx) becomes when north is turned to the north, west, south, east: rows of a matrix."""
PAD = 14
"""More than any interpolation of a Bayer mosaic looks around."""


def letters(pattern, rows, cols, y0=0, x0=0):
    n = int(len(pattern) ** 0.5)
    return np.array([[pattern[(y0 + y) % n * n + (x0 + x) % n] for x in range(cols)] for y in range(rows)])


def fill_missing(image, colour, radius):
    """Every NaN as the mean of its nearest same-colour pixels; colour (rows, cols) of letters."""
    out, without = image.astype(float), 0
    for y, x in np.argwhere(np.isnan(image)):
        for r in range(1, radius + 1):
            box = np.s_[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1]
            good = image[box][(colour[box] == colour[y, x]) & np.isfinite(image[box])]
            if good.size:
                break
        out[y, x] = good.mean(dtype=float) if good.size else 0
        without += good.size == 0
    return out, without


def blank_unknown(image, colour, planes, radius):
    out = planes.copy()
    for (y, x), p in product(np.ndindex(image.shape), range(3)):
        box = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        if not np.isfinite(image[box][colour[box] == "RGB"[p]]).any():
            out[p, y, x] = np.nan
    return out


def superpixel(image, colour, size):
    """Mean of the finite samples of each colour in each square; all NaN where a colour has none."""
    h, w = image.shape[0] // size, image.shape[1] // size
    out = np.full((3, h, w), np.nan)
    for y, x in np.ndindex(h, w):
        box = np.s_[size * y : size * y + size, size * x : size * x + size]
        good = [image[box][(colour[box] == c) & np.isfinite(image[box])] for c in "RGB"]
        if all(g.size for g in good):
            out[:, y, x] = [g.mean(dtype=float) for g in good]
    return out


def debayer(mosaic, pattern, method):
    """A Bayer mosaic in colour, its edges mirrored."""
    p = np.pad(mosaic.astype(float), PAD, "reflect")
    colour = letters(pattern, *p.shape, -PAD, -PAD)
    planes = {"bilinear": bilinear, "mhc": mhc, "vng": vng, "rcd": rcd, "rcd_even": rcd_even}[method](p, colour)
    return planes[:, PAD:-PAD, PAD:-PAD]


def inner(p, margin=PAD):
    return product(range(margin, p.shape[0] - margin), range(margin, p.shape[1] - margin))


def bilinear(p, colour):
    """Mean of the pixels of a colour in the 3 x 3 square around."""
    out = np.zeros((3, *p.shape))
    for y, x in inner(p):
        for i, c in enumerate("RGB"):
            box = np.s_[y - 1 : y + 2, x - 1 : x + 2]
            out[i, y, x] = p[y, x] if colour[y, x] == c else p[box][colour[box] == c].mean()
    return out


GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
IN_ROW = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
ACROSS = np.array([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]) / 16


def mhc(p, colour):
    """The linear 5 x 5 filters of Malvar, He & Cutler (2004)."""
    out = np.zeros((3, *p.shape))
    for y, x in inner(p):
        for i, c in enumerate("RGB"):
            if colour[y, x] == c:
                out[i, y, x] = p[y, x]
                continue
            kernel = GREEN if c == "G" else ACROSS
            if colour[y, x] == "G":
                kernel = IN_ROW if colour[y, x + 1] == c else IN_ROW.T
            out[i, y, x] = (kernel * p[y - 2 : y + 3, x - 2 : x + 3]).sum()
    return out


NORTH = [
    (1, (-1, 0), (1, 0)), (1, (-2, 0), (0, 0)), (0.5, (-1, -1), (1, -1)), (0.5, (-1, 1), (1, 1)),
    (0.5, (-2, -1), (0, -1)), (0.5, (-2, 1), (0, 1)),
]  # fmt: skip
EAST_GREEN = [(1, (-1, 1), (1, -1)), (1, (-2, 2), (0, 0)), (1, (-2, 1), (0, -1)), (1, (-1, 2), (1, 0))]
EAST_OTHER = [
    (1, (-1, 1), (1, -1)), (1, (-2, 2), (0, 0)), (0.5, (-1, 0), (0, -1)), (0.5, (0, 1), (1, 0)),
    (0.5, (-2, 1), (-1, 0)), (0.5, (-1, 2), (0, 1)),
]  # fmt: skip
SETS = {
    (True, "n"): [(-2, -1), (-2, 0), (-2, 1), (-1, 0), (0, -1), (0, 0), (0, 1)],
    (True, "ne"): [(-2, 1), (-1, 0), (-1, 1), (-1, 2), (0, 1)],
    (False, "n"): [(-2, 0), (-1, -1), (-1, 0), (-1, 1), (0, 0)],
    (False, "ne"): [(-2, 1), (-2, 2), (-1, 0), (-1, 1), (-1, 2), (0, 0), (0, 1)],
}


def vng(p, colour):
    """Variable number of gradients (Chang, Cheung & Pang 1999), every direction a rotation of north or north-east."""
    out = np.zeros((3, *p.shape))
    for y, x in inner(p):
        green = colour[y, x] == "G"
        found = []
        for (a, b), (c, d) in TURN:

            def at(o, a=a, b=b, c=c, d=d, y=y, x=x):
                return y + a * o[0] + b * o[1], x + c * o[0] + d * o[1]

            for terms, name in ((NORTH, "n"), (EAST_GREEN if green else EAST_OTHER, "ne")):
                gradient = sum(w * abs(p[at(i)] - p[at(j)]) for w, i, j in terms)
                found.append((gradient, [at(o) for o in SETS[green, name]]))
        low, high = min(f[0] for f in found), max(f[0] for f in found)
        taken = [places for g, places in found if g <= 1.5 * low + 0.5 * (high - low) + 1e-10]
        sums = {c: sum(np.mean([p[at] for at in places if colour[at] == c]) for places in taken) for c in "RGB"}
        for i, c in enumerate("RGB"):
            out[i, y, x] = p[y, x] + (sums[c] - sums[colour[y, x]]) / len(taken)
    return out


def moved(a, dy, dx):
    """The array whose pixel is the one (dy, dx) away."""
    return np.roll(a, (-dy, -dx), (0, 1))


def highpass(p, dy, dx):
    """Squared high-pass along a direction, summed over three pixels of it."""
    weights = {-3: 1, -2: -3, -1: -1, 0: 6, 1: -1, 2: -3, 3: 1}
    square = sum(w * moved(p, i * dy, i * dx) for i, w in weights.items()) ** 2
    return sum(moved(square, i * dy, i * dx) for i in (-1, 0, 1)) + 1e-6


def decided(direction):
    around = sum(moved(direction, *o) for o in ((-1, -1), (-1, 1), (1, -1), (1, 1))) / 4
    return np.where(abs(0.5 - direction) < abs(0.5 - around), around, direction)


def rcd_even(p, colour):
    return rcd(p, colour, even=True)


def rcd(p, colour, pedestal_dn=1000.0, even=False):
    """Ratio-corrected demosaicing (Sanz Rodriguez 2017) with whole arrays; ratios of data plus a pedestal.

    When `even`, every side counts the same.
    """
    mixed = mean_of_sides if even else weighed
    v, h, fall, rise = (highpass(p, *d) for d in ((1, 0), (0, 1), (1, 1), (1, -1)))
    upright, slanted = decided(v / (v + h)), decided(fall / (fall + rise))
    low = sum((2 - abs(i)) * (2 - abs(j)) * moved(p, i, j) / 16 for i in (-1, 0, 1) for j in (-1, 0, 1))
    sides = {d: [] for d in ((-1, 0), (1, 0), (0, -1), (0, 1))}
    for dy, dx in sides:
        one, two = moved(p, dy, dx), moved(p, 2 * dy, 2 * dx)
        gradient = 1e-6 + abs(one - moved(p, -dy, -dx)) + abs(p - two)
        gradient += abs(one - moved(p, 3 * dy, 3 * dx)) + abs(two - moved(p, 4 * dy, 4 * dx))
        far = moved(low, 2 * dy, 2 * dx)
        share = np.clip((one + pedestal_dn) / np.maximum(low + far + 2 * pedestal_dn, 1e-6), 0, 1)
        sides[dy, dx] = gradient, one + (low - far) * share
    green = np.where(colour == "G", p, mixed(sides, upright))
    out = np.zeros((3, *p.shape))
    out[1] = green
    for i, c in ((0, "R"), (2, "B")):
        known = np.where(colour == c, p, np.nan)
        at_other = green + mixed(differences(known, green, ((-1, -1), (1, 1), (1, -1), (-1, 1))), slanted)
        known = np.where((colour != "G") & (colour != c), at_other, known)
        at_green = green + mixed(differences(known, green, ((-1, 0), (1, 0), (0, -1), (0, 1))), upright)
        out[i] = np.where(colour == "G", at_green, known)
    return out


def differences(known, green, directions):
    sides = {}
    for dy, dx in directions:
        one = moved(known, dy, dx)
        gradient = 1e-6 + abs(one - moved(known, -dy, -dx)) + abs(one - moved(known, 3 * dy, 3 * dx))
        gradient += abs(green - moved(green, 2 * dy, 2 * dx))
        sides[dy, dx] = gradient, one - moved(green, dy, dx)
    return sides


def mean_of_sides(sides, direction):
    return sum(value for _, value in sides.values()) / 4


def weighed(sides, direction):
    """The first pair of sides where direction is 0, the second where it is 1; of a pair, the smoother side counts."""
    (ga, a), (gb, b), (gc, c), (gd, d) = sides.values()
    return (1 - direction) * (gb * a + ga * b) / (ga + gb) + direction * (gd * c + gc * d) / (gc + gd)


# --- X-Trans ----------------------------------------------------------------------------------------------------------


def nearby_mean(p, colour):
    """For each colour the weights of least change from 1 / distance that have sum 1 and no first moment."""
    out = np.zeros((3, *p.shape))
    for y, x in inner(p, 2):
        for i, c in enumerate("RGB"):
            if colour[y, x] == c:
                out[i, y, x] = p[y, x]
                continue
            at = [o for o in product(range(-2, 3), repeat=2) if colour[y + o[0], x + o[1]] == c]
            o = np.array(at, float)
            prior = 1 / np.hypot(*o.T)
            terms = np.column_stack([np.ones(len(o)), o])
            # least sum of w^2 / prior under terms.T @ w = (1, 0, 0)
            w = np.linalg.lstsq(terms.T * np.sqrt(prior), np.array([1.0, 0, 0]), rcond=None)[0] * np.sqrt(prior)
            out[i, y, x] = sum(wi * p[y + a, x + b] for wi, (a, b) in zip(w, at, strict=True))
    return out


def joint_mean(p, colour):
    """For each colour the weights of least error for a scene of star-like detail, from the pixels of all colours."""
    out = np.zeros((3, *p.shape))
    at = np.array(list(product(range(-2, 3), repeat=2)))
    likeness = np.array([[1 / (1 + ((a - b) ** 2).sum() / 3.5**2) ** 2 for b in at] for a in at])
    for y, x in inner(p, 2):
        around = np.array([colour[y + a, x + b] for a, b in at])
        scene = likeness * np.where(around[:, None] == around, 1, 0.95)
        for i, c in enumerate("RGB"):
            if colour[y, x] == c:
                out[i, y, x] = p[y, x]
                continue
            wanted = likeness[12] * np.where(around == c, 1, 0.95)
            terms = np.array([*(around == k for k in "RGB"), *at.T], float)
            w = np.linalg.pinv(terms) @ [*(k == c for k in "RGB"), 0, 0]  # some weights that fulfil the terms,
            free = np.linalg.svd(terms)[2][5:].T  # and all that may be added: the least of w A w - 2 w wanted
            noisy = scene + 0.01 * np.eye(25)
            w += free @ np.linalg.solve(free.T @ noisy @ free, free.T @ (wanted - noisy @ w))
            out[i, y, x] = sum(wi * p[y + a, x + b] for wi, (a, b) in zip(w, at, strict=True))
    return out


def neighbours(colour, y, x):
    """Offsets of the hexagon (or, for greens of a block, of the pairs) of one pixel, turned towards its partner."""
    green = colour[y, x] == "G"
    sides = [(1, 0), (0, -1), (-1, 0), (0, 1)]
    others = [d for d in sides if colour[y + d[0], x + d[1]] != "G"]
    if green and len(others) != 2:
        return None
    if green:
        towards = next(d for i, d in enumerate(sides) if d in others and sides[i - 1] in others)
        places = [(0, 1), (0, -2), (1, 0), (-2, 0), (1, 1), (-2, -2), (1, -1), (-1, 1)]
        if towards[0] == 0:
            places = [places[i] for i in (2, 3, 0, 1, 6, 7, 4, 5)]
    else:
        (towards,) = others
        places = [(0, 1), (0, -1), (2, 0), (-1, 0), (1, 1), (1, -1)]
    a, b = towards
    return [(a * i - b * j, b * i + a * j) for i, j in places]


def markesteijn(p, colour, passes):
    """Frank Markesteijn's method, pixel by pixel; the outermost pixels are not meaningful."""
    where = [(y, x) for y, x in inner(p, 3)]
    around = {at: neighbours(colour, *at) for at in where}
    rb = [at for at in where if colour[at] != "G"]
    alone = [at for at in where if around[at] is None]
    blocks = [at for at in where if colour[at] == "G" and around[at] is not None]
    index = {c: i for i, c in enumerate("RGB")}
    on_row = {at: level(colour, at) for at in rb}
    sets = np.zeros((4, 3, *p.shape))
    for i, c in enumerate("RGB"):
        sets[:, i] = np.where(colour == c, p, 0)
    limits, wide = {}, np.pad(p, 6)
    for at in rb:
        v = [
            [wide[6 + at[0] + k * o[0], 6 + at[1] + k * o[1]] for k in range(-3, 4)] for o in around[at]
        ]  # v[o][3 + k]
        greens = [line[4] for line in v]
        limits[at] = min(greens), max(greens)
        found = [
            (174 * (v[1][4] + v[0][4]) - 46 * (v[1][5] + v[0][5])) / 256,
            (223 * v[3][4] + 33 * v[2][4] + 92 * (p[at] - v[2][2])) / 256,
            *((164 * v[o][4] + 92 * v[o][1] + 33 * (2 * p[at] - v[o][6] - v[o][0])) / 256 for o in (4, 5)),
        ]
        for d in range(4):
            sets[d ^ on_row[at], 1, *at] = np.clip(found[d], *limits[at])
    every = []
    for turn in range(passes):
        if turn:
            for at in rb:
                own = index[colour[at]]
                for d in (3, 4, 5):
                    s = sets[(d - 2) ^ on_row[at]]
                    dy, dx = around[at][d]
                    far, near = (at[0] - 2 * dy, at[1] - 2 * dx), (at[0] + dy, at[1] + dx)
                    value = (s[1][far] + 2 * s[1][near] - s[own][far] - 2 * s[own][near] + 3 * s[own][at]) / 3
                    s[1][at] = np.clip(value, *limits[at])
        colour_pass(sets, colour, around, rb, alone, blocks, on_row)
        every = [sets.copy()] if turn == 0 else [every[0], sets.copy()]
    return judged(np.concatenate(every))


def level(colour, at):
    """Whether the partner of a red or blue pixel stands in its row."""
    return colour[at[0], at[1] - 1] != "G" or colour[at[0], at[1] + 1] != "G"


def second(s, i, at, step):
    """A colour from two opposite pixels and the bend of green; and how little they agree."""
    a, b = (at[0] + step[0], at[1] + step[1]), (at[0] - step[0], at[1] - step[1])
    bend = 2 * s[1][at] - s[1][a] - s[1][b]
    return (bend + s[i][a] + s[i][b]) / 2, (s[1][a] - s[1][b] - s[i][a] + s[i][b]) ** 2 + bend**2


def colour_pass(sets, colour, around, rb, alone, blocks, on_row):
    for d, s in enumerate(sets):
        for y, x in alone:
            f = "RGB".index(colour[y, x + 1])
            row = {f: second(s, f, (y, x), (0, 1)), 2 - f: second(s, 2 - f, (y, x), (0, 2))}
            column = {2 - f: second(s, 2 - f, (y, x), (1, 0)), f: second(s, f, (y, x), (2, 0))}
            rough = [sum(q for _, q in way.values()) for way in (row, column)]
            take = row if d == 0 or (d > 1 and rough[0] <= rough[1]) else column
            for i in take:
                s[i, y, x] = take[i][0]
        for at in rb:
            f = 2 - "RGB".index(colour[at])
            near, far = ((0, 1), (3, 0)) if on_row[at] else ((1, 0), (0, 3))
            step = near
            if d == (1 if on_row[at] else 0):
                rough = [
                    sum(abs(s[1][at] - s[1][at[0] + k * o[0], at[1] + k * o[1]]) for k in (-1, 1)) for o in (near, far)
                ]
                step = near if rough[0] < 2 * rough[1] else far
            s[f][at] = second(s, f, at, step)[0]
        for y, x in blocks:
            (ay, ax), (by, bx) = around[y, x][2 * d : 2 * d + 2]
            w = 1 if (ay, ax) == (-by, -bx) else 2
            for i in (0, 2):
                difference = s[i] - s[1]
                s[i, y, x] = s[1, y, x] + (w * difference[y + ay, x + ax] + difference[y + by, x + bx]) / (w + 1)


def judged(sets):
    """The mean of the candidates that are smooth in most of their neighbourhood."""
    luma = np.tensordot(sets, (0.2627, 0.6780, 0.0593), (1, 0))
    lab = np.stack([luma, (sets[:, 2] - luma) * 0.56433, (sets[:, 0] - luma) * 0.67815])
    rough = np.array(
        [
            ((2 * lab[:, d] - moved_plane(lab[:, d], *o) - moved_plane(lab[:, d], -o[0], -o[1])) ** 2).sum(axis=0)
            for d, o in zip(range(len(sets)), [(0, 1), (1, 0), (1, 1), (1, -1)] * 2, strict=False)
        ]
    )
    limit = 8 * rough.min(axis=0)
    near = list(product((-1, 0, 1), repeat=2))
    smooth = sum((moved_plane(rough, *o) <= limit).astype(int) for o in near)
    votes = sum(moved_plane(smooth, *o) for o in product(range(-2, 3), repeat=2))
    if len(votes) > 4:
        first, last = votes[:4].copy(), votes[4:].copy()
        votes = np.concatenate([np.where(first < last, 0, first), np.where(first > last, 0, last)])
    most = votes.max(axis=0)
    chosen = votes >= most - most // 8
    return (sets * chosen[:, None]).sum(axis=0) / chosen.sum(axis=0)


def moved_plane(a, dy, dx):
    return np.roll(a, (-dy, -dx), (-2, -1))
