"""Where work runs: in this thread, on threads, or on a dask cluster, all behind one interface.

Kernels release the GIL, so threads are enough on one machine. `each` hands items to an executor
and yields an `Event` as each is done; the caller watches events and never sees the executor.
An executor of other processes gets a task and its items once for each process, and then numbers of items.
"""

import ctypes
import difflib
import operator
import os
import pickle
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from masterlight.core.errors import MasterlightError, ParameterError, Rejected

Pool = tuple[Executor, int]
"""An executor and how many tasks it runs at once."""


MOST_THREADS = 4096
DASK = re.compile(r"dask://(\[[0-9a-fA-F:.]+\]|[^/:\s\[\]]+)(:\d{1,5})?/?")


@dataclass(frozen=True)
class Event:
    """One thing that happened: progress when `total` is set, a sentence for the process console when `message` is."""

    stage: str
    done: int = 0
    total: int = 0
    item: Any = None
    result: Any = None
    message: str = ""
    detail: bool = False
    """Whether the sentence tells of one frame among many, all well: for console.txt, not for the screen."""


T = TypeVar("T")
Events = Generator[Event, None, T]
"""What happens while something is made, and then what was made."""


class Once:
    """Values by name, each made by the first that asks; others wait for it. Cheap to pickle.

    kept: whether what was made goes along when it is pickled, as small results of much work should.
    """

    def __init__(self, kept: bool = False, made: dict | None = None):
        self.kept, self.made, self.lock = kept, dict(made or {}), threading.RLock()

    def __reduce__(self):
        return Once, (self.kept, self.made if self.kept else None)

    def __call__(self, name: Any, make: Callable[[], Any]) -> Any:
        """The value of this name, made by `make` if it is not there yet."""
        with self.lock:
            if name not in self.made:
                self.made[name] = make()
            return self.made[name]

    def clear(self) -> None:
        """Let all values go; they are made again when they are needed."""
        with self.lock:
            self.made.clear()


class Serial(Executor):
    """An executor of one: the task runs when it is submitted, in the calling thread."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Cluster(Executor):
    """The processes of a dask scheduler, on this machine or others that see the same files."""

    def __init__(self, client: Any):
        self.client, self.tasks = client, client.get_executor()
        threads = client.ncores()
        self.width, self.processes = sum(threads.values()), len(threads)

    def submit(self, fn, /, *args, **kwargs):
        return self.tasks.submit(fn, *args, **kwargs)

    def share(self, task: Callable, items: Sequence) -> Any:
        """What stands for `Shared(task, items)` in `submit`: it goes to every process now, and not with each item."""
        return self.client.scatter(Shared.of(task, items), broadcast=True, hash=False)


class Shared:
    """A task and its items in another process, made there of their bytes once; called with the number of an item."""

    def __init__(self, content: bytes):
        self.content, self.made = content, Once()

    @classmethod
    def of(cls, task: Callable, items: Sequence) -> "Shared":
        """Pickled together, so that what frames have in common, such as their masters, stays in common."""
        import cloudpickle  # comes with dask; takes functions that a module does not name, too

        return cls(cloudpickle.dumps((task, items)))

    def __call__(self, i: int) -> Any:
        task, items = self.made("task", lambda: pickle.loads(self.content))
        return task(items[i])


def processes(pool: Pool) -> int:
    """How many processes an executor works in; each has masters and other things of its own in memory."""
    return getattr(pool[0], "processes", 1)


def core_count() -> int:
    """Cores this process may use, which in a container or under taskset is fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Ask the C library to keep freed blocks for the next task instead of giving them back to the system each time.

    A run frees and asks for blocks of a few MB thousands of times; when each goes back and forth, the system spends
    a third of all CPU time on clearing pages (measured: 12 of 35 seconds). Does nothing where there is no glibc.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in ((mmap_threshold, 32 << 20), (trim_threshold, 1 << 30), (top_pad, 64 << 20)):
            mallopt(name, value)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While it is entered, linear algebra of libraries that are loaded by then takes one thread.

    For many small fits: the threads of such a library spin while they wait for each other, on the cores of ours.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def machine_memory_mb() -> float:
    """Physical memory of the machine; 4000 where the system does not tell."""
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    return 4000.0


