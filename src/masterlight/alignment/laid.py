"""Whether frames that should be registered lie on each other: by the stars of one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.quads import Reference
from masterlight.core.frame import Frame
from masterlight.core.workers import Events
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import FEWEST_STARS, distances, sky_of, stamps, standards, usable
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.together import FEWEST_PX, LeaveOut, Pool, each_frame, first_with_stars

NEAR_PX = 0.5
"""Stars that lie this near to their places, in the median, are where they should be."""
OFF_PX = 1.0
"""Frames whose corners lie farther from their places are not registered; nearer, stars are blurred and no more."""
MOST, SURE = 40, 5.0
"""Stars that are looked at, and how many times its error the light of one is worth."""


@dataclass(frozen=True)
class Laid:
    """Where the corners of a frame lie against those of the reference, (4, 2) px: nothing but zeros if on them."""

    source: str
    away_px: np.ndarray

    def off_px(self, other: "Laid") -> float:
        """How far a corner lies from that of another frame, at most."""
        return float(np.hypot(*(self.away_px - other.away_px).T).max())


class Apart(NamedTuple):
    """Which of some frames lie on each other, by their numbers, and which do not."""

    together: list[int]
    odd: dict[int, str]
    """Why each of the others is none of them."""
    words: str = ""
    """What to tell of the others."""
    refused: bool = False
    """Whether most lie apart, or the frame on which the others must lie does."""


def told_apart(
    pool: Pool, frames: Sequence[Frame], named: int | None = None, leave_out: LeaveOut = None,
    select: SubframeSelector | None = None, align: StarAlignment | None = None,
) -> Events[Apart]:  # fmt: skip
    """Which frames lie on each other by their stars; all where that cannot be told, as of calibration frames.

    named: the number of the frame on whose stars they must lie. Frames that `leave_out` takes are in neither part.
    """
    alike = Apart(list(range(len(frames))), {})
    sky = all(frame.meta.kind in ("light", "unknown") for frame in frames)
    if not sky or len(frames) < 2 or min(frames[0].shape[-2:]) < FEWEST_PX:
        return alike
    found = first_with_stars(frames if named is None else frames[named : named + 1], 0, select)
    if found is None:
        return alike
    task = partial(laid_of, (align or StarAlignment()).prepare(found[1]), standards(found[1]))
    where = yield from each_frame("register", pool, task, frames, leave_out)
    known = {i: laid for i, laid in enumerate(where) if isinstance(laid, Laid)}
    if not known:
        return Apart([], {})
    numbers, (on, off) = list(known), apart(list(known.values()))
    together, others = [numbers[k] for k in on], [numbers[k] for k in off]
    if not others:
        return Apart(together, {})
    anchor = found[0] if named is None else named
    seen = anchor if anchor in together else together[0]
    usual, first = known[seen], Path(frames[seen].source).name
    away_px = {i: usual.off_px(known[i]) for i in others}
    farthest = max(away_px, key=away_px.__getitem__)
    words = f"the stars of {len(others)} of {len(known)} frames do not lie on those of the others"
    words += f" ({Path(frames[farthest].source).name}: {away_px[farthest]:.1f} px from {first})"
    odd = {i: f"its stars lie {px:.1f} px from those of {first}: it is not registered" for i, px in away_px.items()}
    refused = 2 * len(together) <= len(known) or (named is not None and named not in together)
    return Apart(together, odd, words, refused)


def laid_of(reference: Reference, places: StarList, frame: Frame) -> Laid:
    """Where a frame lies on the one whose stars are known; on it where that cannot be told.

    places: bright stars of the reference that stand alone. Boxes around them tell of frames that are registered; all
    of a frame is read only where its stars are not there.
    """
    on = Laid(frame.source, np.zeros((4, 2)))
    if offset_px(frame, places) < NEAR_PX:
        return on
    found = SubframeSelector().measure(frame)
    if not found:
        return on
    transform = StarAlignment().align(reference, found[1], frame.source)
    if not transform:
        return on
    rows, cols = reference.shape
    corners = np.array([[0, 0], [cols - 1, 0], [0, rows - 1], [cols - 1, rows - 1]], float)
    away = transform(corners) - corners
    return Laid(frame.source, away) if np.hypot(*away.T).max() > OFF_PX else on


def offset_px(frame: Frame, places: StarList) -> float:
    """How far the stars of a frame lie from where they should, in the median; infinite where too few are there."""
    places = places[:MOST]
    if len(places) < FEWEST_STARS:
        return np.inf
    width = float(np.hypot(np.median(places.fwhm_px), 0.9))
    half = int(np.ceil(3.2 * width)) + 1
    boxes = stamps(frame, places, half).mean(axis=1)
    good = usable(boxes)
    if len(good) < FEWEST_STARS:
        return np.inf
    boxes, distance = boxes[good], distances(places[good], half)
    level, noise, _ = sky_of(boxes, width)
    inside = distance < 1.8 * width
    light = np.where(inside, np.nan_to_num(boxes - level[:, None, None]), 0)
    total = light.sum(axis=(1, 2))
    there = total > np.maximum(SURE * noise * np.sqrt(inside.sum(axis=(1, 2))), 0.1 * places[good].flux_dn)
    if np.count_nonzero(there) < max(FEWEST_STARS, 0.5 * len(good)):
        return np.inf
    offset = places[good].xy - np.round(places[good].xy)
    steps = np.arange(-half, half + 1)
    x, y = ((light.sum(axis=axis) @ steps) / np.where(there, total, np.inf) for axis in (1, 2))
    return float(np.hypot(np.median((x - offset[:, 0])[there]), np.median((y - offset[:, 1])[there])))


def apart(frames: Sequence[Laid]) -> tuple[list[int], list[int]]:
    """Numbers of the frames that lie on each other, as most do, and of the others."""
    away = np.stack([one.away_px.ravel() for one in frames])
    near = np.abs(away[:, None] - away[None]).max(axis=2) <= OFF_PX
    best = near[int(np.argmax(near.sum(axis=1)))]
    return np.flatnonzero(best).tolist(), np.flatnonzero(~best).tolist()
