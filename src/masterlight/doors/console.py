"""The process console: events as sentences on the terminal, a progress bar below them, a table at the end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from masterlight.core.units.words import figure
from masterlight.core.workers import Event
from masterlight.night.report import Report


@contextmanager
def process_console(quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """A function that shows events as they come: sentences scroll, progress stays below them."""
    console = plain_console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    bars: dict[str, Any] = {}
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:

        def show(event: Event) -> None:
            if event.message and not quiet:
                console.print(f"{event.stage:>14}  {event.message}", markup=False)
            if event.total and event.stage not in bars:
                bars[event.stage] = progress.add_task(event.stage, total=event.total)
            if event.total:
                progress.update(bars[event.stage], completed=event.done)
            if event.total and event.done == event.total:
                progress.remove_task(bars.pop(event.stage))

        yield show


def plain_console() -> Console:
    """A console that colours nothing by itself; wide where the output goes to a file, so that no figure is cut."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=140)


def summary(report: Report) -> None:
    """The table of what was made, and on the last line how many frames were left out."""
    console = plain_console()
    table = Table(title=None, box=None, pad_edge=False)
    for heading in ("product", "frames", "noise DN", "one frame", "FWHM px", "rejected low / high %"):
        table.add_column(heading, justify="left" if heading == "product" else "right", no_wrap=True)
    for row in report.masters:
        figures = (row.noise_measured or row.noise, 3), (row.noise_before, 3), (row.fwhm_px, 2)
        words = ("" if value is None else figure(value, digits) for value, digits in figures)
        lost = "" if row.rejected_low is None else f"{100 * row.rejected_low:.3f} / {100 * row.rejected_high:.3f}"
        table.add_row(Path(row.path).name, str(row.frames_used), *words, lost)
    console.print(table)
    for row in report.lights:
        console.print(f"picture: {row.preview}", markup=False)
    count = len(report.rejected)
    names = ", ".join(sorted({Path(row.path).name for row in report.rejected})[:5])
    names += f" and {count - 5} more" if count > 5 else ""
    lost = f"{count} frame{'s' if count != 1 else ''} rejected: {names} (reasons in report.json)"
    if not report.lights:
        console.print(f"nothing usable: no master light was made; {lost}", markup=False)
    else:
        console.print(f"done, {lost}" if count else "done, no frame rejected", markup=False)
