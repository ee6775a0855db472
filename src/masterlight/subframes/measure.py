"""What integration must know of each frame before it starts: level, scale, noise, and on demand more."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.special import erfc

from masterlight.core.errors import FrameError, ParameterError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.headers import period, places
from masterlight.core.scale import SCALES, background_fluctuation, noise_sides
from masterlight.subframes.select import StarList, SubframeSelector

SAMPLES = 250_000
"""Pixels that `measure` looks at: the median of so many is sure to 0.3 % of their scatter."""
BAND_PIXELS = 1 << 21
"""Pixels in memory at once while the background of a whole frame is looked at."""
LIKELY = 2.5
"""A keyword of noise that differs by more than this factor from what the pixels show tells of other pixels."""
NEAR, FAR = 2, 8
CELL_PX, AROUND_PX = 256, 7
"""Plain sky is told in cells of so many columns, by the mean of a square of this side around each pixel."""
"""Columns between pixels that are compared for their noise: near ones in a frame as it was taken, where a gradient
counts least; far ones in an interpolated frame, where those up to 5 columns apart share their noise."""
STAR_FIELDS = ("psf_flux_dn", "psf_mean_flux_dn", "fwhm_px", "eccentricity", "stars")
SKY_FIELDS = ("mean_dn", "mean_deviation_dn", "noise_scale_dn", "background_noise_dn")


@dataclass(frozen=True)
class Measurement:
    """What integration must know of one plane of a frame before it starts; of a light, before registration."""

    source: str
    location_dn: float
    """Median of the background."""
    scale_dn: float | tuple[float, float]
    """Dispersion about the median, one number or (below, above)."""
    noise_dn: float
    """Of one pixel, before interpolation made neighbours alike, where a keyword tells it."""
    exposure_s: float | None = None
    flux_ratio: float | None = None
    """Flux of stars in this frame over that of the same stars in the reference."""
    mean_dn: float | None = None
    mean_deviation_dn: float | None = None
    """Average absolute deviation from the median."""
    noise_scale_dn: float | None = None
    """Spread of the pixels near the median, mean of both sides: the signal of the SNR weight."""
    background_noise_dn: float | None = None
    """M*: how far the pixels below the large-scale background lie below it, in the median."""
    psf_flux_dn: float | None = None
    """Light of all stars together."""
    psf_mean_flux_dn: float | None = None
    """Sum over the stars of their light per pixel."""
    fwhm_px: float | None = None
    eccentricity: float | None = None
    stars: int | None = None
    pixel_noise_dn: float | None = None
    """Noise of the pixels as they come to integration, where interpolation has lowered it; None where it has not."""
    correlation: float | None = None
    """Variance of the sum of many pixels over the sum of their variances; None where what is known of noise tells."""
    gain_e_per_dn: float | None = None
    read_noise_e: float | None = None
    keywords: Mapping = field(default_factory=dict)
    """The frame's header, where weights come from it."""
    notes: tuple[str, ...] = ()
    """What had to be decided while it was measured."""


@contextmanager
def naming(frame: Frame) -> Iterator[None]:
    """What goes wrong while a frame is read becomes a FrameError that carries the frame's source."""
    try:
        yield
    except FrameError as error:
        raise error if error.source == frame.source else FrameError(frame.source, str(error)) from error
    except OSError as error:
        raise FrameError(frame.source, f"it cannot be read: {error}; leave it out, or copy it again") from error


