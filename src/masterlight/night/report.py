"""What a run tells: the rows of report.json as typed records, and sentences about them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masterlight.core.frame import Meta
from masterlight.core.statistics.noise import noise_mrs
from masterlight.core.units.figures import figure
from masterlight.doctor.findings import Finding
from masterlight.integration.depth import depth_of
from masterlight.integration.stack import FrameRow, Stack
from masterlight.io import atomic
from masterlight.night.lights.light import Light
from masterlight.session.plan import Plan
from masterlight.session.words import how_many
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.measurement import Measurement

SHARES = {
    "rejected_low": "rejected_low_fraction",
    "rejected_high": "rejected_high_fraction",
    "rejected_large": "large_scale_fraction",
}
"""Columns for what was rejected of the samples, and what a stack's rows call them."""


@dataclass(frozen=True, kw_only=True)
class MasterRow:
    """A master or a master light that was made: None in columns that do not apply to it."""

    path: str
    preview: str
    """Its picture, stretched; '' where there was no room for one."""
    kind: str
    filter: str | None
    object: str | None = None
    frames_used: int
    noise: float | None
    """Noise of a pixel, DN."""
    fwhm_px: float | None = None
    eccentricity: float | None = None
    stars: int | None = None
    rejected_low: float | None = None
    """Fraction of the samples that were rejected as too low, mean of the frames."""
    rejected_high: float | None = None
    rejected_large: float | None = None
    """Fraction of the samples that were rejected for the larger structures they belong to."""
    trails: tuple[str, ...] = ()
    effective_frames: float | None = None
    """As many equal frames would give the same noise."""
    noise_before: float | None = None
    """Noise of the sky of the reference as it came to integration, DN."""
    noise_measured: float | None = None
    """Noise of the sky of the result, DN."""
    noise_claimed: float | None = None
    """The same as the result's variance has it, DN."""
    claimed_over_measured: float | None = None
    snr_increment: float | None = None
    """Factor by which signal to noise has grown over the reference's."""
    snr_increment_ideal: float | None = None
    weighed: str = ""
    """What the weights are worth beside those of least noise: in depth, for point sources, and for the stars' width."""
    reference: str | None = None
    """The light whose level, scale and grid the result has."""
    quality: dict[str, Any] | None = None
    """What a master of calibration frames is worth."""
    reused: bool = False
    """Made by an earlier run."""

    @classmethod
    def of(cls, kind: str, filter: str | None, path: Path, stack: Stack, **more: Any) -> "MasterRow":
        """What there is to tell of an integrated frame that was written to `path`."""
        used = [frame for frame in stack.frames if frame.weight > 0]
        trails = tuple(f"{Path(source).name}: {trail}" for source, trail in stack.satellites)
        noises = [noise_mrs(plane)[0] for plane in stack.image.reshape(-1, *stack.image.shape[-2:])]
        noise = float(np.sqrt(np.sum(np.square(noises)))) / len(noises)  # of the mean of the planes
        told = {"frames_used": stack.n, "noise": noise, "effective_frames": stack.effective_frames}
        told |= {column: float(np.mean([getattr(frame, name) for frame in used])) for column, name in SHARES.items()}
        told |= depth_of(stack) if stack.variance is not None else {}
        told["weighed"] = str(stack.worth) if stack.worth and stack.worth.differs else ""
        picture = path.with_suffix(".png")
        return cls(
            path=str(path),
            preview=str(picture) if picture.exists() else "",
            kind=kind,
            filter=filter,
            trails=trails,
            **told,
            **more,
        )

    def sentence(self) -> str:
        """This frame as a line of the process console."""
        words = [how_many(self.frames_used, "frame")]
        if self.noise_before and np.isfinite(self.noise_before) and np.isfinite(self.noise_measured):
            words.append(f"noise {self.noise_before:.3g} -> {self.noise_measured:.3g} DN")
            words.append(gain_words(self.snr_increment, self.snr_increment_ideal))
            words.append(f"as deep as {self.effective_frames:.1f} equal frames")
            words.append(f"claimed / measured noise {self.claimed_over_measured:.3f}")
        elif self.noise:
            words.append(f"noise {figure(self.noise, 3)} DN")
        if self.fwhm_px:
            words.append(f"FWHM {self.fwhm_px:.2f} px")
        if self.weighed:
            words.append(f"beside weights noise {self.weighed}")
        if self.rejected_high is not None:
            words.append(rejection_words(self.rejected_low, self.rejected_high))
        if self.rejected_large:
            trails = f", {how_many(len(self.trails), 'trail')} among them" if self.trails else ""
            words.append(f"{100 * self.rejected_large:.3f} % in larger structures{trails}")
        return f"{Path(self.path).name}: " + ", ".join(words)


