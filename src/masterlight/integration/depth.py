"""What an integration was worth: its noise beside that of one frame, beside what its variance claims, beside theory."""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter
from scipy.special import chdtri

from masterlight.core.statistics.scale import madn
from masterlight.integration.stack import Stack

LAG_PX = 8
"""Pixels so far apart share no noise, however they were interpolated."""
STEPS = 1, -4, 6, -4, 1
"""Of a row of pixels LAG_PX apart: no slope and no bend of the sky is left in this sum."""
FAR_OFF = 5.0
STRIPS, STRIP_PX = 9, 64
"""The sky is looked at in so many strips of so many rows."""
NEAR_PX, AROUND_PX, ABOVE_SIGMA, GROWN_PX = 5, 31, 3.0, 4
"""A star is where the mean of a small square stands above that of a wide one, and so many pixels around."""
CLIPPED_SIGMA = 4.0
FEWEST = 0.45
"""Share of the pixels that must be plain sky, or the image is one of crowded stars."""
UNLIKELY = 1.5
"""Noise so many times that which is claimed is the light of stars too close to be told apart."""
BENT = 1.05
"""Differences of pixels twice as far apart that are so many times as large tell of a nebula."""


def depth_of(stack: Stack) -> dict[str, float]:
    """Measure the noise of a stack's sky, DN, and what came of its frames; numbers of its planes are averaged.

    noise_before is that of the reference as it came to integration; noise_measured that of the stack; noise_claimed as
    the stack's variance has it there, NaN without one, which over the measured one is 1 when the variance is honest;
    snr_increment tells how many times signal to noise has grown, snr_increment_ideal how many it would at best, of a
    mosaic by the frames that show a pixel. Where stars or nebulae leave no plain sky, the scatter of the samples tells
    the noise. Nothing of one frame alone.
    """
    rows = [row for row in stack.frames if row.plane == 0 and row.weight > 0]
    if len(rows) < 2:
        return {}
    shape = stack.image.shape[-2:]
    images = stack.image.reshape(-1, *shape)
    variances = [None] * len(images) if stack.variance is None else stack.variance.reshape(-1, *shape)
    if stack.scatter is None:
        pairs = [sky_noise(image, variance) for image, variance in zip(images, variances, strict=True)]
    else:
        claims = [noise_of_mean(t.weights, t.noise_dn) / stack.shown**0.5 for t in stack.terms]
        pairs = [(claim * stack.scatter, claim) for claim in claims]
    own = next((row.noise_dn for row in rows if row.source == stack.reference), float("nan"))
    noises = np.array([row.noise_dn for row in rows])
    with np.errstate(divide="ignore", invalid="ignore"):
        least = 1 / np.sqrt(np.sum(1 / np.square(noises)))
        if stack.shown < 1:  # how much worse than the best all together are holds for those of a pixel as well
            least *= pairs[0][1] / noise_of_mean(np.array([row.weight for row in rows]), noises)
        ideal = float(own / least)
    before = float(np.mean([r.noise_dn for r in stack.frames if r.source == stack.reference] or [float("nan")]))
    noise, claimed = (float(np.mean(of_planes)) for of_planes in zip(*pairs, strict=True))
    known = {"noise_before": before, "noise_measured": noise, "noise_claimed": claimed}
    claimed_over_measured, increment = (value / noise if noise else float("nan") for value in (claimed, before))
    return known | {
        "claimed_over_measured": claimed_over_measured, "snr_increment": increment, "snr_increment_ideal": ideal,
    }  # fmt: skip


def noise_of_mean(weights: np.ndarray, noise_dn: np.ndarray) -> float:
    """Noise of the weighted mean of frames whose noise is given, both (N,)."""
    return float(np.sqrt(np.sum(weights**2 * noise_dn**2)) / np.sum(weights))


def scatter_over(ratios: list[tuple[np.ndarray, int]]) -> float:
    """Noise by scatter over the noise claimed, from variances over those claimed of pixels with so many samples each.

    The median pixel tells, since in the cores of stars samples scatter by the seeing as well.
    """
    told = [(float(np.median(r)) * (n - 1) / chdtri(n - 1, 0.5), r.size) for r, n in ratios if r.size]
    if not told:
        return float("nan")
    values, counts = np.array(told).T
    return float(np.sqrt(np.average(values, weights=counts)))


