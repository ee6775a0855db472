"""Faults of known strength in simulated nights: what the doctor promises to find, and nights without any fault.

A `Fault` is planted into a healthy night at three strengths, of which the weakest is the one promised; the doctor must
find it by its id and name the frames that have it. Healthy nights are those of all capture programs and of cameras and
skies of many kinds; what is said of them must be true.
"""

import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from clinic import NIGHT

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.workers import executor
from masterlight.doctor import Doctor, Finding, diagnose
from masterlight.doctor.raw.doubled import doubled_lights
from masterlight.session.plan import Plan
from masterlight.session.planner import plan
from masterlight.session.scan import scan
from masterlight.simulate.dialects import DIALECTS, Shot, name_and_cards, shots
from masterlight.simulate.night import Night
from masterlight.simulate.observatory import Observatory
from masterlight.subframes.select import SubframeSelector

SEEDS, HEALTHY_SEEDS, ENOUGH = 10, 20, 0.95
"""Nights for each strength of a fault, for each dialect and colour; share that must be found at what is promised."""


OF_STARS = "D30"
"""The diagnosis that needs the stars of the lights, which a run measures anyway."""


@dataclass(frozen=True)
class Fault:
    """One way in which a night can be wrong."""

    id: str
    name: str
    promise: str
    """From which strength on it is found, in words; `strengths` are in `unit`."""
    unit: str
    strengths: tuple[float, float, float]
    """The weakest is promised."""
    plant: Callable[[float, np.random.Generator], Callable]
    """Gives the change(kind, index, pixels, header) that makes a healthy night into one with this fault."""
    named: str = ""
    """Frames that the finding must name: `flat`, or `flat 2` for one of them; '' where it names a master."""
    words: str = ""
    """What the sentence must hold, as a regular expression."""
    planned: str = ""
    """Where the plan sees to it already: what it says of these frames, as a regular expression."""
    knobs: Callable[[float], dict[str, Any]] = lambda strength: {}
    """Knobs of the simulated night."""
    calibrate: dict[str, Any] = field(default_factory=dict)
    doctor: dict[str, Any] = field(default_factory=dict)

    def examined(self, strength: float, seed: int) -> tuple[Plan, list[Finding], set[str]]:
        """The plan and the findings of a night with the fault, and the frames that have it."""
        night = Night(**{**NIGHT, "seed": seed, **self.knobs(strength)})
        change = self.plant(strength, np.random.default_rng([seed, 99]))
        with tempfile.TemporaryDirectory() as folder:
            paths = laid(night, Path(folder), change)
            kind, _, at = self.named.partition(" ")
            named = [str(path) for path in paths.get(kind, ())]
            doctor = Doctor(**self.doctor)
            found, findings = diagnosed(Path(folder), ImageCalibration(**self.calibrate), doctor)
            findings += of_stars(found, doctor) if self.id == OF_STARS else []
        return found, findings, {named[int(at)]} if at else set(named)

    def found(self, strength: float, seed: int) -> bool:
        """Whether the fault, planted at a strength in the night of a seed, is told by the doctor or in the plan."""
        planned, findings, wanted = self.examined(strength, seed)
        told = any(one.id == self.id and self.tells(one, wanted) for one in findings)
        return told or bool(self.planned and wanted <= self.seen_to(planned))

    def seen_to(self, planned: Plan) -> set[str]:
        """The frames of which the plan says what is wrong with them."""
        left_out = {row.source for row in planned.rejected if re.search(self.planned, row.reason)}
        frames = (frame for group in planned.groups for frame in group.frames)
        return left_out | {f.source for f in frames if any(re.search(self.planned, note) for note in f.meta.notes)}

    def tells(self, one: Finding, wanted: set[str]) -> bool:
        """Whether a finding of its id names the frames, and says what is the matter."""
        return wanted <= set(one.sources) and bool(re.search(self.words, one.sentence))


@lru_cache(maxsize=12)
def exposures(night: Night) -> list[tuple[Shot, np.ndarray]]:
    """All frames of a night in memory."""
    observatory = Observatory(night)
    return [(shot, observatory.frame(shot.kind, shot.index)) for shot in shots(night)]


@lru_cache(maxsize=12)
def files(night: Night) -> list[tuple[str, fits.Header, bytes]]:
    """Name, header and content of the files of a night as it is."""
    made = []
    for shot, image in exposures(night):
        name, cards = name_and_cards(shot)
        header = fits.Header([(keyword, *card) for keyword, card in cards.items()])
        made.append((name, header, content_of(image, header)))
    return made


