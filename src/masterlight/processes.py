"""The processes by name, and the table of steps: each row is a process as something one can do, by itself or by night.

From a row come a verb of the command line with its flags and help, the run over files, and the names of what is
written. Classes are named, not imported, so that the table costs nothing to read. To add a step: a knob class, what it
does as a function of its engine, a row here; `doors.hand.steps` is touched only if masters or the like are to be made
ready.
"""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import masterlight

if TYPE_CHECKING:
    from masterlight.core.knob import Knob

NAMES = (
    "ImageCalibration", "Superbias", "BadPixels", "CosmeticCorrection", "DefectMap", "Debayer", "SubframeSelector",
    "Blink", "StarAlignment", "CometAlignment", "LocalNormalization", "ImageIntegration", "DrizzleIntegration",
    "HDRComposition",
)  # fmt: skip
PROCESSES: dict[str, str] = {name: masterlight.WHERE[name].partition(".")[2] for name in NAMES}
"""Every process by its name, and the module that holds it."""


def load(name: str) -> type:
    """The process class of this name."""
    found: type = getattr(masterlight, name)
    return found


def replay(card: str) -> object:
    """The process that a provenance card tells of, equal to the one that wrote it."""
    for name in json.loads(card):
        if name in PROCESSES:
            load(name)
    from masterlight.core import process

    return process.replay(card)


@dataclass(frozen=True)
class Slot:
    """What a step takes besides frames and knobs: a master, a list, a reference, check frames, a word, a switch."""

    name: str
    words: str
    kind: Literal["file", "files", "word", "switch"] = "file"
    required: bool = False
    letter: str = ""
    """Its short flag: `q` for -q."""
    metavar: str = "FILE"

    @property
    def flags(self) -> list[str]:
        """How the command line calls it: `-q`, `--quiet`."""
        return ([f"-{self.letter}"] if self.letter else []) + [f"--{self.name.replace('_', '-')}"]


@dataclass(frozen=True)
class Step:
    """A process as something one can do."""

    verb: str
    process: str
    """The class that holds its knobs."""
    summary: str
    """What it does to images, in one line."""
    example: str
    turned: tuple[str, ...]
    """The knobs that people turn, by their flags, with _ for -; its help shows these."""
    slots: tuple[Slot, ...] = ()
    takes: str = "FILES..."
    """What it works on."""
    makes: str = "File to write."
    """What comes out: words of the flag --out; empty when there is none."""
    ending: str = ""
    """What is added to the name of each file; a step without makes one file of many."""
    of: str = ""
    """The process in a recipe whose knobs are flags, without its name; all when empty."""
    also: tuple[str, ...] = ()
    """Other knobs of the recipe that are flags."""
    plain: str = ""
    """A process inside of it whose knobs are flags without its name, too, as they are of a verb of its own."""
    words: str = ""
    """What else its help says."""
    switched: str = ""
    """A switch of the recipe that is on for this verb."""
    others: tuple[tuple[str, str], ...] = ()
    """Flags as another program calls the parameter, and what it is called here; both are taken."""
    implied: tuple[tuple[str, str, str], ...] = ()
    """Knobs that do something only beside another: its path, that of the other, and what that becomes if not given."""
    by_hand: bool = True
    may_only_show: bool = False
    """Whether it does something without --out, too."""

    @property
    def writes_again(self) -> bool:
        """Whether --overwrite is a switch of the verb itself, there being no recipe that holds it."""
        return self.by_hand and not self.also

    def knobs(self) -> "list[Knob]":
        """The knobs that are flags of this verb; the class that holds them is imported now."""
        from masterlight.core.process import knobs

        fields = (self.of and f"{self.of}.", *(f"{field}." for field in self.also))
        return [knob for knob in knobs(load(self.process)) if f"{knob.path}.".startswith(fields)]

    def flag(self, path: str) -> str:
        """How this verb calls a knob: `--rejection.low` for `integrate.rejection.low` of `masterlight integrate`."""
        for inside in filter(None, (self.of, self.plain)):
            path = path.removeprefix(f"{inside}.")
        return "--" + path.replace("_", "-")

    def with_flags(self, text: str) -> str:
        """A message in the words of this verb: what it calls `ImageIntegration.weights` and `bias=`, as in Python,
        becomes the flag; of what is no flag of this verb the name stays."""
        if not MARK.search(text):
            return text
        slots = {slot.name for slot in self.slots} | ({"out"} if self.makes else set())
        slots |= {"overwrite"} if self.by_hand else set()
        paths = self.marks()

        def flag(mark: re.Match[str]) -> str:
            path, slot = paths.get((mark["owner"], mark["path"])), mark["slot"]
            return self.flag(path) if path else f"--{slot.replace('_', '-')}" if slot in slots else mark[0]

        return MARK.sub(flag, text)

    def marks(self) -> dict[tuple[str, str], str]:
        """The path of each knob of this verb, by every process that it is in and its path from there on."""
        from masterlight.core.process import usual_of

        found: dict[tuple[str, str], str] = {}
        for knob in self.knobs():
            cls, names = load(self.process), knob.path.split(".")
            for i, name in enumerate(names):
                found.setdefault((cls.__name__, ".".join(names[i:])), knob.path)
                cls = type(usual_of(cls, name))
        return {(LIKE.get(owner, owner), path): knob for (owner, path), knob in found.items()} | found


