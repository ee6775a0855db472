"""Files whose pixels change between two looks at them."""

import gzip
import os
import pickle
import shutil

import numpy as np
import oracles.decode as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masterlight import io
from masterlight.core import decode
from masterlight.core.errors import FrameError


@given(st.integers(1, 4), st.integers(1, 50), st.sampled_from(["u1", "u2", "u4"]), st.integers(0, 99))
def test_oracle_row_sums(rows, cols, dtype, seed):
    stored = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (rows, cols), dtype, endpoint=True)
    stored[0] = 0
    sums = np.empty(rows, np.uint32)
    decode.row_sums(stored, sums)
    assert sums.tolist() == oracle.row_sums(stored) and sums.all()


@pytest.fixture
def image(tmp_path):
    image = np.random.default_rng(0).integers(0, 60_000, (50, 401)).astype(np.uint16)
    io.write(tmp_path / "a.fits", image)
    return image


def write_over(path, y, x, value):
    """One pixel of a file changed in place, and its time set back."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(status.st_size - status.st_size % 2880 - 14 * 2880 + 2 * (y * 401 + x))
        file.write(bytes([value, value]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_truth_one_pixel_that_changes_is_seen_when_its_row_is_read_again(tmp_path, image):
    frame = io.read(tmp_path / "a.fits")
    assert np.array_equal(frame[:], image)
    for away in (frame, pickle.loads(pickle.dumps(frame))):
        assert np.array_equal(away[10:20, 300:], image[10:20, 300:])
    write_over(tmp_path / "a.fits", 25, 7, 77)
    assert not np.array_equal(io.read(tmp_path / "a.fits")[:], image), "it is in the image"
    for seen in (frame, pickle.loads(pickle.dumps(frame))):
        assert np.array_equal(seen[:25], image[:25])
        with pytest.raises(FrameError, match="has changed"):
            seen[20:30]
        with pytest.raises(FrameError, match="has changed"):
            seen.stored(20, 30, 0, 401)
        with pytest.raises(FrameError, match="has changed"):
            seen[25, 399:]


def test_truth_a_narrow_box_looks_at_a_whole_row_in_its_middle(tmp_path, image):
    frame = io.read(tmp_path / "a.fits")
    frame[:]
    write_over(tmp_path / "a.fits", 25, 7, 77)
    assert np.array_equal(frame[:10, 300:310], image[:10, 300:310])
    with pytest.raises(FrameError, match="has changed"):
        frame[20:31, 300:310]


@pytest.mark.parametrize("change", ["touched", "longer", "shorter", "exchanged", "gone"])
def test_truth_another_size_or_time_is_seen_at_once(tmp_path, image, change):
    path = tmp_path / "a.fits"
    frame = io.read(path)
    if change == "touched":
        os.utime(path, ns=(5, 5))
    elif change == "exchanged":
        shutil.copy(path, tmp_path / "b.fits")
        os.replace(tmp_path / "b.fits", path)
    elif change == "gone":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size + (2880 if change == "longer" else -2880))
    with pytest.raises(FrameError, match="no such file" if change == "gone" else "has changed") as told:
        frame[0]
    assert len(str(told.value)) < 300


def test_truth_of_a_packed_file_the_picture_is_that_of_the_file_that_was_opened(tmp_path, image):
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    early, late = io.read(packed), io.read(packed)
    assert np.array_equal(early[:], image)
    packed.write_bytes(gzip.compress(bytes(5000)))
    assert np.array_equal(early[:], image) and np.array_equal(late[:], image), "one twin for both"
    packed.write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    unread = io.read(packed)
    packed.write_bytes(gzip.compress(bytes(6000)))
    with pytest.raises(FrameError, match="has changed"):
        unread[:]
