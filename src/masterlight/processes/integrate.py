"""Many frames into one: normalise, weigh, reject what does not belong, combine; with variance, coverage and maps."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from masterlight import workers
from masterlight.errors import FrameError, NothingUsable, ParameterError, Rejected
from masterlight.frame import Frame
from masterlight.kernels import combine
from masterlight.process import process
from masterlight.processes.entropy import entropy_grid
from masterlight.processes.framestats import FrameStatistics, measure
from masterlight.processes.normalize import LocalNormalization
from masterlight.processes.rejection import Rejection
from masterlight.processes.sky import sky_below
from masterlight.processes.stack import HIGH, LOW, Canvas, FrameRow, Stack
from masterlight.processes.terms import Terms, terms_of
from masterlight.processes.tile import Tile, integrate_tile, sample_bytes
from masterlight.processes.weights import needs
from masterlight.workers import Event

CACHE_BYTES = 16_000_000
SMALL_TILE = 2**16

Weights = Literal[
    "noise", "none", "exposure", "snr", "psf-signal", "psf-snr", "psf-scale-snr", "average", "median",
    "average-deviation", "keyword", "expression",
]  # fmt: skip


@process
class ImageIntegration:
    """Combine frames of the same scene into one with less noise, rejecting what is not in most of them."""

    combination: Literal["average", "median", "minimum", "maximum", "adaptive", "entropy"] = "average"
    """How the surviving samples of a pixel become one: average keeps the most light; adaptive is the auto-adaptive
    weighted average, entropy the average weighted by the entropy of the pixels around each sample."""
    normalization: Literal[
        "none", "additive", "multiplicative", "additive+scaling", "multiplicative+scaling", "local"
    ] = "additive+scaling"
    """How frames are brought to the background and scale of the reference before they are combined."""
    weights: Weights = "noise"
    """What a frame counts for: noise is by inverse noise variance, psf-... by its stars, keyword by its header."""
    weight_keyword: str = "SSWEIGHT"
    """Keyword that holds the weight of a frame, for weights keyword."""
    weight_expression: str | None = None
    """Formula of the weight of a frame, for weights expression: such as 35*inv(FWHM) + 10*inv(Noise) + 50."""
    min_weight: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Frames that count for less than this part of the best are left out; 0 keeps all."""
    scale: Literal["stars", "bwmv", "avgdev", "mad", "pbmv", "sn", "qn", "ikss"] = "stars"
    """What tells the scale of a frame: the flux of its stars, or an estimate of the dispersion of its background."""
    local: LocalNormalization = LocalNormalization()
    rejection: Rejection = Rejection()

    @classmethod
    def for_bias(cls) -> "ImageIntegration":
        """Settings for a master bias: plain average; only what is 6 sigma off, such as a cosmic ray, is rejected."""
        return cls(
            normalization="none",
            weights="none",
            scale="bwmv",
            rejection=Rejection.for_master(low=6.0, high=6.0, normalization="none"),
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
            scale="bwmv",
            rejection=Rejection.for_master(high=4.0, normalization="equalize fluxes", signal_fraction=0.0),
        )

    def terms(self, statistics: Sequence[FrameStatistics], reference: int = 0) -> Terms:
        """The numbers by which each frame enters, from what was measured of all; `reference` stays as it is."""
        return terms_of(self, statistics, reference)

    @property
    def measures(self) -> tuple[str, ...]:
        """Fields of `FrameStatistics` beyond the usual that these settings need."""
        return needs(self.weights, self.weight_expression or "")

    @property
    def needs_scale(self) -> bool:
        """Whether the scale of each frame matters."""
        modes = self.normalization, self.rejection.normalization
        return "scaling" in modes[0] or modes[1] == "scale+zero offset" or self.weights == "psf-scale-snr"

    @property
    def localizes(self) -> bool:
        return "local" in (self.normalization, self.rejection.normalization)

    def __call__(
        self,
        frames: Sequence[Frame],
        statistics: Sequence | None = None,
        *,
        reference: int | None = None,
        pool: str | tuple[Executor, int] = "serial",
        memory_mb: float = 512,
        aspect: float | None = None,
        maps: bool = True,
        slope: bool = False,
        verdicts: bool = False,
    ) -> Iterator[Event]:
        """Integrate frames of equal shape: yields an Event for each tile, and at last one whose result is the `Stack`.

        statistics: a `FrameStatistics` for each frame, for colour a list of such lists, one for each
        plane; measured here when None. reference: the frame whose level and scale the result has, by default the one
        of greatest weight. `memory_mb` bounds the samples that are in memory at once.
        `aspect` is the width of a tile over its height: none, bands of whole rows, suits frames that are read as
        stored; 1 those that are rotated on the way. Without `maps` the stack holds the image alone; `slope` asks for
        the map of slopes of linear fit clipping, `verdicts` for what was left out of each frame.
        A frame that cannot be read ends the run with a FrameError that names it. Frames that count for next to
        nothing, or have no local normalization, are left out and told in the notes.
        """
        check_shapes(frames)
        shape = frames[0].shape if len(frames[0].shape) == 3 else (1, *frames[0].shape)
        with workers.executor(pool) if isinstance(pool, str) else nullcontext(pool) as running:
            if statistics is None:
                task = partial(measure, wanted=self.measures, scale="bwmv" if self.scale == "stars" else self.scale)
                statistics = yield from gathered("measure", running, task, frames)
                statistics = list(zip(*statistics, strict=True))
            elif isinstance(statistics[0], FrameStatistics):
                statistics = [statistics]
            if len(statistics) != shape[0] or any(len(s) != len(frames) for s in statistics):
                raise ParameterError(f"statistics: {len(frames)} frames of {shape[0]} planes need one for each of them")
            if reference is None:
                reference = int(np.argmax(np.mean([terms_of(self, s).weights for s in statistics], axis=0)))
            local, lost = yield from self.localized(running, frames, reference)
            terms = self.terms_of_all(statistics, reference, local)
            kept = np.array([i not in lost for i in range(len(frames))])
            light = np.min([t.weights for t in terms], axis=0) < self.min_weight
            for i in np.flatnonzero(light & kept):
                lost[i] = Rejected(
                    frames[i].source, "integrate", f"it counts for less than {self.min_weight:g} of the best"
                )
            kept &= ~light
            used = [frame for frame, keep in zip(frames, kept, strict=True) if keep]
            if len(used) < len(frames):
                self.rejection.check(len(used))
            work = Work(self, used, [t.take(kept) for t in terms], shape, running, memory_mb, aspect)
            work.more["local"] = [m for m, keep in zip(local, kept, strict=True) if keep] if local else None
            if self.normalization != "none" and any(t.signal_fraction > 0 or t.photon.any() for t in terms):
                work.more["sky"] = sky_below(frames[reference])
            if self.combination == "entropy":
                grids = yield from gathered("entropy", running, Entropies(shape[0]), used)
                work.more["entropy"] = grids
            canvas = yield from work.integrated(maps, slope, verdicts)
        result = stack_of(canvas, frames, kept, terms, statistics, local, lost, reference)
        yield Event("integrate", work.done, work.done, result=result, message=result_sentence(result))

    def localized(self, running, frames, reference: int):
        """A local model for each frame, or none; and the frames that have none, {index: Rejected}."""
        if not self.localizes:
            return None, {}
        known = self.local.reference(frames[reference])
        models = yield from gathered("normalize", running, partial(self.local.model, known), frames)
        lost = {i: model for i, model in enumerate(models) if isinstance(model, Rejected)}
        if len(lost) == len(frames):
            raise NothingUsable(f"no frame can be normalized locally; the first: {lost[0].reason}")
        return models, lost

    def terms_of_all(self, statistics, reference: int, local) -> list[Terms]:
        """The terms of each plane; a frame without a local model gets those of one that has it."""
        if not local:
            return [terms_of(self, s, reference) for s in statistics]
        scales = np.array([m.scale if m else (1.0,) * len(statistics) for m in local], float)
        return [terms_of(self, s, reference, scales[:, p]) for p, s in enumerate(statistics)]

    def tile(self, samples: np.ndarray, terms: Terms, **more):
        """Integrate one box: samples (N, h, w) float32 DN, NaN where missing; a `TileResult`."""
        return integrate_tile(self, samples, terms, **more)


