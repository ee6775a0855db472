"""The terminal: streams that take whatever is written and never end the work."""

import codecs
import errno
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from masterlight.core.errors import OutputError
from masterlight.session.words import shown

ASCII = {
    "°": "deg ", "σ": "sigma", "×": "x", "µ": "u", "μ": "u", "±": "+-", "→": "->", "–": "-", "—": "-", "…": "...",
    "α": "alpha", "β": "beta", "²": "^2", "³": "^3", "ß": "ss", "ø": "o", "æ": "ae", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip
"""What stands for a sign where an output knows only ASCII; other letters lose their accents."""
HANDLER = "masterlight.replaced"


def replaced(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: the nearest that ASCII has, else the number of the character."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    plain = (ASCII.get(c) or unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() for c in letters)
    return "".join(near or shown(c) for near, c in zip(plain, letters, strict=True)), error.end


codecs.register_error(HANDLER, replaced)


class Steady:
    """An output stream that never fails: what it cannot encode is replaced, what nobody takes is dropped.

    error: why something was dropped, if it was.
    """

    def __init__(self, stream: Any):
        self.stream, self.error = stream, None

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # click would write UTF-8 into it where the encoding is ASCII
            raise AttributeError(name)
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        fitting = text.encode(encoding, HANDLER).decode(encoding)
        self.attempt(self.stream.write, fitting)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self.attempt(self.stream.flush)

    def attempt(self, work: Any, *arguments: Any) -> None:
        """Write or flush; where that fails, everything from now on goes nowhere."""
        try:
            work(*arguments)
        except (OSError, ValueError) as error:  # the reader is gone, the disk is full, the stream is closed
            self.error = self.error or error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            with suppress(OSError, ValueError):
                os.dup2(nowhere, self.stream.fileno())  # what waits in its buffer must not fail when the program ends
            os.close(nowhere)
            with suppress(OSError, ValueError):
                self.stream.flush()
            self.stream = open(os.devnull, "w", encoding=self.stream.encoding)


@contextmanager
def steady_streams() -> Iterator[None]:
    """Standard output and error that never end the work, whatever becomes of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get this number, and words with it
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Steady(stream or open(os.devnull, "w")) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def hand_over(text: str, newline: bool = True) -> None:
    """Print what was asked for; OutputError when it could not be written whole, and not for want of a reader."""
    click.echo(text, nl=newline)
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if isinstance(error, OSError) and error.errno not in (errno.EPIPE, errno.EBADF):
        raise OutputError(f"what this prints could not be written: {error.strerror}; make room and ask again")