def gain_words(increment: float, ideal: float) -> str:
    """By how much signal to noise has grown, beside the best that frames could give, in words.

    The one is measured on the result, the other follows from what was measured of its frames: each is right to a
    percent or two, so that what is as good as can be may seem better.
    """
    reached = round(increment, 2) >= round(ideal, 2)
    return f"signal to noise x {increment:.2f} ({'as good as can be' if reached else f'at best {ideal:.2f}'})"


@dataclass(frozen=True, kw_only=True)
class FrameReport:
    """A file that was looked at, whatever became of it: None in columns that it did not reach."""

    path: str
    status: Literal["used", "rejected"] = "rejected"
    stage: str | None = None
    """Where it was rejected."""
    reason: str = ""
    kind: str | None = None
    filter: str | None = None
    object: str | None = None
    fwhm_px: float | None = None
    eccentricity: float | None = None
    noise: float | None = None
    """Noise of the sky, DN."""
    stars: int | None = None
    background: float | None = None
    """Level of the sky, DN."""
    saturated_fraction: float | None = None
    rms_px: float | None = None
    """How well its stars fit on those of the reference."""
    background_rgb: tuple[float, ...] | None = None
    noise_rgb: tuple[float, ...] | None = None
    dark_scale: float | None = None
    """Factor of the dark that was fitted to it, and the error of that."""
    dark_scale_error: float | None = None
    matched: int | None = None
    """Stars that it shares with the reference."""
    dx_px: float | None = None
    dy_px: float | None = None
    rotation_deg: float | None = None
    mirrored: bool | None = None
    flux_ratio: float | None = None
    matrix: tuple[float, ...] | None = None
    """From this frame to the reference, 3 x 3 row by row."""
    weight: float | None = None
    scale: float | None = None
    offset: float | None = None
    rejected_low: float | None = None
    rejected_high: float | None = None
    rejected_large: float | None = None

    @classmethod
    def of(cls, light: Light, plan: Plan) -> "FrameReport":
        """What there is to tell of a light, as far as it came."""
        m, t = light.measurement, light.transform
        told = {name: getattr(m, name) for name in ("fwhm_px", "eccentricity", "stars", "saturated_fraction")}
        told |= {"noise": m.noise_dn, "background": m.location_dn}
        if len(light.channels) > 1:
            told["background_rgb"] = tuple(c.location_dn for c in light.channels)
            told["noise_rgb"] = tuple(c.noise_dn for c in light.channels)
        if light.dark_scale:
            told |= {"dark_scale": light.dark_scale.k, "dark_scale_error": light.dark_scale.sigma}
        if t is not None:
            names = ("rms_px", "matched", "rotation_deg", "mirrored", "flux_ratio")
            told |= {name: getattr(t, name) for name in names}
            told["dx_px"], told["dy_px"] = t.shift_px(light.view.shape)
            told["matrix"] = tuple(np.asarray(t.matrix).ravel().tolist())
        job = plan.lights[light.job]
        return cls(path=light.source, kind="light", filter=job.filter, object=job.object, **told)

    def with_part(self, part: FrameRow) -> "FrameReport":
        """The same with what the frame gave to the result."""
        shares = {column: getattr(part, name) for column, name in SHARES.items()}
        return replace(self, status="used", weight=part.weight, scale=part.scale, offset=part.offset, **shares)

    def sentence(self) -> str:
        """Its part in the result as a line of the process console."""
        return (
            f"{Path(self.path).name}: weight {self.weight:.3f}, scale {self.scale:.4f}, "
            f"shift {self.dx_px:+.2f} {self.dy_px:+.2f} px, rotation {self.rotation_deg:+.3f} deg, "
            f"rms {self.rms_px:.3f} px, {rejection_words(self.rejected_low, self.rejected_high, self.rejected_large)}"
        )


COLUMNS = tuple(column.name for column in fields(FrameReport))
"""What report.json tells of each frame."""


