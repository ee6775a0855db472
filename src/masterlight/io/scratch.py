"""Scratch: the plain twin of a packed file, made once, in a folder that disappears with the program."""

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from masterlight.core.errors import FrameError, MasterlightError, OutputError
from masterlight.io.whole import NO_ROOM, host_mark, is_left, owned_file

START, LOCK = "masterlight-", ".lock"
REMEDY = "set the variable TMPDIR to a folder on a larger disk, or make room"
MOST_GROWTH = 50
"""How many times its size a file of a camera may unpack to; where it is more, a header claims too much."""
_UNPACKING: dict[str, threading.Lock] = {}
_MAKING = threading.Lock()
_FOLDERS: dict[int, tuple[str, ExitStack]] = {}
"""By process, since a child that was forked has those of its parent here: the folder, and what removes it."""


def scratch_place() -> Path:
    """Where temporary files go, after TMPDIR; OutputError where none can be written at all."""
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise OutputError(f"no folder for temporary files can be written to; {REMEDY}") from error


def scratch_folder() -> str:
    """A folder for unpacked files of this process, removed when a verb or the program ends; it follows TMPDIR.

    A lock file beside it tells that its process lives; folders of this host whose lock is free are removed first.
    """
    process = os.getpid()
    with _MAKING:
        if process not in _FOLDERS:
            place, life = scratch_place(), ExitStack()
            clear_scratch(place)
            try:
                lock = life.enter_context(owned_file(place, START, LOCK))
                folder = lock.name.removesuffix(LOCK)
                os.mkdir(folder, 0o700)
            except OSError as error:
                words = f"no folder for temporary files can be made ({error.strerror}); {REMEDY}"
                raise OutputError(f"{place}: {words}") from error
            life.callback(shutil.rmtree, folder, ignore_errors=True)
            _FOLDERS[process] = folder, life
            atexit.register(leave_scratch)
        return _FOLDERS[process][0]


def leave_scratch() -> None:
    """Remove the unpacked files of this process; they are made again when they are asked for."""
    with _MAKING:
        _, life = _FOLDERS.pop(os.getpid(), ("", ExitStack()))
        life.close()


def clear_scratch(place: Path) -> None:
    """Remove the unpacked files of dead processes of this host."""
    for lock in place.glob(f"{START}{host_mark()}-*{LOCK}"):
        with suppress(OSError):
            if is_left(lock):
                lock.unlink()  # fails where the system has no locks and somebody has it open: he lives
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)


def plain_twin(source: str, what: tuple, size_bytes: int, unpack: Callable[[str], None]) -> str:
    """The path of the plain twin of `source`, made at the first call; threads wait for one another.

    what: what tells this twin from others, such as the time of the file; unpack: writes it to the path it is given.
    FrameError when the file is damaged or absurd, OutputError when there is no room for `size_bytes`.
    """
    name = hashlib.blake2b(repr((os.path.abspath(source), *what)).encode(), digest_size=12).hexdigest()
    path = os.path.join(scratch_folder(), name)
    with _UNPACKING.setdefault(name, threading.Lock()):
        if not os.path.exists(path):
            if shutil.disk_usage(scratch_folder()).free < size_bytes:
                raise no_room(source, size_bytes)
            partial = f"{path}.{os.getpid()}"
            try:
                with warnings.catch_warnings(action="ignore"):
                    unpack(partial)
            except BaseException as error:
                with suppress(FileNotFoundError):
                    os.unlink(partial)
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    raise no_room(source, size_bytes) from error
                if isinstance(error, Exception) and not isinstance(error, MasterlightError):  # decoders raise anything
                    why = f" ({error})" if isinstance(error, OSError) else ""
                    raise FrameError(source, f"is damaged and cannot be unpacked{why}; copy it again") from error
                raise
            os.replace(partial, path)
    return path


def no_room(source: str, size_bytes: int) -> MasterlightError:
    """What to say of a file that cannot be unpacked; one that would grow beyond all reason is to blame itself."""
    need_mb, free_mb = size_bytes / 1e6, shutil.disk_usage(scratch_folder()).free / 1e6
    told = f"no room to unpack it in {scratch_folder()}: it takes {need_mb:,.0f} MB, {free_mb:,.0f} are free"
    if size_bytes > MOST_GROWTH * os.path.getsize(source):
        return FrameError(source, f"{told}, from a file of {os.path.getsize(source):,} bytes; is its header damaged?")
    return OutputError(f"{source}: {told}; {REMEDY}")
