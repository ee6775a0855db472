"""Frames whose skies differ from place to place are levelled by what was measured of their skies, pixels unread.

Every frame's sky in coarse cells, brought to the scale of the reference, is what all have in common and a smooth
difference of its own. The differences are taken off, and what is left to all of them is a robust mean of the skies, so
that no single cloud's or moon's gradient is imprinted on the result.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from masterlight.core.statistics.cells import centres
from masterlight.integration.kernels import surface
from masterlight.integration.local.model import LocalModel
from masterlight.integration.roster.terms import Terms
from masterlight.subframes.measurement import Measurement

CELLS = 12
"""Cells of the smooth surfaces along the longer side, at most."""
PASSES = 3
"""How often what skies have in common and what each has of its own are told from one another."""
OFF_SIGMA = 5.0
"""Cells that lie so far off a smooth surface, such as a star's halo in one frame, have no say in it."""
STIFF = 4.0 ** np.arange(-8, 5)
"""Factors on the usual stiffness of surfaces among which each sky itself chooses."""
COUNTED = 1.4
STEPS = 6
"""How often a surface is fitted to what does not lie far off it."""
WHOLE = 0.85
"""Share of the cells that must be there for the others to be filled in from the surface itself."""
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


class Surfaces:
    """Smooth surfaces through the cells (ny, nx) of a field.

    Penalised B-splines as those of `kernels.surface`, each as stiff as makes it tell best what it was not shown
    (generalized cross-validation, Craven and Wahba 1979, with the freedom counted 1.4 times, Kim and Gu 2004).
    """

    def __init__(self, grid: tuple[int, int]):
        self.size = tuple(min(CELLS, max(2, n // 2)) for n in grid)
        at = centres(grid, grid) + 0.5
        self.v, self.u = (np.ascontiguousarray(at[:, k] * self.size[1 - k] / grid[1 - k]) for k in (1, 0))
        rows, cols = (n + 3 for n in self.size)
        units = np.eye(rows * cols).reshape(-1, rows, cols)
        design = self.at_cells(units).T
        penalty = surface.full(surface.stiffness(*self.size, surface.STIFFNESS))
        bend, modes = eigh(penalty, design.T @ design + 1e-6 * penalty + 1e-9 * np.eye(rows * cols))
        self.seen, self.modes = design @ modes, modes.reshape(rows, cols, -1)
        self.kept = 1 / (1 + STIFF[:, None] * np.maximum(bend, 0.0))
        self.freedom = np.maximum(len(design) - COUNTED * self.kept.sum(axis=1), 1.0)

    def fit(self, values: np.ndarray, floor: float) -> np.ndarray:
        """Coefficients of the smooth surface through the values of the cells (n,), NaN where there is none.

        Cells far off the surface, their scatter never taken smaller than `floor`, count nothing.
        """
        there = np.isfinite(values)
        if not there.any():
            return np.zeros(self.modes.shape[:2])
        fitted = np.full(len(values), np.median(values[there]))
        off = np.where(there, values - fitted, 0.0)
        for step in range(STEPS):
            found = (fitted + off) @ self.seen
            if step < STEPS // 2:
                left = ((fitted + off) ** 2).sum() - found**2 @ (2 * self.kept - self.kept**2).T
                best = int(np.argmin(left / self.freedom**2))
            fitted = self.seen @ (self.kept[best] * found)
            off = np.where(there, values - fitted, 0.0)
            sigma = max(1.4826 * float(np.median(np.abs(off[there]))), floor)
            if step:
                off *= np.maximum(1 - (off / (OFF_SIGMA * sigma)) ** 2, 0) ** 2
            else:
                off /= np.maximum(1, np.abs(off) / (1.5 * sigma))
        if there.mean() < WHOLE:
            points = self.v, self.u, np.where(there, values, 0.0), there.astype(float)
            return surface.fit_surface(*points, *self.size, OFF_SIGMA, floor, STIFF[best])[0]
        return self.modes @ (self.kept[best] * found)

    def at_cells(self, coefficients: np.ndarray) -> np.ndarray:
        """Values (..., n) in the cells of surfaces (..., rows of coefficients, columns)."""
        out = np.empty((*coefficients.shape[:-2], self.v.size))
        for index in np.ndindex(*out.shape[:-1]):
            surface.surface_at(np.ascontiguousarray(coefficients[index]), self.v, self.u, out[index])
        return out


def levels_of(planes: Sequence[Sequence[Measurement]], terms: Sequence[Terms], reference: int, shape) -> Levels | None:
    """What levels frames, from the skies that were measured of them; None where one has none.

    planes: the `Measurement` of all frames, for each plane; terms: the `Terms` of each plane; shape of a frame.
    """
    skies = [[m.sky_dn for m in plane] for plane in planes]
    grids = {None if sky is None else sky.shape for plane in skies for sky in plane}
    if len(grids) != 1 or None in grids or len(skies[0]) < 2:
        return None
    surfaces = Surfaces(grids.pop())
    factors, weights = (np.stack([getattr(t, name) for t in terms]) for name in ("out_scale", "weights"))
    noise = np.array([[m.noise_dn for m in plane] for plane in planes]) * np.abs(factors)
    noise = np.maximum(noise, np.finfo(float).tiny)
    scaled = np.array(skies, float).reshape(*factors.shape, -1) * factors[..., None]
    own = np.stack([own_skies(surfaces, *each) for each in zip(scaled, weights, noise, strict=True)])
    seen = surfaces.at_cells(own)
    apart = extent(seen, np.isfinite(scaled)) / noise
    differ = apart.max() >= APART_SIGMA
    share = mean_weights(seen, weights.min(axis=0), noise) if differ else weights / weights.sum(axis=1, keepdims=True)
    own -= np.einsum("pi,pi...->p...", np.broadcast_to(share, weights.shape), own)[:, None]
    location = np.array([[m.location_dn for m in plane] for plane in planes]) * factors
    level = location - location[:, reference, None]
    if differ:
        level += surfaces.at_cells(own[:, reference]).mean(axis=-1)[:, None]
    else:
        level -= np.einsum("pi,pi->p", share, level)[:, None]
    offset = (level[..., None, None] - own) / factors[..., None, None]
    models = [levelling(m.source, offset[:, i], shape, surfaces.size) for i, m in enumerate(planes[0])]
    return Levels(models, float(apart.max()), planes[0][int(np.argmax(apart.max(axis=0)))].source)


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
    constants = np.array([np.median(sky[good]) if good.any() else 0.0 for sky, good in zip(skies, there, strict=True)])
    with np.errstate(all="ignore"):
        common = np.nanmedian(np.where(there.any(axis=0), skies - constants[:, None], 0.0), axis=0)
    for _ in range(PASSES):
        own = np.stack([surfaces.fit(sky, least) for sky, least in zip(skies - common, floor, strict=True)])
        own -= np.average(own, axis=0, weights=weights)
        left = np.where(there, skies - surfaces.at_cells(own), 0.0)
        share = weights[:, None] * there
        common = np.divide((left * share).sum(axis=0), share.sum(axis=0), out=common, where=share.sum(axis=0) > 0)
    return own


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
