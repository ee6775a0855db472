"""One linear image that goes from the faintest nebula to star cores, of exposures that saturate at different levels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from masterlight.calibration.biasmodel import smooth
from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.core.frame import Frame, frames_of
from masterlight.integration.hdr import Fit, HDRComposition, HDRResult
from masterlight.integration.roster.members import check_shapes

LINEAR = 0.92
"""Up to this part of their saturation level two exposures are compared."""
BINS = 64
BIN_PIXELS = 20_000
"""Pixels of a bin that its median is taken of, at most."""
BAND = 512
"""Rows of a mask that are made together."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """One input: where it saturates, and how much light it holds."""

    frame: Frame
    variance: np.ndarray | None
    saturation_dn: float
    light_dn: float
    """Mean of its pixels above the darkest tenth, which rises with exposure, if ever slower as more saturates."""


def compose(settings: HDRComposition, frames: Sequence[Frame], variances) -> HDRResult:
    """Images of different exposure as one: see `HDRComposition.__call__`."""
    frames = frames_of(frames)
    given = variances if variances is not None else [None] * len(frames)
    check(frames, given)
    exposures = [look(frame, variance) for frame, variance in zip(frames, given, strict=True)]
    if settings.auto_exposures:
        exposures.sort(key=lambda e: -e.light_dn)
    first = exposures[0]
    image = planes_of(first.frame).copy()
    variance = None if any(v is None for v in given) else planes_of(first.variance).copy()
    saturation_dn = np.full(len(image), first.saturation_dn)
    ratios, blended = np.ones(len(image)), np.zeros(image.shape[-2:], bool)
    masks, fits, notes = [], [], []
    for before, exposure in zip(exposures, exposures[1:], strict=False):
        saturated = (image >= settings.threshold * saturation_dn[:, None, None]).any(axis=0)
        if not saturated.any():
            rest = ", ".join(e.frame.source for e in exposures[exposures.index(before) + 1 :])
            level = (
                f", whose level is {before.saturation_dn:.5g} DN: it is the result; or lower HDRComposition.threshold"
            )
            words = level if before is first else f": {rest} not used"
            notes.append(f"nothing is saturated in {before.frame.source}{words}")
            break
        added = planes_of(exposure.frame)
        lines = lines_of(image, added, blended, LINEAR * saturation_dn, exposure)
        check_order(exposure, before, lines, ratios)
        ratios = np.array([line.ratio for line in lines])
        offsets = np.array([line.offset_dn for line in lines])
        black = np.isnan(added) | (added == 0) if settings.reject_black else np.isnan(added)
        added = ((added - offsets[:, None, None]) / ratios[:, None, None]).astype(np.float32)
        mask = mask_of(settings, saturated)
        mask[black.any(axis=0)] = 0
        if settings.replace_large_scales:
            add_large_scales(4 + settings.replace_large_scales, added, image, mask)
        blend(image, added, mask)
        if variance is not None:
            variance_added = planes_of(exposure.variance) / (ratios**2)[:, None, None]
            blend(variance, variance_added, mask, power=2)
        blended |= (mask > 1e-5) & (mask < 1 - 1e-5)
        saturation_dn = (exposure.saturation_dn - offsets) / ratios
        masks.append(mask)
        fits += lines
        notes.append(f"{exposure.frame.source} replaces {100 * np.mean(mask >= 0.5):.3g} % of the pixels")
        if lost := np.count_nonzero(saturated & (mask == 0)):
            notes.append(f"{lost} saturated pixels stay: they are black or missing in {exposure.frame.source}")
    shape = first.frame.shape
    finite = image[np.isfinite(image)]
    image, variance = image.reshape(shape), None if variance is None else variance.reshape(shape)
    sources, range_dn = tuple(e.frame.source for e in exposures), (float(finite.min()), float(finite.max()))
    return HDRResult(image, variance, tuple(masks), tuple(fits), sources, range_dn, tuple(notes))


def look(frame: Frame, variance: np.ndarray | None) -> Exposure:
    """Where one image saturates, and how much light it holds.

    Without a level from the header it is the brightest pixel of the faintest plane; in large images the one that
    one pixel in a million exceeds: a single hot pixel is no saturation.
    """
    tops, light = [], 0.0
    for plane in planes_of(frame):
        good = plane[np.isfinite(plane) & (plane != 0)]
        if not good.size or not good.max() > 0:
            raise FrameError(frame.source, "it has no pixel above 0; leave it out")
        dark, rank = good.size // 10, good.size - 1 - good.size // 1_000_000
        light += float(good.mean(dtype=np.float64))
        good.partition((dark, rank))
        light -= float(good[dark])
        tops.append(float(good[rank]))
    meta = frame.meta
    level = meta.saturation_dn if meta.saturation_dn and not meta.integer else min(tops)
    return Exposure(frame, variance, level, light)


def lines_of(image, added, blended, ceilings, exposure: Exposure) -> list[Fit]:
    """The line of each plane of an image, over pixels that are good in it and in what is there so far."""
    found = []
    for plane, (x, v, ceiling) in enumerate(zip(image, added, ceilings, strict=True)):
        good = np.isfinite(x) & np.isfinite(v) & (x != 0) & (v != 0) & ~blended
        good &= (x < ceiling) & (v < LINEAR * exposure.saturation_dn)
        line = line_through(x[good], v[good])
        if line is None:
            words = "it has too few pixels that are bright and not saturated both in it and in the longer exposure"
            raise FrameError(exposure.frame.source, f"{words}: register both, or add an exposure between them")
        found.append(Fit(exposure.frame.source, plane, *line, int(np.count_nonzero(good))))
    return found


def mask_of(settings: HDRComposition, saturated: np.ndarray) -> np.ndarray:
    """How much of each pixel is replaced: all where it is saturated or near it, falling off outside as a cosine.

    saturated (rows, cols) bool to float32. Nothing of a saturated pixel is kept, or the result was not linear.
    """
    reach = settings.growth + settings.smoothness + 1
    out = np.zeros(saturated.shape, np.float32)
    for y in range(0, len(saturated), BAND):
        top = max(0, y - reach)
        near = saturated[top : y + BAND + reach]
        if near.any():
            distance = distance_transform_edt(~near)[y - top : y - top + BAND]
            outside = np.clip((distance - settings.growth) / (settings.smoothness + 1), 0, 1)
            out[y : y + BAND] = 0.5 + 0.5 * np.cos(np.pi * outside)
    return out


def add_large_scales(layers: int, added: np.ndarray, image: np.ndarray, mask: np.ndarray) -> None:
    """Add to `added` the smooth part of its difference from `image`, found outside of the mask."""
    between = np.empty_like(mask)
    for new, old in zip(added, image, strict=True):
        rest = np.where(mask > 0, np.float32(np.nan), old - new)
        smooth(rest, layers, "median", between)
        new += between


def check(frames: Sequence[Frame], variances: Sequence[np.ndarray | None]) -> None:
    """Raise where there are fewer than two images, or an image or a variance of another shape."""
    if len(frames) < 2:
        raise NothingUsable("an HDR composition needs two images or more of different exposure")
    if len(variances) != len(frames):
        raise ParameterError(f"variances: {len(frames)} images need one for each, or None; {len(variances)} were given")
    check_shapes(frames)
    for frame, variance in zip(frames, variances, strict=True):
        if variance is not None and np.shape(variance) != frame.shape:
            words = f"its variance has the shape {np.shape(variance)}, the image itself {frame.shape}"
            raise FrameError(frame.source, words)


def check_order(exposure: Exposure, before: Exposure, lines: list[Fit], ratios: np.ndarray) -> None:
    """Raise FrameError where an image is no shorter exposure of the same field than the one before it."""
    longer = before.frame.source
    for line, ratio in zip(lines, ratios, strict=True):
        step = line.ratio / ratio
        if step > 1:
            words = f"it is exposed {step:.3g} times as long as {longer}, which comes before it"
            raise FrameError(
                exposure.frame.source,
                f"{words}: without HDRComposition.auto_exposures, give the longest exposure first",
            )
        if not step > 0:
            words = f"it does not become brighter where {longer} does; are both registered, and linear?"
            raise FrameError(exposure.frame.source, words)


def planes_of(frame) -> np.ndarray:
    """The pixels of a frame or an array as (planes, rows, cols) float32."""
    pixels = np.asarray(frame, np.float32)
    return pixels.reshape(-1, *pixels.shape[-2:])


def blend(image: np.ndarray, added: np.ndarray, mask: np.ndarray, power: int = 1) -> None:
    """image <- (1 - mask)^power image + mask^power added, in place; what is missing in image is taken from added."""
    for old, new in zip(image, added, strict=True):
        gone = np.isnan(old) & (mask > 0)
        changed = np.where(mask < 1, (1 - mask) ** power * old, 0) + mask**power * new
        np.copyto(old, changed, where=mask > 0)
        np.copyto(old, new, where=gone)


def line_through(x: np.ndarray, v: np.ndarray) -> tuple[float, float] | None:
    """The line v = offset + ratio * x as (ratio, offset), from the medians of bins of x; None without a second bin.

    Bins are of equal width, so that the many pixels of the background are one point, and do not flatten the line by
    their noise. The line of least absolute deviations goes through two of the points: all pairs are tried.
    """
    if x.size < 6:
        return None
    centre = np.median(x[:: 1 + x.size // 1_000_000])
    width = (x.max() - centre) / BINS
    if not width > 0:
        return None
    number = np.clip((x - centre) / width + 0.5, 0, BINS).astype(np.uint8)
    order = np.argsort(number, kind="stable")
    points = []
    for members in np.split(order, np.cumsum(np.bincount(number, minlength=BINS + 1))[:-1]):
        if members.size >= 3:
            members = members[:: -(-members.size // BIN_PIXELS)]
            points.append((np.median(x[members]), np.median(v[members]), np.sqrt(members.size)))
    if len(points) < 2:
        return None
    at_x, at_v, weight = np.array(points, float).T
    i, j = np.triu_indices(len(points), 1)
    ratio = (at_v[j] - at_v[i]) / (at_x[j] - at_x[i])
    offset = at_v[i] - ratio * at_x[i]
    misses = np.abs(at_v - offset[:, None] - ratio[:, None] * at_x) @ weight
    best = int(np.argmin(misses))
    return float(ratio[best]), float(offset[best])