class Work:
    """One integration at work: tiles, and where larger structures are looked for those that these change once more."""

    def __init__(self, settings, frames, terms, shape, running, memory_mb, aspect):
        self.settings, self.frames, self.terms, self.shape, self.running = settings, frames, terms, shape, running
        self.memory_mb, self.aspect, self.done = memory_mb, aspect, 0
        self.more: dict = {"local": None, "sky": None, "entropy": None}
        self.larger = settings.rejection.looks_larger

    def integrated(self, maps: bool, slope: bool, verdicts: bool) -> Iterator[Event]:
        """Yield an event for each tile; gives the canvas."""
        told = verdicts or self.larger
        bytes_each = sample_bytes(self.settings, told) / 4
        count = len(self.frames) * self.shape[0] * bytes_each
        boxes = tiles(self.shape[-2:], count, self.memory_mb, self.running[1], self.aspect)
        self.done = len(boxes)
        yield Event("integrate", 0, len(boxes), message=plan_sentence(len(self.frames), self.shape, boxes))
        canvas = Canvas(self.shape, len(self.frames), maps, slope, told)
        yield from self.look(canvas, boxes, "integrate", slope=slope, verdicts=told)
        if self.larger:
            touched = yield from self.grow(canvas)
            again = [box for box in boxes if touched[box[0] : box[1], box[2] : box[3]].any()]
            yield from self.look(canvas, again, "reject larger", slope=slope, larger=canvas.verdicts)
        return canvas

    def look(self, canvas: Canvas, boxes, stage: str, **more) -> Iterator[Event]:
        """Integrate some tiles."""
        task = Tile(self.settings, self.frames, self.terms, **self.more, **more)
        for event in workers.each(stage, self.running, task, boxes, keep_going=False):
            canvas.place(event.item, event.result)
            yield Event(stage, event.done, event.total, event.item)

    def grow(self, canvas: Canvas) -> Iterator[Event]:
        """Find trails and other larger structures in what was rejected of each frame; gives where there are any."""
        touched = np.zeros(self.shape[-2:], bool)
        flat = touched.reshape(-1)
        items = [(i, p) for i in range(len(self.frames)) for p in range(self.shape[0])]
        task = Larger(self.settings.rejection.large_scale, canvas.verdicts)
        for event in workers.each("find trails", self.running, task, items, keep_going=False):
            (i, p), grown = event.item, event.result
            if grown:
                for side, more in ((LOW, grown.low), (HIGH, grown.high)):
                    canvas.verdicts.large(i, p, side, more)
                    flat[more] = True
            canvas.trails += [(self.frames[i].source, p, trail) for trail in grown.trails]
            yield Event("find trails", event.done, event.total)
        return touched


