"""The command line: a page of verbs, made of the table of steps; what each does is opened when it is called."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from masterlight import __version__
from masterlight.core.errors import FrameError, MasterlightError, NothingUsable, ParameterError
from masterlight.doors import help as pages
from masterlight.doors import stop
from masterlight.doors.flags import Verb, typed_knobs
from masterlight.doors.terminal import hand_over, steady_streams
from masterlight.processes import STEPS, Step, load
from masterlight.session.words import condense, visible

NOTHING = 2
MAY_BE_EMPTY = "inputs", "prefix", "postfix"
MOST_RECIPE_BYTES = 1 << 20
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
"""Help need not look through all that is installed for plugins of pydantic."""


class Verbs(click.Group):
    """The group of verbs; an error of ours is told in one sentence and becomes the exit status."""

    def main(self, *arguments: Any, **how: Any) -> Any:
        with steady_streams():
            return super().main(*arguments, **how)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with stop.stoppable(), tidy():
                return super().invoke(ctx)
        except MasterlightError as error:
            step = STEPS.get(ctx.invoked_subcommand or "")
            fail(step.with_flags(str(error)) if step else error, NOTHING)
        except (KeyboardInterrupt, click.Abort):
            again = ", and masters will be used again by the next run" if ctx.invoked_subcommand == "run" else ""
            fail(f"interrupted; what was finished is whole{again}", stop.status())

    def get_help(self, ctx: click.Context) -> str:
        return pages.front()


@contextmanager
def tidy() -> Iterator[None]:
    """Remove temporary files when a verb is done, while signals still cannot cut that short."""
    try:
        yield
    finally:
        if "masterlight.io.scratch" in sys.modules:
            sys.modules["masterlight.io.scratch"].leave_scratch()


def fail(message: object, status: int) -> NoReturn:
    words = f"masterlight: {visible(message)}"
    if " --> " in words and sys.stderr.isatty():  # the place in a formula, which a person sees better by a caret
        from masterlight.subframes.formula.parser import with_caret

        words = with_caret(words)
    click.echo(words, err=True)
    sys.exit(status)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="masterlight")
def main() -> None:
    """masterlight: raw frames of the night sky in, one deep, sharp, honest image out."""


def carry_out(step: Step, **arguments: Any) -> None:
    """Do what a verb says, with the process or recipe that its flags make."""
    for name, value in arguments.items():
        if value == "" and name not in MAY_BE_EMPTY and not name.startswith("knob__"):
            raise ParameterError(f"{name}= is empty; was a variable not set? Give a name, or leave it out")
    process = process_of(step, arguments)
    slots = {name: value for name, value in arguments.items() if not name.startswith("knob__")}
    STORY.get(step.verb, do_by_hand)(step, process, **slots)


def process_of(step: Step, arguments: dict[str, Any]) -> Any:
    """The process of a verb: that of a recipe file, if any, a preset over it, over both the knobs that were typed."""
    from masterlight.core.process import build, from_toml, idle_knobs, with_values

    cls, path, preset = load(step.process), arguments.pop("recipe", None), arguments.get("preset")
    base = with_values(cls(), **dict.fromkeys(filter(None, [step.switched]), True))
    if path:
        base = from_toml(cls, recipe_text(path), path)
    if preset:
        from masterlight.calibration.calibrate import preset as preset_of

        if step.by_hand:
            base = preset_of(preset)
        elif not preset.startswith("light-"):
            raise ParameterError(f"the preset {preset} is for `masterlight calibrate`; lights need one of light-...")
        else:
            base = with_values(base, calibrate=preset_of(preset))
    typed = typed_knobs(arguments)
    for path_of, other, value in step.implied:
        typed |= {other: value} if path_of in typed and other not in typed else {}
    process = build(cls, typed, base, step.flag)
    if path and (idle := list(idle_knobs(process))):
        click.echo(visible(f"{path}: without effect: {'; '.join(idle)}"), err=True)
    return process


def recipe_text(path: str) -> str:
    """The text of a recipe file."""
    from masterlight.io.plain import open_regular, reading

    try:
        with reading(path), open_regular(path) as file:
            content = file.read(MOST_RECIPE_BYTES + 1)
        if len(content) > MOST_RECIPE_BYTES:
            raise ParameterError(f"{path}: is larger than any recipe; `masterlight recipe` prints one to begin with")
        return content.decode()
    except UnicodeDecodeError:
        raise ParameterError(f"{path}: is no text in UTF-8, as a recipe is; save it as that") from None
    except FrameError as error:
        raise ParameterError(f"{error}; `masterlight recipe` prints one to begin with") from None


def show(events: Iterable[Any], console: Any) -> tuple[Any, int]:
    """Show events as they come; the last one's result, and how many files were rejected on the way."""
    from masterlight.core.errors import Rejected

    rejected, event = 0, None
    for event in events:
        stop.heed()
        console.show(event)
        rejected += isinstance(event.result, Rejected)
    return event.result if event else None, rejected


def console_of(step: Step, inputs: Any = (), out: str | None = None, quiet: bool = False) -> Any:
    """The process console of a verb; where `out` is a folder, with its console.txt."""
    from masterlight.doors.console import process_console

    names = inputs if isinstance(inputs, str) else " ".join(inputs[:3]) + (" ..." if len(inputs) > 3 else "")
    head = f"masterlight {__version__}: {step.verb} {names} --out {out}"
    return process_console(quiet, Path(out) if out else None, head, step.with_flags)


