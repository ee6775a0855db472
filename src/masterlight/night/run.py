"""`Run`, the context of a run: its plan, its pool, what it has made and found so far; `run` walks a night."""

import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from masterlight import __version__
from masterlight.core.errors import FrameError, Halted, OutputError, Rejected
from masterlight.core.frame import Frame
from masterlight.core.process import engine, plain, with_values
from masterlight.core.workers import Event, Events, Pool, executor, keep_freed_memory, machine_memory_mb, processes
from masterlight.defects.lists import Defects
from masterlight.doctor.examination import lights_of, weigh
from masterlight.doctor.findings import Finding, some
from masterlight.doctor.page import gathered, html
from masterlight.integration.engine import is_compiled
from masterlight.integration.integrate import ImageIntegration
from masterlight.integration.stack import Stack
from masterlight.io import atomic
from masterlight.io.whole import clear_leftovers
from masterlight.night.products import Store, check_out, key, key_in, with_key
from masterlight.night.recipe import Recipe
from masterlight.night.report import FrameReport, Report, subframes_of
from masterlight.session.plan import MIN_TILE_MB, RESULT_BYTES, MasterJob, Plan, resident_mb
from masterlight.session.planner import plan
from masterlight.session.scan import Session, scan
from masterlight.subframes.looks.look import section_of


