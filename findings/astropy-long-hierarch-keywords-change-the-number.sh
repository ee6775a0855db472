#!/usr/bin/env bash
# astropy 8.0.2: numbers under HIERARCH keywords of more than fifty letters (instruments and programs write such names).
#
# A guess from memory: where keyword and number do not fit into the 80 letters of a card, this is an error; or, as the
# warning says ("Card is too long, comment will be truncated."), only the comment goes.
# What happens: the card is cut after its 80th letter, wherever that is, and the same warning comes where there is no
# comment. What is left of the number is read as a number: an integer loses its last digits, a real number its exponent.
# Only where the cut falls within the exponent itself does writing the file fail.
#
# Seen (Python 3.11): 53 letters: 1.2345678901234567e-10 is read back as 1.2345678901234
#                     61 letters: 1234567890 is read back as 1234567; a shorter name gives 1234567890
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "astropy==8.0.2" "numpy==2.4.6"

venv/bin/python - <<'PY'
import warnings

from astropy.io import fits


def read_back(keyword, number):
    """What a file gives back for a number under this keyword, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        hdu = fits.PrimaryHDU()
        hdu.header["HIERARCH " + keyword] = number
        hdu.writeto("frame.fits", overwrite=True)
    return fits.getheader("frame.fits")[keyword], {str(w.message) for w in told}


real_name = "OBSERVATORY TELESCOPE DETECTOR LEFT AMPLIFIER NOISE A"
whole_name = "OBSERVATORY TELESCOPE DETECTOR LEFT AMPLIFIER EXPOSURES COUNT"
real, words = read_back(real_name, 1.2345678901234567e-10)
whole, more = read_back(whole_name, 1234567890)
short, none = read_back("OBSERVATORY DETECTOR EXPOSURES COUNT", 1234567890)
print(f"{len(real_name)} letters: 1.2345678901234567e-10 is read back as {real}")
print(f"{len(whole_name)} letters: 1234567890 is read back as {whole}; a shorter name gives {short}")
assert (real, whole, short) == (1.2345678901234, 1234567, 1234567890), "the numbers read back have changed"
assert words == more == {"Card is too long, comment will be truncated."} and not none, "the warnings have changed"
PY
