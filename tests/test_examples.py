"""The examples run, and the script and the recipe of a pair do the same."""

import subprocess
import sys
from pathlib import Path

import pytest
import sky

import masterlight as ml

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_surface_example_runs(script, tmp_path):
    truth = sky.written()
    done = subprocess.run(
        [sys.executable, script, truth.folder, tmp_path / "out"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "6 frames, noise" in done.stdout
    told = (tmp_path / "out" / "report.json").read_text()
    recipe = ml.from_toml(ml.Recipe, script.with_suffix(".toml").read_text())
    assert f'"low": {recipe.integrate.rejection.low}' in told
