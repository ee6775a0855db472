"""Many frames into one: normalise, weigh, reject what does not belong, combine; with variance, coverage and maps."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from masterlight.core import workers
from masterlight.core.errors import FrameError, NothingUsable, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import process
from masterlight.core.workers import Event
from masterlight.integration.entropy import entropy_grid
from masterlight.integration.kernels import combine
from masterlight.integration.normalize import LocalNormalization
from masterlight.integration.rejection import Rejection
from masterlight.integration.sky import sky_below
from masterlight.integration.stack import HIGH, LOW, Canvas, FrameRow, Stack
from masterlight.integration.terms import Terms, terms_of
from masterlight.integration.tile import Tile, integrate_tile, sample_bytes
from masterlight.subframes.measure import in_range, measure
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.photometry import forced_fluxes, standards, with_star_light
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.weights import needs

CACHE_BYTES = 16_000_000
SMALL_TILE = 2**16
MUCH = 0.1
"""Part of a frame's samples that is not rejected without a reason that should be told."""
LISTED = 0.01
"""Part of the samples that rejection may take and list, at most, when room for it is planned."""
CUT_PX = 128
"""Where trails lie, tiles are integrated once more in parts so many columns wide."""

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

    def terms(self, statistics: Sequence[Measurement], reference: int = 0) -> Terms:
        """The numbers by which each frame enters, from what was measured of all; `reference` stays as it is."""
        return terms_of(self, statistics, reference)

    def check(self) -> None:
        """Raise ParameterError for settings that would do nothing beside the others."""
        if self.weight_expression is not None and self.weights != "expression":
            raise ParameterError(f"weight_expression does nothing with weights={self.weights}; take weights=expression")
        if self.weight_keyword != "SSWEIGHT" and self.weights != "keyword":
            raise ParameterError(f"weight_keyword does nothing with weights={self.weights}; take weights=keyword")

    @property
    def measures(self) -> tuple[str, ...]:
        """Fields of `Measurement` beyond the usual that these settings need."""
        headers = ("keywords",) if self.weights in ("keyword", "expression") else ()
        return (*needs(self.weights, self.weight_expression or ""), *headers)

    @property
    def needs_scale(self) -> bool:
        """Whether the scale of each frame matters."""
        modes = self.normalization, self.rejection.normalization
        return (
            self.localizes
            or "scaling" in modes[0]
            or modes[1] == "scale+zero offset"
            or self.weights == "psf-scale-snr"
        )

    @property
    def looks_at_stars(self) -> bool:
        """Whether the light and the width of the stars in each frame matter."""
        return self.scale == "stars" and self.needs_scale

    def measured(self, running, frames, anchor: int) -> Iterator[Event]:
        """What these settings must know of frames of which nothing is known: for each plane a list."""
        seen = [in_range(frame, self.rejection.range_low, self.rejection.range_high) for frame in frames]
        task = partial(measure, wanted=self.measures, scale="bwmv" if self.scale == "stars" else self.scale)
        statistics = yield from gathered("measure", running, task, seen)
        stars = self.looks_at_stars and min(frames[0].shape[-2:]) >= 32 and SubframeSelector().measure(frames[anchor])
        if stars:
            known = standards(stars[1])
            fluxes = yield from gathered("photometry", running, partial(forced_fluxes, stars=known), frames)
            statistics = [with_star_light(s, f, fluxes[anchor]) for s, f in zip(statistics, fluxes, strict=True)]
        return list(zip(*statistics, strict=True))

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

        statistics: a `Measurement` for each frame, for colour a list of such lists, one for each
        plane; measured here when None. reference: the frame whose level and scale the result has, by default the one
        of greatest weight. `memory_mb` bounds the samples that are in memory at once.
        `aspect` is the width of a tile over its height: none, bands of whole rows, suits frames that are read as
        stored; 1 those that are rotated on the way. Without `maps` the stack holds the image alone; `slope` asks for
        the map of slopes of linear fit clipping, `verdicts` for what was left out of each frame.
        A frame that cannot be read ends the run with a FrameError that names it. Frames of unknown scale, of next
        to no weight, or without a local normalization are left out: they are `lost`, with the reason of each.
        """
        self.check()
        if self.rejection.resolved() != self.rejection:
            how = {"reference": reference, "pool": pool, "memory_mb": memory_mb, "aspect": aspect, "maps": maps}
            how |= {"slope": slope, "verdicts": verdicts}
            yield from replace(self, rejection=self.rejection.resolved())(frames, statistics, **how)
            return
        check_shapes(frames)
        shape = frames[0].shape if len(frames[0].shape) == 3 else (1, *frames[0].shape)
        with workers.executor(pool) if isinstance(pool, str) else nullcontext(pool) as running:
            if statistics is None:
                statistics = yield from self.measured(running, frames, reference or 0)
            elif isinstance(statistics[0], Measurement):
                statistics = [statistics]
            if len(statistics) != shape[0] or any(len(s) != len(frames) for s in statistics):
                raise ParameterError(f"statistics: {len(frames)} frames of {shape[0]} planes need one for each of them")
            roster = yield from self.roster(running, frames, statistics, reference)
            work = Work(self, roster, shape, running, memory_mb, aspect)
            canvas = yield from work.integrated(maps, slope, verdicts)
        result = stack_of(self, canvas, frames, statistics, roster, work.notes)
        yield Event("integrate", work.done, work.done, result=result, message=result_sentence(result))

    def roster(self, running, frames, statistics, reference: int | None) -> Iterator[Event]:
        """Who takes part, and how; frames of unknown scale, without a local model, or of next to no weight, do not."""
        statistics, lost = self.scaled_alike(statistics, reference)
        reference = self.chosen(statistics, lost) if reference is None else reference
        local = None
        if self.localizes:
            known = self.local.reference(frames[reference])
            local = yield from gathered("normalize", running, partial(self.local.model, known), frames)
            lost |= {i: model for i, model in enumerate(local) if isinstance(model, Rejected)}
            if reference in lost:
                raise FrameError(frames[reference].source, f"it cannot be the reference: {lost[reference].reason}")
        first = None
        while True:
            kept = np.array([i for i in range(len(frames)) if i not in lost])
            self.rejection.check(len(kept))
            at, models = int(np.searchsorted(kept, reference)), [local[i] for i in kept] if local else None
            terms = []
            for p, plane in enumerate(statistics):
                scales = np.array([model.scale[p] for model in models]) if models else None
                terms.append(terms_of(self, [plane[i] for i in kept], at, scales))
            if first is not None:  # weights are those among all, or a formula's worst frame would go again and again
                terms = [replace(t, weights=w[kept] / w[kept].max()) for t, w in zip(terms, first, strict=True)]
            else:
                first = [np.full(len(frames), np.nan) for _ in terms]
                for whole, t in zip(first, terms, strict=True):
                    whole[kept] = t.weights
            weights = np.min([t.weights for t in terms], axis=0)
            light = [i for i, weight in zip(kept, weights, strict=True) if not weight >= self.least_weight]
            light = [i for i in light if i != reference]
            if not light:
                return Roster([frames[i] for i in kept], terms, models, kept, lost, frames[reference])
            words = f"it counts for less than {self.min_weight:g} of the best (min_weight)"
            lost |= {i: Rejected(frames[i].source, "integrate", words) for i in light}

    @property
    def least_weight(self) -> float:
        return max(self.min_weight, np.finfo(float).tiny)

    def scaled_alike(self, statistics, reference: int | None):
        """(statistics, {index: Rejected}) so that all frames, in all planes, get their scale in one way.

        A few frames without stars in common are left out; where most have none, none is scaled by stars.
        """
        if self.scale != "stars" or not self.needs_scale:
            return statistics, {}
        count = len(statistics[0])
        unknown = [i for i in range(count) if any(plane[i].flux_ratio is None for plane in statistics)]
        if len(unknown) < count / 2 and reference not in unknown:
            why = (
                "too few of its stars are found in the other frames to tell its scale; take another --scale to keep it"
            )
            return statistics, {i: Rejected(statistics[0][i].source, "integrate", why) for i in unknown}
        return [[replace(s, flux_ratio=None) for s in plane] for plane in statistics], {}

    def chosen(self, statistics, lost) -> int:
        """The frame of greatest weight; under local normalization, whose scale is not known yet, by that of stars."""
        settings = replace(self, normalization="additive+scaling") if self.normalization == "local" else self
        kept = [i for i in range(len(statistics[0])) if i not in lost]
        weights = np.mean([terms_of(settings, [plane[i] for i in kept]).weights for plane in statistics], axis=0)
        return kept[int(np.argmax(weights))]

    def tile(self, samples: np.ndarray, terms: Terms, **more):
        """Integrate one box: samples (N, h, w) float32 DN, NaN where missing; a `TileResult`."""
        return integrate_tile(self, samples, terms, **more)


class Roster(NamedTuple):
    """Who takes part in an integration, and how."""

    frames: list[Frame]
    terms: list[Terms]
    """One for each plane."""
    local: list | None
    """A `LocalModel` for each frame, when they are normalized locally."""
    kept: np.ndarray
    """Where the frames stand among all that were given."""
    lost: dict[int, Rejected]
    """Those of them that were left out."""
    reference: Frame


class Work:
    """One integration at work: tiles, and where larger structures are looked for those that these change once more."""

    def __init__(self, settings: ImageIntegration, roster: Roster, shape, running, memory_mb, aspect):
        self.settings, self.frames, self.terms = settings, roster.frames, roster.terms
        self.shape, self.running, self.memory_mb, self.aspect, self.done = shape, running, memory_mb, aspect, 0
        self.more: dict = {"local": roster.local, "sky": None, "entropy": None}
        self.notes: list[str] = []
        self.larger = settings.rejection.looks_larger
        if settings.normalization != "none" and any(t.signal_fraction > 0 or t.photon.any() for t in self.terms):
            self.more["sky"] = sky_below(roster.reference)

    def integrated(self, maps: bool, slope: bool, verdicts: bool) -> Iterator[Event]:
        """Yield an event for each tile; gives the canvas."""
        if self.settings.combination == "entropy":
            unit = all(abs(t.background_dn) < 1 for t in self.terms)  # data from 0 to 1: of 16 bits, as is usual
            task = Entropies(self.shape[0], 1 / 65535 if unit else 1.0)
            self.more["entropy"] = yield from gathered("entropy", self.running, task, self.frames)
        room_mb = LISTED * 4e-6 * len(self.frames) * float(np.prod(self.shape))
        if self.larger and not verdicts and room_mb > self.memory_mb / 4:
            self.larger = False
            self.notes.append(
                f"trails are not looked for: what is rejected of {len(self.frames)} frames may take {room_mb:.0f} MB, "
                f"more than a quarter of the {self.memory_mb:.0f} MB to work in (--memory-mb)"
            )
        told = verdicts or self.larger
        bytes_each = sample_bytes(self.settings, told) / 4
        count = len(self.frames) * self.shape[0] * bytes_each
        boxes = tiles(self.shape[-2:], count, self.memory_mb, self.running[1], self.aspect)
        self.done = len(boxes)
        yield Event("integrate", 0, len(boxes), message=plan_sentence(len(self.frames), self.shape, boxes))
        canvas = Canvas(self.shape, len(self.frames), maps, slope, told)
        yield from self.look(canvas, boxes, "integrate", slope=slope, verdicts=told)
        if canvas.verdicts is not None:
            canvas.verdicts.settle()
        if self.larger:
            touched = yield from self.grow(canvas)
            again = [part for box in boxes for part in parts_of(box, touched)]
            yield from self.look(canvas, again, "reject larger", touched, slope=slope, larger=canvas.verdicts)
        return canvas

    def look(self, canvas: Canvas, boxes, stage: str, touched=None, **more) -> Iterator[Event]:
        """Integrate some tiles; on a second look what was rejected before stays so, and only that is left out."""
        settings = self.settings
        if touched is not None:
            settings = replace(settings, rejection=replace(settings.rejection, algorithm="none", profile="best"))
        task = Tile(settings, self.frames, self.terms, **self.more, **more)
        for event in workers.each(stage, self.running, task, boxes, keep_going=False):
            canvas.place(event.item, event.result, touched)
            yield Event(stage, event.done, event.total, event.item)

    def grow(self, canvas: Canvas) -> Iterator[Event]:
        """Find trails and other larger structures in what was rejected of each frame; gives where there are any."""
        touched = np.zeros(self.shape[-2:], bool)
        flat = touched.reshape(-1)
        items, found = [(i, p) for i in range(len(self.frames)) for p in range(self.shape[0])], {}
        task = Larger(self.settings.rejection.large_scale, canvas.verdicts)
        for event in workers.each("find trails", self.running, task, items, keep_going=False):
            (i, p), grown = event.item, event.result
            if grown:
                for side, more in ((LOW, grown.low), (HIGH, grown.high)):
                    canvas.verdicts.large(i, p, side, more)
                    flat[more] = True
            found[i, p] = grown.trails
            yield Event("find trails", event.done, event.total)
        canvas.trails = [(self.frames[i].source, p, trail) for i, p in items for trail in found[i, p]]
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

    def __init__(self, planes: int, step_dn: float):
        self.planes, self.step_dn = planes, step_dn

    def __call__(self, frame: Frame) -> list[np.ndarray]:
        return [entropy_grid(frame, plane, self.step_dn) for plane in range(self.planes)]


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


def stack_of(
    settings: ImageIntegration,
    canvas: Canvas,
    frames: Sequence[Frame],
    statistics,
    roster: Roster,
    notes: Sequence[str],
) -> Stack:
    """The result of an integration, with a row for every frame, those that were left out included."""
    place = {int(i): k for k, i in enumerate(roster.kept)}
    rows, nothing = [], (0.0, float("nan"), float("nan"), 0.0, 0.0, 0.0)
    for p, (t, measured) in enumerate(zip(roster.terms, statistics, strict=True)):
        for i, frame in enumerate(frames):
            k = place.get(i)
            told = nothing
            if k is not None:
                told = (*(float(v[k]) for v in (t.weights, t.out_scale, t.out_offset)), *canvas.fractions(p, k))
            if k is not None and settings.normalization == "local":
                told = (told[0], roster.local[k].scale[p], float(roster.local[k].offset[p].mean()), *told[3:])
            noise = float("nan") if k is None else float(t.noise_dn[k])
            rows.append(FrameRow(frame.source, p, *told, float(measured[i].location_dn), noise))
    notes = [*notes, *(note for t in roster.terms for note in t.notes)]
    notes += [f"{model.source}: {note}" for model in roster.local or () for note in model.notes]
    notes += remarks(settings, rows, len(roster.frames))
    if not np.isfinite(canvas.planes["image"]).any():
        low, high = settings.rejection.range_low, settings.rejection.range_high
        limits = f", range_low {low} and range_high {high}" if settings.rejection.ranges else ""
        levels = [row.location_dn for row in rows]
        raise NothingUsable(
            f"every sample of every frame was rejected or is missing (rejection.algorithm "
            f"{settings.rejection.algorithm}{limits}); the levels of the frames go from {min(levels):.4g} to "
            f"{max(levels):.4g} DN: there is nothing to write"
        )
    names = ("image", "variance", "coverage", "low", "high", "slope")
    planes = {name: canvas.planes[name].reshape(frames[0].shape) if name in canvas.planes else None for name in names}
    return Stack(
        image=planes["image"],
        variance=planes["variance"],
        coverage=planes["coverage"],
        rejected_low=planes["low"],
        rejected_high=planes["high"],
        slope=planes["slope"],
        frames=tuple(rows),
        n=len(roster.frames),
        notes=tuple(dict.fromkeys(notes)),
        verdicts=canvas.verdicts,
        trails=tuple(canvas.trails),
        lost=tuple(roster.lost.values()),
        correlation=float(np.mean([t.correlation for t in roster.terms])),
        terms=tuple(roster.terms),
        models=tuple(roster.local or ()),
        reference=roster.reference.source,
    )


def remarks(settings: ImageIntegration, rows: Sequence[FrameRow], count: int) -> Iterator[str]:
    """What a user should know of a result and would not see in it."""
    rule = settings.rejection
    reach = (count - 1) / np.sqrt(max(count, 1))
    if rule.algorithm != "none" and count < 3:
        yield f"of {count} frames nothing can be told to be an outlier: nothing was rejected but by range"
    elif rule.algorithm == "sigma" and reach <= min(rule.low, rule.high):
        yield (
            f"among {count} frames a single outlier lies at most {reach:.2f} of their own sigma off, so sigma clipping "
            "cannot reject it: take auto"
        )
    for row in rows:
        share = row.rejected_low_fraction + row.rejected_high_fraction
        if share > MUCH and not settings.localizes and not rule.ranges:
            yield (
                f"{row.source}: {100 * share:.0f} % of its samples were rejected; if its sky is uneven (cloud, moon), "
                "normalization local and rejection.normalization local level it"
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


def parts_of(box, touched: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Those parts of a box, cut along its columns, in which pixels are touched (rows, cols) bool."""
    y0, y1, x0, x1 = box
    inside = touched[y0:y1, x0:x1]
    rows = np.flatnonzero(inside.any(axis=1))
    if not rows.size:
        return []
    starts = np.arange(0, x1 - x0, CUT_PX)
    cells = np.concatenate([[False], np.add.reduceat(inside.any(axis=0), starts) > 0, [False]])
    edges = np.flatnonzero(cells[1:] != cells[:-1]).reshape(-1, 2) * CUT_PX
    top, bottom = y0 + int(rows[0]), y0 + int(rows[-1]) + 1
    return [(top, bottom, x0 + int(a), min(x0 + int(b), x1)) for a, b in edges]


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
    more = f", {len(stack.lost)} left out" if stack.lost else ""
    words = f"; {len(stack.trails)} trails, {large:.3f} % of samples" if stack.trails else ""
    return (
        f"{stack.n} frames integrated{more}, worth {stack.effective_frames:.1f} equal ones;"
        f" rejected {low:.3f} % of samples low, {high:.3f} % high{words}"
    )
