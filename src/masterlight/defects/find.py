"""BadPixels: make maps of defective pixels from darks, flats, rejection maps or lights."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import COLD, HOT, LINE, UNSTABLE, Frame
from masterlight.core.headers import period
from masterlight.core.mesh import mesh, mesh_at, mesh_row
from masterlight.core.process import process
from masterlight.defects.cosmetic import CosmeticCorrection, departing
from masterlight.defects.kernels import segments, spikes
from masterlight.defects.lists import Defects, pattern_for

BAND_SAMPLES = 16 << 20
"""Samples of all frames of a set that are in memory at once, 4 bytes each; the work on them takes up to 12 more."""
BLOCK_ROWS = 64
"""Rows that are judged together when partial columns are looked for."""
SHORTEST_LINE = 32
"""Pixels of the shortest piece of a row or column that is called one."""

Sigma = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


@process
class BadPixels:
    """Find the defective pixels of a sensor and mark them in a map."""

    hot: Sigma | None = 8.0
    """Pixels of a master dark so many sigma above their surroundings are hot; 5 finds the lukewarm ones too."""
    cold: Sigma | None = 6.0
    """Pixels of a master dark so many sigma below their surroundings are cold."""
    unstable: Sigma = 4.0
    """Pixels that change from dark to dark so many times more than others of their brightness are unstable."""
    flat: Sigma = 9.0
    """Pixels whose ratio of two flats is so many sigma off are defective."""
    dead: Share = 0.5
    """Pixels of a flat darker than this share of their surroundings are cold."""
    responsive: Annotated[float, Field(gt=1)] = 1.5
    """Pixels of a flat brighter than so many times their surroundings are hot."""
    lights: Sigma = 5.0
    """Pixels of dithered lights that keep so many sigma above or below their surroundings are defective."""
    present: Annotated[float, Field(gt=0.5, le=1)] = 0.6
    """Share of the lights, or of the rejections, in which a defect must show."""
    dither_px: Annotated[float, Field(ge=1)] = 5.0
    """Lights count as dithered when they are farther apart than this, pixels: a star cannot stay where it was."""
    spike: Sigma = 4.5
    """Pixels of single lights so many sigma sharper than their surroundings are cosmic rays or defects."""
    contrast: Sigma = 5.0
    """How many times sharper than the fine structure around it, such as a star's, a spike must be."""
    line: Sigma | None = 6.0
    """Rows and columns, or pieces of them, so many sigma off their neighbours are defective; off when left out."""
    cfa: Literal["auto", "yes", "no"] = "auto"
    """Whether pixels of each colour filter are looked at apart: as the header tells, always, or never."""

    def from_dark(self, dark: Frame) -> Defects:
        """Hot and cold pixels, bad rows and columns of a master dark."""
        found = CosmeticCorrection(hot=self.hot, cold=self.cold, cfa=self.cfa).defects(dark)
        lines = self.lines_in(np.asarray(dark, np.float32), dark, found.mask)
        return Defects.of(found.mask | lines, dark.source, dark.meta, found.notes)

    def from_darks(self, darks: Sequence[Frame]) -> Defects:
        """Pixels that flicker: their value changes from dark to dark more than that of others as bright.

        Five darks at least, raw or calibrated alike. The highest sample of each pixel does not count, so that a cosmic
        ray is not taken for flicker; with 15 darks, pixels that change between two levels are found from half of
        the threshold on.
        """
        first = alike(darks, 5, "darks")
        mean, spread, kurtosis = (np.empty(first.shape, np.float32) for _ in range(3))
        for y0, y1, stack in bands(darks):
            mean[y0:y1], spread[y0:y1], kurtosis[y0:y1] = moments_without_highest(stack)
        usual = usual_spread(mean, spread)
        with np.errstate(invalid="ignore"):
            flickers = spread > self.unstable * usual
            if len(darks) >= 15:
                flickers |= (spread > 0.5 * self.unstable * usual) & (kurtosis < 1.8)
        return Defects.of(flickers * np.uint8(UNSTABLE), f"{len(darks)} darks", first.meta)

    def from_flats(self, bright: Frame, faint: Frame | None = None) -> Defects:
        """Pixels that answer to light otherwise than their neighbours, in a flat or better in two of unlike level.

        Pixels darker or brighter than `dead` and `responsive` times their surroundings, and those whose ratio of the
        two flats departs from that of its surroundings. Both flats without their bias level.
        """
        first = alike([bright] if faint is None else [bright, faint], 1, "flats")
        image = np.asarray(bright, np.float32)
        pitch = self.pitch(bright)
        sky = np.empty_like(image)
        for y, x in np.ndindex(pitch, pitch):
            place = np.s_[y::pitch, x::pitch]
            plane = np.ascontiguousarray(image[place])
            sky[place] = background(mesh(plane)[0], plane.shape)
        relative = np.divide(image, sky, out=np.full_like(image, np.nan), where=sky > 0)
        mask = np.zeros(image.shape, np.uint8)
        y, x, away, _ = departing(relative, 3.0, 3.0, pitch)
        usual = relative[y, x] - away
        share = np.divide(relative[y, x], usual, out=np.zeros_like(usual), where=usual > 0)
        mask[y, x] = np.where(share > self.responsive, HOT, np.where(share < self.dead, COLD, 0))
        missing = ~np.isfinite(relative)
        if faint is not None:
            other = np.asarray(faint, np.float32)
            ratio = np.divide(image, other, out=np.full_like(image, np.nan), where=other > 0)
            y, x, away, sigma = departing(ratio, self.flat, self.flat, pitch)
            _, noise = mesh(ratio)
            own = np.maximum(sigma, at_tiles(noise, y, x, image.shape))
            z = away / own
            mask[y, x] |= np.where(z > self.flat, HOT, np.where(z < -self.flat, COLD, 0)).astype(np.uint8)
            missing |= ~np.isfinite(ratio)
            relative = ratio
        mask[missing] |= COLD
        mask |= self.lines_in(relative, bright, mask)
        return Defects.of(mask, " / ".join(f.source for f in (bright, faint) if f is not None), first.meta)

    def from_rejections(
        self, counts: np.ndarray, frames: int, shifts_px=None, source: str = "rejection map"
    ) -> Defects:
        """Pixels that were rejected as too high in most frames of a dithered stack that was not registered.

        counts (rows, cols): in how many of the `frames` each pixel of the sensor was rejected; shifts_px (frames, 2): x
        and y of each light against the first, None when the caller vouches that the lights were dithered.
        """
        if shifts_px is not None:
            self.require_dither(shifts_px, frames, source)
        return Defects.of(np.asarray(counts) > self.present * frames, source)

    def from_lights(self, lights: Sequence[Frame], shifts_px) -> Defects:
        """Pixels that keep off their surroundings in dithered lights, calibrated but not registered.

        shifts_px (lights, 2): x and y of each light against the first, as alignment finds them. In each pixel the value
        that `present` of the lights reach is compared with the values of its neighbours; a star has moved away.
        """
        first = alike(lights, 5, "lights")
        self.require_dither(shifts_px, len(lights), f"{len(lights)} lights")
        skies = np.array([np.nanmedian(sample_of(light)) for light in lights], np.float32)
        allowed = int((1 - self.present) * len(lights))
        low, high = np.empty(first.shape, np.float32), np.empty(first.shape, np.float32)
        for y0, y1, stack in bands(lights):
            stack -= skies[:, None, None]
            stack.partition((allowed, len(lights) - 1 - allowed), axis=0)
            low[y0:y1], high[y0:y1] = stack[allowed], stack[len(lights) - 1 - allowed]
        mask = np.zeros(first.shape, np.uint8)
        pitch = self.pitch(first)
        y, x, away, sigma = departing(low, self.lights, None, pitch)
        mask[y, x] = np.where(away > self.lights * sigma, HOT, 0)
        y, x, away, sigma = departing(high, None, self.lights, pitch)
        mask[y, x] |= np.where(~(away > -self.lights * sigma), COLD, 0).astype(np.uint8)
        mask |= self.lines_in(0.5 * (low + high), first, mask)
        return Defects.of(mask, f"{len(lights)} dithered lights", first.meta)

    def from_single_lights(self, lights: Sequence[Frame]) -> Defects:
        """Pixels that are sharper than a star can be in most of the lights, without any dark or alignment.

        The method of cosmic ray finding by Laplacian edges (van Dokkum 2001) on each light; what returns at one place
        is a defect, what does not was a cosmic ray. Stars must be wider than about 1.5 pixels.
        """
        first = alike(lights, 3, "lights")
        seen = np.zeros(first.shape, np.uint16)
        pitch = self.pitch(first)
        for light in lights:
            y, x = self.spikes_of(light, pitch)
            seen[y, x] += 1
        return Defects.of(seen >= max(2, self.present * len(lights)), f"{len(lights)} lights", first.meta)

    def spikes_of(self, light: Frame, pitch: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the cosmic rays and hot pixels of one light."""
        image = np.array(light, np.float32)
        gain = light.meta.gain_e_per_dn or 1.0
        found = []
        for dy, dx in np.ndindex(pitch, pitch):
            plane = np.ascontiguousarray(image[dy::pitch, dx::pitch])
            level, noise = mesh(plane)
            sigma = float(np.median(noise)) or float(np.nanstd(plane)) or 1.0
            y, x = spikes(plane, level, sigma, gain, self.spike, self.contrast)
            found.append((y * pitch + dy, x * pitch + dx))
        return tuple(np.concatenate(axis) for axis in zip(*found, strict=True))

    def lines_in(self, image: np.ndarray, frame: Frame, known: np.ndarray | None = None) -> np.ndarray:
        """The bad rows and columns of an image, whole or in part, as a mask of bit 8; `known` defects do not count."""
        mask = np.zeros(image.shape, np.uint8)
        if self.line is None:
            return mask
        pitch = self.pitch(frame)
        clean = image if known is None else np.where(known > 0, np.float32(np.nan), image)
        for y, x in np.ndindex(pitch, pitch):
            place = np.s_[y::pitch, x::pitch]
            mask[place] |= partial_columns(clean[place], self.line)
            mask[place] |= partial_columns(clean[place].T, self.line).T
        return mask

    def pitch(self, frame: Frame) -> int:
        return period(pattern_for(frame, self.cfa))

    def require_dither(self, shifts_px, frames: int, source: str) -> None:
        """Refuse lights of which too many point to the same place: their stars would be taken for defects."""
        shifts = np.asarray(shifts_px, np.float64).reshape(-1, 2)
        if len(shifts) != frames:
            raise ParameterError(f"shifts_px: {len(shifts)} shifts were given for {frames} frames; one (x, y) for each")
        apart = np.hypot(*(shifts[:, None] - shifts[None]).transpose(2, 0, 1))
        together = int((apart < self.dither_px).sum(axis=1).max())
        if together >= self.present * frames:
            raise FrameError(
                source,
                f"{together} of {frames} frames lie within {self.dither_px:g} px of each other: without dithering "
                "a star cannot be told from a hot pixel. Use darks or flats, or lights that were dithered",
            )


# --- sets of frames ---------------------------------------------------------------------------------------------------


def alike(frames: Sequence[Frame], least: int, what: str) -> Frame:
    """The first of the frames, after a look whether there are enough and all have one plane of the same size."""
    if len(frames) < least:
        raise ParameterError(f"{len(frames)} {what} are too few to find defective pixels; {least} are needed")
    for frame in frames:
        if len(frame.shape) != 2 or frame.shape != frames[0].shape:
            sizes = ["x".join(map(str, f.shape[::-1])) for f in (frame, frames[0])]
            raise FrameError(
                frame.source, f"is {sizes[0]} pixels, {frames[0].source} is {sizes[1]}: give raw frames alike"
            )
    return frames[0]


def bands(frames: Sequence[Frame]) -> Iterator[tuple[int, int, np.ndarray]]:
    """The frames band by band: first and last row, and the pixels of all of them, (frames, rows, cols) float32."""
    rows, cols = frames[0].shape
    step = max(1, BAND_SAMPLES // (cols * len(frames)))
    for y0 in range(0, rows, step):
        y1 = min(rows, y0 + step)
        stack = np.empty((len(frames), y1 - y0, cols), np.float32)
        for frame, into in zip(frames, stack, strict=True):
            frame.pixels_into(into, y0, 0)
        yield y0, y1, stack


def sample_of(frame: Frame) -> np.ndarray:
    """Pixels of some rows that are spread over a frame."""
    rows, cols = frame.shape
    return np.concatenate(
        [frame.pixels(y, y + 1, 0, cols) for y in np.linspace(0, rows - 1, min(24, rows)).astype(int)]
    )


def moments_without_highest(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and kurtosis of each pixel without its highest sample: three (rows, cols)."""
    n = len(stack) - 1
    highest = stack.max(axis=0)
    mean = (stack.sum(axis=0, dtype=np.float64) - highest) / n
    squares, fourths = np.zeros_like(mean), np.zeros_like(mean)
    for sample in stack:
        d2 = np.square(sample - mean)
        squares += d2
        fourths += d2 * d2
    d2 = np.square(highest - mean)
    squares, fourths = np.maximum(squares - d2, 0), np.maximum(fourths - d2 * d2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return mean, np.sqrt(squares / (n - 1)), fourths * n / squares**2


def usual_spread(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How much a steady pixel of each brightness changes from dark to dark, DN: (rows, cols).

    sigma^2 = sigma_0^2 + (mean - median) / gain, where the gain is what most of the bright pixels tell.
    """
    level, base = float(np.nanmedian(mean)), float(np.nanmedian(spread))
    above = np.maximum(mean - level, 0)
    bright = above > 10 * 1.4826 * float(np.nanmedian(np.abs(mean - level)))
    slopes = (np.square(spread[bright]) - base**2) / above[bright]
    slope = max(0.0, float(np.nanmedian(slopes))) if slopes.size >= 20 else 0.0
    return np.sqrt(base**2 + slope * above)


def background(level: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mesh of the background at full size."""
    out = np.empty(shape, np.float32)
    for y in range(shape[0]):
        mesh_row(level, y, shape[0], out[y])
    return out


def at_tiles(grid: np.ndarray, y: np.ndarray, x: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The values of a mesh at some pixels."""
    return np.array([mesh_at(grid, j, i, *shape) for j, i in zip(y.tolist(), x.tolist(), strict=True)], np.float32)


# --- rows and columns -------------------------------------------------------------------------------------------------


def partial_columns(image: np.ndarray, sigma: float) -> np.ndarray:
    """The columns of an image that are off their neighbours, each from its begin to its end: a mask of bit 8.

    image (rows, cols), NaN where it does not count. Columns are judged as a whole and in blocks of BLOCK_ROWS rows,
    each by its median against those of the 3 columns on each side, in robust sigma. A bad one reaches over the stretch
    in which its pixels lie nearer to the defect's height than to that of its neighbours.
    """
    rows, cols = image.shape
    mask = np.zeros(image.shape, np.uint8)
    blocks = [(0, rows)] + (
        [(y, min(rows, y + BLOCK_ROWS)) for y in range(0, rows, BLOCK_ROWS)] if rows > BLOCK_ROWS else []
    )
    heights: dict[int, list[float]] = {}
    for y0, y1 in blocks:
        if y1 - y0 < SHORTEST_LINE or cols < 8:
            continue
        profile = nan_median(image[y0:y1], 0)
        if not np.isfinite(profile).any():
            continue
        excess = above_neighbours(profile)
        off = excess - np.nanmedian(excess)
        scale = 1.4826 * float(np.nanmedian(np.abs(off))) or float(np.nanstd(off)) or np.inf
        bad: list[int] = []
        for x in sorted(np.flatnonzero(np.abs(off) > sigma * scale).tolist(), key=lambda x: -abs(off[x])):
            near = {c for c in range(max(0, x - 3), min(cols, x + 4)) if c not in bad and np.isfinite(profile[c])} - {x}
            beside = sorted(c for c in near if 2 * x - c in near) or sorted(near)  # in pairs, so that a slope is none
            if beside and abs(profile[x] - np.median(profile[beside])) > sigma * scale:
                bad.append(x)
                heights.setdefault(x, []).append(float(off[x]))
    for x, found in heights.items():
        height = float(np.median(found))
        beside = [c for c in range(max(0, x - 3), min(cols, x + 4)) if c not in heights]
        if not beside or not height:
            continue
        excess = (image[:, x] - nan_median(image[:, beside], 1)) / height
        defect = np.nan_to_num(np.clip(excess, -2, 3) - 0.5, nan=-0.5)
        noise = 0.5 * float(np.mean(np.square(np.diff(defect))))
        for start, stop in zip(*segments(defect, 0.5 * SHORTEST_LINE * max(1.0, noise)), strict=True):
            if stop - start >= SHORTEST_LINE:
                mask[start:stop, x] = LINE
    return mask


def nan_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median without NaN; NaN where there is nothing else. Much faster than numpy's where NaN are few."""
    out = np.median(values, axis=axis)
    bad = np.isnan(out)
    if bad.any():
        rest = np.compress(bad, values, axis=1 - axis)
        seen = np.isfinite(rest).any(axis=axis)
        out[bad] = np.nan
        out[np.flatnonzero(bad)[seen]] = np.nanmedian(np.compress(seen, rest, axis=1 - axis), axis=axis)
    return out


def above_neighbours(profile: np.ndarray) -> np.ndarray:
    """How far each value of a profile stands above the median of the 3 on each side of it; NaN values do not count.

    At the ends, where one side is missing, the trend of the 6 that follow is continued.
    """
    out = profile - nan_median(np.array([np.roll(profile, k) for k in (-3, -2, -1, 1, 2, 3)]), 0)
    for values, into in ((profile, out), (profile[::-1], out[::-1])):
        for k in range(3):
            near, far = nan_median(values[k + 1 : k + 7].reshape(2, 3), 1)
            into[k] = values[k] - near - (near - far) * 2 / 3
    return out