def content_of(pixels: np.ndarray, header: fits.Header) -> bytes:
    """A FITS file: 16 bits for whole numbers from 0 on, else floats; rows as the header has them."""
    whole = pixels.dtype == np.uint16 or (np.array_equal(pixels, np.rint(pixels)) and pixels.min() >= 0)
    stored = np.clip(pixels, 0, 65535).astype(np.uint16) if whole else pixels.astype(np.float32)
    stored = stored[::-1] if header.get("ROWORDER") == "BOTTOM-UP" else stored
    stream = io.BytesIO()
    fits.PrimaryHDU(stored, header).writeto(stream)
    return stream.getvalue()


FAULTS: dict[str, Fault] = {}
"""By id and name; `faults` has them all."""
BIAS_DN = 500.0
"""Level of the bias in all these nights, unless a fault changes it."""


def fault(id: str, name: str, strengths, unit: str, promise: str, **more) -> Callable:
    """Enter a way of planting a fault into the table; knobs: of the night, a dict or a function of the strength."""
    knobs = more.pop("knobs", {})
    given = knobs if callable(knobs) else lambda strength: knobs

    def enter(plant: Callable) -> Callable:
        FAULTS[f"{id} {name}"] = Fault(id, name, promise, unit, strengths, plant, knobs=given, **more)
        return plant

    return enter


def as_is(strength, rng):
    """For faults that are knobs of the night."""
    return lambda kind, i, pixels, header: None


def exposed(header, seconds: float) -> None:
    header["EXPTIME"] = header["EXPOSURE"] = seconds


def brought_to(pixels: np.ndarray, level_dn: float) -> np.ndarray:
    """A flat at another level above its bias."""
    return np.rint(BIAS_DN + (pixels - BIAS_DN) * (level_dn - BIAS_DN) / (np.median(pixels) - BIAS_DN))


def ramp(pixels: np.ndarray) -> np.ndarray:
    """0 at the left edge, 1 at the right one."""
    return np.linspace(0, 1, pixels.shape[1])


def radius(pixels: np.ndarray) -> np.ndarray:
    """0 in the middle, 1 in the corners."""
    y, x = np.mgrid[-1 : 1 : pixels.shape[0] * 1j, -1 : 1 : pixels.shape[1] * 1j]
    return np.hypot(x, y) / np.sqrt(2)


def scattered(rng, pixels: np.ndarray, share: float) -> np.ndarray:
    """A mask of a share of the pixels."""
    return rng.random(pixels.shape) < share


# --- nights as files --------------------------------------------------------------------------------------------------


def donor(kind: str, index: int) -> np.ndarray:
    """A frame of another night of the same camera."""
    frames = [image for shot, image in exposures(Night(**{**NIGHT, "seed": 77})) if shot.kind == kind]
    return frames[index].astype(np.float64)


def laid(night: Night, folder: Path, change: Callable | None = None) -> dict[str, list[Path]]:
    """Write a night as `change(kind, index, pixels, header)` leaves its frames; the paths of each kind."""
    paths: dict[str, list[Path]] = {}
    for (shot, image), (name, cards, content) in zip(exposures(night), files(night), strict=True):
        header = cards.copy()
        new = change(shot.kind, shot.index, image.astype(np.float64), header) if change else None
        if new is not None or list(header.items()) != list(cards.items()):
            content = content_of(image if new is None else new, header)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.setdefault(shot.kind, []).append(path)
    return paths


def diagnosed(folder: Path, calibrate: ImageCalibration, doctor: Doctor) -> tuple[Plan, list[Finding]]:
    """The plan of a folder, and all that `masterlight doctor` finds in it."""
    found = plan(scan(folder), calibrate)
    with executor("serial") as pool:
        *_, last = diagnose(found, doctor, calibrate, pool)
    return found, last.result


def of_stars(planned: Plan, doctor: Doctor) -> list[Finding]:
    """What a run tells of the stars that it measures in the lights."""
    lights = [frame for job in planned.lights for frame in job.frames]
    measured = [SubframeSelector(max_stars=500).measure(frame) for frame in lights]
    return list(doubled_lights(doctor, [(f, one[1]) for f, one in zip(lights, measured, strict=True) if one]))


# --- nights without a fault -------------------------------------------------------------------------------------------

