"""What names tell: files and folders of capture programs, filters, cameras, targets."""

import re
from functools import lru_cache
from pathlib import PurePath

FILTERS = {
    "l": "l", "lum": "l", "luminance": "l", "luminosity": "l", "luminace": "l",
    "r": "r", "red": "r", "g": "g", "green": "g", "b": "b", "blue": "b",
    "h": "ha", "ha": "ha", "halpha": "ha", "halfa": "ha", "hydrogenalpha": "ha", "hb": "hb", "hbeta": "hb",
    "o": "oiii", "o3": "oiii", "oiii": "oiii", "oxygeniii": "oiii", "o111": "oiii",
    "s": "sii", "s2": "sii", "sii": "sii", "sulfurii": "sii", "sulphurii": "sii", "n2": "nii", "nii": "nii",
    "c": "clear", "clear": "clear", "uv": "uv", "ir": "ir", "uvir": "uvir", "uvircut": "uvir", "irpass": "irpass",
}  # fmt: skip
"""Spellings of filter names that mean the same filter."""

FILTER_TOKEN = re.compile(r"(?:[LRGBVIUHOSgrizu]|(?i:ha|hb|oiii|o3|sii|s2|nii|lum|luminance|red|green|blue|clear|ir|uv"
                          r"|h-?alpha|h-?beta|uvir|ircut|lp|duo|dual|lextreme|lenhance))(?i:\d{1,2}nm)?")  # fmt: skip
"""What part of a file name is taken for a filter; single letters as photographers capitalise them."""

COLOUR_TOKEN = re.compile(r"(?i)(?:ha|hb|oiii|o3|sii|s2|nii|clear|ir|uv|h-?alpha|h-?beta|uvir|ircut|lp|duo|dual"
                          r"|lextreme|lenhance)(?:\d{1,2}nm)?")  # fmt: skip
"""The same before a sensor that has its colours: L stands for light there, and a luminance filter makes no sense."""

FILTER_NOTE = "filter read from the name"

FILE_KIND = re.compile(
    r"(?<![a-z])(master[\W_]*)?(?:(?P<flatdark>darks?[\W_]*(?:for)?[\W_]*flats?|flats?[\W_]*darks?)"
    r"|(?P<bias>bias(?:es)?|^offsets?|^zeros?)|(?P<flat>(?:dome|sky|twilight)?flats?(?:fields?)?)"
    r"|(?P<dark>darks?(?!s?[\W_]*(?:neb|sky|skies|site|shark|horse|doodad|river|moon|cloud|wolf|tower|lane|globul)))|(?P<light>lights?|science))(?![a-z])"
)

WORD = re.compile(r"[^\W_]+")
"""A word of a name."""

BESIDE = re.compile(
    r"(?i).*\d.*|frames?|fields?|files?|fits?|raws?|images?|subs?|masters?|cal|calib|calibration|lib|library|nights?"
    r"|sessions?|sky|dome|panel|twilight|dusk|dawn|evening|morning|led|screen|lamp|wall|shirt|new|old|good|all|my|the"
    r"|for|of|gain|offset|bin|temp|exp|iso|deg|sec|secs|min|minus|high|low|left|right|east|west|north|south|short|long"
    r"|cooled|warm|cold|camera|set|part|zwo|asi|qhy|qhyccd|atik|sbig|fli|canon|nikon|sony"
)
"""Words of a folder's name beside which the word for a kind still says what is in it."""

STACK_NAME = re.compile(
    r"(?:dso[-_ ])?(?:stacked[-_ ](\d{1,5})(?![\d.])|stack[-_ ](?:\d+bits?[-_ ])?(\d{1,5})frames)", re.IGNORECASE
)
"""How telescopes that stack by themselves name it: Stacked_250_M 31_10.0s, Stack_16bits_450frames."""

NUMBER = r"(\d+(?:[.,]\d+)?)"

