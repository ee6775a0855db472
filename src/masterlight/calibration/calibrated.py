"""Calibrating a frame: which masters go with it, what its level is told by, and the view through all of them."""

from dataclasses import dataclass, field, replace
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from masterlight.calibration import kernels
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.darkscale import DarkScale, accept, by_exposure, expected_scale, fit, lights_excess
from masterlight.calibration.level import Level
from masterlight.calibration.masters import Masters
from masterlight.calibration.trimmed import Trimmed
from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame, Stored, View, evenly, frame_of
from masterlight.core.headers.geometry import period, places
from masterlight.core.process import card
from masterlight.core.statistics.noise import noise_mrs
from masterlight.core.statistics.scale import madn
from masterlight.core.together import differences, same_current
from masterlight.core.units.settle import KNOB, in_role, is_plain, settle
from masterlight.core.workers import Once

CHUNK_PIXELS = 1 << 20
"""Pixels calibrated at once, so that what is read is still in the cache when it is decoded."""
UNKNOWN_LEVEL = 0.04
"""A level that only the overscan tells is reckoned as this fraction of the range where saturation is estimated."""
MOST_PEDESTAL_DN = 1000.0
KINDS = "bias", "dark", "flat"


def bind_masters(process: ImageCalibration, bias: Frame | None, dark: Frame | None, flat: Frame | None) -> Masters:
    """The masters that the process uses, as they come."""
    given = zip(KINDS, (bias, dark, flat), strict=True)
    bias, dark, flat = (None if master is None else frame_of(master, kind) for kind, master in given)
    for kind, master in zip(KINDS, (bias, dark, flat), strict=True):
        refuse_other_kind(kind, master, process.force)
    used = bias if process.use_bias else None, dark if process.use_dark else None, flat if process.use_flat else None
    asked = process.dark_scaling in ("fit", "exposure") or process.dark_scale is not None
    scaled = used[1] is not None and asked
    pattern = next((m.meta.sky_pattern for m in used if m is not None and m.meta.pattern), None)
    return Masters(*used, process.flat_trim_fraction, process.separate_colours, scaled, pattern)


def calibrate(process: ImageCalibration, frame: Frame, masters: Masters) -> Frame:
    """The calibrated view of a frame; a trimmed view or the frame itself when there is nothing to do."""
    frame, masters = bring_to_dn(process, frame_of(frame), masters)
    twice = [letter for letter in masters.letters if letter in frame.meta.calibration]
    if twice:
        words = f"is already calibrated (CALSTAT '{frame.meta.calibration}'); '{''.join(twice)}' would be applied twice"
        raise FrameError(frame.source, f"{words}. Give the raw frame, or take these masters away")
    masters = masters_for(process, frame, masters)
    level = level_from(process, frame, masters)
    raw = Trimmed.of(frame, process.overscan.window(frame))
    used = {kind: getattr(masters, kind) for kind in KINDS}
    if masters.dark_holds_bias and not masters.scaled:
        del used["bias"]
    names = {kind: master.source for kind, master in used.items() if master is not None}
    equation = masters.equation_for(f"L - {level}" if level in ("overscan", "black") else "L")
    cards = (*frame.cards, card(process, masters=names, equation=equation))
    if not masters and not level and not process.pedestal_dn:
        return raw if raw is frame else replace(raw, cards=cards)
    done = frame.meta.calibration + masters.letters + {"overscan": "O", "black": "B"}.get(level, "")
    letters = "".join(c for c in "OBDF" if c in done)
    if frame.meta.kind == "light" and set("DF") & set(letters) and not set("BO") & set(letters) and not process.force:
        todo = "add a master bias, or a dark that holds it, or pass ImageCalibration.force"
        raise FrameError(frame.source, f"its bias level would stay in and be scaled by the flat: {todo}")
    meta = raw.meta.with_(
        calibration=letters,
        pedestal_dn=process.pedestal_dn,
        contains_bias=False if "B" in letters else frame.meta.contains_bias,
        saturation_dn=ceiling(process, raw, masters, level),
        black_dn=None if set("BO") & set(letters) else raw.meta.black_dn,
    )
    own = {"masters": masters, "process": process, "whole": frame, "level_from": level, "equation": equation}
    return Calibrated(source=frame.source, meta=meta, cards=cards, below=raw, **own)


