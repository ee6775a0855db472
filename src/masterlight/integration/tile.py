"""The task of one tile of an integration: the box of every frame, normalized place by place, rejected, combined."""

import threading
from collections.abc import Sequence
from functools import partial

import numpy as np

from masterlight.core.frame import Frame, boxes_of, naming
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.kernels import combine, residuals
from masterlight.integration.kernels.ranked import table_for
from masterlight.integration.roster.terms import Terms
from masterlight.integration.single.saturated import REACH_PX, leave_saturated
from masterlight.integration.single.sharp import leave_sharp
from masterlight.integration.stack import HIGH, LARGE, LOW, RANGE, TileResult, Verdicts
from masterlight.integration.trails.residue import Residue

Box = tuple[int, int, int, int]
"""(y0, y1, x0, x1)"""

CACHE_BYTES = 16_000_000
SMALL_TILE = 2**16
CUT_PX = 128
"""Where trails lie, tiles are integrated once more in parts of so many rows, as wide as the trail is there."""


def integrate_tile(
    settings: ImageIntegration, samples: np.ndarray, terms: Terms, *, judged=None, zero=None, field=None, slope=False,
    verdicts=False, marked=False,
) -> TileResult:  # fmt: skip
    """Integrate one box: samples (N, h, w) float32 DN, NaN where missing.

    judged: what rejection looks at when that is not the samples themselves, -inf or inf where a sample is taken out
    beforehand (all that is out of range when they are `marked`); zero (h, w): the sky below each pixel, on the scale of
    the reference, by default the same everywhere; field: two (h, w), how many times the usual variance that sky has
    there and the factor of the flat, by default 1.
    """
    n, h, w = samples.shape
    flat = np.ascontiguousarray(samples, np.float32).reshape(n, h * w)
    kinds = (np.float32, np.float32, np.uint16, np.uint16, np.uint16)
    planes = combine.Planes(*(np.empty(h * w, k) for k in kinds), np.empty(h * w if slope else 0, np.float32))
    found, counts = np.empty((n, h * w) if verdicts else (0, 0), np.uint8), np.zeros((3, n), np.int64)
    rule, rejection = terms.rule(settings.rejection, marked), settings.rejection
    judged = flat if judged is None else np.ascontiguousarray(judged, np.float32).reshape(n, h * w)
    ground = np.ones((3, h * w), np.float32)
    ground[0] = terms.background_dn if zero is None else np.float32(zero).reshape(h * w)
    if field is not None:
        ground[1:] = np.reshape(field, (2, h * w))
    table = table_for(rule.algorithm, n, rejection.esd_significance, rejection.chauvenet_limit)
    combination = combine.COMBINATIONS.index(settings.combination)
    numbers = terms.columns(settings.combination), rule, table, combination
    combine.integrate(flat, judged, ground, *numbers, planes, found, counts)
    shaped = [plane.reshape(h, w) if plane.size else plane for plane in planes]
    if verdicts and marked and settings.rejection.ranges:
        found[np.isinf(judged)] = RANGE
    none = np.zeros((1, n), np.int64)
    return TileResult(*shaped, np.concatenate([counts, none]), indices_of(found) if verdicts else None)


