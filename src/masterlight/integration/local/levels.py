"""Frames whose skies differ from place to place are levelled by what was measured of their skies, pixels unread.

Every frame's sky in coarse cells, brought to the scale of the reference, is what all have in common and a smooth
difference of its own. The differences are taken off, and what is left to all of them is a robust mean of the skies, so
that no single cloud's or moon's gradient is imprinted on the result.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from masterlight.integration.kernels import surface
from masterlight.integration.local.model import LocalModel
from masterlight.integration.local.panels import are_panels, panel_skies
from masterlight.integration.roster.terms import Terms
from masterlight.subframes.measurement import Measurement

CELLS = 12
"""Cells of the smooth surfaces along the longer side, at most."""
PASSES = 2
"""How often what skies have in common and what each has of its own are told from one another."""
OFF_SIGMA = 5.0
"""Cells that lie so far off a smooth surface, such as a star's halo in one frame, have no say in it."""
STIFF = 4.0 ** np.arange(-8, 5)
"""Factors on the usual stiffness of surfaces among which each sky itself chooses."""
COUNTED = 1.4
STEPS = 6
"""How often a surface is fitted to what does not lie far off it."""
EXACT = 2.0**-20
"""Parts of the noise in which surfaces are counted: what the last bits of linear algebra are differs from one process
to another."""
APART_SIGMA = 0.3
"""Skies that differ by less over the field, in sigma of a pixel, are taken as alike: one number levels each."""


class Levels(NamedTuple):
    """How much the skies of frames differ over the field, and what levels them."""

    models: list[LocalModel]
    """One for each frame: a sample x of it, before anything else is done to it, becomes x + A0(x, y)."""
    apart_sigma: float
    """By how much the sky of the frame that differs most changes over the field against the others', in sigma of one of
    its pixels."""
    source: str
    """The file of that frame."""
    panels: bool = False
    """Whether frames show different parts of the result, and are levelled where they overlap."""