class Larger:
    """The task of one frame after it was judged sample by sample: what belongs to the structures that were found."""

    def __init__(self, settings, verdicts):
        self.settings, self.verdicts = settings, verdicts

    def __call__(self, item):
        i, plane = item
        found = self.verdicts
        return self.settings.grown(found.indices(i, plane, LOW), found.indices(i, plane, HIGH), found.shape)


class Entropies:
    """The task of one frame: the grid of entropy of each of its planes."""

    def __init__(self, planes: int):
        self.planes = planes

    def __call__(self, frame: Frame) -> list[np.ndarray]:
        return [entropy_grid(frame, plane) for plane in range(self.planes)]


def gathered(stage: str, running, task, frames: Sequence[Frame]) -> Iterator[Event]:
    """Run a task on every frame; gives the results in their order. A frame that fails ends it with its error."""
    results = [None] * len(frames)
    for event in workers.each(stage, running, OnFrame(task, frames), range(len(frames)), keep_going=False):
        results[event.item] = event.result
        yield Event(stage, event.done, event.total)
    return results


class OnFrame:
    """A task by the number of its frame, so that results keep their place."""

    def __init__(self, task, frames: Sequence[Frame]):
        self.task, self.frames = task, frames

    def __call__(self, i: int):
        return self.task(self.frames[i])


