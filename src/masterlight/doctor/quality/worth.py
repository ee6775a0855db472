"""The quality of masters: a report of each, from its pixels and from the frames it was made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter

from masterlight.calibration.biasmodel import line_means
from masterlight.core.errors import ParameterError
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.core.noise import midvariance, noise_mrs
from masterlight.core.scale import qn, sn
from masterlight.defects.outliers import outliers
from masterlight.doctor.quality import kernels
from masterlight.doctor.quality.page import ColourReport, Drift, MasterReport
from masterlight.doctor.quality.sensor import (
    BLOCKS,
    PIXELS,
    check_alike,
    colours,
    content_hash,
    dark_current,
    frames_needed,
    gain_and_read_noise,
    in_blocks,
    level,
    levels_of,
    middle_mean,
    pair_noise,
    pitch,
    sample,
    thinned,
    typical,
    values,
)

__all__ = [
    "ColourReport",
    "Drift",
    "MasterReport",
    "content_hash",
    "dark_current",
    "frames_needed",
    "gain_and_read_noise",
    "hot_pixels",
    "pair_noise",
    "report",
]

FULL = 0.98
"""Pixels from this part of the saturation level on count as saturated."""
SCALE_SAMPLES = 20_000
"""Pixels from which Sn and Qn are told: sure to 1 %."""
LINE_SAMPLES = 128
TRIMMING, TRIMMED_VARIANCE = 0.2, 1.145
"""Part left out at each end of a line, and what that does to the variance of its mean, for Gaussian noise."""
SMOOTH_LINES = 65
"""Profiles of rows and columns are told from a running median over so many lines."""
ZONES, ZONE_SAMPLES = 8, 4096
HOT_SIGMA = 8.0
WHOLE_PIXELS, WINDOW_PX, WINDOWS, BANDS = 4 << 20, 256, 3, 8
"""Of larger frames the noise is told from 3 x 3 windows of so many pixels of a colour across, and hot pixels are
counted in 8 bands of rows."""


# --- a master and its frames ------------------------------------------------------------------------------------------


def report(
    kind: str,
    master: Frame,
    frames: Sequence[Frame],
    *,
    stack=None,
    bias: Frame | None = None,
    biases: Sequence[Frame] = (),
    flats: Sequence[Frame] = (),
    gain_e_per_dn: float | None = None,
    equation: str = "",
) -> MasterReport:
    """Measure a master and the frames it was made of, each colour by itself.

    kind: "bias", "dark", "flat" or "flatdark"; frames: as they were integrated. stack: the `Stack` of the integration,
    for what was rejected and, if it has one, the variance. bias: a master bias, for the dark current by level. biases,
    flats: two raw frames of each or more, for the gain and, with two darks, the dark current by noise; those of the
    master itself are taken from `frames`. gain_e_per_dn: believed if the gain cannot be measured; else the header's.
    """
    frames = list(frames)
    if not frames:
        raise ParameterError("a report of a master needs the frames it was made of (given: none)")
    master = ArrayFrame.of(np.asarray(master), master.source, master.meta.with_(pattern=frames[0].meta.pattern))
    check_alike(master, *frames)
    biases, flats = (frames if kind == "bias" else list(biases)), (frames if kind == "flat" else list(flats))
    levels, halves = survey(kind, frames)
    gain = gains(frames[0], biases, flats, gain_e_per_dn)
    electrons = {name: known.gain_e_per_dn for name, known in gain.items()}
    raw_flats = kind == "flat" and not set("BD") & set(frames[0].meta.calibration)
    facts = Facts(
        kind=kind,
        frames=frames,
        single=pair_noise(frames[0], frames[1]) if len(frames) > 1 else {},
        noise=master_noise(master, halves, len(frames), stack),
        gain=gain,
        current=currents(kind, master, frames, bias, biases, electrons),
        base=levels_of(bias or biases[0]) if raw_flats and (bias or biases) else {},
    )
    hot = hot_pixels(master) if kind in ("dark", "flatdark") else (None, None)
    rejected, (inputs, notes) = rejections(stack), listed(frames)
    return MasterReport(
        kind=kind,
        source=master.source,
        frames=len(frames),
        shape=tuple(master.shape),
        exposure_s=frames[0].meta.exposure_s,
        colours=colour_reports(master, facts),
        drift=drift(frames, levels) if len(frames) > 1 else None,
        hot_pixels=hot[0],
        hot_limit_dn=hot[1],
        rejected_low_fraction=float(np.mean([r["low"] for r in rejected])) if rejected else None,
        rejected_high_fraction=float(np.mean([r["high"] for r in rejected])) if rejected else None,
        rejected=rejected,
        inputs=inputs,
        equation=equation,
        notes=notes,
    )


def rejections(stack) -> tuple[dict, ...]:
    """What each frame lost in the integration, as fractions of its samples."""
    return tuple(
        {"source": r.source, "plane": r.plane, "low": r.rejected_low_fraction, "high": r.rejected_high_fraction}
        for r in (stack.frames if stack is not None else ())
    )


def listed(frames: Sequence[Frame]) -> tuple[tuple[dict, ...], tuple[str, ...]]:
    """Every frame with the hash of its pixels, and a sentence for each that is a copy of another."""
    hashes = [content_hash(frame) for frame in frames]
    first = [hashes.index(h) for h in hashes]
    copies = tuple(
        f"{frames[i].source} has the same pixels as {frames[k].source}: a copy is not another frame"
        for i, k in enumerate(first)
        if k < i
    )
    return tuple({"source": f.source, "hash": h} for f, h in zip(frames, hashes, strict=True)), copies


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of each colour before its pixels are looked at."""

    kind: str
    frames: list[Frame]
    single: Mapping
    noise: Mapping
    gain: Mapping
    current: Mapping
    base: Mapping
    """Level of the bias that is still in the master."""


