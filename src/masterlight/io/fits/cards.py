"""Cards of FITS headers: whatever a file holds comes in here mended, whatever is written goes out here sound.

Capture programs write what FITS does not allow: letters outside ASCII, `NaN`, `48,1`, keywords in lower case. A header
that came through `clean_text` holds nothing that a FITS library refuses, and what was done to it is told in notes. A
card that `card_text` makes can be read by every one.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from numbers import Complex, Integral, Real
from typing import Any

import numpy as np

Cards = Mapping[str, tuple[str | int | float | None, str]]
"""(value, comment) by keyword; None for one that shall be there no longer."""
CARD, BLOCK = 80, 2880
STRUCTURE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM|EXTNAME|EXTVER|END"
    r"|INHERIT|CONTINUE|ZIMAGE|ZCMPTYPE|ZBITPIX|ZNAXIS\d*"
)
"""Keywords that tell how a file is built; a header that goes from one file to another leaves them."""
TILING = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(?:TYPE|FORM|UNIT)\d+|ZIMAGE|ZCMPTYPE|Z(?:TILE|NAME|VAL)\d+"
    r"|ZQUANTIZ|ZDITHER0|ZTENSION|ZSIMPLE|ZEXTEND|ZPCOUNT|ZGCOUNT|ZHECKSUM|ZDATASUM|ZMASKCMP|CHECKSUM|DATASUM|EXTNAME|EXTVER"
)
"""Keywords of the table that holds a compressed image, which are none of the image."""
RESERVED = ("END", "CONTINUE", "HIERARCH", "COMMENT", "HISTORY")
MOST_CARDS, MOST_LETTERS = 12_000, 60_000
"""What is written of a header and of one text at most: a header without end is one that cannot be read again."""

NUMBER = r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[ED](?:-\d{1,3}|\+?\d\d?))?|\d(?:\.\d*)?[ED]\+?(?:[12]\d\d|30[0-7]))"
"""A number that floats can hold."""
VALUE = rf"('(?:[^'\n]|'')*+'(?=[ /]|$)|[TF]|{NUMBER}|\( *{NUMBER} *, *{NUMBER} *\))?"
WORDS = r"[A-Z0-9_.-]+(?: [A-Z0-9_.-]+)*"
ROW = (
    r"(COMMENT |HISTORY |        )(.*)$"
    rf"|(?:(?!END |CONTINUE|HIERARCH)(?=[A-Z0-9_ -]{{8}}= )([A-Z0-9_-]+) *=|HIERARCH +({WORDS}) *=|(CONTINUE) )"
    rf" *{VALUE} *(?:/.*)?$"
)
"""A card that every reader understands: a remark and its words, or keyword, long keyword or CONTINUE, and value."""
ONE_ROW, ROWS = re.compile(ROW), re.compile(f"^(?:{ROW})", re.MULTILINE)
RECORD = rf"[A-Za-z_][\w.]*: +{NUMBER}"
"""A text that astropy takes for a record: the keyword OBJECT with 'NGC: 7000' would be called OBJECT.NGC."""
RECORDS = re.compile(r"[\w.]: +[-+.\d]+[.\dED+-]*' ")
LENIENT = re.compile(r" *(?:HIERARCH +(?P<long>[^=]+?)|(?P<key>[^ ='/][^='/]{0,7}?)) *=(?P<field>.*)")
COMMA = re.compile(r"[+-]?\d+,\d+")
SPELLED = {"°": "deg", "µ": "u", "μ": "u", "σ": "sigma", "×": "x", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "ł": "l",
           "–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "−": "-"}  # fmt: skip


# --- in ---------------------------------------------------------------------------------------------------------------


def clean_cards(raw: bytes) -> tuple[str, dict[str, Any], list[str]]:
    """A header as a file holds it as cards of 80 characters that can all be read, their values, and what was done.

    raw: its cards without END. Values that are none of FITS are read as well as can be, else the card is left out.
    """
    text, letters = decode(raw)
    rows = ROWS.findall("\n".join(cards_in(text)))
    odd = letters or len(rows) * CARD != len(text) or "CONTINUE" in text or (": " in text and RECORDS.search(text))
    if not odd:
        return text, values_of(rows), []
    told: dict[str, dict[str, str]] = {"letters": dict.fromkeys(letters, ""), "values": {}, "lost": {}}
    text = "".join(sound(image, told) for image in logical_cards(text))
    return text, parse_cards(text), list(notes_of(told))


SCALING = "BZERO", "BSCALE"
"""Cards by which the pixels are reckoned."""


def decode(raw: bytes) -> tuple[str, list[str]]:
    """The bytes of a header as ASCII, and the keywords of cards in which letters had to be spelled anew."""
    if raw.isascii() and (text := raw.decode("ascii")).isprintable():
        return text, []
    cards, keys = [], []
    for start in range(0, len(raw), CARD):
        card = raw[start : start + CARD]
        try:
            words = card.decode("utf-8")
        except UnicodeDecodeError as error:
            cut = error.reason == "unexpected end of data"
            words = card[: error.start].decode("utf-8") if cut else card.decode("latin-1")
        if not card.isascii():
            keys.append(ascii_text(words[:8].split("=")[0]).strip())
        cards.append(f"{ascii_text(words):80.80}")
    return "".join(cards), keys


def ascii_text(words: str) -> str:
    """Words as a FITS card can hold them: letters spelled in ASCII, '?' where that cannot be, blanks for line ends."""
    if words.isascii() and words.isprintable():
        return words
    words = "".join(SPELLED.get(letter, letter) for letter in words)
    words = "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else " " if c in "\0\t\r\n\v\f" else "?" for c in words)


def cards_in(text: str) -> list[str]:
    """A header's cards of 80 characters."""
    return [text[i : i + CARD] for i in range(0, len(text), CARD)]


