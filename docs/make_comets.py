"""Run every command of docs/comets.md in an empty folder, and make its picture and what it tells.

.venv/bin/python docs/make_comets.py [--check]     --check runs the page and makes nothing
"""

from pathlib import Path

import numpy as np
from pages import ROOT, make, replace_part, save

from masterlight import read
from masterlight.core.stretch import preview

PAGE = ROOT / "docs" / "comets.md"
PICTURES = ROOT / "docs" / "comets"
NAMES = "", "_stars", "_comet", "_composite"
CROP = np.s_[70:420, 60:660]


def make_picture() -> None:
    PICTURES.mkdir(exist_ok=True)
    shown = [preview(np.asarray(read(f"made/master_light_Field-7_L{name}.fits")), linked=False)[CROP] for name in NAMES]
    save(PICTURES / "four.png", np.vstack([np.hstack(shown[:2]), np.hstack(shown[2:])]))
    lines = Path("made/console.txt").read_text().splitlines()
    told = [line[15:].strip() for line in lines if "the comet moves" in line]
    replace_part(PAGE, "told", "\n".join(["```text", *told, "```"]))


if __name__ == "__main__":
    make(PAGE, make_picture)
