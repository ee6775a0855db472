"""Texts as people see them."""

import os

import pytest

from masterlight.session.words import condense, how_many, kind_of, visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("M31 Hα -10 °C é 星", "M31 Hα -10 °C é 星"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\u202egpj.stif\u2066\u200f", "\\u202egpj.stif\\u2066\\u200f"),
        ("\x9b1m\x85\u2028", "\\x9b1m\\x85\\u2028"),
        (os.fsdecode(b"M31_\xff\xc3.fits"), "M31_\\xff\\xc3.fits"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_truth_what_steers_a_terminal_is_shown(text, seen):
    assert visible(text) == seen
    assert visible(seen) == seen


def test_truth_many_sentences_of_one_kind_are_one_with_names_and_count():
    bad = [f"rejected night/LIGHT/M31 {i}.fits: only {i} stars (measure)" for i in range(47)]
    told = condense(["master_bias.fits: 10 frames", *bad, "the end"])
    assert told == [
        "master_bias.fits: 10 frames",
        "rejected M31 0.fits, M31 1.fits, M31 2.fits and 44 more (47 in all): only 0 stars (measure), or like it",
        "the end",
    ]
    assert condense(bad[:3]) == bad[:3]
    assert condense(["no filter is told"] * 5) == ["no filter is told (and 4 more like this)"]


def test_truth_several_sentences_of_one_file_name_it_once():
    trails = [f"{name}.fits: trail {k}" for k, name in enumerate("aabbb")]
    assert condense(trails) == ["a.fits, b.fits: trail 0, or like it (5 in all)"]
    assert condense([f"a.fits: trail {k}" for k in range(4)]) == ["a.fits: trail 0, or like it (4 in all)"]
    many = [f"{name}.fits: trail" for name in "aabcde"]
    assert condense(many) == ["a.fits, b.fits, c.fits and 2 more: trail (6 in all)"]


def test_truth_one_is_told_as_one():
    assert [how_many(n, "light") for n in (0, 1, 2)] == ["0 lights", "1 light", "2 lights"]


def test_truth_sentences_of_two_kinds_stay_apart():
    assert kind_of("a.fits: 3 stars") == kind_of("dir/b.xisf: 12 stars")
    assert kind_of("a.fits: 3 stars") != kind_of("rejected a.fits: 3 stars")
    mixed = [f"{i}.fits: {what}" for i in range(4) for what in ("has no filter", "has no gain")]
    assert [line.rpartition(": ")[2] for line in condense(mixed)] == ["has no filter", "has no gain"]
