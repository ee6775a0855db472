"""The fuzz over headers and files: 20 s of it in every test run, and that it does not look away."""

import subprocess
import sys
import time
from pathlib import Path

import fuzz
import numpy as np
import pytest

from masterlight.core.errors import FrameError


def test_truth_twenty_seconds_of_fuzz_find_nothing(tmp_path):
    words = [sys.executable, str(Path(fuzz.__file__)), "--seconds", "20", "--keep", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert int(done.stdout.split()[1]) > 100, done.stdout


def raised(error):
    def read(path):
        raise error

    return read


def badly_told(reason):
    """A FrameError whose reason was not brought into shape, as its own constructor does."""

    def read(path):
        error = FrameError(path, "")
        error.reason = reason
        raise error

    return read


def slow(path):
    until = time.process_time() + fuzz.MOST_S
    while time.process_time() <= until:
        np.sort(np.random.default_rng(1).random(1_000_000))
    raise FrameError(path, "cannot be read")


@pytest.mark.parametrize(
    "planted, told",
    [
        (raised(KeyError("NAXIS1")), "KeyError"),
        (badly_told("y" * 301), "301 letters"),
        (badly_told("two\nlines"), "no plain line"),
        (badly_told("\x1b[2J"), "no plain line"),
        (slow, "took"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, monkeypatch, planted, told):
    path = fuzz.healthy(tmp_path / "x.fits")
    assert fuzz.fault(path) == ("read", "")
    monkeypatch.setattr(fuzz, "read", planted)
    how, why = fuzz.fault(path)
    assert how == "fault" and told in why


def test_other_pixels_than_were_read_are_found(tmp_path, monkeypatch):
    path, real = fuzz.healthy(tmp_path / "x.fits"), fuzz.write
    monkeypatch.setattr(fuzz, "write", lambda target, frame: real(target, np.asarray(frame) + 1))
    assert "other pixels" in fuzz.fault(path)[1]


def test_a_number_gives_the_same_file_for_ever(tmp_path):
    contents = []
    for name in "ab":
        (tmp_path / name).mkdir()
        contents.append([fuzz.Fuzz(tmp_path / name, 1).make(n).read_bytes() for n in range(20)])
    assert contents[0] == contents[1]
