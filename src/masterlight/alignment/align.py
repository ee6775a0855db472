"""StarAlignment: how every frame lies on the reference, and the frame seen through that transform."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from masterlight.core.errors import Rejected
from masterlight.core.knob import Unit, Usual, When
from masterlight.core.process import card, engine, process

if TYPE_CHECKING:
    from masterlight.alignment.lens.outcome import SharedLens
    from masterlight.alignment.quads import Reference
    from masterlight.alignment.transform import Transform, Transforms
    from masterlight.alignment.warping.view import Registered
    from masterlight.alignment.warping.weights import Kernel
    from masterlight.core.frame import Frame
    from masterlight.subframes.measurement import StarList

SHEARING = ("auto", "affine", "homography", "polynomial2", "polynomial3", "polynomial4", "spline")
TURNING = (*SHEARING, "similarity")
"""Models that can shear an image, and those that can turn and scale it."""

LANCZOS = "auto", "lanczos5", "lanczos4", "lanczos3"
FINER = 1.67
"""From so many pixels of a frame along one of the reference on, a kernel averages over them: lanczos5 would take the
noise of one pixel where light of three and more is there."""

SUITED = (1.5, "lanczos5"), (1.2, "lanczos3"), (0.0, "bilinear")
"""The least FWHM, px, for which a kernel makes no dark rings around bright stars; of those the one that blurs least.

