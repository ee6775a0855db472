"""ImageCalibration: take the camera out of the picture with overscan, master bias, dark and flat frames.

C = (T - level - B - k D) * mean(F) / F + pedestal, each term only when there is something to do it with; the level is
that of the overscan, or the black level that a camera tells, or the pedestal that was added to a file.
"""

import threading
from dataclasses import dataclass, field
from math import isclose, isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from masterlight.calibration.darkscale import DarkScale, by_exposure, expected_scale, fit, judged, lights_excess
from masterlight.calibration.kernels import calibrate
from masterlight.calibration.masters import Masters
from masterlight.calibration.overscan import Level, Overscan, Trimmed
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import Frame, Stored
from masterlight.core.headers import period, places, same_filter
from masterlight.core.noise import noise_mrs
from masterlight.core.process import card, process

CHUNK_PIXELS = 1 << 20
"""Pixels calibrated at once, so that what is read is still in the cache when it is decoded."""
UNKNOWN_LEVEL = 0.04
"""A level that only the overscan tells is reckoned as this fraction of the range where saturation is estimated."""
MOST_PEDESTAL_DN = 1000.0


@process
class ImageCalibration:
    """Subtract bias and dark from a frame and divide it by the flat; signed, unclipped, in DN.

    C = (T - B - k D) * mean(F) / F + pedestal, each term only when its master is given.
    """

    overscan: Overscan = Overscan()
    """What is done with the unexposed edge of the sensor."""
    use_bias: bool = True
    """Take the master bias into account; switched off, it is left out even when there is one."""
    use_dark: bool = True
    """Take the master dark into account."""
    use_flat: bool = True
    """Take the master flat into account."""
    black_level: bool = True
    """Subtract the black level that a camera tells where neither bias, dark nor overscan take it off."""
    dark_scaling: Literal["none", "fit", "exposure"] = "none"
    """How the dark of a light is scaled: not at all, by the hot pixels in light and dark, or by exposure times (and
    temperatures, where both are known). Scaling needs a bias, or a dark without bias."""
    dark_scale: Annotated[float, Field(ge=0)] | None = None
    """The factor by which darks are scaled, set by hand."""
    dark_sigma: Annotated[float, Field(ge=3)] = 8.0
    """Pixels of the dark this many sigma above their neighbourhood are those that the factor is fitted to."""
    dark_window_px: Annotated[int, Field(ge=0)] = 0
    """Width of the central square to which the factor is fitted; 0 is the whole frame."""
    doubling_c: Annotated[float, Field(gt=0)] = 6.0
    """The rise of temperature in Celsius that doubles the dark current of the sensor."""
    separate_colours: bool = True
    """Divide each colour of a mosaic by the mean of its own flat pixels, so that the flat lends no colour."""
    flat_trim_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Fraction of the darkest and of the brightest flat pixels left out of mean(F)."""
    pedestal_dn: float = 0.0
    """Constant added after the division. 0 keeps zero-mean skies zero-mean; programs that cut negatives need some."""
    force: bool = False
    """Use masters of another gain, offset or filter all the same."""

    def masters(self, bias: Frame | None = None, dark: Frame | None = None, flat: Frame | None = None) -> Masters:
        """Bind master frames to this process; their arrays are made on first use and shared by all frames.

        Raises ParameterError for what is not a frame, FrameError for a frame that says it is of another kind.
        """
        for kind, master in (("bias", bias), ("dark", dark), ("flat", flat)):
            check_kind(kind, master, self.force)
        used = bias if self.use_bias else None, dark if self.use_dark else None, flat if self.use_flat else None
        scaled = used[1] is not None and (self.dark_scaling != "none" or self.dark_scale is not None)
        pattern = next((m.meta.sky_pattern for m in used if m is not None and m.meta.pattern), None)
        return Masters(*used, self.flat_trim_fraction, self.separate_colours, scaled, pattern)

    def __call__(self, frame: Frame, masters: Masters) -> Frame:
        """A calibrated view of `frame`, trimmed to what saw the sky; nothing is computed until it is indexed.

        Raises FrameError when a master does not go with the frame, or when the frame says it was calibrated already.
        """
        twice = [letter for letter in masters.letters if letter in frame.meta.calibration]
        if twice:
            raise FrameError(
                frame.source,
                f"is already calibrated (CALSTAT '{frame.meta.calibration}'); '{''.join(twice)}' would be applied "
                "twice. Give the raw frame, or take these masters away",
            )
        masters = self.fitted(frame, masters)
        level = self.level_from(frame, masters)
        raw = Trimmed.of(frame, self.overscan.window(frame))
        names = {
            kind: master.source
            for kind in ("bias", "dark", "flat")
            if (master := getattr(masters, kind)) is not None
            and not (kind == "bias" and masters.dark_holds_bias and not masters.scaled)
        }
        equation = masters.told(f"L - {level}" if level in ("overscan", "black") else "L")
        cards = (*frame.cards, card(self, masters=names, equation=equation))
        if not masters and not level and not self.pedestal_dn:
            return raw if raw is frame else raw.with_cards(cards)
        done = frame.meta.calibration + masters.letters + {"overscan": "O", "black": "B"}.get(level, "")
        letters = "".join(c for c in "OBDF" if c in done)
        if frame.meta.kind == "light" and set("DF") & set(letters) and not set("BO") & set(letters) and not self.force:
            raise FrameError(
                frame.source,
                "its bias level would stay in and be scaled by the flat: add a master bias, or a dark that holds it, "
                "or pass force",
            )
        meta = raw.meta.with_(
            calibration=letters,
            pedestal_dn=self.pedestal_dn,
            contains_bias=False if "B" in letters else frame.meta.contains_bias,
            saturation_dn=self.ceiling(raw, masters, level),
            black_dn=None if set("BO") & set(letters) else raw.meta.black_dn,
        )
        return Calibrated(
            source=frame.source, meta=meta, cards=cards, raw=raw, masters=masters, process=self, whole=frame,
            level_from=level, equation=equation,
        )  # fmt: skip

    def saturation(self, frame: Frame, masters: Masters) -> float | None:
        """The lowest level, after calibration, that a pixel saturated in the raw frame can have; None if unknown.

        The least of all colours. Only some rows of the masters are read.
        """
        masters = self.fitted(frame, masters)
        raw = Trimmed.of(frame, self.overscan.window(frame))
        return self.ceiling(raw, masters, self.level_from(frame, masters))

    def fitted(self, frame: Frame, masters: Masters) -> Masters:
        """The masters as they serve this frame: of its size and colours, its dark scaled only if it is a light.

        Raises FrameError for a frame of several planes and for masters that do not go with it.
        """
        if len(frame.shape) != 2:
            raise FrameError(frame.source, "is a colour image; calibration works on the raw frame of one plane")
        pattern = frame.meta.pattern or ""
        if len(pattern) not in (0, period(pattern) ** 2):
            raise FrameError(frame.source, f"has colour pattern '{pattern}'; 4 letters or 36 are understood")
        window = self.overscan.window(frame)
        scaled = masters.scaled and frame.meta.kind in ("light", "unknown")
        found = masters.fitted(frame, window, scaled)
        light = Trimmed.of(frame, window)
        for kind in ("bias", "dark", "flat"):
            if getattr(found, kind) is not None:
                against(light, kind, getattr(found, kind), self.force)
        if scaled and found.dark_holds_bias and found.bias is None:
            raise FrameError(
                frame.source,
                f"the master {found.dark.source} still holds its bias level, and scaling it would scale the bias: add "
                "a master bias, or set dark_scaling none",
            )
        return found

    def level_from(self, frame: Frame, masters: Masters) -> str:
        """What takes a level off the frame before the masters: "overscan", "black", "pedestal", or "" for nothing.

        Raises FrameError when overscan was subtracted from the frame and not from its masters, or the other way.
        """
        wanted, done = self.overscan.wanted(frame), "O" in frame.meta.calibration
        levels = masters.level_masters
        plain = [m for m in levels if "O" not in m.meta.calibration]
        without = [m for m in levels if "O" in m.meta.calibration]
        if plain and without:
            raise FrameError(
                frame.source,
                f"of its masters, {without[0].source} had its overscan subtracted and {plain[0].source} had not; make "
                "both in the same way",
            )
        if plain and (done or (wanted and (self.overscan.model, self.overscan.region) != ("auto", None))):
            raise FrameError(
                frame.source,
                f"its overscan is subtracted, but the master {plain[0].source} was made without: make it anew with "
                "overscan, or set overscan.model auto or none",
            )
        if without and not wanted and not done:
            raise FrameError(
                frame.source,
                f"the master {without[0].source} was made with overscan subtracted, which this frame lacks: set "
                "overscan.region and a model, or make the master anew with overscan.model none",
            )
        if wanted and not plain:
            return "overscan"
        keeps_level = frame.meta.kind in ("bias", "dark", "flatdark") or set("BDO") & set(frame.meta.calibration)
        if self.black_level and any(frame.meta.black_dn or ()) and not levels and not keeps_level:
            return "black"
        return "pedestal" if frame.meta.pedestal_dn else ""

    def ceiling(self, raw: Frame, masters: Masters, level: str) -> float | None:
        """Where saturated pixels of a trimmed raw frame begin after calibration; None if it is not known."""
        saturation = raw.meta.saturation_dn
        if saturation is None:
            return None
        known = {"black": raw.meta.black_dn, "overscan": UNKNOWN_LEVEL * saturation, "pedestal": raw.meta.pedestal_dn}
        phases = Level.of(known.get(level, 0.0)).phases
        lowest = masters.lowest_saturation(0.98 * saturation, phases) + self.pedestal_dn
        return lowest if isfinite(lowest) else None

    def keywords(self, view: Frame) -> list[tuple[str, Any, str]]:
        """What was done to a calibrated view, as header cards (keyword, value, comment). Reads all of its pixels.

        Noise is measured on each colour of the mosaic, before anything is interpolated or cut off.
        """
        image = np.asarray(view)
        masters, scale = getattr(view, "masters", Masters()), getattr(view, "dark_scale", None)
        rows = [("CALSTAT", view.meta.calibration or None, "done to the pixels: Overscan Bias Dark Flat")]
        for key, kind in (("CALB", "bias"), ("CALD", "dark"), ("CALF", "flat")):
            master = getattr(masters, kind)
            rows.append((key, Path(master.source).name if master is not None else None, f"master {kind}"))
        if scale is not None:
            error = scale.sigma if scale.accepted else None
            rows += [("CALK00", scale.k, "scale of the dark"), ("CALKE00", error, "standard error of CALK00")]
        if masters.flat is not None:
            means = masters.flat_means()
            own = places(masters.pattern or masters.flat.meta.pattern if means.size > 1 else None).values()
            rows += [(f"CALS{i:02d}", float(means[at[0]]), "[DN] mean of the flat") for i, at in enumerate(own)]
        finite = np.isfinite(image)
        negative = float(np.count_nonzero(image[finite] < 0) / max(1, np.count_nonzero(finite)))
        rows += [
            ("CALPED", view.meta.pedestal_dn, "[DN] added after calibration"),
            ("CALNEG", negative, "fraction of negative pixels"),
            ("CALVER", version(), "version of masterlight"),
        ]
        noises = noise_of_colours(image, view.meta.pattern, view.meta.saturation_dn or np.inf)
        rows += [(f"NOISE{i:02d}", v, f"[DN] noise {name}".strip()) for i, (name, v) in enumerate(noises.items())]
        return [row for row in rows if row[1] is not None]


def check_kind(kind: str, master: Frame | None, force: bool) -> None:
    """Raise when a master is no frame, or one of another kind."""
    if master is not None and not isinstance(master, Frame):
        raise ParameterError(f"{kind}: a frame is needed, as masterlight.read(path) gives one (given: {master!r:.60})")
    fits = {"dark": ("dark", "flatdark", "unknown")}.get(kind, (kind, "unknown"))
    if master is not None and master.meta.kind not in fits and not force:
        raise FrameError(
            master.source,
            f"says that it is a {master.meta.kind}, and is given as the {kind}: give the right file, or pass force",
        )


def against(light: Frame, kind: str, master: Frame, force: bool) -> None:
    """Raise FrameError, which names both, when a master does not go with a trimmed light."""
    mine, theirs = light.meta, master.meta
    if len(master.shape) != 2:
        raise FrameError(
            light.source, f"has one plane but the master {master.source} has {master.shape[0]}; give the mosaic itself"
        )
    if master.shape != light.shape:
        raise FrameError(
            light.source,
            f"is {size(light)} pixels but the master {master.source} is {size(master)}; "
            "take calibration frames with the same camera, binning and region",
        )
    if mine.pattern and theirs.pattern and mine.pattern != theirs.pattern:
        differ("colour pattern", light, mine.pattern, master, theirs.pattern, "were they read from the same corner?")
    if tells_binning(mine) and tells_binning(theirs) and mine.binning != theirs.binning:
        mine_bin, their_bin = ("{}x{}".format(*meta.binning) for meta in (mine, theirs))
        differ("binning", light, mine_bin, master, their_bin, "take calibration frames with the same binning")
    if force:
        return
    for name in ("gain", "offset") if kind != "flat" else ():
        a, b = getattr(mine, name), getattr(theirs, name)
        if a is not None and b is not None and not isclose(a, b, rel_tol=1e-6):
            differ(name, light, f"{a:g}", master, f"{b:g}", f"take {kind} frames with the same {name}, or pass force")
    if kind == "flat" and same_filter(mine.filter, theirs.filter) is False:
        differ("filter", light, mine.filter, master, theirs.filter, "take flats through the same filter, or pass force")


def differ(what: str, light: Frame, mine: str, master: Frame, theirs: str, todo: str) -> None:
    raise FrameError(light.source, f"has {what} {mine} but the master {master.source} has {theirs}; {todo}")


def tells_binning(meta) -> bool:
    """Whether a header told the binning; 1x1 is also what is taken for granted."""
    return bool(meta.binning != (1, 1) or meta.camera or meta.pixel_um)


def size(frame: Frame) -> str:
    return f"{frame.shape[-1]} x {frame.shape[-2]}"


def version() -> str:
    from masterlight import __version__

    return __version__


def noise_of_colours(image: np.ndarray, pattern: str | None, saturation_dn: float) -> dict[str, float]:
    """Noise in DN of each colour of a mosaic, the mean over its places in the pattern; of all pixels for mono."""
    p, found = period(pattern), {}
    for letter, at in places(pattern).items():
        planes = [np.ascontiguousarray(image[y::p, x::p]) for y, x in at]
        found[letter] = float(np.mean([noise_mrs(plane, saturation_dn)[0] for plane in planes]))
    return found


def auto_pedestal(values, limit: float = 1e-4) -> float:
    """The pedestal in DN that leaves about a fraction `limit` of the pixels negative, for files of whole numbers.

    values: any array, NaN left out. 0 when nothing is negative, else whole DN from 1 to 1000.
    """
    values = np.asarray(values, np.float32).ravel()
    values = values[np.isfinite(values)]
    low = values[values < 2 * np.finfo(np.float32).eps * 65535]
    n = max(1, int(limit * values.size))
    if low.size < n or not np.any(low < 0):
        return 0.0
    return float(min(MOST_PEDESTAL_DN, max(1.0, np.round(abs(np.partition(low, n - 1)[n - 1])))))


class Preset(NamedTuple):
    """Values of an ImageCalibration, and the kinds of master that it needs."""

    values: dict[str, Any]
    needs: tuple[str, ...]


PRESETS = {
    "flat-bias": Preset({"use_dark": False, "use_flat": False}, ("bias",)),
    "flat-darkflat": Preset({"use_bias": False, "use_flat": False}, ("flatdark",)),
    "light-bias-flat": Preset({"use_dark": False}, ("bias", "flat")),
    "light-dark-flat": Preset({"use_bias": False}, ("dark", "flat")),
    "light-scaled-dark-flat": Preset({"dark_scaling": "fit"}, ("bias", "dark", "flat")),
}
"""The usual ways to calibrate, by name: flats with bias or flat-dark; lights with bias, matched dark, scaled dark."""


def preset(name: str) -> ImageCalibration:
    """The calibration of this name: `preset("light-dark-flat")`."""
    return ImageCalibration(**known(name).values)


def needs(name: str) -> tuple[str, ...]:
    """The kinds of master frame that a preset needs; a flat-dark is given to it as its dark."""
    return known(name).needs


def known(name: str) -> Preset:
    if name not in PRESETS:
        raise ParameterError(f"preset: '{name}' is not known; there are {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated(Frame):
    """A view of a raw frame through its masters. What is found out about the frame is found once, on first use."""

    raw: Frame
    """The raw frame, trimmed to the size of this view."""
    masters: Masters
    process: ImageCalibration
    whole: Frame
    """The raw frame with its overscan."""
    level_from: str = ""
    equation: str = ""
    _made: dict = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_lock"} | {"_made": dict(self._made)}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def header(self):
        return self.raw.header

    @property
    def scratch_bytes(self):
        return self.raw.scratch_bytes

    @property
    def dark_scale(self) -> DarkScale | None:
        """The factor of the dark for this frame; None when the dark is not scaled."""
        return self._once("dark_scale", self._dark_scale) if self.masters.scaled else None

    @property
    def level(self) -> Level:
        """What is subtracted before the masters, measured in the overscan of this frame or told by its header."""
        return self._once("level", self._level)

    def defective(self, y0, y1, x0, x1):
        return self.raw.defective(y0, y1, x0, x1)

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
        top, left = (0, 0) if self.raw is self.whole else (self.raw.top, self.raw.left)
        lines, level = self.level.box(box[0] + top, box[1] + top, box[2] + left, box[3] + left)
        m = self.masters
        arrays = m.subtract(), m.current(), m.factor()
        subtract, dark, factor = (a[y0 : box[1], x0 : box[3]] if a.size > 1 else a for a in arrays)
        k = self.dark_scale.k if m.scaled else 0.0
        calibrate(
            stored.array, stored.swapped, stored.zero, stored.scale, lines, level, subtract, dark, k, factor,
            self.process.pedestal_dn, out,
        )  # fmt: skip

    def _once(self, name, make):
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def _level(self):
        if self.level_from == "overscan":
            return self.process.overscan.level(self.whole)
        meta = self.whole.meta
        return Level.of({"black": meta.black_dn, "pedestal": meta.pedestal_dn}.get(self.level_from, 0.0))

    def _dark_scale(self):
        p, m = self.process, self.masters
        if p.dark_scale is not None:
            return DarkScale(p.dark_scale, reason="set by hand")
        expected = expected_scale(self.raw.meta, m.dark.meta, p.doubling_c)
        if p.dark_scaling == "exposure":
            return by_exposure(expected)
        hot = m.hot_pixels(p.dark_sigma, p.dark_window_px)
        return judged(*fit(hot.dark_dn, lights_excess(self.raw, hot), hot.noise_dn), expected)
