"""Lights in which every star stands twice, one offset apart: the mount jumped while they were exposed."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from masterlight.core.frame import Frame
from masterlight.doctor import pictures
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor
from masterlight.subframes.measurement import StarList
from masterlight.subframes.stars.doubles import NEAR_PX, offset_of

CROP_PX = 60


def doubled_lights(doctor: Doctor, lights: Sequence[tuple[Frame, StarList]]) -> Iterator[Finding]:
    """D30: lights in which every star stands twice; frames as the camera took them, and their stars.

    A run leaves them out where most lights are sound.
    """
    found = [(frame, stars, offset) for frame, stars in lights if (offset := offset_of(stars)) is not None]
    if not found or "D30" in doctor.off:
        return
    frame, stars, (dx, dy) = max(found, key=lambda one: math.hypot(*one[2]))
    apart, out = math.hypot(dx, dy), 2 * len(found) < len(lights)
    what = "They are left out (Doctor.off D30 keeps them)" if out else "Leave such lights out"
    sentence = f"""every star of {some([one[0] for one in found])} stands twice, {apart:.1f} px apart (x {dx:+.1f},
        y {dy:+.1f}): the mount jumped during the exposure. {what}; look at guiding, cables and wind"""
    picture = pictures.image(crop_around(frame, stars))
    yield finding("D30", "warn", [one[0] for one in found], apart, NEAR_PX, "px", sentence, picture, out=out)


def crop_around(frame: Frame, stars: StarList) -> np.ndarray:
    """The surroundings of the brightest star that is not saturated, as the camera took it."""
    good = np.flatnonzero(~np.asarray(stars.saturated, bool))
    at = int(good[0]) if good.size else 0
    rows, cols = frame.shape[-2:]
    y, x = (int(v) for v in (stars.y_px[at], stars.x_px[at]))
    y0, x0 = max(0, min(y - CROP_PX, rows - 2 * CROP_PX)), max(0, min(x - CROP_PX, cols - 2 * CROP_PX))
    return frame.pixels(y0, min(rows, y0 + 2 * CROP_PX), x0, min(cols, x0 + 2 * CROP_PX))
