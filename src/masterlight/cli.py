"""The command line: a page of verbs; their flags are the knobs of the processes."""

import importlib
import sys
import typing
from pathlib import Path

import click

from masterlight import __version__
from masterlight.errors import MasterlightError, NothingUsable
from masterlight.process import Knob, build, from_toml, knobs, to_toml

NOTHING, INTERRUPTED = 2, 130
OFF = object()
"""What `none` on the command line becomes: the knob is switched off, which is not the same as not given."""


class Verbs(click.Group):
    """The group of verbs; an error of ours is told in one sentence and becomes the exit status."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except MasterlightError as error:
            fail(error, NOTHING)
        except (KeyboardInterrupt, click.Abort):
            fail("interrupted; what was finished is whole, and masters will be used again by the next run", INTERRUPTED)


def fail(message, status: int) -> typing.NoReturn:
    click.echo(f"masterlight: {message}", err=True)
    sys.exit(status)


class Knobbed(click.Command):
    """A command with one flag for every knob of a process, which is imported when the flags are needed."""

    def __init__(self, *args, process: str, **kwargs):
        super().__init__(*args, **kwargs)
        self.process = process

    def get_params(self, ctx):
        if not any(p.name.startswith("knob__") for p in self.params):
            self.params += [flag(knob) for knob in knobs(load(self.process))]
        return super().get_params(ctx)


def load(where: str) -> type:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def flag(knob: Knob) -> click.Option:
    """The option of one knob: `--integrate.rejection.low FLOAT`, `--overwrite / --no-overwrite`; with its words."""
    name, given_as = knob.path.replace("_", "-"), "knob__" + knob.path.replace(".", "__")
    if knob.type is bool:
        usual = "yes" if knob.default else "no"
        return click.Option([f"--{name}/--no-{name}", given_as], default=None, help=f"{knob.help} [{usual}]")
    usual = ",".join(map(str, knob.default)) if isinstance(knob.default, tuple) else knob.default
    words = f"{knob.help} [{'off' if usual is None else usual}]"
    return click.Option([f"--{name}", given_as], type=Value(knob), metavar=metavar(knob), help=words)


def metavar(knob: Knob) -> str:
    if knob.choices:
        return "[" + "|".join(knob.choices) + "]"
    words = [t for t in (typing.get_args(knob.type) or (knob.type,)) if t is not type(None)]
    return getattr(words[0], "__name__", "value").upper() if words else "VALUE"


class Value(click.ParamType):
    """A value as typed; `none` for nothing, commas between the items of a list; the process checks the rest."""

    name = "value"

    def __init__(self, knob: Knob):
        self.knob = knob

    def convert(self, value, param, ctx):
        if self.knob.optional and str(value).lower() in {"none", "off"} - set(self.knob.choices):
            return OFF
        if isinstance(self.knob.default, tuple):
            return tuple(part.strip() for part in str(value).split(",") if part.strip())
        return value


def given(arguments: dict) -> dict:
    """The knobs that the user set, by dotted name."""
    typed = {k[6:].replace("__", "."): v for k, v in arguments.items() if k.startswith("knob__") and v is not None}
    return {name: None if value is OFF else value for name, value in typed.items()}


def recipe_of(path: str | None, arguments: dict):
    """The recipe of a TOML file, if any, with the knobs of the command line over it."""
    from masterlight.recipe import Recipe

    base = Recipe()
    if path:
        try:
            base = from_toml(Recipe, Path(path).read_text(), path)
        except (OSError, UnicodeDecodeError) as error:
            raise MasterlightError(f"{path}: cannot be read as a recipe: {error}") from None
    return build(Recipe, given(arguments), base)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="masterlight")
def main():
    """masterlight: raw frames of the night sky in, one deep, sharp, honest image out."""


RECIPE = "masterlight.recipe:Recipe"
night = click.argument("folder", metavar="DIR", type=click.Path())
recipe_file = click.option(
    "-r", "--recipe", "recipe_path", metavar="FILE", help="A recipe as `masterlight recipe` writes it."
)


@main.command(cls=Knobbed, process=RECIPE)
@night
@click.option(
    "-o", "--out", required=True, type=click.Path(), help="Folder for the masters, the master lights and the report."
)
@recipe_file
@click.option("-q", "--quiet", is_flag=True, help="Only the result, no process console.")
def run(folder, out, recipe_path, quiet, **arguments):
    """Turn the raw frames in DIR into masters and master lights.

    Exit status: 0 done, 1 done but some frames were rejected, 2 nothing usable.
    """
    from masterlight.console import shown, summary
    from masterlight.recipe import run as walk

    recipe = recipe_of(recipe_path, arguments)
    with shown(quiet) as show:
        for event in walk(folder, out, recipe):
            show(event)
    report = event.result
    summary(report)
    sys.exit(report.exit_status)


@main.command()
@night
def plan(folder):
    """Say what a run on DIR would do: groups, matches and why, equations, disk and memory."""
    from masterlight.session import plan as make_plan
    from masterlight.session import scan

    found = make_plan(scan(folder))
    click.echo(found.text())
    if not found.lights:
        raise NothingUsable(found.why_no_lights())


@main.command(cls=Knobbed, process=RECIPE)
@recipe_file
def recipe(recipe_path, **arguments):
    """Print a recipe with every control explained, to be edited and given to `run -r`."""
    click.echo(to_toml(recipe_of(recipe_path, arguments)), nl=False)


@main.command(cls=Knobbed, process="masterlight.simulate:Night")
@click.argument("out", type=click.Path())
def simulate(out, **arguments):
    """Write a simulated night of raw frames, and the truth about it, to OUT."""
    from masterlight.console import shown
    from masterlight.simulate import Night
    from masterlight.simulate import simulate as write_night

    with shown() as show:
        for event in write_night(build(Night, given(arguments)), out):
            show(event)
    truth = event.result
    click.echo(
        f"{sum(map(len, truth.files.values()))} frames in {out}; the truth about them is in truth.json and truth.npz"
    )


if __name__ == "__main__":
    main()
