"""The canvas of a result: which pixels it has, and that the reference is never interpolated on it."""

import numpy as np
import pytest

from masterlight import ParameterError, StarAlignment
from masterlight.alignment.canvas import Canvas, beyond, largest_rectangle, panels_of, share_within, shown_by
from masterlight.alignment.transform import Transform
from masterlight.alignment.warping.warp import warp, whole_shift

SHAPE = (200, 300)


def shifted(dx, dy):
    """A frame whose first pixel lies at (dx, dy) of the reference."""
    return Transform(matrix=np.array([[1, 0, -dx], [0, 1, -dy], [0, 0, 1.0]]), shape=SHAPE)


def turned(angle_deg, dx=0.0, dy=0.0):
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    middle = np.array([[1, 0, 149.5], [0, 1, 99.5], [0, 0, 1.0]])
    turn = np.array([[c, -s, dx], [s, c, dy], [0, 0, 1.0]])
    return Transform(matrix=middle @ turn @ np.linalg.inv(middle), shape=SHAPE)


def coverage(canvas, transforms):
    """How many frames a warp fills at each pixel of a canvas."""
    count, flat = np.zeros(canvas.shape, int), np.ones(SHAPE, np.float32)
    for t in transforms:
        out = np.empty(canvas.shape, np.float32)
        warp(flat, 0, 0, canvas.seen(t).matrix, out)
        count += np.isfinite(out)
    return count


FRAMES = shifted(0, 0), shifted(12.4, -7.3), shifted(-5.5, 20.25), shifted(40, 3)


def of(frame, crop=0.0, transforms=FRAMES):
    return Canvas.of(frame, crop, SHAPE, transforms, [SHAPE] * len(transforms))


@pytest.mark.parametrize(
    "frame, shape, origin",
    [
        ("reference", (200, 300), (0, 0)),
        ("max", (227, 345), (-5, -7)),
        ("union", (227, 345), (-5, -7)),
        ("min", (171, 254), (40, 21)),
        ("cog", (200, 300), (12, 4)),
    ],
)
def test_truth_canvases_of_shifted_frames_are_exact(frame, shape, origin):
    canvas = of(frame)
    assert (canvas.shape, canvas.origin_px, canvas.note) == (shape, origin, "")
    assert whole_shift(canvas.seen(FRAMES[0]).matrix, 0, 0) == origin  # the reference is copied


def test_truth_a_union_holds_every_pixel_and_not_one_row_more():
    transforms = [turned(a, 15 * a, -9 * a) for a in (0, 3, -8, 180)]
    canvas = of("max", 0, transforms)
    more = Canvas((canvas.shape[0] + 2, canvas.shape[1] + 2), (canvas.origin_px[0] - 1, canvas.origin_px[1] - 1))
    there = coverage(more, transforms) > 0
    assert not there[[0, -1]].any() and not there[:, [0, -1]].any()
    assert all(line.any() for line in (there[1], there[-2], there[:, 1], there[:, -2]))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("frame", ["reference", "max"])
def test_truth_a_cropped_result_has_so_many_frames_everywhere(share, frame):
    transforms = [turned(a, 25 * a, -14 * a) for a in (0, 3, -4, 1.5)]
    canvas = of(frame, share, transforms)
    count = coverage(canvas, transforms)
    assert count.min() >= share * 4 and not canvas.note
    rows, cols = canvas.shape
    bigger = Canvas((rows + 8, cols + 8), (canvas.origin_px[0] - 4, canvas.origin_px[1] - 4))
    around = coverage(bigger, transforms) >= share * 4
    limited = frame == "reference"  # its own edge may be what stops it
    sides = around[:4, 4:-4], around[-4:, 4:-4], around[4:-4, :4], around[4:-4, -4:]
    assert limited or not any(side.all() for side in sides)


def test_truth_min_of_turned_frames_is_nearly_the_largest_rectangle():
    """Against all rectangles of the exact overlap, on a small frame."""
    transforms = [turned(a) for a in (0, 6, -6)]
    canvas = of("min", 0, transforms)
    whole = coverage(Canvas(SHAPE), transforms) == 3
    y0, y1, x0, x1 = largest_rectangle(whole, np.arange(201), np.arange(301))
    assert canvas.area >= 0.985 * (y1 - y0) * (x1 - x0)
    assert coverage(canvas, transforms).min() == 3


