"""What a run tells: the rows of report.json, and the table at the end."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from masterlight.core.errors import Rejected
from masterlight.integration.stack import FrameRow, Stack
from masterlight.io import atomic

COLUMNS = tuple(
    "path status reason kind filter object fwhm_px eccentricity noise stars background saturated_fraction rms_px "
    "background_rgb noise_rgb dark_scale dark_scale_error "
    "matched dx_px dy_px rotation_deg mirrored flux_ratio matrix weight scale offset rejected_low "
    "rejected_high rejected_large".split()
)
"""What report.json tells of each frame."""


@dataclass
class Report:
    """The rows of one run; `frames` has one for every file that was looked at, whatever became of it."""

    masters: list[dict] = field(default_factory=list)
    frames: list[dict] = field(default_factory=list)
    timing: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[dict] = field(default_factory=list)
    """What the doctor found, as plain values."""
    recipe: dict = field(default_factory=dict)
    version: str = ""

    def reject(self, rejected: Rejected, **row: Any) -> None:
        """Keep a frame that failed, with every column that a used frame has, null where it did not come so far."""
        told = {"path": rejected.source, "status": "rejected", "stage": rejected.stage, "reason": rejected.reason}
        self.frames.append(dict.fromkeys(COLUMNS) | row | told)

    @property
    def rejected(self) -> list[dict]:
        return [row for row in self.frames if row["status"] == "rejected"]

    @property
    def lights(self) -> list[dict]:
        """The rows of integrated lights among the masters: what the whole run is for."""
        return [row for row in self.masters if row["kind"] == "light"]

    @property
    def exit_status(self) -> int:
        """0 when all is done, 1 when some frames were rejected on the way, 2 when there is no result."""
        return 2 if not self.lights else 1 if self.rejected else 0

    def write(self, path: Path) -> None:
        """Write report.json whole: or not at all."""
        order = ("masters", "frames", "findings", "timing", "notes", "recipe", "version")
        text = json.dumps({name: finite(getattr(self, name)) for name in order}, indent=1, default=str)
        with atomic(path) as file:
            file.write(text.encode())


def finite(value: Any) -> Any:
    """The value as JSON can hold it: NaN and infinity, which it has no word for, become null; numbers keep 7 digits."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def sentence(row: Mapping[str, Any]) -> str:
    """One integrated frame as a line of the process console."""
    words = [f"{row['frames_used']} frames"]
    if row.get("noise_before") and np.isfinite(row["noise_before"]) and np.isfinite(row["noise_measured"]):
        words.append(f"noise {row['noise_before']:.3g} -> {row['noise_measured']:.3g} DN")
        words.append(f"signal to noise x {row['snr_increment']:.2f} (at best {row['snr_increment_ideal']:.2f})")
        words.append(f"as deep as {row['effective_frames']:.1f} equal frames")
        words.append(f"claimed / measured noise {row['claimed_over_measured']:.3f}")
    elif row.get("noise"):
        words.append(f"noise {row['noise']:.3f} DN")
    if row.get("fwhm_px"):
        words.append(f"FWHM {row['fwhm_px']:.2f} px")
    if row.get("rejected_high") is not None:
        words.append(f"rejected {100 * row['rejected_low']:.3f} % low, {100 * row['rejected_high']:.3f} % high")
    if row.get("rejected_large"):
        words.append(f"{100 * row['rejected_large']:.3f} % in larger structures, {len(row['trails'])} of them trails")
    return f"{Path(row['path']).name}: " + ", ".join(words)


def by_frame(stack: Stack) -> Iterator[FrameRow]:
    """What each frame gave to a stack, the mean of its planes."""
    planes = max(row.plane for row in stack.frames) + 1
    count = len(stack.frames) // planes
    numbers = [name for name, value in vars(stack.frames[0]).items() if isinstance(value, float)]
    for i in range(count):
        rows = stack.frames[i::count]
        yield replace(rows[0], **{name: sum(getattr(row, name) for row in rows) / planes for name in numbers})


def measured_row(light) -> dict:
    """The report's row of a light, as far as it came."""
    m, t = light.measurement, light.transform
    row = {"path": light.source, "kind": "light", "filter": light.job.filter, "object": light.job.object}
    row |= {"fwhm_px": m.fwhm_px, "eccentricity": m.eccentricity, "noise": m.noise_dn, "stars": m.stars}
    row |= {"background": m.location_dn, "saturated_fraction": m.saturated_fraction}
    row |= dict.fromkeys(("background_rgb", "noise_rgb", "dark_scale", "dark_scale_error"))
    scale = getattr(light.calibrated, "dark_scale", None)
    if scale is not None:
        row |= {"dark_scale": scale.k, "dark_scale_error": scale.sigma}
    if len(light.channels) > 1:
        row |= {"background_rgb": [c.location_dn for c in light.channels]}
        row |= {"noise_rgb": [c.noise_dn for c in light.channels]}
    if t is not None:
        row |= {
            "rms_px": t.rms_px,
            "matched": t.matched,
            "dx_px": t.dx_px,
            "dy_px": t.dy_px,
            "rotation_deg": t.rotation_deg,
        }
        row |= {"mirrored": t.mirrored, "flux_ratio": t.flux_ratio, "matrix": np.asarray(t.matrix).ravel().tolist()}
    return row


def contribution(used) -> dict:
    return {"weight": used.weight, "scale": used.scale, "offset": used.offset} | {
        "rejected_low": used.rejected_low_fraction,
        "rejected_high": used.rejected_high_fraction,
        "rejected_large": used.large_scale_fraction,
    }


def told(light, used) -> str:
    """One light's part in the result as a line of the process console."""
    t = light.transform
    return (
        f"{Path(light.source).name}: weight {used.weight:.3f}, scale {used.scale:.4f}, "
        f"shift {t.dx_px:+.2f} {t.dy_px:+.2f} px, "
        f"rotation {t.rotation_deg:+.3f} deg, rms {t.rms_px:.3f} px, {lost(used)}"
    )


def lost(used: FrameRow) -> str:
    """What was rejected of a frame, in words."""
    words = f"rejected {100 * used.rejected_low_fraction:.3f} % low, {100 * used.rejected_high_fraction:.3f} % high"
    return words + (
        f", {100 * used.large_scale_fraction:.3f} % more in larger structures" if used.large_scale_fraction else ""
    )
