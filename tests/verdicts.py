"""Tries of bad input: a kind in a role, or a command of a kind, and what is wrong with what comes of it."""

import re
import shlex
from pathlib import Path

from badinput import BadCase, BadFile
from bed import Healthy, Role, do, faults, fingerprints, lay, lay_role, pixels, same, told
from warm import Done, Warm

NEAR, ABOUT = 0.01, 0.05
"""Parts of the level: what is the same but for rounding, and what is the same but for the noise of a few pixels."""
REFUSAL = re.compile(r"^\s*\S+\s+rejected |left out: |^masterlight: |\((scan|plan)\)$|^  \S+\.\w+: |^ x  .*: ")
"""How a line begins or ends that refuses a file; the last two are of a plan, below "Left out", and of a table."""


def try_file(warm: Warm, healthy: Healthy, folder: Path, kind: BadFile, role: Role) -> tuple[Done, list[str]]:
    """Put a bad file into a role; gives what came of the command and what is wrong with it."""
    lay_role(warm, folder, role, kind.file, kind.make)
    before = fingerprints(folder)
    good, with_it = healthy(role, True)
    done = do(warm, folder, role.argv(kind.file))
    found = faults(done, folder, good.cpu_s, before)
    made = pixels(folder / role.product_of(kind.file)) if role.product and not found else None
    without = None if role.alone or role.product == "" or "X" in role.product else healthy(role, False)[1]
    return done, found or [why for why in [outcome(kind, role, done, good, made, with_it, without)] if why]


def outcome(kind: BadFile, role: Role, done: Done, good: Done, made, with_it, without) -> str:
    """Why what came out is not what the kind promises; '' if it is."""
    lines = [line for line in rows_joined(told(done)) if kind.file in line]
    refusals = [line for line in lines if REFUSAL.search(line)]
    if kind.expect == "refused" or (refusals and kind.expect == "told"):
        return refused(kind, role, done, refusals, made, without)
    if kind.expect in ("same", "near"):
        if refusals:
            return f"was refused: {refusals[0]}"
        if done.status != good.status:
            return f"ended with status {done.status}, and healthy input with {good.status}: {done.err}"
        alike = not role.product or same(made, with_it, NEAR if kind.expect == "near" else 0.0)
        return "" if alike else "the result is not that of healthy input"
    if done.status == 2:
        return "" if told_of(kind, done, good) else f"failed and did not name the file: {done.err}"
    if not role.product or same(made, with_it) or same(made, with_it, ABOUT):
        return ""
    if made is None:
        return "nothing was made, and nothing was told"
    return "" if told_of(kind, done, good) else "another result than that of healthy input, and no word about this file"


def rows_joined(lines: list[str]) -> list[str]:
    """Lines, with the reason that a table of subframes tells below the row of a frame behind that row."""
    rows = [i for i, line in enumerate(lines) if line.startswith(" x  ")]
    joined = {i: f"{lines[i]}: {lines[i + 1].strip()}" for i in rows if i + 1 < len(lines)}
    return [joined.get(i, line) for i, line in enumerate(lines)]


def refused(kind: BadFile, role: Role, done: Done, refusals: list[str], made, without) -> str:
    """Why a refusal is not a good one."""
    if role.verb in ("plan", "doctor") and kind.late:
        return ""  # they read no more than headers of lights
    if not refusals:
        return f"was not refused by name (status {done.status}): {done.err or done.out[-300:]}"
    if not any(re.search(kind.tells, line) for line in refusals):
        return f"the reason does not tell {kind.tells!r}: {refusals[0]}"
    if role.verb in ("plan", "doctor"):
        return "" if done.status in (0, 1) else f"ended with status {done.status}"
    if role.alone:
        return "" if done.status == 2 else f"ended with status {done.status} where nothing could be made"
    if kind.expect == "told" and done.status == 2:
        return ""  # where two readings are possible, the whole is stopped
    if role.verb == "subframes":
        return "" if done.status in (0, 1) else f"ended with status {done.status} where another frame was measured"
    if done.status != 1:
        return f"ended with status {done.status} where one file was left out"
    alike = made is None if "X" in role.product else same(made, without)
    return "" if alike else "the result is not that of the others alone"


def told_of(kind: BadFile, done: Done, good: Done) -> bool:
    """Whether a sentence names the file, beyond the figures that every file gets, or shows it in a group of its own."""
    usual = re.compile(r"^\s*(measure|integrate|normalize|align)\s+\S*X\S*: (\d+ stars|weight|reference)")
    named = any(kind.file.split(".")[0] in line and not usual.search(line) for line in told(done))
    groups, usual_groups = ([line for line in told(one) if line.split()[:1] == ["read"]] for one in (done, good))
    return named or groups != usual_groups


def roles_of(kind: BadFile, roles) -> list[Role]:
    return [role for role in roles if re.search(kind.roles, role.name)]


def try_case(warm: Warm, folder: Path, kind: BadCase, command: str) -> tuple[Done, list[str]]:
    """A command of a bad night, flag, recipe or output."""
    statuses, words = kind.tries[command]
    lay(warm, folder)
    kind.make(folder)
    before = fingerprints(folder)
    done = do(warm, folder, shlex.split(command))
    found = faults(done, folder, 0.6, before)
    if str(done.status) not in statuses:
        found.append(f"ended with status {done.status}, not {' or '.join(statuses)}: {done.err or done.out[-300:]}")
    elif not re.search(words, done.out + done.err):
        found.append(f"does not tell {words!r}: {done.err or done.out[-300:]}")
    first = command == next(iter(kind.tries))  # what is checked comes of this one
    return done, found or [why for why in [kind.check(folder) if first else ""] if why]
