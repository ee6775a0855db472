"""BadPixels: make maps of defective pixels from darks, flats, rejection maps or lights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from masterlight.core.knob import Unit
from masterlight.core.process import engine, process
from masterlight.defects.cosmetic import Sigma

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from masterlight.core.frame import Frame
    from masterlight.defects.lists import Defects

ENGINE = "defects.search"
Times = Annotated[float, Field(gt=0, le=1e6), Unit("times")]
Share = Annotated[float, Field(gt=0, le=1), Unit("fraction")]


@process
class BadPixels:
    """Find the defective pixels of a sensor and mark them in a map."""

    hot: Sigma | None = 8.0
    """Pixels of a master dark so many sigma above their surroundings are hot; 5 finds the lukewarm ones too."""
    cold: Sigma | None = 6.0
    """Pixels of a master dark so many sigma below their surroundings are cold."""
    unstable: Times = 4.0
    """Pixels that change from dark to dark so many times more than others of their brightness are unstable."""
    flat: Sigma = 9.0
    """Pixels whose ratio of two flats is so many sigma off are defective."""
    dead: Share = 0.5
    """Pixels of a flat darker than this share of their surroundings are cold."""
    responsive: Annotated[float, Field(gt=1, le=1e6), Unit("times")] = 1.5
    """Pixels of a flat brighter than so many times their surroundings are hot."""
    lights: Sigma = 5.0
    """Pixels of dithered lights that keep so many sigma above or below their surroundings are defective."""
    present: Annotated[float, Field(gt=0.5, le=1), Unit("fraction")] = 0.6
    """Share of the lights, or of the rejections, in which a defect must show."""
    dither_px: Annotated[float, Field(ge=1, le=10_000)] = 5.0
    """Lights count as dithered when they are farther apart than this, pixels: a star cannot stay where it was."""
    spike: Sigma = 4.5
    """Pixels of single lights so many sigma sharper than their surroundings are cosmic rays or defects."""
    contrast: Times = 5.0
    """How many times sharper than the fine structure around it, such as a star's, a spike must be."""
    line: Sigma | None = 6.0
    """Rows and columns, or pieces of them, so many sigma off their neighbours are defective; off when left out."""
    cfa: Literal["auto", "yes", "no"] = "auto"
    """Whether pixels of each colour filter are looked at apart: as the header tells, always, or never."""

    def from_dark(self, dark: Frame) -> Defects:
        """Hot and cold pixels, bad rows and columns of a master dark."""
        return engine(ENGINE).from_dark(self, dark)

    def from_darks(self, darks: Sequence[Frame]) -> Defects:
        """Pixels that flicker: their value changes from dark to dark more than that of others as bright.

        Five darks at least, raw or calibrated alike. The highest sample of each pixel does not count, so that a cosmic
        ray is not taken for flicker; with 15 darks, pixels that change between two levels are found from half of
        the threshold on.
        """
        return engine(ENGINE).from_darks(self, darks)

    def from_flats(self, bright: Frame, faint: Frame | None = None) -> Defects:
        """Pixels that answer to light otherwise than their neighbours, in a flat or better in two of unlike level.

        Pixels darker or brighter than `dead` and `responsive` times their surroundings, and those whose ratio of the
        two flats departs from that of its surroundings. Both flats without their bias level.
        """
        return engine(ENGINE).from_flats(self, bright, faint)

    def from_rejections(
        self, counts: np.ndarray, frames: int, shifts_px: ArrayLike | None = None, source: str = "rejection map"
    ) -> Defects:
        """Pixels that were rejected as too high in most frames of a dithered stack that was not registered.

        counts (rows, cols): in how many of the `frames` each pixel of the sensor was rejected; shifts_px (frames, 2): x
        and y of each light against the first, None when the caller vouches that the lights were dithered.
        """
        return engine(ENGINE).from_rejections(self, counts, frames, shifts_px, source)

    def from_lights(self, lights: Sequence[Frame], shifts_px: ArrayLike) -> Defects:
        """Pixels that keep off their surroundings in dithered lights, calibrated but not registered.

        shifts_px (lights, 2): x and y of each light against the first, as alignment finds them. In each pixel the value
        that `present` of the lights reach is compared with the values of its neighbours; a star has moved away.
        """
        return engine(ENGINE).from_lights(self, lights, shifts_px)

    def from_single_lights(self, lights: Sequence[Frame]) -> Defects:
        """Pixels that are sharper than a star can be in most of the lights, without any dark or alignment.

        The method of cosmic ray finding by Laplacian edges (van Dokkum 2001) on each light; what returns at one place
        is a defect, what does not was a cosmic ray. Stars must be wider than about 1.5 pixels.
        """
        return engine(ENGINE).from_single_lights(self, lights)