def bring_to_dn(process: ImageCalibration, frame: Frame, masters: Masters) -> tuple[Frame, Masters]:
    """A frame and its masters in DN, whichever numbers their files hold; ParameterError where that is not clear."""
    own = {kind: master for kind in KINDS if (master := getattr(masters, kind)) is not None}
    if all(is_plain(one.meta) for one in (frame, *own.values())):
        return frame, masters
    roles = [in_role(master, kind) for kind, master in own.items()]
    (frame, *made), readings = settle([frame, *roles], process.units, KNOB)
    if not readings:
        return frame, masters
    return frame, masters.with_scaled(dict(zip(own, made, strict=True)))


def masters_for(process: ImageCalibration, frame: Frame, masters: Masters) -> Masters:
    """The masters as they serve this frame; FrameError where they do not go with it."""
    if len(frame.shape) != 2:
        raise FrameError(frame.source, "is a colour image; calibration works on the raw frame of one plane")
    pattern = frame.meta.pattern or ""
    if len(pattern) not in (0, period(pattern) ** 2):
        raise FrameError(frame.source, f"has colour pattern '{pattern}'; 4 letters or 36 are understood")
    frame, masters = bring_to_dn(process, frame, masters)
    window = process.overscan.window(frame)
    wanted = masters.scaled or (process.dark_scaling == "auto" and not fits_unscaled(frame, masters))
    scaled = wanted and frame.meta.kind in ("light", "unknown")
    found = masters.cut_for(frame, window, scaled)
    light = Trimmed.of(frame, window)
    for kind in KINDS:
        if getattr(found, kind) is not None:
            refuse_unlike(light, kind, getattr(found, kind), process.force)
    if scaled and found.dark_holds_bias and found.bias is None:
        words = f"the master {found.dark.source} still holds its bias level, and scaling it would scale the bias"
        raise FrameError(frame.source, f"{words}: add a master bias, or set ImageCalibration.dark_scaling none")
    return found


def fits_unscaled(frame: Frame, masters: Masters) -> bool:
    """Whether the dark has the exposure and temperature of a light, or there is no bias without which to scale it."""
    if masters.dark is None or same_current(frame.meta, masters.dark.meta):
        return True
    return masters.bias is None and masters.dark_holds_bias


def level_from(process: ImageCalibration, frame: Frame, masters: Masters) -> str:
    """What takes a level off the frame before the masters: "overscan", "black", "pedestal", or "" for nothing.

    Raises FrameError when overscan was subtracted from the frame and not from its masters, or the other way.
    """
    overscan = process.overscan
    wanted, done = overscan.applies_to(frame), "O" in frame.meta.calibration
    levels = masters.level_masters
    plain = [m for m in levels if "O" not in m.meta.calibration]
    without = [m for m in levels if "O" in m.meta.calibration]
    if plain and without:
        words = f"{without[0].source} had its overscan subtracted and {plain[0].source} had not"
        raise FrameError(frame.source, f"of its masters, {words}; make both in the same way")
    if plain and (done or (wanted and (overscan.model, overscan.region) != ("auto", None))):
        words = f"its overscan is subtracted, but the master {plain[0].source} was made without"
        raise FrameError(frame.source, f"{words}: make it anew with overscan, or set Overscan.model auto or none")
    if without and not wanted and not done:
        words = f"the master {without[0].source} was made with overscan subtracted, which this frame lacks"
        todo = "set Overscan.region and Overscan.model, or make the master anew with Overscan.model none"
        raise FrameError(frame.source, f"{words}: {todo}")
    if wanted and not plain:
        return "overscan"
    keeps_level = frame.meta.kind in ("bias", "dark", "flatdark") or set("BDO") & set(frame.meta.calibration)
    if process.black_level and any(frame.meta.black_dn or ()) and not levels and not keeps_level:
        return "black"
    return "pedestal" if frame.meta.pedestal_dn else ""


def saturation(process: ImageCalibration, frame: Frame, masters: Masters) -> float | None:
    """`ceiling` of a raw frame and masters as they come."""
    frame, masters = bring_to_dn(process, frame, masters)
    masters = masters_for(process, frame, masters)
    raw = Trimmed.of(frame, process.overscan.window(frame))
    return ceiling(process, raw, masters, level_from(process, frame, masters))


