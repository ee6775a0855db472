"""A table of measured frames: figures in the units asked for, groups, verdicts, files."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from masterlight.core.errors import ParameterError
from masterlight.core.frame import Meta
from masterlight.subframes.choice.subframe import Subframe, Units, scale_of
from masterlight.subframes.choice.table import Subframes
from masterlight.subframes.choice.verdict import apart_words
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.select import SubframeSelector

TUTORIAL = (3.008, 0.3663, 107.6), (3.25, 0.45, 110.0), (3.5, 0.41, 112.0), (4.003, 0.5712, 117.5)
INVERSE = "35*inv(FWHM) + 5*inv(Eccentricity) + 10*inv(Noise) + 50"


def frame_of(source="a.fits", fwhm_px=3.0, eccentricity=0.4, noise_dn=100.0, **more):
    meta = Meta(exposure_s=60.0, filter="L", **{k: more.pop(k) for k in ("object",) if k in more})
    measurement = Measurement(source, 1000.0, (50.0, 50.0), noise_dn, fwhm_px=fwhm_px, eccentricity=eccentricity)
    return Subframe(source, meta, measurement, **more)


def night_of(rows=TUTORIAL, **more):
    return Subframes(tuple(frame_of(f"light_{i}.fits", *row) for i, row in enumerate(rows)), **more)


def test_truth_the_tutorials_weights():
    """The worked group of the tutorial's formula: 100 for the best of all, 50 for the worst of all."""
    weighed = night_of().weighed_by(INVERSE)
    assert weighed.weights == pytest.approx([100, 87.02073503, 77.18264905, 50], abs=1e-8)


def test_truth_units_scale_columns_exactly():
    frames = night_of().frames
    told = [replace(frame, scale_arcsec=1.5, gain_e=0.25, full_dn=65535.0) for frame in frames]
    plain, night = Subframes(tuple(told)), Subframes(tuple(told), Units("arcsec", "e-"))
    assert np.array_equal(night.column("FWHM"), 1.5 * plain.column("FWHM"))
    assert np.array_equal(night.column("Noise"), 0.25 * plain.column("Noise"))
    assert np.array_equal(night.column("Eccentricity"), plain.column("Eccentricity"))
    assert np.isnan(Subframes(frames, Units("arcsec")).column("FWHM")).all()
    parts = Subframes(tuple(told), Units(data="normalized"))
    assert parts.column("Noise") == pytest.approx(plain.column("Noise") / 65535)
    assert scale_of(Meta(pixel_um=3.76, focal_mm=530.0)) == pytest.approx(1.4633, abs=5e-5)


def test_truth_what_was_not_measured_is_never_approved_and_has_no_weight():
    blind = replace(frame_of("blind.fits"), measurement=None, approved=False, reasons=("no star found",))
    lame = frame_of("lame.fits", eccentricity=None)
    night = night_of().with_frames([*night_of(), blind, lame])
    chosen = night.approved_by("FWHM < 4 && Eccentricity < 0.6").weighed_by("1 + inv(Eccentricity)")
    assert [frame.approved for frame in chosen] == [True, True, True, False, False, False]
    assert chosen[4].reasons == ("no star found",)
    assert chosen[5].reasons == ("Eccentricity could not be measured",)
    assert np.isnan(chosen.weights[4:]).all() and np.isfinite(chosen.weights[:4]).all()
    assert [frame.approved for frame in night.approved_by("true")] == [True] * 4 + [False, True]


def test_truth_what_is_marked_by_hand_stays():
    night = night_of()
    marked = night.with_frames([night[0].mark(False), *night[1:3], night[3].mark(True)]).approved_by("FWHM < 3.4")
    assert [frame.approved for frame in marked] == [False, True, False, True]
    assert marked[0].reasons == ("left out by hand",) and marked[3].reasons == ()


def test_truth_groups_are_looked_at_by_themselves():
    """Frames of another filter have their own best and worst; spellings of one filter are one group."""
    red = [replace(f, meta=f.meta.with_(filter="R"), source=f"r{i}") for i, f in enumerate(night_of())]
    lum = replace(night_of()[1], meta=Meta(filter="Luminance", exposure_s=60.01))
    night = Subframes((*night_of(), *red, lum))
    assert [len(group) for group in night.groups.values()] == [5, 4]
    weights = night.weighed_by(INVERSE).weights
    assert weights[:4] == pytest.approx(weights[4:8]) and weights[8] == pytest.approx(weights[1])


