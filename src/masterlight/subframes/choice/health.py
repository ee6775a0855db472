"""The health of frames: clouds, trailing, focus, jumps of the mount, a bright sky, by what was measured of a group.

Flags tell and decide nothing: a poor frame still adds depth when it is weighed as it deserves. Whoever wants it may let
those of severity "reject" leave frames out, see `without_spoilt`. Frames are compared with those of their group: what
all of them have is no fault of one, and where fewer than five tell what is usual, only what is plain is told.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import degrees

import numpy as np

from masterlight.subframes.choice.comparison import DOUBLE, ENOUGH, NO_STARS, Group, Lay, alike, no_stars
from masterlight.subframes.choice.groups import groups_of, spelling
from masterlight.subframes.choice.headers import header_flags, parts
from masterlight.subframes.choice.subframe import Flag, Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.stars.doubles import NEAR_PX

ODD = 4.0
"""Spreads (1.4826 MAD) from the group's median from which a figure is odd."""
HAZE, CLOUD = 0.85, 0.6
"""Share of the clear light below which there was haze, and cloud."""
FADED = 0.7
"""Share of the light at best below which it is told, where nobody knows how high the target was."""
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
SOFT, BLURRED = 1.25, 1.5
"""Widths beside the usual one."""
BRIGHT, DUSK_PER_HOUR = 1.3, 1.0
"""Sky beside the usual one; e-foldings in an hour that no moon makes."""
NO_LIGHT, MUCH = 0.2, 3.0
"""Part of the noise (squared) that light of a level brings, below which it was none; where nobody knows the electrons
of a DN, part of all the noise, and how many times the usual level it must be."""
LEANING = 0.1
"""Change of the sky from corner to corner, as a part of it, beside that of the others."""
SAME_FIELD, OTHER_STARS = 0.75, 10
"""Share of the field that a frame has in common with the others; stars that can tell another field."""
BANDED = 0.1
"""Bands along rows or columns, root mean square in parts of the noise of a pixel; twice this where few frames are there
to tell what the sensor does in every one."""
CLIPPED = 0.02
"""Share of saturated pixels."""


def cloud(group: Group, i: int) -> Flag | None:
    """Less light of the stars than the sky's height explains, or light lost unequally."""
    light, clear = group.light[i], float(group.clearness[i])
    if light is None or not np.isfinite(clear):
        return None
    if jump(group, i) or dew(group, i):  # the first of two images has a part of the light
        return None
    certain = clear + 3 * light.error / max(light.ratio, 1e-9) * clear
    if certain < HAZE:
        limit, code, severity = (CLOUD, "CLOUD", "reject") if clear < CLOUD else (HAZE, "HAZE", "warn")
        words = f"its stars have {clear:.0%} of the light of a clear sky ({limit:.0%} is the limit): {code.lower()}"
        return Flag(code, "clearness", clear, limit, severity, words + sky_words(group, i))
    if light.slope > -np.log1p(-EDGE):
        where = f"towards {side(light.toward_rad)}" if np.isfinite(light.toward_rad) else "over the frame"
        lost = float(-np.expm1(-light.slope))
        words = f"its stars lose light {where}, {lost:.0%} from corner to corner (limit {EDGE:.0%}): the edge of"
        return Flag("CLOUD", "slope of light", lost, EDGE, "warn", f"{words} a cloud")
    scatter = light.scatter_beside(group.usual_scatter)
    if scatter > PATCHY:
        words = f"some stars lost more light than others, by {scatter:.0%} (limit {PATCHY:.0%}): patches of cloud"
        return Flag("CLOUD", "scatter of light", scatter, PATCHY, "warn", words)
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
    """Light that fades steadily to the end of the night under a steady sky, more than by the air before the target."""
    clear, whole = float(group.clearness[i]), float(group.transparency[i])
    if not np.isfinite(clear + group.hours[i]):
        return None
    if whole < FADED and clear > HAZE and not np.isfinite(group.figures("air_mass")[i]):
        words = f"its stars have {whole:.0%} of their light at best, which changes smoothly: the target is low, or dew"
        return Flag("DEW", "Transparency", whole, FADED, "note", f"{words} (the header does not tell the altitude)")
    lost, minutes = group.fading
    if lost[i] < 1 - HAZE or clear > HAZE:
        return None
    severity, limit = ("reject", CLOUD) if clear < CLOUD else ("warn", HAZE)
    words = f"its stars have {clear:.0%} of the light of a clear sky (limit {limit:.0%}), less and less for"
    words += f" {minutes:.0f} minutes under a steady sky: dew or frost"
    return Flag("DEW", "clearness", clear, limit, severity, words)


