"""Master frames bound together: the arrays of the calibration equation, made from them once."""

from dataclasses import dataclass, field, replace

import numpy as np

from masterlight.calibration.darkscale import HotPixels, hot_pixels
from masterlight.calibration.equation import equation
from masterlight.calibration.kernels import flat_factor, sum_between
from masterlight.calibration.level import scatter, tiled
from masterlight.calibration.trimmed import Trimmed
from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame, evenly
from masterlight.core.headers.geometry import period, places
from masterlight.core.units.figures import figure
from masterlight.core.workers import Once

_NOTHING = np.zeros((1, 1), np.float32)
_ONE = np.ones((1, 1), np.float32)


RESPONSE_PX = 16
"""Side of the cells in which the response of a sensor to a flat is told: dust shows in it, single pixels do not."""
FAR_DN = 1e9
"""No pixel of a camera comes near to it."""


def odd_level(master: Frame) -> str:
    """What is odd about the level of a master, in words; '' if nothing is. FrameError where no pixel is a number."""
    if len(master.shape) > 2:
        raise FrameError(master.source, f"has {master.shape[0]} planes; masters have one, as the sensor gives them")
    seen = np.asarray(master[::4, ::4])
    missing, seen = float(np.mean(~np.isfinite(seen))), seen[np.isfinite(seen)]
    if not seen.size:
        raise FrameError(master.source, "none of its pixels is a number; make it again")
    middle, highest = float(np.median(seen)), float(np.abs(seen).max())
    if highest > FAR_DN:
        return f"it holds values of {highest:.3g} DN; check how it was made"
    if missing:
        return f"{missing:.2%} of its pixels are missing, and so they will be in what is made with it"
    if seen.size > 1 and seen.min() == seen.max():
        return f"all its pixels are {middle:g} DN; is it a master?"
    return f"its level is {middle:g} DN, below zero; check how it was made" if middle < 0 else ""


