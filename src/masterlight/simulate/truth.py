"""Writing a night to a folder, and `Truth`, what is known about every frame in it."""

import json
import os
from collections.abc import Generator
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.io.fits import Header

from masterlight.core.errors import FrameError, OutputError
from masterlight.core.process import plain, validate
from masterlight.core.workers import Event, each, executor
from masterlight.io.whole import atomic, make_folder
from masterlight.simulate.camera import DOUBLING_C
from masterlight.simulate.comet import middle_h, nucleus_px
from masterlight.simulate.dialects import Shot, name_and_cards, shots
from masterlight.simulate.night import Night
from masterlight.simulate.observatory import Observatory, apply
from masterlight.simulate.pointing import Pointing, shortage

ELSEWHERE = "choose an empty folder, or take it away"


class Truth:
    """What is known about a simulated night: transform, seeing, air and accidents of each light; stars; camera."""

    def __init__(self, night: Night, files: dict[str, list[str]], folder: str | Path = "."):
        self.night, self.files, self.folder = night, files, Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Truth":
        """The truth that `simulate` left in a folder."""
        path = Path(folder) / "truth.json"
        try:
            told = json.loads(path.read_text())
            return cls(validate(Night, told["night"]), told["files"], folder)
        except (OSError, ValueError, KeyError) as error:
            told = f"this is not the truth of a simulated night ({error}); make one with masterlight simulate"
            raise FrameError(path, told) from None

    @cached_property
    def observatory(self) -> Observatory:
        """The sky and camera themselves: noiseless scenes, bias pattern, dark current, flats."""
        return Observatory(self.night)

    @property
    def pointings(self) -> list[Pointing]:
        return self.observatory.pointings

    def paths(self, kind: str) -> list[Path]:
        """The files of one kind (`light`, `dark`, `flat`, `bias`, `flatdark`), in the order they were taken."""
        return [self.folder / name for name in self.files.get(kind, [])]

    def expected_stars(self, index: int) -> np.ndarray:
        """Stars centred in a light, brightest first: a record array x_px, y_px, flux_dn, peak_dn (before the flat).

        Of a colour camera flux_dn and peak_dn are those of green, and r_dn, g_dn, b_dn are the fluxes of each colour.
        """
        night, pointing, sky = self.night, self.pointings[index], self.observatory
        x, y = apply(pointing.matrix, sky.catalogue["x"], sky.catalogue["y"])
        arrives = pointing.transparency
        own = {c: sky.flux_e(pointing.filter, c) * arrives / night.gain_e_per_dn for c in sky.camera.letters}
        flux = own.get("G", own.get(""))
        alpha = pointing.fwhm_px / (2 * np.sqrt(2 ** (1 / night.beta) - 1))
        peak = flux * (night.beta - 1) / (np.pi * alpha**2 * pointing.elongation)
        columns = {"x_px": x, "y_px": y, "flux_dn": flux, "peak_dn": peak}
        columns |= {f"{letter.lower()}_dn": dn for letter, dn in own.items() if letter}
        inside = (x > -0.5) & (x < night.cols - 0.5) & (y > -0.5) & (y < night.rows - 0.5)
        table = np.rec.fromarrays([v[inside] for v in columns.values()], names=list(columns))
        return table[np.argsort(-table.flux_dn, kind="stable")]

    def comet_px(self, index: int, reference: int | None = None) -> np.ndarray:
        """(x, y) of the comet's nucleus at the middle of a light, in pixels of that light, or of `reference`."""
        there = self.pointings[index if reference is None else reference].matrix
        return np.array(apply(there, *nucleus_px(self.night, middle_h(self.night, index))))

    @property
    def k(self) -> float:
        """The factor that makes the dark current of the darks that of the lights; glow does not follow it."""
        night = self.night
        warmer = night.temperature_of("light") - night.temperature_of("dark")
        return night.exposure_of("light") / night.exposure_of("dark") * 2 ** (warmer / DOUBLING_C)

    @property
    def defects(self) -> np.ndarray:
        """The defects, `(rows, cols)` uint8: the sum of 1 hot, 2 little response, 4 flickering, 8 column."""
        return self.observatory.camera.defects

    def save(self) -> None:
        """Write truth.json (night, files, pointings) and truth.npz (stars, matrices, rays) beside the frames."""
        lights = zip(self.files["light"], self.pointings, strict=True)
        lights = [{"file": name, **asdict(p), "matrix": p.matrix.tolist()} for name, p in lights]
        for i, light in enumerate(lights if self.night.comet_dn else ()):
            light["comet_px"] = self.comet_px(i).tolist()
        told = {"night": plain(self.night), "files": self.files, "lights": lights, "k": self.k}
        with atomic(self.folder / "truth.json") as file:
            file.write(json.dumps(told, indent=1).encode())
        rays = [self.observatory.cosmic_rays("light", p.index)[0] for p in self.pointings]
        arrays = {
            **{f"star_{name}": column for name, column in self.observatory.catalogue.items()},
            "matrix": np.array([p.matrix for p in self.pointings]).reshape(-1, 3, 3),
            "bias_dn": self.observatory.camera.bias_level_dn,
            "defects": self.defects,
            "cosmic_pixel": np.concatenate([np.empty(0, np.int64), *rays]),
            "cosmic_light": np.repeat(np.arange(len(rays)), [len(r) for r in rays]),
        }
        with atomic(self.folder / "truth.npz") as file:
            np.savez_compressed(file, **arrays)


