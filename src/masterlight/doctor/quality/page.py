"""What is told of a master: the figures, as values for JSON, as one line, and as a page in plain words."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from masterlight.core.units.figures import figure
from masterlight.doctor.quality.sensor import frames_needed

NAMES = {"bias": "master bias", "dark": "master dark", "flat": "master flat", "flatdark": "master flat-dark"}

FEW = 10
"""From so many frames on, pixels can tell their own sigma."""
Lines = Iterator[tuple[str, str]]
"""Lines of the page: what they are about, in one word or two, and a sentence."""


@dataclass(frozen=True)
class ColourReport:
    """One colour of a master in DN; None where a figure cannot be told."""

    mean_dn: float
    median_dn: float
    average_deviation_dn: float
    """Mean distance from the median."""
    madn_dn: float
    """1.4826 times the median distance from the median."""
    biweight_dn: float
    """Square root of the biweight midvariance."""
    sn_dn: float
    qn_dn: float
    minimum_dn: float
    minimum_xy: tuple[int, int]
    maximum_dn: float
    maximum_xy: tuple[int, int]
    zero_fraction: float
    negative_fraction: float
    saturated_fraction: float | None
    missing_fraction: float
    noise_mrs_dn: float
    """Of the master, structures left out; the fixed pattern of single pixels is in it."""
    single_noise_mrs_dn: float
    """The same of one input."""
    single_noise_dn: float | None
    """What changes from one input to the next."""
    noise_dn: float | None
    """What would change from this master to the next one made like it."""
    noise_method: str | None
    efficiency: float | None
    """Noise of one input over that of the master and the root of the number of frames: 1 is all that can be had."""
    snr: float | None
    """Level over noise of one pixel of the master, less the bias if that is known and still there: for flats."""
    row_profile_dn: float
    """How much rows differ from their neighbours, rms, less what noise makes them differ."""
    column_profile_dn: float
    zones_dn: tuple[tuple[float, ...], ...]
    """Medians of 8 x 8 zones: gradients, vignetting, amplifier glow."""
    gain_e_per_dn: float | None
    gain_method: str | None
    read_noise_dn: float | None
    read_noise_e: float | None
    dark_current_e_s: float | None
    dark_current_by_variance_e_s: float | None
    electrons: dict[str, float]
    """Mean, median, noise of one input and noise of the master in electrons, where the gain is known."""


@dataclass(frozen=True)
class Drift:
    """How the level moved from frame to frame."""

    levels_dn: tuple[float, ...]
    temperatures_c: tuple[float | None, ...]
    peak_to_peak_dn: float
    rms_dn: float
    per_degree_dn: float | None
    """Slope against the temperature of the sensor; None when that is not known or hardly changed."""


@dataclass(frozen=True)
class MasterReport:
    """What a master is worth, measured on its pixels and on the frames that it was made of."""

    kind: str
    source: str
    frames: int
    shape: tuple[int, ...]
    exposure_s: float | None
    colours: dict[str, ColourReport]
    drift: Drift | None
    hot_pixels: int | None
    """Of darks; told from a part of large ones."""
    hot_limit_dn: float | None
    """How far above its surroundings a pixel must be to be called hot; None without any."""
    rejected_low_fraction: float | None
    rejected_high_fraction: float | None
    rejected: tuple[dict[str, Any], ...]
    """For each frame and plane: source, plane, low, high, as fractions of its samples."""
    inputs: tuple[dict[str, Any], ...]
    """Source and content hash of each frame."""
    equation: str
    notes: tuple[str, ...]

    @property
    def noise_dn(self) -> float | None:
        """What would change from this master to the next one made like it, the mean of its colours."""
        known = [c.noise_dn for c in self.colours.values() if c.noise_dn]
        return sum(known) / len(known) if known else None

    @property
    def title(self) -> str:
        return f"{NAMES.get(self.kind, self.kind)} of {self.frames} frame{'' if self.frames == 1 else 's'}"

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON; what is not a number becomes None."""
        told: dict[str, Any] = plain(dataclasses.asdict(self))
        return told

    def sentence(self) -> str:
        """The report in one line, for the process console."""
        told = [self.title]
        for name, c in self.colours.items():
            words = [f"{figure(c.median_dn)} DN"]
            words += [f"noise {figure(c.noise_dn, 2)} DN"] if c.noise_dn else []
            words += [f"S/N {c.snr:.0f}"] if c.snr and self.kind == "flat" else []
            words += [f"read noise {c.read_noise_e:.1f} e-"] if c.read_noise_e else []
            words += [f"dark current {c.dark_current_e_s:.3g} e-/s"] if c.dark_current_e_s is not None else []
            told.append(("" if name == "mono" else f"{name} ") + ", ".join(words))
        told += [f"{self.hot_pixels} hot pixels"] if self.hot_pixels is not None else []
        return "; ".join(told)

    def text(self) -> str:
        """The report on one page, in plain words."""
        exposures = f", exposures of {self.exposure_s:g} s" if self.exposure_s else ""
        size = f"{self.shape[-1]} x {self.shape[-2]} pixels{exposures}"
        lines = [f"{self.title.capitalize()}: {self.source}", size, *([self.equation] if self.equation else [])]
        for name, colour in self.colours.items():
            lines += ["", *([] if name == "mono" else [f"Colour {name}"])]
            lines += map(row, colour_lines(colour, self.kind, self.frames))
        return "\n".join([*lines, "", *map(row, self.set_lines())]) + "\n"

    def set_lines(self) -> Lines:
        """The lines of the page that are about the frames together."""
        if self.hot_pixels is not None:
            limit = f", {figure(self.hot_limit_dn)} DN or more above their surroundings" if self.hot_limit_dn else ""
            yield "hot pixels", f"{self.hot_pixels}{limit}"
        if self.frames < FEW:
            yield "rejection", few_frames(self.frames)
        if self.rejected:
            low, high = percent(self.rejected_low_fraction), percent(self.rejected_high_fraction)
            yield "left out", f"{low} of the samples as too faint, {high} as too bright"
        if self.drift:
            slope = self.drift.per_degree_dn
            heat = f"; {figure(slope, 2, sign=True)} DN for each degree of the sensor" if slope is not None else ""
            yield "level", f"{figure(self.drift.peak_to_peak_dn, 2)} DN between the lowest and the highest frame{heat}"
        yield from (("note", note) for note in self.notes)


