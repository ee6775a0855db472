"""The bed on which bad input is laid: a small healthy night, what each verb does with it, and a judge of what comes.

A *role* is a place that a file can have in a command: one of the lights of a run, the master dark of `calibrate`. A
kind of bad file is put into every role; what must come out follows from the role and from what the kind promises.
"""

import atexit
import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from astropy.io import fits
from warm import Done, Warm

NIGHT = {
    "rows": 96,
    "cols": 128,
    "lights": 5,
    "biases": 4,
    "darks": 4,
    "flats": 4,
    "stars": 60,
    "faintest_dn": 4000.0,
    "dither_px": 3.0,
    "rotation_deg": 0.0,
    "meridian_flip": False,
    "cloudy": 0,
    "trails": 0,
    "tracking_errors": 0,
    "cosmic_rays": 0.0,
    "fwhm_spread": 0.0,
    "nebula_dn": 0.0,
    "dust": 0,
}
"""Smallest night whose stars are matched and whose lights are integrated."""
MORE_CPU_S, MOST_MB, MOST_LETTERS = 2.0, 1000, 300
"""What bad input may cost beyond healthy input, and how long a message may be."""


def simulate(folder: Path) -> None:
    """A night with plain names, its last frame of each kind set aside in `spare`, and exposures for `hdr`."""
    from masterlight.simulate.night import Night
    from masterlight.simulate.truth import simulate as write_night

    *_, done = write_night(Night(**NIGHT), folder / "simulated")
    (folder / "spare").mkdir()
    for kind, names in done.result.files.items():
        (folder / "night" / kind.upper()).mkdir(parents=True)
        for i, name in enumerate(names, 1):
            last = i == len(names)
            place = folder / ("spare" if last else f"night/{kind.upper()}")
            shutil.move(folder / "simulated" / name, place / f"{kind if last else f'{kind[0].upper()}{i}'}.fits")
    shutil.rmtree(folder / "simulated")
    light = fits.open(folder / "spare" / "light.fits")[0]
    mosaic = fits.PrimaryHDU(light.data, light.header)
    mosaic.header["BAYERPAT"] = "RGGB"
    mosaic.writeto(folder / "spare" / "mosaic.fits")
    sky = (light.data.astype(np.float32) - 504) / 1.0
    for name, seconds, scene in (("long", 120.0, np.minimum(sky * 8, 60000)), ("short", 15.0, sky)):
        hdu = fits.PrimaryHDU(scene.astype(np.float32), light.header)
        hdu.header.update({"EXPTIME": seconds, "EXPOSURE": seconds, "CALSTAT": "BDF", "SATURATE": 60000.0})
        hdu.writeto(folder / "spare" / f"{name}.fits")


FIRST = (
    "run night --out made",
    "bias night/BIAS -o bias.fits",
    "dark night/DARK -o dark.fits",
    "flat night/FLAT -o flat.fits --bias bias.fits",
    "defects dark.fits -o defects.fits",
    "defects dark.fits -o defects.lst",
    "superbias bias.fits -o made/superbias.fits",
    "plan night",
    "doctor night",
    "calibrate night/LIGHT -o made --dark dark.fits --flat flat.fits",
    "debayer spare/mosaic.fits -o made",
    "cosmetic night/LIGHT -o made --dark dark.fits",
    "defectmap night/LIGHT -o made --defects defects.fits",
    "normalize night/LIGHT -o made --reference night/LIGHT/L1.fits --no-scale",
    "integrate night/LIGHT -o made/deep.fits --force",
    "hdr spare/long.fits spare/short.fits -o made/hdr.fits",
    "subframes night/LIGHT -o made/approved --weight tutorial",
    "blink night/LIGHT -o made/night.html",
    "align night/LIGHT -o aligned --transforms-only",
    "align night/LIGHT -o made/registered",
    "drizzle night/LIGHT -o made/fine.fits --transforms aligned",
)
"""What is done with the night before anything bad is: masters for the roles, and every kernel loaded."""


@dataclass(frozen=True)
class Role:
    """A place that a file can have in a command."""

    name: str
    verb: str
    base: str
    """The healthy file for that place; a bad one is made of it."""
    place: str
    """Where it lies; X stands for its name."""
    words: str
    """The command."""
    product: str = ""
    """What is made: with `alone`, of this file; else of all of them or, where X stands in the name, of this one."""
    alone: bool = False
    """Whether the command can do nothing without it."""

    def argv(self, name: str) -> list[str]:
        return [name if word == "X" else word.replace("/X", f"/{name}") for word in self.words.split()]

    def product_of(self, name: str) -> str:
        return self.product.replace("X", name.split(".")[0])


