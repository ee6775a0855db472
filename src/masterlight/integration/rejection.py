"""Rejection: which samples of a pixel do not belong, as knobs; and the table of algorithms, one row for each."""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from masterlight.core.errors import ParameterError
from masterlight.core.knob import Unit, Usual, When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    import numpy as np

    from masterlight.integration.stack import Grown

Algorithm = Literal[
    "auto", "none", "minmax", "percentile", "sigma", "winsorized", "mad", "averaged-sigma", "linear-fit", "ccd",
    "esd", "chauvenet", "noise",
]  # fmt: skip
SIGMA = 4.0, 3.0
SIDES = "clip_low", "clip_high"
CLIPPED = *SIDES, "min_keep_fraction"
LIGHT = "gain_e_per_dn", "signal_fraction"
"""What tells how noisy and how changing the light above the sky is; the variance of the result knows it, too."""
OWN = "floor", *LIGHT
"""What is read where the samples of a pixel tell their own sigma."""


@dataclass(frozen=True)
class Kind:
    """What there is to know of an algorithm; its arithmetic stands in `kernels.rejection` under the same name."""

    reads: tuple[str, ...]
    """The knobs of `Rejection` that mean something to it, beside `low` and `high`."""
    limits: tuple[float, float] | None = SIGMA
    """Usual `low` and `high`; None where there are no two limits."""
    takes: Literal["sigma", "deviations", "fraction", "samples"] = "sigma"
    """What the limits count."""
    fewest: int = 1
    """Frames that it needs to tell anything."""


KINDS: dict[str, Kind] = {
    "none": Kind(LIGHT, None),
    "minmax": Kind((*SIDES, *LIGHT), (1, 1), "samples"),
    "percentile": Kind((*CLIPPED, *LIGHT), (0.2, 0.1), "fraction"),
    "sigma": Kind((*CLIPPED, *OWN, "max_passes"), fewest=3),
    "winsorized": Kind((*CLIPPED, *OWN, "max_passes"), fewest=3),
    "mad": Kind((*CLIPPED, *OWN, "max_passes"), fewest=3),
    "noise": Kind((*CLIPPED, *LIGHT, "max_passes")),
    "auto": Kind((*CLIPPED, *OWN, "max_passes", "few")),
    "linear-fit": Kind((*CLIPPED, *OWN, "max_passes"), (5.0, 4.0), "deviations", 5),
    "esd": Kind((*SIDES, *OWN, "esd_fraction", "esd_significance", "esd_low_relaxation"), None, fewest=3),
    "chauvenet": Kind((*CLIPPED, *OWN, "chauvenet_limit"), None, fewest=3),
    "averaged-sigma": Kind((*CLIPPED, "max_passes"), fewest=3),
    "ccd": Kind((*CLIPPED, "max_passes", "gain_e_per_dn", "read_noise_e", "scale_noise")),
}
"""Every algorithm."""
MOST_CHAUVENET = 200
TAKES = {
    "sigma": "a number of sigma, above 0 to 50",
    "deviations": "a number of the line's deviations, above 0 to 50",
    "fraction": "a fraction of the pixel's median, above 0, and low at most 1",
    "samples": "how many samples go, a whole number",
}
BY_HEADERS = Usual("as the headers say")
OF_MASTERS = Usual("6; 4 in flats")
"""Limits in sigma among calibration frames; algorithms that count otherwise have their own."""
Limit = Annotated[float, Field(ge=0, le=50)]
Level = Annotated[float, Field(ge=-1e12, le=1e12)]
TWO_LIMITS = tuple(name for name, kind in KINDS.items() if kind.limits)
ANY = When(algorithm=tuple(name for name in KINDS if name != "none"))


def read_by(knob: str) -> When:
    """That a knob is for the algorithms that read it."""
    return When(algorithm=tuple(name for name, kind in KINDS.items() if knob in kind.reads))


def check_limits(algorithm: str, **limits: float | None) -> None:
    """Raise ParameterError for a limit, `low` or `high`, that the algorithm cannot take; None is its usual one."""
    kind = KINDS[algorithm]
    for (name, value), usual in zip(limits.items(), kind.limits or (), strict=False):
        if value is None:
            continue
        most = 1 if kind.takes == "fraction" and name == "low" else 50
        if not (value == int(value) if kind.takes == "samples" else 0 < value <= most):
            words = f"{name}: {algorithm} takes {TAKES[kind.takes]}; usual is {usual:g} (given: {value:g})"
            raise ParameterError(words)


