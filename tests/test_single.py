"""One frame by itself: rays are sharper than light, stars are not, whatever their width."""

from dataclasses import replace

import astroscrappy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import single as oracle

from masterlight import Debayer, ImageIntegration, Rejection, StarAlignment, SubframeSelector
from masterlight.alignment.transform import Transform
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.defects.repaired import without_struck
from masterlight.integration.integrate import MasterIntegration
from masterlight.integration.single import kernels
from masterlight.integration.single.sharp import Sharp, look_of, looks_of, parts_of, peaks_off, thin_places
from masterlight.integration.single.struck import struck_alone
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.stars.detect import detect

NOISE = 20.0
SKY = 400.0
LOOK = Sharp(fwhm_px=3.0, noise_dn=NOISE, level_dn=SKY, photon=1.0, ceiling_dn=50_000.0, sigma=5.0)


def stars(shape, fwhm_px, count=80, seed=0, brightest=2e5, shift=(0.0, 0.0)):
    """Moffat stars integrated over pixels, DN."""
    rng = np.random.default_rng(seed)
    out, over, beta = np.zeros(shape), 5, 3.0
    alpha2 = fwhm_px**2 / 4 / (2 ** (1 / beta) - 1)
    fine = (np.arange(over) + 0.5) / over - 0.5
    for flux in brightest * (np.arange(count) + 1.0) ** -0.8:
        x, y = rng.uniform(0, shape[1]) + shift[0], rng.uniform(0, shape[0]) + shift[1]
        r = int(8 * fwhm_px) + 3
        ys = np.arange(max(0, int(y) - r), min(shape[0], int(y) + r))
        xs = np.arange(max(0, int(x) - r), min(shape[1], int(x) + r))
        r2 = ((ys[:, None] + fine).ravel()[:, None] - y) ** 2 + ((xs[:, None] + fine).ravel()[None] - x) ** 2
        light = (beta - 1) / np.pi / alpha2 * (1 + r2 / alpha2) ** -beta
        out[np.ix_(ys, xs)] += flux * light.reshape(len(ys), over, len(xs), over).mean(axis=(1, 3))
    return out


def exposed(light, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.poisson(SKY + light) + rng.normal(0, 5, light.shape)).astype(np.float32)


def tracks(shape, count=60, seed=2, least=10):
    """Straight tracks of rays, 1 to 10 px long, `least` to 150 sigma high."""
    rng, out = np.random.default_rng(seed), np.zeros(shape)
    for _ in range(count):
        y, x, angle = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(0, np.pi)
        height = NOISE * least * (150 / least) ** rng.random()
        for t in np.arange(0, rng.integers(1, 11), 0.5):
            j, i = int(y + t * np.sin(angle)), int(x + t * np.cos(angle))
            if 0 <= j < shape[0] and 0 <= i < shape[1]:
                out[j, i] = max(out[j, i], height)
    return out


def marks(image, look=LOOK, pattern=None):
    return look(np.asarray(image, np.float32), pattern) > 0


@pytest.mark.parametrize("fwhm_px", [1.6, 2.0, 3.0, 4.5, 7.0])
def test_truth_no_star_of_any_width_is_taken_for_a_ray(fwhm_px):
    light = stars((500, 500), fwhm_px, count=300)
    found = marks(np.minimum(exposed(light), 60_000), replace(LOOK, fwhm_px=fwhm_px))
    assert found.sum() <= 3


@pytest.mark.parametrize(("fwhm_px", "least"), [(2.0, 0.8), (3.0, 0.93), (4.5, 0.96)])
def test_truth_rays_are_found_and_nothing_else(fwhm_px, least):
    light, rays = stars((400, 400), fwhm_px), tracks((400, 400))
    found = marks(exposed(light) + rays, replace(LOOK, fwhm_px=fwhm_px))
    inside = np.s_[4:-4, 4:-4]
    assert found[inside][rays[inside] > 0].mean() > least  # those on stars stay
    assert (found & (rays == 0)).sum() <= 5


@pytest.mark.parametrize("fwhm_px", [3.0, 4.5])
def test_authority_astroscrappy_finds_no_more_rays_and_spoils_more(fwhm_px):
    light, rays = stars((400, 400), fwhm_px), tracks((400, 400))
    image = exposed(light) + rays.astype(np.float32)
    ours = marks(image, replace(LOOK, fwhm_px=fwhm_px))
    theirs, _ = astroscrappy.detect_cosmics(image, gain=1.0, readnoise=5.0, satlevel=50_000.0, objlim=2.0)
    assert ours[rays > 0].mean() > theirs[rays > 0].mean() - 0.03
    assert (ours & (rays == 0)).sum() < (theirs & (rays == 0)).sum()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), step=st.integers(1, 2), holes=st.booleans())
