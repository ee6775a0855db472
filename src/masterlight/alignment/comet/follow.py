"""CometAlignment: how a comet moves over the stars, and lights laid on its nucleus instead of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from masterlight.core.errors import ParameterError
from masterlight.core.knob import Unit
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from masterlight.alignment.comet.motion import Motion
    from masterlight.alignment.comet.nucleus import Seen

MARK = re.compile(r"(?P<file>.*\S)\s*:\s*(?P<x>[-+]?[\d.]+)\s*,\s*(?P<y>[-+]?[\d.]+)\s*")
NUMBER = re.compile(r"\s*[-+]?[\d.]+\s*")


def marks_of(given: Any) -> Any:
    """Marks as they are typed, FILE:X,Y, also where commas have cut them in two."""
    parts: list[str] = []
    for part in (given,) if isinstance(given, str) else given:
        if parts and isinstance(part, str) and NUMBER.fullmatch(part) and not MARK.fullmatch(parts[-1]):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    for part in parts:
        if isinstance(part, str) and not MARK.fullmatch(part):
            raise ValueError(f"'{part}' is no place in a light; write it as FILE:X,Y, such as light_001.fits:812,604")
    return tuple(parts)


Rate = Annotated[float, Field(ge=-100_000, le=100_000), Unit("px/h")]
RATES = "rate_x_px_h", "rate_y_px_h", "rate_arcsec_h"


@process
class CometAlignment:
    """Follows a comet over the stars: lights laid on its nucleus, stars and comet taken apart, and both in one image.

    It is asked for by where the nucleus is in two lights, or by one such place or none and how fast it moves.
    """

    positions: Annotated[tuple[str, ...], BeforeValidator(marks_of)] = ()
    """Where the nucleus is in two lights or more, the first and the last serve best: FILE:X,Y in pixels, of which the
    middle of the upper left one is 0,0. The time of each is the middle of its exposure."""
    rate_x_px_h: Rate = 0.0
    """How fast it moves over the stars to the right, pixels of the reference an hour, where no two places tell it."""
    rate_y_px_h: Rate = 0.0
    """The same downwards."""
    rate_arcsec_h: Annotated[float, Field(ge=0, le=1_000_000), Unit('"/h')] = 0.0
    """How fast it moves, arcseconds an hour, towards `angle_deg`, as an ephemeris tells it: for lights one of which
    tells where on the sky it lies."""
    angle_deg: Annotated[float, Field(ge=-360, le=360)] = 0.0
    """Where it moves to: position angle, degrees from north over east."""
    nucleus: Literal["auto", "given"] = "auto"
    """Whether the way is made of where the nucleus is measured in every light, auto where it can be, or as given."""
    way: Literal["auto", "line", "curve"] = "auto"
    """Whether it moves straight on; auto is a curve where the measured places speak for it."""
    reach_px: Annotated[float, Field(ge=1, le=200)] = 10.0
    """How far from where it is expected the nucleus is looked for."""
    rounds: Annotated[int, Field(ge=1, le=10)] = 1
    """How many times the comet is taken off the stars and the stars off the comet."""

    def __post_init__(self) -> None:
        given = [name for name in RATES if getattr(self, name)]
        if len(self.marks) > 1 and given:
            raise ParameterError(
                f"{given[0]} does nothing beside positions in {len(self.marks)} lights, which tell more"
            )
        if "rate_arcsec_h" in given and len(given) > 1:
            raise ParameterError(f"{given[-1]} does nothing beside {given[0]}: give one of both")
        if len(self.marks) == 1 and not given:
            words = "one light tells no motion: give the place in a second one, or a rate: CometAlignment.rate_x_px_h"
            raise ParameterError(f"positions in {words}")

    @property
    def marks(self) -> tuple[tuple[str, float, float], ...]:
        """The positions: (file, x, y)."""
        found = (MARK.fullmatch(part) for part in self.positions)
        return tuple((one["file"], float(one["x"]), float(one["y"])) for one in found if one)

    @property
    def rate_px_h(self) -> tuple[float, float] | None:
        """(x, y) as it is given in pixels; None where it is not."""
        return (self.rate_x_px_h, self.rate_y_px_h) if self.rate_x_px_h or self.rate_y_px_h else None

    @property
    def is_asked(self) -> bool:
        """Whether there is a comet to follow."""
        return bool(self.positions) or any(getattr(self, name) for name in RATES)

    def motion(self, times_s: Sequence[float], xy: ArrayLike, epoch_s: float, rate: ArrayLike | None = None) -> Motion:
        """How the comet moves by places (n, 2) px at times (n,) s, or by one and a rate (x, y) px an hour.

        epoch_s: when it is where it is shown.
        """
        return engine("alignment.comet.motion").Motion.through(times_s, xy, epoch_s, rate)

    def refined(self, motion: Motion, seen: Sequence[Seen]) -> Motion:
        """The motion by where the nucleus was measured; the given one where these places do not agree on one."""
        return engine("alignment.comet.motion").refined(motion, seen, self.way, self.reach_px)
