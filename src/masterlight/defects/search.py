"""The search for defective pixels in sets of frames: what stays where it is while the sky moves, or flickers.

The functions from_* are the methods of BadPixels, which tell what they find and what they need.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import binary_propagation

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import COLD, HOT, UNSTABLE, Frame, frame_of, frames_of, naming, strips
from masterlight.core.headers.geometry import period
from masterlight.core.statistics.mesh import mesh, mesh_at, mesh_row
from masterlight.core.statistics.noise import finite
from masterlight.core.statistics.rounding import ROUNDING, coarse_step
from masterlight.core.statistics.scale import madn
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.find import BadPixels
from masterlight.defects.kernels import spikes
from masterlight.defects.lines import partial_columns
from masterlight.defects.lists import Defects, pattern_for
from masterlight.defects.outliers import outliers, places_of

BAND_SAMPLES = 16 << 20
"""Samples of all frames of a set that are in memory at once, 4 bytes each; the work on them takes up to 12 more."""


def from_dark(process: BadPixels, dark: Frame) -> Defects:
    dark = frame_of(dark, "dark")
    found = CosmeticCorrection(hot=process.hot, cold=process.cold, cfa=process.cfa).defects(dark)
    lines = lines_in(process, np.asarray(dark, np.float32), dark, found.mask)
    return Defects.of(found.mask | lines, dark.source, dark.meta, found.notes)


def from_darks(process: BadPixels, darks: Sequence[Frame]) -> Defects:
    darks = frames_of(darks)
    first = alike(darks, 5, "darks")
    mean, spread, kurtosis = (np.empty(first.shape, np.float32) for _ in range(3))
    for y0, y1, stack in bands(darks):
        mean[y0:y1], spread[y0:y1], kurtosis[y0:y1] = moments_without_highest(stack)
    with naming(first):
        step = coarse_step(finite(strips(first, 24)))
    usual = np.maximum(usual_spread(mean, spread), ROUNDING * step)
    with np.errstate(invalid="ignore"):
        flickers = spread > process.unstable * usual
        if len(darks) >= 15:
            flickers |= (spread > 0.5 * process.unstable * usual) & (kurtosis < 1.8)
    return Defects.of(flickers * np.uint8(UNSTABLE), f"{len(darks)} darks", first.meta)


def from_flats(process: BadPixels, bright: Frame, faint: Frame | None = None) -> Defects:
    bright, faint = frame_of(bright, "bright"), None if faint is None else frame_of(faint, "faint")
    first = alike([bright] if faint is None else [bright, faint], 1, "flats")
    image, pitch = np.asarray(bright, np.float32), pitch_of(process, bright)
    sky = np.empty_like(image)
    for dy, dx, plane, level, _ in places_of(image, pitch):
        line = np.empty(plane.shape[1], np.float32)
        for y in range(len(plane)):
            mesh_row(level, y, len(plane), line)
            sky[dy + y * pitch, dx::pitch] = line
    relative = np.divide(image, sky, out=np.full_like(image, np.nan), where=sky > 0)
    mask = np.zeros(image.shape, np.uint8)
    y, x, away, _ = outliers(relative, 3.0, 3.0, pitch)
    usual = relative[y, x] - away
    share = np.divide(relative[y, x], usual, out=np.zeros_like(usual), where=usual > 0)
    mask[y, x] = np.where(share > process.responsive, HOT, np.where(share < process.dead, COLD, 0))
    missing = ~np.isfinite(relative)
    if faint is not None:
        other = np.asarray(faint, np.float32)
        ratio = np.divide(image, other, out=np.full_like(image, np.nan), where=other > 0)
        y, x, away, sigma = outliers(ratio, process.flat, process.flat, pitch)
        _, noise = mesh(ratio)
        tiles = [mesh_at(noise, j, i, *image.shape) for j, i in zip(y.tolist(), x.tolist(), strict=True)]
        z = away / np.maximum(sigma, np.array(tiles, np.float32))
        mask[y, x] |= np.where(z > process.flat, HOT, np.where(z < -process.flat, COLD, 0)).astype(np.uint8)
        missing |= ~np.isfinite(ratio)
        relative = ratio
    mask[missing] |= COLD
    mask |= lines_in(process, relative, bright, mask)
    return Defects.of(mask, " / ".join(f.source for f in (bright, faint) if f is not None), first.meta)


def from_rejections(
    process: BadPixels, counts: np.ndarray, frames: int, shifts_px: Any | None = None, source: str = "rejection map"
) -> Defects:
    if shifts_px is not None:
        require_dither(process, shifts_px, frames, source)
    return Defects.of(np.asarray(counts) > process.present * frames, source)


def from_lights(process: BadPixels, lights: Sequence[Frame], shifts_px: Any) -> Defects:
    lights = frames_of(lights)
    alike(lights, 5, "lights")
    require_dither(process, shifts_px, len(lights), f"{len(lights)} lights")
    return steady(process, lights)


def steady(process: BadPixels, lights: Sequence[Frame], beside: float | None = None) -> Defects:
    """As `from_lights`, of three lights or more of which the caller sees to it that they are dithered.

    beside: sigma from which pixels that touch hot ones are hot as well, as in blocks.
    """
    first = alike(lights, 3, "lights")
    skies = np.array([np.nanmedian(np.concatenate(strips(light, 24))) for light in lights], np.float32)
    allowed = int((1 - process.present) * len(lights))
    low, high = np.empty(first.shape, np.float32), np.empty(first.shape, np.float32)
    for y0, y1, stack in bands(lights):
        stack -= skies[:, None, None]
        stack.partition((allowed, len(lights) - 1 - allowed), axis=0)
        low[y0:y1], high[y0:y1] = stack[allowed], stack[len(lights) - 1 - allowed]
    mask, pitch = np.zeros(first.shape, np.uint8), pitch_of(process, first)
    y, x, away, sigma = outliers(low, min(process.lights, beside or np.inf), None, pitch)
    mask[y, x] = np.where(away > process.lights * sigma, HOT, 0)
    if beside is not None:
        warm = np.zeros(first.shape, bool)
        warm[y, x] = away > beside * sigma
        mask[binary_propagation(mask > 0, np.ones((3, 3)), warm)] = HOT
    y, x, away, sigma = outliers(high, None, process.lights, pitch)
    mask[y, x] |= np.where(~(away > -process.lights * sigma), COLD, 0).astype(np.uint8)
    mask |= lines_in(process, 0.5 * (low + high), first, mask)
    return Defects.of(mask, f"{len(lights)} dithered lights", first.meta)


def from_single_lights(process: BadPixels, lights: Sequence[Frame]) -> Defects:
    lights = frames_of(lights)
    first = alike(lights, 3, "lights")
    seen, pitch = np.zeros(first.shape, np.uint16), pitch_of(process, first)
    for light in lights:
        y, x = spikes_of(process, light, pitch)
        seen[y, x] += 1
    return Defects.of(seen >= max(2, process.present * len(lights)), f"{len(lights)} lights", first.meta)


def spikes_of(process: BadPixels, light: Frame, pitch: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the cosmic rays and hot pixels of one light."""
    image = np.array(light, np.float32)
    limits = light.meta.gain_e_per_dn or 1.0, process.spike, process.contrast
    found = []
    for dy, dx, plane, level, sigma in places_of(image, pitch):
        y, x = spikes(plane, level, sigma, *limits)
        found.append((y * pitch + dy, x * pitch + dx))
    return tuple(np.concatenate(axis) for axis in zip(*found, strict=True))


