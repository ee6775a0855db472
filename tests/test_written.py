"""Transforms written and read: every bit comes back, and what is broken is told in words."""

import json
from dataclasses import fields

import numpy as np
import pytest
from test_bend import BENDS, MATRIX, XY, bent

from masterlight.alignment import written
from masterlight.alignment.transform import Transform

PLAIN = Transform(
    MATRIX + 1e-17, rms_px=0.1, matched=312, log10_p=-123.456, mirrored=True, method="quads", flux_ratio=1 / 3,
    flux_ratio_error=0.01, flux_pairs=99, model="affine", chi2=1.03, corner_error_px=0.0123, shape=(400, 600),
)  # fmt: skip


def read_back(t):
    return written.from_dict(json.loads(json.dumps(written.to_dict(t), allow_nan=False)))


def test_truth_every_field_comes_back():
    back = read_back(PLAIN)
    for field in fields(Transform):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(PLAIN, field.name))
        assert type(getattr(back, field.name)) is type(getattr(PLAIN, field.name)), field.name
    nothing = read_back(Transform.identity((10, 20)))
    assert np.isnan(nothing.chi2) and nothing.bend is None and nothing.shape == (10, 20)


@pytest.mark.parametrize("name", BENDS)
def test_truth_bends_come_back_to_the_last_bit(name):
    for t in (bent(name), bent(name).inverse, bent(name) @ PLAIN, PLAIN @ bent(name) @ PLAIN):
        np.testing.assert_array_equal(read_back(t)(XY), t(XY))
        assert read_back(t).bend.kind == t.bend.kind


def broken(**parts):
    return {**written.to_dict(bent("polynomial2")), **parts}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, "missing"),
        ([1, 2], "missing"),
        ({}, "format"),
        (broken(format=99), "format 99"),
        (broken(matrix=[[1, 0], [0, 1]]), "3 x 3"),
        (broken(matrix=[[1, 0, 0], [2, 0, 0], [0, 0, 1]]), "one line"),
        (broken(matrix=[[1, 0, None], [0, 1, 0], [0, 0, 1]]), "3 x 3"),
        (broken(model="cubic"), "model"),
        (broken(shape=[1.5, 2]), "whole"),
        (broken(mirrored="yes"), "true or false"),
        (broken(speed=3), "'speed'"),
        (broken(bend={"kind": "magic"}), "magic"),
        (broken(bend={"kind": "polynomial", "box": [0, 0, 9, 9]}), "not whole"),
        (broken(bend={"kind": "polynomial", "box": [0, 0, 9, 9], "coefficients": [[1, 2], [3, 4]]}), "fit together"),
        (broken(bend={"kind": "polynomial", "box": [0, 0, 9], "coefficients": [[1], [3]]}), "box"),
        (broken(bend={"kind": "back", "there": [np.eye(3).tolist(), None]}), "fit together"),
        (broken(bend={"kind": "chain", "steps": []}), "empty"),
        (broken(bend={"kind": "lens", "matrix": np.eye(3).tolist(), "reference": {}, "source": None}), "lens"),
    ],
)
def test_surface_what_is_broken_is_told(told, words):
    with pytest.raises(ValueError, match=words) as caught:
        written.from_dict(told)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_surface_chains_have_an_end():
    told = written.to_dict(bent("polynomial2"))
    for _ in range(50):
        told["bend"] = {"kind": "chain", "steps": [[np.eye(3).tolist(), told["bend"]]]}
    with pytest.raises(ValueError, match="known kind"):
        written.from_dict(told)
