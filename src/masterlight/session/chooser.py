"""The choice of masters, one after another: what serves a group best, why others do not, and what is told about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import MOST_LETTERS, ParameterError, one_line
from masterlight.core.together import settings
from masterlight.session.groups import ROTATOR_DEG, Group
from masterlight.session.matching import Choice, choose
from masterlight.session.rules import NEEDS, NONE, SERVES, Matches, selects, told_of


@dataclass
class Chooser:
    """Chooses among groups, and keeps the reasons."""

    groups: dict[str, list[Group]]
    calibrate: ImageCalibration = field(default_factory=ImageCalibration)
    match: Matches = ()
    rotator_deg: float = ROTATOR_DEG
    used: set[tuple[int, str]] = field(default_factory=set)
    """What of `match` was asked for: its number, and flat, dark or bias."""
    disputed: frozenset[str] = frozenset()
    """Files whose numbers can be read in two ways: nothing that can be done without uses them."""
    choices: list[Choice] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)

    def warn(self, words: str, about: Group | None = None, why: str = "") -> None:
        """Keep a sentence; `why` is the part of it that is told as far as there is room. The plan tells the whole."""
        told = re.sub(r"\n *", " ", f"{about.title}: {words}" if about else words)
        if why and (over := len(told) - MOST_LETTERS) > 0:
            told = told.replace(why, cut(why, len(why) - over))
        self.warnings[one_line(told)] = None

    def told(self, need: str, target: Group) -> tuple[int, str] | None:
        """What the recipe says shall serve a group: the number of its match, and the words."""
        return told_of(self.match, need, target.kind, target.frames[0])

    def goes_without(self, need: str, target: Group) -> bool:
        """Whether the recipe says that a group shall have none of a need."""
        told = self.told(need, target)
        return told is not None and told[1] == NONE

    def pick(
        self,
        need: str,
        target: Group,
        kind: str | None = None,
        scaled: bool = False,
        unfit: Sequence[Group | None] = (),
    ) -> Group | None:
        """The best group for a need, or what the recipe says; the choice and its doubts are recorded.

        unfit: groups that cannot be used after all.
        """
        told = self.told(need, target)
        if told is None:
            groups = [group for group in self.groups[kind or need] if group not in unfit]
            group, choice = choose(need, target, groups, scaled, self.rotator_deg)
        else:
            self.used.add((told[0], need))
            named = self.named(need, target, *told) if told[1] != NONE else []
            group, choice = choose(need, target, named, scaled, self.rotator_deg, named=True)
            choice = replace(choice, apart=(f"as Recipe.match {told[0]} says", *choice.apart))
        if (choice.candidates or told) and choice not in self.choices:
            self.choices.append(choice)
        if choice.doubts:
            self.warn(f"{(why := '; '.join(choice.doubts))} ({choice.chosen})", target, why)
        return group

    def named(self, need: str, target: Group, number: int, words: str) -> list[Group]:
        """The groups that a match of the recipe names for a need; ParameterError where all have another shape."""
        groups = [g for kind in SERVES[need] for g in self.groups[kind] if selects(words, g.frames[0])]
        fits = [g for g in groups if g.meta.sky_shape[-2:] == target.meta.sky_shape[-2:]]
        if not fits:
            sizes = (settings(one.meta, ["size"])["size"] for one in (groups[0], target))
            what = f"{groups[0]} have {next(sizes)} pixels, the {target.title} {next(sizes)}"
            raise ParameterError(f"Recipe.match {number}: {need} = '{words}': {what}; these cannot go together")
        return fits

    def why_not(self, need: str, target: Group) -> str:
        """Why nothing was found for a need, in brackets, field by field; '' when there was nothing to choose from."""
        made = [c for c in self.choices if c.need == need and c.target == str(target) and c.chosen is None]
        against = [f"{c.name}: {c.reason}" for choice in made for c in choice.candidates if c.reason]
        return f" (not {'; not '.join(against)})" if against else ""

    def is_disputed(self, group: Group) -> bool:
        return any(frame.source in self.disputed for frame in group.frames)

    def tell_unused(self) -> None:
        """Warn of what the recipe names and nothing has asked for."""
        for number, one in enumerate(self.match, 1):
            for need in NEEDS[one.of[0]]:
                if one.words(need) not in (None, NONE) and (number, need) not in self.used:
                    hint = "; where a dark holds the bias, say dark = 'none' too" if need == "bias" else ""
                    self.warn(f"""Recipe.match {number}: {need} = '{one.words(need)}' was not used: nothing asked for
                        it, or another match before it speaks of the same frames{hint}""")


def cut(words: str, most: int) -> str:
    """Words in brackets, or without, with as many of their parts as there is room for."""
    end = ")" * words.endswith(")")
    head = words[: max(most - 6, 0)]
    return f"{head.rpartition('; ')[0] or head}; ...{end}"
