"""Kept: what was made of files at some expense, in the user's cache, found again by the bytes of the file.

An entry is called after the content of its file, wherever that lies now, and after all else that it was made of. It
appears whole under its name, is checked when it is read, and holds numbers, words and arrays, nothing that is executed:
processes write side by side, and what is damaged or of another version is made anew.

A file whose size, inode and times are those of its last reading is not read again for its content. Its time of
modification alone would not do, since programs set it back; the time of change of its inode cannot be set. Where the
system does not tell that (Windows), files are always read; `fresh` makes everything anew.
"""

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from masterlight.core.errors import OutputError, one_line
from masterlight.io.plain import open_regular, reading
from masterlight.io.whole import atomic

T = TypeVar("T")
MOST_BYTES = 1 << 30
"""Room for the measurements and stars of some 10,000 frames; those that nobody asked for longest make room first."""
PIECE_BYTES = 1 << 18
"""A file is read in pieces that stay in the cache of a core."""
SETTLED_S = 3.0
"""A file that changed so shortly before it was read may change once more without another time: FAT tells 2 s."""
REMEDY = "XDG_CACHE_HOME names another place for them"
ENDING = ".kept"
CHECK_BYTES = 16


class Kept:
    """Things made of files, each made once for the same content: `kept(path, made_of, make, classes)`.

    Where nothing can be kept (no home, a full disk), everything is made anew and `trouble` tells why.
    """

    def __init__(self, what: str, fresh: bool = False, most_bytes: int = MOST_BYTES):
        """what: name of a folder in the user's cache for things of one kind; fresh: make all anew, and keep that."""
        self.fresh, self.most_bytes, self.recalled, self.trouble = fresh, most_bytes, 0, ""
        self.new_bytes, self.lock = 0, threading.Lock()
        self.folder: Path | None = None
        try:
            self.folder = cache_folder() / what
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError) as error:  # a user without a home
            self.give_up(error)

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None:
        """Make room for what was kept meanwhile."""
        if self.new_bytes and self.folder is not None:
            make_room(self.folder, self.most_bytes)

    def __call__(
        self, path: str | os.PathLike[str], made_of: Collection[object], make: Callable[[], T],
        classes: Collection[type] = (),
    ) -> T:  # fmt: skip
        """What `make` gives for a file of this content, from the cache where it was made before.

        made_of: what else it depends on, each with a repr that tells all of it; classes: the dataclasses in it.
        Errors of `make` are raised and not kept; FrameError where the file cannot be read.
        """
        if self.folder is None:
            return make()
        with reading(os.fspath(path)):
            before = stamp_of(os.stat(path))
            name = name_of(self.content(path), *made_of)
        if (found := self.load(name, classes)) is not None:
            with self.lock:
                self.recalled += 1
            return found[0]
        made = make()
        with suppress(OSError):
            if stamp_of(os.stat(path)) == before:  # else it may have been made of other bytes
                self.save(name, made)
        return made

    def content(self, path: str | os.PathLike[str]) -> str:
        """The name of the content of a file, read anew unless it is the file that was read before."""
        about, now_s = os.stat(path), time.time()
        memo = name_of("content", os.path.abspath(path), *stamp_of(about))
        if (found := self.load(memo)) is not None:
            return str(found[0])
        content = content_of(path)
        settled = os.name == "posix" and about.st_ctime < now_s - SETTLED_S
        if settled and stamp_of(os.stat(path)) == stamp_of(about):
            self.save(memo, content)
        return content

    def load(self, name: str, classes: Collection[type] = ()) -> tuple[Any] | None:
        """What is kept under a name, in a tuple; None where there is nothing that can be read."""
        if self.folder is None or self.fresh:
            return None
        path = self.folder / (name + ENDING)
        try:
            content = path.read_bytes()
            value = (unpacked(content, {cls.__name__: cls for cls in classes}),)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(path)  # it was asked for
        return value

    def save(self, name: str, value: Any) -> None:
        """Keep a value under a name; not waiting for the disk, since a damaged entry is made again."""
        try:
            content = packed(value)
        except TypeError:  # holds what has no plain form
            return
        folder = self.folder
        if folder is None:
            return
        try:
            with atomic(folder / (name + ENDING), synced=False) as file:
                file.write(content)
            with self.lock:
                self.new_bytes += len(content)
                full = self.new_bytes > self.most_bytes / 10
                self.new_bytes = 0 if full else self.new_bytes
            if full:
                make_room(folder, self.most_bytes)
        except OutputError as error:
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """Keep nothing from now on."""
        why = getattr(error.__cause__ or error, "strerror", None) or str(error)
        where = f" in {one_line(self.folder, 100)}" if self.folder else ""
        self.trouble = f"nothing can be kept{where} for the next time ({one_line(why, 80)}); {REMEDY}"
        self.folder = None


