"""The forecast of frames as lines on a terminal: a table of choices, the frontier, and what single frames bring."""

import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import PurePath

import numpy as np

from masterlight.alignment.align import SUITED
from masterlight.alignment.warping.weights import shape_of
from masterlight.core.errors import ParameterError
from masterlight.core.process import with_values
from masterlight.core.workers import Events
from masterlight.doors.console import plain_console
from masterlight.doors.sheet import SHORT, told_apart
from masterlight.integration.integrate import ImageIntegration
from masterlight.session.words import how_many, visible
from masterlight.subframes.choice.outlook import KINDS, Kernel, Outlook, outlooks
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.presets import PRESETS
from masterlight.subframes.looks.chart import CHOSEN
from masterlight.subframes.select import SubframeSelector

GIVEN = 0.1, 1.0, 5.0, 10.0, 20.0
"""Percent of depth at which the frontier is told."""
SHALLOW = 0.02
"""Depth lost for nothing from which on a sentence tells what to do."""
LISTED, NAME = 6, 40
"""Frames listed of those that bring most and least, and letters of their names."""
LEGEND = (
    "chosen is what is approved, by the weights above; equal, noise, point and sharp are weights of all frames. depth: "
    "signal to noise of a wide area, points: of faint stars, both beside noise weights of all. N: so many frames of "
    "equal weight count as much. wider: FWHM beside the least at this depth; lost: depth beside the most at this FWHM. "
    "noise: of a pixel where all frames lie (edges that shifts leave to fewer have more), before frames are "
    "interpolated, which calms it by some percent and adds no depth."
)


def check_together(
    select: SubframeSelector, weights: str | None, give: float | str | None, foretold: bool = True
) -> float:
    """Raise where weights cannot be those of frames together; gives the percent of depth that sharp gives away.

    foretold: whether a forecast is asked for, which has a row of sharp weights in any case.
    """
    if weights in PRESETS:
        raise ParameterError(f"weights= {weights} is a formula: give SubframeSelector.weight {weights}")
    if select.weight in KINDS:
        raise ParameterError(f"SubframeSelector.weight is a formula; give weights= {select.weight} for those weights")
    if weights is not None and weights not in KINDS:
        raise ParameterError(f"weights= {weights}: there are {', '.join(KINDS)}, as in integrate; others are formulas")
    if weights is not None and select.weight:
        raise ParameterError(f"weights= {weights} and SubframeSelector.weight are two ways to weigh: leave one out")
    if give is None:
        return ImageIntegration().give
    if weights is None and not foretold:
        raise ParameterError(f"give= {give} does nothing here; it is for weights= sharp")
    if weights not in (None, "sharp"):
        raise ParameterError(f"give= does nothing with weights= {weights}; it is for sharp")
    try:
        return with_values(ImageIntegration(), weights="sharp", give=float(give)).give
    except ValueError:
        raise ParameterError(f"give= {give}: it is percent of depth, a number from 0 to 50") from None


def tell_forecast(night: Subframes, give: float) -> Events[str]:
    """What the frames of a table will become, as a text that fits the terminal."""
    yield from ()
    return "\n".join(forecast_lines(outlooks(night, give, kernel_of(night)), plain_console().width))


def kernel_of(night: Subframes) -> Kernel:
    """By which frames of such stars are interpolated when they are registered."""
    widths = [frame.measurement.fwhm_px for frame in night if frame.measurement and frame.measurement.fwhm_px]
    usual = float(np.median(widths)) if widths else SUITED[0][0]
    return partial(shape_of, next(name for least, name in SUITED if usual >= least))


def forecast_lines(outlooks: Sequence[Outlook], columns: int) -> list[str]:
    """What frames would become together, at most so many columns wide."""
    lines = ["forecast, before anything is integrated"]
    for outlook in outlooks:
        lines += [*lines_of(outlook, columns), ""]
    told = any(outlook.choices for outlook in outlooks)
    return lines + (textwrap.wrap(LEGEND, columns) if told else [])


def lines_of(outlook: Outlook, columns: int) -> list[str]:
    """The forecast of one target and filter."""
    count, chosen = len(outlook.night), int(outlook.approved.sum())
    seconds = sorted({frame.meta.exposure_s for frame in outlook.night if frame.meta.exposure_s})
    exposures = f" of {' and '.join(f'{s:g} s' for s in seconds)}" if 0 < len(seconds) < 4 else ""
    head = f"{visible(outlook.name) or 'all frames'}: {how_many(count, 'frame')}{exposures}, {chosen} approved"
    lines = [head]
    if outlook.choices:
        lines += [*table_lines(outlook), *shapeless_lines(outlook, columns), *frontier_lines(outlook, columns)]
        lines += advice(outlook, columns)
        lines += [*price_lines(outlook), *scale_lines(outlook, columns)]
    return lines + inconclusive_lines(outlook, columns)


def table_lines(outlook: Outlook) -> list[str]:
    """A row for each choice."""
    width, level = (outlook.night.units.name(kind) for kind in ("width", "level"))
    head = f"  {'weights':11}{'frames':>6}{'N':>7}{'depth':>8}{'points':>8}{f'FWHM {SHORT.get(width, width)}':>9}"
    head += f"{'ecc.':>6}{f'noise {level}'.strip():>10}{'wider':>7}{'lost':>6}"
    return [head, *(row_of(outlook, name) for name in outlook.choices)]


