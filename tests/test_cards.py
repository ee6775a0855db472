"""Cards of headers: no card of any program ends anything, on the way in or out."""

import math
import subprocess
import sys
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from cases import CASES
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from masterlight.core.errors import FrameError
from masterlight.doors.cli import main
from masterlight.io import header_cards, read, write
from masterlight.io.fits.cards import (
    ascii_text,
    card_text,
    clean_cards,
    header_of_text,
    header_text,
    parse_cards,
    value_of,
)
from masterlight.simulate.night import Night
from masterlight.simulate.truth import simulate

TINY = {"rows": 96, "cols": 128, "lights": 4, "biases": 0, "darks": 0, "flats": 0, "stars": 60, "faintest_dn": 4000.0}
ODD = [
    b"OBSERVER= 'Zo\xc3\xab     '           / in UTF-8",
    b"SITENAME= 'Z\xfcrich  '           / in latin-1",
    b"AIRMASS =                  NaN / no number",
    b"HORIZON = 48,1",
    b"OBJECT2 = 'NGC: 7000'          / a record, if you ask astropy",
    b"focus   = 1.5e3",
    b"FOC TEMP=                  5.5",
    b"B\xc4D     =                    1",
    b"HUGE    =                1E999",
    b"LONGINT = 123456789012345678901234567890",
    b"OPEN    = 'never closed",
    b"WORD    = without quotes",
    b"CPLX    = (1.0, 2.0)",
    b"no card at all",
    b"CONTINUE  'of nothing'",
    b"HIERARCH eso det x = 1,5",
    b"UNDEFIND=",
    b"NUL     = 'a\x00b'",
]
"""Cards as capture programs write them, and the FITS standard does not."""


def raw_of(*cards: bytes) -> bytes:
    return b"".join(card.ljust(80) for card in cards)