def test_truth_statistics_over_all_or_over_the_approved():
    night = night_of().approved_by("FWHM < 4")
    assert night.weighed_by("inv(FWHM)").weights[2] == pytest.approx(1 - (3.5 - 3.008) / (4.003 - 3.008))
    approved = night.weighed_by("inv(FWHM)", over="approved").weights
    assert approved[2] == 0 and np.isnan(approved[3])


def test_truth_a_frame_that_would_count_for_nothing_is_left_out_with_the_reason():
    chosen = night_of().weighed_by("inv(FWHM)")
    assert list(chosen.weights[[0, 3]]) == [1, 0] and [f.approved for f in chosen] == [True, True, True, False]
    assert chosen[3].reasons == ("no weight: its weight is 0, which counts for nothing",)
    less = chosen.weighed_by("3.4 - FWHM")
    assert [f.approved for f in less] == [True, True, False, False] and np.isnan(less.weights[2:]).all()
    assert "its weight is -0.1, less than 0" in less[2].reasons[0] and len(less[3].reasons) == 1
    by_hand = night_of().with_frames([f.mark(True) for f in night_of()]).weighed_by("inv(FWHM)")
    assert all(frame.approved for frame in by_hand)


def test_truth_another_formula_of_the_weight_takes_back_what_the_first_one_left_out():
    night = night_of().with_frames([*night_of(), frame_of("lame.fits", eccentricity=None)])
    first = night.approved_by("FWHM < 4").weighed_by("Eccentricity")
    again = first.weighed_by("1/Noise^2")
    assert not first[4].approved and again[4].approved and not again[4].reasons
    assert [f.approved for f in again] == [f.approved for f in night.approved_by("FWHM < 4").weighed_by("1/Noise^2")]


def test_truth_a_frame_keeps_its_place_among_those_that_were_given():
    """In another order, and in the formula of a group that begins later."""
    night = SubframeSelector().table(night_of().frames)
    assert night.sorted_by("Noise", descending=True).column("Index").tolist() == [4, 3, 2, 1]
    other = [replace(frame, meta=frame.meta.with_(filter="R")) for frame in night_of()]
    both = SubframeSelector().table([*night_of(), *other]).approved_by("Index > 5")
    assert [frame.approved for frame in both] == [False] * 5 + [True] * 3


def test_truth_sorting_puts_what_is_unknown_last():
    night = Subframes((frame_of("b", 3.0), frame_of("a", None), frame_of("c", 2.0)))
    assert [f.source for f in night.sorted_by("FWHM")] == ["c", "b", "a"]
    assert [f.source for f in night.sorted_by("FWHM", descending=True)] == ["b", "c", "a"]
    assert [f.source for f in night.sorted_by("File")] == ["a", "b", "c"]
    with pytest.raises(ParameterError, match="no column FWHN"):
        night.sorted_by("FWHN")


def test_authority_astropy_and_csv_read_every_figure_back():
    """Full doubles: what comes back is the same to the last bit."""
    noise = [100 / 3, 200 / 7, 1e-5 / 3, 1e17 / 3]
    night = Subframes(tuple(frame_of(f'a, "{i}".fits', noise_dn=n) for i, n in enumerate(noise))).weighed_by("Noise/3")
    table = Table.read(night.to_ecsv(), format="ascii.ecsv")
    assert list(table["Weight"]) == list(night.weights) and str(table["FWHM"].unit) == "pix"
    assert list(table["File"]) == [f.source for f in night] and table.meta["weight"] == "Noise/3"
    plain = Table.read(night.to_csv(), format="ascii.csv")
    assert list(plain["Noise [DN]"]) == noise
    told = json.loads(night.to_json())
    assert [row["Noise"] for row in told["frames"]] == noise and told["units"]["FWHM"] == "px"
    assert told["weight"] == "Noise/3" and told["stats_over"] == "all" and "approve" not in told
    assert told["frames"][0]["Weight"] == night.weights[0] and "Stars" not in told["frames"][0]


