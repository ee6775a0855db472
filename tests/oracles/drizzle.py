"""Drizzle, slow and obvious: every drop is a polygon, cut by the four sides of every output pixel."""

import numpy as np


def clipped(polygon, axis, limit, keep_below):
    """The part of a polygon on one side of a line that is parallel to an axis (Sutherland and Hodgman 1974)."""
    out = []
    for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        inside_a, inside_b = ((p[axis] <= limit) if keep_below else (p[axis] >= limit) for p in (a, b))
        if inside_a:
            out.append(a)
        if inside_a != inside_b:
            t = (limit - a[axis]) / (b[axis] - a[axis])
            out.append(a + t * (b - a))
    return out


def area(polygon):
    """By the shoelace formula, without sign."""
    if len(polygon) < 3:
        return 0.0
    x, y = np.array(polygon).T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def overlap(polygon, x, y):
    """Area that a polygon shares with the output pixel (x, y), a unit square about its centre."""
    for axis, centre in ((0, x), (1, y)):
        polygon = clipped(polygon, axis, centre + 0.5, True)
        polygon = clipped(polygon, axis, centre - 0.5, False)
    return area(polygon)


def corners(matrix, scale, x, y, drop):
    """The corners of a drop on the output grid: through the inverse of the matrix, then onto the finer grid."""
    found = []
    for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        u, v, z = np.linalg.inv(matrix) @ (x + dx * drop / 2, y + dy * drop / 2, 1.0)
        found.append((np.array([u / z, v / z]) + 0.5) * scale - 0.5)
    return found


def drizzle(images, matrices, shape, scale, drop, weights, variances):
    """Square drops of all images on `shape`: image, variance, weight in source pixel areas, number of images."""
    value, weight, variance = (np.zeros(shape) for _ in range(3))
    count = np.zeros(shape, int)
    for image, matrix, w, sigma2 in zip(images, matrices, weights, variances, strict=True):
        touched = np.zeros(shape, bool)
        for v, u in np.argwhere(np.isfinite(image)):
            polygon = corners(matrix, scale, u, v, drop)
            whole = area(polygon)
            low, high = np.floor(np.min(polygon, axis=0)), np.ceil(np.max(polygon, axis=0))
            for y in range(max(0, int(low[1])), min(shape[0], int(high[1]) + 1)):
                for x in range(max(0, int(low[0])), min(shape[1], int(high[0]) + 1)):
                    a = overlap(polygon, x, y) / whole * drop**2
                    if a > 1e-6 * drop**2:
                        touched[y, x] = True
                        value[y, x] += a * w * image[v, u]
                        weight[y, x] += a * w
                        variance[y, x] += (a * w) ** 2 * sigma2
        count += touched
    with np.errstate(divide="ignore", invalid="ignore"):
        return value / weight, variance / weight**2, weight, count
