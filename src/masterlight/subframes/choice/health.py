"""The health of frames: clouds, trailing, focus, jumps of the mount, a bright sky, told by what was measured of a group.

Flags tell and decide nothing: a poor frame still adds depth when it is weighed as it deserves. Whoever wants it may let
those of severity "reject" leave frames out, see `without_spoilt`. Frames are compared with those of their group: what
all of them have is no fault of one, and where fewer than five tell what is usual, only what is plain is told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import degrees

import numpy as np

from masterlight.core.headers.values import seconds_of
from masterlight.subframes.choice.table import Flag, Subframe, Subframes
from masterlight.subframes.choice.transparency import (
    Starlight,
    clear_light,
    starlight,
    telling,
    transparencies,
)
from masterlight.subframes.measurement import StarList
from masterlight.subframes.stars.crossings import crossings_of
from masterlight.subframes.stars.doubles import NEAR_PX, offset_of

Places = tuple[int, list[np.ndarray | None]]
Lay = Callable[[Sequence[StarList | None]], Places]
"""Lays frames on one of them: its number, and 3x3 matrices from its pixels to theirs; `alignment.overlaid.places_of`."""
ENOUGH = 5
"""Frames that tell what is usual in a group."""
ODD = 4.0
"""Spreads (1.4826 MAD) from the group's median from which a figure is odd."""
HAZE, CLOUD = 0.85, 0.6
"""Share of the clear light below which there was haze, and cloud."""
PATCHY, EDGE = 0.1, 0.3
"""Scatter of the light that single stars lost, and its change from corner to corner, from which cloud is unequal."""
FEWER, FEW = 0.7, 0.4
"""Share of the usual number of stars, where their light tells nothing."""
VISIBLE, TRAILED, SPOILT = 0.42, 0.6, 0.75
"""Eccentricities: one can see it; it disturbs; it spoils."""
ONE_WAY, NO_WAY = 0.5, 0.3
"""Coherence of directions from which on all stars are trailed the same way, and below which each has its own."""
TILTED = 0.3
"""Change of widths from corner to corner."""
SOFT, BLURRED, DOUBLE = 1.25, 1.5, 2.0
"""Widths beside the usual one, and beside the sharpest of a group whose usual one is blurred itself."""
NO_STARS = 0.1
"""Distance of stars from their profiles, over their heights, from which on they do not look like stars."""
BRIGHT, DUSK_PER_HOUR = 1.3, 1.0
"""Sky beside the usual one; e-foldings in an hour that no moon makes."""
LEANING = 0.1
"""Change of the sky from corner to corner, as a part of it, beside that of the others."""
SAME_FIELD, OTHER_STARS = 0.75, 10
"""Share of the field that a frame has in common with the others; stars that can tell another field."""
CLIPPED = 0.02
FLOORS = {"fwhm": 0.03, "sky": 0.03}
"""Spreads, of logarithms, that are usual however alike the frames of a group are."""


