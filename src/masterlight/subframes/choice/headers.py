"""Headers of a night that contradict themselves or the others, or lack what nearly all others tell: flags META.

What most frames have is told once, of the first of them, with their number: it is the camera's or the program's way,
and no fault of one frame. Where fewer than five frames tell a fact, nobody knows what is usual.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from masterlight.core.headers.altitude import FAR_DEG, altitude_told, places_computed
from masterlight.core.headers.names import camera_key
from masterlight.core.headers.values import as_number, as_time, seconds_of
from masterlight.core.together import TEMPERATURE_C, same, same_exposure, settings
from masterlight.subframes.choice.comparison import ENOUGH
from masterlight.subframes.choice.groups import groups_of
from masterlight.subframes.choice.subframe import ARCSEC_PER_UM_MM, Flag, Subframe, solved_scale

NEARLY_ALL = 0.8
"""Share of the frames that make a value the usual one."""
NEEDED = {
    "exposure_s": ("exposure", "no dark can be matched, and its light is compared with nobody's"),
    "time": ("time", "neither its night nor the height of the target is known"),
    "filter": ("filter", "it is taken for a group of its own, without flats"),
    "temperature_c": ("sensor temperature", "no dark can be matched by it"),
    "gain": ("gain", "no dark can be matched by it"),
}
"""Facts that a night needs: their names, and what comes of it where one is missing."""
KEPT_SETTINGS = "camera", "readout mode", "colour pattern", "gain", "offset"
"""Settings that nobody changes within a group on purpose."""
OVERLAP, CLOCK_S = 0.1, 2.0
"""Share of an exposure, and seconds, by which clocks of headers may be wrong."""
SCALES = 0.05
"""By what part a plate solution may differ from the size of pixels and the focal length."""


@dataclass(frozen=True)
class Odd:
    """One thing that is wrong with the header of frame `i`: what it is about, the figures, and a sentence."""

    i: int
    about: str
    value: float
    limit: float
    words: str


def header_flags(frames: Sequence[Subframe]) -> list[tuple[Flag, ...]]:
    """The flags META of each frame of a night."""
    every = [odd for rule in RULES for odd in rule(frames) if frames[odd.i].measurement is not None]
    counts, first = Counter(odd.about for odd in every), dict[str, int]()
    out: list[list[Flag]] = [[] for _ in frames]
    for odd in every:
        usual = len(frames) >= ENOUGH and counts[odd.about] > len(frames) / 2
        if usual and first.setdefault(odd.about, odd.i) != odd.i:
            continue
        words = f"{odd.words} (as in {counts[odd.about] - 1} others)" if usual else odd.words
        out[odd.i].append(Flag("META", odd.about, odd.value, odd.limit, "warn", words))
    return [tuple(flags) for flags in out]


def lacking(frames: Sequence[Subframe]) -> Iterator[Odd]:
    """Facts that a header does not tell, and nearly all others of the sensor do."""
    for part in parts([(frame.meta.shape, frame.meta.pattern) for frame in frames]):
        for name, (called, so) in NEEDED.items():
            blind = [i for i in part if getattr(frames[i].meta, name) is None]
            known = len(part) - len(blind)
            if known >= max(ENOUGH, NEARLY_ALL * len(part)):
                words = f"its header tells no {called}, which those of {known} other frames do: {so}"
                yield from (Odd(i, f"no {called}", 0.0, 1.0, words) for i in blind)


def unlike_others(frames: Sequence[Subframe]) -> Iterator[Odd]:
    """Settings that differ from those of nearly all frames of the group."""
    for part in parts(groups_of(frames)):
        own = {i: settings(frames[i].meta, KEPT_SETTINGS) for i in part}
        for name in KEPT_SETTINGS:
            told = Counter(values[name] for values in own.values() if values[name] is not None)
            usual, count = told.most_common(1)[0] if told else (None, 0)
            if count < max(ENOUGH, NEARLY_ALL * told.total()):
                continue
            for i, value in ((i, values[name]) for i, values in own.items()):
                if value is not None and not same(name, value, usual):
                    words = f"its {name} is {shown(value)}, that of {count} others of its group {shown(usual)}:"
                    figures = (float(v) if isinstance(v, int | float) else 0.0 for v in (value, usual))
                    yield Odd(i, name, *figures, f"{words} its darks and its noise are others, too")


def shown(value: object) -> str:
    """A setting as a sentence has it."""
    return f"{value:g}" if isinstance(value, int | float) else f"{value!s:.40}"


def exposures_of(frames: Sequence[Subframe]) -> Iterator[Odd]:
    """Two keywords of the exposure that differ, and exposures that ended before they could."""
    for i, cards in enumerate(map(upper, frames)):
        told = [(key, as_number(cards.get(key))) for key in ("EXPTIME", "EXPOSURE")]
        (one, a), (other, b) = told
        if a and b and a > 0 and b > 0 and not same_exposure(a, b):
            words = f"its header says {one} {a:g} s and {other} {b:g} s: one of them is wrong, {one} is believed"
            yield Odd(i, "exposures", b / a, 1.0, words)
        begin, end = (as_time(str(cards.get(key)), None) for key in ("DATE-OBS", "DATE-END"))
        exposure_s = frames[i].meta.exposure_s
        if begin is None or end is None or not exposure_s or "T" not in f"{cards['DATE-OBS']}".upper():
            continue
        lasted_s = (end - begin).total_seconds()
        if lasted_s < (1 - OVERLAP) * exposure_s - CLOCK_S:
            words = f"its header says that it took {exposure_s:g} s, and that it ended {lasted_s:.0f} s after it began:"
            yield Odd(i, "end", lasted_s, exposure_s, f"{words} its exposure or its times are wrong")


def overlapping(frames: Sequence[Subframe]) -> Iterator[Odd]:
    """Exposures that began before the one before of the same camera was over; but where many do, two cameras did it."""
    times = [seconds_of(frame.time) for frame in frames]
    for part in parts([(camera_key(f.meta.camera), f.meta.telescope, f.meta.shape, f.meta.pattern) for f in frames]):
        order = sorted((t, i) for i in part if (t := times[i]) is not None and frames[i].meta.exposure_s)
        found = []
        for (t, i), (u, k) in zip(order, order[1:], strict=False):
            exposure_s = frames[i].meta.exposure_s or 0.0
            if u - t < (1 - OVERLAP) * exposure_s - CLOCK_S and pixels_of(frames[i]) != pixels_of(frames[k]):
                words = f"its header says that it began {u - t:.0f} s after {frames[i].source} did, which took"
                words = f"{words} {exposure_s:g} s: a clock or an exposure is wrong"
                found.append(Odd(k, "clock", u - t, exposure_s, words))
        if len(order) >= ENOUGH and len(found) <= (1 - NEARLY_ALL) * len(order):
            yield from found


def unsettled(frames: Sequence[Subframe]) -> Iterator[Odd]:
    """Sensors that were not as cold as their cooler was set to, farther than darks allow."""
    for i, meta in enumerate(frame.meta for frame in frames):
        at, wanted = meta.temperature_c, meta.set_temperature_c
        if at is not None and wanted is not None and abs(at - wanted) > TEMPERATURE_C:
            words = f"its sensor was at {at:.1f} C, and the cooler set to {wanted:g} C: darks must be as warm as it was"
            yield Odd(i, "cooler", at, wanted, words)


def heights(frames: Sequence[Subframe]) -> Iterator[Odd]:
    """Altitudes in headers that place, time and pointing contradict."""
    for i, frame in enumerate(frames):
        cards, meta = upper(frame), frame.meta
        pointing = {"ra_deg": meta.ra_deg, "dec_deg": meta.dec_deg, "exposure_s": meta.exposure_s}
        told, places = altitude_told(cards), places_computed(cards, pointing, seconds_of(meta.time))
        if told is None or not places:
            continue
        computed_deg = min((place[0] for place in places), key=lambda deg: abs(deg - told[0]))
        if abs(computed_deg - told[0]) > FAR_DEG:
            words = f"its header says that the target stood {told[0]:.0f} deg high, its time, site and pointing say"
            words += f" {computed_deg:.0f}: the clock, the time zone or the site is wrong"
            yield Odd(i, "altitude", told[0], computed_deg, words)


def scales(frames: Sequence[Subframe]) -> Iterator[Odd]:
    """Plate solutions that contradict the size of pixels and the focal length."""
    for i, frame in enumerate(frames):
        meta, solved = frame.meta, solved_scale(frame.keywords)
        if not (solved and meta.pixel_um and meta.focal_mm):
            continue
        by_pixels = ARCSEC_PER_UM_MM * meta.pixel_um / meta.focal_mm
        if abs(solved / by_pixels - 1) > SCALES:
            words = f"its plate solution says {solved:.3g} arcsec a pixel, its pixels and focal length"
            words += f" {by_pixels:.3g}: the solution is believed; correct FOCALLEN or XPIXSZ in the capture program"
            yield Odd(i, "scale", solved, by_pixels, words)


def upper(frame: Subframe) -> Mapping[str, object]:
    """The header of a frame, its keywords in capitals."""
    return {str(key).upper(): value for key, value in frame.keywords.items()}


def pixels_of(frame: Subframe) -> tuple[object, ...]:
    """What is the same where two files hold the same pixels."""
    m = frame.measurement
    return (frame.source,) if m is None else (m.location_dn, m.noise_dn, m.psf_flux_dn)


def parts(keys: Sequence[Hashable]) -> list[list[int]]:
    """Numbers of what has the same key, in the order in which keys first come."""
    found: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, []).append(i)
    return list(found.values())


RULES: tuple[Callable[[Sequence[Subframe]], Iterator[Odd]], ...] = (
    lacking, unlike_others, exposures_of, overlapping, unsettled, heights, scales,
)  # fmt: skip
"""What is looked for in the headers of a night."""
