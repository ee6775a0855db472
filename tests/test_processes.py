"""The table of steps: a row is all that a process needs to be done by hand."""

from typing import Annotated

import numpy as np
import pytest
from click.testing import CliRunner
from pydantic import Field

from masterlight import ArrayFrame, processes, read, write
from masterlight.core.errors import OutputError
from masterlight.core.process import process
from masterlight.doors import cli
from masterlight.doors.cli import main
from masterlight.doors.flags import Verb
from masterlight.doors.hand import steps
from masterlight.doors.hand.steps import by_hand
from masterlight.processes import STEPS, Step


@process
class Brighter:
    """Multiply an image."""

    factor: Annotated[float, Field(gt=0)] = 2.0
    """By how much pixels are multiplied."""

    def __call__(self, frame):
        return ArrayFrame.of(np.asarray(frame) * self.factor, frame.source, frame.meta)


@pytest.fixture
def brighter(monkeypatch):
    """A row for a process that nothing else knows of."""
    row = Step("brighter", "Brighter", "Multiply.", "masterlight brighter a.fits -o out", ("factor",), ending="_b")
    monkeypatch.setitem(STEPS, "brighter", row)
    for module in (processes, cli, steps):
        monkeypatch.setattr(module, "load", lambda name: Brighter)
    monkeypatch.setitem(main.commands, "brighter", Verb(row, cli.carry_out))
    return row


def test_surface_a_row_is_all_that_a_process_needs(brighter, tmp_path):
    for i in (1, 2):
        write(tmp_path / f"a{i}.fits", np.full((20, 30), i, np.float32))
    (tmp_path / "b.fits").write_bytes(b"SIMPLE")
    done = CliRunner().invoke(main, ["brighter", str(tmp_path), "-o", str(tmp_path / "out"), "--factor", "3"])
    assert done.exit_code == 1 and "rejected" in done.output and "b.fits" in done.output
    assert [np.asarray(read(tmp_path / "out" / f"a{i}_b.fits")).max() for i in (1, 2)] == [3, 6]
    told = CliRunner().invoke(main, ["brighter", "--help"]).output
    assert "--factor  above 0 [2]" in told and "By how much pixels are multiplied." in told
    wrong = CliRunner().invoke(main, ["brighter", str(tmp_path), "-o", str(tmp_path / "out"), "--factor", "0"])
    assert wrong.exit_code == 2 and "masterlight: --factor: input should be greater than 0" in wrong.output


def test_bad_outputs_never_replace_an_input(brighter, tmp_path):
    for name in ("a", "a_b"):
        write(tmp_path / f"{name}.fits", np.ones((20, 30), np.float32))
    with pytest.raises(OutputError, match="is one of the frames to work on"):
        list(by_hand("brighter", [tmp_path], tmp_path, overwrite=True))
    *_, done = by_hand("brighter", tmp_path / "a.fits", tmp_path, overwrite=True)
    assert done.result == ([tmp_path / "a_b.fits"], [])
    with pytest.raises(OutputError, match="exists; choose another name, or pass overwrite=True"):
        list(by_hand("brighter", tmp_path / "a.fits", tmp_path))


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_surface_a_row_of_the_table_names_what_is_there(step):
    """The example of each row is a line that its own flags take, and the knobs that people turn are among them."""
    flags = {step.flag(knob.path) for knob in step.knobs()}
    assert {f"--{name.replace('_', '-')}" for name in step.turned} <= flags
    words = step.example.partition(" >")[0].split()[2:]
    main.commands[step.verb].make_context(step.verb, words, resilient_parsing=False)
