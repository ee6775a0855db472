"""Help fits a screen, tells what there is, and costs nothing."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from masterlight.doors.cli import main
from masterlight.processes import STEPS


def shown(*words):
    """What a command prints; it must have gone well."""
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_surface_help_lists_the_verbs_in_the_order_of_the_story():
    lines = shown("--help").splitlines()
    verbs = [line.split()[0] for line in lines if re.match("  [a-z]", line)]
    assert verbs == list(STEPS) and verbs[:4] == ["simulate", "doctor", "plan", "run"]
    hand = lines.index("By hand, one process at a time:")
    assert lines[hand + 1].split()[0] == "bias" and all(len(line) <= 80 for line in lines)
    assert not any("..." in line for line in lines[1:]) and shown("help") == shown("--help")


@pytest.mark.parametrize("verb", STEPS)
def test_surface_help_of_a_verb_fits_a_screen(verb):
    lines = shown(verb, "--help").splitlines()
    assert len(lines) < 40 and all(len(line) <= 80 for line in lines), "\n".join(lines)
    assert STEPS[verb].summary in lines and f"  {STEPS[verb].example}" in lines
    everything = shown(verb, "--help-all")
    for knob in STEPS[verb].knobs():
        assert re.search(rf"--(\[no-\])?{STEPS[verb].flag(knob.path)[2:]}\s", everything), knob.path


def test_surface_a_chapter_of_the_flags():
    chapter = shown("run", "--help", "drizzle")
    assert "--drizzle.kernel" in chapter and "--integrate" not in chapter
    assert chapter == shown("help", "run", "drizzle") and "0.1 to 1" in chapter
    assert shown("help", "run", "drizzle.scale").count("\n  --") == 1
    wrong = CliRunner().invoke(main, ["run", "--help", "driz"])
    assert wrong.exit_code == 2 and "there are bias" in wrong.output


def test_surface_help_says_what_a_knob_counts_as_when_it_is_left_out():
    told = shown("run", "--help")
    assert "--integrate.rejection.low  0 to 50 sigma [4]\n" in told and "[a quarter of the machine's]" in told
    everything = shown("integrate", "--help-all")
    assert "--rejection.high  0 to 50 sigma [3]\n" in everything and "e-/DN [as the headers say]\n" in everything
    assert "--rejection.range-low  DN [off]\n" in everything


HEAVY = {"numba", "scipy", "astropy", "rich", "dask", "PIL"}


@pytest.mark.parametrize("words", [
    ["--help"], ["run", "--help"], ["run", "--help-all"], ["help", "run", "integrate"], ["integrate", "--help"],
    ["simulate", "--help"], ["doctor", "--help"], ["recipe"],
])  # fmt: skip
def test_surface_help_and_recipe_import_nothing_heavy(words):
    code = (
        "import sys\nfrom masterlight.doors.cli import main\n"
        "try: main(sys.argv[1:])\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0 and not HEAVY & set(done.stderr.split()), HEAVY & set(done.stderr.split())
