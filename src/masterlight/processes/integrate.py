"""Many frames into one: normalise, weigh, reject what does not belong, combine; with variance, coverage and maps."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from masterlight import workers
from masterlight.errors import FrameError, NothingUsable, ParameterError
from masterlight.frame import Frame
from masterlight.kernels import combine, rejection
from masterlight.process import process
from masterlight.workers import Event

ALGORITHMS = ("none", "minmax", "percentile", "sigma", "winsorized", "mad", "noise", "auto")
"""In the order of their numbers in `kernels.rejection`."""
COMBINATIONS = ("average", "median", "minimum", "maximum")
CACHE_BYTES = 16_000_000
SMALL_TILE = 2**16
SAMPLES = 250_000
"""Pixels that `measure` looks at: the median of so many is sure to 0.3 % of their scatter."""


@dataclass(frozen=True)
class FrameStatistics:
    """What integration must know of one frame before it starts; of a light, as measured before registration."""

    source: str
    location_dn: float
    """Median of the background."""
    scale_dn: float | tuple[float, float]
    """Dispersion about the median, one number or (below, above)."""
    noise_dn: float
    exposure_s: float | None = None
    flux_ratio: float | None = None
    """Flux of stars in this frame over that of the same stars in the reference."""


@dataclass(frozen=True, eq=False)
class Terms:
    """The numbers by which each frame enters, (N,) float64: sample x is combined as out_scale * x + out_offset."""

    out_scale: np.ndarray
    out_offset: np.ndarray
    rej_scale: np.ndarray
    rej_offset: np.ndarray
    weights: np.ndarray
    """The best frame has 1."""
    noise_variance: np.ndarray
    """Of one sample, DN^2 on the output scale."""
    rejection_variance: float
    """Of one sample, DN^2 on the scale of rejection, pooled over the frames; 0 where the noise is unknown."""
    background_dn: float
    """Location of the reference."""
    looseness: np.ndarray
    """How many times the usual distance a frame's samples may lie off before they are rejected: its noise over that
    of most frames, 1 at least. A frame seen through cloud and scaled up is noisier, not wrong."""
    notes: tuple[str, ...] = ()


class TileResult(NamedTuple):
    """One box of the result: (h, w) planes and (N,) counts of samples."""

    image: np.ndarray
    variance: np.ndarray
    coverage: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts_low: np.ndarray
    counts_high: np.ndarray
    counts_total: np.ndarray


@dataclass(frozen=True)
class FrameRow:
    """What one frame gave to the stack."""

    source: str
    plane: int
    weight: float
    scale: float
    offset: float
    rejected_low_fraction: float
    rejected_high_fraction: float


@dataclass(frozen=True, eq=False)
class Stack:
    """An integrated image and how it came about: planes (rows, cols) or (3, rows, cols)."""

    image: np.ndarray
    """float32 DN on the scale of the reference, NaN where no frame has a sample."""
    variance: np.ndarray | None
    """float32 DN^2: sigma squared of each pixel of `image`; this and the other maps are None when not asked for."""
    coverage: np.ndarray | None
    """uint16, samples combined."""
    rejected_low: np.ndarray | None
    """uint16, samples rejected as too faint."""
    rejected_high: np.ndarray | None
    frames: tuple[FrameRow, ...]
    n: int
    notes: tuple[str, ...] = ()

    @property
    def rejected_low_fraction(self) -> np.ndarray:
        return self.rejected_low.astype(np.float32) / np.float32(self.n)

    @property
    def rejected_high_fraction(self) -> np.ndarray:
        return self.rejected_high.astype(np.float32) / np.float32(self.n)

    @property
    def effective_frames(self) -> float:
        """How many equal frames would give the same noise: (sum w)^2 / sum w^2."""
        weights = np.array([row.weight for row in self.frames if row.plane == 0])
        return float(weights.sum() ** 2 / (weights**2).sum())


@process
class Rejection:
    """Leave out what is in one frame and not in the others: cosmic rays, satellites, aircraft, hot pixels."""

    algorithm: Literal["auto", "none", "minmax", "percentile", "sigma", "winsorized", "mad", "noise"] = "auto"
    """How outliers are told: auto is Winsorized sigma clipping, and the noise model for pixels with few samples."""
    low: Annotated[float, Field(gt=0, le=50)] = 4.0
    """Samples fainter than the pixel's median by more than this many sigma are rejected."""
    high: Annotated[float, Field(gt=0, le=50)] = 3.0
    """Samples brighter than the pixel's median by more than this many sigma are rejected."""
    normalization: Literal["none", "scale+zero offset", "equalize fluxes"] = "scale+zero offset"
    """How frames are made comparable for this decision alone."""
    clip_low: bool = True
    """Reject faint outliers."""
    clip_high: bool = True
    """Reject bright outliers."""
    percentile_low: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Percentile clipping rejects what is fainter than the median by more than this fraction of it."""
    percentile_high: Annotated[float, Field(gt=0)] = 0.1
    """Percentile clipping rejects what is brighter than the median by more than this fraction of it."""
    minmax_low: Annotated[int, Field(ge=0)] = 1
    """How many of the faintest samples min/max rejection leaves out."""
    minmax_high: Annotated[int, Field(ge=0)] = 1
    """How many of the brightest samples min/max rejection leaves out."""
    range_low: float | None = None
    """Values at or below this, in DN as they come to integration, never take part."""
    range_high: float | None = None
    """Values at or above this, in DN as they come to integration, never take part."""
    few: Annotated[int, Field(ge=3)] = 10
    """Pixels with fewer samples than this are judged by auto with the noise model: few cannot tell their own sigma."""
    gain_e_per_dn: Annotated[float, Field(gt=0)] | None = None
    """Electrons per DN, for the photon noise of bright pixels in the noise model."""
    signal_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Part of the light above the background by which seeing may change a pixel between frames, in the noise model."""
    floor: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Sigma of a pixel is never taken smaller than this part of the frames' noise: few samples may agree by chance."""
    min_keep_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """At least this part of a pixel's samples survives clipping, and never fewer than two."""
    max_passes: Annotated[int, Field(ge=1, le=100)] = 20
    """Clipping is repeated until nothing more goes, at most this many times."""

    def rule(self, terms: Terms) -> rejection.Rule:
        """This process as the numbers that the kernel takes."""
        limits = {
            "percentile": (self.percentile_low, self.percentile_high),
            "minmax": (float(self.minmax_low), float(self.minmax_high)),
        }
        low, high = limits.get(self.algorithm, (self.low, self.high))
        off = 0.0 if self.algorithm == "minmax" else np.inf
        statistical = self.algorithm in ("sigma", "winsorized", "mad", "auto")
        return rejection.Rule(
            algorithm=ALGORITHMS.index(self.algorithm),
            low=low if self.clip_low else off,
            high=high if self.clip_high else off,
            passes=1 if self.algorithm == "percentile" else self.max_passes,
            keep_fraction=self.min_keep_fraction,
            range_low=-np.inf if self.range_low is None else self.range_low,
            range_high=np.inf if self.range_high is None else self.range_high,
            few=self.few,
            noise_variance=terms.rejection_variance,
            noise_slope=float(terms.rej_scale.mean()) / self.gain_e_per_dn if self.gain_e_per_dn else 0.0,
            noise_fraction=self.signal_fraction,
            noise_zero=terms.background_dn,
            floor=self.floor * float(np.sqrt(terms.rejection_variance)) if statistical else 0.0,
        )


