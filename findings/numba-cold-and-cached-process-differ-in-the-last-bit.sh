#!/usr/bin/env bash
# numba 0.68.1 (llvmlite 0.50.0, numpy 2.4.6), functions with cache=True, one of them with fastmath.
#
# A guess from memory: a function that numba loads from its cache is the function that it compiled, so the first
# process, which compiles, and all later ones compute the same bits.
# What happens: they may not. A chain each -> search -> chi_square, the last one with fastmath (contract, reassoc, nsz).
# In the process that compiles, `each` calls the `search` that was compiled by itself; the file in the cache holds
# `each` with its own copies of both, which were optimized once more after they had been linked together, and a process
# that loads it runs these copies (all of them have the same weak symbol, and the first one that is loaded is taken).
# With fastmath the second round of optimization may order sums in another way. For the same reason it can matter in
# which order functions are first called. With forceinline=True on what is called, there is no second copy, and both
# processes agree.
#
# Seen (Python 3.11, x86-64 with AVX-512): sums of 500 results as integers, three processes
#   plain:        A B B    A and B differ
#   forceinline:  B B B
# The difference needs instructions that can be ordered otherwise: it was looked for on x86-64 only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "numba==0.68.1" "llvmlite==0.50.0" "numpy==2.4.6"

cat > chain.py <<'PY'
import sys

import numpy as np
from numba import njit

inlined = {"forceinline": True} if sys.argv[1] == "forceinline" else {}


@njit(cache=True, fastmath={"contract", "reassoc", "nsz"}, **inlined)
def chi_square(p, x, value, weight, h):
    total = 0.0
    for i in range(x.size):
        r = value[i] - p[0] - p[1] * x[i] - p[2] * x[i] * x[i]
        total += weight[i] * r * r
    for k in range(3):
        for l in range(3):
            s = 0.0
            for i in range(x.size):
                s += weight[i] * x[i] ** k * x[i] ** l
            h[k, l] = s
    return total


@njit(cache=True, **inlined)
def search(p, x, value, weight, h):
    best = chi_square(p, x, value, weight, h)
    trial = p.copy()
    for step in range(20):
        trial[:] = p + 0.1 * (step % 5 - 2)
        found = chi_square(trial, x, value, weight, h)
        if found < best:
            best = found
            p[:] = trial
    return best + h.sum()


@njit(cache=True)
def each(ps, x, values, weight, out):
    h = np.empty((3, 3))
    for s in range(ps.shape[0]):
        out[s] = search(ps[s], x, values[s], weight, h)


rng = np.random.default_rng(1)
x, weight = rng.normal(size=61), rng.uniform(size=61)
values, ps, out = rng.normal(size=(500, 61)), rng.normal(size=(500, 3)), np.empty(500)
each(ps, x, values, weight, out)
print(out.view(np.uint64).sum())
PY

for how in plain forceinline; do
  export NUMBA_CACHE_DIR="$work/cache-$how"
  first=$(venv/bin/python chain.py "$how")
  second=$(venv/bin/python chain.py "$how")
  third=$(venv/bin/python chain.py "$how")
  echo "$how: $first $second $third"
  test "$second" = "$third"
  if [ "$how" = plain ]; then test "$first" != "$second"; else test "$first" = "$second"; fi
done
