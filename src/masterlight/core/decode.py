"""From pixels as a file stores them to float32 DN, and sums by which stored rows are known again."""

import numpy as np

from masterlight.compiled import njit


@njit(nogil=True, cache=True, inline="always")
def decode_row(stored, swapped, a, b, line):
    """line = b + a * stored, with the bytes of 16-bit samples exchanged first when `swapped`."""
    if swapped:
        for x in range(line.size):
            v = np.uint16(stored[x])
            line[x] = np.float32(np.int16(np.uint16((v >> np.uint16(8)) | (v << np.uint16(8))))) * a + b
    else:
        for x in range(line.size):
            line[x] = np.float32(stored[x]) * a + b


@njit(nogil=True, cache=True)
def decode_int16(stored, zero, scale, swapped, out):
    """Signed 16-bit integers to DN: `out = zero + scale * stored`.

    stored (rows, cols) int16 as they lie in the file, bytes in the other order when `swapped`; zero, scale float32;
    out (rows, cols) float32 is filled.
    """
    for y in range(stored.shape[0]):
        decode_row(stored[y], swapped, scale, zero, out[y])


@njit(nogil=True, cache=True, inline="always")
def finite_bits(bits):
    """Bits of a 32-bit float, or of NaN where it is infinite."""
    return np.uint32(0x7FC00000) if bits & np.uint32(0x7FFFFFFF) == np.uint32(0x7F800000) else bits


@njit(nogil=True, cache=True)
def decode_float32(stored, swapped, out):
    """Bits of 32-bit floats to floats; NaN stays NaN, and what is infinite is missing as well: it was divided by 0.

    stored (rows, cols) uint32: the bits as they lie in the file; out (rows, cols) uint32 view of the float32 result.
    """
    for y in range(stored.shape[0]):
        if swapped:
            for x in range(stored.shape[1]):
                v = stored[y, x]
                low = ((v & np.uint32(0xFF)) << np.uint32(24)) | ((v & np.uint32(0xFF00)) << np.uint32(8))
                high = ((v >> np.uint32(8)) & np.uint32(0xFF00)) | (v >> np.uint32(24))
                out[y, x] = finite_bits(low | high)
        else:
            for x in range(stored.shape[1]):
                out[y, x] = finite_bits(stored[y, x])


@njit(nogil=True, cache=True)
def row_sums(stored, sums):
    """What tells a row of stored samples from any that differs from it in one sample, or in the order of two.

    stored (rows, n) unsigned integers of up to 32 bits; sums (rows,) uint32 is filled, with 0 nowhere.
    """
    for y in range(stored.shape[0]):
        total = np.uint64(0)
        for x in range(stored.shape[1]):
            total += np.uint64(stored[y, x]) * np.uint64(np.uint32(2 * x + 1))
        sums[y] = max(np.uint32(1), np.uint32(total & np.uint64(0xFFFFFFFF)) ^ np.uint32(total >> np.uint64(32)))