def cache_folder() -> Path:
    """The folder for what this program may forget, among the user's; RuntimeError for a user without a home."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "masterlight"
    if os.name == "nt" and (named := os.environ.get("LOCALAPPDATA")):
        return Path(named) / "masterlight" / "cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "masterlight"


def name_of(*parts: object) -> str:
    """A name for things made of these, each of which tells itself by its repr."""
    return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def stamp_of(about: os.stat_result) -> tuple[int, ...]:
    """What tells a file from its former self without reading it."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def content_of(path: str | os.PathLike[str]) -> str:
    """A name for the bytes of a file: of the first piece, with its header, all of them, of each further one its CRC.

    A CRC sees any change that stays within 32 bits and all but one of 2^32 others, at the speed of memory: a frame of
    24 Mpx takes as long as reading it, a third of what a cryptographic sum of all of it would take.
    """
    digest, size = hashlib.blake2b(digest_size=16), 0
    with open_regular(path, buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(crc32(piece).to_bytes(4, "little") if size else piece)
            size += len(piece)
    digest.update(size.to_bytes(8, "little"))
    return digest.hexdigest()


def packed(value: Any) -> bytes:
    """A value as bytes behind their check; TypeError for what has no plain form."""
    arrays: list[bytes] = []
    told = json.dumps(plain_form(value, arrays)).encode()
    body = b"".join([len(told).to_bytes(8, "little"), told, *arrays])
    return check_of(body) + body


def unpacked(content: bytes, classes: dict[str, type]) -> Any:
    """The value in these bytes; ValueError where they are damaged, KeyError and TypeError where of other classes."""
    body = memoryview(content)[CHECK_BYTES:]
    if check_of(body) != content[:CHECK_BYTES]:
        raise ValueError("damaged")
    end = 8 + int.from_bytes(body[:8], "little")
    return value_of(json.loads(bytes(body[8:end])), body[end:], classes)


def check_of(body: Any) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECK_BYTES).digest()


def plain_form(value: Any, arrays: list[bytes]) -> Any:
    """A value as JSON has it, a list that begins with its kind unless it is plain; arrays go into the list."""
    if value is None or isinstance(value, str | bool | int | float) and not isinstance(value, np.generic):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        array, start = np.ascontiguousarray(value), sum(map(len, arrays))
        arrays.append(array.tobytes())
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return [kind, array.dtype.str, list(np.shape(value)), start]
    if isinstance(value, tuple | list):
        return [type(value).__name__, *(plain_form(item, arrays) for item in value)]
    if isinstance(value, dict):
        return ["dict", *([plain_form(key, arrays), plain_form(item, arrays)] for key, item in value.items())]
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: plain_form(getattr(value, field.name), arrays) for field in fields(value)}
        return ["class", type(value).__name__, own]
    raise TypeError(f"{type(value).__name__} has no plain form")


def value_of(plain: Any, arrays: memoryview, classes: dict[str, type]) -> Any:
    """The value of which this is the plain form."""
    if not isinstance(plain, list):
        return plain
    kind, *rest = plain
    if kind in ("array", "number"):
        dtype, shape, start = rest
        count = int(np.prod(shape, dtype=int))
        array = np.frombuffer(arrays, dtype, count, start).reshape(shape).copy()
        return array if kind == "array" else array[()]
    if kind == "dict":
        return {value_of(key, arrays, classes): value_of(item, arrays, classes) for key, item in rest}
    if kind == "class":
        cls, own = classes[rest[0]], rest[1]
        if set(own) != {field.name for field in fields(cls)}:
            raise TypeError(f"{rest[0]} has other fields now")
        return cls(**{name: value_of(item, arrays, classes) for name, item in own.items()})
    return {"tuple": tuple, "list": list}[kind](value_of(item, arrays, classes) for item in rest)


def entries(folder: Path) -> Iterator[tuple[float, int, str]]:
    """When each entry of a folder was asked for last, its bytes on the disk and its path."""
    with os.scandir(folder) as found:
        for entry in found:
            with suppress(OSError):
                if entry.name.endswith(ENDING):
                    about = entry.stat()
                    yield about.st_mtime, about.st_size, entry.path


def make_room(folder: Path, most_bytes: int) -> None:
    """Remove the entries that nobody asked for longest until the others take no more than four fifths of the room."""
    with suppress(OSError):
        found = sorted(entries(folder), reverse=True)
        if sum(size for _, size, _ in found) <= most_bytes:
            return
        kept = 0
        for _, size, path in found:
            kept += size
            if kept > 0.8 * most_bytes:
                with suppress(OSError):  # another process was here
                    os.unlink(path)