@process
class LargeScaleRejection:
    """Reject whole structures of which clipping found only a part: trails along their line, large shapes all around."""

    trails: bool = True
    """Find straight trails of satellites, meteors and aeroplanes, of 100 px or more, and reject them end to end: also
    those, of 256 px or more, that are fainter than the noise of any pixel."""
    trail_sigma: Annotated[float, Field(ge=5, le=100), When(trails=True)] = 7.5
    """How far, in sigma, a line must stand out from chance to be a trail."""
    trail_growth_px: Annotated[float, Field(ge=0, le=50), When(trails=True)] = 3.0
    """Trails are rejected this much wider on either side than where rejected pixels abound: fainter light goes on."""
    low: bool = False
    """Grow large structures of pixels that were rejected as too faint."""
    high: bool = False
    """Grow large structures of pixels that were rejected as too bright."""
    layers_low: Annotated[int, Field(ge=1, le=6), When(low=True)] = 2
    """Faint structures narrower than about 2 to this power, in pixels, are small and not grown."""
    layers_high: Annotated[int, Field(ge=1, le=6), When(high=True)] = 2
    """Bright structures narrower than about 2 to this power, in pixels, are small and not grown."""
    growth_low: Annotated[int, Field(ge=1, le=20), Unit("px"), When(low=True)] = 2
    """Faint structures grow by so many pixels on all sides."""
    growth_high: Annotated[int, Field(ge=1, le=20), Unit("px"), When(high=True)] = 2
    """Bright structures grow by so many pixels on all sides."""

    def grown(self, low: "np.ndarray", high: "np.ndarray", shape: tuple[int, int]) -> "Grown":
        """What else is to be rejected in a frame of which clipping rejected the pixels `low` and `high`.

        low, high: sorted flat indices y * cols + x of pixels, any whole-number dtype, uint32 without a copy (of a map,
        `np.flatnonzero(map)`); shape: (rows, cols). The result holds sorted uint32 indices of pixels that are not in
        the list of their own side, empty where nothing is to be added. One plane of one frame at a time.
        """
        return engine("integration.trails.largescale").grown(self, low, high, shape)


