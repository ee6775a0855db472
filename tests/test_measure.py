import numpy as np
import pytest

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import Transform
from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import period, places
from masterlight.core.statistics.scale import SCALES
from masterlight.simulate.night import XTRANS
from masterlight.subframes.formula.variables import PROPERTIES
from masterlight.subframes.measure import measure
from masterlight.subframes.measurement import SKY_FIELDS, STAR_FIELDS
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars.shared import psf_signal
from masterlight.subframes.weights import needs


class Headed(ArrayFrame):
    """A frame in memory with a header."""

    @property
    def header(self):
        return dict(self.cards)


def frame_of(array, header=(), **meta):
    array = np.asarray(array, np.float32)
    return Headed(source="x.fits", meta=Meta(shape=array.shape, **meta), array=array, cards=tuple(dict(header).items()))


def noise(shape=(300, 400), sigma=5.0, level=1000.0, seed=1):
    return np.random.default_rng(seed).normal(level, sigma, shape).astype(np.float32)


def star_field(shape=(600, 700), count=120, sigma=5.0, fwhm=3.0, seed=1, scale=1.0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 1000.0)
    for cx, cy, flux in zip(
        rng.uniform(20, shape[1] - 20, count), rng.uniform(20, shape[0] - 20, count), 10 ** rng.uniform(3.6, 5, count),
        strict=True,
    ):  # fmt: skip
        box = np.s_[max(0, int(cy) - 20) : int(cy) + 21, max(0, int(cx) - 20) : int(cx) + 21]
        width = fwhm / 2.3548
        image[box] += (
            scale * flux / (2 * np.pi * width**2) * np.exp(-((x[box] - cx) ** 2 + (y[box] - cy) ** 2) / 2 / width**2)
        )
    return (image + rng.normal(0, sigma, shape)).astype(np.float32)


def filtered(image, pattern):
    """What a sensor behind such filters sees of a sky that is 400 and 250 DN fainter in red and blue."""
    lower, out = {"R": 400, "G": 0, "B": 250}, image.copy()
    for colour, at in places(pattern).items() if pattern else ():
        for y, x in at:
            out[y :: period(pattern), x :: period(pattern)] -= lower[colour]
    return out


def test_truth_level_spread_and_noise():
    ramp = np.linspace(0, 50, 3000)[None, :]
    frame = frame_of(noise((2000, 3000), 4.0, 500.0) + ramp, {"GAIN": 100}, exposure_s=30.0, gain_e_per_dn=0.5)
    [found] = measure(frame, ("keywords",))
    # The median of a uniform ramp of 50 DN is sure to 14 / sqrt(250000) DN, the MAD noise to 0.2 %.
    assert found.location_dn == pytest.approx(525, abs=0.2)
    assert found.noise_dn == pytest.approx(4, rel=0.01)
    assert np.array(found.scale_dn) == pytest.approx([15, 15], rel=0.15)
    assert (found.exposure_s, found.gain_e_per_dn, found.keywords) == (30, 0.5, {"GAIN": 100})
    assert found.psf_flux_dn is found.mean_dn is found.stars is found.pixel_noise_dn is None


@pytest.mark.parametrize("scale", SCALES)
def test_truth_each_scale_by_name(scale):
    [found] = measure(frame_of(noise()), scale=scale)
    expected = SCALES[scale](noise())
    assert (found.location_dn, found.scale_dn) == expected


def test_unknown_scale_is_told():
    with pytest.raises(ParameterError, match="scale: 'sigma' is not known; there are bwmv"):
        measure(frame_of(noise()), scale="sigma")


def test_truth_wanted_fields_of_the_sky():
    [found] = measure(frame_of(noise((512, 640), 5.0)), SKY_FIELDS)
    # Averages over 250,000 normal values are sure to 0.2 %; M* is 0.6745 sigma of 20,000 values.
    assert found.mean_dn == pytest.approx(1000, abs=0.05)
    assert found.mean_deviation_dn == pytest.approx(0.7979 * 5, rel=0.01)
    assert found.noise_scale_dn == pytest.approx(0.53 * 5, rel=0.01)
    assert found.background_noise_dn == pytest.approx(0.6745 * 5, rel=0.03)


def test_truth_wanted_fields_of_the_stars():
    clear, hazy = (measure(frame_of(star_field(scale=s)), STAR_FIELDS)[0] for s in (1.0, 0.5))
    assert clear.fwhm_px == pytest.approx(3.0, rel=0.08)
    assert clear.eccentricity < 0.3
    assert 80 <= clear.stars <= 130
    # Faint stars are lost in the haze; most of the light is that of the bright ones.
    assert hazy.psf_flux_dn / clear.psf_flux_dn == pytest.approx(0.5, rel=0.03)
    assert hazy.psf_mean_flux_dn / clear.psf_mean_flux_dn == pytest.approx(0.5, rel=0.06)


