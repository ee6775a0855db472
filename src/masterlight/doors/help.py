"""Help that fits a screen: what a verb does, an example, the knobs that people turn; the rest by chapter on request."""

import re
import shutil
import textwrap

from masterlight.core.errors import ParameterError
from masterlight.core.knob import Knob
from masterlight.processes import STEPS, Slot, Step

TAKES = {
    "FILES...": "Images, folders of them, @LIST of them.",
    "DIR...": "Folders; beside @LIST only the lights that it names.",
}


def front() -> str:
    """The verbs in the order of the story, then those by hand."""
    what = "Raw frames of the night sky in, one deep, sharp, honest image out."
    lines = ["Usage: masterlight VERB ...", "", what, ""]
    for by_hand, title in ((False, "A night, in its order:"), (True, "By hand, one process at a time:")):
        rows = [(step.verb, step.summary) for step in STEPS.values() if step.by_hand == by_hand]
        lines += [title, *(line for verb, words in rows for line in wrap(f"  {verb:11}", words, 13)), ""]
    return "\n".join([*lines, "masterlight VERB --help tells how; masterlight --version which version this is."])


def page(step: Step) -> str:
    """What a verb does, one example, what it takes, and the knobs that people turn."""
    lines = [f"Usage: masterlight {step.verb} {step.takes}{' ' if step.takes else ''}[--FLAG VALUE]...", ""]
    lines += [*wrap("", step.summary), *wrap("", step.words), "", f"  {step.example}", ""]
    made = [Slot("out", step.makes, letter="o", metavar="PATH")] if step.makes else []
    again = [Slot("overwrite", "Replace files that exist.", "switch")] if step.writes_again else []
    lines += wrap(f"  {step.takes:20} ", TAKES.get(step.takes, ""), 23)
    for slot in (*made, *step.slots, *again):
        name = ", ".join(slot.flags) + ("" if slot.kind == "switch" else f" {slot.metavar}")
        lines += wrap(f"  {name:20} ", slot.words, 23)
    found = {step.flag(knob.path)[2:].replace("-", "_"): knob for knob in step.knobs()}
    lines += ["", "What people turn, with its range and [usual value]:"]
    for name in step.turned:
        flag, knob = flag_words(step, found[name]), found[name]
        lines += [f"  {flag}  {short_facts(knob, width() - len(flag) - 4)}", f"      {gist(knob.help, width() - 6)}"]
    names = [name for name in chapters(step) if name != "general"]
    if len(found) > len(step.turned):
        more = f"; one chapter: --help {' | '.join(names)}" if names else ""
        lines += wrap("", f"All {len(found)} flags: --help-all{more}")
    return "\n".join(lines)


def everything(step: Step) -> str:
    """Every knob of a verb, by chapter."""
    return "\n\n".join(entries(step, title, found) for title, found in chapters(step).items())


def chapter(step: Step, name: str) -> str:
    """The knobs whose flags begin with this name, or the one that is called so."""
    wanted, whole = name.lstrip("-").replace("_", "-"), chapters(step)
    found = whole.get(wanted) or [k for k in step.knobs() if f"{step.flag(k.path)}.".startswith(f"--{wanted}.")]
    if not found:
        raise ParameterError(f"{step.verb} has no chapter and no flag called {name}; there are {', '.join(whole)}")
    return entries(step, wanted, found)


def chapters(step: Step) -> dict[str, list[Knob]]:
    """The knobs of a verb by the first word of their flags; those of one word are general."""
    found: dict[str, list[Knob]] = {}
    for knob in step.knobs():
        first, dot, _ = step.flag(knob.path)[2:].partition(".")
        found.setdefault(first if dot else "general", []).append(knob)
    return found


def entries(step: Step, title: str, found: list[Knob]) -> str:
    """Knobs with all their words: facts, what they do, and which other choice they are for."""
    lines = [f"masterlight {step.verb}, {title}:"]
    for knob in found:
        needed = knob.needs(step.flag)
        lines += wrap(f"  {flag_words(step, knob)}  ", knob.facts, 6)
        lines += wrap("      ", f"{knob.help} For {needed}." if needed else knob.help, 6)
    return "\n".join(lines)


def width() -> int:
    """Columns of the screen; help does not spread over more than 100."""
    return min(100, shutil.get_terminal_size().columns)


def wrap(head: str, words: str, indent: int = 0) -> list[str]:
    """Words behind a head in as many lines as they need, the further ones indented."""
    text = head + words
    return textwrap.wrap(text, width(), subsequent_indent=" " * indent, break_on_hyphens=False) if words else []


def flag_words(step: Step, knob: Knob) -> str:
    """A flag as help shows it: `--rejection.low`, `--[no-]overwrite`."""
    flag = step.flag(knob.path)
    return f"--[no-]{flag[2:]}" if knob.type is bool else flag


def short_facts(knob: Knob, room: int) -> str:
    """Range, unit and usual value of a knob; of many choices the first ones."""
    if len(knob.facts) <= room:
        return knob.facts
    usual = f" ... [{knob.usual}]"
    return knob.facts[: room - len(usual)].rpartition(" | ")[0] + " |" + usual


def gist(words: str, room: int) -> str:
    """The first thing that words say: up to a stop, else as far as they go."""
    stops = [m.start() for m in re.finditer(r"(?<=[\w)'])[.:;](?= |$)|, ", words) if 20 <= m.start() < room]
    full = [at for at in stops if words[at] != ","]
    if full or (stops and len(words) > room):
        return words[: full[0] if full else stops[-1]] + "."
    return words if len(words) <= room else words[: room - 3].rpartition(" ")[0] + " ..."
