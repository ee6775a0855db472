"""Where a pixel of the result lies in a source: by a 3x3 matrix, or linear between the nodes of a grid that bends."""

import numpy as np

from masterlight.alignment.warping.weights import LANES, PHASES
from masterlight.compiled import njit
from masterlight.core.statistics.noise import SAFE

MENDS = 5
"""Steps from where an affine map expects a position to where a grid has it; each leaves a few percent of the error."""
NOT_BENT = np.empty((0, 0, 2)), 0, 0, 1
"""The nodes of a transform that its matrix tells in full."""


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def positions(h, x0, y, count, stride, rows, cols, base, px, py):
    """For `count` pixels of row `y`: index of the first tap (-1 near the edge) and table rows of both phases."""
    h0, h1, h2, h3, h4, h5, h6, h7, h8 = h
    u0, v0, z0 = h0 * x0 + h1 * y + h2, h3 * x0 + h4 * y + h5, h6 * x0 + h7 * y + h8
    for i in range(count):
        q = 1.0 / (h6 * i + z0)
        u = (h0 * i + u0) * q
        v = (h3 * i + v0) * q
        iu, iv = np.floor(u), np.floor(v)
        inside = (iu >= 4.0) & (iu < cols - 7.0) & (iv >= 4.0) & (iv < rows - 5.0)
        base[i] = np.int64((iv - 4.0) * stride + (iu - 4.0) if inside else -1.0)
        px[i] = np.int64((u - iu) * PHASES + 0.5 if inside else 0.0) * LANES
        py[i] = np.int64((v - iv) * PHASES + 0.5 if inside else 0.0) * LANES


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def bent_positions(bent, x0, y, count, stride, rows, cols, base, px, py):
    """As `positions`, linear between the nodes of a grid."""
    nodes, left, top, step = bent
    i, j = 0, (y - top) // step
    lower = (y - top - j * step) / step
    upper = 1.0 - lower
    while i < count:
        k = (x0 + i - left) // step
        start = x0 + i - left - k * step
        n = min(count - i, step - start)
        u, v = nodes[j, k, 0] * upper + nodes[j + 1, k, 0] * lower, nodes[j, k, 1] * upper + nodes[j + 1, k, 1] * lower
        du = (nodes[j, k + 1, 0] * upper + nodes[j + 1, k + 1, 0] * lower - u) / step
        dv = (nodes[j, k + 1, 1] * upper + nodes[j + 1, k + 1, 1] * lower - v) / step
        place(u + du * start, v + dv * start, du, dv, i, n, stride, rows, cols, base, px, py)
        i += n


@njit(nogil=True, cache=True, fastmath=SAFE, error_model="numpy", forceinline=True)
def place(u0, v0, du, dv, i, count, stride, rows, cols, base, px, py):
    """First taps and phases, as of `positions`, of the pixels i .. i + count, whose positions are evenly spaced."""
    for m in range(count):
        u, v = u0 + du * m, v0 + dv * m
        iu, iv = np.floor(u), np.floor(v)
        inside = (iu >= 4.0) & (iu < cols - 7.0) & (iv >= 4.0) & (iv < rows - 5.0)
        base[i + m] = np.int64((iv - 4.0) * stride + (iu - 4.0) if inside else -1.0)
        px[i + m] = np.int64((u - iu) * PHASES + 0.5 if inside else 0.0) * LANES
        py[i + m] = np.int64((v - iv) * PHASES + 0.5 if inside else 0.0) * LANES


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def source_at(h, bent, x, y):
    """Position (u, v) in the source of a pixel of `out`: by the matrix, or linear between the nodes if there are any.

    bent: nodes (ny, nx, 2) px of the source, the pixel (x, y) of `out` where the first lies, and their distance in px.
    """
    nodes, left, top, step = bent
    if nodes.size == 0:
        z = h[6] * x + h[7] * y + h[8]
        return (h[0] * x + h[1] * y + h[2]) / z, (h[3] * x + h[4] * y + h[5]) / z
    k = min(max(int(np.floor((x - left) / step)), 0), nodes.shape[1] - 2)
    j = min(max(int(np.floor((y - top) / step)), 0), nodes.shape[0] - 2)
    across, down = (x - left - k * step) / step, (y - top - j * step) / step
    w0, w1, w2, w3 = (1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down
    a, b, c, d = nodes[j, k], nodes[j, k + 1], nodes[j + 1, k], nodes[j + 1, k + 1]
    return (
        w0 * a[0] + w1 * b[0] + w2 * c[0] + w3 * d[0],
        w0 * a[1] + w1 * b[1] + w2 * c[1] + w3 * d[1],
    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def result_at(there, back, bent, u, v):
    """Where a position of the source lies in the result: by the inverse matrix, mended on the nodes if any."""
    z = back[6] * u + back[7] * v + back[8]
    x, y = (back[0] * u + back[1] * v + back[2]) / z, (back[3] * u + back[4] * v + back[5]) / z
    for _ in range(MENDS if bent[0].size else 0):
        near_u, near_v = source_at(there, bent, x, y)
        x += back[0] * (u - near_u) + back[1] * (v - near_v)
        y += back[3] * (u - near_u) + back[4] * (v - near_v)
    return x, y


def nodes_of(grid, before: np.ndarray, out_x: int, out_y: int) -> tuple[np.ndarray, int, int, int]:
    """A `Grid` as kernels take it: nodes in a turned box of the source, where the first lies in `out`, their distance.

    before: 3x3, affine, from the source to the box as it is turned.
    """
    nodes = grid.positions @ before[:2, :2].T + before[:2, 2]
    return np.ascontiguousarray(nodes), grid.x0 - int(out_x), grid.y0 - int(out_y), int(grid.step_px)
