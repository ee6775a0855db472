"""What a frame counts for in a weighted average: by exposure, noise, stars, a keyword of its header or a formula."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from types import SimpleNamespace

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.subframes.choice.transparency import full_light
from masterlight.subframes.formula import variables
from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.variables import PROPERTIES, SIGNAL, fields_of, keyword_names, property_named
from masterlight.subframes.measurement import SKY_FIELDS, STAR_FIELDS, Measurement
from masterlight.subframes.radial import Worth, point_weights, sharp_weights, worth_of

RELATED = re.compile("WEIGHT|WGHT|WGT", re.IGNORECASE)
"""What the names of keywords that hold weights have in them: SFSWEIGHT, SSWEIGHT, WBPPWGHT."""
POSITIVE = (
    "noise_dn", "exposure_s", "flux_ratio", "psf_flux_dn", "psf_mean_flux_dn", "background_noise_dn", "fwhm_px",
)  # fmt: skip
"""Fields that must be positive in a formula."""


MEASURED = {
    "location_dn": "its median", "scale_dn": "its dispersion", "noise_dn": "its noise", "mean_dn": "its mean",
    "mean_deviation_dn": "its average deviation", "noise_scale_dn": "the spread of its pixels near the median",
    "background_noise_dn": "the fluctuation of its background", "exposure_s": "its exposure time",
    "flux_ratio": "the light of its stars relative to the reference", "psf_flux_dn": "the light of its stars",
    "psf_mean_flux_dn": "the light per pixel of its stars", "fwhm_px": "the size of its stars",
    "eccentricity": "the elongation of its stars", "stars": "its number of stars",
    "profile": "the profile of its stars", "weight": "the weight that SubframeSelector.weight gives",
    **dict.fromkeys(("altitude_deg", "azimuth_deg", "air_mass"), "where its target stood (coordinates, time and site)"),
    **dict.fromkeys(("noise_fraction", "saturated_fraction"), "its pixels before they were registered"),
}  # fmt: skip
OTHER = "what that tells"
"""Fields of `Measurement` as a sentence calls them, and all others."""
MODES: dict[str, tuple[tuple[str, ...], Callable]] = {
    "none": ((), lambda s, k: 1.0),
    "exposure": (("exposure_s",), lambda s, k: s.exposure_s),
    "noise": (("noise_dn",), lambda s, k: (k * s.noise_dn) ** -2.0),
    "snr": (("noise_scale_dn", "noise_dn"), lambda s, k: (s.noise_scale_dn / s.noise_dn) ** 2),
    "psf-signal": (SIGNAL, lambda s, k: variables.psf_signal_weight(s)),
    "psf-snr": (("psf_flux_dn", "noise_dn"), lambda s, k: variables.psf_snr(s)),
    "psf-scale-snr": (("flux_ratio", "noise_dn"), lambda s, k: (k * s.noise_dn) ** -2.0),
    "average": (("mean_dn",), lambda s, k: s.mean_dn),
    "median": (("location_dn",), lambda s, k: s.location_dn),
    "average-deviation": (("mean_deviation_dn",), lambda s, k: s.mean_deviation_dn),
    "select": (("weight",), lambda s, k: s.weight),
}
"""Kinds of weight: the positive numbers that they need, and the weight of a frame with scale factor k. Those that are
told by a keyword or a formula come besides, and those of `SHAPED`."""
SHAPED = "point", "sharp"
"""Kinds of weight that are made of the noise and the star profiles of all frames together."""
KNOB = "ImageIntegration.weight_expression"
NAMES = tuple(name for name in PROPERTIES if name not in ("Index", "Weight"))
"""What a formula can be written with, besides the keywords of the header: widths in px, levels in DN."""


def needs(mode: str, expression: str | None = None) -> tuple[str, ...]:
    """The optional fields of `Measurement` that a kind of weight is made of: what `measure` must be asked for.

    Besides those there is flux_ratio, which photometry on the registered frames tells.
    """
    known = (*SKY_FIELDS, *STAR_FIELDS, "flux_ratio")
    if mode == "expression":
        fields = fields_of(Expression(expression or "").names)
    else:
        fields = MODES[mode][0] if mode in MODES else ()
    return tuple(f for f in known if f in fields)


def weights_of(
    mode: str, statistics: Sequence[Measurement], factor: np.ndarray, *, keyword: str | None = None,
    expression: str | None = None, give: float = 1.0,
) -> np.ndarray:  # fmt: skip
    """The weight of each frame, (N,) float64, as it comes out of its formula; only their ratios mean something.

    mode: a name of `MODES`, "keyword", the number that `keyword` has in each header, "expression", or one of `SHAPED`:
    where no frame tells the profile of its stars, point is noise; give: percent of depth that sharp gives away. factor
    (N,): by what each frame is multiplied before it is combined, for psf-scale-snr as its stars tell it. Raises
    ParameterError, naming the frame, the number and what to do, where a weight cannot be made. An expression may give 0
    for some frames, not for all.
    """
    if mode == "keyword":
        return np.array([keyword_weight(s, keyword or "") for s in statistics])
    if mode == "expression":
        return expression_weights(statistics, expression or "")
    if mode not in (*MODES, *SHAPED):
        there = ", ".join((*SHAPED, *MODES, "keyword", "expression"))
        raise ParameterError(f"ImageIntegration.weights: '{mode}' is not known; there are {there}")
    fields, compute = MODES["noise" if mode in SHAPED else mode]
    for s in statistics:
        for name in fields:
            check(s, name, f"ImageIntegration.weights {mode}", positive=True)
    weights = np.array([compute(s, float(k)) for s, k in zip(statistics, factor, strict=True)], np.float64)
    for s, weight in zip(statistics, weights, strict=True):
        if not (np.isfinite(weight) and weight > 0):
            raise ParameterError(f"{s.source}: ImageIntegration.weights {mode} gives {weight:g}; leave the frame out")
    return shaped_weights(mode, statistics, weights, factor, give) if mode in SHAPED else weights


def shaped_weights(mode: str, statistics: Sequence[Measurement], least, factor: np.ndarray, give: float) -> np.ndarray:
    """Weights by noise and by the profiles of stars; `least` are those by noise, where no profile is known."""
    profiles = profiles_of(statistics, factor)
    if profiles is None and mode == "sharp":
        check(statistics[0], "profile", "ImageIntegration.weights sharp", positive=False)
    if profiles is None:
        return least
    noise = least**-0.5
    return point_weights(noise, profiles) if mode == "point" else sharp_weights(noise, profiles, give / 100)


def worth_beside_noise(weights: np.ndarray, statistics: Sequence[Measurement], factor: np.ndarray) -> Worth | None:
    """What these weights make of the frames beside weights by noise; None where profiles or noise are not known."""
    profiles, noise = profiles_of(statistics, factor), np.abs(factor) * [s.noise_dn for s in statistics]
    known = profiles is not None and np.isfinite(noise).all() and (noise > 0).all() and weights.sum() > 0
    return worth_of(weights, noise, profiles) if known else None


def profiles_of(statistics: Sequence[Measurement], factor: np.ndarray) -> np.ndarray | None:
    """The profiles of stars (N, radii) as they come to be combined, each frame multiplied by its factor (N,).

    Frames that tell none have the mean of the others; None where most tell none. A star counts as it shines in each:
    where no factor makes frames alike, less in those behind cloud.
    """
    known = np.array([s.profile is not None for s in statistics])
    if 2 * known.sum() <= len(known):
        return None
    profiles = np.array([s.profile for s in statistics if s.profile is not None], float)
    out = np.broadcast_to(profiles.mean(axis=0), (len(known), profiles.shape[1])).copy()
    out[known] = profiles
    ratios = np.array([np.nan if s.flux_ratio is None else s.flux_ratio for s in statistics])
    light = factor * ratios if np.isfinite(ratios).all() else np.ones(len(known))
    return out * (light / np.median(light))[:, None]


def check(s: Measurement, name: str, who: str, positive: bool) -> None:
    """Raise ParameterError when a number is missing from what was measured of a frame, or is not one to weigh by."""
    value = getattr(s, name)
    values = np.atleast_1d(np.asarray(np.nan if value is None else value, float))
    if np.isfinite(values).all() and (not positive or (values > 0).all()):
        return
    todo = "leave the frame out, or use ImageIntegration.weights noise"
    if name == "noise_dn":
        todo = "is it an empty or a smoothed frame? Leave it out, or use ImageIntegration.weights none"
    elif name == "weight":
        todo = "that is for a run; take ImageIntegration.weights keyword or expression"
    elif name == "exposure_s":
        todo = "write EXPTIME into its header, or use ImageIntegration.weights noise"
    elif name in STAR_FIELDS and not s.stars:
        raise ParameterError(
            f"{s.source}: {who} needs {MEASURED.get(name, OTHER)}, and no star was found in it; {todo}"
        )
    wanted = "a positive number" if positive else "a number"
    given = "unknown" if value is None else f"{value:g}" if isinstance(value, Real) else f"{value}"
    raise ParameterError(
        f"{s.source}: {who} needs {MEASURED.get(name, OTHER)}, which is {given} and must be {wanted}; {todo}"
    )


def keyword_weight(s: Measurement, keyword: str) -> float:
    """The weight that a frame's header holds."""
    if not keyword:
        raise ParameterError(
            "ImageIntegration.weight_keyword is empty; name the keyword of the weight, such as SSWEIGHT"
        )
    named = {str(key).upper(): value for key, value in s.keywords.items()}
    if keyword.upper() not in named:
        related = [key for key in named if RELATED.search(key)]
        has = f"it has {', '.join(related)}: use that" if related else "it has none like it: weigh the subframes first"
        raise ParameterError(
            f"{s.source}: its header has no keyword {keyword} for a weight; {has}, or ImageIntegration.weights noise"
        )
    value = named[keyword.upper()]
    said = f"{s.source}: its {keyword} is "
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterError(
            f"{said}{value!r:.40}, which is no number; write a positive one, or use ImageIntegration.weights noise"
        )
    if value == 0:
        raise ParameterError(f"{said}0: such a frame counts for nothing; leave it out")
    if not (np.isfinite(value) and value > 0):
        raise ParameterError(f"{said}{value:g}; a weight must be positive: weigh the frame anew, or leave it out")
    return float(value)


