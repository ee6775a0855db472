"""Which of the frames that were found can take part, and how their numbers are read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from masterlight.calibration.calibrate import ImageCalibration
from masterlight.core.errors import Rejected
from masterlight.core.frame import Frame, Meta
from masterlight.core.headers.names import COLOUR_TOKEN, FILTER_NOTE
from masterlight.core.units.reading import Reading
from masterlight.core.units.settle import KNOB, question, settle
from masterlight.core.workers import executor
from masterlight.session.found.beside import pictures_beside, without_stacks
from masterlight.session.found.copies import without_copies, without_processed
from masterlight.session.found.witness import flats_by_look
from masterlight.session.scan import Session


def unsuitable(meta: Meta) -> str | None:
    """Why a frame cannot take part at all; None when it can."""
    if meta.kind == "unknown" and meta.declared:
        return f"the header calls it '{meta.declared}', which is no light, dark, flat or bias"
    if meta.kind in ("light", "unknown") and meta.is_master:
        return f"is already a stack of {meta.frames} frames" if meta.frames > 1 else "is a master light already"
    if meta.pattern and not set(meta.pattern) <= set("RGB"):
        return f"its sensor has {meta.pattern} colour filters; only red, green and blue ones can be made into colour"
    if len(meta.shape) > 2 and meta.kind not in ("light", "unknown"):
        return "has 3 planes; calibration frames are used as the sensor gives them, one plane: export them undebayered"
    return None


def of_pattern(meta: Meta, pattern: str) -> Meta:
    """A header with the pattern that the user tells; an L in the name of a colour frame is none of its filters then."""
    guessed = [note for note in meta.notes if note.startswith(FILTER_NOTE)]
    if guessed and not COLOUR_TOKEN.fullmatch(meta.filter or ""):
        meta = meta.with_(filter=None, notes=tuple(note for note in meta.notes if note not in guessed))
    return meta.with_(pattern=pattern)


def frames_in_dn(
    session: Session, calibrate: ImageCalibration, pattern: str
) -> tuple[list[Frame], list[Rejected], list[Reading]]:
    """The frames that can take part, their numbers in DN, those that cannot, and how the numbers were read."""
    suitable, rejected = [], list(session.rejected)
    for frame in session.frames:
        if pattern != "auto" and len(frame.shape) == 2:
            frame = replace(frame, meta=of_pattern(frame.meta, pattern))
        reason = unsuitable(frame.meta)
        if reason:
            rejected.append(Rejected(frame.source, "plan", reason))
        else:
            suitable.append(frame)
    beside = pictures_beside([frame for frame in suitable if frame.meta.kind in ("light", "unknown")])
    strange = {one.source for one in beside}
    suitable = [frame for frame in suitable if frame.source not in strange]
    with executor("threads:8") as pool:
        suitable, stacks = without_stacks(suitable, pool)
        suitable, copies = without_copies(suitable, pool)
        suitable, processed = without_processed(suitable)
        suitable, scales = settle(suitable, calibrate.units, KNOB, pool, strict=False)
        suitable = flats_by_look(suitable, pool)
    odd = few_unclear(suitable, scales)
    suitable = [frame for frame in suitable if frame.source not in odd]
    rejected += [*beside, *stacks, *copies, *processed] + [
        Rejected(source, "plan", question(one, KNOB)) for source, one in odd.items()
    ]
    return suitable, rejected, [one for one in scales if one.source not in odd]


def few_unclear(frames: Sequence[Frame], scales: Sequence[Reading]) -> dict[str, Reading]:
    """Raw frames that can be read in two ways and are few of their kind and size: odd ones, which stop nothing."""
    disputed = {one.source: one for one in scales if one.disputed}
    kinds = {frame.source: (frame.meta.kind, frame.shape) for frame in frames if not frame.meta.is_master}
    count, of_doubt = Counter(kinds.values()), Counter(kinds[source] for source in disputed if source in kinds)
    few = {kind for kind, n in of_doubt.items() if 2 * n < count[kind]}
    return {source: one for source, one in disputed.items() if kinds.get(source) in few}
