"""DrizzleIntegration: lights dropped pixel by pixel onto a finer grid, so that dithering gives back lost detail.

The drops are laid by STScI's library `drizzle` (Fruchter and Hook 2002). Each source pixel is shrunk to a drop, moved
to its place on the output grid, and shared out among the output pixels that it touches; a pixel of the result is the
weighted mean of what fell on it. A constant sky stays that constant; a star measured in an aperture of the same size
on the sky has scale^2 times the sum of a plain integration, since its light is spread over that many more pixels.

Kernels are those of the library. square: the exact overlap of the drop's quadrangle with each output pixel, as in
PixInsight. turbo: the same with the drop laid parallel to the output's axes. point: all goes to the pixel under the
drop's centre. gaussian: a bell whose FWHM is drop_shrink source pixels, sampled at the pixels' centres (PixInsight's is
2.3 times narrower, and integrated over pixels). lanczos2, lanczos3: of whole source pixels, whatever drop_shrink is;
their negative weights sharpen, ring at stars, and need many frames. There is no circular and no variable-shape kernel.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from masterlight.core.headers.geometry import regrid
from masterlight.core.knob import Unit, When
from masterlight.core.process import engine, process
from masterlight.core.workers import Event

if TYPE_CHECKING:
    from masterlight.alignment.transform import Transforms
    from masterlight.core.frame import Frame, Meta
    from masterlight.drizzle.stack import DrizzleStack
    from masterlight.integration.local.model import LocalModel
    from masterlight.integration.roster.field import Noise
    from masterlight.integration.roster.terms import Terms
    from masterlight.integration.stack import Verdicts


@process
class DrizzleIntegration:
    """Drop the pixels of many dithered lights onto a finer grid, with the weights and rejection of an integration."""

    scale: Annotated[float, Field(ge=1, le=10)] = 2.0
    """Output pixels per reference pixel, along each axis."""
    drop_shrink: Annotated[float, Field(ge=0.1, le=1), Unit("px"), When(kernel=("square", "turbo", "gaussian"))] = 0.9
    """Size of the drop in source pixels: smaller is sharper and noisier, and needs more frames (STScI: pixfrac)."""
    kernel: Literal["square", "turbo", "point", "gaussian", "lanczos2", "lanczos3"] = "square"
    """How a drop is shared out: square, by exact overlap, suits all; turbo, unturned squares, is twice as fast."""
    cfa: Literal["auto", "on", "off"] = "auto"
    """Mosaics of one-shot-colour cameras are dropped colour by colour, without debayering; off takes them as mono."""
    rejection: bool = True
    """Leave out what the integration rejected: a pixel takes the verdict of the reference pixel its centre falls on."""
    weighting: bool = True
    """Weigh frames as the integration did; without, all count the same."""
    local_normalization: bool = True
    """Use local normalization where the integration has a model for the frame."""

    def __call__(
        self,
        frames: Sequence[Frame],
        transforms: Sequence[Transforms],
        shape: tuple[int, ...],
        terms: Sequence[Terms],
        *,
        verdicts: Verdicts | None = None,
        local: Sequence[LocalModel | None] | None = None,
        noise: Noise | None = None,
        pool: str | tuple[Executor, int] = "serial",
        memory_mb: float = 512,
    ) -> Generator[Event, None, DrizzleStack]:
        """Drizzle calibrated, unregistered lights: yields Events, the last with the `DrizzleStack` that is returned.

        frames: mono, three planes, or mosaics with `meta.pattern`; NaN and defective pixels have no weight.
        transforms: for each frame a `Transform` or a tuple of one for each plane; shape: (..., rows, cols) of the
        reference; terms: for each plane of the result, those of the integration: their noise is taken for that of
        registered pixels when their `correlation` says so. verdicts: the `Verdicts` of an integration of the same
        frames in this order. local: for each frame None or its `LocalModel`, which then takes the place of the scale
        and offset of the terms. noise: how it differs over the field, as the stack of that integration tells. The
        result has ceil(scale x rows) x ceil(scale x cols) pixels.
        `memory_mb` bounds what tiles at work take, the result apart. The bits of the result depend on none of `pool`
        and `memory_mb`. STScI's library holds Python's lock: threads help reading, not dropping.
        """
        more = {"verdicts": verdicts, "local": local, "noise": noise, "pool": pool, "memory_mb": memory_mb}
        return engine("drizzle.engine").drizzle(self, frames, transforms, shape, terms, **more)


def finer(header: Mapping[str, Any], meta: Meta, scale: float, shape: tuple[int, ...]) -> tuple[dict[str, Any], Meta]:
    """The reference's header and meta as they are true of the drizzled image of `shape`: pixel size and WCS."""
    pixel_um = meta.pixel_um / scale if meta.pixel_um else meta.pixel_um
    meta = meta.with_(pattern=None, data_px=None, overscan_px=(), pixel_um=pixel_um, shape=tuple(shape))
    return regrid(header, factor=1 / scale), meta
