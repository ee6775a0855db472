"""Fifty registered frames into one: masterlight, Siril and ccdproc on the same files, and what reading them costs.

python -m bench.integrate --work /tmp/integrate [--write]     --write puts the tables into docs/benchmarks.md
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from bench import rivals
from bench.page import machine, write_section
from masterlight import read
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.rejection import Rejection
from masterlight.integration.tile import integrate_tile
from masterlight.subframes.measure import measure

SETTINGS = ImageIntegration(rejection=Rejection(algorithm="winsorized", low=4.0, high=3.0, range_low=0.0))
FLAGS = (
    "--normalization", "additive+scaling", "--rejection.algorithm", "winsorized", "--rejection.low", "4",
    "--rejection.high", "3", "--rejection.range-low", "0", "--no-rejection.large-scale.trails",
)  # fmt: skip
"""The same work for each: Siril and ccdproc look for no trails."""
TRAILS = (*FLAGS[:-1], "--rejection.large-scale.trails")
BUDGETS_MB = (1000, 2000, 4000)
BUFFER = bytearray(4 << 20)
SIRIL = """requires 1.0.0
setext fits
set32bits
setcpu {cpus}
link light -out=process
cd process
{stack}
close
"""
SIRIL_STACK = "stack light rej w 4 3 -norm=addscale -out=../result"
CCDPROC = """
import sys
import ccdproc
import numpy as np

out, files = sys.argv[1], sys.argv[2:]
if files:
    ccdproc.combine(
        files, output_file=out, method="average", unit="adu", mem_limit=2e9, dtype="float32",
        sigma_clip=True, sigma_clip_low_thresh=4, sigma_clip_high_thresh=3,
        sigma_clip_func=np.ma.median, sigma_clip_dev_func=np.ma.std,
    )
    print(len(files), "images have been stacked")
"""
HEADER = {"IMAGETYP": "Light Frame", "EXPTIME": 300.0, "FILTER": "L", "INSTRUME": "Bench", "GAIN": 100}


@dataclass(frozen=True)
class Set:
    """Registered frames of one field, as the bench makes them."""

    count: int
    rows: int
    cols: int
    integers: bool = False
    """16-bit whole numbers without missing borders, instead of float32 with them."""

    def __str__(self):
        size = self.rows * self.cols / 1e6
        return f"{self.count:,} frames of {size:.3g} Mpx ({self.rows} x {self.cols}, {self.kind})"

    @property
    def kind(self) -> str:
        return "uint16" if self.integers else "float32"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument(
        "--work", type=Path, required=True, help="folder for the frames, which are kept for the next run"
    )
    words.add_argument("--count", type=int, default=50)
    words.add_argument("--size", type=int, default=4096, help="rows and columns of a frame")
    parts = ["floor", "masterlight", "siril", "ccdproc", "many"]
    words.add_argument("--parts", nargs="+", default=parts, choices=parts)
    words.add_argument(
        "--ccdproc-rows", type=int, default=512, help="rows of the crop that ccdproc combines; 0 for all"
    )
    words.add_argument("--cpus", type=int, default=2, help="threads for Siril")
    words.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    chosen = words.parse_args()
    frames = Set(chosen.count, chosen.size, chosen.size)
    text = "\n".join([machine(), *few(chosen, frames), *many(chosen)])
    print(text)
    if chosen.write:
        write_section("integrate", text)


def few(chosen: argparse.Namespace, frames: Set) -> list[str]:
    """The table of one set of large frames: everybody's figures, and how ours compare."""
    files = made(frames, chosen.work)
    runs = []
    if "floor" in chosen.parts:
        runs += tell(floor(files))
    if "masterlight" in chosen.parts:
        masterlight(files[:3], chosen.work / "warm", 500)
        for budget_mb in BUDGETS_MB:
            runs += tell(masterlight(warmed(files), chosen.work / f"ours-{budget_mb}", budget_mb))
        run = masterlight(warmed(files), chosen.work / "ours-trails", BUDGETS_MB[1], flags=TRAILS)
        runs += tell(replace(run, name=f"{run.name}, trails found and rejected"))
    if "siril" in chosen.parts:
        runs += tell(siril(warmed(files), chosen.work / "siril", chosen.cpus))
    if "ccdproc" in chosen.parts:
        runs += tell(ccdproc(files, frames, chosen.work, chosen.ccdproc_rows))
    return ["", f"{frames}, from page cache.", "", *table(runs)] if runs else []


