"""Findings for people: a page for the browser, lines for the console."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape as html_escape
from pathlib import Path

import numpy as np

from masterlight.doctor.findings import WORDS, Finding, by_gravity, some, summary
from masterlight.session.words import NUMBER, visible

TAIL = 24
"""Sentences of one kind end alike, with what to do; they begin with the frames and figures of each."""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #222;
  background: #fafafa }
h1 { font-size: 1.5rem } h2 { font-size: 1.05rem; margin: 0 0 .3rem }
article { background: #fff; border-left: .4rem solid #999; border-radius: .3rem; margin: 1rem 0; padding: .8rem 1.1rem;
  box-shadow: 0 1px 3px #0002; overflow: hidden }
article.error { border-color: #c62828 } article.warn { border-color: #ef8f00 } article.info { border-color: #4682b4 }
img { float: right; max-width: 46%; margin: 0 0 .4rem 1rem; image-rendering: pixelated; border: 1px solid #ddd }
.figure { font-weight: 600 } .id { color: #777; font-weight: 400 } details { color: #555; font-size: .85rem }
"""


def escape(text: object) -> str:
    """A text inside of HTML: nothing in it is markup, and what turns the direction of writing is shown."""
    return html_escape(visible(text))


def kind_of(one: Finding) -> tuple[str, ...]:
    """What a finding says whatever frames, groups and figures it tells of: the same for all that are told as one."""
    return one.id, one.severity, one.title, one.unit, NUMBER.sub("#", one.sentence)[-TAIL:]


def gathered(findings: Sequence[Finding]) -> list[Finding]:
    """Findings from the gravest on, of many of one kind the worst, with their count and all their frames."""
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for one in by_gravity(findings):
        kinds.setdefault(kind_of(one), []).append(one)
    return by_gravity(as_one(same) for same in kinds.values())


def as_one(same: Sequence[Finding]) -> Finding:
    """One finding for some of a kind: the words of the worst."""
    worst = max(same, key=departure)
    others = [one for one in same if one is not worst]
    if not others:
        return worst
    names = some([one.sources[0] for one in others if one.sources], most=2)
    sources = dict.fromkeys(source for one in (worst, *others) for source in one.sources)
    sentence = f"{worst.sentence} (the worst of {len(same)} such{f'; also {names}' if names else ''})"
    return replace(worst, sentence=sentence, sources=tuple(sources))


def departure(one: Finding) -> float:
    """How far the figure of a finding is from its threshold: as a ratio, where both are above zero."""
    if one.figure is None or one.threshold is None:
        return 0.0
    if one.figure > 0 and one.threshold > 0:
        return abs(math.log(one.figure / one.threshold))
    return abs(one.figure - one.threshold)


def text(findings: Sequence[Finding]) -> str:
    """Findings as lines of the console, the gravest first."""
    if not findings:
        return "The doctor finds nothing wrong with these calibration frames."
    return "\n".join(f"{f.severity:<5} {f.id}  {f.title}: {visible(f.sentence)}" for f in gathered(findings))


def html(findings: Sequence[Finding], title: str, more: str = "") -> str:
    """One self-contained page: findings from the gravest on, each with its figure, advice, frames and picture.

    more: what follows them, as HTML.
    """
    found = gathered(findings)
    body = "\n".join(article(f) for f in found) or "<p>Nothing is wrong with these calibration frames.</p>"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<p>{summary(found)}</p>\n{body}\n{more}</body></html>\n"
    )


def article(f: Finding) -> str:
    """One finding as HTML."""
    picture = f'<img src="{data_uri(f.picture)}" alt="{escape(f.title)}">' if f.picture is not None else ""
    files = "".join(f"<li>{escape(Path(source).name)}</li>" for source in f.sources)
    frames = f"<details><summary>{len(f.sources)} frames</summary><ul>{files}</ul></details>"
    limit = f", threshold {f.threshold:.4g}" if f.threshold is not None else ""
    figure = f'<p class="figure">{f.figure:.4g} {escape(f.unit)}{limit}</p>' if f.figure is not None else ""
    return (
        f'<article class="{f.severity}">{picture}<h2>{escape(f.title)} <span class="id">{f.id}, {WORDS[f.severity]}'
        f"</span></h2>\n{figure}<p>{escape(f.sentence)}</p>{frames if f.sources else ''}</article>"
    )


def data_uri(picture: np.ndarray) -> str:
    """A picture as PNG inside the page."""
    from PIL import Image

    array = np.ascontiguousarray(np.moveaxis(picture, 0, -1)) if picture.ndim == 3 else picture
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