Of stars of 1.6 px lanczos3 makes such of 1.70 px, lanczos5 of 1.65. At 1.3 px lanczos5 and lanczos4 dig rings as deep
as the noise of a frame and are no sharper; at 1 px lanczos3 makes bright stars 2 % brighter than faint ones."""


def part_of_one(value: object) -> object:
    """What was given for a part, percent as a number from 0 to 1."""
    if isinstance(value, str) and value.endswith("%"):
        return float(value[:-1]) / 100
    if str(value).replace(".", "", 1).isdecimal() and 1 < float(str(value)) <= 100:
        raise ValueError(f"{value} is more than all of it; {value}% means that part")
    return value


@process
class StarAlignment:
    """Finds the stars that two frames share and lays one frame on the other."""

    interpolation: Literal[
        "auto", "lanczos5", "lanczos4", "lanczos3", "bicubic", "catmull-rom", "mitchell", "bspline", "bilinear",
        "nearest",
    ] = "auto"  # fmt: skip
    """How values between pixels are made; auto is lanczos5, below 1.5 px FWHM lanczos3, below 1.2 px bilinear, and
    mitchell for frames of 1.67 or more pixels along one of the reference. A short one lowers the noise of pixels by as
    much as it blurs stars, which is no gain. catmull-rom, mitchell and bspline average over finer pixels."""
    first_moment: Annotated[bool, When(interpolation=LANCZOS)] = False
    """Whether lanczos kernels keep slopes exactly: they move a nebula by up to 0.02 px, and stars below 3 px FWHM
    less than when they do not."""
    clamping: Literal["floor", "pixinsight", "none"] = "floor"
    """What prevents dark rings at bright stars: a floor at the darkest near pixel, PixInsight's rule, or nothing."""
    clamp_kappa: Annotated[float, Field(ge=0, le=1000), Unit("sigma"), When(clamping="floor")] = 1.0
    """How far below the darkest near pixel a value may fall, in sigma of the noise (clamping floor). Beside stars of 2
    px and more that are not saturated also by what the kernel takes there, below 1 % of their height: else bright ones
    would gain flux."""
    clamp_threshold: Annotated[float, Field(ge=0, le=1), When(clamping="pixinsight")] = 0.3
    """Ratio of negative to positive terms above which negative ones fade out (clamping pixinsight)."""
    model: Literal[
        "auto", "shift", "similarity", "affine", "homography", "polynomial2", "polynomial3", "polynomial4", "spline"
    ] = "auto"
    """Kind of transform; auto takes a richer one only where the common stars speak for it. Another is taken as named,
    or a plainer one where the stars carry no more. Polynomials bend as lenses do, a spline as it must."""
    tolerance_px: Annotated[float, Field(gt=0, le=50)] = 3.0
    """Largest distance at which two stars are taken for the same one while pairing."""
    max_stars: Annotated[int, Field(ge=8, le=5000)] = 800
    """Brightest stars of each frame that take part in matching."""
    scale_min: Annotated[float, Field(gt=0, le=1000), When(model=TURNING)] = 0.1
    """Smallest image scale of a frame relative to the reference."""
    scale_max: Annotated[float, Field(gt=0, le=1000), When(model=TURNING)] = 10.0
    """Largest image scale of a frame relative to the reference."""
    mirror: Annotated[bool, When(model=TURNING)] = True
    """Also try mirrored frames, as a diagonal or an off-axis guider gives."""
    significance: Annotated[float, Field(ge=-300, le=0), Unit("log10 P")] = -6.0
    """A match is believed when log10 of the chance of an accident is at most this."""
    planes: Literal["auto", "luminance", "each"] = "auto"
    """How the planes of colour lights are laid on the reference: together by their mean, or red and blue each by its
    own stars on green. auto does that where they lie more than 0.1 px apart somewhere, by the lens or by the air."""
    defective: Literal["missing", "interpolated"] = "missing"
    """What defective pixels bring to integration: nothing, so that dithered lights fill them, or repaired values."""
    max_shear: Annotated[float, Field(ge=0, le=1), Unit("fraction"), When(model=SHEARING)] = 0.02
    """Largest shear and difference of scale between the axes that is plausible, as a fraction."""
    max_rms_px: Annotated[
        Annotated[float, Field(gt=0, le=50)] | None, Usual("1, at least three times that of others")
    ] = None
    """Largest distance of a frame's stars from their places, root mean square; frames beyond it are left out, by
    default none whose stars are so faint that their errors explain it."""
    distortion: Literal["auto", "lens", "none"] = "auto"
    """One lens for all frames of a set, fitted together with where each points: auto where stars speak for it and model
    is auto, lens wherever it can be fitted. Without a lens seven frames and more lie on each other by the stars of all
    of them; none lays each by its own and the reference's."""
    distortion_iterations: Annotated[int, Field(ge=1, le=1000), When(distortion=("auto", "lens"))] = 20
    """Steps of fitting the lens at most."""
    distortion_tolerance_px: Annotated[float, Field(gt=0, le=1), When(distortion=("auto", "lens"))] = 0.005
    """The lens is found when a step moves stars by no more than this, root mean square."""
    frame: Literal["auto", "reference", "min", "max", "union", "cog", "mosaic"] = "auto"
    """Which part of the sky a result shows: what the reference does, what all frames have in common, all of every one
    (max, union and mosaic), or as much as the reference does about the mean of their centres. auto is mosaic where
    a tenth of the frames or more, two at least, lie by 30 % beyond the reference or are joined to it by others."""
    crop: Annotated[float, BeforeValidator(part_of_one), Field(ge=0, le=1), Unit("fraction")] = 0.0
    """Crop the result to the largest rectangle in which at least this part of the frames overlap, such as 50%; of
    a mosaic of three panels or more, this part of the frames that overlap in most places."""

    def prepare(self, reference_stars: StarList) -> Reference:
        """Get the reference's stars ready for many frames."""
        return engine("alignment.quads").Reference.of(reference_stars, self.max_stars)

    def align(
        self, reference: Reference, stars: StarList, source: str = "", guess: Transform | None = None
    ) -> Transform | Rejected:
        """The transform of a frame whose stars are given, or why there is none.

        reference: of `prepare`; source: what to call the frame; guess: where it probably lies, which is tried first.
        A `Rejected` is falsy and tells its reason.
        """
        return engine("alignment.match").align(self, reference, stars, source, guess)

    def share_lens(self, reference: StarList, frames: Sequence[tuple[StarList, Transform]]) -> SharedLens:
        """The lens through which all frames were seen, and their transforms with it where it pays.

        reference: stars of the frame on which the others lie; frames: stars and transform of each of these.
        """
        return engine("alignment.lens.shared").of_frames(self, reference, frames)

    def registered(
        self, frame: Frame, transform: Transforms, shape: tuple[int, ...], noise_dn: float, fwhm_px: float | None = None
    ) -> Registered:
        """The frame as it looks on the reference's grid of `shape` (..., rows, cols): a view, nothing is computed yet.

        transform: a `Transform`, or one for each plane; noise_dn: of one pixel, for the floor that holds rings back;
        fwhm_px: of its stars, by which interpolation auto chooses.
        """
        frame, transforms = engine("core.frame").frame_of(frame), engine("alignment.transform").each_of(transform)
        meta = frame.meta.with_(shape=(*frame.shape[:-2], *shape[-2:]), bottom_up=False)
        cards, kernel = (*frame.cards, card(self)), self.kernel(transforms[0].scale, fwhm_px)
        return engine("alignment.warping.view").Registered(
            source=frame.source, meta=meta, cards=cards, below=frame,
            kernel=kernel, transforms=transforms,
            keep_defective=self.defective == "interpolated",
            margin_dn=self.clamp_kappa * max(noise_dn, 0.0) if self.clamping == "floor" else inf,
            threshold=self.clamp_threshold if self.clamping == "pixinsight" else -1.0,
            ring=engine("alignment.warping.weights").Ring.of(kernel, fwhm_px, frame.meta.saturation_dn),
        )  # fmt: skip

    def kernel(self, scale: float, fwhm_px: float | None = None) -> Kernel:
        """The kernel for frames with so many pixels along one of the reference and stars so wide."""
        name = self.interpolation
        if name == "auto":
            width = SUITED[0][0] if fwhm_px is None else fwhm_px
            name = "mitchell" if scale >= FINER else next(name for least, name in SUITED if width >= least)
        kernel = engine("alignment.warping.weights").Kernel(name, first_moment=self.first_moment and name in LANCZOS)
        return kernel.for_scale(scale)
