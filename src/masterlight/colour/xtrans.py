"""X-Trans mosaics: means of nearby pixels, of one colour or of all together, and the method of Frank Markesteijn.

Markesteijn's method takes for each pixel the candidates that look smoothest, and beside a star those that look away
from it: green stays sharp, while red and blue lose what they differ by, and coloured stars fade. Stars of 2.8 px that
are 1.4 times as bright in red as in green, and 0.6 times in blue, change by -6 % in R/G and +19 % in B/G. With the mean
of all candidates it is -6 and +10 %, without the limits of green besides -2 and +6 %, the rest comes from the choices
within a candidate. `joint_weights` are linear, so that stars are right in the mean over all places in the pattern, and
of least error, so that they scatter little between these (1 % at 2.8 px, 4 % at 2.2 px) and the median is right too.

An X-Trans sensor repeats after 6 x 6 pixels; where its greens are, repeats after 3 x 3. In each such square stands one
solitary green among four pixels of red and blue, and four greens in a 2 x 2 block. Each pixel of red or blue has a
partner of the other colour next to it, and the pair has a hexagon of six greens around it.
"""

import numpy as np

from masterlight.compiled import njit

BLOCK = 192, 384
"""Rows and columns interpolated at once, so that the candidates stay in the cache."""
PANEL = 192
"""Columns of a weighted mean that are computed together; a multiple of 6."""
TURNS = (1, 0), (0, -1), (-1, 0), (0, 1)
"""The four neighbours in order of turning."""
HEXAGON = (0, 1), (0, -1), (2, 0), (-1, 0), (1, 1), (1, -1), (0, 0), (0, 0)
"""The six greens about a pixel whose partner is below it."""
PAIRS = (0, 1), (0, -2), (1, 0), (-2, 0), (1, 1), (-2, -2), (1, -1), (-1, 1)
"""The four pairs of pixels that tell red and blue to a green of a 2 x 2 block."""
AROUND = np.argwhere(np.ones((5, 5))) - 2
"""Offsets (25, 2) of the pixels of a 5 x 5 square from its middle."""
REACH_PX = 3.5
"""How fast pixels grow unlike with distance, in the model of a scene behind `joint_weights`."""
KINSHIP = 0.95
"""Correlation of two colours at one pixel in that model."""
NOISE = 0.01
"""Variance of the noise in that model, in units of the scene's."""
LUMA, CHROMA = (0.2627, 0.6780, 0.0593), (0.56433, 0.67815)
"""Luminance of ITU-R BT.2020, and the scales of its two colour differences."""


def halo(passes: int) -> int:
    """Rows and columns around a box on which its pixels depend: 8 for the first pass, 7 for each other, 4 to judge."""
    return 5 + 7 * passes


def geometry(codes: np.ndarray):
    """Where each pixel of a 3 x 3 square finds its neighbours: offsets (3, 3, 8, 2), and the solitary green's place."""
    green = codes == 1
    offsets, solitary = np.zeros((3, 3, 8, 2), np.int64), None
    for y, x in np.ndindex(3, 3):
        run = 0
        for d in range(5):
            dy, dx = TURNS[d % 4]
            run = 0 if green[(y + dy) % 6, (x + dx) % 6] else run + 1
            if run == 4:
                solitary = y, x
            if run == 1 + green[y, x]:
                turn = np.array([[dy, -dx], [dx, dy]])
                for i, place in enumerate(PAIRS if green[y, x] else HEXAGON):
                    offsets[y, x, i ^ (2 if green[y, x] and d % 2 else 0)] = turn @ place
    return offsets, solitary


