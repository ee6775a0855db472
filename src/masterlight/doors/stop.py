"""Signals that ask a program to end: a verb then ends as after Ctrl-C, and leaves nothing half-done.

Handlers stand only while a verb of the command line works; whoever uses the library has signals of his own.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKED = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_SEEN: list[int] = []


class Stopped(KeyboardInterrupt):
    """Somebody else than the user at the keyboard asked the program to end."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what is done inside by a `Stopped`; those that are ignored, as by nohup, stay so."""
    _SEEN.clear()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in [getattr(signal, name) for name in ASKED] if main}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if _SEEN else handler)


def stop(number: int, frame: FrameType | None) -> None:
    """The handler: the first signal ends the work, more do not disturb the tidying."""
    _SEEN.append(number)
    for name in ASKED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise Stopped


def heed() -> None:
    """Raise once more what a signal raised where Python drops exceptions, in a destructor or a callback."""
    if _SEEN:
        raise Stopped


def status() -> int:
    """The exit status after a signal, 128 and its number: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_SEEN[0] if _SEEN else signal.SIGINT)
