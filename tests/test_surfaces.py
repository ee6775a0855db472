"""Flag, TOML, card and default of every process are the same declaration."""

import functools
import re
import subprocess
import sys
from dataclasses import is_dataclass

import click
import pytest
from click.testing import CliRunner

import masterlight as ml
from masterlight.core.process import from_toml, knobs, plain, to_toml, validate
from masterlight.doors import cli
from masterlight.doors.cli import main
from masterlight.doors.flags import flag, successor, typed_knobs
from masterlight.night.recipe import Recipe
from masterlight.processes import PROCESSES, STEPS, Step, load, replay
from masterlight.simulate import Night

ALL = [*PROCESSES, "Recipe", "Night"]


def process_of(name):
    return {"Recipe": Recipe, "Night": Night}.get(name) or load(name)


def other_value(knob):
    """An allowed value of a knob that is not its default."""
    if knob.choices:
        return next(c for c in knob.choices if c != knob.default)
    if isinstance(knob.default, bool):
        return not knob.default
    if isinstance(knob.default, tuple):
        return (*knob.default, *knob.default)[: len(knob.default)]
    if isinstance(knob.default, (int, float)):
        high = knob.maximum if knob.maximum is not None else knob.default * 2 + 1
        middle = (knob.default + high) / 2 if high != knob.default else (knob.minimum + high) / 2
        return int(middle) if isinstance(knob.default, int) else middle
    if "str" in str(knob.type):
        return "GRBG" if knob.path.endswith("pattern") else "x"
    return (knob.minimum or 0) + 300 if knob.maximum is None else knob.maximum


def tree(values):
    """Dotted names as nested mappings, as TOML has them; unlike `build`, nobody asks whether each does something."""
    nested = {}
    for path, value in values.items():
        *parents, leaf = path.split(".")
        functools.reduce(lambda node, parent: node.setdefault(parent, {}), parents, nested)[leaf] = value
    return nested


@pytest.mark.parametrize("name", ALL)
def test_surface_every_knob_is_explained(name):
    for knob in knobs(process_of(name)):
        assert knob.help.endswith((".", ")")), f"{name}.{knob.path} says nothing"


@pytest.mark.parametrize("name", ALL)
def test_surface_toml_and_card_give_the_same_process_back(name):
    cls = process_of(name)
    changed = validate(cls, tree({knob.path: other_value(knob) for knob in knobs(cls)}))
    assert changed != cls() or not list(knobs(cls))
    assert from_toml(cls, to_toml(changed)) == changed
    assert from_toml(cls, to_toml(cls())) == cls()
    if name in PROCESSES:
        assert replay(ml.card(changed)) == changed


@pytest.mark.parametrize("name", ALL)
def test_surface_flags_give_the_same_process(name):
    """What is typed after a flag, as text, builds the same process as the value itself."""
    cls, step = process_of(name), STEPS["run"]
    for knob in knobs(cls):
        value, name = other_value(knob), knob.path.replace("_", "-")
        typed = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words = [f"--{name}", typed]
        if isinstance(value, bool):
            words = [f"--{name}" if value else f"--no-{name}"]
        parsed = click.Command("test", params=[flag(knob, step)]).make_context("test", words).params
        assert validate(cls, tree(typed_knobs(parsed))) == validate(cls, tree({knob.path: value})), knob.path


@pytest.mark.parametrize("name", ALL)
def test_surface_processes_are_plain_values(name):
    made = process_of(name)()
    assert is_dataclass(made)
    assert hash(made) == hash(process_of(name)())
    assert isinstance(plain(made), dict)


def test_surface_recipe_verb_prints_what_run_takes(tmp_path):
    printed = CliRunner().invoke(main, ["recipe", "--integrate.rejection.low", "3.25", "--memory-mb", "2000"])
    assert printed.exit_code == 0
    made = from_toml(Recipe, printed.output)
    assert made.integrate.rejection.low == 3.25
    assert made.memory_mb == 2000
    path = tmp_path / "night.toml"
    path.write_text(printed.output)
    again = CliRunner().invoke(main, ["recipe", "-r", str(path), "--memory-mb", "off"])
    assert from_toml(Recipe, again.output).memory_mb is None
    assert from_toml(Recipe, again.output).integrate == made.integrate


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere", "--out", "x"], "nowhere"),
        (["plan", "."], "no "),
        (["run", ".", "--out", "x", "-r", "none.toml"], "none.toml"),
        (["run", ".", "--out", "x", "--integrate.rejection.low", "-3"], "integrate.rejection.low"),
        (["run", ".", "--out", "x", "--workers", "moon"], "moon"),
    ],
)
def test_bad_command_line_is_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 2
    assert words in told.output
    assert "Traceback" not in told.output
    assert not (tmp_path / "x").exists()