def test_oracle_largest_rectangle_against_all_of_them():
    rng = np.random.default_rng(4)
    for _ in range(20):
        mask = rng.random((7, 9)) < 0.75
        y, x = np.cumsum(rng.integers(1, 5, 8)), np.cumsum(rng.integers(1, 5, 10))
        boxes = [(a, b, c, d) for a in range(7) for b in range(a + 1, 8) for c in range(9) for d in range(c + 1, 10)]
        sizes = [(y[b] - y[a]) * (x[d] - x[c]) for a, b, c, d in boxes if mask[a:b, c:d].all()]
        a, b, c, d = largest_rectangle(mask, y, x)
        assert mask[a:b, c:d].all() and (y[b] - y[a]) * (x[d] - x[c]) == max(sizes, default=0)


def test_truth_frames_that_share_too_little_are_not_cropped_and_that_is_told():
    apart = (shifted(0, 0), shifted(290, 0), shifted(0, 190))
    canvas = of("min", 0, apart)
    assert canvas.shape == SHAPE and "StarAlignment.frame min: the 3 frames share less than 10%" in canvas.note
    wild = of("max", 0, (shifted(0, 0), shifted(3e5, 0)))
    assert wild.shape == SHAPE and "does a frame lie where it does not belong?" in wild.note


def test_truth_what_lies_on_a_canvas():
    assert share_within(shifted(150, 0), SHAPE, Canvas(SHAPE)) == pytest.approx(0.5, abs=0.03)
    assert share_within(shifted(150, 0), SHAPE, of("max", 0, (shifted(0, 0), shifted(150, 0)))) == 1.0


def test_truth_how_many_frames_show_a_place():
    canvas = of("max")
    seen = [canvas.seen(t) for t in FRAMES]
    shown = shown_by(canvas.shape, seen, [SHAPE] * len(FRAMES))
    places = [tuple(int((k + 0.5) * n / m) for k, n, m in zip(at, canvas.shape, shown.shape, strict=True)) for at in
              np.ndindex(shown.shape)]  # fmt: skip
    theirs = coverage(canvas, FRAMES)
    assert np.mean(shown.ravel() == [theirs[at] for at in places]) > 0.97 and max(canvas.shape) / max(shown.shape) < 4


def test_truth_who_shows_another_part_of_the_sky():
    """By where the middle of a frame lies: a frame that is turned in its place is no panel, a dither neither."""
    three = [shifted(0, 0), shifted(190, 0), turned(40, 30, 0)]
    assert panels_of(three, [SHAPE] * 3, SHAPE) == {}  # one of three may be a slip
    assert panels_of(three[:2], [SHAPE] * 2, SHAPE) == {1: pytest.approx(190 / 300)}
    assert panels_of([turned(a) for a in range(0, 180, 15)], [SHAPE] * 12, SHAPE) == {}
    many = [shifted(0, 0)] * 27 + [shifted(-120, 60)] * 3
    assert list(panels_of(many, [SHAPE] * 30, SHAPE)) == [27, 28, 29]
    assert beyond(shifted(-120, 60), SHAPE, SHAPE) == pytest.approx(1 - (1 - 0.4) * (1 - 0.3))
    assert panels_of(many[:-1], [SHAPE] * 29, SHAPE) == {}
    finer = Transform(matrix=np.diag([3.0, 3.0, 1.0]), shape=SHAPE)  # a larger camera that shows all of the reference
    assert panels_of([finer] * 4, [(1200, 1800)] * 4, SHAPE) == {}


@pytest.mark.parametrize(("share", "shape"), [(0.5, (208, 752)), (1.0, (192, 744)), (0.0, (208, 760))])
def test_truth_a_mosaic_is_cropped_to_what_is_usual_in_it(share, shape):
    """Three panels of four frames each: nowhere do half of all overlap, but four do nearly everywhere."""
    frames = [shifted(230 * k + dx, dy) for k in range(3) for dx, dy in ((0, 0), (0, 8), (8, 8), (0, 0))]
    canvas = Canvas.of("mosaic", share, SHAPE, frames, [SHAPE] * 12)
    assert not canvas.note and abs(canvas.shape[0] - shape[0]) <= 8 and abs(canvas.shape[1] - shape[1]) <= 16
    if share:
        assert coverage(canvas, frames).min() >= 4 * share


def test_bad_parts_of_one_are_told_as_percent():
    assert StarAlignment(crop="50%").crop == 0.5
    with pytest.raises(ParameterError, match="50 is more than all of it; 50% means that part"):
        StarAlignment(crop="50")
