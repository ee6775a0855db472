"""Where each light of a simulated night points, and through what air."""

import math
from dataclasses import dataclass

import numpy as np

from masterlight.simulate.night import Night


@dataclass(frozen=True, eq=False)
class Pointing:
    """The truth about one light: where it looks, through what air."""

    index: int
    filter: str
    matrix: np.ndarray
    """3x3, pixel of light 0 -> pixel of this light."""
    fwhm_px: float
    """Width along the narrow axis."""
    elongation: float
    """Width along the wide axis, over that along the narrow one."""
    angle_rad: float
    """Direction of the wide axis, from x towards y."""
    transparency: float
    """Fraction of the starlight that arrives."""
    sky_dn: float
    """Level of the sky at the centre, before the flat."""
    slope: tuple[float, float]
    """Sky gradient along x and y of the frame, from the centre to the edge, as a fraction of the sky."""
    cloudy: bool
    tracking_error: bool
    trail: tuple[float, ...] | None
    """A satellite: x and y of a point, direction in radians, sigma in pixels, peak in DN."""


def pointings(night: Night) -> list[Pointing]:
    """Where each light of the night points, in order; light 0 is where the others are measured from."""
    rng = night.rng(1)
    total = night.count("light")
    cloudy, bad, crossed = troubled(night, rng.permutation(np.arange(1, max(total, 1))).tolist())
    heading = rng.uniform(0, 2 * np.pi)
    made = []
    for i in range(total):
        filter = night.filter_of("light", i)
        turn = night.turning_deg * i / max(total - 1, 1)
        turn += night.rotation_deg * rng.standard_normal() if i else 0.0
        distance, toward = night.dither_px * math.sqrt(rng.uniform()) * (i > 0), rng.uniform(0, 2 * np.pi)
        shift = np.array([distance * math.cos(toward), distance * math.sin(toward)])
        if night.meridian_flip and i >= (total + 1) // 2:
            turn, shift = turn + 180.0, shift + night.dither_px * np.array([1.4, -0.9])
        air = 1.0 - 0.04 * i / max(total, 1)
        clear = air * (1 - 0.02 * rng.uniform())
        sky = night.sky_dn * night.throughput(filter) * (1.1 - 0.15 * air + 0.03 * rng.standard_normal())
        lost = night.clouds * rng.uniform(0.85, 1.0) if i in cloudy else 0.0
        drift = heading + 0.02 * i
        matrix = rigid(night.shape, turn, shift)
        slope = matrix[:2, :2] @ (night.gradient * np.array([math.cos(drift), math.sin(drift)]))
        made.append(Pointing(
            index=i, filter=filter, matrix=matrix, cloudy=i in cloudy, tracking_error=i in bad,
            fwhm_px=night.fwhm_px * math.exp(night.fwhm_spread * rng.standard_normal()),
            elongation=rng.uniform(1.7, 2.4) if i in bad else rng.uniform(1.0, 1.08), angle_rad=rng.uniform(0, np.pi),
            transparency=clear * (1 - lost), sky_dn=sky * (1 + 0.9 * lost), slope=(float(slope[0]), float(slope[1])),
            trail=satellite(night, rng, sky) if i in crossed else None,
        ))  # fmt: skip
    return made


def troubled(night: Night, odd: list[int]) -> tuple[set[int], set[int], set[int]]:
    """The lights through cloud, of bad tracking, under a satellite: other ones for each kind of trouble.

    odd: the lights that something may befall, in random order. One after each kind stays well; where that leaves too
    few, only one after each kind that is asked for, or none so that each kind befalls some. There may be fewer.
    """
    wanted = night.cloudy, night.tracking_errors, night.trails
    ways = []
    for spared in ((1, 1, 1), tuple(int(n > 0) for n in wanted), (0, 0, 0)):
        starts = [sum(wanted[:k]) + sum(spared[:k]) for k in range(len(wanted))]
        ways.append([set(odd[start : start + n]) for start, n in zip(starts, wanted, strict=True)])
    plenty, asked, crowded = ways
    for way, most in ((plenty, len(odd)), (asked, len(odd)), (plenty, 1), (crowded, 1)):
        if all(len(lights) >= min(n, most) for lights, n in zip(way, wanted, strict=True)):
            break
    else:
        way = plenty
    cloudy, bad, crossed = way
    return cloudy, bad, crossed


def shortage(night: Night, made: list[Pointing]) -> str:
    """What the night has less of than was asked for, in a sentence; '' where there is all of it."""
    told = []
    for name, count in (
        ("cloudy", sum(p.cloudy for p in made)),
        ("tracking_errors", sum(p.tracking_error for p in made)),
        ("trails", sum(p.trail is not None for p in made)),
    ):
        if count < getattr(night, name):
            told.append(f"Night.{name} {getattr(night, name)}: {count} made")
    each = "the first light is spared, and one light has one trouble; more Night.lights leave room"
    return f"{len(made)} lights are too few: {', '.join(told)} ({each})" if told else ""


def rigid(shape: tuple[int, int], turn_deg: float, shift_px) -> np.ndarray:
    """The 3x3 matrix that turns about the centre of the frame, then shifts."""
    c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = [[c, -s], [s, c]]
    matrix[:2, 2] = centre + shift_px - matrix[:2, :2] @ centre
    return matrix


def satellite(night: Night, rng: np.random.Generator, sky_dn: float) -> tuple[float, ...]:
    """A satellite's line across the frame: x, y, direction, sigma, peak."""
    x, y = rng.uniform(0.25, 0.75) * night.cols, rng.uniform(0.25, 0.75) * night.rows
    return x, y, rng.uniform(0, np.pi), 0.5 * night.fwhm_px, rng.uniform(0.4, 2.0) * (sky_dn + 50.0)
