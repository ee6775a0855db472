"""The doctor tried: healthy nights of all programs and cameras, and faults of known strength planted into nights.

Here each kind is tried once, in the night of another seed each; all of them in all by `make doctor-truth`.
"""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from faults import FAULTS
from planted import ENOUGH, false_alarms, healthy_nights, is_true

from masterlight.doctor.findings import TITLES, finding
from masterlight.simulate.night import Night


@pytest.mark.parametrize("name", FAULTS)
def test_truth_a_fault_is_found_at_the_strength_that_is_promised(name):
    fault, seed = FAULTS[name], 1 + list(FAULTS).index(name) % 10
    assert fault.found(fault.strengths[0], seed), f"{name}: {fault.promise}"


@pytest.mark.parametrize("part", range(4))
def test_truth_nothing_untrue_is_said_of_healthy_nights(part):
    nights = [night for _, night in islice(healthy_nights(20), part, None, 12)]
    assert [words for night in nights[:5] for words in false_alarms(night)] == []


def test_surface_the_page_tells_of_every_diagnosis_and_fault():
    page = Path(__file__).parents[1] / "docs" / "doctor.md"
    text = page.read_text()
    for id, title in TITLES.items():
        assert f"## {id} {title}\n" in text and f"(doctor/{id}.png)" in text, f"python docs/make_doctor.py: {id}"
    for fault in FAULTS.values():
        assert f"| {fault.name} | {fault.promise} |" in text, f"python docs/make_doctor.py: {fault.name}"
    assert sum(path.stat().st_size for path in (page.parent / "doctor").iterdir()) < 1_500_000


def test_every_diagnosis_is_planted():
    assert {fault.id for fault in FAULTS.values()} == set(TITLES)


def test_the_judge_sees_a_false_alarm():
    night = Night(flats=6)
    depth = np.sqrt(6 * 0.415 * 65535 * 0.78 * 0.85)
    said = {"severity": "warn", "sources": (), "threshold": 500.0, "unit": "signal to noise", "sentence": ""}
    assert is_true(finding("D16", figure=depth, **said), night)
    assert not is_true(finding("D16", figure=depth / 2, **said), night)
    assert not is_true(finding("D16", figure=depth, **said), Night(flats=30))
    assert not is_true(finding("D04", figure=depth, **said), night)


def test_truth_at_a_strength_of_nothing_nothing_is_found():
    fault = FAULTS["D19 gradient"]
    assert not fault.found(0.0, 1) and fault.found(0.1, 1)
    assert ENOUGH > 0.9 and all(len(fault.strengths) == 3 for fault in FAULTS.values())
