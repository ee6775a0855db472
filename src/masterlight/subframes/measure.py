"""Measure what a frame is like: level, spread, noise, and on demand more, of each of its planes one `Measurement`."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from masterlight.core.errors import FrameError, ParameterError, Rejected
from masterlight.core.frame import Frame, Kind, frame_of, naming, strips
from masterlight.core.headers.geometry import period, places
from masterlight.core.statistics.rounding import middle, step_between
from masterlight.core.statistics.scale import SCALES, madn
from masterlight.core.units.figures import figure
from masterlight.subframes.bands import bands_of
from masterlight.subframes.measurement import FLUCTUATION_FIELDS, HEALTH_FIELDS, STAR_FIELDS, Measurement, StarList
from masterlight.subframes.radial import profile_of_stars
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.sky import (
    asked_of_sky,
    fluctuations,
    gradient,
    header_fields,
    measure_sky,
    mesh_of_strips,
    noise_of_steps,
    sky_fields,
)  # fmt: skip
from masterlight.subframes.stars.crossings import crossings_of
from masterlight.subframes.stars.find import find_stars
from masterlight.subframes.stars.mosaic import mosaic_of
from masterlight.subframes.stars.shared import star_statistics
from masterlight.subframes.stars.sharp import NO_MOSAIC
from masterlight.subframes.wings import light_shares

SAMPLES, STRIPS = 250_000, 16
"""Pixels that `measure` looks at, in so many strips: the median of them is sure to 0.3 % of their scatter."""
FEW_ROWS, FEW_COLS = 24, 5000
"""Rows, and pixels of each, that are looked at of a calibration frame."""
LIKELY = 2.5
"""A keyword of noise that differs by more than this factor from what the pixels show tells of other pixels."""
APART = {1: (2, 8), 2: (2, 8), 6: (6, 12)}
"""Columns between pixels of one colour that are compared for their noise, by the period of the colours: near ones in a
frame as it was taken, where a gradient counts least; far ones in an interpolated frame, where those up to 5 columns
apart share their noise."""


def measure(
    frame: Frame, wanted: Collection[str] = (), scale: str = "bwmv", *, kind: Kind = "light",
    before: Frame | None = None, saturation_dn: float | None = None,
) -> list[Measurement]:  # fmt: skip
    """What each plane of a frame is like, from a sample of its pixels; what else is `wanted` costs more.

    scale: a name of `core.statistics.scale.SCALES`; it also tells the location. wanted: names of `SKY_FIELDS` and of
    `STAR_FIELDS`, "keywords" for the header; others are left to the caller. The stars of a colour frame are those of
    the mean of its planes, found in all of its pixels; without any, `stars` is 0 and what else stars tell is None.
    FrameError for a frame without pixels, and for calibration frames that are empty or saturated (`saturation_dn`).

    Noise of a bias, dark or flat (`kind`) is told by its difference from the frame taken `before`, brought to the same
    level, since the pattern of the sensor is in both; of the first of them by the scatter within the frame. That of
    other frames by the keywords NOISE00, NOISE01 ... or NOISE, which calibration and debayering write: a registered
    frame looks smoother than it is, by up to a factor of four, since its neighbours share their noise. Where no keyword
    can be true of these pixels (a stack with the header of a sub), by 1.4826 MAD of the difference of pixels of one
    colour two columns apart, over sqrt(2), to which neither a gradient nor a colour filter array adds.

    A light whose stars are wanted as well is best measured by `SubframeSelector.measure`, before anything interpolates
    it: in all of its pixels, stars left out of its noise by their structure.
    """
    if scale not in SCALES:
        raise ParameterError(f"scale: '{scale}' is not known; there are {', '.join(SCALES)}")
    with naming(frame):
        if kind in ("bias", "dark", "flat", "flatdark"):
            return [measure_calibration(frame, kind, before, saturation_dn)]
        rows, cols = frame.shape[-2:]
        height = max(2, min(rows, round(SAMPLES / STRIPS / cols)))
        few = rows > STRIPS * height
        parts = strips(frame, STRIPS, height, inside=True) if few else [frame.pixels(0, rows, 0, cols)]
        keywords = keywords_of(frame)
        claims = keyword_noise(frame, keywords)
        more: dict[str, Any] = star_fields(frame) if set(wanted) & set(STAR_FIELDS) else {}
        asked = bool(set(wanted) & set(FLUCTUATION_FIELDS))
        fluctuation = fluctuations(frame) if asked else [(None, None)] * len(claims)
    more |= header_fields(frame.meta) | {"keywords": keywords if "keywords" in wanted else {}}
    near, far = APART[period(frame.meta.pattern)] if len(frame.shape) == 2 else APART[1]
    out = []
    for plane, (claim, background) in enumerate(zip(claims, fluctuation, strict=True)):
        flat = [s[plane] if s.ndim == 3 else s for s in parts]
        values = np.concatenate([s[np.isfinite(s)] for s in flat])
        if not values.size:
            empty = [not any(np.isfinite(s[p] if s.ndim == 3 else s).any() for s in parts) for p in range(len(claims))]
            raise FrameError(frame.source, f"{whose(empty)} no pixel that is not missing; leave it out")
        location, sides = SCALES[scale](values)
        seen = noise_of_steps(flat[::2], far, sloping=True) if claim else 0.0
        likely = claim and (seen == 0 or seen / LIKELY <= claim <= seen * LIKELY)
        own = {"pixel_noise_dn": seen if likely and seen > 0 else None}
        own |= {name: v for name, v in zip(FLUCTUATION_FIELDS, background, strict=True) if name in wanted}
        if claim and not likely:
            own["notes"] = ("its keyword NOISE is not true of its pixels, whose noise was measured",)
        noise = claim if likely else noise_of_steps(flat, near)
        step = step_between(flat[len(flat) // 2])
        sky = None if frame.meta.pattern else mesh_of_strips(flat, frame.shape, step)
        own |= sky_fields(values, wanted) | more | {"step_dn": step, "sky_dn": sky}
        out.append(Measurement(frame.source, location, sides, noise, **own))
    return out


def measure_calibration(frame: Frame, kind: Kind, before: Frame | None, saturation_dn: float | None) -> Measurement:
    """Level, scatter and noise of a calibration frame, as `measure` gives them."""
    pixels = few_rows(frame)
    finite = pixels[np.isfinite(pixels)]
    if finite.size < pixels.size / 2:
        raise FrameError(frame.source, "more than half of its pixels are missing (NaN); leave it out")
    refuse_constant(frame, finite)
    level, flat = middle(finite), kind == "flat"
    if flat and saturation_dn is not None and level > saturation_dn:
        told = f"is saturated (median {figure(level, 0)} DN): such a flat corrects nothing; expose shorter"
        raise FrameError(frame.source, told)
    if flat and level <= 0:
        raise FrameError(frame.source, f"has a level of {figure(level)} DN after calibration: it saw no light")
    scatter = noise = madn(finite)
    other = few_rows(before) if before is not None and before.shape == frame.shape else None
    if other is not None:
        ratio = level / np.median(other[np.isfinite(other)]) if flat else 1.0
        noise = float(madn(pixels - ratio * other) / np.sqrt(1 + ratio**2)) or scatter
    more = {"exposure_s": frame.meta.exposure_s, "step_dn": step_between(pixels)}
    return Measurement(frame.source, level, (scatter, scatter), noise, **more)


def refuse_constant(frame: Frame, pixels: np.ndarray | None = None) -> None:
    """Raise FrameError for a raw frame whose pixels are all alike; once bias is taken out, that cannot be seen."""
    pixels = few_rows(frame) if pixels is None else pixels
    if pixels.size > 1 and not np.any(pixels != pixels.flat[0]):
        told = f"every pixel is {pixels.flat[0]:g} DN: the exposure or the download failed; leave it out"
        raise FrameError(frame.source, told)


def few_rows(frame: Frame) -> np.ndarray:
    """Pixels from some rows spread over a frame: (rows, n) float32."""
    return np.concatenate(strips(frame, FEW_ROWS), axis=-2)[..., :: -(-frame.shape[-1] // FEW_COLS)]


def keywords_of(frame: Frame) -> dict:
    """The header as a plain dict, without comments; None for a value that cannot be read."""
    header = frame.header
    found = dict.fromkeys(key for key in header if key not in ("", "COMMENT", "HISTORY"))
    for key in found:
        with suppress(Exception):  # whatever the header's library makes of a malformed card
            found[key] = header[key]
    return found


def keyword_noise(frame: Frame, keywords: Mapping[str, Any]) -> list[float | None]:
    """Noise of each plane before interpolation as keywords tell it; None where they do not.

    NOISE00, NOISE01 ... are planes, or the colours of a mosaic, whose noise is their root mean square by share.
    """
    planes = frame.planes
    if frame.meta.frames > 1:
        return [None] * planes
    numbered = [positive(keywords.get(f"NOISE{i:02d}")) for i in range(planes)]
    if planes == 1 and frame.meta.pattern:
        shares = [len(at) for at in places(frame.meta.pattern).values()]
        colours = [positive(keywords.get(f"NOISE{i:02d}")) for i in range(len(shares))]
        numbered = [None if None in colours else float(np.sqrt(np.average(np.square(colours), weights=shares)))]
    elif planes == 1 and positive(keywords.get("NOISE01")):
        numbered = [None]
    return [noise or positive(keywords.get("NOISE")) for noise in numbered]


def positive(value) -> float | None:
    """A number above zero, or None."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) and value > 0
    return float(value) if number else None


