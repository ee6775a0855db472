"""StarAlignment: how every frame lies on the reference, and the frame seen through that transform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from scipy.spatial import ConvexHull, QhullError, cKDTree

from masterlight.alignment import match
from masterlight.alignment.warp import HALO, blank_defective, jacobian, noise_gain, warp, whole_shift
from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import card, process
from masterlight.subframes.photometry import matched_flux_ratio

if TYPE_CHECKING:
    from masterlight.subframes.measurement import StarList

FIXED_PX = 0.5
FEWEST_STARS = 4
SIGMA_FLOOR_PX = 0.01
WIDEST_BOX_PX = 256


@dataclass(frozen=True, eq=False)
class Transform:
    """Where each pixel of the reference lies in a source frame, and how well that is known."""

    matrix: np.ndarray
    """3x3, sends (x, y, 1) of the reference to the source, in pixels."""
    rms_px: float = 0.0
    """Root mean square distance of matched stars, in source pixels, over both axes."""
    matched: int = 0
    log10_p: float = 0.0
    """log10 of the chance that so many stars agree by accident."""
    mirrored: bool = False
    method: str = "identity"
    """What found it: guess, shift, flip or quads."""
    flux_ratio: float = 1.0
    """Flux of a star in the source over its flux in the reference."""
    flux_ratio_error: float = 0.0
    flux_pairs: int = 0
    model: str = "homography"
    chi2: float = float("nan")
    """Squared distances over what the stars' position errors predict, per degree of freedom; near 1 in calm air."""
    corner_error_px: float = float("nan")
    """Expected error of the transform in the corners of the frame."""
    shape: tuple[int, int] = (0, 0)
    """Rows and columns of the reference."""

    @classmethod
    def identity(cls, shape: tuple[int, int] = (0, 0)) -> Transform:
        """The transform of the reference itself."""
        return cls(matrix=np.eye(3), shape=tuple(shape))

    def to_source(self, xy) -> np.ndarray:
        """Positions (n, 2) of the reference, in the source."""
        return match.apply(self.matrix, xy)

    @property
    def centre_px(self) -> tuple[float, float]:
        return (max(self.shape[1], 1) - 1) / 2, (max(self.shape[0], 1) - 1) / 2

    @property
    def rotation_deg(self) -> float:
        """Angle of the reference's x axis in the source, from x towards y."""
        _, (a, _, c, _) = jacobian(self.matrix, *self.centre_px)
        return float(np.degrees(np.arctan2(c, a)))

    @property
    def scale(self) -> float:
        """Source pixels per reference pixel."""
        _, (a, b, c, e) = jacobian(self.matrix, *self.centre_px)
        return float(np.sqrt(abs(a * e - b * c)))

    @property
    def dx_px(self) -> float:
        """Shift of the image centre along x."""
        return float(self.to_source(self.centre_px)[0] - self.centre_px[0])

    @property
    def dy_px(self) -> float:
        """Shift of the image centre along y."""
        return float(self.to_source(self.centre_px)[1] - self.centre_px[1])


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference's stars, with the trees that make looking up fast; made once by `StarAlignment.prepare`."""

    stars: StarList
    xy: np.ndarray
    """The stars used for matching, (n, 2), brightest first."""
    quads: match.Quads | None
    codes: cKDTree | None
    everything: cKDTree
    """All stars of the list, for detections that repeat at the same pixel."""

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self.stars.shape)