@process
class ImageIntegration:
    """Combine frames of the same scene into one with less noise, rejecting what is not in most of them."""

    combination: Literal["average", "median", "minimum", "maximum"] = "average"
    """How the surviving samples of a pixel become one; average keeps the most light."""
    normalization: Literal["none", "additive", "multiplicative", "additive+scaling", "multiplicative+scaling"] = (
        "additive+scaling"
    )
    """How frames are brought to the background and scale of the reference before they are combined."""
    weights: Literal["none", "noise", "exposure"] = "noise"
    """What a frame counts for: all the same, by inverse noise variance, or by exposure time."""
    scale: Literal["stars", "dispersion"] = "stars"
    """What tells the scale of a frame: the flux of its stars, or the dispersion of its background."""
    rejection: Rejection = Rejection()

    @classmethod
    def for_bias(cls) -> "ImageIntegration":
        """Settings for a master bias: plain average; only what is 6 sigma off, such as a cosmic ray, is rejected."""
        return cls(
            normalization="none",
            weights="none",
            scale="dispersion",
            rejection=Rejection(low=6.0, high=6.0, normalization="none"),
        )

    @classmethod
    def for_dark(cls) -> "ImageIntegration":
        """Settings for a master dark, the same as for a bias: the level is the signal, so nothing is normalised."""
        return cls.for_bias()

    @classmethod
    def for_flat(cls) -> "ImageIntegration":
        """Settings for a master flat: frames scaled to equal brightness, rejection at 4 sigma.

        The noise of a flat is not the same all over it: its bright parts need more room than the usual 3.
        """
        return cls(
            normalization="multiplicative",
            weights="none",
            scale="dispersion",
            rejection=Rejection(high=4.0, normalization="equalize fluxes", signal_fraction=0.0),
        )

    def terms(self, statistics: Sequence[FrameStatistics], reference: int = 0) -> Terms:
        """The numbers by which each frame enters, from what was measured of all; `reference` stays as it is."""
        check(self, statistics)
        location = np.array([s.location_dn for s in statistics], float)
        noise = np.array([s.noise_dn for s in statistics], float)
        factor, notes = scale_factors(self, statistics, reference)
        out_scale, out_offset = normalization(self.normalization, location, factor, reference)
        rej_scale, rej_offset = normalization(self.rejection.normalization, location, factor, reference)
        variance = (out_scale * noise) ** 2
        weights = np.ones(len(statistics))
        if self.weights == "noise":
            weights = 1 / variance
        elif self.weights == "exposure":
            weights = np.array([s.exposure_s for s in statistics], float)
        pooled = float(np.median((rej_scale * noise) ** 2))
        known = np.isfinite(pooled) and pooled > 0
        return Terms(
            out_scale=out_scale,
            out_offset=out_offset,
            rej_scale=rej_scale,
            rej_offset=rej_offset,
            weights=weights / weights.max(),
            noise_variance=variance,
            rejection_variance=pooled if known else 0.0,
            background_dn=float(location[reference]),
            looseness=np.maximum(1.0, np.abs(rej_scale) * noise / np.sqrt(pooled)) if known else np.ones(len(noise)),
            notes=notes,
        )

    def tile(self, samples: np.ndarray, terms: Terms) -> TileResult:
        """Integrate one box: samples (N, h, w) float32 DN, NaN where missing."""
        n, h, w = samples.shape
        planes = combine.Planes(
            *(np.empty(h * w, d) for d in (np.float32, np.float32, np.uint16, np.uint16, np.uint16))
        )
        columns = combine.Columns(
            *(
                np.asarray(a, np.float32)
                for a in (
                    terms.rej_scale,
                    terms.rej_offset,
                    terms.out_scale,
                    terms.out_offset,
                    terms.weights,
                    terms.noise_variance,
                    terms.looseness,
                )
            )
        )
        counts = np.zeros((3, n), np.int64)
        flat = np.ascontiguousarray(samples, np.float32).reshape(n, h * w)
        rule = self.rejection.rule(terms)
        combine.integrate(flat, columns, rule, COMBINATIONS.index(self.combination), planes, counts)
        return TileResult(*(p.reshape(h, w) for p in planes), *counts)

    def __call__(
        self,
        frames: Sequence[Frame],
        statistics: Sequence | None = None,
        *,
        reference: int = 0,
        pool: str | tuple[Executor, int] = "serial",
        memory_mb: float = 512,
        aspect: float | None = None,
        maps: bool = True,
    ) -> Iterator[Event]:
        """Integrate frames of equal shape: yields an Event for each tile, and at last one whose result is the `Stack`.

        statistics: a `FrameStatistics` for each frame, for colour a list of such lists, one for each
        plane; measured here when None. `memory_mb` bounds the samples that are in memory at once.
        `aspect` is the width of a tile over its height: none, bands of whole rows, suits frames that are read as
        stored; 1 those that are rotated on the way. Without `maps` the stack holds the image alone.
        A frame that cannot be read ends the run with a FrameError that names it.
        """
        check_shapes(frames)
        shape = frames[0].shape if len(frames[0].shape) == 3 else (1, *frames[0].shape)
        with workers.executor(pool) if isinstance(pool, str) else nullcontext(pool) as running:
            if statistics is None:
                measured = [None] * len(frames)
                for event in workers.each("measure", running, Measure(frames), range(len(frames)), keep_going=False):
                    measured[event.item] = event.result
                    yield Event("measure", event.done, event.total, event.item)
                statistics = list(zip(*measured, strict=True))
            elif isinstance(statistics[0], FrameStatistics):
                statistics = [statistics]
            if len(statistics) != shape[0] or any(len(s) != len(frames) for s in statistics):
                raise ParameterError(f"statistics: {len(frames)} frames of {shape[0]} planes need one for each of them")
            terms = [self.terms(s, reference) for s in statistics]
            boxes = tiles(shape[-2:], len(frames) * shape[0], memory_mb, running[1], aspect)
            yield Event("integrate", 0, len(boxes), message=plan_sentence(len(frames), shape, boxes))
            stack = Canvas(shape, len(frames), maps)
            for event in workers.each("integrate", running, Tile(self, frames, terms), boxes, keep_going=False):
                stack.place(event.item, event.result)
                yield Event("integrate", event.done, event.total, event.item)
        result = stack.finished([f.source for f in frames], terms, frames[0].shape)
        yield Event("integrate", len(boxes), len(boxes), result=result, message=result_sentence(result))


