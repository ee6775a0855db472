"""The calibration doctor on masters and calibrated lights, on whole nights, and its page."""

import os
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sky
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from test_doctor import NIGHT, altered, only

import masterlight as ml
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.workers import executor
from masterlight.doctor import Doctor, Finding, diagnose, page, pictures
from masterlight.doctor.evidence import look
from masterlight.session.plan import plan
from masterlight.session.scan import scan

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real observations in {DATA}")
SHAPE = (384, 512)
DOCTOR = Doctor()


def master(kind, array, **meta):
    """A master in memory."""
    told = {"kind": kind, "is_master": True, "contains_bias": kind != "flat", "frames": 30} | meta
    return ArrayFrame.of(array, f"master {kind}", Meta(**told))


def noise(sigma, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(0, sigma, shape)


def vignette():
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    return 1 - 0.2 * (x**2 + y**2)


@cache
def night():
    """The truth of a small night in memory: 512 x 384, with dust and vignetting."""
    return sky.in_memory(**{**NIGHT, "rows": SHAPE[0], "cols": SHAPE[1], "cosmic_rays": 0.0, "nebula_dn": 0.0})


def lit(**wrong):
    """Findings on a light of that night: its true masters, those in `wrong` in their place."""
    truth = night()
    bias, dark, flat = truth.bias_dn, truth.bias_dn + 120 * truth.dark_dn_s, 30_000 * truth.flat("L")
    masters = {"dark": master("dark", dark), "flat": master("flat", flat)} | {
        kind: master(kind, array(bias, dark, flat)) if array else None for kind, array in wrong.items()
    }
    meta = Meta(kind="light", saturation_dn=65535.0, gain_e_per_dn=0.78, exposure_s=120.0)
    raw = ArrayFrame.of(truth.observatory.frame("light", 1).astype(float), "/night/light 1", meta)
    process = ImageCalibration(force=True)  # as who wants it all the same
    bound = process.masters(**masters)
    return DOCTOR.light(raw, process(raw, bound), bound)


def test_truth_a_healthy_light_has_nothing():
    assert lit() == []


def test_truth_d01_dark_lost_in_the_bias():
    bias = master("bias", 500 + noise(1.0))
    cold, warm = (master("dark", 500 + level + noise(1.0, 1)) for level in (0.5, 20.0))
    found = only(DOCTOR.master("dark", cold, bias=bias, scaled=True), "D01")
    assert [f.severity for f in found] == ["warn"]
    assert_allclose(found[0].figure, 0.5 / np.sqrt(2), atol=0.05)
    assert only(DOCTOR.master("dark", warm, bias=bias, scaled=True), "D01") == []
    assert only(DOCTOR.master("dark", cold, bias=bias), "D01") == []


def test_truth_d10_ready_made_dark_below_the_bias():
    bias, dark = master("bias", 500 + noise(1.0)), master("dark", 380 + noise(1.0, 1))
    found = only(DOCTOR.master("dark", dark, bias=bias), "D10")
    assert [(f.severity, f.sources) for f in found] == [("error", ("master dark", "master bias"))]
    assert_allclose(found[0].figure, -120, atol=0.2)


def test_truth_d02_pixels_far_below_zero():
    truth = night()
    dark = truth.bias_dn + 120 * truth.dark_dn_s
    holes = truth.observatory.frame("light", 1).astype(float)
    holes[100:130] = dark[100:130] - 300
    meta = Meta(kind="light", saturation_dn=65535.0)
    process = ImageCalibration()
    bound = process.masters(dark=master("dark", dark))
    raw = ArrayFrame.of(holes, "holes", meta)
    found = only(DOCTOR.light(raw, process(raw, bound), bound), "D02")
    assert [f.severity for f in found] == ["error"]
    assert 100 / 24 * 0.9 < found[0].figure < 300 / 24  # one to three of the 24 rows meet the 30
    assert found[0].picture.shape == (3, 320, 480)


def test_truth_d02_negative_by_noise_alone_is_an_info():
    raw = ArrayFrame.of(500 + 3 + noise(6.0), "narrow", Meta(kind="light", gain_e_per_dn=1.0))
    process = ImageCalibration()
    bound = process.masters(dark=master("dark", np.full(SHAPE, 500.0)))
    found = DOCTOR.light(raw, process(raw, bound), bound)
    negative = only(found, "D02")
    assert [f.severity for f in negative] == ["info"]
    assert_allclose(negative[0].figure, 30.85, atol=1.5)  # Phi(-3/6)
    limited = only(found, "D03")
    assert [f.severity for f in limited] == ["info"]
    # 3 electrons of sky, a variance of 36 - 3 of the camera
    assert_allclose(limited[0].figure, 3 / 33, atol=0.02)


def test_truth_d10_bias_taken_off_twice():
    found = only(lit(dark=lambda bias, dark, flat: dark + 1500), "D10")
    assert [f.severity for f in found] == ["error"]
    assert found[0].figure < -400


def test_truth_d13_and_d08_of_a_scaled_dark():
    raw = ArrayFrame.of(500 + noise(5.0), "light", Meta(kind="light"))

    def examined(**scale):
        known = {"k": 0.8, "sigma": 0.01, "n": 500, "r": 0.9, "accepted": True, "reason": ""} | scale
        view = SimpleNamespace(**vars(raw), shape=raw.shape, pixels=raw.pixels, dark_scale=SimpleNamespace(**known))
        return DOCTOR.light(raw, view, ImageCalibration().masters())

    assert examined() == []
    assert examined(accepted=False) == []  # scaled by exposure, as was asked for: nothing failed
    found = only(examined(accepted=False, r=0.1, reason="too few hot pixels"), "D13")
    assert [(f.severity, f.figure) for f in found] == [("warn", 0.1)]
    assert [(f.severity, f.figure) for f in only(examined(k=1.5), "D08")] == [("warn", 1.5)]
    assert [(f.severity, f.figure) for f in only(examined(k=0.05), "D08")] == [("error", 0.05)]


def test_truth_d06_master_flat_that_holds_its_bias():
    bias = master("bias", np.full(SHAPE, 2000.0))
    silent = {"contains_bias": None}
    held = master("flat", 2000 + 20_000 * vignette() + noise(50), **silent)
    found = only(DOCTOR.master("flat", held, bias=bias), "D06")
    assert [f.severity for f in found] == ["warn"]  # a flat without dead pixels proves nothing
    assert found[0].figure > found[0].threshold == 2000
    dead = 2000 + 20_000 * vignette() * (np.random.default_rng(1).uniform(size=SHAPE) > 0.001)
    assert [f.severity for f in only(DOCTOR.master("flat", master("flat", dead, **silent), bias=bias), "D06")] == [
        "error"
    ]
    assert only(DOCTOR.master("flat", master("flat", dead - 2000, **silent), bias=bias), "D06") == []
    assert only(DOCTOR.master("flat", master("flat", held.array), bias=bias), "D06") == []  # the header says it is off


def test_truth_d06_light_that_holds_its_bias():
    found = only(lit(dark=None), "D06")
    assert [f.severity for f in found] == ["error"]
    # log(S + B / v) falls with log v by B / (S + B): 500 DN of bias and 800 DN of sky
    assert_allclose(found[0].figure, -500 / 1300, rtol=0.1)


def test_truth_d14_flat_that_corrects_too_little_and_too_much():
    little = only(lit(flat=lambda bias, dark, flat: flat + 8000), "D14")
    assert [f.severity for f in little] == ["warn"]
    # B / (F v + B) of what is left in the flat, v about 0.7 at the rim where the slope is measured
    assert_allclose(little[0].figure, 8 / (0.7 * 30 + 8), rtol=0.35)
    much = only(lit(flat=lambda bias, dark, flat: flat - 4000), "D14")
    assert [f.severity for f in much] == ["warn"]
    assert_allclose(much[0].figure, -4 / (0.7 * 30), rtol=0.5)
    assert much[0].picture.shape == (3, 320, 480)


def test_truth_d15_dust_that_moved():
    found = only(lit(flat=lambda bias, dark, flat: flat[::-1, ::-1]), "D15")
    assert [f.severity for f in found] == ["warn"]
    # motes of this night are 2 to 10 % deep
    assert 2 < found[0].figure < 13
    assert found[0].sources == ("/night/light 1",) and found[0].sentence.startswith("light 1: ")


@pytest.mark.parametrize("seed", [5, 11])
def test_truth_d15_clouds_as_large_as_motes_are_no_dust(seed):
    """Clouds that happen to lie over the motes are as strong beside them."""
    y, x = np.mgrid[:300, :400]
    hollows = [np.exp(-((y - v) ** 2 + (x - u) ** 2) / 200) for v, u in ((90, 120), (200, 300))]
    flat = 30_000 * (1 - 0.05 * sum(hollows))
    rng = np.random.default_rng(seed)
    clouds = gaussian_filter(rng.normal(size=flat.shape), 8)
    sky_dn = 800 * (1 + 0.02 * clouds / clouds.std()) * flat / 30_000 + rng.normal(0, 10, flat.shape)
    process = ImageCalibration(force=True)
    bound = process.masters(flat=master("flat", flat))
    raw = ArrayFrame.of(sky_dn, "light", Meta(kind="light", saturation_dn=65535.0, calibration="B"))
    assert only(DOCTOR.light(raw, process(raw, bound), bound), "D15") == []


def test_truth_d11_glow_of_the_dark():
    corner = np.exp(-np.hypot(*np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]) / 80)
    bias = master("bias", 500 + noise(1.0))
    dark = master("dark", 500 + 200 * corner + noise(1.0, 1))
    found = only(DOCTOR.master("dark", dark, bias=bias, scaled=True), "D11")
    assert [f.severity for f in found] == ["warn"]
    assert found[0].figure > 20
    assert only(DOCTOR.master("dark", dark, bias=bias), "D11") == []  # a matched dark takes its glow away
    left = only(lit(dark=lambda bias, dark, flat: dark + 300 * corner), "D11")
    assert [f.severity for f in left] == ["warn"]
    assert 0.3 < left[0].figure <= 1