@process
class StarAlignment:
    """Finds the stars that two frames share and lays one frame on the other."""

    interpolation: Literal["auto", "lanczos5", "lanczos4", "lanczos3", "bilinear", "nearest"] = "auto"
    """How values between pixels are made; auto is lanczos5, below 2 px FWHM lanczos3, below 1.3 px bilinear."""
    clamping: Literal["floor", "pixinsight", "none"] = "floor"
    """What prevents dark rings at bright stars: a floor at the darkest near pixel, PixInsight's rule, or nothing."""
    clamp_kappa: Annotated[float, Ge(0)] = 1.0
    """How far below the darkest near pixel a value may fall, in sigma of the noise (clamping floor)."""
    clamp_threshold: Annotated[float, Ge(0), Le(1)] = 0.3
    """Ratio of negative to positive terms above which negative ones fade out (clamping pixinsight)."""
    model: Literal["auto", "homography", "affine", "similarity", "shift"] = "auto"
    """Kind of transform; auto takes the most general one that the number and spread of common stars carries."""
    tolerance_px: Annotated[float, Gt(0), Le(50)] = 3.0
    """Largest distance at which two stars are taken for the same one while pairing."""
    max_stars: Annotated[int, Ge(8), Le(5000)] = 800
    """Brightest stars of each frame that take part in matching."""
    scale_min: Annotated[float, Gt(0)] = 0.1
    """Smallest image scale of a frame relative to the reference."""
    scale_max: Annotated[float, Gt(0)] = 10.0
    """Largest image scale of a frame relative to the reference."""
    mirror: bool = True
    """Also try mirrored frames, as a diagonal or an off-axis guider gives."""
    significance: Annotated[float, Le(0)] = -6.0
    """A match is believed when log10 of the chance of an accident is at most this."""
    planes: Literal["luminance", "each"] = "luminance"
    """How the planes of colour lights are laid on the reference: together by their mean, or each by its own stars."""
    defective: Literal["missing", "interpolated"] = "missing"
    """What defective pixels bring to integration: nothing, so that dithered lights fill them, or repaired values."""
    max_shear: Annotated[float, Ge(0)] = 0.02
    """Largest shear and difference of scale between the axes that is plausible, as a fraction."""

    def prepare(self, reference_stars: StarList) -> Reference:
        """Get the reference's stars ready for many frames."""
        xy = np.ascontiguousarray(reference_stars.xy[: self.max_stars], float)
        quads = match.quads_of(xy) if len(xy) >= FEWEST_STARS else None
        codes = cKDTree(quads.codes) if quads is not None else None
        return Reference(reference_stars, xy, quads, codes, cKDTree(reference_stars.xy.reshape(-1, 2)))

    def align(
        self, reference: Reference, stars: StarList, source: str, guess: Transform | None = None
    ) -> Transform | Rejected:
        """The transform of a frame whose stars are given, or why there is none."""
        counts = len(stars), len(reference.stars)
        if min(counts) < FEWEST_STARS:
            return Rejected(
                source,
                "align",
                f"{counts[0]} stars found here and {counts[1]} in the reference, but {FEWEST_STARS} are needed. "
                "Look for clouds, dew or lost focus, or lower the detection sigma.",
            )
        moving = self.without_fixed(reference, stars)
        if moving is not None:
            pose, method = self.pose(*moving, guess)
            if pose.log10_p <= self.significance:
                return self.refine(*moving, source, pose, method)
        pose, method = self.pose(reference, stars, guess)
        if pose.log10_p <= self.significance:
            return self.refine(reference, stars, source, pose, method)
        return Rejected(source, "align", self.not_significant(pose, counts))

    def not_significant(self, pose: match.Pose, counts: tuple[int, int]) -> str:
        """Why the best pose is not believed, as a sentence with a hint."""
        if pose.expected == 0:
            text = f"no pattern of its {counts[0]} stars is found among the reference's {counts[1]}"
        else:
            best = Transform(matrix=pose.matrix)
            text = (
                f"no match with the reference: at best {pose.agreed} of {pose.expected} stars agree (turned by "
                f"{best.rotation_deg:.1f} deg, scale {best.scale:.3f}), which may be an accident "
                f"(log10 P = {pose.log10_p:.1f}, needed {self.significance:g})"
            )
        mirrored = "" if self.mirror else " Mirrored frames were not tried: allow them with mirror."
        return f"{text}. Is it the same target and field? Look for clouds and trailed stars.{mirrored}"

    def without_fixed(self, reference: Reference, stars: StarList) -> tuple[Reference, StarList] | None:
        """Both lists without what repeats at the very same pixel, such as hot pixels; None if nothing suggests them.

        Stars hardly ever come back to the same hundredth of a pixel, so repeats with a median displacement that
        is zero within its error belong to the sensor.
        """
        distance, nearest = reference.everything.query(stars.xy, distance_upper_bound=FIXED_PX)
        same = np.isfinite(distance)
        rows, cols = stars.shape
        accident = len(stars) * len(reference.stars) / (rows * cols) * np.pi * FIXED_PX**2
        if match.log10_chance(int(same.sum()), accident) > self.significance:
            return None
        left = np.ones(len(reference.stars), bool)
        left[nearest[same]] = False
        if min(int((~same).sum()), int(left.sum())) < FEWEST_STARS + 2:
            return None
        moved = stars.xy[same] - reference.stars.xy[nearest[same]]
        spread = 1.4826 * np.median(np.abs(moved - np.median(moved, axis=0)))
        if np.abs(np.median(moved, axis=0)).max() > max(4 * spread / np.sqrt(same.sum()), 0.005):
            return None
        return self.prepare(reference.stars[left]), stars[~same]

    def pose(self, reference: Reference, stars: StarList, guess: Transform | None) -> tuple[match.Pose, str]:
        """The most significant rigid pose, from cheap tries to thorough ones, and which try found it."""
        xy = np.ascontiguousarray(stars.xy[: self.max_stars], float)
        tree, shape = cKDTree(xy), tuple(stars.shape)
        rigid, best = self.model == "shift", (match.Pose(np.eye(3), 0.0, 0, 0), "")
        for matrix, trials, method in self.cheap_tries(reference, xy, guess):
            pose = match.verify(matrix, reference.xy, tree, shape, self.tolerance_px, 2, trials, rigid)
            if pose.log10_p <= self.significance:
                return pose, method
            best = min(best, (pose, method), key=lambda b: b[0].log10_p)
        if rigid:
            return best
        return min(best, (self.search(reference, xy, tree, shape), "quads"), key=lambda b: b[0].log10_p)

    def cheap_tries(self, reference: Reference, xy: np.ndarray, guess: Transform | None):
        """Transforms worth trying first, with their number of trials: the guess, a shift, a shift after a flip."""
        if guess is not None:
            yield guess.matrix, 1, "guess"
        pairs = min(len(xy), 100) * min(len(reference.xy), 100)
        yield match.shift_proposal(reference.xy, xy), pairs, "shift"
        yield match.shift_proposal(reference.xy, xy, -1), pairs, "flip"

    def search(self, reference: Reference, xy: np.ndarray, tree: cKDTree, shape: tuple[int, int]) -> match.Pose:
        """The most significant pose that quads propose: bright stars first, then ever fainter ones."""
        best, trials, limits = match.Pose(np.eye(3), 0.0, 0, 0), 0, (self.scale_min, self.scale_max)
        previous = 0
        for tiers in (match.TIERS[:3], match.TIERS[3:4], match.TIERS[4:]):
            if min(len(xy), tiers[-1]) <= previous:
                break
            previous = tiers[-1]
            quads = match.quads_of(xy, tiers)
            for matrix in match.proposals(
                reference.quads, reference.codes, reference.xy, quads, xy, shape, limits, self.mirror
            ):
                trials += 1
                pose = match.verify(matrix, reference.xy, tree, shape, self.tolerance_px, 4, trials)
                best = min(best, pose, key=lambda p: p.log10_p)
                if best.log10_p <= match.CERTAIN and best.agreed >= 8:
                    return best
            if best.log10_p <= self.significance:
                break
        return best

    def refine(
        self, reference: Reference, stars: StarList, source: str, pose: match.Pose, method: str
    ) -> Transform | Rejected:
        """Grow a pose to the final model on all common stars, and check that it is a plausible view of the sky."""
        xy = np.ascontiguousarray(stars.xy[: self.max_stars], float)
        tree, matrix, mirrored = cKDTree(xy), pose.matrix, bool(np.linalg.det(pose.matrix[:2, :2]) < 0)
        scale = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
        sigma_ref = scale * np.maximum(reference.stars.sigma_px[: self.max_stars], SIGMA_FLOOR_PX)
        sigma_src = np.maximum(stars.sigma_px[: self.max_stars], SIGMA_FLOOR_PX)
        before, model, extra = None, "similarity", 0.0
        for reach in (2.0, 1.5, 1.0, 1.0, 1.0, 1.0):
            of_ref, of_src = match.pair_up(matrix, reference.xy, tree, reach * self.tolerance_px)
            if len(of_ref) < 3:
                break
            model = self.model_for(reference.xy[of_ref], model)
            base = np.hypot(sigma_ref[of_ref], sigma_src[of_src])
            sigma = np.hypot(base, extra)
            matrix, error, spread = match.robust_fit(model, reference.xy[of_ref], xy[of_src], sigma, mirrored)
            more = unexplained_px(error, sigma)
            key = (model, of_ref.tobytes(), of_src.tobytes())
            if key == before and more == 0:
                break
            before, extra = key, np.hypot(extra, more)
        if len(of_ref) < 3:
            return Rejected(source, "align", self.not_significant(pose, (len(stars), len(reference.stars))))
        keep = error < max(3.5, 3 * spread)
        of_ref, of_src, error_px, base, sigma = (v[keep] for v in (of_ref, of_src, error * sigma, base, sigma))
        reason = self.implausible(matrix, reference, of_ref, stars.shape)
        if reason:
            return Rejected(source, "align", reason)
        freedom = max(2 * len(error_px) - match.DEGREES[model], 1)
        ratio, ratio_error, ratio_pairs = matched_flux_ratio(reference.stars[of_ref], stars[of_src])
        return Transform(
            matrix=matrix,
            rms_px=float(np.sqrt(np.mean(error_px**2))),
            matched=len(of_ref),
            log10_p=pose.log10_p,
            mirrored=mirrored,
            method=method,
            flux_ratio=ratio,
            flux_ratio_error=ratio_error,
            flux_pairs=ratio_pairs,
            model=model,
            chi2=float(((error_px / base) ** 2).sum() / freedom),
            corner_error_px=corner_error(model, sigma),
            shape=reference.shape,
        )

    def model_for(self, xy: np.ndarray, before: str) -> str:
        """The model that these common stars can carry, at most one step beyond the one before."""
        if self.model == "shift":
            return "shift"
        order = ("similarity", "affine", "homography")
        most = order.index(self.model) if self.model != "auto" else 2
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(xy.T)))
        level = 2 if len(xy) >= 12 else 1 if len(xy) >= 8 else 0
        level = 0 if spread[0] < 0.1 * spread[1] else level
        return order[min(most, level, order.index(before) + 1)]

    def implausible(self, matrix, reference: Reference, of_ref, shape) -> str:
        """Why a transform cannot be a view of the same sky; empty when it can."""
        rows, cols = reference.shape
        lines = np.linspace(0, 1, 24)
        grid = np.stack(np.meshgrid(lines * (cols - 1), lines * (rows - 1)), axis=-1).reshape(-1, 2)
        at = match.apply(matrix, grid)
        overlap = ((at >= -0.5) & (at <= (shape[1] - 0.5, shape[0] - 0.5))).all(axis=1).mean() * rows * cols
        hull = hull_area(reference.xy[of_ref]) / max(overlap, 1.0)
        if hull < 0.02:
            return (
                f"the {len(of_ref)} stars in common lie on a line or in a corner ({hull:.1%} of the common field), "
                "so the transform is not determined. More stars are needed: lower the detection sigma."
            )
        values = np.linalg.svd(matrix[:2, :2], compute_uv=False)
        shear, scale = values[0] / values[1] - 1, float(np.sqrt(values[0] * values[1]))
        bend = np.abs(matrix[2, :2]).max() * max(rows, cols)
        if not (self.scale_min <= scale <= self.scale_max) or shear > self.max_shear or bend > 0.02:
            return (
                f"the transform is implausible: scale {scale:.3f} (allowed {self.scale_min:g} to {self.scale_max:g}), "
                f"shear {shear:.2%} (allowed {self.max_shear:.0%}), perspective {bend:.2%} (allowed 2%). "
                "Was the frame taken with another optical train?"
            )
        return ""

    def registered(self, frame: Frame, transform, shape, noise_dn: float, fwhm_px: float | None = None) -> Registered:
        """The frame as it looks on the reference's grid of `shape` (rows, cols): a view, nothing is computed yet.

        transform: a `Transform`, or one for each plane.
        """
        transforms = (transform,) if isinstance(transform, Transform) else tuple(transform)
        rows, cols = shape[-2:]
        kernel = self.interpolation
        if kernel == "auto":
            narrow = fwhm_px is not None and fwhm_px < 2.0
            kernel = "lanczos5" if not narrow else "lanczos3" if fwhm_px >= 1.3 else "bilinear"
        return Registered(
            source=frame.source,
            meta=frame.meta.with_(shape=(*frame.shape[:-2], rows, cols)),
            cards=(*frame.cards, card(self)),
            frame=frame,
            matrices=tuple(t.matrix for t in transforms),
            keep_defective=self.defective == "interpolated",
            kernel=kernel,
            margin_dn=self.clamp_kappa * max(noise_dn, 0.0) if self.clamping == "floor" else np.inf,
            threshold=self.clamp_threshold if self.clamping == "pixinsight" else -1.0,
        )


