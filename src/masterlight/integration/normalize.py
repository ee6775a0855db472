"""LocalNormalization: a registered frame brought to the sky and the scale of a reference, place by place."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import card, process
from masterlight.integration.kernels import surface
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.measurement import StarList
from masterlight.subframes.photometry import Fluxes, flux_ratio, forced_fluxes, standards
from masterlight.subframes.select import SubframeSelector

FEWEST_CELLS = 4
"""Cells along the shorter side of a frame, at least."""
MOST_CELLS = 160
"""Cells along the longer side, at most."""
GUARD_PX = 3
"""Pixels around a star, or around what is in one frame only, that are left out with it."""
LEAST_SHARE = 0.25
"""Share of the samples of a full cell that a cell must have to tell its level."""
LEAST_OVERLAP = 0.1
"""Share of the reference's cells that a frame must cover."""
CELL_LIMIT = 6.0
"""Cells farther than this many sigma from the surface through the others do not count."""
STARS, LOCAL_STARS = 100, 400
"""Stars that tell the scale, at most: of the whole frame, and over the field."""
FIRM = 5.0
"""The scale is known when it is so many times its error."""
FIRM_SNR = 20.0
"""Signal to noise of stars that tell the scale of their place."""
FLUX_FLOOR = 0.005
"""Relative error of a flux below which none is believed."""
FEW_KEPT = 0.8
"""Share of the cells below which it is told how many do not count."""
GAIN_CELLS = 8
"""Cells of the local scale along the longer side, at most."""
STARS_A_CELL = 6
"""Stars for each cell of the local scale, on average, at least."""
BELIEVED = 0.87
"""A local scale goes by this factor beyond what nearly all stars tell, at most."""
INSTEAD = "normalize it globally (additive+scaling) or leave it out"


@dataclass(frozen=True, eq=False)
class LocalReference:
    """What `LocalNormalization` keeps of a reference frame: samples of its sky without stars, and its stars."""

    source: str
    shape: tuple[int, ...]
    cells: tuple[int, int]
    """Cells of the grid, down and across."""
    tops: tuple[int, ...]
    """First row of each strip of samples, one strip for each row of cells."""
    strips: np.ndarray
    """float32 (strips, planes, h, cols) DN, NaN where there are stars or nothing."""
    stars: StarList | None = None
    """Those that tell the scale; None when it is not wanted."""
    fluxes: Fluxes | None = None


@dataclass(frozen=True, eq=False)
class LocalModel:
    """How a registered frame becomes like its reference: x -> s(x, y) * x + A0(x, y), one s and A0 for each plane."""

    source: str
    scale: tuple[float, ...]
    """Factor of each plane; its mean over the field where it varies."""
    scale_error: tuple[float, ...]
    stars: tuple[int, ...]
    """Stars in common that tell the scale of each plane."""
    pitch_px: tuple[float, float]
    """Height and width of a cell of the sky's grid."""
    offset: np.ndarray
    """Coefficients of A0, (planes, rows of cells + 3, columns of cells + 3) float64, DN."""
    gain: tuple[np.ndarray, ...]
    """Coefficients of s(x, y) / scale of each plane; none where it is 1 everywhere."""
    notes: tuple[str, ...] = ()

    def apply(self, out: np.ndarray, y0: int, x0: int) -> None:
        """Normalize in place a box (h, w) or (3, h, w) float32 of the frame whose first pixel is (y0, x0).

        NaN stays NaN; any box gives bit-identical pixels to the whole.
        """
        planes = out if out.ndim == 3 else out[None]
        cells = np.array(self.offset.shape[1:]) - 3
        for plane, scale, gain, offset in zip(planes, self.scale, self.gain, self.offset, strict=True):
            pitch = self.pitch_px * cells / (np.array(gain.shape) - 3)
            surface.apply_surface(plane, y0, x0, scale, gain, *pitch, offset, *self.pitch_px)