def test_truth_frames_of_another_size_are_looked_at_by_themselves():
    night = night_of()
    small = replace(night[0], meta=night[0].meta.with_(shape=(300, 400)))
    whole = [replace(f, meta=f.meta.with_(shape=(600, 800))) for f in night]
    groups = Subframes((*whole, small)).groups
    assert [str(group) for group in groups] == ["L, 60 s, 800 x 600", "L, 60 s, 400 x 300"]
    assert [str(group) for group in night.groups] == ["L, 60 s"]


def test_truth_the_shares_of_a_weight_add_up():
    """The worked frame of the tutorial: 26.487 + 2.958 + 7.576 + 50."""
    lines = night_of().approved_by("FWHM < 4").weighed_by(INVERSE).explained(1)
    terms = [float(line.split()[0]) for line in lines[3:]]
    assert lines[0].startswith("approved") and lines[2].startswith("weight 87.0207")
    assert terms == pytest.approx([26.4874, 2.95754, 7.57576, 50], abs=1e-4) and sum(terms) == pytest.approx(87.02073)


def test_truth_weights_of_exposures_that_are_weighed_among_themselves_are_told():
    long = [replace(f, meta=f.meta.with_(exposure_s=300.0)) for f in night_of()]
    night = Subframes((*night_of(), *long))
    assert "60 s, 300 s are weighed each among themselves" in apart_words(night.weighed_by(INVERSE))[0]
    assert not apart_words(night.weighed_by("1/Noise^2")) and not apart_words(night_of().weighed_by(INVERSE))
    assert "or weigh by PSFScaleSNR" in apart_words(night.weighed_by(INVERSE))[0]
    spelled = [replace(f, meta=f.meta.with_(filter="Luminance")) for f in long]
    assert apart_words(Subframes((*night_of(), *spelled)).weighed_by(INVERSE))[0].startswith("L: 60 s, 300 s are")
    binned = [replace(f, meta=f.meta.with_(binning=(2, 2))) for f in long]  # whose figures no formula compares
    assert apart_words(Subframes((*night_of(), *binned)).weighed_by(INVERSE))[0].endswith("integrate them apart")


def test_truth_a_keyword_that_no_frame_of_a_group_has_is_unknown_there_and_ends_nothing():
    """Found by a night of two cameras, one of which writes no FOCPOS: the formula of both ended in an error."""
    red = [replace(f, meta=f.meta.with_(filter="R")) for f in night_of()]
    told = Subframes((*(replace(f, keywords={"FOCPOS": 7.0}) for f in night_of()), *red))
    chosen = told.approved_by("FOCPOS < 8").weighed_by("1 / FOCPOS")
    assert [f.approved for f in chosen] == 4 * [True] + 4 * [False]
    assert chosen[5].reasons[0] == "FOCPOS could not be measured" and np.isnan(chosen.weights[4:]).all()
    assert list(told.column("FOCPOS")[:4]) == 4 * [7.0] and np.isnan(told.column("FOCPOS")[4:]).all()
    for broken in (told.approved_by, lambda text: told.weighed_by(text.replace("<", "*"))):
        with pytest.raises(ParameterError, match="'FOCPOX' is not known; is it FOCPOS"):
            broken("FOCPOX < 8")


def test_truth_keywords_of_the_headers_are_columns():
    night = night_of()
    told = night.with_frames(replace(f, keywords={"CCD-TEMP": -10.0 - i}) for i, f in enumerate(night))
    assert list(told.column("CCD_TEMP")) == [-10, -11, -12, -13]
    assert [f.approved for f in told.approved_by("CCD_TEMP > -12")] == [True, True, False, False]
    for name in ("CCD-TEMP", "ccdtemp"):
        with pytest.raises(ParameterError, match=f"no column {name}; is it CCD_TEMP"):
            told.column(name)


def test_surface_a_table_shows_itself_in_one_line():
    """What a notebook prints of it."""
    night = night_of().approved_by("FWHM < 4")
    assert repr(night) == "<Subframes: 4 frames, 3 approved>" and repr(night[:1]).endswith("1 frames, 1 approved>")


def test_truth_five_thousand_frames_are_quick():
    """A year's frames: columns, verdicts and the file of the table in a few seconds."""
    night = night_of([TUTORIAL[i % 4] for i in range(5000)])
    started = time.process_time()
    chosen = night.approved_by("FWHM < 4").weighed_by(INVERSE)
    assert len(chosen.to_csv().splitlines()) == 5001 and len(chosen.approved) == 3750
    assert time.process_time() - started < 10
