"""masterlight: an open darkroom for the night sky.

    import masterlight as ml

    for event in ml.run("night", "result"):
        print(event.message)

The public names are loaded when they are first used, so that importing the package takes no time.
"""

import importlib

__version__ = "0.1.0"

_WHERE = {
    "ArrayFrame": "frame",
    "Frame": "frame",
    "Meta": "frame",
    "build": "process",
    "card": "process",
    "from_toml": "process",
    "knobs": "process",
    "process": "process",
    "replay": "processes",
    "to_toml": "process",
    "Event": "workers",
    "executor": "workers",
    "read": "io",
    "write": "io",
    "BadPixels": "processes.badpixels",
    "CosmeticCorrection": "processes.cosmetic",
    "Debayer": "processes.debayer",
    "DefectMap": "processes.defectmap",
    "ImageCalibration": "processes.calibrate",
    "DrizzleIntegration": "processes.drizzle",
    "HDRComposition": "processes.hdr",
    "ImageIntegration": "processes.integrate",
    "LocalNormalization": "processes.normalize",
    "Rejection": "processes.rejection",
    "StarAlignment": "processes.align",
    "SubframeSelector": "processes.subframes",
    "Superbias": "processes.superbias",
    "PROCESSES": "processes",
    "plan": "session",
    "scan": "session",
    "Recipe": "recipe",
    "run": "recipe",
    "Night": "simulate",
    "simulate": "simulate",
}

__all__ = [*_WHERE, "__version__"]


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module 'masterlight' has no attribute '{name}'")
    return getattr(importlib.import_module(f"masterlight.{_WHERE[name]}"), name)


def __dir__():
    return sorted([*globals(), *_WHERE])
