"""What a lens and poses leave: stars of all frames pooled in parts of the sensor, where chance cannot make it alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARTS = 12, 16
"""Rows and columns of parts of the sensor."""
FEWEST = 4
"""Stars of which a part is told."""
BEYOND_CHANCE = 2.0
"""A map tells something where it is so many times what the errors of stars alone would make it."""


@dataclass(frozen=True, eq=False)
class ResidualMap:
    """Where stars of all frames lie on the mean beside where they are expected, in parts of the sensor."""

    left_px: np.ndarray
    """(rows, columns, 2) along x and y; NaN for parts with too few stars."""
    error_px: np.ndarray
    """(rows, columns) of either, 1 sigma."""

    @classmethod
    def of(cls, at_px: np.ndarray, left_px: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> ResidualMap:
        """Of stars seen at (n, 2) px, so far (n, 2) px beside their places, of weight (n,) px^-2."""
        rows, cols = PARTS
        row, column = (np.clip(at_px[:, a] * n / shape[1 - a], 0, n - 1).astype(int) for a, n in ((1, rows), (0, cols)))
        part = row * cols + column
        total, count = (np.bincount(part, w, rows * cols) for w in (weight, None))
        told = (count >= FEWEST) & (total > 0)
        sums = np.stack([np.bincount(part, weight * left, rows * cols) for left in left_px.T], axis=1)
        mean, error = np.full((rows * cols, 2), np.nan), np.full(rows * cols, np.nan)
        mean[told], error[told] = sums[told] / total[told, None], 1 / np.sqrt(total[told])
        return cls(mean.reshape(rows, cols, 2), error.reshape(rows, cols))

    @property
    def rms_px(self) -> float:
        """Of all parts, over both axes."""
        return mean_of(np.hypot(*np.moveaxis(self.left_px, -1, 0)))

    @property
    def chance_px(self) -> float:
        """What errors of stars alone would make of it."""
        return mean_of(np.sqrt(2) * self.error_px)

    @property
    def tells(self) -> bool:
        """Whether there is more than chance."""
        return self.rms_px > BEYOND_CHANCE * self.chance_px

    def __str__(self) -> str:
        """One sentence for the report."""
        if np.isnan(self.rms_px):
            return "too few stars for a map of what is left"
        rows, cols = PARTS
        words = f"in {cols} x {rows} parts of the sensor stars lie {self.rms_px:.3f} px from their places"
        words += f" ({self.chance_px:.3f} px by chance)"
        if not self.tells:
            return words
        size = np.hypot(*np.moveaxis(self.left_px, -1, 0))
        y, x = np.unravel_index(np.nanargmax(size), size.shape)
        return f"{words}, most in part {x + 1} from the left, {y + 1} from the first row: {size[y, x]:.2f} px"


def mean_of(values: np.ndarray) -> float:
    """Root mean square of those that are known, NaN for none."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")
