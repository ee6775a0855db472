"""What is written: where products go, what they are called and say of themselves, and which can be used again."""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from masterlight.core.errors import OutputError, ParameterError, one_line
from masterlight.core.frame import Meta
from masterlight.core.headers.geometry import TOP_DOWN, WCS_KEYWORDS
from masterlight.core.process import plain, to_toml
from masterlight.core.stretch import preview
from masterlight.integration.stack import Stack
from masterlight.io import counts, round_to_step, write
from masterlight.io.fits.writer import is_sealed
from masterlight.io.raster import write_png
from masterlight.io.whole import make_folder, reserved
from masterlight.night.recipe import Recipe
from masterlight.session.groups import mean_angle
from masterlight.session.words import visible

SITE_KEYWORDS = tuple("TELESCOP OBSERVER OBSERVAT SITELAT SITELONG SITEELEV OBJCTRA OBJCTDEC APTDIA AIRMASS".split())

VERSION = "2"
"""Part of every key; raised when the arithmetic of a product changes, so that older products are made anew."""


def key(*parts) -> str:
    """A short name for everything a product was made from: files (path, size, time), processes, numbers, other keys."""
    text = json.dumps([VERSION, *map(describe, parts)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


KEY = re.compile(rb"mlkey\W+([0-9a-f]{16})", re.IGNORECASE)
HEAD_BYTES = 1 << 16


def key_in(path: Path) -> str | None:
    """The key that a product of ours carries near its beginning, as card, value or comment; None for other files."""
    if not path.is_file():  # a pipe would never end
        return None
    try:
        with open(path, "rb") as file:
            found = KEY.search(file.read(HEAD_BYTES))
    except OSError:
        return None
    return found[1].decode() if found else None


def is_intact(path: Path) -> bool:
    """Whether a product is still as it was written, neither edited nor damaged: by its checksums and its seal.

    Programs that edit a FITS file renew its checksums; the seal they do not know. Of JSON files nothing is asked.
    """
    try:
        with open(path, "rb") as file:
            if path.suffix == ".html":
                told, page = SEALED.match(content := file.read()), SEALED.sub(b"\\1", content, count=1)
                return told is not None and told[2].decode() == seal_of_page(page)
            return path.suffix != ".fits" or is_sealed(file)
    except OSError:
        return False


SEALED = re.compile(rb"(<!doctype html>\n)<!-- mlkey [0-9a-f]{16} ([0-9a-f]{16}) -->\n")


def seal_of_page(page: bytes) -> str:
    return hashlib.sha256(page).hexdigest()[:16]


def describe(part):
    """One ingredient of a key; a file is told by its path, size and time of change, not by reading it."""
    if isinstance(part, Path):
        try:
            stat = part.stat()
        except OSError:  # gone since it was scanned: nothing made of it fits again
            return [str(part), None, None]
        return [str(part.resolve()), stat.st_size, stat.st_mtime_ns]
    if isinstance(part, (list, tuple)):
        return [describe(p) for p in part]
    return [type(part).__name__, plain(part)]


LONGEST_NAME = 150
"""Bytes of a name that is made of headers; file systems take 255, numbers and endings included."""


def slug(*words) -> str:
    """Words as part of a file name: `slug("Veil Nebula", "H-alpha")` is `Veil-Nebula_H-alpha`; empty ones vanish."""
    parts = [re.sub(r"[^\w.+-]+", "-", str(w)).strip(".").rstrip("-") for w in words if w not in (None, "")]
    name = "_".join(p for p in parts if p)
    if len(name.encode()) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:6]  # two long names that begin alike stay two
    return f"{name.encode()[: LONGEST_NAME - 7].decode(errors='ignore')}-{mark}"


class Store:
    """The products of one run below one folder; names are unique, folders are made when first needed.

    What lies there already stays. A product takes the place of an earlier one only where that is intact and was made
    of exactly the same things, or where `overwrite` says so; else it gets a number. Names are kept from other runs into
    the same folder until `close`.
    """

    def __init__(self, root: Path | str, overwrite: bool = False):
        self.root, self.overwrite, self.taken, self.notes = Path(root), overwrite, set[Path](), list[str]()
        self.kept = ExitStack()
        self.close = weakref.finalize(self, self.kept.close)

    def path(
        self, *words, folder: str = "", suffix: str = ".fits", made_of: str = "", beside: tuple[str, ...] = ()
    ) -> Path:
        """A path for a product called `words` and made of `made_of`; one that exists may be used or replaced.

        beside: endings of what is written with it. Why it is not the first of its name is told in `notes`.
        """
        stay = []
        make_folder(self.root / folder)
        for path in names(self.root / folder, slug(*words), suffix):
            if path in self.taken:
                continue
            with ExitStack() as keep:
                free = keep.enter_context(reserved(path))
                there = [p for p in (path, *map(path.with_suffix, beside)) if os.path.lexists(p)]
                foreign = [p for p in there if p.suffix == ".png" and not key_in(p)]
                if free and (not there or (os.path.isfile(path) and not foreign and self.may_replace(path, made_of))):
                    self.kept.enter_context(keep.pop_all())
                    break
            stay.append(((foreign or there)[0] if free else path, free))
        self.taken.add(path)
        for old, free in stay[:1]:
            busy = f"{old.name} is being made by another run into this folder; this one is {path.name}"
            self.notes.append(self.why_it_stays(old, path, made_of) if free else busy)
        return path

    def may_replace(self, path: Path, made_of: str) -> bool:
        """Whether a file may be replaced by a product."""
        own = key_in(path)
        return bool(own) and (self.overwrite or own == made_of) and is_intact(path)

    def why_it_stays(self, old: Path, new: Path, made_of: str) -> str:
        own = key_in(old)
        if not own:
            return f"{old.name} is not of masterlight and stays as it is; this one is {new.name}"
        if own == made_of or self.overwrite:
            return f"{old.name} was edited or damaged since it was made, and stays as it is; {new.name} is made anew"
        way = "overwrite replaces what earlier runs made"
        return f"{old.name} of an earlier run, of other frames or knobs, stays as it is; this one is {new.name} ({way})"

    @property
    def place(self) -> Path:
        """The folder for the products, or the nearest above it that exists."""
        return existing(self.root)

    def free_bytes(self) -> int:
        """Free space where the products go."""
        return shutil.disk_usage(self.place).free

    def require(self, needed: int) -> None:
        """Stop before the work begins when the products cannot fit on the disk."""
        free = self.free_bytes()
        if free < needed:
            words = f"{free / 1e6:,.0f} MB free and the products take about {needed / 1e6:,.0f} MB"
            raise OutputError(f"{self.root} has {words}; free some space or choose another folder (out=)")


def refuse_other_page(out: str | None) -> None:
    """Raise OutputError where a page would take the place of a file that is no page of ours."""
    if out is not None and (not out.strip() or (os.path.lexists(out) and not is_page(Path(out)))):
        words = f"{out} exists and is no page of the doctor" if out.strip() else "out= is empty"
        raise OutputError(f"{words}; give another name for the page")


def is_page(path: Path) -> bool:
    """Whether a file is a page of ours; masters carry a key as well."""
    with suppress(OSError):
        return key_in(path) is not None and path.read_bytes()[:1] == b"<"
    return False


def names(folder: Path, name: str, ending: str) -> Iterator[Path]:
    """Paths in a folder: of this name, then with _2, _3 ... behind it."""
    numbered = chain([name], (f"{name}_{number}" for number in count(2)))
    return (folder / f"{one}{ending}" for one in numbered)


def existing(folder: Path) -> Path:
    """A folder, or the nearest above it that exists."""
    return next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.exists(p))


