"""Debayering 24 Mpx beside colour-demosaicing and numpy, one thread: `python bench/bench_debayer.py`."""

import sys
import warnings
from pathlib import Path

import numpy as np

from bench.bench_warp import best
from masterlight.colour.debayer import XTRANS, Debayer
from masterlight.core.frame import ArrayFrame, Meta

SHAPE = (4000, 6000)
PIECE = (1000, 1500)
TWIN = (48, 60)
RIVALS = {
    "rcd": "Menon2007",
    "rcd as published": "Menon2007",
    "mhc": "Malvar2004",
    "bilinear": "bilinear",
}
"""What colour-demosaicing has of the same kind; for RCD its method of directions and differences."""


def rival_s(name, pixels):
    """Seconds of colour-demosaicing for a piece of the frame, scaled to all of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of drawing libraries that are not there
        import colour_demosaicing

    piece = pixels[: PIECE[0], : PIECE[1]].astype(float)
    task = getattr(colour_demosaicing, f"demosaicing_CFA_Bayer_{name}")
    return best(lambda: task(piece, "RGGB"), 2) * pixels.size / piece.size


def twin_s(method, pixels):
    """Seconds of the slow twin in the tests for a small piece, scaled to all of the frame."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from oracles import cfa

    piece = pixels[: TWIN[0], : TWIN[1]]
    if method == "super-pixel":
        task = lambda: cfa.superpixel(piece, cfa.letters("RGGB", *piece.shape), 2)  # noqa: E731
    else:
        name = {"rcd": "rcd_even", "rcd as published": "rcd"}.get(method, method)
        task = lambda: cfa.debayer(piece, "RGGB", name)  # noqa: E731
    return best(task, 1) * pixels.size / piece.size


def numpy_superpixel(pixels):
    """Super-pixels as one would write them in numpy."""
    return np.stack([pixels[::2, ::2], (pixels[::2, 1::2] + pixels[1::2, ::2]) / 2, pixels[1::2, 1::2]])


def rows():
    """(name, ours_s, rival_s, ratio, note) for each case; the rival of the others is their slow twin."""
    pixels = np.random.default_rng(1).normal(1000, 30, SHAPE).astype(np.float32)
    for method in ("rcd", "rcd as published", "vng", "mhc", "bilinear", "super-pixel"):
        published = method == "rcd as published"
        view = Debayer(method="rcd" if published else method, directions=published)(
            ArrayFrame.of(pixels, meta=Meta(pattern="RGGB"))
        )
        out = np.empty(view.shape, np.float32)
        ours = best(lambda v=view, o=out: v.pixels_into(o, 0, 0), 3)
        twin = 1e9 * twin_s(method, pixels) / pixels.size
        if method == "super-pixel":
            other, beside = best(lambda: numpy_superpixel(pixels), 2), "numpy slices"
        elif method in RIVALS:
            other, beside = rival_s(RIVALS[method], pixels), f"colour-demosaicing {RIVALS[method]}"
        else:
            other, beside = twin * pixels.size / 1e9, "the slow twin"
        note = f"{1e9 * ours / pixels.size:.1f} ns/pixel; other: {beside}; slow twin {twin:.0f} ns/pixel"
        yield f"debayer 24 Mpx, {method}", ours, other, other / ours, note
    for method in ("rcd", "bilinear"):
        view = Debayer(method=method)(ArrayFrame.of(pixels, meta=Meta(pattern=XTRANS)))
        out = np.empty(view.shape, np.float32)
        ours = best(lambda v=view, o=out: v.pixels_into(o, 0, 0), 3)
        note = f"{1e9 * ours / pixels.size:.1f} ns/pixel"
        yield f"debayer 24 Mpx of X-Trans, {method}", ours, float("nan"), float("nan"), note
    for passes in (1, 3):
        piece = pixels[: PIECE[0], : PIECE[1]]
        view = Debayer(directions=True, xtrans_passes=passes)(ArrayFrame.of(piece, meta=Meta(pattern=XTRANS)))
        out = np.empty(view.shape, np.float32)
        ours = best(lambda v=view, o=out: v.pixels_into(o, 0, 0), 2)
        note = f"{1e9 * ours / piece.size:.0f} ns/pixel"
        yield f"debayer 1.5 Mpx, Markesteijn, passes: {passes}", ours, float("nan"), float("nan"), note


if __name__ == "__main__":
    for name, ours_s, other_s, ratio, note in rows():
        print(f"{name:44s} {1e3 * ours_s:9.1f} ms {1e3 * other_s:9.1f} ms {ratio:7.1f}x  {note}", flush=True)
