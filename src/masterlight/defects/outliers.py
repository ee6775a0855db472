"""Pixels that stand out of their surroundings, and the defects that a master dark shows by them."""

from collections.abc import Iterator

import numpy as np

from masterlight.calibration.kernels import excesses
from masterlight.core.errors import FrameError
from masterlight.core.frame import COLD, HOT, Frame
from masterlight.core.headers.geometry import period
from masterlight.core.statistics.mesh import mesh
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.kernels import outside
from masterlight.defects.lists import Defects, pattern_for

SQUARE = 3
"""A pixel is compared with the median of the square that reaches so far around it."""
RESPONSE = 0.05
"""Good pixels of a sensor answer to light alike within this part."""
ALIKE = np.zeros((1, 1), np.int64)


def defects_of_dark(process: CosmeticCorrection, dark: Frame) -> Defects:
    """The defects of a master dark by the thresholds of the process; more than `max_fraction` are told in the notes."""
    image = np.asarray(dark, np.float32)
    if image.ndim != 2:
        raise FrameError(dark.source, "a master dark of one plane is needed to find defective pixels")
    ends = ends_of(process, image)
    by_sigma = process.hot if ends[1] is None else None, process.cold if ends[0] is None else None
    pitch = period(pattern_for(dark, process.cfa))
    y, x, departure, sigma = outliers(image, *by_sigma, pitch)
    high, low = (by_sigma[0] or np.inf), -(by_sigma[1] or np.inf)
    z = np.where(np.abs(departure) < process.min_excess_dn, 0.0, departure / sigma)
    kinds = np.where(z > high, HOT, np.where((z < low) | ~np.isfinite(z), COLD, 0))
    strength = np.where(np.isfinite(z), np.abs(z), np.inf)
    if ends != (None, None):
        low_dn, high_dn = (usual if end is None else end for end, usual in zip(ends, (-np.inf, np.inf), strict=True))
        y2, x2 = np.nonzero((image >= high_dn) | (image <= low_dn))
        y, x = np.append(y, y2), np.append(x, x2)
        kinds = np.append(kinds, np.where(image[y2, x2] >= high_dn, HOT, COLD))
        strength = np.append(strength, np.abs(image[y2, x2] - np.nanmedian(image)))
    order = np.flatnonzero(kinds)
    limit, notes = max(1, int(process.max_fraction * image.size)), ()
    if order.size > limit:
        share = f"{100 * order.size / image.size:.2g} % of it"
        allowed = f"more than CosmeticCorrection.max_fraction allows ({100 * process.max_fraction:g} %)"
        words = (
            f"{order.size} pixels of {dark.source} stand out, {share} and {allowed}: the strongest {limit} were taken"
        )
        notes = (f"{words}. The threshold is low, or the sensor was warm",)
        order = order[np.argsort(-strength[order], kind="stable")[:limit]]
    mask = np.zeros(image.shape, np.uint8)
    mask[y[order], x[order]] = kinds[order]
    return Defects.of(mask, dark.source, dark.meta, notes)


def hot_in_flat(process: CosmeticCorrection, flat: Frame) -> Defects:
    """Pixels that are hot in a master flat of which no dark was taken out: bright in it whatever the light.

    Dividing by them makes dark pixels of the lights. They stand above their surroundings by `hot` sigma, and by more
    than pixels differ in how they answer to light. None where more than `max_fraction` do: that is structure.
    """
    image = np.asarray(flat, np.float32)
    mask, limit = np.zeros(image.shape[-2:], np.uint8), process.hot
    if image.ndim == 2 and limit is not None:
        y, x, away, sigma = outliers(image, limit, None, period(pattern_for(flat, process.cfa)))
        hot = (away > limit * sigma) & (away > RESPONSE * (image[y, x] - away))
        if np.count_nonzero(hot) <= process.max_fraction * image.size:
            mask[y[hot], x[hot]] = HOT
    return Defects.of(mask, flat.source, flat.meta)


def ends_of(process: CosmeticCorrection, image: np.ndarray) -> tuple[float | None, float | None]:
    """The levels, DN, at which a pixel of the dark is cold and hot by level or by number; None where by sigma."""
    low, high = process.cold_dn, process.hot_dn
    if process.hot_count is not None or process.cold_count is not None:
        values = image[np.isfinite(image)]
        high = high if process.hot_count is None else highest_level(values, process.hot_count)
        low = low if process.cold_count is None else -highest_level(-values, process.cold_count)
    return low, high


def highest_level(values: np.ndarray, count: int) -> float:
    """The highest level at or above which there are `count` of the finite values, or more when several are equal."""
    if not count or not values.size:
        return float("inf")
    at = max(0, values.size - count)
    return float(np.partition(values, at)[at])


def places_of(image: np.ndarray, pitch: int) -> Iterator[tuple[int, int, np.ndarray, np.ndarray, float]]:
    """Each place of a pattern of so many pixels as an image of its own: row, column, image, background mesh, sigma."""
    for dy, dx in np.ndindex(min(pitch, image.shape[0]), min(pitch, image.shape[1])):
        plane = np.ascontiguousarray(image[dy::pitch, dx::pitch])
        level, noise = mesh(plane)
        yield dy, dx, plane, level, float(np.median(noise)) or float(np.nanstd(plane)) or 1.0


def outliers(image: np.ndarray, high: float | None, low: float | None, pitch: int = 1):
    """Pixels that depart from the background of a frame: rows, columns, departure from their square and sigma, DN.

    high, low: how many sigma above and below the background a pixel must be to be looked at; None for none.
    With a pitch above 1 every place of a pattern of so many pixels is an image of its own. NaN pixels are among them.
    """
    found = []
    for dy, dx, plane, level, sigma in places_of(image, pitch):
        y, x = outside(plane, level, -(low or np.inf) * sigma, (high or np.inf) * sigma)
        away = excesses(plane, 0, y, x, ALIKE, SQUARE)
        found.append((y * pitch + dy, x * pitch + dx, away, np.full(y.size, sigma)))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))
