"""Match: which star is which in two lists, and the transform between them.

Four stars make a quad whose code (Lang et al. 2010) does not change when the field is moved, turned or scaled;
one pair of equal codes proposes a whole transform, near proposals vote for each other (after Tabur 2007), and a
proposal is believed when so many stars agree with it that chance cannot explain them. Transforms are 3x3
matrices that send a position in the reference to one in the source.
"""

from itertools import combinations
from math import lgamma, log
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.spatial import cKDTree
from scipy.special import gammainc

TIERS = (25, 50, 100, 200, 400, 800)
NEIGHBOURS = 6
CODE_RADIUS = 0.02
FEW_STARS = 14
MOST_CANDIDATES = 2000
MOST_PROPOSALS = 400
ENOUGH_VOTES = 64
CERTAIN = -15.0
DEGREES = {"shift": 2, "similarity": 4, "affine": 6, "homography": 8}


class Quads(NamedTuple):
    """Quads of one star list: star indices (n, 4) in code order, codes (n, 4), longest side (n,) px."""

    stars: np.ndarray
    codes: np.ndarray
    length_px: np.ndarray


class Pose(NamedTuple):
    """A proposed 3x3 matrix, log10 of the chance to agree so well by accident, and how many stars agree of how many."""

    matrix: np.ndarray
    log10_p: float
    agreed: int
    expected: int


@njit(nogil=True, cache=True)
def quad_codes(xy, quads):
    """Put the stars of each quad in code order and give the codes.

    xy (n, 2) px; quads (m, 4) star indices, reordered in place so that the first two are farthest apart and map to
    (0, 0) and (1, 1) rotated onto 0 and 1 of the complex plane, and the others have ascending real parts whose sum
    is at most one. Returns codes (m, 4) and the longest sides (m,) px.
    """
    codes, length = np.empty((len(quads), 4)), np.empty(len(quads))
    for m in range(len(quads)):
        far, ia, ib = -1.0, 0, 1
        for i in range(3):
            for j in range(i + 1, 4):
                d = (xy[quads[m, i], 0] - xy[quads[m, j], 0]) ** 2 + (xy[quads[m, i], 1] - xy[quads[m, j], 1]) ** 2
                if d > far:
                    far, ia, ib = d, i, j
        ic = 0
        while ic == ia or ic == ib:
            ic += 1
        a, b, c, d = quads[m, ia], quads[m, ib], quads[m, ic], quads[m, 6 - ia - ib - ic]
        base = complex(xy[b, 0] - xy[a, 0], xy[b, 1] - xy[a, 1])
        base = base if far > 0 else complex(1.0, 0.0)
        wc = complex(xy[c, 0] - xy[a, 0], xy[c, 1] - xy[a, 1]) / base
        wd = complex(xy[d, 0] - xy[a, 0], xy[d, 1] - xy[a, 1]) / base
        if wc.real + wd.real > 1.0:
            a, b, wc, wd = b, a, 1.0 - wc, 1.0 - wd
        if wc.real > wd.real:
            c, d, wc, wd = d, c, wd, wc
        quads[m, 0], quads[m, 1], quads[m, 2], quads[m, 3] = a, b, c, d
        codes[m, 0], codes[m, 1], codes[m, 2], codes[m, 3] = wc.real, wc.imag, wd.real, wd.imag
        length[m] = np.sqrt(max(far, 1e-12))
    return codes, length


def quads_of(xy: np.ndarray, tiers: tuple[int, ...] = TIERS) -> Quads:
    """Local quads among the brightest 25, 50 ... 800 stars: each star with three of its six nearest neighbours.

    The tiers make the set independent of depth and scale: some tier of one list has the same stars as neighbours
    as some tier of the other. xy (n, 2) px, brightest first.
    """
    found = []
    for count in sorted({min(tier, len(xy)) for tier in tiers}):
        if count <= FEW_STARS:
            found.append(np.array(list(combinations(range(count), 4)), np.int64).reshape(-1, 4))
            continue
        _, near = cKDTree(xy[:count]).query(xy[:count], NEIGHBOURS + 1)
        triples = np.array(list(combinations(range(1, NEIGHBOURS + 1), 3)))
        others = near[:, triples].reshape(-1, 3)
        found.append(np.column_stack([np.repeat(near[:, 0], len(triples)), others]))
    quads = np.sort(np.concatenate(found), axis=1).astype(np.int64)
    _, first = np.unique(quads @ (1 << np.array([0, 16, 32, 48])), return_index=True)
    quads = np.ascontiguousarray(quads[np.sort(first)])
    return Quads(quads, *quad_codes(np.ascontiguousarray(xy, float), quads))


