"""Flag, TOML, card and default of every process are the same declaration."""

import functools
import subprocess
import sys
from dataclasses import is_dataclass

import click
import pytest

import masterlight as ml
from masterlight.core.process import from_toml, knobs, plain, to_toml, validate
from masterlight.doors.flags import flag, typed_knobs
from masterlight.night.recipe import Recipe
from masterlight.processes import PROCESSES, STEPS, load, replay
from masterlight.simulate import Night

ALL = [*PROCESSES, "Recipe", "Night"]


def process_of(name):
    return {"Recipe": Recipe, "Night": Night}.get(name) or load(name)


def other_value(knob):
    """An allowed value of a knob that is not its default."""
    if knob.choices:
        return next(c for c in knob.choices if c != knob.default)
    if isinstance(knob.default, bool):
        return not knob.default
    if isinstance(knob.default, tuple):
        return (*knob.default, *knob.default)[: len(knob.default)]
    if isinstance(knob.default, (int, float)):
        high = knob.maximum if knob.maximum is not None else knob.default * 2 + 1
        middle = (knob.default + high) / 2 if high != knob.default else (knob.minimum + high) / 2
        return int(middle) if isinstance(knob.default, int) else middle
    if "str" in str(knob.type):
        return "GRBG" if knob.path.endswith("pattern") else "x"
    return (knob.minimum or 0) + 300 if knob.maximum is None else knob.maximum


def tree(values):
    """Dotted names as nested mappings, as TOML has them; unlike `build`, nobody asks whether each does something."""
    nested = {}
    for path, value in values.items():
        *parents, leaf = path.split(".")
        functools.reduce(lambda node, parent: node.setdefault(parent, {}), parents, nested)[leaf] = value
    return nested


@pytest.mark.parametrize("name", ALL)
def test_surface_every_knob_is_explained(name):
    for knob in knobs(process_of(name)):
        assert knob.help.endswith((".", ")")), f"{name}.{knob.path} says nothing"


@pytest.mark.parametrize("name", ALL)
def test_surface_toml_and_card_give_the_same_process_back(name):
    cls = process_of(name)
    changed = validate(cls, tree({knob.path: other_value(knob) for knob in knobs(cls)}))
    assert changed != cls() or not list(knobs(cls))
    assert from_toml(cls, to_toml(changed)) == changed
    assert from_toml(cls, to_toml(cls())) == cls()
    if name in PROCESSES:
        assert replay(ml.card(changed)) == changed


@pytest.mark.parametrize("name", ALL)
def test_surface_flags_give_the_same_process(name):
    """What is typed after a flag, as text, builds the same process as the value itself."""
    cls, step = process_of(name), STEPS["run"]
    for knob in knobs(cls):
        value, name = other_value(knob), knob.path.replace("_", "-")
        typed = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words = [f"--{name}", typed]
        if isinstance(value, bool):
            words = [f"--{name}" if value else f"--no-{name}"]
        parsed = click.Command("test", params=[flag(knob, step)]).make_context("test", words).params
        assert validate(cls, tree(typed_knobs(parsed))) == validate(cls, tree({knob.path: value})), knob.path


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
    assert usual["integrate.normalization"] == "additive+scaling"
    assert usual["dark.rejection.low"] == 6
