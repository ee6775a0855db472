"""The knobs of subframes: how their stars are found and fitted, and which frames are good enough to integrate."""

from collections.abc import Collection, Sequence
from statistics import median
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from masterlight.core.errors import Rejected
from masterlight.core.knob import Unit, When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    import numpy as np

    from masterlight.core.frame import Frame
    from masterlight.subframes.measurement import Measurement, StarList


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
