"""Quads: transforms proposed by patterns of stars that are alike in two lists.

Four stars make a quad whose code (Lang et al. 2010) does not change when the field is moved, turned or scaled;
one pair of equal codes proposes a whole transform, and near proposals vote for each other (after Tabur 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from masterlight.alignment.transform import as_complex, similarity_matrix
from masterlight.compiled import njit

if TYPE_CHECKING:
    from masterlight.subframes.measurement import StarList

TIERS = (25, 50, 100, 200, 400, 800)
NEIGHBOURS, CODE_RADIUS = 6, 0.02
FEWEST_STARS, FEW_STARS = 4, 24
MOST_CANDIDATES, MOST_PROPOSALS, ENOUGH_VOTES = 2000, 400, 64
PAIR_STARS, MOST_PAIRS, FEWEST_VOTES = 80, 12, 6
"""Brightest stars that make pairs, proposals that come of them, and the pairs that must agree: those of four stars."""


class Quads(NamedTuple):
    """Quads of one star list: star indices (n, 4) in code order, codes (n, 4), longest side (n,) px."""

    stars: np.ndarray
    codes: np.ndarray
    length_px: np.ndarray


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference's stars, with the trees that make looking up fast; made once by `StarAlignment.prepare`."""

    stars: StarList
    xy: np.ndarray
    """The stars used for matching, (n, 2), brightest first."""
    quads: Quads | None
    codes: cKDTree | None
    everything: cKDTree
    """All stars of the list, for detections that repeat at the same pixel."""

    @classmethod
    def of(cls, stars: StarList, most: int) -> Reference:
        """The reference of these stars, so many of which take part in matching."""
        xy = np.ascontiguousarray(stars.xy[:most], float)
        quads = quads_of(xy) if len(xy) >= FEWEST_STARS else None
        codes = cKDTree(quads.codes) if quads is not None else None
        return cls(stars, xy, quads, codes, cKDTree(stars.xy.reshape(-1, 2)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the reference frame."""
        return tuple(self.stars.shape)


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
    parts = []
    for count in sorted({min(tier, len(xy)) for tier in tiers}):
        if count <= FEW_STARS:
            parts.append(np.array(list(combinations(range(count), 4)), np.int64).reshape(-1, 4))
            continue
        _, near = cKDTree(xy[:count]).query(xy[:count], NEIGHBOURS + 1)
        triples = np.array(list(combinations(range(1, NEIGHBOURS + 1), 3)))
        others = near[:, triples].reshape(-1, 3)
        parts.append(np.column_stack([np.repeat(near[:, 0], len(triples)), others]))
    quads = np.sort(np.concatenate(parts), axis=1).astype(np.int64)
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


def proposals(reference: Reference, quads: Quads, xy, shape, scale_range, mirror, tolerance_px=1.5) -> list[np.ndarray]:
    """Matrices proposed by equal codes, the most voted first; quads, xy, shape (rows, cols) are those of the source."""
    parts = [code_matches(reference, quads, flip, tolerance_px) for flip in ((False, True) if mirror else (False,))]
    of_ref, of_src, distance, flipped = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(of_ref) == 0:
        return []
    best = np.argsort(distance, kind="stable")[:MOST_CANDIDATES]
    of_ref, of_src, distance, flipped = (column[best] for column in (of_ref, of_src, distance, flipped))
    z = as_complex(reference.xy[reference.quads.stars[of_ref]])
    z = np.where(flipped[:, None], z.conj(), z)
    a, b = complex_similarity(z, as_complex(xy[quads.stars[of_src]]))
    keep = (np.abs(a) >= scale_range[0]) & (np.abs(a) <= scale_range[1])
    a, b, distance, flipped = a[keep], b[keep], distance[keep], flipped[keep]
    centre = as_complex(reference.xy.mean(axis=0))
    image = a * np.where(flipped, centre.conjugate(), centre) + b
    unit = 0.01 * max(shape)
    turned = np.log(np.abs(a)) / 0.02, np.angle(a) / 0.02
    points = np.column_stack([*turned, image.real / unit, image.imag / unit, 9.0 * flipped])
    count = votes(points, np.argsort(points[:, 0], kind="stable"), 2 * np.pi / 0.02)
    rank = np.lexsort((distance, -count))
    return [similarity_matrix(a[i], b[i], flipped[i]) for i in distinct_points(points, rank)]


def code_matches(reference: Reference, quads: Quads, flip: bool, tolerance_px: float):
    """Pairs of quads with equal codes: indices in both sets, code distance, and whether the source is mirrored."""
    codes = quads.codes * (1, -1, 1, -1) if flip else quads.codes
    distance, near = reference.codes.query(codes, 3, distance_upper_bound=CODE_RADIUS)
    of_src, column = np.nonzero(np.isfinite(distance))
    of_ref, distance = near[of_src, column], distance[of_src, column]
    limit = 1e-3 + tolerance_px * (1 / reference.quads.length_px[of_ref] + 1 / quads.length_px[of_src])
    good = distance < limit
    return of_ref[good], of_src[good], distance[good], np.full(good.sum(), flip)


def distinct_points(points, rank) -> list[int]:
    """The first MOST_PROPOSALS of `rank` that are not within 1 of one before them."""
    chosen: list[int] = []
    left = points[rank]
    while len(rank) and len(chosen) < MOST_PROPOSALS:
        chosen.append(int(rank[0]))
        far = ((left - left[0]) ** 2).sum(axis=1) > 1
        rank, left = rank[far], left[far]
    return chosen


def complex_similarity(z, w):
    """Least squares of w = a z + b over the last axis."""
    z0, w0 = z.mean(axis=-1, keepdims=True), w.mean(axis=-1, keepdims=True)
    a = ((z - z0).conj() * (w - w0)).sum(axis=-1) / (np.abs(z - z0) ** 2).sum(axis=-1)
    return a, w0[..., 0] - a * z0[..., 0]


def shift_proposal(xy_ref, xy, turn=1, brightest=100, cell_px=6.0) -> np.ndarray:
    """The shift that most pairs of bright stars agree on, for a source not rotated (turn 1) or by 180 degrees (-1)."""
    difference, most = (xy[:brightest, None] - turn * xy_ref[None, :brightest]).reshape(-1, 2), 0
    for offset in (0.0, 0.5):
        cells = np.floor(difference / cell_px + offset).astype(np.int64)
        key = cells[:, 0] * (1 << 24) + cells[:, 1]
        _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
        if count.max() > most:
            most, (dx, dy) = count.max(), np.median(difference[inverse == np.argmax(count)], axis=0)
    return np.array([[turn, 0, dx], [0, turn, dy], [0, 0, 1.0]])


def pair_proposals(xy_ref, xy, mirror: bool, shape, tolerance_px=3.0) -> tuple[list[np.ndarray], int]:
    """Transforms of the same scale that most pairs of stars agree on, the most voted first, and among how many.

    For the few stars that two frames share when neither their brightness nor their neighbours are the same: eight
    such stars make 28 pairs. xy_ref, xy (n, 2) px, brightest first; shape: rows and columns of the source.
    """
    z, w = as_complex(xy_ref[:PAIR_STARS]), as_complex(xy[:PAIR_STARS])
    (z1, z2, far_z), (w1, w2, far_w) = (long_pairs(v, 0.04 * max(shape)) for v in (z, w))
    first, last = (np.searchsorted(far_w, far_z + side * tolerance_px) for side in (-1, 1))
    of_ref = np.repeat(np.arange(len(far_z)), last - first)
    of_src = np.arange(len(of_ref)) - np.repeat(np.cumsum(last - first) - last, last - first)
    centre, made, votes = z.mean() if len(z) else 0.0, [], 0
    for flipped in (False, True) if mirror else (False,):
        p1, p2, c = (v.conj() if flipped else v for v in (z1[of_ref], z2[of_ref], np.complex128(centre)))
        for q1, q2 in ((w1[of_src], w2[of_src]), (w2[of_src], w1[of_src])):
            a = (q2 - q1) / (p2 - p1)
            a /= np.abs(a)
            at = 0.5 * (q1 + q2) + a * (c - 0.5 * (p1 + p2))
            votes += len(a)
            made += [(count, similarity_matrix(turn, to - turn * c, flipped)) for count, turn, to in crowded(a, at)]
    made.sort(key=lambda one: -one[0])
    return [matrix for _, matrix in made[:MOST_PAIRS]], votes


def long_pairs(z, shortest_px: float):
    """All pairs of positions at least so far apart, nearest first: both ends, and their distances."""
    i, j = np.triu_indices(len(z), 1)
    far = np.abs(z[j] - z[i])
    order = np.argsort(far, kind="stable")
    order = order[far[order] >= shortest_px]
    return z[i[order]], z[j[order]], far[order]


def crowded(a, at, cell_px=12.0, cell_rad=0.02) -> list[tuple[int, complex, complex]]:
    """The fullest cells of turns `a` and places `at`: how many are in each, and the middle of both."""
    found = []
    for offset in (0.0, 0.5):
        angle = np.floor(np.angle(a) / cell_rad + offset).astype(np.int64)
        x, y = (np.floor(v / cell_px + offset).astype(np.int64) for v in (at.real, at.imag))
        key = (angle * (1 << 20) + x) * (1 << 20) + y
        _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
        for one in np.argsort(-count, kind="stable")[:MOST_PAIRS]:
            if count[one] >= FEWEST_VOTES:
                turn, place = a[inverse == one], at[inverse == one]
                turn = np.median(turn.real) + 1j * np.median(turn.imag)
                found.append((int(count[one]), turn / abs(turn), np.median(place.real) + 1j * np.median(place.imag)))
    return found
