"""What is wrong with the flats of a set, place by place."""

from collections.abc import Iterator, Sequence

import numpy as np

from masterlight.core.frame import Frame
from masterlight.core.headers.values import seconds_of
from masterlight.core.statistics.scale import madn
from masterlight.doctor import pictures
from masterlight.doctor.evidence import ZONES, Evidence, Look, region, sampled_rows
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor
from masterlight.session.found.witness import DOUBT
from masterlight.session.groups import Group

FEWEST, SHARE = 4, 3
"""Of so many flats or more, at most one in so many is odd; where more are, none is told from the others."""
FARTHER = 5.0
"""An odd flat is so many times farther from their median than the usual one."""
HOT = 0.05
"""Good pixels of a sensor answer to light alike within this part."""
BLIND = 0.1
"""Zones of a flat below this part of its level saw hardly any light, and tell nothing of how it falls."""
BRIGHTER = 0.2
"""A level that is higher by less than this part is not odd; a lower one never is by itself."""

Maps = tuple[Group, list[Look], np.ndarray]
"""Flats and their coarse maps (n, rows, cols) over their level."""


def flats_called_light(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """H01: lights that look like flats, as the plan saw when it looked at their pixels, and stay lights."""
    for group in evidence.groups("light"):
        doubted = {f: note for f in group.frames for note in f.meta.notes if note.startswith(DOUBT)}
        if doubted:
            sentence = f"{some(list(doubted))}: called light, but {next(iter(doubted.values()))}"
            crop = pictures.crop_of(next(iter(doubted)))
            yield finding("H01", "warn", list(doubted), len(doubted), 0, "frames", sentence, crop)


def hot_pixels(doctor: Doctor, master: Frame, rows: np.ndarray) -> Iterator[Finding]:
    """D29: pixels of a master flat that are hot, as no dark was taken out of its frames; rows: a sample of it."""
    step = 2 if rows.shape[1] > 1 else 1  # to the next pixel of its colour
    reach = 4 * step
    if "D" in master.meta.calibration or rows.shape[-1] < 4 * reach:
        return
    here, far = rows[..., reach:-reach], rows.shape[-1] - reach
    around = np.stack([rows[..., reach + i * step : far + i * step] for i in (-4, -3, -2, 2, 3, 4)])
    beside = np.maximum(*(rows[..., reach + i * step : far + i * step] for i in (-1, 1)))
    usual = np.median(around, axis=0)
    usual = np.where(usual > 0, usual, np.nan)
    with np.errstate(invalid="ignore"):
        above = here / usual - 1
        alone = beside / usual - 1 < 0.5 * above  # grain and motes of a flat are wider than a pixel
        even = np.ptp(around, axis=0) < 0.5 * usual  # no border of dead pixels
        hot = alone & even & (above > max(HOT, 8 * madn(above)))
    share = float(np.mean(hot))
    if np.count_nonzero(hot) >= 5 and share > doctor.hot_fraction:
        group, line, x = np.unravel_index(int(np.argmax(np.where(hot, above, 0))), above.shape)
        sentence = f"""{share:.2%} of the pixels of {some([master])} are over {HOT:.0%} above their neighbours, by up
            to {above[group, line, x]:.0%}: hot ones, as no dark was taken out of the flats. They make dark pixels of
            lights; a run repairs those that no dark shows. Take flat-darks, or shorter flats"""
        y, x = sampled_rows(master)[group] + line, region(master)[2] + reach + x
        y, x = (max(12, min(int(at), size - 12)) for at, size in zip((y, x), master.shape, strict=True))
        crop = pictures.image(master.pixels(y - 12, y + 12, x - 12, x + 12))
        yield finding("D29", "warn", [master], 100 * share, 100 * doctor.hot_fraction, "%", sentence, crop)


def odd_flats(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D20: a flat on which other light falls than on the others of its set; a run leaves it out."""
    for group, looks, maps in flat_maps(evidence):
        away, brighter, odd = oddness(doctor, evidence, (group, looks, maps))
        if not odd.any():
            continue
        bad = [one for one, is_odd in zip(looks, odd, strict=True) if is_odd]
        worst = int(np.argmax(np.where(odd, np.maximum(away, brighter), 0)))
        others, limit = f"{len(looks) - len(bad)} {group.title}", limit_of(doctor, away)
        level = f"{abs(brighter[worst]):.0%} {'higher' if brighter[worst] > 0 else 'lower'}"
        elsewhere = f"by up to {away[worst]:.1%} over the frame, theirs differs by {np.median(away[~odd]):.1%}"
        told = f"light falls otherwise than in the other {others} ({elsewhere}, at a level {level})"
        if away[worst] <= limit:
            told = f"its level is {level} than the other {others} and their course lead to expect"
        sentence = f"""{some(bad)}: {told}: a lamp was on, a cloud or a shadow passed. A run leaves out what is odd"""
        usual = np.median(maps[~odd], axis=0)
        shape = ratio_to(maps[worst], usual)
        picture = pictures.side_by_side(usual, shape if np.ptp(shape) > 0 else usual)
        value = max(away[worst], brighter[worst])
        limit = doctor.drift_fraction if away[worst] >= brighter[worst] else BRIGHTER
        yield finding("D20", "warn", bad, 100 * value, 100 * limit, "%", sentence, picture)


def oddness(doctor: Doctor, evidence: Evidence, flats: Maps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each flat of a set: how far its light departs from the usual over the frame, its level, whether it is odd."""
    group, looks, maps = flats
    away = np.ptp(ratio_to(maps, np.median(maps, axis=0)), axis=(1, 2)) - 5 * zone_error(evidence, group, looks)
    away = np.maximum(away, 0)
    levels = np.array([one.level_dn for one in looks]) - (evidence.bias_for(group) or 0.0)
    seconds = [one.frame.meta.exposure_s or 0.0 for one in looks]
    brighter = beyond_trend(looks, levels)
    if min(seconds) > 0:  # a panel turned up and exposed shorter is no odd light
        brighter = np.minimum(brighter, beyond_trend(looks, levels / seconds))
    odd = away > limit_of(doctor, away)
    odd |= brighter > max(BRIGHTER, 2 * FARTHER * float(np.median(np.abs(brighter))))
    few = len(looks) >= FEWEST and odd.sum() <= len(looks) // SHARE
    return away, brighter, odd if few else np.zeros_like(odd)


def ratio_to(maps: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Maps over the usual one; 1 where that saw hardly any light."""
    return np.divide(maps, usual, out=np.ones_like(maps), where=np.broadcast_to(usual > BLIND, maps.shape))


def limit_of(doctor: Doctor, away: np.ndarray) -> float:
    """How far the light of a flat may depart from the usual."""
    return max(doctor.drift_fraction, FARTHER * float(np.median(away)))


def beyond_trend(looks: Sequence[Look], levels: np.ndarray) -> np.ndarray:
    """How much brighter each flat is than a steady dusk or dawn has it, by the median slope of pairs (Theil, Sen)."""
    times = np.array([seconds_of(one.frame.meta.time) or np.nan for one in looks])
    times = times - times[0] if np.isfinite(times).all() and np.ptp(times) > 0 else np.arange(len(looks), dtype=float)
    values = np.log(np.maximum(levels, 1e-9))
    i, j = np.triu_indices(len(looks), 1)
    apart = times[j] != times[i]
    slope = np.median((values[j] - values[i])[apart] / (times[j] - times[i])[apart])
    left = values - slope * times
    return np.expm1(left - np.median(left))


def without_odd(doctor: Doctor, evidence: Evidence) -> Iterator[Maps]:
    """The sets of flats without those that are told to be odd."""
    for group, looks, maps in flat_maps(evidence):
        keep = ~oddness(doctor, evidence, (group, looks, maps))[2]
        yield group, [one for one, good in zip(looks, keep, strict=True) if good], maps[keep]


def flat_maps(evidence: Evidence) -> Iterator[Maps]:
    """(group, looks, coarse maps without bias, divided by their median) of every group of two flats or more."""
    for group in evidence.groups("flat"):
        looks = evidence.of(group)
        bias = evidence.bias_for(group)
        if len(looks) < 2 or bias is None:
            continue
        maps = np.stack([zone_medians(one.blocks) - bias for one in looks])
        level = np.median(maps, axis=(1, 2), keepdims=True)
        if (level > 0).all():
            yield group, looks, maps / level


def zone_medians(blocks: np.ndarray) -> np.ndarray:
    """Blocks as a coarse map of ZONES, in medians: stars of a twilight are in few of them."""
    down, across = (np.array_split(np.arange(n), min(most, n)) for n, most in zip(blocks.shape, ZONES, strict=True))
    return np.array([[np.median(blocks[np.ix_(y, x)]) for x in across] for y in down])


def zone_error(evidence: Evidence, group: Group, looks: Sequence[Look]) -> float:
    """Relative error of a zone of a flat, of photon noise: the pattern of the pixels is in all flats alike.

    That of a median is a quarter larger than that of a mean.
    """
    pair = evidence.pairs.get(id(group))
    if pair is None or not pair.signal_dn > 0:
        return 1.25 * float(np.median([one.zone_error_dn / max(one.level_dn, 1e-9) for one in looks]))
    count = max(1.0, (looks[0].spread_dn / max(looks[0].zone_error_dn, 1e-9)) ** 2)
    return 1.25 * float(pair.noise_dn / pair.signal_dn / np.sqrt(count))