def row_of(outlook: Outlook, name: str) -> str:
    """A choice and what it makes."""
    one = outlook.choices[name]
    words = f"sharp {outlook.give:g}%" if name == "sharp" else CHOSEN if name == "present" else name
    fwhm, noise = one.fwhm_px * outlook.unit("width"), one.noise_dn * outlook.unit("level")
    long = f"{one.eccentricity:.2f}" if np.isfinite(one.eccentricity) else "-"
    depth, points = (percent(value - 1) for value in (one.depth, one.point_snr))
    figures = f"{one.frames:>6}{one.effective:>7.1f}{depth:>8}{points:>8}{fwhm:>9.3f}{long:>6}{noise:>10.4g}"
    return f"  {words:11}{figures}{100 * one.wider:>6.1f}%{100 * one.shallower:>5.1f}%"


def shapeless_lines(outlook: Outlook, columns: int) -> list[str]:
    """Which frames the eccentricity does not speak of."""
    names = [visible(PurePath(outlook.night[i].source).name) for i in np.flatnonzero(outlook.frames.shapeless)]
    if not names:
        return []
    who = (
        f"{names[0]}, whose stars"
        if len(names) == 1
        else f"{how_many(len(names), 'frame')} ({names[0]} ...) whose stars"
    )
    words = f"ecc.: {who} tell no direction, taken to be as the others; - where these bring less than half"
    return textwrap.wrap(words, columns, initial_indent="  ", subsequent_indent="    ")


def percent(part: float) -> str:
    """A part as a signed percentage; nothing is -0.0 %."""
    text = f"{100 * part:+.1f}%"
    return text.replace("-", "+") if float(text[:-1]) == 0 else text


def frontier_lines(outlook: Outlook, columns: int) -> list[str]:
    """The least FWHM for some depths that are given away."""
    points = outlook.frontier
    given, fwhm = (np.array([get(p) for p in points]) for get in (lambda p: 1 - p.depth, lambda p: p.fwhm_px))
    least = fwhm[0]
    told = [f"{g:g}%: {percent(np.interp(g / 100, given, fwhm) / least - 1)}" for g in GIVEN if g / 100 <= given[-1]]
    unit = outlook.night.units.name("width")
    words = f"least FWHM, {least * outlook.unit('width'):.3f} {unit} at full depth"
    words += f", for depth given away: {', '.join(told)}" if told else ""
    return textwrap.wrap(words, columns, initial_indent="  ", subsequent_indent="    ")


def advice(outlook: Outlook, columns: int) -> list[str]:
    """What would make more of the frames, where the present choice gives away depth for nothing."""
    one = outlook.choices.get("present")
    if one is None:
        return ["  of what is approved, nothing can be told"] if outlook.approved.any() else []
    if one.shallower < SHALLOW:
        return []
    give = max(100 * (1 - one.depth / (1 - one.shallower)), 0.0)
    words = f"the present choice gives away {100 * one.shallower:.0f} % of depth for nothing: its FWHM can be had "
    words += f"with weights sharp and give {give:.2g}" if give >= 0.1 else "with weights noise"
    formula = outlook.night.weight
    blind = np.unique(outlook.weights[outlook.approved]).size > 1 and not (
        formula and "PSFScaleSNR" in Expression(formula).names
    )
    words += "; a formula keeps most of it when it is multiplied by PSFScaleSNR" if blind else ""
    return textwrap.wrap(words, columns, initial_indent="  ", subsequent_indent="    ")


def price_lines(outlook: Outlook) -> list[str]:
    """What single frames bring: approved ones that bring most and least, and what those left out would bring."""
    prices, lines = outlook.prices, []
    names = told_apart([visible(PurePath(frame.source).name) for frame in outlook.night], NAME - 2)
    for inside, words in ((True, "each frame brings"), (False, "left out, it would bring")):
        found = np.flatnonzero(np.isfinite(prices.depth) & (outlook.approved == inside))
        if not found.size:
            continue
        order = found[np.argsort(-prices.depth[found], kind="stable")]
        shown = order if len(order) <= 2 * LISTED else np.concatenate([order[:LISTED], order[-LISTED:]])
        lines.append(f"  {words:{NAME}}{'depth':>8}{'points':>8}{'FWHM':>8}")
        for i in shown:
            if len(order) > 2 * LISTED and i == order[-LISTED]:
                lines.append(f"    ... {len(order) - 2 * LISTED} more between these")
            lines.append(f"    {names[i]:{NAME - 2}}" + "".join(f"{percent(values[i]):>8}" for values in prices))
    return lines


def scale_lines(outlook: Outlook, columns: int) -> list[str]:
    """Beside which frame the noise is to be read; an integration has a reference of its own."""
    if len(outlook.night) < 2:
        return []
    name = visible(PurePath(outlook.night[outlook.reference].source).name)
    words = f"noise is told for stars as bright as they are in {name}: with another reference it changes as they do"
    return textwrap.wrap(words, columns, initial_indent="  ", subsequent_indent="    ")


def inconclusive_lines(outlook: Outlook, columns: int) -> list[str]:
    """Which frames nothing can be told of, and why."""
    reasons: dict[str, list[str]] = {}
    for source, why in outlook.frames.inconclusive.items():
        reasons.setdefault(why, []).append(visible(PurePath(source).name))
    lines = []
    for why, names in reasons.items():
        who = names[0] if len(names) == 1 else f"{how_many(len(names), 'frame')} ({names[0]} ...)"
        text = f"inconclusive, and not counted: {who}: {why}"
        lines += textwrap.wrap(text, columns, initial_indent="  ", subsequent_indent="    ")
    return lines
