"""The measured tables of docs/health.md: troubles of three strengths in five nights each, ordinary nights of ten kinds.

python docs/make_health.py            prints the tables and writes them; minutes
python docs/make_health.py --check    a single night of each, prints and writes nothing
"""

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
from pages import ROOT, replace_part

from masterlight.alignment.overlaid import places_of
from masterlight.subframes.choice.health import examined

sys.path.insert(0, str(ROOT / "tests"))

from weather import (
    Weather,
    banded,
    brighter,
    coma,
    doughnuts,
    edge,
    jump,
    leaning,
    night_table,
    patches,
    through,
    tilt,
    trailing,
    wider,
)

PAGE = ROOT / "docs" / "health.md"
LIGHTS, AT = 12, 5
"""Lights of a night, and the one to which something happens."""
NOISE_E = 27.0
"""Of a pixel of these nights."""
TROUBLES: dict[str, tuple[set[str], dict[str, tuple[str, Callable]]]] = {
    "thin cloud takes": ({"HAZE"}, {f"{1 - t:.0%}": ("spoil", through(t)) for t in (0.85, 0.8, 0.7)}),
    "cloud takes": ({"CLOUD"}, {f"{1 - t:.0%}": ("spoil", through(t)) for t in (0.57, 0.5, 0.3)}),
    "patches of cloud take up to": (
        {"CLOUD", "HAZE"}, {f"{d:.0%}": ("veil", patches(d, 40)) for d in (0.4, 0.5, 0.6)},
    ),
    "a bank of cloud over one side takes": (
        {"CLOUD", "HAZE"}, {f"{d:.0%}": ("veil", edge(d)) for d in (0.3, 0.4, 0.5)},
    ),
    "stars are longer than wide": ({"TRAIL"}, {f"{r:g} times": ("spoil", trailing(r)) for r in (1.25, 1.35, 1.6)}),
    "stars are wider than usual": ({"FOCUS"}, {f"{r:g} times": ("spoil", wider(r)) for r in (1.25, 1.35, 1.6)}),
    "stars are rings of radius": ({"FOCUS"}, {f"{r} px": ("veil", doughnuts(r)) for r in (2.5, 4, 6)}),
    "coma, tilt": ({"OPTICS"}, {"coma": ("optics", coma), "tilt": ("optics", tilt)}),
    "the mount jumps; first part": (
        {"JUMP"}, {f"{1 - s:.0%}": ("veil", jump(13, 8, s)) for s in (0.2, 0.3, 0.5)},
    ),
    "sky is brighter": ({"MOON"}, {f"{b:g} times": ("spoil", brighter(b)) for b in (1.3, 1.5, 1.8)}),
    "bands run along its rows, beside its noise": (
        {"BANDING"}, {f"{d:.0%}": ("veil", banded(d * NOISE_E)) for d in (0.05, 0.15, 0.3)},
    ),
    "sky leans, edge to edge": ({"GRADIENT"}, {f"{2 * d:.0%}": ("spoil", leaning(d, 0)) for d in (0.05, 0.08, 0.2)}),
}  # fmt: skip
"""What happens, which flags tell it, and its strengths."""


def setting(p):
    """A target that goes from 5 to 60 degrees from the zenith, in an air that takes 0.28 magnitudes."""
    air = 1 / np.cos(np.radians(5 + 55 * p.index / (LIGHTS - 1)))
    return brighter(1 + 0.02 * p.index)(through(10 ** (-0.4 * 0.28 * (air - 1)))(p))


def guided(p):
    """Stars up to 1.2 times longer than wide, another way in each light."""
    return trailing(1 + 0.02 * (7 * p.index % 10), 0.7 * p.index)(p)


ORDINARY: dict[str, tuple[dict, Callable | None]] = {
    "seeing varies by 3 %": ({}, None),
    "by 8 %": ({"fwhm_spread": 0.08}, None),
    "by 12 %": ({"fwhm_spread": 0.12}, None),
    "a target that sets (altitude unknown)": ({"fwhm_spread": 0.06}, setting),
    "a moon that rises": ({"fwhm_spread": 0.06}, lambda p: brighter(1 + p.index / LIGHTS)(p)),
    "a meridian flip, nebula, gradient": ({"meridian_flip": True, "nebula_dn": 1500.0, "gradient": 0.25}, None),
    "guiding": ({"fwhm_spread": 0.06}, guided),
    "45 stars": ({"stars": 45, "fwhm_spread": 0.06}, None),
    "stars of 1.5 px": ({"fwhm_px": 1.5, "fwhm_spread": 0.06}, None),
    "focus that drifts by 30 %": ({"fwhm_spread": 0.04}, lambda p: wider(1 + 0.3 * p.index / LIGHTS)(p)),
}
"""Nights as they are, and what becomes of each light of them."""


def flags_of(seed: int, knobs: dict, **how) -> list[set[str]]:
    """The codes of the flags of each light of a night; notes do not count."""
    weather = Weather(seed, lights=LIGHTS, **{"trails": 0, **knobs})
    for name, what in how.items():
        setattr(weather, name, what)
    return [{f.code for f in one.flags if f.severity != "note"} for one in examined(night_table(weather), places_of)]


def found_table(seeds: int) -> str:
    """How often each trouble of each strength is told."""
    lines = ["| what happens to one light of twelve | told as | found |", "| --- | --- | --- |"]
    for what, (codes, strengths) in TROUBLES.items():
        cells = []
        for strength, (kind, how) in strengths.items():
            told = [bool(flags_of(seed, {}, **{kind: {AT: how}})[AT] & codes) for seed in range(seeds)]
            cells.append(f"{strength}: {sum(told)} of {seeds}")
        lines.append(f"| {what} | {', '.join(sorted(codes))} | {'; '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def alarm_table(seeds: int) -> str:
    """How many lights of ordinary nights have a flag."""
    lines = ["| nights | lights | with a flag |", "| --- | ---: | --- |"]
    for what, (knobs, change) in ORDINARY.items():
        spoil = dict.fromkeys(range(LIGHTS), change) if change else {}
        told = Counter(code for s in range(seeds) for codes in flags_of(100 + s, knobs, spoil=spoil) for code in codes)
        words = ", ".join(f"{count} {code}" for code, count in told.items())
        lines.append(f"| {what} | {seeds * LIGHTS} | {words or '0'} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    check = "--check" in sys.argv
    tables = {"found": found_table(1 if check else 5), "alarms": alarm_table(1 if check else 5)}
    for name, text in tables.items():
        if not check:
            replace_part(PAGE, name, text)
