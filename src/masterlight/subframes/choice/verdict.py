"""Verdicts on measured frames by the knobs of `SubframeSelector`: in which units, which are good, what each counts.

In this order: limits and the formula of approval, over all frames of a group; then weights, over all or the approved.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.subframes.choice.groups import groups_of, spelling
from masterlight.subframes.choice.headers import parts
from masterlight.subframes.choice.health import OTHER_STARS, without_spoilt
from masterlight.subframes.choice.subframe import Level, Subframe, Units, Width, scale_of
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.variables import fields_of
from masterlight.subframes.measurement import HEALTH_FIELDS, SKY_FIELDS
from masterlight.subframes.select import SubframeSelector


def table_of(select: SubframeSelector, frames: Sequence[Subframe]) -> Subframes:
    """A table of measured frames in the units that the knobs ask for, approved and weighed."""
    told = [replace(with_scales(select, f), given={**f.given, "Index": i}) for i, f in enumerate(frames, 1)]
    return choose(select, Subframes(tuple(told), units_of(select, told)))


def fields_needed(select: SubframeSelector) -> tuple[str, ...]:
    """Those of `SKY_FIELDS` that formulas need, and `HEALTH_FIELDS` where stars of other frames have a say."""
    texts = [text for text in (select.approve, select.weight) if text]
    needed = {field for text in texts for field in fields_of(Expression(text).names)}
    lit = select.flags == "reject" or "flux_ratio" in needed
    return (*(name for name in SKY_FIELDS if name in needed), *(HEALTH_FIELDS if lit else ()))


def with_scales(select: SubframeSelector, frame: Subframe) -> Subframe:
    """A frame with its scale and gain: by hand, else as its door found them, else as its header tells."""
    scale = select.scale_arcsec or frame.scale_arcsec or scale_of(frame.meta, frame.keywords)
    gain = select.gain_e or frame.gain_e or frame.meta.gain_e_per_dn
    return replace(frame, scale_arcsec=scale, gain_e=gain, full_dn=2.0**select.bits - 1)


def units_of(select: SubframeSelector, frames: Sequence[Subframe]) -> Units:
    """In which units a table of these frames shows its figures, and why if not in others."""
    notes: list[str] = []
    width: Width = "px" if select.width_unit == "px" else "arcsec"
    if width == "arcsec" and (blind := [f for f in frames if f.scale_arcsec is None]):
        words = f"{some(blind, frames)} how much a pixel sees (XPIXSZ and FOCALLEN)"
        if select.width_unit == "arcsec" and len(blind) == len(frames):
            raise ParameterError(f"SubframeSelector.width_unit arcsec: {words}; give SubframeSelector.scale_arcsec")
        width = "arcsec" if select.width_unit == "arcsec" else "px"
        what = "FWHM is in px" if width == "px" else f"{'it has' if len(blind) == 1 else 'they have'} no FWHM in arcsec"
        notes.append(f"{words}: {what}; SubframeSelector.scale_arcsec tells it")
    data: Level = select.data_unit
    if data == "e-" and (blind := [f for f in frames if f.gain_e is None]):
        words = f"{some(blind, frames)} the electrons per DN (EGAIN)"
        if len(blind) == len(frames):
            raise ParameterError(f"SubframeSelector.data_unit e-: {words}; give SubframeSelector.gain_e")
        notes.append(
            f"{words}: {'it has' if len(blind) == 1 else 'they have'} no level in e-; SubframeSelector.gain_e tells it"
        )
    scales, gains = ({getattr(f, name) for f in frames} for name in ("scale_arcsec", "gain_e"))
    scale, gain = (values.pop() if len(values) == 1 else None for values in (scales, gains))
    sources = ("by hand" if select.scale_arcsec else "header" if scale else "",
               "by hand" if select.gain_e else "header" if gain else "")  # fmt: skip
    return Units(width, data, scale, gain, *sources, tuple(notes))


def some(blind: Sequence[Subframe], frames: Sequence[Subframe]) -> str:
    """Who does not tell something, as the beginning of a sentence."""
    if len(blind) == len(frames):
        return "no frame tells"
    return f"{len(blind)} of {len(frames)} frames, such as {blind[0].source}, do not tell"


def choose(select: SubframeSelector, night: Subframes) -> Subframes:
    """A table approved and weighed by the knobs; what was marked by hand stays."""
    night = night.approved_by(select.approve or "")
    night = night.by_group(lambda group: within_limits(select, group))
    night = without_spoilt(night) if select.flags == "reject" else night
    return night.weighed_by(select.weight, select.stats_over) if select.weight else night


def apart_words(night: Subframes) -> list[str]:
    """Sentences on frames of one target and filter whose weights cannot be compared, since each exposure's are made by
    its own best and worst."""
    formula = Expression(night.weight) if night.weight else None
    if formula is None or not formula.compares:
        return []
    parts: dict[tuple[str, ...], list[str]] = {}
    names: dict[tuple[str, ...], str] = {}
    for group in night.groups:
        words = "unknown exposure" if group.exposure_s is None else f"{group.exposure_s:g} s"
        names.setdefault(spelling(group), group.scene or "frames")
        parts.setdefault(spelling(group), []).append(" and ".join(filter(None, (words, group.size))))
    told = [
        f"{names[key]}: {', '.join(words)} are weighed each among themselves; integrate"
        for key, words in parts.items() if len(words) > 1
    ]  # fmt: skip
    binned = len({frame.meta.binning for frame in night}) > 1  # noise and light of pixels of another size
    todo = "them apart" if binned else "them apart, or weigh by PSFScaleSNR, which compares them"
    return [f"{words} {todo}" for words in told]


def kinds_words(night: Subframes) -> list[str]:
    """A sentence on frames of more than one kind of colour, which are groups of their own."""
    counts = Counter(group.colour for group in groups_of(night))
    if len(counts) < 2:
        return []
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return [f"{told}: frames of another kind have other levels, noise and widths: each is looked at by itself"]


def apart_fields(night: Subframes) -> Iterator[str]:
    """Sentences on sound frames whose stars are those of few others, where no header tells their targets apart."""
    groups = groups_of(night.frames)
    for field in parts([spelling(group) for group in groups]):
        frames = [night[i] for i in field if night[i].measurement is not None]
        alone = [f for f in frames if not f.flags and len(f.stars or ()) >= OTHER_STARS and not has_light(f)]
        if alone and sum(map(has_light, frames)) >= 2:
            words = (
                f"{len(alone)} of {len(frames)} frames of {groups[field[0]]}, such as {alone[0].source}, show none of"
            )
            yield f"{words} the others' stars: two targets? Transparency is told of one; name them by OBJECT or apart"


def has_light(frame: Subframe) -> bool:
    """Whether the light of its stars could be compared with that of others."""
    return bool(np.isfinite(frame.given.get("Transparency", np.nan)))


def within_limits(select: SubframeSelector, group: Subframes) -> list[Subframe]:
    """The frames of a group, those that a limit of the knobs excludes no longer approved."""
    measured = [frame for frame in group if frame.measurement]
    verdicts = select.select([frame.measurement for frame in measured if frame.measurement])
    lost = {id(f): v.reason for f, v in zip(measured, verdicts, strict=True) if v is not None and not f.locked}
    return [replace(f, approved=False, reasons=(lost[id(f)], *f.reasons)) if id(f) in lost else f for f in group]