IN_NAME = {
    "exposure_s": re.compile(
        rf"(?<![a-z0-9.,]){NUMBER}\s?(s|secs?|seconds|ms|min)(?![a-z0-9])|exp(?:osure|time)?[-_= ]?{NUMBER}"
    ),
    "temperature_c": re.compile(
        r"(?<![a-z0-9+-])([-+]?\d{1,2}(?:[.,]\d+)?)\s?°?(?:c|degc)(?![a-z0-9])"
        r"|(?<=[_ ])(-\d{1,2}[.,]\d{1,2}|\d{1,2}[.,]\d\d(?=[_ ]\d+[.,]\d\ds))(?=[_ ])"
    ),
    "binning": re.compile(r"(?<![a-z0-9])([1-8])x([1-8])(?![a-z0-9])|(?<![a-z])bin(?:ning)?[-_= ]?([1-8])(?!\d)"),
    "gain": re.compile(rf"(?<![a-z])(?:gain|iso)[-_= ]?{NUMBER}|(?<=[-_ ])g(0|[1-9]\d{{1,3}})(?=[-_ ]|\.\D|$)"),
    "offset": re.compile(
        rf"(?<=[\W_])offset[-_= ]?{NUMBER}|(?<=[-_ ])g\d{{1,4}}[-_ ]o(?!3(?!\d)|111(?!\d))(\d{{1,4}})(?=[-_ ]|\.\D|$)"
    ),
}
"""What words of a name tell. N.I.N.A. writes a bare -10.00, G100 for the gain and O50 for the offset after it: a number
without its sign is a temperature only right before the exposure (it may be a HFR), O3 and O111 are a filter, G001 is
the first frame through a green one."""

LARGEST_IN_NAME = 1e6

MAKERS = ("zwo", "ccd", "cmos", "camera", "ascom", "driver", "qhyccd-cameras-capture")
"""Words of a camera's name that do not tell one camera from another."""


@lru_cache(4096)
def kind_of_words(words: str) -> str | None:
    """The kind that words name: flats, Flats_V, M31 lights, dark_300s_-10C; None where they merely hold such a word.

    The word for the kind stands at the end, or only filters, numbers and the like come after it.
    """
    plain = parted(words)
    matches = list(FILE_KIND.finditer(plain.lower()))
    if len(matches) != 1:
        return None
    kind, match = matches[0].lastgroup, matches[0]
    if kind == "light" and match[1]:  # masterlight is a program
        return None
    before, after = (WORD.findall(part) for part in (plain[: match.start()], plain[match.end() :]))
    if not all(map(is_usual, after)):
        return None
    plural = kind in ("bias", "flat", "flatdark") or match[0].endswith("s")
    alone = re.fullmatch(r"(?i)no|not|without|un|non|after|before", before[-1]) if before else None
    return kind if all(map(is_usual, before)) or (plural and not alone) else None


def is_usual(word: str) -> bool:
    """Whether a word may stand beside the one for a kind: a filter, a number, or one that says nothing else."""
    return bool(BESIDE.fullmatch(word) or FILTER_TOKEN.fullmatch(word))


