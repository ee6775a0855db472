"""Which lights become one master light: all of one target and filter, but what `split_by` keeps apart."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from masterlight.core.frame import Meta
from masterlight.core.headers.names import filter_key, object_key
from masterlight.core.together import settings
from masterlight.session.groups import APART, Group, same_focal_length, telescope_key
from masterlight.session.plan import LightSet

SENSOR = "camera", "size", "binning", "colour pattern"
"""What lights share that one set of masters calibrates and one pair of eyes judges."""
NAMED = "camera", "telescope", "focal length", "binning", "size", "colour pattern", "unit"
"""What may tell two master lights of one name apart; the first that does is used."""


def sensor_of(meta: Meta) -> tuple[Any, ...]:
    """What tells a light's sensor and how it was read out."""
    return tuple(settings(meta, SENSOR).values())


def keys_of(
    split: str, groups: Sequence[Group], parts: Sequence[LightSet], fields: Mapping[str, int]
) -> list[tuple[Any, ...]]:
    """A key for each group of lights and the set that is made of it; those of one key become one master light.

    Under auto all of one target do, but lights of a sensor that no master fits, where those of others are calibrated.
    fields: which field of its name a light shows, by its file.
    """
    numbers = (fields.get(group.frames[0].source, 1) for group in groups)
    metas = [part.frames[0].meta for part in parts]  # their colour pattern may be known of masters alone
    keys = [(*target_of(*each), apart) for *each, apart in zip(metas, numbers, apart_by(split, groups), strict=True)]
    if split != "auto":
        return keys
    made: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for key, part in zip(keys, parts, strict=True):
        made.setdefault(key, set())
        if is_calibrated(part):
            made[key].add(sensor_of(part.frames[0].meta))
    sensors = [sensor_of(meta) for meta in metas]
    bare = [bool(made[key]) and sensor not in made[key] for key, sensor in zip(keys, sensors, strict=True)]
    return [(*key, *(sensor if alone else ())) for key, sensor, alone in zip(keys, sensors, bare, strict=True)]


def is_calibrated(part: LightSet) -> bool:
    """Whether anything is taken out of lights, or was before; what has three planes already is taken as it is."""
    meta = part.frames[0].meta
    return bool(part.masters) or bool(meta.calibration) or len(meta.shape) > 2


def target_of(meta: Meta, field: int) -> tuple[Any, ...]:
    """What lights of one master light share whatever took them: mono and colour stay apart."""
    colour = len(meta.shape), bool(meta.pattern)
    return object_key(meta.object), field, filter_key(meta.filter), *colour, meta.unit or "DN"


def instruments_of(groups: Sequence[Group]) -> list[int]:
    """By group, the number of what took it; groups whose headers do not tell all of it go with the first that fits."""

    def untold(i: int) -> int:
        meta = groups[i].meta
        return (telescope_key(meta.telescope) is None) + (not meta.focal_mm)

    ways: list[Group] = []
    found = [0] * len(groups)
    for i in sorted(range(len(groups)), key=untold):
        k = next((k for k, way in enumerate(ways) if same_instrument(groups[i], way)), len(ways))
        ways += [groups[i]] if k == len(ways) else []
        found[i] = k
    return found


def apart_by(split: str, groups: Sequence[Group]) -> list[Hashable]:
    """What keeps each of these groups of lights apart from others of its target."""
    if split == "binning":
        return [group.meta.binning for group in groups]
    return list(instruments_of(groups)) if split == "instrument" else [None] * len(groups)


def same_instrument(one: Group, other: Group) -> bool:
    """Whether two groups saw through one telescope with one camera, read out alike; what is not told differs in
    nothing."""
    a, b = (telescope_key(group.meta.telescope) for group in (one, other))
    focal = one.meta.focal_mm, other.meta.focal_mm
    alike = not (a and b) or a == b
    return alike and (not all(focal) or same_focal_length(*focal)) and sensor_of(one.meta) == sensor_of(other.meta)


def instrument_words(groups: Sequence[Group]) -> list[str]:
    """What took some groups of lights, one sentence part for each that differs: `ASI2600MM`, `ASI183MM bin 2x2`."""
    numbers = instruments_of(groups)
    ways = [group for i, group in enumerate(groups) if numbers[i] not in numbers[:i]]
    told = {name: [APART[name](group) for group in ways] for name in NAMED}
    used = [name for name in NAMED if len(set(told[name])) > 1]
    return [" ".join(told[name][i] or "" for name in used).strip() for i in range(len(ways))]


def named_apart(words: Sequence[Sequence[str]], groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """What to add to the names of master lights so that no two are called the same, as far as headers tell.

    words: of each its name so far; groups: the first lights of each.
    """
    names = [tuple(own) for own in words]
    for how in NAMED:
        told = [APART[how](group) for group in groups]
        answers: dict[tuple[str, ...], set[str | None]] = {}
        for name, tells in zip(names, told, strict=True):
            answers.setdefault(name, set()).add(tells)
        names = [(*n, *([t] if t and len(answers[n]) > 1 else [])) for n, t in zip(names, told, strict=True)]
    return [name[len(own) :] for name, own in zip(names, words, strict=True)]
