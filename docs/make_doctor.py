"""The measured tables and the pictures of docs/doctor.md, from faults planted into simulated nights.

python docs/make_doctor.py            plants every fault at three strengths in ten nights each, looks at 240 healthy
                                      nights, prints the tables, writes them and the pictures; minutes
python docs/make_doctor.py --check    prints the tables and writes nothing
python docs/make_doctor.py --pictures D04 D05      makes the pictures of some anew, or of all

Ends with 1 where a promise is not kept or a healthy night is called ill.
"""

import json
import sys

import numpy as np
from astropy.io.fits import Header
from pages import ROOT, replace_part, save

from masterlight.core.process import knobs
from masterlight.doctor import Doctor, pictures
from masterlight.simulate.night import Night

sys.path.insert(0, str(ROOT / "tests"))

from faults import FAULTS
from planted import BIAS_DN, ENOUGH, NIGHT, SEEDS, Fault, all_false_alarms, exposures, found_shares

PAGE = ROOT / "docs" / "doctor.md"
PICTURES = ROOT / "docs" / "doctor"
MEASURED = PICTURES / "measured.json"
THRESHOLDS = {
    "D02": ("negative_fraction",), "D04": ("flat_low", "flat_high", "flat_lowest", "flat_highest"),
    "D05": ("clipped_fraction",), "D08": ("exposure_fraction",),
    "D09": ("temperature_c", "temperature_limit_c", "temperature_spread_c"), "D10": ("outlier_dn",),
    "D11": ("glow_sigma", "glow_correlation"), "D12": ("leak_correlation", "outlier_dn"),
    "D14": ("flat_slope", "flat_correlation"), "D15": ("mote_fraction",),
    "D16": ("flats", "biases", "darks", "flat_snr"), "D18": ("shutter_fraction",), "D19": ("drift_fraction",),
    "D20": ("outlier_sigma", "outlier_dn", "drift_fraction"), "D25": ("banding_power",), "D27": ("zero_fraction",),
    "D28": ("mote_fraction",), "D29": ("hot_fraction",),
    "H02": ("gain_fraction",),
}  # fmt: skip
"""Knobs that a diagnosis compares with; the others have fixed limits, which their sentences tell."""


def faults_of(id: str) -> dict[str, Fault]:
    return {name: fault for name, fault in FAULTS.items() if fault.id == id}


def table_of(id: str, shares: dict[str, list[float]]) -> str:
    """The picture, the knobs and the measured table of one diagnosis."""
    own = {knob.path: knob for knob in knobs(Doctor)}
    told = [f"`Doctor.{name}` {own[name].usual} {own[name].unit or ''}".strip() for name in THRESHOLDS.get(id, ())]
    first = next(iter(faults_of(id).values()))
    lines = [f"![{id}, planted: {first.name}](doctor/{id}.png)", ""]
    lines += [f"*Thresholds.* {', '.join(told)}.", ""] if told else []
    lines += ["| planted | promised | strength | found |", "| --- | --- | --- | --- |"]
    for name, fault in faults_of(id).items():
        ladder = ", ".join(f"{strength:g}" for strength in fault.strengths)
        found = ", ".join(f"{share:.0%}" for share in shares[name])
        lines.append(f"| {fault.name} | {fault.promise} | {ladder} {fault.unit} | {found} |")
    return "\n".join(lines)


def summary(measured: dict) -> str:
    """Two sentences: healthy nights, planted faults."""
    shares, seeds = measured["found"], measured["seeds"]
    kept = sum(one[0] >= ENOUGH for one in shares.values())
    return (
        f"| what | tried | result |\n| --- | --- | --- |\n"
        f"| healthy nights: six capture programs, mono and colour, ten cameras and skies | "
        f"{measured['healthy']} nights | {len(measured['wrong'])} errors or warnings that are not true |\n"
        f"| faults of {len({FAULTS[name].id for name in shares})} diagnoses, three strengths, {seeds} seeds | "
        f"{len(shares)} faults, {measured['nights']:,} nights | {kept} of {len(shares)} promises are kept |"
    )


