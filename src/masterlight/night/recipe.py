"""`Recipe`: the processes of a night in their order, with every control."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.comet.follow import CometAlignment
from masterlight.calibration.calibrate import ImageCalibration
from masterlight.calibration.superbias import Superbias
from masterlight.colour.debayer import Debayer
from masterlight.core.knob import Usual, When
from masterlight.core.process import process
from masterlight.core.workers import check_workers
from masterlight.defects.cosmetic import CosmeticCorrection
from masterlight.doctor.process import Doctor
from masterlight.drizzle.drizzle import DrizzleIntegration
from masterlight.integration.integrate import ImageIntegration, MasterIntegration
from masterlight.session.rules import Matches, Split
from masterlight.subframes.select import SubframeSelector

Folders = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
Megabytes = Annotated[int, Field(ge=300, le=100_000_000)]


@process
class Recipe:
    """Every process of a night, in its order, with every control."""

    bias: MasterIntegration = MasterIntegration.for_bias()
    """How bias frames become the master bias."""
    superbias: Superbias = Superbias()
    """Whether and how the master bias is replaced by its pattern of rows and columns."""
    dark: MasterIntegration = MasterIntegration.for_dark()
    """How darks and flat-darks become masters."""
    flat: MasterIntegration = MasterIntegration.for_flat()
    """How calibrated flats become the master flat."""
    calibrate: ImageCalibration = ImageCalibration()
    """How masters are taken out of flats and lights."""
    cosmetic: CosmeticCorrection = CosmeticCorrection()
    """How pixels that the master dark shows to be defective are repaired."""
    defects: str | None = None
    """File with a list or map of defective pixels, besides those that the master dark shows."""
    debayer: Debayer = Debayer()
    """How the mosaics of a colour camera become colour images."""
    select: SubframeSelector = SubframeSelector()
    """How lights are measured and approved."""
    align: StarAlignment = StarAlignment()
    """How lights are matched with the reference and resampled."""
    comet: CometAlignment = CometAlignment()
    """Whether and how a comet is followed over the stars; it becomes images of its own beside the master light."""
    integrate: ImageIntegration = ImageIntegration()
    """How aligned lights become the master light."""
    drizzled: bool = False
    """Also make a master light on a finer grid by drizzle, from the same lights with what was rejected left out."""
    drizzle: Annotated[DrizzleIntegration, When(drizzled=True)] = DrizzleIntegration()
    """How lights are dropped onto the finer grid."""
    bias_dir: Folders = ()
    """Folders or patterns (cal/B_*.fits) whose frames are bias frames, whatever headers and names say; they are scanned
    too where they lie outside of the night's folder. Several with commas between, or the flag several times."""
    dark_dir: Folders = ()
    """The same for darks."""
    flat_dir: Folders = ()
    """The same for flats."""
    light_dir: Folders = ()
    """The same for lights."""
    reference: Annotated[str | None, Usual("the best")] = None
    """Light to align to and to normalize with, by its name; the best one when left out. Or the path of another file,
    such as the master light of an earlier night, on whose grid those are laid that show its stars."""
    match: Matches = ()
    """Masters that some lights or flats shall have, in place of the best that is found: tables `[[match]]` of a recipe,
    or as words `lights=GLOB; flat=GLOB`, with a comma between two of them."""
    rotator_deg: Annotated[float, Field(ge=0, le=180)] = 2.0
    """Flats and lights belong together whose rotator stood within so many degrees."""
    split_by: Split = "auto"
    """What keeps lights of one target and filter apart, which else become one master light whatever took them: nothing,
    binning, or instrument, that is camera, telescope and how they were used; auto keeps those of a sensor apart that no
    master fits, where the others are calibrated."""
    workers: Annotated[str, AfterValidator(check_workers)] = "threads"
    """Where to compute: serial, threads, threads:N, dask://host:port."""
    memory_mb: Annotated[Megabytes | None, Usual("a quarter of the machine's")] = None
    """Memory to stay within, in MB; a quarter of the machine's when left out."""
    doctor: Doctor = Doctor()
    """What the doctor looks for, and from where on it is wrong."""
    force: bool = False
    """Go on in spite of errors that the doctor finds, or with frames whose stars do not lie on each other."""
    overwrite: bool = False
    """Replace what earlier runs made, masters included; otherwise that stays, and what differs gets another name."""

    @property
    def kind_dirs(self) -> dict[str, tuple[str, ...]]:
        """The folders and patterns that decide the kind of their frames, by the name of the knob: for `scan`."""
        return {name: getattr(self, name) for name in ("bias_dir", "dark_dir", "flat_dir", "light_dir")}
