"""Run every command and every Python line of docs/subframes.md in an empty folder, and make its tables and pictures.

.venv/bin/python docs/make_subframes.py [--check]     --check runs the page and makes nothing

Pages are pictured by a browser, chromium. The real frames are those of OSCAAR (MIT) in the folder tres1_st10 of
MASTERLIGHT_DATA; where they are not there, what the page says of them stays as it is.
"""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from pages import ROOT, make, replace_part
from PIL import Image

PAGE = ROOT / "docs" / "subframes.md"
PICTURES = ROOT / "docs" / "subframes"
REAL = Path(os.environ.get("MASTERLIGHT_DATA", ROOT.parent / "shared" / "data")) / "tres1_st10"
SCALE_ARCSEC = 206.264806 * 3.76 / 530
COLUMNS = "104"
"""Width of the terminal that the tables are made for."""
CHOICE = '--approve "FWHM < 4 && Eccentricity < 0.6"'


def make_tables_and_pictures() -> None:
    PICTURES.mkdir(exist_ok=True)
    replace_part(PAGE, "measured", table("masterlight subframes clean"))
    replace_part(PAGE, "approved", table(f"masterlight subframes clean {CHOICE} --weight tutorial --sort -FWHM", 10))
    replace_part(PAGE, "explained", explained('masterlight subframes clean --weight tutorial --explain "*_0008_*"'))
    replace_part(PAGE, "trap", trap())
    choice = f"masterlight subframes clean {CHOICE} --weight tutorial+noise"
    replace_part(PAGE, "forecast", forecast(f"{choice} --forecast"))
    replace_part(PAGE, "came", came(choice))
    screenshot(Path("chosen.html"), PICTURES / "page.jpg", 1400, 1100)
    screenshot(Path("blink.html"), PICTURES / "blink.jpg", 1200, 800)
    alike(Path("blink.html"))
    if REAL.is_dir():
        real()


def told(command: str) -> str:
    """What a command prints, on a terminal of one width."""
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=os.environ | {"COLUMNS": COLUMNS})
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout.rstrip()


def table(command: str, most: int = 40) -> str:
    """A block with a command and the table it prints, long ones cut."""
    lines = [line for line in told(command).splitlines() if "known from before" not in line]
    more = ["..."] if len(lines) > most else []
    return "\n".join(["```text", f"$ {command}", *lines[:most], *more, "```"])


def explained(command: str) -> str:
    """A block with a command and what it tells below its table."""
    below = told(command).rpartition("\n\n")[2].splitlines()
    return "\n".join(["```text", f"$ {command}", "...", *below, "```"])


def forecast(command: str) -> str:
    """A block with a command and what it tells below its table: the rows of the forecast, and the frontier."""
    lines = told(command).partition("forecast, before")[2].splitlines()[1:]
    end = next(i for i, line in enumerate(lines) if "each frame brings" in line)
    return "\n".join(["```text", f"$ {command}", "...", *lines[:end], "...", "```"])


def rows_of(command: str) -> dict[str, list[str]]:
    """The rows of a forecast by their names, without those."""
    lines = forecast(f"{command} --forecast").splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:2] == ["weights", "frames"])
    rows = [line.replace("sharp 1%", "sharp").split() for line in lines[head + 1 : head + 6]]
    return {name: figures for name, *figures in rows}


def trap() -> str:
    """What weights give away, beside the best."""
    found = {name: rows_of(f"masterlight subframes clean --weight {name}") for name in ("tutorial", "tutorial+noise")}
    rows = {f"`{name}`": rows["chosen"] for name, rows in found.items()}
    rows |= {name: found["tutorial"][name] for name in ("equal", "noise", "point")}
    lines = ["| weights of all 20 frames | depth | points | FWHM |", "| --- | ---: | ---: | ---: |"]
    lines += [f'| {name} | {depth} | {points} | {fwhm}" |' for name, (_, _, depth, points, fwhm, *_) in rows.items()]
    return "\n".join(lines)


def came(command: str) -> str:
    """The forecast of a choice beside what its integration became."""
    _, count, _, _, fwhm, *_ = rows_of(command)["chosen"]
    row = json.loads(Path("result/report.json").read_text())["masters"][-1]
    arcsec = row["fwhm_px"] * SCALE_ARCSEC
    lines = ["| | as deep as equal frames | FWHM |", "| --- | ---: | ---: |", f'| forecast | {count} | {fwhm}" |']
    return "\n".join([*lines, f'| integrated | {row["effective_frames"]:.1f} | {arcsec:.3f}" |'])


def screenshot(page: Path, picture: Path, width: int, height: int) -> None:
    """A page as a browser shows it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print(f"no browser is there: {picture.name} stays as it is")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "page.png"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}", f"--window-size={width},{height}", "--virtual-time-budget=4000"]
        subprocess.run([*command, f"--screenshot={made}", f"file://{page.resolve()}"], capture_output=True, check=True)
        Image.open(made).convert("RGB").save(picture, quality=82)


def pictures_of(page: Path) -> dict[str, np.ndarray]:
    """The pictures of a page of blink, by the names of the frames."""
    text = page.read_text()
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])
    packed = dict(re.findall(r'<script type="text/plain" id="p(\d+)">(.*?)</script>', text, re.S))
    opened = {i: Image.open(io.BytesIO(base64.b64decode(content))) for i, content in packed.items()}
    return {frame["name"]: np.asarray(opened[str(i)]) for i, frame in enumerate(data["frames"])}


def alike(page: Path) -> None:
    """A good frame, a trailed one, one behind cloud and one with a satellite, as the page shows them."""
    lights = json.loads(Path("night/truth.json").read_text())["lights"]
    good = next(light for light in lights if not (light["tracking_error"] or light["cloudy"] or light["trail"]))
    odd = [next(light for light in lights if light[what]) for what in ("tracking_error", "cloudy", "trail")]
    found = pictures_of(page)
    shown = [found[f"{Path(light['file']).stem}_c_cc.fits"][75:525, 112:787] for light in (good, *odd)]
    gap = np.zeros((450, 6), np.uint8)
    rows = [np.hstack([a, gap, b]) for a, b in (shown[:2], shown[2:])]
    whole = Image.fromarray(np.vstack([rows[0], np.zeros((6, rows[0].shape[1]), np.uint8), rows[1]]))
    whole.resize((whole.width * 2 // 3, whole.height * 2 // 3), Image.Resampling.BOX).save(
        PICTURES / "alike.jpg", quality=80
    )


def real() -> None:
    """The night of real frames."""
    Path("real").mkdir()
    os.chdir("real")
    told(f"masterlight dark {REAL}/darks -o dark.fits")
    told(f"masterlight calibrate {REAL}/lights -o lights --dark dark.fits")
    told("masterlight cosmetic lights -o clean --dark dark.fits")
    replace_part(PAGE, "real", table("masterlight subframes clean --weight tutorial"))
    told("masterlight blink clean -o night.html --weight tutorial")
    screenshot(Path("night.html"), PICTURES / "real.jpg", 1200, 800)
    os.chdir("..")


if __name__ == "__main__":
    make(PAGE, make_tables_and_pictures)