@dataclass
class Report:
    """The rows of one run; `frames` has one for every file that was looked at, whatever became of it."""

    masters: list[MasterRow] = field(default_factory=list)
    frames: list[FrameReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """What the doctor found."""
    timing: dict[str, float] = field(default_factory=dict)
    """Seconds by stage."""
    notes: list[str] = field(default_factory=list)
    recipe: dict[str, Any] = field(default_factory=dict)
    """The recipe as plain values."""
    version: str = ""
    mlkey: str = ""
    """What the run was made of, frames and knobs."""
    name: str = "report.json"
    """What the file is called, which holds all but this name and the next field."""
    unwritten: list[str] = field(default_factory=list)
    """Sentences about reports that could not be written."""

    @property
    def rejected(self) -> list[FrameReport]:
        return [row for row in self.frames if row.status == "rejected"]

    @property
    def lights(self) -> list[MasterRow]:
        """The rows of integrated lights among the masters: what the whole run is for."""
        return [row for row in self.masters if row.kind == "light"]

    @property
    def exit_status(self) -> int:
        """0 when all is done, 1 when frames were rejected or a report not written, 2 when there is no result."""
        return 2 if not self.lights else 1 if self.rejected or self.unwritten else 0

    def write(self, path: Path) -> None:
        """Write report.json whole: or not at all."""
        values = {"mlkey": self.mlkey} | vars(self) | {"findings": [finding.as_dict() for finding in self.findings]}
        del values["unwritten"], values["name"]
        with atomic(path) as file:
            file.write(json.dumps(finite(values), indent=1, default=str).encode())


def subframes_of(rows: Sequence[FrameReport], metas: Mapping[str, Meta]) -> Subframes:
    """The lights among the rows of a report as a table to look at, with what their headers say by their paths."""
    frames = []
    for row in rows:
        if row.kind != "light" and row.path not in metas:
            continue
        meta = replace(metas.get(row.path, Meta()), object=row.object, filter=row.filter)
        told = {name: getattr(row, name) for name in ("fwhm_px", "eccentricity", "stars", "saturated_fraction")}
        known = row.background is not None and row.noise is not None
        m = Measurement(row.path, row.background, (row.noise, row.noise), row.noise, **told) if known else None
        said = (row.reason,) if row.reason else ()
        frames.append(Subframe(row.path, meta, m, approved=row.status == "used", weight=row.weight, reasons=said))
    return Subframes(tuple(sorted(frames, key=lambda frame: (frame.time, frame.source))))


def finite(value: Any) -> Any:
    """The value as JSON can hold it: NaN and infinity, which it has no word for, become null; numbers keep 7 digits."""
    if isinstance(value, (MasterRow, FrameReport)):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def by_frame(stack: Stack) -> Iterator[FrameRow]:
    """What each frame gave to a stack, the mean of its planes."""
    planes = max(row.plane for row in stack.frames) + 1
    count = len(stack.frames) // planes
    numbers = [name for name, value in vars(stack.frames[0]).items() if isinstance(value, float)]
    for i in range(count):
        rows = stack.frames[i::count]
        yield replace(rows[0], **{name: sum(getattr(row, name) for row in rows) / planes for name in numbers})


def rejection_words(low: float, high: float, large: float = 0.0) -> str:
    """What was rejected of a frame, fractions, in words."""
    words = f"rejected {100 * low:.3f} % low, {100 * high:.3f} % high"
    return words + (f", {100 * large:.3f} % more in larger structures" if large else "")


def measured_words(rows: Sequence[Measurement]) -> str:
    """What was measured on the lights of one filter, in one line; empty without lights."""
    if not rows:
        return ""
    widths = [row.fwhm_px for row in rows]
    figures = (
        f"FWHM {span(widths, 2)} px" + (f" (median {float(np.median(widths)):.2f})" if len(rows) > 1 else ""),
        f"eccentricity {span([row.eccentricity for row in rows], 2)}",
        f"noise {span([row.noise_dn for row in rows], 2)} DN",
        f"{span([row.stars for row in rows], 0)} stars",
    )
    return f"{how_many(len(rows), 'light')}: {', '.join(figures)}"


def parts_words(rows: Sequence[FrameReport]) -> str:
    """What the lights of one filter gave to the result, in one line; empty for fewer than two."""
    if len(rows) < 2:  # the line of the master tells the same
        return ""
    least = min(rows, key=lambda row: row.weight or 0.0)
    most = max(rows, key=lambda row: (row.rejected_low or 0.0) + (row.rejected_high or 0.0))
    lost = 100 * ((most.rejected_low or 0.0) + (most.rejected_high or 0.0))
    shifts = [float(np.hypot(row.dx_px or 0.0, row.dy_px or 0.0)) for row in rows]
    figures = (
        f"weights {span([row.weight or 0.0 for row in rows], 3)} (least: {Path(least.path).name})",
        f"shifts up to {max(shifts):.1f} px",
        f"rejected up to {lost:.1f} % ({Path(most.path).name})",
    )
    return f"{how_many(len(rows), 'light')}: {', '.join(figures)}"


def span(values: Sequence[float], digits: int) -> str:
    """From the least to the most of some figures: `2.57 to 4.04`."""
    low, high = (figure(edge, digits) for edge in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
