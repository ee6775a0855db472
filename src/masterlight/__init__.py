"""masterlight: an open darkroom for the night sky.

    import masterlight as ml

    for event in ml.run("night", "result"):
        print(event.message)

The public names stand in `__init__.pyi`, which editors and type checkers read too. Each is loaded when it is first
used, so that importing the package takes no time.
"""

import importlib

__version__ = "0.1.0"

with open(f"{__path__[0]}/__init__.pyi", encoding="utf-8") as _names:
    _LINES = [line.split() for line in _names if line.startswith("from ")]
WHERE = {name: module for _, module, _, name, _, _ in _LINES}
"""The module of each public name: `from masterlight.io import read as read`."""

__all__ = [*WHERE, "__version__"]


def __getattr__(name):
    if name not in WHERE:
        raise AttributeError(f"module 'masterlight' has no attribute '{name}'")
    value = globals()[name] = getattr(importlib.import_module(WHERE[name]), name)
    return value


def __dir__():
    return sorted({*globals(), *WHERE})
