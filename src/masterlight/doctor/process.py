"""`Doctor`: the thresholds of the diagnoses, and the three places where they are made."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from masterlight.core.knob import Unit
from masterlight.core.process import engine, process
from masterlight.core.workers import Event, Pool
from masterlight.doctor.findings import TITLES, Finding

if TYPE_CHECKING:
    from masterlight.calibration.masters import Masters
    from masterlight.core.frame import Frame
    from masterlight.defects.lists import Defects
    from masterlight.session.plan import Plan

Fraction = Annotated[float, Field(ge=0, le=1)]
FullScale = Annotated[float, Field(ge=0, le=1), Unit("of full scale")]
Correlation = Annotated[float, Field(ge=0, le=1), Unit("correlation")]
Amount = Annotated[float, Field(ge=0, le=1e9)]
Sigmas = Annotated[float, Field(ge=0, le=1e6), Unit("sigma")]
Count = Annotated[int, Field(ge=0, le=1_000_000), Unit("frames")]


def diagnosis_ids(off: tuple[str, ...]) -> tuple[str, ...]:
    """Ids of diagnoses as the knob holds them, in capitals; ValueError with those that there are."""
    ids = tuple(word.strip().upper() for word in off)
    for word, id in zip(off, ids, strict=True):
        if id not in TITLES:
            raise ValueError(f"'{word}' is no diagnosis; there are {', '.join(TITLES)}")
    return ids


@process
class Doctor:
    """Look for what goes wrong in calibration, from headers, from samples of every frame, and from the masters."""

    off: Annotated[tuple[str, ...], AfterValidator(diagnosis_ids)] = ()
    """Diagnoses to leave out, by their ids: D04,D16."""
    flat_low: FullScale = 0.2
    """Flats below this fraction of full scale are warned of."""
    flat_high: FullScale = 0.6
    """Flats above this fraction of full scale are warned of."""
    flat_lowest: FullScale = 0.1
    """Flats below this fraction of full scale are an error."""
    flat_highest: FullScale = 0.8
    """Flats above this fraction of full scale are an error."""
    clipped_fraction: Fraction = 1e-4
    """Fraction of a flat's pixels that may be saturated, or zero."""
    zero_fraction: Fraction = 0.002
    """Fraction of the pixels of a bias frame, dark or light that may be cut off at zero."""
    hot_fraction: Fraction = 2e-4
    """Fraction of the pixels of a master flat that may be hot."""
    flat_snr: Amount = 500.0
    """Signal to noise that a pixel of a master flat should have."""
    flats: Count = 15
    """Flats that a master should be made of."""
    biases: Count = 20
    """Bias frames that a master should be made of."""
    darks: Count = 15
    """Darks that a master should be made of."""
    exposure_fraction: Fraction = 0.02
    """How much the exposure of unscaled darks may differ from that of the lights."""
    temperature_c: Amount = 1.0
    """How far darks may be from the temperature of the lights before it is warned of, °C."""
    temperature_limit_c: Amount = 3.0
    """How far darks of a cooled camera may be from the temperature of the lights before it is an error, °C."""
    temperature_spread_c: Amount = 0.5
    """Spread of the sensor's temperature within a set, °C rms."""
    outlier_sigma: Sigmas = 5.0
    """A bias frame or dark whose level is this many robust sigma from the others does not belong to them."""
    outlier_dn: Amount = 3.0
    """Differences of level smaller than this are let pass, DN."""
    negative_fraction: Fraction = 0.05
    """Fraction of negative pixels in a calibrated light that is told."""
    glow_sigma: Sigmas = 5.0
    """Glow of a dark over the frame, in sigma of its pixels, above which it counts."""
    glow_correlation: Correlation = 0.3
    """Correlation of the calibrated sky with the glow of the dark that is let pass."""
    leak_correlation: Correlation = 0.3
    """Correlation of a dark with the flat that is let pass."""
    flat_correlation: Correlation = 0.5
    """Correlation of the calibrated sky with the flat that is let pass."""
    flat_slope: Amount = 0.02
    """Slope of the calibrated sky on the flat, both as logarithms, that is let pass."""
    mote_fraction: Fraction = 0.01
    """How much brighter than its surroundings the calibrated sky may be at a dust mote of the flat."""
    drift_fraction: Fraction = 0.01
    """How much gradient or colour may change through a set of flats."""
    shutter_fraction: Fraction = 0.005
    """How much flats of two exposures may differ over the frame."""
    banding_power: Annotated[float, Field(ge=0, le=1e9), Unit("times")] = 3.0
    """Power of rows and columns in the difference of two frames, over that of white noise, that is let pass."""
    gain_fraction: Fraction = 0.15
    """How far the measured gain may be from that of the header."""

    def frames(self, plan: "Plan", pool: Pool) -> Generator[Event, None, list[Finding]]:
        """Diagnose the raw frames of a plan; the last event's result is the list of findings.

        At most 24 rows and 72 000 pixels of each frame are read, and of two frames of each group once more. A frame
        that cannot be read is passed over. pool: an executor and its width, as `workers.executor` gives them.
        """
        found: list[Finding] = yield from engine("doctor.examination").frames(self, plan, pool)
        return found

    def master(
        self,
        kind: str,
        master: "Frame",
        *,
        bias: "Frame | None" = None,
        dark: "Frame | None" = None,
        flat: "Frame | None" = None,
        frames: "Sequence[Frame]" = (),
        noise_dn: Sequence[float] = (),
        scaled: bool = False,
    ) -> list[Finding]:
        """Diagnose one master from small parts of it; of flats six of its frames are read whole, in blocks.

        kind: bias, dark, flatdark or flat; bias, dark, flat: the other masters of its lights; frames: what it was made
        of, none for a ready-made one; noise_dn: the noise of a pixel in each of those, as `measure` tells it; scaled:
        whether the dark is scaled to the lights.
        """
        case = engine("doctor.masters").Case(kind, master, bias, dark, flat, frames, noise_dn, scaled)
        found: list[Finding] = engine("doctor.examination").active(self, engine("doctor.masters").examine(self, case))
        return found

    def light(
        self, raw: "Frame", view: "Frame", masters: "Masters", defects: "Defects | None" = None,
        beside: "Sequence[Frame]" = (),
    ) -> list[Finding]:  # fmt: skip
        """Diagnose one calibrated light: `view` is `raw` calibrated by `masters`; about a quarter of it is computed.

        beside: other calibrated lights of its set, which show dust more clearly together.
        """
        findings = engine("doctor.lights").examine(self, raw, view, masters, defects, beside)
        found: list[Finding] = engine("doctor.examination").active(self, findings)
        return found
