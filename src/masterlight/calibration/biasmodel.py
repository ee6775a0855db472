"""The model behind a superbias: means of columns and rows, and the smooth structure between them."""

import numpy as np
from scipy.ndimage import median_filter

from masterlight.calibration.superbias import Superbias, Verdict
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Frame, frame_of
from masterlight.core.process import card
from masterlight.core.statistics.noise import midvariance, sample, starlet_smooth
from masterlight.core.units.figures import figure

CELL_TRIMMING = 0.25
ROUGH = 3
"""Every so many pixels of a line tell its mean roughly."""
GAUSSIAN = 0.991**2
"""Variance of Gaussian noise over its biweight midvariance."""
BAND = 256
"""Lines whose pixels are sorted together."""


def superbias(process: Superbias, bias: Frame) -> Frame:
    """The superbias of a master bias: each read-out section of each plane by its model."""
    if not (process.columns or process.rows):
        raise ParameterError("Superbias models columns, rows or both: turn on at least one")
    bias = frame_of(bias)
    image = np.asarray(bias)
    rows, cols = image.shape[-2:]
    if rows < 8 * process.sections_down or cols < 8 * process.sections_across:
        words = f"{process.sections_across} x {process.sections_down} sections"
        raise FrameError(bias.source, f"is {cols} x {rows} pixels, too few for a superbias of {words}")
    out = np.empty(image.shape, np.float32)
    for plane, made in zip(image.reshape(-1, rows, cols), out.reshape(-1, rows, cols), strict=True):
        for y0, y1 in sections(rows, process.sections_down):
            for x0, x1 in sections(cols, process.sections_across):
                section = made[y0:y1, x0:x1]
                section[...] = np.nan
                if np.isfinite(plane[y0:y1, x0:x1]).any():
                    model(process, plane[y0:y1, x0:x1], section)
    cards = (*bias.cards, card(process, bias=bias.source))
    return ArrayFrame(source=bias.source, meta=bias.meta, cards=cards, array=out)


def validate(process: Superbias, half1: Frame, half2: Frame) -> Verdict:
    """Whether the superbias of one half of the frames tells the other half better than the master does."""
    if half1.shape != half2.shape:
        raise FrameError(half2.source, f"its shape is {half2.shape}, that of {half1.source} is {half1.shape}")
    counts = np.array([half1.meta.frames, half2.meta.frames], float)
    images = [np.asarray(half1), np.asarray(half2)]
    between_halves = variance(images[0] - images[1])
    noise = between_halves * counts[::-1] / counts.sum()
    models = [np.asarray(process(half)) for half in (half1, half2)]
    modelled = np.array([variance(images[1 - k] - models[k]) - noise[1 - k] for k in (0, 1)])
    superbias, plain = float(modelled.mean()), float(noise.mean())
    master = between_halves * counts.prod() / counts.sum() ** 2
    better = bool(superbias < master)
    errors = f"{figure(max(0.0, superbias) ** 0.5, 2)} DN a pixel, the master by {figure(master**0.5, 2)} DN"
    which = "a better bias" if better else "no better bias"
    sentence = f"the superbias is {which} than the master of {counts.sum():g} frames: it is off by {errors}"
    if not better:
        sentence += "; the sensor has a pattern that is not one of lines"
    return Verdict(better, superbias, plain, float(master), sentence)


