"""Measured frames to look at, as doors and notebooks ask for them: a page, prints, a section of a report, figures.

show(row(figures_of(night).night("FWHM"), figures_of(night).pair("Noise", "Stars")))
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.subframes.choice.outlook import Kernel, outlooks
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.looks import page
from masterlight.subframes.looks.chart import CHOSEN, Chart, Frontier

if TYPE_CHECKING:
    from masterlight.subframes.looks.plots import Figures


def page_of(night: Subframes, kernel: Kernel = None) -> str:
    """One page that works without a network, as HTML: a table to sort and filter, plots that share its selection.

    kernel: by which frames are interpolated when they are registered, which the forecast of sharpness asks.
    """
    return page.page(with_fronts(night, kernel))


def section_of(night: Subframes) -> str:
    """The same at small size as a part of a page that tells other things too; empty without frames."""
    return page.section(Chart.of(night, title_of(night))) if len(night) else ""


def figures_of(night: Subframes, kernel: Kernel = None) -> "Figures":
    """Plots by Bokeh that share one selection."""
    try:
        from masterlight.subframes.looks.plots import Figures
    except ModuleNotFoundError as error:
        raise missing("bokeh", error) from error
    return Figures(with_fronts(night, kernel))


def prints_of(night: Subframes, kernel: Kernel = None) -> Iterator[tuple[str, Any]]:
    """Plots for papers by the names of their files, as figures of matplotlib."""
    check_prints()
    from masterlight.subframes.looks.prints import prints

    return prints(with_fronts(night, kernel))


def check_prints() -> None:
    """Raise where the library of plots for papers is not installed."""
    try:
        import masterlight.subframes.looks.prints  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing("matplotlib", error) from error


def with_fronts(night: Subframes, kernel: Kernel = None) -> Chart:
    """The frames, and how narrow the stars of a result can be for each part of its depth, where that can be told.

    Frames of one target and filter are integrated together, so that exposures of these have the same frontier.
    """
    chart = Chart.of(night, title_of(night))
    place = {frame.source: int(group) for frame, group in zip(night, chart.group, strict=True)}
    for outlook in outlooks(night, kernel=kernel):
        unit = outlook.unit("width")
        if np.count_nonzero(outlook.frames.told) > 1 and np.isfinite(unit):
            told = {CHOSEN if name == "present" else name: one for name, one in outlook.choices.items()}
            points = {name: (1 - one.depth, one.fwhm_px * unit) for name, one in told.items()}
            depth, fwhm = np.array([(one.depth, one.fwhm_px * unit) for one in outlook.frontier]).T
            front = Frontier(1 - depth, fwhm, points, night.unit_of("FWHM"))
            chart.frontiers.update(dict.fromkeys((place[frame.source] for frame in outlook.night), front))
    return chart


def missing(library: str, error: ModuleNotFoundError) -> Exception:
    """What to do where a library is not installed."""
    known = (error.name or "").split(".")[0] == library
    return ParameterError(f"plots need {library}: pip install 'masterlight[plots]'") if known else error


def title_of(night: Subframes) -> str:
    """What a page of these frames is called: their target, where it is one."""
    targets = {group.target for group in night.groups if group.target}
    return f"Subframes of {targets.pop()}" if len(targets) == 1 else "Subframes"