@dataclass
class Run:
    """One run: the plan it follows, the pool it works in, and what it has made and found so far."""

    plan: Plan
    store: Store
    recipe: Recipe
    pool: Pool
    memory_mb: float
    """For each process that works for it."""
    report: Report
    made: dict[MasterJob, Path] = field(default_factory=dict)
    """Path of the master that came of a job."""
    keys: dict[MasterJob, str] = field(default_factory=dict)
    """What it was made of."""
    unusable: set[Path] = field(default_factory=set)
    """Masters that could not be read or used."""
    examined: set[str] = field(default_factory=set)
    """Ready-made masters that the doctor has seen."""
    fields: dict[str | None, int] = field(default_factory=dict)
    """By the name of a target, how many fields its lights show."""
    held: list[Finding] = field(default_factory=list)
    """Warnings of the doctor that were not said yet."""
    spoilt: dict[str, set[str]] = field(default_factory=dict)
    """By the id of a diagnosis, the lights of which it says an error."""
    defects: dict[tuple, Defects | None] = field(default_factory=dict)
    """Defective pixels by the master dark that shows them and the size of the lights."""

    @classmethod
    def of(cls, plan: Plan, folder: Path | str, recipe: Recipe, pool: Pool) -> "Run":
        """A run that has not begun, whose products go below `folder`."""
        memory_mb = recipe.memory_mb or machine_memory_mb() / 4
        report = Report(recipe=plain(recipe), version=__version__)
        return cls(plan, Store(folder, recipe.overwrite), recipe, pool, memory_mb, report)

    @classmethod
    @contextmanager
    def open(cls, plan: Plan, folder: Path | str, recipe: Recipe) -> Iterator["Run"]:
        """The same with the pool that the recipe names."""
        keep_freed_memory()
        for place in (Path(folder), Path(folder, "masters")):
            clear_leftovers(place)
        with executor(recipe.workers) as pool:
            run = cls.of(plan, folder, recipe, pool)
            try:
                yield run
            finally:
                run.store.close()

    def spare_mb(self, frame: Frame, result_bytes: float, sets: float) -> float:
        """Memory of a process that is left beside a result of so many bytes per pixel and `sets` sets of masters."""
        return self.memory_mb - resident_mb(area(frame), result_bytes, sets)

    def tiles_mb(self, frame: Frame, result_bytes: float, sets: float) -> float:
        """Memory for the samples of tiles in all processes together."""
        return max(MIN_TILE_MB, self.spare_mb(frame, result_bytes, sets)) * processes(self.pool)

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Add the seconds spent inside to the report's timing of this stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.report.timing[stage] = self.report.timing.get(stage, 0.0) + time.perf_counter() - started

    def note(self, stage: str, message: str) -> Event:
        """A sentence for the process console that the report keeps."""
        self.report.notes.append(message)
        return Event(stage, message=message)

    def reject(self, rejected: Rejected, row: FrameReport | None = None, **columns: Any) -> Event:
        """Keep a frame that failed in the report, with what is known of it, a `row` or `columns`; and say so."""
        row = row or FrameReport(path=rejected.source, **columns)
        self.report.frames.append(replace(row, status="rejected", stage=rejected.stage, reason=rejected.reason))
        return Event(rejected.stage, item=rejected.source, result=rejected, message=f"rejected {rejected}")

    def diagnose(self, findings: list[Finding]) -> Events[None]:
        """Keep what the doctor found; what spoils most of the lights ends the run, unless the recipe says to go on.

        Errors are said at once, warnings with others of their kind when `tell` is called.
        """
        findings = weigh(self.plan, findings)
        self.report.findings += findings
        count = sum(len(job.frames) for job in self.plan.lights)
        stopping = []
        for finding in findings:
            self.held += [finding] if finding.severity == "warn" else []
            message = line_of(finding) if finding.severity == "error" else ""
            yield Event("doctor", result=finding, message=message)
            if finding.severity == "error":
                spoilt = self.spoilt.setdefault(finding.id, set())
                spoilt |= lights_of(self.plan, finding)[0]
                stopping += [finding] if 2 * len(spoilt) > count else []
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors and not stopping and not self.recipe.force:
            few = max((self.spoilt[finding.id] for finding in errors), key=len)
            ids = ", ".join(dict.fromkeys(finding.id for finding in errors))
            yield self.note("doctor", f"{ids}: {len(few)} of {count} lights are concerned, so the run goes on")
        if stopping and not self.recipe.force:
            yield from self.tell()
            self.stop(stopping)

    def tell(self) -> Events[None]:
        """Say the warnings that were kept, those of one kind in one sentence."""
        for finding in gathered(self.held):
            yield Event("doctor", message=line_of(finding))
        self.held = []

    def next_field(self, name: str | None) -> int:
        """The number of a further field that lights of this name show."""
        known = max(job.field for job in self.plan.lights if job.object == name)
        self.fields[name] = max(known, self.fields.get(name, 0)) + 1
        return self.fields[name]

    def leave_out(self, findings: list[Finding]) -> Events[None]:
        """Take the frames out of the plan of which the doctor says so."""
        out = [Rejected(s, "doctor", f"{f.id}, {f.sentence}") for f in findings if f.out for s in f.sources]
        kinds = {frame.source: group.kind for group in self.plan.groups for frame in group.frames}
        for lost in out:
            yield self.reject(lost, kind=kinds.get(lost.source))
        self.plan = self.plan.without(out) if out else self.plan

    def stop(self, errors: list[Finding]) -> NoReturn:
        """Write the page of the doctor and raise Halted."""
        try:
            page = f"Pictures are in {self.write_page()}"
        except OutputError as error:
            page = f"Pictures could not be written: {error}"
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        way = f"to go on all the same, pass Recipe.force, or leave this out with Doctor.off {errors[0].id}"
        what = f"{errors[0].id}, {errors[0].title} ({some(errors[0].sources)}; told above{more})"
        raise Halted(f"stopped by the doctor: {what}. {page}; {way}")

    @property
    def made_of(self) -> str:
        """The key of the whole run: all its frames, and the knobs that change results."""
        frames = {frame.source for group in self.plan.groups for frame in group.frames}
        return key([Path(source) for source in sorted(frames)], self.knobs)

    @property
    def knobs(self) -> Recipe:
        """The recipe without what changes no result."""
        usual = Recipe()
        same = {name: getattr(usual, name) for name in ("workers", "memory_mb", "overwrite", "force")}
        return with_values(self.recipe, **same)

    def product(self, *words: str | None, folder: str = "", made_of: str = "", beside: tuple[str, ...]) -> Events[Path]:
        """Where a product goes; says so where something of its name is there and stays."""
        path = self.store.path(*words, folder=folder, made_of=made_of, beside=beside)
        while self.store.notes:
            yield self.note("files", self.store.notes.pop(0))
        return path

    def write_page(self) -> Path:
        """Write report.html, what the doctor found with its pictures and what the lights are like; give its path."""
        path = self.store.path("report", suffix=".html", made_of=self.made_of)
        metas = {frame.source: frame.meta for job in self.plan.lights for frame in job.frames}
        lights = section_of(subframes_of(self.report.frames, metas))
        with atomic(path) as file:
            file.write(with_key(html(self.report.findings, self.plan.name, lights), self.made_of))
        return path

    def write_report(self) -> Path:
        """Write report.json and give its path."""
        self.report.mlkey = self.made_of
        path = self.store.path("report", suffix=".json", made_of=self.made_of)
        self.report.name = path.name
        self.report.write(path)
        return path

    def write_reports(self) -> Events[Path | None]:
        """Write report.html and report.json; gives the path of the second. What cannot be written costs no result."""
        path = None
        for write in (self.write_page, self.write_report):
            try:
                path = write()
            except OutputError as error:
                self.report.unwritten.append(str(error))
                yield self.note("done", f"the report could not be written, the results are whole: {error}")
        return path


