"""Small nights that generators outside of this repository make; tests that use them skip where these are absent."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

CASES = Path(os.environ.get("MASTERLIGHT_CASES", Path(__file__).parents[2] / "shared" / "cases"))
needed = pytest.mark.skipif(not CASES.is_dir(), reason="no generators of cases here")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """case(name): the folder of a small night, made once."""

    @cache
    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        subprocess.run([sys.executable, str(CASES / f"{name}.py"), str(folder)], cwd=CASES, check=True)
        return folder

    return made
