"""Run every command and every Python line of docs/alignment.md in an empty folder, and make its tables and pictures.

.venv/bin/python docs/make_alignment.py [--check]     --check runs the page and makes nothing
"""

import json
import textwrap
from pathlib import Path

import numpy as np
from astropy.io import fits
from matplotlib.figure import Figure
from pages import ROOT, make, replace_part, save, terminal
from scipy.optimize import minimize_scalar

from masterlight import ArrayFrame, StarAlignment, read, write
from masterlight.alignment.align import LANCZOS
from masterlight.alignment.bend import Lens, LensBend, apply
from masterlight.alignment.transform import Transform, similarity_matrix
from masterlight.alignment.written import from_dict
from masterlight.core.stretch import preview
from masterlight.simulate.kernels import render_stars

PAGE = ROOT / "docs" / "alignment.md"
PICTURES = ROOT / "docs" / "alignment"
KERNELS = (*LANCZOS[1:], "bicubic", "catmull-rom", "mitchell", "bspline", "bilinear", "nearest")
HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
"""Half a pixel along both axes, where a kernel does most."""
SHAPE, BENT = (1000, 1500), 0.01
"""Frames through a lens, and how much it bends a corner, as a part of half the diagonal."""


def make_tables_and_pictures() -> None:
    PICTURES.mkdir(exist_ok=True)
    replace_part(PAGE, "laid", terminal("masterlight align clean -o registered", " --overwrite"))
    mixed = "masterlight align clean other/*/LIGHT bias.fits -o mixed --transforms-only"
    replace_part(PAGE, "failed", terminal(mixed, " --overwrite", without="similarity "))
    panels = "masterlight align panels -o panels_list --transforms-only"
    replace_part(PAGE, "mosaic", terminal(panels, " --overwrite"))
    save(PICTURES / "laid.png", on_each_other())
    save(PICTURES / "frames.png", framings())
    save(PICTURES / "mosaic.png", mosaic())
    replace_part(PAGE, "comet", comet_told())
    save(PICTURES / "comet.png", comet())
    replace_part(PAGE, "kernels", kernels())
    save(PICTURES / "kernels.png", stars_moved(), times=6)
    make_bent()
    replace_part(PAGE, "lens", terminal("masterlight align bent -o bent_list --transforms-only"))
    draw_lens()


