"""The dark of a set of lights, and its bias: which fits, which may be scaled, which shows hot pixels and no more."""

import math

from masterlight.core.together import differences, same_current
from masterlight.session.chooser import Chooser
from masterlight.session.groups import Group
from masterlight.session.matching import Choice, choose

SAME_PIXELS = "camera", "size", "region", "binning", "colour pattern"
"""What a dark must share with lights for its hot pixels to be theirs."""


def level_and_current(chooser: Chooser, group: Group) -> tuple[Group | None, Group | None, bool]:
    """(bias, dark, whether the dark is scaled) for lights, as far as there are any."""
    done, wanted = set(group.meta.calibration), chooser.calibrate
    bias, scaled = None, False
    asked = (wanted.dark_scaling in ("fit", "exposure") or wanted.dark_scale is not None) and wanted.use_dark
    may_scale = wanted.use_bias and not set("BD") & done
    if asked and may_scale:
        bias = chooser.pick("bias", group)
        if bias is None:
            why = chooser.why_not("bias", group)
            chooser.warn(f"darks can be scaled only with bias frames, and none fit{why}; add some", group, why)
    dark = dark_for_lights(chooser, group, bias is not None) if "D" not in done and wanted.use_dark else None
    if wanted.dark_scaling == "auto" and wanted.use_dark and not asked and may_scale:
        bias, dark, scaled = scaled_by_itself(chooser, group, dark)
    scaled = scaled or (bias is not None and dark is not None)
    if not scaled:
        needed = wanted.use_bias and not set("BD") & done and (dark is None or not dark.contains_bias)
        bias = (bias or chooser.pick("bias", group)) if needed else None
    if dark is not None and not dark.contains_bias and bias is None and "B" not in done and not has_level(group):
        why = chooser.why_not("bias", group)
        chooser.warn(f"{dark} has no bias in it and no bias frames fit{why}, so it is unused; add some", group, why)
        dark = None
    elif bias is None and dark is None and (why := chooser.why_not("bias", group)):
        chooser.warn(f"no matching bias{why}; their bias level stays in the picture", group, why)
    return bias, dark, scaled


def scaled_by_itself(chooser: Chooser, group: Group, dark: Group | None) -> tuple[Group | None, Group | None, bool]:
    """(bias, dark, True) where only a dark of another exposure or temperature is there, and a bias to scale it by.

    A dark that fits as it is stays as it is: (None, dark, False). One that the recipe names is scaled like others.
    """
    if dark is not None and same_current(group.meta, dark.meta):
        return None, dark, False
    before = list(chooser.choices)
    bias = chooser.pick("bias", group)
    unfit = [one for one in chooser.groups["dark"] if chooser.is_disputed(one)]
    scaled = chooser.pick("dark", group, scaled=True, unfit=unfit) if bias is not None else None
    if scaled is None:
        chooser.choices = before
        return None, dark, False
    chooser.choices = [c for c in chooser.choices if c.chosen or not same_need(c, "dark", group)]
    return bias, scaled, True


def dark_for_lights(chooser: Chooser, group: Group, scaled: bool) -> Group | None:
    """The dark that fits; None, with a warning, where it holds a bias that is subtracted already."""
    dark = chooser.pick("dark", group, scaled=scaled)
    if dark is None:
        return None
    if dark.is_master and dark.meta.contains_bias is None:
        chooser.warn(f"{dark} does not say whether the bias is in it; taken to hold it, as masters usually do")
    if dark.contains_bias and "B" in group.meta.calibration:
        chooser.warn(f"their bias is subtracted already, {dark} still holds it and is not used", group)
        return None
    return dark


def tell_missing_dark(chooser: Chooser, group: Group) -> None:
    """Warn that no dark fits: why, and what would be needed."""
    if chooser.goes_without("dark", group) or any(c.chosen for c in chooser.choices if same_need(c, "dark", group)):
        return
    wanted = [word for word in group.labels if word.endswith((" s", " °C")) or word.startswith(("gain", "bin"))]
    wanted += [f"offset {group.meta.offset:g}"] if group.meta.offset is not None else []
    why = chooser.why_not("dark", group)
    way = ", or bias frames to scale it by"
    if chooser.calibrate.dark_scaling == "none":
        way = "; darks are scaled only when ImageCalibration.dark_scaling says so"
    way = way if choose("dark", group, chooser.groups["dark"], scaled=True)[0] else ""
    todo = f"add darks of {' '.join(wanted) or 'the same settings'}{way}"
    chooser.warn(f"no matching dark{why}; {todo}", group, why)


def dark_showing_hot_pixels(chooser: Chooser, group: Group) -> Group | None:
    """The dark nearest in exposure among all of the same sensor, whatever else it is; None where none is wanted."""
    if not chooser.calibrate.use_dark or "D" in group.meta.calibration or chooser.goes_without("dark", group):
        return None
    wanted_s = group.exposure_s or 1.0

    def apart(dark: Group) -> float:
        return abs(math.log((dark.exposure_s or wanted_s) / wanted_s))

    clear = [dark for dark in chooser.groups["dark"] if not chooser.is_disputed(dark)]
    same = [dark for dark in clear if not any(differences(group.meta, dark.meta, SAME_PIXELS))]
    return min(same, key=apart, default=None)


def same_need(choice: Choice, need: str, target: Group) -> bool:
    """Whether a choice was made for this need of a group."""
    return (choice.need, choice.target) == (need, str(target))


def has_level(group: Group) -> bool:
    """Whether frames carry their own bias level: an overscan, or what the camera says of its black."""
    return bool(group.meta.overscan_px or group.meta.black_dn or "O" in group.meta.calibration)