@njit(nogil=True, cache=True)
def votes(points, order, turn):
    """How many other proposals lie within 1.5 of each proposal; counting ends at about ENOUGH_VOTES.

    points (n, 5); `order` sorts the first column; the second column is an angle and wraps at `turn`.
    """
    count = np.zeros(len(points), np.int64)
    for i in range(len(order)):
        p = points[order[i]]
        for j in range(i + 1, len(order)):
            q = points[order[j]]
            if q[0] - p[0] > 1.5 or count[order[i]] >= ENOUGH_VOTES:
                break
            angle = abs(p[1] - q[1])
            angle = min(angle, turn - angle)
            d = (p[0] - q[0]) ** 2 + angle**2 + (p[2] - q[2]) ** 2 + (p[3] - q[3]) ** 2 + (p[4] - q[4]) ** 2
            if d < 2.25:
                count[order[i]] += 1
                count[order[j]] += 1
    return count


def proposals(reference, tree, xy_ref, quads, xy, shape, scale_range, mirror, tolerance_px=1.5) -> list[np.ndarray]:
    """Matrices proposed by equal codes, the most voted first.

    reference, quads: `Quads` of both lists; tree: cKDTree of the reference's codes; shape: of the source (rows, cols).
    """
    parities = (False, True) if mirror else (False,)
    parts = [code_matches(reference, tree, quads, flip, tolerance_px) for flip in parities]
    of_ref, of_src = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    distance, flipped = np.concatenate([p[2] for p in parts]), np.concatenate([p[3] for p in parts])
    if len(of_ref) == 0:
        return []
    best = np.argsort(distance, kind="stable")[:MOST_CANDIDATES]
    of_ref, of_src, distance, flipped = of_ref[best], of_src[best], distance[best], flipped[best]
    z = as_complex(xy_ref[reference.stars[of_ref]])
    z = np.where(flipped[:, None], z.conj(), z)
    a, b = complex_similarity(z, as_complex(xy[quads.stars[of_src]]))
    keep = (np.abs(a) >= scale_range[0]) & (np.abs(a) <= scale_range[1])
    a, b, distance, flipped = a[keep], b[keep], distance[keep], flipped[keep]
    centre = as_complex(xy_ref.mean(axis=0))
    image = a * np.where(flipped, centre.conjugate(), centre) + b
    unit = 0.01 * max(shape)
    points = np.column_stack(
        [np.log(np.abs(a)) / 0.02, np.angle(a) / 0.02, image.real / unit, image.imag / unit, 9.0 * flipped]
    )
    count = votes(points, np.argsort(points[:, 0], kind="stable"), 2 * np.pi / 0.02)
    rank = np.lexsort((distance, -count))
    return [similarity_matrix(a[i], b[i], flipped[i]) for i in distinct(points, rank)]


def code_matches(reference, tree, quads, flip, tolerance_px):
    """Pairs of quads with equal codes: indices in both sets, code distance, and whether the source is mirrored."""
    codes = quads.codes * (1, -1, 1, -1) if flip else quads.codes
    distance, found = tree.query(codes, 3, distance_upper_bound=CODE_RADIUS)
    of_src, column = np.nonzero(np.isfinite(distance))
    of_ref, distance = found[of_src, column], distance[of_src, column]
    limit = 1e-3 + tolerance_px * (1 / reference.length_px[of_ref] + 1 / quads.length_px[of_src])
    good = distance < limit
    return of_ref[good], of_src[good], distance[good], np.full(good.sum(), flip)


def distinct(points, rank) -> list[int]:
    """The first MOST_PROPOSALS of `rank` that are not within 1 of one before them."""
    chosen: list[int] = []
    left = points[rank]
    while len(rank) and len(chosen) < MOST_PROPOSALS:
        chosen.append(int(rank[0]))
        far = ((left - left[0]) ** 2).sum(axis=1) > 1
        rank, left = rank[far], left[far]
    return chosen


