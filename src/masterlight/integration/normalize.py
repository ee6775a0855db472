"""LocalNormalization: a registered frame brought to the sky and the scale of a reference, place by place."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from masterlight.core.errors import Rejected
from masterlight.core.knob import Unit, When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from masterlight.core.frame import Frame
    from masterlight.integration.local.model import LocalModel, LocalReference, Normalized
    from masterlight.subframes.measurement import StarList


@process
class LocalNormalization:
    """Bring a registered frame to the sky and the scale of a reference, place by place."""

    scale_px: Annotated[int, Field(ge=64, le=8192)] = 256
    """Distance of the points at which the skies are compared, pixels: gradients wider than about six of them are taken
    away, what is smaller stays as it is. Smaller frames than four of them get four points along a side."""
    no_scale: bool = False
    """Leave the scale as it is and bring only the sky to that of the reference."""
    local_scale: Annotated[bool, When(no_scale=False)] = False
    """Let the scale vary over the field as the stars tell, for thin cloud; where few stars tell it, it stays nearer to
    the one number of the whole frame."""
    min_stars: Annotated[int, Field(ge=3, le=10_000), Unit("stars"), When(no_scale=False)] = 8
    """Fewer stars in common with the reference tell no scale: by itself the frame is rejected. An integration takes the
    scale of the stars that were matched before, or of the nearest frame."""
    reference_rejection: Annotated[float, Field(gt=0, le=50), Unit("sigma")] = 4.0
    """Pixels of the reference this many sigma above their surroundings are stars, not sky."""
    target_rejection: Annotated[float, Field(gt=1, le=50), Unit("sigma")] = 4.7
    """Pixels that differ between frame and reference by this many sigma from their surroundings, such as trails, have
    no say in the sky; nearer ones the less, the farther off they are."""
    sampling_px: Annotated[int, Field(ge=4, le=512)] = 16
    """Rows that are read of each row of points: more of them tell the sky better and take longer."""

    def reference(self, frame: "Frame", stars: "StarList | None" = None) -> "LocalReference":
        """Look at the frame that others are to resemble; `stars` are its own, found in it when not given.

        FrameError when it has no stars and the scale is wanted, or no sky.
        """
        return engine("integration.local.fit").look_at_reference(self, frame, stars)

    def model(
        self, reference: "LocalReference", frame: "Frame", scale: tuple[float, ...] | None = None
    ) -> "LocalModel | Rejected":
        """How `frame`, registered to the reference, becomes like it; `Rejected` when too little is in common.

        scale: that of each plane, for a frame with fewer than `min_stars`; None, it is rejected.
        """
        return engine("integration.local.fit").model_of(self, reference, frame, scale)

    def __call__(self, frame: "Frame", reference: "LocalReference") -> "Normalized | Rejected":
        """The frame as it looks with the sky and scale of the reference: a view; the frame is sampled now, once."""
        return engine("integration.local.fit").normalized_view(self, frame, reference)
