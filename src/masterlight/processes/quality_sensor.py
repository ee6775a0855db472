"""What pairs of calibration frames tell of a sensor: noise, gain, read noise, dark current, bits.

All look at a bounded, repeatable sample of a frame, at all of it when it is small, and at each colour of a mosaic by
itself: results are dictionaries with the keys "R", "G", "B" of a colour frame, or "mono".
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from masterlight.errors import FrameError, ParameterError
from masterlight.frame import Frame
from masterlight.kernels import quality as kernels

PIXELS = 300_000
"""Pixels that a sample of a frame holds at most, about."""
BLOCKS = 1200
"""Blocks of 8 x 8 pixels in which noise is measured, for each of the four offsets: the median of so many is sure to
0.5 %."""
STRIP = 12
"""Rows of a strip of the sample, in rows of one colour: a block and half a block."""
HASHED_ROWS = 64
TYPICAL_SN = 0.9979
"""Middle of the Sn of blocks of 64 values of Gaussian noise of sigma 1 (by simulation)."""


class PairNoise(NamedTuple):
    """What two equal exposures tell: level of the first, noise of one of them, and from how many blocks."""

    level_dn: float
    noise_dn: float
    blocks: int


class Gain(NamedTuple):
    """Gain and read noise of one colour, from a pair of flats and a pair of bias frames."""

    gain_e_per_dn: float
    read_noise_e: float
    read_noise_dn: float
    level_dn: float
    """Of the flats above the bias."""
    blocks: int


class DarkCurrent(NamedTuple):
    """Dark current of one colour, in electrons per second and pixel."""

    by_level_e_s: float
    by_variance_e_s: float | None
    """From the shot noise of the dark current; None without pairs of darks and bias frames."""


class Bits(NamedTuple):
    """How finely the values of a frame are graded."""

    step_dn: float
    """All values are multiples of it, up to a constant; 0 for values that are not whole numbers."""
    bits: int | None
    """Bits that a 16-bit file really uses; None when that cannot be told."""
    filled_fraction: float
    """Share of the multiples of the step that occur in the middle 80 % of the values: far below 1 for data that were
    stretched by a factor after they were read out."""
    samples: int


class PhotonTransfer(NamedTuple):
    """The photon transfer curve of one colour: variance = read noise^2 + level / gain."""

    gain_e_per_dn: float
    read_noise_e: float
    prnu_fraction: float
    """How much the pixels differ in sensitivity, as a fraction of the light."""
    linearity_fraction: float | None
    """Greatest departure of the level from a straight line in exposure time; None when the times are not known."""
    full_well_dn: float | None
    """Level above the bias at which the variance falls 10 % below the line; None when it never does."""
    levels_dn: tuple[float, ...]
    variances_dn2: tuple[float, ...]


# --- what is looked at ------------------------------------------------------------------------------------------------


def colours(frame: Frame) -> dict[str, list[tuple[int, int, int]]]:
    """Where each colour of a frame is: its pixels are those of plane p from row y, column x on, every `pitch`-th."""
    if len(frame.shape) == 3:
        return {name: [(p, 0, 0)] for p, name in enumerate("RGB")}
    pattern, size = frame.meta.pattern, pitch(frame)
    if not pattern:
        return {"mono": [(0, 0, 0)]}
    names = dict.fromkeys(sorted(pattern, key=("RGB" + pattern).index))
    return {name: [(0, k // size, k % size) for k, c in enumerate(pattern) if c == name] for name in names}


def pitch(frame: Frame) -> int:
    """After how many pixels the colours repeat."""
    return math.isqrt(len(frame.meta.pattern)) if frame.meta.pattern and len(frame.shape) == 2 else 1


def strips(frame: Frame, pixels: int = PIXELS) -> list[tuple[int, int]]:
    """First and last row of the bands of a sample: spread over the frame, of the same colours, all of a small frame."""
    rows, cols = frame.shape[-2:]
    size = pitch(frame)
    height = STRIP * size
    if rows * cols <= pixels or rows < 2 * height:
        return [(0, rows)]
    count = max(4, min(16, round(pixels / (height * cols))))
    starts = sorted({int(y) // size * size for y in np.linspace(0, rows - height, count)})
    return [(y, y + height) for y in starts]


def sample(frame: Frame, pixels: int = PIXELS) -> dict[str, list[np.ndarray]]:
    """A sample of each colour as boxes of neighbours of that colour, float32 (rows, cols)."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in colours(frame)}
    size = pitch(frame)
    for y0, y1 in strips(frame, pixels):
        band = frame.pixels(y0, y1, 0, frame.shape[-1])
        band = band if band.ndim == 3 else band[None]
        for name, places in colours(frame).items():
            found[name] += [np.ascontiguousarray(band[p, y::size, x::size]) for p, y, x in places]
    return found


