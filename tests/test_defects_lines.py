"""Bad rows and columns: where they begin and end."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import defects as oracle

from masterlight.defects import kernels
from masterlight.defects.lines import partial_columns


@settings(max_examples=30)
@given(st.lists(st.integers(-9, 9), max_size=25), st.integers(0, 12))
def test_oracle_segments(values, drop):
    starts, stops = kernels.segments(np.array(values, np.float64), float(drop))
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == oracle.segments(values, drop)


def test_truth_partial_columns_begin_and_end_where_they_do():
    image = np.random.default_rng(2).normal(0, 1, (500, 200)).astype(np.float32)
    image[130:300, 60] += 6
    image[350:420, 60] += 6
    image[:, 120] -= 1.0
    image[3, 3] = np.nan
    found = partial_columns(image, 6.0) > 0
    y = np.flatnonzero(found[:, 60])
    assert abs(y[0] - 130) < 4 and abs(y[-1] - 419) < 4
    assert not found[305:345, 60].any()
    assert found[:, 120].mean() > 0.9
    assert found[:, [x for x in range(200) if x not in (60, 120)]].sum() == 0
