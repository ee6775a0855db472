"""A frame is measured once: what is known later is the same to the last bit, never of other pixels or knobs."""

import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

import grimp
import numpy as np
import pytest
from click.testing import CliRunner
from sky import CALM, EVEN, written

import masterlight
from masterlight.core.errors import Rejected
from masterlight.core.frame import Meta
from masterlight.doors.cli import main
from masterlight.doors.hand import measured
from masterlight.doors.hand.measured import JUDGES, NAMES, code_mark, looked_at, measure_kept
from masterlight.io import Kept, read, write
from masterlight.subframes.measure import measure_light
from masterlight.subframes.measurement import Measurement
from masterlight.subframes.select import SubframeSelector

SELECTOR = SubframeSelector()
NIGHT = {**CALM, **EVEN, "lights": 2, "biases": 0, "darks": 0, "flats": 0}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def known(frame, selector=SELECTOR, **how):
    """Whether a frame was known, and what is known of it."""
    with Kept(measured.FOLDER) as kept:
        found = measure_kept(kept, selector, frame, **how)
    return bool(kept.recalled), found


def alike(a, b):
    """Whether two nouns hold the same bits, those fields too that do not count when they are compared."""
    for field in fields(a):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), field.name
        else:
            assert type(one) is type(other) and (one == other or one != one and other != other), field.name
    return True


@pytest.mark.parametrize("camera", [{}, {"pattern": "RGGB"}, {"pattern": "XTRANS"}], ids=["mono", "bayer", "x-trans"])
def test_truth_what_is_known_is_what_was_measured_bit_by_bit(camera):
    frame = read(written(**NIGHT, **camera).paths("light")[0])
    before, first = known(frame)
    again, second = known(frame)
    assert (before, again) == (False, True)
    assert alike(first[0], second[0]) and alike(first[1], second[1])
    assert first[0] == SELECTOR.measure(frame)[0]


def test_truth_a_frame_in_another_folder_is_known_under_its_name(place):
    path = written(**NIGHT).paths("light")[0]
    known(read(path))
    (place / "Flats").mkdir()
    shutil.copy(path, place / "Flats" / "flat_M31_Ha.fits")
    again, (measurement, _) = known(read(place / "Flats" / "flat_M31_Ha.fits"))
    assert again and measurement.source == str(place / "Flats" / "flat_M31_Ha.fits")


def test_truth_a_changed_pixel_is_measured(place):
    path = written(**NIGHT).paths("light")[0]
    before = known(read(path))[1][0]
    pixels = np.asarray(read(path)).copy()
    pixels[100:140] = np.nan
    write(place / "same.fits", pixels, read(path).header)
    again, (measurement, _) = known(read(place / "same.fits"))
    assert not again and measurement.missing_fraction > before.missing_fraction


def test_truth_knobs_of_measuring_measure_anew_and_limits_do_not():
    frame = read(written(**NIGHT).paths("light")[0])
    known(frame)
    assert known(frame, SubframeSelector(max_fwhm_px=2, min_stars_fraction=0.5))[0]
    others = {"sigma": 6.0, "max_stars": 50, "psf": "gaussian", "beta": 3.0, "min_stars": 5}
    for name, value in others.items():
        assert not known(frame, SubframeSelector(**{name: value}))[0], name
    assert not known(frame, saturation_dn=60_000.0)[0] and not known(frame, gain_e_per_dn=2.0)[0]
    assert known(frame)[0]


def test_truth_what_is_decided_about_a_file_beside_others_counts():
    """Floats from 0 to 1 are DN of 65535 beside some frames, and what they are beside others."""
    frame = read(written(**NIGHT).paths("light")[0])
    known(frame)
    again, (measurement, _) = known(frame.times(2.0))
    assert not again and measurement.noise_dn == pytest.approx(2 * known(frame)[1][0].noise_dn, rel=1e-5)


class Asked:
    """Stands for an object and notes which of its values were asked for."""

    def __init__(self, below):
        self.__dict__.update(below=below, names=set())

    def __getattr__(self, name):
        self.names.add(name)
        return getattr(self.below, name)


@pytest.mark.parametrize("camera", [{}, {"pattern": "RGGB"}], ids=["mono", "bayer"])
def test_truth_measuring_asks_no_knob_that_only_judges_and_nothing_that_names_tell(camera):
    frame = read(written(**NIGHT, **camera).paths("light")[0])
    knobs, meta = Asked(SELECTOR), Asked(frame.meta)
    found = measure_light(knobs, replace(frame, meta=meta))
    assert isinstance(found[0], Measurement)
    assert {"sigma", "min_stars"} <= knobs.names and not knobs.names & set(JUDGES)
    assert {"saturation_dn", "exposure_s"} <= meta.names and not meta.names & set(NAMES)
    assert set(NAMES) <= {field.name for field in fields(Meta)}


