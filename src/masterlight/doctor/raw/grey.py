"""Colour cameras that saw no colour: frames with a colour pattern whose pixels are all equally bright."""

from collections.abc import Iterator

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import evenly
from masterlight.core.headers.geometry import period
from masterlight.core.headers.names import camera_key
from masterlight.doctor.evidence import Evidence
from masterlight.doctor.findings import Finding, finding
from masterlight.doctor.process import Doctor
from masterlight.session.found.orientation import blocks_of, place_levels
from masterlight.session.groups import Group

EQUAL = 0.005
"""Colours of flats that differ by less of their light than this are no colours: the same lamp, filter and sensor never
give three that are so alike."""
SKY, SIGMA, LIGHTS = 0.01, 5.0, 3
"""The same of the sky, where a difference of so many sigma would be seen; and how many lights are looked at."""


def equal_colours(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D17: a pattern in headers of frames that were binned to grey, or come of a mono camera."""
    for light in evidence.groups("light"):
        flats = [group for group in evidence.groups("flat") if is_of(group, light)] if light.meta.pattern else []
        apart = [spread for group in flats for spread in colours_apart(evidence, group)]
        if not apart or max(apart) > EQUAL:
            continue
        seen = sky_apart(evidence, light)
        if seen is None or seen > SKY:
            continue
        sentence = f"""{light.title}: the headers tell of colour filters (BAYERPAT {light.meta.pattern[:4]}), but all
            pixels are equally bright, in the sky (within {100 * max(seen, 1e-4):.2g} %) and in {len(apart)} flats
            (within {100 * max(*apart, 1e-4):.2g} %): binned to grey, or a mono camera? Then there is no colour in
            them; take BAYERPAT out of the headers"""
        yield finding("D17", "warn", light.frames, 100 * max(apart), 100 * EQUAL, "%", sentence)


def is_of(flats: Group, light: Group) -> bool:
    """Whether flats are of the camera, the size and the pattern of lights."""
    same = camera_key(flats.meta.camera) == camera_key(light.meta.camera)
    return same and (flats.meta.shape, flats.meta.pattern) == (light.meta.shape, light.meta.pattern)


def colours_apart(evidence: Evidence, flats: Group) -> Iterator[float]:
    """By which part of its light the colours of each flat differ; of those that are neither dark nor saturated."""
    bias = evidence.bias_for(flats) or 0.0
    for one in evidence.of(flats):
        levels = np.array(list(one.colours.values()))
        if len(levels) > 1 and levels.min() > 1.2 * bias and sum(one.saturated) < 0.01 * one.pixels:
            yield float(np.ptp(levels) / (levels.mean() - bias))


def sky_apart(evidence: Evidence, lights: Group) -> float | None:
    """By which part of the sky its colours differ in some lights; None where that cannot be seen."""
    found, n = [], period(lights.meta.pattern)
    bias = evidence.bias_for(lights) or 0.0
    for i in evenly(0, len(lights.frames) - 1, LIGHTS):
        try:
            blocks = blocks_of(lights.frames[i], n)
        except (FrameError, OSError):  # told when its turn comes
            continue
        if len(blocks):
            levels, errors = place_levels(blocks, n)
            sky = float(levels.mean()) - bias
            sure = SIGMA * float(np.sqrt(np.mean(errors**2) / len(blocks)))
            found += [max(0.0, float(np.ptp(levels.mean(axis=0))) - sure) / sky] if SKY * sky > sure else []
    return max(found) if found else None