def parted(words: str) -> str:
    """Words in capitals of their own put apart: PanelFlat is Panel_Flat."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words)


def guess_from_name(meta: dict, source: str, notes: list[str], binned: bool) -> None:
    """Fill in what the header does not tell from words such as _600s_, -10C, 1x1, gain100, _Ha_ in the name."""
    parts = [p.lower() for p in reversed(PurePath(str(source)).parts[-3:])]
    known = {"binning": binned or None}
    for name, pattern in IN_NAME.items():
        if known.get(name, meta.get(name)) is not None or (name == "gain" and meta["gain_e_per_dn"]):
            continue
        match = next((m for m in map(pattern.search, parts) if m), None)
        value = value_in_name(name, match) if match else None
        if value is not None and (name == "binning" or abs(value) <= LARGEST_IN_NAME):
            meta[name] = value
            notes.append(f"{name.split('_')[0]} read from the name: '{match[0].strip('_ ')}'")
    if meta["filter"] is None and meta["kind"] in ("light", "flat", "unknown"):
        meta["filter"] = filter_in_name(source, COLOUR_TOKEN if meta["pattern"] else FILTER_TOKEN)
        if meta["filter"]:
            notes.append(f"{FILTER_NOTE}: '{meta['filter']}'")


def exposure_in_name(source: str) -> float | None:
    """The exposure in seconds that the name of a file tells."""
    match = IN_NAME["exposure_s"].search(PurePath(str(source)).name.lower())
    return value_in_name("exposure_s", match) if match else None


def value_in_name(name: str, match: re.Match):
    """What a word of a file name says, in our units."""
    groups = [g for g in match.groups() if g is not None]
    if name == "binning":
        return int(groups[0]), int(groups[-1])
    value = float(groups[0].replace(",", "."))
    unit = groups[1] if len(groups) > 1 else "s"
    return value * {"ms": 1e-3, "min": 60.0}.get(unit, 1.0)


def filter_in_name(source: str, token: re.Pattern[str] = FILTER_TOKEN) -> str | None:
    """The filter that a file name or the name of its folder tells: flat_ir_001.fits, FILTER-Ha, lights/OIII/."""
    path = PurePath(str(source))
    stem = path.name.split(".fit")[0].split(".fts")[0]
    told = re.search(r"filter[-_= ]([A-Za-z0-9]+)", stem, re.IGNORECASE)
    if told:
        return told[1]
    words = re.split(r"[_\s.,]+|-(?!alpha|beta)", stem)
    found = [word for word in words if token.fullmatch(word)]
    folders = [word for part in path.parts[-3:-1] for word in filter_words(part) if token.fullmatch(word)]
    return found[-1] if found else folders[-1] if folders else None


def filter_words(folder: str) -> list[str]:
    """What in a folder's name may be a filter: all of OIII, the V of Flats_V, nothing of R Leonis lights."""
    if not kind_of_words(folder):
        return [folder]
    others = [word for word in WORD.findall(parted(folder)) if not FILE_KIND.fullmatch(word.lower())]
    return others if all(map(is_usual, others)) else []


@lru_cache(4096)
def filter_key(name: str | None) -> str:
    """A filter's name for comparison: H-alpha, h_alpha and Ha are one, Ha 3nm is 'ha3nm'; '' when unknown."""
    word = re.sub(r"[^a-z0-9.]", "", (name or "").lower().replace("α", "alpha").replace("β", "beta"))
    match = re.fullmatch(r"(.*?)(?:(\d+(?:\.\d+)?)nm)?", word)
    base = match[1].replace(".", "")
    return FILTERS.get(base, base) + (f"{float(match[2]):g}nm" if match[2] else "")


@lru_cache(4096)
def same_filter(a: str | None, b: str | None) -> bool | None:
    """Whether two names mean the same filter; None when either is unknown. A bandwidth counts when both tell it."""
    if not (a and b):
        return None
    keys = filter_key(a), filter_key(b)
    bases = [re.sub(r"[\d.]+nm$", "", key) for key in keys]
    return keys[0] == keys[1] or (bases[0] == bases[1] and bases != list(keys) and (bases[0] in keys))


@lru_cache(4096)
def camera_key(name: str | None) -> str:
    """A camera's name for comparison, without maker's noise words and serial numbers; '' when unknown."""
    words = re.sub(r"\(\d*\)|#\s*\d+|\bs/?n[:\s]*\w+|_id\w+", " ", (name or "").lower())
    words = re.sub(r"-(?=[0-9a-f]*\d)[0-9a-f]{6,}\b", " ", words)
    kept = [word for word in re.split(r"[\s:;,_]+", words) if word not in MAKERS]
    return re.sub(r"[^a-z0-9]", "", "".join(kept))


@lru_cache(4096)
def object_key(name: str | None) -> str:
    """A target's name for comparison: 'M 31', 'm31' and 'M_31' are one; '' when unknown."""
    return re.sub(r"[\W_]+", "", (name or "").lower())
