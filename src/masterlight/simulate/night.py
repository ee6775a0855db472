"""`Night`: what the sky and the camera of a simulated night are like."""

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

from masterlight.core.headers.geometry import XTRANS
from masterlight.core.knob import Unit, When
from masterlight.core.process import process

if TYPE_CHECKING:
    import numpy as np

Count = Annotated[int, Ge(0), Le(1_000_000)]
Frames = Annotated[int, Ge(0), Le(1_000_000), Unit("frames")]
Amount = Annotated[float, Ge(0), Le(1e6)]
Positive = Annotated[float, Gt(0), Le(1e6)]
Celsius = Annotated[float, Ge(-273.15), Le(1000)]
Fraction = Annotated[float, Ge(0), Le(1), Unit("fraction")]

THROUGHPUT = {"L": 1.0, "R": 0.34, "G": 0.34, "B": 0.3, "Ha": 0.06, "OIII": 0.05, "SII": 0.04}
COUNTED = {"light": "lights", "dark": "darks", "bias": "biases", "flat": "flats", "flatdark": "flat_darks"}
"""Which knob tells the number of frames of a kind."""


@process
class Night:
    """Simulate a night at the telescope, with everything that goes wrong in one, and know the truth about it."""

    rows: Annotated[int, Ge(64), Le(65536), Unit("px")] = 1000
    """Rows of the sensor, pixels."""
    cols: Annotated[int, Ge(64), Le(65536), Unit("px")] = 1500
    """Columns of the sensor, pixels."""
    lights: Frames = 12
    """Light frames for each filter."""
    biases: Frames = 10
    """Bias frames."""
    darks: Frames = 10
    """Dark frames."""
    flats: Frames = 10
    """Flat frames for each filter, at twilight levels."""
    flat_darks: Frames = 0
    """Dark frames of the exposure of the flats."""
    filters: Annotated[tuple[str, ...], MinLen(1)] = ("L",)
    """Filters used, one after the other; a colour camera behind L has no filter before it."""
    exposure_s: Positive = 120.0
    """Exposure of lights, and of darks if nothing else is said, seconds."""
    dark_exposure_s: Positive | None = None
    """Exposure of darks, seconds; left out, that of the lights."""
    flat_exposure_s: Positive = 2.5
    """Exposure of flats and flat-darks, seconds."""
    flat_level: Annotated[float, Gt(0), Le(10), Unit("of full scale")] = 0.45
    """Level of the first flat, as a fraction of saturation; above 1 it is over-exposed."""
    stars: Count | None = None
    """Stars in the field; left out, a thousand for each megapixel."""
    faintest_dn: Positive = 1000.0
    """Total flux of the faintest star, DN; there are 6 times fewer stars for each factor of 10 in flux."""
    fwhm_px: Positive = 2.8
    """Seeing: full width of a star at half its height, pixels."""
    fwhm_spread: Fraction = 0.06
    """How much the seeing changes from light to light, as a fraction (1 sigma)."""
    beta: Annotated[float, Gt(1.0), Le(100)] = 3.5
    """Moffat exponent of the stars: small for wide wings."""
    sky_dn: Amount = 900.0
    """Level of the sky in a light, DN above the bias, through a clear filter."""
    gradient: Fraction = 0.15
    """Sky gradient from the centre to an edge, as a fraction of the sky."""
    nebula_dn: Amount = 350.0
    """Brightest part of a nebula over the field, DN; 0 for none."""
    comet_dn: Amount = 0.0
    """Brightest point of a comet, DN; 0 for none."""
    comet_px_h: Annotated[float, Ge(0), Le(1e6), Unit("px/h")] = 60.0
    """How fast the comet moves over the stars, pixels an hour."""
    comet_toward_deg: Annotated[float, Ge(-360), Le(360)] = 20.0
    """Where the comet moves to: degrees from x towards y."""
    comet_bend_px: Annotated[float, Ge(-1e6), Le(1e6)] = 0.0
    """How far the comet leaves a straight way to the side in an hour, four times as far in two."""
    dither_px: Amount = 12.0
    """Greatest shift of the mount between lights, pixels."""
    rotation_deg: Amount = 0.05
    """How much the field turns from light to light, degrees (1 sigma)."""
    turning_deg: Amount = 0.0
    """How far the field turns from the first light to the last, as on an alt-azimuth mount."""
    meridian_flip: bool = True
    """Turn the field by 180 degrees after half of the lights."""
    cloudy: Frames = 1
    """Lights taken through clouds."""
    clouds: Annotated[float, Ge(0), Le(0.95), Unit("fraction")] = 0.45
    """Fraction of the starlight that clouds take away."""
    cosmic_rays: Annotated[float, Ge(0), Le(1e5), Unit("per megapixel")] = 8.0
    """Cosmic rays in a light or dark, on average, for each megapixel."""
    trails: Frames = 2
    """Lights crossed by a satellite."""
    tracking_errors: Frames = 1
    """Lights with elongated stars."""
    read_noise_e: Amount = 3.3
    """Read noise, electrons."""
    gain_e_per_dn: Positive = 0.78
    """Gain of the camera, electrons for each DN."""
    bias_dn: Amount = 500.0
    """Level of a bias frame, DN."""
    bias_columns_dn: Amount = 4.0
    """Fixed pattern of the bias from column to column, DN (1 sigma)."""
    bias_pixels_dn: Amount = 0.0
    """Fixed pattern of the bias from pixel to pixel, as CMOS sensors have, DN (1 sigma)."""
    bias_drift_dn: Amount = 0.0
    """How much the bias level changes from frame to frame, DN (1 sigma)."""
    overscan_px: Count = 0
    """Columns at the right that see no light, only the bias level."""
    dark_e_s: Annotated[float, Ge(0), Le(1e6), Unit("e-/s")] = 0.02
    """Dark current at the temperature of the night, electrons per second; twice that for each 6 degrees."""
    glow_dn: Amount = 0.0
    """Amplifier glow in a corner after the exposure of a light, DN; it grows more slowly than the exposure."""
    hot_fraction: Fraction = 0.001
    """Fraction of hot pixels; one in twenty flickers, one in a hundred saturates; and there is a cold one for fifty."""
    bad_columns: Count = 0
    """Defective columns, hot or of little response; every second one only in part."""
    vignetting: Annotated[float, Ge(0), Le(0.9), Unit("fraction")] = 0.3
    """Light lost in the corners, as a fraction."""
    dust: Count = 7
    """Dust motes on the window and the filter, for each filter."""
    prnu: Annotated[float, Ge(0), Le(0.1), Unit("fraction")] = 0.005
    """Pixel response non-uniformity, as a fraction (1 sigma)."""
    saturation_dn: Annotated[float, Gt(0), Le(65535)] = 65535.0
    """Level at which the camera saturates, DN."""
    bit_shift: Annotated[int, Ge(0), Le(4), Unit("bits")] = 0
    """Bits by which the camera shifts its values up: 2 for a converter of 14 bits, 4 for one of 12."""
    pattern: Literal["", "RGGB", "BGGR", "GBRG", "GRBG", "XTRANS"] = ""
    """Colour filters on the pixels, from the top left pixel on; left out for a mono camera."""
    temperature_c: Celsius = -10.0
    """Temperature of the sensor, degrees Celsius."""
    dark_temperature_c: Celsius | None = None
    """Temperature of the sensor in darks, degrees Celsius; left out, that of the night."""
    target: str = "Field 7"
    """Name of the object, as the headers tell it."""
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 1
    """The same seed gives the same night."""
    dialect: Literal["nina", "maxim", "sgp", "ekos", "asiair", "sharpcap"] = "nina"
    """Capture program whose headers, file names and folders are imitated."""
    pattern_row: Annotated[Literal["stored", "top"], When(dialect="sharpcap")] = "stored"
    """Where the colour pattern in headers begins, of files that have the last row first: with the first row stored, or
    at the top of the picture, as Siril reads it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that see the sky."""
        return self.rows, self.cols

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of a frame, overscan included."""
        return self.rows, self.cols + self.overscan_px

    @property
    def tile(self) -> str:
        """The colour filters letter by letter, 4 or 36 of them; '' for a mono camera."""
        return XTRANS if self.pattern == "XTRANS" else self.pattern

    def exposure_of(self, kind: str) -> float:
        """Exposure of frames of a kind, seconds."""
        dark_s = self.exposure_s if self.dark_exposure_s is None else self.dark_exposure_s
        short = {"bias": 0.0, "flat": self.flat_exposure_s, "flatdark": self.flat_exposure_s, "dark": dark_s}
        return short.get(kind, self.exposure_s)

    def temperature_of(self, kind: str) -> float:
        """Temperature of the sensor in frames of a kind, degrees Celsius."""
        own = self.dark_temperature_c if kind == "dark" else None
        return self.temperature_c if own is None else own

    def rng(self, *path: int) -> "np.random.Generator":
        """A generator of its own for each part of the night, so that any frame can be made alone."""
        import numpy as np

        return np.random.default_rng([self.seed, *path])

    def each(self, kind: str) -> int:
        """Frames of a kind; of lights and flats, for each filter."""
        count: int = getattr(self, COUNTED[kind])
        return count

    def count(self, kind: str) -> int:
        """Frames of a kind, those of all filters together."""
        return self.each(kind) * (len(self.filters) if kind in ("light", "flat") else 1)

    def filter_of(self, kind: str, index: int) -> str:
        """The filter of a light or flat, counted through all filters."""
        return self.filters[index // self.each(kind)]

    def throughput(self, filter: str) -> float:
        """Light that a filter lets through, against a clear one."""
        return THROUGHPUT.get(filter, 0.33)
