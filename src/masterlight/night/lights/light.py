"""One light on its way through a walk: what is measured of it in pass 1, where it lies, what it brings to pass 2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.canvas import Canvas, shown_by
from masterlight.alignment.lens.colours import spread_of
from masterlight.alignment.quads import Reference
from masterlight.alignment.transform import Transform, Transforms
from masterlight.alignment.warping.view import Registered
from masterlight.alignment.warping.warp import warp
from masterlight.alignment.warping.wcs import seen_from
from masterlight.calibration.darkscale import DarkScale
from masterlight.calibration.masters import Masters
from masterlight.colour.debayer import Debayer
from masterlight.core.errors import Rejected
from masterlight.core.frame import ArrayFrame, Frame, Meta
from masterlight.core.headers.geometry import period, places
from masterlight.core.process import with_values
from masterlight.core.statistics.cells import cells_at, centres, grid_of
from masterlight.core.together import by_time
from masterlight.core.units.figures import figure
from masterlight.defects.lists import Defects
from masterlight.defects.repaired import without_struck
from masterlight.integration.single.struck import struck_alone
from masterlight.night.recipe import Recipe
from masterlight.session.plan import LightSet, calibration_of
from masterlight.session.targets.apart import sensor_of
from masterlight.subframes.fringes import Fringes
from masterlight.subframes.measure import keywords_of
from masterlight.subframes.measurement import Measurement, Response, StarList
from masterlight.subframes.photometry import Ratio
from masterlight.subframes.radial import Profile, rescaled

MEASURE_BYTES = 12, 20
"""Bytes per pixel that measuring a light takes; in colour there are its mosaic and the luminance that is made of it."""
RATIO_STEPS = 50
"""Steps in which the noise of a colour is told apart from that of the noisiest."""
NOISE_PX = 288
"""Side of the mosaic of noise that tells what debayering makes of it."""


@dataclass(eq=False)
class Light:
    """One light on its way: the calibrated view, then what was measured on it, then where it lies."""

    raw: Frame
    job: int
    """Number of the master light that it belongs to, in the plan."""
    calibrated: Frame
    sensor: Frame
    """Calibrated and repaired, as the sensor gave it: one plane, a mosaic for colour."""
    view: Frame
    """What is measured and integrated: that of a mosaic has three planes."""
    saturation_dn: float | None
    measurement: Measurement | None = None
    channels: tuple[Measurement, ...] = ()
    """The sky of each plane, of a mosaic before its colours were interpolated."""
    stars: StarList | None = None
    fringes: tuple[Fringes, ...] = ()
    """How far colours lie apart in the image, and in the pixels of the sensor; nothing where nobody looked."""
    transform: Transform | None = None
    plane_transforms: tuple[Transform, ...] = ()
    """Of the planes of the image, where they go each their way."""
    site_transforms: tuple[Transform, ...] = ()
    """The same for the colours of the sensor's pixels."""
    canvas: Canvas | None = None
    """The pixels of the result, where these are not those of the reference."""
    struck: np.ndarray | None = None
    """Pixels of the sensor that rays struck in this light, flat indices; None where nobody looked."""
    flat_response: np.ndarray | None = None
    """What `Masters.response` told of its flat, where a step by hand has divided by that before."""

    @property
    def source(self) -> str:
        return self.view.source

    @property
    def placed(self) -> Transforms:
        """Where each pixel of the result lies in it, of its planes where they go each their way."""
        return self.on_canvas(self.plane_transforms)

    @property
    def placed_sites(self) -> Transforms:
        """The same for a mosaic that is laid as it is: debayering draws colours nearer to each other than they are."""
        return self.on_canvas(self.site_transforms)

    def on_canvas(self, each: tuple[Transform, ...]) -> Transforms:
        """Transforms of the planes, or its own where there are none, from the pixels of the result."""
        if self.canvas is None:
            return each or self.transform
        return tuple(map(self.canvas.seen, each)) or self.canvas.seen(self.transform)

    @property
    def result_shape(self) -> tuple[int, int]:
        """Rows and columns of a result whose reference this light is."""
        return self.view.shape[-2:] if self.canvas is None else self.canvas.shape

    @property
    def measure_mb(self) -> float:
        """Memory that measuring it takes."""
        rows, cols = self.sensor.shape[-2:]
        return MEASURE_BYTES[self.view.planes > 1] * rows * cols / 1e6

    @property
    def dark_scale(self) -> DarkScale | None:
        """The factor that was fitted to its dark, when darks are scaled."""
        return getattr(self.calibrated, "dark_scale", None)

    def sentence(self) -> str:
        """What was measured on it as a line of the process console."""
        m, scale = self.measurement, self.dark_scale
        words = f"{Path(self.source).name}: {m.stars} stars, FWHM {m.fwhm_px:.2f} px, "
        words += f"eccentricity {m.eccentricity:.2f}, noise {figure(m.noise_dn, 2)} DN"
        return words if scale is None else f"{words}, {scale.sentence()}"

    def statistics(self, is_reference: bool, registered: Registered, debayer: Debayer) -> list[Measurement]:
        """What integration must know of this light, one for each plane, as if its pixels were as large as those of the
        reference.

        Interpolation keeps the light per pixel, so that a star has 1 / a^2 of its DN where a pixel of the reference
        covers a^2 of this light.
        """
        t, keywords, area = self.transform, keywords_of(self.view), self.transform.scale**2
        light = Ratio(t.flux_ratio / area, t.flux_ratio_error / area, t.flux_pairs)
        ratio = 1.0 if is_reference else light.trusted
        pattern = self.sensor.meta.pattern
        own = [channel.noise_dn for channel in self.channels]
        places = registered.transforms * (len(self.channels) // len(registered.transforms))
        gains = [(gain, 1.0) for gain in map(registered.noise_gain_of, places)]
        if pattern:
            gains = colour_noise(debayer, pattern, own, registered)
        told = []
        for channel, (gain, spread), place in zip(self.channels, gains, places, strict=True):
            noise = {"pixel_noise_dn": channel.noise_dn * gain, "correlation": spread / area / gain**2}
            noise["response"] = self.response(len(told), place)
            own = {"weight": self.measurement.weight, "sky_dn": self.sky_seen(channel, place, registered.shape)}
            one = replace(channel, flux_ratio=ratio, keywords=keywords, **own, **noise)
            told.append(on_pixels(one, self.measurement.profile, t.scale))
        return told

    def sky_seen(self, channel: Measurement, place: Transform, shape: tuple[int, ...]) -> np.ndarray | None:
        """The sky of a plane that lies at a place in cells of the reference, whose image has this shape."""
        grid = grid_of(shape, self.transform.shape if self.canvas else None)
        if channel.sky_dn is None or not grid[0]:
            return None
        there = cells_at(channel.sky_dn, self.view.shape, place(centres(grid, shape)))
        return there.reshape(grid).astype(np.float32)

    def response(self, plane: int, place: Transform) -> Response:
        """What the flat did to a plane of this light, and where it lies."""
        masters = getattr(self.calibrated, "masters", None)
        grids = masters.response() if masters else self.flat_response
        own = None if grids is None else grids[min(plane, len(grids) - 1)]
        return Response(own, place.matrix, self.view.shape[-2:], place.bend)

    def register(self, align: StarAlignment, shape) -> Registered:
        """This light on the grid of the reference."""
        noise_dn = max(m.noise_dn for m in self.channels)
        return align.registered(self.view, self.placed, shape, noise_dn=noise_dn, fwhm_px=self.measurement.fwhm_px)


def on_pixels(m: Measurement, profile: Profile | None, scale: float) -> Measurement:
    """What was measured of a frame as it would be with pixels so many times as long, whose DN are means of those.

    profile: that of its stars in its own pixels.
    """
    powers = {name: -1 for name in ("noise_dn", "background_noise_dn", "background_scale_dn", "fwhm_px")}
    powers |= {"fwhm_mean_dev_px": -1, "fwhm_error_px": -1, "psf_flux_dn": -2, "gain_e_per_dn": 2, "read_noise_e": 1}
    known = {name: getattr(m, name) for name in powers}
    told = {name: value * scale ** powers[name] for name, value in known.items() if value is not None}
    return replace(m, profile=rescaled(profile, 1 / scale), scale=scale, **told)


def leave_struck(lights: Sequence[Light], shape: tuple[int, int], debayer: Debayer) -> list[int]:
    """Repair what rays struck in each light before anything interpolates: the kernel of a warp would draw rings there.

    Only places are believed that few of the other lights which show them, on a result of this shape, call struck as
    well; gives how many pixels of each light were.
    """
    seen, places, transforms = [light for light in lights if light.struck is not None], [], []
    for light in seen:
        y, x = np.divmod(light.struck, width := light.sensor.shape[-1])
        smaller = light.view.shape[-1] / width  # a super-pixel is one of four
        whole = light.transform if light.canvas is None else light.canvas.seen(light.transform)
        places.append(whole.inverse((np.stack([x, y], axis=-1) + 0.5) * smaller - 0.5))
        transforms.append(whole)
    shown = shown_by(shape, transforms, [light.view.shape[-2:] for light in seen])
    for light, alone in zip(seen, struck_alone(places, shape, shown), strict=True):
        light.struck = light.struck[alone]
        if light.struck.size:
            light.sensor = without_struck(light.sensor, light.struck)
            light.view = debayer(light.sensor) if light.sensor.meta.pattern else light.sensor
    return [len(light.struck) for light in seen]


def light_of(
    recipe: Recipe, number: int, part: LightSet, frame: Frame, masters: Masters, defects: Defects | None
) -> Light:
    """A raw frame as a light: views of it, calibrated, repaired, and debayered where it is a mosaic.

    An image of three planes is taken as it is.
    """
    if len(frame.shape) > 2:
        return light_as_it_is(recipe, frame, number)
    calibrate = calibration_of(part, recipe.calibrate)
    calibrated = calibrate(frame, masters)
    sensor = recipe.cosmetic(calibrated, defects)
    view = debayer_of(recipe)(sensor) if sensor.meta.pattern else sensor
    return Light(frame, number, calibrated, sensor, view, calibrate.saturation(frame, masters))


def light_as_it_is(recipe: Recipe, frame: Frame, number: int = 0, response: np.ndarray | None = None) -> Light:
    """A frame that was calibrated before, if ever, as a light."""
    view = debayer_of(recipe)(frame) if frame.meta.pattern and len(frame.shape) == 2 else frame
    return Light(frame, number, frame, frame, view, frame.meta.saturation_dn, flat_response=response)


def debayer_of(recipe: Recipe) -> Debayer:
    """The recipe's debayering; frames know their pattern already, which trimming may have shifted."""
    return with_values(recipe.debayer, pattern="auto")


def colour_noise(
    debayer: Debayer, pattern: str, noise_dn: list[float], registered: Registered
) -> list[tuple[float, float]]:
    """What debayering and registering make of the noise in the pixels of a mosaic: for each colour (noise of a pixel
    over that of its pixels in the mosaic, variance of the sum of many pixels for each of them).

    White noise is sent the same way, since interpolating twice is not the product of both; that of each colour, since
    colours are interpolated with the help of the green ones, whose noise comes with it.
    """
    ratios = tuple(max(round(RATIO_STEPS * sigma / max(noise_dn)), 1) / RATIO_STEPS for sigma in noise_dn)
    colours = mosaic_noise(debayer, pattern, ratios)
    size = colours.shape[-1]
    size_of = {c: pattern.count(c) / len(pattern) for c in "RGB"}
    middle, small = np.full(2, size // 2), np.eye(3)
    out, found = np.empty((size, size), np.float32), []
    sites = len(pattern) if debayer.method == "super-pixel" else 1
    places = registered.transforms * (3 // len(registered.transforms))
    for plane, colour, sigma, place in zip(colours, "RGB", ratios, places, strict=True):
        at, turn = registered.in_the_middle(place)
        small[:2, :2], small[:2, 2] = turn, middle + at % 1 - turn @ middle
        warp(plane, 0, 0, small, out, 0, 0, registered.kernel)
        found.append((float(np.nanstd(out[24:-24, 24:-24])) / sigma, 1 / (size_of[colour] * sites)))
    return found


@lru_cache(maxsize=16)
def mosaic_noise(debayer: Debayer, pattern: str, sigmas: tuple[float, ...]) -> np.ndarray:
    """White noise about 1000, of red, green and blue its own, debayered: (3, n, n) float32 with the 1000 taken off."""
    noise = np.random.default_rng(1).standard_normal((NOISE_PX, NOISE_PX), np.float32)
    p, own = period(pattern), dict(zip("RGB", sigmas, strict=True))
    for colour, at in places(pattern).items():
        for y, x in at:
            noise[y::p, x::p] *= np.float32(own[colour])
    frame = ArrayFrame.of(noise + np.float32(1000), "white noise", Meta(pattern=pattern))
    return np.ascontiguousarray(np.asarray(debayer(frame))) - np.float32(1000)


def align_light(
    process: StarAlignment, reference: Reference, anchor: str, sky: Mapping, light: Light
) -> Transform | Rejected:
    """The task between the passes: where a light lies, or why nobody knows.

    anchor: source of the reference itself, whose place is known; sky: the keywords that tell where it lies on the sky.
    Where the stars alone do not tell, it is tried where both headers say.
    """
    if light.source == anchor:
        return Transform.identity(light.stars.shape)
    found = process.align(reference, light.stars, light.source)
    if not found and (matrix := seen_from(sky, light.view.header)) is not None:
        return process.align(reference, light.stars, light.source, Transform(matrix=matrix)) or found
    return found


def through_one_lens(process: StarAlignment, reference: Light, lights: Sequence[Light]) -> list[str]:
    """Lay matched lights anew by the stars of all of them, through the lens that all share where that pays.

    Those of other sensors have a lens of their own and stay. Gives what to tell of the lens and of what it leaves.
    """
    lights = [light for light in lights if sensor_of(light.raw.meta) == sensor_of(reference.raw.meta)]
    moved = [light for light in lights if light is not reference]
    moved.sort(key=lambda light: by_time(light.raw))  # bits hang on no order of files
    found = process.share_lens(reference.stars, [(light.stars, light.transform) for light in moved])
    for light, transform in zip(moved, found.transforms, strict=True):
        light.transform = transform
    told = [str(found)] if found.believed or found.apart or process.distortion == "lens" else []
    return [*told, str(found.left)] if found.left and found.left.tells else told


def lay_colours(process: StarAlignment, lights: Sequence[Light]) -> str:
    """Lay red and blue of lights on their green, which stays where the light lies, where that pays or was asked for.

    Lights of one optic are asked together. Gives what to tell of it; empty where nothing changed.
    """
    optics: dict[tuple, list[Light]] = {}
    for light in lights if process.planes != "luminance" else ():
        meta = light.view.meta
        if light.fringes:
            key = meta.camera, meta.telescope, meta.focal_mm, meta.binning, meta.filter, light.view.shape
            optics.setdefault(key, []).append(light)
    told = []
    for own in optics.values():
        shown, seen = (spread_of([light.fringes[k] for light in own], own[0].view.shape[-2:]) for k in (0, 1))
        for spread, name in ((shown, "plane_transforms"), (seen, "site_transforms")):
            if spread and (spread.pays or process.planes == "each"):
                for light, (red, blue) in zip(own, spread.transforms, strict=True):
                    setattr(light, name, (red @ light.transform, light.transform, blue @ light.transform))
        told += [(shown, own)] if own[0].plane_transforms else []
    if not told:
        poor = (
            "planes of colour lights are laid together: too few stars tell where each lies (StarAlignment.planes each)"
        )
        return poor if optics and process.planes == "each" else ""
    spread, own = max(told, key=lambda one: one[0].farthest_px)
    count, why = sum(len(own) for _, own in told), "air and lens" if spread.by_air else "lens or air, in all alike"
    words = f"red and blue of {count} lights are laid on green, each by its own stars (StarAlignment.planes): they lie"
    return f"{words} up to {spread.farthest_px:.2f} px from it ({why})"


def tile_aspect(lights: list[Light]) -> float:
    """How much wider than high a tile should be: wide where rows stay rows, square where frames are turned."""
    turned = max(abs((light.transform.rotation_deg + 90) % 180 - 90) for light in lights)
    return 64 if turned < 1 else 4 if turned < 5 else 1
