"""Trails cut out of means that are there already: as if all samples were looked at again, and few frames are read."""

import numpy as np
import pytest
from test_engine import NOISE, stack

from masterlight.core.frame import ArrayFrame, Meta
from masterlight.integration import engine
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.kernels import taken
from masterlight.subframes.measurement import Measurement

SHAPE = 400, 520


def night(rng, count, planes=1):
    """Frames of unequal noise with tilted skies, defective pixels, a star, and a trail each in the frames 2 and 3."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frames, known = [], [[] for _ in range(planes)]
    for i in range(count):
        noise = NOISE * rng.uniform(0.8, 1.2)
        sky = 500 + rng.normal(0, 1.5) * x / SHAPE[1] + 2000 * np.exp(-((x - 300) ** 2 + (y - 200) ** 2) / 8)
        pixels = rng.normal(sky, noise, (planes, *SHAPE))
        for k, slope, peak in ((2, 0.4, 12.0), (3, -0.7, 0.6)):
            across = (y - 200 - slope * (x - 260)) * np.cos(np.arctan(slope))
            pixels += peak * NOISE * np.exp(-0.5 * (across / 1.7) ** 2) * (i == k)
        pixels[:, rng.random(SHAPE) < 1e-3] = np.nan
        pixels[:, :6] = np.nan if i == 1 else pixels[:, :6]
        frames.append(ArrayFrame.of(pixels if planes > 1 else pixels[0], f"frame {i}", Meta(exposure_s=60.0)))
        for plane in known:
            plane.append(Measurement(f"frame {i}", 500.0, noise, noise, 60.0, 1.0, fwhm_px=3.0))
    return frames, known if planes > 1 else known[0]


@pytest.mark.parametrize("count, planes", [(10, 1), (8, 3)])
def test_oracle_cut_as_if_all_were_looked_at_again(monkeypatch, count, planes):
    frames, known = night(np.random.default_rng(5), count, planes)
    settings = ImageIntegration(normalization="additive")
    cut = stack(settings, frames, known, reference=0)
    monkeypatch.setattr(engine.Work, "cut", lambda self, canvas, residue, touched: (yield from ()) or touched)
    looked = stack(settings, frames, known, reference=0)
    assert {source for source, _, _ in cut.trails} == {"frame 2", "frame 3"}
    for name in ("coverage", "rejected_low", "rejected_high"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(looked, name))
    sigma = np.sqrt(np.nanmedian(looked.variance))
    off = np.abs(cut.image - looked.image) / sigma  # a second look levels the other frames, and knows who has no sample
    assert off.max() < 0.1
    assert np.mean(off[off > 0]) < 0.005
    usual = np.abs(cut.variance / looked.variance - 1) < 1e-3
    assert usual.mean() > 0.999  # but for single pixels whose scatter is about to be believed
    rows = [(a.large_scale_fraction, b.large_scale_fraction) for a, b in zip(cut.frames, looked.frames, strict=True)]
    assert all(a == b for a, b in rows) and sum(a > 0 for a, _ in rows) == 2 * planes


def test_truth_only_frames_that_lose_samples_are_read_again(monkeypatch):
    frames, known = night(np.random.default_rng(6), 10)
    read, again, run = [], [], engine.Work.cut
    plain = ArrayFrame.pixels_into
    monkeypatch.setattr(
        ArrayFrame, "pixels_into", lambda self, *rest: (read.append(self.source), plain(self, *rest))[1]
    )

    def cut(self, canvas, residue, touched):
        first = len(read)
        hard = yield from run(self, canvas, residue, touched)
        again.append((set(read[first:]), hard.sum() / touched.sum()))
        return hard

    monkeypatch.setattr(engine.Work, "cut", cut)
    stack(ImageIntegration(normalization="additive"), frames, known, reference=0)
    ((sources, share),) = again
    assert sources == {"frame 2", "frame 3"}
    assert share < 0.02


def test_oracle_samples_taken_out_of_means():
    rng = np.random.default_rng(7)
    n, pixels = 6, 40
    samples, level = rng.normal(100, 5, (n, pixels)), rng.normal(0, 1, pixels).astype(np.float32)
    own = np.array([[1.0, 1.0, 25.0, 0.3]] * n).T
    mean, sums = samples.mean(axis=0), np.repeat(own.sum(axis=1)[:, None], pixels, axis=1)
    scattered = np.square(samples - mean).sum(axis=0)
    at = np.arange(0, pixels, 3)
    taken.take_out(at, samples[2, at], level[at], own[:, 2], mean, sums, scattered)
    rest = np.delete(samples, 2, axis=0)
    for k in range(pixels):
        kept = rest if k in at else samples
        np.testing.assert_allclose(mean[k], kept[:, k].mean() + (level[k] / 5 if k in at else 0), rtol=1e-9)
        np.testing.assert_allclose(sums[:, k], len(kept) * own[:, 0])
        np.testing.assert_allclose(scattered[k], np.square(kept[:, k] - kept[:, k].mean()).sum(), rtol=1e-9)
