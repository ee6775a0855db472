"""One sky through several cameras: pixels of other sizes, other gains, colours and telescopes; all of it known.

A unit of the sky is a pixel of a camera of scale 1. Stars are Moffat profiles integrated over pixels, without anything
of what is tested.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from astropy.io import fits

BETA, SEEING, BIAS_DN, REACH = 3.5, 3.0, 500.0, 14.0
SKY_SHAPE = 400, 500
NODES = (np.array([-0.7745966692, 0, 0.7745966692]) / 2)[:, None], np.array([5, 8, 5]) / 18


@dataclass(frozen=True)
class Camera:
    """A camera behind a telescope."""

    name: str
    shape: tuple[int, int] = (400, 500)
    scale: float = 1.0
    """Its pixels along a unit of the sky."""
    light_e: float = 1.0
    """Electrons for each unit of a star's light."""
    sky_e: float = 800.0
    """Electrons of the sky from a square unit of it."""
    gain_e_per_dn: float = 0.8
    read_e: float = 3.0
    binning: int = 1
    seeing: float = SEEING
    """FWHM in units of the sky."""
    vignetting: float = 0.25
    pattern: str = ""
    response: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of red, green and blue, for a camera with a pattern."""
    turn_deg: float = 0.0

    def flat(self) -> np.ndarray:
        rows, cols = self.shape
        y, x = np.mgrid[:rows, :cols]
        return 1 - self.vignetting * ((2 * x / (cols - 1) - 1) ** 2 + (2 * y / (rows - 1) - 1) ** 2) / 2

    def matrix(self, index: int) -> np.ndarray:
        """From the sky to its pixels in a light."""
        rng = np.random.default_rng([7, *self.name.encode(), index])
        turn = np.radians(self.turn_deg + rng.normal(0, 0.05))
        c, s = self.scale * np.cos(turn), self.scale * np.sin(turn)
        middle, own = (np.array(SKY_SHAPE[::-1]) - 1) / 2, (np.array(self.shape[::-1]) - 1) / 2
        linear = np.array([[c, -s], [s, c]])
        shift = own - linear @ middle + rng.uniform(-6, 6, 2)
        return np.array([[*linear[0], shift[0]], [*linear[1], shift[1]], [0, 0, 1]])

    def noise_per_light(self) -> float:
        """Noise of a square unit of the sky in one light, in units of a star's light."""
        return float(np.sqrt(self.sky_e + (self.read_e * self.scale) ** 2) / self.light_e)


