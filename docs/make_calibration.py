"""Run every command and every Python line of docs/calibration.md in an empty folder, and make its pictures.

.venv/bin/python docs/make_calibration.py [--check]     --check runs the page and makes no pictures
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from masterlight import ArrayFrame, CosmeticCorrection, Debayer, ImageCalibration, read, scan
from masterlight.io.raster import preview, write_png

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "calibration.md"
PICTURES = ROOT / "docs" / "calibration"


def main() -> None:
    check = "--check" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        run_page(Path(folder), PAGE.read_text())
        if not check:
            os.chdir(folder)
            make_pictures()


def run_page(folder: Path, text: str) -> None:
    """Run the blocks of a page in their order; those of Python share their names."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    before, names = Path.cwd(), {}
    os.chdir(folder)
    try:
        for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            print(block, flush=True)
            if language == "python":
                exec(compile(block, str(PAGE), "exec"), names)
            else:
                for command in block.replace("\\\n", "").splitlines():
                    done = subprocess.run(command, shell=True, capture_output=True, text=True)
                    if done.returncode not in (0, 1) or done.stderr:
                        raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
                    print(done.stdout, flush=True)
    finally:
        os.chdir(before)


def make_pictures() -> None:
    """The pictures of the page, from what its commands left in this folder."""
    PICTURES.mkdir(exist_ok=True)
    bias, dark = np.asarray(read("bias.fits")), np.asarray(read("dark.fits"))
    save("bias", preview(bias[:250, :375]), 2)
    plain, model = bias[:250, :250], np.asarray(read("superbias.fits"))[:250, :250]
    save("superbias", alike(plain, model), 2)
    column = int(np.argmax(np.median(dark[-130:], axis=0)))
    left = min(max(0, column - 100), dark.shape[1] - 200)
    corner = np.s_[-130:, left : left + 200]
    save("dark", preview(dark[corner]), 4)
    save("flat", preview(np.asarray(read("flat.fits"))), 1)
    light = [frame for frame in scan("night").frames if frame.meta.kind == "light"][0]
    name = Path(light.source).stem
    save("light", np.hstack([preview(np.asarray(light)), preview(np.asarray(read(f"calibrated/{name}_c.fits")))]), 1)
    calibration, cosmetic = ImageCalibration(), CosmeticCorrection()
    view = calibration(light, calibration.masters(bias=read("bias.fits"), flat=read("flat.fits")))
    save("cosmetic", alike(view[corner], cosmetic(view, cosmetic.defects(read("dark.fits")))[corner]), 3)
    mosaic = calibrated_mosaic()
    y, x = np.unravel_index(np.argmax(mosaic[60:-60, 60:-60]), (mosaic.shape[0] - 120, mosaic.shape[1] - 120))
    crop = mosaic[y - y % 2 : y - y % 2 + 120, x - x % 2 : x - x % 2 + 120]
    colour = Debayer(pattern="RGGB")(ArrayFrame.of(crop, "crop"))
    save("debayer", np.concatenate([np.stack([preview(crop)] * 3), preview(np.asarray(colour), linked=False)], 2), 4)
    (master,) = Path("colour_result").glob("master_light*.fits")
    save("colour", preview(np.asarray(read(master)), linked=False), 1)


def calibrated_mosaic() -> np.ndarray:
    """The first light of the colour night, calibrated and repaired with the masters of its run."""
    found = {frame.meta.kind: frame for frame in scan("colour_result/masters").frames}
    raw = [frame for frame in scan("colour").frames if frame.meta.kind == "light"][0]
    calibration, cosmetic = ImageCalibration(), CosmeticCorrection()
    view = calibration(raw, calibration.masters(dark=found["dark"], flat=found["flat"]))
    return np.asarray(cosmetic(view, cosmetic.defects(found["dark"])))


def alike(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two images beside one another in one stretch."""
    return preview(np.hstack([left, right]))


def save(name: str, picture: np.ndarray, times: int) -> None:
    """A picture with each pixel enlarged."""
    write_png(PICTURES / f"{name}.png", picture.repeat(times, axis=-2).repeat(times, axis=-1))


if __name__ == "__main__":
    main()