@dataclass(frozen=True, eq=False)
class Group:
    """The frames of one group, what they have together, and where they lie on each other."""

    frames: tuple[Subframe, ...]
    places: tuple[np.ndarray | None, ...]
    light: tuple[Starlight | None, ...]
    """Of the group's stars in each frame; None where it is not known."""

    @classmethod
    def of(cls, frames: Sequence[Subframe], lay: Lay | None) -> "Group":
        """The group of these frames, laid on each other."""
        nothing = (None,) * len(frames)
        stars = [frame.stars for frame in frames]
        if lay is None or sum(s is not None and len(s) > 0 for s in stars) < 2:
            return cls(tuple(frames), nothing, nothing)
        at, places = lay(stars)
        first = stars[at]
        standard = telling(first) if first is not None else None
        light = [
            starlight(standard, own, place, exposures(frame, frames[at])) if place is not None else None
            for frame, own, place in zip(frames, stars, places, strict=True)
        ]
        return cls(tuple(frames), tuple(places), tuple(light))

    def figures(self, name: str) -> np.ndarray:
        """One field of the measurements, (N,) float64, NaN where unknown."""
        values = [getattr(frame.measurement, name, None) for frame in self.frames]
        return np.array([np.nan if value is None else value for value in values], float)

    @cached_property
    def transparency(self) -> np.ndarray:
        """(N,) light of the same stars beside that in clear frames, NaN where unknown."""
        return transparencies(self.light)

    @cached_property
    def clearness(self) -> np.ndarray:
        """(N,) the same beside what a clear sky would have let through at that moment."""
        return self.transparency / clear_light(self.transparency, self.figures("air_mass"), self.hours)

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
        return beside_usual(self.sky, FLOORS["sky"], low=True)

    @cached_property
    def widths(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) each: width of stars along their shorter axis beside the usual one, and how odd that is.

        Trailing leaves it alone.
        """
        return beside_usual(self.figures("fwhm_short_px"), FLOORS["fwhm"], low=True)

    @cached_property
    def leaning(self) -> np.ndarray:
        """(N, 2) slope of the sky along x and y of the group, as a part of it from edge to edge, beside the usual."""
        slopes = [slope_of(f, s, p) for f, s, p in zip(self.frames, self.sky, self.places, strict=True)]
        every = np.array(slopes, float).reshape(-1, 2)
        return every - np.nanmedian(every, axis=0) if np.isfinite(every).any() else every


def exposures(frame: Subframe, first: Subframe) -> float:
    """Exposure and gain of a frame over those of another one, where both tell them."""
    pairs = ((frame.meta.exposure_s, first.meta.exposure_s), (first.gain_e, frame.gain_e))
    return float(np.prod([own / other for own, other in pairs if own and other]))


def beside_usual(values: np.ndarray, floor: float, low: bool) -> tuple[np.ndarray, np.ndarray]:
    """(values over the usual one, how many spreads their logarithm lies off) of positive figures (N,).

    Of fewer than five frames the least (`low`) or the most is the usual one, and any other value is odd.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.where(values > 0, values, np.nan))
    known = logs[np.isfinite(logs)]
    if not known.size:
        return logs, logs
    if known.size < ENOUGH:
        usual = known.min() if low else known.max()
        return np.exp(logs - usual), np.where(logs == usual, 0.0, np.inf)
    usual = float(np.median(known))
    spread = max(1.4826 * float(np.median(np.abs(known - usual))), floor)
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


def cloud(group: Group, i: int) -> Flag | None:
    """Less light of the stars than the sky's height explains, or light lost unequally."""
    light, clear = group.light[i], group.clearness[i]
    if light is None or not np.isfinite(clear):
        return None
    if jump(group, i):  # the first of two images has a part of the light
        return None
    certain = clear + 3 * light.error / max(light.ratio, 1e-9) * clear
    if certain < HAZE:
        limit, code, severity = (CLOUD, "CLOUD", "reject") if clear < CLOUD else (HAZE, "HAZE", "warn")
        words = f"its stars have {clear:.0%} of the light of a clear sky ({limit:.0%} is the limit): {code.lower()}"
        return Flag(code, "clearness", clear, limit, severity, words + sky_words(group, i))
    if light.slope > -np.log1p(-EDGE):
        where = f"towards {side(light.toward_rad)}" if np.isfinite(light.toward_rad) else "over the frame"
        lost = -np.expm1(-light.slope)
        words = f"its stars lose light {where}, {lost:.0%} from corner to corner (limit {EDGE:.0%}): the edge of a cloud"
        return Flag("CLOUD", "slope of light", lost, EDGE, "warn", words)
    if light.scatter > PATCHY:
        words = f"some stars lost more light than others, by {light.scatter:.0%} (limit {PATCHY:.0%}): patches of cloud"
        return Flag("CLOUD", "scatter of light", light.scatter, PATCHY, "warn", words)
    return None


def sky_words(group: Group, i: int) -> str:
    """What the sky did while stars lost light."""
    ratio, odd = (float(v[i]) for v in group.brightness)
    if odd > ODD and ratio > 1.1:
        return f", lit from below or by the moon (sky {ratio:.2f} times the usual)"
    return ", at a dark place (the sky is darker as well)" if odd < -ODD and ratio < 0.95 else ""


def side(angle_rad: float) -> str:
    """A direction in a frame, x to the right and y down, in words."""
    names = "the right", "the lower right", "below", "the lower left", "the left", "the upper left", "the top"
    return (*names, "the upper right")[round(angle_rad / (np.pi / 4)) % 8]