@dataclass(frozen=True, eq=False)
class Masters:
    """The master frames of one set of lights, and the arrays of the equation made from them once.

    bias, dark, flat are frames or None. What was already done to a master is in its `Meta` (`contains_bias`,
    `calibration`), so nothing is subtracted twice. Cheap to pickle when the masters are files.
    """

    bias: Frame | None = None
    dark: Frame | None = None
    flat: Frame | None = None
    trim_fraction: float = 0.05
    separate_colours: bool = True
    scaled: bool = False
    """Whether the dark is multiplied with a factor of each light's own."""
    pattern: str | None = None
    """Colour pattern from the first pixel of the masters on; None when they do not tell it."""
    _made: Once = field(default_factory=Once, repr=False)
    _cut: Once = field(default_factory=Once, repr=False)

    def __bool__(self) -> bool:
        return any(master is not None for master in (self.bias, self.dark, self.flat))

    @property
    def dark_holds_bias(self) -> bool:
        """Whether the bias level is still in the dark.

        A dark that does not say so was integrated from raw frames, unless its level lies below a fifth of the bias.
        """
        if self.dark is None or self.dark.meta.contains_bias is not None:
            return self.dark is not None and self.dark.meta.contains_bias
        if "B" in self.dark.meta.calibration:
            return False
        return self.bias is None or self._made("holds", self._dark_is_at_bias_level)

    @property
    def level_masters(self) -> list[Frame]:
        """The masters that take the bias level off the lights."""
        dark = [self.dark] if self.dark_holds_bias else []
        return dark if dark and not self.scaled else [*([self.bias] if self.bias else []), *dark]

    @property
    def letters(self) -> str:
        """What these masters take out of a frame, as CALSTAT letters."""
        bias = "B" if self.bias or self.dark_holds_bias else ""
        return bias + ("D" if self.dark else "") + ("F" if self.flat else "")

    @property
    def equation(self) -> str:
        """The sum that is done, in symbols: `C = (L - D) * mean(F) / F`."""
        return self.equation_for("L")

    def equation_for(self, light: str) -> str:
        """The equation with these words for the light: `L - overscan`."""
        names = ("B", self.bias), ("D", self.dark), ("F", self.flat)
        letters = (letter if master is not None else "" for letter, master in names)
        return equation(light, *letters, scaled=self.scaled, holds_bias=self.dark_holds_bias)

    def subtract(self) -> np.ndarray:
        """What is subtracted from every light, float32 DN; (1, 1) zero when there is nothing to subtract."""
        return self._made("subtract", lambda: self._subtract(np.s_[:]))

    def current(self) -> np.ndarray:
        """The dark without bias, which is subtracted k times when darks are scaled; (1, 1) zero otherwise."""
        return self._made("current", self._current)

    def factor(self) -> np.ndarray:
        """What every light is multiplied with, mean(F) / F, float32; NaN where the flat saw no light."""
        return self._made("factor", self._factor)

    def flat_means(self) -> np.ndarray:
        """mean(F) of the colour at each place of the pattern, (p, p) DN; without pattern or flat (1, 1)."""
        return self._made("means", lambda: _ONE if self.flat is None else self._means(self._flat(np.s_[:])))

    def response(self) -> np.ndarray | None:
        """F / mean(F) of the flat in cells of about RESPONSE_PX pixels, (colours, ny, nx), NaN where it saw no light.

        From two rows in each cell, a whole period of the colour pattern on X-Trans; None without a flat.
        """
        return None if self.flat is None else self._made("response", self._response)

    def hot_pixels(self, sigma: float, window_px: int) -> HotPixels:
        """The pixels of the dark to which the scale of a light is fitted."""
        arrays = self.current(), self.subtract()
        return self._made(("hot", sigma, window_px), lambda: hot_pixels(*arrays, self.pattern, sigma, window_px))

    def release(self) -> None:
        """Let the arrays go; they are made again when they are asked for."""
        self._made.clear()
        for masters in list(self._cut.made.values()):
            masters.release()

    def cut_for(self, frame: Frame, window: tuple[int, int, int, int], scaled: bool) -> "Masters":
        """These masters for lights like `frame` that are cut to `window`; untrimmed masters are cut like them."""
        light = Trimmed.of(frame, window)
        own = [self.bias, self.dark, self.flat]
        alike = scaled == self.scaled and light.meta.pattern == self.pattern
        if alike and {m.shape for m in own if m is not None} <= {light.shape}:
            return self

        def cut() -> Masters:
            parts = (cut_like(light, frame, window, master) for master in own)
            return Masters(*parts, self.trim_fraction, self.separate_colours, scaled, light.meta.pattern)

        return self._cut((frame.shape, window, light.meta.pattern, scaled), cut)

    def with_scaled(self, made: dict[str, Frame]) -> "Masters":
        """These masters with some of them on another scale; the same ones for the same scales."""
        own = Once(), Once()
        how = tuple((kind, one.meta.scaled_by) for kind, one in made.items())
        return self._cut(("scaled", how), lambda: replace(self, **made, _made=own[0], _cut=own[1]))

    def lowest_saturation(self, ceiling_dn: float, level: np.ndarray) -> float:
        """The least that a raw pixel at `ceiling_dn` can be after calibration, from 48 rows of the masters.

        level (p, p) or (1, 1) is subtracted before the masters. The dimmest 1 % of each colour are left out.
        """
        subtract, factor = self._made("typical", self._typical)
        level = level if level.shape in ((1, 1), subtract.shape) else level.max()
        lowest = (ceiling_dn - level - subtract) * factor
        return float(np.nanmin(lowest)) if np.isfinite(lowest).any() else float("nan")

    def _subtract(self, rows):
        if self.dark is None or self.scaled:
            return _NOTHING if self.bias is None else part(self.bias, rows)
        if self.bias is None or self.dark_holds_bias:
            return part(self.dark, rows)
        return part(self.dark, rows) + part(self.bias, rows)

    def _current(self):
        if self.dark is None or not self.scaled:
            return _NOTHING
        dark = part(self.dark, np.s_[:])
        return dark - self.subtract() if self.dark_holds_bias and self.bias is not None else dark

    def _flat(self, rows):
        flat, holds = part(self.flat, rows), self.flat.meta.contains_bias is True
        if not holds or (self.bias is None and "O" in self.flat.meta.calibration):
            return flat
        if self.bias is None:
            words = "this master flat still holds its bias level, and dividing by it would leave vignetting in"
            raise FrameError(self.flat.source, f"{words}: add bias frames or flat-darks")
        if ("O" in self.bias.meta.calibration) != ("O" in self.flat.meta.calibration):
            words = f"of this master flat and the master {self.bias.source} only one had its overscan subtracted"
            raise FrameError(self.flat.source, f"{words}; make both in the same way")
        return flat - part(self.bias, rows)

    def _means(self, flat):
        pattern = self.pattern or self.flat.meta.pattern
        means = colour_means(flat, pattern if self.separate_colours else None, self.trim_fraction)
        if not np.all(means > 0):
            level = f"{figure(np.min(means))} DN"
            raise FrameError(self.flat.source, f"the mean level of this master flat is {level}; it saw no light")
        return means

    def _factor(self):
        if self.flat is None:
            return _ONE
        flat = self._flat(np.s_[:])
        means = self._made("means", lambda: self._means(flat))
        out = np.empty_like(flat)
        spread = tiled(means, 0, len(means), 0, flat.shape[1])
        flat_factor(flat, np.ascontiguousarray(spread, np.float32), out)
        return out

    def _response(self):
        rows, cols = self.flat.shape
        p = period(self.pattern)
        ny, nx = max(1, round(rows / RESPONSE_PX)), max(1, round(cols / RESPONSE_PX))
        height = min(max(2, p), rows)
        tops = (np.arange(ny) + 0.5) * rows / ny - height / 2
        tops = np.clip(np.rint(tops / p) * p, 0, rows - height).astype(int)
        strips = self._flat((tops[:, None] + np.arange(height)).ravel()).reshape(ny, height, cols)
        edges = np.arange(nx) * cols // nx
        found = []
        for at in places(self.pattern).values():
            mine = np.zeros((height, cols), bool)
            for y, x in at:
                mine[(y - tops[0]) % p :: p, x::p] = True
            good = mine & np.isfinite(strips)
            sums, counts = (
                np.add.reduceat(np.where(good, values, 0).sum(axis=1, dtype=float), edges, axis=1)
                for values in (strips, 1)
            )
            found.append(np.divide(sums, counts, out=np.full_like(sums, np.nan), where=(counts > 0) & (sums > 0)))
        shares = [len(at) for at in places(self.pattern).values()]
        means = np.array([np.nanmean(plane) for plane in found])
        means = means if self.separate_colours else np.full_like(means, np.average(means, weights=shares))
        return np.stack(found) / means[:, None, None]

    def _typical(self):
        """Median of what is subtracted and first percentile of the factor, at each place of the pattern, (p, p)."""
        p = period(self.pattern)
        subtract, factor = np.zeros((p, p)), np.ones((p, p))
        rows = np.arange(max((m.shape[0] for m in (self.bias, self.dark, self.flat) if m is not None), default=1))
        if rows.size > 48:
            rows = np.add.outer(evenly(0, rows.size - 6, 8), np.arange(6)).ravel()
        minus = self._subtract(rows)
        if self.flat is not None:
            flat = self._flat(rows)
            turns = [np.flatnonzero(rows % p == y) for y in range(p)]
            in_turn = np.stack([turn[: min(map(len, turns))] for turn in turns], axis=1).ravel()
            means = self._means(flat[in_turn])  # of rows in an order in which the pattern repeats
            times = tiled(means, 0, len(means), 0, flat.shape[1]).astype(np.float32)[rows % len(means)] / np.where(
                flat > 0, flat, np.nan
            )
        for y, x in np.ndindex(p, p):
            mine = np.s_[rows % p == y, x::p]
            if minus.size > 1:
                subtract[y, x] = np.nanmedian(minus[mine]) if np.isfinite(minus[mine]).any() else 0.0
            if self.flat is not None:
                good = times[mine][np.isfinite(times[mine])]
                factor[y, x] = np.percentile(good, 1) if good.size else np.nan
        return subtract, factor

    def _dark_is_at_bias_level(self):
        rows = min(self.bias.shape[-2], self.dark.shape[-2])
        lines = evenly(0, rows - 1, 24)
        bias, dark = part(self.bias, lines), part(self.dark, lines)
        level = np.nanmedian(bias)
        return bool(level < 5 * scatter(bias) or np.nanmedian(dark) >= 0.2 * level)


