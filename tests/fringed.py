"""Mosaics of a colour camera whose lens and air spread the colours of stars, with known truth."""

import numpy as np
from scipy.special import erf

from masterlight import write
from masterlight.core.frame import ArrayFrame, Meta
from masterlight.core.headers.geometry import period, places

LETTERS, SIGNS = "RGB", (1.0, 0.0, -1.0)
"""Red and blue are spread by as much, each its own way; green stays where it is."""
REACH = 12


class Fringed:
    """Frames of one field: `lateral` is the scale of red over that of green less 1, `air_px` (frames, 2) its shift."""

    def __init__(
        self, air_px=((0.0, 0.0),), lateral=0.0, stars=120, shape=(300, 400), fwhm_px=2.8, pattern="RGGB", seed=1
    ):
        rng = np.random.default_rng(seed)
        self.shape, self.pattern, self.lateral, self.fwhm_px = shape, pattern, lateral, fwhm_px
        self.air_px = np.array(air_px, float)
        rows, cols = shape
        self.xy = rng.uniform((-4, -4), (cols + 4, rows + 4), (stars, 2))
        self.light_dn = 3000 / rng.uniform(0.03, 1, stars)
        self.colours = np.stack([rng.uniform(0.6, 1.4, stars), np.ones(stars), rng.uniform(0.6, 1.4, stars)])
        self.dither_px = rng.uniform(-7, 7, (len(self.air_px), 2)) * (np.arange(len(self.air_px)) > 0)[:, None]
        self.rng = rng

    @property
    def middle(self):
        return np.array([(self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2])

    def away_px(self, frame, colour, xy):
        """How far a colour (0, 1, 2) lies from green at places (n, 2) of a frame."""
        return SIGNS[colour] * ((np.asarray(xy) - self.middle) * self.lateral + self.air_px[frame])

    def mosaic(self, frame):
        """Pixels of a frame, (rows, cols) float32 with noise."""
        image, n = np.empty(self.shape, np.float32), period(self.pattern)
        for colour, letter in enumerate(LETTERS):
            plane = self.plane(frame, colour)
            plane += self.rng.standard_normal(self.shape) * np.sqrt(plane / 2 + 25)
            for y, x in places(self.pattern)[letter]:
                image[y::n, x::n] = plane[y::n, x::n]
        return image

    def plane(self, frame, colour):
        """What a colour shows at every pixel, without noise."""
        (rows, cols), s, steps = self.shape, self.fwhm_px / 2.3548 * 2**0.5, np.arange(-REACH, REACH + 1)
        plane = np.full((rows + 4 * REACH, cols + 4 * REACH), 300.0)
        green = self.xy + self.dither_px[frame]
        at = green + self.away_px(frame, colour, green)
        for (x, y), dn in zip(at, self.light_dn * self.colours[colour], strict=True):
            i, j = round(x), round(y)
            across, down = ((erf((steps - d + 0.5) / s) - erf((steps - d - 0.5) / s)) / 2 for d in (x - i, y - j))
            plane[j + REACH : j + 3 * REACH + 1, i + REACH : i + 3 * REACH + 1] += dn * np.outer(down, across)
        return plane[2 * REACH : -2 * REACH, 2 * REACH : -2 * REACH]

    def frame(self, index):
        return ArrayFrame.of(self.mosaic(index), f"{index}.fits", Meta(pattern=self.pattern))

    def written(self, folder):
        """Its frames as files of a folder; gives their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for index in range(len(self.air_px)):
            meta = {"IMAGETYP": "Light Frame", "EXPTIME": 60.0, "BAYERPAT": self.pattern, "INSTRUME": "Eye"}
            meta |= {"DATE-OBS": f"2026-03-01T22:{index:02d}:00"}
            paths.append(folder / f"light{index}.fits")
            write(paths[-1], np.clip(np.rint(self.mosaic(index)), 0, 65535).astype(np.float32), meta)
        return paths