def lines_in(process: BadPixels, image: np.ndarray, frame: Frame, known: np.ndarray) -> np.ndarray:
    """The bad rows and columns of an image, whole or in part, as a mask of bit 8; `known` defects do not count."""
    mask, pitch = np.zeros(image.shape, np.uint8), pitch_of(process, frame)
    clean = np.where(known > 0, np.float32(np.nan), image)
    for y, x in np.ndindex(pitch, pitch) if process.line is not None else ():
        plane, into = clean[y::pitch, x::pitch], mask[y::pitch, x::pitch]
        into |= partial_columns(plane, process.line) | partial_columns(plane.T, process.line).T
    return mask


def pitch_of(process: BadPixels, frame: Frame) -> int:
    return period(pattern_for(frame, process.cfa))


def require_dither(process: BadPixels, shifts_px, frames: int, source: str) -> None:
    """Refuse lights of which too many point to the same place: their stars would be taken for defects."""
    shifts = np.asarray(shifts_px, np.float64).reshape(-1, 2)
    if len(shifts) != frames:
        raise ParameterError(f"shifts_px: {len(shifts)} shifts were given for {frames} frames; one (x, y) for each")
    apart = np.hypot(*(shifts[:, None] - shifts[None]).transpose(2, 0, 1))
    together = int((apart < process.dither_px).sum(axis=1).max())
    if together >= process.present * frames:
        words = f"{together} of {frames} frames lie within {process.dither_px:g} px of each other"
        why = "without dithering a star cannot be told from a hot pixel"
        raise FrameError(source, f"{words}: {why}. Use darks or flats, or lights that were dithered")