def compiled() -> bool:
    """Whether the kernels were compiled on this machine before; their cache lies beside them, or in the user's."""
    return any(Path(combine.integrate.stats.cache_path).glob("combine.integrate-*.nbi"))


def check(settings: ImageIntegration, statistics: Sequence[FrameStatistics]) -> None:
    """Raise ParameterError, naming the frame, where a number is missing that these settings need."""
    if not statistics:
        raise NothingUsable("there is no frame to integrate")
    modes = (settings.normalization, settings.rejection.normalization)
    for s in statistics:
        if not np.isfinite(s.location_dn):
            raise ParameterError(
                f"{s.source}: location_dn is {s.location_dn}; it must be a number: is the frame empty?"
            )
        if s.location_dn <= 0 and any("multiplicative" in m or m == "equalize fluxes" for m in modes):
            raise ParameterError(
                f"{s.source}: location_dn is {s.location_dn:g}; multiplicative normalization needs a positive level:"
                " leave the frame out, or use additive"
            )
        if settings.weights == "noise" and not (np.isfinite(s.noise_dn) and s.noise_dn > 0):
            raise ParameterError(
                f"{s.source}: noise_dn is {s.noise_dn:g}; weights='noise' needs a positive noise: use weights='none'"
            )
        if settings.weights == "exposure" and not (s.exposure_s and s.exposure_s > 0):
            raise ParameterError(
                f"{s.source}: exposure_s is {s.exposure_s}; weights='exposure' needs the header's exposure time"
            )
        if s.flux_ratio is not None and not (np.isfinite(s.flux_ratio) and s.flux_ratio > 0):
            raise ParameterError(f"{s.source}: flux_ratio is {s.flux_ratio:g}; it must be positive, or None if unknown")


