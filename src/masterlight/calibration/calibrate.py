"""ImageCalibration: take the camera out of the picture with overscan, master bias, dark and flat frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from masterlight.calibration.overscan import Overscan
from masterlight.core.errors import ParameterError
from masterlight.core.knob import Unit, When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from masterlight.calibration.masters import Masters
    from masterlight.core.frame import Frame

ENGINE = "calibration.calibrated"
SCALED = When(dark_scaling=("auto", "fit", "exposure"), dark_scale=None)
FITTED = When(dark_scaling=("auto", "fit"), dark_scale=None)


@process
class ImageCalibration:
    """Subtract bias and dark from a frame and divide it by the flat; signed, unclipped, in DN.

    C = (T - B - k D) * mean(F) / F + pedestal, each term only when its master is given.
    """

    overscan: Overscan = Overscan()
    """What is done with the unexposed edge of the sensor."""
    use_bias: bool = True
    """Take the master bias into account; switched off, it is left out even when there is one."""
    use_dark: bool = True
    """Take the master dark into account."""
    use_flat: bool = True
    """Take the master flat into account."""
    black_level: bool = True
    """Subtract the black level that a camera tells where neither bias, dark nor overscan take it off."""
    dark_scaling: Annotated[Literal["auto", "none", "fit", "exposure"], When(dark_scale=None, use_dark=True)] = "auto"
    """How the dark of a light is scaled: not at all, by the hot pixels in light and dark (fit), or by exposure times
    (and temperatures, where both are known). auto: fit where the dark has another exposure or temperature than the
    light and there is a bias. Scaling needs a bias, or a dark without bias."""
    dark_scale: Annotated[Annotated[float, Field(ge=0, le=1000)] | None, When(use_dark=True)] = None
    """The factor by which darks are scaled, set by hand."""
    dark_sigma: Annotated[float, Field(ge=3, le=1000), Unit("sigma"), FITTED] = 8.0
    """Pixels of the dark this many sigma above their neighbourhood are those that the factor is fitted to."""
    dark_window_px: Annotated[int, Field(ge=0, le=100_000), FITTED] = 0
    """Width of the central square to which the factor is fitted; 0 is the whole frame."""
    doubling_c: Annotated[float, Field(gt=0, le=100), SCALED] = 6.0
    """The rise of temperature in Celsius that doubles the dark current of the sensor."""
    separate_colours: Annotated[bool, When(use_flat=True)] = True
    """Divide each colour of a mosaic by the mean of its own flat pixels, so that the flat lends no colour."""
    flat_trim_fraction: Annotated[float, Field(ge=0, lt=0.5), When(use_flat=True)] = 0.05
    """Fraction of the darkest and of the brightest flat pixels left out of mean(F)."""
    units: Literal["auto", "dn", "full-scale"] = "auto"
    """What numbers mean that are no integers of 16 bits, such as floats from 0 to 1: as their range, their noise, the
    header and the other frames tell; DN as stored; or parts of full scale, 65535 DN."""
    pedestal_dn: Annotated[float, Field(ge=-65535, le=65535)] = 0.0
    """Constant added after the division. 0 keeps zero-mean skies zero-mean; programs that cut negatives need some."""
    force: bool = False
    """Use masters of another gain, offset or filter all the same."""

    def masters(self, bias: Frame | None = None, dark: Frame | None = None, flat: Frame | None = None) -> Masters:
        """Bind master frames to this process; their arrays are made on first use and shared by all frames.

        Raises ParameterError for what is not a frame, FrameError for a frame that says it is of another kind.
        """
        return engine(ENGINE).bind_masters(self, bias, dark, flat)

    def __call__(self, frame: Frame, masters: Masters) -> Frame:
        """A calibrated view of `frame`, trimmed to what saw the sky; nothing is computed until it is indexed.

        Raises FrameError when a master does not go with the frame, or when the frame says it was calibrated already.
        """
        return engine(ENGINE).calibrate(self, frame, masters)

    def saturation(self, frame: Frame, masters: Masters) -> float | None:
        """The lowest level, after calibration, that a pixel saturated in the raw frame can have; None if unknown.

        The least of all colours. Only some rows of the masters are read.
        """
        return engine(ENGINE).saturation(self, frame, masters)

    def masters_for(self, frame: Frame, masters: Masters) -> Masters:
        """The masters as they serve this frame: of its size and colours, its dark scaled only if it is a light.

        Raises FrameError for a frame of several planes and for masters that do not go with it.
        """
        return engine(ENGINE).masters_for(self, frame, masters)

    def keywords(self, view: Frame) -> list[tuple[str, object, str]]:
        """What was done to a calibrated view, as header cards (keyword, value, comment). Reads all of its pixels.

        Noise is measured on each colour of the mosaic, before anything is interpolated or cut off.
        """
        return engine(ENGINE).keywords(view)


PRESETS = {
    "flat-bias": ({"use_dark": False, "use_flat": False}, ("bias",)),
    "flat-darkflat": ({"use_bias": False, "use_flat": False}, ("flatdark",)),
    "light-bias-flat": ({"use_dark": False}, ("bias", "flat")),
    "light-dark-flat": ({"use_bias": False}, ("dark", "flat")),
    "light-scaled-dark-flat": ({"dark_scaling": "fit"}, ("bias", "dark", "flat")),
}
"""The usual ways to calibrate, by name: what is set, and the kinds of master that are needed."""


def preset(name: str) -> ImageCalibration:
    """The calibration of this name: `preset("light-dark-flat")`."""
    return ImageCalibration(**preset_of(name)[0])


def needs(name: str) -> tuple[str, ...]:
    """The kinds of master frame that a preset needs; a flat-dark is given to it as its dark."""
    return preset_of(name)[1]


def preset_of(name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    if name not in PRESETS:
        raise ParameterError(f"preset= '{name}' is not known; there are {', '.join(PRESETS)}")
    return PRESETS[name]
