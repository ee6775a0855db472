"""Where lights point: those of one name, or of none, may show several fields; those of two names the same one."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import combinations
from statistics import median

import numpy as np

from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import object_key

FAR_FIELDS, FAR_DEG = 3.0, 5.0
"""Lights that point further apart than so many diagonals of a frame show two fields; degrees where it is not known.
What lies nearer may be a mosaic, or a mount that was not synchronized: the stars tell."""
FEWEST = 3
"""Lights that make a field; fewer may be told wrongly."""
SAME_DEG = 0.2
"""Targets that are no further apart are one, if their names are alike."""
ALIKE = 0.75
"""How alike names are that may be one with a slip in it, from 0 to 1."""


def direction(meta: Meta) -> np.ndarray | None:
    """Where a light points, a unit vector; None where its header does not tell, or has zeros as without a mount."""
    if meta.ra_deg is None or meta.dec_deg is None or meta.ra_deg == meta.dec_deg == 0:
        return None
    ra, dec = math.radians(meta.ra_deg), math.radians(meta.dec_deg)
    return np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])


def far_deg(meta: Meta) -> float:
    """How far lights must point apart to show two fields for sure."""
    if not (meta.pixel_um and meta.focal_mm):
        return FAR_DEG
    return FAR_FIELDS * math.degrees(math.hypot(*meta.shape[-2:]) * meta.pixel_um / 1000 / meta.focal_mm)


def fields_of(lights: Sequence[Frame]) -> dict[str, int]:
    """By its file, which field of its name a light shows, as far as that is told by where it points; from 1 on.

    A light that tells nothing, and fields of few lights, count with the largest of the name.
    """
    numbers: dict[str, int] = {}
    for same in by_name(lights).values():
        parts = [part for part in linked(same) if len(part) >= FEWEST]
        for number, part in enumerate(sorted(parts, key=lambda part: (-len(part), part[0].source)), 1):
            numbers |= {frame.source: number for frame in part if number > 1}
    return numbers


def by_name(lights: Sequence[Frame]) -> dict[str, list[Frame]]:
    """Raw lights that tell where they point, by the name of their target."""
    named = defaultdict(list)
    for frame in lights:
        if not frame.meta.is_master and direction(frame.meta) is not None:
            named[object_key(frame.meta.object)].append(frame)
    return named


def linked(frames: list[Frame]) -> list[list[Frame]]:
    """Frames in parts that point far apart; those of a mosaic hang together from panel to panel."""
    at = np.array([direction(frame.meta) for frame in frames])
    near = math.cos(math.radians(min(180.0, max(far_deg(frame.meta) for frame in frames))))
    free, parts = np.ones(len(frames), bool), []
    while free.any():
        waiting, part = [int(free.argmax())], []
        free[waiting] = False
        while waiting:
            part.append(i := waiting.pop())
            reached = np.flatnonzero(free & (at @ at[i] >= near)).tolist() if free.any() else []
            free[reached] = False
            waiting += reached
        parts.append([frames[i] for i in sorted(part)])
    return parts


def place(frames: Sequence[Frame]) -> str:
    """Where frames point, in words."""
    ra, dec = (median(values) for values in zip(*((f.meta.ra_deg, f.meta.dec_deg) for f in frames), strict=True))
    return f"at RA {ra:.1f}°, Dec {dec:+.1f}°"


def sentences(lights: Sequence[Frame], fields: dict[str, int]) -> Iterator[str]:
    """What is told of names and places that contradict each other."""
    named = by_name(lights)
    for same in named.values():
        parts = defaultdict(list)
        for frame in same:
            parts[fields.get(frame.source, 1)].append(frame)
        if len(parts) > 1:
            name = same[0].meta.object
            told = ", ".join(f"{len(part)} {place(part)}" for _, part in sorted(parts.items()))
            who = f"lights called {name} point" if name else "the lights without a name (OBJECT) point"
            yield f"{who} at {len(parts)} fields: {told}; each becomes a master light of its own"
    for few, many in combinations(sorted(named, key=lambda name: len(named[name])), 2):
        one, other = named[few], named[many]
        alike = not few or not many or SequenceMatcher(None, few, many).ratio() >= ALIKE
        if alike and max(map(len, (linked(one), linked(other)))) == 1 and apart_deg(one, other) <= SAME_DEG:
            points = "1 light {} points" if len(one) == 1 else f"{len(one)} lights {{}} point"
            where = f"where the {len(other)} {called(other)} {'do' if len(other) > 1 else 'does'}"
            yield f"{points.format(called(one))} {where}: give them one OBJECT for one master light"


def called(frames: Sequence[Frame]) -> str:
    """By which name frames go, as words."""
    name = frames[0].meta.object
    return f"called {name}" if name else "without a name"


def apart_deg(one: Sequence[Frame], other: Sequence[Frame]) -> float:
    """How far apart the middles of two targets lie."""
    a, b = (np.median([direction(frame.meta) for frame in frames], axis=0) for frames in (one, other))
    return math.degrees(math.acos(min(1.0, float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b)))))
