"""What local normalization knows: of a reference, of how a frame becomes like it; and the frame seen so."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from masterlight.core.frame import View
from masterlight.integration.kernels import surface
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import Fluxes


@dataclass(frozen=True, eq=False)
class LocalReference:
    """What `LocalNormalization` keeps of a reference frame: samples of its sky without stars, and its stars."""

    source: str
    shape: tuple[int, ...]
    cells: tuple[int, int]
    """Cells of the grid, down and across."""
    tops: tuple[int, ...]
    """First row of each strip of samples, one strip for each row of cells."""
    strips: np.ndarray
    """float32 (strips, planes, h, cols) DN, NaN where there are stars or nothing."""
    stars: StarList | None = None
    """Those that tell the scale; None when it is not wanted."""
    fluxes: Fluxes | None = None


@dataclass(frozen=True, eq=False)
class LocalModel:
    """How a registered frame becomes like its reference: x -> s(x, y) * x + A0(x, y), one s and A0 for each plane."""

    source: str
    scale: tuple[float, ...]
    """Factor of each plane; its mean over the field where it varies."""
    scale_error: tuple[float, ...]
    stars: tuple[int, ...]
    """Stars in common that tell the scale of each plane."""
    pitch_px: tuple[float, float]
    """Height and width of a cell of the sky's grid."""
    offset: np.ndarray
    """Coefficients of A0, (planes, rows of cells + 3, columns of cells + 3) float64, DN."""
    gain: tuple[np.ndarray, ...]
    """Coefficients of s(x, y) / scale of each plane; none where it is 1 everywhere."""
    notes: tuple[str, ...] = ()
    before: bool = False
    """Whether it is the `Terms` of the frame that bring it to the scale and level of the reference, afterwards."""

    def apply(self, out: np.ndarray, y0: int, x0: int) -> None:
        """Normalize in place a box (h, w) or (3, h, w) float32 of the frame whose first pixel is (y0, x0).

        NaN stays NaN; any box gives bit-identical pixels to the whole.
        """
        planes = out if out.ndim == 3 else out[None]
        cells = np.array(self.offset.shape[1:]) - 3
        for plane, scale, gain, offset in zip(planes, self.scale, self.gain, self.offset, strict=True):
            pitch = self.pitch_px * cells / (np.array(gain.shape) - 3)
            surface.apply_surface(plane, y0, x0, scale, gain, *pitch, offset, *self.pitch_px)


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalized(View):
    """A frame with the sky and the scale of a reference, box by box, when it is indexed."""

    model: LocalModel

    @property
    def header(self) -> dict[str, Any]:
        """The header with its noise as the scale leaves it."""
        header = keywords_of(self.below)
        for plane, scale in enumerate(self.model.scale):
            for name in (f"NOISE{plane:02d}", *(("NOISE",) if plane == 0 else ())):
                if isinstance(header.get(name), int | float):
                    header[name] = abs(scale) * header[name]
        return header

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        self.below.pixels_into(out, y0, x0)
        self.model.apply(out, y0, x0)
