"""Measure frames: find and fit their stars, weigh noise against spread, and approve the good ones."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from masterlight.core import noise as statistics
from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import process
from masterlight.subframes import detect as stars
from masterlight.subframes import psf

BIN_ABOVE_FWHM_PX = 6.0
BETA_STARS = 40
FIRM_SNR = 25.0
"""Stars brighter than this tell their own shape; fainter ones are placed with the shape of these."""


@dataclass(frozen=True, eq=False)
class StarList:
    """The stars of one frame, brightest first; arrays (n,), positions zero-based, pixel centres at integers."""

    x_px: np.ndarray
    y_px: np.ndarray
    flux_dn: np.ndarray
    """All the light of the fitted profile, DN."""
    peak_dn: np.ndarray
    """Brightest pixel as it is in the frame, sky included."""
    background_dn: np.ndarray
    fwhm_px: np.ndarray
    """Full width at half maximum before the blur by the pixel, geometric mean of both axes."""
    eccentricity: np.ndarray
    theta_rad: np.ndarray
    """Direction of the longer axis, from x towards y, 0 to pi."""
    sigma_px: np.ndarray
    """1-sigma error of the position along each axis, 0.01 at least."""
    snr: np.ndarray
    saturated: np.ndarray
    residual: np.ndarray
    """Mean absolute difference from the profile, in units of its height."""
    shape: tuple[int, int] = (0, 0)
    beta: float = float("nan")
    """Moffat exponent that the frame's stars share; NaN for a Gaussian."""

    def __len__(self) -> int:
        return len(self.x_px)

    @property
    def xy(self) -> np.ndarray:
        return np.stack([self.x_px, self.y_px], axis=-1)

    def __getitem__(self, index) -> "StarList":
        arrays = {f.name: np.atleast_1d(getattr(self, f.name)[index]) for f in fields(self)[:-2]}
        return replace(self, **arrays)


@dataclass(frozen=True)
class SubframeMeasurement:
    """One row of the subframe table: what a frame is like, in numbers."""

    source: str
    location_dn: float
    scale_low_dn: float
    scale_high_dn: float
    noise_dn: float
    noise_fraction: float
    stars: int
    fwhm_px: float
    eccentricity: float
    residual: float
    fwhm_mean_dev_px: float
    saturated_fraction: float
    nan_fraction: float
    background_gradient_dn: float
    snr_weight: float


