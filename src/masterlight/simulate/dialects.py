"""How capture programs write a frame: header keywords, file name and folder."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from masterlight.core.headers import flipped_pattern
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
    def set_temperature_c(self) -> float:
        return self.night.temperature_of(self.kind)


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
            time += timedelta(seconds=exposure_s + 6)
    return taken


def nina(shot: Shot):
    """N.I.N.A.: its default file pattern, a folder for the night and one for each kind."""
    night, kind = shot.night, {"flatdark": "DARKFLAT"}.get(shot.kind, shot.kind.upper())
    evening = (shot.time - timedelta(hours=12)).date()
    stamp, filter = shot.time.strftime("%Y-%m-%d_%H-%M-%S"), shot.filter or ""
    name = f"{evening}/{kind}/{stamp}_{filter}_{shot.temperature_c:.2f}_{shot.exposure_s:.2f}s_{shot.number:04d}.fits"
    cards = {
        "IMAGETYP": (kind, "Type of exposure"),
        "EXPOSURE": (shot.exposure_s, "[s] Exposure duration"),
        "EXPTIME": (shot.exposure_s, "[s] Exposure duration"),
        "DATE-LOC": (
            (shot.time + timedelta(hours=2)).isoformat(timespec="milliseconds"),
            "Time of observation (local)",
        ),
        "DATE-OBS": (shot.time.isoformat(timespec="milliseconds"), "Time of observation (UTC)"),
        "XBINNING": (1, "X axis binning factor"),
        "YBINNING": (1, "Y axis binning factor"),
        "GAIN": (0, "Sensor gain"),
        "OFFSET": (50, "Sensor gain offset"),
        "EGAIN": (night.gain_e_per_dn, "[e-/ADU] Electrons per A/D unit"),
        "XPIXSZ": (3.76, "[um] Pixel X axis size"),
        "YPIXSZ": (3.76, "[um] Pixel Y axis size"),
        "INSTRUME": (f"Simulated {shot.model}", "Imaging instrument name"),
        "SET-TEMP": (shot.set_temperature_c, "[degC] CCD temperature setpoint"),
        "CCD-TEMP": (round(shot.temperature_c, 1), "[degC] CCD temperature"),
        "READOUTM": ("Default", "Sensor readout mode"),
        "USBLIMIT": (40, "Camera-specific USB setting"),
        "TELESCOP": ("Simulated 530", "Name of telescope"),
        "FOCALLEN": (530.0, "[mm] Focal length"),
        "FOCRATIO": (5.0, "Focal ratio"),
        "RA": (13.246, "[deg] RA of telescope"),
        "DEC": (56.622, "[deg] Declination of telescope"),
        "PIERSIDE": ("West" if shot.flipped else "East", "Telescope pointing state"),
        "SITEELEV": (600.0, "[m] Observation site elevation"),
        "SITELAT": (46.5, "[deg] Observation site latitude"),
        "SITELONG": (7.2, "[deg] Observation site longitude"),
        "FWHEEL": ("Simulated wheel", "Filter Wheel name") if shot.filter else None,
        "FILTER": (shot.filter, "Active filter name"),
        "OBJECT": (night.target, "Name of the object of interest") if shot.kind == "light" else None,
        "ROWORDER": ("TOP-DOWN", "FITS Image Orientation"),
        "EQUINOX": (2000.0, "Equinox of celestial coordinate system"),
        "SWCREATE": ("N.I.N.A. 3.1.2.9001 (x64)", "Software that created this file"),
    }
    return name, cards


def maxim(shot: Shot):
    """MaxIm DL: everything in one folder, types as words, a pedestal keyword."""
    night = shot.night
    words = {
        "light": "Light Frame",
        "dark": "Dark Frame",
        "flat": "Flat Field",
        "bias": "Bias Frame",
        "flatdark": "Dark Frame",
    }
    stem = {
        "light": night.target.replace(" ", ""),
        "flat": "Flat",
        "bias": "Bias",
        "dark": "Dark",
        "flatdark": "FlatDark",
    }[shot.kind]
    name = f"{stem}-{shot.number:03d}{'-' + shot.filter if shot.filter else ''}.fit"
    cards = {
        "DATE-OBS": (shot.time.isoformat(timespec="seconds"), "YYYY-MM-DDThh:mm:ss observation start, UT"),
        "EXPTIME": (shot.exposure_s, "Exposure time in seconds"),
        "EXPOSURE": (shot.exposure_s, "Exposure time in seconds"),
        "SET-TEMP": (shot.set_temperature_c, "CCD temperature setpoint in C"),
        "CCD-TEMP": (round(shot.temperature_c, 1), "CCD temperature at start of exposure in C"),
        "XPIXSZ": (3.76, "Pixel Width in microns (after binning)"),
        "YPIXSZ": (3.76, "Pixel Height in microns (after binning)"),
        "XBINNING": (1, "Binning factor in width"),
        "YBINNING": (1, "Binning factor in height"),
        "XORGSUBF": (0, "Subframe X position in binned pixels"),
        "YORGSUBF": (0, "Subframe Y position in binned pixels"),
        "EGAIN": (night.gain_e_per_dn, "Electronic gain in e-/ADU"),
        "FILTER": (shot.filter, "Filter used when taking image"),
        "IMAGETYP": (words[shot.kind], "Type of image"),
        "FOCALLEN": (530.0, "Focal length of telescope in mm"),
        "APTDIA": (106.0, "Aperture diameter of telescope in mm"),
        "OBJECT": (night.target if shot.kind == "light" else "", ""),
        "INSTRUME": (f"Simulated {shot.model}", "instrument or camera used"),
        "TELESCOP": ("", "telescope used to acquire this image"),
        "SWCREATE": ("MaxIm DL Version 6.30", "Name of software that created the image"),
        "CALSTAT": ("", ""),
        "PEDESTAL": (0, "Correction to add for zero-based ADU"),
    }
    return name, cards


def sgp(shot: Shot):
    """Sequence Generator Pro: a folder for the target and one for each kind, EXPOSURE only."""
    night, kind = shot.night, {"flatdark": "Dark"}.get(shot.kind, shot.kind.capitalize())
    filter = f"_{shot.filter}" if shot.filter else ""
    stem = night.target.replace(" ", "")
    label = "FlatDark" if shot.kind == "flatdark" else kind
    name = f"{stem}/{kind}/{stem}_{label}_{shot.exposure_s:g}sec_1x1{filter}_frame{shot.number}.fit"
    cards = {
        "OBJECT": (night.target, "Object name"),
        "TELESCOP": ("Simulated mount", "Telescope name"),
        "INSTRUME": (f"Simulated {shot.model}", "Instrument name"),
        "DATE-OBS": (
            shot.time.isoformat(timespec="milliseconds"),
            "UTC start of the exposure",
        ),
        "IMAGETYP": (kind.upper(), "Type of image"),
        "EXPOSURE": (shot.exposure_s, "Duration of exposure in seconds"),
        "CCD-TEMP": (round(shot.temperature_c, 1), "CCD temperature in celsius"),
        "SET-TEMP": (shot.set_temperature_c, "CCD setpoint in celsius"),
        "XBINNING": (1, "Camera X Bin"),
        "CCDXBIN": (1, "Camera X Bin"),
        "YBINNING": (1, "Camera Y Bin"),
        "CCDYBIN": (1, "Camera Y Bin"),
        "GAIN": (0, "Camera gain"),
        "EGAIN": (night.gain_e_per_dn, "Electrons Per ADU"),
        "XPIXSZ": (3.76, "Pixel width in microns"),
        "FILTER": (shot.filter, "Filter name"),
        "FOCALLEN": (530.0, "Focal length of telescope in mm"),
        "SCALE": (1.4633, "Image scale (arcsec/pixel)"),
        "PIERSIDE": ("WEST" if shot.flipped else "EAST", "The pier side"),
        "ANGLE": (180.0 if shot.flipped else 0.0, "Image angle"),
        "SITELAT": ("46 30 0.000 N", "Latitude of the imaging site"),
        "CREATOR": ("Sequence Generator Pro v4.3.0.1391", "Program"),
    }
    return name, cards


def ekos(shot: Shot):
    """KStars/Ekos with INDI: folders by target, kind and filter; FRAME beside IMAGETYP."""
    night, kind = shot.night, {"flatdark": "Dark"}.get(shot.kind, shot.kind.capitalize())
    stem = night.target.replace(" ", "_")
    folder = "/".join(p for p in (stem, kind, shot.filter) if p)
    words = [stem, kind, shot.filter, f"{shot.exposure_s:g}_secs", f"{shot.number:03d}"]
    cards = {
        "INSTRUME": (f"Simulated {shot.model}", "CCD Name"),
        "TELESCOP": ("Simulated mount", "Telescope name"),
        "ROWORDER": ("TOP-DOWN", "Row Order"),
        "EXPTIME": (shot.exposure_s, "Total Exposure Time (s)"),
        "CCD-TEMP": (round(shot.temperature_c, 1), "CCD Temperature (Celsius)"),
        "PIXSIZE1": (3.76, "Pixel Size 1 (microns)"),
        "PIXSIZE2": (3.76, "Pixel Size 2 (microns)"),
        "XBINNING": (1, "Binning factor in width"),
        "YBINNING": (1, "Binning factor in height"),
        "XPIXSZ": (3.76, "X binned pixel size in microns"),
        "FRAME": (kind, "Frame Type"),
        "IMAGETYP": (f"{kind} Frame", "Frame Type"),
        "FILTER": (shot.filter, "Filter"),
        "FOCALLEN": (530.0, "Focal Length (mm)"),
        "SCALE": (1.4633, "arcsecs per pixel"),
        "PIERSIDE": ("WEST" if shot.flipped else "EAST", "West, looking East"),
        "RA": (13.246, "Object J2000 RA in Degrees"),
        "DEC": (56.622, "Object J2000 DEC in Degrees"),
        "OBJECT": (night.target, "Object name"),
        "DATE-OBS": (shot.time.isoformat(timespec="milliseconds"), "UTC start date of observation"),
        "GAIN": (0.0, "Gain"),
        "OFFSET": (50.0, "Offset"),
        "COMMENT": ("Generated by INDI", ""),
    }
    return f"{folder}/{'_'.join(w for w in words if w)}{'_flatdark' if shot.kind == 'flatdark' else ''}.fits", cards


def asiair(shot: Shot):
    """ASIAIR: everything told in the file name."""
    night, kind = shot.night, {"flatdark": "Dark"}.get(shot.kind, shot.kind.capitalize())
    target = night.target.replace(" ", "_")
    seconds = f"{shot.exposure_s:.1f}s" if shot.exposure_s >= 1 else f"{shot.exposure_s * 1000:.1f}ms"
    words = [kind, target if shot.kind == "light" else None, seconds, "Bin1", shot.model, shot.filter, "gain0"]
    words += [shot.time.strftime("%Y%m%d-%H%M%S"), f"{shot.temperature_c:.1f}C", f"{shot.number:04d}"]
    folder = (
        f"Autorun/{kind}/{target}"
        if shot.kind == "light"
        else f"Autorun/{'FlatDark' if shot.kind == 'flatdark' else kind}"
    )
    cards = {
        "CREATOR": ("ZWO ASIAIR Plus", "Capture software"),
        "EXPOSURE": (shot.exposure_s, "Exposure time in seconds"),
        "EXPTIME": (shot.exposure_s, "Exposure time in seconds"),
        "XBINNING": (1, "Camera X Bin"),
        "YBINNING": (1, "Camera Y Bin"),
        "XPIXSZ": (3.76, "pixel size in microns (with binning)"),
        "YPIXSZ": (3.76, "pixel size in microns (with binning)"),
        "OFFSET": (50, "camera offset"),
        "GAIN": (0, "gain value"),
        "IMAGETYP": (kind, "Type of image"),
        "DATE-OBS": (shot.time.isoformat(timespec="microseconds"), "Image created time"),
        "SET-TEMP": (shot.set_temperature_c, "Temperature setpoint in C"),
        "CCD-TEMP": (round(shot.temperature_c, 1), "sensor temperature in C"),
        "FILTER": (shot.filter, "Filter used when taking image"),
        "EGAIN": (night.gain_e_per_dn, "Electronic gain in e-/ADU"),
        "INSTRUME": (f"ZWO ASI{shot.model} Pro (simulated)", "Camera model"),
        "FOCALLEN": (530, "Focal length of telescope in mm"),
        "RA": (13.246, "Object J2000 RA in degrees") if shot.kind == "light" else None,
        "DEC": (56.622, "Object J2000 Dec in degrees") if shot.kind == "light" else None,
        "OBJECT": (night.target, "Target name") if shot.kind == "light" else None,
    }
    return f"{folder}/{'_'.join(w for w in words if w)}.fit", cards


def sharpcap(shot: Shot):
    """SharpCap set to write the last row first: a folder for the evening and each kind, seven digits of a second."""
    night, kind = shot.night, {"flatdark": "Dark"}.get(shot.kind, shot.kind.capitalize())
    evening = (shot.time - timedelta(hours=12)).date()
    folder = night.target if shot.kind == "light" else "FlatDarks" if shot.kind == "flatdark" else f"{kind}s"
    name = f"{evening}/{folder}/{'_'.join(w for w in (kind, shot.filter, f'{shot.number:05d}') if w)}.fits"
    cards = {
        "ROWORDER": ("BOTTOM-UP", ""),
        "EXPTIME": (shot.exposure_s, "seconds"),
        "GAIN": (0, ""),
        "BLKLEVEL": (50, ""),
        "CCD-TEMP": (round(shot.temperature_c, 1), "C"),
        "SET-TEMP": (shot.set_temperature_c, "C"),
        "XPIXSZ": (3.76, "microns, includes binning if any"),
        "YPIXSZ": (3.76, "microns, includes binning if any"),
        "XBINNING": (1, ""),
        "YBINNING": (1, ""),
        "IMAGETYP": (kind, ""),
        "FILTER": (shot.filter, ""),
        "EGAIN": (night.gain_e_per_dn, "electrons per ADU"),
        "FOCALLEN": (530, "mm"),
        "OBJECT": (night.target, "") if shot.kind == "light" else None,
        "INSTRUME": (f"Simulated {shot.model}", ""),
        "DATE-OBS": (f"{shot.time.isoformat(timespec='microseconds')}0", "System Clock:Est. Frame Start"),
        "SWCREATE": ("SharpCap v4.1.11817.0, 64 bit", ""),
    }
    return name, cards


DIALECTS = {"nina": nina, "maxim": maxim, "sgp": sgp, "ekos": ekos, "asiair": asiair, "sharpcap": sharpcap}


def described(shot: Shot) -> tuple[str, dict]:
    """File name relative to the night's folder, and header cards in order, `keyword: (value, comment)`."""
    name, cards = DIALECTS[shot.night.dialect](shot)
    cards |= colour_cards(shot.night) | section_cards(shot.night)
    return name, {k: v for k, v in cards.items() if v is not None and v[0] is not None}


