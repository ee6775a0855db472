"""What an integration was worth: its noise beside that of one frame, beside what its variance claims, beside theory."""

from dataclasses import dataclass

import numpy as np

from masterlight.kernels.quality import madn
from masterlight.processes.stack import Stack

LAG_PX = 8
"""Pixels so far apart share no noise, however they were interpolated."""
STRIPS = 64


@dataclass(frozen=True)
class Depth:
    """Noise of a stack's sky, DN: means over the planes."""

    before_dn: float
    """Of the reference, as it came to integration."""
    noise_dn: float
    """Measured on the stack."""
    claimed_dn: float
    """As the stack's variance has it, where the noise was measured; NaN without variance."""
    ideal: float
    """Factor by which signal to noise would grow over the reference's if each frame counted at its best."""
    effective_frames: float

    @property
    def increment(self) -> float:
        """Factor by which signal to noise has grown over the reference's."""
        return self.before_dn / self.noise_dn

    @property
    def claim(self) -> float:
        """Claimed over measured noise: 1 when the variance is honest."""
        return self.claimed_dn / self.noise_dn

    def as_dict(self) -> dict:
        return {
            "noise_before": self.before_dn,
            "noise_measured": self.noise_dn,
            "noise_claimed": self.claimed_dn,
            "claimed_over_measured": self.claim,
            "snr_increment": self.increment,
            "snr_increment_ideal": self.ideal,
        }

    def __str__(self):
        words = f"noise {self.before_dn:.3g} -> {self.noise_dn:.3g} DN, signal to noise x {self.increment:.2f}"
        words += f" (at best {self.ideal:.2f}), as deep as {self.effective_frames:.1f} equal frames"
        return words + (f"; claimed / measured noise {self.claim:.3f}" if np.isfinite(self.claim) else "")


def depth_of(stack: Stack) -> Depth:
    """Measure the noise of a stack and what came of its frames."""
    shape = stack.image.shape[-2:]
    images = stack.image.reshape(-1, *shape)
    variances = [None] * len(images) if stack.variance is None else stack.variance.reshape(-1, *shape)
    pairs = [sky_noise(image, variance) for image, variance in zip(images, variances, strict=True)]
    rows = [row for row in stack.frames if row.plane == 0 and row.weight > 0]
    own = next((row.noise_dn for row in rows if row.source == stack.reference), float("nan"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ideal = own * float(np.sqrt(np.sum(1 / np.square([row.noise_dn for row in rows]))))
    before = [row.noise_dn for row in stack.frames if row.source == stack.reference] or [float("nan")]
    return Depth(
        before_dn=float(np.mean(before)),
        noise_dn=float(np.mean([noise for noise, _ in pairs])),
        claimed_dn=float(np.mean([claimed for _, claimed in pairs])),
        ideal=ideal,
        effective_frames=stack.effective_frames,
    )


def sky_noise(image: np.ndarray, variance: np.ndarray | None) -> tuple[float, float]:
    """Noise of the sky of an image, and the root of the median variance claimed there; (rows, cols), NaN left out.

    1.4826 median deviation of second differences of pixels LAG_PX apart, over sqrt(6): what interpolation did to
    neighbours is left out, and so are gradients; pixels of stars are left out by their height.
    """
    rows, cols = image.shape
    at = np.unique(np.linspace(0, rows - 1, min(rows, 16 * STRIPS)).astype(int))
    strip = image[at]
    finite = strip[np.isfinite(strip)]
    if finite.size < 100 or cols < 4 * LAG_PX:
        return float("nan"), float("nan")
    sky = strip < np.median(finite) + 3 * madn(finite)
    left, middle, right = strip[:, : -2 * LAG_PX], strip[:, LAG_PX:-LAG_PX], strip[:, 2 * LAG_PX :]
    both = sky[:, : -2 * LAG_PX] & sky[:, LAG_PX:-LAG_PX] & sky[:, 2 * LAG_PX :]
    noise = madn((left - 2 * middle + right)[both]) / np.sqrt(6)
    if variance is None:
        return float(noise), float("nan")
    return float(noise), float(np.sqrt(np.median(variance[at][:, LAG_PX:-LAG_PX][both])))
