"""Places at which the flats of a set change from frame to frame: dew that dries off, dust that moves."""

from collections.abc import Iterator, Sequence

import numpy as np

from masterlight.core.frame import Frame, evenly
from masterlight.core.headers.geometry import period
from masterlight.core.headers.values import seconds_of
from masterlight.core.statistics.scale import madn
from masterlight.doctor import pictures
from masterlight.doctor.evidence import large, middle_of, sample
from masterlight.doctor.findings import Finding, finding
from masterlight.doctor.maps import Coarse
from masterlight.doctor.process import Doctor

FRAMES = 6
"""Flats of a set that are read whole, spread over its time."""
SIGMA, BESIDE = 11.0, 9
"""A block changes when it does so by so many sigma of blocks, against the mean of so many blocks around it. Of half a
million blocks in six flats, noise alone makes one change by 10.5 in one night of a thousand."""
RIM = 3
"""Blocks at the rim of the frame, which have nothing beside them on one side, are left out."""
MOST = 60
"""Places that are looked at in all pixels, those that change most."""


def changing_places(doctor: Doctor, master: Frame, frames: Sequence[Frame], bias: Frame | None) -> Iterator[Finding]:
    """D28: shadows that come, go or move while the flats are taken."""
    frames = in_time_order([frame for frame in frames if large(frame)])
    if len(frames) < 3 or len({frame.shape for frame in frames}) > 1:
        return
    some = [frames[i] for i in evenly(0, len(frames) - 1, FRAMES)]
    level_dn = middle_of(sample(bias)) if bias is not None and "B" not in some[0].meta.calibration else 0.0
    seen = [(place, contrasts(some, place, level_dn)) for place in candidates(doctor, some, level_dn)]
    shadows = [(place, values) for place, values in seen if is_shadow(values, doctor.mote_fraction)]
    shadows = [(place, values) for place, values in shadows if is_wide(some, place, values, level_dn)]
    if not shadows:
        return
    place, values = max(shadows, key=lambda one: np.ptp(one[1]))
    deep, shallow = int(np.argmin(values)), int(np.argmax(values))
    where = f"{len(shadows)} places" if len(shadows) > 1 else "one place"
    sentence = f"""the {len(frames)} flats of {name_of(master)} change from frame to frame at {where}: a shadow is
        {1 - values[deep]:.1%} deep in {name_of(some[deep])} and {max(0.0, 1 - values[shallow]):.1%} in
        {name_of(some[shallow])}, as of dew that dries or dust that moves. Lights get spots there: leave out the flats
        that differ, or take new ones"""
    change = 100 * float(np.ptp(values))
    yield finding("D28", "warn", frames, change, 100 * doctor.mote_fraction, "%", sentence, crops(some, place))


def in_time_order(frames: Sequence[Frame]) -> list[Frame]:
    """Frames by their time, by their names where one does not tell it."""
    times = [seconds_of(frame.meta.time) for frame in frames]
    if any(time is None for time in times):
        return sorted(frames, key=lambda frame: frame.source)
    return [frame for _, frame in sorted(zip(times, frames, strict=True), key=lambda pair: pair[0])]


def name_of(frame: Frame) -> str:
    """The file's name alone."""
    return frame.source.rsplit("/", 1)[-1]


def candidates(doctor: Doctor, frames: Sequence[Frame], level_dn: float) -> list[tuple[int, int, int]]:
    """Blocks that change, (y, x, size) in pixels, each the middle of its surroundings, the greatest change first."""
    from scipy import ndimage

    coarse = [Coarse.of(frame, whole=True) for frame in frames]
    maps = np.stack([one.blocks - np.float32(level_dn) for one in coarse])
    with np.errstate(invalid="ignore", divide="ignore"):
        maps /= np.median(maps, axis=(1, 2), keepdims=True)
        maps /= np.median(maps, axis=0)
    maps = np.nan_to_num(maps, nan=1.0, posinf=1.0, neginf=1.0)
    for one in maps:  # in which illumination that changes smoothly counts for nothing
        one /= ndimage.uniform_filter(np.clip(one, 0.98, 1.02), BESIDE, mode="nearest")
    noise = float(np.median([madn(one[::2]) for one in maps]))
    change = np.ptp(maps, axis=0)
    high = change > max(0.5 * doctor.mote_fraction, SIGMA * noise)
    high &= change == ndimage.maximum_filter(change, 3)
    high[:RIM], high[-RIM:], high[:, :RIM], high[:, -RIM:] = False, False, False, False
    at = np.argwhere(high)
    size = coarse[0].size
    order = np.argsort(-change[high], kind="stable")[:MOST]
    return [(int(y) * size, int(x) * size, size) for y, x in at[order]]


def contrasts(frames: Sequence[Frame], place: tuple[int, int, int], level_dn: float) -> np.ndarray:
    """Level of a block over that of a ring around it in each frame, medians: no cosmic ray counts."""
    y, x, size = place
    out = []
    for frame in frames:
        rows, cols = frame.shape
        reach = min(4 * size, y, x, rows - y - size, cols - x - size)  # as far to all sides: a gradient cancels
        box = frame.pixels(y - reach, y + size + reach, x - reach, x + size + reach) - np.float32(level_dn)
        away = np.abs(np.arange(len(box)) - (len(box) - 1) / 2)
        away = np.maximum(away[:, None], away)
        inner, wide = away < size / 2, away < 2.5 * size
        p = period(frame.meta.pattern)
        parts = [(np.s_[i::p, j::p]) for i in range(p) for j in range(p)]
        levels = [(middle_of(box[at][inner[at]]), middle_of(box[at][~wide[at]])) for at in parts]
        out.append(np.mean([a / b for a, b in levels if b > 0]) if any(b > 0 for _, b in levels) else 1.0)
    return np.array(out)


def is_shadow(values: np.ndarray, least: float) -> bool:
    """Whether a place that changes is darker for a while; values: its contrast in order of time.

    A star or a ray is brighter in few frames, wherever these stand; what dries or moves stays gone.
    """
    change = float(np.ptp(values))
    bright = values > values.min() + 0.5 * change
    count = int(np.count_nonzero(bright))
    at_end = bright[:count].all() or bright[-count:].all()
    star = (count == 1 and values.max() > 1 + 0.5 * change) or (3 * count <= values.size and not at_end)
    return change > least and values.min() < 1 - 0.5 * least and not star


def is_wide(frames: Sequence[Frame], place: tuple[int, int, int], values: np.ndarray, level_dn: float) -> bool:
    """Whether blocks beside a place change with it: shadows are wider than a star in front of one."""
    y, x, size = place
    pair = [frames[int(np.argmin(values))], frames[int(np.argmax(values))]]
    beside = [(y + v, x + u, size) for v, u in ((-size, 0), (size, 0), (0, -size), (0, size))]
    change = [float(np.diff(contrasts(pair, one, level_dn))[0]) for one in beside]
    return sum(one > 0.3 * float(np.ptp(values)) for one in change) >= 2


def crops(frames: Sequence[Frame], place: tuple[int, int, int]) -> np.ndarray:
    """The surroundings of a place in each frame, in order of time, from left to right."""
    y, x, size = place
    reach = 5 * size
    rows, cols = frames[0].shape
    box = max(0, y - reach), min(rows, y + reach), max(0, x - reach), min(cols, x + reach)
    made = [frame.pixels(*box) for frame in frames]
    made = [crop / (middle_of(crop) or 1.0) for crop in made]
    return pictures.image(
        np.concatenate([np.pad(crop, ((0, 0), (0, 4)), constant_values=1.0) for crop in made], axis=1)
    )
