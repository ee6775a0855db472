"""Pixels as a witness: frames called light that are flats, even, without stars and far brighter than the sky; and darks
and bias frames by their folder, without stars.

A header says light where nobody chose anything else. What nobody else says, pixels alone do not decide on: a bright sky
through clouds, the Sun and the Moon are even and without stars too. So a flat must also be much brighter for each
second than lights of its filter, or lie in a folder of flats.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame, Meta, evenly, strips
from masterlight.core.headers.geometry import period
from masterlight.core.headers.names import camera_key, filter_key, object_key
from masterlight.core.statistics.scale import madn
from masterlight.core.together import differences, settings
from masterlight.core.workers import Pool, each
from masterlight.session.groups import PLURAL

FEW = 5
"""Frames of a group that are looked at first: the first, the last and those between, evenly."""
STRIPS, HEIGHT, ZONES = 8, 16, 8
"""Strips of a frame that are read, their rows, and the zones along each."""
FAINT, BRIGHT = 0.04, 0.66
"""A flat lies between these parts of full scale."""
STAR_SIGMA, STAR_HEIGHT, WIDE, MOST_STARS = 6.0, 0.05, 25, 2
"""Peaks of so many sigma and so high a part of the level, not as wide as so many pixels of one colour, are stars: what
is left between motes of dust is lower. A flat may show so many for its flaws."""
CELLS = 200_000
"""Stars are looked for in every strip when all have fewer pixels than twice this, else in some."""
UNEVEN, DARKEST, ALIKE = 0.03, 0.25, 0.02
"""Structure within a zone, the darkest zone, and how far the zones of two flats differ, as parts of the level."""
SURELY, PERHAPS = 20.0, 5.0
"""So many times the light of a light for each second: a flat for sure, and one that is worth a word."""
FEWEST = 3
"""Flats that no folder and no name calls so are this many or more."""
PIXELS, DOUBT = "by pixels", "looks like a flat"
"""What the note holds on a frame whose kind pixels decided; how it begins on one that stays a light but may be none."""
TAKEN = f"taken for a flat {PIXELS}"


@dataclass(frozen=True, eq=False)
class Level:
    """What a few rows of a frame tell of its level."""

    frame: Frame
    level_dn: float
    highest_dn: float

    def rate(self, unlit_dn: float) -> float | None:
        """DN of light for each second, at a level of `unlit_dn` without any."""
        seconds = self.frame.meta.exposure_s
        return max(self.level_dn - unlit_dn, 1.0) / seconds if seconds else None


@dataclass(frozen=True, eq=False)
class Glance(Level):
    """What strips of a frame tell."""

    zones: np.ndarray
    """Medians of the zones of each strip over the level (STRIPS, ZONES)."""
    uneven: float
    """Structure within the zones beyond the noise of pixels, as a part of the level."""
    stars: int


Seen = TypeVar("Seen", bound=Level)


def flats_by_look(frames: Sequence[Frame], pool: Pool) -> list[Frame]:
    """The frames with those lights as flats that their pixels show to be flats; each carries a note that says so.

    A few strips of a few lights of each group are read, of all its lights where some look like flats.
    """
    groups, cameras, found = groups_of(frames), dict[Any, list[Level]](), dict[int, Frame]()
    few = [[group[i] for i in evenly(0, len(group) - 1, FEW)] for group in groups]
    levels = look_at(level_of, [frame for part in few for frame in part], pool)
    for one in levels.values():
        cameras.setdefault(camera_of(one.frame), []).append(one)
    for group, part in zip(groups, few, strict=True):
        others = cameras.get(camera_of(group[0]), [])
        full = full_scale(others)
        first = look_at(glance, lit_among(part, levels, full), pool)
        if any(is_even(one, full) for one in first.values()):
            rest = [frame for frame in group if frame not in part]
            seen = first | look_at(glance, lit_among(rest, look_at(level_of, rest, pool), full), pool)
            even = alike([one for one in seen.values() if is_even(one, full)])
            brighter = times_brighter(even, others, unlit_level(group[0], frames), full)
            found |= {id(one.frame): judged(one, even, brighter, full) for one in even}
        elif unlit := {id(frame): called(frame, kind) for frame in group if (kind := unlit_kind(frame.meta))}:
            first = look_at(glance, part, pool)
            if first and all(one.stars <= MOST_STARS for one in first.values()):
                found |= unlit
    return [found.get(id(frame), frame) for frame in frames]


def unlit_kind(meta: Meta) -> str | None:
    """The kind without light that folder or name give to what the header calls a light."""
    said = [
        kind for witness, kind in meta.told if witness in ("folder", "name") and kind in ("bias", "dark", "flatdark")
    ]
    return said[0] if said else None


def called(frame: Frame, kind: str) -> Frame:
    """A frame that the header calls a light and that shows no star, as what its folder or its name call it."""
    who = " and ".join(f"its {witness}" for witness, said in frame.meta.told if said == kind)
    note = f"taken for a {PLURAL[kind].removesuffix('s')} {PIXELS} and {who} (no stars), though the header says light"
    kept = tuple(note for note in frame.meta.notes if not note.startswith("taken for "))
    return replace(frame, meta=frame.meta.with_(kind=kind, notes=(*kept, note)))


def by_look(frames: Iterable[Frame], suitable: Iterable[Frame]) -> list[Frame]:
    """Frames as they were found, those of which pixels told something as they are among the suitable ones."""
    told = {f.source: f for f in suitable if any(n.startswith(DOUBT) or PIXELS in n for n in f.meta.notes[-1:])}
    return [told.get(frame.source, frame) for frame in frames]


def groups_of(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Raw lights of one plane that were taken alike and lie together; few of an exposure with others as few.

    Twilight fades, so that each of its flats has an exposure of its own.
    """
    groups: dict[Any, dict[float | None, list[Frame]]] = {}
    for frame in frames:
        meta = frame.meta
        raw = meta.kind in ("light", "unknown") and not meta.is_master and not meta.calibration and meta.frames <= 1
        if raw and not settled(meta) and len(frame.shape) == 2 and is_large(frame):
            key = (*settings(meta).values(), filter_key(meta.filter), object_key(meta.object))
            own = groups.setdefault((*key, os.path.dirname(frame.source)), {})
            own.setdefault(meta.exposure_s, []).append(frame)
    out = []
    for exposures in groups.values():
        out += [group for group in exposures.values() if len(group) >= FEWEST]
        few = [frame for group in exposures.values() if len(group) < FEWEST for frame in group]
        out += [few] if few else []
    return out


