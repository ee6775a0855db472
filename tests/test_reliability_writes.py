"""Full disks, file-size limits and kills: a product is whole or not there, and the next run finds nothing in its way.

A few of each in every test run; all of them by `make reliability`, which sets MASTERLIGHT_WHOLE.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import bed
import pytest
from astropy.io import fits
from bed import broken, do, lay

WHOLE = bool(os.environ.get("MASTERLIGHT_WHOLE"))
COUNT = 60 if WHOLE else 5
RUN = ["run", "night", "--out", "out"]
LIGHT = "out/master_light_Field-7_L.fits"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts are those of Linux")


@pytest.fixture(scope="module")
def warm():
    return bed.warm()


@pytest.fixture(scope="module")
def healthy(warm, tmp_path_factory):
    """An undisturbed run: the sums of its master light, and the bytes of its largest file."""
    place = night(warm, tmp_path_factory.mktemp("healthy") / "bed")
    started = time.monotonic()
    done = do(warm, place, RUN)
    assert done.status == 0, done
    sizes = [path.stat().st_size for path in (place / "out").rglob("*.*")]
    return sums(place), (place / LIGHT).stat().st_size, sum(sizes), time.monotonic() - started


def night(warm, place):
    """A bed with a packed light, so that there are scratch files too."""
    import gzip

    lay(warm, place)
    light = place / "night/LIGHT/L1.fits"
    light.with_suffix(".fits.gz").write_bytes(gzip.compress(light.read_bytes(), mtime=0))
    light.unlink()
    return place


def sums(place) -> list[str]:
    """What every part of the master light holds, by its DATASUM."""
    assert not broken(place / LIGHT)
    with fits.open(place / LIGHT, disable_image_compression=True) as hdus:
        return [f"{hdu.name} {hdu.header['DATASUM']}" for hdu in hdus]


def remains(place) -> list[str]:
    """Files of ours that are no products; Python tries with four bytes whether it can write into a temporary folder."""
    partial = [path.name for path in place.rglob("*") if "partial" in path.name]
    probes = {path for path in (place / "scratch").glob("*") if len(path.name) == 8 and path.stat().st_size <= 4}
    return partial + [path.name for path in (place / "scratch").glob("*") if path not in probes]


def judge(place, done) -> None:
    """A product is whole or not there; the status tells which; nothing else is left."""
    assert done.status in (0, 1, 2), done
    assert "Traceback" not in done.err, done.err
    for path in place.glob("out/**/*.fits"):
        assert not broken(path), f"{path.name}: {broken(path)}"
    for path in place.glob("out/**/*.json"):
        json.loads(path.read_text())
    for path in place.glob("out/**/*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), f"{path.name} is cut"
    made = [place / LIGHT, place / "out/deep.fits"]
    assert any(path.is_file() for path in made) or done.status == 2, done
    if done.status == 2:
        words = done.err.strip().splitlines()
        assert len(words) == 1 and words[0].startswith("masterlight: ") and len(words[0]) <= 300, done.err
    assert not remains(place)


@pytest.mark.parametrize("verb", ["run", "integrate"])
def test_truth_a_file_size_limit_leaves_a_whole_master_or_none(warm, healthy, tmp_path, verb):
    argv = RUN if verb == "run" else ["integrate", "night/LIGHT", "-o", "out/deep.fits", "--force"]
    top = healthy[1] + 2880
    for i, limit in enumerate(top * k // (COUNT - 1) for k in range(COUNT)):
        place = night(warm, tmp_path / f"{i}")
        done = do(warm, place, argv, limits={"FSIZE": limit})
        judge(place, done)
        assert limit >= 200_000 or done.status == 2 or top < 200_000, (limit, done)
        shutil.rmtree(place)


def can_mount(place) -> bool:
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        return False
    return subprocess.run(["umount", str(place)]).returncode == 0


@pytest.mark.parametrize("verb", ["run", "integrate"])
def test_truth_a_full_disk_leaves_a_whole_master_or_none(warm, healthy, tmp_path, verb):
    if not can_mount(tmp_path / "probe"):
        pytest.skip("no file system can be mounted here")
    argv = RUN if verb == "run" else ["integrate", "night/LIGHT", "-o", "out/deep.fits", "--force"]
    top = healthy[2] * 5 // 4
    for i, size in enumerate(4096 + top * k // (COUNT - 1) for k in range(COUNT)):
        place = night(warm, tmp_path / f"{i}")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place / "out")], check=True)
        try:
            judge(place, do(warm, place, argv))
        finally:
            subprocess.run(["umount", str(place / "out")], check=True)
        shutil.rmtree(place)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM], ids=lambda sent: sent.name)
def test_truth_after_a_kill_the_next_run_gives_the_same_bits_and_leaves_nothing(warm, healthy, tmp_path, sent):
    rng, ended = random.Random(sent), 0
    for i in range(COUNT):
        place = night(warm, tmp_path / f"{i}")
        pid = warm.start(*RUN, cwd=place, env={"TMPDIR": str(place / "scratch")})
        time.sleep(rng.uniform(0.02, healthy[3]))
        with suppress(ProcessLookupError):  # it has ended
            os.kill(pid, sent)
        done = warm.finish()
        ended += done.status not in (0, 1)
        if sent == signal.SIGTERM and done.status not in (0, 1):
            assert done.status in (128 + sent, -sent), done  # -sent: before anything was begun
            assert not remains(place), (done, remains(place))
        for path in place.glob("out/**/*.fits"):
            assert not broken(path), f"{path.name}: {broken(path)}"
        again = do(warm, place, RUN)
        assert again.status == 0, again
        assert sums(place) == healthy[0]
        assert not remains(place)
        shutil.rmtree(place)
    assert ended, "every run had ended before it was killed"
