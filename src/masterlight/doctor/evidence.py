"""What the doctor looks at in raw frames: a bounded sample of each, and of a pair of each group."""

import hashlib
import math
from collections.abc import Container, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame, Meta, evenly
from masterlight.core.headers.geometry import period
from masterlight.core.statistics.scale import deviation, madn
from masterlight.core.together import differences
from masterlight.core.workers import Event, Pool, each
from masterlight.doctor.quality import sample as sampling
from masterlight.doctor.quality import sensor
from masterlight.doctor.quality.kernels import common_step
from masterlight.session.groups import Group
from masterlight.session.plan import LightSet, MasterJob, Plan

ROWS, PIXELS = 24, 72_000
"""Rows and pixels that are read of a frame, at most."""
ZONES = 6, 8
"""Rows and columns of the coarse map of a frame."""
HIGH, BESIDE = 8.0, 3.0
"""A peak is this many sigma high; the pixels beside that of a star are above the second."""
BINS = 64
READ_OUT = ("gain", "offset", "readout mode", "binning")
PAIR_PIXELS, PAIR_BLOCKS = 150_000, 80
"""Pixels and blocks of a pair: its noise is sure to 1 %."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a bounded sample of one raw frame tells; levels in DN."""

    frame: Frame
    level_dn: float
    """Median."""
    spread_dn: float
    """Robust standard deviation about the coarse map."""
    lowest_dn: float
    highest_dn: float
    pixels: int
    missing: int
    negative: int
    zeros: int
    at_highest: int
    """Pixels that share the highest value."""
    saturated: tuple[int, ...]
    """Pixels at 98 % of saturation or above, for each colour of the pattern."""
    shift_bits: int
    """Lowest bits that never change."""
    stars: int
    """Peaks that have bright neighbours, as stars have."""
    spikes: int
    """Peaks of a single pixel, as hot pixels are."""
    colours: dict[str, float]
    """Median of each colour of the pattern; the one of a mono sensor is ''."""
    phases: np.ndarray
    """Mean of each pixel of the pattern, (size, size)."""
    blocks: np.ndarray
    """Means of the rows that were read in pieces of a 32nd, (rows, pieces) float32: differences of colour taken out."""
    block_error_dn: float
    """Standard error of one of them."""
    zones: np.ndarray
    """The same as a coarse map, ZONES float32."""
    zone_error_dn: float
    """Standard error of one zone."""
    histogram: tuple[np.ndarray, np.ndarray]
    """Counts, edges in DN."""
    digest: str
    """Hash of the sample: equal for equal frames."""
    overscan_dn: float | None = None
    """Level of its overscan in the rows that are read, None without any."""

    @property
    def source(self) -> str:
        return self.frame.source

    @property
    def steady_dn(self) -> float:
        """The level above the overscan, which drifts with it; without overscan the level."""
        return self.level_dn - (self.overscan_dn or 0.0)

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it, one value or none everywhere: the walk leaves such a frame out by itself."""
        return not self.lowest_dn < self.highest_dn


def region(frame: Frame) -> tuple[int, int, int, int]:
    """The part of a frame that saw the sky, as bounds (y0, y1, x0, x1)."""
    return frame.meta.data_px or (0, frame.shape[-2], 0, frame.shape[-1])


def large(frame: Frame) -> bool:
    """Whether a frame is one plane of a size that a camera has."""
    return len(frame.shape) == 2 and min(frame.shape) >= 64


def sampled_rows(frame: Frame) -> list[int]:
    """First rows of the groups of rows that are read, each of one period of the pattern."""
    y0, y1, x0, x1 = region(frame)
    size = period(frame.meta.pattern)
    count = max(2, min(ROWS, PIXELS // max(1, x1 - x0), y1 - y0) // size)
    at = evenly(y0, max(y0, y1 - size), count, size)
    return [y for y in at if y >= y0] or at[:1]


def sample(frame: Frame, like: Frame | None = None) -> np.ndarray:
    """Whole rows spread over a frame: (groups, size, cols) float32; `size` rows lie together, one for mono sensors.

    The same pixels as of the frame `like`, when it is given.
    """
    like = like or frame
    y0, y1, x0, x1 = region(like)
    size = min(period(like.meta.pattern), y1 - y0)
    rows = np.stack([frame.pixels(y, y + size, x0, x1) for y in sampled_rows(like)])
    return np.where(np.isinf(rows), np.float32(np.nan), rows)


def look(frame: Frame) -> Look:
    """A look at one raw frame: headers aside, what a sample of at most 24 rows and 72 000 pixels tells."""
    x = sample(frame)
    good = np.isfinite(x)
    values = x[good]
    if 2 * values.size < x.size:
        raise FrameError(frame.source, "more than half of its pixels are missing")
    level, lowest, highest = float(np.median(values[::2])), float(values.min()), float(values.max())
    phases, colours, flattened, saturated = by_colour(frame, x, level)
    step = int(common_step(values)) if frame.meta.integer else 0
    shift = (step & -step).bit_length() - 1 if step else 0  # 4 for 12-bit data that fill 16 bits
    blocks, zones, residual, spread_dn = coarse(flattened, 2.0**shift if frame.meta.integer else 0.0)
    stars, spikes = peaks(residual, spread_dn, x.shape[1])
    count = max(1, values.size // zones.size)
    return Look(
        frame=frame, level_dn=level, spread_dn=spread_dn, lowest_dn=lowest, highest_dn=highest, pixels=x.size,
        missing=int(x.size - np.count_nonzero(good)), negative=int(np.count_nonzero(values < 0)),
        zeros=int(np.count_nonzero(values == 0)), at_highest=int(np.count_nonzero(values == highest)),
        saturated=saturated, shift_bits=shift, stars=stars, spikes=spikes, colours=colours, phases=phases,
        blocks=blocks, block_error_dn=spread_dn / math.sqrt(max(1, values.size // blocks.size)),
        zones=zones, zone_error_dn=spread_dn / math.sqrt(count),
        histogram=np.histogram(values[::4], BINS), digest=hashlib.blake2b(x.tobytes(), digest_size=16).hexdigest(),
        overscan_dn=overscan_level(frame),
    )  # fmt: skip


def overscan_level(frame: Frame) -> float | None:
    """The mean of some rows of the first overscan region of a frame, mostly rows that are read anyway."""
    if not frame.meta.overscan_px:
        return None
    y0, y1, x0, x1 = frame.meta.overscan_px[0]
    rows = [y for y in sampled_rows(frame) if y0 <= y < y1] or evenly(y0, y1 - 1, 8, 1)
    pixels = np.stack([frame.pixels(y, y + 1, x0, x1) for y in rows])
    middle, sigma = middle_of(pixels), madn(pixels[np.isfinite(pixels)])
    return mean_of(np.where(np.abs(pixels - middle) <= 4 * sigma + 1, pixels, np.nan))


def by_colour(frame: Frame, x: np.ndarray, level: float):
    """Means of the pattern's pixels, medians of its colours, the sample with colours brought to one level, clipping."""
    size, lit = period(frame.meta.pattern), frame.meta.kind in ("flat", "light")
    ceiling = 0.98 * (frame.meta.saturation_dn or np.inf)
    first = sampled_rows(frame)[0], region(frame)[2]
    letters, here = letters_of(frame), letters_of(frame, first)[: x.shape[1]]
    means = np.full((size, size), np.nan)
    for i, j in np.ndindex(here.shape):
        means[i, j] = mean_of(x[:, i, j::size])
    phases, flat, at_top, colours = np.roll(means, first, (0, 1)), x.copy(), [], {}
    for letter in dict.fromkeys(here.ravel().tolist()):
        parts = [flat[:, i, j::size] for i, j in np.argwhere(here == letter)]
        at_top.append(sum(int(np.count_nonzero(part >= ceiling)) for part in parts))
        usual = colours["" if letter == "x" else letter] = mean_of(phases[letters == letter])
        for part in parts if size > 1 and usual > 0 else ():
            part *= level / usual if lit else 1.0
            part += 0.0 if lit else level - usual
    return phases, colours, flat, tuple(at_top)