def test_truth_what_a_formula_asks_of_the_stars_is_measured():
    names = [name for name, row in PROPERTIES.items() if row.fields and set(row.fields) <= set(STAR_FIELDS)]
    [found] = measure(frame_of(star_field()), needs("expression", " + ".join(names)))
    # These stars are Gaussians, which have no beta.
    assert len(names) > 12 and [name for name in names if not np.isfinite(PROPERTIES[name].of(found))] in ([], ["Beta"])


def test_truth_stars_of_colour_are_those_of_all_planes():
    image = star_field()
    found = measure(frame_of(np.stack([image, image, image])), ("fwhm_px",))
    assert len({s.fwhm_px for s in found}) == 1 and found[0].fwhm_px == pytest.approx(3, rel=0.08)


def test_truth_a_frame_without_stars_has_none():
    [found] = measure(frame_of(noise()), STAR_FIELDS)
    assert (found.stars, found.fwhm_px, found.psf_flux_dn) == (0, None, None)


def test_truth_light_per_pixel():
    _, found = SubframeSelector(psf="gaussian", min_stars=1).measure(frame_of(star_field(count=1, sigma=0.5)))
    flux, mean = psf_signal(found)
    # A Gaussian is a tenth as high at 1.8226 times its half width.
    assert mean == pytest.approx(flux / (np.pi / 4 * (1.8226 * found.fwhm_px[0]) ** 2), rel=1e-4)


