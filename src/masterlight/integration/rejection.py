"""Rejection: which samples of a pixel do not belong, as knobs and as the numbers that the kernel takes."""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from masterlight.core.errors import ParameterError
from masterlight.core.process import process
from masterlight.integration.kernels import profiles, rejection
from masterlight.integration.largescale import LargeScaleRejection

CODES = {
    "none": rejection.NONE,
    "minmax": rejection.MINMAX,
    "percentile": rejection.PERCENTILE,
    "sigma": rejection.SIGMA,
    "winsorized": rejection.WINSORIZED,
    "mad": rejection.MAD,
    "noise": rejection.NOISE,
    "auto": rejection.AUTO,
    "linear-fit": rejection.LINEAR,
    "esd": rejection.ESD,
    "chauvenet": rejection.CHAUVENET,
    "averaged-sigma": profiles.AVERAGED,
    "ccd": rejection.NOISE,
    "median-sigma": profiles.MEDIAN_SIGMA,
    "kappa-sigma": profiles.KAPPA,
    "median-kappa-sigma": profiles.MEDIAN_KAPPA,
}
"""What the kernels call each algorithm."""
FEWEST = {"sigma": 3, "winsorized": 3, "mad": 3, "averaged-sigma": 3, "linear-fit": 5, "esd": 3, "chauvenet": 3}
"""Frames that an algorithm needs to tell anything."""
MOST_CHAUVENET = 200
BY_OWN_SIGMA = ("sigma", "winsorized", "mad", "auto", "linear-fit", "esd", "chauvenet")
PROFILES = {"pixinsight-2019": "PI19", "pixinsight": "PI24", "siril": "SIRIL", "deepskystacker": "DSS"}
UNKNOWN_SEEING = 0.1
"""`signal_fraction` where nothing is known of the seeing of the frames."""

Algorithm = Literal[
    "auto", "none", "minmax", "percentile", "sigma", "winsorized", "mad", "averaged-sigma", "linear-fit", "ccd",
    "esd", "chauvenet", "noise", "median-sigma", "kappa-sigma", "median-kappa-sigma",
]  # fmt: skip