def part(frame: Frame, rows) -> np.ndarray:
    """All or some rows of a master, its own pedestal taken off, float32."""
    if isinstance(rows, slice):
        pixels = np.ascontiguousarray(np.asarray(frame), np.float32)
    else:
        cols = frame.shape[-1]
        pixels = np.concatenate([frame.pixels(int(y), int(y) + 1, 0, cols) for y in rows]).astype(np.float32)
    return pixels - np.float32(frame.meta.pedestal_dn) if frame.meta.pedestal_dn else pixels


def cut_like(light: Frame, raw: Frame, window, master: Frame | None) -> Frame | None:
    """A master cut to the size of a trimmed light, by the light's window or its own; as it is when it has that size."""
    if master is None or master.shape == light.shape:
        return master
    own = master.meta.data_px if master.meta.sky_shape == light.shape else None
    window = window if master.shape == raw.shape else own
    return Trimmed.of(master, window) if window else master


def colour_means(flat: np.ndarray, pattern: str | None, fraction: float) -> np.ndarray:
    """Trimmed mean of each colour, all greens together, at each place of the pattern (p, p); (1, 1) without one."""
    if not pattern:
        return np.array([[trimmed_mean([flat], fraction)]])
    p = period(pattern)
    means = np.empty((p, p))
    for at in places(pattern).values():
        means[tuple(zip(*at, strict=True))] = trimmed_mean([flat[y::p, x::p] for y, x in at], fraction)
    return means


def trimmed_mean(planes: list[np.ndarray], fraction: float) -> float:
    """Mean without the lowest and the highest `fraction` of the finite samples; one sample is cut at least.

    Above a million pixels the two cuts come from every k-th pixel, the mean from all pixels between them.
    """
    size = sum(plane.size for plane in planes)
    step = max(1, size // 1_000_000)
    sample = np.concatenate([plane.ravel()[::step] for plane in planes])
    sample = np.sort(sample[np.isfinite(sample)])
    if sample.size == 0:
        return float("nan")
    cut = max(1, int(fraction * sample.size)) if sample.size > 2 else 0
    if step == 1:
        return float(sample[cut : sample.size - cut].mean(dtype=np.float64))
    sums = np.array([sum_between(plane, sample[cut], sample[-1 - cut]) for plane in planes])
    return float(sums[:, 0].sum() / sums[:, 1].sum())