def sky_noise(image: np.ndarray, variance: np.ndarray | None) -> tuple[float, float]:
    """Noise of the sky of an image, and the root of the mean variance claimed there; (rows, cols), NaN left out.

    1.4826 median deviation of fourth differences of pixels LAG_PX apart, over sqrt(70): what interpolation did to
    neighbours is left out, and so are gradients. Pixels with the light of stars are left out; what is fainter still,
    such as unresolved stars in a stack of hundreds of frames, counts as noise. Where noise differs over the field, each
    difference counts in terms of what is claimed there, so that both figures speak of the same pixels.
    """
    steps, claims = [], []
    for strip, top in strips_of(image, STRIPS):
        step, good = differences(strip, plain_sky(strip), LAG_PX)
        steps.append(step[good])
        if variance is not None:
            claims.append(variance[top : top + len(strip), 2 * LAG_PX : -2 * LAG_PX][good])
    steps = np.concatenate(steps)
    if steps.size < 100:
        return float("nan"), float("nan")
    claims = np.concatenate(claims) if claims else np.empty(0, np.float32)
    told = claims > 0
    if not told.any():
        return float(madn(steps)), float("nan")
    steps, claims = steps[told], claims[told]
    usual = claims <= FAR_OFF * np.median(claims)  # without pixels that a cosmic ray still scatters
    claimed = float(np.sqrt(np.mean(claims[usual])))
    return claimed * float(madn((steps / np.sqrt(claims))[usual])), claimed


def strips_of(image: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, int]]:
    """Strips of rows spread over an image, and the first row of each."""
    rows = len(image)
    height = min(STRIP_PX, rows)
    for top in np.unique(np.linspace(0, rows - height, min(count, -(-rows // height))).astype(int)):
        yield image[top : top + height], int(top)


def differences(strip: np.ndarray, plain: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Fourth differences along the rows of a strip, whose noise is that of a pixel, and where all pixels are plain."""
    width = max(strip.shape[1] - 4 * lag, 0)
    parts = [np.s_[:, i * lag : i * lag + width] for i in range(5)]
    step = sum(k * strip[part] for k, part in zip(STEPS, parts, strict=True)) / np.float32(
        np.sum(np.square(STEPS)) ** 0.5
    )
    return step, np.logical_and.reduce([plain[part] for part in parts]) & np.isfinite(step)


def plain_sky(strip: np.ndarray) -> np.ndarray:
    """Which pixels of a strip (h, cols) hold sky alone, no light of stars."""
    there = np.isfinite(strip)
    if not there.any():
        return there
    values = np.where(there, strip - np.median(strip[there]), 0)
    above = values - uniform_filter(values, AROUND_PX)
    values = np.minimum(values, values - above + CLIPPED_SIGMA * madn(above[there]))
    raised = uniform_filter(values, NEAR_PX) - uniform_filter(values, AROUND_PX)
    below = raised[there & (raised < 0)]
    if not below.size:
        return there
    stars = raised > ABOVE_SIGMA * 1.4826 * float(np.median(-below))
    return there & ~maximum_filter(stars, 2 * GROWN_PX + 1)


def is_crowded(image: np.ndarray, variance: np.ndarray) -> bool:
    """Whether stars or a nebula leave no plain sky to measure the noise of an image, (rows, cols) or (3, rows, cols).

    Too few pixels are plain sky; or these differ much more than is claimed; or more, the farther they are apart.
    """
    plain, there, near, far, claims = 0, 0, [], [], []
    image, variance = (a.reshape(-1, *a.shape[-2:]) for a in (image, variance))
    image, variance = image[len(image) // 2], variance[len(image) // 2]
    for strip, top in strips_of(image, STRIPS // 3):
        sky = plain_sky(strip)
        plain, there = plain + int(sky.sum()), there + int(np.isfinite(strip).sum())
        claims.append(variance[top : top + len(strip)][sky])
        for found, lag in ((near, LAG_PX), (far, 2 * LAG_PX)):
            step, good = differences(strip, sky, lag)
            found.append(step[good])
    near, far, claims = (np.concatenate(found) for found in (near, far, claims))
    if plain < FEWEST * there or min(near.size, far.size) < 100:
        return plain < FEWEST * there
    noise = madn(near)
    return bool(madn(far) > BENT * noise or noise > UNLIKELY * np.sqrt(np.nanmedian(claims)))