def test_surface_importing_is_quick():
    """`import masterlight` loads neither numpy nor any process; 200 ms is the limit, an empty python takes 20."""
    code = "import sys, masterlight; print([m for m in ('numpy', 'numba', 'astropy', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_surface_public_names_are_there():
    for name in ml.__all__:
        assert getattr(ml, name) is not None


def test_surface_help_tells_the_defaults_of_the_recipe():
    usual = {knob.path: knob.default for knob in knobs(Recipe)}
    assert usual["bias.normalization"] == "none"
    assert usual["flat.normalization"] == "multiplicative"
    assert usual["integrate.normalization"] == "additive+scaling"
    assert usual["dark.rejection.low"] == 6


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
    assert len(lines) <= 40 and all(len(line) <= 80 for line in lines), "\n".join(lines)
    assert STEPS[verb].summary in lines and f"  {STEPS[verb].example}" in lines
    everything = shown(verb, "--help-all")
    for knob in STEPS[verb].knobs():
        assert re.search(rf"--(\[no-\])?{STEPS[verb].flag(knob.path)[2:]}\s", everything), knob.path


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_surface_a_row_of_the_table_names_what_is_there(step):
    """The example of each row is a line that its own flags take, and the knobs that people turn are among them."""
    flags = {step.flag(knob.path) for knob in step.knobs()}
    assert {f"--{name.replace('_', '-')}" for name in step.turned} <= flags
    words = step.example.partition(" >")[0].split()[2:]
    main.commands[step.verb].make_context(step.verb, words, resilient_parsing=False)


def test_surface_a_chapter_of_the_flags():
    chapter = shown("run", "--help", "drizzle")
    assert "--drizzle.kernel" in chapter and "--integrate" not in chapter
    assert chapter == shown("help", "run", "drizzle") and "0.1 to 1 [0.9]" in chapter
    assert shown("help", "run", "drizzle.scale").count("--") == 1
    wrong = CliRunner().invoke(main, ["run", "--help", "driz"])
    assert wrong.exit_code == 2 and "there are bias" in wrong.output


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


def test_surface_the_recipe_verb_is_read_without_a_word(tmp_path):
    path = tmp_path / "night.toml"
    path.write_text(shown("recipe"))
    again = CliRunner().invoke(main, ["recipe", "-r", str(path)])
    assert again.stderr == "" and again.stdout == path.read_text()
    assert "(64 to 8192 px [256])" in again.stdout


def test_bad_flags_are_told_as_the_verb_calls_them(tmp_path):
    for words, told in (
        (
            ["integrate", "x.fits", "-o", "y.fits", "--rejection.low", "-3"],
            "masterlight: --rejection.low: input should",
        ),
        (["run", ".", "-o", "x", "--integrate.rejection.lwo", "3"], "--integrate.rejection.low"),
    ):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 2 and told in done.output, done.output


def test_truth_a_recipe_keeps_the_masters_own_defaults():
    made = from_toml(Recipe, "[bias]\ncombination = 'median'\n")
    assert made.bias.combination == "median" and made.bias.normalization == Recipe().bias.normalization == "none"


def test_bad_flags_of_earlier_versions_name_their_successor():
    assert successor("--integrate.rejection.percentile-low") == (
        "--integrate.rejection.percentile-low is no more; --integrate.rejection.low took its place"
    )
    assert successor("--rejection.linear-fit-high").endswith("; --rejection.high took its place")
    assert successor("--rejection.profile") == "--rejection.profile is no more"
    assert successor("--rejection.low") == ""


def test_bad_knobs_of_a_recipe_file_that_do_nothing_are_named_in_one_line(tmp_path, monkeypatch, capsys):
    from test_process import Rule

    monkeypatch.setattr(cli, "load", lambda name: Rule)
    path, step = tmp_path / "rule.toml", Step("try", "Rule", "Try.", "masterlight try", ("low",))
    path.write_text("algorithm = 'minmax'\nlow = 3.0")
    assert cli.process_of(step, {"recipe": str(path)}).low == 3
    told = capsys.readouterr().err
    assert told == f"{path}: without effect: low does nothing with algorithm minmax; it is for algorithm sigma or mad\n"
    path.write_text(to_toml(Rule()))
    cli.process_of(step, {"recipe": str(path), "knob__algorithm": "minmax"})
    assert capsys.readouterr().err == ""
