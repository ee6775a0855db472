"""`Blink`: frames one after the other, stretched alike, in a page for the browser, a GIF or a film."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

from pydantic import Field

from masterlight.core.knob import Unit, Usual, When
from masterlight.core.process import engine, process
from masterlight.subframes.select import SubframeSelector

if TYPE_CHECKING:
    import numpy as np

    from masterlight.core.frame import Frame
    from masterlight.core.stretch import Stretch
    from masterlight.subframes.looks.slide import Show, Slide

Kind = Literal["page", "gif", "film"]
Columns = Annotated[int, Field(ge=64, le=8192)]
WIDTH_PX: dict[str, int] = {"page": 1920, "gif": 640, "film": 1280}
"""Longer side where nobody said how long: a screen's; a GIF packs noise badly, and a film is sent to friends."""


@process
class Blink:
    """Show frames one after the other, stretched alike, to see what no number tells."""

    measured: bool = True
    """Measure the stars of each frame: for its caption, its verdict and its place."""
    registered: Annotated[bool, When(measured=True)] = True
    """Lay each frame on the reference by its stars, so that only what differs moves; without, frames are as they
    lie."""
    stretch: Literal["reference", "each"] = "reference"
    """Whether all are stretched as the reference is, so that clouds and moonlight show, or each frame by itself."""
    width_px: Annotated[Columns | None, Usual("1920; 1280 in a film, 640 in a GIF")] = None
    """The longer side of a picture at most; frames are reduced by whole numbers, and never enlarged."""
    picture: Literal["jpeg", "webp", "png"] = "jpeg"
    """How pictures are packed in a page: jpeg is quick and small, png keeps each grey."""
    quality: Annotated[int, Field(ge=1, le=100), When(picture=("jpeg", "webp"))] = 75
    """How much of the noise of the sky the pictures of a page keep; at 90 they are twice as large."""
    rate: Annotated[float, Field(ge=0.1, le=60), Unit("frames/s")] = 4.0
    """Frames each second; in a page the arrows up and down turn it."""
    select: SubframeSelector = SubframeSelector()
    """How stars are measured, and which frames are approved."""

    def long_side_px(self, kind: Kind = "page") -> int:
        """The longer side of a picture at most."""
        return self.width_px or WIDTH_PX[kind]

    def reduce(self, frame: "Frame | np.ndarray", kind: Kind = "page") -> "np.ndarray":
        """A frame of (rows, cols) or (3, rows, cols) by the means of blocks, so that it fits: float32."""
        return engine("subframes.looks.slides").reduce(frame, self.long_side_px(kind))

    def stretches(self, reduced: "np.ndarray") -> "tuple[Stretch, ...]":
        """The stretch of a reduced frame, one for each of its planes: the sky is grey whatever colour it has."""
        return engine("subframes.looks.slides").stretches(reduced)

    def show(self, slides: "Sequence[Slide]", file: BinaryIO, title: str = "", kind: Kind = "page") -> "Show":
        """What packs the pictures of these slides and writes them into an open file, one by one.

        with Blink().show(slides, file, "M 31") as show:
            show.add(0, show.pack(0, reduced, stretches))
        """
        return engine("subframes.looks.slides").SHOWS[kind](self, slides, file, title)