def check_workers(where: str) -> str:
    """The name of a place to compute, as `executor` takes it; ValueError with what is allowed."""
    kind, _, rest = where.partition(":")
    if kind == "threads" and rest and not (rest.isdecimal() and rest.isascii() and 0 < int(rest[:9]) <= MOST_THREADS):
        raise ValueError(f"'{where:.60}': after 'threads:' comes a number of threads from 1 to {MOST_THREADS}")
    if kind == "dask" and not DASK.fullmatch(where):
        raise ValueError(
            f"'{where:.60}': after 'dask:' comes the address of a scheduler, such as dask://192.168.0.7:8786"
        )
    if kind not in ("serial", "threads", "dask") or (kind == "serial" and where != kind):
        near = difflib.get_close_matches(kind, ("serial", "threads", "dask"), 1)
        known = "there are serial, threads, threads:N and dask://host:port"
        raise ValueError(f"'{where:.60}' is no place to compute; {f'did you mean {near[0]}? ' if near else ''}{known}")
    return where


@contextmanager
def executor(where: str = "threads") -> Iterator[Pool]:
    """Open the executor named by `where` and tell how many tasks it runs at once.

    "serial", "threads" (one per core), "threads:4", or "dask://host:port" for a distributed
    scheduler whose workers see the same files.
    """
    try:
        kind, _, count = check_workers(where).partition(":")
    except ValueError as error:
        raise ParameterError(f"Recipe.workers {error}") from None
    if kind == "serial":
        yield Serial(), 1
    elif kind == "threads":
        width = int(count) if count else core_count()
        with ThreadPoolExecutor(width, thread_name_prefix="masterlight") as pool:
            try:
                yield pool, width
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    else:
        with dask_client(where) as client:
            cluster = Cluster(client)
            yield cluster, cluster.width


def dask_client(where: str) -> Any:
    """The client of the scheduler at `dask://host:port`, which has workers."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ParameterError("Recipe.workers dask needs the dask extra: pip install 'masterlight[dask]'") from error
    try:
        client = Client("tcp" + where.removeprefix("dask"), timeout=10)
    except (OSError, ValueError) as error:
        raise ParameterError(f"Recipe.workers {where}: no dask scheduler answers there ({error})") from error
    if not client.ncores():
        client.close()
        raise ParameterError(f"Recipe.workers {where}: this scheduler has no workers; start some with `dask worker`")
    return client


def each(
    stage: str, pool: Pool, task: Callable, items: Iterable, keep_going: bool = True, in_flight: int | None = None
) -> Generator[Event, None, None]:
    """Run `task(item)` for every item and yield an Event as each is done, in order of completion.

    With `keep_going` an error in one item becomes its result, a `Rejected`; without, it is raised.
    At most `in_flight` items, by default two per worker, are at work or waiting to be taken, which bounds the memory.
    """
    run, width = pool
    in_flight = in_flight or 2 * width
    items = list(items)
    shared = run.share(task, items) if items and hasattr(run, "share") else None
    waiting, pending, done = iter(enumerate(items)), {}, 0

    def feed():
        for i, item in waiting:
            future = run.submit(task, item) if shared is None else run.submit(operator.call, shared, i)
            pending[future] = item
            if len(pending) >= in_flight:
                return

    feed()
    try:
        while pending:
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                item, done = pending.pop(future), done + 1
                try:
                    result = future.result()
                except (MasterlightError, OSError, ValueError, ArithmeticError, MemoryError) as error:
                    if not keep_going:
                        raise
                    result = Rejected.of(getattr(item, "source", item), stage, error)
                yield Event(stage, done, len(items), item, result)
            feed()
    finally:
        for future in pending:
            future.cancel()
