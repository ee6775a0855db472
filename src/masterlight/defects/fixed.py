"""Lines that stand at the same place of the sensor in several lights, whatever the sky does: bad columns and rows.

A column is seen by a few of its pixels in a few of the lights: medians of three rows that lie together, and of three
such medians (Tukey 1978: the ninther), in bands over the height of the sensor. What is off its neighbours in three
lights or more, is no wider than stars are, and ends at its sides within a pixel, is no light of the sky.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import LINE, Frame, evenly
from masterlight.core.headers.geometry import period
from masterlight.core.statistics.scale import madn
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.kernels import segments
from masterlight.defects.lines import SHORTEST_LINE
from masterlight.defects.lists import Defects, pattern_for

AGREE = 3
"""Lights in which a line must stand."""
BANDS = 16, 2
"""Bands along columns, and along rows: rows are read across the order of a file, which is slow."""
SHORTEST = 4
"""Bands of the shortest line: stars that do not move from light to light may stand in fewer of a column by chance."""
STRIP_PX = 64
"""Width of such a band along rows."""
BAND_SIGMA = 1.2
"""The shortest line reaches no more than so many times the sigma that it needs: all of its bands must show it."""
STARLIT, PIECE = 8.0, 64
"""Where the sides lie so many sigma above the median of so many columns is a star: no line is looked for in it."""
LEAST_Z = 2.5
"""A light shows a line that others show better where it is so many sigma off."""
SHARP = 0.3, 0.15
"""Beside one and beside two bad columns the next hold less than this part of them; beside the light of a star more."""
NOISY, ENOUGH = 2.2, 48
"""A line whose values change so many times more than others', over so many bands of all lights, brings noise alone."""
MOST = 0.02
"""More than this part of all columns are no defects but the sensor's pattern."""


class Line(NamedTuple):
    """A line that stands out: its number, the bands from `first` to before `last` in which it does, its strength."""

    at: int
    first: int
    last: int
    strength: float


def fixed_lines(process: CosmeticCorrection, lights: Sequence[Frame], masters: Sequence[Frame] = ()) -> Defects | None:
    """The lines that are off in three or more of some calibrated lights of one sensor, as defects; None without any.

    Lights that cannot be read are passed over. Of fewer lights those are that one of the masters shows, too.
    """
    alike = [light for light in lights if len(light.shape) == 2 and light.shape == lights[0].shape]
    pitch = period(pattern_for(alike[0], process.cfa)) if alike else 1
    if process.lines is None or not alike or min(alike[0].shape) < BANDS[0] * (3 * pitch + 1):
        return None
    count = len(alike)
    mask, notes = np.zeros(alike[0].shape, np.uint8), []
    for axis, word in enumerate(("columns", "rows")):
        seen = dict(readable(alike if axis == 0 else spread(alike), axis, pitch))
        if len(seen) < (1 if masters else AGREE):
            return None
        alike = list(seen)
        into, profiles = mask.T if axis else mask, np.stack(list(seen.values()))
        found = standing(profiles, process.lines, pitch)
        if len(seen) < AGREE:
            there = shown(process, [m for m in masters if m.shape == alike[0].shape], axis, pitch)
            found = [line for line in found if line.at in there]
        names = {line.at for line in found}
        if len(names) > max(4, MOST * into.shape[1]):
            notes.append(f"{len(names)} {word} stand out of these lights: too many for defects, they stay")
            continue
        for line in found:
            mark_stretches(into, alike, axis, line, names, profiles.shape[1], pitch)
    marked = notes or mask.any()
    return Defects.of(mask, f"{count} lights", alike[0].meta, tuple(notes)) if marked else None


def shown(process: CosmeticCorrection, masters: Sequence[Frame], axis: int, pitch: int) -> set[int]:
    """The columns (axis 0) or rows (axis 1) that stand out of one of some masters."""
    seen = readable(masters, axis, pitch)
    return {line.at for _, bands in seen for line in standing(bands[None], process.lines, pitch)}


def spread(lights: Sequence[Frame]) -> list[Frame]:
    """As many lights as must agree, from first to last."""
    return [lights[i] for i in evenly(0, len(lights) - 1, AGREE)]


def readable(lights: Sequence[Frame], axis: int, pitch: int) -> Iterator[tuple[Frame, np.ndarray]]:
    """Lights and their bands; what cannot be read is told when its turn comes."""
    for light in lights:
        with suppress(FrameError, OSError):
            yield light, bands_of(light, axis, pitch)