def letters_of(frame: Frame, first: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The colours of a frame's pattern from row and column `first` on, (size, size); x for a mono sensor."""
    size = period(frame.meta.pattern)
    return np.roll(np.array(list(frame.meta.pattern or "x")).reshape(size, size), np.negative(first), (0, 1))


def mean_of(x: np.ndarray) -> float:
    """The mean of what is finite; NaN when nothing is."""
    good = x[np.isfinite(x)]
    return float(good.mean()) if good.size else math.nan


def middle_of(x: np.ndarray) -> float:
    """The median of what is finite; 0 when nothing is."""
    good = x[np.isfinite(x)]
    return float(np.median(good)) if good.size else 0.0


def neighbour_noise(rows: np.ndarray) -> float:
    """The noise of a pixel of a sample, from the differences of pixels of one colour beside each other."""
    step = 2 if rows.shape[1] == 2 else rows.shape[1]
    return madn(rows[..., step:] - rows[..., :-step]) / math.sqrt(2)


def coarse(x: np.ndarray, step_dn: float = 0.0):
    """Means of a sample's blocks, those as a coarse map (ZONES), what is left without them, the robust sigma of that.

    step_dn: the step of the converter; a frame that is quieter is not known to be.
    """
    groups, size, cols = x.shape
    fine = max(1, min(4 * ZONES[1], cols // 8))
    wide = cols // fine
    blocks = x[:, :, : wide * fine].reshape(groups, size, fine, wide).transpose(0, 2, 1, 3).reshape(groups, fine, -1)
    with np.errstate(invalid="ignore"):
        middle = np.median(blocks, axis=-1)
    if np.isnan(middle).any():
        known = np.isfinite(blocks).any(axis=-1)
        middle = np.where(known, 0, np.nan)
        middle[known] = np.nanmedian(blocks[known], axis=-1)
        middle = np.nan_to_num(middle, nan=middle_of(middle))
    residual = blocks - middle[..., None]
    part = residual.ravel()[::3]
    part = part[np.isfinite(part)]
    sigma = max(0.5 * step_dn, 1.4826 * deviation(part, 0.0) if part.size else 0.0)
    near = np.clip(residual, -4 * sigma, 4 * sigma).mean(axis=-1)
    middle = middle + np.nan_to_num(near)
    zones = in_zones(middle).astype(np.float32)
    left = residual.reshape(groups, fine, size, wide).transpose(0, 2, 1, 3).reshape(groups, size, -1)
    return middle.astype(np.float32), zones, left, sigma


def in_zones(blocks: np.ndarray) -> np.ndarray:
    """Blocks as a coarse map of ZONES, in means."""
    most = np.minimum(ZONES, blocks.shape)
    down, across = (np.linspace(0, n, parts + 1).astype(int) for n, parts in zip(blocks.shape, most, strict=True))
    sums = np.add.reduceat(np.add.reduceat(blocks, down[:-1], axis=0), across[:-1], axis=1)
    return sums / np.outer(np.diff(down), np.diff(across))


def peaks(residual: np.ndarray, sigma: float, size: int) -> tuple[int, int]:
    """Peaks along the rows: narrow ones with bright neighbours of their colour on both sides, and the others."""
    if not sigma > 0 or residual.shape[-1] < 32:
        return 0, 0
    step = 2 if size > 1 else 1
    far = 6 * step
    here = residual[..., far:-far]
    near = residual[..., far - step : -far - step], residual[..., far + step : step - far]
    with np.errstate(invalid="ignore"):
        peak = (here > HIGH * sigma) & (here >= near[0]) & (here > near[1])
        height = here[peak]
        least = np.minimum(near[0][peak], near[1][peak])
        away = np.maximum(residual[..., : -2 * far][peak], residual[..., 2 * far :][peak])
        star = (least > np.maximum(BESIDE * sigma, 0.12 * height)) & (away < 0.5 * height)
    return int(np.count_nonzero(star)), int(star.size - np.count_nonzero(star))


@dataclass(frozen=True, eq=False)
class Pair:
    """What two frames of one group tell by their difference."""

    sources: tuple[str, str]
    colours: dict[str, sensor.Difference]
    signal_dn: float
    """Mean level of the colours of the first, without the bias."""
    noise_dn: float
    """Standard deviation of one frame, of all colours together."""
    lines: dict[str, tuple[float, float]]
    """Of rows and columns: power of their means in the difference over what white noise gives, and the rms of those
    means beyond white noise, in one frame, DN."""
    profile_dn: np.ndarray
    """Means of the rows of the difference."""


def pair(item: tuple[Frame, Frame, float, bool]) -> Pair:
    """Compare two frames; item is (frame, frame, bias level in DN, whether one is scaled to the other)."""
    one, two, bias_dn, scaled = item
    a, b = sampling.sample(one, PAIR_PIXELS), sampling.sample(two, PAIR_PIXELS)
    colours = sensor.differences(a, b, dict.fromkeys(a, bias_dn) if scaled else None, PAIR_BLOCKS)
    name = list(a)[-1]
    known, places = colours[name], len(sampling.colours(one)[name])
    first, second = (np.concatenate(boxes[name][::places]) for boxes in (a, b))
    step = max(1, len(first) // ROWS)
    difference = first[::step] - np.float32(known.ratio) * second[::step]
    scale = math.sqrt(1 + known.ratio**2)
    sigma = known.noise_dn * scale
    good = np.isfinite(difference)
    difference -= np.median(difference[good][::8]) if good.any() else 0
    difference[~(np.abs(difference) <= 5 * sigma)] = np.nan
    lines = {name: banding(difference, axis, sigma) for name, axis in (("rows", 1), ("columns", 0))}
    powers = {name: (power, rms / scale) for name, (_, power, rms) in lines.items()}
    noise = math.sqrt(mean_of(np.array([d.noise_dn**2 for d in colours.values()])))
    signal = mean_of(np.array([d.level_dn for d in colours.values()])) - bias_dn
    return Pair((one.source, two.source), colours, signal, noise, powers, lines["rows"][0])


def banding(difference: np.ndarray, axis: int, sigma: float) -> tuple[np.ndarray, float, float]:
    """Means along an axis without their parabola, their power over that of white noise, and their rms beyond it."""
    count = np.isfinite(difference).sum(axis=axis)
    known = count > 0.3 * difference.shape[axis]
    if known.sum() < 8 or not sigma > 0:
        return np.zeros(0), 0.0, 0.0
    means = np.nansum(difference, axis=axis)[known] / count[known]
    t = np.linspace(-1, 1, means.size)
    means = means - np.polyval(np.polyfit(t, means, 2), t)
    expected = sigma**2 * np.mean(1 / count[known]) * (means.size - 3) / means.size
    power = float(np.mean(means**2) / expected)
    return means, power, math.sqrt(max(0.0, float(np.mean(means**2)) - expected))


@dataclass(eq=False)
class Evidence:
    """All looks and pairs of a night, with the plan that they are about."""

    plan: Plan
    looks: dict[str, Look] = field(default_factory=dict)
    pairs: dict[int, Pair] = field(default_factory=dict)
    """By the id of the group."""

    def without(self, sources: Container[str]) -> "Evidence":
        """The evidence without these files."""
        return replace(self, looks={name: one for name, one in self.looks.items() if name not in sources})

    def of(self, group: Group | LightSet | None) -> list[Look]:
        """The looks at the frames of a group or a set, those that could be read."""
        return [self.looks[f.source] for f in group.frames if f.source in self.looks] if group is not None else []

    def groups(self, *kinds: str) -> list[Group]:
        """The groups of raw frames of these kinds of which at least one could be read."""
        return [g for g in self.plan.groups if g.kind in kinds and not g.is_master and self.of(g)]

    def level(self, master: "MasterJob | Frame | None") -> float | None:
        """Level of what a master is made of, None when it is ready-made or there is none."""
        looks = self.of(master.group) if isinstance(master, MasterJob) else []
        return level_of(looks) if looks else None

    def job(self, group: Group) -> MasterJob | None:
        """The job that makes a master of this group."""
        return next((job for job in self.plan.masters if job.group is group), None)

    def bias_for(self, group: Group) -> float | None:
        """The level without light and dark current of the frames of a group: of bias frames with the same settings."""
        job = self.job(group)
        for level in (self.level(job.bias), self.level(job.dark)) if job else ():
            if level is not None:
                return level
        same = [g for g in self.groups("bias") if g.meta.shape == group.meta.shape and alike(g.meta, group.meta)]
        return level_of(self.of(same[0])) if same else None


def level_of(looks: Iterable[Look]) -> float:
    """The median level of some frames, DN."""
    return float(np.median([one.level_dn for one in looks]))


def steady_level_of(looks: Iterable[Look]) -> float:
    """The median level of some frames above their overscan, DN."""
    return float(np.median([one.steady_dn for one in looks]))


def scatter_of(looks: Iterable[Look]) -> float:
    """How far the level of a frame may be from that of these, as they scatter themselves, DN."""
    return 3 * madn(np.array([one.steady_dn for one in looks]))


def noise_of(looks: Iterable[Look]) -> float:
    """The median spread of some frames, DN."""
    return float(np.median([one.spread_dn for one in looks]))


def usual_pair(looks: Sequence[Look]) -> tuple[Look, Look]:
    """The two frames of some that are most like all: an odd one, or the same frame twice, tells nothing of the others.

    Frames are as far from the others as their level and their spread, in units of how these scatter.
    """
    values = np.array([(one.level_dn, one.spread_dn) for one in looks])
    away = np.abs(values - np.median(values, axis=0))
    far = (away / np.maximum(np.median(away, axis=0), 1e-3 * np.abs(values).mean(axis=0) + 1e-9)).max(axis=1)
    first, *others = (looks[i] for i in np.argsort(far, kind="stable"))
    return first, next((one for one in others if one.digest != first.digest), others[0])


def alike(one: Meta, other: Meta) -> bool:
    """Whether two frames were read out alike, as far as their headers tell."""
    return not any(differences(one, other, READ_OUT))


def gather(plan: Plan, pool: Pool) -> Generator[Event, None, "Evidence"]:
    """Look at every raw frame of a plan, and at one pair of each group: events; the generator's value is `Evidence`."""
    evidence = Evidence(plan)
    raw = [f for group in plan.groups if not group.is_master for f in group.frames if large(f)]
    for event in each("doctor", pool, look, raw):
        if not isinstance(event.result, Rejected) and not event.result.empty:
            evidence.looks[event.item.source] = event.result
        yield Event("doctor", event.done, event.total)
    groups, items = {}, []
    for group in evidence.groups("bias", "dark", "flatdark", "flat"):
        seen, is_flat = evidence.of(group), group.kind == "flat"
        if len(seen) > 1:
            one, two = usual_pair(seen)
            items.append((one.frame, two.frame, (is_flat and evidence.bias_for(group)) or 0.0, is_flat))
            groups[id(items[-1])] = id(group)
    for event in each("doctor", pool, pair, items):
        if not isinstance(event.result, Rejected):
            evidence.pairs[groups[id(event.item)]] = event.result
    return evidence
