"""The forecast of a table of frames: by target and filter, whatever their exposure, and weights of frames together."""

from dataclasses import replace

import numpy as np
import pytest
from test_forecast import measured, night, tutorial

from masterlight.core.errors import ParameterError
from masterlight.core.frame import Meta
from masterlight.integration.integrate import ImageIntegration
from masterlight.subframes.choice.outlook import outlooks, weighed_together, with_prices
from masterlight.subframes.choice.subframe import Subframe, Units
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.choice.verdict import kinds_words


def table(measurements, ratios, units=None, **metas):
    told = {"object": "M 31", "filter": "L", "exposure_s": 60.0} | metas
    frames = []
    for i, (m, ratio) in enumerate(zip(measurements, ratios, strict=True)):
        meta = Meta(**{name: value[i] if isinstance(value, list) else value for name, value in told.items()})
        frames.append(Subframe(m.source, meta, replace(m, flux_ratio=ratio), scale_arcsec=1.5, gain_e=0.8))
    return Subframes(tuple(frames), units or Units())


def test_truth_exposures_of_a_filter_belong_together_and_filters_do_not():
    frames = table(
        measured(6 * [3.0], 6 * [10.0]), [1.0, 0.5, 1.0, 1.0, 0.5, 1.0],
        exposure_s=[60.0, 30.0, 60.0, 60.0, 30.0, 60.0], filter=["L", "L", "R", "L", "L", "R"],
    )  # fmt: skip
    found = {outlook.name: outlook for outlook in outlooks(frames)}
    assert [(name, len(one.night)) for name, one in found.items()] == [("M 31, L", 4), ("M 31, R", 2)]
    light = found["M 31, L"].choices
    # Two with all of the light and two with half: weights 1 and 1/4.
    assert light["noise"].noise_dn == pytest.approx(10 / np.sqrt(2.5))
    assert light["equal"].depth == pytest.approx(10 / np.sqrt(2.5) / (np.sqrt(2 * 100 + 2 * 400) / 4))
    assert found["M 31, R"].choices["equal"].noise_dn == pytest.approx(10 / np.sqrt(2))


def test_truth_the_present_choice_is_what_is_approved_by_its_weights():
    measurements, ratios = night("noise and cloud", 4, 12)
    frames = table(measurements, ratios.tolist(), Units("arcsec"))
    weights, approved = tutorial(measurements), np.arange(12) % 3 > 0
    chosen = [replace(f, weight=float(w), approved=bool(a)) for f, w, a in zip(frames, weights, approved, strict=True)]
    [told] = outlooks(frames.with_frames(chosen), 5.0)
    assert told.choices["present"].frames == 8 and told.choices["noise"].frames == 12
    assert told.choices["present"].depth < told.choices["sharp"].depth == pytest.approx(0.95, abs=1e-4)
    assert told.unit("width") == 1.5 and told.unit("level") == 1
    prices = with_prices(frames, [told]).column("Price")
    assert (
        prices == pytest.approx(100 * told.prices.depth)
        and np.isfinite(prices).all()
        and told.frontier[0].depth == pytest.approx(1)
    )
    [plain] = outlooks(frames)
    assert plain.choices["present"] == pytest.approx(plain.choices["equal"], nan_ok=True)  # no weights were asked for


@pytest.mark.parametrize("kind", ["noise", "cloud", "noise and cloud"])
def test_truth_presets_of_the_tutorial(kind):
    """The text as it stands gives away depth for nothing, 6 % and more; times the noise weight under a percent."""
    for seed in range(3):
        measurements, ratios = night(kind, seed)
        frames = table(measurements, ratios.tolist())
        [plain], [with_noise] = (frames.weighed_by(name).forecast() for name in ("tutorial", "tutorial+noise"))
        assert plain.choices["present"].depth < 0.94 and plain.choices["present"].shallower > 0.06
        assert with_noise.choices["present"].depth > 0.99 and with_noise.choices["present"].shallower < 0.002


@pytest.mark.parametrize("scale", [1.5, None])
def test_truth_binned_frames_are_compared_in_pixels_of_one_size(scale):
    """Four pixels added: twice the noise, stars half as wide; nothing else differs, whoever tells it."""
    frames = table(measured([3.0, 1.5], [10.0, 20.0]), [1.0, 1.0], binning=[(1, 1), (2, 2)])
    told = [replace(f, scale_arcsec=scale and scale * f.meta.binning[0]) for f in frames]
    [found] = outlooks(frames.with_frames(told))
    assert found.frames.noise_dn == pytest.approx([10, 10])
    assert found.choices["equal"].fwhm_px == pytest.approx(3.0, rel=0.03)
    assert found.choices["equal"].noise_dn == pytest.approx(10 / np.sqrt(2))


def test_truth_what_nobody_compared_is_inconclusive():
    frames = table(measured([3.0, 3.0], [10.0, 10.0]), [None, None])
    [told] = outlooks(frames)
    assert told.choices == {} and told.frontier == [] and len(told.frames.inconclusive) == 2
    [alone] = outlooks(frames[:1])  # a single frame need not be compared
    assert alone.choices["present"].depth == pytest.approx(1)
    nothing = [replace(frame, measurement=None) for frame in frames]
    assert outlooks(frames.with_frames(nothing)) == []


