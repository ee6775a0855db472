#!/usr/bin/env bash
# tifffile 2026.3.3 writing a TIFF with a description, as programs that keep FITS cards in it do.
#
# A guess from memory: a TIFF page has each tag once, so `imwrite(..., description=text)` gives one ImageDescription
# (270) that holds the text, and a dictionary of the page's tags by their number or name holds all of them.
# What happens: the page gets two ImageDescription tags, the text and then tifffile's own JSON with the shape. Readers
# that take the first (page.description) see the text; a dictionary made of `page.tags`, where the later one wins, and Pillow
# 12.0.0 hold the JSON alone, and exposure, filter and kind of frame are lost. `metadata=None` leaves the JSON out.
#
# Seen (Python 3.11):
#   tags 270: ['EXPTIME = 60', '{"shape": [8, 9]}']; by code: {"shape": [8, 9]}; first: EXPTIME = 60;
#   Pillow: {"shape": [8, 9]}; with metadata=None: ['EXPTIME = 60']
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "tifffile==2026.3.3" "numpy==2.4.6" "pillow==12.0.0"

venv/bin/python - <<'PY'
import numpy as np
import tifffile
from PIL import Image

text, dark = "EXPTIME = 60", np.zeros((8, 9), np.uint16)
tifffile.imwrite("dark.tif", dark, description=text)
tifffile.imwrite("plain.tif", dark, description=text, metadata=None)
with tifffile.TiffFile("dark.tif") as file, tifffile.TiffFile("plain.tif") as plain:
    page = file.pages[0]
    twice = [tag.value for tag in page.tags if tag.code == 270]
    by_code = {tag.code: tag.value for tag in page.tags}[270]
    once = [tag.value for tag in plain.pages[0].tags if tag.code == 270]
    first = page.description
pillow = Image.open("dark.tif").tag_v2[270]
print(f"tags 270: {twice}; by code: {by_code}; first: {first}; Pillow: {pillow}; with metadata=None: {once}")
assert twice == [text, '{"shape": [8, 9]}'] and by_code == '{"shape": [8, 9]}'
assert pillow == by_code and first == text and once == [text]
PY
