"""Stars and a comet integrated each by itself, the other taken off every light, and put together again.

A light is I(x) = S(x) + C(x - m): stars S, and a comet C that has moved by m. Each light is interpolated once, straight
onto the grid of the layer that is integrated; what is taken off is the integration of the other layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from masterlight.alignment.bend import shift_matrix
from masterlight.alignment.comet.motion import Motion
from masterlight.alignment.transform import Transform
from masterlight.core.errors import NothingUsable, Rejected
from masterlight.core.frame import ArrayFrame, Meta, evenly
from masterlight.core.process import with_values
from masterlight.core.workers import Event, Events, each
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.local.model import LocalModel
from masterlight.integration.stack import Stack
from masterlight.night.comet.coarse import MOST_LIGHTS, cells_of, finer, side_of, smooth_comet
from masterlight.night.comet.layers import Apart, brightest, part_shown, sharp_parts
from masterlight.night.comet.moving import STAGE, moved, time_of
from masterlight.night.lights.light import Light, debayer_of, tile_aspect
from masterlight.night.run import Run, integrate

FEWEST = 3
"""Lights of which stars and comet can be told apart."""
HELD = 5.0
"""Images of so many sets of masters are in memory beside a layer, for each plane: the other ones and what is shown."""


class Layers(NamedTuple):
    """What became of lights with a comet: integrations of its stars, of itself, and both as they were at one time."""

    stars: Stack
    comet: Stack
    composite: Stack
    motion: Motion
    lights: tuple[Light, ...]
    """Those that took part."""


@dataclass(frozen=True)
class Sky:
    """What the lights of a stack have in common: by which numbers each came to it, and where the comet is in each."""

    lights: list[Light]
    at: int
    """Number of the reference among them."""
    numbers: list[tuple[tuple[float, ...], tuple[float, ...], LocalModel | None]]
    """Scale and offset of each plane, and the local model, by which a light is brought to the reference."""
    level_dn: np.ndarray
    """(planes,) sky of the reference."""
    noise_dn: np.ndarray
    """(planes,) of a sample of a light."""
    fwhm_px: float
    shifts: np.ndarray
    """(lights, 2) px that the comet has moved in each."""

    @classmethod
    def of(cls, lights: Sequence[Light], stack: Stack, reference: Light, motion: Motion, levelled: bool) -> "Sky":
        """Of the lights that a stack was made of, in its order; those without a time are left.

        levelled: whether its local models are for what is combined, and not for rejection alone.
        """
        lost = {one.source for one in stack.lost}
        used, models = [light for light in lights if light.source not in lost], list(stack.models) if levelled else []
        kept = [i for i, light in enumerate(used) if time_of(light) is not None]
        numbers = []
        for i in kept:
            scale, offset = (
                tuple(float(getattr(t, name)[i]) for t in stack.terms) for name in ("out_scale", "out_offset")
            )
            numbers.append((scale, offset, models[i] if models else None))
        own = [used[i] for i in kept]
        noise = np.array([np.median(t.noise_dn) for t in stack.terms])
        fwhm = float(np.median([light.measurement.fwhm_px / light.transform.scale for light in own])) if own else 0.0
        shifts = np.array([motion.shift(time_of(light)) for light in own]).reshape(-1, 2)
        at = own.index(reference) if reference in own else 0
        return cls(own, at, numbers, np.array([t.background_dn for t in stack.terms]), noise, fwhm, shifts)


def part_layers(
    run: Run, lights: Sequence[Light], stack: Stack, anchor: Light, reference: Light, motion: Motion, sets: float
) -> Events[Layers | None]:
    """Stars and comet of the lights of a stack, each integrated without the other; None where too few lights can be.

    sets: sets of masters that are in memory beside them.
    """
    how = run.recipe.integrate.settled
    levelled = how.normalization == "local" or how.rejection.normalization != "local"
    sky = Sky.of(lights, stack, reference, motion, levelled)
    if len(sky.lights) < FEWEST:
        yield run.note(STAGE, f"{len(sky.lights)} lights are too few to tell a comet from stars: {FEWEST} at least")
        return None
    shape, sets = stack.image.shape, sets + HELD * stack.image.size / np.prod(stack.image.shape[-2:])
    if not motion.is_placed:
        seen = yield from one_layer(run, sky, anchor, over_sky(stack, sky), True, sets)
        motion = motion.placed_at(brightest(seen.image.reshape(-1, *shape[-2:]), sky.fwhm_px))
    own = yield from smooth_layer(run, sky, anchor, motion)
    for _ in range(run.recipe.comet.rounds):
        stars = yield from one_layer(run, sky, anchor, own.reshape(shape), False, sets)
        comet = yield from one_layer(run, sky, anchor, over_sky(stars, sky), True, sets)
        planes = comet.image.reshape(-1, *shape[-2:])
        shown, level = part_shown(planes, motion.terms[0])
        own = np.where(shown > 0, np.nan_to_num(planes - level[:, None, None]) * shown, 0).astype(np.float32)
    stars = yield from one_layer(run, sky, anchor, own.reshape(shape), False, sets)
    if not shown.any():
        yield run.note(STAGE, "the comet does not stand out of the sky: the composite shows the stars alone")
    image = stars.image + own.reshape(stars.image.shape)
    variance = stars.variance
    if variance is not None and comet.variance is not None:
        variance = variance + np.nan_to_num(comet.variance) * np.square(shown)
    composite = replace(stars, image=image.astype(np.float32), variance=variance)
    return Layers(stars, comet, composite, motion, tuple(sky.lights))


def over_sky(stars: Stack, sky: Sky) -> np.ndarray:
    """The light of stars over the sky of the reference."""
    planes = stars.image.reshape(-1, *stars.image.shape[-2:]) - sky.level_dn[:, None, None].astype(np.float32)
    return planes.reshape(stars.image.shape)


def smooth_layer(run: Run, sky: Sky, anchor: Light, motion: Motion) -> Events[np.ndarray]:
    """Coma and tail as coarse copies of the lights show them, (planes, rows, cols) DN over the sky."""
    some = evenly(0, len(sky.lights) - 1, min(MOST_LIGHTS, len(sky.lights)))
    frames = [apart(run, sky, anchor, i) for i in some]
    side, copies = side_of(frames[0].shape), {}
    for event in each(STAGE, run.pool, partial(cells_of, side=side), frames):
        if not isinstance(event.result, Rejected):
            copies[frames.index(event.item)] = event.result
        yield Event(STAGE, event.done, event.total)
    kept = sorted(copies)
    shifts, nucleus = sky.shifts[some][kept] / side, (np.array(motion.terms[0]) + 0.5) / side - 0.5
    lights = np.stack([copies[k] for k in kept], axis=1)
    return np.stack([finer(smooth_comet(plane, shifts, nucleus), (side, side), frames[0].shape) for plane in lights])


def apart(run: Run, sky: Sky, anchor: Light, i: int) -> Apart:
    """A light among the stars, in the light and on the sky of the reference, nothing taken off."""
    light, (scale, offset, model) = sky.lights[i], sky.numbers[i]
    seen = light.register(run.recipe.align, anchor.result_shape)
    return Apart.of(seen, scale, offset, model)


def one_layer(run: Run, sky: Sky, anchor: Light, layer: np.ndarray, of_comet: bool, sets: float) -> Events[Stack]:
    """The integration of one layer, the other, `layer` as DN over the sky, taken off each light."""
    align, shape, debayer = run.recipe.align, anchor.result_shape, debayer_of(run.recipe)
    toward = -1 if of_comet else 1
    planes = layer.reshape(-1, *layer.shape[-2:])
    mask = sharp_parts(planes, sky.noise_dn, sky.fwhm_px, -toward * sky.shifts)
    whole = ArrayFrame.of(layer, "comet" if not of_comet else "stars", Meta())
    frames, statistics = [], []
    for light, (scale, offset, model), shift in zip(sky.lights, sky.numbers, sky.shifts, strict=True):
        own = moved(light, shift) if of_comet else light
        away = -toward * shift
        there = Transform(shift_matrix(*away), shape=shape)
        off = align.registered(whole, there, shape, noise_dn=float(sky.noise_dn.mean()), fwhm_px=sky.fwhm_px)
        seen = own.register(align, shape)
        on = {"shift_px": pixels(shift) if of_comet else (0, 0), "mask_px": pixels(away)}
        frames.append(Apart.of(seen, scale, offset, model, layer=off, ends=not of_comet, mask=mask, **on))
        statistics.append(on_scale(own.statistics(light is anchor, seen, debayer), scale, sky.level_dn))
    settings = layered(run.recipe.integrate)
    how = {"aspect": tile_aspect(sky.lights)}
    stack, *_ = yield from integrate(run, STAGE, settings, frames, statistics, sky.at, sets, **how)
    if stack is None:
        raise NothingUsable("no light of the comet could be read to its end")
    return stack


def pixels(shift: np.ndarray) -> tuple[int, int]:
    return round(float(shift[0])), round(float(shift[1]))


def on_scale(measured: list, scale: Sequence[float], level_dn: np.ndarray) -> list:
    """What was measured of a light as it is once it was brought to the light and sky of the reference."""
    told = []
    for m, factor, level in zip(measured, scale, level_dn, strict=True):
        times = {
            name: getattr(m, name) and getattr(m, name) * factor for name in ("noise_dn", "pixel_noise_dn", "step_dn")
        }
        known = {"location_dn": float(level), "flux_ratio": 1.0, "flux_ratio_error": 0.0, "sky_dn": None}
        known["scale_dn"] = tuple(factor * v for v in m.scale_dn)
        known["gain_e_per_dn"] = m.gain_e_per_dn and m.gain_e_per_dn / factor
        told.append(replace(m, **times, **known))
    return told


def layered(settings: ImageIntegration) -> ImageIntegration:
    """How lights are integrated that are brought to the reference already."""
    alone = with_values(settings.rejection, normalization="auto", single_frame_sigma=0.0, saturated=False)
    return with_values(settings, normalization="additive+scaling", scale="stars", rejection=alone)
