"""What tests of the doctor share: nights that are altered, masters and lights with a fault, findings by id."""

from functools import cache

import numpy as np
import sky
from astropy.io import fits

import masterlight as ml
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.workers import executor
from masterlight.doctor import Doctor, diagnose
from masterlight.session.planner import plan
from masterlight.session.scan import scan

NIGHT = {"rows": 300, "cols": 400, "lights": 4, "biases": 6, "darks": 6, "flats": 6, "cloudy": 0, "trails": 0}

NIGHT |= {"tracking_errors": 0, "stars": 400}

CALIBRATION = ("bias", "dark", "flat")


def altered(folder, change, **knobs):
    """A night whose frames went through `change(kind, index, pixels, header)`; its folder."""
    truth = sky.written(**{**NIGHT, **knobs})
    for kind, names in truth.files.items():
        for i, name in enumerate(names):
            with fits.open(truth.folder / name) as hdus:
                pixels, header = hdus[0].data.astype(np.float64), hdus[0].header.copy()
            header.remove("BZERO", ignore_missing=True)
            header.remove("BSCALE", ignore_missing=True)
            new = change(kind, i, pixels, header)
            pixels = pixels if new is None else new
            whole = np.array_equal(pixels, np.rint(pixels)) and pixels.min() >= 0
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = np.clip(pixels, 0, 65535).astype(np.uint16) if whole else pixels.astype(np.float32)
            fits.PrimaryHDU(stored, header).writeto(path)
    return folder


def examined(folder, **knobs):
    """What the doctor finds in the raw frames of a folder."""
    with executor("serial") as pool:
        *_, last = Doctor(**knobs).frames(plan(scan(folder)), pool)
    return last.result


def only(findings, id):
    """The findings of one id; each has a sentence and a figure that JSON can hold."""
    found = [f for f in findings if f.id == id]
    assert all(f.sentence and f.as_dict()["id"] == id for f in found)
    return found


def names(finding):
    return {source.rsplit("/", 1)[1] for source in finding.sources}


def of_kind(kind, *indices, **knobs):
    """File names of some frames of the night."""
    files = sky.written(**{**NIGHT, **knobs}).files[kind]
    return {files[i].rsplit("/", 1)[-1] for i in indices} if indices else {f.rsplit("/", 1)[-1] for f in files}


@cache
def healthy():
    """What is found in the night as it is."""
    return examined(sky.written(**NIGHT).folder)


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


def diagnosed(folder, **knobs):
    with executor("serial") as pool:
        *_, last = diagnose(plan(scan(folder)), Doctor(**knobs), ml.ImageCalibration(), pool)
    return last.result
