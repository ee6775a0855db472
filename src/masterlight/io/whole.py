"""A file is whole or not there: written beside its place, checked, synced, and only then renamed into it.

While a file is written its partial form is locked by the process that writes it, and so is the scratch folder of a
process. The system lets a lock go when its owner ends, however that happens: what lies about unlocked is of a dead
process, and the next one that comes by removes it. Process ids are not asked: they come again, and other hosts have
the same ones.
"""

import errno
import hashlib
import io
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from masterlight.core.errors import OutputError, one_line

try:
    import fcntl
except ImportError:  # Windows, where no file can be removed that somebody has open
    fcntl = None  # type: ignore[assignment]

OWN = ".masterlight-"
"""How the names of partial files begin."""
PARTIAL = ".partial"
DAY_S = 86_400
LOOKS, LOOK_S = 5, 0.01
"""How often, and how far apart, a name is looked at that another process seems to keep."""
NO_ROOM = errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG


class WholeFile(io.FileIO):
    """An unbuffered file that takes every byte it is given, or raises: the system may take fewer and say so softly."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        while len(view):
            view = view[super().write(view) :]
        return size


@contextmanager
def atomic(path: str | os.PathLike[str], synced: bool = True) -> Iterator[WholeFile]:
    """A binary file to write into and read back, renamed to `path` when all went well; else nothing is left.

    synced: wait until it would outlast a power cut; not for what can be made again, and is checked when it is read.
    OutputError where the system does not take it all: a full disk, a limit, a fault that shows when it is synced.
    """
    path = Path(path)
    try:
        odd = os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))
        if odd:  # in place of a device there would be a file
            raise OutputError(f"{path} is no regular file; choose another name")
        clear_once(path.parent)
        with owned_file(path.parent, OWN, PARTIAL) as file:
            yield file
            os.fsync(file.fileno()) if synced else None
            held = os.dup(file.fileno()) if fcntl else None  # keeps the lock until the file has its name
            try:
                file.close()  # on a network drive this may be what fails
                os.replace(file.name, path)
            finally:
                os.close(held) if held is not None else None
        if synced:
            sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: {why_not(error, path)}") from error


@contextmanager
def owned_file(folder: Path, start: str, end: str) -> Iterator[WholeFile]:
    """A new file in a folder, locked as long as it is open; it is removed if it still has this name at the end."""
    while True:
        name = folder / f"{start}{host_mark()}-{secrets.token_hex(4)}{end}"
        with WholeFile(os.fspath(name), "x+") as file:
            try:
                if not lock(file):
                    continue  # somebody looks at it, and takes it for a leftover
                yield file
            finally:
                file.close()
                name.unlink(missing_ok=True)
        return


@contextmanager
def reserved(path: Path) -> Iterator[bool]:
    """Keep the name of a file that is yet to be made from other programs on this host; whether none of them keeps it.

    What keeps it is the lock of an empty file beside it. Where nothing can be locked or made, nothing is kept.
    """
    name = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    sign = path.with_name(f"{OWN}{host_mark()}-{name}{PARTIAL}")
    free, file = locked_sign(sign) if fcntl else (True, None)
    try:
        yield free
    finally:
        if file is not None:
            with suppress(OSError):
                sign.unlink(missing_ok=True)
            file.close()


def locked_sign(sign: Path) -> tuple[bool, WholeFile | None]:
    """Whether a name is free, and the file, now locked, that tells so to others; None where none can be made."""
    for _ in range(LOOKS):
        try:
            file = WholeFile(os.fspath(sign), "a")
        except OSError:  # the product cannot be made there either, and that is told when it is written
            return True, None
        if lock(file):
            return True, file
        file.close()
        time.sleep(LOOK_S)  # somebody may only look whether it was left, or have given it back just now
    return False, None


def lock(file: Any) -> bool:
    """Lock a file for this process; whether that could be done, and the file still has a name."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no locks on this file system: `is_left` finds none either, and takes nothing away
            return True
    return os.fstat(file.fileno()).st_nlink > 0


def is_left(path: Path, mark: str = "") -> bool:
    """Whether the process that made a file is dead: its lock is gone.

    Some network drives show a lock to its own host alone; what another host made must be a day old besides.
    """
    if fcntl is None:
        return True
    try:
        file = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return host_mark() in path.name or time.time() - os.fstat(file).st_mtime > DAY_S
    except OSError:
        return False
    finally:
        os.close(file)


@cache
def host_mark() -> str:
    """A short name for this host."""
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=3).hexdigest()


def clear_leftovers(folder: Path) -> None:
    """Remove the partial files that dead processes left in a folder."""
    with suppress(OSError):
        names = [name for name in os.listdir(folder) if name.startswith(OWN) and name.endswith(PARTIAL)]
        for path in map(folder.joinpath, names):
            with suppress(OSError):
                if is_left(path):
                    path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder for products, with those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "is a file, not a folder" if isinstance(error, FileExistsError) else error.strerror
        raise OutputError(f"{one_line(folder, 150)}: {what}; choose another output folder") from None


clear_once = cache(clear_leftovers)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder outlast a power cut, where the system can do that."""
    with suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def why_not(error: OSError, path: Path) -> str:
    """What to do about a file that could not be written."""
    other = "choose another output folder"
    if error.errno == errno.EFBIG:
        return f"larger than a file may be there (ulimit -f, or 4 GB on a FAT disk); raise the limit, or {other}"
    if error.errno in NO_ROOM:
        what = "the disk is full" if error.errno == errno.ENOSPC else "your quota on this disk is used up"
        with suppress(OSError):
            what += f" ({shutil.disk_usage(path.parent).free / 1e6:,.0f} MB free)"
        return f"{what}; make room, or {other}"
    if error.errno == errno.EIO:
        return f"the disk failed while it was written ({error.strerror}); check the disk, or {other}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write into {path.parent}; {other}"
    if error.errno == errno.ENOENT:
        return f"the folder {path.parent} does not exist; create it first"
    if error.errno == errno.ENOTDIR:
        return f"{path.parent} is no folder; {other}"
    if error.errno == errno.EISDIR:
        return "is a folder; give the name of a file"
    return f"could not be written: {error.strerror or error}"
