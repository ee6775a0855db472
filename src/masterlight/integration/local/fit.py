"""How a registered frame becomes like a reference: its scale by the stars in common, its sky by a smooth surface."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame, frame_of
from masterlight.core.process import card
from masterlight.core.statistics.rounding import dither, step_between, without
from masterlight.integration.kernels import surface
from masterlight.integration.local.model import LocalModel, LocalReference, Normalized
from masterlight.integration.normalize import LocalNormalization
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import flux_ratio, forced_fluxes, standards
from masterlight.subframes.select import SubframeSelector

GUARD_PX = 3
"""Pixels around a star, or around what is in one frame only, that are left out with it."""
LEAST_SHARE = 0.25
"""Share of the samples of a full cell that a cell must have to tell its level."""
LEAST_OVERLAP = 0.1
"""Share of the reference's cells that a frame must cover."""
STARS, LOCAL_STARS = 100, 400
"""Stars that tell the scale, at most: of the whole frame, and over the field."""
FIRM = 5.0
"""The scale is known when it is so many times its error."""
FIRM_SNR = 20.0
"""Signal to noise of stars that tell the scale of their place."""
BELIEVED = 0.87
"""A local scale goes by this factor beyond what nearly all stars tell, at most."""
INSTEAD = "normalize it globally (additive+scaling) or leave it out"


