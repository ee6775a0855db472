"""Spots that stay at their pixels while the stars of a night move: hot pixels and blocks of them that no dark showed.

Where most of what lights show belongs to their sensor, they are measured by that: its widths, its places. So the pixels
that are hot in all of them are repaired and the lights measured again, if their stars then turn out to have moved.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.sensor import shows_sensor
from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import HOT, ArrayFrame, Frame, evenly
from masterlight.core.headers.names import camera_key
from masterlight.core.process import with_values
from masterlight.core.together import by_time
from masterlight.defects.find import BadPixels
from masterlight.defects.lists import Defects
from masterlight.defects.repaired import Repaired
from masterlight.defects.search import require_dither, steady
from masterlight.night.lights.light import Light, debayer_of
from masterlight.night.recipe import Recipe

FEWEST, LOOKED_AT = 3, 5
"""Lights that tell, and how many of a set are looked at, from first to last."""
IN_ALL = BadPixels(present=0.9, line=None)
"""A spot is hot in each of them."""
NARROWEST_PX = 1.2
"""Width of stars below which it is likely that of pixels."""
BESIDE = 2.5
"""Beside such a pixel others are hot from so many sigma on: what is left of a block looks like a faint star."""
PARTS = 0.25, 0.75
"""Places of a frame, as parts of its sides, that tell how far it moved; its middle stays where it is turned."""


@dataclass(frozen=True)
class Spots:
    """Hot pixels of one sensor, and the lights that show them."""

    lights: list[Light]
    defects: Defects

    def sentence(self) -> str:
        """What was found, as a note."""
        words = f"{len(self.defects)} pixels are hot at the same place of all lights while stars move"
        return f"{words}: repaired, and {len(self.lights)} lights measured anew. Darks of this sensor would show them"


def spots_of(recipe: Recipe, seen: Mapping[Light, Rejected | None]) -> Iterator[Spots]:
    """The hot pixels of each sensor whose lights show these rather than stars; seen: why a light was not measured.

    Nothing where a dark or a list told the hot pixels, or where the user wants none repaired.
    """
    if recipe.cosmetic.hot is None or not recipe.cosmetic.amount:
        return
    for lights in by_sensor(seen):
        if len(lights) < FEWEST or not suspected(lights, seen):
            continue
        with suppress(FrameError, OSError):
            defects = hot_in_all(recipe, [lights[i].sensor for i in some_of(lights)])
            if len(defects):
                yield Spots(lights, defects)


def by_sensor(seen: Mapping[Light, Rejected | None]) -> list[list[Light]]:
    """The lights of each sensor of which no hot pixels are known, in order of their time."""
    sets: dict[tuple, list[Light]] = {}
    for light in sorted(seen, key=lambda light: by_time(light.raw)):
        meta, (rows, cols) = light.sensor.meta, light.sensor.shape[-2:]
        sets.setdefault((rows, cols, camera_key(meta.camera), meta.binning, meta.pattern), []).append(light)
    return [lights for lights in sets.values() if not knows_hot(lights[0].sensor)]


def knows_hot(frame: Frame) -> bool:
    """Whether a dark, a list or an earlier step told hot pixels of a frame."""
    defects = frame.layout().defects if isinstance(frame, Repaired) else getattr(frame, "defects", None)
    return bool(defects and defects.hot)


def suspected(lights: Sequence[Light], seen: Mapping[Light, Rejected | None]) -> bool:
    """Whether half of some lights show no stars or far too narrow ones, or much that stays at its pixels."""
    starless = [light for light in lights if (lost := seen[light]) is not None and lost.stage == "measure"]
    others = [light for light in lights if seen[light] is None]
    narrow = [light for light in others if light.measurement.fwhm_px < NARROWEST_PX]
    if 2 * (len(starless) + len(narrow)) >= len(lights):
        return True
    told = [shows_sensor(a.stars, b.stars) for a, b in pairwise(others[i] for i in some_of(others))]
    return 2 * sum(told) >= max(len(told), 1)


def some_of(lights: Sequence[Light]) -> list[int]:
    """The numbers of some lights, from first to last."""
    return evenly(0, len(lights) - 1, LOOKED_AT)


def hot_in_all(recipe: Recipe, frames: Sequence[Frame]) -> Defects:
    """The pixels that are hot in all of some frames; none where they are more than defects may be."""
    found = steady(with_values(IN_ALL, cfa=recipe.cosmetic.cfa), [grey(frame) for frame in frames], BESIDE)
    meta = frames[0].meta.with_(shape=found.shape)
    mask = np.where(found.mask & HOT, HOT, 0)
    if np.count_nonzero(mask) > recipe.cosmetic.max_fraction * mask.size:
        mask[:] = 0
    return Defects.of(mask, f"{len(frames)} lights", meta)


def grey(frame: Frame) -> Frame:
    """A frame of one plane as it is, the mean of the planes of others."""
    if frame.planes == 1:
        return frame
    image = np.mean(np.asarray(frame), axis=0, dtype=np.float32)
    return ArrayFrame(source=frame.source, meta=frame.meta.with_(shape=image.shape), array=image)


def without_spots(recipe: Recipe, light: Light, defects: Defects) -> Light:
    """A light with more of its pixels repaired, to be measured anew."""
    sensor = recipe.cosmetic(light.sensor, defects)
    view = debayer_of(recipe)(sensor) if sensor.meta.pattern else sensor
    return replace(light, sensor=sensor, view=view)


def stars_moved(process: StarAlignment, lights: Sequence[Light], of: int) -> bool:
    """Whether half of so many lights show the same stars, at other pixels of the sensor each time.

    lights: those that could be measured. Otherwise what stays at its place may have been stars.
    """
    if len(lights) < FEWEST:
        return False
    anchor = max(lights, key=lambda light: len(light.stars))
    prepared, (rows, cols) = process.prepare(anchor.stars), anchor.stars.shape
    place, moves = np.array([(PARTS[0] * cols, PARTS[1] * rows)]), [np.zeros(2)]
    for light in [light for light in lights if light is not anchor]:
        if found := process.align(prepared, light.stars, light.source):
            moves.append((found(place) - place)[0])
    if len(moves) < max(FEWEST, of / 2):
        return False
    with suppress(FrameError):
        require_dither(IN_ALL, moves, len(moves), "")
        return True
    return False
