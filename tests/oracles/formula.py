"""Slow, obvious twins of `masterlight.subframes.formula`: frame by frame, None for what nobody knows."""

import math
import statistics


def counted(values, over):
    return [v for v, counts in zip(values, over, strict=True) if counts and math.isfinite(v)]


def norm(x, values, over):
    low, high = min(counted(values, over)), max(counted(values, over))
    return (x - low) / (high - low) if high > low else 0.0


def inv(x, values, over):
    return 1 - norm(x, values, over)


def rank(x, values, over):
    group = counted(values, over)
    below, alike = sum(v < x for v in group), sum(v == x for v in group)
    return min(max(below + (alike - 1) / 2, 0), len(group) - 1) / max(1, len(group) - 1)


def z(x, values, over):
    group = counted(values, over)
    centre = statistics.median(group)
    mad = 1.4826 * statistics.median([abs(v - centre) for v in group])
    return (x - centre) / mad if mad > 0 else 0.0


def sigma(x, values, over):
    group = counted(values, over)
    centre = statistics.median(group)
    return (x - centre) / (statistics.mean([abs(v - centre) for v in group]) or 1.0)


def both(a, b):
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def either(a, b):
    if a is True or b is True:
        return True
    return None if a is None or b is None else False
