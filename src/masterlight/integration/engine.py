"""The integration of a set of frames: who takes part, tile by tile, again where larger structures lie, the stack."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy.special import ndtr

from masterlight.alignment.laid import told_apart
from masterlight.core import workers
from masterlight.core.errors import NothingUsable, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import with_values
from masterlight.core.workers import Event
from masterlight.integration.depth import is_crowded
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.kernels import combine
from masterlight.integration.kernels.residuals import MANY, SIDE
from masterlight.integration.local.sky import sky_below
from masterlight.integration.rejection import LargeScaleRejection, Rejection
from masterlight.integration.roster.field import Noise, NoiseField, fields_of
from masterlight.integration.roster.members import Planes, Roster, check_shapes, roster_of
from masterlight.integration.roster.terms import Terms
from masterlight.integration.scatter import FAINTEST, fields_by_scatter, is_doubtful, scatter_of, without_starlight
from masterlight.integration.single.saturated import wells_of
from masterlight.integration.single.sharp import looks_of
from masterlight.integration.stack import HIGH, LARGE, LOW, Canvas, FrameRow, Grown, Stack, Trail, Verdicts
from masterlight.integration.tile import Tile, parts_of, sample_bytes, tiles
from masterlight.integration.trails.cut import Means
from masterlight.integration.trails.faint import find_faint
from masterlight.integration.trails.residue import Residue
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.together import Pool

MUCH = 0.1
"""Part of a frame's samples, beyond the algorithm's own share, that is not rejected without a reason worth telling."""
FEWEST = 3
"""Frames whose scatter can be told."""
LISTED = 0.01
"""Part of the samples that rejection may take and list, at most, when room for it is planned."""
Room = tuple[Pool, float, float | None]
"""Where and in how many MB an integration runs, and the width of its tiles over their height."""


def integrate(
    settings: ImageIntegration, frames: Sequence[Frame], measurements, reference: int | None, room: Room,
    maps: bool = True, slope: bool = False, verdicts: bool = False, odd: Mapping[int, Rejected] = MappingProxyType({}),
) -> Generator[Event, None, Stack]:  # fmt: skip
    """Integrate frames of which everything is measured: see `ImageIntegration.__call__`; `odd`: who is left out."""
    check_shapes(frames)
    shape = (frames[0].planes, *frames[0].shape[-2:])
    planes: Planes = [measurements] if isinstance(measurements[0], Measurement) else measurements
    if len(planes) != shape[0] or any(len(plane) != len(frames) for plane in planes):
        raise ParameterError(f"statistics: {len(frames)} frames of {shape[0]} planes need one for each of them")
    odd = dict(odd)
    while True:
        roster = yield from roster_of(settings, room[0], frames, planes, reference, odd)
        work = Work(roster.settings, roster, planes, shape, room)
        canvas = yield from work.run(maps, slope, verdicts)
        more = {i: why for i, why in mostly_rejected(roster, canvas, planes).items() if i != reference}
        if not more or 2 * (len(odd) + len(more)) >= len(frames):
            break
        odd |= more
        yield Event("integrate", message=f"{len(more)} of {len(roster.frames)} frames are left out; once more without")
        del work, canvas  # or two results are in memory at once
    roster = roster._replace(terms=work.terms)
    result = replace(stack_of(roster.settings, canvas, frames, planes, roster, work.notes), noise=work.noise)
    told = maps and settings.combination == "average" and len(roster.frames) >= FEWEST
    if told and is_crowded(result.image, result.variance):
        result = replace(result, scatter=work.scatter())
    yield Event("integrate", work.done, work.done, result=result, message=result_sentence(result))
    return result


def unregistered(
    pool: Pool, frames: Sequence[Frame], reference: int | None
) -> Generator[Event, None, tuple[dict[int, Rejected], int]]:
    """The frames that do not lie on the others, and one that does; NothingUsable where most do not."""
    found = yield from told_apart(pool, frames, reference)
    if found.refused:
        remedy = "they are not registered. StarAlignment registers frames, masterlight.run all lights of a folder"
        raise NothingUsable(f"{found.words}: {remedy}; force=True integrates them as they are")
    words = "; force=True integrates it all the same"
    odd = {i: Rejected(frames[i].source, "integrate", why + words) for i, why in found.odd.items()}
    return odd, found.together[0] if reference is None else reference


def mostly_rejected(roster: Roster, canvas: Canvas, planes: Planes) -> dict[int, Rejected]:
    """The frames of which rejection took more than `max_rejected`, beyond what chance takes, and why they leave."""
    settings, rule, count = roster.settings, roster.settings.rejection, len(roster.frames)
    if settings.max_rejected >= 1 or rule.algorithm == "none" or rule.ranges:
        return {}
    found = {}
    for k, i in enumerate(map(int, roster.kept)):
        own = [plane[i] for plane in planes]
        level_sigma = np.mean([m.location_dn / m.noise_dn if m.noise_dn > 0 else np.inf for m in own])
        share = float(np.mean([sum(canvas.fractions(p, k)[:2]) for p in range(len(planes))]))
        if share - own_share(rule, count, float(level_sigma)) > settings.max_rejected:
            words = f"{100 * share:.0f} % of its samples were rejected (ImageIntegration.max_rejected"
            words += f" {settings.max_rejected:g}): clouds, an uneven sky, or not on the others' stars? 1 keeps it"
            found[i] = Rejected(own[0].source, "integrate", words)
    return found


class Work:
    """One integration at work: tiles, and where larger structures are looked for those that these change once more."""

    def __init__(
        self, settings: ImageIntegration, roster: Roster, planes: Planes, shape: tuple[int, int, int], room: Room
    ):
        self.settings, self.frames, self.terms = settings, roster.frames, roster.terms
        self.shape, (self.pool, self.memory_mb, self.aspect), self.done = shape, room, 0
        measured = [[plane[i] for i in roster.kept] for plane in planes]
        self.more: dict = {"local": roster.local, "sky": None}
        self.more["looks"] = looks_of(settings.rejection, self.frames, measured)
        self.more["wells"] = wells_of(settings.rejection, self.frames, self.terms, roster.local)
        self.levels = roster.levels
        self.notes: list[str] = [roster.note] if roster.note else []
        self.larger = settings.rejection.looks_larger
        noisy = all(np.all(t.noise_dn > 0) for t in self.terms)
        faint = self.larger and settings.rejection.large_scale.trails and len(self.frames) > 1 and noisy
        self.bins = (2 if np.prod(shape[-2:]) > MANY else 1) if faint else 0
        if settings.normalization != "none" and any(t.signal_fraction > 0 or t.photon.any() for t in self.terms):
            self.more["sky"] = sky_below(roster.reference)
        if settings.normalization != "none":
            self.more["fields"] = self.fields(measured)
            self.settle_claims(measured)

    @property
    def noise(self) -> Noise | None:
        """How it differs over the field, where that is known of noise under the sky."""
        fields = self.more.get("fields")
        return (
            None
            if fields is None or any(t.dark_dn is not None for t in self.terms)
            else Noise(tuple(fields), self.more["sky"])
        )

    def fields(self, measured: Planes) -> list[NoiseField | None]:
        """How the noise of each plane differs over the field."""
        local = self.more["local"] or ()
        models = local if self.settings.normalization == "local" or any(m.before for m in local) else None
        return fields_of(self.terms, measured, models, self.more["sky"], self.shape)

    def run(self, maps: bool, slope: bool, verdicts: bool) -> Generator[Event, None, Canvas]:
        """Yield an event for each tile; gives the canvas."""
        room_mb = (LISTED * 4e-6 + bool(self.bins) * 2e-6 / SIDE**2) * len(self.frames) * float(np.prod(self.shape))
        if self.larger and not verdicts and room_mb > self.memory_mb / 4:
            self.larger, self.bins = False, 0
            words = f"trails are not looked for: what is rejected of {len(self.frames)} frames may take {room_mb:.0f}"
            self.notes.append(f"{words} MB, more than a quarter of the {self.memory_mb:.0f} MB (Recipe.memory_mb)")
        listed, samples = verdicts or self.larger, len(self.frames) * self.shape[0]
        count = samples * sample_bytes(self.settings, listed) / 4
        boxes = tiles(self.shape[-2:], count, self.memory_mb, self.pool[1], self.aspect)
        self.done, (y0, y1, x0, x1) = len(boxes), boxes[0]
        size = f"{self.shape[-1]} x {self.shape[-2]} in {len(boxes)} tiles of {x1 - x0} x {y1 - y0}"
        megabytes = samples * (y1 - y0) * (x1 - x0) * 4 / 1e6
        words = f"{len(self.frames)} frames of {size}, {megabytes:.0f} MB of samples each"
        yield Event("integrate", 0, len(boxes), message=words)
        canvas = Canvas(self.shape, len(self.frames), maps, slope, listed, self.bins > 0)
        yield from self.look(canvas, boxes, "integrate", slope=slope, verdicts=listed, bins=self.bins)
        if canvas.verdicts is not None:
            canvas.verdicts.settle()
        if self.larger:
            touched = yield from self.grow(canvas)
            more = {"slope": slope, "larger": canvas.verdicts}
            if canvas.bins is not None:
                residue = Residue(canvas.bins, np.array([t.noise_dn for t in self.terms]), canvas.verdicts, self.bins)
                yield from self.grow_faint(canvas, residue, touched)
                more["residue"] = residue if self.settings.combination == "average" else None
                if maps and more["residue"] and all(np.all(t.noise_variance > 0) for t in self.terms):
                    touched = yield from self.cut(canvas, residue, touched)
            again = [part for box in boxes for part in parts_of(box, touched)]
            yield from self.look(canvas, again, "reject larger", touched, **more)
        return canvas

    def settle_claims(self, measured: Planes) -> None:
        """Let the scatter of the samples tell their noise, where starlight hides it, or the flat or gain is unknown."""
        shape, field = self.shape[-2:], self.more.get("fields")
        noisy = all(np.all(t.noise_variance > 0) and t.dark_dn is None for t in self.terms)
        told = noisy and self.settings.looks_at_stars and self.settings.combination == "average"
        if not told or field is None or len(self.frames) < FEWEST:
            return
        if is_doubtful(measured):
            self.terms = without_starlight(self.terms, self.scattering, shape)
            self.more["fields"] = self.fields(measured)
            return
        blind = not any(t.photon.any() for t in self.terms)
        if blind or all(m.response is None for plane in measured for m in plane):
            sky, tile = self.more["sky"] if blind else None, self.scattering(self.terms)
            self.more["fields"] = fields_by_scatter(tile, field, sky, shape)

    def scattering(self, terms: Sequence[Terms]) -> Tile:
        """The task that tells the scatter of the samples of a place."""
        return Tile(self.settings, self.frames, terms, **self.more, verdicts=True)

    def scatter(self) -> float:
        """How noisy samples are in some places by their own scatter, over what VARIANCE claims there."""
        return float(np.mean(scatter_of(self.scattering(self.terms), self.shape[-2:], FAINTEST)))

    def look(self, canvas: Canvas, boxes, stage: str, touched=None, **more) -> Iterator[Event]:
        """Integrate some tiles; on a second look what was rejected before stays so, and only that is left out."""
        settings = self.settings
        if touched is not None:
            settings = with_values(settings, rejection=with_values(settings.rejection, algorithm="none"))
            more["local"] = self.more["local"] or self.levels
        task = Tile(settings, self.frames, self.terms, **self.more | more)
        for event in workers.each(stage, self.pool, task, boxes, keep_going=False):
            canvas.place(event.item, event.result, touched)
            yield Event(stage, event.done, event.total, event.item)

    def cut(self, canvas: Canvas, residue: Residue, touched: np.ndarray) -> Generator[Event, None, np.ndarray]:
        """Take samples out of means, of which only frames that lose some are read again; gives where all have to be."""
        flat, (rows, cols) = np.flatnonzero(touched), self.shape[-2:]
        if not flat.size:
            return touched
        planes = [Means(canvas, p, flat, t, residue) for p, t in enumerate(self.terms)]
        hard = np.any([plane.hard for plane in planes], axis=0)
        items, own, verdicts = [], np.zeros((rows, cols), bool), canvas.verdicts
        for plane in planes:
            plane.hard = hard
        for i in range(len(self.frames)):
            lost = np.concatenate([verdicts.indices(i, p, LARGE) for p in range(len(planes))])
            if lost.size:
                own.reshape(-1)[lost] = True
                own.reshape(-1)[flat[hard]] = False
                items += [(i, box) for box in parts_of((0, rows, 0, cols), own)]
                own.reshape(-1)[lost] = False
        tile, found = Tile(self.settings, self.frames, self.terms, **self.more), {}
        for event in workers.each("reject larger", self.pool, tile.of_frame, items, keep_going=False):
            found[event.item] = event.result
            yield Event("reject larger", event.done, event.total)
        for p, (plane, t) in enumerate(zip(planes, self.terms, strict=True)):
            for i in range(len(self.frames)):
                plane.take(i, [(box, found[k, box][0][p], found[k, box][1][p]) for k, box in items if k == i])
            rule = t.rule(self.settings.rejection)
            plane.put_back(t.columns("average").excess, rule.noise_fraction)
        again = np.zeros_like(touched)
        again.reshape(-1)[flat[hard]] = True
        return again

    def grow(self, canvas: Canvas) -> Generator[Event, None, np.ndarray]:
        """Find trails and other larger structures in what was rejected of each frame; gives where there are any."""
        touched = np.zeros(self.shape[-2:], bool)
        flat = touched.reshape(-1)
        items, found = [(i, p) for i in range(len(self.frames)) for p in range(self.shape[0])], {}
        task = partial(grow_frame, self.settings.rejection.large_scale, canvas.verdicts)
        for event in workers.each("find trails", self.pool, task, items, keep_going=False):
            (i, p), grown = event.item, event.result
            for side, more in ((LOW, grown.low), (HIGH, grown.high)):
                canvas.verdicts.large(i, p, side, more)
                flat[more] = True
            found[i, p] = grown.trails
            yield Event("find trails", event.done, event.total)
        canvas.trails = [(self.frames[i].source, p, trail) for i, p in items for trail in found[i, p]]
        return touched

    def grow_faint(self, canvas: Canvas, residue: Residue, touched: np.ndarray) -> Generator[Event, None, None]:
        """Find trails that no single pixel of a frame shows, cut them in all planes, and add them to `touched`."""
        known, flat, large = canvas.verdicts, touched.reshape(-1), LARGE + HIGH
        task = partial(faint_in, self.settings.rejection.large_scale, residue.scores(), known.shape, residue.shown)
        for event in workers.each("find faint trails", self.pool, task, range(len(self.frames)), keep_going=False):
            i, (band, trails) = event.item, event.result
            for p in range(self.shape[0] if band.size else 0):
                more = np.setdiff1d(band, known.indices(i, p, HIGH), assume_unique=True)
                known.large(i, p, HIGH, np.union1d(known.indices(i, p, large), more))
            if band.size:
                residue.leave_out(i, band, self.shape[-1])
            flat[band] = True
            canvas.trails += [(self.frames[i].source, 0, Trail(*trail)) for trail in trails]
            yield Event("find faint trails", event.done, event.total)


def faint_in(settings: LargeScaleRejection, scores: np.ndarray, shape: tuple[int, int], shown: np.ndarray, i: int):
    """What belongs to trails in frame i that only its bins show: see `faint.find_faint`."""
    return find_faint(scores[i], shape, settings.trail_sigma, settings.trail_growth_px, shown)


def grow_frame(settings: LargeScaleRejection, verdicts: Verdicts, item: tuple[int, int]) -> Grown:
    """What belongs to larger structures in one frame and plane after it was judged sample by sample."""
    return settings.grown(*(verdicts.indices(*item, side) for side in (LOW, HIGH)), verdicts.shape)


def stack_of(settings: ImageIntegration, canvas: Canvas, frames, measured: Planes, roster: Roster, notes) -> Stack:
    """The result of an integration, with a row for every frame, those that were left out included."""
    place = {int(i): k for k, i in enumerate(roster.kept)}
    rows, nothing = [], (0.0, float("nan"), float("nan"), 0.0, 0.0, 0.0)
    for p, (t, plane) in enumerate(zip(roster.terms, measured, strict=True)):
        for i, frame in enumerate(frames):
            k = place.get(i)
            gave = nothing
            if k is not None:
                gave = (*(float(v[k]) for v in (t.weights, t.out_scale, t.out_offset)), *canvas.fractions(p, k))
            if k is not None and settings.normalization == "local":
                gave = (gave[0], roster.local[k].scale[p], float(roster.local[k].offset[p].mean()), *gave[3:])
            elif k is not None and roster.local and roster.local[k].before:
                gave = (*gave[:2], gave[2] + gave[1] * float(roster.local[k].offset[p].mean()), *gave[3:])
            noise = float("nan") if k is None else float(t.noise_dn[k])
            rows.append(FrameRow(frame.source, p, *gave, float(plane[i].location_dn), noise))
    notes = [*notes, *(note for t in roster.terms for note in t.notes)]
    notes += [f"{model.source}: {note}" for model in roster.local or () for note in model.notes]
    notes += remarks(settings, rows, len(roster.frames), levelled=bool(roster.local))
    if not np.isfinite(canvas.planes["image"]).any():
        rule, levels = settings.rejection, [row.location_dn for row in rows]
        limits = (
            f", Rejection.range_low {rule.range_low} and Rejection.range_high {rule.range_high}" if rule.ranges else ""
        )
        words = f"every sample of every frame was rejected or is missing (Rejection.algorithm {rule.algorithm}{limits})"
        raise NothingUsable(f"{words}; the levels of the frames go from {min(levels):.4g} to {max(levels):.4g} DN")
    names = "image", "variance", "coverage", "low", "high", "slope"
    planes = (canvas.planes[name].reshape(frames[0].shape) if name in canvas.planes else None for name in names)
    image, variance, coverage, low, high, slope = planes
    left_out = {"verdicts": canvas.verdicts, "trails": tuple(canvas.trails), "lost": tuple(roster.lost.values())}
    used = {"terms": tuple(roster.terms), "models": tuple(roster.local or ()), "reference": roster.reference.source}
    correlation, told = float(np.mean([t.correlation for t in roster.terms])), tuple(dict.fromkeys(notes))
    maps = {"variance": variance, "coverage": coverage, "rejected_low": low, "rejected_high": high, "slope": slope}
    known = {"notes": told, "correlation": correlation, "shown": canvas.shown, **maps, **left_out, **used}
    return Stack(image=image, frames=tuple(rows), n=len(roster.frames), **known)


def remarks(settings: ImageIntegration, rows: Sequence[FrameRow], count: int, levelled: bool) -> Iterator[str]:
    """What a user should know of a result and would not see in it."""
    rule = settings.rejection
    reach = (count - 1) / np.sqrt(max(count, 1))
    if rule.algorithm == "auto" and count == 1:
        yield "of one frame only what is sharper than its stars can be told to be no light: rays go, trails stay"
    elif rule.algorithm not in ("none", "auto") and count < 3:
        yield f"of {count} frames {rule.algorithm} tells no outlier: nothing was rejected but by range; take auto"
    elif rule.algorithm == "sigma" and reach <= min(rule.limits):
        words = f"among {count} frames a single outlier lies at most {reach:.2f} of their own sigma off"
        yield f"{words}, so sigma clipping cannot reject it: take auto"
    elif rule.kind.takes == "samples" and 2 * sum(rule.limits) > count:
        words = f"{rule.algorithm} leaves out {sum(rule.limits):g} of {count} samples of every pixel"
        yield f"{words}: see Rejection.low and Rejection.high"
    for row in rows:
        share = row.rejected_low_fraction + row.rejected_high_fraction
        own = own_share(rule, count, row.location_dn / row.noise_dn if row.noise_dn > 0 else np.inf)
        if share > MUCH + own and not levelled and not rule.ranges:
            words = f"{row.source}: {100 * share:.0f} % of its samples were rejected; if its sky is uneven"
            yield f"{words}, ImageIntegration.normalization local and Rejection.normalization local level it"


def own_share(rule: Rejection, count: int, level_sigma: float) -> float:
    """Part of the samples of clean frames that the algorithm takes, among `count` whose level is so many sigma."""
    if rule.algorithm == "none":
        return 0.0
    if rule.kind.limits is None:
        return min(1.0, 2 * rule.chauvenet_limit / count) if rule.algorithm == "chauvenet" else 0.0
    sides = [limit for limit, clip in zip(rule.limits, (rule.clip_low, rule.clip_high), strict=True) if clip]
    if rule.kind.takes == "samples":
        return sum(sides) / count
    sigma = {"fraction": level_sigma, "deviations": 0.15 * (1 + 0.6 * np.log(count))}.get(rule.kind.takes, 1.0)
    return float(sum(ndtr(-limit * sigma) for limit in sides))


def is_compiled() -> bool:
    """Whether the kernels were compiled on this machine before, and are kept."""
    kept = combine.stack.stats.cache_path
    return kept is not None and any(Path(kept).glob("combine.stack-*.nbi"))


def result_sentence(stack: Stack) -> str:
    used = [row for row in stack.frames if row.weight > 0]
    each = [(row.rejected_low_fraction, row.rejected_high_fraction, row.large_scale_fraction) for row in used]
    low, high, large = 100 * np.mean(each, axis=0)
    more = f", {len(stack.lost)} left out" if stack.lost else ""
    words = f"; {len(stack.satellites)} trails, {large:.3f} % of samples" if stack.trails else ""
    whole = f"{stack.n} frames integrated{more}, worth {stack.effective_frames:.1f} equal ones"
    return f"{whole}; rejected {low:.3f} % of samples low, {high:.3f} % high{words}"
