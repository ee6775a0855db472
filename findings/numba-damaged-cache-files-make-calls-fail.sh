#!/usr/bin/env bash
# numba 0.68.1 (llvmlite 0.50.0): njit(cache=True) whose files in the cache were cut, as after a full disk or a power cut.
#
# A guess from memory: a cache is an offer; what cannot be read from it is compiled again.
# What happens: an index file (.nbi) of no bytes makes the call of the function raise EOFError, a cut data file (.nbc)
# pickle's UnpicklingError or EOFError, in every process from then on, until somebody deletes the files. (A folder
# without room makes the first call raise OSError in the same way.) A program that ships cached kernels has to catch
# that around its cache, or a disk that was full once stops it for good.
#
# Seen (Python 3.11):
#   whole cache:  3
#   empty index:  EOFError
#   cut data:     UnpicklingError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "numba==0.68.1" "llvmlite==0.50.0" "numpy==2.4.6"

cat > kernel.py <<'PY'
from numba import njit


@njit(cache=True)
def add(a, b):
    return a + b


try:
    print(add(1, 2))
except Exception as error:
    print(type(error).__name__)
PY
export NUMBA_CACHE_DIR="$work/cache"
venv/bin/python kernel.py > /dev/null
echo "whole cache: $(venv/bin/python kernel.py)"
test "$(venv/bin/python kernel.py)" = 3
index=$(find cache -name '*.nbi')
data=$(find cache -name '*.nbc')
cp "$index" kept.nbi
: > "$index"
empty=$(venv/bin/python kernel.py)
echo "empty index: $empty"
cp kept.nbi "$index"
truncate -s 100 "$data"
cut=$(venv/bin/python kernel.py)
echo "cut data: $cut"
test "$empty" = EOFError
test "$cut" = UnpicklingError || test "$cut" = EOFError
