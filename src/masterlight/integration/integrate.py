"""ImageIntegration: many frames into one, as knobs; and MasterIntegration, what of it calibration frames need."""

from collections.abc import Generator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from masterlight.core import workers
from masterlight.core.knob import Unit, When
from masterlight.core.process import engine, process, with_values
from masterlight.core.workers import Event
from masterlight.integration.normalize import LocalNormalization
from masterlight.integration.rejection import KINDS, LargeScaleRejection, MasterRejection, Rejection
from masterlight.subframes.select import Formula

if TYPE_CHECKING:
    import numpy as np

    from masterlight.core.frame import Frame
    from masterlight.integration.roster.terms import Terms
    from masterlight.integration.stack import Stack
    from masterlight.subframes.measurement import Measurement

Combination = Literal["average", "median", "minimum", "maximum", "adaptive"]
WEIGHTS = Literal[
    "auto", "point", "noise", "sharp", "none", "exposure", "snr", "psf-signal", "psf-snr", "psf-scale-snr", "average",
    "median", "average-deviation", "keyword", "expression", "select",
]  # fmt: skip
WEIGHED = "average", "adaptive"
"""Combinations in which some frames count for more than others."""
NORMALIZED = "auto", "additive", "multiplicative", "additive+scaling", "multiplicative+scaling", "local"
JUDGED = "auto", "scale+zero offset", "equalize fluxes", "local"
LOCALLY = When(normalization="local"), When(rejection__normalization="local")


def no_preset(word: object) -> object:
    """What was given for a kind of weights; ValueError for the name of a formula, which belongs to another knob."""
    if isinstance(word, str) and word in engine("subframes.formula.presets").PRESETS:
        by_hand = f"else ImageIntegration.weights expression and ImageIntegration.weight_expression {word}"
        todo = f"in a run give SubframeSelector.weight {word}, {by_hand}"
        raise ValueError(f"{word} is a formula, no kind of weights: {todo}")
    return word


Weights = Annotated[WEIGHTS, BeforeValidator(no_preset)]


