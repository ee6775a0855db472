"""The sky of a frame as its pixels tell it: level, spread, noise, what else is asked of it."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import uniform_filter

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.geometry import period
from masterlight.core.statistics.cells import STARS_SIGMA, fill_cells, grid_of, sky_cells
from masterlight.core.statistics.noise import noise_and_free, sample, two_sided_scale
from masterlight.core.statistics.rounding import dither, spread_of, step_between
from masterlight.core.statistics.scale import background_fluctuation, deviation, noise_sides
from masterlight.subframes.measurement import FLUCTUATION_FIELDS, Measurement

BAND_PIXELS = 1 << 21
"""Pixels in memory at once while the background of a whole frame is looked at."""
HEADER_FIELDS = ("exposure_s", "gain_e_per_dn", "read_noise_e", "altitude_deg", "azimuth_deg", "air_mass")
FLUCTUATION_PX = 4
"""Fluctuations of the background are told by every so-many-th pixel, in both directions."""
CELL_PX, AROUND_PX = 256, 7
"""Plain sky is told in cells of so many columns, by the mean of a square of this side around each pixel."""


def measure_sky(source: str, meta: Meta, boxes: Sequence[np.ndarray], saturation_dn=None) -> Measurement | Rejected:
    """Level, spread and noise of one colour, the mean of its (rows, cols) planes, or why it is not usable.

    The planes are as the sensor gave them, neighbours of one colour with noise of their own: it is told by what is left
    of them without structure (`core.statistics.noise.noise_and_free`).
    """
    height, width = np.min([box.shape for box in boxes], axis=0)
    boxes = [box[:height, :width] for box in boxes]  # of a mosaic of odd size some places have a row or column more
    rows = []
    for box in boxes:
        row = sky_of_plane(np.ascontiguousarray(box), saturation_dn)
        if isinstance(row, str):
            return Rejected(source, "measure", row)
        rows.append(row)
    *numbers, free = zip(*rows, strict=True)
    location, low, high, noise, fraction, saturated, missing = (float(np.mean(v)) for v in numbers)
    shares = {"noise_fraction": fraction, "saturated_fraction": saturated, "missing_fraction": missing}
    shares["free"] = np.mean(free, axis=0)
    shares["step_dn"] = max(map(step_between, boxes))
    own = {**header_fields(meta), **shares, "sky_dn": mesh_of_boxes(boxes, shares["step_dn"])}
    return Measurement(source, location, (low, high), noise, **own)


def sky_of_plane(image: np.ndarray, saturation_dn: float | None) -> tuple | str:
    """(location, scale below, above, noise, share of the pixels that tells it, shares saturated and missing, and the
    first of them in cells), or the reason why it is not usable."""
    values, missing = sample(image)
    if missing > 0.7:
        return f"{100 * missing:.0f} % of its pixels are missing"
    location, low, high = two_sided_scale(values)
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest and saturation_dn and lowest > 0.9 * saturation_dn:
        return f"every pixel is {lowest:g} DN, as much as there can be: overexposed"
    if lowest == highest:
        return "every pixel is zero: an empty frame" if lowest == 0 else f"every pixel is {lowest:g} DN: an empty frame"
    if saturation_dn and location > 0.9 * saturation_dn:
        return f"its median {location:.5g} DN is above 90 % of saturation ({saturation_dn:.5g} DN): overexposed"
    if location == highest:
        return f"half of its pixels are at its highest value {highest:.5g} DN: overexposed"
    if location == 0 and low == 0 and np.count_nonzero(values) < 0.05 * values.size:
        return "nearly every pixel is zero: an empty frame"
    ceiling = 0.99 * saturation_dn if saturation_dn else np.inf
    noise, fraction, free = noise_and_free(image, ceiling)
    if not noise > 0:
        return "its noise is 0: too coarsely quantised, or smoothed already; give the frame as it was taken"
    return location, low, high, noise, fraction, float(np.mean(values >= ceiling)), missing, free


def sky_of_mean(planes: Sequence[Measurement]) -> Measurement:
    """The sky of the mean of planes whose noise is independent."""

    means = ((name, [getattr(p, name) for p in planes]) for name in ("location_dn", "saturated_fraction"))
    spreads = zip(*((*p.scale_dn, p.noise_dn) for p in planes), strict=True)
    low, high, noise = (float(np.sqrt(np.sum([value**2 for value in s]))) / len(planes) for s in spreads)
    return replace(planes[0], scale_dn=(low, high), noise_dn=noise, **{name: float(np.mean(v)) for name, v in means})


def header_fields(meta: Meta) -> dict[str, float | None]:
    """What a Measurement holds of a frame's header."""
    return {name: getattr(meta, name) for name in HEADER_FIELDS}


def sky_fields(values: np.ndarray, wanted: Collection[str]) -> dict[str, float]:
    """Those optional fields that a sample of pixels tells."""
    made = {
        "mean_dn": lambda: np.mean(values, dtype=np.float64),
        "mean_deviation_dn": lambda: spread_of(values, about_mean_deviation)[1][0],
        "noise_scale_dn": lambda: np.mean(noise_sides(values)),
        "zero_fraction": lambda: np.mean(values == 0),
    }
    return {name: float(compute()) for name, compute in made.items() if name in wanted}


