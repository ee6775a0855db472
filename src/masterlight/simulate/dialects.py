"""How capture programs write a frame: header keywords, file name and folder."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from masterlight.core.headers.geometry import flipped_pattern
from masterlight.simulate.comet import PAUSE_S
from masterlight.simulate.night import Night

DUSK = datetime(2025, 10, 18, 19, 30, 0)
DAWN = datetime(2025, 10, 19, 5, 20, 0)
ORDER = ("light", "dark", "bias", "flat", "flatdark")


@dataclass(frozen=True)
class Shot:
    """One press of the shutter: what a capture program knows when it writes the file."""

    night: Night
    kind: str
    index: int
    """Counted through all filters."""
    filter: str | None
    exposure_s: float
    time: datetime
    temperature_c: float
    flipped: bool = False

    @property
    def number(self) -> int:
        """Counted from 1 within its filter."""
        return self.index % self.night.each(self.kind) + 1

    @property
    def model(self) -> str:
        """The end of the camera's name."""
        return "2600MC" if self.night.pattern else "2600MM"

    @property
    def evening(self) -> str:
        return str((self.time - timedelta(hours=12)).date())

    @property
    def type(self) -> str:
        """Light, Dark, Flat, Bias: flat-darks are darks to most programs."""
        return {"flatdark": "Dark"}.get(self.kind, self.kind.capitalize())

    def instant(self, places: str) -> str:
        return self.time.isoformat(timespec=places)


