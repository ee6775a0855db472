"""Debayer: three colour planes from the mosaic of a one-shot-colour camera, and whether its pattern is right."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from masterlight.calibration.calibrate import noise_of_colours
from masterlight.calibration.overscan import Trimmed
from masterlight.colour import cfa, rcd, xtrans
from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame
from masterlight.core.headers import ELECTRONS, period, places, regridded, shifted_pattern
from masterlight.core.process import card, process

BAYER = ("RGGB", "BGGR", "GBRG", "GRBG")
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"
"""The arrangement of an X-Trans sensor; every camera has it shifted, turned or with red and blue exchanged."""
CHUNK_PIXELS = 1 << 21
"""Pixels debayered at once: bounds the memory beside the result, and keeps the rows that bands share few."""
FILL_PX = 6
"""How far away a pixel may be that stands in for a missing one of its colour."""
KNOWN_PX = 2
"""A colour is unknown where no pixel of it within this many pixels is finite."""
CLASH, AGREE = 0.10, 0.02
"""Greens that differ by more than the first, while pixels at other places agree within the second, are not green."""


def checked(pattern: str) -> str:
    """A pattern as a knob holds it, in capitals; ValueError with what is allowed."""
    word = pattern.strip().upper()
    if word == "AUTO":
        return "auto"
    if word not in BAYER and not is_xtrans(word):
        raise ValueError(
            f"'{pattern}' is no pattern; allowed are auto, {', '.join(BAYER)}, or the 36 letters of an X-Trans sensor, "
            f"row by row, such as {XTRANS}"
        )
    return word


@process
class Debayer:
    """Interpolate the colours that each pixel of a one-shot-colour sensor did not see."""

    method: Literal["rcd", "vng", "mhc", "bilinear", "super-pixel"] = "rcd"
    """How: rcd for round stars without colour fringes, mhc (linear) where noise must stay simple, vng as PixInsight's
    default (it follows edges by definition: sharp coloured stars lose several percent of their colour), bilinear, or
    super-pixel, which interpolates nothing and halves the size. On X-Trans sensors the first three are one linear
    method that learns each colour from all (with directions that of Markesteijn), bilinear is a mean of nearby pixels
    of the colour, super-pixel takes 3 x 3.
    The red and blue of a Bayer super-pixel are gathered a quarter of its width from green, on opposite sides."""
    directions: bool = False
    """Follow edges, as published (rcd, and Markesteijn's method on X-Trans): sharper edges, and sharp coloured stars
    lose colour by several percent. When off, all sides count the same and stars keep their colours within 1 %."""
    pattern: Annotated[str, AfterValidator(checked)] = "auto"
    """The colours of the sensor from its first pixel on, when the header does not tell them right: RGGB, BGGR, GBRG,
    GRBG, or 36 letters for X-Trans; auto believes the header."""
    xtrans_passes: Annotated[int, Field(ge=1, le=3)] = 3
    """Passes of Markesteijn's method on X-Trans sensors, with directions: 3 for detail, 1 for noise and for speed."""

    def __call__(self, frame: Frame) -> "Debayered":
        """A view of `frame` in colour, (3, rows, cols) float32, planes red, green, blue; computed when it is indexed.

        Only the region that saw the sky (`meta.data_px`) is kept. Values keep their scale and sign. A pixel that is NaN
        in the mosaic is NaN in all three planes and spreads no further. Super-pixels have no `gain_e_per_dn`: the noise
        of green, a mean of two or more pixels, is not that of red. Raises FrameError for a frame that is no mosaic, has
        filters other than red, green and blue, or is smaller than 6 x 6 pixels.
        """
        pattern = frame.meta.pattern if self.pattern == "auto" else self.pattern
        if frame.meta.data_px:
            pattern = shifted_pattern(pattern, *frame.meta.data_px[::2])
            frame = Trimmed.of(frame, frame.meta.data_px)
        if len(frame.shape) != 2 or not pattern:
            raise FrameError(frame.source, "is not a mosaic of a colour sensor: nothing to debayer")
        if not set(pattern) <= set("RGB"):
            raise FrameError(
                frame.source, f"has colour filters {pattern}; only sensors with red, green and blue can be debayered"
            )
        if pattern not in BAYER and not is_xtrans(pattern):
            raise FrameError(frame.source, f"has colour filters {pattern}: neither a Bayer nor an X-Trans arrangement")
        if min(frame.shape) < 6:
            raise FrameError(
                frame.source, f"is {frame.shape[1]} x {frame.shape[0]} pixels; debayering needs at least 6 x 6"
            )
        size = cell(pattern) if self.method == "super-pixel" else 1
        rows, cols = (n // size for n in frame.shape)
        meta = frame.meta.with_(pattern=None, shape=(3, rows, cols))
        if len(meta.black_dn or ()) > 1:
            meta = meta.with_(black_dn=None)
        if size > 1:
            um = meta.pixel_um and meta.pixel_um * size
            meta = meta.with_(pixel_um=um, gain_e_per_dn=None, overscan_px=())
        done = card(self, pattern=pattern)
        return Debayered(
            source=frame.source, meta=meta, cards=(*frame.cards, done), raw=frame, process=self, pattern=pattern
        )

    def keywords(self, view: "Debayered") -> list[tuple[str, float, str]]:
        """Noise of the colours of a debayered view, as header cards (keyword, value, comment). Reads all of its pixels.

        Noise is measured on each colour of the mosaic, before interpolation makes neighbours alike.
        """
        noises = noise_of_colours(np.asarray(view.raw), view.pattern, view.raw.meta.saturation_dn or np.inf)
        return [(f"NOISE{i:02d}", value, f"[DN] noise {colour}") for i, (colour, value) in enumerate(noises.items())]


@dataclass(frozen=True, kw_only=True, eq=False)
class Debayered(Frame):
    """A view of a mosaic in colour."""

    raw: Frame
    process: Debayer
    pattern: str

    @property
    def size(self) -> int:
        """Pixels of the mosaic to one of this view, along each axis."""
        return cell(self.pattern) if self.process.method == "super-pixel" else 1

    @property
    def header(self):
        header = regridded(self.raw.header, factor=self.size)
        return header if self.size == 1 else {key: header[key] for key in header if key not in ELECTRONS}

    @property
    def halo(self) -> int:
        """Rows and columns around a box that its interpolation needs; even."""
        if self.process.method == "bilinear":
            return 4
        if len(self.pattern) == 36:
            return xtrans.halo(self.process.xtrans_passes) if self.process.directions else 4
        return rcd.HALO if self.process.method == "rcd" else 4

    @property
    def scratch_bytes(self):
        return self.raw.scratch_bytes

    def defective(self, y0, y1, x0, x1):
        n = self.size
        return in_cells(self.raw.defective(n * y0, n * y1, n * x0, n * x1), n)

    def pixels(self, y0, y1, x0, x1):
        out = np.empty((3, y1 - y0, x1 - x0), np.float32)
        self.pixels_into(out, y0, x0)
        return out

    def pixels_and_defective(self, y0, y1, x0, x1):
        out = np.empty((3, y1 - y0, x1 - x0), np.float32)
        masks = self.bands_into(out, y0, x0, self.raw.pixels_and_defective)
        return out, None if masks[0] is None else np.concatenate(masks)

    def pixels_into(self, out, y0, x0):
        self.bands_into(out, y0, x0, lambda *box: (self.raw.pixels(*box), None))

    def bands_into(self, out, y0, x0, read):
        """Fill `out` band by band from what `read` gives, pixels and mask of a box; the masks of the bands or None."""
        masks = []
        step = max(32, CHUNK_PIXELS // (self.size**2 * out.shape[2]))
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
        y, x, h, w = n * y0, n * x0, n * out.shape[1], n * out.shape[2]
        image, mask = read(y, y + h, x, x + w)
        image = np.ascontiguousarray(image, np.float32)
        codes = colour_codes(shifted_pattern(self.pattern, y, x))
        if n == 2:
            red_y, red_x = np.argwhere(codes == 0)[0]
            cfa.superpixel(image, red_y, red_x, out)
        else:
            cfa.superpixel_cells(image, codes, 0, 0, n, out)
        return in_cells(mask, n)

    def fill(self, out, y0, x0, read):
        """Interpolate a box: its mosaic with a margin, mirrored at the edges of the image, missing pixels filled."""
        halo = self.halo
        codes = colour_codes(self.pattern)
        h, w = out.shape[1:]
        rows = mirrored(y0 - halo, y0 + h + halo, self.raw.shape[0], codes)
        cols = mirrored(x0 - halo, x0 + w + halo + w % 2, self.raw.shape[1], codes.T)
        top, bottom = max(0, rows.min() - FILL_PX), min(self.raw.shape[0], rows.max() + 1 + FILL_PX)
        left, right = max(0, cols.min() - FILL_PX), min(self.raw.shape[1], cols.max() + 1 + FILL_PX)
        image, mask = read(top, bottom, left, right)
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
            (rcd.rcd if self.process.directions else rcd.rcd_even)(c, g, s0, red0, out)
        else:
            cfa.interpolate(("bilinear", "mhc", "vng").index(self.process.method), c, g, s0, red0, self.halo, out)

    def fill_xtrans(self, image, rows, cols, codes, out):
        tile = image[np.ix_(rows, cols)]
        if self.process.directions and self.process.method != "bilinear":
            xtrans.markesteijn(tile, codes, self.process.xtrans_passes, out)
        else:
            weights = (xtrans.nearby_weights if self.process.method == "bilinear" else xtrans.joint_weights)(codes)
            xtrans.nearby_mean(tile, weights, self.halo, out)


def colour_codes(pattern: str) -> np.ndarray:
    """A pattern as a square array of 0 red, 1 green, 2 blue; uint8."""
    return np.array(["RGB".index(letter) for letter in pattern], np.uint8).reshape(period(pattern), -1)


def cell(pattern: str) -> int:
    """Along each axis, how many pixels of a pattern hold all colours: 2 of a Bayer sensor, 3 of X-Trans."""
    return 2 if len(pattern) == 4 else 3


def in_cells(mask: np.ndarray | None, n: int) -> np.ndarray | None:
    """What is true of any of the n x n pixels of each cell of a mask."""
    if mask is None or n == 1:
        return mask
    return np.bitwise_or.reduce(mask.reshape(mask.shape[0] // n, n, -1, n), axis=(1, 3))


def is_xtrans(pattern: str) -> bool:
    """Whether 36 letters are the X-Trans arrangement: shifted, turned, or with red and blue exchanged."""
    if len(pattern) != 36:
        return False
    forms = (XTRANS, "".join(XTRANS[6 * x + y] for y in range(6) for x in range(6)))
    forms += tuple(form.translate(str.maketrans("RB", "BR")) for form in forms)
    return any(pattern == shifted_pattern(form, y, x) for form in forms for y in range(6) for x in range(6))


def mirrored(start: int, stop: int, size: int, codes: np.ndarray) -> np.ndarray:
    """Which rows stand for the rows from start to stop of an image of `size`: those outside are mirrored.

    The mirrors are the first and the last row about which the pattern is symmetric, so that colours stay in place.
    """
    n = len(codes)
    k = np.arange(n)
    axes = [a for a in range(n) if (codes[(a + k) % n] == codes[(a - k) % n]).all()]
    first, last = axes[0], max(a for a in range(size - n, size) if a % n in axes)
    i = np.arange(start, stop)
    folded = (i - first) % (2 * (last - first))
    folded = first + np.minimum(folded, 2 * (last - first) - folded)
    return np.where((i < 0) | (i >= size), folded, i)


def colour_planes(mosaic: np.ndarray, pattern: str) -> dict[str, list[np.ndarray]]:
    """The pixels of each colour as they left the sensor, for level and noise before interpolation correlates them.

    mosaic (rows, cols); strided views of it by colour, "R", "G", "B" (other filters by their letters): each holds the
    pixels of one place in the pattern, so of a Bayer mosaic one red, two green, one blue.
    """
    n = period(pattern)
    return {colour: [mosaic[y::n, x::n] for y, x in at] for colour, at in places(pattern).items()}


@dataclass(frozen=True)
class PatternVerdict:
    """What the pixels say about a colour pattern; false when they contradict it."""

    ok: bool
    means_dn: tuple[float, ...]
    """Median level of each place in the pattern, row by row."""
    sentence: str

    def __bool__(self):
        return self.ok


def verify_pattern(flat: Frame | np.ndarray, pattern: str) -> PatternVerdict:
    """Whether the green pixels of a pattern are equally bright, as in an evenly lit frame they must be.

    flat (rows, cols), best a calibrated flat; its middle is looked at. The pattern is contradicted when its greens
    differ by more than 10 % while those of the same pattern shifted agree within 2 %. Which of the other two is red
    and which is blue, no flat can tell.
    """
    n = period(pattern)
    bounds = [((s - min(s, 1500)) // 2 // n * n, min(s, 1500)) for s in flat.shape]
    (y0, h), (x0, w) = bounds
    middle = np.asarray(flat[y0 : y0 + h, x0 : x0 + w])
    means = np.array([[np.nanmedian(middle[y::n, x::n]) for x in range(n)] for y in range(n)])
    told = tuple(float(m) for m in means.ravel())

    def spread(letters):
        greens = means[np.array(list(letters)).reshape(n, n) == "G"]
        return float(np.ptp(greens) / abs(greens.mean())) if greens.mean() else np.inf

    shifts = {shifted_pattern(pattern, y, x): (y, x) for y in range(n) for x in range(n)}
    others = {p: spread(p) for p in shifts if [a == "G" for a in p] != [a == "G" for a in pattern]}
    declared, (best, least) = spread(pattern), min(others.items(), key=lambda item: item[1])
    if declared > CLASH and least < AGREE:
        return PatternVerdict(
            False,
            told,
            f"the pixels that {pattern} calls green differ by {100 * declared:.0f} %, while those of {best} agree "
            f"within {100 * least:.1f} %: the pattern or the order of rows is wrong",
        )
    if declared > CLASH:
        return PatternVerdict(
            True, told, f"the greens of {pattern} differ by {100 * declared:.0f} %, but so do others: nothing is proved"
        )
    return PatternVerdict(True, told, f"the greens of {pattern} agree within {100 * declared:.1f} %")
