"""What an integration gives: the image, how sure it is, what was left out of it, and who contributed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from masterlight.core.errors import Rejected
from masterlight.integration.kernels.residuals import SIDE
from masterlight.subframes.radial import Worth

PANELS = 0.75
"""Frames that show less than this part of a result, on the average, are panels of a mosaic."""
LOW, HIGH, LARGE, RANGE = 1, 2, 4, 8
"""Verdicts on a sample: rejected as too faint, as too bright, as part of a larger structure, as out of range."""


class TileResult(NamedTuple):
    """One box of the result: (h, w) planes, the slope empty unless its map is asked for, and (N,) counts of samples."""

    image: np.ndarray
    variance: np.ndarray
    coverage: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slope: np.ndarray
    counts: np.ndarray
    """(4, N) int64: samples of each frame rejected low, rejected high, there at all, and with larger structures."""
    verdicts: dict[int, tuple[np.ndarray, np.ndarray]] | None = None
    """As `tile.indices_of` gives them."""
    bins: np.ndarray | None = None
    """(N, rows, cols) int16: what each frame has over `image`, as `bin_residuals` adds it up."""


@dataclass(frozen=True)
class FrameRow:
    """What one frame gave to the stack."""

    source: str
    plane: int
    weight: float
    scale: float
    offset: float
    rejected_low_fraction: float
    rejected_high_fraction: float
    large_scale_fraction: float = 0.0
    """Rejected because a larger structure, such as a trail, lies there."""
    location_dn: float = float("nan")
    noise_dn: float = float("nan")
    """Of its pixels, on the scale of the stack."""


class Verdicts:
    """Which samples were left out of a stack: for each frame and plane the flat indices of its pixels, in order."""

    def __init__(self, shape: tuple[int, int]):
        self.shape = shape
        self.parts: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
        self.found: dict[tuple[int, int, int], np.ndarray] = {}

    def add(self, plane: int, box, verdicts) -> None:
        """Keep the verdicts on one box: by kind (flat indices in the box, frame after frame; where each begins)."""
        y0, _, x0, x1 = box
        for kind, (at, starts) in verdicts.items():
            if at.size:
                y, x = np.divmod(at, x1 - x0)
                flat = ((y + y0) * self.shape[1] + x + x0).astype(np.uint32)
                self.parts.setdefault((plane, kind), []).append((flat, starts))

    def settle(self) -> None:
        """Sort what was kept box by box into lists for each frame."""
        for plane, kind in list(self.parts):
            boxes = self.parts.pop((plane, kind))
            for i in range(len(boxes[0][1]) - 1):
                self.found[i, plane, kind] = np.sort(np.concatenate([f[s[i] : s[i + 1]] for f, s in boxes]))

    def indices(self, i: int, plane: int, kind: int) -> np.ndarray:
        """Flat indices, uint32 in order, of the pixels of frame i with this verdict: LOW, HIGH, RANGE or LARGE."""
        return self.found.get((i, plane, kind), np.empty(0, np.uint32))

    def mask(self, i: int, plane: int = 0) -> np.ndarray:
        """The verdicts on frame i, uint8 (rows, cols): 0 kept, else the sum of LOW, HIGH, LARGE and RANGE."""
        out = np.zeros(self.shape[0] * self.shape[1], np.uint8)
        for kind in (LOW, HIGH, LARGE, RANGE):
            out[self.indices(i, plane, kind)] |= kind
        return out.reshape(self.shape)

    def large(self, i: int, plane: int, side: int, flat: np.ndarray) -> None:
        """Keep pixels that larger structures take from frame i, on the side LOW or HIGH."""
        self.found[i, plane, LARGE + side] = np.asarray(flat, np.uint32)
        both = [self.indices(i, plane, LARGE + kind) for kind in (LOW, HIGH)]
        self.found[i, plane, LARGE] = np.union1d(*both).astype(np.uint32)

    def within(self, i: int, plane: int, kind: int, box) -> np.ndarray:
        """Flat indices in a box of its pixels with this verdict: LOW, HIGH, LARGE, or LARGE + one of the others."""
        y0, y1, x0, x1 = box
        flat, width = self.indices(i, plane, kind), self.shape[1]
        a, b = np.searchsorted(flat, (y0 * width, y1 * width))
        y, x = np.divmod(flat[a:b].astype(np.int64), width)
        inside = (x >= x0) & (x < x1)
        return (y[inside] - y0) * (x1 - x0) + x[inside] - x0


@dataclass(frozen=True)
class Trail:
    """A straight trail in one frame, from (x0, y0) to (x1, y1) in pixels of that frame."""

    x0: float
    y0: float
    x1: float
    y1: float
    width_px: float
    """Of the band that is rejected, its growth included."""
    snr: float
    """Square root of twice the logarithm of how much likelier the rejected pixels are with a trail than without."""
    rejected_fraction: float
    """Share of the band's pixels that had been rejected one by one."""

    @property
    def length_px(self) -> float:
        return float(np.hypot(self.x1 - self.x0, self.y1 - self.y0))

    def is_along(self, other: "Trail") -> bool:
        """Whether this one lies on the line of another trail of its frame, at least as long: the same satellite."""
        dx, dy = (other.x1 - other.x0) / other.length_px, (other.y1 - other.y0) / other.length_px
        ends = ((self.x0, self.y0), (self.x1, self.y1))
        off = max(abs((x - other.x0) * dy - (y - other.y0) * dx) for x, y in ends)
        return off < (self.width_px + other.width_px) / 2

    def __str__(self):
        ends = f"from ({self.x0:.0f}, {self.y0:.0f}) to ({self.x1:.0f}, {self.y1:.0f})"
        return f"satellite trail {ends}, {self.width_px:.0f} px wide"