def is_large(frame: Frame) -> bool:
    """Whether a frame has room for strips, and these for two cells of every zone."""
    rows, cols = frame.shape
    return min(rows, cols) >= 2 * HEIGHT and cols >= 2 * ZONES * period(frame.meta.pattern)


def settled(meta: Meta) -> bool:
    """Whether the user has said what a frame is."""
    return any(witness == "user" for witness, _ in meta.told)


def camera_of(frame: Frame) -> tuple:
    """What frames share whose light is compared: camera, size and filter."""
    return camera_key(frame.meta.camera), frame.shape, filter_key(frame.meta.filter)


def look_at(task: Callable[[Frame], Seen], frames: Sequence[Frame], pool: Pool) -> dict[int, Seen]:
    """What `task` tells of these frames, by the id of the frame; those that cannot be read are missing."""
    done = (event.result for event in each("look", pool, task, frames))
    return {id(one.frame): one for one in done if isinstance(one, Level)}


def level_of(frame: Frame) -> Level | None:
    """The level of a frame, from a few of its rows."""
    size = period(frame.meta.pattern)
    rows = np.stack(strips(frame, STRIPS, size, size))
    if not np.isfinite(rows).all():
        return None
    return Level(frame, float(np.median(rows)), float(rows.max()))


def glance(frame: Frame) -> Glance | None:
    """What strips of a frame tell of its stars and its illumination."""
    size = period(frame.meta.pattern)
    height = max(HEIGHT, 4 * size) // size * size
    rows = np.stack(strips(frame, STRIPS, height, size))
    if not np.isfinite(rows).all():
        return None
    level, highest = float(np.median(rows[:, ::4, ::3])), float(rows.max())
    count, cols = len(rows), rows.shape[-1] // (size * ZONES) * size * ZONES
    cells = rows[:, :, :cols].reshape(count, height // size, size, -1, size).mean(axis=(2, 4))
    parts = cells.reshape(*cells.shape[:2], ZONES, -1)
    middle = np.median(parts, axis=(1, 3))
    residual = parts - surface(parts)
    noise = madn(np.diff(residual[:, ::3], axis=-1)) / math.sqrt(2)
    beyond = math.sqrt(max(0.0, madn(residual[:, ::3]) ** 2 - 1.2 * noise**2))
    zones = middle / np.median(middle) if np.median(middle) > 0 else np.zeros_like(middle)
    if level <= 0:  # of a camera without offset, whose noise is cut off: that of what is left
        noise = max(noise, float(np.quantile(residual[:, ::3], 0.975)) / 2)
    stars = peaks(cells[:: max(1, cells.size // CELLS)], noise, level)
    return Glance(frame, level, highest, zones, beyond / level if level > 0 else math.inf, stars)


def surface(parts: np.ndarray) -> np.ndarray:
    """A straight slope along each zone (strips, rows, zones, cols), from the medians of its halves."""
    half = parts.shape[-1] // 2
    left, right = (np.median(part, axis=(1, 3), keepdims=True) for part in (parts[..., :half], parts[..., half:]))
    x = (np.arange(parts.shape[-1]) - (parts.shape[-1] - 1) / 2) / (parts.shape[-1] / 2)
    return (left + right) / 2 + (right - left) * x


def peaks(cells: np.ndarray, noise: float, level: float) -> int:
    """Peaks in strips (strips, rows, cols) that are wider than a pixel and narrower than a mote of dust."""
    from scipy import ndimage

    soft = ndimage.median_filter(cells, (1, 3, 3))  # of hot pixels nothing is left
    soft -= ndimage.median_filter(soft, footprint=np.arange(WIDE)[None, None] % 3 == 0)
    high = soft > max(STAR_SIGMA * max(madn(soft), 0.4 * noise), STAR_HEIGHT * level)
    return int(ndimage.label(high, np.ones((3, 3, 3)) * np.array([0, 1, 0])[:, None, None])[1])


def full_scale(seen: Sequence[Level]) -> float:
    """The level at which a camera saturates; one of fewer than 16 bits ends where all that was seen of it does."""
    told = next((one.frame.meta.saturation_dn for one in seen if one.frame.meta.saturation_dn), 65535.0)
    highest = max((one.highest_dn for one in seen), default=told)
    return next((2.0**bits - 1 for bits in (10, 12, 14) if highest < 2**bits), told) if told == 65535 else told


def is_lit(one: Level, full_dn: float) -> bool:
    """Whether a frame has the level of a flat."""
    return FAINT * full_dn < one.level_dn < BRIGHT * full_dn


def lit_among(frames: Iterable[Frame], levels: Mapping[int, Level], full_dn: float) -> list[Frame]:
    """Those frames that have the level of a flat."""
    return [frame for frame in frames if id(frame) in levels and is_lit(levels[id(frame)], full_dn)]


def is_even(one: Glance, full_dn: float) -> bool:
    """Whether a frame is lit as a flat is, evenly and without stars."""
    even = one.uneven < UNEVEN and float(one.zones.min()) > DARKEST
    return is_lit(one, full_dn) and even and one.stars <= MOST_STARS


def alike(even: Sequence[Glance]) -> list[Glance]:
    """Those whose illumination is that of the others."""
    if not even:
        return []
    middle = np.median([one.zones for one in even], axis=0)
    return [one for one in even if np.quantile(np.abs(one.zones / middle - 1), 0.9) < ALIKE]


def judged(one: Glance, even: Sequence[Glance], brighter: float, full_dn: float) -> Frame:
    """A frame that looks like a flat, as a flat when another witness agrees, with a note on who said what."""
    meta, count = one.frame.meta, len(even)
    by = [witness for witness, kind in meta.told if kind == "flat"]
    level = np.median([each.level_dn for each in even]) / full_dn
    look = f"no stars, even, at {level:.0%} of full scale, {count} alike"
    look += f", {brighter:,.0f} times as bright for each second as other lights" if brighter > PERHAPS else ""
    others = [f"its {who} says {kind}" for who, kind in meta.told if who in ("folder", "name") and kind != "flat"]
    by_header = " and ".join(["the header says light" if meta.declared else "the header is silent", *others])
    if (by and count > 1) or (brighter > SURELY and count >= FEWEST):
        who = "".join(f" and its {witness}" for witness in by)
        note = f"{TAKEN}{who} ({look}), though {by_header}"
        kept = tuple(note for note in meta.notes if not note.startswith("taken for "))
        return replace(one.frame, meta=meta.with_(kind="flat", notes=(*kept, note)))
    if brighter > PERHAPS and count > 1:
        note = f"{DOUBT} ({look}), but {by_header} and it stays a light; if it is a flat, put it into a folder flats"
        return replace(one.frame, meta=meta.with_(notes=(*meta.notes, note)))
    return one.frame


def times_brighter(even: Sequence[Glance], others: Sequence[Level], unlit_dn: float | None, full_dn: float) -> float:
    """How much more light for each second than in the darkest other lights; 0 when there are none to compare with.

    Also 0 for frames that are hardly above their bias level, or above other lights where nothing tells it: divided by a
    short exposure that level alone looks like much light.
    """
    mine = {id(one.frame) for one in even}
    beside = [one for one in others if id(one.frame) not in mine]
    sky = [rate for one in beside if (rate := one.rate(unlit_dn or 0.0))]
    light = [rate for one in even if (rate := one.rate(unlit_dn or 0.0))]
    if not (sky and light):
        return 0.0
    floor_dn = min(one.level_dn for one in beside) if unlit_dn is None else unlit_dn
    lit = float(np.median([one.level_dn for one in even])) - floor_dn > FAINT * full_dn
    return float(np.median(light)) / min(sky) if lit else 0.0


def unlit_level(light: Frame, frames: Iterable[Frame]) -> float | None:
    """The level of a bias frame or dark that goes with a light; None when there is none."""
    for frame in frames:
        meta = frame.meta
        holds_bias = meta.kind in ("bias", "dark", "flatdark") and meta.contains_bias is not False
        if holds_bias and not meta.calibration and not any(differences(light.meta, meta)):
            with suppress(FrameError, OSError):
                rows = np.stack(strips(frame, 2))
                if np.isfinite(rows).any():
                    return float(np.nanmedian(rows))
    return None
