"""What the scatter of samples tells of their noise before they are combined, where what was measured does not tell it.

In a crowd of stars their light counts as noise of a frame; of frames that come from files nobody knows what their flat
did, by which corners are noisier; and without a gain nobody knows how much of the noise is of photons.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from masterlight.integration.depth import scatter_over
from masterlight.integration.local.sky import Sky
from masterlight.integration.roster.field import LEAST, Nodes, NoiseField
from masterlight.integration.roster.terms import Terms
from masterlight.integration.tile import Box, Tile
from masterlight.subframes.measurement import Measurement

LOOK_PX, PLACES, FEW_PLACES = (24, 96), 6, 4
"""Rows and columns of a place where scatter is looked at; places along each side for a map of it, and for a number."""
CROWDED = 0.2
"""Share of a frame free of structure below which starlight may count as its noise."""
NEARLY, TURNS = 0.04, 4
"""Noise is settled, that many times at most, until it is so nearly what the scatter shows."""
DAMPED = 0.6
"""Power of each further correction: hollows in the light are claimed to be quieter, too, and it would swing."""
FAINTEST = 0.25
"""Part of the pixels of a crowd that have least starlight, which scatters by the seeing as well."""
FAR_OFF = 4.0
"""Errors by which a place lies off the others of a map that is left out of it."""
UNLIKELY = 6.0
"""Mean square of what a map of the scatter explains over that of its errors, above which noise does differ so."""


def boxes_over(shape: tuple[int, int], along: int) -> list[Box]:
    """So many places along each side of an image of this shape, evenly spread."""
    high, wide = (min(n, size) for n, size in zip(LOOK_PX, shape, strict=True))
    tops, lefts = (
        [int((j + 0.5) * (size - n) / along) for j in range(along)] for n, size in zip((high, wide), shape, strict=True)
    )
    return [(y, y + high, x, x + wide) for y, x in product(tops, lefts)]


def scatter_of(tile: Tile, shape: tuple[int, int], faintest: float = 1.0) -> list[float]:
    """How noisy the samples of each plane are by their own scatter, over what is claimed, in the faintest pixels."""
    looks = [tile.scatter(box, faintest) for box in boxes_over(shape, FEW_PLACES)]
    return [scatter_over([told for look in looks for told in look[p]]) for p in range(len(tile.terms))]


def is_doubtful(planes: Sequence[Sequence[Measurement]]) -> bool:
    """Whether the noise of the frames may be starlight: most have hardly any sky free of structure."""
    shares = [m.noise_fraction for plane in planes for m in plane if m.noise_fraction is not None]
    return bool(shares) and float(np.median(shares)) < CROWDED


def without_starlight(terms: Sequence[Terms], make: Callable[[Sequence[Terms]], Tile], shape) -> list[Terms]:
    """The terms with the noise of frames lowered to what the scatter of their samples shows, where that is much less.

    make: gives the task of a tile that goes by some terms.
    """
    given, share = list(terms), np.ones(len(terms))
    for turn in range(TURNS):
        told = np.array(scatter_of(make(terms), shape, FAINTEST))
        told[~np.isfinite(told)] = 1.0
        if np.all(np.abs(told - 1) < NEARLY) or turn == 0 and np.all(told > 1 - NEARLY):
            break
        share = np.minimum(share * told ** (DAMPED if turn else 1.0), 1.0)
        terms = [t.noisier(float(times)) for t, times in zip(given, share, strict=True)]
    return list(terms)


def fields_by_scatter(tile: Tile, fields: Sequence[NoiseField | None], sky: Sky | None, shape: tuple[int, int]) -> list:
    """The noise of each plane over the field as the scatter of the samples maps it, where it does differ.

    sky: the large-scale background, where nobody knows how noise goes with it.
    """
    boxes, nodes, found = boxes_over(shape, PLACES), Nodes.over(*shape), []
    looks = [tile.scatter(box) for box in boxes]
    middles = np.array([((y0 + y1) / 2, (x0 + x1) / 2) for y0, y1, x0, x1 in boxes]).T - 0.5
    for p, field in enumerate(fields):
        there = [scaled(*middles, shape), scaled(nodes.y_px, nodes.x_px, shape)]
        if sky is not None:
            light = nodes.of_surface(sky.coefficients[p], sky.pitch_px)
            usual = float(np.abs(np.median(light[nodes.inside]))) or 1.0
            own = np.array([sky.plane(p, *box).mean() for box in boxes])
            there = [
                np.concatenate([t, at[..., None] / usual], axis=-1) for t, at in zip(there, (own, light), strict=True)
            ]
        coefficients = fitted(there[0], np.square([scatter_over(look[p]) for look in looks]))
        if coefficients is None:
            found.append(field)
            continue
        over = np.fmax(there[1] @ coefficients, LEAST)
        over /= over[nodes.inside].mean()
        found.append((field or NoiseField.even(nodes, tile.terms[p].background_dn)).times(over))
    return found


def scaled(y_px: np.ndarray, x_px: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The six terms of a quadratic surface at places in an image of this shape, last axis."""
    v, u = (np.clip((2 * at + 1) / n - 1, -1, 1) for at, n in zip((y_px, x_px), shape, strict=True))
    return np.stack([np.ones_like(v), v, u, v * v, v * u, u * u], axis=-1)


def fitted(design: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Coefficients by which values (n,) follow from terms (n, k) of their places; None if a constant does as well.

    Each is known to the same part of itself.
    """
    good, k = np.isfinite(values) & np.isfinite(design).all(axis=1) & (values > 0), design.shape[1]
    for _ in range(3):
        if good.sum() < 3 * k:
            return None
        own = design[good] / values[good, None]
        found, *_ = np.linalg.lstsq(own, np.ones(len(own)), rcond=None)
        off = 1 - own @ found
        error = float(np.sqrt(np.sum(np.square(off)) / (len(own) - k)))
        good[good] = np.abs(off) < FAR_OFF * error
    share = design[good] @ found / values[good].mean() - 1
    return found if np.sum(np.square(share)) / (k - 1) > UNLIKELY * error**2 else None
