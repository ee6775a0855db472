"""`Motion`: where a comet is on the reference's grid at any time, by places that were given or measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

HOUR_S = 3600.0
FEWEST, FEWEST_CURVED = 3, 6
"""Measured places that tell a line, and a curve."""
SURE, WORTH_PX = 1e-3, 0.05
"""A curve is believed where chance would make one as good as this seldom, and where it leaves the line by so much."""
TRIES = 500
"""Sets of places through which a way is tried."""
FLOOR_PX = 0.02
"""Places are hardly better known than this: coma and seeing are no circles."""


class Seen(NamedTuple):
    """The nucleus as one light shows it."""

    time_s: float
    """Middle of the exposure, since 1970."""
    x_px: float
    """On the reference's grid, among the stars."""
    y_px: float
    error_px: float
    """Of one axis, by the noise."""


@dataclass(frozen=True)
class Motion:
    """Where a comet is on the reference's grid at any time: a polynomial of the time."""

    epoch_s: float
    """When the comet is where results show it, s since 1970."""
    terms: tuple[tuple[float, float], ...]
    """(x, y) px at the epoch, px/h, px/h2; the place is nan where only a rate is known."""
    measured: int = 0
    """Lights in which the nucleus was measured, that agree."""
    rms_px: float = float("nan")
    """How far they lie from it, over both axes."""
    note: str = ""

    @classmethod
    def through(cls, times_s: Sequence[float], xy: ArrayLike, epoch_s: float, rate: ArrayLike | None = None) -> Motion:
        """Straight through places (n, 2) px, or from one, or none, at a rate (x, y) px an hour."""
        hours, places = hours_of(times_s, epoch_s), np.asarray(xy, float).reshape(-1, 2)
        if rate is not None:
            start = places[0] - hours[0] * np.asarray(rate, float) if len(places) else np.full(2, np.nan)
            return cls(epoch_s, (pair(start), pair(np.asarray(rate, float))))
        return cls(epoch_s, tuple(map(pair, fitted(hours, places, np.ones(len(hours)), 1))))

    @property
    def is_placed(self) -> bool:
        """Whether it is known where the comet is, and not only how fast it moves."""
        return bool(np.isfinite(self.terms[0]).all())

    @property
    def rate_px_h(self) -> float:
        """Its speed at the epoch."""
        return float(np.hypot(*self.terms[1]))

    def at(self, time_s: float) -> np.ndarray:
        """(x, y) px of the nucleus at a time."""
        return np.asarray(self.terms[0]) + self.shift(time_s)

    def shift(self, time_s: float) -> np.ndarray:
        """How far (x, y) px the comet has moved since the epoch."""
        return moved(self.terms, (time_s - self.epoch_s) / HOUR_S)

    def placed_at(self, xy: ArrayLike) -> Motion:
        """The same with the place at the epoch."""
        return replace(self, terms=(pair(np.asarray(xy, float)), *self.terms[1:]))

    def __str__(self) -> str:
        """Its way in words."""
        toward = np.degrees(np.arctan2(self.terms[1][1], self.terms[1][0]))
        words = f"the comet moves {self.rate_px_h:.2f} px/h over the stars, {toward:+.1f} deg from x towards y"
        if len(self.terms) > 2:
            words += f", on a curve ({np.hypot(*self.terms[2]) * 2:.2f} px/h2)"
        return words


def pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def hours_of(times_s: Sequence[float], epoch_s: float) -> np.ndarray:
    return (np.asarray(times_s, float) - epoch_s) / HOUR_S


def moved(terms: Sequence[tuple[float, float]], hours: float) -> np.ndarray:
    """What the terms beyond the first give, (2,) px."""
    return sum((np.asarray(term) * hours**k for k, term in enumerate(terms) if k), np.zeros(2))


def fitted(hours: np.ndarray, xy: np.ndarray, weight: np.ndarray, degree: int) -> np.ndarray:
    """Terms (degree + 1, 2) of the polynomial through places (n, 2) with the least weighted squared error."""
    size = max(float(np.ptp(hours)), 1e-9)
    middle = float(hours.mean())
    powers = np.vander((hours - middle) / size, degree + 1, increasing=True)
    root = np.sqrt(weight)[:, None]
    around = np.linalg.lstsq(powers * root, xy * root, rcond=None)[0] / size ** np.arange(degree + 1)[:, None]
    terms = np.zeros_like(around)
    for k, term in enumerate(around):  # from the middle to the epoch
        for j in range(k + 1):
            choose = np.prod(np.arange(k - j + 1, k + 1)) / np.prod(np.arange(1, j + 1))
            terms[j] += term * choose * (-middle) ** (k - j)
    return terms


