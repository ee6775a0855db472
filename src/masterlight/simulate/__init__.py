"""Synthetic nights with known truth: the demo's input and the tests' sky.

Both the chapter and the verb are called simulate, so the chapter can be called: `simulate(Night(), folder)`.
"""

import sys
from collections.abc import Generator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from masterlight.core.process import engine

if TYPE_CHECKING:
    from masterlight.simulate.night import Night as Night
    from masterlight.simulate.observatory import Observatory as Observatory
    from masterlight.simulate.pointing import Pointing as Pointing
    from masterlight.simulate.truth import Truth as Truth
    from masterlight.simulate.truth import simulate as simulate

_WHERE = {"Night": "night", "Observatory": "observatory", "Pointing": "pointing", "Truth": "truth", "simulate": "truth"}


class Chapter(ModuleType):
    """This package, which does what its name says when it is called."""

    def __call__(self, *values: Any, **knobs: Any) -> Generator[Any, None, Any]:
        night: Generator[Any, None, Any] = engine("simulate.truth").simulate(*values, **knobs)
        return night

    def __getattr__(self, name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        return getattr(engine(f"simulate.{_WHERE[name]}"), name)


sys.modules[__name__].__class__ = Chapter
