"""Dust that the flat has elsewhere than the lights: motes of the flat looked for in several lights of a set."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame
from masterlight.core.headers.values import seconds_of
from masterlight.core.statistics.scale import madn
from masterlight.core.together import TEMPERATURE_C
from masterlight.doctor import pictures
from masterlight.doctor.evidence import middle_of
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.maps import Coarse
from masterlight.doctor.process import Doctor
from masterlight.session.groups import ROTATOR_DEG, turn_deg
from masterlight.session.nights import NIGHT_S

SHALLOW = 0.015
"""Motes that darken the flat by less than this fraction are passed over."""
SURE, ALONE = 2.0, 4.0
"""So many times what the sky shows of a mote beside it, where there is none, it must show at the mote; the second in
one or two lights, over which a cloud may lie."""
REFOCUSED = 0.01
"""A focuser that is this part of its way elsewhere moves dust."""
MOTES = 12
"""Motes that are looked at, the deepest ones."""
LIGHTS = 8
"""Lights of a set that are looked at: stars move through a dither, dust stays."""
TINY = 1e-9


class Left(NamedTuple):
    """What a light shows of a mote of its flat: the mote itself in negative, as `gone` times its depth, or its rims."""

    gone: float
    """-1 where the dust is in the flat alone, 0 where it is in both."""
    moved: tuple[float, float]
    """(y, x) by which it moved from the flat to the light, in cells."""
    share: float
    """Extent of what is left, as a part of the sky."""
    rims: float
    """The same of what the move alone explains."""
    correlation: float


def dust(doctor: Doctor, raw: Frame, views: Sequence[Frame], flat: Frame) -> Iterator[Finding]:
    """D15: at motes of the flat the sky is brighter, or has a bright and a dark rim: the dust went away, or moved.

    views: calibrated lights of a set, that of `raw` first.
    """
    bad, told, sure = [], 0, SURE if len(views) > 2 else ALONE
    for mote in motes(Coarse.of(flat, whole=True)):
        shadow = cells(flat, *mote)
        depth = float(np.ptp(np.nanpercentile(shadow, [2, 98]))) if np.isfinite(shadow).any() else 0.0
        if depth <= SHALLOW:
            continue
        told += 1
        left = left_of(sky_of(views, mote), shadow)
        if is_dust(left, doctor.mote_fraction) and left.share > sure * beside_mote(views, shadow, *mote):
            bad.append((left, mote))
    if bad and (2 * len(bad) >= told or len(bad) >= 3):
        left, mote = max(bad, key=lambda one: one[0].share)
        sentence = f"""{some([views[0]])}: at {len(bad)} of {told} dust motes of the flat the calibrated sky is up to
            {left.share:.1%} off (allowed: {doctor.mote_fraction:.0%}): {what_happened(left, mote)}.
            {why_dust_moved(raw, flat)}. Take flats with the lights, nothing touched between them"""
        crops = pictures.side_by_side(around(flat, *mote), around(views[0], *mote))
        limit = 100 * doctor.mote_fraction
        yield finding("D15", "warn", [views[0]], 100 * left.share, limit, "% of the sky", sentence, crops)


def is_dust(left: Left, least: float) -> bool:
    """Whether what is left of a mote is that of dust that is gone, or that moved."""
    gone = -1.6 < left.gone < -0.5
    moved = left.rims > least and left.rims > abs(left.gone) * left.share
    return abs(left.correlation) > 0.5 and left.share > least and (gone or moved)


def what_happened(left: Left, mote: tuple[int, int, int]) -> str:
    """Whether the dust is elsewhere in the light, and how far, in words."""
    away = np.hypot(*left.moved) * cell_px(mote[2])
    if left.gone < -0.5 or away > mote[2]:
        return "too bright, as the dust is not there in the light"
    return f"bright on one side and dark on the other, as the dust moved by about {away:.1f} px"


def sky_of(views: Sequence[Frame], mote: tuple[int, int, int]) -> np.ndarray:
    """Logarithm of the sky around a place in the median of some lights, each brought to its own level there."""
    seen = [cells(views[0], *mote)]
    for view in views[1:]:
        with suppress(FrameError, OSError):  # the walk tells why
            seen.append(cells(view, *mote))
    with np.errstate(invalid="ignore"):
        return np.median([one - middle_of(one) for one in seen], axis=0)


def left_of(sky: np.ndarray, shadow: np.ndarray) -> Left:
    """How the sky follows a shadow and its slopes beyond a polynomial: what dust that is gone or moved leaves.

    Dust at x in the flat and at x + d in the light leaves S(x - d) - S(x), about -d grad S for a small d.
    """
    v, u = np.mgrid[-1 : 1 : sky.shape[0] * 1j, -1 : 1 : sky.shape[1] * 1j]
    slopes = np.gradient(shadow)
    good = np.isfinite(sky) & np.isfinite(shadow) & np.isfinite(slopes[0]) & np.isfinite(slopes[1])
    smooth = [u[good] ** i * v[good] ** j for i in range(4) for j in range(4 - i)]
    if good.sum() < 3 * len(smooth) + 12:
        return Left(0.0, (0.0, 0.0), 0.0, 0.0, 0.0)
    design = np.stack([*smooth, shadow[good], slopes[0][good], slopes[1][good]], axis=-1).astype(float)
    values, keep, count = sky[good].astype(float), np.ones(int(good.sum()), bool), len(smooth)
    for _ in range(3):
        part = design[keep]
        fitted = np.linalg.solve(part.T @ part + TINY * np.eye(design.shape[1]), part.T @ values[keep])
        rest = values - design @ fitted
        keep = np.abs(rest) <= 4 * madn(rest[keep]) + 1e-12
    plain = design[:, :count]
    kept = plain[keep]
    level = np.linalg.solve(kept.T @ kept + TINY * np.eye(count), kept.T @ design[keep][:, count:])
    templates = design[:, count:] - plain @ level  # what of them is no polynomial
    model, rims = templates @ fitted[count:], templates[:, 1:] @ fitted[count + 1 :]
    spread = float(np.std(model[keep]) / max(np.std((model + rest)[keep]), TINY))
    extent = [float(np.ptp(np.percentile(one, [2, 98]))) for one in (model, rims)]
    return Left(float(fitted[count]), (-float(fitted[-2]), -float(fitted[-1])), *extent, spread)


def beside_mote(views: Sequence[Frame], shadow: np.ndarray, y: int, x: int, radius: int) -> float:
    """How much of a mote the sky shows around it where it is not: what noise and clouds make of it."""
    rows, cols = views[0].shape[-2:]
    reach = 2 * (int(2.2 * radius) + 2)
    places = [(y + v * reach, x + u * reach) for v in (-1, 0, 1) for u in (-1, 0, 1) if v or u]
    inside = [place for place in places if 0 <= place[0] < rows and 0 <= place[1] < cols]
    skies = [sky_of(views, (*place, radius)) for place in inside if fits(views[0], shadow, *place, radius)]
    shares = [left_of(sky, shadow).share for sky in skies]
    return float(np.median(shares)) if shares else 0.0


def fits(view: Frame, shadow: np.ndarray, y: int, x: int, radius: int) -> bool:
    """Whether the square around a place is as large as that of the mote."""
    (rows, cols), reach, size = view.shape[-2:], int(2.2 * radius) + 2, cell_px(radius)
    high = (min(rows, y + reach) - max(0, y - reach)) // size
    wide = (min(cols, x + reach) - max(0, x - reach)) // size
    return (high, wide) == shadow.shape


def why_dust_moved(light: Frame, flat: Frame) -> str:
    """What the headers of a light and of its flat tell apart that moves dust, as a sentence without its end."""
    mine, theirs, apart = light.meta, flat.meta, []
    if None not in (mine.rotator_deg, theirs.rotator_deg):
        turn = turn_deg(mine.rotator_deg, theirs.rotator_deg)
        apart += [f"the rotator by {turn:.1f}°"] if turn > ROTATOR_DEG else []
    times = seconds_of(mine.time), seconds_of(theirs.time)
    if all(times) and abs(times[0] - times[1]) > NIGHT_S:
        apart.append(f"the time by {abs(times[0] - times[1]) / 86400:.1f} days")
    if None not in (mine.temperature_c, theirs.temperature_c):
        warmer = abs(mine.temperature_c - theirs.temperature_c)
        apart += [f"the sensor's temperature by {warmer:.1f} °C"] if warmer > TEMPERATURE_C else []
    if None not in (mine.focuser_steps, theirs.focuser_steps):
        steps = abs(mine.focuser_steps - theirs.focuser_steps)
        apart += [f"the focuser by {steps:.0f} steps"] if steps > REFOCUSED * abs(mine.focuser_steps) else []
    if not apart:
        return "No header tells why: dust may have fallen, dew dried, or the camera been turned or cleaned"
    return f"Their headers differ in {', '.join(apart)}"


def motes(coarse: Coarse) -> list[tuple[int, int, int]]:
    """Dust motes of a flat by the Laplacian of Gaussians: (y, x, radius) in pixels, the deepest first."""
    from scipy import ndimage

    image = coarse.blocks / (middle_of(coarse.blocks[::4]) or 1.0)
    image = np.where(np.isfinite(image), image, 1.0)
    image = image - ndimage.uniform_filter(image, 15, mode="nearest")
    found = []
    for sigma in (1.6, 3.2):
        response = sigma**2 * ndimage.gaussian_laplace(image, sigma, mode="nearest")
        noise = madn(response[::3])
        high = response > max(6 * noise, 0.004)
        peak = high & (response == ndimage.maximum_filter(np.where(high, response, 0), int(4 * sigma)))
        found += [(response[y, x], y, x, sigma) for y, x in np.argwhere(peak)]
    kept = []
    for _, y, x, sigma in sorted(found, reverse=True):
        if all(np.hypot(y - b, x - c) > 3 * max(sigma, s) for b, c, s in kept):
            kept.append((y, x, sigma))
    k = coarse.size
    return [(int((y + 0.5) * k), int((x + 0.5) * k), int(1.4 * sigma * k)) for y, x, sigma in kept[:MOTES]]


def around(frame: Frame, y: int, x: int, radius: int) -> np.ndarray:
    """The square of a frame around a mote, as far as it lies inside."""
    reach = int(2.2 * radius) + 2
    rows, cols = frame.shape[-2:]
    return frame.pixels(max(0, y - reach), min(rows, y + reach), max(0, x - reach), min(cols, x + reach))


def cell_px(radius: int) -> int:
    """Pixels of a cell by which a mote is looked at: an eighth of its radius, 4 at least."""
    return max(4, 2 * (radius // 16))


def cells(frame: Frame, y: int, x: int, radius: int) -> np.ndarray:
    """Logarithms of the square around a mote, in medians of cells of an eighth of its radius or more."""
    box = around(frame, y, x, radius)
    size = cell_px(radius)
    rows, cols = box.shape[0] // size, box.shape[1] // size
    cut = box[: rows * size, : cols * size].reshape(rows, size, cols, size).transpose(0, 2, 1, 3)
    level = np.median(cut.reshape(rows, cols, -1), axis=-1)
    if frame.meta.pattern:
        level = np.mean([np.median(cut[:, :, i::2, j::2], axis=(2, 3)) for i in (0, 1) for j in (0, 1)], axis=0)
    return np.log(np.where(level > 0, level, np.nan))
