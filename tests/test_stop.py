"""Signals: SIGTERM and SIGHUP end a verb as Ctrl-C does, and nothing half-done is left."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import sky
from astropy.io import fits

from masterlight.doors import stop

CLI = [sys.executable, "-m", "masterlight.doors.cli"]


def ended(command, folder, after_s, number, **how):
    """(status, what it said) of a verb that gets a signal so long after its folder was made."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how) as running:
        while not folder.exists() and running.poll() is None:  # on a busy machine it takes a while to begin
            time.sleep(0.02)
        time.sleep(after_s)
        running.send_signal(number)
        _, told = running.communicate(timeout=120)
    return running.returncode, told


@pytest.mark.parametrize(("name", "moments"), [("SIGKILL", (0.2, 0.5, 0.9)), ("SIGTERM", (0.4, 0.7))])
def test_truth_runs_that_are_ended_cost_no_bit_and_leave_nothing(tmp_path, name, moments):
    """At parts of what a run has to say; one light is packed, so that there are temporary files as well."""
    night, tmp, number = tmp_path / "night", tmp_path / "tmp", getattr(signal, name)
    shutil.copytree(sky.written().folder, night), tmp.mkdir()
    light = sorted(night.rglob("LIGHT/*.fits"))[1]
    light.with_suffix(".fits.gz").write_bytes(gzip.compress(light.read_bytes(), 1)), light.unlink()
    how, command = {"env": os.environ | {"TMPDIR": str(tmp)}, "text": True}, [*CLI, "run", str(night), "--out"]
    said = subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True, **how).stdout
    for moment in moments:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*command, str(tmp_path / "out")], **pipes, **how) as running:
            for _ in range(int(moment * said.count("\n"))):
                running.stdout.readline()
            running.send_signal(number)
            _, told = running.communicate(timeout=120)
        assert running.returncode in (0, -number, 128 + number) and "Traceback" not in told
        assert name == "SIGKILL" or not list(tmp.iterdir())
    subprocess.run([*command, str(tmp_path / "out")], check=True, capture_output=True, **how)
    for path in sorted((tmp_path / "whole").rglob("*.fits")):
        twin = tmp_path / "out" / path.relative_to(tmp_path / "whole")
        assert np.array_equal(fits.getdata(path), fits.getdata(twin), equal_nan=True), path.name
    whole, out = ({p.relative_to(f) for p in f.rglob("*")} for f in (tmp_path / "whole", tmp_path / "out"))
    assert out == whole and not list(tmp.iterdir())


@pytest.mark.parametrize(("name", "after_s"), [("SIGTERM", 0.1), ("SIGTERM", 1.5), ("SIGHUP", 0.5), ("SIGINT", 0.7)])
def test_truth_a_signal_ends_a_verb_tidily(tmp_path, name, after_s):
    number = getattr(signal, name)
    command = [*CLI, "simulate", str(tmp_path / "night"), "--rows", "1500", "--cols", "2000", "--lights", "500"]
    status, told = ended(command, tmp_path / "night", after_s, number, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert status == 128 + number
    assert told.count("\n") == 1 and "interrupted; what was finished is whole" in told
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name or path.name.startswith("masterlight-")]


def test_truth_handlers_stand_only_while_a_verb_works():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    with stop.stoppable():
        assert signal.getsignal(signal.SIGTERM) is stop.stop
        stop.heed()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


def test_truth_a_signal_that_is_ignored_stays_so():
    """As nohup wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop.stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert stop.status() == 128 + signal.SIGINT, "no signal was seen"
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_truth_a_signal_that_python_drops_is_heeded_at_the_next_event():
    class Unlucky:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(stop.Stopped), stop.stoppable():
            try:
                Unlucky()
            except stop.Stopped:  # where the interpreter does not drop it
                raise
            stop.heed()
        assert stop.status() == 143
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop._SEEN.clear()