@process
class ImageIntegration:
    """Combine frames of the same scene into one with less noise, rejecting what is not in most of them."""

    combination: Combination = "average"
    """How the surviving samples of a pixel become one: average keeps the most light; adaptive is the auto-adaptive
    weighted average."""
    normalization: Literal[
        "auto", "none", "additive", "multiplicative", "additive+scaling", "multiplicative+scaling", "local"
    ] = "auto"
    """How frames are brought to the background and scale of the reference before they are combined. auto is
    additive+scaling, and place by place where the skies that were measured differ over the field; local compares
    pixels with those of the reference, by the knobs of `local`."""
    weights: Annotated[Weights, When(combination=WEIGHED)] = "auto"
    """What a frame counts for: point is for the faintest stars, by its noise and by how its stars overlap with those of
    all; noise for the deepest sky, by inverse noise variance; sharp for narrow stars; keyword is by its header;
    select is by SubframeSelector.weight, in a run. auto is select in a run with such a formula, else point."""
    give: Annotated[float, Field(ge=0, le=50), Unit("%"), When(weights="sharp")] = 1.0
    """Depth that weights sharp gives away for narrower stars, in percent of signal to noise."""
    weight_keyword: Annotated[str, When(weights="keyword")] = "SSWEIGHT"
    """Keyword that holds the weight of a frame, for weights keyword."""
    weight_expression: Annotated[Formula | None, When(weights="expression")] = None
    """Formula of the weight of a frame, for weights expression: such as 35*inv(FWHM) + 10*inv(Noise) + 50."""
    min_weight: Annotated[float, Field(ge=0, lt=1), When(combination=WEIGHED)] = 0.005
    """Frames that count for less than this part of the best are left out; 0 keeps all."""
    max_rejected: Annotated[float, Field(gt=0, le=1)] = 0.33
    """Frames of which a greater part than this is rejected, beyond what chance takes, are left out; 1 keeps all."""
    scale: Annotated[
        Literal["stars", "bwmv", "avgdev", "mad", "pbmv", "sn", "qn", "ikss"],
        When(normalization=NORMALIZED),
        When(rejection__normalization=JUDGED),
        When(weights=("snr", "median", "psf-scale-snr", "expression")),
    ] = "stars"
    """What tells the scale of a frame: the flux of its stars, or an estimate of the dispersion of its background."""
    local: Annotated[LocalNormalization, *LOCALLY] = LocalNormalization()
    rejection: Rejection = Rejection()

    @classmethod
    def for_bias(cls) -> "ImageIntegration":
        """Settings for a master bias: `MasterIntegration.for_bias`, with every knob."""
        return MasterIntegration.for_bias().integration()

    @classmethod
    def for_dark(cls) -> "ImageIntegration":
        """Settings for a master dark: `MasterIntegration.for_dark`, with every knob."""
        return MasterIntegration.for_dark().integration()

    @classmethod
    def for_flat(cls) -> "ImageIntegration":
        """Settings for a master flat: `MasterIntegration.for_flat`, with every knob."""
        return MasterIntegration.for_flat().integration()

    def terms(self, measurements: "Sequence[Measurement]", reference: int = 0) -> "Terms":
        """The numbers by which each frame enters, from what was measured of all; `reference` stays as it is."""
        return engine("integration.roster.numbers").terms_of(self.settled, measurements, reference)

    @property
    def measures(self) -> tuple[str, ...]:
        """Fields of `Measurement` beyond the usual that these settings need."""
        headers = ("keywords",) if self.weights in ("keyword", "expression") else ()
        return (*engine("subframes.weights").needs(self.weights, self.weight_expression or ""), *headers)

    @property
    def needs_scale(self) -> bool:
        """Whether the scale of each frame matters."""
        scaled = self.normalization == "auto" or "scaling" in self.normalization
        scaled = scaled or self.rejection.comparison in ("auto", "scale+zero offset")
        return self.localizes or scaled or self.weights == "psf-scale-snr"

    @property
    def looks_at_stars(self) -> bool:
        """Whether the light and the width of the stars in each frame matter."""
        return self.scale == "stars" and self.needs_scale

    @property
    def looks_at_profiles(self) -> bool:
        """Whether the profiles of the stars matter, or their light and width do."""
        shaped = self.settled.weights in engine("subframes.weights").SHAPED and self.combination in WEIGHED
        return self.looks_at_stars or shaped

    @property
    def dispersion(self) -> str:
        """The estimator of a frame's dispersion and level: a name of `core.statistics.scale.SCALES`."""
        return "bwmv" if self.scale == "stars" else self.scale

    @property
    def localizes(self) -> bool:
        """Whether pixels are compared with those of the reference, place by place."""
        return "local" in (self.normalization, self.rejection.comparison)

    @property
    def settled(self) -> "ImageIntegration":
        """These settings with what `auto` stands for, but for what skies tell."""
        output, judged = self.normalization, self.rejection.normalization
        if judged == "auto":
            judged = "local" if output == "local" else "scale+zero offset"
        rejection = with_values(self.rejection, normalization=judged)
        normalization = "additive+scaling" if output == "auto" else output
        weights = "point" if self.weights == "auto" else self.weights  # a run has said by then whether a formula does
        return with_values(self, normalization=normalization, weights=weights, rejection=rejection)

    def __call__(
        self,
        frames: "Sequence[Frame | np.ndarray]",
        statistics: "Sequence[Measurement] | Sequence[Sequence[Measurement]] | None" = None,
        *,
        reference: int | None = None,
        pool: str | tuple[Executor, int] = "serial",
        memory_mb: float = 512,
        aspect: float | None = None,
        maps: bool = True,
        slope: bool = False,
        verdicts: bool = False,
        force: bool = False,
    ) -> "Generator[Event, None, Stack]":
        """Integrate frames of equal shape: yields an Event for each tile, and at last one whose result is the `Stack`.

        frames: or arrays (rows, cols) or (3, rows, cols), NaN where missing, which are called `array 0` and so on.
        statistics: a `Measurement` for each frame, for colour a list of such lists, one for each
        plane; measured first when None, and frames whose stars do not lie on each other are refused, or the few left
        out that lie apart: `force` integrates them as they are. reference: the frame whose level and scale the result
        has, by default the one of greatest weight. `memory_mb` bounds the samples that are in memory at once.
        `aspect` is the width of a tile over its height: none, bands of whole rows, suits frames that are read as
        stored; 1 those that are rotated on the way. Without `maps` the stack holds the image alone; `slope` asks for
        the map of slopes of linear fit clipping, `verdicts` for what was left out of each frame.
        A frame that cannot be read ends the run with a FrameError that names it. Frames of unknown scale, of next
        to no weight, without a local normalization, or of which most is rejected, are left out: they are `lost`, with
        the reason of each.
        """
        run = engine("integration.engine")
        frames = engine("core.frame").frames_of(frames)
        run.check_shapes(frames)
        with workers.executor(pool) if isinstance(pool, str) else nullcontext(pool) as running:
            odd, anchor = {}, reference or 0
            if statistics is None:
                if not force:
                    odd, anchor = yield from run.unregistered(running, frames, reference)
                measure_all = engine("subframes.together").measure_all
                limits = self.rejection.range_low, self.rejection.range_high
                how = {"scale": self.dispersion, "limits": limits, "stars": self.looks_at_profiles}
                statistics = yield from measure_all(running, frames, self.measures, anchor=anchor, **how)
            room = running, memory_mb, aspect
            return (yield from run.integrate(self, frames, statistics, reference, room, maps, slope, verdicts, odd))


