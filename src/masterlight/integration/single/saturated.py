"""Saturated samples: what they hold is the level at which the sensor was full, and no light.

Where frames saturate at about the same light nothing can be gained, and whichever samples were left out of a star's
rim would be its brightest. Where one saturates later, as a shorter exposure or one through cloud, it has what the
others miss: they leave the mean there, and what the kernel of a warp spread from them, too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from masterlight.core.frame import Frame
from masterlight.integration.local.model import LocalModel
from masterlight.integration.rejection import Rejection

LATER = 1.15
"""A frame saturates later than another when its level is so many times as high, on the scale of the result: seeing
changes the cores of stars by less."""
NEAR = 0.8
"""From this part of saturation on, interpolation may have lowered what was saturated."""
REACH_PX = 2
"""So near a saturated sample others hold much of it."""


class Wells(NamedTuple):
    """How much light the frames of an integration hold."""

    ceiling_dn: np.ndarray
    """(N,) From here on samples are taken for saturated, as they come; inf where nothing is known, and for frames that
    none saturates later than."""
    level_dn: np.ndarray
    """(N,) Saturation above the sky, on the scale of the result; -inf where nothing is known."""


def wells_of(rejection: Rejection, frames: Sequence[Frame], terms, local: Sequence[LocalModel] | None) -> Wells | None:
    """The wells of frames of which some saturate later than others; None where none does, or that is not asked for.

    terms: one `Terms` for each plane; local: the model of each frame where they are normalized place by place.
    """
    if not rejection.saturated or rejection.algorithm == "none":
        return None
    full = np.array([frame.meta.saturation_dn or np.inf for frame in frames])
    level = full
    if local is not None:
        level = np.array([m.scale[0] * dn + np.mean(m.offset[0]) for m, dn in zip(local, full, strict=True)])
    level = terms[0].out_scale * level + terms[0].out_offset - terms[0].background_dn
    level = np.where(np.isfinite(full), level, -np.inf)
    known = level[level > 0]
    if not known.size or known.max() <= LATER * known.min():
        return None
    return Wells(np.where(LATER * level < known.max(), NEAR * full, np.inf), level)


def leave_saturated(samples: np.ndarray, near: np.ndarray, level_dn: np.ndarray) -> None:
    """Make -inf the samples (planes, N, h, w) that are saturated, `near` (N, h, w), where a later frame has the place.

    Where all are saturated those stay that saturate last: the least that is known of the star, and no hole.
    """
    rows, columns = np.nonzero(near.any(axis=0))
    there, full = np.isfinite(samples[0][:, rows, columns]), near[:, rows, columns]
    level = np.broadcast_to(level_dn[:, None], there.shape)
    free = np.where(there & ~full, level, -np.inf).max(axis=0)
    last = np.where(there, level, -np.inf).max(axis=0)
    best = np.where(np.isfinite(free), free, last)
    gone = there & full & (LATER * level < best)
    for i in range(len(gone)):
        samples[:, i, rows[gone[i]], columns[gone[i]]] = -np.inf
