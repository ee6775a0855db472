"""Where registered pixels lie on the sky: as astropy has it of the frame below, through every kind of transform."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from sky import CALM, EVEN, written
from test_warp import turn
from test_warp_bent import SHAPE, polynomial, through_lens

from masterlight import Recipe, build, run
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform, apply
from masterlight.alignment.warping.wcs import first_solved, moved_wcs, seen_from
from masterlight.core.frame import ArrayFrame

PLACE = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 210.8, "CRVAL2": 54.3, "CRPIX1": 171.5, "CRPIX2": 133.25}
CD = {"CD1_1": -4e-4, "CD1_2": 3e-5, "CD2_1": 3e-5, "CD2_2": 4e-4}
SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 3, "B_ORDER": 2,
       "A_2_0": 2e-5, "A_0_2": -1e-5, "A_1_2": 4e-8, "A_3_0": 5e-8, "B_1_1": 3e-5, "B_0_2": 1e-5}  # fmt: skip
FORMS = {
    "CD": {**PLACE, **CD, "RADESYS": "ICRS"},
    "CDELT": {**PLACE, "CDELT1": -4e-4, "CDELT2": 4e-4, "CROTA2": 12.0, "EQUINOX": 2000.0},
    "PC": {**PLACE, "CDELT1": -4e-4, "CDELT2": 4e-4, "PC1_1": 0.9, "PC1_2": 0.1, "PC2_1": -0.1, "PC2_2": 0.9},
    "SIP": {**PLACE, **CD, **SIP},
}
HOMOGRAPHY = turn(20, SHAPE, 10, -20, 1.1)
HOMOGRAPHY[2, :2] = 3e-6, -2e-6
WAYS = {
    "shift": Transform(turn(0, SHAPE, 5.3, -7.1)), "flip": Transform(turn(180.2, SHAPE, 3, 4)),
    "mirror": Transform(turn(30, SHAPE) @ np.diag([1, -1, 1]) + np.array([[0, 0, 0], [0, 0, 250], [0, 0, 0]])),
    "scale": Transform(turn(10, SHAPE, 1, 2, 2.0)), "homography": Transform(HOMOGRAPHY, shape=SHAPE),
    "lens": through_lens(10.0, 0.005), "cubic": polynomial(1.0),
}  # fmt: skip


def solved(cards):
    """A frame whose header tells where it lies on the sky."""

    class Solved(ArrayFrame):
        header = property(lambda self: cards)

    return Solved.of(np.zeros(SHAPE, np.float32), "solved.fits")


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", WAYS)
def test_authority_registered_pixels_lie_where_astropy_has_them(form, way):
    header, transform = FORMS[form], WAYS[way]
    seen = StarAlignment().registered(solved(header), transform, SHAPE, 1.0).header
    was, now = (WCS(fits.Header(cards)) for cards in (header, seen))
    xy = np.random.default_rng(2).uniform((0, 0), (SHAPE[1], SHAPE[0]), (200, 2))
    sky = was.all_pix2world(transform(xy), 0)
    away = (now.all_pix2world(xy, 0) - sky) * (np.cos(np.radians(54.3)), 1)
    limit_px = 1e-3 if way in ("lens", "cubic", "homography") else 1e-6
    assert np.hypot(*away.T).max() / 4e-4 < limit_px
    if "A_ORDER" in seen:
        near = now.sip_foc2pix(now.sip_pix2foc(xy, 0), 0)
        assert np.abs(near - xy).max() < 0.05


def test_truth_a_frame_upon_its_own_grid_keeps_its_place():
    told = moved_wcs(FORMS["SIP"], lambda xy: xy, lambda xy: xy, SHAPE)
    for key, value in FORMS["SIP"].items():
        assert key == "B_ORDER" or told[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-7))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"CRVAL1": 1.0},
        PLACE,
        {**PLACE, "CD1_1": "x"},
        {**PLACE, "CDELT1": 0.0},
        {**PLACE, "CRPIX1": float("nan"), **CD},
    ],
)
def test_surface_a_header_that_tells_no_place_gets_none(header):
    assert moved_wcs(header, lambda xy: xy, lambda xy: xy, SHAPE) == {}


def test_surface_polynomials_of_another_kind_end_where_something_bends():
    tpv = {**FORMS["CD"], "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV2_1": 1.0}
    bent, shifted = WAYS["cubic"], WAYS["shift"]
    assert moved_wcs(tpv, bent, bent.inverse, SHAPE) == {}
    assert moved_wcs(tpv, shifted, shifted.inverse, SHAPE)["PV1_1"] == 1.0


def test_truth_any_solved_light_tells_the_place_of_all():
    lain = [({}, WAYS["shift"]), (FORMS["CD"], WAYS["flip"]), (FORMS["SIP"], WAYS["scale"])]
    told, xy = first_solved(lain, SHAPE), np.array([[10.0, 20.0], [300.0, 200.0]])
    was, now = (WCS(fits.Header(cards)) for cards in (FORMS["CD"], told))
    np.testing.assert_allclose(now.all_pix2world(xy, 0), was.all_pix2world(WAYS["flip"](xy), 0), atol=1e-10)
    assert first_solved(lain[:1], SHAPE) == {}


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_truth_a_master_light_lies_where_any_solved_light_says(tmp_path):
    """A plate solver has seen one light, which is not the reference: the master lies where that one has it."""
    truth = written(**CALM | EVEN | {"rows": 240, "cols": 300, "lights": 4, "stars": 200, "biases": 0, "darks": 0,
                                     "flats": 0, "seed": 5, "meridian_flip": True, "dither_px": 8.0})  # fmt: skip
    night = tmp_path / "night"
    night.mkdir()
    for i, path in enumerate(truth.paths("light")):
        with fits.open(path) as hdus:
            header = hdus[0].header
            for key in [key for key in header if key.startswith(("CRVAL", "CTYPE", "CD", "CRPIX"))]:
                del header[key]
            header.update(FORMS["SIP"] if i == 3 else {})
            fits.PrimaryHDU(hdus[0].data, header).writeto(night / f"light_{i}.fits")
    recipe = build(Recipe, {"workers": "serial", "reference": "light_0.fits"})
    report = list(run(night, tmp_path / "out", recipe))[-1].result
    master = fits.getheader(report.lights[0].path)
    assert master["CTYPE1"] == "RA---TAN-SIP"
    xy = np.random.default_rng(1).uniform((0, 0), (300, 240), (100, 2))
    there = apply(truth.transform(3, 0), xy)
    was, now = WCS(fits.Header(FORMS["SIP"])), WCS(master)
    away = (now.all_pix2world(xy, 0) - was.all_pix2world(there, 0)) * (np.cos(np.radians(54.3)), 1)
    assert np.hypot(*away.T).max() / 4e-4 < 0.15  # as well as 200 stars lay a light


def pointed(ra, dec, turn_deg, scale_deg, mirrored=False, pivot=(200.0, 150.0)):
    """The header of a plate-solved frame."""
    angle = np.radians(turn_deg)
    matrix = scale_deg * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix[0] *= 1 if mirrored else -1
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec}
    header |= {"CRPIX1": pivot[0], "CRPIX2": pivot[1]}
    return header | {f"CD{i + 1}_{j + 1}": matrix[i, j] for i in range(2) for j in range(2)}


@pytest.mark.parametrize("dec", [0.0, 41.3, -89.9])
def test_authority_two_solved_frames_lie_on_each_other_where_astropy_has_them(dec):
    first = pointed(359.99, dec, 12.0, 5e-4)
    second = pointed(0.02, dec + 0.03, 190.0, 7e-4, mirrored=True, pivot=(310.5, 77.0))
    at = np.random.default_rng(1).uniform((0, 0), (600, 400), (50, 2))
    theirs = WCS(second).all_world2pix(WCS(first).all_pix2world(at, 0), 0)
    assert np.abs(apply(seen_from(first, second), at) - theirs).max() < 1e-5


@pytest.mark.parametrize(
    "lost",
    [{"CTYPE1": "GLON-TAN"}, {"CRVAL1": "north"}, {"CTYPE2": None}, {"CD1_1": 0.0, "CD1_2": 0.0}, {"CRVAL1": 180.0}],
)
def test_surface_headers_that_do_not_tell_how_frames_lie_give_no_guess(lost):
    first, second = pointed(0.0, 0.0, 0.0, 5e-4), pointed(0.0, 0.0, 0.0, 5e-4) | lost
    second = {key: value for key, value in second.items() if value is not None}
    assert seen_from(first, second) is None and seen_from({}, first) is None
    assert np.allclose(seen_from(first, first), np.eye(3))
