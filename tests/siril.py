"""Siril, where it is installed: an authority on its own files."""

import shutil
import subprocess

import pytest

SIRIL = shutil.which("siril-cli")
installed = pytest.mark.skipif(SIRIL is None, reason="siril-cli is not installed")


def run(folder, *lines: str) -> str:
    """What Siril says while it does these lines of a script in a folder."""
    (folder / "script.ssf").write_text("\n".join(["requires 1.0.0", "setext fits", *lines, ""]))
    done = subprocess.run(
        [SIRIL, "-d", folder, "-s", folder / "script.ssf"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Script execution finished successfully" in done.stdout + done.stderr, done.stdout[-2000:]
    return done.stdout + done.stderr
