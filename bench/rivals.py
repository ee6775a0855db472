"""Other stackers on the same night, each in a process of its own, measured alike."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from masterlight.simulate import Truth

SIRIL = """requires 1.0.0
set32bits
setcompress 0
setcpu {cpus}
cd bias
convert bias -out=../process
cd ../dark
convert dark -out=../process
cd ../flat
convert flat -out=../process
cd ../light
convert light -out=../process
cd ../process
stack bias rej w 3 3 -nonorm
stack dark rej w 3 3 -nonorm
preprocess flat -bias=bias_stacked
stack pp_flat rej w 3 3 -norm=mul
preprocess light -dark=dark_stacked -flat=pp_flat_stacked -cc=dark{colour}
register pp_light
stack r_pp_light rej w 4 3 -norm=addscale -weighted -out=../result
close
"""

SEIZA = """
import json, pathlib, sys
import seiza

work, options = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
paths = {kind: sorted(map(str, (work / kind).iterdir())) for kind in ("bias", "dark", "flat", "light")}
masters = {kind: str(work / f"master-{kind}.fits") for kind in ("bias", "dark", "flat")}
seiza.build_bias(paths["bias"], masters["bias"])
seiza.build_dark(paths["dark"], masters["dark"])
seiza.build_flat(paths["flat"], masters["flat"], bias=masters["bias"])
stack = seiza.stack_fits(
    paths["light"],
    str(work / "result.fits"),
    options=seiza.StackOptions(**options),
    dark=masters["dark"],
    flat=masters["flat"],
)
print(stack.accepted_frames, "lights stacked,", stack.rejected_frames, "rejected")
for frame in stack.frames:
    if not frame.accepted:
        print(frame.source, frame.reason)
"""

SEIZA_TWICE = """
import pathlib, sys
import seiza

work = pathlib.Path(sys.argv[1])
paths = {kind: sorted(map(str, (work / kind).iterdir())) for kind in ("bias", "dark", "flat", "light")}
masters = {kind: str(work / f"master-{kind}.fits") for kind in ("bias", "dark", "flat")}
seiza.build_bias(paths["bias"], masters["bias"])
seiza.build_dark(paths["dark"], masters["dark"])
seiza.build_flat(paths["flat"], masters["flat"], bias=masters["bias"])
lights = list(paths["light"])
try:
    lights.insert(0, lights.pop(lights.index(str(seiza.choose_reference(lights).path))))
except (AttributeError, ValueError):
    pass
options = seiza.StackOptions(
    normalization="local-background",
    local_tile_size=int(sys.argv[2]),
    weighting="inverse-noise-variance",
    registration_model="quadratic",
    maximum_rotation_degrees=180.0,
)
stack = seiza.LiveStacker(lights[0], options=options, dark=masters["dark"], flat=masters["flat"])
for path in lights[1:]:
    stack.push_fits(path)
snapshot = stack.reintegrate()
snapshot.write_fits(str(work / "result.fits"))
print(snapshot.accepted_frames, "lights stacked,", snapshot.rejected_frames, "rejected")
"""

SEIZA_OPTIONS = {"sigma_low": 4.0, "sigma_high": 3.0, "maximum_rotation_degrees": 180.0}
"""The rejection of the others, and a field that may be turned by a meridian flip."""


@dataclass(frozen=True)
class Run:
    """What one competitor used, and what it said."""

    name: str
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float = 0.0
    written_mb: float = 0.0
    """Bytes it asked to have written, masters, intermediates and result."""
    kept_mb: float = 0.0
    """Size of what lies in its folder at the end."""
    result: str | None = None
    stacked: int | None = None
    """Lights in the stack, as its log tells."""
    note: str = ""


def siril(truth: Truth, work: Path, cpus: int = 2) -> Run:
    """Siril's command line: masters, calibration, cosmetic correction, registration, winsorised stack; 32-bit float."""
    program = shutil.which("siril-cli")
    if not program:
        return Run("siril", note="not installed")
    fresh(truth, work)
    script = work / "walk.ssf"
    colour = " -cfa -equalize_cfa -debayer" if truth.night.pattern else ""
    script.write_text(SIRIL.format(cpus=cpus, colour=colour))
    return measured("siril", [program, "-s", str(script), "-d", str(work)], work, "result.fit*")


