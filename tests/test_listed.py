"""Lists of files: `@approved.txt` among what is given chooses the lights."""

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from sky import CALM, SMALL, written

import masterlight as ml
from masterlight.core.errors import ParameterError
from masterlight.core.frame import Frame
from masterlight.doors.cli import main
from masterlight.session.found.listed import line_of, listed_files, lists_among
from masterlight.session.scan import scan


@pytest.fixture(scope="module")
def truth():
    return written(**SMALL | CALM | {"lights": 5, "seed": 5})


@pytest.fixture
def listing(truth, tmp_path):
    path = tmp_path / "approved.txt"
    path.write_text("\ufeff# three of five\r\n\r\n" + "".join(f"{p}\r\n" for p in truth.paths("light")[:3]), "utf-8")
    return f"@{path}"


def test_truth_a_list_alone_is_its_files_and_beside_a_folder_chooses_its_lights(truth, listing):
    alone = scan(listing)
    assert [frame.source for frame in alone.frames] == [str(p) for p in truth.paths("light")[:3]]
    folder = Path(truth.paths("light")[0]).parent.parent
    both = scan([folder, listing])
    kinds = [frame.meta.kind for frame in both.frames]
    assert kinds.count("light") == 3 and kinds.count("bias") == kinds.count("dark") == kinds.count("flat") == 5
    assert any(note.startswith("3 of 5 lights are used: those that ") for note in both.notes)


def test_truth_names_are_seen_from_the_folder_of_the_list(truth, tmp_path):
    (tmp_path / "deep").mkdir()
    original = Path(truth.paths("light")[0])
    (tmp_path / "deep" / "a b.fits").symlink_to(original)
    (tmp_path / "l.txt").write_text("deep/a b.fits\nnobody.fits\n")
    found = scan(f"@{tmp_path / 'l.txt'}")
    assert [Path(frame.source).name for frame in found.frames] == ["a b.fits"] and isinstance(found.frames[0], Frame)
    assert ["nobody.fits: there is no such file" in str(lost) for lost in found.rejected] == [True]


def test_truth_a_folder_in_a_list_stands_for_what_is_in_it(truth, tmp_path):
    """Found by a list of one folder, all of whose lights were dropped without a word."""
    paths = [Path(path) for path in truth.paths("light")]
    for i, folder in enumerate(("one", "one", "ones", "ones", "one")):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(paths[i], tmp_path / folder)
    (tmp_path / "l.txt").write_text(f"one\nones/{paths[2].name}\n")
    for given in ([f"@{tmp_path / 'l.txt'}"], [tmp_path, f"@{tmp_path / 'l.txt'}"]):
        assert sorted(Path(f.source).name for f in scan(given).frames) == [paths[i].name for i in (0, 1, 2, 4)]


def test_truth_a_list_names_whatever_files_are_called(tmp_path):
    names = ["#1.fits", "~x.fits", " a.fits", "b c.fits", "c\u2028d.fits", "e\x0bf.fits"]
    (tmp_path / "l.txt").write_bytes("".join(f"{line_of(name)}\r\n" for name in names).encode())
    found = listed_files(str(tmp_path / "l.txt"))
    assert [os.path.normpath(path) for path in found] == [str(tmp_path / name) for name in names]


def test_bad_lists(truth, tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n")
    for name, words in (("empty.txt", "names no file: is no frame approved"), ("none.txt", "no such file")):
        with pytest.raises(ParameterError, match=words):
            scan(f"@{tmp_path / name}")
    with pytest.raises(ParameterError, match="is no list of files but an image"):
        scan(f"@{truth.paths('light')[0]}")
    (tmp_path / "@odd").mkdir()
    assert lists_among([str(tmp_path / "@odd")]).lists == ()


def test_surface_the_list_of_subframes_goes_through_run_and_integrate(truth, tmp_path):
    """Measure, list, run: the master light is made of the approved alone; steps by hand take the list as well."""
    folder, good = str(Path(truth.paths("light")[0]).parent.parent), str(tmp_path / "good.txt")
    words = [folder, "--leave-out", "*_0002.fits", "--list", good]
    assert CliRunner().invoke(main, ["subframes", *words]).exit_code == 0
    *_, done = ml.run([folder, f"@{good}"], tmp_path / "out", ml.Recipe(force=True))
    assert [row.frames_used for row in done.result.lights] == [4]
    used = [Path(row.path).name for row in done.result.frames]
    assert len(used) == 4 and not any("0002" in name for name in used)
    told = CliRunner().invoke(main, ["cosmetic", f"@{good}", "-o", str(tmp_path / "c"), "--hot-auto", "5"])
    assert told.exit_code == 0 and len(list((tmp_path / "c").glob("*_cc.fits"))) == 4
    deep = [f"@{good}", "-o", str(tmp_path / "deep.fits"), "--force", "--rejection.algorithm", "none"]
    told = CliRunner().invoke(main, ["integrate", *deep])
    assert told.exit_code == 0 and "4 frames" in told.output, told.output
    told = CliRunner().invoke(main, ["plan", folder, f"@{good}"])
    assert "4 of 5 lights are used: those that" in told.output
