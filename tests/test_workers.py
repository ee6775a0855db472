"""Executors behind one interface: the same results, in any of them."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import sky
from astropy.io import fits
from threadpoolctl import threadpool_info

import masterlight as ml
from masterlight.core.errors import FrameError, ParameterError, Rejected
from masterlight.core.workers import Serial, Shared, each, executor, one_blas_thread
from masterlight.night.run import Run
from masterlight.night.walk import walk


def halve(n):
    if n == 3:
        raise FrameError("light_3.fits", "is torn")
    return n / 2


@pytest.mark.parametrize("where", ["serial", "threads", "threads:3"])
def test_every_item_is_done_once(where):
    with executor(where) as pool:
        events = list(each("halve", pool, halve, range(20)))
    assert sorted(e.item for e in events) == list(range(20))
    assert [e.done for e in events] == list(range(1, 21))
    assert all(e.total == 20 for e in events)
    lost = next(e.result for e in events if e.item == 3)
    assert lost == Rejected("3", "halve", "light_3.fits: is torn")  # of another file than the item
    assert not lost
    assert all(e.result == e.item / 2 for e in events if e.item != 3)


def test_an_error_ends_the_work_when_nothing_may_be_lost():
    with executor("threads:2") as pool, pytest.raises(FrameError, match="light_3.fits: is torn"):
        list(each("halve", pool, halve, range(20), keep_going=False))


def test_a_fault_of_the_program_is_not_taken_for_a_bad_frame():
    with executor("serial") as pool, pytest.raises(TypeError):
        list(each("add", pool, lambda n: n + "1", [1]))


def test_work_in_flight_is_bounded():
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
    with pytest.raises(ParameterError, match="Recipe.workers "), executor(where):
        pass


class Elsewhere(Serial):
    """Stands for other processes: what goes there is pickled, and weighed."""

    def __init__(self):
        self.bytes_each, self.bytes_once = [], []

    def share(self, task, items):
        self.bytes_once.append(len(content := pickle.dumps((task, items))))
        return Shared(content)

    def submit(self, fn, task, item):
        self.bytes_each.append(len(pickle.dumps((fn, item))))
        return super().submit(fn, task, item)


def test_what_is_sent_with_each_item_does_not_grow_with_the_night(tmp_path):
    sizes = {}
    for lights in (20, 200):
        truth = sky.written(**sky.CALM, rows=160, cols=200, stars=60, lights=lights, biases=3, darks=3, flats=3)
        there = Elsewhere()
        run = Run.of(ml.plan(ml.scan(truth.folder)), tmp_path / str(lights), ml.Recipe(force=True), (there, 1))
        *_, done = walk(run)
        assert done.result.lights[0].frames_used > 0.9 * lights
        assert len(there.bytes_each) > 4 * len(there.bytes_once)
        sizes[lights] = max(there.bytes_each)
    assert sizes[20] == sizes[200] < 100


@pytest.fixture(scope="module")
def cluster():
    """The address of a dask scheduler with two worker processes."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as two:
        yield "dask" + two.scheduler_address.removeprefix("tcp")


def test_bad_scheduler_without_workers_is_told():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp") as none:
        where = "dask" + none.scheduler_address.removeprefix("tcp")
        with pytest.raises(ParameterError, match="has no workers"), executor(where):
            pass


class Counted:
    """Counts how often it was called where it is."""

    def __init__(self):
        self.calls = 0

    def __call__(self, n):
        self.calls += 1
        return self.calls


def test_a_task_is_made_once_in_each_process(cluster):
    with executor(cluster) as pool:
        assert pool[1] == 2
        counts = [event.result for event in each("count", pool, Counted(), range(20))]
    assert max(counts) >= 10, "of two counters that count to 20 together, one comes to 10"


def test_functions_without_a_name_run_on_a_cluster_and_errors_come_back(cluster):
    with executor(cluster) as pool:
        results = {event.item: event.result for event in each("divide", pool, lambda n: 6 / (n - 3), range(5))}
    assert results.pop(3) == Rejected("3", "divide", "division by zero")
    assert results == {n: 6 / (n - 3) for n in (0, 1, 2, 4)}


def contents(folder):
    """Every plane and table of every product but the recipe, which names the place where it was made."""
    found = {}
    for path in folder.rglob("*.fits"):
        with fits.open(path) as hdus:
            kept = (hdu for hdu in hdus if hdu.data is not None and hdu.name != "RECIPE")
            found |= {(path.name, hdu.name): hdu.data.tobytes() for hdu in kept}
    return found


def on_threads(folder, out, knobs):
    """The products of a night walked by a process of its own."""
    (out.parent / "recipe.toml").write_text(ml.to_toml(ml.build(ml.Recipe, {"workers": "threads:2", **knobs})))
    command = ["run", str(folder), "--out", str(out), "-r", str(out.parent / "recipe.toml"), "-q"]
    subprocess.run([sys.executable, "-m", "masterlight", *command], check=True, capture_output=True)
    return contents(out)


@pytest.mark.parametrize(
    ("night", "knobs"),
    [
        ({"lights": 5}, {}),
        (
            {"lights": 5, "pattern": "GRBG", "dark_exposure_s": 300.0},
            {"calibrate.dark_scaling": "fit", "align.planes": "each", "drizzled": True},
        ),
    ],
    ids=["mono", "colour, scaled darks, drizzle"],
)
def test_a_night_on_two_processes_has_the_bits_of_threads(cluster, tmp_path, night, knobs):
    if "drizzled" in knobs:
        pytest.importorskip("drizzle")
    truth, knobs = sky.written(**night, trails=1, cloudy=0), knobs | {"force": True}
    threads = on_threads(truth.folder, tmp_path / "threads", knobs)
    *_, done = ml.run(truth.folder, tmp_path / "processes", ml.build(ml.Recipe, {"workers": cluster, **knobs}))
    assert done.result.exit_status == 0
    processes = contents(tmp_path / "processes")
    if processes != threads:  # star fits of a process that compiled its kernels differ in the last bit: once more
        threads = on_threads(truth.folder, tmp_path / "again", knobs)
    assert len(threads) >= 9 and processes.keys() == threads.keys()
    assert [name for name, bits in threads.items() if bits != processes[name]] == []


def test_truth_small_fits_take_one_thread_of_linear_algebra_and_give_the_others_back():
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    np.linalg.eigh(np.eye(3))
    before = threads()
    assert before, "no linear algebra is loaded"
    with one_blas_thread():
        assert set(threads()) == {1}
    assert threads() == before