CAMERAS = {
    "as it comes": {},
    "CCD with overscan, bad columns and a bias that drifts": {
        "overscan_px": 16, "bias_drift_dn": 1.0, "bad_columns": 3, "read_noise_e": 9.0, "gain_e_per_dn": 1.4,
    },
    "CMOS with glow, its own pattern and flat-darks": {
        "glow_dn": 60.0, "bias_pixels_dn": 2.0, "flat_darks": 6, "bias_columns_dn": 0.5, "read_noise_e": 1.5,
        "gain_e_per_dn": 0.25,
    },
    "12 bits shifted up": {"bit_shift": 4, "gain_e_per_dn": 0.25},
    "warm, with many hot pixels": {"temperature_c": 12.0, "dark_e_s": 0.5, "hot_fraction": 0.005},
    "narrow filters": {"filters": ("Ha", "OIII"), "exposure_s": 300.0, "sky_dn": 300.0},
    "moonlight": {"sky_dn": 6000.0, "gradient": 0.3},
    "clouds, satellites, bad tracking": {"lights": 6, "cloudy": 2, "trails": 2, "tracking_errors": 1},
    "bright nebula among many stars": {"nebula_dn": 2500.0, "stars": 1500},
    "twelve stars in a dark sky": {"stars": 12, "sky_dn": 150.0, "nebula_dn": 0.0},
}  # fmt: skip
"""Cameras and skies; of each dialect and colour, seeds take them in turn."""


def healthy_nights(seeds: int) -> Iterator[tuple[str, Night]]:
    """(camera, night) of all dialects, mono and colour, of so many seeds."""
    cameras = list(CAMERAS.items())
    places = product(range(1, seeds + 1), DIALECTS, ("", "RGGB"))
    for n, (seed, dialect, pattern) in enumerate(places):
        name, knobs = cameras[(n + seed) % len(cameras)]
        pattern = "" if "filters" in knobs else pattern
        yield name, Night(**{**NIGHT, "seed": seed, "dialect": dialect, "pattern": pattern, **knobs})


def false_alarms(night: Night) -> list[str]:
    """What the doctor says of a healthy night as an error or a warning and is not true of it."""
    with tempfile.TemporaryDirectory() as folder:
        laid(night, Path(folder))
        planned, findings = diagnosed(Path(folder), ImageCalibration(), Doctor())
        findings += of_stars(planned, Doctor())
    grave = [one for one in findings if one.severity != "info"]
    return [f"{one.severity} {one.id}: {one.sentence}" for one in grave if not is_true(one, night)]


def is_true(one: Finding, night: Night) -> bool:
    """Whether a warning is true of a night as it was simulated: that its few flats are not deep enough."""
    if one.id != "D16" or one.unit != "signal to noise":
        return False
    observatory = Observatory(night)
    levels = [observatory.flat_level_dn(night.flats // 2, letter) for letter in observatory.camera.letters]
    electrons = float(np.median(levels)) * night.gain_e_per_dn * (1 - 0.5 * night.vignetting)
    depth = np.sqrt(night.flats * electrons)
    return depth < 1.15 * one.threshold and 0.75 < one.figure / depth < 1.25


# --- many of both -----------------------------------------------------------------------------------------------------


def hits(task: tuple[str, float, int]) -> tuple[str, float, bool]:
    """Whether a fault, by its name, is found at a strength in the night of a seed."""
    from faults import FAULTS

    name, strength, seed = task
    return name, strength, FAULTS[name].found(strength, seed)


def found_shares(names, seeds: int = SEEDS) -> dict[str, list[float]]:
    """Share of nights in which each of these faults is found, for each of its strengths."""
    from faults import FAULTS

    tasks = [(name, s, seed) for seed in range(1, seeds + 1) for name in names for s in FAULTS[name].strengths]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(hits, tasks, chunksize=len(tasks) // seeds))
    return {
        name: [
            float(np.mean([hit for n, s, hit in rows if (n, s) == (name, strength)])) for strength in fault.strengths
        ]
        for name, fault in FAULTS.items()
        if name in names
    }


def all_false_alarms(seeds: int = HEALTHY_SEEDS) -> tuple[int, list[str]]:
    """(how many healthy nights were tried, what was said of them and is not true)."""
    nights = list(healthy_nights(seeds))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        said = pool.map(false_alarms, [night for _, night in nights], chunksize=4)
        rows = zip(nights, said, strict=True)
        wrong = [
            f"{name}, {night.dialect} {night.pattern} seed {night.seed}: {one}"
            for (name, night), all_ in rows
            for one in all_
        ]
    return len(nights), wrong
