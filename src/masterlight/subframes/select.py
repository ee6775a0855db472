"""The knobs of subframes: how their stars are found and fitted, and which frames are good enough to integrate."""

from collections.abc import Collection, Sequence
from statistics import median
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from masterlight.core.errors import ParameterError, Rejected
from masterlight.core.knob import Unit, Usual, When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    import numpy as np

    from masterlight.core.frame import Frame
    from masterlight.subframes.choice.subframe import Subframe
    from masterlight.subframes.choice.table import Subframes
    from masterlight.subframes.measurement import Measurement, StarList


def check_condition(text: str) -> str:
    """A formula of approval that can be understood; ValueError with the place where it cannot."""
    if not approves(text):
        raise ValueError(f"'{text:.60}' is a number; a condition is needed, such as FWHM < 4 && Eccentricity < 0.6")
    return text


def check_weight(text: str) -> str:
    """A formula of weights that can be understood; ValueError with the place where it cannot."""
    if approves(text):
        raise ValueError(f"'{text:.60}' is a condition; a weight is a number: if({text:.60}, 1, 0)")
    return text


def approves(text: str) -> bool:
    """Whether a formula is a condition; ValueError with the place where it cannot be understood."""
    try:
        found: bool = engine("subframes.formula.expression").Expression(text).approves
    except ParameterError as error:
        raise ValueError(str(error).removeprefix("expression: ")) from None
    return found


Condition = Annotated[str, AfterValidator(check_condition)]
Formula = Annotated[str, AfterValidator(check_weight)]


@process
class SubframeSelector:
    """Measure the stars, sky and noise of every frame and approve those that are good enough to integrate."""

    sigma: Annotated[float, Field(gt=0, le=1000), Unit("sigma")] = 5.0
    """Height of a star above the sky, in units of the noise at the size of a star."""
    max_stars: Annotated[int, Field(ge=10, le=100_000)] = 800
    """How many stars are fitted: the brightest, spread over the frame."""
    psf: Literal["moffat", "gaussian"] = "moffat"
    """Star profile that is fitted."""
    beta: Annotated[Annotated[float, Field(ge=1.5, le=10)] | None, When(psf="moffat")] = None
    """Exponent of the Moffat profile; the stars of each frame tell it when left open."""
    min_stars: Annotated[int, Field(ge=1, le=100_000)] = 3
    """Frames with fewer stars are rejected."""
    max_fwhm_px: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Frames with larger stars than this, in pixels, are rejected."""
    max_eccentricity: Annotated[float, Field(gt=0, le=1)] | None = None
    """Frames with more elongated stars than this are rejected; 0.42 still looks round, 0.6 is trailed."""
    max_noise_dn: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Frames with more noise than this, in DN, are rejected."""
    min_stars_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """Frames with fewer stars than this share of the group's median are rejected; 0.7 finds passing clouds."""

    approve: Condition | None = None
    """Formula that approves a frame, besides the limits above: FWHM < 4 && Eccentricity < 0.6. Frames of other targets,
    filters or exposures are looked at apart; one that lacks what it needs is not approved."""
    weight: Formula | None = None
    """Formula of a frame's weight, such as 35*inv(FWHM) + 5*inv(Eccentricity) + 10*inv(Noise) + 50."""
    stats_over: Annotated[Literal["all", "approved"], When(weight=True)] = "all"
    """Which frames tell FWHMMin, inv(FWHM) and the like in the formula of the weight; that of approval asks all."""
    flags: Literal["tell", "reject"] = "tell"
    """What grave flags of a frame's health do, such as cloud, trailing or a jump of the mount: they are told, and its
    weight may count for it; or they leave it out."""
    scale_arcsec: Annotated[Annotated[float, Field(ge=0.01, le=100)] | None, Usual("as the headers say")] = None
    """Arcseconds that a pixel sees."""
    gain_e: Annotated[Annotated[float, Field(gt=0, le=1000)] | None, Unit("e-/DN"), Usual("as the headers say")] = None
    """Electrons per DN."""
    width_unit: Literal["auto", "arcsec", "px"] = "auto"
    """Unit of FWHM in formulas and tables: auto is arcsec where every frame tells how much a pixel sees, else px."""
    data_unit: Literal["dn", "e-", "normalized"] = "dn"
    """Unit of noise and levels in formulas and tables; normalized are parts of full scale."""
    bits: Annotated[int, Field(ge=8, le=32), When(data_unit="normalized")] = 16
    """Full scale of the camera, 2^bits - 1."""

    def measure(
        self, frame: "Frame | np.ndarray", *, source: str | None = None, saturation_dn: float | None = None,
        gain_e_per_dn: float | None = None, wanted: Collection[str] = (),
    ) -> "tuple[Measurement, StarList] | Rejected":  # fmt: skip
        """Measure one frame, a `Frame` or an array (rows, cols) or (3, rows, cols) in DN, NaN where missing.

        Colour frames are measured in the mean of their planes, mosaics in their green pixels. `saturation_dn` and
        `gain_e_per_dn` default to what the frame's header says; saturation also shows by flat-topped stars.
        `wanted`: names of `measurement.SKY_FIELDS` and `HEALTH_FIELDS`, which cost some milliseconds more.
        Gives what was measured and the stars, or a `Rejected` that tells why the frame has nothing to measure.
        """
        return engine("subframes.measure").measure_light(self, frame, source, saturation_dn, gain_e_per_dn, wanted)

    def select(self, measurements: "Sequence[Measurement]") -> list[Rejected | None]:
        """Approve a group of measured frames: None for a good one, a `Rejected` with the reason for another."""
        usual = float(median([m.stars or 0 for m in measurements])) if measurements else 0.0
        return [self.judge(m, usual) for m in measurements]

    @property
    def measures(self) -> tuple[str, ...]:
        """Those of `measurement.SKY_FIELDS` and `HEALTH_FIELDS` that verdicts need, beside what is always measured."""
        asks = self.approve or self.weight or self.flags == "reject"
        return engine("subframes.choice.verdict").fields_needed(self) if asks else ()

    def table(self, frames: "Sequence[Subframe]") -> "Subframes":
        """A table of measured frames in the units of these knobs, approved and weighed by them."""
        return engine("subframes.choice.verdict").table_of(self, frames)

    def choose(self, night: "Subframes") -> "Subframes":
        """A table approved and weighed anew by these knobs; what was marked by hand stays."""
        return engine("subframes.choice.verdict").choose(self, night)

    def judge(self, measurement: "Measurement", usual_stars: float) -> Rejected | None:
        """One frame against the limits; `usual_stars` is the median number of stars in its group."""
        stars, reason = measurement.stars or 0, ""
        limits = {"max_fwhm_px": "FWHM {:.2f} px", "max_eccentricity": "eccentricity {:.2f}"}
        for name, words in (limits | {"max_noise_dn": "noise {:.4g} DN"}).items():
            value, limit = getattr(measurement, name[4:]), getattr(self, name)
            if limit is not None and value is not None and not value <= limit and not reason:
                reason = f"{words.format(value)} is above {limit:g} (SubframeSelector.{name})"
        if stars < self.min_stars:
            reason = f"{stars} stars, fewer than {self.min_stars} (SubframeSelector.min_stars)"
        elif not reason and stars < (self.min_stars_fraction or 0) * usual_stars:
            share = 100 * stars / usual_stars
            reason = f"{stars} stars are {share:.0f} % of the group's median {usual_stars:.0f}: clouds? "
            reason += "(SubframeSelector.min_stars_fraction)"
        return Rejected(measurement.source, "approve", reason) if reason else None
