"""The quality of masters: a report of each, from its pixels and from the frames it was made of."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.doctor.quality import sensor
from masterlight.doctor.quality.figures import figures, hot_pixels, noises
from masterlight.doctor.quality.page import ColourReport, Drift, MasterReport
from masterlight.doctor.quality.sample import colours, content_hash, level, levels_of, middle_mean, sample, values
from masterlight.doctor.quality.sensor import Gain, check_alike, dark_current
from masterlight.integration.stack import Stack

FULL = 0.98
"""Pixels from this part of the saturation level on count as saturated."""


def report(
    kind: str,
    master: Frame,
    frames: Sequence[Frame],
    *,
    stack: Stack | None = None,
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
    pairs = sensor.pair_noise(frames[0], frames[1]) if len(frames) > 1 else {}
    noise = master_noise(master, halves, len(frames), stack)
    current = currents(kind, master, frames, bias, biases, {name: known.gain_e_per_dn for name, known in gain.items()})
    raw_flats = kind == "flat" and not set("BD") & set(frames[0].meta.calibration)
    base = levels_of(bias or biases[0]) if raw_flats and (bias or biases) else {}
    full = frames[0].meta.saturation_dn
    ceiling = None if full is None else FULL * full
    reports, structureless = {}, noises(frames[0], math.inf if ceiling is None else ceiling)
    for name, own in figures(master, ceiling).items():
        own["single_noise_mrs_dn"] = structureless[name]
        single = pairs[name].noise_dn if pairs and math.isfinite(pairs[name].noise_dn) else None
        known = gain[name]._replace(read_noise_dn=single) if kind == "bias" else gain[name]
        known_noise, dark = noise.get(name), current.get(name)
        reports[name] = colour_report(own, len(frames), single, known_noise, known, dark, base.get(name, 0.0))
    hot = hot_pixels(master) if kind in ("dark", "flatdark") else (None, None)
    rejected, (inputs, notes) = rejections(stack), inputs_and_copies(frames)
    return MasterReport(
        kind=kind, source=master.source, frames=len(frames), shape=tuple(master.shape),
        exposure_s=frames[0].meta.exposure_s, colours=reports, hot_pixels=hot[0], hot_limit_dn=hot[1],
        drift=drift(frames, levels) if len(frames) > 1 else None,
        rejected_low_fraction=float(np.mean([r["low"] for r in rejected])) if rejected else None,
        rejected_high_fraction=float(np.mean([r["high"] for r in rejected])) if rejected else None,
        rejected=rejected, inputs=inputs, equation=equation, notes=notes,
    )  # fmt: skip


def rejections(stack: Stack | None) -> tuple[dict, ...]:
    """What each frame lost in the integration, as fractions of its samples."""
    rows = stack.frames if stack is not None else ()
    fractions = ((r.source, r.plane, r.rejected_low_fraction, r.rejected_high_fraction) for r in rows)
    return tuple(dict(zip(("source", "plane", "low", "high"), row, strict=True)) for row in fractions)


def inputs_and_copies(frames: Sequence[Frame]) -> tuple[tuple[dict, ...], tuple[str, ...]]:
    """Every frame with the hash of its pixels, and a sentence for each that is a copy of another."""
    hashes = [content_hash(frame) for frame in frames]
    copies = [(frames[i].source, frames[k].source) for i, k in enumerate(map(hashes.index, hashes)) if k < i]
    told = tuple(f"{copy} has the same pixels as {one}: a copy is not another frame" for copy, one in copies)
    return tuple({"source": f.source, "hash": h} for f, h in zip(frames, hashes, strict=True)), told


def survey(kind: str, frames: Sequence[Frame]) -> tuple[list[float], dict[str, tuple[list, list | None]]]:
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


def master_noise(master: Frame, halves: Mapping, count: int, stack: Stack | None) -> dict[str, tuple[float, str]]:
    """Noise of each colour of a master that would be another in the next master, and how it is known.

    From the variance that the integration measured, if it did; else from the means of every other frame of `count`:
    sigma(h1 - h2) sqrt(n1 n2) / count, which for equal halves is half of their difference.
    """
    if stack is not None and stack.variance is not None:
        boxes, how = sample(ArrayFrame.of(stack.variance, master.source, master.meta)), "from the scatter of the frames"
        return {name: (math.sqrt(middle_mean(values(part))), how) for name, part in boxes.items()}
    n1, n2, how = (count + 1) // 2, count // 2, "from halves of the frames"
    pairs = {name: pair for name, pair in halves.items() if pair[1]}
    noises = {name: sensor.in_blocks(*pair, blocks=sensor.BLOCKS // len(halves))[1] for name, pair in pairs.items()}
    return {name: (sensor.typical(found) * math.sqrt(n1 * n2) / count, how) for name, found in noises.items()}


def gains(frame: Frame, biases: Sequence[Frame], flats: Sequence[Frame], told: float | None) -> dict[str, Gain]:
    """Gain of each colour and how it is known: measured on pairs, else told, else from the header."""
    if len(biases) > 1 and len(flats) > 1:
        measured = sensor.gain_and_read_noise(biases[0], biases[1], flats[0], flats[1])
        if all(math.isfinite(g.gain_e_per_dn) for g in measured.values()):
            return measured
    header = frame.meta.gain_e_per_dn
    method = "as told" if told else "from the header, not measured" if header else None
    return dict.fromkeys(colours(frame), Gain(told or header, None, method))


def currents(kind: str, master: Frame, frames: list, bias: Frame | None, biases: list, gain: Mapping) -> dict:
    """`DarkCurrent` of each colour of a master dark, as far as bias frames and a gain tell it."""
    exposure_s = frames[0].meta.exposure_s
    told = exposure_s and all(gain.values()) and (bias or biases) and "B" not in frames[0].meta.calibration
    if kind not in ("dark", "flatdark") or not told:
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


def colour_report(
    figures: dict[str, Any], count: int, single: Any, noise: Any, gain: Gain, current: Any, base_dn: float
) -> ColourReport:
    """The figures of one colour of a master with what pairs and sets of its `count` frames tell of it, None where they
    do not: noise of one frame, (noise of the master, how it is known), gain, dark current, level of the bias."""
    noise, method = noise if noise and math.isfinite(noise[0]) else (None, None)
    per_dn = gain.gain_e_per_dn
    levels = {"mean": figures["mean_dn"], "median": figures["median_dn"], "single_noise": single, "noise": noise}
    return ColourReport(
        **figures, single_noise_dn=single, noise_dn=noise, noise_method=method,
        efficiency=single / (noise * math.sqrt(count)) if noise and single else None,
        snr=(figures["median_dn"] - base_dn) / noise if noise else None,
        gain_e_per_dn=per_dn, gain_method=gain.method,
        read_noise_dn=gain.read_noise_dn, read_noise_e=gain.read_noise_e,
        dark_current_e_s=current.by_level_e_s if current else None,
        dark_current_by_variance_e_s=current.by_variance_e_s if current else None,
        electrons={key: value * per_dn for key, value in levels.items() if per_dn and value is not None},
    )  # fmt: skip
