"""Integration by hand: registered files in, one deep image out, with its maps and the table of who gave what."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from masterlight.calibration.trimmed import Trimmed
from masterlight.core.errors import FrameError, NothingUsable, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import card
from masterlight.core.workers import Event, each, executor, keep_freed_memory
from masterlight.doors.hand import each_file, refuse_existing
from masterlight.integration.hdr import HDRComposition
from masterlight.integration.normalize import LocalNormalization
from masterlight.integration.roster import check_shapes
from masterlight.io import header_cards as header_of
from masterlight.io import read, write
from masterlight.io.raster import preview, write_png
from masterlight.night.products import header, place_keywords, save
from masterlight.night.recipe import Recipe
from masterlight.night.report import MasterRow, by_frame, rejection_words
from masterlight.night.run import Run, integrate
from masterlight.session.plan import Plan
from masterlight.session.scan import scan
from masterlight.subframes.measure import measure
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.photometry import forced_fluxes, standards, with_star_light
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.together import in_range

BORDER_ZEROS = 1e-3
"""Share of pixels that are exactly 0 from which a frame seems to use that for missing ones."""
MEASURE_BYTES = 24
"""Bytes per pixel that measuring the stars of a frame takes."""


def integrate_files(
    files: Iterable, out, recipe: Recipe | None = None, *, reference=None, roi=None, slope_map: bool = False
) -> Iterator[Event]:
    """Integrate registered files with `recipe.integrate` into the image `out`, its maps in extensions.

    reference: the file whose level and scale the result has, by default the one of greatest weight; roi (x, y, width,
    height): the part of the frames to integrate, for trying settings; slope_map: keep that of linear fit clipping.
    The last event's result is the row of the result as report.json has it, and the rows of frames that were left out.
    """
    recipe, path, files = recipe or Recipe(), Path(out), list(files)
    refuse_existing(path, recipe.overwrite, files)
    if slope_map and recipe.integrate.rejection.algorithm != "linear-fit":
        raise ParameterError("slope_map: only linear fit clipping makes one; take --rejection.algorithm linear-fit")
    session = scan(list(files))
    if not session.frames:
        raise NothingUsable(f"no image was found: {session.rejected[0] if session.rejected else 'give files'}")
    nothing = Plan(session.name, (), (), (), (), (), ())
    keep_freed_memory()
    with executor(recipe.workers) as pool:
        run = Run.of(nothing, path.parent, recipe, pool)
        for rejected in session.rejected:
            yield run.reject(rejected)
        frames = [cropped(frame, roi) for frame in session.frames]
        frames = yield from of_one_shape(run, frames)
        frames, statistics = yield from measured(run, frames)
        chosen = place_of(reference, frames)
        if recipe.integrate.looks_at_stars and min(frames[0].shape[-2:]) >= 32:
            frames, statistics = yield from with_fluxes(run, frames, statistics, chosen or 0)
            chosen = place_of(reference, frames)
        stack, frames, _ = yield from integrate(
            run, "integrate", recipe.integrate, frames, statistics, chosen, slope=slope_map, named=chosen is not None
        )
        if stack is None:
            raise NothingUsable("no frame could be read to its end; nothing was written")
        for note in stack.notes:
            yield run.note("integrate", note)
        for lost in stack.lost:
            yield run.reject(lost)
        own = next(frame for frame in frames if frame.source == stack.reference)
        used = [row.source for row in by_frame(stack) if row.weight > 0]
        metas = [frame.meta for frame in frames if frame.source in used]
        cards = header(own.meta, metas, metas[0].kind) + place_keywords(own.header)
        save(path, stack, cards, (*own.cards, card(recipe.integrate)), recipe)
        yield from told(run, path, stack, own)


def of_one_shape(run: Run, frames: list[Frame]) -> Iterator[Event]:
    """The frames of the shape that most have; the others are rejected. FrameError where no shape has the majority."""
    shapes = Counter(frame.shape for frame in frames)
    usual, count = shapes.most_common(1)[0]
    if count <= len(frames) / 2:
        check_shapes(frames)
    first = next(frame for frame in frames if frame.shape == usual)
    for frame in frames:
        if frame.shape != usual:
            try:
                check_shapes([first, frame])
            except FrameError as error:
                yield run.reject(Rejected.of(frame.source, "measure", error))
    return [frame for frame in frames if frame.shape == usual]


def told(run: Run, path: Path, stack, own: Frame) -> Iterator[Event]:
    """The figures of a result: a line for each frame, one for the whole."""
    for used in by_frame(stack):
        if not used.weight > 0:
            continue
        words = f"weight {used.weight:.3f}, scale {used.scale:.4f}, offset {used.offset:+.2f} DN"
        lost = used.rejected_low_fraction, used.rejected_high_fraction, used.large_scale_fraction
        words += f", noise {used.noise_dn:.3g} DN, {rejection_words(*lost)}"
        yield Event("integrate", message=f"{Path(used.source).name}: {words}")
    for source, _, trail in stack.trails:
        yield Event("integrate", message=f"{Path(source).name}: {trail}")
    row = MasterRow.of(own.meta.kind, own.meta.filter, path, stack, reference=own.source)
    yield Event("integrate", message=f"reference: {Path(own.source).name}")
    yield Event("done", result=(row, run.report.rejected), message=row.sentence())


def cropped(frame: Frame, roi) -> Frame:
    """The part of a frame at (x, y, width, height); all of it for None."""
    if roi is None:
        return frame
    x, y, width, height = roi
    rows, cols = frame.shape[-2:]
    if min(x, y) < 0 or min(width, height) < 1 or x + width > cols or y + height > rows:
        raise ParameterError(
            f"roi={x},{y},{width},{height} (x, y, width, height) is not inside of {frame.source}: {cols} x {rows}"
        )
    return Trimmed.of(frame, (y, y + height, x, x + width))


def place_of(reference, frames: list[Frame]) -> int | None:
    """The number of the frame that the user named by path or name."""
    if reference is None:
        return None
    wanted = Path(reference)
    for same in (lambda p: p.resolve() == wanted.resolve(), lambda p: wanted.name in (p.name, p.stem)):
        found = [i for i, frame in enumerate(frames) if same(Path(frame.source))]
        if found:
            return found[0]
    raise ParameterError(f"--reference {reference} is not among the files that can be integrated")


def measured(run: Run, frames: list[Frame]) -> Iterator[Event]:
    """The frames that can be read and their statistics; the others are rejected with the reason."""
    settings = run.recipe.integrate
    scale = "bwmv" if settings.scale == "stars" else settings.scale
    found = {}
    megabytes = MEASURE_BYTES * frames[0].shape[-1] * frames[0].shape[-2] / 1e6 if settings.measures else 1.0
    at_once = max(1, min(2 * run.pool[1], int(run.memory_mb // megabytes)))
    limits = settings.rejection.range_low, settings.rejection.range_high
    task = partial(examined, wanted=settings.measures, scale=scale, limits=limits)
    for event in each("measure", run.pool, task, frames, in_flight=at_once):
        if isinstance(event.result, Rejected):
            yield run.reject(event.result)
            continue
        found[event.item.source], zeros = event.result
        yield Event("measure", event.done, event.total)
        if zeros > BORDER_ZEROS and run.recipe.integrate.rejection.range_low is None:
            yield run.note(
                "measure",
                f"{Path(event.item.source).name}: {100 * zeros:.1f} % of its pixels are exactly 0 and count as light; "
                "if they are borders without data, pass --rejection.range-low 0",
            )
    kept = [frame for frame in frames if frame.source in found]
    if not kept:
        raise NothingUsable("none of the files can be integrated; the reasons are above")
    return kept, [found[frame.source] for frame in kept]


def examined(frame: Frame, wanted, scale, limits) -> tuple[list[Measurement], float]:
    """The statistics of a frame, and which part of a sample of it is exactly 0."""
    rows = np.linspace(0, frame.shape[-2] - 1, min(frame.shape[-2], 32)).astype(int)
    sample = np.concatenate([frame.pixels(y, y + 1, 0, frame.shape[-1]).ravel() for y in rows])
    there = sample[np.isfinite(sample)]
    if there.size and (there == there[0]).all():
        raise FrameError(frame.source, f"every pixel is {there[0]:g} DN: an empty frame; leave it out")
    return measure(in_range(frame, *limits), wanted, scale), float(np.mean(there == 0)) if there.size else 0.0


def with_fluxes(run: Run, frames, statistics, anchor: int) -> Iterator[Event]:
    """(frames, their statistics with the light of the anchor's stars in every frame over that in the anchor)."""
    found = SubframeSelector().measure(frames[anchor])
    if not found:
        return frames, statistics
    stars, fluxes = standards(found[1]), {}
    for event in each("photometry", run.pool, partial(forced_fluxes, stars=stars), frames):
        if isinstance(event.result, Rejected):
            yield run.reject(event.result)
            continue
        fluxes[event.item.source] = event.result
        yield Event("photometry", event.done, event.total)
    ours = fluxes.get(frames[anchor].source)
    if ours is None:
        raise FrameError(frames[anchor].source, "its stars cannot be measured; leave it out")
    out = []
    for frame, planes in zip(frames, statistics, strict=True):
        if frame.source not in fluxes:
            continue
        out.append(with_star_light(planes, fluxes[frame.source], ours))
    return [frame for frame in frames if frame.source in fluxes], out


def normalize_files(files: Iterable, out, local: LocalNormalization | None = None, reference=None, **options):
    """Write every registered file into the folder `out` as `name_n.fits`, with the sky and scale of `reference`."""
    local = local or LocalNormalization()
    known = local.reference(read(reference))

    def step(frame: Frame):
        view = local(frame, known)
        if not view:
            raise FrameError(frame.source, view.reason)
        return view, None, []

    yield from each_file("normalize", scan(list(files)), out, "_n", step, **options)


def compose_files(files: Iterable, out, hdr: HDRComposition | None = None, overwrite=False) -> Iterator[Event]:
    """Write registered images of different exposures as one that saturates nowhere, with its masks in extensions."""
    hdr, files = hdr or HDRComposition(), list(files)
    refuse_existing(Path(out), overwrite, files)
    frames = [read(path) for path in files]
    variances = [extension(frame.source, "VARIANCE") for frame in frames]
    if any(v is None for v in variances):
        without = next(frame.source for frame, v in zip(frames, variances, strict=True) if v is None)
        yield Event("hdr", message=f"{without} has no VARIANCE, so the result has none")
    made = hdr(frames, variances)
    for note in made.notes:
        yield Event("hdr", message=note)
    first = next(frame for frame in frames if frame.source == made.sources[0])
    planes = {"IMAGE": made.image} | ({} if made.variance is None else {"VARIANCE": made.variance})
    planes |= {f"MASK{i}": mask for i, mask in enumerate(made.masks, 1)}
    low, high = made.range_dn
    header = header_of(first) | {"DATAMIN": low, "DATAMAX": high, "SATURATE": None}
    write(
        out,
        planes,
        {k: v for k, v in header.items() if v is not None},
        [*first.cards, card(hdr)],
        compress=planes.keys() - {"IMAGE"},
    )
    write_png(Path(out).with_suffix(".png"), preview(made.image, linked=False))
    yield Event("done", result=made, message=f"{out}: {low:.5g} to {high:.5g} DN")


def extension(path, name: str) -> np.ndarray | None:
    """An extension of a FITS file as an array; None where there is none."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            return np.asarray(hdus[name].data, np.float32) if name in hdus else None
    except OSError:
        return None