@process
class Rejection:
    """Leave out what is in one frame and not in the others: cosmic rays, satellites, aircraft, hot pixels."""

    algorithm: Algorithm = "auto"
    """How outliers are told: auto is Winsorized sigma clipping, and the noise model for pixels with few samples."""
    low: Annotated[Limit | None, Unit("sigma"), Usual("4"), When(algorithm=TWO_LIMITS, clip_low=True)] = None
    """How far below a pixel's median samples are rejected. Left out, what is usual: 4 sigma; 5 deviations of the line
    for linear-fit; 0.2 of the median for percentile; for minmax, how many of the faintest go: 1."""
    high: Annotated[Limit | None, Unit("sigma"), Usual("3"), When(algorithm=TWO_LIMITS, clip_high=True)] = None
    """How far above a pixel's median samples are rejected. Left out, what is usual: 3 sigma; 4 deviations of the line
    for linear-fit; 0.1 of the median for percentile; for minmax, how many of the brightest go: 1."""
    normalization: Annotated[Literal["auto", "none", "scale+zero offset", "equalize fluxes", "local"], ANY] = "auto"
    """How frames are made comparable for this decision alone. auto is local where the output is, else scale+zero
    offset, after skies that differ were levelled."""
    clip_low: Annotated[bool, ANY] = True
    """Reject faint outliers."""
    clip_high: Annotated[bool, ANY] = True
    """Reject bright outliers."""
    esd_fraction: Annotated[float, Field(gt=0, le=0.5), read_by("esd_fraction")] = 0.3
    """Generalized ESD rejects at most this part of a pixel's samples."""
    esd_significance: Annotated[float, Field(gt=0, lt=1), read_by("esd_significance")] = 0.05
    """Chance at which generalized ESD rejects something from a pixel without outliers."""
    esd_low_relaxation: Annotated[float, Field(ge=1, le=5), read_by("esd_low_relaxation")] = 1.0
    """How many times farther off than bright samples faint ones may lie in generalized ESD."""
    chauvenet_limit: Annotated[float, Field(gt=0, le=1), read_by("chauvenet_limit")] = 0.1
    """Robust Chauvenet rejection leaves out samples of which fewer than this many are expected; more rejects more."""
    range_low: Annotated[Level, Unit("DN")] | None = None
    """Values at or below this, in DN as they come to integration, never take part."""
    range_high: Annotated[Level, Unit("DN")] | None = None
    """Values at or above this, in DN as they come to integration, never take part."""
    few: Annotated[int, Field(ge=3, le=1_000_000), Unit("samples"), read_by("few")] = 10
    """Pixels with fewer samples than this are judged by auto with the noise model: few cannot tell their own sigma."""
    single_frame_sigma: Annotated[
        float, Field(ge=0, le=1000), Unit("sigma"), When(algorithm="auto", clip_high=True)
    ] = 5.0
    """Where three frames or fewer have a pixel, samples sharper by so many sigma than the frame's stars are left out:
    no light of the sky is. So are, in `run`, strong rays of any frame before it is warped. 0 looks at none."""
    saturated: Annotated[bool, ANY] = True
    """Leave saturated samples out where a frame that saturates later, a shorter exposure, has the place."""
    gain_e_per_dn: Annotated[Annotated[float, Field(gt=0, le=1e6)] | None, BY_HEADERS, read_by("gain_e_per_dn")] = None
    """Electrons per DN, for the photon noise of bright pixels; left out, what the headers say."""
    read_noise_e: Annotated[Annotated[float, Field(ge=0, le=1e6)] | None, BY_HEADERS, read_by("read_noise_e")] = None
    """Read noise in electrons, for the CCD noise model; left out, what the headers say."""
    scale_noise: Annotated[float, Field(ge=0, le=1), Unit("fraction"), read_by("scale_noise")] = 0.0
    """Noise of the CCD noise model that grows with the signal, as a fraction of it: sensitivity, scintillation."""
    signal_fraction: Annotated[Annotated[float, Field(ge=0, le=2)] | None, read_by("signal_fraction")] = None
    """Part of a star's light by which seeing may change a pixel between frames; left out, as their FWHM tells."""
    floor: Annotated[float, Field(ge=0, le=1), Unit("of the noise"), read_by("floor")] = 1.0
    """Sigma of a pixel is never taken smaller than this part of the frames' noise: few samples may agree by chance."""
    min_keep_fraction: Annotated[float, Field(ge=0, le=1), read_by("min_keep_fraction")] = 0.5
    """At least this part of a pixel's samples survives clipping, and never fewer than two."""
    max_passes: Annotated[int, Field(ge=1, le=1000), read_by("max_passes")] = 20
    """Clipping is repeated until nothing more goes, at most this many times."""
    large_scale: Annotated[LargeScaleRejection, ANY] = LargeScaleRejection()

    def __post_init__(self) -> None:
        check_limits(self.algorithm, low=self.low, high=self.high)

    @property
    def kind(self) -> Kind:
        return KINDS[self.algorithm]

    @property
    def limits(self) -> tuple[float, float]:
        """(low, high) as they count: those given, or the usual ones of the algorithm."""
        low, high = self.kind.limits or SIGMA
        return low if self.low is None else self.low, high if self.high is None else self.high

    @property
    def comparison(self) -> str:
        """The normalization that counts: none where nothing is compared."""
        return "none" if self.algorithm == "none" else self.normalization

    @property
    def bounds(self) -> tuple[float, float]:
        """`range_low` and `range_high`, infinite where there are none."""
        return -inf if self.range_low is None else self.range_low, inf if self.range_high is None else self.range_high

    @property
    def ranges(self) -> bool:
        """Whether values out of range are left out."""
        return self.bounds != (-inf, inf)

    @property
    def looks_larger(self) -> bool:
        """Whether what clipping rejects is looked at for larger structures."""
        larger = self.large_scale
        return self.algorithm != "none" and (larger.trails or larger.low or larger.high)

    def check(self, count: int) -> None:
        """Raise ParameterError where this algorithm cannot work on `count` frames."""
        if self.algorithm == "chauvenet" and count > MOST_CHAUVENET:
            words = f"Rejection.algorithm chauvenet takes hours on {count} frames, sample by sample"
            raise ParameterError(f"{words}; with more than {MOST_CHAUVENET} take esd or winsorized")
        needed = int(sum(self.limits)) + 1 if self.algorithm == "minmax" else self.kind.fewest
        if count < needed:
            words = f"Rejection.algorithm {self.algorithm} needs {needed} frames and there are {count}"
            raise ParameterError(f"{words}; take auto or noise, which judge by the noise of the frames, or none")


@process
class MasterRejection:
    """Leave out what is in one calibration frame and not in the others, such as cosmic rays."""

    normalization: Annotated[Literal["none", "scale+zero offset", "equalize fluxes"], ANY] = "none"
    """How frames are made comparable for this decision alone."""
    algorithm: Algorithm = "auto"
    """How outliers are told: auto is Winsorized sigma clipping, and the noise model for pixels with few samples."""
    low: Annotated[Limit | None, Unit("sigma"), OF_MASTERS, When(algorithm=TWO_LIMITS)] = None
    """How far below a pixel's median samples are rejected, in sigma; for percentile a fraction of the median, for
    minmax how many of the faintest go."""
    high: Annotated[Limit | None, Unit("sigma"), OF_MASTERS, When(algorithm=TWO_LIMITS)] = None
    """How far above a pixel's median samples are rejected, in sigma; for percentile a fraction of the median, for
    minmax how many of the brightest go."""
    range_low: Annotated[Level, Unit("DN")] | None = None
    """Values at or below this, in DN as they come to integration, never take part."""
    range_high: Annotated[Level, Unit("DN")] | None = None
    """Values at or above this, in DN as they come to integration, never take part."""

    def __post_init__(self) -> None:
        check_limits(self.algorithm, low=self.low, high=self.high)
