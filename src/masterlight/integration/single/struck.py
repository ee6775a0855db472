"""What one look at each frame takes for a ray, compared between frames: light of the sky is there in the others too."""

from collections.abc import Sequence
from itertools import product

import numpy as np

CELL_PX = 2
"""Places that lie in one such cell of the sky, or in the next, are the same."""
COMMON = 0.2
"""Where this share of the other frames that show a place or more was struck, nothing was: rays come by chance."""


def struck_alone(
    places: Sequence[np.ndarray], shape: tuple[int, int], shown: np.ndarray | None = None
) -> list[np.ndarray]:
    """Which of the places that each frame was struck at are its own, (n,) bool for each (n, 2) of x, y.

    Places are pixels of an image of this shape, which all frames show, or so many as a coarse map `shown` of it tells;
    what lies outside of it is believed. A star that is sharper than the others of its frame, of a curved field or a
    short focus, would be taken for a ray by every look at one frame: it shines in all of them. What lies next to such a
    place goes with it.
    """
    rows, cols = (size // CELL_PX + 3 for size in shape)
    counts = np.zeros(rows * cols, np.uint16)
    steps = [y * cols + x for y, x in product((-1, 0, 1), repeat=2)]
    shown = np.full((1, 1), len(places)) if shown is None else shown
    fewest = np.maximum(1, np.ceil(COMMON * (shown - 1)).astype(np.int64))
    cells = []
    for xy in places:
        x, y = np.floor(np.asarray(xy, float).reshape(-1, 2).T / CELL_PX).astype(np.int64) + 1
        inside = (x >= 1) & (y >= 1) & (x < cols - 1) & (y < rows - 1)
        cells.append(np.where(inside, y * cols + x, -1))
        counts[own_cells(cells[-1])] += 1
    alone = []
    for xy, at in zip(places, cells, strict=True):
        mine, inside = own_cells(at), at >= 0
        counts[mine] -= 1
        others = np.zeros(len(at), np.int64)
        others[inside] = sum(counts[at[inside] + step].astype(np.int64) for step in steps)
        counts[mine] += 1
        common = inside & (others >= at_places(fewest, xy, shape))
        for _ in range(2 if common.any() else 0):
            near = np.add.outer(at[common & inside], steps).ravel()
            common |= np.isin(at, near) & inside
        alone.append(~common)
    return alone


def own_cells(at: np.ndarray) -> np.ndarray:
    """The cells that are told, each once; -1 tells none."""
    return np.unique(at[at >= 0])


def at_places(coarse: np.ndarray, xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values (n,) of a coarse map of an image of this shape at places (n, 2) px, those beyond it at its edge."""
    x, y = (np.asarray(xy, float).reshape(-1, 2) * np.array(coarse.shape[::-1]) / np.array(shape[::-1])).T
    rows, cols = coarse.shape
    return coarse[np.clip(y.astype(int), 0, rows - 1), np.clip(x.astype(int), 0, cols - 1)]