ROLES = {
    role.name: role
    for role in (
        Role(
            "run light",
            "run",
            "spare/light.fits",
            "night/LIGHT",
            "run night --out out",
            "out/master_light_Field-7_L.fits",
        ),
        Role(
            "run dark", "run", "spare/dark.fits", "night/DARK", "run night --out out", "out/master_light_Field-7_L.fits"
        ),
        Role(
            "run flat", "run", "spare/flat.fits", "night/FLAT", "run night --out out", "out/master_light_Field-7_L.fits"
        ),
        Role("plan", "plan", "spare/light.fits", "night/LIGHT", "plan night"),
        Role("doctor", "doctor", "spare/light.fits", "night/LIGHT", "doctor night"),
        Role("bias", "bias", "spare/bias.fits", ".", "bias night/BIAS X -o out/m.fits", "out/m.fits"),
        Role("dark", "dark", "spare/dark.fits", ".", "dark night/DARK X -o out/m.fits", "out/m.fits"),
        Role("flat", "flat", "spare/flat.fits", ".", "flat night/FLAT X -o out/m.fits --bias bias.fits", "out/m.fits"),
        Role(
            "flat --bias", "flat", "bias.fits", ".", "flat night/FLAT -o out/m.fits --bias X", "out/m.fits", alone=True
        ),
        Role("superbias", "superbias", "bias.fits", ".", "superbias X -o out/m.fits", "out/m.fits", alone=True),
        Role(
            "calibrate",
            "calibrate",
            "spare/light.fits",
            ".",
            "calibrate night/LIGHT/L1.fits X -o out --dark dark.fits --flat flat.fits",
            "out/X_c.fits",
        ),
        Role(
            "calibrate --dark",
            "calibrate",
            "dark.fits",
            ".",
            "calibrate night/LIGHT/L1.fits -o out --dark X",
            "out/L1_c.fits",
            alone=True,
        ),
        Role(
            "calibrate --flat",
            "calibrate",
            "flat.fits",
            ".",
            "calibrate night/LIGHT/L1.fits -o out --dark dark.fits --flat X",
            "out/L1_c.fits",
            alone=True,
        ),
        Role(
            "cosmetic",
            "cosmetic",
            "spare/light.fits",
            ".",
            "cosmetic night/LIGHT/L1.fits X -o out --dark dark.fits",
            "out/X_cc.fits",
        ),
        Role(
            "cosmetic --dark",
            "cosmetic",
            "dark.fits",
            ".",
            "cosmetic night/LIGHT/L1.fits -o out --dark X",
            "out/L1_cc.fits",
            alone=True,
        ),
        Role("defects", "defects", "dark.fits", ".", "defects X -o out/d.fits", "out/d.fits", alone=True),
        Role(
            "defectmap",
            "defectmap",
            "spare/light.fits",
            ".",
            "defectmap night/LIGHT/L1.fits X -o out --defects defects.fits",
            "out/X_dm.fits",
        ),
        Role("debayer", "debayer", "spare/mosaic.fits", ".", "debayer X -o out", "out/X_d.fits", alone=True),
        Role(
            "normalize",
            "normalize",
            "spare/light.fits",
            ".",
            "normalize night/LIGHT/L2.fits X -o out --reference night/LIGHT/L1.fits --no-scale",
            "out/X_n.fits",
        ),
        Role(
            "normalize --reference",
            "normalize",
            "spare/light.fits",
            ".",
            "normalize night/LIGHT/L2.fits -o out --reference X --no-scale",
            "out/L2_n.fits",
            alone=True,
        ),
        Role(
            "integrate",
            "integrate",
            "spare/light.fits",
            ".",
            "integrate night/LIGHT X -o out/m.fits --force",
            "out/m.fits",
        ),
        Role("subframes", "subframes", "spare/light.fits", ".", "subframes night/LIGHT/L1.fits X"),
        Role(
            "align",
            "align",
            "spare/light.fits",
            ".",
            "align night/LIGHT X -o out --reference night/LIGHT/L1.fits",
            "out/X_r.fits",
        ),
        Role("hdr", "hdr", "spare/long.fits", ".", "hdr X spare/short.fits -o out/m.fits", "out/m.fits", alone=True),
    )
}


@cache
def warm() -> Warm:
    """The warm process that all tests of a session share."""
    process = Warm()
    atexit.register(process.__exit__)
    return process


def lay(warm: Warm, folder: Path) -> Path:
    """A copy of the healthy bed, with an empty folder for what comes out and one for scratch files."""
    shutil.copytree(warm.bed, folder, ignore=shutil.ignore_patterns("made", ".out", ".err"))
    for name in ("out", "scratch"):
        (folder / name).mkdir()
    return folder


def lay_role(warm: Warm, folder: Path, role: Role, name: str = "", make: Callable[[Path, Path], None] | None = None):
    """A bed with a file in a role, healthy or made by `make(healthy, target)`; no name, no file. Gives the file."""
    lay(warm, folder)
    if not name:
        return None
    target = folder / role.place / name
    (make or shutil.copyfile)(folder / role.base, target)
    return target


def do(warm: Warm, folder: Path, argv: list[str], **how) -> Done:
    """A command in a bed, its scratch files going to `scratch`."""
    how["env"] = {"TMPDIR": str(folder / "scratch"), **how.get("env", {})}
    return warm(*argv, cwd=folder, **how)


