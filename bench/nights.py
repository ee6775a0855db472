"""The nights that `bench.limit` judges: one kind of trouble each, small enough for many seeds, with their truth."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from masterlight.simulate import Night, Observatory, Pointing, Truth
from masterlight.simulate.dialects import name_and_cards, shots
from masterlight.simulate.truth import write

SIZE = {"rows": 600, "cols": 800, "biases": 10, "darks": 10, "flats": 10, "cloudy": 0, "tracking_errors": 0}


@dataclass(frozen=True)
class Kind:
    """A kind of night: the knobs of `Night`, clouds of every thickness, and a gradient that stays with the horizon."""

    words: str
    knobs: dict
    clouds: float = 0.0
    """Half of the lights lose up to this fraction of their starlight."""
    moon: float = 0.0
    """Gradient from the centre to an edge, as a fraction of the sky; a meridian flip turns it against the stars."""
    seeing: tuple[float, float] | None = None
    """Least and greatest FWHM, px, between which the seeing wanders; None for that of `knobs`."""
    aim: float = 0.99
    """Signal to noise of a point source against the oracle's that the usual settings shall reach."""


KINDS = {
    "clean": Kind("20 lights, two satellites", {"lights": 20}, aim=0.995),
    "cloud": Kind("20 lights, half of them through clouds that take up to 60 %", {"lights": 20}, clouds=0.6, aim=0.988),
    "moon": Kind(
        "20 lights, bright sky, 12 % gradient turned by the flip", {"lights": 20, "sky_dn": 2500.0}, moon=0.12
    ),
    "four": Kind(
        "4 lights, one satellite, 5 % gradient turned by the flip", {"lights": 4, "trails": 1}, moon=0.05, aim=0.992
    ),
    "six": Kind(
        "6 lights, one satellite, 5 % gradient turned by the flip", {"lights": 6, "trails": 1}, moon=0.05, aim=0.987
    ),
    "sixty": Kind("60 lights, six satellites", {"lights": 60, "trails": 6}, aim=0.995),
    "sharp": Kind("20 lights, undersampled: FWHM 1.6 px", {"lights": 20, "fwhm_px": 1.6}),
    "colour": Kind("20 lights of a colour camera (RGGB)", {"lights": 20, "pattern": "RGGB"}),
}


def made(kind: Kind, seed: int, folder: Path) -> Truth:
    """A night of this kind, its frames written into `folder` unless they lie there already."""
    night = Night(**{**SIZE, **kind.knobs, "seed": seed})
    observatory = Observatory(night)
    observatory.pointings = [changed(kind, pointing, night) for pointing in observatory.pointings]
    observatory.prepare()
    files: dict[str, list[str]] = {}
    for shot in shots(night):
        name = name_and_cards(shot)[0]
        files.setdefault(shot.kind, []).append(name)
        if not (folder / name).exists():
            write(observatory, shot, folder)
    truth = Truth(night, files, folder)
    truth.observatory = observatory
    return truth


def changed(kind: Kind, pointing: Pointing, night: Night) -> Pointing:
    """A light under the sky of this kind: clouds lighten the sky as they dim the stars, the moon tilts it."""
    rng = night.rng(90, pointing.index)
    if kind.seeing:
        pointing = replace(pointing, fwhm_px=night.rng(92, pointing.index).uniform(*kind.seeing))
    if kind.clouds and rng.uniform() < 0.5:
        lost = kind.clouds * rng.uniform()
        dimmed, lit = pointing.transparency * (1 - lost), pointing.sky_dn * (1 + 0.9 * lost)
        thick, toward = lost / kind.clouds, rng.uniform(0, 2 * np.pi)
        slope = tuple(np.array(pointing.slope) + 0.06 * thick * np.array([np.cos(toward), np.sin(toward)]))
        pointing = replace(pointing, transparency=dimmed, sky_dn=lit, slope=slope, cloudy=thick > 0.75)
    if kind.moon:
        toward = night.rng(91).uniform(0, 2 * np.pi) + 0.02 * pointing.index
        pointing = replace(pointing, slope=(kind.moon * np.cos(toward), kind.moon * np.sin(toward)))
    return pointing
