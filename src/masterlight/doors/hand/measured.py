"""Frames measured one by one, and by that store only once: the same pixels, looked at in the same way, are known again.

What knobs decide after measuring (limits, formulas, units of a table) makes nothing anew.
"""

import hashlib
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import masterlight
from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame, Meta
from masterlight.core.process import plain
from masterlight.io import Kept
from masterlight.subframes.measurement import Measurement, StarList
from masterlight.subframes.select import SubframeSelector

FOLDER = "subframes"
"""Where measurements lie among what is kept."""
JUDGES = (
    "max_fwhm_px", "max_eccentricity", "max_noise_dn", "min_stars_fraction", "approve", "weight", "stats_over", "flags",
    "scale_arcsec", "gain_e", "bits", "width_unit", "data_unit",
)  # fmt: skip
"""Knobs of SubframeSelector that measuring does not ask: they judge and show what was measured."""
NAMES = ("kind", "declared", "told", "object", "filter", "notes")
"""What names of folders and files have a say in, and no pixel: a frame is known again in another folder."""
MEASURES = "core", "io", "subframes"
"""Chapters whose code decides what is measured."""
LATER = "choice", "formula", "looks"
"""Rooms of them that only see what was measured."""


def measure_kept(
    kept: Kept, selector: SubframeSelector, frame: Frame, **how: Any
) -> tuple[Measurement, StarList] | Rejected:
    """`SubframeSelector.measure` of a frame in a file, or what it gave before for the same content, knobs and `how`.

    The stars come without the peaks of all else that stands out, which only a walk asks.
    """

    def measure() -> tuple[Measurement, StarList] | Rejected:
        found = selector.measure(frame, **how)
        return (found[0], replace(found[1], peaks=None)) if found else found

    made_of = *looked_at(selector, frame), sorted(how.items())
    found = kept(frame.source, made_of, measure, (Measurement, StarList, Rejected))
    if isinstance(found, Rejected):
        return replace(found, source=frame.source)
    return replace(found[0], source=frame.source), found[1]


def looked_at(selector: SubframeSelector, frame: Frame) -> tuple[object, ...]:
    """All that a measurement depends on besides the bytes of the file."""
    knobs = {name: value for name, value in plain(selector).items() if name not in JUDGES}
    header = {field.name: getattr(frame.meta, field.name) for field in fields(Meta) if field.name not in NAMES}
    return code_mark(), sorted(knobs.items()), header, frame.cards


@cache
def code_mark(root: Path = Path(masterlight.__file__).parent) -> str:
    """A name for the code that measures: when a line of it changes, nothing that was measured before is known."""
    digest = hashlib.blake2b(masterlight.__version__.encode(), digest_size=16)
    for path in sorted(path for chapter in MEASURES for path in (root / chapter).rglob("*.py")):
        if path.relative_to(root).parts[1] not in LATER:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
