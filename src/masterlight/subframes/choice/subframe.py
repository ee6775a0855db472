"""`Subframe`: one measured frame and what was decided about it; `Units`, in which its figures are shown.

What is measured stays in px and DN in `Measurement`; arcseconds, electrons and parts of full scale are a view.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from masterlight.core.frame import Meta
from masterlight.core.headers.values import as_number
from masterlight.subframes.measurement import Measurement, StarList

Width = Literal["arcsec", "px"]
Level = Literal["dn", "e-", "normalized"]
ARCSEC_PER_UM_MM = 206.26480624709636
"""Arcseconds that a pixel of 1 um sees behind 1 mm of focal length."""
WORDS = {"dn": "DN", "normalized": ""}
"""Units as heads of columns have them, where they are called otherwise."""


@dataclass(frozen=True)
class Units:
    """In which units a table shows widths and levels, and what it knows for that.

    scale_arcsec and gain_e are those that all frames share, None where they differ or nobody knows them: each
    `Subframe` has its own. scale_from, gain_from say who told: "header", "by hand" or "" for nobody.
    """

    width: Width = "px"
    data: Level = "dn"
    scale_arcsec: float | None = None
    gain_e: float | None = None
    scale_from: str = ""
    gain_from: str = ""
    notes: tuple[str, ...] = ()
    """Why widths stay in px, or levels in DN, as sentences."""

    def name(self, kind: str) -> str:
        """The unit of a kind of property: arcsec or px of a "width", DN or e- of a "level"; others are units."""
        name = {"width": self.width, "level": self.data}.get(kind, kind)
        return WORDS.get(name, name)

    def factor(self, kind: str, frame: "Subframe") -> float:
        """By what px or DN of a frame are multiplied to be in these units; NaN where the frame does not tell."""
        if kind == "width" and self.width == "arcsec":
            return float("nan") if frame.scale_arcsec is None else frame.scale_arcsec
        if kind == "level" and self.data == "e-":
            return float("nan") if frame.gain_e is None else frame.gain_e
        return 1 / frame.full_dn if kind == "level" and self.data == "normalized" else 1.0


Severity = Literal["note", "warn", "reject"]
"""What is good to know; what should be looked at; what spoils a frame."""


class Flag(NamedTuple):
    """One thing that is odd about a frame's health, by a short code such as CLOUD, TRAIL or FOCUS."""

    code: str
    metric: str
    """What was measured: the name of a property, or words."""
    value: float
    limit: float
    """What it was compared with."""
    severity: Severity
    words: str
    """What was seen, for a photographer, with its figure."""

    def __str__(self) -> str:
        return self.code


@dataclass(frozen=True, eq=False)
class Subframe:
    """One frame of a night: what its header says, what was measured of it, and what was decided about it."""

    source: str
    meta: Meta = field(default_factory=Meta)
    measurement: Measurement | None = None
    """Of its one plane, or of the mean of its planes; None where nothing could be measured, which `reasons` tell."""
    stars: StarList | None = None
    scale_arcsec: float | None = None
    """Arcseconds that a pixel sees."""
    gain_e: float | None = None
    """Electrons per DN."""
    full_dn: float = 65535.0
    """What 1 is where levels are shown as parts of full scale."""
    approved: bool = True
    locked: bool = False
    """Whether `approved` was set by hand: no formula changes it."""
    weight: float | None = None
    reasons: tuple[str, ...] = ()
    """Why it is not approved, or has no weight, as sentences."""
    flags: tuple[Flag, ...] = ()
    given: Mapping[str, float] = field(default_factory=dict)
    """Properties that the frame alone does not tell, such as Transparency, by the names of their columns."""
    keywords: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Its header, so that formulas may ask for it."""

    @property
    def time(self) -> str:
        """When its exposure began, in UTC; empty where nobody knows."""
        return self.meta.time or ""

    def mark(self, approved: bool) -> "Subframe":
        """The same with a verdict by hand, which no formula changes any more."""
        return replace(self, approved=approved, locked=True, reasons=() if approved else ("left out by hand",))


def weighed(frame: Subframe, weight: float, why: str) -> Subframe:
    """A frame with a weight, or with the reason why it has none that counts."""
    known, why = None if why else weight, why or ("" if weight else "its weight is 0, which counts for nothing")
    before = tuple(words for words in frame.reasons if not words.startswith(NO_WEIGHT))
    approved = frame.approved or lacks_weight(frame)
    if not why or frame.measurement is None:
        return replace(frame, weight=known, approved=approved, reasons=before)
    told = (*before, *(() if why in before else (f"{NO_WEIGHT}{why}",)))
    return replace(frame, weight=known, approved=approved and frame.locked, reasons=told)


def lacks_weight(frame: Subframe) -> bool:
    """Whether nothing speaks against a frame but that an earlier formula gave it no weight."""
    return bool(frame.reasons) and all(words.startswith(NO_WEIGHT) for words in frame.reasons)


NO_WEIGHT = "no weight: "
"""How the reason begins why a frame has none."""


def scale_of(meta: Meta, header: Mapping[str, Any] | None = None) -> float | None:
    """Arcseconds that a pixel of a frame sees: by its plate solution, else its pixels and focal length, else by what a
    capture program says; None where nothing tells."""
    told = {name: as_number(value) for name, value in (header or {}).items() if name in SCALE_WORDS}
    by_pixels = ARCSEC_PER_UM_MM * meta.pixel_um / meta.focal_mm if meta.pixel_um and meta.focal_mm else None
    solved = solved_scale(header or {})
    said = (told.get(name) for name in ("SCALE", "PIXSCALE", "SECPIX"))
    return next((scale for scale in (solved, by_pixels, *said) if scale and 0.01 <= scale <= 100), None)


SCALE_WORDS = "SCALE", "PIXSCALE", "SECPIX"
"""Keywords that tell how much a pixel sees."""


def solved_scale(header: Mapping[str, Any]) -> float:
    """Arcseconds that a pixel sees by the plate solution of a header; 0 where it has none."""
    matrix = [as_number(header.get(name)) or 0.0 for name in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
    steps = [as_number(header.get(name)) or 0.0 for name in ("CDELT1", "CDELT2")]
    on_sky = str(header.get("CTYPE1", "")).startswith("RA")
    return 3600 * math.sqrt(abs(matrix[0] * matrix[3] - matrix[1] * matrix[2] or steps[0] * steps[1])) * on_sky
