"""`Once`: values that are made when they are first needed, once, however many threads ask for them."""

import threading
from collections.abc import Callable
from typing import Any


class Once:
    """Values by name, each made by the first that asks; others wait for it. Cheap to pickle.

    kept: whether what was made goes along when it is pickled, as small results of much work should.
    """

    def __init__(self, kept: bool = False, made: dict | None = None):
        self.kept, self.made, self.lock = kept, dict(made or {}), threading.RLock()

    def __reduce__(self):
        return Once, (self.kept, self.made if self.kept else None)

    def __call__(self, name: Any, make: Callable[[], Any]) -> Any:
        """The value of this name, made by `make` if it is not there yet."""
        with self.lock:
            if name not in self.made:
                self.made[name] = make()
            return self.made[name]

    def clear(self) -> None:
        """Let all values go; they are made again when they are needed."""
        with self.lock:
            self.made.clear()
