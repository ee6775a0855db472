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
from typing import Literal


class MasterlightError(Exception):
    """Base of every error that masterlight raises on purpose."""


class ParameterError(MasterlightError, ValueError):
    """A parameter is not allowed; the message names it and what is allowed."""


class FrameError(MasterlightError):
    """A file cannot be used as a frame; the message names it and what to do."""

    def __init__(self, source: object, reason: object) -> None:
        super().__init__(f"{source}: {reason}")
        self.source, self.reason = str(source), str(reason)

    def __reduce__(self):
        return type(self), (self.source, self.reason)


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

    @classmethod
    def of(cls, source: object, stage: str, error: Exception) -> "Rejected":
        """What an error made of a frame: its reason without the path, which `source` tells already."""
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        return cls(str(source), stage, reason)

    def __bool__(self) -> Literal[False]:
        return False

    def __str__(self) -> str:
        return f"{self.source}: {self.reason} ({self.stage})"
