"""Laying: lights on one of them by their stars, by way of neighbours, through the lens that all share, on one canvas.

A night and the verb `align` lay their lights here, so that both come to the same transforms.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from masterlight.alignment.canvas import UNITED, Canvas, panels_of, share_within
from masterlight.alignment.models.loose import loose
from masterlight.alignment.panels.neighbours import lay_by_neighbours
from masterlight.alignment.transform import Transform
from masterlight.core.errors import Rejected
from masterlight.core.headers.geometry import WCS_KEYWORDS
from masterlight.core.headers.values import seconds_of
from masterlight.core.together import by_time
from masterlight.core.workers import Event, Events, each, one_blas_thread
from masterlight.doctor.findings import some
from masterlight.night.ahead import is_wanted
from masterlight.night.lights.light import Light, align_light, lay_colours, through_one_lens
from masterlight.night.placing.reference import BETTER, FAR_BETTER, finer_lights, laid_on, promise, same_grid, worths
from masterlight.night.report import FrameReport
from masterlight.night.run import Run
from masterlight.session.targets.apart import sensor_of

BEYOND = 0.3
"""It is told of lights of which more than this share lies beyond their reference and is cut off."""
FEWEST_TURNED, DRAWN_PX = 4, 1.0
"""So many lights tell how fast the field turns; what is drawn longer than this in one exposure is told."""


@dataclass(frozen=True)
class Field:
    """Lights that show the same stars, each with its transform, and the one on whose grid they are laid."""

    lights: list[Light]
    reference: Light | None
    joined: int = 0
    """Those of them that the reference does not show, laid by way of others."""
    panels: int = 0
    """Those of them that show other parts of the sky, so that the result becomes a mosaic if nobody says otherwise."""
    canvas: Canvas | None = None
    """The pixels of the result, once all lights are known."""

    @property
    def is_beside(self) -> bool:
        """Whether the reference is none of the lights."""
        return self.reference is not None and self.reference not in self.lights


def lay_on_one(
    run: Run, lights: list[Light], doubtful: Mapping[Light, Rejected] | None = None, beside: Light | None = None
) -> Events[tuple[Field, dict[Light, Rejected]]]:
    """Lay lights on the one of them that serves best, or that the user named, some of them by way of others.

    doubtful: lights that come to the field only if they match nothing, and why; they are tried as well. beside: what
    they are laid on in place of one of them, such as the result of an earlier night. Gives the field and why each of
    the other lights is none of it.
    """
    if beside is None:
        matches, reference = yield from match_most(run, lights)
    else:
        beside.transform = Transform.identity(beside.stars.shape)
        matches, reference = (yield from match_lights(run, beside, lights)), beside
    yield run.note("align", f"reference: {Path(reference.source).name}")
    if doubtful:  # few stars beside the others: clouds, unless they show something else
        seen = yield from match_lights(run, reference, list(doubtful))
        matches |= {light: doubtful[light] if seen[light] else seen[light] for light in doubtful}
    rest = {light: one for light, one in matches.items() if not one}
    tried = [light for light, why in rest.items() if not doubtful or why is not doubtful.get(light)]
    field, left = yield from joined(run, take(matches, reference), tried)
    return field, {light: why for light, why in rest.items() if light.transform is None}


def lay_finely(run: Run, fields: Sequence[Field]) -> Events[list[Field]]:
    """Fields whose lights are all known, through the lens that those of each share where that pays, on a canvas;
    without those whose stars do not lie there, either."""
    align = run.recipe.align
    with one_blas_thread():
        told = [words for field in fields for words in through_one_lens(align, field.reference, field.lights)]
    kept = []
    for field in fields:
        kept.append((yield from leave_loose(run, field)))
    told += [lay_colours(align, field.lights) for field in kept]
    fields = [framed(run, field) for field in kept]
    for words in (*filter(None, told), *turning(fields), *framing_of(fields), *cut_off(fields)):
        yield run.note("align", words)
    return fields


def leave_loose(run: Run, field: Field) -> Events[Field]:
    """The field without lights whose stars lie too far from their places, beside others of their sensor."""
    sensors: dict[object, list[Light]] = {}
    for light in field.lights:
        if light is not field.reference:
            sensors.setdefault(sensor_of(light.raw.meta), []).append(light)
    left = []
    for own in sensors.values():
        numbers, usual_px = loose(run.recipe.align.max_rms_px, [light.transform for light in own])
        for light in (own[i] for i in numbers):
            t, m = light.transform, light.measurement
            words = (
                f"its stars lie {t.rms_px:.1f} px (rms) from their places, usually {usual_px:.2f} px: trailed (FWHM "
            )
            words += f"{m.fwhm_px:.1f} px, eccentricity {m.eccentricity:.2f}), or bent by another lens? "
            words += "StarAlignment.max_rms_px says how far they may lie"
            yield run.reject(Rejected(light.source, "align", words, "RESIDUAL"), FrameReport.of(light, run.plan))
            light.transform = None
            left.append(light)
    return replace(field, lights=[light for light in field.lights if light not in left])


def named_reference(run: Run, lights: Sequence[Light]) -> list[Light]:
    """The lights that the user named as reference."""
    wanted = run.recipe.reference
    return [light for light in lights if wanted is not None and is_wanted(wanted, light.source)]


def rank_references(run: Run, lights: list[Light]) -> list[Light]:
    """Lights in the order in which they would serve as reference; the user's choice alone if it is among them.

    Those of the most common size come first, and among them those that are calibrated like the best.
    """
    if named := named_reference(run, lights):
        return named
    shapes = Counter(light.view.shape for light in lights)
    usual = max(shapes, key=lambda shape: (shapes[shape], shape))
    done = max(len(light.view.meta.calibration) for light in lights if light.view.shape == usual)

    def rank(light: Light):
        return light.view.shape == usual, len(light.view.meta.calibration) == done, promise(light)

    return sorted(lights, key=rank, reverse=True)


def match_lights(run: Run, reference: Light, lights: list[Light]) -> Events[dict[Light, Transform | Rejected]]:
    """Match every light with the reference; gives the transform of each, or why it has none."""
    prepared, matches = run.recipe.align.prepare(reference.stars), {}
    header = reference.view.header
    sky = {key: header[key] for key in header if key.startswith(WCS_KEYWORDS)}
    task = partial(align_light, run.recipe.align, prepared, reference.source, sky)
    with one_blas_thread():
        for event in each("align", run.pool, task, lights):
            matches[event.item] = event.result
            yield Event("align", event.done, event.total)
    return {light: matches[light] for light in lights}


def match_most(run: Run, lights: list[Light]) -> Events[tuple[dict[Light, Transform | Rejected], Light]]:
    """Match lights with the best reference, or with the next best where that shows what few others do."""
    best, most = {}, 0
    for reference in rank_references(run, lights)[:3]:
        matches = yield from match_lights(run, reference, lights)
        if (count := sum(map(bool, matches.values()))) > most:
            best, most, chosen = matches, count, reference
        if most > len(lights) / 2:
            break
    return (yield from match_best(run, best, chosen))


def match_best(
    run: Run, matches: dict[Light, Transform | Rejected], reference: Light
) -> Events[tuple[dict[Light, Transform | Rejected], Light]]:
    """The same matches on the light that serves best as reference, by what the stars in common tell of each.

    The user's choice stays. Its pixels are no larger than stars allow. Where the first saw far less, lights are matched
    with the better one once more.
    """
    if named_reference(run, list(matches)):
        return matches, reference
    known = worths(matches)
    if finer := finer_lights(matches, reference):
        best = max(finer, key=known.__getitem__)
        again = yield from match_lights(run, best, list(matches))
        if sum(map(bool, again.values())) >= sum(map(bool, matches.values())):
            matches, reference, known = again, best, worths(again)
    known = {light: worth for light, worth in known.items() if same_grid(light, reference, matches)}
    best = max(known, key=known.__getitem__)
    if known[best] <= BETTER * known[reference]:
        return matches, reference
    if known[best] > FAR_BETTER * known[reference]:
        again = yield from match_lights(run, best, list(matches))
        if sum(map(bool, again.values())) >= sum(map(bool, matches.values())):
            return again, best
    return laid_on(matches, best), best


def take(matches: dict[Light, Transform | Rejected], reference: Light) -> Field:
    """A field of the lights that match; they know from now on where they lie."""
    own = [light for light, match in matches.items() if match]
    for light in own:
        light.transform = matches[light]
    return Field(own, reference)


def joined(run: Run, field: Field, left: list[Light]) -> Events[tuple[Field, list[Light]]]:
    """The field with the lights that its reference does not show, laid by way of those that reach farther; and the
    lights that are left. Panels of a mosaic are laid all at once. Only framings that show all of every light have use
    for that."""
    align = run.recipe.align
    if align.frame not in (UNITED if field.is_beside else ("auto", *UNITED)):
        return field, left
    beside = [field.reference] if field.is_beside else []
    lights = sorted([*field.lights, *left, *beside], key=lambda light: by_time(light.view))
    laid = {i: light.transform for i, light in enumerate(lights) if light.transform is not None}
    meta, free = field.reference.view.meta, not named_reference(run, [field.reference])
    focal_px = 1000 * meta.focal_mm / meta.pixel_um if meta.focal_mm and meta.pixel_um else None
    stars, reference = [light.stars for light in lights], lights.index(field.reference)
    with one_blas_thread():
        found = yield from lay_by_neighbours(align, stars, laid, reference, run.pool, free, focal_px)
    if not found.rms_px:
        return field, left
    own = [lights[i] for i in sorted(found.transforms) if lights[i] not in beside]
    for i, whole in found.transforms.items():
        lights[i].transform = whole
    anchor, more = lights[found.reference], [lights[i].source for i in found.bridged]
    words = f"{some(more)}: laid by way of their neighbours, whose" if more else "panels are laid all at once; their"
    words += f" stars lie {found.rms_px:.2f} px apart where they overlap"
    yield run.note("align", f"{words}; reference: {Path(anchor.source).name}")
    return Field(own, anchor, len(more)), [light for light in left if light.transform is None]


def framed(run: Run, field: Field) -> Field:
    """The field with the canvas that its lights make, which they know from now on."""
    align, lights, reference = run.recipe.align, field.lights, tuple(field.reference.stars.shape)
    where = [light.transform for light in lights], [tuple(light.stars.shape) for light in lights]
    own = align.frame != "auto" or field.is_beside  # what comes of several nights is to lie on one grid
    panels = 0 if own else max(len(panels_of(*where, reference)), field.joined)
    kind = align.frame if align.frame != "auto" else "mosaic" if panels else "reference"
    canvas = Canvas.of(kind, align.crop, reference, *where)
    for light in (*lights, field.reference) if (canvas.shape, canvas.origin_px) != (reference, (0, 0)) else ():
        light.canvas = canvas
    return replace(field, canvas=canvas, panels=panels)


def framing_of(fields: list[Field]) -> Iterator[str]:
    """Sentences about canvases that are not their reference's frame, or not what was asked for."""
    for field in fields:
        (rows, cols), (left, top) = field.canvas.shape, field.canvas.origin_px
        if field.canvas.note:
            yield field.canvas.note
        elif field.lights and field.lights[0].canvas:
            name = Path(field.reference.source).name
            words = f"the result has {cols} x {rows} pixels, the first of them at ({left}, {top}) of {name}"
            more = f": {field.panels} of {len(field.lights)} lights are panels beside it (StarAlignment.frame auto)"
            yield f"{words}{more if field.panels else ''}"


