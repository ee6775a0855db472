"""What is wrong with a master: too few frames, bias in the flat, glow and light in the dark."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from masterlight.colour.pattern import verify_pattern
from masterlight.core.frame import Frame
from masterlight.core.statistics.scale import madn
from masterlight.core.units.figures import figure
from masterlight.doctor import pictures
from masterlight.doctor.evidence import large, middle_of, neighbour_noise, region, sample
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.maps import Coarse, common
from masterlight.doctor.process import Doctor
from masterlight.doctor.raw.drying import changing_places
from masterlight.doctor.raw.flats import hot_pixels
from masterlight.doctor.raw.places import bad_places, places
from masterlight.session.groups import PLURAL

UNLIKE = 0.05
"""Pixels of a square of two that differ by more than this fraction see other colours."""

BLOCK = 0.01
"""A block of dead pixels is smaller than this part of a frame; what is larger lies before the sensor."""
BLIND = 0.2
"""Zones of a flat below this part of its level saw no light: they say nothing of how a dark is shaded."""
NEGATIVE = 0.10
"""Of a dark without its bias this part of the pixels may be negative: the median is 1.3 sigma of noise above zero."""


@dataclass(frozen=True, eq=False)
class Case:
    """A master, and what is known of it; see `Doctor.master`."""

    kind: str
    master: Frame
    bias: Frame | None = None
    dark: Frame | None = None
    flat: Frame | None = None
    frames: Sequence[Frame] = ()
    noise_dn: Sequence[float] = ()
    scaled: bool = False

    def __str__(self) -> str:
        return some([self.master])

    @cached_property
    def rows(self) -> np.ndarray:
        """A sample of the master's pixels."""
        return sample(self.master)

    @cached_property
    def level_dn(self) -> float:
        return middle_of(self.rows)


def examine(doctor: Doctor, case: Case) -> Iterator[Finding]:
    """All findings about one master."""
    yield from frame_count(doctor, case)
    if not large(case.master) or not np.isfinite(case.rows).mean() > 0.5:
        return
    if case.kind == "flat":
        yield from flat_depth(doctor, case)
        yield from bias_in_flat(case)
        yield from blind_pixels(doctor, case)
        yield from unmarked_mosaic(case.master)
        yield from hot_pixels(doctor, case.master, case.rows)
        yield from changing_places(doctor, case.master, case.frames, case.bias)
        if not case.frames:
            yield from greens(case.master, case.master.meta.pattern, str(case), [case.master])  # else theirs have told
    if case.kind in ("dark", "flatdark") and case.master.shape[-2:] == (case.bias or case.master).shape[-2:]:
        yield from dark_against_bias(doctor, case)
        yield from glow(doctor, case)


def frame_count(doctor: Doctor, case: Case) -> Iterator[Finding]:
    """D16: masters of few frames."""
    wanted = {"flat": doctor.flats, "bias": doctor.biases}.get(case.kind, doctor.darks)
    told = case.master.meta.frames
    n = len(case.frames) or (told if told > 1 else 0)
    if 0 < n < wanted:
        share = 100 * (np.sqrt(1 + 1 / n) - 1)
        sentence = f"""{case} is made of {n} {PLURAL[case.kind] if n > 1 else PLURAL[case.kind][:-1]} ({wanted} are
            better): its noise adds up to {share:.0f} % to that of a light, more to a stack that is not dithered"""
        yield finding("D16", "info", [case.master], n, wanted, "frames", sentence)


def flat_depth(doctor: Doctor, case: Case) -> Iterator[Finding]:
    """D16: signal to noise of a flat's pixel, from the noise of its frames."""
    if not (len(case.noise_dn) and np.median(case.noise_dn) > 0 and case.level_dn > 0):
        return
    n = max(len(case.frames), len(case.noise_dn))
    snr = case.level_dn / (float(np.median(case.noise_dn)) / np.sqrt(n))
    if snr < doctor.flat_snr:
        sentence = f"""{case}: signal to noise of a pixel is {snr:.0f} (at least {doctor.flat_snr:g} is wanted, 1000 is
            good): about {n * (doctor.flat_snr / snr) ** 2:.0f} flats of this level would reach it"""
        yield finding("D16", "warn", [case.master], snr, doctor.flat_snr, "signal to noise", sentence)