def robust(hours: np.ndarray, xy: np.ndarray, error_px: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Terms of the polynomial that most places lie on, and the weights (n,) that they have kept, 0 for those astray."""
    own = 1 / (error_px**2 + FLOOR_PX**2)
    terms, fade = fitted(hours, xy, own, degree), np.ones(len(hours))
    least = np.inf
    for some in few_of(len(hours), degree + 1):  # the median of the errors is no lever (Rousseeuw 1984)
        tried = fitted(hours[some], xy[some], own[some], degree)
        off = float(np.median(np.hypot(*(xy - values(tried, hours)).T) * np.sqrt(own)))
        if off < least:
            terms, least = tried, off
    for _ in range(8):
        off = np.hypot(*(xy - values(terms, hours)).T) * np.sqrt(own)
        fade = (off < 4 * max(float(np.median(off)) / 1.1774, 1.0)).astype(float)
        terms = fitted(hours, xy, own * np.maximum(fade, 1e-9), degree)
    return terms, own * fade


def few_of(count: int, size: int) -> list[list[int]]:
    """Sets of so many of `count` places: all of them, or many at random, always the same."""
    if comb(count, size) <= TRIES:
        return [list(some) for some in combinations(range(count), size)]
    rng = np.random.default_rng(count)
    return [rng.choice(count, size, replace=False).tolist() for _ in range(TRIES)]


def values(terms: np.ndarray, hours: np.ndarray) -> np.ndarray:
    return np.vander(hours, len(terms), increasing=True) @ terms


def refined(given: Motion, seen: Sequence[Seen], way: str, reach_px: float) -> Motion:
    """The motion by where the nucleus was measured; the given one, with a note, where too few places agree on one.

    Places lie within `reach_px` of the given way. A curve is taken where its chi-square falls by more than chance.
    """
    wanted = 2 if way == "curve" else 1
    least = FEWEST if wanted == 1 else FEWEST_CURVED - 2
    if len(seen) < least:
        return replace(given, note=f"its nucleus can be measured in {len(seen)} lights: the way is taken as given")
    hours = hours_of([one.time_s for one in seen], given.epoch_s)
    xy, error_px = np.array([one[1:3] for one in seen]), np.array([one.error_px for one in seen])
    terms, weight = robust(hours, xy, error_px, wanted)
    if way == "auto" and len(seen) >= FEWEST_CURVED:
        curved, kept = robust(hours, xy, error_px, 2)
        if is_better(hours, xy, terms, curved, kept):
            terms, weight = curved, kept
    good = weight > 0
    rms = float(np.sqrt(np.mean(np.sum((xy - values(terms, hours))[good] ** 2, axis=1))))
    if good.sum() < max(least, 0.5 * len(seen)) or rms > reach_px / 2:
        words = f"where its nucleus is measured in {len(seen)} lights does not agree on a way ({rms:.1f} px)"
        return replace(given, note=f"{words}: the way is taken as given")
    return Motion(given.epoch_s, tuple(map(pair, terms)), int(good.sum()), rms)


def is_better(hours: np.ndarray, xy: np.ndarray, line: np.ndarray, curve: np.ndarray, weight: np.ndarray) -> bool:
    """Whether places lie on a curve, and not on a line as chance would have it: an F test of its two numbers more."""
    straight, bent = (
        float(weight @ np.sum((xy - values(terms, hours)) ** 2, axis=1))
        for terms in (fitted(hours, xy, np.maximum(weight, 1e-6 * weight.max()), 1), curve)
    )
    spare = 2 * np.count_nonzero(weight) - 6
    if spare < 2 or np.abs(values(line, hours) - values(curve, hours)).max() < WORTH_PX:
        return False
    share = bent / max(straight, 1e-300)  # of chance it falls below this so seldom
    return share < betaincinv(spare / 2, 1.0, SURE)
