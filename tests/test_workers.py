"""Executors behind one interface: the same results, in any of them."""

import pytest

from masterlight.core.errors import FrameError, ParameterError, Rejected
from masterlight.core.workers import each, executor


def halve(n):
    if n == 3:
        raise FrameError("light_3.fits", "is torn")
    return n / 2


@pytest.mark.parametrize("where", ["serial", "threads", "threads:3"])
def test_truth_every_item_is_done_once(where):
    with executor(where) as pool:
        events = list(each("halve", pool, halve, range(20)))
    assert sorted(e.item for e in events) == list(range(20))
    assert [e.done for e in events] == list(range(1, 21))
    assert all(e.total == 20 for e in events)
    lost = next(e.result for e in events if e.item == 3)
    assert lost == Rejected("3", "halve", "is torn")
    assert not lost
    assert all(e.result == e.item / 2 for e in events if e.item != 3)


def test_truth_an_error_ends_the_work_when_nothing_may_be_lost():
    with executor("threads:2") as pool, pytest.raises(FrameError, match="light_3.fits: is torn"):
        list(each("halve", pool, halve, range(20), keep_going=False))


def test_truth_a_fault_of_the_program_is_not_taken_for_a_bad_frame():
    with executor("serial") as pool, pytest.raises(TypeError):
        list(each("add", pool, lambda n: n + "1", [1]))


def test_truth_work_in_flight_is_bounded():
    running, most = [0], [0]

    def task(_):
        running[0] += 1
        most[0] = max(most[0], running[0])
        running[0] -= 1

    with executor("threads:4") as pool:
        list(each("count", pool, task, range(50), in_flight=1))
    assert most[0] == 1


@pytest.mark.parametrize("where", ["moon", "threads:many", "threads:0"])
def test_bad_place_is_told(where):
    with pytest.raises(ParameterError, match="workers="), executor(where):
        pass