@dataclass
class Healthy:
    """What each role gives with healthy input, and without it, found when first asked for."""

    warm: Warm
    folder: Path
    made: dict = field(default_factory=dict)

    def __call__(self, role: Role, there: bool) -> tuple[Done, np.ndarray | None]:
        """The command and the pixels of its product, with a healthy X.fits in the role or with none there."""
        if (role.name, there) not in self.made:
            place = self.folder / f"{role.name.replace(' ', '_')}-{there}"
            lay_role(self.warm, place, role, "X.fits" if there else "")
            argv = [word for word in role.argv("X.fits") if there or word != "X.fits"]
            done = do(self.warm, place, argv)
            assert done.status == 0 or "doctor" in done.argv, done
            self.made[role.name, there] = done, pixels(place / role.product_of("X")) if role.product else None
            shutil.rmtree(place)
        return self.made[role.name, there]


def pixels(path: Path) -> np.ndarray | None:
    """The image of a product; None where there is none."""
    if not path.is_file():
        return None
    with fits.open(path) as hdus:
        return np.asarray(next(h.data for h in hdus if h.data is not None), np.float64)


def same(a: np.ndarray | None, b: np.ndarray | None, tolerance: float = 0.0) -> bool:
    """Whether two images are alike, NaN where NaN: bit by bit, or within a part of their level."""
    if a is None or b is None or a.shape != b.shape:
        return False
    if not tolerance:
        return np.array_equal(a, b, equal_nan=True)
    return np.array_equal(np.isnan(a), np.isnan(b)) and np.allclose(a, b, rtol=tolerance, equal_nan=True)


# --- the judge --------------------------------------------------------------------------------------------------------


def fingerprints(folder: Path) -> dict[str, str]:
    """What a user's files hold, by their paths: everything that no command may change."""
    files = (p for part in ("night", "spare", ".") for p in (folder / part).glob("**/*" if part != "." else "*"))
    seen = (p for p in files if p.is_file() and not p.is_symlink() and p.name not in (".out", ".err"))
    return {str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in seen}


def told(done: Done) -> list[str]:
    """Messages of a command: errors, rejected frames, notes; not what `recipe` and `help` print as their work."""
    out = "" if done.argv[:1] in (("recipe",), ("help",)) else done.out
    return [line for line in (out + done.err).splitlines() if line.strip()]


def faults(done: Done, folder: Path, usual_cpu_s: float, before: dict[str, str] | None = None) -> list[str]:
    """What is wrong with how a command ended, whatever it was given; nothing, if all is well."""
    found = []
    if done.status not in (0, 1, 2):
        found.append(f"ended with status {done.status}")
    found += [
        f"{word!r} is told" for word in ("Traceback", "Exception ignored", "Warning:") if word in done.out + done.err
    ]
    if done.cpu_s > usual_cpu_s + MORE_CPU_S:
        found.append(f"took {done.cpu_s:.1f} s where healthy input takes {usual_cpu_s:.1f} s")
    if done.rss_mb > MOST_MB:
        found.append(f"took {done.rss_mb:.0f} MB")
    found += [f"a message of {len(line)} letters: {line}" for line in told(done) if len(line) > MOST_LETTERS]
    if odd := re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.out + done.err):
        found.append(f"the control character {odd[0]!r} is sent to the terminal")
    if len(lines := done.err.strip().splitlines()) > 1 and not done.err.startswith("Usage:"):
        found.append(f"an error of {len(lines)} lines: {done.err}")
    if done.status == 2:
        products = [p.name for p in (folder / "out").glob("*") if p.suffix in (".fits", ".png", ".lst", ".txt")]
        found += [f"failed and left {name}" for name in products if name != "console.txt"]
        found += [] if done.err.strip() or "\nnothing usable" in done.out else ["failed without a word"]
    found += [f"left {p.relative_to(folder)}" for p in folder.glob("**/*") if ".partial" in p.name]
    found += [f"left {p.relative_to(folder)}" for p in (folder / "scratch").glob("*")]
    found += [f"{p.name}: {why}" for p in (folder / "out").glob("**/*.fits") if (why := broken(p))]
    if before is not None:
        after = fingerprints(folder)
        found += [f"changed the input {name}" for name in before if after.get(name) != before[name]]
    return found


def broken(path: Path) -> str:
    """Why a FITS file is not whole; '' when it is: it opens and the sum of each part agrees."""
    import warnings

    try:
        with (
            warnings.catch_warnings(action="error"),
            fits.open(path, checksum=True, disable_image_compression=True) as hdus,
        ):
            for hdu in hdus:
                if "DATASUM" not in hdu.header:
                    return f"no DATASUM in {hdu.name}"
                hdu.data  # noqa: B018 - read to the end
    except Exception as error:  # whatever astropy says of it
        return f"{type(error).__name__}: {error}"
    return ""
