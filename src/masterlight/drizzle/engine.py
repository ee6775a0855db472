"""Drizzling: input that is checked, tiles that are dropped one by one, and the stack that they make."""

import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext
from math import ceil

import numpy as np

from masterlight.alignment.transform import Transform
from masterlight.core import workers
from masterlight.core.errors import FrameError, NothingUsable, ParameterError
from masterlight.core.frame import Frame, boxes_of, frames_of
from masterlight.core.workers import Event
from masterlight.drizzle.drizzle import DrizzleIntegration
from masterlight.drizzle.drop import Tile, frame_weights
from masterlight.drizzle.fall import layers_of, noise_ratio
from masterlight.drizzle.stack import DrizzleStack, DropRow
from masterlight.integration.roster.terms import Terms

TILE = (512, 1024)
"""Rows and columns of the result that are made at once; fixed, so that nothing else can change a bit of it."""
RESULT_BYTES = 14


def drizzle(
    settings: DrizzleIntegration, frames: Sequence[Frame], transforms, shape, terms: Sequence[Terms], *,
    verdicts, local, noise, pool, memory_mb: float,
) -> Generator[Event, None, DrizzleStack]:  # fmt: skip
    """See `DrizzleIntegration`: an event for each tile, then the stack."""
    check_library()
    frames = frames_of(frames)
    check_input(settings, frames, transforms, terms)
    planes, reference = len(terms), tuple(shape[-2:])
    rows, cols = (ceil(n * settings.scale - 1e-9) for n in reference)
    check_size(planes * rows * cols, settings.scale)
    task = Tile(settings, tuple(frames), tuple(transforms), reference, tuple(terms), verdicts, local, noise)
    boxes = boxes_of(rows, cols, *TILE)
    with workers.executor(pool) if isinstance(pool, str) else nullcontext(pool) as running:
        at_once = int(max(1, min(2 * running[1], memory_mb // task.megabytes(TILE))))
        sentence = f"{len(frames)} frames onto {cols} x {rows} pixels in {len(boxes)} tiles, {at_once} at once"
        yield Event("drizzle", 0, len(boxes), message=sentence)
        kinds = {"image": np.float32, "variance": np.float32, "weight": np.float32, "coverage": np.uint16}
        maps = {name: np.empty((planes, rows, cols), kind) for name, kind in kinds.items()}
        holes, tallies = np.zeros((2, planes), np.int64), {}
        for event in workers.each("drizzle", running, task, boxes, keep_going=False, in_flight=at_once):
            y0, y1, x0, x1 = event.item
            for name, whole in maps.items():
                whole[:, y0:y1, x0:x1] = getattr(event.result, name)
            holes += event.result.holes
            tallies[event.item] = event.result.tallies
            yield Event("drizzle", event.done, event.total, event.item)
    counts = sum(tallies[box] for box in sorted(tallies))  # in the order of the boxes, whichever came first
    stack = stack_of(settings, maps, holes, counts, frames, terms, float(np.median(task.pixel)))
    yield Event("drizzle", len(boxes), len(boxes), result=stack, message=sentence_of(stack))
    return stack


def check_library() -> None:
    """Raise ParameterError that tells how to get STScI's library when it is missing."""
    try:
        import drizzle.resample  # noqa: F401
    except ImportError as error:
        words = "DrizzleIntegration needs STScI's drizzle library: pip install 'masterlight[drizzle]'"
        raise ParameterError(words) from error
    warnings.filterwarnings("ignore", message="Kernel '.*' is not a flux-conserving kernel")


def check_input(settings: DrizzleIntegration, frames, transforms, terms) -> None:
    """Raise what is wrong with the input, by the name of the frame."""
    if not frames:
        raise NothingUsable("there is no frame to drizzle")
    if len(transforms) != len(frames):
        raise ParameterError(f"transforms: {len(transforms)} given for {len(frames)} frames; each needs one")
    for plane, t in enumerate(terms):
        if len(t.weights) != len(frames):
            raise ParameterError(f"terms: {len(t.weights)} given for {len(frames)} frames; plane {plane} needs each")
        if not np.any(frame_weights(settings, t) > 0):
            raise ParameterError("weights are 0 for all frames; use weighting=False or other weights")
    for frame, transform in zip(frames, transforms, strict=True):
        wanted = 1 + max(plane for plane, _, _ in layers_of(frame, settings.cfa))
        if wanted != len(terms):
            words = f"it gives {wanted} plane{'s' * (wanted > 1)}, but terms were made for {len(terms)}; drizzle mono"
            raise FrameError(frame.source, f"{words} and colour apart, and mosaics with the terms of three colours")
        if not isinstance(transform, Transform) and len(transform) not in (1, wanted):
            raise ParameterError(f"{frame.source}: {len(transform)} transforms for {wanted} planes; give one or each")


def check_size(pixels: int, scale: float) -> None:
    need_mb = pixels * RESULT_BYTES / 1e6
    if need_mb > workers.machine_memory_mb():
        size = f"{pixels / 1e6:.0f} Mpx, {need_mb / 1000:.0f} GB with its maps"
        words = f"DrizzleIntegration.scale {scale:g} makes an image of {size}"
        raise ParameterError(f"{words}, more than this machine has; use a smaller scale")


def stack_of(settings: DrizzleIntegration, maps, holes, counts, frames, terms, pixel: float) -> DrizzleStack:
    """The stack of full maps, with its rows and notes; `pixel`: size of a source pixel in output pixels."""
    pixels, low, high, large, used = counts
    rows = []
    for plane, t in enumerate(terms):
        weights = frame_weights(settings, t)
        for i, frame in enumerate(frames):
            _, _, places = next(layer for layer in layers_of(frame, settings.cfa) if layer[0] == plane)
            there = frame.shape[-2] * frame.shape[-1] * len(places.at) / places.period**2
            seen = max(1.0, pixels[plane, i])
            numbers = [float(v[i]) for v in (weights, t.out_scale, t.out_offset)]
            numbers += [float(v[plane, i] / seen) for v in (low, high, large)]
            more = {"noise_dn": float(t.noise_dn[i]), "used_fraction": float(used[plane, i] / there)}
            rows.append(DropRow(frame.source, plane, *numbers, **more))
    noise_known = all(np.isfinite(t.noise_dn).all() and (t.noise_dn > 0).all() for t in terms)
    empty = float((holes[0] / np.maximum(1, holes[1])).max())
    ratio = noise_ratio(settings.kernel, settings.drop_shrink, pixel)
    maps = {name: plane[0] if len(terms) == 1 else plane for name, plane in maps.items()}
    if not noise_known:
        maps["variance"] = None
    told = *dict.fromkeys(n for t in terms for n in t.notes), *notes(settings, empty, ratio, noise_known)
    maps |= {"rejected_low": None, "rejected_high": None}
    known = {"notes": told, "scale": settings.scale, "correlation": ratio**2, "empty_fraction": empty}
    return DrizzleStack(**maps, **known, frames=tuple(rows), n=len(frames))


def sentence_of(stack: DrizzleStack) -> str:
    rows = stack.frames
    used = np.mean([row.used_fraction for row in rows])
    rejected = np.mean([r.rejected_low_fraction + r.rejected_high_fraction + r.large_scale_fraction for r in rows])
    words = f"{stack.n} frames drizzled, worth {stack.effective_frames:.1f} equal ones; {100 * used:.1f} % of their"
    return f"{words} pixels fell on the result, {100 * rejected:.3f} % were rejected"


def notes(settings: DrizzleIntegration, empty: float, ratio: float, noise_known: bool) -> Iterator[str]:
    """What must be told of a drizzled stack, as sentences."""
    if ratio > 1.005:
        words = "noise of neighbouring pixels is correlated: over areas much wider than a drop it is"
        yield f"{words} R = {ratio:.2f} times what VARIANCE of single pixels gives when they are taken as independent"
    if not noise_known:
        yield "there is no VARIANCE: the noise of some frame is unknown"
    if empty > 0:
        grow = (
            ""
            if settings.drop_shrink >= 1 or settings.kernel == "point"
            else ", a larger DrizzleIntegration.drop_shrink"
        )
        words = f"{100 * empty:.2g} % of the pixels within the field are empty (NaN): nothing fell on them"
        smaller = f"a DrizzleIntegration.scale smaller than {settings.scale:g}"
        yield f"{words}; drizzle needs more dithered frames{grow} or {smaller}"
