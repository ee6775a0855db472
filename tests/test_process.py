"""The one declaration: defaults, flags, icons and cards of a process all come from it."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from masterlight.core.errors import ParameterError
from masterlight.core.process import build, card, from_toml, knobs, process, replay, to_toml


@process
class Clipping:
    """Clip."""

    algorithm: Literal["none", "sigma"] = "sigma"
    """Which rule."""
    low: Annotated[float, Field(ge=0, le=10)] | None = 4.0
    """Limit below,
    in sigma."""


@process
class Stacking:
    """Stack frames."""

    clipping: Clipping = Clipping()
    """How to clip."""
    names: tuple[str, ...] = ("L", "R")
    """Filters."""
    reference: str | None = None
    """Which frame."""


def test_surface_knobs_are_flat_and_explained():
    found = {k.path: k for k in knobs(Stacking)}
    assert list(found) == ["clipping.algorithm", "clipping.low", "names", "reference"]
    assert found["clipping.algorithm"].choices == ("none", "sigma")
    assert found["clipping.low"].help == "Limit below, in sigma."
    assert found["clipping.low"].optional
    assert found["names"].default == ("L", "R")


def test_surface_toml_and_card_give_the_same_process_back():
    made = build(Stacking, {"clipping.low": "2.5", "names": ("Ha",), "reference": "m31 \u00b5.fits"})
    assert made.clipping.low == 2.5
    assert from_toml(Stacking, to_toml(made)) == made
    assert replay(card(made)) == made


def test_surface_an_optional_knob_that_is_off_stays_off_in_toml():
    made = build(Stacking, {"clipping.low": None})
    assert made.clipping.low is None
    assert from_toml(Stacking, to_toml(made)) == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clipping.lwo": 3}, "clipping.lwo is not a parameter of Stacking; did you mean clipping.low"),
        ({"clipping.low": -1}, "clipping.low: input should be greater than or equal to 0 .given: -1."),
        ({"clipping.algorithm": "magic"}, "'none' or 'sigma'"),
    ],
)
def test_bad_parameters_are_told_by_name(values, message):
    with pytest.raises(ParameterError, match=message):
        build(Stacking, values)


def test_bad_toml_is_told():
    with pytest.raises(ParameterError, match="night.toml is not valid TOML"):
        from_toml(Stacking, "names = [", "night.toml")


def test_bad_card_names_what_is_known():
    with pytest.raises(ParameterError, match="card names no known process: Magic"):
        replay('{"Magic": {}}')


def test_truth_processes_are_frozen_and_keyword_only():
    with pytest.raises(Exception, match="frozen|cannot assign"):
        Clipping().low = 1
    with pytest.raises(Exception, match="positional"):
        Clipping("sigma")
    assert hash(Clipping()) == hash(Clipping(low=4))
