"""The sample of a frame: its colours, its size, its hash."""

import numpy as np
from truecamera import XTRANS, Sensor

from masterlight.core.frame import ArrayFrame, Frame, Meta
from masterlight.doctor.quality import sample as sampling
from masterlight.doctor.quality import sensor as pairs


def test_truth_content_hash():
    a = np.random.default_rng(8).normal(500, 5, (100, 90)).astype(np.float32)
    a[3, 4] = np.nan
    one = sampling.content_hash(ArrayFrame.of(a, "a", Meta(kind="dark")))
    assert one == sampling.content_hash(ArrayFrame.of(a.copy(), "b", Meta(kind="flat")))
    assert one != sampling.content_hash(ArrayFrame.of(a + 1, "a"))
    assert one != sampling.content_hash(ArrayFrame.of(a.reshape(90, 100), "a"))
    assert len(sampling.content_hash(ArrayFrame.of(np.stack([a, a, a])))) == len(one) == 20


def test_truth_sample_is_of_the_colours_it_says():
    sensor = Sensor(pattern=XTRANS, shape=(3000, 1200))
    letters = np.array([ord(c) for c in XTRANS], np.float32).reshape(6, 6)
    frame = ArrayFrame.of(np.tile(letters, (500, 200)), "x", Meta(pattern=sensor.pattern))
    assert len(sampling.bands(frame)) > 1
    for name, boxes in sampling.sample(frame).items():
        assert all(np.all(box == ord(name)) for box in boxes)


def test_truth_large_frames_are_only_sampled():
    read = []

    class Counting(Frame):
        def pixels(self, y0, y1, x0, x1):
            read.append((y1 - y0) * (x1 - x0))
            return np.random.default_rng(y0).normal(500, 5, (y1 - y0, x1 - x0)).round().astype(np.float32)

    frame = Counting(source="large", meta=Meta(shape=(4000, 6000)))
    pairs.pair_noise(frame, frame), sampling.content_hash(frame)
    assert sum(read) < 0.03 * 24e6  # two samples of an eightieth, and 8 rows
