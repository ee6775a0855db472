"""Frames of a group beside each other: what is usual of them, and by how much each differs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from masterlight.core.headers.values import seconds_of
from masterlight.core.statistics.scale import madn
from masterlight.subframes.bands import strengths
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.transparency import Starlight, clear_light, full_light, starlight, telling
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import Ratio
from masterlight.subframes.stars.doubles import offset_of
from masterlight.subframes.wings import AS_FITTED, wings_beside

Places = tuple[int, list[np.ndarray | None]]
Lay = Callable[[Sequence[StarList | None]], Places]
"""Lays frames on one of them: its number, and 3x3 matrices from its pixels to theirs; see `alignment.overlaid`."""
ENOUGH = 5
"""Frames that tell what is usual in a group."""
SHARPEST, DOUBLE = 0.2, 2.0
"""The sharpest frames of a group, and so many times wider stars are out of focus whatever is usual."""
NO_STARS, FEW_MATCHED = 0.1, 0.3
"""Distance of stars from their profiles, over their heights, from which on they do not look like stars; share of the
usual number of stars that must be found in a frame that tells what is clear."""
WIDTH_FLOOR = SKY_FLOOR = 0.03
"""Spreads, of logarithms, that are usual however alike the frames of a group are."""
FADING_MIN, FADING_FRAMES, STEADY, STEADY_SKY = 30.0, 6, 0.01, 0.2
"""Minutes and frames of steady fading that tell something; how much brighter than the one before a frame may be, and by
how much the sky may change."""


@dataclass(frozen=True, eq=False)
class Group:
    """The frames of one group, what they have together, and where they lie on those of all exposures."""

    frames: tuple[Subframe, ...]
    places: tuple[np.ndarray | None, ...]
    light: tuple[Starlight | None, ...]
    """Of the stars of the target in each frame; None where it is not known."""
    transparency: np.ndarray
    """(N,) the same beside that in clear frames, for the same exposure and gain; NaN where unknown: no fit tells the
    light of stars far out of focus."""

    @classmethod
    def of(cls, frames: Sequence[Subframe], lay: Lay | None = None) -> "Group":
        """All frames of a target through one filter, laid on each other; without `lay` nobody knows where they lie.

        A single frame has all of its own light, as a formula by light asks; whether that is what it should be, nothing
        tells.
        """
        stars = [frame.stars for frame in frames]
        seen = [s is not None and len(s) > 0 for s in stars]
        if lay is None or sum(seen) < 2:
            own = tuple(Starlight(1.0, 0.0, 0) if one and lay is not None else None for one in seen)
            return cls(tuple(frames), (None,) * len(frames), own, np.full(len(frames), np.nan))
        at, places = lay(stars)
        first = frames[at]
        standard = telling(first.stars)
        light = [
            starlight(standard, frame.stars, place, wings_of(frame, first)) if place is not None else None
            for frame, place in zip(frames, places, strict=True)
        ]
        light = [None if no_stars(frame) else one for frame, one in zip(frames, light, strict=True)]
        rates = [one.ratio / exposures(f, first) if one else np.nan for f, one in zip(frames, light, strict=True)]
        return cls(tuple(frames), tuple(places), tuple(light), np.array(rates)).beside_clear()

    def part(self, numbers: Sequence[int]) -> "Group":
        """The group of some of these frames."""
        own = [[values[i] for i in numbers] for values in (self.frames, self.places, self.light)]
        return Group(*map(tuple, own), self.transparency[list(numbers)])

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """The `figures` that were asked for."""
        return {}

    def beside_clear(self) -> "Group":
        """The same group, its own clear frames being those that others are compared with."""
        return replace(self, transparency=self.transparency / full_light(self.sound(self.transparency)))

    def figures(self, name: str) -> np.ndarray:
        """One field of the measurements, (N,) float64, NaN where unknown."""
        if name not in self.columns:
            values = [getattr(frame.measurement, name, None) for frame in self.frames]
            self.columns[name] = np.array([np.nan if value is None else value for value in values], float)
        return self.columns[name]

    def usual(self, name: str) -> tuple[int, float, float]:
        """How many frames tell a field of the measurements, its median, and 1.4826 MAD; (0, NaN, NaN) if none does."""
        if name not in self.spreads:
            known = self.figures(name)
            known = known[np.isfinite(known)]
            spread = (float(np.median(known)), float(madn(known))) if len(known) else (np.nan, np.nan)
            self.spreads[name] = (len(known), *spread)
        return self.spreads[name]

    @cached_property
    def spreads(self) -> dict[str, tuple[int, float, float]]:
        """The `usual` that was asked for: once for a group, not for each frame."""
        return {}

    @cached_property
    def clearness(self) -> np.ndarray:
        """(N,) the same beside what a clear sky would have let through at that moment."""
        sound = self.sound(self.transparency)
        return self.transparency / clear_light(sound, self.figures("air_mass"), self.hours)

    def sound(self, ratios: np.ndarray) -> np.ndarray:
        """Light ratios (N,) of frames that may tell what a clear sky lets through, NaN for others; all if none may."""
        counts = np.array([np.nan if one is None else one.stars for one in self.light], float)
        if not np.isfinite(counts).any():
            return ratios
        with np.errstate(invalid="ignore"):
            good = (counts >= FEW_MATCHED * np.nanmedian(counts)) & ~(self.beside_sharpest > DOUBLE)
        return np.where(good, ratios, np.nan) if good.any() else ratios

    @cached_property
    def hours(self) -> np.ndarray:
        """(N,) when each was taken, in hours of UTC since 1970, NaN where unknown."""
        seconds = [seconds_of(frame.time) for frame in self.frames]
        return np.array([np.nan if s is None else s / 3600 for s in seconds])

    @cached_property
    def stars(self) -> np.ndarray:
        """(N,) how many stars were found; 0 where none could be measured."""
        return np.nan_to_num(self.figures("stars"))

    @cached_property
    def sky(self) -> np.ndarray:
        """(N,) level of the sky, DN, without a pedestal that the header tells."""
        return self.figures("location_dn") - [frame.meta.pedestal_dn for frame in self.frames]

    @cached_property
    def brightness(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) each: sky beside the usual one, and how odd that is."""
        return beside_usual(self.sky, SKY_FLOOR)

    @cached_property
    def widths(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) each: width of stars along their shorter axis beside the usual one, and how odd that is.

        Trailing leaves it alone.
        """
        return beside_usual(self.figures("fwhm_short_px"), WIDTH_FLOOR)

    @cached_property
    def beside_sharpest(self) -> np.ndarray:
        """(N,) width of stars along their shorter axis beside that of the sharpest fifth of the frames."""
        widths = self.figures("fwhm_short_px")
        known = widths[np.isfinite(widths)]
        return widths / np.quantile(known, SHARPEST, method="lower") if known.size else widths

    @cached_property
    def jumps(self) -> tuple[tuple[float, float] | None, ...]:
        """Where the second image of every star stands in each frame, px from the first; None where stars are single."""
        return tuple(None if frame.stars is None else offset_of(frame.stars) for frame in self.frames)

    @cached_property
    def copies(self) -> dict[int, int]:
        """Frames that have the same pixels as an earlier one: their numbers, and its."""
        first: dict[tuple, int] = {}
        measured = [(i, f.measurement) for i, f in enumerate(self.frames) if f.measurement is not None]
        same = {i: first.setdefault((m.location_dn, m.noise_dn, m.psf_flux_dn), i) for i, m in measured}
        return {i: before for i, before in same.items() if before != i}

    @cached_property
    def centres(self) -> np.ndarray:
        """(N, 2) where the middle of each frame lies, in parts of its size from the middle of the usual one."""
        at = np.full((len(self.frames), 2), np.nan)
        for i, (frame, place) in enumerate(zip(self.frames, self.places, strict=True)):
            if place is not None and frame.stars is not None:
                rows, cols = frame.stars.shape
                x, y, z = np.linalg.solve(place, [(cols - 1) / 2, (rows - 1) / 2, 1.0])
                size = np.sqrt(abs(np.linalg.det(place[:2, :2])))  # of its pixels, where it is binned otherwise
                at[i] = size * x / z / cols, size * y / z / rows
        return at - np.nanmedian(at, axis=0) if np.isfinite(at).any() else at

    @cached_property
    def usual_scatter(self) -> float:
        """How unequally stars seem to lose light in most frames, as mosaics and neighbours make it; 0 of few."""
        known = [one.scatter for one in self.light if one is not None and np.isfinite(one.scatter)]
        return float(np.median(known)) if len(known) >= ENOUGH else 0.0

    @cached_property
    def fading(self) -> tuple[np.ndarray, float]:
        """(N,) light lost by the last frame of those that fade to the end, 0 for others; and minutes that it took."""
        lost, known = np.zeros(len(self.frames)), np.isfinite(self.clearness) & np.isfinite(self.hours) & (self.sky > 0)
        order = np.flatnonzero(known)[np.argsort(self.hours[known], kind="stable")]
        first = len(order) - 1
        while first > 0 and self.clearness[order[first]] < self.clearness[order[first - 1]] + STEADY:
            first -= 1
        part = order[max(first, 0) :]
        minutes = 60 * float(np.ptp(self.hours[part])) if len(part) else 0.0
        if len(part) >= FADING_FRAMES and minutes >= FADING_MIN and np.ptp(np.log(self.sky[part])) < STEADY_SKY:
            lost[part] = 1 - self.clearness[part[-1]] / self.clearness[part[0]]
        return lost, minutes

    @cached_property
    def banding(self) -> np.ndarray:
        """(N, 2) bands along rows and along columns, parts of the noise of a pixel; NaN where unknown."""
        told = [frame.measurement.bands if frame.measurement is not None else None for frame in self.frames]
        ways = ([None if pair is None else pair[way] for pair in told] for way in (0, 1))
        return np.stack([strengths(profiles, ENOUGH) for profiles in ways], axis=-1)

    @cached_property
    def leaning(self) -> np.ndarray:
        """(N, 2) slope of the sky along x and y of the group, as a part of it from edge to edge, beside the usual."""
        slopes = [slope_of(f, s, p) for f, s, p in zip(self.frames, self.sky, self.places, strict=True)]
        every = np.array(slopes, float).reshape(-1, 2)
        return every - np.nanmedian(every, axis=0) if np.isfinite(every).any() else every


def no_stars(frame: Subframe) -> bool:
    """Whether its stars do not look like stars, as rings far out of focus do."""
    m = frame.measurement
    return m is not None and m.residual is not None and m.residual > NO_STARS


def alike(frame: Subframe) -> tuple[object, ...]:
    """What frames share whose stars, widths and skies can be compared: binning, rows and columns."""
    return frame.meta.binning, frame.meta.shape[-2:] if frame.stars is None else tuple(frame.stars.shape)


def exposures(frame: Subframe, first: Subframe) -> float:
    """Exposure and gain of a frame over those of another one, where both tell them."""
    gains = (one.gain_e or one.meta.gain_e_per_dn for one in (first, frame))
    pairs = ((frame.meta.exposure_s, first.meta.exposure_s), tuple(gains))
    return float(np.prod([own / other for own, other in pairs if own and other]))


def wings_of(frame: Subframe, first: Subframe) -> Ratio:
    """What real wings do to the fitted light of a frame's stars beside another's."""
    own, other = frame.measurement, first.measurement
    if frame is first or own is None or other is None:
        return AS_FITTED
    return wings_beside(own.light_shares, other.light_shares, max(own.fwhm_px or 0.0, other.fwhm_px or 0.0))


def beside_usual(values: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """(values over the usual one, how many spreads their logarithm lies off) of positive figures (N,).

    Of fewer than five frames the least is the usual one, and any other value is odd.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.where(values > 0, values, np.nan))
    known = logs[np.isfinite(logs)]
    if not known.size:
        return logs, logs
    if known.size < ENOUGH:
        usual = known.min()
        return np.exp(logs - usual), np.where(logs == usual, 0.0, np.inf)
    usual = float(np.median(known))
    spread = max(madn(known), floor)
    return np.exp(logs - usual), (logs - usual) / spread


def slope_of(frame: Subframe, sky_dn: float, place: np.ndarray | None) -> tuple[float, float]:
    """Slope of a frame's sky along x and y of the group, as a part of it from edge to edge; NaN where unknown."""
    cells = frame.measurement.sky_dn if frame.measurement is not None else None
    if cells is None or not sky_dn > 0:
        return np.nan, np.nan
    v, u = np.mgrid[-1 : 1 : cells.shape[0] * 1j, -1 : 1 : cells.shape[1] * 1j]
    kept = np.isfinite(cells)
    design = np.stack([np.ones_like(u), u, v], axis=-1)
    for _ in range(3):
        if kept.sum() < 6:
            return np.nan, np.nan
        plane = np.linalg.lstsq(design[kept], cells[kept].astype(float), rcond=None)[0]
        away = np.abs(cells - design @ plane)
        kept = np.isfinite(cells) & (away <= 4 * 1.4826 * np.median(away[kept]) + 1e-9)
    slope = 2 * plane[1:] / sky_dn
    if place is not None:  # a frame turned by a meridian flip sees the same sky
        turn = place[:2, :2] / np.sqrt(abs(np.linalg.det(place[:2, :2])))
        slope = turn.T @ slope
    return float(slope[0]), float(slope[1])
