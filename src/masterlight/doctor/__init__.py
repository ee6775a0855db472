"""The calibration doctor: what is wrong with a night's calibration, told before it spoils the result.

doctor.frames(plan, pool)          headers and a small sample of every raw frame
doctor.master(kind, master, ...)   one master
doctor.light(raw, view, masters)   one calibrated light of each set
diagnose(plan, doctor, calibrate, pool)  all of it, with quick masters made in memory
"""

from masterlight.doctor.findings import SEVERITIES, Finding, ordered
from masterlight.doctor.process import Doctor
from masterlight.doctor.quick import diagnose

__all__ = ["SEVERITIES", "Doctor", "Finding", "diagnose", "ordered"]