def measure() -> dict:
    """Healthy nights and planted faults, all of them."""
    healthy, wrong = all_false_alarms()
    return {
        "healthy": healthy,
        "wrong": wrong,
        "seeds": SEEDS,
        "nights": 3 * SEEDS * len(FAULTS),
        "found": found_shares(FAULTS),
    }


def picture_of(id: str) -> np.ndarray:
    """The picture of a finding of this diagnosis; or one of the frames, or of how its figure follows the strength."""
    if id in OWN:
        return OWN[id]()
    for fault in faults_of(id).values():
        for strength in fault.strengths[1:]:
            told = told_of(fault, strength, 1)
            if told is not None and told.picture is not None:
                return told.picture
    return figures_of(next(iter(faults_of(id).values())))


def told_of(fault: Fault, strength: float, seed: int):
    """What the doctor says of a fault; None when it does not."""
    _, findings, wanted = fault.examined(float(strength), seed)
    return next((one for one in findings if one.id == fault.id and fault.tells(one, wanted)), None)


def figures_of(fault: Fault) -> np.ndarray:
    """What is measured of a fault, from the promised strength to the greatest, and the thresholds."""
    strengths = np.linspace(fault.strengths[0], fault.strengths[2], 7)
    if fault.unit in ("frames", "copies", "bits"):
        strengths = np.unique(np.rint(strengths))
    told = [(s, told_of(fault, s, seed)) for s in strengths for seed in (1, 2, 3)]
    told = [(s, one) for s, one in told if one is not None and one.figure is not None]
    x, y = [s for s, _ in told], [one.figure for _, one in told]
    limits = [(s, one.threshold) for s, one in told if one.threshold is not None]
    span = [*y, *(limit for _, limit in limits)]
    plot = pictures.Plot((min(x), max(x)), (min(span), max(span)), f"planted: {fault.unit}", told[0][1].unit)
    if limits:
        plot.draw.line(plot.points(*zip(*limits, strict=True)), pictures.COLOURS[1], 2)
    plot.dots(plot.points(x, y))
    return plot.pixels()


def frames_of(name: str, at: int = 1) -> dict[str, list[np.ndarray]]:
    """The frames of a night with a fault, by their kind."""
    fault, kinds = FAULTS[name], {}
    strength = fault.strengths[at]
    change = fault.plant(strength, np.random.default_rng(1))
    for shot, image in exposures(Night(**{**NIGHT, "seed": 1, **fault.knobs(strength)})):
        new = change(shot.kind, shot.index, image.astype(float), Header())
        kinds.setdefault(shot.kind, []).append(image.astype(float) if new is None else new)
    return kinds


def flat_over_its_bias() -> np.ndarray:
    """D06: the pixels of a flat, none of them below the bias level, cold pixels neither."""
    flat = frames_of("D06 master flat with its bias")["flat"][0]
    level = 25_000 * FAULTS["D06 master flat with its bias"].strengths[1]
    return pictures.histogram(np.histogram(flat, 64, (0, flat.max())), "pixels of the flat, DN", {"bias level": level})


def light_at_hot_pixels() -> np.ndarray:
    """D13: what the light shows where the dark is highest: nothing to fit a factor to."""
    frames = frames_of("D13 no hot pixels to fit")
    dark = np.median(frames["dark"], axis=0) - np.median(frames["bias"], axis=0)
    high = np.argsort(dark, axis=None)[-300:]
    light = frames["light"][0].ravel()[high]
    return pictures.scatter(dark.ravel()[high], light - np.median(light), "dark, DN", "light above its level, DN")


