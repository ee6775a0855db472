"""The public names of masterlight: this list is read by the lazy import, by editors and by type checkers."""

from masterlight.alignment.align import StarAlignment as StarAlignment
from masterlight.alignment.comet.follow import CometAlignment as CometAlignment
from masterlight.alignment.transform import Transform as Transform
from masterlight.calibration.calibrate import ImageCalibration as ImageCalibration
from masterlight.calibration.superbias import Superbias as Superbias
from masterlight.colour.debayer import Debayer as Debayer
from masterlight.core.errors import FrameError as FrameError
from masterlight.core.errors import MasterlightError as MasterlightError
from masterlight.core.errors import NothingUsable as NothingUsable
from masterlight.core.errors import OutputError as OutputError
from masterlight.core.errors import ParameterError as ParameterError
from masterlight.core.errors import Rejected as Rejected
from masterlight.core.frame import ArrayFrame as ArrayFrame
from masterlight.core.frame import Frame as Frame
from masterlight.core.frame import Meta as Meta
from masterlight.core.process import build as build
from masterlight.core.process import card as card
from masterlight.core.process import from_toml as from_toml
from masterlight.core.process import knobs as knobs
from masterlight.core.process import process as process
from masterlight.core.process import to_toml as to_toml
from masterlight.core.workers import Event as Event
from masterlight.core.workers import executor as executor
from masterlight.defects.cosmetic import CosmeticCorrection as CosmeticCorrection
from masterlight.defects.defectmap import DefectMap as DefectMap
from masterlight.defects.find import BadPixels as BadPixels
from masterlight.doors.hand.choose import choose_files as choose_files
from masterlight.drizzle.drizzle import DrizzleIntegration as DrizzleIntegration
from masterlight.integration.hdr import HDRComposition as HDRComposition
from masterlight.integration.integrate import ImageIntegration as ImageIntegration
from masterlight.integration.normalize import LocalNormalization as LocalNormalization
from masterlight.integration.rejection import Rejection as Rejection
from masterlight.io import read as read
from masterlight.io import write as write
from masterlight.night.recipe import Recipe as Recipe
from masterlight.night.run import run as run
from masterlight.processes import PROCESSES as PROCESSES
from masterlight.processes import replay as replay
from masterlight.session.planner import plan as plan
from masterlight.session.rules import Match as Match
from masterlight.session.scan import scan as scan
from masterlight.simulate.night import Night as Night
from masterlight.simulate.truth import simulate as simulate
from masterlight.subframes.looks.blink import Blink as Blink
from masterlight.subframes.select import SubframeSelector as SubframeSelector

__version__: str
WHERE: dict[str, str]