MARK = re.compile(
    r"\b(?P<owner>[A-Z][A-Za-z]+)\.(?P<path>[a-z_]+(?:\.[a-z_]+)*)|\b(?P<slot>[a-z_]+)=(?:True\b|(?![\w'\"=]))"
)
"""How messages call a knob, by its process and path, and what else a step takes."""
LIKE = {"MasterIntegration": "ImageIntegration", "MasterRejection": "Rejection"}
"""Processes that hold part of another's knobs, where there is only the part."""


RECIPE, GENERAL = "Recipe", ("workers", "memory_mb", "overwrite")
FOLDER = "Folder to write to."
CLIPPING = "combination", "rejection.algorithm", "rejection.low", "rejection.high"
NIGHT_KNOBS = (
    "calibrate.dark_scaling", "cosmetic.hot", "debayer.method", "select.approve",
    "integrate.rejection.algorithm", "integrate.rejection.low", "integrate.rejection.high", "integrate.weights",
    "reference", "drizzled", "memory_mb",
)  # fmt: skip
KIND_DIRS = "bias_dir", "dark_dir", "flat_dir", "light_dir"
FILE = Slot("recipe", "A recipe as `masterlight recipe` writes it.", letter="r")
SCENARIO = Slot("preset", "light-bias-flat, light-dark-flat, light-scaled-dark-flat", "word", metavar="NAME")


