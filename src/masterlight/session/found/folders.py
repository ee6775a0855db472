"""Folders that the user says hold frames of one kind: where they are, and how the kind of these frames is settled."""

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from masterlight.core.errors import ParameterError
from masterlight.core.frame import Frame
from masterlight.core.headers.kinds import A_KIND, FOLDERS, without_folder
from masterlight.core.headers.names import kind_of_words
from masterlight.io import is_supported

USER = "user"
"""The witness of a kind whose word is final."""


def places_of(kind_dirs: Mapping[str, Sequence[str]], night: str) -> dict[str, str]:
    """Folders and files of one kind, the inner ones last, each with the name of its knob, as `flat_dir`.

    kind_dirs: folders and patterns by knob, as typed or below the folder of the night. ParameterError where nothing is.
    """
    found: dict[str, str] = {}
    for knob, given in kind_dirs.items():
        for words in given:
            for place in map(os.path.realpath, matching(words, night) or nothing(knob, words)):
                other = found.setdefault(place, knob)
                if other != knob:
                    raise ParameterError(f"{words} is given by both Recipe.{other} and Recipe.{knob}; take one away")
    return dict(sorted(found.items(), key=lambda pair: pair[0].count(os.sep)))


def matching(words: str, night: str) -> list[str]:
    """What a name or pattern stands for, from where we are or else from the folder of the night on."""
    words = os.path.expanduser(words)
    for pattern in (words, os.path.join(night, words)):
        if os.path.exists(pattern):
            return [pattern]
        if found := sorted(glob.glob(pattern, recursive=True)):
            return [path for path in found if os.path.isdir(path) or is_supported(path)]
    return []


def nothing(knob: str, words: str) -> Any:
    """Say that a folder is not there."""
    raise ParameterError(
        f"Recipe.{knob}: no folder or image is called {words}; look for a slip of the pen, or leave it out"
    )


def of_kind(frame: Any, knob: str | None) -> Any:
    """A frame with the kind that the user gave it by this knob; what could not be read, and all others, as they are."""
    if knob is None or not isinstance(frame, Frame):
        return frame
    meta, kind = frame.meta, knob.removesuffix("_dir")
    if meta.kind == "flatdark" and kind == "dark":
        kind = "flatdark"
    notes = tuple(note for note in meta.notes if not note.startswith("taken for"))
    if meta.kind != kind:
        doubts = "" if meta.kind == "unknown" else f", though it seemed to be {A_KIND[meta.kind]}"
        notes += (f"taken for {A_KIND[kind]} by Recipe.{knob}{doubts}",)
    return replace(frame, meta=meta.with_(kind=kind, told=((USER, kind), *meta.told), notes=notes))


ALSO = {"flat": {"flat", "flatdark", "dark"}, "dark": {"dark", "flatdark"}}
"""What lies in a folder of a kind as a matter of course, where that is more than this kind."""


def without_mixed(frames: Sequence[Any]) -> list[Any]:
    """Frames judged anew where the folder that tells their kind holds two other kinds too, as one of a night does."""
    kinds: dict[str, set[str]] = {}
    for frame in frames:
        if isinstance(frame, Frame):
            for folder in above(frame.source):
                kinds.setdefault(folder, set()).add(frame.meta.kind)
    return [judged_again(frame, kinds) if is_told_by_folder(frame) else frame for frame in frames]


def above(source: str) -> list[str]:
    """The folders above a frame that are asked for its kind, the nearest first."""
    folders = [os.path.dirname(source)]
    while len(folders) < FOLDERS and folders[-1]:
        folders.append(os.path.dirname(folders[-1]))
    return folders


def is_told_by_folder(frame: Any) -> bool:
    """Whether a folder is among the witnesses of a frame, and the user is not."""
    witnesses = {witness for witness, _ in frame.meta.told} if isinstance(frame, Frame) else set()
    return "folder" in witnesses and USER not in witnesses


def judged_again(frame: Frame, kinds: Mapping[str, set[str]]) -> Frame:
    """A frame without its folder as a witness, if that is one of a night; else as it is."""
    meta, named = frame.meta, dict(frame.meta.told)["folder"]
    folder = next(folder for folder in above(frame.source) if kind_of_words(os.path.basename(folder)))
    if len(kinds[folder] - ALSO.get(named, {named}) - {"unknown"}) < 2:
        return frame
    made = without_folder(meta.told, frame.source, meta.declared, meta.object or "", meta.program or "")
    notes = [
        note for note in meta.notes if not note.startswith(tuple(f"taken for {kind} by" for kind in A_KIND.values()))
    ]
    kind, told, note = made
    notes += [note] if note else []
    return replace(frame, meta=meta.with_(kind=kind, told=told, notes=tuple(notes)))