@process
class MasterIntegration:
    """Combine calibration frames into a master with less noise, rejecting what is not in most of them."""

    combination: Combination = "average"
    """How the surviving samples of a pixel become one: average has the least noise."""
    normalization: Literal["none", "additive", "multiplicative", "additive+scaling", "multiplicative+scaling"] = "none"
    """How frames are brought to the level and scale of the first before they are combined."""
    rejection: MasterRejection = MasterRejection()

    @classmethod
    def for_bias(cls) -> "MasterIntegration":
        """A master bias: plain average; only what is 6 sigma off, such as a cosmic ray, is rejected."""
        return cls()

    @classmethod
    def for_dark(cls) -> "MasterIntegration":
        """A master dark, the same as for a bias: the level is the signal, so nothing is normalised."""
        return cls.for_bias()

    @classmethod
    def for_flat(cls) -> "MasterIntegration":
        """A master flat: frames scaled to equal brightness, rejection at 4 sigma.

        The noise of a flat is not the same all over it: its bright parts need more room than the usual 3.
        """
        return cls(normalization="multiplicative", rejection=MasterRejection(normalization="equalize fluxes"))

    def integration(self) -> ImageIntegration:
        """What carries it out: every frame counts alike, there are no trails, and in flats no stars."""
        mine = self.rejection
        flat = self.normalization == "multiplicative" or mine.normalization == "equalize fluxes"
        own = {"signal_fraction": 0.0 if flat else None, "large_scale": LargeScaleRejection(trails=False)}
        own |= {"single_frame_sigma": 0.0, "saturated": False}  # hot pixels are what a dark is made for
        if KINDS[mine.algorithm].takes == "sigma":
            usual = 4.0 if flat else 6.0
            own |= {"low": usual if mine.low is None else mine.low, "high": usual if mine.high is None else mine.high}
        rejection = with_values(Rejection(), **asdict(mine) | own)
        named = {"combination": self.combination, "normalization": self.normalization}
        return with_values(
            ImageIntegration(), **named, weights="none", scale="bwmv", max_rejected=1.0, rejection=rejection
        )
