"""Flags of earlier versions."""

from masterlight.doors.flags import successor


def test_bad_flags_of_earlier_versions_name_their_successor():
    assert successor("--integrate.rejection.percentile-low") == (
        "--integrate.rejection.percentile-low is no more; --integrate.rejection.low took its place"
    )
    assert successor("--rejection.linear-fit-high").endswith("; --rejection.high took its place")
    assert successor("--rejection.profile") == "--rejection.profile is no more"
    assert successor("--rejection.low") == ""