def do_by_hand(step: Step, process: Any, inputs: Any, out: str, **slots: Any) -> None:
    """One step with files; exit status 1 when some were left out."""
    from masterlight.doors.hand.steps import by_hand

    with console_of(step, inputs, out if step.ending else None) as console:
        result, rejected = show(by_hand(step.verb, inputs, out, process, **slots), console)
    for row in getattr(result, "masters", ()):
        lines = (row.quality or {"text": ""})["text"].splitlines()
        click.echo("\n".join(map(visible, lines)))
    sys.exit(1 if rejected else 0)


def subframes(step: Step, process: Any, inputs: Any, **slots: Any) -> None:
    """The table of measured frames on the screen; exit status 1 when some files could not be read or copied."""
    from masterlight.doors.console import plain_console
    from masterlight.doors.hand.choose import Below, choose_files, columns_asked
    from masterlight.doors.sheet import sheet

    below: list[str] = []

    def without_texts() -> Iterator[Any]:
        for event in choose_files(process, inputs, **{k: v for k, v in slots.items() if v is not None}):
            if isinstance(event.result, Below):
                below.append(event.result.text)
            else:
                yield event

    with console_of(step, inputs) as console:
        night, rejected = show(without_texts(), console)
    lines = sheet(night, plain_console().width, columns_asked(process, slots.get("sort")))
    hand_over("\n\n".join(["\n".join(lines), *below]))
    sys.exit(1 if rejected else 0)


def align(step: Step, process: Any, inputs: Any, out: str, **slots: Any) -> None:
    """The table of frames that were laid on a reference; exit status 1 when some could not be."""
    from masterlight.doors.console import plain_console
    from masterlight.doors.hand.align import table_of
    from masterlight.doors.hand.steps import by_hand

    with console_of(step, inputs, out) as console:
        found, _ = show(by_hand(step.verb, inputs, out, process, **slots), console)
    hand_over("\n".join(map(visible, table_of(found, plain_console().width))))
    sys.exit(1 if found.failed else 0)


def run(step: Step, recipe: Any, inputs: Any, out: str, preset: str | None, quiet: bool) -> None:
    import masterlight
    from masterlight.doors.console import summary

    with console_of(step, inputs, out, quiet) as console:
        report, _ = show(masterlight.run(inputs, out, recipe), console)
    summary(report, console.diary)
    sys.exit(report.exit_status)


def plan(step: Step, recipe: Any, inputs: Any, preset: str | None) -> None:
    from masterlight.core.workers import executor
    from masterlight.doctor.page import text
    from masterlight.night.ahead import check_reference

    found = plan_folder(inputs, recipe)
    words = "The doctor has not looked at compressed and camera raw files: `masterlight doctor` unpacks them."
    if not found.scratch_bytes:
        with executor(recipe.workers) as pool:
            *_, done = recipe.doctor.frames(found, pool)
        words = text(done.result)
    hand_over(step.with_flags(found.text(words)))
    if not found.lights:
        raise NothingUsable(found.why_no_lights())
    check_reference(found, recipe.reference)


def plan_folder(folder: Any, recipe: Any) -> Any:
    from masterlight.night.run import plan_of
    from masterlight.session.scan import scan

    return plan_of(scan(folder, recipe.kind_dirs), recipe)


def doctor(step: Step, recipe: Any, inputs: str, out: str | None) -> None:
    from masterlight.core.workers import executor
    from masterlight.doctor import diagnose
    from masterlight.doctor.page import html, text
    from masterlight.io import atomic
    from masterlight.night.products import check_file, key, refuse_other_page, with_key

    refuse_other_page(out)
    if out:
        check_file(Path(out))
    found = plan_folder(inputs, recipe)
    if not found.groups:
        raise NothingUsable(found.why_no_lights())
    for line in condense((*found.warnings, *(f"left out: {rejected}" for rejected in found.rejected))):
        click.echo(f"plan       {visible(step.with_flags(line))}")
    with executor(recipe.workers) as pool, console_of(step, quiet=True) as console:
        findings, _ = show(diagnose(found, recipe.doctor, recipe.calibrate, pool), console)
    hand_over(step.with_flags(text(findings)))
    if out:
        with atomic(out) as file:
            file.write(with_key(html(findings, found.name), key(found.name)))
        click.echo(f"page: {visible(out)}")
    sys.exit(1 if any(finding.severity == "error" for finding in findings) else 0)


def recipe(step: Step, process: Any) -> None:
    from masterlight.core.process import to_toml

    hand_over(to_toml(process), newline=False)


def simulate(step: Step, night: Any, inputs: str) -> None:
    from masterlight.simulate import simulate as write_night

    with console_of(step) as console:
        truth, _ = show(write_night(night, inputs), console)
    count = sum(map(len, truth.files.values()))
    click.echo(f"{count} frames in {visible(inputs)}; the truth about them is in truth.json and truth.npz")


STORY: dict[str, Callable[..., None]] = {
    work.__name__: work for work in (simulate, doctor, plan, run, recipe, subframes, align)
}
"""What verbs do that are not steps by hand: (step, process, what the flags say)."""

for step in STEPS.values():
    main.add_command(Verb(step, carry_out))


@main.command(add_help_option=False)
@click.argument("verb", required=False)
@click.argument("chapter", required=False)
def help(verb: str | None, chapter: str | None) -> None:
    """What --help tells: of all verbs, of one, of a chapter of its flags."""
    if verb is not None and verb not in STEPS:
        raise ParameterError(f"there is no verb {verb}; there are {', '.join(STEPS)}")
    step = STEPS.get(verb or "")
    hand_over(pages.front() if step is None else pages.chapter(step, chapter) if chapter else pages.page(step))


if __name__ == "__main__":
    main()
