"""Loose frames: those whose stars lie too far from their places for what they and the other frames tell."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from masterlight.alignment.transform import Transform

TIMES, LEAST_PX = 3.0, 1.0
"""A frame is loose when its stars lie so many times farther from their places than those of others, and so far."""
EXPLAINED = 9.0
"""Chi-square per degree of freedom below which the errors of its stars explain it: faint ones, by clouds."""


def loose(limit_px: float | None, transforms: Sequence[Transform]) -> tuple[list[int], float]:
    """Numbers of the frames that are loose, and how far stars lie from their places usually, rms px.

    limit_px: the largest rms distance that the user allows; None for one by all frames.
    """
    usual_px = median(one.rms_px for one in transforms) if transforms else 0.0
    if limit_px is not None:
        return [i for i, one in enumerate(transforms) if one.rms_px > limit_px], usual_px
    far_px = max(TIMES * usual_px, LEAST_PX)
    return [i for i, t in enumerate(transforms) if t.rms_px > far_px and not t.chi2 <= EXPLAINED], usual_px