def test_truth_d12_dark_shaded_like_the_flat():
    bias, flat = master("bias", 500 + noise(1.0)), master("flat", 30_000 * vignette())
    leaky = master("dark", 500 + 40 * vignette() + noise(1.0, 1))
    found = only(DOCTOR.master("dark", leaky, bias=bias, flat=flat), "D12")
    assert [f.severity for f in found] == ["warn"]
    assert 0.3 < found[0].figure <= 1
    tight = master("dark", 510 + noise(1.0, 1))
    assert only(DOCTOR.master("dark", tight, bias=bias, flat=flat), "D12") == []


def test_truth_d16_counts_and_depth():
    flat = master("flat", 25_000 + noise(20))
    found = only(DOCTOR.master("flat", flat, frames=[flat] * 9, noise_dn=[180.0] * 9), "D16")
    assert [f.severity for f in found] == ["warn", "info"]
    assert_allclose(found[0].figure, 25_000 / (180 / 3), rtol=1e-3)
    assert found[1].figure == 9
    assert DOCTOR.master("flat", flat, frames=[flat] * 25, noise_dn=[180.0] * 25) == []
    for kind, enough in (("bias", 20), ("dark", 15), ("flatdark", 15)):
        one = master(kind, 500 + noise(1.0))
        assert [f.id for f in DOCTOR.master(kind, one, frames=[one] * (enough - 1))] == ["D16"]
        assert DOCTOR.master(kind, one, frames=[one] * enough) == []


