"""`njit` for all kernels: numba's, whose cache never stands in the way of the work.

Compiled kernels are kept where numba keeps them: in the folder that NUMBA_CACHE_DIR names, beside the code, in the
user's cache. Where nothing of that can be written (an installation that is read only, a user without a home) they go
into a folder of the system's temporary space; where that fails too, they are compiled anew each time. A cache that is
damaged, or on a full disk, costs time and nothing else. A kernel holds those that it calls: it is compiled again when
the file of one of them has changed, not only its own.
"""

import logging
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numba
from numba.core import caching

from masterlight import __version__


def njit(**options: Any) -> Callable[[Any], Any]:
    """`numba.njit` with these options; `cache=True` keeps what was compiled."""
    keep = options.pop("cache", False)

    def decorate(function: Any) -> Any:
        kernel = numba.njit(**options)(function)
        if keep and hasattr(kernel, "enable_caching"):  # with NUMBA_DISABLE_JIT a kernel is plain Python
            try:
                kernel._cache = KernelCache(function)
            except (RuntimeError, OSError):
                tell("they cannot be kept anywhere and are compiled anew each time, which takes about a minute")
        return kernel

    return decorate


USER_WIDE: Any = getattr(caching, "UserWideCacheLocator", None) or caching._UserWideCacheLocator
"""Numba's own place in the cache of the user; its name had an underscore until 0.61."""


class TemporaryLocator(USER_WIDE):
    """A place in the system's temporary space, after all others have failed."""

    def __init__(self, function: Any, path: str):
        super().__init__(function, path)
        self._cache_path = os.path.join(temporary_folder(), os.path.basename(self._cache_path))

    @classmethod
    def from_function(cls, function: Any, path: str) -> Any:
        try:
            return super().from_function(function, path)
        except OSError:
            return None


class KernelCacheImpl(caching.CompileResultCacheImpl):
    """Numba's ways to keep what was compiled, and one more place for it."""

    _locator_classes = [*caching.CompileResultCacheImpl._locator_classes, TemporaryLocator]

    def __init__(self, function: Any):
        super().__init__(function)
        own = self.locator.get_source_stamp()
        self.locator.get_source_stamp = lambda: (own, stamps_of(function.__module__))


class KernelCache(caching.FunctionCache):
    """Numba's cache of a kernel, none of whose troubles is an error: it is compiled again."""

    _impl_class = KernelCacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # bytes that are no pickle raise anything
            with suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):
            super().save_overload(sig, data)


IMPORTED = re.compile(r"^from ([\w.]+) import (\([^)]*\)|.*)$", re.MULTILINE)
"""How a module names those that its kernels call."""


@cache
def stamps_of(module: str) -> tuple[tuple[str, float, int], ...]:
    """Name, time and size of the files of kernels that those of this module call, in turn; numba looks at one alone."""
    found, seen, open_ = {}, {module}, [module]
    while open_:
        for name in called_by(open_.pop()):
            file = getattr(sys.modules.get(name), "__file__", None)
            if name not in seen and file and os.path.exists(file):
                seen.add(name)
                open_.append(name)
                about = os.stat(file)
                found[name] = (name, about.st_mtime, about.st_size)
    return tuple(found[name] for name in sorted(found))


@cache
def called_by(module: str) -> tuple[str, ...]:
    """Names of what a module takes kernels or numbers from: of its own package, where kernels are."""
    path = getattr(sys.modules.get(module), "__file__", None)
    if not path or not path.endswith(".py") or not os.path.exists(path):
        return ()
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if "njit" not in text:
        return ()
    package, names = module.partition(".")[0] + ".", []
    for where, what in IMPORTED.findall(text):
        if f"{where}.".startswith(package) and where != __name__:
            names += [where, *(f"{where}.{name}" for name in re.findall(r"\w+", what))]
    return tuple(names)


@cache
def temporary_folder() -> str:
    """A folder of this user and version in the system's temporary space; OSError where it is not ours alone.

    What lies in it is executed, and anybody may make a folder there.
    """
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    folder = os.path.join(tempfile.gettempdir(), f"masterlight-kernels-{user}-{__version__}")
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
        tell(f"they are kept in {folder}, since nothing else can be written; NUMBA_CACHE_DIR names another place")
    found = os.lstat(folder)
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not (found.st_mode & 0o077 and os.name == "posix")
    if not ours:
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder


@cache
def tell(words: str) -> None:
    """Say once where compiled kernels go; it is told again only where that is another place."""
    logging.getLogger("masterlight").warning("masterlight: compiled kernels: %s", words)
