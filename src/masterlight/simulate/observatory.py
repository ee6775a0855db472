"""`Observatory`: the sky over the camera of a night, and the frames that come out of it."""

import math
from functools import cached_property

import numpy as np
from scipy import ndimage

from masterlight.simulate.camera import KINDS, RESPONSE, Camera, grid_shape
from masterlight.simulate.comet import COMA, brightness, middle_h
from masterlight.simulate.kernels import STEP, render_stars
from masterlight.simulate.night import Night
from masterlight.simulate.pointing import Pointing, pointings

FLOOR_E = 0.02
"""Surface brightness at which a star ends, electrons per pixel."""
KNOT_PX = 32
"""Pixels between two knots of the spline that is the nebula."""
COLOUR = {"R": 0.12, "B": -0.12}
"""How much brighter a red star is through a filter, for each sigma of its colour."""
B_V = {"": 0.0, "R": 0.45, "G": 0.0, "B": -0.55}
"""Magnitudes by which a star is brighter through a pixel's colour filter, for each magnitude of B-V above the Sun's."""
SKY = {"": 1.0, "R": 1.1, "G": 1.0, "B": 0.8}
NEBULA = {"": (1.0, 1.0), "R": (1.5, 1.0), "G": (0.6, 0.9), "B": (0.75, 0.7)}
"""Share, and power of its brightness: hydrogen in the middle, dust that reflects blue light around it."""
PANEL = {"": 1.0, "R": 0.55, "G": 1.0, "B": 0.7}
"""Level of a flat in each colour: no panel and no twilight is white."""