def bands_of(light: Frame, axis: int, pitch: int) -> np.ndarray:
    """The level of each column (axis 0) or row (axis 1) in some bands: (bands, n) float32, NaN where missing.

    A band is three times three lines of one place in the colour pattern; bands take turns in these places.
    """
    size, step, out = light.shape[axis], 2 * pitch + 1, []
    reach = size // BANDS[0] if axis == 0 else min(STRIP_PX, size // BANDS[1])
    for i, start in enumerate(np.linspace(0, size - reach, BANDS[axis]).astype(int).tolist()):
        strip = light.pixels(0, light.shape[0], start, start + reach).T if axis else None
        spots = []
        for at in np.linspace(0, reach - step - pitch, 3).astype(int).tolist():
            at += (i - start - at) % pitch
            rows = light.pixels(start + at, start + at + step, 0, light.shape[1]) if strip is None else strip[at:]
            spots.append(middle(rows[0], rows[pitch], rows[2 * pitch]))
        out.append(middle(*spots))
    return np.stack(out)


def middle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The median of three values, of each element; NaN where one is."""
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def above_sides(profile: np.ndarray, pitch: int) -> tuple[np.ndarray, np.ndarray]:
    """How far values stand above their sides, and the sides: the mean of the medians of the three before and after."""
    n, reach = profile.shape[-1], 3 * pitch
    padded = np.pad(profile, [(0, 0)] * (profile.ndim - 1) + [(reach, reach)], mode="reflect")
    left, right = (middle(*(padded[..., reach + side * k * pitch :][..., :n] for k in (1, 2, 3))) for side in (-1, 1))
    sides = 0.5 * (left + right)
    return profile - sides, sides


def sky_of(level: np.ndarray) -> np.ndarray:
    """The median of each PIECE of values, stretched over it: the level without what stars add to it."""
    n = level.shape[-1]
    pieces = max(1, n // PIECE)
    used = level[..., : pieces * (n // pieces)].reshape(*level.shape[:-1], pieces, -1)
    middles = np.median(used, axis=-1)
    return middles[..., np.minimum(np.arange(n) * pieces // n, pieces - 1)]


def standing(profiles: np.ndarray, sigma: float, pitch: int) -> list[Line]:
    """The lines that stand out of profiles (lights, bands, n), in all bands or in some that follow each other."""
    excess, sides = above_sides(profiles, pitch)
    z = np.empty_like(excess)
    for place in range(pitch):
        own, level = excess[..., place::pitch], sides[..., place::pitch]
        told = np.isfinite(own).any(axis=-1, keepdims=True)
        scale = np.nanmedian(np.where(told, np.abs(own), 0), axis=-1, keepdims=True) / 0.6745
        starlit = level - sky_of(level) > STARLIT * scale
        z[..., place::pitch] = np.where(starlit, 0, own / np.where(scale > 0, scale, np.inf))
    z = np.nan_to_num(z)
    usual = np.median(z, axis=0)
    there = np.isfinite(profiles).any(axis=2)  # borders without data tell nothing
    seen = 2 * there.sum(axis=0) > len(there)
    if np.count_nonzero(seen) < min(SHORTEST, len(usual)):
        return []
    # columns of a sensor that is not calibrated differ, in all bands alike
    noise = max(madn(usual[seen]), madn(usual[seen].mean(axis=0)) * np.count_nonzero(seen) ** 0.5) or np.inf
    most = BAND_SIGMA * sigma * noise / min(len(usual), SHORTEST) ** 0.5
    usual = np.clip(usual, -most, most)
    best: dict[int, Line] = {}
    total = np.concatenate([np.zeros((1, usual.shape[1])), np.cumsum(usual, axis=0)])
    for length in lengths(z.shape[1]):
        sums = (total[length:] - total[:-length]) / (noise * length**0.5)
        for first, at in zip(*np.nonzero(np.abs(sums) > sigma), strict=True):
            line = Line(int(at), int(first), int(first) + length, float(sums[first, at]))
            if abs(line.strength) > abs(best.get(line.at, line._replace(strength=0.0)).strength):
                best[line.at] = line
    found = [line for line in best.values() if agree(z, line) and is_sharp(profiles, excess, line, best, pitch)]
    return [*found, *(noisy(z[:, seen], best) if there[:, seen].sum() >= ENOUGH else [])]


def lengths(bands: int) -> Iterator[int]:
    """Numbers of bands that are judged together: some, twice as many, and so on; and all."""
    length = SHORTEST
    while length < bands:
        yield length
        length *= 2
    yield bands


def agree(z: np.ndarray, line: Line) -> bool:
    """Whether enough lights, or all where there are fewer, show a line, each by itself and in the same direction."""
    own = z[:, line.first : line.last, line.at].sum(axis=1) / (line.last - line.first) ** 0.5
    return np.count_nonzero(own * np.sign(line.strength) > LEAST_Z) >= min(AGREE, len(z))


def is_sharp(profiles: np.ndarray, excess: np.ndarray, line: Line, others: dict[int, Line], pitch: int) -> bool:
    """Whether a line is one or two pixels wide and ends there: no spike of a star, no edge of a nebula."""
    x0, x1 = max(0, line.at - 8 * pitch), min(profiles.shape[2], line.at + 8 * pitch + 1)
    level = profiles[:, line.first : line.last, x0:x1]
    there = np.isfinite(level).all(axis=(0, 2))  # bands of a border without data tell nothing
    if not there.any():
        return False
    level = level[:, there]
    alike = {x for x, other in others.items() if other.strength * line.strength > 0}
    run = [x for x in range(line.at - 2, line.at + 3) if x in alike and (x == line.at or between(x, line.at) <= alike)]
    if len(run) > len(SHARP):
        return False

    def height(x: int) -> float:
        """How far a column stands above the median of those of its colour farther away."""
        far = [c for c in range(x0, x1) if (c - x) % pitch == 0 and min(abs(c - r) for r in run) > 3]
        return float(np.median(level[..., x - x0] - np.median(level[..., np.array(far) - x0], axis=-1)))

    beside = [x for x in (run[0] - 1, run[-1] + 1) if x0 <= x < x1]
    sign, off = np.sign(line.strength), abs(np.median(excess[:, line.first : line.last, line.at][:, there]))
    least = min(height(x) * sign for x in run)
    return least > 0.5 * off and all(height(x) * sign < SHARP[len(run) - 1] * least for x in beside)


def between(a: int, b: int) -> set[int]:
    """The columns between two."""
    return set(range(min(a, b) + 1, max(a, b)))


def noisy(z: np.ndarray, best: dict[int, Line]) -> list[Line]:
    """Lines that are not off but change from band to band and light to light far more than others."""
    spread = np.median(np.abs(z - np.median(z, axis=0)).mean(axis=0), axis=0)  # stars are in few bands
    usual = np.median(spread)
    at, beside = np.flatnonzero(spread > NOISY * usual).tolist(), np.pad(spread, 2)
    alone = [x for x in at if max(beside[x], beside[x + 4], min(beside[x + 1], beside[x + 3])) < 0.7 * NOISY * usual]
    off = {x + side for x in best for side in (-1, 0, 1)}
    return [Line(x, 0, z.shape[1], float("nan")) for x in alone if x not in off]


def mark_stretches(
    mask: np.ndarray, lights: Sequence[Frame], axis: int, line: Line, bad: set[int], bands: int, pitch: int
) -> None:
    """Mark a line from its begin to its end in a mask whose columns are the lines: where its pixels are nearer to its
    height than to their neighbours'."""
    rows, cols = mask.shape
    beside = [x for x in range(line.at - 4 * pitch, line.at + 4 * pitch + 1, pitch)]
    beside = [x for x in beside if 0 <= x < cols and x not in bad]
    x0, x1 = min(*beside, line.at), max(*beside, line.at) + 1
    excess = []
    for light in lights:
        stripe = light.pixels(*((0, rows, x0, x1) if axis == 0 else (x0, x1, 0, rows)))
        stripe = stripe if axis == 0 else stripe.T
        excess.append(stripe[:, line.at - x0] - np.median(stripe[:, [x - x0 for x in beside]], axis=1))
    off = np.median(excess, axis=0)
    first, last = (rows * band // bands for band in (line.first, line.last))
    height = float(np.nanmedian(off[first:last]))
    if not np.isfinite(line.strength) or not height:
        mask[:, line.at] = LINE
        return
    defect = np.nan_to_num(np.clip(off / height, -2, 3) - 0.5, nan=-0.5)
    noise = 0.5 * float(np.mean(np.square(np.diff(defect))))
    for start, stop in zip(*segments(defect, 0.5 * SHORTEST_LINE * max(1.0, noise)), strict=True):
        if stop - start >= SHORTEST_LINE:
            mask[start:stop, line.at] = LINE