def measure(frame: Frame, wanted: tuple[str, ...] = (), scale: str = "bwmv") -> list[Measurement]:
    """Level, spread and noise of each plane, from 16 strips spread over the frame; what else is `wanted` costs more.

    scale: a name of `kernels.scale.SCALES`; it also tells the location. wanted: names of `SKY_FIELDS` and of
    `STAR_FIELDS`, others are left to the caller; the stars of a colour frame are those of the mean of its planes, found
    in all of its pixels; without any, `stars` is 0 and the other fields of stars are None.

    Noise is that of a keyword NOISE00, NOISE01 ... or NOISE, which calibration and debayering write before pixels are
    interpolated: a registered frame looks smoother than it is, since its neighbours share their noise, and by how much
    depends on the fraction of a pixel that it was shifted by, so that weights by what is seen would be wrong by up to a
    factor of four. Where there is none, or none that can be true of these pixels (by a factor of 5; a stack with the
    header of a sub), it is 1.4826 MAD of the difference of pixels two columns apart, over sqrt(2): neither a gradient
    nor a colour filter array adds to it.
    """
    if scale not in SCALES:
        raise ParameterError(f"scale: '{scale}' is not known; there are {', '.join(SCALES)}")
    with naming(frame):
        strips = strips_of(frame)
        keywords = keywords_of(frame)
        told = noises_told(frame, keywords)
        stars = star_fields(frame) if set(wanted) & set(STAR_FIELDS) else {}
        fluctuation = fluctuations(frame) if "background_noise_dn" in wanted else [None] * len(told)
    found = []
    for plane, (noise, background) in enumerate(zip(told, fluctuation, strict=True)):
        flat = [s[plane] if s.ndim == 3 else s for s in strips]
        values = np.concatenate([s[np.isfinite(s)] for s in flat])
        if not values.size:
            raise FrameError(frame.source, "it has no pixel that is not missing; leave it out")
        location, sides = SCALES[scale](values)
        seen = noise_seen(flat[::2], FAR) if noise else 0.0
        likely = noise and (seen == 0 or seen / LIKELY <= noise <= seen * LIKELY)
        doubtful = bool(noise) and not likely
        found.append(
            Measurement(
                source=frame.source,
                location_dn=location,
                scale_dn=sides,
                noise_dn=noise if likely else noise_seen(flat, NEAR),
                exposure_s=frame.meta.exposure_s,
                pixel_noise_dn=seen if likely and seen > 0 else None,
                gain_e_per_dn=frame.meta.gain_e_per_dn,
                read_noise_e=frame.meta.read_noise_e,
                background_noise_dn=background,
                keywords=keywords if "keywords" in wanted else {},
                notes=("its keyword NOISE is not true of its pixels, whose noise was measured",) if doubtful else (),
                **sky_fields(values, wanted),
                **stars,
            )
        )
    return found


def strips_of(frame: Frame) -> list[np.ndarray]:
    """About `SAMPLES` pixels of a frame as 16 strips of whole rows; all of a small one."""
    rows, cols = frame.shape[-2:]
    height = max(2, min(rows, round(SAMPLES / 16 / cols)))
    if rows <= 16 * height:
        return [frame.pixels(0, rows, 0, cols)]
    return [frame.pixels(y, y + height, 0, cols) for y in sorted({int(y) for y in np.linspace(0, rows - height, 16)})]


def noise_seen(strips: list[np.ndarray], apart: int) -> float:
    """Noise as the differences of pixels so many columns apart show it; of far ones about their median, the slope.

    Pixels whose surroundings stand above the sky are left out: stars would count as noise.
    """
    found = []
    for strip in strips:
        dark = sky_pixels(strip)
        step = strip[:, apart:] - strip[:, :-apart]
        found.append(step[dark[:, apart:] & dark[:, :-apart] & np.isfinite(step)])
    steps = np.concatenate(found)
    middle = np.median(steps) if apart == FAR and steps.size else np.float32(0)
    return 1.4826 / 2**0.5 * float(np.median(np.abs(steps - middle))) if steps.size else 0.0


