"""Run every command and every Python line of docs/calibration.md in an empty folder, and make its pictures.

.venv/bin/python docs/make_calibration.py [--check]     --check runs the page and makes no pictures
"""

from pathlib import Path

import numpy as np
from pages import ROOT, alike, make, save

from masterlight import ArrayFrame, CosmeticCorrection, Debayer, ImageCalibration, read, scan
from masterlight.core.stretch import preview

PAGE = ROOT / "docs" / "calibration.md"
PICTURES = ROOT / "docs" / "calibration"


def make_pictures() -> None:
    """The pictures of the page, from what its commands left in this folder."""
    bias, dark = np.asarray(read("bias.fits")), np.asarray(read("dark.fits"))
    save(PICTURES / "bias.png", preview(bias[:250, :375]), 2)
    plain, model = bias[:250, :250], np.asarray(read("superbias.fits"))[:250, :250]
    save(PICTURES / "superbias.png", alike(plain, model), 2)
    column = int(np.argmax(np.median(dark[-130:], axis=0)))
    left = min(max(0, column - 100), dark.shape[1] - 200)
    corner = np.s_[-130:, left : left + 200]
    save(PICTURES / "dark.png", preview(dark[corner]), 4)
    save(PICTURES / "flat.png", preview(np.asarray(read("flat.fits"))))
    light = [frame for frame in scan("night").frames if frame.meta.kind == "light"][0]
    name = Path(light.source).stem
    clean = read(f"calibrated/{name}_c.fits")
    save(PICTURES / "light.png", np.hstack([preview(np.asarray(light)), preview(np.asarray(clean))]))
    pair = [np.asarray(read(f"{folder}/{name}_c.fits"))[corner] for folder in ("without", "scaled")]
    save(PICTURES / "darks.png", alike(*pair), 3)
    calibration, cosmetic = ImageCalibration(), CosmeticCorrection()
    view = calibration(light, calibration.masters(bias=read("bias.fits"), flat=read("flat.fits")))
    save(PICTURES / "cosmetic.png", alike(view[corner], cosmetic(view, cosmetic.defects(read("dark.fits")))[corner]), 3)
    mosaic = calibrated_mosaic()
    y, x = np.unravel_index(np.argmax(mosaic[60:-60, 60:-60]), (mosaic.shape[0] - 120, mosaic.shape[1] - 120))
    crop = mosaic[y - y % 2 : y - y % 2 + 120, x - x % 2 : x - x % 2 + 120]
    colour = Debayer(pattern="RGGB")(ArrayFrame.of(crop, "crop"))
    pair = np.stack([preview(crop)] * 3), preview(np.asarray(colour), linked=False)
    save(PICTURES / "debayer.png", np.concatenate(pair, axis=2), 4)
    (master,) = Path("colour_result").glob("master_light*.fits")
    save(PICTURES / "colour.png", preview(np.asarray(read(master)), linked=False))


def calibrated_mosaic() -> np.ndarray:
    """The first light of the colour night, calibrated and repaired with the masters of its run."""
    found = {frame.meta.kind: frame for frame in scan("colour_result/masters").frames}
    raw = [frame for frame in scan("colour").frames if frame.meta.kind == "light"][0]
    calibration, cosmetic = ImageCalibration(), CosmeticCorrection()
    view = calibration(raw, calibration.masters(dark=found["dark"], flat=found["flat"]))
    return np.asarray(cosmetic(view, cosmetic.defects(found["dark"])))


if __name__ == "__main__":
    make(PAGE, make_pictures)
