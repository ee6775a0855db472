"""Pictures as PNG files."""

from os import PathLike
from typing import Any

import numpy as np

from masterlight.io import atomic


def write_png(path: str | PathLike[str], array: Any, made_of: str = "") -> None:
    """Write uint8 (rows, cols) or (3, rows, cols) as a PNG file that appears whole or not at all.

    made_of: the key of the product that it shows, by which a picture of the user's is told from one of ours.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    array = np.asarray(array, np.uint8)
    with atomic(path) as file:
        picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(array, 0, -1)) if array.ndim == 3 else array)
        words = PngInfo()
        words.add_text("mlkey", made_of)
        how = {"pnginfo": words} if made_of else {}
        picture.save(file, "PNG", compress_level=2, **how)  # noise hardly packs; level 6 takes 4 times as long
