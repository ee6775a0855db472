"""The page: one file, no network, the same with and without Bokeh; what it does in a browser."""

import json
import re
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from charts import chart_of, front_of, night_of

from masterlight.subframes.looks import page as pages
from masterlight.subframes.looks.chart import Chart
from masterlight.subframes.looks.page import packed, page, section

try:
    import bokeh

    WITH = [True, False]
except ModuleNotFoundError:
    bokeh, WITH = None, [False]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Read(HTMLParser):
    """The cells of the table, what the page would fetch, and which elements were left open."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.fetched, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.fetched += [v for k, v in attributes if k in ("src", "href", "action")]
        self.open += [tag] if tag not in ("meta", "input", "br", "link", "img") else []
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        if self.rows and "table" in self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += words


@pytest.mark.parametrize("with_bokeh", WITH)
@pytest.mark.parametrize(
    ("count", "filters", "unknown"), [(1, "L", 0.0), (5, "L", 0.5), (60, "L", 0.0), (200, "LRG", 0.15)]
)
def test_truth_the_page_is_one_small_file_with_every_frame_in_its_table(with_bokeh, count, filters, unknown):
    chart = chart_of(count, filters=filters, unknown=unknown)
    text = page(chart, with_bokeh)
    assert len(text.encode()) < 3e6
    read = Read(re.sub(r"<(script|style)[^>]*>.*?</\1>", "", text, flags=re.S))
    assert read.fetched == [] and read.open == []
    heads, rows = read.rows[0], read.rows[2:]
    assert len(rows) == count and {len(row) for row in rows} == {len(heads)}
    fwhm = heads.index("FWHM (px)") if "FWHM (px)" in heads else None
    for i, row in enumerate(rows):
        assert row[:2] == ["A" if chart.approved[i] else "X", chart.files[i]] and row[-1] == chart.reasons[i]
        assert fwhm is None or row[fwhm] == chart.columns["FWHM"].text(i)
    assert re.sub("&[^;]+;", "", text).count("<circle") <= text.count("data-i=")
    facts = json.loads(re.search(r'id="frames">(.*?)</script>', text)[1])
    assert facts["files"] == list(chart.paths) and facts["approved"] == chart.approved.tolist()


def test_surface_a_page_of_no_frames_and_of_names_that_are_no_text():
    for with_bokeh in WITH:
        assert "0 frames" in page(Chart.of(night_of(0)), with_bokeh)
        frames = [f.__class__(source=f"/n/{i}\udcff</script>.fits") for i, f in enumerate(night_of(2))]
        text = page(Chart.of(night_of().with_frames(frames)), with_bokeh)
        text.encode()
        assert "</script>.fits" not in text
    assert (
        packed({"a": [float("nan"), float("inf"), 1.0], "<": "</script>"})
        == '{"a":[null,null,1.0],"\\u003c":"\\u003c/script>"}'
    )


def test_truth_verdicts_by_hand_are_marked():
    night = night_of(3).approved_by("FWHM < 100")
    text = page(Chart.of(night.with_frames([night[0].mark(False), *night[1:]])), False)
    assert re.findall(r'<tr data-i="(\d)" class="(\w+ hand)"', text) == [("0", "left hand")]


def test_surface_without_bokeh_the_page_has_svg(monkeypatch):
    monkeypatch.setattr(pages.importlib.util, "find_spec", lambda name: None)
    text = page(chart_of(5))
    assert "<svg" in text and "Bokeh" not in text.split("<script")[0] and 'id="bokeh"' not in text


def test_surface_the_section_of_a_report_is_small():
    text = section(chart_of(200))
    assert len(text) < 150_000 and text.count("<svg") == 5 and "<script" not in text
    Read(re.sub(r"<style>.*?</style>", "", text))


ACTS = """
const source = Bokeh.documents[0].get_model_by_name("frames"), wait = (ms) => new Promise((go) => setTimeout(go, ms));
const seen = () => [...body.rows].filter((r) => !r.hidden), texts = (c) => seen().map((r) => r.cells[c].textContent);
source.selected.indices = [0, 3];
await wait(100);
told.selected_in_plot = [...document.querySelectorAll("tr.chosen")].map((r) => +r.dataset.i);
rows[6].click();
told.selected_in_table = [...source.selected.indices];
document.body.dispatchEvent(new KeyboardEvent("keydown", { key: kept(6) ? "x" : "a", bubbles: true }));
told.marked = [rows[6].cells[0].textContent, source.data.marker[6]];
$("listed").value = "marked"; $("listed").onchange();
told.list = $("list").value;
const c = heads.findIndex((h) => h.dataset.c === "FWHM");
heads[c].firstChild.click();
told.sorted = texts(c);
heads[c].firstChild.click();
told.sorted_down = texts(c);
filters[c].value = "3.2..3.6"; filters[c].oninput();
told.filtered = texts(c).map(Number);
told.members = Bokeh.documents[0].get_model_by_name("members").booleans.filter(Boolean).length;
filters[c].value = "< x"; filters[c].oninput();
told.wrong = filters[c].classList.contains("wrong");
filters[c].value = ""; filters[c].oninput();
$("group").value = "1"; $("group").onchange();
told.group = seen().length;
for (const [id, value] of [["y", "Noise"], ["across", "Index"], ["pair-x", "Stars"], ["y", "FWHM"]]) {
  $(id).value = value; $(id).onchange();
  await wait(50);
}
const night = Bokeh.documents[0].get_model_by_name("night");
told.across = night.renderers[0].glyph.x.field;
told.median = night.center.find((layer) => layer.name === "median").location;
const bins = Bokeh.documents[0].get_model_by_name("bins");
bins.selected.indices = [1];
await wait(50);
told.bar = [chosen.size, bins.data.all[1]];
told.hash = location.hash;
"""
STILL = """
const dot = [...document.querySelectorAll("section:not([hidden]) .plot-night .frames [data-i]")];
told.dots = dot.length;
dot[3].dispatchEvent(new MouseEvent("click", { bubbles: true }));
told.row = [...document.querySelectorAll("tr.chosen")].map((r) => +r.dataset.i);
told.ringed = [...document.querySelectorAll(".frames .chosen")].every((e) => +e.dataset.i === told.row[0]);
$("y").value = "Noise"; $("y").onchange();
const shown_plots = () => [...document.querySelectorAll("#plots > section:not([hidden])")];
told.seen = shown_plots().map((s) => [s.dataset.y, s.dataset.group]);
$("group").value = "1"; $("group").onchange();
told.seen_then = shown_plots().map((s) => [s.dataset.y, s.dataset.group]);
told.marks = marks.size;
"""


def acted(text, acts, folder, address=""):
    """What a script tells that acts on a page in a browser."""
    watch = "<script>const errors = [], told = {}; for (const kind of ['error', 'unhandledrejection']) "
    watch += "addEventListener(kind, (e) => errors.push(String(e.message || e.reason)));</script>"
    act = f"<script>setTimeout(async () => {{ try {{ {acts} }} catch (e) {{ errors.push(String(e)); }}\n"
    act += "told.fetched = performance.getEntriesByType('resource').map((e) => e.name); told.errors = errors;\n"
    act += "document.body.textContent = `told:${btoa(encodeURIComponent(JSON.stringify(told)))};`; }, 1500)</script>"
    text, _, end = text.replace("<body>", f"<body>{watch}", 1).rpartition("</body>")
    (folder / "night.html").write_text(f"{text}{act}</body>{end}")
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=6000"]
    words += [
        "--window-size=1400,1000",
        f"--user-data-dir={folder}/profile",
        (folder / "night.html").as_uri() + address,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    told = json.loads(unquote(b64decode(re.search(r"told:(.*?);", done.stdout)[1]).decode()))
    assert told["errors"] == [] and told["fetched"] == []
    return told


@pytest.mark.skipif(not BROWSER or not bokeh, reason="needs chromium and bokeh")
def test_surface_table_and_plots_share_one_selection_in_a_browser(tmp_path):
    chart = chart_of(60, filters="LR", unknown=0.1)
    chart.frontiers.update({0: front_of(), 1: front_of()})
    told = acted(page(chart, True), ACTS, tmp_path)
    assert told["selected_in_plot"] == [0, 3] and told["selected_in_table"] == [6]
    assert told["marked"] == (["X", "x"] if chart.approved[6] else ["A", "circle"])
    assert told["list"] == chart.paths[6]
    fwhm = chart.columns["FWHM"].values
    first = fwhm[::2]  # of the group that is shown
    order = [chart.columns["FWHM"].text(2 * i) for i in np.argsort(first, kind="stable")]
    known = np.isfinite(first).sum()
    assert told["sorted"] == order and told["sorted_down"][:known] == order[:known][::-1]
    assert set(told["sorted_down"][known:]) <= {"–"}
    assert len(told["filtered"]) == told["members"] == np.count_nonzero((first >= 3.2) & (first <= 3.6))
    assert told["wrong"] and told["group"] == 30 and told["across"] == "Index"
    assert told["median"] == pytest.approx(np.nanmedian(fwhm[1::2]))
    assert told["bar"][0] == told["bar"][1] == (lambda b: b.approved[1] + b.rejected[1])(chart.bins("FWHM", 1))
    again = acted(page(chart, False), STILL, tmp_path, told["hash"])  # a page of the same frames
    assert again["marks"] == 1
    other = acted(page(chart_of(59, filters="LR"), False), STILL, tmp_path, told["hash"])
    assert other["marks"] == 0


@pytest.mark.skipif(not BROWSER, reason="needs chromium")
def test_surface_plain_plots_share_the_selection_of_the_table_in_a_browser(tmp_path):
    chart = chart_of(60, filters="LR", unknown=0.1)
    told = acted(page(chart, False), STILL, tmp_path)
    known = np.flatnonzero(np.isfinite(chart.columns["FWHM"].values[::2]))
    assert told["dots"] == len(known) and told["row"] == [2 * known[3]] and told["ringed"]
    assert told["seen"] == [["Noise", "0"]] and told["seen_then"] == [["Noise", "1"]]
