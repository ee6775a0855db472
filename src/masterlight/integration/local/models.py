"""A local model for every frame that a scale of the whole frame keeps, whatever its own stars tell."""

from collections.abc import Generator, Sequence
from functools import partial

import numpy as np

from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.workers import Event
from masterlight.integration.local.fit import look_at_reference
from masterlight.integration.local.model import LocalModel, LocalReference
from masterlight.integration.normalize import LocalNormalization
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.together import Pool, each_frame


def models_of(
    settings: LocalNormalization, running: Pool, frames: Sequence[Frame], planes: Sequence[Sequence[Measurement]],
    reference: int, factors: Sequence[np.ndarray], by_stars: bool,
) -> Generator[Event, None, list[LocalModel]]:  # fmt: skip
    """How each frame becomes like the reference.

    Its scale is that of the stars in common, `factors` (N,) for each plane, where these tell it (`by_stars`). Pixels
    are asked once more where it shall vary over the field, and where it was not known. Where too few of a frame's stars
    tell it then, that of the nearest frame of known scale is taken, else what the dispersion of the frames tells. A
    frame that has too little of the reference in common is levelled by one number.
    """
    aligned = by_stars and all(m.flux_ratio is not None for plane in planes for m in plane)
    known = look_at_reference(settings, frames[reference], None, settings.local_scale or not aligned)
    scales = [tuple(float(f[i]) for f in factors) for i in range(len(frames))]
    first = [(frame, scale if aligned else None) for frame, scale in zip(frames, scales, strict=True)]
    models = yield from each_frame("normalize", running, partial(model_with, settings, known), first)
    told = [i for i, model in enumerate(models) if model]
    for i, frame in enumerate(frames):
        if models[i]:
            continue
        near = min(told, key=lambda k: abs(k - i), default=None)
        scale = scales[i] if aligned or near is None else models[near].scale
        models[i] = model_with(settings, known, (frame, scale)) or by_one_number(
            frame, known, scale, [plane[i].location_dn for plane in planes], [p[reference].location_dn for p in planes]
        )
    return models


def model_with(
    settings: LocalNormalization, reference: LocalReference, item: tuple[Frame, tuple[float, ...] | None]
) -> LocalModel | Rejected:
    """`LocalNormalization.model` of a frame, by the scale of each plane where its stars do not tell one."""
    frame, instead = item
    return settings.model(reference, frame, instead)


def by_one_number(frame: Frame, reference: LocalReference, scale: tuple[float, ...], levels, wanted) -> LocalModel:
    """A frame brought to the reference by its scale and its level: (planes,) of both."""
    (ny, nx), (rows, cols), planes = reference.cells, reference.shape[-2:], len(scale)
    offset = np.empty((planes, ny + 3, nx + 3))
    offset[:] = (np.array(wanted) - np.array(scale) * np.array(levels))[:, None, None]
    none = (np.empty((0, 0)),) * planes
    note = (f"it has too little in common with {reference.source}: its sky is levelled by one number",)
    pitch = rows / ny, cols / nx
    return LocalModel(frame.source, scale, (0.0,) * planes, (0,) * planes, pitch, offset, none, note)
