"""Flags made of knobs: each parameter of a process becomes an option of a command, with its words and its default."""

import importlib
import typing

import click

from masterlight.core.process import Knob, knobs

OFF = object()
"""What `none` on the command line becomes: the knob is switched off, which is not the same as not given."""


class Knobbed(click.Command):
    """A command with one flag for every knob of a process, which is imported when the flags are needed."""

    def __init__(self, *args, process: str, of: str = "", also: tuple[str, ...] = (), **kwargs):
        """process: where the class is, `module:Class`; of: the field whose knobs are flags, without its name; all
        when empty; also: other fields whose knobs are."""
        super().__init__(*args, **kwargs)
        self.process, self.of, self.also = process, of and f"{of}.", also

    def get_params(self, ctx):
        if not any(p.name.startswith("knob__") for p in self.params):
            fields = (self.of, *(f"{field}." for field in self.also))
            wanted = [knob for knob in knobs(load(self.process)) if f"{knob.path}.".startswith(fields)]
            self.params += [flag(knob, self.of) for knob in wanted]
        return super().get_params(ctx)


def load(where: str) -> type:
    """The class at `module:Class`."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def flag(knob: Knob, of: str = "") -> click.Option:
    """The option of one knob: `--integrate.rejection.low FLOAT`, `--overwrite / --no-overwrite`; with its words."""
    name, given_as = knob.path.removeprefix(of).replace("_", "-"), "knob__" + knob.path.replace(".", "__")
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
