"""Borders of registered frames that other programs filled with 0: nothing was there, and nothing is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame, View, naming

BAND_PIXELS = 1 << 22
"""Pixels that are in memory at once while borders are looked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Borderless(View):
    """A frame whose empty border is missing: NaN."""

    edges: np.ndarray
    """(rows, 2) the first pixel of each row that is not border, and the first that is again."""
    share: float
    """Part of the frame that is border."""

    @classmethod
    def of(cls, frame: Frame) -> Frame:
        """The frame without a border of 0; the frame itself where none of its corners is 0, or nothing else.

        Where the outline of a registered frame is convex its border is, in each row, what comes before the first pixel
        and after the last that is not 0 in every plane.
        """
        rows, cols = frame.shape[-2:]
        with naming(frame):
            corners = [frame.pixels(y, y + 1, x, x + 1) for y in (0, rows - 1) for x in (0, cols - 1)]
            if np.all(corners):
                return frame
            edges, step = np.empty((rows, 2), int), max(1, BAND_PIXELS // cols)
            for y in range(0, rows, step):
                band = frame.pixels(y, min(y + step, rows), 0, cols)
                light = (band != 0) & ~np.isnan(band)
                light = light.any(axis=0) if light.ndim == 3 else light
                some = light.any(axis=1)
                edges[y : y + step, 0] = np.where(some, light.argmax(axis=1), cols)
                edges[y : y + step, 1] = np.where(some, cols - light[:, ::-1].argmax(axis=1), cols)
        share = 1 - float((edges[:, 1] - edges[:, 0]).sum()) / (rows * cols)
        if not 0 < share < 1:
            return frame
        known = {"source": frame.source, "meta": frame.meta, "cards": frame.cards, "below": frame}
        return cls(**known, edges=edges, share=share)

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        self.below.pixels_into(out, y0, x0)
        height, width = out.shape[-2:]
        x, (begin, end) = np.arange(x0, x0 + width), self.edges[y0 : y0 + height].T
        out[..., (x < begin[:, None]) | (x >= end[:, None])] = np.nan


def without_border(frame: Frame) -> Frame:
    """A frame without its border of 0; as it is where it cannot be read, which is told when it is measured."""
    try:
        return Borderless.of(frame)
    except FrameError:
        return frame


def borders_told(frames: list[Frame]) -> str:
    """A sentence about frames that have such a border; empty for none."""
    shares = [frame.share for frame in frames if isinstance(frame, Borderless)]
    if not shares:
        return ""
    words = f"{len(shares)} of {len(frames)} frames have borders of 0, up to {max(shares):.1%} of a frame"
    return f"{words}: other programs write that where nothing is, and it is taken as missing"
