"""What can go wrong, as a tree.

    MasterlightError
    ├── ParameterError     a knob has a value it cannot have: its name, what was given, what is allowed
    ├── FrameError         one file cannot be used: its path, why, what to do
    ├── NothingUsable      no frame is left to work on; the run ends with exit status 2
    ├── Halted             the doctor found what would spoil the result
    └── OutputError        a product cannot be written: disk full, no permission

A frame that fails inside a run does not raise: it becomes a `Rejected`, a falsy value that
carries its reason, and the night goes on.
"""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

MOST_LETTERS = 300
"""What a message may have, so that it can be read at a glance."""


class MasterlightError(Exception):
    """Base of every error that masterlight raises on purpose."""


class ParameterError(MasterlightError, ValueError):
    """A parameter is not allowed; the message names it and what is allowed."""


def one_line(words: object, most: int = MOST_LETTERS) -> str:
    """Words as one line for a terminal: control characters are shown, never sent; what is too long loses its middle."""
    line = " ".join(str(words).split("\n"))
    line = line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= most else f"{line[: most // 2 - 3]} ... {line[len(line) - most // 2 + 2 :]}"


class FrameError(MasterlightError):
    """A file cannot be used as a frame; the message names it and what to do, in one line."""

    def __init__(self, source: object, reason: object) -> None:
        name = one_line(source, MOST_LETTERS - 100)
        self.source, self.reason = str(source), one_line(reason, MOST_LETTERS - len(name) - 2)
        super().__init__(f"{name}: {self.reason}")

    def __reduce__(self):
        return type(self), (self.source, self.reason)

    @property
    def of_another(self) -> str:
        """What is wrong, in a message about another file: `master_dark.fits: has changed ...`."""
        return f"{PurePath(self.source).name}: {self.reason}"


class NothingUsable(MasterlightError):
    """No frame is left to work on."""


class Halted(MasterlightError):
    """The doctor found what would spoil the result, and nobody said to go on all the same."""


class OutputError(MasterlightError):
    """A product could not be written whole; nothing half-written was left behind."""


@dataclass(frozen=True)
class Rejected:
    """One frame that failed one stage; falsy, so that `if result:` reads as `it worked`."""

    source: str
    stage: str
    reason: str
    code: str = ""
    """The kind of failure in one word, for programs: NO_STARS, NOT_SIGNIFICANT ...; empty where there is only one."""

    @classmethod
    def of(cls, source: object, stage: str, error: Exception) -> "Rejected":
        """What an error made of a frame: its reason, with the name of another file, such as its master."""
        other = isinstance(error, FrameError) and error.source != str(source)
        reason = error.of_another if other else getattr(error, "reason", None) or str(error) or type(error).__name__
        return cls(str(source), stage, reason)

    def __bool__(self) -> Literal[False]:
        return False

    def __str__(self) -> str:
        return f"{self.source}: {self.reason} ({self.stage})"
