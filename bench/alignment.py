"""Matching on lists and frames whose truth is known, with astroalign and Siril beside: how many, how well, how fast.

python -m bench.alignment [--trials 25] [--pairs 1000] [--write]     --write puts the tables into docs/benchmarks.md
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.bench_warp import SHAPE, Stars
from bench.page import machine, write_section
from masterlight.alignment.align import StarAlignment
from masterlight.alignment.transform import apply, similarity_matrix
from masterlight.io import read
from masterlight.simulate import Night, Truth, simulate
from masterlight.subframes.select import SubframeSelector
from masterlight.subframes.stars.find import find_stars

ROWS, COLS = SHAPE
MIDDLE, RIGHT_PX = complex(COLS / 2, ROWS / 2), 2.0
"""About what frames turn, and how far off a transform is none."""
NODES = np.stack(np.meshgrid(np.linspace(0, COLS - 1, 61), np.linspace(0, ROWS - 1, 41)), axis=-1).reshape(-1, 2)


class Case(NamedTuple):
    """Two lists of one sky: how the second lies, and what each of them holds besides the brightest common stars."""

    overlap: float = 1.0
    scale: float = 1.0
    mirrored: bool = False
    junk: float = 0.05
    scatter_mag: float = 0.0
    per_frame: int = 1000


CASES = {
    "any rotation": Case(),
    "mirrored": Case(mirrored=True),
    "overlap 20 %": Case(overlap=0.2),
    "overlap 5 %": Case(overlap=0.05),
    "overlap 5 %, mirrored": Case(overlap=0.05, mirrored=True),
    "overlap 2 %": Case(overlap=0.02),
    "scale x2": Case(scale=2),
    "scale x5": Case(scale=5, per_frame=2000),
    "scale x1/5, mirrored": Case(scale=0.2, mirrored=True, per_frame=2000),
    "60 % spurious": Case(junk=0.6),
    "40 % spurious, scatter of 1.5 mag": Case(junk=0.4, scatter_mag=1.5),
    "20,000 stars, scatter of 0.5 mag": Case(scatter_mag=0.5, per_frame=20000),
    "15 stars": Case(per_frame=15),
}

NIGHTS = {
    "dithered, with a flip": Night(lights=12, hot_fraction=0.0),
    "500 hot pixels, no darks": Night(lights=12, hot_fraction=0.0014),
    "25 stars": Night(lights=12, hot_fraction=0.0, stars=25, nebula_dn=0),
    "25 stars, 500 hot pixels": Night(lights=12, hot_fraction=0.0014, stars=25, nebula_dn=0),
    "turned by some 15 degrees": Night(lights=12, hot_fraction=0.0, rotation_deg=15.0),
    "shifted by up to half a frame": Night(lights=12, hot_fraction=0.0, dither_px=200.0),
}
SIZE = {"rows": 500, "cols": 700, "biases": 0, "darks": 0, "flats": 0}


def pose(angle: float, scale: float, shift: complex, mirrored: bool) -> np.ndarray:
    """A turn by an angle (rad) about the middle of the frame, then a shift."""
    a = scale * np.exp(1j * angle)
    return similarity_matrix(a, MIDDLE + shift - a * (MIDDLE.conjugate() if mirrored else MIDDLE), mirrored)


def overlap(matrix: np.ndarray) -> float:
    """The share of the first frame that lies on the second."""
    return float(on_frame(apply(matrix, NODES)).mean())


def on_frame(at: np.ndarray) -> np.ndarray:
    return ((at >= 0) & (at <= (COLS - 1, ROWS - 1))).all(axis=1)


def pose_of(case: Case, rng: np.random.Generator) -> np.ndarray:
    """Turned anyhow, and shifted in any direction until no more than the overlap is left."""
    angle, away = rng.uniform(0, 2 * np.pi), np.exp(1j * rng.uniform(0, 2 * np.pi))
    far = [0.0, 2.0 * COLS] if case.overlap < 1 else [0.0, 0.0]
    for _ in range(30):
        middle = sum(far) / 2
        far[overlap(pose(angle, case.scale, middle * away, case.mirrored)) <= case.overlap] = middle
    return pose(angle, case.scale, far[0] * away, case.mirrored)


def star_list(xy: np.ndarray, flux: np.ndarray, noise_px: float = 0.15) -> Stars:
    order = np.argsort(-flux)
    flux = flux[order]
    return Stars(xy[order], flux, np.full(len(flux), noise_px), flux > 1e9, np.sqrt(flux))


def seen(
    rng: np.random.Generator, xy: np.ndarray, flux: np.ndarray, matrix: np.ndarray, case: Case, count=800
) -> Stars:
    """The list of a frame: the brightest of what falls on it, one in twenty lost, with detections of nothing."""
    at, flux = apply(matrix, xy), flux * 10 ** (0.4 * rng.normal(0, case.scatter_mag, len(flux)))
    on = on_frame(at) & (rng.random(len(at)) > 0.05)
    at, flux = at[on] + rng.normal(0, 0.15, (int(on.sum()), 2)), flux[on]
    best = np.argsort(-flux)[: int(count * (1 - case.junk))]
    extra = int(len(best) * case.junk / (1 - case.junk))
    nothing = rng.uniform((0, 0), (COLS - 1, ROWS - 1), (extra, 2))
    return star_list(np.vstack([at[best], nothing]), np.append(flux[best], rng.choice(flux[best], extra)))


def lists_of(case: Case, seed: int, count: int = 800) -> tuple[Stars, Stars, np.ndarray]:
    """Two lists of one sky, and the matrix between them."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform((-1.5 * COLS, -2.25 * ROWS), (2.5 * COLS, 3.25 * ROWS), (22 * case.per_frame, 2))
    flux, matrix = 1e3 * rng.pareto(1.2, len(xy)) + 100, pose_of(case, rng)
    return seen(rng, xy, flux, np.eye(3), case, count), seen(rng, xy, flux, matrix, case, count), matrix