def test_truth_coarse_and_fine_pixels():
    coarse, fine = measured([3.0, 6.0], [10.0, 5.0])
    frames = table([coarse, fine], [1.0, 1.0])
    fine_one = replace(frames[1], scale_arcsec=0.75)
    [told] = outlooks(frames.with_frames([frames[0], fine_one]))
    assert told.choices["noise"].fwhm_px == pytest.approx(3.0, rel=0.02)
    assert told.choices["noise"].effective == pytest.approx(2)


def test_truth_weights_of_approved_frames_together():
    measurements, ratios = night("noise and cloud", 4, 10)
    frames = table(measurements, [None, *ratios[1:].tolist()])
    frames = frames.with_frames([*frames.frames[:9], frames[9].mark(False)])
    noise = np.array([m.noise_dn for m in measurements])
    told = weighed_together(frames, "noise")
    best = (ratios / noise)[1:9] ** 2
    assert told.weights[1:9] == pytest.approx(best / best.max())
    assert [frame.approved for frame in told] == [False, *8 * [True], False]
    assert "scale" in told[0].reasons[-1] and told[9].reasons == ("left out by hand",)
    [sharp] = weighed_together(frames, "sharp", 10.0).approved.forecast(10.0)
    assert sharp.choices["present"].wider < 1e-6
    [point] = weighed_together(frames, "point").approved.forecast()
    assert point.choices["present"].point_snr > 1
    alone = weighed_together(frames.with_frames(f if i == 0 else f.mark(False) for i, f in enumerate(frames)), "sharp")
    assert alone.weights[0] == 1 and alone[0].approved and np.isnan(alone.weights[1:]).all()
    by_hand = weighed_together(frames.with_frames([frames[0].mark(True), *frames.frames[1:]]), "noise")
    assert by_hand[0].approved and by_hand[0].weight is None
    with pytest.raises(ParameterError, match="weights= blunt"):
        weighed_together(frames, "blunt")


@pytest.mark.parametrize(("kind", "give"), [("noise", 1.0), ("point", 1.0), ("sharp", 0.1)])
def test_truth_what_frames_that_are_left_out_would_bring_by_weights_together(kind, give):
    """Nearly what they bring where the weights of all are made anew with each of them."""
    measurements, ratios = night("noise and cloud", 4, 16)
    frames = table(measurements, ratios.tolist())
    out = 2, 5, 11
    chosen = frames.with_frames(frame.mark(i not in out) for i, frame in enumerate(frames))
    told = weighed_together(chosen, kind, give)
    assert not any(told[i].approved for i in out)
    [outlook] = outlooks(told, give)
    prices = with_prices(told, [outlook]).column("Price")
    assert np.isfinite(prices).sum() == np.count_nonzero(told.weights > 0) and np.isfinite(prices[5])

    def depth_with(i):
        more = chosen.with_frames(f.mark(k == i or k not in out) for k, f in enumerate(frames))
        return outlooks(weighed_together(more, kind, give), give)[0].choices["present"].depth

    alone = outlook.choices["present"].depth
    for i in out:
        if told[i].weight is None:  # its stars are too wide to count among the sharpest
            assert kind == "sharp" and depth_with(i) == pytest.approx(alone, rel=0.005)
        else:
            assert prices[i] == pytest.approx(100 * (depth_with(i) / alone - 1), abs=0.3 if kind != "sharp" else 0.8)


def test_truth_mosaics_and_debayered_frames_are_forecast_apart():
    """Green pixels and the mean of three planes have no noise or light in common."""
    frames = table(
        measured(4 * [3.0], [10.0, 4.0, 10.0, 4.0]), 4 * [1.0], shape=[(80, 90), (3, 80, 90)] * 2,
        pattern=["RGGB", None] * 2,
    )  # fmt: skip
    found = {one.name: one.choices["equal"].noise_dn for one in outlooks(frames)}
    assert found == pytest.approx({"M 31, L, mosaics": 10 / np.sqrt(2), "M 31, L, colour": 4 / np.sqrt(2)})
    assert [str(group) for group in frames.groups] == ["M 31, L, 60 s, mosaics", "M 31, L, 60 s, colour"]
    assert kinds_words(frames)[0].startswith("2 mosaics, 2 colour: frames of another kind have other levels")
    assert not kinds_words(frames[:1]) and str(next(iter(frames[:1].groups))) == "M 31, L, 60 s"


@pytest.mark.parametrize(("kind", "more"), [("noise", {}), ("point", {}), ("sharp", {"give": 10.0})])
def test_oracle_the_weights_of_the_integration(kind, more):
    measurements, ratios = night("noise and cloud", 6, 9)
    frames = table(measurements, ratios.tolist())
    lit = [replace(m, flux_ratio=float(r)) for m, r in zip(measurements, ratios, strict=True)]
    theirs = ImageIntegration(weights=kind, **more).terms(lit).weights
    assert weighed_together(frames, kind, more.get("give", 1.0)).weights == pytest.approx(theirs, rel=1e-4, abs=1e-4)