def many(chosen: argparse.Namespace) -> list[str]:
    """The table of sets of a thousand and more frames, with 256 open files allowed and 1000 MB."""
    if "many" not in chosen.parts:
        return []
    runs = []
    for frames in (Set(1000, 512, 512, True), Set(10_000, 256, 256, True)):
        files = made(frames, chosen.work)
        work = chosen.work / f"ours-n{frames.count}"
        run = masterlight(warmed(files), work, 1000, open_files=256)
        runs += tell(replace(run, name=f"masterlight, {frames}"))
    return ["", "No more than 256 open files allowed, from page cache.", "", *table(runs)]


def made(frames: Set, work: Path) -> list[Path]:
    """The files of a set, written once: a folder that tells the same set is used again."""
    folder = work / f"frames-{frames.count}-{frames.rows}x{frames.cols}-{frames.kind}"
    told = folder / "set.json"
    if not told.exists() or json.loads(told.read_text()) != asdict(frames):
        print(f"writing {frames} ...", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rng = np.random.default_rng(frames.count)
        sky = stars(frames, rng)
        sigma = np.sqrt(64 + sky / 2, dtype=np.float32)
        for i in range(frames.count):
            write_light(folder / f"light_{i + 1:05d}.fits", light(i, frames, sky, sigma, rng))
        told.write_text(json.dumps(asdict(frames)))
    return sorted(folder.glob("light_*.fits"))


def stars(frames: Set, rng: np.random.Generator) -> np.ndarray:
    """The sky above its background, DN: a star on every 4000 pixels, of FWHM 3.5 px, and a broad glow."""
    rows, cols = frames.rows, frames.cols
    y, x = np.mgrid[-12:13, -12:13]
    sky = np.zeros((rows + 24, cols + 24), np.float32)
    for _ in range(rows * cols // 4000):
        row, col = rng.integers(0, rows), rng.integers(0, cols)
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        peak = 60 * rng.pareto(1.2) + 20
        sky[row : row + 25, col : col + 25] += min(peak, 40000) * np.exp(
            -((y - dy) ** 2 + (x - dx) ** 2) / (2 * 1.5**2)
        )
    glow = np.hypot(np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, cols)[None])
    return sky[12:-12, 12:-12] + (100 * np.exp(-4 * glow**2)).astype(np.float32)


def light(i: int, frames: Set, sky: np.ndarray, sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One registered light: transparency and background of its own, noise, cosmic rays, now and then a satellite.

    Float frames are 0 where registration has left a border and reach to 1, since Siril fails on NaN and cuts off at 1.
    """
    rows, cols = sky.shape
    image = rng.standard_normal(sky.shape, np.float32)
    image *= sigma
    image += np.float32(0.85 + 0.15 * np.cos(i)) * sky
    image += np.float32(1000 + 40 * np.sin(0.7 * i) + 10 * (i % 7))
    for _ in range(max(1, rows * cols // 40_000)):
        y, x, length = rng.integers(0, rows), rng.integers(0, cols), rng.integers(1, 6)
        image[y, x : x + length] += rng.uniform(200, 5000)
    if i % 5 == 0:
        x = np.arange(cols)
        y = (rng.uniform(0.1, 0.9) * rows + rng.uniform(-0.5, 0.5) * (x - cols / 2)).astype(int)
        for width in range(3):
            inside = (y + width >= 0) & (y + width < rows)
            image[y[inside] + width, x[inside]] += 300
    if frames.integers:
        return np.clip(np.rint(image), 0, 65535).astype(np.uint16)
    if i % 3:
        shift = int(rng.integers(2, 20))
        image[:shift] = image[:, -shift:] = 0
    return np.clip(image / np.float32(65535), 0, 1)


def write_light(path: Path, image: np.ndarray) -> None:
    fits.PrimaryHDU(image, fits.Header(HEADER)).writeto(path, overwrite=True)


def warmed(files: list[Path]) -> list[Path]:
    """The files, in the page cache."""
    for path in files:
        read_bytes(path)
    return files


def read_bytes(path: Path) -> None:
    """Read a file in pieces of 4 MB, which nobody keeps."""
    with open(path, "rb", buffering=0) as file:
        while file.readinto(BUFFER):
            pass


def timed(name: str, task, note: str = "", scale: float = 1.0) -> rivals.Run:
    """CPU and wall time of a task in this process, by `scale`."""
    cpu, wall = time.process_time(), time.perf_counter()
    task()
    return rivals.Run(name, scale * (time.process_time() - cpu), scale * (time.perf_counter() - wall), note=note)


def floor(files: list[Path]) -> list[rivals.Run]:
    """What nobody can do without, on one thread: reading, decoding, measuring, and the kernels by themselves."""
    warmed(files)
    frames = [read(path) for path in files]
    rows, cols = frames[0].shape
    band = np.empty((min(rows, 256), cols), np.float32)

    def decode():
        for frame in frames:
            for y in range(0, rows, len(band)):
                frame.pixels_into(band[: min(len(band), rows - y)], y, 0)

    decode()
    runs = [
        timed("read as bytes", lambda: warmed(files)),
        timed("read as float32", decode, "in bands of 256 rows, by masterlight.read"),
        timed("measure", lambda: [measure(frame) for frame in frames], "level, scale and noise of each frame"),
    ]
    return [*runs, kernels(frames)]


def kernels(frames, tiles: int = 16, high: int = 64, wide: int = 1024) -> rivals.Run:
    """Rejection and combination of as many samples as there are, from some tiles whose samples are there already."""
    rows, cols = frames[0].shape
    high, wide = min(high, rows), min(wide, cols)
    terms = SETTINGS.terms([measure(frame)[0] for frame in frames])
    rng = np.random.default_rng(0)
    corners = [(int(rng.integers(0, rows - high + 1)), int(rng.integers(0, cols - wide + 1))) for _ in range(tiles)]
    samples = np.empty((tiles, len(frames), high, wide), np.float32)
    for (y, x), box in zip(corners, samples, strict=True):
        for i, frame in enumerate(frames):
            frame.pixels_into(box[i], y, x)

    def integrate():
        for box in samples:
            integrate_tile(SETTINGS, box, terms)

    integrate()
    run = timed("reject and combine", integrate, scale=rows * cols / (tiles * high * wide))
    return replace(run, note=f"{run.cpu_s / (rows * cols * len(frames)) * 1e9:.2f} ns/sample; {tiles} tiles, scaled up")


def masterlight(
    files: list[Path], work: Path, memory_mb: int, open_files: int | None = None, flags: tuple[str, ...] = FLAGS
) -> rivals.Run:
    """The command as a user types it, with a budget of memory and, if wanted, of open files."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    program = str(Path(sys.executable).parent / "masterlight")
    command = [program, "integrate", *map(str, files), "-o", "result.fits", "--memory-mb", str(memory_mb), *flags]
    if open_files:
        command = ["bash", "-c", f'ulimit -n {open_files}; exec "$0" "$@"', *command]
    run = rivals.measured(f"masterlight, {memory_mb} MB", command, work, "result.fits")
    return replace(run, note=run.note or budget_told(run.peak_mb, memory_mb))


def budget_told(peak_mb: float, memory_mb: int) -> str:
    return f"peak is {100 * peak_mb / memory_mb:.0f} % of the {memory_mb} MB asked for"


def siril(files: list[Path], work: Path, cpus: int) -> rivals.Run:
    """Siril's stack command: a run of its script less a run that only makes the sequence, which links the files."""
    program = shutil.which("siril-cli")
    if not program:
        return rivals.Run("siril", note="not installed")
    runs = []
    for stack in ("", SIRIL_STACK):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for path in files:
            (work / path.name).symlink_to(path.resolve())
        script = work / "stack.ssf"
        script.write_text(SIRIL.format(cpus=cpus, stack=stack))
        runs.append(rivals.measured("siril", [program, "-s", str(script), "-d", str(work)], work, "result.fits"))
    loaded, run = runs
    for path in (work / "process").glob("*"):
        path.unlink()
    return replace(
        run,
        cpu_s=run.cpu_s - loaded.cpu_s,
        wall_s=run.wall_s - loaded.wall_s,
        note=run.note or "its stack command alone",
    )


def ccdproc(files: list[Path], frames: Set, work: Path, rows: int) -> rivals.Run:
    """ccdproc.combine, on a crop of whole rows from the middle when `rows` is given, scaled up by the pixels."""
    work, folder = work / "ccdproc", work / f"crop-{rows}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    rows = min(rows or frames.rows, frames.rows)
    if rows < frames.rows:
        files = cropped(files, folder, (frames.rows - rows) // 2, rows)
    command = [sys.executable, "-c", CCDPROC, "result.fits"]
    started = rivals.measured("ccdproc", command, work, "result.fits")
    run = rivals.measured("ccdproc", [*command, *map(str, warmed(files))], work, "result.fits")
    scale = frames.rows / rows
    note = run.note or ("" if scale == 1 else f"measured on {rows} rows, times {scale:g}; memory as it was")
    cpu_s, wall_s = scale * (run.cpu_s - started.cpu_s), scale * (run.wall_s - started.wall_s)
    shutil.rmtree(folder, ignore_errors=True)
    return replace(run, cpu_s=cpu_s, wall_s=wall_s, note=note)


def cropped(files: list[Path], folder: Path, start: int, rows: int) -> list[Path]:
    """Some rows of each file, as files."""
    folder.mkdir(exist_ok=True)
    for path in files:
        with fits.open(path) as opened:
            write_light(folder / path.name, opened[0].data[start : start + rows])
    return sorted(folder.glob("*.fits"))


def tell(runs) -> list[rivals.Run]:
    """Runs, told on the way."""
    runs = [runs] if isinstance(runs, rivals.Run) else runs
    for run in runs:
        print(row(run), file=sys.stderr, flush=True)
    return runs


def table(runs: list[rivals.Run]) -> list[str]:
    """The figures as Markdown, with the ratios that they are measured for below them."""
    head = ["| what | CPU s | wall s | peak MB | note |", "| --- | ---: | ---: | ---: | --- |"]
    named = {run.name: run for run in runs if run.cpu_s}
    ours = named.get("masterlight, 2000 MB")
    told = []
    if ours and {"read as float32", "reject and combine"} <= named.keys():
        least = named["read as float32"].cpu_s + named["reject and combine"].cpu_s
        told.append(
            f"masterlight takes {ours.cpu_s / least:.2f} times the CPU time of reading the files and the kernels."
        )
    told += [
        f"{name} takes {named[name].cpu_s / ours.cpu_s:.1f} times the CPU time of masterlight."
        for name in ("siril", "ccdproc")
        if ours and name in named
    ]
    return [*head, *map(row, runs), *(["", " ".join(told)] if told else [])]


def row(run: rivals.Run) -> str:
    peak = f"{run.peak_mb:.0f}" if run.peak_mb else ""
    figures = (f"{run.cpu_s:.1f}", f"{run.wall_s:.1f}", peak) if run.cpu_s else ("", "", "")
    return "| " + " | ".join([run.name, *figures, run.note]) + " |"


if __name__ == "__main__":
    main()
