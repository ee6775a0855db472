"""Scratch: the plain twin of a packed file, made once, in a folder that disappears with the program."""

import atexit
import errno
import hashlib
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from masterlight.core.errors import FrameError, MasterlightError, OutputError

SPARE_BYTES = 1 << 30
"""What is left free on the disk."""
_UNPACKING: dict[str, threading.Lock] = {}


@cache
def scratch_folder() -> str:
    """A folder for unpacked files, removed when the program ends; it follows TMPDIR."""
    folder, owner = tempfile.mkdtemp(prefix="masterlight-"), os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


def plain_twin(source: str, what: tuple, size_bytes: int, unpack: Callable[[str], None]) -> str:
    """The path of the plain twin of `source`, made at the first call; threads wait for one another.

    what: what tells this twin from others, such as the time of the file; unpack: writes it to the path it is given.
    FrameError when the file is damaged, OutputError when there is no room for `size_bytes`.
    """
    name = hashlib.blake2b(repr((os.path.abspath(source), *what)).encode(), digest_size=12).hexdigest()
    path = os.path.join(scratch_folder(), name)
    with _UNPACKING.setdefault(name, threading.Lock()):
        if not os.path.exists(path):
            if shutil.disk_usage(scratch_folder()).free < size_bytes + SPARE_BYTES:
                raise no_room(source)
            partial = f"{path}.{os.getpid()}"
            try:
                with warnings.catch_warnings(action="ignore"):
                    unpack(partial)
            except BaseException as error:
                with suppress(FileNotFoundError):
                    os.unlink(partial)
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise no_room(source) from error
                if isinstance(error, Exception) and not isinstance(error, MasterlightError):  # decoders raise anything
                    why = f" ({error})" if isinstance(error, OSError) else ""
                    raise FrameError(source, f"is damaged and cannot be unpacked{why}; copy it again") from error
                raise
            os.replace(partial, path)
    return path


def no_room(source: str) -> OutputError:
    todo = "set the variable TMPDIR to a folder on a larger disk, or make room"
    return OutputError(f"{source}: no room to unpack it in {scratch_folder()}; {todo}")
