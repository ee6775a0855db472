"""What one frame shows by itself: where few frames lie on one another, no other tells a cosmic ray from a star."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from masterlight.core.frame import Frame, naming
from masterlight.integration.rejection import Rejection
from masterlight.integration.single import kernels
from masterlight.subframes.measurement import Measurement, StarList

Box = tuple[int, int, int, int]
THIN = 3
"""Where so many frames or fewer have a pixel, each is looked at by itself."""
SHARPEST = 0.8
"""No star of a frame is narrower than this share of their usual FWHM."""
SHARE = 0.9
"""Light may fall off a little faster from pixel to pixel than such a star does."""
SIGMA_OF_FWHM = 1 / np.sqrt(8 * np.log(2))
NEAR_CEILING = 0.8
"""From this part of saturation on a pixel may have bled into its neighbours: that is no ray."""
ON_STAR_PX = 1.5
"""A peak so near the middle of a star is the star's."""
FLATTENED, LINE = 1.2, 3.1
"""A ray is lowered by smoothing so many times more than a star; and by what factor a line of one pixel nearly is."""
GAP_PX = 32
"""Pixels to look at that lie nearer to each other than this are looked at together."""


@dataclass(frozen=True)
class Sharp:
    """A look at the pixels of one frame, as the sensor gave them, for what is sharper than light (see `kernels`).

    Rays are told as by van Dokkum (2001, PASP 113, 1420, L.A.Cosmic), whose Laplacian is the difference from both
    neighbours; but the width of the frame's stars is known here, and so is how far light may fall off.
    """

    fwhm_px: float
    noise_dn: float
    level_dn: float
    photon: float
    """Variance for each DN of light, 0 where the gain is unknown."""
    ceiling_dn: float
    sigma: float

    @property
    def halo(self) -> int:
        """Pixels around a box that decide about those in it; even, so that colours stay in place."""
        reach = 2 * (2 * 2 + kernels.AROUND + 1) * kernels.ROUNDS
        return 2 * int(np.ceil((reach + self.radius_px) / 2))

    @property
    def radius_px(self) -> float:
        return max(4.0, 2 * self.fwhm_px)

    @property
    def flattened(self) -> float:
        """By what factor binning by 2 and smoothing by [1, 2, 1] lower a star."""
        variance = (self.fwhm_px * SIGMA_OF_FWHM) ** 2
        return (variance + 7 / 3) / (variance + 1 / 12)

    def ratios(self, step: int) -> np.ndarray:
        """What is left of a star's light at the distance of a neighbour, of a diagonal one, and at twice both, (4,)."""
        variance = (SHARPEST * self.fwhm_px * SIGMA_OF_FWHM) ** 2 + 1 / 12  # its own and that of the pixel
        distance = step * np.array([1, np.sqrt(2), 2, np.sqrt(8)])
        return np.maximum(SHARE * np.exp(-(distance**2) / (2 * variance)), 1e-3)

    def __call__(self, pixels: np.ndarray, pattern: str | None) -> np.ndarray | None:
        """Marks of pixels (rows, cols) or (3, rows, cols) float32: uint8 (rows, cols); None for an X-Trans mosaic.

        In a Bayer mosaic and in three planes made of one, neighbours of the same colour are compared.
        """
        if pattern and len(pattern) != 4:
            return None
        out = np.zeros(pixels.shape[-2:], np.uint8)
        step = 2 if pattern or pixels.ndim == 3 else 1
        for plane in pixels if pixels.ndim == 3 else pixels[None]:
            for y in range(step):
                for x in range(step):
                    part = np.ascontiguousarray(plane[y::step, x::step], np.float32)
                    found = np.zeros(part.shape, np.uint8)
                    how = float(self.noise_dn), float(self.photon), float(self.ceiling_dn), 1, self.radius_px / step
                    kernels.find_sharp(part, *how, self.ratios(step), float(self.sigma), found)
                    out[y::step, x::step] |= found
        return out

    def rays(self, pixels: np.ndarray, pattern: str | None, peaks: np.ndarray) -> np.ndarray:
        """Flat indices, in order, of the pixels of a whole frame (rows, cols) float32 that rays struck; it is changed.

        Only what stands out is looked at, peaks (n, 3) as `StarList` has them, and of those in a frame of one colour
        what smoothing lowers by more than a star.
        """
        if pattern and len(pattern) != 4:
            return np.empty(0, np.int64)
        step, out = 2 if pattern else 1, [np.empty(0, np.int64)]
        least = min(FLATTENED * self.flattened, LINE) if step == 1 else 0.0
        at = peaks[peaks[:, 2] > least, :2].astype(np.int64)
        own = float(self.noise_dn), float(self.photon), float(self.ceiling_dn), self.radius_px / step
        how = *own, self.ratios(step), float(self.sigma)
        parts = {(x, y): pixels[y::step, x::step] for y in range(step) for x in range(step)}
        marks = {place: np.zeros(part.shape, np.uint8) for place, part in parts.items()}
        while len(at):  # a ray goes on in pixels of other colours
            rays = []
            for place, part in parts.items():
                near = (at - place) // step
                rays.append(step * kernels.follow_rays(part, near, step == 1, *how, marks[place])[:, ::-1] + place)
            at = np.concatenate(rays)
            out.append(at[:, 1] * pixels.shape[1] + at[:, 0])
            if step == 1:
                break
        return np.sort(np.concatenate(out))