def simulate(night: Night, folder: str | Path, workers: str = "threads:2") -> Generator[Event, None, Truth]:
    """Photograph a night: 16-bit FITS frames as the capture program lays them out, and the truth about them.

    An `Event` after each frame, and one before them that tells what there are too few lights for; the last one, of
    stage `done`, has the `Truth` as its result. The same night gives the same files, whatever the workers.
    """
    folder, taken, observatory = Path(folder), shots(night), Observatory(night)
    refuse_another(night, folder)
    observatory.prepare()
    files: dict[str, list[str]] = {"light": []}
    for shot in taken:
        files.setdefault(shot.kind, []).append(name_and_cards(shot)[0])
    if words := shortage(night, observatory.pointings):
        yield Event("simulate", message=words)
    with executor(workers) as pool:
        yield from each("simulate", pool, lambda shot: write(observatory, shot, folder), taken, keep_going=False)
    truth = Truth(night, files, folder)
    truth.observatory = observatory
    truth.save()
    yield Event("done", result=truth)
    return truth


def write(observatory: Observatory, shot: Shot, folder: Path) -> str:
    """Expose one frame and write it as 16-bit unsigned FITS; its name comes back."""
    name, cards = name_and_cards(shot)
    image = observatory.frame(shot.kind, shot.index)
    structure = [("SIMPLE", True, "file does conform to FITS standard"), ("BITPIX", 16), ("NAXIS", 2)]
    structure += [("NAXIS1", image.shape[1]), ("NAXIS2", image.shape[0]), ("BZERO", 32768), ("BSCALE", 1)]
    header = Header(structure)
    for keyword, (value, comment) in cards.items():
        value = value.encode("ascii", "replace").decode() if isinstance(value, str) else value
        header.append((keyword, value, comment)[: 3 if comment else 2], end=True)
    if cards.get("ROWORDER", ("",))[0] == "BOTTOM-UP":
        image = np.ascontiguousarray(image[::-1])
    pixels = (image ^ np.uint16(0x8000)).byteswap()
    place(folder / name, header.tostring().encode() + pixels.tobytes() + bytes(-pixels.nbytes % 2880))
    return name


def place(path: Path, content: bytes) -> None:
    """Write a frame, unless the same one lies there already; what is another's is never replaced."""
    make_folder(path.parent)
    if path.exists():
        if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
            raise OutputError(f"{path} exists and is not of this night; {ELSEWHERE}")
    else:
        with atomic(path) as file:
            file.write(content)


def refuse_another(night: Night, folder: Path) -> None:
    """Raise OutputError where the truth of another night, or a file called so, lies in a folder."""
    for path in (folder / "truth.json", folder / "truth.npz"):
        with suppress(FrameError):
            if not os.path.exists(path) or Truth.load(folder).night == night:
                continue
        raise OutputError(f"{path} exists and is not of this night; {ELSEWHERE}")