def few_common(seed: int, others: int) -> tuple[Stars, Stars, np.ndarray]:
    """Eight stars that two frames share, among others that they do not."""
    rng, matrix = np.random.default_rng(seed), None
    matrix = pose(rng.uniform(0, 2 * np.pi), 1.0, complex(*rng.uniform(-20, 20, 2)), False)
    common = rng.uniform((1200, 100), (COLS - 1200, ROWS - 100), (8, 2))
    flux, lists = 1e4 * rng.pareto(1.5, 8 + others) + 100, []
    for m in (np.eye(3), matrix):
        at = apply(m, common) + rng.normal(0, 0.15, common.shape)
        other = rng.uniform((0, 0), (COLS - 1, ROWS - 1), (others, 2))
        lists.append(star_list(np.vstack([at, other]), flux * 10 ** (0.4 * rng.normal(0, 0.2, len(flux)))))
    return lists[0], lists[1], matrix


def is_right(found: np.ndarray | None, truth: np.ndarray) -> bool:
    """Whether a matrix leads where it should, in the middle of what the frames share."""
    if found is None:
        return False
    at = apply(truth, NODES)
    return float(np.median(np.hypot(*(apply(found, NODES) - at)[on_frame(at)].T))) < RIGHT_PX


def by_us(first: Stars, second: Stars) -> np.ndarray | None:
    process = StarAlignment()
    found = process.align(process.prepare(first), second, "light")
    return found.matrix if found else None


def by_astroalign(first: Stars, second: Stars) -> np.ndarray | None:
    """As it is used: on the brightest 50."""
    import astroalign

    try:
        return astroalign.find_transform(first.xy[:50], second.xy[:50])[0].params
    except Exception:  # it fails in many ways
        return None