def logical_cards(text: str) -> Iterator[str]:
    """Cards with what CONTINUE cards add to them."""
    whole = ""
    for card in cards_in(text):
        if whole and not card.startswith("CONTINUE"):
            yield whole
            whole = ""
        whole += card
    if whole:
        yield whole


def sound(image: str, told: dict[str, dict[str, str]]) -> str:
    """A card that can be read, from any; '' when nothing can be made of it. `told` collects what was done."""
    row, match = ONE_ROW.match(image[:CARD]), LENIENT.match(image[:CARD])
    if len(image) > CARD or image.startswith("CONTINUE"):
        return sound_long(image, told)
    record = row and re.fullmatch(f"'{RECORD}'", row[6] or "") and not image.startswith(("DP", "DQ"))
    if row and not record:
        return image
    if image[:8].strip().upper() in ("COMMENT", "HISTORY"):
        return image[:8].upper() + image[8:]
    field = match["field"].strip() if match else image.strip()
    key, word = key_of(match) if match else "", field.split("/")[0].strip()
    value = value_of(field) if match else None
    made = card_text(key, value, comment_of(field), undefined=not word) if match else None
    if made is None and key in SCALING and word:
        return card_text(key, word) or ""  # without it the pixels would be others: whoever reads them refuses the words
    if made is None and word:
        told["lost"][key] = word
    elif not record and (COMMA.match(field) or (isinstance(value, str) and not field.startswith("'"))):
        told["values"][key] = word
    return made or ""


def key_of(match: re.Match) -> str:
    """The keyword of a card that was read leniently."""
    return " ".join((match["long"] or match["key"]).upper().split())


def sound_long(image: str, told: dict[str, dict[str, str]]) -> str:
    """A card with its CONTINUE cards: one long text. CONTINUE cards that continue nothing are left out."""
    first, *more = cards_in(image)
    match = None if first.startswith("CONTINUE") else LENIENT.match(first)
    value = value_of(match["field"]) if match else None
    if not match or not isinstance(value, str):
        told["lost"]["CONTINUE"] = image[-72:].strip()
        return sound(first, told) if match else ""
    comments = [comment_of(match["field"])]
    for card in more:
        if value.endswith("&"):
            value = value[:-1] + str(value_of(card[8:]) or "")
            comments.append(comment_of(card[8:]))
    made = card_text(key_of(match), value.rstrip(), " ".join(filter(None, comments)))
    if made is None:
        told["lost"][key_of(match)] = value[:40]
    return made or ""


def value_of(field: str) -> Any:
    """What a program may have meant by a value: text, logical, number, also `48,1`; None where there is none."""
    field = field.strip()
    if field.startswith("'"):
        return re.match(r"(?:[^']|'')*", field[1:])[0].replace("''", "'").rstrip()
    word = field.split("/", 1)[0].strip()
    if len(word) < CARD and re.fullmatch(VALUE, word):
        return sound_value(word)
    with suppress(ValueError):
        number = float(word.replace(",", ".") if COMMA.fullmatch(word) else re.sub("[dD]", "E", word))
        return word if "_" in word else number if math.isfinite(number) else None
    return word