def ceiling(process: ImageCalibration, raw: Frame, masters: Masters, level: str) -> float | None:
    """Where saturated pixels of a trimmed raw frame begin after calibration; None if it is not known."""
    saturation = raw.meta.saturation_dn
    if saturation is None:
        return None
    known = {"black": raw.meta.black_dn, "overscan": UNKNOWN_LEVEL * saturation, "pedestal": raw.meta.pedestal_dn}
    phases = Level.of(known.get(level, 0.0)).phases
    lowest = masters.lowest_saturation(0.98 * saturation, phases) + process.pedestal_dn
    return lowest if isfinite(lowest) else None


def refuse_other_kind(kind: str, master: Frame | None, force: bool) -> None:
    """Raise when a master is a frame of another kind."""
    fits = {"dark": ("dark", "flatdark", "unknown")}.get(kind, (kind, "unknown"))
    if master is not None and master.meta.kind not in fits and not force:
        words = f"says that it is a {master.meta.kind}, and is given as the {kind}"
        raise FrameError(master.source, f"{words}: give the right file, or pass ImageCalibration.force")


ADVICE = {
    "colour pattern": "were they read from the same corner?",
    "binning": "take calibration frames with the same binning",
    "gain": "take {} frames with the same gain, or pass ImageCalibration.force",
    "offset": "take {} frames with the same offset, or pass ImageCalibration.force",
    "unit": "take {} frames of the same unit (BUNIT), or pass ImageCalibration.force",
    "filter": "take flats through the same filter, or pass ImageCalibration.force",
}
"""What to do about a setting that a light and its master do not share."""


