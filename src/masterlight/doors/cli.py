"""The command line: a page of verbs; their flags are the knobs of the processes."""

import sys
import typing
from dataclasses import replace
from pathlib import Path

import click

from masterlight import __version__
from masterlight.core.errors import MasterlightError, NothingUsable, ParameterError
from masterlight.core.process import build, from_toml, to_toml
from masterlight.doors.flags import Knobbed, given, load

NOTHING, INTERRUPTED = 2, 130


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


def recipe_of(path: str | None, arguments: dict, preset: str | None = None):
    """The recipe of a TOML file, if any, with a preset of calibration and the knobs of the command line over it."""
    from masterlight.night.recipe import Recipe

    base = Recipe()
    if path:
        try:
            base = from_toml(Recipe, Path(path).read_text(), path)
        except (OSError, UnicodeDecodeError) as error:
            raise MasterlightError(f"{path}: cannot be read as a recipe: {error}") from None
    if preset:
        from masterlight.calibration.calibrate import preset as of_name

        if not preset.startswith("light-"):
            raise ParameterError(f"the preset {preset} is for `masterlight calibrate`; lights need one of light-...")
        base = replace(base, calibrate=of_name(preset))
    return build(Recipe, given(arguments), base)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="masterlight")
def main():
    """masterlight: raw frames of the night sky in, one deep, sharp, honest image out."""


RECIPE = "masterlight.night.recipe:Recipe"
SCENARIOS = "light-bias-flat, light-dark-flat or light-scaled-dark-flat"
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
@click.option("--preset", metavar="NAME", help=f"How lights are calibrated: {SCENARIOS}; single flags go over it.")
@click.option("-q", "--quiet", is_flag=True, help="Only the result, no process console.")
def run(folder, out, recipe_path, preset, quiet, **arguments):
    """Turn the raw frames in DIR into masters and master lights.

    Exit status: 0 done, 1 done but some frames were rejected, 2 nothing usable.
    """
    from masterlight.doors.console import summary
    from masterlight.night.run import run as walk

    report = told_as_it_goes(walk(folder, out, recipe_of(recipe_path, arguments, preset)), quiet).result
    summary(report)
    sys.exit(report.exit_status)


@main.command(cls=Knobbed, process=RECIPE)
@night
@recipe_file
@click.option("--preset", metavar="NAME", help=f"How lights would be calibrated: {SCENARIOS}.")
def plan(folder, recipe_path, preset, **arguments):
    """Say what a run on DIR would do: groups, matches and why, equations, disk and memory, what the doctor finds."""
    from masterlight.core.workers import executor
    from masterlight.doctor.page import text
    from masterlight.session.plan import plan as make_plan
    from masterlight.session.scan import scan

    recipe = recipe_of(recipe_path, arguments, preset)
    found = make_plan(scan(folder), recipe.calibrate, recipe.debayer.pattern)
    click.echo(found.text())
    if found.scratch_bytes:
        click.echo("\nThe doctor has not looked at compressed and camera raw files: `masterlight doctor` unpacks them.")
    else:
        with executor(recipe.workers) as pool:
            *_, done = recipe.doctor.frames(found, pool)
        click.echo(f"\n{text(done.result)}")
    if not found.lights:
        raise NothingUsable(found.why_no_lights())


@main.command(cls=Knobbed, process=RECIPE, of="doctor", also=("calibrate", "debayer"))
@night
@click.option("-o", "--out", type=click.Path(), help="Page to write, .html, with pictures of what was found.")
def doctor(folder, out, **arguments):
    """Examine the frames in DIR: what would spoil their calibration, how much, and what to do.

    Exit status: 0 healthy or only warnings, 1 when something is wrong that stops a run.
    """
    from masterlight.core.workers import executor
    from masterlight.doctor import diagnose
    from masterlight.doctor.page import html, text
    from masterlight.io import atomic
    from masterlight.session.plan import plan as make_plan
    from masterlight.session.scan import scan

    recipe = recipe_of(None, arguments)
    found = make_plan(scan(folder), recipe.calibrate, recipe.debayer.pattern)
    if not found.groups:
        raise NothingUsable(found.why_no_lights())
    for line in (*found.warnings, *(f"left out: {rejected}" for rejected in found.rejected)):
        click.echo(f"plan       {line}")
    with executor(recipe.workers) as pool:
        findings = told_as_it_goes(diagnose(found, recipe.doctor, recipe.calibrate, pool), quiet=True).result
    click.echo(text(findings))
    if out:
        with atomic(out) as file:
            file.write(html(findings, found.name).encode())
        click.echo(f"page: {out}")
    sys.exit(1 if any(finding.severity == "error" for finding in findings) else 0)


@main.command(cls=Knobbed, process=RECIPE)
@recipe_file
def recipe(recipe_path, **arguments):
    """Print a recipe with every control explained, to be edited and given to `run -r`."""
    click.echo(to_toml(recipe_of(recipe_path, arguments)), nl=False)


