"""Files of defects: those of other programs as text, and maps of bits."""

import numpy as np
import pytest

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import LINE, Meta
from masterlight.defects.lists import Defects
from masterlight.io import read
from masterlight.io.defectlist import read_defects, write_defects


def some_defects(seed=1, shape=(40, 60)):
    rng = np.random.default_rng(seed)
    mask = np.where(rng.random(shape) < 0.02, rng.choice([1, 2], shape), 0).astype(np.uint8)
    mask[:, 7] = LINE
    mask[12] = LINE
    mask[20:33, 44] |= LINE
    return Defects.of(mask, "dark", Meta(camera="ST10", binning=(2, 2), shape=shape))


@pytest.mark.parametrize("name", ["map.fits", "list.lst", "list.txt"])
def test_surface_lists_come_back(tmp_path, name):
    defects = some_defects()
    write_defects(tmp_path / name, defects, "hot 8")
    back = Defects.of(*read_defects(tmp_path / name, defects.mask.shape))
    assert np.array_equal(back.mask > 0, defects.mask > 0)
    assert back.notes == ()
    if name == "map.fits":
        assert np.array_equal(back.mask, defects.mask)
        assert (back.source, back.meta.camera, back.meta.binning) == ("dark", "ST10", (2, 2))
        header = read(tmp_path / name).header
        assert header["NHOT"] == defects.hot and "hot 8" in str(header["HISTORY"])
    if name == "list.lst":
        isolated = defects.mask < LINE
        assert np.array_equal(back.mask[isolated], defects.mask[isolated])


def test_truth_lists_of_other_programs(tmp_path):
    siril = tmp_path / "a.lst"
    siril.write_text("# two pixels\nP 3 1 H\nP 4 2 C\n\nP 5 0\nC 7\nL 9\n")
    mask = read_defects(siril, (10, 12)).mask
    assert mask[8, 3] == 1 and mask[7, 4] == 2 and mask[9, 5] == 32
    assert (mask[1:, 7] == LINE).all() and (mask[0] == LINE).all()
    pixinsight = tmp_path / "b.txt"
    pixinsight.write_text("Col 3\ncol 5 8 2\nRow 1 4 6\nRow 9\nCol 11 0 0\n")
    mask = read_defects(pixinsight, (10, 12)).mask
    expected = np.zeros((10, 12), np.uint8)
    expected[:, 3] = expected[2:9, 5] = expected[1, 4:7] = expected[9] = LINE
    expected[0, 11] = 32
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("P 3 1 H\nP 3\n", "line 2 is not understood: 'P 3'"),
        ("Col 3\n# x\nRow a\n", "line 3 is not understood: 'Row a'"),
        ("Col 3 4\n", "line 1 is not understood"),
        ("P 1 2\nCol 3\n", "line 2 is not understood: 'Col 3'"),
        ("P 1 -2\n", "line 1 is not understood"),
        ("P 1 2 X\n", "line 1 is not understood"),
        ("Col 99\n", "1 of 1 lines reach outside the sensor of 12 x 10 pixels, the first in line 1: 'Col 99'"),
    ],
)
def test_surface_lines_that_do_not_parse_are_told(tmp_path, text, words):
    path = tmp_path / "bad.lst"
    path.write_text(text)
    with pytest.raises(FrameError, match=words):
        read_defects(path, (10, 12))


def test_surface_odd_lists_are_told(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Col 3\nCol 40\nRow 2 5 90\n")
    found = read_defects(path, (10, 12))
    assert "2 of 3 lines reach outside" in found.notes[0]
    assert (found.mask[2, 5:] == LINE).all()
    with pytest.raises(ParameterError, match="shape"):
        read_defects(path)
    with pytest.raises(FrameError, match="no such file"):
        read_defects(tmp_path / "nothing.lst", (10, 12))
    (tmp_path / "b.lst").write_bytes(bytes(range(128, 256)))
    with pytest.raises(FrameError, match="not a list of defects"):
        read_defects(tmp_path / "b.lst", (10, 12))
    with pytest.raises(ParameterError, match="written as .fits"):
        write_defects(tmp_path / "a.png", some_defects())


def test_surface_fits_files_that_are_no_bit_map(tmp_path):
    from masterlight.io import write

    write(tmp_path / "image.fits", np.full((10, 12), 500.5, np.float32))
    with pytest.raises(FrameError, match="not a map of defects"):
        read_defects(tmp_path / "image.fits", (10, 12))
    write(tmp_path / "good.fits", np.ones((10, 12), np.float32))
    with pytest.raises(FrameError, match="a map for DefectMap"):
        read_defects(tmp_path / "good.fits")
    with pytest.raises(FrameError, match="12 x 10 pixels; 7 x 5"):
        read_defects(tmp_path / "good.fits", (5, 7))
