"""Kernels of interpolation as tables: the weight of each near pixel, for 4096 places between two pixels."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

PHASES, TAPS, LANES = 4096, 10, 12
LOW = 4
"""Tap that sits on the pixel at or before the position."""
CUBIC = {"bicubic": (0, 1 / 2), "catmull-rom": (0, 1 / 2), "mitchell": (1 / 3, 1 / 3), "bspline": (1, 0)}
"""Cubic kernels of four taps by their B and C (Mitchell and Netravali 1988)."""
FILTERS = "catmull-rom", "mitchell", "bspline"
"""Kernels that are stretched where pixels of the result are wider than those of the frame, so that they average."""
MOST_STRETCH, STRETCHES = 2.5, 32
"""Four taps stretched so far are the ten of a table; in steps of 1/32, so that frames of a set share theirs."""
STARS_PX, EASE = 2.0, 1e-3
"""FWHM of the stars that a change of weights should leave as they are, and how large a change may be for that."""

UNSATURATED = 0.8
"""Part of saturation below which a star is as it is, also where a flat has made it darker."""


class Kernel(NamedTuple):
    """A kernel by its name, how much wider than usual it is, and whether it keeps slopes as they are."""

    name: str
    stretch: float = 1.0
    first_moment: bool = False

    @classmethod
    def of(cls, name: str | Kernel) -> Kernel:
        """A kernel that may be given by its name alone."""
        return name if isinstance(name, Kernel) else cls(name)

    @property
    def smooth(self) -> bool:
        """Whether its weights have no kinks."""
        return self.name not in ("nearest", "bilinear")

    def for_scale(self, scale: float) -> Kernel:
        """This kernel for frames with so many pixels along one of the result: a filter is stretched by as much."""
        if self.name not in FILTERS:
            return self
        return self._replace(stretch=round(min(max(scale, 1.0), MOST_STRETCH) * STRETCHES) / STRETCHES)


def shape_of(name: str, x: np.ndarray) -> np.ndarray:
    """A kernel's weight at distance `x` in pixels: lanczos3 to 5, one of `CUBIC`, bilinear or nearest."""
    if name == "nearest":
        return ((x >= -0.5) & (x < 0.5)).astype(float)
    if name == "bilinear":
        return np.clip(1 - np.abs(x), 0, None)
    if name in CUBIC:
        return cubic(*CUBIC[name], np.abs(x))
    n = int(name.removeprefix("lanczos"))
    weight = np.where(np.abs(x) < n, np.sinc(x) * np.sinc(x / n), 0.0)
    return np.where(x == np.round(x), (x == 0).astype(float), weight)


def cubic(b: float, c: float, r: np.ndarray) -> np.ndarray:
    """The piecewise cubic of Mitchell and Netravali (1988) at distances r >= 0."""
    near = (12 - 9 * b - 6 * c) * r**3 + (-18 + 12 * b + 6 * c) * r**2 + 6 - 2 * b
    far = (-b - 6 * c) * r**3 + (6 * b + 30 * c) * r**2 + (-12 * b - 48 * c) * r + 8 * b + 24 * c
    return np.where(r < 1, near, np.where(r < 2, far, 0.0)) / 6


@lru_cache(maxsize=64)
def weights(kernel: str | Kernel) -> np.ndarray:
    """Weights of a kernel, float32, flat: phase p (0 to 4096), tap k (12, the last two zero) at `12 p + k`.

    Tap k belongs to the pixel floor(position) + k - 4. The ten weights of a phase sum to one (Lanczos weights do
    so only after division by their sum), so a flat sky stays flat.
    """
    return exact_weights(Kernel.of(kernel)).astype(np.float32).ravel()


def exact_weights(kernel: Kernel) -> np.ndarray:
    """The table of `weights` (phases, taps) in float64."""
    phase = np.arange(PHASES + 1)[:, None] / PHASES
    away = np.arange(TAPS)[None, :] - LOW - phase
    table = np.zeros((PHASES + 1, LANES))
    table[:, :TAPS] = shape_of(kernel.name, away / kernel.stretch if kernel.stretch != 1 else away)
    table /= table.sum(axis=1, keepdims=True)
    if kernel.first_moment and kernel.name != "nearest":
        table[:, :TAPS] = with_first_moment(table[:, :TAPS], away)
    return table


