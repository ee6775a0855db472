"""Frames of one target laid on each other by their stars alone, before anybody has chosen a reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.subframes.stars.doubles import offset_of

if TYPE_CHECKING:
    from masterlight.subframes.measurement import StarList

ROUGH = StarAlignment(model="similarity", max_stars=200)
"""Quick, and true enough to tell which star is which."""
TRIES = 3
"""Frames that are tried as the one that others are laid on, until more than half lie on it."""


def places_of(
    stars: Sequence[StarList | None], settings: StarAlignment | None = None
) -> tuple[int, list[np.ndarray | None]]:
    """Where frames lie on one of them: its number, and 3x3 matrices that send its pixels to those of each frame.

    None for a frame without stars, or whose stars are not those of the others. The one that most lie on of the three
    with the most and sharpest stars is the one.
    """
    settings = settings or ROUGH
    best: list[np.ndarray | None] = [None] * len(stars)
    chosen = 0
    for at in candidates(stars):
        own = stars[at]
        found = laid_on(own, [None if s is own else s for s in stars], settings)
        found[at] = np.eye(3)
        if number(found) > number(best):
            best, chosen = found, at
        if 2 * number(best) > len(stars):
            break
    return chosen, best


def candidates(stars: Sequence[StarList | None]) -> list[int]:
    """Frames on which others may be laid, the best first; those whose stars stand twice only where there are none else.

    These have the most stars of all.
    """
    seen = (i for i, own in enumerate(stars) if own is not None and len(own))
    ranked = sorted(seen, key=lambda i: -promise(stars[i]))
    single = (i for i in ranked if offset_of(stars[i]) is None)
    return list(islice(single, TRIES)) or ranked[:1]


def promise(stars: StarList | None) -> float:
    """How well others may be laid on a frame: by the number of its stars, and how sharp they are."""
    if stars is None or not len(stars):
        return 0.0
    return len(stars) / max(float(np.median(stars.fwhm_px)), 1e-9)


def laid_on(reference: StarList, stars: Sequence[StarList | None], settings: StarAlignment) -> list[np.ndarray | None]:
    """A 3x3 matrix from the reference to each frame; the place of the one before is tried first."""
    ready, guess, out = settings.prepare(reference), None, []
    for own in stars:
        found = settings.align(ready, own, guess=guess) if own is not None else None
        guess = found if isinstance(found, Transform) else guess
        out.append(found.matrix if isinstance(found, Transform) else None)
    return out


def number(places: Sequence[np.ndarray | None]) -> int:
    """How many frames lie somewhere."""
    return sum(place is not None for place in places)
