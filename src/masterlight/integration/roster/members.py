"""Who takes part in an integration: frames of unknown scale, or of next to no weight, do not."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masterlight.core.errors import FrameError, NothingUsable, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import with_values
from masterlight.core.workers import Event
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.local.levels import APART_SIGMA, Levels, levels_of, show_panels
from masterlight.integration.local.model import LocalModel, Normalized
from masterlight.integration.local.models import models_of
from masterlight.integration.roster.numbers import scale_factors, terms_of
from masterlight.integration.roster.terms import Terms
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.together import Pool

Planes = Sequence[Sequence[Measurement]]
"""What was measured: for each plane a list with one for each frame."""


class Roster(NamedTuple):
    """Who takes part in an integration, and how."""

    settings: ImageIntegration
    """Those that hold, `auto` resolved."""
    frames: list[Frame]
    terms: list[Terms]
    """One for each plane."""
    local: list[LocalModel] | None
    """One for each frame, when they are normalized place by place."""
    levels: list[LocalModel] | None
    """What would level the skies of frames that hardly differ, where a sample is lost and the others stand for it."""
    kept: np.ndarray
    """Where the frames stand among all that were given."""
    lost: dict[int, Rejected]
    """Those of them that were left out."""
    reference: Frame
    """As it takes part."""
    note: str = ""
    """What skies that differ made of the settings."""


def roster_of(
    settings: ImageIntegration, running: Pool, frames: Sequence[Frame], planes: Planes, reference: int | None,
    odd: Mapping[int, Rejected],
) -> Generator[Event, None, Roster]:  # fmt: skip
    """Who takes part; frames of unknown scale, without a local model, or of next to no weight, do not.

    odd: those that are known not to.
    """
    settings, told = without_local(settings, planes)
    given, settings = settings, settings.settled
    planes, lost = scaled_alike(settings, planes, reference)
    lost |= odd
    reference = best_frame(settings, planes, lost) if reference is None else reference
    models = None
    if settings.localizes:
        use = [i for i in range(len(frames)) if i not in lost]
        own, at = [[plane[i] for i in use] for plane in planes], use.index(reference)
        factors, by_stars = [scale_factors(settings, plane, at)[0] for plane in own], settings.scale == "stars"
        found = yield from models_of(settings.local, running, [frames[i] for i in use], own, at, factors, by_stars)
        models = dict(zip(use, found, strict=True))
        if settings.local.local_scale and not any(gain.size for model in found for gain in model.gain):
            settings = with_values(settings, local=with_values(settings.local, local_scale=False))  # noise is known
    first = None
    least = max(settings.min_weight, np.finfo(float).tiny)
    while True:
        kept = np.array([i for i in range(len(frames)) if i not in lost])
        settings.rejection.check(len(kept))
        at, local = int(np.searchsorted(kept, reference)), [models[i] for i in kept] if models else None
        terms = []
        for p, plane in enumerate(planes):
            scales = np.array([model.scale[p] for model in local]) if local else None
            terms.append(terms_of(settings, [plane[i] for i in kept], at, scales))
        if first is not None:  # weights are those among all, or a formula's worst frame would go again and again
            terms = [replace(t, weights=w[kept] / w[kept].max()) for t, w in zip(terms, first, strict=True)]
        else:
            first = [np.full(len(frames), np.nan) for _ in terms]
            for whole, t in zip(first, terms, strict=True):
                whole[kept] = t.weights
        weights = np.min([t.weights for t in terms], axis=0)
        light = [i for i, weight in zip(kept, weights, strict=True) if not weight >= least and i != reference]
        if not light:
            known = kept, lost, frames[reference], told
            roster = Roster(settings, [frames[i] for i in kept], terms, local, None, *known)
            own = [[plane[i] for i in kept] for plane in planes]
            return levelled(roster, own, at) if given.normalization == "auto" and local is None else roster
        words = f"it counts for less than {settings.min_weight:g} of the best (ImageIntegration.min_weight)"
        lost |= {i: Rejected(frames[i].source, "integrate", words) for i in light}


def without_local(settings: ImageIntegration, planes: Planes) -> tuple[ImageIntegration, str]:
    """The settings without local normalization where frames show different parts of the result, and what to tell of it.

    It compares pixels with those of the reference, of which most panels of a mosaic show nothing.
    """
    if settings.normalization != "local" or not show_panels(planes):
        return settings, ""
    rejection = settings.rejection
    if rejection.normalization == "local":
        rejection = with_values(rejection, normalization="auto")
    words = "; ImageIntegration.normalization local cannot, since most of them show too little of the reference"
    return with_values(settings, normalization="auto", rejection=rejection), words


def levelled(roster: Roster, planes: Planes, reference: int) -> Roster:
    """The same with frames levelled by the skies that were measured of them, where these differ."""
    frame = roster.reference
    levels = levels_of(planes, roster.terms, reference, frame.shape)
    if levels is None:
        return roster
    if levels.panels:
        words = "frames show different parts of the result: skies are levelled where they overlap"
        return with_levels(roster, levels, reference, f"{words}, and fade into each other{roster.note}")
    if levels.apart_sigma < APART_SIGMA:
        return roster._replace(levels=levels.models)
    name = Path(levels.source).name[:60]
    flattened = any("F" in frame.meta.calibration for frame in roster.frames)
    why = "" if flattened else "; vignetting does so without a flat, as it moves with the dither"
    words = f"skies differ over the field by up to {levels.apart_sigma:.1f} sigma of a pixel ({name}{why})"
    note = f"{words}: frames are levelled place by place. ImageIntegration.normalization additive+scaling leaves them"
    return with_levels(roster, levels, reference, note)


def with_levels(roster: Roster, levels: Levels, reference: int, note: str) -> Roster:
    """The same with these levels, and what is to be told of it."""
    frame, model = roster.reference, levels.models[reference]
    seen = Normalized(source=frame.source, meta=frame.meta, cards=frame.cards, below=frame, model=model)
    return roster._replace(local=levels.models, reference=seen, note=note)


def scaled_alike(settings: ImageIntegration, planes: Planes, reference: int | None):
    """The measurements so that all frames, in all planes, get their scale in one way, and who is left out for it.

    A few frames without stars in common are left out; where most have none, none is scaled by stars.
    """
    if not settings.looks_at_stars:
        return planes, {}
    count = len(planes[0])
    unknown = [i for i in range(count) if any(plane[i].flux_ratio is None for plane in planes)]
    if len(unknown) < count / 2 and reference not in unknown:
        why = "too few of its stars are found in the other frames to tell its scale"
        why += "; take another ImageIntegration.scale to keep it"
        return planes, {i: Rejected(planes[0][i].source, "integrate", why) for i in unknown}
    return [[replace(s, flux_ratio=None) for s in plane] for plane in planes], {}


def best_frame(settings: ImageIntegration, planes: Planes, lost: dict[int, Rejected]) -> int:
    """The frame of greatest weight; under local normalization, whose scale is not known yet, by that of stars."""
    if settings.normalization == "local":
        settings = with_values(settings, normalization="additive+scaling")
    kept = [i for i in range(len(planes[0])) if i not in lost]
    weights = np.mean([terms_of(settings, [plane[i] for i in kept]).weights for plane in planes], axis=0)
    return kept[int(np.argmax(weights))]


def check_shapes(frames: Sequence[Frame]) -> None:
    """Raise FrameError for a frame of another size than the first."""
    if not frames:
        raise NothingUsable("there is no frame to integrate")
    for frame in frames:
        if frame.shape != frames[0].shape:
            words = f"its shape is {frame.shape}, that of {frames[0].source} is {frames[0].shape}"
            raise FrameError(frame.source, f"{words}: register them first")
