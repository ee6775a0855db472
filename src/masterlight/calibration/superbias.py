"""Superbias: the pattern of a sensor's read-out without the noise of the few bias frames that it is known from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from masterlight.core.knob import Unit, When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from masterlight.core.frame import Frame

ENGINE = "calibration.biasmodel"


@dataclass(frozen=True)
class Verdict:
    """Whether a superbias is a better bias than the plain master, by what it leaves of frames it has not seen."""

    better: bool
    variance_superbias: float
    """How far the superbias of one half of the frames is from the truth, DN^2: its difference from the other half,
    less the noise of that half. May fall below 0 by chance."""
    variance_plain: float
    """The same of the plain master of one half."""
    variance_master: float
    """The same of the plain master of all frames, which is what the superbias must beat."""
    sentence: str

    def __bool__(self) -> bool:
        return self.better


@process
class Superbias:
    """Model a master bias by its columns, rows and smooth structure, which are free of the noise of single pixels.

    For sensors whose bias is a pattern of columns or rows, as most CCDs have. A sensor in which each pixel has an
    offset of its own, as many CMOS have, loses that by it: `validate` tells. The offsets come from the read-out, which
    knows nothing of colour filters, so that a colour sensor is modelled as a whole: every pixel of a column counts.
    """

    use: Literal["never", "auto", "always"] = "never"
    """Whether masters are replaced by their superbias: auto does so where two halves of the frames prove it better."""
    columns: bool = True
    """Model an offset for each column."""
    rows: bool = False
    """Model an offset for each row, on top of that of the columns if both are on."""
    exclude_large_scale: bool = True
    """Take smooth structure, such as amplifier glow, out before lines are averaged, and add it again."""
    layers: Annotated[int, Field(ge=1, le=10), When(exclude_large_scale=True)] = 7
    """Structures larger than 2 to the power of this, in pixels, are smooth."""
    transform: Annotated[Literal["median", "starlet"], When(exclude_large_scale=True)] = "median"
    """How smooth structure is told from the rest: by medians, which no defect disturbs, or by a linear filter."""
    trimming: Annotated[float, Field(ge=0, le=0.4), Unit("fraction")] = 0.2
    """Part of the pixels that is left out at each end, when those of a line are averaged."""
    sections_across: Annotated[int, Field(ge=1, le=64)] = 1
    """Read-out sections side by side, of equal width; each is modelled by itself."""
    sections_down: Annotated[int, Field(ge=1, le=64)] = 1
    """Read-out sections from top to bottom, of equal height: 2 for a sensor read out from both ends of its columns."""

    def __call__(self, bias: Frame) -> Frame:
        """The superbias of a master bias, computed at once: a frame in memory with the words of the master's header.

        Pixels that are missing in the master are there in the superbias; a section without any pixel stays missing.
        Raises FrameError for a frame too small for its sections.
        """
        return engine(ENGINE).superbias(self, bias)

    def validate(self, half1: Frame, half2: Frame) -> Verdict:
        """Tell whether the superbias is a better bias than the plain master, from masters of two halves of the frames.

        Each half's superbias and the half itself are compared with the other half, which they have not seen: the
        biweight midvariance of the differences, over about 300,000 pixels, hot ones left out by it. The noise of a
        half is known from the difference of both. What is left is the error of each bias against the truth; that of
        the plain master of all frames is smaller than that of one half by the number of frames. Raises FrameError
        for halves of different shape.
        """
        return engine(ENGINE).validate(self, half1, half2)
