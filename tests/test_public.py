"""The public names: one list for the lazy import, editors and type checkers; every one explained and typed."""

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import masterlight as ml
from masterlight.core.process import knobs
from masterlight.processes import PROCESSES

HERE = Path(__file__).parent
SOURCE = Path(ml.__file__).parent.parent
OPEN_ALIASES = ("numpy.ndarray[tuple[Any, ...], ", "numpy.dtype[Any]", "slice[Any, Any, Any]")
"""How numpy and Python spell `np.ndarray` and `slice`, which leave shape and kind of numbers open."""


def public_names():
    """Every public name, and every public method of every public class, as one writes them."""
    for name in ml.__all__:
        value = getattr(ml, name)
        yield f"ml.{name}"
        for part, method in vars(value).items() if isinstance(value, type) else ():
            method = getattr(method, "__func__", method)
            shown = inspect.isfunction(method) or isinstance(method, property)
            if shown and (not part.startswith("_") or part in ("__call__", "__getitem__")):
                yield f"ml.{name}.{part}"


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What mypy --strict says, line by line: of user scripts, of mistakes, of the type of every public name."""
    folder = tmp_path_factory.mktemp("mypy")
    (folder / "revealed.py").write_text(
        "import masterlight as ml\n" + "".join(f"reveal_type({name})\n" for name in public_names())
    )
    examples = sorted((HERE.parent / "examples").glob("*.py"))
    for example in examples:  # the name of a module does not begin with a digit
        (folder / f"example_{example.name.replace('-', '_')}").write_text(example.read_text())
    scripts = [*sorted(folder.glob("*.py")), *sorted((HERE / "typing").glob("*.py"))]
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    command += [f"--cache-dir={folder}", "--no-error-summary", "--config-file=", *map(str, scripts)]
    environment = {} if SOURCE.name == "site-packages" else {"MYPYPATH": str(SOURCE)}
    told = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert not told.stderr, told.stderr
    return [line.rpartition("/")[2] for line in told.stdout.splitlines()]


def test_surface_scripts_of_users_are_fully_typed(checked):
    """examples/ and a script that uses what is typed: not one complaint."""
    assert [line for line in checked if line.startswith(("example_", "user_script"))] == []


def test_surface_mistakes_are_seen_before_anything_runs(checked):
    lines = (HERE / "typing" / "mistakes.py").read_text().splitlines()
    expected = {f"{i}: {line.rpartition('# ')[2]}" for i, line in enumerate(lines, 1) if line.startswith("ml.")}
    told = [re.match(r"mistakes\.py:(\d+): error: .*\[([\w-]+)\]$", line) for line in checked]
    assert {f"{match[1]}: {match[2]}" for match in told if match} == expected


def test_surface_no_public_name_is_any(checked):
    """Each name and each public method has a type without holes; only what an event carries is open."""
    names, open_names = ["", *public_names()], []
    for line in checked:
        if match := re.match(r'revealed\.py:(\d+): note: Revealed type is "(.*)"$', line):
            name, shown = names[int(match[1]) - 1], match[2]
            for alias in OPEN_ALIASES:
                shown = shown.replace(alias, "")
            if re.search(r"\bAny\b", shown):
                open_names.append(f"{name}: {shown}")
    assert sum(line.startswith("revealed.py") and "note: Revealed" in line for line in checked) == len(names) - 1
    assert [name for name in open_names if name.split(":")[0] != "ml.Event"] == []


@pytest.mark.parametrize("name", ["run", "simulate", "DrizzleIntegration.__call__"])
def test_surface_generators_tell_what_they_yield_and_return(checked, name):
    number = 2 + list(public_names()).index(f"ml.{name}")
    shown = next(line for line in checked if line.startswith(f"revealed.py:{number}:"))
    assert re.search(r"-> typing\.Generator\[masterlight\.core\.workers\.Event, None, masterlight\.", shown), shown


def test_surface_one_list_of_public_names():
    """`dir`, `__all__` and the file that type checkers read tell the same; another name is refused by name."""
    listed = set(re.findall(r" as (\w+)$", (SOURCE / "masterlight" / "__init__.pyi").read_text(), re.M))
    assert listed | {"__version__"} == set(ml.__all__) and listed < set(dir(ml))
    assert (SOURCE / "masterlight" / "py.typed").exists()
    with pytest.raises(AttributeError, match="'masterlight' has no attribute 'nothing'"):
        _ = ml.nothing


def test_surface_importing_takes_no_time():
    """20 ms beside what an empty python takes."""
    code = "import importlib, time; t = time.process_time(); import masterlight; print(time.process_time() - t)"
    times = [float(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout) for _ in range(3)]
    assert min(times) < 0.02


@pytest.mark.parametrize("name", [*PROCESSES, "Recipe", "Night"])
def test_surface_help_lists_every_knob(name):
    """help(ml.X) and ml.X? in IPython: each knob with its words, unit, range and default."""
    process = getattr(ml, name)
    for page in (pydoc.plain(pydoc.render_doc(process)), inspect.getdoc(process)):
        lines = [line.strip(" |") for line in page.splitlines()]
        for knob in knobs(process):
            at = lines.index(f"{knob.path} : {knob.facts}")
            assert lines[at + 1] == knob.help
            assert knob.usual in knob.facts and knob.unit in knob.facts and (knob.range in knob.facts or knob.choices)