def bias_in_flat(case: Case) -> Iterator[Finding]:
    """D06: a ready-made flat that does not say whether its bias was taken off, and looks as if it was not."""
    master, bias, meta = case.master, case.bias, case.master.meta
    if meta.contains_bias is False or "B" in meta.calibration or bias is None or bias.shape[-2:] != master.shape[-2:]:
        return
    pedestal, level, lowest = middle_of(sample(bias)), case.level_dn, float(np.nanmin(case.rows))
    if meta.contains_bias is True or not (pedestal > 0 and lowest >= pedestal and level > 2 * pedestal):
        return
    dead = case.rows[case.rows < pedestal + 0.2 * (level - pedestal)]
    sure = dead.size >= 3 and float(np.median(dead)) < pedestal + 0.1 * (level - pedestal)
    sentence = f"""{case} does not say that its bias was subtracted (no CALSTAT, no CALBIAS), and no pixel of it is
        below the bias level ({figure(lowest, 0)} DN against {figure(pedestal, 0)} DN): if the bias is in it, it
        corrects too little, by {100 * pedestal / level:.1f} %. Make it anew from raw flats, or write CALSTAT 'B' into
        it"""
    yield finding("D06", "error" if sure else "warn", [case.master], lowest, pedestal, "DN", sentence)


def blind_pixels(doctor: Doctor, case: Case) -> Iterator[Finding]:
    """D05: pixels of a master flat that saw no light or hold nothing; those of bad columns are told apart."""
    blind = ~(case.rows > 0.01 * case.level_dn)
    found = places(blind)
    small = found.blocks.mean() < BLOCK
    if found.columns.any() or (found.blocks.any() and small):
        words = found.in_words(region(case.master)[2]) if small else found.in_columns(region(case.master)[2])
        yield bad_places("D05", [case.master], f"{words} (without light)")
    blind = found.rest | found.blocks if not small else found.rest
    share = float(np.mean(blind))
    if share > doctor.clipped_fraction and np.count_nonzero(blind) >= 5:
        where = (
            f", most of them {found.in_blocks(region(case.master)[2])}" if 2 * found.blocks.sum() > blind.sum() else ""
        )
        sentence = f"""{case}: {share:.2%} of its pixels saw no light{where} (allowed: {doctor.clipped_fraction:.2%});
            they are left out of the result. Is something in front of the sensor?"""
        picture = pictures.image(Coarse.of(case.master).zones)
        yield finding("D05", "warn", [case.master], 100 * share, 100 * doctor.clipped_fraction, "%", sentence, picture)


def greens(pixels: Frame | np.ndarray, letters: str | None, name: str, frames: Sequence[Frame]) -> Iterator[Finding]:
    """D17: flats whose greens are not where their colour pattern has them: the pixels that are equally bright.

    pixels: a mosaic, or the means of the pixels of its pattern (size, size).
    """
    if letters and set(letters) == set("RGB") and len(pixels.shape) == 2:
        verdict = verify_pattern(pixels, letters)
        if not verdict:
            sentence = f"{name}: {verdict.sentence}; correct BAYERPAT or ROWORDER in the headers"
            yield finding("D17", "error", frames, None, None, "", sentence)


