"""Values that a converter rounded to whole steps: what the steps hide of level, scale and noise, and how to tell it.

A median of whole numbers is a whole number, and so is the median distance from it: where noise is hardly more than a
step, what is told by order is 0, or half too large or too small. So rounded values get noise of one step of ours, the
same in every run, before anything is told by them, and its variance is taken off what was told. What remains is the
spread of the values as they are in the file, the variance of rounding included, a twelfth of a squared step. It is
right to 5 % from noise of half a step on, and to 10 % from 0.3; below, nearly all values are the same, and the least
that is told is what rounding adds.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from masterlight.compiled import njit

COARSE, COARSE_ORDER = 3.0, 24.0
"""Steps that the sigma of values must have for what is told by their squares, and by their order or on either side of
their median, which many of them may be, to be right to 2 % without more."""
FEWEST, LOOK = 1000, 4096
"""Fewer values are never taken for rounded; so many are looked at."""
DIFFERENCE_ROWS = 16
"""So many rows of an image are looked at for its steps."""
ON_STEPS = 0.4
"""How well values must lie on steps, from 0, anywhere, to 1, when the step that most of them are on is left out."""
OFF_MIDDLE, FAR = 0.02, 3
"""Share of the values that must be on other steps than that, and how many steps off they are looked at."""
MANY_NEXT = 0.4
"""Where so many of the values are on the steps next to the middle one, some noise reaches the steps beyond."""
LIKELY_STEPS = tuple(float(1 << k) for k in range(7))
"""Steps, DN, that are looked for where a master was subtracted, so that values lie near whole steps and not on them."""
ROUNDING = 12**-0.5
"""Sigma, in steps, of what rounding does to a value."""
Estimate = Callable[[np.ndarray], tuple[float, tuple[float, float]]]
"""What tells (location, (scale below, above)) of values (n,) without NaN."""
NORMAL = ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float32)


def coarse_step(values: np.ndarray, coarse: float = COARSE) -> float:
    """The step to which values were rounded, in their unit; 0 when their sigma is `coarse` steps or more.

    values: any shape, finite. A step is seen by the distances of the values, whatever it is and wherever it begins;
    one of 1, 2, 4 ... 64 DN also where a master frame less noisy than a step was subtracted from whole numbers.
    """
    flat = values.reshape(-1)
    if flat.size < FEWEST:
        return 0.0
    some = np.sort(flat[:: -(-flat.size // LOOK)].astype(np.float64))
    low, middle, high = (some[int(share * (some.size - 1))] for share in (0.159, 0.5, 0.841))
    least, gaps = 0.5 * (high - low) / coarse, np.diff(some)
    gaps = gaps[gaps > 4e-7 * max(abs(some[0]), abs(some[-1]))]  # float32 tells no finer ones
    if not gaps.size:
        return 0.0
    step = float(gaps.min())
    away = (some - middle) / step
    if np.all(np.abs(away - np.rint(away)) < 0.1):
        return step if step > least else 0.0
    near = [s for s in LIKELY_STEPS if s > max(least, step) and lies_on_steps(some[::8], middle, s)]
    return near[-1] if near else 0.0


def lies_on_steps(values: np.ndarray, middle: float, step: float) -> bool:
    """Whether values near their middle lie near whole steps of some origin, on the middle one and on both next to it.

    Two levels of unrounded values, as of a border of zeros, a dark cloud or the colours of a mosaic, make two heaps,
    or three with nothing beyond, and are no steps. Only of steps of 1 DN one neighbour is enough: of few photons there
    are none below 0.
    """
    away = (values[np.abs(values - middle) <= FAR * step] - middle) / step
    away -= np.angle(np.mean(np.exp(2j * np.pi * away))) / (2 * np.pi)
    on, k = np.cos(2 * np.pi * away), np.rint(away)
    k -= np.rint(np.median(k))
    heaps = [on[k == side] for side in (-1, 1)]
    seen = [heap.size > OFF_MIDDLE / 2 * on.size and np.mean(heap) > ON_STEPS for heap in heaps]
    others = on[k != 0]
    if not any(seen) or others.size <= OFF_MIDDLE * on.size or np.mean(others) <= ON_STEPS:
        return False
    beyond = np.mean(np.abs(k) == 1) < MANY_NEXT or np.mean(np.abs(k) == 2) > OFF_MIDDLE / 2
    return step == 1.0 or bool(all(seen) and beyond)


@njit(nogil=True, cache=True)
def fill_dither(normal, step, out):
    """Fill `out` (n,) float32 with values of the table `normal` (65536,) times `step`, by a hash of their place."""
    for i in range(out.size):
        h = np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        out[i] = normal[np.int64((h ^ (h >> np.uint64(32))) & np.uint64(0xFFFF))] * step


def dither(shape: int | tuple[int, ...], step: float) -> np.ndarray:
    """White Gaussian noise whose sigma is one step, float32: neighbours have no relation, and it is always the same."""
    out = np.empty(shape, np.float32)
    fill_dither(NORMAL, np.float32(step), out.reshape(-1))
    return out


def without(told, added):
    """Scales, less what is told of the `added` noise alone; at least what would be told of rounding alone."""
    return np.sqrt(np.maximum(np.square(told) - np.square(added), np.square(ROUNDING * added)))


def spread_of(
    values: np.ndarray, estimate: Estimate, coarse: float = COARSE, step: float | None = None
) -> tuple[float, tuple[float, float]]:
    """What an estimator tells of values, rounded ones as if they were not: (location, (low, high)).

    values (n,) without NaN; `coarse` as for `coarse_step`; `step` what that told, where it was asked before.
    """
    step = coarse_step(values, coarse) if step is None else step
    if not step:
        return estimate(values)
    added = dither(values.size, step)
    centre, told = estimate(values + added)
    alone = added if coarse_step(values) else added[:LOOK]  # next to much more noise a few tell enough
    low, high = (float(without(a, b)) for a, b in zip(told, estimate(alone)[1], strict=True))
    return centre, (low, high)


def middle(values: np.ndarray) -> float:
    """The median of values (n,) without NaN, which rounding to steps does not round."""
    step = coarse_step(values)
    return float(np.median(values + dither(values.size, step) if step else values))


def step_between(image: np.ndarray, coarse: float = COARSE) -> float:
    """The step to which an image was rounded, by the differences of neighbours; 0 where their noise is not coarse.

    image (rows, cols) float32, NaN where missing.
    """
    if image.shape[1] < 2:
        return 0.0
    across = np.diff(image[:: max(1, len(image) // DIFFERENCE_ROWS)], axis=1)
    return coarse_step(across[np.isfinite(across)], 2**0.5 * coarse)
