"""Folders that the user says hold frames of one kind: where they are, and how the kind of these frames is settled."""

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from masterlight.core.errors import ParameterError
from masterlight.core.frame import Frame
from masterlight.core.headers.kinds import A_KIND
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
