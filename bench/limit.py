"""How near the usual settings come to what a night could give, on every kind of night, with Siril and seiza beside.

python -m bench.limit --work /tmp/limit [--kind moon --seeds 1] [--programs masterlight] [--write]

Each night is simulated, so that an oracle can be made of it (`bench/oracle.py`); figures are medians over the seeds, as
ratios to the oracle's (`bench/judge.py`). Nights, oracles and what the others made of them are kept in the work folder.
"""

import argparse
import json
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from bench import rivals
from bench.judge import against, grid_of, rest_of
from bench.nights import KINDS, made
from bench.oracle import oracle_of
from bench.page import machine, write_section
from masterlight.simulate import Truth

COLUMNS = {
    "mf": ("mf", ".3f"), "sum": ("mf of the sum", ".3f"), "fwhm": ("FWHM", ".3f"), "boxes": ("noise in 8 px", ".3f"),
    "scatter": ("scatter", ".2f"), "low": ("below -6 sigma", ".0f"), "high": ("above 6 sigma", ".0f"),
    "z": ("z", ".3f"), "lost": ("lost %", ".2f"),
}  # fmt: skip
MAPS = ("VARIANCE", "REJ_LOW", "REJ_HIGH", "COVERAGE")
PROGRAMS = ("masterlight", "seiza", "siril")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "limit", help="folder for the nights")
    words.add_argument("--kind", nargs="+", default=list(KINDS), choices=list(KINDS))
    words.add_argument("--seeds", type=int, default=5, help="nights of each kind")
    words.add_argument("--first", type=int, default=1, help="seed of the first night")
    words.add_argument("--programs", nargs="+", default=["masterlight"], choices=PROGRAMS)
    words.add_argument("--flags", default="", help="flags for masterlight run, in one string")
    words.add_argument("--kept", action="store_true", help="take what is kept of masterlight's nights, too")
    words.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = words.parse_args()
    lines = [heading()]
    print(*lines, sep="\n", flush=True)
    for kind in chosen.kind:
        found: dict[str, list[dict]] = {name: [] for name in chosen.programs}
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            for name, figures in judged_night(kind, seed, chosen).items():
                found[name].append(figures)
        told = [row(kind, name, figures) for name, figures in found.items()]
        print(*told, sep="\n", flush=True)
        lines += told
    if chosen.write:
        said = [f"- {name}: {kind.words}; mf of at least {kind.aim} is wanted" for name, kind in KINDS.items()]
        write_section(
            "limit", "\n".join([machine(), "", *said, "", f"Medians of {chosen.seeds} nights each.", "", *lines])
        )


def judged_night(kind: str, seed: int, chosen: argparse.Namespace) -> dict[str, dict]:
    """Figures of one night for each program; {} stands for a stack that did not come about."""
    folder = chosen.work.resolve() / f"{kind}-{seed}"
    told: dict[str, dict] = {}
    for name in chosen.programs:
        kept = folder / f"{name}.json"
        if (name != "masterlight" or chosen.kept) and kept.exists():
            told[name] = json.loads(kept.read_text())
            continue
        truth = made(KINDS[kind], seed, folder / "night")
        told[name] = stacked_by(name, truth, folder, chosen.flags.split())
        kept.write_text(json.dumps(told[name]))
        print(f"{seed} {row(kind, name, [told[name]])}", file=sys.stderr, flush=True)
    return told


def stacked_by(name: str, truth: Truth, folder: Path, flags: list[str]) -> dict:
    """Let a program stack a night, and set its stack beside the oracle's on the same grid."""
    more = {"flags": flags} if name == "masterlight" else {}
    run = getattr(rivals, "seiza_twice" if name == "seiza" else name)(truth, folder / name, **more)
    if not run.result:
        print(run.note, file=sys.stderr)
        return {}
    with fits.open(run.result) as opened:
        stack = {"image": np.asarray(opened[0].data, float)}
        stack |= {hdu.name: np.asarray(hdu.data, float) for hdu in opened[1:] if hdu.name in MAPS}
    if name != "masterlight":
        shutil.rmtree(folder / name)
    image = stack["image"]
    reference, _ = grid_of(image if image.ndim == 2 else image[1], truth)
    return against(stack, truth, *kept_oracle(truth, folder, reference), reference)


def kept_oracle(truth: Truth, folder: Path, reference: int) -> tuple:
    """The oracle on the grid of a light and its own figures, made once."""
    path = folder / f"oracle-{reference}.pickle"
    if path.exists():
        return pickle.loads(path.read_bytes())
    oracle = oracle_of(truth, reference)
    best = [rest_of(image, truth, oracle, reference, k) for k, image in enumerate(oracle.image)]
    path.write_bytes(pickle.dumps((oracle, best)))
    return oracle, best


def heading() -> str:
    names = [name for name, _ in COLUMNS.values()]
    return "\n".join(["| night | by | " + " | ".join(names) + " |", "| --- | --- |" + " ---: |" * len(names)])


def row(kind: str, program: str, figures: list[dict]) -> str:
    """Medians over nights as a row of Markdown; what is not told is left empty."""
    cells = []
    for key, (_, form) in COLUMNS.items():
        values = [f[key] for f in figures if np.isfinite(f.get(key, np.nan))]
        cells.append(format(float(np.median(values)), form) if values else "")
    missing = sum(not f for f in figures)
    return f"| {kind} | {program}{f' (no stack {missing} x)' if missing else ''} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
