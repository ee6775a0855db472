"""What each frame of an integration has over the result, in bins: its level place by place, and what stands out."""

import numpy as np

from masterlight.integration.kernels import residuals
from masterlight.integration.kernels.residuals import SIDE, STEPS
from masterlight.integration.stack import HIGH, LARGE, Verdicts
from masterlight.integration.trails.faint import wipe

SQUARE = 16
"""Bins along the side of the squares whose mean is taken for the level of the bins around."""
CROWDED = SIDE * SIDE // 4
"""A bin of which so many samples were rejected as too bright lies in a trail or a ray: it tells no level."""


class Residue:
    """What frames have over their mean: bins (planes, N, rows, cols) int16, as `bin_residuals` adds them up."""

    def __init__(self, bins: np.ndarray, noise_dn: np.ndarray, verdicts: Verdicts, every: int = 1):
        """noise_dn (planes, N) is that of one sample, of which each `every`th row was added up.

        What larger structures take according to `verdicts` is wiped, the midst of a bright trail as well, of which all
        samples had been rejected one by one.
        """
        self.bins, self.shape = bins, (bins.shape[2] * SIDE, bins.shape[3] * SIDE)
        for p, frames in enumerate(bins):
            for i, frame in enumerate(frames):
                wipe(frame, verdicts.indices(i, p, LARGE), verdicts.shape[1])
                frame[crowded(verdicts.indices(i, p, HIGH), verdicts.shape[1], frame.shape)] = 0
        self.levels = np.array([[levels_of(frame) for frame in frames] for frames in bins])
        self.step_dn = np.float32(noise_dn * every / (SIDE * SIDE * STEPS))

    def leave_out(self, i: int, band: np.ndarray, cols: int) -> None:
        """Tell the levels of frame i without the pixels `band` of a frame of so many columns: its faint trails."""
        for p, frames in enumerate(self.bins):
            wipe(frames[i], band, cols)
            self.levels[p, i] = levels_of(frames[i])

    def scores(self) -> np.ndarray:
        """What bins have over the level around them, (N, rows, cols) int16 in 1 / UNIT of their usual sigma.

        All planes together; less where the other frames differ, too.
        """
        planes, n, rows, cols = self.bins.shape
        out, over = np.empty((n, rows, cols), np.int16), np.empty((rows, cols), np.float32)
        for i in range(n):
            over[:] = 0
            for p in range(planes):
                residuals.score_bins(self.bins[p, i], self.levels[p, i], planes**-0.5, over)
            residuals.round_scores(over, out[i])
        residuals.calm_down(out, self.shown)
        return out

    @property
    def shown(self) -> np.ndarray:
        """How many frames have each bin, (rows, cols) int32."""
        out = np.zeros(self.bins.shape[2:], np.int32)
        for frame in self.bins[0]:
            out += frame != 0
        return out

    def lost_dn(self, plane: int, samples: np.ndarray, weights: np.ndarray, box) -> np.ndarray:
        """By how much the mean of a box fell because samples are left out of frames whose sky is higher: (h, w), DN.

        samples (N, h, w): inf or -inf where they are left out, NaN where there are none.
        """
        levels_dn = self.levels[plane] * self.step_dn[plane, :, None, None]
        out = np.empty(samples.shape[1:], np.float32)
        residuals.lost_levels(samples, np.float32(weights), levels_dn, box[0], box[2], *self.shape, out)
        return out


def crowded(flat: np.ndarray, cols: int, shape: tuple[int, int]) -> np.ndarray:
    """In which bins (rows, cols) CROWDED of the pixels `flat` lie, of a frame of so many columns: bool."""
    at = flat // cols // SIDE * np.uint32(shape[1]) + flat % cols // SIDE
    return np.bincount(at, minlength=shape[0] * shape[1]).reshape(shape) >= CROWDED


def levels_of(bins: np.ndarray) -> np.ndarray:
    """The level of bins (rows, cols) in squares of about SQUARE bins, with a border of what they lead to: float32."""
    levels = np.empty([max(1, round(size / SQUARE)) for size in bins.shape], np.float32)
    residuals.level_squares(bins, levels)
    if min(levels.shape) > 2:
        return np.pad(levels, 1, mode="reflect", reflect_type="odd")
    return np.pad(levels, 1, mode="edge")