def sound_value(word: str) -> Any:
    """The value of a card that can be read; None where it has none."""
    first = word[:1]
    if first == "'":
        return (word[1:-1].replace("''", "'") if word.count("'") > 2 else word[1:-1]).rstrip()
    if word.isdigit():
        return int(word)
    if first in ("T", "F", ""):
        return first == "T" if first else None
    if first == "(":
        return complex(*(float(part.replace("D", "E")) for part in word.strip("()").split(",")))
    return int(word) if word.lstrip("+-").isdigit() else float(word.replace("D", "E"))


def comment_of(field: str) -> str:
    """The comment behind a value."""
    match = re.match(r"(?:'(?:[^']|'')*+'[^/]*|[^'/][^/]*)?/ ?(.*)", field.lstrip())
    return match[1].strip() if match else ""


def notes_of(told: dict[str, dict[str, str]]) -> Iterator[str]:
    """What was done to the cards of a header, as sentences."""
    words = {
        "letters": "{keys}: letters that FITS does not know are spelled in ASCII",
        "values": "{keys}: no FITS value, read as well as can be ('{values}')",
        "lost": "{keys}: cannot be read and is left out ('{values}')",
    }
    for kind, rows in told.items():
        if rows:
            values = ", ".join(list(rows.values())[:3]).replace("'", '"')
            yield words[kind].format(keys=and_more([key or "a card" for key in rows]), values=f"{values:.60}")