@process
class SubframeSelector:
    """Measure the stars, sky and noise of every frame and approve those that are good enough to integrate."""

    sigma: Annotated[float, Field(gt=0)] = 5.0
    """Height of a star above the sky, in units of the noise at the size of a star."""
    max_stars: Annotated[int, Field(ge=10)] = 800
    """How many stars are fitted: the brightest, spread over the frame."""
    psf: Literal["moffat", "gaussian"] = "moffat"
    """Star profile that is fitted."""
    beta: Annotated[float, Field(ge=1.5, le=10)] | None = None
    """Exponent of the Moffat profile; the stars of each frame tell it when left open."""
    min_stars: Annotated[int, Field(ge=1)] = 3
    """Frames with fewer stars are rejected."""
    max_fwhm_px: Annotated[float, Field(gt=0)] | None = None
    """Frames with larger stars than this, in pixels, are rejected."""
    max_eccentricity: Annotated[float, Field(gt=0, le=1)] | None = None
    """Frames with more elongated stars than this are rejected; 0.42 still looks round, 0.6 is trailed."""
    max_noise_dn: Annotated[float, Field(gt=0)] | None = None
    """Frames with more noise than this, in DN, are rejected."""
    min_stars_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """Frames with fewer stars than this share of the group's median are rejected; 0.7 finds passing clouds."""

    def measure(
        self,
        frame,
        *,
        source: str | None = None,
        saturation_dn: float | None = None,
        gain_e_per_dn: float | None = None,
        sky: SubframeMeasurement | None = None,
    ) -> "tuple[SubframeMeasurement, StarList] | Rejected":
        """Measure one frame, a `Frame` or an array (rows, cols) or (3, rows, cols) in DN, NaN where missing.

        Colour frames are measured in the mean of their planes, mosaics in their green pixels. `saturation_dn` and
        `gain_e_per_dn` default to what the frame's header says; saturation also shows by flat-topped stars. `sky` is
        what `sky_of` told of the frame, where its noise can no longer be seen because colours were interpolated.
        Gives (SubframeMeasurement, StarList), or a `Rejected` that tells why the frame has nothing to measure.
        """
        meta = frame.meta if isinstance(frame, Frame) else None
        source = source or getattr(frame, "source", "array")
        saturation_dn = saturation_dn or (meta and meta.saturation_dn)
        gain_e_per_dn = gain_e_per_dn or (meta and meta.gain_e_per_dn)
        image, plane = plane_of(np.asarray(frame, np.float32), meta.pattern if meta else None)
        row, reason = (sky, None) if sky else frame_statistics(source, plane, saturation_dn)
        if reason:
            return Rejected(source, "measure", reason)
        found, total, elongation, level = self.find(
            image, 0.99 * saturation_dn if saturation_dn else None, gain_e_per_dn
        )
        if len(found) < self.min_stars:
            few = "no star" if not len(found) else f"only {len(found)} of the {self.min_stars} stars needed"
            return Rejected(
                source,
                "measure",
                f"{few} found above {self.sigma:g} sigma (noise {row.noise_dn:.3g} DN, background "
                f"{row.location_dn:.5g} DN): clouds, lens cap or focus?",
            )
        row = replace(row, stars=total, eccentricity=elongation, background_gradient_dn=gradient(level))
        return replace(row, **star_statistics(found)), found

    def find(self, image, saturation_dn=None, gain_e_per_dn=None):
        """The stars of an image (rows, cols): (StarList, number above the threshold, frame eccentricity, sky mesh)."""
        scale, (searched, candidates, level, _, ceiling) = search(image, self.sigma, saturation_dn)
        nothing = np.empty((0, 16))
        empty = build(nothing, nothing, candidates, scale, image.shape, self.fixed_beta(3.3))
        if not len(candidates.x):
            return empty, 0, float("nan"), level
        keep = stars.balanced(candidates.x, candidates.y, searched.shape, self.max_stars)
        chosen = stars.Candidates(*(column[keep] for column in candidates))
        near = stars.neighbours(chosen.x, chosen.y, candidates.x, candidates.y)
        fits, placed, beta = self.fit(searched, chosen, near, ceiling, gain_e_per_dn)
        if fits is None:
            return empty, 0, float("nan"), level
        good = accept(fits, placed, chosen, beta, searched.shape)
        who = stars.Candidates(*(c[good] for c in chosen))
        found = build(fits[good], placed[good], who, scale, image.shape, beta)
        share = len(found) / max(1, len(keep))
        return found, round(share * len(candidates.x)), shared_eccentricity(fits[good], found, beta), level

    def fixed_beta(self, free):
        """The exponent to fit with, None for a Gaussian; `free` when the stars are to tell it."""
        return None if self.psf == "gaussian" else self.beta or free

    def fit(self, image, chosen, near, ceiling, gain_e_per_dn):
        """Fit all chosen candidates: (fits, placed, beta); None for both when there is no width to start from.

        `placed` has the faint stars fitted again with the shape that the others share: noise that bends a faint star's
        shape moves its centre too.
        """
        fwhm = stars.typical_fwhm(image, chosen)
        beta = self.fixed_beta(3.3)
        if not fwhm > 0:
            return None, None, beta
        bright = np.flatnonzero(chosen.core == 0)[:BETA_STARS]
        height = chosen.peak - chosen.level
        some = [column[bright] for column in (chosen.x, chosen.y, height, chosen.level)]
        first = psf.round_start(*some, fwhm, beta)
        fits = np.empty((len(bright), 16))
        disc = np.full(len(bright), np.clip(2.0 * fwhm + 1.0, 4.0, 24.0))
        psf.fit_stars(
            image, first, chosen.noise[bright], disc, near[bright], psf.profile(beta), 0.0, ceiling, 15, 7, fits
        )
        widths = np.where(fits[:, psf.PEAK] > 0, psf.shape(fits, beta)[0], np.nan)
        if np.isfinite(widths).any():
            fwhm = float(np.clip(np.nanmedian(widths), 0.5 * fwhm, 1.5 * fwhm))
        alike = np.abs(widths / fwhm - 1.0) < 0.3
        inverse_gain = 1.0 / gain_e_per_dn if gain_e_per_dn else 0.0
        if alike.any() and beta is not None:
            some = bright[alike]
            free, measured = psf.fit_beta(
                image, first[alike], fwhm, chosen.noise[some], disc[alike], near[some], ceiling
            )
            beta = self.fixed_beta(free)
            inverse_gain = inverse_gain or measured
        start = psf.round_start(chosen.x, chosen.y, height, chosen.level, fwhm, beta)
        radius = np.clip(2.0 * fwhm, 3.5, 24.0) + np.minimum(chosen.core, 24.0)
        out = np.empty((len(start), 16))
        known = psf.profile(beta), inverse_gain, ceiling, 15
        psf.fit_stars(image, start, chosen.noise, radius, near, *known, 7, out)
        placed, firm = out.copy(), (out[:, psf.SNR] > FIRM_SNR) & (chosen.core == 0)
        faint = np.flatnonzero((out[:, psf.SNR] <= FIRM_SNR) & (out[:, psf.PEAK] > 0))
        if len(faint) and np.count_nonzero(firm) >= 10:
            start = out[faint, :7].copy()
            start[:, psf.A : psf.C + 1] = np.median(out[firm, psf.A : psf.C + 1], axis=0)
            again = np.empty((len(faint), 16))
            psf.fit_stars(image, start, chosen.noise[faint], radius[faint], near[faint], *known, 4, again)
            better = np.hypot(again[:, psf.X] - start[:, psf.X], again[:, psf.Y] - start[:, psf.Y]) < 1.5
            placed[faint[better]] = again[better]
        return out, placed, beta

    def select(self, measurements) -> "list[Rejected | None]":
        """Approve a group of measured frames: None for a good one, a `Rejected` with the reason for another."""
        usual = float(np.median([m.stars for m in measurements])) if measurements else 0.0
        return [self.judge(m, usual) for m in measurements]

    def judge(self, m: SubframeMeasurement, usual_stars: float) -> Rejected | None:
        """One frame against the limits."""
        reason = None
        if m.stars < self.min_stars:
            reason = f"{m.stars} stars, fewer than {self.min_stars} (min_stars)"
        elif self.max_fwhm_px is not None and not m.fwhm_px <= self.max_fwhm_px:
            reason = f"FWHM {m.fwhm_px:.2f} px is above {self.max_fwhm_px:g} (max_fwhm_px)"
        elif self.max_eccentricity is not None and not m.eccentricity <= self.max_eccentricity:
            reason = f"eccentricity {m.eccentricity:.2f} is above {self.max_eccentricity:g} (max_eccentricity)"
        elif self.max_noise_dn is not None and not m.noise_dn <= self.max_noise_dn:
            reason = f"noise {m.noise_dn:.4g} DN is above {self.max_noise_dn:g} (max_noise_dn)"
        elif self.min_stars_fraction is not None and m.stars < self.min_stars_fraction * usual_stars:
            share = 100 * m.stars / usual_stars
            reason = f"{m.stars} stars are {share:.0f} % of the group's median {usual_stars:.0f}: clouds? "
            reason += "(min_stars_fraction)"
        return Rejected(m.source, "approve", reason) if reason else None