SKY_KEYWORDS = tuple("CTYPE CRVAL CRPIX CDELT CROTA CD1_ CD2_ PC1_ PC2_ PV1_ PV2_ A_ B_ AP_ BP_".split())


@dataclass(frozen=True, kw_only=True, eq=False)
class Registered(Frame):
    """A frame resampled onto the reference's grid, box by box, when it is indexed."""

    frame: Frame
    matrices: tuple[np.ndarray, ...] = field(default_factory=lambda: (np.eye(3),))
    """One for all planes, or one for each."""
    keep_defective: bool = False
    kernel: str = "lanczos5"
    margin_dn: float = np.inf
    threshold: float = -1.0

    @property
    def header(self):
        """The header without its place on the sky, which is no longer that of these pixels."""
        header = self.frame.header
        return {k: header[k] for k in header if k not in ("COMMENT", "HISTORY", "") and not k.startswith(SKY_KEYWORDS)}

    @property
    def noise_gain(self) -> float:
        """Factor by which the interpolation lowers white noise, the mean over the frame."""
        if whole_shift(self.matrices[0], 0, 0) is not None:
            return 1.0
        rows, cols = self.shape[-2:]
        y, x = np.meshgrid(np.linspace(0, rows - 1, 37), np.linspace(0, cols - 1, 37), indexing="ij")
        at = match.apply(self.matrices[0], np.stack([x.ravel(), y.ravel()], axis=-1))
        return noise_gain(self.kernel, at % 1)

    def pixels(self, y0, y1, x0, x1):
        out = np.empty((*self.shape[:-2], y1 - y0, x1 - x0), np.float32)
        self.pixels_into(out, y0, x0)
        return out

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        """Fill `out` (h, w) or (3, h, w) float32, rows contiguous, with the box whose first pixel is (y0, x0)."""
        height, width = out.shape[-2:]
        box = self.source_box(y0, x0, height, width)
        if box is None:
            out[...] = np.nan
            return
        top, bottom, left, right = box
        if (bottom - top) * (right - left) > 4 * height * width and max(height, width) > WIDEST_BOX_PX:
            if width >= height:
                half = width // 2
                self.pixels_into(out[..., :half], y0, x0)
                self.pixels_into(out[..., half:], y0, x0 + half)
            else:
                half = height // 2
                self.pixels_into(out[..., :half, :], y0, x0)
                self.pixels_into(out[..., half:, :], y0 + half, x0)
            return
        pixels, defective = (
            (self.frame.pixels(*box), None) if self.keep_defective else self.frame.pixels_and_defective(*box)
        )
        pixels = np.asarray(pixels, np.float32)
        planes, targets = (pixels, out) if out.ndim == 3 else (pixels[None], out[None])
        matrices = self.matrices * (len(planes) // len(self.matrices))
        for plane, target, matrix in zip(planes, targets, matrices, strict=True):
            warp(plane, left, top, matrix, target, x0, y0, self.kernel, self.margin_dn, self.threshold)
            if defective is not None:
                blank_defective(defective, left, top, matrix, target, x0, y0)

    def source_box(self, y0: int, x0: int, height: int, width: int) -> tuple[int, int, int, int] | None:
        """Bounds (y0, y1, x0, x1) of the source pixels that a box needs; None when it lies outside the source."""
        rows, cols = self.frame.shape[-2:]
        corners = np.array([(x, y) for x in (x0, x0 + width - 1) for y in (y0, y0 + height - 1)], float)
        at = np.concatenate([match.apply(matrix, corners) for matrix in self.matrices])
        left, top = np.maximum(np.floor(at.min(axis=0)).astype(int) - HALO, 0)
        right, bottom = np.minimum(np.ceil(at.max(axis=0)).astype(int) + HALO + 1, (cols, rows))
        return (int(top), int(bottom), int(left), int(right)) if top < bottom and left < right else None


def hull_area(xy: np.ndarray) -> float:
    """Area of the convex hull of points; 0 when they lie on a line."""
    try:
        return float(ConvexHull(xy).volume)
    except QhullError:
        return 0.0


def unexplained_px(error: np.ndarray, sigma: np.ndarray) -> float:
    """Scatter of the better-measured half of the stars, per axis, beyond what `sigma` explains: air, lens, tracking.

    error: distances in units of sigma. 0 when it is within a fifth of what is expected.
    """
    best = sigma <= np.median(sigma)
    spread = float(np.median(error[best])) / 1.1774
    return float(np.median(sigma[best]) * np.sqrt(spread**2 - 1)) if spread > 1.2 else 0.0


def corner_error(model: str, sigma: np.ndarray) -> float:
    """Expected distance error of a fitted model in the corners, from the errors of the stars it was fitted to."""
    growth = {"shift": 1.0, "similarity": 4.0, "affine": 7.0, "homography": 13.8}[model]
    return float(np.sqrt(2 * growth / (1 / sigma**2).sum()))
