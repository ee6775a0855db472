"""Recipe files and knobs that no one should write: each is one sentence of less than 300 letters."""

import pytest
from click.testing import CliRunner

from masterlight.core.errors import ParameterError
from masterlight.core.process import build, knobs
from masterlight.doors.cli import main
from masterlight.processes import PROCESSES, load

FILES = {
    "deep lists": b"off = " + b"[" * 5000 + b"]" * 5000,
    "deep tables": b"[" + b".".join([b"a"] * 5000) + b"]\nb = 1",
    "deep names": b"integrate." + b".".join([b"rejection"] * 3000) + b" = 1",
    "deep inline": b"a = " + b"{a=" * 3000 + b"1" + b"}" * 3000,
    "not text": bytes(range(256)),
    "UTF-16": "memory_mb = 2000\n".encode("utf-16"),
    "twice": b"memory_mb = 2000\nmemory_mb = 3000\n",
    "list of tables": b'[[integrate]]\nweights = "none"\n',
    "number for a table": b"integrate = 3\n",
    "table for a number": b"[memory_mb]\nx = 1\n",
    "few": b'[integrate.rejection]\nalgorithm = "auto"\nfew = 1e20\n',
    "nan": b"[integrate]\nmin_weight = nan\n",
    "date": b"memory_mb = 1979-05-27T07:32:00Z\n",
    "digits": b"memory_mb = " + b"9" * 5000,
    "unknown": b"".join(b"a%d = 1\n" % i for i in range(1000)),
    "long name": b"a" * 5000 + b" = 1\n",
    "control": b'"\\u001b[31m" = 1\n',
    "huge": b"# " + b"x" * 3_000_000,
    "workers": b'workers = "thread"\n',
    "formula": b'[integrate]\nweights = "expression"\nweight_expression = "35*inv(FWHM"\n',
    "condition": b'[integrate]\nweights = "expression"\nweight_expression = "FWHM < 4"\n',
    "region": b'[calibrate.overscan]\nregion = "left"\n',
    "pattern": b'[debayer]\npattern = "RGBB"\n',
    "nothing": b'defects = ""\n',
}
NUMBERS = "1e20", "-1e20", "nan", "inf", "-inf", 1e20, 10**40, 10**5000, float("nan"), float("inf"), "9" * 5000


@pytest.mark.parametrize("name", FILES)
def test_bad_recipe_files_are_one_sentence_with_their_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_bytes(FILES[name])
    told = CliRunner().invoke(main, ["recipe", "-r", "r.toml"])
    assert told.exit_code == 2, told.exception
    assert told.output.startswith("masterlight: r.toml") and told.output.count("\n") == 1 and len(told.output) < 300
    assert "\x1b" not in told.output


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfmemory_mb = 2000\n", b"memory_mb = 2000\r\n", b"memory_mb=2000"])
def test_truth_byte_order_marks_and_windows_lines_are_taken(content, tmp_path):
    (tmp_path / "r.toml").write_bytes(content)
    told = CliRunner().invoke(main, ["recipe", "-r", str(tmp_path / "r.toml")])
    assert told.exit_code == 0 and "memory_mb = 2000" in told.output


@pytest.mark.parametrize("name", ["Recipe", "Night", *PROCESSES])
def test_surface_every_number_has_bounds_and_none_is_absurd(name):
    cls = load(name)
    for knob in knobs(cls):
        if not any(kind in str(knob.type) for kind in ("float", "int]", "'int'")):
            continue
        assert knob.minimum is not None and knob.maximum is not None, knob.path
        for value in NUMBERS:
            with pytest.raises(ParameterError) as told:
                build(cls, {knob.path: value})
            assert str(told.value).startswith(f"{knob.path}: ") and len(str(told.value)) < 300, str(told.value)


@pytest.mark.parametrize("flag", ["--preset", "-r", "--out", "--defects", "--reference", "--workers"])
def test_bad_flags_that_are_empty_are_told(flag):
    words = ["run", "night", flag, ""] + ([] if flag == "--out" else ["--out", "x"])
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2 and flag.strip("-")[0] in told.output
    assert "empty" in told.output or "at least 1 character" in told.output
