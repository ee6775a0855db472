"""A look at calibration frames before they are integrated: level, scatter and noise from a few of their rows."""

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame
from masterlight.core.scale import madn
from masterlight.subframes.measure import Measurement


def sampled(view: Frame) -> np.ndarray:
    """Pixels from 24 rows of a frame, spread over it, five thousand from each at most: (24, n) float32."""
    rows, cols = view.shape[-2:]
    at = np.linspace(0, rows - 1, min(24, rows)).astype(int)
    return np.concatenate([view.pixels(y, y + 1, 0, cols)[:, :: -(-cols // 5000)] for y in at])


def glance(view: Frame, kind: str, sample, before, saturation_dn: float | None) -> Measurement:
    """Level, scatter and noise of a calibration frame from a sample of it; an empty or saturated one raises FrameError.

    The noise is that of the difference from the sample `before`, brought to the same level, since the pattern of the
    sensor is in both; the scatter within the frame where there is none before.
    """
    finite = sample[np.isfinite(sample)]
    if finite.size < sample.size / 2:
        raise FrameError(view.source, "more than half of its pixels are missing (NaN); leave it out")
    if not np.any(finite != finite[0]):
        raise FrameError(
            view.source, f"every pixel is {finite[0]:g} DN: the exposure or the download failed; leave it out"
        )
    level = float(np.median(finite))
    if kind == "flat" and saturation_dn is not None and level > saturation_dn:
        raise FrameError(
            view.source, f"is saturated (median {level:.0f} DN): such a flat corrects nothing; expose shorter"
        )
    if kind == "flat" and level <= 0:
        raise FrameError(view.source, f"has a level of {level:.1f} DN after calibration: it saw no light")
    scatter = madn(finite)
    noise = scatter
    if before is not None and before.shape == sample.shape:
        ratio = level / np.median(before[np.isfinite(before)]) if kind == "flat" else 1.0
        noise = madn(sample - ratio * before) / np.sqrt(1 + ratio**2) or scatter
    return Measurement(
        source=view.source, location_dn=level, scale_dn=scatter, noise_dn=float(noise), exposure_s=view.meta.exposure_s
    )