def test_oracle_find_sharp(seed, step, holes):
    rng = np.random.default_rng(seed)
    image = exposed(stars((30, 34), 2.5, count=4, seed=seed, brightest=5e4), seed)
    image += np.where(rng.random(image.shape) < 0.03, rng.uniform(0, 40 * NOISE), 0).astype(np.float32)
    if holes:
        image[rng.random(image.shape) < 0.03] = np.nan
    how = NOISE, 0.8, 9000.0, step, 5.0, LOOK.ratios(step), 5.0
    found = np.zeros(image.shape, np.uint8)
    kernels.find_sharp(image, *how, found)
    expected = oracle.find_sharp(image, *how)
    assert (found.astype(bool) != expected).sum() <= 1  # on the very edge of a limit float32 may go either way


def test_truth_a_box_is_marked_as_the_whole_frame_is():
    image = exposed(stars((300, 300), 3.0)) + tracks((300, 300)).astype(np.float32)
    frame = ArrayFrame.of(image, "a light")
    whole = frame.marked(LOOK, 0, 300, 0, 300)
    np.testing.assert_array_equal(frame.marked(LOOK, 101, 180, 77, 150), whole[101:180, 77:150])
    assert whole.any()


def test_truth_what_is_bled_is_no_ray():
    image = exposed(np.zeros((100, 100)))
    image[20:80, 50] = 60_000
    assert not marks(image).any()
    assert marks(np.minimum(image, 30_000)).any()


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG"])
def test_truth_in_a_mosaic_rays_go_and_coloured_stars_stay(pattern):
    """A red star shines in one pixel of four; only its own colour tells how sharp it is."""
    light = stars((400, 400), 3.5, count=60)
    red = np.zeros((2, 2))
    red.reshape(-1)[pattern.index("R")] = 1
    gain = 0.15 + 0.85 * np.tile(red, (200, 200))
    rays = np.zeros(light.shape)
    at = np.random.default_rng(4).integers(5, 395, (2, 40))
    rays[at[0], at[1]] = 80 * NOISE
    image = exposed(light * gain) + rays.astype(np.float32)
    found = marks(image, replace(LOOK, fwhm_px=3.5), pattern)
    assert found[rays > 0].mean() > 0.9
    assert (found & (rays == 0)).sum() <= 3
    frame = ArrayFrame.of(image, "a mosaic", Meta(pattern=pattern))
    seen = Debayer()(frame).marked(replace(LOOK, fwhm_px=3.5), 0, 400, 0, 400)
    assert (seen[found] > 0).all() and (seen > 0).sum() <= 25 * found.sum()
    part = Debayer()(frame).marked(replace(LOOK, fwhm_px=3.5), 40, 101, 33, 90)
    np.testing.assert_array_equal(part, seen[40:101, 33:90])
    assert LOOK(image, "GRBGBRGRB" * 4) is None  # X-Trans: no neighbours of one colour alike


def test_truth_registered_rays_leave_no_rings():
    """They are missing before the kernel spreads them."""
    light, rays = stars((200, 200), 3.0, count=20), np.zeros((200, 200), np.float32)
    rays[60, 70] = rays[120, 130] = 8000
    shifted = Transform(np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]]), shape=(200, 200))
    clean, hit = (
        StarAlignment().registered(ArrayFrame.of(exposed(light) + more, "a light"), shifted, (200, 200), NOISE, 3.0)
        for more in (0, rays)
    )
    got, want = hit.without(LOOK, 40, 150, 50, 150), clean.pixels(40, 150, 50, 150)
    assert np.isnan(got).sum() < 60
    assert np.nanmax(np.abs(got - want)) < 5 * NOISE < np.abs(hit.pixels(40, 150, 50, 150) - want).max()


def integrated(lights, **knobs):
    """A stack of frames that are registered and of which everything is known."""
    frames = [ArrayFrame.of(light, f"light {i}") for i, light in enumerate(lights)]
    about = {"exposure_s": 60.0, "flux_ratio": 1.0, "fwhm_px": 3.0, "gain_e_per_dn": 1.0}
    known = [Measurement(frame.source, SKY, (NOISE, NOISE), NOISE, **about) for frame in frames]
    *_, done = ImageIntegration(rejection=Rejection(**knobs))(frames, known, verdicts=True)
    return done.result


