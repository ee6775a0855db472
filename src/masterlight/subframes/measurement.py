"""The nouns of this chapter: what one plane of a frame is like, and the stars of one frame."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from masterlight.subframes.bands import Profile

STAR_FIELDS = (
    "psf_flux_dn", "psf_mean_flux_dn", "fwhm_px", "eccentricity", "stars", "profile", "sharpest", "residual",
    "fwhm_mean_dev_px", "eccentricity_mean_dev", "residual_mean_dev", "fwhm_error_px", "eccentricity_error",
    "residual_error", "fitted", "beta", "theta_rad", "theta_coherence", "gradient_dn",
)  # fmt: skip
FLUCTUATION_FIELDS = ("background_noise_dn", "background_scale_dn")
SKY_FIELDS = ("mean_dn", "mean_deviation_dn", "noise_scale_dn", *FLUCTUATION_FIELDS)
"""Fields that `measure` makes when they are wanted: what the stars of a frame tell, and its sky."""
HEALTH_FIELDS = ("trails", "bands")
"""Fields that `SubframeSelector.measure` makes when they are wanted: by them a frame's health is told."""
FIRM_SNR, SHARPEST = 25.0, 0.05
"""Stars of so much signal over noise tell how sharp the sharpest are, and what share of them these are."""


@dataclass(frozen=True, eq=False)
class Response:
    """How a frame was brightened by its flat, and where it lies on the grid of the result."""

    grid: np.ndarray | None
    """(ny, nx) float: F / mean(F) of cells that divide the frame evenly, NaN where nothing is known; None without a
    flat."""
    matrix: np.ndarray
    """3x3, sends pixels of the result to those of the frame."""
    shape: tuple[int, int]
    """Rows and columns of the frame."""
    bend: Callable[[np.ndarray], np.ndarray] | None = None
    """What is added to that, (..., 2) px of the frame for (..., 2) px of the result; None for nothing."""

    def at(self, x_px: np.ndarray, y_px: np.ndarray, margin_px: float) -> tuple[np.ndarray, np.ndarray]:
        """mean(F) / F at pixels of the result, 1 where unknown; and whether the frame lies there or nearly so."""
        x, y = self.places(x_px, y_px)
        rows, cols = self.shape
        there = (x > -margin_px) & (x < cols + margin_px) & (y > -margin_px) & (y < rows + margin_px)
        if self.grid is None:
            return np.ones(x.shape), there
        return 1 / self.between(np.where(self.grid > 0, self.grid, 1.0), x, y), there

    def seen(self, cells: np.ndarray, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
        """What cells (ny, nx) that divide the frame evenly tell at pixels of the result, 0 where it does not lie."""
        x, y = self.places(x_px, y_px)
        inside = (x > -0.5) & (x < self.shape[1] - 0.5) & (y > -0.5) & (y < self.shape[0] - 0.5)
        return np.where(inside, self.between(cells, x, y), 0.0)

    def places(self, x_px: np.ndarray, y_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where pixels of the result lie in the frame."""
        x, y, z = np.tensordot(self.matrix, np.stack([x_px, y_px, np.ones_like(x_px)]), 1)
        if self.bend is None:
            return x / z, y / z
        more = self.bend(np.stack([x_px, y_px], axis=-1))
        return x / z + more[..., 0], y / z + more[..., 1]

    def between(self, cells: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Cells (ny, nx) that divide the frame evenly at pixels of the frame, linear between their middles."""
        places = [(at + 0.5) * n / size - 0.5 for at, n, size in zip((y, x), cells.shape, self.shape, strict=True)]
        return map_coordinates(cells, places, float, order=1, mode="nearest")


@dataclass(frozen=True)
class Measurement:
    """What one plane of a frame is like, in numbers; None for what was not asked for, or cannot be told."""

    source: str
    location_dn: float
    """Median of the background."""
    scale_dn: tuple[float, float]
    """Dispersion about the median, below and above it."""
    noise_dn: float
    """Of one pixel, before interpolation made neighbours alike, where that can be told."""
    exposure_s: float | None = None
    flux_ratio: float | None = None
    """Flux of stars in this frame over that of the same stars in the reference."""
    flux_ratio_error: float | None = None
    """1 sigma of it."""
    weight: float | None = None
    """What it counts for, where `SubframeSelector.weight` was asked."""
    mean_dn: float | None = None
    mean_deviation_dn: float | None = None
    """Average absolute deviation from the median."""
    noise_scale_dn: float | None = None
    """Spread of the pixels near the median, mean of both sides: the signal of the SNR weight."""
    background_noise_dn: float | None = None
    """M*: how far the pixels below the large-scale background lie below it, in the median."""
    background_scale_dn: float | None = None
    """N*: the noise as those pixels scatter, about which nebulae tell nothing."""
    psf_flux_dn: float | None = None
    """Light of all stars together."""
    psf_mean_flux_dn: float | None = None
    """Sum over the stars of their light per pixel."""
    fwhm_px: float | None = None
    """Full width at half maximum before the blur by the pixel, geometric mean of both axes: median of the stars."""
    eccentricity: float | None = None
    """sqrt(1 - (shorter / longer axis)^2) of the mean shape, without what noise adds."""
    stars: int | None = None
    """How many stars stand above the threshold; those that were fitted may be fewer."""
    profile: tuple[float, ...] | None = None
    """Light per square pixel of its stars, of a star of 1, at `subframes.radial.RADII_PX` from the centre."""
    sharpest: float | None = None
    """Width of the sharpest of its stars along their shorter axis, over the usual one `fwhm_px`: less in a curved field
    and where stars are trailed; 0 where nobody knows how sharp light is."""
    pixel_noise_dn: float | None = None
    """Noise of the pixels as they come to integration, where interpolation has lowered it; None where it has not."""
    correlation: float | None = None
    """Variance of the sum of many pixels over the sum of their variances; None where what is known of noise tells."""
    scale: float = 1.0
    """Pixels of the frame along one of those of which this tells, where it is laid on others: 0.5 for finer ones."""
    gain_e_per_dn: float | None = None
    read_noise_e: float | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """The frame's header, where weights come from it."""
    notes: tuple[str, ...] = ()
    """What had to be decided while it was measured."""
    noise_fraction: float | None = None
    """Share of the pixels that were found free of structure, where that tells the noise."""
    free: np.ndarray | None = field(default=None, compare=False, repr=False)
    """The same in cells that divide the frame evenly, (ny, nx) float32."""
    residual: float | None = None
    """How far the stars are from their fitted profiles, in units of their heights."""
    fwhm_mean_dev_px: float | None = None
    """Mean distance of the stars' widths from their median, as of the next two."""
    eccentricity_mean_dev: float | None = None
    residual_mean_dev: float | None = None
    fwhm_error_px: float | None = None
    """1 sigma of `fwhm_px` by the scatter of the stars, as of the next two."""
    eccentricity_error: float | None = None
    residual_error: float | None = None
    fitted: int | None = None
    """How many stars tell these numbers."""
    beta: float | None = None
    """Moffat exponent that they share; 100 for a Gaussian."""
    theta_rad: float | None = None
    """Direction in which they are longer, all together, from x towards y, 0 to pi."""
    theta_coherence: float | None = None
    """Whether all are elongated the same way: 1 where they are, as by trailing; near 0 where each has its own way."""
    radial: float | None = None
    """1 where all are elongated towards the middle of the frame, -1 where they are around it."""
    fwhm_zones_px: np.ndarray | None = field(default=None, compare=False, repr=False)
    """`fwhm_px` in 3 x 3 cells of the frame, [row, column] from the first pixel; NaN where fewer than 3 stars tell."""
    eccentricity_zones: np.ndarray | None = field(default=None, compare=False, repr=False)
    tilt: float | None = None
    """By what part of themselves widths change from corner to corner, along their slope."""
    curvature: float | None = None
    """By what part of themselves widths grow from the middle to a corner."""
    trails: int | None = None
    """How many bright trails of satellites or aircraft cross it."""
    bands: tuple[Profile, Profile] | None = field(default=None, compare=False, repr=False)
    """How far its rows and columns lie above those around them, and what chance gives, see `subframes.bands`."""
    altitude_deg: float | None = None
    azimuth_deg: float | None = None
    air_mass: float | None = None
    saturated_fraction: float | None = None
    missing_fraction: float | None = None
    zero_fraction: float | None = None
    """Share of the pixels that are exactly 0, as some programs write what is missing."""
    step_dn: float | None = None
    """Step to which its values were rounded, where its noise is below three of them; else 0."""
    response: Response | None = None
    """What its flat did to it, where that is known."""
    gradient_dn: float | None = None
    """Highest minus lowest corner of the plane through the sky."""
    sky_dn: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Levels of the sky in the cells of `core.statistics.cells`, (ny, nx) float32, NaN where missing; in the frame's
    own pixels, or once it is registered in those of the reference. None for small frames and those without stars."""

    @property
    def fwhm_short_px(self) -> float | None:
        """Width of the stars along their shorter axis."""
        return None if self.aspect is None or self.fwhm_px is None else self.fwhm_px * self.aspect**0.5

    @property
    def aspect(self) -> float | None:
        """Shorter over longer axis of the stars."""
        known = self.eccentricity is not None and self.eccentricity < 1
        return (1 - self.eccentricity**2) ** 0.5 if known else None


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
    peaks: np.ndarray | None = None
    """(n, 3) x, y of the brightest pixel of all that stands out in the frame, stars or not, and how many times the
    height it has when it is smoothed; None where nothing is left to be asked."""
    outnumbered: bool = False
    """Whether so much more stands out than stars that these are the wide ones of stars too narrow to be told."""

    light_shares: np.ndarray | None = None
    """(2, radii) light of those that stand alone by their pixels within `wings.APERTURES_PX`, over that of their fits,
    and errors; NaN for radii that do not suit, None where few tell."""

    def __len__(self) -> int:
        return len(self.x_px)

    def __repr__(self) -> str:
        return f"<StarList: {len(self)} stars>"

    @property
    def xy(self) -> np.ndarray:
        return np.stack([self.x_px, self.y_px], axis=-1)

    @property
    def sharpest_px(self) -> float | None:
        """Width of the sharpest firm stars along their shorter axis; 0 where they tell none, None without any."""
        if self.outnumbered:
            return 0.0
        narrow = self.fwhm_px * np.maximum(1 - self.eccentricity**2, 0) ** 0.25
        firm = narrow[(self.snr > FIRM_SNR) & ~self.saturated]
        return float(np.quantile(firm, SHARPEST)) if len(firm) else None

    def __getitem__(self, index: Any) -> "StarList":
        arrays = {f.name: np.atleast_1d(getattr(self, f.name)[index]) for f in fields(self)[:-5]}
        return replace(self, **arrays)