@dataclass(frozen=True, eq=False)
class Grown:
    """Pixels of one frame to be rejected on top of those that clipping rejected: sorted flat indices, uint32."""

    low: np.ndarray
    high: np.ndarray
    """Those of trails included."""
    trails: tuple[Trail, ...] = ()

    def __bool__(self):
        return bool(self.low.size or self.high.size)


@dataclass(frozen=True, eq=False)
class Stack:
    """An integrated image and how it came about: planes (rows, cols) or (3, rows, cols)."""

    image: np.ndarray
    """float32 DN on the scale of the reference, NaN where no frame has a sample."""
    variance: np.ndarray | None
    """float32 DN^2: sigma squared of each pixel of `image`; this and the other maps are None when not asked for."""
    coverage: np.ndarray | None
    """uint16, samples combined."""
    rejected_low: np.ndarray | None
    """uint16, samples rejected as too faint."""
    rejected_high: np.ndarray | None
    frames: tuple[FrameRow, ...]
    n: int
    notes: tuple[str, ...] = ()
    slope: np.ndarray | None = None
    """float32, the slope of linear fit clipping, as the angle over 45 degrees."""
    verdicts: Verdicts | None = None
    """What was left out, frame by frame, when it was asked for."""
    trails: tuple[tuple[str, int, Trail], ...] = ()
    """(source, plane, trail) of every satellite trail that was found, in each plane by itself."""
    lost: tuple[Rejected, ...] = ()
    """Frames that were left out as a whole, and why."""
    correlation: float = 1.0
    """Variance of the sum of many pixels over the sum of their variances: above 1 where interpolation made
    neighbours alike."""
    scatter: float | None = None
    """Noise by the scatter of samples over what `variance` claims, where stars or a nebula leave no plain sky in which
    it could be measured; None where there is."""
    terms: tuple = ()
    """The `Terms` of each plane, and for local normalization the model of each frame, for those that were used."""
    models: tuple = ()
    noise: Any = None
    """The `Noise` over the field, for what else is made of the same frames; None where it is not known."""
    reference: str = ""
    """Source of the frame whose level and scale the image has."""
    shown: float = 1.0
    """The part of the frames that show a pixel, mean of the pixels, where they are panels of a mosaic; else 1."""

    @property
    def rejected_low_fraction(self) -> np.ndarray:
        return self.rejected_low.astype(np.float32) / np.float32(self.n)

    @property
    def rejected_high_fraction(self) -> np.ndarray:
        return self.rejected_high.astype(np.float32) / np.float32(self.n)

    @property
    def effective_frames(self) -> float:
        """How many equal frames would give the same noise: (sum w)^2 / sum w^2, of those that show a pixel."""
        weights = np.array([row.weight for row in self.frames if row.plane == 0])
        return float(self.shown * weights.sum() ** 2 / (weights**2).sum())

    @property
    def satellites(self) -> tuple[tuple[str, Trail], ...]:
        """(source, trail) of each satellite once, in how many planes and pieces it was ever found: the longest."""
        told: list[tuple[int, str, Trail]] = []
        order = sorted(enumerate(self.trails), key=lambda item: -item[1][2].length_px)
        for k, (source, _, trail) in order:
            if not any(source == other and trail.is_along(longer) for _, other, longer in told):
                told.append((k, source, trail))
        return tuple((source, trail) for _, source, trail in sorted(told, key=lambda item: item[0]))

    @property
    def worth(self) -> Worth | None:
        """What the weights are worth beside those of least noise, mean of the planes; None where nobody knows."""
        told = [t.worth for t in self.terms]
        return Worth(*np.mean(told, axis=0).tolist()) if told and None not in told else None