def few_stars(group: Group, i: int) -> Flag | None:
    """Fewer stars than the others have, where their light tells nothing."""
    usual = float(np.median(group.stars))
    if group.light[i] is not None and len(group.frames) > 1 or usual < 1 or len(group.frames) < 2:
        return None
    share = float(group.stars[i]) / usual
    if share >= FEWER:
        return None
    severity, limit = ("reject", FEW) if share < FEW else ("warn", FEWER)
    words = f"it shows {group.stars[i]:.0f} stars, {share:.0%} of the group's {usual:.0f} (limit {limit:.0%}):"
    return Flag("FEWSTARS", "stars beside usual", share, limit, severity, f"{words} cloud, dew or focus")


def trail(group: Group, i: int) -> Flag | None:
    """Stars drawn out, all in one direction: the mount; each in its own: the optics."""
    m = group.frames[i].measurement
    e, coherence = (m.eccentricity, m.theta_coherence) if m is not None else (None, None)
    if no_stars(group.frames[i]) or e is None or coherence is None or not np.isfinite([e, coherence]).all():
        return None  # pieces of rings have directions of their own
    if coherence > ONE_WAY and (m.fitted or 0) >= OTHER_STARS:
        others, usual, spread = group.usual("eccentricity")
        severity, limit = "note", VISIBLE
        if e > TRAILED:
            severity, limit = ("reject", SPOILT) if e > SPOILT else ("warn", TRAILED)
        elif not (e > VISIBLE and others >= ENOUGH and e > usual + ODD * max(spread, 0.05)):
            return None
        words = f"its stars are trailed in one direction ({degrees(m.theta_rad):.0f} deg from x towards y; eccentricity"
        words += f" {e:.2f}, limit {limit:g}): guiding, wind or drift"
        return Flag("TRAIL", "Eccentricity", e, limit, severity, words)
    return None


def optics(group: Group, i: int) -> Flag | None:
    """Stars drawn out towards or around the middle, or out of focus at one side, when others of the group are not."""
    m = group.frames[i].measurement
    if m is None or no_stars(group.frames[i]) or m.theta_coherence is None or (m.fitted or 0) < 20:
        return None
    e, radial = m.eccentricity, m.radial
    if e is not None and e > TRAILED and m.theta_coherence < NO_WAY and radial is not None:
        kind = "away from the middle: coma, collimation or the spacing of a corrector" if radial > 0.4 else ""
        kind = "around the middle: the field turned, or astigmatism" if radial < -0.4 else kind
        words = f"its stars are drawn out {kind or 'each in its own way: tilt, pinched optics or collimation'}"
        return Flag("OPTICS", "Eccentricity", e, TRAILED, "warn", f"{words} (eccentricity {e:.2f}, limit {TRAILED:g})")
    others, usual, spread = group.usual("tilt")
    if m.tilt is None or others < ENOUGH:
        return None
    if m.tilt > max(TILTED, usual + ODD * max(spread, 0.03)):
        words = f"its stars widen by {m.tilt:.0%} from one corner to the other (limit {TILTED:.0%}; usual {usual:.0%}):"
        return Flag("OPTICS", "tilt", m.tilt, TILTED, "warn", f"{words} focus or a part of the train that sags")
    return None


def focus(group: Group, i: int) -> Flag | None:
    """Stars wider than those of the group, or unlike stars at all."""
    m = group.frames[i].measurement
    if m is None or m.fwhm_px is None:
        return None
    if no_stars(group.frames[i]):
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
    ratio = float(group.beside_sharpest[i])
    if ratio > DOUBLE:
        words = f"its stars are {ratio:.2f} times as wide as those of the sharpest frames (limit {DOUBLE:g}): focus"
        return Flag("FOCUS", "FWHM beside sharpest", ratio, DOUBLE, "reject", words)
    return None


