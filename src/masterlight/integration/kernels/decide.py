"""Rejection by the ranked algorithms: what becomes of each sample of a tile.

Apart from `rejection`, which is compiled for every run; these are compiled when they are first asked for.
"""

import numpy as np
from numba import njit

from masterlight.integration.kernels import ranked
from masterlight.integration.kernels.rejection import LOOSE, bound, load, make_scratch, mark, sort
from masterlight.integration.kernels.spread import ESD, INFINITY, LANES, LINEAR, modelled_sigma


@njit(nogil=True, cache=True, error_model="numpy")
def judge_ranks(rule, tables, lanes, zero, count, first, last, work, slope, limits, apart):
    """Find the survivors lanes[first:last] of 64 sorted lanes by the algorithms of `ranked`; limits as for `judge`.

    Loose frames are judged by 3 sigma of the survivors about their median, or by the table's distance; limits are told
    only where `apart` (64,) says that there are some.
    """
    floor, low, high = np.zeros(LANES, np.float32), np.float32(rule.low), np.float32(rule.high)
    low, high = low if rule.clip_low else INFINITY, high if rule.clip_high else INFINITY
    for lane in range(LANES if rule.floor > 0 else 0):
        if count[lane] > 0:
            centre = np.float32(0.5) * (lanes[(count[lane] - 1) >> 1, lane] + lanes[count[lane] >> 1, lane])
            floor[lane] = modelled_sigma(rule, rule.floor * rule.floor, centre - zero[lane])
    if rule.algorithm == LINEAR:
        ranked.linear_fit(lanes, count, first, last, slope, low, high, rule.passes, rule.keep_fraction, floor, work)
    elif rule.algorithm == ESD:
        critical, fraction, relaxation = tables.critical, rule.esd_fraction, rule.esd_relaxation
        ranked.esd(lanes, count, first, last, critical, fraction, relaxation, floor, rule.clip_low, rule.clip_high)
    else:
        keep_fraction, z_limit = rule.keep_fraction, tables.z_limit
        ranked.chauvenet(lanes, count, first, last, z_limit, keep_fraction, rule.clip_low, rule.clip_high, floor)
    for lane in range(LANES):
        a, b = first[lane], last[lane]
        if b - a > 2 and apart[lane] > 0:
            left = lanes[a:b, lane]
            far = np.float32(3) if rule.algorithm == LINEAR else max(tables.critical[-1], tables.z_limit[-1])
            sigma = max(np.float32(np.std(left) * np.sqrt((b - a) / (b - a - 1.0))), floor[lane])
            limits[0, lane] = np.float32(0.5) * (left[(b - a - 1) >> 1] + left[(b - a) >> 1])
            limits[1, lane] = far * sigma if rule.clip_low else INFINITY
            limits[2, lane] = far * sigma if rule.clip_high else INFINITY


@njit(nogil=True, cache=True, error_model="numpy")
def by_rank(judged, zero, columns, rule, tables, code, slope):
    """Fill code (N, pixels) uint8 with KEPT, LOW, HIGH or MISSING for each sample, by linear fit, ESD or Chauvenet.

    judged (N, pixels) float32, zero (pixels,) and columns as for `combine.integrate`; slope (pixels,) float32, or of
    size 0, gets the slope of the fitted lines.
    """
    n, pixels = judged.shape
    scratch, steep, ground = make_scratch(n), np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    scale, offset, loose = columns.reject_scale, columns.reject_offset, columns.loose
    count, first, last = scratch.index[0], scratch.index[1], scratch.index[2]
    looked, found = np.full((n, LANES), np.float32(np.nan)), np.empty((n, LANES), np.uint8)
    work = np.zeros(max(n, 8) * LANES, np.float32)
    bounds = scratch.bounds
    loosest = np.float32(loose.max() > LOOSE)
    for start in range(0, pixels, LANES):
        stop = min(start + LANES, pixels)
        looked[:, : stop - start], ground[: stop - start] = judged[:, start:stop], zero[start:stop]
        looked[:, stop - start :] = np.nan
        bounds[0], bounds[1], bounds[2] = -INFINITY, INFINITY, np.float32(0)
        bounds[3:5], bounds[5] = INFINITY, np.float32(0)
        load(looked, scale, offset, loose, rule, scratch.lanes, count, bounds[5])
        sort(scratch.lanes, n)
        apart = bounds[5] * loosest
        judge_ranks(rule, tables, scratch.lanes, ground, count, first, last, work, steep, bounds[2:5], apart)
        bound(scratch.lanes, first, last, bounds)
        mark(looked, scale, offset, loose, rule, bounds, found)
        code[:, start:stop] = found[:, : stop - start]
        if slope.size:
            slope[start:stop] = steep[: stop - start]