def seiza(truth: Truth, work: Path) -> Run:
    """seiza: its masters, then its one-pass stack."""
    return by_seiza(truth, work, [SEIZA, str(work), json.dumps(SEIZA_OPTIONS)])


def seiza_twice(truth: Truth, work: Path, tile_px: int = 64) -> Run:
    """seiza at its best: local background, noise weights, quadratic registration, and integrated a second time.

    Its usual tiles of 256 px do not suit small frames: a turned gradient of frames of 600 x 800 px costs it a third of
    its signal to noise with them, and 2 % with tiles of 64 px.
    """
    return by_seiza(truth, work, [SEIZA_TWICE, str(work), str(tile_px)])


def by_seiza(truth: Truth, work: Path, script: list[str]) -> Run:
    """Run a script of seiza; it is installed in an environment of its own beside the work unless it is here."""
    python = sys.executable
    if not find_spec("seiza"):
        home = work.parent / "seiza-env"
        python = str(home / "bin" / "python")
        if not Path(python).exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", "seiza"], capture_output=True).returncode:
            return Run("seiza", note="could not be installed")
    fresh(truth, work)
    return measured("seiza", [python, "-c", *script], work, "result.fits")


def masterlight(truth: Truth, work: Path, memory_mb: int = 2000, flags: Sequence[str] = ()) -> Run:
    """Ours, in one go; exit status 1 says that it left lights out."""
    fresh(truth, work)
    command = [str(Path(sys.executable).parent / "masterlight"), "run", str(truth.folder), "--out", str(work / "out")]
    command += ["--memory-mb", str(memory_mb), *flags]
    return measured("masterlight", command, work, "out/**/master_light*.fits", (0, 1))


def fresh(truth: Truth, work: Path) -> None:
    """An empty folder with links to the frames, one folder for each kind."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "process").mkdir(parents=True)
    for kind in ("bias", "dark", "flat", "light"):
        (work / kind).mkdir()
        for i, path in enumerate(truth.paths(kind), 1):
            (work / kind / f"{kind}_{i:05d}.fits").symlink_to(path.resolve())


def measured(name: str, command: list[str], work: Path, result: str, good: tuple[int, ...] = (0,)) -> Run:
    """Run a command and measure it: CPU by wait4, children included; memory and bytes written by /proc."""
    log = work / "log.txt"
    seen = {"VmHWM": 0, "wchar": 0}
    with open(log, "wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=work)
        watcher = threading.Thread(target=watch, args=(process.pid, seen), daemon=True)
        watcher.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall_s = time.perf_counter() - start
        watcher.join()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    made = [p for p in work.rglob("*") if p.is_file() and not p.is_symlink()]
    kept_mb = sum(p.stat().st_size for p in made) / 1e6
    found = sorted(work.glob(result))
    note = "" if process.returncode in good else f"exit status {process.returncode}, see {log}"
    if not found and not note:
        note = f"no result, see {log}"
    return Run(
        name=name,
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=wall_s,
        peak_mb=seen["VmHWM"] * 1024 / 1e6,
        written_mb=max(seen["wchar"] / 1e6, kept_mb),
        kept_mb=kept_mb,
        result=str(found[0]) if found else None,
        stacked=stacked(log.read_text(errors="replace")),
        note=note,
    )


def stacked(log: str) -> int | None:
    """How many lights went into the last stack that a log tells of."""
    told = re.findall(r"(\d+) (?:images have been stacked|lights stacked|frames, noise)", log)
    return int(told[-1]) if told else None


def watch(pid: int, seen: dict[str, int]) -> None:
    """Keep the highest readings of a process in /proc, until it has ended and waits to be fetched."""
    alive = True
    while alive:
        for path in (f"/proc/{pid}/io", f"/proc/{pid}/status"):
            try:
                lines = Path(path).read_text().splitlines()
            except OSError:
                return
            words = dict(line.split(":", 1) for line in lines if ":" in line)
            alive = not words.get("State", "").strip().startswith("Z")
            for key in seen.keys() & words.keys():
                seen[key] = max(seen[key], int(words[key].split()[0]))
        time.sleep(0.02)
