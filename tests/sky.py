"""Small nights with known truth, each made once for a whole test session."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from masterlight.simulate.kernels import upsample_row
from masterlight.simulate.night import Night
from masterlight.simulate.observatory import Observatory
from masterlight.simulate.truth import Truth, simulate

SMALL = {"rows": 400, "cols": 500, "lights": 6, "biases": 5, "darks": 5, "flats": 5}
CALM = {"cloudy": 0, "trails": 0, "tracking_errors": 0, "cosmic_rays": 0.0, "fwhm_spread": 0.0}
EVEN = {"vignetting": 0.0, "dust": 0, "prnu": 0.0, "hot_fraction": 0.0, "dark_e_s": 0.0, "bias_columns_dn": 0.0}
"""A camera without a flaw, to be mixed with other knobs: `Night(**SMALL, **CALM, **EVEN)`."""


class Sky(Truth):
    """The truth of a night, and the scenes, masks, flats and darks without noise that tests compare with."""

    def transform(self, index: int, reference: int = 0) -> np.ndarray:
        """3x3, pixel of light `reference` -> pixel of light `index`."""
        return self.pointings[index].matrix @ np.linalg.inv(self.pointings[reference].matrix)

    def scene_dn(self, index: int = 0) -> np.ndarray:
        """A light without noise, flat, dark, bias, satellites or cosmic rays, float32 DN.

        `(rows, cols)`; of a colour camera `(3, rows, cols)`, red, green and blue at every pixel.
        """
        letters = self.observatory.camera.letters
        planes = np.stack([self.plane_dn(index, letter) for letter in letters])
        return planes if len(letters) > 1 else planes[0]

    def plane_dn(self, index: int, letter: str = "") -> np.ndarray:
        """One colour of `scene_dn`, `(rows, cols)`."""
        pointing, row = self.pointings[index], np.empty(self.night.cols)
        scene = self.observatory.starlight_e(pointing, letter)
        grid = self.observatory.background_e(pointing, letter)
        for y in range(self.night.rows):
            upsample_row(grid, y, row)
            scene[y] += row
        return scene / np.float32(self.night.gain_e_per_dn)

    def mosaic_dn(self, index: int = 0) -> np.ndarray:
        """`scene_dn` as the sensor sees it, each pixel in its own colour: `(rows, cols)` float32 DN."""
        camera = self.observatory.camera
        return camera.mosaic(self.plane_dn(index, letter) for letter in camera.letters)

    def cosmic_mask(self, index: int) -> np.ndarray:
        """Pixels of a light that cosmic rays struck, `(rows, cols)` bool."""
        mask = np.zeros(self.night.shape, bool)
        mask.flat[self.observatory.cosmic_rays("light", index)[0]] = True
        return mask

    def trail_mask(self, index: int, faintest_dn: float = 1.0) -> np.ndarray:
        """Pixels of a light that a satellite brightened by more than `faintest_dn`, `(rows, cols)` bool."""
        mask = np.zeros(self.night.shape, bool)
        y, x, dn = self.observatory.trail(self.pointings[index])
        mask[y[dn > faintest_dn], x[dn > faintest_dn]] = True
        return mask

    def flat(self, filter: str) -> np.ndarray:
        """The true flat, `(rows, cols)` float32, about 1 at the centre in every colour."""
        return self.observatory.camera.flat(filter)

    @property
    def dark_dn_s(self) -> np.ndarray:
        """The true dark current at the temperature of the lights, `(rows, cols)` float32 DN per second, no glow."""
        return self.observatory.camera.dark_e_s / np.float32(self.night.gain_e_per_dn)

    def dark_dn(self, kind: str = "light") -> np.ndarray:
        """What frames of a kind hold above the bias without light, glow included: `(rows, cols)` float32 DN."""
        charge = self.observatory.camera.dark_charge_e(self.night.exposure_of(kind), self.night.temperature_of(kind))
        return charge / np.float32(self.night.gain_e_per_dn)

    @property
    def bias_dn(self) -> np.ndarray:
        """The true bias of the pixels that see the sky, `(rows, cols)` float32 DN, without drift."""
        return np.broadcast_to(self.observatory.camera.bias_level_dn[:, : self.night.cols], self.night.shape)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="masterlight-sky-")


@cache
def _written(night: Night) -> Sky:
    *_, done = simulate(night, Path(_folder().name) / f"{len(list(Path(_folder().name).iterdir())):03d}")
    known = Sky(night, done.result.files, done.result.folder)
    known.observatory = done.result.observatory
    return known


@cache
def _observatory(night: Night) -> Observatory:
    return Observatory(night)


def written(**knobs) -> Sky:
    """A small night as files in a folder that lasts as long as the session; do not write there."""
    return _written(Night(**{**SMALL, **knobs}))


def in_memory(**knobs) -> Sky:
    """The truth of a small night without files: `truth.observatory.light(0)` gives pixels."""
    night = Night(**{**SMALL, **knobs})
    truth = Sky(night, {})
    truth.observatory = _observatory(night)
    return truth