def dew(group: Group, i: int) -> Flag | None:
    """Light that fades steadily to the end of the night under a steady sky."""
    known = np.isfinite(group.clearness) & np.isfinite(group.hours)
    if not known[i] or known.sum() < 8 or not np.isfinite(group.figures("air_mass")[known]).all():
        return None
    order = np.flatnonzero(known)[np.argsort(group.hours[known])]
    values = group.clearness[order]
    fading = len(order) - 1
    while fading > 0 and values[fading] < values[fading - 1] + 0.01:
        fading -= 1
    part = order[fading:]
    lasted = 60 * (group.hours[part[-1]] - group.hours[part[0]]) if len(part) else 0.0
    lost = 1 - group.clearness[part[-1]] / group.clearness[part[0]]
    steady = np.ptp(np.log(group.sky[part])) < 0.2 if (group.sky[part] > 0).all() else False
    if i not in part or lasted < 30 or len(part) < 6 or lost < 1 - HAZE or not steady:
        return None
    if group.clearness[i] > HAZE:
        return None
    words = f"its stars fade steadily, by {lost:.0%} in {lasted:.0f} minutes to the end, under a steady sky: dew or frost"
    return Flag("DEW", "clearness", float(group.clearness[i]), HAZE, "warn", words)


def few_stars(group: Group, i: int) -> Flag | None:
    """Fewer stars than the others have, where their light tells nothing."""
    usual = float(np.median(group.stars))
    if group.light[i] is not None and len(group.frames) > 1 or usual < 1 or len(group.frames) < 2:
        return None
    share = group.stars[i] / usual
    if share >= FEWER:
        return None
    severity, limit = ("reject", FEW) if share < FEW else ("warn", FEWER)
    words = f"it shows {group.stars[i]:.0f} stars, {share:.0%} of the group's {usual:.0f} (limit {limit:.0%}): cloud, dew"
    return Flag("FEWSTARS", "stars beside usual", share, limit, severity, f"{words} or focus")


def trail(group: Group, i: int) -> Flag | None:
    """Stars drawn out, all in one direction: the mount; each in its own: the optics."""
    m = group.frames[i].measurement
    e, coherence = (m.eccentricity, m.theta_coherence) if m is not None else (None, None)
    if e is None or coherence is None or not np.isfinite([e, coherence]).all():
        return None
    if coherence > ONE_WAY and (m.fitted or 0) >= OTHER_STARS:
        others = group.figures("eccentricity")
        others = others[np.isfinite(others)]
        usual = float(np.median(others))
        spread = max(1.4826 * float(np.median(np.abs(others - usual))), 0.05)
        severity, limit = "note", VISIBLE
        if e > TRAILED:
            severity, limit = ("reject", SPOILT) if e > SPOILT else ("warn", TRAILED)
        elif not (e > VISIBLE and len(others) >= ENOUGH and e > usual + ODD * spread):
            return None
        words = f"its stars are trailed in one direction ({degrees(m.theta_rad):.0f} deg from x towards y; eccentricity"
        words += f" {e:.2f}, limit {limit:g}): guiding, wind or drift"
        return Flag("TRAIL", "Eccentricity", e, limit, severity, words)
    return None


def optics(group: Group, i: int) -> Flag | None:
    """Stars drawn out towards or around the middle, or out of focus at one side, when others of the group are not."""
    m = group.frames[i].measurement
    if m is None or m.theta_coherence is None or (m.fitted or 0) < 20:
        return None
    e, radial = m.eccentricity, m.radial
    if e is not None and e > TRAILED and m.theta_coherence < NO_WAY and radial is not None:
        kind = "away from the middle: coma, collimation or the spacing of a corrector" if radial > 0.4 else ""
        kind = "around the middle: the field turned, or astigmatism" if radial < -0.4 else kind
        words = f"its stars are drawn out {kind or 'each in its own way: tilt, pinched optics or collimation'}"
        return Flag("OPTICS", "Eccentricity", e, TRAILED, "warn", f"{words} (eccentricity {e:.2f}, limit {TRAILED:g})")
    tilts = group.figures("tilt")
    others = tilts[np.isfinite(tilts)]
    if m.tilt is None or len(others) < ENOUGH:
        return None
    usual = float(np.median(others))
    if m.tilt > max(TILTED, usual + ODD * max(1.4826 * float(np.median(np.abs(others - usual))), 0.03)):
        words = f"its stars widen by {m.tilt:.0%} from one corner to the other (limit {TILTED:.0%}; usual {usual:.0%}):"
        return Flag("OPTICS", "tilt", m.tilt, TILTED, "warn", f"{words} focus or a part of the train that sags")
    return None


