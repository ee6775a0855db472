"""Flag, TOML, card and default of every process are the same declaration."""

import subprocess
import sys
from dataclasses import is_dataclass

import click
import pytest

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.process import from_toml, knobs, plain, to_toml
from masterlight.doors.flags import flag, typed_knobs
from masterlight.night.recipe import Recipe
from masterlight.processes import PROCESSES, STEPS, load, replay
from masterlight.simulate import Night

ALL = [*PROCESSES, "Recipe", "Night"]


def process_of(name):
    return {"Recipe": Recipe, "Night": Night}.get(name) or load(name)


WORDS = {
    "pattern": "GRBG", "region": "[1:5,1:9]", "image": "[1:50,1:90]", "workers": "serial",
    "weight_expression": "1/Noise", "approve": "FWHM < 4", "weight": "1/Noise",
}  # fmt: skip
"""Texts that knobs of these names take."""


LISTS = {
    "off": ("D04", "D16"), "match": ("lights=L; dark=none",), "positions": ("a_1.fits:812.5,604", "b.fits:830,611"),
}  # fmt: skip
"""Lists that knobs of these names take."""


def other_value(knob):
    """An allowed value of a knob that is not its default."""
    if knob.choices:
        return next(c for c in knob.choices if c != knob.default)
    if isinstance(knob.default, bool):
        return not knob.default
    if knob.default == ():
        return LISTS.get(knob.path.rpartition(".")[2], ("x", "y"))
    if isinstance(knob.default, tuple):
        return (*knob.default, *knob.default)[: len(knob.default)]
    if isinstance(knob.default, (int, float)):
        high = knob.maximum if knob.maximum is not None else knob.default * 2 + 1
        middle = (knob.default + high) / 2 if high != knob.default else (knob.minimum + high) / 2
        return int(middle) if isinstance(knob.default, int) else middle
    if "str" in str(knob.type):
        return WORDS.get(knob.path.rpartition(".")[2], "x")
    return (knob.minimum or 0) + 300 if knob.maximum is None else knob.maximum


def all_changed(cls):
    """A process all of whose knobs have other values, but those that the others put out of use."""
    values = {knob.path: other_value(knob) for knob in knobs(cls)}
    while True:
        try:
            return ml.build(cls, values)
        except ParameterError as error:
            values.pop(str(error).split()[0])


def put_to_use(cls, knob):
    """Another value of a knob, and what lets it do something."""
    known, values = {k.path: k for k in knobs(cls)}, {knob.path: other_value(knob)}
    for prefix, marks in knob.when:
        if not any(mark.holds(cls(), prefix) for mark in marks):
            for name, allowed in marks[0].values.items():
                needed = known[prefix + name]
                values = put_to_use(cls, needed) | values
                values[needed.path] = other_value(needed) if allowed[0] is True else allowed[0]
    return values


@pytest.mark.parametrize("name", ALL)
def test_surface_every_knob_is_explained(name):
    for knob in knobs(process_of(name)):
        assert knob.help.endswith((".", ")")), f"{name}.{knob.path} says nothing"


@pytest.mark.parametrize("name", ALL)
def test_surface_toml_and_card_give_the_same_process_back(name):
    cls = process_of(name)
    changed = all_changed(cls)
    assert changed != cls() or not list(knobs(cls))
    assert from_toml(cls, to_toml(changed)) == changed
    assert from_toml(cls, to_toml(cls())) == cls()
    if name in PROCESSES:
        assert replay(ml.card(changed)) == changed


@pytest.mark.parametrize("name", ALL)
def test_surface_flags_give_the_same_process(name):
    """What is typed after a flag, as text, builds the same process as the value itself."""
    cls = process_of(name)
    flags = {knob.path: flag(knob, STEPS["run"]) for knob in knobs(cls)}
    for knob in knobs(cls):
        values, words = put_to_use(cls, knob), []
        for path, value in values.items():
            name = path.replace("_", "-")
            if isinstance(value, bool):
                words += [f"--{name}" if value else f"--no-{name}"]
            else:
                words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
        parsed = click.Command("test", params=[flags[path] for path in values]).make_context("test", words).params
        assert ml.build(cls, typed_knobs(parsed)) == ml.build(cls, values), knob.path


@pytest.mark.parametrize("name", ALL)
def test_surface_processes_are_plain_values(name):
    made = process_of(name)()
    assert is_dataclass(made)
    assert hash(made) == hash(process_of(name)())
    assert isinstance(plain(made), dict)


def test_surface_importing_is_quick():
    """`import masterlight` loads neither numpy nor any process; 200 ms is the limit, an empty python takes 20."""
    code = "import sys, masterlight; print([m for m in ('numpy', 'numba', 'astropy', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_surface_public_names_are_there():
    for name in ml.__all__:
        assert getattr(ml, name) is not None


def test_truth_a_recipe_keeps_the_masters_own_defaults():
    made = from_toml(Recipe, "[bias]\ncombination = 'median'\n")
    assert made.bias.combination == "median" and made.bias.normalization == Recipe().bias.normalization == "none"


def test_surface_help_tells_the_defaults_of_the_recipe():
    usual = {knob.path: knob.default for knob in knobs(Recipe)}
    assert usual["bias.normalization"] == "none"
    assert usual["flat.normalization"] == "multiplicative"
    assert usual["integrate.normalization"] == "auto"
    words = {knob.path: knob.usual for knob in knobs(Recipe)}
    assert words["dark.rejection.low"] == "6; 4 in flats"
    assert Recipe().dark.integration().rejection.low == 6 and Recipe().flat.integration().rejection.low == 4
