"""Lights that were registered, debayered or smoothed before, though no header says so: by borders and by noise."""

from collections.abc import Iterator

import numpy as np

from masterlight.core.statistics.scale import madn
from masterlight.doctor.evidence import Evidence, Look, sample
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor
from masterlight.session.groups import Group

PIECES, FAINT = 32, 3
"""Pieces of a row, and the share of these, one in so many, that are faintest and tell the noise."""
ALIKE = 0.92
"""Neighbours differ less than this part of what pixels two and four apart do where they share their noise."""
FEWEST = 3
"""Lights that must say the same."""
EDGE = 2
"""Columns without light that no sensor has, at least."""
CLIP = 4.0


def resampled(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D22: lights whose empty borders change from frame to frame, or whose neighbouring pixels share their noise."""
    for group in evidence.groups("light"):
        if len(group.meta.shape) > 2 or "registered" in group.meta.stages:
            continue
        looks = evidence.of(group)
        rows = {one.source: sample(one.frame)[:, 0] for one in looks[:: max(1, len(looks) // 12)][:12]}
        widths = {source: empty_edges(x) for source, x in rows.items()}
        if len(rows) >= FEWEST and len(set(widths.values())) >= FEWEST:
            yield registered(
                evidence, group, [one for one in looks if max(widths.get(one.source, (0, 0))) >= EDGE], widths
            )
        elif len(rows) >= FEWEST and group.meta.pattern is None:
            shares = [share for x in rows.values() if (share := shared_noise(x)) is not None]
            worst = float(np.median(shares)) if len(shares) >= FEWEST else 1.0
            if worst < ALIKE:
                sentence = f"""{group}: neighbouring pixels differ by {worst:.0%} of what pixels further apart do, raw
                    ones by 100 %: they share their noise, as after registration, debayering or smoothing. Raw frames
                    give the most control; darks and flats of raw frames fit no others"""
                yield finding("D22", "info", group.frames, worst, ALIKE, "of the difference", sentence)


def registered(evidence: Evidence, group: Group, bad: list[Look], widths: dict[str, tuple[int, int]]) -> Finding:
    """What to say of lights whose borders are empty."""
    part = next((part for part in evidence.plan.sets if group.frames[0] in part.frames), None)
    used = part is not None and bool(part.bias or part.dark or part.flat)
    widest = max(max(pair) for pair in widths.values())
    advice = """, and the masters of this plan fit raw frames only: give those, or take darks, flats and bias away"""
    sentence = f"""{some(bad)}: up to {widest} columns at their borders are empty, in each frame others: they were
        registered before{advice if used else "; they are used as they are"}"""
    return finding("D22", "warn" if used else "info", bad, widest, EDGE, "columns", sentence)


def empty_edges(x: np.ndarray) -> tuple[int, int]:
    """Columns at the left and right that are missing or exactly 0 in every row of a sample (rows, cols)."""
    dark = (~np.isfinite(x) | (x == 0)).all(axis=0)
    if dark.all() or dark.mean() > 0.5:
        return 0, 0
    light = np.flatnonzero(~dark)
    left, right = int(light[0]), int(len(dark) - 1 - light[-1])
    return (left if left >= EDGE else 0), (right if right >= EDGE else 0)


def shared_noise(x: np.ndarray) -> float | None:
    """How much neighbours differ, in what pixels two and four apart do, in the faintest parts of a sample (rows, cols).

    1 where the noise of each pixel is its own; None where too little is left to tell.
    """
    width = x.shape[1] // PIECES
    if width < 8:
        return None
    pieces = x[:, : PIECES * width].reshape(-1, width)
    pieces = pieces[np.isfinite(pieces).all(axis=1)]
    if len(pieces) < FAINT * 8:
        return None
    faint = pieces[np.argsort(np.median(pieces, axis=1))[: len(pieces) // FAINT]].astype(np.float64)
    near, two, four = (spread(faint[:, k:] - faint[:, :-k]) for k in (1, 2, 4))
    return max(near / two, near / four) if min(near, two, four) > 0 else None


def spread(differences: np.ndarray) -> float:
    """Standard deviation without outliers, which whole numbers do not make coarse."""
    scale = madn(differences.ravel()) or 1.0
    return float(np.std(differences[np.abs(differences) < CLIP * scale]))
