"""What tests of a whole calibration share: masters of a simulated night, lights without noise, what must come out."""

from functools import cache

import numpy as np
from sky import Sky

from masterlight import io
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.masters import Masters
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.integration.integrate import ImageIntegration

INTEGRATION = {
    "bias": ImageIntegration.for_bias(),
    "dark": ImageIntegration.for_dark(),
    "flat": ImageIntegration.for_flat(),
    "flatdark": ImageIntegration.for_dark(),
}


def master(truth: Sky, kind: str, calibration: ImageCalibration, **masters: Frame) -> Frame:
    """All frames of a kind, calibrated by `masters` and integrated, in memory."""
    bound = calibration.masters(**masters)
    views = [calibration(io.read(path), bound) for path in truth.paths(kind)]
    *_, done = INTEGRATION[kind](views)
    meta = views[0].meta.with_(is_master=True, frames=len(views), contains_bias=not masters)
    return ArrayFrame.of(done.result.image, f"master {kind}", meta)


@cache
def masters_of(truth: Sky, calibration: ImageCalibration) -> Masters:
    """The masters of a night of `sky.written`: bias, dark that holds it, flat without it, by flat-darks if possible."""
    bias = master(truth, "bias", calibration)
    under = {"dark": master(truth, "flatdark", calibration)} if truth.paths("flatdark") else {"bias": bias}
    flat = master(truth, "flat", calibration, **under)
    return calibration.masters(bias=bias, dark=master(truth, "dark", calibration), flat=flat)


def noiseless(truth: Sky, index: int = 0, scene_dn=None) -> Frame:
    """A raw light as a camera without noise and without rounding would write it; no cosmic ray, no satellite."""
    night, camera = truth.night, truth.observatory.camera
    scene_dn = truth.mosaic_dn(index) if scene_dn is None else scene_dn
    seen = scene_dn * truth.flat(truth.pointings[index].filter) + truth.dark_dn()
    raw = np.broadcast_to(camera.bias_level_dn, night.frame_shape) + np.float32(camera.bias_drift_dn("light", index))
    raw[:, : night.cols] += seen
    frame = io.read(truth.paths("light")[index])
    return ArrayFrame.of(np.minimum(raw, night.saturation_dn), f"noiseless light {index}", frame.meta)


def expected(truth: Sky, index: int = 0, scene_dn=None) -> np.ndarray:
    """What calibration must make of a light: its scene, times the mean of each colour's flat, 5 % off at both ends."""
    camera = truth.observatory.camera
    scene_dn = truth.mosaic_dn(index) if scene_dn is None else scene_dn
    flat = truth.flat(truth.pointings[index].filter)
    out = np.array(np.broadcast_to(scene_dn, flat.shape), np.float64)
    colour = camera.colour_at(*np.indices(flat.shape))
    for k in range(len(camera.letters)):
        values = np.sort(flat[colour == k])
        cut = int(0.05 * values.size)
        out[colour == k] *= values[cut : values.size - cut].mean(dtype=np.float64)
    return out