def markesteijn(tile: np.ndarray, codes: np.ndarray, passes: int, out: np.ndarray) -> None:
    """Fill `out` (3, h, w) from an X-Trans mosaic that is wider by `halo(passes)` on every side.

    tile (rows, cols) float32 without NaN; codes (6, 6) uint8, 0 red, 1 green, 2 blue, from its first pixel on. Four
    candidates (eight with more than one pass) are interpolated along as many directions; where most of their
    neighbourhood is smooth, they are averaged. Green is held between the least and the greatest green of the hexagon.
    """
    margin = halo(passes)
    for y in range(0, out.shape[1], BLOCK[0]):
        for x in range(0, out.shape[2], BLOCK[1]):
            part = out[:, y : y + BLOCK[0], x : x + BLOCK[1]]
            rows, cols = part.shape[1] + 2 * margin, part.shape[2] + 2 * margin
            block = np.ascontiguousarray(tile[y : y + rows, x : x + cols])
            here = np.roll(codes, (-y, -x), (0, 1))
            part[...] = interpolate(block, here, passes)[:, margin:-margin, margin:-margin]


def interpolate(block: np.ndarray, codes: np.ndarray, passes: int) -> np.ndarray:
    """A block in colour, (3, rows, cols); its margin of `halo(passes)` is not meaningful."""
    offsets, (sy, sx) = geometry(codes)
    rows, cols = block.shape
    flat = offsets[..., 0] * cols + offsets[..., 1]
    sets = np.zeros((4 if passes == 1 else 8, 3, rows * cols), np.float32)
    low, high = np.empty((2, rows * cols), np.float32)
    first_green(block.ravel(), codes, flat, sy, cols, sets, low, high)
    for p in range(passes):
        if p == 1:
            sets[4:] = sets[:4]
        now = sets[4:] if p else sets[:4]
        if p:
            closer_green(codes, flat, sy, cols, now, low, high)
        solitary_greens(codes, sy, sx, cols, now)
        red_and_blue(codes, sy, cols, now)
        green_blocks(flat, sy, sx, cols, now)
    sets, rough = sets.reshape(-1, 3, rows, cols), np.empty((len(sets), rows, cols), np.float32)
    for d, candidate in enumerate(sets):
        roughness(candidate, (1, cols, cols + 1, cols - 1)[d % 4], rough[d])
    smooth, colour = np.empty(rough.shape, np.uint8), np.empty((3, rows, cols), np.float32)
    homogeneity(rough, smooth)
    choose(sets, smooth, colour)
    return colour


@njit(nogil=True, cache=True, error_model="numpy")
def first_green(image, codes, near, sy, cols, sets, low, high):
    """Green at the pixels of red and blue along four directions, and the limits of green there.

    image (rows * cols); near (3, 3, 8) offsets in it; sets (4 or 8, 3, rows * cols), the first four are filled with
    the measured samples and with green.
    """
    rows = image.size // cols
    for y in range(rows):
        swap = 1 if (y - sy) % 3 == 0 else 0
        for i in range(y * cols, y * cols + cols):
            x = i - y * cols
            colour = codes[y % 6, x % 6]
            for d in range(4):
                sets[d, colour, i] = image[i]
            if colour == 1 or y < 3 or y >= rows - 3 or x < 3 or x >= cols - 3:
                continue
            h = near[y % 3, x % 3]
            least, most = image[i + h[0]], image[i + h[0]]
            for k in range(1, 6):
                least, most = min(least, image[i + h[k]]), max(most, image[i + h[k]])
            low[i], high[i] = least, most
            here = image[i]
            for d in range(4):
                if d == 0:
                    v = 174.0 * (image[i + h[1]] + image[i + h[0]]) - 46.0 * (image[i + 2 * h[1]] + image[i + 2 * h[0]])
                elif d == 1:
                    v = 223.0 * image[i + h[3]] + 33.0 * image[i + h[2]] + 92.0 * (here - image[i - h[2]])
                else:
                    o = h[2 + d]
                    v = 164.0 * image[i + o] + 92.0 * image[i - 2 * o]
                    v += 33.0 * (2.0 * here - image[i + 3 * o] - image[i - 3 * o])
                sets[d ^ swap, 1, i] = min(max(np.float32(v / 256.0), least), most)