def alike(frames: Sequence[Frame], least: int, what: str) -> Frame:
    """The first of the frames, after a look whether there are enough and all have one plane of the same size."""
    if len(frames) < least:
        raise ParameterError(f"{len(frames)} {what} are too few to find defective pixels; {least} are needed")
    for frame in frames:
        if len(frame.shape) != 2 or frame.shape != frames[0].shape:
            own, first = ("x".join(map(str, f.shape[::-1])) for f in (frame, frames[0]))
            raise FrameError(frame.source, f"is {own} pixels, {frames[0].source} is {first}: give raw frames alike")
    return frames[0]


def bands(frames: Sequence[Frame]) -> Iterator[tuple[int, int, np.ndarray]]:
    """The frames band by band: first and last row, and the pixels of all of them, (frames, rows, cols) float32."""
    rows, cols = frames[0].shape
    step = max(1, BAND_SAMPLES // (cols * len(frames)))
    for y0 in range(0, rows, step):
        y1 = min(rows, y0 + step)
        stack = np.empty((len(frames), y1 - y0, cols), np.float32)
        for frame, into in zip(frames, stack, strict=True):
            frame.pixels_into(into, y0, 0)
        yield y0, y1, stack


def moments_without_highest(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and kurtosis of each pixel without its highest sample: three (rows, cols)."""
    n, highest = len(stack) - 1, stack.max(axis=0)
    mean = (stack.sum(axis=0, dtype=np.float64) - highest) / n
    squares, fourths = np.zeros_like(mean), np.zeros_like(mean)
    for sample in stack:
        d2 = np.square(sample - mean)
        squares += d2
        fourths += d2 * d2
    d2 = np.square(highest - mean)
    squares, fourths = np.maximum(squares - d2, 0), np.maximum(fourths - d2 * d2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return mean, np.sqrt(squares / (n - 1)), fourths * n / squares**2


def usual_spread(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How much a steady pixel of each brightness changes from dark to dark, DN: (rows, cols).

    sigma^2 = sigma_0^2 + (mean - median) / gain, where the gain is what most of the bright pixels tell.
    """
    level, base = float(np.nanmedian(mean)), float(np.nanmedian(spread))
    above = np.maximum(mean - level, 0)
    bright = above > 10 * madn(mean)
    slopes = (np.square(spread[bright]) - base**2) / above[bright]
    slope = max(0.0, float(np.nanmedian(slopes))) if slopes.size >= 20 else 0.0
    return np.sqrt(base**2 + slope * above)
