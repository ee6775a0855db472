"""Kernels of interpolation as tables: the weight of each near pixel, for 4096 places between two pixels."""

from functools import lru_cache

import numpy as np

PHASES, TAPS, LANES = 4096, 10, 12
LOW = 4
"""Tap that sits on the pixel at or before the position."""


def shape_of(name: str, x: np.ndarray) -> np.ndarray:
    """A kernel's weight at distance `x` in pixels: lanczos3, lanczos4, lanczos5, bilinear or nearest."""
    if name == "nearest":
        return ((x >= -0.5) & (x < 0.5)).astype(float)
    if name == "bilinear":
        return np.clip(1 - np.abs(x), 0, None)
    n = int(name.removeprefix("lanczos"))
    weight = np.where(np.abs(x) < n, np.sinc(x) * np.sinc(x / n), 0.0)
    return np.where(x == np.round(x), (x == 0).astype(float), weight)


@lru_cache
def weights(name: str) -> np.ndarray:
    """Weights of a kernel, float32, flat: phase p (0 to 4096), tap k (12, the last two zero) at `12 p + k`.

    Tap k belongs to the pixel floor(position) + k - 4. The ten weights of a phase sum to one (Lanczos weights do
    so only after division by their sum), so a flat sky stays flat.
    """
    phase = np.arange(PHASES + 1)[:, None] / PHASES
    table = np.zeros((PHASES + 1, LANES))
    table[:, :TAPS] = shape_of(name, np.arange(TAPS)[None, :] - LOW - phase)
    table /= table.sum(axis=1, keepdims=True)
    return table.astype(np.float32).ravel()


def noise_gain(name: str, phases=None) -> float:
    """How much a kernel lowers white noise: root of the mean sum of squared weights.

    phases (n, 2): where between the pixels the positions lie, 0 to 1 along x and y; everywhere alike for None.
    """
    squares = (weights(name).reshape(-1, LANES).astype(float) ** 2).sum(axis=1)
    if phases is None:
        return float(squares[:-1].mean())
    along = squares[np.rint(np.asarray(phases) * PHASES).astype(int)]
    return float(np.sqrt(along.prod(axis=-1).mean()))
