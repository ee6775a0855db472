"""What other programs have already done to a frame, as their headers, and the names they give, tell.

Each program leaves marks of its own: PixInsight, Siril, MaxIm DL, ASTAP, AstroImageJ and IRAF in HISTORY, COMMENT or
keywords of their own, ccdproc and observatories in keywords. What is told is never done a second time.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from masterlight.core.headers.values import number, text

LETTERS = {"O": "overscan", "B": "bias", "D": "dark", "F": "flat"}
"""What the letters of a calibration stand for."""

STEPS = re.compile(r"(?i)(?:([BDFOMASCT])(?!\w*\1)){1,9}|bias|dark|flat|overscan")
"""What in CALSTAT tells of steps: letters, each once, of which some programs have more than we know, or their names."""
CALIBRATED = re.compile(r"(?i)(?:fully )?(?:calibrated|reduced|processed)")
"""A CALSTAT that tells that a frame is calibrated, and not by what."""

MOST_LETTERS = 60_000
WORDS = {
    "B": r"calibrated with an? (?:\w+ )?(?:master|synthetic) bias|^bias (?:subtraction \(|corrected with )"
    r"|imagecalibration\.masterbias\.filename",
    "D": r"calibrated with an? (?:\w+ )?master dark|^dark (?:subtraction \(|corrected with )"
    r"|imagecalibration\.masterdark\.filename",
    "F": r"calibrated with an? (?:\w+ )?master flat|^flat (?:field \(|corrected with )|^flat-?field(?:ed)? with "
    r"|imagecalibration\.masterflat\.filename",
}
"""By letter, what the lines of HISTORY say: Siril, MaxIm DL and AstroImageJ, PixInsight."""
HISTORY = {letter: re.compile(rf"(?im){words}") for letter, words in WORDS.items()}

KEYWORDS = {
    "O": ("OVERSCAN", "SUBOSCAN", "L1STATOV", "BLEVCORR"),
    "B": ("ZEROCOR", "BIASCOR", "SUBBIAS", "L1STATBI", "BIASCORR"),
    "D": ("DARKCOR", "SUBDARK", "L1STATDA", "DARKCORR"), "F": ("FLATCOR", "SFLATCOR", "L1STATFL", "FLATCORR"),
}  # fmt: skip
"""By letter, keywords in which IRAF, ccdproc, LCO and space telescopes tell of it."""
DONE = re.compile(
    r"[A-Z][a-z]{2} +\d{1,2} +\d{1,2}:\d\d\b.*|ccd=.*|(?i:complete|done|true|t|yes|1|1\.0|applied|.*\.(?:fits?|fts|fz))"
)
"""What stands in such a keyword when it was done: IRAF's stamp of time, ccdproc's arguments, a word, a file."""
BY_CCDPROC = {"B": "master_bias=", "D": "dark_frame=", "F": "master_flat=", "O": "oscan="}
"""Arguments of ccdproc.ccd_process, which does all of it in one go."""
BY_ASTAP = {"D": "DARK_CNT", "F": "FLAT_CNT"}
"""How many frames were in the masters that ASTAP used."""

STAGES = {
    "debayered": r"\bdebayer|\bdemosaic",
    "registered": r"staralignment|calibrated & aligned by|\bregistered (?:to|with|on)\b",
    "its background taken off": r"background extraction|automaticbackgroundextractor|dynamicbackgroundextraction",
}  # fmt: skip
MADE = {stage: re.compile(rf"(?i){words}") for stage, words in STAGES.items()}
"""What HISTORY and COMMENT say of other steps."""

STACKED = re.compile(r"(?:Image|Fast|Drizzle)Integration\.numberOfImages: *(\d+)")
COUNTS = "NCOMBINE", "STACKCNT", "LIGH_CNT"
"""Keywords with the number of frames of a stack."""

PROGRAMS = re.compile(r"(?i)siril|pixinsight|\bpcl\b|wbpp|deepskystacker|astap")
NAMED = (
    (re.compile(r"(?:^|_)pp_"), "calibrated"), (re.compile(r"^r_"), "registered"),
    (re.compile(r"(?:^|_)bkg_"), "its background taken off"),
    (re.compile(r"_c(?:_cc|_lps|_d|_r|_n|_nsg)*$"), "calibrated"),
    (re.compile(r"_d(?:_r|_n|_nsg)*$"), "debayered"), (re.compile(r"_r(?:_n|_nsg)*$"), "registered"),
    (re.compile(r"\.cal(?:\.reg)?$|_cal$"), "calibrated"), (re.compile(r"\.reg$|_aligned$"), "registered"),
)  # fmt: skip
"""What programs add to the names of frames: Siril in front, PixInsight, DeepSkyStacker and ASTAP behind."""

TELLING = {"CALSTAT", "HISTORY", "COMMENT", "CCDPROC", *(key for keys in KEYWORDS.values() for key in keys)}
"""Keywords without which the header of a file of integers tells of nothing that was done."""

HINTS = tuple(
    "calib subtract correct flat bayer mosaic align regist background astap pixinsight siril wbpp deepsky pcl".split()
)
"""One of these stands in every remark that tells of something; the rest of all remarks needs no closer look."""


class Processed(NamedTuple):
    """What was done to a frame before."""

    calibration: str = ""
    """Letters of `LETTERS`."""
    stages: tuple[str, ...] = ()
    """Other steps, in words: "debayered", "registered" ..."""


def processing_of(cards: Mapping, source: str, integer: bool, notes: list[str]) -> Processed:
    """What a header and a file name tell of earlier processing; what is not told by CALSTAT is noted.

    Names are believed of floats by programs that give such names: a raw `M31_r.fits` was taken through a red filter.
    """
    if integer and TELLING.isdisjoint(cards):
        return Processed()
    word = text(cards, "CALSTAT") or ""
    told = letters_of(word)
    history = "\n".join(str(cards.get(key) or "") for key in ("HISTORY", "COMMENT"))[:MOST_LETTERS]
    lower = history.lower()
    history = history if any(word in lower for word in HINTS) else "\n"
    found = "".join(letter for letter in LETTERS if letter not in told and is_done(letter, cards, history))
    stages = dict.fromkeys(stage for stage, words in MADE.items() if history != "\n" and words.search(history))
    named = [] if integer else steps_in_name(cards, source, history)
    who = "name" if "calibrated" in named else "CALSTAT" if CALIBRATED.fullmatch(word) else ""
    if who and not (told or found):
        found = "BDF"
        notes.append(f"its {who} says that it is calibrated, not by what; it is taken for free of bias, dark and flat")
    elif found:
        done = ", ".join(LETTERS[letter] for letter in found)
        notes.append(f"calibrated before, as its header tells beside CALSTAT: {done}")
    stages |= dict.fromkeys(step for step in named if step != "calibrated")
    return Processed(told + found, tuple(stages))


def letters_of(word: str) -> str:
    """The letters of `LETTERS` that CALSTAT tells, as 'BDF' or 'bias, dark'; none where it is another word."""
    parts = [part.upper() for part in re.split(r"[\W_]+", word) if part]
    if not all(STEPS.fullmatch(part) for part in parts):
        return ""
    steps = "".join(
        part if len(part) < 4 or part not in ("BIAS", "DARK", "FLAT", "OVERSCAN") else part[0] for part in parts
    )
    return "".join(dict.fromkeys(letter for letter in steps if letter in LETTERS))


def is_done(letter: str, cards: Mapping, history: str) -> bool:
    """Whether one step of a calibration was done, by any program's way to tell it."""
    if history != "\n" and letter in HISTORY and HISTORY[letter].search(history):
        return True
    if any(cards.get(key) is not None and DONE.fullmatch(str(cards[key]).strip()) for key in KEYWORDS[letter]):
        return True
    if re.search(rf"{BY_CCDPROC[letter]}(?!None)", str(cards.get("CCDPROC", ""))):
        return True
    astap = letter in BY_ASTAP and "ASTAP" in history and "aligned" in history
    return astap and (number(cards, BY_ASTAP[letter]) or 0) > 0


def steps_in_name(cards: Mapping, source: str, history: str) -> list[str]:
    """The steps that the name of a file tells, where a program that gives such names has written it."""
    path = PurePath(str(source))
    program = " ".join(str(cards.get(key, "")) for key in ("PROGRAM", "SWCREATE", "SWMODIFY", "CREATOR", "SOFTWARE"))
    if path.suffix.lower() != ".xisf" and not PROGRAMS.search(f"{program} {history[:4000]}"):
        return []
    stem = re.sub(r"(?i)\.(?:fits?|fts|xisf|tiff?)(?:\.(?:gz|fz))?$", "", path.name)
    return list(dict.fromkeys(step for pattern, step in NAMED if pattern.search(stem)))


def stack_count(cards: Mapping[str, Any]) -> float | None:
    """How many frames are in a stack, by the keywords or the HISTORY of the program that made it; None if not told."""
    told = number(cards, *COUNTS)
    found = STACKED.search(str(cards.get("HISTORY") or "")) if told is None else None
    return float(found[1]) if found else told


def words_of(calibration: str) -> str:
    """The letters of a calibration in words."""
    return ", ".join(word for letter, word in LETTERS.items() if letter in calibration)
