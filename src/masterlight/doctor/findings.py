"""`Finding`: one thing that is wrong with a night's calibration, in a photographer's words."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Severity = Literal["info", "warn", "error"]
SEVERITIES = ("error", "warn", "info")
"""From the gravest on: an error stops a run, a warning is told, an info is good to know."""
WORDS = {"error": "error", "warn": "warning", "info": "good to know"}

TITLES = {
    "D01": "Dark hardly above the bias", "D02": "Negative pixels after calibration",
    "D03": "Read-noise limited lights", "D04": "Flat exposed too little or too much", "D05": "Flat clipped",
    "D06": "Flat or light with its bias level", "D07": "Flat-darks of another exposure",
    "D08": "Dark of another exposure", "D09": "Sensor temperature", "D10": "Offset, gain or read-out mode differ",
    "D11": "Amplifier glow", "D12": "Light leak in the darks", "D13": "Dark scaling without evidence",
    "D14": "Vignetting left after the flat", "D15": "Dust not where the flat has it", "D16": "Few calibration frames",
    "D17": "Colour pattern", "D18": "Shutter pattern in short flats", "D19": "Flat illumination changes",
    "D20": "A frame unlike the others", "D21": "The same frame twice", "D22": "Calibrated already",
    "D23": "Saturation varies over the frame", "D24": "Coarse steps of the converter", "D25": "Banding that changes",
    "D26": "Numbers on different scales", "D27": "Pixels cut off at zero",
    "D28": "Flats change at places", "D29": "Hot pixels in the flat",
    "D30": "Every star twice",
    "H01": "Frame of another kind than its header says", "H02": "Gain of the header",
}  # fmt: skip
"""What each finding is called."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing that is wrong, or good to know: which frames, the figure measured, its threshold, what to do."""

    id: str
    """D01 to D30; H01 and H02 are lies of headers."""
    severity: Severity
    title: str
    sources: tuple[str, ...]
    """The frames concerned, as paths."""
    figure: float | None
    """What was measured."""
    threshold: float | None
    """What it was compared with."""
    unit: str
    sentence: str
    """What is wrong, how much, and what to do."""
    picture: "np.ndarray | None" = None
    """A crop or a plot, uint8 (rows, cols) or (3, rows, cols)."""
    out: bool = False
    """Whether a run leaves these frames out, so that they do no harm."""
    lights: tuple[str, ...] = ()
    """The lights that it spoils, as paths; () where these are among the frames concerned, or all that use those."""

    def as_dict(self) -> dict[str, Any]:
        """The finding without its picture, as JSON can hold it."""
        words = {name: getattr(self, name) for name in ("id", "severity", "title", "unit", "sentence")}
        return words | {"figure": plain(self.figure), "threshold": plain(self.threshold), "sources": list(self.sources)}


def plain(value) -> float | None:
    """A number of any kind as a finite float of 7 digits; None for what is not one."""
    return float(f"{value:.7g}") if value is not None and math.isfinite(value) else None


def finding(
    id: str, severity: Severity, sources: Iterable[Any], figure, threshold, unit, sentence: str, picture=None, title="",
    **more: Any,
) -> Finding:  # fmt: skip
    """A `Finding`, mostly with the title of its id; sources: paths, frames or looks; sentence: of any lines."""
    names, words = tuple(map(source_of, sources)), re.sub(r"\n *", " ", sentence)
    told = plain(figure), plain(threshold), unit, words, picture
    return Finding(id, severity, title or TITLES[id], names, *told, **more)


def spoiling(findings: Iterable[Finding], lights: Iterable[Any]) -> list[Finding]:
    """The same findings, as of all these lights."""
    names = tuple(map(source_of, lights))
    return [replace(one, lights=names) for one in findings]


def by_gravity(findings: Iterable[Finding]) -> list[Finding]:
    """Findings from the gravest on, then by id and frames."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.id, f.sources))


def summary(findings: Sequence[Finding]) -> str:
    """How many findings of which severity, as a sentence."""
    counts = {name: sum(f.severity == name for f in findings) for name in SEVERITIES}
    plural = {name: "s" if n > 1 and name != "info" else "" for name, n in counts.items()}
    told = ", ".join(f"{n} {WORDS[name]}{plural[name]}" for name, n in counts.items() if n)
    return f"the doctor finds {told}" if told else "the doctor finds nothing wrong"


def source_of(one: Any) -> str:
    """The path of a frame, of a look at one, or of what is a path already."""
    return str(getattr(one, "source", one))


def some(sources: Sequence[Any], most: int = 3) -> str:
    """File names in a sentence: `a.fits, b.fits, c.fits and 4 more`."""
    paths = [Path(source_of(one)) for one in sources]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):  # of one name in two folders
        names = ["/".join(path.parts[-2:]) for path in paths]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