def focus(group: Group, i: int) -> Flag | None:
    """Stars wider than those of the group, or unlike stars at all."""
    m = group.frames[i].measurement
    if m is None or m.fwhm_px is None:
        return None
    if m.residual is not None and m.residual > NO_STARS:
        words = f"its stars do not look like stars ({m.residual:.0%} off their profiles, limit {NO_STARS:.0%}): far out"
        return Flag("FOCUS", "StarResidual", m.residual, NO_STARS, "reject", f"{words} of focus, or double")
    ratio, odd = (float(v[i]) for v in group.widths)
    few = np.isfinite(group.widths[0]).sum() < ENOUGH
    limits = (BLURRED, DOUBLE) if few else (SOFT, BLURRED)
    if odd > ODD and ratio > limits[0]:
        severity, limit = ("reject", limits[1]) if ratio > limits[1] else ("warn", limits[0])
        beside = "sharpest" if few else "usual"
        words = f"its stars are {ratio:.2f} times as wide as the {beside} ones of the group (limit {limit:g}): focus"
        return Flag("FOCUS", "FWHM beside usual", ratio, limit, severity, f"{words} or poor seeing")
    return None


def jump(group: Group, i: int) -> Flag | None:
    """Every star twice."""
    stars = group.frames[i].stars
    offset = offset_of(stars) if stars is not None else None
    if offset is None:
        return None
    apart = float(np.hypot(*offset))
    words = f"every star stands twice, {apart:.1f} px apart (x {offset[0]:+.1f}, y {offset[1]:+.1f}): the mount jumped"
    return Flag("JUMP", "px apart", apart, NEAR_PX, "reject", words)


def bright_sky(group: Group, i: int) -> Flag | None:
    """A brighter sky than usual while stars are as bright as ever: twilight at an end of the night, else the moon."""
    ratio, odd = (float(v[i]) for v in group.brightness)
    few = np.isfinite(group.sky).sum() < ENOUGH
    if not (odd > ODD and ratio > (2.0 if few else BRIGHT)) or group.clearness[i] < HAZE:
        return None
    limit = 2.0 if few else BRIGHT
    rate = rate_of_sky(group, i)
    lean = group.leaning[i]
    more = f", with a gradient of {np.abs(lean).sum():.0%}" if np.abs(lean).sum() > LEANING else ""
    figures = f"its sky is {ratio:.2f} times as bright as usual (limit {limit:g}){more}"
    if abs(rate) > DUSK_PER_HOUR:
        words = f"{figures} and {'rises' if rate > 0 else 'falls'} by {np.expm1(abs(rate) / 6):.0%} in ten minutes: twilight"
        return Flag("TWILIGHT", "sky beside usual", ratio, limit, "warn", words)
    cause = "the moon, lamps or" if np.isfinite(group.clearness[i]) else "lit cloud, the moon, lamps or"
    return Flag("MOON", "sky beside usual", ratio, limit, "warn", f"{figures}: {cause} a bright part of the sky")


def rate_of_sky(group: Group, i: int) -> float:
    """How fast the sky changes at a frame at an end of the night, e-foldings in an hour; 0 elsewhere."""
    known = np.flatnonzero(np.isfinite(group.hours) & (group.sky > 0))
    order = known[np.argsort(group.hours[known])]
    if i not in order or len(order) < 3:
        return 0.0
    at = int(np.flatnonzero(order == i)[0])
    logs, hours = np.log(group.sky[order]), group.hours[order]
    rising, falling = logs[at:], logs[: at + 1]
    rates = []
    if (np.diff(rising) > 0).all() and at > 0:  # brighter and brighter until the last frame
        rates.append((logs[at] - logs[at - 1]) / max(hours[at] - hours[at - 1], 1e-6))
    if (np.diff(falling) < 0).all() and at < len(order) - 1:
        rates.append((logs[at + 1] - logs[at]) / max(hours[at + 1] - hours[at], 1e-6))
    return float(max(rates, key=abs, default=0.0))


def gradient(group: Group, i: int) -> Flag | None:
    """A sky that leans another way than that of the others, though it is no brighter."""
    lean = group.leaning
    size = np.hypot(*lean.T)
    known = size[np.isfinite(size)]
    if any(place is not None for place in group.places) and group.places[i] is None:
        return None  # another field may have another sky
    if known.size < ENOUGH or not np.isfinite(size[i]) or bright_sky(group, i) or group.clearness[i] < HAZE:
        return None
    spread = max(1.4826 * float(np.median(known)), 0.01)
    if size[i] < max(LEANING, ODD * spread):
        return None
    toward = np.arctan2(lean[i, 1], lean[i, 0])
    words = f"its sky leans by {size[i]:.0%} from edge to edge beside that of the others (limit {LEANING:.0%}), brighter"
    words += f" towards {side(toward)} of the group's frames: a lamp, the moon or stray light"
    return Flag("GRADIENT", "gradient beside usual", float(size[i]), LEANING, "warn", words)