@lru_cache(maxsize=64)
def slopes(kernel: str | Kernel) -> np.ndarray:
    """How the weights of a kernel change along a pixel: as `weights`, per px; 0 where they have kinks."""
    kernel = Kernel.of(kernel)
    if not kernel.smooth:
        return np.zeros((PHASES + 1) * LANES, np.float32)
    return (np.gradient(exact_weights(kernel), 1 / PHASES, axis=0, edge_order=2)).astype(np.float32).ravel()


class Ring(NamedTuple):
    """How far a pixel may fall below the floor: by a part of what the brightest tap stands above it, beside stars."""

    share: float = 0.0
    below_dn: float = np.inf
    """From here on the brightest tap is no star as it is, but a saturated one."""

    @classmethod
    def of(cls, kernel: str | Kernel, fwhm_px: float | None, saturation_dn: float | None) -> Ring:
        """Of the stars of a frame; none where its saturation is not known, or where it has no such stars."""
        share = ring_share(kernel, fwhm_px) if saturation_dn else 0.0
        return cls(share, UNSATURATED * saturation_dn) if share > 0 else cls()


NO_RING = Ring()


@lru_cache(maxsize=64)
def ring_share(kernel: str | Kernel, fwhm_px: float | None) -> float:
    """How deep the rings are that a kernel itself puts around stars so wide, as a part of the brightest pixel near.

    They are as deep as others are high, and belong to a star's flux: without them bright stars would be up to 1 %
    brighter than faint ones. 0 for stars below 2 px FWHM, which no kernel knows between pixels, and for None.
    """
    if fwhm_px is None or not fwhm_px >= STARS_PX:
        return 0.0
    offsets = np.arange(-16, 16, 1 / 8)[:, None]
    star = np.exp(-4 * np.log(2) * ((offsets + np.arange(TAPS)) / fwhm_px) ** 2)
    seen = star @ weights(kernel).reshape(-1, LANES)[:: PHASES // 16, :TAPS].T / star.max(axis=1, keepdims=True)
    seen = seen[star.max(axis=1) > 1e-6]
    return float(max(seen.max() * -seen.min(), 0.0))


def with_first_moment(table: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Weights whose mean place is the position itself, so that a slope keeps its level; as near to `table` as can be.

    table, away (phases, taps): weights that sum to one, and distances of their pixels from the position in px. Lanczos
    kernels move a slope by up to 0.02 px. Of all changes that mend it, the one is taken that changes stars least: those
    of 2 px FWHM, wherever they lie, so its measure is the covariance of pixels that such stars give.
    """
    s_px = STARS_PX / np.sqrt(8 * np.log(2))
    moved = (table * away).sum(axis=1)
    for row in np.flatnonzero(np.abs(moved) > 1e-12):
        used = np.flatnonzero(table[row])
        d = away[row, used]
        alike = np.exp(-((d[:, None] - d) ** 2) / (4 * s_px**2)) + EASE * np.eye(d.size)
        moments = np.stack([np.ones(d.size), d], axis=1)
        change = np.linalg.solve(alike, moments)
        table[row, used] += change @ np.linalg.solve(moments.T @ change, [0.0, -moved[row]])
    return table


def noise_gain(kernel: str | Kernel, phases=None) -> float:
    """How much a kernel lowers white noise: root of the mean sum of squared weights.

    phases (n, 2): where between the pixels the positions lie, 0 to 1 along x and y; everywhere alike for None.
    """
    squares = (weights(kernel).reshape(-1, LANES).astype(float) ** 2).sum(axis=1)
    if phases is None:
        return float(squares[:-1].mean())
    along = squares[np.rint(np.asarray(phases) * PHASES).astype(int)]
    return float(np.sqrt(along.prod(axis=-1).mean()))