@pytest.mark.parametrize("count", [1, 2, 3])
def test_truth_no_ray_is_left_of_one_two_or_three_lights(count):
    shape = 300, 300
    light = stars(shape, 3.0, count=60)
    rays = [np.where(np.random.default_rng(9 + i).random(shape) < 4e-4, 3000, 0) for i in range(count)]
    stack = integrated([(exposed(light, 20 + i) + rays[i]).astype(np.float32) for i in range(count)])
    inside = np.zeros(shape, bool)
    inside[4:-4, 4:-4] = True
    sky = inside & (light < 3 * NOISE)
    off = (stack.image - SKY - light) / (NOISE / np.sqrt(count))
    assert np.nanmax(off[sky]) < 6.5 and np.nanmin(off[sky]) > -6.5
    gone = np.array([stack.verdicts.mask(i) > 0 for i in range(count)])
    clean = np.array(rays) == 0
    assert gone[clean].mean() < 0.0015
    bright = inside & (light > 300) & clean.all(axis=0)
    assert gone[:, bright].mean() < 0.003
    kept = integrated([exposed(light) + rays[0].astype(np.float32)] * count, single_frame_sigma=0)
    assert (kept.image - light)[sky & (rays[0] > 0)].min() > 2500


def test_truth_a_trail_in_one_of_two_lights_goes():
    light = stars((300, 300), 3.0, count=40)
    y, x = np.mgrid[:300, :300]
    trail = 300 * np.exp(-((y - 0.4 * x - 90) ** 2) / 6)
    stack = integrated([exposed(light + trail * i, 30 + i) for i in range(2)])
    off = stack.image - SKY - light
    assert len(stack.trails) == 1
    assert abs(off[(trail > 100) & (light < NOISE)].mean()) < 5  # 200 without; the noise of so many pixels is 1


def test_truth_the_borders_of_many_lights_are_looked_at_too():
    light = stars((200, 220), 3.0, count=30)
    lights = [exposed(light, 40 + i) for i in range(8)]
    for i, frame in enumerate(lights):
        frame[:, : 20 - 5 * (i < 2)] = np.nan  # two lights alone see the columns 15 to 19
    lights[0][50:150:10, 17] += 60 * NOISE
    lights[1][50:150:10, 17] += 60 * NOISE  # both of them hit: their difference tells nothing
    stack = integrated(lights)
    assert np.isnan(stack.image[50:150:10, 17]).mean() > 0.8
    assert np.nanmax(stack.image[45:155, 15:20] - light[45:155, 15:20]) < SKY + 8 * NOISE
    assert (stack.coverage[:, 30:] >= 6).all()


@pytest.mark.parametrize("count", [1, 3])
def test_truth_what_one_plane_misses_the_others_keep(count):
    lights = [np.stack([exposed(stars((120, 130), 3.0, count=10), 3 * i + p) for p in range(3)]) for i in range(count)]
    for light in lights:
        light[2, :60] = np.nan
        light[:2, 30, 40] += 100 * NOISE  # a ray goes in all planes that are there
    frames = [ArrayFrame.of(light, f"light {i}") for i, light in enumerate(lights)]
    known = [Measurement(f.source, SKY, (NOISE, NOISE), NOISE, 60.0, 1.0, fwhm_px=3.0) for f in frames]
    *_, done = ImageIntegration()(frames, [known] * 3)
    there = np.isfinite(done.result.image)
    assert not there[2, :60].any() and there[2, 60:].mean() > 0.99
    assert there[:2, :60].mean() > 0.99 and not there[:, 30, 40].any()


def test_truth_pixels_are_the_same_in_whatever_tile():
    light = stars((250, 260), 3.0)
    lights = [exposed(light, 50 + i) + tracks((250, 260), seed=60 + i).astype(np.float32) for i in range(3)]
    frames = [ArrayFrame.of(one, f"light {i}") for i, one in enumerate(lights)]
    known = [Measurement(f.source, SKY, (NOISE, NOISE), NOISE, 60.0, 1.0, fwhm_px=3.0) for f in frames]
    images = []
    for memory_mb in (512, 0.6):
        *_, done = ImageIntegration()(frames, known, memory_mb=memory_mb, aspect=1)
        images.append(done.result.image)
    np.testing.assert_array_equal(*images)


