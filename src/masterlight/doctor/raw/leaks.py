"""Light in the darks: what changes from frame to frame over the whole frame, and rates that are not steady."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from masterlight.core.units.figures import figure
from masterlight.doctor import pictures
from masterlight.doctor.evidence import Evidence, Look, alike, in_zones, level_of
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor

ROUGH = 0.03
"""Bands and steps are rougher than this part of what they reach, from one row that was read to the next; light falls
smoothly. A random walk has 0.07 of it, a gradient that falls to a third over a quarter of the frame 0.005."""
BEYOND = 3.0
"""Times the variance of noise from which on roughness is believed: of 22 second differences it scatters by 0.4."""
LEAST_DN = 0.5
"""Rounding alone makes rows that differ by part of a DN."""
SAME = 0.8
"""Correlation from which on a change is a dark's own pattern, brighter or fainter."""
RATIO = 1.2
"""Rates of dark current may differ by this factor."""


def leaks(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D12: darks whose coarse map changes from frame to frame, as light does it and no drift of the bias."""
    for group in evidence.groups("dark", "flatdark"):
        looks = [one for one in evidence.of(group) if one.blocks.shape == evidence.of(group)[0].blocks.shape]
        if len(looks) < 3:
            continue
        maps = np.stack([one.blocks - np.median(one.blocks) for one in looks])
        usual = np.median(maps, axis=0)
        change = np.stack([in_zones(lit(one, m - usual)) for one, m in zip(looks, maps, strict=True)])
        reach = np.ptp(change, axis=(1, 2))
        least = max(doctor.outlier_dn, 3 * float(np.median(reach)))  # what is in all of them is no accident
        limit = [max(8 * one.zone_error_dn * np.sqrt(2), 0.5 * one.spread_dn, least) for one in looks]
        bad = [i for i in range(len(looks)) if reach[i] > limit[i]]
        if not bad:
            continue
        worst = max(bad, key=lambda i: reach[i])
        own = follows(change[worst], in_zones(usual))
        if own and all(warmer(looks[i], looks) for i in bad):
            continue  # a warmer sensor has more dark current, and the pattern of it
        or_else = ""
        if own and not temperatures_c(looks):
            or_else = ", or its glow changes with a temperature that no header tells"
        across = change[worst] - change[worst].mean(axis=1, keepdims=True)
        if np.ptp(across) < 0.25 * reach[worst]:
            or_else = ", or the bias level drifts while a frame is read"
        sentence = f"""{some([looks[i] for i in bad])}: a gradient of {figure(reach[worst])} DN that the other darks
            do not have (expected: below {figure(limit[worst])} DN): light gets in{or_else}. Darks want a cap, tape
            over the viewfinder and gaps, or darkness"""
        picture = pictures.image(change[worst])
        yield finding("D12", "warn", [looks[i] for i in bad], reach[worst], limit[worst], "DN", sentence, picture)


def lit(one: Look, change: np.ndarray) -> np.ndarray:
    """What light may have done of a change: without bands of rows or columns, and without steps between amplifiers."""
    without, noise = without_steps(change), 8 * one.zone_error_dn * np.sqrt(2)
    change = without if np.ptp(in_zones(without)) < max(noise, 0.25 * np.ptp(in_zones(change))) else change
    for axis in (1, 0):
        profile = change.mean(axis=axis, keepdims=True)
        if is_banded(profile.ravel(), one.block_error_dn / np.sqrt(change.shape[axis])):
            change = change - profile
    return change


def is_banded(profile: np.ndarray, error: float) -> bool:
    """Whether means of rows or columns jump from one to the next as no light does: by their second differences."""
    if profile.size < 6:
        return False
    second = np.diff(profile, 2)
    power, noise = float(np.mean(second**2)) / 6, error**2
    return power > BEYOND * noise and power - noise > max(LEAST_DN, ROUGH * float(np.ptp(profile))) ** 2


def without_steps(blocks: np.ndarray) -> np.ndarray:
    """A map without the level of each of its quarters: amplifiers drift, each by itself."""
    out = blocks.copy()
    rows, cols = (n // 2 for n in blocks.shape)
    for part in (out[:rows, :cols], out[:rows, cols:], out[rows:, :cols], out[rows:, cols:]):
        part -= np.median(part)
    out[rows - 1 : rows + 1], out[:, cols - 1 : cols + 1] = 0, 0  # those may be of both
    return out


def follows(change: np.ndarray, usual: np.ndarray) -> bool:
    """Whether a change has the pattern that these darks always have."""
    if not (np.ptp(change) > 0 and np.ptp(usual) > 0):
        return False
    return abs(float(np.corrcoef(change.ravel(), usual.ravel())[0, 1])) > SAME


def warmer(one: Look, looks: list[Look]) -> bool:
    """Whether the sensor had another temperature in one frame than it usually has in these."""
    own = one.frame.meta.temperature_c
    return own is not None and abs(own - float(np.median(temperatures_c(looks)))) > 0.3


def temperatures_c(looks: list[Look]) -> list[float]:
    """The sensor's temperatures that the headers tell."""
    return [t for t in (one.frame.meta.temperature_c for one in looks) if t is not None]


def unsteady_rates(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D12: darks of different exposures and one temperature whose rates differ by more than the bias may drift."""
    known = []
    for group in evidence.groups("dark", "flatdark"):
        bias = evidence.bias_for(group)
        excess = level_of(evidence.of(group)) - bias if bias is not None and group.exposure_s else 0.0
        if excess > 10.0:
            known.append((excess, group))
    for one, two in combinations(known, 2):
        (low, slow), (high, fast) = sorted((one, two), key=lambda pair: pair[0] / pair[1].exposure_s)
        cold = None in (slow.temperature_c, fast.temperature_c) or slow.meta.shape != fast.meta.shape
        if cold or abs(slow.temperature_c - fast.temperature_c) > 0.5 or not alike(slow.meta, fast.meta):
            continue
        rate, other_rate = high / fast.exposure_s, low / slow.exposure_s
        sure = (high - doctor.outlier_dn) / fast.exposure_s > RATIO * (low + doctor.outlier_dn) / slow.exposure_s
        if sure:
            ratio = rate / other_rate
            sentence = f"""dark current is {rate:.3g} DN/s in {fast} and {other_rate:.3g} DN/s in {slow}: a factor of
                {ratio:.2f} (20 % are usual): light gets in, or the bias level differs; take them in darkness"""
            yield finding("D12", "warn", [*fast.frames, *slow.frames], ratio, RATIO, "times", sentence)