class Canvas:
    """The whole result while its tiles arrive."""

    def __init__(self, shape, count: int, maps: bool, slope: bool, verdicts: bool, bins: bool = False):
        kinds = {"image": np.float32}
        if maps:
            kinds |= {"variance": np.float32, "coverage": np.uint16, "low": np.uint16, "high": np.uint16}
        if slope:
            kinds["slope"] = np.float32
        self.planes = {name: np.empty(shape, kind) for name, kind in kinds.items()}
        self.counts = np.zeros((shape[0], 4, count), np.int64)
        self.verdicts = Verdicts(shape[-2:]) if verdicts else None
        self.bins = np.zeros((shape[0], count, *(-(-size // SIDE) for size in shape[-2:])), np.int16) if bins else None
        self.trails: list[tuple[str, int, Trail]] = []

    def place(self, box, results: Sequence[TileResult], touched: np.ndarray | None = None) -> None:
        """Put a tile in its place; on a second look only the pixels that larger structures touch, (rows, cols) bool."""
        y0, y1, x0, x1 = box
        for plane, result in enumerate(results):
            for name, whole in self.planes.items():
                where = True if touched is None else touched[y0:y1, x0:x1]
                np.copyto(whole[plane, y0:y1, x0:x1], getattr(result, name), where=where)
            if touched is not None:
                self.counts[plane, 3] += result.counts[3]
                continue
            self.counts[plane, :3] += result.counts[:3]
            if self.verdicts is not None:
                self.verdicts.add(plane, box, result.verdicts)
            if result.bins is not None:
                _, rows, cols = result.bins.shape
                j, k = y0 // SIDE, x0 // SIDE
                self.bins[plane, :, j : j + rows, k : k + cols] += result.bins

    @property
    def shown(self) -> float:
        """See `Stack.shown`: of pixels that a frame shows, whether its samples were rejected or not."""
        pixels = np.count_nonzero(np.isfinite(self.planes["image"][0]))
        share = float(self.counts[0, 2].mean()) / max(pixels, 1)
        return share if 0 < share < PANELS else 1.0

    def fractions(self, plane: int, i: int) -> tuple[float, float, float]:
        """Parts of a frame's samples rejected low, high and with larger structures, which count there alone."""
        low, high, there, large = self.counts[plane, :, i].tolist()
        return low / max(1, there), high / max(1, there), large / max(1, there)
