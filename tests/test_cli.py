"""The command line: what it prints, and how it says no."""

import pytest
from click.testing import CliRunner

from masterlight.core.process import from_toml, to_toml
from masterlight.doors import cli
from masterlight.doors.cli import main
from masterlight.night.recipe import Recipe
from masterlight.processes import Step


def shown(*words):
    """What a command prints; it must have gone well."""
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done.output


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


@pytest.mark.parametrize(("terminal", "lines"), [(True, ["  35*FWHN + 1", "     ^"]), (False, [])])
def test_surface_a_terminal_shows_the_place_in_a_formula(terminal, lines, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with pytest.raises(SystemExit):
        cli.fail("--approve: 'FWHN' is not known; is it FWHM? (at character 4: 35* --> FWHN + 1)", 2)
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("masterlight: --approve: 'FWHN' is not known; is it FWHM?") and told[1:] == lines
