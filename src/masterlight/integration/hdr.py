"""HDRComposition: short exposures where long ones are saturated, in one linear image; the knobs, and what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from masterlight.core.knob import Unit
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    import numpy as np

    from masterlight.core.frame import Frame


@dataclass(frozen=True)
class Fit:
    """How one plane of an image follows the longest exposure: image = offset_dn + ratio * longest."""

    source: str
    plane: int
    ratio: float
    """Exposure of this image over that of the longest."""
    offset_dn: float
    pixels: int
    """Pixels that it was found from."""


@dataclass(frozen=True, eq=False)
class HDRResult:
    """Images of different exposure as one: planes (rows, cols) or (3, rows, cols) on the scale of the longest."""

    image: "np.ndarray"
    """float32 DN of the longest exposure, going on beyond its saturation; NaN where missing."""
    variance: "np.ndarray | None"
    """float32 DN^2 of `image`; None when those of the inputs were not given."""
    masks: "tuple[np.ndarray, ...]"
    """(rows, cols) float32 for each shorter image that was used: 1 where it replaced what was there, 0 where not."""
    fits: tuple[Fit, ...]
    sources: tuple[str, ...]
    """All images, longest exposure first."""
    range_dn: tuple[float, float]
    """Lowest and highest pixel."""
    notes: tuple[str, ...] = ()


@process
class HDRComposition:
    """Replace what is saturated in a long exposure by shorter ones, brought to its scale; the result stays linear."""

    threshold: Annotated[float, Field(gt=0, le=1), Unit("of saturation")] = 0.8
    """Part of an image's saturation level from which on its pixels are replaced: the level that its header tells
    (floats only), else that of its brightest pixels."""
    smoothness: Annotated[int, Field(ge=1, le=100), Unit("px")] = 7
    """Pixels over which the one image goes over into the other, outside of what is replaced."""
    growth: Annotated[int, Field(ge=0, le=25), Unit("px")] = 1
    """Pixels by which the replaced part is grown."""
    replace_large_scales: Annotated[int, Field(ge=0, le=6)] = 0
    """The shorter image takes over the longer one's structures larger than 2 to the power of 4 plus this, in pixels:
    for backgrounds that differ; 0 leaves it as it is."""
    auto_exposures: bool = True
    """Find the order of exposures by the light above the background; else images are given with the longest first."""
    reject_black: bool = True
    """Pixels that are 0 in any plane of the shorter image replace nothing; missing ones never do."""

    def __call__(self, frames: "Sequence[Frame]", variances: "Sequence[np.ndarray | None] | None" = None) -> HDRResult:
        """Compose two or more registered, linear images of equal shape, in any order.

        frames: (rows, cols) or (3, rows, cols) DN; variances: for each an array of the same shape, DN^2. Each image v
        is compared with what is there by a line v = a + b * HDR, fitted to medians of bins of brightness by least
        absolute deviations, where both are neither missing nor saturated. Raises NothingUsable for fewer than two
        images, FrameError for one of another shape, one that shares no brightness with the others, and one that is
        exposed longer than the one before it.
        """
        return engine("integration.compose").compose(self, frames, variances)
