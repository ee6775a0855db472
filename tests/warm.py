"""Commands run quickly and watched closely: a warm process forks a child for each, with no start and no compiling.

    with Warm() as warm:
        done = warm("run", "night", "--out", "out", cwd=folder)
        done.status, done.out, done.err, done.cpu_s, done.rss_mb

The warm process is a program of its own (this file), without threads, so that it may fork; a child has its own session,
standard output, folder, environment and limits, ends as any program ends, and is measured by the system.
"""

import atexit
import gc
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

HUNG_S = 40
"""After so long a child is ended; its status is -14 then."""
AGAIN, COMPILED_KB = "again", 500_000
"""A warm process that has compiled kernels holds more memory than a program that loads them: it starts once more."""


class Done(NamedTuple):
    """What came of a command."""

    argv: tuple[str, ...]
    status: int
    """Its exit status; negative, the signal that ended it."""
    out: str
    err: str
    cpu_s: float
    rss_mb: float


class Warm:
    """The warm process, seen from a test."""

    def __init__(self):
        words = [sys.executable, "-W", "ignore", __file__]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.bed = Path(self.read()["bed"])
        """The folder of a healthy night, its masters and what else the verbs take (see `bed`)."""

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *error) -> None:
        self.process.stdin.close()
        self.process.wait()

    def read(self) -> dict:
        line = self.process.stdout.readline()
        assert line, "the warm process has ended"
        return json.loads(line)

    def start(self, *argv, cwd: Path, env: dict | None = None, limits: dict | None = None) -> int:
        """Begin a command and give its process number; `finish` waits for it. One at a time."""
        self.cwd, self.argv = Path(cwd), tuple(map(str, argv))
        order = {"argv": self.argv, "cwd": str(cwd), "env": env or {}, "limits": limits or {}}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.read()["pid"]

    def finish(self) -> Done:
        found = self.read()
        files = [self.cwd / f".{name}" for name in ("out", "err")]  # not there when it was ended at once
        out, err = (file.read_text("utf-8", "replace") if file.exists() else "" for file in files)
        return Done(self.argv, found["status"], out, err + found["err"], found["cpu_s"], found["rss_mb"])

    def __call__(self, *argv, **how) -> Done:
        self.start(*argv, **how)
        return self.finish()


# --- the warm process itself ------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer orders until there are no more; in a child, carry one out and end as a program does."""
    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(**words) -> None:
        print(json.dumps(words), file=answers, flush=True)

    folder, owner = tempfile.mkdtemp(prefix="warm-"), os.getpid()
    try:
        heat(folder)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > COMPILED_KB and sys.argv[-1] != AGAIN:
            shutil.rmtree(folder)
            os.dup2(answers.fileno(), 1)
            os.execv(sys.executable, [sys.executable, "-W", "ignore", __file__, AGAIN])
        gc.freeze()
        tell(bed=folder)
        while line := orders.readline():
            order = json.loads(line)
            words, order["err"] = os.pipe()
            if (pid := os.fork()) == 0:
                break
            os.close(order["err"])
            tell(pid=pid)
            _, status, used = os.wait4(pid, 0)
            status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            with os.fdopen(words, errors="replace") as file:
                tell(status=status, cpu_s=used.ru_utime + used.ru_stime, rss_mb=used.ru_maxrss / 1024, err=file.read())
        else:
            return
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder)
    carry_out(order)


def forget() -> None:
    """Let go what modules of `io` remember of the warm process: its folders are not those of its children."""
    for name, module in list(sys.modules.items()):
        if name.startswith("masterlight.io."):
            for value in vars(module).values():
                getattr(value, "cache_clear", lambda: None)()


def heat(folder: str) -> None:
    """Make a small healthy night and walk each verb over it once, so that every kernel is loaded."""
    import bed
    from click.testing import CliRunner

    from masterlight.doors.cli import main

    os.chdir(folder)
    bed.simulate(Path(folder))
    for words in bed.FIRST:
        done = CliRunner().invoke(main, words.split())
        if done.exit_code not in (0, 1):
            sys.exit(f"warm: {words}: {done.output} {done.exception!r}")
    os.chdir("/")


def carry_out(order: dict) -> None:
    """In the child: take what was ordered as a fresh program would find it, do it, end."""
    os.setsid()
    os.chdir(order["cwd"])
    forget()
    for number, name in ((1, ".out"), (2, ".err")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(file, number)
    if order["limits"].get("FSIZE") is not None:  # what is printed would be cut, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(order["err"], 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(open(n, "wb", 0, closefd=False), "utf-8", write_through=True) for n in (1, 2)
    )
    os.environ.update(order["env"])
    tempfile.tempdir = None
    for name, value in order["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if "FSIZE" in order["limits"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as in every Python program
    signal.alarm(HUNG_S)
    os.closerange(3, 64)
    sys.argv, status = ["masterlight", *order["argv"]], 0
    try:
        from masterlight.doors.cli import main

        main(prog_name="masterlight")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)  # taking the whole interpreter down would cost more than most commands


if __name__ == "__main__":
    serve()
