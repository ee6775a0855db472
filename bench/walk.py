"""One walk, several walkers: calibrate, register and stack the same simulated night, and what each needs for it.

python -m bench.walk --work /tmp/walk [--write]     --write puts the table into docs/benchmarks.md
"""

import argparse
import sys
from pathlib import Path

from bench import rivals
from bench.judge import judged
from bench.page import machine, write_section
from masterlight.simulate import Night, Truth, simulate


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--lights", type=int, default=20)
    words.add_argument("--calibration", type=int, default=10, help="biases, darks and flats, of each")
    words.add_argument("--rows", type=int, default=4000)
    words.add_argument("--cols", type=int, default=6000)
    words.add_argument("--work", type=Path, required=True, help="folder for the night and for what each makes of it")
    words.add_argument(
        "--rivals", nargs="+", default=["siril", "seiza", "masterlight"], choices=["siril", "seiza", "masterlight"]
    )
    words.add_argument("--memory-mb", type=int, default=2000, help="for masterlight")
    words.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    words.add_argument("--keep", action="store_true", help="keep the intermediate files of each")
    chosen = words.parse_args()
    truth = the_night(chosen)
    runs, verdicts = [], {}
    for name in chosen.rivals:
        options = {"memory_mb": chosen.memory_mb} if name == "masterlight" else {}
        print(f"{name} ...", file=sys.stderr, flush=True)
        warm(truth, chosen.work)
        run = getattr(rivals, name)(truth, chosen.work / name, **options)
        runs.append(run)
        if run.result:
            verdicts[name] = judged(run.result, truth)
        if not chosen.keep:
            tidy(chosen.work / name)
        print(row(run, verdicts.get(name)), file=sys.stderr, flush=True)
    text = "\n".join([machine(), "", heading(chosen), "", *table(runs, verdicts)])
    print(text)
    if chosen.write:
        write_section("walk", text)


def the_night(chosen: argparse.Namespace) -> Truth:
    """The night, made once: a folder whose truth tells the same night is used again."""
    n = chosen.calibration
    night = Night(rows=chosen.rows, cols=chosen.cols, lights=chosen.lights, biases=n, darks=n, flats=n)
    folder = chosen.work / "night"
    if (folder / "truth.json").exists() and Truth.load(folder).night == night:
        return Truth.load(folder)
    print("simulating the night ...", file=sys.stderr, flush=True)
    *_, done = simulate(night, folder)
    return done.result


def warm(truth: Truth, work: Path) -> None:
    """The same start for each: every frame in the page cache, and our kernels compiled, as after any first run."""
    for kind in ("bias", "dark", "flat", "light"):
        for path in truth.paths(kind):
            path.read_bytes()
    folder = work / "small"
    if not folder.exists():
        list(simulate(Night(rows=400, cols=500, lights=4, biases=3, darks=3, flats=3), folder / "night"))
        rivals.masterlight(Truth.load(folder / "night"), folder / "out")


def tidy(work: Path) -> None:
    """Throw away all but results, masters and logs."""
    for path in (work / "process").glob("*"):
        path.unlink()


COLUMNS = ("CPU s", "wall s", "peak MB", "written MB", "stacked", "noise DN", "FWHM px", "flux scatter %")
RATIOS = {"CPU": "cpu_s", "memory": "peak_mb", "written": "written_mb"}


def table(runs: list[rivals.Run], verdicts: dict[str, dict]) -> list[str]:
    """The figures as Markdown, with ratios to masterlight where it ran."""
    ours = next((run for run in runs if run.name == "masterlight" and run.cpu_s), None)
    names = [*COLUMNS, *(f"{name} ratio" for name in RATIOS)] if ours else COLUMNS
    head = ["| walker | " + " | ".join(names) + " | note |", "| --- |" + " ---: |" * len(names) + " --- |"]
    return head + [row(run, verdicts.get(run.name), ours) for run in runs]


def row(run: rivals.Run, verdict: dict | None = None, ours: rivals.Run | None = None) -> str:
    """One walker's figures."""
    cells = ["" for _ in COLUMNS]
    if run.cpu_s:
        cells[:4] = f"{run.cpu_s:.1f}", f"{run.wall_s:.1f}", f"{run.peak_mb:.0f}", f"{run.written_mb:.0f}"
    if run.stacked is not None:
        cells[4] = str(run.stacked)
    if verdict:
        cells[5:] = (
            f"{verdict['noise_dn']:.2f}",
            f"{verdict['fwhm_px']:.2f}",
            f"{100 * verdict['scatter_fraction']:.2f}",
        )
    if ours:
        cells += [f"{getattr(run, field) / getattr(ours, field):.2f}" if run.cpu_s else "" for field in RATIOS.values()]
    return "| " + " | ".join([run.name, *cells, run.note]) + " |"


def heading(chosen: argparse.Namespace) -> str:
    n, size = chosen.calibration, chosen.rows * chosen.cols / 1e6
    lights = f"{chosen.lights} lights of {size:.1f} Mpx ({chosen.rows} x {chosen.cols})"
    return f"{lights}, {n} each of bias, dark and flat, 16-bit FITS."


if __name__ == "__main__":
    main()
