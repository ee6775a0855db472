"""Debayering a frame: the view of a mosaic in three colours, box by box as it is indexed."""

from dataclasses import dataclass

import numpy as np

from masterlight.calibration.calibrated import noise_rows
from masterlight.calibration.trimmed import Trimmed
from masterlight.colour import cfa, rcd, xtrans
from masterlight.colour.debayer import Debayer
from masterlight.colour.pattern import colour_codes
from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame, View, frame_of
from masterlight.core.headers.geometry import BAYER, regrid, shifted_pattern, xtrans_patterns
from masterlight.core.headers.reading import ELECTRONS
from masterlight.core.process import card

CHUNK_PIXELS = 1 << 21
"""Pixels debayered at once: bounds the memory beside the result, and keeps the rows that bands share few."""
FILL_PX = 6
"""How far away a pixel may be that stands in for a missing one of its colour."""
KNOWN_PX = 2
"""A colour is unknown where no pixel of it within this many pixels is finite."""


def debayer(process: Debayer, frame: Frame) -> "Debayered":
    """The view of a mosaic in colour; FrameError for what cannot be debayered."""
    frame = frame_of(frame)
    pattern = frame.meta.pattern if process.pattern == "auto" else process.pattern
    if frame.meta.data_px:
        pattern = shifted_pattern(pattern, *frame.meta.data_px[::2])
        frame = Trimmed.of(frame, frame.meta.data_px)
    if len(frame.shape) != 2 or not pattern:
        raise FrameError(frame.source, "is not a mosaic of a colour sensor: nothing to debayer")
    if not set(pattern) <= set("RGB"):
        words = "only sensors with red, green and blue can be debayered"
        raise FrameError(frame.source, f"has colour filters {pattern}; {words}")
    if pattern not in BAYER and pattern not in xtrans_patterns():
        raise FrameError(frame.source, f"has colour filters {pattern}: neither a Bayer nor an X-Trans arrangement")
    if min(frame.shape) < 6:
        size = f"{frame.shape[1]} x {frame.shape[0]}"
        raise FrameError(frame.source, f"is {size} pixels; debayering needs at least 6 x 6")
    size = (2 if len(pattern) == 4 else 3) if process.method == "super-pixel" else 1
    rows, cols = (n // size for n in frame.shape)
    meta = frame.meta.with_(pattern=None, shape=(3, rows, cols))
    if len(meta.black_dn or ()) > 1:
        meta = meta.with_(black_dn=None)
    if size > 1:
        um = meta.pixel_um and meta.pixel_um * size
        meta = meta.with_(pixel_um=um, gain_e_per_dn=None, overscan_px=())
    cards, own = (*frame.cards, card(process, pattern=pattern)), {"process": process, "pattern": pattern, "size": size}
    return Debayered(source=frame.source, meta=meta, cards=cards, below=frame, **own)


def keywords(view: Frame) -> list[tuple[str, float, str]]:
    """The noise of each colour of the mosaic below a view."""
    return noise_rows(np.asarray(view.below), view.pattern, view.below.meta.saturation_dn)


@dataclass(frozen=True, kw_only=True, eq=False)
class Debayered(View):
    """A view of a mosaic in colour."""

    process: Debayer
    pattern: str
    size: int
    """Pixels of the mosaic to one of this view, along each axis: as many as hold all colours for super-pixels."""

    @property
    def header(self):
        header = regrid(self.below.header, factor=self.size)
        return header if self.size == 1 else {key: header[key] for key in header if key not in ELECTRONS}

    @property
    def halo(self) -> int:
        """Rows and columns around a box that its interpolation needs; even."""
        if len(self.pattern) == 36 and self.process.directions and self.process.method != "bilinear":
            return xtrans.halo(self.process.xtrans_passes)
        return rcd.HALO if len(self.pattern) == 4 and self.process.method == "rcd" else 4

    def defective(self, y0, y1, x0, x1):
        n = self.size
        return in_cells(self.below.defective(n * y0, n * y1, n * x0, n * x1), n)

    def marked(self, look, y0, y1, x0, x1):
        """What is marked in the mosaic, and all that is made of it; not told of super-pixels."""
        if self.size > 1:
            return None
        (rows, cols), reach = self.shape[-2:], KNOWN_PX
        top, left = max(0, y0 - reach), max(0, x0 - reach)
        found = self.below.marked(look, top, min(rows, y1 + reach), left, min(cols, x1 + reach))
        if found is None or not found.any():
            return found if found is None else found[y0 - top : y1 - top, x0 - left : x1 - left]
        wide = np.pad(found, ((reach - (y0 - top), reach), (reach - (x0 - left), reach)))
        windows = np.lib.stride_tricks.sliding_window_view(wide, (2 * reach + 1, 2 * reach + 1))
        return windows[: y1 - y0, : x1 - x0].max(axis=(2, 3))

    def pixels_and_defective(self, y0, y1, x0, x1):
        out = np.empty((3, y1 - y0, x1 - x0), np.float32)
        masks = self.bands_into(out, y0, x0, self.below.pixels_and_defective)
        return out, None if masks[0] is None else np.concatenate(masks)

    def pixels_into(self, out, y0, x0):
        self.bands_into(out, y0, x0, lambda *box: (self.below.pixels(*box), None))

    def bands_into(self, out, y0, x0, read):
        """Fill `out` band by band from what `read` gives, pixels and mask of a box; the masks of the bands or None."""
        masks, step = [], max(32, CHUNK_PIXELS // (self.size**2 * out.shape[2]))
        fill = self.fill_superpixels if self.size > 1 else self.fill
        for top in range(0, out.shape[1], step):
            band = out[:, top : top + step]
            part = band if band.flags.c_contiguous else np.empty(band.shape, np.float32)
            masks.append(fill(part, y0 + top, x0, read))
            if part is not band:
                band[...] = part
        return masks

    def fill_superpixels(self, out, y0, x0, read):
        n = self.size
        image, mask = read(n * y0, n * (y0 + out.shape[1]), n * x0, n * (x0 + out.shape[2]))
        image = np.ascontiguousarray(image, np.float32)
        codes = colour_codes(shifted_pattern(self.pattern, n * y0, n * x0))
        if n == 2:
            cfa.superpixel(image, *np.argwhere(codes == 0)[0], out)
        else:
            cfa.superpixel_cells(image, codes, n, out)
        return in_cells(mask, n)

    def fill(self, out, y0, x0, read):
        """Interpolate a box: its mosaic with a margin, mirrored at the edges of the image, missing pixels filled."""
        halo, codes, (h, w) = self.halo, colour_codes(self.pattern), out.shape[1:]
        rows = mirror(y0 - halo, y0 + h + halo, self.below.shape[0], codes)
        cols = mirror(x0 - halo, x0 + w + halo + w % 2, self.below.shape[1], codes.T)
        (top, bottom), (left, right) = ((max(0, at.min() - FILL_PX), at.max() + 1 + FILL_PX) for at in (rows, cols))
        image, mask = read(top, min(self.below.shape[0], bottom), left, min(self.below.shape[1], right))
        image = np.ascontiguousarray(image, np.float32)
        box = np.s_[y0 - top : y0 - top + h, x0 - left : x0 - left + w]
        filled, unknown = image, 0
        if np.isnan(np.sum(image)):  # a tenth of the time of np.isnan(image).any()
            filled = np.empty_like(image)
            unknown = cfa.fill_missing(image, codes, top, left, FILL_PX, filled)
        codes_here = np.roll(codes, (halo - y0, halo - x0), (0, 1))
        interpolate = self.fill_bayer if len(codes) == 2 else self.fill_xtrans
        interpolate(filled, rows - top, cols - left, codes_here, out)
        if filled is not image:
            if unknown:
                cfa.blank_unknown(image, codes, top, left, y0 - top, x0 - left, KNOWN_PX, out)
            out[:, np.isnan(image[box])] = np.nan
        return mask if mask is None else mask[box]

    def fill_bayer(self, image, rows, cols, codes, out):
        s0, red0 = int(codes[0, 0] == 1), int(0 in codes[0])
        c, g = np.empty((2, rows.size, cols.size // 2), np.float32)
        cfa.split(image, rows, cols, s0, c, g)
        if self.process.method == "rcd":
            rcd.rcd(c, g, s0, red0, not self.process.directions, out)
        else:
            cfa.interpolate(("bilinear", "mhc", "vng").index(self.process.method), c, g, s0, red0, self.halo, out)

    def fill_xtrans(self, image, rows, cols, codes, out):
        tile = image[np.ix_(rows, cols)]
        if self.process.directions and self.process.method != "bilinear":
            xtrans.markesteijn(tile, codes, self.process.xtrans_passes, out)
        else:
            weights = (xtrans.nearby_weights if self.process.method == "bilinear" else xtrans.joint_weights)(codes)
            xtrans.nearby_mean(tile, weights, self.halo, out)


def in_cells(mask: np.ndarray | None, n: int) -> np.ndarray | None:
    """What is true of any of the n x n pixels of each cell of a mask."""
    if mask is None or n == 1:
        return mask
    return np.bitwise_or.reduce(mask.reshape(mask.shape[0] // n, n, -1, n), axis=(1, 3))


def mirror(start: int, stop: int, size: int, codes: np.ndarray) -> np.ndarray:
    """Which rows stand for the rows from start to stop of an image of `size`: those outside are mirrored.

    The mirrors are the first and the last row about which the pattern is symmetric, so that colours stay in place.
    """
    n, k = len(codes), np.arange(len(codes))
    axes = [a for a in range(n) if (codes[(a + k) % n] == codes[(a - k) % n]).all()]
    first, last = axes[0], max(a for a in range(size - n, size) if a % n in axes)
    i = np.arange(start, stop)
    folded = (i - first) % (2 * (last - first))
    folded = first + np.minimum(folded, 2 * (last - first) - folded)
    return np.where((i < 0) | (i >= size), folded, i)
