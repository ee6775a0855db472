"""What doors and notebooks ask for of a night to look at."""

import sys

import pytest
from charts import FORMULA, night_of

from masterlight.core.errors import ParameterError
from masterlight.subframes.looks.look import figures_of, page_of, prints_of, section_of


def test_surface_a_night_as_page_section_and_plots():
    night = night_of(9, filters="LR").approved_by(FORMULA)
    assert "<title>Subframes of M 31</title>" in page_of(night) and FORMULA.split(" &&")[0].replace(
        "<", "&lt;"
    ) in page_of(night)
    assert section_of(night).count("<h3>") == 2 and section_of(night_of(0)) == ""
    pytest.importorskip("bokeh"), pytest.importorskip("matplotlib")
    assert figures_of(night).night("Noise").name == "night" and len(list(prints_of(night))) > 8


@pytest.mark.parametrize(("library", "made"), [("bokeh", figures_of), ("matplotlib", prints_of)])
def test_surface_what_to_install_for_plots(monkeypatch, library, made):
    for name in [name for name in sys.modules if name.split(".")[0] == library or ".looks.p" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ParameterError, match=rf"{library}: pip install 'masterlight\[plots\]'"):
        made(night_of(2))
