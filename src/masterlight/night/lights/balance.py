"""Cameras see colours each in its own way: how much of red, green and blue one gives beside another, told by stars."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from masterlight.alignment.transform import each_of
from masterlight.alignment.warping.view import Registered
from masterlight.core.errors import FrameError
from masterlight.night.lights.light import Light
from masterlight.session.targets.apart import sensor_of
from masterlight.subframes.measurement import Measurement, StarList
from masterlight.subframes.photometry import ENOUGH_STARS, RING, apertures, flux_ratio, stamps, standards
from masterlight.subframes.radial import BLUR_PX2

WIDE = 1.4
"""The radius of apertures in units of that which is usual for the widest stars."""
STARS = 40
"""The brightest stars tell it: around fainter ones colours that were interpolated are off by a percent or two."""
ASKED = 5
"""Lights of each camera that are asked: those in which stars stand out most."""

Shine = list[tuple[np.ndarray, np.ndarray]]
"""For each plane the light of stars and its error, (n,) DN both; NaN where it is not known."""


def balanced(
    lights: Sequence[Light], frames: Sequence[Registered], statistics: Sequence[list[Measurement]], reference: Light
) -> list[list[Measurement]]:
    """What was measured of lights, so that in each plane those of other cameras come to the scale of the reference.

    A light's stars tell one ratio for all its planes, which is right beside lights of its own camera. Nothing is read
    where one camera took all, or where there is one plane.
    """
    cameras = [sensor_of(light.raw.meta) for light in lights]
    own, told = cameras[lights.index(reference)], [list(planes) for planes in statistics]
    others = [] if frames[0].planes == 1 else list(dict.fromkeys(camera for camera in cameras if camera != own))
    if not others:
        return told
    widths = [m.fwhm_px for planes in statistics for m in planes if m.fwhm_px]
    width_px = float(np.hypot(max(widths, default=0.0), BLUR_PX2**0.5))
    look, usual = partial(light_of_stars, stars_on_result(reference), width_px), None
    for camera in (own, *others):
        mine = [i for i, one in enumerate(cameras) if one == camera and statistics[i][0].flux_ratio]
        best = sorted(mine, key=lambda i: statistics[i][0].noise_dn / statistics[i][0].flux_ratio)[:ASKED]
        seen = []
        for i in best:
            with suppress(FrameError, OSError):  # who integrates it tells
                seen.append((look(frames[i]), statistics[i]))
        shine = mean_light(seen) if seen else None
        usual = shine if camera == own else usual
        factors = told_by(shine, usual) if camera != own and shine and usual else []
        for i in mine if factors else ():
            told[i] = [replace(m, flux_ratio=m.flux_ratio * k) for m, k in zip(told[i], factors, strict=True)]
    return told


def light_of_stars(stars: StarList, width_px: float, frame: Registered) -> Shine:
    """The light of stars in a frame.

    In apertures of one size: interpolated colours that differ in width would else lose different parts of their light.
    """
    boxes = stamps(frame, stars, int(np.ceil(RING[1] * WIDE * width_px)) + 1)
    return [apertures(boxes[:, p], stars, WIDE * width_px) for p in range(frame.planes)]


def mean_light(seen: Sequence[tuple[Shine, Sequence[Measurement]]]) -> Shine:
    """The light of stars in lights of one camera, each as if it had got as much as the reference."""
    out: Shine = []
    for p in range(len(seen[0][0])):
        flux, error = (np.array([shine[p][k] / told[p].flux_ratio for shine, told in seen]) for k in (0, 1))
        there = np.isfinite(flux)
        count = np.maximum(there.sum(axis=0), 1)
        total = np.where(there, flux, 0).sum(axis=0) / count
        scatter = np.sqrt(np.where(there, error**2, 0).sum(axis=0)) / count
        out.append((np.where(there.any(axis=0), total, np.nan), scatter))
    return out


def told_by(seen: Shine, usual: Shine) -> list[float]:
    """How much of the light of stars a camera gets in each plane beside the usual; empty where too few tell it."""
    pairs = zip(seen, usual, strict=True)
    ratios = [flux_ratio(mine, theirs, error, their_error) for (mine, error), (theirs, their_error) in pairs]
    return [one.ratio for one in ratios] if all(one.stars >= ENOUGH_STARS for one in ratios) else []


def stars_on_result(light: Light) -> StarList:
    """The stars of a light that tell fluxes well, where they lie on the result."""
    stars, place = standards(light.stars, STARS), each_of(light.placed)[0]
    x_px, y_px = np.ascontiguousarray(place.inverse(stars.xy).T)
    return replace(stars, x_px=x_px, y_px=y_px, fwhm_px=stars.fwhm_px / place.scale)
