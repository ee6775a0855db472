"""docs/benchmarks.md: the machine in a sentence, and sections that scripts write anew."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def machine() -> str:
    """The machine and the versions, in a sentence."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
        if any(" avx512f " in f"{line} " for line in lines if line.startswith("flags")):
            model += " (AVX-512)"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = ", ".join(f"{name} {version(name)}" for name in ("masterlight", "numpy", "numba"))
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {cores} cores, {system}, Python {platform.python_version()}, {names}."


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between the marks `<!-- name -->` and `<!-- /name -->`."""
    old = page.read_text()
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in old or end not in old:
        raise SystemExit(f"{page} has no marks {start} and {end}")
    page.write_text(re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{text}\n{end}", old, flags=re.DOTALL))
