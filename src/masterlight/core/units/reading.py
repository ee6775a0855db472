"""What the numbers of a file mean: DN as stored, or parts of full scale, by their range, their noise and the header.

A converter gives whole numbers, so the noise of one exposure is a third of a DN at least, that of a stack of hundreds a
hundredth; where 1 is full scale, the noise of frames of 8 to 16 bits lies far below that of any frame in DN.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from masterlight.core.frame import FULL_DN, Frame, Meta, strips
from masterlight.core.statistics.scale import madn
from masterlight.core.units.figures import figure

Units = Literal["auto", "dn", "full-scale"]
Unit = Literal["dn", "full scale", "unclear"]
ROWS, PIXELS = 16, 60_000
"""Rows and pixels of a frame that are looked at, at most."""
BEYOND, FAR = 1.5, 4.0
"""What 99 % of the pixels, and all, stay below where 1 is full scale; division by a flat brings some above 1."""
BELOW = 0.02
"""Share of full scale below zero that subtraction may leave 1 % of the pixels at."""
QUIET, LOUD = 0.0125, 0.02
"""Noise below the first is not that of a frame in DN; above the second not that of one where 1 is full scale."""
LOUD_OF_8_BITS = 0.1
"""The latter for a camera of 8 bits."""
SMOOTH, PATTERN = 100.0, 0.3
"""A bias or dark whose levels differ by so many times its noise, and by so much of their median, is a model or a
difference of models, whose noise tells nothing."""
BRIGHT = 3.0
"""A bias or dark above so many times the level of the lights is not one of theirs in this unit."""
MOST_OF_PARTS, MOST_OF_BRIGHT_DARKS = 0.003, 0.0002
"""Noise, 200 and 13 DN of 65535, above which a frame can as well hold electrons or counts per second, or a difference,
unless its header tells otherwise: the first of all but flats, the second of a bias or dark as bright as `DIM` tells."""
DIM = 0.5
"""A bias or dark above this share of the level of the lights takes much from them: it must be surely so."""
WIDE, WIDE_LEVEL_DN = 65537.0, 16.0
"""1 DN of 16 bits in integers of 32, and the level from which on these can be nothing else."""
DARKS_OF_LIGHTS = 0.1, 1.5
"""Level of a bias or dark, in that of the lights, between which one of 32 bits is divided without being asked for."""
ASKED, DIVIDES_OUT = "as units", "a flat divides out"
DARKS = "bias", "dark", "flatdark"
PARTS: Unit = "full scale"
STORED: Unit = "dn"
UNCLEAR: Unit = "unclear"
CLAIMS = {PARTS: {"program", "bounds", "full scale"}, STORED: {"dn", "ours"}}
"""Which claims of a header tell a unit."""


class Sample(NamedTuple):
    """What some rows of a frame are like, in the numbers of the file."""

    lowest: float
    """1 % of the pixels lie below."""
    level: float
    high: float
    """99 % of the pixels lie below."""
    highest: float
    above: float
    """Share of the pixels above 1."""
    noise: float


class Company(NamedTuple):
    """What the other frames that a frame is used with tell."""

    bits: int | None = None
    """Of integer frames, 8 or 16; None when there are none."""
    light_dn: float | None = None
    """Level of a light."""


@dataclass(frozen=True)
class Reading:
    """What the numbers of one frame mean, and why."""

    source: str
    kind: str
    unit: Unit
    factor: float
    """From the numbers of the frame as it was opened to DN."""
    why: str
    level: float = 0.0
    """Median of the numbers in the file."""
    odd: bool = False
    """Whether its numbers are on another scale than those of integer frames of 16 bits."""
    format: str = "floats"
    full_dn: float = FULL_DN
    """DN of full scale."""
    claimed: bool = False
    """Whether the header tells this unit, or the program that wrote it and always takes this one."""

    disputed: bool = False
    """Whether it is unclear, and others that the frame goes with are clear: it must not be used with them."""

    @property
    def sure(self) -> bool:
        """Whether the header told what the numbers are, or it does not matter; and nobody who wants them read so."""
        asked = self.unit == UNCLEAR or self.why.startswith(ASKED)
        return not asked and (self.claimed or self.why == DIVIDES_OUT)

    @property
    def words(self) -> str:
        """What its numbers are taken for."""
        if self.unit != PARTS:
            return f"{self.format} are taken as stored, in DN"
        if self.format != "floats":
            way = "divided by" if self.factor < 1 else "multiplied by"
            return f"{self.format} are {way} {max(self.factor, 1 / self.factor):.6g} to be DN of {self.full_dn:.0f}"
        return f"floats from 0 to 1 are read as 0 to {figure(self.full_dn, 0)} DN"


@np.errstate(invalid="ignore")  # damaged files hold numbers of all kinds
def sample_of(frame: Frame) -> Sample | None:
    """A look at the numbers of a frame as its file holds them; None when there is none that is finite."""
    rows, cols = frame.shape[-2:]
    count = max(1, min(ROWS, rows, PIXELS // cols))
    lines = np.stack(strips(frame, count, inside=rows > 2 * count)).astype(np.float64) / frame.meta.scaled_by
    lines = lines.reshape(-1, cols)
    values = lines[np.isfinite(lines)]
    if not values.size:
        return None
    lowest, level, high = np.percentile(values, (1, 50, 99))
    apart = lines[:, 12:] - 2 * lines[:, 6:-6] + lines[:, :-12]  # of one colour in a mosaic, of Bayer or X-Trans
    apart = apart[np.isfinite(apart)]
    noise = madn(apart) if apart.size > 8 else 0.0
    if apart.size > 8 and not noise:  # whole numbers whose noise is below 1
        noise = np.ptp(np.percentile(apart, (2.275, 97.725))) / 4
    return Sample(*map(float, (lowest, level, high, values.max(), np.mean(values > 1.001), noise / np.sqrt(6))))


def read_scale(frame: Frame, company: Company, units: Units = "auto", sample: Sample | None = None) -> Reading:
    """What the numbers of a frame mean beside this company; `units` decides where two readings are possible."""
    sample = sample or sample_of(frame)
    meta = frame.meta
    if sample is None or not (sample.highest or sample.lowest):
        return Reading(frame.source, meta.kind, "dn", 1.0, "there is nothing in it")
    if meta.integer:
        return of_integers(frame, company, units, sample)
    unit, why = of_floats(meta, company, sample)
    if units != "auto" and (unit == UNCLEAR or meta.scaled_by == 1.0) and could_be_parts(meta, sample):
        unit, why = (PARTS if units == "full-scale" else STORED), f"{ASKED} {units} says"
    factor = full_scale(company, sample) if unit == PARTS else 1.0
    odd = unit == PARTS or (meta.scaled_by != 1.0) or could_be_parts(meta, sample)
    if unit == UNCLEAR and meta.kind == "flat" and meta.is_master and meta.contains_bias is not True:
        unit, why = STORED, DIVIDES_OUT
    full_dn = factor if unit == PARTS else FULL_DN
    claimed = bool(CLAIMS.get(unit, set()) & set(meta.scale_claims))
    more = {"full_dn": full_dn, "claimed": claimed}
    return Reading(frame.source, meta.kind, unit, factor / meta.scaled_by, why, sample.level, odd, **more)


def of_floats(meta: Meta, company: Company, sample: Sample) -> tuple[Unit, str]:
    """Which unit floats are in, and why."""
    claims = set(meta.scale_claims)
    if "ours" in claims and "program" not in claims and meta.scaled_by == 1.0:
        return STORED, "made by masterlight, in DN"
    if not could_be_parts(meta, sample):  # another program that saves a product of ours keeps its header
        return STORED, f"its values go from {sample.lowest:.4g} to {sample.highest:.4g}"
    if "dn" in claims and not claims & {"program", "bounds", "full scale"}:
        return STORED, "its header tells the unit"
    if "full scale" in claims and not claims & {"dn"}:
        return PARTS, "its header tells that 1 is full scale"
    spread, full = sample.high - sample.lowest, full_scale(company, sample)
    model = meta.kind in DARKS and spread > max(SMOOTH * sample.noise, PATTERN * abs(sample.level))
    stored = model or sample.noise == 0 or sample.noise > QUIET
    bright = meta.kind in DARKS and company.light_dn is not None and sample.level * full > BRIGHT * company.light_dn
    parts = (model or sample.noise < (LOUD if full == FULL_DN else LOUD_OF_8_BITS)) and not bright
    if not stored and not claims & {"program", "bounds"} and rates_have(meta, company, sample, full):
        parts = False
    if stored != parts:
        told = f"noise {sample.noise:.3g}, values up to {sample.highest:.4g}"
        return (STORED if stored else PARTS), told
    if parts and claims & {"program", "bounds"}:
        return PARTS, (f"written by {meta.program}" if "program" in claims else "its bounds are 0:1")
    if "dn" in claims:
        return STORED, "its header tells the unit"
    return UNCLEAR, f"values from {sample.lowest:.3g} to {sample.highest:.3g}, noise {sample.noise:.3g}"


def rates_have(meta: Meta, company: Company, sample: Sample, full: float) -> bool:
    """Whether floats of this noise can as well be rates or differences as parts of full scale."""
    if meta.kind == "flat" or full != FULL_DN:
        return False
    light_dn = company.light_dn if meta.kind in DARKS else None
    much = light_dn is not None and sample.level * full > DIM * light_dn
    return sample.noise > (MOST_OF_BRIGHT_DARKS if much else MOST_OF_PARTS)


def could_be_parts(meta: Meta, sample: Sample) -> bool:
    """Whether floats lie where they can be parts of full scale; flats above 1 are normalized, and divide out."""
    if meta.kind == "flat" and sample.above > 0.01:
        return False
    return sample.highest <= FAR and max(sample.level, sample.high) <= BEYOND and sample.lowest >= -BELOW


def full_scale(company: Company, sample: Sample) -> float:
    """DN of a float of 1: 65535; of a camera of 8 bits 255, unless the program divided those by 65535 as well."""
    return 255.0 if company.bits == 8 and sample.highest * FULL_DN > 256 else FULL_DN


def of_integers(frame: Frame, company: Company, units: Units, sample: Sample) -> Reading:
    """Integers of another depth than those they go with."""
    bits, usual = frame.meta.bits, company.bits or 16
    full = {8: 257.0, 32: 1 / WIDE}.get(bits, 1.0) / (257.0 if usual == 8 else 1.0)
    fits = sample.highest <= (255 if usual == 8 else 65535)
    wide = bits == 32 and sample.level / WIDE >= WIDE_LEVEL_DN
    if frame.meta.kind == "flat" and frame.meta.is_master:
        unit, why = STORED, DIVIDES_OUT
    elif wide and goes_beside(frame.meta.kind, sample.level * full, company):
        unit, why = PARTS, f"integers of 32 bits whose median is {sample.level:.4g}"
    elif fits and not (bits == 8 and usual == 16):
        unit, why = STORED, f"values up to {sample.highest:.0f}"
    else:
        unit, why = UNCLEAR, f"values up to {sample.highest:.0f} beside frames of {usual} bits"
    if (unit == UNCLEAR and units != "auto") or (unit == PARTS and units == "dn"):
        unit, why = (STORED if units == "dn" else PARTS), f"{ASKED} {units} says"
    told = f"integers of {bits} bits"
    factor = full if unit == PARTS else 1.0
    odd, full_dn = not fits or bits < usual, 255.0 if usual == 8 else FULL_DN
    return Reading(frame.source, frame.meta.kind, unit, factor, why, sample.level, odd, told, full_dn)


def goes_beside(kind: str, level_dn: float, company: Company) -> bool:
    """Whether a frame of this level can be of the lights it goes with; a sum of exposures that is divided cannot."""
    if company.light_dn is None or kind == "flat":
        return True
    least, most = DARKS_OF_LIGHTS if kind in DARKS else (0.0, BRIGHT)
    return least * company.light_dn <= level_dn <= most * company.light_dn
