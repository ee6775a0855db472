"""How high above the horizon a frame was taken, as its header tells or as the place, the time and the target do."""

import math
import re
from collections.abc import Mapping

from masterlight.core.headers.values import angle, number

LATITUDE = ("SITELAT", "SITE-LAT", "OBSLAT", "LAT-OBS", "OBS-LAT", "OBSGEO-B", "LATITUDE")
LONGITUDE = ("SITELONG", "SITE-LON", "OBSLONG", "LONG-OBS", "OBS-LONG", "OBSGEO-L", "LONGITUD")
"""Where the telescope stands, in degrees, north and east positive."""
TOLD = (("CENTALT", "CENTAZ"), ("OBJCTALT", "OBJCTAZ"), ("ALTITUDE", "AZIMUTH"))
UNIVERSAL = ("DATE-OBS", "DATE-BEG", "DATE-AVG", "JD", "MJD-OBS", "DATE")
"""Keywords without one of which the time is a local one, that tells no altitude."""
FAR_DEG = 5.0
"""So far from what the program wrote an altitude that was computed is not believed."""
J2000_S, DAY_S = 946_728_000.0, 86_400.0


def place_of(cards: Mapping, meta: Mapping, start_s: float | None) -> dict[str, float | None]:
    """Fields of a `Meta`: altitude and azimuth in degrees at the middle of the exposure, and air mass.

    They come from the pointing, the time (`start_s`, seconds since 1970 UTC) and the site; from keywords of the
    altitude where one of these is missing, or where they contradict by more than 5 degrees. Programs differ in the sign
    of a longitude: where the other one agrees with the keyword, it is meant.
    """
    told = place = altitude_told(cards)
    if places := places_computed(cards, meta, start_s):
        computed = min(places, key=lambda p: abs(p[0] - told[0])) if told else places[0]
        place = computed if not told or abs(computed[0] - told[0]) <= FAR_DEG else told
    air = number(cards, "AIRMASS")
    air = air if air is not None and 0.99 <= air < 40 else None
    altitude, azimuth = place or (None, None)
    return {
        "altitude_deg": altitude, "azimuth_deg": azimuth,
        "air_mass": air_mass(altitude) if altitude is not None else air,
    }  # fmt: skip


def places_computed(cards: Mapping, meta: Mapping, start_s: float | None) -> list[tuple[float, float]]:
    """(altitude, azimuth) at the middle of an exposure by pointing, time and site, for either sign of the longitude.

    None at all where one of these is missing.
    """
    latitude, longitude = site_angle(cards, LATITUDE, 90), site_angle(cards, LONGITUDE, 360)
    known = (meta["ra_deg"], meta["dec_deg"], latitude, longitude, start_s)
    if None in known or not any(cards.get(key) for key in UNIVERSAL):
        return []
    middle_s = start_s + 0.5 * (meta["exposure_s"] or 0.0)
    hour_angles = [sidereal_deg(middle_s) + east - meta["ra_deg"] for east in (longitude, -longitude)]
    return [horizontal(meta["dec_deg"], latitude, hour_angle) for hour_angle in hour_angles]


def altitude_told(cards: Mapping) -> tuple[float, float | None] | None:
    """(altitude, azimuth) as the program wrote them, None where it did not.

    ALTITUDE without AZIMUTH may be the height of the site in metres.
    """
    for key, beside in TOLD:
        altitude, azimuth = site_angle(cards, (key,), 90), site_angle(cards, (beside,), 360)
        if altitude and not (key == "ALTITUDE" and azimuth is None):
            return altitude, azimuth % 360 if azimuth is not None else None
    return None


def site_angle(cards: Mapping, keys: tuple[str, ...], limit_deg: float) -> float | None:
    """The first of `keys` that holds an angle within the limit; S and W make it negative."""
    for key in keys:
        value, _ = angle(cards.get(key))
        if value is not None and abs(value) <= limit_deg:
            return -abs(value) if re.search(r"[SW]\s*$", str(cards[key]).upper()) else value
    return None


def sidereal_deg(seconds: float) -> float:
    """Greenwich mean sidereal time in degrees, of seconds since 1970 UTC."""
    return (280.46061837 + 360.98564736629 * (seconds - J2000_S) / DAY_S) % 360


def horizontal(dec_deg: float, latitude_deg: float, hour_angle_deg: float) -> tuple[float, float]:
    """(altitude, azimuth) in degrees, azimuth from north over east; no refraction.

    Coordinates of 2000 stand for those of date: within 0.4 degrees.
    """
    dec, latitude, hour = (math.radians(v) for v in (dec_deg, latitude_deg, hour_angle_deg))
    up = math.sin(dec) * math.sin(latitude) + math.cos(dec) * math.cos(latitude) * math.cos(hour)
    north = math.sin(dec) * math.cos(latitude) - math.cos(dec) * math.cos(hour) * math.sin(latitude)
    azimuth = math.degrees(math.atan2(-math.cos(dec) * math.sin(hour), north)) % 360
    return math.degrees(math.asin(max(-1.0, min(1.0, up)))), azimuth


def air_mass(altitude_deg: float) -> float | None:
    """Air above a star over that above one in the zenith (Kasten & Young 1989); None below the horizon."""
    if altitude_deg < 0:
        return None
    return 1 / (math.sin(math.radians(altitude_deg)) + 0.50572 * (altitude_deg + 6.07995) ** -1.6364)