def test_truth_noise_before_interpolation_is_that_of_the_keyword():
    image = noise()
    smooth = 0.5 * (image[:, 1:] + image[:, :-1])
    [plain], [told] = measure(frame_of(smooth)), measure(frame_of(smooth, {"NOISE00": 5.1}))
    assert plain.noise_dn == pytest.approx(5 / np.sqrt(2), rel=0.02) and plain.pixel_noise_dn is None
    assert told.noise_dn == 5.1 and told.pixel_noise_dn == pytest.approx(5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("dx", [0.5, 0.25])
def test_truth_noise_of_a_registered_frame(dx):
    frame = frame_of(noise((600, 700)) + 0.5 * np.arange(700), {"NOISE00": 5.02})
    away = Transform(matrix=np.array([[1, 0, dx], [0, 1, dx], [0, 0, 1.0]]), shape=frame.shape)
    view = StarAlignment(interpolation="lanczos3", clamping="none").registered(frame, away, frame.shape, noise_dn=5.0)
    [found] = measure(view)
    slope = np.asarray(view)[20:-20, 20:-20] - 0.5 * np.arange(20, 680)
    assert found.noise_dn == 5.02
    # Median deviations of 200,000 pixels that are not independent: 1 %.
    assert found.pixel_noise_dn == pytest.approx(np.std(slope), rel=0.01)


@pytest.mark.parametrize(
    ("header", "meta", "expected"),
    [
        ({"NOISE": 6}, {}, 6), ({"NOISE00": 5.5, "NOISE": 6.0}, {}, 5.5), ({"NOISE00": 0.0, "NOISE": 6.0}, {}, 6),
        ({"NOISE00": -1.0}, {}, None), ({"NOISE00": "5.5"}, {}, None), ({"NOISE00": float("nan")}, {}, None),
        ({"NOISE00": True}, {}, None), ({"NOISE00": 5.5}, {"frames": 20}, None), ({"NOISE00": 1e-4}, {}, None),
        ({"NOISE00": 500.0}, {}, None), ({"NOISE00": 4.0, "NOISE01": 6.0}, {}, None),
        ({"NOISE00": 4.0, "NOISE01": 5.0, "NOISE02": 6.0}, {"pattern": "RGGB"}, 25.5**0.5),
        ({"NOISE00": 4.0, "NOISE01": 5.0}, {"pattern": "RGGB"}, None),
    ],
)  # fmt: skip
def test_truth_which_keyword_is_believed(header, meta, expected):
    [found] = measure(frame_of(noise(), header, **meta))
    if expected is None:
        assert found.noise_dn == measure(frame_of(noise()))[0].noise_dn
    else:
        assert found.noise_dn == pytest.approx(expected, rel=1e-12)


def test_truth_noise_of_each_plane():
    cube = np.stack([noise(sigma=s) for s in (4, 5, 6)])
    found = measure(frame_of(cube, {"NOISE00": 4.4, "NOISE01": 5.5, "NOISE02": 6.6}))
    assert [s.noise_dn for s in found] == [4.4, 5.5, 6.6]
    found = measure(frame_of(cube, {"NOISE00": 4.4, "NOISE": 7.0}))
    assert [s.noise_dn for s in found] == [4.4, 7.0, 7.0]


def test_truth_missing_pixels_do_not_count():
    image = noise()
    image[:, :150] = np.nan
    [found] = measure(frame_of(image), SKY_FIELDS)
    assert (found.location_dn, found.noise_dn) == pytest.approx((1000, 5), rel=0.02)
    with pytest.raises(FrameError, match="x.fits: it has no pixel that is not missing"):
        measure(frame_of(np.full((40, 50), np.nan)))


@pytest.mark.parametrize("empty, named", [([1], "its green plane has"), ([0, 2], "its red and blue planes have")])
def test_surface_empty_planes_of_a_colour_frame_are_named(empty, named):
    planes = np.stack([noise(), noise(), noise()])
    planes[empty] = np.nan
    words = f"{named} no pixel that is not missing"
    with pytest.raises(FrameError, match=words):
        measure(frame_of(planes))
    assert words in SubframeSelector().measure(frame_of(planes)).reason
    planes[:] = np.nan
    assert "it has no pixel that is not missing" in SubframeSelector().measure(frame_of(planes)).reason


def test_surface_a_frame_of_one_value_or_one_pixel_is_measured():
    [flat] = measure(frame_of(np.full((40, 50), 7.0)), SKY_FIELDS)
    assert (flat.location_dn, flat.scale_dn, flat.noise_dn, flat.mean_deviation_dn) == (7, (0, 0), 0, 0)
    [one] = measure(frame_of([[3.0]]))
    assert (one.location_dn, one.noise_dn) == (3, 0)


def test_truth_mono_bayer_and_xtrans_of_one_sky_have_one_noise_and_alike_stars():
    image = star_field((900, 1200), 200)
    rows = []
    for pattern in (None, "RGGB", XTRANS, XTRANS[3:18] + XTRANS[:3] + XTRANS[18:]):
        frame = frame_of(filtered(image, pattern), pattern=pattern)
        row, found = SubframeSelector().measure(frame)
        [sample] = measure(frame, STAR_FIELDS)
        # 100,000 pixels at least, sure to 0.3 %, and what faint stars leave in them.
        assert row.noise_dn == pytest.approx(5, rel=0.02)
        assert sample.noise_dn == pytest.approx(5, rel=0.02)
        assert row.location_dn == pytest.approx(1000, abs=1)
        assert row.fwhm_px == pytest.approx(rows[0].fwhm_px if rows else 3, rel=0.02 if rows else 0.08)
        assert sample.stars == row.stars
        rows.append(row)
        assert 190 <= row.stars <= 203


def test_truth_noise_of_calibration_frames_is_that_of_a_pair():
    pattern = np.random.default_rng(7).normal(0, 20, (300, 400))
    first, second = (frame_of(noise(seed=s) + pattern, kind="dark") for s in (1, 2))
    [alone], [both] = measure(first, kind="dark"), measure(second, kind="dark", before=first)
    # 7200 of their pixels are looked at: 1.7 %.
    assert alone.noise_dn == pytest.approx(425**0.5, rel=0.05) and both.noise_dn == pytest.approx(5, rel=0.05)
    assert both.scale_dn == pytest.approx((425**0.5, 425**0.5), rel=0.05)
    bright = frame_of(1.5 * np.asarray(first), kind="flat")
    [flat] = measure(second, kind="flat", before=bright)
    assert flat.noise_dn == pytest.approx(5 * (2 / (1 + 1 / 1.5**2)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("image", "ceiling", "words"),
    [
        (np.full((40, 50), 7.0), None, "every pixel is 7 DN: the exposure or the download failed"),
        (np.full((40, 50), np.nan), None, "more than half of its pixels are missing"),
        (noise((40, 50), level=60000), 50000, "is saturated"), (noise((40, 50), level=-90), None, "it saw no light"),
    ],
)  # fmt: skip
def test_calibration_frames_that_are_worth_nothing_are_told(image, ceiling, words):
    with pytest.raises(FrameError, match=words):
        measure(frame_of(image), kind="flat", saturation_dn=ceiling)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.9])
def test_truth_stars_and_sky_of_whole_numbers_whose_noise_is_below_a_step(sigma):
    rng, (y, x) = np.random.default_rng(4), np.mgrid[:300, :400]
    light = sum(
        200 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 1.5**2))
        for cx, cy in zip(rng.uniform(20, 380, 30), rng.uniform(20, 280, 30), strict=True)
    )
    image = np.rint(100.2 + light + rng.normal(0, sigma, light.shape)).astype(np.float32)
    row, stars = SubframeSelector().measure(ArrayFrame.of(image, "light"))
    assert 27 <= len(stars) <= 30
    assert row.location_dn == pytest.approx(100.2, abs=0.1)
    assert row.noise_dn == pytest.approx(np.std(image[light < 0.01]), rel=0.10)
    assert row.step_dn == 1


def test_truth_a_frame_that_is_all_white_is_overexposed_and_no_empty_one():
    white = np.full((60, 80), 65535, np.float32)
    assert "overexposed" in SubframeSelector().measure(white, saturation_dn=65535).reason
    assert "empty" in SubframeSelector().measure(white).reason
