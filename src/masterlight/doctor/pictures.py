"""Pictures for findings: crops, stretched for the eye, and plain plots."""

import math
from functools import cache

import numpy as np

from masterlight.core.frame import Frame
from masterlight.core.stretch import preview, reduce_image

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 44
INK, GRID, COLOURS = (40, 40, 40), (222, 222, 222), ((31, 95, 160), (200, 80, 30), (60, 140, 60))


@cache
def font(size: int = 12):
    from PIL import ImageFont

    return ImageFont.load_default(size)


class Plot:
    """A plot of 480 x 320 pixels with labelled axes, drawn with Pillow."""

    def __init__(self, x_range, y_range, x_label: str, y_label: str):
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.x0, self.x1 = with_margin(*x_range)
        self.y0, self.y1 = with_margin(*y_range)
        for value in ticks(self.x0, self.x1):
            x, _ = self.at(value, self.y0)
            self.draw.line([(x, TOP), (x, HEIGHT - BOTTOM)], GRID)
            self.draw.text((x, HEIGHT - BOTTOM + 5), tick_label(value), INK, font(), anchor="ma")
        for value in ticks(self.y0, self.y1):
            _, y = self.at(self.x0, value)
            self.draw.line([(LEFT, y), (WIDTH - RIGHT, y)], GRID)
            self.draw.text((LEFT - 5, y), tick_label(value), INK, font(), anchor="rm")
        self.draw.rectangle([LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM], outline=INK)
        self.draw.text(((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 6), x_label, INK, font(13), anchor="ms")
        upright = Image.new("L", (HEIGHT, 18), 0)
        ImageDraw.Draw(upright).text(((TOP + HEIGHT - BOTTOM) // 2, 3), y_label, 255, font(13), anchor="ma")
        turned = upright.transpose(Image.Transpose.ROTATE_90)
        self.image.paste(INK, (1, BOTTOM - TOP - 30), turned)

    def at(self, x, y) -> tuple[float, float]:
        across = (x - self.x0) / (self.x1 - self.x0)
        up = (y - self.y0) / (self.y1 - self.y0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def points(self, x, y) -> list[tuple[float, float]]:
        return [self.at(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]

    def dots(self, points, colour=COLOURS[0]):
        for px, py in points:
            self.draw.ellipse([px - 2, py - 2, px + 2, py + 2], fill=colour)

    def mark(self, x: float, words: str):
        px, _ = self.at(x, self.y0)
        self.draw.line([(px, TOP), (px, HEIGHT - BOTTOM)], COLOURS[1], 1)
        beside, anchor = (-4, "ra") if px > WIDTH / 2 else (4, "la")
        self.draw.text((px + beside, TOP + 3), words, COLOURS[1], font(), anchor=anchor)

    def pixels(self) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(np.asarray(self.image, np.uint8), -1, 0))


def with_margin(low, high) -> tuple[float, float]:
    low, high = float(low), float(high)
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    room = 0.05 * (high - low) or max(1.0, 0.01 * abs(high))
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(k for k in (1, 2, 5, 10) if (high - low) / (k * step) <= 6)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]


def tick_label(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def histogram(counts_edges, x_label: str, marks: dict[str, float]) -> np.ndarray:
    """Bars of a histogram with a logarithmic count; marks: words to levels."""
    counts, edges = counts_edges
    heights = np.log10(np.maximum(counts, 0.5))
    span = [edges[0], edges[-1], *marks.values()]
    plot = Plot((min(span), max(span)), (-0.3, heights.max()), x_label, "pixels, log10")
    for height, a, b in zip(heights, edges[:-1], edges[1:], strict=True):
        (left, top), (right, bottom) = plot.at(a, height), plot.at(b, plot.y0)
        if height > plot.y0:
            plot.draw.rectangle([left, top, max(left, right - 1), bottom], fill=COLOURS[0])
    for words, level in marks.items():
        plot.mark(level, words)
    return plot.pixels()


def line(values, x_label: str, y_label: str, first: int = 1) -> np.ndarray:
    """A line through values that are counted from `first` on."""
    x, y = np.arange(first, first + len(values)), np.ravel(values)
    plot = Plot((x.min(), x.max()), (np.nanmin(y), np.nanmax(y)), x_label, y_label)
    points = plot.points(x, y)
    plot.draw.line(points, COLOURS[0], 2)
    plot.dots(points if len(points) < 80 else ())
    return plot.pixels()


def scatter(x, y, x_label: str, y_label: str, fitted=None) -> np.ndarray:
    """Points, and a line (slope, height at x = 0) through them."""
    x, y = np.ravel(x), np.ravel(y)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    low, high = np.percentile(y, [0.5, 99.5])
    plot = Plot((x.min(), x.max()), (low, high), x_label, y_label)
    inside = np.flatnonzero((y >= plot.y0) & (y <= plot.y1))
    inside = inside[:: max(1, inside.size // 3000)]
    plot.dots(plot.points(x[inside], y[inside]))
    if fitted:
        ends = np.array([x.min(), x.max()])
        heights = np.clip(fitted[0] * ends + fitted[1], plot.y0, plot.y1)
        plot.draw.line(plot.points(ends, heights), COLOURS[1], 2)
    return plot.pixels()


def image(array, long_side_px: int = WIDTH) -> np.ndarray:
    """A map or a crop stretched for the eye; small ones are enlarged."""
    array = np.asarray(array, np.float32)
    grow = max(1, long_side_px // max(array.shape[-2:]))
    return np.kron(preview(array, long_side_px), np.ones((grow, grow), np.uint8))


def side_by_side(*arrays) -> np.ndarray:
    """Crops side by side, each with a stretch of its own."""
    made = [image(a, WIDTH // len(arrays) - 4) for a in arrays]
    rows = max(m.shape[0] for m in made)
    padded = [np.pad(m, ((0, rows - m.shape[0]), (0, 8)), constant_values=255) for m in made]
    return np.concatenate(padded, axis=1)


def crop_of(frame: Frame, side_px: int = 400) -> np.ndarray:
    """The middle of a frame, stretched for the eye."""
    rows, cols = frame.shape[-2:]
    y, x = max(0, (rows - side_px) // 2), max(0, (cols - side_px) // 2)
    part = frame.pixels(y, min(rows, y + side_px), x, min(cols, x + side_px))
    return preview(reduce_image(part, WIDTH))
