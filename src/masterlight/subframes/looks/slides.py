"""Pictures of frames with their captions, packed into a page or a GIF as they come."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from masterlight.core.stretch import Stretch, reduce_image
from masterlight.subframes.looks.blink import Blink

CAPTION_PX = 26
"""Rows below a picture for its caption, where that is part of the picture."""
FONT_PX, INK, PAPER, WRONG = 15, 225, 18, 150
PNG_LEVEL, WEBP_METHOD = 2, 0
"""Noise hardly packs: the quickest ways lose a few percent."""
GREYS = 64
"""Greys of a GIF: noise of the sky spreads over more, and with 256 the file is a third larger."""


@dataclass(frozen=True)
class Slide:
    """What is told of one frame beside its picture."""

    source: str
    facts: tuple[tuple[str, str, float | None], ...] = ()
    """Name, words and, where frames can be put in order by it, the number."""
    approved: bool | None = None
    """The verdict; None where nothing was measured or asked for."""
    words: str = ""
    """Why it is not approved, and what else is to be told."""
    reference: bool = False

    @property
    def name(self) -> str:
        return Path(self.source).name

    def caption(self, number: int, count: int) -> str:
        """One line under a picture."""
        told = [f"{number}/{count}", self.name, *(f"{name} {words}" for name, words, _ in self.facts)]
        verdict = {True: "approved", False: "rejected", None: ""}[self.approved]
        return "   ".join(filter(None, [*told, ": ".join(filter(None, [verdict, self.words]))]))


def reduce(image: np.ndarray, long_side_px: int) -> np.ndarray:
    """A frame by the means of blocks, float32."""
    return np.asarray(reduce_image(np.asarray(image), long_side_px), np.float32)


def stretches(reduced: np.ndarray) -> tuple[Stretch, ...]:
    """The stretch of each plane of a reduced frame."""
    return tuple(map(Stretch.of, reduced if reduced.ndim == 3 else reduced[None]))


def stretched(reduced: np.ndarray, by: Sequence[Stretch]) -> np.ndarray:
    """A reduced frame as uint8 (rows, cols) or (rows, cols, 3), stretched as another one or by itself."""
    planes = reduced if reduced.ndim == 3 else reduced[None]
    made = [one(plane) for one, plane in zip(by if len(by) == len(planes) else by[:1] * 3, planes, strict=False)]
    return made[0] if len(made) == 1 else np.stack(made, axis=-1)


class Show:
    """What takes pictures: `pack` in any thread, `add` of what it gave in any order, `close` at the end."""

    def __init__(self, blink: Blink, slides: Sequence[Slide], file: BinaryIO, title: str = ""):
        self.blink, self.slides, self.file, self.title = blink, slides, file, title

    def pack(self, i: int, picture: np.ndarray) -> Any:
        """A picture of slide i, uint8 (rows, cols) or (rows, cols, 3), as it is to be added."""
        raise NotImplementedError

    def add(self, i: int, packed: Any) -> None:
        """Take the picture of slide i; None where there is none."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what is left."""


class Page(Show):
    """One HTML file that works by itself: pictures are written as they come, and shown while the rest is loading."""

    def __init__(self, blink: Blink, slides: Sequence[Slide], file: BinaryIO, title: str = ""):
        super().__init__(blink, slides, file, title)
        frames = [
            {"source": s.source, "name": s.name, "facts": s.facts, "approved": s.approved, "words": s.words,
             "reference": s.reference} for s in slides
        ]  # fmt: skip
        told = {"title": title, "rate": blink.rate, "type": f"image/{blink.picture}", "frames": frames}
        data = json.dumps(told, allow_nan=False).replace("<", "\\u003c")
        head, tail = Path(__file__).with_name("blink.html").read_text("utf-8").split("<!-- pictures -->")
        head = head.replace("{{title}}", escape(title))
        self.tail = tail.encode()
        file.write(head.replace("{{data}}", data).encode("utf-8", "replace"))

    def pack(self, i: int, picture: np.ndarray) -> bytes:
        from PIL import Image

        how: dict[str, Any] = {"quality": self.blink.quality}
        how |= {"jpeg": {}, "webp": {"method": WEBP_METHOD}, "png": {"compress_level": PNG_LEVEL}}[self.blink.picture]
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, self.blink.picture, **how)
        return base64.b64encode(stream.getvalue())

    def add(self, i: int, packed: bytes | None) -> None:
        self.file.write(b'<script type="text/plain" id="p%d">%s</script>\n' % (i, packed or b""))

    def close(self) -> None:
        self.file.write(self.tail)


