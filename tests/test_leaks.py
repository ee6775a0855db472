"""Light in the darks: found as faint as promised, and not where the bias drifts, steps or follows the temperature."""

import numpy as np
import pytest
from clinic import altered, examined, names, of_kind, only

ROWS, COLS = 300, 400
Y, X = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLS * 1j]


def leaky(shape, dn, which=3):
    """A change that adds light; photons do not round all pixels of a row alike."""
    dither = np.random.default_rng(1).random((ROWS, COLS))
    return lambda kind, i, pixels, header: (
        np.floor(pixels + dn * shape + dither) if (kind, i) == ("dark", which) else None
    )


@pytest.mark.parametrize("dn", [12, 40, 150])
@pytest.mark.parametrize(
    "shape", [X, 1 - Y, np.exp(-np.hypot(X, Y) / 0.25), np.exp(-(1 - X) / 0.25)], ids=["x", "y", "corner", "side"]
)
def test_truth_d12_light_from_any_side_is_found(tmp_path, shape, dn):
    found = only(examined(altered(tmp_path, leaky(shape, dn))), "D12")
    assert [(f.severity, names(f)) for f in found] == [("warn", of_kind("dark", 3))]
    assert 0.3 * dn < found[0].figure < 1.2 * dn


def walk(rng, size):
    """A bias level that wanders while a frame is read, by about 20 DN from its first row to its last."""
    return np.cumsum(rng.normal(0, 20 / np.sqrt(size), size))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("drift", ["bands", "walk", "columns", "halves", "quarters"])
def test_truth_d12_no_light_where_the_bias_drifts(tmp_path, drift, seed):
    rng = np.random.default_rng(seed)

    def drifting(kind, i, pixels, header):
        if kind not in ("dark", "bias") or (kind == "dark" and i not in (1, 4)):  # not all: else it would be usual
            return None
        level = {
            "bands": lambda: 15 * np.repeat(rng.normal(size=10), 30)[:, None],
            "walk": lambda: walk(rng, ROWS)[:, None],
            "columns": lambda: 15 * np.repeat(rng.normal(size=20), 20)[None, :],
            "halves": lambda: 20 * (X > 0.5),
            "quarters": lambda: 20 * rng.normal(size=(2, 2)).repeat(150, axis=0).repeat(200, axis=1),
        }[drift]()
        return np.rint(pixels + level)

    assert only(examined(altered(tmp_path, drifting)), "D12") == []


def test_truth_d12_a_glow_that_follows_the_temperature_is_no_light(tmp_path):
    glow = 120 * np.exp(-np.hypot(X - 1, Y - 1) / 0.2)

    def warming(told):
        def change(kind, i, pixels, header):
            if kind != "dark":
                return None
            warmth = [0, 0, 0, 0, 0, 1.5][i]
            for name in ("SET-TEMP", "CCD-TEMP"):
                header.remove(name, ignore_missing=True)
            header.update({"CCD-TEMP": 15 + warmth} if told else {})
            return np.rint(pixels + glow * 2 ** (warmth / 3))

        return change

    assert only(examined(altered(tmp_path / "told", warming(True), dialect="sgp")), "D12") == []
    silent = only(examined(altered(tmp_path / "silent", warming(False), dialect="sgp")), "D12")
    assert ["its glow changes with a temperature" in f.sentence for f in silent] == [True]


@pytest.mark.parametrize(("dn", "seen"), [(2, False), (25, True), (40, True), (100, True)])
def test_truth_d12_rates_differ_by_more_than_the_bias_may_drift(tmp_path, dn, seen):
    """Darks of 60 and 120 s: 12 DN of dark current for each minute, and light that comes in whatever the exposure."""

    def shorter(kind, i, pixels, header):
        if kind == "dark" and i % 2:
            header["EXPTIME"] = header["EXPOSURE"] = 60.0
        return pixels + (dn + (10 if i % 2 else 20)) if kind == "dark" else None

    assert bool(only(examined(altered(tmp_path, shorter)), "D12")) == seen
