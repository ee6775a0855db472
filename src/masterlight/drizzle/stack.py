"""What a drizzle gives: a stack on a finer grid, and a row for each frame that fell on it."""

from dataclasses import dataclass

import numpy as np

from masterlight.integration.stack import FrameRow, Stack


@dataclass(frozen=True)
class DropRow(FrameRow):
    """What one frame gave to a drizzled stack."""

    used_fraction: float = 0.0
    """Part of the frame's pixels that fell on the result: the rest lies outside, is missing or was rejected."""


@dataclass(frozen=True, eq=False)
class DrizzleStack(Stack):
    """A drizzled image, planes (rows, cols) or (3, rows, cols) of the finer grid; without rejection maps.

    `variance` is that of single pixels; neighbours are correlated, see `noise_ratio`. `coverage` counts the
    frames of which anything fell on a pixel.
    """

    weight: np.ndarray | None = None
    """float32, sum of (area of the overlap in source pixels x weight of the frame); 0 where the image is NaN."""
    scale: float = 1.0
    """Output pixels per reference pixel."""
    empty_fraction: float = 0.0
    """Holes: part of the pixels within the field of the frames on which nothing fell, the worst plane."""

    @property
    def noise_ratio(self) -> float:
        """How many times noisier than single pixels suggest a wide area is: R of Fruchter and Hook (2002)."""
        return float(np.sqrt(self.correlation))