def jump(group: Group, i: int) -> Flag | None:
    """Every star twice."""
    offset = group.jumps[i]
    if offset is None:
        return None
    apart = float(np.hypot(*offset))
    words = f"every star stands twice, {apart:.1f} px apart (x {offset[0]:+.1f}, y {offset[1]:+.1f}): the mount jumped"
    return Flag("JUMP", "px apart", apart, NEAR_PX, "reject", words)


def bright_sky(group: Group, i: int) -> Flag | None:
    """A brighter sky than usual while stars are as bright as ever: twilight at an end of the night, else the moon."""
    ratio, odd = (float(v[i]) for v in group.brightness)
    few = np.isfinite(group.sky).sum() < ENOUGH
    if not (odd > ODD and ratio > (2.0 if few else BRIGHT)) or group.clearness[i] < HAZE or other_level(group, i):
        return None
    limit = 2.0 if few else BRIGHT
    rate = rate_of_sky(group, i)
    lean = group.leaning[i]
    more = f", with a gradient of {np.abs(lean).sum():.0%}" if np.abs(lean).sum() > LEANING else ""
    figures = f"its sky is {ratio:.2f} times as bright as usual (limit {limit:g}){more}"
    if abs(rate) > DUSK_PER_HOUR:
        words = f"{figures} and {'rises' if rate > 0 else 'falls'} by {np.expm1(abs(rate) / 6):.0%} in ten minutes"
        return Flag("TWILIGHT", "sky beside usual", ratio, limit, "warn", f"{words}: twilight")
    cause = "the moon, lamps or" if np.isfinite(group.clearness[i]) else "lit cloud, the moon, lamps or"
    return Flag("MOON", "sky beside usual", ratio, limit, "warn", f"{figures}: {cause} a bright part of the sky")


def other_level(group: Group, i: int) -> Flag | None:
    """A higher level without the noise that light brings: an offset, or another calibration than that of the others."""
    ratio, odd = (float(v[i]) for v in group.brightness)
    if not (odd > ODD and ratio > BRIGHT):
        return None
    more_dn, noise_dn = float(group.sky[i]) * (1 - 1 / ratio), group.figures("noise_dn")
    usual = float(np.nanmedian(noise_dn[group.brightness[0] < (1 + ratio) / 2]))
    gain = group.frames[i].gain_e or group.frames[i].meta.gain_e_per_dn
    least = NO_LIGHT * more_dn / gain if gain else NO_LIGHT * usual**2 * (ratio > MUCH)
    if not float(noise_dn[i]) ** 2 - usual**2 < least:
        return None
    words = (
        f"its level is {ratio:.2f} times the usual (limit {BRIGHT:g}), its noise {noise_dn[i] / usual:.2f} times: no"
    )
    words += " light but an offset, a pedestal or another calibration; calibrate all frames alike"
    return Flag("META", "level beside usual", ratio, BRIGHT, "warn", words)


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
    if known.size < ENOUGH or not np.isfinite(size[i]) or group.clearness[i] < HAZE:
        return None
    if bright_sky(group, i) or other_level(group, i):
        return None
    spread = max(1.4826 * float(np.median(known)), 0.01)
    if size[i] < max(LEANING, ODD * spread):
        return None
    toward = np.arctan2(lean[i, 1], lean[i, 0])
    words = f"its sky leans by {size[i]:.0%} from edge to edge beside that of the others (limit {LEANING:.0%}),"
    words += f" brighter towards {side(toward)}: a lamp, the moon or stray light"
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
    share = float(np.prod(np.clip(1 - np.abs(group.centres[i]), 0, 1)))
    if share < SAME_FIELD:
        words = f"it shares {share:.0%} of the field with the usual frame (limit {SAME_FIELD:.0%}): the pointing is off"
        return Flag("FIELD", "field in common", share, SAME_FIELD, "warn", words)
    return None


def crossed(group: Group, i: int) -> Flag | None:
    """Satellites and aircraft: what rejection is for, no reason to leave a frame out."""
    m = group.frames[i].measurement
    count = m.trails if m is not None else None
    if not count:
        return None
    words = f"{'a bright trail crosses' if count == 1 else f'{count} bright trails cross'} it (satellite, aircraft):"
    return Flag("SATELLITE", "trails", float(count), 0.0, "note", f"{words} integration rejects that; keep the frame")


