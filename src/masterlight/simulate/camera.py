"""`Camera`: the sensor of a simulated night, its colour filters and its flaws, and how it is read out."""

import math
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from masterlight.core.workers import Once
from masterlight.simulate.kernels import STEP, expose
from masterlight.simulate.night import Night

KINDS = {"light": 2, "dark": 3, "flat": 4, "bias": 5, "flatdark": 6}
RESPONSE = {"": 1.0, "R": 0.30, "G": 0.40, "B": 0.28}
"""Share of white light that passes a pixel's own colour filter; '' has none."""
DOUBLING_C = 6.0
"""Degrees by which a sensor must warm up for twice the dark current (Kodak CCDs; Janesick 2001)."""
GLOW_POWER = 0.85
"""Amplifiers glow most right after the start: the charge grows with this power of the exposure."""
HOT, COLD, UNSTABLE, COLUMN = 1, 2, 4, 8


class Camera:
    """The sensor of a night: colour filters, bias, dark current, glow, flats and defects, known to the last pixel."""

    def __init__(self, night: Night):
        self.night = night
        self.letters = tuple("RGB") if night.pattern else ("",)
        side = math.isqrt(len(night.tile)) or 1
        self.tile = np.array([self.letters.index(c) for c in night.tile or [""]]).reshape(side, side)
        """Which of `letters` each pixel sees, (side, side), repeated over the sensor from pixel (0, 0) on."""
        self._flats = Once(kept=True)

    def mosaic(self, planes: Iterable[np.ndarray]) -> np.ndarray:
        """What the sensor sees of a colour image, one plane after the other: each pixel in its own colour."""
        side, out = len(self.tile), None
        for k, plane in enumerate(planes):
            if len(self.letters) == 1:
                return plane
            out = np.empty_like(plane) if out is None else out
            for y, x in np.argwhere(self.tile == k):
                out[y::side, x::side] = plane[y::side, x::side]
        return out

    def colour_at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Which of `letters` the pixels at rows y, columns x see, as numbers."""
        return self.tile[y % len(self.tile), x % len(self.tile)]

    @cached_property
    def bias_level_dn(self) -> np.ndarray:
        """Bias level of every pixel, overscan included, float32 DN: one row for all, or one for each row."""
        night = self.night
        pattern = night.rng(20).standard_normal(night.cols)
        pattern[::2] += 0.5
        level = np.full((night.rows if night.bias_pixels_dn else 1, night.frame_shape[1]), night.bias_dn, np.float32)
        level[:, : night.cols] = night.bias_dn + night.bias_columns_dn * pattern
        if night.bias_pixels_dn:
            own = night.rng(25).standard_normal(night.shape, np.float32)
            level[:, : night.cols] += np.float32(night.bias_pixels_dn) * own
        return level

    def bias_drift_dn(self, kind: str, index: int) -> float:
        """How much higher than usual the bias level of one frame is, DN."""
        drift = self.night.bias_drift_dn
        return drift * float(self.night.rng(16, KINDS[kind], index).standard_normal()) if drift else 0.0

    @cached_property
    def dark_e_s(self) -> np.ndarray:
        """Dark current of each pixel, `(rows, cols)` float32 electrons per second; flickering pixels at their mean."""
        night, rng = self.night, self.night.rng(21)
        rate = np.exp(0.35 * rng.standard_normal(night.shape, np.float32) - 0.06)
        rate *= np.float32(night.dark_e_s)
        hot = rng.choice(rate.size, round(night.hot_fraction * rate.size), replace=False)
        warm = 10 ** rng.uniform(-0.3, 1.7, hot.size)
        warm[: hot.size // 100] = 2 * night.saturation_dn * night.gain_e_per_dn / night.exposure_s
        rate.flat[hot] += warm
        for x, y0, y1, kind, strength in self.bad_columns:
            if kind == HOT:
                rate[y0:y1, x] += np.float32(strength * night.gain_e_per_dn / night.exposure_s)
        self._hot = hot
        return rate

    @property
    def hot(self) -> np.ndarray:
        """Flat indices of the hot pixels; columns not counted."""
        self.dark_e_s  # noqa: B018
        return self._hot

    @property
    def flickering(self) -> np.ndarray:
        """Flat indices of the hot pixels that are another height in every frame."""
        return self.hot[self.hot.size - self.hot.size // 20 :]

    @property
    def cold(self) -> np.ndarray:
        """Flat indices of the pixels with little response; columns not counted."""
        self.flat(self.night.filters[0])
        return self._cold

    @cached_property
    def bad_columns(self) -> list[tuple[int, int, int, int, float]]:
        """Defective columns: x, first row, row after the last, HOT or COLD, and DN in a light or response left.

        Every second one is only a part of its column.
        """
        night, rng = self.night, self.night.rng(24)
        made = []
        for k, x in enumerate(rng.choice(night.cols, min(night.bad_columns, night.cols), replace=False)):
            cut, below = int(rng.integers(night.rows // 4, 3 * night.rows // 4)), rng.uniform() < 0.5
            y0, y1 = (0, night.rows) if k % 2 == 0 else (0, cut) if below else (cut, night.rows)
            hot = k // 2 % 2 == 0
            strength = rng.uniform(200, 2000) if hot else rng.uniform(0.1, 0.6)
            made.append((int(x), y0, y1, HOT if hot else COLD, strength))
        return made

    @property
    def defects(self) -> np.ndarray:
        """The defects, `(rows, cols)` uint8: the sum of 1 hot, 2 little response, 4 flickering, 8 column."""
        mask = np.zeros(self.night.shape, np.uint8)
        for where, bit in ((self.hot, HOT), (self.cold, COLD), (self.flickering, UNSTABLE)):
            mask.flat[where] |= bit
        for x, y0, y1, kind, _ in self.bad_columns:
            mask[y0:y1, x] |= kind | COLUMN
        return mask

    @cached_property
    def glow(self) -> np.ndarray:
        """Shape of the amplifier glow, `(rows, cols)` float32, 1 at its brightest: a corner, and an edge beside it."""
        y, x = (np.arange(n, dtype=np.float32) / n for n in self.night.shape)
        corner = np.exp(-(((1 - x)[None, :] / 0.25) ** 2) - ((y - 0.05)[:, None] / 0.2) ** 2)
        edge = 0.25 * np.exp(-(1 - x) / 0.06)[None, :] * (0.5 + 0.5 * np.cos(np.pi * y))[:, None]
        return (corner + edge) / (corner + edge).max()

    def dark_charge_e(self, exposure_s: float, temperature_c: float) -> np.ndarray:
        """Charge without light, `(rows, cols)` float32 electrons: dark current at a temperature, and glow."""
        night = self.night
        charge = self.dark_e_s * np.float32(exposure_s * 2 ** ((temperature_c - night.temperature_c) / DOUBLING_C))
        if night.glow_dn:
            grown = (exposure_s / night.exposure_s) ** GLOW_POWER
            charge += np.float32(night.glow_dn * night.gain_e_per_dn * grown) * self.glow
        return charge

    def flat(self, filter: str) -> np.ndarray:
        """Vignetting, dust and response of the pixels: `(rows, cols)` float32, about 1 at the centre."""
        return self._flats(filter, lambda: self._make_flat(filter))

    def _make_flat(self, filter: str) -> np.ndarray:
        night, rng = self.night, self.night.rng(22)
        high, wide = night.shape
        y = ((np.arange(high, dtype=np.float32) - 0.52 * high) / np.hypot(high, wide) * 2)[:, None]
        x = ((np.arange(wide, dtype=np.float32) - 0.49 * wide) / np.hypot(high, wide) * 2)[None, :]
        r2 = x * x + y * y
        flat = 1 - np.float32(night.vignetting) * r2 * (0.6 + 0.4 * r2)
        flat *= 1 + np.float32(night.prnu) * np.clip(rng.standard_normal(night.shape, np.float32), -5, 5)
        self._cold = rng.choice(flat.size, round(night.hot_fraction * flat.size / 50), replace=False)
        flat.flat[self._cold] *= rng.uniform(0.2, 0.7, self._cold.size)
        for k in range(night.dust):
            seed = 0 if k % 2 else 1 + night.filters.index(filter)
            add_dust(flat, night.rng(23, seed, k))
        for x0, y0, y1, kind, left in self.bad_columns:
            if kind == COLD:
                flat[y0:y1, x0] *= np.float32(left)
        return flat

    def prepare(self) -> None:
        """Make what all frames share, before threads ask for it at the same time."""
        self.bias_level_dn, self.dark_e_s, self.bad_columns  # noqa: B018
        if self.night.glow_dn:
            self.glow  # noqa: B018
        for filter in self.night.filters:
            self.flat(filter)

    def read(self, kind: str, index: int, flat=None, light_e=None, smooth_e=None, rays=None) -> np.ndarray:
        """Expose and read out once: uint16 `(rows, cols)`, overscan included.

        flat (rows, cols); light_e (rows, cols) float32 electrons, each pixel in its own colour; smooth_e one grid for
        each of `letters`, electrons; rays: flat indices and electrons. What is left out is dark.
        """
        night = self.night
        dark_e = self.dark_charge_e(night.exposure_of(kind), night.temperature_of(kind))
        swing = night.rng(14, KINDS[kind], index).uniform(0.1, 1.9, self.flickering.size)
        dark_e.flat[self.flickering] *= swing
        if rays is not None:
            dark_e.flat[rays[0]] += rays[1]
        drift, lsb_dn = np.float32(self.bias_drift_dn(kind, index)), float(2**night.bit_shift)
        level_dn = self.bias_level_dn + drift if drift else self.bias_level_dn
        light_e = np.zeros(night.shape, np.float32) if light_e is None else light_e
        smooth_e = np.zeros((len(self.letters), *grid_shape(night.shape))) if smooth_e is None else smooth_e
        steps = night.read_noise_e, night.gain_e_per_dn, lsb_dn, math.floor(night.saturation_dn / lsb_dn) * lsb_dn
        key, out = night.rng(15, KINDS[kind], index).integers(2**63), np.empty(night.frame_shape, np.uint16)
        flat = dark_e if flat is None else flat
        expose(light_e, smooth_e, self.tile, flat, dark_e, level_dn, *steps, np.uint64(key), out)
        return out


def grid_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Nodes of a smooth background over a frame of this shape."""
    return shape[0] // STEP + 4, shape[1] // STEP + 4


def add_dust(flat: np.ndarray, rng: np.random.Generator) -> None:
    """Darken a flat by the ring-shaped shadow of one dust mote."""
    rows, cols = flat.shape
    x0, y0 = rng.uniform(0, cols), rng.uniform(0, rows)
    radius, depth, hole = rng.uniform(12, 45), rng.uniform(0.02, 0.1), rng.uniform(0.3, 0.5)
    ya, yb = max(0, int(y0 - radius - 12)), min(rows, int(y0 + radius + 12))
    xa, xb = max(0, int(x0 - radius - 12)), min(cols, int(x0 + radius + 12))
    y, x = np.ogrid[ya:yb, xa:xb]
    r = np.hypot(y - y0, x - x0)
    ring = 1 / (1 + np.exp((r - radius) / 1.5)) - 0.6 / (1 + np.exp((r - hole * radius) / 1.5))
    flat[ya:yb, xa:xb] *= (1 - depth * ring).astype(np.float32)