@process
class LocalNormalization:
    """Bring a registered frame to the sky and the scale of a reference, place by place."""

    scale_px: Annotated[int, Field(ge=64, le=8192)] = 256
    """Distance of the points at which the skies are compared, pixels: gradients wider than about six of them are taken
    away, what is smaller stays as it is. Smaller frames than four of them get four points along a side."""
    no_scale: bool = False
    """Leave the scale as it is and bring only the sky to that of the reference."""
    local_scale: bool = False
    """Let the scale vary over the field as the stars tell, for thin cloud; where few stars tell it, it stays nearer to
    the one number of the whole frame."""
    min_stars: Annotated[int, Field(ge=3)] = 8
    """Frames with fewer stars in common with the reference have no scale and are rejected."""
    reference_rejection: Annotated[float, Field(gt=0, le=50)] = 4.0
    """Pixels of the reference this many sigma above their surroundings are stars, not sky."""
    target_rejection: Annotated[float, Field(gt=1, le=50)] = 4.7
    """Pixels that differ between frame and reference by this many sigma from their surroundings, such as trails, have
    no say in the sky; nearer ones the less, the farther off they are."""
    sampling_px: Annotated[int, Field(ge=4, le=512)] = 16
    """Rows that are read of each row of points: more of them tell the sky better and take longer."""

    def reference(self, frame: Frame, stars: StarList | None = None) -> LocalReference:
        """Look at the frame that others are to resemble; `stars` are its own, found in it when not given.

        FrameError when it has no stars and the scale is wanted, or no sky.
        """
        shape = tuple(frame.shape)
        if stars is None and not self.no_scale:
            measured = SubframeSelector().measure(frame)
            if not measured:
                raise FrameError(frame.source, f"it cannot be the reference of local normalization: {measured.reason}")
            stars = measured[1]
        ny, nx = cells_of(shape, self.scale_px)
        height = min(self.sampling_px, shape[-2] // ny)
        tops = tuple(int((j + 0.5) * shape[-2] / ny - 0.5 * height) for j in range(ny))
        strips = np.empty((ny, planes_of(shape), height, shape[-1]), np.float32)
        for top, strip in zip(tops, strips, strict=True):
            for plane, rows in zip(strip, in_planes(frame.pixels(top, top + height, 0, shape[-1])), strict=True):
                level = np.empty((nx, 5))
                surface.cell_levels(rows, rows, np.zeros(nx), self.target_rejection, GUARD_PX, level)
                limit = level[:, 0] + self.reference_rejection * level[:, 1]
                surface.blank_outside(rows, np.full(nx, -np.inf), limit, GUARD_PX, plane)
        sky = float(np.isfinite(strips).mean())
        if sky < LEAST_OVERLAP:
            raise FrameError(
                frame.source,
                f"it cannot be the reference of local normalization: {sky:.0%} of its pixels are sky, the rest is "
                "missing or in stars. Choose another reference, or raise reference_rejection",
            )
        if self.no_scale:
            return LocalReference(frame.source, shape, (ny, nx), tops, strips)
        chosen = standards(stars, LOCAL_STARS if self.local_scale else STARS)
        return LocalReference(frame.source, shape, (ny, nx), tops, strips, chosen, forced_fluxes(frame, chosen))

    def model(self, reference: LocalReference, frame: Frame) -> LocalModel | Rejected:
        """How `frame`, registered to the reference, becomes like it; `Rejected` when too little is in common."""
        if tuple(frame.shape) != reference.shape:
            raise FrameError(
                frame.source,
                f"its shape {tuple(frame.shape)} is not that of the reference {reference.source}, {reference.shape}: "
                "register it first",
            )
        scales = self.scales(reference, frame)
        if isinstance(scales, Rejected):
            return scales
        ny, nx = reference.cells
        rows, cols = reference.shape[-2:]
        levels = self.levels(reference, frame, scales)
        least = LEAST_SHARE * reference.strips.shape[2] * cols / nx
        covered = float(np.mean(levels[..., 2] >= least, axis=(1, 2)).min())
        if covered < LEAST_OVERLAP:
            return Rejected(
                frame.source,
                "normalize",
                f"it covers {covered:.0%} of the reference {reference.source}, less than the {LEAST_OVERLAP:.0%} that "
                f"local normalization needs: {INSTEAD}",
            )
        fits = [offset_surface(plane, least) for plane in levels]
        return LocalModel(
            source=frame.source,
            scale=tuple(s.scale for s in scales),
            scale_error=tuple(s.error for s in scales),
            stars=tuple(s.stars for s in scales),
            pitch_px=(rows / ny, cols / nx),
            offset=np.stack([coefficients for coefficients, _ in fits]),
            gain=tuple(s.gain for s in scales),
            notes=(*(note for s in scales for note in s.notes), *left_out(levels[..., 2] >= least, fits)),
        )

    def levels(self, reference: LocalReference, frame: Frame, scales: "tuple[Scale, ...]") -> np.ndarray:
        """What the reference is above the scaled frame in every cell: (planes, cells down, cells across, 5) float64.

        The last axis is that of `kernels.surface.cell_levels`, with the last two as the place of the samples in units
        of cells, across and down.
        """
        ny, nx = reference.cells
        rows, cols = reference.shape[-2:]
        height = reference.strips.shape[2]
        out = np.empty((len(scales), ny, nx, 5))
        across = np.arange(nx) + 0.5
        for j, top in enumerate(reference.tops):
            down = (top + 0.5 * height) * ny / rows
            seen = in_planes(frame.pixels(top, top + height, 0, cols))
            for ours, theirs, scale, level in zip(reference.strips[j], seen, scales, out[:, j], strict=True):
                factor = scale.at(np.full(nx, down / ny), across / nx)
                surface.cell_levels(ours, theirs, factor, self.target_rejection, GUARD_PX, level)
            out[:, j, :, 3] = (out[:, j, :, 3] + 0.5) * nx / cols
            out[:, j, :, 4] = (out[:, j, :, 4] + top + 0.5) * ny / rows
        return out

    def scales(self, reference: LocalReference, frame: Frame) -> "tuple[Scale, ...] | Rejected":
        """The scale of each plane from the stars in common, or why there is none."""
        if self.no_scale:
            return tuple(Scale(1.0, 0.0, 0) for _ in range(planes_of(reference.shape)))
        fluxes, found = forced_fluxes(frame, reference.stars), []
        for light, error, usual, usual_error in zip(
            fluxes.flux_dn, fluxes.error_dn, reference.fluxes.flux_dn, reference.fluxes.error_dn, strict=True
        ):
            ratio, ratio_error, count = flux_ratio(light, usual, error, usual_error)
            if count < self.min_stars or not ratio > FIRM * ratio_error:
                count = count if ratio > FIRM * ratio_error else 0
                return Rejected(
                    frame.source,
                    "normalize",
                    f"{count} of the stars of {reference.source} can be measured in it, and {self.min_stars} must tell "
                    f"its scale (min_stars): {INSTEAD}",
                )
            one = Scale(1 / ratio, ratio_error / ratio**2, count)
            if self.local_scale:
                good = (light > FIRM_SNR * error) & (usual > FIRM_SNR * usual_error)
                each = usual[good] / light[good]
                sigma = each * np.sqrt((error / light)[good] ** 2 + (usual_error / usual)[good] ** 2 + FLUX_FLOOR**2)
                one = varying(one, reference.stars.xy[good], each, sigma, reference.shape)
            found.append(one)
        return tuple(found)

    def __call__(self, frame: Frame, reference: LocalReference) -> "Normalized | Rejected":
        """The frame as it looks with the sky and scale of the reference: a view; the frame is sampled now, once."""
        model = self.model(reference, frame)
        if isinstance(model, Rejected):
            return model
        done = card(self, reference=reference.source, scale=model.scale, scale_error=model.scale_error)
        return Normalized(source=frame.source, meta=frame.meta, cards=(*frame.cards, done), frame=frame, model=model)


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalized(Frame):
    """A frame with the sky and the scale of a reference, box by box, when it is indexed."""

    frame: Frame
    model: LocalModel

    @property
    def header(self):
        """The header with its noise as the scale leaves it."""
        header = keywords_of(self.frame)
        for plane, scale in enumerate(self.model.scale):
            for name in (f"NOISE{plane:02d}", *(("NOISE",) if plane == 0 else ())):
                if isinstance(header.get(name), int | float):
                    header[name] = abs(scale) * header[name]
        return header

    def pixels(self, y0, y1, x0, x1):
        out = np.empty((*self.shape[:-2], y1 - y0, x1 - x0), np.float32)
        self.pixels_into(out, y0, x0)
        return out

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        self.frame.pixels_into(out, y0, x0)
        self.model.apply(out, y0, x0)

    def defective(self, y0, y1, x0, x1):
        return self.frame.defective(y0, y1, x0, x1)


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


def varying(one: Scale, xy: np.ndarray, factors: np.ndarray, sigma: np.ndarray, shape: tuple[int, ...]) -> Scale:
    """A scale that varies over the field as its stars tell, as far as that is more than their noise.

    xy (n, 2) px; factors, sigma (n,) what each star says. A surface of up to 8 cells along the longer side, each of 6
    stars or more on average, is drawn towards the one scale by as much as makes the stars most likely; without
    evidence that it varies, three units of log likelihood, and far from any star the one scale holds.
    """
    rows, cols = shape[-2:]
    pitch = max(max(rows, cols) / GAIN_CELLS, np.sqrt(rows * cols * STARS_A_CELL / max(len(xy), 1)))
    ny, nx = max(1, round(rows / pitch)), max(1, round(cols / pitch))
    v, u = (xy[:, 1] + 0.5) * ny / rows, (xy[:, 0] + 0.5) * nx / cols
    excess = surface.fit_shrunk(v, u, factors / one.scale - 1, sigma / one.scale, ny, nx)
    if not excess.size:
        return replace(
            one, notes=(f"{len(xy)} stars tell of no change of its scale over the field: one scale is used",)
        )
    factor = replace(one, gain=1 + excess).at(*(np.stack(np.mgrid[:8, :8]).reshape(2, -1) + 0.5) / 8)
    told = np.sort(factors)
    least, most = told[len(told) // 20], told[-1 - len(told) // 20]
    if factor.min() < BELIEVED * min(least, one.scale) or factor.max() > max(most, one.scale) / BELIEVED:
        words = f"few of its {len(xy)} stars tell of a scale from {factor.min():.3f} to {factor.max():.3f}"
        return replace(one, notes=(f"{words}, which is not believed: one scale is used",))
    mean = float(factor.mean())
    note = f"its scale varies over the field from {factor.min():.3f} to {factor.max():.3f}: thin cloud?"
    return replace(one, scale=mean, gain=(1 + excess) * (one.scale / mean), notes=(note,))


def left_out(good: np.ndarray, fits) -> Iterator[str]:
    """What to tell when many points of a plane do not lie on the smooth sky through the others."""
    for p, (cells, (_, kept)) in enumerate(zip(good, fits, strict=True)):
        total = int(cells.sum())
        if kept < FEW_KEPT * total:
            plane = f" in plane {p}" if len(good) > 1 else ""
            yield f"{total - kept} of {total} points of its sky{plane} do not lie on a smooth surface: clouds, ghosts?"


def offset_surface(levels: np.ndarray, least: float) -> tuple[np.ndarray, int]:
    """Coefficients of A0 from the levels of one plane's cells, and how many cells count.

    levels (cells down, cells across, 5); least: samples that a cell must have to count. Cells with fewer samples than
    most, or with more scatter, have less weight: a trail runs through them.
    """
    ny, nx = levels.shape[:2]
    level, sigma, count, u, v = levels.reshape(-1, 5).T
    good = count >= least
    usual = np.median(sigma[good])
    calm = (usual / np.maximum(sigma, usual)) ** 4 if usual > 0 else 1.0
    weight = np.where(good, np.minimum(count / np.median(count[good]), 1.0) * calm, 0.0)
    floor = float(np.median(sigma[good] / np.sqrt(count[good])))
    points = (np.ascontiguousarray(a) for a in (v, u, np.where(good, level, 0.0), weight))
    return surface.fit_surface(*points, ny, nx, CELL_LIMIT, floor)


def cells_of(shape: tuple[int, ...], pitch_px: int) -> tuple[int, int]:
    """How many cells, down and across, the grid of the sky has."""
    rows, cols = shape[-2:]
    pitch = max(min(pitch_px, min(rows, cols) / FEWEST_CELLS), max(rows, cols) / MOST_CELLS, 1.0)
    return max(1, round(rows / pitch)), max(1, round(cols / pitch))


def planes_of(shape: tuple[int, ...]) -> int:
    """How many planes a frame of this shape has."""
    return shape[0] if len(shape) == 3 else 1


def in_planes(pixels: np.ndarray) -> np.ndarray:
    """Pixels (h, w) or (3, h, w) as planes (n, h, w)."""
    return np.ascontiguousarray(pixels.reshape(-1, *pixels.shape[-2:]))