def banding(group: Group, i: int) -> Flag | None:
    """Bands along all rows or all columns that the others do not have there."""
    strength = group.banding[i]
    few = np.isfinite(group.banding[:, 0]).sum() < ENOUGH
    limit = 2 * BANDED if few else BANDED
    if not np.nanmax(strength, initial=0.0) > limit:
        return None
    way, value = ("rows", "columns")[int(np.nanargmax(strength))], float(np.nanmax(strength))
    words = f"bands run along its {way}, {value:.0%} of its noise deep (limit {limit:.0%}): interference or the readout"
    words += ", or a bias that was not taken off" if few else ""
    return Flag("BANDING", "bands beside noise", value, limit, "warn", words)


def clipped(group: Group, i: int) -> Flag | None:
    """Too much of the frame at saturation."""
    m = group.frames[i].measurement
    share = m.saturated_fraction if m is not None else None
    if share is None or share < CLIPPED:
        return None
    words = f"{share:.0%} of its pixels are saturated (limit {CLIPPED:.0%}): expose shorter"
    return Flag("CLIPPED", "Saturated", share, CLIPPED, "warn", words)


def doubled(group: Group, i: int) -> Flag | None:
    """The same pixels once more."""
    if i not in group.copies:
        return None
    words = f"it has the same pixels as {group.frames[group.copies[i]].source}: one of them is a copy"
    return Flag("DUPLICATE", "copies", 2.0, 1.0, "reject", words)


RULES: tuple[Callable[[Group, int], Flag | None], ...] = (
    cloud, dew, few_stars, trail, optics, focus, jump, bright_sky, other_level, gradient, other_field, crossed, banding,
    clipped, doubled,
)  # fmt: skip
"""What is looked for in each frame, the order in which it is told."""


def examined(night: Subframes, lay: Lay | None = None) -> Subframes:
    """The same frames with their flags and Transparency, and the light ratios that PSFScale needs; verdicts stay.

    lay: how frames are laid on each other by their stars; without it neither transparency nor another field is told.
    Frames of all exposures of a target through one filter are laid on one of them; flags compare those of one exposure,
    binning and size.
    """
    groups, out = groups_of(night.frames), list(night.frames)
    for field in parts([spelling(group) for group in groups]):
        laid = Group.of([night.frames[i] for i in field], lay)
        for kind in parts([alike(frame) for frame in laid.frames]):
            same = laid.part(kind).beside_clear()
            for part in parts([groups[field[k]].exposure_s for k in kind]):
                told = same.part(part)
                for n, k in enumerate(part):
                    out[field[kind[k]]] = with_health(told, n)
    odd = header_flags(night.frames)
    return night.with_frames(replace(one, flags=one.flags + more) for one, more in zip(out, odd, strict=True))


def with_health(group: Group, i: int) -> Subframe:
    """A frame of a group with its flags, its transparency and the ratio of its stars' light."""
    frame, light = group.frames[i], group.light[i]
    if frame.measurement is None:
        return frame
    flags = tuple(flag for rule in RULES if (flag := rule(group, i)))
    m = frame.measurement
    if light is not None:
        m = replace(m, flux_ratio=light.ratio, flux_ratio_error=light.error)
    given = {**frame.given, "Transparency": float(group.transparency[i])}
    return replace(frame, measurement=m, flags=flags, given=given)


def without_spoilt(night: Subframes) -> Subframes:
    """The same table with frames that a flag of severity "reject" concerns not approved, unless a hand locked them."""
    out = []
    for frame in night:
        grave = [flag for flag in frame.flags if flag.severity == "reject"]
        leave = bool(grave) and not frame.locked
        reasons = (*frame.reasons, grave[0].words) if leave else frame.reasons
        out.append(replace(frame, approved=frame.approved and not leave, reasons=reasons))
    return night.with_frames(out)


def grave_flags(night: Subframes) -> str:
    """How many approved frames flags of severity "reject" concern, and which flags; empty for none."""
    grave = [[flag.code for flag in f.flags if flag.severity == "reject"] for f in night if f.approved]
    counted = Counter(code for codes in grave for code in set(codes))
    if not counted:
        return ""
    told = ", ".join(f"{code} {count}" for code, count in counted.most_common())
    return f"{sum(map(bool, grave))} of {len(night)} frames have grave flags ({told})"
