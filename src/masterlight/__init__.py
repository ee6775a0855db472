"""masterlight: an open darkroom for the night sky.

    import masterlight as ml

    for event in ml.run("night", "result"):
        print(event.message)

The public names are loaded when they are first used, so that importing the package takes no time.
"""

import importlib

__version__ = "0.1.0"

_WHERE = {
    "ArrayFrame": "core.frame",
    "Frame": "core.frame",
    "Meta": "core.frame",
    "build": "core.process",
    "card": "core.process",
    "from_toml": "core.process",
    "knobs": "core.process",
    "process": "core.process",
    "replay": "processes",
    "to_toml": "core.process",
    "Event": "core.workers",
    "executor": "core.workers",
    "read": "io",
    "write": "io",
    "BadPixels": "defects.find",
    "CosmeticCorrection": "defects.cosmetic",
    "Debayer": "colour.debayer",
    "DefectMap": "defects.defectmap",
    "ImageCalibration": "calibration.calibrate",
    "DrizzleIntegration": "drizzle.drizzle",
    "HDRComposition": "integration.hdr",
    "ImageIntegration": "integration.integrate",
    "LocalNormalization": "integration.normalize",
    "Rejection": "integration.rejection",
    "StarAlignment": "alignment.align",
    "SubframeSelector": "subframes.select",
    "Superbias": "calibration.superbias",
    "PROCESSES": "processes",
    "plan": "session.plan",
    "scan": "session.scan",
    "Recipe": "night.recipe",
    "run": "night.recipe",
    "Night": "simulate.night",
    "simulate": "simulate.truth",
}

__all__ = [*_WHERE, "__version__"]


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module 'masterlight' has no attribute '{name}'")
    return getattr(importlib.import_module(f"masterlight.{_WHERE[name]}"), name)


def __dir__():
    return sorted([*globals(), *_WHERE])
