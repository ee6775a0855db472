"""The WCS of a header for the same frame on another grid: through a matrix or a bend, distortion polynomials too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from masterlight.alignment.transform import Transform
from masterlight.core.headers.geometry import SIP_TERM, WCS_KEYWORDS
from masterlight.core.headers.values import as_number

MOST_ORDER, NODES = 5, 25
GOOD_PX, WRONG_PX = 1e-4, 0.1
"""An error, px, below which no further term is added, and one above which no WCS is better than that."""
LINEAR = re.compile(r"(CD\d_\d|PC\d_\d|CDELT\d|CROTA\d|CRPIX\d|(A|B|AP|BP)_(ORDER|DMAX|\d_\d))")
"""What is told anew; the kind of projection and where it touches the sky stay."""

Way = Callable[[np.ndarray], np.ndarray]
"""Positions (n, 2) px, zero-based, in other positions."""


class Sip(NamedTuple):
    """Polynomials in x and y (Shupe et al. 2005) by their powers: what is added to a position about the pivot."""

    powers: tuple[tuple[int, int], ...]
    terms: np.ndarray
    """(n, 2), for x and y."""

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        return powers_of(self.powers, xy) @ self.terms

    def cards(self, first: str, second: str) -> dict[str, Any]:
        """As keywords, `A_2_0` and so on."""
        order = max(map(sum, self.powers))
        told: dict[str, Any] = {f"{first}_ORDER": order, f"{second}_ORDER": order}
        for (p, q), values in zip(self.powers, self.terms, strict=True):
            told |= {f"{name}_{p}_{q}": float(v) for name, v in zip((first, second), values, strict=True)}
        return told


def powers_of(powers, xy: np.ndarray) -> np.ndarray:
    """Products (n, terms) of powers of positions (n, 2)."""
    return np.stack([xy[:, 0] ** p * xy[:, 1] ** q for p, q in powers], axis=-1)


def moved_wcs(header: Mapping, there: Way, back: Way, shape: tuple[int, ...]) -> dict[str, Any]:
    """The cards that tell where on the sky the pixels of a new grid lie; none where the header tells none or it fails.

    header: of the frame; there: from pixels of the new grid (rows, cols) to those of the frame; back: its inverse.
    Polynomials are fitted to what the way adds to an affine map: where it is one, they keep their order and are exact.
    """
    cards = {
        str(k): header[k] for k in header if str(k).startswith(WCS_KEYWORDS) and not re.search(r"\d[A-Z]$", str(k))
    }
    pivot, matrix = linear_part(cards)
    if pivot is None or matrix is None:
        return {}
    rows, cols = shape[-2:]
    new_pivot = back(pivot[None])[0]
    steps = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    ends = there(new_pivot + steps)
    turn = np.stack([ends[0] - ends[1], ends[2] - ends[3]], axis=1)
    if not np.isfinite(turn).all() or abs(np.linalg.det(turn)) < 1e-9:
        return {}
    old, undo = sip_of(cards), np.linalg.inv(turn)
    y, x = np.meshgrid(np.linspace(0, rows - 1, NODES), np.linspace(0, cols - 1, NODES), indexing="ij")
    at = np.stack([x.ravel(), y.ravel()], axis=-1)
    away = there(at) - pivot
    moved = (away if old is None else away + old(away)) @ undo.T
    terms, error = fitted(at - new_pivot, moved, 1 if old is None else max(map(sum, old.powers)))
    curved = terms is not None and any(key.startswith(("PV1_", "PV2_")) for key in cards)
    if error > WRONG_PX or curved:
        return {}
    return told(cards, new_pivot, matrix @ turn, terms, at - new_pivot, moved)


def first_solved(frames: Iterable[tuple[Mapping, Transform]], shape: tuple[int, ...]) -> dict[str, Any]:
    """The cards, on a grid of (rows, cols), of the first frame whose header tells where it lies on the sky.

    frames: headers, and transforms from the grid to them; nothing where none tells it.
    """
    return next(filter(None, (moved_wcs(header, t, t.inverse, shape) for header, t in frames)), {})


def seen_from(header: Mapping, other: Mapping) -> np.ndarray | None:
    """Where the pixels of a frame lie in another one as both headers tell it: a 3x3 matrix; None where one does not.

    Two gnomonic projections of one sky are a homography of each other (Calabretta & Greisen 2002, section 5.1.3);
    distortion polynomials are left out. What headers tell may be wrong: stars must confirm it.
    """
    planes = [tangent_plane(one) for one in (header, other)]
    if planes[0] is None or planes[1] is None:
        return None
    (sky, turned), (far_sky, far_turned) = planes
    way = np.linalg.inv(far_sky) @ far_turned.T @ turned @ sky
    return way / way[2, 2] if np.isfinite(way).all() and way[2, 2] > 1e-12 else None


def tangent_plane(header: Mapping) -> tuple[np.ndarray, np.ndarray] | None:
    """From zero-based pixels to the plane that touches the sky, in units of its radius, and how that is turned: its
    axes to the east, to the north and outwards as columns (3, 3). None without such a WCS."""
    cards = {str(key): header[key] for key in header if str(key).startswith(WCS_KEYWORDS)}
    kinds = [str(cards.get(key, "")).strip().removesuffix("-SIP") for key in ("CTYPE1", "CTYPE2")]
    pivot, matrix = linear_part(cards)
    if kinds != ["RA---TAN", "DEC--TAN"] or pivot is None or matrix is None:
        return None
    flat = np.eye(3)
    flat[:2, :2] = np.radians(matrix)
    flat[:2, 2] = -flat[:2, :2] @ pivot
    ra, dec = (np.radians(as_number(cards[key])) for key in ("CRVAL1", "CRVAL2"))
    (sa, ca), (sd, cd) = ((np.sin(angle), np.cos(angle)) for angle in (ra, dec))
    return flat, np.array([[-sa, -sd * ca, cd * ca], [ca, -sd * sa, cd * sa], [0.0, cd, sd]])


def linear_part(cards: Mapping) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The zero-based pixel where a WCS touches the sky, and its 2x2 matrix in degrees; None where they are not told."""
    number = {key: as_number(value) for key, value in cards.items()}
    where = [number.get(key) for key in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")]
    if None in where or "CTYPE1" not in cards:
        return None, None
    ij = [(1, 1), (1, 2), (2, 1), (2, 2)]
    if any(f"CD{i}_{j}" in cards for i, j in ij):
        matrix = np.array([number.get(f"CD{i}_{j}") or 0.0 for i, j in ij]).reshape(2, 2)
    elif not any(f"{word}{i}" in cards for word in ("CDELT", "PC1_", "PC2_") for i in (1, 2)):
        return None, None
    else:
        scale = [1.0 if (step := number.get(f"CDELT{i}")) is None else step for i in (1, 2)]
        if any(f"PC{i}_{j}" in cards for i, j in ij):
            turn = [float(i == j) if (v := number.get(f"PC{i}_{j}")) is None else v for i, j in ij]
            matrix = np.diag(scale) @ np.reshape(turn, (2, 2))
        else:
            angle = np.radians(number.get("CROTA2") or 0.0)
            c, s = np.cos(angle), np.sin(angle)
            matrix = np.array([[scale[0] * c, -scale[1] * s], [scale[0] * s, scale[1] * c]])
    good = np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-30
    return (np.array(where[:2], float) - 1, matrix) if good else (None, None)


def sip_of(cards: Mapping) -> Sip | None:
    """The forward polynomials of a WCS; None where it has none."""
    found: dict[tuple[int, int], list[float]] = {}
    for term in filter(None, map(SIP_TERM.fullmatch, cards)):
        if term[1] in ("A", "B"):
            values = found.setdefault((int(term[2]), int(term[3])), [0.0, 0.0])
            values["AB".index(term[1])] = as_number(cards[term[0]]) or 0.0
    return Sip(tuple(found), np.array(list(found.values()))) if found else None


def fitted(at: np.ndarray, moved: np.ndarray, order: int) -> tuple[Sip | None, float]:
    """Polynomials of the least order that send positions (n, 2) to their moved ones, and the largest error, px."""
    error = np.inf
    best: Sip | None = None
    for n in range(1, max(MOST_ORDER, order) + 1):
        powers = tuple((p, d - p) for d in range(1, n + 1) for p in range(d, -1, -1))
        size = np.abs(at).max()
        terms = np.linalg.lstsq(powers_of(powers, at / size), moved - at, rcond=None)[0]
        terms /= size ** np.array([[p + q] for p, q in powers])
        sip = Sip(powers, terms)
        error = float(np.abs(at + sip(at) - moved).max())
        best = sip
        if error < GOOD_PX:
            break
    small = best is not None and np.abs(best(at)).max() < GOOD_PX
    return (None if small else best), error


def told(cards: Mapping, pivot, matrix, sip: Sip | None, at: np.ndarray, moved: np.ndarray) -> dict[str, Any]:
    """The cards of a WCS with its new pivot, matrix and polynomials; what is linear of these goes into the matrix."""
    new = {key: value for key, value in cards.items() if not LINEAR.fullmatch(key)}
    kind = [str(cards.get(key, "")).removesuffix("-SIP") for key in ("CTYPE1", "CTYPE2")]
    if sip is not None:
        linear = np.eye(2) + np.stack([sip.terms[sip.powers.index(p)] for p in ((1, 0), (0, 1))], axis=1)
        matrix, undo = matrix @ linear, np.linalg.inv(linear)
        rest = [i for i, (p, q) in enumerate(sip.powers) if p + q > 1]
        moved = moved @ undo.T
        if rest:
            sip = Sip(tuple(sip.powers[i] for i in rest), sip.terms[rest] @ undo.T)
            inverse, _ = fitted(moved, at, max(map(sum, sip.powers)))
            new |= sip.cards("A", "B") | (inverse.cards("AP", "BP") if inverse is not None else {})
            kind = [f"{word}-SIP" for word in kind]
    new |= {"CTYPE1": kind[0], "CTYPE2": kind[1], "CRPIX1": float(pivot[0] + 1), "CRPIX2": float(pivot[1] + 1)}
    return new | {f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in range(2) for j in range(2)}
