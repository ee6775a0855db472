"""A FITS file copied byte by byte, with cards set in the header of its image: samples stay as they are stored."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from masterlight.core.errors import ParameterError
from masterlight.io import atomic
from masterlight.io.fits.cards import BLOCK, CARD, Cards, card_text, cards_in, lines_of
from masterlight.io.fits.hdus import Opened, image_and_planes, opened, parts
from masterlight.io.fits.writer import checksum_text, fold_carries
from masterlight.io.plain import CHUNK_BYTES

KEY = re.compile(r"(?:HIERARCH +(?P<long>[^=]+?)|(?P<key>[^=]{1,8}?)) *=")


def copy_with(source: str | Path, target: str | Path, cards: Cards, history: Iterable[str] = ()) -> None:
    """Copy a FITS file, unpacked where it is one of gzip, with cards set in the header of its first image.

    cards: in place of those of the same name; names longer than eight letters become HIERARCH cards. A CHECKSUM of
    that header is made anew. FrameError for a file that is no FITS image, ParameterError for a keyword that no card can
    have.
    """
    with opened(str(source)) as file, atomic(target) as out:
        start, end = image_header(file)
        file.file.seek(0)
        copy_bytes(file, out, start)
        header = file.file.read(end - start).decode("latin-1")
        out.write(with_checksum(changed(header, cards, history)).encode("latin-1"))
        copy_bytes(file, out)


def image_header(file: Opened) -> tuple[int, int]:
    """Where the header of the first image begins in a file, and where it ends."""
    number, start = image_and_planes(file)[0].number, 0
    file.file.seek(0)
    for part in parts(file):
        if part.number == number:
            break
        start = part.end
    return start, part.start


def copy_bytes(file: Opened, out, count: int | None = None) -> None:
    """Copy so many bytes, or all that are left."""
    while chunk := file.file.read(CHUNK_BYTES if count is None else min(CHUNK_BYTES, count)):
        out.write(chunk)
        count = None if count is None else count - len(chunk)


def changed(header: str, cards: Cards, history: Iterable[str]) -> str:
    """The blocks of a header with cards in place of others of the same name, or before its end."""
    rows = cards_in(header)
    rows = rows[: next(i for i, row in enumerate(rows) if row.rstrip(" \0") == "END")]
    left, continues = {key: value for key, value in cards.items() if value[0] is not None}, False
    out: list[str] = []
    for row in rows:
        key = key_of(row)
        if continues and row.startswith("CONTINUE"):
            continue
        continues = key in cards
        if not continues:
            out.append(row)
        elif key in left:
            out.append(card_of(key, *left.pop(key)))
    out += [card_of(key, *value) for key, value in left.items()]
    out += [line for words in history for line in lines_of("HISTORY", words)]
    text = "".join(out) + f"{'END':{CARD}}"
    return text + " " * (-len(text) % BLOCK)


def key_of(row: str) -> str:
    """The keyword of a card; empty for remarks."""
    match = KEY.match(row)
    return " ".join((match["long"] or match["key"]).upper().split()) if match else ""


def card_of(key: str, value: str | int | float, comment: str = "") -> str:
    """The card of a word or a number, a float with all of its digits, which may be more than the fixed format has room
    for."""
    if not isinstance(value, float) and (made := card_text(key, value, comment)):
        return made
    card, words = card_text(key, float(value), comment), repr(float(value)).replace("e", "E")
    head = card[: card.index("= ") + 2] if card else ""
    if card is None or len(head) + len(words) > CARD:
        raise ParameterError(f"{key} can be no keyword: FITS has letters, digits, - and _ in them, and room for 44")
    return card if len(words) <= 20 else f"{head}{words}{' / ' * bool(comment)}{comment}"[:CARD].ljust(CARD)


def with_checksum(header: str) -> str:
    """A header whose CHECKSUM, where it has one beside DATASUM, is right for its cards."""
    rows = cards_in(header)
    at = {key: i for i, row in enumerate(rows) if (key := key_of(row)) in ("CHECKSUM", "DATASUM")}
    told = re.search(r"'\s*(\d+)\s*'", rows[at["DATASUM"]]) if len(at) == 2 else None
    if told is None:
        return header
    words, place = rows[at["CHECKSUM"]], at["CHECKSUM"]
    rows[place] = f"CHECKSUM= '{'0' * 16}'{words[28:]}"
    total = int(np.frombuffer("".join(rows).encode("latin-1"), ">u4").sum(dtype=np.uint64))
    mark = checksum_text(fold_carries(total + int(told[1])) ^ 0xFFFFFFFF)
    rows[place] = f"CHECKSUM= '{mark}'{words[28:]}"
    return "".join(rows)