@njit(nogil=True, cache=True, error_model="numpy")
def closer_green(codes, near, sy, cols, sets, low, high):
    """Green at the pixels of red and blue once more, from differences of colour known by now."""
    rows = low.size // cols
    for y in range(3, rows - 3):
        swap = 1 if (y - sy) % 3 == 0 else 0
        for x in range(3, cols - 3):
            f = codes[y % 6, x % 6]
            if f == 1:
                continue
            i = y * cols + x
            for d in range(3, 6):
                green, own = sets[(d - 2) ^ swap, 1], sets[(d - 2) ^ swap, f]
                h = near[y % 3, x % 3, d]
                v = (green[i - 2 * h] - own[i - 2 * h]) + 2.0 * (green[i + h] - own[i + h]) + 3.0 * own[i]
                green[i] = min(max(np.float32(v / 3.0), low[i]), high[i])


@njit(nogil=True, cache=True, error_model="numpy")
def along(green, own, i, step):
    """A colour at pixel i from the two pixels `step` before and after it, and how little they agree."""
    g = 2.0 * green[i] - green[i + step] - green[i - step]
    v = 0.5 * (g + own[i + step] + own[i - step])
    return v, (green[i + step] - green[i - step] - own[i + step] + own[i - step]) ** 2 + g * g


@njit(nogil=True, cache=True, error_model="numpy")
def solitary_greens(codes, sy, sx, cols, sets):
    """Red and blue at the solitary greens: one is next to it in the row and two away in the column, and vice versa."""
    rows = sets.shape[2] // cols
    for y in range(3 + (sy - 3) % 3, rows - 3, 3):
        for x in range(3 + (sx - 3) % 3, cols - 3, 3):
            i = y * cols + x
            f = codes[y % 6, (x + 1) % 6]
            for d in range(4):
                green, first, second = sets[d, 1], sets[d, f], sets[d, 2 - f]
                row_f, q1 = along(green, first, i, 1)
                row_s, q2 = along(green, second, i, 2)
                col_s, q3 = along(green, second, i, cols)
                col_f, q4 = along(green, first, i, 2 * cols)
                row = d == 0 or (d > 1 and q1 + q2 <= q3 + q4)
                first[i], second[i] = (row_f, row_s) if row else (col_f, col_s)


@njit(nogil=True, cache=True, error_model="numpy")
def red_and_blue(codes, sy, cols, sets):
    """Red at blue pixels and blue at red ones: from next to them, or across where candidates 0 and 1 are smoother."""
    rows = sets.shape[2] // cols
    for y in range(3, rows - 3):
        in_row = (y - sy) % 3 == 0
        close, far = (1, 3 * cols) if in_row else (cols, 3)
        for x in range(3, cols - 3):
            f = 2 - codes[y % 6, x % 6]
            if f == 1:
                continue
            i = y * cols + x
            for d in range(4):
                green, other = sets[d, 1], sets[d, f]
                step = close
                if d == (1 if in_row else 0):
                    g = green[i]
                    rough_close = abs(g - green[i + close]) + abs(g - green[i - close])
                    rough_far = abs(g - green[i + far]) + abs(g - green[i - far])
                    step = close if rough_close < 2.0 * rough_far else far
                other[i] = along(green, other, i, step)[0]


@njit(nogil=True, cache=True, error_model="numpy")
def green_blocks(near, sy, sx, cols, sets):
    """Red and blue at the greens that stand in 2 x 2 blocks, each candidate from a pair of pixels of its own."""
    rows = sets.shape[2] // cols
    for y in range(3, rows - 3):
        if (y - sy) % 3 == 0:
            continue
        for x in range(3, cols - 3):
            if (x - sx) % 3 == 0:
                continue
            i = y * cols + x
            for d in range(4):
                a, b = near[y % 3, x % 3, 2 * d], near[y % 3, x % 3, 2 * d + 1]
                green = sets[d, 1]
                weight = 1.0 if a + b == 0 else 2.0
                for p in (0, 2):
                    own = sets[d, p]
                    v = weight * (own[i + a] - green[i + a]) + (own[i + b] - green[i + b])
                    own[i] = green[i] + v / (weight + 1.0)


