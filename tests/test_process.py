"""The one declaration: defaults, flags, icons and cards of a process all come from it."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from masterlight.alignment.align import StarAlignment
from masterlight.core.errors import ParameterError
from masterlight.core.knob import Unit, When
from masterlight.core.process import (
    build,
    card,
    from_toml,
    idle_knobs,
    knobs,
    process,
    replay,
    summary_of,
    to_toml,
    with_values,
)


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
        ({"clipping.low": "3,5"}, "clipping.low: decimals have a point: 3.5 .given: '3,5'."),
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


@process
class Rule:
    """Leave out outliers.

    As many as it takes.
    """

    algorithm: Literal["auto", "sigma", "mad", "minmax"] = "auto"
    """Which rule."""
    low: Annotated[float, Field(gt=0, lt=50), Unit("sigma"), When(algorithm=("sigma", "mad"))] = 4.0
    """Limit below."""
    count: Annotated[int, Field(ge=1), When(algorithm="minmax")] | None = None
    """How many go."""
    growth_px: Annotated[float, Field(le=9)] = 1.0
    """Width."""


@process
class Nightly:
    """A night."""

    bias: Rule = Rule(algorithm="mad", low=6)
    """Of bias frames."""
    lights: Rule = Rule()
    """Of lights."""
    local: bool = False
    """Whether."""
    grid: Annotated[Rule, When(local=True)] = Rule()
    """Of the grid."""


def test_surface_a_knob_tells_unit_range_and_default():
    found = {k.path: k for k in knobs(Nightly)}
    assert found["lights.low"].facts == "above 0 to below 50 sigma [4]"
    assert found["bias.low"].facts == "above 0 to below 50 sigma [6]"
    assert found["lights.count"].facts == "at least 1 [off]"
    assert found["lights.growth_px"].facts == "at most 9 px [1]"
    assert found["lights.algorithm"].facts == "auto | sigma | mad | minmax [auto]"
    assert found["lights.low"].needs() == "lights.algorithm sigma or mad"
    assert found["grid.low"].needs() == "local on and grid.algorithm sigma or mad"
    assert "low : above 0 to below 50 sigma [4]\n    Limit below." in Rule.__doc__
    assert summary_of(Rule) == "Leave out outliers."
    assert "# Limit below. (above 0 to below 50 sigma [6])\nlow = 6.0" in to_toml(Nightly())


def test_bad_values_that_do_nothing_are_refused_where_they_are_given():
    with pytest.raises(
        ParameterError, match="^low does nothing with algorithm minmax; it is for algorithm sigma or mad"
    ):
        Rule(algorithm="minmax", low=3)
    with pytest.raises(ParameterError, match="^--low does nothing with --algorithm auto; it is for --algorithm sigma"):
        build(Rule, {"low": 3}, call=lambda path: f"--{path}")
    with pytest.raises(ParameterError, match="^grid.low does nothing with local off; it is for local on"):
        build(Nightly, {"grid.low": 3})
    with pytest.raises(ParameterError, match="^--low: input should be greater than 0"):
        build(Rule, {"low": 0}, call=lambda path: f"--{path}")
    made = from_toml(Rule, "algorithm = 'sigma'\nlow = 3")
    assert list(idle_knobs(with_values(made, algorithm="minmax"))) == [
        "low does nothing with algorithm minmax; it is for algorithm sigma or mad"
    ]
    assert not list(idle_knobs(Nightly()))


def test_truth_what_is_not_said_of_an_inner_process_stays_as_it_is_usual_there():
    assert from_toml(Nightly, "[bias]\nalgorithm = 'sigma'").bias == Rule(algorithm="sigma", low=6)
    assert build(Nightly, {"bias.low": 5}).bias == Rule(algorithm="mad", low=5)
    with pytest.raises(ParameterError, match="night.toml: bias.lwo is not a parameter"):
        from_toml(Nightly, "[bias]\nlwo = 3", "night.toml")


def test_yes_and_no_are_no_numbers():
    with pytest.raises(ParameterError, match=r"tolerance_px: a number is wanted \(given: true\)"):
        from_toml(StarAlignment, "tolerance_px = true")
    assert from_toml(StarAlignment, "mirror = false").mirror is False
