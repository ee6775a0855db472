"""Camera raw files: the mosaic exactly as the camera stored it, through LibRaw.

Nothing is scaled, balanced, subtracted, cropped or turned: darks and lights keep the same pixels. What the camera
knows of its pixels (masked borders, black and white levels, colour pattern) goes into `Meta`.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Meta
from masterlight.io.exif import Exif, read_exif
from masterlight.io.plain import KeywordFrame, Layout, reading, truncation

NATIVE = np.dtype(np.int16).str
ZERO = 32768.0
PERIODS = (2, 6)
"""Pixels after which a colour pattern repeats: Bayer, X-Trans."""
PROBE = 12
GUARD_PX = 4
"""Pixels beside the image into which light or charge leaks."""
LEAST_PX = 8
"""A masked border that is narrower tells nothing."""
LEAST_PIXELS = 1 << 20
EXIF = ("EXPTIME", "GAIN", "FOCRATIO", "FOCALLEN")
"""Keywords of what both LibRaw and the tags of a file tell."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RawFrame(KeywordFrame):
    """The mosaic of a camera raw file, masked borders included. It is decoded once, into a scratch file."""

    def unpack(self, target: str) -> None:
        """Write the mosaic as signed 16-bit integers to the path `target`."""
        with decoding(self.source) as raw:
            mosaic = raw.raw_image
            if mosaic.shape != self.shape:
                raise FrameError(self.source, "has changed since it was opened; start again")
            with open(target, "wb") as file:
                file.write(mosaic ^ np.uint16(0x8000))


class Sensor(NamedTuple):
    """What LibRaw knows of the pixels of a raw file."""

    shape: tuple[int, int]
    data_px: tuple[int, int, int, int]
    pattern: str | None
    black_dn: tuple[float, ...]
    white_dn: float
    cards: dict[str, Any]
    """Exposure, ISO, aperture and focal length, as far as LibRaw tells them."""


def open_raw(path: str | os.PathLike[str]) -> RawFrame:
    """Open a camera raw file: pixel geometry, levels and EXIF are read now, pixels when they are indexed.

    LibRaw tells its facts only after it has decoded the file; the decoded pixels are not kept. FrameError for what is
    damaged, holds no mosaic, or has colour filters other than red, green and blue.
    """
    source = os.fspath(path)
    with reading(source):
        exif = read_exif(source)
        status = os.stat(source)
    if not status.st_size:
        raise FrameError(source, "the file is empty; copy it again from the camera card")
    if status.st_size < exif.end_bytes:
        raise FrameError(source, truncation(status.st_size, exif.end_bytes))
    with decoding(source) as raw:
        sensor = sensor_of(raw, source, exif.filters)
    notes: list[str] = []
    cards = cards_of(sensor, exif, notes)
    meta = Meta.from_header(cards, source, sensor.shape)
    rows, cols = sensor.shape
    meta = meta.with_(
        data_px=sensor.data_px if sensor.data_px != (0, rows, 0, cols) else None, black_dn=sensor.black_dn,
        overscan_px=masked_borders(sensor, exif), bits=int(sensor.white_dn).bit_length(), notes=(*meta.notes, *notes),
    )  # fmt: skip
    stamp = (status.st_size, status.st_mtime_ns)
    layout = Layout(NATIVE, 1, rows, cols, zero=ZERO, packing="raw", stamp=stamp)
    return RawFrame(source=source, meta=meta, layout=layout, keywords=cards)


@contextmanager
def decoding(source: str) -> Iterator[Any]:
    """A raw file with its pixels decoded, as a `rawpy.RawPy`."""
    try:
        import rawpy
    except ImportError as error:
        raise FrameError(source, "camera raw needs rawpy: pip install 'masterlight[raw]'") from error
    with closing(rawpy.RawPy()) as raw:
        try:
            raw.open_file(source)
            refuse_too_many(source, raw.sizes.raw_width * raw.sizes.raw_height)
            raw.unpack()
        except rawpy.LibRawFileUnsupportedError as error:
            version = ".".join(map(str, rawpy.libraw_version))
            told = f"damaged, or no camera raw that LibRaw {version} knows"
            raise FrameError(source, f"{told}; copy it again from the camera card, or convert it to DNG") from error
        except (rawpy.LibRawError, OSError, ValueError, RuntimeError, MemoryError) as error:
            told = "is damaged, or too large to be decoded; copy it again from the camera card"
            raise FrameError(source, told) from error
        yield raw


def refuse_too_many(source: str, pixels: int) -> None:
    """Raise FrameError where so many pixels cannot come out of a file: a packed one takes more than half a bit."""
    if pixels > LEAST_PIXELS + 16 * os.path.getsize(source):
        told = f"its header tells of {pixels / 1e6:,.0f} million pixels, which its {os.path.getsize(source):,} bytes"
        raise FrameError(source, f"{told} cannot hold; copy it again from the camera card")


