"""What pairs of calibration frames tell of a sensor, colour by colour: noise, gain, read noise, dark current."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import Frame
from masterlight.doctor.quality import kernels
from masterlight.doctor.quality.sample import Boxes, Sample, level, levels_of, middle_mean, sample, values

BLOCKS = 400
"""Blocks of 8 x 8 pixels in which noise is measured, for each of the four offsets: the middle of so many is sure to
0.5 %."""
Frames = Frame | Sequence[Frame]
TYPICAL_SN = 0.9979
"""Middle of the Sn of blocks of 64 values of Gaussian noise of sigma 1 (by simulation)."""


class Gain(NamedTuple):
    """Gain and read noise of one colour, from a pair of flats and a pair of bias frames where nothing else is said."""

    gain_e_per_dn: float | None
    read_noise_dn: float | None
    method: str | None = "measured on pairs of bias frames and flats"

    @property
    def read_noise_e(self) -> float | None:
        known = self.gain_e_per_dn and self.read_noise_dn is not None
        return self.gain_e_per_dn * self.read_noise_dn if known else None


class DarkCurrent(NamedTuple):
    """Dark current of one colour, in electrons per second and pixel."""

    by_level_e_s: float
    by_variance_e_s: float | None
    """From the shot noise of the dark current; None without pairs of darks and bias frames."""


def check_alike(*frames: Frame) -> None:
    """Frames of a pair must show the same pixels of the same colours."""
    mine, *others = [(f"{f.shape[-1]} x {f.shape[-2]} pixels of {f.meta.pattern or 'mono'}", f) for f in frames]
    for words, frame in others:
        if words != mine[0] or frame.shape != frames[0].shape:
            told = f"is {words}, but {frames[0].source} is {mine[0]}: measure frames of one camera and setting together"
            raise FrameError(frame.source, told)


@dataclass(frozen=True, eq=False)
class Difference:
    """What two samples of one colour tell by their difference, in blocks of 8 x 8 pixels at four offsets."""

    levels: list[np.ndarray]
    """Of the first, a number for each block, an array for each offset."""
    noises: list[np.ndarray]
    """Of first - ratio second."""
    ratio: float

    @property
    def level_dn(self) -> float:
        return typical(self.levels)

    @property
    def noise_dn(self) -> float:
        """Of one frame; NaN where no block had enough good pixels."""
        return typical(self.noises) / math.sqrt(1 + self.ratio**2)


def pair_noise(a: Frame, b: Frame) -> dict[str, Difference]:
    """The noise of one of two equal exposures, for each colour: what is the same in both does not count as noise.

    Sn of the differences in blocks of 8 x 8 pixels at four offsets of half a block, mean over the middle half of the
    blocks (Rousseeuw & Croux 1993). Gradients, hot pixels and cosmic rays do not count; a noise below a DN is told too.
    Raises FrameError when the frames differ in shape or colours; NaN where a colour has no block of good pixels.
    """
    check_alike(a, b)
    return differences(sample(a), sample(b))


def typical(by_offset: Sequence[np.ndarray]) -> float:
    """Mean over the offsets of the middle half of the blocks; NaN without any."""
    found = [middle_mean(blocks) for blocks in by_offset if blocks.size]
    return float(np.mean(found)) if found else math.nan


def differences(first: Sample, second: Sample, base: Any = None, blocks: int = BLOCKS) -> dict[str, Difference]:
    """Compare two samples colour by colour, in about so many blocks of all colours together for each offset.

    base: level of each colour without light, for flats: the second is scaled to the light of the first.
    """
    found = {}
    for name, boxes in first.items():
        ratio = 1.0
        if base is not None:
            one, two = (level(part) - base[name] for part in (boxes, second[name]))
            ratio = one / two if two > 0 and abs(one / two - 1) > 1e-3 else 1.0
        step = float(kernels.common_step(values(boxes))) if ratio == 1 else 0.0
        found[name] = Difference(*in_blocks(boxes, second[name], ratio, step, blocks // len(first)), ratio)
    return found


def in_blocks(first: Boxes, second: Boxes, ratio=1.0, step=0.0, blocks: int = BLOCKS) -> tuple[Boxes, Boxes]:
    """Levels and noises of first - ratio second in blocks of 8 x 8, each a list of four arrays, one for each offset.

    Two lists of boxes (rows, cols) float32 of the same shapes; step: that of their whole numbers, 0 for others.
    """
    total = sum((box.shape[0] // kernels.BLOCK) * (box.shape[1] // kernels.BLOCK) for box in first)
    stride = max(1, -(-total // blocks))
    levels, noises = ([[] for _ in range(4)] for _ in "ab")
    for one, two in zip(first, second, strict=True):
        room = (4, max(1, one.size // kernels.BLOCK**2))
        level_dn, noise = np.empty(room, np.float32), np.empty(room, np.float32)
        counts = kernels.block_noise(one, two, ratio, step, stride, level_dn, noise)
        for k, n in enumerate(counts):
            levels[k].append(level_dn[k, :n])
            noises[k].append(noise[k, :n])
    joined = [np.concatenate(part).astype(float) / TYPICAL_SN for part in noises]
    joined = [np.sqrt(np.maximum(0.0, part**2 - step**2 / 12)) for part in joined]
    return [np.concatenate(part).astype(float) for part in levels], joined


def gain_and_read_noise(bias1: Frame, bias2: Frame, flat1: Frame, flat2: Frame) -> dict[str, Gain]:
    """Gain (electrons per DN) and read noise of each colour, from two bias frames and two flats of one exposure.

    The flats raw, or with bias or dark subtracted.

    K = (signal of both flats) / (Var(f1 - f2) - Var(b1 - b2)) and RN = K sd(b1 - b2) / sqrt 2, in blocks of 8 x 8
    pixels, so that vignetting does not matter; the second flat is scaled to the level of the first. NaN where the
    flats are no noisier than the bias. Raises FrameError for frames that are not alike.
    """
    check_alike(bias1, bias2, flat1, flat2)
    dark = differences(sample(bias1), sample(bias2), blocks=2 * BLOCKS)
    bare = "B" in flat1.meta.calibration or "D" in flat1.meta.calibration
    base = {name: 0.0 if bare else d.level_dn for name, d in dark.items()}
    return gains_of(dark, differences(sample(flat1), sample(flat2), base, 2 * BLOCKS), base)


def gains_of(dark: Mapping, light: Mapping, base: Mapping[str, float]) -> dict[str, Gain]:
    """Gain and read noise of each colour from the `Difference` of a pair of bias frames and of a pair of flats.

    base: level of each colour of the flats without light.
    """
    found = {}
    for name, d in light.items():
        read_dn = dark[name].noise_dn
        signal, noises = np.concatenate(d.levels) - base[name], np.concatenate(d.noises)
        good = signal > 0
        found[name] = Gain(conversion(signal[good], noises[good] ** 2, 2 * read_dn**2, d.ratio), read_dn)
    return found


def conversion(signal_dn: Any, flat_variance: Any, bias_variance: float, ratio: float = 1.0) -> float:
    """Gain in electrons per DN from levels above the bias, Var(f1 - ratio f2) and Var(b1 - b2); NaN if there is none.

    With the arrays' i-th elements for the i-th block. For ratio 1: 2 signal / (flat_variance - bias_variance).
    """
    extra = np.asarray(flat_variance, float) - 0.5 * (1 + ratio**2) * bias_variance
    per_dn = middle_mean(np.atleast_1d(extra / ((1 + ratio) * np.asarray(signal_dn, float))))
    return float(1 / per_dn) if per_dn > 0 else math.nan


def dark_current(
    darks: Frames, biases: Frames, gain_e_per_dn: float | Mapping[str, float], exposure_s: float | None = None
) -> dict[str, DarkCurrent]:
    """Dark current of each colour in electrons per second, by the level of the darks and by their noise.

    darks, biases: one frame each, for the level alone, or two or more, of which the first two tell the noise too:
    (Var D - Var B) K^2 / t. When both disagree there is amplifier glow or a light leak, or the bias level moved.
    """
    darks, biases = ([f] if isinstance(f, Frame) else list(f) for f in (darks, biases))
    exposure_s = exposure_s or darks[0].meta.exposure_s
    if not exposure_s or exposure_s <= 0:
        raise ParameterError(f"the exposure of {darks[0].source} is not known; tell it to measure its dark current")
    check_alike(*darks[:2], *biases[:2])
    levels, base = levels_of(darks[0]), levels_of(biases[0])
    pairs = len(darks) > 1 and len(biases) > 1
    noise, read = (pair_noise(f[0], f[1]) if pairs else {} for f in (darks, biases))
    found = {}
    for name in levels:
        gain = gain_e_per_dn[name] if isinstance(gain_e_per_dn, Mapping) else gain_e_per_dn
        extra = noise[name].noise_dn ** 2 - read[name].noise_dn ** 2 if pairs else math.nan
        by_variance = extra * gain**2 / exposure_s if pairs else None
        found[name] = DarkCurrent((levels[name] - base[name]) * gain / exposure_s, by_variance)
    return found


def frames_needed(extra_fraction: float = 0.02) -> int:
    """How many calibration frames make one calibrated light noisier by this fraction at most: 1 / ((1 + x)^2 - 1).

    For lights as noisy as the calibration frames; lights of a bright sky need fewer, an undithered stack more.
    """
    if not extra_fraction > 0:
        raise ParameterError(f"extra_fraction must be above 0 (given: {extra_fraction})")
    return math.ceil(1 / ((1 + extra_fraction) ** 2 - 1) - 1e-9)
