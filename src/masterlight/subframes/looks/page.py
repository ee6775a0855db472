"""A night as one page that works without a network: a table to sort and filter, plots that share its selection.

With Bokeh (the extra `plots`) its plots are inside, script and all; without it the same page has plain SVG.
"""

import importlib.util
import json
import math
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from masterlight.subframes.looks import svg
from masterlight.subframes.looks.chart import KEPT, LEFT, TIME, Bins, Chart

PLOTS = ("night", "histogram", "pair", "frontier")
PAIR = ("FWHM", "Eccentricity")
SMALL = ("FWHM", "Eccentricity", "Noise", "Stars", "Weight")
"""What a report shows over the night."""
ASKED = ("SNRWeight",)
"""Columns that the table has no room for unless they are asked for."""
SMALL_STYLE = """
.night h3 { font-size: 1rem; font-weight: 400; margin: .6rem 0 .3rem }
.night .plots { display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)) }
"""
LEGEND = (
    f'<b style="color:{KEPT}">●</b> approved <b style="color:{LEFT}">✕</b> left out · grey: one and two average '
    "deviations around the median · tinted: what the formula does not let pass · what is selected in a plot, a bar or "
    "the table is selected in all"
)
KEYS = "J, K or arrows: next frame, with Shift more of them · A approve · X leave out · U unmark · Esc select none"


