"""What a step by hand knows of a frame beyond its pixels, for the next step: its defects, flat and saturation.

A night done step by step comes to the same bits as a run, since later steps know what earlier ones knew.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from masterlight.core.errors import FrameError, Rejected
from masterlight.core.frame import Frame
from masterlight.defects.lists import Defects, lines_among
from masterlight.defects.repaired import Repaired, invented, with_invented
from masterlight.io.handed import NOTHING, Handed, read_handed
from masterlight.night.lights.light import Light, light_as_it_is
from masterlight.night.recipe import Recipe
from masterlight.session.scan import Session

REPAIRING = "cosmetic", "defectmap", "debayer"
"""Steps after which some pixels hold invented values."""
HANDING = "calibrate", *REPAIRING
"""Steps that hand on what they know."""


def known_frames(verb: str, session: Session) -> tuple[Session, Mapping[str, Handed]]:
    """The frames of a session with what earlier steps knew of them, and that itself by their sources."""
    if verb not in HANDING:
        return session, {}
    return known_of(session)


def known_of(session: Session) -> tuple[Session, dict[str, Handed]]:
    """As `known_frames`, for any step; a frame of which it cannot be read is rejected."""
    frames, lost, before = [], list(session.rejected), dict[str, Handed]()
    for frame in session.frames:
        try:
            handed = read_handed(frame.source)
            frames.append(with_known(frame, handed))
            before[frame.source] = handed
        except FrameError as error:
            lost.append(Rejected.of(frame.source, "read", error))
    return replace(session, frames=tuple(frames), rejected=tuple(lost)), before


def with_known(frame: Frame, handed: Handed) -> Frame:
    """A frame with what an earlier step knew of it: where it saturates, and which of its pixels are invented."""
    ceiling = handed.number("SATURATION_DN")
    if ceiling is not None:
        frame = replace(frame, meta=frame.meta.with_(saturation_dn=ceiling))
    at = handed.numbers.get("DEFECTS_AT")
    if at is None:
        return frame
    rows, cols = (int(n) for n in handed.numbers.get("DEFECTS_SHAPE", np.zeros(2)).ravel()[:2])
    if (rows, cols) != frame.shape[-2:]:
        words = f"was {cols} x {rows} pixels when its defects were repaired, and is {frame.shape[-1]} x "
        raise FrameError(frame.source, f"{words}{frame.shape[-2]} now: cut or binned since? Repair the cut frames anew")
    kinds = (handed.numbers.get(name, np.empty(0)).ravel() for name in ("DEFECTS_BITS", "DEFECTS_RULES"))
    defects = defects_of(at.ravel(), *kinds, (rows, cols))
    return with_invented(frame, defects, handed.words.get("COLOURS") or None, bool(handed.number("MEDIAN")))


def defects_of(at: np.ndarray, bits: np.ndarray, rules: np.ndarray, shape: tuple[int, int]) -> Defects:
    """Defects from their flat indices, in order, and what is known of each."""
    flat = at.astype(np.int64)
    flat = flat[(flat >= 0) & (flat < shape[0] * shape[1])]
    rows, columns = np.divmod(flat, shape[1])
    bits = bits.astype(np.uint8) if len(bits) == len(flat) else np.ones(len(flat), np.uint8)
    rules = rules.astype(np.uint8) if len(rules) == len(flat) else lines_among(rows, columns, bits)
    return Defects(shape, np.searchsorted(rows, np.arange(shape[0] + 1)).astype(np.int64), columns, bits, rules)


def handed_on(verb: str, made: Frame, before: Handed) -> Handed:
    """What the file of a frame that a step has made hands on."""
    if verb not in HANDING:
        return NOTHING
    handed = before
    masters = getattr(made, "masters", None)
    if masters is not None:
        handed = handed.with_(RESPONSE=masters.response(), SATURATION_DN=made.meta.saturation_dn)
    return with_defects(handed, made) if verb in REPAIRING else handed


def with_defects(handed: Handed, made: Frame) -> Handed:
    """What is handed on, with the pixels of a frame that hold invented values."""
    found, median = invented(made)
    if found is None:
        return handed
    rows = np.repeat(np.arange(found.shape[0]), np.diff(found.row_start))
    told = {"DEFECTS_AT": rows * found.shape[1] + found.columns, "DEFECTS_BITS": found.bits}
    told |= {"DEFECTS_RULES": found.rules, "DEFECTS_SHAPE": found.shape, "MEDIAN": float(median)}
    return handed.with_(**told, COLOURS=getattr(made, "pattern", None) if isinstance(made, Repaired) else None)


def light_from(recipe: Recipe, frame: Frame, handed: Handed) -> Light:
    """A frame of earlier steps, as `with_known` gives it, as the light that a run would have made of its raw one."""
    return light_as_it_is(recipe, frame, response=handed.numbers.get("RESPONSE"))
