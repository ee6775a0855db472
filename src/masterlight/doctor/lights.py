"""What is wrong with a calibrated light: negative pixels, vignetting, dust and glow that are left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from masterlight.calibration.masters import Masters
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.statistics.scale import madn
from masterlight.core.units.figures import figure
from masterlight.defects.lists import Defects
from masterlight.doctor import pictures
from masterlight.doctor.evidence import large, middle_of, neighbour_noise, region, sample
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.maps import Coarse, common
from masterlight.doctor.masters import unmarked_mosaic
from masterlight.doctor.process import Doctor
from masterlight.doctor.raw.dust import dust
from masterlight.doctor.raw.places import bad_places, places

FIRM = 0.8
"""Correlation of sky and flat at the rim of the frame from which on it is believed."""
STEEPEST = 1.1
"""Slope of log sky on log flat, at most: without any flat it is 1, divided by it twice -1. Steeper is what is there."""


@dataclass(frozen=True, eq=False)
class Patient:
    """A calibrated light and what was measured on it once for all diagnoses."""

    raw: Frame
    view: Frame
    masters: Masters
    rows: np.ndarray
    """A sample of the calibrated pixels, with those that the dark shows to be defective left out (NaN)."""
    level_dn: float
    noise_dn: float
    beside: Sequence[Frame] = ()
    """Other calibrated lights of its set."""

    def __str__(self) -> str:
        return some([self.view])


def examine(
    doctor: Doctor, raw: Frame, view: Frame, masters: Masters, defects: Defects | None, beside: Sequence[Frame] = ()
) -> Iterator[Finding]:
    """All findings about one calibrated light; see `Doctor.light`."""
    rows, dark = sample(view) if large(view) else np.zeros(0), masters.dark
    if 2 * np.count_nonzero(np.isfinite(rows)) <= rows.size:
        return
    if masters.flat is None:
        yield from unmarked_mosaic(raw)  # else the flat has told
    if dark is not None and dark.shape[-2:] == view.shape[-2:]:
        seen = sample(dark, like=view)
        rows = np.where(np.abs(seen - middle_of(seen)) > 5 * madn(seen), np.nan, rows)
    if defects is not None and defects.mask.shape == view.shape[-2:]:
        rows = np.where(sample(ArrayFrame.of(defects.mask), like=view) > 0, np.nan, rows)
    light = Patient(raw, view, masters, rows, middle_of(rows), neighbour_noise(rows), beside)
    if light.noise_dn > 0 and "B" in view.meta.calibration:
        yield from negative(doctor, light)
        yield from read_noise(light)
    yield from scaling(doctor, light)
    yield from saturation(light)
    yield from leftovers(doctor, light)


def negative(doctor: Doctor, light: Patient) -> Iterator[Finding]:
    """D02: more negative pixels than noise makes; D10: a sky below zero."""
    pedestal = light.view.meta.pedestal_dn
    level, sigma = light.level_dn - pedestal, light.noise_dn
    dead = places(light.rows - pedestal < -5 * sigma)
    if dead.named:
        sunk = f"{dead.in_words(region(light.view)[2])} (below zero after calibration)"
        yield bad_places("D02", [light.view], sunk)
    values = light.rows[np.isfinite(light.rows) & ~dead.columns & ~dead.blocks] - pedestal
    share, deep = float(np.mean(values < 0)), float(np.mean(values < -5 * sigma))
    by_noise = 0.5 * (1 - erf(level / sigma / sqrt(2)))
    span = min(-6 * sigma, np.percentile(values, 0.1)), max(level + 8 * sigma, sigma)
    bars = np.histogram(values, 64, span) if share > 0.01 else None
    plot = pictures.histogram(bars, "calibrated pixels, DN", {"zero": 0.0}) if bars else None
    if level < -sigma and level < -doctor.outlier_dn:
        sentence = f"""{light}: after calibration the sky is at {figure(level)} DN, {-level / sigma:.1f} sigma below
            zero: too much was subtracted, as when the bias is taken off twice, or the dark has another offset or
            exposure"""
        yield finding("D10", "error", [light.view], level, -sigma, "DN", sentence, plot)
    elif deep > 1e-4 and np.count_nonzero(values < -5 * sigma) >= 10:
        severity = "error" if deep > 0.01 or (level < 0 and deep > 1e-3) else "warn"
        sentence = f"""{light}: {deep:.3%} of the pixels are more than 5 sigma below zero (0.01 % are allowed), hot
            pixels left out: look at offset, exposure and temperature of dark and bias, or pixels flicker"""
        yield finding("D02", severity, [light.view], 100 * deep, 0.01, "% below -5 sigma", sentence, plot)
    elif share > doctor.negative_fraction:
        expected = share < by_noise + doctor.negative_fraction
        why = f"more than the {by_noise:.0%} that noise of {figure(sigma)} DN makes: see that dark and bias fit"
        why = f"as noise of {figure(sigma)} DN about a sky of {figure(level)} DN makes them" if expected else why
        sentence = f"""{light}: {share:.0%} of the pixels are negative after calibration, {why}. Nothing is cut here;
            programs that cut negatives need a pedestal"""
        severity, limit = "info" if expected else "warn", 100 * doctor.negative_fraction
        yield finding("D02", severity, [light.view], 100 * share, limit, "% negative", sentence, plot)


def read_noise(light: Patient) -> Iterator[Finding]:
    """D03: read noise, not the sky, rules the noise of the light."""
    gain = light.raw.meta.gain_e_per_dn or 0.0
    photons = gain * max(light.level_dn - light.view.meta.pedestal_dn, 0.0)
    camera = (gain * light.noise_dn) ** 2 - photons
    if camera > 0 and photons < 3 * camera:
        sentence = f"""{light}: the sky gives {photons:.0f} electrons for each pixel, read noise and dark current add a
            variance of {camera:.0f}; three times that is wanted. Expose longer; files of integers need a pedestal"""
        yield finding("D03", "info", [light.view], photons / camera, 3, "times the variance", sentence)


def scaling(doctor: Doctor, light: Patient) -> Iterator[Finding]:
    """D13: the fitted factor of the dark was not accepted; D08: it is far from one."""
    scale = getattr(light.view, "dark_scale", None)
    if scale is None:
        return
    if not scale.accepted and scale.reason:
        sentence = f"""{light}: no factor of the dark is sure ({scale.reason}; fitted {scale.k:.3f} ± {scale.sigma:.3f}
            from {scale.n} pixels, correlation {scale.r:.2f}); that of exposures is taken; darks alike need none"""
        yield finding("D13", "warn", [light.view], scale.r, 0.3, "correlation", sentence)
    if not 0.1 <= scale.k <= 1.2:
        grave = not 0.1 <= scale.k <= 10
        why = "cannot be right" if grave else "scales its noise up as well"
        sentence = f"{light}: the dark is scaled by {scale.k:.3g}, which {why}; take darks as long as the lights"
        limit = 0.1 if scale.k < 0.1 else 10 if grave else 1.2
        yield finding("D08", "error" if grave else "warn", [light.view], scale.k, limit, "", sentence)


def saturation(light: Patient) -> Iterator[Finding]:
    """D23: saturated stars are at other levels in the corners than in the middle."""
    ceiling, factor = light.raw.meta.saturation_dn, light.masters.factor() if light.masters else None
    if not ceiling or factor is None or factor.size <= 1:
        return
    full = float(np.mean(sample(light.raw) >= 0.98 * ceiling))
    low, high = np.nanpercentile(factor[::16, ::16], [1, 99])
    if full > 1e-5 and high / low > 1.5:
        sentence = f"""{light}: saturated stars end anywhere between {figure(low * ceiling, 0)} and
            {figure(high * ceiling, 0)} DN, as the flat varies by a factor of {high / low:.2f} (up to 1.5 is usual);
            saturation is told from the raw pixels here, but other programs take a single level: give them the lower
            one"""
        yield finding("D23", "info", [light.view], high / low, 1.5, "times", sentence)


def leftovers(doctor: Doctor, light: Patient) -> Iterator[Finding]:
    """D14, D06: vignetting that is left or overdone; D11: glow that is left; D15: dust that is not where it was."""
    flat, dark = light.masters.flat, light.masters.dark
    same = [m for m in (flat, dark) if m is not None and m.shape[-2:] == light.view.shape[-2:]]
    if not same:
        return
    sky = Coarse.of(light.view).zones
    if dark in same:
        yield from glow(doctor, light, sky, dark)
    if flat in same and light.level_dn > 0:
        yield from vignetting(doctor, light, sky, Coarse.of(flat).zones)
        if len(light.view.meta.pattern or "") != 36:
            yield from dust(doctor, light.raw, (light.view, *light.beside), flat)


def glow(doctor: Doctor, light: Patient, sky: np.ndarray, dark: Frame) -> Iterator[Finding]:
    """D11: the light still holds the glow of the dark, or a negative of it."""
    zones = Coarse.of(dark).zones
    pattern = sample(dark, like=light.view)
    noise = madn(pattern) or 1.0
    known = zones[np.isfinite(zones)]
    low, high = np.percentile(known, [2, 98]) if known.size else (0.0, 0.0)
    if high - low < doctor.glow_sigma * noise:
        return
    slope, r, *_ = common(sky, zones, order=3)
    left = slope * (high - low)
    if abs(r) > doctor.glow_correlation and abs(left) > 0.25 * light.noise_dn:
        sentence = f"""{light}: {"a" if left > 0 else "a negative of"} glow of the dark is left ({figure(abs(left))} DN;
            correlation {r:+.2f}, allowed {doctor.glow_correlation:g}): the dark
            {"takes too little" if left > 0 else "takes too much"}; take darks of this exposure and temperature"""
        crops = pictures.side_by_side(sky, zones)
        yield finding("D11", "warn", [light.view], abs(r), doctor.glow_correlation, "correlation", sentence, crops)


def vignetting(doctor: Doctor, light: Patient, sky: np.ndarray, flat: np.ndarray) -> Iterator[Finding]:
    """D14: the sky follows the flat, or its inverse, after it was divided by it; D06: since the bias is still there."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = np.log(flat / middle_of(flat)), np.log(sky / plane_of(sky))
    if not np.isfinite(x).any() or np.nanmax(x) - np.nanmin(x) < 0.03 or light.noise_dn / 8 > 0.02 * light.level_dn:
        return
    slope, r, left_x, left_y = common(y, x, order=1)
    holds_bias = "B" not in light.view.meta.calibration and light.view.meta.contains_bias is not False
    if abs(r) < doctor.flat_correlation or not doctor.flat_slope <= abs(slope) <= STEEPEST:
        return
    plot = pictures.scatter(left_x, left_y, "log of the flat", "log of the sky", (slope, 0.0))
    if holds_bias and slope < -0.1 and r < -0.7:
        sentence = f"""{light}: the flat over-corrects, the sky brightens outwards (slope {slope:+.2f} of log sky on log
            flat, limit -0.10; correlation {r:.2f}): the light still holds its bias level. Add darks or bias frames"""
        yield finding("D06", "error", [light.view], slope, -0.1, "slope", sentence, plot)
    elif firm(y, x, slope):
        under = "under-corrected: the sky is dark where the flat is"
        kind = under if slope > 0 else "over-corrected: it brightens outwards"
        sentence = f"""{light}: vignetting is {kind} (slope {slope:+.3f} of log sky on log flat, allowed
            {doctor.flat_slope:g}; correlation {r:+.2f}): a bias level left in the {"flat" if slope > 0 else "light"},
            stray light, or a flat of another focus or filter"""
        yield finding("D14", "warn", [light.view], slope, doctor.flat_slope, "slope", sentence, plot)


