"""The calibration doctor: what is wrong with a night's calibration, told before it spoils the result.

doctor.frames(plan, pool)                   headers and a small sample of every raw frame
doctor.master(kind, master, ...)            one master
doctor.light(raw, view, masters)            one calibrated light of each set
diagnose(plan, doctor, calibrate, pool)     all of it, with quick masters made in memory
"""

from typing import TYPE_CHECKING, Any

from masterlight.core.process import engine

if TYPE_CHECKING:
    from masterlight.doctor.examination import diagnose as diagnose
    from masterlight.doctor.findings import SEVERITIES as SEVERITIES
    from masterlight.doctor.findings import Finding as Finding
    from masterlight.doctor.process import Doctor as Doctor

_WHERE = {"diagnose": "examination", "SEVERITIES": "findings", "Finding": "findings", "Doctor": "process"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(engine(f"doctor.{_WHERE[name]}"), name)
