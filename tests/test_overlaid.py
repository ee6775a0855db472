"""Frames of one target laid on each other before a reference was chosen."""

import numpy as np
from weather import Weather, jump, night_table, through

from masterlight.alignment.overlaid import places_of


def test_truth_frames_lie_where_the_mount_pointed_and_strangers_nowhere():
    weather = Weather(1, lights=8, meridian_flip=True, dither_px=20.0)
    weather.spoil, weather.others = {5: through(0.5)}, {3: Weather(99, lights=8)}
    stars = [frame.stars for frame in night_table(weather)]
    at, places = places_of([*stars, None, stars[0][:0]])
    assert at in (0, 1, 2, 4, 6, 7) and [i for i, place in enumerate(places) if place is None] == [3, 8, 9]
    back, corners = np.linalg.inv(weather.pointing(at).matrix), np.array([[0, 599, 0, 599], [0, 0, 479, 479], [1] * 4])
    for i in (0, 1, 2, 4, 5, 6, 7):
        true, found = weather.pointing(i).matrix @ back @ corners, places[i] @ corners
        assert np.abs(true - found / found[2])[:2].max() < 0.3


def test_truth_a_frame_whose_stars_stand_twice_is_not_the_one_that_others_are_laid_on():
    weather = Weather(2, lights=5)
    weather.veil = {2: jump(14, 9, 0.4)}
    stars = [frame.stars for frame in night_table(weather)]
    assert len(stars[2]) == max(map(len, stars))
    at, places = places_of(stars)
    assert at != 2 and all(place is not None for place in places)
    assert places_of([stars[2], None])[0] == 0  # unless there is no other


def test_truth_the_field_of_most_frames_is_the_one():
    weather, other = Weather(1, lights=3, stars=150), Weather(99, lights=3, stars=400)
    stars = [frame.stars for frame in (*night_table(weather), night_table(other)[0])]
    at, places = places_of(stars)
    assert at in (0, 1, 2) and places[3] is None and all(place is not None for place in places[:3])
    assert places_of([]) == (0, []) and places_of([None, None])[1] == [None, None]