@process
class Rejection:
    """Leave out what is in one frame and not in the others: cosmic rays, satellites, aircraft, hot pixels."""

    algorithm: Algorithm = "auto"
    """How outliers are told: auto is Winsorized sigma clipping, and the noise model for pixels with few samples.
    Median-sigma (siril), kappa-sigma and median-kappa-sigma (deepskystacker) are for these profiles alone."""
    profile: Literal["best", "pixinsight-2019", "pixinsight", "siril", "deepskystacker"] = "best"
    """Whose rules are followed: ours, or to the letter those of another program, its weaknesses included."""
    low: Annotated[float, Field(gt=0, le=50)] = 4.0
    """Samples fainter than the pixel's median by more than this many sigma are rejected."""
    high: Annotated[float, Field(gt=0, le=50)] = 3.0
    """Samples brighter than the pixel's median by more than this many sigma are rejected."""
    normalization: Literal["none", "scale+zero offset", "equalize fluxes", "local"] = "scale+zero offset"
    """How frames are made comparable for this decision alone."""
    clip_low: bool = True
    """Reject faint outliers."""
    clip_high: bool = True
    """Reject bright outliers."""
    percentile_low: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Percentile clipping rejects what is fainter than the median by more than this fraction of it."""
    percentile_high: Annotated[float, Field(gt=0)] = 0.1
    """Percentile clipping rejects what is brighter than the median by more than this fraction of it."""
    minmax_low: Annotated[int, Field(ge=0)] = 1
    """How many of the faintest samples min/max rejection leaves out."""
    minmax_high: Annotated[int, Field(ge=0)] = 1
    """How many of the brightest samples min/max rejection leaves out."""
    linear_fit_low: Annotated[float, Field(gt=0, le=50)] = 5.0
    """Linear fit clipping rejects samples below the line by more than this many of its deviations."""
    linear_fit_high: Annotated[float, Field(gt=0, le=50)] = 4.0
    """Linear fit clipping rejects samples above the line by more than this many of its deviations."""
    esd_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    """Generalized ESD rejects at most this part of a pixel's samples."""
    esd_significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance at which generalized ESD rejects something from a pixel without outliers."""
    esd_low_relaxation: Annotated[float, Field(ge=1, le=5)] = 1.0
    """How many times farther off than bright samples faint ones may lie in generalized ESD."""
    chauvenet_limit: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Robust Chauvenet rejection leaves out samples of which fewer than this many are expected; more rejects more."""
    winsorization_cutoff: Annotated[float, Field(ge=3, le=10)] = 5.0
    """Sigma beyond which Winsorization takes samples for the mean (profile pixinsight)."""
    range_low: float | None = None
    """Values at or below this, in DN as they come to integration, never take part."""
    range_high: float | None = None
    """Values at or above this, in DN as they come to integration, never take part."""
    few: Annotated[int, Field(ge=3)] = 10
    """Pixels with fewer samples than this are judged by auto with the noise model: few cannot tell their own sigma."""
    gain_e_per_dn: Annotated[float, Field(gt=0)] | None = None
    """Electrons per DN, for the photon noise of bright pixels; left out, what the headers say."""
    read_noise_e: Annotated[float, Field(ge=0)] | None = None
    """Read noise in electrons, for the CCD noise model; left out, what the headers say."""
    scale_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Noise of the CCD noise model that grows with the signal, as a fraction of it: sensitivity, scintillation."""
    signal_fraction: Annotated[float, Field(ge=0, le=2)] | None = None
    """Part of a star's light by which seeing may change a pixel between frames; left out, as their FWHM tells."""
    floor: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Sigma of a pixel is never taken smaller than this part of the frames' noise: few samples may agree by chance."""
    min_keep_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """At least this part of a pixel's samples survives clipping, and never fewer than two."""
    max_passes: Annotated[int, Field(ge=1, le=1000)] = 20
    """Clipping is repeated until nothing more goes, at most this many times."""
    large_scale: LargeScaleRejection = LargeScaleRejection()

    @classmethod
    def for_master(cls, **settings) -> "Rejection":
        """Rejection among calibration frames: there are no trails."""
        return cls(large_scale=LargeScaleRejection(trails=False), **settings)

    @property
    def ranges(self) -> bool:
        """Whether values out of range are left out."""
        return self.range_low is not None or self.range_high is not None

    @property
    def is_ccd(self) -> bool:
        """Whether samples are judged by the model of a sensor."""
        return self.algorithm == "ccd" and self.profile == "best"

    @property
    def is_averaged(self) -> bool:
        """Whether the variance of samples is taken to go with their level, at one rate for all pixels."""
        return self.algorithm == "averaged-sigma" and self.profile == "best"

    @property
    def looks_larger(self) -> bool:
        """Whether what clipping rejects is looked at for larger structures."""
        larger = self.large_scale
        return self.algorithm != "none" and (larger.trails or larger.low or larger.high)

    def resolved(self) -> "Rejection":
        """These settings with auto, under the rules of another program, as that program's usual algorithm."""
        if self.profile == "best" or self.algorithm != "auto":
            return self
        return replace(self, algorithm="kappa-sigma" if self.profile == "deepskystacker" else "winsorized")

    def check(self, count: int) -> None:
        """Raise ParameterError where this algorithm cannot work on `count` frames, or is not what a profile offers."""
        if self.profile == "best" and self.algorithm in ("median-sigma", "kappa-sigma", "median-kappa-sigma"):
            raise ParameterError(
                f"rejection.algorithm={self.algorithm} is what another program does: add rejection.profile=siril "
                "(median-sigma) or deepskystacker (kappa-sigma, median-kappa-sigma), or take sigma or winsorized"
            )
        if self.profile != "best":
            codes = profiles.OFFERED[PROFILES[self.profile]]
            names = tuple(name for name, code in CODES.items() if code in codes and name not in ("noise", "auto"))
            if self.algorithm not in names:
                raise ParameterError(
                    f"rejection.profile={self.profile} has no {self.algorithm}; it has {', '.join(names)}"
                )
        if self.algorithm == "chauvenet" and count > MOST_CHAUVENET:
            raise ParameterError(
                f"rejection.algorithm=chauvenet takes hours on {count} frames, since it rejects one sample at a time; "
                f"with more than {MOST_CHAUVENET} take esd or winsorized"
            )
        needed = FEWEST.get(self.algorithm, 1)
        if self.algorithm == "minmax":
            needed = self.minmax_low + self.minmax_high + 1
        if count < needed:
            raise ParameterError(
                f"rejection.algorithm={self.algorithm} needs {needed} frames and there are {count}; "
                "take auto or noise, which judge by the noise of the frames, or none"
            )

    def limits(self) -> tuple[float, float]:
        """(low, high) as the kernel takes them for this algorithm."""
        return {
            "percentile": (self.percentile_low, self.percentile_high),
            "minmax": (float(self.minmax_low), float(self.minmax_high)),
            "linear-fit": (self.linear_fit_low, self.linear_fit_high),
        }.get(self.algorithm, (self.low, self.high))

    def fraction(self, fwhm_px) -> float:
        """`signal_fraction`, or what these FWHM of the frames tell.

        The core of a star goes with 1 / FWHM^2, its wings with FWHM^5 (those of a Moffat profile of beta 3.5).
        """
        if self.signal_fraction is not None:
            return self.signal_fraction
        if any(f is None or not f > 0 for f in fwhm_px):
            return UNKNOWN_SEEING
        usual = float(np.median(fwhm_px))
        change = max((usual / min(fwhm_px)) ** 2, (max(fwhm_px) / usual) ** 5) - 1
        return float(np.clip(change / min(self.low, self.high), UNKNOWN_SEEING, 1.0))

    def params(self) -> profiles.Params:
        """The numbers that reproductions of other programs take."""
        return profiles.Params(
            low=self.limits()[0],
            high=self.limits()[1],
            passes=self.max_passes,
            cutoff=self.winsorization_cutoff,
            fraction=self.esd_fraction,
            alpha=self.esd_significance,
            relaxation=self.esd_low_relaxation,
            limit=self.chauvenet_limit,
            read_noise=self.read_noise_e or 0.0,
            gain=self.gain_e_per_dn or 1.0,
            scale_noise=self.scale_noise,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            minmax_low=self.minmax_low,
            minmax_high=self.minmax_high,
            percentile_low=self.percentile_low,
            percentile_high=self.percentile_high,
        )