def star_fields(frame: Frame) -> dict[str, float | int | None]:
    """Those optional fields that the stars of a frame tell."""
    found = SubframeSelector().measure(frame)
    return {"stars": 0} if isinstance(found, Rejected) else stars_of(found[0])


def stars_of(measurement: Measurement) -> dict[str, Any]:
    """What stars tell of a frame, for the measurements of its other planes."""
    return {name: getattr(measurement, name) for name in STAR_FIELDS}


def measure_light(
    settings: SubframeSelector, frame, source=None, saturation_dn=None, gain_e_per_dn=None, wanted=(), sky=None,
    mosaic=NO_MOSAIC, pattern=None,
) -> tuple[Measurement, StarList] | Rejected:  # fmt: skip
    """One light and its stars, see `SubframeSelector.measure`; `sky` where colours are interpolated, which hides it.

    mosaic (rows, cols) of a colour pattern: what the frame was debayered from, which shows hot pixels as they are.
    """
    frame = frame_of(frame)
    source = source or frame.source
    saturation_dn = saturation_dn or frame.meta.saturation_dn
    array = np.asarray(frame)
    image, boxes = to_measure(array, frame.meta.pattern)
    row = sky or measure_sky(source, frame.meta, boxes, saturation_dn)
    if not row:
        empty = [not np.isfinite(plane).any() for plane in array] if array.ndim == 3 else []
        words = f"{whose(empty)} no pixel that is not missing"
        return Rejected(source, "measure", words) if any(empty) else row
    ceiling = 0.99 * saturation_dn if saturation_dn else None
    if array.ndim == 3:
        mosaic, pattern = mosaic_of(array)
    elif frame.meta.pattern:
        mosaic, pattern = array, frame.meta.pattern
    sharp = mosaic, period(pattern)
    gain_e_per_dn = gain_e_per_dn or frame.meta.gain_e_per_dn
    found, total, shape, level = find_stars(settings, image, ceiling, gain_e_per_dn, *sharp)
    if len(found) < settings.min_stars:
        few = "no star" if not len(found) else f"only {len(found)} of the {settings.min_stars} stars needed"
        words = f"{few} found above {settings.sigma:g} sigma (noise {row.noise_dn:.3g} DN, background "
        return Rejected(source, "measure", f"{words}{row.location_dn:.5g} DN): clouds, lens cap or focus?")
    more = {"stars": total, "gradient_dn": gradient(level), "profile": profile_of_stars(image, found)}
    asked = asked_of_sky(boxes[0], period(frame.meta.pattern), wanted) if wanted else {}
    if set(wanted) & set(HEALTH_FIELDS):
        asked |= asked_of_stars(image, found, row.noise_dn) | {"bands": bands_of(boxes[0], row.noise_dn)}
    return replace(row, **more, **shape, **star_statistics(found), **asked), found


