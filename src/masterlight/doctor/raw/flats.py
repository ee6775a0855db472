"""What is wrong with the flats of a set, place by place."""

from collections.abc import Iterator

from masterlight.doctor import pictures
from masterlight.doctor.evidence import Evidence
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor
from masterlight.session.witness import DOUBT


def flats_called_light(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """H01: lights that look like flats, as the plan saw when it looked at their pixels, and stay lights."""
    for group in evidence.groups("light"):
        doubted = {f: note for f in group.frames for note in f.meta.notes if note.startswith(DOUBT)}
        if doubted:
            sentence = f"{some(list(doubted))}: called light, but {next(iter(doubted.values()))}"
            crop = pictures.crop_of(next(iter(doubted)))
            yield finding("H01", "warn", list(doubted), len(doubted), 0, "frames", sentence, crop)
