"""Which way round the colour filters lie in files that have the last row first: `settle_patterns(frames)`.

BAYERPAT is then that of the top of the picture to some programs, as Siril reads it, and that of the first row stored to
others, and headers do not tell which. With an even number of rows the two readings have their greens on different
pixels; those of one colour respond alike, in flats as in the sky, so one reading fits and the other does not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError
from masterlight.core.frame import Frame, Meta, evenly
from masterlight.core.headers.geometry import flipped_pattern, period, places
from masterlight.core.headers.names import camera_key
from masterlight.core.units.figures import figure

LIGHTS, FLATS = 4, 3
"""So many of each group are looked at, evenly chosen; darks and bias frames know no colour."""
STRIPS, ACROSS, BLOCK_PX = 3, 8, 96
"""Strips of a frame that are read, blocks along each, and the side of a block."""
SIGMA, SAME, OTHER = 5.0, 0.4, 0.1
"""A reading is refused where its pixels of one colour differ by more sigma than this, and by more than OTHER of what
the four or 36 pixels differ by at most, while those of the other reading differ by less than SAME of that."""
CLEARLY = 4
"""So many frames must say the same for each one that says otherwise."""
Row = Literal["", "top", "stored"]
WHERE = {"top": "at the top of the picture", "stored": "with the first row stored"}


class Look(NamedTuple):
    """What a frame tells: the row of which its pattern is, '' where its pixels cannot tell, and by how much."""

    row: Row = ""
    same_dn: float = 0.0
    """By how much pixels of one colour differ in this reading."""
    other_dn: float = 0.0
    """By how much they do in the other."""


def settle_patterns(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """The frames, those that have the last row first with the colour pattern that fits their pixels; and what decided.

    All of one camera and program are read alike, after a look at strips of a few of its lights and flats; where those
    cannot tell, as others of the camera are, and else as Siril reads them. A sentence for each reading.
    """
    groups: dict[Any, list[Frame]] = {}
    known: dict[Any, set[Row]] = {}
    for frame in frames:
        if frame.meta.bottom_up and frame.meta.pattern_row:
            known.setdefault(camera_of(frame.meta), set()).add(frame.meta.pattern_row)
        elif is_open(frame.meta):
            groups.setdefault((camera_of(frame.meta), frame.meta.program), []).append(frame)
    if not groups:
        return list(frames), []
    looks = {key: list(map(look, samples_of(group))) for key, group in groups.items()}
    for (camera, _), seen in looks.items():
        known.setdefault(camera, set()).update({row_of(seen)} - {""})
    rows: dict[Any, Row] = {key: row_of(seen) or only(known[key[0]]) for key, seen in looks.items()}
    told = {(camera, rows[camera, program]): [] for camera, program in groups}
    for key, group in groups.items():
        told[key[0], rows[key]] += [(group, looks[key])]
    made = {id(frame): turned(frame, rows[key]) for key, group in groups.items() for frame in group}
    return [made.get(id(frame), frame) for frame in frames], list(sentences(told))


def is_open(meta: Meta) -> bool:
    """Whether the pattern of a frame can be read in two ways."""
    colours = meta.pattern if meta.bottom_up and not meta.pattern_row and len(meta.shape) == 2 else None
    return bool(colours) and set(colours) == set("RGB") and flipped_pattern(colours, meta.shape[0]) != colours


def camera_of(meta: Meta) -> tuple:
    """What frames have in common whose patterns are read alike: camera, size, the pattern as their headers tell it."""
    stored = meta.pattern_row == "stored"
    pattern = flipped_pattern(meta.pattern, meta.shape[-2]) if stored and meta.pattern else meta.pattern
    return camera_key(meta.camera), meta.shape, pattern


def turned(frame: Frame, row: Row) -> Frame:
    """A frame with its pattern as it is when BAYERPAT is that of this row."""
    meta = frame.meta.with_(pattern_row=row)
    if row == "stored":
        meta = meta.with_(pattern=flipped_pattern(frame.meta.pattern, frame.shape[-2]))
    return replace(frame, meta=meta)


def samples_of(group: Sequence[Frame]) -> list[Frame]:
    """Those of a group that are looked at."""
    lights = [frame for frame in group if frame.meta.kind in ("light", "unknown")]
    flats = [frame for frame in group if frame.meta.kind == "flat"]
    some = ((lights, LIGHTS), (flats, FLATS))
    return [kind[i] for kind, most in some if kind for i in evenly(0, len(kind) - 1, most)]


def row_of(looks: Sequence[Look]) -> Row:
    """What frames of one camera and program say together; '' where they cannot tell, or contradict one another."""
    count = {row: sum(one.row == row for one in looks) for row in WHERE}
    more, less = sorted(WHERE, key=lambda row: -count[row])
    return more if count[more] and count[more] >= CLEARLY * count[less] else ""


def only(rows: set[Row]) -> Row:
    return next(iter(rows)) if len(rows) == 1 else ""


def look(frame: Frame) -> Look:
    """Which reading of the pattern of a frame its pixels fit."""
    top = frame.meta.pattern
    stored = flipped_pattern(top, frame.shape[0])
    try:
        blocks = blocks_of(frame, period(top))
    except (FrameError, OSError):  # told when its turn comes
        return Look()
    if len(blocks) == 0:
        return Look()
    levels, errors = place_levels(blocks, period(top))
    span = float(np.mean(np.ptp(levels, axis=1)))
    same = {row: unlikeness(levels, errors, pattern) for row, pattern in (("top", top), ("stored", stored))}
    for row, other in (("top", "stored"), ("stored", "top")):
        (own_dn, _), (other_dn, sigma) = same[row], same[other]
        if sigma > SIGMA and other_dn > OTHER * span and own_dn < SAME * other_dn:
            return Look(row, own_dn, other_dn)
    return Look()


def blocks_of(frame: Frame, n: int) -> np.ndarray:
    """Blocks of a frame that begin at its first colour, where it saw the sky and nothing is missing: (count, h, w)."""
    y0, y1, x0, x1 = frame.meta.data_px or (0, frame.shape[0], 0, frame.shape[1])
    y0, x0 = -(-y0 // n) * n, -(-x0 // n) * n
    height, width = (min(BLOCK_PX, last - first) // (2 * n) * 2 * n for first, last in ((y0, y1), (x0, x1)))
    if min(height, width) < 4 * n:
        return np.empty((0, height, width), np.float32)
    strips = [frame.pixels(y, y + height, x0, x1) for y in evenly(y0, y1 - height, STRIPS, n)]
    at = evenly(0, x1 - x0 - width, ACROSS, n)
    blocks = np.stack([strip[:, x : x + width] for strip in strips for x in at])
    return blocks[np.isfinite(blocks).all(axis=(1, 2))]


def place_levels(blocks: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The level of each place of a pattern in the middle of each block, and its standard error: (count, n * n) each.

    Stars and hot pixels are clipped; the slope of the sky over a block is taken out.
    """
    count, height, width = blocks.shape
    cells = blocks.reshape(count, height // n, n, width // n, n).astype(np.float64)
    x = cells.transpose(0, 2, 4, 1, 3).reshape(count, n * n, -1)
    values = np.unique(blocks[0])
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    middle = np.median(x, axis=-1, keepdims=True)
    sigma = np.maximum(1.4826 * np.median(np.abs(x - middle), axis=-1, keepdims=True), step)
    kept = np.abs(x - middle) <= 3 * sigma
    number = kept.sum(axis=-1)
    levels = np.where(kept, x, 0).sum(axis=-1) / number
    variance = (np.where(kept, x - levels[..., None], 0) ** 2).sum(axis=-1) / number + step**2 / 12
    smooth = cells.mean(axis=(2, 4))
    down, across = (slope(np.moveaxis(smooth, axis, 1)) / n for axis in (1, 2))
    y, x = np.divmod(np.arange(n * n), n) - np.array((n - 1) / 2)
    return levels - down[:, None] * y - across[:, None] * x, np.sqrt(variance / number)


def slope(smooth: np.ndarray) -> np.ndarray:
    """How steep each of many images (count, rows, cols) is along its rows, for each row."""
    half = smooth.shape[1] // 2
    first, last = (np.median(part, axis=(1, 2)) for part in (smooth[:, :half], smooth[:, -half:]))
    return (last - first) / (smooth.shape[1] - half)


def unlikeness(levels: np.ndarray, errors: np.ndarray, pattern: str) -> tuple[float, float]:
    """By how much two pixels of one colour differ beyond their noise, in DN, and by how many sigma."""
    squares, chi, free = 0.0, 0.0, 0
    for at in places(pattern).values():
        own = [y * period(pattern) + x for y, x in at]
        off, variance = levels[:, own] - levels[:, own].mean(axis=1, keepdims=True), errors[:, own] ** 2
        squares += float((off**2).sum() - variance.mean() * off.size * (1 - 1 / len(own)))
        chi += float((off**2 / variance).sum())
        free += len(levels) * (len(own) - 1)
    return max(0.0, 2 * squares / free) ** 0.5, (chi - free) / (2 * free) ** 0.5


def sentences(told: dict[Any, list[tuple[list[Frame], list[Look]]]]) -> Iterator[str]:
    """What decided, for each camera and reading."""
    for (_, row), parts in told.items():
        frames, looks = ([one for part in parts for one in part[i]] for i in (0, 1))
        meta = frames[0].meta
        pattern, other = (
            p if len(p) == 4 else "" for p in (meta.pattern, flipped_pattern(meta.pattern, meta.shape[0]))
        )
        words = f"{meta.camera or 'camera unknown'}: {len(frames)} files have the last row first (ROWORDER BOTTOM-UP), "
        words += f"BAYERPAT {pattern}".rstrip()
        sure = [one for one in looks if one.row == row]
        if row and sure:
            same, wrong = (figure(float(np.median(dn))) for dn in zip(*(one[1:] for one in sure), strict=True))
            seen = f"of {len(sure)} frames looked at, pixels of one colour differ by {same} DN so, else by {wrong} DN"
            yield f"{words} begins {WHERE[row]}: {seen}"
        elif looks and not row:
            doubt = "contradict one another" if any(one.row for one in looks) else "cannot tell"
            words += f" is taken to begin {WHERE['top']}, as Siril reads it: the pixels {doubt}"
            yield words + (f". If colours come out wrong, set Debayer.pattern {other}" if other else "")
