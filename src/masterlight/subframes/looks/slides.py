"""Pictures of frames with their captions, packed into a page or a GIF as they come."""

import base64
import io
import json
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from masterlight.core.frame import Frame, frame_of
from masterlight.core.stretch import Stretch, block_px, mean_blocks
from masterlight.subframes.looks.blink import Blink
from masterlight.subframes.looks.slide import Show, Slide

BAND_PIXELS = 1 << 18
"""Pixels that are reduced at once: they stay in the cache of a core."""
LINE_PX, CAPTION_PX = 20, 46
"""Rows below a picture for its caption, where that is part of the picture."""
FONT_PX, INK, PAPER, WRONG = 15, 225, 18, 150
PNG_LEVEL, WEBP_METHOD = 2, 0
"""Noise hardly packs: the quickest ways lose a few percent."""
GREYS = 64
"""Greys of a GIF: noise of the sky spreads over more, and with 256 the file is a third larger."""


def reduce(frame: Frame | np.ndarray, long_side_px: int) -> np.ndarray:
    """A frame by the means of blocks, float32; a few rows of it are in memory at once."""
    frame = frame_of(frame)
    rows, cols = frame.shape[-2:]
    k = block_px(frame.shape, long_side_px)
    if k <= 1 or rows < k:
        return np.asarray(mean_blocks(np.asarray(frame), k), np.float32)
    height, end = k * max(1, BAND_PIXELS // (k * cols)), rows - rows % k
    bands = (frame.pixels(y, min(y + height, end), 0, cols) for y in range(0, end, height))
    return np.concatenate([mean_blocks(band, k) for band in bands], axis=-2, dtype=np.float32)


def stretches(reduced: np.ndarray) -> tuple[Stretch, ...]:
    """The stretch of each plane of a reduced frame."""
    return tuple(map(Stretch.of, reduced if reduced.ndim == 3 else reduced[None]))


def stretched(reduced: np.ndarray, by: Sequence[Stretch]) -> np.ndarray:
    """A reduced frame as uint8 (rows, cols) or (rows, cols, 3), stretched as another one or by itself."""
    planes = reduced if reduced.ndim == 3 else reduced[None]
    made = [one(plane) for one, plane in zip(by if len(by) == len(planes) else by[:1] * 3, planes, strict=False)]
    return made[0] if len(made) == 1 else np.stack(made, axis=-1)


class Page(Show):
    """One HTML file that works by itself: pictures are written as they come, and shown while the rest is loading."""

    def __init__(self, blink: Blink, slides: Sequence[Slide], file: BinaryIO, title: str = ""):
        super().__init__(slides, file, title)
        self.blink = blink
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

    def pack(self, i: int, reduced: np.ndarray, by: Sequence[Stretch]) -> bytes:
        from PIL import Image

        how: dict[str, Any] = {"quality": self.blink.quality}
        how |= {"jpeg": {}, "webp": {"method": WEBP_METHOD}, "png": {"compress_level": PNG_LEVEL}}[self.blink.picture]
        stream = io.BytesIO()
        Image.fromarray(stretched(reduced, by)).save(stream, self.blink.picture, **how)
        return base64.b64encode(stream.getvalue())

    def add(self, i: int, packed: bytes | None) -> None:
        self.file.write(b'<script type="text/plain" id="p%d">%s</script>\n' % (i, packed or b""))

    def close(self) -> None:
        self.file.write(self.tail)


class InOrder(Show):
    """A show whose pictures have one size, captions in them, and are written one after the other."""

    def __init__(self, blink: Blink, slides: Sequence[Slide], file: BinaryIO, title: str = ""):
        super().__init__(slides, file, title)
        self.blink = blink
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

    @abstractmethod
    def push(self, picture: np.ndarray) -> None:
        """Take the next picture."""

    def pack(self, i: int, reduced: np.ndarray, by: Sequence[Stretch]) -> np.ndarray:
        slide, picture = self.slides[i], self.toned(stretched(reduced, by))
        return captioned(picture, slide.caption(i + 1, len(self.slides)), slide.approved)

    def toned(self, picture: np.ndarray) -> np.ndarray:
        """A picture in the greys and colours that the file can hold."""
        return picture


class Gif(InOrder):
    """An animated GIF."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.pictures: list[Any] = []

    def push(self, picture: np.ndarray) -> None:
        from PIL import Image

        made = Image.fromarray(picture)
        self.pictures.append(made if picture.ndim == 2 else made.quantize(256, Image.Quantize.FASTOCTREE))

    def toned(self, picture: np.ndarray) -> np.ndarray:
        return (picture // (256 // GREYS) * (255 / (GREYS - 1))).astype(np.uint8) if picture.ndim == 2 else picture

    def close(self) -> None:
        first, *others = self.pictures
        how = {"save_all": True, "append_images": others, "loop": 0, "optimize": False}
        first.save(self.file, "GIF", duration=round(1000 / self.blink.rate), **how)


def captioned(picture: np.ndarray, words: Sequence[str], approved: bool | None) -> np.ndarray:
    """A picture with two lines of words below it; a frame that is not approved has them on a lighter ground."""
    from PIL import Image, ImageDraw

    rows, cols = picture.shape[:2]
    strip = Image.new("L", (cols, CAPTION_PX), WRONG if approved is False else PAPER)
    ink = 0 if approved is False else INK
    for i, line in enumerate(words):
        place = 8, CAPTION_PX // 2 + LINE_PX * (2 * i + 1 - len(words)) // 2
        ImageDraw.Draw(strip).text(place, fitting(line, cols - 16), ink, font(), anchor="lm")
    below = np.asarray(strip)
    return np.concatenate([picture, below if picture.ndim == 2 else np.repeat(below[..., None], 3, axis=-1)])


def fitting(words: str, width_px: int) -> str:
    """Words cut so that they fit into so many pixels: a sentence anywhere, a figure not in its middle."""
    whole = words
    while words and font().getlength(words) > width_px:
        words = words[: max(0, min(len(words) - 2, int(len(words) * width_px / font().getlength(words))))]
    before, gap, last = words.rpartition("   ")
    return before if words != whole and gap and last.count(" ") < 3 else words


@cache
def font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(FONT_PX)


SHOWS = {"page": Page, "gif": Gif}
"""What each kind of file is written by; a film needs another program, and is made by the door."""
