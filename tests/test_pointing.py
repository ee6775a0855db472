"""Where lights point: fields far apart are as many master lights, mosaics are one, names that contradict are told."""

from dataclasses import replace

from paper import frames, planned, told

OPTICS = {"pixel_um": 3.76, "focal_mm": 400.0, "shape": (4176, 6248)}
"""A frame of 4 degrees from corner to corner."""


def at(ra_deg, dec_deg, count=5, name="x", **changes):
    """Lights that point there, a few seconds of arc apart."""
    made = frames("light", count, name=f"{name}{ra_deg}_{dec_deg}", **{**OPTICS, **changes})
    step = 0.002  # degrees from light to light: dithered
    return [replace(f, meta=f.meta.with_(ra_deg=ra_deg + step * i, dec_deg=dec_deg)) for i, f in enumerate(made)]


def counts(found):
    return {(job.object, job.field, job.filter): len(job.frames) for job in found.lights}


def test_truth_lights_without_a_name_that_point_far_apart_are_two_fields_in_every_filter():
    found = planned(at(10, 41, 6), at(83, -5, 4), at(83, -5, 3, filter="L"), at(10, 41, 2, filter="L"))
    assert counts(found) == {(None, 1, "Ha"): 6, (None, 2, "Ha"): 4, (None, 1, "L"): 2, (None, 2, "L"): 3}
    assert sorted(" ".join(job.words) for job in found.lights) == ["2 Ha", "2 L", "Ha", "L"]
    assert "the lights without a name (OBJECT) point at 2 fields: 8 at RA 10.0°, Dec +41.0°" in told(found)


def test_truth_one_name_at_two_places_is_told():
    found = planned(at(10, 41, object="M 31"), at(83, -5, 3, object="M 31"), at(200, 0, 4, object="M 64"))
    assert counts(found) == {("M 31", 1, "Ha"): 5, ("M 31", 2, "Ha"): 3, ("M 64", 1, "Ha"): 4}
    assert "lights called M 31 point at 2 fields" in told(found)


def test_truth_panels_of_a_mosaic_across_0_h_and_few_odd_lights_stay_together():
    panels = [at(ra % 360, 60, 4, object="Panel") for ra in (352, 356, 0, 4, 8, 12)]  # 2 degrees on the sky each
    assert counts(planned(*panels)) == {("Panel", 1, "Ha"): 24}
    few = planned(at(10, 41), at(83, -5, 2))
    assert counts(few) == {(None, 1, "Ha"): 7} and "fields" not in told(few)
    silent = planned(at(10, 41), frames("light", 4, name="silent", **OPTICS), at(0, 0, 1))
    assert counts(silent) == {(None, 1, "Ha"): 10}


def test_truth_a_slip_in_a_name_is_told_and_near_targets_are_not():
    found = planned(at(314.7, 44.3, 8, object="NGC 7000"), at(314.7, 44.3, 1, object="NGC 700"))
    assert "1 light called NGC 700 points where the 8 called NGC 7000 do" in told(found)
    nameless = planned(at(10, 41, 3), at(10, 41, 6, object="M 31"))
    assert "3 lights without a name point where the 6 called M 31 do" in told(nameless)
    for other in (at(10.6, 40.9, object="M 32"), at(12, 41, object="M 310")):
        assert "point where" not in told(planned(at(10, 41, 6, object="M 31"), other))
