"""`Trimmed`: a part of a frame, its header and colour pattern told from its own first pixel on."""

from dataclasses import dataclass
from math import isqrt

import numpy as np

from masterlight.core.frame import Frame, View
from masterlight.core.headers.geometry import regrid, shifted_pattern

Box = tuple[int, int, int, int]
"""Bounds (y0, y1, x0, x1) in pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trimmed(View):
    """A view of a part of a frame."""

    top: int
    left: int

    @classmethod
    def of(cls, frame: Frame, window: Box) -> Frame:
        """The part of a frame in these bounds; the frame itself when they are all of it."""
        y0, y1, x0, x1 = window
        if window == (0, frame.shape[-2], 0, frame.shape[-1]):
            return frame
        black, p = frame.meta.black_dn, isqrt(len(frame.meta.black_dn or ()))
        meta = frame.meta.with_(
            shape=(*frame.shape[:-2], y1 - y0, x1 - x0),
            pattern=shifted_pattern(frame.meta.pattern, y0, x0),
            black_dn=black and tuple(np.roll(np.reshape(black, (p, p)), (-y0, -x0), (0, 1)).ravel().tolist()),
            overscan_px=(),
            data_px=None,
        )
        return cls(source=frame.source, meta=meta, cards=frame.cards, below=frame, top=y0, left=x0)

    @property
    def header(self):
        return regrid(self.below.header, self.top, self.left)

    def pixels(self, y0, y1, x0, x1):
        return self.below.pixels(y0 + self.top, y1 + self.top, x0 + self.left, x1 + self.left)

    def pixels_into(self, out, y0, x0):
        self.below.pixels_into(out, y0 + self.top, x0 + self.left)

    def stored(self, y0, y1, x0, x1):
        return self.below.stored(y0 + self.top, y1 + self.top, x0 + self.left, x1 + self.left)

    def defective(self, y0, y1, x0, x1):
        return self.below.defective(y0 + self.top, y1 + self.top, x0 + self.left, x1 + self.left)
