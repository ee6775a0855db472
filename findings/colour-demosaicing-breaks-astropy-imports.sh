#!/usr/bin/env bash
# colour-demosaicing 0.2.7 (with colour-science 0.4.7) in an environment without matplotlib, then astropy 8.0.2.
#
# A guess from memory: an optional plotting library that is missing costs a warning, and other packages do not notice.
# What happens: importing colour_demosaicing imports `colour`, which puts MagicMock objects named matplotlib,
# matplotlib.pyplot ... into sys.modules. They have no __spec__, so importlib.util.find_spec("matplotlib"), by which
# astropy asks for its optional dependencies, raises ValueError instead of giving None. From then on astropy.wcs,
# astropy.nddata and all that need them (ccdproc) cannot be imported any more in that process. The other order saves
# only what was imported before: astropy.visualization fails after it all the same.
#
# Seen (Python 3.11):
#   colour first:  matplotlib is a MagicMock; find_spec: ValueError: matplotlib.__spec__ is not set
#                  astropy.wcs: ValueError; astropy.nddata: ValueError
#                  after the false modules are taken out of sys.modules: astropy.wcs and astropy.nddata are imported
#   astropy.wcs and astropy.nddata first: these are fine, astropy.visualization after colour: ValueError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  "colour-demosaicing==0.2.7" "colour-science==0.4.7" "astropy==8.0.2"

cat > colour_first.py <<'PY'
import importlib
import importlib.util
import sys
import warnings
from unittest.mock import MagicMock

warnings.simplefilter("ignore")
import colour_demosaicing  # noqa: E402

assert isinstance(sys.modules["matplotlib"], MagicMock), "matplotlib is no longer a stand-in"


def outcome(what):
    try:
        what()
    except ValueError as error:
        return f"ValueError: {error}"
    return "fine"


def missing():
    return importlib.util.find_spec("matplotlib")


print("find_spec:", outcome(missing))
for name in ("astropy.wcs", "astropy.nddata"):
    told = outcome(lambda: importlib.import_module(name))
    print(f"{name}: {told}")
    assert told == "ValueError: matplotlib.__spec__ is not set", "the behaviour has changed"
for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
    del sys.modules[name]
for name in [name for name in sys.modules if name.split(".")[0] == "astropy"]:
    del sys.modules[name]
for name in ("astropy.wcs", "astropy.nddata"):
    importlib.import_module(name)
print("without the stand-ins: fine")
PY
cat > astropy_first.py <<'PY'
import warnings

warnings.simplefilter("ignore")
import astropy.nddata  # noqa: E402
import astropy.wcs  # noqa: E402
import colour_demosaicing  # noqa: E402

try:
    import astropy.visualization  # noqa: E402, F401
except ValueError as error:
    print("astropy.wcs first, then astropy.visualization: ValueError:", error)
else:
    raise SystemExit("the behaviour has changed")
PY
venv/bin/python colour_first.py
venv/bin/python astropy_first.py
echo "as described"