@cache
def stars(count: int = 130, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (n, 2) on the sky, light (n,), and by how much red stars are redder (n,)."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform((-20, -20), (SKY_SHAPE[1] + 20, SKY_SHAPE[0] + 20), (count, 2))
    return xy, 4000.0 * (1 - rng.uniform(0.0, 0.985, count)) ** -1.1, rng.normal(0, 0.15, count)


def starlight(camera: Camera, index: int, colour: int = 1) -> np.ndarray:
    """Electrons of the stars in each pixel of a light, in red, green or blue."""
    xy, light, redder = stars()
    matrix, out = camera.matrix(index), np.zeros(camera.shape)
    places = xy @ matrix[:2, :2].T + matrix[:2, 2]
    alpha = camera.seeing * camera.scale / (2 * np.sqrt(2 ** (1 / BETA) - 1))
    reach = int(np.ceil(REACH * camera.scale * camera.seeing / SEEING)) + 2
    steps, shares = NODES
    for (x, y), flux, red in zip(places, light * camera.light_e, redder, strict=True):
        i, j = round(x), round(y)
        along, down = (np.arange(k - reach, k + reach + 1) + steps for k in (i, j))
        square = (along[None, :, None, :] - x) ** 2 + (down[:, None, :, None] - y) ** 2
        profile = (BETA - 1) / (np.pi * alpha**2) * (1 + square / alpha**2) ** -BETA
        stamp = np.einsum("abji,a,b->ji", profile, shares, shares) * flux * np.exp(red * (1 - colour))
        y0, y1, x0, x1 = max(j - reach, 0), min(j + reach + 1, len(out)), max(i - reach, 0), i + reach + 1
        x1 = min(x1, out.shape[1])
        if y0 < y1 and x0 < x1:
            out[y0:y1, x0:x1] += stamp[y0 - j + reach : y1 - j + reach, x0 - i + reach : x1 - i + reach]
    return out


def electrons(camera: Camera, index: int) -> np.ndarray:
    """What a light holds without noise, before the flat."""
    sky = camera.sky_e / camera.scale**2
    if not camera.pattern:
        return starlight(camera, index) + sky
    planes = [(starlight(camera, index, k) + sky) * camera.response[k] for k in range(3)]
    out = np.empty(camera.shape)
    for at, letter in enumerate(camera.pattern):
        out[at // 2 :: 2, at % 2 :: 2] = planes["RGB".index(letter)][at // 2 :: 2, at % 2 :: 2]
    return out


def header(camera: Camera, kind: str, exposure_s: float, minute: int) -> fits.Header:
    cards = {
        "IMAGETYP": kind, "EXPTIME": exposure_s, "INSTRUME": camera.name, "GAIN": 100, "EGAIN": camera.gain_e_per_dn,
        "OFFSET": 50, "XBINNING": camera.binning, "YBINNING": camera.binning, "CCD-TEMP": -10.0,
        "XPIXSZ": 3.76 / camera.scale, "YPIXSZ": 3.76 / camera.scale, "FOCALLEN": 500.0, "OBJECT": "M 31",
        "DATE-OBS": f"2024-10-05T{20 + minute // 60}:{minute % 60:02}:00.000", "ROWORDER": "TOP-DOWN",
    }  # fmt: skip
    if not camera.pattern:
        cards["FILTER"] = "L"
    return fits.Header(cards | ({"BAYERPAT": camera.pattern} if camera.pattern else {}))


def save(path: Path, camera: Camera, charge_e: np.ndarray, kind: str, exposure_s: float, rng, minute: int) -> Path:
    seen = rng.poisson(np.maximum(charge_e, 0)) + rng.normal(0, camera.read_e, camera.shape)
    dn = np.clip(np.rint(seen / camera.gain_e_per_dn + BIAS_DN), 0, 65535).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.writeto(path, dn, header(camera, kind, exposure_s, minute))
    return path


def write(folder: Path, camera: Camera, lights: int = 5, trail: int | None = None, masters: bool = True) -> list[Path]:
    """A night of a camera; a satellite crosses the light `trail`. Gives the lights."""
    rng, stem, flat = np.random.default_rng([5, *camera.name.encode()]), camera.name.replace(" ", "-"), camera.flat()
    for i in range(5 if masters else 0):
        save(folder / f"bias/{stem}_{i}.fits", camera, np.zeros(camera.shape), "Bias Frame", 0.0, rng, i)
        level = 30000 * camera.gain_e_per_dn * flat
        save(folder / f"flats/{stem}_{i}.fits", camera, level, "Flat Field", 2.0, rng, 10 + i)
    out = []
    for i in range(lights):
        charge = electrons(camera, i)
        if i == trail:
            charge += trail_e(camera)
        charge = charge * flat if masters else charge
        out.append(save(folder / f"lights/{stem}_{i}.fits", camera, charge, "Light Frame", 120.0, rng, 20 + i))
    return out


def trail_e(camera: Camera) -> np.ndarray:
    """A satellite's trail, six times as bright as the noise of the sky."""
    y, x = np.mgrid[: camera.shape[0], : camera.shape[1]]
    off = 0.6 * x - 0.8 * y - 0.6 * camera.shape[1] / 3 + 0.8 * camera.shape[0] / 3
    noise = np.sqrt(camera.sky_e / camera.scale**2 + camera.read_e**2)
    return 6 * noise * np.exp(-0.5 * (off / 1.5) ** 2)
