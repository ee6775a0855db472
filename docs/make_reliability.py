"""The tables of docs/reliability.md, made from the kinds of bad input that the tests try.

python docs/make_reliability.py
"""

import sys
from pathlib import Path

from pages import ROOT, replace_part

sys.path.insert(0, str(ROOT / "tests"))

import bed
from badcases import BAD_CASES
from badinput import BAD_FILES
from verdicts import roles_of

PAGE = ROOT / "docs" / "reliability.md"
TITLES = {
    "header": "Headers",
    "file": "Files",
    "pixels": "Pixels",
    "choice": "Choosing subframes",
    "night": "Nights",
    "flag": "Flags",
    "recipe": "Recipes",
    "output": "Outputs",
}
STATUSES = {"0": "done", "1": "done, some left out", "2": "refused"}


def cell(words: str) -> str:
    return words.replace("|", "\\|")


def file_table(kinds) -> list[str]:
    lines = ["| kind | what is wrong | what comes of it | places |", "| --- | --- | --- | --- |"]
    for kind in kinds:
        places = len(roles_of(kind, bed.ROLES.values()))
        gap = f" (a known gap: {kind.gap})" if kind.gap else ""
        lines.append(f"| `{kind.name}` | {cell(kind.words)} | {kind.expect}{gap} | {places} |")
    return lines


def case_table(kinds) -> list[str]:
    lines = ["| kind | what is wrong | how it ends |", "| --- | --- | --- |"]
    for kind in kinds:
        ends = "; ".join(dict.fromkeys(end_of(command, statuses) for command, (statuses, _) in kind.tries.items()))
        gap = f" (a known gap: {kind.gap})" if kind.gap else ""
        lines.append(f"| `{kind.name}` | {cell(kind.words)} | {cell(ends)}{gap} |")
    return lines


def end_of(command: str, statuses: str) -> str:
    """A verb and how it ends: `run`: refused."""
    verb = command.split(" ")[0] or "masterlight"
    return f"`{verb}`: {' or '.join(STATUSES[status] for status in statuses)}"


def tables() -> str:
    parts = []
    for table, lines_of in ((BAD_FILES, file_table), (BAD_CASES, case_table)):
        for group, kinds in table.items():
            parts += [f"### {TITLES[group]}: {len(kinds)} kinds", "", *lines_of(kinds), ""]
    return "\n".join(parts).rstrip()


def counts() -> str:
    files = [kind for kinds in BAD_FILES.values() for kind in kinds]
    cases = [kind for kinds in BAD_CASES.values() for kind in kinds]
    tries = sum(len(roles_of(kind, bed.ROLES.values())) for kind in files) + sum(len(kind.tries) for kind in cases)
    return f"{len(files) + len(cases)} kinds of bad input, {tries:,} tries over all verbs"


if __name__ == "__main__":
    replace_part(PAGE, "counts", counts())
    replace_part(PAGE, "kinds", tables())
    print(counts(), Path(PAGE).name)
