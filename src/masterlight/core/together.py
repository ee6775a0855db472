"""What must be equal for frames to be used together, as far as their headers tell."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isclose
from pathlib import Path
from typing import Any

from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import camera_key, same_filter

SETTINGS: dict[str, Callable[[Meta], Any]] = {
    "camera": lambda meta: camera_key(meta.camera) or None,
    "size": lambda meta: " x ".join(map(str, meta.sky_shape[:-3:-1])),
    "region": lambda meta: meta.origin_px if meta.camera else None,
    # 1x1 is also what is taken for granted
    "binning": lambda meta: (
        "{}x{}".format(*meta.binning) if meta.binning != (1, 1) or meta.camera or meta.pixel_um else None
    ),
    "colour pattern": lambda meta: meta.sky_pattern,
    "readout mode": lambda meta: meta.readout_mode.lower() if meta.readout_mode else None,
    "gain": lambda meta: meta.gain,
    "offset": lambda meta: meta.offset,
    "unit": lambda meta: meta.unit or ("DN" if meta.integer else None),  # cameras count
    "filter": lambda meta: meta.filter,
}
"""What tells frames apart, by the name that a sentence gives it, as the part of the sensor that saw the sky has it;
None where a header does not tell."""
SENSOR = tuple(name for name in SETTINGS if name != "filter")
"""Settings of the sensor and its read-out: what darks and bias frames must share with the lights."""
EXPOSURE_S, EXPOSURE_FRACTION = 0.05, 0.02
"""Darks match an exposure within the larger of these two."""
TEMPERATURE_C = 3.0
"""Darks match a sensor temperature within this."""


def by_time(frame: Frame) -> tuple[str, str, str]:
    """What orders frames: the time at which they were taken, then their names, whatever folder they are in."""
    return frame.meta.time or "", Path(frame.source).name, frame.source


def same_exposure(a: float, b: float) -> bool:
    """Whether two exposures in seconds are the same, as far as darks care."""
    return abs(a - b) <= max(EXPOSURE_S, EXPOSURE_FRACTION * max(a, b)) + 1e-9


def same_current(mine: Meta, theirs: Meta) -> bool:
    """Whether two frames gathered the same dark current, by exposure and temperature; what is not told is the same."""
    a, b = mine.temperature_c, theirs.temperature_c
    alike = not (mine.exposure_s and theirs.exposure_s) or same_exposure(mine.exposure_s, theirs.exposure_s)
    return alike and (a is None or b is None or abs(a - b) <= TEMPERATURE_C)


def settings(meta: Meta, names: Iterable[str] = SENSOR) -> dict[str, Any]:
    """The settings of these names, None where the header does not tell."""
    return {name: SETTINGS[name](meta) for name in names}


def differences(mine: Meta, theirs: Meta, names: Iterable[str] = SENSOR) -> Iterator[tuple[str, Any, Any]]:
    """(name, mine, theirs) of the settings that both headers tell, and differently; as a sentence calls the values.

    What only one of them tells excludes nothing.
    """
    names = tuple(names)
    yield from unlike(settings(mine, names), settings(theirs, names))


def unlike(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The same of settings that were read already."""
    for name, a in mine.items():
        b = theirs[name]
        if a is not None and b is not None and not same(name, a, b):
            yield name, a, b


def same(name: str, a: Any, b: Any) -> bool:
    """Whether two values of a setting mean the same: names of a filter by meaning, numbers within rounding."""
    if name == "filter":
        return same_filter(a, b) is not False
    return isclose(a, b, rel_tol=1e-6) if isinstance(a, float) and isinstance(b, float) else a == b
