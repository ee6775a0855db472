"""How much sharper a night becomes by hand than by a batch that treats all frames alike, at the same point sources.

python -m bench.headline --work /tmp/headline [--seeds 5] [--write]

Nights of 20 lights with seeing of 3.0 to 4.0 arcsec, two of them trailed and three behind cloud, at 1.0 and at 1.5
arcsec a pixel. The batch weighs all frames alike and leaves none out, by three interpolations; all else is the same:
calibration, transforms, rejection, reference. By hand: trailed frames are left out (eccentricity above 0.6), and the
others weighed by `sharp` with that much depth given away by which the forecast finds point sources as deep as those of
the batch, before anything is integrated. Results are judged against the truth (`bench/judge.py`).
"""

import argparse
import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from bench import oracle, rivals
from bench.judge import Rest, clipped_rms, rest_of
from bench.limit import kept_oracle
from bench.nights import Kind, made
from bench.page import machine, write_section
from masterlight import ArrayFrame, SubframeSelector
from masterlight.alignment.overlaid import places_of
from masterlight.alignment.warping.weights import shape_of
from masterlight.simulate import Truth
from masterlight.subframes.choice.forecast import Forecast, forecast_of
from masterlight.subframes.choice.health import examined
from masterlight.subframes.choice.outlook import outlooks
from masterlight.subframes.choice.subframe import Subframe
from masterlight.subframes.choice.table import Subframes

