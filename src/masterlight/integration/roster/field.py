"""How noisy the sky is from place to place: corners that a flat has lifted, ends of a gradient, nebulae.

A pixel of a frame holds f (S + L) DN with the noise (f^2 R^2 + f (S + L) / g), where f = mean(F) / F of its flat, S + L
the light of sky and objects, g the gain and R all that is noise without light (Mortara and Fowler 1981).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import erf

from masterlight.core.statistics.noise import MRS_OF_WHITE, SUPPORT_SIGMA
from masterlight.integration.kernels import surface
from masterlight.integration.local.model import LocalModel
from masterlight.integration.local.sky import Sky
from masterlight.integration.roster.terms import Terms
from masterlight.subframes.measurement import Measurement

CELL_PX, MOST_CELLS = 32, 96
"""Pitch of the grid on which the noise is told, and how many cells it has at most along the longer side."""
PASSES = 3
"""So often the share of the noise that is not of photons is corrected by what comes of it."""
LOOKS = 1000
"""Places that tell what the noise of a frame is measured as, at least."""
TURNS = 5
"""So often that is settled."""
LEAST = 0.25
"""Of the usual variance, what a place has at least."""


@dataclass(frozen=True, eq=False)
class NoiseField:
    """The noise of the sky of one plane over the field: how many times the usual variance, and the factor of the flat.

    Of frames that do not all cover a place, those count that do.
    """

    coefficients: np.ndarray
    """(2, rows of cells + 3, columns of cells + 3) float64 of smooth surfaces: the variance of a sky of the usual level
    over the usual variance; and mean(F) / F."""
    pitch_px: tuple[float, float]
    level_dn: float
    """The usual level of the sky."""
    photon: float
    """Variance over the usual one for each DN of light that arrives beside that."""

    @classmethod
    def even(cls, nodes: "Nodes", level_dn: float) -> "NoiseField":
        """The same everywhere."""
        return cls(np.ones((2, *nodes.x_px.shape)), nodes.pitch_px, level_dn, 0.0)

    def times(self, over: np.ndarray) -> "NoiseField":
        """The variance at the nodes so many times what it was, as if a flat had done it."""
        return replace(self, coefficients=self.coefficients * over)

    def box(self, sky: np.ndarray | None, y0: int, y1: int, x0: int, x1: int) -> tuple[np.ndarray, np.ndarray]:
        """(variance over the usual one, factor of the flat) of a box, (h, w) float32, whose sky (h, w) is known."""
        over, flat = (np.empty((y1 - y0, x1 - x0), np.float32) for _ in range(2))
        sky = np.empty((0, 0), np.float32) if sky is None or not self.photon else sky
        told = sky, self.level_dn, self.photon, LEAST
        surface.noise_over(self.coefficients, y0, x0, *self.pitch_px, *told, over, flat)
        return over, flat


class Noise(NamedTuple):
    """How the noise of each plane of a result differs over the field."""

    fields: tuple[NoiseField | None, ...]
    sky: Sky | None
    """The level of the result above which all is light, where it is known from place to place."""

    def box(self, plane: int, *box: int) -> tuple[np.ndarray | float, np.ndarray | float, np.ndarray | None]:
        """(variance over the usual one, factor of the flat, sky) of the box (y0, y1, x0, x1), each (h, w) or alike."""
        field, sky = self.fields[plane], None if self.sky is None else self.sky.plane(plane, *box)
        return (1.0, 1.0, sky) if field is None else (*field.box(sky, *box), sky)


class Nodes(NamedTuple):
    """The places of the coefficients of a surface over an image."""

    x_px: np.ndarray
    """(rows of cells + 3, columns of cells + 3)"""
    y_px: np.ndarray
    inside: np.ndarray
    """Which of them are pixels of the image; the others hold it up from beyond its edge."""
    pitch_px: tuple[float, float]

    @classmethod
    def over(cls, rows: int, cols: int) -> "Nodes":
        pitch = max(CELL_PX, max(rows, cols) / MOST_CELLS)
        cells = [max(2, round(n / pitch)) for n in (rows, cols)]  # one node inside at least
        down, across = rows / cells[0], cols / cells[1]
        y, x = (np.arange(-1, n + 2) * step - 0.5 for n, step in zip(cells, (down, across), strict=True))
        inside = np.logical_and.outer((y >= 0) & (y <= rows - 1), (x >= 0) & (x <= cols - 1))
        return cls(*np.meshgrid(x, y), inside, (down, across))

    def of_surface(self, coefficients: np.ndarray, pitch_px: tuple[float, float]) -> np.ndarray:
        """A surface at the nodes, those outside of it as at its edge."""
        cells = np.array(coefficients.shape) - 3
        out, places = np.empty(self.x_px.size), (self.y_px, self.x_px)
        v, u = (np.clip((at.ravel() + 0.5) / p, 0, n) for at, p, n in zip(places, pitch_px, cells, strict=True))
        surface.surface_at(np.ascontiguousarray(coefficients), v, u, out)
        return out.reshape(self.x_px.shape)


def noise_field(
    terms: Terms, statistics: Sequence[Measurement], added: Sequence[np.ndarray] | None, sky: np.ndarray | None,
    nodes: Nodes,
) -> NoiseField | None:  # fmt: skip
    """The noise of a plane over the field; None where nothing tells that it is not the same all over.

    added: of each frame what was added to its level at the nodes before these terms were applied, where something was;
    sky: the level of the result there, None where its photons are of no account.
    """
    photons = sky is not None and bool(terms.photon.any())
    if not photons and all(s.response is None or s.response.grid is None for s in statistics):
        return None
    level = np.full(nodes.x_px.shape, terms.background_dn) if sky is None else sky
    squares, known = np.square(terms.weights), terms.noise_variance > 0
    usual = squares * np.where(known, terms.noise_variance, 1.0)
    light = squares * terms.photon if photons else usual
    sums, shares = np.zeros((2, *level.shape)), np.zeros((2, *level.shape))
    for i, s in enumerate(statistics):
        flat, there, told = seen_by(s, nodes)
        seen = level - terms.out_offset[i] - (0.0 if added is None else terms.out_scale[i] * added[i])
        photon = terms.photon[i] / terms.noise_variance[i] if photons and known[i] else 0.0
        zero_based = s.response is not None and s.response.grid is not None
        over = variance_over(seen, flat, told, photon, zero_based, terms.dark_dn is not None)
        for k, (weight, value) in enumerate(((usual[i], over), (light[i], flat))):
            sums[k] += np.where(there, weight * value, 0.0)
            shares[k] += np.where(there, weight, 0.0)
    over, flat = np.divide(sums, shares, out=np.ones_like(sums), where=shares > 0)
    photon = float(light.sum() / usual.sum()) if photons and terms.dark_dn is None else 0.0
    over -= photon * flat * (level - terms.background_dn)
    return NoiseField(np.stack([over, flat]), nodes.pitch_px, terms.background_dn, photon)


def seen_by(measured: Measurement, nodes: Nodes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At the nodes mean(F) / F of a frame, whether it lies there, and how much each counted when it was measured."""
    inside = nodes.inside.astype(float)
    if measured.response is None:
        return np.ones(inside.shape), np.ones(inside.shape, bool), inside
    at = nodes.x_px, nodes.y_px
    flat, there = measured.response.at(*at, max(nodes.pitch_px))
    free = np.ones((1, 1)) if measured.free is None else measured.free
    return flat, there, inside * measured.response.seen(free, *at)