def thirds(trials: int) -> int:
    """How many of the pairs astroalign gets, which takes its time."""
    return -(-trials // 3)


def list_rows(trials: int) -> Iterator[str]:
    """How many of some pairs of lists are matched rightly, by case."""
    makers: dict[str, Callable] = {name: lambda seed, c=case: lists_of(c, seed) for name, case in CASES.items()}
    makers |= {f"8 common of {8 + n}": lambda seed, n=n: few_common(seed, n) for n in (0, 4, 12, 80)}
    for name, make in makers.items():
        pairs = [make(seed) for seed in range(trials)]
        few = pairs[: thirds(trials)]
        ours, theirs = (
            [is_right(way(a, b), m) for a, b, m in some] for way, some in ((by_us, pairs), (by_astroalign, few))
        )
        yield f"| {name} | {np.mean(ours):.2f} | {np.mean(theirs):.2f} |"


def accidents(pairs: int) -> dict[str, tuple[int, int]]:
    """Matches that are believed among unrelated lists, sparse and dense, and how many there were of each kind."""
    out = {}
    for name, low, high, share in (
        ("6 to 30 stars", 6, 30, 0.45),
        ("30 to 200", 30, 200, 0.35),
        ("800", 800, 800, 0.2),
    ):
        count = round(share * pairs)
        rngs = (np.random.default_rng(seed) for seed in range(count))
        wrong = sum(by_us(unrelated(rng, low, high), unrelated(rng, low, high)) is not None for rng in rngs)
        out[name] = wrong, count
    return out


def unrelated(rng: np.random.Generator, low: int, high: int) -> Stars:
    count = int(rng.integers(low, high + 1))
    return star_list(rng.uniform((0, 0), (COLS - 1, ROWS - 1), (count, 2)), rng.pareto(1.2, count) + 1)


def speed_rows() -> Iterator[str]:
    """Milliseconds of CPU to match 1,000 stars with 1,000, the best of five; the reference was made ready before."""
    process = StarAlignment(max_stars=1000)
    for name in ("any rotation", "mirrored", "overlap 5 %", "60 % spurious"):
        times = []
        for seed in range(7):
            first, second, _ = lists_of(CASES[name]._replace(per_frame=1600), seed, 1000)
            reference, best = process.prepare(first), np.inf
            for _ in range(5):
                start = time.process_time()
                process.align(reference, second, "light")
                best = min(best, time.process_time() - start)
            times.append(1e3 * best)
        yield f"| {name} | {np.median(times):.1f} | {max(times):.1f} |"


# --- frames -----------------------------------------------------------------------------------------------------------


def frame_rows(work: Path) -> Iterator[str]:
    """The same raw lights for all: how many are registered rightly, wrongly, and how far off the corners are."""
    for number, (name, night) in enumerate(NIGHTS.items()):
        folder = work / f"night{number}"
        *_, done = simulate(Night(**{**vars(night), **SIZE}), folder)
        truth = done.result
        first = np.linalg.inv(truth.pointings[0].matrix)
        right = [pointing.matrix @ first for pointing in truth.pointings]
        images = [np.asarray(read(path)[...], np.float32) for path in truth.paths("light")]
        ways = (
            frames_by_us(images),
            frames_by_astroalign(images),
            frames_by_siril(truth, work / f"siril{number}", right),
        )
        yield f"| {name} | " + " | ".join(judged(found, right) for found in ways) + " |"


def frames_by_us(images: list[np.ndarray]) -> list[np.ndarray | None]:
    selector, process = SubframeSelector(), StarAlignment()
    lists = [find_stars(selector, image, 65535.0)[0] for image in images]
    reference = process.prepare(lists[0])
    found = [process.align(reference, stars, "light") for stars in lists[1:]]
    return [one.matrix if one else None for one in found]


def frames_by_astroalign(images: list[np.ndarray]) -> list[np.ndarray | None]:
    import astroalign

    found = []
    for image in images[1:]:
        try:
            found.append(astroalign.find_transform(images[0], image)[0].params)
        except Exception:  # it fails in many ways
            found.append(None)
    return found


def frames_by_siril(truth: Truth, work: Path, right: list[np.ndarray]) -> list[np.ndarray | None] | None:
    """Siril's global registration on the first light, by the matrices of its log; None where it is not installed.

    It counts rows from below; of the ways to place that on pixels the one is taken that suits it best.
    """
    program = shutil.which("siril-cli")
    if not program:
        return None
    for name in ("light", "process"):
        (work / name).mkdir(parents=True)
    for i, path in enumerate(truth.paths("light"), 1):
        (work / "light" / f"light_{i:05d}.fits").symlink_to(path.resolve())
    lines = "requires 1.0.0", "setcpu 1", "cd light", "convert light -out=../process", "cd ../process"
    (work / "script.ssf").write_text("\n".join((*lines, "setref light_ 1", "register light_", "close", "")))
    done = subprocess.run([program, "-d", work, "-s", work / "script.ssf"], capture_output=True, text=True, check=False)
    there = matrices_of(done.stdout + done.stderr)
    best = None
    for offset in (0.0, 1.0, -1.0):
        turn = np.array([[1, 0, 0], [0, -1, truth.night.rows - 1 + offset], [0, 0, 1.0]])
        found = [turn @ np.linalg.inv(there[i]) @ turn if i in there else None for i in range(2, len(right) + 1)]
        best = found if best is None or median_error(found, right) < median_error(best, right) else best
    return best


def matrices_of(log: str) -> dict[int, np.ndarray]:
    """Siril's matrices by the number of the frame, from 1."""
    number = r"\s+([-+][\d.]+)" * 3
    found = re.findall(rf"Transformation Matrix:\s*\n((?:{number}\s*\n){{3}}).*?image (\d+): done", log)
    return {int(one[-1]): np.array(one[0].split(), float).reshape(3, 3) for one in found}


def corner_errors(found: list[np.ndarray | None], right: list[np.ndarray]) -> np.ndarray:
    """How far the corners of each registered frame are off, (frames, 4) px."""
    corners = np.array([(x, y) for x in (0, SIZE["cols"] - 1) for y in (0, SIZE["rows"] - 1)], float)
    both = [(one, truth) for one, truth in zip(found, right[1:], strict=True) if one is not None]
    errors = [np.hypot(*(apply(one, corners) - apply(truth, corners)).T) for one, truth in both]
    return np.array(errors).reshape(-1, 4)


def median_error(found: list[np.ndarray | None], right: list[np.ndarray]) -> float:
    errors = corner_errors(found, right)
    return float(np.median(errors)) if len(errors) else np.inf


def judged(found: list[np.ndarray | None] | None, right: list[np.ndarray]) -> str:
    """Two cells: how many of how many are registered, less those that are wrong; and the median error of corners."""
    if found is None:
        return "not installed | "
    errors = corner_errors(found, right)
    good = errors[np.median(errors, axis=1) < RIGHT_PX] if len(errors) else errors
    wrong = f", {len(errors) - len(good)} wrong" if len(errors) > len(good) else ""
    return f"{len(good)} of {len(found)}{wrong} | " + (f"{np.median(good):.3f}" if len(good) else "")


def sections(trials: int, pairs: int) -> Iterator[str]:
    """The lines of the page."""
    yield from (machine(), "")
    yield f"Lists of 800 stars on 24 Mpx, positions within 0.15 px, one in twenty lost; share of {trials} pairs"
    yield f"matched rightly, by astroalign of {thirds(trials)} of them."
    yield from ("", "| case | masterlight | astroalign |", "| --- | ---: | ---: |")
    yield from list_rows(trials)
    yield ""
    told = accidents(pairs)
    words = ", ".join(f"{wrong} of {count} with {name}" for name, (wrong, count) in told.items())
    yield f"Unrelated lists that were matched all the same: {words}."
    yield from ("", "| 1,000 x 1,000 stars | median CPU ms | slowest |", "| --- | ---: | ---: |")
    yield from speed_rows()
    yield ""
    yield "Frames of 0.35 Mpx, raw, all laid on the first one: registered, and the median error of the corners."
    yield from ("", "| night | masterlight | px | astroalign | px | Siril | px |", "| --- " + "| ---: " * 6 + "|")
    with tempfile.TemporaryDirectory() as work:
        yield from frame_rows(Path(work))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--trials", type=int, default=25, help="pairs of lists of each case")
    words.add_argument("--pairs", type=int, default=1000, help="unrelated pairs of lists")
    words.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    chosen = words.parse_args()
    lines = []
    for line in sections(chosen.trials, chosen.pairs):
        print(line, flush=True)
        lines.append(line)
    if chosen.write:
        write_section("alignment", "\n".join(lines))


if __name__ == "__main__":
    main()