def model(process: Superbias, image: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` with the model of one section: out = S + m_x + m_y, S smooth, m means of columns and rows.

    S is looked for in the section without its lines, roughly known, or their pattern would disturb it.
    """
    rest = image.copy()
    out[...] = 0
    if process.exclude_large_scale:
        if process.columns:
            rest -= line_means(image[::ROUGH].T, process.trimming)
        if process.rows:
            rest -= line_means(rest[:, ::ROUGH], process.trimming)[:, None]
        smooth(rest, process.layers, process.transform, out)
        np.subtract(image, out, out=rest)
    if process.columns:
        offsets = line_means(rest.T, process.trimming)
        out += offsets
        rest -= offsets
    if process.rows:
        out += line_means(rest, process.trimming)[:, None]


def smooth(image: np.ndarray, layers: int, transform: str, out: np.ndarray) -> None:
    """Fill `out` with the structure of `image` that is larger than 2^layers pixels.

    Trimmed means over square cells, a median over 9 x 9 of them (or three layers of the starlet), cubic spline
    between them. Its noise is 1/100 of that of a pixel for 7 layers, 1/40 at the borders.
    """
    cell, reach = 2 ** max(0, layers - 3), 2 ** min(layers, 3) // 2
    grid, at_y, at_x = cells(image, cell)
    pad = [min(reach, n - 1) for n in grid.shape]
    padded = np.pad(grid, [(n, n) for n in pad], mode="reflect", reflect_type="odd")
    if transform == "median":
        padded = median_filter(padded, 2 * reach + 1, mode="nearest")
    else:
        padded, work = np.ascontiguousarray(padded, np.float32), np.empty(padded.shape, np.float32)
        for layer in range(min(layers, 3)):
            padded, before = np.empty_like(work), padded
            starlet_smooth(before, 1 << layer, work, padded)
    kept = padded[pad[0] : pad[0] + grid.shape[0], pad[1] : pad[1] + grid.shape[1]]
    between(kept.astype(float), at_y, at_x, out)


def variance(difference: np.ndarray) -> float:
    """Biweight midvariance of an image's pixels about their median, as the variance of Gaussian noise."""
    total = []
    for plane in difference.reshape(-1, *difference.shape[-2:]):
        x, _ = sample(plane)
        if not x.size:
            return np.nan
        centre = np.median(x)
        total.append(midvariance(x, centre, np.median(np.abs(x - centre))) * GAUSSIAN)
    return float(np.mean(total))


def sections(size: int, count: int) -> list[tuple[int, int]]:
    """First and last of `count` equal parts of an axis."""
    ends = np.linspace(0, size, count + 1).round().astype(int)
    return list(zip(ends[:-1], ends[1:], strict=True))


def trimmed_means(lines: np.ndarray, trimming: float) -> np.ndarray:
    """Mean of each line without the lowest and highest part of it: (n, m) float32, NaN left out, to (n,) float64.

    NaN for a line that has no good pixel.
    """
    missing, out = np.count_nonzero(np.isnan(lines), axis=1), np.empty(len(lines))
    for count in np.unique(missing):
        which, good = missing == count, lines.shape[1] - count
        cut = int(trimming * good)
        if good == 0:
            out[which] = np.nan
            continue
        block = lines if count == 0 and which.all() else lines[which]
        block = np.partition(block, sorted({cut, good - 1 - cut, good - 1}), axis=1)
        out[which] = block[:, cut : good - cut].mean(axis=1, dtype=np.float64)
    return out


def line_means(image: np.ndarray, trimming: float) -> np.ndarray:
    """Trimmed mean of each row of an image, float32; a row without any good pixel gets the median of the others."""
    bands = (np.ascontiguousarray(image[y : y + BAND]) for y in range(0, image.shape[0], BAND))
    return fill_gaps(np.concatenate([trimmed_means(band, trimming) for band in bands])).astype(np.float32)


def fill_gaps(means: np.ndarray) -> np.ndarray:
    """Means with those that are missing replaced by the median of the others."""
    gone = np.isnan(means)
    return np.where(gone, np.median(means[~gone]), means) if gone.any() else means


def cells(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trimmed means over square cells of about `size` pixels, and the rows and columns of the cells' middles."""
    down, across = (sections(n, max(1, round(n / size))) for n in image.shape)
    widths = {int(x1 - x0) for x0, x1 in across}
    grid = np.empty((len(down), len(across)))
    for k, (y0, y1) in enumerate(down):
        lines = np.full((len(across), y1 - y0, max(widths)), np.nan, np.float32)
        if len(widths) == 1:
            lines[...] = image[y0:y1].reshape(y1 - y0, -1, *widths).transpose(1, 0, 2)
        else:
            for line, (x0, x1) in zip(lines, across, strict=True):
                line[:, : x1 - x0] = image[y0:y1, x0:x1]
        grid[k] = trimmed_means(lines.reshape(len(lines), -1), CELL_TRIMMING)
    return fill_gaps(grid), *((np.array(ends).sum(axis=1) - 1) / 2 for ends in (down, across))


def between(grid: np.ndarray, at_y: np.ndarray, at_x: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` with the cubic spline through a grid, continued straight beyond its outermost nodes."""
    from scipy.interpolate import RectBivariateSpline  # takes 0.2 s, and few need it

    rows, cols = out.shape
    grid, at_y = extend_straight(grid, at_y, rows)
    grid, at_x = extend_straight(grid.T, at_x, cols)
    grid = grid.T
    spline = RectBivariateSpline(at_y, at_x, grid, kx=min(3, len(at_y) - 1), ky=min(3, len(at_x) - 1))
    for y in range(0, rows, BAND):
        out[y : y + BAND] = spline(np.arange(y, min(y + BAND, rows)), np.arange(cols))


def extend_straight(grid: np.ndarray, at: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A grid with one node more on the first and on the last pixel of an axis, on a straight line with its last two."""
    if len(at) == 1:
        return np.repeat(grid, 2, axis=0), np.array([0.0, max(1, size - 1)])
    if at[0] == 0:
        return grid, at
    first = grid[0] + (grid[0] - grid[1]) * at[0] / (at[1] - at[0])
    last = grid[-1] + (grid[-1] - grid[-2]) * (size - 1 - at[-1]) / (at[-1] - at[-2])
    return np.concatenate([first[None], grid, last[None]]), np.concatenate([[0.0], at, [size - 1.0]])
