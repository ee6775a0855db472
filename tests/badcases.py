"""Kinds of bad nights, flags, recipes and outputs: commands in a spoilt bed, and how they must end (see `badinput`)."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from badfiles import after, card, cards, content, image, more
from badinput import BadCase
from bed import broken, pixels

RUN, PLAN, DOCTOR = "run night --out out", "plan night", "doctor night"
LIGHT = "out/master_light_Field-7_L.fits"
Spoil = Callable[[Path], None]


def each(pattern: str, make) -> Spoil:
    """Spoil every file of a pattern."""

    def spoil(place: Path) -> None:
        for path in sorted(place.glob(pattern)):
            healthy = path.rename(path.with_name("healthy.tmp"))
            make(healthy, path)
            healthy.unlink()

    return spoil


def without(*patterns: str) -> Spoil:
    """Take files or folders away."""

    def spoil(place: Path) -> None:
        for path in [path for pattern in patterns for path in place.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def renamed(name: str | bytes) -> Spoil:
    """The first light under another name."""
    new = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return lambda place: (place / "night/LIGHT/L1.fits").rename(place / "night/LIGHT" / new)


def both(*spoils: Spoil) -> Spoil:
    def spoil(place: Path) -> None:
        for one in spoils:
            one(place)

    return spoil


def files(**contents: str | bytes) -> Spoil:
    """Write files: `files(recipe_toml="...")` writes recipe.toml."""

    def spoil(place: Path) -> None:
        for name, words in contents.items():
            stem, _, end = name.rpartition("_")
            (place / f"{stem}.{end}").write_bytes(words if isinstance(words, bytes) else words.encode())

    return spoil


def copied(source: str, *targets: str) -> Spoil:
    def spoil(place: Path) -> None:
        for target in targets:
            (place / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place / source, place / target)

    return spoil


def whole(path: str) -> Callable[[Path], str]:
    """The product is there and whole."""
    return lambda place: broken(place / path) if (place / path).is_file() else f"{path} is not there"


def level(path: str, low: float, high: float) -> Callable[[Path], str]:
    """The median of the product lies between."""

    def check(place: Path) -> str:
        made = pixels(place / path)
        median = None if made is None else float(np.nanmedian(made))
        return "" if median is not None and low <= median <= high else f"the median of {path} is {median}"

    return check


def night(
    name: str,
    words: str,
    make: Spoil,
    run: str,
    tells: str = "",
    check=lambda place: "",
    plan: str = "",
    doctor: str = "01",
    gap: str = "",
) -> BadCase:
    """A bad night under run, plan and doctor; the statuses of plan and doctor follow from that of run."""
    plan = plan or ("2" if run == "2" else "0")
    tries = {
        RUN: (run, tells),
        PLAN: (plan, ""),
        DOCTOR: ("2" if run == "2" and doctor == "2" else doctor + "2" * (run == "2"), ""),
    }
    return BadCase(
        name, words, tries, make, lambda place: check(place) if (place / LIGHT).is_file() or "0" in run else "", gap
    )


OTHER_CAMERA = image(lambda p: p[:64, :80].astype(np.uint16), INSTRUME="Another camera")
NIGHTS = [
    night("empty", "an empty folder", without("night/*"), "2", "no images were found"),
    night("gone", "a folder that is not there", without("night"), "2", "night"),
    BadCase("a-file", "a file in place of a folder", {"run night/LIGHT/L1.fits --out out": ("012", "")}),
    night(
        "texts",
        "a folder without an image",
        both(without("night/*"), files(**{"night/notes_txt": "hello"})),
        "2",
        "no images",
    ),
    night("no-lights", "no light", without("night/LIGHT"), "2", "no usable lights|no light", plan="2"),
    night(
        "only-flats", "nothing but flats", without("night/LIGHT", "night/BIAS", "night/DARK"), "2", "light", plan="2"
    ),
    night(
        "only-lights",
        "nothing but lights",
        without("night/FLAT", "night/BIAS", "night/DARK"),
        "0",
        "not calibrated|no dark|no bias",
        whole(LIGHT),
    ),
    night("one-light", "one light", without("night/LIGHT/L[234].fits"), "0", "", whole(LIGHT)),
    night(
        "two-equal",
        "two lights that are the same file twice",
        both(without("night/LIGHT/L[34].fits"), copied("night/LIGHT/L1.fits", "night/LIGHT/L2.fits")),
        "012",
        "same|twice|identical|equal|noise",
    ),
    night(
        "all-equal",
        "four lights that are the same file",
        copied("night/LIGHT/L1.fits", *(f"night/LIGHT/L{i}.fits" for i in (2, 3, 4))),
        "012",
        "same|twice|identical|equal|noise",
    ),
    night("two-cameras", "lights of two cameras", each("night/LIGHT/L[12].fits", OTHER_CAMERA), "012", ""),
    night(
        "flats-zero",
        "flats of level zero",
        each("night/FLAT/*.fits", image(lambda p: np.zeros(p.shape, np.uint16))),
        "012",
        "flat|F",
    ),
    night(
        "flats-bias",
        "flats that hold no light",
        each("night/FLAT/*.fits", image(lambda p: np.full(p.shape, 501, np.uint16))),
        "012",
        "flat",
    ),
    night(
        "flats-saturated",
        "flats that are saturated",
        each("night/FLAT/*.fits", image(lambda p: np.full(p.shape, 65535, np.uint16))),
        "012",
        "satur|every pixel",
    ),
    night(
        "flats-nan",
        "flats of NaN",
        each("night/FLAT/*.fits", image(lambda p: np.full(p.shape, np.nan, np.float32))),
        "012",
        "flat",
    ),
    night(
        "darks-other-size",
        "darks of another size",
        each("night/DARK/*.fits", image(lambda p: p[:64, :64].astype(np.uint16))),
        "01",
        "size|dark",
        whole(LIGHT),
    ),
    night(
        "darks-bright",
        "darks that saw light",
        each("night/DARK/*.fits", image(lambda p: (p + 3000).astype(np.uint16))),
        "012",
        "dark",
    ),
    night(
        "darks-nan",
        "darks of NaN",
        each("night/DARK/*.fits", image(lambda p: np.full(p.shape, np.nan, np.float32))),
        "012",
        "dark",
    ),
    night(
        "bias-zero",
        "bias frames of zero",
        each("night/BIAS/*.fits", image(lambda p: np.zeros(p.shape, np.uint16))),
        "012",
        "bias|B",
    ),
    night(
        "no-stars",
        "lights without stars",
        each(
            "night/LIGHT/*.fits",
            image(lambda p: np.random.default_rng(int(p.sum())).normal(1000, 10, p.shape).round().astype(np.uint16)),
        ),
        "2",
        "star",
        plan="0",
        doctor="01",
    ),
    night(
        "black-lights",
        "lights that are all zero",
        each("night/LIGHT/*.fits", image(lambda p: np.zeros(p.shape, np.uint16))),
        "2",
        "",
        plan="0",
        doctor="01",
    ),
    night(
        "nan-lights",
        "lights that are all NaN",
        each("night/LIGHT/*.fits", image(lambda p: np.full(p.shape, np.nan, np.float32))),
        "2",
        "",
        plan="0",
        doctor="01",
    ),
    night(
        "white-lights",
        "lights that are all saturated",
        each("night/LIGHT/*.fits", image(lambda p: np.full(p.shape, 65535, np.uint16))),
        "2",
        "",
        plan="0",
        doctor="01",
    ),
    night(
        "tiny-lights",
        "lights of 4 x 4 pixels",
        each("night/*/*.fits", image(lambda p: p[:4, :4].astype(np.uint16))),
        "2",
        "",
        plan="0",
        doctor="012",
    ),
    night(
        "unit-masters",
        "master dark and flat of floats from 0 to 1",
        both(
            without("night/DARK", "night/FLAT", "night/BIAS"),
            lambda place: image(lambda p: (p / 65535).astype(np.float32), PROGRAM="Siril 1.0.6", BITPIX=-32)(
                place / "dark.fits", place / "night/dark_stacked.fits"
            ),
        ),
        "012",
        "0 to 1|from 0|65535|unit",
        level(LIGHT, 600, 1300),
    ),
    night(
        "every-observer",
        "a name outside ASCII in every file",
        each("night/*/*.fits", card("OBSERVER", "'Zoë'")),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "every-comma",
        "a number with a comma in every file",
        each("night/*/*.fits", card("FOCUSTMP", "1,02")),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "every-nan",
        "NaN in cards of every file",
        each("night/*/*.fits", card("SITELAT", "NaN", "AIRMASS", "nan")),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "every-blank",
        "BLANK that no pixel can be, in every file",
        each("night/*/*.fits", card("BLANK", "-9223372036854775808")),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "every-hole",
        "a square without data in every light",
        each(
            "night/LIGHT/*.fits",
            after(card("BLANK", "-32768"), lambda b: b[: 2880 * 2] + b"\x80\x00" * 300 + b[2880 * 2 + 600 :]),
        ),
        "012",
        "",
    ),
    night(
        "every-exposure",
        "no exposure in any header",
        each("night/*/*.fits", card("EXPTIME", None, "EXPOSURE", None)),
        "012",
        "",
    ),
    night("every-kind", "no kind of frame in any header", each("night/*/*.fits", card("IMAGETYP", None)), "012", ""),
    night(
        "every-end",
        "no END card in any light",
        each("night/LIGHT/*.fits", cards(lambda c: c, end=b"COMMENT")),
        "2",
        "END|damaged|lights",
    ),
    night("every-cut", "every light is cut", each("night/LIGHT/*.fits", content(lambda b: b[:9000])), "2", "truncated"),
    night(
        "bottom-up",
        "one light stored upside down",
        each("night/LIGHT/L1.fits", card("ROWORDER", "'BOTTOM-UP'")),
        "01",
        "",
    ),
    night(
        "name-control", "a file name with control characters", renamed("L\x1b[31m\x07\r1.fits"), "0", "", whole(LIGHT)
    ),
    night("name-newline", "a file name of two lines", renamed("L\n1.fits"), "0", "", whole(LIGHT)),
    night("name-bytes", "a file name of broken bytes", renamed(b"L\xff\xfe1.fits"), "0", "", whole(LIGHT)),
    night("name-long", "a file name of 250 letters", renamed("L" * 245 + ".fits"), "0", "", whole(LIGHT)),
    night(
        "name-markup",
        "a file name that looks like markup",
        renamed("[red]L1[bold].fits"),
        "0",
        "",
        whole(LIGHT),
    ),
    night("name-percent", "a file name with % and braces", renamed("L%s{0}%n 'x' \"y\".fits"), "0", "", whole(LIGHT)),
    night("name-upper", "a file name in capitals", renamed("L1.FITS"), "0", "", whole(LIGHT)),
    night("name-dash", "a file name that begins with a dash", renamed("--force.fits"), "0", "", whole(LIGHT)),
    night(
        "linked",
        "a light that is a link to another one",
        lambda place: (place / "night/LIGHT/L9.fits").symlink_to("L1.fits"),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "folder-loop",
        "a folder that holds itself",
        lambda place: (place / "night/again").symlink_to("."),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "deep",
        "lights 60 folders down",
        lambda place: shutil.move(place / "night/LIGHT", place / "night" / "/".join(["d"] * 60)),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "ser",
        "a bare .ser file and no image",
        both(without("night/*"), files(**{"night/planet_ser": b"LUCAM-RECORDER" + bytes(2000)})),
        "2",
        "ser",
    ),
    night(
        "rubbish",
        "twenty broken files beside the lights",
        files(**{f"night/LIGHT/bad{i}_fits": "x" * i for i in range(20)}),
        "1",
        "bad",
        whole(LIGHT),
    ),
    night(
        "own-products",
        "the products of an earlier run among the frames",
        both(
            copied("dark.fits", "night/out/masters/master_dark.fits", "night/out/master_light_X.fits"),
            files(**{"night/out/report_json": "{}"}),
        ),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "folder-twice",
        "a folder of lights and a copy of it",
        lambda place: shutil.copytree(place / "night/LIGHT", place / "night/copy"),
        "1",
        "same pixels",
        plan="0",
        doctor="0",
    ),
    night(
        "stack",
        "a stack of another program among the lights",
        lambda place: image(lambda p: p.astype(np.float32), NCOMBINE=60)(
            place / "night/LIGHT/L1.fits", place / "night/LIGHT/stack.fits"
        ),
        "1",
        "stack",
        whole(LIGHT),
    ),
    night(
        "flats-cameras",
        "flats of three cameras",
        both(*(each(f"night/FLAT/F{i}.fits", card("INSTRUME", f"'Camera {i}'")) for i in (2, 3))),
        "0",
        "flat L gain.* Camera|Camera",
        whole(LIGHT),
    ),
    night(
        "flats-angles",
        "flats at two angles of the rotator, lights at one of them",
        both(
            each("night/LIGHT/*.fits", more("ROTATANG=                 10.0")),
            each("night/FLAT/F[12].fits", more("ROTATANG=                 10.5")),
            each("night/FLAT/F3.fits", more("ROTATANG=                100.0")),
        ),
        "0",
        "rotator 10°",
        whole(LIGHT),
    ),
    night(
        "no-dates",
        "frames without a date, flats in two folders",
        both(each("night/*/*.fits", card("DATE-OBS", None)), copied("spare/flat.fits", "night/FLAT2/F4.fits")),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "clock",
        "a clock that goes from local time to UTC within the night",
        each("night/LIGHT/L[12].fits", card("DATE-OBS", "'2024-10-07T09:00:00'")),
        "0",
        "",
        whole(LIGHT),
    ),
    night(
        "temperature-wild",
        "one dark and one light with a wild temperature",
        both(*(each(f"night/{f}.fits", card("CCD-TEMP", "44.0")) for f in ("DARK/D1", "LIGHT/L1"))),
        "0",
        "told as 44 °C",
        whole(LIGHT),
    ),
]


def flag(
    name: str,
    words: str,
    command: str,
    tells: str,
    statuses: str = "2",
    make: Spoil = lambda place: None,
    check=lambda place: "",
    gap: str = "",
) -> BadCase:
    return BadCase(name, words, {command: (statuses, tells)}, make, check, gap)


def recipe(name: str, words: str, text: str | bytes, tells: str, statuses: str = "2", gap: str = "") -> BadCase:
    """A recipe in a file under run and plan, and printed again."""
    verbs = (RUN, PLAN, "recipe")
    return BadCase(
        name, words, {f"{verb} -r night.toml": (statuses, tells) for verb in verbs}, files(night_toml=text), gap=gap
    )


DRIZZLE = "drizzle night/LIGHT -o out/m.fits --transforms"
INTEGRATE = "integrate night/LIGHT -o out/m.fits --force"
FLAGS = [
    flag("verb", "a verb that does not exist", "stack night", "stack|No such command"),
    flag("verb-none", "no verb", "", "Usage|masterlight", "02"),
    flag("flag", "a flag that does not exist", f"{RUN} --sharpen 3", "sharpen|No such option"),
    flag("flag-near", "a flag with a wrong letter", f"{RUN} --integrate.rejection.lo 3", "lo|No such option"),
    flag("flag-twice", "a flag twice", f"{RUN} --align.max-stars 100 --align.max-stars 200", "", "02"),
    flag("value-none", "a flag without value", f"{RUN} --align.max-stars", "max-stars|argument"),
    flag("number-words", "a word for a number", f"{RUN} --align.max-stars many", "max-stars|many"),
    flag("number-nan", "nan for a number", f"{RUN} --integrate.rejection.low nan", "low"),
    flag("number-inf", "inf for a number", f"{RUN} --integrate.rejection.low inf", "low"),
    flag("number-huge", "1e20 for a count", f"{RUN} --integrate.rejection.few 1e20", "few"),
    flag(
        "number-far", "100000000000000000000 for a count", f"{RUN} --align.max-stars 100000000000000000000", "max.stars"
    ),
    flag("number-negative", "a negative count", f"{RUN} --align.max-stars -5", "max.stars"),
    flag("number-zero", "0 for a size", f"{RUN} --integrate.local.scale-px 0", "scale.px"),
    flag("number-half", "a half for a count", f"{RUN} --select.max-stars 10.5", "max.stars"),
    flag("number-comma", "a number with a comma", f"{RUN} --integrate.rejection.low 3,5", "low"),
    flag("number-empty", "an empty number", f"{RUN} --integrate.rejection.low ''", "low"),
    flag("memory-zero", "no memory", f"{RUN} --memory-mb 0", "memory"),
    flag("memory-negative", "negative memory", f"{RUN} --memory-mb -100", "memory"),
    flag("memory-nan", "nan MB of memory", f"{RUN} --memory-mb nan", "memory"),
    flag("memory-tiny", "1e-9 MB of memory", f"{RUN} --memory-mb 0.000000001", "", "02"),
    flag("choice", "a method that does not exist", f"{RUN} --integrate.rejection.algorithm magic", "magic"),
    flag("choice-case", "a method in capitals", f"{RUN} --integrate.rejection.algorithm SIGMA", "SIGMA|sigma", "02"),
    flag("choice-utf8", "a method in other letters", f"{RUN} --integrate.rejection.algorithm сигма", "сигма|algorithm"),
    flag(
        "limits-crossed",
        "range limits the wrong way round",
        f"{RUN} --integrate.rejection.range-low 5 --integrate.rejection.range-high 2",
        "range",
    ),
    flag(
        "contradiction",
        "a knob of another algorithm",
        f"{INTEGRATE} --rejection.algorithm sigma --rejection.esd-fraction 0.2",
        "esd",
    ),
    flag("weights-word", "weights that do not exist", f"{INTEGRATE} --weights magic", "magic|weights"),
    flag(
        "expression",
        "a weight expression that cannot be parsed",
        f"{RUN} --integrate.weights expression --integrate.weight-expression '(1+'",
        "expression|parse|\\(",
    ),
    flag(
        "expression-name",
        "a weight expression of unknown names",
        f"{RUN} --integrate.weights expression --integrate.weight-expression 'seeing*2'",
        "seeing",
    ),
    flag(
        "expression-code",
        "a weight expression that is a program",
        f"{RUN} --integrate.weights expression --integrate.weight-expression "
        '\'__import__("os").system("touch out/pwned")\'',
        "expression|import",
        check=lambda place: "the expression was run" if (place / "out/pwned").exists() else "",
    ),
    flag(
        "expression-deep",
        "a weight expression of 5,000 brackets",
        f"{RUN} --integrate.weights expression --integrate.weight-expression " + "(" * 5000 + "1" + ")" * 5000,
        "expression|deep|nest|long",
    ),
    flag(
        "expression-power",
        "a weight expression that is far too large",
        f"{RUN} --integrate.weights expression --integrate.weight-expression '9**9**9**9'",
        "",
        "12",
    ),
    flag(
        "expression-zero",
        "a weight expression that divides by 0",
        f"{RUN} --integrate.weights expression --integrate.weight-expression '1/0'",
        "",
        "12",
    ),
    flag(
        "approval-words",
        "an approval of unknown names",
        f"{RUN} --select.approval 'fwhm < 3'",
        "approval|fwhm|No such option",
    ),
    flag(
        "minmax",
        "more frames dropped than there are",
        f"{INTEGRATE} --rejection.algorithm minmax --rejection.low 3 --rejection.high 3",
        "minmax|low|high|frames",
    ),
    flag("roi-outside", "a region outside of the frames", f"{INTEGRATE} --roi 100,100,500,500", "roi"),
    flag("roi-negative", "a region of negative size", f"{INTEGRATE} --roi 10,10,-5,-5", "roi"),
    flag("roi-empty", "a region of no size", f"{INTEGRATE} --roi 10,10,0,0", "roi"),
    flag("roi-words", "a region of words", f"{INTEGRATE} --roi left", "roi"),
    flag("roi-three", "a region of three numbers", f"{INTEGRATE} --roi 1,2,3", "roi"),
    flag("roi-pixel", "a region of one pixel", f"{INTEGRATE} --roi 5,5,1,1", "", "012"),
    flag("roi-huge", "a region of 1e30", f"{INTEGRATE} --roi 0,0,{10**30},{10**30}", "roi"),
    flag("reference-none", "a reference that is not there", f"{INTEGRATE} --reference nobody.fits", "nobody"),
    flag("reference-run", "a reference that names no light", f"{RUN} --reference nobody.fits", "nobody", "2"),
    flag("reference-empty", "an empty reference", f"{INTEGRATE} --reference ''", "reference", "02"),
    flag("slope", "a map of slopes without line fits", f"{INTEGRATE} --slope-map", "slope"),
    flag("workers-word", "workers that do not exist", f"{RUN} --workers gpu", "workers|gpu"),
    flag("workers-zero", "no threads", f"{RUN} --workers threads:0", "threads"),
    flag("workers-many", "a million threads", f"{RUN} --workers threads:1000000", "", "02"),
    flag("workers-huge", "1e30 threads", f"{RUN} --workers threads:{10**30}", "threads|workers", "02"),
    flag("workers-unicode", "threads in other digits", f"{RUN} --workers threads:²", "threads|workers"),
    flag("workers-dask", "a scheduler that is not there", f"{RUN} --workers dask://127.0.0.1:1", "dask"),
    flag("preset", "a preset that does not exist", f"{RUN} --preset light-magic", "light-magic"),
    flag("preset-flat", "a preset for other frames", f"{RUN} --preset flat-bias", "flat-bias"),
    flag(
        "preset-needs", "a preset without its masters", "calibrate night/LIGHT -o out --preset light-bias-flat", "needs"
    ),
    flag("input-none", "no input", "run --out out", "DIR|argument|no files|folder"),
    flag("input-two", "a folder twice", "run night night --out out", "", "0"),
    flag("input-empty", "an empty name as input", "run '' --out out", "no files|folder|no images|given"),
    flag("input-nul", "files that are not there", "integrate none1.fits none2.fits -o out/m.fits", "none1"),
    flag("master-none", "a master that is not there", "calibrate night/LIGHT -o out --dark nodark.fits", "nodark"),
    flag("master-kind", "a flat in place of a dark", "calibrate night/LIGHT -o out --dark flat.fits", "flat"),
    flag(
        "master-raw",
        "a raw light in place of a master dark",
        "calibrate night/LIGHT -o out --dark night/LIGHT/L1.fits",
        "light",
    ),
    flag("master-nothing", "nothing to calibrate with", "calibrate night/LIGHT -o out", "nothing to calibrate"),
    flag(
        "defects-none",
        "a list of defects that is not there",
        "cosmetic night/LIGHT -o out --defects none.lst",
        "none.lst",
    ),
    flag(
        "defects-odd",
        "a list of defects of nonsense",
        "cosmetic night/LIGHT -o out --defects bad.lst",
        "bad.lst",
        make=files(bad_lst="P one two\nC -5 H\n\x00\xff"),
    ),
    flag(
        "defects-far",
        "a list of defects outside of the frames",
        "cosmetic night/LIGHT -o out --defects bad.lst",
        "bad.lst",
        make=files(bad_lst="P 99999 99999 H\n"),
    ),
    flag(
        "defects-binary",
        "a list of defects of bytes",
        "cosmetic night/LIGHT -o out --defects bad.txt",
        "bad.txt",
        make=files(bad_txt=bytes(range(256)) * 9),
    ),
    flag(
        "superbias-two",
        "two masters for one superbias",
        "superbias bias.fits dark.fits -o out/m.fits",
        "one master|extra argument",
    ),
    flag("hdr-one", "one exposure for HDR", "hdr spare/long.fits -o out/m.fits", "two|2|one"),
    flag("hdr-equal", "the same exposure twice for HDR", "hdr spare/long.fits spare/long.fits -o out/m.fits", "", "02"),
    flag(
        "debayer-mono",
        "debayering of frames without colour",
        "debayer night/LIGHT -o out",
        "colour|pattern|mosaic|mono",
    ),
    flag("pattern-odd", "a pattern that does not exist", "debayer night/LIGHT -o out --pattern RGBW", "pattern|RGBW"),
    flag("simulate-zero", "a simulated night without size", "simulate out/night --rows 0", "rows"),
    flag("simulate-nan", "a simulated night of nan exposure", "simulate out/night --exposure-s nan", "exposure"),
    flag(
        "simulate-huge",
        "a simulated night of 1e9 rows",
        "simulate out/night --rows 1000000000 --cols 1000000000",
        "rows|memory|large|GB|disk",
    ),
    flag("simulate-filter", "a simulated night through no filter", "simulate out/night --filters ''", "filters"),
    flag("help-verb", "help for a verb that does not exist", "help stack", "no verb stack"),
    flag("help-chapter", "help for a chapter that does not exist", "help run nonsense", "nonsense"),
    flag("help-run", "help for a verb", "help run", "Usage", "0"),
]

RECIPES = [
    recipe("recipe-empty", "an empty recipe", "", "", "0"),
    recipe("recipe-section", "a section that does not exist", "[sharpen]\nx = 1\n", "sharpen"),
    recipe("recipe-knob", "a knob that does not exist", "[align]\nmax_starz = 1\n", "max_starz"),
    recipe("recipe-type", "a word for a number", '[align]\nmax_stars = "many"\n', "max_stars"),
    recipe("recipe-list", "a list for a number", "[align]\nmax_stars = [1, 2]\n", "max_stars"),
    recipe("recipe-table", "a table for a number", "[align.max_stars]\na = 1\n", "max_stars"),
    recipe("recipe-scalar", "a number for a section", "align = 5\n", "align"),
    recipe("recipe-nan", "nan", "[integrate.rejection]\nlow = nan\n", "low"),
    recipe("recipe-inf", "infinity", "[integrate.rejection]\nlow = inf\n", "low"),
    recipe("recipe-huge", "1e20 for a count", "[integrate.rejection]\nfew = 1e20\n", "few"),
    recipe("recipe-date", "a date for a number", "[align]\nmax_stars = 2025-01-01\n", "max_stars"),
    recipe("recipe-bool", "true for a number", "[align]\ntolerance_px = true\n", "tolerance_px"),
    recipe("recipe-twice", "a knob twice", "[align]\nmax_stars = 1\nmax_stars = 2\n", "night.toml"),
    recipe("recipe-syntax", "broken TOML", "[align\nmax_stars = = 5\n", "night.toml"),
    recipe("recipe-json", "JSON", '{"align": {"max_stars": 5}}', "night.toml"),
    recipe("recipe-binary", "bytes that are no text", bytes(range(256)), "night.toml"),
    recipe("recipe-utf16", "a text in UTF-16", "[align]\nmax_stars = 100\n".encode("utf-16"), "night.toml"),
    recipe("recipe-bom", "a byte order mark, as Notepad writes it", "\ufeff[align]\nmax_stars = 100\n", "", "02"),
    recipe("recipe-crlf", "lines that end as in Windows", "[align]\r\nmax_stars = 100\r\n", "", "0"),
    recipe("recipe-deep", "arrays 5,000 deep", "x = " + "[" * 5000 + "]" * 5000, "night.toml"),
    recipe("recipe-tables", "tables 3,000 deep", "[" + ".".join(["a"] * 3000) + "]\nx = 1", "night.toml|a"),
    recipe("recipe-long", "a word of a million letters", f'[align]\nmodel = "{"x" * 1_000_000}"\n', "model"),
    recipe(
        "recipe-many", "10,000 knobs that do not exist", "".join(f"k{i} = {i}\n" for i in range(10000)), "k0|night.toml"
    ),
    BadCase(
        "recipe-reference",
        "a reference that names no light",
        {f"{RUN} -r night.toml": ("2", "nobody"), f"{PLAN} -r night.toml": ("02", "nobody")},
        files(night_toml='reference = "nobody.fits"\n'),
    ),
    BadCase(
        "recipe-workers",
        "workers that do not exist",
        {f"{verb} -r night.toml": ("2", "gpu") for verb in (RUN, PLAN)},
        files(night_toml='workers = "gpu"\n'),
    ),
    recipe("recipe-control", "control characters in a value", '[align]\nmodel = "\\u001b[31mred"\n', "model"),
    recipe("match-words", "a match that does not say for which lights", '[[match]]\nflat = "none"\n', "lights"),
    recipe("match-both", "a match for lights and flats", '[[match]]\nlights = "L"\nflats = "L"\n', "one of both"),
    recipe("match-idle", "a match that says nothing", '[match]\nlights = "L"\n', "what these shall take"),
    *(
        BadCase(name, words, {f"{verb} -r night.toml": ("2", tells) for verb in (RUN, PLAN)}, make)
        for name, words, tells, make in (
            (
                "match-none",
                "a match for lights that are not there",
                "means no light",
                files(night_toml='[[match]]\nlights = "M99/*"\nflat = "none"\n'),
            ),
            (
                "match-kind",
                "a match that gives darks for flats",
                "means no flat frame, but 3 of kind dark",
                files(night_toml='[[match]]\nlights = "LIGHT"\nflat = "night/DARK/*"\n'),
            ),
            (
                "match-size",
                "a match that gives flats of another size",
                "cannot go together",
                both(
                    files(night_toml='[[match]]\nlights = "LIGHT"\nflat = "F1*"\n'),
                    each("night/FLAT/F1.fits", image(lambda p: p[:64, :80].astype(np.uint16))),
                ),
            ),
        )
    ),
    flag("recipe-none", "a recipe that is not there", f"{RUN} -r nobody.toml", "nobody.toml"),
    flag("recipe-folder", "a folder as recipe", f"{RUN} -r spare", "spare"),
    flag("recipe-zero", "a device as recipe", f"{RUN} -r /dev/null", "", "02"),
    flag("recipe-image", "an image as recipe", f"{RUN} -r dark.fits", "dark.fits"),
    flag(
        "recipe-pipe",
        "a named pipe as recipe",
        f"{RUN} -r pipe.toml",
        "pipe.toml",
        make=lambda place: os.mkfifo(place / "pipe.toml"),
    ),
]


def refused_existing(verb: str, command: str) -> BadCase:
    """A product that exists already; it must stay. Put beside the folder of products, where failure leaves nothing."""
    return flag(
        f"exists-{verb}",
        f"`{verb}` onto a file that exists",
        command,
        "exists",
        make=copied("dark.fits", "m.fits"),
        check=lambda place: (
            "" if (place / "m.fits").read_bytes() == (place / "dark.fits").read_bytes() else "the file was replaced"
        ),
    )


def pipe_there(name: str) -> Spoil:
    return lambda place: os.mkfifo(place / name)


def pipe_is_kept(name: str) -> Callable[[Path], str]:
    return lambda place: "" if (place / name).is_fifo() else f"{name} was replaced"


def second_night(place: Path) -> None:
    """A master light of another night where the new one will be written."""
    with fits.open(place / "dark.fits") as hdus:
        hdus.writeto(place / LIGHT)


def first_is_kept(place: Path) -> str:
    same = (place / LIGHT).is_file() and fits.getheader(place / LIGHT).get("IMAGETYP") == "Master Dark"
    return "" if same else "the master light of the first night was replaced"


OUTPUTS = [
    flag("out-none", "no --out", "run night", "out"),
    flag("out-empty", "--out ''", "run night --out ''", "out"),
    flag("out-empty-file", "-o '' for a file", "bias night/BIAS -o ''", "out|-o"),
    flag("out-file", "a file where the folder should be", "run night --out dark.fits", "dark.fits"),
    flag(
        "out-file-step",
        "a file where the folder of a step should be",
        "calibrate night/LIGHT -o dark.fits --dark dark.fits",
        "dark.fits",
    ),
    flag("out-folder", "a folder where the file should be", "bias night/BIAS -o spare", "folder"),
    flag("out-nowhere", "a folder that cannot be made", "run night --out /proc/nowhere/x", "nowhere|proc"),
    flag(
        "out-nowhere-file", "a file in a folder that is not there", "bias night/BIAS -o none/deep/m.fits", "none", "02"
    ),
    flag(
        "out-pipe",
        "a named pipe as file",
        "defects dark.fits -o pipe.txt",
        "pipe|regular|exists",
        make=pipe_there("pipe.txt"),
        check=pipe_is_kept("pipe.txt"),
    ),
    flag(
        "out-pipe-page",
        "a named pipe as page",
        "doctor night -o pipe.html",
        "pipe|regular|exists",
        "2",
        pipe_there("pipe.html"),
        pipe_is_kept("pipe.html"),
    ),
    flag("out-ending", "a file name of another kind", "bias night/BIAS -o out/m.jpg", "fits"),
    flag("out-ending-defects", "a list of defects of another kind", "defects dark.fits -o out/m.jpg", "fits|lst|txt"),
    flag("out-long", "a file name of 300 letters", f"bias night/BIAS -o out/{'m' * 300}.fits", "long|m"),
    flag("out-long-folder", "a folder of 300 letters", f"run night --out {'m' * 300}", "too long"),
    flag("out-long-hand", "a folder of 300 letters by hand", f"debayer night/LIGHT -o {'m' * 300}", "too long"),
    flag("out-long-night", "a night to simulate in a folder of 300 letters", f"simulate {'m' * 300}", "too long"),
    flag("out-inside", "--out inside of the night", "run night --out night", "", "012"),
    flag(
        "out-input",
        "a result that is one of the inputs",
        "integrate night/LIGHT -o night/LIGHT/L1.fits --force",
        "one of the frames",
    ),
    flag(
        "out-input-force",
        "the same with --overwrite",
        "integrate night/LIGHT -o night/LIGHT/L1.fits --overwrite --force",
        "one of the frames",
    ),
    flag(
        "second-night",
        "a second night of the same target into the same folder",
        RUN,
        "",
        "02",
        make=second_night,
        check=first_is_kept,
    ),
    refused_existing("bias", "bias night/BIAS -o m.fits"),
    refused_existing("dark", "dark night/DARK -o m.fits"),
    refused_existing("flat", "flat night/FLAT -o m.fits"),
    refused_existing("superbias", "superbias bias.fits -o m.fits"),
    refused_existing("defects", "defects dark.fits -o m.fits"),
    refused_existing("integrate", "integrate night/LIGHT -o m.fits --force"),
    refused_existing("drizzle", "drizzle night/LIGHT -o m.fits --transforms aligned"),
    flag("list-none", "a list of transforms that is not there", f"{DRIZZLE} none.json", "no such file"),
    flag("list-image", "an image that tells no transform for a list", f"{DRIZZLE} dark.fits", "tells no transform"),
    flag(
        "list-text",
        "a list of transforms that is a letter",
        f"{DRIZZLE} list.json",
        "cannot be used as a list",
        make=files(list_json="Dear Sirs"),
    ),
    flag(
        "list-empty",
        "a list of transforms without transforms",
        f"{DRIZZLE} list.json",
        "is missing",
        make=files(list_json='{"kind": "masterlight transforms"}'),
    ),
    flag(
        "list-deep",
        "a list of transforms of 100,000 lists inside each other",
        f"{DRIZZLE} list.json",
        "cannot be used as a list",
        make=files(list_json="[" * 100_000),
    ),
    flag(
        "align-on-failure", "another word than continue or stop", "align night/LIGHT -o out --on-failure never", "stop"
    ),
    flag(
        "align-reference",
        "a reference that is not there",
        "align night/LIGHT -o out --reference none.fits",
        "none.fits",
    ),
    refused_existing("hdr", "hdr spare/long.fits spare/short.fits -o m.fits"),
    flag("exists-doctor", "a page onto a master", "doctor night -o dark.fits", "html|exists"),
]

SUBFRAMES, BLINK = "subframes night/LIGHT", "blink night/LIGHT"


def subframes(name: str, words: str, more: str, tells: str, statuses: str = "2", make=lambda place: None) -> BadCase:
    """Bad words or files for `subframes`, of the healthy lights or of others."""
    return flag(name, words, more if more.startswith("subframes ") else f"{SUBFRAMES} {more}", tells, statuses, make)


def faint(p: np.ndarray) -> np.ndarray:
    """A frame of noise alone."""
    return np.random.default_rng(3).normal(1000, 20, p.shape).astype(np.uint16)


def like_first(healthy: Path, target: Path) -> None:
    """A light with the pixels of the first one, of its own time."""
    hdu = fits.PrimaryHDU(fits.getdata(target.with_name("L1.fits")), fits.getheader(healthy))
    hdu.writeto(target)


TWICE = copied("night/LIGHT/L1.fits", "night/LIGHT/L9.fits")
CHOICES = [
    subframes("approve-name", "a name that nobody measures", '--approve "FWMH < 4"', "FWMH.*FWHM"),
    subframes("approve-number", "a number as condition", "--approve FWHM", "--approve.*number"),
    subframes("approve-half", "half a formula", '--approve "FWHM <"', "--approve.*FWHM <"),
    subframes("approve-empty", "an empty formula", "--approve ''", "empty"),
    subframes("approve-python", "Python for a formula", "--approve \"__import__('os')\"", "--approve"),
    subframes("approve-deep", "a formula 5,000 brackets deep", f"--approve {'(' * 5000}1{')' * 5000}>0", "--approve"),
    subframes("approve-long", "a formula of 100,000 letters", f"--approve {'FWHM+' * 20_000}1>0", "", "012"),
    subframes("approve-none", "a condition that no frame meets", '--approve "FWHM < 0"', "none approved", "0"),
    subframes("weight-condition", "a condition as weight", '--weight "FWHM < 4"', "--weight.*condition"),
    subframes("weight-zero", "a weight of nothing", "--weight 0", "counts for nothing", "0"),
    subframes("weight-negative", "weights below 0", "--weight -FWHM", "less than 0", "0"),
    subframes("weight-infinite", "a division by 0", '--weight "1/(FWHM-FWHM)"', "divided by 0", "0"),
    subframes("weight-preset", "a preset that does not exist", "--weight tutorial+nois", "tutorial"),
    subframes("sort-name", "a column to sort by that does not exist", "--sort FWMH", "FWMH.*FWHM"),
    subframes("scale-zero", "a pixel that sees nothing", "--scale-arcsec 0", "--scale-arcsec"),
    subframes("gain-nan", "nan electrons per DN", "--gain-e nan", "--gain-e"),
    subframes("table-ending", "a table of another kind", "--table out/t.xlsx", "csv"),
    subframes("table-input", "a table onto a light", "--table night/LIGHT/L1.fits --overwrite", "csv"),
    subframes("table-exists", "a table that exists", "--table t.csv", "exists", make=files(t_csv="a,b")),
    subframes("table-nowhere", "a table in a folder that is not there", "--table none/t.csv", "none"),
    subframes("list-exists", "a list that exists", "--list t.txt", "exists", make=files(t_txt="a.fits")),
    subframes("keyword-taken", "a keyword of the image itself", "-o out --weight 1 --keyword NAXIS1", "NAXIS1"),
    subframes("keyword-empty", "an empty keyword", "-o out --weight 1 --keyword ''", "empty"),
    subframes("keyword-odd", "a keyword that no FITS file can hold", "-o out --weight 1 --keyword 'A=B'", "A=B"),
    subframes("copies-file", "a file where the folder of copies should be", "-o dark.fits --weight 1", "dark.fits"),
    subframes("copies-inside", "copies among the lights, under their names", "-o night/LIGHT --postfix ''", "L1"),
    subframes("copies-away", "a prefix that leads elsewhere", "-o out --weight 1 --prefix ../", "to another folder"),
    subframes("list-gone", "a list that is not there", "subframes @gone.txt", "gone.txt"),
    subframes("list-empty", "a list of nothing", "subframes @t.txt", "t.txt", make=files(t_txt="# 0 of 4 frames\n")),
    subframes("list-lost", "a list of lost frames", "subframes @t.txt", "L9", make=files(t_txt="night/LIGHT/L9.fits")),
    subframes("list-self", "a list of itself", "subframes @t.txt", "t.txt", make=files(t_txt="@t.txt\n")),
    subframes("list-image", "an image as list", "subframes @dark.fits", "dark.fits"),
    subframes("lights-none", "a folder without lights", "subframes night/BIAS", "no light was found"),
    subframes("lights-empty", "an empty folder", "subframes out", "no light was found|no images"),
    subframes("lights-faint", "nothing but noise", "", "no star found", "2", each("night/LIGHT/L*", image(faint))),
    subframes("lights-one", "one light", "subframes night/LIGHT/L1.fits --weight tutorial", "1 frame", "0"),
    subframes(
        "lights-stack", "a stack among single exposures", "", "already a stack of 9 frames", "0",
        each("night/LIGHT/L2.fits", image(lambda p: p, NCOMBINE=9)),
    ),
    subframes("lights-twice", "a light twice", "", "same pixels", "0", TWICE),
    subframes(
        "lights-equal", "lights of equal figures", "--weight 'norm(FWHM)+inv(FWHM)'", "1.000", "0",
        each("night/LIGHT/L[234].fits", like_first),
    ),
    flag("blink-ending", "a picture of another kind", f"{BLINK} -o out/b.avi", "gif|html"),
    flag("blink-none", "a blink without lights", "blink out -o out/b.html", "no"),
    flag("blink-one", "a blink of one frame", "blink night/LIGHT/L1.fits -o out/b.html", "", "02"),
    flag("blink-reference", "a reference that is not there", f"{BLINK} -o out/b.html --reference x.fits", "x.fits"),
    flag("blink-exists", "a page that exists", f"{BLINK} -o b.html", "exists", make=files(b_html="hello")),
    flag("blink-rate", "no frame a second", f"{BLINK} -o out/b.gif --rate 0", "rate"),
    flag("blink-wide", "a picture a million pixels wide", f"{BLINK} -o out/b.gif --width-px 1000000", "width"),
]  # fmt: skip

BAD_CASES = {"choice": CHOICES, "night": NIGHTS, "flag": FLAGS, "recipe": RECIPES, "output": OUTPUTS}
