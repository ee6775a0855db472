"""The processes: frozen sets of parameters, each of which does one thing to a frame or a set of frames."""

import importlib
import json
from typing import Any

from masterlight import process

PROCESSES = {
    "ImageCalibration": "calibrate",
    "Superbias": "superbias",
    "BadPixels": "badpixels",
    "CosmeticCorrection": "cosmetic",
    "DefectMap": "defectmap",
    "Debayer": "debayer",
    "SubframeSelector": "subframes",
    "StarAlignment": "align",
    "LocalNormalization": "normalize",
    "ImageIntegration": "integrate",
    "DrizzleIntegration": "drizzle",
    "HDRComposition": "hdr",
}
"""Every process by its name, and the module of this package that holds it."""


def load(name: str) -> type:
    """The process class of this name: `load("StarAlignment")`."""
    return getattr(importlib.import_module(f"masterlight.processes.{PROCESSES[name]}"), name)


def replay(card: str) -> Any:
    """The process that a provenance card tells of, equal to the one that wrote it."""
    for name in json.loads(card):
        if name in PROCESSES:
            load(name)
    return process.replay(card)
