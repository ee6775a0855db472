"""Frames that go together are brought to DN before anything is subtracted; what is not clear stops the work."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from masterlight.core.errors import FrameError, ParameterError
from masterlight.core.frame import PARTS_NOTE, Frame, Meta
from masterlight.core.together import differences
from masterlight.core.units.reading import DARKS, PARTS, UNCLEAR, Company, Reading, Units, read_scale, sample_of
from masterlight.core.workers import Pool, Serial, each

KNOB = "ImageCalibration.units"
"""What decides where two readings are possible."""
ALIKE = "camera", "size"
"""What frames share whose numbers are compared."""


def is_plain(meta: Meta) -> bool:
    """Whether the numbers of a file need no look: DN of up to 16 bits, or settled already."""
    ours = meta.scale_claims[:1] == ("ours",) and "program" not in meta.scale_claims
    return meta.scale_known or (meta.integer and 8 < meta.bits <= 16) or ours


def settle(
    frames: Sequence[Frame], units: Units = "auto", knob: str = "", pool: Pool | None = None, strict: bool = True
) -> tuple[list[Frame], list[Reading]]:
    """The frames of one job in DN, and how the numbers of those that are no 16-bit integers were read.

    A frame that cannot be read is given back as it is. knob: the one that decides where two readings are possible.
    Raises ParameterError for a frame of unclear numbers among others whose numbers are clear; not `strict`, its reading
    is `disputed`, and whoever uses it must not.
    """
    frames = list(frames)
    doubtful = in_doubt(frames)
    if not doubtful:
        return frames, []
    readings = read_all([frames[i] for i in doubtful], frames, units, pool or (Serial(), 1))
    decided = follow(readings)
    dim = {one.source for one in decided if one is not None and one.unit == UNCLEAR}
    clear = {(f.meta.camera, f.meta.sky_shape): f for f in frames if f.source not in dim}.values() if dim else ()
    told = []
    for i, reading in zip(doubtful, decided, strict=True):
        if reading is None:
            continue
        if reading.unit == UNCLEAR and any(goes_with(frames[i], other) for other in clear):
            if strict:
                raise ParameterError(unclear(reading, knob))
            reading = replace(reading, disputed=True)
        frames[i] = in_dn(frames[i], reading)
        told.append(reading)
    return frames, told


def in_doubt(frames: Sequence[Frame]) -> list[int]:
    """Places of the frames whose numbers need a look; none where all are integers of one depth."""
    depths = {(frame.meta.integer, frame.meta.bits) for frame in frames}
    if len(depths) == 1 and depths.pop()[0]:
        return []
    shallow = any(integer and bits <= 8 for integer, bits in depths)

    def doubtful(meta: Meta) -> bool:
        return not is_plain(meta) or (shallow and meta.integer and meta.kind in DARKS and not meta.scale_known)

    return [i for i, frame in enumerate(frames) if doubtful(frame.meta)]


def read_all(doubtful: list[Frame], frames: list[Frame], units: Units, pool: Pool) -> list[Reading | None]:
    """How each of these is read beside all frames of its camera and size; None for one that cannot be read."""
    company: dict[tuple, Company] = {}
    items = []
    for frame in doubtful:
        key = frame.meta.camera, frame.meta.sky_shape[-2:]
        if key not in company:
            company[key] = company_of(frame, frames)
        items.append((frame, company[key]))
    found: dict[int, Reading | None] = {}

    def task(item: tuple[Frame, Company]) -> Reading | None:
        with suppress(FrameError, OSError):  # whoever uses the frame tells why
            return read_scale(*item, units)
        return None

    for event in each("units", pool, task, items):
        found[id(event.item[0])] = event.result if isinstance(event.result, Reading) else None
    return [found[id(frame)] for frame in doubtful]


def in_role(frame: Frame, kind: str) -> Frame:
    """A frame whose header does not tell what it is, as what it is given as."""
    return replace(frame, meta=frame.meta.with_(kind=kind)) if frame.meta.kind == "unknown" else frame


def goes_with(frame: Frame, other: Frame) -> bool:
    """Whether two frames are of one camera and size, as far as their headers tell."""
    return other is not frame and not any(differences(frame.meta, other.meta, ALIKE))


def company_of(frame: Frame, frames: Iterable[Frame]) -> Company:
    """What the integer frames of the same camera and size tell: their depth, and the level of a light."""
    known: dict[tuple, bool] = {}
    beside = []
    for other in frames:
        key = other.meta.camera, other.meta.sky_shape
        if key not in known:
            known[key] = not any(differences(frame.meta, other.meta, ALIKE))
        if known[key] and other is not frame and other.meta.integer and other.meta.bits <= 16:
            beside.append(other)
    lights = [other for other in beside if other.meta.kind in ("light", "unknown") and not other.meta.is_master]
    deep = Counter(8 if other.meta.bits <= 8 else 16 for other in lights or beside)
    level = None
    for light in lights[len(lights) // 2 :][:3]:
        with suppress(FrameError, OSError):
            sample = sample_of(light)
            level = sample.level if sample else None
            break
    return Company(deep.most_common(1)[0][0] if deep else None, level)


def follow(readings: list[Reading | None]) -> list[Reading | None]:
    """Unclear frames read as most of their kind are, where these agree."""
    votes: dict[str, Counter] = {}
    for one in readings:
        if one is not None and one.unit != UNCLEAR:
            votes.setdefault(one.kind, Counter())[one.unit, one.factor] += 1
    out = []
    for one in readings:
        kin = votes.get(one.kind, Counter()) if one is not None and one.unit == UNCLEAR else Counter()
        if one is not None and len(kin) == 1 and next(iter(kin.values())) > 2:
            (unit, factor), _ = next(iter(kin.items()))
            one = replace(one, unit=unit, factor=factor, why="as the others of its kind", odd=unit == PARTS)
        out.append(one)
    return out


def in_dn(frame: Frame, reading: Reading) -> Frame:
    """A frame in DN as it was read."""
    made = frame.times(reading.factor) if reading.factor != 1 else frame
    changed = reading.factor != 1 or reading.unit == UNCLEAR
    notes = (f"{reading.words}: {reading.why}",) if changed else ()
    kept = tuple(note for note in made.meta.notes if not (changed and note == PARTS_NOTE))
    return replace(made, meta=made.meta.with_(scale_known=True, notes=(*kept, *notes)))


def unclear(reading: Reading, knob: str) -> str:
    """The sentence that stops the work."""
    return f"{reading.source}: {question(reading, knob)}"


def question(reading: Reading, knob: str) -> str:
    """What is not clear about the numbers of a file, and what to do."""
    way = f"say which with {knob} dn or full-scale" if knob else "tell it in its header: BUNIT 'DN', or DATAMAX 1"
    return f"{reading.format}, DN or parts of full scale? Both can be ({reading.why}): {way}"


def sentences(readings: Iterable[Reading]) -> Iterator[str]:
    """What was done with files on another scale than 16-bit integers, each sentence once with its files."""
    told: dict[str, list[Reading]] = {}
    for one in readings:
        if one.factor != 1 or one.unit == UNCLEAR:
            told.setdefault(one.words, []).append(one)
    for words, same in told.items():
        names = [Path(one.source).name for one in same]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{', '.join(names[:3])}{more}: {words} ({same[0].why})"


def settle_mixed(frames: Sequence[Frame], units: Units = "auto", knob: str = "") -> tuple[list[Frame], list[Reading]]:
    """Frames that are combined as they are: left alone where all are on one scale, brought to DN where they are not.

    Raises ParameterError where it is not clear whether they are on one scale.
    """
    made, readings = settle(frames, units, knob)
    parts = [one for one in readings if one.unit == PARTS]
    if not parts or len(parts) < len(frames) or len({one.factor for one in parts}) > 1 or parts[0].factor == 1:
        return made, readings
    return [in_parts(one, parts[0].factor) for one in frames], []


def in_parts(frame: Frame, factor: float) -> Frame:
    """A frame that stays in parts of full scale: its gain is then so many electrons for the whole scale."""
    gain = frame.meta.gain_e_per_dn
    claims = (*frame.meta.scale_claims, PARTS)
    return replace(frame, meta=frame.meta.with_(scale_claims=claims, gain_e_per_dn=gain and gain * factor))