def plane_of(array, pattern=None):
    """What to measure of a frame: (image for stars, image for sky statistics), both (rows, cols) float32.

    The mean of the planes of a colour frame; of a mosaic its green pixels, the others NaN, a green plane for the sky.
    """
    if array.ndim == 3:
        image = np.ascontiguousarray(array.mean(axis=0, dtype=np.float32))
        return image, image
    if not pattern:
        return np.ascontiguousarray(array), array
    image = array.copy()
    green = [divmod(k, 2) for k in range(4) if pattern[k].upper() == "G"]
    for y, x in [divmod(k, 2) for k in range(4) if pattern[k].upper() != "G"]:
        image[y::2, x::2] = np.nan
    y, x = green[0]
    return image, np.ascontiguousarray(array[y::2, x::2])


def frame_statistics(source, image, saturation_dn):
    """Sky, spread and noise of a frame as a record without stars, and why it is not usable, if so."""
    values, missing = statistics.sample(image)
    nan = float("nan")
    row = SubframeMeasurement(source, nan, nan, nan, nan, 0.0, 0, nan, nan, nan, nan, 0.0, missing, nan, nan)
    if missing > 0.7:
        return row, f"{100 * missing:.0f} % of its pixels are missing"
    location, low, high = statistics.two_sided_scale(values)
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        return (
            row,
            "every pixel is zero: an empty frame" if lowest == 0 else f"every pixel is {lowest:g} DN: an empty frame",
        )
    if saturation_dn and location > 0.9 * saturation_dn:
        return row, f"its median {location:.5g} DN is above 90 % of saturation ({saturation_dn:.5g} DN): overexposed"
    if location == highest:
        return row, f"half of its pixels are at its highest value {highest:.5g} DN: overexposed"
    if location == 0 and low == 0 and np.count_nonzero(values) < 0.05 * values.size:
        return row, "nearly every pixel is zero: an empty frame"
    noise, fraction = statistics.noise_mrs(image, 0.99 * saturation_dn if saturation_dn else np.inf)
    if not noise > 0:
        return row, "its noise is 0: too coarsely quantised, or smoothed already; give the frame as it was taken"
    clipped = float(np.mean(values >= 0.99 * saturation_dn)) if saturation_dn else 0.0
    weight = (0.5 * (low + high) / noise) ** 2
    return replace(
        row,
        location_dn=location,
        scale_low_dn=low,
        scale_high_dn=high,
        noise_dn=noise,
        noise_fraction=fraction,
        saturated_fraction=clipped,
        snr_weight=weight,
    ), None