def turning(fields: Sequence[Field]) -> Iterator[str]:
    """Sentences about fields that turn so fast, on a mount without a derotator, that an exposure draws stars long."""
    for field in fields:
        lights = [one for one in field.lights if seconds_of(one.view.meta.time) is not None]
        lights.sort(key=lambda one: seconds_of(one.view.meta.time))
        if len(lights) < FEWEST_TURNED:
            continue
        steps_s = np.diff([seconds_of(one.view.meta.time) for one in lights])
        steps_deg = (np.diff([one.transform.rotation_deg for one in lights]) + 90) % 180 - 90  # sides of the meridian
        rates = (steps_deg / np.maximum(steps_s, 1e-3))[steps_s > 0]
        rate = float(np.median(rates)) if len(rates) else 0.0
        steady = np.median(np.abs(rates - rate)) < abs(rate) / 2 if len(rates) else False
        exposure_s = max(one.view.meta.exposure_s or 0.0 for one in lights)
        drawn_px = np.radians(abs(rate)) * exposure_s * np.hypot(*field.reference.stars.shape) / 2
        if steady and drawn_px > DRAWN_PX:
            words = (
                f"the field turns by {abs(rate) * 3600:.1f} degrees an hour, as on an alt-azimuth mount: an exposure"
            )
            words += f" of {exposure_s:.4g} s draws stars in the corners {drawn_px:.1f} px long"
            yield f"{words}; shorter ones, or a derotator, would not"


def cut_off(fields: list[Field]) -> Iterator[str]:
    """Sentences about lights of which much lies beyond the grid that they are laid on."""
    for field in fields:
        if field.canvas.shape != tuple(field.reference.stars.shape):
            continue
        shares = {one: 1 - share_within(one.transform, one.stars.shape, field.canvas) for one in field.lights}
        if far := sorted((light for light in shares if shares[light] > BEYOND), key=shares.__getitem__):
            names, least, most = some([light.source for light in far]), shares[far[0]], shares[far[-1]]
            share = f"{least:.0%} to {most:.0%}" if round(100 * least) < round(100 * most) else f"{most:.0%}"
            where = f"beyond {Path(field.reference.source).name}, on whose grid they are laid, and is cut off"
            yield f"{names}: {share} lies {where}. StarAlignment.frame mosaic shows all of every light"