class Surfaces:
    """Smooth surfaces through the cells (ny, nx) of a field.

    Penalised B-splines as those of `kernels.surface`, each as stiff as makes it tell best what it was not shown
    (generalized cross-validation, Craven and Wahba 1979, with the freedom counted 1.4 times, Kim and Gu 2004).
    """

    def __init__(self, grid: tuple[int, int]):
        self.size = tuple(min(CELLS, max(2, n // 2)) for n in grid)
        down, across = (weights_along(n, size) for n, size in zip(grid, self.size, strict=True))
        self.design = np.kron(down, across)
        y, x = np.mgrid[-1 : 1 : grid[0] * 1j, -1 : 1 : grid[1] * 1j]
        self.plane = np.stack([np.ones(y.size), x.ravel(), y.ravel()], axis=-1)
        rows, cols = down.shape[1], across.shape[1]
        design = self.design
        penalty = surface.full(surface.stiffness(*self.size, surface.STIFFNESS))
        bend, modes = eigh(penalty, design.T @ design + 1e-6 * penalty + 1e-9 * np.eye(rows * cols))
        self.seen, self.modes = design @ modes, modes.reshape(rows, cols, -1)
        self.kept = 1 / (1 + STIFF[:, None] * np.maximum(bend, 0.0))

    def fit(self, values: np.ndarray, floor: float) -> np.ndarray:
        """Coefficients of the smooth surface through the values of the cells (n,), NaN where there is none.

        Cells far off the surface, their scatter never taken smaller than `floor`, count nothing.
        """
        there = np.isfinite(values)
        if not there.any():
            return np.zeros(self.modes.shape[:2])
        freedom = np.maximum(there.sum() - COUNTED * self.kept.sum(axis=1), 1.0)
        told, kept = np.where(there, values, np.median(values[there])), self.kept[-1]
        for step in range(STEPS):
            told[~there] = self.between(told, there, kept)
            found = told @ self.seen
            if step < STEPS // 2:
                left = (told**2).sum() - found**2 @ (2 * self.kept - self.kept**2).T
                kept = self.kept[int(np.argmin(left / freedom**2))]
            fitted = self.seen @ (kept * found)
            off = (values - fitted)[there]
            sigma = max(1.4826 * float(np.median(np.abs(off))), floor)
            if step:
                off *= np.maximum(1 - (off / (OFF_SIGMA * sigma)) ** 2, 0) ** 2
            else:
                off /= np.maximum(1, np.abs(off) / (1.5 * sigma))
            told[there] = fitted[there] + off
        told[~there] = self.between(told, there, kept)
        return self.modes @ (kept * (told @ self.seen))

    def between(self, values: np.ndarray, there: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """What cells that are not there must hold for the surface to be that through the others alone."""
        some = self.seen[~there] * kept
        share = np.eye(len(some)) * (1 + 1e-9) - some @ self.seen[~there].T
        return np.linalg.solve(share, some @ (values[there] @ self.seen[there]))

    def at_cells(self, coefficients: np.ndarray) -> np.ndarray:
        """Values (..., n) in the cells of surfaces (..., rows of coefficients, columns)."""
        return coefficients.reshape(*coefficients.shape[:-2], -1) @ self.design.T


def weights_along(cells: int, size: int) -> np.ndarray:
    """The cubic B-splines over `size` intervals in the middles of so many cells along one axis: (cells, size + 3)."""
    at = (np.arange(cells) + 0.5) * size / cells
    u = np.arange(size + 3) - 1 - at[:, None]
    return np.clip(2 - np.abs(u), 0, None) ** 3 / 6 - 4 / 6 * np.clip(1 - np.abs(u), 0, None) ** 3


def levels_of(planes: Sequence[Sequence[Measurement]], terms: Sequence[Terms], reference: int, shape) -> Levels | None:
    """What levels frames, from the skies that were measured of them; None where one has none, or no noise.

    planes: the `Measurement` of all frames, for each plane; terms: the `Terms` of each plane; shape of a frame.
    """
    grid = grid_of(planes)
    if grid is None:
        return None
    skies = [[m.sky_dn for m in plane] for plane in planes]
    factors, weights = (np.stack([getattr(t, name) for t in terms]) for name in ("out_scale", "weights"))
    noise = np.array([[m.noise_dn for m in plane] for plane in planes]) * np.abs(factors)
    if not (noise > 0).all():
        return None
    scaled = np.array(skies, float).reshape(*factors.shape, -1) * factors[..., None]
    location = np.array([[m.location_dn for m in plane] for plane in planes]) * factors
    level = location - location[:, reference, None]
    panels = all(map(are_panels, scaled))
    if panels:
        several = zip(scaled, weights, noise, strict=True)
        own, apart = np.stack([panel_skies(*each, grid, reference) for each in several]), np.full(noise.shape, np.inf)
        size = grid
    else:
        surfaces = Surfaces(grid)
        own, apart, more = levelled_alike(surfaces, scaled, weights, noise, level, reference)
        level, size = level + more, surfaces.size
    offset = (level[..., None, None] - own) / factors[..., None, None]
    step = max(EXACT * float(noise.max()), EXACT**2 * float(np.abs(offset).max()), np.finfo(float).tiny)
    offset = step * np.rint(offset / step)
    models = [levelling(m.source, offset[:, i], shape, size) for i, m in enumerate(planes[0])]
    return Levels(models, float(apart.max()), planes[0][int(np.argmax(apart.max(axis=0)))].source, panels)


def grid_of(planes: Sequence[Sequence[Measurement]]) -> tuple[int, int] | None:
    """In how many cells the skies of two frames or more are told; None where one has none, or others."""
    grids = {None if m.sky_dn is None else m.sky_dn.shape for plane in planes for m in plane}
    return None if len(grids) != 1 or len(planes[0]) < 2 else grids.pop()


def show_panels(planes: Sequence[Sequence[Measurement]]) -> bool:
    """Whether frames show different parts of the result, in all planes, as far as their skies tell."""
    if grid_of(planes) is None:
        return False
    return all(are_panels(np.array([np.ravel(m.sky_dn) for m in plane], float)) for plane in planes)


def levelled_alike(
    surfaces: Surfaces, scaled: np.ndarray, weights: np.ndarray, noise: np.ndarray, level: np.ndarray,
    reference: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """What each sky has of its own beside a robust mean of all, (planes, N, rows, columns) coefficients; by how much it
    differs, in sigma; and what is to be added to the levels (planes, N).

    scaled (planes, N, cells); weights, noise, level (planes, N): the last above that of the reference.
    """
    own = np.stack([own_skies(surfaces, *each) for each in zip(scaled, weights, noise, strict=True)])
    seen = surfaces.at_cells(own)
    apart = extent(seen, np.isfinite(scaled)) / noise
    differ = apart.max() >= APART_SIGMA
    share = mean_weights(seen, weights.min(axis=0), noise) if differ else weights / weights.sum(axis=1, keepdims=True)
    own -= np.einsum("pi,pi...->p...", np.broadcast_to(share, weights.shape), own)[:, None]
    if differ:
        more = surfaces.at_cells(own[:, reference]).mean(axis=-1)[:, None]
    else:
        more = -np.einsum("pi,pi->p", share, level)[:, None]
    return own, apart, more


def levelling(source: str, offset: np.ndarray, shape, size: tuple[int, int]) -> LocalModel:
    """A local normalization that adds a surface to each plane and changes no scale."""
    planes = len(offset)
    pitch = shape[-2] / size[0], shape[-1] / size[1]
    none = (np.empty((0, 0)),) * planes
    return LocalModel(source, (1.0,) * planes, (0.0,) * planes, (0,) * planes, pitch, offset, none, before=True)


def own_skies(surfaces: Surfaces, skies: np.ndarray, weights: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What each sky has of its own beside what all have in common: coefficients (N, rows, columns).

    skies (N, cells) DN on one scale, NaN where missing; weights (N,); noise (N,) of a pixel. The weighted mean of what
    is told is 0.
    """
    there = np.isfinite(skies)
    floor = 0.003 * noise
    seen = np.stack(
        [surfaces.plane @ np.linalg.lstsq(surfaces.plane[g], k[g])[0] for k, g in zip(skies, there, strict=True)]
    )
    seen -= np.average(seen, axis=0, weights=weights)
    for _ in range(PASSES):
        common = mean_of(skies - seen, weights)
        own = np.stack([surfaces.fit(sky, least) for sky, least in zip(skies - common, floor, strict=True)])
        own -= np.average(own, axis=0, weights=weights)
        seen = surfaces.at_cells(own)
    return own


def mean_of(skies: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean (cells,) of what is there of skies (N, cells); 0 where nothing is."""
    there = np.isfinite(skies)
    share = weights[:, None] * there
    total = np.where(there, skies, 0.0) * share
    return total.sum(axis=0) / np.maximum(share.sum(axis=0), np.finfo(float).tiny)


def extent(seen: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Highest minus lowest of surfaces (..., cells) where something is there."""
    return np.where(there, seen, -np.inf).max(axis=-1) - np.where(there, seen, np.inf).min(axis=-1)


def mean_weights(seen: np.ndarray, weights: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What each sky counts for in the mean that the result has, (N,) of sum 1: their geometric median (Weiszfeld 1937).

    A frame counts alike in all planes, so that their colours stay together. seen (planes, N, cells).
    """
    shape = (seen - seen.mean(axis=-1, keepdims=True)) / np.median(noise, axis=1)[:, None, None]
    share = weights / weights.sum()
    for _ in range(20):
        away = np.sqrt(((shape - np.einsum("i,pij->pj", share, shape)[:, None]) ** 2).mean(axis=(0, 2)))
        share = weights / np.maximum(away, 0.1)
        share /= share.sum()
    return share
