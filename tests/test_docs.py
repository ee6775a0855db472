"""The pages: every public name is in the API reference, every knob in its tables, every link leads somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import masterlight as ml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]


@pytest.fixture(scope="module")
def site():
    sys.path.insert(0, str(ROOT / "docs"))
    import make_site

    yield make_site
    sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def chapters(site) -> dict[str, str]:
    """The pages of the API reference by name."""
    return {name: site.chapter_page(*chapter) for name, chapter in site.CHAPTERS.items()}


def test_surface_every_public_name_is_on_one_page(site, chapters):
    named = [name for _, rooms, _ in site.CHAPTERS.values() for name in site.public(rooms)]
    assert sorted(named) == sorted(set(ml.__all__) - {"PROCESSES", "__version__"})
    entries = re.findall(r"^::: (\S+)", "\n".join(chapters.values()), re.MULTILINE)
    assert len(entries) == len(set(entries))
    linked = set(re.findall(r"\]\[(masterlight[\w.]+)\]", "\n".join([*chapters.values(), site.index_page()])))
    assert linked <= set(entries)


def test_surface_knobs_stand_with_their_facts(chapters):
    row = next(line for line in chapters["alignment"].splitlines() if line.startswith("| `tolerance_px`"))
    assert "Largest distance" in row and "above 0 to 50 px" in row and "`3`" in row
    assert "[`LargeScaleRejection`]" in chapters["integration"]


def test_surface_the_menu_has_every_page(site):
    menu = (ROOT / "mkdocs.yml").read_text()
    wanted = [f"api/{name}.md" for name in site.CHAPTERS] + [page.name for page in (ROOT / "docs").glob("*.md")]
    assert [page for page in [*wanted, *site.OF_THE_ROOT] if f" {page}" not in menu] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_surface_links_lead_to_files(page):
    made = {"api/index.md", "contributing.md", "changelog.md"}
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target in made or target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["alignment", "integration", "subframes"])
def test_surface_the_pages_run(page):
    script = ROOT / "docs" / f"make_{page}.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