def about_mean_deviation(values: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Median, and mean distance from it."""
    centre = np.median(values)
    return float(centre), 2 * (float(np.mean(np.abs(values - centre), dtype=np.float64)),)


def asked_of_sky(box: np.ndarray, colours: int, wanted: Collection[str]) -> dict[str, float]:
    """Those of `SKY_FIELDS` that are wanted, of a plane (rows, cols) that is every `colours`th pixel of its frame."""
    asked = sky_fields(sample(np.ascontiguousarray(box))[0], wanted)
    if set(wanted) & set(FLUCTUATION_FIELDS):
        step = max(1, FLUCTUATION_PX // colours)
        told = zip(FLUCTUATION_FIELDS, background_fluctuation(box[::step, ::step]), strict=True)
        asked |= {name: float(value) for name, value in told if name in wanted}
    return asked


def fluctuations(frame: Frame) -> list[tuple[float, float]]:
    """M* and N* of each plane, from every fourth row and column: one colour of a mosaic."""
    rows, cols = frame.shape[-2:]
    step = 6 if period(frame.meta.pattern) == 6 else FLUCTUATION_PX
    height = step * max(1, BAND_PIXELS // cols // step)
    bands = [frame.pixels(y, min(y + height, rows), 0, cols)[..., ::step, ::step] for y in range(0, rows, height)]
    sparse = np.concatenate(bands, axis=-2)
    return [background_fluctuation(plane) for plane in (sparse if sparse.ndim == 3 else sparse[None])]


def mesh_of_boxes(boxes: Sequence[np.ndarray], step: float) -> np.ndarray | None:
    """The sky of one colour in coarse cells: the mean of its first two planes, which tell enough; see `sky_cells`."""
    meshes = [sky_cells(np.ascontiguousarray(box), step) for box in boxes[:2]]
    return None if meshes[0] is None else np.mean(meshes, axis=0)


def mesh_of_strips(parts: Sequence[np.ndarray], shape: tuple[int, ...], step: float) -> np.ndarray | None:
    """The sky of a plane of this shape in coarse cells, from strips of whole rows (h, cols) evenly spread over it.

    Strips that tell no more than a few hundred pixels a cell do for gradients and for clouds.
    """
    across = grid_of(shape)[1]
    if not across or len(parts) < 2:
        return sky_cells(np.ascontiguousarray(parts[0]), step) if across else None
    strips = [np.ascontiguousarray(part + dither(part.shape, step) if step else part) for part in parts]
    out = np.empty((len(parts), across), np.float32)
    for strip, row in zip(strips, out, strict=True):
        fill_cells(strip, 1, STARS_SIGMA, row[None])
    return out


def gradient(level):
    """Highest minus lowest corner of the plane through the sky mesh, DN."""
    y, x = np.mgrid[-1 : 1 : level.shape[0] * 1j, -1 : 1 : level.shape[1] * 1j]
    design = np.stack([np.ones(level.size), x.ravel(), y.ravel()], axis=-1)
    _, a, b = np.linalg.lstsq(design, level.ravel().astype(float), rcond=None)[0]
    return float(2.0 * (abs(a) + abs(b)))


def noise_of_steps(strips: list[np.ndarray], apart: int, sloping: bool = False) -> float:
    """Noise as the differences of pixels so many columns apart show it; about their median where the sky is `sloping`.

    Pixels whose surroundings stand above the sky are left out: stars would count as noise.
    """
    found = []
    for strip in strips:
        dark = sky_pixels(strip)
        step = strip[:, apart:] - strip[:, :-apart]
        found.append(step[dark[:, apart:] & dark[:, :-apart] & np.isfinite(step)])
    steps = np.concatenate(found)
    return 1.4826 / 2**0.5 * deviation(steps, None if sloping else 0.0) if steps.size else 0.0


def sky_pixels(strip: np.ndarray) -> np.ndarray:
    """Which pixels of a strip (h, cols) lie in plain sky: the mean of their surroundings is as low as that of most."""
    rows, cols = strip.shape
    width = cols // max(1, cols // CELL_PX)
    cells = -(-cols // width)
    there = np.isfinite(strip)
    padded = np.full((rows, cells * width), np.nan, np.float32)
    padded[:, :cols] = np.where(there, strip, np.nan)
    level = by_cell(padded, cells)
    raised = np.nan_to_num(padded - np.repeat(level, width))[:, :cols]
    padded[:, :cols] = uniform_filter(raised, AROUND_PX)
    usual = by_cell(padded, cells)
    padded[:] -= np.repeat(usual, width)
    spread = by_cell(np.where(padded <= 0, -padded, np.nan), cells)
    return (padded <= 2 * 1.4826 * np.repeat(spread, width))[:, :cols] & there


def by_cell(strip: np.ndarray, cells: int) -> np.ndarray:
    """Median of what is not missing in each of so many cells along a strip (h, cells * width), (cells,) float32."""
    values = np.sort(strip.reshape(len(strip), cells, -1).swapaxes(0, 1).reshape(cells, -1), axis=1)
    count = np.maximum(np.isfinite(values).sum(axis=1), 1)
    row = np.arange(cells)
    return 0.5 * (values[row, (count - 1) // 2] + values[row, count // 2])
