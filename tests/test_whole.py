"""A file is whole or not there, whatever ends the writing of it; what dead processes leave is removed, no more."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from masterlight.core.errors import OutputError
from masterlight.io import atomic, scratch, whole, write
from masterlight.io.fits import writer

LIMITED = """
import resource, sys
import numpy as np
from masterlight.core.errors import OutputError
from masterlight.io import atomic, counts, write
from masterlight.io.raster import write_png

noise = np.random.default_rng(1).normal(1000, 30, (60, 80)).astype(np.float32)
planes = {"IMAGE": noise, "COVERAGE": noise, "REJ_LOW": counts((noise > 1000).astype(np.int16), 9), "RECIPE": "a = 1"}


def archive(path):
    with atomic(path) as file:
        np.savez_compressed(file, noise=noise)


def text(path):
    with atomic(path) as file:
        file.write(b"x" * 9000)


FILES = {
    "a.fits": lambda path: write(path, planes, compress={"COVERAGE"}),
    "a.png": lambda path: write_png(path, np.random.default_rng(1).integers(0, 255, (60, 80), np.uint8)),
    "a.npz": archive, "a.json": text,
}
name, folder, *limits = sys.argv[1:]
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        FILES[name](f"{folder}/{limit}-{name}")
    except OutputError as error:
        assert "larger than a file may be" in str(error), error
"""


def python(script, *arguments, **how):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, **how).stdout


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of file sizes")
@pytest.mark.parametrize("name", ["a.fits", "a.png", "a.npz", "a.json"])
def test_truth_a_limit_of_file_size_leaves_a_whole_file_or_none(tmp_path, name):
    python(LIMITED, name, tmp_path, 10**9)
    size = (tmp_path / f"1000000000-{name}").stat().st_size
    limits = [*range(0, size, max(1, size // 12)), size - 1, size]
    python(LIMITED, name, tmp_path, *limits)
    left = {path.name: path for path in tmp_path.iterdir()}
    assert left.keys() == {f"1000000000-{name}", f"{size}-{name}"}, "where it fits, and nothing of ours besides"
    if name == "a.fits":
        with fits.open(left[f"{size}-{name}"], checksum=True) as hdus:
            assert [hdu.name for hdu in hdus] == ["IMAGE", "COVERAGE", "REJ_LOW", "RECIPE"]
            assert all(np.isfinite(hdu.data).all() for hdu in hdus[:3])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_truth_a_full_disk_leaves_a_whole_file_or_none(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        image = np.ones((60, 80), np.float32)
        for fill in range(0, 92, 13):
            (tmp_path / "fill").write_bytes(bytes(1024 * fill))
            try:
                write(tmp_path / "a.fits", {"IMAGE": image, "B": image})
                with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
                    assert len(hdus) == 2
                (tmp_path / "a.fits").unlink()
            except OutputError as error:
                assert "the disk is full" in str(error)
            assert os.listdir(tmp_path) == ["fill"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("at", [0, 3000, 6000, -1])
def test_truth_sums_tell_of_one_changed_byte(tmp_path, at):
    write(tmp_path / "a.fits", {"IMAGE": np.ones((60, 80), np.float32), "TABLE": "some words"})
    content = bytearray((tmp_path / "a.fits").read_bytes())
    content[at] ^= 4
    (tmp_path / "a.fits").write_bytes(content)
    with open(tmp_path / "a.fits", "rb") as file:
        assert not writer.sums_agree(file)


def test_truth_what_the_disk_does_not_give_back_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "sums_agree", lambda file: False)
    with pytest.raises(OutputError, match="does not give back"):
        write(tmp_path / "a.fits", np.ones((4, 4)))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EIO, "disk failed"), (errno.EFBIG, "larger than")],
)
def test_truth_a_fault_that_shows_when_synced_is_told(tmp_path, monkeypatch, code, words):
    def fail(handle):
        raise OSError(code, os.strerror(code))

    (tmp_path / "a.txt").write_text("before")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=words) as told, atomic(tmp_path / "a.txt") as file:
        file.write(b"after")
    assert len(str(told.value)) < 300 and (tmp_path / "a.txt").read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


HOLDING = """
import sys, time
from masterlight.io import atomic, scratch
with atomic(sys.argv[1]) as file:
    file.write(b"half")
    open(scratch.scratch_folder() + "/twin", "w").write("pixels")
    print(scratch.scratch_folder(), flush=True)
    time.sleep(60)
"""
AGAIN = """
import sys
from masterlight.io import atomic, scratch
with atomic(sys.argv[1]) as file:
    file.write(b"whole")
scratch.scratch_folder()
"""


def test_truth_the_next_process_clears_what_a_dead_one_left_and_nothing_else(tmp_path):
    (tmp_path / "tmp").mkdir(), (tmp_path / "out").mkdir()
    (tmp_path / "out/.masterlight-mine").write_text("of the user"), (tmp_path / "tmp/masterlight-mine").mkdir()
    space = {"env": os.environ | {"TMPDIR": str(tmp_path / "tmp")}}
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "out/a.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **space) as running:
        twins = Path(running.stdout.readline().strip())
        assert (twins / "twin").exists()
        python(AGAIN, tmp_path / "out/b.txt", **space)
        assert (twins / "twin").exists(), "the folder of a process that lives"
        assert len(list((tmp_path / "out").glob(".masterlight-*.partial"))) == 1
        running.send_signal(signal.SIGKILL)
    assert (twins / "twin").exists()
    python(AGAIN, tmp_path / "out/b.txt", **space)
    assert sorted(os.listdir(tmp_path / "tmp")) == ["masterlight-mine"]
    assert sorted(os.listdir(tmp_path / "out")) == [".masterlight-mine", "b.txt"]


def test_truth_what_another_host_made_is_left_for_a_day(tmp_path):
    mine = tmp_path / f".masterlight-{whole.host_mark()}-1.partial"
    other = tmp_path / ".masterlight-abcdef-1.partial"
    for path in (mine, other):
        path.write_bytes(b"half")
    whole.clear_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [other.name]
    os.utime(other, (0, 0))
    whole.clear_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


def test_truth_scratch_wants_no_more_room_than_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "scratch_folder", lambda: str(tmp_path))
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda path: whole.shutil._ntuple_diskusage(10**6, 0, 5000))
    assert scratch.plain_twin("a", (1,), 5000, lambda target: Path(target).write_bytes(bytes(5000)))
    with pytest.raises(OutputError, match="no room"):
        scratch.plain_twin(__file__, (2,), 5001, lambda target: None)


def test_truth_without_locks_nothing_of_a_living_process_is_removed(tmp_path, monkeypatch):
    """Where the system has no locks it does not let an open file be removed either, and that tells who lives."""
    lock = tmp_path / f"{scratch.START}{whole.host_mark()}-00000000{scratch.LOCK}"
    folder = lock.with_suffix("")
    for path in (lock, folder / "twin"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    monkeypatch.setattr(whole, "fcntl", None)

    def held(self, missing_ok=False):
        raise PermissionError(13, "used by another process")

    with monkeypatch.context() as patched:
        patched.setattr(type(lock), "unlink", held)
        scratch.clear_scratch(tmp_path)
    assert (folder / "twin").exists()
    scratch.clear_scratch(tmp_path)
    assert not folder.exists() and not lock.exists()
