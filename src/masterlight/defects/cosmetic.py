"""CosmeticCorrection: repair the pixels that a master dark, a list or the frame itself shows to be defective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from masterlight.core.knob import Unit, When
from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from masterlight.core.frame import Frame
    from masterlight.defects.lists import Defects

Sigma = Annotated[float, Field(gt=0, le=1e6), Unit("sigma")]
Level = Annotated[float, Field(ge=-1e9, le=1e9)]
Deviations = Annotated[float, Field(ge=0, le=50), Unit("average deviations")]
Count = Annotated[int, Field(ge=0, le=1_000_000_000), Unit("pixels")]
HOT_BY_SIGMA = When(hot=True, hot_dn=None, hot_count=None)
COLD_BY_SIGMA = When(cold=True, cold_dn=None, cold_count=None)


@process
class CosmeticCorrection:
    """Replace defective pixels by the median of their nearest good neighbours of the same colour."""

    hot: Annotated[Sigma | None, When(hot_dn=None, hot_count=None)] = 8.0
    """Pixels of the master dark this many sigma above their surroundings are hot; none are when left out."""
    cold: Annotated[Sigma | None, When(cold_dn=None, cold_count=None)] = 8.0
    """Pixels of the master dark this many sigma below their surroundings are cold; none are when left out."""
    hot_dn: Annotated[Level | None, When(hot_count=None)] = None
    """Pixels of the master dark at or above this level, DN, are hot; takes the place of `hot`."""
    cold_dn: Annotated[Level | None, When(cold_count=None)] = None
    """Pixels of the master dark at or below this level, DN, are cold; takes the place of `cold`."""
    hot_count: Count | None = None
    """So many of the brightest pixels of the master dark are hot, and their equals; takes the place of `hot`."""
    cold_count: Count | None = None
    """So many of the faintest pixels of the master dark are cold, and their equals; takes the place of `cold`."""
    min_excess_dn: Annotated[float, Field(ge=0, le=1e9), HOT_BY_SIGMA, COLD_BY_SIGMA] = 0.0
    """Pixels nearer than this to their surroundings in the master dark, DN, are not defects by `hot` or `cold`."""
    lines: Sigma | None = 7.0
    """Columns and rows that stand so many sigma off their neighbours at the same place of the sensor in three lights or
    more, or of one or two and a master, are defective, whole or in part; none are when left out."""
    max_fraction: Annotated[float, Field(gt=0, le=1)] = 0.02
    """More defects than this fraction of the sensor mean that the threshold is wrong: the highest ones are taken."""
    hot_auto: Deviations | None = None
    """Pixels of the frame itself that stand above their neighbours by this many average deviations are hot; off when
    left out. For single sharp pixels that no dark knows; 6 or more keeps good pixels and stars."""
    cold_auto: Deviations | None = None
    """Pixels of the frame itself that lie below their neighbours by this many average deviations are cold; off when
    left out."""
    amount: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the new value in a repaired pixel: 1 replaces it, 0 leaves it as it was."""
    cfa: Literal["auto", "yes", "no"] = "auto"
    """Whether only pixels of the same colour filter are neighbours: as the header tells, always, or never."""

    def defects(self, dark: Frame) -> Defects:
        """Find the defects in a master dark: pixels that depart from their surroundings, or the ends of its range.

        In sigma, candidates depart from the smooth background of the whole frame, and those that depart from the median
        of their own 7 x 7 square too are defects: amplifier glow is not one. Every place of a colour filter pattern
        is looked at as an image of its own. Missing pixels (NaN) are defective. The notes of the result tell when
        more than `max_fraction` were found.
        """
        return engine("defects.outliers").defects_of_dark(self, dark)

    def fixed_lines(self, lights: Sequence[Frame], masters: Sequence[Frame] = ()) -> Defects | None:
        """Find the columns and rows, or pieces of them, that are defective in lights: calibrated, not registered.

        What stands at the same place of the sensor in three of them or more, one or two pixels wide and off its
        neighbours by `lines` sigma, or far noisier than others, is no light of the sky; about a twentieth of their
        pixels is read. The notes tell where too many stand out. Of one or two lights those are that stand out of one of
        the masters, too: bias, dark or flat. None without any.
        """
        return engine("defects.fixed").fixed_lines(self, lights, masters)

    def __call__(self, frame: Frame, defects: Defects | None = None) -> Frame:
        """A repaired view of `frame`; nothing is computed until it is indexed.

        defects: known ones, of a master dark or a list; the frame may show another region of the same sensor. Without
        any, and with `hot_auto` and `cold_auto` off, the frame itself is given back.
        """
        return engine("defects.repaired").correct(self, frame, defects)