@main.command(cls=Knobbed, process="masterlight.simulate:Night")
@click.argument("out", type=click.Path())
def simulate(out, **arguments):
    """Write a simulated night of raw frames, and the truth about it, to OUT."""
    from masterlight.simulate import Night
    from masterlight.simulate import simulate as write_night

    truth = told_as_it_goes(write_night(build(Night, given(arguments)), out)).result
    click.echo(
        f"{sum(map(len, truth.files.values()))} frames in {out}; the truth about them is in truth.json and truth.npz"
    )


# --- by hand ----------------------------------------------------------------------------------------------------------

GENERAL = ("workers", "memory_mb", "overwrite")
images = click.argument("files", nargs=-1, required=True, metavar="FILES...", type=click.Path())
target = click.option("-o", "--out", required=True, type=click.Path(), help="File to write.")
folder = click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write to.")
again = click.option("--overwrite", is_flag=True, help="Replace files that exist.")


def master_file(kind: str, words: str):
    return click.option(f"--{kind}", kind, metavar="FILE", type=click.Path(), help=words)


def told_as_it_goes(events, quiet: bool = False):
    """Show events as they come; the last one."""
    from masterlight.doors.console import shown

    with shown(quiet) as show:
        for event in events:
            show(event)
    return event


def make(kind: str, files, out, arguments, bias=None, dark=None) -> typing.NoReturn:
    """Make one master by hand and tell what it is like."""
    from masterlight.doors.hand import make_master

    done = told_as_it_goes(make_master(kind, files, out, recipe_of(None, arguments), bias, dark))
    report = done.result
    click.echo(report.masters[-1].quality["text"])
    sys.exit(1 if report.rejected else 0)


@main.command(cls=Knobbed, process=RECIPE, of="bias", also=("superbias", "calibrate.overscan", *GENERAL))
@images
@target
def bias(files, out, **arguments):
    """Integrate bias frames into a master bias."""
    make("bias", files, out, arguments)


@main.command(cls=Knobbed, process=RECIPE, of="dark", also=("calibrate.overscan", *GENERAL))
@images
@target
@master_file("bias", "Master bias to subtract from each dark; left out, the master dark holds the bias, as is usual.")
@click.option("--flat-dark", is_flag=True, help="These are dark frames for flats.")
def dark(files, out, bias, flat_dark, **arguments):
    """Integrate dark frames, or flat-darks, into a master dark."""
    make("flatdark" if flat_dark else "dark", files, out, arguments, bias)


@main.command(cls=Knobbed, process=RECIPE, of="flat", also=("calibrate", *GENERAL))
@images
@target
@master_file("bias", "Master bias to subtract from each flat.")
@master_file("dark", "Master flat-dark to subtract from each flat, instead of the bias.")
def flat(files, out, bias, dark, **arguments):
    """Calibrate flats with a bias or a flat-dark and integrate them into a master flat."""
    make("flat", files, out, arguments, bias, dark)


@main.command(cls=Knobbed, process="masterlight.calibration.superbias:Superbias")
@click.argument("master", metavar="MASTER_BIAS", type=click.Path())
@target
@again
@click.option(
    "--check", multiple=True, metavar="FILE", help="Bias frames to tell from whether it is better; repeat it."
)
def superbias(master, out, overwrite, check, **arguments):
    """Make the noise-free pattern of rows and columns out of a master bias."""
    from masterlight.doors.hand import make_superbias

    process = build(load("masterlight.calibration.superbias:Superbias"), given(arguments))
    told_as_it_goes(make_superbias(master, out, process, check, overwrite))


@main.command(cls=Knobbed, process="masterlight.calibration.calibrate:ImageCalibration")
@images
@folder
@click.option("--preset", metavar="NAME", help="flat-bias, flat-darkflat, light-bias-flat, light-dark-flat or "
              "light-scaled-dark-flat: the controls of that scenario; single flags go over it.")  # fmt: skip
@master_file("bias", "Master bias or superbias.")
@master_file("dark", "Master dark, or flat-dark for flats.")
@master_file("flat", "Master flat.")
@click.option("--integers", is_flag=True, help="Write whole numbers of 16 bits, with one pedestal for negative pixels.")
@again
def calibrate(files, out, preset, bias, dark, flat, integers, overwrite, **arguments):
    """Calibrate frames with master frames; each is written as NAME_c.fits."""
    from masterlight.calibration.calibrate import ImageCalibration, needs
    from masterlight.calibration.calibrate import preset as of_name
    from masterlight.doors.hand import calibrate_files

    process = build(ImageCalibration, given(arguments), of_name(preset) if preset else None)
    here = {"bias": bias, "dark": dark, "flatdark": dark, "flat": flat}
    missing = [kind for kind in (needs(preset) if preset else ()) if not here[kind]]
    if missing:
        words = " and ".join(f"--{kind.removeprefix('flat') if kind == 'flatdark' else kind} FILE" for kind in missing)
        raise ParameterError(f"the preset {preset} needs {words}")
    finish(calibrate_files(files, out, process, bias, dark, flat, integers, overwrite=overwrite))