def test_surface_masters_and_other_algorithms_look_at_no_frame_by_itself():
    """In a dark hot pixels are what is sought; an algorithm chosen by hand does what it says."""
    frames = [ArrayFrame.of(np.zeros((9, 9)), "one")]
    planes = [[Measurement("one", SKY, (NOISE, NOISE), NOISE, fwhm_px=3.0)]]
    assert len(looks_of(Rejection(), frames, planes)) == 1
    assert not looks_of(MasterIntegration().integration().rejection, frames, planes)
    assert not looks_of(Rejection(algorithm="winsorized"), frames, planes)
    assert not looks_of(Rejection(single_frame_sigma=0), frames, planes)
    assert not looks_of(Rejection(), frames, [[replace(planes[0][0], fwhm_px=None)]])


def test_oracle_thin_places():
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(7, 20, 30)).astype(np.float32)
    samples[rng.random(samples.shape) < 0.6] = np.nan
    samples[2, 3, 4] = np.inf
    np.testing.assert_array_equal(thin_places(samples, 3), np.isfinite(samples).sum(axis=0) <= 3)
    assert thin_places(np.zeros((7, 20, 30), np.float32), 3) is None
    assert thin_places(samples[:3], 3).all()


def test_truth_parts_hold_all_that_is_wanted_once():
    wanted = np.zeros((200, 300), bool)
    wanted[3, 5], wanted[150:160, 7:30], wanted[20, 290] = True, True, True
    seen = np.zeros(wanted.shape, int)
    for y0, y1, x0, x1 in parts_of(wanted):
        seen[y0:y1, x0:x1] += 1
    assert (seen[wanted] == 1).all() and seen.max() == 1 and seen.sum() < 700
    assert not list(parts_of(np.zeros((5, 5), bool)))


def peaks_of(image, **more):
    return detect(np.asarray(image, np.float32), saturation_dn=50_000.0, **more).peaks


@pytest.mark.parametrize("fwhm_px", [1.6, 2.0, 3.0, 4.5])
def test_truth_strong_rays_of_a_whole_frame_are_followed_to_their_ends_and_stars_stay(fwhm_px):
    """Tracks of 20 sigma and more through a field; of a frame without any nothing goes."""
    look, clean = replace(LOOK, fwhm_px=fwhm_px), exposed(stars((500, 500), fwhm_px, count=200))
    rays = tracks((500, 500), least=20)
    image = clean + rays.astype(np.float32)
    struck = look.rays(image.copy(), None, peaks_of(image))
    found = np.zeros(image.shape, bool)
    found.flat[struck] = True
    assert (np.diff(struck) > 0).all()
    assert found[3:-3, 3:-3][rays[3:-3, 3:-3] > 0].mean() > 0.85
    assert (found & (rays == 0)).sum() <= 5
    assert look.rays(clean.copy(), None, peaks_of(clean)).size <= 2


