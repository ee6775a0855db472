"""Calibration of a 24 Mpx 16-bit frame against numpy and ccdproc, one thread: `python -m bench.bench_calibrate`."""

from dataclasses import dataclass, replace

import numpy as np

from bench.bench_warp import best
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.overscan import Overscan
from masterlight.core.decode import decode_int16
from masterlight.core.frame import ArrayFrame, Frame, Meta, Stored
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.defects.lists import Defects

SHAPE = (4000, 6000)
STRIP_COLS = 60
META = Meta(kind="light", exposure_s=150.0, saturation_dn=65535.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw(Frame):
    """A raw frame as a file holds it, big-endian 16 bit, in memory: pages warm."""

    values: np.ndarray

    def stored(self, y0, y1, x0, x1):
        return Stored(np.ascontiguousarray(self.values[y0:y1, x0:x1]), 32768.0, 1.0, True)

    def pixels(self, y0, y1, x0, x1):
        out = np.empty((y1 - y0, x1 - x0), np.float32)
        decode_int16(self.stored(y0, y1, x0, x1).array, np.float32(32768), np.float32(1), True, out)
        return out


def sensor():
    """A raw light with a strip of overscan, and its masters."""
    rng = np.random.default_rng(1)
    bias = rng.normal(1000, 3, SHAPE).astype(np.float32)
    current = np.full(SHAPE, 5, np.float32)
    spots = rng.random(SHAPE) < 0.001
    current[spots] += rng.exponential(500, np.count_nonzero(spots)).astype(np.float32) + 20
    flat = rng.normal(25000, 100, SHAPE).astype(np.float32)
    light = np.full((SHAPE[0], SHAPE[1] + STRIP_COLS), 1000, np.float32)
    light[:, : SHAPE[1]] = bias + current / 2 + 300
    light += rng.normal(0, 8, light.shape).astype(np.float32)
    stored = (np.round(np.clip(light, 0, 65535)) - 32768).astype(np.int16).byteswap()
    told = {"contains_bias": True, "exposure_s": 300.0}
    return (
        stored,
        {
            "bias": ArrayFrame.of(bias, "bias", META.with_(kind="bias", **told)),
            "dark": ArrayFrame.of(bias + current, "dark", META.with_(kind="dark", **told)),
            "flat": ArrayFrame.of(flat, "flat", META.with_(kind="flat", contains_bias=False)),
        },
        Defects.of(spots, "dark"),
    )


def twin(stored, subtract, factor):
    """What our pass does, in plain numpy."""
    return (stored.byteswap().astype(np.float32) + np.float32(32768) - subtract) * factor


def with_ccdproc(stored, bias, dark, flat):
    """Bias, dark and flat by ccdproc, from decoded pixels."""
    import ccdproc
    from astropy import units as u
    from astropy.nddata import CCDData

    light = CCDData(stored.byteswap().astype(np.float32) + np.float32(32768), unit="adu")
    masters = [CCDData(array, unit="adu") for array in (bias, dark, flat)]
    light = ccdproc.subtract_bias(light, masters[0])
    light = ccdproc.subtract_dark(light, masters[1], dark_exposure=300 * u.s, data_exposure=150 * u.s, scale=True)
    return ccdproc.flat_correct(light, masters[2])


def rows():
    """(name, ours_s, rival_s, ratio, note) for each case."""
    stored, frames, defects = sensor()
    whole = np.ascontiguousarray(stored[:, : SHAPE[1]])
    light = Raw(source="light", meta=META.with_(shape=SHAPE), values=whole)
    strip = ((0, SHAPE[0], SHAPE[1], SHAPE[1] + STRIP_COLS),)
    edged = META.with_(shape=stored.shape, overscan_px=strip, data_px=(0, SHAPE[0], 0, SHAPE[1]))
    wide = Raw(source="light", meta=edged, values=stored)
    out = np.empty(SHAPE, np.float32)
    plain, fitting = ImageCalibration(), ImageCalibration(dark_scaling="fit")
    masters, scaled = plain.masters(**frames), fitting.masters(**frames)
    level_free = {k: replace(f, meta=f.meta.with_(calibration="O")) for k, f in frames.items()}
    numpy_s = best(lambda: twin(whole, masters.subtract(), masters.factor()), 3)
    bias, dark, flat = (np.asarray(frames[kind]) for kind in ("bias", "dark", "flat"))
    ccdproc_s = best(lambda: with_ccdproc(whole, bias, dark - bias, flat), 2)
    view, scaled_view = plain(light, masters), fitting(light, scaled)
    repaired = CosmeticCorrection()(view, defects)
    lines = ImageCalibration(overscan=Overscan(model="median"))
    cases = {
        "bias + dark + flat": (lambda: view.pixels_into(out, 0, 0), numpy_s, "numpy"),
        "bias + dark + flat + 0.1 % defects": (lambda: repaired.pixels_into(out, 0, 0), numpy_s, "numpy, no repair"),
        "bias + scaled dark + flat": (lambda: scaled_view.pixels_into(out, 0, 0), ccdproc_s, "ccdproc"),
        "the same, and its scale fitted": (lambda: fitting(light, scaled).pixels_into(out, 0, 0), ccdproc_s, "ccdproc"),
    }
    for name, process in {"constant": plain, "by lines": lines}.items():
        bound = process.masters(**level_free)
        task = lambda p=process, m=bound: p(wide, m).pixels_into(out, 0, 0)  # noqa: E731
        cases[f"overscan {name} + trim + dark + flat"] = (task, numpy_s, "numpy, no overscan")
    for name, (task, rival_s, rival) in cases.items():
        ours_s = best(task)
        note = f"{1e9 * ours_s / out.size:.2f} ns/pixel against {1e9 * rival_s / out.size:.1f} ({rival})"
        yield f"calibrate 24 Mpx, {name}", ours_s, rival_s, rival_s / ours_s, note
    ours_s = best(lambda: plain(light, masters).meta.saturation_dn)
    yield "a view and its saturation", ours_s, float("nan"), float("nan"), f"{1e6 * ours_s:.0f} us each"
    ours_s = best(lambda: fitting.masters(**frames).hot_pixels(8.0, 0), 2)
    note = "once for all lights of a set, with D - B"
    yield "hot pixels of a 24 Mpx dark", ours_s, float("nan"), float("nan"), note


if __name__ == "__main__":
    for name, ours_s, rival_s, ratio, note in rows():
        print(f"{name:55s} {1e3 * ours_s:9.2f} ms {1e3 * rival_s:9.1f} ms {ratio:7.1f}x  {note}")
