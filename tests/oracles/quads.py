"""Quad codes and votes, slow and obvious."""

from itertools import combinations, permutations

import numpy as np


def quad_codes(xy, quad):
    """(star indices in code order, code, longest side) of one quad, by trying every order of its stars."""
    z = xy[:, 0] + 1j * xy[:, 1]
    longest = max(abs(z[i] - z[j]) for i, j in combinations(quad, 2))
    for a, b, c, d in permutations(sorted(quad)):
        if abs(z[a] - z[b]) < longest:
            continue
        wc, wd = (z[c] - z[a]) / (z[b] - z[a]), (z[d] - z[a]) / (z[b] - z[a])
        if wc.real <= wd.real and wc.real + wd.real <= 1:
            return (a, b, c, d), (wc.real, wc.imag, wd.real, wd.imag), longest
    return None


def votes(points, turn):
    """Neighbours within 1.5 of each point; the second column wraps."""
    difference = np.abs(points[:, None] - points[None])
    difference[..., 1] = np.minimum(difference[..., 1], turn - difference[..., 1])
    return ((difference**2).sum(axis=-1) < 2.25).sum(axis=1) - 1