def curved(shape, sharp_px, wide_px, count=200):
    """A field that is sharp in its middle, and whose stars are `wide_px` from half of its diagonal on."""
    rng, out = np.random.default_rng(1), np.zeros(shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for flux in 5e5 * (np.arange(count) + 1.0) ** -0.8:
        a, b = rng.uniform(5, shape[1] - 5), rng.uniform(5, shape[0] - 5)
        away2 = ((a / shape[1] - 0.5) ** 2 + (b / shape[0] - 0.5) ** 2) / 0.5
        fwhm = np.hypot(sharp_px + (wide_px - sharp_px) * min(1.0, away2 / 0.3), 0.7)
        out += flux * 4 * np.log(2) / np.pi / fwhm**2 * np.exp(-((x - a) ** 2 + (y - b) ** 2) * 4 * np.log(2) / fwhm**2)
    return out


@pytest.mark.parametrize(("sharp_px", "wide_px"), [(1.3, 2.4), (2.0, 3.6)])
def test_truth_stars_in_the_sharp_middle_of_a_curved_field_are_no_rays(sharp_px, wide_px):
    """All lights would lose the same stars."""
    light = curved((300, 300), sharp_px, wide_px)
    image = exposed(light)
    measured, found = SubframeSelector().measure(ArrayFrame.of(image, "a light", Meta(gain_e_per_dn=1.0)))
    assert measured.sharpest < 0.75
    look = look_of(Rejection(), [measured], 60_000.0)
    assert look.rays(image.copy(), None, peaks_off(found)).size <= 2
    without = look_of(Rejection(), [replace(measured, sharpest=None)], 60_000.0)
    assert without.rays(image.copy(), None, found.peaks).size > 50
    frames = [ArrayFrame.of(exposed(light, seed), f"light {seed}", Meta(gain_e_per_dn=1.0)) for seed in range(3)]
    *_, done = ImageIntegration()(frames)
    stars_lost = np.count_nonzero(done.result.coverage[light > 300] < 3)
    assert stars_lost < 0.005 * np.count_nonzero(light > 300)


@pytest.mark.parametrize("elongations", [(0.5, 0.5, 0.5), (1.0, 1.0, 0.4)], ids=["all lights", "the last one"])
def test_truth_trailed_stars_are_no_rays(elongations):
    """Across the trail light falls off faster than from a round star of that area."""
    rng, (y, x), frames = np.random.default_rng(1), np.mgrid[:300, :300], []
    places, fluxes = rng.uniform(10, 290, (80, 2)), 5e5 * (np.arange(80) + 1.0) ** -0.8
    for i, q in enumerate(elongations):
        light, (a, b) = np.zeros((300, 300)), (2.5 / q, 2.5)
        for (u, v), flux in zip(places, fluxes, strict=True):
            along, across = 0.8 * (x - u) + 0.6 * (y - v), 0.8 * (y - v) - 0.6 * (x - u)
            light += flux * np.exp(-4 * np.log(2) * ((along / a) ** 2 + (across / b) ** 2)) / a / b
        frames.append(ArrayFrame.of(exposed(light, i), f"light {i}", Meta(gain_e_per_dn=1.0)))
        measured, found = SubframeSelector().measure(frames[-1])
        look = look_of(Rejection(), [measured], 60_000.0)
        assert look.rays(frames[-1].array.copy(), None, peaks_off(found)).size <= 2
        assert not marks(frames[-1].array, look)[light > 300].any()
    *_, done = ImageIntegration(max_rejected=1, min_weight=0)(frames, force=True, verdicts=True)
    assert not np.isnan(done.result.image[light > 300]).any()
    if len(set(elongations)) == 1:  # else what is trailed differs from what is not
        lost = [np.count_nonzero(done.result.verdicts.mask(i)[light > 300]) for i in range(3)]
        assert max(lost) < 0.02 * np.count_nonzero(light > 300)


def test_truth_rays_of_a_mosaic_go_on_in_its_other_colours():
    rays, pattern = tracks((400, 400), least=30), "RGGB"
    image = exposed(stars((400, 400), 3.5, count=60)) + rays.astype(np.float32)
    colour = np.asarray(Debayer()(ArrayFrame.of(image, "a mosaic", Meta(pattern=pattern)))).mean(axis=0)
    peaks = peaks_of(colour, mosaic=image, period=2)
    found = np.zeros(image.shape, bool)
    found.flat[replace(LOOK, fwhm_px=3.5).rays(image.copy(), pattern, peaks)] = True
    assert found[6:-6, 6:-6][rays[6:-6, 6:-6] > 0].mean() > 0.75
    assert (found & (rays == 0)).sum() <= 5
    assert not LOOK.rays(image.copy(), "GRBGBRGRB" * 4, peaks).size


def test_truth_a_trail_is_no_ray_however_sharp():
    """It is left for the search of trails, which takes it in its whole width; a track of a third of it is a ray."""
    light, y = exposed(np.zeros((300, 600))), np.rint(40 + 0.35 * np.arange(600)).astype(int)
    for length, most in ((600, 0), (120, 130)):
        image = light.copy()
        image[y[:length], np.arange(length)] += 60 * NOISE
        struck = LOOK.rays(image.copy(), None, peaks_of(image))
        assert struck.size <= most and (struck.size > 100) == (length == 120)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tell=st.booleans(), turned=st.booleans())
def test_oracle_follow_rays(seed, tell, turned):
    rng = np.random.default_rng(seed)
    image = exposed(stars((40, 44), 2.5, count=4, seed=seed, brightest=5e4), seed)
    image += tracks(image.shape, count=6, seed=seed % 1000).astype(np.float32)
    image = np.repeat(image, 2, axis=1)[:, ::2] if turned else image  # rows that are not contiguous
    places = rng.integers(-2, 46, (60, 2))
    how = NOISE, 0.8, 9000.0, 5.0, LOOK.ratios(1), 5.0
    expected, mended = oracle.follow_rays(image, places, tell, *how)
    got = kernels.follow_rays(image, places, tell, *how, np.zeros(image.shape, np.uint8))
    assert len({tuple(at) for at in got} ^ set(expected)) <= 2  # on the very edge of a limit float32 may go either way
    assert (~np.isclose(image, mended, rtol=1e-5)).sum() <= 4


