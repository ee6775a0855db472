"""Rejection by the ranked algorithms and by the rules of other programs: what becomes of each sample of a tile.

Apart from `rejection`, which is compiled for every run; these are compiled when they are first asked for.
"""

import numpy as np
from numba import njit

from masterlight.integration.kernels import profiles, ranked
from masterlight.integration.kernels.rejection import HIGH, LOOSE, LOW, MISSING, bound, load, make_scratch, mark, sort
from masterlight.integration.kernels.spread import ESD, INFINITY, LANES, LINEAR, expected


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
            floor[lane] = expected(rule, rule.floor * rule.floor, centre - zero[lane])
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


@njit(nogil=True, cache=True, error_model="numpy")
def by_profile(judged, columns, rule, tables, code, slope, replaced):
    """Fill code (N, pixels) uint8 with KEPT, LOW, HIGH or MISSING for each sample, as another program would judge it.

    replaced (pixels,) float64 gets what takes the place of the samples rejected, NaN for most algorithms; it is on the
    scale of rejection. Otherwise as `by_rank`. PixInsight's rules see DN of 16 bits as it does, from 0 to 1.
    """
    n, pixels = judged.shape
    white = profiles.WHITE if rule.profile == profiles.PI19 or rule.profile == profiles.PI24 else 1.0
    range_low, range_high = np.float32(rule.range_low), np.float32(rule.range_high)
    values, verdict, who = np.empty(n), np.empty(n, np.uint8), np.empty(n, np.int64)
    for p in range(pixels):
        m = 0
        for i in range(n):
            x = judged[i, p]
            code[i, p] = LOW if x <= range_low else (HIGH if x >= range_high else MISSING)
            if range_low < x < range_high:
                values[m], who[m] = (columns.reject_scale[i] * x + columns.reject_offset[i]) / white, i
                m += 1
        found, replaced[p] = profiles.judge(
            rule.profile, rule.algorithm, values[:m], tables.params, verdict[:m], tables.critical
        )
        for j in range(m):
            code[who[j], p] = verdict[j]
        if slope.size:
            slope[p] = max(found, 0.0)


@njit(nogil=True, cache=True, error_model="numpy")
def put_back(samples, judged, code, replaced, columns, rule, image):
    """The weighted mean of kept samples and of what was put in the place of rejected ones, into `image` (pixels,)."""
    range_low, range_high = np.float32(rule.range_low), np.float32(rule.range_high)
    for p in range(replaced.size):
        if replaced[p] == replaced[p]:
            total, whole = 0.0, 0.0
            for i in range(samples.shape[0]):
                w, x = np.float64(columns.weight[i]), judged[i, p]
                if code[i, p] == LOW or code[i, p] == HIGH:
                    inside = range_low < x < range_high
                    total, whole = total + inside * w * replaced[p], whole + inside * w
                elif code[i, p] != MISSING:
                    g = np.float64(columns.scale[i]) * samples[i, p] + columns.offset[i]
                    total, whole = total + w * g, whole + w
            image[p] = total / whole
