"""Skies of panels that show different parts of a result: levelled where they overlap, all at once, and feathered.

What two panels show in common must be the same, so the level and slope of each sky are one least-squares problem over
all overlaps. What is left fades away towards the edges of the panels: every panel takes the large-scale sky of a blend
in which each counts less, the nearer its edge is, while its pixels keep their full weight.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, uniform_filter

PART = 0.75
"""Frames of which half show less than this part of the result are panels."""
SLOPE, PASSES, OFF_SIGMA = 0.02, 4, 4.0
"""How little overlaps say against a slope that they leave open; how often cells that lie far off the others, such as
those of a star's halo, are left out, and how far in sigma."""


def are_panels(skies: np.ndarray) -> bool:
    """Whether skies (N, cells), NaN where a frame does not lie, are those of panels."""
    there = np.isfinite(skies)
    return bool(np.median(there.sum(axis=1)) < PART * there.any(axis=0).sum())


def panel_skies(
    skies: np.ndarray, weights: np.ndarray, noise: np.ndarray, grid: tuple[int, int], reference: int
) -> np.ndarray:
    """What each sky has of its own beside that of the blend, as coefficients of surfaces (N, ny + 3, nx + 3) DN.

    skies (N, ny * nx) DN on one scale, NaN where missing; weights (N,); noise (N,) of a pixel; reference: the frame
    whose level stays.
    """
    ny, nx = grid
    there = np.isfinite(skies)
    y, x = np.mgrid[: ny + 3, : nx + 3] - 1.0
    nodes = terms_of(x.ravel(), y.ravel(), grid)
    y, x = np.mgrid[:ny, :nx] + 0.5
    terms = terms_of(x.ravel(), y.ravel(), grid)
    share = weights[:, None] * there
    planes = np.zeros((len(skies), 3))
    for _ in range(PASSES):
        planes = overlap_levels(np.where(there, skies, 0.0), share, terms, reference)
        left = np.where(there, skies - planes @ terms.T, 0.0)
        off = left - mean_over(left, share)
        sigma = 1.4826 * np.median(np.abs(off[there])) + 0.003 * np.median(noise)
        share = weights[:, None] * there * np.maximum(1 - (off / (OFF_SIGMA * sigma)) ** 2, 0.01)
    blend = mean_over(left, share * feathers(there, grid))
    own = np.stack([smoothed(rest, mask, grid) for rest, mask in zip(left - blend, there, strict=True)])
    own += (planes @ nodes.T).reshape(own.shape)
    middle = np.array([1.0, *terms[there[reference]][:, 1:].mean(axis=0)]) @ planes[reference]
    return own - middle


def terms_of(x: np.ndarray, y: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """1, x and y, from -1 to 1 over the grid, at places in cells: (n, 3)."""
    return np.stack([np.ones(x.size), 2 * x / grid[1] - 1, 2 * y / grid[0] - 1], axis=-1)


def overlap_levels(skies: np.ndarray, share: np.ndarray, terms: np.ndarray, reference: int) -> np.ndarray:
    """Level and slopes (N, 3) of each sky by which they agree best where they overlap; those of the reference are 0.

    What is common to all that show a cell is eliminated, cell by cell; what no overlap tells stays as small as can be.
    """
    count, cells = skies.shape
    total = np.maximum(share.sum(axis=0), 1e-300)
    normal = np.empty((count, 3, count, 3))
    right = np.einsum("ic,ck->ik", share * (skies - (share * skies).sum(axis=0) / total), terms)
    part = share / np.sqrt(total)
    for a in range(3):
        for b in range(a + 1):
            both = terms[:, a] * terms[:, b]
            normal[:, a, :, b] = normal[:, b, :, a] = np.diag(share @ both) - (part * both) @ part.T
    flat = normal.reshape(3 * count, 3 * count)
    held = np.tile([0.0, SLOPE, SLOPE], count) * np.median(share[share > 0]) * cells / count
    flat += np.diag(held + 1e-9 * np.diag(flat).max())
    keep = np.arange(3 * count) != 3 * reference
    found = np.zeros(3 * count)
    found[keep] = np.linalg.solve(flat[np.ix_(keep, keep)], right.ravel()[keep])
    return found.reshape(count, 3)


def mean_over(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The weighted mean (cells,) of values (N, cells)."""
    return (share * values).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-300)


def feathers(there: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """How much each frame counts in the cells (N, cells) where it lies: the less, the nearer its edge is."""
    out = np.empty(there.shape)
    for one, mask in zip(out, there.reshape(-1, *grid), strict=True):
        one[:] = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].ravel()
    return out**2


def smoothed(values: np.ndarray, there: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Coefficients (ny + 3, nx + 3) of a smooth surface through cells (n,); beyond them it goes on as at their edge."""
    mask, values = there.reshape(grid), np.where(there, values, 0.0).reshape(grid)
    share = uniform_filter(mask.astype(float), 3, mode="constant")
    mean = uniform_filter(values, 3, mode="constant") / np.where(share > 0, share, 1.0)
    near = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    knots = np.pad(mean[tuple(near)], 2, mode="edge")
    return 0.25 * (knots[:-1, :-1] + knots[1:, :-1] + knots[:-1, 1:] + knots[1:, 1:])