def unmarked_mosaic(frame: Frame) -> Iterator[Finding]:
    """D17: a frame of a colour camera whose header does not say so: of each four pixels, only two are alike."""
    if frame.meta.pattern or len(frame.shape) != 2:
        return
    rows, cols = frame.shape
    y, x = (max(0, (size - 512) // 2) // 2 * 2 for size in (rows, cols))
    middle = frame.pixels(y, min(rows, y + 512), x, min(cols, x + 512))
    a, b, c, d = (float(np.nanmedian(middle[j::2, i::2])) for j in (0, 1) for i in (0, 1))
    level, spread = np.mean([a, b, c, d]), np.ptp([a, b, c, d])
    greens = min(abs(a - d), abs(b - c))
    if level > 0 and spread > UNLIKE * level and greens < 0.2 * spread:
        sentence = f"""{some([frame])}: the four pixels of each square differ by {100 * spread / level:.0f} %
            ({figure(a, 0)}, {figure(b, 0)} / {figure(c, 0)}, {figure(d, 0)} DN) as those of a colour camera do, but the
            header tells no colour pattern: give it with Debayer.pattern (RGGB, BGGR, GBRG or GRBG; the two alike are
            green)"""
        picture = pictures.image(middle[:60, :80])
        yield finding("D17", "error", [frame], 100 * spread / level, 100 * UNLIKE, "%", sentence, picture)


def dark_against_bias(doctor: Doctor, case: Case) -> Iterator[Finding]:
    """D01: the dark current is lost in noise; D10: the dark is darker than the bias."""
    master, bias = case.master, case.bias
    if bias is None or master.meta.contains_bias is False:
        return
    current = case.rows - sample(bias)
    if not np.isfinite(current).any():
        return
    level, sigma = middle_of(current), madn(current)
    negative = float(np.mean(current[np.isfinite(current)] < 0))
    if level < -max(doctor.outlier_dn, sigma) and not case.frames:
        sentence = f"{case} lies {figure(-level)} DN below the bias: another offset, gain or mode; take both alike"
        yield finding("D10", "error", [master, bias], level, 0, "DN", sentence)
    elif case.scaled and negative > NEGATIVE and level < 2 * sigma:
        sentence = f"""{case}: without the bias, its median is {figure(level, 2)} DN, {level / max(sigma, 1e-9):.1f}
            sigma (2 are wanted), and {negative:.0%} of its pixels are negative (up to {NEGATIVE:.0%} pass): there is
            hardly any dark current to scale; take darks of the exposure of the lights and subtract them as they are"""
        yield finding("D01", "warn", [case.master], level / max(sigma, 1e-9), 2, "sigma", sentence)


def glow(doctor: Doctor, case: Case) -> Iterator[Finding]:
    """D11: glow in a dark that is scaled; D12: a dark that is shaded like the flat."""
    master, bias, flat = case.master, case.bias, case.flat
    shaded = bias is not None and flat is not None and flat.shape[-2:] == master.shape[-2:]
    if not (case.scaled or shaded):
        return
    zones = Coarse.of(master).zones
    zones = zones - (Coarse.of(bias).zones if bias is not None else middle_of(zones))
    if not np.isfinite(zones).any():
        return
    noise = neighbour_noise(case.rows) or 1.0
    low, high = np.nanpercentile(zones, [2, 98])
    if case.scaled and high - low > doctor.glow_sigma * noise:
        sentence = f"""{case}: a glow of {figure(high - low)} DN, {(high - low) / noise:.0f} times the noise of a pixel
            ({doctor.glow_sigma:g} are allowed), and the dark is scaled: glow does not grow with time as dark current
            does. Take darks of the exposure of the lights"""
        times = (high - low) / noise
        yield finding("D11", "warn", [case.master], times, doctor.glow_sigma, "sigma", sentence, pictures.image(zones))
    if not shaded:
        return
    light = Coarse.of(flat).zones
    light = np.log(np.where(light > BLIND * middle_of(light), light, np.nan))  # dead pixels are dark in both
    if np.nanstd(light) < 0.01 or zones.shape != light.shape:
        return
    r, reach = shading(zones, light)
    if r > doctor.leak_correlation and reach > max(0.5 * noise, 1.0):
        sentence = f"""{case}: without the bias it is shaded like the flat (correlation {r:.2f}, limit
            {doctor.leak_correlation:g}; {figure(reach)} DN over the frame): take darks in darkness, with the cap on"""
        picture = pictures.image(zones)
        yield finding("D12", "warn", [case.master], r, doctor.leak_correlation, "correlation", sentence, picture)


def shading(zones: np.ndarray, light: np.ndarray) -> tuple[float, float]:
    """How a dark follows the logarithm of the flat, along rows and along columns: (correlation, DN over the frame).

    The weaker of both directions counts: bands of a drifting bias follow it in one of them by chance.
    """
    found = []
    good = np.isfinite(zones) & np.isfinite(light)
    for axis in (0, 1):
        seen = good & (good.sum(axis=axis, keepdims=True) > 0.5 * good.shape[axis])  # lines with more than blind zones
        y, x = (np.where(seen, array, np.nan) - medians(array, seen, axis) for array in (zones, light))
        slope, r, *_ = common(y, x, order=1)
        found.append((r, slope * float(np.nanmax(light) - np.nanmin(light))))
    return min(r for r, _ in found), min(reach for _, reach in found)


def medians(array: np.ndarray, seen: np.ndarray, axis: int) -> np.ndarray:
    """Medians along an axis of what is seen, kept as an axis; 0 where nothing is."""
    lines = np.where(seen.any(axis=axis, keepdims=True), np.where(seen, array, np.nan), 0.0)
    return np.nanmedian(lines, axis=axis, keepdims=True)