def test_truth_d17_master_flat_with_a_wrong_pattern():
    colour = np.tile([[0.4, 1.0], [1.0, 0.5]], (SHAPE[0] // 2, SHAPE[1] // 2))
    array = 20_000 * colour + noise(20)
    assert only(DOCTOR.master("flat", master("flat", array, pattern="RGGB")), "D17") == []
    found = only(DOCTOR.master("flat", master("flat", array, pattern="GRBG")), "D17")
    assert [f.severity for f in found] == ["error"]


def test_truth_d05_master_flat_with_blind_pixels():
    array = 20_000 + noise(20)
    assert only(DOCTOR.master("flat", master("flat", array)), "D05") == []
    array[:, 200:210] = 0
    found = only(DOCTOR.master("flat", master("flat", array)), "D05")
    assert [f.severity for f in found] == ["warn"]
    assert_allclose(found[0].figure, 100 * 10 / SHAPE[1], rtol=1e-3)


def test_truth_d23_saturation_that_varies():
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    steep = 30_000 * (1 - 0.35 * (x**2 + y**2))
    pixels = 1500 + noise(10)
    pixels[::16, 100:103] = 65535
    raw = ArrayFrame.of(pixels, "light", Meta(kind="light", saturation_dn=65535.0))

    def examined(flat):
        process = ImageCalibration()
        bound = process.masters(dark=master("dark", np.full(SHAPE, 500.0)), flat=master("flat", flat))
        return only(DOCTOR.light(raw, process(raw, bound), bound), "D23")

    found = examined(steep)
    assert [f.severity for f in found] == ["info"]
    assert 1.5 < found[0].figure < 1 / 0.3
    assert examined(np.full(SHAPE, 30_000.0)) == []


# --- whole nights -----------------------------------------------------------------------------------------------------


def diagnosed(folder, **knobs):
    with executor("serial") as pool:
        *_, last = diagnose(plan(scan(folder)), Doctor(**knobs), ml.ImageCalibration(), pool)
    return last.result


def test_truth_a_colour_night_with_glow_and_overscan_is_healthy():
    knobs = {"pattern": "RGGB", "glow_dn": 100.0, "overscan_px": 16}
    assert {f.id for f in diagnosed(sky.written(**{**NIGHT, **knobs}).folder)} <= {"D16"}


def test_truth_flats_of_another_orientation_in_a_whole_night(tmp_path):
    def turned(kind, i, pixels, header):
        return pixels[::-1, ::-1] if kind == "flat" else None

    found = diagnosed(altered(tmp_path, turned), off=("D16",))
    assert {f.id for f in found} >= {"D15"}
    assert all(f.severity != "error" for f in found)


def test_surface_diagnose_ends_with_a_list_and_tells_its_progress():
    with executor("threads:2") as pool:
        events = list(diagnose(plan(scan(sky.written(**NIGHT).folder)), Doctor(), ml.ImageCalibration(), pool))
    assert events[-1].result is not None and all(e.result is None for e in events[:-1])
    assert max(e.total for e in events) == sum(NIGHT[k] for k in ("lights", "biases", "darks", "flats"))


FOUND = {
    "tres1_st10": {"D16", "D20"},
    "lpseb35_arcsat_bsd": {"D02", "D16"},
    "galaxy_atik383": {"D04", "D16"},
    "m27_asi224mc": set(),
}
"""What the doctor says about real nights: a first dark 9 DN above the others; a faint sky of 28 DN in a noise of
18 DN; flats at two thirds of full scale; and that there are few calibration frames."""


@real
@pytest.mark.parametrize("name", sorted(FOUND))
def test_truth_real_nights_have_no_error(name):
    found = diagnosed(DATA / name)
    assert {f.id for f in found} == FOUND[name]
    assert all(f.severity != "error" for f in found)


# --- the page ---------------------------------------------------------------------------------------------------------


class Counter(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def some_findings():
    plot = pictures.line(np.arange(9.0), "frame", "median, DN")
    return [
        Finding("D16", "info", "Few", ("/night/a.fits",), 3.0, 15.0, "frames", "a.fits is <made> of 3"),
        Finding("D21", "error", "Twins", ("/night/b.fits", "/night/c.fits"), 2.0, 1.0, "equal", "equal", plot),
        Finding("D20", "warn", "Odd", ("/night/d.fits",), None, None, "", "odd", np.zeros((9, 9), np.uint8)),
    ]


def test_surface_page_is_one_well_formed_page_sorted_by_severity():
    text = page.html(some_findings(), "M 31 & others")
    parser = Counter()
    parser.feed(text)
    assert parser.open == []
    assert [attrs["class"] for tag, attrs in parser.tags if tag == "article"] == ["error", "warn", "info"]
    pictures_ = [attrs["src"] for tag, attrs in parser.tags if tag == "img"]
    assert len(pictures_) == 2 and all(src.startswith("data:image/png;base64,") for src in pictures_)
    assert "M 31 &amp; others" in text and "a.fits is &lt;made&gt;" in text and "http" not in text


def test_surface_page_and_text_without_findings():
    assert "Nothing is wrong" in page.html([], "A night")
    assert "nothing wrong" in page.text([])


def test_surface_text_is_a_line_for_each_finding():
    lines = page.text(some_findings()).splitlines()
    assert [line.split()[0] for line in lines] == ["error", "warn", "info"]
    assert "/night/" not in "".join(lines)


def test_surface_finding_as_dict_is_json():
    import json

    told = json.loads(json.dumps(some_findings()[1].as_dict()))
    assert told["sources"] == ["/night/b.fits", "/night/c.fits"]
    assert "picture" not in told


@pytest.mark.parametrize("values", [np.zeros(5), np.array([1e-9, 1e9]), np.array([np.nan, 1.0, 2.0]), np.ones(1)])
def test_surface_plots_take_any_numbers(values):
    for made in (
        pictures.line(values, "x", "y"),
        pictures.scatter(np.arange(values.size), np.nan_to_num(values), "x", "y", (1.0, 0.0)),
        pictures.histogram(np.histogram(np.nan_to_num(values), 8), "x", {"mark": 3.0}),
    ):
        assert made.shape == (3, pictures.HEIGHT, pictures.WIDTH) and made.dtype == np.uint8


@pytest.mark.parametrize("shape", [(64, 64), (65, 201), (300, 64)])
@pytest.mark.parametrize("pattern", [None, "RGGB", "RGGB" * 9])
@pytest.mark.parametrize("spoil", [None, 7.0, np.nan, np.inf])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_surface_odd_frames_are_looked_at_without_an_error(shape, pattern, spoil):
    array = 500 + noise(5.0, shape=shape)
    array[:20] = array[:20] if spoil is None else spoil
    process = ImageCalibration()
    dark, flat = (master(kind, np.abs(array) + 1, pattern=pattern) for kind in ("dark", "flat"))
    light = ArrayFrame.of(array, "light", Meta(kind="light", pattern=pattern, saturation_dn=65535.0, integer=False))
    for kind, one in (("dark", dark), ("flat", flat)):
        assert all(f.sentence for f in DOCTOR.master(kind, one, bias=dark, flat=flat, scaled=True))
    bound = process.masters(dark=dark, flat=flat)
    assert all(f.sentence for f in DOCTOR.light(light, process(light, bound), bound))
    for kind in ("light", "dark", "flat"):
        seen = look(ArrayFrame.of(array, kind, light.meta.with_(kind=kind)))
        assert np.isfinite(seen.level_dn) and seen.zones.size
        assert seen.missing == 0 or not np.isfinite(spoil)
