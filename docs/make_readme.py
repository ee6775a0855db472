"""Run the demo and put its table and its picture into README.md.

.venv/bin/python docs/make_readme.py
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from pages import ROOT, replace_part, save

import masterlight as ml
from masterlight.core.stretch import preview

PICTURE = ROOT / "docs" / "demo.png"


def main() -> None:
    program = str(Path(sys.executable).parent / "masterlight")
    with tempfile.TemporaryDirectory() as folder:
        told = "$ masterlight simulate demo/night\n" + output_of(folder, program, "simulate", "demo/night")
        told += "$ masterlight run demo/night --out demo/result\n"
        told += shorten(output_of(folder, program, "run", "demo/night", "--out", "demo/result"))
        one, stack = frame_and_stack(Path(folder))
        beside(one, stack)
    text = (
        f"```\n{told}```\n\n![One calibrated light and the master light of twelve, stretched alike](docs/demo.png)\n\n"
    )
    text += "*Left: one calibrated light. Right: the master light. The same stretch for both.*"
    replace_part(ROOT / "README.md", "demo", text)


def output_of(folder: str, *command: str) -> str:
    """What a command prints on a plain terminal; exit status 1 says that frames were left out, which is no fault."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        shutil.copytree(folder, ROOT / "demo", dirs_exist_ok=True)
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def shorten(told: str, most: int = 3) -> str:
    """At most `most` lines in a row that begin with the same word, and the last of them: the page stays short."""
    lines = [line.rstrip() for line in told.splitlines()]
    words = [line.split(maxsplit=1)[0] if line.startswith(" ") and line.strip() else None for line in lines]
    kept, row = [], 0
    for i, line in enumerate(lines):
        row = row + 1 if i and words[i] and words[i] == words[i - 1] else 0
        last = i + 1 == len(lines) or words[i + 1] != words[i]
        if row < most or last:
            kept.append(line)
        elif row == most:
            kept.append(f"{'...':>14}")
    return "\n".join(kept) + "\n"


def frame_and_stack(folder: Path):
    """The reference light, calibrated as the run did it, and the master light."""
    report = json.loads((folder / "demo/result/report.json").read_text())
    made = {row["kind"]: ml.read(folder / row["path"]) for row in report["masters"]}
    calibration = ml.ImageCalibration()
    light = ml.read(folder / next(row["reference"] for row in report["masters"] if row["kind"] == "light"))
    masters = calibration.masters(dark=made["dark"], flat=made["flat"])
    return np.asarray(calibration(light, masters)), np.asarray(made["light"])


def beside(one, stack) -> None:
    """A detail of both, side by side, with one stretch."""
    rows, cols = np.s_[60:560], np.s_[640:1240]
    pair = np.concatenate([one[rows, cols], np.full((500, 8), np.nan), stack[rows, cols]], axis=1)
    save(PICTURE, preview(pair))


if __name__ == "__main__":
    main()