def and_more(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def parse_cards(text: str) -> dict[str, Any]:
    """Keywords and values of a clean header; the first of duplicates, COMMENT and HISTORY joined by line ends."""
    return values_of(ROWS.findall("\n".join(cards_in(text))))


def values_of(rows: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """Keywords and values of cards as `ROWS` takes them apart."""
    cards: dict[str, Any] = {}
    last = ""
    for remark, words, short, hierarch, more, value in rows:
        if key := short or hierarch:
            last = key if key not in cards else ""
            if last:
                cards[key] = sound_value(value)
        elif more:
            if last and isinstance(cards[last], str):
                cards[last] = (cards[last].removesuffix("&") + (sound_value(value) or "")).rstrip()
        elif remark := remark.strip():
            cards[remark] = f"{cards[remark]}\n{words.strip()}" if remark in cards else words.strip()
    return cards


def header_of_text(text: str) -> Any:
    """A clean header as an `astropy.io.fits.Header`."""
    from astropy.io import fits

    return fits.Header.fromstring(text)


def name_of(card: str) -> str:
    """What a card is about: its first 8 characters, or all of a long keyword."""
    return card.split("=")[0] if card.startswith("HIERARCH") else card[:8]


def with_primary(text: str, primary: str) -> str:
    """An extension's cards, and after them those of the primary header that it does not have itself."""
    have = {name_of(card) for card in cards_in(text)}
    more = (card for card in logical_cards(primary) if name_of(card) not in have)
    return text + "".join(card for card in more if not STRUCTURE.fullmatch(card[:8].strip()))


def without_tiling(text: str) -> str:
    """The header of a tile-compressed image as that of the image itself."""
    rename = {f"Z{key}": key for key in ("BITPIX", "NAXIS", "BLANK", *(f"NAXIS{i}" for i in range(1, 10)))}
    cards = ((card[:8].strip(), card[8:]) for card in logical_cards(text))
    return "".join(f"{rename.get(key, key):8}{rest}" for key, rest in cards if not TILING.fullmatch(key))


# --- out --------------------------------------------------------------------------------------------------------------


def header_text(header: Any, history: Iterable[str] = ()) -> tuple[str, str]:
    """What is written of a header: its cards with values, and those of COMMENT and HISTORY.

    header: a mapping, rows (keyword, value, comment) or an astropy header. Keywords of the file's structure, None and
    numbers that are not finite are left out; what no card can hold becomes a COMMENT.
    """
    cards: dict[str, str] = {}
    remarks: dict[str, list[str]] = {"COMMENT": [], "HISTORY": []}
    for key, value, comment in rows_of(header):
        key = ascii_text(key.decode("latin-1") if isinstance(key, bytes) else str(key)).strip().upper()
        key, value = key.removeprefix("HIERARCH ").strip(), plain_value(value)
        if key in remarks:
            remarks[key] += lines_of(key, value)
        elif key and value is not None and not STRUCTURE.fullmatch(key) and len(cards) < MOST_CARDS:
            made = card_text(key, value, comment)
            cards[key] = made or cards.get(key, "")
            remarks["COMMENT"] += [] if made else lines_of("COMMENT", f"{key}: {str(value)[:200]}")
    for sentence in history:
        remarks["HISTORY"] += (line for words in str(sentence).splitlines() for line in lines_of("HISTORY", words))
    return "".join(cards.values()), "".join(remarks["COMMENT"][:MOST_CARDS] + remarks["HISTORY"][:MOST_CARDS])


def rows_of(header: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Keyword, value and comment of what can be understood of a header of any kind."""
    for row in getattr(header, "cards", None) or (header.items() if isinstance(header, Mapping) else header):
        try:
            if hasattr(row, "rawkeyword"):
                yield row.rawkeyword, row.rawvalue, row.comment
            else:
                key, value, *comment = row
                yield key, value, comment[0] if comment else ""
        except Exception:  # astropy raises several kinds for cards that other programs damaged
            continue


def plain_value(value: Any) -> Any:
    """A value as text, logical or finite number; None where there is none."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    try:
        if isinstance(value, Integral):
            return int(value) if abs(int(value)) < 10**19 else str(int(value))
        if isinstance(value, Real):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, Complex):
            return complex(value) if abs(value) < 1e300 else None
        return None if type(value).__name__ == "Undefined" else value
    except (ValueError, OverflowError, TypeError):  # a number beyond all writing
        return None


def cards_text(rows: Mapping[str, Any]) -> str:
    """Cards of keywords and values that are known to be sound."""
    return "".join(card_text(key, value) or "" for key, value in rows.items())


def cards_bytes(text: str) -> bytes:
    """Cards as a file holds them: with END, filled up to whole blocks."""
    raw = (text + f"{'END':80}").encode("ascii")
    return raw + b" " * (-len(raw) % BLOCK)


def card_text(key: str, value: Any, comment: Any = "", undefined: bool = False) -> str | None:
    """One card, or several of 80 characters for a long text; None where the keyword or the value cannot be written.

    undefined: whether None is written as a keyword without value.
    """
    short = re.fullmatch(r"[A-Z0-9_-]{1,8}", key)
    if key in RESERVED or not (short or (re.fullmatch(WORDS, key) and len(key) <= 50)):
        return None
    head = f"{key:8}= " if short else f"HIERARCH {key} = "
    comment = ascii_text(comment).strip() if isinstance(comment, str) else ""
    field = field_of(value, undefined)
    if field is None:
        return None
    field = field if short else field.strip()
    if len(head) + len(field) > CARD:
        return long_text(head, value, comment) if isinstance(value, str) else None
    return f"{head}{field}{' / ' if comment else ''}{comment}"[:CARD].ljust(CARD)


def field_of(value: Any, undefined: bool) -> str | None:
    """A value as FITS spells it, up to column 30 at least; None where it cannot."""
    if value is None:
        return "" if undefined else None
    if isinstance(value, str):
        words = ascii_text(value)
        words = f"{words} " if re.fullmatch(RECORD, words) and len(words) >= 8 else words
        quoted = words.replace("'", "''")
        return f"'{quoted:8}'".ljust(20) if words else "''"
    if isinstance(value, bool):
        return f"{'T' if value else 'F':>20}"
    if isinstance(value, int):
        return f"{value:>20d}"
    if isinstance(value, float):
        return f"{float_text(value):>20}"
    if isinstance(value, complex):
        return f"({float_text(value.real)}, {float_text(value.imag)})".rjust(20)
    return None


def float_text(value: float) -> str:
    """A number in 20 characters at most, as readers of the fixed format want it."""
    words = str(value).replace("e", "E")
    mantissa, e, exponent = words.partition("E")
    return f"{mantissa[: 20 - len(e + exponent)]}{e}{exponent}"


def long_text(head: str, value: str, comment: str) -> str:
    """A text that needs CONTINUE cards."""
    left, parts, room = ascii_text(value)[:MOST_LETTERS].replace("'", "''"), [], CARD - len(head) - 3
    while left:
        part = left[:room]
        if len(left) > room and (len(part) - len(part.rstrip("'"))) % 2:
            part = part[:-1]  # two quotes in a row are one letter
        parts.append(part)
        left, room = left[len(part) :], CARD - 13
    images = [f"{head if not i else 'CONTINUE  '}'{part}&'" for i, part in enumerate(parts)]
    if comment or parts[-1].endswith("&"):
        images.append(f"CONTINUE  '' / {comment}"[:CARD])
    else:
        images[-1] = f"{images[-1][:-2]}'"
    return "".join(image.ljust(CARD) for image in images)


def lines_of(key: str, value: Any) -> list[str]:
    """The words of a COMMENT or HISTORY as cards."""
    words = [ascii_text(line) for line in str(value).splitlines()] or [""]
    return [f"{key:8}{line[i : i + 72]:72}" for line in words for i in range(0, max(1, len(line)), 72)]
