"""Messages name knobs as `ImageIntegration.weights` and slots as `bias=`; a verb shows them as its own flags."""

import ast
import re
from pathlib import Path

import pytest

import masterlight
from masterlight.core.knob import Knob
from masterlight.core.process import knobs, usual_of
from masterlight.night.recipe import Recipe
from masterlight.processes import MARK, PROCESSES, STEPS, load

SOURCE = Path(masterlight.__file__).parent
SHOWS_FLAGS = {"help.py", "flags.py", "processes.py", "cli.py"}
"""Files that are about the command line itself."""


def literals():
    """(file, line, text) of every text in the source that is no docstring and has more than one word."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        joined = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in joined | docs:
                text = node.value
            else:
                continue
            yield path, node.lineno, text


def owners() -> dict[str, set[str]]:
    """The paths of the knobs of every process, those inside others as well."""
    found: dict[str, set[str]] = {}

    def add(cls: type) -> None:
        if cls.__name__ not in found:
            found[cls.__name__] = {knob.path for knob in knobs(cls)}
            for name in {knob.path.partition(".")[0] for knob in knobs(cls) if "." in knob.path}:
                add(type(usual_of(cls, name)))

    for cls in (Recipe, *map(load, PROCESSES), load("Night")):
        add(cls)
    return found


def flags_of(step) -> set[str]:
    """Every flag of a verb."""
    slots = {flag for slot in step.slots for flag in slot.flags} | ({"--out"} if step.makes else set())
    return slots | {step.flag(knob.path) for knob in step.knobs()} | ({"--overwrite"} if step.writes_again else set())


def test_surface_every_knob_and_slot_that_a_message_names_is_there():
    known = owners()
    slots = {slot.name for step in STEPS.values() for slot in step.slots} | {"out", "overwrite"}
    seen = 0
    for path, line, text in literals():
        for mark in MARK.finditer(text):
            if mark["owner"] in known:
                seen += 1
                assert mark["path"] in known[mark["owner"]], f"{path}:{line}: {mark[0]} is no knob"
                shown = [step for step in STEPS.values() if step.with_flags(mark[0]) != mark[0]]
                assert shown, f"{path}:{line}: no verb has a flag for {mark[0]}"
                assert all(step.with_flags(mark[0]) in flags_of(step) for step in shown)
            elif mark["slot"] and " " in text and path.parent.name == "doors":
                seen += 1
                assert mark["slot"] in slots, f"{path}:{line}: {mark[0]} is nothing that a step takes"
    assert seen > 50


def test_surface_no_message_names_a_flag_which_another_verb_may_not_have():
    for path, line, text in literals():
        if path.name not in SHOWS_FLAGS:
            assert not re.search(r"(?<![\w-])--[a-z]", text), f"{path}:{line}: {text}"


def test_surface_knobs_of_two_words_are_named_with_their_process():
    """`min_stars` alone is the name of a knob in Python and of no flag anywhere."""
    leaves = {knob.path.rpartition(".")[2] for cls in (Recipe, *map(load, PROCESSES)) for knob in knobs(cls)}
    long = {leaf for leaf in leaves if leaf.count("_")} | {leaf.replace("_", "-") for leaf in leaves if "_" in leaf}
    name = re.compile(r"(?<![\w.\-{])(" + "|".join(sorted(map(re.escape, long), key=len, reverse=True)) + r")(?![\w-])")
    for path, line, text in literals():
        if " " in text and path.name not in SHOWS_FLAGS:
            assert not name.search(text), f"{path}:{line}: {text}"


@pytest.mark.parametrize(
    ("verb", "text", "shown"),
    [
        ("run", "give Rejection.gain_e_per_dn, or take auto", "give --integrate.rejection.gain-e-per-dn, or take auto"),
        ("integrate", "give Rejection.gain_e_per_dn.", "give --rejection.gain-e-per-dn."),
        ("flat", "take another ImageIntegration.normalization", "take another --normalization"),
        ("flat", "see Recipe.flat.rejection.low and pass Recipe.force", "see --rejection.low and pass --force"),
        ("run", "see Recipe.flat.rejection.low", "see --flat.rejection.low"),
        ("calibrate", "pass ImageCalibration.force", "pass --force"),
        ("flat", "pass ImageCalibration.force", "pass --calibrate.force"),
        ("run", "set Overscan.model none", "set --calibrate.overscan.model none"),
        ("calibrate", "give bias=, dark= or flat=", "give --bias, --dark or --flat"),
        ("superbias", "bias= of n/a.fits, x=3", "bias= of n/a.fits, x=3"),
        ("debayer", "or pass overwrite=True", "or pass --overwrite"),
        ("run", "a folder (out=)", "a folder (--out)"),
        ("plan", "a folder (out=) of Debayer.method", "a folder (out=) of --debayer.method"),
        ("debayer", "ImageIntegration.weights of M31.fits", "ImageIntegration.weights of M31.fits"),
        ("integrate", "slope_map= is", "--slope-map is"),
    ],
)
def test_truth_a_verb_calls_things_by_its_own_flags(verb, text, shown):
    assert STEPS[verb].with_flags(text) == shown


def test_surface_every_knob_of_every_verb_is_called_by_its_flag():
    for step in STEPS.values():
        for knob in step.knobs():
            assert isinstance(knob, Knob)
            assert step.with_flags(f"{step.process}.{knob.path}") == step.flag(knob.path)
