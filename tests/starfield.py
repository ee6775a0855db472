"""Skies of stars of one profile whose truth is known: plain, crowded, nebulous, with knots, hot pixels, rays.

Written pixel by pixel from the formula of the profile, without anything of what is tested.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import places
from masterlight.subframes.select import SubframeSelector

NOISE_DN, SKY_DN, GAIN_E, SLOPE_DN = 10.0, 1000.0, 2.0, 0.05
NODES, SHARES = np.polynomial.legendre.leggauss(6)
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"


@dataclass(frozen=True)
class Scene:
    """A sky; stars of SNR from `faintest` up, by a power law."""

    fwhm_px: float = 3.0
    beta: float | None = 3.0
    eccentricity: float = 0.0
    theta_rad: float = 0.6
    count: int = 400
    shape: tuple[int, int] = (1000, 1400)
    faintest: float = 4.0
    slope: float = 1.0
    """Number of stars brighter than SNR s goes as s ** -slope."""
    nebula: float = 0.0
    """Amplitude of nebulosity in units of the noise."""
    knots: int = 0
    hot: int = 0
    rays: int = 0
    kind: str = "mono"
    colour: tuple[float, float, float] = (0.7, 1.0, 0.5)
    """Light of stars in red, green and blue."""


def stamp(dx: float, dy: float, scene: Scene, reach: int) -> np.ndarray:
    """A star of unit flux integrated over pixels; the centre lies (dx, dy) off the middle pixel."""
    aspect = np.sqrt(1 - scene.eccentricity**2)
    sub = (np.arange(-reach, reach + 1)[:, None] + 0.5 * NODES).ravel()
    x, y = (sub - dx)[None, :], (sub - dy)[:, None]
    c, s = np.cos(scene.theta_rad), np.sin(scene.theta_rad)
    u, v = c * x + s * y, c * y - s * x
    half = (0.5 * scene.fwhm_px) ** 2
    rho = (u**2 * aspect + v**2 / aspect) / half
    if scene.beta is None:
        value = np.exp(-np.log(2) * rho) * np.log(2) / (np.pi * half)
    else:
        bend = 2 ** (1 / scene.beta) - 1
        value = (1 + bend * rho) ** -scene.beta * (scene.beta - 1) * bend / (np.pi * half)
    size = 2 * reach + 1
    return np.einsum("jbia,b,a->ji", value.reshape(size, len(NODES), size, len(NODES)), SHARES / 2, SHARES / 2)


@dataclass(eq=False)
class Truth:
    x: np.ndarray
    y: np.ndarray
    snr: np.ndarray
    frame: object = field(repr=False)


def sky_of(scene: Scene, seed: int) -> Truth:
    """A frame of the scene and its stars."""
    rng = np.random.default_rng(seed)
    rows, cols = scene.shape
    smooth = SKY_DN + SLOPE_DN * np.arange(cols) + np.zeros((rows, 1))
    smooth = smooth + nebula_of(scene, rng)
    extra, light = knots_of(scene, rng), np.zeros(scene.shape)
    noise = np.sqrt(NOISE_DN**2 + (smooth + extra - SKY_DN).clip(0) / GAIN_E)
    edge = 12 + 2 * scene.fwhm_px
    x, y = rng.uniform(edge, cols - 1 - edge, scene.count), rng.uniform(edge, rows - 1 - edge, scene.count)
    snr = scene.faintest / rng.uniform(1e-3, 1, scene.count) ** (1 / scene.slope)
    snr = np.minimum(snr, 3000)
    sure = []
    reach = int(np.ceil((5 if scene.beta else 2.5) * scene.fwhm_px)) + 2
    for cx, cy, s in zip(x, y, snr, strict=True):
        ix, iy = round(cx), round(cy)
        unit = stamp(cx - ix, cy - iy, scene, reach)
        flux = s * noise[iy, ix] / np.sqrt(np.sum(unit**2))
        y0, x0 = max(0, iy - reach), max(0, ix - reach)
        y1, x1 = min(rows, iy + reach + 1), min(cols, ix + reach + 1)
        light[y0:y1, x0:x1] += flux * unit[y0 - iy + reach : y1 - iy + reach, x0 - ix + reach : x1 - ix + reach]
        sure.append(np.sqrt(np.sum((flux * unit) ** 2 / (noise[iy, ix] ** 2 + flux * unit / GAIN_E))))
    snr = np.array(sure)
    if scene.kind == "mono":
        return Truth(x, y, snr, array_of(scene, smooth + extra, light, rng))
    planes = [smooth * level + light * tint for level, tint in zip((0.6, 1.0, 0.7), scene.colour, strict=True)]
    if scene.kind == "colour":
        one = [array_of(scene, plane, 0 * light, rng, NOISE_DN * 3**0.5) for plane in planes]
        return Truth(x, y, snr * np.mean(scene.colour), np.stack(one))
    pattern = {"cfa": "RGGB", "xtrans": XTRANS}[scene.kind]
    mosaic, n = np.zeros(scene.shape), {"cfa": 2, "xtrans": 6}[scene.kind]
    for letter, plane in zip("RGB", planes, strict=True):
        for j, i in places(pattern)[letter]:
            mosaic[j::n, i::n] = plane[j::n, i::n]
    share = {"cfa": 0.5, "xtrans": 20 / 36}[scene.kind]
    image = array_of(scene, mosaic, 0 * light, rng)
    return Truth(x, y, snr * share**0.5, ArrayFrame.of(image, scene.kind, Meta(pattern=pattern)))


def array_of(scene: Scene, smooth, light, rng, noise_dn=NOISE_DN) -> np.ndarray:
    """Pixels with noise of the sky and of light, hot ones and rays among them."""
    value = smooth + light
    sigma = np.sqrt(noise_dn**2 + (value - SKY_DN).clip(0) / GAIN_E)
    out = value + rng.normal(0, 1, value.shape) * sigma
    at = rng.choice(out.size, scene.hot, replace=False)
    out.flat[at] += rng.exponential(3000, scene.hot) + 60
    for _ in range(scene.rays):
        length, angle = rng.exponential(6) + 1, rng.uniform(0, np.pi)
        y, x = rng.uniform(20, scene.shape[0] - 20), rng.uniform(20, scene.shape[1] - 20)
        steps = np.arange(0, length, 0.5)
        j, i = np.rint(y + steps * np.sin(angle)).astype(int), np.rint(x + steps * np.cos(angle)).astype(int)
        good = (j >= 0) & (j < out.shape[0]) & (i >= 0) & (i < out.shape[1])
        out[j[good], i[good]] += rng.exponential(1500) + 200
    return out.astype(np.float32)


def nebula_of(scene: Scene, rng) -> np.ndarray | float:
    """Nebulosity as a power law of scales down to 5 FWHM (as a Gaussian), its filaments bright against the sky."""
    if not scene.nebula:
        return 0.0
    fy, fx = np.fft.fftfreq(scene.shape[0])[:, None], np.fft.rfftfreq(scene.shape[1])
    k = np.hypot(fy, fx)
    power = (k + 1 / 600) ** -1.6 * np.exp(-0.5 * (2 * np.pi * k * 4 * scene.fwhm_px) ** 2)
    waves = np.fft.irfft2(power * np.fft.rfft2(rng.normal(0, 1, scene.shape)), s=scene.shape)
    waves /= waves.std()
    return scene.nebula * NOISE_DN * np.exp(0.7 * waves)


def knots_of(scene: Scene, rng) -> np.ndarray | float:
    """A galaxy with arms of knots, each 2 to 4 times as wide as stars."""
    if not scene.knots:
        return np.zeros(scene.shape)
    rows, cols = scene.shape
    y, x = np.mgrid[:rows, :cols]
    cy, cx = rows / 2, cols / 2
    r = np.hypot((x - cx) / 1.0, (y - cy) / 0.6)
    out = 60 * NOISE_DN * np.exp(-r / 90)
    for _ in range(scene.knots):
        radius, turn = rng.uniform(50, 330), rng.integers(2) * np.pi
        phi = turn + np.log(radius / 30) * 2.2 + rng.normal(0, 0.12)
        kx, ky = cx + radius * np.cos(phi), cy + 0.6 * radius * np.sin(phi)
        if not (30 < kx < cols - 30 and 30 < ky < rows - 30):
            continue
        wide = rng.uniform(2.0, 4.0) * scene.fwhm_px / 2.3548
        high = NOISE_DN * rng.uniform(3, 25)
        half = int(4 * wide) + 1
        box = np.s_[
            max(0, int(ky) - half) : min(rows, int(ky) + half), max(0, int(kx) - half) : min(cols, int(kx) + half)
        ]
        out[box] += high * np.exp(-((x[box] - kx) ** 2 + (y[box] - ky) ** 2) / (2 * wide**2))
    return out


def judge(scene: Scene, truth: Truth, settings=None) -> dict:
    """What was measured beside the truth."""
    row, found = (settings or SubframeSelector(max_stars=20_000)).measure(truth.frame, gain_e_per_dn=None)
    xy = np.stack([truth.x, truth.y], -1)
    order = np.argsort(-truth.snr)
    tree = cKDTree(xy)
    free = np.ones(len(xy), bool)
    for i in range(len(xy)):
        near = [k for k in tree.query_ball_point(xy[i], 1.5 * scene.fwhm_px) if truth.snr[k] > truth.snr[i]]
        free[i] = not near
    wanted = free & (truth.snr > 10)
    ours = cKDTree(found.xy)
    away, _ = ours.query(xy)
    reach = max(1.5, 0.5 * scene.fwhm_px)
    off, which = tree.query(found.xy)
    none = off > max(1.5, scene.fwhm_px)  # between two stars that are one to the eye lies no false one
    bright = (truth.snr[which] > 50) & ~none & ~found.saturated
    return {
        "fwhm": row.fwhm_px / scene.fwhm_px - 1, "ecc": row.eccentricity, "n50": int(bright.sum()),
        "complete": float(np.mean(away[wanted] < reach)), "wanted": int(wanted.sum()), "found": len(found),
        "false": int(none.sum()), "stars": row.stars, "beta": row.beta, "row": row, "list": found,
        "missed": xy[wanted & (away >= reach)], "off": found.xy[none], "order": order,
    }  # fmt: skip