STEPS = {step.verb: step for step in (
    Step(
        "simulate", "Night", "Write a simulated night of raw frames, and its truth, to OUT.",
        "masterlight simulate night --rows 600 --cols 900 --lights 20 --filters L,Ha",
        ("rows", "cols", "lights", "biases", "darks", "flats", "filters", "exposure_s", "fwhm_px", "pattern", "trails",
         "cloudy", "dialect", "seed"),
        takes="OUT", makes="", by_hand=False,
    ),
    Step(
        "doctor", RECIPE, "Examine the frames in DIR: what would spoil them, and what to do.",
        "masterlight doctor ~/nights/m31 -o m31.html",
        ("off", "calibrate.dark_scaling", "calibrate.overscan.model", "debayer.pattern", "workers"),
        takes="DIR", makes="Page to write, .html, with pictures of what was found.", of="doctor",
        also=("calibrate", "debayer", "match", "rotator_deg", "workers", *KIND_DIRS), by_hand=False, may_only_show=True,
        words="Exit status: 0 healthy or only warnings, 1 when something is wrong that stops a run.",
    ),
    Step(
        "plan", RECIPE, "Say what a run on DIR would do: matches, equations, disk, memory.",
        "masterlight plan ~/nights/m31 --preset light-bias-flat", NIGHT_KNOBS, (FILE, SCENARIO), takes="DIR...",
        makes="", by_hand=False, words="Where headers lie: --bias-dir, --dark-dir, --flat-dir, --light-dir.",
    ),
    Step(
        "run", RECIPE, "Turn the raw frames in DIR into masters and master lights.",
        "masterlight run ~/nights/m31 --out ~/m31 --integrate.rejection.low 3.5", NIGHT_KNOBS,
        (FILE, SCENARIO, Slot("quiet", "Only the result, no process console.", "switch", letter="q")), takes="DIR...",
        makes="Folder for the masters, the master lights and the report.", by_hand=False,
        others=(("comet", "comet.positions"),),
        words="Exit status: 0 done, 1 done without some frames or reports, 2 nothing usable.",
    ),
    Step(
        "recipe", RECIPE, "Print a recipe, every knob explained, to be given to `run -r`.",
        "masterlight recipe --integrate.weights psf-snr > night.toml", NIGHT_KNOBS, (FILE,), takes="", makes="",
        by_hand=False,
    ),
    Step(
        "bias", RECIPE, "Integrate bias frames into a master bias.", "masterlight bias night/BIAS -o bias.fits",
        (*CLIPPING, "superbias.use", "calibrate.overscan.model", "memory_mb", "overwrite", "force"),
        of="bias", also=("superbias", "calibrate.overscan", "calibrate.units", "doctor", "force", *GENERAL),
    ),
    Step(
        "dark", RECIPE, "Integrate dark frames, or flat-darks, into a master dark.",
        "masterlight dark night/DARK -o dark.fits",
        (*CLIPPING, "calibrate.overscan.model", "memory_mb", "overwrite", "force"),
        (Slot("bias", "Master bias to subtract from each; left out, the master dark holds the bias, as is usual."),
         Slot("flat_dark", "These are dark frames for flats.", "switch")),
        of="dark", also=("calibrate.overscan", "calibrate.units", "doctor", "force", *GENERAL),
    ),
    Step(
        "flat", RECIPE, "Calibrate flats by bias or flat-dark; integrate a master flat.",
        "masterlight flat night/FLAT -o flat.fits --bias bias.fits",
        (*CLIPPING, "normalization", "calibrate.overscan.model", "memory_mb", "overwrite", "force"),
        (Slot("bias", "Master bias to subtract from each flat."),
         Slot("dark", "Master flat-dark to subtract from each flat, instead of the bias.")),
        of="flat", also=("calibrate", "doctor", "force", *GENERAL),
    ),
    Step(
        "superbias", "Superbias", "Make the noise-free pattern of columns of a master bias.",
        "masterlight superbias bias.fits -o superbias.fits --check night/BIAS",
        ("columns", "rows", "layers", "transform", "trimming", "sections_across", "sections_down"),
        (Slot("check", "Bias frames to tell from whether it is better; repeat it.", "files"),), takes="MASTER_BIAS",
    ),
    Step(
        "calibrate", "ImageCalibration", "Calibrate frames with masters; each is written as NAME_c.fits.",
        "masterlight calibrate night/LIGHT -o lights --dark dark.fits --flat flat.fits",
        ("dark_scaling", "dark_scale", "overscan.model", "overscan.region", "black_level", "units", "pedestal_dn",
         "force"),
        (Slot("bias", "Master bias or superbias."), Slot("dark", "Master dark, or flat-dark for flats."),
         Slot("flat", "Master flat."),
         Slot("preset", "flat-bias, flat-darkflat, light-bias-flat, light-dark-flat or light-scaled-dark-flat: the "
              "controls of that scenario.", "word", metavar="NAME"),
         Slot("integers", "Write whole numbers of 16 bits, with one pedestal for negative pixels.", "switch")),
        makes=FOLDER, ending="_c",
    ),
    Step(
        "cosmetic", "CosmeticCorrection", "Repair defective pixels; each frame is written as NAME_cc.fits.",
        "masterlight cosmetic calibrated -o clean --dark dark.fits",
        ("hot", "cold", "hot_dn", "cold_dn", "hot_count", "cold_count", "hot_auto", "cold_auto", "amount", "cfa"),
        (Slot("dark", "Master dark that shows the defective pixels."),
         Slot("defects", "List or map of defective pixels, as `masterlight defects` writes it.")),
        makes=FOLDER, ending="_cc",
    ),
    Step(
        "defects", "BadPixels", "Find a sensor's defective pixels in darks, flats, lights, stacks.",
        "masterlight defects dark.fits night/FLAT -o sensor.fits",
        ("hot", "cold", "unstable", "flat", "lights", "present", "spike", "line", "cfa"),
        (Slot("bias", "Master bias to take out of flats."),
         Slot("dithered", "The frames behind a rejection map were dithered and not registered.", "switch")),
        makes="Map (.fits), list for PixInsight (.txt) or for Siril (.lst).",
    ),
    Step(
        "defectmap", "DefectMap", "Replace the pixels that a map marks; written as NAME_dm.fits.",
        "masterlight defectmap lights -o clean --defects sensor.fits --operation mean",
        ("operation", "structure", "cfa"),
        (Slot("defects", "Map, 0 where defective, or a list of defects.", required=True),), makes=FOLDER, ending="_dm",
    ),
    Step(
        "debayer", "Debayer", "Make colour images of mosaics; each is written as NAME_d.fits.",
        "masterlight debayer clean -o colour --method vng", ("method", "directions", "pattern", "xtrans_passes"),
        makes=FOLDER, ending="_d",
    ),
    Step(
        "subframes", "SubframeSelector", "Measure frames; approve and weigh them, and say what comes of it.",
        'masterlight subframes lights --approve "FWHM < 4 && Eccentricity < 0.6"',
        ("approve", "weight", "scale_arcsec", "data_unit"),
        (Slot("table", "Table to write: .csv, .ecsv or .json."),
         Slot("list", "List of the approved, .txt; other verbs take @FILE."),
         Slot("page", "Page to write, .html: table and plots, works offline."),
         Slot("plots", "Folder for plots as PNG and SVG.", metavar="DIR"),
         Slot("sort", "Column to sort by, best first; -NAME: worst first.", "word", metavar="NAME"),
         Slot("explain", "A frame: how it comes to its verdict and weight.", "word"),
         Slot("fresh", "Measure anew what is known from before, too.", "switch"),
         Slot("keyword", "What holds the weight in copies [SSWEIGHT].", "word", metavar="NAME"),
         Slot("prefix", "Before the names of copies.", "word", metavar="TEXT"),
         Slot("postfix", "Behind the names of copies [_a].", "word", metavar="TEXT"),
         Slot("keep", "Approve by hand: a name or pattern; repeat it.", "files", metavar="NAME"),
         Slot("leave_out", "The same, not to approve.", "files", metavar="NAME"),
         Slot("forecast", "Tell what an integration will give, by weights.", "switch"),
         Slot("weights", "point, noise or sharp, instead of a formula.", "word", metavar="NAME"),
         Slot("give", "Percent of depth that sharp gives away [1].", "word", metavar="PERCENT")),
        makes="Folder for copies of the approved frames.", may_only_show=True,
        words="Exit status: 0 done, 1 done without some files, 2 nothing usable.",
    ),
    Step(
        "blink", "Blink", "Show frames one after the other: a page to mark them in, a GIF, a film.",
        "masterlight blink lights -o night.html",
        ("registered", "stretch", "width_px", "quality", "rate", "measured", "approve", "weight"),
        (Slot("reference", "Frame on which all are laid, and as which they are stretched; the best if left out."),
         Slot("fresh", "Measure all frames anew.", "switch")),
        makes="Page (.html), GIF (.gif) or film (.mp4, by ffmpeg) to write.", plain="select",
    ),
    Step(
        "normalize", "LocalNormalization", "Bring registered frames to the sky of one of them: NAME_n.fits.",
        "masterlight normalize registered -o normalized --reference best.fits",
        ("scale_px", "no_scale", "local_scale", "min_stars", "reference_rejection", "target_rejection", "sampling_px"),
        (Slot("reference", "Registered frame that the others shall resemble.", required=True),),
        makes=FOLDER, ending="_n",
    ),
    Step(
        "align", RECIPE, "Lay frames on one of them by their stars; each is written as NAME_r.fits.",
        "masterlight align clean -o registered --interpolation lanczos5",
        ("model", "interpolation", "clamping", "clamp_threshold", "frame", "crop", "comet.positions", "max_stars",
         "select.sigma", "memory_mb", "overwrite"),
        (Slot("reference", "Frame on which all are laid, of any filter; the best if left out."),
         Slot("transforms_only", "Write no pixels, only transforms.json.", "switch"),
         Slot("on_failure", "continue, or stop where a frame cannot be laid there.", "word", metavar="WORD")),
        makes="Folder for the registered frames and transforms.json.", ending="_r", of="align",
        also=("comet", "select", "debayer", "calibrate.units", "doctor", "force", *GENERAL),
        others=(
            ("pixel-interpolation", "interpolation"), ("clamping-threshold", "clamp-threshold"),
            ("distortion-correction", "distortion"), ("distortion-max-iterations", "distortion-iterations"),
            ("distortion-tolerance", "distortion-tolerance-px"), ("reference-image", "reference"),
            ("on-error", "on-failure"), ("comet", "comet.positions"),
        ),
        implied=(("align.clamp_threshold", "align.clamping", "pixinsight"),),
        words="Exit status: 0 done, 1 done without some frames, 2 nothing usable.",
    ),
    Step(
        "integrate", RECIPE, "Integrate registered frames into one image, with its maps.",
        "masterlight integrate registered/*.fits -o deep.fits --weights psf-snr",
        (*CLIPPING, "normalization", "weights", "scale", "rejection.large_scale.trails", "memory_mb", "overwrite"),
        (Slot("reference", "Frame whose level and scale the result has; the best weighted if left out."),
         Slot("roi", "Integrate only this part of the frames, in pixels, to try settings.", "word", metavar="X,Y,W,H"),
         Slot("slope_map", "Also keep the map of slopes of linear fit clipping.", "switch"),
         Slot("transforms", "List of `align`: FILES are calibrated, and lie as it tells.")),
        of="integrate", also=("calibrate.units", "force", *GENERAL),
    ),
    Step(
        "drizzle", RECIPE, "Drop calibrated frames onto a finer grid, as their transforms tell.",
        "masterlight drizzle clean -o fine.fits --transforms registered/transforms.json",
        ("scale", "drop_shrink", "kernel", "cfa", "rejection", "weighting", "integrate.rejection.low",
         "integrate.rejection.high", "integrate.weights", "memory_mb", "overwrite"),
        (Slot("transforms", "List of `align`, or a folder of frames that it registered.", required=True),),
        of="drizzle", also=("integrate", "calibrate.units", "force", *GENERAL), switched="drizzled",
    ),
    Step(
        "hdr", "HDRComposition", "Compose exposures into one image that saturates nowhere.",
        "masterlight hdr long.fits short.fits -o hdr.fits",
        ("threshold", "smoothness", "growth", "replace_large_scales", "auto_exposures", "reject_black"),
    ),
)}  # fmt: skip
"""Everything one can do, in the order of the story: a night first, then each process by hand."""