@njit(nogil=True, cache=True, error_model="numpy")
def roughness(colour, step, out):
    """Squared second differences along one direction, of luminance and two differences of colour, summed.

    colour (3, rows, cols) float32; step is the direction as a number of pixels; out (rows, cols).
    """
    rows, cols = out.shape
    red, green, blue = colour[0].ravel(), colour[1].ravel(), colour[2].ravel()
    to = out.ravel()
    planes = np.empty((3, to.size), np.float32)
    luma, u, v = planes[0], planes[1], planes[2]
    for i in range(to.size):
        luma[i] = np.float32(LUMA[0]) * red[i] + np.float32(LUMA[1]) * green[i] + np.float32(LUMA[2]) * blue[i]
        u[i] = (blue[i] - luma[i]) * np.float32(CHROMA[0])
        v[i] = (red[i] - luma[i]) * np.float32(CHROMA[1])
    edge = cols + 1
    to[:edge] = 0
    to[to.size - edge :] = 0
    m = np.uint64(step)
    for i in range(np.uint64(edge), np.uint64(to.size - edge)):
        a = luma[i] + luma[i] - luma[i + m] - luma[i - m]
        b = u[i] + u[i] - u[i + m] - u[i - m]
        c = v[i] + v[i] - v[i + m] - v[i - m]
        to[i] = a * a + b * b + c * c


@njit(nogil=True, cache=True, error_model="numpy")
def homogeneity(rough, smooth):
    """For each candidate, how many pixels of the 3 x 3 square are at most 8 times as rough as its best candidate."""
    sets, rows, cols = rough.shape
    limit = np.empty(cols, np.float32)
    smooth[:] = 0
    for y in range(1, rows - 1):
        limit[:] = rough[0, y]
        for d in range(1, sets):
            for x in range(cols):
                limit[x] = min(limit[x], rough[d, y, x])
        for x in range(cols):
            limit[x] *= np.float32(8)
        for d in range(sets):
            to = smooth[d, y]
            for j in range(y - 1, y + 2):
                line = rough[d, j]
                for x in range(1, cols - 1):
                    n = (line[x - 1] <= limit[x]) + (line[x] <= limit[x]) + (line[x + 1] <= limit[x])
                    to[x] += np.uint8(n)


@njit(nogil=True, cache=True, error_model="numpy")
def choose(sets, smooth, out):
    """Average the candidates that are smooth in most of the 5 x 5 square; of a candidate before and after the later
    passes, the smoother one counts."""
    n, _, rows, cols = sets.shape
    votes, across = np.zeros((n, cols), np.uint8), np.zeros(cols, np.uint8)
    for y in range(2, rows - 2):
        for d in range(n):
            across[:] = 0
            for j in range(y - 2, y + 3):
                line = smooth[d, j]
                for x in range(cols):
                    across[x] += line[x]
            for x in range(2, cols - 2):
                votes[d, x] = (across[x - 2] + across[x + 2]) + (across[x - 1] + across[x + 1]) + across[x]
        for d in range(n - 4):
            for x in range(cols):
                a, b = votes[d, x], votes[d + 4, x]
                votes[d, x], votes[d + 4, x] = (0 if a < b else a), (0 if a > b else b)
        for x in range(cols):
            most = 0
            for d in range(n):
                most = max(most, votes[d, x])
            most -= most >> 3
            r, g, b, count = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for d in range(n):
                if votes[d, x] >= most:
                    r, g, b = r + sets[d, 0, y, x], g + sets[d, 1, y, x], b + sets[d, 2, y, x]
                    count += np.float32(1)
            out[0, y, x], out[1, y, x], out[2, y, x] = r / count, g / count, b / count


