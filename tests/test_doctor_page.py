"""Findings for people: the page, the lines of the console, plain values."""

from html.parser import HTMLParser

import numpy as np

from masterlight.doctor import Finding, page, pictures


class Counter(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def some_findings():
    plot = pictures.line(np.arange(9.0), "frame", "median, DN")
    return [
        Finding("D16", "info", "Few", ("/night/a.fits",), 3.0, 15.0, "frames", "a.fits is <made> of 3"),
        Finding("D21", "error", "Twins", ("/night/b.fits", "/night/c.fits"), 2.0, 1.0, "equal", "equal", plot),
        Finding("D20", "warn", "Odd", ("/night/d.fits",), None, None, "", "odd", np.zeros((9, 9), np.uint8)),
    ]


def test_surface_page_is_one_well_formed_page_sorted_by_severity():
    text = page.html(some_findings(), "M 31 & others")
    parser = Counter()
    parser.feed(text)
    assert parser.open == []
    assert [attrs["class"] for tag, attrs in parser.tags if tag == "article"] == ["error", "warn", "info"]
    pictures_ = [attrs["src"] for tag, attrs in parser.tags if tag == "img"]
    assert len(pictures_) == 2 and all(src.startswith("data:image/png;base64,") for src in pictures_)
    assert "M 31 &amp; others" in text and "a.fits is &lt;made&gt;" in text and "http" not in text


def test_surface_page_and_text_without_findings():
    assert "Nothing is wrong" in page.html([], "A night")
    assert "nothing wrong" in page.text([])


def test_surface_text_is_a_line_for_each_finding():
    lines = page.text(some_findings()).splitlines()
    assert [line.split()[0] for line in lines] == ["error", "warn", "info"]
    assert "/night/" not in "".join(lines)


def test_surface_finding_as_dict_is_json():
    import json

    told = json.loads(json.dumps(some_findings()[1].as_dict()))
    assert told["sources"] == ["/night/b.fits", "/night/c.fits"]
    assert "picture" not in told


def depth(name, snr, wanted=500):
    sentence = f"master {name}: signal to noise of a pixel is {snr}: about {wanted / snr:.0f} flats would reach it"
    return Finding("D16", "warn", "Few", (f"master {name}",), snr, wanted, "signal to noise", sentence)


def test_truth_many_of_one_kind_are_told_once_with_the_worst_and_their_count():
    nights = [depth(f"flat {name} night {night}", 200 + 10 * i) for i, name in enumerate("LRGBHOSC") for night in "123"]
    lines = page.text([*nights, *some_findings()]).splitlines()
    assert len(lines) == 4
    assert "flat L night 1: signal to noise of a pixel is 200" in lines[1]
    assert "(the worst of 24 such; also master flat B night 1, master flat B night 2 and 21 more)" in lines[1]
    (one,) = page.gathered(nights)
    assert one.figure == 200 and len(one.sources) == 24
    assert page.html(nights, "night").count("<article") == 1
    assert page.gathered([depth("flat L", 200)])[0].sentence == depth("flat L", 200).sentence


def test_truth_findings_of_other_kinds_stay_apart():
    other = [
        Finding("D16", "info", "Few", ("master flat L",), 4.0, 15.0, "frames", "master flat L is made of 4 flats"),
        Finding("D16", "warn", "Few", ("x",), 4.0, 500.0, "signal to noise", "x: take longer ones"),
    ]
    assert len(page.gathered([depth("flat L", 200), depth("flat R", 300), *other])) == 3
