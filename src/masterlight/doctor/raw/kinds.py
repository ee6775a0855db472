"""Frames of another kind than their headers say: by their exposure, by stars, or by having none."""

from collections.abc import Iterator

import numpy as np

from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.headers.geometry import period
from masterlight.core.headers.names import camera_key
from masterlight.core.statistics.scale import madn
from masterlight.core.together import same_exposure
from masterlight.core.units.figures import figure
from masterlight.doctor import pictures
from masterlight.doctor.evidence import Evidence, Look, by_colour, coarse, peaks, sample
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.levels import full_scale
from masterlight.doctor.process import Doctor
from masterlight.session.groups import Group
from masterlight.subframes.select import SubframeSelector

STARS = 10
"""Fewer peaks pass for noise and cosmic rays."""
WIDTH_PX = 1.6
"""Stars are wider; hot pixels that spread into their neighbours are not."""
WINDOW_PX = 2048
"""Stars are counted in the middle of a frame, this far across at most."""
COUNTED = 3
"""Frames whose stars are counted, at most; the sample has shown them in the others."""


def odd_exposures(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """H01: bias frames that were exposed. A dark that was not is a bias frame by its header already."""
    for group in evidence.groups("bias"):
        exposed = [one.frame for one in evidence.of(group) if (one.frame.meta.exposure_s or 0) > 1]
        if exposed:
            longest = max(f.meta.exposure_s for f in exposed)
            sentence = f"""{some(exposed)}: bias frames with an exposure of {longest:g} s: darks by another name? A bias
                frame has the shortest exposure of the camera"""
            yield finding("H01", "warn", exposed, longest, 1, "s", sentence)


def stars_in_the_dark(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """H01: darks, bias frames and flats that show stars; told once of flats of a twilight in which stars were out.

    What is at the same places in other frames of the group is the sensor's or the flat's own: stars are what is left
    of a frame without the most usual other one.
    """
    for group in evidence.groups("dark", "bias", "flatdark", "flat"):
        looks = evidence.of(group)
        starry, count = frames_with_stars(doctor, looks)
        if not starry:
            continue
        others = [one.level_dn for one in looks if one not in starry]
        apart = min(abs(one.level_dn - np.median(others)) for one in starry) if others else 0.0
        crop = pictures.crop_of(starry[0].frame)
        if group.kind == "flat" and not any(like_a_light(doctor, evidence, group, one) for one in starry):
            sentence = f"""{some(starry)}: {count} stars in flats taken in twilight. Move the telescope a little between
                flats, and rejection removes them; stars at one place stay in the master"""
            yield finding("H01", "info", starry, count, STARS, "peaks", sentence, crop, title="Stars in flats")
            continue
        sure = len(others) >= 2 and apart > max(doctor.outlier_dn, 5 * np.ptp(others))
        sentence = f"""{some(starry)}: called {group.kind}, but shows {count} stars (fewer than {STARS} pass for noise):
            a light with a wrong header? Move it to the lights or leave it out"""
        few = sure and 2 * len(starry) < len(looks)
        sentence += "; a run leaves it out" if few and len(starry) == 1 else "; a run leaves them out" if few else ""
        yield finding("H01", "error" if sure else "warn", starry, count, STARS, "peaks", sentence, crop, out=few)


def frames_with_stars(doctor: Doctor, looks: list[Look]) -> tuple[list[Look], int]:
    """The frames of a group that show stars which are not at the same places in the others, and how many at most."""
    levels = np.array([one.level_dn for one in looks])
    limit = max(doctor.outlier_dn, 5 * madn(levels))
    usual = sorted(looks, key=lambda one: abs(one.level_dn - np.median(levels)))
    starry, counts = [], [0]
    for one in looks:
        wide = one.stars >= STARS and one.stars > one.spikes  # most peaks wider than a pixel
        if not wide and not abs(one.level_dn - np.median(levels)) > limit:
            continue
        other = next((two for two in usual if two is not one and two.digest != one.digest), None)
        sampled = other is not None and wide and own_peaks(one, other) >= STARS
        if sampled and len(counts) > COUNTED:
            starry.append(one)
        elif (sampled or not wide) and other is not None:
            counts.append(counted_stars(without(one, other)))
            starry += [one] if counts[-1] >= STARS else []
        elif one.frame.meta.kind != "flat":  # alone, or all are alike: then only their width tells stars
            counts.append(counted_stars(one.frame, WIDTH_PX))
            starry += [one] if counts[-1] >= STARS else []
    return starry, max(counts)


def own_peaks(one: Look, other: Look) -> int:
    """Peaks like stars that the sample of one frame shows and that of another does not."""
    a, b = (by_colour(look.frame, sample(look.frame), look.level_dn)[2] for look in (one, other))
    if a.shape != b.shape:
        return 0
    _, _, left, sigma = coarse(a - b * np.float32(ratio_of(one, other)))
    stars, spikes = peaks(left, sigma, a.shape[1])
    return stars if stars > spikes else 0


def ratio_of(one: Look, other: Look) -> float:
    """The factor that brings another frame to the level of one: flats have their structure in proportion to it."""
    return one.level_dn / other.level_dn if one.frame.meta.kind == "flat" and other.level_dn > 0 else 1.0


def without(one: Look, other: Look) -> Frame:
    """The middle of one frame without what another shows at the same places."""
    step = period(one.frame.meta.pattern)
    bounds = []
    for size in one.frame.shape:
        first = max(0, size - WINDOW_PX) // 2 // step * step
        bounds += [first, min(size, first + WINDOW_PX)]
    a, b = (np.asarray(look.frame.pixels(*bounds), np.float32) for look in (one, other))
    left = a - b * np.float32(ratio_of(one, other))
    meta = one.frame.meta.with_(saturation_dn=None, data_px=None, overscan_px=())
    return ArrayFrame.of(left + np.float32(one.level_dn), one.source, meta)


def counted_stars(frame: Frame, width_px: float = 0.0) -> int:
    """How many stars a frame shows; none when they are narrower than `width_px`."""
    found = SubframeSelector(max_stars=50).measure(frame)
    return (found[0].stars or 0) if found and (found[0].fwhm_px or 0.0) >= width_px else 0


def like_a_light(doctor: Doctor, evidence: Evidence, group: Group, one: Look) -> bool:
    """Whether a flat with stars is exposed as lights are, or too little for a flat: then it is no twilight."""
    scale, meta = full_scale(evidence, group), one.frame.meta
    camera = camera_key(meta.camera)
    lights = [g for g in evidence.groups("light") if camera_key(g.meta.camera) == camera]
    exposures = [g.exposure_s for g in lights if g.exposure_s]
    if meta.exposure_s and any(same_exposure(meta.exposure_s, other) for other in exposures):
        return True
    if scale is not None and one.level_dn < doctor.flat_lowest * scale[0]:
        return True
    known = [other.level_dn for g in lights for other in evidence.of(g)]
    return not (meta.exposure_s and exposures) and bool(known) and one.level_dn < 2 * float(np.median(known))


def starless_lights(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """H01: lights that are as dark as a dark, or as even and bright as a flat."""
    for part in evidence.plan.sets:
        dark = evidence.level(part.dark) or evidence.level(part.bias)
        looks = evidence.of(part)
        blank = [one for one in looks if one.stars <= 1]
        lit = [one for one in looks if one not in blank]
        if dark is not None:
            # a narrowband sky may be as dark, but then stars show in other lights as little as in this one
            capped = [one for one in blank if abs(one.level_dn - dark) < max(2.0, 0.2 * one.spread_dn)]
            if capped and lit and min(one.level_dn for one in lit) > dark + max(4.0, 0.5 * capped[0].spread_dn):
                sentence = f"""{some(capped)}: called light, but there is no star, and the level is that of the darks
                    ({figure(capped[0].level_dn)} DN, darks {figure(dark)} DN): a dark with a wrong header, or the cap
                    was on"""
                yield finding("H01", "warn", capped, capped[0].level_dn, dark, "DN", sentence)
        flats = evidence.of(getattr(part.flat, "group", None))
        usual = min((one.level_dn for one in flats), default=np.inf)
        even = [one for one in blank if lit and one.level_dn > 0.5 * usual]
        if even:
            sentence = f"""{some(even)}: called light, but without stars and at {figure(even[0].level_dn, 0)} DN as
                bright as the flats (from {figure(usual, 0)} DN on): a flat with a wrong header?"""
            yield finding("H01", "warn", even, even[0].level_dn, usual, "DN", sentence)
