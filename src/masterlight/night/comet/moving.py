"""How a comet moves over the lights of a field: by what the user tells, measured on its nucleus where that can be."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from masterlight.alignment.bend import shift_matrix
from masterlight.alignment.comet.follow import CometAlignment
from masterlight.alignment.comet.motion import Motion
from masterlight.alignment.comet.nucleus import Moment, measured
from masterlight.alignment.transform import Transform, each_of
from masterlight.alignment.warping.wcs import first_solved, linear_part
from masterlight.core.errors import ParameterError
from masterlight.core.headers.values import middle_s
from masterlight.core.workers import Event, Events, each
from masterlight.doctor.findings import some
from masterlight.night.lights.light import Light
from masterlight.night.run import Run
from masterlight.session.words import how_many
from masterlight.subframes.photometry import Ratio

STAGE = "comet"


def check_places(settings: CometAlignment, sources: Sequence[str]) -> None:
    """ParameterError where the user gave the place of a comet in a file that is none of these."""
    names = [Path(source).name for source in sources]
    for file, _, _ in settings.marks:
        wanted = Path(file).name
        if not any(wanted in (name, Path(name).stem) for name in names):
            near = difflib.get_close_matches(wanted, names, 1, 0.6)
            todo = f"is it {near[0]}?" if near else "give the place in one of them"
            raise ParameterError(f"CometAlignment.positions {wanted} is not among the {len(names)} lights; {todo}")


def time_of(light: Light) -> float | None:
    """The middle of its exposure, s since 1970."""
    meta = light.view.meta
    return middle_s(light.raw.header, meta.time, meta.exposure_s)


def find_motion(run: Run, lights: Sequence[Light], anchor: Light) -> Events[Motion | None]:
    """How the comet moves over lights that are laid on `anchor`, at whose time it stays where it is.

    None where none was asked for, or where these lights cannot tell; the latter is told.
    """
    settings = run.recipe.comet
    if not settings.is_asked:
        return None
    timed = {light: when for light in lights if (when := time_of(light)) is not None}
    if untimed := [light.source for light in lights if light not in timed]:
        words = f"{some(untimed)}: no time (DATE-OBS) tells where the comet is in {how_many(len(untimed), 'light')}"
        yield run.note(STAGE, f"{words}, which do not take part in its images")
    places = [(light, x, y) for file, x, y in settings.marks for light in named(file, [*timed])[:1]]
    rate = rate_of(settings, anchor, lights)
    if len(timed) < 2 or len(places) < (2 if rate is None else len(settings.marks)):
        if places or rate is not None or len(timed) < 2:
            words = "lights of this field, with a time and laid on the reference, show where the comet is"
            yield run.note(STAGE, f"{len(places)} {words}: too few, so that none is made of it")
        return None
    epoch_s = epoch_of(anchor, sorted(timed.values()))
    times_s = [timed[light] for light, _, _ in places]
    if rate is None and np.ptp(times_s) <= 0:
        raise ParameterError(
            "CometAlignment.positions are all of one time: give the place in an earlier or later light"
        )
    xy = [on_grid(run, light, x, y) for light, x, y in places]
    motion = settings.motion(times_s, xy, epoch_s, rate)
    if settings.nucleus == "auto" and motion.is_placed:
        motion = yield from follow(run, motion, timed, anchor)
    yield run.note(STAGE, told(motion, len(timed)))
    return motion


def epoch_of(anchor: Light, times_s: Sequence[float]) -> float:
    """When results show the comet: at the time of the reference; of one that is of another night, or of none, at that
    of the light in the middle of all."""
    own = time_of(anchor)
    known = own is not None and times_s[0] <= own <= times_s[-1]
    return own if known else times_s[len(times_s) // 2]


def named(file: str, lights: Sequence[Light]) -> list[Light]:
    """Those of some lights that the user called so."""
    name = Path(file).name
    return [light for light in lights if name in (Path(light.source).name, Path(light.source).stem)]


def on_grid(run: Run, light: Light, x: float, y: float) -> np.ndarray:
    """Where a pixel of a file lies on the grid of results."""
    at = np.array([x, y])
    if light.raw.shape[-2:] != light.sensor.shape[-2:]:  # what saw no sky was cut off
        top, _, left, _ = run.recipe.calibrate.overscan.window(light.raw)
        at = at - (left, top)
    smaller = light.view.shape[-1] / light.sensor.shape[-1]  # a super-pixel is one of four
    place: np.ndarray = each_of(light.placed)[0].inverse((at + 0.5) * smaller - 0.5)
    return place


def rate_of(settings: CometAlignment, anchor: Light, lights: Sequence[Light]) -> np.ndarray | None:
    """(x, y) px an hour on the grid of results; None where positions tell it."""
    if settings.rate_px_h is not None:
        return np.array(settings.rate_px_h)
    if not settings.rate_arcsec_h:
        return None
    own = each_of(anchor.placed)[0] if anchor.transform else Transform.identity(anchor.result_shape)
    seen = ((anchor.view.header, own), *((light.view.header, each_of(light.placed)[0]) for light in lights))
    _, matrix = linear_part(first_solved(seen, anchor.result_shape))
    if matrix is None:
        words = "is for lights whose headers tell where they lie on the sky (WCS), as a plate solver writes it"
        raise ParameterError(f"CometAlignment.rate_arcsec_h {words}: give CometAlignment.rate_x_px_h, or positions")
    toward = np.radians(settings.angle_deg)
    east_north = settings.rate_arcsec_h / 3600 * np.array([np.sin(toward), np.cos(toward)])
    rate: np.ndarray = np.linalg.solve(matrix, east_north)
    return rate


def follow(run: Run, given: Motion, timed: dict[Light, float], anchor: Light) -> Events[Motion]:
    """The motion by the nucleus as the lights show it."""
    settings, shape, moments = run.recipe.comet, anchor.result_shape, []
    for light, when in timed.items():
        t, m = light.transform, light.measurement
        noise_dn = float(np.mean([one.noise_dn for one in light.channels])) / np.sqrt(len(light.channels))
        frame = light.register(run.recipe.align, shape)
        trail = np.array(given.terms[1]) * (light.view.meta.exposure_s or 0.0) / 3600
        moments.append(
            Moment(frame, when, float(noise_dn), m.fwhm_px / t.scale, light_of(light, anchor), tuple(trail.tolist()))
        )
    seen = []
    for event in each("comet", run.pool, measured(given, moments, settings.reach_px), range(len(moments))):
        seen += [event.result] if event.result else []
        yield Event(STAGE, event.done, event.total)
    return settings.refined(given, sorted(seen))


def told(motion: Motion, count: int) -> str:
    """The motion in words, and how it is known."""
    if motion.note:
        return f"{motion}; {motion.note}"
    if not motion.measured:
        return f"{motion}, as given"
    words = f"measured on its nucleus in {motion.measured} of {how_many(count, 'light')}"
    return f"{motion}: {words}, {motion.rms_px:.2f} px from its way"


def comet_keywords(motion: Motion) -> list[tuple]:
    """What headers tell of a comet: where it is on the result, how it moves, and when."""
    (x, y), (dx, dy) = motion.terms[:2]
    when = datetime.fromtimestamp(motion.epoch_s, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    place = [
        ("COMETX", round(x + 1, 3), "[px] nucleus of the comet, columns from 1"),
        ("COMETY", round(y + 1, 3), "[px] the same, rows from 1"),
    ]
    return [
        *(place if motion.is_placed else ()),
        ("COMETDX", round(dx, 4), "[px/h] it moves over the stars along x"),
        ("COMETDY", round(dy, 4), "[px/h] and along y"),
        ("COMETOBS", when, "UTC when it was there"),
        ("COMETN", motion.measured, "lights in which its nucleus was measured"),
    ]


def moved(light: Light, shift: np.ndarray) -> Light:
    """A light as it lies on the grid on which the comet stands still, when it has moved by (x, y) px since."""
    if not np.any(shift):
        return light
    on = Transform(shift_matrix(*shift))

    def composed(t: Transform) -> Transform:
        to = t @ on
        return replace(t, matrix=to.matrix, bend=to.bend)

    each = {name: tuple(map(composed, getattr(light, name))) for name in ("plane_transforms", "site_transforms")}
    return replace(light, transform=composed(light.transform), **each)


def light_of(light: Light, anchor: Light) -> float:
    """What the light of a star in it is multiplied by to be that of the reference; 1 where nobody can tell."""
    t = light.transform
    area = t.scale**2
    known = Ratio(t.flux_ratio / area, t.flux_ratio_error / area, t.flux_pairs).trusted
    return 1.0 if light is anchor or not known or known <= 0 else 1 / known