def check_file(path: Path) -> None:
    """OutputError where a file cannot be made or replaced."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{one_line(path, 200)}: this name is too long; choose a shorter one") from None
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; give the name of a file in it")
    check_out(path.parent)


def check_out(out: Path | str) -> None:
    """Raise before any work where `out` can be no folder for results."""
    if not os.fspath(out).strip():
        raise ParameterError("out= is empty; give the folder for the results")
    try:
        os.stat(out)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a name that is too long, a folder that nobody may enter
        raise OutputError(f"{one_line(out, 100)}: {error.strerror}; choose another output folder (out=)") from None
    place = existing(Path(out))
    if not os.path.isdir(place):
        raise OutputError(f"{place} is a file; give a folder for the results (out=)")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{place} cannot be written to; choose another output folder (out=)")


def untaken(folder: Path, name: str, ending: str, taken: Collection[Path]) -> Path:
    """The first of these paths that is not taken yet."""
    return next(path for path in names(folder, name, ending) if path not in taken)


def header(meta: Meta, metas: list[Meta], kind: str) -> list[tuple]:
    """The keywords of an integrated frame, as (keyword, value, comment): one sub's EXPTIME, NCOMBINE, LIVETIME, ...

    meta is that of the reference frame, metas those of all frames that were integrated.
    """

    def common(name: str) -> Any:
        values = {getattr(m, name) for m in metas}
        return values.pop() if len(values) == 1 else None

    exposures = [m.exposure_s for m in metas if m.exposure_s is not None]
    temperatures = [m.temperature_c for m in metas if m.temperature_c is not None]
    times = sorted(m.time for m in metas if m.time)
    is_light, done = kind == "light", "".join(c for c in meta.calibration if all(c in m.calibration for m in metas))
    angle_deg = common("rotator_deg") if is_light else mean_angle(m.rotator_deg for m in metas)
    names = {"bias": "Master Bias", "dark": "Master Dark", "flat": "Master Flat", "flatdark": "Master DarkFlat"}
    rows = [
        ("IMAGETYP", names.get(kind, "Master Light"), "kind of frame"),
        ("OBJECT", meta.object if is_light else None, "target"),
        ("FILTER", common("filter"), "filter"),
        ("INSTRUME", common("camera"), "camera"),
        ("EXPTIME", meta.exposure_s, "[s] exposure of one frame"),
        ("LIVETIME", math.fsum(exposures) if exposures else None, "[s] exposure of all frames together"),
        ("NCOMBINE", sum(m.frames for m in metas), "number of exposures combined"),
        ("GAIN", common("gain"), "gain setting"),
        ("OFFSET", common("offset"), "offset setting"),
        ("EGAIN", common("gain_e_per_dn"), "[e-/DN] gain of one frame"),
        ("CCD-TEMP", sum(temperatures) / len(temperatures) if temperatures else None, "[C] mean sensor temperature"),
        ("XBINNING", meta.binning[0], "binning in x"),
        ("YBINNING", meta.binning[1], "binning in y"),
        ("XPIXSZ", meta.pixel_um, "[um] pixel width, binning included"),
        ("FOCALLEN", meta.focal_mm, "[mm] focal length"),
        ("READOUTM", common("readout_mode"), "readout mode"),
        ("ROTATANG", angle_deg, "[deg] angle of the rotator"),
        ("FOCUSPOS", common("focuser_steps"), "[step] position of the focuser"),
        ("DATE-OBS", times[0] if times else None, "UTC start of the first exposure"),
        ("DATE-END", end_of(times[-1], exposures) if times else None, "UTC end of the last exposure"),
        ("XORGSUBF", meta.origin_px[0] or None, "[px] first column of the region on the sensor"),
        ("YORGSUBF", meta.origin_px[1] or None, "[px] first row of the region on the sensor"),
        ("BAYERPAT", meta.pattern, "colour filters from the first pixel on"),
        ("ROWORDER", TOP_DOWN, "how the rows lie in this file"),
        ("CALSTAT", done or None, "done to the pixels: Overscan Bias Dark Flat"),
        ("CALBIAS", None if is_light else meta.contains_bias is not False, "the bias level is in the pixels"),
        ("PEDESTAL", -meta.pedestal_dn if meta.pedestal_dn else None, "[DN] to add to reach zero-based DN"),
        ("BUNIT", meta.unit or ("DN" if meta.in_dn else None), "unit of the pixels"),
    ]
    return [(k, v, c) for k, v, c in rows if v is not None]


def end_of(start: str, exposures: list[float]) -> str:
    """When the exposure that began at `start` was over, by the longest of the exposures."""
    try:
        end = datetime.fromisoformat(start) + timedelta(seconds=max(exposures, default=0.0))
    except (ValueError, OverflowError):
        return start
    return end.isoformat(timespec="milliseconds")


def place_keywords(source: Mapping[str, Any]) -> list[tuple]:
    """Keywords of the reference frame that stay true of the result: where it looks and from where."""
    return [(name, source[name], "") for name in source if name.startswith(WCS_KEYWORDS) or name in SITE_KEYWORDS]


def save(
    path: Path, stack: Stack, cards: list[tuple], provenance: Iterable[str], recipe: Recipe | None = None,
    bottom_up: bool = False,
) -> list[str]:  # fmt: skip
    """Write an integrated frame and its preview; where the recipe is given, that and all planes and tables too.

    bottom_up: whether the last row comes first in the file, as in those of its frames. Gives sentences about what could
    not be written beside it.
    """
    planes = {"IMAGE": stack.image}
    if recipe is not None:
        cards = [*cards, ("VARCORR", round(stack.correlation, 4), "variance of wide sums over that of VARIANCE")]
        planes |= {"VARIANCE": variance_plane(stack.variance), "COVERAGE": stack.coverage}
        rejected = {"REJ_LOW": stack.rejected_low, "REJ_HIGH": stack.rejected_high}
        planes |= {name: counts(plane, stack.n) for name, plane in rejected.items() if plane is not None}
        more = {"SLOPE": stack.slope, "WEIGHT": getattr(stack, "weight", None)}
        planes |= {name: plane for name, plane in more.items() if plane is not None}
        planes |= {"FRAMES": frames_table(stack), "RECIPE": to_toml(recipe)}
    return write_pictured(path, planes, cards, provenance, {"COVERAGE"}, bottom_up)


def write_pictured(
    path: Path, planes: Mapping[str, Any], header: Any, cards: Iterable[str], compress: Any, bottom_up: bool = False
) -> list[str]:
    """Write an image with its extensions, and beside it a preview; without room for that, the image is there alone.

    Gives a sentence about a preview that could not be written; none is left of an earlier image of this name.
    """
    picture = path.with_suffix(".png")
    write(path, planes, header, list(cards), compress=compress, bottom_up=bottom_up)
    try:
        write_png(picture, preview(planes["IMAGE"], linked=False), key_in(path) or "")
    except OutputError as error:
        with suppress(OSError):
            picture.unlink(missing_ok=True)
        return [f"{path.name} is whole but has no picture: {error}"]
    return []


def with_key(page: str, made_of: str) -> bytes:
    """A page that tells, in a comment, what it was made of."""
    plain = page.replace("<!doctype html>", "<!doctype html>\n", 1).encode()
    mark = f"<!-- mlkey {made_of} {seal_of_page(plain)} -->\n".encode()
    return plain.replace(b"<!doctype html>\n", b"<!doctype html>\n" + mark, 1)


def variance_plane(variance: np.ndarray) -> np.ndarray:
    """The variance rounded to 1/64 of its median, far finer than a variance of some tens of samples is known."""
    step = float(np.nanmedian(variance)) / 64
    return round_to_step(np.maximum(variance, np.float32(step)), step) if step > 0 else variance


def frames_table(stack: Stack) -> np.ndarray:
    """The frames of a stack as a table: who contributed with what weight, and what was rejected of it."""
    rows = [
        vars(frame) | {"source": visible(Path(frame.source).name).encode("ascii", "replace")} for frame in stack.frames
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    table = np.empty(len(rows), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table
