"""A transform in words and numbers that a file can hold, and back: exact to the last bit.

What comes out is plain: dicts, lists, strings and numbers, ready for JSON, whose floats are written so that reading
gives the same bits. Numbers that are not finite are None.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from masterlight.alignment.bend import Back, Bend, Chain, Lens, LensBend, Polynomial, Spline, Step
from masterlight.alignment.transform import MODELS, Transform

KINDS: dict[str, type[Bend]] = {kind.kind: kind for kind in (Polynomial, Spline, LensBend, Chain, Back)}
"""Kinds of bend by their names in a file."""
FORMAT = 1
MOST_DEEP = 8
"""How many transforms may stand in each other."""


def to_dict(transform: Transform) -> dict[str, Any]:
    """A transform as plain data, ready for JSON."""
    told = {field.name: plain(getattr(transform, field.name)) for field in fields(transform)}
    return {"format": FORMAT, **told}


def plain(value: Any) -> Any:
    """A value of a transform or a bend as plain data."""
    if isinstance(value, Bend):
        return {"kind": value.kind, **{field.name: plain(getattr(value, field.name)) for field in fields(value)}}
    if isinstance(value, Lens):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    return value


def from_dict(told: Any) -> Transform:
    """The transform that `to_dict` wrote; a ValueError says in words why it is none."""
    if not isinstance(told, dict):
        raise ValueError("a transform is missing")
    if told.get("format") != FORMAT:
        raise ValueError(f"the transform has format {told.get('format')!r}, and {FORMAT} is known")
    known = {field.name: field for field in fields(Transform)}
    unknown = sorted(set(told) - set(known) - {"format"})
    if unknown:
        raise ValueError(f"a transform has no {unknown[0]!r}")
    values = {name: VALUES.get(name, figure)(name, told[name]) for name in known if name in told}
    if "matrix" not in values:
        raise ValueError("the transform has no matrix")
    return Transform(**values)


def bend_of(told: Any, deep: int = 0) -> Bend | None:
    """The bend that was written as plain data, None for none."""
    if told is None:
        return None
    if deep > MOST_DEEP or not isinstance(told, dict) or told.get("kind") not in KINDS:
        kind = told.get("kind") if isinstance(told, dict) else told
        raise ValueError(f"the bend of the transform is of no known kind ({str(kind)[:40]!r})")
    make = KINDS[told["kind"]]
    names = [field.name for field in fields(make)]
    if set(told) != {"kind", *names}:
        raise ValueError(f"the {told['kind']} of the transform is not whole: it needs {', '.join(names)}")
    values = {name: part_of(make, name, told[name], deep) for name in names}
    return checked(make(**values))


def part_of(make: type[Bend], name: str, told: Any, deep: int) -> Any:
    """One field of a bend."""
    if make is Chain:
        if not isinstance(told, list) or not told:
            raise ValueError("the chain of the transform is empty")
        return tuple(step_of(step, deep + 1) for step in told)
    if make is Back:
        return step_of(told, deep + 1)
    if name in ("reference", "source"):
        return lens_of(told)
    if name == "box":
        return tuple(numbers(name, told, (4,)).tolist())
    return matrix_of(name, told) if name == "matrix" else numbers(name, told)


def step_of(told: Any, deep: int) -> Step:
    """A matrix and the bend beside it."""
    if not isinstance(told, list) or len(told) != 2:
        raise ValueError("a step of the transform needs a matrix and a bend")
    return matrix_of("matrix", told[0]), bend_of(told[1], deep)


def lens_of(told: Any) -> Lens | None:
    """A lens, None for none."""
    if told is None:
        return None
    names = [field.name for field in fields(Lens)]
    if not isinstance(told, dict) or set(told) != set(names):
        raise ValueError(f"the lens of the transform is not whole: it needs {', '.join(names)}")
    centre, decentring = (tuple(numbers(name, told[name], (2,)).tolist()) for name in ("centre_px", "decentring"))
    radius = float(numbers("radius_px", told["radius_px"], ()))
    if not radius > 0:
        raise ValueError("radius_px of the lens must be above 0")
    radial = numbers("radial", told["radial"])
    if radial.ndim != 1:
        raise ValueError("radial of the lens must be a list of numbers")
    return Lens(centre, radius, tuple(radial.tolist()), decentring)


def checked(bend: Bend) -> Bend:
    """The bend, if its numbers fit together."""
    right = True
    if isinstance(bend, Polynomial):
        right = bend.coefficients.shape in ((2, 3), (2, 7), (2, 12))
    elif isinstance(bend, Spline):
        count = len(bend.nodes) if bend.nodes.ndim else 0
        right = bend.nodes.shape == (count, 2) and bend.weights.shape == (2, count) and bend.plane.shape == (2, 3)
    elif isinstance(bend, Back):
        right = bend.there[1] is not None
    if not right:
        raise ValueError(f"the numbers of the transform's {bend.kind} do not fit together")
    return bend


def numbers(name: str, told: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Finite numbers, float64."""
    try:
        out = np.array(told, float)
    except (TypeError, ValueError):
        out = np.array(np.nan)
    if not np.isfinite(out).all() or (shape is not None and out.shape != shape):
        raise ValueError(f"{name} of the transform must be {'finite numbers' if shape != (3, 3) else '3 x 3 numbers'}")
    return out


def matrix_of(name: str, told: Any) -> np.ndarray:
    """A 3x3 matrix that can be turned back."""
    out = numbers(name, told, (3, 3))
    if abs(np.linalg.det(out)) < 1e-12:
        raise ValueError(f"the {name} of the transform sends the whole frame to one line")
    return out


def figure(name: str, told: Any) -> float:
    """A number, nan where none was written."""
    return float("nan") if told is None else float(numbers(name, told, ()))


def whole(name: str, told: Any) -> int:
    """A whole number."""
    if not isinstance(told, int) or told < 0:
        raise ValueError(f"{name} of the transform must be a whole number")
    return int(told)


def switch(name: str, told: Any) -> bool:
    """Yes or no."""
    if not isinstance(told, bool):
        raise ValueError(f"{name} of the transform must be true or false")
    return told


def word(name: str, told: Any) -> str:
    """A short text; of models, a known one."""
    if not isinstance(told, str) or (name == "model" and told not in MODELS):
        raise ValueError(f"{name} of the transform is unknown: {str(told)[:40]!r}")
    return told


def rows_and_columns(name: str, told: Any) -> tuple[int, int]:
    """The shape of the reference."""
    if not isinstance(told, list) or len(told) != 2:
        raise ValueError(f"{name} of the transform must be two whole numbers")
    return whole(name, told[0]), whole(name, told[1])


VALUES = {
    "matrix": matrix_of, "bend": lambda _, told: bend_of(told), "matched": whole, "flux_pairs": whole,
    "mirrored": switch, "method": word, "model": word, "shape": rows_and_columns,
}  # fmt: skip
"""How the fields of a transform are read that are no plain figures."""
