"""Thin plates fitted to what a matrix leaves of common stars, as smooth as left-out stars would ask for."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from masterlight.alignment.bend import Box, Spline, apply, scaled, thin_plate

MOST_NODES = 240
"""More stars than this are first averaged in cells, so that a frame takes a tenth of a second."""
SMOOTHEST, ROUGHEST, TRIED = 8.0, -8.0, 33
"""log10 of the smoothing that is tried, over the median eigenvalue."""
LEAST = 1e-4
"""Stars that weigh less than this share of the one that weighs most are left out."""


def spline_beside(
    matrix: np.ndarray, xy_ref: np.ndarray, xy: np.ndarray, weight: np.ndarray, box: Box
) -> tuple[Spline, float]:
    """The spline that is added to a matrix, and the numbers that it was free to choose, along both axes together.

    xy_ref, xy (n, 2) px; weight (n,): 1 / sigma^2. The smoothing is that of least generalised cross-validation (Craven
    and Wahba 1979), shared by both axes.
    """
    some = weight > LEAST * weight.max()
    xy_ref, xy = xy_ref[some], xy[some]
    nodes, left, weight = thinned(xy_ref, xy - apply(matrix, xy_ref), weight[some], box)
    at, count = scaled(box, nodes), len(nodes)
    plane = np.column_stack([np.ones(count), at])
    basis = np.linalg.qr(plane, mode="complete")[0][:, 3:]
    bending = thin_plate(((at[:, None] - at[None]) ** 2).sum(axis=2))
    scatter = basis.T @ (basis * (np.mean(weight) / weight)[:, None])
    values, vectors = eigh(basis.T @ bending @ basis, scatter)
    values, known = np.maximum(values, 0), vectors.T @ (basis.T @ left)
    smoothing = smoothest_that_foretells(values, known)
    along = basis @ (vectors @ (known / (values + smoothing)[:, None]))
    rest = left - bending @ along - smoothing * along * (np.mean(weight) / weight)[:, None]
    slope = np.linalg.lstsq(plane, rest, rcond=None)[0]
    free = count - float((smoothing / (values + smoothing)).sum())
    return Spline(nodes, np.ascontiguousarray(along.T), np.ascontiguousarray(slope.T), box), 2 * free


def smoothest_that_foretells(values: np.ndarray, known: np.ndarray) -> float:
    """The smoothing with the least generalised cross-validation.

    values (m,): eigenvalues of the bending; known (m, 2): the data in their eigenvectors. A share
    smoothing / (value + smoothing) of each is left over.
    """
    tried = np.median(values) * 10.0 ** np.linspace(ROUGHEST, SMOOTHEST, TRIED)
    tried = np.maximum(tried, 1e-12)
    share = tried[:, None] / (values + tried[:, None])
    score = (share[:, :, None] * known) ** 2
    return float(tried[np.argmin(score.sum(axis=(1, 2)) / share.sum(axis=1) ** 2)])


def thinned(
    xy: np.ndarray, left: np.ndarray, weight: np.ndarray, box: Box
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most so many nodes: positions, what is left there and weights, averaged in cells where there are more."""
    if len(xy) <= MOST_NODES:
        return xy, left, weight
    x0, y0, x1, y1 = box
    side = np.sqrt(max((x1 - x0) * (y1 - y0), 1.0) / MOST_NODES)
    i, j = (np.floor((xy - (x0, y0)) / side)).astype(int).T
    _, cell = np.unique((j - j.min()) * (i.max() - i.min() + 1) + i - i.min(), return_inverse=True)
    total = np.bincount(cell, weight)
    mean = [np.bincount(cell, weight * column) / total for column in (*xy.T, *left.T)]
    return np.column_stack(mean[:2]), np.column_stack(mean[2:]), total