def test_truth_repaired_before_the_warp_rays_leave_no_rings():
    """Eight lights, each half a pixel off and with a ray of its own: what the kernel spreads of it stays without."""
    shape, light = (200, 200), np.zeros((200, 200))
    where = Transform(np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]]), shape=shape)
    known = [Measurement(f"light {i}", SKY, (NOISE, NOISE), NOISE, 60.0, 1.0, fwhm_px=3.0) for i in range(8)]
    off = {}
    for name in ("none", "smeared", "struck"):
        frames = []
        for i in range(8):
            image = exposed(light, 70 + i)
            if name != "none":
                image[40 + 15 * i, 20] += 100 * NOISE
                image[40 + 15 * i, 80:84] += 60 * NOISE
            frame = ArrayFrame.of(image, f"light {i}")
            struck = LOOK.rays(image.copy(), None, peaks_of(image))
            assert struck.size in ((0,) if name == "none" else (5, 6))
            frame = without_struck(frame, struck) if name == "struck" else frame
            frames.append(StarAlignment().registered(frame, where, shape, NOISE, 3.0))
        *_, done = ImageIntegration()(frames, known)
        off[name] = done.result.image / (NOISE / np.sqrt(8))
    smeared, struck = (np.abs(off[name] - off["none"]) > 0.8 for name in ("smeared", "struck"))
    assert smeared.sum() > 100 and struck.sum() < 10


def test_truth_stars_too_narrow_to_be_told_are_no_rays():
    """Of stars of 0.8 px only those few are found that a neighbour widens; all others are sharper than these."""
    image = exposed(stars((300, 300), 0.8, count=250, seed=3, brightest=5e4), 5)
    measured, found = SubframeSelector().measure(ArrayFrame.of(image))
    assert len(found) < 30 and measured.sharpest == 0.0
    assert look_of(Rejection(), [measured], 60_000.0) is None
    sound, _ = SubframeSelector().measure(ArrayFrame.of(exposed(stars((300, 300), 2.0, count=250, seed=3), 5)))
    assert sound.sharpest > 0.5 and look_of(Rejection(), [sound], 60_000.0) is not None


@pytest.mark.parametrize("count", [1, 2, 3, 6, 20])
def test_truth_what_other_frames_call_struck_too_is_light_of_the_sky(count):
    rng, shape = np.random.default_rng(count), (300, 400)
    star, edge = np.array([[120.3, 88.7], [121.3, 88.7], [124.2, 88.9]]), np.array([[-30.0, 20.0], [399.4, 299.4]])
    rays = [rng.uniform((0, 0), (399, 299), (12, 2)) for _ in range(count)]
    rays = [ray[np.hypot(*(ray - star[0]).T) > 20] for ray in rays]
    alone = struck_alone([np.concatenate([star + rng.normal(0, 0.3, 2), edge, ray]) for ray in rays], shape)
    assert all(found[:3].all() == (count == 1) and found[:3].any() == (count == 1) for found in alone)
    assert all(found[3] for found in alone), "beyond the image nothing is compared"
    assert np.mean(np.concatenate([found[5:] for found in alone])) > 0.9
    nowhere = struck_alone([np.empty((0, 2))] * count, shape, np.full((3, 4), count))
    assert [found.size for found in nowhere] == [0] * count


def test_truth_a_star_that_few_lights_of_a_mosaic_show_is_no_ray():
    """Ten panels of two lights each: a star that both lights of its panel call struck, and a ray beside it."""
    shape, rng, places = (100, 1000), np.random.default_rng(4), []
    for i in range(20):
        star = np.array([100.0 * (i % 10) + 50, 50.0]) + rng.normal(0, 0.3, 2)
        places.append(np.stack([star, (100.0 * (i % 10) + 20, 10.0 if i < 10 else 90.0)]))
    alone = struck_alone(places, shape, np.full((1, 10), 2))
    assert [found.tolist() for found in alone] == [[False, True]] * 20
    assert all(found.all() for found in struck_alone(places, shape)), "twenty lights that all show it would call it so"
