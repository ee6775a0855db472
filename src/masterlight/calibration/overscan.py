"""Overscan: the level that the unexposed edge of a sensor tells, and the cut that takes this edge away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from masterlight.core.errors import FrameError
from masterlight.core.headers.geometry import area, inside, overlap, section
from masterlight.core.knob import When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from masterlight.calibration.level import Level
    from masterlight.calibration.trimmed import Box
    from masterlight.core.frame import Frame


def check_sections(text: str) -> str:
    """A text of regions; ValueError when it is none."""
    words = re.findall(r"\[[^\]]*\]", text)
    if not words or not all(map(section, words)) or re.sub(r"\[[^\]]*\]|[\s;,]", "", text):
        raise ValueError(f"'[x1:x2,y1:y2]', counted from 1, is expected (given: '{text:.60}')")
    return text


Regions = Annotated[str, AfterValidator(check_sections)]


@process
class Overscan:
    """Subtract the level of the unexposed edge of the sensor from each frame, and cut that edge away."""

    model: Literal["auto", "none", "constant", "median", "polynomial"] = "auto"
    """How the level runs: constant is one number (one for each pixel of a colour pattern), median one for each line
    along the strip, polynomial a smooth curve through those; auto is constant where the header tells a strip."""
    order: Annotated[int, Field(ge=0, le=3), When(model="polynomial")] = 1
    """Order of the polynomial."""
    trim: bool = True
    """Cut the frame to the part that saw the sky."""
    region: Annotated[Regions | None, When(model=("auto", "constant", "median", "polynomial"))] = None
    """The strips that saw no light, as '[x1:x2,y1:y2]', counted from 1, several one after the other; otherwise the
    header's BIASSEC."""
    image: Annotated[Regions | None, When(trim=True)] = None
    """The part that saw the sky, as '[x1:x2,y1:y2]'; otherwise the header's TRIMSEC or DATASEC."""

    def strips(self, frame: Frame) -> tuple[Box, ...]:
        """The regions of a frame that saw no light, set by hand or told by its header."""
        if self.region is None:
            return frame.meta.overscan_px
        found = sections("Overscan.region", self.region, frame)
        if self.trim and self.image is not None and any(overlap(box, self.window(frame)) for box in found):
            raise FrameError(frame.source, "Overscan.region and Overscan.image overlap; give them apart")
        return found

    def window(self, frame: Frame) -> Box:
        """The part of a frame that is kept: what saw the sky, or everything when it is not to be trimmed."""
        whole = (0, frame.shape[-2], 0, frame.shape[-1])
        if not self.trim:
            return whole
        if self.image is not None:
            return sections("Overscan.image", self.image, frame)[0]
        return frame.meta.data_px or whole

    def applies_to(self, frame: Frame) -> bool:
        """Whether a level is to be subtracted; FrameError when one is asked for and nothing tells where to measure."""
        if self.model == "none" or "O" in frame.meta.calibration:
            return False
        if self.model != "auto" and not self.strips(frame):
            todo = "give Overscan.region '[x1:x2,y1:y2]', or Overscan.model auto or none"
            raise FrameError(frame.source, f"tells no overscan (BIASSEC) in its header; {todo}")
        return bool(self.strips(frame))

    def level(self, frame: Frame) -> Level:
        """Measure the level in the strips of a frame; only they and 24 rows are read.

        Samples that are saturated, at or below zero in files of integers, or missing do not count. Raises FrameError
        when too few are left, and when the strips cannot be what they are said to be: brighter than the middle of the
        frame, or rougher than it.
        """
        model = self.model if self.model in ("median", "polynomial") else "constant"
        return engine("calibration.level").measure(frame, self.strips(frame), self.window(frame), model, self.order)


def sections(name: str, text: str, frame: Frame) -> tuple[Box, ...]:
    """Regions in FITS notation as bounds; each must lie inside the frame."""
    words = re.findall(r"\[[^\]]*\]", check_sections(text))
    boxes = tuple(box for word in words if (box := section(word)))
    rows, cols = frame.shape[-2:]
    for word, box in zip(words, boxes, strict=True):
        if not inside(box, (0, rows, 0, cols)) or not area(box):
            raise FrameError(frame.source, f"{name} {word} reaches outside its {cols} x {rows} pixels")
    return boxes
