"""What an integration was worth: its noise beside that of one frame, beside what its variance claims, beside theory."""

import numpy as np

from masterlight.core.statistics.scale import madn
from masterlight.integration.stack import Stack
from masterlight.subframes.measure import sky_pixels

LAG_PX = 8
"""Pixels so far apart share no noise, however they were interpolated."""
FAR_OFF = 5.0
STRIPS, STRIP_PX = 40, 32
"""The sky is looked at in so many strips of so many rows."""


def depth_of(stack: Stack) -> dict[str, float]:
    """Measure the noise of a stack's sky, DN, and what came of its frames; numbers of its planes are averaged.

    noise_before is that of the reference as it came to integration; noise_measured that of the stack; noise_claimed as
    the stack's variance has it there, NaN without one, which over the measured one is 1 when the variance is honest;
    snr_increment tells how many times signal to noise has grown, snr_increment_ideal how many it would at best.
    """
    shape = stack.image.shape[-2:]
    images = stack.image.reshape(-1, *shape)
    variances = [None] * len(images) if stack.variance is None else stack.variance.reshape(-1, *shape)
    pairs = [sky_noise(image, variance) for image, variance in zip(images, variances, strict=True)]
    rows = [row for row in stack.frames if row.plane == 0 and row.weight > 0]
    own = next((row.noise_dn for row in rows if row.source == stack.reference), float("nan"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ideal = own * float(np.sqrt(np.sum(1 / np.square([row.noise_dn for row in rows]))))
    before = float(np.mean([r.noise_dn for r in stack.frames if r.source == stack.reference] or [float("nan")]))
    noise, claimed = (float(np.mean(of_planes)) for of_planes in zip(*pairs, strict=True))
    known = {"noise_before": before, "noise_measured": noise, "noise_claimed": claimed}
    claimed_over_measured, increment = (value / noise if noise else float("nan") for value in (claimed, before))
    return known | {
        "claimed_over_measured": claimed_over_measured, "snr_increment": increment, "snr_increment_ideal": ideal,
    }  # fmt: skip


def sky_noise(image: np.ndarray, variance: np.ndarray | None) -> tuple[float, float]:
    """Noise of the sky of an image, and the root of the mean variance claimed there; (rows, cols), NaN left out.

    1.4826 median deviation of second differences of pixels LAG_PX apart, over sqrt(6): what interpolation did to
    neighbours is left out, and so are gradients. Pixels are left out whose surroundings stand above the sky; what is
    fainter still, such as unresolved stars in a stack of hundreds of frames, counts as noise.
    """
    rows, cols = image.shape
    height = min(STRIP_PX, rows)
    tops = np.unique(np.linspace(0, rows - height, min(STRIPS, -(-rows // height))).astype(int))
    steps, claims = [], []
    for top in tops:
        strip = image[top : top + height]
        step = strip[:, : -2 * LAG_PX] - 2 * strip[:, LAG_PX:-LAG_PX] + strip[:, 2 * LAG_PX :]
        dark = sky_pixels(strip)
        good = dark[:, : -2 * LAG_PX] & dark[:, LAG_PX:-LAG_PX] & dark[:, 2 * LAG_PX :] & np.isfinite(step)
        steps.append(step[good])
        if variance is not None:
            claims.append(variance[top : top + height, LAG_PX:-LAG_PX][good])
    steps = np.concatenate(steps)
    if steps.size < 100:
        return float("nan"), float("nan")
    claims = np.concatenate([np.empty(0, np.float32), *claims])
    claims = claims[np.isfinite(claims)]
    noise = float(madn(steps) / np.sqrt(6))
    if not claims.size:
        return noise, float("nan")
    usual = claims[claims <= FAR_OFF * np.median(claims)]  # without pixels that a cosmic ray still scatters
    return noise, float(np.sqrt(np.mean(usual)))
