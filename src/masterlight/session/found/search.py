"""Which files of a folder may be frames, and what is passed over on the way: nothing of it in silence."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath

from masterlight.io import PICTURE, is_supported, other_kind

SHUT = ("a folder that cannot be opened", "change its permissions")
ASTRAY = ("a link that leads nowhere", "copy what it stands for to its place, or connect the disk that holds it")
ABOVE = ("a link to a folder above it", "link to the folder of the frames alone, or give that folder too")
FEW = 3
"""Names that are told of many."""


@dataclass
class Found:
    """What a walk through folders found, by paths."""

    images: list[str] = field(default_factory=list)
    """Files whose names end as those of frames do."""
    others: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """What is not read, by what it is and what to do with it."""
    links: list[str] = field(default_factory=list)
    """Linked folders that were followed, and where they lead."""
    pictures: list[str] = field(default_factory=list)
    files: Counter[str] = field(default_factory=Counter)
    """Files of no image format, counted by the ends of their names."""
    hidden: int = 0
    """Folders and image files whose names begin with a dot."""
    results: list[str] = field(default_factory=list)
    """Folders with products of earlier runs."""
    known: dict[str, str] = field(default_factory=dict)
    """The names under which folders were walked, by where they really lie."""
    twice: int = 0
    """Links to folders that were walked under another name."""
    empty: list[str] = field(default_factory=list)
    """Folders without any image in them or below."""

    def put(self, kind: tuple[str, str], path: str) -> None:
        self.others.setdefault(kind, []).append(path)

    def add(self, more: "Found") -> None:
        """Take in what another walk has found."""
        self.images += more.images
        self.links += more.links
        self.pictures += more.pictures
        self.results += more.results
        self.empty += more.empty
        self.files += more.files
        self.hidden += more.hidden
        self.twice += more.twice
        self.known |= more.known
        for kind, paths in more.others.items():
            self.others.setdefault(kind, []).extend(paths)

    def sentences(self) -> tuple[str, ...]:
        """One sentence for each kind of file that may hold images and is not read; pictures where there is no more."""
        told = [f"not read: {some(paths)} ({kind}{' each' * (len(paths) > 1)}): {todo}"
                for (kind, todo), paths in sorted(self.others.items())]  # fmt: skip
        if self.pictures and not self.images:
            kind, todo = other_kind(self.pictures[0]) or (PICTURE, "")
            told.append(f"not read: {some(self.pictures)} ({kind}{' each' * (len(self.pictures) > 1)}): {todo}")
        return tuple(told)

    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of folders that were read: links that were followed, and folders without images."""
        many, none = len(self.links), len(self.empty)
        more = f" and {many - FEW} more" if many > FEW else ""
        links = (
            [f"{many} linked folder{'s' * (many > 1)} followed: {', '.join(self.links[:FEW])}{more}"] if many else []
        )
        empty = [f"{none} folder{'s' * (none > 1)} without images: {some(self.empty)}"] if none else []
        return (*links, *empty)

    def unseen(self) -> tuple[str, ...]:
        """What was not looked at, counted, in a few words each."""
        kinds = [(len(paths), kind.split(" ", 1)[1]) for (kind, _), paths in sorted(self.others.items())]
        ends = ", ".join(sorted(self.files)[:4]) + (" ..." if len(self.files) > 4 else "")
        rows = [
            *kinds, (len(self.pictures), PICTURE.split(" ", 1)[1]), (self.files.total(), f"other file ({ends})"),
            (self.hidden, "hidden file or folder"), (len(self.results), "folder of an earlier run"),
            (self.twice, "link to a folder that is read anyway"), (len(self.empty), "folder without images"),
        ]  # fmt: skip
        return tuple(f"{count} x {words}" for count, words in rows if count)


def some(paths: list[str]) -> str:
    """The first of many paths, by their last two parts."""
    names = ["/".join(PurePath(path).parts[-2:]) for path in paths[:FEW]]
    return ", ".join(names) + (f" and {len(paths) - FEW} more" if len(paths) > FEW else "")


def search(roots: Iterable[str]) -> Found:
    """The image files in these folders and below, or among these files; real ones first, then what links lead to.

    A linked folder is followed once, under the name of its link, unless it lies among the folders anyway or is one
    that holds its link.
    """
    found, links, given = Found(), list[str](), set[str]()
    for root in roots:
        if os.path.isdir(root):
            given.add(root)
            links += walk(root, found)
        else:
            found.images.append(root)
    for link in links:  # which grows while linked folders hold links
        place = os.path.realpath(link)
        if place in found.known:
            found.twice += 1
        elif os.path.realpath(os.path.dirname(link)).startswith(os.path.join(place, "")):
            found.put(ABOVE, link)
        else:
            found.links.append(f"{os.path.basename(link)} -> {place}")
            links += walk(link, found)
    found.empty = without_images(found, given)
    return found


def walk(root: str, found: Found) -> list[str]:
    """Look through a folder and all real ones below; the links to folders in it, which are not followed."""
    links: list[str] = []
    for folder, folders, files in os.walk(root, onerror=lambda error: found.put(SHUT, str(error.filename))):
        place = os.path.realpath(folder)
        if place in found.known:
            folders.clear()
            continue
        found.known[place], ours = folder, is_result(folder)
        shown = [name for name in sorted(folders) if not name.startswith(".") and not (ours and name == "masters")]
        found.hidden += sum(name.startswith(".") for name in folders)
        results = [name for name in shown if is_result(os.path.join(folder, name))]
        linked = [name for name in shown if name not in results and os.path.islink(os.path.join(folder, name))]
        found.results += [*(os.path.join(folder, name) for name in results), *([folder] if ours else [])]
        links += [os.path.join(folder, name) for name in linked]
        folders[:] = [name for name in shown if name not in results and name not in linked]
        sort_files(folder, sorted(files), ours, found)
    return links


def without_images(found: Found, given: set[str]) -> list[str]:
    """The uppermost of the folders that hold no image at all, not even of a kind that is not read, where others do."""
    files = [*found.images, *found.pictures, *(path for paths in found.others.values() for path in paths)]
    full = {os.path.dirname(path) for path in files} | {path for path in found.results}
    for folder in list(full):
        while (folder := os.path.dirname(folder)) and folder not in full:
            full.add(folder)
            if folder == os.path.dirname(folder):
                break
    shut = set(found.others.get(SHUT, ()))
    bare = [folder for folder in found.known.values() if folder not in full | shut]
    return [folder for folder in bare if os.path.dirname(folder) in full or (files and folder in given)]


def sort_files(folder: str, names: list[str], ours: bool, found: Found) -> None:
    """Put the files of a folder where they belong; of the products of an earlier run nothing but what others added."""
    for name in names:
        path, hidden = os.path.join(folder, name), name.startswith(".")
        if is_supported(name):
            if hidden:
                found.hidden += 1
            elif not (ours and name.startswith("master_light")):
                found.images.append(path)
        elif hidden or ours:
            continue
        elif os.path.islink(path) and not os.path.exists(path):
            found.put(ASTRAY, path)
        elif kind := other_kind(name):
            if kind[0] == PICTURE:
                found.pictures.append(path)
            else:
                found.put(kind, path)
        else:
            found.files[os.path.splitext(name)[1].lower() or name] += 1


def is_result(folder: str) -> bool:
    """Whether a folder holds the results of an earlier run."""
    return os.path.isfile(os.path.join(folder, "report.json")) and os.path.isdir(os.path.join(folder, "masters"))
