"""Nights whose air, mount and optics fail in known ways: frames of `sky` in memory, spoilt one by one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import gaussian_filter, shift
from scipy.signal import fftconvolve
from sky import CALM, EVEN

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.simulate.kernels import render_stars, upsample_row
from masterlight.simulate.night import Night
from masterlight.simulate.observatory import FLOOR_E, Observatory, apply
from masterlight.simulate.pointing import Pointing
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.measurement import HEALTH_FIELDS
from masterlight.subframes.select import SubframeSelector

SMALL = {"rows": 480, "cols": 600, "lights": 9, "stars": 350, "cosmic_rays": 0.0, "rotation_deg": 0.05}
STEADY = {**CALM, **EVEN, "meridian_flip": False, "fwhm_spread": 0.03}


class Weather:
    """A night of lights without calibration faults, level 0 without light; `frame(i)` gives DN, float32 (rows, cols).

    By the number of a light, spoil: a function from its `Pointing` to another one, for what the simulator knows; veil:
    what becomes of its starlight (rows, cols), electrons; optics: how its stars differ over the field; others: the
    night whose light stands in its place.
    """

    def __init__(self, seed: int = 1, **knobs):
        self.night = Night(seed=seed, **{**SMALL, **STEADY, **knobs})
        self.observatory = Observatory(self.night)
        self.spoil: Mapping[int, Callable[[Pointing], Pointing]] = {}
        self.veil: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {}
        self.others: Mapping[int, Weather] = {}
        self.optics: Mapping[int, Callable] = {}

    def __len__(self) -> int:
        return self.night.lights

    def pointing(self, i: int) -> Pointing:
        own = self.observatory.pointings[i]
        return self.spoil[i](own) if i in self.spoil else own

    def frame(self, i: int) -> np.ndarray:
        """Light i in DN, with the noise of photons and of reading."""
        if i in self.others:
            return self.others[i].frame(i)
        night, pointing = self.night, self.pointing(i)
        stars = self.starlight(i, pointing)
        stars = self.veil[i](stars) if i in self.veil else stars
        sky, grid = np.empty(night.shape, np.float32), self.observatory.background_e(pointing)
        for y in range(night.rows):
            row = np.empty(night.cols)
            upsample_row(grid, y, row)
            sky[y] = row
        rng, light = night.rng(90, i), np.maximum(stars + sky, 0.0)
        y, x, dn = self.observatory.trail(pointing)
        light[y, x] += dn * night.gain_e_per_dn
        read = rng.poisson(light) + night.read_noise_e * rng.standard_normal(night.shape)
        return np.minimum(read / night.gain_e_per_dn, night.saturation_dn).astype(np.float32)

    def starlight(self, i: int, pointing: Pointing) -> np.ndarray:
        """The stars of light i, electrons; where its `optics` differ over the field, star by star."""
        if i not in self.optics:
            return self.observatory.starlight_e(pointing)
        night, out, sky = self.night, np.zeros(self.night.shape, np.float32), self.observatory
        x, y = apply(pointing.matrix, sky.catalogue["x"], sky.catalogue["y"])
        flux = sky.flux_e(pointing.filter) * pointing.transparency
        alpha = pointing.fwhm_px / (2 * np.sqrt(2 ** (1 / night.beta) - 1))
        longer, wider, angle = self.optics[i](2 * x / night.cols - 1, 2 * y / night.rows - 1)
        for k in range(len(x)):
            size = alpha * wider[k]
            where = x[k : k + 1], y[k : k + 1], flux[k : k + 1]
            render_stars(out, *where, size * longer[k], size, angle[k], night.beta, FLOOR_E)
        return out


def through(fraction: float) -> Callable[[Pointing], Pointing]:
    """Cloud that lets this part of the starlight through, all over the field."""
    return lambda p: replace(p, transparency=p.transparency * fraction)


def wider(factor: float) -> Callable[[Pointing], Pointing]:
    """Stars so many times wider than they would be."""
    return lambda p: replace(p, fwhm_px=p.fwhm_px * factor)


def trailing(ratio: float, angle_rad: float = 0.6) -> Callable[[Pointing], Pointing]:
    """Stars so many times longer than wide, all in one direction."""
    return lambda p: replace(p, elongation=ratio, angle_rad=angle_rad)


def brighter(factor: float) -> Callable[[Pointing], Pointing]:
    """A sky so many times brighter, stars as ever."""
    return lambda p: replace(p, sky_dn=p.sky_dn * factor)


def leaning(dx: float, dy: float) -> Callable[[Pointing], Pointing]:
    """A gradient of the sky besides the usual one: parts of the sky from the centre to the edge."""
    return lambda p: replace(p, slope=(p.slope[0] + dx, p.slope[1] + dy))


def jump(dx: float, dy: float, share: float) -> Callable[[np.ndarray], np.ndarray]:
    """The mount jumped by so many pixels and stayed there for this share of the exposure."""
    return lambda stars: (1 - share) * stars + share * shift(stars, (dy, dx), order=1)


def patches(depth: float, scale_px: float, seed: int = 3) -> Callable[[np.ndarray], np.ndarray]:
    """Cloud in patches of this size; the thickest takes this part of the light."""

    def veil(stars):
        noise = gaussian_filter(np.random.default_rng(seed).standard_normal(stars.shape), scale_px)
        noise = (noise - noise.min()) / (noise.max() - noise.min())
        return (stars * (1 - depth * noise)).astype(np.float32)

    return veil


def edge(depth: float, width: float = 0.5) -> Callable[[np.ndarray], np.ndarray]:
    """A bank of cloud over the right side of the frame, which takes this part of the light."""

    def veil(stars):
        u = np.linspace(-1, 1, stars.shape[1])
        return (stars * (1 - depth / (1 + np.exp(-u / (0.25 * width))))).astype(np.float32)

    return veil


def banded(depth_e: float, along_rows: bool = True, seed: int = 3) -> Callable[[np.ndarray], np.ndarray]:
    """Electronics that add to each row, or column, another level, of this root mean square in electrons."""

    def veil(stars):
        levels = depth_e * np.random.default_rng(seed).standard_normal(stars.shape[0 if along_rows else 1])
        return (stars + (levels[:, None] if along_rows else levels)).astype(np.float32)

    return veil


def doughnuts(outer_px: float, hole: float = 0.4) -> Callable[[np.ndarray], np.ndarray]:
    """A telescope with a central obstruction far out of focus: every star is a ring."""
    half = int(np.ceil(outer_px)) + 2
    r = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    ring = np.clip(outer_px + 0.5 - r, 0, 1) - np.clip(hole * outer_px + 0.5 - r, 0, 1)
    return lambda stars: fftconvolve(stars, ring / ring.sum(), mode="same").astype(np.float32)


def coma(u: np.ndarray, v: np.ndarray):
    """Optics whose stars are drawn out from the centre: lengths, widths and directions of stars at u, v in -1 to 1."""
    r = np.hypot(u, v)
    return 1 + 0.9 * r, np.ones_like(r), np.arctan2(v, u)


def astigmatism(u: np.ndarray, v: np.ndarray):
    """Optics whose stars are drawn out around the centre."""
    r = np.hypot(u, v)
    return 1 + 0.9 * r, np.ones_like(r), np.arctan2(v, u) + np.pi / 2


def tilt(u: np.ndarray, v: np.ndarray):
    """A sensor out of focus at its right edge."""
    return np.ones_like(u), 1 + 0.35 * (u + 1), np.zeros_like(u)


def night_table(weather: Weather, minutes: float = 4.0, **meta) -> Subframes:
    """The lights of a night as a table, one every so many minutes; what cannot be measured has a reason."""
    frames = []
    for i in range(len(weather)):
        time = (datetime(2024, 3, 5, 20) + timedelta(minutes=minutes * i)).isoformat()
        own = Meta(kind="light", object="M 1", filter="L", exposure_s=120.0, time=time, saturation_dn=65535.0, **meta)
        frames.append(subframe(weather.frame(i), f"light_{i:03d}.fits", own))
    return Subframes(tuple(frames))


def subframe(image: np.ndarray, source: str, meta: Meta) -> Subframe:
    """One image (rows, cols) measured."""
    found = SubframeSelector().measure(ArrayFrame.of(image, source, meta), wanted=HEALTH_FIELDS)
    if not found:
        return Subframe(source, meta, approved=False, reasons=(found.reason,))
    return Subframe(source, meta, *found)


def write_night(weather: Weather, folder: Path, minutes: float = 4.0) -> list[Path]:
    """The lights of a night as 16-bit files in a folder."""
    paths = []
    for i in range(len(weather)):
        header = fits.Header({"IMAGETYP": "Light", "OBJECT": "M 1", "FILTER": "L", "EXPTIME": 120.0})
        header["DATE-OBS"] = (datetime(2024, 3, 5, 20) + timedelta(minutes=minutes * i)).isoformat()
        paths.append(folder / f"light_{i:03d}.fits")
        fits.writeto(paths[-1], np.clip(weather.frame(i), 0, 65535).astype(np.uint16), header)
    return paths
