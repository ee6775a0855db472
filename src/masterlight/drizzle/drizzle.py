"""DrizzleIntegration: lights dropped pixel by pixel onto a finer grid, so that dithering gives back lost detail.

The drops are laid by STScI's library `drizzle` (Fruchter and Hook 2002). Each source pixel is shrunk to a drop, moved
to its place on the output grid, and shared out among the output pixels that it touches; a pixel of the result is the
weighted mean of what fell on it. A constant sky stays that constant; a star measured in an aperture of the same size
on the sky has scale^2 times the sum of a plain integration, since its light is spread over that many more pixels.

Kernels are those of the library. square: the exact overlap of the drop's quadrangle with each output pixel, as in
PixInsight. turbo: the same with the drop laid parallel to the output's axes. point: all goes to the pixel under the
drop's centre. gaussian: a bell whose FWHM is drop_shrink source pixels, sampled at the pixels' centres (PixInsight's is
2.3 times narrower, and integrated over pixels). lanczos2, lanczos3: of whole source pixels, whatever drop_shrink is;
their negative weights sharpen, ring at stars, and need many frames. There is no circular and no variable-shape kernel.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from masterlight.alignment.transform import Transform
from masterlight.core import workers
from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.core.frame import Frame, Meta
from masterlight.core.headers import regridded
from masterlight.core.process import process
from masterlight.core.workers import Event
from masterlight.drizzle.drop import Tile, layers_of, noise_ratio
from masterlight.integration.stack import FrameRow, Stack, Verdicts

if TYPE_CHECKING:
    from masterlight.integration.terms import Terms

TILE = (512, 1024)
"""Rows and columns of the result that are made at once; fixed, so that nothing else can change a bit of it."""
RESULT_BYTES = 14


@dataclass(frozen=True)
class DropRow(FrameRow):
    """What one frame gave to a drizzled stack."""

    used_fraction: float = 0.0
    """Part of the frame's pixels that fell on the result: the rest lies outside, is missing or was rejected."""


@dataclass(frozen=True, eq=False)
class DrizzleStack(Stack):
    """A drizzled image, planes (rows, cols) or (3, rows, cols) of the finer grid; without rejection maps.

    `variance` is that of single pixels; neighbours are correlated, see `noise_ratio`. `coverage` counts the
    frames of which anything fell on a pixel.
    """

    weight: np.ndarray | None = None
    """float32, sum of (area of the overlap in source pixels x weight of the frame); 0 where the image is NaN."""
    scale: float = 1.0
    """Output pixels per reference pixel."""
    empty_fraction: float = 0.0
    """Holes: part of the pixels within the field of the frames on which nothing fell, the worst plane."""

    @property
    def noise_ratio(self) -> float:
        """How many times noisier than single pixels suggest a wide area is: R of Fruchter and Hook (2002)."""
        return float(np.sqrt(self.correlation))


