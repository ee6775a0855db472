"""Where the pixels are that a diagnosis counts: bad columns and dead blocks of a sensor are no matter of exposure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from masterlight.doctor.findings import Finding, finding, some

FEW_COLUMNS = 0.02
"""A sensor has bad columns; where more than this part of all is concerned, something else is wrong."""
PART = 0.25
"""A column is bad when this part of the rows that are read shows it: many are bad in a part only."""
RUN = 4
"""So many pixels beside each other are a block: noise and hot pixels make none."""
NEAR = 0.2
"""What was clipped by its exposure has neighbours within this part of the way to the level of the frame."""


@dataclass(frozen=True)
class Places:
    """Pixels of a sample (groups, size, cols) that lie in bad columns or blocks, and those that do not."""

    columns: np.ndarray
    """(cols) bool."""
    blocks: np.ndarray
    """(groups, size, cols) bool, without the columns."""
    rest: np.ndarray
    """(groups, size, cols) bool."""

    @property
    def named(self) -> int:
        """How many bad columns there are, and pixels that were read of blocks."""
        return int(self.columns.sum() + self.blocks.sum())

    def in_words(self, x0: int = 0) -> str:
        """The columns and blocks by their x, counted from 0; x0: where the sample begins."""
        columns, blocks = self.columns.any(), self.blocks.any()
        return " and ".join([self.in_columns(x0)] * bool(columns) + [self.in_blocks(x0)] * bool(blocks))

    def in_columns(self, x0: int = 0) -> str:
        """The columns alone."""
        return f"column{'s' * bool(self.columns.sum() > 1)} {spans(self.columns, x0)}"

    def in_blocks(self, x0: int = 0) -> str:
        """The blocks alone."""
        return f"in a block at x = {spans(self.blocks.any(axis=(0, 1)), x0)}"


def spans(marked: np.ndarray, x0: int, most: int = 4) -> str:
    """Where something is marked, as `12, 40-43 and 2 more`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    found = [(int(a) + x0, int(b) - 1 + x0) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    words = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found[:most])
    return f"{words} and {len(found) - most} more" if len(found) > most else words


def places(mask: np.ndarray, allowed: np.ndarray | None = None) -> Places:
    """Split the marked pixels of a sample; allowed: those that may belong to a column or block, by default all."""
    could = mask if allowed is None else mask & allowed
    rows, cols = could.shape[0] * could.shape[1], could.shape[2]
    columns = could.sum(axis=(0, 1)) >= max(4, PART * rows)
    wide = in_runs(columns[None])[0]
    columns = columns & ~wide if columns.sum() <= max(4, FEW_COLUMNS * cols) else np.zeros_like(columns)
    blocks = in_runs(could & ~columns)
    return Places(columns, blocks, mask & ~columns & ~blocks)


def in_runs(mask: np.ndarray) -> np.ndarray:
    """Which marked pixels have so many others beside them that they are a block, though not half of a row."""
    out = np.zeros_like(mask)
    for line, marked in zip(out.reshape(-1, mask.shape[-1]), mask.reshape(-1, mask.shape[-1]), strict=True):
        for a, b in runs(marked) if 2 * marked.sum() <= marked.size else ():
            line[a:b] = b - a >= RUN
    return out


def runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """Bounds of the runs of marked pixels of a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def abrupt(rows: np.ndarray, mask: np.ndarray, clip_dn: float, level_dn: float) -> np.ndarray:
    """Which clipped pixels end at once: those of their colour beside them are not near the level of the clip.

    rows (groups, size, cols) DN. What was exposed too long or too short comes near the clip gradually.
    """
    out, size = np.zeros_like(mask), mask.shape[1]
    limit = NEAR * max(clip_dn, level_dn)
    for i, j in np.ndindex(size, size):
        for line, marked, values in zip(*(array[:, i, j::size] for array in (out, mask, rows)), strict=True):
            for a, b in runs(marked):
                beside = np.concatenate([values[max(0, a - 1) : a], values[b : b + 1]])
                beside = beside[np.isfinite(beside)]
                line[a:b] = beside.size > 0 and float(np.min(np.abs(beside - clip_dn))) > limit
    return out


def bad_places(id: str, sources: Sequence[Any], words: str) -> Finding:
    """A finding about columns or blocks of a sensor that are defective: good to know, whatever the exposure."""
    sentence = f"""{some(sources)}: {words}, beside pixels that are well: defects of the sensor, no matter of exposure.
        Dither between lights, and rejection removes them; Recipe.defects takes a list of them"""
    return finding(id, "info", sources, None, None, "", sentence, title="Bad columns")