def spoil(path: Path, *cards: bytes) -> None:
    """Put cards before END of the primary header of a FITS file."""
    content = path.read_bytes()
    end = next(i for i in range(0, len(content), 80) if content[i : i + 80].rstrip() == b"END")
    head = content[:end] + raw_of(*cards, b"END")
    start = -(-(end + 80) // 2880) * 2880
    path.write_bytes(head + b" " * (-len(head) % 2880) + content[start:])


def run(night: Path, out: Path) -> Path:
    """The master light of a night."""
    done = CliRunner().invoke(main, ["run", str(night), "--out", str(out), "--force"])
    assert done.exit_code == 0, done.output[-500:]
    (made,) = out.glob("master_light*.fits")
    return made


# --- in ---------------------------------------------------------------------------------------------------------------


def test_truth_what_programs_write_is_understood_or_left_out_and_told():
    text, cards, notes = clean_cards(raw_of(*ODD))
    assert cards["OBSERVER"] == "Zoe" and cards["SITENAME"] == "Zurich" and cards["NUL"] == "a b"
    assert cards["HORIZON"] == 48.1 and cards["FOCUS"] == 1500 and cards["ESO DET X"] == 1.5
    assert cards["OBJECT2"] == "NGC: 7000" and cards["FOC TEMP"] == 5.5 and cards["CPLX"] == 1 + 2j
    assert cards["OPEN"] == "never closed" and cards["WORD"] == "without quotes" and cards["UNDEFIND"] is None
    assert cards["LONGINT"] == 123456789012345678901234567890
    assert not {"AIRMASS", "HUGE", "CONTINUE"} & set(cards)
    told = "; ".join(notes)
    assert "OBSERVER, SITENAME, BAD: letters" in told and "HORIZON, WORD, ESO DET X: no FITS value" in told
    assert "AIRMASS" in told and len(notes) == 3 and all(len(note) < 200 for note in notes)
    header = header_of_text(text)
    assert header["OBJECT2"] == "NGC: 7000" and [header[key] for key in header]


def test_truth_a_sound_header_is_kept_to_the_letter():
    raw = fits.Header({"SIMPLE": True, "EXPTIME": 60.0, "OBJECT": "it's M31", "A": -1.5e-7}).tostring(endcard=False)
    assert clean_cards(raw.encode())[0] == raw and clean_cards(raw.encode())[2] == []


def test_authority_long_texts_are_read_whole_as_astropy_wrote_them():
    header = fits.Header()
    words = "it's a long way to the pole & back, " * 12
    with warnings.catch_warnings(action="ignore"):
        header["LONG"], header["SHORT"] = (words, "with a comment"), "x"
        header["HIERARCH A LONGER KEYWORD"] = "y" * 150
    text, cards, notes = clean_cards(header.tostring(endcard=False).encode())
    assert cards["LONG"] == words.rstrip() and cards["A LONGER KEYWORD"] == "y" * 150 and cards["SHORT"] == "x"
    assert not notes and header_of_text(text)["LONG"] == words.rstrip()


letter = st.one_of(st.sampled_from(b"='\"/& ,.0E:()TF"), st.integers(0, 255))


@given(
    st.lists(st.tuples(st.sampled_from(ODD), st.lists(st.tuples(st.integers(0, 79), letter), max_size=4)), max_size=9)
)
@settings(max_examples=300)
def test_oracle_any_bytes_make_a_header_that_astropy_reads(cards):
    spoiled = []
    for card, changes in cards:
        image = bytearray(card.ljust(80))
        for place, byte in changes:
            image[place] = byte
        spoiled.append(bytes(image))
    text, values, _ = clean_cards(raw_of(*spoiled))
    assert clean_cards(text.encode()) == (text, values, []), "what was mended once is sound"
    with warnings.catch_warnings(action="error"):
        header = header_of_text(text)
        assert all(header[key] is not NotImplemented for key in header)
    written = "".join(header_text({key: header[key] for key in header if key}))
    assert clean_cards(written.encode())[::2] == (written, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [("'a''b ' / c", "a'b"), ("T", True), ("12", 12), ("1.5D+3", 1500.0), ("1,02", 1.02), ("NaN", None), ("-inf", None),
     ("1E999", None), ("12:30", "12:30"), ("1_000", "1_000"), ("", None), ("/ c", None), ("9" * 999, None)],
)  # fmt: skip
def test_truth_values(field, value):
    assert value_of(field) == value


# --- out --------------------------------------------------------------------------------------------------------------

anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.complex_numbers(),
    st.text(max_size=200), st.binary(max_size=9), st.lists(st.integers(), max_size=3), st.decimals(), st.dates(),
    st.sampled_from([10**5000, np.float32(2.5), np.uint64(2**64 - 1), np.bool_(True), np.nan, "x" * 10**5]),
)  # fmt: skip
keyword = st.one_of(
    st.text(max_size=12), st.sampled_from(["END", "CONTINUE", "HIERARCH", "SIMPLE", "ZIMAGE", "exptime"])
)


@given(st.dictionaries(st.one_of(keyword, st.integers(), st.binary(max_size=8)), anything, max_size=8))
@settings(max_examples=200)
def test_oracle_whatever_a_header_holds_is_written_so_that_it_can_be_read(rows):
    text = "".join(header_text(rows, ["made here"]))
    assert len(text) % 80 == 0 and clean_cards(text.encode())[::2] == (text, [])
    with warnings.catch_warnings(action="error"):
        for card in fits.Header.fromstring(text).cards:
            card.verify("exception")


def test_authority_cards_are_written_as_astropy_writes_them():
    rows = {"OBJECT": "M 31", "QUOTE": "it's", "EMPTY": "", "T": True, "N": -12, "X": 60.0, "SMALL": 1e-7,
            "CD1_1": -1.2345678901234567e-05, "PI": 123.45678901234567890, "A LONG NAME": 5.5}  # fmt: skip
    with warnings.catch_warnings(action="ignore"):
        for key, value in rows.items():
            for comment in ("", "in words"):
                card = fits.Card(key if len(key) < 9 else f"HIERARCH {key}", value, comment)
                assert card_text(key, value, comment) == str(card)


