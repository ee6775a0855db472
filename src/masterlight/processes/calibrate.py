"""ImageCalibration: take the camera out of the picture with master bias, dark and flat frames."""

import threading
from dataclasses import dataclass, field

import numpy as np

from masterlight.errors import FrameError, ParameterError
from masterlight.frame import Frame, Stored
from masterlight.kernels.calibrate import calibrate, flat_factor, mean_between
from masterlight.process import card, process

CHUNK_PIXELS = 1 << 20
"""Pixels calibrated at once, so that what is read is still in the cache when it is decoded."""
_NOTHING = np.zeros((1, 1), np.float32)
_ONE = np.ones((1, 1), np.float32)


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
    _made: dict = field(default_factory=dict, repr=False)
    _lock: object = field(default_factory=threading.Lock, repr=False)

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k not in ("_made", "_lock")}

    def __setstate__(self, state):
        self.__dict__.update(state, _made={}, _lock=threading.Lock())

    def __bool__(self):
        return any(master is not None for master in (self.bias, self.dark, self.flat))

    @property
    def dark_holds_bias(self) -> bool:
        """Whether the bias level is still in the dark; a dark that says nothing was integrated from raw frames."""
        return self.dark is not None and self.dark.meta.contains_bias is not False

    @property
    def letters(self) -> str:
        """What these masters take out of a frame, as CALSTAT letters."""
        bias = "B" if self.bias or self.dark_holds_bias else ""
        return bias + ("D" if self.dark else "") + ("F" if self.flat else "")

    @property
    def equation(self) -> str:
        """The sum that is done, in symbols: `C = (L - D) * mean(F) / F`."""
        take = {(False, False): "L", (True, False): "L - B", (False, True): "L - D", (True, True): "L - B - D"}
        terms = take[self.bias is not None and not self.dark_holds_bias, self.dark is not None]
        return f"C = ({terms}) * mean(F) / F" if self.flat else f"C = {terms}"

    def subtract(self) -> np.ndarray:
        """What is subtracted from every light, float32 DN; (1, 1) zero when there is nothing to subtract."""
        return self._once("subtract", self._subtract)

    def factor(self) -> np.ndarray:
        """What every light is multiplied with, mean(F) / F, float32; NaN where the flat saw no light."""
        return self._once("factor", self._factor)

    def release(self) -> None:
        """Let the arrays go; they are made again when they are asked for."""
        with self._lock:
            self._made.clear()

    def _once(self, name, make):
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def _subtract(self):
        if self.dark is None:
            return _NOTHING if self.bias is None else contiguous(self.bias)
        if self.bias is None or self.dark_holds_bias:
            return contiguous(self.dark)
        return contiguous(self.dark) + contiguous(self.bias)

    def _factor(self):
        if self.flat is None:
            return _ONE
        flat = contiguous(self.flat)
        if self.flat.meta.contains_bias is True:
            if self.bias is None:
                raise FrameError(
                    self.flat.source,
                    "this master flat still holds its bias level, and dividing by it would leave vignetting in: "
                    "add bias frames or flat-darks",
                )
            flat = flat - contiguous(self.bias)
        mean = trimmed_mean(flat, self.trim_fraction)
        if not mean > 0:
            raise FrameError(self.flat.source, f"the mean level of this master flat is {mean:.1f} DN; it saw no light")
        out = np.empty_like(flat)
        flat_factor(flat, np.float32(mean), np.float32(max(1e-6, 0.01 * mean)), out)
        return out


def contiguous(frame: Frame) -> np.ndarray:
    """All pixels of a master, its own pedestal taken off."""
    pixels = np.ascontiguousarray(np.asarray(frame), np.float32)
    return pixels - np.float32(frame.meta.pedestal_dn) if frame.meta.pedestal_dn else pixels


