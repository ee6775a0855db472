"""Colour patterns: the pixels of each colour, and whether they agree with what a header says."""

from dataclasses import dataclass

import numpy as np

from masterlight.core.frame import Frame
from masterlight.core.headers.geometry import period, places, shifted_pattern

CLASH, AGREE = 0.10, 0.02
"""Greens that differ by more than the first, while pixels at other places agree within the second, are not green."""


def colour_codes(pattern: str) -> np.ndarray:
    """A pattern as a square array of 0 red, 1 green, 2 blue; uint8."""
    return np.array(["RGB".index(letter) for letter in pattern], np.uint8).reshape(period(pattern), -1)


def colour_planes(mosaic: np.ndarray, pattern: str) -> dict[str, list[np.ndarray]]:
    """The pixels of each colour as they left the sensor, for level and noise before interpolation correlates them.

    mosaic (rows, cols); strided views of it by colour, "R", "G", "B" (other filters by their letters): each holds the
    pixels of one place in the pattern, so of a Bayer mosaic one red, two green, one blue.
    """
    n = period(pattern)
    return {colour: [mosaic[y::n, x::n] for y, x in at] for colour, at in places(pattern).items()}


@dataclass(frozen=True)
class PatternVerdict:
    """What the pixels say about a colour pattern; false when they contradict it."""

    ok: bool
    means_dn: tuple[float, ...]
    """Median level of each place in the pattern, row by row."""
    sentence: str

    def __bool__(self) -> bool:
        return self.ok


def verify_pattern(flat: Frame | np.ndarray, pattern: str) -> PatternVerdict:
    """Whether the green pixels of a pattern are equally bright, as in an evenly lit frame they must be.

    flat (rows, cols), best a calibrated flat; its middle is looked at. The pattern is contradicted when its greens
    differ by more than 10 % while those of the same pattern shifted agree within 2 %. Which of the other two is red
    and which is blue, no flat can tell.
    """
    n = period(pattern)
    bounds = [((s - min(s, 1500)) // 2 // n * n, min(s, 1500)) for s in flat.shape]
    (y0, h), (x0, w) = bounds
    middle = np.asarray(flat[y0 : y0 + h, x0 : x0 + w])
    means = np.array([[np.nanmedian(middle[y::n, x::n]) for x in range(n)] for y in range(n)])
    levels = tuple(float(m) for m in means.ravel())

    def spread(letters):
        greens = means[np.array(list(letters)).reshape(n, n) == "G"]
        return float(np.ptp(greens) / abs(greens.mean())) if greens.mean() else np.inf

    shifts = {shifted_pattern(pattern, y, x): (y, x) for y in range(n) for x in range(n)}
    others = {p: spread(p) for p in shifts if [a == "G" for a in p] != [a == "G" for a in pattern]}
    declared, (best, least) = spread(pattern), min(others.items(), key=lambda item: item[1])
    if declared > CLASH and least < AGREE:
        unlike = f"the pixels that {pattern} calls green differ by {100 * declared:.0f} %"
        alike = f"while those of {best} agree within {100 * least:.1f} %: the pattern or the order of rows is wrong"
        return PatternVerdict(False, levels, f"{unlike}, {alike}")
    if declared > CLASH:
        unlike = f"the greens of {pattern} differ by {100 * declared:.0f} %"
        return PatternVerdict(True, levels, f"{unlike}, but so do others: nothing is proved")
    return PatternVerdict(True, levels, f"the greens of {pattern} agree within {100 * declared:.1f} %")
