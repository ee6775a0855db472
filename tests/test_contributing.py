"""What CONTRIBUTING.md shows is true: its diff applies, and the algorithm that it adds rejects as its oracle does."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from masterlight.core.process import knobs
from masterlight.integration.rejection import Rejection

ROOT = Path(__file__).parents[1]
TRY = """
import sys
import numpy as np
import masterlight as ml
from masterlight.core.process import knobs
from masterlight.integration.kernels import combine
from masterlight.integration.rejection import Rejection
from masterlight.subframes.measure import Measurement
from oracles import rejection as oracle

(name,) = set(next(knob.choices for knob in knobs(Rejection) if knob.path == "algorithm")) - set(sys.argv[1].split())
rng = np.random.default_rng(3)
samples = rng.normal(1000, 10, (15, 30, 64)).astype(np.float32)
rays = rng.random(samples.shape) < 0.03
samples[rays] += 200
frames = [ml.ArrayFrame.of(array, f"{i}") for i, array in enumerate(samples)]
known = [Measurement(frame.source, location_dn=1000.0, scale_dn=(10.0, 10.0), noise_dn=1.0) for frame in frames]
rejection = Rejection(algorithm=name, normalization="none")
settings = ml.ImageIntegration(weights="none", normalization="none", rejection=rejection)
*_, done = settings(frames, known, verdicts=True)
found = np.array([done.result.verdicts.mask(i) for i in range(len(frames))])
terms, zero = done.result.terms[0], np.full(samples[0].size, 1000.0)
flat = samples.reshape(len(frames), -1)
columns, rule = terms.columns("average"), terms.rule(rejection)
_, _, verdicts, margins = oracle.integrate(flat, columns, rule, combine.AVERAGE, zero=zero)
sure = margins > 2e-3  # float32 may decide nearer cases the other way
np.testing.assert_array_equal(found.reshape(flat.shape)[:, sure], verdicts[:, sure])
assert sure.mean() > 0.95, sure.mean()
assert (found[rays] > 0).mean() > 0.99 and (found[~rays] > 0).mean() < 0.2, (found[~rays] > 0).mean()
print(name, "agrees with its oracle")
"""
"""Plain Python without compiling: the block is small. The noise told is small, too, so that no floor decides."""


@pytest.fixture(scope="module")
def diff() -> str:
    (block,) = re.findall(r"^```diff\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
    return block


def test_surface_an_algorithm_is_two_files_of_a_chapter_and_its_oracle(diff):
    touched = re.findall(r"^\+\+\+ b/(\S+)", diff, re.MULTILINE)
    ours = [path for path in touched if path.startswith("src/masterlight/integration/")]
    assert len(ours) == 2 and [path for path in touched if path not in ours] == ["tests/oracles/rejection.py"]


def test_oracle_the_algorithm_of_the_diff(diff, tmp_path):
    for part in ("src/masterlight", "tests/oracles"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    apply = ["git", "apply", "--recount", "-"]
    applied = subprocess.run(apply, cwd=tmp_path, input=diff, capture_output=True, text=True, check=False)
    assert applied.returncode == 0, applied.stderr
    before = next(knob.choices for knob in knobs(Rejection) if knob.path == "algorithm")
    paths = os.pathsep.join(str(tmp_path / part) for part in ("src", "tests"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-c", TRY, " ".join(before)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "agrees with its oracle" in done.stdout