@process
class DrizzleIntegration:
    """Drop the pixels of many dithered lights onto a finer grid, with the weights and rejection of an integration."""

    scale: Annotated[float, Field(ge=1, le=10)] = 2.0
    """Output pixels per reference pixel, along each axis."""
    drop_shrink: Annotated[float, Field(ge=0.1, le=1)] = 0.9
    """Size of the drop in source pixels: smaller is sharper and noisier, and needs more frames (STScI: pixfrac)."""
    kernel: Literal["square", "turbo", "point", "gaussian", "lanczos2", "lanczos3"] = "square"
    """How a drop is shared out: square, by exact overlap, suits all; turbo, unturned squares, is twice as fast."""
    cfa: Literal["auto", "on", "off"] = "auto"
    """Mosaics of one-shot-colour cameras are dropped colour by colour, without debayering; off takes them as mono."""
    rejection: bool = True
    """Leave out what the integration rejected: a pixel takes the verdict of the reference pixel its centre falls on."""
    weighting: bool = True
    """Weigh frames as the integration did; without, all count the same."""
    local_normalization: bool = True
    """Use local normalization where the integration has a model for the frame."""

    def __call__(
        self,
        frames: Sequence[Frame],
        transforms: Sequence,
        shape: tuple[int, ...],
        terms: "Sequence[Terms]",
        *,
        verdicts: Verdicts | None = None,
        local: Sequence | None = None,
        pool: str | tuple[Executor, int] = "serial",
        memory_mb: float = 512,
    ) -> Iterator[Event]:
        """Drizzle calibrated, unregistered lights: yields Events, and at last one whose result is a `DrizzleStack`.

        frames: mono, three planes, or mosaics with `meta.pattern`; NaN and defective pixels have no weight.
        transforms: for each frame a `Transform` or a tuple of one for each plane; shape: (..., rows, cols) of the
        reference; terms: for each plane of the result, those of the integration: their noise is taken for that of
        registered pixels when their `correlation` says so. verdicts: the `Verdicts` of an integration of the same
        frames in this order. local: for each frame None or its `LocalModel`, which then takes the place of the scale
        and offset of the terms. The result has ceil(scale x rows) x ceil(scale x cols) pixels.
        `memory_mb` bounds what tiles at work take, the result apart. The bits of the result depend on none of `pool`
        and `memory_mb`. STScI's library holds Python's lock: threads help reading, not dropping.
        """
        library()
        checked(self, frames, transforms, terms)
        planes = len(terms)
        reference = tuple(shape[-2:])
        rows, cols = (ceil(n * self.scale - 1e-9) for n in reference)
        too_large(planes * rows * cols, self.scale)
        task = Tile(self, tuple(frames), tuple(transforms), reference, tuple(terms), verdicts, local)
        boxes = tiles(rows, cols)
        with workers.executor(pool) if isinstance(pool, str) else nullcontext(pool) as running:
            at_once = int(max(1, min(2 * running[1], memory_mb // task.megabytes(TILE))))
            sentence = f"{len(frames)} frames onto {cols} x {rows} pixels in {len(boxes)} tiles, {at_once} at once"
            yield Event("drizzle", 0, len(boxes), message=sentence)
            canvas = Canvas((planes, rows, cols))
            for event in workers.each("drizzle", running, task, boxes, keep_going=False, in_flight=at_once):
                canvas.place(event.item, event.result)
                yield Event("drizzle", event.done, event.total, event.item)
        stack = finished(self, canvas, frames, terms, float(np.median(task.pixel)))
        yield Event("drizzle", len(boxes), len(boxes), result=stack, message=sentence_of(stack))

    @property
    def drop_area(self) -> float:
        """Area of a drop in source pixels, as weights count it."""
        return 1.0 if self.kernel in ("point", "lanczos2", "lanczos3") else self.drop_shrink**2

    def frame_weights(self, terms: "Terms") -> np.ndarray:
        return np.asarray(terms.weights, float) if self.weighting else np.ones(len(terms.weights))


def library():
    """STScI's `Drizzle`, or a ParameterError that tells how to get it."""
    try:
        from drizzle.resample import Drizzle
    except ImportError as error:
        raise ParameterError(
            "DrizzleIntegration needs STScI's drizzle library: pip install 'masterlight[drizzle]'"
        ) from error
    warnings.filterwarnings("ignore", message="Kernel '.*' is not a flux-conserving kernel")
    return Drizzle


def finer(header, meta: Meta, scale: float, shape: tuple[int, ...]) -> tuple[dict, Meta]:
    """The reference's header and meta as they are true of the drizzled image of `shape`: pixel size and WCS."""
    changed = {
        "pattern": None,
        "data_px": None,
        "overscan_px": (),
        "pixel_um": meta.pixel_um / scale if meta.pixel_um else meta.pixel_um,
        "shape": tuple(shape),
    }
    return regridded(header, factor=1 / scale), meta.with_(**changed)


def checked(settings: DrizzleIntegration, frames, transforms, terms) -> None:
    """Raise what is wrong with the input, by the name of the frame."""
    if not frames:
        raise NothingUsable("there is no frame to drizzle")
    if len(transforms) != len(frames):
        raise ParameterError(f"transforms: {len(transforms)} given for {len(frames)} frames; each needs one")
    for plane, t in enumerate(terms):
        if len(t.weights) != len(frames):
            raise ParameterError(f"terms: {len(t.weights)} given for {len(frames)} frames; plane {plane} needs each")
        if not np.any(settings.frame_weights(t) > 0):
            raise ParameterError("weights are 0 for all frames; use weighting=False or other weights")
    for frame, transform in zip(frames, transforms, strict=True):
        wanted = 1 + max(plane for plane, _, _ in layers_of(frame, settings.cfa))
        if wanted != len(terms):
            raise FrameError(
                frame.source,
                f"it gives {wanted} plane{'s' * (wanted > 1)}, but terms were made for {len(terms)}; drizzle mono and"
                " colour lights apart, and mosaics with the terms of their three colours",
            )
        if not isinstance(transform, Transform) and len(transform) not in (1, wanted):
            raise ParameterError(f"{frame.source}: {len(transform)} transforms for {wanted} planes; give one or each")


def too_large(pixels: int, scale: float) -> None:
    need_mb = pixels * RESULT_BYTES / 1e6
    if need_mb > workers.machine_memory_mb():
        raise ParameterError(
            f"scale: {scale:g} makes an image of {pixels / 1e6:.0f} Mpx, {need_mb / 1000:.0f} GB with its maps, more"
            " than this machine has; use a smaller scale"
        )


def tiles(rows: int, cols: int) -> list[tuple[int, int, int, int]]:
    """Boxes (y0, y1, x0, x1) that cover the result."""
    return [
        (y, min(y + TILE[0], rows), x, min(x + TILE[1], cols))
        for y in range(0, rows, TILE[0])
        for x in range(0, cols, TILE[1])
    ]


class Canvas:
    """The whole result while its tiles arrive."""

    def __init__(self, shape):
        kinds = {"image": np.float32, "variance": np.float32, "weight": np.float32, "coverage": np.uint16}
        self.planes = {name: np.empty(shape, kind) for name, kind in kinds.items()}
        self.holes = np.zeros((2, shape[0]), np.int64)
        self.tally_of = {}

    def place(self, box, result) -> None:
        y0, y1, x0, x1 = box
        for name, whole in self.planes.items():
            whole[:, y0:y1, x0:x1] = getattr(result, name)
        self.holes += result.holes
        self.tally_of[box] = result.tallies

    def total(self) -> np.ndarray:
        """Tallies added in the order of the boxes, whichever came first."""
        return sum(self.tally_of[box] for box in sorted(self.tally_of))


def finished(settings: DrizzleIntegration, canvas: Canvas, frames, terms, pixel: float) -> DrizzleStack:
    """The stack of a full canvas, with its rows and notes; `pixel`: size of a source pixel in output pixels."""
    pixels, low, high, large, used = canvas.total()
    rows = []
    for plane, t in enumerate(terms):
        weights = settings.frame_weights(t)
        weights = weights / weights.max()
        for i, frame in enumerate(frames):
            _, _, places = next(layer for layer in layers_of(frame, settings.cfa) if layer[0] == plane)
            there = frame.shape[-2] * frame.shape[-1] * len(places.at) / places.period**2
            seen = max(1.0, pixels[plane, i])
            rows.append(
                DropRow(
                    source=frame.source,
                    plane=plane,
                    weight=float(weights[i]),
                    scale=float(t.out_scale[i]),
                    offset=float(t.out_offset[i]),
                    noise_dn=float(t.noise_dn[i]),
                    rejected_low_fraction=float(low[plane, i] / seen),
                    rejected_high_fraction=float(high[plane, i] / seen),
                    large_scale_fraction=float(large[plane, i] / seen),
                    used_fraction=float(used[plane, i] / there),
                )
            )
    known = all(np.isfinite(t.noise_dn).all() and (t.noise_dn > 0).all() for t in terms)
    empty = float((canvas.holes[0] / np.maximum(1, canvas.holes[1])).max())
    ratio = noise_ratio(settings.kernel, settings.drop_shrink, pixel)
    single = len(terms) == 1
    maps = {name: plane[0] if single else plane for name, plane in canvas.planes.items()}
    return DrizzleStack(
        image=maps["image"],
        variance=maps["variance"] if known else None,
        coverage=maps["coverage"],
        rejected_low=None,
        rejected_high=None,
        frames=tuple(rows),
        n=len(frames),
        notes=(*dict.fromkeys(n for t in terms for n in t.notes), *notes(settings, empty, ratio, known)),
        weight=maps["weight"],
        scale=settings.scale,
        correlation=ratio**2,
        empty_fraction=empty,
    )


def sentence_of(stack: DrizzleStack) -> str:
    used = np.mean([row.used_fraction for row in stack.frames])
    rejected = np.mean(
        [r.rejected_low_fraction + r.rejected_high_fraction + r.large_scale_fraction for r in stack.frames]
    )
    return (
        f"{stack.n} frames drizzled, worth {stack.effective_frames:.1f} equal ones; {100 * used:.1f} % of their"
        f" pixels fell on the result, {100 * rejected:.3f} % were rejected"
    )


def notes(settings: DrizzleIntegration, empty: float, ratio: float, known: bool) -> Iterator[str]:
    """What must be told of a drizzled stack, as sentences."""
    if ratio > 1.005:
        yield (
            f"noise of neighbouring pixels is correlated: over areas much wider than a drop it is R = {ratio:.2f}"
            " times what VARIANCE of single pixels gives when they are taken as independent"
        )
    if not known:
        yield "there is no VARIANCE: the noise of some frame is unknown"
    if empty > 0:
        grow = [] if settings.drop_shrink >= 1 or settings.kernel == "point" else ["a larger drop_shrink"]
        yield (
            f"{100 * empty:.2g} % of the pixels within the field are empty (NaN): nothing fell on them; drizzle needs"
            f" {', '.join(['more dithered frames', *grow])} or a scale smaller than {settings.scale:g}"
        )
