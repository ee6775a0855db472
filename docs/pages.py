"""What the scripts that make the pages share: running a page, replacing a part of it, pictures."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np

from masterlight.core.stretch import preview
from masterlight.io.raster import write_png

ROOT = Path(__file__).parents[1]
COLUMNS = "104"
"""Width of the terminal that pages show."""


def make(page: Path, extras: Callable[[], None]) -> None:
    """Run a page in an empty folder; without --check also make there what it shows."""
    with tempfile.TemporaryDirectory() as folder:
        run_page(page, Path(folder))
        if "--check" not in sys.argv:
            os.chdir(folder)
            extras()


def run_page(page: Path, folder: Path) -> None:
    """Run the blocks of a page in their order; those of Python share their names."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    before, names = Path.cwd(), {}
    os.chdir(folder)
    try:
        for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            print(block, flush=True)
            if language == "python":
                exec(compile(block, str(page), "exec"), names)
            else:
                for command in block.replace("\\\n", "").splitlines():
                    run_command(command)
    finally:
        os.chdir(before)


def run_command(command: str) -> None:
    """Run a line of a page; 1 says that frames were left out, which is no fault."""
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if done.returncode not in (0, 1) or done.stderr:
        raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
    print(done.stdout, flush=True)


def terminal(command: str, unseen: str = "", without: str | None = None) -> str:
    """A block with a command and what it prints on a terminal of one width.

    unseen: what is added to it, and not shown; without: lines with this word stand there as one with dots.
    """
    told = {"shell": True, "capture_output": True, "text": True, "env": os.environ | {"COLUMNS": COLUMNS}}
    done = subprocess.run(command + unseen, **told)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
    lines: list[str] = []
    for line in done.stdout.rstrip().splitlines():
        if not (without and without in line):
            lines += textwrap.wrap(line, int(COLUMNS), subsequent_indent=" " * 15) or [""]
        elif lines[-1:] != ["..."]:
            lines.append("...")
    return "\n".join(["```text", f"$ {command}", *lines, "```"])


def replace_part(page: Path, name: str, text: str) -> None:
    """Put `text` between the marks `<!-- name -->` and `<!-- /name -->` of a page."""
    new = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
    whole = re.sub(f"<!-- {name} -->.*<!-- /{name} -->", lambda _: new, page.read_text(), flags=re.DOTALL)
    page.write_text(whole)


def alike(*images: np.ndarray) -> np.ndarray:
    """Images beside one another in one stretch."""
    return preview(np.hstack(images))


def save(path: Path, picture: np.ndarray, times: int = 1) -> None:
    """A picture with each pixel enlarged."""
    path.parent.mkdir(exist_ok=True)
    write_png(path, picture.repeat(times, axis=-2).repeat(times, axis=-1))
