"""From pixels as a file stores them to float32 DN."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def decode_int16(stored, zero, scale, swapped, out):
    """Signed 16-bit integers to DN: `out = zero + scale * stored`.

    stored (rows, cols) uint16: the bits as they lie in the file, bytes in the other order when `swapped`;
    zero, scale float32; out (rows, cols) float32 is filled.
    """
    for y in range(stored.shape[0]):
        if swapped:
            for x in range(stored.shape[1]):
                v = stored[y, x]
                out[y, x] = zero + scale * np.float32(np.int16((v << 8) | (v >> 8)))
        else:
            for x in range(stored.shape[1]):
                out[y, x] = zero + scale * np.float32(np.int16(stored[y, x]))


@njit(nogil=True, cache=True)
def decode_float32(stored, swapped, out):
    """Bits of 32-bit floats to floats; NaN stays NaN.

    stored (rows, cols) uint32: the bits as they lie in the file; out (rows, cols) uint32 view of the float32 result.
    """
    for y in range(stored.shape[0]):
        if swapped:
            for x in range(stored.shape[1]):
                v = stored[y, x]
                low = ((v & np.uint32(0xFF)) << np.uint32(24)) | ((v & np.uint32(0xFF00)) << np.uint32(8))
                high = ((v >> np.uint32(8)) & np.uint32(0xFF00)) | (v >> np.uint32(24))
                out[y, x] = low | high
        else:
            for x in range(stored.shape[1]):
                out[y, x] = stored[y, x]