def plane_of(sky: np.ndarray) -> np.ndarray:
    """The gradient of a sky: the plane through its zones, its median where that falls to nothing.

    Its logarithm is curved: taken out of the logarithm of the sky, a plane would leave that as vignetting.
    """
    v, u = np.mgrid[-1 : 1 : sky.shape[0] * 1j, -1 : 1 : sky.shape[1] * 1j]
    design, level = np.stack([np.ones_like(u), u, v], axis=-1), middle_of(sky)
    keep = np.isfinite(sky)
    for _ in range(3):
        if keep.sum() < 12:
            return np.full_like(sky, level)
        plane = design @ np.linalg.lstsq(design[keep], sky[keep], rcond=None)[0]
        rest = sky - plane
        keep &= np.abs(rest) <= 4 * madn(rest[keep]) + 1e-9
    return plane if plane.min() > 0.05 * level else np.full_like(sky, level)


def firm(y: np.ndarray, x: np.ndarray, slope: float) -> bool:
    """Whether the sky follows the flat at the rim as it does in all: a nebula in the middle does not, nor do clouds."""
    v, u = np.mgrid[-1 : 1 : y.shape[0] * 1j, -1 : 1 : y.shape[1] * 1j]
    outer, r, *_ = common(np.where(np.hypot(u, v) > 0.8, y, np.nan), x, order=1)
    return abs(r) > FIRM and 0.5 < outer / slope < 2