@dataclass(frozen=True, eq=False)
class Scale:
    """Factor that brings the stars of one plane to those of the reference, one number or varying over the field."""

    scale: float
    error: float
    stars: int
    gain: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    """Coefficients of the local scale over `scale`; none where it is 1 everywhere."""
    notes: tuple[str, ...] = ()

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The factor at places (n,) in units of the whole field, 0 to 1."""
        out = np.full(len(y), self.scale)
        if self.gain.size:
            ny, nx = self.gain.shape[0] - 3, self.gain.shape[1] - 3
            surface.surface_at(self.gain, y * ny, x * nx, out)
            out *= self.scale
        return out


def look_at_reference(
    settings: LocalNormalization, frame: Frame, stars: StarList | None, scaled: bool = True
) -> LocalReference:
    """What is kept of a reference: see `LocalNormalization.reference`; without stars where scales are known already."""
    frame = frame_of(frame, "reference")
    shape = tuple(frame.shape)
    scaled = scaled and not settings.no_scale
    if stars is None and scaled:
        measured = SubframeSelector().measure(frame)
        if not measured:
            raise FrameError(frame.source, f"it cannot be the reference of local normalization: {measured.reason}")
        stars = measured[1]
    ny, nx = cells_of(shape, settings.scale_px)
    height = min(settings.sampling_px, shape[-2] // ny)
    tops = tuple(int((j + 0.5) * shape[-2] / ny - 0.5 * height) for j in range(ny))
    strips = np.empty((ny, frame.planes, height, shape[-1]), np.float32)
    for top, strip in zip(tops, strips, strict=True):
        for plane, rows in zip(strip, in_planes(frame.pixels(top, top + height, 0, shape[-1])), strict=True):
            level = levels_of_cells(settings, rows, rows, np.zeros(nx), step_between(rows))
            limit = level[:, 0] + settings.reference_rejection * level[:, 1]
            surface.blank_outside(rows, np.full(nx, -np.inf), limit, GUARD_PX, plane)
    sky = float(np.isfinite(strips).mean())
    if sky < LEAST_OVERLAP:
        words = f"it cannot be the reference of local normalization: {sky:.0%} of its pixels are sky, not stars or gaps"
        raise FrameError(
            frame.source, f"{words}. Choose another reference, or raise LocalNormalization.reference_rejection"
        )
    if not scaled:
        return LocalReference(frame.source, shape, (ny, nx), tops, strips)
    chosen = standards(stars, LOCAL_STARS if settings.local_scale else STARS)
    return LocalReference(frame.source, shape, (ny, nx), tops, strips, chosen, forced_fluxes(frame, chosen))


def model_of(
    settings: LocalNormalization, reference: LocalReference, frame: Frame, instead: tuple[float, ...] | None = None
) -> LocalModel | Rejected:
    """How a frame becomes like the reference: see `LocalNormalization.model`."""
    if tuple(frame.shape) != reference.shape:
        words = f"its shape {tuple(frame.shape)} is not that of the reference {reference.source}, {reference.shape}"
        raise FrameError(frame.source, f"{words}: register it first")
    scales = scales_of(settings, reference, frame, instead)
    if isinstance(scales, Rejected):
        return scales
    ny, nx = reference.cells
    rows, cols = reference.shape[-2:]
    levels = levels_above(settings, reference, frame, scales)
    least = LEAST_SHARE * reference.strips.shape[2] * cols / nx
    covered = float(np.mean(levels[..., 2] >= least, axis=(1, 2)).min())
    if covered < LEAST_OVERLAP:
        words = f"it covers {covered:.0%} of the reference {reference.source}, less than {LEAST_OVERLAP:.0%}: {INSTEAD}"
        return Rejected(frame.source, "normalize", words)
    fits = [offset_surface(plane, least) for plane in levels]
    offset = np.stack([coefficients for coefficients, _ in fits])
    scale, error, stars, gain = zip(*((s.scale, s.error, s.stars, s.gain) for s in scales), strict=True)
    notes = (*(note for s in scales for note in s.notes), *stray_cells(levels[..., 2] >= least, fits))
    return LocalModel(frame.source, scale, error, stars, (rows / ny, cols / nx), offset, gain, notes)


def levels_above(settings: LocalNormalization, reference: LocalReference, frame: Frame, scales) -> np.ndarray:
    """What the reference is above the scaled frame in every cell: (planes, cells down, cells across, 5) float64.

    The last axis is that of `kernels.surface.cell_levels`, with the last two as the place of the samples in units
    of cells, across and down.
    """
    ny, nx = reference.cells
    rows, cols = reference.shape[-2:]
    height = reference.strips.shape[2]
    out = np.empty((len(scales), ny, nx, 5))
    across, middle = np.arange(nx) + 0.5, reference.tops[ny // 2]
    step = max(map(step_between, in_planes(frame.pixels(middle, middle + height, 0, cols))))
    for j, top in enumerate(reference.tops):
        down = (top + 0.5 * height) * ny / rows
        seen = in_planes(frame.pixels(top, top + height, 0, cols))
        for ours, theirs, scale, level in zip(reference.strips[j], seen, scales, out[:, j], strict=True):
            factor = scale.at(np.full(nx, down / ny), across / nx)
            level[:] = levels_of_cells(settings, ours, theirs, factor, step)
        out[:, j, :, 3] = (out[:, j, :, 3] + 0.5) * nx / cols
        out[:, j, :, 4] = (out[:, j, :, 4] + top + 0.5) * ny / rows
    return out


def levels_of_cells(settings: LocalNormalization, ours, theirs, factor: np.ndarray, step: float) -> np.ndarray:
    """`kernels.surface.cell_levels` of the cells of two strips, (cells, 5), of pixels rounded to a `step` if not 0."""
    level = np.empty((len(factor), 5))
    ours = ours + dither(ours.shape, step) if step else ours
    surface.cell_levels(ours, theirs, factor, settings.target_rejection, GUARD_PX, level)
    if step:
        level[:, 1] = without(level[:, 1], step)
    return level


def scales_of(
    settings: LocalNormalization, reference: LocalReference, frame: Frame, instead: tuple[float, ...] | None = None
) -> tuple[Scale, ...] | Rejected:
    """The scale of each plane from the stars in common, or why there is none; no flux is surer than 0.5 %.

    instead: that of each plane, where too few stars tell one, or none that varies, or where no stars are known.
    """
    if reference.stars is None and instead is not None and not settings.no_scale:
        return tuple(Scale(scale, 0.0, 0) for scale in instead)
    if settings.no_scale:
        return tuple(Scale(1.0, 0.0, 0) for _ in range(reference.strips.shape[1]))
    mine, theirs, found = forced_fluxes(frame, reference.stars), reference.fluxes, []
    planes = zip(mine.flux_dn, mine.error_dn, theirs.flux_dn, theirs.error_dn, strict=True)
    for light, error, usual, usual_error in planes:
        ratio, ratio_error, count = flux_ratio(light, usual, error, usual_error)
        count = count if ratio > FIRM * ratio_error else 0
        if count < settings.min_stars and instead is not None:
            note = (
                f"{count} of its stars tell its scale, too few: {instead[len(found)]:.3f} is taken, as told otherwise"
            )
            found.append(Scale(instead[len(found)], 0.0, count, notes=(note,)))
            continue
        if count < settings.min_stars:
            words = f"{count} of the stars of {reference.source} can be measured in it"
            needed = f"and {settings.min_stars} must tell its scale (LocalNormalization.min_stars)"
            return Rejected(frame.source, "normalize", f"{words}, {needed}: {INSTEAD}")
        one = Scale(1 / ratio, ratio_error / ratio**2, count)
        if settings.local_scale:
            good = (light > FIRM_SNR * error) & (usual > FIRM_SNR * usual_error)
            each = usual[good] / light[good]
            sigma = each * np.sqrt((error / light)[good] ** 2 + (usual_error / usual)[good] ** 2 + 0.005**2)
            one = varying_scale(one, reference.stars.xy[good], each, sigma, reference.shape)
            if instead is not None and not one.gain.size:
                one = replace(one, scale=instead[len(found)], error=0.0)
        found.append(one)
    return tuple(found)


def normalized_view(settings: LocalNormalization, frame: Frame, reference: LocalReference) -> Normalized | Rejected:
    """A frame with the sky and the scale of the reference."""
    frame = frame_of(frame)
    model = model_of(settings, reference, frame)
    if isinstance(model, Rejected):
        return model
    done = card(settings, reference=reference.source, scale=model.scale, scale_error=model.scale_error)
    return Normalized(source=frame.source, meta=frame.meta, cards=(*frame.cards, done), below=frame, model=model)


def varying_scale(one: Scale, xy: np.ndarray, factors: np.ndarray, sigma: np.ndarray, shape: tuple[int, ...]) -> Scale:
    """A scale that varies over the field as its stars tell, as far as that is more than their noise.

    xy (n, 2) px; factors, sigma (n,) what each star says. A surface of up to 8 cells along the longer side, each of 6
    stars or more on average, is drawn towards the one scale by as much as makes the stars most likely; without
    evidence that it varies, three units of log likelihood, and far from any star the one scale holds.
    """
    rows, cols = shape[-2:]
    pitch = max(max(rows, cols) / 8, np.sqrt(rows * cols * 6 / max(len(xy), 1)))
    ny, nx = max(1, round(rows / pitch)), max(1, round(cols / pitch))
    v, u = (xy[:, 1] + 0.5) * ny / rows, (xy[:, 0] + 0.5) * nx / cols
    excess = surface.fit_shrunk(v, u, factors / one.scale - 1, sigma / one.scale, ny, nx)
    if not excess.size:
        note = f"{len(xy)} stars tell of no change of its scale over the field: one scale is used"
        return replace(one, notes=(note,))
    factor = replace(one, gain=1 + excess).at(*(np.stack(np.mgrid[:8, :8]).reshape(2, -1) + 0.5) / 8)
    told = np.sort(factors)
    least, most = told[len(told) // 20], told[-1 - len(told) // 20]
    if factor.min() < BELIEVED * min(least, one.scale) or factor.max() > max(most, one.scale) / BELIEVED:
        words = f"few of its {len(xy)} stars tell of a scale from {factor.min():.3f} to {factor.max():.3f}"
        return replace(one, notes=(f"{words}, which is not believed: one scale is used",))
    mean = float(factor.mean())
    note = f"its scale varies over the field from {factor.min():.3f} to {factor.max():.3f}: thin cloud?"
    return replace(one, scale=mean, gain=(1 + excess) * (one.scale / mean), notes=(note,))


def stray_cells(good: np.ndarray, fits) -> Iterator[str]:
    """What to tell when many points of a plane do not lie on the smooth sky through the others."""
    for p, (cells, (_, kept)) in enumerate(zip(good, fits, strict=True)):
        total = int(cells.sum())
        if kept < 0.8 * total:
            plane = f" in plane {p}" if len(good) > 1 else ""
            yield f"{total - kept} of {total} points of its sky{plane} do not lie on a smooth surface: clouds, ghosts?"


def offset_surface(levels: np.ndarray, least: float) -> tuple[np.ndarray, int]:
    """Coefficients of A0 from the levels of one plane's cells, and how many cells count.

    levels (cells down, cells across, 5); least: samples that a cell must have to count. Cells with fewer samples than
    most, or with more scatter, have less weight: a trail runs through them. Those 6 sigma off the surface have none.
    """
    ny, nx = levels.shape[:2]
    level, sigma, count, u, v = levels.reshape(-1, 5).T
    good = count >= least
    usual = np.median(sigma[good])
    calm = (usual / np.maximum(sigma, usual)) ** 4 if usual > 0 else 1.0
    weight = np.where(good, np.minimum(count / np.median(count[good]), 1.0) * calm, 0.0)
    floor = float(np.median(sigma[good] / np.sqrt(count[good])))
    points = (np.ascontiguousarray(a) for a in (v, u, np.where(good, level, 0.0), weight))
    return surface.fit_surface(*points, ny, nx, 6.0, floor)


def cells_of(shape: tuple[int, ...], pitch_px: int) -> tuple[int, int]:
    """How many cells, down and across, the grid of the sky has: 4 or more along the shorter side, 160 at most."""
    rows, cols = shape[-2:]
    pitch = max(min(pitch_px, min(rows, cols) / 4), max(rows, cols) / 160, 1.0)
    return max(1, round(rows / pitch)), max(1, round(cols / pitch))


def in_planes(pixels: np.ndarray) -> np.ndarray:
    """Pixels (h, w) or (3, h, w) as planes (n, h, w)."""
    return np.ascontiguousarray(pixels.reshape(-1, *pixels.shape[-2:]))
