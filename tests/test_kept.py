"""What was made of a file is found again by its bytes alone, never for other bytes, and nothing stands in its way."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from masterlight.core.errors import FrameError, OutputError
from masterlight.io import Kept, kept


@dataclass(frozen=True, eq=False)
class Made:
    """Things of the kinds that measurements hold."""

    width: float
    spread: tuple[float, float]
    plane: np.ndarray | None = None


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.fits").write_bytes(np.random.default_rng(1).bytes(3 * kept.PIECE_BYTES + 1000))
    return tmp_path


def entries(place):
    return sorted((place / "cache" / "masterlight" / "things").iterdir())


def asked(path, made_of=(1,), value="made", fresh=False, **how):
    """Whether something had to be made for a file, and what came of it."""
    calls = []
    with Kept("things", fresh, **how) as keep:
        found = keep(path, made_of, lambda: calls.append(1) or value, (Made,))
    return bool(calls), found


def settle(monkeypatch):
    """From now on files count as settled at once; their times of change still differ by a tick of the clock."""
    monkeypatch.setattr(kept, "SETTLED_S", -10.0)


def test_truth_the_same_bytes_are_known_whatever_their_name_and_time(place):
    value = Made(2.5, (1.0, float("nan")), np.arange(6, dtype=np.float32).reshape(2, 3))
    assert asked(place / "a.fits", value=value)[0]
    shutil.copy(place / "a.fits", place / "b.fits")
    os.utime(place / "b.fits", (1, 1))
    made, found = asked(place / "b.fits", value=None)
    assert not made and isinstance(found, Made)
    assert found.width == 2.5 and found.spread[0] == 1.0 and np.isnan(found.spread[1])
    assert found.plane.dtype == np.float32 and np.array_equal(found.plane, value.plane)
    found.plane[0, 0] = 7  # its own, as if it had just been made


def test_truth_other_knobs_are_other_things(place):
    assert asked(place / "a.fits", (1, "moffat"))[0]
    assert asked(place / "a.fits", (2, "moffat"))[0]
    assert asked(place / "a.fits", (1, "gaussian"))[0]
    assert not asked(place / "a.fits", (1, "moffat"))[0]


@pytest.mark.parametrize("at", [0, kept.PIECE_BYTES, 2 * kept.PIECE_BYTES + 77, -1])
def test_truth_a_change_whose_time_was_set_back_is_seen(place, monkeypatch, at):
    settle(monkeypatch)
    path = place / "a.fits"
    asked(path, value="old")
    assert not asked(path)[0]  # by its times alone
    before, content = path.stat(), bytearray(path.read_bytes())
    time.sleep(0.02)  # a tick of the clock of the file system
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    assert asked(path, value="new") == (True, "new")
    content[at] ^= 1
    path.write_bytes(content)
    assert asked(path) == (False, "old")


def test_truth_a_file_that_was_just_written_is_read_again(place, monkeypatch):
    """Within one tick of the clock it may change once more, and nothing of its times."""
    path = place / "a.fits"
    asked(path)
    assert len(entries(place)) == 1  # what was made, no memory of when it was read
    monkeypatch.setattr(kept, "stamp_of", lambda about: (1, 2, 3))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert asked(path, value="new") == (True, "new")


@pytest.mark.skipif(os.name != "posix", reason="the system does not tell when a file was changed")
def test_truth_a_settled_file_is_not_read_again(place, monkeypatch):
    settle(monkeypatch)
    asked(place / "a.fits")
    monkeypatch.setattr(kept, "content_of", lambda path: pytest.fail("it was read"))
    assert not asked(place / "a.fits")[0]
    monkeypatch.undo()


@given(st.binary(min_size=1, max_size=300), st.data())
def test_truth_contents_differ_in_any_bit_and_in_any_order_of_pieces(content, data):
    def of(content):
        path.write_bytes(content)
        return kept.content_of(path)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "PIECE_BYTES", 64)
        path = Path(folder, "a")
        own, at, bit = of(content), data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
        assert of(content) == own
        assert of(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]) != own
        assert of(content[:-1]) != own and of(content + b"\0") != own
        turned = content[64:128] + content[:64] + content[128:]
        assert (of(turned) == own) == (turned == content)


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
planes = arrays(st.sampled_from(["<f4", "<f8", ">i2", "u1", "?"]), array_shapes(max_dims=3, max_side=4))
things = st.recursive(
    numbers | planes,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    | st.tuples(inner, inner) | st.builds(Made, inner, st.tuples(inner)),
    max_leaves=12,
)  # fmt: skip


def alike(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, Made):
        return type(b) is Made and all(alike(*pair) for pair in zip(vars(a).values(), vars(b).values(), strict=True))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or a != a and b != b)


@given(things)
def test_truth_a_value_comes_back_as_it_was(value):
    assert alike(value, kept.unpacked(kept.packed(value), {"Made": Made}))


def test_truth_numbers_of_numpy_keep_their_type():
    found = kept.unpacked(kept.packed({"a": np.float32(0.1), "b": np.float64(0.1), "c": np.int16(-3)}), {})
    assert found == {"a": np.float32(0.1), "b": 0.1, "c": -3}
    assert [type(value) for value in found.values()] == [np.float32, np.float64, np.int16]


def test_what_has_no_plain_form_is_made_each_time(place):
    assert asked(place / "a.fits", value=object())[0]
    assert asked(place / "a.fits", value=object())[0]


def test_an_entry_of_other_fields_is_made_anew(place):
    asked(place / "a.fits", value=Made(1.0, (1.0, 2.0)))
    later = make_dataclass("Made", ["width", "spread", "plane", "zones"])
    with Kept("things") as keep:
        assert keep(place / "a.fits", (1,), lambda: "anew", (later,)) == "anew"
    asked(place / "a.fits", (2,), value=Made(1.0, (1.0, 2.0)))
    with Kept("things") as keep:
        assert keep(place / "a.fits", (2,), lambda: "anew") == "anew"


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:-1], lambda b: b[:20], lambda b: b[:-3] + b"\0\0\0", lambda b: b + b"x"]
)
def test_a_damaged_entry_is_made_anew_and_mended(place, damage):
    value = Made(1.5, (1.0, 2.0), np.ones(5))
    asked(place / "a.fits", value=value)
    [entry] = entries(place)
    entry.write_bytes(damage(entry.read_bytes()))
    assert asked(place / "a.fits", value=value)[0]
    assert not asked(place / "a.fits")[0]


def test_fresh_makes_all_anew_and_keeps_that(place, monkeypatch):
    settle(monkeypatch)
    asked(place / "a.fits", value="old")
    assert asked(place / "a.fits", value="new", fresh=True) == (True, "new")
    assert asked(place / "a.fits") == (False, "new")


def test_errors_are_not_kept(place):
    def fail():
        raise FrameError("a.fits", "has changed since it was first read")

    with Kept("things") as keep, pytest.raises(FrameError, match="has changed"):
        keep(place / "a.fits", (1,), fail)
    assert asked(place / "a.fits")[0]


def test_a_file_that_changes_meanwhile_is_not_believed(place):
    def write_over():
        (place / "a.fits").write_bytes(b"other")
        return "of both"

    with Kept("things") as keep:
        assert keep(place / "a.fits", (1,), write_over) == "of both"
    assert entries(place) == []


def test_a_file_that_cannot_be_read_is_named(place):
    with Kept("things") as keep:
        with pytest.raises(FrameError, match="there is no such file"):
            keep(place / "gone.fits", (1,), lambda: 1)
        with pytest.raises(FrameError, match="is a folder"):
            keep(place, (1,), lambda: 1)


def test_truth_what_was_asked_for_last_stays(place):
    values = {i: np.zeros(10_000, np.uint8) for i in range(6)}
    for i, value in values.items():
        asked(place / "a.fits", (i,), value)
        os.utime(max(entries(place), key=os.path.getmtime), (1000 + i, 1000 + i))
    assert not asked(place / "a.fits", (0,))[0]  # the oldest, now the last that was asked for
    assert asked(place / "a.fits", (6,), values[5], most_bytes=50_000)[0]
    there = [i for i in range(7) if not asked(place / "a.fits", (i,), most_bytes=1 << 30)[0]]
    assert there == [0, 5, 6]  # four fifths of 50,000 bytes


def test_truth_room_is_made_while_much_is_kept(place):
    with Kept("things", most_bytes=100_000) as keep:
        for i in range(40):
            keep(place / "a.fits", (i,), lambda: np.zeros(5000, np.uint8))
            assert sum(path.stat().st_size for path in entries(place)) < 1.2 * 100_000


def test_a_folder_that_may_only_be_read_is_read(place, monkeypatch):
    """Found by a user whose cache another one filled: no entry was known, since none could be marked as asked for."""
    asked(place / "a.fits")

    def refuse(*_):
        raise PermissionError("read only")

    monkeypatch.setattr(os, "utime", refuse)
    assert asked(place / "a.fits", value="anew") == (False, "made")


def test_without_a_place_everything_is_made_anew_and_told_once(place, monkeypatch):
    (place / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "file"))
    with Kept("things") as keep:
        assert [keep(place / "a.fits", (1,), made) for made in (int, str, list)] == [0, "", []]
        assert "nothing can be kept" in keep.trouble and "XDG_CACHE_HOME" in keep.trouble
        assert len(keep.trouble) < 300 and "\n" not in keep.trouble


def test_a_full_disk_ends_keeping_and_not_the_work(place, monkeypatch):
    def full(*_, **__):
        raise OutputError("x: the disk is full") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept, "atomic", full)
    with Kept("things") as keep:
        assert keep(place / "a.fits", (1,), lambda: 5) == 5
        assert keep(place / "a.fits", (1,), lambda: 6) == 6
        assert "No space left on device" in keep.trouble and len(keep.trouble) < 300


def test_a_user_without_a_home_is_told(place, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(kept.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    if os.name == "posix":
        assert "no home" in Kept("things").trouble
        assert asked(place / "a.fits") == (True, "made")


TWO = """
import sys
import numpy as np
from masterlight.io import Kept

path, number = sys.argv[1], int(sys.argv[2])
for turn in range(60):
    with Kept("things", fresh=turn % 2 == 0, most_bytes=200_000) as keep:
        for k in range(10):
            found = keep(path, (k,), lambda: np.full(5000, k, np.uint16))
            assert found.shape == (5000,) and (found == k).all(), (turn, k)
        assert not keep.trouble, keep.trouble
print("done")
"""


def test_truth_processes_write_side_by_side_and_take_room_from_each_other(place):
    """200,000 bytes hold 20 of these entries, less one fifth 16: both make room while the other reads and writes."""
    command = [sys.executable, "-c", TWO, str(place / "a.fits")]
    runs = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(2)]
    for run in runs:
        out, err = run.communicate(timeout=60)
        assert out.split() == [b"done"], err.decode()
    assert all(path.name.endswith(".kept") for path in entries(place))