def survey(kind: str, frames: Sequence[Frame]):
    """One look at every frame: its level, and the means of every other frame, from the same sample of each.

    Returns levels (N,) and {colour: (boxes of the one half, boxes of the other)}; flats are brought to the level of
    the first, each colour by itself.
    """
    levels, halves, first = [], ({}, {}), {}
    for i, frame in enumerate(frames):
        boxes = sample(frame)
        levels.append(level([box for part in boxes.values() for box in part]))
        share = 1 / ((len(frames) + 1 - i % 2) // 2)
        for name, part in boxes.items():
            light = level(part) if kind == "flat" else 1.0
            factor = np.float32(share * first.setdefault(name, light) / (light or 1.0))
            before = halves[i % 2].get(name, [np.float32(0)] * len(part))
            halves[i % 2][name] = [total + factor * box for total, box in zip(before, part, strict=True)]
    return levels, {name: (one, halves[1].get(name)) for name, one in halves[0].items()}


def master_noise(master: Frame, halves, count: int, stack) -> dict[str, tuple[float, str]]:
    """Noise of each colour of a master that would be another in the next master, and how it is known.

    From the variance that the integration measured, if it did; else from the means of every other frame of `count`:
    sigma(h1 - h2) sqrt(n1 n2) / count, which for equal halves is half of their difference.
    """
    if stack is not None and stack.variance is not None:
        variance = sample(ArrayFrame.of(stack.variance, master.source, master.meta))
        return {
            name: (math.sqrt(middle_mean(values(boxes))), "from the scatter of the frames")
            for name, boxes in variance.items()
        }
    n1, n2, how = (count + 1) // 2, count // 2, "from halves of the frames"
    return {
        name: (typical(in_blocks(one, two, blocks=BLOCKS // len(halves))[1]) * math.sqrt(n1 * n2) / count, how)
        for name, (one, two) in halves.items()
        if two
    }


class Known(NamedTuple):
    """What is known of the sensor in one colour: electrons per DN, how that is known, and the read noise in DN."""

    gain_e_per_dn: float | None
    method: str | None
    read_noise_dn: float | None


def gains(frame: Frame, biases, flats, told: float | None) -> dict[str, Known]:
    """Gain of each colour and how it is known: measured on pairs, else told, else from the header."""
    if len(biases) > 1 and len(flats) > 1:
        measured = gain_and_read_noise(biases[0], biases[1], flats[0], flats[1])
        if all(math.isfinite(g.gain_e_per_dn) for g in measured.values()):
            method = "measured on pairs of bias frames and flats"
            return {name: Known(g.gain_e_per_dn, method, g.read_noise_dn) for name, g in measured.items()}
    header = frame.meta.gain_e_per_dn
    method = "as told" if told else "from the header, not measured" if header else None
    return dict.fromkeys(colours(frame), Known(told or header, method, None))


def currents(kind: str, master: Frame, frames, bias, biases, gain: Mapping) -> Mapping:
    """Dark current of each colour of a master dark, as far as bias frames and a gain tell it."""
    exposure_s = frames[0].meta.exposure_s
    if kind not in ("dark", "flatdark") or not exposure_s or not all(gain.values()) or not (bias or biases):
        return {}
    if "B" in frames[0].meta.calibration:
        return {}
    by_level = dark_current(master, bias or biases[0], gain, exposure_s)
    if len(frames) < 2 or len(biases) < 2:
        return by_level
    by_noise = dark_current(frames, biases, gain, exposure_s)
    return {n: by_level[n]._replace(by_variance_e_s=c.by_variance_e_s) for n, c in by_noise.items()}


def drift(frames: Sequence[Frame], levels: Sequence[float]) -> Drift:
    """How the level moved over the frames, and with the temperature of the sensor."""
    temperatures = tuple(frame.meta.temperature_c for frame in frames)
    slope = None
    if None not in temperatures and np.ptp(temperatures) >= 0.2:
        slope = float(np.polyfit(temperatures, levels, 1)[0])
    return Drift(tuple(levels), temperatures, float(np.ptp(levels)), float(np.std(levels)), slope)


# --- one colour -------------------------------------------------------------------------------------------------------


def colour_reports(master: Frame, facts: Facts) -> dict[str, ColourReport]:
    """Every figure of every colour of a master."""
    image = np.asarray(master)
    image = image if image.ndim == 3 else image[None]
    full, size = facts.frames[0].meta.saturation_dn, pitch(master)
    ceiling = np.inf if full is None else FULL * full
    counts = tallied(master, ceiling)
    noise, single = noises(master), noises(facts.frames[0], ceiling)
    found = {}
    for name, places in colours(master).items():
        p, y, x = places[0]
        plane = image[p, y::size, x::size]
        step = max(1, math.isqrt(plane.size * len(places) // PIXELS))
        pixels = values([image[p, y :: step * size, x :: step * size] for p, y, x in places])
        exact = counts[name]
        scales = spreads(pixels)
        rows, columns = profiles(plane)
        found[name] = ColourReport(
            **exact | {"saturated_fraction": exact["saturated_fraction"] if full is not None else None},
            **scales,
            noise_mrs_dn=noise[name],
            single_noise_mrs_dn=single[name],
            row_profile_dn=rows,
            column_profile_dn=columns,
            zones_dn=zones(plane),
            **told(facts, name, scales["median_dn"], exact["mean_dn"]),
        )
    return found


def told(facts: Facts, name: str, median_dn: float, mean_dn: float) -> dict:
    """What pairs and sets of frames tell of one colour."""
    single = facts.single[name].noise_dn if name in facts.single else None
    single = single if single is not None and math.isfinite(single) else None
    noise, method = facts.noise.get(name, (math.nan, None))
    noise, method = (noise, method) if math.isfinite(noise) else (None, None)
    gain, gain_method, read = facts.gain[name]
    current = facts.current.get(name)
    read = single if facts.kind == "bias" else read
    electrons = {"mean": mean_dn, "median": median_dn, "single_noise": single, "noise": noise}
    return {
        "single_noise_dn": single,
        "noise_dn": noise,
        "noise_method": method,
        "efficiency": single / (noise * math.sqrt(len(facts.frames))) if noise and single else None,
        "snr": (median_dn - facts.base.get(name, 0.0)) / noise if noise else None,
        "gain_e_per_dn": gain,
        "gain_method": gain_method,
        "read_noise_dn": read,
        "read_noise_e": read * gain if read is not None and gain else None,
        "dark_current_e_s": current.by_level_e_s if current else None,
        "dark_current_by_variance_e_s": current.by_variance_e_s if current else None,
        "electrons": {key: value * gain for key, value in electrons.items() if gain and value is not None},
    }


def noises(frame: Frame, saturation_dn: float = np.inf) -> dict[str, float]:
    """The noise of each colour of one frame, DN, structures left out: the median over windows of a large frame."""
    size, (rows, cols) = pitch(frame), frame.shape[-2:]
    side = WINDOW_PX * size
    boxes = [(0, rows, 0, cols)]
    if rows * cols > WHOLE_PIXELS and min(rows, cols) >= side:
        at = [np.linspace(0, n - side, 2 * WINDOWS + 1)[1::2].astype(int) // size * size for n in (rows, cols)]
        boxes = [(y, y + side, x, x + side) for y in at[0].tolist() for x in at[1].tolist()]
    found: dict[str, list[float]] = {name: [] for name in colours(frame)}
    for box in boxes:
        pixels = frame.pixels(*box)
        pixels = pixels if pixels.ndim == 3 else pixels[None]
        for name, places in colours(frame).items():
            p, y, x = places[0]
            found[name].append(noise_mrs(pixels[p, y::size, x::size], saturation_dn)[0])
    return {name: float(np.median(noise)) for name, noise in found.items()}


def spreads(pixels: np.ndarray) -> dict[str, float]:
    """Median and the robust scales of some pixels, DN; NaN when there are none."""
    names = ("median_dn", "average_deviation_dn", "madn_dn", "biweight_dn", "sn_dn", "qn_dn")
    if not pixels.size:
        return dict.fromkeys(names, math.nan)
    centre = float(np.median(pixels))
    away = np.abs(pixels - np.float32(centre))
    mad = float(np.median(away))
    few = thinned(pixels, SCALE_SAMPLES)
    return dict(
        zip(
            names,
            (
                centre,
                float(away.mean(dtype=float)),
                1.4826 * mad,
                math.sqrt(midvariance(pixels, centre, mad)),
                float(sn(few)),
                float(qn(few)),
            ),
            strict=True,
        )
    )


def tallied(master: Frame, saturation_dn: float) -> dict[str, dict]:
    """Exact counts of every pixel of each colour: mean, extremes and where, and fractions of odd values."""
    image, size = np.asarray(master), pitch(master)
    places, found = colours(master), {}
    group = np.zeros((size, size), np.int64)
    if image.ndim == 2:
        for k, name in enumerate(places):
            for _, y, x in places[name]:
                group[y, x] = k
    for k, name in enumerate(places):
        if k and image.ndim == 2:
            break
        count, sums = np.zeros((len(places), 5), np.int64), np.zeros(len(places))
        extremes = np.tile([np.inf, -np.inf], (len(places), 1))
        at = np.zeros((len(places), 4), np.int64)
        kernels.tally(image[k] if image.ndim == 3 else image, group, saturation_dn, count, sums, extremes, at)
        for j, colour in enumerate([name] if image.ndim == 3 else places):
            found[colour] = facts_of(count[j], sums[j], extremes[j], at[j])
    return found


def facts_of(count, total, extremes, at) -> dict:
    """The counts of one colour as a report has them."""
    finite, zero, negative, saturated, missing = (int(n) for n in count)
    y0, x0, y1, x1 = (int(n) for n in at)
    low, high = (float(v) if finite else math.nan for v in extremes)
    return {
        "mean_dn": float(total / finite) if finite else math.nan,
        "minimum_dn": low,
        "minimum_xy": (x0, y0),
        "maximum_dn": high,
        "maximum_xy": (x1, y1),
        "zero_fraction": zero / max(1, finite),
        "negative_fraction": negative / max(1, finite),
        "saturated_fraction": saturated / max(1, finite),
        "missing_fraction": missing / max(1, finite + missing),
    }


def profiles(plane: np.ndarray) -> tuple[float, float]:
    """How much rows and columns of an image differ from their neighbours, rms in DN, less what its noise does to them.

    Trimmed means of lines, about 128 pixels of each, against their running median over 65 lines.
    """
    found = []
    for lines in (plane, plane.T):
        few = lines[:, :: max(1, lines.shape[1] // LINE_SAMPLES)]
        means = line_means(few, TRIMMING).astype(float)
        away = means - median_filter(means, min(SMOOTH_LINES, len(means) | 1), mode="nearest")
        step = np.diff(few, axis=1)
        noise = float(sn(thinned(values([step]), SCALE_SAMPLES))) / math.sqrt(2)
        found.append(math.sqrt(max(0.0, float(np.mean(away**2)) - TRIMMED_VARIANCE * noise**2 / few.shape[1])))
    return found[0], found[1]


def zones(plane: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Medians of 8 x 8 equal zones of an image, row by row; NaN for a zone without pixels."""
    edges = [np.linspace(0, n, ZONES + 1).astype(int) for n in plane.shape]
    found = []
    for y0, y1 in zip(edges[0][:-1], edges[0][1:], strict=True):
        parts = [plane[y0:y1, x0:x1] for x0, x1 in zip(edges[1][:-1], edges[1][1:], strict=True)]
        steps = [max(1, math.isqrt(part.size // ZONE_SAMPLES)) for part in parts]
        pixels = [values([part[::step, ::step]]) for part, step in zip(parts, steps, strict=True)]
        found.append(tuple(float(np.median(x)) if x.size else math.nan for x in pixels))
    return tuple(found)


def hot_pixels(dark: Frame, sigma: float = HOT_SIGMA) -> tuple[int, float | None]:
    """How many pixels of a dark are hot, as `CosmeticCorrection` finds them, and from how many DN on: (count, limit).

    Of large darks a quarter is counted. Every place of a colour pattern is looked at by itself; amplifier glow is not
    hot. Without any hot pixel the limit is None.
    """
    image, size = np.asarray(dark), pitch(dark)
    rows, high = image.shape[-2], image.shape[-2]
    starts = [0]
    if rows * image.shape[-1] > WHOLE_PIXELS and rows >= 64 * BANDS:
        high = rows // (4 * BANDS) // size * size
        starts = (np.linspace(0, rows - high, BANDS).astype(int) // size * size).tolist()
    count, limit = 0, np.inf
    for plane in image.reshape(-1, *image.shape[-2:]):
        for y in starts:
            _, _, away, noise = outliers(plane[y : y + high], sigma, None, size)
            hot = away > sigma * noise
            count += int(np.count_nonzero(hot))
            limit = min(limit, sigma * float(noise[hot].min(initial=np.inf)))
    return round(count * rows / (high * len(starts))), limit if count else None