def refuse_unlike(light: Frame, kind: str, master: Frame, force: bool) -> None:
    """Raise FrameError, which names both, when a master does not go with a trimmed light."""
    if len(master.shape) != 2:
        words = f"has one plane but the master {master.source} has {master.shape[0]}"
        raise FrameError(light.source, f"{words}; give the mosaic itself")
    if master.shape != light.shape:
        mine, theirs = (f"{frame.shape[-1]} x {frame.shape[-2]}" for frame in (light, master))
        words = f"is {mine} pixels but the master {master.source} is {theirs}"
        raise FrameError(light.source, f"{words}; take calibration frames with the same camera, binning and region")
    names = ["colour pattern", "binning"]
    names += [] if force else ["filter"] if kind == "flat" else ["gain", "offset", "unit"]
    for name, mine, theirs in differences(light.meta, master.meta.with_(data_px=None), names):
        mine, theirs = (f"{value:g}" if name in ("gain", "offset") else value for value in (mine, theirs))
        words = f"has {name} {mine} but the master {master.source} has {theirs}"
        raise FrameError(light.source, f"{words}; {ADVICE[name].format(kind)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated(View):
    """A view of a raw frame, trimmed to its size, through its masters.

    What is found out about the frame is found once, on first use.
    """

    masters: Masters
    process: ImageCalibration
    whole: Frame
    """The raw frame with its overscan."""
    level_from: str = ""
    equation: str = ""
    _made: Once = field(default_factory=lambda: Once(kept=True), repr=False)

    @property
    def dark_scale(self) -> DarkScale | None:
        """The factor of the dark for this frame; None when the dark is not scaled."""
        return self._made("dark_scale", self.find_dark_scale) if self.masters.scaled else None

    @property
    def level(self) -> Level:
        """What is subtracted before the masters, measured in the overscan of this frame or told by its header."""
        return self._made("level", self.find_level)

    def pixels_into(self, out, y0, x0):
        step = max(1, CHUNK_PIXELS // out.shape[1])
        for top in range(0, out.shape[0], step):
            self.fill(out[top : top + step], y0 + top, x0)

    def fill(self, out, y0, x0):
        """Decode and calibrate a box in one pass, rows as they come from the file."""
        box = y0, y0 + out.shape[0], x0, x0 + out.shape[1]
        stored = self.below.stored(*box)
        if stored is None:
            stored = Stored(np.ascontiguousarray(self.below.pixels(*box), np.float32), 0.0, 1.0, False)
        top, left = (0, 0) if self.below is self.whole else (self.below.top, self.below.left)
        lines, level = self.level.box(top + y0, top + box[1], left + x0, left + box[3])
        m = self.masters
        arrays = m.subtract(), m.current(), m.factor()
        subtract, dark, factor = (a[y0 : box[1], x0 : box[3]] if a.size > 1 else a for a in arrays)
        k = self.dark_scale.k if m.scaled else 0.0
        as_read = stored.array, stored.swapped, stored.zero, stored.scale
        kernels.calibrate(*as_read, lines, level, subtract, dark, k, factor, self.process.pedestal_dn, out)

    def noise_by_dark(self) -> float:
        """By what factor the scaled dark changes the noise of a pixel: from 48 rows, of pixels against their like."""
        rows, cols = self.shape[-2:]
        lines = evenly(0, rows - 1, 48)
        with_dark = np.concatenate([self.pixels(int(y), int(y) + 1, 0, cols) for y in lines])
        dark, factor = self.masters.current()[lines], self.masters.factor()
        taken = self.dark_scale.k * dark * (factor[lines] if factor.size > 1 else factor)
        d = 2 * period(self.meta.pattern)
        noise = [madn(x[:, d:-d] - 0.5 * (x[:, : -2 * d] + x[:, 2 * d :])) for x in (with_dark, with_dark + taken)]
        return float(noise[0] / noise[1]) if noise[1] > 0 else 1.0

    def find_level(self) -> Level:
        if self.level_from == "overscan":
            return self.process.overscan.level(self.whole)
        meta = self.whole.meta
        return Level.of({"black": meta.black_dn, "pedestal": meta.pedestal_dn}.get(self.level_from, 0.0))

    def find_dark_scale(self) -> DarkScale:
        p, m = self.process, self.masters
        if p.dark_scale is not None:
            return DarkScale(p.dark_scale, reason="set by hand")
        expected = expected_scale(self.below.meta, m.dark.meta, p.doubling_c)
        if p.dark_scaling == "exposure":
            return by_exposure(expected)
        hot = m.hot_pixels(p.dark_sigma, p.dark_window_px)
        return accept(*fit(hot.dark_dn, lights_excess(self.below, hot), hot.noise_dn), expected)


def keywords(view: Frame) -> list[tuple[str, Any, str]]:
    image = np.asarray(view)
    masters, scale = getattr(view, "masters", Masters()), getattr(view, "dark_scale", None)
    rows = [("CALSTAT", view.meta.calibration or None, "done to the pixels: Overscan Bias Dark Flat")]
    for key, kind in zip(("CALB", "CALD", "CALF"), KINDS, strict=True):
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
        ("CALVER", import_module("masterlight").__version__, "version of masterlight"),
    ]
    rows += noise_rows(image, view.meta.pattern, view.meta.saturation_dn)
    return [row for row in rows if row[1] is not None]


def noise_rows(image: np.ndarray, pattern: str | None, saturation_dn: float | None) -> list[tuple[str, float, str]]:
    """The noise of each colour of a mosaic as header cards: the mean over its places in the pattern; all for mono."""
    p, rows = period(pattern), []
    for i, (letter, at) in enumerate(places(pattern).items()):
        planes = [np.ascontiguousarray(image[y::p, x::p]) for y, x in at]
        noise = float(np.mean([noise_mrs(plane, saturation_dn or np.inf)[0] for plane in planes]))
        rows.append((f"NOISE{i:02d}", noise, f"[DN] noise {letter}".strip()))
    return rows


def auto_pedestal(values, limit: float = 1e-4) -> float:
    """The pedestal in DN that leaves about a fraction `limit` of the pixels negative, for files of whole numbers.

    values: any array, NaN left out. 0 when nothing is negative, else whole DN from 1 to 1000.
    """
    values = np.asarray(values, np.float32)
    values = values[np.isfinite(values)]
    low = values[values < 2 * np.finfo(np.float32).eps * 65535]
    n = max(1, int(limit * values.size))
    if low.size < n or not np.any(low < 0):
        return 0.0
    return float(min(MOST_PEDESTAL_DN, max(1.0, np.round(abs(np.partition(low, n - 1)[n - 1])))))
