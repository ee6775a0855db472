"""The command line: a page of verbs, made of the table of steps; what each does is opened when it is called."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import click

from masterlight import __version__
from masterlight.core.errors import FrameError, MasterlightError, NothingUsable, ParameterError
from masterlight.doors import help as pages
from masterlight.doors import stop
from masterlight.doors.flags import Verb, typed_knobs
from masterlight.processes import STEPS, Step, load

NOTHING = 2
MOST_RECIPE_BYTES = 1 << 20
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
"""Help need not look through all that is installed for plugins of pydantic."""


class Verbs(click.Group):
    """The group of verbs; an error of ours is told in one sentence and becomes the exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with stop.stoppable():
                return super().invoke(ctx)
        except MasterlightError as error:
            fail(error, NOTHING)
        except (KeyboardInterrupt, click.Abort):
            again = ", and masters will be used again by the next run" if ctx.invoked_subcommand == "run" else ""
            fail(f"interrupted; what was finished is whole{again}", stop.status())

    def get_help(self, ctx: click.Context) -> str:
        return pages.front()


def fail(message: object, status: int) -> NoReturn:
    click.echo(f"masterlight: {message}", err=True)
    sys.exit(status)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="masterlight")
def main() -> None:
    """masterlight: raw frames of the night sky in, one deep, sharp, honest image out."""


def carry_out(step: Step, **arguments: Any) -> None:
    """Do what a verb says, with the process or recipe that its flags make."""
    process = process_of(step, arguments)
    slots = {name: value for name, value in arguments.items() if not name.startswith("knob__")}
    STORY.get(step.verb, do_by_hand)(step, process, **slots)


def process_of(step: Step, arguments: dict[str, Any]) -> Any:
    """The process of a verb: that of a recipe file, if any, a preset over it, over both the knobs that were typed."""
    from masterlight.core.process import build, from_toml, idle_knobs, with_values

    cls, path, preset = load(step.process), arguments.pop("recipe", None), arguments.get("preset")
    base = cls()
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
    process = build(cls, typed_knobs(arguments), base, step.flag)
    if path and (idle := list(idle_knobs(process))):
        click.echo(f"{path}: without effect: {'; '.join(idle)}", err=True)
    return process


def recipe_text(path: str) -> str:
    """The text of a recipe file."""
    from masterlight.io.plain import open_regular, reading

    try:
        with reading(path), open_regular(path) as file:
            return file.read(MOST_RECIPE_BYTES).decode()
    except FrameError as error:
        raise ParameterError(f"{error}; `masterlight recipe` prints one to begin with") from None


def show(events: Iterable[Any], quiet: bool = False) -> tuple[Any, int]:
    """Show events as they come; the last one's result, and how many files were rejected on the way."""
    from masterlight.core.errors import Rejected
    from masterlight.doors.console import process_console

    rejected, event = 0, None
    with process_console(quiet) as tell:
        for event in events:
            stop.heed()
            tell(event)
            rejected += isinstance(event.result, Rejected)
    return event.result if event else None, rejected


def do_by_hand(step: Step, process: Any, inputs: Any, out: str, **slots: Any) -> None:
    """One step with files; exit status 1 when some were left out."""
    from masterlight.doors.steps import by_hand

    result, rejected = show(by_hand(step.verb, inputs, out, process, **slots))
    for row in getattr(result, "masters", ()):
        click.echo((row.quality or {"text": ""})["text"])
    sys.exit(1 if rejected else 0)


def run(step: Step, recipe: Any, inputs: str, out: str, preset: str | None, quiet: bool) -> None:
    import masterlight
    from masterlight.doors.console import summary

    report, _ = show(masterlight.run(inputs, out, recipe), quiet)
    summary(report)
    sys.exit(report.exit_status)


def plan(step: Step, recipe: Any, inputs: str, preset: str | None) -> None:
    from masterlight.core.workers import executor
    from masterlight.doctor.page import text

    found = plan_of(inputs, recipe)
    click.echo(found.text())
    if found.scratch_bytes:
        click.echo("\nThe doctor has not looked at compressed and camera raw files: `masterlight doctor` unpacks them.")
    else:
        with executor(recipe.workers) as pool:
            *_, done = recipe.doctor.frames(found, pool)
        click.echo(f"\n{text(done.result)}")
    if not found.lights:
        raise NothingUsable(found.why_no_lights())


def plan_of(folder: str, recipe: Any) -> Any:
    from masterlight.session.plan import plan
    from masterlight.session.scan import scan

    return plan(scan(folder), recipe.calibrate, recipe.debayer.pattern)


def doctor(step: Step, recipe: Any, inputs: str, out: str | None) -> None:
    from masterlight.core.workers import executor
    from masterlight.doctor import diagnose
    from masterlight.doctor.page import html, text
    from masterlight.io import atomic

    found = plan_of(inputs, recipe)
    if not found.groups:
        raise NothingUsable(found.why_no_lights())
    for line in (*found.warnings, *(f"left out: {rejected}" for rejected in found.rejected)):
        click.echo(f"plan       {line}")
    with executor(recipe.workers) as pool:
        findings, _ = show(diagnose(found, recipe.doctor, recipe.calibrate, pool), quiet=True)
    click.echo(text(findings))
    if out:
        with atomic(out) as file:
            file.write(html(findings, found.name).encode())
        click.echo(f"page: {out}")
    sys.exit(1 if any(finding.severity == "error" for finding in findings) else 0)


def recipe(step: Step, process: Any) -> None:
    from masterlight.core.process import to_toml

    click.echo(to_toml(process), nl=False)


def simulate(step: Step, night: Any, inputs: str) -> None:
    from masterlight.simulate import simulate as write_night

    truth, _ = show(write_night(night, inputs))
    count = sum(map(len, truth.files.values()))
    click.echo(f"{count} frames in {inputs}; the truth about them is in truth.json and truth.npz")


STORY: dict[str, Callable[..., None]] = {work.__name__: work for work in (simulate, doctor, plan, run, recipe)}
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
    click.echo(pages.front() if step is None else pages.chapter(step, chapter) if chapter else pages.page(step))


if __name__ == "__main__":
    main()