def nearby_weights(codes: np.ndarray) -> np.ndarray:
    """Weights (6, 6, 3, 5, 5) of the 5 x 5 pixels around each place of the pattern for each colour.

    They fall with the distance, as far as that leaves their sum 1 and their centre on the pixel; a pixel's own colour
    is its own.
    """
    weights, terms = np.zeros((6, 6, 3, 25), np.float32), np.vstack([np.ones(25), AROUND.T])
    for y, x, p in np.ndindex(6, 6, 3):
        colour = codes[(y + AROUND[:, 0]) % 6, (x + AROUND[:, 1]) % 6]
        prior = (colour == p) / np.maximum(np.hypot(*AROUND.T), 1e-6)
        if colour[12] == p:
            prior = np.arange(25) == 12
        solved = np.linalg.pinv(terms * prior @ terms.T) @ (1, 0, 0)
        weights[y, x, p] = prior * (solved @ terms)
    return weights.reshape(6, 6, 3, 5, 5)


def joint_weights(codes: np.ndarray) -> np.ndarray:
    """Weights (6, 6, 3, 5, 5) as `nearby_weights`, but each colour also learns from the pixels of the other two.

    They have the least mean squared error for a scene of star-like detail with colours that resemble each other
    (correlation KINSHIP / (1 + (distance / REACH_PX)^2)^2), among those that reproduce every colour and every linear
    gradient: sum 1 over the own colour, 0 over each of the others, no first moment.
    """
    likeness = (1 + ((AROUND[:, None] - AROUND) ** 2).sum(axis=2) / REACH_PX**2) ** -2.0
    weights = np.zeros((6, 6, 3, 5, 5), np.float32)
    for y, x in np.ndindex(6, 6):
        colour = codes[(y + AROUND[:, 0]) % 6, (x + AROUND[:, 1]) % 6]
        scene = np.where(colour[:, None] == colour, 1, KINSHIP) * likeness + NOISE * np.eye(25)
        terms = np.vstack([colour == np.arange(3)[:, None], AROUND.T])
        system = np.block([[scene, terms.T], [terms, np.zeros((5, 5))]])
        for p in range(3):
            wanted = np.where(colour == p, 1, KINSHIP) * likeness[12]
            solved = np.linalg.solve(system, np.concatenate([wanted, np.eye(5)[p]]))[:25]
            weights[y, x, p] = (np.arange(25) == 12 if colour[12] == p else solved).reshape(5, 5)
    return weights


@njit(nogil=True, cache=True, error_model="numpy")
def nearby_mean(tile, weights, margin, out):
    """Fill `out` (3, h, w) with weighted means of a mosaic wider by `margin` on every side; weights (6, 6, 3, 5, 5)."""
    _, h, w = out.shape
    lines = np.empty((6, 3, 5, 5, PANEL), np.float32)  # the weights of PANEL pixels side by side
    for i in range(PANEL):
        lines[..., i] = weights[:, (i + margin) % 6]
    total = np.empty(PANEL, np.float32)
    for x in range(0, w, PANEL):
        n = min(PANEL, w - x)
        for y in range(h):
            for p in range(3):
                total[:] = 0
                for dy in range(5):
                    source, five = tile[y + margin + dy - 2, x + margin - 2 :], lines[(y + margin) % 6, p, dy]
                    a, b, c, d, e = five[0], five[1], five[2], five[3], five[4]
                    for i in range(n):
                        near = a[i] * source[i] + b[i] * source[i + 1] + c[i] * source[i + 2]
                        total[i] += near + (d[i] * source[i + 3] + e[i] * source[i + 4])
                out[p, y, x : x + n] = total[:n]