def colour_cards(night: Night) -> dict:
    """How the dialect tells the colour filters: as they are stored, or as RGGB moved by offsets."""
    tile, dialect = night.tile, night.dialect
    if not tile:
        return {}
    if dialect in ("sgp", "asiair"):
        return {"BAYERPAT": (tile, "Bayer pattern")}
    if dialect == "sharpcap":
        stored = flipped_pattern(tile, night.rows)
        return {"BAYERPAT": (stored, ""), "COLORTYP": (stored, "")}
    moved = dialect == "maxim" and len(tile) == 4
    y, x = divmod(tile.index("R"), 2) if moved else (0, 0)
    return {
        "BAYERPAT": ("RGGB" if moved else tile, "Colour filters of the sensor"),
        "XBAYROFF": (x, "X offset of the colour filters"),
        "YBAYROFF": (y, "Y offset of the colour filters"),
    }


def section_cards(night: Night) -> dict:
    """Where the overscan lies, counted from 1, ends included."""
    if not night.overscan_px:
        return {}
    sky = f"[1:{night.cols},1:{night.rows}]"
    return {
        "BIASSEC": (f"[{night.cols + 1}:{night.cols + night.overscan_px},1:{night.rows}]", "Overscan"),
        "DATASEC": (sky, "Pixels that see the sky"),
        "TRIMSEC": (sky, "Pixels to keep"),
    }
