"""The processes: frozen sets of parameters, each of which does one thing to a frame or a set of frames."""

import importlib
import json
from typing import Any

from masterlight.core import process

PROCESSES = {
    "ImageCalibration": "calibration.calibrate",
    "Superbias": "calibration.superbias",
    "BadPixels": "defects.find",
    "CosmeticCorrection": "defects.cosmetic",
    "DefectMap": "defects.defectmap",
    "Debayer": "colour.debayer",
    "SubframeSelector": "subframes.select",
    "StarAlignment": "alignment.align",
    "LocalNormalization": "integration.normalize",
    "ImageIntegration": "integration.integrate",
    "DrizzleIntegration": "drizzle.drizzle",
    "HDRComposition": "integration.hdr",
}
"""Every process by its name, and the module that holds it."""


def load(name: str) -> type:
    """The process class of this name: `load("StarAlignment")`."""
    return getattr(importlib.import_module(f"masterlight.{PROCESSES[name]}"), name)


def replay(card: str) -> Any:
    """The process that a provenance card tells of, equal to the one that wrote it."""
    for name in json.loads(card):
        if name in PROCESSES:
            load(name)
    return process.replay(card)