def test_truth_what_no_card_can_hold_becomes_a_comment():
    rows = {"LIST": [1, 2], "BÄD/KEY": 1, "NAN": math.nan, "NONE": None, "HUGE": 2**80, "DEC": Decimal("1.5")}
    values, remarks = header_text(rows)
    assert parse_cards(values) == {"HUGE": str(2**80)}
    assert "LIST: [1, 2]" in remarks and "BAD/KEY: 1" in remarks and "DEC: 1.5" in remarks and "NAN" not in remarks


def test_truth_letters_are_spelled():
    assert ascii_text("Zoë Müller, 5 µm ± 3°\n→") == "Zoe Muller, 5 um ? 3deg ?"
    assert ascii_text("plain") == "plain"


def test_truth_a_header_cannot_make_a_file_unreadable(tmp_path):
    header = {"ZIMAGE": True, "ZNAXIS": 9, "END": 1, "NAXIS": 7, "BLANK": 3, "TEXT": "y" * 10**6}
    write(tmp_path / "a.fits", np.full((4, 5), 7, np.float32), header | {f"K{i}": i for i in range(20_000)})
    frame = read(tmp_path / "a.fits")
    assert np.all(np.asarray(frame) == 7) and frame.header["K1"] == 1 and len(frame.header["TEXT"]) > 10_000


# --- through ----------------------------------------------------------------------------------------------------------


def test_truth_a_frame_of_odd_cards_goes_through_all_steps(tmp_path):
    list(simulate(Night(**TINY), tmp_path / "night"))
    for path in (tmp_path / "night").rglob("*.fits"):
        spoil(path, *ODD, b"ROWORDER= 'BOTTOM-UP'", b"FLOCK   = 'x&'", b"CONTINUE  'y'")
    path = sorted((tmp_path / "night").rglob("*.fits"))[0]
    frame = read(path)
    assert frame.header["OBSERVER"] == "Zoe" and frame.header["FLOCK"] == "xy" and len(frame.meta.notes) >= 3
    write(tmp_path / "b.fits", frame)
    again = read(tmp_path / "b.fits")
    assert again.header["HORIZON"] == 48.1 and not [note for note in again.meta.notes if "HORIZON" in note]
    assert again.header["OBJECT2"] == "NGC: 7000" and header_cards(again)["ROWORDER"] == "TOP-DOWN"
    assert np.array_equal(np.asarray(again), np.asarray(frame))
    made = run(tmp_path / "night", tmp_path / "out")
    assert read(made).header["OBSERVER"] == "Zoe" and read(made).header["NCOMBINE"] == TINY["lights"]
    with fits.open(made, checksum=True) as hdus:
        hdus.verify("exception")


@pytest.mark.skipif(not CASES.is_dir(), reason="no generators of cases here")
@pytest.mark.parametrize(
    ("case", "folder", "level", "box"),
    [("fmt_fz_variants", ".", 900, (100, 130, 100, 130)), ("hdr_foreign_observer", ".", 400, None),
     ("hdr_blank", "used", 900, (100, 140, 150, 190)), ("hdr_blank", "out_of_range", 900, (100, 140, 150, 190))],
)  # fmt: skip
def test_truth_cases(tmp_path, case, folder, level, box):
    subprocess.run([sys.executable, str(CASES / f"{case}.py"), str(tmp_path / case)], check=True)
    image = np.asarray(read(run(tmp_path / case / folder, tmp_path / "out")))
    assert np.nanmedian(image) == pytest.approx(level, abs=3)
    if box:
        hole = image[box[0] : box[1], box[2] : box[3]]
        assert np.nanmedian(hole) == pytest.approx(level, abs=6) and np.nanmin(hole) > level - 100


def test_truth_nothing_of_a_damaged_header_is_raised_but_frame_errors(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(raw_of(b"SIMPLE  =                    T", b"NAXIS   = 1E30", b"END").ljust(2880))
    with pytest.raises(FrameError, match="NAXIS is 1e"):
        read(path)