SCALES = 1.0, 1.5
"""Arcsec that a pixel sees."""
SEEING = 3.0, 4.0
AIM = 0.153
"""What a tutorial's comparison of whole programs found: FWHM that much smaller at unchanged signal to noise."""
ROUND = 0.6
"""Eccentricity above which a frame is left out by hand."""
LANCZOS5 = partial(shape_of, "lanczos5")
ALIKE = ["--integrate.weights", "none", "--integrate.min-weight", "0", "--integrate.max-rejected", "1"]
BATCHES = {"bilinear": "bilinear", "bicubic": "bicubic", "lanczos3": "lanczos3"}
"""Baselines, and the interpolation that makes them."""
STEPS = {
    "kernel": "lanczos5 instead", "weights": "and weights sharp", "approval": "and trailed frames left out",
}  # fmt: skip
"""What is done by hand, one after the other."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "headline", help="folder for nights")
    words.add_argument("--seeds", type=int, default=5, help="nights at each scale")
    words.add_argument("--scales", type=float, nargs="+", default=SCALES, help="arcsec a pixel")
    words.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    chosen = words.parse_args()
    lines = [
        machine(),
        "",
        f"Seeds 1 to {chosen.seeds}, medians; changes beside the batch named first.",
    ]
    for scale in chosen.scales:
        told = [judged_night(scale, seed, chosen.work.resolve()) for seed in range(1, chosen.seeds + 1)]
        lines += ["", *table(scale, told)]
        print(*lines[-12:], sep="\n", flush=True)
    if chosen.write:
        write_section("headline", "\n".join(lines))


def judged_night(scale: float, seed: int, work: Path) -> dict[str, dict[str, float]]:
    """Figures of each way through one night; kept in the work folder."""
    folder = work / f"{scale:g}-{seed}"
    kept = folder / "headline.json"
    if kept.exists():
        return json.loads(kept.read_text())
    knobs = {"lights": 20, "cloudy": 3, "tracking_errors": 2, "fwhm_px": 3.5 / scale}
    seeing = SEEING[0] / scale, SEEING[1] / scale
    truth = made(Kind("the headline", knobs, seeing=seeing), seed, folder / "night")
    by_hand, batch, give = forecast_of_night(truth, scale)
    print(f"{scale:g} arcsec a pixel, seed {seed}: give {give:.1f} %", file=sys.stderr, flush=True)
    sharp = ["--integrate.weights", "sharp", "--integrate.give", f"{give:.1f}"]
    ways = {name: [*ALIKE, "--align.interpolation", kernel] for name, kernel in BATCHES.items()}
    ways |= {"kernel": ALIKE, "weights": sharp, "approval": [*sharp, "--select.max-eccentricity", f"{ROUND:g}"]}
    told = {name: walked(name, truth, folder, flags) for name, flags in ways.items()}
    told["forecast"] = {"give": give, "fwhm": by_hand.fwhm_px, "point": by_hand.point_snr / batch.point_snr,
                        "wider": by_hand.wider, "shallower": by_hand.shallower, "batch": batch.fwhm_px}  # fmt: skip
    kept.write_text(json.dumps(told))
    return told


# --- by hand ----------------------------------------------------------------------------------------------------------


def forecast_of_night(truth: Truth, scale: float) -> tuple[Forecast, Forecast, float]:
    """What is told of the choice by hand and of all frames alike, and the depth in percent that the choice gives away:
    the most by which point sources stay as deep as by all frames alike."""
    night = examined(measured(truth), places_of)
    [everything] = outlooks(night, kernel=LANCZOS5)
    alike = everything.choices["equal"]
    round_stars = night.where(lambda frame: frame.measurement.eccentricity <= ROUND)
    approved = np.array([frame.source in {f.source for f in round_stars} for frame in everything.night])
    best, least = None, 0.0
    for give in np.arange(0.0, 50.0, 0.1):
        [among] = outlooks(round_stars, give, LANCZOS5)
        weights = np.zeros(len(approved))
        weights[approved] = among.frames.sharp(give / 100)
        told = forecast_of(everything.frames, weights)
        if told.point_snr < alike.point_snr:
            break
        best, least = told, float(give)
    if best is None:
        raise SystemExit("without the trailed frames no weights have the point sources of the batch")
    return best, alike, least


def measured(truth: Truth) -> Subframes:
    """The lights of a night, calibrated by plain means, as a table."""
    dark, flat = oracle.masters(truth)
    frames = []
    for pointing, path in zip(truth.pointings, truth.paths("light"), strict=True):
        bad = oracle.outliers(truth, pointing.index)
        [image] = oracle.calibrated(truth, pointing.index, dark, flat, bad)
        measurement, stars = SubframeSelector().measure(ArrayFrame.of(image.astype(np.float32), path.name))
        frames.append(Subframe(path.name, measurement=measurement, stars=stars))
    return Subframes(tuple(frames))


# --- walks ------------------------------------------------------------------------------------------------------------


def walked(name: str, truth: Truth, folder: Path, flags: list[str]) -> dict[str, float]:
    """Walk a night in one way, and judge the stack: FWHM and eccentricity as the program measures them, the rest by the
    truth, beside the oracle."""
    flags = [*flags, "--reference", str(truth.paths("light")[0])]
    work = folder / name
    run = rivals.masterlight(truth, work, flags=flags)
    if not run.result:
        raise SystemExit(f"{name}: {run.note}")
    image = np.asarray(fits.getdata(run.result), np.float32)
    shutil.rmtree(work)
    best_stack, [best] = kept_oracle(truth, folder, 0)
    rest = rest_of(image, truth, best_stack, 0)
    found, _ = SubframeSelector().measure(image, saturation_dn=0.9 * truth.night.saturation_dn)
    return {
        "fwhm": found.fwhm_px,
        "eccentricity": found.eccentricity,
        "pixel": 1 / pixel_noise(rest),
        "point": rest.point_snr / best.point_snr,
        "stacked": run.stacked or 0,
    }


def pixel_noise(rest: Rest) -> float:
    """Scatter of single pixels where no star is, DN above the air."""
    sky = rest.sky[np.isfinite(rest.sky)]
    spread = 1.4826 * float(np.median(np.abs(sky - np.median(sky))))
    return spread * clipped_rms(sky / spread)


# --- tables -----------------------------------------------------------------------------------------------------------


def table(scale: float, told: list[dict]) -> list[str]:
    """The tables of nights at one scale."""
    median = {way: {name: float(np.median([t[way][name] for t in told])) for name in told[0][way]} for way in told[0]}
    lines = [f"Pixels of {scale:g} arcsec, seeing {SEEING[0] / scale:.1f} to {SEEING[1] / scale:.1f} px:", ""]
    lines += [
        "| way | FWHM px | eccentricity | SNR of a pixel, beside bilinear | SNR of a point source, beside the oracle |",
        "| --- |" + " ---: |" * 4,
    ]
    names = {name: f"batch, {name}" for name in BATCHES} | STEPS
    for way, words in names.items():
        one = median[way]
        figures = f"{one['fwhm']:.3f} | {one['eccentricity']:.2f} | {one['pixel'] / median['bilinear']['pixel']:.3f}"
        lines.append(f"| {words} | {figures} | {one['point']:.3f} |")
    lines += ["", "| by hand, beside the batch by | FWHM | kernel | weights | approval | pixel | point source |"]
    lines += ["| --- |" + " ---: |" * 6]
    for batch in BATCHES:
        ways = [batch, *STEPS]
        parts = [change(told, "fwhm", one, other) for one, other in zip(ways, ways[1:], strict=False)]
        whole = [change(told, name, batch, ways[-1]) for name in ("fwhm", "pixel", "point")]
        lines.append(f"| {batch} | {whole[0]} | " + " | ".join(parts) + f" | {whole[1]} | {whole[2]} |")
    gains = {
        batch: -float(np.median([t["approval"]["fwhm"] / t[batch]["fwhm"] - 1 for t in told])) for batch in BATCHES
    }
    best, held = min(gains, key=lambda name: gains[name]), [name for name, gain in gains.items() if gain >= AIM]
    lines += [
        "",
        f"Beside the best batch, by {best}, stars are {100 * gains[best]:.1f} % narrower at the same point sources.",
    ]
    lines[-1] += f" {100 * AIM:.1f} % or more it is beside {' and '.join(held) or 'none of the three'}."
    f = median["forecast"]
    words = (
        f"The forecast, before anything was integrated: {f['give']:.1f} % of depth given away, FWHM {f['fwhm']:.3f} px "
    )
    words += f"(all alike {f['batch']:.3f}), point sources {100 * (f['point'] - 1):+.1f} % beside all alike; "
    words += f"{100 * f['wider']:.2f} % wider than the frontier of all frames at this depth."
    return [*lines, "", words]


def change(told: list[dict], name: str, before: str, after: str) -> str:
    """The median change of a figure from one way to another, in percent."""
    return f"{100 * float(np.median([t[after][name] / t[before][name] - 1 for t in told])):+.1f} %"


if __name__ == "__main__":
    main()
