"""Nights to look at, whose figures are known."""

from datetime import datetime, timedelta

import numpy as np

from masterlight.core.frame import Meta
from masterlight.subframes.choice.subframe import Subframe, Units
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.looks.chart import Chart, Frontier
from masterlight.subframes.measurement import Measurement

FORMULA = "FWHM < 4 && Eccentricity < 0.55"
BEGUN = datetime(2026, 11, 28, 21, 30)


def night_of(count=60, filters="L", unknown=0.0, seed=1, minutes=5.0):
    """Measured frames, 5 minutes apart; `unknown`: the share of figures that could not be measured."""
    rng, frames = np.random.default_rng(seed), []
    for i in range(count):
        fwhm, e, noise = 3 + rng.gamma(2, 0.25), rng.beta(5, 7), 108 + 8 * rng.random()
        told = {"fwhm_px": fwhm, "eccentricity": e, "stars": int(rng.integers(300, 900)), "mean_deviation_dn": 36.0}
        told = {name: None if rng.random() < unknown else value for name, value in told.items()}
        source = f"/nights/2026-11-28/M31 <{i}> & 'L'.fits"
        time = (BEGUN + timedelta(minutes=minutes * i)).isoformat()
        meta = Meta(object="M 31", filter=filters[i % len(filters)], exposure_s=60.0, time=time)
        frames.append(Subframe(source, meta, Measurement(source, 1000.0 + i, (50.0, 50.0), noise, **told)))
    return Subframes(tuple(frames), Units(notes=("no frame tells how much a pixel sees",)))


def chart_of(*args, approve=FORMULA, **more):
    chosen = night_of(*args, **more).approved_by(approve).weighed_by("35*inv(FWHM) + 50")
    return Chart.of(chosen, "Subframes of M 31")


def front_of():
    given = np.linspace(0, 0.5, 40)
    return Frontier(given, 3.3 - 0.4 * np.sqrt(given), {"equal": (0.02, 3.4), "chosen": (0.05, 3.3)}, "px")