def variance_over(seen, flat, told, photon: float, zero_based: bool, dark: bool) -> np.ndarray:
    """Variance of one frame at the nodes over that which was measured of all of it, that of its plain sky.

    seen: its level at the nodes on the scale of the result, counted from no light where it is `zero_based`; flat: its
    mean(F) / F; told: how much each of them counts for what was measured; photon: variance over the measured one for
    each DN of light, 0 where the gain is unknown: then all noise is taken for that of photons. dark: what was measured
    is noise without light.
    """
    square = np.broadcast_to(np.square(flat), seen.shape)
    step = max(1, int(np.sqrt(square.size / LOOKS)))
    few = np.s_[::step, ::step]
    weights = told[few]
    if dark or not weights.any():
        return square
    light, rest = photon * flat * seen, 0.0
    for _ in range(PASSES if photon > 0 else 0):
        rest += (1 - usual_of((light + rest * square)[few], weights)) / usual_of(square[few], weights)
    if photon > 0 and (rest >= 0 or not zero_based):
        return np.maximum(light + rest * square, LEAST)
    light = flat * seen if zero_based and usual_of((flat * seen)[few], weights) > 0 else flat
    return light / usual_of(light[few], weights)


def usual_of(variances: np.ndarray, weights: np.ndarray) -> float:
    """What the noise of a frame is measured as, squared, whose variance differs from place to place.

    weights: how many pixels of each place were taken for plain sky. They are those within SUPPORT_SIGMA of that very
    noise, which cuts more from the noisier ones.
    """
    s = np.maximum(variances, 0.0)
    total, usual = weights.sum(), float(np.average(s, weights=weights))
    for _ in range(TURNS):
        if not usual > 0:
            return usual
        usual = float((weights * s * left_within(SUPPORT_SIGMA * np.sqrt(usual / np.maximum(s, 1e-9 * usual)))).sum())
        usual /= total * left_within(SUPPORT_SIGMA)
    return MRS_OF_WHITE**2 * usual


def left_within(limit):
    """Variance of Gaussian noise of sigma 1 of which what lies beyond +- limit is left out."""
    return 1 - 2 * limit * np.exp(-0.5 * np.square(limit)) / np.sqrt(2 * np.pi) / erf(limit / np.sqrt(2))


def fields_of(
    roster_terms: Sequence[Terms], measured: Sequence[Sequence[Measurement]], models: Sequence[LocalModel] | None,
    sky: Sky | None, shape: tuple[int, ...],
) -> list[NoiseField | None]:  # fmt: skip
    """The noise of each plane over the field, from what was measured of the frames that take part.

    models: those that level frames place by place, where the result is of frames levelled so; sky: the large-scale
    background of the result.
    """
    nodes, fields = Nodes.over(*shape[-2:]), []
    for p, (terms, plane) in enumerate(zip(roster_terms, measured, strict=True)):
        added = None if models is None else [nodes.of_surface(m.offset[p], m.pitch_px) for m in models]
        level = None if sky is None else nodes.of_surface(sky.coefficients[p], sky.pitch_px)
        fields.append(noise_field(terms, plane, added, level, nodes))
    return fields
