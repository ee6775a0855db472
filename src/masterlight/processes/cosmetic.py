"""CosmeticCorrection: repair the pixels that the master dark shows to be hot or dead."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from masterlight.errors import FrameError
from masterlight.frame import Frame
from masterlight.kernels.defects import departures, outside, replace_defects
from masterlight.kernels.stars import mesh
from masterlight.process import card, process

HALO = 3
"""Rows and columns that the repair needs around a box: the largest radius from which it takes neighbours."""


@dataclass(frozen=True, eq=False)
class Defects:
    """Which pixels of a sensor are defective: `mask` (rows, cols) uint8, 1 hot, 2 cold; and the same as a list."""

    mask: np.ndarray
    row_start: np.ndarray
    columns: np.ndarray
    source: str = ""

    @classmethod
    def of(cls, mask: np.ndarray, source: str = "") -> "Defects":
        """Defects from any array that is not zero where a pixel is defective."""
        mask = np.ascontiguousarray(mask, np.uint8)
        rows, columns = np.nonzero(mask)
        row_start = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
        return cls(mask, row_start.astype(np.int64), columns.astype(np.int64), source)

    def __len__(self):
        return self.columns.size

    @property
    def hot(self) -> int:
        return int(np.count_nonzero(self.mask == 1))

    @property
    def cold(self) -> int:
        return int(np.count_nonzero(self.mask == 2))


@process
class CosmeticCorrection:
    """Replace defective pixels by the median of their nearest good neighbours."""

    hot: Annotated[float, Field(gt=0)] | None = 8.0
    """Pixels of the master dark this many sigma above their surroundings are hot; none are when left out."""
    cold: Annotated[float, Field(gt=0)] | None = 8.0
    """Pixels of the master dark this many sigma below their surroundings are cold; none are when left out."""
    max_fraction: Annotated[float, Field(gt=0, le=1)] = 0.02
    """More defects than this fraction of the sensor mean that the threshold is wrong: the highest ones are taken."""

    def defects(self, dark: Frame) -> Defects:
        """Find the defects in a master dark: pixels that depart from their surroundings, in robust sigma.

        Candidates depart from the smooth background of the whole frame; those that depart from the median of
        their own 7 x 7 square too are defects. So amplifier glow is not one.
        """
        image = np.asarray(dark, np.float32)
        if image.ndim != 2:
            raise FrameError(dark.source, "a master dark of one plane is needed to find defective pixels")
        level, noise = mesh(image)
        sigma = float(np.median(noise)) or float(np.nanstd(image)) or 1.0
        high, low = (self.hot or np.inf), -(self.cold or np.inf)
        y, x = outside(image, level, low * sigma, high * sigma)
        z = departures(image, y, x, HALO) / sigma
        kinds = np.where(z > high, 1, np.where((z < low) | ~np.isfinite(z), 2, 0))
        limit = max(1, int(self.max_fraction * image.size))
        if np.count_nonzero(kinds) > limit:
            strength = np.where(kinds > 0, np.nan_to_num(np.abs(z), nan=np.inf), 0)
            kinds[np.argsort(-strength, kind="stable")[limit:]] = 0
        mask = np.zeros(image.shape, np.uint8)
        mask[y, x] = kinds
        return Defects.of(mask, dark.source)

    def __call__(self, frame: Frame, defects: Defects) -> Frame:
        """A repaired view of `frame`; nothing is computed until it is indexed."""
        if defects.mask.shape != frame.shape[-2:]:
            raise FrameError(
                frame.source,
                f"is {frame.shape[-1]} x {frame.shape[-2]} pixels but the defects of {defects.source} are for "
                f"{defects.mask.shape[1]} x {defects.mask.shape[0]}",
            )
        if not len(defects):
            return frame
        done = card(self, defects=len(defects), dark=defects.source)
        return Corrected(
            source=frame.source, meta=frame.meta, cards=(*frame.cards, done), uncorrected=frame, defects=defects
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrected(Frame):
    """A view of a frame with its defective pixels repaired."""

    uncorrected: Frame
    defects: Defects

    @property
    def header(self):
        return self.uncorrected.header

    def pixels(self, y0, y1, x0, x1):
        rows, cols = self.shape[-2:]
        top, bottom = max(0, y0 - HALO), min(rows, y1 + HALO)
        left, right = max(0, x0 - HALO), min(cols, x1 + HALO)
        image = self.uncorrected.pixels(top, bottom, left, right)
        image = image if image.flags.owndata else image.copy()
        self.repair(image, top, left, (y0, y1, x0, x1))
        return image[..., y0 - top : y1 - top, x0 - left : x1 - left]

    def pixels_into(self, out, y0, x0):
        if out.shape[-2:] != self.shape[-2:]:
            out[...] = self.pixels(y0, y0 + out.shape[-2], x0, x0 + out.shape[-1])
            return
        self.uncorrected.pixels_into(out, y0, x0)
        self.repair(out, 0, 0, (0, out.shape[-2], 0, out.shape[-1]))

    def repair(self, image, y0, x0, wanted):
        """Replace the defects of the box `wanted` in an image whose first pixel is (y0, x0), in place."""
        d = self.defects
        for plane in image.reshape(-1, *image.shape[-2:]):
            replace_defects(plane, y0, x0, wanted, d.row_start, d.columns, d.mask, HALO)