def page(chart: Chart, bokeh: bool | None = None) -> str:
    """The whole page as HTML; `bokeh` None takes it where it is installed."""
    has_bokeh = importlib.util.find_spec("bokeh") is not None if bokeh is None else bokeh
    plots, scripts = live(chart) if has_bokeh else (still(chart), "")
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(chart.title)}</title><style>{part("page.css")}{svg.STYLE}</style></head>
<body><h1>{escape(chart.title)}</h1>
<p id="summary" role="status">{escape(chart.summary())}</p>
{"".join(f"<p class=line>{escape(line)}</p>" for line in chart.lines)}
{controls(chart, has_bokeh)}
<p id="caption">{escape(chart.caption(first_of(chart), choices(chart)[0]))}</p>
<p class="keys">{LEGEND}</p>
<main id="plots">{plots}</main>
{marking()}
{table(chart)}
<script type="application/json" id="frames">{packed(facts(chart))}</script>
{scripts}<script>{part("page.js")}</script></body></html>
"""
    return writable(text)


def writable(text: str) -> str:
    """A text that UTF-8 can hold: names of files may have bytes that are no letters."""
    return text.encode("utf-8", "backslashreplace").decode()


def part(name: str) -> str:
    """A part of the page that is a file of its own beside this one."""
    return files(__package__).joinpath(name).read_text("utf-8")


def live(chart: Chart) -> tuple[str, str]:
    """The places of Bokeh's plots, and the scripts that fill them: Bokeh's own from its wheel, the plots as JSON."""
    from bokeh.document import Document
    from bokeh.embed.util import standalone_docs_json_and_render_items
    from bokeh.resources import Resources

    from masterlight.subframes.looks.plots import Figures

    figures, first = Figures(chart), first_of(chart)
    made = [figures.night(first), figures.histogram(first), figures.pair(*pair_of(chart))]
    made += [figures.frontier(min(chart.frontiers))] if chart.frontiers else []
    document = Document(title=chart.title)
    for one in made:
        document.add_root(one)
    docs, items = standalone_docs_json_and_render_items(document)
    roots = items[0].to_json()
    roots["roots"] = {figure.id: f"plot-{figure.name}" for figure in made}
    script = "\n".join(Resources(mode="inline", minified=True, components=["bokeh"]).js_raw)
    places = "".join(f'<div id="plot-{figure.name}" class="plot-{figure.name}"></div>' for figure in made)
    return places, (
        f'<script type="application/json" id="bokeh">{packed({"docs": docs, "items": [roots]})}</script>\n'
        f"<script>{script}</script>\n"
    )


def still(chart: Chart) -> str:
    """Plain SVG plots of each property that is shown at first, those of one at a time to be seen."""
    blocks, first = [], first_of(chart)
    for group in choices(chart):
        for name in chart.usual:
            hidden = "" if name == first and group == choices(chart)[0] else " hidden"
            other = next((n for n in PAIR if n != name and n in chart.shown), name)
            plots = [svg.night(chart, name, group), svg.histogram(chart, name, group)]
            plots.append(svg.pair(chart, other, name, group))
            known = chart.frontiers.get(where(chart, group) if len(chart.groups) > 1 else 0)
            plots += [svg.frontier(known)] if known else []
            shown = "".join(f'<div class="plot-{kind}">{plot}</div>' for kind, plot in zip(PLOTS, plots, strict=False))
            mine = f'data-y="{escape(name)}" data-group="{where(chart, group)}"'
            blocks.append(f"<section {mine}{hidden}>{shown}</section>")
    return "".join(blocks)


def choices(chart: Chart) -> list[int | None]:
    """The groups that one can look at: each by itself where there are several, then all."""
    return [*range(len(chart.groups)), None] if len(chart.groups) > 1 else [None]


def where(chart: Chart, group: int | None) -> int:
    """What the page calls a group: -1 is all frames."""
    return -1 if group is None or len(chart.groups) < 2 else group


def first_of(chart: Chart) -> str:
    """The property that is plotted first."""
    return "FWHM" if "FWHM" in chart.shown else next(iter(chart.shown), "Index")


def pair_of(chart: Chart) -> tuple[str, str]:
    """The two properties that are plotted against each other first."""
    names = [n for n in PAIR if n in chart.shown] + [n for n in chart.shown if n not in PAIR] + ["Index", "Index"]
    return names[0], names[1]


def controls(chart: Chart, has_bokeh: bool) -> str:
    """What is plotted: of which group, which property over what, which two against each other."""
    names, first, pair = chart.shown if has_bokeh else chart.usual, first_of(chart), pair_of(chart)
    groups = [(where(chart, g), "all groups" if g is None else chart.groups[g]) for g in choices(chart)]
    boxes = [box("group", "Group", groups)] if len(groups) > 1 else []
    boxes.append(box("y", "Over the night", [(n, n) for n in names], first))
    if has_bokeh:
        times = [TIME] if chart.across == TIME else []
        boxes.append(box("across", "against", [(n, n) for n in dict.fromkeys([*times, "Index", *names])], chart.across))
        boxes.append(box("pair-x", "Pairs", [(n, n) for n in names], pair[0]))
        boxes.append(box("pair-y", "against", [(n, n) for n in names], pair[1]))
    return f'<nav id="controls">{"".join(boxes)}</nav>'


def box(name: str, label: str, options: Iterable[tuple[Any, str]], chosen: Any = None) -> str:
    """A list to choose from."""
    lines = (f'<option value="{escape(str(v))}"{" selected" * (v == chosen)}>{escape(w)}</option>' for v, w in options)
    return f'<label>{label} <select id="{name}">{"".join(lines)}</select></label>'


def marking() -> str:
    """Buttons that mark the selected frames, and the list of files to copy."""
    buttons = "".join(
        f'<button type="button" data-mark="{key}">{words} <kbd>{key or "U"}</kbd></button>'
        for key, words in (("A", "Approve"), ("X", "Leave out"), ("", "Unmark"))
    )
    kinds = [("approved", "approved, with my marks"), ("left", "left out, with my marks"), ("marked", "marked by hand")]
    return (
        f'<section id="marking"><div>{buttons}<span id="chosen" role="status">none selected</span></div>'
        f"<details><summary>Files to copy</summary>{box('listed', 'Files that are', kinds)}"
        '<button type="button" id="copy">Copy</button> <button type="button" id="save">Save as a list</button> '
        '<span id="copied" role="status"></span>'
        '<textarea id="list" rows="6" readonly spellcheck="false" aria-label="Files"></textarea></details>'
        f"<p class=keys>{KEYS}</p></section>"
    )


class Head(NamedTuple):
    """One column of the table."""

    name: str
    words: str
    more: str = ""
    """What is told at the pointer."""
    shown: bool = True
    """Whether it is seen before one asks for it."""
    hint: str = "text"
    """What may stand in its filter."""

    @property
    def hidden(self) -> str:
        return "" if self.shown else " hidden"

    @property
    def ruled(self) -> str:
        """The column's head, by which the table is sorted."""
        words = f'<button type="button">{escape(self.words)}</button>'
        return f'<th scope="col" data-c="{self.name}" title="{escape(self.more)}"{self.hidden}>{words}</th>'

    @property
    def filter(self) -> str:
        """Where one writes which rows shall stay."""
        field = f'<input aria-label="filter by {self.name}" placeholder="{escape(self.hint)}">'
        return f'<td data-c="{self.name}"{self.hidden}>{field}</td>'

    @property
    def check(self) -> str:
        """Where one says whether the column is seen."""
        field = f'<input type="checkbox" data-column="{self.name}"{" checked" * self.shown}>'
        return f"<label>{field} {escape(self.words)}</label>"

    def cell(self, chart: Chart, i: int) -> str:
        """What stands in the row of frame i."""
        if self.name == "verdict":
            return f"<td>{'A' if chart.approved[i] else 'X'}</td>"
        if self.name == "file":
            return f'<td title="{escape(chart.paths[i])}"><bdi>{escape(chart.files[i])}</bdi></td>'
        if self.name in ("group", "remarks"):
            words = chart.groups[chart.group[i]] if self.name == "group" else chart.reasons[i]
            return f"<td{self.hidden} class=words>{escape(words)}</td>"
        return f"<td{self.hidden} class=n>{chart.columns[self.name].text(i)}</td>"


