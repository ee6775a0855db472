"""Which kind a frame is: what its header, its folder, its name and its exposure say, and whom to believe.

Capture programs write `Light Frame` where nobody chose anything else, and observatories write OBJECT on flats and bias
frames alike. So a header that says dark, flat or bias was told so by somebody and stands; one that says light can be
overruled, and whatever is overruled is told in one note that names each witness.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import NamedTuple

from masterlight.core.headers.names import FILE_KIND, kind_of_words, parted
from masterlight.core.headers.values import text

TYPE = ("IMAGETYP", "FRAMETYP", "FRAME", "CALFRAME", "IMAGETYPE", "IMGTYPE", "OBSTYPE", "DATA-TYP", "ESO DPR TYPE")
"""Keywords that tell the kind of a frame; FRAME also holds numbers, and names of systems of coordinates."""

WEAK_TYPE = ("FRAME", "OBSTYPE", "DATA-TYP", "ESO DPR TYPE")
"""Those in which a light means no more than that nobody said otherwise."""

LAMPS = r"(?:dome|sky|twi|twilight|tw|lamp|led|panel|screen|projector|internal|external|morning|evening|dusk|dawn)"

TYPES = {
    "flatdark": r"darks?(?:for)?flats?|flats?darks?",
    "bias": r"(?:super)?bias(?:es)?|offsets?|zeros?",
    "dark": r"darks?",
    "flat": rf"{LAMPS}*flats?(?:field)?s?{LAMPS}*",
    "light": r"lights?(?:stack|calibrated)?|science|tricolor",
    "weak": r"objects?|targets?|expose|exposure|standard|std|normal|raw|",
}
"""What the type of a frame can be, lower case, without blanks, signs and the words frame, field, image, master; `weak`
are words for a frame of the sky, or of whatever the camera looked at."""

NEVER = re.compile(r"snapshot|focus|focusing|autofocus|test|comp|comparison|arcs?|arclamp|wave|guide|acquisition|bpm")
"""Types that are none of ours, whatever the folder is called."""

FOLDERS = 3
"""So many folders above a frame are asked for its kind, the nearest first."""

LONGEST_BIAS_S = 1.0
"""What is exposed longer is no bias frame because its OBJECT says so."""

A_KIND = {"light": "a light", "dark": "a dark", "flat": "a flat", "bias": "a bias frame", "flatdark": "a flat-dark"}


class Header(NamedTuple):
    """What the header says of the kind: `strong` when somebody must have chosen it."""

    kind: str | None
    strong: bool
    explicit: bool
    """Whether a keyword says it that programs fill in with care."""
    vague: bool
    """Whether the word, if any, stands for whatever the camera looked at."""
    is_master: bool
    declared: str | None
    never: bool


class Verdict(NamedTuple):
    """The kind of a frame, and what each witness said of it, as (witness, kind)."""

    kind: str
    is_master: bool
    declared: str | None
    told: tuple[tuple[str, str], ...]


HEADERS = ("header", "weak header", "vague header")
"""The header as a witness: one that is filled in with care, one that is not, one that says OBJECT or the like."""


def verdict_of(cards: Mapping, source: str, exposure_s: float | None, notes: list[str], program: str = "") -> Verdict:
    """The kind of a frame; what had to be decided between witnesses is told in one note."""
    header, parts = header_of(cards), PurePath(str(source)).parts
    name, by_name = kind_in_name(parts[-1] if parts else "")
    folder, where, by_folder = folder_of(parts)
    object_ = text(cards, "OBJECT") or ""
    said = {
        HEADERS[0 if header.explicit else 1 + header.vague]: header.kind,
        "folder": folder, "name": name, "exposure": "bias" if exposure_s == 0 else None,
        "OBJECT": kind_of_words(object_) if header.vague else None,
    }  # fmt: skip
    if said["OBJECT"] == "bias" and (exposure_s or 0) > LONGEST_BIAS_S:
        said["OBJECT"] = None
    told = tuple((witness, kind) for witness, kind in said.items() if kind)
    if header.never:
        return Verdict("unknown", header.is_master, header.declared, told)
    kind = kind_by(dict(told), source, program)
    named = by_name and name in near(kind)
    if named and header.explicit and not header.is_master:
        notes.append(f"taken for a master by its name '{parts[-1]:.60}'")
    named = named or (by_folder and folder in near(kind) and not header.explicit)
    if note := note_of(kind, told, source, header.declared, object_):
        notes.append(note)
    return Verdict(kind, header.is_master or named, header.declared, told)


def without_folder(
    told: tuple[tuple[str, str], ...], source: str, declared: str | None, object_: str, program: str
) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """The kind of a frame whose folder, as it turned out, tells nothing; the witnesses that are left, and the note."""
    left = tuple(one for one in told if one[0] != "folder")
    kind = kind_by(dict(left), source, program)
    return kind, left, note_of(kind, left, source, declared, object_)


def kind_by(said: Mapping[str, str], source: str, program: str = "") -> str:
    """The kind of a frame by what the witnesses say."""
    header, folder, name = (said.get(witness) for witness in ("header", "folder", "name"))
    if header and header != "light":
        return strong_kind(header, folder, name, said)
    if header and "N.I.N.A. 1.9" not in program:  # which wrote LIGHT for darks
        return outvoted(folder, name, said.get("exposure")) or "light"
    return weaker_kind(said, source)


def header_of(cards: Mapping) -> Header:
    """What the keywords for the type say; a dark, flat or bias in any of them counts more than an object before it."""
    best = Header(None, False, False, True, False, None, False)
    for key in TYPE:
        declared = (text(cards, key) or "") if key in cards else ""
        word = re.sub(r"[^a-z]", "", declared.lower())
        if not word:
            continue
        is_master = word.startswith("master") or word.endswith("master")
        never = bool(NEVER.fullmatch(word))
        kind = kind_of_type(word)
        strong = kind not in (None, "light", "weak")
        explicit = strong or (kind == "light" and key not in WEAK_TYPE)
        vague = kind in (None, "weak")
        found = Header("light" if kind == "weak" else kind, strong, explicit, vague, is_master, declared, never)
        if strong or explicit or never:
            return found
        if key != "FRAME" or kind:
            best = found if best.declared is None or (best.kind is None and kind) else best
    return best


@lru_cache(1024)
def kind_of_type(word: str) -> str | None:
    """The kind that a type means, "weak" for any frame of the sky, None for one that is none of ours."""
    bare = re.sub(r"master|frame|field|image", "", word)
    return next((kind for kind, spelled in TYPES.items() if re.fullmatch(spelled, bare)), None)


def strong_kind(kind: str, folder: str | None, name: str | None, said: Mapping[str, str]) -> str:
    """The kind that a header names, made finer: darks for flats are called darks too, and a dark of 0 s is a bias."""
    if kind == "dark" and "flatdark" in (folder, name):
        return "flatdark"
    return "bias" if kind == "dark" and "exposure" in said else kind


def near(kind: str) -> set[str]:
    """What else a frame of this kind may be called: darks for flats are darks."""
    return {kind, "dark"} if kind == "flatdark" else {kind}


def outvoted(*votes: str | None) -> str | None:
    """The kind that two witnesses agree on against a header that says light; a flat-dark is a dark to them."""
    for kind in ("flatdark", "dark", "flat", "bias"):
        if kind in votes and sum(vote in near(kind) for vote in votes) >= 2:
            return kind
    return None


def weaker_kind(said: Mapping[str, str], source: str) -> str:
    """The kind where no header names it: by the name, by the folder, by an exposure of 0 s, by the OBJECT.

    In a folder of lights a name that merely holds the word is that of a dark nebula.
    """
    folder, name = said.get("folder"), said.get("name")
    firm = name in ("bias", "flat", "flatdark") or kind_of_words(PurePath(str(source)).stem) == name
    found = name if name not in (None, "light") and (firm or folder != "light") else folder or name
    if "exposure" in said and (found == "dark" or (found is None and "weak header" not in said)):
        return "bias"
    return found or said.get("OBJECT") or said.get("weak header") or said.get("vague header") or "unknown"


def note_of(
    kind: str, told: tuple[tuple[str, str], ...], source: str, declared: str | None, object_: str | None
) -> str:
    """One sentence on who was believed against whom; empty where the header says it and nobody else otherwise."""
    if kind == "unknown":
        return ""
    parts = PurePath(str(source)).parts or ("",)
    words = {"folder": f"its folder {folder_of(parts)[1]:.40}", "name": f"its name '{parts[-1]:.60}'"}
    words |= {"OBJECT": f"OBJECT '{object_ or '':.40}'", "exposure": "its exposure of 0 s"}
    words |= dict.fromkeys(HEADERS, f"its header ({declared})")
    same, header = near(kind), next((said for witness, said in told if witness in HEADERS), None)
    by = [words[witness] for witness, said in told if said == kind and witness not in HEADERS]
    beside = {("folder", "flat")} if kind == "flatdark" else set()  # where they lie as a matter of course
    others = [one for one in told if one[1] not in same and one[0] != "exposure" and one not in beside]
    against = [f"{words[witness]} says {said}" for witness, said in others]
    against += ["it was exposed for 0 s"] if ("exposure", "bias") in told and kind != "bias" else []
    if header in same and not against:
        return ""
    who = f"its header ({declared})" if header in same else " and ".join(by)
    calls = f"the header calls it '{declared}'" if declared else "the header is silent"
    doubts = f", though {' and '.join(against)}" if against else ""
    return f"taken for {A_KIND[kind]} by {who}{doubts}{'' if header else f'; {calls}'}"


def kind_in_name(name: str) -> tuple[str | None, bool]:
    """Kind by the last telling word of a file's name, and whether it calls itself a master."""
    matches = list(FILE_KIND.finditer(parted(name).lower()))
    return (matches[-1].lastgroup, bool(matches[-1][1])) if matches else (None, False)


def folder_of(parts: tuple[str, ...]) -> tuple[str | None, str, bool]:
    """Kind by the nearest folder of a path whose name is one, that folder, and whether it is one of masters."""
    for folder in parts[-2 : -2 - FOLDERS : -1]:
        if kind := kind_of_words(folder):
            return kind, folder, "master" in folder.lower()
    return None, "", False