def shots(night: Night) -> list[Shot]:
    """Every frame of the night in the order it was taken: lights, darks, biases, and flats in the morning."""
    taken, time, rng = [], DUSK, night.rng(30)
    for kind in ORDER:
        total = night.count(kind)
        time = max(time, DAWN) if kind == "flat" else time
        for i in range(total):
            exposure_s = night.exposure_of(kind)
            filter = night.filter_of(kind, i) if kind in ("light", "flat") else None
            filter = None if night.pattern and filter == "L" else filter
            flipped = night.meridian_flip and (kind != "light" or i >= (total + 1) // 2)
            temperature_c = night.temperature_of(kind) + 0.1 * int(rng.integers(-1, 2))
            taken.append(Shot(night, kind, i, filter, exposure_s, time, temperature_c, flipped))
            time += timedelta(seconds=exposure_s + PAUSE_S)
    return taken


def usual_values(shot: Shot) -> dict[str, Any]:
    """What cards hold, unless a dialect says otherwise; a card that holds None is not written."""
    return {
        **dict.fromkeys(("EXPOSURE", "EXPTIME"), shot.exposure_s), "DATE-OBS": shot.instant("milliseconds"),
        **dict.fromkeys(("XBINNING", "YBINNING", "CCDXBIN", "CCDYBIN"), 1), "XORGSUBF": 0, "YORGSUBF": 0,
        **dict.fromkeys(("XPIXSZ", "YPIXSZ", "PIXSIZE1", "PIXSIZE2"), 3.76), "IMAGETYP": shot.type,
        "GAIN": 0, "OFFSET": 50, "EGAIN": shot.night.gain_e_per_dn, "INSTRUME": f"Simulated {shot.model}",
        "SET-TEMP": shot.night.temperature_of(shot.kind), "CCD-TEMP": round(shot.temperature_c, 1),
        "TELESCOP": "Simulated mount", "FOCALLEN": 530.0, "SCALE": 1.4633, "RA": 13.246, "DEC": 56.622,
        "ROWORDER": "TOP-DOWN", "FILTER": shot.filter, "PIERSIDE": "WEST" if shot.flipped else "EAST",
        "OBJECT": shot.night.target if shot.kind == "light" else None,
    }  # fmt: skip


def join_words(*words: str | None) -> str:
    return "_".join(word for word in words if word)


def nina(shot: Shot) -> tuple[str, dict[str, Any]]:
    """N.I.N.A.: its default file pattern, a folder for the night and one for each kind."""
    kind = {"flatdark": "DARKFLAT"}.get(shot.kind, shot.kind.upper())
    stamp = shot.time.strftime("%Y-%m-%d_%H-%M-%S")
    told = f"{shot.filter or ''}_{shot.temperature_c:.2f}_{shot.exposure_s:.2f}s_{shot.number:04d}"
    return f"{shot.evening}/{kind}/{stamp}_{told}.fits", {
        "IMAGETYP": kind, "DATE-LOC": (shot.time + timedelta(hours=2)).isoformat(timespec="milliseconds"),
        "READOUTM": "Default", "USBLIMIT": 40, "TELESCOP": "Simulated 530", "FOCRATIO": 5.0, "EQUINOX": 2000.0,
        "PIERSIDE": "West" if shot.flipped else "East", "SITEELEV": 600.0, "SITELAT": 46.5, "SITELONG": 7.2,
        "FWHEEL": "Simulated wheel" if shot.filter else None, "SWCREATE": "N.I.N.A. 3.1.2.9001 (x64)",
    }  # fmt: skip


def maxim(shot: Shot) -> tuple[str, dict[str, Any]]:
    """MaxIm DL: everything in one folder, types as words, a pedestal keyword."""
    stem = {"light": shot.night.target.replace(" ", ""), "flatdark": "FlatDark"}.get(shot.kind, shot.type)
    return f"{stem}-{shot.number:03d}{'-' + shot.filter if shot.filter else ''}.fit", {
        "DATE-OBS": shot.instant("seconds"), "IMAGETYP": f"{shot.type} {'Field' if shot.kind == 'flat' else 'Frame'}",
        "OBJECT": shot.night.target if shot.kind == "light" else "", "APTDIA": 106.0, "TELESCOP": "", "CALSTAT": "",
        "SWCREATE": "MaxIm DL Version 6.30", "PEDESTAL": 0,
    }  # fmt: skip


def sgp(shot: Shot) -> tuple[str, dict[str, Any]]:
    """Sequence Generator Pro: a folder for the target and one for each kind, EXPOSURE only."""
    stem, label = shot.night.target.replace(" ", ""), "FlatDark" if shot.kind == "flatdark" else shot.type
    name = join_words(stem, label, f"{shot.exposure_s:g}sec_1x1", shot.filter, f"frame{shot.number}")
    return f"{stem}/{shot.type}/{name}.fit", {
        "OBJECT": shot.night.target, "IMAGETYP": shot.type.upper(), "ANGLE": 180.0 if shot.flipped else 0.0,
        "SITELAT": "46 30 0.000 N", "CREATOR": "Sequence Generator Pro v4.3.0.1391",
    }  # fmt: skip


def ekos(shot: Shot) -> tuple[str, dict[str, Any]]:
    """KStars/Ekos with INDI: folders by target, kind and filter; FRAME beside IMAGETYP."""
    stem, last = shot.night.target.replace(" ", "_"), "flatdark" if shot.kind == "flatdark" else None
    folder = "/".join(p for p in (stem, shot.type, shot.filter) if p)
    name = join_words(stem, shot.type, shot.filter, f"{shot.exposure_s:g}_secs", f"{shot.number:03d}", last)
    return f"{folder}/{name}.fits", {
        "FRAME": shot.type, "IMAGETYP": f"{shot.type} Frame", "OBJECT": shot.night.target, "GAIN": 0.0, "OFFSET": 50.0,
        "COMMENT": "Generated by INDI",
    }  # fmt: skip


def asiair(shot: Shot) -> tuple[str, dict[str, Any]]:
    """ASIAIR: everything told in the file name."""
    target = shot.night.target.replace(" ", "_") if shot.kind == "light" else None
    seconds = f"{shot.exposure_s:.1f}s" if shot.exposure_s >= 1 else f"{shot.exposure_s * 1000:.1f}ms"
    stamp = f"{shot.time:%Y%m%d-%H%M%S}_{shot.temperature_c:.1f}C_{shot.number:04d}"
    name = join_words(shot.type, target, seconds, "Bin1", shot.model, shot.filter, "gain0", stamp)
    folder = f"{shot.type}/{target}" if target else "FlatDark" if shot.kind == "flatdark" else shot.type
    return f"Autorun/{folder}/{name}.fit", {
        "CREATOR": "ZWO ASIAIR Plus", "DATE-OBS": shot.instant("microseconds"), "FOCALLEN": 530,
        "INSTRUME": f"ZWO ASI{shot.model} Pro (simulated)", **({} if target else {"RA": None, "DEC": None}),
    }  # fmt: skip


def sharpcap(shot: Shot) -> tuple[str, dict[str, Any]]:
    """SharpCap set to write the last row first: a folder for the evening and each kind, seven digits of a second."""
    folders = {"light": shot.night.target, "flatdark": "FlatDarks"}
    name = join_words(shot.type, shot.filter, f"{shot.number:05d}")
    return f"{shot.evening}/{folders.get(shot.kind, f'{shot.type}s')}/{name}.fits", {
        "ROWORDER": "BOTTOM-UP", "BLKLEVEL": 50, "FOCALLEN": 530, "DATE-OBS": f"{shot.instant('microseconds')}0",
        "SWCREATE": "SharpCap v4.1.11817.0, 64 bit",
    }  # fmt: skip


DIALECTS = {"nina": nina, "maxim": maxim, "sgp": sgp, "ekos": ekos, "asiair": asiair, "sharpcap": sharpcap}
"""Each gives the file name of a shot, and what its cards hold instead of `usual_values`."""
CARDS = {
    "nina": """
IMAGETYP Type of exposure | EXPOSURE [s] Exposure duration | EXPTIME [s] Exposure duration
DATE-LOC Time of observation (local) | DATE-OBS Time of observation (UTC) | XBINNING X axis binning factor
YBINNING Y axis binning factor | GAIN Sensor gain | OFFSET Sensor gain offset | EGAIN [e-/ADU] Electrons per A/D unit
XPIXSZ [um] Pixel X axis size | YPIXSZ [um] Pixel Y axis size | INSTRUME Imaging instrument name
SET-TEMP [degC] CCD temperature setpoint | CCD-TEMP [degC] CCD temperature | READOUTM Sensor readout mode
USBLIMIT Camera-specific USB setting | TELESCOP Name of telescope | FOCALLEN [mm] Focal length | FOCRATIO Focal ratio
RA [deg] RA of telescope | DEC [deg] Declination of telescope | PIERSIDE Telescope pointing state
SITEELEV [m] Observation site elevation | SITELAT [deg] Observation site latitude
SITELONG [deg] Observation site longitude | FWHEEL Filter Wheel name | FILTER Active filter name
OBJECT Name of the object of interest | ROWORDER FITS Image Orientation | EQUINOX Equinox of celestial coordinate system
SWCREATE Software that created this file
""",
    "maxim": """
DATE-OBS YYYY-MM-DDThh:mm:ss observation start, UT | EXPTIME Exposure time in seconds
EXPOSURE Exposure time in seconds | SET-TEMP CCD temperature setpoint in C
CCD-TEMP CCD temperature at start of exposure in C | XPIXSZ Pixel Width in microns (after binning)
YPIXSZ Pixel Height in microns (after binning) | XBINNING Binning factor in width | YBINNING Binning factor in height
XORGSUBF Subframe X position in binned pixels | YORGSUBF Subframe Y position in binned pixels
EGAIN Electronic gain in e-/ADU | FILTER Filter used when taking image | IMAGETYP Type of image
FOCALLEN Focal length of telescope in mm | APTDIA Aperture diameter of telescope in mm | OBJECT
INSTRUME instrument or camera used | TELESCOP telescope used to acquire this image
SWCREATE Name of software that created the image | CALSTAT | PEDESTAL Correction to add for zero-based ADU
""",
    "sgp": """
OBJECT Object name | TELESCOP Telescope name | INSTRUME Instrument name | DATE-OBS UTC start of the exposure
IMAGETYP Type of image | EXPOSURE Duration of exposure in seconds | CCD-TEMP CCD temperature in celsius
SET-TEMP CCD setpoint in celsius | XBINNING Camera X Bin | CCDXBIN Camera X Bin | YBINNING Camera Y Bin
CCDYBIN Camera Y Bin | GAIN Camera gain | EGAIN Electrons Per ADU | XPIXSZ Pixel width in microns | FILTER Filter name
FOCALLEN Focal length of telescope in mm | SCALE Image scale (arcsec/pixel) | PIERSIDE The pier side | ANGLE Image angle
SITELAT Latitude of the imaging site | CREATOR Program
""",
    "ekos": """
INSTRUME CCD Name | TELESCOP Telescope name | ROWORDER Row Order | EXPTIME Total Exposure Time (s)
CCD-TEMP CCD Temperature (Celsius) | PIXSIZE1 Pixel Size 1 (microns) | PIXSIZE2 Pixel Size 2 (microns)
XBINNING Binning factor in width | YBINNING Binning factor in height | XPIXSZ X binned pixel size in microns
FRAME Frame Type | IMAGETYP Frame Type | FILTER Filter | FOCALLEN Focal Length (mm) | SCALE arcsecs per pixel
PIERSIDE West, looking East | RA Object J2000 RA in Degrees | DEC Object J2000 DEC in Degrees | OBJECT Object name
DATE-OBS UTC start date of observation | GAIN Gain | OFFSET Offset | COMMENT
""",
    "asiair": """
CREATOR Capture software | EXPOSURE Exposure time in seconds | EXPTIME Exposure time in seconds | XBINNING Camera X Bin
YBINNING Camera Y Bin | XPIXSZ pixel size in microns (with binning) | YPIXSZ pixel size in microns (with binning)
OFFSET camera offset | GAIN gain value | IMAGETYP Type of image | DATE-OBS Image created time
SET-TEMP Temperature setpoint in C | CCD-TEMP sensor temperature in C | FILTER Filter used when taking image
EGAIN Electronic gain in e-/ADU | INSTRUME Camera model | FOCALLEN Focal length of telescope in mm
RA Object J2000 RA in degrees | DEC Object J2000 Dec in degrees | OBJECT Target name
""",
    "sharpcap": """
ROWORDER | EXPTIME seconds | GAIN | BLKLEVEL | CCD-TEMP C | SET-TEMP C | XPIXSZ microns, includes binning if any
YPIXSZ microns, includes binning if any | XBINNING | YBINNING | IMAGETYP | FILTER | EGAIN electrons per ADU
FOCALLEN mm | OBJECT | INSTRUME | DATE-OBS System Clock:Est. Frame Start | SWCREATE
""",
}
"""The cards of each dialect in their order, each a keyword and its comment."""


def name_and_cards(shot: Shot) -> tuple[str, dict[str, tuple[Any, str]]]:
    """File name relative to the night's folder, and header cards in order, `keyword: (value, comment)`."""
    name, own = DIALECTS[shot.night.dialect](shot)
    values, cards = usual_values(shot) | own, {}
    for card in CARDS[shot.night.dialect].strip().replace("\n", " | ").split(" | "):
        keyword, _, comment = card.partition(" ")
        cards[keyword] = values[keyword], comment
    cards |= colour_cards(shot.night) | section_cards(shot.night)
    return name, {keyword: card for keyword, card in cards.items() if card[0] is not None}


def colour_cards(night: Night) -> dict:
    """How the dialect tells the colour filters: as they are stored, or as RGGB moved by offsets."""
    tile, dialect = night.tile, night.dialect
    if not tile:
        return {}
    if dialect in ("sgp", "asiair"):
        return {"BAYERPAT": (tile, "Bayer pattern")}
    if dialect == "sharpcap":
        told = tile if night.pattern_row == "top" else flipped_pattern(tile, night.rows)
        return {"BAYERPAT": (told, ""), "COLORTYP": (told, "")}
    moved = dialect == "maxim" and len(tile) == 4
    y, x = divmod(tile.index("R"), 2) if moved else (0, 0)
    offsets = {"XBAYROFF": (x, "X offset of the colour filters"), "YBAYROFF": (y, "Y offset of the colour filters")}
    return {"BAYERPAT": ("RGGB" if moved else tile, "Colour filters of the sensor")} | offsets


def section_cards(night: Night) -> dict:
    """Where the overscan lies, counted from 1, ends included."""
    if not night.overscan_px:
        return {}
    sky = f"[1:{night.cols},1:{night.rows}]"
    overscan = f"[{night.cols + 1}:{night.cols + night.overscan_px},1:{night.rows}]", "Overscan"
    return {"BIASSEC": overscan, "DATASEC": (sky, "Pixels that see the sky"), "TRIMSEC": (sky, "Pixels to keep")}
