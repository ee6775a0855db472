"""Files of defects: those of other programs as text, and maps of bits."""

import numpy as np
import pytest
import siril
from astropy.io import fits

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import LINE, Meta
from masterlight.defects.lists import Defects
from masterlight.doors.hand.steps import by_hand
from masterlight.io import header_cards, read, write
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
    theirs = tmp_path / "a.lst"
    theirs.write_text("# two pixels\nP 3 1 H\nP 4 2 C\n\nP 5 0\nC 7\nL 9\n")
    mask = read_defects(theirs, (10, 12)).mask
    assert mask[8, 3] == 1 and mask[7, 4] == 2 and mask[9, 5] == 32
    assert (mask[1:, 7] == LINE).all() and (mask[0] == LINE).all()
    mask = read_defects(theirs, (10, 12), bottom_up=True).mask
    assert mask[1, 3] == 1 and mask[2, 4] == 2 and mask[0, 5] == 32 and (mask[9] == LINE).all()
    pixinsight = tmp_path / "b.txt"
    pixinsight.write_text("Col 3\ncol 5 8 2\nRow 1 4 6\nRow 9\nCol 11 0 0\n")
    mask = read_defects(pixinsight, (10, 12)).mask
    expected = np.zeros((10, 12), np.uint8)
    expected[:, 3] = expected[2:9, 5] = expected[1, 4:7] = expected[9] = LINE
    expected[0, 11] = 32
    assert np.array_equal(mask, expected)


def dark_with_defects(path, order):
    """A dark of 200 rows as a program writes it in this order: hot at stored row 10, column 20, cold at 60, 100."""
    stored = np.random.default_rng(3).normal(500, 3, (200, 240))
    stored[10, 20], stored[60, 100] = 30000, 5
    header = fits.Header(
        {"IMAGETYP": "Dark", "EXPTIME": 10.0, "INSTRUME": "ST10"} | ({"ROWORDER": order} if order else {})
    )
    fits.PrimaryHDU(stored.astype(np.uint16), header).writeto(path)
    return read(path)


ORDERS = ["BOTTOM-UP", "TOP-DOWN", None]


@pytest.mark.parametrize("order", ORDERS)
def test_truth_siril_counts_rows_from_the_last_one_stored(tmp_path, order):
    """The list that Siril 1.0.6 writes of such a file, `P 20 189 H`, whatever ROWORDER says, and ours."""
    frame = dark_with_defects(tmp_path / "dark.fits", order)
    (tmp_path / "siril.lst").write_text("P 20 189 H\nP 100 139 C\n")
    mask = read_defects(tmp_path / "siril.lst", frame.shape, frame.meta.bottom_up).mask
    assert np.asarray(frame)[mask == 1] == [30000] and np.asarray(frame)[mask == 2] == [5]
    write_defects(tmp_path / "ours.lst", Defects.of(mask, "dark", frame.meta))
    lines = (tmp_path / "ours.lst").read_text().splitlines()
    assert sorted(lines[1:]) == ["P 100 139 C", "P 20 189 H"]
    write_defects(tmp_path / "map.fits", Defects.of(mask, "dark", frame.meta))
    stored = fits.getdata(tmp_path / "map.fits")
    assert (stored[10, 20], stored[60, 100], np.count_nonzero(stored)) == (1, 2, 2), "rows as those of the dark"
    assert np.array_equal(read_defects(tmp_path / "map.fits").mask, mask)


@pytest.mark.parametrize("order", ORDERS)
def test_truth_a_list_of_siril_repairs_its_file(tmp_path, order):
    dark_with_defects(tmp_path / "light.fits", order)
    (tmp_path / "siril.lst").write_text("P 20 189 H\nP 100 139 C\n")
    *_, done = by_hand("cosmetic", [tmp_path / "light.fits"], tmp_path / "out", defects=tmp_path / "siril.lst")
    stored = fits.getdata(done.result[0][0])
    assert 490 < stored[10, 20] < 510 and 490 < stored[60, 100] < 510
    raw = fits.getdata(tmp_path / "light.fits")
    assert np.count_nonzero(stored != raw) == 2, "rows of what is written lie as those of what was read"


@siril.installed
@pytest.mark.parametrize("order", ORDERS)
def test_authority_siril_repairs_by_our_list_and_we_by_its(tmp_path, order):
    frame = dark_with_defects(tmp_path / "dark.fits", order)
    siril.run(tmp_path, "load dark", "find_hot its 3 3")
    its = read_defects(tmp_path / "its.lst", frame.shape, frame.meta.bottom_up).mask
    assert np.asarray(frame)[its == 1] == [30000] and np.asarray(frame)[its == 2] == [5]
    array = np.asarray(frame).copy()
    array[:, 50], array[120] = 20000, 20000
    write(tmp_path / "lines.fits", array, header_cards(frame), bottom_up=frame.meta.bottom_up)
    its[:, 50] |= LINE
    its[120] |= LINE
    write_defects(tmp_path / "ours.lst", Defects.of(its, "dark", frame.meta))
    told = siril.run(tmp_path, "load lines", "cosme ours.lst", "save repaired")
    assert "error" not in told
    left = fits.getdata(tmp_path / "repaired.fits")
    assert np.ptp(left[:, 48:53]) < 100 and np.ptp(left[10:12, 10:30]) < 100 and np.ptp(left[58:62, 90:110]) < 100


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