def sensor_of(raw, source: str, filters: str = "") -> Sensor:
    """Geometry, colours and levels of a decoded raw file; FrameError when it is no mosaic of red, green and blue."""
    if raw.raw_type.name != "Flat":
        told = "holds no mosaic but finished colours (linear DNG, sRAW, Foveon) or floats"
        raise FrameError(source, f"{told}; set the camera to plain raw")
    size, other = raw.sizes, raw.other
    top, left = size.top_margin, size.left_margin
    colours = colours_of(raw, top, left, source, filters)
    levels = [float(level) for level in raw.black_level_per_channel]
    black = tuple(levels[i] for i in colours.ravel()) if colours.max() < 4 else levels[:1]
    letters = raw.color_desc.decode("ascii", "replace")
    white = float(raw.white_level)
    saturation = [float(w) for w in raw.camera_white_level_per_channel or () if max(levels) < w <= white]
    told = other.shutter_speed, other.iso_speed, other.aperture, other.focal_length
    return Sensor(
        shape=(size.raw_height, size.raw_width),
        data_px=(top, min(top + size.height, size.raw_height), left, min(left + size.width, size.raw_width)),
        pattern="".join(letters[i] for i in colours.ravel()) if colours.max() < 4 else None,
        black_dn=tuple(black) if len(set(black)) > 1 else tuple(black[:1]),
        white_dn=min(saturation, default=white),
        cards={key: float(f"{value:.6g}") for key, value in zip(EXIF, told, strict=True) if value > 0},
    )


def colours_of(raw, top: int, left: int, source: str, filters: str) -> np.ndarray:
    """Numbers of the colours from pixel (0, 0) of the full image on, (2, 2) or (6, 6); ((6,),) for mono.

    LibRaw counts from the visible image, and its answers left of or above an X-Trans image cannot be trusted.
    """
    probe = np.array([[raw.raw_color(top + y, left + x) for x in range(PROBE)] for y in range(PROBE)])
    if (probe > 3).all():
        if raw.num_colors > 1:
            raise FrameError(source, "holds colours but no mosaic that LibRaw can describe; convert it to DNG")
        return probe[:1, :1]
    repeats = (n for n in PERIODS if np.array_equal(probe, np.tile(probe[:n, :n], (PROBE // n, PROBE // n))))
    period = next(repeats, None)
    if period is None:
        raise FrameError(source, "its colour pattern is neither Bayer nor X-Trans; it cannot be debayered")
    letters = raw.color_desc.decode("ascii", "replace")
    names = filters or "".join(dict.fromkeys(letters[i] for i in probe[:period, :period].ravel()))
    if set(names) != set("RGB"):
        told = f"its colour filters are {', '.join(names)}"
        raise FrameError(source, f"{told}; only sensors of red, green and blue can be debayered")
    return np.roll(probe[:period, :period], (top, left), (0, 1))


def masked_borders(sensor: Sensor, exif: Exif) -> tuple[tuple[int, int, int, int], ...]:
    """Borders that saw no light, as bounds (y0, y1, x0, x1), away from the image by a guard; none when unsure.

    A DNG tells them. Canon masks the columns left of the image and the rows above it. The margins of other makers are
    often lit, or no pixels at all.
    """
    rows, cols = sensor.shape
    top, bottom, left, right = sensor.data_px
    told = exif.masked
    if not told and (exif.camera or "").startswith("Canon"):
        told = ((top, bottom, 2, left), (2, top, left, right))
    kept = []
    for y0, y1, x0, x1 in told:
        y0, y1, x0, x1 = max(0, y0), min(rows, y1), max(0, x0), min(cols, x1)
        if x1 <= left:
            x1 = min(x1, left - GUARD_PX)
        elif x0 >= right:
            x0 = max(x0, right + GUARD_PX)
        elif y1 <= top:
            y1 = min(y1, top - GUARD_PX)
        elif y0 >= bottom:
            y0 = max(y0, bottom + GUARD_PX)
        else:
            continue
        if min(y1 - y0, x1 - x0) >= LEAST_PX:
            kept.append((y0, y1, x0, x1))
    return tuple(kept)


def cards_of(sensor: Sensor, exif: Exif, notes: list[str]) -> dict[str, Any]:
    """The header of a raw frame in FITS keywords; the EXIF of the file goes before what LibRaw tells."""
    told = zip(EXIF, (exif.exposure_s, exif.iso, exif.f_number, exif.focal_mm), strict=True)
    told = sensor.cards | {key: value for key, value in told if value}
    local = utc = None
    if exif.time is None:
        notes.append("the camera does not tell when the exposure began")
    else:
        times = exif.time, exif.time - (exif.zone or timedelta())
        local, utc = (time.isoformat(timespec="milliseconds") for time in times)
        if exif.zone is None:
            notes.append("the time zone of the camera's clock is unknown; its time is taken for UTC")
    if "EXPTIME" not in told:
        notes.append("the camera does not tell the exposure time")
    cards = {"BITPIX": 16, "BZERO": ZERO, "INSTRUME": exif.camera, **told, "DATE-OBS": utc, "DATE-LOC": local}
    cards |= {"CCD-TEMP": exif.temperature_c, "BAYERPAT": sensor.pattern, "ROWORDER": "TOP-DOWN"}
    cards |= {"SATURATE": sensor.white_dn, "DATAMAX": sensor.white_dn}
    if len(sensor.black_dn) <= 4:
        cards |= {f"BLKLEV{i + 1}": level for i, level in enumerate(sensor.black_dn)}
    return {key: value for key, value in cards.items() if value is not None}