class Observatory:
    """A night that can be photographed: every frame by its kind and number, in memory, as uint16 `(rows, cols)`.

    Where a method takes a `letter`, it is R, G or B for what those pixels of a colour camera see, '' without a colour
    filter.
    """

    def __init__(self, night: Night):
        self.night = night
        self.camera = Camera(night)
        self.pointings = pointings(night)

    @cached_property
    def catalogue(self) -> dict[str, np.ndarray]:
        """The stars: x, y in pixels of light 0, flux_e in a clear filter above the air, colour; brightest first."""
        night, rng = self.night, self.night.rng(10)
        margin = 2.5 * night.dither_px + 0.06 * night.rotation_deg * max(night.shape) + 30
        if night.turning_deg:
            margin += (np.hypot(*night.shape) - min(night.shape)) / 2
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

    @property
    def b_v(self) -> np.ndarray:
        """Colour index B-V of every star, magnitudes; 0.65 is the Sun's."""
        return np.clip(0.65 + 0.4 * self.catalogue["colour"], -0.3, 2.0)

    def flux_e(self, filter: str, letter: str = "") -> np.ndarray:
        """Total flux of every star through a filter, electrons in one light, above the air."""
        tint = np.exp(COLOUR.get(filter, 0.0) * self.catalogue["colour"])
        flux = self.catalogue["flux_e"] * self.night.throughput(filter) * tint
        return flux * RESPONSE[letter] * 10 ** (0.4 * B_V[letter] * (self.b_v - 0.65))

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
        at = [y / KNOT_PX + 8, x / KNOT_PX + 8]
        return ndimage.map_coordinates(self.nebula_knots, at, order=3, prefilter=False, mode="nearest")

    def prepare(self) -> None:
        """Make what all frames share, before threads ask for it at the same time."""
        self.catalogue, self.nebula_knots  # noqa: B018
        self.camera.prepare()

    def light(self, index: int) -> np.ndarray:
        """Light `index`, counted through all filters."""
        camera, pointing = self.camera, self.pointings[index]
        light_e = camera.mosaic(self.sources_e(pointing, letter) for letter in camera.letters)
        y, x, dn = self.trail(pointing)
        light_e[y, x] += dn * self.night.gain_e_per_dn
        smooth_e = np.stack([self.background_e(pointing, letter) for letter in camera.letters])
        flat = camera.flat(pointing.filter)
        return camera.read("light", index, flat, light_e, smooth_e, self.cosmic_rays("light", index))

    def dark(self, index: int) -> np.ndarray:
        """A dark, of the exposure and temperature of the lights unless the night says otherwise."""
        return self.camera.read("dark", index, rays=self.cosmic_rays("dark", index))

    def flatdark(self, index: int) -> np.ndarray:
        """A dark of the exposure of the flats."""
        return self.camera.read("flatdark", index)

    def bias(self, index: int) -> np.ndarray:
        """A bias frame."""
        return self.camera.read("bias", index)

    def flat_level_dn(self, index: int, letter: str = "") -> float:
        """Level of flat `index`, DN above the bias: the twilight fades from frame to frame."""
        night = self.night
        return night.saturation_dn * (night.flat_level - 0.07 * (index % night.flats) / night.flats) * PANEL[letter]

    def flat_frame(self, index: int) -> np.ndarray:
        """A flat, counted through all filters."""
        night = self.night
        levels_e = [self.flat_level_dn(index, letter) * night.gain_e_per_dn for letter in self.camera.letters]
        smooth_e = np.stack([np.full(grid_shape(night.shape), max(level_e, 0.0)) for level_e in levels_e])
        return self.camera.read("flat", index, self.camera.flat(night.filter_of("flat", index)), smooth_e=smooth_e)

    def frame(self, kind: str, index: int) -> np.ndarray:
        """Any frame, by kind (`light`, `dark`, `flat`, `bias`, `flatdark`) and number."""
        return self.flat_frame(index) if kind == "flat" else getattr(self, kind)(index)

    def sources_e(self, pointing: Pointing, letter: str = "") -> np.ndarray:
        """Stars and comet of a light, noiseless, before the flat, `(rows, cols)` float32 electrons."""
        stars = self.starlight_e(pointing, letter)
        return stars + self.comet_e(pointing, letter) if self.night.comet_dn else stars

    def starlight_e(self, pointing: Pointing, letter: str = "") -> np.ndarray:
        """The stars of a light, noiseless, before the flat, `(rows, cols)` float32 electrons."""
        night, out = self.night, np.zeros(self.night.shape, np.float32)
        x, y = apply(pointing.matrix, self.catalogue["x"], self.catalogue["y"])
        flux = self.flux_e(pointing.filter, letter) * pointing.transparency
        alpha = pointing.fwhm_px / (2 * math.sqrt(2 ** (1 / night.beta) - 1))
        render_stars(out, x, y, flux, alpha * pointing.elongation, alpha, pointing.angle_rad, night.beta, FLOOR_E)
        return out

    def comet_e(self, pointing: Pointing, letter: str = "") -> np.ndarray:
        """The comet of a light, noiseless, before the flat, `(rows, cols)` float32 electrons."""
        night = self.night
        y, x = (np.arange(n, dtype=float) for n in night.shape)
        there = apply(np.linalg.inv(pointing.matrix), x[None, :], y[:, None])
        arrives = night.throughput(pointing.filter) * pointing.transparency * RESPONSE[letter] * COMA[letter]
        share = night.comet_dn * night.gain_e_per_dn * arrives
        return brightness(night, *there, middle_h(night, pointing.index), pointing.fwhm_px, share)

    def background_e(self, pointing: Pointing, letter: str = "") -> np.ndarray:
        """Sky and nebula of a light, noiseless, before the flat: a grid of nodes STEP pixels apart, electrons."""
        night = self.night
        ny, nx = grid_shape(night.shape)
        y, x = np.meshgrid((np.arange(ny) - 1.0) * STEP, (np.arange(nx) - 1.0) * STEP, indexing="ij")
        u, v = 2 * x / night.cols - 1, 2 * y / night.rows - 1
        sky = pointing.sky_dn * (1 + pointing.slope[0] * u + pointing.slope[1] * v)
        if pointing.cloudy:
            puffs = night.rng(12, pointing.index).standard_normal((6, 8))
            sky *= 1 + 0.06 * ndimage.map_coordinates(puffs, [2.5 * (v + 1), 3.5 * (u + 1)], order=3, mode="nearest")
        sky *= SKY[letter]
        if night.nebula_dn:
            brightest = night.nebula_dn * night.throughput(pointing.filter) * pointing.transparency
            share, power = NEBULA[letter]
            shape = self.nebula(*apply(np.linalg.inv(pointing.matrix), x, y))
            sky += brightest * share * (np.maximum(shape, 0.0) ** power if letter else shape)
        return np.maximum(sky, 0.0) * (night.gain_e_per_dn * RESPONSE[letter])

    def trail(self, pointing: Pointing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pixels that a satellite crossed: rows, columns, and its light there in DN, before the flat."""
        if not pointing.trail:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        y, x, dn = trail_profile(self.night.shape, pointing.trail)
        response = np.array([RESPONSE[letter] for letter in self.camera.letters])
        return y, x, dn * response[self.camera.colour_at(y, x)]

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


def apply(matrix: np.ndarray, x, y):
    """Positions moved by a 3x3 matrix."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    u, v = (row[0] * x + row[1] * y + row[2] for row in matrix[:2])
    return u / w, v / w


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
    line = np.broadcast_to(along[:, None], across.shape)
    y, x = (line, across) if steep else (across, line)
    inside = (across >= 0) & (across < (shape[1] if steep else shape[0])) & (np.abs(distance) <= reach * sigma)
    return y[inside], x[inside], peak * np.exp(-0.5 * (distance[inside] / sigma) ** 2)