def sky_of(source: str, planes, saturation_dn: float | None = None) -> "SubframeMeasurement | Rejected":
    """Level, spread and noise of one colour from its (rows, cols) planes, or why it is not usable."""
    rows = []
    for plane in planes:
        row, reason = frame_statistics(source, np.ascontiguousarray(plane), saturation_dn)
        if reason:
            return Rejected(source, "measure", reason)
        rows.append(row)
    names = "location_dn scale_low_dn scale_high_dn noise_dn noise_fraction saturated_fraction nan_fraction snr_weight"
    return replace(rows[0], **{name: float(np.mean([getattr(row, name) for row in rows])) for name in names.split()})


def search(image, sigma, saturation_dn):
    """Candidates of an image at the pixel size that suits its stars: (scale, what `detect` found in the binned image).

    Stars wider than 6 px, and frames where hardly any star shows, are searched again in the frame binned by 2, then 4.
    """
    latest = stars.detect(image, sigma, saturation_dn)
    best = 1, latest
    for scale in (2, 4):
        before = best[1].candidates
        wide = stars.typical_fwhm(best[1].image, before) > BIN_ABOVE_FWHM_PX
        if min(latest.binned.shape) < 64 or not (wide or len(before.x) < 10):
            break
        latest = stars.detect(latest.binned, sigma, saturation_dn)
        if wide or len(latest.candidates.x) > 2 * len(before.x):
            best = scale, latest
    return best


def accept(fits, placed, chosen, beta, shape):
    """Indices of the fits that are stars, brightest first, each star once."""
    from scipy.spatial import cKDTree

    fwhm, chi, *_ = psf.shape(fits, beta)
    flux = psf.shape(placed, beta)[3]
    with np.errstate(invalid="ignore"):
        x, y, peak, snr = fits[:, psf.X], fits[:, psf.Y], fits[:, psf.PEAK], fits[:, psf.SNR]
        calm = (snr > 5) & (peak > 0) & (chosen.core == 0)
        usual = np.median(fwhm[calm]) if calm.any() else np.nanmedian(fwhm)
        narrow = fwhm * ((1 - chi) / (1 + chi)) ** 0.25
        moved = np.hypot(x - chosen.x, y - chosen.y)
        good = (
            (snr > 4)
            & (peak > 0)
            & (fwhm > max(0.9, 0.5 * usual))
            & (fwhm < 2.5 * usual)
            & (narrow > max(0.6, 0.5 * usual))
        )
        good &= (fits[:, psf.RESIDUAL] < 0.1 + 1.2 * chosen.noise / peak) & (moved < 1.5 + chosen.core)
        good &= (x > usual) & (y > usual) & (x < shape[1] - 1 - usual) & (y < shape[0] - 1 - usual)
    order = np.flatnonzero(good)
    order = order[np.argsort(-flux[order], kind="stable")]
    if len(order) > 1:
        pairs = cKDTree(np.stack([x[order], y[order]], axis=-1)).query_pairs(
            max(1.5, 0.5 * usual), output_type="ndarray"
        )
        order = np.delete(order, np.unique(pairs.max(axis=1)) if len(pairs) else [])
    return order


