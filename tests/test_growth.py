"""Growth: a pose becomes the transform of all common stars, a plainer one where a rich one cannot be."""

import numpy as np
import pytest
from test_align import CORNERS, pose, star_list
from test_fits import BOX

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.bend import Lens
from masterlight.alignment.models import growth
from masterlight.alignment.models.fits import robust
from masterlight.alignment.transform import apply

TRUTH = pose(0.5, 1, 20, -30)


def lists(place, count=300, noise_px=0.05, seed=1):
    """The reference, ready, and the stars of a frame where `place` puts them."""
    rng = np.random.default_rng(seed)
    xy, flux = rng.uniform([0, 0], [5999, 3999], (count, 2)), np.arange(count, 0, -1.0)
    reference = StarAlignment().prepare(star_list(xy, flux, noise_px))
    return reference, star_list(place(xy) + rng.normal(0, noise_px, xy.shape), flux, noise_px)


def test_truth_a_plainer_model_is_tried_before_a_frame_is_given_up():
    """Few stars with large errors shear an affine map more than may be; what they tell of shift and turn is right."""
    given = []
    for seed in range(10):
        reference, stars = lists(lambda xy: apply(TRUTH, xy), 12, 0.5, seed)
        found = growth.grown(StarAlignment(model="affine", max_shear=1e-5), reference, stars, TRUTH)
        assert found is not None and not found.reason
        given.append(found.fit.model)
        assert np.hypot(*(found.fit(CORNERS) - apply(TRUTH, CORNERS)).T).max() < 6 * found.corner_error_px
    assert set(given) == {"similarity"}


def test_truth_a_plainer_model_that_explains_nothing_is_no_help():
    sheared = TRUTH.copy()
    sheared[0, 1] += 0.008  # 16 px at the upper and lower border
    reference, stars = lists(lambda xy: apply(sheared, xy))
    settings = StarAlignment(max_shear=0.001)
    found = growth.grown(settings, reference, stars, sheared)
    assert found.code == "IMPLAUSIBLE" and "shear" in found.reason
    assert not growth.grown(StarAlignment(), reference, stars, sheared).reason


@pytest.mark.parametrize("model", ["auto", "polynomial3", "polynomial4"])
def test_truth_frames_of_another_lens_are_laid_by_their_stars(model):
    lens = Lens((3050.0, 1960.0), 3605.0, (0.01,))
    reference, stars = lists(lambda xy: lens.distort(apply(TRUTH, xy)), 500)
    found = StarAlignment(model=model).align(reference, stars, "other.fits")
    assert found.model == ("polynomial3" if model == "auto" else model) and found.bend.kind == "polynomial"
    away = np.hypot(*(found(CORNERS) - lens.distort(apply(TRUTH, CORNERS))).T)
    assert away.max() < 0.1 and found.matched > 480 and 0.4 < found.chi2 < 0.7  # the reference has no errors
    plain = StarAlignment(model="homography").align(reference, stars, "other.fits")
    assert plain.matched < 400


@pytest.mark.parametrize("k", [0.002, 0.01])
def test_truth_pairs_are_found_where_a_matrix_leads_astray(k):
    lens = Lens((3050.0, 1960.0), 3605.0, (k,))
    reference, stars = lists(lambda xy: lens.distort(apply(TRUTH, xy)))
    settings = StarAlignment()
    own = growth.lists_of(settings, reference, stars, TRUTH)
    first = growth.grown_pairs(settings, own, TRUTH)[1:]
    fit, _ = robust("polynomial3", own.pairs(*first))
    found = growth.bent_pairs(settings, own, fit, first)
    assert len(first[0]) <= len(found[0]) and len(found[0]) >= 290
    np.testing.assert_array_equal(found[0], found[1])  # lists in the order of the same fluxes


def test_truth_a_folded_field_is_no_sky():
    x, y = np.meshgrid(np.linspace(*BOX[::2], 24), np.linspace(*BOX[1::2], 24))
    assert not growth.folded(np.stack([x, y], axis=-1).reshape(-1, 2))
    bent = np.stack([x + 2500 * np.sin(x / 1000), y], axis=-1).reshape(-1, 2)
    assert growth.folded(bent)


def test_surface_codes_tell_programs_what_went_wrong():
    rng = np.random.default_rng(11)
    process, few = StarAlignment(), star_list(rng.uniform(0, 1000, (3, 2)), np.ones(3))
    many = star_list(rng.uniform(0, 1000, (40, 2)), np.ones(40))
    line = np.column_stack([np.linspace(100, 5900, 30) ** 1.02, np.full(30, 2000.0)])
    on_line, other = star_list(line, np.arange(30.0) + 1), star_list(rng.uniform(0, 1000, (40, 2)), np.ones(40))
    assert process.align(process.prepare(many), few).code == "NO_STARS"
    assert process.align(process.prepare(many), other).code in ("NOT_SIGNIFICANT", "NO_HYPOTHESIS")
    assert process.align(process.prepare(on_line), on_line).code == "DEGENERATE"