def scale_factors(settings: ImageIntegration, statistics, reference: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Factor k_i that brings frame i to the scale of the reference, and what is to be told about it."""
    needed = "scaling" in settings.normalization or settings.rejection.normalization == "scale+zero offset"
    if not needed:
        return np.ones(len(statistics)), ()
    ratios = [s.flux_ratio for s in statistics]
    unknown = [s.source for s, r in zip(statistics, ratios, strict=True) if r is None]
    if settings.scale == "stars" and not unknown:
        return ratios[reference] / np.array(ratios), ()
    sides = np.array([np.broadcast_to(np.asarray(s.scale_dn, float), 2) for s in statistics])
    for s, pair in zip(statistics, sides, strict=True):
        if not (np.isfinite(pair).all() and (pair > 0).all()):
            raise ParameterError(
                f"{s.source}: scale_dn is {s.scale_dn}; scaling by dispersion needs more: use additive normalization"
            )
    notes = ()
    if settings.scale == "stars" and len(statistics) > 1:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        notes = (f"scaled by the dispersion of the background: the star flux of {unknown[0]}{more} is unknown",)
    return (sides[reference] / sides).mean(axis=1), notes


def normalization(mode: str, location: np.ndarray, factor: np.ndarray, reference: int) -> tuple[np.ndarray, np.ndarray]:
    """(scale, offset) of each frame: x becomes scale * x + offset."""
    level, one = location[reference], np.ones_like(location)
    if mode == "none":
        return one, 0 * one
    if mode == "additive":
        return one, level - location
    if mode in ("multiplicative", "equalize fluxes"):
        return level / location, 0 * one
    if mode == "multiplicative+scaling":
        return factor * level / location, 0 * one
    return factor, level - factor * location


def check_shapes(frames: Sequence[Frame]) -> None:
    if not frames:
        raise NothingUsable("there is no frame to integrate")
    for frame in frames:
        if frame.shape != frames[0].shape:
            raise FrameError(
                frame.source,
                f"its shape is {frame.shape}, that of {frames[0].source} is {frames[0].shape}; integrate them apart",
            )


def tiles(shape, count: int, memory_mb: float, threads: int, aspect: float | None) -> list[tuple[int, int, int, int]]:
    """Boxes (y0, y1, x0, x1) that cover an image so that `count` samples a pixel fit into the memory on all threads.

    Bands of whole rows, or boxes `aspect` times as wide as high. Small enough that the samples of a tile
    stay in the processor's cache from reading to combining, unless a tile would become too small to be worth its call.
    """
    rows, cols = shape
    pixels = memory_mb * 1e6 / threads / (4 * count + 32)
    pixels = max(64, min(pixels, max(SMALL_TILE, CACHE_BYTES / (4 * count))))
    width = min(cols, max(64, int(np.sqrt(pixels * aspect)))) if aspect else min(cols, int(pixels))
    width = -(-cols // -(-cols // width))
    height = max(1, min(rows, int(pixels / width)))
    height = -(-rows // -(-rows // height))
    return [
        (y, min(y + height, rows), x, min(x + width, cols))
        for y in range(0, rows, height)
        for x in range(0, cols, width)
    ]


@contextmanager
def naming(frame: Frame) -> Iterator[None]:
    """What goes wrong while a frame is read becomes a FrameError that carries the frame's source."""
    try:
        yield
    except FrameError as error:
        raise error if error.source == frame.source else FrameError(frame.source, str(error)) from error
    except OSError as error:
        raise FrameError(frame.source, f"it cannot be read: {error}; leave it out, or copy it again") from error


class Tile:
    """The task of one tile: load its box of every frame into one buffer, kept for the thread's next, and integrate."""

    def __init__(self, settings: ImageIntegration, frames: Sequence[Frame], terms: Sequence[Terms]):
        self.settings, self.frames, self.terms = settings, frames, terms
        self.kept = threading.local()

    def __reduce__(self):
        return Tile, (self.settings, self.frames, self.terms)

    def buffer(self, size: int) -> np.ndarray:
        if getattr(self.kept, "buffer", np.empty(0)).size < size:
            self.kept.buffer = np.empty(size, np.float32)
        return self.kept.buffer[:size]

    def __call__(self, box) -> list[TileResult]:
        y0, y1, x0, x1 = box
        shape = (len(self.terms), len(self.frames), y1 - y0, x1 - x0)
        samples = self.buffer(int(np.prod(shape))).reshape(shape)
        for i, frame in enumerate(self.frames):
            out = samples[:, i] if len(frame.shape) == 3 else samples[0, i]
            with naming(frame):
                frame.pixels_into(out, y0, x0)
        return [self.settings.tile(plane, terms) for plane, terms in zip(samples, self.terms, strict=True)]


class Canvas:
    """The whole result while its tiles arrive."""

    def __init__(self, shape, count: int, maps: bool):
        kinds = {
            "image": np.float32,
            "variance": np.float32,
            "coverage": np.uint16,
            "low": np.uint16,
            "high": np.uint16,
        }
        self.planes = {name: np.empty(shape, kind) for name, kind in kinds.items() if maps or name == "image"}
        self.counts = np.zeros((shape[0], 3, count), np.int64)

    def place(self, box, results: list[TileResult]) -> None:
        y0, y1, x0, x1 = box
        for plane, result in enumerate(results):
            for name, whole in self.planes.items():
                whole[plane, y0:y1, x0:x1] = getattr(result, name)
            self.counts[plane] += (result.counts_low, result.counts_high, result.counts_total)

    def finished(self, sources: Sequence[str], terms: Sequence[Terms], shape) -> Stack:
        rows = tuple(
            FrameRow(source, p, float(t.weights[i]), float(t.out_scale[i]), float(t.out_offset[i]), *fractions)
            for p, t in enumerate(terms)
            for i, source in enumerate(sources)
            for fractions in [[float(c) / max(1, int(self.counts[p, 2, i])) for c in self.counts[p, :2, i]]]
        )
        names = ("image", "variance", "coverage", "low", "high")
        planes = (self.planes[name].reshape(shape) if name in self.planes else None for name in names)
        return Stack(*planes, rows, len(sources), tuple(dict.fromkeys(n for t in terms for n in t.notes)))


def plan_sentence(count: int, shape, boxes) -> str:
    y0, y1, x0, x1 = boxes[0]
    megabytes = count * shape[0] * (y1 - y0) * (x1 - x0) * 4 / 1e6
    return (
        f"{count} frames of {shape[-1]} x {shape[-2]} in {len(boxes)} tiles of {x1 - x0} x {y1 - y0},"
        f" {megabytes:.0f} MB of samples each"
    )


def result_sentence(stack: Stack) -> str:
    low = np.mean([row.rejected_low_fraction for row in stack.frames])
    high = np.mean([row.rejected_high_fraction for row in stack.frames])
    return (
        f"{stack.n} frames integrated, worth {stack.effective_frames:.1f} equal ones;"
        f" rejected {100 * low:.3f} % of samples low, {100 * high:.3f} % high"
    )


class Measure:
    """The task of one frame: its statistics, a `FrameStatistics` for each plane."""

    def __init__(self, frames: Sequence[Frame]):
        self.frames = frames

    def __call__(self, i: int) -> list[FrameStatistics]:
        return measure(self.frames[i])


def measure(frame: Frame) -> list[FrameStatistics]:
    """Median, dispersion and noise of each plane, from 16 strips spread over the frame.

    Dispersion is 1.4826 MAD about the median. Noise is 1.4826 MAD of the difference of pixels two
    columns apart, over sqrt(2): neither a gradient nor a colour filter array adds to it.
    """
    rows, cols = frame.shape[-2:]
    height = max(2, min(rows, round(SAMPLES / 16 / cols)))
    starts = sorted({int(y) for y in np.linspace(0, rows - height, 16)}) if rows > 16 * height else [0]
    with naming(frame):
        strips = [frame.pixels(y, y + height if len(starts) > 1 else rows, 0, cols) for y in starts]
    found = []
    for plane in range(strips[0].shape[0] if strips[0].ndim == 3 else 1):
        flat = [s[plane] if s.ndim == 3 else s for s in strips]
        values = np.concatenate([s[np.isfinite(s)] for s in flat])
        if not values.size:
            raise FrameError(frame.source, "it has no pixel that is not missing; leave it out")
        steps = np.concatenate([(s[:, 2:] - s[:, :-2]).ravel() for s in flat])
        location = float(np.median(values))
        noise = 1.4826 * float(np.median(np.abs(steps[np.isfinite(steps)]))) / np.sqrt(2) if cols > 2 else 0.0
        scale = 1.4826 * float(np.median(np.abs(values - np.float32(location))))
        found.append(FrameStatistics(frame.source, location, scale, noise, frame.meta.exposure_s))
    return found
