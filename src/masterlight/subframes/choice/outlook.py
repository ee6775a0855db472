"""The forecast of a table of measured frames: what the present choice makes of each target and filter, and what else
could be had of the same frames. Exposures and nights belong together here, as they do when they are integrated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.subframes.choice.forecast import (
    Comparable,
    Forecast,
    Prices,
    choices_of,
    comparable,
    frontier_of,
    prices_of,
)
from masterlight.subframes.choice.groups import groups_of, spelling
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes

KINDS: dict[str, Callable[[Comparable, float], np.ndarray]] = {
    "noise": lambda frames, give: frames.noise(),
    "point": lambda frames, give: frames.point(),
    "sharp": lambda frames, give: frames.sharp(give / 100),
}
"""Weights of `ImageIntegration.weights` that are made of all frames together, and how; give: percent of depth."""
USUAL_GIVE = 1.0
Kernel = Callable[[np.ndarray], np.ndarray] | None
"""By which frames are laid on each other: its weight at so many pixels; None where they are not interpolated."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """What the frames of one target and filter can become."""

    name: str
    """Target and filter, as they are called."""
    night: Subframes
    """These frames: all that could be measured."""
    frames: Comparable
    reference: int
    """The frame on whose scale and pixels the figures are."""
    give: float = USUAL_GIVE
    """Depth that weights sharp give away, percent."""

    @cached_property
    def weights(self) -> np.ndarray:
        """(N,) what each frame counts for by now, approved or not; 1 where no weights were asked for."""
        weights = self.night.weights
        return np.nan_to_num(weights) if np.isfinite(weights).any() else np.ones(len(self.night))

    @cached_property
    def approved(self) -> np.ndarray:
        """(N,) bool."""
        return np.array([frame.approved for frame in self.night], bool)

    @cached_property
    def choices(self) -> dict[str, Forecast]:
        """The present choice, and equal, noise, point and sharp weights of all frames; {} where nothing can be told."""
        return choices_of(self.frames, self.weights * self.approved, self.give / 100)

    @cached_property
    def frontier(self) -> list[Forecast]:
        """The least FWHM for each depth that is given away."""
        return frontier_of(self.frames)

    @cached_property
    def prices(self) -> Prices:
        """What each frame brings; see `prices_of`."""
        return prices_of(self.frames, self.weights, self.approved)

    def unit(self, kind: str) -> float:
        """What px or DN are multiplied by to be in the units of the table."""
        return self.night.units.factor(kind, self.night[self.reference])


def outlooks(night: Subframes, give: float = USUAL_GIVE, kernel: Kernel = None) -> list[Outlook]:
    """The forecast of each target and filter of a table.

    Frames are compared by the light of the stars that they share (`measurement.flux_ratio`), which whoever made the
    table has told; those of which it is unknown are inconclusive, with the reason. Of a single frame nothing is asked.
    """
    return [outlook_of(name, part, give, kernel) for name, part in parts_of(night).items() if len(part)]


def with_prices(night: Subframes, told: Sequence[Outlook]) -> Subframes:
    """The table with what each frame brings as its column Price: depth that it adds to those approved, in percent."""
    prices = {
        frame.source: float(100 * price)
        for outlook in told
        for frame, price in zip(outlook.night, outlook.prices.depth, strict=True)
    }
    return night.with_frames(
        replace(frame, given={**frame.given, "Price": prices.get(frame.source, np.nan)}) for frame in night
    )


def parts_of(night: Subframes) -> dict[str, Subframes]:
    """The frames that were measured by target, filter and kind of colour, whatever their exposure."""
    names: dict[tuple[str, ...], str] = {}
    parts: dict[str, list[Subframe]] = {}
    for frame, group in zip(night, groups_of(night), strict=True):
        name = names.setdefault(spelling(group), group.scene)
        parts.setdefault(name, []).append(frame)
    return {name: night.with_frames(f for f in frames if f.measurement) for name, frames in parts.items()}


def outlook_of(name: str, night: Subframes, give: float, kernel: Kernel) -> Outlook:
    """The forecast of frames of one target and filter."""
    measured = [frame.measurement for frame in night if frame.measurement]
    ratios = [1.0] if len(measured) == 1 else [m.flux_ratio for m in measured]
    errors = [getattr(m, "flux_ratio_error", None) or 0.0 for m in measured]
    off = [np.inf if ratio is None else abs(ratio - 1) + error for ratio, error in zip(ratios, errors, strict=True)]
    reference = int(np.argmin(off))
    theta = [np.nan if m.theta_rad is None else m.theta_rad for m in measured]
    how = {"pixels": pixels_of(night, reference), "theta_rad": theta, "kernel": kernel, "reference": reference}
    return Outlook(name, night, comparable(measured, ratios, errors, **how), reference, give)


def pixels_of(night: Subframes, reference: int) -> np.ndarray:
    """(N,) the side of the pixels of each frame over that of the reference's: by what they see, else by binning."""
    scales = np.array([frame.scale_arcsec or np.nan for frame in night])
    sides = np.array([float(np.prod(frame.meta.binning)) ** 0.5 for frame in night])
    return np.where(np.isfinite(scales / scales[reference]), scales / scales[reference], sides / sides[reference])


def weighed_together(night: Subframes, kind: str, give: float = USUAL_GIVE) -> Subframes:
    """A table with the weights of `ImageIntegration.weights` point, noise or sharp, over the approved frames of each
    target and filter; approved ones that cannot be compared have none, and are no longer approved unless by hand.
    Those that are left out have the weight by which they would count beside the approved."""
    if kind not in KINDS:
        raise ParameterError(f"weights= {kind}: frames are weighed together by {', '.join(KINDS)}")
    told: dict[str, Subframe] = {}
    for outlook in outlooks(night, give):
        frames, use = outlook.frames, outlook.approved
        weights, own = np.full(len(frames), np.nan), frames[use]
        weights[use] = KINDS[kind](own, give) if own.told.any() else float(len(own) == 1)  # it has none beside it
        for frame, weight in zip(outlook.night, frames.alike(weights, kind).tolist(), strict=True):
            why = frames.inconclusive.get(frame.source, f"weights {kind} give it nothing")
            told[frame.source] = with_weight(frame, weight, why)
    return night.with_frames(told.get(frame.source, replace(frame, weight=None)) for frame in night)


def with_weight(frame: Subframe, weight: float, why: str) -> Subframe:
    """A frame with a weight, or without where it is 0, and why it is no longer approved."""
    if weight > 0 or not frame.approved:
        return replace(frame, weight=weight or None)
    if frame.locked:
        return replace(frame, weight=None, reasons=(*frame.reasons, f"no weight: {why}"))
    return replace(frame, weight=None, approved=False, reasons=(*frame.reasons, why))
