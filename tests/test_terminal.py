"""Streams that never end the work: closed, full, without a reader, ASCII alone."""

import io
import os
import subprocess
import sys

import pytest

from masterlight.doors.terminal import Steady, steady_streams

FULL = "/dev/full"
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full here")


def command(words: str, **more: str) -> subprocess.CompletedProcess:
    """What a shell command with `$ML` for masterlight does."""
    environment = os.environ | {"ML": f"{sys.executable} -m masterlight"} | more
    return subprocess.run(["bash", "-c", words], env=environment, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("ascii", "-10 deg C, 3 sigma x 2, Be\\u661f e \\udc61 -> \\xff"),
        ("latin-1", "-10 °C, 3 sigma × 2, Be\\u661f é \\udc61 -> \\xff"),
        ("utf-8", "-10 °C, 3 σ × 2, Be星 é \\udc61 → \\xff"),
    ],
)
def test_truth_an_output_gets_what_it_can_hold(encoding, told):
    kept = io.BytesIO()
    stream = Steady(io.TextIOWrapper(kept, encoding=encoding))
    stream.write("-10 °C, 3 σ × 2, Be星 é \udc61 → \udcff")
    stream.flush()
    assert kept.getvalue().decode(encoding) == told
    assert stream.error is None


def test_truth_a_stream_that_fails_takes_everything_from_then_on():
    class Broken(io.StringIO):
        encoding = "utf-8"

        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    stream = Steady(Broken())
    assert stream.write("one") == 3 and stream.write("two") == 3
    stream.flush()
    assert isinstance(stream.error, BrokenPipeError)


def test_truth_streams_are_given_back():
    before = sys.stdout, sys.stderr
    with steady_streams():
        assert isinstance(sys.stdout, Steady)
    assert (sys.stdout, sys.stderr) == before


@needs_full
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("$ML simulate n{0} --rows 64 --cols 64 --lights 1 --darks 0 --flats 0 --biases 0 > /dev/full", 0),
        ("$ML simulate n{0} --rows 64 --cols 64 --lights 1 --darks 0 --flats 0 --biases 0 >&- 2>&-", 0),
        ("$ML recipe > /dev/full", 2),
        ("$ML help > /dev/full 2> /dev/full", 2),
        ("$ML recipe >&-", 0),
        ("$ML recipe | head -1; exit ${{PIPESTATUS[0]}}", 0),
        ("$ML run nowhere -o x{0} 2>&-", 2),
    ],
)
def test_bad_outputs_never_end_the_work(words, status, tmp_path):
    done = command(f"cd {tmp_path}; " + words.format(""))
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    assert "simulate" not in words or (tmp_path / "n" / "truth.json").exists()


def test_truth_names_are_shown_where_only_ascii_can_be_printed(tmp_path):
    (tmp_path / os.fsdecode(b"M31 \xc3\xa9\x1b[7m_\xff.fits")).write_bytes(b"nonsense")
    done = command(f"cd {tmp_path}; $ML plan .", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert b"M31 e\\x1b[7m_\\xff.fits" in done.stdout + done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
