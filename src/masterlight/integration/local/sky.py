"""The sky below each pixel of a frame: its large-scale background, which stars and small nebulae stand above."""

from dataclasses import dataclass

import numpy as np

from masterlight.core.frame import Frame, naming
from masterlight.core.statistics.rounding import dither, step_between
from masterlight.integration.kernels import surface

CELL_PX = 64
ROWS = 16
OUTLIER_SIGMA = 4.0


@dataclass(frozen=True, eq=False)
class Sky:
    """The large-scale background of each plane of a frame, as the coefficients of a smooth surface."""

    coefficients: np.ndarray
    """(planes, rows of cells + 3, columns of cells + 3) float64, DN."""
    pitch_px: tuple[float, float]

    def plane(self, plane: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """The background of a box, (h, w) float32 DN; the same for a pixel in whatever box it lies."""
        out = np.empty((y1 - y0, x1 - x0), np.float32)
        for y in range(y0, y1):
            surface.surface_row(self.coefficients[plane], y, x0, *self.pitch_px, out[y - y0])
        return out


def sky_below(frame: Frame) -> Sky:
    """The large-scale background of a frame (rows, cols) or (3, rows, cols), from a quarter of its rows.

    Robust levels of cells of 64 pixels, smoothed by a cubic B-spline; empty cells have the median of the others.
    """
    rows, cols = frame.shape[-2:]
    planes = frame.planes
    ny, nx = max(1, round(rows / CELL_PX)), max(1, round(cols / CELL_PX))
    levels = np.empty((planes, ny, nx))
    cells, step = np.empty((nx, 5)), 0.0
    for j in range(ny):
        top = int((j + 0.5) * rows / ny - 0.5 * min(ROWS, rows // ny))
        with naming(frame):
            strip = frame.pixels(top, min(top + ROWS, rows), 0, cols)
        strip = np.ascontiguousarray(strip.reshape(planes, -1, cols))
        step = max(map(step_between, strip)) if j == 0 else step
        for p, plane in enumerate(strip + dither(strip.shape, step) if step else strip):
            surface.cell_levels(plane, plane, np.zeros(nx), OUTLIER_SIGMA, 1, cells)
            levels[p, j] = cells[:, 0]
    for plane in levels:
        empty = ~np.isfinite(plane)
        plane[empty] = np.median(plane[~empty]) if not empty.all() else 0.0
    knots = np.pad(levels, ((0, 0), (2, 2), (2, 2)), mode="edge")
    knots = 0.25 * (knots[:, :-1, :-1] + knots[:, 1:, :-1] + knots[:, :-1, 1:] + knots[:, 1:, 1:])
    return Sky(knots, (rows / ny, cols / nx))