def other_field(group: Group, i: int) -> Flag | None:
    """Stars that are not those of the others, or a field that only touches theirs."""
    laid = [place is not None for place in group.places]
    stars = group.frames[i].stars
    if sum(laid) < 2 or 2 * sum(laid) <= len(laid) or stars is None:
        return None
    if not laid[i]:
        sound = len(stars) >= max(OTHER_STARS, 0.3 * float(np.median(group.stars)))
        if not sound or any(rule(group, i) for rule in (jump, focus)):
            return None
        words = f"none of its {len(stars)} stars are those of the other frames: another field, or mirrored"
        return Flag("FIELD", "stars in common", 0.0, float(OTHER_STARS), "reject", words)
    share = common_field(group, i)
    if share < SAME_FIELD:
        words = f"it shares {share:.0%} of the field with the usual frame (limit {SAME_FIELD:.0%}): the pointing is off"
        return Flag("FIELD", "field in common", share, SAME_FIELD, "warn", words)
    return None


def common_field(group: Group, i: int) -> float:
    """Share of the usual frame that a frame saw as well, by where their middles lie."""
    rows, cols = group.frames[i].stars.shape
    middle = np.array([(cols - 1) / 2, (rows - 1) / 2, 1.0])
    at = [np.full(2, np.nan) if p is None else (q := np.linalg.solve(p, middle))[:2] / q[2] for p in group.places]
    away = np.abs(at[i] - np.nanmedian(at, axis=0)) / (cols, rows)
    return float(np.prod(np.clip(1 - away, 0, 1)))


def crossed(group: Group, i: int) -> Flag | None:
    """Satellites and aircraft: what rejection is for, no reason to leave a frame out."""
    stars = group.frames[i].stars
    count = crossings_of(stars) if stars is not None else None
    if not count:
        return None
    words = f"{'a bright trail crosses' if count == 1 else f'{count} bright trails cross'} it (satellite, aircraft):"
    return Flag("SATELLITE", "trails", float(count), 0.0, "note", f"{words} integration rejects that; keep the frame")


def clipped(group: Group, i: int) -> Flag | None:
    """Too much of the frame at saturation."""
    m = group.frames[i].measurement
    share = m.saturated_fraction if m is not None else None
    if share is None or share < CLIPPED:
        return None
    words = f"{share:.0%} of its pixels are saturated (limit {CLIPPED:.0%}): expose shorter, or keep the sun's light out"
    return Flag("CLIPPED", "Saturated", share, CLIPPED, "warn", words)


def doubled(group: Group, i: int) -> Flag | None:
    """The same pixels once more."""
    m = group.frames[i].measurement
    if m is None:
        return None
    for before in group.frames[:i]:
        o = before.measurement
        if o is not None and (o.location_dn, o.noise_dn, o.psf_flux_dn) == (m.location_dn, m.noise_dn, m.psf_flux_dn):
            words = f"it has the same pixels as {before.source}: one of them is a copy"
            return Flag("DUPLICATE", "copies", 2.0, 1.0, "reject", words)
    return None


RULES: tuple[Callable[[Group, int], Flag | None], ...] = (
    cloud, dew, few_stars, trail, optics, focus, jump, bright_sky, gradient, other_field, crossed, clipped, doubled,
)  # fmt: skip
"""What is looked for in each frame, the order in which it is told."""


def examined(night: Subframes, lay: Lay | None = None) -> Subframes:
    """The same frames with their flags, and with Transparency among their properties; verdicts stay as they are.

    lay: how frames are laid on each other by their stars; without it neither transparency nor another field is told.
    """
    return night.by_group(lambda group: examined_group(group.frames, lay))


def examined_group(frames: Sequence[Subframe], lay: Lay | None) -> list[Subframe]:
    """The frames of one group with their flags and transparencies."""
    group = Group.of(frames, lay)
    out = []
    for i, frame in enumerate(frames):
        flags = () if frame.measurement is None else tuple(flag for rule in RULES if (flag := rule(group, i)))
        given = {**frame.given, "Transparency": float(group.transparency[i])}
        out.append(replace(frame, flags=flags, given=given))
    return out


def without_spoilt(night: Subframes) -> Subframes:
    """The same table with frames that a flag of severity "reject" concerns not approved, unless a hand locked them."""
    out = []
    for frame in night:
        grave = [flag for flag in frame.flags if flag.severity == "reject"]
        leave = bool(grave) and not frame.locked
        reasons = (*frame.reasons, *(flag.words for flag in grave)) if leave else frame.reasons
        out.append(replace(frame, approved=frame.approved and not leave, reasons=reasons))
    return night.with_frames(out)
