"""A table as text: CSV for spreadsheets, ECSV for astropy, JSON for programs. Numbers are written as full doubles."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[tuple[Any, ...]]


def csv_text(heads: Mapping[str, str], rows: Rows) -> str:
    """Columns (name -> unit) and rows of cells as CSV (RFC 4180); empty where a cell is None."""
    return written([f"{name} [{unit}]" if unit else name for name, unit in heads.items()], rows, ",")


def ecsv_text(heads: Mapping[str, str], rows: Rows, facts: Mapping[str, Any]) -> str:
    """The same as ECSV 1.0 (Taylor 2020), units as the FITS standard spells them; `facts` about all of it."""
    lines = ["%ECSV 1.0", "---", "datatype:"]
    for i, (name, unit) in enumerate(heads.items()):
        kind = kind_of([row[i] for row in rows])
        words = {"name": name} | ({"unit": UNITS.get(unit, unit)} if unit else {}) | {"datatype": kind}
        lines.append("- {" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in words.items()) + "}")
    lines += [f"meta: {json.dumps(facts)}", "delimiter: ','", "schema: astropy-2.0"]
    return "".join(f"# {line}\n" for line in lines) + written(list(heads), rows, ",")


def json_text(heads: Mapping[str, str], rows: Rows, facts: Mapping[str, Any]) -> str:
    """The same as JSON: {facts..., "units": {column: unit}, "frames": [{column: value}]}, null where a cell is None."""
    frames = [dict(zip(heads, row, strict=True)) for row in rows]
    units = {name: unit for name, unit in heads.items() if unit}
    return json.dumps({**facts, "units": units, "frames": frames}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


UNITS = {"px": "pix", "DN": "adu", "e-": "electron"}
"""Units as the FITS standard spells them."""


def kind_of(cells: Sequence[Any]) -> str:
    """The type of a column as ECSV calls it."""
    kinds = {type(cell) for cell in cells if cell is not None}
    return "bool" if kinds == {bool} else "string" if str in kinds else "float64"


def written(heads: Sequence[str], rows: Rows, delimiter: str) -> str:
    """Heads and rows as delimited text; floats have the fewest digits that give the same double again."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerows([heads, *rows])
    return out.getvalue()
