"""Findings for people: a page for the browser, lines for the console."""

import base64
import io
from collections.abc import Sequence
from html import escape as html_escape
from pathlib import Path

import numpy as np

from masterlight.doctor.findings import WORDS, Finding, by_gravity, summary
from masterlight.session.words import visible

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


def text(findings: Sequence[Finding]) -> str:
    """Findings as lines of the console, the gravest first."""
    if not findings:
        return "The doctor finds nothing wrong with these calibration frames."
    return "\n".join(f"{f.severity:<5} {f.id}  {f.title}: {visible(f.sentence)}" for f in by_gravity(findings))


def html(findings: Sequence[Finding], title: str) -> str:
    """One self-contained page: findings from the gravest on, each with its figure, advice, frames and picture."""
    found = by_gravity(findings)
    body = "\n".join(article(f) for f in found) or "<p>Nothing is wrong with these calibration frames.</p>"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<p>{summary(found)}</p>\n{body}\n</body></html>\n"
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
