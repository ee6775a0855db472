"""A film of pictures, MP4, by ffmpeg: found on the path, or as the package imageio-ffmpeg brings it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from masterlight.core.errors import OutputError, ParameterError
from masterlight.io.scratch import scratch_folder
from masterlight.subframes.looks.slide import Slide
from masterlight.subframes.looks.slides import InOrder

QUALITY = ("-crf", "23", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
"""Plays everywhere, also while it is loaded."""


def find_ffmpeg(path: Path) -> str:
    """The program that makes films; ParameterError where there is none."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        words = f"out= {path}: a film needs ffmpeg, and there is none: install it, or pip install 'masterlight[film]'"
        raise ParameterError(f"{words}; a page (.html) and a .gif need nothing") from None


class Film(InOrder):
    """Pictures as MP4."""

    def __init__(self, blink: Any, slides: Sequence[Slide], file: BinaryIO, title: str = "", *, ffmpeg: str):
        super().__init__(blink, slides, file, title)
        self.ffmpeg, self.program, self.words = ffmpeg, None, tempfile.TemporaryFile(dir=scratch_folder())
        made, name = tempfile.mkstemp(".mp4", dir=scratch_folder())
        os.close(made)
        self.path = Path(name)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self.program is not None:
                self.program.kill()
                self.program.wait()
            self.words.close()
            self.path.unlink(missing_ok=True)

    def push(self, picture: np.ndarray) -> None:
        rows, cols = (size - size % 2 for size in picture.shape[:2])  # H.264 takes even sizes only
        try:
            self.started(picture, rows, cols).write(np.ascontiguousarray(picture[:rows, :cols]).data)
        except BrokenPipeError:
            self.fail()

    def started(self, picture: np.ndarray, rows: int, cols: int) -> Any:
        """Where the program takes its pictures from."""
        if self.program is None:
            kind = "gray" if picture.ndim == 2 else "rgb24"
            command = [self.ffmpeg, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", kind, "-s", f"{cols}x{rows}"]
            command += ["-r", f"{self.blink.rate:g}", "-i", "-", *QUALITY, str(self.path)]
            self.program = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.words
            )
        return self.program.stdin

    def close(self) -> None:
        assert self.program is not None, "a film without pictures is not begun"
        self.program.stdin.close()
        if self.program.wait():
            self.fail()
        with open(self.path, "rb") as film:
            shutil.copyfileobj(film, self.file)

    def fail(self) -> None:
        """Raise OutputError with the last thing that the program said."""
        self.words.seek(0)
        lines = self.words.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise OutputError(f"the film could not be made: {self.ffmpeg}: {lines[-1]}; write .html or .gif instead")
