"""What a stack tells of itself."""

import numpy as np

from masterlight.integration.stack import Stack, Trail


def trail(*ends, width_px=10.0):
    return Trail(*ends, width_px, 9.0, 0.1)


def test_truth_a_satellite_is_told_once_in_however_many_planes_and_pieces_it_was_found():
    whole, turned = trail(0, 10, 800, 410), trail(801, 412, 1, 9)
    piece, other = trail(300, 163, 500, 258), trail(0, 410, 800, 10)
    beside = trail(0, 40, 800, 440)
    found = (("a", 0, piece), ("a", 0, whole), ("a", 1, turned), ("a", 2, other), ("b", 0, whole), ("a", 0, beside))
    stack = Stack(np.zeros((4, 4)), None, None, None, None, frames=(), n=3, trails=found)
    assert stack.satellites == (("a", turned), ("a", other), ("b", whole), ("a", beside))
