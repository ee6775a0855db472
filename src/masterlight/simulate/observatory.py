"""`Observatory`: the sky and the camera of a night, and the frames that come out of it."""

import math
from functools import cached_property

import numpy as np
from scipy import ndimage

from masterlight.kernels.synthesis import STEP, expose, render_stars
from masterlight.simulate.night import Night, Pointing, pointings

FLOOR_E = 0.02
"""Surface brightness at which a star ends, electrons per pixel."""
KNOT_PX = 32
"""Pixels between two knots of the spline that is the nebula."""
COLOUR = {"R": 0.12, "B": -0.12}
KINDS = {"light": 2, "dark": 3, "flat": 4, "bias": 5, "flatdark": 6}


class Observatory:
    """A night that can be photographed: every frame by its kind and number, in memory, as uint16 `(rows, cols)`."""

    def __init__(self, night: Night):
        self.night = night
        self.pointings = pointings(night)
        self._flats: dict[str, np.ndarray] = {}

    # ---- the sky

    @cached_property
    def catalogue(self) -> dict[str, np.ndarray]:
        """The stars: x, y in pixels of light 0, flux_e in a clear filter above the air, colour; brightest first."""
        night, rng = self.night, self.night.rng(10)
        margin = 2.5 * night.dither_px + 0.06 * night.rotation_deg * max(night.shape) + 30
        high, wide = night.rows + 2 * margin, night.cols + 2 * margin
        density = 1e-3 if night.stars is None else night.stars / (night.rows * night.cols)
        n = round(density * high * wide)
        faintest = night.faintest_dn * night.gain_e_per_dn
        flux = np.minimum(faintest * rng.uniform(size=n) ** (-1 / 0.8), 2e4 * faintest)
        order = np.argsort(-flux)
        return {
            "x": rng.uniform(-margin, night.cols - 1 + margin, n)[order],
            "y": rng.uniform(-margin, night.rows - 1 + margin, n)[order],
            "flux_e": flux[order],
            "colour": rng.standard_normal(n)[order],
        }

    def flux_e(self, filter: str) -> np.ndarray:
        """Total flux of every star through a filter, electrons in one light, above the air."""
        tint = np.exp(COLOUR.get(filter, 0.0) * self.catalogue["colour"])
        return self.catalogue["flux_e"] * self.night.throughput(filter) * tint

    @cached_property
    def nebula_knots(self) -> np.ndarray:
        """Spline coefficients of the nebula, peak 1; knot [k, l] lies at x = (l - 8) KNOT_PX, y = (k - 8) KNOT_PX."""
        night, rng = self.night, self.night.rng(11)
        shape = tuple(n // KNOT_PX + 18 for n in night.shape)
        fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]
        frequency = np.hypot(fy, fx)
        frequency[0, 0] = 1.0
        waves = [np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * frequency**-1.6).real for _ in range(2)]
        cloud, lane = ((w - w.mean()) / w.std() for w in waves)
        y, x = (np.arange(n)[:, None] / n - 0.5 for n in shape)
        envelope = np.exp(-((y - 0.05) ** 2 / 0.08 + (x.T + 0.04) ** 2 / 0.06))
        glow = envelope * np.exp(0.8 * cloud) * (1 - 0.75 / (1 + np.exp(-6 * (lane - 0.7))))
        return ndimage.spline_filter(glow / glow.max(), order=3, output=np.float64)

    def nebula(self, x, y) -> np.ndarray:
        """Brightness of the nebula at positions of light 0, 1 at its brightest."""
        return ndimage.map_coordinates(
            self.nebula_knots, [y / KNOT_PX + 8, x / KNOT_PX + 8], order=3, prefilter=False, mode="nearest"
        )

    # ---- the camera

    @cached_property
    def bias_pattern_dn(self) -> np.ndarray:
        """Bias level of each column, `(cols,)` float32 DN."""
        night, rng = self.night, self.night.rng(20)
        pattern = rng.standard_normal(night.cols)
        pattern[::2] += 0.5
        return (night.bias_dn + night.bias_columns_dn * pattern).astype(np.float32)

    @cached_property
    def _dark(self) -> tuple[np.ndarray, np.ndarray]:
        night, rng = self.night, self.night.rng(21)
        rate = np.exp(0.35 * rng.standard_normal(night.shape, np.float32) - 0.06)
        rate *= np.float32(night.dark_e_s)
        hot = rng.choice(rate.size, round(night.hot_fraction * rate.size), replace=False)
        warm = 10 ** rng.uniform(-0.3, 1.7, hot.size)
        warm[: hot.size // 100] = 2 * night.saturation_dn * night.gain_e_per_dn / night.exposure_s
        rate.flat[hot] += warm
        return rate, hot[-(hot.size // 20) :] if hot.size >= 20 else hot[:0]

    @property
    def dark_e_s(self) -> np.ndarray:
        """Dark current of each pixel, `(rows, cols)` float32 electrons per second; flickering pixels at their mean."""
        return self._dark[0]

    @property
    def flickering(self) -> np.ndarray:
        """Flat indices of the hot pixels that are another height in every frame."""
        return self._dark[1]

    def flat(self, filter: str) -> np.ndarray:
        """Vignetting, dust and response of the pixels: `(rows, cols)` float32, about 1 at the centre."""
        if filter not in self._flats:
            self._flats[filter] = self._make_flat(filter)
        return self._flats[filter]

    def _make_flat(self, filter: str) -> np.ndarray:
        night, rng = self.night, self.night.rng(22)
        high, wide = night.shape
        y = ((np.arange(high, dtype=np.float32) - 0.52 * high) / np.hypot(high, wide) * 2)[:, None]
        x = ((np.arange(wide, dtype=np.float32) - 0.49 * wide) / np.hypot(high, wide) * 2)[None, :]
        r2 = x * x + y * y
        flat = 1 - np.float32(night.vignetting) * r2 * (0.6 + 0.4 * r2)
        flat *= 1 + np.float32(night.prnu) * np.clip(rng.standard_normal(night.shape, np.float32), -5, 5)
        cold = rng.choice(flat.size, round(night.hot_fraction * flat.size / 50), replace=False)
        flat.flat[cold] *= rng.uniform(0.2, 0.7, cold.size)
        for k in range(night.dust):
            seed = 0 if k % 2 else 1 + night.filters.index(filter)
            add_dust(flat, night.rng(23, seed, k))
        return flat

    def prepare(self) -> None:
        """Make what all frames share, before threads ask for it at the same time."""
        self.catalogue, self.nebula_knots, self.bias_pattern_dn, self.dark_e_s  # noqa: B018
        for filter in self.night.filters:
            self.flat(filter)

    # ---- the frames

    def light(self, index: int) -> np.ndarray:
        """Light `index`, counted through all filters."""
        night, pointing = self.night, self.pointings[index]
        light_e = self.starlight_e(pointing)
        if pointing.trail:
            add_trail(light_e, pointing.trail, night.gain_e_per_dn)
        return self._read(
            "light",
            index,
            night.exposure_s,
            self.flat(pointing.filter),
            light_e,
            self.background_e(pointing),
            self.cosmic_rays("light", index),
        )

    def dark(self, index: int) -> np.ndarray:
        """A dark of the exposure of the lights."""
        return self._read("dark", index, self.night.exposure_s, rays=self.cosmic_rays("dark", index))

    def flatdark(self, index: int) -> np.ndarray:
        """A dark of the exposure of the flats."""
        return self._read("flatdark", index, self.night.flat_exposure_s)

    def bias(self, index: int) -> np.ndarray:
        """A bias frame."""
        return self._read("bias", index, 0.0)

    def flat_level_dn(self, index: int) -> float:
        """Level of flat `index`, DN above the bias: the twilight fades from frame to frame."""
        return self.night.saturation_dn * (0.45 - 0.07 * (index % self.night.flats) / self.night.flats)

    def flat_frame(self, index: int) -> np.ndarray:
        """A flat, counted through all filters."""
        night = self.night
        filter = night.filter_of("flat", index)
        sky_e = np.full(grid_shape(night.shape), self.flat_level_dn(index) * night.gain_e_per_dn)
        return self._read("flat", index, night.flat_exposure_s, self.flat(filter), smooth_e=sky_e)

    def frame(self, kind: str, index: int) -> np.ndarray:
        """Any frame, by kind (`light`, `dark`, `flat`, `bias`, `flatdark`) and number."""
        return self.flat_frame(index) if kind == "flat" else getattr(self, kind)(index)

    def starlight_e(self, pointing: Pointing) -> np.ndarray:
        """The stars of a light, noiseless, before the flat, `(rows, cols)` float32 electrons."""
        night, out = self.night, np.zeros(self.night.shape, np.float32)
        x, y = apply(pointing.matrix, self.catalogue["x"], self.catalogue["y"])
        flux = self.flux_e(pointing.filter) * pointing.transparency
        alpha = pointing.fwhm_px / (2 * math.sqrt(2 ** (1 / night.beta) - 1))
        render_stars(out, x, y, flux, alpha * pointing.elongation, alpha, pointing.angle_rad, night.beta, FLOOR_E)
        return out

    def background_e(self, pointing: Pointing) -> np.ndarray:
        """Sky and nebula of a light, noiseless, before the flat: a grid of nodes STEP pixels apart, electrons."""
        night = self.night
        ny, nx = grid_shape(night.shape)
        y, x = np.meshgrid((np.arange(ny) - 1.0) * STEP, (np.arange(nx) - 1.0) * STEP, indexing="ij")
        u, v = 2 * x / night.cols - 1, 2 * y / night.rows - 1
        sky = pointing.sky_dn * (1 + pointing.slope[0] * u + pointing.slope[1] * v)
        if pointing.cloudy:
            puffs = night.rng(12, pointing.index).standard_normal((6, 8))
            sky *= 1 + 0.06 * ndimage.map_coordinates(puffs, [2.5 * (v + 1), 3.5 * (u + 1)], order=3, mode="nearest")
        if night.nebula_dn:
            brightest = night.nebula_dn * night.throughput(pointing.filter) * pointing.transparency
            sky += brightest * self.nebula(*apply(np.linalg.inv(pointing.matrix), x, y))
        return np.maximum(sky, 0.0) * night.gain_e_per_dn

    def cosmic_rays(self, kind: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels struck by cosmic rays in a light or dark: flat indices, and electrons set free in each."""
        night, rng = self.night, self.night.rng(13, KINDS[kind], index)
        struck = []
        for _ in range(rng.poisson(night.cosmic_rays * night.rows * night.cols / 1e6)):
            length, toward = min(rng.exponential(4.0), 60.0), rng.uniform(0, 2 * np.pi)
            t = np.linspace(0, length, 1 + int(4 * length))
            x = np.rint(rng.uniform(0, night.cols) + t * math.cos(toward)).astype(np.int64)
            y = np.rint(rng.uniform(0, night.rows) + t * math.sin(toward)).astype(np.int64)
            charge = 10 ** rng.uniform(2.6, 3.8) * rng.uniform(0.5, 1.5, t.size) / (1 if length < 1 else 4)
            inside = (x >= 0) & (x < night.cols) & (y >= 0) & (y < night.rows)
            struck.append((y[inside] * night.cols + x[inside], charge[inside]))
        if not struck:
            return np.empty(0, np.int64), np.empty(0)
        where, back = np.unique(np.concatenate([w for w, _ in struck]), return_inverse=True)
        return where, np.bincount(back, np.concatenate([c for _, c in struck]), where.size)

    def _read(self, kind, index, exposure_s, flat=None, light_e=None, smooth_e=None, rays=None) -> np.ndarray:
        """Expose and read out the camera once."""
        night = self.night
        dark_e = self.dark_e_s * np.float32(exposure_s)
        swing = night.rng(14, KINDS[kind], index).uniform(0.1, 1.9, self.flickering.size)
        dark_e.flat[self.flickering] *= swing
        if rays is not None:
            dark_e.flat[rays[0]] += rays[1]
        key = np.uint64(night.rng(15, KINDS[kind], index).integers(2**63))
        out = np.empty(night.shape, np.uint16)
        expose(
            np.zeros(night.shape, np.float32) if light_e is None else light_e,
            np.zeros(grid_shape(night.shape)) if smooth_e is None else smooth_e,
            dark_e if flat is None else flat,
            dark_e,
            self.bias_pattern_dn,
            night.read_noise_e,
            night.gain_e_per_dn,
            night.saturation_dn,
            key,
            out,
        )
        return out


def apply(matrix: np.ndarray, x, y):
    """Positions moved by a 3x3 matrix."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    return (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / w, (
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    ) / w


def grid_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Nodes of a smooth background over a frame of this shape."""
    return shape[0] // STEP + 4, shape[1] // STEP + 4


def trail_profile(shape: tuple[int, int], trail: tuple[float, ...], reach: float = 5.0):
    """The pixels a satellite crossed: rows, columns, and its brightness there in DN, out to `reach` sigma."""
    x0, y0, toward, sigma, peak = trail
    c, s = math.cos(toward), math.sin(toward)
    steep = abs(s) > abs(c)
    along = np.arange(shape[0] if steep else shape[1])
    centre = x0 + (along - y0) * c / s if steep else y0 + (along - x0) * s / c
    half = math.ceil(reach * sigma / max(abs(s), abs(c)))
    across = np.rint(centre).astype(np.int64)[:, None] + np.arange(-half, half + 1)[None, :]
    distance = (across - centre[:, None]) * max(abs(s), abs(c))
    y, x = (
        (np.broadcast_to(along[:, None], across.shape), across)
        if steep
        else (across, np.broadcast_to(along[:, None], across.shape))
    )
    inside = (across >= 0) & (across < (shape[1] if steep else shape[0])) & (np.abs(distance) <= reach * sigma)
    return y[inside], x[inside], peak * np.exp(-0.5 * (distance[inside] / sigma) ** 2)


def add_trail(light_e: np.ndarray, trail: tuple[float, ...], gain_e_per_dn: float) -> None:
    """Draw a satellite's line into an image in electrons."""
    y, x, dn = trail_profile(light_e.shape, trail)
    light_e[y, x] += dn * gain_e_per_dn


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
