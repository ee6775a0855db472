"""Compiled kernels: kept where something can be written; no cache, whatever its state, ends the work."""

import errno
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from numba.core import caching

import masterlight
from masterlight import compiled

SOURCE = """
from masterlight.compiled import njit


@njit(cache=True)
def twice(x):
    return 2 * x
"""


@pytest.fixture
def kernel(tmp_path):
    """Loads the same kernel anew, as the next process does."""
    (tmp_path / "code").mkdir()
    path = tmp_path / "code" / "module.py"
    path.write_text(SOURCE)

    def load():
        spec = importlib.util.spec_from_file_location("module", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.twice

    return load


@pytest.fixture
def nowhere_else(tmp_path, monkeypatch):
    """Nothing can be written but the system's temporary space, which is `tmp_path / "tmp"`."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for locator in caching.CompileResultCacheImpl._locator_classes:
        monkeypatch.setattr(locator, "from_function", classmethod(lambda cls, function, path: None))
    own = classmethod(caching._SourceFileBackedLocatorMixin.from_function.__func__)
    monkeypatch.setattr(caching.UserWideCacheLocator, "from_function", own)
    classes = [caching.UserProvidedCacheLocator, compiled.TemporaryLocator]
    monkeypatch.setattr(compiled.KernelCacheImpl, "_locator_classes", classes)
    for told in (compiled.temporary_folder, compiled.tell):
        told.cache_clear()
    yield tmp_path / "tmp"
    for told in (compiled.temporary_folder, compiled.tell):
        told.cache_clear()


def hits(twice) -> int:
    return sum(twice.stats.cache_hits.values())


def test_truth_what_was_compiled_is_kept_beside_the_code(kernel, tmp_path):
    first, second = kernel(), kernel()
    assert (first(21), second(21), hits(first), hits(second)) == (42, 42, 0, 1)
    assert Path(second.stats.cache_path) == tmp_path / "code" / "__pycache__"


def test_truth_a_kernel_is_compiled_again_when_one_that_it_calls_has_changed(tmp_path, monkeypatch):
    package = tmp_path / "called"
    package.mkdir()
    imported = "from masterlight.compiled import njit\n{}\n\n@njit(cache=True)\ndef {}(x):\n    return {}\n"
    (package / "outer.py").write_text(imported.format("from called.middle import middle", "outer", "middle(x) + 1"))
    (package / "middle.py").write_text(imported.format("from called import inner", "middle", "inner.inner(x)"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def outcome(factor: str = "") -> tuple[int, int]:
        if factor:
            (package / "inner.py").write_text(imported.format("", "inner", f"({factor}) * x"))
        for name in [name for name in sys.modules if name.partition(".")[0] == "called"]:
            monkeypatch.delitem(sys.modules, name)
        for kept in (compiled.stamps_of, compiled.called_by):
            kept.cache_clear()
        importlib.invalidate_caches()
        kernel = importlib.import_module("called.outer").outer
        return kernel(2), hits(kernel)

    assert [outcome("2"), outcome(), outcome("2 + 40")] == [(5, 0), (5, 1), (85, 0)]


@pytest.mark.parametrize("end", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"", b"\x80garbage", b"nonsense" * 99])
def test_truth_a_damaged_cache_costs_time_alone(kernel, tmp_path, end, damage):
    kernel()(21)
    for path in (tmp_path / "code" / "__pycache__").glob(f"*.{end}"):
        path.write_bytes(damage)
    again, then = kernel(), kernel()
    assert (again(21), hits(again)) == (42, 0)
    assert (then(21), hits(then)) == (42, 1), "it was mended"


def test_truth_a_full_disk_costs_time_alone(kernel, monkeypatch):
    def full(self, name, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full)
    assert kernel()(21) == 42 and kernel()(21) == 42


def test_truth_the_temporary_space_is_the_last_place_and_is_told_once(kernel, nowhere_else, caplog):
    first, second = kernel(), kernel()
    assert (first(21), second(21), hits(second)) == (42, 42, 1)
    folder = Path(second.stats.cache_path).parent
    assert folder.parent == nowhere_else and folder.stat().st_mode & 0o777 == 0o700
    compiled.temporary_folder.cache_clear()
    kernel()(21)
    assert [record.getMessage().count(str(folder)) for record in caplog.records] == [1]


@pytest.mark.skipif(os.name != "posix", reason="owners and permissions")
def test_truth_a_folder_of_somebody_else_is_not_trusted(kernel, nowhere_else, caplog):
    folder = nowhere_else / f"masterlight-kernels-{os.geteuid()}-{masterlight.__version__}"
    folder.mkdir()
    folder.chmod(0o777)
    first, second = kernel(), kernel()
    assert (first(21), second(21)) == (42, 42) and not list(folder.iterdir()) and first.stats.cache_path is None
    assert ["compiled anew each time" in record.getMessage() for record in caplog.records] == [True]
    folder.rmdir()
    folder.symlink_to(nowhere_else.parent / "code")
    compiled.temporary_folder.cache_clear()
    assert kernel()(21) == 42 and kernel().stats.cache_path is None


def test_surface_the_variable_of_numba_is_honoured(tmp_path):
    code = "from masterlight.core import decode; print(decode.decode_int16.stats.cache_path)"
    told = {"capture_output": True, "text": True, "env": os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}}
    done = subprocess.run([sys.executable, "-c", code], **told)
    assert Path(done.stdout.strip()).parent == tmp_path / "kept" and not done.stderr


AS_NOBODY = """
setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search
env -u HOME -u XDG_CACHE_HOME -u NUMBA_CACHE_DIR
""".split()
"""A user without a home who may read everything, also a Python in the home of root, and write nothing."""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("setpriv"), reason="not root")
def test_truth_a_read_only_package_without_a_home_runs(tmp_path):
    package, space = tmp_path / "package" / "masterlight", tmp_path / "tmp"
    shutil.copytree(masterlight.__path__[0], package, ignore=shutil.ignore_patterns("__pycache__"))
    space.mkdir()
    space.chmod(0o777)
    where = [f"PYTHONPATH={package.parent}", f"TMPDIR={space}", "PYTHONDONTWRITEBYTECODE=1"]
    code = "import masterlight.integration.kernels.combine as kernels; print(kernels.stack.stats.cache_path)"
    done = subprocess.run([*AS_NOBODY, *where, sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    if "setpriv" in done.stderr:
        pytest.skip(done.stderr)
    assert Path(done.stdout.strip()).is_relative_to(space), done.stderr
    assert done.stderr.count("NUMBA_CACHE_DIR") == done.stderr.count("\n") == 1


def test_numba_before_0_62_calls_its_place_by_another_name(monkeypatch):
    place = caching.UserWideCacheLocator
    monkeypatch.delattr(caching, "UserWideCacheLocator")
    monkeypatch.setattr(caching, "_UserWideCacheLocator", place, raising=False)
    spec = importlib.util.spec_from_file_location("older", compiled.__file__)
    older = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(older)
    assert issubclass(older.TemporaryLocator, place)
