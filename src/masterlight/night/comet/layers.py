"""Two layers that move against each other, stars and a comet: a light with one of them taken off, and what of each
stands out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from masterlight.core.frame import Frame, View
from masterlight.integration.local.model import LocalModel
from masterlight.night.comet.coarse import around, finer

SHARP_SIGMA = 10.0
"""What stands out of its surroundings by so many times the noise of a light is not taken off but left out: a change of
the seeing by a tenth would be seen beside the noise."""
MOST_LOST = 0.5
"""Of no pixel more than this part of the lights is left out so."""
AROUND = 8
"""Widths of a star over which surroundings are levelled."""
SMOOTH_PX, SHOWN_SIGMA, FEATHER_PX = 4.0, 3.0, 3.0
"""A comet reaches as far as it stands out of the sky by so many sigma, smoothed by so much, and fades beyond."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Apart(View):
    """A registered light in the light and on the sky of the reference, without one of its two layers."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    """Of each plane: a sample x is scale * x + offset on the scale of the reference."""
    model: LocalModel | None
    """What levels it place by place before that, on the grid of the stars."""
    shift_px: tuple[int, int] = (0, 0)
    """(x, y) from this grid to that of the stars, whole pixels: skies are smooth."""
    layer: Frame | None = None
    """What is taken off, DN over the sky."""
    ends: bool = False
    """Whether the layer is nothing where it is missing; else nothing is known of the light there."""
    mask: np.ndarray | None = None
    """What is left out, (rows, cols) bool on the grid of the layer."""
    mask_px: tuple[int, int] = (0, 0)
    """(x, y) from this grid to that of the layer."""

    @classmethod
    def of(
        cls, seen: Frame, scale: tuple[float, ...], offset: tuple[float, ...], model: LocalModel | None, **more: Any
    ) -> "Apart":
        """Of a registered light; its saturation is that of other pixels."""
        meta = seen.meta.with_(saturation_dn=None)
        known = {"scale": scale, "offset": offset, "model": model, **more}
        return cls(source=seen.source, meta=meta, cards=seen.cards, below=seen, **known)

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        self.below.pixels_into(out, y0, x0)
        planes, (h, w) = out if out.ndim == 3 else out[None], out.shape[-2:]
        if self.model is not None:
            dx, dy = self.shift_px
            rows, cols = self.shape[-2:]
            top, left = max(0, -(y0 + dy)), max(0, -(x0 + dx))
            bottom, right = min(h, rows - y0 - dy), min(w, cols - x0 - dx)
            inside = np.full_like(out, np.nan)
            if bottom > top and right > left:
                part = np.ascontiguousarray(out[..., top:bottom, left:right])
                self.model.apply(part, y0 + dy + top, x0 + dx + left)
                inside[..., top:bottom, left:right] = part
            out[...] = inside
        for plane, scale, offset in zip(planes, self.scale, self.offset, strict=True):
            plane *= np.float32(scale)
            plane += np.float32(offset)
        if self.layer is not None:
            off = self.layer.pixels(y0, y0 + h, x0, x0 + w)
            out -= np.nan_to_num(off) if self.ends else off
        if self.mask is not None:
            out[..., cut(self.mask, y0 + self.mask_px[1], x0 + self.mask_px[0], h, w)] = np.nan


def cut(mask: np.ndarray, y0: int, x0: int, h: int, w: int) -> np.ndarray:
    """A box (h, w) of a mask (rows, cols) bool, which may lie beyond it: False there."""
    box = np.zeros((h, w), bool)
    top, left = max(0, -y0), max(0, -x0)
    part = mask[y0 + top : max(0, y0 + h), x0 + left : max(0, x0 + w)]
    box[top : top + part.shape[0], left : left + part.shape[1]] = part
    return box


def surroundings(image: np.ndarray, side: int) -> np.ndarray:
    """The level around each pixel of an image (rows, cols): medians of squares of this side, linear between."""
    rows, cols = image.shape
    ny, nx = max(1, rows // side), max(1, cols // side)
    ys, xs = (np.linspace(0, size, n + 1).astype(int) for size, n in ((rows, ny), (cols, nx)))
    cells = np.empty((ny, nx))
    for j in range(ny):
        for i in range(nx):
            cell = image[ys[j] : ys[j + 1], xs[i] : xs[i + 1]]
            cells[j, i] = np.nanmedian(cell) if np.isfinite(cell).any() else np.nan
    cells = np.where(np.isfinite(cells), cells, np.nanmedian(cells) if np.isfinite(cells).any() else 0.0)
    return finer(cells, (rows / ny, cols / nx), image.shape)


def sharp_parts(planes: np.ndarray, noise_dn: np.ndarray, fwhm_px: float, shifts: np.ndarray) -> np.ndarray | None:
    """Where a layer is too sharp and bright to be taken off lights: (rows, cols) bool; None where nowhere.

    planes (n, rows, cols); noise_dn (n,) of one light; shifts (lights, 2) px, by which the layer lies otherwise in
    each: the limit rises until each place is left out of no more than half of them.
    """
    side = max(8, round(AROUND * fwhm_px))
    over = [
        (plane - surroundings(plane, side)) / max(noise, 1e-9) for plane, noise in zip(planes, noise_dn, strict=True)
    ]
    height = np.nan_to_num(np.max(over, axis=0), nan=0.0)
    rows, cols = height.shape
    whole = np.rint(shifts).astype(int)
    limit = SHARP_SIGMA
    while (height > limit).any():
        mask = binary_dilation(height > limit, iterations=1)
        lost = np.zeros((rows, cols), np.uint16)
        for dx, dy in whole:
            lost += cut(mask, dy, dx, rows, cols)
        if lost.max() <= MOST_LOST * len(whole):
            return mask
        limit *= 2
    return None


def part_shown(planes: np.ndarray, nucleus: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """How much of each place belongs to the comet, (rows, cols) float32 from 0 to 1, and the sky of each plane (n,).

    planes (n, rows, cols), NaN where missing; nucleus (x, y). It is all that stands out of the sky, smoothed, and hangs
    together with the nucleus.
    """
    known = np.isfinite(planes).all(axis=0)
    level = np.array([np.nanmedian(plane) for plane in planes])
    spread = np.array([1.4826 * np.nanmedian(np.abs(plane - sky)) for plane, sky in zip(planes, level, strict=True)])
    best = 1 / np.maximum(spread, 1e-9)
    mean = np.tensordot(best / best.sum(), np.where(known, planes - level[:, None, None], 0), 1)
    share = gaussian_filter(known.astype(np.float32), SMOOTH_PX)
    smooth = gaussian_filter(mean, SMOOTH_PX) / np.maximum(share, 0.1)
    shown = np.zeros(known.shape, bool)
    for _ in range(3):
        sky = smooth[known & ~shown] if (known & ~shown).any() else smooth[known]
        middle = float(np.median(sky))
        sigma = middle - float(np.quantile(sky, 0.1587))
        shown = around(smooth > middle + SHOWN_SIGMA * sigma, nucleus, 4)
    apart = known & ~binary_dilation(shown, iterations=round(2 * SMOOTH_PX))
    if apart.any():
        level = np.array([np.median(plane[apart]) for plane in planes])
    wide = binary_dilation(shown, iterations=round(2 * FEATHER_PX)) if shown.any() else shown
    return np.clip(gaussian_filter(wide.astype(np.float32), FEATHER_PX), 0, 1), level


def brightest(planes: np.ndarray, fwhm_px: float) -> np.ndarray:
    """(x, y) of the brightest place at the scale of a nucleus, by a parabola through it."""
    mean = np.mean([plane - np.nanmedian(plane) for plane in planes], axis=0)
    smooth = gaussian_filter(np.nan_to_num(mean), fwhm_px / 2)
    y, x = np.unravel_index(np.argmax(smooth[1:-1, 1:-1]), (smooth.shape[0] - 2, smooth.shape[1] - 2))
    y, x = y + 1, x + 1
    off = []
    for before, at, after in (smooth[y, x - 1 : x + 2], smooth[y - 1 : y + 2, x]):
        bend = before - 2 * at + after
        off.append(0.5 * (before - after) / bend if bend else 0.0)
    return np.array([x + off[0], y + off[1]])