def line_of(finding: Finding) -> str:
    """A finding as a line of the console."""
    return f"{finding.id} {finding.severity}: {finding.sentence}"


def area(frame: Frame) -> int:
    return frame.shape[-1] * frame.shape[-2]


Where = Path | str | Sequence[Path | str]
"""A folder, or several folders, files and lists of files (`@approved.txt`)."""


def run(folder: Where | Plan, out: Path | str, recipe: Recipe | None = None) -> Generator[Event, None, Report]:
    """Walk a night: a folder of raw frames in; masters, master lights, previews and report.json below `out`.

    Beside a folder, the list "@approved.txt" names the lights of it that are used: `run(["night", "@approved.txt"])`.
    Yields events; the last one has stage "done" and the `Report` as its result, which is also what the generator
    returns. Raises NothingUsable when there is no light to work on, OutputError when a product cannot be written.
    """
    recipe = recipe or Recipe()
    check_out(out)
    night = folder if isinstance(folder, Plan) else plan_beside(folder, Path(out), recipe)
    if not is_compiled():
        yield Event("start", message="compiling for this machine, once: about a minute, then never again")
    with Run.open(night, out, recipe) as opened:
        report: Report = yield from engine("night.walk").walk(opened)
        return report


def plan_of(session: Session, recipe: Recipe) -> Plan:
    """The plan of a session by a recipe."""
    return plan(session, recipe.calibrate, recipe.debayer.pattern, recipe.match, recipe.rotator_deg, recipe.split_by)


def plan_beside(folder: Where, out: Path, recipe: Recipe) -> Plan:
    """The plan of a folder; what an earlier run that came to no end left in `out` is no input, and that is told."""
    session = scan(folder, recipe.kind_dirs)
    folders = {os.path.dirname(frame.source) for frame in session.frames} if os.path.exists(out) else set()
    results = {place for place in folders if Path(place).resolve() in (out.resolve(), (out / "masters").resolve())}
    inputs = [f for f in session.frames if os.path.dirname(f.source) not in results or not key_in(Path(f.source))]
    night = plan_of(replace(session, frames=tuple(inputs)), recipe)
    if count := len(session.frames) - len(inputs):
        words = f"{count} files in {out} are results of earlier runs and are not taken for input"
        night = replace(night, warnings=(*night.warnings, words))
    return night


def integrate(
    run: Run, stage: str, integration: ImageIntegration, frames: Sequence[Frame], statistics: Sequence,
    reference: int | None = 0, sets: float = 1, named: bool = False, **how: Any,
) -> Events[tuple[Stack | None, list[Frame], int | None]]:  # fmt: skip
    """Integrate, once more without it when a frame cannot be read; gives (stack or None, frames, reference).

    statistics: for each frame a list with those of its planes; reference None lets the weights choose it; when the
    user `named` it, nothing takes its place. sets: sets of masters that are in memory beside it.
    """
    frames, statistics = list(frames), list(statistics)
    while frames:
        stack = None
        memory_mb = run.tiles_mb(frames[0], RESULT_BYTES * frames[0].planes, sets)
        measured = list(zip(*statistics, strict=True))
        try:
            for event in integration(frames, measured, reference=reference, pool=run.pool, memory_mb=memory_mb, **how):
                if isinstance(event.result, Stack):
                    stack = event.result
                elif event.total:
                    yield replace(event, stage=stage if event.stage == "integrate" else event.stage, message="")
            return stack, frames, reference
        except FrameError as error:
            lost = [i for i, frame in enumerate(frames) if frame.source == error.source]
            if not lost or (named and reference in lost):
                raise
            yield run.reject(Rejected.of(error.source, stage, error))
            for i in reversed(lost):
                del frames[i], statistics[i]
                reference = None if reference is None else max(0, reference - (i <= reference))
    return None, [], reference
