"""Faults of lights, and of any frame and header, that are planted into nights; see `planted`."""

from statistics import NormalDist

import numpy as np
from planted import BIAS_DN, as_is, donor, exposed, fault, radius, scattered


@fault(
    "D02",
    "pixels far below zero",
    (0.002, 0.01, 0.05),
    "of the pixels",
    "0.01 % of the pixels, and 10 of those looked at, 5 sigma below zero",
    words="below zero",
)
def holes_in_lights(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "light":
            pixels[scattered(rng, pixels, strength)] = 200
            return pixels

    return change


@fault(
    "D27",
    "lights cut off at zero",
    (0.02, 0.06, 0.3),
    "of the pixels",
    "0.2 % of pixels at exactly 0 that lay below",
    named="light 0",
    words="exactly 0",
    knobs={"sky_dn": 90.0, "nebula_dn": 0.0, "read_noise_e": 20.0},
)
def dark_taken_by_the_camera(strength, rng):
    def change(kind, i, pixels, header):
        return np.maximum(0, np.rint(pixels - np.quantile(pixels, strength))) if kind == "light" else None

    return change


@fault(
    "D02",
    "negative pixels",
    (0.1, 0.2, 0.4),
    "of the pixels",
    "5 % of negative pixels",
    words="are negative",
    knobs={"sky_dn": 0.0, "nebula_dn": 0.0, "stars": 60},
)
def sky_near_zero(strength, rng):
    sigma = -NormalDist().inv_cdf(strength)

    def change(kind, i, pixels, header):
        return np.rint(pixels + sigma * 5.4) if kind == "light" else None

    return change


@fault(
    "D03",
    "read noise rules",
    (2.0, 1.0, 0.3),
    "times the variance",
    "a sky of less than 3 times the variance of the camera",
    words="electrons",
    knobs=lambda ratio: {"sky_dn": ratio * 13.3 / 0.78, "nebula_dn": 0.0},
)
def dark_sky(strength, rng):
    return as_is(strength, rng)


@fault(
    "D23",
    "saturation that varies",
    (1.7, 2.0, 3.0),
    "times",
    "saturated stars behind a flat that varies by a factor of 1.5",
    words="saturated stars",
    knobs={"stars": 800, "faintest_dn": 30_000.0},
)
def steep_vignetting(strength, rng):
    def change(kind, i, pixels, header):
        if kind in ("flat", "light"):
            shade = 1 - (1 - 1 / strength) * radius(pixels) ** 2
            return np.where(pixels < 65535, np.rint(BIAS_DN + (pixels - BIAS_DN) * shade), pixels)

    return change


@fault(
    "D30",
    "mount that jumped",
    (0.3, 0.4, 0.5),
    "of the exposure",
    "a light of which 30 % were exposed after a jump of 1.5 to 150 pixels",
    named="light 1",
    words="stands twice",
)
def jump_of_the_mount(strength, rng):
    dy, dx = (int(sign * step) for sign, step in zip(rng.choice((-1, 1), 2), rng.integers(4, 60, 2), strict=True))

    def change(kind, i, pixels, header):
        if kind == "light" and i == 1:
            return np.rint((1 - strength) * pixels + strength * np.roll(pixels, (dy, dx), (0, 1)))

    return change


@fault(
    "D17",
    "pattern of another row",
    (0.12, 0.25, 0.5),
    "greens apart",
    "greens of a flat that differ by 10 % where those of another order of rows agree",
    named="flat",
    words="green",
    knobs={"pattern": "RGGB"},
)
def wrong_pattern(strength, rng):
    def change(kind, i, pixels, header):
        header["BAYERPAT"] = "GRBG"
        if kind == "flat":
            red, blue = pixels[::2, ::2], pixels[1::2, 1::2]
            pixels[::2, ::2] = np.rint(
                BIAS_DN + (blue - BIAS_DN) * np.median(red - BIAS_DN) / np.median(blue - BIAS_DN)
            )
            pixels[1::2, 1::2] = np.rint(BIAS_DN + (red - BIAS_DN) * (1 - strength))
            return pixels

    return change


@fault(
    "D17",
    "colour camera whose header is silent",
    (0.08, 0.2, 0.5),
    "of the level",
    "pixels of a square of two that differ by 5 %, two of them alike",
    words="header tells no colour pattern",
    named="",
)
def unmarked_colours(strength, rng):
    def change(kind, i, pixels, header):
        if kind in ("flat", "light"):
            pixels[::2, ::2] = BIAS_DN + (pixels[::2, ::2] - BIAS_DN) * (1 - strength)
            pixels[1::2, 1::2] = BIAS_DN + (pixels[1::2, 1::2] - BIAS_DN) * (1 - strength / 2)
            return np.rint(pixels)

    return change


@fault(
    "D17",
    "one header is silent",
    (1, 2, 4),
    "headers",
    "any",
    named="flat",
    words="one header is silent",
    knobs={"pattern": "RGGB"},
)
def silent_header(strength, rng):
    def change(kind, i, pixels, header):
        if kind in ("flat", "bias", "dark", "flatdark")[: int(strength)]:
            header.remove("BAYERPAT", ignore_missing=True)

    return change


@fault(
    "D21",
    "copied frame",
    (1, 2, 4),
    "copies",
    "any frame of the same pixels as another one",
    named="dark 2",
    planned="holds the same pixels",
    knobs={"temperature_c": -20.0},
)
def copies(strength, rng):
    return repeated(strength, cards=False)


@fault(
    "D21",
    "copied file",
    (1, 2, 4),
    "copies",
    "any file of the same pixels as another one",
    named="dark 2",
    planned="holds the same pixels",
    knobs={"temperature_c": -20.0},
)
def copied_files(strength, rng):
    return repeated(strength, cards=True)


def repeated(times, cards: bool):
    """The second dark again in place of those after it, with its `cards` or with their own."""
    kept = {}

    def change(kind, i, pixels, header):
        if kind == "dark" and 1 <= i <= 1 + times:
            kept.setdefault("header", header.copy())
            if cards:
                header.update(kept["header"])
            return kept.setdefault("pixels", pixels).copy()

    return change


@fault(
    "D22",
    "darks calibrated before",
    (0.003, 0.05, 0.5),
    "of the pixels negative",
    "0.1 % of negative or missing pixels among floats",
    named="dark",
    words="floats",
)
def subtracted_darks(strength, rng):
    def change(kind, i, pixels, header):
        return pixels - np.quantile(pixels, strength) + 0.001 if kind == "dark" else None

    return change


@fault(
    "D22",
    "told in HISTORY only",
    (1, 2, 4),
    "frames",
    "any frame whose HISTORY tells of a calibration",
    words="HISTORY",
    named="light 0",
)
def told_in_history(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "light" and i < strength:
            header["HISTORY"] = "Calibrated with ccdproc"

    return change


@fault("D24", "bits shifted up", (2, 3, 4), "bits", "lowest bits that never change", words="multiple of")
def shifted_up(strength, rng):
    def change(kind, i, pixels, header):
        return 2**strength * np.floor(pixels / 2**strength)

    return change


@fault(
    "D24",
    "coarse steps",
    (0.4, 0.3, 0.25),
    "steps of noise",
    "a bias whose noise is below half a step of the converter",
    words="half a step",
    knobs=lambda steps: {"read_noise_e": 0.78 * steps, "bias_columns_dn": 0.0},
)
def quiet_camera(strength, rng):
    return as_is(strength, rng)


@fault(
    "D26",
    "floats from 0 to 1 among integers",
    (1, 2, 4),
    "frames",
    "any file on another scale",
    words="another scale",
    named="dark 0",
)
def other_scale(strength, rng):
    def change(kind, i, pixels, header):
        return (pixels / 65535).astype(np.float32) if kind == "dark" and i < strength else None

    return change


@fault("H01", "light called dark", (1, 2, 3), "frames", "a frame that shows ten stars", named="dark 0", words="shows")
def light_among_darks(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "dark" and i < strength:
            return donor("light", i)

    return change


@fault(
    "H01",
    "dark called light",
    (1, 2, 3),
    "frames",
    "a light without stars at the level of the darks",
    named="light 0",
    words="level is that of the darks",
)
def dark_among_lights(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "light" and i < strength:
            return donor("dark", i)

    return change


@fault(
    "H01",
    "flat called light",
    (1, 2, 3),
    "frames",
    "a light without stars as bright as half a flat",
    named="light 0",
    planned="taken for a flat by pixels",
    words="as bright as the flats",
)
def flat_among_lights(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "light" and i < strength:
            return donor("flat", i)

    return change


@fault(
    "H01",
    "exposed bias",
    (1.5, 10.0, 120.0),
    "s",
    "bias frames of more than 1 s",
    named="bias",
    words="darks by another name",
)
def exposed_bias(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "bias":
            exposed(header, strength)

    return change


@fault("H02", "gain of the header", (1.25, 2.0, 5.0), "times", "a gain 15 % off", words="electrons for each DN")
def lying_gain(strength, rng):
    def change(kind, i, pixels, header):
        header["EGAIN"] = 0.78 * strength

    return change


@fault(
    "D17",
    "binned to grey",
    (0.003, 0.001, 0.0),
    "of the light apart",
    "a colour pattern in the headers of frames whose colours differ by less than 0.5 %",
    named="light",
    words="binned to grey",
)
def grey_frames(strength, rng):
    def change(kind, i, pixels, header):
        header["BAYERPAT"] = "RGGB"
        if kind in ("flat", "light"):
            pixels[::2, ::2] = BIAS_DN + (pixels[::2, ::2] - BIAS_DN) * (1 - strength)
            return np.rint(pixels)

    return change


@fault(
    "D22",
    "registered before",
    (6.0, 20.0, 40.0),
    "columns at most",
    "empty borders of 2 columns or more, in each of three lights others",
    words="registered before",
)
def empty_borders(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "light":
            edge = 3 + round((strength - 3) * i / 3)
            pixels[:, slice(None, edge) if i % 2 else slice(-edge, None)] = 0
            return pixels

    return change


@fault(
    "D22",
    "smoothed or resampled",
    (0.15, 0.25, 0.5),
    "of each neighbour",
    "noise that neighbouring pixels share",
    named="light",
    words="share their noise",
)
def shared_noise(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "light":
            return (1 - strength) * pixels + strength * np.roll(pixels, 1, 1)

    return change
