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


def kernels_and_calls() -> tuple[dict, dict]:
    """The marks of every kernel by (module, name), and which kernels each of them calls."""
    marks, calls = {}, {}
    for path in FILES:
        module, body = (
            ".".join(("masterlight", *path.relative_to(ROOT).with_suffix("").parts)),
            ast.parse(path.read_text()),
        )
        imports = [node for node in ast.walk(body) if isinstance(node, ast.ImportFrom)]
        known = {alias.name: (node.module, alias.name) for node in imports for alias in node.names}
        functions = [node for node in body.body if isinstance(node, ast.FunctionDef)]
        known |= {node.name: (module, node.name) for node in functions}
        for node in functions:
            marks[module, node.name] = " ".join(map(ast.unparse, node.decorator_list))
            names = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} - {node.name}
            calls[module, node.name] = {known[name] for name in names if name in known}
    kernels = {key: words for key, words in marks.items() if "njit" in words}
    return kernels, {key: calls[key] & kernels.keys() for key in kernels}


def test_a_kernel_computes_the_same_bits_compiled_now_or_loaded_from_the_cache():
    """What kernels call is inlined where fast-math is in it, its own or that of what was inlined into it.

    The cache holds a caller with copies of what it calls, optimized once more than the functions that run in the
    process that compiles; with fast-math the two may differ in the last bit.
    """
    kernels, calls = kernels_and_calls()
    inlined = {key for key, marks in kernels.items() if "inline" in marks}
    free = {key for key, marks in kernels.items() if "fastmath" in marks}
    while more := {key for key in kernels.keys() - free if calls[key] & free & inlined}:
        free |= more
    wrong = set().union(*calls.values()) & free - inlined
    assert len(free) > 20 and not wrong, f"give these forceinline=True: {sorted(wrong)}"