def check_names(mode: str, keyword: str, expression: str | None, headers: Iterable[tuple[str, Mapping]]) -> None:
    """Raise ParameterError where a header, (file, keywords), lacks the weight or what a formula needs of it."""
    formula = Expression(expression or "") if mode == "expression" else None
    names = [name for name in formula.names if property_named(name) is None] if formula else []
    if formula and not names:
        formula.check(NAMES, KNOB)
        return
    for source, keywords in headers:
        frame = SimpleNamespace(source=source, keywords=keywords)
        if formula is None:
            keyword_weight(frame, keyword)
            continue
        header = keyword_names(keywords)
        formula.check([*NAMES, *header], f"{source}: {KNOB}")
        for name in names:
            column(name, [frame], [header])


def expression_weights(statistics: Sequence[Measurement], text: str) -> np.ndarray:
    """The weights that a formula gives over what was measured and what the headers say."""
    formula = Expression(text)
    if formula.approves:
        raise ParameterError(f"{KNOB}: '{text}' is a condition; a weight is a number: if({text}, 1, 0)")
    headers = [keyword_names(s.keywords) for s in statistics]
    known = dict.fromkeys([*NAMES, *(key for header in headers for key in header)], np.zeros(len(statistics)))
    table = {name: column(name, statistics, headers) for name in formula.names if name in known}
    weights = formula.evaluate(known | table)
    for s, weight in zip(statistics, weights, strict=True):
        if not np.isfinite(weight) or weight < 0:
            todo = "mend the expression, or leave the frame out"
            raise ParameterError(f"{s.source}: the weight by '{text}' is {weight:g} and must be 0 or more; {todo}")
    if not weights.any():
        told = f"the weight by '{text}' is 0; mend the expression, or add a number"
        raise ParameterError(f"{statistics[0].source} and all others: {told}")
    return weights


def column(name: str, statistics: Sequence[Measurement], headers: Sequence[dict]) -> np.ndarray:
    """One property of all frames, or one keyword of their headers, (N,)."""
    row = property_named(name)
    if row is None:
        values = [header.get(name) for header in headers]
        for s, value in zip(statistics, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, Real):
                what = "is not in its header" if value is None else f"is {value!r:.40}"
                raise ParameterError(f"{s.source}: the expression needs the number {name}, which {what}; leave it out")
        return np.array(values, np.float64)
    for s in statistics:
        for field in row.fields:
            check(s, field, f"{name} in the expression", positive=field in POSITIVE)
    if row.name == "Transparency":
        told = all(s.gain_e_per_dn for s in statistics)  # else as if all had the same
        gains = [s.gain_e_per_dn if told else 1.0 for s in statistics]
        times = [s.exposure_s or 1.0 for s in statistics]
        light = np.array([s.flux_ratio or np.nan for s in statistics]) * gains / times
        return light / full_light(light)
    return np.array([row.of(s) for s in statistics], np.float64)
