"""Nights laid one after the other on a reference that is kept: the result or a light of an earlier one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial import cKDTree
from sky import CALM, written

from masterlight import FrameError, NothingUsable, ParameterError, Recipe, SubframeSelector, build, read, run, write
from masterlight.doors.hand.steps import by_hand

NIGHTS = {"rows": 300, "cols": 380, "lights": 3, "biases": 2, "darks": 2, "flats": 2, "nebula_dn": 0.0, **CALM}
NIGHTS |= {"stars": 260, "meridian_flip": True, "filters": ("L", "R")}
NAMES = "first", "second"
WCS_CARDS = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 190.5, "CRPIX2": 150.5, "CRVAL1": 83.0,
             "CRVAL2": -5.0, "CD1_1": -4e-4, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": 4e-4}  # fmt: skip


def walked(folder, out, **knobs):
    """Paths of the master lights of a run, and all that was told."""
    events = list(run(folder, out, build(Recipe, {"workers": "serial", **knobs})))
    return [Path(row.path) for row in events[-1].result.lights], "\n".join(event.message for event in events)


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Two nights of one field, the second on the other side of the meridian and in another filter; the result of the
    first, plate-solved."""
    truth, folder = written(**NIGHTS), tmp_path_factory.mktemp("nights")
    for name in ("first", "second"):
        (folder / name).mkdir()
        for path in truth.paths("light"):
            if (path.name in first_lights()) == (name == "first"):
                shutil.copy(path, folder / name)
        for kind in ("bias", "dark", "flat"):
            for path in truth.paths(kind):
                shutil.copy(path, folder / name)
    made, _ = walked(folder / "first", folder / "one")
    with fits.open(made[0]) as hdus:
        write(folder / "kept.fits", hdus[0].data, {"IMAGETYP": "Master Light", "FILTER": "L", **WCS_CARDS})
    return folder


def first_lights():
    """Names of the lights of the first night."""
    truth = written(**NIGHTS)
    return [path.name for i, path in enumerate(truth.paths("light")) if truth.transform(i)[0, 0] > 0]


def apart_px(one, other):
    """How far bright stars of an image lie from those of another, in the median along x and y."""
    first, second = (SubframeSelector().measure(read(path))[1][:60].xy for path in (one, other))
    distance, which = cKDTree(first).query(second)
    near = distance < 2
    assert near.sum() > 30
    return np.median((second - first[which])[near], axis=0)


def test_truth_a_later_night_lies_on_the_result_of_the_earlier_one(nights, tmp_path):
    made, told = walked(nights / "second", tmp_path, reference=str(nights / "kept.fits"))
    assert len(made) == 1 and "kept.fits is none of the lights" in told
    assert np.abs(apart_px(nights / "kept.fits", made[0])).max() < 0.05
    header, solved = fits.getheader(made[0]), WCS(fits.Header(WCS_CARDS))
    assert (header["NAXIS1"], header["NAXIS2"], header["FILTER"]) == (380, 300, "R")
    assert WCS(header).wcs_pix2world([[100, 90]], 0) == pytest.approx(solved.wcs_pix2world([[100, 90]], 0))
    alone, _ = walked(nights / "second", tmp_path / "alone")
    assert np.hypot(*apart_or_far(nights / "kept.fits", alone[0])) > 0.2


def apart_or_far(one, other):
    """As `apart_px`; far where nothing lies on each other."""
    try:
        return apart_px(one, other)
    except AssertionError:
        return np.array([99.0, 99.0])


def test_truth_a_raw_light_of_another_night_serves_as_well(nights, tmp_path):
    raw = nights / "first" / first_lights()[1]
    made, _ = walked(nights / "second", tmp_path, reference=str(raw))
    assert np.abs(apart_px(raw, made[0])).max() < 0.1


def test_truth_all_of_a_later_night_is_shown_about_the_earlier_one(nights, tmp_path):
    """A union on a reference that is none of the lights: as large as these, at its place on the sky."""
    made, told = walked(nights / "second", tmp_path, reference=str(nights / "kept.fits"), **{"align.frame": "union"})
    header = fits.getheader(made[0])
    assert header["NAXIS1"] > 380 and "of kept.fits" in told
    left, top = header["CRPIX1"] - WCS_CARDS["CRPIX1"], header["CRPIX2"] - WCS_CARDS["CRPIX2"]
    one, two = (SubframeSelector().measure(read(path))[1][:60].xy for path in (nights / "kept.fits", made[0]))
    distance, _ = cKDTree(one + (left, top)).query(two)
    assert (distance < 0.5).sum() > 30


def test_truth_what_does_not_show_its_stars_is_laid_on_one_of_its_own(nights, tmp_path):
    other = written(**{**NIGHTS, "seed": 77, "lights": 2, "filters": ("L",), "biases": 0, "darks": 0, "flats": 0})
    made, told = walked(other.folder, tmp_path, reference=str(nights / "kept.fits"))
    assert len(made) == 1 and "lights shows the stars of kept.fits: they are laid on one of their own" in told


def test_truth_lists_of_several_nights_are_integrated_together(nights, tmp_path):
    lights = {name: sorted((nights / name).glob("*.fits")) for name in NAMES}
    lights = {name: [p for p in paths if fits.getheader(p)["IMAGETYP"].lower().startswith("light")]
              for name, paths in lights.items()}  # fmt: skip
    for name, paths in lights.items():
        done = list(by_hand("align", paths, tmp_path / name, reference=nights / "kept.fits", transforms_only=True))
        assert len(done[-1].result.rows) == 3
    both = [*lights["first"], *lights["second"]]
    *_, last = by_hand("integrate", both, tmp_path / "deep.fits", transforms=tmp_path)
    with fits.open(tmp_path / "deep.fits") as hdus:
        assert len(hdus["FRAMES"].data) == 6
    assert np.abs(apart_px(nights / "kept.fits", tmp_path / "deep.fits")).max() < 0.05
    *_, last = by_hand("align", both[3:], tmp_path / "third", reference=both[0], transforms_only=True)
    with pytest.raises(FrameError, match="its transform is on .* align all of them on one reference"):
        list(by_hand("integrate", both, tmp_path / "no.fits", transforms=tmp_path))


def test_bad_references_beside_the_lights(nights, tmp_path):
    rng = np.random.default_rng(1)
    write(tmp_path / "clouds.fits", rng.normal(1000, 10, (300, 380)).astype(np.float32), {"IMAGETYP": "Light Frame"})
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =                    T")
    with pytest.raises(NothingUsable, match="clouds.fits cannot be the reference: only|no star"):
        walked(nights / "second", tmp_path / "out", reference=str(tmp_path / "clouds.fits"))
    with pytest.raises(FrameError, match="broken.fits"):
        walked(nights / "second", tmp_path / "out", reference=str(tmp_path / "broken.fits"))
    with pytest.raises(ParameterError, match="Recipe.reference gone.fits is not among the 3 lights"):
        walked(nights / "second", tmp_path / "out", reference=str(tmp_path / "gone.fits"))
