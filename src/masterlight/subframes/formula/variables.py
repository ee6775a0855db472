"""The properties of a subframe: what formulas and tables call each, how it is computed, which way is better.

One row each. Values are in px and DN here; a table shows them in the units of its night, by the kind of unit of the
row. A property that could not be measured is NaN.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import degrees, nan
from operator import attrgetter
from typing import Any, Literal

import numpy as np

from masterlight.subframes.measurement import Measurement
from masterlight.subframes.radial import noise_area_px2

Kind = Literal["", "width", "level", "deg", "s", "C"]
"""Of a unit: none; px or arcsec; DN, e- or parts of full scale; degrees, seconds, degrees Celsius."""


@dataclass(frozen=True)
class Property:
    """One property of a subframe."""

    name: str
    """As in formulas and in the headers of tables."""
    help: str
    """What it is, in a line."""
    fields: tuple[str, ...] = ()
    """Fields of `Measurement` that it needs."""
    compute: Callable[[Measurement], float] | None = None
    """Its value, px and DN, once all these fields are known; the one field itself unless told."""
    unit: Kind = ""
    better: Literal["", "high", "low"] = ""
    """Which way is better; neither where that depends."""
    aliases: tuple[str, ...] = ()
    form: str = ".4g"
    """How a table on a screen writes it."""
    given: bool = False
    """Whether no frame tells it by itself: whoever makes the table knows it, from the other frames or the user."""

    def of(self, measurement: Measurement) -> float:
        """The value for one frame, NaN where something that it needs is not known."""
        values = [getattr(measurement, name, None) for name in self.fields]
        if self.given or any(value is None for value in values):
            return nan
        with np.errstate(all="ignore"):
            return float(values[0] if self.compute is None else self.compute(measurement))


def squared(above: str, below: str) -> Callable[[Measurement], float]:
    """(above / below)^2 of two fields."""
    pair = attrgetter(above, below)
    return lambda m: float(np.divide(*pair(m)) ** 2)


def inverse_light(m: Measurement) -> float:
    """What the light of its stars is to be multiplied by to be as much as in the reference."""
    return float(np.divide(1.0, m.flux_ratio))


def psf_signal_weight(m: Measurement) -> float:
    """Light of the stars and its concentration over noise and fluctuation of the background."""
    spread = np.float64(m.noise_dn) * m.background_noise_dn
    return 5.326e-6 * m.psf_flux_dn * m.psf_mean_flux_dn / (9.0e6 * spread)


def point_snr(m: Measurement) -> float:
    """Of a star as a matched filter finds it in the sky of this frame."""
    return POINT_DN * m.flux_ratio / (np.float64(m.noise_dn) * noise_area_px2(m.profile) ** 0.5)


def psf_snr(m: Measurement) -> float:
    """Light of the stars over noise, squared."""
    return 1.316e-7 * m.psf_flux_dn**2 / (4.987e6 * np.float64(m.noise_dn) ** 2)


POINT_DN = 1000.0
LIT, DEVIATION = ("flux_ratio",), ("fwhm_mean_dev_px",)
LIGHT, BRIGHT = ("psf_flux_dn", "noise_dn"), ("mean_deviation_dn", "noise_dn")
DEEP, SIGNAL = ("flux_ratio", "noise_dn"), ("psf_flux_dn", "psf_mean_flux_dn", "background_noise_dn", "noise_dn")
"""Fields that more than one number is told by, or a long name."""
ROWS = (
    Property("Index", "place among the frames as they were given, from 1", form=".0f", given=True),
    Property("Weight", "what the frame counts for", better="high", form=".5g", given=True),
    Property("FWHM", "width of its stars at half maximum", ("fwhm_px",), unit="width", better="low"),
    Property("Eccentricity", "elongation of its stars: 0.42 still looks round", ("eccentricity",), better="low"),
    Property("SNRWeight", "(MedianMeanDev / Noise)^2", BRIGHT, squared(*BRIGHT), better="high", aliases=("SNR",)),
    Property(
        "PSFSignalWeight", "light and concentration of its stars over noise", SIGNAL, psf_signal_weight, better="high",
        aliases=("PSFSignal",),
    ),
    Property("PSFSNR", "light of its stars over noise, squared", LIGHT, psf_snr, better="high"),
    Property("PSFScale", "factor that brings its stars to the reference's", LIT, inverse_light, better="low"),
    Property(
        "PSFScaleSNR", "(its stars' light beside the reference's / Noise)^2: the weight of least noise", DEEP,
        squared(*DEEP), better="high",
    ),
    Property(
        "Transparency", "light of its stars in the same time, beside the clear frames of its group", LIT, better="high",
        form=".3f", given=True,
    ),
    Property(
        "PointSNR", f"signal to noise of a star of {POINT_DN:.0f} DN in the reference", (*DEEP, "profile"), point_snr,
        better="high",
    ),
    Property("Price", "depth that it adds to the other frames, %", better="high", form=".2f", given=True),
    Property("PSFFlux", "light of all its stars", ("psf_flux_dn",), unit="level", better="high"),
    Property("PSFCount", "how many stars were fitted", ("fitted",), better="high", form=".0f"),
    Property("Noise", "of one pixel", ("noise_dn",), unit="level", better="low"),
    Property("NoiseRatio", "share of the pixels free of structure", ("noise_fraction",), better="high"),
    Property("Median", "level of its background", ("location_dn",), unit="level", better="low", form=".5g"),
    Property(
        "MedianMeanDev", "average distance of its pixels from the median; hot pixels raise it", ("mean_deviation_dn",),
        unit="level", aliases=("MeanDeviation",),
    ),
    Property("Mean", "of its pixels", ("mean_dn",), unit="level", form=".5g"),
    Property("MStar", "how far its background fluctuates", ("background_noise_dn",), unit="level", better="low"),
    Property("NStar", "noise by the pixels below its background", ("background_scale_dn",), unit="level", better="low"),
    Property("Gradient", "highest minus lowest corner of its sky", ("gradient_dn",), unit="level", better="low"),
    Property("Stars", "how many stars stand out", ("stars",), better="high", aliases=("StarSupport",), form=".0f"),
    Property("StarResidual", "distance of its stars from their fits, over their heights", ("residual",), better="low"),
    Property("FWHMMeanDev", "average distance of its FWHM from their median", DEVIATION, unit="width", better="low"),
    Property("EccentricityMeanDev", "the same of the eccentricity", ("eccentricity_mean_dev",), better="low"),
    Property("StarResidualMeanDev", "the same of the star residual", ("residual_mean_dev",), better="low"),
    Property("FWHMError", "1 sigma of FWHM", ("fwhm_error_px",), unit="width", better="low"),
    Property("EccentricityError", "1 sigma of Eccentricity", ("eccentricity_error",), better="low"),
    Property("StarResidualError", "1 sigma of StarResidual", ("residual_error",), better="low"),
    Property(
        "Theta", "direction in which its stars are longer, from x towards y", ("theta_rad",),
        lambda m: degrees(m.theta_rad), unit="deg", form=".0f",
    ),
    Property(
        "ThetaCoherence", "whether its stars are longer in one direction: 1 all, 0 none", ("theta_coherence",),
        better="low", form=".2f",
    ),
    Property("Beta", "exponent of its stars' Moffat profile", ("beta",), form=".2f"),
    Property("Altitude", "of the target above the horizon", ("altitude_deg",), unit="deg", better="high", form=".1f"),
    Property("Azimuth", "of the target: north 0, east 90", ("azimuth_deg",), unit="deg", form=".1f"),
    Property("AirMass", "air that its light came through, 1 in the zenith", ("air_mass",), better="low", form=".3f"),
    Property("Exposure", "exposure time", ("exposure_s",), unit="s"),
    Property("Saturated", "share of its pixels that are saturated", ("saturated_fraction",), better="low"),
)  # fmt: skip
PROPERTIES = {row.name: row for row in ROWS}
"""All of them by name, in the order of a table."""
GIVEN = tuple(row.name for row in ROWS if row.given)
"""Those that no frame tells by itself."""
ALIASES = {alias: row.name for row in PROPERTIES.values() for alias in row.aliases}
"""Other names, and those in `PROPERTIES` that they stand for."""


def property_named(name: str) -> Property | None:
    """The row that a formula or a user calls so, by its name or another one; None for a keyword of the header."""
    return PROPERTIES.get(ALIASES.get(name, name))


def keyword_names(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header by the names that its keywords have in a formula: CCD_TEMP for CCD-TEMP."""
    return {re.sub(r"\W", "_", str(key).upper()): value for key, value in header.items()}


def fields_of(names: Iterable[str]) -> tuple[str, ...]:
    """The fields of `Measurement` that these properties need, each once."""
    rows = [row for name in names if (row := property_named(name))]
    return tuple(dict.fromkeys(field for row in rows for field in row.fields))
