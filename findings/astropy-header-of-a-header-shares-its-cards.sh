#!/usr/bin/env bash
# astropy 8.0.2: the header of a master made from that of a frame by `fits.Header(header)`.
#
# A guess from memory: like list(x) or dict(x), this gives a header of its own; or, where it shares with the first one,
# it shares all of it.
# What happens: half of it is shared. The cards are the same objects, so a changed value or comment changes the frame's
# header too; the list of cards is not, so keywords that are added or deleted stay where they were. `header.copy()`, or
# `fits.Header(header, copy=True)`, shares nothing.
#
# Seen (Python 3.11): after changes to the new header the old one has EXPTIME 1.0, OBJECT True, NCOMBINE False; of a copy 60.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "astropy==8.0.2" "numpy==2.4.6"

venv/bin/python - <<'PY'
from astropy.io import fits

frame = fits.Header([("EXPTIME", 60.0), ("OBJECT", "M31")])
own = frame.copy()
own["EXPTIME"] = 1.0
kept = frame["EXPTIME"]
master = fits.Header(frame)
master["EXPTIME"] = 1.0
master["NCOMBINE"] = 20
del master["OBJECT"]
told = frame["EXPTIME"], "OBJECT" in frame, "NCOMBINE" in frame
print("after changes to the new header the old one has EXPTIME {}, OBJECT {}, NCOMBINE {}; of a copy {}".format(*told, kept))
assert told == (1.0, True, False) and kept == 60.0
PY
