"""Trails are cut out of means that are there already: only the frames that lose samples are read again."""

import numpy as np

from masterlight.integration.kernels import taken
from masterlight.integration.roster.terms import Terms
from masterlight.integration.stack import HIGH, LARGE, LOW, RANGE, Canvas
from masterlight.integration.trails.residue import Residue

FEWEST = 4
"""Where so many samples are left or fewer, all of them are looked at again."""
UNSURE = 0.03
"""Of a change, what may be unknown because nobody knows which frame had no sample in a place."""


class Means:
    """What one plane of a result is the mean of, in the pixels that larger structures touch."""

    def __init__(self, canvas: Canvas, plane: int, flat: np.ndarray, terms: Terms, residue: Residue):
        """flat (T,): these pixels, in order."""
        self.canvas, self.plane, self.flat, self.residue = canvas, plane, flat, residue
        self.own = np.array([terms.weights, *(terms.weights**2 * v for v in (1, terms.noise_variance, terms.photon))])
        self.scale, self.offset = terms.out_scale, terms.out_offset
        n, (image, variance, count, low, high) = (
            len(terms.weights),
            (canvas.planes[name][plane].reshape(-1)[flat] for name in ("image", "variance", "coverage", "low", "high")),
        )
        self.mean, self.rejected, self.lost = image.astype(np.float64), np.zeros(flat.size), np.zeros(flat.size)
        self.count, self.low, self.high = (values.astype(np.int64) for values in (count, low, high))
        self.sums = np.repeat(self.own.sum(axis=1)[:, None], flat.size, axis=1)
        for i in range(n):
            at = self.places(self.known(i))
            self.sums[:, at] -= self.own[:, i, None]
            self.rejected[at] += 1
            self.lost[at] += self.own[0, i] * self.levels(i, at)
        missing = n - self.count - self.rejected
        self.sums -= missing * self.own.mean(axis=1, keepdims=True)
        self.scattered = variance * (self.sums[0] ** 2 - self.sums[1])
        spread = self.own[0].std() / max(self.own[0].mean(), 1e-30)
        self.hard = (missing * spread > UNSURE * n) | (self.count - self.cuts() < FEWEST) | ~np.isfinite(image)
        self.ground = np.ones((3, flat.size), np.float32)

    def known(self, i: int) -> np.ndarray:
        """Pixels of frame i that were rejected one by one."""
        verdicts = self.canvas.verdicts
        return np.concatenate([verdicts.indices(i, self.plane, kind) for kind in (LOW, HIGH, RANGE)])

    def places(self, pixels: np.ndarray) -> np.ndarray:
        """Where pixels stand in `flat`, those that do."""
        at = np.minimum(np.searchsorted(self.flat, pixels), self.flat.size - 1)
        return at[self.flat[at] == pixels]

    def cuts(self) -> np.ndarray:
        """How many frames lose their sample in each place, at most: (T,)."""
        out = np.zeros(self.flat.size, np.int64)
        for i in range(self.own.shape[1]):
            out[self.places(self.canvas.verdicts.indices(i, self.plane, LARGE))] += 1
        return out

    def levels(self, i: int, at: np.ndarray) -> np.ndarray:
        """How much higher the sky of frame i is than the mean, in places: float32, DN."""
        out, levels = np.empty(at.size, np.float32), self.residue.levels[self.plane, i]
        levels = levels * self.residue.step_dn[self.plane, i]
        taken.levels_at(levels, self.flat[at], self.canvas.verdicts.shape[1], *self.residue.shape, out)
        return out

    def take(self, i: int, parts) -> None:
        """Take out what larger structures take of frame i: for each part its box, samples (h, w), ground (3, h, w)."""
        width, known = self.canvas.verdicts.shape[1], self.hard.copy()
        known[self.places(self.known(i))] = True
        for (y0, y1, x0, x1), samples, ground in parts:
            for kind, sides in ((LOW, self.low), (HIGH, self.high)):
                inner = self.canvas.verdicts.within(i, self.plane, LARGE + kind, (y0, y1, x0, x1))
                at = np.searchsorted(self.flat, (inner // (x1 - x0) + y0) * width + inner % (x1 - x0) + x0)
                values = samples.reshape(-1)[inner]
                ok = ~known[at] & np.isfinite(values)
                at, values = at[ok], values[ok] * self.scale[i] + self.offset[i]
                taken.take_out(at, values, self.levels(i, at), self.own[:, i], self.mean, self.sums, self.scattered)
                self.ground[:, at] = ground.reshape(3, -1)[:, inner[ok]]
                self.count[at] -= 1
                sides[at] += 1
                known[at] = True
                self.canvas.counts[self.plane, 3, i] += at.size

    def put_back(self, excess: np.ndarray, fraction: float) -> None:
        """Write what became of these pixels; the variance of those that lost nothing stays."""
        planes = {name: whole[self.plane].reshape(-1) for name, whole in self.canvas.planes.items()}
        lost = np.flatnonzero(~self.hard & (self.count < planes["coverage"][self.flat]))
        light, variance = (self.mean[lost] - self.ground[0, lost]).astype(np.float32), np.empty(lost.size, np.float32)
        told = self.sums[:, lost], self.scattered[lost], self.count[lost], light, *self.ground[1:, lost]
        taken.variances(*told, excess, fraction, variance)
        planes["variance"][self.flat[lost]] = variance
        for name, values in (("coverage", self.count), ("low", self.low), ("high", self.high)):
            planes[name][self.flat[lost]] = values[lost]
        easy = ~self.hard
        planes["image"][self.flat[easy]] = (self.mean + self.lost / np.maximum(self.sums[0], 1e-30))[easy]
