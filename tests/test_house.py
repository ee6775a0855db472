"""The house as docs/architecture.md draws it: what no linter of imports alone would hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import masterlight

ROOT = Path(masterlight.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MOST_FILES, MOST_LINES_OF_A_FUNCTION = 12, 60
APART = ("masterlight.processes", "masterlight.night", "masterlight.__main__")


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("masterlight", cache_dir=None)


def chapter(module: str) -> str:
    return ".".join(module.split(".")[:2])


OPENED = {
    (name.group(1), ".".join(("masterlight", *path.relative_to(ROOT).with_suffix("").parts)))
    for path in FILES
    for name in re.finditer(r"engine\(\"([\w.]+)\"\)", path.read_text())
}
"""Modules that are opened by name when a process is called, and by whom."""


def importers(graph, module: str) -> set[str]:
    """Who imports or opens a module; the faces of packages, which only hand names on, do not count."""
    found = graph.find_modules_that_directly_import(module)
    opened = {by for name, by in OPENED if f"masterlight.{name}" == module}
    return {name for name in found if not graph.find_children(name)} | opened


def test_no_folder_is_a_bag():
    for folder in {path.parent for path in FILES}:
        count = len(list(folder.glob("*.py")))
        assert count <= MOST_FILES, f"{folder.name} has {count} files: which second idea does it hold?"


def test_no_circle_of_imports(graph):
    """Not even one under TYPE_CHECKING, which import-linter is told to leave out."""
    for module in graph.modules:
        reached = graph.find_downstream_modules(module) if module != "masterlight" else set()
        own = {m for m in reached if module in graph.find_downstream_modules(m)} - {module}
        assert not own, f"{module} is in a circle with {sorted(own)}"


def test_no_module_serves_one_module_of_another_chapter(graph):
    for module in graph.modules:
        users = importers(graph, module)
        if len(users) == 1 and not graph.find_children(module) and not module.startswith(APART):
            user = users.pop()
            strange = chapter(user) != chapter(module) and not user.startswith(APART)
            assert not strange, f"{module} is imported by {user} alone: it belongs there"


def test_the_page_of_the_house_names_every_file():
    page = ROOT.parents[1] / "docs" / "architecture.md"
    if not page.is_file():
        pytest.skip("the pages are not installed with the package")
    tree = page.read_text().split("## The tree")[1].split("## Floors")[0]
    words = set(re.findall(r"\w+", tree))
    missing = [path.stem for path in FILES if path.stem not in words and path.stem not in ("__init__", "__main__")]
    assert not missing


def test_functions_fit_on_a_screen():
    long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.body[0].lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION + 15:
                    long.append(f"{path.relative_to(ROOT)}: {node.name}, {lines} lines")
    assert not long


@pytest.mark.parametrize("words", [["run", "--help"], ["recipe"], ["integrate", "--help-all"], ["--help"]])
def test_flags_forms_and_recipes_open_no_engine(words):
    code = (
        "import sys, contextlib, io\n"
        "from masterlight.doors.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    main({words!r}, standalone_mode=False)\n"
        "print([name for name in ('numba', 'scipy', 'astropy', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
