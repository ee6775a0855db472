"""The process console: decisions as sentences on the terminal, a progress bar below them, a table at the end.

The screen shows what one wants to see while a hundred frames go by; sentences on single frames, and of many warnings
of one kind each one, go to console.txt beside the products.
"""

import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from masterlight.core.errors import MasterlightError
from masterlight.core.units.figures import figure
from masterlight.core.workers import Event
from masterlight.night.products import names
from masterlight.night.report import MasterRow, Report
from masterlight.session.words import condense, visible

NAME = "console"
INDENT = 16
"""Columns before a sentence, for its stage."""
NARROW = 60
"""Columns below which a terminal has no room for that."""
HEADINGS = "product", "frames", "noise DN", "one frame", "FWHM px", "rejected low / high %"


class Diary:
    """console.txt in a folder of products: every sentence of every run, added as it comes, each run under its head.

    Lines wait until somebody has made the folder; a file that cannot be written to never ends the work.
    """

    def __init__(self, folder: Path, head: str):
        self.path, self.waiting, self.written = (
            next(filter(is_diary, names(folder, NAME, ".txt"))),
            [f"# {head}"],
            False,
        )

    def write(self, line: str) -> None:
        self.waiting.append(line)
        with suppress(OSError):
            if not os.path.isdir(self.path.parent) or (os.path.lexists(self.path) and not os.path.isfile(self.path)):
                return
            text = "".join(f"{line}\n" for line in self.waiting)
            with open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            self.waiting, self.written = [], True


def is_diary(path: Path) -> bool:
    """Whether a file may be added to: it is not there yet, or one of ours; a file of the user's never is."""
    if not os.path.isfile(path):  # a pipe would never answer
        return not os.path.lexists(path)
    try:
        with open(path, "rb") as file:
            return re.match(rb"# [\d-]{10} [\d:]{8} UTC, ", file.read(40)) is not None
    except OSError:
        return False


class ProcessConsole:
    """Shows events: the screen those that matter, the diary all; `call` puts a verb's flags for names of knobs."""

    def __init__(self, console: Console, progress: Progress, quiet: bool, diary: Diary | None, call: Callable = str):
        self.console, self.progress, self.quiet, self.diary, self.call = console, progress, quiet, diary, call
        self.bars: dict[str, Any] = {}
        self.stage, self.held = "", list[str]()

    def show(self, event: Event) -> None:
        if event.stage != self.stage:
            self.let_go()
            self.stage = event.stage
        if event.message:
            words = visible(self.call(event.message))
            if self.diary:
                self.diary.write(f"{event.stage:>{INDENT - 2}}  {words}")
            if not event.detail:
                self.held.append(words)
        if event.total:
            self.advance(event)

    def let_go(self) -> None:
        """Print the sentences of a stage that is over, many of one kind as one."""
        for sentence in condense(self.held) if not self.quiet else ():
            print_lines(self.console, sentence, self.stage)
        self.held = []

    def advance(self, event: Event) -> None:
        if event.stage not in self.bars:
            self.bars[event.stage] = self.progress.add_task(event.stage, total=event.total)
        self.progress.update(self.bars[event.stage], completed=event.done)
        if event.done == event.total:
            self.progress.remove_task(self.bars.pop(event.stage))


@contextmanager
def process_console(
    quiet: bool = False, folder: Path | None = None, head: str = "", call: Callable[[str], str] = str
) -> Iterator[ProcessConsole]:
    """A console whose `show` takes events as they come: sentences scroll, progress stays below them.

    folder: where console.txt goes, with the line `head`; none is written without it.
    """
    console = plain_console()
    bar = BarColumn(bar_width=max(4, min(40, console.width - 40)))
    columns = TextColumn("{task.description}"), bar, MofNCompleteColumn(), TimeElapsedColumn()
    diary = Diary(folder, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {visible(head)}") if folder else None
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        shown = ProcessConsole(console, progress, quiet, diary, call)
        try:
            yield shown
        except MasterlightError as error:
            if diary:
                diary.write(f"{'stopped':>{INDENT - 2}}  {visible(call(str(error)))}")
            raise
        finally:
            shown.let_go()


def plain_console() -> Console:
    """A console that colours nothing and puts no sign for words; lines are as long as they are where it is a file."""
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
    console = Console(**plain)
    return console if console.is_terminal else Console(**plain, width=columns_of_file())


def columns_of_file() -> int:
    """Columns for what is no terminal: those that COLUMNS tells, else many."""
    return shutil.get_terminal_size().columns if os.environ.get("COLUMNS", "").isdigit() else 140


def print_lines(console: Console, sentence: str, stage: str = "") -> None:
    """A sentence, behind its stage, in as many lines as the terminal needs; in one line where it is a file."""
    wide = console.width >= NARROW or not console.is_terminal
    head = f"{stage:>{INDENT - 2}}  " if wide else f"{stage}: "
    text, further = (head if stage else "") + sentence, " " * (INDENT if stage and wide else 2)
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "replace_whitespace": False}
    columns = max(20, console.width - 1)
    lines = textwrap.wrap(text, columns, subsequent_indent=further, **how) if console.is_terminal else [text]
    for line in lines:
        console.print(line)


def summary(report: Report, diary: Diary | None = None) -> None:
    """The table of what was made, and on the last line how many frames were left out."""
    console = plain_console()
    lines = [f"picture: {visible(row.preview)}" for row in report.lights]
    if diary and diary.written:
        lines.append(f"every frame by itself: {visible(diary.path)}")
    lines.append(last_line(report))
    lines += [f"not written: {visible(sentence)}" for sentence in report.unwritten]
    table = table_lines([HEADINGS, *map(cells, report.masters)], console.width)
    for line in table:
        console.print(line)
    for line in lines:
        print_lines(console, line)
    for line in (*table, *lines) if diary else ():
        diary.write(line)


def cells(row: MasterRow) -> tuple[str, ...]:
    """A product as a row of the table."""
    figures = (row.noise_measured or row.noise, 3), (row.noise_before, 3), (row.fwhm_px, 2)
    words = ("" if value is None else figure(value, digits) for value, digits in figures)
    lost = "" if row.rejected_low is None else f"{100 * row.rejected_low:.3f} / {100 * row.rejected_high:.3f}"
    return visible(Path(row.path).name), str(row.frames_used), *words, lost


def table_lines(rows: list[tuple[str, ...]], columns: int) -> list[str]:
    """A table, names to the left and figures to the right; where it is too wide, each row as a paragraph."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= columns:
        pads = [str.ljust, *[str.rjust] * (len(widths) - 1)]
        return [
            "  ".join(pad(cell, wide) for pad, cell, wide in zip(pads, row, widths, strict=True)).rstrip()
            for row in rows
        ]
    heading, *products = rows
    lines = []
    for name, *figures in products:
        told = [f"{word} {cell}" for word, cell in zip(heading[1:], figures, strict=True) if cell]
        lines += [name, *textwrap.wrap(", ".join(told), max(20, columns), initial_indent="  ", subsequent_indent="  ")]
    return lines


def last_line(report: Report) -> str:
    """How many frames were left out."""
    count = len(report.rejected)
    names = ", ".join(sorted({Path(row.path).name for row in report.rejected})[:5])
    names += f" and {count - 5} more" if count > 5 else ""
    lost = f"{count} frame{'s' if count != 1 else ''} rejected: {visible(names)} (reasons in {report.name})"
    if not report.lights:
        return f"nothing usable: no master light was made; {lost}"
    return f"done, {lost}" if count else "done, no frame rejected"
