"""One tile of a drizzled image: which source pixels fall on it, where, and with what value, weight and variance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates, maximum_filter1d, minimum_filter1d

from masterlight.alignment.transform import each_of
from masterlight.core.frame import Frame, naming
from masterlight.drizzle.drizzle import DrizzleIntegration
from masterlight.drizzle.fall import Places, Way, Window, lattices, layers_of, reach_px
from masterlight.integration.roster.field import Noise
from masterlight.integration.roster.terms import Terms
from masterlight.integration.stack import HIGH, LARGE, LOW, RANGE, Verdicts

CHUNK = 2**19
"""Source pixels of one frame that are in memory at once."""
SLIVER = 1e-6
"""Overlaps of a smaller part of a drop are rounding errors of the library, which would fill holes with noise."""
PROBE_DN = 65536.0


def frame_weights(settings: DrizzleIntegration, terms: Terms) -> np.ndarray:
    """What each frame counts for, the best of them 1; 0 for all where the terms have no weight at all."""
    weights = np.asarray(terms.weights, float) if settings.weighting else np.ones(len(terms.weights))
    return weights / (weights.max() or 1.0)


class Drops(NamedTuple):
    """One tile of the result: planes (planes, h, w), tallies (5, planes, N), holes (2, planes).

    Tallies are, of the pixels whose centre falls on the tile, how many there are and how many were rejected low, high
    and with larger structures; and how much of the frame fell on the tile, in pixels. Holes are empty pixels in the
    field, and the field.
    """

    image: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    coverage: np.ndarray
    tallies: np.ndarray
    holes: np.ndarray


class Sums:
    """What has fallen on a window so far; each frame is laid by the library on its own and then added here.

    So a thousand frames are summed in double precision, slivers are dropped, and frames can be counted.
    """

    def __init__(self, planes: int, rows: int, cols: int):
        self.value, self.weight, self.variance = (np.zeros((planes, rows, cols)) for _ in range(3))
        self.coverage = np.zeros((planes, rows, cols), np.uint16)

    def add(self, plane: int, laid, sliver: float) -> None:
        mean, weight, variance = laid.out_img, laid.out_wht, laid.out_img2[0]
        weight[np.abs(weight) < sliver] = 0
        mean *= weight
        variance *= weight
        variance *= weight
        self.value[plane] += mean
        self.weight[plane] += weight
        self.variance[plane] += variance
        self.coverage[plane] += weight != 0


@dataclass(frozen=True, eq=False)
class Tile:
    """The task of one tile of the result: drop all frames on it, in their order."""

    settings: DrizzleIntegration
    frames: tuple[Frame, ...]
    transforms: tuple
    reference: tuple[int, int]
    terms: tuple[Terms, ...]
    verdicts: Verdicts | None = None
    local: Sequence | None = None
    noise: Noise | None = None

    @cached_property
    def layers(self) -> list[list[tuple[int, int, Places]]]:
        return [layers_of(frame, self.settings.cfa) for frame in self.frames]

    @cached_property
    def ways(self) -> list[list[Way]]:
        """How the planes of each frame come to the output."""
        out, planes = [], len(self.terms)
        for frame, transforms in zip(self.frames, map(each_of, self.transforms), strict=True):
            own = [Way.of(t, self.settings.scale, frame.shape[-2:]) for t in transforms]
            out.append(own * (planes // len(own)))
        return out

    @cached_property
    def pixel(self) -> list[float]:
        """Size of a source pixel of each frame, in output pixels."""
        sizes = []
        for frame, ways in zip(self.frames, self.ways, strict=True):
            rows, cols = frame.shape[-2:]
            a, b, c, d = ways[0].positions((rows / 2, rows / 2 + 1), (cols / 2, cols / 2 + 1)).reshape(4, 2)
            sizes.append(float(np.sqrt(abs(np.linalg.det([b - a, c - a])))))
        return sizes

    @cached_property
    def gap(self) -> int:
        """Holes narrower than this are holes; what is wider lies outside of the field. Odd, output pixels."""
        periods = [layers[0][2].period for layers in self.layers]
        return 2 * ceil(max(n * pixel for n, pixel in zip(periods, self.pixel, strict=True))) + 1

    @cached_property
    def margin(self) -> int:
        """Output pixels around a tile that are made with it: the library takes drops whose centre lies inside."""
        s = self.settings
        return ceil(max(reach_px(s.kernel, s.drop_shrink, p) + 2 * p for p in self.pixel)) + self.gap

    def megabytes(self, tile: tuple[int, int]) -> float:
        """What one task takes in memory."""
        window = (tile[0] + 2 * self.margin) * (tile[1] + 2 * self.margin)
        source = min(CHUNK, window / min(self.pixel) ** 2)
        planes = len(self.terms)
        return (window * (43 * planes + 20) + source * (64 + 4 * planes)) / 1e6

    def __call__(self, box) -> Drops:
        y0, y1, x0, x1 = box
        m = self.margin
        window = Window(y0 - m, x0 - m, y1 - y0 + 2 * m, x1 - x0 + 2 * m, m)
        sums = Sums(len(self.terms), window.rows, window.cols)
        tallies = np.zeros((5, len(self.terms), len(self.frames)))
        weights = [frame_weights(self.settings, t) for t in self.terms]
        for i in range(len(self.frames)):
            layers = self.lay_frame(i, window, [float(w[i]) for w in weights], tallies[..., i])
            for plane, frame_on_tile in layers.items():
                sums.add(plane, frame_on_tile, SLIVER * weights[plane][i])
                tallies[4, plane, i] += frame_on_tile.out_wht[window.core].sum(dtype=float) / weights[plane][i]
        return self.result(sums, window, tallies)

    def result(self, sums: Sums, window: Window, tallies: np.ndarray) -> Drops:
        """Means of a full window, without its margin, plane by plane to save memory."""
        planes = len(self.terms)
        shape = (planes, window.rows - 2 * window.margin, window.cols - 2 * window.margin)
        kernel, shrink = self.settings.kernel, self.settings.drop_shrink
        area_px = 1.0 if kernel in ("point", "lanczos2", "lanczos3") else shrink**2  # of a drop, as weights count it
        image, variance, area = (np.full(shape, nothing, np.float32) for nothing in (np.nan, np.nan, 0))
        coverage, holes = np.zeros(shape, np.uint16), np.empty((2, planes), np.int64)
        for plane in range(planes):
            weight, count = sums.weight[plane][window.core], sums.coverage[plane][window.core]
            there = (weight > SLIVER) & (count > 0)
            np.divide(sums.value[plane][window.core], weight, out=image[plane], where=there, casting="same_kind")
            weight2 = np.square(weight)
            np.divide(sums.variance[plane][window.core], weight2, out=variance[plane], where=there, casting="same_kind")
            np.multiply(weight, area_px, out=area[plane], where=there, casting="same_kind")
            np.copyto(coverage[plane], count, where=there)
            holes[:, plane] = holes_in(sums.coverage[plane] > 0, self.gap, window.core)
        return Drops(image, variance, area, coverage, tallies, holes)

    def lay_frame(self, i: int, window: Window, weights: list[float], tallies: np.ndarray) -> dict:
        """Frame `i` on a window, alone: the library's `Drizzle` of each plane; `tallies` (5, planes) are added to."""
        frame = self.frames[i]
        layers = [layer for layer in self.layers[i] if weights[layer[0]] > 0]
        laid = {}
        for core in self.chunks(i, window) if layers else ():
            pixels = pad_box(frame, core, layers[0][2].period)
            for plane, of_frame, of_colour in layers:
                if plane not in laid:
                    laid[plane] = empty_drizzle(self.settings.kernel, window)
                for values, at in lattices(pixels[of_frame], core, of_colour, self.ways[i][plane], window):
                    good = np.isfinite(values)
                    self.judge(i, plane, at, window, good, tallies[:, plane])
                    value, variance = self.normalize(i, plane, values, at, window)
                    self.drop(laid[plane], i, at, good, (value, variance, np.float32(weights[plane])))
        return laid

    def drop(self, onto, i: int, at, good, numbers) -> None:
        """Hand the good pixels of one colour of a frame, which lie at (h, w, 2) in the window, to the library.

        numbers: value, variance and weight. The library sees every so many-th pixel of a mosaic, as far as its colours
        repeat, and of such a lattice the drop is that much smaller a part.
        """
        s = self.settings
        shrink = {"square": s.drop_shrink / self.layers[i][0][2].period, "lanczos2": 1.0, "lanczos3": 1.0}
        value, variance, weight = (np.where(good, a, np.float32(0)) for a in numbers)
        how = {"pixfrac": shrink.get(s.kernel, s.drop_shrink), "pixel_scale_ratio": 1 / self.pixel[i]}
        onto.add_image(value, exptime=1.0, pixmap=at, data2=variance, weight_map=weight, **how)

    def judge(self, i: int, plane: int, at, window: Window, good: np.ndarray, tallies: np.ndarray) -> None:
        """Take the rejected pixels out of `good`, by the reference pixel on which the centre of each falls; count."""
        mine = good & window.in_core(at)
        tallies[0] += mine.sum()
        if self.verdicts is None or not self.settings.rejection:
            return
        x, y = (np.floor((at[..., k] + start + 0.5) / self.settings.scale) for k, start in window.starts)
        left, right = max(0, int(x.min())), min(self.reference[1], int(x.max()) + 1)
        top, bottom = max(0, int(y.min())), min(self.reference[0], int(y.max()) + 1)
        if left >= right or top >= bottom:
            return
        mask = verdicts_in(self.verdicts, i, plane, (top, bottom, left, right))
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        verdict = np.zeros(good.shape, np.uint8)
        verdict[inside] = mask[y[inside].astype(np.intp) - top, x[inside].astype(np.intp) - left]
        for row, kind in ((1, LOW), (2, HIGH), (3, LARGE)):
            tallies[row] += (mine & (verdict == kind)).sum()
        good &= verdict == 0

    def normalize(self, i: int, plane: int, values, at, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and their variance on the scale of the reference, float32.

        Variance is that of the background there, and of the photons above it where that is known.
        """
        terms = self.terms[plane]
        noise, photon = (float(a[i]) for a in (terms.source_noise_dn**2, terms.source_photon))
        model = self.local[i] if self.local is not None and self.settings.local_normalization else None
        if model is None:
            scale, offset, gain = float(terms.out_scale[i]), float(terms.out_offset[i]), 1.0
        else:
            scale, offset = self.local_terms(model, plane, at, window)
            gain = scale / model.scale[plane]
            if model.before:
                scale, offset = (terms.out_scale[i] * part for part in (scale, offset))
                offset = offset + terms.out_offset[i]
        value = (values * scale + offset).astype(np.float32)
        over, flat, zero = self.noise_at(plane, at, window)
        variance = noise * gain**2 * over
        if photon > 0:
            variance = np.maximum(variance + photon * gain * flat * (value - zero), variance / 4)
        return value, np.broadcast_to(np.asarray(variance, np.float32), value.shape)

    def noise_at(self, plane: int, at, window: Window) -> tuple:
        """Times the usual variance, factor of the flat, and level of the sky at positions in the window."""
        background_dn = self.terms[plane].background_dn
        if self.noise is None:
            return 1.0, 1.0, background_dn
        rows, cols = self.reference
        pixels = (np.floor((at[..., k] + start + 0.5) / self.settings.scale) for k, start in window.starts)
        x, y = (np.clip(p, 0, n - 1).astype(np.intp) for p, n in zip(pixels, (cols, rows), strict=True))
        top, left = int(y.min()), int(x.min())
        found = self.noise.box(plane, top, int(y.max()) + 1, left, int(x.max()) + 1)
        over, flat, zero = (v[y - top, x - left] if isinstance(v, np.ndarray) else v for v in found)
        return over, flat, background_dn if zero is None else zero

    def local_terms(self, model, plane: int, at, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset of a local model at positions in the window, linear between pixels of the reference."""
        rows, cols = self.reference
        x, y = ((at[..., k] + start + 0.5) / self.settings.scale - 0.5 for k, start in window.starts)
        x, y = np.clip(x, 0, cols - 1), np.clip(y, 0, rows - 1)
        left, top = int(x.min()), int(y.min())
        size = (min(int(y.max()) + 2, rows) - top, min(int(x.max()) + 2, cols) - left)
        shape = (len(self.terms), *size) if len(self.terms) > 1 else size
        probes = [np.full(shape, level, np.float32) for level in (0.0, PROBE_DN)]
        for probe in probes:
            model.apply(probe, top, left)
        at, dark_and_bright = (y - top, x - left), [p[plane] if p.ndim == 3 else p for p in probes]
        dark, bright = (map_coordinates(p, at, float, order=1, mode="nearest") for p in dark_and_bright)
        return (bright - dark) / PROBE_DN, dark

    def chunks(self, i: int, window: Window) -> Iterator[tuple[int, int, int, int]]:
        """Bounds (top, bottom, left, right) of source pixels that can touch a window, in pieces of whole patterns."""
        (rows, cols), n = self.frames[i].shape[-2:], self.layers[i][0][2].period
        transforms = each_of(self.transforms[i])
        steps = (0, 1) if all(t.bend is None for t in transforms) else np.linspace(0, 1, 9)  # a bent box has no corners
        edges = np.array([(x * window.cols, y * window.rows) for x in steps for y in steps]) + (window.x0, window.y0)
        spread = np.concatenate([t((edges + 0.5) / self.settings.scale - 0.5) for t in transforms])
        left, top = np.maximum(np.floor(spread.min(axis=0)).astype(int) - 1, 0) // n * n
        right, bottom = -(-np.minimum(np.ceil(spread.max(axis=0)).astype(int) + 2, (cols, rows)) // n) * n
        if left >= right or top >= bottom:
            return
        height = max(1, CHUNK // int(right - left) // n) * n
        for y in range(int(top), int(bottom), height):
            yield y, min(y + height, int(bottom)), int(left), int(right)


def verdicts_in(verdicts: Verdicts, i: int, plane: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """The verdicts on a box of the reference, uint8: LOW, HIGH, RANGE or LARGE, the last first; 0 where kept."""
    top, bottom, left, right = box
    out = np.zeros((bottom - top) * (right - left), np.uint8)
    for kind in (LOW, HIGH, RANGE, LARGE):
        out[verdicts.within(i, plane, kind, box)] = kind
    return out.reshape(bottom - top, right - left)


def pad_box(frame: Frame, core: tuple[int, int, int, int], n: int) -> np.ndarray:
    """A box of a frame with `n` missing pixels around it: (planes, h + 2 n, w + 2 n), NaN where missing or defective.

    The library finds the corners of drops between the positions of neighbours, so every drop needs some.
    """
    top, bottom, left, right = core
    rows, cols = frame.shape[-2:]
    y1, x1 = min(bottom, rows), min(right, cols)
    with naming(frame):
        pixels, defective = frame.pixels_and_defective(top, y1, left, x1)
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    out = np.full((len(pixels), bottom - top + 2 * n, right - left + 2 * n), np.nan, np.float32)
    inner = out[:, n : n + y1 - top, n : n + x1 - left]
    inner[...] = pixels
    if defective is not None:
        inner[:, np.asarray(defective) != 0] = np.nan
    return out


def empty_drizzle(kernel: str, window: Window):
    """A `Drizzle` of the library on which nothing has fallen."""
    from drizzle.resample import Drizzle

    image, weight, variance = (np.zeros((window.rows, window.cols), np.float32) for _ in range(3))
    return Drizzle(kernel=kernel, out_img=image, out_wht=weight, out_img2=variance, disable_ctx=True)


def holes_in(covered: np.ndarray, gap: int, core) -> tuple[int, int]:
    """How many pixels of the core are holes narrower than `gap`, and how many belong to the field with its holes."""
    if covered.all():
        return 0, covered[core].size
    field = covered.view(np.uint8)
    for filtered in (maximum_filter1d, minimum_filter1d):
        for axis in (0, 1):
            field = filtered(field, gap, axis=axis, mode="constant", cval=filtered is minimum_filter1d)
    return int((field[core] > covered[core]).sum()), int(field[core].sum())
