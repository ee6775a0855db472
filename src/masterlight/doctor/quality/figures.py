"""Figures of one image, colour by colour: spread, noise, exact counts, profiles of lines, zones, hot pixels."""

import math
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from masterlight.calibration.biasmodel import line_means
from masterlight.core.frame import Frame
from masterlight.core.statistics.noise import midvariance, noise_mrs
from masterlight.core.statistics.scale import qn, sn
from masterlight.defects.outliers import outliers
from masterlight.doctor.quality import kernels
from masterlight.doctor.quality.sample import PIXELS, colours, pitch, planes, thin, values

SCALE_SAMPLES = 20_000
"""Pixels from which Sn and Qn are told: sure to 1 %."""
LINE_SAMPLES = 128
TRIMMING, TRIMMED_VARIANCE = 0.2, 1.145
"""Part left out at each end of a line, and what that does to the variance of its mean, for Gaussian noise."""
SMOOTH_LINES = 65
"""Profiles of rows and columns are told from a running median over so many lines."""
ZONES, ZONE_SAMPLES = 8, 4096
HOT_SIGMA = 8.0
WHOLE_PIXELS, WINDOW_PX, WINDOWS, BANDS = 4 << 20, 256, 3, 8
"""Of larger frames the noise is told from 3 x 3 windows of so many pixels of a colour across, and hot pixels are
counted in 8 bands of rows."""


