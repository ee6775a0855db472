#!/usr/bin/env bash
# astropy 8.0.2: texts such as 'NGC: 7000' or 'Ha: 3' in a FITS header.
#
# A guess from memory: header["OBJECT"] = "NGC: 7000" makes a card OBJECT with this text, and whoever walks over the
# keywords finds OBJECT.
# What happens: "word: number" has the form of a record-valued card, so the keyword is listed as OBJECT.NGC. A lookup of
# OBJECT still finds the text, but walking over the header does not give the name OBJECT; dict(header) loses it and holds
# the float 7000.0 under OBJECT.NGC; and a copy made keyword by keyword changes the text into 'NGC: 7000.0'. It is the
# same when the card is read from a file. Targets and filters are typed by people, so such texts happen. A blank
# behind the number keeps the card a text.
#
# Seen (Python 3.11):
#   keywords: ['OBJECT.NGC', 'FILTER.Ha']; OBJECT is 'NGC: 7000'
#   dict:     {'OBJECT.NGC': 7000.0, 'FILTER.Ha': 3.0}
#   a copy keyword by keyword: OBJECT is 'NGC: 7000.0'
#   with a blank behind: ['OBJECT']
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "astropy==8.0.2"

venv/bin/python - <<'PY'
from astropy.io import fits

header = fits.Header()
header["OBJECT"], header["FILTER"] = "NGC: 7000", "Ha: 3"
print("keywords:", list(header), "OBJECT is", repr(header["OBJECT"]))
assert list(header) == ["OBJECT.NGC", "FILTER.Ha"] and header["OBJECT"] == "NGC: 7000"
print("dict:    ", dict(header))
assert dict(header) == {"OBJECT.NGC": 7000.0, "FILTER.Ha": 3.0}
fits.PrimaryHDU(header=header).writeto("light.fits")
read = fits.getheader("light.fits")
copy = fits.Header()
for key in read:
    if key.startswith(("OBJECT", "FILTER")):
        copy[key] = read[key]
print("a copy keyword by keyword: OBJECT is", repr(copy["OBJECT"]))
assert copy["OBJECT"] == "NGC: 7000.0"
plain = fits.Header()
plain["OBJECT"] = "NGC: 7000 "
print("with a blank behind:", list(plain))
assert list(plain) == ["OBJECT"]
PY