@main.command(cls=Knobbed, process="masterlight.defects.cosmetic:CosmeticCorrection")
@images
@folder
@master_file("dark", "Master dark that shows the defective pixels.")
@master_file("defects", "List or map of defective pixels, as `masterlight defects` writes it.")
@again
def cosmetic(files, out, dark, defects, overwrite, **arguments):
    """Repair defective pixels; each frame is written as NAME_cc.fits."""
    from masterlight.doors.hand import correct_files

    process = build(load("masterlight.defects.cosmetic:CosmeticCorrection"), given(arguments))
    finish(correct_files(files, out, process, dark, defects, overwrite=overwrite))


@main.command(cls=Knobbed, process="masterlight.defects.defectmap:DefectMap")
@images
@folder
@click.option("--defects", required=True, metavar="FILE", help="Map, 0 where defective, or a list of defects.")
@again
def defectmap(files, out, defects, overwrite, **arguments):
    """Replace the pixels that a map marks, in the way you choose; each frame is written as NAME_dm.fits."""
    from masterlight.doors.hand import map_files

    process = build(load("masterlight.defects.defectmap:DefectMap"), given(arguments))
    finish(map_files(files, out, process, defects, overwrite=overwrite))


@main.command(cls=Knobbed, process="masterlight.defects.find:BadPixels")
@images
@target
@master_file("bias", "Master bias to take out of flats.")
@click.option("--dithered", is_flag=True, help="The frames behind a rejection map were dithered and not registered.")
@again
def defects(files, out, bias, dithered, overwrite, **arguments):
    """Find the defective pixels of a sensor in darks, flats, lights or rejection maps.

    Written as a map (.fits), as a list for PixInsight (.txt) or for Siril (.lst).
    """
    from masterlight.doors.hand import find_defects

    process = build(load("masterlight.defects.find:BadPixels"), given(arguments))
    told_as_it_goes(find_defects(files, out, process, bias, dithered, overwrite))


@main.command(cls=Knobbed, process="masterlight.colour.debayer:Debayer")
@images
@folder
@again
def debayer(files, out, overwrite, **arguments):
    """Make colour images of the mosaics of a colour camera; each is written as NAME_d.fits."""
    from masterlight.doors.hand import debayer_files

    process = build(load("masterlight.colour.debayer:Debayer"), given(arguments))
    finish(debayer_files(files, out, process, overwrite=overwrite))


@main.command(cls=Knobbed, process=RECIPE, of="integrate", also=GENERAL)
@images
@target
@click.option("--reference", metavar="FILE", help="Frame whose level and scale the result has. [the best weighted]")
@click.option("--roi", metavar="X,Y,W,H", help="Integrate only this part of the frames, in pixels, to try settings.")
@click.option("--slope-map", is_flag=True, help="Also keep the map of slopes of linear fit clipping.")
def integrate(files, out, reference, roi, slope_map, **arguments):
    """Integrate registered frames into one image, with its variance, coverage and rejection maps."""
    from masterlight.doors.assemble import integrate_files

    try:
        box = tuple(int(part) for part in roi.split(",")) if roi else None
    except ValueError:
        box = ()
    if box is not None and len(box) != 4:
        raise ParameterError(f"--roi {roi}: give x,y,width,height in pixels, such as 1000,800,512,512")
    recipe = recipe_of(None, arguments)
    finish(integrate_files(files, out, recipe, reference=reference, roi=box, slope_map=slope_map))


@main.command(cls=Knobbed, process="masterlight.integration.normalize:LocalNormalization")
@images
@folder
@click.option("--reference", required=True, metavar="FILE", help="Registered frame that the others shall resemble.")
@again
def normalize(files, out, reference, overwrite, **arguments):
    """Bring registered frames to the sky and scale of one of them; each is written as NAME_n.fits."""
    from masterlight.doors.assemble import normalize_files

    process = build(load("masterlight.integration.normalize:LocalNormalization"), given(arguments))
    finish(normalize_files(files, out, process, reference, overwrite=overwrite))


@main.command(cls=Knobbed, process="masterlight.integration.hdr:HDRComposition")
@images
@target
@again
def hdr(files, out, overwrite, **arguments):
    """Compose integrated images of different exposures into one in which no star is saturated."""
    from masterlight.doors.assemble import compose_files

    process = build(load("masterlight.integration.hdr:HDRComposition"), given(arguments))
    told_as_it_goes(compose_files(files, out, process, overwrite))


def finish(events) -> typing.NoReturn:
    """Show events; exit with 1 when some files were left out."""
    _, lost = told_as_it_goes(events).result
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