def values(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """The finite pixels of some boxes, flat."""
    flat = np.concatenate([box.ravel() for box in boxes])
    good = np.isfinite(flat)
    return flat if good.all() else flat[good]


def thinned(x: np.ndarray, count: int) -> np.ndarray:
    """At most about so many of some values, evenly taken."""
    return np.ascontiguousarray(x[:: max(1, -(-x.size // count))])


def middle_mean(x: np.ndarray) -> float:
    """Mean of the middle half of the values: as robust as needed, and finer than the step of whole numbers."""
    if not x.size:
        return math.nan
    quarter = x.size // 4
    ordered = np.partition(x, (quarter, x.size - quarter - 1))
    return float(ordered[quarter : x.size - quarter].mean(dtype=np.float64))


def levels_of(frame: Frame) -> dict[str, float]:
    """The level of each colour of a frame, DN."""
    return {name: middle_mean(values(boxes)) for name, boxes in sample(frame).items()}


def check_alike(*frames: Frame) -> None:
    """Frames of a pair must show the same pixels of the same colours."""
    first = frames[0]
    for frame in frames[1:]:
        if frame.shape != first.shape or (frame.meta.pattern or "") != (first.meta.pattern or ""):
            raise FrameError(
                frame.source,
                f"is {frame.shape[-1]} x {frame.shape[-2]} pixels of pattern {frame.meta.pattern or 'mono'}, but "
                f"{first.source} is {first.shape[-1]} x {first.shape[-2]} of {first.meta.pattern or 'mono'}: "
                "measure frames of one camera and setting together",
            )


# --- noise of pairs ---------------------------------------------------------------------------------------------------


def pair_noise(a: Frame, b: Frame) -> dict[str, PairNoise]:
    """The noise of one of two equal exposures, for each colour: what is the same in both does not count as noise.

    Sn of the differences in blocks of 8 x 8 pixels at four offsets of half a block, mean over the middle half of the
    blocks (Rousseeuw & Croux 1993). Gradients, hot pixels and cosmic rays do not count; a noise below a DN is told too.
    Raises FrameError when the frames differ in shape or colours; NaN where a colour has no block of good pixels.
    """
    check_alike(a, b)
    found = differences(sample(a), sample(b), share=len(colours(a)))
    return {
        name: PairNoise(typical(level), typical(noise) / math.sqrt(2), sum(v.size for v in noise))
        for name, (level, noise) in found.items()
    }


def typical(by_offset: Sequence[np.ndarray]) -> float:
    """Mean over the offsets of the middle half of the blocks; NaN without any."""
    found = [middle_mean(blocks) for blocks in by_offset if blocks.size]
    return float(np.mean(found)) if found else math.nan


def differences(first: Mapping, second: Mapping, ratio: Mapping[str, float] | None = None, share: int = 1):
    """Levels of one sample and noise of it less ratio times the other, by colour: {colour: (levels, noises)}."""
    found = {}
    for name, boxes in first.items():
        factor = ratio[name] if ratio else 1.0
        step = float(kernels.common_step(values(boxes))) if factor == 1 else 0.0
        found[name] = in_blocks(boxes, second[name], factor, step, BLOCKS // share)
    return found


def in_blocks(first, second, ratio: float = 1.0, step: float = 0.0, blocks: int = BLOCKS):
    """Levels and noises of first - ratio second in blocks of 8 x 8, each a list of four arrays, one for each offset.

    Two lists of boxes (rows, cols) float32 of the same shapes; step: that of their whole numbers, 0 for others.
    """
    total = sum((box.shape[0] // kernels.BLOCK) * (box.shape[1] // kernels.BLOCK) for box in first)
    stride = max(1, -(-total // blocks))
    levels, noises = [[], [], [], []], [[], [], [], []]
    for one, two in zip(first, second, strict=True):
        room = (4, max(1, one.size // kernels.BLOCK**2))
        level, noise = np.empty(room, np.float32), np.empty(room, np.float32)
        counts = kernels.block_noise(one, two, ratio, step, stride, level, noise)
        for k, n in enumerate(counts):
            levels[k].append(level[k, :n])
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
    b1, b2, f1, f2 = (sample(frame) for frame in (bias1, bias2, flat1, flat2))
    bare = "B" in flat1.meta.calibration or "D" in flat1.meta.calibration
    base = {name: 0.0 if bare else middle_mean(values(boxes)) for name, boxes in b1.items()}
    ratio = {}
    for name in f1:
        one, two = (middle_mean(values(f[name])) - base[name] for f in (f1, f2))
        ratio[name] = one / two if two > 0 and abs(one / two - 1) > 1e-3 else 1.0
    dark, light, found = differences(b1, b2), differences(f1, f2, ratio), {}
    for name, (levels, noises) in light.items():
        read_dn = typical(dark[name][1]) / math.sqrt(2)
        signal = [level - base[name] for level in levels]
        signal, noises = np.concatenate(signal), np.concatenate(noises)
        good = signal > 0
        gain = conversion(signal[good], noises[good] ** 2, 2 * read_dn**2, ratio[name])
        level = float(np.median(signal)) if signal.size else math.nan
        found[name] = Gain(gain, gain * read_dn, read_dn, level, int(good.sum()))
    return found


def conversion(signal_dn, flat_variance, bias_variance, ratio: float = 1.0) -> float:
    """Gain in electrons per DN from levels above the bias, Var(f1 - ratio f2) and Var(b1 - b2); NaN if there is none.

    With the arrays' i-th elements for the i-th block. For ratio 1: 2 signal / (flat_variance - bias_variance).
    """
    extra = np.asarray(flat_variance, float) - 0.5 * (1 + ratio**2) * bias_variance
    per_dn = middle_mean(np.atleast_1d(extra / ((1 + ratio) * np.asarray(signal_dn, float))))
    return float(1 / per_dn) if per_dn > 0 else math.nan


def photon_transfer(
    flats: Sequence[tuple[Frame, Frame]], biases: tuple[Frame, Frame], exposures_s: Sequence[float] | None = None
) -> dict[str, PhotonTransfer]:
    """Gain, read noise, pixel response, linearity and full well from pairs of flats at five levels or more.

    flats: pairs of one exposure each, in any order; exposures_s: of each pair, from the headers when None. Fits
    variance = RN^2 + level / K (Janesick 2007) to all levels up to the one at which the variance falls 10 % short.
    """
    if len(flats) < 5:
        raise ParameterError(f"a photon transfer curve needs pairs of flats at 5 levels at least (given: {len(flats)})")
    check_alike(*biases, *(frame for pair in flats for frame in pair))
    if exposures_s is None:
        exposures_s = [pair[0].meta.exposure_s or math.nan for pair in flats]
    base = levels_of(biases[0])
    read = {name: noise.noise_dn for name, noise in pair_noise(*biases).items()}
    measured = [transfer_point(*pair, base) for pair in flats]
    found = {}
    for name in base:
        points = np.array([(*point[name], t) for point, t in zip(measured, exposures_s, strict=True)])
        found[name] = transfer_fit(points[np.argsort(points[:, 0], kind="stable")], read[name])
    return found


def transfer_point(one: Frame, two: Frame, base: Mapping[str, float]) -> dict[str, tuple[float, float, float]]:
    """(level above the bias, temporal variance, spread of the pixels' sensitivity) of a pair of flats, by colour."""
    noise, first, second = pair_noise(one, two), sample(one), sample(two)
    found = {}
    for name, pair in noise.items():
        level = middle_mean(values(first[name])) - base[name]
        mean = [(a + b) / 2 for a, b in zip(first[name], second[name], strict=True)]
        fixed = typical(in_blocks(mean, mean, 0.0)[1]) ** 2 - pair.noise_dn**2 / 2
        found[name] = level, pair.noise_dn**2, math.sqrt(max(0.0, fixed)) / level if level > 0 else math.nan
    return found


def transfer_fit(points: np.ndarray, read_dn: float) -> PhotonTransfer:
    """The line through points (level, variance, response, exposure) in order of level, and where they leave it."""
    level, variance, response, exposure = points.T
    used = np.arange(len(level)) <= np.argmax(variance)
    slope = math.nan
    while used.sum() >= 2:
        weight = used / np.maximum(variance, 1e-9) ** 2
        slope = float(np.sum(weight * level * (variance - read_dn**2)) / np.sum(weight * level**2))
        short = used & (variance < 0.9 * (read_dn**2 + slope * level))
        if not short.any():
            break
        used[np.argmax(short) :] = False
    low = ~used & (variance < 0.9 * (read_dn**2 + slope * level))
    gain = 1 / slope if slope > 0 else math.nan
    straight = None
    if used.sum() >= 3 and np.isfinite(exposure[used]).all() and np.ptp(exposure[used]) > 0:
        rate = np.sum(level[used] / exposure[used]) / used.sum()
        straight = float(np.max(np.abs(level[used] / (rate * exposure[used]) - 1)))
    return PhotonTransfer(
        gain,
        gain * read_dn,
        float(np.average(response[used], weights=np.maximum(level[used], 1e-9))) if used.any() else math.nan,
        straight,
        float(level[np.argmax(low)]) if low.any() else None,
        tuple(map(float, level)),
        tuple(map(float, variance)),
    )


# --- dark current, bits, identity -------------------------------------------------------------------------------------


def dark_current(
    darks: Frame | Sequence[Frame],
    biases: Frame | Sequence[Frame],
    gain_e_per_dn: float | Mapping[str, float],
    exposure_s: float | None = None,
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
    level, base = levels_of(darks[0]), levels_of(biases[0])
    pairs = len(darks) > 1 and len(biases) > 1
    noise, read = (pair_noise(f[0], f[1]) if pairs else {} for f in (darks, biases))
    found = {}
    for name in level:
        gain = gain_e_per_dn[name] if isinstance(gain_e_per_dn, Mapping) else gain_e_per_dn
        extra = noise[name].noise_dn ** 2 - read[name].noise_dn ** 2 if pairs else math.nan
        by_variance = extra * gain**2 / exposure_s if pairs else None
        found[name] = DarkCurrent((level[name] - base[name]) * gain / exposure_s, by_variance)
    return found


def bits_used(frame: Frame) -> Bits:
    """How many bits the camera's converter has, told by the values: 14-bit cameras often multiply theirs by 4.

    From the greatest common divisor of the differences of up to a million pixels; below 100,000 it may be chance. Of
    a mosaic the colour with the greatest tells: cameras that balance the white before they save multiply the others,
    and the share of filled steps is that of the colour with most gaps.
    """
    pixels = [values(boxes) for boxes in sample(frame).values()]
    found, samples = [graded(flat) for flat in pixels], sum(flat.size for flat in pixels)
    step = max(step for step, _ in found)
    if not step:
        return Bits(0.0, None, math.nan, samples)
    shift = math.frexp(math.gcd(int(step), 2**16))[1] - 1
    return Bits(step, 16 - shift, min(part for one, part in found if one), samples)


def graded(flat: np.ndarray) -> tuple[float, float]:
    """The step of some values and the share of its multiples that occur in their middle 80 %; (0, NaN) for none."""
    step = float(kernels.common_step(flat))
    if not step:
        return 0.0, math.nan
    low, high = (float(v) for v in np.quantile(flat, (0.1, 0.9), method="nearest"))
    inner = flat[(flat >= low) & (flat <= high)]
    levels = np.unique(inner[: 200 * max(1, int((high - low) / step))]).size
    return step, levels / ((high - low) / step + 1)


def content_hash(frame: Frame) -> str:
    """A short word that tells frames of different pixels apart, whatever their names and headers; NaN counts as NaN.

    BLAKE2 of 64 rows spread over the frame, as float32, and of its shape: of two exposures not one row is the same.
    """
    rows, cols = frame.shape[-2:]
    digest = hashlib.blake2b(repr(tuple(frame.shape)).encode(), digest_size=10)
    for y in np.unique(np.linspace(0, rows - 1, min(rows, HASHED_ROWS)).astype(int)):
        line = frame.pixels(int(y), int(y) + 1, 0, cols).astype("<f4") + np.float32(0)
        line[np.isnan(line)] = np.nan
        digest.update(np.ascontiguousarray(line).tobytes())
    return digest.hexdigest()


def frames_needed(extra_fraction: float = 0.02) -> int:
    """How many calibration frames make one calibrated light noisier by this fraction at most: 1 / ((1 + x)^2 - 1).

    For lights as noisy as the calibration frames; lights of a bright sky need fewer, an undithered stack more.
    """
    if not extra_fraction > 0:
        raise ParameterError(f"extra_fraction must be above 0 (given: {extra_fraction})")
    return math.ceil(1 / ((1 + extra_fraction) ** 2 - 1) - 1e-9)
