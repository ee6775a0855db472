"""Faults of darks and bias frames that are planted into nights; see `planted`."""

import numpy as np
from planted import as_is, exposed, fault, radius, ramp


@fault(
    "D01",
    "dark lost in the bias",
    (1.1, 0.7, 0.2),
    "sigma",
    "a scaled dark whose current is below 2 sigma of noise, and 10 % of its pixels negative",
    calibrate={"dark_scaling": "exposure"},
    words="hardly any",
    knobs=lambda sigma: {"dark_exposure_s": 60.0, "dark_e_s": sigma * 2.5 / 60},
)
def cold_dark(strength, rng):
    return as_is(strength, rng)


@fault(
    "D08",
    "dark of another exposure",
    (0.008, 0.012, 0.018),
    "off",
    "darks off by more than `exposure_fraction`, here 0.5 %; the plan uses none that are off by more than 2 %",
    named="dark",
    doctor={"exposure_fraction": 0.005},
)
def longer_dark(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "dark":
            exposed(header, 120.0 * (1 + strength))

    return change


@fault(
    "D08",
    "dark scaled up",
    (1.3, 2.0, 5.0),
    "times",
    "a dark that is scaled by more than 1.2",
    calibrate={"dark_scaling": "exposure"},
    words="scaled by",
    knobs=lambda k: {"dark_exposure_s": 120.0 / k},
)
def short_dark(strength, rng):
    return as_is(strength, rng)


@fault(
    "D09",
    "darks at another temperature",
    (1.3, 2.0, 2.8),
    "°C",
    "darks 1 °C away from the lights; more than 3 °C are not used",
    named="dark",
    words="darks were at",
)
@fault(
    "D09",
    "set point not reached",
    (1.3, 2.0, 2.8),
    "°C",
    "a sensor 1 °C away from its set point",
    named="dark",
    words="set point",
)
def warm_darks(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "dark":
            header["CCD-TEMP"] = -10.0 + strength

    return change


@fault(
    "D09",
    "cooler that does not hold",
    (0.6, 0.8, 1.2),
    "°C rms",
    "a spread of 0.5 °C rms within a set",
    named="light",
    words="spreads",
)
def drifting_cooler(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "light":
            header["CCD-TEMP"] = header["SET-TEMP"] = -10 + 2 * strength * (i % 2)

    return change


@fault(
    "D10",
    "dark of another offset",
    (30.0, 100.0, 900.0),
    "DN below",
    "lights 3 DN and two of their sigma below their dark",
    named="light",
    words="darker than what",
    knobs={"sky_dn": 100.0, "nebula_dn": 0.0},
)
def offset_of_darks(strength, rng):
    def change(kind, i, pixels, header):
        return pixels + 115 + strength if kind == "dark" else None

    return change


@fault(
    "D10",
    "dark below the bias",
    (20.0, 50.0, 200.0),
    "DN below",
    "darks 3 DN and two of their sigma below the bias",
    named="dark",
    words="lie",
)
def dark_below_bias(strength, rng):
    def change(kind, i, pixels, header):
        return pixels - 3 - strength if kind == "dark" else None

    return change


@fault(
    "D11",
    "glow in a scaled dark",
    (60.0, 120.0, 300.0),
    "DN",
    "a glow of 5 sigma of the dark's noise",
    calibrate={"dark_scaling": "exposure"},
    words="glow",
    knobs=lambda dn: {"glow_dn": 2 * dn, "dark_exposure_s": 60.0},
)
def glowing_dark(strength, rng):
    return as_is(strength, rng)


@fault(
    "D11",
    "glow left in lights",
    (120.0, 200.0, 400.0),
    "DN",
    "a glow that is left, a quarter of a pixel's noise",
    words="glow",
    knobs={"nebula_dn": 0.0},
)
def more_glow_in_darks(strength, rng):
    def change(kind, i, pixels, header):
        y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
        return np.rint(pixels + strength * np.exp(-np.hypot(y, x) / 80)) if kind == "dark" else None

    return change


@fault(
    "D12",
    "light in one dark",
    (15.0, 30.0, 100.0),
    "DN over the frame",
    "a gradient of half a pixel's noise and 3 DN that the other darks do not have",
    named="dark 3",
)
def leak_into_one(strength, rng):
    def change(kind, i, pixels, header):
        return np.rint(pixels + strength * ramp(pixels)) if kind == "dark" and i == 3 else None

    return change


@fault(
    "D12",
    "light in all darks",
    (1.3, 2.0, 4.0),
    "times the current",
    "dark currents of two exposures a factor of 1.2 apart",
    named="dark",
    words="dark current is",
)
def leak_into_all(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "dark":
            exposed(header, 60.0 if i % 2 else 120.0)
            return np.rint(pixels + 400 * (strength / 2 if i % 2 else 1.0))

    return change


@fault(
    "D12",
    "dark shaded like the flat",
    (10.0, 30.0, 100.0),
    "DN",
    "a shading like the flat's, of half a pixel's noise over the frame",
    words="shaded like the flat",
)
def leak_through_the_telescope(strength, rng):
    def change(kind, i, pixels, header):
        return np.rint(pixels + strength * (1 - radius(pixels) ** 2)) if kind == "dark" else None

    return change


@fault(
    "D13",
    "no hot pixels to fit",
    (0.0, 0.0, 0.0),
    "hot pixels",
    "a fitted factor of the dark that is not sure",
    calibrate={"dark_scaling": "fit"},
    words="no factor",
    knobs={"hot_fraction": 0.0, "dark_e_s": 0.001, "dark_exposure_s": 60.0},
)
def nothing_to_fit(strength, rng):
    return as_is(strength, rng)


@fault(
    "D20",
    "one bias frame unlike the others",
    (12.0, 20.0, 50.0),
    "DN",
    "3 DN and 5 sigma of the others' levels, 10 sigma where there are but six",
    named="bias 4",
    words="away from",
)
def odd_bias(strength, rng):
    def change(kind, i, pixels, header):
        return pixels + strength if kind == "bias" and i == 4 else None

    return change


@fault(
    "D20",
    "one dark unlike the others",
    (12.0, 20.0, 50.0),
    "DN",
    "3 DN and 5 sigma of the others' levels, 10 sigma where there are but six",
    named="dark 2",
    words="away from",
)
def odd_dark(strength, rng):
    def change(kind, i, pixels, header):
        return pixels + strength if kind == "dark" and i == 2 else None

    return change


@fault(
    "D20",
    "bias level that drifts",
    (5.0, 10.0, 30.0),
    "DN in all",
    "a drift of 3 DN through the bias frames",
    named="bias",
    words="drifts",
)
def drifting_bias(strength, rng):
    def change(kind, i, pixels, header):
        return np.rint(pixels + strength * i / 5) if kind == "bias" else None

    return change


@fault(
    "D25",
    "rows",
    (1.0, 2.0, 5.0),
    "DN rms",
    "rows that change with 3 times the power of white noise",
    named="",
    words="rows differ",
)
def banding_of_rows(strength, rng):
    def change(kind, i, pixels, header):
        return np.rint(pixels + rng.normal(0, strength, (pixels.shape[0], 1))) if kind in ("bias", "dark") else None

    return change


@fault(
    "D25",
    "columns",
    (2.0, 4.0, 8.0),
    "DN rms",
    "columns that change with 3 times the power of white noise",
    words="columns differ",
)
def banding_of_columns(strength, rng):
    def change(kind, i, pixels, header):
        return np.rint(pixels + rng.normal(0, strength, pixels.shape[1])) if kind in ("bias", "dark") else None

    return change


@fault(
    "D27",
    "bias and darks cut off at zero",
    (0.02, 0.1, 0.5),
    "of the pixels",
    "0.2 % of pixels at exactly 0 that lay below",
    named="bias",
    words="exactly 0",
)
def no_offset(strength, rng):
    def change(kind, i, pixels, header):
        if kind in ("bias", "dark"):
            return np.maximum(0, np.rint(pixels - np.quantile(pixels, strength)))

    return change
