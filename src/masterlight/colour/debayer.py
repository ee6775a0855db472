"""Debayer: three colour planes from the mosaic of a one-shot-colour camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from masterlight.core.headers.geometry import BAYER, XTRANS, xtrans_patterns
from masterlight.core.knob import When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from masterlight.core.frame import Frame

ENGINE = "colour.debayered"


def check_pattern(pattern: str) -> str:
    """A pattern as a knob holds it, in capitals; ValueError with what is allowed."""
    word = pattern.strip().upper()
    if word == "AUTO":
        return "auto"
    if word not in BAYER and word not in xtrans_patterns():
        raise ValueError(
            f"'{pattern}' is no pattern; allowed are auto, {', '.join(BAYER)}, or the 36 letters of an X-Trans sensor, "
            f"row by row, such as {XTRANS}"
        )
    return word


@process
class Debayer:
    """Interpolate the colours that each pixel of a one-shot-colour sensor did not see."""

    method: Literal["rcd", "vng", "mhc", "bilinear", "super-pixel"] = "rcd"
    """How: rcd for round stars without colour fringes, mhc (linear) where noise must stay simple, vng as PixInsight's
    default (it follows edges by definition: sharp coloured stars lose several percent of their colour), bilinear, or
    super-pixel, which interpolates nothing and halves the size. On X-Trans sensors the first three are one linear
    method that learns each colour from all (with directions that of Markesteijn), bilinear is a mean of nearby pixels
    of the colour, super-pixel takes 3 x 3.
    The red and blue of a Bayer super-pixel are gathered a quarter of its width from green, on opposite sides."""
    directions: Annotated[bool, When(method=("rcd", "vng", "mhc"))] = False
    """Follow edges, as published (rcd, and Markesteijn's method on X-Trans): sharper edges, and sharp coloured stars
    lose colour by several percent. When off, all sides count the same and stars keep their colours within 1 %."""
    pattern: Annotated[str, AfterValidator(check_pattern)] = "auto"
    """The colours of the sensor from its first pixel on, when the header does not tell them right: RGGB, BGGR, GBRG,
    GRBG, or 36 letters for X-Trans; auto believes the header."""
    xtrans_passes: Annotated[int, Field(ge=1, le=3), When(directions=True, method=("rcd", "vng", "mhc"))] = 3
    """Passes of Markesteijn's method on X-Trans sensors, with directions: 3 for detail, 1 for noise and for speed."""

    def __call__(self, frame: Frame) -> Frame:
        """A view of `frame` in colour, (3, rows, cols) float32, planes red, green, blue; computed when it is indexed.

        Only the region that saw the sky (`meta.data_px`) is kept. Values keep their scale and sign. A pixel that is NaN
        in the mosaic is NaN in all three planes and spreads no further. Super-pixels have no `gain_e_per_dn`: the noise
        of green, a mean of two or more pixels, is not that of red. Raises FrameError for a frame that is no mosaic, has
        filters other than red, green and blue, or is smaller than 6 x 6 pixels.
        """
        return engine(ENGINE).debayer(self, frame)

    def keywords(self, view: Frame) -> list[tuple[str, float, str]]:
        """Noise of the colours of a debayered view, as header cards (keyword, value, comment). Reads all of its pixels.

        Noise is measured on each colour of the mosaic, before interpolation makes neighbours alike.
        """
        return engine(ENGINE).keywords(view)