def as_complex(xy):
    return xy[..., 0] + 1j * xy[..., 1]


def complex_similarity(z, w):
    """Least squares of w = a z + b over the last axis."""
    z0, w0 = z.mean(axis=-1, keepdims=True), w.mean(axis=-1, keepdims=True)
    a = ((z - z0).conj() * (w - w0)).sum(axis=-1) / (np.abs(z - z0) ** 2).sum(axis=-1)
    return a, w0[..., 0] - a * z0[..., 0]


def similarity_matrix(a, b, mirrored=False):
    """The 3x3 matrix of w = a z + b, or w = a conj(z) + b."""
    sign = -1 if mirrored else 1
    return np.array([[a.real, -sign * a.imag, b.real], [a.imag, sign * a.real, b.imag], [0, 0, 1.0]])


def shift_proposal(xy_ref, xy, turn=1, brightest=100, cell_px=6.0) -> np.ndarray:
    """The shift that most pairs of bright stars agree on, for a source not rotated (turn 1) or by 180 degrees (-1)."""
    difference = (xy[:brightest, None] - turn * xy_ref[None, :brightest]).reshape(-1, 2)
    best = None
    for offset in (0.0, 0.5):
        cells = np.floor(difference / cell_px + offset).astype(np.int64)
        key = cells[:, 0] * (1 << 24) + cells[:, 1]
        _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
        top = int(np.argmax(count))
        if best is None or count[top] > best[0]:
            best = count[top], np.median(difference[inverse == top], axis=0)
    dx, dy = best[1]
    return np.array([[turn, 0, dx], [0, turn, dy], [0, 0, 1.0]])