def lights(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.fits"))


# --- frames on each other --------------------------------------------------------------------------------------------


def on_each_other() -> np.ndarray:
    """A part of the reference in red and of a light from after the flip in cyan, before and after it was registered."""
    told = json.loads(Path("registered/transforms.json").read_text())
    number = [Path(row["file"]).name for row in told["frames"]].index(Path(told["reference"]["file"]).name)
    part, pairs = np.s_[40:330, 130:470], []
    for paths in (lights("clean"), lights("registered")):
        first, other = (np.asarray(read(paths[i])) for i in (number, 6))
        planes = [preview(np.where(np.isfinite(one), one, np.nanmedian(one))[part]) for one in (first, other)]
        pairs.append(np.stack([planes[0], planes[1], planes[1]]))
    return np.concatenate([pairs[0], np.full((3, pairs[0].shape[1], 8), 255, np.uint8), pairs[1]], axis=2)


def framings() -> np.ndarray:
    """How many frames cover each pixel of a result, for each framing, side by side at one scale."""
    tiles = []
    for words in ("reference", "min", "max", "cog", "max --crop 50%"):
        folder = "framed_" + words.replace(" ", "_").replace("%", "")
        terminal(f"masterlight align clean -o {folder} --frame {words} --transforms-only")
        terminal(f"masterlight integrate clean -o {folder}.fits --transforms {folder}/transforms.json")
        tiles.append(np.uint8(np.clip(255 * fits.getdata(f"{folder}.fits", "COVERAGE") / 8, 0, 255))[::2, ::2])
    high = max(tile.shape[0] for tile in tiles) + 12
    return np.hstack([padded(tile, high) for tile in tiles])


def padded(tile: np.ndarray, high: int) -> np.ndarray:
    """A tile on a light blue ground, of one height."""
    out = np.full((high, tile.shape[1] + 12), 235, np.uint8)
    out[6 : 6 + tile.shape[0], 6 : 6 + tile.shape[1]] = tile
    return out


def mosaic() -> np.ndarray:
    """The mosaic, and how many frames cover each of its pixels."""
    with fits.open("mosaic.fits") as opened:
        image, covered = np.asarray(opened[0].data, np.float32), opened["COVERAGE"].data
    shown = preview(np.where(np.isfinite(image), image, np.nanmedian(image)), image.shape[1])
    shown = np.where(np.isfinite(image), shown, 0)
    return np.vstack([shown, np.full((8, image.shape[1]), 235), np.clip(255 * covered / covered.max(), 0, 255)]).astype(
        np.uint8
    )


def comet_told() -> str:
    """What the run told of the comet's motion."""
    told = Path("comet_result/console.txt").read_text().splitlines()
    line = next(line for line in told if "the comet moves" in line)
    return "\n".join(["```text", *textwrap.wrap(line.strip(), 104, subsequent_indent=" " * 15), "```"])


def comet() -> np.ndarray:
    """The same part of the four images that a run made of a comet, in one stretch."""
    shown = []
    for name in ("", "_stars", "_comet", "_composite"):
        image = np.asarray(read(next(Path("comet_result").glob(f"master_light_*_L{name}.fits"))), np.float32)
        level = np.nanmedian(image)
        shown.append(np.where(np.isfinite(image), image - level, 0)[90:310, 190:450])
    low, high = -40.0, 700.0
    shown = [np.uint8(255 * np.clip((one - low) / (high - low), 0, 1) ** 0.6) for one in shown]
    return np.hstack([np.pad(one, 2, constant_values=235) for one in shown])


# --- kernels ---------------------------------------------------------------------------------------------------------


def moved(image: np.ndarray, kernel: str, noise_dn: float, clamping: str = "none") -> np.ndarray:
    """An image moved by half a pixel along both axes."""
    align = StarAlignment(interpolation=kernel, clamping=clamping)
    frame = ArrayFrame.of(image.astype(np.float32), "moved")
    return np.asarray(align.registered(frame, Transform(HALF, shape=image.shape), image.shape, noise_dn, 3.0))


def kernels() -> str:
    """What each kernel does to noise and to stars."""
    heads = ["noise", "of a sum", "width 3 px", "width 2 px", "ring", "with the floor"]
    lines = [f"| `--interpolation` | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    sky = np.random.default_rng(4).normal(0, 1, (620, 620))
    for name in KERNELS:
        out = moved(sky, name, 1.0)[20:-20, 20:-20][:576, :576]
        sums = out.reshape(48, 12, 48, 12).sum(axis=(1, 3)).std() / 12
        figures = [f"{out.std():.2f}", f"{sums:.2f}", *(f"{100 * widened(name, width):.1f} %" for width in (3.0, 2.0))]
        figures += [f"{100 * ring(name, clamping):.2f} %" for clamping in ("none", "floor")]
        lines.append(f"| `{name}` | {' | '.join(figures)} |")
    return "\n".join(lines)


def stars(shape: tuple[int, int], at: np.ndarray, fwhm_px: float, flux: float, beta: float) -> np.ndarray:
    """Stars at places (n, 2) px."""
    out = np.zeros(shape, np.float32)
    alpha = fwhm_px / (2 * np.sqrt(2 ** (1 / beta) - 1))
    render_stars(out, *np.array(at, float).T.copy(), np.full(len(at), flux), alpha, alpha, 0.0, beta, 1e-7 * flux)
    return out


def places() -> np.ndarray:
    """Hundred stars, each elsewhere in its pixel, (100, 2) px."""
    at = np.stack(np.meshgrid(np.arange(20, 420, 40), np.arange(20, 420, 40)), axis=-1).reshape(-1, 2)
    return at + np.random.default_rng(3).uniform(-0.5, 0.5, at.shape)


def widened(kernel: str, fwhm_px: float) -> float:
    """By how much wider the profile is that fits stars best after they were moved."""
    seen = moved(stars((420, 420), places() + 0.5, fwhm_px, 1e4, 3.5), kernel, 1e3)[10:-10, 10:-10]

    def left(width_px: float) -> float:
        model = stars((420, 420), places(), width_px, 1e4, 3.5)[10:-10, 10:-10]
        return float(((seen - model * (seen * model).sum() / (model * model).sum()) ** 2).sum())

    return minimize_scalar(left, bounds=(0.8 * fwhm_px, 1.5 * fwhm_px), method="bounded").x / fwhm_px - 1


def sharp_star(noise_dn: float) -> np.ndarray:
    """A bright star of 1.6 px with hardly any wings."""
    noise = np.random.default_rng(1).normal(0, 1, (41, 41)) * noise_dn
    return stars((41, 41), np.array([[20.5, 20.5]]), 1.6, 1e5, 12.0) + noise


def ring(kernel: str, clamping: str) -> float:
    """The darkest pixel around a star, as a part of its peak."""
    out = moved(sharp_star(0.0), kernel, 1.0, clamping)[10:-10, 10:-10]
    return max(0.0, -float(np.nanmin(out)) / float(np.nanmax(out)))


def stars_moved() -> np.ndarray:
    """A bright star after each kernel, stretched hard: without clamping above, with the floor below."""
    rows = []
    for clamping in ("none", "floor"):
        shown = [moved(sharp_star(40.0), name, 40.0, clamping)[12:-12, 12:-12] for name in KERNELS]
        rows.append(np.hstack([np.pad(np.clip(110 + 0.3 * one, 0, 255), 1, constant_values=235) for one in shown]))
    return np.uint8(np.vstack(rows))


# --- a lens ----------------------------------------------------------------------------------------------------------


def poses() -> list[np.ndarray]:
    """Where eight frames lie: dithered and turned a little, the last four after a flip."""
    rng, middle = np.random.default_rng(7), complex(SHAPE[1] - 1, SHAPE[0] - 1) / 2
    made = [np.eye(3)]
    for number in range(1, 8):
        turn = np.exp(1j * np.radians(rng.normal(0, 0.3) + 180 * (number >= 4)))
        made.append(similarity_matrix(turn, middle + complex(*rng.uniform(-20, 20, 2)) - turn * middle))
    return made


def lens() -> Lens:
    return Lens((770.0, 470.0), float(np.hypot(*SHAPE)) / 2, (BENT,))


def make_bent() -> None:
    """Frames of a field through the lens."""
    rng, (rows, cols) = np.random.default_rng(11), SHAPE
    Path("bent").mkdir()
    sky, flux = rng.uniform(-60, 60 + np.array([cols, rows]), (1500, 2)), 800 * rng.random(1500) ** -1.2
    alpha = 2.8 / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    for number, matrix in enumerate(poses()):
        image, at = np.zeros(SHAPE, np.float32), lens().distort(apply(matrix, sky))
        render_stars(image, *at.T.copy(), np.minimum(flux, 4e5), alpha, alpha, 0.0, 3.5, 0.02)
        image += rng.normal(900, np.sqrt(900 + image) / 1.3)
        cards = {"IMAGETYP": "LIGHT", "EXPTIME": 120.0, "DATE-OBS": f"2025-10-18T20:{2 * number:02d}:00"}
        write(f"bent/light_{number}.fits", image.astype(np.float32), cards)


def draw_lens() -> None:
    """Arrows of how far a frame from the other side of the flip is laid off, by the best matrix and by the lens."""
    terminal("masterlight align bent -o straight --transforms-only --distortion none --model homography")
    rows, cols = SHAPE
    at = np.stack(np.meshgrid(np.linspace(0, cols - 1, 16), np.linspace(0, rows - 1, 11)), axis=-1).reshape(-1, 2)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (name, words) in zip(
        figure.subplots(1, 2), (("straight", "a homography"), ("bent_list", "the shared lens")), strict=True
    ):
        off = off_px(Path(name), at)
        axes.quiver(*at.T, *off.T, angles="xy", scale_units="xy", scale=0.002, width=0.004, color="#1f4e9c")
        size = np.hypot(*off.T)
        axes.set_title(f"{words}: {np.sqrt(np.mean(size**2)):.3f} px, at most {size.max():.2f} px", fontsize=10)
        axes.set(xlim=(-120, cols + 120), ylim=(rows + 120, -120), aspect="equal", xticks=[], yticks=[])
    figure.savefig(PICTURES / "lens.png", dpi=90)


def off_px(folder: Path, at: np.ndarray) -> np.ndarray:
    """How far the list of a folder lays places (n, 2) px of the reference from where they lie in a frame from the other
    side of the flip."""
    told = json.loads((folder / "transforms.json").read_text())
    reference = int(Path(told["reference"]["file"]).stem[-1])
    number = 0 if reference >= 4 else 7
    found = from_dict(told["frames"][number]["transform"])
    matrix = poses()[number] @ np.linalg.inv(poses()[reference])
    return found(at) - Transform(matrix, bend=LensBend(matrix, lens(), lens()))(at)


if __name__ == "__main__":
    make(PAGE, make_tables_and_pictures)
