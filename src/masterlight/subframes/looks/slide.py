"""`Slide`, what is told of a frame beside its picture; `Show`, what takes the pictures of many."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from masterlight.core.stretch import Stretch


@dataclass(frozen=True)
class Slide:
    """What is told of one frame beside its picture."""

    source: str
    facts: tuple[tuple[str, str, float | None], ...] = ()
    """Name, words and, where frames can be put in order by it, the number."""
    approved: bool | None = None
    """The verdict; None where nothing was measured or asked for."""
    words: str = ""
    """Why it is not approved, and what else is to be told."""
    reference: bool = False

    @property
    def name(self) -> str:
        return Path(self.source).name

    def caption(self, number: int, count: int) -> tuple[str, str]:
        """Two lines under a picture: which it is, and what is known of it, what matters most first."""
        verdict = {True: "approved", False: "rejected", None: ""}[self.approved]
        facts = [f"{name} {words}".strip() for name, words, _ in sorted(self.facts, key=lambda fact: not fact[0])]
        return f"{number}/{count}   {self.name}", "   ".join(filter(None, [verdict, *facts, self.words]))


class Show(ABC):
    """What takes pictures: `pack` in any thread, `add` of what that gave in any order; all is written at the end."""

    def __init__(self, slides: Sequence[Slide], file: BinaryIO, title: str = ""):
        self.slides, self.file, self.title = slides, file, title

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self.close()

    @abstractmethod
    def pack(self, i: int, reduced: np.ndarray, by: Sequence[Stretch]) -> Any:
        """The picture of slide i, stretched, as it is to be added."""

    @abstractmethod
    def add(self, i: int, packed: Any) -> None:
        """Take the picture of slide i; None where there is none."""

    def close(self) -> None:  # noqa: B027 (nothing is left where all is written as it comes)
        """Write what is left."""
