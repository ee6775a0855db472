"""DefectMap: repair the pixels that a map image marks, such as whole rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from masterlight.core.process import engine, process

if TYPE_CHECKING:
    from masterlight.core.frame import Frame


@process
class DefectMap:
    """Replace the pixels that are 0 in a map by a mean, median, minimum or maximum of their good neighbours."""

    operation: Literal["median", "mean", "gaussian", "minimum", "maximum"] = "median"
    """What is made of the good pixels of the structure; mean and gaussian weigh them with the values of the map."""
    structure: Literal["square", "circular", "horizontal", "vertical", "auto"] = "square"
    """Where good pixels are looked for: around a defect, beside it, above and below; auto looks across the longer side
    of each defect, and around those that are not elongated."""
    cfa: Literal["auto", "yes", "no"] = "auto"
    """Whether only pixels of the same colour filter are neighbours: as the header tells, always, or never."""

    def __call__(self, frame: Frame, map: Frame) -> Frame:
        """A repaired view of `frame`; nothing is computed until it is indexed.

        map: an image of the same size, 0 (or NaN) where a pixel is defective, above it the weight of a good one.
        """
        return engine("defects.repaired").fill_holes(self, frame, map)