class InOrder(Show):
    """A show whose pictures have one size, captions in them, and are written one after the other."""

    def __init__(self, blink: Blink, slides: Sequence[Slide], file: BinaryIO, title: str = ""):
        super().__init__(blink, slides, file, title)
        self.next, self.held, self.shape = 0, dict[int, np.ndarray | None](), None

    def add(self, i: int, packed: np.ndarray | None) -> None:
        self.held[i] = packed
        while self.next in self.held:
            if (picture := self.held.pop(self.next)) is not None:
                self.push(self.fitted(picture))
            self.next += 1

    def fitted(self, picture: np.ndarray) -> np.ndarray:
        """A picture on a canvas of the size of the first one, and grey or coloured as that is."""
        self.shape = self.shape or picture.shape
        out = np.zeros(self.shape, np.uint8)
        rows, cols = (min(pair) for pair in zip(out.shape[:2], picture.shape[:2], strict=True))
        if out.ndim < picture.ndim:
            picture = picture.mean(axis=-1)
        out[:rows, :cols] = (picture if out.ndim == picture.ndim else picture[..., None])[:rows, :cols]
        return out

    def push(self, picture: np.ndarray) -> None:
        raise NotImplementedError

    def pack(self, i: int, picture: np.ndarray) -> np.ndarray:
        return captioned(picture, self.slides[i].caption(i + 1, len(self.slides)), self.slides[i].approved)


class Gif(InOrder):
    """An animated GIF."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.pictures: list[Any] = []

    def push(self, picture: np.ndarray) -> None:
        from PIL import Image

        made = Image.fromarray(picture)
        self.pictures.append(made if picture.ndim == 2 else made.quantize(256, Image.Quantize.FASTOCTREE))

    def pack(self, i: int, picture: np.ndarray) -> np.ndarray:
        step = 256 // GREYS
        return super().pack(i, picture // step * step + picture // step * step // GREYS)

    def close(self) -> None:
        first, *others = self.pictures
        how = {"save_all": True, "append_images": others, "loop": 0, "optimize": False}
        first.save(self.file, "GIF", duration=round(1000 / self.blink.rate), **how)


def captioned(picture: np.ndarray, words: str, approved: bool | None) -> np.ndarray:
    """A picture with a line of words below it; a frame that is not approved has them on a lighter ground."""
    from PIL import Image, ImageDraw

    rows, cols = picture.shape[:2]
    strip = Image.new("L", (cols, CAPTION_PX), WRONG if approved is False else PAPER)
    ink = 0 if approved is False else INK
    ImageDraw.Draw(strip).text((8, CAPTION_PX // 2), fitting(words, cols - 16), ink, font(), anchor="lm")
    line = np.asarray(strip)
    return np.concatenate([picture, line if picture.ndim == 2 else np.repeat(line[..., None], 3, axis=-1)])


def fitting(words: str, width_px: int) -> str:
    """Words cut so that they fit into so many pixels."""
    while words and font().getlength(words) > width_px:
        words = words[: max(0, min(len(words) - 2, int(len(words) * width_px / font().getlength(words))))]
    return words


@cache
def font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(FONT_PX)


SHOWS = {"page": Page, "gif": Gif}
"""What each kind of file is written by; a film needs another program, and is made by the door."""