def stack_of(canvas: Canvas, frames, kept, terms: Sequence[Terms], statistics, local, lost, reference: int) -> Stack:
    """The result of an integration, with a row for every frame, those that were left out included."""
    place = np.cumsum(kept) - 1
    rows = []
    for p, (t, measured) in enumerate(zip(terms, statistics, strict=True)):
        noise = np.sqrt(t.noise_variance)
        for i, frame in enumerate(frames):
            used = bool(kept[i])
            fractions = canvas.fractions(p, place[i]) if used else (0.0, 0.0, 0.0)
            numbers = (float(t.weights[i]) if used else 0.0, float(t.out_scale[i]), float(t.out_offset[i]))
            rows.append(
                FrameRow(frame.source, p, *numbers, *fractions, float(measured[i].location_dn), float(noise[i]))
            )
    notes = [n for t in terms for n in t.notes] + [f"{r.source}: left out, {r.reason}" for r in lost.values()]
    planes = {name: canvas.planes[name].reshape(frames[0].shape) if name in canvas.planes else None
              for name in ("image", "variance", "coverage", "low", "high", "slope")}  # fmt: skip
    return Stack(
        image=planes["image"],
        variance=planes["variance"],
        coverage=planes["coverage"],
        rejected_low=planes["low"],
        rejected_high=planes["high"],
        slope=planes["slope"],
        frames=tuple(rows),
        n=int(kept.sum()),
        notes=tuple(dict.fromkeys(notes)),
        verdicts=canvas.verdicts,
        trails=tuple(canvas.trails),
        lost=tuple(lost.values()),
        correlation=float(np.mean([t.correlation for t in terms])),
        terms=tuple(t.take(kept) for t in terms),
        models=tuple(m for m, keep in zip(local or (), kept, strict=False) if keep),
        reference=frames[reference].source,
    )


def compiled() -> bool:
    """Whether the kernels were compiled on this machine before; their cache lies beside them, or in the user's."""
    return any(Path(combine.stack.stats.cache_path).glob("combine.stack-*.nbi"))


def check_shapes(frames: Sequence[Frame]) -> None:
    """Raise FrameError for a frame of another size than the first."""
    if not frames:
        raise NothingUsable("there is no frame to integrate")
    for frame in frames:
        if frame.shape != frames[0].shape:
            raise FrameError(
                frame.source,
                f"its shape is {frame.shape}, that of {frames[0].source} is {frames[0].shape}: frames are combined "
                "pixel by pixel, so register them first, or integrate them apart",
            )


def tiles(shape, count: float, memory_mb: float, threads: int, aspect: float | None) -> list[tuple[int, int, int, int]]:
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


def plan_sentence(count: int, shape, boxes) -> str:
    y0, y1, x0, x1 = boxes[0]
    megabytes = count * shape[0] * (y1 - y0) * (x1 - x0) * 4 / 1e6
    return (
        f"{count} frames of {shape[-1]} x {shape[-2]} in {len(boxes)} tiles of {x1 - x0} x {y1 - y0},"
        f" {megabytes:.0f} MB of samples each"
    )


def result_sentence(stack: Stack) -> str:
    used = [row for row in stack.frames if row.weight > 0]
    low, high, large = (
        100 * np.mean([getattr(row, name) for row in used])
        for name in ("rejected_low_fraction", "rejected_high_fraction", "large_scale_fraction")
    )
    words = f"; {len(stack.trails)} trails, {large:.3f} % of samples" if stack.trails else ""
    return (
        f"{stack.n} frames integrated, worth {stack.effective_frames:.1f} equal ones;"
        f" rejected {low:.3f} % of samples low, {high:.3f} % high{words}"
    )
