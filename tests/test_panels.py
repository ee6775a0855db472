"""Panels of a mosaic: a chain of star lists laid by its neighbours, against the true sphere."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.panels.adjusted import light_ratios
from masterlight.alignment.panels.neighbours import lay_by_neighbours
from masterlight.alignment.transform import apply
from masterlight.subframes.measurement import StarList

SHAPE, SIGMA_PX = (600, 900), 0.05
POOL = ThreadPoolExecutor(1), 1


class Panels:
    """Cameras that look at one sphere of stars: the truth of each view, and what they see."""

    def __init__(self, centres_px, per_panel=2, seed=1, density=4e-4, turn_deg=0.0, fade=1.0, focal_px=2e5):
        self.focal_px = focal_px
        self.rng = np.random.default_rng(seed)
        self.middle = (np.array(SHAPE[::-1]) - 1) / 2
        self.poses, self.stars = [], []
        reach = np.abs(np.array(centres_px)).max(axis=0) + 1000
        count = int(density * np.prod(2 * reach))
        angles = self.rng.uniform(-1, 1, (count, 2)) * reach / self.focal_px
        x, y = np.tan(angles).T
        sky = np.stack([x, y, np.ones(count)]) / np.sqrt(x**2 + y**2 + 1)
        flux = 1000 * self.rng.pareto(1.0, count) + 300
        for k, centre in enumerate(centres_px):
            for i in range(per_panel):
                x, y = np.array(centre) + self.rng.uniform(-6, 6, 2) * (k + i > 0)
                roll = self.rng.uniform(-1, 1) * turn_deg + 180 * ((k + i) % 5 == 4)
                self.add(x, y, roll, sky, flux * fade ** (k + i))

    def add(self, x, y, roll, sky, flux):
        pose = Rotation.from_euler("z", roll, degrees=True).as_matrix()
        pose = pose @ Rotation.from_euler("yx", [-x / self.focal_px, y / self.focal_px]).as_matrix()
        self.poses.append(pose)
        u, v, z = pose @ sky
        xy = self.focal_px * np.stack([u / z, v / z], axis=-1) + self.middle
        inside = (z > 0) & ((xy > 3) & (xy < np.array(SHAPE[::-1]) - 4)).all(axis=1)
        order = np.flatnonzero(inside)[np.argsort(-flux[inside])]
        at = xy[order] + SIGMA_PX * self.rng.standard_normal((len(order), 2))
        one = np.ones(len(order))
        self.stars.append(
            StarList(
                *at.T, flux[order], flux[order], 100 * one, 3 * one, 0 * one, 0 * one, SIGMA_PX * one, 50 * one,
                np.zeros(len(order), bool), 0 * one, SHAPE,
            )
        )  # fmt: skip

    def true(self, i, reference):
        """3x3 from the reference to a frame."""
        k = np.array([[self.focal_px, 0, self.middle[0]], [0, self.focal_px, self.middle[1]], [0, 0, 1]])
        return k @ self.poses[i] @ self.poses[reference].T @ np.linalg.inv(k)

    def seams_px(self, transforms):
        """How far off frames lie on each other where they overlap, at most, of each pair."""
        y, x = np.mgrid[0:600:60, 0:900:60]
        grid, high = np.stack([x.ravel(), y.ravel()], axis=-1).astype(float), np.array(SHAPE[::-1]) - 1
        found = []
        for i in transforms:
            for j in transforms:
                at = apply(self.true(j, i), grid)
                inside = ((at >= 0) & (at <= high)).all(axis=1)
                if i < j and inside.any():
                    ours = transforms[j](transforms[i].inverse(grid[inside]))
                    found.append(np.hypot(*(ours - at[inside]).T).max())
        return np.array(found)

    def worst_px(self, transforms, reference):
        """How far off corners are, of all frames."""
        far = []
        corners = np.array([[0, 0], [899, 0], [0, 599], [899, 599.0]])
        for i, t in transforms.items():
            back = np.linalg.inv(self.true(i, reference))
            far.append(np.hypot(*(apply(back, corners) - t.inverse(corners)).T).max())
        return np.array(far)


def laid(panels, settings=None, free=True, stars=None, focal_px=None):
    settings = settings or StarAlignment()
    stars = stars or panels.stars
    prepared, start = settings.prepare(stars[0]), {}
    for i, own in enumerate(stars):
        t = settings.align(prepared, own, str(i))
        if t:
            start[i] = t
    return drained(lay_by_neighbours(settings, stars, start, 0, POOL, free, focal_px)), start


def drained(events):
    try:
        while True:
            next(events)
    except StopIteration as end:
        return end.value


CHAIN = [(740 * k, 12 * (k % 3)) for k in range(12)]
"""Twelve panels side by side that overlap by a sixth."""


def test_truth_a_chain_of_twelve_panels_stays_straight():
    """From the first panel alone, 4 of 24 frames could be laid."""
    panels = Panels(CHAIN, turn_deg=4.0)
    found, start = laid(panels, focal_px=0.98 * panels.focal_px)
    assert len(start) == 4 and sorted(found.transforms) == list(range(24))
    assert found.bridged == tuple(range(4, 24)) and 9 <= found.reference <= 14  # a panel in the middle
    seams, far = panels.seams_px(found.transforms), panels.worst_px(found.transforms, found.reference)
    assert np.median(seams) < 0.04 and seams.max() < 0.1
    assert np.median(far) < 0.3 and far.max() < 1.0
    assert found.rms_px == pytest.approx(2 * SIGMA_PX, rel=0.15)


@pytest.mark.parametrize("told", [None, 0.98])
def test_truth_a_chain_over_ten_degrees_fits_at_its_seams(told):
    """How much sky a pixel sees is hardly told by a straight chain: then it is bent a little, as a whole."""
    panels = Panels(CHAIN[:7], focal_px=25_000.0)
    found, _ = laid(panels, focal_px=told and told * panels.focal_px)
    assert len(found.transforms) == 14 and panels.seams_px(found.transforms).max() < 0.15
    far = panels.worst_px(found.transforms, found.reference)
    assert told is None or far.max() < 8


def test_truth_a_reference_that_was_given_stays():
    panels = Panels(CHAIN[:5])
    found, _ = laid(panels, free=False)
    assert found.reference == 0 and len(found.transforms) == 10
    assert np.array_equal(found.transforms[0].matrix, np.eye(3))


def test_truth_a_grid_of_panels_closes_its_loops():
    centres = [(740 * i, 480 * j) for j in range(3) for i in range(3)]
    panels = Panels(centres, per_panel=1, turn_deg=2.0)
    found, _ = laid(panels)
    assert len(found.transforms) == 9 and found.reference == 4
    far = panels.worst_px(found.transforms, found.reference)
    assert far.max() < 0.12 and panels.seams_px(found.transforms).max() < 0.1
    expected = np.array([found.transforms[i].corner_error_px for i in found.transforms if i != found.reference])
    assert 0.3 < np.median(far[far > 0]) / np.median(expected) < 3  # errors that are told are those that are made


@pytest.mark.parametrize("density", [4e-4, 1e-4])
def test_truth_panels_that_all_match_the_reference_fit_each_other(density):
    """Eight around one: where two outer ones overlap, the one in the middle shows neither."""
    around = [(x, y) for x in (-450, 0, 450) for y in (-300, 0, 300) if x or y]
    panels = Panels([(0, 0), *around], per_panel=1, density=density, turn_deg=2.0)
    found, start = laid(panels)
    assert sorted(start) == list(range(9)) and not found.bridged and found.reference == 0
    before, after = panels.seams_px(start), panels.seams_px(found.transforms)
    assert after.max() < 0.5 * before.max() and after.max() < 0.08 and found.rms_px < 2.2 * SIGMA_PX


@pytest.mark.parametrize("told", [None, 0.98])
def test_truth_errors_of_bridged_corners_are_those_that_are_told(told):
    """Whether a header tells the focal length or not."""
    ratios = []
    for seed in (1, 2):
        panels = Panels([(600 * k, 0) for k in range(4)], seed=seed, turn_deg=1.0, density=2e-4)
        found, _ = laid(panels, focal_px=told and told * panels.focal_px)
        far = dict(zip(found.transforms, panels.worst_px(found.transforms, found.reference), strict=True))
        ratios += [far[i] / t.corner_error_px for i, t in found.transforms.items() if i != found.reference]
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 2 and 0.4 < np.median(ratios) < 1.8


def test_truth_what_nothing_overlaps_is_left_out():
    panels = Panels([*CHAIN[:3], (740 * 7, 0)])
    found, _ = laid(panels)
    assert sorted(found.transforms) == [0, 1, 2, 3, 4, 5]


def test_truth_a_night_of_one_field_is_left_as_it_is():
    panels = Panels([(0, 0)], per_panel=5)
    found, start = laid(panels)
    assert not found.bridged and found.reference == 0
    assert all(found.transforms[i] is start[i] for i in start)


def test_truth_light_is_told_along_the_chain():
    """Every frame gets 3 % less than the one before it."""
    panels = Panels(CHAIN[:6], per_panel=1, fade=0.97)
    found, _ = laid(panels)
    ratios = np.array([found.transforms[i].flux_ratio for i in range(6)])
    assert ratios == pytest.approx(0.97 ** (np.arange(6) - found.reference), rel=0.02)


def test_truth_lens_without_one_centre_leaves_each_frame_free():
    """Frames that are sheared are no views of one sphere; each is taken as it is."""
    panels = Panels([(0, 0), (500, 0), (1000, 0)], per_panel=1)
    shear = np.array([[1, 0.004], [0, 1.003]])
    stars = [replace(s, x_px=(s.xy @ shear.T)[:, 0], y_px=(s.xy @ shear.T)[:, 1]) if i == 1 else s
             for i, s in enumerate(panels.stars)]  # fmt: skip
    found, _ = laid(panels, stars=stars)
    assert len(found.transforms) == 3 and found.rms_px < 2.5 * SIGMA_PX


def test_truth_ratios_of_light_close_loops():
    from masterlight.alignment.panels.adjusted import Edge
    from masterlight.alignment.transform import Transform

    def edge(a, b, ratio):
        nothing = np.empty((0, 2))
        t = Transform(np.eye(3), flux_ratio=ratio, flux_ratio_error=0.01 * ratio, flux_pairs=20)
        return Edge(a, b, nothing, nothing, np.empty(0), t)

    found = light_ratios([edge(0, 1, 0.9), edge(1, 2, 0.9), edge(0, 2, 0.84)], 0)
    assert found[2][0] == pytest.approx(np.exp((2 * np.log(0.84) + 2 * np.log(0.9)) / 3), rel=1e-6)
    assert found[0] == (1.0, 0.0) and found[1][1] == pytest.approx(0.9 * 0.01 * np.sqrt(2 / 3), rel=0.02)
