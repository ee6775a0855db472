"""Faults of flats that are planted into nights; see `planted`."""

import numpy as np
from clinic import NIGHT
from planted import BIAS_DN, as_is, brought_to, exposed, fault, radius, ramp


@fault("D04", "too bright", (0.62, 0.75, 0.95), "of full scale", "flats above 60 % of full scale", named="flat")
@fault("D04", "too faint", (0.19, 0.12, 0.05), "of full scale", "flats below 20 % of full scale", named="flat")
def flats_at_a_level(strength, rng):
    def change(kind, i, pixels, header):
        return brought_to(pixels, 65535 * strength) if kind == "flat" else None

    return change


@fault(
    "D05",
    "saturated",
    (0.002, 0.01, 0.05),
    "of the pixels",
    "0.01 % of the pixels, and 5 of those looked at",
    named="flat 2",
    words="saturated",
)
def saturated_flat(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "flat" and i == 2:
            return np.minimum(np.rint(pixels * 65535 / np.quantile(pixels, 1 - strength)), 65535)

    return change


@fault(
    "D05",
    "zero",
    (0.002, 0.01, 0.05),
    "of the pixels",
    "0.01 % of the pixels, and 5 of those looked at",
    named="flat 2",
    words="zero",
)
def empty_flat(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "flat" and i == 2:
            return np.maximum(np.rint(pixels - np.quantile(pixels, strength)), 0)

    return change


@fault(
    "D05",
    "blind",
    (0.01, 0.03, 0.1),
    "of the columns",
    "0.01 % of a master flat's pixels that saw no light",
    words="saw no light",
)
def covered_edge(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "flat":
            pixels[:, : round(strength * pixels.shape[1])] = BIAS_DN
            return pixels

    return change


@fault(
    "D06",
    "master flat with its bias",
    (0.02, 0.05, 0.2),
    "of its level",
    "a bias level of 1 % of a master flat that does not say whether it holds it",
    words="does not say",
    knobs=lambda strength: {"flats": 1, "darks": 0, "bias_dn": 25_000 * strength, "flat_level": 0.4},
)
def master_flat_with_bias(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "flat":
            header["IMAGETYP"] = "Master Flat"

    return change


@fault(
    "D07",
    "flat-darks of another exposure",
    (1.0, 5.0, 60.0),
    "s apart",
    "darks of flats 0.1 s and 5 % apart from them in exposure",
    named="flat",
    knobs=lambda strength: {"biases": 0, "exposure_s": 2.5 + strength, "dark_e_s": 3.0},
)
def flat_darks_of_lights(strength, rng):
    return as_is(strength, rng)


@fault(
    "D14",
    "light beside the sensor in flats",
    (0.3, 0.4, 0.6),
    "of the flat's level",
    "a sky that follows the flat with a slope of 0.2, and follows it at the rim too",
    words="vignetting",
    knobs={"nebula_dn": 0.0},
)
@fault(
    "D14",
    "too much taken off flats",
    (-0.2, -0.25, -0.3),
    "of the flat's level",
    "a sky that follows the flat with a slope of 0.2, and follows it at the rim too",
    words="vignetting",
    knobs={"nebula_dn": 0.0},
)
def flats_with_stray_light(strength, rng):
    def change(kind, i, pixels, header):
        return np.rint(pixels + strength * 25_000) if kind == "flat" else None

    return change


@fault(
    "D15",
    "dust that moved",
    (0.04, 0.1, 0.15),
    "deep",
    "motes of 4 % depth that three lights or more do not have",
    words="dust",
    knobs={"dust": 0},
)
def dust_in_flats(strength, rng):
    places = [(rng.uniform(50, 250), rng.uniform(50, 350), rng.uniform(12, 30)) for _ in range(3)]

    def change(kind, i, pixels, header):
        if kind != "flat":
            return None
        v, u = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
        for y, x, r in places:
            pixels -= (pixels - BIAS_DN) * strength / (1 + np.exp((np.hypot(v - y, u - x) - r) / 1.5))
        return np.rint(pixels)

    return change


@fault(
    "D16",
    "few bias frames",
    (15, 8, 2),
    "frames",
    "fewer than 20 bias frames",
    words="bias frames",
    knobs=lambda n: {"biases": int(n)},
)
@fault(
    "D16", "few darks", (14, 8, 2), "frames", "fewer than 15 darks", words="darks", knobs=lambda n: {"darks": int(n)}
)
@fault(
    "D16", "few flats", (14, 8, 2), "frames", "fewer than 15 flats", words="flats", knobs=lambda n: {"flats": int(n)}
)
def few_frames(strength, rng):
    return as_is(strength, rng)


@fault(
    "D16",
    "flats not deep enough",
    (0.8, 0.5, 0.2),
    "of the depth wanted",
    "a master flat with a signal to noise of a pixel below 500",
    words="signal to noise",
    knobs=lambda share: {"gain_e_per_dn": (500 * share) ** 2 / 6 / 25_000, "read_noise_e": 1.0},
)
def shallow_flats(strength, rng):
    return as_is(strength, rng)


@fault(
    "D18",
    "shutter",
    (0.015, 0.03, 0.05),
    "over the frame",
    "short flats that differ from longer ones by 1.5 % over the frame",
    named="flat 0",
)
def shaded_by_the_shutter(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "flat":
            exposed(header, 0.2 if i < 3 else 2.0)
            return np.rint(BIAS_DN + (pixels - BIAS_DN) * (1 - strength * radius(pixels) * (i < 3)))

    return change


@fault(
    "D19",
    "gradient",
    (0.02, 0.04, 0.1),
    "from edge to edge",
    "a gradient that changes by 1 % beyond noise",
    named="flat",
    words="gradient",
)
def tilting_light(strength, rng):
    def change(kind, i, pixels, header):
        return np.rint(pixels * (1 + strength * i / 5 * (ramp(pixels) - 0.5))) if kind == "flat" else None

    return change


@fault(
    "D19",
    "colour",
    (0.015, 0.03, 0.1),
    "of red to green",
    "a colour that changes by 1 % beyond noise",
    named="flat",
    words="colour",
    knobs={"pattern": "RGGB"},
)
def reddening_light(strength, rng):
    def change(kind, i, pixels, header):
        if kind == "flat":
            red = pixels[::2, ::2] - BIAS_DN
            pixels[::2, ::2] = np.rint(BIAS_DN + red * (1 + strength * i / 5))
            return pixels

    return change


@fault(
    "D20",
    "lamp of the room",
    (0.1, 0.3, 0.8),
    "of the light of the flat",
    "a flat of four or more whose light departs from that of the others by 4 % over the frame",
    named="flat 3",
    words="light falls otherwise",
    knobs={"flats": 8},
)
def lamp_on(strength, rng):
    def change(kind, i, pixels, header):
        lamp = strength * (0.8 + 0.4 * ramp(pixels))
        return np.minimum(np.rint(pixels + lamp * (pixels - BIAS_DN)), 65535) if (kind, i) == ("flat", 3) else None

    return change


@fault(
    "D28",
    "dew that dries",
    (0.04, 0.15, 0.6),
    "deep",
    "shadows of 8 pixels or more that change by 1 % in a block of 8 pixels while the flats are taken",
    named="flat",
    words="shadow",
)
def drying_flats(strength, rng):
    places = rng.uniform(0.1, 0.9, (20, 2))

    def change(kind, i, pixels, header):
        if kind == "flat":
            y, x = np.indices(pixels.shape)
            at = places * pixels.shape
            spots = np.max([np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * 4.0**2)) for v, u in at], axis=0)
            return np.rint(BIAS_DN + (pixels - BIAS_DN) * (1 - strength * max(0, 1 - i / 5) * spots))

    return change


@fault(
    "D29",
    "hot pixels of long flats",
    (0.001, 0.003, 0.01),
    "of the pixels",
    "0.02 % of the pixels of a master flat, and 5 of those looked at, 5 % above their neighbours",
    words="hot ones",
    knobs={"hot_fraction": 0.0},
)
def hot_flats(strength, rng):
    hot = rng.random((NIGHT["rows"], NIGHT["cols"])) < strength

    def change(kind, i, pixels, header):
        return np.minimum(pixels + 8000.0 * hot, 65535) if kind == "flat" else None

    return change


@fault(
    "D15",
    "dust that moved a little",
    (0.12, 0.2, 0.3),
    "deep",
    "motes of 12 % depth that the lights have 8 pixels beside",
    words="dust",
    knobs={"dust": 0},
)
def shifted_dust(strength, rng):
    places = [(rng.uniform(50, 250), rng.uniform(50, 350), rng.uniform(12, 30)) for _ in range(3)]

    def change(kind, i, pixels, header):
        if kind not in ("flat", "light"):
            return None
        v, u = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
        for y, x, r in places:
            r_px = np.hypot(v - y, u - x - 8 * (kind == "light"))
            pixels -= (pixels - BIAS_DN) * strength / (1 + np.exp((r_px - r) / 1.5))
        return np.rint(pixels)

    return change