def figures(image: Frame, saturation_dn: float | None) -> dict[str, dict[str, Any]]:
    """What the pixels of an image tell of each colour, by the names that `ColourReport` gives them."""
    pixels, size = planes(np.asarray(image)), pitch(image)
    counts, noise = exact_counts(image, np.inf if saturation_dn is None else saturation_dn), noises(image)
    found = {}
    for name, places in colours(image).items():
        p, y, x = places[0]
        plane = pixels[p, y::size, x::size]
        step = max(1, math.isqrt(plane.size * len(places) // PIXELS))
        some = values([pixels[p, y :: step * size, x :: step * size] for p, y, x in places])
        rows, columns = profiles(plane)
        lines = {"row_profile_dn": rows, "column_profile_dn": columns, "zones_dn": zones(plane)}
        found[name] = counts[name] | spreads(some) | lines | {"noise_mrs_dn": noise[name]}
        if saturation_dn is None:
            found[name]["saturated_fraction"] = None
    return found


def noises(frame: Frame, saturation_dn: float = np.inf) -> dict[str, float]:
    """The noise of each colour of one frame, DN, structures left out: the median over windows of a large frame."""
    size, (rows, cols) = pitch(frame), frame.shape[-2:]
    side = WINDOW_PX * size
    boxes = [(0, rows, 0, cols)]
    if rows * cols > WHOLE_PIXELS and min(rows, cols) >= side:
        at = [np.linspace(0, n - side, 2 * WINDOWS + 1)[1::2].astype(int) // size * size for n in (rows, cols)]
        boxes = [(y, y + side, x, x + side) for y in at[0].tolist() for x in at[1].tolist()]
    found: dict[str, list[float]] = {name: [] for name in colours(frame)}
    for box in boxes:
        pixels = planes(frame.pixels(*box))
        for name, places in colours(frame).items():
            p, y, x = places[0]
            found[name].append(noise_mrs(pixels[p, y::size, x::size], saturation_dn)[0])
    return {name: float(np.median(noise)) for name, noise in found.items()}


def spreads(pixels: np.ndarray) -> dict[str, float]:
    """Median and the robust scales of some pixels, DN; NaN when there are none."""
    names = ("median_dn", "average_deviation_dn", "madn_dn", "biweight_dn", "sn_dn", "qn_dn")
    if not pixels.size:
        return dict.fromkeys(names, math.nan)
    centre = float(np.median(pixels))
    away = np.abs(pixels - np.float32(centre))
    mad, few = float(np.median(away)), thin(pixels, SCALE_SAMPLES)
    biweight = math.sqrt(midvariance(pixels, centre, mad))
    scales = (centre, float(away.mean(dtype=float)), 1.4826 * mad, biweight, float(sn(few)), float(qn(few)))
    return dict(zip(names, scales, strict=True))


def exact_counts(image: Frame, saturation_dn: float) -> dict[str, dict[str, Any]]:
    """Every pixel of each colour: mean, extremes and where, and fractions of odd values."""
    size, found = pitch(image), {}
    for p, plane in enumerate(planes(np.asarray(image))):
        own = {name: at for name, at in colours(image).items() if at[0][0] == p}
        group, n = np.zeros((size, size), np.int64), len(own)
        for k, at in enumerate(own.values()):
            group[tuple(np.transpose(at)[1:])] = k
        counts, sums, places = np.zeros((n, 5), np.int64), np.zeros(n), np.zeros((n, 4), np.int64)
        extremes = np.tile([np.inf, -np.inf], (n, 1))
        kernels.tally(plane, group, saturation_dn, counts, sums, extremes, places)
        for k, name in enumerate(own):
            found[name] = counts_in_words(counts[k].tolist(), sums[k], extremes[k], places[k].tolist())
    return found


def counts_in_words(count: list[int], total: float, extremes: np.ndarray, at: list[int]) -> dict[str, Any]:
    """The counts of one colour as a report names them."""
    finite, *parts, missing = count
    y0, x0, y1, x1 = at
    mean, low, high = (float(v) if finite else math.nan for v in (total / max(1, finite), *extremes))
    names = ("zero_fraction", "negative_fraction", "saturated_fraction")
    fractions = {name: part / max(1, finite) for name, part in zip(names, parts, strict=True)}
    extremes = {"minimum_dn": low, "minimum_xy": (x0, y0), "maximum_dn": high, "maximum_xy": (x1, y1)}
    return {"mean_dn": mean, **extremes, **fractions, "missing_fraction": missing / max(1, finite + missing)}


def profiles(plane: np.ndarray) -> tuple[float, float]:
    """How much rows and columns of an image differ from their neighbours, rms in DN, less what its noise does to them.

    Trimmed means of lines, about 128 pixels of each, against their running median over 65 lines.
    """
    found = []
    for lines in (plane, plane.T):
        few = lines[:, :: max(1, lines.shape[1] // LINE_SAMPLES)]
        means = line_means(few, TRIMMING).astype(float)
        away = means - median_filter(means, min(SMOOTH_LINES, len(means) | 1), mode="nearest")
        step = np.diff(few, axis=1)
        noise = float(sn(thin(values([step]), SCALE_SAMPLES))) / math.sqrt(2)
        found.append(math.sqrt(max(0.0, float(np.mean(away**2)) - TRIMMED_VARIANCE * noise**2 / few.shape[1])))
    return found[0], found[1]


def zones(plane: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Medians of 8 x 8 equal zones of an image, row by row; NaN for a zone without pixels."""
    down, across = (np.linspace(0, n, ZONES + 1).astype(int)[1:-1] for n in plane.shape)
    found = []
    for band in np.split(plane, down):
        parts = [(part, max(1, math.isqrt(part.size // ZONE_SAMPLES))) for part in np.split(band, across, axis=1)]
        pixels = [values([part[::step, ::step]]) for part, step in parts]
        found.append(tuple(float(np.median(x)) if x.size else math.nan for x in pixels))
    return tuple(found)


def hot_pixels(dark: Frame, sigma: float = HOT_SIGMA) -> tuple[int, float | None]:
    """How many pixels of a dark are hot, as `CosmeticCorrection` finds them, and from how many DN on: (count, limit).

    Of large darks a quarter is counted. Every place of a colour pattern is looked at by itself; amplifier glow is not
    hot. Without any hot pixel the limit is None.
    """
    image, size = np.asarray(dark), pitch(dark)
    rows = high = image.shape[-2]
    starts = [0]
    if rows * image.shape[-1] > WHOLE_PIXELS and rows >= 64 * BANDS:
        high = rows // (4 * BANDS) // size * size
        starts = (np.linspace(0, rows - high, BANDS).astype(int) // size * size).tolist()
    count, limit = 0, np.inf
    for plane in planes(image):
        for y in starts:
            _, _, away, noise = outliers(plane[y : y + high], sigma, None, size)
            hot = away > sigma * noise
            count += int(np.count_nonzero(hot))
            limit = min(limit, sigma * float(noise[hot].min(initial=np.inf)))
    return round(count * rows / (high * len(starts))), limit if count else None