def asked_of_stars(image: np.ndarray, found: StarList, noise_dn: float) -> dict[str, Any]:
    """Those `HEALTH_FIELDS` that the stars of a frame tell, which were found in this image (rows, cols)."""
    return {"trails": crossings_of(found), "light_shares": light_shares(image, found, noise_dn)}


def whose(empty: Sequence[bool]) -> str:
    """Which planes of a frame are concerned, as the beginning of a sentence: `its red and blue planes have`."""
    names = [name for name, concerned in zip(("red", "green", "blue"), empty, strict=False) if concerned]
    if len(names) == len(empty):
        return "it has"
    return f"its {' and '.join(names)} plane{'s have' if len(names) > 1 else ' has'}"


def to_measure(array: np.ndarray, pattern: str | None = None) -> tuple[np.ndarray, list[np.ndarray]]:
    """What to measure of a frame: (image for stars, planes for its sky), all (rows, cols) float32.

    The mean of the planes of a colour frame; of a mosaic its green pixels, the others NaN. Its sky is told by those of
    one place of a Bayer pattern, but by all of X-Trans, where one place has but 1/36 of the pixels.
    """
    if array.ndim == 3:
        image = np.ascontiguousarray(array.mean(axis=0, dtype=np.float32))
        return image, [image]
    if not pattern:
        return np.ascontiguousarray(array), [array]
    image, n, at = array.copy(), period(pattern), places(pattern.upper())
    for y, x in [place for colour in at if colour != "G" for place in at[colour]]:
        image[y::n, x::n] = np.nan
    return image, [array[y::n, x::n] for y, x in (at["G"][:1] if n == 2 else at["G"])]
