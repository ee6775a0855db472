"""What tests of quality share: a camera of known truth, and masters made of its frames."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

import masterlight as ml
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration.integrate import ImageIntegration
from masterlight.subframes.measure import measure

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))

real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real observations in {DATA}")

VALUES = st.floats(-1e4, 1e4, width=32)

XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"


@dataclass(frozen=True)
class Sensor:
    """A camera of known truth."""

    gain: float = 1.5
    read_e: float = 7.0
    dark_e_s: float = 0.05
    shape: tuple = (600, 800)
    pattern: str | None = None
    bias_dn: float = 500.0

    def frame(self, rng, kind="bias", light_e=0.0, exposure_s=None, **meta):
        """One exposure, rounded to whole DN as cameras do; columns differ by 3 DN."""
        columns = np.random.default_rng(5).normal(0, 3, self.shape[1])
        electrons = rng.poisson(self.dark_e_s * (exposure_s or 0) + light_e, self.shape)
        dn = (electrons + rng.normal(0, self.read_e, self.shape)) / self.gain + self.bias_dn + columns
        meta = Meta(kind=kind, exposure_s=exposure_s, pattern=self.pattern, saturation_dn=65535, **meta)
        return ArrayFrame.of(np.round(dn), f"{kind}-{rng.integers(1e9)}", meta)

    def vignetting(self):
        y, x = (np.linspace(-1, 1, n) for n in self.shape)
        return 1 - 0.2 * y[:, None] ** 2 - 0.15 * x**2


def mastered(kind, frames, maps=True):
    """Master and stack of some frames by the settings of their kind, with statistics as the walk has them."""
    before = [frames[1 if len(frames) > 1 else 0], *frames[:-1]]
    statistics = [measure(f, kind=kind, before=b)[0] for f, b in zip(frames, before, strict=True)]
    *_, last = getattr(ImageIntegration, f"for_{kind}")()(frames, statistics, maps=maps)
    return ArrayFrame.of(last.result.image, f"master {kind}", frames[0].meta.with_(frames=len(frames))), last.result


@cache
def dark_set(n=6, seed=9):
    """Darks of a known sensor with clear hot pixels, glow, cosmic rays and a level that follows the temperature."""
    rng, sensor = np.random.default_rng(seed), Sensor(dark_e_s=0.1)
    rate = np.zeros(sensor.shape)
    hot = rng.choice(rate.size, 321, False)
    rate.flat[hot] = rng.uniform(10, 100, 321) * 60
    glow = 30 * np.exp(-np.hypot(*np.mgrid[:600, :800]) / 200)
    frames = []
    for i in range(n):
        frame = sensor.frame(rng, "dark", rate + glow, 60, temperature_c=-10 + 0.2 * i, gain_e_per_dn=1.5)
        frame.array[...] += round(5 * 0.2 * i)
        frame.array.flat[rng.choice(rate.size, 50, False)] += 900
        frames.append(frame)
    return frames, [sensor.frame(rng) for _ in range(4)]


def read(folder):
    return [ml.read(path) for path in sorted((DATA / folder).glob("*.fit*"))]
