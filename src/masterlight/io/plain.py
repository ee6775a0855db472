"""Pixels that lie plain in a file: a box of them costs its own bytes, read row by row."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from masterlight.core.errors import FrameError, MasterlightError, one_line
from masterlight.core.frame import Frame, Stored
from masterlight.io.scratch import MOST_GROWTH, plain_twin

CHUNK_BYTES = 2 << 20
LARGE_BYTES = 1 << 28
"""Larger than the frames of any camera."""
CHANGED = "has changed since it was first read; let it be until the work is done, then start again"


class Layout(NamedTuple):
    """Where the pixels of an image lie and what they mean: `value = zero + scale * stored`, plane after plane."""

    dtype: str
    """Type of a sample with its byte order, as numpy spells it: '>i2', '<u2', '<f4'."""
    planes: int
    rows: int
    cols: int
    offset: int = 0
    """Bytes before the first sample, in the plain file."""
    zero: float = 0.0
    scale: float = 1.0
    blank: int | None = None
    flip: bool = False
    """Whether the last row is stored first."""
    packing: str = ""
    """How the file is packed, in the words of its format; '' for a plain file."""
    part: int = 0
    """Number of the image in the file."""
    stamp: tuple[int, int] = (0, 0)
    """Size and time of the file, so that what was unpacked from it is known again."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.cols) if self.planes == 1 else (self.planes, self.rows, self.cols)

    @property
    def item_bytes(self) -> int:
        return int(self.dtype[2:])

    @property
    def end_bytes(self) -> int:
        """Where the last sample ends."""
        return self.offset + self.item_bytes * self.planes * self.rows * self.cols

    @property
    def swapped(self) -> bool:
        return not np.dtype(self.dtype).isnative

    @property
    def int16_zero(self) -> float:
        """`zero` for samples of 16 bits taken as signed."""
        return self.zero + (32768 * self.scale if self.dtype[1:] == "u2" else 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainFrame(Frame):
    """An image in a file. Its header was read; pixels are read when they are indexed."""

    layout: Layout
    """Where its pixels lie; `unpack(target)` of a kind that may be packed writes its plain twin to a path."""
    seen: "RowSums" = field(default_factory=lambda: RowSums(), repr=False)

    @property
    def scratch_bytes(self) -> int:
        return self.layout.end_bytes if self.layout.packing else 0

    def times(self, factor: float) -> Frame:
        place = self.layout
        layout = place._replace(zero=place.zero * factor, scale=place.scale * factor)
        return replace(self, meta=self.meta.times(factor), layout=layout)

    def pixels_into(self, out: np.ndarray, y0: int, x0: int) -> None:
        """Fill `out` with a box in DN; the blank value of integer files becomes NaN."""
        rows, cols = out.shape[-2:]
        step = max(1, CHUNK_BYTES // max(1, cols * self.layout.item_bytes))
        with reading(self.source), self.plain_file() as file:
            for plane, target in enumerate(out if out.ndim == 3 else out[None]):
                for top in range(0, rows, step):
                    bottom = min(top + step, rows)
                    raw = self.rows_of(file, plane, y0 + top, y0 + bottom, x0, x0 + cols)
                    decode(raw, self.layout, target[top:bottom])

    def stored(self, y0: int, y1: int, x0: int, x1: int) -> Stored | None:
        """The box of a mono 16-bit image as (rows, cols) int16, bytes in the order of the file."""
        place = self.layout
        if len(self.shape) != 2 or place.item_bytes != 2 or place.blank is not None:
            return None
        with reading(self.source), self.plain_file() as file:
            raw = self.rows_of(file, 0, y0, y1, x0, x1)
        return Stored(raw.view(np.int16), place.int16_zero, place.scale, place.swapped)

    def plain_file(self) -> BinaryIO:
        """The plain file that holds the pixels, open for reading."""
        place = self.layout
        if place.packing:
            twin = plain_twin(self.source, (place.stamp, place.part), place.end_bytes, self.unpack_unchanged)
            return open_regular(twin, buffering=0)
        file = open_regular(self.source, buffering=0)
        try:
            self.refuse_changed(os.fstat(file.fileno()))
        except FrameError:
            file.close()
            raise
        return file

    def unpack_unchanged(self, target: str) -> None:
        """Write the plain twin of the file that was opened; from then on the twin is what counts."""
        self.refuse_changed(os.stat(self.source))
        self.unpack(target)
        self.refuse_changed(os.stat(self.source))

    def refuse_changed(self, status: os.stat_result) -> None:
        """Raise FrameError when the file is not the one whose header was read, by its size and time.

        Number and time of its inode are not asked: on network drives they change by themselves.
        """
        if any(self.layout.stamp) and self.layout.stamp != (status.st_size, status.st_mtime_ns):
            raise FrameError(self.source, CHANGED)

    def rows_of(self, file, plane: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Stored samples of a box, contiguous, as unsigned integers of their size in the order of the file.

        Unsigned samples of 16 bits are turned into signed ones, so that one kernel decodes both.
        """
        place = self.layout
        y0, y1 = (place.rows - y1, place.rows - y0) if place.flip else (y0, y1)
        start = place.offset + (plane * place.rows + y0) * place.cols * place.item_bytes
        dtype = np.dtype(f"u{place.item_bytes}")
        if (x1 - x0) * 8 >= place.cols:
            raw = np.empty((y1 - y0, place.cols), dtype)
            self.fill(file, start, raw)
            self.compare_rows(plane * place.rows + y0, raw)
            raw = raw if x1 - x0 == place.cols else np.ascontiguousarray(raw[:, x0:x1])
        else:
            raw = np.empty((y1 - y0, x1 - x0), dtype)
            row_bytes, first = place.cols * place.item_bytes, start + x0 * place.item_bytes
            for i, row in enumerate(raw):  # many: one at a time without the ado of `fill`
                file.seek(first + i * row_bytes)
                if file.readinto(row) != row.nbytes:
                    self.fill(file, first + i * row_bytes, row)
            whole, middle = np.empty((1, place.cols), dtype), (y1 - y0) // 2
            self.fill(file, start + middle * place.cols * place.item_bytes, whole)
            self.compare_rows(plane * place.rows + y0 + middle, whole)
        if place.dtype[1:] == "u2":
            raw ^= np.uint16(0x0080 if place.swapped else 0x8000)
        return np.ascontiguousarray(raw[::-1]) if place.flip else raw

    def compare_rows(self, first: int, raw: np.ndarray) -> None:
        """Raise FrameError when whole rows, counted through the file from `first` on, are not what they were before.

        A file can be written over within its size, and its time set back; every other look at it finds that out.
        """
        place = self.layout
        if not place.packing and not self.seen.agree(first, raw, place.planes * place.rows):
            raise FrameError(self.source, CHANGED)

    def fill(self, file, start: int, array: np.ndarray) -> None:
        """Read the bytes from `start` on into the whole of a contiguous array."""
        view = memoryview(array).cast("B")
        done = 0
        file.seek(start)
        while done < len(view):
            count = file.readinto(view[done:])
            if not count:
                raise FrameError(self.source, truncation(start + done, self.layout.end_bytes))
            done += count


class RowSums:
    """Sums of the rows of a file as they were first read, 0 where one has not been read; 4 bytes for a row."""

    def __init__(self) -> None:
        self.sums: np.ndarray | None = None

    def agree(self, first: int, raw: np.ndarray, count: int) -> bool:
        """Whether stored rows, (rows, cols) unsigned, are what they were; those of which nothing is known are noted."""
        from masterlight.core import decode as kernels

        if self.sums is None:
            self.sums = np.zeros(count, np.uint32)
        now, before = np.empty(len(raw), np.uint32), self.sums[first : first + len(raw)]
        size = next(size for size in (4, 2, 1) if raw.shape[-1] * raw.itemsize % size == 0)
        kernels.row_sums(raw.view(f"u{size}"), now)
        np.copyto(before, now, where=before == 0)
        return np.array_equal(before, now)


@dataclass(frozen=True, kw_only=True, eq=False)
class KeywordFrame(PlainFrame):
    """An image in a file whose header is no FITS header, but tells the same in FITS keywords."""

    keywords: dict[str, Any]

    @property
    def header(self) -> dict[str, Any]:
        """What the file told, in FITS keywords."""
        return dict(self.keywords)


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Whatever goes wrong while a file is read becomes a FrameError: damaged files make libraries raise anything."""
    try:
        yield
    except MasterlightError:
        raise
    except FileNotFoundError as error:
        raise FrameError(source, "there is no such file; check the path") from error
    except OSError as error:
        raise FrameError(source, f"cannot be read ({error.strerror or error}); is it readable and whole?") from error
    except MemoryError as error:
        raise FrameError(source, "does not fit into the memory of this machine; is its header damaged?") from error
    except Exception as error:
        told = f"is damaged ({type(error).__name__}: {one_line(error, 100)})"
        raise FrameError(source, f"{told}; copy it again, or leave it out") from error


KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip
"""What can have the name of a file and is none."""


def open_regular(path: str | os.PathLike[str], buffering: int = -1) -> BinaryIO:
    """Open a file to read from it; FrameError at once for a pipe, a device, a folder, a link that leads nowhere.

    Those would wait for ever or answer with nonsense. Looked at before and after it is opened, since opening alone may
    set a device to work, and since another file may come into its place meanwhile.
    """
    source = os.fspath(path)

    def opener(name: str, flags: int) -> int:
        refuse_odd(source, os.stat(name).st_mode)
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
        try:
            status = os.fstat(descriptor)
            refuse_odd(source, status.st_mode)
            if status.st_size > LARGE_BYTES and getattr(status, "st_blocks", 0):  # of a file of holes next to nothing
                refuse_absurd(source, status.st_size, 512 * status.st_blocks, MOST_GROWTH)
        except FrameError:
            os.close(descriptor)
            raise
        return descriptor

    try:
        return open(source, "rb", buffering, opener=opener)
    except OSError as error:
        if os.path.islink(source) and error.errno in (errno.ENOENT, errno.ELOOP):
            told = f"is a link to {os.readlink(source)}, which leads nowhere"
            raise FrameError(source, f"{told}; copy the file itself to its place") from error
        raise


def refuse_odd(source: str, mode: int) -> None:
    """Raise FrameError for what is no regular file."""
    if not stat.S_ISREG(mode):
        told = KINDS.get(stat.S_IFMT(mode), "something else")
        raise FrameError(source, f"is {told}, not a file; take it out, or give a file in its place")


def decode(raw: np.ndarray, layout: Layout, out: np.ndarray) -> None:
    """Samples (rows, cols) as `rows_of` gives them into float32 DN; what is infinite is missing, NaN."""
    from masterlight.core import decode as kernels

    plain = layout.blank is None and (layout.zero, layout.scale) == (0, 1)
    if layout.item_bytes == 2 and layout.blank is None:
        zero, scale = np.float32(layout.int16_zero), np.float32(layout.scale)
        kernels.decode_int16(raw.view(np.int16), zero, scale, layout.swapped, out)
    elif layout.dtype[1:] == "f4" and plain:
        kernels.decode_float32(raw, layout.swapped, out.view(np.uint32))
    else:
        values = raw.view(layout.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite
            out[:] = values * np.float64(layout.scale) + layout.zero
        out[np.isinf(out)] = np.nan
        if layout.blank is not None:
            out[values == layout.blank] = np.nan


def refuse_absurd(source: str, plain_bytes: int, stored_bytes: int, most: int) -> None:
    """Raise FrameError for a header that tells of more bytes than its packed pixels can become, or a camera's would.

    stored_bytes: what the packed pixels take on the disk; most: how many bytes can come out of one.
    """
    if plain_bytes > (most if plain_bytes < LARGE_BYTES else min(most, MOST_GROWTH)) * stored_bytes + 4096:
        told = f"it claims {plain_bytes:,} bytes of pixels, which {stored_bytes:,} bytes cannot hold"
        raise FrameError(source, f"{told}; it is damaged, copy it again or leave it out")


def unused_images(used: str, others: list[str]) -> str:
    """The note on further images in a file, by their names."""
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    words = f"has {1 + len(others)} images, and only {used} is used; not {', '.join(others[:3])}{more}"
    return f"{words}: save each as a file of its own and stack them by themselves"


def truncation(found: int, wanted: int) -> str:
    """The reason for a file that ends too early."""
    return f"truncated: {found:,} of {wanted:,} bytes; copy it again from the camera card"