def copies() -> np.ndarray:
    """D21: the pixels of a dark against those of its copy; those of another dark scatter."""
    darks = frames_of("D21 copied frame", 0)["dark"]
    plot = pictures.Plot((480, 530), (480, 530), "a dark, DN", "another file, DN")
    for other, colour in ((0, (190, 190, 190)), (2, pictures.COLOURS[1])):
        x, y = darks[1].ravel()[:3000], darks[other].ravel()[:3000]
        inside = (np.abs(x - 505) < 27) & (np.abs(y - 505) < 27)
        plot.dots(plot.points(x[inside], y[inside]), colour)
    return plot.pixels()


def steps() -> np.ndarray:
    """D24: the values of a bias frame of 13 bits that fill 16."""
    bias = frames_of("D24 bits shifted up")["bias"][0]
    return pictures.histogram(np.histogram(bias, 80, (470, 550)), "pixels of a bias frame, DN", {})


def levels_in_files() -> np.ndarray:
    """D26: the level of each dark as its file holds it."""
    darks = frames_of("D26 floats from 0 to 1 among integers")["dark"]
    return pictures.line([np.median(dark) for dark in darks], "dark", "level in the file")


def photon_transfer() -> np.ndarray:
    """H02: noise against level of the flats; the line is what the header's gain would have."""
    flats = frames_of("H02 gain of the header")["flat"]
    level, noise = [], []
    for one, two in zip(flats[:-1], flats[1:], strict=True):
        for box in np.ndindex(6, 8):
            part = np.s_[box[0] * 50 : box[0] * 50 + 50, box[1] * 50 : box[1] * 50 + 50]
            a, b = one[part] - BIAS_DN, two[part] - BIAS_DN
            level.append(np.median(a))
            noise.append(np.var(a / np.median(a) - b / np.median(b)) / 2 * np.median(a) ** 2)
    header = 1 / (0.78 * FAULTS["H02 gain of the header"].strengths[1])
    words = "level of the flat above its bias, DN", "variance, DN^2"
    plot = pictures.Plot((0, max(level)), (0, np.percentile(noise, 98)), *words)
    plot.dots(plot.points(*np.array([(a, b) for a, b in zip(level, noise, strict=True) if b < plot.y1]).T))
    plot.draw.line([plot.at(0, 0), plot.at(max(level), header * max(level))], pictures.COLOURS[1], 2)
    return plot.pixels()


def flat_depth() -> np.ndarray:
    """D16: signal to noise of a master flat."""
    return figures_of(FAULTS["D16 flats not deep enough"])


OWN = {
    "D06": flat_over_its_bias, "D13": light_at_hot_pixels, "D16": flat_depth, "D21": copies, "D24": steps,
    "D26": levels_in_files, "H02": photon_transfer,
}  # fmt: skip
"""Pictures of what no finding shows by itself."""


def make_pictures(ids) -> None:
    for id in ids:
        picture = picture_of(id)
        save(PICTURES / f"{id}.png", picture, max(1, 480 // picture.shape[-1]))
        print(f"{id}.png {(PICTURES / f'{id}.png').stat().st_size / 1000:.0f} kB", flush=True)


def write_page(measured: dict) -> None:
    replace_part(PAGE, "measured", summary(measured))
    for id in dict.fromkeys(fault.id for fault in FAULTS.values()):
        replace_part(PAGE, id, table_of(id, measured["found"]))


def main(words: list[str]) -> int:
    ids = sorted({fault.id for fault in FAULTS.values()})
    if "--pictures" in words:
        make_pictures([id for id in ids if id in words] or ids)
        return 0
    measured = measure()
    print(summary(measured), *(table_of(id, measured["found"]) for id in ids), *measured["wrong"], sep="\n\n")
    if "--check" not in words:
        make_pictures(ids)
        MEASURED.write_text(json.dumps(measured, indent=1))
        write_page(measured)
    return int(bool(measured["wrong"]) or any(one[0] < ENOUGH for one in measured["found"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
