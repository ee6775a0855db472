"""Frames of which everything below zero was cut off: by a camera without offset, or by the dark that it took itself."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from masterlight.core.units.figures import figure
from masterlight.doctor import pictures
from masterlight.doctor.evidence import Evidence, Look, sample
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor
from masterlight.session.groups import PLURAL, Group

GAUSS = NormalDist()
RUN = 12
"""So many zeros from the end of a row on are a border, as registration leaves it."""
BESIDE = 0.05
"""Of what was cut off, the half sigma above zero holds at least this part; zeros without it are borders or dead."""
FEWEST = 20


@dataclass(frozen=True)
class Cut:
    """What was cut off at zero: the frame would follow a Gaussian of this level and noise if it were whole."""

    level_dn: float
    sigma_dn: float
    zeros: float
    """Fraction of the pixels that are exactly 0."""
    whole: float
    """The fraction that would be 0 if nothing were cut."""

    @property
    def raised_dn(self) -> float:
        """How much higher the mean is than before."""
        z = self.level_dn / self.sigma_dn
        return self.sigma_dn * (GAUSS.pdf(z) - z * GAUSS.cdf(-z))

    @property
    def noise_left(self) -> float:
        """The standard deviation of what is left, as a fraction of that before."""
        z = self.level_dn / self.sigma_dn
        mean = GAUSS.pdf(z) + z * GAUSS.cdf(z)
        return math.sqrt(max(0.0, (1 + z * z) * GAUSS.cdf(z) + z * GAUSS.pdf(z) - mean * mean))


def clipped(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D27: bias frames, darks and lights of which many pixels are exactly 0, where noise should go below it."""
    for group in evidence.groups("bias", "dark", "flatdark", "light"):
        seen = {one.source: (one, cut_at_zero(doctor, one)) for one in evidence.of(group)}
        bad = [(one, cut) for one, cut in seen.values() if cut is not None]
        if not bad:
            continue
        worst, cut = max(bad, key=lambda pair: pair[1].zeros)
        names = [one for one, _ in bad]
        sentence = f"""{100 * cut.zeros:.2g} % of the pixels of {some(names)} are exactly 0, whole frames of this level
            and noise have {100 * cut.whole:.1g} %: what lay below was cut off. {consequence(group, cut)}"""
        rows = sample(worst.frame)
        span = (-0.5, max(8.0, cut.level_dn + 5 * cut.sigma_dn))
        picture = pictures.histogram(np.histogram(rows[np.isfinite(rows)], 64, span), "pixels, DN", {"zero": 0.0})
        limit = 100 * (cut.whole + doctor.zero_fraction)
        yield finding("D27", "warn", names, 100 * cut.zeros, limit, "% of the pixels", sentence, picture)


def consequence(group: Group, cut: Cut) -> str:
    """What the cut does to frames of this kind, and what to do."""
    raised = f"{figure(cut.raised_dn, 2)} DN ({cut.raised_dn / cut.sigma_dn:.2g} sigma)"
    if group.kind == "light":
        return f"""A faint sky comes out too bright, by {raised} on average, for good: raise the offset of the
            camera; if it takes a dark by itself, turn that off"""
    return f"""Their level is {raised} too high, their noise {cut.noise_left:.0%} of the true: raise the offset until no
        pixel is at 0, for the lights too, and take new {PLURAL[group.kind]}"""


def cut_at_zero(doctor: Doctor, one: Look) -> Cut | None:
    """What was cut off a frame; None when it is whole, or when its zeros are borders and dead pixels."""
    if one.negative or one.zeros < max(FEWEST, doctor.zero_fraction * one.pixels):
        return None
    values = without_borders(sample(one.frame))
    step = 2.0**one.shift_bits if one.frame.meta.integer else 0.0
    zeros = float(np.mean(values == 0)) if values.size else 1.0
    if zeros > 0.95 or zeros * values.size < FEWEST:
        return None
    level, sigma = above_the_cut(values, zeros, step)
    if not sigma > 0:
        return None
    z = -level / sigma
    half_step = 0.5 * step / sigma
    whole = GAUSS.cdf(z + half_step) - GAUSS.cdf(z - half_step)
    above = float(np.mean((values > 0) & (values <= max(step, 0.5 * sigma))))
    if zeros - whole < doctor.zero_fraction or above < BESIDE * zeros:
        return None
    return Cut(level, sigma, zeros, whole)


def without_borders(rows: np.ndarray) -> np.ndarray:
    """The finite pixels of a sample (groups, size, cols) without runs of zeros at the ends of its rows."""
    lit = np.nan_to_num(rows) != 0
    first = np.argmax(lit, axis=-1)
    last = rows.shape[-1] - np.argmax(lit[..., ::-1], axis=-1)
    x = np.arange(rows.shape[-1])
    first, last = np.where(first < RUN, 0, first), np.where(last > rows.shape[-1] - RUN, rows.shape[-1], last)
    inside = (x >= first[..., None]) & (x < last[..., None]) & lit.any(axis=-1)[..., None]
    return rows[inside & np.isfinite(rows)]


def above_the_cut(values: np.ndarray, zeros: float, step: float) -> tuple[float, float]:
    """Level and noise before the cut, from two quantiles above it: what was cut off counts, wherever it lay."""
    low = max(0.5, zeros + 0.1 * (1 - zeros))
    places = np.array([low, low + 0.68 * (1 - low)])
    known, counts = np.unique(values, return_counts=True)
    below = np.cumsum(counts) / values.size
    a, b = np.interp(places, below, known + 0.5 * step)
    u, v = (GAUSS.inv_cdf(place) for place in places)
    sigma = (b - a) / (v - u)
    return float(a - u * sigma), float(sigma)