def trimmed_mean(image: np.ndarray, fraction: float) -> float:
    """Mean without the lowest and the highest `fraction` of the finite samples; one sample is cut at least.

    Above a million pixels the two cuts come from every k-th pixel, the mean from all pixels between them.
    """
    sample = image.ravel()[:: max(1, image.size // 1_000_000)]
    sample = np.sort(sample[np.isfinite(sample)])
    if sample.size == 0:
        return float("nan")
    cut = max(1, int(fraction * sample.size)) if sample.size > 2 else 0
    if image.size < 2_000_000:
        return float(sample[cut : sample.size - cut].mean(dtype=np.float64))
    return float(mean_between(image, sample[cut], sample[-1 - cut]))


@process
class ImageCalibration:
    """Subtract bias and dark from a frame and divide it by the flat; signed, unclipped, in DN.

    C = (T - B - D) * mean(F) / F + pedestal, each term only when its master is given.
    """

    pedestal_dn: float = 0.0
    """Constant added after the division. 0 keeps zero-mean skies zero-mean; programs that cut negatives need some."""
    flat_trim_fraction: float = 0.05
    """Fraction of the darkest and of the brightest flat pixels left out of mean(F)."""

    def masters(self, bias: Frame | None = None, dark: Frame | None = None, flat: Frame | None = None) -> Masters:
        """Bind master frames to this process; their arrays are made on first use and shared by all frames."""
        if not 0 <= self.flat_trim_fraction < 0.5:
            raise ParameterError(f"flat_trim_fraction: 0 to 0.5 is allowed (given: {self.flat_trim_fraction})")
        return Masters(bias, dark, flat, self.flat_trim_fraction)

    def __call__(self, frame: Frame, masters: Masters) -> Frame:
        """A calibrated view of `frame`; nothing is computed until it is indexed.

        Raises FrameError when a master has another size, or when the frame says it was calibrated already.
        """
        twice = [letter for letter in masters.letters if letter in frame.meta.calibration]
        if twice:
            raise FrameError(
                frame.source,
                f"is already calibrated (CALSTAT '{frame.meta.calibration}'); '{''.join(twice)}' would be applied "
                "twice. Give the raw frame, or take these masters away",
            )
        for master in (masters.bias, masters.dark, masters.flat):
            if master is not None and master.shape[-2:] != frame.shape[-2:]:
                raise FrameError(
                    frame.source,
                    f"is {size(frame)} pixels but the master {master.source} is {size(master)}; "
                    "take calibration frames with the same camera, binning and region",
                )
        if len(frame.shape) != 2:
            raise FrameError(frame.source, "is a colour image; calibration works on the raw frame of one plane")
        if not masters and not frame.meta.pedestal_dn and not self.pedestal_dn:
            return frame
        names = {
            kind: master.source
            for kind in ("bias", "dark", "flat")
            if (master := getattr(masters, kind)) is not None and not (kind == "bias" and masters.dark_holds_bias)
        }
        letters = "".join(c for c in "OBDF" if c in frame.meta.calibration + masters.letters)
        has_bias = False if "B" in letters else frame.meta.contains_bias
        meta = frame.meta.with_(calibration=letters, pedestal_dn=self.pedestal_dn, contains_bias=has_bias)
        done = card(self, masters=names, equation=masters.equation)
        return Calibrated(
            source=frame.source, meta=meta, cards=(*frame.cards, done), raw=frame, masters=masters, process=self
        )

    def saturation(self, frame: Frame, masters: Masters) -> float | None:
        """The lowest level, after calibration, that a pixel saturated in the raw frame can have; None if unknown."""
        if frame.meta.saturation_dn is None:
            return None
        factor, subtract = masters.factor(), masters.subtract()
        dimmest = np.nanpercentile(factor[::16, ::16], 1) if factor.size > 1 else 1.0
        ceiling = 0.98 * frame.meta.saturation_dn - frame.meta.pedestal_dn
        return float((ceiling - np.median(subtract[::16, ::16])) * dimmest + self.pedestal_dn)


def size(frame: Frame) -> str:
    return f"{frame.shape[-1]} x {frame.shape[-2]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated(Frame):
    """A view of a raw frame through its masters."""

    raw: Frame
    masters: Masters
    process: ImageCalibration

    @property
    def header(self):
        return self.raw.header

    def pixels(self, y0, y1, x0, x1):
        out = np.empty((y1 - y0, x1 - x0), np.float32)
        self.pixels_into(out, y0, x0)
        return out

    def pixels_into(self, out, y0, x0):
        step = max(1, CHUNK_PIXELS // out.shape[1])
        for top in range(0, out.shape[0], step):
            self.fill(out[top : top + step], y0 + top, x0)

    def fill(self, out, y0, x0):
        """Decode and calibrate a box in one pass, rows as they come from the file."""
        box = y0, y0 + out.shape[0], x0, x0 + out.shape[1]
        stored = self.raw.stored(*box)
        if stored is None:
            stored = Stored(np.ascontiguousarray(self.raw.pixels(*box), np.float32), 0.0, 1.0, False)
        subtract, factor = self.masters.subtract(), self.masters.factor()
        inside = np.s_[box[0] : box[1], box[2] : box[3]]
        calibrate(
            stored.array,
            stored.swapped,
            stored.zero - self.raw.meta.pedestal_dn,
            stored.scale,
            subtract[inside] if subtract.size > 1 else subtract,
            factor[inside] if factor.size > 1 else factor,
            self.process.pedestal_dn,
            out,
        )
