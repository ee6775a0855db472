"""Nights on paper: frames that have a header and no pixels, and what is planned with them."""

from masterlight.core.frame import Frame, Meta
from masterlight.session.planner import plan
from masterlight.session.scan import Session

CAMERA = {"camera": "ZWO ASI2600MM Pro", "shape": (40, 60), "gain": 100.0, "offset": 50.0, "temperature_c": -10.0}


def frames(kind, count=5, night=1, name="", **changes):
    """Frames of the same settings, one minute apart, as if read from files."""
    settings = (
        CAMERA | {"kind": kind, "exposure_s": {"bias": 0.0, "flat": 2.0, "flatdark": 2.0}.get(kind, 300.0)} | changes
    )
    if kind in ("light", "flat"):
        settings.setdefault("filter", "Ha")
    name = "_".join(str(v) for v in (kind, *changes.values(), *([name] if name else []), night))
    return [
        Frame(source=f"{name}_{i}.fits", meta=Meta(**settings, time=f"2024-01-{night:02}T21:{i:02}:00.000"))
        for i in range(count)
    ]


def planned(*sets):
    return plan(Session("night", tuple(frame for part in sets for frame in part)))


def only(found):
    """The one set of the one master light."""
    assert len(found.lights) == 1 and len(found.lights[0].sets) == 1, found.text()
    return found.lights[0].sets[0]


def told(found):
    return "\n".join(found.warnings)
