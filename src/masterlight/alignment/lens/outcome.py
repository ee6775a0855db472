"""What came of looking for the lens that all frames of a set share."""

from __future__ import annotations

from dataclasses import dataclass

from masterlight.alignment.bend import Lens
from masterlight.alignment.lens.residuals import ResidualMap
from masterlight.alignment.transform import Transform

FEWEST_PAIRS = 12
"""Stars that a frame must share with the reference to tell of the lens."""


@dataclass(frozen=True, eq=False)
class SharedLens:
    """What came of it: the lens, whether it is believed, and where each frame lies."""

    transforms: tuple[Transform, ...]
    """Of each frame that was given, in their order: those that were given where no lens is believed."""
    lens: Lens | None
    """The lens, also where it is not believed; None where too few frames can tell it."""
    believed: bool = False
    apart: bool = False
    """Whether it would be believed, had it laid all frames: some that the reference does not show were left."""
    frames: int = 0
    stars: int = 0
    """Of so many it is made."""
    steps: int = 0
    """After so many the adjustment moved stars by `moved_px` (rms) and no more."""
    moved_px: float = float("nan")
    rms_px: float = float("nan")
    """Distance of stars from their places, both axes, weighted as the adjustment weighs them."""
    before_px: float = float("nan")
    """The same without a lens."""
    unseen: float = float("nan")
    """Squares of the scatter of stars that it was not made of, over those without a lens."""
    gain_px: float = float("nan")
    """How far it moves that corner of a frame which it moves most, against the best without a lens."""

    left: ResidualMap | None = None
    """What lens and poses leave in parts of the sensor; None where frames were not laid anew."""

    @property
    def corner_px(self) -> float:
        """How far it moves a star half a diagonal away from its axis."""
        return 0.0 if self.lens is None else self.lens.radius_px * sum(self.lens.radial)

    def __str__(self) -> str:
        """One sentence for the report."""
        if self.lens is None:
            return f"no lens is fitted: too few frames share {FEWEST_PAIRS} stars with the reference"
        made = f"{self.frames} frames and {self.stars} stars, {self.steps} steps, the last moved stars by"
        made += f" {self.moved_px:.4f} px"
        scatter = f"stars scatter by {self.rms_px:.3f} px, {self.before_px:.3f} px without it"
        if self.believed:
            x, y = self.lens.centre_px
            bent = f"it moves stars by {self.corner_px:+.1f} px in the corners (axis at {x:.0f}, {y:.0f})"
            return f"one lens for all frames: {bent}; {scatter} ({made})"
        if self.apart:
            return f"no lens is used, since it would not lay all frames beyond the reference: {scatter} ({made})"
        return f"no lens is needed: {scatter} ({made})"
