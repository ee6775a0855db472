"""Bad input of every kind over all verbs: nothing is silent, nothing is lost, nothing ends in a traceback.

Each kind is tried once in every test run, in another role or command each; all of them in all by `make reliability`.
"""

import os
import shutil
from pathlib import Path

import bed
import pytest
from badcases import BAD_CASES
from badinput import BAD_FILES
from verdicts import roles_of, try_case, try_file
from warm import Done

from masterlight.processes import STEPS

WHOLE = bool(os.environ.get("MASTERLIGHT_WHOLE"))
PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
FILE_TRIES = [
    (f"{group}/{kind.name}", kind, role)
    for group, kinds in BAD_FILES.items()
    for number, kind in enumerate(kinds)
    for at, role in enumerate(roles_of(kind, bed.ROLES.values()))
    if WHOLE or at == number % len(roles_of(kind, bed.ROLES.values()))
]
CASE_TRIES = [
    (f"{group}/{kind.name}", kind, command)
    for group, kinds in BAD_CASES.items()
    for kind in kinds
    for command in kind.tries
    if WHOLE or command == next(iter(kind.tries))
]
PARTS = 4
"""Tests into which each table is cut, so that several processes share the work."""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return bed.Healthy(bed.warm(), tmp_path_factory.mktemp("healthy"))


def wrong(tries, attempt, place) -> list[str]:
    """What is wrong with each of these tries; a known gap must still be there."""
    found = []
    for name, kind, what in tries:
        done, faults = attempt(place, kind, what)
        if kind.gap and not faults:
            faults = [f"is no longer a gap: {kind.gap}"]
        elif kind.gap:
            faults = []
        found += [f"{name} [{getattr(what, 'name', what)[:100]}]: {fault[:400]}" for fault in faults[:1]]
        shutil.rmtree(place)
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_truth_bad_files_are_read_right_or_refused(healthy, tmp_path, part):
    def attempt(place, kind, role):
        return try_file(healthy.warm, healthy, place, kind, role)

    found = wrong(FILE_TRIES[part::PARTS], attempt, tmp_path / "bed")
    assert not found, "\n".join([f"{len(found)} of {len(FILE_TRIES[part::PARTS])} tries", *found])


@pytest.mark.parametrize("part", range(PARTS))
def test_truth_bad_nights_flags_recipes_and_outputs_end_in_words(healthy, tmp_path, part):
    def attempt(place, kind, command):
        return try_case(healthy.warm, place, kind, command)

    found = wrong(CASE_TRIES[part::PARTS], attempt, tmp_path / "bed")
    assert not found, "\n".join([f"{len(found)} of {len(CASE_TRIES[part::PARTS])} tries", *found])


def test_the_table_holds_200_kinds_over_all_verbs():
    names = [
        f"{group}/{kind.name}" for table in (BAD_FILES, BAD_CASES) for group, kinds in table.items() for kind in kinds
    ]
    assert len(set(names)) == len(names) >= 200
    commands = [role.verb for role in bed.ROLES.values()] + [
        command.split(" ")[0] for kinds in BAD_CASES.values() for kind in kinds for command in kind.tries
    ]
    assert {*STEPS, "help"} <= set(commands)
    assert not WHOLE or len(FILE_TRIES) + len(CASE_TRIES) >= 1000


def test_the_page_lists_the_table():
    text = PAGE.read_text()
    for group, kinds in (BAD_FILES | BAD_CASES).items():
        for kind in kinds:
            assert f"| `{kind.name}` | {kind.words.replace('|', chr(92) + '|')} |" in text, (
                f"python docs/make_reliability.py: {group}/{kind.name}"
            )


DONE = Done(("run",), 0, "done\n", "", 0.3, 300.0)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"status": -9}, "status -9"),
        ({"err": "Traceback (most recent call last):\n"}, "Traceback"),
        ({"cpu_s": 2.9}, "took 2.9 s"),
        ({"rss_mb": 1200.0}, "1200 MB"),
        ({"err": "masterlight: " + "x" * 300}, "letters"),
        ({"out": "\x1b[2J"}, "control"),
        ({"err": "masterlight: one\nmasterlight: two\n"}, "2 lines"),
        ({"status": 2}, "without a word"),
    ],
)
def test_the_judge_sees_a_planted_fault(tmp_path, change, told):
    (tmp_path / "out").mkdir()
    assert not bed.faults(DONE, tmp_path, 0.5)
    found = bed.faults(DONE._replace(**change), tmp_path, 0.5)
    assert any(told in fault for fault in found), found


def test_the_judge_sees_cut_products_leftovers_and_changed_inputs(tmp_path):
    bed.lay(bed.warm(), tmp_path / "bed")
    place = tmp_path / "bed"
    before = bed.fingerprints(place)
    assert not bed.faults(DONE, place, 0.5, before)
    content = (place / "dark.fits").read_bytes()
    (place / "out/cut.fits").write_bytes(content[: len(content) // 2])
    (place / "out/damaged.fits").write_bytes(content[:9000] + b"\xff" * 50 + content[9050:])
    (place / "out/.x.partial-1").touch()
    (place / "scratch/left").touch()
    (place / "night/LIGHT/L1.fits").write_bytes(b"")
    (place / "night/LIGHT/L2.fits").unlink()
    found = " ".join(bed.faults(DONE, place, 0.5, before))
    for words in ("cut.fits", "damaged.fits", ".x.partial-1", "scratch/left", "L1.fits", "L2.fits"):
        assert words in found
    assert "left cut.fits" in " ".join(bed.faults(DONE._replace(status=2, err="masterlight: no"), place, 0.5))
