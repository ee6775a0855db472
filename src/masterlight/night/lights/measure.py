"""The task of pass 1: all of a light's pixels once, and what they tell."""

import threading
from dataclasses import replace

import numpy as np

from masterlight.colour.debayer import Debayer
from masterlight.colour.pattern import colour_planes
from masterlight.core.frame import ArrayFrame, Frame
from masterlight.integration.rejection import Rejection
from masterlight.integration.single.sharp import look_of, peaks_off
from masterlight.night.lights.light import Light
from masterlight.subframes.fringes import Fringes, fringes_of, of_mosaic
from masterlight.subframes.measure import measure, measure_light, stars_of
from masterlight.subframes.measurement import SKY_FIELDS, Measurement, StarList
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.sky import measure_sky, sky_of_mean
from masterlight.subframes.stars.mosaic import mosaic_of

BAND_PIXELS = 1 << 21
"""Pixels whose colours are in memory at once while a light is measured."""


class Measure:
    """The task of pass 1: all of a light's pixels, once, into buffers kept for the next, and what they tell."""

    def __init__(
        self, selector: SubframeSelector, debayer: Debayer, colours: bool, wanted=(), scale="bwmv",
        rejection: Rejection | None = None,
    ):  # fmt: skip
        self.how = selector, debayer, colours, wanted, scale, rejection
        self.selector, self.debayer, self.colours, self.wanted, self.scale, self.rejection = self.how
        self.asked, self.kept = selector.measures, threading.local()

    def __reduce__(self):
        return Measure, self.how

    def __call__(self, light: Light):
        """(measurement, channels, stars, fringes, what rays struck, sums of the file's rows), or why there are none."""
        image = self.buffer("sensor", light.sensor.shape)
        light.sensor.pixels_into(image, 0, 0)
        pattern, ceiling = light.sensor.meta.pattern, light.saturation_dn
        whole = ArrayFrame(source=light.source, meta=light.sensor.meta.with_(shape=image.shape), array=image)
        how = {"source": light.source, "saturation_dn": ceiling, "gain_e_per_dn": whole.meta.gain_e_per_dn}
        if pattern:
            planes = colour_planes(image, pattern)
            boxes, whole = [planes[colour] for colour in "RGB"], self.debayer(whole)
        else:
            boxes = [[plane] for plane in image.reshape(-1, *image.shape[-2:])]
        channels = [measure_sky(light.source, light.view.meta, planes, ceiling) for planes in boxes]
        lost = next((channel for channel in channels if not channel), None)
        if lost is not None:
            return lost
        one = len(channels) == 1
        plain = image.reshape(image.shape[-2:]) if one else self.luminance(whole, ceiling)
        sky = channels[0] if one else sky_of_mean(channels)
        mosaic, pattern = (image, pattern) if one or pattern else mosaic_of(image)
        if pattern:
            how |= {"mosaic": mosaic, "pattern": pattern}
        how["wanted"] = self.asked
        found = measure_light(self.selector, plain, sky=sky, **how)
        if not found:
            return found
        fringes = self.fringes(whole, mosaic, pattern, found[1]) if self.colours and not one else ()
        channels = [replace(channel, **stars_of(found[0])) for channel in channels]
        seen = getattr(light.raw, "seen", None)
        struck, stars = self.struck(light, image, channels, found[1]), replace(found[1], peaks=None)
        return found[0], self.with_wanted(light, channels), stars, fringes, struck, seen

    def fringes(self, whole: Frame, mosaic: np.ndarray, pattern: str, stars: StarList) -> tuple[Fringes, ...]:
        """How far colours lie apart in an image of three planes, and in the mosaic that it was made of if that has as
        many pixels."""
        shown = fringes_of(whole, stars)
        if not pattern or mosaic.shape != whole.shape[-2:]:
            return shown, shown
        return shown, fringes_of(of_mosaic(mosaic, pattern, whole), stars)

    def struck(self, light: Light, image: np.ndarray, channels, stars: StarList) -> np.ndarray | None:
        """The pixels that rays struck in a light, whose `image` is done with and is changed; None where none shall."""
        if self.rejection is None or image.ndim != 2:
            return None
        look = look_of(self.rejection, channels, light.saturation_dn)
        if look is None:
            return None
        return look.rays(image, light.sensor.meta.pattern, peaks_off(stars))

    def with_wanted(self, light: Light, channels: list[Measurement]) -> tuple[Measurement, ...]:
        """The channels with what integration wants of them besides: from a sample of what it will see."""
        more = [name for name in self.wanted if name in SKY_FIELDS]
        if not more and self.scale == "bwmv":
            return tuple(channels)
        names, sampled = (*more, "location_dn", "scale_dn"), measure(light.view, more, self.scale)
        pairs = zip(channels, sampled, strict=True)
        return tuple(replace(old, **{name: getattr(new, name) for name in names}) for old, new in pairs)

    def luminance(self, whole: Frame, saturation_dn: float | None) -> np.ndarray:
        """The mean of the planes; the brightest of them where one is saturated, so that it shows."""
        rows, cols = whole.shape[-2:]
        out = self.buffer("luminance", (rows, cols))
        step = max(16, BAND_PIXELS // cols)
        for y in range(0, rows, step):
            planes = whole.pixels(y, min(y + step, rows), 0, cols)
            band = out[y : y + step]
            np.mean(planes, axis=0, out=band)
            if saturation_dn:
                brightest = planes.max(axis=0)
                np.copyto(band, brightest, where=brightest >= 0.99 * saturation_dn)
        return out

    def buffer(self, name: str, shape) -> np.ndarray:
        if getattr(self.kept, name, np.empty(0)).shape != shape:
            setattr(self.kept, name, np.empty(shape, np.float32))
        return getattr(self.kept, name)
