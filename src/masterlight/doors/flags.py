"""Flags made of knobs: a row of the table of steps becomes a verb, each of its knobs an option with its own words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from masterlight.core.errors import ParameterError
from masterlight.core.knob import Knob
from masterlight.doors import help as pages
from masterlight.processes import Slot, Step

OFF = object()
"""What `none` on the command line becomes: the knob is switched off, which is not the same as not given."""
REPLACED = {f"rejection.{old}-low": "rejection.low" for old in ("percentile", "minmax", "linear-fit")}
REPLACED |= {old.replace("low", "high"): "rejection.high" for old in REPLACED} | {"rejection.profile": ""}
"""Flags of earlier versions by their last words, and what took their place."""


class Verb(click.Command):
    """A command made of a step; the process with its knobs is imported when its flags are needed."""

    def __init__(self, step: Step, work: Callable[..., None]):
        slots = [option_of(slot, step) for slot in step.slots]
        one = step.takes.rstrip(".")
        takes = [click.Argument(["inputs"], nargs=-1 if one != step.takes else 1, required=True, metavar=step.takes)]
        makes = [click.Option(["-o", "--out"], required=not step.may_only_show, type=click.Path(), metavar="PATH")]
        again = [click.Option(["--overwrite"], is_flag=True)] if step.writes_again else []
        shown: dict[str, Any] = {"is_eager": True, "expose_value": False, "callback": partial(show_help, step)}
        help_ = click.Option(["-h", "--help", "chapter"], is_flag=False, flag_value="", **shown)
        everything = click.Option(["--help-all"], is_flag=True, **shown)
        params = [*(takes if one else ()), *(makes if step.makes else ()), *slots, *again, help_, everything]
        super().__init__(step.verb, callback=partial(work, step), params=params, add_help_option=False)
        self.step = step

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not any(p.name and p.name.startswith("knob__") for p in self.params):
            self.params += [flag(knob, self.step) for knob in self.step.knobs()]
        return super().get_params(ctx)

    def get_short_help_str(self, limit: int = 45) -> str:
        return self.step.summary

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if words := successor(error.option_name):
                raise click.UsageError(words, ctx) from None
            raise


def successor(name: str) -> str:
    """What took the place of a flag of earlier versions, as a sentence; empty for all others."""
    old = next((old for old in REPLACED if name.endswith(old)), "")
    new = f"; {name.removesuffix(old)}{REPLACED[old]} took its place" if REPLACED.get(old) else ""
    return f"{name} is no more{new}" if old else ""


def option_of(slot: Slot, step: Step) -> click.Option:
    """The option of a slot."""
    look = {"is_flag": True} if slot.kind == "switch" else {"metavar": slot.metavar, "multiple": slot.kind == "files"}
    return click.Option([*slot.flags, *also_called(slot.flags[-1], step), slot.name], required=slot.required, **look)


def also_called(flag: str, step: Step) -> list[str]:
    """What other programs call a flag."""
    return [f"--{other}" for other, ours in step.others if f"--{ours}" == flag]


def show_help(step: Step, ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Print what `--help`, `--help CHAPTER` or `--help-all` ask for, and end."""
    if value is None or value is False:
        return
    click.echo(pages.everything(step) if value is True else pages.chapter(step, value) if value else pages.page(step))
    ctx.exit()


def flag(knob: Knob, step: Step) -> click.Option:
    """The option of one knob: `--integrate.rejection.low`, `--overwrite / --no-overwrite`."""
    name, given_as = step.flag(knob.path), "knob__" + knob.path.replace(".", "__")
    names = [name, *also_called(name, step), given_as]
    if knob.type is bool:
        return click.Option([f"{name}/--no-{name[2:]}", given_as], default=None)
    if isinstance(knob.default, tuple):
        return click.Option(names, type=Value(knob), multiple=True, callback=joined_lists)
    return click.Option(names, type=Value(knob))


def joined_lists(ctx: click.Context, option: click.Parameter, lists: tuple[tuple[Any, ...], ...]) -> Any:
    """The items of a list whose flag is given once or several times; None when it is not given."""
    if () in lists:
        raise ParameterError(f"{option.opts[0]} is empty; was a variable not set? Give a word, or leave it out")
    return tuple(item for items in lists for item in items) if lists else None


class Value(click.ParamType):
    """A value as typed; `none` for nothing, commas between the items of a list; the process checks the rest."""

    name = "value"

    def __init__(self, knob: Knob):
        self.knob = knob

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if self.knob.optional and str(value).lower() in {"none", "off"} - set(self.knob.choices):
            return OFF
        if isinstance(self.knob.default, tuple):
            return tuple(part.strip() for part in str(value).split(",") if part.strip())
        return self.as_chosen(str(value)) if self.knob.choices and value not in self.knob.choices else value

    def as_chosen(self, value: str) -> str:
        """The choice that a word of other capitals, hyphens and blanks means, as `Lanczos-5` does; else the word."""
        found = [choice for choice in self.knob.choices if bare(str(choice)) == bare(value)]
        return str(found[0]) if len(found) == 1 else value


def bare(word: str) -> str:
    """The letters and digits of a word."""
    return "".join(c for c in word.lower() if c.isalnum())


def typed_knobs(arguments: dict[str, Any]) -> dict[str, Any]:
    """The knobs that the user set, by dotted name."""
    typed = {k[6:].replace("__", "."): v for k, v in arguments.items() if k.startswith("knob__") and v is not None}
    return {name: None if value is OFF else value for name, value in typed.items()}