def sky_pixels(strip: np.ndarray) -> np.ndarray:
    """Which pixels of a strip (h, cols) lie in plain sky: the mean of their surroundings is as low as that of most."""
    rows, cols = strip.shape
    width = cols // max(1, cols // CELL_PX)
    cells = -(-cols // width)
    there = np.isfinite(strip)
    padded = np.full((rows, cells * width), np.nan, np.float32)
    padded[:, :cols] = np.where(there, strip, np.nan)
    level = by_cell(padded, cells)
    raised = np.nan_to_num(padded - np.repeat(level, width))[:, :cols]
    padded[:, :cols] = uniform_filter(raised, AROUND_PX)
    usual = by_cell(padded, cells)
    padded[:] -= np.repeat(usual, width)
    spread = by_cell(np.where(padded <= 0, -padded, np.nan), cells)
    return (padded <= 2 * 1.4826 * np.repeat(spread, width))[:, :cols] & there


def by_cell(strip: np.ndarray, cells: int) -> np.ndarray:
    """Median of what is not missing in each of so many cells along a strip (h, cells * width), (cells,) float32."""
    values = np.sort(strip.reshape(len(strip), cells, -1).swapaxes(0, 1).reshape(cells, -1), axis=1)
    count = np.maximum(np.isfinite(values).sum(axis=1), 1)
    row = np.arange(cells)
    return 0.5 * (values[row, (count - 1) // 2] + values[row, count // 2])


def keywords_of(frame: Frame) -> dict:
    """The header as a plain dict, without comments; None for a value that cannot be read."""
    header, found = frame.header, {}
    for key in header:
        if key not in ("", "COMMENT", "HISTORY") and key not in found:
            try:
                found[key] = header[key]
            except Exception:  # whatever the header's library makes of a malformed card
                found[key] = None
    return found


def noises_told(frame: Frame, keywords: Mapping) -> list[float | None]:
    """Noise of each plane before interpolation as keywords tell it; None where they do not.

    NOISE00, NOISE01 ... are planes, or the colours of a mosaic, whose noise is their root mean square by share.
    """
    planes = frame.shape[0] if len(frame.shape) == 3 else 1
    if frame.meta.frames > 1:
        return [None] * planes
    numbered = [positive(keywords.get(f"NOISE{i:02d}")) for i in range(planes)]
    if planes == 1 and frame.meta.pattern:
        shares = [len(at) for at in places(frame.meta.pattern).values()]
        colours = [positive(keywords.get(f"NOISE{i:02d}")) for i in range(len(shares))]
        known = None not in colours
        numbered = [float(np.sqrt(np.average(np.square(colours), weights=shares))) if known else None]
    elif planes == 1 and positive(keywords.get("NOISE01")):
        numbered = [None]
    return [noise or positive(keywords.get("NOISE")) for noise in numbered]


def positive(value) -> float | None:
    """A number above zero, or None."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) and value > 0
    return float(value) if number else None


def sky_fields(values: np.ndarray, wanted: tuple[str, ...]) -> dict[str, float]:
    """Those optional fields that a sample of pixels tells."""
    made = {
        "mean_dn": lambda: np.mean(values, dtype=np.float64),
        "mean_deviation_dn": lambda: np.mean(np.abs(values - np.median(values)), dtype=np.float64),
        "noise_scale_dn": lambda: np.mean(noise_sides(values)),
    }
    return {name: float(compute()) for name, compute in made.items() if name in wanted}


def fluctuations(frame: Frame) -> list[float]:
    """M* of each plane, from every fourth row and column: one colour of a mosaic."""
    rows, cols = frame.shape[-2:]
    step = 6 if period(frame.meta.pattern) == 6 else 4
    height = step * max(1, BAND_PIXELS // cols // step)
    bands = [frame.pixels(y, min(y + height, rows), 0, cols)[..., ::step, ::step] for y in range(0, rows, height)]
    sparse = np.concatenate(bands, axis=-2)
    return [background_fluctuation(plane)[0] for plane in (sparse if sparse.ndim == 3 else sparse[None])]


def star_fields(frame: Frame) -> dict[str, float | int]:
    """Those optional fields that the stars of a frame tell."""
    found = SubframeSelector().measure(frame)
    if isinstance(found, Rejected):
        return {"stars": 0}
    row, stars = found
    flux, mean_flux = psf_signal(stars)
    return {
        "psf_flux_dn": flux,
        "psf_mean_flux_dn": mean_flux,
        "fwhm_px": row.fwhm_px,
        "eccentricity": row.eccentricity,
        "stars": row.stars,
    }


def psf_signal(stars: StarList) -> tuple[float, float]:
    """Light of all unsaturated stars, and the sum of each star's light per pixel of its disc, outliers tamed.

    The disc ends at a tenth of the profile's height. Light per pixel that robust Chauvenet rejection finds out of place
    counts as the nearest that is not.
    """
    use = ~stars.saturated
    exponent = 1.0 / stars.beta
    wider = np.log2(10.0) ** 0.5 if np.isnan(stars.beta) else ((10**exponent - 1) / (2**exponent - 1)) ** 0.5
    per_pixel = stars.flux_dn[use] / (np.pi / 4 * (wider * stars.fwhm_px[use]) ** 2)
    low, high = chauvenet(per_pixel) if per_pixel.size else (0.0, 0.0)
    return float(stars.flux_dn[use].sum()), float(np.clip(per_pixel, low, high).sum())


def chauvenet(values: np.ndarray, limit: float = 0.5) -> tuple[float, float]:
    """Lowest and highest value that belong to the others (Maples et al. 2018).

    One by one the most deviant is left out as long as fewer than `limit` of so many are expected beyond it on its side:
    first by the median and the 68.3 percentile of the distances from it, corrected for small samples, then by mean and
    standard deviation.
    """
    x = np.sort(np.asarray(values, np.float64))
    for robust in (True, False):
        while x.size > 2:
            centre = np.median(x) if robust else x.mean()
            away = np.sort(np.abs(x - centre))
            small = 1.0 / (1.0 - 2.9442 * x.size**-1.073)
            sigma = small * away[int(0.683 * x.size)] if robust else x.std(ddof=1)
            low, high = centre - x[0], x[-1] - centre
            if not 0.5 * x.size * erfc(max(low, high) / sigma / 2**0.5 if sigma > 0 else 0.0) < limit:
                break
            x = x[1:] if low >= high else x[:-1]
    return float(x[0]), float(x[-1])