def indices_of(verdicts: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """By LOW, HIGH, RANGE: (flat indices of the samples judged so, frame after frame; where each frame's begin).

    verdicts (N, pixels) uint8.
    """
    n, pixels = verdicts.shape
    flat = verdicts.reshape(-1)
    eights = np.zeros(-(-flat.size // 8), np.uint64)  # nearly all are zero: look at eight at once
    eights.view(np.uint8)[: flat.size] = flat
    at = (8 * np.flatnonzero(eights)[:, None] + np.arange(8)).ravel()
    kinds = eights.view(np.uint8)[at]
    edges, found = np.arange(n + 1) * pixels, {}
    for kind in (LOW, HIGH, RANGE):
        part = at[kinds == kind]
        found[kind] = part % pixels, np.searchsorted(part, edges)
    return found


def over_image(samples: np.ndarray, image: np.ndarray, terms: Terms, box: Box, every: int) -> np.ndarray:
    """What each frame has over the image of a box, added up: `TileResult.bins`."""
    y0, y1, x0, x1 = box
    size = (y1 - 1) // residuals.SIDE - y0 // residuals.SIDE + 1, (x1 - 1) // residuals.SIDE - x0 // residuals.SIDE + 1
    out = np.zeros((len(samples), *size), np.int16)
    flat, numbers = samples.reshape(len(samples), -1), (terms.out_scale, terms.out_offset, terms.noise_dn)
    residuals.bin_residuals(flat, image.reshape(-1), *(np.float32(values) for values in numbers), box, every, out)
    return out


def sample_bytes(settings: ImageIntegration, verdicts: bool) -> int:
    """Memory that one sample takes while its tile is integrated."""
    modes = {settings.normalization, settings.rejection.normalization}
    decided = settings.rejection.algorithm in ("linear-fit", "esd", "chauvenet")
    others = 4 * (len(modes) == 2 and "local" in modes)
    return 4 + others + verdicts + decided


class Tile:
    """The task of one tile; buffers are kept for the thread's next."""

    def __init__(
        self, settings: ImageIntegration, frames: Sequence[Frame], terms: Sequence[Terms], *, local=None, sky=None,
        fields=None, looks=None, wells=None, slope=False, verdicts=False, bins=0, larger: Verdicts | None = None,
        residue: Residue | None = None,
    ):  # fmt: skip
        """local: a `LocalModel` for each frame; sky: the large-scale background of the reference; fields: a
        `NoiseField` or None for each plane; looks: what tells rays in each frame by itself; wells: the `Wells` of the
        frames, where some saturate later than others; larger: what is known of larger structures, on a second look;
        bins: what frames have over the result is added up in each so manyth row, or not; residue: what came of that,
        on a second look."""
        self.settings, self.frames, self.terms = settings, frames, terms
        self.more = {
            "local": local,
            "sky": sky,
            "fields": fields or [None] * len(terms),
            "looks": looks,
            "wells": wells,
        }
        self.more["slope"] = slope
        self.verdicts, self.bins, self.larger, self.residue = verdicts, bins, larger, residue
        self.kept = threading.local()

    def __reduce__(self):
        more = {"verdicts": self.verdicts, "bins": self.bins, "larger": self.larger, "residue": self.residue}
        return partial(Tile, **self.more, **more), (self.settings, self.frames, self.terms)

    def buffer(self, name: str, shape) -> np.ndarray:
        size = int(np.prod(shape))
        if getattr(self.kept, name, np.empty(0)).size < size:
            setattr(self.kept, name, np.empty(size, np.float32))
        return getattr(self.kept, name)[:size].reshape(shape)

    def __call__(self, box) -> list[TileResult]:
        y0, y1, x0, x1 = box
        shape = (len(self.terms), len(self.frames), y1 - y0, x1 - x0)
        samples = self.buffer("samples", shape)
        self.read(samples, box)
        forced = self.force(samples, box) if self.larger else None
        if self.more["looks"]:
            leave_sharp(samples, self.frames, self.more["looks"], box, self.larger is not None)
        self.mark(samples)
        judged = self.localize(samples, box) if self.more["local"] else samples
        results = []
        for p, terms in enumerate(self.terms):
            zero, field = self.below(p, box), self.more["fields"][p]
            more = {"judged": None if judged is samples else judged[p], "zero": zero}
            more["field"] = None if field is None else field.box(zero, *box)
            more |= {"slope": self.more["slope"], "verdicts": self.verdicts, "marked": True}
            result = integrate_tile(self.settings, samples[p], terms, **more)
            if forced is not None:
                result.counts[3] = forced[p].sum(axis=0)
                result.counts[:2] -= forced[p]
            if self.residue:
                image = result.image + self.residue.lost_dn(p, samples[p], terms.weights, box)
                result = result._replace(image=image)
            if self.bins:
                result = result._replace(bins=over_image(samples[p], result.image, terms, box, self.bins))
            results.append(result)
        return results

    def of_frame(self, item: tuple[int, Box]) -> tuple[np.ndarray, np.ndarray]:
        """A box of one frame by itself, as it is combined: (its samples (planes, h, w), the ground (planes, 3, h, w)).

        For the ground see `combine.integrate`.
        """
        i, box = item
        y0, y1, x0, x1 = box
        samples, frame = np.empty((len(self.terms), y1 - y0, x1 - x0), np.float32), self.frames[i]
        with naming(frame):
            frame.pixels_into(samples if len(frame.shape) == 3 else samples[0], y0, x0)
        judged_alone = self.settings.rejection.normalization == "local" and self.settings.normalization != "local"
        if self.more["local"] and not judged_alone:
            self.more["local"][i].apply(samples if len(frame.shape) == 3 else samples[0], y0, x0)
        ground = np.ones((len(self.terms), 3, y1 - y0, x1 - x0), np.float32)
        for p, terms in enumerate(self.terms):
            zero, field = self.below(p, box), self.more["fields"][p]
            ground[p, 0] = terms.background_dn if zero is None else zero
            if field is not None:
                ground[p, 1:] = field.box(zero, *box)
        return samples, ground

    def scatter(self, box, faintest: float = 1.0) -> list[list[tuple[np.ndarray, int]]]:
        """For each plane of a box the variance of its mean by the scatter of the kept samples over what is claimed.

        Of this part of its pixels, the faintest, by number of samples: ((n,) ratios, their number).
        """
        results, found = self(box), []
        samples = self.buffer("samples", (len(self.terms), len(self.frames), box[1] - box[0], box[3] - box[2]))
        for plane, terms, result in zip(samples, self.terms, results, strict=True):
            values = plane.reshape(len(plane), -1) * terms.out_scale[:, None] + terms.out_offset[:, None]
            kept = np.isfinite(values)
            for at, starts in result.verdicts.values():
                for i in range(len(values)):
                    kept[i, at[starts[i] : starts[i + 1]]] = False
            weight, count = kept * terms.weights[:, None], kept.sum(axis=0)
            values = np.where(kept, values, 0)
            off = np.square(weight * (values - (weight * values).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-30)))
            spare = np.square(weight.sum(axis=0)) - np.square(weight).sum(axis=0)
            claimed, image = result.variance.reshape(-1), result.image.reshape(-1)
            good = (claimed > 0) & np.isfinite(image)
            if faintest < 1 and good.any():
                good &= image <= np.quantile(image[good], faintest)
            told = [(n, good & (count == n)) for n in np.unique(count[count > 2])]
            found.append([(off[:, ok].sum(axis=0) / spare[ok] / claimed[ok], int(n)) for n, ok in told])
        return found

    def read(self, samples: np.ndarray, box) -> None:
        """Fill the samples (planes, N, h, w) of a box; saturated ones are -inf where they are to be left out."""
        wells = self.more["wells"]
        near: list[np.ndarray | None] = [None] * len(self.frames)
        for i, frame in enumerate(self.frames):
            out = samples[:, i] if len(frame.shape) == 3 else samples[0, i]
            with naming(frame):
                if wells is not None and wells.ceiling_dn[i] < np.inf:
                    near[i] = frame.bright_into(out, box[0], box[2], wells.ceiling_dn[i], REACH_PX)
                else:
                    frame.pixels_into(out, box[0], box[2])
        if any(one is not None for one in near):
            none = np.zeros(samples.shape[2:], bool)
            leave_saturated(samples, np.stack([none if one is None else one for one in near]), wells.level_dn)

    def below(self, plane: int, box) -> np.ndarray | None:
        """The sky below each pixel of the box, or no light at all for the CCD noise model; None if all alike."""
        y0, y1, x0, x1 = box
        if self.terms[plane].dark_dn is not None:
            return np.full((y1 - y0, x1 - x0), self.terms[plane].dark_dn, np.float32)
        return None if self.more["sky"] is None else self.more["sky"].plane(plane, *box)

    def force(self, samples: np.ndarray, box) -> np.ndarray:
        """Take out what was rejected before and what larger structures take, as -inf or inf.

        Gives how many of the latter there were, (planes, 2, N), on the low side and on the high side.
        """
        counts = np.zeros((samples.shape[0], 2, samples.shape[1]), np.int64)
        ceiling = self.settings.rejection.bounds[1]
        for p, plane in enumerate(samples):
            for i, frame in enumerate(plane):
                flat = frame.reshape(-1)
                for kind in (LOW, HIGH, RANGE, LARGE + LOW, LARGE + HIGH):
                    at = self.larger.within(i, p, kind, box)
                    at = at[np.isfinite(flat[at])]
                    high = flat[at] >= ceiling if kind == RANGE else kind in (HIGH, LARGE + HIGH)
                    flat[at] = np.where(high, np.inf, -np.inf)
                    if kind in (LARGE + LOW, LARGE + HIGH):
                        counts[p, kind - LARGE - 1, i] = at.size
        return counts

    def mark(self, samples: np.ndarray) -> None:
        """Mark what is out of range as it comes, before any normalization, as -inf or inf."""
        if not self.settings.rejection.ranges:
            return
        low, high = self.settings.rejection.bounds
        with np.errstate(invalid="ignore"):
            for frame in samples.reshape(-1, *samples.shape[-2:]):  # one by one: masks of all would take memory
                frame[frame <= low] = -np.inf
                frame[frame >= high] = np.inf

    def localize(self, samples: np.ndarray, box) -> np.ndarray:
        """Normalize the samples place by place, in place where they are combined so; gives what rejection looks at."""
        combined = self.settings.normalization == "local"
        if combined == (self.settings.rejection.normalization == "local"):
            self.normalize(samples, box)
            return samples
        other = self.buffer("judged", samples.shape)
        np.copyto(other, samples)
        self.normalize(samples if combined else other, box)
        return other

    def normalize(self, samples: np.ndarray, box) -> None:
        for i, (frame, model) in enumerate(zip(self.frames, self.more["local"], strict=True)):
            model.apply(samples[:, i] if len(frame.shape) == 3 else samples[0, i], box[0], box[2])


def tiles(shape, count: float, memory_mb: float, threads: int, aspect: float | None) -> list[Box]:
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
    return boxes_of(rows, cols, height, width)


def parts_of(box, touched: np.ndarray) -> list[Box]:
    """Those parts of a box, cut along its rows and columns, in which pixels are touched (rows, cols) bool."""
    y0, y1, x0, x1 = box
    parts = []
    for first in range(y0, y1, CUT_PX):
        inside = touched[first : min(first + CUT_PX, y1), x0:x1]
        rows = np.flatnonzero(inside.any(axis=1))
        if rows.size:
            columns = np.flatnonzero(np.diff(inside.any(axis=0), prepend=False, append=False)).reshape(-1, 2)
            top, bottom = first + int(rows[0]), first + int(rows[-1]) + 1
            parts += [(top, bottom, x0 + int(a), x0 + int(b)) for a, b in near_ones(columns)]
    return parts


def near_ones(runs: np.ndarray) -> list[list[int]]:
    """Runs of columns (n, 2) as parts, those less than CUT_PX / 2 apart together."""
    parts: list[list[int]] = []
    for a, b in runs.tolist():
        if parts and a - parts[-1][1] < CUT_PX // 2:
            parts[-1][1] = b
        else:
            parts.append([a, b])
    return parts