def plain(value: Any) -> Any:
    """Nested values with numpy numbers as Python's, and None for what is not finite: JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def row(line: tuple[str, str]) -> str:
    """One line of the page."""
    return f"{line[0]:<16}{line[1]}"


def few_frames(n: int) -> str:
    """What rejection can do with so few frames, in words.

    Among n samples one outlier of any size lies (n - 1) / sqrt(n) of their standard deviations from their mean at most
    (Shiffler 1988), so that clipping by a pixel's own sigma is blind.
    """
    if n < 3:
        return "nothing can be rejected: nobody can tell which of two frames is wrong; take more"
    limit = (n - 1) / math.sqrt(n)
    return f"by the noise of all frames: a wrong sample is at most {limit:.1f} of its pixel's own sigma off"


def percent(fraction: float) -> str:
    """A fraction in words: 0.0012 as 0.12 %."""
    if 0 < fraction < 1e-5:
        return "under 0.001 %"
    return f"{100 * fraction:.2g} %" if fraction < 0.1 else f"{100 * fraction:.0f} %"


def colour_lines(c: ColourReport, kind: str, frames: int) -> Lines:
    """The lines of the page that are about one colour."""
    yield "level", f"{figure(c.median_dn, 2)} DN{in_electrons(c, 'median')} (median), {figure(c.mean_dn, 2)} DN (mean)"
    yield "range", f"{figure(c.minimum_dn)} DN at {c.minimum_xy} to {figure(c.maximum_dn)} DN at {c.maximum_xy} (x, y)"
    others = f"MAD {figure(c.madn_dn, 2)}, Qn {figure(c.qn_dn, 2)}"
    yield "spread", f"{figure(c.sn_dn, 2)} DN from pixel to pixel (Sn; {others})"
    yield from noise_lines(c, kind, frames)
    yield "lines", f"rows differ by {figure(c.row_profile_dn, 2)} DN, columns by {figure(c.column_profile_dn, 2)} DN"
    zones = [z for line in c.zones_dn for z in line if math.isfinite(z)]
    if zones:
        yield "zones", f"medians of 8 x 8 zones from {figure(min(zones), 2)} to {figure(max(zones), 2)} DN"
    yield from sensor_lines(c)
    parts = {"0": c.zero_fraction, "below 0": c.negative_fraction, "missing": c.missing_fraction}
    parts["saturated"] = c.saturated_fraction or 0.0
    if any(parts.values()):
        yield "pixels", ", ".join(f"{percent(part)} {word}" for word, part in parts.items() if part)


def in_electrons(c: ColourReport, name: str) -> str:
    return f" = {c.electrons[name]:.1f} e-" if name in c.electrons else ""


def noise_lines(c: ColourReport, kind: str, frames: int) -> Lines:
    """What the page says about the noise of one colour."""
    if c.single_noise_dn is None:
        yield "noise", f"{figure(c.single_noise_mrs_dn, 2)} DN; with one frame nobody can tell how much of it stays"
        return
    yield "one frame", f"noise {figure(c.single_noise_dn, 2)} DN{in_electrons(c, 'single_noise')}"
    if c.noise_dn:
        done = f": {frames} frames did {100 * min(1.0, c.efficiency):.0f} % of what they can" if c.efficiency else ""
        yield "this master", f"noise {figure(c.noise_dn, 2)} DN ({c.noise_method}){done}"
    if c.snr and kind == "flat":
        yield "signal/noise", f"{c.snr:.0f} for one pixel{'' if c.snr >= 1000 else '; 1000 is a good flat'}"
    if c.single_noise_dn and c.noise_dn and kind != "flat":
        adds = math.hypot(1, c.noise_dn / c.single_noise_dn) - 1
        more = "" if adds <= 0.02 else f"; {frames_needed(0.02)} frames: 2 %"
        yield "enough?", f"makes a light of that noise {percent(adds)} noisier{more}"


def sensor_lines(c: ColourReport) -> Lines:
    """What the page says about the sensor, as one colour shows it."""
    if c.gain_e_per_dn:
        yield "gain", f"{c.gain_e_per_dn:.3f} e-/DN ({c.gain_method})"
    if c.read_noise_dn is not None:
        electrons = f" = {c.read_noise_e:.2f} e-" if c.read_noise_e else ""
        yield "read noise", f"{figure(c.read_noise_dn, 2)} DN{electrons}"
    if c.dark_current_e_s is not None:
        by_noise = c.dark_current_by_variance_e_s
        more = f", {by_noise:.4f} e-/s by noise" if by_noise is not None else ""
        yield "dark current", f"{c.dark_current_e_s:.4f} e-/s by level{more}"
