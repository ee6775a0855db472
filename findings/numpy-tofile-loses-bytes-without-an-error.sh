#!/usr/bin/env bash
# numpy 2.4.6: ndarray.tofile(path) where the file system does not take all bytes.
#
# A guess from memory: tofile writes all of the array or raises OSError with the system's errno, as file.write does.
# What happens: bytes that are still in the C library's buffer when the file is closed are lost without an error, since
# the result of that last flush is not looked at. So a small array on a full disk, or under a limit on the size of files,
# leaves a short file and no word. Where the failure shows earlier (an array larger than the buffer), the OSError has
# errno None, so that a full disk cannot be told from anything else. A writer that must not lose pixels opens the file
# itself, unbuffered, and writes memoryview(array) until nothing is left, then syncs it.
#
# Seen (Python 3.11, Linux), limit of 1,000 bytes on the size of files:
#   tofile of 3,200 bytes: no error, 1,000 bytes in the file
#   tofile of 800,000 bytes: OSError, errno None
#   file.write of 3,200 bytes, unbuffered: takes 1,000, the next write raises OSError EFBIG
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "numpy==2.4.6"

venv/bin/python - <<'PY'
import errno
import os
import resource

import numpy as np

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))  # Python ignores SIGXFSZ
np.zeros(400).tofile("small.bin")
print("tofile of 3,200 bytes: no error,", os.path.getsize("small.bin"), "bytes in the file")
assert os.path.getsize("small.bin") == 1000
try:
    np.zeros(100_000).tofile("large.bin")
except OSError as error:
    print("tofile of 800,000 bytes:", type(error).__name__, "errno", error.errno)
    assert error.errno is None
else:
    raise AssertionError("tofile did not complain")
with open("plain.bin", "wb", buffering=0) as file:
    data = memoryview(np.zeros(400)).cast("B")
    taken = file.write(data)
    assert taken == 1000
    try:
        file.write(data[taken:])
    except OSError as error:
        print("file.write: took", taken, "then", errno.errorcode[error.errno])
        assert error.errno == errno.EFBIG
PY