def test_truth_why_a_frame_cannot_be_measured_is_known_too(place):
    for name in ("a.fits", "b.fits"):
        write(place / name, np.random.default_rng(6).normal(1000, 5, (200, 200)).astype(np.float32))
    assert not known(read(place / "a.fits"))[0]
    again, found = known(read(place / "b.fits"))
    assert again and isinstance(found, Rejected) and found.source == str(place / "b.fits")
    assert "no star found above 5 sigma" in found.reason


def test_a_file_that_changed_since_its_header_was_read_is_no_measurement(place):
    path = place / "a.fits"
    shutil.copy(written(**NIGHT).paths("light")[0], path)
    frame = read(path)
    shutil.copy(written(**NIGHT).paths("light")[1], path)
    for _ in range(2):
        with pytest.raises(masterlight.FrameError, match="has changed"):
            known(frame)
    assert not list((place / "cache" / "masterlight" / measured.FOLDER).iterdir())


def test_truth_the_code_that_measures_counts_and_no_other(place):
    root = Path(masterlight.__file__).parent
    for chapter in measured.MEASURES:
        shutil.copytree(root / chapter, place / chapter, ignore=shutil.ignore_patterns("*.nb?", "*.pyc"))
    own = code_mark(place)
    assert own == code_mark(root)
    (place / "subframes" / "formula" / "more.py").write_text("a = 1\n")
    assert code_mark.__wrapped__(place) == own
    for path in ("subframes/stars/psf.py", "core/statistics/noise.py", "io/plain.py"):
        (place / path).write_text((place / path).read_text() + "\n")
        changed = code_mark.__wrapped__(place)
        assert changed != own
        own = changed


def test_all_that_a_measurement_depends_on_is_told_in_the_same_words_by_every_process():
    """No set, no object that is called by its address."""
    frame = read(written(**NIGHT).paths("light")[0])
    words = repr(looked_at(SELECTOR, frame))
    assert " at 0x" not in words and "{'" in words and os.path.dirname(frame.source) not in words


def shown(*words):
    done = CliRunner().invoke(main, ["subframes", *map(str, words)], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    return done.output


def test_surface_a_second_call_measures_nothing_and_says_so(place, monkeypatch):
    night = place / "night"
    shutil.copytree(Path(written(**NIGHT).paths("light")[0]).parent, night)
    first = shown(night, "--approve", "FWHM < 6")
    assert "known from before" not in first
    monkeypatch.setattr("masterlight.subframes.measure.measure_light", lambda *_: pytest.fail("it was measured"))
    second = shown(night, "--approve", "FWHM < 6", "--width-unit", "auto")
    told, table = second.split("\n", 1)
    assert "known from before, since the files are unchanged: 2 of 2 frames; --fresh measures them anew" in told
    assert table == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    assert shown(night, "--approve", "FWHM < 6", "--fresh") == first


def test_surface_only_what_changed_is_measured(place):
    paths = written(**NIGHT).paths("light")
    for path in paths:
        shutil.copy(path, place)
    frames = sorted(place.glob("*.fits"))
    shown(*frames)
    frames[1].write_bytes(frames[0].read_bytes()[:2880] + frames[1].read_bytes()[2880:])  # another header
    assert "1 of 2 frames" in shown(*frames)


def test_a_cache_that_cannot_be_written_is_told_in_one_line(place, monkeypatch):
    (place / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "file"))
    told = shown(*written(**NIGHT).paths("light"))
    assert "2 frames, all approved" in told
    [line] = [line for line in told.splitlines() if "nothing can be kept" in line]
    assert "XDG_CACHE_HOME names another place" in line


def test_all_code_that_measures_is_counted():
    """What `subframes.measure` imports, in turn, lies in the chapters whose text is part of each key."""
    graph = grimp.build_graph("masterlight", cache_dir=None, exclude_type_checking_imports=True)
    used = graph.find_upstream_modules("masterlight.subframes.measure")
    for name in used - {"masterlight.compiled", "masterlight"}:
        chapter, *rooms = name.split(".")[1:]
        assert chapter in measured.MEASURES and not (chapter == "subframes" and {*rooms} & {*measured.LATER}), name