def peaks_off(stars: StarList) -> np.ndarray:
    """The peaks (n, 3) of a frame that are no star's."""
    if stars.peaks is None or not len(stars):
        return np.empty((0, 3), np.float32)
    apart_px, _ = cKDTree(stars.xy).query(stars.peaks[:, :2])
    return stars.peaks[apart_px > ON_STAR_PX]


def is_wanted(rejection: Rejection) -> bool:
    """Whether frames are looked at by themselves: where an algorithm is chosen by hand, it does what it says."""
    return bool(rejection.algorithm == "auto" and rejection.clip_high and rejection.single_frame_sigma)


def looks_of(rejection: Rejection, frames: Sequence[Frame], planes) -> list[Sharp | None]:
    """The look at each frame by itself, None where its stars tell no width; nothing where it is not asked for.

    planes: for each plane a list with the `Measurement` of each frame.
    """
    full = [frame.meta.saturation_dn for frame in frames]
    looks = [look_of(rejection, [plane[i] for plane in planes], dn) for i, dn in enumerate(full)]
    return looks if any(looks) else []


def look_of(rejection: Rejection, measured: Sequence[Measurement], saturation_dn: float | None) -> Sharp | None:
    """The look at one frame of these planes; None where it is not asked for, or where no star tells a width."""
    scale = measured[0].scale  # the frame is looked at in its own pixels
    fwhm, noise, sharpest = measured[0].fwhm_px, scale * max(m.noise_dn for m in measured), measured[0].sharpest
    if not is_wanted(rejection) or not fwhm or not noise > 0 or sharpest == 0:
        return None
    fwhm *= scale * (1.0 if sharpest is None else min(1.0, sharpest / SHARPEST))
    gain = rejection.gain_e_per_dn or (measured[0].gain_e_per_dn or 0.0) / scale**2
    photon, ceiling = 1 / gain if gain else 0.0, NEAR_CEILING * saturation_dn if saturation_dn else np.inf
    return Sharp(fwhm, noise, measured[0].location_dn, photon, ceiling, rejection.single_frame_sigma)


def leave_sharp(samples: np.ndarray, frames: Sequence[Frame], looks, box: Box, again: bool) -> None:
    """Make infinite the samples (planes, N, h, w) of a box that are sharper than light where few frames have a pixel.

    `again` on a second look, where samples that trails take are infinite. Among four frames three are few only then:
    where one misses a defective pixel, three of them tell a ray well enough.
    """
    first, count = samples[0], len(frames)
    thin = thin_places(first, THIN - 1 if count == THIN + 1 and not again else THIN)
    if thin is None:
        return
    for i, (frame, look) in enumerate(zip(frames, looks, strict=True)):
        if look is None:
            continue
        own = thin & np.isfinite(first[i])
        if count > THIN:  # a border: only what stands out at all is worth a look
            own &= first[i] > look.level_dn + kernels.STANDS_OUT / 2 * look.noise_dn
        for y0, y1, x0, x1 in parts_of(own):
            with naming(frame):
                clean = frame.without(look, box[0] + y0, box[0] + y1, box[2] + x0, box[2] + x1)
            part, here = samples[:, i, y0:y1, x0:x1], own[y0:y1, x0:x1]
            there = np.isfinite(part)  # a plane may have nothing where the others do
            gone = (np.isnan(clean) & there).any(axis=0)
            np.copyto(part, np.where(gone, np.float32(np.inf), clean), where=here & there)


def thin_places(samples: np.ndarray, most: int) -> np.ndarray | None:
    """Where at most so many of the samples (N, h, w) are there, (h, w) bool; None for nowhere."""
    if len(samples) <= most:
        return np.ones(samples.shape[1:], bool)
    with np.errstate(invalid="ignore"):
        doubtful = np.flatnonzero(~np.isfinite(samples[: most + 1].sum(axis=0)))
    if not doubtful.size:
        return None
    there = np.isfinite(samples.reshape(len(samples), -1)[:, doubtful]).sum(axis=0)
    thin = np.zeros(samples.shape[1:], bool)
    thin.reshape(-1)[doubtful] = there <= most
    return thin if thin.any() else None


def parts_of(wanted: np.ndarray) -> Iterator[Box]:
    """Boxes (y0, y1, x0, x1) around the places that are wanted, (rows, cols) bool, one for those that lie together."""
    for x0, x1 in runs(wanted.any(axis=0)):
        for y0, y1 in runs(wanted[:, x0:x1].any(axis=1)):
            yield y0, y1, x0, x1


def runs(wanted: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of the runs of what is wanted, (n,) bool; gaps shorter than GAP_PX do not part them."""
    at = np.flatnonzero(wanted)
    if not at.size:
        return []
    edges = np.flatnonzero(np.diff(at) > GAP_PX)
    begins, ends = np.append(0, edges + 1), np.append(edges, at.size - 1)
    return [(int(at[a]), int(at[b]) + 1) for a, b in zip(begins, ends, strict=True)]