def heads_of(chart: Chart) -> list[Head]:
    """The columns of the table: verdict, file, time, the figures, what was said of each frame."""
    heads = [Head("verdict", "Verdict", "A approved, X left out", hint="A or X"), Head("file", "File")]
    time = chart.columns[TIME]
    heads += [Head(TIME, time.title, time.words)] if np.isfinite(time.values).any() else []
    for name in chart.shown:
        column = chart.columns[name]
        heads.append(Head(name, column.title, column.words, name in chart.usual and name not in ASKED, "< 4"))
    heads += [Head("group", "Group", shown=False)] if len(chart.groups) > 1 else []
    return [*heads, Head("remarks", "Remarks", "why it is left out, and what is odd about it")]


def table(chart: Chart) -> str:
    """All frames as a table."""
    heads = heads_of(chart)
    rows = "\n".join(
        f'<tr data-i="{i}" class="{"kept" if chart.approved[i] else "left"}{" hand" * chart.locked[i]}">'
        f"{''.join(head.cell(chart, i) for head in heads)}</tr>"
        for i in range(len(chart))
    )
    ruled, filters, checks = ("".join(getattr(h, part) for h in heads) for part in ("ruled", "filter", "check"))
    return (
        f"<details id=columns><summary>Columns</summary>{checks}</details>"
        f'<div class="scroll"><table id="table"><thead><tr>{ruled}</tr><tr class="filters">{filters}</tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def facts(chart: Chart) -> dict[str, Any]:
    """What the script of the page knows of the frames."""
    groups, names = choices(chart), [*chart.shown]
    return {
        "files": chart.paths,
        "locked": chart.locked,
        "approved": [bool(kept) for kept in chart.approved],
        "group": [int(g) for g in chart.group],
        "columns": {n: {"title": c.title, "values": c.values.tolist()} for n, c in chart.columns.items()},
        "bands": {n: {where(chart, g): chart.band(n, g) for g in groups} for n in names},
        "captions": {n: {where(chart, g): chart.caption(n, g) for g in groups} for n in names},
        "frontiers": {where(chart, g): known.columns() for g, known in chart.frontiers.items()},
        "bins": {n: {where(chart, g): bars(chart.bins(n, g)) for g in groups} for n in names},
    }


def bars(bins: Bins | None) -> dict[str, Any] | None:
    """A histogram as plain lists."""
    return bins and {
        "left": bins.edges[:-1].tolist(), "right": bins.edges[1:].tolist(), "approved": bins.approved.tolist(),
        "rejected": bins.rejected.tolist(), "all": (bins.approved + bins.rejected).tolist(),
    }  # fmt: skip


def packed(value: Any) -> str:
    """A value as JSON that can stand in a page: nothing in it ends the script, NaN and infinity are null."""
    return json.dumps(plain(value), separators=(",", ":")).replace("<", "\\u003c")


def plain(value: Any) -> Any:
    """The value without what JSON has no word for; figures keep 9 digits."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(f"{value:.9g}") if abs(value) < 1e9 else value
    return value


def section(chart: Chart) -> str:
    """The night at small size, for a report that tells other things too: plain SVG, no script."""
    parts = [f"<style>{svg.STYLE}{SMALL_STYLE}</style><h2>{escape(chart.title)}</h2><p>{escape(chart.summary())}</p>"]
    parts += [f"<p>{escape(line)}</p>" for line in chart.lines]
    for group, words in enumerate(chart.groups):
        names = [name for name in SMALL if name in chart.shown and chart.band(name, group)]
        plots = "".join(f"<div>{svg.night(chart, name, group, 340, 190)}</div>" for name in names)
        parts.append(f'<h3>{escape(words)}</h3><div class="plots">{plots}</div>')
    lost = [f"<li>{escape(chart.files[i])}: {escape(chart.reasons[i])}</li>" for i in np.flatnonzero(~chart.approved)]
    if lost:
        parts.append(f"<details><summary>{len(lost)} left out</summary><ul>{''.join(lost)}</ul></details>")
    return writable(f'<section class="night">{"".join(parts)}</section>')
