"""Which measured frames belong together: those of one target, filter, exposure, size and kind of colour."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from masterlight.core.frame import Meta
from masterlight.core.headers.names import filter_key, object_key
from masterlight.core.together import same_exposure


class WithMeta(Protocol):
    """What tells the facts of a header, as a `Frame` and a `Subframe` do."""

    @property
    def meta(self) -> Meta: ...


class SubframeGroup(NamedTuple):
    """What frames must share so that their figures can be compared; "" and None where headers do not tell."""

    target: str = ""
    filter: str = ""
    exposure_s: float | None = None
    size: str = ""
    """Columns x rows, where not all frames of a table have the same."""
    colour: str = ""
    """mosaics, colour or mono, where not all frames of a table are of one kind."""

    @property
    def scene(self) -> str:
        """Target, filter and kind: what frames of all exposures share that are integrated together."""
        return ", ".join(filter(None, (self.target, self.filter, self.colour)))

    def __str__(self) -> str:
        exposure = "" if self.exposure_s is None else f"{self.exposure_s:g} s"
        return ", ".join(filter(None, (self.target, self.filter, exposure, self.size, self.colour))) or "all frames"


def groups_of(frames: Iterable[WithMeta]) -> list[SubframeGroup]:
    """The group of each frame; exposures that darks take for the same are, spelling of target and filter aside.

    Frames of another size are a group of their own, and so are mosaics beside debayered ones, whose green pixels and
    whose mean of planes have other levels, noise and widths; they are called so.
    """
    frames = list(frames)
    sizes, kinds = {frame.meta.shape[-2:] for frame in frames}, {colour_of(frame.meta) for frame in frames}
    known: dict[tuple[Any, ...], list[SubframeGroup]] = {}
    out = []
    for frame in frames:
        meta, size = frame.meta, frame.meta.shape[-2:]
        words = " x ".join(map(str, size[::-1])) if len(sizes) > 1 else ""
        kind = colour_of(meta) if len(kinds) > 1 else ""
        mine = SubframeGroup(meta.object or "", meta.filter or "", meta.exposure_s, words, kind)
        alike = known.setdefault((*spelling(mine), size), [])
        found = next((group for group in alike if same_time(group.exposure_s, mine.exposure_s)), None)
        if found is None:
            alike.append(found := mine)
        out.append(found)
    return out


def spelling(group: SubframeGroup) -> tuple[str, str, str]:
    """Names of target and filter without what people spell differently, and the kind of colour."""
    return object_key(group.target), filter_key(group.filter), group.colour


def colour_of(meta: Meta) -> str:
    """What kind of picture a frame is, as one calls several of them."""
    return "colour" if len(meta.shape) == 3 else "mosaics" if meta.pattern else "mono"


def same_time(a: float | None, b: float | None) -> bool:
    """Whether two exposures in seconds are the same; one that nobody knows is like no other."""
    return a is b if a is None or b is None else same_exposure(a, b)
