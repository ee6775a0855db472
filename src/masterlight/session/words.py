"""Texts as people see them: nothing in them that a terminal would obey, and many sentences of one kind as one."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Kinds of characters that steer a terminal or the direction of writing instead of being seen; broken bytes."""
NAMED = re.compile(r"(?P<head>rejected |left out: |)(?P<name>[^:\n]*?\.\w{1,5}): (?P<rest>.*)", re.DOTALL)
"""A sentence about one file."""
NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?")
FEW = 3
"""Sentences of one kind that are told one by one, and names that are told of more."""


def visible(text: object) -> str:
    r"""A text with what steers a terminal shown as `\x1b`, `\n` or `\u202e`, and broken bytes of a name as `\xff`."""
    words = str(text)
    if words.isprintable():
        return words
    return "".join(shown(c) if unicodedata.category(c) in OBEYED else c for c in words)


def shown(character: str) -> str:
    """A character as Python would write it in a string."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no text: os.fsdecode
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def how_many(count: int, noun: str) -> str:
    """`12 lights`, `1 light`."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


def kind_of(sentence: str) -> str:
    """What a sentence says whatever file and figures it tells of: the same for all of one kind."""
    told = NAMED.fullmatch(sentence)
    return NUMBER.sub("#", f"{told['head']}: {told['rest']}" if told else sentence)


def condense(sentences: Iterable[str]) -> list[str]:
    """Sentences in their order; of more than three of one kind the first, with the first three names and the count.

    Several sentences of one file name it once.
    """
    kinds: dict[str, list[str]] = {}
    for sentence in sentences:
        kinds.setdefault(kind_of(sentence), []).append(sentence)
    return [line for same in kinds.values() for line in (same if len(same) <= FEW else [many(same)])]


def many(same: list[str]) -> str:
    """One sentence for many of one kind."""
    told = [NAMED.fullmatch(sentence) for sentence in same]
    if told[0] is None:
        return f"{same[0]} (and {len(same) - 1} more like this)"
    files = list(dict.fromkeys(Path(one["name"]).name for one in told if one))
    like = "" if len({one["rest"] for one in told if one}) == 1 else ", or like it"
    if len(files) < len(same):
        like += f" ({len(same)} in all)"
    more = f" and {len(files) - FEW} more" if len(files) > FEW else ""
    more += f" ({len(same)} in all)" if len(files) == len(same) else ""
    return f"{told[0]['head']}{', '.join(files[:FEW])}{more}: {told[0]['rest']}{like}"