def build(fits, placed, chosen, scale, shape, beta):
    """The StarList of accepted fits, in pixels of the frame that was binned by `scale` to find them.

    Shapes come from `fits`, places and fluxes from `placed`.
    """
    fwhm, chi, theta, _ = psf.shape(fits, beta)
    error = np.sqrt(0.5 * (placed[:, psf.VAR_X] + placed[:, psf.VAR_Y]) * stretch_of(fits))
    n = len(fits)
    return StarList(
        x_px=scale * placed[:, psf.X] + 0.5 * (scale - 1),
        y_px=scale * placed[:, psf.Y] + 0.5 * (scale - 1),
        flux_dn=scale**2 * psf.shape(placed, beta)[3],
        peak_dn=chosen.peak[:n],
        background_dn=placed[:, psf.LEVEL],
        fwhm_px=scale * fwhm,
        eccentricity=psf.eccentricity(np.sqrt(np.maximum(0.0, chi**2 - spread_of_shape(fits)))),
        theta_rad=theta,
        sigma_px=np.maximum(0.01, scale * error),
        snr=fits[:, psf.SNR],
        saturated=chosen.core[:n] > 0,
        residual=fits[:, psf.RESIDUAL],
        shape=tuple(shape),
        beta=float("nan") if beta is None else float(beta),
    )


def star_statistics(found):
    """What the stars of a frame say together: medians weighted by the square of their signal-to-noise, up to 100."""
    use = found[~found.saturated] if (~found.saturated).any() else found
    weight = np.minimum(use.snr, 100.0) ** 2
    return {
        "fwhm_px": weighted_median(use.fwhm_px, weight),
        "residual": weighted_median(use.residual, weight),
        "fwhm_mean_dev_px": float(np.mean(np.abs(use.fwhm_px - np.median(use.fwhm_px)))),
    }


def shared_eccentricity(fits, found, beta):
    """The eccentricity of a frame's stars, without the elongation that noise alone gives to each of them.

    The mean of chi^2 minus its variance has no bias; it is weighted by that variance and stars far off are left out.
    """
    use = ~found.saturated if (~found.saturated).any() else slice(None)
    variance = spread_of_shape(fits[use])
    value = psf.shape(fits[use], beta)[1] ** 2 - variance
    if not len(value):
        return float("nan")
    weight = 1.0 / (variance + 1e-3) ** 2
    middle = weighted_median(value, weight)
    near = np.abs(value - middle) <= 6.0 * weighted_median(np.abs(value - middle), weight) + 1e-12
    mean = np.sum((weight * value)[near]) / np.sum(weight[near])
    return float(psf.eccentricity(np.sqrt(max(0.0, mean))))


def stretch_of(fits):
    """How far the residuals exceed the noise, as a factor on variances, 1 at least."""
    return np.maximum(1.0, fits[:, psf.CHI2] / np.maximum(1.0, fits[:, psf.PIXELS] - 7.0))


def spread_of_shape(fits):
    """Variance of the ellipticity chi of each fit, both components together."""
    return fits[:, psf.VAR_SHAPE] * stretch_of(fits)


def weighted_median(values, weights):
    """The value at which half of the weight lies below; ties and order do not matter."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][min(np.searchsorted(total, 0.5 * total[-1]), len(values) - 1)])


def gradient(level):
    """Highest minus lowest corner of the plane through the sky mesh, DN."""
    y, x = np.mgrid[-1 : 1 : level.shape[0] * 1j, -1 : 1 : level.shape[1] * 1j]
    design = np.stack([np.ones(level.size), x.ravel(), y.ravel()], axis=-1)
    _, a, b = np.linalg.lstsq(design, level.ravel().astype(float), rcond=None)[0]
    return float(2.0 * (abs(a) + abs(b)))