def apply(matrix: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Positions (n, 2) sent through a 3x3 matrix."""
    xy = np.asarray(xy, float)
    at = xy @ matrix[:, :2].T + matrix[:, 2]
    return at[..., :2] / at[..., 2:]


def log10_chance(agreed: int, expected: float) -> float:
    """log10 of the chance that `agreed` or more stars agree where accident makes `expected` agree (Poisson)."""
    if agreed <= 0:
        return 0.0
    tail = gammainc(agreed, expected)
    if tail > 1e-290:
        return float(np.log10(tail))
    return (agreed * log(max(expected, 1e-300)) - expected - lgamma(agreed + 1)) / log(10)


def pair_up(matrix, xy_ref, tree, tolerance_px):
    """One-to-one pairs: indices in both lists of stars nearest to each other within the tolerance.

    tree: cKDTree of the source positions.
    """
    distance, nearest = tree.query(apply(matrix, xy_ref), distance_upper_bound=tolerance_px)
    of_ref = np.flatnonzero(np.isfinite(distance))
    of_ref = of_ref[np.lexsort((distance[of_ref], nearest[of_ref]))]
    of_src, first = np.unique(nearest[of_ref], return_index=True)
    return of_ref[first], of_src


def verify(matrix, xy_ref, tree, shape, tolerance_px, free=4, trials=1, rigid=False) -> Pose:
    """Refit a proposal to the stars that agree with it and tell how likely such agreement is by accident.

    free: stars that agree by construction; trials: proposals among which this one was chosen.
    """
    rows, cols = shape
    model = "shift" if rigid else "similarity"
    agreed = inside = 0
    for reach in (2.0, 2.0, 1.0):
        at = apply(matrix, xy_ref)
        inside = int(((at >= -0.5) & (at <= (cols - 0.5, rows - 0.5))).all(axis=1).sum())
        of_ref, of_src = pair_up(matrix, xy_ref, tree, reach * tolerance_px)
        agreed = len(of_ref)
        expected = inside * tree.n / (rows * cols) * np.pi * (reach * tolerance_px) ** 2
        log10_p = log10_chance(agreed - free, expected) + np.log10(trials)
        if agreed < 3 or log10_p > -1:
            break
        refit = fit(model, xy_ref[of_ref], tree.data[of_src], mirrored=np.linalg.det(matrix[:2, :2]) < 0)
        if not np.isfinite(refit).all():
            break
        matrix = refit
    return Pose(matrix, float(log10_p), agreed, inside)


def normaliser(xy):
    """The matrix that centres positions and makes their mean distance sqrt(2) (Hartley 1997)."""
    centre = xy.mean(axis=0)
    size = np.hypot(*(xy - centre).T).mean()
    k = np.sqrt(2) / size if size > 0 else 1.0
    return np.array([[k, 0, -k * centre[0]], [0, k, -k * centre[1]], [0, 0, 1.0]])


def fit(model, xy_ref, xy, weight=None, mirrored=False) -> np.ndarray:
    """The 3x3 matrix of a model that sends xy_ref to xy with the least weighted squared error, in pixels of the source.

    model: shift, similarity, affine or homography; xy_ref, xy (n, 2) px; weight (n,), the inverse variances.
    """
    weight = np.ones(len(xy)) if weight is None else weight
    n_ref, n_src = (np.eye(3), np.eye(3)) if model == "shift" else (normaliser(xy_ref), normaliser(xy))
    p, q = apply(n_ref, xy_ref), apply(n_src, xy)
    m = solve(model, p, q, weight, mirrored)
    for _ in range(4 if model == "homography" else 0):
        m = m + homography_step(m, p, q, weight)
    return unscaled(m, n_ref, n_src)


def unscaled(m, n_ref, n_src):
    """A matrix between normalised positions as one between pixels."""
    m = np.linalg.inv(n_src) @ m @ n_ref
    return m / m[2, 2]


def solve(model, p, q, weight, mirrored=False, start=None):
    """One linear least-squares solution in normalised positions; a homography takes one step from `start`."""
    if model == "shift":
        dx, dy = weight @ (q - p) / weight.sum()
        return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]])
    if model == "similarity":
        z, w, total = as_complex(p), as_complex(q), max(weight.sum(), 1e-300)
        z = z.conj() if mirrored else z
        z0, w0 = weight @ z / total, weight @ w / total
        a = (weight * (z - z0).conj()) @ (w - w0) / max(weight @ np.abs(z - z0) ** 2, 1e-300)
        return similarity_matrix(a, w0 - a * z0, mirrored)
    if model == "homography" and start is not None:
        return start + homography_step(start, p, q, weight)
    terms = np.column_stack([p, np.ones(len(p))])
    weighted = terms * weight[:, None]
    return np.vstack([np.linalg.lstsq(weighted.T @ terms, weighted.T @ q, rcond=None)[0].T, [0, 0, 1.0]])


def homography_step(m, p, q, weight):
    """One Gauss-Newton step of the eight parameters on the reprojection error; positions are normalised."""
    terms, zero = np.column_stack([p, np.ones(len(p))]), np.zeros((len(p), 3))
    at = terms @ m.T
    z = at[:, 2:]
    u = at[:, :2] / z
    along = np.hstack([terms, zero, -u[:, :1] * p]) / z
    across = np.hstack([zero, terms, -u[:, 1:] * p]) / z
    design, twice = np.concatenate([along, across]), np.tile(weight, 2)
    weighted = design * twice[:, None]
    step = np.linalg.lstsq(weighted.T @ design, weighted.T @ (q - u).T.ravel(), rcond=None)[0]
    return np.append(step, 0.0).reshape(3, 3)


def robust_fit(model, xy_ref, xy, sigma_px, mirrored=False) -> tuple[np.ndarray, np.ndarray, float]:
    """`fit` with weights 1/sigma^2 that fade for outliers: Huber's, then Tukey's, with the scale from the median.

    Returns the matrix, the errors (n,) in units of sigma, and their robust scale per axis (1 when sigma is honest).
    """
    n_ref, n_src = (np.eye(3), np.eye(3)) if model == "shift" else (normaliser(xy_ref), normaliser(xy))
    p, q, unit = apply(n_ref, xy_ref), apply(n_src, xy), n_src[0, 0] * sigma_px
    fade, m = np.ones(len(xy)), None
    for step in range(8):
        m = solve(model, p, q, fade / unit**2, mirrored, m)
        error = np.hypot(*(apply(m, p) - q).T) / unit
        scale = max(float(np.median(error)) / 1.1774, 1e-9)
        t = error / scale
        fade = np.minimum(1, 2.0 / np.maximum(t, 1e-12)) if step < 3 else np.clip(1 - (t / 5.5) ** 2, 0, None) ** 2
    return unscaled(m, n_ref, n_src), error, scale
